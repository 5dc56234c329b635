#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/webhook.py [--bin-dir DIR]: memory, CPU per review, peak on one core at 16 and 64 connections over TLS, and
latency at 1,000 reviews a second corrected for coordinated omission. The webhook is pinned to core 1, the load to core 0."""

import argparse
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import tempfile

from agents import cpu_seconds, memory_kib
from openloop import open_loop, percentile
from pki import Authority
from procs import free_ports, wait_until

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


def review(annotated):
    """A Pod as the API server sends it: two containers, a ServiceAccount token volume, three secrets, one a template."""
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
    pod = {
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
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        "object": pod,
        "dryRun": False,
    }
    body = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
    return json.dumps(body, separators=(",", ":")).encode()


def wrk(url, script_dir, body_file, connections, seconds):
    command = ["taskset", "-c", "0", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script_dir / "post.lua"), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "REVIEW": str(body_file)}).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"wrk saw failures:\n{text}")
    return float(re.search(r"Requests/sec:\s+([0-9.]+)", text).group(1)), int(re.search(r"(\d+) requests in", text).group(1))


def start(folder, binary):
    authority = Authority(folder / "tls")
    authority.leaf("webhook", "/CN=webhook", ["DNS:localhost", "IP:127.0.0.1"])
    (folder / "store.yaml").write_text(json.dumps(STORE))
    port, metrics = free_ports(2)
    tls = folder / "tls"
    argv = [str(binary), f"--listen=127.0.0.1:{port}", f"--metrics=127.0.0.1:{metrics}", "--log-level=warn"]
    argv += [f"--tls-cert={tls / 'webhook.pem'}", f"--tls-key={tls / 'webhook.key'}", f"--stores={folder / 'store.yaml'}"]
    process = subprocess.Popen(["taskset", "-c", "1", *argv])
    context = ssl.create_default_context(cafile=str(authority.ca))

    def ready():
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return True
        except OSError:
            return False

    wait_until("the webhook", ready, 10)
    return process, port, context


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, default=pathlib.Path("build/release/bin"))
    parser.add_argument("--seconds", type=int, default=10)
    args = parser.parse_args()
    here = pathlib.Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        process, port, context = start(folder, args.bin_dir.resolve() / "leasehold-webhook")
        try:
            rows = []
            idle = memory_kib(process.pid)
            rows.append(("private memory idle, MiB", idle[0] / 1024))
            rows.append(("resident memory idle, MiB", idle[1] / 1024))
            url = f"https://127.0.0.1:{port}/mutate"
            for label, annotated in (("annotated, 3 secrets", True), ("not annotated", False)):
                file = folder / f"review-{annotated}.json"
                file.write_bytes(review(annotated))
                for connections in (16, 64):
                    cpu = cpu_seconds(process.pid)
                    rate, count = wrk(url, here, file, connections, args.seconds)
                    spent = (cpu_seconds(process.pid) - cpu) / count
                    rows.append((f"{label}: peak at {connections} connections, reviews/s", rate))
                    rows.append((f"{label}: CPU per review at {connections} connections, us", spent * 1e6))
            os.sched_setaffinity(0, {0})
            latencies, errors = open_loop("127.0.0.1", port, context, "/mutate", review(True), 1000, 2 * args.seconds)
            if errors:
                raise SystemExit(f"{len(errors)} answers were no 200: {errors[0]}")
            rows.append(("1,000/s, 16 connections: p50, ms", percentile(latencies, 50) * 1000))
            rows.append(("1,000/s, 16 connections: p99, ms", percentile(latencies, 99) * 1000))
            after = memory_kib(process.pid)
            rows.append(("private memory after all that, MiB", after[0] / 1024))
        finally:
            process.terminate()
            process.wait(20)
    print("| leasehold-webhook | |\n|---|---|")
    for label, value in rows:
        print(f"| {label} | {value:,.2f} |")


if __name__ == "__main__":
    main()
