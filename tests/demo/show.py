#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The injected Pod without a cluster: real webhook, agent, OpenBao and PostgreSQL; the Pod's container is a mount
namespace of its own with the volumes that the webhook asked for."""

import argparse
import base64
import http.client
import http.server
import json
import os
import pathlib
import signal
import ssl
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "managers"))

from managers import Manager  # noqa: E402
from procs import free_ports, wait_until  # noqa: E402
from report import Report, private_kib  # noqa: E402

TTL, MAX_TTL = 6, 15
UID = 65532
MOUNT = "/run/secrets/leasehold"
NAMESPACE = "shop"


class Listener(http.server.BaseHTTPRequestHandler):
    """The application: notes when it is told."""

    told = []

    def do_POST(self):
        Listener.told.append(time.monotonic())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def start_application():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def store(manager):
    ca = base64.b64encode(pathlib.Path(manager.bao.ca).read_bytes()).decode()
    jwt = {"mount": "jwt", "role": "{namespace}-{serviceAccount}", "audience": "vault"}
    return {
        "apiVersion": "leasehold.dev/v1alpha1",
        "kind": "ClusterSecretStore",
        "metadata": {"name": "openbao"},
        "spec": {
            "vault": {"addresses": [manager.bao.address()], "caBundle": ca, "auth": {"jwt": jwt}},
            "allow": [{"namespaces": [NAMESPACE], "paths": ["database/creds/{serviceAccount}"]}],
        },
    }


def pod(app_port):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "shop",
            "annotations": {
                "leasehold.dev/secret.db": "database/creds/shop",
                "leasehold.dev/on-change": f"http://127.0.0.1:{app_port}/reload",
            },
        },
        "spec": {
            "serviceAccountName": "shop",
            "securityContext": {"runAsUser": UID, "runAsGroup": UID},
            "containers": [{"name": "shop", "image": "shop:1"}],
        },
    }


def admission_review(obj):
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "5f0d3c7e-0000-4000-8000-000000000001",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": NAMESPACE,
            "operation": "CREATE",
            "userInfo": {"username": "demo"},
            "object": obj,
            "dryRun": False,
        },
    }


class Webhook:
    def __init__(self, manager, binary):
        self.work = manager.work
        folder = manager.folder / "webhook"
        folder.mkdir()
        manager.bao.authority.leaf("webhook", "/CN=webhook", ["DNS:localhost", "IP:127.0.0.1"])
        tls = manager.folder / "tls"
        (folder / "store.yaml").write_text(json.dumps(store(manager)))
        (folder / "policy.yaml").write_text('addresses: ["127.0.0.1/32"]\n')
        self.port, metrics = free_ports(2)
        self.context = ssl.create_default_context(cafile=str(manager.bao.ca))
        self.process = self.work.start(
            "webhook",
            [
                str(binary),
                f"--listen=127.0.0.1:{self.port}",
                f"--metrics=127.0.0.1:{metrics}",
                f"--tls-cert={tls / 'webhook.pem'}",
                f"--tls-key={tls / 'webhook.key'}",
                f"--stores={folder / 'store.yaml'}",
                f"--policy={folder / 'policy.yaml'}",
            ],
        )
        wait_until("the webhook to be ready", lambda: self._get("/readyz") == 200, 10)

    def _get(self, path):
        try:
            c = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=5)
            c.request("GET", path)
            return c.getresponse().status
        except OSError:
            return 0

    def admit(self, obj):
        c = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=5)
        body = json.dumps(admission_review(obj))
        c.request("POST", "/mutate", body, {"Content-Type": "application/json"})
        answer = json.loads(c.getresponse().read())["response"]
        if not answer["allowed"]:
            raise SystemExit(f"the webhook denied the Pod: {answer['status']['message']}")
        return json.loads(base64.b64decode(answer.get("patch", "W10=")))


def apply(document, patch):
    """RFC 6902, as much of it as an admission patch has: add and replace."""
    document = json.loads(json.dumps(document))
    for op in patch:
        *parents, last = [p.replace("~1", "/").replace("~0", "~") for p in op["path"].split("/")[1:]]
        at = document
        for p in parents:
            at = at[int(p)] if isinstance(at, list) else at[p]
        if isinstance(at, list):
            if op["op"] == "replace":
                at[int(last)] = op["value"]
            else:
                at.insert(len(at) if last == "-" else int(last), op["value"])
        else:
            at[last] = op["value"]
    return document


class Container:
    """The agent's container as kubelet would make it: its volumes, its environment, its user; nothing else of ours."""

    def __init__(self, manager, binary, patched):
        spec = next(c for c in patched["spec"]["initContainers"] if c["name"] == "leasehold-agent")
        self.spec = spec
        mounts = {}
        for m in spec["volumeMounts"]:
            mounts.setdefault(m["name"], m["mountPath"])  # a volume's second place only keeps the API token out
        token = manager.issuer.token(namespace=NAMESPACE, service_account="shop", ttl=3600)
        token_file = manager._file("pod-token", token)
        lines = ["set -e", "mount -t tmpfs -o mode=0755 tmpfs /run"]
        for name, path in sorted(mounts.items()):
            lines.append(f"mkdir -p {path}")
            lines.append(f"mount -t tmpfs -o size=4m,mode=0770,uid={UID},gid={UID} tmpfs {path}")
            if name == "leasehold-token":
                lines.append(f"install -m 0440 -o {UID} -g {UID} {token_file} {path}/token")
        lines.append(f'exec setpriv --reuid {UID} --regid {UID} --clear-groups --no-new-privs --bounding-set=-all "$@"')
        config = next(e["value"] for e in spec["env"] if e["name"] == "LEASEHOLD_CONFIG").replace("$$", "$")
        script = "\n".join(lines)
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
        argv += ["env", "-i", f"LEASEHOLD_CONFIG={config}", "LEASEHOLD_POD_NAME=shop", "LEASEHOLD_POD_UID=demo"]
        self.started = time.monotonic()
        self.process = manager.work.start("agent", [*argv, str(binary)])
        self.root = pathlib.Path(f"/proc/{self.process.pid}/root{MOUNT}")

    def ready(self):
        return (self.root / "..data" / "db" / "password").exists()

    def generation(self):
        """The folder that ..data names: changes with every swap."""
        return os.readlink(self.root / "..data")

    def credential(self):
        """User and password of one generation, read as an application does that resolves ..data once."""
        folder = self.root / self.generation() / "db"
        return (folder / "username").read_text(), (folder / "password").read_text()


