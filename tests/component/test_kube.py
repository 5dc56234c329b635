# SPDX-License-Identifier: Apache-2.0
"""lib/kube on a real API server: what the fake one of the unit tests takes for granted, and two processes in one
election."""

import json
import queue
import signal
import subprocess
import threading
import time

import pytest
from apiserver import ApiServer, rule
from procs import wait_until

FINALIZER = "leasehold.dev/undo"
MAPS = "/api/v1/namespaces/kube-lib/configmaps"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-lib/leases"
EVENTS = "/apis/events.k8s.io/v1/namespaces/kube-lib/events"
DEFAULT_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


class Do:
    """tests/programs/kube_do.c: commands in, what comes of them out."""

    def __init__(self, program, kubeconfig):
        self.process = subprocess.Popen(
            [program, kubeconfig], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))

    def send(self, verb, **fields):
        self.process.stdin.write(json.dumps({"do": verb, **fields}) + "\n")

    def next(self, timeout=30):
        return self.lines.get(timeout=timeout)

    def quiet(self):
        return self.lines.empty()

    def ask(self, verb, **fields):
        """The answer: ("OK", object), or (code, error)."""
        self.send(verb, **fields)
        got = self.next()
        if got["what"] == "error":
            return got["error"]["code"], got["error"]
        return "OK", got.get("object")

    def leads(self):
        self.send("term")
        got = self.next()
        assert got["what"] == "term"
        return got["term"]

    def signal(self, number):
        self.process.send_signal(number)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()


@pytest.fixture(scope="module")
def server(apiserver):
    apiserver.namespace("kube-lib")
    return apiserver


@pytest.fixture(scope="module")
def own_server():
    """For tests that stop it."""
    with ApiServer(crds=False) as own:
        own.namespace("gap")
        yield own


@pytest.fixture
def start(bin_dir):
    """start(kubeconfig): another process."""
    made = []

    def one(kubeconfig):
        made.append(Do(bin_dir.parent / "tests" / "kube_do", str(kubeconfig)))
        return made[-1]

    yield one
    for process in made:
        process.close()


@pytest.fixture
def do(start, server):
    return start(server.admin_kubeconfig)


@pytest.fixture
def name(request, server):
    """A name of this test alone; a ConfigMap that was left under it goes."""
    made = "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
    yield made
    if server.get(f"{MAPS}/{made}"):
        server.merge(f"{MAPS}/{made}", {"metadata": {"finalizers": None}})
        server.call("DELETE", f"{MAPS}/{made}", check=False)


def place(name, resource="configmaps", **more):
    return {"group": "", "version": "v1", "resource": resource, "namespace": "kube-lib", "name": name} | more


def config_map(name, data, **metadata):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name} | metadata, "data": data}


def patch(**values):
    """A JSON patch of data that tests what was there."""
    return [
        step
        for key, (old, new) in values.items()
        for step in (
            {"op": "test", "path": f"/data/{key}", "value": old},
            {"op": "replace", "path": f"/data/{key}", "value": new},
        )
    ]


# -- writes


def test_apply_creates_changes_and_writes_nothing_twice(do, server, name):
    code, made = do.ask("apply", **place(name), manager="leasehold", object=config_map(name, {"a": "1", "b": "1"}))
    assert (code, made["data"]) == ("OK", {"a": "1", "b": "1"})
    _, again = do.ask("apply", **place(name), manager="leasehold", object=config_map(name, {"a": "1", "b": "1"}))
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    _, less = do.ask("apply", **place(name), manager="leasehold", object=config_map(name, {"a": "2"}))
    assert less["data"] == {"a": "2"}


def test_apply_conflicts_unless_forced(do, server, name):
    server.call("POST", MAPS + "?fieldManager=user", config_map(name, {"a": "1"}))
    code, error = do.ask("apply", **place(name), manager="leasehold", object=config_map(name, {"a": "2"}))
    assert (code, error["status"]) == ("Conflict", 409)
    assert server.get(f"{MAPS}/{name}")["data"] == {"a": "1"}
    code, made = do.ask("apply", **place(name), manager="leasehold", force=True, object=config_map(name, {"a": "2"}))
    assert (code, made["data"]) == ("OK", {"a": "2"})


