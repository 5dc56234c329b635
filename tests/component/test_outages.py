# SPDX-License-Identifier: Apache-2.0
"""A manager that is sealed, gone, restarted, or a cluster that changes its leader."""

import time

import pytest
from procs import wait_until
from provision import add_database_role, put_kv2

CREDENTIALS = "database/creds/outage"


@pytest.fixture
def outage_role(manager):
    add_database_role(manager.bao, "outage", "20s", "10m")


def issued(bao, mark, path=CREDENTIALS):
    return bao.requests(mark)[("read", path)]


@pytest.fixture
def sealed(bao):
    bao.seal()
    yield bao
    if bao.health() == 503:
        bao.unseal()


def test_sealed_at_the_start(workload, sealed):
    workload.items(("app", "kv/app/s1"))
    workload.start().wait_for_reason("Sealed")
    assert workload.alive()
    assert not workload.has("app/username")
    sealed.unseal()
    assert workload.wait_for("app/username", 10) == "user1"


def test_sealed_under_way(workload, manager, outage_role):
    bao = manager.bao
    mark = bao.audit_mark()
    workload.items(("db", CREDENTIALS))
    password = workload.start().wait_for("db/password")
    bao.seal()
    try:
        workload.wait_for_reason("Sealed", 20)  # the renewal at two thirds of 20 s
    finally:
        bao.unseal()
    assert workload.text("db/password") == password
    wait_until("renewal", lambda: bao.requests(mark)[("update", "sys/leases/renew")] >= 1, 15)
    time.sleep(8)  # past the end of the life that began before the seal
    assert workload.text("db/password") == password
    assert manager.pg_login(workload.text("db/username"), password)
    assert issued(bao, mark) == 1


@pytest.mark.parametrize("hard", [False, True])
def test_restarted_under_way(workload, manager, outage_role, hard):
    bao = manager.bao
    mark = bao.audit_mark()
    workload.items(("db", CREDENTIALS), ("app", "kv/app/s1"))
    password = workload.start().wait_for("db/password")
    bao.restart(hard=hard)
    wait_until("renewal", lambda: bao.requests(mark)[("update", "sys/leases/renew")] >= 1, 25)
    time.sleep(3)
    assert workload.text("db/password") == password
    assert manager.pg_login(workload.text("db/username"), password)
    assert issued(bao, mark) == 1
    assert bao.requests(mark)[("update", "auth/jwt/login")] == 1
    assert workload.stop() == 0


def test_gone_at_the_start(workload, bao):
    bao.stop()
    try:
        workload.items(("app", "kv/app/s1"))
        workload.start().wait_for_reason("Unreachable")
        assert workload.alive()
    finally:
        bao.start()
    assert workload.wait_for("app/username", 10) == "user1"


def test_authority_replaced_under_way(workload, bao, tmp_path):
    """A store that knows only the old authority says so, and keeps the files."""
    workload.items(("app", "kv/app/s1"), refresh={"interval": "1s"})
    workload.store(spec={"refresh": {"min": "1s"}})
    workload.start().wait_for("app/username")
    bao.rotate_ca()
    # The connection that is open stays good until it ends: a restart ends it.
    bao.restart()
    workload.wait_for_reason("CertificateInvalid", 20)
    assert workload.text("app/username") == "user1"
    workload.kill()
    workload.store()
    assert workload.once().returncode == 0, workload.log_text()


# -- three raft nodes


def test_standby_serves_what_was_just_logged_in(ha_workload, ha_manager):
    standby = ha_manager.bao.standby_nodes()
    ha_workload.store(nodes=standby)
    ha_workload.items(("app", "kv/app/s1"), ("db", "database/creds/slow1"))
    for _ in range(5):
        assert ha_workload.once().returncode == 0, ha_workload.log_text()


def test_standby_does_not_give_an_older_version(ha_workload, ha_manager):
    """A secret written a moment ago on the active node is not "not found" on a standby after a login there."""
    bao = ha_manager.bao
    ha_workload.store(nodes=bao.standby_nodes()[:1])
    for i in range(10):
        put_kv2(bao, f"app/fresh{i}", {"v": str(i)})
        ha_workload.items(("app", f"kv/app/fresh{i}"))
        assert ha_workload.once().returncode == 0, ha_workload.log_text()
        assert ha_workload.text("app/v") == str(i)


def test_leader_lost_under_way(ha_workload, ha_manager):
    bao = ha_manager.bao
    add_database_role(bao, "outage", "20s", "10m")
    mark = bao.audit_mark()
    leader = bao.active_node()
    ha_workload.store(nodes=(leader, *bao.standby_nodes()))
    ha_workload.items(("db", CREDENTIALS))
    password = ha_workload.start().wait_for("db/password")
    bao.kill(leader)
    try:
        wait_until("renewal", lambda: bao.requests(mark)[("update", "sys/leases/renew")] >= 1, 30)
        time.sleep(3)
        assert ha_workload.text("db/password") == password
        assert ha_manager.pg_login(ha_workload.text("db/username"), password)
        assert issued(bao, mark) == 1
    finally:
        bao.restart(leader)
