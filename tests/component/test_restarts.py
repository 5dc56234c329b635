# SPDX-License-Identifier: Apache-2.0
"""Restarts on change and Pods without their secrets, on a real API server. No workload controller runs there: what it
would say of a rollout, a test says."""

import itertools

import pytest
from controller import Controller, projection
from looksafter import LooksAfter
from procs import wait_until
from provision import add_database_role, put_kv2

STAMP, AT = "leasehold.dev/restart-hash", "leasehold.dev/restarted-at"
ONE, TWO, THREE = "00000000000000a1", "00000000000000a2", "00000000000000a3"
RESOURCES = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
AT_REST = {
    "Deployment": {"conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]},
    "StatefulSet": {"replicas": 1, "currentRevision": "a", "updateRevision": "a"},
    "DaemonSet": {
        "desiredNumberScheduled": 1,
        "updatedNumberScheduled": 1,
        "currentNumberScheduled": 1,
        "numberMisscheduled": 0,
        "numberReady": 1,
    },
}
numbers = itertools.count()


@pytest.fixture
def ns(apiserver):
    return apiserver.namespace(f"restarts-{next(numbers)}")


@pytest.fixture
def care(bin_dir, apiserver, ns):
    c = LooksAfter(bin_dir.parent / "tests" / "health_do", apiserver, [ns]).start()
    yield c
    c.kill()


def path_of(kind, name, ns):
    return f"/apis/apps/v1/namespaces/{ns}/{RESOURCES[kind]}/{name}"


def read(apiserver, kind, name, ns):
    return apiserver.get(path_of(kind, name, ns))


def make(apiserver, kind, name, ns):
    labels = {"app": name}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "app", "image": "example.com/app:1"}]},
        },
    }
    if kind == "StatefulSet":
        spec["serviceName"] = name
    apiserver.apply(
        {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": ns}, "spec": spec}
    )
    rest(apiserver, kind, name, ns)


def rest(apiserver, kind, name, ns):
    """Its rollout is over. An annotation alone makes another generation of a Deployment, too."""
    generation = read(apiserver, kind, name, ns)["metadata"]["generation"]
    status = {"observedGeneration": generation, **AT_REST[kind]}
    apiserver.merge(path_of(kind, name, ns) + "/status", {"status": status})


def stamps(apiserver, kind, name, ns):
    """Of the workload and of its template."""
    found = read(apiserver, kind, name, ns)
    template = found["spec"]["template"]["metadata"].get("annotations", {})
    assert (STAMP in template) == (AT in template)
    return found["metadata"].get("annotations", {}).get(STAMP), template.get(STAMP)


def want(care, ns, projection, digest, *workloads, **more):
    on_change = {"restart": [{"kind": k, "name": n} for k, n in workloads]}
    care.send("want", namespace=ns, projection=projection, onChange=on_change, hash=digest, **more)


def events(apiserver, ns, reason):
    found = apiserver.get(f"/apis/events.k8s.io/v1/namespaces/{ns}/events")["items"]
    return [e for e in found if e["reason"] == reason]


def test_all_kinds_are_noted_and_then_restarted(care, apiserver, ns):
    workloads = [(kind, "app") for kind in RESOURCES]
    for kind, name in workloads:
        make(apiserver, kind, name, ns)
    mark = apiserver.audit_mark()
    want(care, ns, "db", ONE, *workloads)
    want(care, ns, "api", ONE, ("Deployment", "app"))
    care.send("start")
    care.wait_condition("db", "True Fresh")
    assert stamps(apiserver, "Deployment", "app", ns) == (f"api={ONE} db={ONE}", None)
    assert stamps(apiserver, "DaemonSet", "app", ns) == (f"db={ONE}", None)
    rest(apiserver, "Deployment", "app", ns)
    generations = {kind: read(apiserver, kind, "app", ns)["metadata"]["generation"] for kind in RESOURCES}
    want(care, ns, "db", TWO, *workloads)
    want(care, ns, "db", THREE, *workloads)
    want(care, ns, "api", TWO, ("Deployment", "app"))
    wait_until(
        f"three restarts; {care.said[-3:]}", lambda: len(events(apiserver, ns, "Fresh")) == 3, 40
    )
    for kind in RESOURCES:
        stamp = f"api={TWO} db={THREE}" if kind == "Deployment" else f"db={THREE}"
        assert stamps(apiserver, kind, "app", ns) == (stamp, stamp)
        assert read(apiserver, kind, "app", ns)["metadata"]["generation"] == generations[kind] + 1
    assert care.condition("db").startswith("True Fresh")
    # Two writes a workload, and nothing but what the chart grants.
    asked = {k: n for k, n in apiserver.requests(mark).items() if k[0] == care.user}
    assert {n for k, n in asked.items() if k[1] == "patch" and k[2] in RESOURCES.values()} == {2}
    assert not [k for k in asked if k[3] >= 400]


def test_a_change_that_came_while_nobody_looked(care, apiserver, ns):
    make(apiserver, "Deployment", "app", ns)
    want(care, ns, "db", ONE, ("Deployment", "app"))
    care.send("start")
    care.wait_condition("db", "True Fresh")
    rest(apiserver, "Deployment", "app", ns)
    assert care.stop() == 0
    care.start()
    want(care, ns, "db", TWO, ("Deployment", "app"))
    care.send("start")
    care.wait_condition("db", 'True Fresh: Deployment "app" was restarted')
    assert stamps(apiserver, "Deployment", "app", ns) == (f"db={TWO}",) * 2
    assert care.stop() == 0
    mark = apiserver.audit_mark()
    care.start()
    want(care, ns, "db", TWO, ("Deployment", "app"))
    care.send("start")
    care.wait_condition("db", "True Fresh")
    asked = apiserver.requests(mark)
    assert asked[care.user, "get", "deployments", 200] == 1
    assert not [k for k in asked if k[:2] == (care.user, "patch")]


def test_a_disruption_budget_and_a_rollout_are_waited_for(care, apiserver, ns):
    make(apiserver, "Deployment", "app", ns)
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "guard", "namespace": ns},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "app"}}},
    }
    apiserver.apply(budget)
    apiserver.merge(path_of("Deployment", "app", ns), {"metadata": {"annotations": {STAMP: f"db={ONE}"}}})
    rest(apiserver, "Deployment", "app", ns)
    want(care, ns, "db", TWO, ("Deployment", "app"))
    care.send("start")
    said = care.wait_condition("db", "False RestartPending: Deployment \"app\" runs with older secrets: a PodDis")
    assert said.endswith(": guard")
    assert stamps(apiserver, "Deployment", "app", ns) == (f"db={ONE}", None)
    status = {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}
    apiserver.merge(f"/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets/guard/status", {"status": status})
    care.wait_condition("db", 'True Fresh: Deployment "app" was restarted')
    # The rollout is under way now, and nobody says that it ended.
    want(care, ns, "db", THREE, ("Deployment", "app"))
    care.wait_condition("db", 'False RestartPending: Deployment "app" runs with older secrets: a rollout')


