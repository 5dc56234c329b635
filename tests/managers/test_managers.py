# SPDX-License-Identifier: Apache-2.0
"""Proves the bed itself: what other tests take for granted."""

import http.client
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import pytest
from managers import Manager
from procs import Process, Work, start_time, wait_until

HERE = pathlib.Path(__file__).resolve().parent


def ask(proxy, manager, method, path, token=None, timeout=10):
    """Status and body through a proxy."""
    context = ssl.create_default_context(cafile=manager.bao.ca)
    connection = http.client.HTTPSConnection(proxy.host, proxy.port, context=context, timeout=timeout)
    try:
        connection.request(method, f"/v1/{path}", headers={"X-Vault-Token": token or manager.bao.root_token})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


# -- secrets and logins


def test_kv_of_both_versions(bao):
    assert bao.api("GET", "kv/data/app/s1").data["data"]["username"] == "user1"
    assert bao.api("GET", "kv1/app/s1").data["username"] == "u"


def test_approle_login_may_read_and_not_administrate(manager):
    token = manager.login_approle()["client_token"]
    assert manager.bao.api("GET", "kv/data/app/s1", token=token).status == 200
    assert manager.bao.api("GET", "sys/auth", token=token, check=False).status == 403


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_jwt_login_with_a_token_of_our_issuer(manager, alg):
    jwt = manager.issuer.token("shop", "shop", alg=alg)
    auth = manager.login_jwt("shop-shop", jwt)
    assert "app" in auth["token_policies"]


@pytest.mark.parametrize(
    "claims",
    [
        {"namespace": "other", "service_account": "shop"},
        {"namespace": "shop", "service_account": "shop", "audience": "else"},
        {"namespace": "shop", "service_account": "shop", "ttl": -600},
    ],
    ids=["other namespace", "other audience", "expired"],
)
def test_jwt_login_refused(manager, claims):
    body = {"role": "shop-shop", "jwt": manager.issuer.token(**claims)}
    assert manager.bao.api("POST", "auth/jwt/login", body, token="", check=False).status == 400


def test_cert_login(manager):
    cert, key = manager.client_certificate
    context = ssl.create_default_context(cafile=manager.bao.ca)
    context.load_cert_chain(cert, key)
    connection = http.client.HTTPSConnection(manager.bao.host, manager.bao.port(), context=context, timeout=10)
    connection.request("POST", "/v1/auth/cert/login", '{"name":"app"}')
    assert connection.getresponse().status == 200
    connection.close()


def test_namespace(manager):
    auth = manager.login_jwt("app", namespace="team-a")
    answer = manager.bao.api("GET", "kv/data/app/s1", token=auth["client_token"], namespace="team-a")
    assert answer.data["data"]["namespace"] == "team-a"


def test_certificate_is_issued(bao):
    data = bao.api("POST", "pki/issue/web", {"common_name": "a.example.test"}).data
    assert data["certificate"].startswith("-----BEGIN CERTIFICATE-----")


# -- database


def test_dynamic_user_lives_as_long_as_its_lease(manager):
    answer = manager.bao.api("GET", "database/creds/slow1")
    user, password = answer.data["username"], answer.data["password"]
    assert manager.pg_login(user, password)
    assert not manager.pg_login(user, password + "x")
    assert user in manager.pg_users()
    assert answer.json["lease_id"] in manager.bao.leases("database/creds/slow1")

    manager.bao.revoke_lease(answer.json["lease_id"])
    assert user not in manager.pg_users()
    assert not manager.pg_login(user, password)


def test_token_takes_its_users_along(manager):
    token = manager.login_approle()["client_token"]
    user = manager.bao.api("GET", "database/creds/slow2", token=token).data["username"]
    assert user in manager.pg_users()
    assert manager.bao.revoke_tokens_of("agent") >= 1
    wait_until("end of the user", lambda: user not in manager.pg_users(), 10)
    assert manager.bao.api("GET", "auth/token/lookup-self", token=token, check=False).status == 403


def test_revoke_prefix(manager):
    users = {manager.bao.api("GET", "database/creds/mid1").data["username"] for _ in range(2)}
    manager.bao.revoke_prefix("database/creds/mid1")
    assert not users & manager.pg_users()


def test_static_role_rotates(manager):
    def read():
        return manager.bao.api("GET", "database/static-creds/static1").data

    before = read()
    assert manager.pg_login(before["username"], before["password"])
    after = wait_until("rotation", lambda: d if (d := read())["password"] != before["password"] else None, 15)
    assert manager.pg_login(after["username"], after["password"])
    assert not manager.pg_login(before["username"], before["password"])


