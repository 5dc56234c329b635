# SPDX-License-Identifier: Apache-2.0
"""Manager, kubelet and trust fail under Pods that start or run."""

import pathlib
import re

import pytest
from pki import Authority
from product import AGENT, LOGIN, RENEW, STORE, pod
from provision import put_kv2


def causes(tenant, name):
    """What the startup probe said, as kubelet's events carry it."""
    return [text for text in tenant.events(name) if "Startup probe failed" in text]


def waits(tenant, name):
    return "waiting" in tenant.status(name, "app")["state"] and tenant.status(name, AGENT)["restartCount"] == 0


def test_manager_away_at_pod_start(product, tenant, database_role):
    path = database_role("away", "1h", "2h")
    cluster, bao = product.cluster, product.manager.bao
    bao.stop()
    try:
        for name in ("shop", "other"):
            tenant.create(pod(name, {"secret.db": path}))
        cluster.wait("the cause", lambda: any("Unreachable" in c for c in causes(tenant, "shop")), 60)
        described = cluster.kubectl("describe", "pod", "-n", tenant.name, "shop").stdout
        cause = next(c for c in causes(tenant, "shop") if "Unreachable" in c)
        for word in (STORE, bao.address().removeprefix("https://")):
            assert word in cause and word in described, cause
        assert waits(tenant, "shop")

        tenant.delete("other")
        cluster.wait("the end of a Pod that never started", lambda: tenant.gone("other"), 10)
        cluster.restart_daemon("kubelet-a")
        cluster.wait_for("node/node-a", "condition=Ready")
        assert waits(tenant, "shop")
    finally:
        bao.start()
    tenant.ready("shop", 20)
    user, password = tenant.credential("shop")
    assert product.manager.pg_login(user, password)
    assert tenant.told("shop") == [user]
    assert tenant.status("shop", AGENT)["restartCount"] == 0


def test_sealed_manager(product, tenant):
    bao = product.manager.bao
    bao.seal()
    try:
        tenant.create(pod("shop", {"secret.settings": "kv/app/s1"}, "exec sleep 3600"))
        product.cluster.wait("the cause", lambda: any("Sealed" in c for c in causes(tenant, "shop")), 60)
        assert waits(tenant, "shop")
    finally:
        bao.unseal()
    tenant.ready("shop", 20)


def test_secret_that_comes_later(product, tenant):
    tenant.create(pod("shop", {"secret.settings": "kv/app/later"}, "exec sleep 3600"))
    product.cluster.wait("the cause", lambda: any("PathNotFound" in c for c in causes(tenant, "shop")), 60)
    cause = next(c for c in causes(tenant, "shop") if "PathNotFound" in c)
    assert "kv/app/later" in cause and STORE in cause, cause
    put_kv2(product.manager.bao, "app/later", {"colour": "blue"})
    tenant.ready("shop", 20)
    assert tenant.read("shop", "settings/colour") == "blue"


@pytest.fixture
def strange_stores(product, tmp_path):
    """Stores that know another authority, or expect another name: what a typing mistake makes of them."""
    elsewhere = Authority(tmp_path / "elsewhere", name="somebody else").ca.read_text()
    stores = [product.store("strange-authority", ca=elsewhere), product.store("strange-name")]
    stores[1]["spec"]["vault"]["tlsServerName"] = "vault.example"
    product.cluster.apply(*stores)
    yield
    for store in stores:
        product.cluster.delete("clustersecretstore", store["metadata"]["name"])


