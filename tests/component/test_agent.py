# SPDX-License-Identifier: Apache-2.0
"""The agent's promises against the real manager: what peers were measured to do wrong, restarts, what secrets leave."""

import re
import secrets
import subprocess
import time

import pytest
from procs import wait_until
from provision import add_database_role, put_kv2

QUICK_VERIFY = {"verify": "3s"}


def issued(bao, mark, role):
    return bao.requests(mark)[("read", f"database/creds/{role}")]


def users_of(manager, role):
    return [u for u in manager.pg_users() if f"-{role}-" in u]


def through(workload, proxy, **spec):
    workload.store(addresses=[f"https://{proxy.host}:{proxy.port}"], spec=spec)


# -- a renewal that fails is no reason to issue


@pytest.mark.parametrize("status", [403, 500])
def test_failing_renewals_cost_one_credential_a_life(workload, manager, faultproxy, status):
    add_database_role(manager.bao, f"storm{status}", "10s", "1h")
    faultproxy.add("*:sys/leases/renew", "status", status=status)
    through(workload, faultproxy)
    workload.items(("db", f"database/creds/storm{status}"))
    mark = manager.bao.audit_mark()
    workload.start().wait_for("db/password")
    deadline, failed = time.monotonic() + 26, 0
    while time.monotonic() < deadline:
        user, password = workload.text("db/username"), workload.text("db/password")
        if user == workload.text("db/username") and not manager.pg_login(user, password):
            failed += 1
        time.sleep(0.1)
    assert failed == 0
    assert issued(manager.bao, mark, f"storm{status}") in (3, 4)  # each 8.5 s
    assert faultproxy.count("*:sys/leases/renew") < 40
    assert workload.stop() == 0


def test_a_token_that_may_only_read_costs_one_credential_a_life(workload, manager):
    add_database_role(manager.bao, "readonly", "10s", "1h")
    role_id, secret_id = manager.approle("norenew")
    workload.secret("cred", id=secret_id.encode())
    auth = {"appRole": {"mount": "approle", "roleId": role_id, "secretIdRef": {"name": "cred", "key": "id"}}}
    workload.store(auth, spec=QUICK_VERIFY)
    workload.items(("db", "database/creds/readonly"))
    mark = manager.bao.audit_mark()
    workload.start().wait_for("db/password")
    time.sleep(18)
    assert issued(manager.bao, mark, "readonly") in (2, 3)
    requests = manager.bao.requests(mark)
    assert requests[("update", "auth/approle/login")] == 1  # a refusal by policy is no reason to log in
    assert requests[("update", "sys/leases/lookup")] <= 1
    assert workload.stop() == 0


# -- revoked behind our back


def test_a_revoked_lease_is_replaced_once_within_verify(workload, manager):
    add_database_role(manager.bao, "revoked", "1h", "2h")
    workload.store(spec=QUICK_VERIFY)
    workload.items(("db", "database/creds/revoked"))
    mark = manager.bao.audit_mark()
    user = workload.start().wait_for("db/username")
    manager.bao.revoke_prefix("database/creds/revoked")
    again = workload.wait_for_other("db/username", user, 6)
    assert manager.pg_login(again, workload.text("db/password"))
    time.sleep(8)
    assert issued(manager.bao, mark, "revoked") == 2
    assert manager.bao.requests(mark)[("update", "auth/jwt/login")] == 1


def test_a_revoked_token_is_one_login_and_one_credential(workload, manager):
    add_database_role(manager.bao, "orphaned", "1h", "2h")
    workload.store(spec=QUICK_VERIFY)
    workload.items(("db", "database/creds/orphaned"))
    mark = manager.bao.audit_mark()
    user = workload.start().wait_for("db/username")
    manager.bao.revoke_tokens_of("app")
    workload.wait_for_other("db/username", user, 6)
    assert manager.pg_login(workload.text("db/username"), workload.text("db/password"))
    time.sleep(8)
    assert issued(manager.bao, mark, "orphaned") == 2
    assert manager.bao.requests(mark)[("update", "auth/jwt/login")] == 2


# -- answers that are lost


def test_a_lost_answer_is_tried_once_more(workload, manager, faultproxy):
    add_database_role(manager.bao, "lost", "1h", "2h")
    faultproxy.add("*:database/creds/lost", "drop", times=1)
    through(workload, faultproxy)
    workload.items(("db", "database/creds/lost"))
    mark = manager.bao.audit_mark()
    workload.start().wait_for("db/username")
    assert issued(manager.bao, mark, "lost") == 2
    assert len(users_of(manager, "lost")) == 2  # the unknown one hangs on our token ...
    assert workload.stop() == 0
    wait_until("end of both users", lambda: not users_of(manager, "lost"), 5)  # ... and ends with it


