# SPDX-License-Identifier: Apache-2.0
"""leasehold-kms under a real kube-apiserver and etcd: what is stored, rotation, and every kind of death under load."""

import base64
import collections
import itertools
import json
import subprocess
import threading
import time

import kmsstored
import pytest
from apiserver import ApiServer, Refused
from kmsplugin import Plugin, configuration
from openbao import OpenBao
from procs import Work, wait_until

SECRETS = "/api/v1/namespaces/default/secrets"
QUICK = ("--probe-interval", "1s", "--settle-delay", "1s", "--settle-observations", "2")
# kube-apiserver asks for the status once a minute, and every 10 s after an error.
POLL, POLL_ERROR = 60, 10


@pytest.fixture(scope="module")
def bao():
    work = Work()
    try:
        yield OpenBao(work).start()
    finally:
        work.end()


class Bed:
    """A plugin and an API server of its own that uses it."""

    def __init__(self, bin_dir, folder, plugin):
        self.plugin = plugin
        self.config = folder / "encryption.json"
        self.kms = configuration(self.config, plugin.socket)
        self.server = ApiServer(crds=False, flags=["--encryption-provider-config", self.config])

    def stored(self, name=None):
        found = kmsstored.read(self.server.etcd_url, "/registry/secrets/default/")
        return found[f"/registry/secrets/default/{name}"] if name else found

    def close(self):
        self.server.close()
        self.plugin.close()


@pytest.fixture(params=["local", "transit"])
def plugin(request, bin_dir, tmp_path, bao):
    program = bin_dir / "leasehold-kms"
    if request.param == "local":
        keys = tmp_path / "keys"
        keys.touch(mode=0o600)
        keys.write_text(f"first {base64.b64encode(bytes(range(32))).decode()}\n")
        return Plugin(program, tmp_path, "--local-key", keys, "--cluster", "c1")
    return on_transit(program, tmp_path, bao, request)


def on_transit(program, folder, bao, request):
    key = request.node.name.replace("[", "-").replace("]", "").replace("_", "-").lower()
    made = Plugin.on_transit(program, folder, bao, "transit", key, *QUICK)
    made.key = key
    return made


@pytest.fixture
def bed(request, bin_dir, tmp_path, bao):
    """A Bed on Transit, up."""
    b = Bed(bin_dir, tmp_path, on_transit(bin_dir / "leasehold-kms", tmp_path, bao, request))
    try:
        b.plugin.start()
        b.server.start()
        yield b
    finally:
        b.close()


def secret(name, value):
    return {"metadata": {"name": name}, "data": {"v": base64.b64encode(value.encode()).decode()}}


def value_of(server, name):
    return base64.b64decode(server.get(f"{SECRETS}/{name}")["data"]["v"]).decode()


def touch(server, name):
    """The update that changes nothing: the API server writes a stale object anew."""
    server.call("PUT", f"{SECRETS}/{name}", server.get(f"{SECRETS}/{name}"))


def test_enabling_it_encrypts_what_is_written_from_then_on(bin_dir, tmp_path, plugin):
    b = Bed(bin_dir, tmp_path, plugin)
    configuration(b.config, plugin.socket, {"identity": {}})
    try:
        b.server.start()
        b.server.call("POST", SECRETS, secret("before", "old-value-in-the-clear"))
        assert b.stored("before").provider is None
        assert b"old-value-in-the-clear" in b.stored("before").raw
        b.server.stop()

        plugin.start()
        configuration(b.config, plugin.socket)
        b.server.start()
        b.server.call("POST", SECRETS, secret("after", "new-value-sealed"))
        after = b.stored("after")
        assert (after.provider, after.kind) == ("lease", 1)
        assert after.key_id == plugin.client().status()[1]
        assert b"new-value-sealed" not in after.raw
        assert value_of(b.server, "before") == "old-value-in-the-clear"
        assert value_of(b.server, "after") == "new-value-sealed"

        touch(b.server, "before")
        assert b.stored("before").provider == "lease"
        assert {s.provider for s in b.stored().values()} == {"lease"}
    finally:
        b.close()


