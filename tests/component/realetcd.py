# SPDX-License-Identifier: Apache-2.0
"""etcd itself, of one member or several, with or without TLS, spoken to over its JSON gateway."""

import base64
import json
import ssl
import subprocess
import urllib.request

import tools
from pki import Authority
from procs import BedError, Work, free_ports, wait_until

BATCH = 100  # operations of a transaction; etcd takes 128


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


class Etcd:
    def __init__(self, members=1, tls=False, flags=()):
        self.work = Work()
        self.folder = self.work.path
        self.flags = flags
        self.ports = [free_ports(2) for _ in range(members)]
        self.pki = None
        self.context = None
        if tls:
            self.pki = Authority(self.folder / "pki")
            self.server = self.pki.leaf("server", "/CN=etcd", ["IP:127.0.0.1"], "serverAuth,clientAuth")
            self.client = self.pki.leaf("client", "/CN=root", ["DNS:client"], "clientAuth")
            self.context = ssl.create_default_context(cafile=self.pki.ca)
            self.context.load_cert_chain(*self.client)
        scheme = "https" if tls else "http"
        self.urls = [f"{scheme}://127.0.0.1:{client}" for client, _ in self.ports]
        for i in range(members):
            self.start(i)
        wait_until("etcd", self.is_healthy)

    def start(self, i):
        client, peer = self.urls[i], f"http://127.0.0.1:{self.ports[i][1]}"
        cluster = ",".join(f"m{n}=http://127.0.0.1:{p}" for n, (_, p) in enumerate(self.ports))
        argv = [
            *(tools.path("kube") / "etcd", "--name", f"m{i}", "--data-dir", self.folder / f"m{i}"),
            *("--unsafe-no-fsync", "--log-level", "error", "--heartbeat-interval", 50, "--election-timeout", 500),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster),
            *self.flags,
        ]
        if self.pki:
            argv += ["--cert-file", self.server[0], "--key-file", self.server[1], "--client-cert-auth"]
            argv += ["--trusted-ca-file", self.pki.ca]
        self.work.start(f"m{i}", list(map(str, argv)))

    def stop(self, i):
        self.work.process(f"m{i}").stop()

    def kill(self, i):
        self.work.process(f"m{i}").kill()

    def is_healthy(self):
        try:
            return all(self.call("/v3/maintenance/status", at=i)[0].get("leader") for i in range(len(self.urls)))
        except OSError:
            return False

    def call(self, path, at=0, **body):
        request = urllib.request.Request(self.urls[at] + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, context=self.context, timeout=60) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def put(self, key, value):
        return int(self.call("/v3/kv/put", key=b64(key), value=b64(value))[0]["header"]["revision"])

    def put_many(self, pairs):
        pairs = list(pairs)
        for i in range(0, len(pairs), BATCH):
            part = [{"requestPut": {"key": b64(k), "value": b64(v)}} for k, v in pairs[i : i + BATCH]]
            self.call("/v3/kv/txn", success=part)

    def snapshot(self, path):
        """As `etcdctl snapshot save` makes it: the same stream, the digest at its end."""
        parts = self.call("/v3/maintenance/snapshot")
        path.write_bytes(b"".join(base64.b64decode(p["result"]["blob"]) for p in parts))
        return path

    def leader(self):
        told = self.call("/v3/maintenance/status")[0]
        for i in range(len(self.urls)):
            if self.call("/v3/maintenance/status", at=i)[0]["header"]["member_id"] == told["leader"]:
                return i
        raise BedError("no leader")

    def close(self):
        self.work.end()


class Reader:
    """tests/programs/etcd_do.c: what it says, line by line."""

    def __init__(self, bin_dir, prefix, source, *identity, **env):
        argv = [bin_dir.parent / "tests" / "etcd_do", prefix, source, *identity]
        self.process = subprocess.Popen(
            list(map(str, argv)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )

    def line(self):
        return json.loads(self.process.stdout.readline())

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def rest(self):
        out, _ = self.process.communicate(timeout=300)
        return [json.loads(line) for line in out.splitlines()]


def read(bin_dir, prefix, source, *identity, **env):
    """(what the source is, entries, what the scan came to); the last two alone after an error."""
    lines = Reader(bin_dir, prefix, source, *identity, **env).rest()
    return lines[0], lines[1:-1], lines[-1]
