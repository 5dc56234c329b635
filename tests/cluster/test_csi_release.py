# SPDX-License-Identifier: Apache-2.0
"""Volumes while the release is upgraded, rolled back and taken away, and while their node is drained."""

import pytest
from procs import wait_until
from product import LOGIN, NAMESPACE, RELEASE
from volumes import DAEMONSET, mounting, projection

pytestmark = pytest.mark.usefixtures("node")


@pytest.fixture
def shop(product, node, tenant, database_role):
    """A running Pod: its credential, and what the manager is asked for from now on."""
    path = database_role(f"csi-{tenant.name}", "10m", "1h")
    tenant.create(projection(path))
    tenant.create(mounting("shop"))
    tenant.ready("shop", 90)
    return path, tenant.credential("shop"), product.manager.bao.audit_mark()


def is_intact(product, tenant, shop):
    path, credential, mark = shop
    assert tenant.credential("shop") == credential and product.manager.pg_login(*credential)
    assert tenant.status("shop", "app")["restartCount"] == 0
    asked = tenant.requests(mark)
    assert not asked["read", path] and not asked[LOGIN], asked


def ends(product, tenant, node, shop):
    """Its deletion unmounts and revokes."""
    uid = tenant.get("pod", "shop")["metadata"]["uid"]
    tenant.delete("shop")
    product.cluster.wait("the Pod's end", lambda: tenant.gone("shop"), 90)
    wait_until("end of the user", lambda: shop[1][0] not in product.manager.pg_users(), 60)
    wait_until("end of the mount", lambda: node.mounts(uid) == [], 30)


def starts(product, tenant, name):
    tenant.create(mounting(name))
    tenant.ready(name, 120)
    assert product.manager.pg_login(*tenant.credential(name))


def test_upgrade_and_rollback(product, tenant, node, shop):
    seen = {node.name}
    product.helm("upgrade", "--set", "node.logLevel=debug")
    product.cluster.rollout(f"daemonset/{DAEMONSET}", NAMESPACE, 180)
    seen.add(node.name)
    is_intact(product, tenant, shop)
    starts(product, tenant, "between")
    shop = (*shop[:2], product.manager.bao.audit_mark())
    product.cluster.helm("rollback", RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "120s")
    product.cluster.rollout(f"daemonset/{DAEMONSET}", NAMESPACE, 180)
    seen.add(node.name)
    assert len(seen) == 3, "both replaced the DaemonSet's Pod"
    is_intact(product, tenant, shop)
    starts(product, tenant, "after")
    ends(product, tenant, node, shop)


def test_uninstall_and_install(product, tenant, node, shop):
    """What is mounted stays readable without a driver; the next one goes on where the old one ended."""
    starts(product, tenant, "left")
    left = tenant.credential("left")[0]
    shop = (*shop[:2], product.manager.bao.audit_mark())
    product.uninstall()
    try:
        product.cluster.wait("the driver's end", lambda: not node.is_installed(), 30)
        assert tenant.get("secretprojection", "db")["spec"]["items"]
        tenant.delete("left")
        is_intact(product, tenant, shop)
    finally:
        product.install()
    product.cluster.wait("the driver", node.is_ready, 120)
    product.cluster.wait("the end of a Pod that was deleted meanwhile", lambda: tenant.gone("left"), 120)
    wait_until("end of its user", lambda: left not in product.manager.pg_users(), 60)
    is_intact(product, tenant, shop)
    starts(product, tenant, "after")
    ends(product, tenant, node, shop)


def test_node_drained(product, tenant, node, database_role):
    path = database_role("csidrained", "10m", "1h")
    tenant.create(projection(path))
    made = mounting("shop")
    made["metadata"]["labels"] = {"app": "drained"}
    tenant.create(made)
    tenant.ready("shop", 90)
    user = tenant.credential("shop")[0]
    uid = tenant.get("pod", "shop")["metadata"]["uid"]
    try:
        product.cluster.kubectl(
            "drain", "node-a", "--pod-selector=app=drained", "--ignore-daemonsets", "--force", "--timeout=90s"
        )
        assert tenant.gone("shop")
        wait_until("end of the user", lambda: user not in product.manager.pg_users(), 60)
        wait_until("end of the mount", lambda: node.mounts(uid) == [], 30)
    finally:
        product.cluster.kubectl("uncordon", "node-a")
    starts(product, tenant, "after")
