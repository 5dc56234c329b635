# SPDX-License-Identifier: Apache-2.0
"""Kinds of stores and logins, as the API server takes them and the manager accepts them."""

import base64

import pytest
from procs import wait_until
from product import ACCOUNT, AGENT, STORE, pod


def own_store(product, tenant, auth, name="own"):
    pem = product.manager.bao.ca.read_text()
    vault = {
        "addresses": [product.manager.bao.address()],
        "caBundle": base64.b64encode(pem.encode()).decode(),
        "kv2Mounts": ["kv"],
        "auth": auth,
    }
    return {
        "apiVersion": "leasehold.dev/v1alpha1",
        "kind": "SecretStore",
        "metadata": {"name": name, "namespace": tenant.name},
        "spec": {"vault": vault},
    }


def secret(tenant, name, data):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": tenant.name},
        "stringData": data,
    }


def admitted(tenant, annotations):
    """Creates Pod shop; the webhook learns of a new store within a moment."""
    done = tenant.create(pod("shop", annotations), check=False)
    assert done.returncode == 0, done.stderr
    tenant.ready("shop")


def test_login_by_kubernetes(product, tenant, database_role):
    product.cluster.trust(product.manager.bao, {f"{tenant.name}-{ACCOUNT}": (tenant.name, ACCOUNT)})
    auth = {"kubernetes": {"mount": "kubernetes", "role": "{namespace}-{serviceAccount}", "audience": "vault"}}
    product.cluster.apply(own_store(product, tenant, auth))
    mark = product.manager.bao.audit_mark()
    admitted(tenant, {"secret.db": database_role("kubernetes", "1h", "2h"), "store": "SecretStore/own"})
    assert product.manager.pg_login(*tenant.credential("shop"))
    assert product.manager.bao.requests(mark)["update", "auth/kubernetes/login"] == 1


def test_login_by_approle_whose_secret_only_the_agent_sees(product, tenant, database_role):
    role_id, secret_id = product.manager.approle("agent")
    product.cluster.apply(secret(tenant, "approle", {"secret-id": secret_id}))
    auth = {
        "appRole": {
            "mount": "approle",
            "roleId": role_id,
            "secretIdRef": {"name": "approle", "key": "secret-id"},
        }
    }
    product.cluster.apply(own_store(product, tenant, auth))
    admitted(tenant, {"secret.db": database_role("approle", "1h", "2h"), "store": "SecretStore/own"})
    user, password = tenant.credential("shop")
    assert product.manager.pg_login(user, password)
    spec = tenant.get("pod", "shop")["spec"]
    mounts = {m["name"] for m in spec["containers"][0]["volumeMounts"]}
    assert mounts == {"leasehold-secrets"}
    assert "leasehold-credential" in {m["name"] for m in spec["initContainers"][0]["volumeMounts"]}
    assert spec["initContainers"][0]["name"] == AGENT
    tenant.delete("shop")
    wait_until("end of the user", lambda: user not in product.manager.pg_users(), 5)


def test_two_stores_need_a_choice(product, tenant):
    auth = {"jwt": {"mount": "cluster-jwt", "role": f"{tenant.name}-{ACCOUNT}", "audience": "vault"}}
    product.cluster.apply(own_store(product, tenant, auth))

    def ambiguous():
        done = tenant.create(pod("shop", {"secret.settings": "kv/app/s1"}), check=False)
        if done.returncode == 0:  # the webhook has not heard of the second store yet
            tenant.delete("shop")
            product.cluster.wait("the Pod's end", lambda: tenant.gone("shop"), 30)
        return done.stderr if done.returncode else None

    said = product.cluster.wait("a denial", ambiguous, 60)
    for word in ("StoreAmbiguous", "SecretStore/own", f"ClusterSecretStore/{STORE}"):
        assert word in said
    product.cluster.kubectl("annotate", "namespace", tenant.name, "leasehold.dev/default-store=SecretStore/own")

    def admits():
        return tenant.create(pod("shop", {"secret.settings": "kv/app/s1"}), check=False).returncode == 0

    product.cluster.wait("the namespace's choice", admits, 10)
    tenant.ready("shop")
    assert tenant.read("shop", "settings/username") == "user1"


@pytest.mark.parametrize(
    ("vault", "words"),
    [
        ({"addresses": ["http://10.90.0.1:8200"]}, "https"),
        ({"addresses": []}, "addresses"),
        ({"auth": {"token": {"secretRef": {"name": "a", "key": "b"}}}}, "auth"),
        ({"auth": {}}, "auth"),
        ({"auth": {"jwt": {"mount": "jwt", "role": "x", "audience": ""}}}, "audience"),
    ],
    ids=["http", "no-address", "secret-in-a-cluster-store", "no-method", "empty-audience"],
)
def test_refused_by_the_api_server(product, vault, words):
    store = product.store("refused")
    store["spec"]["vault"].update(vault)
    done = product.cluster.apply(store, check=False)
    assert done.returncode != 0
    assert words in done.stderr
    product.cluster.delete("clustersecretstore", "refused")
