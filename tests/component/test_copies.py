# SPDX-License-Identifier: Apache-2.0
"""leasehold-controller cluster: Secret copies, on a real API server with a real manager and database."""

import base64
import itertools
import json

import pytest
from controller import ACCOUNT, KINDS, LABEL, SYSTEM, Controller, projection
from procs import wait_until
from provision import add_database_role, put_kv2

numbers = itertools.count()
DEFAULT_STORE = "leasehold.dev/default-store"


@pytest.fixture
def controller(bin_dir, apiserver, manager, tmp_path):
    """One that leads, of a namespace of its own."""
    c = Controller(bin_dir, tmp_path, apiserver, manager, [f"shop-{next(numbers)}"])
    c.store()
    c.start()
    try:
        yield c.wait_active()
    finally:
        c.kill()


@pytest.fixture
def ns(controller):
    return controller.namespaces[0]


def users_of(manager, role):
    return {u for u in manager.pg_users() if f"-{role}-" in u}


def test_a_copy_from_projection_to_secret(controller, apiserver, manager, ns):
    mark = apiserver.audit_mark()
    apiserver.apply(projection("one", "kv/app/s1", ns))
    data = controller.wait_data("one", ns)
    assert data["username"] == "user1" and data["password"].startswith("pw-1-")
    ready = controller.wait_condition("one", ns, "True", "Fresh")
    found = controller.projection("one", ns)
    secret = controller.secret("one", ns)
    assert ready["observedGeneration"] == found["metadata"]["generation"] == found["status"]["observedGeneration"]
    assert [i["name"] for i in found["status"]["items"]] == ["db"]
    assert data["password"] not in str(found["status"])
    assert secret["type"] == "Opaque" and secret["metadata"]["labels"][LABEL] == found["metadata"]["uid"]
    assert [o["uid"] for o in secret["metadata"]["ownerReferences"]] == [found["metadata"]["uid"]]
    assert "finalizers" not in found["metadata"]  # nothing outside is its own
    made = apiserver.requests(mark)
    assert made[controller.user, "patch", "secrets", 201] == 1
    assert made[controller.user, "patch", "secretprojections/status", 200] == 1


def test_steady_state_writes_nothing(controller, apiserver, manager, ns):
    apiserver.apply(projection("calm", "kv/app/s1", ns))
    controller.wait_condition("calm", ns, "True")
    before = controller.secret("calm", ns), controller.projection("calm", ns)
    mark = apiserver.audit_mark()
    reads = manager.bao.requests(0).total()
    wait_until("three more polls", lambda: manager.bao.requests(0).total() >= reads + 3, 20)
    assert (controller.secret("calm", ns), controller.projection("calm", ns)) == before
    asked = {(verb, what) for user, verb, what, _ in apiserver.requests(mark) if user == controller.user}
    # The Lease is renewed; the ledger may still undo what other tests left behind.
    assert asked <= {("get", "leases"), ("update", "leases"), ("patch", "secrets"), ("create", "serviceaccounts/token")}


def test_rotation_reaches_the_secret(controller, apiserver, manager, ns):
    put_kv2(manager.bao, f"app/{ns}", {"password": "before"})
    apiserver.apply(projection("turn", f"kv/app/{ns}", ns))
    controller.wait_data("turn", ns, lambda d: d == {"password": "before"})
    version = controller.wait_condition("turn", ns, "True") and controller.projection("turn", ns)["status"]["items"]
    put_kv2(manager.bao, f"app/{ns}", {"password": "after"})
    controller.wait_data("turn", ns, lambda d: d == {"password": "after"})
    wait_until("another version", lambda: controller.projection("turn", ns)["status"]["items"] != version, 10)


def test_a_database_user_is_renewed_and_rotated_while_the_old_one_lives(controller, apiserver, manager, ns):
    role = f"r{ns[5:]}x"
    add_database_role(manager.bao, role, "5s", "10s")
    apiserver.apply(projection("db", f"database/creds/{role}", ns, overlap="3s"))
    first = controller.wait_data("db", ns)
    assert manager.pg_login(first["username"], first["password"])
    second = controller.wait_data("db", ns, lambda d: d["username"] != first["username"], 30)
    assert manager.pg_login(second["username"], second["password"])
    assert "leasehold.dev/revocation" in controller.projection("db", ns)["metadata"]["finalizers"]


