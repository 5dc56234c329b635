# SPDX-License-Identifier: Apache-2.0
"""Upgrade, rollback and uninstall with Pods running."""

from load import Load
from product import AGENT, LOGIN, NAMESPACE, RELEASE, RENEW, STORE, WEBHOOK, pod

CRDS = ["clustersecretstores.leasehold.dev", "secretstores.leasehold.dev"]


def containers(tenant, name):
    return [tenant.status(name, c)["containerID"] for c in (AGENT, "app")]


def test_upgrade_and_rollback_under_load(product, tenant, database_role):
    cluster = product.cluster
    path = database_role("upgraded", "12s", "10m")
    tenant.create(pod("shop", {"secret.db": path}))
    tenant.ready("shop")
    before, running = tenant.credential("shop"), containers(tenant, "shop")
    mark = product.manager.bao.audit_mark()
    webhooks = set(product.webhook_pods())
    with Load(tenant) as load:
        load.wait_for_more()
        product.helm("upgrade", "--set", "webhook.logLevel=debug,policy.maxSize=32Mi")
        upgraded = set(product.webhook_pods())
        assert not webhooks & upgraded
        product.cluster.helm("rollback", RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "120s")
        cluster.rollout(f"deployment/{WEBHOOK}", NAMESPACE)
        assert not upgraded & set(product.webhook_pods())
        load.wait_for_more()
    assert load.failures == []
    cluster.wait("a renewal", lambda: tenant.requests(mark)[RENEW], 20)
    asked = tenant.requests(mark)
    assert not asked["read", path] and not asked[LOGIN], asked
    assert tenant.credential("shop") == before
    assert containers(tenant, "shop") == running


def test_uninstall_leaves_stores_and_running_pods(product, tenant, database_role):
    cluster = product.cluster
    path = database_role("left", "12s", "10m")
    tenant.create(pod("shop", {"secret.db": path}))
    tenant.ready("shop")
    before, running = tenant.credential("shop"), containers(tenant, "shop")
    store = cluster.get("clustersecretstore", STORE)["metadata"]["uid"]
    product.uninstall()
    try:
        assert cluster.get("crd", *CRDS)["items"]
        assert cluster.get("clustersecretstore", STORE)["metadata"]["uid"] == store
        for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"):
            assert cluster.get(kind)["items"] == []
        cluster.wait("the webhooks' end", lambda: cluster.get("all", "-n", NAMESPACE)["items"] == [], 30)
        for kind in ("clusterroles", "clusterrolebindings"):
            assert [o for o in cluster.get(kind)["items"] if RELEASE in o["metadata"]["name"]] == []
        mark = product.manager.bao.audit_mark()
        cluster.wait("a renewal", lambda: tenant.requests(mark)[RENEW], 20)
        assert tenant.credential("shop") == before
        assert product.manager.pg_login(*before)
        assert containers(tenant, "shop") == running
    finally:
        product.install()
    assert cluster.get("clustersecretstore", STORE)["metadata"]["uid"] == store
    tenant.create(pod("next", {"secret.db": path}))
    tenant.ready("next")
    assert tenant.credential("next")[0] != before[0]
    tenant.delete("shop")
    cluster.wait("end of the user", lambda: before[0] not in product.manager.pg_users(), 5)
