# SPDX-License-Identifier: Apache-2.0
"""Health of stores on a real API server with a real manager: conditions, and the wake-up of what waits."""

import base64
import itertools

import pytest
from controller import Controller, projection
from looksafter import LooksAfter
from procs import wait_until

KINDS = "/apis/leasehold.dev/v1alpha1"
numbers = itertools.count()


@pytest.fixture
def ns(apiserver):
    return apiserver.namespace(f"stores-{next(numbers)}")


@pytest.fixture
def care(bin_dir, apiserver, ns):
    c = LooksAfter(bin_dir.parent / "tests" / "health_do", apiserver, [ns]).start()
    yield c
    c.kill()


def store(bao, name, ns=None, **vault):
    block = {
        "addresses": [bao.address(0)],
        "caBundle": base64.b64encode(bao.ca.read_bytes()).decode(),
        "auth": {"jwt": {"role": "{namespace}", "audience": "vault"}},
        **vault,
    }
    return {
        "apiVersion": "leasehold.dev/v1alpha1",
        "kind": "SecretStore" if ns else "ClusterSecretStore",
        "metadata": {"name": name, **({"namespace": ns} if ns else {})},
        "spec": {"vault": {k: v for k, v in block.items() if v is not None}, "verify": "10s"},
    }


def read(apiserver, name, ns=None):
    place = f"namespaces/{ns}/secretstores" if ns else "clustersecretstores"
    return apiserver.get(f"{KINDS}/{place}/{name}")


def ready(apiserver, name, ns=None):
    found = (read(apiserver, name, ns) or {}).get("status", {}).get("conditions", [])
    return next((f"{c['status']} {c['reason']}" for c in found if c["type"] == "Ready"), "")


def wait_ready(apiserver, want, name, ns=None, seconds=30):
    wait_until(
        f"{want} of store {name}; it is {ready(apiserver, name, ns)}",
        lambda: ready(apiserver, name, ns) == want,
        seconds,
    )


def test_conditions_name_what_is_wrong(care, apiserver, manager, ns):
    bao = manager.bao
    not_pem = base64.b64encode(b"-----BEGIN nothing").decode()
    apiserver.apply(
        store(bao, "good", ns),
        store(bao, f"shared-{ns}"),
        store(bao, "name", ns, tlsServerName="somebody.else"),
        store(bao, "away", ns, addresses=["https://127.0.0.1:1"]),
        store(bao, "metadata", ns, addresses=["https://169.254.169.254"]),
        store(bao, "pem", ns, caBundle=not_pem),
        store(bao, "of-pods", ns, caBundle=None, caBundleRef={"name": "ca", "key": "ca.crt"}),
    )
    wait_ready(apiserver, "True Available", "good", ns)
    wait_ready(apiserver, "True Available", f"shared-{ns}")
    wait_ready(apiserver, "False CertificateInvalid", "name", ns)
    wait_ready(apiserver, "False Unreachable", "away", ns)
    wait_ready(apiserver, "False AddressNotAllowed", "metadata", ns)
    wait_ready(apiserver, "Unknown HealthUnknown", "of-pods", ns)
    assert ready(apiserver, "pem", ns).startswith("False ")
    found = read(apiserver, "good", ns)
    status = found["status"]
    assert status["observedGeneration"] == found["metadata"]["generation"] == 1
    assert status["conditions"][0]["observedGeneration"] == 1
    owners = {m["manager"] for m in found["metadata"]["managedFields"] if m.get("subresource") == "status"}
    assert owners == {"leasehold-store-health"}
    # A mended spec is seen at once.
    path = f"{KINDS}/namespaces/{ns}/secretstores/name"
    apiserver.merge(path, {"spec": {"vault": {"tlsServerName": None}}})
    wait_ready(apiserver, "True Available", "name", ns, 10)
    assert read(apiserver, "name", ns)["status"]["observedGeneration"] == 2
    apiserver.call("DELETE", f"{KINDS}/clustersecretstores/shared-{ns}")


STATUS_WRITTEN = ("patch", "secretstores/status", 200)


def writes_of(care, apiserver, mark):
    """How often it wrote what since mark; the audit log has a request a moment after its answer."""
    return {k[1:]: n for k, n in apiserver.requests(mark).items() if k[0] == care.user and k[1] == "patch"}


def test_sealed_and_woken_again(care, apiserver, manager, ns):
    bao = manager.bao
    apiserver.apply(store(bao, "vault", ns))
    wait_ready(apiserver, "True Available", "vault", ns)
    care.send("depend", namespace=ns, name="vault")
    mark = apiserver.audit_mark()
    bao.seal()
    try:
        care.send("report")
        wait_ready(apiserver, "False Sealed", "vault", ns)
        assert not [s for s in care.said if s["what"] == "woken"]
    finally:
        bao.unseal()
    wait_ready(apiserver, "True Available", "vault", ns)
    wait_until("the wake-up", lambda: [s["what"] for s in care.said] == ["woken"], 5)
    wait_until("two writes", lambda: writes_of(care, apiserver, mark) == {STATUS_WRITTEN: 2}, 5)


def test_another_leader_writes_nothing_anew(care, apiserver, manager, ns):
    apiserver.apply(store(manager.bao, "vault", ns))
    wait_ready(apiserver, "True Available", "vault", ns)
    assert care.stop() == 0
    mark = apiserver.audit_mark()
    manager_mark = manager.bao.audit_mark()
    care.start()
    care.send("depend", namespace=ns, name="absent")
    apiserver.apply(store(manager.bao, "absent", ns))
    wait_ready(apiserver, "True Available", "absent", ns)
    wait_until("the wake-up", lambda: [s["what"] for s in care.said] == ["woken"], 5)
    wait_until("one write", lambda: writes_of(care, apiserver, mark) == {STATUS_WRITTEN: 1}, 5)
    # Nobody logs in to ask how a manager is.
    assert not [k for k in manager.bao.requests(manager_mark) if "login" in k[1]]


def test_the_controller_says_it_and_goes_on_by_itself(bin_dir, apiserver, manager, ns, tmp_path):
    c = Controller(bin_dir, tmp_path, apiserver, manager, [ns])
    c.store()
    c.start()
    try:
        c.wait_active()
        wait_ready(apiserver, "True Available", "vault")
        apiserver.apply(projection("early", "kv/app/s1", ns))
        c.wait_data("early", ns)
        manager.bao.seal()
        try:
            apiserver.apply(projection("late", "kv/app/s2", ns))
            c.wait_condition("late", ns, "False", "Sealed")
            wait_ready(apiserver, "False Sealed", "vault")
        finally:
            manager.bao.unseal()
        assert c.wait_data("late", ns, seconds=15)["username"] == "user2"
        wait_ready(apiserver, "True Available", "vault")
        # The status is written first; the metric follows its answer.
        wait_until("the metric", lambda: c.metric("leasehold_store_ready", kind="ClusterSecretStore", store="vault") == 1, 10)
    finally:
        c.kill()
