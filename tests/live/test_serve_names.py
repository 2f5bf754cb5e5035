# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that others chose, as values of labels: the page stays a page, and says what they are."""

import os
import unicodedata

import pytest

from lib import groups, traffic
from lib.prometheus import Prometheus, check_metrics, needs_prometheus, needs_promtool
from lib.serve import Agent
from test_hostile_names import NAMES

CONNECTS = "tcplat_connects_total"

CONTAINER = "0123456789abcdef" * 4
POD = "8f2c1a5e-0d53-4a8e-9a39-7d1e8c0a9b11"
SCOPE = f"cri-containerd-{CONTAINER}.scope"


def shown(name):
    """What is no UTF-8, controls, and what nobody can see as \\xNN; all else as it is."""
    text = name.decode("utf-8", "surrogateescape")
    return "".join(
        f"\\x{ord(c) - 0xdc00:02x}" if "\udc80" <= c <= "\udcff"
        else "".join(f"\\x{byte:02x}" for byte in c.encode())
        if unicodedata.category(c) in ("Cc", "Cf") else c
        for c in text)


@pytest.fixture
def group():
    with groups.maker(groups.naming_mount()) as make:
        yield make


def refused(path, ns, port):
    """A connect by a process in this group, at a port where nobody listens."""
    with traffic.Client(ns, "127.0.0.1", port) as client:
        groups.move(client.pid, path)
        assert client.go().result().error == "ECONNREFUSED"


def by_port(page, label):
    """{port: value of the label}"""
    return {int(dict(series)["rport"]): dict(series).get(label)
            for series, value in page.values(CONNECTS).items() if value}


def agent(ns, by):
    return Agent("--netns", ns.inode, "--by", f"rport,{by}", "--all-ports")


@needs_promtool
def test_programs(loopback):
    expected = {}
    with agent(loopback.client, "comm") as serving:
        for port, name in enumerate(NAMES, 400):
            traffic.connect_once(loopback.client, "127.0.0.1", port, comm=name)
            expected[port] = shown(name)
        page, other = serving.scrape(), serving.scrape(openmetrics=True)
    assert by_port(page, "comm") == by_port(other, "comm") == expected
    assert "\x1b" not in page.text and "\r" not in page.text
    check_metrics(page.text)


@needs_promtool
def test_groups(loopback, group):
    expected = {}
    prefix = f"tcplat-{os.getpid()} ".encode()
    with agent(loopback.client, "cgroup") as serving:
        # no newline: the kernel does not take it in the name of a group
        for port, name in enumerate((name for name in NAMES if b"\n" not in name), 500):
            path = group(prefix + name)
            refused(path, loopback.client, port)
            expected[port] = "/" + prefix.decode() + shown(name)
        page = serving.scrape()
        other = serving.scrape(openmetrics=True)
    assert by_port(page, "cgroup") == by_port(other, "cgroup") == expected
    check_metrics(page.text)


@needs_prometheus
def test_prometheus_takes_them(loopback, group, tmp_path):
    """Its own reader gets the very same values."""
    with agent(loopback.client, "comm,cgroup") as serving:
        for port, name in enumerate(NAMES, 600):
            traffic.connect_once(loopback.client, "127.0.0.1", port, comm=name)
        path = group(f'tcplat-{os.getpid()} "q\\'.encode() + b"\xff")
        refused(path, loopback.client, 700)
        page = serving.scrape()
        with Prometheus(tmp_path, {"it": serving.address}) as prometheus:
            prometheus.wait_up()
            scraped = prometheus.query(CONNECTS)
            prometheus.check_scrapes()
    ours = {tuple(sorted(labels.items()))
            for labels in ({name: labels[name] for name in labels
                            if name not in ("__name__", "instance", "job", "host")}
                           for labels, _ in scraped)}
    assert ours == set(page.values(CONNECTS))
    assert {dict(series).get("comm") for series in ours} >= {shown(name) for name in NAMES}
    assert any(f' "q\\{chr(92)}xff' in dict(series).get("cgroup", "") for series in ours)


def test_a_group_made_after_the_agent_has_looked(loopback, group):
    """Each is found by a look of its own, however soon after another one."""
    expected = {}
    with agent(loopback.client, "cgroup") as serving:
        for port in range(800, 810):
            name = f"tcplat-{os.getpid()}-{port}"
            refused(group(name), loopback.client, port)
            expected[port] = f"/{name}"
            page = serving.scrape_when(lambda page, port=port: port in by_port(page, "cgroup"))
        page = serving.scrape_when(lambda page: by_port(page, "cgroup") == expected, timeout=8)
    assert by_port(page, "cgroup") == expected


def test_groups_among_thousands(loopback, group):
    """To look for one takes a while then, and is not done again at once: it has to be later."""
    top = f"tcplat-{os.getpid()}"
    for name in (top, *(f"{top}/{number}" for number in range(5000))):
        group(name)
    ports, made = range(820, 828), {}
    with agent(loopback.client, "cgroup") as serving:
        for port in ports:
            made[port] = group(f"{top}/late-{port}")
            refused(made[port], loopback.client, port)
            serving.scrape_when(lambda page, port=port: port in by_port(page, "cgroup"))
        for port in ports:
            refused(made[port], loopback.client, port)
        serving.scrape_when(lambda page: page.values(CONNECTS) == {
            (("cgroup", f"/{top}/late-{port}"), ("outcome", "refused"), ("rport", str(port))): 2
            for port in ports}, timeout=15)


def test_units_containers_and_pods(loopback, group):
    """What a path says of them becomes labels; what it does not, none."""
    top = f"tcplat-{os.getpid()}.slice"
    slices = f"{top}/kubepods-burstable-pod{POD.replace('-', '_')}.slice"
    made = {name: group(name) for name in (top, f"{top}/web.service", slices, f"{slices}/{SCOPE}",
                                           f"{top}/plain")}
    with agent(loopback.client, "unit,container,pod") as serving:
        for port, name in ((901, f"{top}/web.service"), (902, f"{slices}/{SCOPE}"),
                           (903, f"{top}/plain")):
            refused(made[name], loopback.client, port)
        page = serving.scrape()
    assert {label: by_port(page, label) for label in ("unit", "container_id", "pod_uid")} == {
        "unit": {901: "web.service", 902: None, 903: top},
        "container_id": {901: None, 902: CONTAINER, 903: None},
        "pod_uid": {901: None, 902: POD, 903: None}}


def test_groups_that_look_alike_are_one(loopback, group):
    """Of two groups with the same unit, the counts are added up."""
    top = f"tcplat-{os.getpid()}.service"
    group(top)
    made = {name: group(f"{top}/{name}") for name in ("one", "two")}
    with Agent("--netns", loopback.client.inode, "--by", "unit") as serving:
        for name, count in (("one", 2), ("two", 3)):
            for _ in range(count):
                refused(made[name], loopback.client, 9)
        page = serving.scrape()
    assert page.values(CONNECTS) == {(("outcome", "refused"), ("unit", top)): 5}
