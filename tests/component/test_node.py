# SPDX-License-Identifier: Apache-2.0
"""The node's CSI driver, both halves, as kubelet sees it."""

import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import tempfile

import pytest
import tools
from kubelet import IDENTITY, REGISTRATION, RESERVED, Client, field, fields, only
from mounter import DRIVER, PEER
from nodedriver import Driver, projection
from procs import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for mount namespaces of its own")
LOGIN = ("update", "auth/jwt/login")
SHOP = "database/creds/slow1"
GROUP = 2000


@pytest.fixture(scope="module")
def cluster(apiserver, manager):
    """The API server with namespace shop, its account and store."""
    apiserver.namespace("shop")
    apiserver.account("shop", "shop")
    return apiserver


@pytest.fixture
def stopped(bin_dir, cluster, manager, faultproxy):
    """A Driver that does not run yet, its store behind faultproxy, and SecretProjection db of a database user."""
    with tempfile.TemporaryDirectory(prefix="lh-") as folder:
        os.chmod(folder, 0o711)
        made = Driver(bin_dir, folder, cluster, manager)
        manager.bao.revoke_prefix(SHOP)  # of tests that ended by a kill
        cluster.apply(made.store(faultproxy.address), projection(SHOP))
        yield made
        made.close()


@pytest.fixture
def driver(stopped):
    return stopped.start()


@pytest.fixture
def kubelet(driver):
    return driver.kubelet()


@pytest.fixture
def asked(manager):
    """asked(): what our accounts asked the manager for since the test began, (operation, path) to number."""
    mark = manager.bao.audit_mark()
    return lambda: manager.bao.requests(mark)


def published(driver, kubelet, **more):
    volume = driver.volume(**more)
    answer = kubelet.publish(volume)
    assert answer.ok, answer
    return volume


def is_gone(driver, manager, volume, user):
    """Unmounted, forgotten and revoked."""
    wait_until("end of the mount", lambda: driver.mounted(volume) == 0, 10)
    wait_until("end of the record", lambda: driver.records() == [], 10)
    if user:
        wait_until("end of the user", lambda: user not in manager.pg_users(), 10)
    return True


# -- conformance


@pytest.fixture
def no_controller(driver):
    """A controller without any capability, which csi-sanity insists on talking to: its socket."""
    path = driver.folder / "controller.sock"
    tool = [str(tools.path("grpc-go") / "grpc-go"), "--socket", str(path), "no-controller"]
    with subprocess.Popen(tool, stdout=subprocess.PIPE, text=True) as process:
        assert json.loads(process.stdout.readline()) == {"ready": True}
        yield path
        process.terminate()


# What to run, what not, how many must pass. These two make their volume by a controller, and publish it writable.
SANITY = {
    "identity": ("Identity Service", None, 3),
    "node": ("Node Service", "should remove target path|does not exist on the specified path", 10),
}


