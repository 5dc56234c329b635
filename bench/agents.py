# SPDX-License-Identifier: Apache-2.0
"""The agents to compare, each given the same secrets: ours and `bao agent`."""

import base64
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "managers"))

from openbao import find_program  # noqa: E402
from priority import favour  # noqa: E402
from procs import start_time, wait_until  # noqa: E402

USER_PASSWORD = "{{ .username }}\n{{ .password }}\n"


def cpu_seconds(pid):
    """CPU time of a whole process, ended threads included (the kernel's process CPU clock)."""
    return time.clock_gettime((~pid << 3) | 2)


def memory_kib(pid):
    """Anonymous and resident memory; the locked secret region counts as private."""
    values = {}
    for row in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, value = row.split()[:2]
        values[name[:-1]] = int(value)
    secret = sum(
        int(line.split()[1])
        for block in pathlib.Path(f"/proc/{pid}/smaps").read_text(encoding="ascii").split("VmFlags")
        if "secretmem" in block
        for line in block.splitlines()
        if line.startswith("Size:")
    )
    return values["Anonymous"] + secret, values["Rss"]


def wakeups(pid):
    """Voluntary context switches of all threads so far."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        for row in pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text(encoding="ascii").splitlines():
            if row.startswith("voluntary_ctxt_switches:"):
                total += int(row.split()[1])
    return total


class Leasehold:
    """leasehold-agent with a hand-written configuration, AppRole as its peer."""

    name = "leasehold-agent"

    def __init__(self, manager, binary):
        self.manager, self.binary = manager, pathlib.Path(binary).resolve()

    def configure(self, folder, secrets, address=None):
        manager = self.manager
        credential = folder / "credential"
        credential.mkdir()
        secret_id = pathlib.Path(manager.folder / "agent.secret_id").read_text()
        (credential / "secret-id").write_text(secret_id)
        (folder / "files").mkdir()
        (folder / "state").mkdir()
        ca = base64.b64encode(pathlib.Path(manager.bao.ca).read_bytes()).decode()
        app_role = {
            "roleId": (manager.folder / "agent.role_id").read_text(),
            "secretIdRef": {"name": "approle", "key": "secret-id"},
        }
        items = [
            {"name": name, "path": path, "files": [{"path": name, "template": USER_PASSWORD}]} for name, path in secrets
        ]
        config = {
            "version": 1,
            "mode": "sidecar",
            "namespace": "default",
            "serviceAccount": "default",
            "store": {
                "kind": "SecretStore",
                "name": "bench",
                "namespace": "default",
                "spec": {
                    "vault": {
                        "addresses": [address or manager.bao.address()],
                        "caBundle": ca,
                        "kv2Mounts": ["kv"],
                        "auth": {"appRole": app_role},
                    }
                },
            },
            "projection": {"name": "bench", "spec": {"items": items}},
            "mountPath": str(folder / "files"),
            "statePath": str(folder / "state"),
            "credentialPath": str(credential),
            "defaultMode": "0440",
            "logLevel": "warn",
        }
        (folder / "agent.json").write_text(json.dumps(config))
        return [str(self.binary), "--config", str(folder / "agent.json")], [folder / "files" / n for n, _ in secrets]


class BaoAgent:
    """bao agent with one template a secret."""

    name = "bao agent"

    def __init__(self, manager, binary=None):
        self.manager, self.binary = manager, binary or find_program()

    def configure(self, folder, secrets, address=None):
        manager = self.manager
        parts = [
            f'vault {{\n  address = "{address or manager.bao.address()}"\n  ca_cert = "{manager.bao.ca}"\n}}',
            'auto_auth {\n  method "approle" {\n    config = {\n'
            f'      role_id_file_path = "{manager.folder}/agent.role_id"\n'
            f'      secret_id_file_path = "{manager.folder}/agent.secret_id"\n'
            "      remove_secret_id_file_after_reading = false\n    }\n  }\n}",
        ]
        files = []
        for name, path in secrets:
            data = ".Data.data" if path.startswith("kv/") else ".Data"
            path = path.replace("kv/", "kv/data/", 1) if path.startswith("kv/") else path
            body = '{{ with secret "%s" }}{{ %s.username }}\n{{ %s.password }}\n{{ end }}' % (path, data, data)
            files.append(folder / name)
            parts.append(f'template {{\n  contents = <<T\n{body}\nT\n  destination = "{folder / name}"\n}}')
        (folder / "agent.hcl").write_text("\n".join(parts) + "\n")
        return [str(self.binary), "agent", f"-config={folder / 'agent.hcl'}"], files


class Run:
    """One agent started; waits until every file is there."""

    def __init__(self, agent, folder, secrets, address=None):
        folder.mkdir(parents=True)
        argv, self.files = agent.configure(folder, secrets, address)
        self.log = open(folder / "log", "wb")
        started = time.monotonic()
        env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        # A session, and so a scheduling group, of its own: what is favoured is this agent alone.
        self.process = subprocess.Popen(
            argv, cwd=folder, env=env, stdout=self.log, stderr=self.log, start_new_session=True
        )
        # So that the guard of the manager's folder ends it where this program is ended first.
        record = agent.manager.folder / "pids" / f"agent-{folder.name}"
        record.write_text(f"{self.process.pid} {start_time(self.process.pid) or 0} {int(signal.SIGTERM)}")
        favour(self.process.pid)
        try:
            wait_until(f"files of {agent.name}", self._complete, 60, 0.001)
        except BaseException:
            self.process.kill()
            print((folder / "log").read_text()[-2000:], file=sys.stderr)
            raise
        self.wall = time.monotonic() - started
        self.cpu = cpu_seconds(self.process.pid)

    def _complete(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the agent exited with {self.process.returncode}")
        return all(f.exists() and f.stat().st_size > 3 for f in self.files)

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        started = time.monotonic()
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
        return time.monotonic() - started