def test_edit_of_the_spec(controller, apiserver, ns):
    apiserver.apply(projection("edit", "kv/app/s1", ns))
    controller.wait_data("edit", ns, lambda d: d["username"] == "user1")
    controller.edit("edit", ns, {"items": [{"name": "db", "path": "kv/app/s2"}]})
    controller.wait_data("edit", ns, lambda d: d["username"] == "user2")
    controller.edit("edit", ns, {"kubernetesSecret": {"name": "renamed"}})
    controller.wait_data("renamed", ns, lambda d: d["username"] == "user2")
    wait_until("the old Secret gone", lambda: controller.secret("edit", ns) is None, 20)
    # The type of a Secret cannot be changed: it is made anew.
    keys = [{"path": "username", "key": "username"}, {"path": "password", "key": "password"}]
    items = [{"name": "db", "path": "kv/app/s2", "files": keys}]
    controller.edit(
        "edit", ns, {"kubernetesSecret": {"name": "renamed", "type": "kubernetes.io/basic-auth"}, "items": items}
    )
    wait_until(
        f"another type; {controller.tail()}",
        lambda: (controller.secret("renamed", ns) or {}).get("type") == "kubernetes.io/basic-auth",
        20,
    )
    # A mistake keeps what is there.
    controller.edit("edit", ns, {"items": [{"name": "db", "path": "secret/not/allowed"}]})
    controller.wait_condition("edit", ns, "False", "PathNotAllowed")
    assert controller.data("renamed", ns)["username"] == "user2"
    controller.edit("edit", ns, {"items": items})
    controller.wait_condition("edit", ns, "True")


def test_drift_is_repaired(controller, apiserver, ns):
    apiserver.apply(projection("drift", "kv/app/s1", ns))
    good = controller.wait_data("drift", ns)
    path = f"/api/v1/namespaces/{ns}/secrets/drift"
    controller.wait_condition("drift", ns, "True")
    apiserver.merge(path, {"data": {"password": base64.b64encode(b"x").decode()}})
    controller.wait_data("drift", ns, lambda d: d == good)
    apiserver.merge(path, {"data": {"password": None}})
    controller.wait_data("drift", ns, lambda d: d == good)
    apiserver.merge(path, {"metadata": {"labels": {LABEL: None}, "ownerReferences": None}})
    uid = controller.projection("drift", ns)["metadata"]["uid"]
    # Without either it is nobody's: not ours to write any more.
    controller.wait_condition("drift", ns, "False", "SecretNotOurs")
    apiserver.merge(path, {"metadata": {"labels": {LABEL: uid}}})
    wait_until("owner reference", lambda: controller.secret("drift", ns)["metadata"].get("ownerReferences"), 20)
    apiserver.call("DELETE", path)
    controller.wait_data("drift", ns, lambda d: d == good)
    controller.wait_condition("drift", ns, "True")


@pytest.fixture
def no_secrets(apiserver, ns):
    """An admission policy that lets no Secret into the namespace; takes it away when called."""
    names = {"name": f"no-secrets-{ns}"}
    group = "/apis/admissionregistration.k8s.io/v1"
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": names}
    only = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns}}}
    writes = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]}
    apiserver.apply(
        {
            **kind,
            "kind": "ValidatingAdmissionPolicy",
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {**only, "resourceRules": [writes]},
                "validations": [{"expression": "false", "message": "no Secrets here"}],
            },
        },
        {
            **kind,
            "kind": "ValidatingAdmissionPolicyBinding",
            "spec": {"policyName": names["name"], "validationActions": ["Deny"]},
        },
    )
    probe = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe", "namespace": ns}}

    def refused():
        body, path = json.dumps(probe), f"/api/v1/namespaces/{ns}/secrets?dryRun=All"
        return apiserver.raw("POST", path, body, {"Content-Type": "application/json"})[0] == 422

    def lift():
        for plural in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            if apiserver.get(f"{group}/{plural}/{names['name']}") is not None:
                apiserver.call("DELETE", f"{group}/{plural}/{names['name']}")

    wait_until("the policy is served", refused, 30)
    yield lift
    lift()


