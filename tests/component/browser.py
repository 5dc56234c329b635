# SPDX-License-Identifier: Apache-2.0
"""Chromium without a window, driven over its own protocol through a pipe: what a page came to be, asked of the page."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess

from procs import BedError

PATIENCE = 60  # seconds for one answer


def pipe():
    """With numbers that the shell's redirections below leave alone."""
    low = os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in low]
    for fd in low:
        os.close(fd)
    return high


class Browser:
    """One page. Whatever it complains of is in complaints, whatever it asks the network for in requests."""

    def __init__(self, folder):
        program = shutil.which("chromium-headless-shell")
        if not program:
            raise BedError("chromium-headless-shell is not installed: run scripts/install-packages test")
        told, self._tell = pipe()
        self._hear, tells = pipe()
        # The page is our own, and user namespaces, which the sandbox wants, are rare in containers.
        argv = [program, "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        argv += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "--hide-scrollbars", "about:blank"]
        # The protocol's pipes are descriptors 3 and 4, whatever numbers they have here.
        shell = ["bash", "-c", f'exec "$@" 3<&{told} 4>&{tells} {told}<&- {tells}>&-', "chromium", *argv]
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen(shell, pass_fds=(told, tells), stdout=log, stderr=log)
        os.close(told)
        os.close(tells)
        self._rest, self._id, self._session = b"", 0, None
        self.complaints, self.requests, self._events = [], [], set()
        self._attach()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._session = None
        self.call("Browser.close")
        self._process.wait()
        os.close(self._tell)
        os.close(self._hear)

    def _attach(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _message(self):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._hear], [], [], PATIENCE)
            part = os.read(self._hear, 1 << 16) if ready else b""
            if not part:
                raise BedError("the browser does not answer")
            self._rest += part
        one, _, self._rest = self._rest.partition(b"\0")
        return json.loads(one)

    def _take(self, event):
        method, params = event.get("method"), event.get("params", {})
        self._events.add(method)
        if method in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(params)
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def call(self, method, **params):
        self._id += 1
        asked = {"id": self._id, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._tell, json.dumps(asked).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") != self._id:
                self._take(answer)
                continue
            if "error" in answer:
                raise BedError(f"{method}: {answer['error']['message']}")
            return answer["result"]

    def open(self, path):
        self._events.discard("Page.loadEventFired")
        self.call("Page.navigate", url=path.as_uri())
        while "Page.loadEventFired" not in self._events:
            self._take(self._message())

    def ask(self, script):
        """The value of an expression in the page."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in done:
            raise BedError(json.dumps(done["exceptionDetails"]))
        return done["result"].get("value")

    def look(self, width, scheme="light"):
        """As on a screen that is so wide, in a light or dark theme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path):
        height = self.ask("document.documentElement.scrollHeight")
        width = self.ask("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
