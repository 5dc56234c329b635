# SPDX-License-Identifier: Apache-2.0
"""SecretProjections, Pods that mount them, and the DaemonSet that fills the volumes."""

from product import ACCOUNT, NAMESPACE, SECRETS, STORE, application, pod

DRIVER = "csi.leasehold.dev"
DAEMONSET = "leasehold-node"
GROUP = 2000


def projection(path, name="db", **spec):
    """One item db of that path; spec is added to, or takes the place of, what is here."""
    return {
        "apiVersion": "leasehold.dev/v1alpha1",
        "kind": "SecretProjection",
        "metadata": {"name": name},
        "spec": {
            "storeRef": {"kind": "ClusterSecretStore", "name": STORE},
            "items": [{"name": "db", "path": path}],
            **spec,
        },
    }


def copy(name, path, **spec):
    """A projection of one item whose Secret has its name."""
    return projection(path, name, serviceAccountName=ACCOUNT, kubernetesSecret={"name": name}, **spec)


def mounting(name, projection="db", *, attributes=None, read_only=True, group=GROUP, script=None):
    """A Pod of Pod Security `restricted` that mounts it. group None: no fsGroup."""
    volume = {
        "driver": DRIVER,
        "readOnly": read_only,
        "volumeAttributes": {"projection": projection} if attributes is None else attributes,
    }
    made = pod(name, {}, script or application(), volumes=[{"name": "secrets", "csi": volume}])
    if group is not None:
        made["spec"]["securityContext"]["fsGroup"] = group
    mount = {"name": "secrets", "mountPath": SECRETS, "readOnly": read_only}
    made["spec"]["containers"][0]["volumeMounts"] = [mount]
    return made


class Node:
    """The DaemonSet's Pod on node a."""

    def __init__(self, cluster):
        self.cluster = cluster

    def is_installed(self):
        found = self.cluster.kubectl("get", "daemonset", "-n", NAMESPACE, DAEMONSET, "--ignore-not-found", "-o", "name")
        return bool(found.stdout)

    def get(self):
        """The Pod that serves now, or None."""
        pods = self.cluster.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=leasehold-node")["items"]
        return next(
            (p for p in pods if p["spec"].get("nodeName") == "node-a" and "deletionTimestamp" not in p["metadata"]), None
        )

    @property
    def name(self):
        return self.get()["metadata"]["name"]

    def containers(self):
        """Name to containerStatus."""
        return {c["name"]: c for c in self.get()["status"].get("containerStatuses", [])}

    def is_ready(self):
        found = self.get()
        statuses = found["status"].get("containerStatuses", []) if found else []
        return len(statuses) == 2 and all(c["ready"] for c in statuses)

    def kill(self, container):
        """kill -9, and wait for its return."""
        before = self.containers()[container]["restartCount"]
        self.cluster.kill_container(self.name, container, NAMESPACE)

        def back():
            return self.containers()[container]["restartCount"] > before and self.is_ready()

        self.cluster.wait(f"the return of {container}", back, 120)

    def logs(self, container="node"):
        return self.cluster.kubectl("logs", "-n", NAMESPACE, self.name, "-c", container, check=False).stdout

    def mounts(self, uid):
        """Mount points of the Pod's volumes in the node's namespace."""
        table = self.cluster.in_node("/bin/cat", "/proc/self/mountinfo").stdout.splitlines()
        return [line.split()[4] for line in table if uid in line and " - tmpfs leasehold " in line]

    def folders(self, uid):
        """What is left of the Pod in kubelet's folder."""
        return self.cluster.in_node("/bin/ls", f"/var/lib/kubelet/pods/{uid}", check=False).stdout.split()
