# SPDX-License-Identifier: Apache-2.0
"""`leasehold encryption` on a real kube-apiserver and etcd: keys in files, a KMS plugin, and what is refused."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import time
import urllib.request

import pytest
from apiserver import ApiServer
from procs import free_ports, wait_until

CANARY = "s3cr3t-canary"
SECRETS = "/api/v1/namespaces/{}/secrets"


class Server(ApiServer):
    """An API server that may be given an EncryptionConfiguration, and may sit beside another on its etcd."""

    def __init__(self, beside=None, **more):
        super().__init__(crds=False, beside=beside, **more)
        self._more = list(more.get("flags", ()))

    def _prepare(self):
        """Servers beside each other have one CA and one key of ServiceAccounts, as in one cluster."""
        super()._prepare()
        if not self._beside:
            return
        first = self._beside
        self._authority, self._serving, self._admin = first._authority, first._serving, first._admin
        for name in ("sa.key", "sa.pub"):
            shutil.copy(first.folder / name, self.folder / name)
        user = {"client-certificate": str(self._admin[0]), "client-key": str(self._admin[1])}
        self._write_kubeconfig(self.admin_kubeconfig, user, "default")

    @property
    def etcd(self):
        return self.etcd_url

    def configure(self, path):
        """Starts again with this file; the server reads it anew at every start."""
        config = f"--encryption-provider-config={path}"
        self._flags = [*self._more, config, "--encryption-provider-config-automatic-reload=true"]
        self.reload()

    def reload(self):
        self.stop("apiserver", hard=True)
        self.start()

    def stored(self, namespace, name):
        """The raw value of a Secret in etcd."""
        key = base64.b64encode(f"/registry/secrets/{namespace}/{name}".encode()).decode()
        request = urllib.request.Request(f"{self.etcd}/v3/kv/range", json.dumps({"key": key}).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return base64.b64decode(json.load(answer)["kvs"][0]["value"])


class Tool:
    """leasehold encryption on one configuration."""

    def __init__(self, program, server, config):
        self.program, self.server, self.config = program, server, config

    def run(self, verb, *args, code=0, proof=False):
        argv = [self.program, "encryption", verb, "-f", self.config, *args]
        if verb in ("rotate", "rewrite"):
            argv += ["--kubeconfig", self.server.admin_kubeconfig]
        if proof:
            argv += ["--etcd", self.server.etcd]
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, timeout=180)
        assert CANARY not in done.stdout + done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def status(self, code, *args):
        return json.loads(self.run("status", "-o", "json", *args, proof=True, code=code))

    def findings(self, text, code):
        """What check says of another file for what is stored now: {id: detail}."""
        other = self.config.with_name("other.yaml")
        other.touch(mode=0o600)
        other.write_text(text)
        tool = Tool(self.program, self.server, other)
        told = json.loads(tool.run("check", "-o", "json", "--fail-on", "high", proof=True, code=code))
        return {f["id"]: f["detail"] for f in told["findings"]}

    def counts(self, code):
        """(scheme, key) -> Secrets stored with it."""
        told = self.status(code)
        assert told["proof"] == "proven"
        return {(c["scheme"], c["name"]): c["count"] for c in told["counts"] if c["resource"] == "secrets"}


def fill(server, namespace, n):
    server.namespace(namespace)
    for i in range(n):
        body = {"metadata": {"name": f"s{i:03}"}, "stringData": {"password": f"{CANARY}-{i}"}}
        server.call("POST", SECRETS.format(namespace), body)


def check_content(server, namespace, n):
    items = server.call("GET", SECRETS.format(namespace))["items"]
    assert len(items) == n
    for item in items:
        plain = base64.b64decode(item["data"]["password"]).decode()
        assert plain == f"{CANARY}-{int(item['metadata']['name'][1:])}"


@pytest.fixture
def bed(bin_dir, tmp_path):
    """A cluster of 30 Secrets in clear text, and the tool: nothing is configured yet."""
    with Server() as server:
        fill(server, "shop", 30)
        yield server, Tool(bin_dir / "leasehold", server, tmp_path / "enc.yaml")


def test_from_clear_text_to_the_second_key(bed):
    server, tool = bed
    assert CANARY.encode() in server.stored("shop", "s000")
    tool.run("init")
    assert os.stat(tool.config).st_mode & 0o7777 == 0o600
    before = tool.config.read_bytes()
    assert "is there already" in tool.run("init", code=2)
    assert tool.config.read_bytes() == before
    server.configure(tool.config)
    assert tool.counts(code=1) == {("identity", ""): 30}

    # Clear text may not be locked out while something is stored so.
    said = tool.run("rotate", "--drop", "identity", proof=True, code=1)
    assert "30 stored objects need it" in said and "/registry/secrets/shop/s000" in said
    assert tool.config.read_bytes() == before
    said = json.loads(tool.run("rewrite", "-o", "json"))
    done = {"resource": "secrets", "method": "update", "written": 30, "gone": 0, "conflicts": 0}
    assert said == {"resources": [done], "refused": []}
    assert tool.counts(code=0) == {("secretbox", "key1"): 30}
    assert server.stored("shop", "s000").startswith(b"k8s:enc:secretbox:v1:key1:")
    tool.run("rotate", "--drop", "identity", proof=True)
    assert "identity" not in tool.config.read_text()
    server.reload()
    check_content(server, "shop", 30)
    assert "nothing to say" in tool.run("check", "--fail-on", "low")

    # The next key: added, first, alone.
    assert "1 of 3" in tool.run("rotate")
    added = tool.config.read_bytes()
    assert "has loaded another content" in tool.run("rotate", code=1)
    assert tool.config.read_bytes() == added
    server.reload()
    assert "2 of 3" in tool.run("rotate")
    promoted = tool.config.read_bytes()
    assert "has loaded another content" in tool.run("rotate", proof=True, code=1)
    server.reload()
    assert "30 stored objects need it" in tool.run("rotate", proof=True, code=1)
    assert "only etcd's own bytes" in tool.run("rotate", code=1)
    assert tool.config.read_bytes() == promoted
    tool.run("rewrite")
    assert "3 of 3" in tool.run("rotate", proof=True)
    server.reload()
    check_content(server, "shop", 30)
    assert tool.counts(code=0) == {("secretbox", "key2"): 30}
    assert "key1" not in tool.config.read_text()


def lease(server, name):
    """The lease that an API server on a host of this name would have. Returns its path."""
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    labels = {"apiserver.kubernetes.io/identity": "kube-apiserver"}
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    spec = {"holderIdentity": name, "leaseDurationSeconds": 3600, "renewTime": now}
    server.call("POST", path, {"metadata": {"name": f"apiserver-{name}", "labels": labels}, "spec": spec})
    return f"{path}/apiserver-{name}"


def test_three_servers_go_together(bed, tmp_path):
    server, tool = bed
    tool.run("init", "--fresh", "--provider", "aesgcm")
    text = tool.config.read_text().replace("  - aesgcm", "  - identity: {}\n  - aesgcm")
    tool.config.write_text(text)  # reads the new key, still writes clear text
    others = [Server(server), Server(server)]
    try:
        for each in [server, *others]:
            each.configure(tool.config)
        urls = ",".join(each.url for each in [server, *others])
        tool.run("rotate", "--to", "secretbox:new", "--servers", urls)
        for each in (server, others[0]):
            each.reload()
        said = tool.run("rotate", "--servers", urls, code=1)
        assert others[1].url in said and others[0].url not in said and f"{server.url}:" not in said
        # All three are one by their leases, which go by the host's name; one more of another host is enough.
        hosts = [lease(server, f"another-{i}") for i in range(2)]
        assert "has 3 API servers, --servers names 2" in tool.run(
            "rotate", "--servers", f"{server.url},{others[0].url}", code=1
        )
        for path in hosts:
            server.call("DELETE", path)
        asked = ("--servers", urls, "--kubeconfig", server.admin_kubeconfig)
        told = tool.status(1, *asked)
        assert [(s["server"], s["loaded"]) for s in told["servers"]] == [
            *((each.url, "yes") for each in (server, others[0])),
            (others[1].url, "no"),
        ]
        assert [s["phase"] for s in told["servers"]] == ["added", "added", "before"]
        assert told["agree"] is False and told["alive"] == 1 and told["phase"] == "added"
        others[1].stop("apiserver", hard=True)
        assert "not known" in tool.run("rotate", "--servers", urls, code=1)
        told = tool.status(1, *asked)["servers"]
        assert [s["loaded"] for s in told] == ["yes", "yes", "not-proven"] and others[1].url in told[2]["trouble"]
        others[1].start()
        assert "2 of 3" in tool.run("rotate", "--servers", urls)
        for each in [server, *others]:
            each.reload()
        tool.run("rewrite")
        assert "3 of 3" in tool.run("rotate", "--servers", urls, proof=True)
        for each in [server, *others]:
            each.reload()
            check_content(each, "shop", 30)
        assert tool.counts(code=0) == {("secretbox", "new"): 30}
        told = tool.status(0, *asked)
        assert told["agree"] is True and [s["phase"] for s in told["servers"]] == ["settled"] * 3
    finally:
        for each in others:
            each.close()


def walk(tool, server, *args):
    """A whole rotation."""
    tool.run("rotate", *args)
    server.reload()
    assert "2 of 3" in tool.run("rotate")
    server.reload()
    tool.run("rewrite")
    assert "3 of 3" in tool.run("rotate", proof=True)
    server.reload()


def test_to_a_kms_and_back(bed, bin_dir, tmp_path):
    server, tool = bed
    socket = server.folder / "kms.sock"
    key = tmp_path / "kms.key"
    key.write_text(f"k1 {base64.b64encode(os.urandom(32)).decode()}\n")
    key.chmod(0o600)
    argv = [bin_dir / "leasehold-kms", "--listen", socket, "--local-key", key, "--cluster", "test"]
    server.work.start("kms", [*argv, "--metrics", f"127.0.0.1:{free_ports(1)[0]}", "--peer-uid", os.getuid()])
    wait_until("socket of the plugin", socket.exists, 20)

    tool.run("init")
    server.configure(tool.config)
    tool.run("rewrite")
    walk(tool, server, "--to", "kmsv2:vault", "--endpoint", f"unix://{socket}")
    assert tool.counts(code=0) == {("kmsv2", "vault"): 30}
    assert server.stored("shop", "s000").startswith(b"k8s:enc:kms:v2:vault:")
    check_content(server, "shop", 30)
    # The key id that the API server's Status had, and the one in etcd's bytes, are the same.
    told = tool.status(0, "--kubeconfig", server.admin_kubeconfig)
    (key,) = told["servers"][0]["keys"]
    (stored,) = (c["keyId"] for c in told["counts"] if c["resource"] == "secrets")
    assert key["keyIdHash"] == f"sha256:{hashlib.sha256(stored.encode()).hexdigest()}" and key["refused"] == 0
    assert key["provider"] == "vault" and time.time() - key["seen"] < 300
    walk(tool, server, "--to", "secretbox:home")
    assert tool.counts(code=0) == {("secretbox", "home"): 30}
    server.work.process("kms").kill()
    server.reload()
    check_content(server, "shop", 30)


def test_an_interrupted_rewrite_goes_on(bed):
    server, tool = bed
    tool.run("init")
    server.configure(tool.config)
    tool.run("rewrite", "--after", "secrets/shop/s019")
    assert tool.counts(code=1) == {("identity", ""): 20, ("secretbox", "key1"): 10}
    tool.run("rewrite")
    assert tool.counts(code=0) == {("secretbox", "key1"): 30}
    assert "names a resource" in tool.run("rewrite", "--after", "pods/shop/s019", code=2)


def test_a_file_that_would_lock_data_out_is_refused(bed):
    """Every hand-made change that takes a key away that something stored needs."""
    server, tool = bed
    tool.run("init")
    server.configure(tool.config)
    tool.run("rewrite", "--after", "secrets/shop/s009")  # ten in clear text, twenty with key1
    text = tool.config.read_text()
    assert tool.findings(text, code=0).keys() == {"IdentityLast"}
    for name, changed, needs in (
        ("the key has gone", text.replace("key1", "key2"), "20 stored secrets could not be read any more, such as "
         "/registry/secrets/shop/s010: they need secretbox:key1"),
        ("the provider is another", text.replace("secretbox:", "aesgcm:"), "they need secretbox:key1"),
        ("clear text is not read", text.replace("  - identity: {}\n", ""), "10 stored secrets could not be read any "
         "more, such as /registry/secrets/shop/s000: they need identity"),
        ("the resource has gone", text.replace("secrets", "configmaps"), "they need secretbox:key1"),
        ("an earlier rule is about it", text.replace("resources:\n-", "resources:\n- resources: [secrets]\n"
         "  providers: [{identity: {}}]\n-"), "they need secretbox:key1"),
    ):
        assert changed != text, name
        assert needs in tool.findings(changed, code=1).get("LocksOut", ""), name
    said = tool.run("check", "--etcd-prefix", "/registry/secrets/", "--fail-on", "high", proof=True, code=1)
    assert "NotProven" in said and "is --etcd-prefix right?" in said
    # A scan that does not see the whole cluster is no proof for a key's end, either.
    before = tool.config.read_bytes()
    tool.run("rewrite")
    tool.run("rotate", "--drop", "identity", "--etcd-prefix", "/registry/pods/", proof=True, code=1)
    assert tool.config.read_bytes() == before


def test_wildcards_by_updates(bed):
    server, tool = bed
    maps = "/api/v1/namespaces/shop/configmaps"
    for i in range(3):
        server.call("POST", maps, {"metadata": {"name": f"c{i}"}, "data": {"a": "b"}})
    tool.run("init", "--resources", "*.,*.rbac.authorization.k8s.io")
    server.configure(tool.config)
    said = json.loads(tool.run("rewrite", "-o", "json", "--rate", "10000"))
    written = {r["resource"]: r["written"] for r in said["resources"]}
    assert said["refused"] == [] and written["secrets"] == 30 and written["configmaps"] >= 3
    assert written["clusterroles.rbac.authorization.k8s.io"] > 50 and "deployments.apps" not in written
    told = tool.status(1)  # what no object is, such as the range of node ports, is written by the API server alone
    stale = {c["resource"] for c in told["counts"] if c["stale"]}
    assert not stale & set(written) and stale <= {"ranges", "peerserverleases", "masterleases"}, stale
    assert not any(c["locked"] for c in told["counts"])


GATE = "--feature-gates=StorageVersionMigrator=true"


@pytest.fixture
def migrating(bin_dir, tmp_path):
    """A cluster that migrates what is stored by itself."""
    flags = [GATE, "--runtime-config=storagemigration.k8s.io/v1beta1=true"]
    controllers = ["garbage-collector-controller", "storage-version-migrator-controller"]
    with Server(controllers=controllers, flags=flags, controller_flags=[GATE]) as server:
        fill(server, "shop", 30)
        yield server, Tool(bin_dir / "leasehold", server, tmp_path / "enc.yaml")


def test_by_the_clusters_migration(migrating):
    server, tool = migrating
    tool.run("init")
    server.configure(tool.config)
    argv = [tool.program, "encryption", "rewrite", "-f", tool.config, "--kubeconfig", server.admin_kubeconfig]
    argv += ["--method", "migration", "-o", "json"]
    with subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, text=True) as running:

        def ended():
            # The controller waits until its cache has seen a write that is younger than its list.
            body = {"metadata": {"generateName": "w", "namespace": "shop"}, "stringData": {"a": "b"}}
            server.call("POST", SECRETS.format("shop"), body)
            return running.poll() is not None

        wait_until("migration", ended, 120, 0.5)
        said = json.loads(running.communicate()[0])
    assert running.returncode == 0
    assert said == {"resources": [{"resource": "secrets", "method": "migration"}], "refused": []}
    counts = tool.counts(code=0)
    assert counts.keys() == {("secretbox", "key1")} and counts["secretbox", "key1"] >= 30
    items = server.call("GET", "/apis/storagemigration.k8s.io/v1beta1/storageversionmigrations")["items"]
    assert items == []
