# SPDX-License-Identifier: Apache-2.0
"""leasehold-mount in a container's place, and the other end of its socket.

A Host is a mount namespace with a kubelet's folder in a shared mount. The program runs in a namespace of its own in the
same peer group, as a container with Bidirectional propagation does: what it mounts stays on the host when it dies.
"""

import contextlib
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time

PEER = 65532
VERSION, MOUNT, UNMOUNT, LIST, OPEN, LISTENERS, STATE = 1, 1, 2, 3, 4, 5, 6
REQUEST = struct.Struct("<IIQQq64s256s512s")
REPLY = struct.Struct("<IiIIQQ64s256s256s")
DRIVER = "csi.leasehold.dev"


@contextlib.contextmanager
def as_user(uid, gid=None):
    """This process as another user, for what it opens, makes or connects to."""
    os.setegid(uid if gid is None else gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def request(verb, pod=b"", volume=b"", *, size=1 << 20, inodes=64, gid=-1, context=b"", version=VERSION):
    return REQUEST.pack(version, verb, size, inodes, gid, pod, volume, context)


class Reply:
    """What came back; fds are closed with it unless taken."""

    def __init__(self, data, fds):
        self.version, self.os, self.more, self.count, self.bytes, self.inodes, pod, volume, text = REPLY.unpack(data)
        self.pod, self.volume, self.text = (t.rstrip(b"\0").decode() for t in (pod, volume, text))
        self.fds = list(fds)
        assert self.version == VERSION and self.count == len(self.fds)

    def take(self):
        return self.fds.pop(0)

    def __del__(self):
        for fd in self.fds:
            os.close(fd)


class Peer:
    """One connection. ask() returns a Reply, or None where the other end closed."""

    def __init__(self, path, uid=PEER):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        with as_user(uid):
            self.socket.connect(str(path))

    def receive(self):
        data, fds, _, _ = socket.recv_fds(self.socket, 4096, 8)
        return Reply(data, fds) if data else None

    def ask(self, verb, pod="", volume="", **more):
        self.socket.send(request(verb, pod.encode(), volume.encode(), **more))
        return self.receive()

    def list(self):
        """(pod, volume) to Reply, in the order that they came."""
        found, reply = {}, self.ask(LIST)
        while True:
            assert reply.os == 0, reply.text
            if reply.pod:
                found[reply.pod, reply.volume] = reply
            if not reply.more:
                return found
            reply = self.receive()

    def is_closed(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()


class Host:
    def __init__(self, binary, folder, *, shared=True):
        self.binary, self.folder = pathlib.Path(binary), pathlib.Path(folder)
        self.kubelet, self.path = self.folder / "kubelet", self.folder / "run" / "mount.sock"
        self.pods = self.kubelet / "pods"
        self.pods.mkdir(parents=True)
        self.path.parent.mkdir()
        self.path.parent.chmod(0o777)
        self.folder.chmod(0o755)
        script = 'mount --bind "$0" "$0" && mount "$1" "$0" && echo up && exec cat'
        self.init = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", script, self.kubelet]
            + ["--make-shared" if shared else "--make-private"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.init.stdout.readline() == b"up\n"
        self.process = None
        self.log = self.folder / "log"

    # -- the program

    def command(self, *flags):
        enter = ["nsenter", "-m", "-t", str(self.init.pid), "unshare", "-m", "--propagation", "unchanged"]
        return [*enter, self.binary, "--kubelet-dir", self.kubelet, "--socket", self.path, *flags]

    def start(self, uid=PEER, wait=True):
        assert self.process is None
        before = self.inode()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command("--peer-uid", str(uid)), stderr=log)
        end = time.monotonic() + 10
        while wait and self.inode() in (None, before):
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.005)
        return self

    def inode(self):
        try:
            st = self.path.lstat()
        except FileNotFoundError:
            return None
        return st.st_dev, st.st_ino, st.st_ctime_ns

    def stop(self, signo=signal.SIGTERM):
        process, self.process = self.process, None
        process.send_signal(signo)
        return process.wait(10)

    def kill(self):
        return self.stop(signal.SIGKILL)

    def restart(self, **more):
        self.kill()
        return self.start(**more)

    def end(self):
        if self.process:
            self.stop(signal.SIGKILL)
        self.init.kill()
        self.init.wait()
        self.init.stdin.close()
        self.init.stdout.close()

    def peer(self, uid=PEER):
        return Peer(self.path, uid)

    def descriptors(self):
        """What the program has open, by what it is."""
        found = []
        for p in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                found.append(os.readlink(p))
        return sorted(found)

    def status(self):
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}

    # -- kubelet

    def volume(self, pod="pod-1", volume="db"):
        """The folder that kubelet makes before it asks for a volume."""
        folder = self.pods / pod / "volumes" / "kubernetes.io~csi" / volume
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def on_host(self, path):
        """path as the host's mount namespace has it."""
        return pathlib.Path(f"/proc/{self.init.pid}/root") / str(path).lstrip("/")

    def run(self, *command):
        subprocess.run(["nsenter", "-m", "-t", str(self.init.pid), *map(str, command)], check=True)

    def mounts(self):
        """Mount point below kubelet's folder to (source, options, options of the filesystem)."""
        found = {}
        for line in pathlib.Path(f"/proc/{self.init.pid}/mountinfo").read_text().splitlines():
            left, right = (part.split() for part in line.split(" - "))
            if left[4].startswith(f"{self.kubelet}/"):
                found.setdefault(left[4][len(str(self.kubelet)) + 1 :], []).append(
                    (right[1], left[5].split(","), dict(o.partition("=")[::2] for o in right[2].split(",")))
                )
        return found
