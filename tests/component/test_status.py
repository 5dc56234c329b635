# SPDX-License-Identifier: Apache-2.0
"""`leasehold status` against a real API server: what it shows to whom, and how it ends."""

import json
import select
import subprocess
import time

import pytest
from apiserver import rule

GROUP = "/apis/leasehold.dev/v1alpha1"
SEALED = {"type": "Ready", "status": "False", "reason": "Sealed", "message": "the manager is sealed"}
FRESH = {"type": "Ready", "status": "True", "reason": "Fresh", "message": ""}
STORE = {
    "apiVersion": "leasehold.dev/v1alpha1",
    "kind": "ClusterSecretStore",
    "metadata": {"name": "status-vault"},
    "spec": {
        "vault": {
            "addresses": ["https://vault.example:8200"],
            "auth": {"jwt": {"mount": "jwt", "role": "app", "audience": "vault"}},
        },
    },
}
CANARY = "s3cr3t-canary"


def projection(name, namespace):
    return {
        "apiVersion": "leasehold.dev/v1alpha1",
        "kind": "SecretProjection",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "storeRef": {"kind": "ClusterSecretStore", "name": "status-vault"},
            "items": [{"name": "db", "path": "database/creds/shop"}],
        },
    }


def say(apiserver, path, condition):
    condition = condition | {"lastTransitionTime": "2026-01-01T00:00:00Z"}
    apiserver.merge(f"{GROUP}/{path}/status", {"status": {"conditions": [condition]}})


@pytest.fixture(scope="module")
def place(apiserver):
    """A store that is sealed, a projection in each of two namespaces, and Pods of each kind; gives a kubeconfig."""
    ours = rule(["secretstores", "clustersecretstores", "secretprojections"], ["list", "watch"], ["leasehold.dev"])
    for name in ("status-a", "status-b"):
        apiserver.namespace(name)
        apiserver.apply(projection("db", name))
    apiserver.apply(STORE)
    say(apiserver, "clustersecretstores/status-vault", SEALED)
    say(apiserver, "namespaces/status-a/secretprojections/db", SEALED)
    say(apiserver, "namespaces/status-b/secretprojections/db", FRESH)
    app = {"name": "app", "image": "app", "env": [{"name": "PASSWORD", "value": CANARY}]}
    csi = {"driver": "csi.leasehold.dev", "readOnly": True, "volumeAttributes": {"projection": "db"}}
    for name, annotations, spec in (
        ("plain", {}, {}),
        ("mounted", {}, {"volumes": [{"name": "s", "csi": csi}]}),
        ("missed", {"leasehold.dev/secret.db": "a/b"}, {}),
    ):
        metadata = {"name": name, "namespace": "status-a", "annotations": annotations}
        apiserver.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [app]} | spec})
    apiserver.account("status-a", "reader", [ours, rule(["pods"], ["list", "watch"])])
    apiserver.account("status-a", "half", [ours])
    return apiserver


def command(place, bin_dir, *args, account="reader"):
    return [bin_dir / "leasehold", "status", "--kubeconfig", place.kubeconfig("status-a", account), *args]


def run(*args, **more):
    done = subprocess.run(command(*args, **more), capture_output=True, text=True, check=False, timeout=60)
    assert CANARY not in done.stdout + done.stderr
    return done


def rows(text):
    return [line.split() for line in text.split("\n\n")[0].splitlines()]


def test_table(place, bin_dir):
    done = run(place, bin_dir, "-n", "status-a")
    assert done.returncode == 1, done.stderr
    head, *lines = rows(done.stdout)
    assert head == ["KIND", "NAMESPACE", "NAME", "READY", "REASON", "STORE", "AGE"]
    assert [line[:6] for line in lines if line[0] != "ClusterSecretStore" or line[2] == "status-vault"] == [
        ["ClusterSecretStore", "-", "status-vault", "False", "Sealed", "-"],
        ["SecretProjection", "status-a", "db", "False", "Sealed", "status-vault"],
        ["Pod", "status-a", "missed", "False", "NotInjected", "-"],
        ["Pod", "status-a", "mounted", "Unknown", "Starting", "-"],
    ]
    assert done.stdout.count("Sealed: ") == 1 and "NotInjected: " in done.stdout


def test_all_namespaces_as_json(place, bin_dir):
    done = run(place, bin_dir, "-A", "-o", "json")
    document = json.loads(done.stdout)
    assert done.returncode == 1 and document["version"] == 1 and document["ok"] is False
    found = {(i["kind"], i["namespace"], i["name"]): i for i in document["items"]}
    well = found["SecretProjection", "status-b", "db"]
    assert (well["ready"], well["reason"], well["action"]) == ("True", "Fresh", None)
    sealed = found["SecretProjection", "status-a", "db"]
    assert sealed["message"] == SEALED["message"] and sealed["action"]
    assert sealed["since"] == "2026-01-01T00:00:00.000Z"
    assert found["Pod", "status-a", "mounted"]["delivery"] == "csi"
    assert document["unknown"] == []


def test_what_may_not_be_read_is_said(place, bin_dir):
    done = run(place, bin_dir, "-A", account="half")
    assert done.returncode == 1
    assert "SecretProjection" in done.stdout
    assert "Not known:\nPod: " in done.stdout and "403" in done.stdout


def test_without_an_api_server(place, bin_dir, tmp_path):
    config = tmp_path / "kubeconfig"
    text = place.kubeconfig("status-a", "reader").read_text()
    config.write_text(text.replace(place.url, "https://127.0.0.1:1"))
    done = run(place, bin_dir, "--kubeconfig", config)
    assert done.returncode == 1 and done.stdout.count("\n") >= 4 and "Not known:" in done.stdout


def test_watch(place, bin_dir):
    # Unbuffered, so that select() sees all that there is.
    process = subprocess.Popen(command(place, bin_dir, "-n", "status-b", "-w"), stdout=subprocess.PIPE, bufsize=0)
    try:
        seen = []

        def read_until(text):
            end = time.monotonic() + 30
            while not any(text in line for line in seen):
                assert select.select([process.stdout], [], [], max(0, end - time.monotonic()))[0], seen
                seen.append(process.stdout.readline().decode())
            return seen

        read_until("Sealed: ")
        say(place, "namespaces/status-b/secretprojections/db", SEALED | {"reason": "Unreachable"})
        assert [line.split()[3:5] for line in read_until("Unreachable")][-1] == ["False", "Unreachable"]
    finally:
        process.kill()
        process.wait()
        say(place, "namespaces/status-b/secretprojections/db", FRESH)
