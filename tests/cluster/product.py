# SPDX-License-Identifier: Apache-2.0
"""Leasehold on a test cluster: installed by Helm from the images of scripts/image, with namespaces, stores and Pods."""

import base64
import collections
import json
import pathlib

from cluster import ISSUER, BedError
from procs import wait_until
from provision import configure_jwt, subject

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "leasehold"
IMAGES = ROOT / "build" / "images"
RELEASE = "leasehold"
NAMESPACE = "leasehold-system"
CONTROLLER = "leasehold-controller"
SERVED = "copies"  # where Secret copies are switched on
WEBHOOK = "leasehold-webhook"
STORE = "openbao"
JWT_MOUNT = "cluster-jwt"
SECRETS = "/run/secrets/leasehold"
AGENT = "leasehold-agent"
LOGIN = ("update", f"auth/{JWT_MOUNT}/login")
RENEW = ("update", "sys/leases/renew")
ACCOUNT = "shop"  # of every Pod here


def archives(folder=IMAGES):
    """OCI archives of both images for this machine."""
    found = [p for name in ("leasehold-agent", "leasehold") for p in pathlib.Path(folder).glob(f"{name}-amd64.oci.tar")]
    if len(found) != 2:
        raise BedError(f"{folder} does not hold both images: run scripts/image amd64")
    return found


def place(entry):
    """What an entry of the manager's audit log is about: (operation, path)."""
    return entry["request"]["operation"], entry["request"]["path"]


