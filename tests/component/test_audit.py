# SPDX-License-Identifier: Apache-2.0
"""`leasehold audit` on one cluster that has all four protections: a real kube-apiserver, an etcd that asks for
certificates, and leasehold-kms on a Transit key."""

import base64
import collections
import contextlib
import json
import pathlib
import signal
import socket
import ssl
import subprocess
import threading
import urllib.request

import pytest
from apiserver import ApiServer, rule
from kmsplugin import Plugin
from openbao import OpenBao
from procs import Work, wait_until

CANARY = "s3cr3t-canary-value"
SECRETBOX = {"secretbox": {"keys": [{"name": "home1", "secret": base64.b64encode(bytes(range(32))).decode()}]}}
STORE = {
    "apiVersion": "leasehold.dev/v1alpha1",
    "kind": "ClusterSecretStore",
    "metadata": {"name": "vault"},
    "spec": {
        "vault": {
            "addresses": ["https://vault.example:8200"],
            "auth": {"jwt": {"mount": "k8s", "role": "{namespace}", "audience": "vault"}},
        },
        "allow": [{"namespaces": ["shop"], "paths": ["*"]}],
    },
}
# Namespace, Secrets in it, how they got there.
CLEAR, HOME, VAULT = ("clear", 3), ("home", 4), ("vaulted", 5)


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def configuration(path, *providers):
    made = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": list(providers)}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(made))
    return path


def pod(namespace, name, **spec):
    container = {"name": "app", "image": "example/app", **spec.pop("container", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "annotations": spec.pop("annotations", {})},
        "spec": {"automountServiceAccountToken": False, "containers": [container], **spec},
    }


