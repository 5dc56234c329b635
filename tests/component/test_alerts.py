# SPDX-License-Identifier: Apache-2.0
"""The chart's alert rules: of metrics that there are, explained in docs, firing when they should and only then."""

import json
import pathlib
import re
import subprocess
import textwrap

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EVERYTHING = "metrics.alerts=true,metrics.dashboard=true,node.enabled=true,cluster.enabled=true"
METRIC = r"\b(?:leasehold|process|workqueue|rest_client|controller_runtime)_\w+"
# What Prometheus itself puts on what it scrapes.
SCRAPED = {"namespace", "pod", "container", "node", "job", "instance"}
POD = {"namespace": "leasehold-system", "pod": "leasehold-node-x"}
WEB = {"namespace": "shop", "pod": "web", "store": "vault"}

# name: (metric, its labels, values at each minute, when it fires, labels that it carries then, values of a quiet one)
CASES = {
    "LeaseholdWebhookNotReady": ("leasehold_webhook_ready", {}, "0x10", "3m", {}, "0 0 1x10"),
    "LeaseholdWebhookCertificateEnds": (
        *("leasehold_webhook_certificate_expiry_seconds", {}),
        *("86000x20", "12m", {}, "86500x20"),
    ),
    "LeaseholdWebhookCertificateFails": (
        *("leasehold_webhook_certificate_failures_total", {}),
        *("0+1x60", "45m", {}, "0+0x30 1x30"),
    ),
    "LeaseholdWebhookSlow": (
        # All reviews took between 0.25 and 1 s; none did.
        *("leasehold_admission_duration_seconds_bucket", {"webhook": "mutate", "le": "1"}),
        *("0+60x30", "20m", {}, "0x30"),
    ),
    "LeaseholdWebhookClosesConnections": (
        *("leasehold_webhook_connections_closed_total", {"limit": "time"}),
        *("0+5x40", "25m", {"limit": "time"}, "0+0.5x40"),
    ),
    "LeaseholdDenialsRising": (
        *("leasehold_admission_denials_total", {"reason": "PathNotAllowed"}),
        *("0+10x40", "25m", {"reason": "PathNotAllowed"}, "0+1x40"),
    ),
    "LeaseholdBadObjects": ("leasehold_bad_objects_total", {}, "0x5 1x5", "7m", {}, "1x10"),
    "LeaseholdCredentialExpired": ("leasehold_expired_credentials", WEB, "0 0 1x10", "4m", WEB, "0 1 0x10"),
    "LeaseholdPodWaitsForSecrets": ("leasehold_ready", WEB, "0x10", "6m", WEB, "0 0 0 0 1x10"),
    "LeaseholdManagerUnavailable": (
        *("leasehold_store_unavailable", WEB),
        *("1x10", "6m", {"store": "vault"}, "0 1 1 0x10"),
    ),
    "LeaseholdRefreshFails": (
        *("leasehold_failures_total", WEB | {"reason": "PermissionDenied"}),
        *("0+1x60", "40m", WEB | {"reason": "PermissionDenied"}, "0+0x30 3x30"),
    ),
    "LeaseholdApplicationNotTold": (
        *("leasehold_notifications_total", WEB | {"result": "failed"}),
        *("0x5 1x5", "7m", WEB, "1x10"),
    ),
    "LeaseholdIssuesUnconfirmed": (
        *("leasehold_issues_unconfirmed_total", WEB),
        *("0+1x60", "60m", WEB, "0 1 2x60"),
    ),
    "LeaseholdNodeNotReady": ("leasehold_node_ready", POD, "0x10", "6m", POD, "0 0 1x10"),
    "LeaseholdMountDisconnected": ("leasehold_node_mount_connected", POD, "0x10", "5m", POD, "0 1x10"),
    "LeaseholdVolumeCredentialExpired": ("leasehold_node_expired_credentials", POD, "0 0 1x10", "5m", POD, "0 1 0x10"),
    "LeaseholdVolumesStale": ("leasehold_node_stale_volumes", POD, "1x10", "6m", POD, "0 1 0x10"),
    "LeaseholdNodeMemoryFull": ("leasehold_node_volume_bytes", POD, "95x20", "12m", POD, "89x20"),
    "LeaseholdPublishSlow": (
        # All took between 10 and 30 s; none did.
        *("leasehold_node_publish_duration_seconds_bucket", {"le": "30"}),
        *("0+60x30", "20m", {}, "0x30"),
    ),
    "LeaseholdPublishFails": (
        *("leasehold_node_calls_total", {"method": "NodePublishVolume", "status": "Unavailable"}),
        *("0+2x60", "40m", {"status": "Unavailable"}, "0+0.5x60"),
    ),
    "LeaseholdControllerNotReady": ("leasehold_cluster_ready", {}, "0x10", "6m", {}, "0 0 1x10"),
    "LeaseholdCopiesStale": ("leasehold_cluster_stale_copies", {}, "1x10", "6m", {}, "0 1 0x10"),
    "LeaseholdCopiesWait": ("leasehold_cluster_oldest_due_seconds", {}, "400x20", "6m", {}, "299x20"),
    "LeaseholdDeletionsHeld": ("leasehold_cluster_deletions_held", {}, "0 0 1x10", "5m", {}, "0x10"),
    "LeaseholdDrainForgotten": ("leasehold_cluster_draining", {}, "1x90", "65m", {}, "1x50 0x40"),
    "LeaseholdStoreNotReady": (
        *("leasehold_store_ready", {"kind": "SecretStore", "namespace": "shop", "store": "vault"}),
        *("0x10", "6m", {"kind": "SecretStore", "store": "vault"}, "0 0 1x10"),
    ),
    "LeaseholdPodsUninjected": ("leasehold_uninjected_pods", {"namespace": "shop"}, "1x10", "6m", {}, "0 1 0x10"),
    "LeaseholdRestartsWait": (
        *("leasehold_restarts_waiting", {"why": "disruption"}),
        *("1x90", "65m", {"why": "disruption"}, "1x3 0x90"),
    ),
    "LeaseholdRevocationGivenUp": (
        *("leasehold_ledger_records", {"state": "given_up"}),
        *("0 0 1x10", "5m", {}, "0x10"),
    ),
    "LeaseholdLedgerFills": ("leasehold_ledger_bytes", {}, "800000x20", "12m", {}, "700000x20"),
    "LeaseholdLedgerDamaged": ("leasehold_ledger_damaged_records", {}, "1x10", "5m", {}, "0x10"),
}
OURS = ("leasehold-webhook", "leasehold-agent", "leasehold-node", "leasehold-cluster")
# What a rule compares its metric with.
BESIDE = {"LeaseholdNodeMemoryFull": {"leasehold_node_volume_bytes_max": "100x20"}}


