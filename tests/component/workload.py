# SPDX-License-Identifier: Apache-2.0
"""One store, one projection, and a program that keeps its files: `leasehold run`, or the agent as in a Pod."""

import base64
import json
import signal
import subprocess

import pytest
from procs import wait_until

NAMESPACE = "shop"
JWT = {"jwt": {"mount": "jwt", "role": "app", "audience": "vault"}}


class Workload:
    """What both programs have in common. Files of the store's credentials are made when the program starts."""

    def __init__(self, program, manager, folder):
        self.program = program
        self.manager = manager
        self.folder = folder
        self.root = folder / "root"
        self.log = folder / "run.log"
        self._store = self._projection = None
        self._secrets = {}
        self._process = None
        self.root.mkdir()
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
        self._store = {"vault": block, **(spec or {})}

    def secret(self, name, **data):
        """A Kubernetes Secret that the store refers to; tls_key is its key tls.key."""
        self._secrets[name] = {k.replace("_", "."): v for k, v in data.items()}

    def items(self, *items, **spec):
        """The projection's items: ("name", "path") or a dict of fields. spec: more members of its spec."""
        listed = [i if isinstance(i, dict) else {"name": i[0], "path": i[1]} for i in items]
        self._projection = {
            "storeRef": {"kind": "SecretStore", "name": "vault"},
            "serviceAccountName": "shop",
            "items": listed,
            **spec,
        }

    # -- running

    def once(self, *flags, timeout=30):
        """Fetch, publish, end. The finished process; its standard error is in self.log."""
        argv = self.argv("--once", *map(str, flags))
        with open(self.log, "wb") as log:
            return subprocess.run(argv, stdin=subprocess.DEVNULL, stderr=log, timeout=timeout, check=False)

    def start(self):
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stderr=log)
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

    def jwt(self):
        """What stands in the ServiceAccount token's file; a test may replace it."""
        return self.manager.issuer.token(NAMESPACE, "shop")

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

    def private(self, name, data):
        """A file that only we read; its path."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(data)
        return path


class Run(Workload):
    """`leasehold run`."""

    def argv(self, *flags):
        stores = self.folder / "stores"
        stores.mkdir(exist_ok=True)
        self._object(stores / "store.yaml", "SecretStore", "vault", spec=self._store)
        for name, data in self._secrets.items():
            encoded = {k: base64.b64encode(v).decode() for k, v in data.items()}
            self._object(stores / f"{name}.yaml", "Secret", name, "v1", data=encoded)
        self._object(self.folder / "projection.yaml", "SecretProjection", "app", spec=self._projection)
        argv = [self.program, "run", "-f", self.folder / "projection.yaml", "--stores", stores, "--root", self.root]
        if {"jwt", "kubernetes"} & self._store["vault"]["auth"].keys():
            argv += ["--auth-jwt-file", self.private("jwt", self.jwt().encode())]
        return [str(a) for a in (*argv, *flags)]

    @staticmethod
    def _object(path, kind, name, version="leasehold.dev/v1alpha1", **members):
        metadata = {"name": name, "namespace": NAMESPACE}
        path.write_text(json.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, **members}, indent=1))


class Agent(Workload):
    """leasehold-agent with the configuration that the webhook writes and the volumes that kubelet mounts."""

    def argv(self, *flags):
        state = self.folder / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        config = {
            "version": 1,
            "mode": "sidecar",
            "cluster": "bed",
            "namespace": NAMESPACE,
            "serviceAccount": "shop",
            "pod": "app-0",
            "store": {"kind": "SecretStore", "name": "vault", "namespace": NAMESPACE, "spec": self._store},
            "projection": {"name": "app", "spec": self._projection},
            "mountPath": str(self.root),
            "statePath": str(state),
            "defaultMode": "0440",
        }
        for name, data in self._secrets.items():
            for key, value in data.items():
                self.private(f"{name}/{key}", value)
            config["credentialPath"] = str(self.folder / name)
        if {"jwt", "kubernetes"} & self._store["vault"]["auth"].keys():
            config["tokenFile"] = str(self.private("jwt", self.jwt().encode()))
        return [str(self.program), "--config", str(self.private("config.json", json.dumps(config).encode())), *flags]


def made(bin_dir, kind, manager, folder):
    """A workload of this kind, or a skipped test where the program is not built."""
    name, workload = {"run": ("leasehold", Run), "agent": ("leasehold-agent", Agent)}[kind]
    program = bin_dir / name
    if not program.exists():
        pytest.skip(f"{program} is not built")
    return workload(program, manager, folder)
