# SPDX-License-Identifier: Apache-2.0
"""Proves the cluster's bed itself: what other tests take for granted."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest
from cluster import HERE, Cluster, CommandError
from procs import wait_until

POD = """
apiVersion: v1
kind: Pod
metadata: {name: bed, namespace: bed}
spec:
  terminationGracePeriodSeconds: 1
  nodeSelector: {kubernetes.io/hostname: node-a}  # whose daemons are restarted
  securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: app
    image: local.test/tool:1
    imagePullPolicy: Never
    command: [sh, -c, "echo started; trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"]
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts:
    - {name: token, mountPath: /token}
    - {name: memory, mountPath: /memory}
  volumes:
  - name: token
    projected:
      sources: [{serviceAccountToken: {path: token, audience: vault, expirationSeconds: 600}}]
  - name: memory
    emptyDir: {medium: Memory, sizeLimit: 8Mi}
"""
NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "bed", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
}


@pytest.fixture(scope="module")
def pod(cluster):
    cluster.apply(NAMESPACE)
    cluster.wait("ServiceAccount", lambda: cluster.kubectl("get", "sa", "-n", "bed", "default", check=False).stdout)
    cluster.apply(POD)
    cluster.wait_for("pod/bed", "condition=Ready", "bed")
    yield "bed"
    cluster.delete("namespace", "bed")


def test_pod_runs(cluster, pod):
    assert cluster.kubectl("logs", "-n", "bed", pod).stdout == "started\n"
    assert cluster.exec(pod, "id", "-u", namespace="bed") == "1000\n"
    assert cluster.exec(pod, "cat", namespace="bed", input="through") == "through"
    with pytest.raises(CommandError, match="status 7"):
        cluster.exec(pod, "sh", "-c", "exit 7", namespace="bed")
    mounts = cluster.exec(pod, "cat", "/proc/mounts", namespace="bed")
    assert "/memory tmpfs rw,relatime,size=8192k" in mounts


def test_cluster_address_of_the_api_server(cluster, pod):
    assert cluster.exec(pod, "nc", "-w", "3", "10.96.0.1", "443", namespace="bed") == ""
    cluster.in_node("/usr/bin/curl", "-sf", "--cacert", cluster.ca, "https://10.96.0.1/readyz")


@pytest.mark.parametrize("mount", ["cluster-jwt", "kubernetes"])
def test_service_account_logs_in(cluster, cluster_manager, pod, mount):
    cluster.trust(cluster_manager.bao, {"bed": ("bed", "default")})
    jwt = cluster.exec(pod, "cat", "/token/token", namespace="bed")
    auth = cluster_manager.login_jwt("bed", jwt, mount=mount)
    user = cluster_manager.bao.api("GET", "database/creds/slow5", token=auth["client_token"]).data
    assert cluster_manager.pg_login(user["username"], user["password"])

    body = {"role": "bed", "jwt": cluster.token("default", "default")}
    assert cluster_manager.bao.api("POST", f"auth/{mount}/login", body, token="", check=False).status in (400, 403)
    cluster_manager.bao.revoke_token(auth["client_token"])
    wait_until("end of the user", lambda: user["username"] not in cluster_manager.pg_users(), 10)


def test_pod_reaches_the_manager(cluster, cluster_manager, pod):
    port = str(cluster_manager.bao.port())
    assert cluster.exec(pod, "nc", "-w", "3", cluster_manager.bao.host, port, namespace="bed") == ""


DAEMONS = ["kubelet-a", "containerd-a", "proxy-a", "controller-manager", "scheduler", "etcd"]


@pytest.mark.parametrize(
    ("name", "hard"),
    [(name, hard) for name in DAEMONS for hard in (False, True)] + [("apiserver", True)],
    ids=lambda v: v if isinstance(v, str) else ("kill" if v else "stop"),
)
def test_daemon_restarts_under_a_running_pod(cluster, pod, name, hard):
    def container():
        (status,) = cluster.get("pod", "-n", "bed", pod)["status"]["containerStatuses"]
        return status["containerID"], status["restartCount"]

    before = container()
    cluster.restart_daemon(name, hard)
    wait_until("answer of the API server", lambda: cluster.kubectl("get", "node", check=False).returncode == 0, 30, 0.1)
    assert container() == before
    wait_until(
        "exec",
        lambda: cluster.kubectl("exec", "-n", "bed", pod, "--", "true", check=False).returncode == 0,
        30,
        0.2,
    )


def test_killed_container_is_started_again(cluster, pod):
    cluster.kill_container(pod, "app", "bed")

    def restarts():
        return cluster.get("pod", "-n", "bed", pod)["status"]["containerStatuses"][0]["restartCount"]

    cluster.wait("restart", lambda: restarts() == 1)


def test_helm_reaches_the_cluster(cluster):
    assert cluster.helm("list", "-n", "default", "--short").stdout == ""


# -- nothing is left behind

MOUNT_POINTS = ["/run/netns", "/var/lib/kubelet", "/run/containerd", "/var/log/pods", "/var/log/containers"]
SYSCTLS = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"]


def traces(prefix, folder):
    """What a cluster leaves on the machine, if anything."""
    found = [str(p) for p in pathlib.Path("/sys/fs/cgroup").glob(f"*/{prefix}")]
    found += [str(p) for p in pathlib.Path("/run").glob(f"netns/{prefix}-*")]
    found += [m for m in pathlib.Path("/proc/self/mounts").read_text().splitlines() if str(folder) in m]
    for command in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in command.read_bytes() and int(command.parent.name) != os.getpid():
                found.append(command.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            pass
    if pathlib.Path(folder).exists():
        found.append(str(folder))
    return found


def machine():
    """What clusters change on the machine while they run."""
    values = [(pathlib.Path("/proc/sys") / s).read_text() for s in SYSCTLS]
    return values, [m for m in MOUNT_POINTS if pathlib.Path(m).exists()]


def alone():
    return not pathlib.Path("/run/leasehold-bed").exists()


def test_down_leaves_no_trace():
    undisturbed, before = alone(), machine()
    cluster = Cluster(prefix=f"lht{os.getpid()}").up()
    cluster.apply(POD.replace("namespace: bed", "namespace: default"))
    cluster.wait_for("pod/bed", "condition=Ready")
    assert traces(cluster.prefix, cluster.folder)
    for _ in range(2):
        cluster.down()
        assert traces(cluster.prefix, cluster.folder) == []
    if undisturbed and alone():
        assert machine() == before


def test_failed_start_leaves_no_trace(tmp_path):
    options = ["--apiserver-flag", "--no-such-flag"]
    cluster = Cluster(prefix=f"lht{os.getpid()}", options=options, logs=tmp_path / "logs")
    cluster._up_argv[0] = tmp_path / "up"
    # The same script without the two minutes that an API server may take.
    (tmp_path / "up").write_text(
        (HERE / "up").read_text().replace("waitfor 120", "waitfor 2").replace("${BASH_SOURCE[0]}", str(HERE / "up"))
    )
    (tmp_path / "up").chmod(0o755)
    with pytest.raises(CommandError, match="no API server"):
        cluster.up()
    assert traces(cluster.prefix, cluster.folder) == []
    assert "unknown flag" in (tmp_path / "logs" / "apiserver.log").read_text()


def test_killed_run_leaves_no_trace():
    code = "from cluster import Cluster; c = Cluster().up(); print(c.prefix, c.folder, flush=True); input()"
    env = dict(os.environ, PYTHONPATH=str(HERE))
    with subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        prefix, folder = child.stdout.readline().split()
        assert traces(prefix, folder)
        child.send_signal(signal.SIGKILL)
    wait_until("clean machine", lambda: not traces(prefix, folder), 60, 0.2)