@pytest.mark.parametrize("service", SANITY)
def test_csi_sanity(driver, no_controller, service):
    """All of it that applies to a driver without a controller whose volumes are read-only."""
    focus, skip, least = SANITY[service]
    volume = driver.volume()
    volume.folder.parent.mkdir(parents=True)  # the last one is made by the tool
    flags = [f"--csi.controllerendpoint=unix://{no_controller}"] if service == "node" else []
    flags += [f"--ginkgo.skip={skip}"] if skip else []
    done = subprocess.run(
        [
            tools.path("csi-sanity") / "csi-sanity",
            f"--csi.endpoint=unix://{driver.socket}",
            f"--csi.mountdir={volume.folder}",
            f"--csi.stagingdir={driver.folder / 'staging'}",
            f"--ginkgo.focus={focus}",
            "--ginkgo.no-color",
            *flags,
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed, failed = map(int, re.search(r"(\d+) Passed \| (\d+) Failed", done.stdout).groups())
    assert passed >= least and failed == 0, done.stdout
    assert driver.records() == [] and driver.status()["volumes"] == []


def test_identity_and_capabilities(driver, kubelet):
    info = kubelet.client.call(IDENTITY + "GetPluginInfo")
    assert only(info.body, 1) == DRIVER.encode() and only(info.body, 2)
    assert kubelet.client.call(IDENTITY + "GetPluginCapabilities").body == b"", "there is no controller service"
    assert only(only(kubelet.client.call(IDENTITY + "Probe").body, 1), 1) == 1
    assert only(kubelet.client.call("/csi.v1.Node/NodeGetInfo").body, 1) == b"node-a"
    capabilities = fields(kubelet.client.call("/csi.v1.Node/NodeGetCapabilities").body)
    assert sorted(only(only(c, 1), 1) for _, c in capabilities) == [2, 4, 6]  # stats, condition, mount group
    assert kubelet.client.call("/csi.v1.Node/NodeStageVolume").code == "Unimplemented"


def test_registration(driver):
    client = Client(driver.registration)
    try:
        info = client.call(REGISTRATION + "GetInfo")
        assert [only(info.body, n) for n in (1, 2, 3, 4)] == [
            b"CSIPlugin",
            DRIVER.encode(),
            str(driver.socket).encode(),
            b"1.0.0",
        ]
        assert client.call(REGISTRATION + "NotifyRegistrationStatus", field(1, True)).ok
        assert driver.is_ready()
        told = field(2, "there is another driver of that name")
        assert client.call(REGISTRATION + "NotifyRegistrationStatus", told).ok
        process, driver.process = driver.process, None
        assert process.wait(10) == 1
        assert "there is another driver of that name" in driver.log.read_text()
    finally:
        client.close()


def test_only_kubelets_user_is_served(driver):
    stranger = driver.kubelet(uid=1000)
    os.chmod(driver.socket, 0o777)
    answer = stranger.publish(driver.volume(), 2)
    assert answer.code in ("Unavailable", "DeadlineExceeded"), answer
    assert driver.status()["volumes"] == []


# -- one volume


def test_a_volume_and_its_end(driver, kubelet, manager, asked):
    volume = driver.volume(group=str(GROUP))
    assert kubelet.publish(volume).ok
    user, password = driver.credential(volume)
    assert manager.pg_login(user, password)
    file = driver.host.on_host(f"{volume.target}/db/username").stat()
    assert (stat.S_IMODE(file.st_mode), file.st_uid, file.st_gid) == (0o440, PEER, GROUP)
    requests = asked()
    assert requests[LOGIN] == 1 and requests["read", SHOP] == 1
    stats = kubelet.stats(volume)
    usage = [dict(fields(u)) for n, u in fields(stats.body) if n == 1]
    assert [(u[4], u[2] > 0, u[3] > 0) for u in usage] == [(1, True, True), (2, True, True)]
    condition = dict(fields(only(stats.body, 2)))
    assert condition.get(1, 0) == 0 and condition[2] == b"Fresh"
    assert kubelet.unpublish(volume).ok
    assert not pathlib.Path(volume.target).exists()
    assert is_gone(driver, manager, volume, user)
    assert kubelet.stats(volume).code == "NotFound"


def test_published_again_it_is_as_it_was(driver, kubelet, asked):
    volume = published(driver, kubelet)
    before = driver.credential(volume)
    for _ in range(3):
        assert kubelet.publish(volume).ok
    assert driver.credential(volume) == before and driver.mounted(volume) == 1
    assert asked()["read", SHOP] == 1 and asked()[LOGIN] == 1
    for other in ({"projection": "other"}, {"group": "7"}, {"account": "default"}):
        answer = kubelet.publish(driver.volume(**other))
        assert answer.code == "AlreadyExists", answer
    assert driver.credential(volume) == before


def test_two_publishes_at_once(driver, kubelet, faultproxy, manager, asked):
    rule = faultproxy.add(f"GET:{SHOP}", "delay", seconds=1)
    volume = driver.volume()
    first = kubelet.publishing(volume)
    wait_until("the first", lambda: driver.metric("leasehold_node_volumes", state="fetching") == 1, 10)
    for call in (kubelet.publish, kubelet.unpublish):
        answer = call(volume)
        assert answer.code == "Aborted" and "under way" in answer.message, answer
    assert first.result(20).ok
    faultproxy.remove(rule)
    assert driver.mounted(volume) == 1 and asked()["read", SHOP] == 1
    assert kubelet.unpublish(volume).ok


def test_unpublish_of_what_was_never_there(driver, kubelet):
    volume = driver.volume()
    for _ in range(2):
        assert kubelet.unpublish(volume).ok
    volume.path = "/nowhere"
    assert kubelet.unpublish(volume).ok
    assert driver.metric("leasehold_node_calls_total", method="NodeUnpublishVolume", status="OK") == 3


BAD = {
    "no volume id": ({"id": "/"}, "volume_id"),
    "volume id that climbs": ({"id": ".."}, "volume_id"),
    "no target": ({"path": "."}, "target_path must be"),
    "target that climbs": ({"path": "/x/pods/../volumes/kubernetes.io~csi/db/mount"}, "target_path must be"),
    "target of another Pod": ({"path": "/x/pods/other/volumes/kubernetes.io~csi/db/mount"}, "of another Pod"),
    "no capability": ({"access": b"none"}, "volume_capability is missing"),
    "block access": ({"access": field(1, b"")}, "block access is not served"),
    "fsType": ({"fs_type": "ext4"}, "fsType must be left out"),
    "mount option": ({"flags": ["exec"]}, "mount options are not served"),
    "group that is no number": ({"group": "staff"}, "volume_mount_group must be a group's number"),
    "writable": ({"read_only": False}, "readOnly: true"),
    "no projection": ({"projection": ""}, 'must have "projection"'),
    "projection elsewhere": ({"projection": "../bank/db"}, "plain name"),
    "unknown attribute": ({"attributes": {"role": "admin"}}, 'the only one is "projection"'),
    "reserved attribute": ({"attributes": {RESERVED + "pod.admin": "true"}}, "are kubelet's own"),
    "tokens of the author's": ({"attributes": {RESERVED + "serviceAccount.tokens": "{}"}}, "are kubelet's own"),
    "no Pod info": ({"namespace": ""}, "podInfoOnMount"),
    "persistent": ({"attributes": {RESERVED + "ephemeral": "false"}}, "inline volumes"),
}


@pytest.fixture(scope="module")
def shared(bin_dir, cluster, manager):
    """A running Driver for whatever leaves nothing behind, with its Kubelet."""
    with tempfile.TemporaryDirectory(prefix="lh-") as folder:
        os.chmod(folder, 0o711)
        made = Driver(bin_dir, folder, cluster, manager)
        cluster.apply(made.store(manager.bao.address(), "direct"))
        yield made.start(), made.kubelet()
        made.close()


@pytest.mark.parametrize("row", BAD)
def test_bad_request(shared, asked, row):
    driver, kubelet = shared
    more, words = BAD[row]
    volume = driver.volume(**more)
    answer = kubelet.publish(volume)
    assert answer.code == "InvalidArgument" and words in answer.message, answer
    assert driver.status()["volumes"] == [] and driver.records() == []
    assert not asked()


REFUSED = {
    "no such projection": (None, "NotFound", "ProjectionNotFound"),
    "no such store": ({"storeRef": {"kind": "ClusterSecretStore", "name": "nope"}}, "NotFound", "StoreNotFound"),
    "path outside allow": ({"items": [{"name": "db", "path": "kv/bank/s1"}]}, "PermissionDenied", "PathNotAllowed"),
    "role outside allow": ({"role": "admin"}, "PermissionDenied", "RoleNotAllowed"),
    "audience not served": (
        {"storeRef": {"kind": "ClusterSecretStore", "name": "elsewhere"}},
        "PermissionDenied",
        "AudienceNotServed",
    ),
    "store with caBundleRef": (
        {"storeRef": {"kind": "ClusterSecretStore", "name": "byref"}},
        "FailedPrecondition",
        "caBundleRef",
    ),
    "account that the manager refuses": ("default", "PermissionDenied", "LoginFailed"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_refused(shared, cluster, manager, row):
    driver, kubelet = shared
    spec, code, words = REFUSED[row]
    jwt = {"mount": "jwt", "role": "{namespace}-{serviceAccount}", "audience": "bank"}
    by_ref = {"caBundle": None, "caBundleRef": {"name": "ca", "key": "ca.crt"}}
    cluster.apply(
        driver.store(manager.bao.address(), "elsewhere", auth={"jwt": jwt}),
        driver.store(manager.bao.address(), "byref", **by_ref),
    )
    volume = driver.volume()
    if spec is None:
        volume.projection = "missing"
    else:
        more = spec if isinstance(spec, dict) else {}
        name = f"refused-{list(REFUSED).index(row)}"
        named = {"storeRef": {"kind": "ClusterSecretStore", "name": "direct"}, **more}
        cluster.apply(projection("kv/app/s1", name, **named))
        volume.projection = name
        if spec == "default":
            volume.account = "default"
            volume.tokens = {"vault": manager.issuer.token("shop", "default")}

    def refused():
        answer = kubelet.publish(volume)
        return answer if words in answer.message else None

    answer = wait_until(words, refused, 10)  # the watch may bring the object a moment later
    assert answer.code == code, answer
    assert driver.mounted(volume) == 0
    assert kubelet.unpublish(volume).ok
    wait_until("end of the attempt", lambda: driver.records() == [], 10)


def test_the_audiences_that_are_served_are_named(shared, cluster, manager):
    driver, kubelet = shared
    jwt = {"mount": "jwt", "role": "{namespace}-{serviceAccount}", "audience": "bank"}
    cluster.apply(driver.store(manager.bao.address(), "elsewhere", auth={"jwt": jwt}))
    cluster.apply(projection("kv/app/s1", "named", storeRef={"kind": "ClusterSecretStore", "name": "elsewhere"}))
    volume = driver.volume(projection="named")

    def text():
        answer = kubelet.publish(volume)
        return answer.message if "AudienceNotServed" in answer.message else None

    said = wait_until("the refusal", text, 10)
    assert '"bank"' in said and "vault" in said and "other" in said and "node.audiences" in said
    assert kubelet.unpublish(volume).ok


@pytest.mark.parametrize("what", ["symlink", "file", "folder with something in it"])
def test_target_that_is_not_kubelets(driver, kubelet, manager, what):
    volume = driver.volume()
    volume.folder.mkdir(parents=True)
    target, elsewhere = pathlib.Path(volume.target), driver.folder / "elsewhere"
    elsewhere.mkdir()
    if what == "symlink":
        target.symlink_to(elsewhere)
    elif what == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    answer = kubelet.publish(volume)
    assert answer.code == "Internal" and "MountFailed" in answer.message, answer
    assert driver.mounted(volume) == 0 and list(elsewhere.iterdir()) == []
    assert target.is_symlink() == (what == "symlink")
    kubelet.unpublish(volume)
    assert list(elsewhere.iterdir()) == [] and (what != "file" or target.read_text() == "mine")
    wait_until("no lease left", lambda: manager.bao.leases(SHOP) == [], 10)


# -- memory


def test_limits_of_memory(stopped):
    driver = stopped.start("--volume-size", "1Mi", "--max-memory", "4Mi", "--max-namespace-memory", "2Mi")
    kubelet = driver.kubelet()
    volumes = [published(driver, kubelet, name=f"v{i}") for i in range(2)]
    third = driver.volume(name="v2")
    answer = kubelet.publish(third)
    assert answer.code == "ResourceExhausted" and "NodeMemoryFull" in answer.message and '"shop"' in answer.message
    assert driver.mounted(third) == 0
    assert kubelet.unpublish(volumes[0]).ok
    assert kubelet.publish(third).ok
    for volume in (volumes[1], third):
        assert kubelet.unpublish(volume).ok


# -- a manager that is away


def test_manager_away_and_back(driver, kubelet, faultproxy, manager, asked):
    rule = faultproxy.add("*:", "status", status=503)
    volume = driver.volume()
    answer = kubelet.publish(volume, 5)
    assert answer.code == "Unavailable" and "ManagerError" in answer.message, answer
    assert driver.mounted(volume) == 0
    faultproxy.remove(rule)
    kubelet.until_ok(kubelet.publish, volume)
    assert manager.pg_login(*driver.credential(volume)) and asked()["read", SHOP] == 1
    assert kubelet.unpublish(volume).ok


def test_calls_that_are_given_up(driver, kubelet, faultproxy, manager, asked):
    """The work goes on behind them: the next call finds it done."""
    rule = faultproxy.add(f"GET:{SHOP}", "delay", seconds=1)
    volume = driver.volume()
    call = kubelet.publishing(volume)
    wait_until("the attempt", lambda: driver.metric("leasehold_node_volumes", state="fetching") == 1, 10)
    call.cancel()
    assert call.result(10).code == "Canceled"
    kubelet.until_ok(kubelet.publish, volume)
    faultproxy.remove(rule)
    assert asked()["read", SHOP] == 1 and asked()[LOGIN] == 1
    user = driver.credential(volume)[0]
    with driver.mount_frozen():
        call = kubelet.unpublishing(volume)
        wait_until("its end begun", lambda: driver.metric("leasehold_node_volumes", state="ending") == 1, 10)
        call.cancel()
        assert call.result(10).code == "Canceled"
    kubelet.until_ok(kubelet.unpublish, volume)
    assert is_gone(driver, manager, volume, user)


@pytest.mark.parametrize("restarted", [False, True], ids=["same process", "another process"])
def test_revocation_is_owed_while_the_manager_is_away(driver, kubelet, faultproxy, manager, restarted):
    """Kubelet gets its unmount; the credential is ended once the manager is back."""
    volume = published(driver, kubelet)
    user = driver.credential(volume)[0]
    rule = faultproxy.add("*:", "status", status=503)
    assert kubelet.unpublish(volume).ok
    assert driver.mounted(volume) == 0 and user in manager.pg_users()
    assert driver.metric("leasehold_node_volumes", state="revoking") == 1 and len(driver.records()) == 1
    assert kubelet.unpublish(volume).ok
    if restarted:
        driver.restart("node")
        wait_until("the debt", lambda: driver.metric("leasehold_node_volumes", state="revoking") == 1, 20)
    assert driver.metric("leasehold_node_volume_bytes") == 0
    faultproxy.remove(rule)
    wait_until("end of the user", lambda: user not in manager.pg_users(), 60)
    wait_until("end of the record", lambda: driver.records() == [], 10)


# -- killed between any two steps

STEPS = ("login", "read", "mount", "published", "revoke", "unmount")


def reach(driver, kubelet, faultproxy, volume, step):
    """Brings a volume to the middle of a step, where kubelet's call hangs."""
    before_that = {"login": "auth/jwt/login", "read": SHOP, "revoke": "auth/token/revoke-self"}
    ending = step in ("revoke", "unmount")
    if ending or step == "published":
        assert kubelet.publish(volume).ok
    if step == "published":
        return
    if step in before_that:
        rule = faultproxy.add(f"*:{before_that[step]}", "hang", times=1)
    else:
        driver.host.process.send_signal(signal.SIGSTOP)
    (kubelet.unpublishing if ending else kubelet.publishing)(volume, 60)
    state = "ending" if ending else "mounting" if step == "mount" else "fetching"
    wait_until(state, lambda: driver.metric("leasehold_node_volumes", state=state) == 1, 10)
    if step in before_that:
        wait_until(step, lambda: rule.times == 0, 10)


@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "asked"])
@pytest.mark.parametrize("which", ["node", "mount"])
@pytest.mark.parametrize("step", STEPS)
def test_ended_in_the_middle(driver, kubelet, faultproxy, manager, asked, step, which, signo):
    volume = driver.volume()
    reach(driver, kubelet, faultproxy, volume, step)
    before = driver.credential(volume)
    driver.kill(which, signo)
    driver.start()
    if step in ("login", "read", "mount", "published"):
        kubelet.until_ok(kubelet.publish, volume)
        assert driver.mounted(volume) == 1
        assert manager.pg_login(*driver.credential(volume))
        if step == "published":
            assert driver.credential(volume) == before and asked()["read", SHOP] == 1
    user = driver.credential(volume)[0] or before[0]
    kubelet.until_ok(kubelet.unpublish, volume)
    assert is_gone(driver, manager, volume, user)
    wait_until("no lease left", lambda: manager.bao.leases(SHOP) == [], 10)


def test_killed_between_its_files_and_its_record_of_them(driver, kubelet, manager, asked):
    """What such a kill leaves is a record that says "not published" beside files and leases that are there."""
    volume = published(driver, kubelet)
    before = driver.credential(volume)
    driver.kill("node")
    record = driver.state_folder() / driver.records()[0] / "record"
    said = json.loads(record.read_text())
    assert said["published"] is True
    record.write_text(json.dumps(said | {"published": False}))
    driver.start()
    assert driver.metric("leasehold_node_volumes", state="published") == 1
    kubelet.until_ok(kubelet.publish, volume)
    assert driver.credential(volume) == before and manager.pg_login(*before)
    assert asked()["read", SHOP] == 1 and asked()[LOGIN] == 1, "nothing is issued again"
    driver.restart("node")
    wait_until("the record", lambda: driver.metric("leasehold_node_volumes", state="published") == 1, 10)
    assert driver.credential(volume) == before and asked()["read", SHOP] == 1
    kubelet.until_ok(kubelet.unpublish, volume)
    assert is_gone(driver, manager, volume, before[0])


def test_a_pod_that_ended_while_both_were_away(driver, kubelet, manager):
    volume = published(driver, kubelet)
    user = driver.credential(volume)[0]
    driver.kill("node")
    driver.kill("mount")
    driver.delete_pod(volume.pod)
    driver.start()
    kubelet.until_ok(kubelet.unpublish, volume)
    assert is_gone(driver, manager, volume, user)


def test_leases_are_renewed_by_the_process_that_comes_next(driver, kubelet, manager, cluster, asked):
    cluster.apply(projection("database/creds/fast1"))
    volume = driver.volume()
    kubelet.until_ok(kubelet.publish, volume)
    before = driver.credential(volume)
    for _ in range(3):
        driver.restart("node")
    wait_until("a renewal", lambda: asked()["update", "sys/leases/renew"] > 0, 30)
    assert driver.credential(volume) == before and manager.pg_login(*before)
    assert asked()["read", "database/creds/fast1"] == 1 and asked()[LOGIN] == 1
    assert kubelet.unpublish(volume).ok