def test_norenew_token_cannot_renew(manager):
    token = manager.login_approle("norenew")["client_token"]
    lease = manager.bao.api("GET", "database/creds/slow3", token=token).json["lease_id"]
    answer = manager.bao.api("PUT", "sys/leases/renew", {"lease_id": lease}, token=token, check=False)
    assert answer.status == 403
    manager.bao.revoke_token(token)


# -- audit


def test_audit_counts_requests_of_others_than_root(manager):
    mark = manager.bao.audit_mark()
    token = manager.login_approle()["client_token"]
    for _ in range(3):
        manager.bao.api("GET", "kv/data/app/s2", token=token)
    manager.bao.api("GET", "kv/data/app/s2")
    counts = manager.bao.requests(mark)
    assert counts["read", "kv/data/app/s2"] == 3
    assert counts["update", "auth/approle/login"] == 1
    assert manager.bao.requests(mark, root=True)["read", "kv/data/app/s2"] == 4


# -- faults of the server


def test_seal_and_unseal(bao):
    bao.seal()
    assert bao.api("GET", "kv/data/app/s1", check=False).status == 503
    bao.unseal()
    wait_until("active server", lambda: bao.health() == 200)
    assert bao.api("GET", "kv/data/app/s1").status == 200


@pytest.mark.parametrize("hard", [False, True], ids=["stop", "kill"])
def test_restart_keeps_address_and_data(bao, hard):
    before, pid = bao.address(), bao.pid()
    bao.restart(hard=hard)
    assert (bao.address(), bao.pid() != pid) == (before, True)
    assert bao.api("GET", "kv/data/app/s1").status == 200


def test_database_restarts(postgres):
    before = postgres.port
    postgres.restart()
    assert postgres.port == before
    assert postgres.query("select 1") == [(1,)]


def test_three_nodes(ha_manager):
    bao = ha_manager.bao
    active = bao.active_node()
    standbys = wait_until("two standbys", lambda: s if len(s := bao.standby_nodes()) == 2 else None)
    assert bao.api("GET", "kv/data/app/s1", node=standbys[0]).status == 200

    bao.kill(active)
    wait_until("another active node", lambda: any(bao.health(n) == 200 for n in standbys), 60)
    bao.restart(active)
    wait_until("three nodes", lambda: len(bao.standby_nodes()) == 2, 60)


def test_authority_is_replaced(ha_manager):
    bao = ha_manager.bao
    old = bao.ca.read_text()
    bao.rotate_ca()
    assert bao.ca.read_text() != old
    assert bao.api("GET", "kv/data/app/s1", node=bao.active_node()).status == 200
    context = ssl.create_default_context(cadata=old)
    plain = socket.create_connection((bao.host, bao.port()), 5)
    with pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(plain, server_hostname=bao.host)
    plain.close()


# -- fault proxy

KV = "kv/data/app/s1"


def test_proxy_forwards_and_counts(manager, faultproxy):
    assert ask(faultproxy, manager, "GET", KV)[0] == 200
    assert faultproxy.count(f"GET:{KV}") == 1
    assert faultproxy.counts()["GET", KV] == 1


def test_proxy_answers_a_status_as_often_as_told(manager, faultproxy):
    faultproxy.add("GET:kv/", "status", status=503, body=b'{"errors":["x"]}', times=1)
    assert ask(faultproxy, manager, "GET", KV) == (503, b'{"errors":["x"]}')
    assert ask(faultproxy, manager, "GET", KV)[0] == 200


def test_proxy_rules_go_by_method_and_path(manager, faultproxy):
    rule = faultproxy.add("PUT:kv/", "status")
    assert ask(faultproxy, manager, "GET", KV)[0] == 200
    faultproxy.remove(rule)
    faultproxy.add("*:", "html", status=502)
    status, body = ask(faultproxy, manager, "GET", KV)
    assert (status, body[:6]) == (502, b"<html>")


def test_proxy_delays(manager, faultproxy):
    faultproxy.add("*:", "delay", seconds=0.3)
    started = time.monotonic()
    assert ask(faultproxy, manager, "GET", KV)[0] == 200
    assert time.monotonic() - started >= 0.3


def test_proxy_cuts_the_body(manager, faultproxy):
    faultproxy.add("*:", "cut")
    with pytest.raises(http.client.IncompleteRead):
        ask(faultproxy, manager, "GET", KV)


def test_proxy_trickles(manager, faultproxy):
    faultproxy.add("*:", "trickle", seconds=0.001)
    status, body = ask(faultproxy, manager, "GET", KV)
    assert status == 200
    assert b"user1" in body


