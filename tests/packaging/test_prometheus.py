# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules, alerts and the example configuration, by Prometheus' own tool."""

import re

import metrics
import pytest
import yaml

from conftest import ROOT, run, tool

HERE = ROOT / "packaging/prometheus"
RULES = yaml.safe_load((HERE / "tcplat.rules.yml").read_text())
TESTS = yaml.safe_load((HERE / "tcplat.rules.test.yml").read_text())
ALL = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in ALL if "alert" in rule]
RECORDED = {rule["record"] for rule in ALL if "record" in rule}


def promtool(*args, **options):
    done = run([tool("promtool"), *args], cwd=HERE, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_rules_are_clean():
    said = promtool("check", "rules", "--lint=all", "--lint-fatal", "tcplat.rules.yml")
    assert f"{len(ALL)} rules found" in said


def test_the_example_configuration():
    assert "is valid prometheus config" in promtool("check", "config", "prometheus.yml")


def test_what_is_written_far_away_is_recorded():
    """The commented remote_write keeps what the rules record, and no buckets."""
    lines = (HERE / "prometheus.yml").read_text().split("# remote_write:")[1]
    config = yaml.safe_load("\n".join(line.lstrip("#")[1:] for line in lines.splitlines()))
    keep, drop = config[0]["write_relabel_configs"]
    kept = {name for name in RECORDED | set(metrics.series()) if re.fullmatch(keep["regex"], name)
            and not re.fullmatch(drop["regex"], name)}
    assert kept == {name for name in RECORDED if "_bucket:" not in name} | {
        "up", "tcplat_lost_events_total", "tcplat_keys_refused_total",
        "tcplat_series_folded_total"}


def test_rules_do_what_they_say():
    assert "SUCCESS" in promtool("test", "rules", "tcplat.rules.test.yml")


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_has_both_cases(rule):
    """It fires in one, and at another moment or on another host it does not."""
    cases = [case for test in TESTS["tests"] for case in test.get("alert_rule_test", [])
             if case["alertname"] == rule["alert"]]
    assert any(case["exp_alerts"] for case in cases)
    assert any(not case["exp_alerts"] for case in cases)
    assert set(rule["annotations"]) == {"summary", "description"}
    assert f"| `{rule['alert']}` |" in (ROOT / "docs/FLEET.md").read_text()


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.get("record") or rule["alert"])
def test_names_exist(rule):
    """Metrics are exposed or recorded, labels are there."""
    assert metrics.complaints(rule["expr"]) == []
    used = set(re.findall(r"\w+:[\w:]+", metrics.strings_out(rule["expr"])))
    assert used <= RECORDED
    for text in rule.get("annotations", {}).values():
        labels = set(re.findall(r"\$labels\.(\w+)", text))
        assert labels <= metrics.OUTER | metrics.key_labels()
        assert metrics.metrics_of(text) <= set(metrics.series())


@pytest.mark.parametrize("broken, complaint", [
    (("> 0.05", "> 0.2"), "TcplatConnectsFail"),
    (('{outcome!="established"}', '{outcome="refused"}'), "TcplatConnectsFail"),
    (("offset 1d", "offset 1h"), "TcplatRttWorse"),
    (("job, instance, unit, pod_uid, le", "job, unit, pod_uid, le"), "TcplatPickupSlow"),
])
def test_a_broken_rule_is_noticed(tmp_path, broken, complaint):
    text = (HERE / "tcplat.rules.yml").read_text()
    assert broken[0] in text
    (tmp_path / "tcplat.rules.yml").write_text(text.replace(*broken))
    # Only the tests of that alert: some cover a whole day.
    chosen = [test for test in TESTS["tests"] if complaint in
              {case["alertname"] for case in test.get("alert_rule_test", [])}]
    (tmp_path / "test.yml").write_text(yaml.safe_dump({**TESTS, "tests": chosen}))
    done = run([tool("promtool"), "test", "rules", "test.yml"], cwd=tmp_path)
    assert done.returncode == 1 and f"alertname: {complaint}" in done.stdout
