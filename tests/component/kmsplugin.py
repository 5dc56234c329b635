# SPDX-License-Identifier: Apache-2.0
"""leasehold-kms beside a manager, and the API server's half of KMS v2 by real grpc-go."""

import base64
import contextlib
import json
import pathlib
import queue
import signal
import subprocess
import threading
import urllib.request

from procs import free_ports, wait_until

TOOLS = pathlib.Path(__file__).resolve().parent.parent / "tools"
POLICY = """
path "{mount}/encrypt/{key}" {{ capabilities = ["update"] }}
path "{mount}/decrypt/{key}" {{ capabilities = ["update"] }}
path "{mount}/keys/{key}"    {{ capabilities = ["read"] }}
path "{mount}/config/keys"   {{ capabilities = ["read"] }}
"""


def field(number, data):
    """One length-delimited field."""
    out = bytearray([number << 3 | 2])
    n = len(data)
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out) + data


def fields(message):
    """number -> list of values of a message whose fields are all length-delimited."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        assert tag & 7 == 2
        n = varint()
        found.setdefault(tag >> 3, []).append(message[at : at + n])
        at += n
    return found


class Sealed:
    """What Encrypt answered and what is stored."""

    def __init__(self, body):
        f = fields(body)
        self.ciphertext, self.key_id = f[1][0], f[2][0].decode()
        pairs = [fields(entry) for entry in f.get(3, [])]
        self.annotations = {p[1][0].decode(): p.get(2, [b""])[0] for p in pairs}

    def request(self, **changes):
        """A DecryptRequest of it."""
        ciphertext = changes.get("ciphertext", self.ciphertext)
        key_id = changes.get("key_id", self.key_id)
        annotations = changes.get("annotations", self.annotations)
        body = field(1, ciphertext) + field(2, b"uid-d") + field(3, key_id.encode())
        for name, value in annotations.items():
            body += field(4, field(1, name.encode()) + field(2, value))
        return body


class CallError(Exception):
    def __init__(self, answer):
        super().__init__(f"{answer['code']}: {answer['message']}")
        self.code, self.message = answer["code"], answer["message"]


class Client:
    """Many calls at a time over one connection, as kube-apiserver makes them."""

    def __init__(self, socket):
        program = subprocess.run([TOOLS / "path", "grpc-go"], check=True, capture_output=True, text=True).stdout.strip()
        self._child = subprocess.Popen(
            [pathlib.Path(program) / "grpc-go", "--socket", str(socket), "ask"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._waiting, self._lock, self._next = {}, threading.Lock(), 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._child.stdout:
            answer = json.loads(line)
            with self._lock:
                box = self._waiting.pop(answer["id"])
            box.put(answer)

    def start(self, method, body=b"", timeout_ms=3000):
        """A queue that will hold the answer."""
        box = queue.Queue()
        with self._lock:
            self._next += 1
            self._waiting[self._next] = box
            line = {
                "id": self._next,
                "method": method if method.startswith("/") else f"/v2.KeyManagementService/{method}",
                "body": base64.b64encode(body).decode(),
                "timeout_ms": timeout_ms,
            }
            self._child.stdin.write(json.dumps(line) + "\n")
            self._child.stdin.flush()
        return box

    @staticmethod
    def result(box):
        answer = box.get(timeout=60)
        if answer["code"] != "OK":
            raise CallError(answer)
        return base64.b64decode(answer["body"] or "")

    def call(self, method, body=b"", timeout_ms=3000):
        return self.result(self.start(method, body, timeout_ms))

    def status(self, timeout_ms=3000):
        """(healthz, key_id)."""
        f = fields(self.call("Status", b"", timeout_ms))
        assert f[1] == [b"v2"]
        return f[2][0].decode(), f[3][0].decode()

    def encrypt(self, plain, timeout_ms=3000):
        body = (field(1, plain) if plain else b"") + field(2, b"uid-e")
        return Sealed(self.call("Encrypt", body, timeout_ms))

    def decrypt(self, sealed, timeout_ms=3000, **changes):
        return fields(self.call("Decrypt", sealed.request(**changes), timeout_ms)).get(1, [b""])[0]

    def close(self):
        self._child.stdin.close()
        self._child.wait(10)


def make_key(bao, mount, key, **settings):
    """A Transit key, and an AppRole that may use it alone: role_id and secret_id."""
    mounts = bao.api("GET", "sys/mounts").data
    if f"{mount}/" not in mounts:
        bao.api("POST", f"sys/mounts/{mount}", {"type": "transit"})
    bao.api("POST", f"{mount}/keys/{key}", settings)
    if "approle/" not in bao.api("GET", "sys/auth").data:
        bao.api("POST", "sys/auth/approle", {"type": "approle"})
    name = f"kms-{mount}-{key}"
    bao.api("PUT", f"sys/policies/acl/{name}", {"policy": POLICY.format(mount=mount, key=key)})
    bao.api("POST", f"auth/approle/role/{name}", {"token_policies": [name], "token_ttl": "1h", "token_max_ttl": "24h"})
    role_id = bao.api("GET", f"auth/approle/role/{name}/role-id").data["role_id"]
    return role_id, bao.api("POST", f"auth/approle/role/{name}/secret-id", {}).data["secret_id"]


def store_document(bao, auth, addresses=None):
    return {
        "apiVersion": "leasehold.dev/v1alpha1",
        "kind": "SecretStore",
        "metadata": {"name": "vault", "namespace": "kube-system"},
        "spec": {
            "vault": {
                "addresses": addresses or [bao.address(n) for n in range(len(bao._nodes))],
                "caBundle": base64.b64encode(pathlib.Path(bao.ca).read_bytes()).decode(),
                "auth": auth,
            }
        },
    }


def limits_of(process):
    """What holds for every thread: no new rights, the mode of the filter, and how many there are."""
    found = set()
    for status in pathlib.Path(f"/proc/{process}/task").glob("*/status"):
        said = dict(line.split(":\t") for line in status.read_text().splitlines() if ":\t" in line)
        found.add((said["NoNewPrivs"], said["Seccomp"], int(said["Seccomp_filters"])))
    return found


class Plugin:
    """One leasehold-kms on a socket of its own."""

    def __init__(self, program, folder, *flags):
        self.program, self.folder = program, pathlib.Path(folder)
        self.socket = self.folder / "kms.sock"
        self.log = self.folder / "kms.log"
        self.port = free_ports(1)[0]
        self.flags = [str(f) for f in flags]
        self.process, self._clients = None, []

    @classmethod
    def on_transit(cls, program, folder, bao, mount, key, *flags, cluster="c1", addresses=None):
        role_id, secret_id = make_key(bao, mount, key)
        folder = pathlib.Path(folder)
        credentials = folder / "credentials"
        credentials.mkdir(parents=True, exist_ok=True)
        (credentials / "secretId").write_text(secret_id)
        auth = {"appRole": {"roleId": role_id, "secretIdRef": {"name": "kms", "key": "secretId"}}}
        (folder / "store.yaml").write_text(json.dumps(store_document(bao, auth, addresses)))
        return cls(
            program,
            folder,
            *("--store", folder / "store.yaml", "--credentials", credentials),
            *("--transit-mount", mount, "--key", key, "--cluster", cluster, *flags),
        )

    def argv(self, *listen):
        listen = listen or ("--listen", str(self.socket))
        return [str(self.program), *listen, *self.flags, "--metrics", f"127.0.0.1:{self.port}"]

    def start(self, *listen, **popen):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv(*listen), stdin=subprocess.DEVNULL, stderr=log, **popen)
        wait_until("socket", self.socket.exists, 10)
        return self

    def stop(self):
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def client(self):
        c = Client(self.socket)
        self._clients.append(c)
        return c

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=5) as answer:
            return answer.read().decode()

    def state(self):
        return json.loads(self.get("status"))

    def metric(self, name, **labels):
        """The sum of the series that have these labels."""
        total = 0.0
        for line in self.get("metrics").splitlines():
            head, _, value = line.rpartition(" ")
            if head.split("{")[0] == name and all(f'{k}="{v}"' in head for k, v in labels.items()):
                total += float(value)
        return total

    def logged(self):
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def close(self):
        for c in self._clients:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                c.close()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def configuration(path, socket, *providers):
    """An EncryptionConfiguration for Secrets: our plugin first, unless told otherwise."""
    kms = {"kms": {"apiVersion": "v2", "name": "lease", "endpoint": f"unix://{socket}", "timeout": "3s"}}
    made = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": list(providers) or [kms, {"identity": {}}]}],
    }
    path.write_text(json.dumps(made))
    return kms
