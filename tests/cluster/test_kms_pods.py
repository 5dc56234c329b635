# SPDX-License-Identifier: Apache-2.0
"""packaging/kms as static Pods of a real kubelet, under a real API server that waits for them at its start."""

import base64
import json
import os
import pathlib
import shutil
import sys

import pytest
from procs import wait_until
from product import IMAGES, archives

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "component"))

from kmsload import Load  # noqa: E402
from kmsplugin import Client, make_key, store_document  # noqa: E402

PACKAGING = pathlib.Path(__file__).resolve().parents[2] / "packaging" / "kms"
KEY = "static-pods"
SEED = bytes(range(32))
# Of a kind that nothing else here stores: what this test encrypts goes with it.
KIND, PREFIX = "podtemplates", "/registry/podtemplates/default/"
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "never-pulled"}]}}


class StaticPods:
    """Files in the kubelet's folder. What the manifests find in /run and /etc is in the cluster's own folder."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.folder = cluster.folder / "a" / "manifests"
        self.run, self.etc = cluster.folder / "kms-run", cluster.folder / "kms-etc"
        self.socket = self.run / "kms.sock"
        (found,) = [line.split()[0] for line in cluster.ctr("images", "ls").splitlines() if "/leasehold:" in line]
        self.image = found

    def put(self, manifest, name=None, **words):
        """As docs/kms.md says: the words replaced, into the folder. name: of the Pod, where it is not the file's."""
        text = (PACKAGING / manifest).read_text()
        words = {"IMAGE": self.image, "CLUSTER": "c1", "KEY": KEY, "/run/leasehold-kms": self.run, "/etc/leasehold-kms": self.etc, **words}
        for old, new in words.items():
            text = text.replace(f"={old}\n", f"={new}\n") if old.isupper() and old != "IMAGE" else text.replace(old, str(new))
        if name:
            text = text.replace("  name: leasehold-kms\n", f"  name: {name}\n", 1)
        text = text.replace(f"image: {self.image}\n", f"image: {self.image}\n    imagePullPolicy: Never\n")
        made = self.folder / f"{name or manifest.removesuffix('.yaml')}.yaml"
        beside = self.cluster.folder / made.name
        beside.write_text(text)
        os.replace(beside, made)

    def take(self, name):
        (self.folder / f"{name}.yaml").unlink(missing_ok=True)

    def state(self, name):
        """(uid, ready) of the mirror Pod; None where there is none."""
        done = self.cluster.kubectl("get", "pod", "-n", "kube-system", f"{name}-node-a", "-o", "json", check=False)
        if done.returncode:
            return None
        pod = json.loads(done.stdout)
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        return pod["metadata"]["annotations"]["kubernetes.io/config.hash"], ready

    def wait_ready(self, name):
        wait_until(f"{name} ready", lambda: (self.state(name) or (0, False))[1], 60, 0.1)

    def wait_gone(self, name):
        wait_until(f"end of {name}", lambda: self.state(name) is None, 60, 0.1)


def restart_api(cluster, *flags):
    """Another API server, with these flags on top of its own; kubelet runs on meanwhile."""
    command = cluster.folder / "cmd" / "apiserver"
    kept = command.with_name("apiserver.kept")
    if not kept.exists():
        shutil.copy2(command, kept)
    text = kept.read_text()
    assert text.count("--profiling=false") == 1
    cluster.stop_daemon("apiserver", hard=True)
    command.write_text(text.replace("--profiling=false", " ".join(["--profiling=false", *map(str, flags)])))
    cluster.start_daemon("apiserver")


def stored(cluster, name):
    key = base64.b64encode(f"{PREFIX}{name}".encode()).decode()
    url = "http://127.0.0.1:2379/v3/kv/range"
    done = cluster.in_node("/usr/bin/curl", "-sf", url, "-d", json.dumps({"key": key}))
    return base64.b64decode(json.loads(done.stdout)["kvs"][0]["value"])


@pytest.fixture
def pods(request, cluster, cluster_manager):
    """Holder and plugin as static Pods, and the store's files, as docs/kms.md has them: a StaticPods."""
    bao = cluster_manager.bao
    cluster.import_image(*archives(request.config.getoption("--images", IMAGES)))
    made = StaticPods(cluster)
    role_id, secret_id = make_key(bao, "transit", KEY)
    (made.etc / "credentials").mkdir(parents=True, mode=0o700)
    (made.etc / "credentials/secretId").write_text(secret_id)
    auth = {"appRole": {"roleId": role_id, "secretIdRef": {"name": "kms", "key": "secretId"}}}
    (made.etc / "store.yaml").write_text(json.dumps(store_document(bao, auth)))
    try:
        made.put("holder.yaml")
        made.put("plugin.yaml")
        made.wait_ready("leasehold-kms-holder")
        made.wait_ready("leasehold-kms")
        yield made
    finally:
        for manifest in made.folder.iterdir():
            manifest.unlink()


def template(cluster, name):
    cluster.apply({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": name}, "template": TEMPLATE})


def test_static_pods_serve_an_api_server_and_are_upgraded_under_load(pods):
    cluster = pods.cluster
    config = cluster.folder / "encryption.json"
    kms = {"apiVersion": "v2", "name": "lease", "endpoint": f"unix://{pods.socket}", "timeout": "3s"}
    rule = {"resources": [KIND], "providers": [{"kms": kms}, {"identity": {}}]}
    kind = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration"}
    config.write_text(json.dumps({**kind, "resources": [rule]}))
    client = Client(pods.socket)
    sealed = client.encrypt(SEED)
    try:
        restart_api(cluster, "--encryption-provider-config", config)
        template(cluster, "one")
        assert stored(cluster, "one").startswith(b"k8s:enc:kms:v2:lease:")

        with Load(pods.socket, sealed, SEED) as load:
            # Another Pod beside the first, then the first one goes.
            load.wait_for(100)
            pods.put("plugin.yaml", name="leasehold-kms-next")
            pods.wait_ready("leasehold-kms-next")
            pods.take("plugin")
            pods.wait_gone("leasehold-kms")
            load.wait_for(100)
            template(cluster, "two")
            assert stored(cluster, "two").startswith(b"k8s:enc:kms:v2:lease:")
        assert load.failed == []

        restart_api(cluster, "--encryption-provider-config", config)  # reads by a plugin that has not seen the first seed
        assert cluster.get("podtemplate", "one")["template"]["metadata"]["labels"] == {"a": "b"}
    finally:
        client.close()
        cluster.delete("podtemplates", "--all")
        restart_api(cluster)
