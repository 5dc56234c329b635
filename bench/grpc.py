#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/grpc.py [--bin-dir DIR] [--rounds N] [--seconds S]: leasehold-kms beside kms-go, the same KMS v2 methods on grpc-go
and the API's generated code, in one run: with a local key (server on core 1, load on core 0) and on Transit of OpenBao,
whose own time is measured in turns with both. The load is one grpc-go client over one connection, as kube-apiserver's."""

import argparse
import base64
import collections
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from agents import ROOT, cpu_seconds, memory_kib
from conditions import Conditions
from priority import favour, ordinary, realtime

sys.path.insert(0, str(ROOT / "tests" / "component"))

from kmsplugin import TOOLS, Client, Plugin, field, make_key  # noqa: E402
from openbao import OpenBao  # noqa: E402
from procs import Work  # noqa: E402

SERVICE = "/v2.KeyManagementService"
SEEDS = 256  # different ones, so that no call joins another that is under way
STREAMS = (1, 64)
NAMES = ("leasehold-kms", "kms-go")


def tool(name):
    folder = subprocess.run([TOOLS / "path", "grpc-go"], check=True, capture_output=True, text=True).stdout.strip()
    return pathlib.Path(folder) / name


def seed(n):
    return n.to_bytes(32, "big")


class GoPlugin(Plugin):
    """kms-go, which takes fewer flags."""

    def argv(self, *listen):
        return [str(self.program), "--listen", str(self.socket), *self.flags]


class Bed:
    """Where plugins are made: folders below one, all ended together."""

    def __init__(self, folder, bin_dir, stack):
        self.folder, self.stack = folder, stack
        self.program = bin_dir.resolve() / "leasehold-kms"
        self.made = 0
        self.key = folder / "keys"
        self.key.touch(mode=0o600)
        self.key.write_text(f"first {base64.b64encode(os.urandom(32)).decode()}\n")
        self.bao = OpenBao(stack.enter_context(_ended(Work()))).start()
        favour(self.bao.pid())
        self.role = make_key(self.bao, "transit", "bench")

    def plugin(self, name, kind, *flags):
        """kind: "local" or "transit". Not started yet."""
        self.made += 1
        folder = self.folder / f"plugin-{self.made}"
        folder.mkdir(mode=0o700)
        if name == "kms-go":
            made = GoPlugin(tool("kms-go"), folder, *self._go_flags(folder, kind))
        elif kind == "local":
            made = Plugin(self.program, folder, "--local-key", self.key, "--cluster", "c1", "--log-level=warn", *flags)
        else:
            made = Plugin.on_transit(self.program, folder, self.bao, "transit", "bench", "--log-level=warn", *flags)
            self._unlimit(folder / "store.yaml")
        self.stack.callback(made.close)
        return made

    @staticmethod
    def _unlimit(store):
        """By default a store asks its manager 200 times a second at most."""
        document = json.loads(store.read_text())
        document["spec"]["limits"] = {"requestsPerSecond": 100000, "maxInFlight": 64}
        store.write_text(json.dumps(document))

    def _go_flags(self, folder, kind):
        if kind == "local":
            return "--local-key", self.key
        role_id, secret_id = self.role
        (folder / "secret-id").write_text(secret_id)
        flags = ("--address", self.bao.address(), "--ca-file", self.bao.ca, "--key", "bench")
        return *flags, "--role-id", role_id, "--secret-id-file", folder / "secret-id"


@contextlib.contextmanager
def _ended(work):
    try:
        yield work
    finally:
        work.end()


def on_core(core):
    return (lambda: os.sched_setaffinity(0, {core})) if core in os.sched_getaffinity(0) else None


@contextlib.contextmanager
def before_all(wanted, *pids):
    """While it is measured, all that take part, children made meanwhile too, go before what else the machine does. Not
    wanted where the manager is loaded as much as it can be: that would take all of the machine."""
    tasks = [0] + [int(t) for pid in pids for t in os.listdir(f"/proc/{pid}/task")] if wanted else []
    realtime(*tasks)
    try:
        yield
    finally:
        ordinary(*tasks)


def start(plugin, core=None):
    # A session, and so a scheduling group, of its own: what is favoured is this process alone.
    plugin.start(start_new_session=True, preexec_fn=on_core(core))
    favour(plugin.process.pid)
    return plugin


def bodies(path, lines):
    """A file as the client's `bodies` and `post` read it. lines: (request, answer or None)."""
    text = (" ".join(base64.b64encode(part).decode() for part in line if part is not None) for line in lines)
    path.write_text("".join(line + "\n" for line in text))
    return path


