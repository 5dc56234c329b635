# SPDX-License-Identifier: Apache-2.0
"""`leasehold kms conformance` passes a plugin that is right, and names each fault of one that is not."""

import contextlib
import json
import os
import pathlib
import shlex
import signal
import subprocess
import tempfile

import pytest
from kmsfake import (
    ACK,
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    SETTINGS,
    WINDOW_UPDATE,
    FakePlugin,
    FrameProxy,
)
from kmsplugin import Plugin
from openbao import OpenBao, find_program
from procs import Work, wait_until

# fault -> the tests that fail of it
FAULTS = {
    "key-id-flips": {"status-stable"},
    "key-id-mismatch": {"encrypt-key-id"},
    "key-id-long=0": {"status-fields", "encrypt-key-id"},
    "key-id-long=1025": {"status-fields", "encrypt-key-id"},
    "version": {"status-fields"},
    "unhealthy": {"status-healthy"},
    "status-fails": {"status-fields", "status-healthy", "status-stable", "encrypt-key-id", "in-time"},
    "encrypt-fails": {"encrypt-fields", "encrypt-key-id", "round-trip", "in-time"},
    "ciphertext-empty": {"encrypt-fields", "round-trip", "lengths", "in-time", "cold-start"},
    "ciphertext-bytes=1025": {"encrypt-fields", "round-trip", "lengths", "in-time", "cold-start"},
    "annotation-name": {"encrypt-fields"},
    "annotation-bytes=33000": {"encrypt-fields"},
    "wrong-plaintext": {"round-trip", "lengths", "cold-start"},
    "long-is-cut": {"lengths"},
    "empty-is-wrong": {"lengths"},
    "any-key-id": {"decrypt-unknown-key-id"},
    "any-ciphertext": {"decrypt-tampered", "decrypt-truncated"},
    "any-annotations": {"decrypt-own-annotations", "decrypt-foreign-annotation"},
    "more-annotations": {"decrypt-foreign-annotation"},
    "dies-of-garbage": {"malformed"},
    "garbage-is-fine": {"malformed", "oversize"},
    "mode=0666": {"socket-mode"},
}
# Faults that make other tests fail as well, since nothing can be had from such a plugin.
LOOSE = {"key-id-flips", "key-id-mismatch", "ciphertext-empty", "ciphertext-bytes=1025", "annotation-name", "annotation-bytes=33000", "dies-of-garbage"}


@pytest.fixture
def kit(bin_dir):
    """kit(socket, *options): (exit status, results by id, the last line)."""

    def run(socket, *options):
        argv = [bin_dir / "leasehold", "kms", "conformance", "--socket", socket, "-o", "json", *options]
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, timeout=120)
        results = json.loads(done.stdout)["tests"] if done.stdout else []
        return done.returncode, {t["id"]: t for t in results}, done.stderr.splitlines()[-1]

    return run


def failed(results):
    return {name for name, t in results.items() if t["result"] == "failed"}


@pytest.fixture
def plugin(bin_dir, tmp_path):
    """plugin(*faults): a running FakePlugin."""
    made = []

    def start(*faults):
        made.append(FakePlugin(bin_dir, tmp_path / f"p{len(made)}", *faults))
        return made[-1]

    yield start
    for p in made:
        p.close()


def test_passes_a_plugin_that_is_right(kit, plugin):
    right, beside = plugin(), plugin()
    both = f"{right.command('HUP')} {beside.process.pid}"
    away = right.command("USR1")
    commands = ("--rotate", both, "--outage", away, "--recover", away, "--settle", "20s")
    status, results, last = kit(right.socket, "--second", beside.socket, *commands)
    assert failed(results) == set()
    assert status == 0
    skipped = {"restart"} | (set() if os.geteuid() == 0 else {"peer"})
    assert {name for name, t in results.items() if t["result"] == "skipped"} == skipped
    assert last == f"{len(results) - len(skipped)} passed, 0 failed, {len(skipped)} skipped"


def test_skips_what_it_was_given_no_means_for(kit, plugin):
    status, results, _ = kit(plugin().socket)
    assert status == 0
    skipped = {name for name, t in results.items() if t["result"] == "skipped"}
    assert skipped - {"peer"} == {"rotation", "restart", "outage", "second-agrees", "second-rotation"}
    assert "--second" in results["second-agrees"]["detail"] and "--recover" in results["outage"]["detail"]


