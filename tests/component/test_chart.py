# SPDX-License-Identifier: Apache-2.0
"""The chart's kinds, roles and admission policies on a real API server: what each refuses, and that it takes the rest."""

import json
import subprocess

import pytest
from apiserver import ROOT
from procs import wait_until

NODE = "system:serviceaccount:leasehold-system:leasehold-node"
CLUSTER = "system:serviceaccount:leasehold-system:leasehold-controller"
ON_A = {"authentication.kubernetes.io/node-name": "node-a"}
FRESH = {"type": "leasehold.dev/SecretsFresh", "status": "True", "reason": "Fresh"}
READY = {"type": "Ready", "status": "True"}


def projection(**spec):
    return {
        "apiVersion": "leasehold.dev/v1alpha1",
        "kind": "SecretProjection",
        "metadata": {"name": "db", "namespace": "crd"},
        "spec": spec,
    }


def item(**fields):
    return {"items": [{"name": "db", "path": "database/creds/shop"} | fields]}


def files(*made):
    return item(files=list(made))


def many(prefix, count):
    return [{"path": f"{prefix}{i}"} for i in range(count)]


TAKEN = {
    "the least": item(),
    "a file of each form": files(
        {"path": "db/user", "key": "username", "mode": "0440"},
        {"path": "db.env", "format": "env"},
        {"path": ".url", "template": "{{ .username }}"},
        {"path": "all"},
    ),
    "a write": item(params={"ttl": "1h", "deep": [{"a": 1}]}),
    "placeholders": item(path="secret/{namespace}/{serviceAccount}"),
    "segments of 255 bytes": files({"path": "x" * 255 + "/" + "y" * 255}),
    "256 items": {"items": [{"name": f"n{i}", "path": "a"} for i in range(256)]},
    "everything else": item(version=3, optional=True, refresh={"interval": "100ms"}, overlap="0s")
    | {
        "storeRef": {"kind": "ClusterSecretStore", "name": "vault"},
        "role": "shop-db",
        "refresh": {"interval": "1h30m"},
        "overlap": "8760h",
        "staleness": {"maxAge": "24h", "then": "Remove"},
        "revocation": "Retain",
        "serviceAccountName": "shop",
        "kubernetesSecret": {"name": "db", "type": "Opaque", "adopt": True},
        "onChange": {"restart": [{"kind": "Deployment", "name": "shop"}]},
    },
}
# What the API server says, and what our own programs say of the same object.
REFUSED = {
    "no items": ({"items": []}, "spec.items", "spec.items"),
    "no path": ({"items": [{"name": "db"}]}, "path: Required", "spec.items[0].path: is required"),
    "an item's name": (item(name="_db"), "spec.items[0].name", "spec.items[0].name"),
    "two items of one name": ({"items": item()["items"] * 2}, "Duplicate value", "two items of one name"),
    "257 items": ({"items": [{"name": f"n{i}", "path": "a"} for i in range(257)]}, "Too many", "items"),
    "a slash in front": (item(path="/a"), "without a slash in front", "slash"),
    "dots in the path": (item(path="a/../b"), "segment . or ..", "segment . or .."),
    "a disguise in the path": (item(path="a%2fb"), "must not hold %", "holds %"),
    "a control character of Latin 1": (item(path="a\x85b"), "control characters", "control character"),
    "a space at the end": (item(path="a "), "a space", "a space"),
    "a version of a write": (item(version=1, params={}), "version is of reads", "version"),
    "version 0": (item(version=0), "spec.items[0].version", "spec.items[0].version"),
    "an absolute file": (files({"path": "/etc/passwd"}), "relative path", "relative path"),
    "dots in a file": (files({"path": "a/../b"}), "files[0].path", "segment that begins with .."),
    "two dots and more": (files({"path": "..data"}), "files[0].path", "segment that begins with .."),
    "an empty segment": (files({"path": "a//b"}), "files[0].path", "segments of 1 to 255"),
    "a segment of 256 bytes": (files({"path": "x" * 256}), "files[0].path", "segments of 1 to 255"),
    "a file of 513 bytes": (files({"path": "x/" * 256 + "y"}), "files[0].path", "files[0].path"),
    "two files of one name": (files({"path": "a", "key": "x"}, {"path": "a"}), "Duplicate value", "of one name"),
    "257 files": (files(*many("f", 257)), "Too many", "files"),
    "257 files of two items": (
        {"items": [{"name": n, "path": n, "files": many(n, k)} for n, k in (("a", 200), ("b", 57))]},
        "more than 256 files",
        "more than 256 files",
    ),
    "a mode of four digits": (files({"path": "a", "mode": "1777"}), "mode", "mode"),
    "a format": (files({"path": "a", "format": "toml"}), "Unsupported value", "files[0].format"),
    "a template and a format": (files({"path": "a", "template": "x", "format": "json"}), "only be template", "template"),
    "no template": (files({"path": "a", "format": "template"}), "and no template", "no template"),
    "a key and a format": (files({"path": "a", "key": "k", "format": "env"}), "names one key", "names one key"),
    "a template too large": (files({"path": "a", "template": "x" * 65537}), "files[0].template", "template"),
    "a short refresh": (item() | {"refresh": {"interval": "99ms"}}, "100ms to 8760h", "refresh.interval"),
    "a long overlap": (item() | {"overlap": "8761h"}, "0s to 8760h", "overlap"),
    "no duration": (item(overlap="5"), "overlap", "overlap"),
    "a store's name": (item() | {"storeRef": {"name": "Vault"}}, "storeRef.name", "storeRef.name"),
    "a store's kind": (item() | {"storeRef": {"kind": "Store", "name": "v"}}, "storeRef.kind", "storeRef.kind"),
    "a role of two lines": (item() | {"role": "a\nb"}, "spec.role", "spec.role"),
    "staleness": (item() | {"staleness": {"then": "Drop"}}, "staleness.then", "staleness.then"),
}
# Said by the condition and by the mount, since a rule on all pairs of files costs more than the API server allows.
BEYOND = {
    "one file of two items": {
        "items": [{"name": n, "path": n, "files": [{"path": "same"}]} for n in ("a", "b")],
    },
    "a file and a folder of one name": files({"path": "a", "key": "k"}, {"path": "a/b"}),
}


