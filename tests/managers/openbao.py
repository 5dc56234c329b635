# SPDX-License-Identifier: Apache-2.0
"""OpenBao as it runs in production: raft storage, TLS, file audit; one node or three."""

import collections
import dataclasses
import http.client
import json
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess

from pki import Authority
from procs import BedError, free_ports, in_netns, wait_until

TOOLS = pathlib.Path(__file__).resolve().parent.parent / "tools"
CONFIG = """\
storage "raft" {{
  path = "{folder}/raft"
  node_id = "{name}"
  performance_multiplier = "1"
{join}}}
listener "tcp" {{
  address = "{host}:{port}"
  cluster_address = "{host}:{cluster_port}"
  tls_cert_file = "{tls}/server.pem"
  tls_key_file = "{tls}/server.key"
}}
audit "file" "main" {{
  options {{
    file_path = "audit.log"
  }}
}}
api_addr = "https://{host}:{port}"
cluster_addr = "https://{host}:{cluster_port}"
log_level = "info"
{extra}"""
JOIN = """\
  retry_join {{
    leader_api_addr = "{address}"
    leader_ca_cert_file = "{ca}"
  }}
"""


def find_program():
    """The pinned bao, else the one on PATH."""
    done = subprocess.run([TOOLS / "path", "bao"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return pathlib.Path(done.stdout.strip()) / "bao"
    found = shutil.which("bao")
    if found is None:
        raise BedError("OpenBao is not there: run tests/tools/fetch bao")
    return pathlib.Path(found)


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body) if self.body else None

    @property
    def data(self):
        """The answer's data; for a login, its auth."""
        document = self.json or {}
        return document.get("auth") or document.get("data")


class ApiError(BedError):
    def __init__(self, method, path, answer):
        super().__init__(f"{method} {path}: {answer.status} {answer.body[:500].decode(errors='replace')}")
        self.answer = answer


class _Connection(http.client.HTTPSConnection):
    """HTTPS out of a network namespace."""

    def __init__(self, host, port, netns, context, timeout):
        super().__init__(host, port, context=context, timeout=timeout)
        self._netns = netns

    def connect(self):
        plain = in_netns(self._netns, lambda: socket.create_connection((self.host, self.port), self.timeout))
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)


class _Node:
    def __init__(self, number, folder):
        self.number = number
        self.name = f"bao{number + 1}"
        self.folder = folder / self.name
        self.audit = self.folder / "audit.log"
        self.port = None
        self.cluster_port = None


