#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/node.py [--bin-dir DIR] [--mounts N] [--steady S]: both containers of the node's driver with that many mounted
volumes, each of a Pod of its own with a database user of its own. Kubelet is a grpc-go client; OpenBao, PostgreSQL, etcd and
kube-apiserver are real. What the manager took of a call is in its audit log. Prints a table."""

import argparse
import calendar
import contextlib
import os
import pathlib
import sys
import tempfile
import time

from agents import ROOT, cpu_seconds, memory_kib
from conditions import Conditions
from priority import favour

sys.path[:0] = [str(ROOT / "tests" / "component"), str(ROOT / "tests" / "cluster" / "bed"), str(ROOT / "tests" / "managers")]

from apiserver import CONTROLLERS, ApiServer  # noqa: E402
from managers import Manager  # noqa: E402
from nodedriver import ACCOUNT, SYSTEM, Driver, projection  # noqa: E402
from procs import wait_until  # noqa: E402

LOGIN = ("update", "auth/jwt/login")
PATH = "database/creds/slow1"
USER = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def spread(seconds):
    ordered = sorted(seconds)
    p50, p99 = (1000 * ordered[len(ordered) * share // 100] for share in (50, 99))
    return f"{p50:.1f} / {p99:.1f}"


def of_manager(manager, mark, count):
    """For each mount, one after the other, how long the manager had its two requests, by its audit log, in seconds."""
    ended = {e["request"]["id"]: parsed(e) for e in manager.bao.audit(mark, kind="response")}
    took = {LOGIN: [], ("read", PATH): []}
    for e in manager.bao.audit(mark):
        place = e["request"]["operation"], e["request"]["path"]
        if place in took:
            took[place].append(ended[e["request"]["id"]] - parsed(e))
    assert all(len(rows) == count for rows in took.values())
    return [a + b for a, b in zip(*took.values(), strict=True)]


def parsed(entry):
    """The time of an entry, in seconds."""
    whole, _, fraction = entry["time"].removesuffix("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction or 0}")


class Cost:
    """CPU and requests of both containers since it was made."""

    def __init__(self, driver, manager):
        self.driver, self.manager = driver, manager
        self.pids = driver.process.pid, driver.host.process.pid
        self.cpu = [cpu_seconds(p) for p in self.pids]
        self.marks = manager.bao.audit_mark(), driver.apiserver.audit_mark()

    def seconds(self):
        return [cpu_seconds(p) - before for p, before in zip(self.pids, self.cpu, strict=True)]

    def asked(self):
        """Of the manager by (operation, path), and of the API server by (verb, resource); its log is written behind."""
        time.sleep(1)
        made = {k[1:]: n for k, n in self.driver.apiserver.requests(self.marks[1]).items() if k[0] == USER}
        return self.manager.bao.requests(self.marks[0]), made


def published(driver):
    return driver.metric("leasehold_node_volumes", state="published")


def mount_all(driver, kubelet, manager, count):
    volumes = [driver.volume(f"p{i}") for i in range(count)]
    wait_until("an idle driver", driver.is_ready, 20)
    cost, took = Cost(driver, manager), []
    for volume in volumes:
        volume.tokens = {"vault": manager.issuer.token("shop", "shop")}
        begin = time.monotonic()
        answer = kubelet.publish(volume)
        took.append(time.monotonic() - begin)
        assert answer.ok, answer
    node, mount = cost.seconds()
    theirs, ours = cost.asked()
    assert theirs["read", PATH] == count and theirs[LOGIN] == count, theirs
    say(f"asked of the API server: {ours}")
    return volumes, took, of_manager(manager, cost.marks[0], count), {
        "CPU per mount, ms (node, mount)": f"{1000 * node / count:.2f}, {1000 * mount / count:.2f}",
        "requests to the manager per mount": f"{sum(theirs.values()) / count:.2f}",
        "requests to the API server per mount": f"{sum(ours.values()) / count:.2f}",
    }


def memory(driver):
    node, mount = (memory_kib(p) for p in (driver.process.pid, driver.host.process.pid))
    return (
        f"{node[0] / 1024:.2f} + {mount[0] / 1024:.2f} = {(node[0] + mount[0]) / 1024:.2f}",
        f"{node[1] / 1024:.1f} + {mount[1] / 1024:.1f}",
    )


def steady(driver, manager, seconds):
    time.sleep(5)
    cost = Cost(driver, manager)
    time.sleep(seconds)
    used = sum(cost.seconds())
    theirs, ours = cost.asked()
    return {
        "steady: CPU of both, % of a core": f"{100 * used / seconds:.3f}",
        f"steady: requests to manager, API server in {seconds:.0f} s": f"{sum(theirs.values())}, {sum(ours.values())}",
    }


def recover(driver, kubelet, manager, volumes):
    before = [driver.credential(v) for v in volumes]
    marks = manager.bao.audit_mark()
    driver.kill("node")
    begin = time.monotonic()
    driver.start(wait=False)
    favour(driver.process.pid)
    wait_until("all volumes again", lambda: driver.fetch("/readyz") == "ok\n" and published(driver) == len(volumes), 60, 0.02)
    took = time.monotonic() - begin
    for volume in volumes:
        assert kubelet.publish(volume).ok
    time.sleep(2)
    asked = manager.bao.requests(marks)
    assert [driver.credential(v) for v in volumes] == before, "files stay"
    early, _ = memory_kib(driver.process.pid)
    time.sleep(max(0, begin + 20 - time.monotonic()))
    late, _ = memory_kib(driver.process.pid)
    return {
        "after kill -9: all volumes known, s": f"{took:.2f}",
        "after kill -9: requests to the manager per mount": f"{sum(asked.values()) / len(volumes):.2f}",
        "after kill -9: logins; credentials issued again": f"{asked[LOGIN]}; {asked['read', PATH]}",
        "after kill -9: private memory of the node at once, after 20 s, MiB": f"{early / 1024:.2f}, {late / 1024:.2f}",
    }


def measure(args):
    with Manager() as manager, ApiServer(controllers=CONTROLLERS, audit=True) as apiserver, tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o711)
        apiserver.namespace("shop")
        apiserver.account("shop", "shop")
        driver = Driver(pathlib.Path(args.bin_dir).resolve(), d, apiserver, manager)
        try:
            apiserver.apply(driver.store(manager.bao.address()), projection(PATH))
            driver.start()
            favour(driver.process.pid)
            favour(driver.host.process.pid)
            kubelet = driver.kubelet()
            idle = memory(driver)
            row = {"private memory idle, MiB (node + mount)": idle[0]}
            volumes, took, theirs, cost = mount_all(driver, kubelet, manager, args.mounts)
            mounted = memory(driver)
            row |= {
                f"private memory with {args.mounts} mounts, MiB (node + mount)": mounted[0],
                "resident memory, MiB (node + mount)": mounted[1],
                "NodePublishVolume, p50 / p99, ms": spread(took),
                "of it the manager, from request to answer, p50 / p99, ms": spread(theirs),
                "beyond that, p50 / p99, ms": spread(a - b for a, b in zip(took, theirs, strict=True)),
            }
            row |= cost | steady(driver, manager, args.steady) | recover(driver, kubelet, manager, volumes)
            for volume in volumes:
                assert kubelet.unpublish(volume).ok
            wait_until("the end of all users", lambda: manager.bao.leases(PATH) == [] and driver.records() == [], 30)
            return row
        finally:
            driver.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", default=str(ROOT / "build/release/bin"))
    parser.add_argument("--mounts", type=int, default=110)
    parser.add_argument("--steady", type=float, default=60)
    args = parser.parse_args()
    conditions = Conditions(args.bin_dir)
    with contextlib.redirect_stdout(sys.stderr):  # logs of both, when they end
        row = measure(args)
    print("| | |\n|---|---|")
    for key, value in row.items():
        print(f"| {key} | {value} |")
    print(conditions)


if __name__ == "__main__":
    main()