def test_apply_with_a_uid_makes_no_other_object(do, server, name):
    uid = server.call("POST", MAPS, config_map(name, {}))["metadata"]["uid"]
    meant = config_map(name, {"a": "1"}, uid=uid)
    assert do.ask("apply", **place(name), manager="leasehold", object=meant)[0] == "OK"
    server.call("DELETE", f"{MAPS}/{name}")
    assert do.ask("apply", **place(name), manager="leasehold", object=meant)[0] == "Conflict"
    assert server.get(f"{MAPS}/{name}") is None
    server.call("POST", MAPS, config_map(name, {}))
    assert do.ask("apply", **place(name), manager="leasehold", object=meant)[0] == "Conflict"


def test_apply_of_status_is_of_status_alone(do, server, name):
    where = place(name, "secretprojections", group="leasehold.dev", version="v1alpha1")
    made = {
        "apiVersion": "leasehold.dev/v1alpha1",
        "kind": "SecretProjection",
        "metadata": {"name": name},
        "spec": {"items": [{"name": "db", "path": "kv/a"}]},
    }
    try:
        assert do.ask("apply", **where, manager="user", object=made)[0] == "OK"
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "Synced",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        told = {k: v for k, v in made.items() if k != "spec"} | {"status": {"conditions": [condition]}}
        code, got = do.ask("apply", **where, subresource="status", manager="leasehold-status", object=told)
        assert code == "OK"
        assert got["status"]["conditions"][0]["reason"] == "Synced"
        assert got["spec"] == made["spec"]
        assert got["metadata"]["generation"] == 1
    finally:
        server.call("DELETE", f"/apis/leasehold.dev/v1alpha1/namespaces/kube-lib/secretprojections/{name}", check=False)


def test_a_test_that_fails_is_a_conflict_and_an_invalid_object_is_not(do, server, name):
    server.call("POST", MAPS, config_map(name, {"a": "1"}))
    assert do.ask("patch", **place(name), patch=patch(a=("1", "2")))[0] == "OK"
    code, error = do.ask("patch", **place(name), patch=patch(a=("1", "3")))
    assert (code, error["status"]) == ("Conflict", 422)
    assert "changed since it was read" in error["text"]
    # The test holds, and what comes out is wrong: to read it again would not help.
    wrong = patch(a=("2", "3")) + [{"op": "add", "path": "/data/in valid", "value": "x"}]
    code, error = do.ask("patch", **place(name), patch=wrong)
    assert (code, error["status"]) == ("Invalid", 422)
    assert server.get(f"{MAPS}/{name}")["data"] == {"a": "2"}
    # Without tests nothing can have changed.
    code, error = do.ask("patch", **place(name), patch=[{"op": "remove", "path": "/data/none"}])
    assert (code, error["status"]) == ("Invalid", 422)


def test_a_test_of_an_own_kind_that_fails_is_a_conflict(do, server, name):
    """Our kinds take another way through the API server than built-in ones."""
    where = place(name, "secretprojections", group="leasehold.dev", version="v1alpha1")
    path = f"/apis/leasehold.dev/v1alpha1/namespaces/kube-lib/secretprojections/{name}"
    server.apply(
        {
            "apiVersion": "leasehold.dev/v1alpha1",
            "kind": "SecretProjection",
            "metadata": {"name": name, "namespace": "kube-lib"},
            "spec": {"items": [{"name": "db", "path": "kv/a"}]},
        }
    )
    try:
        old = server.get(path)
        assert do.ask("finalizer", **where, object=old, finalizer=FINALIZER)[0] == "OK"
        code, error = do.ask("finalizer", **where, object=old, finalizer=FINALIZER)
        assert (code, error["status"]) == ("Conflict", 422)
        steps = [
            {"op": "test", "path": "/spec/items/0/name", "value": "db"},
            {"op": "replace", "path": "/spec/items", "value": []},
        ]
        assert do.ask("patch", **where, patch=steps)[0] == "Invalid"
    finally:
        server.merge(path, {"metadata": {"finalizers": None}})
        server.call("DELETE", path)