@pytest.mark.parametrize("action", ["drop", "reset"])
def test_proxy_gives_no_answer(manager, faultproxy, action):
    mark = manager.bao.audit_mark()
    faultproxy.add("GET:database/creds/slow4", action)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError)):
        ask(faultproxy, manager, "GET", "database/creds/slow4")
    issued = manager.bao.requests(mark, root=True)["read", "database/creds/slow4"]
    assert issued == (1 if action == "drop" else 0)
    manager.bao.revoke_prefix("database/creds/slow4")


def test_proxy_hangs(manager, faultproxy):
    faultproxy.add("*:", "hang")
    with pytest.raises(TimeoutError):
        ask(faultproxy, manager, "GET", KV, timeout=0.3)


def test_proxy_body_has_no_end(manager, faultproxy):
    faultproxy.add("*:", "endless")
    context = ssl.create_default_context(cafile=manager.bao.ca)
    connection = http.client.HTTPSConnection(faultproxy.host, faultproxy.port, context=context, timeout=10)
    connection.request("GET", f"/v1/{KV}")
    assert len(connection.getresponse().read(5 << 20)) == 5 << 20
    connection.close()


def test_proxy_is_told_by_a_file(manager, tmp_path):
    tls = manager.folder / "tls"
    argv = [sys.executable, "-m", "faultproxy", "--upstream", f"{manager.bao.host}:{manager.bao.port()}"]
    argv += ["--ca", manager.bao.ca, "--cert", tls / "server.pem", "--key", tls / "server.key"]
    argv += ["--rules", tmp_path / "rules", "--log", tmp_path / "log", "GET:kv1/:418"]
    with subprocess.Popen(argv, cwd=HERE, stdout=subprocess.PIPE, text=True) as child:
        try:

            class Proxy:
                host = "127.0.0.1"
                port = int(child.stdout.readline().rpartition(":")[2])

            assert ask(Proxy, manager, "GET", "kv1/app/s1")[0] == 418
            assert ask(Proxy, manager, "GET", KV)[0] == 200
            (tmp_path / "rules").write_text(f"GET:{KV}:507\n")
            wait_until("new rule", lambda: ask(Proxy, manager, "GET", KV)[0] == 507, 5)
        finally:
            child.kill()
    assert '"path": "kv1/app/s1"' in (tmp_path / "log").read_text()


# -- nothing is left behind


@pytest.fixture
def scratch():
    """A folder that PostgreSQL's user may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory(prefix="leasehold-test-") as path:
        path = pathlib.Path(path)
        path.chmod(0o711)
        yield path


def run_bed(scratch, *argv):
    return subprocess.run(
        [sys.executable, "-m", "managers", *argv, "--dir", scratch / "bed"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )


def test_command_line(scratch):
    done = run_bed(scratch, "up", "--ttl", "6s", "--max-ttl", "15s", "--transit")
    assert done.returncode == 0, done.stderr
    values = dict(line.split("=", 1) for line in done.stdout.splitlines())
    pid = int(values["LH_BAO_PID"])
    assert start_time(pid) is not None
    assert pathlib.Path(values["LH_ROLE_ID_FILE"]).stat().st_mode & 0o077 == 0
    assert run_bed(scratch, "env").stdout == done.stdout
    assert run_bed(scratch, "up").returncode != 0  # a bed that runs is not started twice
    assert start_time(pid) is not None

    for _ in range(2):
        assert run_bed(scratch, "down").returncode == 0
        assert start_time(pid) is None
        assert not (scratch / "bed").exists()


def test_nothing_is_left_of_a_killed_run(scratch):
    code = (
        "import sys; from managers import Manager; m = Manager(sys.argv[1]).start(); print('up', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, scratch / "bed"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"up\n"
        processes = [Process(r) for r in (scratch / "bed" / "pids").iterdir()]
        assert len(processes) == 2
        assert all(p.alive() for p in processes)
        child.kill()
    wait_until("end of the servers", lambda: not any(p.alive() for p in processes), 20)
    wait_until("end of the folder", lambda: not (scratch / "bed").exists(), 20)


def test_nothing_is_left_of_a_failed_start(scratch):
    with pytest.raises(Exception, match="invalid"):
        Manager(scratch / "bed", shop_ttl="nonsense").start()
    assert not (scratch / "bed").exists()


def test_a_foreign_folder_is_not_touched(scratch):
    (scratch / "precious").touch()
    with pytest.raises(Exception, match="another folder"):
        Work(scratch)
    assert (scratch / "precious").exists()


def test_a_foreign_process_is_not_ended(scratch):
    work = Work(scratch / "work")
    (work.path / "pids" / "other").write_text(f"{os.getpid()} 1 {int(signal.SIGKILL)}")
    work.end()
    assert not work.path.exists()
