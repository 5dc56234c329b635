# SPDX-License-Identifier: Apache-2.0
"""leasehold-kms with a real Transit engine, called by real grpc-go."""

import base64
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from faultproxy import FaultProxy
from kmsload import Load
from kmsplugin import CallError, Plugin, limits_of, make_key, store_document
from openbao import OpenBao
from pki import Issuer
from procs import Work, free_ports, wait_until
from provision import configure_jwt

SEED = bytes(range(32))
QUICK = ("--probe-interval", "1s", "--settle-delay", "1s", "--settle-observations", "2")


@pytest.fixture(scope="module")
def bao():
    work = Work()
    try:
        yield OpenBao(work).start()
    finally:
        work.end()


@pytest.fixture
def program(bin_dir):
    return bin_dir / "leasehold-kms"


@pytest.fixture
def plugin(program, tmp_path, bao, request):
    key = re.sub(r"[^a-z0-9-]", "-", request.node.name.lower()).strip("-")
    p = Plugin.on_transit(program, tmp_path, bao, "transit", key, *QUICK).start()
    p.key = key
    yield p
    p.close()


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 1024, 64 * 1024])
def test_what_is_encrypted_comes_back(plugin, size):
    c = plugin.client()
    plain = os.urandom(size)
    healthz, key_id = c.status()
    assert healthz == "ok"
    sealed = c.encrypt(plain)
    assert sealed.key_id == key_id
    assert sealed.ciphertext.startswith(b"vault:v1:")
    assert size > 600 or len(sealed.ciphertext) <= 1023
    assert plain not in sealed.ciphertext or size < 2
    assert c.decrypt(sealed) == plain


def test_calls_before_the_first_answer_of_the_manager_are_served(program, tmp_path, bao):
    p = Plugin.on_transit(program, tmp_path, bao, "transit", "cold", *QUICK)
    bao.freeze()
    try:
        p.start()
        box = p.client().start("Status", b"", 10000)
        assert not p.state()["ready"]
    finally:
        bao.thaw()
    try:
        assert p.client().result(box)
        assert p.state()["ready"]
    finally:
        p.close()


# -- keys


def rotated(bao, key):
    bao.api("POST", f"transit/keys/{key}/rotate", {})


def test_two_plugins_agree_while_a_key_rotates(program, tmp_path, bao):
    """Two nodes, which see it at different times: each decrypts what the other encrypts at any moment."""
    slow = ("--probe-interval", "2s", "--settle-delay", "3s", "--settle-observations", "2")
    a = Plugin.on_transit(program, tmp_path / "a", bao, "transit", "pair", *slow).start()
    b = Plugin.on_transit(program, tmp_path / "b", bao, "transit", "pair", *slow).start()
    try:
        ca, cb = a.client(), b.client()
        old = ca.status()[1]
        assert cb.status() == ("ok", old)
        wait_until("older than the delay", lambda: not a.state()["settling"] and not b.state()["settling"], 20)
        rotated(bao, "pair")
        seen = {(old, old)}

        def both_new():
            for one, other in ((ca, cb), (cb, ca)):
                healthz, key_id = one.status()
                assert healthz == "ok"
                sealed = one.encrypt(SEED)
                assert sealed.key_id in (old, key_id)
                version = b"v1" if sealed.key_id == old else b"v2"
                assert sealed.ciphertext.startswith(b"vault:" + version + b":")
                assert other.decrypt(sealed) == SEED
            pair = (ca.status()[1], cb.status()[1])
            seen.add(pair)
            return old not in pair

        wait_until("both advertise version 2", both_new, 30, 0.05)
        assert ca.status()[1] == cb.status()[1]
        assert len({p[0] for p in seen}) == 2  # no third id, no going back
    finally:
        a.close()
        b.close()


def test_ids_and_old_versions_outlive_a_restart(plugin, bao):
    c = plugin.client()
    first = c.encrypt(SEED)
    for _ in range(3):
        rotated(bao, plugin.key)
    wait_until("version 4", lambda: c.status()[1] != first.key_id, 20)
    assert plugin.stop() == 0
    plugin.start()
    c = plugin.client()
    fourth = c.encrypt(SEED)
    assert fourth.ciphertext.startswith(b"vault:v4:")
    assert c.decrypt(first) == SEED  # of the key's first version, by a process that never saw it current
    assert plugin.metric("leasehold_kms_decrypts_total", **{"from": "miss"}) == 1