def test_answers_that_are_always_lost_leave_nothing_behind(workload, manager, faultproxy):
    add_database_role(manager.bao, "losing", "1h", "2h")
    rule = faultproxy.add("*:database/creds/losing", "cut")
    through(workload, faultproxy)
    workload.items(("db", "database/creds/losing"))
    mark = manager.bao.audit_mark()
    workload.start()
    wait_until("four attempts", lambda: issued(manager.bao, mark, "losing") >= 4, 60)
    assert len(users_of(manager, "losing")) <= 3
    faultproxy.remove(rule)
    workload.wait_for("db/username", 70)
    wait_until("end of what was lost", lambda: len(users_of(manager, "losing")) <= 2, 10)
    assert workload.stop() == 0
    wait_until("end of all", lambda: not users_of(manager, "losing"), 5)


# -- restarts and the end


def test_a_killed_agent_keeps_its_lease(workload, manager):
    add_database_role(manager.bao, "resumed", "6s", "1h")
    workload.items(("db", "database/creds/resumed"), ("kv", "kv/app/s1"))
    mark = manager.bao.audit_mark()
    probe = [*workload.argv()[:1], "ready", *workload.argv()[1:]]
    user = workload.start().wait_for("db/username")
    workload.kill()
    workload.start()
    wait_until("the gate", lambda: subprocess.run(probe, check=False).returncode == 0, 5)
    time.sleep(10)  # past the end of the life that began before the kill
    assert workload.text("db/username") == user
    assert manager.pg_login(user, workload.text("db/password"))
    requests = manager.bao.requests(mark)
    assert requests[("read", "database/creds/resumed")] == 1
    assert requests[("update", "auth/jwt/login")] == 1
    assert workload.stop() == 0
    wait_until("end of the user", lambda: user not in manager.pg_users(), 5)


def test_an_agent_killed_as_its_files_appear_keeps_its_lease(workload, manager):
    """Killed at once when ..data is there, between two system calls of the publication, again and again."""
    add_database_role(manager.bao, "appearing", "1h", "2h")
    data = workload.root / "..data"
    for n in range(1, 16):
        workload.items((f"db{n}", "database/creds/appearing"), ("kv", "kv/app/s1"))
        mark = manager.bao.audit_mark()
        workload.start()
        deadline = time.monotonic() + 10
        while not data.is_symlink():
            assert time.monotonic() < deadline
        workload.kill()
        user = workload.text(f"db{n}/username")
        probe = [*workload.argv()[:1], "ready", *workload.argv()[1:]]
        workload.start()
        wait_until("the gate", lambda: subprocess.run(probe, check=False).returncode == 0, 5)
        assert workload.text(f"db{n}/username") == user
        assert manager.pg_login(user, workload.text(f"db{n}/password"))
        assert issued(manager.bao, mark, "appearing") == 1
        assert workload.stop() == 0
        data.unlink()


def test_sigterm_ends_within_its_limit_while_the_manager_hangs(workload, manager, faultproxy):
    add_database_role(manager.bao, "hanging", "1h", "2h")
    through(workload, faultproxy)
    workload.items(("db", "database/creds/hanging"))
    workload.start().wait_for("db/username")
    faultproxy.add("*:auth/token/revoke-self", "hang")
    begin = time.monotonic()
    assert workload.stop() == 0
    assert time.monotonic() - begin < 2


def test_once_publishes_ends_and_revokes_nothing(workload, manager):
    add_database_role(manager.bao, "initial", "1h", "2h")
    workload.items(("db", "database/creds/initial"))
    assert workload.once().returncode == 0
    assert manager.pg_login(workload.text("db/username"), workload.text("db/password"))


# -- what secrets leave behind


def copies_in(pid, canary):
    """Copies in the writable memory of a process, as a debugger would find them."""
    found = 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            begin, end, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            if not rights.startswith("rw"):
                continue
            try:
                mem.seek(int(begin, 16))
                found += mem.read(int(end, 16) - int(begin, 16)).count(canary)
            except OSError:
                pass  # memfd_secret: nobody else can read it
    return found


def test_no_copy_of_a_secret_but_in_its_file(workload, bao, tmp_path):
    canary = secrets.token_hex(20)
    put_kv2(bao, "app/canary", {"password": canary})
    files = [
        {"path": "raw", "key": "password"},
        {"path": "a.json", "format": "json"},
        {"path": "a.env", "format": "env"},
        {"path": "url", "template": "x://{{ .password | urlquery }}@h"},
    ]
    workload.items({"name": "c", "path": "kv/app/canary", "files": files})
    assert workload.start().wait_for("raw") == canary
    time.sleep(0.5)
    pid = workload._process.pid
    assert copies_in(pid, canary.encode()) == 0
    for name in ("cmdline", "environ", "status"):
        with open(f"/proc/{pid}/{name}", errors="replace") as file:
            assert canary not in file.read()
    for path in (tmp_path / "state").iterdir():
        assert canary.encode() not in path.read_bytes()
    assert workload.stop() == 0
    assert canary not in workload.log_text()