class Product:
    """One release in a cluster, and the manager that its store names."""

    def __init__(self, cluster, manager, images=IMAGES):
        self.cluster, self.manager = cluster, manager
        cluster.import_image(*archives(images))

    # -- the release

    def helm(self, command, *args, chart=CHART):
        """install or upgrade, and wait until all of it is ready."""
        settings = ["image.pullPolicy=Never", "agent.image.pullPolicy=Never", "clusterName=prod"]
        settings.append(f"cluster.namespaces={{{SERVED}}}")
        more = [a for s in settings for a in ("--set", s)]
        return self.cluster.helm(command, RELEASE, chart, "-n", NAMESPACE, *more, *args, "--wait", "--timeout", "120s")

    def install(self, *args):
        # Not applied: what else was said of it stays.
        self.cluster.kubectl("create", "namespace", SERVED, check=False)
        return self.helm("install", "--create-namespace", *args)

    def uninstall(self):
        self.cluster.helm("uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "120s")

    def webhook_pods(self):
        """Names of the webhook's Pods that are not ending."""
        pods = self.cluster.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=leasehold-webhook")["items"]
        return sorted(p["metadata"]["name"] for p in pods if "deletionTimestamp" not in p["metadata"])

    # -- tenants

    def store(self, name=STORE, *, address=None, ca=None, ca_ref=None, allow=None):
        """A ClusterSecretStore. ca: PEM text, the manager's unless given. ca_ref: a ConfigMap's name and key instead."""
        vault = {
            "addresses": [address or self.manager.bao.address()],
            "kv2Mounts": ["kv"],
            "auth": {"jwt": {"mount": JWT_MOUNT, "role": "{namespace}-{serviceAccount}", "audience": "vault"}},
        }
        if ca_ref:
            vault["caBundleRef"] = ca_ref
        else:
            pem = ca or self.manager.bao.ca.read_text()
            vault["caBundle"] = base64.b64encode(pem.encode()).decode()
        allow = allow or [
            {
                "namespaceSelector": {"matchLabels": {"team": ACCOUNT}},
                "paths": ["kv/app/*", "database/creds/*", "database/static-creds/*"],
            }
        ]
        return {
            "apiVersion": "leasehold.dev/v1alpha1",
            "kind": "ClusterSecretStore",
            "metadata": {"name": name},
            "spec": {"vault": vault, "allow": allow},
        }

    def namespace(self, name, **labels):
        """A namespace under Pod Security `restricted` with an account that the manager knows."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted", "team": ACCOUNT, **labels}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": name}},
        )
        roles = {f"{name}-{ACCOUNT}": subject(name, ACCOUNT)}
        configure_jwt(self.manager.bao, JWT_MOUNT, [self.cluster.service_account_key], ISSUER, roles)
        return Tenant(self, name)


class Tenant:
    """A namespace that may ask the store."""

    def __init__(self, product, name):
        self.product, self.cluster, self.name = product, product.cluster, name

    def create(self, obj, check=True):
        """Creates an object here: admission sees CREATE."""
        obj["metadata"]["namespace"] = self.name
        return self.cluster.kubectl("create", "-f", "-", input=json.dumps(obj), check=check)

    def get(self, *args):
        return self.cluster.get("-n", self.name, *args)

    def events(self, pod):
        """Texts of the Pod's events."""
        chosen = f"involvedObject.name={pod}"
        return [e["message"] for e in self.get("events", "--field-selector", chosen)["items"]]

    def logs(self, pod, container="app"):
        return self.cluster.kubectl("logs", "-n", self.name, pod, "-c", container, check=False).stdout

    def told(self, pod):
        """Users that application() named: at its start, then whenever it was told."""
        return [line.rpartition(" ")[2] for line in self.logs(pod).splitlines() if line]

    def requests(self, mark):
        """How often this namespace's accounts asked the manager for each (operation, path) since mark.

        A login has an identity only in its answer: failed ones are not counted, nor anybody else's.
        """
        role = f"{self.name}-{ACCOUNT}"
        bao = self.product.manager.bao
        entries = bao.audit(mark) + [e for e in bao.audit(mark, kind="response") if place(e) == LOGIN]
        return collections.Counter(
            place(e) for e in entries if (e.get("auth") or {}).get("metadata", {}).get("role") == role
        )

    def read(self, pod, path, container="app"):
        """Content of a secret file, by the application."""
        return self.cluster.exec(pod, "cat", f"{SECRETS}/{path}", namespace=self.name, container=container)

    def read_together(self, pod, *paths):
        """Content of several files of one generation: ..data is resolved once."""
        cats = " && echo && ".join(f"cat {p}" for p in paths)
        args = ["exec", "-n", self.name, pod, "-c", "app", "--", "sh", "-c", f"cd -P {SECRETS}/..data && {cats}"]

        def whole():
            # A swap in between takes the folder away; the next turn finds the new one.
            done = self.cluster.kubectl(*args, check=False)
            return tuple(done.stdout.split("\n")) if done.returncode == 0 else None

        return wait_until(f"files of {pod}", whole, 10, 0.1)

    def credential(self, pod):
        """User and password of one generation."""
        return self.read_together(pod, "db/username", "db/password")

    def data(self, secret):
        """What a Secret holds, or None."""
        found = self.cluster.kubectl("get", "secret", "-n", self.name, secret, "--ignore-not-found", "-o", "json").stdout
        if not found:
            return None
        return {k: base64.b64decode(v).decode() for k, v in json.loads(found).get("data", {}).items()}

    def wait_data(self, secret, condition, seconds=30):
        """The Secret's data once condition(data) holds."""

        def whole():
            found = self.data(secret)
            return found if found and condition(found) else None

        return self.cluster.wait(f"Secret {secret}", whole, seconds)

    def ready(self, pod, seconds=60):
        self.cluster.wait_for(f"pod/{pod}", "condition=Ready", self.name, seconds)

    def delete(self, pod):
        self.cluster.delete("pod", "-n", self.name, pod, wait=False)

    def gone(self, pod):
        done = self.cluster.kubectl("get", "pod", "-n", self.name, pod, "--ignore-not-found", "-o", "name")
        return not done.stdout

    def status(self, pod, container):
        """containerStatus of a container of either list."""
        status = self.get("pod", pod)["status"]
        every = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
        return next(c for c in every if c["name"] == container)


# Says what it finds at its start, each change that it is told of by HUP, and ends on TERM.
APPLICATION = """
cd {folder}
echo "started with $({show})"
trap 'echo "told of $({show})"' HUP
trap 'exit 0' TERM
while :; do sleep 3600 & wait $!; done
"""


def application(show="cat db/username"):
    return APPLICATION.format(folder=SECRETS, show=show)


def pod_spec(script, **spec):
    return {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "nodeSelector": {"kubernetes.io/hostname": "node-a"},  # where tests look for its processes and volumes
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "app",
                "image": "local.test/tool:1",
                "imagePullPolicy": "Never",
                "command": ["sh", "-c", script],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
        **spec,
    }


def annotated(annotations):
    return {f"leasehold.dev/{k}": v for k, v in annotations.items()}


def pod(name, annotations, script=None, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotated(annotations)},
        "spec": pod_spec(script or application(), **spec),
    }


def deployment(name, annotations, script=None, replicas=1, **spec):
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotated(annotations)},
                "spec": pod_spec(script or application(), **spec),
            },
        },
    }


def job(name, annotations, script):
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": annotated(annotations)},
                "spec": pod_spec(script, restartPolicy="Never"),
            },
        },
    }