def test_a_key_made_again_has_another_id(plugin, bao):
    c = plugin.client()
    sealed = c.encrypt(SEED)
    second = int(bao.api("GET", f"transit/keys/{plugin.key}").data["keys"]["1"])
    bao.api("POST", f"transit/keys/{plugin.key}/config", {"deletion_allowed": True})
    wait_until("a warning", lambda: plugin.metric("leasehold_kms_warning", warning="deletion_allowed") == 1, 10)
    bao.api("DELETE", f"transit/keys/{plugin.key}")
    wait_until("writes are refused", lambda: refused(c.status) == "FailedPrecondition", 10)
    assert c.decrypt(sealed) == SEED  # from memory

    def made_again():
        """Transit tells a version's time in whole seconds."""
        bao.api("POST", f"transit/keys/{plugin.key}", {})
        if int(bao.api("GET", f"transit/keys/{plugin.key}").data["keys"]["1"]) > second:
            return True
        bao.api("POST", f"transit/keys/{plugin.key}/config", {"deletion_allowed": True})
        bao.api("DELETE", f"transit/keys/{plugin.key}")
        return False

    wait_until("a later second", made_again, 5)
    wait_until("another id", lambda: refused(c.status) is None and c.status()[1] != sealed.key_id, 20)


def refused(call, *args, **kwargs):
    """The status of a call that fails, None where it does not."""
    try:
        call(*args, **kwargs)
    except CallError as e:
        return e.code
    return None


def test_another_mount_and_another_cluster_have_other_ids(program, tmp_path, bao):
    found = {}
    plugins = []
    try:
        for mount, cluster in (("transit", "c1"), ("transit", "c2"), ("transit-b", "c1")):
            p = Plugin.on_transit(program, tmp_path / f"{mount}-{cluster}", bao, mount, "same", cluster=cluster).start()
            plugins.append(p)
            found[mount, cluster] = p.client().encrypt(SEED)
        assert len({s.key_id for s in found.values()}) == 3
        # The same Transit key under another cluster's name: refused by id, and by what is bound to it.
        mark = bao.audit_mark()
        c = plugins[1].client()
        ours, theirs = found["transit", "c2"], found["transit", "c1"]
        assert refused(c.decrypt, theirs) == "FailedPrecondition"
        assert sum(n for (_, path), n in bao.requests(mark).items() if path == "transit/decrypt/same") == 0
        assert refused(c.decrypt, ours, ciphertext=theirs.ciphertext) == "InvalidArgument"
    finally:
        for p in plugins:
            p.close()


def test_foreign_annotations_and_ids_do_not_reach_the_manager(plugin, bao):
    c = plugin.client()
    sealed = c.encrypt(SEED)
    mark = bao.audit_mark()
    assert refused(c.decrypt, sealed, key_id="1") == "FailedPrecondition"
    assert refused(c.decrypt, sealed, annotations={"version.other.example": b"1"}) == "InvalidArgument"
    assert refused(c.decrypt, sealed, annotations={}) == "InvalidArgument"
    assert refused(c.decrypt, sealed, ciphertext=b"vault:v2:AAAA") == "InvalidArgument"
    sent = [e["request"]["path"] for e in bao.audit(mark) if e["request"]["path"] == f"transit/decrypt/{plugin.key}"]
    assert len(sent) <= 1  # the probe's own round trip, if it fell in between


def test_what_is_not_ours_is_told_what_would_be_right(plugin):
    """Seeds of other plugins, which name their key's version or an address; and an API server that speaks KMS v1."""
    c = plugin.client()
    sealed = c.encrypt(SEED)
    for other in ("1", "projects/p/locations/l/keyRings/r/cryptoKeys/k", sealed.key_id.upper()):
        with pytest.raises(CallError, match="another plugin's: keep that plugin"):
            c.decrypt(sealed, key_id=other)
    with pytest.raises(CallError, match="another key, mount, cluster"):
        c.decrypt(sealed, key_id="0" * 64)
    for v1 in ("Version", "Encrypt", "Decrypt"):
        answer = c.start(f"/v1beta1.KeyManagementService/{v1}").get(timeout=10)
        assert answer["code"] == "Unimplemented" and "apiVersion: v2" in answer["message"]
    assert len([e for e in plugin.logged() if e["msg"] == "an API server asks for KMS v1"]) == 1


