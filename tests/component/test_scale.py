# SPDX-License-Identifier: Apache-2.0
"""The scale bench at a small size: it runs, everything gets in sync, and a controller that starts again finds it so."""

import re
import subprocess
import sys

from apiserver import ROOT

OBJECTS = 100


def test_bench_of_the_cluster_controller(bin_dir):
    argv = [sys.executable, ROOT / "bench/controllers.py", "--bin-dir", bin_dir]
    argv += ["--sizes", str(OBJECTS), "--steady", "2", "--timeout", "120"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr
    row = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", done.stdout, re.M))
    # One read each and a login that all share, and what does not depend on their number. A login of each would be 7.
    assert float(row["requests to the manager per object"]) <= 4
    assert float(row["requests to the API server per object"]) <= 8
    assert float(row["private / resident memory, MiB"].split(" / ")[0]) <= 24
