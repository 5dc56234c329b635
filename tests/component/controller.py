# SPDX-License-Identifier: Apache-2.0
"""leasehold-controller cluster beside an API server and a manager, with the rights that the chart gives it."""

import base64
import json
import pathlib
import signal
import subprocess
import urllib.error
import urllib.request

from apiserver import rule
from procs import free_ports, wait_until

SYSTEM, ACCOUNT = "leasehold-system", "leasehold-controller"
LEDGER = "leasehold-controller-ledger"
LABEL = "leasehold.dev/projection-uid"
KINDS = "/apis/leasehold.dev/v1alpha1"

# So that a later leader can end what an earlier one was given.
REVOKER = 'path "auth/token/revoke-accessor" { capabilities = ["update"] }'

EVERYWHERE = [
    rule(["secretprojections", "secretstores", "clustersecretstores"], ["get", "list", "watch"]),
    rule(["secretprojections/status", "secretstores/status", "clustersecretstores/status"], ["patch"]),
    rule(["namespaces", "pods"], ["list", "watch"]),
    rule(["events"], ["create", "patch"], groups=["events.k8s.io"]),
]
OWN = [
    rule(["leases"], ["get", "patch", "update"], groups=["coordination.k8s.io"], names=[ACCOUNT]),
    rule(["leases"], ["create"], groups=["coordination.k8s.io"]),
    rule(["secrets"], ["get", "list", "patch", "update", "watch"], names=[LEDGER]),
]
COPIES = [
    rule(["secrets"], ["create", "delete", "get", "list", "patch", "update", "watch"]),
    rule(["serviceaccounts/token"], ["create"]),
    rule(["secretprojections"], ["patch"]),
    rule(["secretprojections/finalizers"], ["update"]),
    rule(["daemonsets", "deployments", "statefulsets"], ["get", "patch"], groups=["apps"]),
    rule(["poddisruptionbudgets"], ["list"], groups=["policy"]),
]


def projection(name, path, namespace, secret=None, **spec):
    fields = {
        "storeRef": {"kind": "ClusterSecretStore", "name": "vault"},
        "serviceAccountName": "default",
        "kubernetesSecret": {"name": secret or name},
        "items": [{"name": "db", "path": path}],
        **spec,
    }
    return {
        "apiVersion": "leasehold.dev/v1alpha1",
        "kind": "SecretProjection",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {k: v for k, v in fields.items() if v is not None},
    }