def test_rotation_changes_the_key_id_and_leaves_stale_objects_readable(bed, bao):
    for i in range(20):
        bed.server.call("POST", SECRETS, secret(f"s{i}", f"value-{i}"))
    (first,) = {s.key_id for s in bed.stored().values()}
    client = bed.plugin.client()

    bao.api("POST", f"transit/keys/{bed.plugin.key}/rotate", {})
    wait_until("new key_id of the plugin", lambda: client.status()[1] != first, 30, 0.2)
    second = client.status()[1]

    def written_with():
        touch(bed.server, "s0")
        return bed.stored("s0").key_id

    wait_until("API server with the new key", lambda: written_with() == second, POLL + 30, 1)
    counts = collections.Counter(s.key_id for s in bed.stored().values())
    assert counts == {first: 19, second: 1}
    assert [value_of(bed.server, f"s{i}") for i in range(20)] == [f"value-{i}" for i in range(20)]

    for i in range(20):
        touch(bed.server, f"s{i}")
    assert {s.key_id for s in bed.stored().values()} == {second}
    bed.server.stop()
    bed.server.start()
    assert [value_of(bed.server, f"s{i}") for i in range(20)] == [f"value-{i}" for i in range(20)]


class Writer(threading.Thread):
    """Writes Secrets, each until it is acknowledged; what was acknowledged is kept, and how many attempts failed."""

    def __init__(self, server, label):
        super().__init__(daemon=True)
        self.server, self.label = server, label
        self.written, self.failures, self._end = [], 0, threading.Event()
        self.last_failure = None

    def run(self):
        n = 0
        while not self._end.is_set():
            name = f"{self.label}-{n}"
            try:
                self.server.call("POST", SECRETS, secret(name, f"value of {name}"))
            except Refused as e:
                if e.status != 409:  # an answer that was lost: it is there
                    self.failures += 1
                    self.last_failure = str(e)
                    time.sleep(0.02)  # the pace of the load, not a wait for something
                    continue
            except Exception as e:  # the connection, in whatever way
                self.failures += 1
                self.last_failure = str(e)
                time.sleep(0.02)
                continue
            self.written.append(name)
            n += 1

    def progress(self, count=5):
        """Waits until so many more are written."""
        have = len(self.written)
        wait_until(f"writes after {self.last_failure}", lambda: len(self.written) >= have + count, POLL + 60, 0.05)

    def end(self):
        self._end.set()
        self.join(60)
        assert not self.is_alive()


@pytest.fixture
def writer(bed):
    w = Writer(bed.server, "w")
    w.start()
    w.progress()
    yield w
    w.end()


def all_there(bed, writer):
    listed = {s["metadata"]["name"]: s["data"]["v"] for s in bed.server.get(SECRETS)["items"]}
    for name in writer.written:
        assert base64.b64decode(listed[name]).decode() == f"value of {name}"
    assert all(s.provider == "lease" for s in bed.stored().values())


DEATHS = list(itertools.permutations(("plugin", "manager", "apiserver")))


@pytest.mark.parametrize("order", DEATHS, ids=["-".join(o) for o in DEATHS])
def test_no_acknowledged_write_is_lost_whoever_dies_first(bed, bao, writer, order):
    kill = {
        "plugin": lambda: (bed.plugin.process.kill(), bed.plugin.process.wait()),
        "manager": bao.kill,
        "apiserver": lambda: bed.server.stop("apiserver", hard=True),
    }
    revive = {"plugin": bed.plugin.start, "manager": bao.restart}
    for who in order:
        kill[who]()
        if who != "apiserver" and bed.server.alive():
            writer.progress(3)  # the seed at hand serves writes while plugin and manager are away
    for who in order:
        if who in revive:
            revive[who]()
    bed.server.start()
    began = time.monotonic()
    writer.progress()
    assert time.monotonic() - began < POLL_ERROR + 5
    writer.end()
    all_there(bed, writer)


