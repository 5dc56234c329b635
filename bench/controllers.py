#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/controllers.py [--bin-dir DIR] [--sizes 1000,5000,10000] [--steady S]: leasehold-controller cluster with that many
SecretProjections, each with a Secret copy of a KV secret of its own: a burst, a steady state, and a start that finds them
all. One OpenBao, one etcd and kube-apiserver with an audit log for each size. Prints a table."""

import argparse
import concurrent.futures
import json
import pathlib
import sys
import tempfile
import threading
import time

from agents import ROOT, cpu_seconds, memory_kib
from conditions import Conditions
from priority import favour

sys.path[:0] = [str(ROOT / "tests" / "component"), str(ROOT / "tests" / "cluster" / "bed")]

from apiserver import CONTROLLERS, ApiServer  # noqa: E402
from controller import KINDS, Controller, projection  # noqa: E402
from managers import Manager  # noqa: E402
from procs import wait_until  # noqa: E402

NAMESPACE = "scale"
PLURAL = f"{KINDS}/namespaces/{NAMESPACE}/secretprojections"
WRITES = ("create", "update", "patch", "delete")


def in_parallel(work, count, threads=8):
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(count)))


class Readiness(threading.Thread):
    """When each projection was seen ready, by a watch."""

    def __init__(self, apiserver, count):
        super().__init__(daemon=True)
        self.apiserver, self.count, self.at, self.whole = apiserver, count, {}, threading.Event()
        self.version = apiserver.get(f"{PLURAL}?limit=1")["metadata"]["resourceVersion"]

    def run(self):
        while not self.whole.is_set():
            connection = self.apiserver.connection(30)
            query = f"?watch=1&allowWatchBookmarks=true&resourceVersion={self.version}"
            try:
                connection.request("GET", PLURAL + query)
                answer = connection.getresponse()
                while line := answer.readline():
                    self.take(json.loads(line)["object"])
            except OSError:
                continue  # silent for too long: asked again from where it was
            finally:
                connection.close()

    def take(self, obj):
        self.version, name = obj["metadata"]["resourceVersion"], obj["metadata"].get("name")
        conditions = obj.get("status", {}).get("conditions", [])
        if name and name not in self.at and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            self.at[name] = time.monotonic()
            if len(self.at) == self.count:
                self.whole.set()


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def fill(manager, count):
    def put(i):
        data = {"username": f"user-{i}", "password": f"pw-{i:032}"}
        manager.bao.api("POST", f"kv/data/app/scale/{i}", {"data": data})

    in_parallel(put, count, 4)


def create(apiserver, count):
    """When each was created."""

    def post(i):
        body = json.dumps(projection(f"p{i}", f"kv/app/scale/{i}", NAMESPACE))
        status, answer = apiserver.raw("POST", PLURAL, body, {"Content-Type": "application/json"})
        assert status == 201, answer
        return time.monotonic()

    return in_parallel(post, count)


def requests_of(apiserver, controller, mark):
    """Requests of the controller but for its Lease: (all, writes). The audit log is written behind."""
    time.sleep(1)
    made = {k: n for k, n in apiserver.requests(mark).items() if k[0] == controller.user and k[2] != "leases"}
    say("asked: " + ", ".join(f"{n} {' '.join(map(str, k[1:]))}" for k, n in sorted(made.items(), key=lambda i: -i[1])[:8]))
    return sum(made.values()), sum(n for k, n in made.items() if k[1] in WRITES)


def ready_copies(controller):
    return controller.metric("leasehold_cluster_projections", state="ready")


def burst(apiserver, manager, controller, count, seconds):
    seen = Readiness(apiserver, count)
    seen.start()
    pid = controller.process.pid
    cpu, mark, bao_mark, begin = cpu_seconds(pid), apiserver.audit_mark(), manager.bao.audit_mark(), time.monotonic()
    created = create(apiserver, count)
    if not seen.whole.wait(seconds):
        sys.exit(f"{len(seen.at)} of {count} are ready after {seconds} s; {controller.tail()}")
    end = max(seen.at.values())
    cpu = cpu_seconds(pid) - cpu
    anonymous, resident = memory_kib(pid)
    latencies = sorted(seen.at[f"p{i}"] - created[i] for i in range(count))
    asked, _ = requests_of(apiserver, controller, mark)
    return {
        "all in sync, s": f"{end - begin:.1f}",
        "latency p50 / p99, s": f"{latencies[count // 2]:.2f} / {latencies[count * 99 // 100]:.2f}",
        "private / resident memory, MiB": f"{anonymous / 1024:.1f} / {resident / 1024:.1f}",
        "CPU per object, ms": f"{1000 * cpu / count:.3f}",
        "requests to the API server per object": f"{asked / count:.2f}",
        "requests to the manager per object": f"{sum(manager.bao.requests(bao_mark).values()) / count:.2f}",
    }


def steady(apiserver, controller, seconds):
    time.sleep(5)
    pid = controller.process.pid
    cpu, mark = cpu_seconds(pid), apiserver.audit_mark()
    time.sleep(seconds)
    cpu = cpu_seconds(pid) - cpu
    _, writes = requests_of(apiserver, controller, mark)
    return {"steady: CPU, % of a core": f"{100 * cpu / seconds:.3f}", "steady: writes": str(writes)}


def cold_start(apiserver, controller, count, seconds):
    controller.kill()
    mark, begin = apiserver.audit_mark(), time.monotonic()
    # In a thread of its own, whose connection is new: the one that this thread keeps has been idle for too long.
    in_parallel(lambda _: controller.start(), 1)
    favour(controller.process.pid)
    wait_until("all copies again", lambda: controller.ready() and ready_copies(controller) >= count, seconds, 0.2)
    took = time.monotonic() - begin
    anonymous, _ = memory_kib(controller.process.pid)
    _, writes = requests_of(apiserver, controller, mark)
    return {
        "after kill -9: all known good, s": f"{took:.1f}",
        "after kill -9: CPU, s": f"{cpu_seconds(controller.process.pid):.2f}",
        "after kill -9: private memory, MiB": f"{anonymous / 1024:.1f}",
        "after kill -9: writes": str(writes),
    }


def measure(args, count):
    with Manager() as manager, ApiServer(controllers=CONTROLLERS, audit=True) as apiserver, tempfile.TemporaryDirectory() as d:
        controller = Controller(pathlib.Path(args.bin_dir), d, apiserver, manager, [NAMESPACE])
        controller.flags = []  # the election's own times: those of the tests are for a machine that does nothing else
        controller.store(refresh={"default": "1h", "min": "10s"}, limits={"requestsPerSecond": 10000, "maxInFlight": 32})
        fill(manager, count)
        say(f"{count} secrets written")
        controller.start()
        try:
            favour(controller.process.pid)
            controller.wait_active()
            idle, _ = memory_kib(controller.process.pid)
            row = {"objects": f"{count:,}", "private memory idle, MiB": f"{idle / 1024:.1f}"}
            row |= burst(apiserver, manager, controller, count, args.timeout)
            say(f"{count} in sync: {row}")
            row |= steady(apiserver, controller, args.steady)
            row |= cold_start(apiserver, controller, count, args.timeout)
            say(f"{count} known again after kill -9: {row}")
            return row
        finally:
            controller.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", default=str(ROOT / "build/release/bin"))
    parser.add_argument("--sizes", default="1000,5000,10000")
    parser.add_argument("--steady", type=float, default=60)
    parser.add_argument("--timeout", type=float, default=900)
    args = parser.parse_args()
    conditions = Conditions(args.bin_dir)
    rows = [measure(args, int(size)) for size in args.sizes.split(",")]
    print("| | " + " | ".join(r["objects"] for r in rows) + " |\n|---|" + "---|" * len(rows))
    for key in list(rows[0])[1:]:
        print(f"| {key} | " + " | ".join(r[key] for r in rows) + " |")
    print(f"\n{conditions}")


if __name__ == "__main__":
    main()
