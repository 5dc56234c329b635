# SPDX-License-Identifier: Apache-2.0
"""`leasehold encryption` on a real kube-apiserver and etcd: keys in files, a KMS plugin, and what is refused."""

import base64
import json
import os
import shutil
import subprocess
import urllib.request

import pytest
from apiserver import ApiServer
from procs import free_ports, wait_until

CANARY = "s3cr3t-canary"
SECRETS = "/api/v1/namespaces/{}/secrets"


class Server(ApiServer):
    """An API server that may be given an EncryptionConfiguration, and may sit beside another on its etcd."""

    def __init__(self, beside=None):
        super().__init__(crds=False)
        self._beside = beside

    def _prepare(self):
        if not self._beside:
            super()._prepare()
            return
        first = self._beside
        self._authority, self._serving, self._admin = first._authority, first._serving, first._admin
        for name in ("sa.key", "sa.pub"):
            shutil.copy(first.folder / name, self.folder / name)
        self._port, self._etcd_ports = free_ports(1)[0], first._etcd_ports
        user = {"client-certificate": str(self._admin[0]), "client-key": str(self._admin[1])}
        self._write_kubeconfig(self.admin_kubeconfig, user, "default")

    def alive(self, name="apiserver"):
        return bool(name == "etcd" and self._beside) or super().alive(name)

    @property
    def etcd(self):
        return f"http://127.0.0.1:{self._etcd_ports[0]}"

    def configure(self, path):
        """Starts again with this file; the server reads it anew at every start."""
        config = f"--encryption-provider-config={path}"
        self._flags = [config, "--encryption-provider-config-automatic-reload=true"]
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

    def counts(self, code):
        """(scheme, key) -> Secrets stored with it."""
        told = json.loads(self.run("status", "-o", "json", proof=True, code=code))
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
    assert said["resources"] == [{"resource": "secrets", "written": 30, "gone": 0, "conflicts": 0}]
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
        others[1].stop("apiserver", hard=True)
        assert "not known" in tool.run("rotate", "--servers", urls, code=1)
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
