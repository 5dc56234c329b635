# SPDX-License-Identifier: Apache-2.0
"""One screen, each line verified before it is printed: what the demos share."""

import os
import sys

WIDTH, HEIGHT = 100, 28  # one screen


class Report:
    """Lines of a label and a text. A claim that does not hold is printed as FAILED and makes the exit status 1."""

    def __init__(self):
        self.failed = self.lines = 0
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def head(self, text):
        self.lines += 1
        print(self._paint(text, "1"), flush=True)

    def line(self, label, text, holds=True):
        self.lines += 1
        if not holds:
            self.failed += 1
            text = f"FAILED: {text}"
        body = f"{label:<11}{text}"
        if len(body) > WIDTH:
            body = body[: WIDTH - 1] + "…"
        print(body if holds else self._paint(body, "31"), flush=True)

    def _paint(self, text, code):
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def exit_code(self):
        if self.lines > HEIGHT:
            print(f"FAILED: {self.lines} lines are more than a screen of {HEIGHT}", flush=True)
        return 1 if self.failed or self.lines > HEIGHT else 0


def private_kib(pid):
    """Memory that no other process can share: anonymous memory, and the locked region where secrets are."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        anonymous = next(int(row.split()[1]) for row in f if row.startswith("Anonymous:"))
    with open(f"/proc/{pid}/smaps", encoding="ascii") as f:
        blocks = f.read().split("VmFlags")
    locked = [row for b in blocks if "secretmem" in b for row in b.splitlines() if row.startswith("Size:")]
    return anonymous + sum(int(row.split()[1]) for row in locked)
