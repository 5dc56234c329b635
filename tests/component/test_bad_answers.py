# SPDX-License-Identifier: Apache-2.0
"""What a starting agent makes of a manager that it cannot trust or understand, and of a hostile environment."""

import base64
import contextlib
import http.server
import subprocess
import threading

import pytest
from pki import Authority
from procs import wait_until
from provision import put_kv2
from workload import made

# Each behaviour for a secret of its own: what the proxy does, and the reason that the Pod shows. What takes long to be
# given up is done once, since a request that is under way at the cure would take as long again.
BEHAVIOURS = {
    "endless": ("endless", {}, "TooLarge"),
    "trickle": ("trickle", {"seconds": 0.3, "times": 1}, "Unreachable"),
    "html": ("html", {"status": 502}, "Unreachable"),
    "hang": ("hang", {"times": 1}, "Unreachable"),
    "refused": ("status", {"status": 403}, "PermissionDenied"),
    "cut": ("cut", {}, "Unreachable"),
    "reset": ("reset", {}, "Unreachable"),
    "quota": ("status", {"status": 429, "headers": {"Retry-After": "1"}}, "RateLimited"),
}


def probe(workload):
    """Exit status and line of the startup probe: what `kubectl describe` shows."""
    program, *flags = workload.argv()
    done = subprocess.run([program, "ready", *flags], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def test_a_pod_waits_for_sense_and_starts_by_itself(bin_dir, manager, faultproxy, tmp_path):
    for name in BEHAVIOURS:
        put_kv2(manager.bao, f"app/bad-{name}", {"username": name, "filler": "x" * 500})
    with contextlib.ExitStack() as stack:
        workloads = {}
        for name, (action, settings, _) in BEHAVIOURS.items():
            faultproxy.add(f"GET:kv/data/app/bad-{name}", action, **settings)
            (tmp_path / name).mkdir()
            workloads[name] = stack.enter_context(made(bin_dir, "agent", manager, tmp_path / name))
            workloads[name].store(addresses=[faultproxy.address])
            workloads[name].items(("app", f"kv/app/bad-{name}"))
            workloads[name].start()
        for name, (_, settings, reason) in BEHAVIOURS.items():
            w = workloads[name]
            w.wait_for_reason(reason, 45)
            status, line = probe(w)
            if "times" not in settings:
                assert status == 1 and line.startswith(f"{reason}: ") and '"vault"' in line, (name, line)
                assert f"kv/app/bad-{name}" in line and not w.has("app"), (name, line)
            assert w.alive() and f"kv/app/bad-{name}" in w.log_text()
            for text in (line, w.log_text()):
                assert "<html" not in text and "xxxx" not in text, "no byte of an answer is quoted"
        faultproxy.clear()
        for name, w in workloads.items():
            assert w.wait_for("app/username", 20) == name
            assert w.stop() == 0


def test_a_file_past_the_limit(workload, bao):
    put_kv2(bao, "app/bad-large", {"text": "'$" * (400 * 1024)})  # longer once it is quoted
    small, large = {"path": "small", "key": "text"}, {"path": "large", "format": "env"}
    workload.items({"name": "app", "path": "kv/app/bad-large", "files": [small, large]})
    workload.start().wait_for_reason("TooLarge")
    status, line = probe(workload)
    assert status == 1 and line.startswith("TooLarge: ") and "'$" not in line, line
    assert not workload.has("small"), "nothing half published"
    put_kv2(bao, "app/bad-large", {"text": "x"})
    assert "x" in workload.wait_for("large", 20)


@pytest.mark.parametrize("case", ["authority", "name"])
def test_a_manager_that_is_somebody_else(workload, bao, tmp_path, case):
    if case == "authority":
        wrong = Authority(tmp_path / "elsewhere", name="somebody else").ca
        workload.store(caBundle=base64.b64encode(wrong.read_bytes()).decode())
    else:
        workload.store(tlsServerName="vault.example")
    mark = bao.audit_mark()
    workload.items(("app", "kv/app/s1"))
    workload.start().wait_for_reason("CertificateInvalid")
    status, line = probe(workload)
    assert status == 1 and line.startswith("CertificateInvalid: "), line
    assert workload.alive() and not workload.has("app")
    assert bao.requests(mark) == {}, "nothing was sent to it"


class _Listener(http.server.BaseHTTPRequestHandler):
    asked = []

    def do_CONNECT(self):
        _Listener.asked.append(self.path)
        self.send_error(502)

    def log_message(self, *_):
        pass


def test_a_hostile_environment_changes_nothing(workload, tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = f"http://127.0.0.1:{server.server_address[1]}"
    keys, config = tmp_path / "keys", tmp_path / "openssl.cnf"
    config.write_text("openssl_conf = broken\n[broken]\nssl_conf = nowhere\nproviders = nowhere\n")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    hostile = {
        "SSLKEYLOGFILE": keys,
        "OPENSSL_CONF": config,
        "OPENSSL_MODULES": tmp_path,
        "OPENSSL_ENGINES": tmp_path,
        "SSL_CERT_FILE": config,
        "SSL_CERT_DIR": tmp_path,
        "CURL_CA_BUNDLE": config,
        "HOME": tmp_path,
        "LD_LIBRARY_PATH": tmp_path,
        "GLIBC_TUNABLES": "glibc.malloc.check=3",
        "MALLOC_PERTURB_": "85",
        "RES_OPTIONS": "attempts:1",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), proxy),
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    workload.items(("app", "kv/app/s1"))
    try:
        assert workload.start().wait_for("app/username") == "user1"
        kept = {row.partition("=")[0] for row in environment(workload)}
        wait_until("the gate", lambda: probe(workload)[0] == 0, 5)
        assert workload.stop() == 0
    finally:
        server.shutdown()
        server.server_close()
    assert not keys.exists() and _Listener.asked == []
    assert kept >= {"SSLKEYLOGFILE"}, "it was started with them"


def environment(workload):
    """What the process was started with."""
    with open(f"/proc/{workload._process.pid}/environ", encoding="utf-8") as f:
        return f.read().split("\0")