def test_an_upgrade_of_the_plugin_fails_no_call(bin_dir, tmp_path, bao, request):
    """A holder keeps the listening socket while one worker after the other serves on it."""
    plugin = on_transit(bin_dir / "leasehold-kms", tmp_path, bao, request)
    control = tmp_path / "control.sock"
    holding = [str(bin_dir / "leasehold-kms"), "--hold", "--listen", str(plugin.socket), "--control", str(control)]
    holder = subprocess.Popen(holding, stdin=subprocess.DEVNULL)
    b = Bed(bin_dir, tmp_path, plugin)
    try:
        wait_until("holder", control.exists, 10)
        plugin.start("--from-holder", str(control))
        b.server.start()
        w = Writer(b.server, "u")
        w.start()
        client, failed, done = plugin.client(), [], 0
        sealed = client.encrypt(bytes(32))
        for _ in range(5):
            w.progress()
            boxes = [client.start("Decrypt", sealed.request(), 10000) for _ in range(100)]
            assert plugin.stop() == 0
            boxes += [client.start("Decrypt", sealed.request(), 10000) for _ in range(100)]
            plugin.start("--from-holder", str(control))
            for box in boxes:
                answer = box.get(timeout=30)
                done += 1
                if answer["code"] != "OK":
                    failed.append(answer)
        w.end()
        assert (failed, done) == ([], 1000)
        assert w.failures == 0, w.last_failure
        all_there(b, w)
    finally:
        holder.kill()
        holder.wait()
        b.close()


def test_three_api_servers_on_one_etcd(bed, bao, tmp_path):
    flags = ["--encryption-provider-config", bed.config]
    others = [ApiServer(crds=False, flags=flags, beside=bed.server) for _ in range(2)]
    servers = [bed.server, *others]
    try:
        for s in others:
            s.start()
        for i, s in enumerate(servers):
            s.call("POST", SECRETS, secret(f"by-{i}", f"value-{i}"))
        for s in servers:
            assert [value_of(s, f"by-{i}") for i in range(3)] == ["value-0", "value-1", "value-2"]
        stored = bed.stored()
        assert len({v.key_id for v in stored.values()}) == 1
        assert len({v.source for v in stored.values()}) == 3  # a seed for each API server

        for n in range(60):
            servers[n % 3].call("POST", SECRETS, secret(f"n-{n}", f"value-{n}"))
        bed.plugin.close()
        bed.plugin.start()
        for s in servers:
            s.stop("apiserver", hard=True)
        mark = bao.audit_mark()
        for s in servers:
            s.start()
        for s in servers:
            assert len(s.get(SECRETS)["items"]) == 63
        asked = bao.requests(mark)["update", f"transit/decrypt/{bed.plugin.key}"]
        # One for each seed that is stored, one for each that the servers made anew is the cache's own; the probe's apart.
        probes = bao.requests(mark)["update", f"transit/encrypt/{bed.plugin.key}"]
        assert asked <= 3 + probes
    finally:
        for s in others:
            s.close()


def test_what_a_restarted_api_server_can_do_while_the_manager_is_away(bed, bao):
    """docs/kms-outages.md says what is measured here."""
    bed.server.call("POST", SECRETS, secret("kept", "value"))
    bao.kill()
    try:
        # It runs: what it has read or written before goes on.
        assert value_of(bed.server, "kept") == "value"
        bed.server.call("POST", SECRETS, secret("during", "value"))

        # It starts anew: it makes a seed and cannot have it encrypted, so it has no state, and reads nothing of KMS v2.
        bed.server.stop("apiserver", hard=True)
        bed.server._start_apiserver()

        def answer():
            try:
                return bed.server.raw("GET", f"{SECRETS}/kept", timeout=10)
            except OSError:
                return None

        status, body = wait_until("an answer", answer, 60, 0.2)
        assert status != 200, body
        assert bed.server.raw("GET", "/readyz", timeout=10)[0] != 200
        assert bed.server.raw("GET", "/livez/ping", timeout=10)[0] == 200
    finally:
        bao.restart()
    began = time.monotonic()
    wait_until("Secrets again", lambda: bed.server.raw("GET", f"{SECRETS}/kept", timeout=10)[0] == 200, 60, 0.1)
    print(f"Secrets served {time.monotonic() - began:.1f} s after the manager was back")
    assert value_of(bed.server, "during") == "value"
    wait_until("ready", bed.server.ready, 60, 0.1)