def program(tool, name):
    done = subprocess.run([ROOT / "tests/tools/path", tool], capture_output=True, text=True, check=True)
    return pathlib.Path(done.stdout.strip()) / name


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """A file of rules as Prometheus reads them for each PrometheusRule of the chart with all its parts."""
    argv = [program("helm", "helm"), "template", "leasehold", ROOT / "charts/leasehold"]
    argv += ["--kube-version", "1.36.0", "--set", EVERYTHING]
    rendered = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    folder = tmp_path_factory.mktemp("rules")
    documents = [d for d in re.split(r"^---$", rendered, flags=re.M) if re.search(r"^kind: PrometheusRule$", d, re.M)]
    for i, document in enumerate(documents):
        spec = document.partition("\nspec:\n")[2]
        (folder / f"{i}.yaml").write_text(textwrap.dedent(spec))
    return folder


def alerts(rules):
    """(group, {alert, expr, summary, runbook}) of every rule. A field is one line."""
    found = []
    for file in sorted(rules.glob("*.yaml")):
        group = rule = None
        for line in file.read_text().splitlines():
            field = re.fullmatch(r"\s*(- )?(name|alert|expr|summary|runbook): (.*)", line)
            if not field:
                continue
            if field[2] == "name":
                group = field[3]
            elif field[2] == "alert":
                rule = {}
                found.append((group, rule))
            if rule is not None:
                rule[field[2]] = field[3]
    return found


