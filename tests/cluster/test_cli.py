# SPDX-License-Identifier: Apache-2.0
"""`leasehold check` and `policy` as an engineer uses them: on the real cluster, and typed into the manager."""

import json
import re
import shlex

import pytest
from openbao import find_program
from product import AGENT, JWT_MOUNT, STORE, pod

NEWCOMER = "newcomer"


@pytest.fixture
def leasehold(product, bin_dir):
    """leasehold("check", ...) with the cluster's kubeconfig, where the cluster and the manager can be reached."""

    def run(*args, check=False):
        return product.cluster.in_node(bin_dir / "leasehold", *args, check=check)

    return run


@pytest.fixture
def newcomer(product, tenant):
    """Annotations and a ServiceAccount that the manager has never heard of, and its Pod, created."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NEWCOMER, "namespace": tenant.name}}
    product.cluster.apply(account)

    def create(annotations):
        made = pod("shop", annotations, serviceAccountName=NEWCOMER)
        tenant.create(made)
        return made

    return create


def steps(done):
    """{step: (ok, text)} of check's output."""
    rows = re.findall(r"^(\w+) +(ok|FAILED) *(.*)$", done.stdout, re.M)
    return {name: (verdict == "ok", text) for name, verdict, text in rows}


def commands(printed):
    """The file and the shell commands that `policy` prints: (name of the file, its text, [command])."""
    lines = printed.splitlines()
    name = re.search(r"^# Keep this as (\S+), then:$", printed, re.M)[1]
    first = lines.index(f"# Keep this as {name}, then:") + 1
    comments = [line[1:].strip() for line in lines[first:] if line.startswith("#")]
    return name, printed, " ".join(c.removesuffix("\\") for c in comments).split("bao ")[1:]


def causes(tenant, word):
    return [text for text in tenant.events("shop") if "Startup probe failed" in text and word in text]


def test_policy_as_printed_is_all_that_a_pod_needs(product, tenant, database_role, leasehold, newcomer, tmp_path):
    cluster, bao = product.cluster, product.manager.bao
    path = database_role("policed", "1h", "2h")
    made = newcomer({"secret.db": path, "secret.settings": "kv/app/s1"})
    login = ("check", STORE, "-n", tenant.name, "--as", NEWCOMER)
    asked = (*login, "--path")

    def typed(command):
        env = [f"BAO_ADDR={bao.address()}", f"BAO_CACERT={bao.ca}", f"BAO_TOKEN={bao.root_token}"]
        cluster.in_node("/usr/bin/env", "-C", tmp_path, *env, find_program(), *shlex.split(command))

    # Nobody has told the manager yet.
    done = leasehold(*login)
    found = steps(done)
    assert done.returncode == 1 and list(found) == ["store", "allow", "token", "reach", "login"], done.stdout
    assert [ok for ok, _ in found.values()] == [True, True, True, True, False]
    assert "LoginFailed" in found["login"][1] and "fix: " in done.stdout
    cluster.wait("the cause", lambda: causes(tenant, "LoginFailed"), 30)

    (tmp_path / "stores").mkdir()
    (tmp_path / "pod.json").write_text(json.dumps(made))
    (tmp_path / "stores" / "store.json").write_text(json.dumps(product.store()))
    (tmp_path / "stores" / "namespace.json").write_text(json.dumps(cluster.get("namespace", tenant.name)))
    printed = leasehold("policy", "-f", tmp_path / "pod.json", "--stores", tmp_path / "stores", check=True).stdout
    name, text, (policy, role) = commands(printed)
    (tmp_path / name).write_text(text)
    assert policy.startswith("policy write") and role.startswith(f"write auth/{JWT_MOUNT}/role/{tenant.name}-{NEWCOMER}")

    # The role lets it in; without the policy it may read nothing.
    typed(role)
    done = leasehold(*asked, path)
    found = steps(done)
    assert done.returncode == 1 and found["login"][0] and "PermissionDenied" in found["capabilities"][1], done.stdout
    cluster.wait("the cause", lambda: causes(tenant, "PermissionDenied"), 30)
    assert "waiting" in tenant.status("shop", "app")["state"]

    typed(policy)
    tenant.ready("shop", 20)
    user, password = tenant.credential("shop")
    assert product.manager.pg_login(user, password)
    assert tenant.read("shop", "settings/username") == "user1"
    assert tenant.status("shop", AGENT)["restartCount"] == 0

    # The least: nothing beside it, and a renewal needs no more.
    lease = bao.leases(path)
    for what in (path, "kv/app/s1", "kv/app/s1#username"):
        done = leasehold(*asked, what)
        found = steps(done)
        assert done.returncode == 0 and all(ok for ok, _ in found.values()), done.stdout
        assert "read" in found and "username" in done.stdout
        assert "user1" not in done.stdout and password not in done.stdout
    assert bao.leases(path) == lease, "what check made, it has revoked again"
    for what, step, word in (
        ("kv/app/s2", "capabilities", "PermissionDenied"),
        ("kv/app/s1#colour", "read", "KeyNotFound"),
        ("cubbyhole/x", "allow", "PathNotAllowed"),
    ):
        done = leasehold(*asked, what)
        ok, said = steps(done)[step]
        assert done.returncode == 1 and not ok and word in said and "fix: " in done.stdout, done.stdout