def requests_for(plugin):
    """method -> file of requests; what Decrypt gives back is checked."""
    client = Client(plugin.socket)
    sealed = [client.encrypt(seed(n)) for n in range(SEEDS)]
    client.close()
    folder = plugin.folder
    return {
        "Status": bodies(folder / "status", [(b"", None)]),
        "Encrypt": bodies(folder / "encrypt", [(field(1, seed(n)) + field(2, b"uid"), None) for n in range(SEEDS)]),
        "Decrypt": bodies(folder / "decrypt", [(s.request(), field(1, seed(n))) for n, s in enumerate(sealed)]),
    }


def requests_for_transit(bao, folder):
    """The same two calls without a plugin."""
    aad = base64.b64encode(b"a" * 60).decode()
    plain = [{"plaintext": base64.b64encode(seed(n)).decode(), "associated_data": aad, "key_version": 1} for n in range(SEEDS)]
    sealed = [bao.api("POST", "transit/encrypt/bench", p).data["ciphertext"] for p in plain]
    opened = [{"ciphertext": s, "associated_data": aad} for s in sealed]
    return {
        method: bodies(folder / f"transit-{method}", [(json.dumps(d).encode(), None) for d in documents])
        for method, documents in (("Encrypt", plain), ("Decrypt", opened))
    }


def load(core, *flags):
    """What the client says of one load."""
    argv = ["setsid", tool("grpc-go"), *flags]
    child = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, text=True, preexec_fn=on_core(core))
    favour(child.pid)
    out, _ = child.communicate(timeout=300)
    if child.returncode != 0:
        raise SystemExit(f"the client ended with {child.returncode}")
    found = json.loads(out)
    if found["failed"]:
        raise SystemExit(f"calls failed: {found['failed']}")
    return found


