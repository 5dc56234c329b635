# SPDX-License-Identifier: Apache-2.0
"""The webhook program alone, with stores from a folder: what it makes of rubbish, of crowds and of its own end."""

import base64
import http.client
import json
import resource
import signal
import socket
import ssl
import subprocess
import time

import pytest
from pki import Authority
from procs import free_ports, wait_until

NAME = "leasehold-webhook.leasehold-system.svc"
STORES = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: leasehold.dev/v1alpha1
kind: ClusterSecretStore
metadata: {name: vault}
spec:
  vault:
    addresses: ["https://vault.example:8200"]
    auth: {jwt: {mount: k8s, role: "{namespace}-{serviceAccount}", audience: vault}}
  allow:
  - namespaces: [shop]
    paths: ["database/creds/*"]
"""
LIMIT = 512
CROWD = 600
TLS_ALERT = b"\x15"


class Webhook:
    def __init__(self, bin_dir, folder):
        self.folder = folder
        (folder / "stores").mkdir()
        (folder / "stores" / "all.yaml").write_text(STORES)
        self.pki = Authority(folder / "pki")
        self.cert, self.key = self.pki.leaf("webhook", "/CN=webhook", [f"DNS:{NAME}"])
        self.port, self.metrics_port = free_ports(2)
        self.log = open(folder / "webhook.log", "w+b")
        self.process = subprocess.Popen(
            [
                *(bin_dir / "leasehold-webhook", "--listen", f"127.0.0.1:{self.port}"),
                *("--metrics", f"127.0.0.1:{self.metrics_port}", "--stores", folder / "stores"),
                *("--tls-cert", self.cert, "--tls-key", self.key),
            ],
            stderr=self.log,
        )
        wait_until("ready webhook", self.ready, 10)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()

    def ready(self):
        assert self.process.poll() is None, self.text()
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def text(self):
        return (self.folder / "webhook.log").read_text(encoding="utf-8")

    def connect(self):
        """A TLS connection that checks the certificate against the name in it."""
        context = ssl.create_default_context(cafile=str(self.pki.ca))
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return context.wrap_socket(raw, server_hostname=NAME)

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.sock = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, body):
        return self.request("POST", path, body, {"Content-Type": "application/json"})

    def metric(self, line):
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return next((float(x.rpartition(" ")[2]) for x in text.splitlines() if x.startswith(line + " ")), None)

    def connections(self):
        return self.metric("leasehold_webhook_connections") - 1  # the one that asks


@pytest.fixture(scope="module")
def webhook(bin_dir, tmp_path_factory):
    w = Webhook(bin_dir, tmp_path_factory.mktemp("webhook"))
    yield w
    w.close()


def pod(**annotations):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "annotations": {f"leasehold.dev/{k.replace('__', '.')}": v for k, v in annotations.items()},
        },
        "spec": {"serviceAccountName": "web", "containers": [{"name": "web", "image": "web:1"}]},
    }


def review(obj, version="admission.k8s.io/v1", kind="AdmissionReview"):
    return {
        "apiVersion": version,
        "kind": kind,
        "request": {
            "uid": "1e2c0a8a-57c3-4d4f-b6a2-0d9a7e5ad5a1",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "object": obj,
        },
    }


GOOD = json.dumps(review(pod(secret__db="database/creds/shop"))).encode()


def assert_serves(webhook):
    status, body = webhook.post("/mutate", GOOD)
    response = json.loads(body)["response"]
    assert status == 200
    assert response["allowed"] is True
    assert response["patchType"] == "JSONPatch"
    patch = json.loads(base64.b64decode(response["patch"]))
    assert any(op["path"].startswith("/spec/") for op in patch)


def test_admits_over_verified_tls(webhook):
    assert_serves(webhook)
    assert webhook.get("/healthz") == (200, b"ok\n")


def test_denies_with_the_sentence(webhook):
    status, body = webhook.post("/mutate", json.dumps(review(pod(secret__db="kv/data/bank"))))
    response = json.loads(body)["response"]
    assert status == 200
    assert response["allowed"] is False
    assert "leasehold.dev/secret.db: PathNotAllowed:" in response["status"]["message"]
    assert "explain PathNotAllowed" in response["status"]["message"]


def nested(depth):
    return b'{"a":' * depth + b"1" + b"}" * depth


RUBBISH = {
    "nothing": b"",
    "not JSON": b"<html>",
    "v1beta1": json.dumps(review(pod(), version="admission.k8s.io/v1beta1")).encode(),
    "another kind": json.dumps(review(pod(), kind="ConversionReview")).encode(),
    "no request": b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}',
    "65 levels": nested(65),
    "100000 levels": nested(100000),
    "duplicate keys": GOOD.replace(b'"uid":', b'"uid": "x", "uid":', 1),
    "invalid UTF-8": GOOD.replace(b'"web"', b'"w\xffb"', 1),
    "an array": b"[]",
    "cut": GOOD[: len(GOOD) // 2],
    "two texts": GOOD + GOOD,
}


@pytest.mark.parametrize("path", ["/mutate", "/validate"])
@pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish_is_an_error_and_no_more(webhook, path, body):
    status, answer = webhook.post(path, body)
    if status == 200:
        assert json.loads(answer)["response"]["allowed"] is False
    else:
        assert 400 <= status < 500
    assert_serves(webhook)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/mutate", {}, 405),
        ("POST", "/nowhere", {}, 404),
        ("POST", "/mutate", {"Content-Length": str(3 * 1024 * 1024 + 1)}, 413),
        ("POST", "/mutate", {"X-Large": "x" * 20000}, 431),
    ],
    ids=["method", "path", "length", "head"],
)
def test_http_errors(webhook, method, path, headers, status):
    with webhook.connect() as s:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {NAME}", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        s.sendall("\r\n".join(lines).encode())
        assert s.recv(4096).startswith(f"HTTP/1.1 {status} ".encode())
    assert_serves(webhook)


def test_the_largest_review_is_read(webhook):
    large = review(pod())
    large["request"]["object"]["metadata"]["annotations"]["filler"] = "x" * (3 * 1024 * 1024 - 2000)
    body = json.dumps(large).encode()
    assert len(body) < 3 * 1024 * 1024
    status, answer = webhook.post("/mutate", body)
    assert status == 200
    assert json.loads(answer)["response"]["allowed"] is True


def rest_of(s):
    """What still comes, up to the end."""
    got = b""
    while more := s.recv(65536):
        got += more
    return got


def test_stalled_and_half_closed_connections(webhook):
    stalled = webhook.connect()
    stalled.sendall(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    raw = socket.create_connection(("127.0.0.1", webhook.port), timeout=10)
    raw.sendall(b"\x16\x03\x01")
    half = socket.create_connection(("127.0.0.1", webhook.port), timeout=10)
    half.shutdown(socket.SHUT_WR)
    assert rest_of(half)[:1] in (b"", TLS_ALERT)
    assert_serves(webhook)
    began = time.monotonic()
    assert stalled.recv(4096).startswith(b"HTTP/1.1 408 ")
    assert rest_of(raw)[:1] in (b"", TLS_ALERT)
    assert time.monotonic() - began < 8
    for s in (stalled, raw, half):
        s.close()
    assert_serves(webhook)


def test_a_crowd(webhook):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < CROWD + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    before = webhook.metric('leasehold_webhook_connections_closed_total{limit="connections"}') or 0
    crowd = [socket.create_connection(("127.0.0.1", webhook.port), timeout=10) for _ in range(CROWD)]
    try:
        wait_until(
            "refusals",
            lambda: webhook.metric('leasehold_webhook_connections_closed_total{limit="connections"}')
            == before + CROWD - LIMIT,
        )
        for s in crowd:
            s.setblocking(False)
        refused = 0
        for s in crowd:
            try:
                refused += s.recv(1) == b""
            except BlockingIOError:
                pass
        assert refused == CROWD - LIMIT
    finally:
        for s in crowd:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # Whoever was let in made no handshake: closed by their own end, and there is room again.
    wait_until("room", lambda: webhook.connections() == 0)
    assert_serves(webhook)


@pytest.mark.parametrize("first", ["key", "cert"])
def test_new_certificate_files_are_served(webhook, first):
    with webhook.connect() as kept:
        old = kept.getpeercert()["serialNumber"]
        fresh, key = webhook.pki.leaf("fresh", "/CN=fresh", [f"DNS:{NAME}"])
        steps = [(key, webhook.key), (fresh, webhook.cert)]
        for new, served in steps if first == "key" else reversed(steps):
            new.replace(served)
            assert_serves(webhook)  # half of it is no pair: the old one serves on

        def shown():
            with webhook.connect() as s:
                return s.getpeercert()["serialNumber"] != old

        wait_until("new certificate", shown, 10)
        with webhook.connect() as s:
            ends = ssl.cert_time_to_seconds(s.getpeercert()["notAfter"])
        left = webhook.metric("leasehold_webhook_certificate_expiry_seconds")
        assert abs(left - (ends - time.time())) < 5, "counts down to the end of what is served"
        kept.sendall(f"GET /healthz HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        assert kept.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_log_quotes_no_input(webhook):
    assert webhook.process.poll() is None
    for line in webhook.text().splitlines():
        assert json.loads(line)["program"] == "leasehold-webhook"
    assert "database/creds/shop" not in webhook.text()


def test_sigterm_ends_it_after_what_is_under_way(bin_dir, tmp_path):
    w = Webhook(bin_dir, tmp_path)
    try:
        s = w.connect()
        head = ["POST /mutate HTTP/1.1", f"Host: {NAME}", f"Content-Length: {len(GOOD)}", "Expect: 100-continue"]
        s.sendall("\r\n".join([*head, "", ""]).encode())
        assert s.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(GOOD[:100])
        w.process.send_signal(signal.SIGTERM)
        with pytest.raises(OSError):  # nobody new
            wait_until("end of listening", lambda: w.connect().close(), 5)
        s.sendall(GOOD[100:])
        answer = rest_of(s)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert w.process.wait(5) == 0
    finally:
        w.close()
