# SPDX-License-Identifier: Apache-2.0
"""What needs a second node: replicas apart from each other, and a Pod on a node without API server and manager."""

import pytest
from procs import wait_until
from product import AGENT, NAMESPACE, pod

B = {"kubernetes.io/hostname": "node-b"}


@pytest.fixture(autouse=True)
def second_node(cluster):
    if "b" not in cluster.nodes:
        pytest.skip("the cluster has one node (--nodes 2)")


def test_pod_on_another_node(product, tenant, database_role):
    cluster, manager = product.cluster, product.manager
    webhooks = cluster.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=leasehold-webhook")["items"]
    assert {p["spec"]["nodeName"] for p in webhooks} == {"node-a", "node-b"}
    path = database_role("elsewhere", "12s", "10m")
    mark = manager.bao.audit_mark()
    tenant.create(pod("shop", {"secret.db": path}, nodeSelector=B))
    tenant.ready("shop")
    before = tenant.credential("shop")
    assert tenant.get("pod", "shop")["spec"]["nodeName"] == "node-b"
    assert manager.pg_login(*before) and tenant.told("shop") == [before[0]]

    cluster.restart_daemon("kubelet-b")
    cluster.kill_container("shop", AGENT, tenant.name)
    cluster.wait("the agent's return", lambda: tenant.status("shop", AGENT)["restartCount"] == 1, 60)
    cluster.wait("the gate", lambda: tenant.status("shop", AGENT)["started"], 30)
    assert tenant.credential("shop") == before
    assert tenant.requests(mark)["read", path] == 1
    tenant.delete("shop")
    wait_until("end of the user", lambda: before[0] not in manager.pg_users(), 5)
