# SPDX-License-Identifier: Apache-2.0
"""What `kubectl apply` says to a SecretProjection."""

from volumes import projection

PATH = "kv/app/s1"


def files(*paths):
    return [{"name": "db", "path": PATH, "files": [{"path": p, "key": "username"} for p in paths]}]


BAD = {
    "an absolute path": (files("/etc/passwd"), "relative path"),
    "a path up": (files("../x"), "files[0].path"),
    "two of one name": (files("a", "a"), "Duplicate value"),
    "a long name": (files("a" * 256), "files[0].path"),
    "257 files": (files(*(f"f{i}" for i in range(257))), "at most 256"),
    "a manager's path up": ([{"name": "db", "path": "kv/../s1"}], "segment"),
    "two items of one name": ([{"name": "db", "path": PATH}, {"name": "db", "path": "kv/app/s2"}], "Duplicate value"),
    "no items": ([], "at least 1"),
}


def test_bad_ones_are_refused(tenant):
    for name, (items, text) in BAD.items():
        done = tenant.create(projection("", items=items), check=False)
        assert done.returncode != 0 and "is invalid" in done.stderr and text in done.stderr, (name, done.stderr)
    assert tenant.get("secretprojections")["items"] == []


def test_a_good_one_is_listed(product, tenant):
    tenant.create(projection(PATH))
    listed = product.cluster.kubectl("get", "lhproj", "-n", tenant.name).stdout.splitlines()
    assert listed[0].split() == ["NAME", "READY", "STORE", "REASON", "AGE"] and listed[1].startswith("db ")