class Bed:
    """The cluster, one protection after the other, as clusters get them."""

    def __init__(self, bin_dir, folder, bao):
        self.program, self.folder, self.bao = bin_dir / "leasehold", folder, bao
        program = bin_dir / "leasehold-kms"
        quick = ("--probe-interval", "1s")
        self.plugin = Plugin.on_transit(program, folder / "kms", bao, "transit", "audited", *quick)
        bao.api("POST", "transit/config/keys", {"disable_upsert": True})
        self.config = folder / "encryption.json"
        flags = ["--encryption-provider-config-automatic-reload=true", "--encryption-provider-config", self.config]
        self.server = ApiServer(crds=False, etcd_tls=True)
        self.flags = flags

    def build(self):
        self.server.start()
        self.fill(*CLEAR)
        self.server.namespace("shop")
        self.server._flags = self.flags
        self.again(SECRETBOX, {"identity": {}})
        self.fill(*HOME)
        self.plugin.start()
        kms = {"apiVersion": "v2", "name": "lease", "endpoint": f"unix://{self.plugin.socket}", "timeout": "3s"}
        self.again({"kms": kms}, SECRETBOX, {"identity": {}})
        self.fill(*VAULT)
        self.workloads()
        return self

    def again(self, *providers):
        configuration(self.config, *providers)
        self.server.stop()
        self.server.start()

    def fill(self, namespace, n):
        self.server.namespace(namespace)
        for i in range(n):
            body = {"metadata": {"name": f"s{i}"}, "data": {"password": b64(f"{CANARY}-{i}")}}
            self.server.call("POST", f"/api/v1/namespaces/{namespace}/secrets", body)

    def workloads(self):
        volume = [{"name": "v", "secret": {"secretName": "s0"}}]
        variable = {"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "password"}}}]}
        self.server.apply(
            pod("clear", "bare", volumes=volume),
            pod("home", "local", container=variable),
            pod("vaulted", "sealed", volumes=volume),
            pod("vaulted", "none-at-all"),
            self.rich(),
            self.injected(pod("shop", "injected", annotations={"leasehold.dev/secret.db": "kv/db"})),
            self.injected(pod("shop", "mixed", annotations={"leasehold.dev/secret.db": "kv/db"}, volumes=volume)),
        )
        self.server.call("POST", "/api/v1/namespaces/shop/secrets", {"metadata": {"name": "s0"}, "data": {}})

    @staticmethod
    def rich():
        """A Pod of a Deployment that takes Secrets in all the ways there are."""
        made = pod("vaulted", "web-5f7d9c-x2x4p", imagePullSecrets=[{"name": "s1"}])
        reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5f7d9c", "uid": "1-2-3"}
        made["metadata"]["ownerReferences"] = [reference | {"controller": True}]
        made["metadata"]["labels"] = {"pod-template-hash": "5f7d9c", "app": "web"}
        sources = [{"configMap": {"name": "c"}}, {"secret": {"name": "s2", "items": [{"key": "k", "path": "p"}]}}]
        made["spec"]["volumes"] = [{"name": "p", "projected": {"sources": sources, "defaultMode": 0o400}}]
        first = {"name": "first", "image": "example/first", "envFrom": [{"prefix": "A_", "secretRef": {"name": "s3"}}]}
        made["spec"]["initContainers"] = [first]
        made["spec"]["containers"][0] |= {
            "command": ["app", "--level=4"],
            "env": [{"name": "API_TOKEN", "value": CANARY}, {"name": "HOME", "value": "/"}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 80}, "periodSeconds": 3},
        }
        return made

    def injected(self, manifest):
        """As admission leaves it."""
        stores = self.folder / "stores"
        stores.mkdir(exist_ok=True)
        (stores / "store.json").write_text(json.dumps(STORE))
        argv = [str(self.program), "inject", "--stores", str(stores), "-o", "json"]
        done = subprocess.run(argv, input=json.dumps(manifest), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
        return made["items"][0] if made["kind"] == "List" else made

    @property
    def live(self):
        ca, cert, key = self.server.etcd_identity
        return ("--etcd", self.server.etcd_url, "--cacert", ca, "--cert", cert, "--key", key)

    @property
    def kube(self):
        return ("--kubeconfig", self.server.admin_kubeconfig)

    def run(self, *args, code=0):
        argv = [self.program, "audit", *args]
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, timeout=120)
        said = done.stdout + done.stderr
        for form in (CANARY, b64(CANARY)[:20], CANARY.encode().hex()):
            assert form not in said
        assert done.returncode == code, said
        return said

    def json(self, *args, code=0):
        return json.loads(self.run(*args, "-o", "json", code=code))

    def etcd(self, path, **body):
        """etcd's JSON gateway."""
        ca, *pair = self.server.etcd_identity
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(*pair)
        request = urllib.request.Request(f"{self.server.etcd_url}/v3/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def snapshot(self, path):
        parts = self.etcd("maintenance/snapshot")
        pathlib.Path(path).write_bytes(b"".join(base64.b64decode(p["result"]["blob"]) for p in parts))
        return path

    def close(self):
        self.server.close()
        self.plugin.close()


@pytest.fixture(scope="module")
def bed(bin_dir, tmp_path_factory):
    work = Work()
    made = None
    try:
        made = Bed(bin_dir, tmp_path_factory.mktemp("audit"), OpenBao(work).start())
        yield made.build()
    finally:
        if made:
            made.close()
        work.end()


def secrets(told):
    """(namespace, protection, proof) -> count."""
    rows = [o for o in told["objects"] if o["resource"] == "secrets"]
    return {(o["namespace"], o["protection"], o["proof"]): o["count"] for o in rows}


def workloads(told):
    return {f"{w['namespace']}/{w['name']}": (w["protection"], w["proof"]) for w in told["workloads"]}


def results(told):
    return {c["id"]: c["result"] for c in told["checks"]}


def check(told, name):
    (found,) = [c for c in told["checks"] if c["id"] == name]
    return found["result"], found["detail"]


STORED = {
    ("clear", "none", "proven"): 3,
    ("home", "local", "proven"): 4,
    ("vaulted", "kms", "proven"): 5,
    ("shop", "kms", "proven"): 1,
}
INJECTED = {("shop", "external", "inferred"): 2}
WORKLOADS = {
    "clear/bare": ("none", "proven"),
    "home/local": ("local", "proven"),
    "vaulted/sealed": ("kms", "proven"),
    "vaulted/web": ("kms", "proven"),
    "shop/injected": ("external", "inferred"),
    "shop/mixed": ("kms", "proven"),
}


def test_the_four_are_told_apart_live(bed):
    told = bed.json(*bed.live, *bed.kube, "--config", bed.config)
    assert secrets(told) == STORED | INJECTED
    assert workloads(told) == WORKLOADS
    (sealed,) = [o for o in told["objects"] if o["protection"] == "kms" and o["namespace"] == "vaulted"]
    (key,) = sealed["keys"]
    assert (key["provider"], key["name"], key["count"]) == ("kmsv2", "lease", 5)
    assert key["keyId"] == bed.plugin.client().status()[1]
    (local,) = [o for o in told["objects"] if o["protection"] == "local"]
    assert [(k["provider"], k["name"], k["keyId"]) for k in local["keys"]] == [("secretbox", "home1", None)]
    # What no rule covers is told too: by kind and namespace, in the clear.
    others = collections.Counter({(o["resource"], o["protection"]): o["count"] for o in told["objects"]})
    assert others["serviceaccounts", "none"] and others["namespaces", "none"]
    assert told["malformed"] == [] and told["source"] == bed.server.etcd_url
    assert results(told) | {"P01": "fail", "P02": "pass", "P03": "pass", "P04": "pass", "P07": "fail"} == results(told)
    (web,) = [w for w in told["workloads"] if w["name"] == "web"]
    assert (web["kind"], sorted(web["secrets"]), web["pods"]) == ("Deployment", ["s1", "s2", "s3"], 1)
    assert "1 variables of Pods" in check(told, "P21")[1]
    assert results(told)["P20"] != "fail" and results(told)["P24"] == "pass"


def test_from_a_snapshot_the_same(bed, tmp_path):
    file = bed.snapshot(tmp_path / "snapshot.db")
    live = bed.json(*bed.live, *bed.kube)
    told = bed.json("--snapshot", file, *bed.kube)
    assert secrets(told) == STORED | INJECTED and workloads(told) == WORKLOADS
    assert told["source"] == str(file)
    ours = [(o["resource"], o["namespace"], o["protection"], o["keys"]) for o in told["objects"]]
    assert ours == [(o["resource"], o["namespace"], o["protection"], o["keys"]) for o in live["objects"]]
    # Pods are in it as well.
    offline = bed.json("--snapshot", file)
    assert secrets(offline) == STORED | INJECTED and offline["workloads"] == live["workloads"]
    assert workloads(bed.json(*bed.live)) == WORKLOADS
    for name in ("P21", "P22"):
        assert check(offline, name) == check(live, name)
    backup = bed.json("--snapshot", file, "--backup", file)
    assert results(backup)["P12"] == "fail"


def test_for_people(bed):
    said = bed.run(*bed.live, *bed.kube, "--config", bed.config)
    rows = [line.split() for line in said.splitlines()]
    counts = collections.defaultdict(dict)
    for (namespace, protection, _), n in (STORED | INJECTED).items():
        counts[namespace][protection] = str(n)
    for namespace, of in counts.items():
        columns = ("external", "kms", "local", "none", "malformed")
        assert [namespace, *(of.get(p, "-") for p in columns)] in rows
    assert "shop, Pod injected" in said and "clear, Pod bare" in said
    page = bed.run(*bed.live, *bed.kube, "-o", "html")
    assert page.startswith("<!doctype html>") and "vaulted" in page
    hidden = bed.run(*bed.live, *bed.kube, "--hash-names", "-o", "json")
    assert "vaulted" not in hidden and '"shop"' not in hidden


def test_exit_codes(bed, tmp_path):
    bed.run(*bed.live, "--config", bed.config, "--fail-on", "critical")
    bed.run(*bed.live, "--config", bed.config, "--fail-on", "high", code=1)
    identity = configuration(tmp_path / "identity.json", {"identity": {}}, SECRETBOX)
    bed.run(*bed.live, "--config", identity, "--fail-on", "critical", code=1)
    assert "name a source" in bed.run(code=2)
    assert "certificate required" in bed.run(*bed.live[:4], code=2)
    assert "no-such-file" in bed.run("--snapshot", tmp_path / "no-such-file", code=2)
    (tmp_path / "foreign").write_bytes(b"SQLite format 3\0" + bytes(8192))
    bed.run("--snapshot", tmp_path / "foreign", code=2)


def test_what_is_none_of_them_is_counted_as_such(bed):
    """Foreign, unknown and cut values: counted, and no pass rests on them."""
    kept = base64.b64decode(bed.etcd("kv/range", key=b64("/registry/secrets/vaulted/s0"))[0]["kvs"][0]["value"])
    values = {
        "cut": kept[:40],
        "unknown": b"k8s:enc:rot13:v1:k:" + CANARY.encode(),
        "foreign": b"\x00\x01\x02" + CANARY.encode(),
        "empty": b"",
    }
    try:
        for name, value in values.items():
            bed.etcd("kv/put", key=b64(f"/registry/secrets/odd/{name}"), value=b64(value))
        told = bed.json(*bed.live)
        assert {(o["resource"], o["namespace"]): o["count"] for o in told["malformed"]} == {("secrets", "odd"): 4}
        assert secrets(told) == STORED | INJECTED
    finally:
        bed.etcd("kv/deleterange", key=b64("/registry/secrets/odd/"), range_end=b64("/registry/secrets/odd0"))


class Relay:
    """A TCP port before another one, that keeps to itself what a client sends once is_over() says so."""

    def __init__(self, port, is_over):
        self._upstream, self._is_over = port, is_over
        self.held = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._upstream))
                self._sockets += [near, far]
                threading.Thread(target=self._copy, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._copy, args=(far, near, False), daemon=True).start()

    def _copy(self, one, other, asks):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if asks and self._is_over():
                    self.held.set()
                    return
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def close(self):
        for s in self._sockets:
            s.close()


