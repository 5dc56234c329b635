# SPDX-License-Identifier: Apache-2.0
"""One screen, each line verified before it is printed: what the demos share."""

import os
import sys

WIDTH = 100


class Report:
    """Lines of a label and a text. A claim that does not hold is printed as FAILED and makes the exit status 1."""

    def __init__(self):
        self.failed = 0
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def head(self, text):
        print(self._paint(text, "1"), flush=True)

    def line(self, label, text, holds=True):
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
        return 1 if self.failed else 0


def anonymous_kib(pid):
    """Memory that no other process can share."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        for row in f:
            if row.startswith("Anonymous:"):
                return int(row.split()[1])
    raise RuntimeError(f"process {pid} has no smaps_rollup")
