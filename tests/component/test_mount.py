# SPDX-License-Identifier: Apache-2.0
"""leasehold-mount, driven over its socket as the node's unprivileged half does."""

import errno
import os
import pathlib
import resource
import signal
import socket
import stat
import subprocess
import tempfile
import time

import pytest
from mounter import DRIVER, LIST, LISTENERS, MOUNT, OPEN, PEER, REQUEST, STATE, UNMOUNT, Host, Peer, as_user, request

TARGET = "pods/pod-1/volumes/kubernetes.io~csi/db/mount"
STATE_FOLDER = f"plugins/{DRIVER}/state"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for mount namespaces of its own")


@pytest.fixture
def binary(bin_dir):
    return bin_dir / "leasehold-mount"


@pytest.fixture
def short_path():
    """A folder that other users may enter, and whose sockets can be connected to by path."""
    with tempfile.TemporaryDirectory(prefix="lh-") as folder:
        os.chmod(folder, 0o711)
        yield pathlib.Path(folder)


@pytest.fixture
def stopped(binary, short_path):
    host = Host(binary, short_path / "host")
    yield host
    host.end()


@pytest.fixture
def host(stopped):
    return stopped.start()


@pytest.fixture
def peer(host):
    p = host.peer()
    yield p
    p.close()


def open_at(folder, name, data=None):
    """Reads or makes a file of a handed-out folder, as the unprivileged half."""
    with as_user(PEER):
        flags = os.O_RDONLY if data is None else os.O_WRONLY | os.O_CREAT | os.O_EXCL
        fd = os.open(name, flags, 0o440, dir_fd=folder)
    try:
        return os.read(fd, 4096) if data is None else os.write(fd, data)
    finally:
        os.close(fd)


# -- the process


def test_it_keeps_only_what_it_uses(host, peer):
    host.volume()
    assert peer.ask(MOUNT, "pod-1", "db").os == 0  # also after work
    status = host.status()
    kept = 1 << 21 | 1 << 2  # SYS_ADMIN, DAC_READ_SEARCH
    assert {k: int(status[k], 16) for k in ("CapPrm", "CapEff", "CapBnd")} == dict.fromkeys(
        ("CapPrm", "CapEff", "CapBnd"), kept
    )
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
    limits = resource.prlimit(host.process.pid, resource.RLIMIT_CORE)
    assert limits == (0, 0)


def test_it_has_no_network(host):
    ours, its = (os.readlink(f"/proc/{pid}/ns/net") for pid in ("self", host.process.pid))
    assert ours != its
    devices = pathlib.Path(f"/proc/{host.process.pid}/net/dev").read_text().splitlines()[2:]
    assert [d.split(":")[0].strip() for d in devices if "lo:" not in d and "tunl0" not in d and "sit0" not in d] == []
    assert len(pathlib.Path(f"/proc/{host.process.pid}/net/route").read_text().splitlines()) <= 1


def test_inherited_descriptors_are_closed(stopped):
    secret = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(secret, True)
    stopped.process = subprocess.Popen(stopped.command("--peer-uid", str(PEER)), pass_fds=[secret])
    deadline = time.monotonic() + 10
    while not stopped.inode():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert not [d for d in stopped.descriptors() if "hostname" in d]
    os.close(secret)


def test_pages_and_wrong_flags(binary):
    def run(*args):
        return subprocess.run([binary, *args], capture_output=True, text=True, timeout=10)

    assert run("--version").stdout.startswith("leasehold-mount ")
    assert "--peer-uid N" in run("--help").stdout
    assert run("--docs", "man").stdout.startswith(".Dd ")
    assert run("--docs", "flags").stdout.startswith("## leasehold-mount\n")
    for args in (["--nonsense"], ["--docs", "metrics"], ["--peer-uid", "0"], ["x"]):
        done = run(*args)
        assert done.returncode == 2 and "leasehold-mount" in done.stderr


def test_it_will_not_mount_what_no_pod_would_see(binary, short_path):
    private = Host(binary, short_path / "private", shared=False)
    try:
        private.start(wait=False)
        assert private.process.wait(10) == 1
        private.process = None
        assert "mountPropagation: Bidirectional" in private.log.read_text()
    finally:
        private.end()


# -- volumes


