# SPDX-License-Identifier: Apache-2.0
"""A SecretProjection in a Pod's volume: kubelet, our two containers, and the manager."""

import pytest
from procs import wait_until
from product import LOGIN, SECRETS
from volumes import GROUP, mounting, projection

pytestmark = pytest.mark.usefixtures("node")


@pytest.fixture
def shop(product, node, tenant, database_role):
    """A Pod with a database user of an hour, and what the manager was asked for it."""
    path = database_role(f"csi-{tenant.name}", "1h", "2h")
    tenant.create(projection(path))
    mark = product.manager.bao.audit_mark()
    tenant.create(mounting("shop"))
    tenant.ready("shop", 90)
    return path, mark


def uid_of(tenant, name):
    return tenant.get("pod", name)["metadata"]["uid"]


def test_mount_under_restricted(product, tenant, node, shop):
    path, mark = shop
    user, password = tenant.credential("shop")
    assert product.manager.pg_login(user, password)
    assert tenant.told("shop") == [user], "the application started after its files"
    asked = tenant.requests(mark)
    assert asked[LOGIN] == 1 and asked["read", path] == 1, asked
    listed = product.cluster.exec("shop", "ls", "-ln", f"{SECRETS}/db/", namespace=tenant.name, container="app")
    rows = [row.split() for row in listed.splitlines()[1:]]
    assert [row[0] for row in rows] == ["-r--r-----"] * 2 and {row[3] for row in rows} == {str(GROUP)}
    done = product.cluster.kubectl(
        "exec", "-n", tenant.name, "shop", "-c", "app", "--", "touch", f"{SECRETS}/mine", check=False
    )
    assert "Read-only file system" in done.stderr
    assert tenant.get("secrets")["items"] == [], "nothing in etcd"
    assert len(node.mounts(uid_of(tenant, "shop"))) == 1
    for container in ("node", "mount"):
        log = node.logs(container)
        assert password not in log and "eyJ" not in log, "neither secret nor token in a log"


def test_deleted_pod_takes_its_user_along(product, tenant, node, shop):
    path, _ = shop
    user, _ = tenant.credential("shop")
    uid = uid_of(tenant, "shop")
    assert user in product.manager.pg_users()
    tenant.delete("shop")
    product.cluster.wait("the Pod's end", lambda: tenant.gone("shop"), 60)
    wait_until("end of the user", lambda: user not in product.manager.pg_users(), 10)
    wait_until("end of the lease", lambda: product.manager.bao.leases(path) == [], 10)
    wait_until("end of the volume", lambda: not node.mounts(uid), 10)
    product.cluster.wait("kubelet's housekeeping", lambda: not node.folders(uid), 60)


def test_rotation_is_seen_in_the_pod(product, tenant, database_role):
    path = database_role("csirotated")
    tenant.create(projection(path, overlap="3s"))
    tenant.create(mounting("shop"))
    tenant.ready("shop", 90)
    first = tenant.credential("shop")
    product.cluster.wait("rotation", lambda: tenant.credential("shop") != first, 40)
    second = tenant.credential("shop")
    assert product.manager.pg_login(*second)
    product.cluster.wait("the old user's end", lambda: not product.manager.pg_login(*first), 20)
    assert tenant.status("shop", "app")["restartCount"] == 0


def test_two_pods_of_one_projection(product, tenant, database_role):
    path = database_role("csitwo", "1h", "2h")
    tenant.create(projection(path))
    mark = product.manager.bao.audit_mark()
    for name in ("one", "two"):
        tenant.create(mounting(name))
    users = []
    for name in ("one", "two"):
        tenant.ready(name, 90)
        users.append(tenant.credential(name)[0])
    assert users[0] != users[1], "one database user per Pod"
    assert tenant.requests(mark)["read", path] == 2


def test_edit_reaches_a_running_pod(product, tenant):
    tenant.create(projection("kv/app/s1"))
    tenant.create(mounting("shop", script="while :; do sleep 3600 & wait $!; done"))
    tenant.ready("shop", 90)
    changed = projection("kv/app/s2")
    changed["metadata"]["namespace"] = tenant.name
    product.cluster.apply(changed)
    wanted = product.manager.bao.api("GET", "kv/data/app/s2").data["data"]["username"]
    product.cluster.wait("the edit", lambda: tenant.read("shop", "db/username") == wanted, 30)
    assert tenant.status("shop", "app")["restartCount"] == 0


def test_projection_deleted_under_a_running_pod(product, tenant, shop):
    before = tenant.credential("shop")
    product.cluster.delete("secretprojection", "-n", tenant.name, "db")
    path, mark = shop
    tenant.create(mounting("late"))
    product.cluster.wait("the reason", lambda: any("ProjectionNotFound" in e for e in tenant.events("late")), 60)
    assert tenant.credential("shop") == before and product.manager.pg_login(*before)
    assert tenant.requests(mark)["read", path] == 1


def test_without_a_group(tenant):
    tenant.create(projection("kv/app/s1"))
    tenant.create(mounting("shop", group=None))
    tenant.ready("shop", 90)
    assert tenant.read("shop", "db/username")


# -- what must not be mounted

BAD = {
    # name: (projection's spec, Pod's changes, what kubelet shows)
    "no-projection": (None, {}, "ProjectionNotFound"),
    "no-store": ({"storeRef": {"kind": "ClusterSecretStore", "name": "nowhere"}}, {}, "StoreNotFound"),
    "not-allowed": ({"items": [{"name": "db", "path": "secret/of-others"}]}, {}, "PathNotAllowed"),
    "not-there": ({"items": [{"name": "db", "path": "kv/app/nothing"}]}, {}, "PathNotFound"),
    "writable": ({}, {"read_only": False}, "VolumeInvalid"),
    "unknown-attribute": ({}, {"attributes": {"projection": "unknown-attribute", "role": "x"}}, "VolumeInvalid"),
    "reserved-attribute": (
        {},
        {"attributes": {"projection": "reserved-attribute", "csi.storage.k8s.io/pod.namespace": "default"}},
        None,
    ),
    "no-attribute": ({}, {"attributes": {}}, "VolumeInvalid"),
}


def test_bad_volumes_keep_their_pods_from_starting(product, tenant):
    for name, (spec, changes, _) in BAD.items():
        if spec is not None:
            tenant.create(projection("kv/app/s1", name, **spec))
        tenant.create(mounting(name, name, **changes))
    for name, (_, _, word) in BAD.items():
        if word is None:
            continue
        product.cluster.wait(f"{word} for {name}", lambda n=name, w=word: any(w in e for e in tenant.events(n)), 60)
        assert tenant.get("pod", name)["status"]["phase"] == "Pending"
    # Whatever a Pod's author writes for a reserved key, kubelet's own wins: it is this namespace, or nothing.
    product.cluster.wait(
        "an end of the reserved attribute",
        lambda: tenant.get("pod", "reserved-attribute")["status"]["phase"] == "Running"
        or any("VolumeInvalid" in e for e in tenant.events("reserved-attribute")),
        60,
    )


def test_account_that_the_manager_does_not_know(product, tenant):
    product.cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "stranger", "namespace": tenant.name}}
    )
    tenant.create(projection("kv/app/s1"))
    made = mounting("stranger")
    made["spec"]["serviceAccountName"] = "stranger"
    tenant.create(made)
    product.cluster.wait("the reason", lambda: any("LoginFailed" in e for e in tenant.events("stranger")), 60)
    assert tenant.get("pod", "stranger")["status"]["phase"] == "Pending"
