# SPDX-License-Identifier: Apache-2.0
"""Admission load through the API server, for tests in which the webhook changes."""

import http.client
import json
import socket
import ssl
import threading

from cluster import ADDRESS
from procs import in_netns
from product import AGENT, pod

THREADS = 4


class Load:
    """Has Pods admitted without a pause until the end of the block; keeps what went wrong.

    Dry runs: the whole admission, and no Pod to run.
    """

    def __init__(self, tenant):
        self.cluster = tenant.cluster
        self.path = f"/api/v1/namespaces/{tenant.name}/pods?dryRun=All"
        self.body = json.dumps(pod("load", {"secret.settings": "kv/app/s1"}))
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(THREADS)]
        self.counts = [0] * THREADS
        self.failures = []

    @property
    def admitted(self):
        return sum(self.counts)

    def wait_for_more(self, count=100, seconds=30):
        """Returns when so many more Pods were admitted."""
        since = self.admitted
        self.cluster.wait("admissions", lambda: self.admitted >= since + count, seconds)

    def _run(self, i):
        pki = self.cluster.folder / "pki"
        context = ssl.create_default_context(cafile=pki / "ca.crt")
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        netns = self.cluster.netns
        connection = http.client.HTTPSConnection(ADDRESS, 6443, context=context, timeout=30)
        plain = in_netns(netns, lambda: socket.create_connection((ADDRESS, 6443), 30))
        connection.sock = context.wrap_socket(plain, server_hostname=ADDRESS)
        while not self.ended.is_set():
            connection.request("POST", self.path, self.body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
            first = answer.get("spec", {}).get("initContainers", [{}])[0]
            if response.status == 201 and first.get("name") == AGENT:
                self.counts[i] += 1
            else:
                self.failures.append(answer.get("message", f"{response.status}: not injected"))
        connection.close()

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for t in self.threads:
            t.join()
