#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/kms_outage.py [--bin-dir DIR] [--seconds S]: a real kube-apiserver and etcd with leasehold-kms on Transit of OpenBao;
then the manager, after that the plugin, then a plugin whose socket a holder owns is killed for that long. Each second a Secret is read from etcd, one is written
and /readyz is asked. Prints until when each was good, and how long after the return it was good again."""

import argparse
import base64
import contextlib
import pathlib
import sys
import tempfile
import time

from agents import ROOT
from conditions import Conditions

sys.path[:0] = [str(ROOT / "tests" / "component"), str(ROOT / "tests" / "cluster" / "bed")]

from apiserver import ApiServer, Refused  # noqa: E402
from kmsplugin import Plugin, configuration  # noqa: E402
from openbao import OpenBao  # noqa: E402
from procs import Work, wait_until  # noqa: E402

SECRETS = "/api/v1/namespaces/default/secrets"


class Bed:
    def __init__(self, folder, bin_dir, stack, held=False):
        work = Work()
        stack.callback(work.end)
        self.bao = OpenBao(work).start()
        program = bin_dir.resolve() / "leasehold-kms"
        self.plugin = Plugin.on_transit(program, folder, self.bao, "transit", "bench")
        stack.callback(self.plugin.close)
        self.listen = ()
        if held:
            control = folder / "control.sock"
            work.start("holder", [program, "--hold", "--listen", self.plugin.socket, "--control", control])
            wait_until("holder", control.exists, 10)
            self.listen = ("--from-holder", str(control))
        self.start_plugin()
        configuration(folder / "encryption.json", self.plugin.socket)
        # Without a watch cache every read is one of etcd, to be decrypted.
        flags = ["--encryption-provider-config", folder / "encryption.json", "--watch-cache=false"]
        self.server = stack.enter_context(ApiServer(crds=False, flags=flags))
        self.count = 0
        self.write()

    def start_plugin(self):
        self.plugin.start(*self.listen)

    def kill_plugin(self):
        self.plugin.process.kill()
        self.plugin.process.wait()

    def write(self):
        self.count += 1
        document = {"metadata": {"name": f"s-{self.count}"}, "data": {"v": base64.b64encode(b"value").decode()}}
        try:
            self.server.call("POST", SECRETS, document)
        except Refused:
            return False
        return True

    def read(self):
        return self.server.raw("GET", f"{SECRETS}/s-1")[0] == 200

    def states(self):
        return {"reads": self.read(), "writes": self.write(), "ready": self.server.ready()}


def outage(bed, seconds, kill, revive):
    """state -> (seconds it was good for, None: all the time; seconds from the return until it is good)."""
    kill()
    began = time.monotonic()
    bad = {}
    while (at := time.monotonic() - began) < seconds:
        for state, good in bed.states().items():
            if not good:
                bad.setdefault(state, at)
        time.sleep(max(0, began + int(at) + 1 - time.monotonic()))  # one look a second
    revive()
    back = time.monotonic()
    good_at = {}

    def all_good():
        now = bed.states()
        for state in now:
            if now[state]:
                good_at.setdefault(state, time.monotonic() - back)
        return all(now.values())

    wait_until("the return", all_good, 180, 0.1)
    return {state: (bad.get(state), good_at[state]) for state in good_at}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    parser.add_argument("--seconds", type=float, default=600, help="of each outage [600]")
    args = parser.parse_args()
    conditions = Conditions(args.bin_dir)
    found = {}
    for held in (False, True):
        with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
            bed = Bed(pathlib.Path(name), args.bin_dir, stack, held)
            if not held:
                found["manager"] = outage(bed, args.seconds, bed.bao.kill, bed.bao.restart)
            who = "plugin behind a holder" if held else "plugin"
            found[who] = outage(bed, args.seconds, bed.kill_plugin, bed.start_plugin)
    print(f"| away for {args.seconds:g} s | state | good for, s | good again after, s |\n|---|---|---|---|")
    for who, states in found.items():
        for state, (bad, again) in states.items():
            print(f"| {who} | {state} | {'all the time' if bad is None else f'{bad:.0f}'} | {again:.1f} |")
    print(conditions)


if __name__ == "__main__":
    main()
