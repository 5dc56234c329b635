# SPDX-License-Identifier: Apache-2.0
"""Each kind of secret, at a real OpenBao with a real database behind it."""

import subprocess
import time

import pytest
from procs import wait_until
from provision import add_database_role, put_kv2


def count(bao, mark, path):
    return sum(n for (_, p), n in bao.requests(mark).items() if p == path)


def test_kv2_is_read_with_and_without_data(workload, bao):
    mark = bao.audit_mark()
    workload.items(("short", "kv/app/s1"), ("long", "kv/data/app/s2"))
    assert workload.once().returncode == 0, workload.log_text()
    assert workload.text("short/username") == "user1"
    assert workload.text("long/username") == "user2"
    lookups = [p for _, p in bao.requests(mark) if p.startswith("sys/internal/ui/mounts/")]
    assert len(lookups) <= 1


def test_kv2_of_one_version(workload, bao):
    put_kv2(bao, "app/versions", {"v": "one"})
    put_kv2(bao, "app/versions", {"v": "two"})
    workload.items(
        {"name": "old", "path": "kv/app/versions", "version": 1}, {"name": "new", "path": "kv/app/versions"}
    )
    assert workload.once().returncode == 0, workload.log_text()
    assert (workload.text("old/v"), workload.text("new/v")) == ("one", "two")


def test_kv2_that_the_store_does_not_list(workload):
    workload.store(kv2Mounts=["secret"])
    workload.items(("app", "kv/app/s1"))
    assert workload.once().returncode == 0, workload.log_text()
    assert workload.text("app/username") == "user1"


def test_kv2_that_changes(workload, bao):
    put_kv2(bao, "app/changing", {"v": "one"})
    workload.store(spec={"refresh": {"min": "1s"}})
    workload.items(("app", "kv/app/changing"), refresh={"interval": "1s"})
    assert workload.start().wait_for("app/v") == "one"
    put_kv2(bao, "app/changing", {"v": "two"})
    assert workload.wait_for_other("app/v", "one", 10) == "two"
    assert workload.stop() == 0


def test_kv1(workload):
    workload.items(("app", "kv1/app/s1"))
    assert workload.once().returncode == 0, workload.log_text()
    assert workload.text("app/password") == "p"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("kv/app/none", "PathNotFound"),
        ("kv1/app/none", "PathNotFound"),
        ("kv/other/x", "PermissionDenied"),
        ("nowhere/x", "PermissionDenied"),
        ("database/creds/none", "PathNotFound"),
    ],
)
def test_what_is_missing_is_waited_for(workload, path, reason):
    workload.items(("app", path))
    workload.start().wait_for_reason(reason)
    assert workload.alive()


def test_a_deleted_version_is_told_from_a_missing_one(workload, bao):
    put_kv2(bao, "app/deleted", {"v": "one"})
    bao.api("DELETE", "kv/data/app/deleted")
    workload.items(("app", "kv/app/deleted"))
    workload.start().wait_for_reason("SecretDeleted")
    put_kv2(bao, "app/deleted", {"v": "two"})
    assert workload.wait_for("app/v") == "two"


def test_database_user_lives_as_long_as_we_do(workload, manager):
    mark = manager.bao.audit_mark()
    workload.items(("db", "database/creds/slow1"))
    password = workload.start().wait_for("db/password")
    user = workload.text("db/username")
    assert manager.pg_login(user, password)
    assert workload.stop() == 0
    wait_until("end of the database user", lambda: user not in manager.pg_users(), 5)
    assert count(manager.bao, mark, "database/creds/slow1") == 1


def test_two_names_for_one_path_are_one_credential(workload, bao):
    mark = bao.audit_mark()
    workload.items(("a", "database/creds/slow2"), ("b", "database/creds/slow2"))
    assert workload.once().returncode == 0, workload.log_text()
    assert workload.text("a/password") == workload.text("b/password")
    assert count(bao, mark, "database/creds/slow2") == 1


def test_database_user_is_renewed_then_replaced(workload, manager):
    add_database_role(manager.bao, "brief", "3s", "8s")
    mark = manager.bao.audit_mark()
    workload.items(("db", "database/creds/brief"), overlap="2s")
    first = workload.start().wait_for("db/username")
    # At every moment the files hold a user that the database takes.
    failed, replaced, end = 0, None, time.monotonic() + 20
    while time.monotonic() < end:
        user, password = workload.text("db/username"), workload.text("db/password")
        if user != workload.text("db/username"):
            continue  # the set was swapped between the two reads
        if not manager.pg_login(user, password):
            failed += 1
        if user != first and replaced is None:
            replaced = time.monotonic()
        time.sleep(0.1)
    assert failed == 0
    assert replaced is not None
    assert workload.stop() == 0
    issued = count(manager.bao, mark, "database/creds/brief")
    assert 3 <= issued <= 4  # 20 s of lives of at most 8 s
    assert count(manager.bao, mark, "sys/leases/renew") >= issued


def test_static_role_follows_each_rotation(workload, manager):
    workload.items(("db", "database/static-creds/static1"))
    first = workload.start().wait_for("db/password")
    second = workload.wait_for_other("db/password", first, 25)
    assert manager.pg_login("static1", second)
    third = workload.wait_for_other("db/password", second, 15)
    assert manager.pg_login("static1", third)


def test_pki_issues_by_params(workload):
    workload.items({"name": "tls", "path": "pki/issue/web", "params": {"common_name": "shop.example.test"}})
    assert workload.once().returncode == 0, workload.log_text()
    subject = subprocess.run(
        ["openssl", "x509", "-noout", "-subject", "-ext", "subjectAltName"],
        input=workload.text("tls/certificate"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "shop.example.test" in subject
    assert workload.text("tls/private_key").startswith("-----BEGIN EC PRIVATE KEY-----")


def test_pki_signs_our_request(workload, tmp_path):
    subprocess.run(
        [*("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj")]
        + ["/CN=csr.example.test", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "csr")],
        check=True,
        capture_output=True,
    )
    params = {"csr": (tmp_path / "csr").read_text(), "common_name": "csr.example.test"}
    workload.items({"name": "tls", "path": "pki/sign/web", "params": params})
    assert workload.once().returncode == 0, workload.log_text()
    assert workload.text("tls/certificate").startswith("-----BEGIN CERTIFICATE-----")
    assert not workload.has("tls/private_key")


def test_a_certificate_is_replaced_at_two_thirds_of_its_life(workload):
    # A life below a minute is taken for a clock that differs.
    params = {"common_name": "brief.example.test", "ttl": "61s"}
    workload.items({"name": "tls", "path": "pki/issue/web", "params": params})
    first = workload.start().wait_for("tls/serial_number")
    workload.wait_for_other("tls/serial_number", first, 50)


def test_ten_secrets_are_twelve_requests(workload, bao):
    """A login, one mount look-up, ten reads: nothing is renewed or looked up at the start."""
    mark = bao.audit_mark()
    kv = [(f"kv{i}", f"kv/app/s{i}") for i in range(1, 6)]
    database = [(f"db{i}", f"database/creds/slow{i}") for i in range(1, 6)]
    workload.items(*kv, *database)
    workload.start().wait_for("db5/password")
    wait_until("requests in the log", lambda: sum(bao.requests(mark).values()) >= 12, 5)
    assert sum(bao.requests(mark).values()) == 12, bao.requests(mark)