class Prober(threading.Thread):
    """Logs in to PostgreSQL with the files' content, ten times a second."""

    def __init__(self, container, manager):
        super().__init__(daemon=True)
        self.container, self.manager = container, manager
        self.ended = threading.Event()
        self.logins = self.failures = 0

    def run(self):
        while not self.ended.wait(0.1):
            try:
                user, password = self.container.credential()
            except FileNotFoundError:
                continue  # a swap between the two reads; the next turn sees the new folder
            self.logins += 1
            if not self.manager.pg_login(user, password):
                self.failures += 1


def bao_agent_kib(manager):
    """Private memory of a `bao agent` that keeps one database credential in a file."""
    from openbao import find_program

    folder = manager.folder / "peer"
    folder.mkdir()
    target = folder / "db"
    body = '{{ with secret "database/creds/slow1" }}{{ .Data.username }}\\n{{ .Data.password }}{{ end }}'
    (folder / "agent.hcl").write_text(
        f'vault {{\n address = "{manager.bao.address()}"\n ca_cert = "{manager.bao.ca}"\n}}\n'
        f'auto_auth {{\n method "approle" {{\n  config = {{\n   role_id_file_path = "{manager.folder}/agent.role_id"\n'
        f'   secret_id_file_path = "{manager.folder}/agent.secret_id"\n'
        "   remove_secret_id_file_after_reading = false\n  }\n }\n}\n"
        f'template {{\n contents = "{body.replace(chr(34), chr(92) + chr(34))}"\n destination = "{target}"\n}}\n'
    )
    process = manager.work.start("bao-agent", [find_program(), "agent", f"-config={folder / 'agent.hcl'}"], netns=manager.bao.netns)
    wait_until("bao agent's file", lambda: target.exists() and target.stat().st_size > 3, 30)
    kib = private_kib(process.pid)
    process.stop()
    return kib


