#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/deadcreds.py [--bin-dir DIR] [--seconds S] [CASE ...]: seconds in which the published file holds credentials
that PostgreSQL refuses, and credentials issued, beside bao agent. Cases: steady static outage renew403 renew500."""

import argparse
import pathlib
import threading
import time

from agents import BaoAgent, Leasehold, Run
from faultproxy import FaultProxy
from managers import Manager

EVERY = 0.2
POLICY_ERROR = b'{"errors":["1 error occurred:\\n\\t* permission denied\\n\\n"]}'


def probe(manager, run, seconds, events):
    """Logs in with the file's content every EVERY seconds; events: {seconds: function}."""
    file = run.files[0]
    samples, lock, threads = [], threading.Lock(), []
    start = time.monotonic()
    pending = sorted(events.items())

    def one(at):
        user, password = file.read_text().split("\n")[:2]
        good = manager.pg_login(user, password)
        with lock:
            samples.append((at, good))

    k = 0
    while True:
        at = k * EVERY
        k += 1
        if at > seconds:
            break
        time.sleep(max(0, start + at - time.monotonic()))
        while pending and pending[0][0] <= at:
            thread = threading.Thread(target=pending.pop(0)[1], daemon=True)
            thread.start()
            threads.append(thread)
        thread = threading.Thread(target=one, args=(at,), daemon=True)
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join(60)
    return samples


def dead(samples, since=0.0):
    return sum(EVERY for at, good in samples if not good and at >= since)


def run_case(manager, agent, case, seconds):
    path = "database/static-creds/static1" if case == "static" else "database/creds/fast1"
    events, address, proxy, up_at = {}, None, None, 0.0
    if case in ("renew403", "renew500"):
        tls, bao = manager.folder / "tls", manager.bao
        proxy = FaultProxy((bao.host, bao.port()), ca=bao.ca, cert=tls / "server.pem", key=tls / "server.key").start()
        body = POLICY_ERROR if case == "renew403" else b'{"errors":["internal error"]}'
        proxy.add("*:sys/leases/renew", "status", status=int(case[5:]), body=body)
        address = proxy.address
    if case == "outage":
        up_at = 15 + 30
        events = {15: manager.bao.kill, up_at: manager.bao.restart}
    mark = manager.bao.audit_mark()
    run = Run(agent, manager.folder / f"{agent.name.replace(' ', '-')}-{case}", [("db", path)], address)
    samples = probe(manager, run, seconds, events)
    issued = sum(n for (_, p), n in manager.bao.requests(mark).items() if p == path)
    run.stop()
    if proxy:
        proxy.close()
    after = dead(samples, up_at) if case == "outage" else None
    return dead(samples), after, issued


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("cases", nargs="*", default=["steady", "static", "outage", "renew403", "renew500"])
    args = parser.parse_args()
    print(f"| {args.seconds:.0f} s, ttl 20 s / max 60 s; static role: 10 s | agent | dead, s | dead after the manager is back, s | reads of the credential |")
    print("|---|---|---|---|---|")
    for case in args.cases:
        with Manager() as manager:
            for agent in (Leasehold(manager, args.bin_dir / "leasehold-agent"), BaoAgent(manager)):
                total, after, issued = run_case(manager, agent, case, args.seconds)
                shown = "" if after is None else f"{after:.1f}"
                print(f"| {case} | {agent.name} | {total:.1f} | {shown} | {issued} |", flush=True)


if __name__ == "__main__":
    main()
