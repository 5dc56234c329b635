#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The injected Pod on a real Kubernetes cluster, installed by Helm, with real OpenBao and PostgreSQL."""

import argparse
import datetime
import os
import pathlib
import sys
import textwrap
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# This folder last: this file has the name of the bed's module.
sys.path = [str(ROOT / "tests" / f) for f in ("cluster/bed", "cluster", "managers")] + sys.path[1:] + sys.path[:1]

from cluster import HERE, Cluster  # noqa: E402
from procs import wait_until  # noqa: E402
from product import ACCOUNT, AGENT, IMAGES, SECRETS, STORE, Product, pod  # noqa: E402
from report import WIDTH, Report, private_kib  # noqa: E402
from show import Prober, bao_agent_kib  # noqa: E402

TTL, MAX_TTL = 6, 15
SECRET = {"secret.db": "database/creds/shop"}
ON_CHANGE = {"on-change": "signal:HUP@sh"}


class Files:
    """A Pod's secret files, read in the application's own mount namespace."""

    def __init__(self, cluster, tenant, name):
        self.pid = process(cluster, tenant.status(name, "app"))
        self.root = pathlib.Path(f"/proc/{self.pid}/root{SECRETS}")

    def generation(self):
        """The folder that ..data names: changes with every swap."""
        return os.readlink(self.root / "..data")

    def credential(self):
        folder = self.root / self.generation() / "db"
        return (folder / "username").read_text(), (folder / "password").read_text()


def process(cluster, status):
    """Process id, on this machine, of a container's first process."""
    wanted = status["containerID"].removeprefix("containerd://")
    for row in cluster.ctr("tasks", "ls").splitlines()[1:]:
        container, pid, _ = row.split()
        if container == wanted:
            return int(pid)
    raise RuntimeError(f"no task of container {wanted}")


def stored_in_etcd(cluster, text):
    """Are these bytes anywhere in etcd's files?"""
    wanted = text.encode()
    return any(wanted in f.read_bytes() for f in (cluster.folder / "etcd").rglob("*") if f.is_file())


def wrapped(report, label, text, holds):
    for i, part in enumerate(textwrap.wrap(text, WIDTH - 12)):
        report.line("" if i else label, part, holds)


def install(cluster, manager, images, report):
    started = time.monotonic()
    product = Product(cluster, manager, images)
    product.install()
    pods = product.webhook_pods()
    report.line("helm", f"install leasehold: {len(pods)} webhooks ready after {time.monotonic() - started:.1f} s, "
                "trusted by a CA of their own", len(pods) == 2)
    allow = [{"namespaceSelector": {"matchLabels": {"team": ACCOUNT}}, "paths": ["database/creds/{serviceAccount}"]}]
    cluster.apply(product.store(allow=allow))
    report.line("store", f"ClusterSecretStore {STORE}: team={ACCOUNT} may read {allow[0]['paths'][0]}")
    return product


def admit(cluster, product, report):
    tenant = product.namespace("shop")
    denied = tenant.create(pod("bank", {"secret.db": "database/creds/bank"}), check=False)
    said = denied.stderr.partition("denied the request: ")[2].strip()
    wrapped(report, "denied", said, "PathNotAllowed" in said and denied.returncode != 0)
    report.line("annotation", f"leasehold.dev/secret.db: {SECRET['secret.db']} is enough; Pod Security is restricted")
    report.line("", f"leasehold.dev/on-change: {ON_CHANGE['on-change']} tells the application of new files")
    tenant.create(pod("shop", SECRET | ON_CHANGE))
    made = tenant.get("pod", "shop")
    first = made["spec"]["initContainers"][0]
    report.line("webhook", f"native sidecar {first['name']}, memory limit {first['resources']['limits']['memory']}",
                first["name"] == AGENT and first["restartPolicy"] == "Always")
    report.line("", f"volumes {', '.join(v['name'] for v in made['spec']['volumes'])}")
    tenant.ready("shop")
    return tenant


def show_files(cluster, manager, tenant, report):
    files = Files(cluster, tenant, "shop")
    user, password = files.credential()
    said = tenant.logs("shop").strip()
    report.line("gate", f"application's first line: {said}", said == f"started with {user}")
    for name in ("username", "password"):
        st = (files.root / "db" / name).stat()
        report.line("files" if name == "username" else "", f"{SECRETS}/db/{name}  {st.st_uid}:{st.st_gid} "
                    f"{st.st_mode & 0o777:04o}", st.st_mode & 0o777 == 0o440)
    report.line("login", f"PostgreSQL takes {user}, password from file", manager.pg_login(user, password))
    secrets = tenant.get("secrets")["items"]
    # Names are in etcd's files, so that the search is known to find what is there.
    report.line("etcd", f"{len(secrets)} Secrets in the namespace; neither user nor password anywhere in etcd's files",
                not secrets and stored_in_etcd(cluster, SECRET["secret.db"])
                and not stored_in_etcd(cluster, user) and not stored_in_etcd(cluster, password))
    return files


