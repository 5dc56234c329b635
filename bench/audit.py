#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/audit.py [--bin-dir DIR] [--sizes N,N]: `leasehold audit` over that many Secrets in a real etcd with TLS, live and from a
snapshot, in equal parts plain, under secretbox and under KMS v2, of 1.2 KB each. Prints seconds, CPU and peak private memory."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from agents import ROOT, memory_kib
from conditions import Conditions

sys.path[:0] = [str(ROOT / "tests" / "component"), str(ROOT / "tests" / "cluster" / "bed")]

from realetcd import Etcd  # noqa: E402

BYTES = 1200
NAMESPACES = 50
KEY_IDS = 3
PROTECTIONS = ("none", "local", "kms")


def field(number, data):
    """A length-delimited field of Protocol Buffers."""
    size, n = b"", len(data)
    while n > 0x7F:
        size, n = size + bytes([n & 0x7F | 0x80]), n >> 7
    return bytes([number << 3 | 2]) + size + bytes([n]) + data


def encrypted_object(i):
    """k8s.io/kms v2 EncryptedObject with an HKDF extended nonce's seed."""
    key_id = f"key-{i % KEY_IDS}".encode()
    body = field(1, os.urandom(BYTES)) + field(2, key_id) + field(3, os.urandom(60))
    return b"k8s:enc:kms:v2:transit:" + body + b"\x28\x01"


def value(i):
    kind = PROTECTIONS[i % 3]
    if kind == "none":
        return b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret" + field(2, os.urandom(BYTES))
    return b"k8s:enc:secretbox:v1:first:" + os.urandom(BYTES) if kind == "local" else encrypted_object(i)


def run(argv):
    """(report, seconds, CPU seconds, peak private KiB) of one audit."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(list(map(str, argv)), stdout=out)
        peak = 0
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            try:
                peak = max(peak, memory_kib(process.pid)[0])
            except (OSError, KeyError):
                pass  # it ended meanwhile
            time.sleep(0.005)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        took = time.monotonic() - began
        if process.returncode not in (0, 1):
            raise SystemExit(f"the audit ended with {process.returncode}")
        out.seek(0)
        return json.load(out), took, usage.ru_utime + usage.ru_stime, peak


def check(report, size):
    """All keys are counted, each under its own protection."""
    seen = dict.fromkeys(PROTECTIONS, 0)
    for row in report["objects"]:
        if row["resource"] == "secrets":
            seen[row["protection"]] += row["count"]
    want = {kind: len(range(i, size, 3)) for i, kind in enumerate(PROTECTIONS)}
    if seen != want:
        raise SystemExit(f"the audit counted {seen}, not {want}")


def measure(program, size, folder):
    """Rows of the table: (source, seconds, CPU, KiB)."""
    etcd = Etcd(tls=True, flags=["--quota-backend-bytes", str(8 << 30)])
    try:
        etcd.put_many((f"/registry/secrets/ns-{i % NAMESPACES}/s-{i:07}", value(i)) for i in range(size))
        live = ["--etcd", etcd.urls[0], "--cacert", etcd.pki.ca, "--cert", etcd.client[0], "--key", etcd.client[1]]
        sources = {"live": live, "snapshot": ["--snapshot", etcd.snapshot(folder / f"{size}.db")]}
        for name, argv in sources.items():
            report, *figures = run([program, "audit", *argv, "-o", "json"])
            check(report, size)
            yield name, *figures
    finally:
        etcd.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "build" / "release" / "bin")
    parser.add_argument("--sizes", default="10000,100000")
    args = parser.parse_args()
    conditions = Conditions(args.bin_dir)
    print("| Secrets | source | seconds | CPU, s | CPU a key, us | peak private memory, MiB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        for size in map(int, args.sizes.split(",")):
            for name, took, cpu, peak in measure(args.bin_dir / "leasehold", size, pathlib.Path(folder)):
                row = f"{size:,} | {name} | {took:.2f} | {cpu:.2f} | {cpu / size * 1e6:.1f} | {peak / 1024:.1f}"
                print(f"| {row} |", flush=True)
    print(conditions)


if __name__ == "__main__":
    main()
