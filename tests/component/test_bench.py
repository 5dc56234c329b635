# SPDX-License-Identifier: Apache-2.0
"""What measures runs, and finds its calls answered as they should be; which figures it finds does not matter here."""

import pathlib
import subprocess
import sys

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"


def tables(text):
    """Lists of rows of cells, a list for each table."""
    found = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [t for t in found if t]


def test_an_audit_of_many_keys(bin_dir):
    argv = [sys.executable, BENCH / "audit.py", "--bin-dir", bin_dir, "--sizes", "300,600"]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (rows,) = tables(done.stdout)
    assert [row[:2] for row in rows[2:]] == [[n, s] for n in ("300", "600") for s in ("live", "snapshot")]


def test_the_kms_plugin_beside_one_on_grpc_go(bin_dir):
    argv = [sys.executable, BENCH / "grpc.py", "--bin-dir", bin_dir, "--rounds", "1", "--seconds", "0.1", "--starts", "1"]
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    local, transit = tables(done.stdout)
    assert local[0][1:] == ["leasehold-kms", "kms-go"]
    assert len(local) == 2 + 4 + 3 * 2 * 4 + 4 + 1
    assert all(float(cell.replace(",", "")) > 0 for row in local[2:] for cell in row[1:])
    answered = [row for row in transit if row[0].endswith("calls/s")]
    assert len(answered) == 4
    assert all(float(cell.replace(",", "")) > 0 for row in answered for cell in row[1:4])