@pytest.mark.parametrize("fault", FAULTS)
def test_names_the_fault(kit, plugin, fault):
    want = FAULTS[fault]
    status, results, last = kit(plugin(fault).socket, "--timeout", "1s")
    assert status == 1
    named = failed(results)
    if fault in LOOSE:
        assert want <= named
    else:
        assert named == want
    assert f" {len(named)} failed, " in last
    for name in named:
        assert results[name]["detail"] and results[name]["rule"] and results[name]["source"]


def test_a_plugin_that_is_too_slow(kit, plugin):
    status, results, _ = kit(plugin("slow=20").socket, "--timeout", "1s")
    assert status == 0, failed(results)
    status, results, _ = kit(plugin("slow=400").socket, "--timeout", "200ms", "--only", "in-time")
    assert (status, failed(results)) == (1, {"in-time"})


def test_a_plugin_that_cannot_take_a_cold_start(kit, plugin):
    status, results, _ = kit(plugin("slow=20", "fail-parallel=100").socket, "--only", "cold-start")
    assert (status, failed(results)) == (1, {"cold-start"})


def test_a_rotation_that_forgets(kit, plugin):
    p = plugin("forgets")
    status, results, _ = kit(p.socket, "--rotate", f"kill -HUP {p.process.pid}", "--only", "rotation")
    assert (status, failed(results)) == (1, {"rotation"})
    assert "sealed before the rotation" in results["rotation"]["detail"]


def test_a_rotation_that_reuses_the_key_id(kit, plugin):
    p = plugin("reuses")
    options = ["--rotate", f"kill -HUP {p.process.pid}", "--only", "rotation", "--settle", "2s"]
    status, results, _ = kit(p.socket, *options)
    assert status == 1 and "the same" in results["rotation"]["detail"]


def test_a_rotation_that_cannot_be_had_is_skipped(kit, plugin):
    status, results, _ = kit(plugin().socket, "--rotate", "exit 3", "--only", "rotation")
    assert status == 0 and results["rotation"]["result"] == "skipped" and "status 3" in results["rotation"]["detail"]


@pytest.mark.parametrize("faults, want", [((), "passed"), (("forgets",), "failed")])
def test_a_restart(kit, plugin, tmp_path, faults, want):
    p = plugin(*faults)
    # Under forgets the new process has another version: what was sealed is lost with the old one.
    bump = "echo 7 > '{}';".format(p.folder / "version") if faults else ""
    again = shlex.join([str(p.program), str(p.socket), str(p.folder / "version"), *faults])
    # A service manager's restart waits for the end of the old process, which here becomes a zombie of ours.
    ended = f"until grep -q '^State:.Z' /proc/{p.process.pid}/status; do sleep 0.01; done"
    script = f"kill {p.process.pid}\n{ended}\n{bump}\n{again} >/dev/null 2>&1 &\necho $! >{tmp_path}/pid"
    try:
        status, results, _ = kit(p.socket, "--restart", script, "--only", "restart", "--settle", "10s")
    finally:
        if (tmp_path / "pid").exists():
            os.kill(int((tmp_path / "pid").read_text()), 9)
    assert results["restart"]["result"] == want, results
    assert status == (want == "failed")


@pytest.mark.parametrize(
    "faults, brings_back, says",
    [
        ((), True, None),
        (("outage-invalid",), True, "as if the request were wrong"),
        (("outage-hangs",), True, "no answer within the timeout"),
        ((), False, "after the recovery"),
    ],
    ids=["right", "blames-the-caller", "hangs", "stays-away"],
)
def test_an_outage(kit, plugin, faults, brings_back, says):
    p = plugin(*faults)
    recover = p.command("USR1") if brings_back else "true"
    commands = ("--outage", p.command("USR1"), "--recover", recover, "--settle", "1s", "--timeout", "500ms")
    status, results, _ = kit(p.socket, *commands, "--only", "outage")
    if says is None:
        assert status == 0 and results["outage"]["detail"] == "Status: ok; Encrypt: UNAVAILABLE; Decrypt: UNAVAILABLE"
    else:
        assert (status, failed(results)) == (1, {"outage"})
        assert says in results["outage"]["detail"]