def test_nodes_are_compared_by_the_hash_that_the_api_server_shows(plugin, bao):
    c, key_id = plugin.client(), plugin.client().status()[1]

    def hash_of(text):
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    assert plugin.state()["current"]["keyIdHash"] == hash_of(key_id)
    assert plugin.metric("leasehold_kms_key_id", key_id_hash=hash_of(key_id), state="current") == 1
    assert any(e.get("key_id_hash") == hash_of(key_id) for e in plugin.logged())
    rotated(bao, plugin.key)
    wait_until("version 2", lambda: c.status()[1] != key_id, 20)
    wait_until("its hash", lambda: plugin.metric("leasehold_kms_key_id", key_id_hash=hash_of(c.status()[1]), state="current") == 1, 10)
    assert plugin.metric("leasehold_kms_key_id") == 1  # the old one is gone


def test_a_manager_that_limits_is_no_outage(program, tmp_path, bao):
    """429 and 503 answer in time and with their cause; the next call goes to the manager again."""
    tls = {"cert": bao.authority.folder / "server.pem", "key": bao.authority.folder / "server.key"}
    proxy = FaultProxy((bao.host, bao.port()), ca=bao.ca, **tls).start()
    p = Plugin.on_transit(program, tmp_path, bao, "transit", "limits", *QUICK, addresses=[proxy.address]).start()
    try:
        c = p.client()
        kept = c.encrypt(SEED)
        for status in (429, 503):
            proxy.add("*:transit/encrypt/limits", "status", status=status)
            for _ in range(5):
                start = time.monotonic()
                with pytest.raises(CallError, match=str(status)) as e:
                    c.encrypt(os.urandom(32))
                assert e.value.code == "Unavailable" and time.monotonic() - start < 3
            assert c.decrypt(kept) == SEED and c.status()[0] == "ok"
            proxy.clear()
            wait_until("served again", lambda: refused(c.encrypt, os.urandom(32)) is None, 10)
    finally:
        p.close()
        proxy.close()


def test_warnings_of_what_may_cost_the_data(program, tmp_path, bao):
    make_key(bao, "transit", "risky", exportable=True)
    bao.api("POST", "transit/keys/risky/rotate", {})
    bao.api("POST", "transit/keys/risky/config", {"min_decryption_version": 2, "deletion_allowed": True})
    p = Plugin.on_transit(program, tmp_path, bao, "transit", "risky", *QUICK, "--service-cidr", "127.0.0.0/8").start()
    try:
        names = {"deletion_allowed", "exportable", "min_decryption_version", "upsert", "in_cluster"}
        wait_until("warnings", lambda: {e.get("warning") for e in p.logged()} >= names, 10)
        assert all(p.metric("leasehold_kms_warning", warning=w) == 1 for w in names)
        bao.api("POST", "transit/keys/risky/config", {"deletion_allowed": False})
        wait_until("put right", lambda: p.metric("leasehold_kms_warning", warning="deletion_allowed") == 0, 10)
        count = len([e for e in p.logged() if "warning" in e])
        assert count == len(names)  # once each
    finally:
        p.close()


# -- the manager away


def test_reads_survive_an_outage_and_writes_come_back(plugin, bao):
    c = plugin.client()
    kept = c.encrypt(SEED)
    bao.kill()
    try:
        assert c.decrypt(kept) == SEED
        assert c.status() == ("ok", kept.key_id)
        assert refused(c.encrypt, os.urandom(32)) == "Unavailable"
        start = time.monotonic()
        for _ in range(20):
            assert refused(c.encrypt, os.urandom(32), timeout_ms=1000) == "Unavailable"
        assert time.monotonic() - start < 5  # answered at once by now
    finally:
        bao.start()
    start = time.monotonic()
    wait_until("an Encrypt that works", lambda: refused(c.encrypt, SEED) is None, 15)
    assert time.monotonic() - start < 3


def test_a_sealed_or_silent_manager_is_named_in_time(plugin, bao):
    c = plugin.client()
    c.status()
    bao.freeze()
    try:
        start = time.monotonic()
        with pytest.raises(CallError) as e:
            c.encrypt(SEED, timeout_ms=2000)
        assert e.value.code == "Unavailable"
        assert 1 < time.monotonic() - start < 2
        assert "127.0.0.1" in e.value.message or "in time" in e.value.message
    finally:
        bao.thaw()
    wait_until("served again", lambda: refused(c.encrypt, SEED) is None, 20)
    bao.seal()
    try:
        with pytest.raises(CallError, match="sealed"):
            c.encrypt(SEED)
    finally:
        bao.unseal()
    wait_until("served again", lambda: refused(c.encrypt, SEED) is None, 20)


