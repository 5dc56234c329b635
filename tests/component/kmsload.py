# SPDX-License-Identifier: Apache-2.0
"""Calls to a KMS plugin from several clients at once, counted, until the block ends. longest: seconds."""

import threading
import time

from kmsplugin import CallError, Client
from procs import wait_until


class Load:
    def __init__(self, socket, sealed, plain, clients=4, timeout_ms=3000):
        self.calls, self.failed, self.longest = 0, [], 0.0
        self._sealed, self._plain, self._timeout = sealed, plain, timeout_ms
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._clients = [Client(socket) for _ in range(clients)]
        self._threads = [threading.Thread(target=self._run, args=(c,)) for c in self._clients]

    def wait_for(self, more, seconds=30):
        """Returns when that many more calls were answered."""
        target = self.calls + more
        wait_until(f"{more} calls", lambda: self.calls >= target, seconds)

    def _run(self, client):
        ms = self._timeout
        each = [
            lambda: client.status(ms),
            lambda: client.encrypt(self._plain, ms),
            lambda: client.decrypt(self._sealed, ms),
        ]
        while not self._stop.is_set():
            for call in each:
                start = time.monotonic()
                try:
                    call()
                except CallError as e:
                    self.failed.append(str(e))
                with self._lock:
                    self.calls += 1
                    self.longest = max(self.longest, time.monotonic() - start)

    def __enter__(self):
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for t in self._threads:
            t.join()
        for c in self._clients:
            c.close()