def test_what_is_missing_is_named(care, apiserver, ns):
    elsewhere = apiserver.namespace(f"{ns}-closed")
    make(apiserver, "Deployment", "app", elsewhere)
    want(care, elsewhere, "closed", ONE, ("Deployment", "app"))
    want(care, ns, "gone", ONE, ("StatefulSet", "nobody"))
    want(care, ns, "leased", "", ("Deployment", "app"), leased=True)
    care.send("start")
    said = care.wait_condition("closed", "False RightsMissing")
    assert f'namespace "{elsewhere}"' in said and "cluster.namespaces" in said
    care.wait_condition("gone", 'False WorkloadNotFound: StatefulSet "nobody"')
    care.wait_condition("leased", "False RestartOnLease")


def pod(name, ns, **annotations):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": ns,
            "annotations": {f"leasehold.dev/{k.replace('_', '.')}": v for k, v in annotations.items()},
        },
        "spec": {
            "containers": [{"name": "app", "image": "example.com/app:1"}],
            "automountServiceAccountToken": False,
        },
    }


def test_pods_without_their_secrets_get_one_event_each(care, apiserver, ns):
    apiserver.apply(
        pod("lost", ns, secret_db="kv/app"),
        pod("lost-volume", ns, projections="db"),
        pod("served", ns, secret_db="kv/app", status="injected"),
        pod("off", ns, secret_db="kv/app", inject="false"),
        pod("plain", ns),
        pod("pending", ns, secret_db="kv/app"),
    )
    for name in ("lost", "lost-volume", "served", "off", "plain"):
        apiserver.merge(f"/api/v1/namespaces/{ns}/pods/{name}/status", {"status": {"phase": "Running"}})
    wait_until("two Events", lambda: len(events(apiserver, ns, "NotInjected")) == 2, 20)
    # Later changes of a Pod tell nothing new; a further Pod comes after them.
    apiserver.merge(f"/api/v1/namespaces/{ns}/pods/lost", {"metadata": {"labels": {"a": "b"}}})
    apiserver.merge(f"/api/v1/namespaces/{ns}/pods/pending/status", {"status": {"phase": "Running"}})
    wait_until("the third", lambda: len(events(apiserver, ns, "NotInjected")) >= 3, 20)
    found = events(apiserver, ns, "NotInjected")
    assert sorted(e["regarding"]["name"] for e in found) == ["lost", "lost-volume", "pending"]
    assert all(e["type"] == "Warning" and "series" not in e for e in found)


