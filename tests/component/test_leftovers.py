# SPDX-License-Identifier: Apache-2.0
"""What rewriting leaves behind on a real etcd's disk, and when it is gone: `leasehold audit --data-dir`, check P11."""

import json
import re
import shutil
import subprocess

import pytest
from procs import wait_until
from realetcd import Etcd

SECRETS = 200
CANARY = "l3ft-0ver-value"
BIG = 300_000  # overflows its page many times
LOG = 64 << 20  # of one file of etcd's log


def plain(i, size=0):
    """As kube-apiserver stores a Secret: runtime.Unknown, apiVersion v1, kind Secret, and what is in it."""
    return b"k8s\0\n\x0c\n\x02v1\x12\x06Secret\x12" + f"{CANARY}-{i}".encode() + bytes(size)


def sealed(i):
    return b"k8s:enc:secretbox:v1:new:" + bytes([i % 251] * 24) + bytes(80)


def keys(n=SECRETS):
    return [f"/registry/secrets/shop/s{i:03}" for i in range(n)]


class Audit:
    def __init__(self, bin_dir):
        self.program = bin_dir / "leasehold"

    def run(self, *args, code=0):
        argv = [str(a) for a in (self.program, "audit", *args)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
        said = done.stdout + done.stderr
        assert CANARY not in said and done.returncode == code, said
        return said

    def leftovers(self, *args):
        told = json.loads(self.run(*args, "-o", "json"))
        (p11,) = [c for c in told["checks"] if c["id"] == "P11"]
        return p11["result"], told["leftovers"]

    def settled(self, folder, *args, **like):
        """Once etcd has committed all of it to its database: it does so a little after the log has it."""
        told = []

        def is_there():
            told[:] = self.leftovers(*args, "--data-dir", folder)
            return counts(told[1][0], place="current", **like) == SECRETS + 1

        wait_until("the database has all", is_there)
        return told[0], told[1][0]


@pytest.fixture
def audit(bin_dir):
    return Audit(bin_dir)


@pytest.fixture
def etcd():
    made = Etcd(flags=("--max-wals", "1", "--snapshot-count", "10"))
    try:
        yield made
    finally:
        made.close()


def places(left, of="plain"):
    return {k: n for k, n in left[of].items() if n}


def counts(left, **like):
    return sum(k["count"] for k in left["keys"] if all(k[name] == value for name, value in like.items()))


def turn_the_log_over(etcd):
    """More than a file of it, then a start, at which etcd removes what it does not need."""
    block = bytes(1 << 20)
    for i in range((LOG >> 20) + 16):
        etcd.put(f"/registry/events/filler{i % 4}", block)
    etcd.stop(0)
    etcd.start(0)
    wait_until("etcd is back", etcd.is_healthy)


def test_a_migration_leaves_plain_text_until_disk_and_log_are_turned_over(audit, etcd, tmp_path):
    folder = etcd.folder / "m0"
    etcd.put_many((k, plain(i)) for i, k in enumerate(keys()))
    etcd.put("/registry/secrets/shop/big", plain(1000, BIG))
    etcd.put("/registry/configmaps/shop/no-secret", b"k8s\0\n\x0f\n\x02v1\x12\x09ConfigMap" + CANARY.encode())
    result, left = audit.settled(folder, provider="identity", name="")
    assert result == "fail"
    assert (left["complete"], left["log"], left["why"]) == (True, True, None)
    assert left["plain"]["current"] == left["plain"]["log"] == SECRETS + 1 and left["plain"]["older"] == 0

    # Rewritten: the API shows no plain text any more, the disk does.
    etcd.put_many((k, sealed(i)) for i, k in enumerate(keys()))
    revision = etcd.put("/registry/secrets/shop/big", sealed(0))
    result, left = audit.settled(folder, "--etcd", etcd.urls[0], provider="secretbox", name="new")
    assert result == "fail"
    assert left["plain"]["older"] == left["plain"]["log"] == SECRETS + 1 and left["plain"]["current"] == 0
    assert counts(left, place="log", provider="secretbox", name="new") == SECRETS + 1

    # Compacted: pages that nothing points to hold it still.
    etcd.call("/v3/kv/compaction", revision=str(revision), physical=True)
    result, (left,) = audit.leftovers("--etcd", etcd.urls[0], "--data-dir", folder)
    assert result == "fail" and left["plain"]["older"] == 0
    # How many is etcd's affair: commits of the compaction itself write over pages that earlier ones freed.
    assert left["plain"]["free"] > 0 and left["plain"]["log"] == SECRETS + 1
    snapshot = etcd.snapshot(tmp_path / "compacted.db")
    result, (kept,) = audit.leftovers("--snapshot", snapshot)
    assert result == "fail" and kept["plain"]["free"] > 0, "a snapshot is a copy of all pages"
    told = audit.run("--snapshot", snapshot, "--backup", snapshot)
    p12 = re.search(r"^fail +P12 .*\n(?: {4}.*\n)+", told, re.M)
    assert p12 and "in free pages" in " ".join(p12.group().split()), told

    # Defragmented: the database has none; the log has all.
    etcd.call("/v3/maintenance/defragment")
    result, (left,) = audit.leftovers("--etcd", etcd.urls[0], "--data-dir", folder)
    assert result == "fail" and places(left) == {"log": SECRETS + 1}
    snapshot = etcd.snapshot(tmp_path / "defragmented.db")
    result, (kept,) = audit.leftovers("--snapshot", snapshot)
    assert result == "not-proven" and places(kept) == {}, "without the log nothing is proven"
    result, _ = audit.leftovers("--snapshot", snapshot, "--data-dir", folder)
    assert result == "fail"

    turn_the_log_over(etcd)
    result, (left,) = audit.leftovers("--etcd", etcd.urls[0], "--data-dir", folder)
    assert (result, places(left), left["log"], left["complete"]) == ("pass", {}, True, True)
    assert counts(left, place="current", provider="secretbox", name="new") == SECRETS + 1
    assert counts(left, place="log") == 0, "nor is anything under a key that is to be retired"


def test_a_folder_for_each_member(audit):
    etcd = Etcd(members=3)
    try:
        etcd.put_many((k, sealed(i)) for i, k in enumerate(keys(20)))
        folders = [str(etcd.folder / f"m{i}") for i in range(3)]
        assert audit.leftovers("--etcd", etcd.urls[0], "--data-dir", folders[0])[0] == "not-proven"
        assert "none found in 1, of 3 members" in audit.run("--etcd", etcd.urls[0], "--data-dir", folders[0])
        assert audit.leftovers("--etcd", etcd.urls[0], "--data-dir", ",".join(folders))[0] == "pass"
        assert audit.leftovers("--etcd", etcd.urls[0])[0] == "not-proven"
    finally:
        etcd.close()


def test_folders_that_are_damaged_or_none(audit, etcd, tmp_path):
    etcd.put_many((k, plain(i)) for i, k in enumerate(keys()))
    etcd.stop(0)
    folder = tmp_path / "copy"
    shutil.copytree(etcd.folder / "m0", folder)
    database = folder / "member" / "snap" / "db"
    (log,) = (folder / "member" / "wal").glob("*.wal")
    whole = database.read_bytes()

    database.write_bytes(whole[:8192] + bytes(4096) + whole[12288:])
    result, (left,) = audit.leftovers("--data-dir", folder)
    assert result == "fail" and left["plain"]["log"] == SECRETS

    database.write_bytes(bytes(len(whole)))
    log.write_bytes(b"\xff" * 4096)
    result, (left,) = audit.leftovers("--data-dir", folder)
    assert result == "not-proven" and not left["complete"] and not left["log"]
    assert "neither of its two meta pages is whole" in left["why"] or "does not begin as a log" in left["why"]

    database.write_bytes(whole[: len(whole) // 2])
    assert audit.leftovers("--data-dir", folder)[0] in ("fail", "not-proven")
    (tmp_path / "empty").mkdir()
    result, (left,) = audit.leftovers("--data-dir", tmp_path / "empty")
    assert result == "not-proven" and "no data folder of etcd" in left["why"]
    result, (left,) = audit.leftovers("--data-dir", tmp_path / "nothing")
    assert result == "not-proven" and "nothing" in left["why"]
