# SPDX-License-Identifier: Apache-2.0
"""What the token of a node's driver is good for: one condition of its own node's Pods."""

import json

import pytest
from cluster import API
from product import CHART, NAMESPACE, pod, pod_spec

ACCOUNT = "leasehold-node"
CONDITION = "leasehold.dev/SecretsFresh"
RIGHTS = ["node-rbac.yaml", "node-policy.yaml"]
IDLE = "exec sleep 3600"


@pytest.fixture(scope="module")
def rights(product):
    """The driver's account and what limits it, also where the release was installed without the driver."""
    cluster = product.cluster
    if cluster.get("clusterroles", "--field-selector", f"metadata.name={ACCOUNT}")["items"]:
        yield
        return
    only = [a for name in RIGHTS for a in ("--show-only", f"templates/{name}")]
    args = ["template", "leasehold", CHART, "-n", NAMESPACE, "--set", "node.enabled=true"]
    text = cluster.helm(*args, *only).stdout
    cluster.kubectl("apply", "-f", "-", input=text)
    yield
    cluster.kubectl("delete", "-f", "-", input=text)


@pytest.fixture(scope="module")
def token(product, rights):
    """As kubelet gives it: bound to a Pod of the account, and so to its node."""
    spec = {**pod_spec(IDLE), "serviceAccountName": ACCOUNT}
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "driver", "namespace": NAMESPACE},
        "spec": spec,
    }
    product.cluster.apply(made)
    product.cluster.wait_for("pod/driver", "condition=Ready", NAMESPACE)
    args = ["create", "token", "-n", NAMESPACE, ACCOUNT, "--duration=600s"]
    yield product.cluster.kubectl(*args, "--bound-object-kind=Pod", "--bound-object-name=driver").stdout.strip()
    product.cluster.delete("pod", "-n", NAMESPACE, "driver", wait=False)


class Driver:
    """The API server as the driver meets it."""

    def __init__(self, cluster, token):
        self.cluster, self.token = cluster, token

    def kubectl(self, *args):
        # Not the bed's own configuration: its certificate would win over the token.
        server = [f"--server={API}", f"--certificate-authority={self.cluster.ca}"]
        return self.cluster.kubectl("--kubeconfig=/dev/null", *server, f"--token={self.token}", *args, check=False)

    def patch(self, path, body):
        """Status and message of a patch alone: kubectl would read the object first."""
        headers = [f"Authorization: Bearer {self.token}", "Content-Type: application/strategic-merge-patch+json"]
        argv = ["/usr/bin/curl", "-s", "--cacert", self.cluster.ca, "-X", "PATCH", "-d", json.dumps(body)]
        argv += [a for h in headers for a in ("-H", h)]
        answer = json.loads(self.cluster.in_node(*map(str, argv), f"{API}/api/v1/{path}").stdout)
        return answer.get("code", 200), answer.get("message", "")

    def patch_pod(self, namespace, pod, body):
        return self.patch(f"namespaces/{namespace}/pods/{pod}", body)

    def patch_status(self, namespace, pod, status):
        return self.patch(f"namespaces/{namespace}/pods/{pod}/status", {"status": status})


@pytest.fixture
def driver(product, token):
    return Driver(product.cluster, token)


def condition(kind=CONDITION, status="True"):
    return {"conditions": [{"type": kind, "status": status, "reason": "Fresh", "message": "by a test"}]}


@pytest.fixture
def shop(tenant):
    tenant.create(pod("shop", {}, IDLE))
    tenant.ready("shop")
    return tenant


def test_its_own_condition_only(shop, driver):
    assert driver.patch_status(shop.name, "shop", condition()) == (200, "")
    for status in (condition("Ready", "False"), condition("Other"), {"phase": "Failed"}, {"podIP": "10.0.0.1"}):
        code, message = driver.patch_status(shop.name, "shop", status)
        assert code in (403, 422) and "Leasehold" in message, (status, code, message)
    code, message = driver.patch(
        f"namespaces/{shop.name}/pods/shop/status", {"metadata": {"labels": {"a": "b"}}, "status": condition()}
    )
    assert code in (403, 422) and "labels" in message, (code, message)
    code, message = driver.patch_pod(shop.name, "shop", {"metadata": {"annotations": {"a": "b"}}})
    assert code == 403, (code, message)
    assert driver.kubectl("delete", "pod", "-n", shop.name, "shop").returncode != 0


def test_not_another_nodes_pods(shop, driver):
    other = pod("elsewhere", {}, IDLE)
    del other["spec"]["nodeSelector"]
    other["spec"]["nodeName"] = "node-z"
    shop.create(other)
    code, message = driver.patch_status(shop.name, "elsewhere", condition())
    assert code in (403, 422) and "own node's Pods" in message, (code, message)


def test_not_by_a_token_of_no_pod(product, shop, rights):
    loose = Driver(product.cluster, product.cluster.token(ACCOUNT, NAMESPACE, audience=None))
    code, message = loose.patch_status(shop.name, "shop", condition())
    assert code in (403, 422) and "own node's Pods" in message, (code, message)


def test_nothing_else(tenant, driver):
    for args in (
        ("get", "secrets", "-A"),
        ("get", "secrets", "-n", NAMESPACE),
        ("create", "token", "-n", tenant.name, "shop", "--audience=vault"),
        ("get", "configmaps", "-n", tenant.name),
        ("create", "configmap", "-n", tenant.name, "x"),
        ("delete", "node", "node-a"),
        ("get", "nodes"),
        ("delete", "secretprojection", "-n", tenant.name, "db"),
    ):
        refused = driver.kubectl(*args)
        assert refused.returncode != 0 and "forbidden" in refused.stderr.lower(), (args, refused.stderr)
