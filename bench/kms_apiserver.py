#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/kms_apiserver.py [--bin-dir DIR] [--secrets N] [--rounds N]: kube-apiserver over etcd, each case with its own and all
at once, measured in turns: no encryption, secretbox, leasehold-kms on Transit of OpenBao. N Secrets written over several
starts of the API server, as each start makes a seed; then cold starts, LISTs and updates, and who was asked to decrypt."""

import argparse
import base64
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

from agents import ROOT, cpu_seconds, memory_kib
from conditions import Conditions
from openloop import percentile
from priority import favour

sys.path[:0] = [str(ROOT / "tests" / "component"), str(ROOT / "tests" / "cluster" / "bed")]

from apiserver import ApiServer  # noqa: E402
from kmsplugin import Plugin, configuration  # noqa: E402
from openbao import OpenBao  # noqa: E402
from procs import Work, wait_until  # noqa: E402

SECRETS = "/api/v1/namespaces/default/secrets"
SEEDS = 5
UPDATES = 200
LISTS = 3
NONE, SECRETBOX, KMS, KMS_NEW = "none", "secretbox", "leasehold-kms", "leasehold-kms just started"


def document(i):
    return {"metadata": {"name": f"s-{i}"}, "data": {"v": base64.b64encode(os.urandom(768)).decode()}}


class Case:
    """An API server and its etcd."""

    def __init__(self, name, folder, stack, *providers, socket=None):
        self.name = name
        self.config = folder / f"{name}.json"
        configuration(self.config, socket, *providers)
        self.stack = stack
        self.flags = ["--encryption-provider-config", self.config]
        self.server = stack.enter_context(ApiServer(crds=False, flags=self.flags))
        self.favour()

    def favour(self):
        for process in ("etcd", "apiserver"):
            favour(self.server.pid(process))

    def restart(self):
        self.server.stop()
        self.start()

    def start(self):
        """Favoured from its first instruction on, not only once it is ready."""
        self.server._start_apiserver()
        favour(self.server.pid())
        self.server.start()

    def cpu(self):
        return cpu_seconds(self.server.pid())

    def list(self, count, server=None):
        """Seconds of a LIST of all Secrets; all of them are there."""
        began = time.perf_counter()
        status, body = (server or self.server).raw("GET", SECRETS)
        took = time.perf_counter() - began
        if status != 200 or body.count(b'"name":"s-') != count:
            raise SystemExit(f"{self.name}: LIST answered {status} with {body.count(b'{')} objects")
        return took


class Bed:
    def __init__(self, folder, bin_dir, stack):
        work = Work()
        stack.callback(work.end)
        self.bao = OpenBao(work).start()
        favour(self.bao.pid())
        flags = ("transit", "bench", "--log-level=warn")
        self.plugin = Plugin.on_transit(bin_dir.resolve() / "leasehold-kms", folder, self.bao, *flags)
        stack.callback(self.plugin.close)
        self.plugin_cpu = 0.0
        self.start_plugin()
        key = {"name": "first", "secret": base64.b64encode(os.urandom(32)).decode()}
        self.cases = [
            Case(NONE, folder, stack, {"identity": {}}),
            Case(SECRETBOX, folder, stack, {"secretbox": {"keys": [key]}}, {"identity": {}}),
            Case(KMS, folder, stack, socket=self.plugin.socket),
        ]

    def start_plugin(self):
        if self.plugin.process:
            self.plugin_cpu += cpu_seconds(self.plugin.process.pid)
            self.plugin.stop()
        self.plugin.start(start_new_session=True)
        favour(self.plugin.process.pid)
        wait_until("plugin", lambda: self.plugin.state()["ready"], 30)

    def decrypts(self, mark):
        """(asked of the plugin since it started, asked of the manager since mark)."""
        asked = self.plugin.metric("leasehold_kms_calls_total", method="Decrypt")
        return int(asked), self.bao.requests(mark)["update", "transit/decrypt/bench"]


class Table:
    def __init__(self):
        self.rows = collections.defaultdict(lambda: collections.defaultdict(list))

    def add(self, row, column, value):
        self.rows[row][column].append(value)


def fill(bed, table, count):
    """In SEEDS parts, the API server started anew between them."""
    per_part = count // SEEDS
    for part in range(SEEDS):
        for case in bed.cases:
            if part:
                case.restart()
            cpu, began = case.cpu(), time.perf_counter()

            def post(i, case=case):
                case.server.call("POST", SECRETS, document(i))

            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                list(pool.map(post, range(part * per_part, (part + 1) * per_part)))
            table.add("create, 4 at a time: a second", case.name, per_part / (time.perf_counter() - began))
            table.add("API server's CPU a create, ms", case.name, 1e3 * (case.cpu() - cpu) / per_part)


def updates(case, table):
    seconds = []
    cpu = case.cpu()
    for i in range(UPDATES):
        body = json.dumps(document(i))
        began = time.perf_counter()
        status, answer = case.server.raw("PUT", f"{SECRETS}/s-{i}", body, {"Content-Type": "application/json"})
        seconds.append(time.perf_counter() - began)
        if status != 200:
            raise SystemExit(f"{case.name}: an update was answered {status}: {answer[:300]}")
    seconds.sort()
    table.add("update, one at a time: p50, ms", case.name, percentile(seconds, 50) * 1e3)
    table.add("update, one at a time: p99, ms", case.name, percentile(seconds, 99) * 1e3)
    table.add("API server's CPU an update, ms", case.name, 1e3 * (case.cpu() - cpu) / UPDATES)


def cold_start(bed, case, column, table, count):
    asked, mark = bed.decrypts(None)[0], bed.bao.audit_mark()
    case.server.stop()
    began = time.perf_counter()
    case.start()
    table.add("cold start: ready, s", column, time.perf_counter() - began)
    case.list(count)
    table.add("cold start: all Secrets listed, s", column, time.perf_counter() - began)
    table.add("cold start: API server's CPU until then, s", column, case.cpu())
    if case.name == KMS:
        now = bed.decrypts(mark)
        table.add("cold start: Decrypts asked of the plugin", column, now[0] - asked)
        table.add("cold start: Decrypts asked of the manager", column, now[1])
    table.add("API server's resident memory after it, MiB", column, memory_kib(case.server.pid())[1] / 1024)


def lists(case, column, table, count):
    for _ in range(LISTS):
        cpu = case.cpu()
        table.add("LIST from the watch cache, s", column, case.list(count))
        table.add("API server's CPU of that, s", column, case.cpu() - cpu)


def lists_from_etcd(case, table, count):
    """By an API server without a watch cache, on the same etcd."""
    flags = [*case.flags, "--watch-cache=false"]
    with ApiServer(crds=False, flags=flags, beside=case.server) as server:
        favour(server.pid())
        case.list(count, server)
        for _ in range(LISTS):
            cpu = cpu_seconds(server.pid())
            table.add("LIST from etcd, s", case.name, case.list(count, server))
            table.add("API server's CPU of that LIST, s", case.name, cpu_seconds(server.pid()) - cpu)


def measure(bed, count, rounds):
    table = Table()
    fill(bed, table, count)
    for _ in range(rounds):
        for case in bed.cases:
            cold_start(bed, case, case.name, table, count)
            lists(case, case.name, table, count)
            updates(case, table)
        bed.start_plugin()
        cold_start(bed, bed.cases[-1], KMS_NEW, table, count)
    for case in bed.cases:
        lists_from_etcd(case, table, count)
    private, resident = memory_kib(bed.plugin.process.pid)
    print(
        f"leasehold-kms in all of this: {bed.plugin_cpu + cpu_seconds(bed.plugin.process.pid):.2f} s of CPU; at its end "
        f"{private / 1024:.1f} MiB private, {resident / 1024:.1f} MiB resident.\n"
    )
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    parser.add_argument("--secrets", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.secrets // SEEDS * SEEDS != args.secrets or args.secrets < UPDATES:
        parser.error(f"--secrets: a multiple of {SEEDS}, at least {UPDATES}")
    conditions = Conditions(args.bin_dir)
    favour()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        table = measure(Bed(pathlib.Path(name), args.bin_dir, stack), args.secrets, args.rounds)
    columns = (NONE, SECRETBOX, KMS, KMS_NEW)
    print(f"| {args.secrets:,} Secrets, medians | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for row, cells in table.rows.items():
        figures = [f"{statistics.median(cells[c]):,.2f}" if cells[c] else "" for c in columns]
        print(f"| {row} | " + " | ".join(figures) + " |")
    print(conditions)


if __name__ == "__main__":
    main()