def canaries(bed):
    found = bed.etcd("kv/range", key=b64("/registry/secrets/"), range_end=b64("/registry/secrets0"), keys_only=True)
    keys = [base64.b64decode(kv["key"]).decode() for kv in found[0].get("kvs", [])]
    return [k for k in keys if "leasehold-audit-canary" in k]


def test_a_secret_that_is_written_now(bed):
    plain = bed.json(*bed.live, *bed.kube)
    assert plain["canary"] is None
    told = bed.json(*bed.live, *bed.kube, "--prove")
    canary = told["canary"]
    assert (canary["resource"], canary["namespace"], canary["protection"]) == ("secrets", "default", "kms")
    assert canary["proof"] == "proven" and canary["key"]["name"] == "lease"
    assert canary["key"]["keyId"] == bed.plugin.client().status()[1]
    assert secrets(told) == secrets(plain), "the canary is not counted"
    assert canaries(bed) == []
    elsewhere = bed.json(*bed.live, *bed.kube, "--prove", "--prove-namespace", "shop")
    assert elsewhere["canary"]["namespace"] == "shop"
    assert "kmsv2 lease, under the key that is current" in bed.run(*bed.live, *bed.kube, "--prove")


def test_a_proof_that_cannot_be_had(bed, tmp_path):
    file = bed.snapshot(tmp_path / "snapshot.db")
    assert "a snapshot has what was" in bed.run("--snapshot", file, *bed.kube, "--prove", code=2)
    assert "--prove needs" in bed.run(*bed.live, "--prove", code=2)
    said = bed.run(*bed.live, *bed.kube, "--prove", "--prove-namespace", "no-such-namespace", code=2)
    assert "canary Secret" in said and "no-such-namespace" in said
    said = bed.run(*bed.live, *bed.kube, "--prove", "--etcd-prefix", "/other", code=2)
    assert "another cluster's" in said
    # Who may not write Secrets proves nothing.
    everything = [rule(["pods"], ["list"])]
    bed.server.account("audit", "reader", everything)
    reader = bed.server.kubeconfig("audit", "reader")
    assert "canary Secret" in bed.run(*bed.live, "--kubeconfig", reader, "--prove", code=2)
    assert canaries(bed) == []


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_no_canary_is_left_behind_by_a_signal(bed, signo):
    """Stopped between the writing and the proof: etcd is not asked for it any more."""
    relay = Relay(bed.server._etcd_ports[0], lambda: canaries(bed))
    live = ("--etcd", f"https://127.0.0.1:{relay.port}", *bed.live[2:])
    argv = [bed.program, "audit", *live, *bed.kube, "--prove", "--timeout", "60s"]
    process = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert relay.held.wait(30)
        assert len(canaries(bed)) == 1
        process.send_signal(signo)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        relay.close()
    assert process.returncode == 2 and "stopped by a signal" in said
    assert canaries(bed) == []


