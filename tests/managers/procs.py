# SPDX-License-Identifier: Apache-2.0
"""A work folder and the processes that belong to it.

Nothing may outlive a test run, also not one that is killed. So every process is recorded in the folder, and a guard
(this file run as a program) waits for the end of the run that owns the folder, then ends what is recorded and removes
the folder. A record carries the process's start time: a process that merely got the same id is never touched.
"""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

THIS = pathlib.Path(__file__).resolve()
MARK = "leasehold-bed"  # a folder without this file is never removed
LEAVE = b"leave"  # what a guard is told when the folder shall stay
CLONE_NEWNET = 0x40000000


class BedError(Exception):
    """A test bed cannot do what was asked; the text says what to look at."""


def start_time(pid):
    """Start time of a live process in clock ticks since boot, None when there is none."""
    proc = pathlib.Path(f"/proc/{pid}")
    try:
        fields = (proc / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        # A zombie is dead once it is alone: its other threads, while they end, still hold its ports.
        if fields[0] in "ZX" and len(list((proc / "task").iterdir())) <= 1:
            return None
    except OSError:
        return None
    return int(fields[19])


def wait_until(what, condition, seconds=30.0, step=0.02):
    """Returns the first true value of condition(); raises BedError after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BedError(f"no {what} within {seconds:g} s")
        time.sleep(step)


def in_netns(netns, function):
    """Runs function in the network namespace at path netns (None: this one). Sockets made there stay there."""
    if netns is None:
        return function()
    result = []

    def run():
        libc = ctypes.CDLL(None, use_errno=True)
        fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(fd, CLONE_NEWNET) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), str(netns))
        finally:
            os.close(fd)
        return function()

    def thread():
        try:
            result.append((run(), None))
        except BaseException as e:  # handed to the caller below
            result.append((None, e))

    # The namespace belongs to a thread and ends with it, so that the caller's own never changes.
    t = threading.Thread(target=thread)
    t.start()
    t.join()
    value, error = result[0]
    if error is not None:
        raise error
    return value


def free_ports(count, listen="127.0.0.1", netns=None):
    """Ports that were free a moment ago, all different. Whoever uses one must still check who answers there."""

    def pick():
        sockets = [socket.socket() for _ in range(count)]
        try:
            for s in sockets:
                s.bind((listen, 0))
            return [s.getsockname()[1] for s in sockets]
        finally:
            for s in sockets:
                s.close()

    return in_netns(netns, pick)


class Process:
    """A recorded process, ours by birth or read back from its record."""

    def __init__(self, record, child=None):
        self.record = pathlib.Path(record)
        pid, self.started, self.stop_signal = (int(x) for x in self.record.read_text().split())
        self.pid = pid
        self._child = child

    def alive(self):
        if self._child is not None:
            self._child.poll()  # reaps it
        return start_time(self.pid) == self.started

    def signal(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def stop(self, seconds=10.0):
        """The signal that ends it in good order, then the hard one."""
        self.signal(self.stop_signal)
        try:
            wait_until("end", lambda: not self.alive(), seconds)
        except BedError:
            self.kill()
        self.record.unlink(missing_ok=True)

    def kill(self):
        """SIGKILL for it and its process group."""
        if self.alive():
            os.killpg(self.pid, signal.SIGKILL)
        wait_until(f"end of process {self.pid}", lambda: not self.alive(), 10)
        self.record.unlink(missing_ok=True)


class Guard:
    """Runs a command when this process is gone, however it went, unless it was dismissed before."""

    def __init__(self, argv):
        self._child = subprocess.Popen(
            [sys.executable, str(THIS), "guard", *map(str, argv)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )

    def dismiss(self):
        if self._child is not None:
            self._child.communicate(LEAVE)
            self._child = None


class Work:
    """A folder that owns processes, and ends with this process unless detached."""

    def __init__(self, path=None):
        if path is None:
            path = tempfile.mkdtemp(prefix="leasehold-")
        self.path = pathlib.Path(path).resolve()
        if self.path.exists() and any(self.path.iterdir()):
            raise BedError(f"{self.path} is not empty: end the test bed that it holds, or choose another folder")
        (self.path / "pids").mkdir(parents=True, exist_ok=True)
        (self.path / MARK).touch()
        # PostgreSQL runs under another user and must be able to enter.
        self.path.chmod(0o711)
        self._children = {}
        self._guard = Guard([sys.executable, THIS, "end", self.path])

    def start(self, name, argv, *, user=None, netns=None, cwd="/", stop_signal=signal.SIGTERM):
        """Starts argv with its output in NAME.log. user: dropped to when we are root. netns: path of a namespace."""
        prefix = []
        if netns is not None:
            prefix += ["nsenter", f"--net={netns}", "--"]
        if user is not None and os.geteuid() == 0:
            prefix += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
        env = dict(os.environ, HOME=str(self.path))
        with open(self.path / f"{name}.log", "ab") as log:
            child = subprocess.Popen(
                prefix + [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=cwd,
                env=env,
            )
        record = self.path / "pids" / name
        record.write_text(f"{child.pid} {start_time(child.pid) or 0} {int(stop_signal)}")
        self._children[name] = child
        return Process(record, child)

    def process(self, name):
        """The process of that name, None when it is not recorded."""
        record = self.path / "pids" / name
        return Process(record, self._children.get(name)) if record.exists() else None

    def log_tail(self, name, lines=20):
        path = self.path / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def end(self):
        """Ends every process of the folder and removes it. Safe to call twice."""
        end_folder(self.path)
        self._guard.dismiss()

    def detach(self):
        """From now on the folder outlives this process; end_folder() ends it."""
        self._guard.dismiss()


def end_folder(path):
    path = pathlib.Path(path)
    if not (path / MARK).exists():
        return
    processes = [Process(r) for r in (path / "pids").iterdir()]
    for p in processes:
        p.signal(p.stop_signal)
    for p in processes:
        p.stop()
    shutil.rmtree(path)


def main():
    command, *args = sys.argv[1:]
    if command == "end":
        end_folder(args[0])
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read() != LEAVE:
        with open(os.devnull, "r+b") as null:
            subprocess.run(args, stdin=null, stdout=null, check=False)


if __name__ == "__main__":
    main()
