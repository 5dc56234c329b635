# SPDX-License-Identifier: Apache-2.0
"""lib/etcd on a real etcd, running and as files."""

import contextlib
import shutil
import ssl
import urllib.error

import pytest
from pki import Authority
from procs import wait_until
from realetcd import Etcd, Reader, b64, read

PREFIX = "/registry/"
KEYS = 20000
VALUE = b"k8s\0" + b"v" * 1196
MOST_KIB = 40 << 10  # whatever there is to read


@contextlib.contextmanager
def running(**options):
    etcd = Etcd(**options)
    try:
        yield etcd
    finally:
        etcd.close()


def fill(etcd, n=KEYS):
    etcd.put_many((f"/registry/secrets/ns{i % 7}/s{i:06}", VALUE) for i in range(n))
    etcd.put("/other", "not asked for")
    etcd.put("/registry0", "the first key behind the prefix")


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_twenty_thousand_keys(bin_dir, tmp_path, tls):
    """Live, from a snapshot and from the file of the stopped member: the same, in bounded memory."""
    with running(tls=tls) as etcd:
        fill(etcd)
        identity = (etcd.pki.ca, *etcd.client) if tls else ()
        about, entries, live = read(bin_dir, PREFIX, etcd.urls[0], *identity, LIST="1")
        assert (about["tls"], about["cert"]) == (int(tls), int(tls))
        assert about["version"].startswith("3.") and about["leader"] and about["cluster"]
        assert about["members"] == 1 and about["peers"].startswith("http://127.0.0.1:")
        keys = [e["key"] for e in entries]
        assert len(set(keys)) == KEYS and keys == sorted(keys)
        assert all(e["size"] == e["head"] == len(VALUE) and e["version"] == 1 for e in entries)
        assert live["entries"] == KEYS and live["revision"] == about["revision"]
        assert live["restarts"] == live["retries"] == live["bad"] == 0
        assert 0 < live["peak_kib"] < MOST_KIB

        told, entries, kept = read(bin_dir, PREFIX, etcd.snapshot(tmp_path / "snapshot.db"), LIST="1")
        assert told["hash"] and told["matches"] and told["revision"] == about["revision"]
        assert sorted(e["key"] for e in entries) == keys
        assert kept["bytes"] == live["bytes"] and kept["bad"] == 0
        assert 0 < kept["peak_kib"] < MOST_KIB

        etcd.stop(0)
        told, _, bare = read(bin_dir, PREFIX, etcd.folder / "m0" / "member" / "snap" / "db")
        assert not told["hash"]
        assert (bare["entries"], bare["bytes"], bare["bad"]) == (KEYS, live["bytes"], 0)


def test_who_is_let_in(bin_dir, tmp_path):
    with running(tls=True) as etcd:
        url = etcd.urls[0]
        other = Authority(tmp_path / "other")
        stranger = other.leaf("stranger", "/CN=root", ["DNS:x"], "clientAuth")
        for identity, code, text in [
            (("-",), "Invalid", "https needs the CA"),
            ((etcd.pki.ca,), "Unavailable", "certificate required"),
            ((etcd.pki.ca, *stranger), "Unavailable", ""),
            ((other.ca, *etcd.client), "Unavailable", "unable to get local issuer certificate"),
            ((etcd.pki.ca, etcd.client[0]), "Invalid", "go together"),
            ((etcd.pki.ca, etcd.client[0], stranger[1]), "Invalid", "client certificate"),
            ((tmp_path / "nothing.pem",), "NotFound", "nothing.pem"),
        ]:
            answer = Reader(bin_dir, PREFIX, url, *identity).rest()[-1]
            assert answer["error"] == code and text in answer["text"], (identity, answer)
        answer = Reader(bin_dir, PREFIX, url.replace("127.0.0.1", "localhost"), etcd.pki.ca, *etcd.client).rest()[-1]
        assert answer["error"] == "Unavailable", "the certificate names the address alone"


def test_compaction_restarts_the_scan(bin_dir):
    """What was compacted away meanwhile is told, and the second run is of one revision, complete."""
    with running() as etcd:
        fill(etcd, 3000)
        reader = Reader(bin_dir, PREFIX, etcd.urls[0], SLOWLY="1")
        reader.line()
        assert reader.line() == {"at": "first"}
        newest = etcd.put("/registry/new", "x")
        etcd.call("/v3/kv/compaction", revision=str(newest), physical=True)
        reader.go_on()
        assert reader.line() == {"at": "restarted"}
        reader.go_on()
        done = reader.rest()[-1]
        assert (done["entries"], done["given"], done["restarts"]) == (3001, 3001, 1)
        assert done["revision"] == newest


def test_a_write_does_not_show_in_a_scan(bin_dir):
    with running() as etcd:
        fill(etcd, 3000)
        reader = Reader(bin_dir, PREFIX, etcd.urls[0], SLOWLY="1")
        about = reader.line()
        assert reader.line() == {"at": "first"}
        etcd.put("/registry/zzz", "later")
        reader.go_on()
        done = reader.rest()[-1]
        assert done["entries"] == 3000 and done["revision"] == about["revision"]


def test_the_only_member_comes_back(bin_dir):
    with running() as etcd:
        fill(etcd, 3000)
        reader = Reader(bin_dir, PREFIX, etcd.urls[0], SLOWLY="1")
        reader.line()
        assert reader.line() == {"at": "first"}
        etcd.kill(0)
        reader.go_on()
        etcd.start(0)
        done = reader.rest()[-1]
        assert done["entries"] == 3000 and done["retries"] > 0