def told_at(cluster, tenant, user):
    """When the application said that it was told of user, in seconds since 1970; None: not yet."""
    rows = cluster.kubectl("logs", "-n", tenant.name, "shop", "-c", "app", "--timestamps").stdout.splitlines()
    stamps = [row.split()[0] for row in rows if row.endswith(f" told of {user}")]
    if not stamps:
        return None
    whole, _, part = stamps[0].rstrip("Z").partition(".")
    at = datetime.datetime.fromisoformat(f"{whole}+00:00").timestamp()
    return at + float(f"0.{part or 0}")


def rotate(cluster, manager, tenant, files, report):
    user, password = files.credential()
    before = files.generation()
    mark = manager.bao.audit_mark()
    started = time.monotonic()

    def renewals():
        return sum(n for (_, path), n in manager.bao.requests(mark).items() if path == "sys/leases/renew")

    wait_until("a renewal", lambda: renewals() > 0, 2 * TTL)
    report.line("renewal", f"{time.monotonic() - started:.1f} s later; no file touched",
                files.generation() == before and files.credential() == (user, password))
    prober = Prober(files, manager)
    prober.start()
    try:
        wait_until("a rotation", lambda: files.generation() != before, 3 * MAX_TTL)
        rotated = time.monotonic()
        new_user, new_password = files.credential()
        report.line("rotation", f"both files by one swap: {new_user}",
                    new_user != user and new_password != password and manager.pg_login(new_user, new_password))
        swapped = (files.root / "..data").lstat().st_mtime
        told = wait_until("the application to be told", lambda: told_at(cluster, tenant, new_user), 5)
        said = tenant.logs("shop").splitlines()
        report.line("on-change", f"application {max(0, told - swapped) * 1000:.0f} ms after the swap: {said[-1]}",
                    said == [f"started with {user}", f"told of {new_user}"])
        wait_until("the old user's end", lambda: not manager.pg_login(user, password), 2 * MAX_TTL)
        report.line("overlap", f"old user refused {time.monotonic() - rotated:.1f} s later; in between "
                    f"{prober.logins} logins from the files, {prober.failures} failed",
                    prober.failures == 0 and prober.logins > 10)
    finally:
        prober.ended.set()
        prober.join()


def end(cluster, manager, tenant, files, report):
    user, _ = files.credential()
    users = {u for u in manager.pg_users() if u.startswith("v-cluster")}
    started = time.monotonic()
    tenant.delete("shop")
    wait_until("the end of the users", lambda: not users & manager.pg_users(), 10)
    gone = time.monotonic() - started
    wait_until("the end of the Pod", lambda: tenant.gone("shop"), 30, 0.1)
    report.line("end", f"kubectl delete pod: {user} gone after {gone:.1f} s", user in users and gone < 5)
    asked = manager.bao.requests()
    logins, issued = asked["update", "auth/cluster-jwt/login"], asked["read", "database/creds/shop"]
    ended, left = asked["update", "auth/token/revoke-self"], manager.bao.leases("database/creds/shop")
    report.line("audit", f"manager's log: {logins} login, {issued} credentials, "
                f"{asked['update', 'sys/leases/renew']} renewals, {ended} revocation; leases left: {len(left)}",
                logins == 1 and ended == 1 and not left)


def show(cluster, manager, args, report):
    product = install(cluster, manager, args.images, report)
    tenant = admit(cluster, product, report)
    files = show_files(cluster, manager, tenant, report)
    rotate(cluster, manager, tenant, files, report)
    own, peer = private_kib(process(cluster, tenant.status("shop", AGENT))), bao_agent_kib(manager)
    report.line("memory", f"private memory of the Pod's agent {own / 1024:.1f} MiB; of bao agent with the same job "
                f"{peer / 1024:.1f} MiB", own < peer)
    if args.keep:
        cluster.detach()
        manager.work.detach()
        report.line("kept", f"{cluster.folder}/kubectl -n shop describe pod shop")
        report.line("", f"end it: python3 tests/managers/procs.py end {manager.folder} &&")
        report.line("", f"{HERE.relative_to(ROOT)}/down --dir {cluster.folder} --prefix {cluster.prefix}")
    else:
        end(cluster, manager, tenant, files, report)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, help="as show.py has it; Pods run what is in the images")
    parser.add_argument("--images", type=pathlib.Path, default=IMAGES, help="folder of the OCI archives [build/images]")
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    args = parser.parse_args()
    report = Report()
    report.head(f"Leasehold: Pods on a real Kubernetes, OpenBao and PostgreSQL (leases: {TTL} s, at most {MAX_TTL} s)")
    started = time.monotonic()
    cluster = Cluster().up()
    manager = cluster.manager(shop_ttl=f"{TTL}s", shop_max_ttl=f"{MAX_TTL}s")
    try:
        manager.start()
        version = cluster.get("node", "node-a")["status"]["nodeInfo"]["kubeletVersion"]
        report.line("cluster", f"Kubernetes {version}: API server, etcd, scheduler, kubelet with containerd; up in "
                    f"{time.monotonic() - started:.1f} s")
        show(cluster, manager, args, report)
    except BaseException:
        args.keep = False
        raise
    finally:
        if not args.keep:
            manager.close()
            cluster.down()
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
