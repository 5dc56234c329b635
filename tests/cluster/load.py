# SPDX-License-Identifier: Apache-2.0
"""Admission load through the API server, for tests in which the webhook changes."""

import json
import threading

from product import pod

BATCH = 20


class Load(threading.Thread):
    """Admits Pods without a pause until told to stop; keeps what went wrong."""

    def __init__(self, tenant):
        super().__init__(daemon=True)
        self.tenant = tenant
        self.ended = threading.Event()
        self.admitted = 0
        self.failures = []

    def run(self):
        pods = []
        for i in range(BATCH):
            pods.append(pod(f"load-{i}", {"secret.settings": "kv/app/s1"}))
            pods[-1]["metadata"]["namespace"] = self.tenant.name
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
        template = "{{range .spec.initContainers}}{{.name}}{{\"\\n\"}}{{end}}"
        while not self.ended.is_set():
            args = ["create", "--dry-run=server", "-f", "-", "-o", "go-template=" + template]
            done = self.tenant.cluster.kubectl(*args, input=text, check=False)
            count = done.stdout.count("leasehold-agent")
            self.admitted += count
            if done.returncode != 0 or count != BATCH:
                self.failures.append(done.stderr or f"{count} of {BATCH} Pods injected")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()
