# SPDX-License-Identifier: Apache-2.0
"""Kubelet's part of CSI: real grpc-go, of kubelet's version, with the messages that kubelet sends."""

import base64
import concurrent.futures
import dataclasses
import itertools
import json
import os
import pathlib
import subprocess
import threading

import tools
from procs import BedError, wait_until

RESERVED = "csi.storage.k8s.io/"
IDENTITY, NODE, REGISTRATION = "/csi.v1.Identity/", "/csi.v1.Node/", "/pluginregistration.Registration/"


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, value):
    """One field of a message: bool, int, text or bytes, a dict as a map of texts, a list as a repeated field."""
    if isinstance(value, list):
        return b"".join(field(number, v) for v in value)
    if isinstance(value, dict):
        return b"".join(field(number, field(1, k) + field(2, v)) for k, v in value.items())
    if isinstance(value, int):
        return varint(number << 3) + varint(int(value)) if value else b""
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data):
    """A message as [(number, int or bytes)]."""
    found, at = [], 0

    def number():
        nonlocal at
        shift = value = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            found.append((tag >> 3, number()))
        else:
            assert tag & 7 == 2, "no other kind of field is in these messages"
            size = number()
            found.append((tag >> 3, data[at : at + size]))
            at += size
    return found


def only(data, number, otherwise=b""):
    """The last value of a field, as a decoder takes it."""
    return dict(fields(data)).get(number, otherwise)


@dataclasses.dataclass(frozen=True)
class Answer:
    code: str
    message: str
    body: bytes

    @property
    def ok(self):
        return self.code == "OK"


class Client:
    """Calls on one socket, any number at a time."""

    def __init__(self, path, uid=0):
        argv, extra = [str(tools.path("grpc-go") / "grpc-go"), "--socket", str(path), "ask"], {}
        if uid:
            # The tool may lie in a folder that only root may enter: it is opened here and run by its descriptor.
            fd = os.open(argv[0], os.O_RDONLY)
            argv[0] = f"/proc/self/fd/{fd}"
            extra = {"user": uid, "group": uid, "extra_groups": [], "pass_fds": [fd]}
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **extra)
        self._ids, self._waiting = itertools.count(1), {}
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            got = json.loads(line)
            body = base64.b64decode(got["body"] or "")
            self._waiting.pop(got["id"]).set_result(Answer(got["code"], got["message"], body))

    def _say(self, **line):
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def start(self, method, body=b"", seconds=20.0):
        """A future of an Answer; cancel() gives the call up."""
        future, number = concurrent.futures.Future(), next(self._ids)
        future.cancel = lambda: self._say(id=number, cancel=True)
        self._waiting[number] = future
        self._say(id=number, method=method, body=base64.b64encode(body).decode(), timeout_ms=int(seconds * 1000))
        return future

    def call(self, method, body=b"", seconds=20.0):
        return self.start(method, body, seconds).result(seconds + 10)

    def close(self):
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()


@dataclasses.dataclass
class Volume:
    """A volume of a Pod as kubelet asks for it. Whatever is set differs from what a good kubelet sends."""

    pods: pathlib.Path
    uid: str
    pod: str = "shop"
    namespace: str = "shop"
    account: str = "shop"
    name: str = "db"
    projection: str = "db"
    read_only: bool = True
    group: str = ""
    tokens: dict = dataclasses.field(default_factory=dict)  # audience to token
    flags: list = dataclasses.field(default_factory=list)
    attributes: dict = dataclasses.field(default_factory=dict)  # added
    secrets: dict = dataclasses.field(default_factory=dict)
    access: bytes | None = None  # the capability's message
    fs_type: str = ""
    id: str = ""
    path: str = ""

    @property
    def volume_id(self):
        return self.id or f"csi-{self.uid}-{self.name}"

    @property
    def folder(self):
        return self.pods / self.uid / "volumes" / "kubernetes.io~csi" / self.name

    @property
    def target(self):
        return self.path or str(self.folder / "mount")

    def token_map(self):
        entries = {a: {"token": t, "expirationTimestamp": "2099-01-01T00:00:00Z"} for a, t in self.tokens.items()}
        return json.dumps(entries)

    def context(self):
        names = {"pod.name": self.pod, "pod.namespace": self.namespace, "pod.uid": self.uid}
        own = {**names, "serviceAccount.name": self.account, "ephemeral": "true"}
        made = {RESERVED + k: v for k, v in own.items() if v}
        if self.projection:
            made["projection"] = self.projection
        return made | self.attributes

    def capability(self):
        if self.access is not None:
            return self.access
        return field(2, field(1, self.fs_type) + field(2, self.flags) + field(3, self.group))

    def publish(self):
        secrets = {RESERVED + "serviceAccount.tokens": self.token_map()} if self.tokens else {}
        return (
            field(1, self.volume_id)
            + field(4, self.target)
            + (field(5, self.capability()) if self.access != b"none" else b"")
            + field(6, self.read_only)
            + field(7, secrets | self.secrets)
            + field(8, self.context())
        )

    def unpublish(self):
        return field(1, self.volume_id) + field(2, self.target)

    def stats(self):
        return field(1, self.volume_id) + field(2, self.target)


class Kubelet:
    """The client of the driver's socket, and the folders that kubelet makes."""

    def __init__(self, path, uid=0):
        self.client = Client(path, uid)

    def publishing(self, volume, seconds=20.0):
        """A future, for what is done meanwhile."""
        volume.folder.mkdir(parents=True, exist_ok=True)
        return self.client.start(NODE + "NodePublishVolume", volume.publish(), seconds)

    def publish(self, volume, seconds=20.0):
        return self.publishing(volume, seconds).result(seconds + 10)

    def unpublishing(self, volume, seconds=20.0):
        return self.client.start(NODE + "NodeUnpublishVolume", volume.unpublish(), seconds)

    def unpublish(self, volume, seconds=20.0):
        return self.unpublishing(volume, seconds).result(seconds + 10)

    def stats(self, volume):
        return self.client.call(NODE + "NodeGetVolumeStats", volume.stats())

    def until_ok(self, call, volume, seconds=30):
        """As kubelet: again until it is done."""
        answers = []

        def done():
            answers.append(call(volume))
            return answers[-1].ok

        try:
            wait_until("OK", done, seconds, 0.1)
        except BedError:
            raise AssertionError(answers[-1]) from None

    def close(self):
        self.client.close()
