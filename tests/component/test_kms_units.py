# SPDX-License-Identifier: Apache-2.0
"""packaging/kms/leasehold-kms.service and .socket as they are, under a real systemd with all that they forbid."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest
from initd import Systemd
from kmsload import Load
from kmsplugin import Client, Plugin
from openbao import OpenBao
from procs import Work, free_ports, wait_until

UNITS = pathlib.Path(__file__).resolve().parents[2] / "packaging" / "kms"
SERVICE, SOCKET = "leasehold-kms.service", "leasehold-kms.socket"
PATH = "/run/leasehold-kms/kms.sock"
SEED = bytes(range(32))

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="systemd as a first process needs root")


@pytest.fixture
def work():
    made = Work()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def host(work, bin_dir, tmp_path):
    """A Systemd with both units, a manager, and what docs/kms.md puts into /etc/leasehold-kms."""
    bao = OpenBao(work).start()
    plugin = Plugin.on_transit(bin_dir / "leasehold-kms", tmp_path, bao, "transit", "units")
    made = Systemd(work)
    made.program(bin_dir / "leasehold-kms")
    for unit in (SERVICE, SOCKET):
        made.unit(UNITS / unit)
    etc = made.etc("leasehold-kms/store.yaml").parent
    shutil.copyfile(tmp_path / "store.yaml", etc / "store.yaml")
    shutil.copytree(tmp_path / "credentials", etc / "credentials")
    made.port = plugin.port
    env = {"CLUSTER": "c1", "KEY": "units", "METRICS": f"127.0.0.1:{plugin.port}"}
    (etc / "env").write_text("".join(f"LEASEHOLD_{name}={value}\n" for name, value in env.items()))
    for path in (etc / "credentials").iterdir():
        path.chmod(0o600)
    try:
        yield made.start()
    finally:
        made.stop()


def test_systemd_finds_no_fault_in_them(bin_dir, tmp_path):
    """But the path of the program, which is ours here."""
    for unit in (SERVICE, SOCKET):
        text = (UNITS / unit).read_text().replace("/usr/bin/leasehold-kms", str(bin_dir / "leasehold-kms"))
        (tmp_path / unit).write_text(text)
    argv = ["systemd-analyze", "--man=no", "verify", tmp_path / SERVICE, tmp_path / SOCKET]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_call_starts_it_and_neither_an_upgrade_nor_its_death_fails_one(host):
    host.ctl("start", SOCKET)
    socket = host.path(PATH)
    assert oct(socket.stat().st_mode & 0o777) == "0o600" and oct(socket.parent.stat().st_mode & 0o777) == "0o700"
    assert host.show(SERVICE, "ActiveState") == "inactive"
    client = Client(socket)
    try:
        assert client.status(10000)[0] == "ok"  # the call that starts it
        sealed = client.encrypt(SEED)
        assert client.decrypt(sealed) == SEED
        first = host.pid(SERVICE)
        status = pathlib.Path(f"/proc/{first}/status").read_text()
        said = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
        assert (said["CapBnd"], said["NoNewPrivs"], said["Seccomp"]) == ("0" * 16, "1", "2")
        with Load(socket, sealed, SEED, timeout_ms=30000) as load:
            for _ in range(3):
                load.wait_for(200)
                host.ctl("restart", SERVICE)
            load.wait_for(200)
        assert load.failed == []
        again = host.pid(SERVICE)
        assert again not in (0, first)

        os.kill(again, signal.SIGKILL)
        wait_until("another one", lambda: host.pid(SERVICE) not in (0, again), 20)
        assert client.decrypt(sealed, 10000) == SEED  # it waits for the new one
        host.ctl("stop", SERVICE)
        assert host.show(SERVICE, "Result") == "success"
        assert socket.exists()
    finally:
        client.close()


def test_a_wrong_file_is_told_and_tried_again(host):
    store = host.etc("leasehold-kms/store.yaml")
    right = store.read_text()
    store.write_text("kind: Nonsense\n")
    host.ctl("start", SERVICE)
    wait_until("tried six times", lambda: int(host.show(SERVICE, "NRestarts")) > 5, 30)
    store.write_text(right)
    wait_until("it runs", lambda: host.show(SERVICE, "ActiveState") == "active", 20)
    client = Client(host.path(PATH))
    try:
        assert client.status(10000)[0] == "ok"
    finally:
        client.close()