class Controller:
    """One process; several may stand for election. Namespaces are those it serves."""

    def __init__(self, bin_dir, folder, apiserver, manager, namespaces, identity="controller-0"):
        self.folder, self.apiserver, self.manager = pathlib.Path(folder), apiserver, manager
        self.namespaces, self.identity = list(namespaces), identity
        self.program = bin_dir / "leasehold-controller"
        self.process, self.port = None, free_ports(1)[0]
        self.log = self.folder / f"{identity}.log"
        self.flags = ["--lease-duration", "3s", "--renew-deadline", "2s", "--retry-period", "200ms"]
        self._rights()

    def _rights(self):
        a = self.apiserver
        self.user = a.account(SYSTEM, ACCOUNT, EVERYWHERE)
        a.account(SYSTEM, ACCOUNT, OWN, only_in=[SYSTEM])
        for namespace in self.namespaces:
            a.namespace(namespace)
        a.account(SYSTEM, ACCOUNT, COPIES, only_in=self.namespaces)
        metadata = {"namespace": SYSTEM}
        if a.get(f"/api/v1/namespaces/{SYSTEM}/secrets/{LEDGER}") is None:
            a.apply(
                {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {**metadata, "name": ACCOUNT},
                },
                {"apiVersion": "v1", "kind": "Secret", "metadata": {**metadata, "name": LEDGER}},
            )

    def store(self, **spec):
        """ClusterSecretStore vault, for all that is served; each default account logs in by a role of its namespace."""
        bao = self.manager.bao
        bao.api("PUT", "sys/policies/acl/revoker", {"policy": REVOKER})
        settings = {"token_policies": ["app", "revoker"]}
        self.apiserver.trust(bao, {n: (n, "default", settings) for n in self.namespaces})
        block = {
            "addresses": [bao.address(0)],
            "caBundle": base64.b64encode(bao.ca.read_bytes()).decode(),
            "kv2Mounts": ["kv"],
            "auth": {"jwt": {"mount": "cluster-jwt", "role": "{namespace}", "audience": "vault"}},
        }
        allow = [{"namespaces": self.namespaces, "paths": ["kv/*", "kv1/*", "database/*", "pki/*"]}]
        self.apiserver.apply(
            {
                "apiVersion": "leasehold.dev/v1alpha1",
                "kind": "ClusterSecretStore",
                "metadata": {"name": "vault"},
                "spec": {
                    "vault": block,
                    "allow": allow,
                    "refresh": {"default": "1s", "min": "200ms"},
                    "limits": {"requestsPerSecond": 1000, "maxInFlight": 32},
                    **spec,
                },
            }
        )

    # -- life

    def start(self):
        argv = [
            *(self.program, "cluster", "--kubeconfig", self.apiserver.kubeconfig(SYSTEM, ACCOUNT)),
            *("--namespaces", ",".join(self.namespaces), "--namespace", SYSTEM, "--identity", self.identity),
            *("--metrics", f"127.0.0.1:{self.port}", "--allow-addresses", "127.0.0.0/8", *self.flags),
        ]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stderr=log)
        return self

    def wait_active(self, seconds=30):
        wait_until(f"a leader; {self.tail()}", lambda: self.ask("/status")["leader"] and self.ready(), seconds)
        return self

    def stop(self, seconds=15):
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def tail(self, size=3000):
        return f"the log ends:\n{self.log.read_text()[-size:]}" if self.log.exists() else "no log"

    # -- its port

    def _get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.read().decode()

    def ask(self, path):
        try:
            return json.loads(self._get(path))
        except (urllib.error.URLError, ConnectionError):
            return {"leader": False}

    def ready(self):
        try:
            return self._get("/readyz") == "ok\n"
        except (urllib.error.URLError, ConnectionError):
            return False

    def metric(self, name, **labels):
        """Sum of the series that have these labels."""
        total = 0.0
        wanted = [f'{k}="{v}"' for k, v in labels.items()]
        for line in self._get("/metrics").splitlines():
            if line.split("{")[0].split(" ")[0] == name and all(w in line for w in wanted):
                total += float(line.rsplit(" ", 1)[1])
        return total

    # -- objects

    def secret(self, name, namespace):
        return self.apiserver.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")

    def data(self, name, namespace):
        """Decoded; None while there is no such Secret."""
        found = self.secret(name, namespace)
        if found is None:
            return None
        return {k: base64.b64decode(v).decode() for k, v in found.get("data", {}).items()}

    def wait_data(self, name, namespace, condition=lambda d: True, seconds=20):
        def good():
            data = self.data(name, namespace)
            return data if data is not None and condition(data) else None

        return wait_until(f"Secret {namespace}/{name}; {self.tail()}", good, seconds)

    def projection(self, name, namespace):
        return self.apiserver.get(f"{KINDS}/namespaces/{namespace}/secretprojections/{name}")

    def condition(self, name, namespace, kind="Ready"):
        found = (self.projection(name, namespace) or {}).get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == kind), {})

    def wait_condition(self, name, namespace, status, reason=None, seconds=20):
        def good():
            c = self.condition(name, namespace)
            return c if c.get("status") == status and reason in (None, c.get("reason")) else None

        return wait_until(f"Ready {status} {reason} of {namespace}/{name}; {self.tail()}", good, seconds)

    def edit(self, name, namespace, spec):
        self.apiserver.merge(f"{KINDS}/namespaces/{namespace}/secretprojections/{name}", {"spec": spec})

    def delete(self, name, namespace):
        self.apiserver.call("DELETE", f"{KINDS}/namespaces/{namespace}/secretprojections/{name}")