def test_a_revoked_token_costs_no_call(plugin, bao):
    c = plugin.client()
    c.status()
    for _ in range(3):
        assert bao.revoke_tokens_of("*") >= 1
        assert c.encrypt(SEED).key_id


def test_an_address_that_does_not_answer_is_passed_over(program, tmp_path, bao):
    dead, silent = free_ports(1)[0], socket.create_server(("127.0.0.1", 0))
    addresses = [f"https://127.0.0.1:{dead}", f"https://127.0.0.1:{silent.getsockname()[1]}", bao.address()]
    p = Plugin.on_transit(program, tmp_path, bao, "transit", "failover", *QUICK, addresses=addresses).start()
    try:
        c = p.client()
        wait_until("served", lambda: refused(c.status, 3000) is None, 30)
        start = time.monotonic()
        for _ in range(10):
            assert c.decrypt(c.encrypt(os.urandom(32)))
        assert time.monotonic() - start < 2  # it stays with the one that answers
    finally:
        p.close()
        silent.close()


def test_idle_costs_two_calls_a_minute_at_most(program, tmp_path, bao):
    p = Plugin.on_transit(program, tmp_path, bao, "transit", "idle").start()
    try:
        c = p.client()
        c.status()
        # It has logged in, looked at key and mount, and made its round trip.
        wait_until("config read", lambda: p.metric("leasehold_kms_backend_calls_total") == 4, 10)
        mark = bao.audit_mark()
        until = time.monotonic() + 65
        while time.monotonic() < until:
            assert c.status()[0] == "ok"
            time.sleep(1)  # the API server's poll, sixty times as often
        assert sum(bao.requests(mark).values()) <= 2
    finally:
        p.close()


def test_five_hundred_equal_decrypts_are_one(plugin, bao):
    sealed = plugin.client().encrypt(SEED)
    assert plugin.stop() == 0
    plugin.start()
    c = plugin.client()
    c.status()
    before = plugin.metric("leasehold_kms_backend_calls_total", call="decrypt")
    boxes = [c.start("Decrypt", sealed.request()) for _ in range(500)]
    assert all(c.result(box) for box in boxes)
    assert plugin.metric("leasehold_kms_backend_calls_total", call="decrypt") == before + 1


# -- the socket


@pytest.mark.parametrize("how", ["holder", "systemd"])
def test_an_upgrade_under_load_fails_no_call(program, tmp_path, how):
    (tmp_path / "keys").write_text("k1 " + base64.b64encode(SEED).decode() + "\n")
    p = Plugin(program, tmp_path, "--local-key", tmp_path / "keys", "--cluster", "c1")
    control = tmp_path / "control"
    holder = listener = None
    if how == "holder":
        holder = subprocess.Popen(
            [program, "--hold", "--listen", p.socket, "--control", control], stderr=subprocess.DEVNULL
        )
        wait_until("holder", control.exists, 10)
        listen, options = ("--from-holder", str(control)), {}
    else:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(p.socket))
        listener.listen(128)
        listen, options = ("--listen", "fd"), {"pass_fds": (listener.fileno(),)}
        p.program = tmp_path / "activated"  # what systemd does before exec
        fd = listener.fileno()
        move = "" if fd == 3 else f"exec 3<&{fd} {fd}<&-; "
        p.program.write_text(f'#!/bin/bash\n{move}LISTEN_PID=$$ LISTEN_FDS=1 exec {program} "$@"\n')
        p.program.chmod(0o755)
    try:
        p.start(*listen, **options)
        sealed = p.client().encrypt(SEED)
        with Load(p.socket, sealed, SEED) as load:
            for _ in range(4):
                load.wait_for(200)
                assert p.stop() == 0
                p.start(*listen, **options)
            load.wait_for(200)
        assert load.failed == []
        assert load.calls >= 1000
    finally:
        p.close()
        if holder:
            holder.terminate()
            assert holder.wait(5) == 0
        if listener:
            listener.close()


