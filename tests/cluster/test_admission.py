# SPDX-License-Identifier: Apache-2.0
"""What admission says, and that nobody is turned away while the webhook and its CA change."""

import base64
import json
import subprocess

import pytest
from load import Load
from product import NAMESPACE, WEBHOOK, deployment, pod

CA_SECRET = f"{WEBHOOK}-ca"


def test_install_leaves_a_clean_log(product):
    for name in product.webhook_pods():
        lines = product.cluster.kubectl("logs", "-n", NAMESPACE, name).stdout.splitlines()
        assert lines
        assert [line for line in lines if json.loads(line)["level"] in ("warn", "error")] == []


def test_webhook_reads_no_secret_but_its_own(product):
    account = f"system:serviceaccount:{NAMESPACE}:{WEBHOOK}"

    def may(*what):
        return product.cluster.kubectl("auth", "can-i", *what, f"--as={account}", check=False).stdout.strip()

    assert may("get", f"secrets/{CA_SECRET}", "-n", NAMESPACE) == "yes"
    assert may("list", "secrets", "-n", NAMESPACE) == "no"
    assert may("get", "secrets/other", "-n", NAMESPACE) == "no"
    assert may("get", "secrets", "-n", "default") == "no"
    assert may("create", "pods", "-n", NAMESPACE) == "no"


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        (
            {"secret.db": "database/creds/../../sys/seal"},
            ["leasehold.dev/secret.db", "PathInvalid"],
        ),
        (
            {"secret.db": "cubbyhole/x"},
            ["leasehold.dev/secret.db: PathNotAllowed:", '"openbao"', '"cubbyhole/x"', "it allows kv/app/*"],
        ),
        (
            {"secert.db": "kv/app/s1", "secret.a": "kv/app/s1"},
            ["leasehold.dev/secert.db: AnnotationUnknown", "the nearest is leasehold.dev/secret.NAME"],
        ),
        (
            {"secret.db": "kv/app/s1", "store": "nowhere"},
            ["leasehold.dev/store: StoreNotFound", '"nowhere"'],
        ),
        (
            {"secret.db": "kv/app/s1", "mode.db": "rw"},
            ["leasehold.dev/mode.db"],
        ),
    ],
    ids=["traversal", "path", "unknown", "store", "mode"],
)
def test_denied_pod(tenant, annotations, words):
    done = tenant.create(pod("shop", annotations), check=False)
    assert done.returncode != 0
    for word in [*words, "kubectl leasehold explain"]:
        assert word in done.stderr, done.stderr


def test_denied_deployment(tenant):
    done = tenant.create(deployment("shop", {"secret.db": "kv/app/s1", "format.db": "xml"}), check=False)
    assert done.returncode != 0
    assert "leasehold.dev/format.db" in done.stderr
    assert tenant.get("deployments")["items"] == []


def test_deployment_ahead_of_its_store_is_warned(tenant):
    done = tenant.create(deployment("shop", {"secret.db": "cubbyhole/x"}, replicas=0))
    assert "Warning: leasehold.dev/secret.db: PathNotAllowed" in done.stderr


def test_annotation_in_the_wrong_place_is_warned(tenant):
    made = deployment("shop", {}, replicas=0)
    made["metadata"]["annotations"] = {"leasehold.dev/secret.db": "kv/app/s1"}
    done = tenant.create(made)
    assert "Warning: " in done.stderr
    assert "spec.template.metadata" in done.stderr


def test_namespace_that_no_store_admits(product):
    product.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stranger"}})
    try:
        made = pod("shop", {"secret.db": "kv/app/s1"}, serviceAccountName="default")
        made["metadata"]["namespace"] = "stranger"
        product.cluster.wait(
            "ServiceAccount", lambda: product.cluster.kubectl("get", "sa", "-n", "stranger", "-o", "name").stdout
        )
        done = product.cluster.kubectl("create", "-f", "-", input=json.dumps(made), check=False)
        assert done.returncode != 0
        assert "StoreNotFound" in done.stderr
        assert "spec.allow" in done.stderr
        assert "openbao" not in done.stderr, "stores of others are not this namespace's business"
    finally:
        product.cluster.delete("namespace", "stranger", wait=False)


def test_rollout_under_load(product, tenant):
    before = product.webhook_pods()
    with Load(tenant) as load:
        load.wait_for_more()
        product.cluster.kubectl("rollout", "restart", "-n", NAMESPACE, f"deployment/{WEBHOOK}")
        product.cluster.rollout(f"deployment/{WEBHOOK}", NAMESPACE)
        product.cluster.wait("the old Pods' end", lambda: not set(before) & set(_all_pods(product)), 60)
        load.wait_for_more()
    assert load.failures == []


def _all_pods(product):
    return [p["metadata"]["name"] for p in product.cluster.get("pods", "-n", NAMESPACE)["items"]]


def _ca(product):
    """Newest CA, all CAs, and the leaf of the webhook's Secret."""
    data = product.cluster.get("secret", "-n", NAMESPACE, CA_SECRET).get("data", {})
    return {k: base64.b64decode(v).decode() for k, v in data.items() if v}


def _served(product):
    """Certificates that the replicas show, as PEM."""
    pods = product.cluster.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=leasehold-webhook")["items"]
    shown = []
    for p in pods:
        argv = ["/usr/bin/openssl", "s_client", "-connect", f"{p['status']['podIP']}:8443", "-showcerts"]
        text = product.cluster.in_node(*argv, input="", check=False).stdout
        start = text.find("-----BEGIN CERTIFICATE-----")
        shown.append(text[start : text.find("-----END CERTIFICATE-----")].strip())
    return shown


def _issuer_is(leaf, ca, tmp_path):
    (tmp_path / "ca.pem").write_text(ca)
    (tmp_path / "leaf.pem").write_text(leaf)
    argv = ["openssl", "verify", "-CAfile", tmp_path / "ca.pem", tmp_path / "leaf.pem"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_new_ca_under_load(product, tenant, tmp_path):
    old = _ca(product)
    with Load(tenant) as load:
        load.wait_for_more()
        patch = json.dumps([{"op": "remove", "path": "/data/ca.key"}])
        product.cluster.kubectl("patch", "secret", "-n", NAMESPACE, CA_SECRET, "--type=json", "-p", patch)
        product.cluster.wait("a new CA", lambda: "ca.key" in _ca(product), 30)
        both = _ca(product)["ca.crt"]
        assert both.count("BEGIN CERTIFICATE") == old["ca.crt"].count("BEGIN CERTIFICATE") + 1
        assert old["ca.crt"].strip() in both, "the old CA is trusted while its leaf is served"
        product.cluster.wait("a leaf by the new CA", lambda: _ca(product)["tls.crt"] != old["tls.crt"], 60)
        leaf = _ca(product)["tls.crt"]
        wanted = leaf.partition("-----END")[0].strip()
        product.cluster.wait("both replicas to serve it", lambda: set(_served(product)) == {wanted}, 30)
        load.wait_for_more()
    assert load.failures == []
    assert not _issuer_is(leaf, old["ca.crt"], tmp_path)
    assert _issuer_is(leaf, both, tmp_path)
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        for hook in product.cluster.get(kind, WEBHOOK)["webhooks"]:
            assert base64.b64decode(hook["clientConfig"]["caBundle"]).decode() == both