def test_a_volume_from_mount_to_unmount(host, peer):
    folder = host.volume()
    got = peer.ask(MOUNT, "pod-1", "db", size=1 << 20, inodes=32, gid=2000)
    assert (got.os, got.count, got.bytes, got.inodes, got.pod, got.volume) == (0, 1, 1 << 20, 32, "pod-1", "db")
    [(source, flags, options)] = host.mounts()[TARGET]
    assert source == "leasehold" and {"nosuid", "nodev", "noexec"} <= set(flags)
    assert options["size"] == "1024k" and options["nr_inodes"] == "32"
    if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 4):
        assert "noswap" in options
    root = got.take()
    st = os.fstat(root)
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o2750, PEER, 2000)
    open_at(root, "a", b"secret")
    on_host = host.on_host(folder) / "mount" / "a"
    assert on_host.read_bytes() == b"secret" and (on_host.stat().st_uid, on_host.stat().st_gid) == (PEER, 2000)

    again = peer.ask(MOUNT, "pod-1", "db", size=1 << 25, inodes=99, gid=3000)  # left as it is
    assert (again.os, again.bytes, again.inodes) == (0, 1 << 20, 32)
    assert os.path.sameopenfile(again.fds[0], root) and len(host.mounts()[TARGET]) == 1
    opened = peer.ask(OPEN, "pod-1", "db")
    assert open_at(opened.fds[0], "a") == b"secret" and opened.bytes == 1 << 20
    assert [*peer.list()] == [("pod-1", "db")]

    os.close(root)
    for _ in range(2):
        gone = peer.ask(UNMOUNT, "pod-1", "db")
        assert (gone.os, gone.count) == (0, 0)
        assert host.mounts() == {} and list(host.on_host(folder).iterdir()) == []
    assert peer.ask(OPEN, "pod-1", "db").os == errno.ENOENT
    assert peer.list() == {}


def test_without_a_group_all_may_read(host, peer):
    host.volume()
    got = peer.ask(MOUNT, "pod-1", "db")
    st = os.fstat(got.fds[0])
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o2755, PEER, 0)


def test_a_volume_in_use_is_unmounted(host, peer):
    folder = host.volume()
    root = peer.ask(MOUNT, "pod-1", "db").take()
    open_at(root, "a", b"x")
    with (host.on_host(folder) / "mount" / "a").open():
        assert peer.ask(UNMOUNT, "pod-1", "db").os == 0
    assert host.mounts() == {}
    os.close(root)


@pytest.mark.parametrize("what", ["bytes", "inodes"])
def test_a_volume_holds_no_more_than_it_may(host, peer, what):
    host.volume()
    root = peer.ask(MOUNT, "pod-1", "db", size=65536, inodes=8).take()
    with pytest.raises(OSError) as full, as_user(PEER):
        for i in range(100 if what == "inodes" else 1):
            fd = os.open(f"f{i}", os.O_WRONLY | os.O_CREAT, dir_fd=root)
            try:
                for _ in range(17 if what == "bytes" else 0):
                    os.write(fd, b"x" * 4096)
            finally:
                os.close(fd)
    assert full.value.errno == errno.ENOSPC
    assert (i if what == "inodes" else os.stat("f0", dir_fd=root).st_size) == (7 if what == "inodes" else 65536)
    os.close(root)


def test_hundreds_of_volumes(host, peer):
    names = {(f"pod-{i}", f"v.{i}") for i in range(300)}
    for pod, volume in names:
        host.volume(pod, volume)
        assert peer.ask(MOUNT, pod, volume, size=4096 * (1 + len(pod))).os == 0
    found = peer.list()
    assert set(found) == names
    assert all(r.bytes == 4096 * (1 + len(r.pod)) and r.inodes == 64 for r in found.values())
    for pod, volume in names:
        assert peer.ask(UNMOUNT, pod, volume).os == 0
    assert peer.list() == {} and host.mounts() == {}


def test_a_context_the_kernel_refuses_leaves_nothing(host, peer):
    if pathlib.Path("/sys/fs/selinux/enforce").exists():
        pytest.skip("this kernel has SELinux")
    folder = host.volume()
    got = peer.ask(MOUNT, "pod-1", "db", context=b"system_u:object_r:container_file_t:s0:c1,c2")
    assert got.os == errno.EINVAL and "context" in got.text
    assert host.mounts() == {} and list(folder.iterdir()) == []


# -- restarts