def test_a_copy_that_admission_refuses_is_tried_with_backoff(controller, apiserver, ns, no_secrets):
    """It was read and written in turn without a pause."""
    mark = apiserver.audit_mark()
    apiserver.apply(projection("unwanted", "kv/app/s1", ns))
    controller.wait_condition("unwanted", ns, "False", "PublishFailed")
    wait_until("three tries", lambda: apiserver.requests(mark)[controller.user, "patch", "secrets", 422] >= 3, 20)
    made = apiserver.requests(mark)
    assert made[controller.user, "patch", "secrets", 422] < 10
    assert made[controller.user, "get", "secrets", 404] < 10
    no_secrets()
    controller.wait_data("unwanted", ns, seconds=60)
    controller.wait_condition("unwanted", ns, "True")


def test_an_immutable_copy_is_made_anew(controller, apiserver, manager, ns):
    put_kv2(manager.bao, f"app/{ns}", {"password": "before"})
    apiserver.apply(projection("stone", f"kv/app/{ns}", ns))
    controller.wait_data("stone", ns)
    controller.wait_condition("stone", ns, "True")
    before = controller.secret("stone", ns)["metadata"]["uid"]
    apiserver.merge(f"/api/v1/namespaces/{ns}/secrets/stone", {"immutable": True})
    put_kv2(manager.bao, f"app/{ns}", {"password": "after"})
    controller.wait_data("stone", ns, lambda d: d == {"password": "after"})
    assert controller.secret("stone", ns)["metadata"]["uid"] != before


def test_a_foreign_secret_is_left_alone(controller, apiserver, ns):
    foreign = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs", "namespace": ns}}
    apiserver.apply({**foreign, "data": {"mine": base64.b64encode(b"1").decode()}})
    before = controller.secret("theirs", ns)
    apiserver.apply(projection("theirs", "kv/app/s1", ns))
    message = controller.wait_condition("theirs", ns, "False", "SecretNotOurs")["message"]
    assert '"theirs"' in message and "adopt" in message
    assert controller.secret("theirs", ns) == before
    controller.edit("theirs", ns, {"kubernetesSecret": {"name": "theirs", "adopt": True}})
    controller.wait_data("theirs", ns, lambda d: d.get("username") == "user1" and d["mine"] == "1")
    controller.wait_condition("theirs", ns, "True")


def test_deleted_projection_leaves_nothing(controller, apiserver, manager, ns):
    role = f"d{ns[5:]}x"
    add_database_role(manager.bao, role, "1h", "24h")
    apiserver.apply(projection("gone", f"database/creds/{role}", ns))
    data = controller.wait_data("gone", ns)
    controller.wait_condition("gone", ns, "True")
    assert manager.pg_login(data["username"], data["password"])
    controller.delete("gone", ns)
    wait_until(f"projection gone; {controller.tail()}", lambda: controller.projection("gone", ns) is None, 30)
    # The token was revoked before the finalizer went; the manager ends its leases right behind.
    wait_until("the user's end", lambda: not manager.pg_login(data["username"], data["password"]), 5)
    wait_until("Secret gone", lambda: controller.secret("gone", ns) is None, 30)


def test_killed_and_restarted(controller, apiserver, manager, ns):
    role = f"k{ns[5:]}x"
    add_database_role(manager.bao, role, "1h", "24h")
    apiserver.apply(projection("plain", "kv/app/s1", ns), projection("db", f"database/creds/{role}", ns, overlap="1s"))
    first = controller.wait_data("db", ns)
    for name in ("plain", "db"):
        controller.wait_condition(name, ns, "True")
    before = controller.secret("plain", ns), controller.projection("plain", ns)
    controller.kill()
    mark = apiserver.audit_mark()
    controller.start().wait_active()
    second = controller.wait_data("db", ns, lambda d: d["username"] != first["username"])
    wait_until(
        f"the first user's end; {controller.tail()}",
        lambda: not manager.pg_login(first["username"], first["password"]),
        30,
    )
    assert len(users_of(manager, role)) == 1 and manager.pg_login(second["username"], second["password"])
    # What needs no lease is found as it is: nothing is written.
    assert (controller.secret("plain", ns), controller.projection("plain", ns)) == before
    assert apiserver.requests(mark)[controller.user, "patch", "secrets", 201] == 0


