#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/creates.py [--bin-dir DIR] [--rounds N] [--parallel N]: that many Pods created at the same moment through a real
kube-apiserver over etcd, each on a connection of its own. Cases in turns: no webhook installed; leasehold-webhook
installed as the chart does, Pod not annotated (the match condition keeps it from being asked); the same without the match
condition, so that it is asked and changes nothing: what any webhook costs; a Pod with three secrets."""

import argparse
import base64
import copy
import json
import pathlib
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

from agents import ROOT, cpu_seconds
from conditions import Conditions
from openloop import percentile
from pki import Authority
from priority import favour
from procs import free_ports, wait_until
from webhook import STORE, pod

sys.path.insert(0, str(ROOT / "tests" / "cluster" / "bed"))

from apiserver import ApiServer, rule  # noqa: E402

NAMESPACE = "shop"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
NAME = "leasehold-webhook"
CASES = {  # name -> (webhook: None, "as installed" or "always asked"; Pod annotated)
    "no webhook": (None, True),
    "not annotated, not asked": ("as installed", False),
    "not annotated, asked": ("always asked", False),
    "annotated, three secrets": ("as installed", True),
}


def configuration(server, port, ca):
    """The chart's, with an address in place of the Service, which needs a cluster."""
    documents = (ROOT / "manifests" / "leasehold.yaml").read_text(encoding="utf-8").split("\n---\n")
    (text,) = [d for d in documents if "\nkind: MutatingWebhookConfiguration\n" in d]
    made = json.loads(server.kubectl("create", "--dry-run=client", "-o", "json", "-f", "-", input=text).stdout)
    for w in made["webhooks"]:
        w["clientConfig"] = {"url": f"https://127.0.0.1:{port}/mutate", "caBundle": ca}
    return made


class Bed:
    """API server, webhook, and the webhook's configuration, in or out."""

    def __init__(self, server, bin_dir):
        self.server = server
        server.namespace(NAMESPACE)
        server.apply(STORE, _account())
        authority = Authority(server.folder / "webhook")
        cert, key = authority.leaf("webhook", "/CN=webhook", ["IP:127.0.0.1"])
        port, self.metrics = free_ports(2)
        rules = [rule(["secretstores", "clustersecretstores"], ["get", "list", "watch"])]
        server.account("leasehold-system", NAME, [*rules, rule(["namespaces"], ["get", "list", "watch"])])
        argv = [bin_dir.resolve() / "leasehold-webhook", "--listen", f"127.0.0.1:{port}", "--log-level=warn"]
        argv += ["--metrics", f"127.0.0.1:{self.metrics}", "--tls-cert", cert, "--tls-key", key]
        argv += ["--kubeconfig", server.kubeconfig("leasehold-system", NAME)]
        self.pid = server.work.start("webhook", argv).pid
        made = configuration(server, port, base64.b64encode(authority.ca.read_bytes()).decode())
        self.configurations = {"as installed": made, "always asked": copy.deepcopy(made)}
        for w in self.configurations["always asked"]["webhooks"]:
            del w["matchConditions"]
        self.installed = None

    def install(self, wanted):
        """Returns when the API server acts so: it watches configurations, and takes a moment."""
        if self.installed:
            self.server.call("DELETE", f"{WEBHOOKS}/{NAME}")
        if wanted:
            self.server.call("POST", WEBHOOKS, self.configurations[wanted])
        self.installed = wanted
        want = {None: (False, False), "as installed": (False, True), "always asked": (True, True)}[wanted]
        wait_until(f"webhook {wanted}", lambda: (self._asks(False), self._asks(True)) == want, 30, 0.05)

    def _asks(self, annotated):
        """Is the webhook asked about such a Pod?"""
        before = self._reviews()
        self.server.call("POST", f"{PODS}?dryRun=All", pod(annotated), check=False)
        return self._reviews() > before

    def _reviews(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5) as answer:
            rows = answer.read().decode().splitlines()
        return sum(float(r.rpartition(" ")[2]) for r in rows if r.startswith("leasehold_admission_reviews_total{"))

    def create(self, annotated, parallel):
        """Seconds in all, p50 and p99 of each, CPU seconds of API server and webhook."""
        body = json.dumps(pod(annotated))
        connections = [self.server.connection() for _ in range(parallel)]
        for c in connections:
            c.connect()
        begin, seconds, failures = threading.Barrier(parallel + 1), [], []
        threads = [
            threading.Thread(target=_create_one, args=(c, body, begin, seconds, failures), daemon=True)
            for c in connections
        ]
        for t in threads:
            t.start()
        cpu = self._cpu()
        started = time.perf_counter()
        begin.wait()
        for t in threads:
            t.join()
        total = time.perf_counter() - started
        spent = [after - before for before, after in zip(cpu, self._cpu(), strict=True)]
        if failures:
            raise SystemExit(f"{len(failures)} of {parallel} Pods were refused: {failures[0]}")
        self._check(parallel, annotated and self.installed is not None)
        seconds.sort()
        return [total, percentile(seconds, 50), percentile(seconds, 99), *spent]

    def _cpu(self):
        return [cpu_seconds(self.server.pid()), cpu_seconds(self.pid)]

    def _check(self, count, injected):
        """All Pods are there and as they shall be; then they are deleted."""
        pods = self.server.get(PODS)["items"]
        if len(pods) != count or any(("initContainers" in p["spec"]) != injected for p in pods):
            raise SystemExit(f"{len(pods)} Pods, not all of them as they should be")
        self.server.call("DELETE", f"{PODS}?gracePeriodSeconds=0")
        wait_until("end of the Pods", lambda: not self.server.get(PODS)["items"], 30, 0.05)