def show(manager, bin_dir, report):
    port = start_application()
    original = pod(port)
    report.head("Leasehold: one annotated Pod, with real OpenBao and PostgreSQL (leases: 6 s, at most 15 s)")
    for name, value in original["metadata"]["annotations"].items():
        report.line("annotation", f"{name}: {value}")

    webhook = Webhook(manager, bin_dir / "leasehold-webhook")
    patch = webhook.admit(original)
    patched = apply(original, patch)
    added = [v["name"] for v in patched["spec"]["volumes"]]
    first = patched["spec"]["initContainers"][0]
    sidecar = first["name"] == "leasehold-agent" and first["restartPolicy"] == "Always"
    report.line("webhook", f"{len(patch)} operations: native sidecar {first['name']}, memory limit "
                f"{first['resources']['limits']['memory']}", sidecar)
    report.line("", f"volumes {', '.join(added)}")
    again = webhook.admit(patched)
    report.line("", "same Pod again: same bytes; its own output again: no change",
                webhook.admit(original) == patch and again == [])

    container = Container(manager, bin_dir / "leasehold-agent", patched)
    wait_until("the files", container.ready, 20, 0.001)
    took = (time.monotonic() - container.started) * 1000
    for name in ("username", "password"):
        st = (container.root / "db" / name).stat()
        report.line("files" if name == "username" else "", f"{MOUNT}/db/{name}  {st.st_uid}:{st.st_gid} "
                    f"{st.st_mode & 0o777:04o}  {took:.0f} ms after the start", st.st_mode & 0o777 == 0o440)
    user, password = container.credential()
    report.line("login", f"PostgreSQL accepts the files' {user}",
                manager.pg_login(user, password))

    prober = Prober(container, manager)
    prober.start()
    mark = manager.bao.audit_mark()
    before = container.generation()

    def renewals():
        return sum(n for (_, path), n in manager.bao.requests(mark).items() if path == "sys/leases/renew")

    wait_until("a renewal", lambda: renewals() > 0, 2 * TTL)
    report.line("renewal", f"after {time.monotonic() - container.started:.1f} s; no file touched",
                container.generation() == before and container.credential() == (user, password))

    wait_until("a rotation", lambda: container.generation() != before, 3 * MAX_TTL)
    rotated = time.monotonic()
    new_user, new_password = container.credential()
    report.line("rotation", f"after {rotated - container.started:.1f} s, both files by one swap: {new_user}",
                new_user != user and new_password != password and manager.pg_login(new_user, new_password))
    wait_until("the application to be told", lambda: bool(Listener.told), 5)
    report.line("on-change", f"application told within {max(0, Listener.told[0] - rotated) * 1000:.0f} ms of it, never before",
                len(Listener.told) == 1)

    wait_until("the old user's end", lambda: not manager.pg_login(user, password), 2 * MAX_TTL)
    report.line("overlap", f"old user refused {time.monotonic() - rotated:.1f} s after the rotation; in between "
                f"{prober.logins} logins from the files, {prober.failures} failed",
                prober.failures == 0 and prober.logins > 10)

    own = private_kib(container.process.pid)
    peer = bao_agent_kib(manager)
    report.line("memory", f"private memory of the agent {own / 1024:.1f} MiB; of bao agent with the same job "
                f"{peer / 1024:.1f} MiB", own < peer)
    return container, prober


def end(manager, container, prober, report):
    last, _ = container.credential()
    prober.ended.set()
    prober.join()
    users = [u for u in manager.pg_users() if u.startswith("v-jwt")]
    t = time.monotonic()
    container.process.signal(signal.SIGTERM)
    wait_until("the agent's end", lambda: not container.process.alive(), 5)
    ended = time.monotonic() - t
    wait_until("the user's end", lambda: not set(users) & set(manager.pg_users()), 5)
    report.line("end", f"SIGTERM: agent gone in {ended * 1000:.0f} ms; its user gone from PostgreSQL in "
                f"{(time.monotonic() - t) * 1000:.0f} ms", last in users and ended < 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    args = parser.parse_args()
    report = Report()
    manager = Manager(shop_ttl=f"{TTL}s", shop_max_ttl=f"{MAX_TTL}s")
    manager.start()
    try:
        container, prober = show(manager, args.bin_dir.resolve(), report)
        if args.keep:
            manager.work.detach()
            prober.ended.set()
            report.line("kept", f"files: {container.root}; logs: {manager.folder}")
            report.line("", f"end it: python3 tests/managers/procs.py end {manager.folder}")
        else:
            end(manager, container, prober, report)
    except BaseException:
        for name in ("webhook", "agent"):
            print(f"-- end of {name}'s log\n{manager.work.log_tail(name)}", file=sys.stderr)
        raise
    finally:
        if not args.keep:
            manager.close()
    report.line("next", "./scripts/demo --cluster: the same with Pods on a real Kubernetes; the first time it")
    report.line("", "builds one (about 6 min on 2 cores, 1.5 GB of disk), later about 2 min; 1 GB of memory")
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
