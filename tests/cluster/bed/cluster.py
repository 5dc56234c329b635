# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes cluster for one test run, by the scripts up and down beside this file."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = HERE.parent.parent / "tools"
sys.path.insert(0, str(HERE.parent.parent / "managers"))  # for programs that are not run by pytest

from procs import BedError, Guard, start_time, wait_until  # noqa: E402

API = "https://10.90.0.1:6443"
ADDRESS = "10.90.0.1"  # of node a: what Pods can reach
ISSUER = "https://kubernetes.default.svc.cluster.local"


def tool(name):
    """Folder of a fetched tool's programs."""
    done = subprocess.run([TOOLS / "path", name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BedError(done.stderr.strip())
    return pathlib.Path(done.stdout.strip())


class CommandError(BedError):
    def __init__(self, argv, done):
        words = " ".join(str(a) for a in argv)
        super().__init__(f"{words}: status {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
        self.done = done


class Cluster:
    """One or two nodes, "a" and "b"; Kubernetes calls them node-a and node-b. Ends with this process at the latest."""

    def __init__(self, nodes=1, *, images=(), logs=None, prefix=None, options=()):
        """images: OCI archives to import. logs: folder that gets the logs at the end. options: more for `up`."""
        self.prefix = prefix or f"lh{os.getpid()}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="leasehold-cluster-"))
        self.nodes = ["a", "b"][:nodes]
        self.logs = pathlib.Path(logs).resolve() if logs else None
        self._up_argv = [HERE / "up", "--dir", self.folder, "--prefix", self.prefix, "--nodes", str(nodes), *options]
        for image in images:
            self._up_argv += ["--image", image]
        if self.logs:
            self._up_argv += ["--logs", self.logs]
        self._down_argv = [HERE / "down", "--dir", self.folder, "--prefix", self.prefix]
        self._guard = None
        self._children = {}

    # -- life

    def up(self):
        self._guard = Guard(self._down_argv)
        try:
            _run(self._up_argv)
        except BaseException:
            self.down()
            raise
        return self

    def down(self):
        """Safe to call twice."""
        if self.logs and (self.folder / "kubectl").exists():
            self.save_logs(self.logs)
        _run(self._down_argv)
        if self.folder.exists():
            self.folder.rmdir()
        for child in self._children.values():
            child.wait()
        self._children.clear()
        if self._guard:
            self._guard.dismiss()
            self._guard = None

    def detach(self):
        """From now on the cluster outlives this process; `down` ends it."""
        self._guard.dismiss()
        self._guard = None

    def __enter__(self):
        return self.up()

    def __exit__(self, *_):
        self.down()

    def save_logs(self, folder):
        """Logs of every daemon and container, and what the API server knows."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for log in (self.folder / "log").glob("*.log"):
            (folder / log.name).write_bytes(log.read_bytes())
        for node in self.nodes:
            pods = self.folder / node / "pods"
            for log in pods.glob("*/*/*.log") if pods.exists() else ():
                (folder / ".".join(log.relative_to(pods).parts)).write_bytes(log.read_bytes())
        for kinds, name in (("events", "events.txt"), ("pods,nodes,deployments,services", "objects.yaml")):
            form = "yaml" if name.endswith("yaml") else "wide"
            done = self.kubectl("get", kinds, "-A", "-o", form, "--request-timeout=5s", check=False)
            (folder / name).write_text(done.stdout + done.stderr)

    # -- commands

    def kubectl(self, *args, input=None, check=True, timeout=300):
        """A finished kubectl with stdout and stderr as text."""
        return _run([self.folder / "kubectl", *args], input=input, check=check, timeout=timeout)

    def get(self, *args):
        """An object, or a list of them, as JSON. args: as after `kubectl get`."""
        return json.loads(self.kubectl("get", *args, "-o", "json").stdout)

    def apply(self, *objects, check=True, args=()):
        """Applies manifests: text, one object, or several."""
        if len(objects) == 1 and isinstance(objects[0], str):
            text = objects[0]
        else:
            text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        return self.kubectl("apply", "-f", "-", *args, input=text, check=check)

    def delete(self, *args, wait=True):
        return self.kubectl("delete", *args, f"--wait={'true' if wait else 'false'}", "--ignore-not-found")

    def in_node(self, *argv, node="a", input=None, check=True, timeout=300):
        """A command in the node's namespaces, with KUBECONFIG set. argv[0] is an absolute path."""
        return _run([self.folder / f"in-{node}", *argv], input=input, check=check, timeout=timeout)

    def helm(self, *args, check=True, timeout=300):
        home = self.folder / "helm"
        env = [f"HELM_{kind}_HOME={home / kind.lower()}" for kind in ("CACHE", "CONFIG", "DATA")]
        return self.in_node("/usr/bin/env", *env, tool("helm") / "helm", *args, check=check, timeout=timeout)

    def import_image(self, *archives):
        """OCI archives to every node. Pods name them with imagePullPolicy Never."""
        _run([self.folder / "import", *(pathlib.Path(a).resolve() for a in archives)])

    def ctr(self, *args, node="a"):
        """stdout of containerd's own command, in the namespace of Kubernetes."""
        return _run([self.folder / "ctr", node, *args]).stdout

    def exec(self, pod, *argv, namespace="default", container=None, input=None, check=True):
        """stdout of a command in a container."""
        args = ["exec", "-n", namespace, pod, *(["-c", container] if container else []), *(["-i"] if input else [])]
        return self.kubectl(*args, "--", *argv, input=input, check=check).stdout

    # -- waiting

    def wait(self, what, condition, seconds=60.0):
        """First true value of condition(); on the deadline the error carries the events."""
        try:
            return wait_until(what, condition, seconds, 0.1)
        except BedError as e:
            events = self.kubectl("get", "events", "-A", "--sort-by=.lastTimestamp", check=False).stdout
            tail = "\n".join(events.splitlines()[-20:])
            raise BedError(f"{e}; the last events:\n{tail}") from None

    def wait_for(self, what, condition, namespace="default", seconds=60):
        """`kubectl wait`: what is pod/NAME and the like, condition is condition=Ready, delete, jsonpath=..."""
        args = ["wait", "-n", namespace, f"--for={condition}", what, f"--timeout={seconds}s"]
        done = self.kubectl(*args, check=False, timeout=seconds + 30)
        if done.returncode != 0:
            described = self.kubectl("describe", "-n", namespace, what, check=False).stdout
            tail = "\n".join(described.splitlines()[-25:])
            raise BedError(f"{what} in {namespace}: no {condition} within {seconds} s: {done.stderr.strip()}\n{tail}")

    def rollout(self, what, namespace="default", seconds=120):
        """Returns when the Deployment, DaemonSet or StatefulSet is rolled out."""
        done = self.kubectl("rollout", "status", "-n", namespace, what, f"--timeout={seconds}s", check=False)
        if done.returncode != 0:
            pods = self.kubectl("get", "pods", "-n", namespace, "-o", "wide", check=False).stdout
            raise BedError(f"{what} in {namespace} is not rolled out: {done.stderr.strip()}\n{pods}")

    # -- daemons: etcd apiserver controller-manager scheduler kubelet-a proxy-a containerd-a, the same with b

    def stop_daemon(self, name, hard=False):
        pid = self._pid(name)
        started = start_time(pid)
        if started is None:
            return
        os.kill(pid, signal.SIGKILL if hard else signal.SIGTERM)

        def ended():
            if name in self._children:
                self._children[name].poll()
            return start_time(pid) != started

        # An API server that is asked to end first lets its watches run out.
        wait_until(f"end of {name}", ended, 90)

    def start_daemon(self, name):
        """Returns when it serves."""
        self._children[name] = subprocess.Popen(
            [self.folder / "cmd" / name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(f"{name} to serve", lambda: self._serves(name), 60, 0.1)

    def restart_daemon(self, name, hard=False):
        self.stop_daemon(name, hard)
        self.start_daemon(name)

    def kill_container(self, pod, container, namespace="default"):
        """SIGKILL for a container's first process, as the kernel's memory killer would."""
        made = self.get("pod", "-n", namespace, pod)
        status, node = made["status"], made["spec"]["nodeName"].removeprefix("node-")
        every = status.get("containerStatuses", []) + status.get("initContainerStatuses", [])
        (container_id,) = [c["containerID"] for c in every if c["name"] == container]
        _run([self.folder / "ctr", node, "tasks", "kill", "-s", "SIGKILL", container_id.removeprefix("containerd://")])

    def cut_network(self, node):
        """Takes node b off the network."""
        self.in_node("/sbin/ip", "link", "set", f"to-{node}", "down")

    def join_network(self, node):
        self.in_node("/sbin/ip", "link", "set", f"to-{node}", "up")

    # -- identity and secret manager

    @property
    def netns(self):
        """Path of node a's network namespace."""
        return f"/run/netns/{self.prefix}-a"

    @property
    def ca(self):
        """Path of the API server's CA."""
        return self.folder / "pki" / "ca.crt"

    @property
    def service_account_key(self):
        """PEM of the public key that checks ServiceAccounts' tokens."""
        return (self.folder / "pki" / "sa.pub").read_text()

    def token(self, service_account="default", namespace="default", audience="vault", seconds=600):
        args = ["create", "token", "-n", namespace, service_account, f"--duration={seconds}s"]
        return self.kubectl(*args, *([f"--audience={audience}"] if audience else [])).stdout.strip()

    def manager(self, **options):
        """A managers.Manager that Pods can reach, not started yet."""
        from managers import Manager

        return Manager(listen=ADDRESS, netns=self.netns, **options)

    def trust(self, bao, roles, jwt_mount="cluster-jwt", kubernetes_mount="kubernetes"):
        """Lets ServiceAccounts log in to a running OpenBao: by jwt with the public key, by kubernetes with a reviewer.

        roles: name -> (namespace, service account); further settings of a role as a dict in third place.
        """
        from provision import configure_jwt, configure_kubernetes, subject

        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "token-reviewer"}},
            _reviewer_account(),
            _reviewer_binding(),
        )
        by_subject, by_name = {}, {}
        for name, (namespace, account, *more) in roles.items():
            settings = more[0] if more else {}
            by_subject[name] = {**subject(namespace, account), **settings}
            names = {"bound_service_account_names": account, "bound_service_account_namespaces": namespace}
            by_name[name] = {**names, **settings}
        configure_jwt(bao, jwt_mount, [self.service_account_key], ISSUER, by_subject)
        reviewer = self.token("reviewer", "token-reviewer", audience=None, seconds=24 * 3600)
        configure_kubernetes(bao, kubernetes_mount, API, self.ca.read_text(), reviewer, by_name)

    # -- inside

    def _pid(self, name):
        return int((self.folder / "pids" / name).read_text())

    def _serves(self, name):
        probe = {
            "etcd": ("a", f"{API}/readyz"),
            "apiserver": ("a", f"{API}/readyz"),
            "controller-manager": ("a", "https://127.0.0.1:10257/healthz"),
            "scheduler": ("a", "https://127.0.0.1:10259/healthz"),
        }.get(name)
        kind, _, node = name.rpartition("-")
        if probe is None and kind == "containerd":
            return _run([self.folder / "ctr", node, "version"], check=False).returncode == 0
        if probe is None:
            probe = (node, f"http://127.0.0.1:{ {'kubelet': 10248, 'proxy': 10256}[kind] }/healthz")
        argv = ["/usr/bin/curl", "-sfk", "-m", "2", "-o", "/dev/null", probe[1]]
        return self.in_node(*argv, node=probe[0], check=False).returncode == 0


def _reviewer_account():
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "reviewer", "namespace": "token-reviewer"},
    }


def _reviewer_binding():
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "token-reviewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "reviewer", "namespace": "token-reviewer"}],
    }


def _run(argv, input=None, check=True, timeout=600):
    done = subprocess.run(
        [str(a) for a in argv], input=input, capture_output=True, text=True, check=False, timeout=timeout
    )
    if check and done.returncode != 0:
        raise CommandError(argv, done)
    return done