def test_what_the_plugin_knows_of_its_key(bed):
    """P09 and P19, as the manager tells leasehold-kms."""
    url = f"http://127.0.0.1:{bed.plugin.port}"
    asked = (*bed.live, "--config", bed.config, "--kms", url)

    def warned(of, value):
        wait_until(f"{of} {value}", lambda: bed.plugin.metric("leasehold_kms_warning", warning=of) == value, 60, 0.2)

    told = bed.json(*asked)
    assert check(told, "P19") == ("pass", "1 plugins, which ask the manager, warn of nothing")
    assert check(told, "P09") == ("pass", "the manager made the key's version 0 days ago")
    bed.bao.api("POST", "transit/keys/audited/config", {"deletion_allowed": True})
    try:
        warned("deletion_allowed", 1)
        assert check(bed.json(*asked), "P19") == ("fail", "leasehold-kms warns of deletion_allowed")
    finally:
        bed.bao.api("POST", "transit/keys/audited/config", {"deletion_allowed": False})
    assert "leasehold-kms at" in bed.run(*bed.live, "--kms", "http://127.0.0.1:1", code=2)


def test_who_may_read_secrets(bed):
    result, detail = check(bed.json(*bed.kube), "P23")
    assert result == "pass" and "0 may read every Secret" in detail
    for i in range(6):
        bed.server.account("readers", f"r{i}", [rule(["secrets"], ["list"])])
    result, detail = check(bed.json(*bed.kube), "P23")
    assert result == "fail" and "6 may read every Secret: ServiceAccount readers/r" in detail
    # Who may not list roles learns the rest.
    bed.server.account("audit", "pods-only", [rule(["pods"], ["list"])])
    told = bed.json("--kubeconfig", bed.server.kubeconfig("audit", "pods-only"))
    assert check(told, "P23")[0] == "not-proven" and any("roles were not read" in t for t in told["unknown"])
    assert workloads(told).keys() == WORKLOADS.keys()