def _create_one(connection, body, begin, seconds, failures):
    begin.wait()
    started = time.perf_counter()
    connection.request("POST", PODS, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    seconds.append(time.perf_counter() - started)
    if answer.status != 201:
        failures.append(text[:300])
    connection.close()


def _account():
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "shop", "namespace": NAMESPACE}}


def measure(bed, rounds, parallel):
    """case -> list of what create() found."""
    found = {case: [] for case in CASES}
    for i in range(rounds + 1):
        for case, (installed, annotated) in CASES.items():
            bed.install(installed)
            row = bed.create(annotated, parallel)
            if i > 0:  # the first round warms the caches
                found[case].append(row)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--parallel", type=int, default=100)
    args = parser.parse_args()
    conditions = Conditions(args.bin_dir)
    favour()
    with ApiServer() as server:
        for name in ("etcd", "apiserver"):
            favour(server.pid(name))
        bed = Bed(server, args.bin_dir)
        favour(bed.pid)
        found = measure(bed, args.rounds, args.parallel)
    medians = {case: [statistics.median(column) for column in zip(*rows, strict=True)] for case, rows in found.items()}
    head = ["all created, ms", "p50, ms", "p99, ms", "API server's CPU a create, us", "webhook's CPU a create, us"]
    scale = [1e3, 1e3, 1e3, 1e6 / args.parallel, 1e6 / args.parallel]
    base = medians["no webhook"]
    print(f"| {args.parallel} Pods at once, median of {args.rounds} | " + " | ".join(head) + " |\n|" + "---|" * (len(head) + 1))
    for case, row in medians.items():
        cells = [f"{v * s:,.0f}" for v, s in zip(row, scale, strict=True)]
        ratios = [f" ({v / b:.2f})" if b and case != "no webhook" else "" for v, b in zip(row[:4], base, strict=False)] + [""]
        print(f"| {case} | " + " | ".join(c + r for c, r in zip(cells, ratios, strict=True)) + " |")
    print("\nIn brackets: the ratio to no webhook.")
    print(conditions)


if __name__ == "__main__":
    main()
