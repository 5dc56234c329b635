# SPDX-License-Identifier: Apache-2.0
"""`leasehold drain` and the cluster controller: what is undone, what stays, and what both say."""

import itertools
import json
import subprocess

import pytest
from apiserver import rule
from controller import ACCOUNT, KINDS, LABEL, LEDGER, SYSTEM, Controller, projection
from procs import wait_until
from provision import add_database_role

numbers = itertools.count()
KEPT, FINALIZER = "leasehold.dev/kept-of", "leasehold.dev/revocation"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{ACCOUNT}"


def forget_all(apiserver):
    """What is left of earlier controllers, whose namespaces nobody serves any more, is not a test's to drain."""
    for found in apiserver.get(f"{KINDS}/secretprojections")["items"]:
        path = "{namespace}/secretprojections/{name}".format(**found["metadata"])
        apiserver.merge(f"{KINDS}/namespaces/{path}", {"metadata": {"finalizers": None}})
        apiserver.call("DELETE", f"{KINDS}/namespaces/{path}")
    ledger = f"/api/v1/namespaces/{SYSTEM}/secrets/{LEDGER}"
    if apiserver.get(ledger):
        apiserver.merge(ledger, {"data": dict.fromkeys(tokens(apiserver))})
    notes = {"leasehold.dev/drain": None, "leasehold.dev/drain-status": None}
    if apiserver.get(LEASE):
        apiserver.merge(LEASE, {"metadata": {"annotations": notes}})


@pytest.fixture
def controller(bin_dir, apiserver, manager, tmp_path):
    forget_all(apiserver)
    c = Controller(bin_dir, tmp_path, apiserver, manager, [f"drained-{next(numbers)}"])
    c.store()
    c.start()
    try:
        yield c.wait_active()
    finally:
        c.kill()
        forget_all(apiserver)


@pytest.fixture
def ns(controller):
    return controller.namespaces[0]


@pytest.fixture
def drain(bin_dir, apiserver):
    """drain(*args) with the rights that the reference names and no other: (exit code, JSON, progress)."""
    apiserver.account(SYSTEM, "leaver", [rule(["secretprojections"], ["list"])])
    lease = rule(["leases"], ["get", "patch"], groups=["coordination.k8s.io"], names=[ACCOUNT])
    apiserver.account(SYSTEM, "leaver", [lease], only_in=[SYSTEM])
    config = apiserver.kubeconfig(SYSTEM, "leaver")

    def run(*args):
        argv = [bin_dir / "leasehold", "drain", "--kubeconfig", config, "-o", "json", "--timeout", "60s", *args]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    return run


def users_of(manager, role):
    return {u for u in manager.pg_users() if f"-{role}-" in u}


def two_copies(controller, apiserver, manager, ns):
    """A plain copy and a leased one, both fresh; the role of the second."""
    role = f"x{ns[8:]}x"
    add_database_role(manager.bao, role, "1h", "24h")
    apiserver.apply(projection("plain", "kv/app/s1", ns), projection("db", f"database/creds/{role}", ns))
    for name in ("plain", "db"):
        controller.wait_condition(name, ns, "True")
    assert len(users_of(manager, role)) == 1
    return role


def tokens(apiserver):
    data = apiserver.get(f"/api/v1/namespaces/{SYSTEM}/secrets/{LEDGER}").get("data") or {}
    return [k for k in data if k.startswith("t.")]


def test_drain_undoes_and_copies_stay(controller, apiserver, manager, ns, drain):
    role = two_copies(controller, apiserver, manager, ns)
    before = {name: controller.data(name, ns) for name in ("plain", "db")}
    uid = controller.secret("plain", ns)["metadata"]["uid"]
    status, said, told = drain()
    assert status == 0, f"{said} {told} {controller.tail()}"
    assert said["done"] and said["items"] == [] and said["status"]["phase"] == "Drained"
    assert not users_of(manager, role) and tokens(apiserver) == []
    for name in ("plain", "db"):
        found, secret = controller.projection(name, ns), controller.secret(name, ns)["metadata"]
        assert "finalizers" not in found["metadata"]
        assert controller.condition(name, ns)["reason"] == "Drained"
        assert controller.data(name, ns) == before[name]
        assert LABEL not in secret.get("labels", {}) and "ownerReferences" not in secret
        assert secret["annotations"][KEPT] == found["metadata"]["uid"]
    # Nothing new, after a restart neither.
    apiserver.apply(projection("late", "kv/app/s1", ns))
    controller.wait_condition("late", ns, "False", "Drained")
    mark = manager.bao.audit_mark()
    controller.kill()
    controller.start().wait_active()
    wait_until("the new leader's word", lambda: controller.ask("/status")["drain"] == "Keep", 10)
    assert controller.metric("leasehold_cluster_draining") == 1
    assert drain()[0] == 0
    assert controller.secret("late", ns) is None and not users_of(manager, role)
    assert not manager.bao.requests(mark)["update", "auth/cluster-jwt/login"]
    # Taken back: the same Secrets are ours again, without adopt; one new credential.
    status, said, told = drain("--undo")
    assert status == 0 and said["done"], (said, told)
    assert controller.metric("leasehold_cluster_draining") == 0
    for name in ("plain", "db", "late"):
        controller.wait_condition(name, ns, "True")
    secret = controller.secret("plain", ns)["metadata"]
    assert secret["uid"] == uid and secret["labels"][LABEL] and len(secret["ownerReferences"]) == 1
    assert KEPT not in secret.get("annotations", {})
    assert controller.data("plain", ns) == before["plain"]
    assert len(users_of(manager, role)) == 1


