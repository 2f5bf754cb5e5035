# SPDX-License-Identifier: GPL-2.0-or-later
"""The dashboard: its queries are PromQL and name what there is; its panels are in place."""

import json
import re

import metrics
import pytest
import yaml

from conftest import ROOT, run, tool

DASHBOARD = json.loads((ROOT / "packaging/grafana/tcplat.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {item["name"]: item for item in DASHBOARD["templating"]["list"]}
MEASUREMENTS = ("connect_duration", "rtt", "pickup")


def queries():
    """(where, query) of panels and annotations."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"{panel['id']} {panel['title']} {target['refId']}", target["expr"]
    for item in DASHBOARD["annotations"]["list"]:
        yield item["name"], item["expr"]


def filled_in(expr):
    expr = expr.replace("$__rate_interval", "5m")
    for name in VARIABLES:
        expr = re.sub(rf"\${name}\b", "some-value", expr)
    assert "$" not in expr
    return expr


QUERIES = dict(queries())


def test_queries_are_promql(tmp_path):
    rules = [{"record": f"query:{i}", "expr": filled_in(expr)}
             for i, expr in enumerate(QUERIES.values())]
    for rule in rules:
        rule["record"] = "query:tcplat:" + re.sub(r"\D", "", rule["record"])
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = run([tool("promtool"), "check", "rules", str(path)])
    assert done.returncode == 0, done.stdout
    assert f"{len(QUERIES)} rules found" in done.stdout


@pytest.mark.parametrize("where", QUERIES)
def test_names_exist(where):
    assert metrics.complaints(filled_in(QUERIES[where])) == []


def test_legends_name_what_the_query_leaves():
    for panel in PANELS:
        for target in panel["targets"]:
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.search(r"sum by \(([^)]*)\)", target["expr"])
            left = set(grouped[1].split(", ")) if grouped else {"instance"}
            assert labels <= left, panel["title"]


def test_variables():
    assert list(VARIABLES) == ["DS", "job", "instance", "unit", "pod", "raddr"]
    assert VARIABLES["DS"]["type"] == "datasource" and VARIABLES["DS"]["query"] == "prometheus"
    for name, item in VARIABLES.items():
        if name == "DS":
            continue
        metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", item["definition"]).groups()
        assert metrics.complaints(filled_in(metric)) == []
        assert label in metrics.OUTER | metrics.series()[metric.split("{")[0]]
        assert item["query"]["query"] == item["definition"]
        # Series without that label are among "All": not every agent has every key.
        assert name == "job" or (item["includeAll"] and item["allValue"] == ".*")


def test_every_panel_asks_the_chosen_source():
    source = {"type": "prometheus", "uid": "${DS}"}
    assert all(panel["datasource"] == source for panel in PANELS)
    assert DASHBOARD["schemaVersion"] >= 37 and DASHBOARD["id"] is None
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_panels_do_not_overlap():
    taken = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in [(x, y) for x in range(at["x"], at["x"] + at["w"])
                     for y in range(at["y"], at["y"] + at["h"])]:
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]


def test_what_must_be_there():
    heat = [panel for panel in PANELS if panel["type"] == "heatmap"]
    for panel, name in zip(heat, MEASUREMENTS, strict=True):
        target, = panel["targets"]
        assert target["format"] == "heatmap"
        assert f"sum by (le) (rate(tcplat_{name}_seconds_bucket" in target["expr"]
        # Buckets of the source, not of the panel; seconds on the axis.
        assert panel["options"]["calculate"] is False
        assert panel["options"]["yAxis"]["unit"] == "s"
    exprs = list(QUERIES.values())
    for name in MEASUREMENTS:
        for by in ("raddr", "unit, pod_uid"):
            assert any(expr.startswith("topk(10, histogram_quantile(0.99, "
                                       f"sum by ({by}, le) (rate(tcplat_{name}_seconds_bucket")
                       for expr in exprs), (name, by)
    shown = set().union(*(metrics.metrics_of(expr) for expr in exprs))
    assert shown >= {"tcplat_connects_total", "tcplat_syn_retransmits_total",
                     "tcplat_retransmitted_segments_total", "tcplat_lost_events_total",
                     "tcplat_page_lines", "tcplat_page_lines_limit", "tcplat_keys",
                     "tcplat_keys_limit", "tcplat_series_folded_total",
                     "tcplat_keys_refused_total", "process_cpu_seconds_total",
                     "process_resident_memory_bytes", "tcplat_build_info", "up"}
