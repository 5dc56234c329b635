# SPDX-License-Identifier: Apache-2.0
"""The injected Pod, in a namespace that enforces Pod Security `restricted`."""

import itertools

from procs import wait_until
from product import AGENT, LOGIN, RENEW, SECRETS, application, deployment, job, pod

def test_deployment_with_kv_and_database_secrets(product, tenant, database_role):
    path = database_role("deployed")
    annotations = {
        "secret.db": path,
        "secret.user": f"{path}#username",
        "secret.pass": f"{path}#password",
        "secret.settings": "kv/app/s1",
    }
    mark = product.manager.bao.audit_mark()
    show = "cat db/username; echo; cat user; echo; cat settings/username"
    tenant.create(deployment("shop", annotations, application(show), replicas=2))
    product.cluster.rollout("deployment/shop", tenant.name)
    pods = [p["metadata"]["name"] for p in tenant.get("pods", "-l", "app=shop")["items"]]
    assert len(pods) == 2

    paths = ["db/username", "db/password", "user", "pass"]
    users = {}
    for name in pods:
        user, password, same_user, same_password = tenant.read_together(name, *paths)
        assert (user, password) == (same_user, same_password)
        assert product.manager.pg_login(user, password)
        users[name] = user
        wanted = product.manager.bao.api("GET", "kv/data/app/s1").data["data"]
        assert tenant.read(name, "settings/username") == wanted["username"]
        assert tenant.read(name, "settings/password") == wanted["password"]
    assert users[pods[0]] != users[pods[1]], "one database user per Pod"
    assert tenant.requests(mark)["read", path] == 2, "two annotations on one path, one credential"

    def rotated():
        user, password, same_user, same_password = tenant.read_together(pods[0], *paths)
        assert (user, password) == (same_user, same_password)
        return user != users[pods[0]]

    product.cluster.wait("rotation", rotated, 40)


def test_application_starts_after_its_files(product, tenant, database_role):
    tenant.create(pod("shop", {"secret.db": database_role("gate", "1h", "2h")}))
    tenant.ready("shop")
    user, password = tenant.credential("shop")
    assert tenant.told("shop") == [user]
    assert product.manager.pg_login(user, password)
    assert tenant.status("shop", "app")["restartCount"] == 0
    listed = product.cluster.exec("shop", "ls", "-l", f"{SECRETS}/db/", namespace=tenant.name, container="app")
    assert [row.split()[0] for row in listed.splitlines()[1:]] == ["-r--r-----"] * 2
    done = product.cluster.kubectl(
        "exec", "-n", tenant.name, "shop", "-c", "app", "--", "touch", f"{SECRETS}/mine", check=False
    )
    assert "Read-only file system" in done.stderr


def test_agent_has_no_token_of_the_api_server(product, tenant, database_role):
    original = pod("shop", {"secret.db": database_role("tokenless", "1h", "2h")})
    original["spec"]["automountServiceAccountToken"] = True
    tenant.create(original)
    tenant.ready("shop")
    spec = tenant.get("pod", "shop")["spec"]
    mounts = {c["name"]: [m["name"] for m in c["volumeMounts"]] for c in spec["initContainers"] + spec["containers"]}
    assert any(m.startswith("kube-api-access") for m in mounts["app"]), "the application's is left alone"
    assert not any(m.startswith("kube-api-access") for m in mounts[AGENT])


def test_rotation_is_told_and_served(product, tenant, database_role):
    annotations = {"secret.db": database_role("rotated"), "overlap": "3s", "on-change": "signal:HUP@sh"}
    tenant.create(pod("shop", annotations))
    tenant.ready("shop")
    first = tenant.credential("shop")
    product.cluster.wait("the application to be told", lambda: len(tenant.told("shop")) == 2, 40)
    second = tenant.credential("shop")
    assert second[0] != first[0]
    assert tenant.told("shop") == [first[0], second[0]]
    assert product.manager.pg_login(*second)
    product.cluster.wait("the old user's end", lambda: not product.manager.pg_login(*first), 20)
    assert tenant.status("shop", "app")["restartCount"] == 0


