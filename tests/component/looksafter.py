# SPDX-License-Identifier: Apache-2.0
"""tests/programs/health_do.c with the rights that the chart gives the cluster controller."""

import json
import pathlib
import subprocess
import threading

from procs import BedError, wait_until

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "chart" / "locked-down.yaml"
SYSTEM, ACCOUNT = "leasehold-system", "health-do"


def rules_of(apiserver, role):
    """The rules of a ClusterRole as the chart renders it."""
    head = ("kind: ClusterRole\n", f"\n  name: {role}\n")
    text = next(d for d in GOLDEN.read_text().split("\n---\n") if all(h in d for h in head))
    done = apiserver.kubectl("create", "--dry-run=client", "-o", "json", "-f", "-", input=text)
    return json.loads(done.stdout)["rules"]


class LooksAfter:
    """One process; lines that it said are in `said`."""

    def __init__(self, program, apiserver, namespaces):
        apiserver.account(SYSTEM, ACCOUNT, rules_of(apiserver, "leasehold-controller"))
        apiserver.account(SYSTEM, ACCOUNT, rules_of(apiserver, "leasehold-controller-copies"), only_in=namespaces)
        self.user = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
        self.program, self.kubeconfig = program, apiserver.kubeconfig(SYSTEM, ACCOUNT)
        self.process, self.said = None, []

    def start(self):
        self.said = []
        argv = [str(self.program), str(self.kubeconfig)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        threading.Thread(target=self._read, args=(self.process.stdout, self.said), daemon=True).start()
        return self

    @staticmethod
    def _read(stream, said):
        for line in stream:
            said.append(json.loads(line))

    def send(self, verb, **fields):
        self.process.stdin.write(json.dumps({"do": verb, **fields}) + "\n")

    def stop(self):
        """As a leader that ends; its exit code."""
        self.process.stdin.close()
        return self.process.wait(20)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def condition(self, projection):
        """The last of it that was said, as "True Fresh: ..."."""
        found = [s for s in self.said if s["what"] == "condition" and s["projection"] == projection]
        return "{status} {reason}: {message}".format(**found[-1]) if found and "status" in found[-1] else ""

    def wait_condition(self, projection, starts, seconds=40):
        try:
            wait_until(f'"{starts}"', lambda: self.condition(projection).startswith(starts), seconds)
        except BedError as e:
            raise BedError(f"{e} of {projection}; it said {self.said[-5:]}") from None
        return self.condition(projection)
