# SPDX-License-Identifier: Apache-2.0
"""The API server bed does what the tests that use it rely on."""

import subprocess

import pytest
from apiserver import ApiServer, Refused, rule
from procs import wait_until

CONFIGMAPS = "/api/v1/namespaces/{}/configmaps"


def as_account(server, kubeconfig, *args):
    """kubectl as somebody else; (exit code, output)."""
    argv = [server._kube / "kubectl", f"--kubeconfig={kubeconfig}", *args]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_accounts_meet_their_rules_and_are_counted(apiserver):
    apiserver.namespace("beda")
    apiserver.namespace("bedb")
    user = apiserver.account("beda", "reader", [rule(["configmaps"], ["get", "list"])], only_in=["bedb"])
    config = apiserver.kubeconfig("beda", "reader")
    mark = apiserver.audit_mark()

    assert as_account(apiserver, config, "get", "configmaps", "-n", "bedb")[0] == 0
    code, text = as_account(apiserver, config, "get", "configmaps", "-n", "beda")

    assert code != 0 and "forbidden" in text
    counts = apiserver.requests(mark)
    assert counts[user, "list", "configmaps", 200] == 1
    assert counts[user, "list", "configmaps", 403] == 1


def test_serves_our_kinds(apiserver):
    path = "/apis/leasehold.dev/v1alpha1/clustersecretstores"
    with pytest.raises(Refused) as refused:
        apiserver.call("POST", path, {"apiVersion": "leasehold.dev/v1alpha1", "kind": "ClusterSecretStore"})
    assert refused.value.status in (400, 422)
    assert isinstance(apiserver.call("GET", path)["items"], list)


def test_namespaces_end_and_owners_take_along(apiserver):
    apiserver.namespace("bedc")
    owner = apiserver.call("POST", CONFIGMAPS.format("bedc"), {"metadata": {"name": "owner"}})["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    owned = {"metadata": {"name": "owned", "ownerReferences": [reference]}}
    apiserver.call("POST", CONFIGMAPS.format("bedc"), owned)

    apiserver.call("DELETE", CONFIGMAPS.format("bedc") + "/owner")
    wait_until("collected object", lambda: apiserver.get(CONFIGMAPS.format("bedc") + "/owned") is None, 30, 0.1)

    apiserver.call("DELETE", "/api/v1/namespaces/bedc")
    wait_until("end of the namespace", lambda: apiserver.get("/api/v1/namespaces/bedc") is None, 30, 0.1)


def test_keeps_objects_over_a_restart():
    with ApiServer(crds=False) as server:
        server.namespace("kept")
        server.stop("apiserver", hard=True)
        server.stop("etcd")
        assert not server.alive("apiserver") and not server.alive("etcd")
        server.start()
        assert server.get("/api/v1/namespaces/kept")["metadata"]["name"] == "kept"
        folder = server.folder
    assert not folder.exists()


def test_tokens_have_the_audience_that_was_asked_for(apiserver, manager):
    apiserver.namespace("bedd")
    apiserver.trust(manager.bao, {"bedd-default": ("bedd", "default")}, mount="apiserver-jwt")
    token = apiserver.token("default", "bedd", audience="vault")
    assert manager.login_jwt("bedd-default", token, mount="apiserver-jwt")["client_token"]