def test_force_sync(controller, apiserver, manager, ns):
    controller.apiserver.merge(f"{KINDS}/clustersecretstores/vault", {"spec": {"refresh": {"default": "1h"}}})
    put_kv2(manager.bao, f"app/{ns}", {"password": "before"})
    apiserver.apply(projection("now", f"kv/app/{ns}", ns))
    controller.wait_data("now", ns)
    controller.wait_condition("now", ns, "True")
    put_kv2(manager.bao, f"app/{ns}", {"password": "after"})
    path = f"{KINDS}/namespaces/{ns}/secretprojections/now"
    apiserver.merge(path, {"metadata": {"annotations": {"leasehold.dev/force-sync": "1"}}})
    controller.wait_data("now", ns, lambda d: d == {"password": "after"}, 10)


def test_a_namespace_that_is_not_served(controller, apiserver):
    apiserver.namespace("elsewhere")
    apiserver.apply(projection("no", "kv/app/s1", "elsewhere"))
    controller.wait_condition("no", "elsewhere", "False", "NamespaceNotServed")
    assert controller.secret("no", "elsewhere") is None


def test_a_store_that_only_the_namespace_names(controller, apiserver, ns):
    """Two stores admit it; what its annotation says is seen at once, also where nothing is due."""
    apiserver.apply(
        {
            "apiVersion": "leasehold.dev/v1alpha1",
            "kind": "SecretStore",
            "metadata": {"name": "other", "namespace": ns},
            "spec": {
                "vault": {
                    "addresses": ["https://127.0.0.1:1"],
                    "auth": {"jwt": {"mount": "jwt", "role": "r", "audience": "vault"}},
                }
            },
        },
        projection("least", "kv/app/s1", ns, storeRef=None),
    )

    def name_default(store):
        apiserver.merge(f"/api/v1/namespaces/{ns}", {"metadata": {"annotations": {DEFAULT_STORE: store}}})

    controller.wait_condition("least", ns, "False", "StoreAmbiguous")
    name_default("ClusterSecretStore/vault")
    controller.wait_data("least", ns, lambda d: d["username"] == "user1")
    controller.wait_condition("least", ns, "True")
    name_default("ClusterSecretStore/none")
    controller.wait_condition("least", ns, "False", "StoreNotFound")
    assert controller.data("least", ns)["username"] == "user1"
    name_default(None)
    controller.wait_condition("least", ns, "False", "StoreAmbiguous")
    apiserver.call("DELETE", f"/apis/leasehold.dev/v1alpha1/namespaces/{ns}/secretstores/other")
    controller.wait_condition("least", ns, "True")


def test_manager_away_at_first(controller, apiserver, manager, ns):
    put_kv2(manager.bao, f"app/{ns}", {"password": "x"})
    apiserver.apply(projection("late", f"kv/app/{ns}-missing", ns))
    controller.wait_condition("late", ns, "False", "PathNotFound")
    put_kv2(manager.bao, f"app/{ns}-missing", {"password": "y"})
    controller.wait_data("late", ns, lambda d: d == {"password": "y"}, 20)
    controller.wait_condition("late", ns, "True")


def test_many_deletions_at_once_wait_for_a_person(controller, apiserver, manager, ns):
    role = f"m{ns[5:]}x"
    add_database_role(manager.bao, role, "1h", "24h")
    names = [f"many-{i}" for i in range(12)]
    apiserver.apply(*(projection(n, f"database/creds/{role}", ns) for n in names))
    for name in names:
        controller.wait_condition(name, ns, "True")
    for name in names:
        controller.delete(name, ns)
    wait_until(f"a hold; {controller.tail()}", lambda: controller.ask("/status")["deletionsHeld"], 30)
    hold = controller.ask("/status")["deletionsHeld"]
    assert all(controller.projection(n, ns) for n in names) and len(users_of(manager, role)) == len(names)
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{ACCOUNT}"
    apiserver.merge(lease, {"metadata": {"annotations": {"leasehold.dev/confirm-deletions": hold}}})
    wait_until(
        f"all gone; {controller.tail()}", lambda: not any(controller.projection(n, ns) for n in names), 60
    )
    wait_until("no user is left", lambda: not users_of(manager, role), 10)
