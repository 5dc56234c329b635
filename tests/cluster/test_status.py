# SPDX-License-Identifier: Apache-2.0
"""`leasehold status` of a cluster that runs: real Pods of each delivery, and what agent and node say themselves."""

import contextlib
import json
import re
import select
import subprocess

import pytest
from product import ACCOUNT, NAMESPACE, STORE, pod
from volumes import mounting, projection

METRICS = 9102
ASLEEP = "while :; do sleep 3600 & wait $!; done"
READS = {"apiGroups": ["leasehold.dev"], "resources": ["*"], "verbs": ["list", "watch"]}
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}

pytestmark = pytest.mark.usefixtures("node")


@pytest.fixture
def status(product, bin_dir):
    """status(...) is `leasehold status ...` with the cluster's kubeconfig."""

    def run(*args):
        return product.cluster.in_node(bin_dir / "leasehold", "status", *args, check=False)

    return run


@pytest.fixture
def shop(tenant):
    """A Pod by sidecar that serves its status, one that mounts, and one that waits for a path that is not there."""
    tenant.create(projection("kv/app/s1"))
    tenant.create(projection("kv/app/nothing", "absent"))
    tenant.create(pod("injected", {"secret.db": "kv/app/s1", "metrics-port": str(METRICS)}, ASLEEP))
    tenant.create(mounting("mounted", script=ASLEEP))
    tenant.create(mounting("waiting", "absent", script=ASLEEP))
    for name in ("injected", "mounted"):
        tenant.ready(name, 90)
    return tenant


def items(done):
    """(kind, name) to item of what -o json printed."""
    document = json.loads(done.stdout)
    return document, {(i["kind"], i["name"]): i for i in document["items"]}


def table(done):
    """Rows of the table by (kind, name), each a dictionary by column."""
    head, *lines = done.stdout.split("\n\n")[0].splitlines()
    starts = [m.start() for m in re.finditer(r"\S+", head)]
    cells = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in lines]
    rows = [dict(zip(head.split(), row, strict=True)) for row in cells]
    return {(r["KIND"], r["NAME"]): r for r in rows}


def secrets_of(product):
    return list(product.manager.bao.api("GET", "kv/data/app/s1").data["data"].values())


def test_what_pods_and_their_helpers_say(product, shop, node, status):
    def waits():
        found = items(status("-n", shop.name, "--live", "-o", "json"))[1]["Pod", "waiting"]
        return found["reason"] == "PathNotFound"

    product.cluster.wait("the cause of the one that waits", waits, 60)
    done = status("-n", shop.name, "--live", "-o", "json")
    document, found = items(done)
    assert done.returncode == 1 and document["ok"] is False, "one of them is not ready"
    assert document["unknown"] == [], document["unknown"]
    assert found["ClusterSecretStore", STORE]["ready"] == "True"
    for name, delivery in (("injected", "sidecar"), ("mounted", "csi")):
        item = found["Pod", name]
        assert item["ready"] == "True" and item["delivery"].startswith(delivery) and item["node"] == "node-a", item
    (volume,) = found["Pod", "mounted"]["live"]["volumes"]
    assert volume["state"] == "published" and volume["projection"] == "db" and volume["secrets"]["ready"] is True
    (held,) = found["Pod", "injected"]["live"]["agent"]["items"]
    assert (held["name"], held["kind"], held["path"]) == ("db", "kv", "kv/app/s1")
    assert "kv/app/nothing" in found["Pod", "waiting"]["message"] and found["Pod", "waiting"]["action"]

    wide = status("-n", shop.name, "-o", "wide")
    rows = table(wide)
    assert rows["Pod", "mounted"]["NODE"] == "node-a" and rows["Pod", "mounted"]["DELIVERY"] == "csi"
    assert rows["SecretProjection", "db"]["STORE"] == STORE
    for text in (done.stdout, wide.stdout):
        assert not any(value in text for value in secrets_of(product)), "never a value"

    everywhere = {(i["namespace"], i["name"]) for i in items(status("-A", "-o", "json"))[0]["items"] if i["kind"] == "Pod"}
    assert {(shop.name, "injected"), (shop.name, "mounted"), (shop.name, "waiting")} <= everywhere


def test_watch_follows_a_pod(product, tenant, bin_dir):
    command = [product.cluster.folder / "in-a", bin_dir / "leasehold", "status", "-n", tenant.name, "-w"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            seen = []

            def line(*words):
                while not any(all(w in row for w in words) for row in seen):
                    assert select.select([process.stdout], [], [], 60)[0], seen
                    row = process.stdout.readline().decode().split()
                    assert row or process.poll() is None, seen
                    seen.append(row)
                seen.clear()

            line("ClusterSecretStore", STORE)
            tenant.create(pod("shop", {"secret.db": "kv/app/s1"}, ASLEEP))
            line("Pod", "shop", "True")
            tenant.delete("shop")
            line("Pod", "shop", "Gone")
        finally:
            # What nsenter became in the node's namespaces; ended by its own number.
            process.kill()


@contextlib.contextmanager
def kubeconfig(product, tenant, name, rules, folder):
    """That of an account with these rights everywhere, while the body runs."""
    meta = {"name": f"status-{tenant.name}-{name}"[:60]}
    api = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": tenant.name}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": meta["name"]}
    product.cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": tenant.name}},
        api | {"kind": "ClusterRole", "metadata": meta, "rules": rules},
        api | {"kind": "ClusterRoleBinding", "metadata": meta, "roleRef": reference, "subjects": [subject]},
    )
    view = json.loads(product.cluster.kubectl("config", "view", "--raw", "-o", "json").stdout)
    view["users"] = [{"name": u["name"], "user": {"token": product.cluster.token(name, tenant.name, None)}} for u in view["users"]]
    path = folder / f"{name}.json"
    path.write_text(json.dumps(view))
    try:
        yield path
    finally:
        product.cluster.delete("clusterrolebinding,clusterrole", meta["name"], wait=False)


def test_whoever_may_not_is_told(product, tenant, status, tmp_path):
    tenant.create(mounting("mounted", "nowhere", script=ASLEEP))
    for name, rules, word in (
        ("blind", [], "403"),
        ("half", [READS], "pods"),
        ("distant", [READS, PODS], "proxy"),
    ):
        with kubeconfig(product, tenant, name, rules, tmp_path) as config:
            done = status("-n", tenant.name, "--live", "--kubeconfig", config)
        assert done.returncode == 1 and "Not known:" in done.stdout and word in done.stdout, done.stdout + done.stderr
        assert ("mounted" in done.stdout) == (name == "distant"), done.stdout


@pytest.mark.parametrize(
    ("args", "returncode", "words"),
    [
        (["-n", "no-such-namespace"], 0, "There are no stores"),
        (["-o", "yaml"], 2, "-o must be wide or json"),
        (["-A", "-n", "shop"], 2, "exclude each other"),
        (["--live", "-w"], 2, "exclude each other"),
        (["--context", "no-such-context"], 1, "no-such-context"),
        (["pods"], 2, "unexpected argument"),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, list) else None,
)
def test_wrong_names(product, status, args, returncode, words):
    done = status(*args)
    assert words in done.stdout + done.stderr or STORE in done.stdout, done.stdout + done.stderr
    assert done.returncode == returncode, done.stdout + done.stderr
