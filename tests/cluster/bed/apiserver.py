# SPDX-License-Identifier: Apache-2.0
"""A real kube-apiserver over a real etcd, without nodes: seconds to start, and enough for whatever only reads and writes
objects.

    with ApiServer() as s:
        s.namespace("shop")
        s.account("leasehold-system", "controller", [rule(["secrets"], ["get", "patch"])])
        subprocess.run([program, "--kubeconfig", s.kubeconfig("leasehold-system", "controller")])
        s.call("GET", "/api/v1/namespaces/shop/secrets")["items"]
"""

import collections
import http.client
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
sys.path.insert(0, str(HERE.parent.parent / "managers"))  # for programs that are not run by pytest

from cluster import ISSUER, tool  # noqa: E402
from pki import Authority, openssl  # noqa: E402
from procs import BedError, Work, free_ports, wait_until  # noqa: E402

# Only what these do without a node. Names as the program's --controllers wants them.
CONTROLLERS = ("garbage-collector-controller", "namespace-controller", "serviceaccount-controller")
# Seconds; the server ends a connection that was not used for 90.
IDLE = 30


class Refused(BedError):
    """The API server's answer was an error."""

    def __init__(self, method, path, status, body):
        super().__init__(f"{method} {path}: {status} {body[:500].decode(errors='replace')}")
        self.status = status
        self.body = body


def rule(resources, verbs, groups=None, names=None):
    """A rule of RBAC. groups: guessed from the resources when left out."""
    if groups is None:
        ours = ("secretstores", "clustersecretstores", "secretprojections")
        groups = ["leasehold.dev" if r.split("/")[0] in ours else "" for r in resources]
    made = {"apiGroups": sorted(set(groups)), "resources": list(resources), "verbs": list(verbs)}
    return made | ({"resourceNames": list(names)} if names else {})


