#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/deadcreds.py [--bin-dir DIR] [--seconds S] [CASE ...]: seconds in which the published file holds credentials
that PostgreSQL refuses, and credentials issued. leasehold-agent and bao agent run at the same time, each with an OpenBao
and a PostgreSQL of its own, so that what one of them does to its manager is not the other's trouble. Cases: steady static outage renew403 renew500."""

import argparse
import dataclasses
import os
import pathlib
import threading
import time

from agents import BaoAgent, Leasehold, Run
from conditions import Conditions
from faultproxy import FaultProxy
from managers import Manager
from priority import favour
from procs import wait_until

EVERY = 0.2
CASES = ["steady", "static", "outage", "renew403", "renew500"]
STATIC_PERIOD = 10
POLICY_ERROR = b'{"errors":["1 error occurred:\\n\\t* permission denied\\n\\n"]}'
OUTAGE_AT, OUTAGE, OUTAGE_EVERY = 15, 30, 90  # seconds


@dataclasses.dataclass
class Sample:
    at: float  # of the clock
    good: bool


class Probe(threading.Thread):
    """Logs in with the file's content every EVERY seconds, whatever the earlier logins do."""

    def __init__(self, manager, file, until):
        super().__init__(daemon=True)
        self.manager, self.file, self.until = manager, file, until
        self.samples = []

    def run(self):
        due, logins = time.monotonic(), []
        while due < self.until:
            time.sleep(max(0, due - time.monotonic()))
            logins = [t for t in logins if t.is_alive()]
            logins.append(threading.Thread(target=self._login, args=(due,), daemon=True))
            logins[-1].start()
            due += EVERY
        for t in logins:
            t.join(60)

    def _login(self, at):
        user, password = self.file.read_text().split("\n")[:2]
        self.samples.append(Sample(at, self.manager.pg_login(user, password)))

    def dead(self, spans=((0, float("inf")),)):
        """Dead seconds in each of the spans of time."""
        return [sum(EVERY for s in self.samples if not s.good and a <= s.at < b) for a, b in spans]

    def longest(self):
        """Seconds of the longest stretch of refused logins."""
        best = now = 0.0
        for s in sorted(self.samples, key=lambda s: s.at):
            now = 0.0 if s.good else now + EVERY
            best = max(best, now)
        return best


class Subject:
    """One agent with a manager of its own."""

    def __init__(self, agent, case):
        self.agent, self.manager, self.proxy = agent, agent.manager, None
        self.path = "database/static-creds/probe" if case == "static" else "database/creds/fast1"
        manager = self.manager
        self.mark = manager.bao.audit_mark()
        if case == "static":
            add_static_role(manager, "probe")
        address = self._faults(manager, int(case[5:])) if case.startswith("renew") else None
        folder = manager.folder / f"{agent.name.replace(' ', '-')}-{case}"
        self.run = Run(agent, folder, [("db", self.path)], address)

    def issued(self):
        return self.manager.bao.requests(self.mark)["read", self.path]

    def _faults(self, manager, status):
        tls, bao = manager.folder / "tls", manager.bao
        self.proxy = FaultProxy((bao.host, bao.port()), ca=bao.ca, cert=tls / "server.pem", key=tls / "server.key")
        self.proxy.start()
        body = POLICY_ERROR if status == 403 else b'{"errors":["internal error"]}'
        self.proxy.add("*:sys/leases/renew", "status", status=status, body=body)
        return self.proxy.address

    def close(self):
        self.run.stop()
        if self.proxy:
            self.proxy.close()


def add_static_role(manager, name):
    manager.postgres.query(f"create role {name} login password '{os.urandom(8).hex()}'")
    role = {"db_name": "app", "username": name, "rotation_period": f"{STATIC_PERIOD}s"}
    manager.bao.api("POST", f"database/static-roles/{name}", role)

    def rotated():
        return manager.bao.api("GET", f"database/static-creds/{name}").data["last_vault_rotation"]

    # The manager looks at new roles every 5 s only: the first rotation comes late, those after it on time.
    first = rotated()
    wait_until(f"a rotation of {name}", lambda: rotated() != first, 3 * STATIC_PERIOD, 0.1)


def outages(baos, until):
    """Kills the managers again and again. Spans of time from when they answer again to the next end."""
    spans, due = [], time.monotonic() + OUTAGE_AT
    while due + OUTAGE < until:
        time.sleep(max(0, due - time.monotonic()))
        for bao in baos:
            bao.kill()
        if spans:
            spans[-1][1] = time.monotonic()
        time.sleep(OUTAGE)
        for bao in baos:
            bao.start()
            favour(bao.pid())
        spans.append([time.monotonic(), until])
        due += OUTAGE_EVERY
    return spans


def run_case(agents, case, seconds):
    """Rows of the table."""
    for a in agents:
        favour(a.manager.bao.pid())
        favour(a.manager.work.process("postgres").pid)
    subjects = [Subject(a, case) for a in agents]
    until = time.monotonic() + seconds
    probes = [Probe(s.manager, s.run.files[0], until) for s in subjects]
    for p in probes:
        p.start()
    spans = outages([a.manager.bao for a in agents], until) if case == "outage" else []
    for p in probes:
        p.join()
    for s, p in zip(subjects, probes, strict=True):
        after = p.dead(spans)
        yield [
            f"{case}, {seconds:.0f} s",
            s.agent.name,
            f"{len(p.samples)}",
            f"{sum(p.dead()):.1f}",
            f"{p.longest():.1f}",
            f"{sum(after):.1f} / {max(after):.1f} of {len(after)}" if after else "",
            f"{s.issued()}",
        ]
        s.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{' '.join(CASES)} [all]")
    args = parser.parse_args()
    cases = args.cases or CASES
    for case in cases:
        if case not in CASES:
            parser.error(f"no case {case!r}; there are {', '.join(CASES)}")
    conditions = Conditions(args.bin_dir)
    favour()
    head = ["case", "agent", "logins", "dead, s", "longest, s", "dead after the outages, sum / worst, s", "reads"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for case in cases:
        with Manager() as first, Manager() as second:
            agents = [Leasehold(first, args.bin_dir / "leasehold-agent"), BaoAgent(second)]
            for row in run_case(agents, case, args.seconds):
                print("| " + " | ".join(row) + " |", flush=True)
    print(f"\nttl 20 s, max 60 s; static role: every {STATIC_PERIOD} s.")
    print(conditions)


if __name__ == "__main__":
    main()