def known_metrics():
    """{name: (type, labels)} of the reference, which a lint keeps in step with the code."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", (ROOT / "docs/reference/metrics.md").read_text(), re.M)
    return {name: (kind, set(filter(None, labels.strip().split(", ")))) for name, kind, labels in rows}


def test_prometheus_takes_them(rules):
    files = sorted(rules.glob("*.yaml"))
    done = subprocess.run([program("promtool", "promtool"), "check", "rules", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_labels_and_reasons_exist(rules):
    metrics = known_metrics()
    reasons = set(re.findall(r"^## (\w+)$", (ROOT / "docs/reference/reasons.md").read_text(), re.M))
    found = [rule for _, rule in alerts(rules)]
    assert len(found) >= len(CASES)
    for rule in found:
        expr = rule["expr"]
        names = re.findall(METRIC, expr)
        assert names, rule
        allowed = set(SCRAPED)
        for name in names:
            base = name if name in metrics else re.sub(r"_(bucket|sum|count)$", "", name)
            assert base in metrics, f"{rule['alert']}: no program of ours has {name}"
            kind, labels = metrics[base]
            assert base == name or kind == "histogram", f"{rule['alert']}: {base} is no histogram"
            allowed |= labels | ({"le"} if kind == "histogram" else set())
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expr))
        for listed in re.findall(r"\b(?:by|on|ignoring|without) \(([^)]*)\)", expr):
            used |= {label.strip() for label in listed.split(",")}
        used |= set(re.findall(r"\$labels\.(\w+)", rule["summary"]))
        assert used <= allowed, f"{rule['alert']}: {used - allowed} is no label of {names}"
        for words in re.findall(r"reason(?:=|!=|=~|!~)\"([^\"]*)\"", expr):
            assert set(words.split("|")) <= reasons, rule


def test_each_is_explained(rules):
    ours = [rule for group, rule in alerts(rules) if group in OURS]
    for rule in ours:
        file, _, anchor = rule["runbook"].partition("#")
        headings = re.findall(r"^## (.*)$", (ROOT / file).read_text(), re.M)
        assert rule["alert"] in headings and anchor == rule["alert"].lower(), rule
    headings = re.findall(r"^## (Leasehold\w+)$", (ROOT / "docs/alerts.md").read_text(), re.M)
    assert set(headings) == {rule["alert"] for rule in ours} == set(CASES), "an alert has a text and a case"


def test_dashboard_asks_for_what_exists():
    """Every query of the dashboard, whatever the chart's values are."""
    metrics = known_metrics()
    dashboard = json.loads((ROOT / "charts/leasehold/dashboards/leasehold.json").read_text())
    queries = [t["expr"] for panel in dashboard["panels"] for t in panel.get("targets", ())]
    assert len(queries) > 10
    for query in queries:
        names = re.findall(METRIC, query)
        assert names, query
        for name in names:
            base = name if name in metrics else re.sub(r"_(bucket|sum|count)$", "", name)
            assert base in metrics, f"no program of ours has {name}"
            assert base == name or metrics[base][0] == "histogram", query


def test_dashboard_is_rendered_where_asked_for():
    def rendered(*settings):
        argv = [program("helm", "helm"), "template", "leasehold", ROOT / "charts/leasehold", *settings]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    assert "leasehold.json" not in rendered()
    text = rendered("--set", "metrics.dashboard=true")
    (document,) = [d for d in text.split("\n---\n") if "leasehold.json: |" in d]
    assert 'grafana_dashboard: "1"' in document
    body = textwrap.dedent(document.partition("leasehold.json: |\n")[2])
    assert json.loads(body) == json.loads((ROOT / "charts/leasehold/dashboards/leasehold.json").read_text())


def severity(rules, alert):
    text = "\n".join(f.read_text() for f in rules.glob("*.yaml"))
    return re.search(rf"alert: {alert}\n.*?severity: (\w+)", text, re.S)[1]


def filled(text, labels):
    for name, value in labels.items():
        text = text.replace("{{ $labels.%s }}" % name, value)
    return text.replace("{{ $value }}", "1")


@pytest.mark.parametrize("alert", CASES)
def test_fires_and_keeps_quiet(rules, tmp_path, alert):
    (rule,) = [r for _, r in alerts(rules) if r["alert"] == alert]
    metric, labels, firing, at, carried, quiet = CASES[alert]
    series = metric + "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}"
    summary = filled(rule["summary"], carried)
    expected = {
        "exp_labels": carried | {"severity": severity(rules, alert)},
        "exp_annotations": {"summary": summary, "runbook": rule["runbook"]},
    }
    # A quantile wants the buckets around as well.
    around = {"0.25": "0x60", "+Inf": "0+60x60"} if "le" in labels else {}
    more = [{"series": re.sub('le="[^"]*"', f'le="{le}"', series), "values": v} for le, v in around.items()]
    beside = [{"series": series.replace(metric, m), "values": v} for m, v in BESIDE.get(alert, {}).items()]
    fires = [{"eval_time": at, "alertname": alert, "exp_alerts": [expected]}]
    keeps_quiet = [{"eval_time": t, "alertname": alert, "exp_alerts": []} for t in ("4m", at)]
    row = {"series": series}
    tests = [
        {"interval": "1m", "input_series": [row | {"values": firing}, *more, *beside], "alert_rule_test": fires},
        {"interval": "1m", "input_series": [row | {"values": quiet}, *beside], "alert_rule_test": keeps_quiet},
    ]
    files = [str(f) for f in sorted(rules.glob("*.yaml"))]
    document = {"rule_files": files, "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(json.dumps(document))
    argv = [program("promtool", "promtool"), "test", "rules", tmp_path / "tests.yaml"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
