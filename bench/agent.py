#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/agent.py [--bin-dir DIR] [--runs N] [--settle S] [--idle S]: start and idle of leasehold-agent beside bao agent,
five KV secrets and five database leases of one hour, against one OpenBao in the same run. Prints a table."""

import argparse
import datetime
import pathlib
import statistics
import time

from agents import BaoAgent, Leasehold, Run, cpu_seconds, memory_kib, wakeups
from conditions import Conditions
from managers import Manager
from priority import favour

SECRETS = [(f"kv{i}", f"kv/app/s{i}") for i in range(1, 6)] + [(f"db{i}", f"database/creds/slow{i}") for i in range(1, 6)]


def left_behind(manager, before):
    return len([u for u in manager.pg_users() if u not in before])


def manager_seconds(manager, mark):
    """How long the manager was at work on at least one request since mark, by its audit log."""
    begins = {e["request"]["id"]: _time(e) for e in manager.bao.audit(mark)}
    spans = sorted((begins[e["request"]["id"]], _time(e)) for e in manager.bao.audit(mark, kind="response") if e["request"]["id"] in begins)
    total, until = 0.0, 0.0
    for begin, end in spans:
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def _time(entry):
    whole, _, fraction = entry["time"].rstrip("Z").partition(".")
    return datetime.datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def measure(manager, agent, args):
    walls, cpus, works, requests, left, stops = [], [], [], [], [], []
    slug = agent.name.replace(" ", "-")
    for i in range(args.runs):
        users, mark = set(manager.pg_users()), manager.bao.audit_mark()
        run = Run(agent, manager.folder / f"{slug}-start{i}", SECRETS)
        walls.append(run.wall)
        cpus.append(run.cpu)
        works.append(manager_seconds(manager, mark))
        time.sleep(2)  # a measuring window: what the agent still asks right after its start counts as start
        requests.append(sum(manager.bao.requests(mark).values()))
        stops.append(run.stop())
        time.sleep(1)  # the manager revokes asynchronously
        left.append(left_behind(manager, users))
    run = Run(agent, manager.folder / f"{slug}-idle", SECRETS)
    time.sleep(args.settle)
    cpu, wakes, mark = cpu_seconds(run.pid), wakeups(run.pid), manager.bao.audit_mark()
    time.sleep(args.idle)
    per_minute = 60 / args.idle
    anonymous, resident = memory_kib(run.pid)
    row = {
        "private memory, MiB": anonymous / 1024,
        "resident memory, MiB": resident / 1024,
        "start to files, ms": statistics.median(walls) * 1000,
        "of that, the manager at work, ms": statistics.median(works) * 1000,
        "the rest, ms": statistics.median(w - m for w, m in zip(walls, works, strict=True)) * 1000,
        "CPU of the start, ms": statistics.median(cpus) * 1000,
        "requests at start": statistics.median(requests),
        "CPU idle, ms a minute": (cpu_seconds(run.pid) - cpu) * 1000 * per_minute,
        "wake-ups idle, a minute": (wakeups(run.pid) - wakes) * per_minute,
        "requests idle, a minute": sum(manager.bao.requests(mark).values()) * per_minute,
        "end, ms": statistics.median(stops) * 1000,
        "database users left behind": statistics.median(left),
    }
    run.stop()
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--settle", type=float, default=60)
    parser.add_argument("--idle", type=float, default=300, help="to hold what is due every few minutes [300]")
    args = parser.parse_args()
    conditions = Conditions(args.bin_dir)
    with Manager() as manager:
        favour(manager.bao.pid())
        favour(manager.work.process("postgres").pid)
        agents = [Leasehold(manager, args.bin_dir / "leasehold-agent"), BaoAgent(manager)]
        rows = {a.name: measure(manager, a, args) for a in agents}
    names = list(rows)
    print(f"| 5 KV + 5 database leases, median of {args.runs} | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for key in rows[names[0]]:
        print(f"| {key} | " + " | ".join(f"{rows[n][key]:.1f}" for n in names) + " |")
    print(conditions)


if __name__ == "__main__":
    main()
