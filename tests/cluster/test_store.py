# SPDX-License-Identifier: Apache-2.0
"""Kinds of stores and logins, as the API server takes them and the manager accepts them."""

import base64
import json

import pytest
from procs import wait_until
from product import ACCOUNT, AGENT, LOGIN, STORE, application, pod


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


def shared_logins(product):
    """Methods whose credential is a Secret of the namespace: the store's auth, and the Secret's data."""
    role_id, secret_id = product.manager.approle("agent")
    certificate, key = (f.read_text() for f in product.manager.client_certificate)
    bao = product.manager.bao
    # With it the agent ends the leases one by one that it made by a token which others use as well.
    bao.api("PUT", "sys/policies/acl/ender", {"policy": 'path "sys/leases/revoke" { capabilities = ["update"] }'})
    token = bao.api("POST", "auth/token/create", {"policies": ["app", "ender"], "ttl": "1h"}).data
    by_key = {name: {"name": name, "key": "secret"} for name in ("approle", "token")}
    return {
        "approle": (
            {"appRole": {"mount": "approle", "roleId": role_id, "secretIdRef": by_key["approle"]}},
            {"secret": secret_id},
        ),
        "cert": (
            {"cert": {"mount": "cert", "role": "app", "secretRef": {"name": "cert"}}},
            {"tls.crt": certificate, "tls.key": key},
        ),
        "token": ({"token": {"secretRef": by_key["token"]}}, {"secret": token["client_token"]}),
    }


def test_logins_whose_secret_only_the_agent_sees(product, tenant, database_role):
    manager = product.manager
    logins = shared_logins(product)
    for name, (auth, data) in logins.items():
        product.cluster.apply(secret(tenant, name, data), own_store(product, tenant, auth, name))
    for name in logins:
        annotations = {"secret.db": database_role(f"by-{name}", "1h", "2h"), "store": f"SecretStore/{name}"}
        done = tenant.create(pod(name, annotations), check=False)
        assert done.returncode == 0, done.stderr
    users = {}
    for name, (_, data) in logins.items():
        tenant.ready(name)
        user, password = tenant.credential(name)
        assert manager.pg_login(user, password)
        users[name] = user
        made = tenant.get("pod", name)
        agent, app = made["spec"]["initContainers"][0], made["spec"]["containers"][0]
        assert agent["name"] == AGENT and "leasehold-token" not in {v["name"] for v in made["spec"]["volumes"]}
        assert {m["name"] for m in app["volumeMounts"]} == {"leasehold-secrets"}
        (mount,) = [m for m in agent["volumeMounts"] if m["name"] == "leasehold-credential"]
        assert mount["readOnly"]
        everything = json.dumps(made) + tenant.logs(name, AGENT)
        assert not any(value in everything for value in data.values())

    # What is not asked for by name is not there: one Secret may hold more than the agent is to see.
    volumes = {v["name"]: v for v in tenant.get("pod", "token")["spec"]["volumes"]}
    assert volumes["leasehold-credential"]["secret"]["items"] == [{"key": "secret", "path": "secret"}]

    for name in logins:
        tenant.delete(name)
    for name in logins:
        wait_until(f"end of {name}'s user", lambda n=name: users[n] not in manager.pg_users(), 5)
    # The token is the store's, not the Pod's: others live by it.
    token = logins["token"][1]["secret"]
    assert manager.bao.api("GET", "auth/token/lookup-self", token=token).data["policies"] == ["app", "default", "ender"]


def test_static_role_is_read_again_when_it_rotates(product, tenant):
    annotations = {"secret.db": "database/static-creds/static1", "on-change": "signal:HUP@sh"}
    tenant.create(pod("shop", annotations, application("cat db/password")))
    tenant.ready("shop")
    mark = product.manager.bao.audit_mark()
    # It rotates whenever it is due, so between any two of these lines.
    product.cluster.wait("a login by the file", lambda: product.manager.pg_login(*tenant.credential("shop")), 5)
    product.cluster.wait("the application to be told of a rotation", lambda: len(set(tenant.told("shop"))) > 1, 30)
    user, fresh = tenant.credential("shop")
    assert user == "static1" and fresh != tenant.told("shop")[0], "what the application started with"
    product.cluster.wait("a login by the file", lambda: product.manager.pg_login(*tenant.credential("shop")), 5)
    assert not tenant.requests(mark)[LOGIN]


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