def test_deleted_pod_takes_its_user_along(product, tenant, database_role):
    tenant.create(pod("shop", {"secret.db": database_role("deleted", "1h", "2h")}))
    tenant.ready("shop")
    user, _ = tenant.credential("shop")
    assert user in product.manager.pg_users()
    tenant.delete("shop")
    wait_until("end of the user", lambda: user not in product.manager.pg_users(), 5)
    assert product.manager.bao.leases("database/creds/deleted") == []


def test_deleted_pod_that_uses_up_its_grace(product, tenant, database_role):
    script = f"echo started; trap 'echo ending; cat {SECRETS}/db/username' TERM; while :; do sleep 3600 & wait $!; done"
    annotations = {"secret.db": database_role("graceful", "1h", "2h")}
    tenant.create(pod("shop", annotations, script, terminationGracePeriodSeconds=4))
    tenant.ready("shop")
    user, password = tenant.credential("shop")
    tenant.delete("shop")
    product.cluster.wait("TERM", lambda: "ending" in tenant.logs("shop"), 10)
    assert product.manager.pg_login(user, password), "the application still needs its user"
    product.cluster.wait("the application's end", lambda: tenant.gone("shop"), 20)
    wait_until("end of the user", lambda: user not in product.manager.pg_users(), 5)


def test_killed_agent_goes_on_with_the_same_leases(product, tenant, database_role):
    path = database_role("killed", "12s", "10m")
    tenant.create(pod("shop", {"secret.db": path, "secret.settings": "kv/app/s1"}))
    tenant.ready("shop")
    before = tenant.credential("shop")
    mark = product.manager.bao.audit_mark()
    product.cluster.kill_container("shop", AGENT, tenant.name)

    def started():
        status = tenant.status("shop", AGENT)
        return status["restartCount"] == 1 and status["started"]

    product.cluster.wait("the agent's return", started, 60)
    since = product.manager.bao.audit_mark()
    product.cluster.wait("a renewal", lambda: RENEW in tenant.requests(since), 20)
    assert tenant.credential("shop") == before
    assert product.manager.pg_login(*before)
    asked = tenant.requests(mark)
    assert ("read", path) not in asked and LOGIN not in asked, asked
    assert tenant.status("shop", "app")["restartCount"] == 0


def test_job_completes(product, tenant, database_role):
    script = f"echo ran as $(cat {SECRETS}/db/username)"
    tenant.create(job("report", {"secret.db": database_role("job", "1h", "2h")}, script))
    product.cluster.wait_for("job/report", "condition=Complete", tenant.name, 60)
    (name,) = [p["metadata"]["name"] for p in tenant.get("pods", "-l", "job-name=report")["items"]]
    user = tenant.logs(name).strip().rpartition(" ")[2]
    assert user.startswith("v-")
    wait_until("end of the user", lambda: user not in product.manager.pg_users(), 5)


def test_init_agent_ends_before_the_application(product, tenant):
    tenant.create(pod("shop", {"secret.settings": "kv/app/s2", "agent": "init"}, application("cat settings/username")))
    tenant.ready("shop")
    assert tenant.told("shop") == ["user2"]
    assert tenant.status("shop", AGENT)["state"]["terminated"]["exitCode"] == 0


def test_no_secret_outside_memory(product, tenant, database_role):
    tenant.create(pod("shop", {"secret.db": database_role("hidden", "1h", "2h")}))
    tenant.ready("shop")
    _, password = tenant.credential("shop")
    assert tenant.get("secrets")["items"] == []
    everything = product.cluster.kubectl("get", "pods,events,configmaps", "-n", tenant.name, "-o", "yaml").stdout
    everything += tenant.logs("shop", AGENT)
    assert password not in everything
    wanted = password.encode()
    folders = [product.cluster.folder / "etcd", product.cluster.folder / "a" / "pods"]
    for file in itertools.chain.from_iterable(f.rglob("*") for f in folders):
        assert not file.is_file() or wanted not in file.read_bytes(), file
    filesystems = product.cluster.exec("shop", "cat", "/proc/mounts", namespace=tenant.name, container="app")
    assert f"tmpfs {SECRETS} tmpfs ro" in filesystems


def test_switched_off_by_annotation(product, tenant):
    tenant.create(pod("shop", {"secret.db": "kv/app/s1", "inject": "false"}, "exec sleep 3600"))
    assert "initContainers" not in tenant.get("pod", "shop")["spec"]