def test_describe_names_cause_store_and_path(product, tenant, strange_stores):
    cluster, bao = product.cluster, product.manager.bao
    put_kv2(bao, "app/half", {"username": "half"})
    pods = {
        "authority": ("kv/app/s1", "strange-authority", "CertificateInvalid"),
        "name": ("kv/app/s1", "strange-name", "CertificateInvalid"),
        "key": ("kv/app/half#colour", STORE, "KeyNotFound"),
        "role": ("database/creds/nobody-made-it", STORE, "(?!Starting)[A-Z]\\w+"),
    }
    for name, (path, store, _) in pods.items():
        chosen = {"secret.settings": path, "store": f"ClusterSecretStore/{store}"}
        tenant.create(pod(name, chosen, "exec sleep 3600"))

    def cause(name, words):
        found = [c for c in causes(tenant, name) if re.search(f"failed: ({words}): ", c)]
        return found[-1] if found else None

    for name, (path, store, words) in pods.items():
        said = cluster.wait(f"the cause of {name}", lambda n=name, w=words: cause(n, w), 60)
        assert f'"{store}"' in said, said
        if not words.startswith("Certificate"):  # no path is asked for before somebody trusted is there
            assert path.partition("#")[0] in said, said
        described = cluster.kubectl("describe", "pod", "-n", tenant.name, name).stdout
        assert said.partition("failed: ")[2].strip() in described
        assert waits(tenant, name)
    put_kv2(bao, "app/half", {"username": "half", "colour": "blue"})
    tenant.ready("key", 20)
    assert tenant.read("key", "settings") == "blue"
    for name in pods:
        tenant.delete(name)
    cluster.wait("the end of all of them", lambda: all(tenant.gone(name) for name in pods), 30)


def test_account_that_the_manager_does_not_know(product, tenant):
    cluster = product.cluster
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody", "namespace": tenant.name}}
    cluster.apply(account)
    tenant.create(pod("shop", {"secret.settings": "kv/app/s1"}, serviceAccountName="nobody"))
    cluster.wait("the cause", lambda: any("LoginFailed" in c for c in causes(tenant, "shop")), 60)
    tenant.delete("shop")
    cluster.wait("the Pod's end", lambda: tenant.gone("shop"), 10)


def test_manager_restarts_under_a_running_pod(product, tenant, database_role):
    path = database_role("restarted", "20s", "10m")
    tenant.create(pod("shop", {"secret.db": path}))
    tenant.ready("shop")
    before = tenant.credential("shop")
    mark = product.manager.bao.audit_mark()
    product.manager.bao.restart(hard=True)
    product.cluster.wait("a renewal", lambda: tenant.requests(mark)[RENEW], 30)
    asked = tenant.requests(mark)
    assert not asked["read", path] and not asked[LOGIN], asked
    assert tenant.credential("shop") == before


@pytest.fixture
def bundle_store(product):
    """A second store, whose CA is a ConfigMap in the Pod's namespace. The manager's own CA is new afterwards."""
    name = "by-reference"
    product.cluster.apply(product.store(name, ca_ref={"name": "manager-ca", "key": "ca.crt"}))
    yield f"ClusterSecretStore/{name}"
    product.cluster.delete("clustersecretstore", name)
    product.cluster.apply(product.store())


def test_manager_ca_rotates_under_a_running_pod(product, tenant, database_role, bundle_store):
    cluster, bao = product.cluster, product.manager.bao
    path = database_role("trusted", "30s", "10m")

    def trust(*pems):
        data = {"ca.crt": "".join(pems)}
        metadata = {"name": "manager-ca", "namespace": tenant.name}
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    old = bao.ca.read_text()
    trust(old)
    tenant.create(pod("shop", {"secret.db": path, "store": bundle_store}))
    tenant.ready("shop")
    before = tenant.credential("shop")
    mounted = mounted_ca(cluster, tenant, "shop")
    assert mounted.read_text() == old
    mark = bao.audit_mark()

    bao.rotate_ca()
    new = bao.ca.read_text()
    assert new != old
    trust(old, new)
    # kubelet looks at a Pod that changed at once, else within a minute or so.
    cluster.kubectl("annotate", "pod", "-n", tenant.name, "shop", "touched=yes")
    cluster.wait("the new bundle in the Pod", lambda: mounted.read_text() == old + new, 60)
    bao.restart()  # no connection made under the old certificate is left
    since = bao.audit_mark()
    cluster.wait("a renewal", lambda: tenant.requests(since)[RENEW], 40)
    asked = tenant.requests(mark)
    assert not asked["read", path] and not asked[LOGIN], asked
    assert tenant.credential("shop") == before
    assert product.manager.pg_login(*before)
    assert tenant.status("shop", AGENT)["restartCount"] == 0


def mounted_ca(cluster, tenant, name):
    """The bundle where kubelet keeps it for the agent, seen from this machine."""
    uid = tenant.get("pod", name)["metadata"]["uid"]
    volumes = pathlib.Path(cluster.folder) / "a" / "kubelet" / "pods" / uid / "volumes"
    return volumes / "kubernetes.io~configmap" / "leasehold-ca" / "ca.crt"