def test_the_leader_is_lost(bin_dir):
    with running(members=3) as etcd:
        fill(etcd, 3000)
        leader = etcd.leader()
        urls = etcd.urls[leader:] + etcd.urls[:leader]
        reader = Reader(bin_dir, PREFIX, ",".join(urls), SLOWLY="1")
        assert reader.line()["members"] == 3
        assert reader.line() == {"at": "first"}
        etcd.kill(leader)
        reader.go_on()
        done = reader.rest()[-1]
        assert done["entries"] == 3000 and done["retries"] > 0


def test_nobody_there(bin_dir):
    with running() as etcd:
        etcd.stop(0)
        answer = Reader(bin_dir, PREFIX, etcd.urls[0]).rest()[-1]
        assert answer["error"] == "Unavailable" and "Connection refused" in answer["text"]


def test_no_space(bin_dir):
    with running() as etcd:
        fill(etcd, 100)
        etcd.call("/v3/maintenance/alarm", action="ACTIVATE", alarm="NOSPACE")
        about, _, done = read(bin_dir, PREFIX, etcd.urls[0])
        assert about["no_space"] == 1 and done["entries"] == 100


def test_authentication(bin_dir):
    """Without a certificate told apart; with one, etcd takes the common name for the user."""
    with running() as etcd:
        fill(etcd, 10)
        etcd.call("/v3/auth/user/add", name="root", password="x")
        etcd.call("/v3/auth/user/grant", user="root", role="root")
        etcd.call("/v3/auth/enable")
        answer = Reader(bin_dir, PREFIX, etcd.urls[0]).rest()[-1]
        assert answer["error"] == "Denied" and "passwords are not supported" in answer["text"]


def test_authentication_by_certificate(bin_dir):
    with running(tls=True) as etcd:
        fill(etcd, 10)
        etcd.call("/v3/auth/user/add", name="root", options={"no_password": True})
        etcd.call("/v3/auth/user/grant", user="root", role="root")
        etcd.call("/v3/auth/enable")
        _, _, done = read(bin_dir, PREFIX, etcd.urls[0], etcd.pki.ca, *etcd.client)
        assert done["entries"] == 10


def test_large_values(bin_dir, tmp_path):
    """Pages get smaller as values get larger, and a value that no page may hold costs its value alone."""
    with running(flags=("--max-request-bytes", str(40 << 20))) as etcd:
        etcd.put_many((f"/registry/a{i:04}", b"small") for i in range(300))
        for i in range(40):
            etcd.put(f"/registry/b{i:02}", b"B" * (1400 << 10))
        etcd.put("/registry/c", b"C" * (17 << 20))
        etcd.put_many((f"/registry/d{i:04}", b"small") for i in range(300))
        _, entries, done = read(bin_dir, PREFIX, etcd.urls[0], LIST="1")
        keys = [e["key"] for e in entries]
        assert keys == sorted(keys) and len(keys) == done["entries"] == 641
        assert [e["key"] for e in entries if e["unread"]] == ["/registry/c"]
        assert {e["size"] for e in entries if "/b" in e["key"]} == {1400 << 10}
        assert 0 < done["peak_kib"] < 100 << 10
        _, entries, done = read(bin_dir, PREFIX, etcd.snapshot(tmp_path / "s"), LIST="1")
        assert len(entries) == 641 and done["unread"] == done["bad"] == 0


def test_history_is_not_content(bin_dir, tmp_path):
    """Ten versions of a key count once, deleted keys not at all, before and after compaction and defragmentation."""
    with running() as etcd:
        for turn in range(10):
            etcd.put_many((f"/registry/k{i:04}", f"{turn}") for i in range(500))
        etcd.call("/v3/kv/deleterange", key=b64("/registry/k0000"), range_end=b64("/registry/k0100"))
        newest = etcd.put("/registry/last", "x")

        def counts(name):
            _, entries, done = read(bin_dir, PREFIX, etcd.snapshot(tmp_path / name), LIST="1")
            assert done["bad"] == 0 and {e["version"] for e in entries} == {10, 1}
            return done["entries"]

        assert counts("a") == 401
        etcd.call("/v3/kv/compaction", revision=str(newest), physical=True)
        assert counts("b") == 401
        etcd.call("/v3/maintenance/defragment")
        assert counts("c") == 401


def test_damaged_files(bin_dir, tmp_path):
    with running() as etcd:
        fill(etcd, 2000)
        whole = etcd.snapshot(tmp_path / "whole")
    size = whole.stat().st_size
    cut = shutil.copy(whole, tmp_path / "cut")
    with open(cut, "r+b") as f:
        f.truncate(size // 2)
    _, _, done = read(bin_dir, PREFIX, cut)
    assert done["bad"] > 0 and done["entries"] < 2000
    changed = shutil.copy(whole, tmp_path / "changed")
    with open(changed, "r+b") as f:
        f.seek(size - 1)
        f.write(b"\0")
    about, _, done = read(bin_dir, PREFIX, changed)
    assert about["hash"] and not about["matches"] and done["entries"] == 2000
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"SQLite format 3\0" + bytes(8192))
    assert Reader(bin_dir, PREFIX, foreign).rest()[-1]["error"] == "Invalid"
