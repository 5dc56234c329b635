# SPDX-License-Identifier: Apache-2.0
"""docs/upgrade.md, Leave: drain, uninstall with everything in place, and back again."""

import json

import pytest
from procs import wait_until
from product import LOGIN, NAMESPACE, RENEW, SERVED, pod
from provision import put_kv2
from volumes import copy, mounting, projection

FINALIZER = "leasehold.dev/revocation"
KINDS = ["clustersecretstores.leasehold.dev", "secretprojections.leasehold.dev", "secretstores.leasehold.dev"]


@pytest.fixture
def drain(product, bin_dir):
    """drain(*args): exit code and what it says."""

    def run(*args):
        done = product.cluster.in_node(bin_dir / "leasehold", "drain", "-o", "json", *args, check=False)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def finalizers(cluster):
    found = cluster.get("secretprojections", "-A")["items"]
    return [p["metadata"]["name"] for p in found if FINALIZER in p["metadata"].get("finalizers", [])]


def uids(cluster):
    found = cluster.get("clustersecretstores,secretprojections", "-A")["items"]
    return {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]): o["metadata"]["uid"] for o in found}


def issued(product, mark, path):
    return product.manager.bao.requests(mark)["read", path]


def test_leave_and_come_back(product, tenant, served, drain, database_role):
    cluster, manager = product.cluster, product.manager
    # The volume's outlives the time without a driver; the agent's is renewed meanwhile.
    ttls = {"copied": "10m", "mounted": "10m", "injected": "30s"}
    paths = {n: database_role(f"leave-{n}", ttl, "1h") for n, ttl in ttls.items()}
    put_kv2(manager.bao, "app/leave", {"password": "plain"})
    mark = manager.bao.audit_mark()
    served.create(copy("plain", "kv/app/leave"))
    served.create(copy("db", paths["copied"]))
    tenant.create(projection(paths["mounted"]))
    tenant.create(mounting("mounts"))
    tenant.create(pod("asks", {"secret.db": paths["injected"]}))
    for name in ("plain", "db"):
        cluster.wait_for(f"secretprojection/{name}", "condition=Ready", SERVED, 60)
    for name in ("mounts", "asks"):
        tenant.ready(name)
    assert "db" in finalizers(cluster)
    before = {name: tenant.credential(name) for name in ("mounts", "asks")}
    copied, objects = served.data("db"), uids(cluster)
    assert [issued(product, mark, p) for p in paths.values()] == [1, 1, 1]

    # 1: what the controller made outside is undone; copies stay, and belong to nobody.
    status, said = drain()
    # A leader that an earlier test killed leaves a login that this store's policy does not let its successor revoke: told.
    told = [i for i in said["items"] if (i["kind"], i["name"]) != ("Token", "shared")]
    assert said["done"] and told == [] and status == (1 if said["items"] else 0), said["items"]
    assert finalizers(cluster) == []
    wait_until("the copy's user gone", lambda: copied["username"] not in manager.pg_users(), 15)
    assert served.data("plain") == {"password": "plain"} and served.data("db") == copied
    for name in ("plain", "db"):
        assert "ownerReferences" not in served.get("secret", name)["metadata"]

    # 3: running Pods keep their files, and agents renew.
    product.uninstall()
    try:
        cluster.wait("the end of all Pods", lambda: cluster.get("pods", "-n", NAMESPACE)["items"] == [], 60)
        assert uids(cluster) == objects and cluster.get("crd", *KINDS)["items"]
        renewals = manager.bao.audit_mark()
        cluster.wait("a renewal", lambda: tenant.requests(renewals)[RENEW], 40)
        assert {name: tenant.credential(name) for name in before} == before
        assert manager.pg_login(*before["asks"])
        # Nothing stands in the way of a namespace that goes meanwhile.
        doomed = product.namespace("leaves-at-once")
        doomed.create(copy("db", paths["copied"]))
        cluster.delete("namespace", doomed.name)
        assert served.data("plain") == {"password": "plain"}
        status, said = drain()
        assert status == 1 and "no such Lease" in said["needs"] and said["items"] == []
    finally:
        product.install()

    # Back: the same objects and Secrets, without adopt; one credential in place of the revoked one, none beside it.
    for name in ("plain", "db"):
        cluster.wait_for(f"secretprojection/{name}", "condition=Ready", SERVED, 60)
    assert uids(cluster) == objects
    for name in ("plain", "db"):
        owners = served.get("secret", name)["metadata"]["ownerReferences"]
        assert [o["uid"] for o in owners] == [objects["SecretProjection", SERVED, name]]
    fresh = served.data("db")
    assert fresh["username"] != copied["username"] and manager.pg_login(fresh["username"], fresh["password"])
    assert {name: tenant.credential(name) for name in before} == before
    assert issued(product, mark, paths["copied"]) == 2
    assert issued(product, mark, paths["mounted"]) == issued(product, mark, paths["injected"]) == 1
    assert tenant.requests(mark)[LOGIN] == 2  # the driver's for one Pod, and the agent of the other
    status, said = drain("--undo")  # a release that is new is not drained: nothing to take back
    assert status == 0, said
