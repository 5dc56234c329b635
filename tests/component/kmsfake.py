# SPDX-License-Identifier: Apache-2.0
"""KMS v2 plugins for tests: one that is wrong on command, and a proxy that is wrong about HTTP/2's frames."""

import contextlib
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading

from procs import wait_until


class FakePlugin:
    """tests/programs/kms_fake.c in a folder of its own; the key's version stays over a restart."""

    def __init__(self, bin_dir, folder, *faults):
        self.program = pathlib.Path(bin_dir).parent / "tests" / "kms_fake"
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True, mode=0o700)
        self.socket = self.folder / "kms.sock"
        self.faults = faults
        self.process = None
        self.start()

    def start(self):
        argv = [self.program, self.socket, self.folder / "version", *self.faults]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert json.loads(self.process.stdout.readline()) == {"ready": True}
        return self

    def rotate(self):
        before = (self.folder / "version").read_text()
        self.process.send_signal(signal.SIGHUP)
        wait_until("new version", lambda: (self.folder / "version").read_text() not in ("", before), 10)

    def command(self, signal_name):
        """For a shell: that signal for it."""
        return f"kill -{signal_name} {self.process.pid}"

    def stop(self, hard=False):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
        self.process.communicate(timeout=20)

    def close(self):
        self.stop(hard=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


HEAD = 9
DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 4, 6, 7, 8, 9
PADDED, ACK = 8, 1


class FrameProxy:
    """Between a client and a plugin. spoil(from_client, type, flags, body) says what becomes of a frame: True: it goes
    on; bytes: with these instead of its body; False: it is swallowed; None: the connection ends. most: connections, after
    which nobody is let in."""

    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    def __init__(self, path, upstream, spoil, most=None):
        self.path, self.upstream, self.spoil, self.most = path, str(upstream), spoil, most
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        os.chmod(path, 0o600)
        self.listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        for count in itertools.count():
            if self.most is not None and count >= self.most:
                self.close()
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            server.connect(self.upstream)
            for source, target, from_client in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(source, target, from_client), daemon=True).start()

    def _pass(self, source, target, from_client):
        try:
            if from_client:
                target.sendall(self._exactly(source, len(self.PREFACE)))
            while True:
                head = self._exactly(source, HEAD)
                body = self._exactly(source, int.from_bytes(head[:3], "big"))
                verdict = self.spoil(from_client, head[3], head[4], body)
                if verdict is None:
                    break
                if isinstance(verdict, bytes):
                    target.sendall(len(verdict).to_bytes(3, "big") + head[3:] + verdict)
                elif verdict:
                    target.sendall(head + body)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @staticmethod
    def _exactly(source, count):
        got = b""
        while len(got) < count:
            more = source.recv(count - len(got))
            if not more:
                raise OSError("closed")
            got += more
        return got