def test_two_plugins_share_an_address_for_metrics_while_one_follows_the_other(program, tmp_path):
    """Both serve the holder's socket; the second has no metrics until the first has ended, and serves calls from its start."""
    (tmp_path / "keys").write_text("k1 " + base64.b64encode(SEED).decode() + "\n")
    p = Plugin(program, tmp_path, "--local-key", tmp_path / "keys", "--cluster", "c1")
    control, log = tmp_path / "control", tmp_path / "second.log"
    holder = subprocess.Popen([program, "--hold", "--listen", p.socket, "--control", control], stderr=subprocess.DEVNULL)
    second = None
    try:
        wait_until("holder", control.exists, 10)
        if b"__asan_init" not in program.read_bytes():
            own = next(iter(limits_of("self")))[2]
            wait_until("limits of the holder", lambda: limits_of(holder.pid) == {("1", "2", own + 1)}, 10)
        p.start("--from-holder", str(control))
        wait_until("ready", lambda: b'"ready"' in p.log.read_bytes(), 10)
        with open(log, "wb") as out:
            second = subprocess.Popen(p.argv("--from-holder", str(control)), stdin=subprocess.DEVNULL, stderr=out)
        wait_until("it waits", lambda: b"metrics wait for their address" in log.read_bytes(), 10)
        wait_until("it serves", lambda: b'"ready"' in log.read_bytes(), 10)
        p.process.send_signal(signal.SIGSTOP)  # what is answered now, the second answers
        try:
            wait_until("a call to the second", lambda: refused(p.client().status, 500) is None, 10)
        finally:
            p.process.send_signal(signal.SIGCONT)
        assert p.metric("leasehold_kms_calls_total", method="Status", code="OK") == 0  # still the first one's
        assert p.stop() == 0
        wait_until("its metrics", lambda: b"metrics have their address" in log.read_bytes(), 10)
        assert p.metric("leasehold_kms_calls_total", method="Status", code="OK") >= 1
        assert log.read_bytes().count(b"metrics wait") == 1
    finally:
        if second:
            second.terminate()
            assert second.wait(10) == 0
        p.close()
        holder.terminate()
        assert holder.wait(5) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is asked for")
