# SPDX-License-Identifier: Apache-2.0
"""What etcd really holds of an object, and what KMS v2's value says of itself without any key."""

import base64
import dataclasses
import json
import urllib.request

PREFIX = b"k8s:enc:kms:v2:"


@dataclasses.dataclass(frozen=True)
class Stored:
    """A value. provider None: not of KMS v2; then raw is all there is."""

    raw: bytes
    provider: str | None = None
    key_id: str = ""
    source: bytes = b""
    kind: int = 0
    annotations: tuple = ()


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def message(data):
    """number -> values of a protobuf message of bytes and numbers."""
    found, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        value, at = varint(data, at)
        if tag & 7 == 2:
            end = at + value
            assert end <= len(data), "a field is cut"
            value, at = data[at:end], end
        else:
            assert tag & 7 == 0, f"wire type {tag & 7}"
        found.setdefault(tag >> 3, []).append(value)
    return found


def parse(raw):
    if not raw.startswith(PREFIX):
        return Stored(raw)
    provider, _, body = raw[len(PREFIX) :].partition(b":")
    f = message(body)
    pairs = [message(entry) for entry in f.get(4, [])]
    annotations = tuple((p[1][0].decode(), p.get(2, [b""])[0]) for p in pairs)
    return Stored(raw, provider.decode(), f[2][0].decode(), f[3][0], f.get(5, [0])[0], annotations)


def read(etcd, prefix="/registry/secrets/"):
    """key -> Stored of all below prefix. etcd: its client URL."""
    first = prefix.encode()
    last = first[:-1] + bytes([first[-1] + 1])
    found = {}
    while True:
        body = {"key": base64.b64encode(first).decode(), "range_end": base64.b64encode(last).decode(), "limit": 500}
        request = urllib.request.Request(f"{etcd}/v3/kv/range", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            page = json.load(answer)
        for kv in page.get("kvs", []):
            first = base64.b64decode(kv["key"])
            found[first.decode()] = parse(base64.b64decode(kv["value"]))
        if not page.get("more"):
            return found
        first += b"\0"
