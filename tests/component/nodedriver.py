# SPDX-License-Identifier: Apache-2.0
"""Both halves of the node's driver beside an API server and a manager: the node without its kubelet.

leasehold-mount is a mounter.Host's; leasehold-controller node runs as user 65532 and talks to it, to a real API server
and to a real manager. Kubelet is kubelet.Kubelet.
"""

import base64
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import urllib.error
import urllib.request

from apiserver import rule
from kubelet import Kubelet, Volume
from mounter import DRIVER, PEER, Host
from procs import free_ports, wait_until

SYSTEM, ACCOUNT = "leasehold-system", "leasehold-node"
NODE_NAME = "node-a"
RIGHTS = [
    rule(["secretprojections", "secretstores", "clustersecretstores"], ["get", "list", "watch"]),
    rule(["namespaces", "pods"], ["get", "list", "watch"]),
    rule(["pods/status"], ["patch"]),
]


def projection(path, name="db", **spec):
    return {
        "apiVersion": "leasehold.dev/v1alpha1",
        "kind": "SecretProjection",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "storeRef": {"kind": "ClusterSecretStore", "name": "vault"},
            "items": [{"name": "db", "path": path}],
            **spec,
        },
    }


class Driver:
    """Both processes, and the Pods of namespace shop."""

    def __init__(self, bin_dir, folder, apiserver, manager):
        self.folder, self.apiserver, self.manager = pathlib.Path(folder), apiserver, manager
        self.host = Host(bin_dir / "leasehold-mount", self.folder / "host")
        self.program = bin_dir / "leasehold-controller"
        self.process, self.port = None, free_ports(1)[0]
        self.log = self.folder / "node.log"
        self.flags = []
        self._kubeconfig()
        self._clients, self._pods = [], []

    def _kubeconfig(self):
        """One that another user can read."""
        self.apiserver.account(SYSTEM, ACCOUNT, RIGHTS)
        cluster = {
            "server": self.apiserver.url,
            "certificate-authority-data": base64.b64encode(pathlib.Path(self.apiserver.ca).read_bytes()).decode(),
        }
        user = {"token": self.apiserver.token(ACCOUNT, SYSTEM)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": cluster}],
            "users": [{"name": "x", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        }
        self.config = self.folder / "kubeconfig"
        self.config.write_text(json.dumps(config))
        os.chown(self.config, PEER, PEER)
        self.config.chmod(0o600)

    # -- processes

    @property
    def socket(self):
        return self.host.kubelet / "plugins" / DRIVER / "csi.sock"

    @property
    def registration(self):
        return self.host.kubelet / "plugins_registry" / f"{DRIVER}-reg.sock"

    def start(self, *flags, wait=True):
        """Both, each unless it runs. flags: of the node, kept for later starts."""
        if flags:
            self.flags = list(flags)
        if not self.host.process:
            self.host.start()
        if not self.process:
            argv = [self.program, "node", "--kubeconfig", self.config, "--mount-socket", self.host.path]
            argv += ["--node-name", NODE_NAME, "--metrics", f"127.0.0.1:{self.port}", "--audiences", "vault,other"]
            argv += ["--csi-endpoint", self.socket, "--allow-addresses", "127.0.0.0/8", *self.flags]
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [str(a) for a in argv], stderr=log, user=PEER, group=PEER, extra_groups=[], cwd="/"
                )
        if wait:
            wait_until("the driver", self.is_ready, 20)
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()
        return self.fetch("/readyz") == "ok\n"

    def kill(self, which, signo=signal.SIGKILL):
        """which: node or mount. The other one goes on if it was stopped."""
        process = self.process if which == "node" else self.host.process
        process.send_signal(signo)
        self.host.process.send_signal(signal.SIGCONT)
        if which == "node":
            self.process = None
        else:
            self.host.process = None
        return process.wait(20)

    def restart(self, which, signo=signal.SIGKILL):
        self.kill(which, signo)
        return self.start()

    @contextlib.contextmanager
    def mount_frozen(self):
        self.host.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            if self.host.process:
                self.host.process.send_signal(signal.SIGCONT)

    def close(self):
        for client in self._clients:
            client.close()
        if self.process:
            self.kill("node")
        self.host.end()
        print(self.log.read_text() if self.log.exists() else "", self.host.log.read_text(), sep="")
        for pod in self._pods:
            self.delete_pod(pod)

    # -- seen from outside

    def fetch(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.read().decode()
        except OSError:
            return None

    def status(self):
        return json.loads(self.fetch("/status"))

    def metric(self, name, **labels):
        """A sample's value, None where there is none."""
        for line in self.fetch("/metrics").splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(f'{k}="{v}"' in series for k, v in labels.items()):
                return float(value)
        return None

    def state_folder(self):
        """As the node's own mount namespace shows it."""
        return pathlib.Path(f"/proc/{self.host.process.pid}/root{self.host.kubelet}/plugins/{DRIVER}/state")

    def records(self):
        """Names in the folder of state."""
        return sorted(p.name for p in self.state_folder().iterdir())

    def mounted(self, volume):
        """How often it is mounted."""
        return len(self.host.mounts().get(str(pathlib.Path(volume.target).relative_to(self.host.kubelet)), []))

    def read(self, volume, path="db/username"):
        """A file of the volume, as the host has it; None where there is none."""
        try:
            return self.host.on_host(f"{volume.target}/{path}").read_text()
        except OSError:
            return None

    def credential(self, volume):
        return self.read(volume), self.read(volume, "db/password")

    # -- Kubernetes

    def kubelet(self, uid=0):
        self._clients.append(Kubelet(self.socket, uid))
        return self._clients[-1]

    def volume(self, pod="shop", **more):
        """Of a Pod of namespace shop that the API server knows, or will know."""
        path = f"/api/v1/namespaces/shop/pods/{pod}"
        found = self.apiserver.get(path)
        if found is None:
            container = {"name": "app", "image": "local.test/none:1"}
            spec = {"nodeName": NODE_NAME, "serviceAccountName": "shop", "containers": [container]}
            made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod}, "spec": spec}
            found = self.apiserver.call("POST", "/api/v1/namespaces/shop/pods", made)
            self._pods.append(pod)
        tokens = {"vault": self.manager.issuer.token("shop", "shop")}
        uid = found["metadata"]["uid"]
        return Volume(self.host.pods, uid, **{"pod": pod, "tokens": tokens, **more})

    def delete_pod(self, pod):
        body = {"gracePeriodSeconds": 0}
        self.apiserver.call("DELETE", f"/api/v1/namespaces/shop/pods/{pod}", body, check=False)

    def store(self, address, name="vault", **vault):
        """A ClusterSecretStore for namespace shop."""
        ca = base64.b64encode(self.manager.bao.ca.read_bytes()).decode()
        jwt = {"mount": "jwt", "role": "{namespace}-{serviceAccount}", "audience": "vault"}
        spec = {"addresses": [address], "kv2Mounts": ["kv"], "caBundle": ca, "auth": {"jwt": jwt}, **vault}
        spec = {k: v for k, v in spec.items() if v is not None}
        allow = [{"namespaces": ["shop"], "paths": ["kv/app/*", "database/creds/*"]}]
        return {
            "apiVersion": "leasehold.dev/v1alpha1",
            "kind": "ClusterSecretStore",
            "metadata": {"name": name},
            "spec": {"vault": spec, "allow": allow},
        }