@pytest.mark.parametrize(
    "fault, rotates, says",
    [
        ("other-version", "none", {"second-agrees": "writes anew"}),
        ("other-key", "none", {"second-agrees": "cannot be opened"}),
        (None, "one", {"second-rotation": "not both"}),
        ("forgets", "both", {"second-rotation": "cannot be opened"}),
    ],
)
def test_two_plugins_that_do_not_agree(kit, plugin, fault, rotates, says):
    first = plugin()
    second = plugin(*([fault] if fault in ("other-key", "forgets") else []))
    if fault == "other-version":
        second.rotate()
    # The second is late by a moment: what it still seals by the old key, and gets by the new, is the question.
    rotate = {"none": "true", "one": first.command("HUP"), "both": f"{first.command('HUP')}; sleep 0.3; {second.command('HUP')}"}
    (name,) = says
    options = ("--second", second.socket, "--rotate", rotate[rotates], "--settle", "2s", "--only", name)
    status, results, _ = kit(first.socket, *options)
    assert (status, failed(results)) == (1, {name})
    assert says[name] in results[name]["detail"]


def nth(count, matches, then):
    """A spoiler that does `then` with the count-th frame that matches, and with those after it."""
    seen = [0]

    def spoil(up, kind, flags, body):
        if not matches(up, kind, flags, body):
            return True
        seen[0] += 1
        return then if seen[0] >= count else True

    return spoil


def twice(up, kind, flags, body):
    """Of two messages the first arrives, and its answer comes twice."""
    if up and kind == DATA:
        twice.asked = len(body) > 5
        return body[:5]
    return body * 2 if not up and kind == DATA and twice.asked else True


@pytest.mark.parametrize(
    "spoil, want",
    [
        (lambda up, kind, flags, body: up or kind != SETTINGS or bool(flags & ACK), "settings-first"),
        (lambda up, kind, flags, body: not (kind == PING and not up), "ping"),
        (lambda up, kind, flags, body: None if kind == CONTINUATION else True, "split-headers"),
        (lambda up, kind, flags, body: None if up and kind == DATA and flags & PADDED else True, "padding"),
        (lambda up, kind, flags, body: None if up and kind == DATA and len(body) == 1 else True, "bytewise"),
        (lambda up, kind, flags, body: b"" if up and kind == SETTINGS and not flags & ACK else True, "window-zero"),
        (lambda up, kind, flags, body: not (up and kind == WINDOW_UPDATE), "window-zero"),
        # Its first settings count, the later ones do not.
        (nth(3, lambda up, kind, flags, body: up and kind == SETTINGS and not flags & ACK, False), "settings-midway"),
        (lambda up, kind, flags, body: None if up and kind == GOAWAY else True, "goaway"),
        (nth(3, lambda up, kind, flags, body: up and kind == PING, None), "ping-with-calls"),
        (lambda up, kind, flags, body: not (kind == PING and not up), "ping-flood"),
        (
            lambda up, kind, flags, body: body.replace(b"\x0atext/plain", b"\x10application/grpc") if up and kind == HEADERS else True,
            "content-type",
        ),
        (twice, "two-messages"),
    ],
    ids=[
        *("no-settings", "no-pong", "no-continuation", "no-padding", "no-parts", "no-window", "no-update", "no-change"),
        *("no-farewell", "no-pings", "no-end-of-pings", "any-content-type", "two-answers"),
    ],
)
def test_names_what_is_wrong_with_frames(kit, plugin, tmp_path, spoil, want):
    proxy = FrameProxy(tmp_path / "proxy.sock", plugin().socket, spoil)
    try:
        status, results, _ = kit(proxy.path, "--timeout", "500ms", "--only", want)
    finally:
        proxy.close()
    assert (status, failed(results)) == (1, {want})


def test_a_plugin_that_lets_only_some_in(kit, plugin, tmp_path):
    proxy = FrameProxy(tmp_path / "proxy.sock", plugin().socket, lambda *_: True, most=300)
    try:
        status, results, _ = kit(proxy.path, "--timeout", "500ms", "--only", "connects")
    finally:
        proxy.close()
    assert (status, failed(results)) == (1, {"connects"})


def foreign(folder, socket):
    """Kubernetes' own service package on grpc-go, as the plugins out there have it."""
    tools = pathlib.Path(__file__).resolve().parent.parent / "tools"
    found = subprocess.run([tools / "path", "kms-foreign"], check=True, capture_output=True, text=True).stdout.strip()
    process = subprocess.Popen([pathlib.Path(found) / "kms-foreign", folder / socket, folder / "keys"])
    wait_until("socket", (folder / socket).exists, 10)
    return process