@pytest.fixture
def others(bed):
    """Two more API servers of the cluster."""
    made = [ApiServer(crds=False, flags=bed.flags, beside=bed.server) for _ in range(2)]
    try:
        yield [server.start() for server in made]
    finally:
        for server in made:
            server.close()


def test_every_api_server_is_asked(bed, others, tmp_path):
    """One that is silent, or runs with something else, is told. On one host they share their lease, so that the cluster
    itself tells of one of them only."""
    told = bed.json(*bed.live, *bed.kube, "--config", bed.config)
    assert check(told, "P08") == ("pass", "they name the same key") and told["unknown"] == []
    urls = ",".join(server.url for server in (bed.server, *others))
    asked = (*bed.live, *bed.kube, "--config", bed.config, "--servers", urls)
    bed.server.call("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "latest"}, "data": {}})
    told = bed.json(*asked)
    assert check(told, "P08") == ("pass", "they name the same key")
    assert check(told, "P14") == ("pass", "they run with one configuration")
    assert "an API server holds" in check(told, "P10")[1] and results(told)["P18"] == "pass"
    assert "p99 of the plugin is at most" in check(told, "P17")[1]
    # The current key is known from them, so that only what is older is stale.
    assert check(told, "P07")[0] == "fail" and " 7 of " in check(told, "P07")[1]

    identity = configuration(tmp_path / "identity.json", {"identity": {}}, SECRETBOX)
    assert "than this file has" in check(bed.json(*bed.kube, "--config", identity), "P14")[1]
    others[0].freeze()
    try:
        silent = bed.json(*asked, "--timeout", "2s")
    finally:
        others[0].thaw()
    assert check(silent, "P08")[0] == "not-proven" and "2 API servers were heard of 3" in check(silent, "P08")[1]
    assert any("metrics of an API server" in t and others[0].url in t for t in silent["unknown"])

    # The same providers in another file: it serves, and a hash tells it apart.
    differs = tmp_path / "differs.json"
    differs.write_text(bed.config.read_text() + "\n")
    others[1].stop()
    others[1]._flags = ["--encryption-provider-config-automatic-reload=true", "--encryption-provider-config", differs]
    others[1].start()
    assert check(bed.json(*asked), "P14") == ("fail", "API servers run with different configurations")
    named = bed.json(*asked[:-1], f"{bed.server.url},{others[0].url}")
    assert results(named)["P14"] == "pass", "only those that are named"
    assert "--servers needs" in bed.run(*bed.live, "--servers", bed.server.url, code=2)
