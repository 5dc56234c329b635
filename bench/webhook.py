#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/webhook.py [--bin-dir DIR] [--beside DIR]: memory, CPU per review, peak on one core at 16 and 64 connections over TLS, and
latency at 1,000 reviews a second corrected for coordinated omission. The webhook is pinned to core 1, the load to core 0."""

import argparse
import collections
import json
import os
import pathlib
import re
import socket
import ssl
import statistics
import subprocess
import tempfile

from agents import cpu_seconds, memory_kib
from conditions import Conditions
from openloop import open_loop, percentile
from pki import Authority
from priority import favour, realtime
from procs import free_ports, wait_until

HERE = pathlib.Path(__file__).resolve().parent
RATE = 1000
STORE = {
    "apiVersion": "leasehold.dev/v1alpha1",
    "kind": "ClusterSecretStore",
    "metadata": {"name": "vault"},
    "spec": {
        "vault": {
            "addresses": ["https://vault.example:8200"],
            "auth": {"jwt": {"mount": "jwt", "role": "{namespace}-{serviceAccount}", "audience": "vault"}},
        },
        "allow": [{"namespaces": ["shop"], "paths": ["secret/{namespace}/*", "database/creds/{serviceAccount}"]}],
    },
}


def pod(annotated):
    """Two containers, a ServiceAccount token volume; annotated: three secrets, one of them a template."""
    annotations = {"team": "shop", "example.com/build": "4711"}
    if annotated:
        annotations |= {
            "leasehold.dev/secret.db": "database/creds/shop",
            "leasehold.dev/secret.api": "secret/shop/api#key",
            "leasehold.dev/secret.url": "secret/shop/db",
            "leasehold.dev/template.url": "postgres://{{ .username }}:{{ .password | urlquery }}@db.shop.svc:5432/shop",
        }
    mount = {"name": "kube-api-access", "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    container = {
        "image": "registry.example/shop/app:1.2.3",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{i}", "value": "x" * 40} for i in range(20)],
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": [mount],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"generateName": "shop-7c9f-", "namespace": "shop", "annotations": annotations},
        "spec": {
            "serviceAccountName": "shop",
            "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
            "containers": [{"name": "app", **container}, {"name": "helper", **container}],
            "volumes": [{"name": "kube-api-access", "projected": {"sources": sources, "defaultMode": 420}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
        },
    }


def review(annotated):
    """That Pod as the API server sends it."""
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        "object": pod(annotated),
        "dryRun": False,
    }
    body = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
    return json.dumps(body, separators=(",", ":")).encode()


def wrk(url, body_file, connections, seconds):
    command = ["taskset", "-c", "0", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "post.lua"), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "REVIEW": str(body_file)}).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"wrk saw failures:\n{text}")
    return float(re.search(r"Requests/sec:\s+([0-9.]+)", text).group(1)), int(re.search(r"(\d+) requests in", text).group(1))


class Webhook:
    """One running webhook, pinned to core 1, and what was measured of it: row -> figures of all rounds."""

    def __init__(self, folder, bin_dir):
        self.folder = folder / f"webhook-{len(list(folder.iterdir()))}"
        self.rows = collections.defaultdict(list)
        authority = Authority(self.folder / "tls")
        authority.leaf("webhook", "/CN=webhook", ["DNS:localhost", "IP:127.0.0.1"])
        self.context = ssl.create_default_context(cafile=str(authority.ca))
        (self.folder / "store.yaml").write_text(json.dumps(STORE))
        self.port, metrics = free_ports(2)
        tls = self.folder / "tls"
        argv = [str(bin_dir.resolve() / "leasehold-webhook"), f"--listen=127.0.0.1:{self.port}", "--log-level=warn"]
        argv += [f"--metrics=127.0.0.1:{metrics}", f"--stores={self.folder / 'store.yaml'}"]
        argv += [f"--tls-cert={tls / 'webhook.pem'}", f"--tls-key={tls / 'webhook.key'}"]
        self.process = subprocess.Popen(["taskset", "-c", "1", *argv], start_new_session=True)
        favour(self.process.pid)
        try:
            wait_until("the webhook", self._serves, 10)
        except BaseException:
            self.close()
            raise

    def _serves(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    def close(self):
        self.process.terminate()
        self.process.wait(20)

    def memory(self, when):
        private, resident = memory_kib(self.process.pid)
        self.rows[f"private memory {when}, MiB"].append(private / 1024)
        self.rows[f"resident memory {when}, MiB"].append(resident / 1024)

    def peak(self, label, body, connections, seconds):
        file = self.folder / "review.json"
        file.write_bytes(body)
        cpu = cpu_seconds(self.process.pid)
        rate, count = wrk(f"https://127.0.0.1:{self.port}/mutate", file, connections, seconds)
        spent = (cpu_seconds(self.process.pid) - cpu) / count
        self.rows[f"{label}: peak at {connections} connections, reviews/s"].append(rate)
        self.rows[f"{label}: CPU per review at {connections} connections, us"].append(spent * 1e6)

    def fixed_rate(self, label, request, seconds):
        latencies, errors = open_loop("127.0.0.1", self.port, self.context, request, RATE, seconds)
        if errors:
            raise SystemExit(f"{len(errors)} answers were no 200: {errors[0]}")
        for p in (50, 99):
            self.rows[f"{label} at {RATE:,}/s, 16 connections: p{p}, ms"].append(percentile(latencies, p) * 1000)


def measure(webhooks, rounds, seconds):
    """Every step is done for each webhook before the next step is: what disturbs the machine, disturbs all."""
    for w in webhooks:
        w.memory("idle")
    for _ in range(rounds):
        for label, body in (("annotated, 3 secrets", review(True)), ("not annotated", review(False))):
            for connections in (16, 64):
                for w in webhooks:
                    w.peak(label, body, connections, seconds)
    os.sched_setaffinity(0, {0})
    realtime(0, *(w.process.pid for w in webhooks))
    for _ in range(rounds):
        for w in webhooks:
            w.fixed_rate("annotated", ("POST", "/mutate", review(True)), 2 * seconds)
        for w in webhooks:
            w.fixed_rate("floor, GET /healthz", ("GET", "/healthz", b""), seconds)
    for w in webhooks:
        w.memory("after all that")


def _median_and_best(row, figures):
    """Other work on the machine only ever makes a figure worse."""
    best = max(figures) if row.endswith("/s") else min(figures)
    return f"{statistics.median(figures):,.2f}" + (f" ({best:,.2f})" if len(figures) > 1 else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    parser.add_argument("--beside", type=pathlib.Path, metavar="DIR", help="programs of another build, measured in turns")
    parser.add_argument("--seconds", type=int, default=10, help="of a step [10]")
    parser.add_argument("--rounds", type=int, default=3, help="of each step [3]")
    args = parser.parse_args()
    conditions = Conditions(args.bin_dir)
    favour()
    webhooks = []
    with tempfile.TemporaryDirectory() as name:
        try:
            for bin_dir in [args.bin_dir] + ([args.beside] if args.beside else []):
                webhooks.append(Webhook(pathlib.Path(name), bin_dir))
            measure(webhooks, args.rounds, args.seconds)
        finally:
            for w in webhooks:
                w.close()
    names = ["leasehold-webhook", "the one beside it"][: len(webhooks)]
    print(f"| median (best) of {args.rounds} | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for row in webhooks[0].rows:
        print(f"| {row} | " + " | ".join(_median_and_best(row, w.rows[row]) for w in webhooks) + " |")
    print(conditions)


if __name__ == "__main__":
    main()
