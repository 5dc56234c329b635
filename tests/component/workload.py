# SPDX-License-Identifier: Apache-2.0
"""One store, one projection, and `leasehold run` that keeps its files."""

import base64
import json
import os
import signal
import subprocess

from procs import wait_until

NAMESPACE = "shop"
JWT = {"jwt": {"mount": "jwt", "role": "app", "audience": "vault"}}


class Workload:
    def __init__(self, program, manager, folder):
        self.program = program
        self.manager = manager
        self.folder = folder
        self.root = folder / "root"
        self.log = folder / "run.log"
        self._stores = folder / "stores"
        self._process = None
        self.root.mkdir()
        self._stores.mkdir()
        self.store()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    # -- what it is told

    def store(self, auth=None, *, nodes=(0,), spec=None, **vault):
        """The store, with jwt unless auth says otherwise. vault: more members of spec.vault."""
        bao = self.manager.bao
        block = {
            "addresses": [bao.address(n) for n in nodes],
            "caBundle": base64.b64encode(bao.ca.read_bytes()).decode(),
            "kv2Mounts": ["kv"],
            **vault,
            "auth": auth or JWT,
        }
        self._write(
            self._stores / "store.yaml",
            {
                "apiVersion": "leasehold.dev/v1alpha1",
                "kind": "SecretStore",
                "metadata": {"name": "vault", "namespace": NAMESPACE},
                "spec": {"vault": block, **(spec or {})},
            },
        )

    def secret(self, name, **data):
        """A Kubernetes Secret that the store refers to."""
        self._write(
            self._stores / f"secret-{name}.yaml",
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "data": {k.replace("_", "."): base64.b64encode(v).decode() for k, v in data.items()},
            },
        )

    def items(self, *items, **spec):
        """The projection's items: ("name", "path") or a dict of fields. spec: more members of its spec."""
        listed = [i if isinstance(i, dict) else {"name": i[0], "path": i[1]} for i in items]
        self._write(
            self.folder / "projection.yaml",
            {
                "apiVersion": "leasehold.dev/v1alpha1",
                "kind": "SecretProjection",
                "metadata": {"name": "app", "namespace": NAMESPACE},
                "spec": {
                    "storeRef": {"kind": "SecretStore", "name": "vault"},
                    "serviceAccountName": "shop",
                    "items": listed,
                    **spec,
                },
            },
        )

    # -- running

    def argv(self, *flags, jwt=True):
        argv = [self.program, "run", "-f", self.folder / "projection.yaml", "--stores", self._stores]
        argv += ["--root", self.root, *flags]
        if jwt:
            token = self._private("jwt", self.manager.issuer.token(NAMESPACE, "shop").encode())
            argv += ["--auth-jwt-file", token]
        return [str(a) for a in argv]

    def once(self, *flags, jwt=True, timeout=30):
        """Fetch, publish, end. The finished process; its standard error is in self.log."""
        with open(self.log, "wb") as log:
            return subprocess.run(
                self.argv("--once", *flags, jwt=jwt), stdin=subprocess.DEVNULL, stderr=log, timeout=timeout, check=False
            )

    def start(self, *flags, jwt=True):
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(self.argv(*flags, jwt=jwt), stdin=subprocess.DEVNULL, stderr=log)
        return self

    def alive(self):
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout=10):
        """SIGTERM; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout)

    def kill(self):
        if self.alive():
            self._process.kill()
            self._process.wait()

    # -- what came of it

    def text(self, path):
        return (self.root / path).read_text()

    def has(self, path):
        return (self.root / path).exists()

    def wait_for(self, path, seconds=15):
        wait_until(f"{path}; the log ends:\n{self.log_text()[-2000:]}", lambda: self.has(path), seconds)
        return self.text(path)

    def wait_for_other(self, path, old, seconds):
        """The content that follows old."""
        wait_until(f"new {path}; the log ends:\n{self.log_text()[-2000:]}", lambda: self.text(path) != old, seconds)
        return self.text(path)

    def log_text(self):
        return self.log.read_text() if self.log.exists() else ""

    def reasons(self):
        """The reason words in the log, in order, each once."""
        found = []
        for line in self.log_text().splitlines():
            try:
                reason = json.loads(line).get("reason")
            except ValueError:
                continue
            if reason and reason not in found:
                found.append(reason)
        return found

    def wait_for_reason(self, reason, seconds=15):
        wait_until(f"{reason}; the log ends:\n{self.log_text()[-2000:]}", lambda: reason in self.reasons(), seconds)

    def _private(self, name, data):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        return path

    def private(self, name, data):
        """A file that only we read; its path."""
        return self._private(name, data)

    @staticmethod
    def _write(path, document):
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(document, indent=1))
        os.replace(temporary, path)