def test_killed_between_any_two_steps(stopped):
    folder = stopped.volume()

    def ask(*args, **more):
        p = stopped.peer()
        try:
            return p.ask(*args, **more)
        finally:
            p.close()

    stopped.start()
    root = ask(MOUNT, "pod-1", "db").take()
    open_at(root, "a", b"kept")
    stopped.restart()
    assert ask(LIST).pod == "pod-1"
    stopped.restart()
    again = ask(MOUNT, "pod-1", "db")
    assert os.path.sameopenfile(again.fds[0], root) and open_at(again.fds[0], "a") == b"kept"
    assert len(stopped.mounts()[TARGET]) == 1
    stopped.restart()
    assert ask(UNMOUNT, "pod-1", "db").os == 0 and stopped.mounts() == {}
    (folder / "mount").mkdir()  # killed between unmount and rmdir, or mkdir and mount
    stopped.restart()
    assert ask(LIST).pod == "" and ask(OPEN, "pod-1", "db").os == errno.ENOENT
    assert ask(MOUNT, "pod-1", "db").os == 0 and len(stopped.mounts()[TARGET]) == 1
    stopped.restart()
    assert ask(UNMOUNT, "pod-1", "db").os == 0 and list(folder.iterdir()) == []
    (folder / "mount").mkdir()
    stopped.restart()
    assert ask(UNMOUNT, "pod-1", "db").os == 0 and list(folder.iterdir()) == []
    os.close(root)


def test_sigterm_leaves_mounts_and_takes_its_sockets(host, peer):
    host.volume()
    assert peer.ask(MOUNT, "pod-1", "db").os == peer.ask(STATE).os == 0
    began = time.monotonic()
    assert host.stop() == 0
    assert time.monotonic() - began < 2
    assert set(host.mounts()) == {TARGET, STATE_FOLDER}
    assert not host.path.exists()
    assert [p.name for p in (host.kubelet / "plugins_registry").iterdir()] == []
    assert [p.name for p in (host.kubelet / "plugins" / DRIVER).iterdir()] == ["state"]


def test_sigterm_leaves_a_successors_sockets(host):
    paths = [host.path, host.kubelet / "plugins" / DRIVER / "csi.sock"]
    others = []
    for path in paths:
        other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        other.bind(str(path) + "2")
        os.rename(str(path) + "2", path)
        others.append((other, path.lstat().st_ino))
    assert host.stop() == 0
    assert [p.lstat().st_ino for p in paths] == [ino for _, ino in others]


def test_state_outlives_both_halves(stopped):
    stopped.start()
    got = stopped.peer().ask(STATE)
    st = os.fstat(got.fds[0])
    assert (stat.S_IMODE(st.st_mode), st.st_uid) == (0o700, PEER) and got.os == 0
    open_at(got.fds[0], "leases", b"ids")
    del got
    stopped.restart()
    got = stopped.peer().ask(STATE)
    assert open_at(got.fds[0], "leases") == b"ids"
    assert len(stopped.mounts()[STATE_FOLDER]) == 1 and stopped.peer().list() == {}
    stopped.stop()
    # Of another user, who could not have read it: a new one.
    stopped.start(uid=65531)
    root = stopped.peer(65531).ask(STATE).take()
    assert os.listdir(root) == [] and os.fstat(root).st_uid == 65531
    assert len(stopped.mounts()[STATE_FOLDER]) == 1
    os.close(root)


# -- listeners


def reached(listener, path):
    """Does a connection to path come out of listener?"""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(path))
    client.send(b"hello")
    listener.settimeout(5)
    conn, _ = listener.accept()
    with client, conn:
        return conn.recv(5) == b"hello"


def test_listeners_are_handed_out_and_stay_open(host):
    csi, registration = host.kubelet / f"plugins/{DRIVER}/csi.sock", host.kubelet / f"plugins_registry/{DRIVER}-reg.sock"
    assert [stat.S_IMODE(p.lstat().st_mode) for p in (csi, registration)] == [0o600, 0o600]
    early = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    early.connect(str(csi))  # kubelet, while nobody serves yet: it waits, it is not refused
    for round_ in range(3):
        peer = host.peer()
        got = peer.ask(LISTENERS)
        assert (got.os, got.count) == (0, 2)
        listeners = [socket.socket(fileno=got.take()) for _ in range(2)]
        if round_ == 0:
            listeners[0].settimeout(5)
            listeners[0].accept()[0].close()
        assert reached(listeners[0], csi) and reached(listeners[1], registration)
        for listener in listeners:
            listener.close()
        peer.close()  # the unprivileged half dies; the next one takes over
    early.close()