@pytest.fixture
def controller(bin_dir, apiserver, manager, ns, tmp_path):
    """The whole controller, leading, in a namespace of its own."""
    c = Controller(bin_dir, tmp_path, apiserver, manager, [ns])
    c.store()
    c.start()
    try:
        yield c.wait_active()
    finally:
        c.kill()


def current(controller, name, ns):
    c = controller.condition(name, ns, "WorkloadsCurrent")
    return f"{c['status']} {c['reason']}" if c else ""


def wait_current(controller, name, ns, want, seconds=40):
    wait_until(f"{want} of {name}; {controller.tail()}", lambda: current(controller, name, ns) == want, seconds)


def test_a_rotated_secret_restarts_its_workload(controller, apiserver, manager, ns):
    make(apiserver, "Deployment", "shop", ns)
    put_kv2(manager.bao, f"app/{ns}", {"password": "one"})
    on_change = {"restart": [{"kind": "Deployment", "name": "shop"}]}
    apiserver.apply(projection("db", f"kv/app/{ns}", ns, onChange=on_change))
    wait_current(controller, "db", ns, "True Fresh")
    noted, template = stamps(apiserver, "Deployment", "shop", ns)
    assert noted.startswith("db=") and template is None
    rest(apiserver, "Deployment", "shop", ns)
    put_kv2(manager.bao, f"app/{ns}", {"password": "two"})
    wait_until(f"a restart; {controller.tail()}", lambda: stamps(apiserver, "Deployment", "shop", ns)[1], 40)
    rest(apiserver, "Deployment", "shop", ns)
    first = stamps(apiserver, "Deployment", "shop", ns)
    assert first[0] == first[1] != noted
    wait_current(controller, "db", ns, "True Fresh")
    assert len(events(apiserver, ns, "Fresh")) == 1
    assert controller.metric("leasehold_restarts_total", kind="Deployment") == 1
    # Another process of the same key comes to the same hash: no restart for its sake.
    assert controller.stop() == 0
    mark = apiserver.audit_mark()
    controller.start().wait_active()
    wait_until(
        f"a look at it; {controller.tail()}",
        lambda: apiserver.requests(mark)[controller.user, "get", "deployments", 200] >= 1,
        20,
    )
    assert stamps(apiserver, "Deployment", "shop", ns) == first
    assert not [k for k in apiserver.requests(mark) if k[:3] == (controller.user, "patch", "deployments")]


def test_leased_credentials_restart_nothing(controller, apiserver, manager, ns):
    role = f"leased-{ns}"
    add_database_role(manager.bao, role, "5s", "10s")
    make(apiserver, "Deployment", "shop", ns)
    on_change = {"restart": [{"kind": "Deployment", "name": "shop"}]}
    apiserver.apply(projection("db", f"database/creds/{role}", ns, onChange=on_change))
    wait_current(controller, "db", ns, "False RestartOnLease")
    assert stamps(apiserver, "Deployment", "shop", ns) == (None, None)