class Table:
    """row -> column -> figures of all rounds."""

    def __init__(self):
        self.rows = collections.defaultdict(lambda: collections.defaultdict(list))

    def add(self, row, column, value):
        self.rows[row][column].append(value)

    def print(self, title, columns):
        print(f"| {title} | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
        for row, cells in self.rows.items():
            print(f"| {row} | " + " | ".join(_figure(cells.get(c)) for c in columns) + " |")
        print()


def _figure(values):
    if not values:
        return ""
    median = statistics.median(values)
    return f"{median:,.0f}" if abs(median) >= 1000 else f"{median:,.2f}" if abs(median) < 10 else f"{median:,.1f}"


def answers(plugin):
    client = Client(plugin.socket)
    try:
        return client.status(30000)
    finally:
        client.close()


def call(plugin, files, method, streams, seconds, core=None, others=()):
    """(what the client says, the plugin's CPU of a call in us). others: processes that take part."""
    flags = ("--socket", plugin.socket, "--method", f"{SERVICE}/{method}", "--bodies", files[method])
    with before_all(streams == 1 or not others, plugin.process.pid, *others):
        cpu = cpu_seconds(plugin.process.pid)
        found = load(core, *flags, "--workers", streams, "--seconds", seconds, "bodies")
    return found, (cpu_seconds(plugin.process.pid) - cpu) / found["calls"] * 1e6


def memory(table, when, plugins):
    for name, plugin in plugins.items():
        private, resident = memory_kib(plugin.process.pid)
        table.add(f"private memory {when}, MiB", name, private / 1024)
        table.add(f"resident memory {when}, MiB", name, resident / 1024)


def measure_local(bed, rounds, seconds):
    table = Table()
    plugins = {name: start(bed.plugin(name, "local"), 1) for name in NAMES}
    for plugin in plugins.values():
        answers(plugin)
    memory(table, "idle", plugins)
    files = {name: requests_for(plugin) for name, plugin in plugins.items()}
    for _ in range(rounds):
        for method in ("Status", "Encrypt", "Decrypt"):
            for streams in STREAMS:
                for name, plugin in plugins.items():
                    found, cpu = call(plugin, files[name], method, streams, seconds, 0)
                    label = f"{method}, {streams} at a time"
                    table.add(f"{label}: calls/s", name, found["calls"] / found["seconds"])
                    table.add(f"{label}: p50, us", name, found["p50_us"])
                    table.add(f"{label}: p99, us", name, found["p99_us"])
                    table.add(f"{label}: CPU per call, us", name, cpu)
    memory(table, "after the load", plugins)
    return table


def measure_transit(bed, rounds, seconds):
    """kms-go asks the manager each time. So does leasehold-kms without its cache."""
    table = Table()
    plugins = {
        "leasehold-kms": start(bed.plugin("leasehold-kms", "transit", "--cache-entries", "0")),
        "kms-go": start(bed.plugin("kms-go", "transit")),
        "with its cache": start(bed.plugin("leasehold-kms", "transit")),
    }
    for plugin in plugins.values():
        answers(plugin)
    memory(table, "idle", plugins)
    files = {name: requests_for(plugin) for name, plugin in plugins.items()}
    direct = requests_for_transit(bed.bao, bed.folder)
    token = bed.folder / "token"
    # A token like the plugins' own: root's would spare the manager the policies.
    login = dict(zip(("role_id", "secret_id"), bed.role, strict=True))
    token.write_text(bed.bao.api("POST", "auth/approle/login", login).data["client_token"])
    for _ in range(rounds):
        for method in ("Encrypt", "Decrypt"):
            for streams in STREAMS:
                url = f"{bed.bao.address()}/v1/transit/{method.lower()}/bench"
                flags = ("--url", url, "--ca", bed.bao.ca, "--token", token, "--bodies", direct[method])
                with before_all(streams == 1, bed.bao.pid()):
                    base = load(None, *flags, "--workers", streams, "--seconds", seconds, "post")
                label = f"{method}, {streams} at a time"
                _add_latency(table, label, "Transit alone", base)
                for name, plugin in plugins.items():
                    if name == "with its cache" and method == "Encrypt":
                        continue
                    found, cpu = call(plugin, files[name], method, streams, seconds, others=[bed.bao.pid()])
                    _add_latency(table, label, name, found)
                    for q in ("p50", "p99") if streams == 1 and name != "with its cache" else ():
                        table.add(f"{label}: {q} added to Transit, us", name, found[f"{q}_us"] - base[f"{q}_us"])
                    table.add(f"{label}: CPU per call, us", name, cpu)
    memory(table, "after the load", plugins)
    return table


def _add_latency(table, label, name, found):
    table.add(f"{label}: calls/s", name, found["calls"] / found["seconds"])
    table.add(f"{label}: p50, us", name, found["p50_us"])
    table.add(f"{label}: p99, us", name, found["p99_us"])


def measure_start(bed, table, starts):
    """From the start of the process to the first answer of Status; on Transit with a login and a look at the key."""
    for kind, label in (("local", "local key"), ("transit", "Transit")):
        for _ in range(starts):
            for name in NAMES:
                plugin = bed.plugin(name, kind)
                argv = [tool("grpc-go"), "--socket", plugin.socket, "--method", f"{SERVICE}/Status", "--timeout", "30s", "first"]
                child = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, text=True)
                favour(child.pid)
                child.stdout.readline()
                began = time.time_ns()
                start(plugin)
                answer = json.loads(child.communicate(timeout=60)[0])
                if answer["code"] != "OK":
                    raise SystemExit(f"{name} answered {answer['code']}")
                table.add(f"start to the first answer, {label}, ms", name, (answer["at"] - began) / 1e6)
                table.add(f"CPU of that, {label}, ms", name, cpu_seconds(plugin.process.pid) * 1e3)
                plugin.stop()


def measure_size(bed, table):
    for name, program in zip(NAMES, (bed.program, tool("kms-go")), strict=True):
        stripped = bed.folder / "stripped"
        subprocess.run(["strip", "-o", stripped, program], check=True)
        table.add("program, static and stripped, MiB", name, stripped.stat().st_size / (1 << 20))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    parser.add_argument("--rounds", type=int, default=5, help="of each step [5]")
    parser.add_argument("--seconds", type=float, default=3, help="of a step [3]")
    parser.add_argument("--starts", type=int, default=9, help="of each program and backend [9]")
    args = parser.parse_args()
    conditions = Conditions(args.bin_dir)
    favour()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        bed = Bed(pathlib.Path(name), args.bin_dir, stack)
        local = measure_local(bed, args.rounds, args.seconds)
        measure_start(bed, local, args.starts)
        measure_size(bed, local)
        transit = measure_transit(bed, args.rounds, args.seconds)
    local.print(f"local key, median of {args.rounds}", NAMES)
    transit.print(f"Transit, median of {args.rounds}", ("Transit alone", *NAMES, "with its cache"))
    print(conditions)


if __name__ == "__main__":
    main()
