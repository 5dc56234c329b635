# SPDX-License-Identifier: Apache-2.0
"""README and docs/vault-setup.md as a newcomer follows them: commands and manifests as printed, on an empty OpenBao.

Replaced is only what the text itself leaves to the reader: addresses, files, images, passwords.
"""

import base64
import json
import re

import pytest
from cluster import ADDRESS, API, tool
from openbao import OpenBao, find_program
from postgres import ADMIN, DATABASE
from procs import Work, wait_until
from product import ROOT, SECRETS, Tenant, annotated, application, pod_spec

README, SETUP = ROOT / "README.md", ROOT / "docs" / "vault-setup.md"
MANAGER = "https://vault.example:8200"


def section(file, heading):
    """Blocks of code below a heading, in order, as (language, text)."""
    text = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", file.read_text(), re.M | re.S)[1]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    assert blocks, f"{file}: nothing to try below {heading}"
    return blocks


def replaced(text, words):
    for old, new in words.items():
        text = text.replace(old, new)
    return text


@pytest.fixture
def empty_bao(cluster):
    """An OpenBao that nobody has set up."""
    work = Work()
    try:
        yield OpenBao(work, listen=ADDRESS, netns=cluster.netns).start()
    finally:
        work.end()


@pytest.fixture
def shell(product, bin_dir, empty_bao, tmp_path):
    """shell(text) runs commands where the newcomer's programs and files are; it stops at the first that fails."""
    cluster = product.cluster
    (tmp_path / "cluster-ca.crt").write_text(cluster.ca.read_text())
    (tmp_path / "sa.pub").write_text(cluster.service_account_key)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kubectl-leasehold").symlink_to(bin_dir / "leasehold")
    path = f"{tmp_path}/bin:{bin_dir}:{find_program().parent}:{tool('kube')}:{tool('helm')}:/usr/bin:/bin"
    env = [f"PATH={path}", f"BAO_ADDR={empty_bao.address()}", f"BAO_CACERT={empty_bao.ca}"]
    env += [f"BAO_TOKEN={empty_bao.root_token}"]

    def run(text, check=True):
        return cluster.in_node("/usr/bin/env", "-C", tmp_path, *env, "bash", "-euo", "pipefail", "-c", text, check=check)

    return run


@pytest.fixture
def shop(product):
    """The namespace of README, with its account."""
    made = product.namespace("shop", team="readme")
    yield Tenant(product, "shop")
    product.cluster.delete("clustersecretstore", "vault")
    product.cluster.delete("clusterrolebinding", "oidc-reviewer")
    product.cluster.delete("namespace", made.name, wait=False)


def runnable(cluster, text, **annotations):
    """README's Pod with an image and a program that there are here, as Pod Security `restricted` wants it."""
    made = json.loads(cluster.kubectl("create", "-f", "-", "--dry-run=client", "-o", "json", input=text).stdout)
    ours = pod_spec(application())
    container = ours["containers"][0] | {"name": made["spec"]["containers"][0]["name"]}
    made["spec"] = ours | {"serviceAccountName": made["spec"]["serviceAccountName"], "containers": [container]}
    if annotations:
        made["metadata"]["annotations"] = annotated(annotations)
    return made


def set_up(product, shell):
    """What docs/vault-setup.md has the manager's administrator type."""
    postgres = product.manager.postgres
    words = {
        "https://API_SERVER": API,
        "@db/app": f"@{postgres.host}:{postgres.port}/{DATABASE}?sslmode=disable",
        "username=... password=...": f"username={ADMIN} password='{postgres.password}'",
    }
    for heading in (r"1\. Let ServiceAccounts log in[^\n]*", r"3\. A policy", r"4\. Database credentials"):
        for _, text in section(SETUP, heading):
            shell(replaced(text, words))


def test_newcomers_first_pod(product, shell, shop, empty_bao, tmp_path):
    cluster, manager = product.cluster, product.manager
    set_up(product, shell)
    store = section(README, "Install on a cluster")[-1][1]
    ((_, pod),) = section(README, "A first Pod")
    projection = section(README, "The same without a sidecar")[0][1]
    ca = base64.b64encode(empty_bao.ca.read_bytes()).decode()
    (tmp_path / "stores.yaml").write_text(replaced(store, {MANAGER: empty_bao.address(), "<base64 PEM>": ca}))
    (tmp_path / "pod.yaml").write_text(pod)
    (tmp_path / "projection.yaml").write_text(projection)

    # Without a cluster: what the commands say of the manifests before anybody has applied them.
    ((_, commands),) = section(README, "Try it without a cluster")
    shell("kubectl create token shop -n shop --audience vault >token")
    root = tmp_path / "root"
    said = shell(replaced(commands, {"leasehold run ": "leasehold run --once ", "/dev/shm/shop": str(root)})).stdout
    for words in ('"leasehold-agent"', "bao policy write shop-shop", "PathNotAllowed"):
        assert words in said, said
    assert manager.pg_login((root / "db" / "username").read_text(), (root / "db" / "password").read_text())

    # On the cluster: the Pod with an agent, and the one with a volume.
    shell("kubectl create -f stores.yaml -f projection.yaml")
    checked = shell("kubectl leasehold check vault -n shop --as shop --cluster prod --path database/creds/shop#username")
    assert "read          ok" in checked.stdout and "FAILED" not in checked.stdout
    mounting = runnable(cluster, pod, projections="web")
    mounting["metadata"]["name"] = "mounting"
    cluster.apply(runnable(cluster, pod), mounting)
    for name, folder, agents in (("shop", "db", 1), ("mounting", "web/db", 0)):
        shop.ready(name)
        listed = cluster.exec(name, "ls", f"{SECRETS}/{folder}", namespace="shop", container="shop").split()
        assert listed == ["password", "username"]
        user, password = (shop.read(name, f"{folder}/{key}", "shop") for key in listed[::-1])
        assert manager.pg_login(user, password)
        assert len(shop.get("pod", name)["spec"].get("initContainers", [])) == agents
        shop.delete(name)
        wait_until("end of the user", lambda u=user: u not in manager.pg_users(), 10)