def test_drain_deletes_copies_when_told(controller, apiserver, manager, ns, drain):
    role = two_copies(controller, apiserver, manager, ns)
    status, said, told = drain("--copies", "delete")
    assert status == 0, f"{said} {told} {controller.tail()}"
    assert controller.secret("plain", ns) is None and controller.secret("db", ns) is None
    assert not users_of(manager, role)
    assert "projections" in told
    assert drain("--undo")[0] == 0
    controller.wait_condition("db", ns, "True")


def test_many_at_once_are_no_mass_deletion(controller, apiserver, manager, ns, drain):
    """More than the breaker lets through by itself."""
    names = [f"many-{i}" for i in range(15)]
    apiserver.apply(*(projection(n, "kv/app/s1", ns) for n in names))
    for name in names:
        controller.wait_condition(name, ns, "True")
    status, said, _ = drain("--copies", "delete")
    assert status == 0, (said, controller.tail())
    assert [controller.secret(n, ns) for n in names] == [None] * 15
    assert controller.ask("/status")["deletionsHeld"] is None


def test_without_a_controller(controller, apiserver, manager, ns, drain):
    two_copies(controller, apiserver, manager, ns)
    controller.kill()
    status, said, _ = drain()
    assert status == 1 and not said["done"]
    assert not said["controller"]["leads"] and "nobody leads" in said["needs"]
    ours = said["items"]
    assert [(i["kind"], i["name"]) for i in ours] == [("SecretProjection", "db")]
    assert FINALIZER in ours[0]["action"]
    # It obeys when it is back.
    controller.start().wait_active()
    status, said, _ = drain()
    assert status == 0, (said, controller.tail())
    assert "finalizers" not in controller.projection("db", ns)["metadata"]


def test_what_cannot_be_undone_is_named(controller, apiserver, manager, ns, drain):
    """The manager does not let the account revoke: the token is shown with its accessor."""
    role = two_copies(controller, apiserver, manager, ns)
    controller.kill()
    manager.bao.api("PUT", "sys/policies/acl/revoker", {"policy": 'path "none" { capabilities = ["read"] }'})
    controller.start().wait_active()
    status, said, told = drain()
    assert status == 1, (said, told, controller.tail())
    ours = said["items"]
    assert ours and {i["kind"] for i in ours} == {"Token"} and all(i["givenUp"] for i in ours)
    assert all(i["accessor"] in i["action"] and "bao token revoke" in i["action"] for i in ours)
    assert users_of(manager, role)
    for accessor in (i["accessor"] for i in ours):
        manager.bao.api("POST", "auth/token/revoke-accessor", {"accessor": accessor})


def test_leader_killed_while_it_drains(controller, apiserver, manager, ns, drain):
    """The next one has read of the drain before it takes anything on, and ends what the first left."""
    role = two_copies(controller, apiserver, manager, ns)
    names = [f"more-{i}" for i in range(6)]
    apiserver.apply(*(projection(n, f"database/creds/{role}", ns) for n in names))
    for name in names:
        controller.wait_condition(name, ns, "True")
    assert len(users_of(manager, role)) == 7
    mark = manager.bao.audit_mark()
    apiserver.merge(LEASE, {"metadata": {"annotations": {"leasehold.dev/drain": "Keep"}}})
    wait_until("the first user gone", lambda: len(users_of(manager, role)) < 7, 20, 0.02)
    controller.kill()
    controller.start().wait_active()
    status, said, told = drain()
    assert status == 0, f"{said} {told} {controller.tail()}"
    assert not users_of(manager, role) and tokens(apiserver) == []
    assert all("finalizers" not in controller.projection(n, ns)["metadata"] for n in ["db", *names])
    assert not manager.bao.requests(mark)["read", f"database/creds/{role}"]


def test_deleted_lease_is_made_again(controller, apiserver, ns, drain):
    """Whoever deletes it takes a drain back, too."""
    assert drain()[0] == 0
    apiserver.call("DELETE", LEASE)
    wait_until("another Lease", lambda: apiserver.get(LEASE), 20)
    controller.wait_active()
    apiserver.apply(projection("plain", "kv/app/s1", ns))
    controller.wait_condition("plain", ns, "True", "Fresh")


def test_usage_and_rights(bin_dir, apiserver):
    apiserver.account(SYSTEM, "nobody", [])
    base = [bin_dir / "leasehold", "drain", "--kubeconfig", apiserver.kubeconfig(SYSTEM, "nobody")]
    for args in (["extra"], ["-o", "yaml"], ["--copies", "some"], ["--undo", "--copies", "delete"]):
        assert subprocess.run(base + args, capture_output=True, timeout=30).returncode == 2
    done = subprocess.run(base, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "Lease" in done.stderr and "forbidden" in done.stderr