def test_delete_means_the_object_that_was_read(do, server, name):
    made = server.call("POST", MAPS, config_map(name, {"a": "1"}))["metadata"]
    old = made["resourceVersion"]
    new = server.merge(f"{MAPS}/{name}", {"data": {"a": "2"}})["metadata"]["resourceVersion"]
    assert do.ask("delete", **place(name), uid="3b241101-e2bb-4255-8caf-4136c566a962")[0] == "Conflict"
    assert do.ask("delete", **place(name), uid=made["uid"], resourceVersion=old)[0] == "Conflict"
    assert server.get(f"{MAPS}/{name}")
    assert do.ask("delete", **place(name), uid=made["uid"], resourceVersion=new)[0] == "OK"
    assert server.get(f"{MAPS}/{name}") is None
    assert do.ask("delete", **place(name), uid=made["uid"]) == ("OK", None)


def test_a_finalizer_holds_until_it_is_taken_away(do, server, name):
    path = f"{MAPS}/{name}"
    made = server.call("POST", MAPS, config_map(name, {}))
    code, held = do.ask("finalizer", **place(name), object=made, finalizer=FINALIZER)
    assert (code, held["metadata"]["finalizers"]) == ("OK", [FINALIZER])
    assert do.ask("delete", **place(name), uid=made["metadata"]["uid"])[0] == "OK"
    dying = server.get(path)
    assert dying["metadata"]["deletionTimestamp"]
    # Too late to hold it for another reason, and no conflict that goes away.
    assert do.ask("finalizer", **place(name), object=dying, finalizer="leasehold.dev/late")[0] == "Invalid"
    # Removed by position: what stands there must be what was read.
    assert do.ask("finalizer", **place(name), object=held, finalizer=FINALIZER, present=False)[0] == "Conflict"
    assert server.get(path)
    assert do.ask("finalizer", **place(name), object=dying, finalizer=FINALIZER, present=False)[0] == "OK"
    assert server.get(path) is None
    assert do.ask("finalizer", **place(name), object=dying, finalizer=FINALIZER, present=False)[0] == "NotFound"


def test_what_is_not_allowed_says_what_is_missing(start, server, name):
    server.account("kube-lib", "nobody")
    do = start(server.kubeconfig("kube-lib", "nobody"))
    code, error = do.ask("apply", **place(name), manager="leasehold", object=config_map(name, {}))
    assert (code, error["status"]) == ("Denied", 403)
    assert 'cannot patch resource "configmaps"' in error["text"]


def test_tokens_are_asked_for(do, server):
    do.send("token", namespace="kube-lib", account="default", audience="vault", seconds=600)
    assert do.next()["bytes"] > 100
    code, _ = do.ask("token", namespace="kube-lib", account="default", audience="vault", seconds=60)
    assert code == "Invalid"
    assert do.ask("token", namespace="kube-lib", account="none", audience="vault", seconds=600)[0] == "NotFound"


# -- events


def test_events_are_taken_and_count_up(do, server, name):
    about = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "namespace": "kube-lib",
        "name": name,
        "uid": "u",
        "warning": True,
        "reason": "StoreNotReady",
        "action": "Sync",
        "note": "ä" * 1000,
    }

    def seen():
        return [e for e in server.get(EVENTS)["items"] if e["regarding"]["name"] == name]

    do.send("event", **about)
    wait_until("the event", seen, 20)
    for _ in range(4):
        do.send("event", **about)
    wait_until("the series", lambda: seen()[0].get("series", {}).get("count") == 5, 60)
    (event,) = seen()
    assert event["reportingController"] == "leasehold.dev/test"
    assert event["note"] == "ä" * 512
    do.send("event", **about | {"namespace": None, "kind": "ClusterSecretStore", "note": "x", "name": name})
    wait_until(
        "the event of the cluster",
        lambda: any(e["regarding"]["name"] == name for e in server.get(DEFAULT_EVENTS)["items"]),
        20,
    )
    assert do.quiet()


