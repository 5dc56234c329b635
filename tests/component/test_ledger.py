# SPDX-License-Identifier: Apache-2.0
"""The leader is killed at each step from login to copy: the next one finds whatever was made, and ends it."""

import base64
import itertools
import json

import pytest
from controller import LEDGER, SYSTEM, Controller, projection
from procs import wait_until
from provision import add_database_role

numbers = itertools.count()


@pytest.fixture
def controller(bin_dir, apiserver, manager, tmp_path):
    c = Controller(bin_dir, tmp_path, apiserver, manager, [f"ledger-{next(numbers)}"])
    c.store()
    c.start()
    try:
        yield c.wait_active()
    finally:
        c.kill()


def records(apiserver, namespace):
    """What the ledger says of a namespace's projections."""
    data = apiserver.get(f"/api/v1/namespaces/{SYSTEM}/secrets/{LEDGER}").get("data") or {}
    found = [json.loads(base64.b64decode(v)) for k, v in data.items() if k.startswith("t.")]
    return [r for r in found if r["namespace"] == namespace and r["uid"] != "shared"]


def users_of(manager, role):
    return {u for u in manager.pg_users() if f"-{role}-" in u}


@pytest.mark.parametrize("step", ["login", "recorded", "issued", "copied"])
def test_leader_killed(controller, apiserver, manager, step):
    ns = controller.namespaces[0]
    role = f"g{ns[7:]}x"
    add_database_role(manager.bao, role, "1h", "24h")
    mark = manager.bao.audit_mark()
    seen = {
        "login": lambda: manager.bao.requests(mark)["update", "auth/cluster-jwt/login"],
        "recorded": lambda: records(apiserver, ns),
        "issued": lambda: users_of(manager, role),
        "copied": lambda: controller.data("db", ns),
    }
    apiserver.apply(projection("db", f"database/creds/{role}", ns, overlap="1s"))
    wait_until(f"{step}; {controller.tail()}", seen[step], 30)
    controller.kill()
    controller.start().wait_active()
    controller.wait_condition("db", ns, "True", seconds=30)
    wait_until(
        f"one login, one user; {controller.tail()}",
        lambda: len(users_of(manager, role)) == 1 and len(records(apiserver, ns)) == 1,
        40,
    )
    data = controller.data("db", ns)
    assert manager.pg_login(data["username"], data["password"])
    controller.delete("db", ns)
    wait_until(f"projection gone; {controller.tail()}", lambda: controller.projection("db", ns) is None, 30)
    wait_until("no user", lambda: not users_of(manager, role), 10)
    wait_until("no record", lambda: not records(apiserver, ns), 10)


def test_what_a_dead_leader_left_of_a_deleted_projection(controller, apiserver, manager):
    """It was taken away, finalizer and all, while nobody led."""
    ns = controller.namespaces[0]
    role = f"h{ns[7:]}x"
    add_database_role(manager.bao, role, "1h", "24h")
    apiserver.apply(projection("db", f"database/creds/{role}", ns))
    controller.wait_condition("db", ns, "True")
    controller.kill()
    path = f"/apis/leasehold.dev/v1alpha1/namespaces/{ns}/secretprojections/db"
    apiserver.merge(path, {"metadata": {"finalizers": None}})
    controller.delete("db", ns)
    assert len(records(apiserver, ns)) == 1 and users_of(manager, role)
    controller.start().wait_active()
    wait_until(f"no user; {controller.tail()}", lambda: not users_of(manager, role), 30)
    wait_until("no record", lambda: not records(apiserver, ns), 10)
