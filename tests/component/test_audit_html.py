# SPDX-License-Identifier: Apache-2.0
"""The HTML report of `leasehold audit` in a real browser: it shows what the JSON says, at any width, in light and dark,
and nothing of it runs or is loaded."""

import collections
import json
import pathlib
import re
import subprocess

import pytest
from browser import Browser
from realetcd import Etcd

NAMESPACES = 30  # more than the plot has rows
LONG = "long-" + "n" * 58
HOSTILE = '"><script>document.title=1'
KEY_IDS = ("k" * 1024, "<script>key")
PROTECTIONS = ("external", "kms", "local", "none", "malformed")
CANARY = "s3cr3t-canary-value"


def field(number, data):
    head = bytes([number << 3 | 2])
    n = len(data)
    while n > 127:
        head += bytes([n & 127 | 128])
        n >>= 7
    return head + bytes([n]) + data


def kms(key_id):
    body = field(1, b"x" * 60) + field(2, key_id.encode()) + field(3, b"w" * 48) + bytes([5 << 3, 1])
    return b"k8s:enc:kms:v2:vault:" + body


def secretbox():
    return b"k8s:enc:secretbox:v1:key1:" + b"x" * 80


def plain():
    return b"k8s\0" + CANARY.encode()


def values():
    """Every protection that bytes can have, in namespaces with names that a page may trip over."""
    yield f"/registry/secrets/{HOSTILE}/plain", plain()
    for i in range(NAMESPACES):
        yield f"/registry/secrets/team-{i:02}/db", kms(KEY_IDS[i % 2])
        yield f"/registry/secrets/team-{i:02}/tls", kms(KEY_IDS[0])
    for i in range(7):
        yield f"/registry/secrets/{LONG}/s{i}", secretbox()
    yield "/registry/secrets/team-00/odd", b"k8s:enc:rot13:v1:x:y"
    yield "/registry/configmaps/team-00/c", plain()
    yield f"/registry/{'g' * 200}.example.org/things/team-00/x", b"{}"
    for kind in range(30):
        yield f"/registry/example.org/kind{kind:02}s/team-00/x", b"{}"


def pod(name, secret=None, **annotations):
    volumes = [{"name": "v", "secret": {"secretName": secret}}] if secret else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "audit-html", "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "app"}], "volumes": volumes},
    }


CONFIG = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "EncryptionConfiguration",
    "resources": [
        {
            "resources": ["secrets"],
            "providers": [
                {"kms": {"apiVersion": "v2", "name": "vault", "endpoint": "unix:///run/no-such/kms.sock"}},
                {"secretbox": {"keys": [{"name": "key1", "secret": "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="}]}},
                {"identity": {}},
            ],
        }
    ],
}


class Report:
    def __init__(self, bin_dir, folder, *args):
        self.path = folder / "report.html"
        argv = [bin_dir / "leasehold", "audit", *args, "-o"]
        text = {f: subprocess.run([*argv, f], capture_output=True, text=True, check=False) for f in ("json", "html")}
        for done in text.values():
            assert done.returncode == 0, done.stderr
            assert CANARY not in done.stdout
        self.path.write_text(text["html"].stdout)
        self.json = json.loads(text["json"].stdout)

    def counts(self, by):
        """name -> protection -> objects."""
        found = collections.defaultdict(collections.Counter)
        for o in self.json["objects"] + self.json["malformed"]:
            found[o[by]][o["protection"]] += o["count"]
        return found

    def secrets(self, by="resource"):
        found = collections.defaultdict(collections.Counter)
        for o in self.json["objects"] + self.json["malformed"]:
            if o["resource"] == "secrets":
                found[o[by]][o["protection"]] += o["count"]
        return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as b:
        yield b


