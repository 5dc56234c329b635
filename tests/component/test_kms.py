# SPDX-License-Identifier: Apache-2.0
"""leasehold-kms with a real Transit engine, called by real grpc-go."""

import os

import pytest
from kmsplugin import Plugin
from openbao import OpenBao
from procs import Work

SEED = bytes(range(32))
QUICK = ("--probe-interval", "1s", "--settle-delay", "1s", "--settle-observations", "2")


@pytest.fixture(scope="module")
def bao():
    work = Work()
    try:
        yield OpenBao(work).start()
    finally:
        work.end()


@pytest.fixture
def program(bin_dir):
    return bin_dir / "leasehold-kms"


@pytest.fixture
def plugin(program, tmp_path, bao, request):
    key = request.node.name.replace("[", "-").replace("]", "").lower()
    p = Plugin.on_transit(program, tmp_path, bao, "transit", key, *QUICK).start()
    p.key = key
    yield p
    p.close()


def backend_calls(bao, mark, key):
    """Calls with the key since mark, those of the probe's round trip apart."""
    found = bao.requests(mark)
    return {op: found[("update", f"transit/{op}/{key}")] for op in ("encrypt", "decrypt")}


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 1024, 64 * 1024])
def test_what_is_encrypted_comes_back(plugin, size):
    c = plugin.client()
    plain = os.urandom(size)
    healthz, key_id = c.status()
    assert healthz == "ok"
    sealed = c.encrypt(plain)
    assert sealed.key_id == key_id
    assert sealed.ciphertext.startswith(b"vault:v1:")
    assert size > 600 or len(sealed.ciphertext) <= 1023
    assert plain not in sealed.ciphertext or size < 2
    assert c.decrypt(sealed) == plain


def test_calls_before_the_first_answer_of_the_manager_are_served(program, tmp_path, bao):
    p = Plugin.on_transit(program, tmp_path, bao, "transit", "cold", *QUICK)
    bao.freeze()
    try:
        p.start()
        box = p.client().start("Status", b"", 10000)
        assert not p.state()["ready"]
    finally:
        bao.thaw()
    try:
        assert p.client().result(box)
        assert p.state()["ready"]
    finally:
        p.close()
