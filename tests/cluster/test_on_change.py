# SPDX-License-Identifier: Apache-2.0
"""The application is told by a request and by a program of its own; what an agent says of itself to who may ask."""

import json
import re
import urllib.error
import urllib.request

import pytest
from procs import in_netns, wait_until
from product import RENEW, SECRETS, STORE, pod

PORT, METRICS = 8081, 9090
HOOKS = "/hooks"

# nc runs its program for each connection, with the container's own stderr: kubectl logs shows who asked for what.
LISTENER = f"""
echo '#!/bin/sh' >{HOOKS}/answer
cat >>{HOOKS}/answer <<'end'
read -r line
while read -r head && [ ${{#head}} -gt 1 ]; do :; done
printf 'HTTP/1.1 204 No Content\\r\\nConnection: close\\r\\n\\r\\n'
set -- $line
echo "$1 $2 $(cat {SECRETS}/db/username)" >&2
end
chmod 0755 {HOOKS}/answer
echo "started with $(cat {SECRETS}/db/username)"
trap 'exit 0' TERM
nc -ll -p {PORT} -e {HOOKS}/answer &
wait $!
"""

# The agent's image has no shell: the application lends it one.
LENDER = f"""
cp /bin/busybox {HOOKS}/busybox
echo "started with $(cat {SECRETS}/db/username)"
trap 'exit 0' TERM
while :; do sleep 3600 & wait $!; done
"""
PROGRAM = f"{HOOKS}/busybox cat {SECRETS}/db/username >>{HOOKS}/told; {HOOKS}/busybox echo $# $1 >>{HOOKS}/told"


def hooked(name, annotations, script):
    made = pod(name, annotations, script, volumes=[{"name": "hooks", "emptyDir": {}}])
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "hooks", "mountPath": HOOKS}]
    return made


def ask(tenant, name, path):
    """Body of http://POD:METRICS/path, asked from the node."""
    url = f"http://{tenant.get('pod', name)['status']['podIP']}:{METRICS}/{path}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return in_netns(tenant.cluster.netns, lambda: opener.open(url, timeout=5).read().decode())


def sample(text, name, **labels):
    """A metric's value."""
    wanted = [f'{k}="{v}"' for k, v in labels.items()]
    for row in text.splitlines():
        found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", row)
        if found and all(w in (found[1] or "") for w in wanted):
            return float(found[2])
    return None


def test_application_is_told_by_request_and_by_program(product, tenant, database_role):
    by_request = {
        "secret.db": database_role("requested"),
        "secret.settings": "kv/app/s1",
        "overlap": "3s",
        "on-change": f"http://127.0.0.1:{PORT}/reload",
        "metrics-port": str(METRICS),
    }
    by_program = {
        "secret.db": database_role("executed"),
        "on-change": "exec:" + json.dumps([f"{HOOKS}/busybox", "sh", "-c", PROGRAM, "hook", "two words"]),
    }
    tenant.create(hooked("requested", by_request, LISTENER))
    done = tenant.create(hooked("executed", by_program, LENDER))
    assert "Warning" not in done.stderr
    first = {}
    for name in ("requested", "executed"):
        tenant.ready(name)
        first[name] = tenant.told(name)[0]

    mark = product.manager.bao.audit_mark()
    said = json.loads(ask(tenant, "requested", "status"))
    numbers = ask(tenant, "requested", "metrics")
    user, password = tenant.credential("requested")
    assert said["ready"] is True and said["cause"] == "" and said["store"] == STORE
    assert {(i["name"], i["kind"], i["path"]) for i in said["items"]} == {
        ("db", "lease", by_request["secret.db"]),
        ("settings", "kv", "kv/app/s1"),
    }
    for text in (json.dumps(said), numbers):
        assert user not in text and password not in text
    assert sample(numbers, "leasehold_ready", store=STORE) == 1
    assert sample(numbers, "leasehold_expired_credentials", store=STORE) == 0
    assert sample(numbers, "leasehold_notifications_total") in (None, 0), "never for the first files"
    with pytest.raises(urllib.error.URLError):
        ask(tenant, "executed", "metrics")  # no port is open unless one was asked for

    product.cluster.wait("the request", lambda: len(tenant.told("requested")) > 1, 40)
    second = tenant.credential("requested")[0]
    lines = tenant.logs("requested").splitlines()
    assert lines == [f"started with {first['requested']}", f"POST /reload {second}"]
    assert second != first["requested"]

    def told():
        # Of that Pod's own place: the application reads what the agent's program wrote.
        args = ["exec", "-n", tenant.name, "executed", "-c", "app", "--", "cat", f"{HOOKS}/told"]
        return product.cluster.kubectl(*args, check=False).stdout

    by_then = wait_until("the program", told, 40, 0.2)
    assert re.fullmatch(r"v-\S+1 two words\n", by_then), by_then
    assert first["executed"] not in by_then

    numbers = ask(tenant, "requested", "metrics")
    assert sample(numbers, "leasehold_notifications_total", store=STORE, result="ok") == 1
    assert sample(numbers, "leasehold_publications_total", store=STORE) == 2
    assert sample(numbers, "leasehold_renewals_total", store=STORE) >= 1
    assert tenant.requests(mark)[RENEW] >= 1