def test_nobody_else_may_call(plugin):
    plugin.client().status()
    os.chmod(plugin.socket, 0o777)
    os.chmod(plugin.folder, 0o755)
    program = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.settimeout(5);"
        "s.connect(sys.argv[1]); s.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'); print(len(s.recv(100)))"
    )
    # By a name relative to its folder: the folders above it are closed to others.
    done = subprocess.run(
        [sys.executable, "-c", program, plugin.socket.name], cwd=plugin.socket.parent, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "0" or "reset" in done.stderr.lower() or "broken" in done.stderr.lower()


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(plugin, program):
    plugin.client().status()
    second = subprocess.run(plugin.argv(), capture_output=True, text=True, timeout=10, check=False)
    assert second.returncode == 1
    assert "another process serves" in second.stderr
    plugin.process.kill()
    plugin.process.wait()
    assert plugin.socket.exists()
    plugin.start()
    assert plugin.client().status()[0] == "ok"


# -- logins


def test_login_by_certificate_and_by_jwt(program, tmp_path, bao):
    make_key(bao, "transit", "logins")
    policy = "kms-transit-logins"
    issuer = Issuer(tmp_path / "issuer")
    configure_jwt(bao, "jwt-kms", issuer.public_keys(), issuer.NAME, {"kms": {"token_policies": [policy]}})
    (tmp_path / "jwt").write_text(issuer.token("kube-system", "kms", ttl=3600))
    bao.api("POST", "sys/auth/cert", {"type": "cert"})
    cert, key = bao.authority.leaf("kms", "/CN=kms", ["DNS:kms"], usage="clientAuth")
    ca = bao.authority.ca.read_text()
    bao.api("POST", "auth/cert/certs/kms", {"certificate": ca, "token_policies": [policy]})
    (tmp_path / "tls.crt").write_text(cert.read_text())
    (tmp_path / "tls.key").write_text(key.read_text())
    sealed = None
    for auth, flags in (
        ({"jwt": {"mount": "jwt-kms", "role": "kms", "audience": "vault"}}, ("--jwt-file", tmp_path / "jwt")),
        ({"cert": {"role": "kms", "secretRef": {"name": "kms"}}}, ("--credentials", tmp_path)),
    ):
        (tmp_path / "store.yaml").write_text(json.dumps(store_document(bao, auth)))
        where = ("--store", tmp_path / "store.yaml", "--key", "logins", "--cluster", "c1")
        p = Plugin(program, tmp_path, *where, *flags).start()
        try:
            c = p.client()
            sealed = sealed or c.encrypt(SEED)
            assert c.decrypt(sealed) == SEED
            assert p.stop() == 0
        finally:
            p.close()


def test_new_credentials_are_read_at_the_next_login(plugin, bao):
    plugin.client().status()
    secret_id = plugin.folder / "credentials/secretId"
    role = f"auth/approle/role/kms-transit-{plugin.key}"
    old = secret_id.read_text()
    secret_id.write_text(bao.api("POST", f"{role}/secret-id", {}).data["secret_id"])
    bao.api("POST", f"{role}/secret-id/destroy", {"secret_id": old})
    bao.revoke_tokens_of("*")
    assert plugin.client().encrypt(SEED).key_id


def test_the_token_ends_with_the_plugin(plugin, bao):
    plugin.client().status()
    mark = bao.audit_mark()
    assert plugin.stop() == 0
    assert bao.requests(mark)[("update", "auth/token/revoke-self")] == 1


# -- what it says


def test_no_secret_is_in_logs_metrics_status_or_a_core(plugin):
    c = plugin.client()
    seed = b"canary-" + base64.b64encode(os.urandom(18))[:25]
    c.decrypt(c.encrypt(seed))
    refused(c.decrypt, c.encrypt(seed), key_id="x")
    said = plugin.log.read_text() + plugin.get("metrics") + plugin.get("status")
    assert seed.decode() not in said
    assert "vault:v1:" not in said
    limits = pathlib.Path(f"/proc/{plugin.process.pid}/limits").read_text()
    assert re.search(r"Max core file size\s+0\s+0", limits)


def test_system_calls_are_limited_and_all_of_its_work_goes_on(program, tmp_path, bao):
    """A manager by name, so that threads resolve it; logins, files read again, an outage, a rotation, metrics."""
    port = bao.address().rsplit(":", 1)[1]
    name = [f"https://localhost:{port}"]
    p = Plugin.on_transit(program, tmp_path, bao, "transit", "limited", *QUICK, addresses=name).start()
    try:
        if b"__asan_init" in program.read_bytes():
            wait_until("it says so", lambda: "system calls are not limited" in p.log.read_text(), 10)
            return
        wait_until("told", lambda: "system calls are limited" in p.log.read_text(), 10)
        own = next(iter(limits_of("self")))[2]
        assert limits_of(p.process.pid) == {("1", "2", own + 1)}
        c = p.client()
        with Load(p.socket, c.encrypt(SEED), SEED) as load:
            for _ in range(3):
                bao.revoke_tokens_of("*")  # a login each, and the file read
                load.wait_for(200)
            old = c.status()[1]
            rotated(bao, "limited")
            wait_until("version 2", lambda: c.status()[1] != old, 20)
            assert limits_of(p.process.pid) == {("1", "2", own + 1)}  # of threads that came later, too
        assert load.failed == []
        bao.kill()
        try:
            assert refused(c.encrypt, SEED) == "Unavailable"
        finally:
            bao.start()
        wait_until("an Encrypt that works", lambda: refused(c.encrypt, SEED) is None, 20)
        assert p.stop() == 0
    finally:
        p.close()


@pytest.mark.parametrize(
    "change, says",
    [
        ({"kind": "ClusterSecretStore"}, "SecretStore"),
        ({"auth": {"kubernetes": {"role": "r", "audience": "vault"}}}, "auth.kubernetes"),
        ({"auth": {"jwt": {"role": "r", "audience": "vault"}}}, "--jwt-file"),
        ({"auth": {"cert": {"role": "r", "secretRef": {"name": "n"}}}}, "--credentials"),
    ],
)
def test_check_config_says_what_is_wrong(program, tmp_path, bao, change, says):
    auth = change.get("auth", {"token": {"secretRef": {"name": "t", "key": "t"}}})
    document = store_document(bao, auth)
    document["kind"] = change.get("kind", document["kind"])
    if document["kind"] == "ClusterSecretStore":
        del document["metadata"]["namespace"]
        document["spec"]["vault"]["auth"] = {"jwt": {"role": "r", "audience": "vault"}}
        document["spec"]["allow"] = [{"namespaces": ["kube-system"], "paths": ["*"]}]
    (tmp_path / "store.yaml").write_text(json.dumps(document))
    flags = ["--listen", tmp_path / "s", "--store", tmp_path / "store.yaml", "--key", "k", "--cluster", "c"]
    done = subprocess.run([program, *flags, "--check-config"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert says in done.stderr