@pytest.fixture(scope="module")
def place(apiserver):
    return apiserver.namespace("crd")


def create(apiserver, spec):
    made = json.dumps(projection(**spec))
    return apiserver.kubectl("create", "--dry-run=server", "-f", "-", input=made, check=False)


def lint(bin_dir, tmp_path, spec):
    path = tmp_path / "projection.yaml"
    path.write_text(json.dumps(projection(**spec)))
    done = subprocess.run([bin_dir / "leasehold", "lint", path], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", TAKEN)
def test_taken_by_schema_and_code(apiserver, place, bin_dir, tmp_path, name):
    done = create(apiserver, TAKEN[name])
    assert done.returncode == 0, done.stderr
    assert lint(bin_dir, tmp_path, TAKEN[name]) == (0, "")


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_schema_and_code(apiserver, place, bin_dir, tmp_path, name):
    spec, schema_says, code_says = REFUSED[name]
    done = create(apiserver, spec)
    assert done.returncode != 0 and schema_says in done.stderr
    status, text = lint(bin_dir, tmp_path, spec)
    assert status == 1 and code_says in text


@pytest.mark.parametrize("name", BEYOND)
def test_refused_by_code_alone(apiserver, place, bin_dir, tmp_path, name):
    assert create(apiserver, BEYOND[name]).returncode == 0
    status, text = lint(bin_dir, tmp_path, BEYOND[name])
    assert status == 1 and "FileConflict" in text


def test_server_writes_no_defaults(apiserver, place):
    apiserver.apply(projection(**item()))
    path = "/apis/leasehold.dev/v1alpha1/namespaces/crd/secretprojections/db"
    assert apiserver.get(path)["spec"] == item()
    columns = apiserver.kubectl("get", "lhproj", "-n", "crd").stdout.splitlines()[0].split()
    assert columns == ["NAME", "READY", "STORE", "REASON", "AGE"]
    assert "secretprojection" in apiserver.kubectl("get", "leasehold", "-n", "crd").stdout


# -- roles and policies


def rendered(*settings):
    helm = subprocess.run([ROOT / "tests/tools/path", "helm"], capture_output=True, text=True, check=True)
    argv = [f"{helm.stdout.strip()}/helm", "template", "leasehold", ROOT / "charts/leasehold", "-n", "leasehold-system"]
    more = [a for s in settings for a in ("--set", s)]
    return subprocess.run(
        [*argv, "--kube-version", "1.36.0", *more], capture_output=True, text=True, check=True
    ).stdout


def rights(apiserver, text):
    """(role, resource, names, verbs) of each rule."""
    documents = text.split("\n---\n")
    roles = [d for d in documents if "\nkind: ClusterRole\n" in d or "\nkind: Role\n" in d]
    text = "\n---\n".join(roles)
    parsed = apiserver.kubectl("create", "--dry-run=client", "--validate=false", "-f", "-", "-o", "json", input=text)
    rest, found = parsed.stdout.strip(), []
    while rest:
        role, end = json.JSONDecoder().raw_decode(rest)
        rest = rest[end:].lstrip()
        for r in role.get("rules") or []:
            names = tuple(r.get("resourceNames", []))
            found += [(role["metadata"]["name"], what, names, set(r["verbs"])) for what in r.get("resources", [])]
    return found


def test_copies_that_are_off_have_no_rights(apiserver):
    """By default the controller is there, for stores and Pods, and may read no Secret but its ledger."""
    ours = [r for r in rights(apiserver, rendered()) if r[0].startswith("leasehold-controller")]
    assert ours
    assert [r[1:3] for r in ours if r[1] == "secrets"] == [("secrets", ("leasehold-controller-ledger",))]
    assert not [r for r in ours if r[1] in ("serviceaccounts/token", "deployments", "poddisruptionbudgets")]
    assert not [r for r in ours if r[1] == "secretprojections" and r[3] - {"get", "list", "watch"}]
    assert [r[3] for r in ours if r[1] == "leases" and not r[2]] == [{"create"}]


def test_what_is_off_is_not_there(apiserver):
    off = rendered("cluster.enabled=false", "node.enabled=false")
    roles = {r[0] for r in rights(apiserver, off)}
    assert "leasehold-webhook" in roles
    assert "leasehold-controller" not in off and "leasehold-node" not in off


@pytest.fixture(scope="module")
def installed(apiserver):
    """The chart with copies on in one namespace, and a Pod on each of two nodes."""
    made = rendered("crds.install=false", "cluster.namespaces={copies}")
    for name in ("leasehold-system", "copies", "pods"):
        apiserver.namespace(name)
    # Nobody answers the webhook here.
    apiserver.apply(made)
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        apiserver.kubectl("delete", kind, "leasehold-webhook")
    for name in ("a", "b"):
        apiserver.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{name}"}})
        spec = {"nodeName": f"node-{name}", "containers": [{"name": "app", "image": "app"}]}
        metadata = {"name": name, "namespace": "pods", "labels": {"app": name}}
        apiserver.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    # A policy works a moment after it was made.
    wait_until("policy of nodes", lambda: status_of(apiserver, "b", {"phase": "Failed"})[0] == 422, 20)
    wait_until("policy of tokens", lambda: token(apiserver, "copies", "other", 600)[0] == 422, 20)
    yield apiserver
    # The policies would meet whoever else calls himself leasehold-controller on this API server.
    apiserver.kubectl("delete", "--ignore-not-found", "-f", "-", input=made)
    wait_until("end of the policy", lambda: token(apiserver, "copies", "other", 600)[0] != 422, 20)


def ask(apiserver, user, method, path, body, content_type, extra=None):
    headers = {"Content-Type": content_type, "Impersonate-User": user, "Accept": "application/json"}
    for key, value in (extra or {}).items():
        headers["Impersonate-Extra-" + key.replace("/", "%2F")] = value
    status, answer = apiserver.raw(method, path, json.dumps(body), headers)
    return status, json.loads(answer).get("message", "")


def patch(apiserver, pod, body, extra=ON_A, path="/status"):
    url = f"/api/v1/namespaces/pods/pods/{pod}{path}"
    return ask(apiserver, NODE, "PATCH", url, body, "application/strategic-merge-patch+json", extra)


def status_of(apiserver, pod, status, extra=ON_A):
    return patch(apiserver, pod, {"status": status}, extra)


def token(apiserver, namespace, audience, seconds):
    spec = {"expirationSeconds": seconds} | ({"audiences": [audience]} if audience else {})
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    url = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    return ask(apiserver, CLUSTER, "POST", url, body, "application/json")


def test_node_says_whether_secrets_are_fresh(installed):
    for value in ("True", "False"):
        assert status_of(installed, "a", {"conditions": [FRESH | {"status": value}]})[0] == 200
    (said,) = installed.get("/api/v1/namespaces/pods/pods/a")["status"]["conditions"]
    assert said["status"] == "False"


@pytest.mark.parametrize(
    ("pod", "body", "extra", "says"),
    [
        ("b", {"status": {"conditions": [FRESH]}}, ON_A, "its own node's Pods only"),
        ("a", {"status": {"conditions": [FRESH]}}, {}, "a token that is bound"),
        ("a", {"status": {"conditions": [READY]}}, ON_A, "no condition but"),
        ("a", {"status": {"conditions": [FRESH, READY]}}, ON_A, "no condition but"),
        ("a", {"status": {"phase": "Succeeded"}}, ON_A, "nothing of a Pod's status but"),
        ("a", {"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}}, ON_A, "nothing of a Pod's status but"),
        ("a", {"metadata": {"labels": {"app": "b"}}}, ON_A, "labels, annotations"),
        ("a", {"metadata": {"labels": {"app": None}}}, ON_A, "labels, annotations"),
        ("a", {"metadata": {"annotations": {"x": "y"}}}, ON_A, "labels, annotations"),
        ("a", {"metadata": {"finalizers": ["x.test/y"]}}, ON_A, "labels, annotations"),
    ],
)
def test_node_may_say_nothing_else(installed, pod, body, extra, says):
    before = installed.get(f"/api/v1/namespaces/pods/pods/{pod}")
    status, text = patch(installed, pod, body, extra)
    assert status == 422 and says in text
    assert installed.get(f"/api/v1/namespaces/pods/pods/{pod}") == before


def test_node_has_no_other_rights(installed):
    may = installed.kubectl("auth", "can-i", "--list", f"--as={NODE}", "-n", "pods").stdout
    assert "secrets " not in may and "serviceaccounts/token" not in may and "configmaps" not in may
    assert patch(installed, "a", {"metadata": {"labels": {"x": "y"}}}, path="")[0] == 403


@pytest.mark.parametrize(
    ("namespace", "audience", "seconds", "status", "says"),
    [
        ("copies", "vault", 3600, 201, ""),
        ("copies", "vault", 3601, 422, "an hour at most"),
        ("copies", "other", 3600, 422, "audiences in cluster.audiences"),
        ("copies", None, 3600, 422, "audiences in cluster.audiences"),
        ("pods", "vault", 3600, 403, "cannot create resource"),
        ("kube-system", "vault", 3600, 403, "cannot create resource"),
    ],
)
def test_tokens_of_the_cluster_controller(installed, namespace, audience, seconds, status, says):
    got, text = token(installed, namespace, audience, seconds)
    assert got == status and says in text


def test_system_namespaces_are_fenced_even_where_rights_were_given(installed):
    installed.account("kube-system", "default")
    installed.kubectl(
        *("create", "rolebinding", "too-much", "-n", "kube-system"),
        *("--clusterrole=leasehold-controller-copies", "--serviceaccount=leasehold-system:leasehold-controller"),
    )
    got, text = token(installed, "kube-system", "vault", 600)
    assert got == 422 and "never in the system's own" in text


def can(apiserver, user, verb, what, namespace):
    done = apiserver.kubectl("auth", "can-i", verb, what, f"--as={user}", "-n", namespace, check=False)
    return done.stdout.strip() == "yes"


def test_copies_are_allowed_where_they_are_on(installed):
    for verb, what in (("get", "secrets"), ("create", "secrets"), ("patch", "deployments.apps")):
        assert can(installed, CLUSTER, verb, what, "copies")
        assert not can(installed, CLUSTER, verb, what, "pods")
    for verb in ("get", "update"):
        assert can(installed, CLUSTER, verb, "secrets/leasehold-controller-ledger", "leasehold-system")
        assert not can(installed, CLUSTER, verb, "secrets/leasehold-webhook-ca", "leasehold-system")