class OpenBao:
    """A server, or three as one raft cluster. Nodes are numbered from 0; the default is the first."""

    def __init__(self, work, *, listen="127.0.0.1", netns=None, nodes=1, config=""):
        self._work = work
        self._extra = config
        self._program = find_program()
        self._nodes = [_Node(i, work.path) for i in range(nodes)]
        self.host = listen
        self.netns = netns
        self.authority = Authority(work.path / "tls")
        self.ca = work.path / "ca.pem"  # what clients should trust now
        self.root_token_file = work.path / "root.token"
        self._unseal_key_file = work.path / "unseal.key"

    # -- life

    def start(self):
        """Starts what does not run, initialises and unseals. Returns self."""
        if not self.ca.exists():
            self._make_server_certificate(self.authority)
            shutil.copy(self.authority.ca, self.ca)
        for node in self._nodes:
            if not self.alive(node.number):
                self._start_node(node)
            if node.number == 0 and len(self._nodes) > 1:
                wait_until("autopilot", self._shorten_stabilization, 30)
        if len(self._nodes) > 1:
            wait_until("three voters", self._all_vote, 60, 0.1)
        return self

    def stop(self, node=None):
        """SIGTERM for one node, or for all."""
        for n in self._chosen(node):
            process = self._work.process(n.name)
            if process is not None:
                process.stop()

    def kill(self, node=None):
        """SIGKILL for one node, or for all."""
        for n in self._chosen(node):
            process = self._work.process(n.name)
            if process is not None:
                process.kill()

    def restart(self, node=None, hard=False):
        """Ends and starts again on the same address; unsealed and active when it returns."""
        (self.kill if hard else self.stop)(node)
        for n in self._chosen(node):
            self._start_node(n)

    def alive(self, node=0):
        process = self._work.process(self._nodes[node].name)
        return process is not None and process.alive()

    def pid(self, node=0):
        return self._work.process(self._nodes[node].name).pid

    def pid(self, node=0):
        return self._work.process(self._nodes[node].name).pid

    def freeze(self, node=0):
        """SIGSTOP: the port accepts, nobody answers."""
        self._work.process(self._nodes[node].name).signal(signal.SIGSTOP)

    def thaw(self, node=0):
        self._work.process(self._nodes[node].name).signal(signal.SIGCONT)

    def seal(self, node=0):
        self.api("PUT", "sys/seal", node=node)
        wait_until("sealed server", lambda: self.health(node) == 503)

    def unseal(self, node=0):
        """Returns when the node is active or a standby."""
        self.api("PUT", "sys/unseal", {"key": self._unseal_key_file.read_text()}, token="", node=node)
        wait_until("unsealed server", lambda: self.health(node) in (200, 429), 60)

    def health(self, node=0):
        """Status of sys/health: 200 active, 429 standby, 501 not initialised, 503 sealed; 0 when nothing answers."""
        try:
            return self.api("GET", "sys/health", token="", node=node, check=False, timeout=2).status
        except (OSError, http.client.HTTPException):
            return 0

    def active_node(self):
        return wait_until("active node", lambda: [n.number for n in self._nodes if self.health(n.number) == 200])[0]

    def standby_nodes(self):
        return [n.number for n in self._nodes if self.health(n.number) == 429]

    def rotate_ca(self):
        """Replaces authority and server certificate under the running server. self.ca is then the new authority."""
        count = len(list(self._work.path.glob("tls*")))
        self.authority = Authority(self._work.path / f"tls{count}", name=f"leasehold test CA {count}")
        self._make_server_certificate(self.authority)
        for name in ("server.pem", "server.key"):
            shutil.copy(self.authority.folder / name, self._work.path / "tls" / name)
        shutil.copy(self.authority.ca, self.ca)
        for node in self._nodes:
            process = self._work.process(node.name)
            if process is not None:
                process.signal(signal.SIGHUP)
        for node in self._nodes:
            # The server still shows the old certificate until it has handled the signal.
            wait_until("new certificate", lambda n=node: not self.alive(n.number) or self.health(n.number) != 0)

    # -- requests

    def address(self, node=0):
        return f"https://{self.host}:{self._nodes[node].port}"

    def port(self, node=0):
        return self._nodes[node].port

    @property
    def root_token(self):
        return self.root_token_file.read_text()

    def api(self, method, path, body=None, *, token=None, namespace=None, headers=None, node=0, check=True, timeout=30):
        """One request, path without /v1/. As root unless a token is given ("": none). check: raises at status 400+."""
        send = {"X-Vault-Request": "true"}
        token = self.root_token if token is None else token
        if token:
            send["X-Vault-Token"] = token
        if namespace:
            send["X-Vault-Namespace"] = namespace
        send.update(headers or {})
        context = ssl.create_default_context(cafile=self.ca)
        connection = _Connection(self.host, self._nodes[node].port, self.netns, context, timeout)
        try:
            connection.request(method, f"/v1/{path}", None if body is None else json.dumps(body), send)
            response = connection.getresponse()
            answer = Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()
        if check and answer.status >= 400:
            raise ApiError(method, path, answer)
        return answer

    def revoke_lease(self, lease_id):
        self.api("PUT", "sys/leases/revoke", {"lease_id": lease_id, "sync": True})

    def revoke_prefix(self, prefix):
        self.api("PUT", f"sys/leases/revoke-prefix/{prefix}", {"sync": True})

    def revoke_token(self, token):
        self.api("PUT", "auth/token/revoke", {"token": token})

    def revoke_tokens_of(self, role_name):
        """Revokes every token whose metadata carry this role, or every token when it is "*". Returns how many."""
        count = 0
        for accessor in self.api("LIST", "auth/token/accessors").data["keys"]:
            answer = self.api("POST", "auth/token/lookup-accessor", {"accessor": accessor}, check=False)
            if answer.status != 200 or answer.data["policies"] == ["root"]:
                continue
            meta = answer.data.get("meta") or {}
            if role_name in ("*", meta.get("role_name"), meta.get("role")):
                self.api("POST", "auth/token/revoke-accessor", {"accessor": accessor})
                count += 1
        return count

    def leases(self, prefix):
        """Ids of the leases below a prefix such as database/creds/shop."""
        answer = self.api("LIST", f"sys/leases/lookup/{prefix}", check=False)
        return [f"{prefix}/{k}" for k in answer.data["keys"]] if answer.status == 200 else []

    # -- audit

    def audit_mark(self):
        """A place in the audit log, for audit() and requests()."""
        return [n.audit.stat().st_size if n.audit.exists() else 0 for n in self._nodes]

    def audit(self, mark=None, root=False, kind="request"):
        """Entries since mark. root: those of root tokens too. kind: request or response."""
        entries = []
        for node, offset in zip(self._nodes, mark or [0] * len(self._nodes), strict=True):
            if not node.audit.exists():
                continue
            with open(node.audit, "rb") as log:
                log.seek(offset)
                lines = log.read().split(b"\n")
            for line in lines[:-1]:  # what follows the last newline is still being written
                entry = json.loads(line)
                if entry["type"] == kind and (root or "root" not in (entry.get("auth") or {}).get("policies", [])):
                    entries.append(entry)
        return entries

    def requests(self, mark=None, root=False):
        """How often each (operation, path) was asked for since mark."""
        entries = self.audit(mark, root)
        return collections.Counter((e["request"]["operation"], e["request"]["path"]) for e in entries)

    def audit_file(self, node=0):
        return self._nodes[node].audit

    # -- inside

    def _chosen(self, node):
        return self._nodes if node is None else [self._nodes[node]]

    def _make_server_certificate(self, authority):
        names = dict.fromkeys([f"IP:{self.host}", "IP:127.0.0.1", "DNS:localhost", "DNS:openbao.test"])
        authority.leaf("server", "/CN=openbao", names)

    def _write_config(self, node):
        join = ""
        if node.number > 0:
            join = JOIN.format(address=self.address(0), ca=self.authority.ca)
        (node.folder / "config.hcl").write_text(
            CONFIG.format(
                folder=node.folder,
                name=node.name,
                host=self.host,
                port=node.port,
                cluster_port=node.cluster_port,
                tls=self._work.path / "tls",
                join=join,
                extra=self._extra,
            )
        )

    def _start_node(self, node):
        (node.folder / "raft").mkdir(parents=True, exist_ok=True)
        for _ in range(3):
            fresh = node.port is None
            if fresh:
                node.port, node.cluster_port = free_ports(2, self.host, self.netns)
            self._write_config(node)
            # In its own folder: nodes whose audit devices differ by a path refuse to become active.
            argv = [self._program, "server", f"-config={node.folder}/config.hcl"]
            process = self._work.start(node.name, argv, netns=self.netns, cwd=node.folder)
            # Our own authority signed the certificate: only our own server can answer.
            wait_until(f"answer of {node.name}", lambda: self.health(node.number) or not process.alive(), 30)
            if process.alive():
                break
            if fresh:
                node.port = None  # somebody was faster
        else:
            raise BedError(f"{node.name} does not start:\n{self._work.log_tail(node.name)}")
        if node.number == 0 and self.health(0) == 501:
            made = self.api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, token="", timeout=60).json
            self._keep(self.root_token_file, made["root_token"])
            self._keep(self._unseal_key_file, made["keys_base64"][0])
        wait_until(f"initialised {node.name}", lambda: self.health(node.number) not in (0, 501), 60)
        if self.health(node.number) == 503:
            self.unseal(node.number)
        if len(self._nodes) == 1:
            wait_until("active server", lambda: self.health(0) == 200, 60)

    def _shorten_stabilization(self):
        """A joined node may vote after this long; ten seconds are the default. A leader refuses at first."""
        path = "sys/storage/raft/autopilot/configuration"
        return self.api("POST", path, {"server_stabilization_time": "1s"}, check=False).status < 400

    def _all_vote(self):
        """A node that has just joined cannot take over yet."""
        config = self.api("GET", "sys/storage/raft/configuration", node=self.active_node()).data["config"]
        return len([s for s in config["servers"] if s["voter"]]) == len(self._nodes)

    @staticmethod
    def _keep(path, text):
        path.touch(mode=0o600)
        path.write_text(text)
