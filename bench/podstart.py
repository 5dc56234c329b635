#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench/podstart.py [--images DIR] [--pods N]: from a Pod's creation to its application's first instruction on a real
cluster of one node, and from the files to that. In turns: a Pod without us; one with a sidecar of somebody else's that has
a startup probe of the same kind; one with Leasehold's sidecar; one with its init container. Needs root and the images of
scripts/image."""

import argparse
import datetime
import pathlib
import statistics
import sys

from agents import ROOT
from conditions import Conditions

sys.path.insert(0, str(ROOT / "tests" / "cluster" / "bed"))
sys.path.insert(0, str(ROOT / "tests" / "cluster"))

from cluster import Cluster  # noqa: E402
from product import IMAGES, SECRETS, Product, pod  # noqa: E402

MARKS = "/marks"
APPLICATION = f"touch {MARKS}/started; trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"
SIDECAR = APPLICATION.replace("started", "ready")
ANNOTATIONS = {"secret.db": "database/creds/slow1", "secret.settings": "kv/app/s1"}


def plain(name):
    made = pod(name, {}, APPLICATION)
    made["spec"]["volumes"] = [{"name": "marks", "emptyDir": {"medium": "Memory"}}]
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "marks", "mountPath": MARKS}]
    return made


def with_sidecar(name):
    made = plain(name)
    probe = {"exec": {"command": ["test", "-e", f"{MARKS}/ready"]}, "periodSeconds": 1, "failureThreshold": 86400}
    sidecar = dict(made["spec"]["containers"][0], name="other", restartPolicy="Always", startupProbe=probe)
    made["spec"]["initContainers"] = [{**sidecar, "command": ["sh", "-c", SIDECAR]}]
    return made


def annotated(name, **more):
    made = plain(name)
    made["metadata"]["annotations"] = {f"leasehold.dev/{k}": v for k, v in {**ANNOTATIONS, **more}.items()}
    return made


# What a Pod of each case is, and whose change of time tells that the application could start.
CASES = {
    "no sidecar": (plain, None),
    "another sidecar with a startup probe": (with_sidecar, f"{MARKS}/ready"),
    "leasehold-agent, sidecar": (annotated, SECRETS),
    "leasehold-agent, init": (lambda name: annotated(name, agent="init"), SECRETS),
}


def seconds_of(text):
    """Of `stat -c %y`, whose fraction is finer than what Python parses."""
    day, clock, _ = text.split()
    whole, fraction = clock.split(".")
    return datetime.datetime.fromisoformat(f"{day}T{whole}+00:00").timestamp() + float(f"0.{fraction}")


def start_one(tenant, name, made, mark):
    """Seconds from creation to mark (NaN without one), from mark to start, and from creation to start."""
    asked = datetime.datetime.now(datetime.timezone.utc).timestamp()
    tenant.create(made)
    tenant.ready(name)
    files = [f"{MARKS}/started"] + ([mark] if mark else [])
    shown = tenant.cluster.exec(name, "stat", "-c", "%y", *files, namespace=tenant.name, container="app").splitlines()
    started, *marked = [seconds_of(line) for line in shown]
    tenant.delete(name)
    tenant.cluster.wait(f"end of {name}", lambda: tenant.gone(name))
    at = marked[0] if marked else float("nan")
    return at - asked, started - at, started - asked


def measure(tenant, count):
    found = {case: [] for case in CASES}
    for i in range(count + 1):
        for number, (case, (make, mark)) in enumerate(CASES.items()):
            name = f"start-{number}-{i}"
            row = start_one(tenant, name, make(name), mark)
            if i > 0:  # the first Pods warm the caches
                found[case].append(row)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=pathlib.Path, default=IMAGES, help="folder of the OCI archives [build/images]")
    parser.add_argument("--pods", type=int, default=15, help="of each case [15]")
    args = parser.parse_args()
    conditions = Conditions()
    with Cluster() as cluster, cluster.manager() as manager:
        product = Product(cluster, manager, args.images)
        product.install()
        cluster.apply(product.store())
        found = measure(product.namespace("podstart"), args.pods)
    columns = ["creation to files, s", "files to application, s", "worst, s", "creation to application, s"]
    print(f"| median of {args.pods} Pods | " + " | ".join(columns) + " |\n|---|---|---|---|---|")
    for case, rows in found.items():
        first, second, whole = ([r[i] for r in rows] for i in range(3))
        cells = [statistics.median(first), statistics.median(second), max(second), statistics.median(whole)]
        print(f"| {case} | " + " | ".join("" if c != c else f"{c:.2f}" for c in cells) + " |")
    print("\nCreation is kubectl's start; the other sidecar's files are one that it makes at once.")
    print(conditions)


if __name__ == "__main__":
    main()
