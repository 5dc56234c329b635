# SPDX-License-Identifier: Apache-2.0
"""Secret copies and restarts by the cluster controller, as Helm installs it for one namespace."""

from procs import wait_until
from product import ACCOUNT, CONTROLLER, NAMESPACE, SERVED, deployment
from provision import put_kv2
from volumes import copy

SHOW = "echo started with $PASSWORD; trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"


def leader(product):
    """Name of the Pod that leads."""
    holder = product.cluster.get("lease", "-n", NAMESPACE, CONTROLLER)["spec"].get("holderIdentity", "")
    pods = product.cluster.get("pods", "-n", NAMESPACE, "-l", f"app.kubernetes.io/name={CONTROLLER}")["items"]
    return next((p["metadata"]["name"] for p in pods if p["metadata"]["name"] in holder), None)


def test_copy_is_issued_rotated_and_undone(product, served, database_role):
    manager = product.manager
    path = database_role("copied", "6s", "15s")
    served.create(copy("db", path, overlap="3s"))
    first = served.wait_data("db", lambda d: "username" in d)
    assert manager.pg_login(first["username"], first["password"])
    served.cluster.wait_for("secretprojection/db", "condition=Ready", SERVED, 30)
    second = served.wait_data("db", lambda d: d.get("username") != first["username"])
    assert manager.pg_login(second["username"], second["password"])
    served.cluster.delete("secretprojection", "-n", SERVED, "db")
    # By its owner reference: Kubernetes' garbage collector is a moment behind.
    wait_until("the Secret gone", lambda: served.data("db") is None, 30)
    wait_until("end of every user", lambda: not [u for u in manager.pg_users() if "-copied-" in u], 15)
    assert manager.bao.leases(path) == []


def test_workload_restarts_when_its_secret_changes(product, served):
    put_kv2(product.manager.bao, "app/restarted", {"password": "before"})
    used = {"secretKeyRef": {"name": "settings", "key": "password"}}
    made = deployment("shop", {}, SHOW)
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "valueFrom": used}]
    restart = {"restart": [{"kind": "Deployment", "name": "shop"}]}
    served.create(copy("settings", "kv/app/restarted", refresh={"interval": "10s"}, onChange=restart))
    served.wait_data("settings", lambda d: d == {"password": "before"})
    served.create(made)
    served.cluster.rollout("deployment/shop", SERVED)
    assert "started with before" in served.logs("deployment/shop")
    put_kv2(product.manager.bao, "app/restarted", {"password": "after"})
    served.wait_data("settings", lambda d: d == {"password": "after"})
    served.cluster.wait(
        "the Deployment's restart", lambda: "started with after" in served.logs("deployment/shop"), 90
    )
    stamped = served.get("deployment", "shop")["spec"]["template"]["metadata"]["annotations"]
    assert "leasehold.dev/restarted-at" in stamped


def test_killed_leader_hands_over(product, served):
    put_kv2(product.manager.bao, "app/led", {"password": "before"})
    served.create(copy("led", "kv/app/led", refresh={"interval": "10s"}))
    served.wait_data("led", lambda d: d == {"password": "before"})
    before = leader(product)
    uid = served.get("secret", "led")["metadata"]["uid"]
    product.cluster.delete("pod", "-n", NAMESPACE, before, "--grace-period=0", "--force", wait=False)
    product.cluster.wait("another leader", lambda: leader(product) not in (None, before), 60)
    put_kv2(product.manager.bao, "app/led", {"password": "after"})
    served.wait_data("led", lambda d: d == {"password": "after"}, 60)
    assert served.get("secret", "led")["metadata"]["uid"] == uid
    product.cluster.rollout(f"deployment/{CONTROLLER}", NAMESPACE)
