# SPDX-License-Identifier: Apache-2.0
"""Under which conditions a run's figures were taken: printed below each table."""

import os
import pathlib
import platform
import re


def _processor():
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return found.group(1).strip() if found else platform.machine()


def build_type(bin_dir):
    """What CMake built these programs as, "unknown" where no build folder is around them."""
    cache = pathlib.Path(bin_dir).resolve().parent / "CMakeCache.txt"
    found = re.search(r"^CMAKE_BUILD_TYPE:\w+=(\w+)$", cache.read_text(encoding="utf-8"), re.M) if cache.exists() else None
    return found.group(1) if found else "unknown"


class Conditions:
    """Made before the run, str() after it."""

    def __init__(self, bin_dir=None):
        """bin_dir: None for programs out of images, which are always Release."""
        self.build = build_type(bin_dir) if bin_dir else "Release, from images"
        self.before = os.getloadavg()[0]

    def __str__(self):
        load = f"load average {self.before:.1f} before, {os.getloadavg()[0]:.1f} after (the run's own load included)"
        return f"\nConditions: {os.cpu_count()} cores of {_processor()}, kernel {platform.release()}, build {self.build}; {load}."