def test_listeners_replace_stale_ones(stopped):
    stopped.start()
    stopped.kill()
    csi = stopped.kubelet / f"plugins/{DRIVER}/csi.sock"
    stale = csi.lstat().st_ino
    with pytest.raises(ConnectionRefusedError):
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(str(csi))
    stopped.start()
    got = stopped.peer().ask(LISTENERS)
    assert reached(socket.socket(fileno=got.take()), csi) and csi.lstat().st_ino != stale
    names = [p.name for p in (*csi.parent.iterdir(), *(stopped.kubelet / "plugins_registry").iterdir())]
    assert sorted(names) == ["csi.leasehold.dev-reg.sock", "csi.sock"]


# -- those who may not, and those who lie


@pytest.mark.parametrize("uid", [0, 1000, 65531])
def test_other_users_are_refused(host, uid):
    other = Peer(host.path, uid)
    try:
        other.socket.send(request(LIST))
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert other.is_closed()


MALFORMED = {
    "empty": b"\0",
    "short": request(LIST)[:-1],
    "long": request(LIST) + b"\0",
    "huge": request(LIST) * 50,
    "version": request(LIST, version=2),
    "verb 0": request(0),
    "verb 7": request(7),
    "unterminated pod": request(MOUNT, b"a" * 64, b"db"),
    "unterminated volume": request(MOUNT, b"pod-1", b"a" * 256),
    "unterminated context": request(MOUNT, b"pod-1", b"db", context=b"a" * 512),
    "behind the end": request(MOUNT, b"pod-1\0x", b"db"),
}
NOT_ALLOWED = {
    "no pod": ("", "db", {}),
    "no volume": ("pod-1", "", {}),
    "pod ..": ("..", "db", {}),
    "volume ..": ("pod-1", "..", {}),
    "slash": ("pod-1", "db/../../../..", {}),
    "absolute": ("/etc", "db", {}),
    "no bytes": ("pod-1", "db", {"size": 0}),
    "giant": ("pod-1", "db", {"size": 2**64 - 1}),
    "one byte too many": ("pod-1", "db", {"size": (1 << 30) + 1}),
    "no inodes": ("pod-1", "db", {"inodes": 0}),
    "inodes": ("pod-1", "db", {"inodes": 2**64 - 1}),
    "gid": ("pod-1", "db", {"gid": -2}),
    "gid that wraps": ("pod-1", "db", {"gid": 1 << 32}),
    "context": ("pod-1", "db", {"context": b"x,size=1g x"}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_not_the_protocol_ends_the_connection(host, name):
    host.volume()
    before = host.descriptors()
    peer = host.peer()
    peer.socket.send(MALFORMED[name])
    got = peer.receive()
    assert got.os == errno.EPROTO and got.text and got.count == 0
    assert peer.is_closed()
    peer.close()
    assert host.mounts() == {} and host.peer().list() == {}
    assert len(host.descriptors()) <= len(before) + 1


@pytest.mark.parametrize("name", NOT_ALLOWED)
def test_what_is_not_allowed_is_refused(host, peer, name):
    folder = host.volume()
    pod, volume, more = NOT_ALLOWED[name]
    got = peer.ask(MOUNT, pod, volume, **more)
    assert got.os == errno.EINVAL and got.text and got.count == 0
    assert host.mounts() == {} and list(folder.iterdir()) == []
    assert peer.ask(MOUNT, "pod-1", "db").os == 0  # the connection is as good as before


def test_traps_on_the_way_are_not_followed(host, peer):
    """Pod, volume or target that is a symlink or a file, each with a real folder behind it."""
    elsewhere = host.folder / "elsewhere"
    (elsewhere / "volumes/kubernetes.io~csi/db/mount").mkdir(parents=True)
    real = host.volume("real").parent
    (host.pods / "link").symlink_to(elsewhere)
    (host.pods / "near").symlink_to("real")
    (real / "up").symlink_to(elsewhere / "volumes/kubernetes.io~csi/db")
    host.volume("real", "target").joinpath("mount").symlink_to(elsewhere)
    host.volume("real", "file").joinpath("mount").write_text("x")
    (real / "plain").write_text("x")
    wrong = (errno.ELOOP, errno.ENOTDIR)
    for pod, volume in (("link", "db"), ("near", "db"), ("real", "up"), ("real", "target"), ("real", "file"), ("real", "plain")):
        for verb in (MOUNT, UNMOUNT):
            got = peer.ask(verb, pod, volume)
            assert got.os in wrong and got.text and got.count == 0, (pod, volume, verb)
        assert peer.ask(OPEN, pod, volume).os in (*wrong, errno.ENOENT)
    assert host.mounts() == {} and (elsewhere / "volumes/kubernetes.io~csi/db/mount").is_dir()
    assert host.volume("real", "target").joinpath("mount").is_symlink()
    assert host.volume("real", "file").joinpath("mount").read_text() == "x"


def test_a_pod_that_is_not_there(host, peer):
    assert peer.ask(MOUNT, "gone", "db").os == errno.ENOENT
    assert peer.ask(OPEN, "gone", "db").os == errno.ENOENT
    assert peer.ask(UNMOUNT, "gone", "db").os == 0
    assert not (host.pods / "gone").exists()


def test_what_others_mounted_is_left_alone(host, peer):
    """A volume of another driver, and a mount of ours that is not a volume."""
    for volume, source in (("nfs", "other"), ("bound", None)):
        target = host.volume("pod-1", volume) / "mount"
        target.mkdir()
        if source:
            host.run("mount", "-t", "tmpfs", source, target)
        else:
            host.run("mount", "--bind", "/etc", target)
    (host.volume("pod-1", "full") / "mount").mkdir()
    (host.volume("pod-1", "full") / "mount" / "data").write_text("x")
    before = host.mounts()
    for volume, want in (("nfs", errno.EPERM), ("bound", errno.EPERM), ("full", errno.ENOTEMPTY)):
        for verb in (MOUNT, UNMOUNT):
            got = peer.ask(verb, "pod-1", volume)
            assert got.os == want and "not ours" in got.text
        assert peer.ask(OPEN, "pod-1", volume).os == errno.ENOENT
    assert host.mounts() == before and peer.list() == {}
    assert (host.volume("pod-1", "full") / "mount" / "data").read_text() == "x"


def test_another_mount_on_top_of_ours(host, peer):
    target = host.volume() / "mount"
    assert peer.ask(MOUNT, "pod-1", "db").os == 0
    host.run("mount", "-t", "tmpfs", "other", target)
    assert peer.ask(UNMOUNT, "pod-1", "db").os == errno.EPERM and len(host.mounts()[TARGET]) == 2
    host.run("umount", target)
    assert peer.ask(UNMOUNT, "pod-1", "db").os == 0 and host.mounts() == {}


def test_descriptors_that_a_peer_sends_are_dropped(host, peer):
    assert peer.list() == {}  # it is let in
    before = host.descriptors()
    with open("/etc/hostname") as f:
        socket.send_fds(peer.socket, [request(LIST)], [f.fileno()] * 8)
        assert peer.receive().os == 0
    assert host.descriptors() == before


def test_idle_connections_lock_nobody_out(host):
    crowd = [host.peer() for _ in range(40)]
    late = host.peer()
    assert late.list() == {}
    assert len([d for d in host.descriptors() if d.startswith("socket:")]) <= 3 + 4
    for p in (*crowd, late):
        p.close()


def test_a_peer_that_does_not_read_holds_up_nobody_for_long(host):
    for i in range(100):
        host.volume(f"pod-{i}")
        assert host.peer().ask(MOUNT, f"pod-{i}", "db").os == 0
    deaf = host.peer()
    deaf.socket.settimeout(0.2)
    with pytest.raises((TimeoutError, BrokenPipeError, ConnectionResetError)):
        for _ in range(10000):
            deaf.socket.send(request(LIST))
    began = time.monotonic()
    other = host.peer()
    assert len(other.list()) == 100
    assert time.monotonic() - began < 5
    began = time.monotonic()
    assert host.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 3


def test_a_flood_of_requests_leaks_nothing(host, peer):
    host.volume()
    peer.ask(MOUNT, "pod-1", "db")
    before = host.descriptors()
    for i in range(3000):
        got = peer.ask((MOUNT, OPEN, LISTENERS, STATE)[i % 4], "pod-1", "db")
        assert got.os == 0
    assert peer.ask(OPEN, "nobody", "db").os == errno.ENOENT
    assert host.descriptors() == before
    assert int(host.status()["VmRSS"].split()[0]) < 16384


def test_what_is_sent_is_as_documented():
    assert REQUEST.size == 864