# -- election


@pytest.fixture
def account(server, name):
    """A kubeconfig that may do what an election needs, to its own Lease alone."""
    leases = rule(["leases"], ["get", "update"], ["coordination.k8s.io"], [name])
    server.account("kube-lib", "candidate", [leases], only_in=["kube-lib"])
    return server.kubeconfig("kube-lib", "candidate")


@pytest.fixture
def lease(server, name):
    """An empty Lease, as the chart makes it."""
    server.call("POST", LEASES, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}})
    yield f"{LEASES}/{name}"
    server.call("DELETE", f"{LEASES}/{name}", check=False)


def stand(do, name, identity):
    do.send("stand", namespace="kube-lib", name=name, identity=identity)


def test_a_killed_leader_is_followed_in_a_new_term(start, server, account, lease, name):
    first, second = start(account), start(account)
    stand(first, name, "first")
    assert first.next() == {"what": "won", "term": 1}
    stand(second, name, "second")
    # The leader renews by one write, nothing else.
    since = server.get(lease)["spec"]["renewTime"]
    wait_until("two renewals", lambda: server.get(lease)["spec"]["renewTime"] != since, 10)
    assert second.leads() == 0
    first.signal(signal.SIGKILL)
    began = time.monotonic()
    assert second.next(40) == {"what": "won", "term": 2}
    assert 11 < time.monotonic() - began < 25
    spec = server.get(lease)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("second", 2, 15)


def test_a_leader_that_slept_does_not_lead(start, account, lease, name):
    first, second = start(account), start(account)
    stand(first, name, "first")
    assert first.next()["what"] == "won"
    stand(second, name, "second")
    first.signal(signal.SIGSTOP)
    assert second.next(40)["what"] == "won"
    # It wakes up in the middle of whatever it did, with a command to obey: it must know at once.
    first.send("term")
    first.signal(signal.SIGCONT)
    got = [first.next(), first.next()]
    assert {"what": "lost"} in got
    assert {"what": "term", "term": 0} in got
    assert second.leads() == 2


def test_what_is_given_back_is_taken_at_once(start, server, account, lease, name):
    first, second = start(account), start(account)
    stand(first, name, "first")
    assert first.next()["what"] == "won"
    stand(second, name, "second")
    first.send("release")
    assert first.next(5) == {"what": "released"}
    assert second.next(8) == {"what": "won", "term": 2}
    assert first.quiet()
    assert first.leads() == 0


def test_a_restart_under_the_same_name_is_a_new_term_at_once(start, account, lease, name):
    first = start(account)
    stand(first, name, "pod-1")
    assert first.next()["what"] == "won"
    first.signal(signal.SIGKILL)
    second = start(account)
    stand(second, name, "pod-1")
    assert second.next(5) == {"what": "won", "term": 2}


def test_a_lease_that_is_edited_or_deleted_does_not_end_the_term(do, server, lease, name):
    stand(do, name, "first")
    assert do.next() == {"what": "won", "term": 1}
    for change in (
        lambda: server.merge(lease, {"metadata": {"labels": {"edited": "yes"}}}),
        lambda: server.call("DELETE", lease),
    ):
        change()
        since = (server.get(lease) or {"spec": {}})["spec"].get("renewTime")
        wait_until("a renewal", lambda: ((server.get(lease) or {}).get("spec") or {}).get("renewTime", since) != since)
    assert do.quiet()
    assert do.leads() == 1
    assert server.get(lease)["spec"]["leaseTransitions"] == 1


# -- watch


def followed(do, count):
    """The next events, as (what, key, object or None)."""
    got = [do.next() for _ in range(count)]
    return [(g["what"], g["event"]["key"], g["event"]["object"]) for g in got]


