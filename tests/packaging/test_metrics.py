# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of docs/FLEET.md against the sources, and the check of queries against itself."""

import re

import metrics
import pytest

from conftest import ROOT

SUFFIX = {"COUNTER": "_total", "INFO": "_info"}
TYPE = {"COUNTER": "counter", "GAUGE": "gauge", "INFO": "gauge", "HISTOGRAM": "histogram"}


def exposed():
    """Name to type of each metric that the sources define."""
    text = "".join(path.read_text() for path in sorted((ROOT / "src/serve").glob("*.c")))
    found = re.findall(r'"((?:tcplat|process)_\w+)",\s*METRIC_(\w+)', text)
    assert found
    return {name + SUFFIX.get(kind, ""): TYPE[kind] for name, kind in found}


def test_every_metric_is_documented():
    assert {name: kind for name, (kind, _) in metrics.documented().items()} == exposed()


def test_labels():
    documented = metrics.documented()
    assert documented["tcplat_connects_total"][1] == {
        "outcome", "other", "laddr", "raddr", "lport", "rport", "pid", "comm", "netns",
        "cgroup", "unit", "container_id", "pod_uid"}
    assert documented["tcplat_build_info"][1] == {"version", "kernel"}
    assert documented["tcplat_scrapes_total"][1] == set()
    text = "".join(path.read_text() for path in sorted((ROOT / "src/serve").glob("*.c")))
    for name, (_, labels) in documented.items():
        for label in labels:
            assert re.search(rf"\b{label}\b", text), f"{name}: {label}"


def test_keys_of_the_program(build, serve_options):
    from conftest import run
    assert "--by" in serve_options
    line = next(line for line in run([build / "tcplat", "serve", "--help"]).stdout.splitlines()
                if line.strip().startswith("--by "))
    keys = set(line.split("labels:")[1].replace(" ", "").split(","))
    documented = {name.split("/")[0] for cells in metrics.rows("key")
                  for name in metrics.quoted(cells[0])}
    assert documented == keys


@pytest.mark.parametrize("expr, want", [
    ("rate(tcplat_rtt_seconds_bucket[5m])", []),
    ("rate(tcplat_rtt_seconds[5m])", ["no metric tcplat_rtt_seconds"]),
    ("tcplat_rtt_second_count", ["no metric tcplat_rtt_second_count"]),
    ('tcplat_connects_total{outcome!="established"}', []),
    ('tcplat_rtt_seconds_count{outcome="x"}', ["no label outcome"]),
    ("sum by (reason, unit) (tcplat_lost_events_total)", ["no label unit"]),
    ('tcplat_scrapes_total{job=~"tcplat_wrong|by (what)"}', []),
    ("sum by (nothing) (job:tcplat_connects:rate5m)", ["no label nothing"]),
    ('up{job="tcplat"} == 0', []),
])
def test_the_check_itself(expr, want):
    assert metrics.complaints(expr) == want