class ApiServer:
    """Ends with this process at the latest. Administrators are in system:masters; everybody else meets RBAC."""

    def __init__(
        self,
        folder=None,
        *,
        crds=True,
        controllers=(),
        controller_flags=(),
        audit=False,
        flags=(),
        pin=None,
        beside=None,
        etcd_tls=False,
    ):
        """controllers: of kube-controller-manager, see CONTROLLERS. audit: requests() counts those of ServiceAccounts.
        flags: more for kube-apiserver; controller_flags: for kube-controller-manager. pin: list of cores for all of
        it. beside: a started one whose etcd this one shares and does not end. etcd_tls: etcd asks for certificates,
        etcd_identity has some."""
        self.work = Work(folder)
        self.folder = self.work.path
        self._kube = tool("kube")
        self._pin = ["taskset", "-c", ",".join(str(c) for c in pin)] if pin else []
        self._controllers, self._flags, self._crds = controllers, flags, crds
        self._controller_flags = controller_flags
        self._audit = self.folder / "audit.log" if audit else None
        self._beside = beside
        self._etcd_tls = beside._etcd_tls if beside else etcd_tls
        self.etcd_identity = ()  # CA, certificate, key: paths
        self._etcd_ports = self._port = None
        self._local = threading.local()

    # -- life

    def start(self):
        """Starts what does not run. Returns self once it serves."""
        try:
            if self._port is None:
                self._prepare()
            if not self._beside and not self.alive("etcd"):
                self._start_etcd()
            if not self.alive("apiserver"):
                self._start_apiserver()
            wait_until("API server", self.ready, 60, 0.05)
            if self._controllers and not self.alive("controller-manager"):
                self._start_controllers()
            if self._crds:
                self.install_crds()
                self._crds = False
        except BaseException:
            self.close()
            raise
        return self

    def close(self):
        """Safe to call twice."""
        self.work.end()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def stop(self, name="apiserver", hard=False):
        """Ends apiserver, etcd or controller-manager; start() brings it back on the same port."""
        process = self.work.process(name)
        if process is None:
            return
        # Asked in good order it would let its watches run out first, which takes a minute.
        if hard or name == "apiserver":
            process.kill()
        else:
            process.stop()

    def freeze(self, name="apiserver"):
        """SIGSTOP: connections stay open, nobody answers."""
        self.work.process(name).signal(signal.SIGSTOP)

    def thaw(self, name="apiserver"):
        self.work.process(name).signal(signal.SIGCONT)

    def alive(self, name="apiserver"):
        process = self.work.process(name)
        return process is not None and process.alive()

    def pid(self, name="apiserver"):
        return self.work.process(name).pid

    def ready(self):
        try:
            return self.raw("GET", "/readyz", timeout=5)[0] == 200
        except (OSError, http.client.HTTPException):
            if not self.alive():
                raise BedError(f"kube-apiserver ended:\n{self.work.log_tail('apiserver')}") from None
            return False

    # -- requests, as administrator

    @property
    def url(self):
        return f"https://127.0.0.1:{self._port}"

    @property
    def etcd_url(self):
        return f"{'https' if self._etcd_tls else 'http'}://127.0.0.1:{self._etcd_ports[0]}"

    @property
    def ca(self):
        return self._authority.ca

    @property
    def service_account_key(self):
        """PEM of the public key that checks ServiceAccounts' tokens."""
        return (self.folder / "sa.pub").read_text()

    def connection(self, timeout=60):
        """A new HTTPSConnection of the administrator, for whoever makes thousands of requests."""
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(*self._admin)
        return http.client.HTTPSConnection("127.0.0.1", self._port, context=context, timeout=timeout)

    def raw(self, method, path, body=None, headers=None, timeout=60):
        """(status, bytes), on a connection that this thread keeps."""
        kept = getattr(self._local, "connection", None)
        self._local.connection = None
        if kept and time.monotonic() - self._local.used > IDLE:
            kept.close()
            kept = None
        try:
            return self._raw(kept or self.connection(timeout), method, path, body, headers)
        except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
            # A server may end a connection between two requests; what was asked for on it then was not read.
            if kept is None or method == "POST":
                raise
        return self._raw(self.connection(timeout), method, path, body, headers)

    def _raw(self, connection, method, path, body, headers):
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            status, data = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        self._local.connection, self._local.used = connection, time.monotonic()
        return status, data

    def call(self, method, path, body=None, content_type="application/json", check=True):
        """The decoded answer. An error raises Refused, or with check=False comes back as a Status."""
        data = None if body is None else json.dumps(body)
        status, answer = self.raw(method, path, data, {"Content-Type": content_type, "Accept": "application/json"})
        if check and status >= 400:
            raise Refused(method, path, status, answer)
        return json.loads(answer) if answer[:1] == b"{" else answer.decode()

    def get(self, path):
        """An object, None where there is none."""
        status, answer = self.raw("GET", path)
        if status == 404:
            return None
        if status >= 400:
            raise Refused("GET", path, status, answer)
        return json.loads(answer)

    def merge(self, path, patch):
        return self.call("PATCH", path, patch, "application/merge-patch+json")

    def kubectl(self, *args, input=None, check=True, timeout=120):
        """A finished kubectl with stdout and stderr as text."""
        argv = [self._kube / "kubectl", f"--kubeconfig={self.admin_kubeconfig}", *args]
        env = dict(os.environ, HOME=str(self.folder))
        done = subprocess.run(
            [str(a) for a in argv], input=input, capture_output=True, text=True, check=False, timeout=timeout, env=env
        )
        if check and done.returncode != 0:
            raise BedError(f"kubectl {' '.join(map(str, args))}: {done.stdout}{done.stderr}")
        return done

    def apply(self, *objects, check=True):
        """Applies manifests: text, one object, or several."""
        if len(objects) == 1 and isinstance(objects[0], str):
            text = objects[0]
        else:
            text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        return self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=text, check=check)

    def install_crds(self):
        """The kinds of manifests/crds.yaml, served when this returns."""
        self.kubectl("apply", "--server-side", "-f", ROOT / "manifests" / "crds.yaml")
        self.kubectl("wait", "--for=condition=Established", "-f", ROOT / "manifests" / "crds.yaml", "--timeout=30s")
        # Established is not yet served: for a moment each kind answers 404 or 429, writes longer than reads.
        for kind in ("SecretStore", "ClusterSecretStore", "SecretProjection"):
            wait_until(f"{kind} served", lambda kind=kind: self._refuses(kind), 30, 0.1)

    def _refuses(self, kind):
        """Does the schema of one of our kinds meet a bad object?"""
        place = "" if kind.startswith("Cluster") else "/namespaces/default"
        body = json.dumps({"apiVersion": "leasehold.dev/v1alpha1", "kind": kind, "metadata": {"name": "served"}})
        path = f"/apis/leasehold.dev/v1alpha1{place}/{kind.lower()}s?dryRun=All"
        return self.raw("POST", path, body, {"Content-Type": "application/json"})[0] == 422

    def namespace(self, name, labels=None):
        """A namespace with its ServiceAccount default, which no controller makes here."""
        metadata = {"name": name, "labels": labels or {}}
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}},
        )
        return name

    # -- who else may ask

    @property
    def admin_kubeconfig(self):
        return self.folder / "admin.kubeconfig"

    def account(self, namespace, name, rules=(), only_in=None):
        """A ServiceAccount with these rules: in the whole cluster, or only in the namespaces listed. Can be repeated:
        the rules of a place are replaced."""
        if self.get(f"/api/v1/namespaces/{namespace}") is None:
            self.namespace(namespace)
        full = f"{namespace}-{name}"
        kind, places = ("ClusterRole", [None]) if only_in is None else ("Role", only_in)
        objects = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}]
        for place in places if rules else ():
            metadata = {"name": full} | ({"namespace": place} if place else {})
            group = "rbac.authorization.k8s.io"
            subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
            objects.append({"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "rules": list(rules)})
            objects.append(
                {
                    "apiVersion": f"{group}/v1",
                    "kind": f"{kind}Binding",
                    "metadata": metadata,
                    "roleRef": {"apiGroup": group, "kind": kind, "name": full},
                    "subjects": [subject],
                }
            )
        self.apply(*objects)
        return f"system:serviceaccount:{namespace}:{name}"

    def token(self, service_account="default", namespace="default", audience=None, seconds=3600):
        spec = {"expirationSeconds": seconds} | ({"audiences": [audience]} if audience else {})
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return self.call("POST", path, body)["status"]["token"]

    def kubeconfig(self, namespace, service_account):
        """Path of a kubeconfig with a fresh token of the account, good for a day."""
        path = self.folder / f"{namespace}.{service_account}.kubeconfig"
        user = {"token": self.token(service_account, namespace, seconds=24 * 3600)}
        return self._write_kubeconfig(path, user, namespace)

    def trust(self, bao, roles, mount="cluster-jwt"):
        """Lets ServiceAccounts log in to a running OpenBao by jwt. roles: name -> (namespace, account[, settings])."""
        from provision import configure_jwt, subject

        made = {}
        for name, (namespace, account, *more) in roles.items():
            made[name] = {**subject(namespace, account), **(more[0] if more else {})}
        configure_jwt(bao, mount, [self.service_account_key], ISSUER, made)

    # -- audit

    def audit_mark(self):
        """A place in the audit log, for requests()."""
        return self._audit.stat().st_size if self._audit and self._audit.exists() else 0

    def requests(self, mark=0):
        """How often each (user, verb, resource[/subresource], status) was asked for since mark. A watch counts once it
        has begun, everything else once it is answered."""
        counts = collections.Counter()
        if not self._audit.exists():
            return counts
        with open(self._audit, "rb") as log:
            log.seek(mark)
            text = log.read()
        for line in text.split(b"\n")[:-1]:  # what follows the last newline is still being written
            entry = json.loads(line)
            if (entry["stage"] == "ResponseStarted") != (entry["verb"] == "watch"):
                continue
            what = entry.get("objectRef") or {}
            name = what.get("resource", entry["requestURI"].split("?")[0])
            if what.get("subresource"):
                name += "/" + what["subresource"]
            code = (entry.get("responseStatus") or {}).get("code", 0)
            counts[entry["user"]["username"], entry["verb"], name, code] += 1
        return counts

    # -- inside

    def _prepare(self):
        if self._beside:
            self._share()
            return
        self._authority = Authority(self.folder / "pki")
        names = ["DNS:localhost", "IP:127.0.0.1", "DNS:kubernetes.default.svc"]
        self._serving = self._authority.leaf("apiserver", "/CN=kube-apiserver", names)
        self._admin = self._authority.leaf("admin", "/O=system:masters/CN=admin", ["DNS:admin"], usage="clientAuth")
        # Tokens of ServiceAccounts are signed with RS256.
        key = self.folder / "sa.key"
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
        (self.folder / "sa.pub").write_bytes(openssl("pkey", "-in", key, "-pubout"))
        self._port, *self._etcd_ports = free_ports(3)
        if self._etcd_tls:
            self._etcd_serving = self._authority.leaf("etcd", "/CN=etcd", ["IP:127.0.0.1"], "serverAuth,clientAuth")
            client = self._authority.leaf("etcd-client", "/CN=root", ["DNS:client"], "clientAuth")
            self.etcd_identity = (self._authority.ca, *client)
        self._write_admin()

    def _share(self):
        """Another server of the same cluster: its authority, its keys, its etcd."""
        first = self._beside
        self._authority, self._serving, self._admin = first._authority, first._serving, first._admin
        self._etcd_ports, self.etcd_identity = first._etcd_ports, first.etcd_identity
        for name in ("sa.key", "sa.pub"):
            shutil.copy(first.folder / name, self.folder / name)
        self._port = free_ports(1)[0]
        self._write_admin()

    def _write_admin(self):
        user = {"client-certificate": str(self._admin[0]), "client-key": str(self._admin[1])}
        self._write_kubeconfig(self.admin_kubeconfig, user, "default")

    def _write_kubeconfig(self, path, user, namespace):
        made = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": "x", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x", "namespace": namespace}}],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(made))
        return path

    def _start_etcd(self):
        client, peer = self.etcd_url, f"http://127.0.0.1:{self._etcd_ports[1]}"
        tls = ()
        if self._etcd_tls:
            tls = ("--cert-file", self._etcd_serving[0], "--key-file", self._etcd_serving[1], "--client-cert-auth")
            tls += ("--trusted-ca-file", self._authority.ca)
        self.work.start(
            "etcd",
            [
                *(*self._pin, self._kube / "etcd", "--name", "e", "--data-dir", self.folder / "etcd"),
                *("--unsafe-no-fsync", "--log-level", "warn", "--quota-backend-bytes", str(4 << 30)),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"e={peer}"),
                *tls,
            ],
        )

    def _start_apiserver(self):
        identity = zip(("--etcd-cafile", "--etcd-certfile", "--etcd-keyfile"), self.etcd_identity, strict=False)
        argv = [
            *(*self._pin, self._kube / "kube-apiserver", "--etcd-servers", self.etcd_url),
            *(word for pair in identity for word in pair),
            *("--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", self._port),
            *("--endpoint-reconciler-type", "none", "--service-cluster-ip-range", "10.96.0.0/16"),
            *("--client-ca-file", self.ca, "--tls-cert-file", self._serving[0]),
            *("--tls-private-key-file", self._serving[1], "--service-account-issuer", ISSUER),
            *("--service-account-signing-key-file", self.folder / "sa.key"),
            *("--service-account-key-file", self.folder / "sa.pub", "--authorization-mode", "RBAC"),
            *("--allow-privileged=true", "--profiling=false", *self._flags),
        ]
        if self._audit:
            policy = self.folder / "audit-policy.yaml"
            rules = [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
            made = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"]}
            policy.write_text(json.dumps({**made, "omitManagedFields": True, "rules": rules}))
            argv += ["--audit-policy-file", policy, "--audit-log-path", self._audit, "--audit-log-maxsize", "2048"]
        self.work.start("apiserver", argv)

    def _start_controllers(self):
        self.work.start(
            "controller-manager",
            [
                *(*self._pin, self._kube / "kube-controller-manager", "--kubeconfig", self.admin_kubeconfig),
                *("--leader-elect=false", "--controllers", ",".join(self._controllers), "--bind-address", "127.0.0.1"),
                *("--secure-port", free_ports(1)[0], "--cert-dir", self.folder / "cm"),
                *("--service-account-private-key-file", self.folder / "sa.key", "--root-ca-file", self.ca),
                *self._controller_flags,
            ],
        )