def test_a_watch_of_metadata_alone(do, server, name):
    server.call("POST", MAPS, config_map(name, {"secret": "x"}, labels={"for": name}))
    do.send("watch", **place(None) | {"name": None}, metadata=True, labels=f"for={name}")
    (what, key, obj), (synced, _, _) = followed(do, 2)
    assert (what, key, synced) == ("upsert", f"kube-lib/{name}", "synced")
    assert obj["kind"] == "PartialObjectMetadata"
    assert "data" not in obj
    assert "managedFields" not in obj["metadata"]
    server.merge(f"{MAPS}/{name}", {"data": {"secret": "y"}})
    assert followed(do, 1)[0][:2] == ("upsert", f"kube-lib/{name}")
    server.call("DELETE", f"{MAPS}/{name}")
    assert followed(do, 1)[0][:2] == ("delete", f"kube-lib/{name}")


def test_an_object_that_is_too_large_is_named(do, server, name):
    server.call("POST", MAPS, config_map(name, {"a": "1"}, labels={"for": name}))
    do.send("watch", **place(None) | {"name": None}, labels=f"for={name}", most=20000)
    assert [e[:2] for e in followed(do, 2)] == [("upsert", f"kube-lib/{name}"), ("synced", None)]
    server.merge(f"{MAPS}/{name}", {"data": {"a": "x" * 30000}})
    assert followed(do, 1)[0][:2] == ("skipped", f"kube-lib/{name}")
    server.call("DELETE", f"{MAPS}/{name}")
    assert followed(do, 1)[0] == ("delete", f"kube-lib/{name}", None)


def test_what_went_in_a_gap_is_told(start, own_server):
    """The API server forgets by its restart what the client did not hear of: 410."""
    maps = "/api/v1/namespaces/gap/configmaps"
    for one in ("goes", "stays", "swaps"):
        own_server.call("POST", maps, config_map(one, {"n": "1"}))
    do = start(own_server.admin_kubeconfig)
    do.send("watch", resource="configmaps", namespace="gap")
    first = followed(do, 4)
    assert {e[1] for e in first[:3]} == {"gap/goes", "gap/stays", "gap/swaps"}
    assert first[3][0] == "synced"
    do.signal(signal.SIGSTOP)
    own_server.stop()
    own_server.start()
    own_server.call("DELETE", maps + "/goes")
    own_server.call("DELETE", maps + "/swaps")
    own_server.call("POST", maps, config_map("swaps", {"n": "2"}))
    own_server.call("POST", maps, config_map("comes", {"n": "1"}))
    own_server.stop()
    own_server.start()
    do.signal(signal.SIGCONT)
    told = []
    while not told or told[-1][0] != "synced":
        told += followed(do, 1)
        assert len(told) < 20
    known = {"gap/goes", "gap/stays", "gap/swaps"}
    for what, key, _ in told[:-1]:
        known = known | {key} if what == "upsert" else known - {key}
    assert known == {"gap/stays", "gap/swaps", "gap/comes"}
    swaps = [what for what, key, _ in told if key == "gap/swaps"]
    assert swaps == ["delete", "upsert"]


def test_an_api_server_that_stands_still_ends_a_term_and_not_a_watch(start, own_server):
    leader, watcher = start(own_server.admin_kubeconfig), start(own_server.admin_kubeconfig)
    leader.send("stand", namespace="gap", name="leader", identity="first")
    assert leader.next() == {"what": "won", "term": 1}
    watcher.send("watch", resource="namespaces", name="gap")
    assert [e[:2] for e in followed(watcher, 2)] == [("upsert", "gap"), ("synced", None)]
    own_server.freeze()
    try:
        began = time.monotonic()
        assert leader.next(15) == {"what": "lost"}
        assert 7 < time.monotonic() - began < 12
        assert leader.leads() == 0
    finally:
        own_server.thaw()
    assert leader.next() == {"what": "won", "term": 2}
    own_server.merge("/api/v1/namespaces/gap", {"metadata": {"labels": {"thawed": "yes"}}})
    assert followed(watcher, 1)[0][:2] == ("upsert", "gap")
