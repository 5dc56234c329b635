# SPDX-License-Identifier: Apache-2.0
"""Volumes under faults: running Pods keep their files, no credential is issued twice, and all is well again unattended."""

import time

import pytest
from procs import wait_until
from product import LOGIN, NAMESPACE, RENEW
from volumes import DAEMONSET, mounting, projection

AWAY_S = 120

pytestmark = pytest.mark.usefixtures("node")


class Running:
    """A Pod whose lease is renewed every few seconds, watched by the manager's audit log."""

    def __init__(self, product, tenant, path, name="shop"):
        self.product, self.tenant, self.path, self.name = product, tenant, path, name
        tenant.create(projection(path))
        tenant.create(mounting(name))
        tenant.ready(name, 90)
        self.credential = tenant.credential(name)
        self.uid = tenant.get("pod", name)["metadata"]["uid"]
        self.mark = product.manager.bao.audit_mark()

    def is_intact(self):
        assert self.tenant.credential(self.name) == self.credential
        assert self.product.manager.pg_login(*self.credential)
        assert self.tenant.status(self.name, "app")["restartCount"] == 0

    def is_renewed(self, seconds=60):
        since = self.product.manager.bao.audit_mark()
        self.product.cluster.wait("a renewal", lambda: RENEW in self.tenant.requests(since), seconds)

    def was_issued_once(self):
        asked = self.tenant.requests(self.mark)
        assert ("read", self.path) not in asked and LOGIN not in asked, asked

    def a_new_pod_starts(self, name):
        self.tenant.create(mounting(name))
        self.tenant.ready(name, 120)
        assert self.product.manager.pg_login(*self.tenant.credential(name))

    def ends(self):
        """Its deletion revokes."""
        self.tenant.delete(self.name)
        user = self.credential[0]
        wait_until("end of the user", lambda: user not in self.product.manager.pg_users(), 60)
        self.product.cluster.wait("the Pod's end", lambda: self.tenant.gone(self.name), 60)


@pytest.fixture
def shop(product, node, tenant, database_role):
    """Its lease outlives kubelet's pauses before it starts a container anew, 10 s from the second time on."""
    return Running(product, tenant, database_role("csifault", "40s", "1h"))


@pytest.mark.parametrize("container", ["node", "mount"])
def test_container_killed(product, tenant, node, shop, container):
    for _ in range(2):
        node.kill(container)
        shop.is_intact()
    shop.is_renewed()
    shop.was_issued_once()
    shop.a_new_pod_starts("late")
    shop.is_intact()
    shop.ends()
    assert node.mounts(shop.uid) == []


def test_rolled(product, tenant, node, shop):
    before = node.name
    product.cluster.kubectl("rollout", "restart", f"daemonset/{DAEMONSET}", "-n", NAMESPACE)
    product.cluster.rollout(f"daemonset/{DAEMONSET}", NAMESPACE, 180)
    assert node.name != before
    shop.is_intact()
    shop.is_renewed()
    shop.was_issued_once()
    shop.a_new_pod_starts("late")
    shop.ends()
    assert node.mounts(shop.uid) == []


def test_pod_deleted_while_the_driver_is_away(product, tenant, node, shop):
    """Kubelet cannot unmount: the next driver does, and revokes what the old one had."""
    product.cluster.kubectl("delete", "pod", "-n", NAMESPACE, node.name, "--grace-period=0", "--force")
    shop.ends()
    product.cluster.wait("the driver's return", node.is_ready, 120)
    assert node.mounts(shop.uid) == []


@pytest.mark.parametrize("hard", [False, True], ids=["asked", "killed"])
def test_kubelet_restarted(product, tenant, node, shop, hard):
    product.cluster.restart_daemon("kubelet-a", hard=hard)
    shop.is_intact()
    shop.is_renewed()
    shop.was_issued_once()
    shop.a_new_pod_starts("late")
    shop.ends()
    assert node.mounts(shop.uid) == []


def test_api_server_away(product, tenant, node, shop):
    restarts = {n: c["restartCount"] for n, c in node.containers().items()}
    product.cluster.stop_daemon("apiserver")
    try:
        end = time.monotonic() + AWAY_S
        while time.monotonic() < end:
            assert product.manager.pg_login(*shop.credential)
            since = product.manager.bao.audit_mark()
            wait_until("a renewal", lambda s=since: RENEW in tenant.requests(s), 45, 0.5)
    finally:
        product.cluster.start_daemon("apiserver")
    product.cluster.wait("the driver", node.is_ready, 60)
    assert {n: c["restartCount"] for n, c in node.containers().items()} == restarts
    shop.is_intact()
    shop.was_issued_once()
    shop.a_new_pod_starts("late")


def test_manager_sealed(product, tenant, node, database_role):
    shop = Running(product, tenant, database_role("csisealed", "10m", "1h"))
    bao = product.manager.bao
    bao.seal()
    try:
        tenant.create(mounting("late"))
        product.cluster.wait("Sealed", lambda: any("Sealed" in e for e in tenant.events("late")), 90)
        assert tenant.get("pod", "late")["status"]["phase"] == "Pending"
        assert tenant.credential("shop") == shop.credential
    finally:
        bao.unseal()
    tenant.ready("late", 180)
    assert product.manager.pg_login(*tenant.credential("late"))
    shop.is_intact()
    asked = tenant.requests(shop.mark)
    assert asked["read", shop.path] == 1 and asked[LOGIN] == 1, asked  # of the new Pod


def test_manager_away(product, tenant, node, database_role):
    shop = Running(product, tenant, database_role("csiaway", "10m", "1h"))
    bao = product.manager.bao
    bao.freeze()
    try:
        tenant.create(mounting("late"))
        end = time.monotonic() + AWAY_S
        product.cluster.wait("Unreachable", lambda: any("Unreachable" in e for e in tenant.events("late")), AWAY_S)

        def is_over():
            assert tenant.credential("shop") == shop.credential
            assert tenant.get("pod", "late")["status"]["phase"] == "Pending"
            return time.monotonic() > end

        wait_until("the outage's end", is_over, 2 * AWAY_S, 5)
    finally:
        bao.thaw()
    tenant.ready("late", 240)  # kubelet waits two minutes between two tries by then
    shop.is_intact()
    assert product.manager.pg_login(*tenant.credential("late"))
    assert tenant.requests(shop.mark)["read", shop.path] <= 2, "an answer that was lost is asked for once more"


def test_force_deleted_pod(product, tenant, node, shop):
    product.cluster.kubectl("delete", "pod", "-n", tenant.name, "shop", "--grace-period=0", "--force")
    wait_until("end of the user", lambda: shop.credential[0] not in product.manager.pg_users(), 90)
    wait_until("end of the mount", lambda: node.mounts(shop.uid) == [], 60)


def test_namespace_deleted(product, node, database_role):
    tenant = product.namespace("csi-namespace-deleted")
    shop = Running(product, tenant, database_role("csinsgone", "12s", "1h"))
    product.cluster.delete("namespace", tenant.name)
    wait_until("end of the user", lambda: shop.credential[0] not in product.manager.pg_users(), 60)
    assert node.mounts(shop.uid) == []