@pytest.fixture(scope="module")
def report(bin_dir, apiserver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    config = folder / "enc.json"
    config.write_text(json.dumps(CONFIG))
    apiserver.namespace("audit-html")
    uses = {"injected": {"leasehold.dev/secret.db": "kv/db"}, "mixed": {"leasehold.dev/secret.db": "kv/db"}}
    apiserver.apply(pod("injected", **uses["injected"]))
    apiserver.apply(pod("mixed", "db", **uses["mixed"]))
    apiserver.apply(pod("bare", "db"))
    etcd = Etcd()
    try:
        etcd.put_many(values())
        etcd.put("/registry/secrets/audit-html/db", plain())
        more = ("--kubeconfig", apiserver.admin_kubeconfig, "--data-dir", etcd.folder / "m0")
        yield Report(bin_dir, folder, "--etcd", etcd.urls[0], "--config", config, *more)
    finally:
        etcd.close()


@pytest.fixture
def page(browser, report):
    browser.look(1280)
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(report.path)
    yield browser
    assert browser.complaints == []
    assert browser.requests == [report.path.as_uri()]


PLOT = """[...document.querySelectorAll('#%s li')].map(li => ({
    name: li.children[0].textContent,
    count: +li.children[2].textContent,
    width: li.children[1].getBoundingClientRect().width,
    parts: [...li.children[1].children].map(i => ({
        name: i.className, n: +i.title.split(': ')[1], width: i.getBoundingClientRect().width,
        colour: getComputedStyle(i).backgroundColor}))}))"""


def plot(page, name):
    rows = page.ask(PLOT % name)
    assert rows, name
    return rows


def assert_drawn(row):
    """Parts are as wide as their counts, but for the few pixels that make a small one visible and gaps."""
    total = sum(p["n"] for p in row["parts"])
    assert total == row["count"]
    for part in row["parts"]:
        assert part["width"] >= 3, row
        assert abs(part["width"] - row["width"] * part["n"] / total) <= 4 * len(row["parts"]), row
        assert part["colour"] not in ("rgba(0, 0, 0, 0)", "transparent")


def assert_row(row, want):
    assert {p["name"]: p["n"] for p in row["parts"]} == {k: n for k, n in want.items() if n}
    assert_drawn(row)


def test_nothing_runs_and_nothing_is_loaded(page):
    assert page.ask("document.scripts.length") == 0
    assert page.ask("document.title") == "Encryption at rest: audit"
    assert page.ask("document.querySelectorAll('[src],link,iframe,object,img').length") == 0
    links = page.ask("[...document.links].map(a => a.getAttribute('href'))")
    assert links
    assert all(page.ask(f"document.querySelector('{link}') !== null") for link in links), links


def test_totals_are_those_of_the_json(page, report):
    shown = page.ask("Object.fromEntries([...document.querySelectorAll('[data-protection]')]"
                     ".map(b => [b.dataset.protection, +b.textContent]))")
    want = report.secrets()["secrets"]
    assert shown == {p: want[p] for p in PROTECTIONS}
    assert min(shown.values()) > 0, "the bed has every protection"
    bar = page.ask("[...document.querySelectorAll('#plot-secrets .bar i')].map(i => i.className)")
    assert bar == list(PROTECTIONS)


def test_kinds_are_those_of_the_json(page, report):
    rows, want = plot(page, "plot-kinds"), report.counts("resource")
    *named, rest = rows
    assert rows[0]["name"] == "secrets"
    for row in named:
        assert_row(row, want.pop(row["name"]))
    assert rest["name"] == f"{len(want)} more kinds"
    assert_row(rest, sum(want.values(), collections.Counter()))


def test_namespaces_are_those_of_the_json_worst_first(page, report):
    rows, want = plot(page, "plot-namespaces"), report.secrets("namespace")
    *named, rest = rows
    assert {r["name"] for r in named[:2]} == {HOSTILE, "audit-html"}, "plain text comes first"
    for row in named:
        assert_row(row, want.pop(row["name"]))
    assert rest["name"] == f"{len(want)} more namespaces"
    assert_row(rest, sum(want.values(), collections.Counter()))


def test_keys_are_those_of_the_json(page, report):
    want = collections.Counter()
    for o in report.json["objects"]:
        for k in o["keys"]:
            want[k["provider"], k["name"], k["keyId"] or "-"] += k["count"]
    shown = page.ask("[...document.querySelectorAll('.keys tbody tr')].map(r => "
                     "[...r.cells].slice(0, 4).map(c => c.textContent))")
    assert {(p, n, k): int(c) for p, n, k, c in shown} == dict(want)
    assert {k for _, _, k, _ in shown} > set(KEY_IDS), "whole, and as text"


def test_workloads_are_those_of_the_json(page, report):
    titles = {"external": "external manager", "kms": "KMS envelope", "local": "local key", "none": "plain text"}
    mine = [w for w in report.json["workloads"] if w["namespace"] == "audit-html"]
    want = {f"{w['kind']} {w['name']}": (titles[w["protection"]], w["proof"]) for w in mine}
    shown = page.ask("[...document.querySelectorAll('.workloads tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
    found = {w: (p, proof) for ns, w, p, proof, _ in shown if ns == "audit-html"}
    assert found == want
    assert found["Pod injected"] == ("external manager", "inferred")
    assert found["Pod bare"] == ("plain text", "proven")
    (row,) = plot(page, "plot-workloads")
    assert_row(row, collections.Counter(w["protection"] for w in report.json["workloads"]))


def test_checks_are_those_of_the_json(page, report):
    checks = report.json["checks"]
    for c in checks:
        text = page.ask(f"document.getElementById('{c['id']}').textContent")
        assert c["title"] in text
        assert c["detail"].replace("`", "") in text
        assert c["severity"] in text
        assert c["result"] != "fail" or c["action"].replace("`", "") in text
    failed = [c for c in checks if c["result"] == "fail"]
    assert page.ask("document.querySelectorAll('article.fail').length") == len(failed) > 0
    assert page.ask("document.querySelectorAll('.verdict a').length") == len(failed)
    for row in plot(page, "plot-severities"):
        of = collections.Counter(c["result"] for c in checks if c["severity"] == row["name"])
        assert_row(row, of)


def members(value, at=""):
    """Paths of what has no members itself."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from members(one, f"{at}.{name}" if at else name)
    elif isinstance(value, list):
        yield f"{at}[]"
        for one in value:
            if isinstance(one, dict):
                yield from members(one, f"{at}[]")
    else:
        yield at


def test_members_of_the_json_are_documented(report):
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs/audit.md").read_text()
    _, _, table = page.partition("\n| member | |\n|---|---|\n")
    rows = [line.split("|")[1] for line in table.partition("\n\n")[0].splitlines()]
    documented = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    # What is malformed has the members of objects.
    found = {m for m in members(report.json) if not m.startswith("malformed[].")}
    assert found == documented


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 400, 800, 1600])
def test_it_fits_and_is_readable(page, tmp_path, width, scheme):
    page.look(width, scheme)
    assert page.ask("document.documentElement.scrollWidth") <= width
    wide = page.ask(f"[...document.querySelectorAll('body *')].filter(e => "
                    f"e.getBoundingClientRect().right > {width} + 1).map(e => e.outerHTML.slice(0, 80))")
    assert wide == []
    page.picture(tmp_path / f"{width}-{scheme}.png")
    background = page.ask("getComputedStyle(document.body).backgroundColor")
    assert (luminance(background) < 0.1) == (scheme == "dark")
    faint = [(t, r) for t, r in page.ask(TEXTS) if contrast(*r) < 4.5]
    assert faint == []
    sizes = page.ask("[...document.querySelectorAll('li,td,p,dd,dt')].map(e => parseFloat(getComputedStyle(e).fontSize))")
    assert min(sizes) >= 12


# Each text with its colour and the first background behind it that is not transparent.
TEXTS = """(() => {
    const behind = e => { while (e) { const c = getComputedStyle(e).backgroundColor;
        if (c !== 'rgba(0, 0, 0, 0)') return c; e = e.parentElement; } return 'rgb(255, 255, 255)'; };
    const texts = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) { const e = walk.currentNode.parentElement;
        if (walk.currentNode.textContent.trim())
            texts.push([e.outerHTML.slice(0, 60), [getComputedStyle(e).color, behind(e)]]); }
    return texts; })()"""


def luminance(colour):
    parts = [int(p) / 255 for p in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """As WCAG 2.2 has it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_without_bytes_it_says_so(browser, bin_dir, tmp_path):
    config = tmp_path / "enc.json"
    config.write_text(json.dumps(CONFIG))
    bare = Report(bin_dir, tmp_path, "--config", config)
    browser.complaints.clear()
    browser.look(400)
    browser.open(bare.path)
    text = browser.ask("document.body.innerText")
    assert "nothing is proven" in text
    assert "Pods were not read" in text
    assert browser.ask("document.documentElement.scrollWidth") <= 400
    assert browser.complaints == []