def test_passes_a_foreign_plugin(kit, tmp_path):
    """What it holds against grpc-go and Kubernetes' own package it would hold against every plugin there is."""
    tmp_path.chmod(0o700)
    first = foreign(tmp_path, "first.sock")
    second = foreign(tmp_path, "second.sock")
    try:
        status, results, _ = kit(tmp_path / "first.sock", "--second", tmp_path / "second.sock")
        assert (status, failed(results)) == (0, set())
        skipped = {name for name, t in results.items() if t["result"] == "skipped"}
        assert skipped - {"peer"} == {"rotation", "restart", "outage", "second-rotation"}
        assert "grpc-go" in results["no-message"]["detail"]
        assert "ended" in results["ping-flood"]["detail"]
        options = ("--rotate", f"kill -HUP {first.pid}", "--only", "rotation")
        status, results, _ = kit(tmp_path / "first.sock", *options)
        assert (status, results["rotation"]["result"]) == (0, "passed")
    finally:
        for process in (first, second):
            process.terminate()
            process.wait(10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_a_stranger_that_is_answered(kit, bin_dir):
    with tempfile.TemporaryDirectory() as folder, FakePlugin(bin_dir, f"{folder}/p", "mode=0666") as p:
        os.chmod(folder, 0o755)
        p.folder.chmod(0o755)
        status, results, _ = kit(p.socket, "--only", "peer")
        assert (status, failed(results)) == (1, {"peer"})


def test_a_folder_that_everybody_may_write(kit, plugin):
    p = plugin()
    p.folder.chmod(0o777)
    status, results, _ = kit(p.socket, "--only", "socket-folder")
    assert status == 1 and "every account may replace" in results["socket-folder"]["detail"]


def test_nobody_there_is_no_verdict(kit, tmp_path):
    status, results, last = kit(tmp_path / "none.sock")
    assert (status, results) == (2, {})
    assert "no plugin answers" in last


def test_says_it_to_people(bin_dir, plugin):
    argv = [bin_dir / "leasehold", "kms", "conformance", "--socket", plugin("version").socket]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, timeout=60)
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and lines[-1].split(", ")[1] == "1 failed"
    at = next(i for i, line in enumerate(lines) if line.startswith("failed   status-fields"))
    assert lines[at + 1].strip().startswith("rule:") and "KEP-3299" in lines[at + 2]


@pytest.fixture(scope="module")
def bao():
    work = Work()
    try:
        yield OpenBao(work).start()
    finally:
        work.end()


def test_passes_leasehold_kms_on_transit_rotated_and_restarted(kit, bin_dir, tmp_path, bao):
    quick = ("--probe-interval", "1s", "--settle-delay", "1s", "--settle-observations", "2")
    ours = Plugin.on_transit(bin_dir / "leasehold-kms", tmp_path, bao, "transit", "conformance", *quick)
    second = Plugin(ours.program, tmp_path / "second", *ours.flags)
    second.folder.mkdir(mode=0o700)
    control, worker = tmp_path / "control.sock", tmp_path / "worker"
    listen = ("--from-holder", str(control))
    rotate, restart = tmp_path / "rotate", tmp_path / "restart"
    command = shlex.join([str(find_program()), "write", "-f", "transit/keys/conformance/rotate"])
    rotate.write_text(
        f"export BAO_ADDR={bao.address()} BAO_CACERT={bao.ca} BAO_TOKEN=$(cat {bao.root_token_file})\n{command}\n"
    )
    # The holder keeps the socket, so that the next worker may start before this one has ended.
    restart.write_text(
        f"kill $(cat {worker})\n{shlex.join(ours.argv(*listen))} </dev/null >/dev/null 2>&1 &\necho $! >{worker}\n"
    )
    holding = [str(bin_dir / "leasehold-kms"), "--hold", "--listen", str(ours.socket), "--control", str(control)]
    holder = subprocess.Popen(holding, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until("holder", control.exists, 10)
        ours.start(*listen)
        second.start()
        worker.write_text(str(ours.process.pid))
        commands = ("--rotate", f"sh {rotate}", "--restart", f"sh {restart}", "--settle", "60s")
        pid = bao.pid()
        outage = ("--outage", f"kill -STOP {pid}", "--recover", f"kill -CONT {pid}")
        status, results, last = kit(ours.socket, "--second", second.socket, *commands, *outage)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(worker.read_text()), signal.SIGKILL)
        ours.close()
        second.close()
        holder.kill()
        holder.wait()
    assert failed(results) == set(), results
    assert (status, last) == (0, f"{len(results)} passed, 0 failed, 0 skipped")
