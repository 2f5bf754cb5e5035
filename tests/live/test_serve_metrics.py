# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of `tcplat serve`: each number is what was made, and the page is well formed."""

import concurrent.futures
import contextlib
import itertools

import pytest

from lib import paths, reader, rtts, talk, traffic
from lib.capture import Capture, handshakes
from lib.prometheus import check_metrics, needs_promtool
from lib.serve import Agent
from lib.tool import Tracer

CONNECT = "tcplat_connect_duration_seconds"
RTT = "tcplat_rtt_seconds"
PICKUP = "tcplat_pickup_seconds"
PARTS = "tcplat_pickup_part_seconds"

# what every page has; the order of the families is that of the page
SELF = {
    "tcplat_events_total", "tcplat_lost_events_total", "tcplat_unseen_starts_total",
    "tcplat_keys_refused_total", "tcplat_series_folded_total", "tcplat_series", "tcplat_keys",
    "tcplat_keys_limit", "tcplat_sockets", "tcplat_state_bytes", "tcplat_scrape_duration_seconds",
    "tcplat_scrapes_total", "tcplat_http_connections", "tcplat_http_connections_cut_total",
    "tcplat_build_info", "process_cpu_seconds_total", "process_resident_memory_bytes",
    "process_start_time_seconds",
}
MEASURED = {
    CONNECT, "tcplat_connects_total", "tcplat_syn_retransmits_total", RTT,
    "tcplat_retransmitted_segments_total", PICKUP, "tcplat_pickup_bytes_total",
}


def agent(path, *options, **more):
    """Of the client's namespace only."""
    return Agent("--netns", path.client.inode, *options, **more)


def connects(path, count, port=None, **options):
    """So many, one after the other; all are answered (or refused, at a port of nobody)."""
    with contextlib.ExitStack() as stack:
        addr = options.pop("addr", path.server_v4)
        if port is None:
            port = stack.enter_context(traffic.Server(path.server, addr)).port
        client = stack.enter_context(
            traffic.Client(path.client, addr, port, repeat=count, **options))
        client.go()
        return [client.result() for _ in range(count)]


def some_of_all(path):
    """Values for each of the three histograms and each counter."""
    connects(path, 2)
    connects(path, 1, port=9)
    with talk.talk(path) as one:
        one.ping(5)


# --- form ----------------------------------------------------------------------------------------

COMBINATIONS = {
    "none": [],
    "raddr,comm": ["--by", "raddr,comm"],
    "cgroup": ["--by", "cgroup"],
    "unit,container,pod": ["--by", "unit,container,pod"],
    "many": ["--by", "raddr/24,rport,lport,netns,pid,laddr", "--all-ports"],
    "split": ["--split"],
    "fine": ["--edges", "fine"],
    "fine, split, comm": ["--edges", "fine", "--split", "--by", "comm"],
    "times": ["--bpf-stats"],
}


def by_outcome(page, name):
    return {dict(labels)["outcome"]: value for labels, value in page.values(name).items()}


def shape(page):
    """Which series there are."""
    return {(name, sample.name.replace("_total", ""), tuple(sorted(sample.labels.items())))
            for name, family in page.families.items() for sample in family.samples}


@needs_promtool
@pytest.mark.parametrize("name", COMBINATIONS)
def test_form(loopback, name):
    """Both formats have the same series, and both are as they must be."""
    options = COMBINATIONS[name]
    with agent(loopback, *options) as serving:
        check_metrics(serving.scrape().text)  # when there is hardly anything
        some_of_all(loopback)
        page = serving.scrape_when(lambda page: page.total("tcplat_connects_total") == 4)
        other = serving.scrape(openmetrics=True)
        check_metrics(page.text)
    assert shape(page) == shape(other)
    more = {PARTS} if "--split" in options else set()
    more |= {"tcplat_bpf_runs_total", "tcplat_bpf_run_seconds_total"} & set(page.families)
    assert set(page.families) - SELF - {"tcplat_page_lines", "tcplat_page_lines_limit"} \
        == MEASURED | more
    assert ("tcplat_bpf_runs_total" in page) == (name == "times")
    for family in page.families.values():
        assert (family.unit is not None) == any(
            family.name.removesuffix("_total").endswith(unit) for unit in ("_seconds", "_bytes"))


def test_edges(loopback):
    """Powers of two of a microsecond, or eight to each octave; the same for every histogram."""
    for options, fine in (([], False), (["--edges", "fine"], True)):
        with agent(loopback, *options) as serving:
            some_of_all(loopback)
            page = serving.scrape()
        octaves = [2 ** i for i in range(31)]
        want = [1] + [octave * (8 + i) / 8 for octave in octaves[:-1] for i in range(1, 9)] \
            if fine else octaves
        for name in (CONNECT, RTT, PICKUP):
            for one in page.histograms(name):
                assert [edge * 1e6 for edge, _ in one.buckets[:-1]] == pytest.approx(want)
                assert len({edge for edge, _ in one.buckets}) == len(want) + 1


# --- each number ---------------------------------------------------------------------------------


def test_outcomes():
    """Each way an attempt can end, so often; not what this host refuses before any SYN, which
    takes watching every connect() there is."""
    want = {"established": 5 + 2, "refused": 4, "network_unreachable": 1, "host_unreachable": 2,
            "no_local_port": 3, "aborted": 2, "timed_out": 1}
    # a router of its own: it tells each host but of one error a second, after the first few
    with paths.routed(delay=(5, 5)) as path, agent(path) as serving:
        connects(path, 5)
        connects(path, 4, port=9)
        path.router.ip("route", "add", "unreachable", "192.0.2.0/24")
        connects(path, 2, port=80, addr="192.0.2.1")
        connects(path, 1, port=80, addr="203.0.113.1")
        assert traffic.refused_locally(path.client, "prohibit").error == "EACCES"
        with traffic.Server(path.server, path.server_v4, mode="keep") as server:
            traffic.exhaust_ports(path.client, server.addr, server.port, ports=2, extra=3)
        path.control("loss 100,0")
        for how in ("close", "unspec"):
            traffic.abort(path.client, path.server_v4, 9, how)
        with Capture(path.client, path.client_dev) as wire:
            traffic.time_out(path.client, path.server_v4, 9, syn_retries=1)
        page = serving.scrape()
    (late,) = handshakes(wire.packets).values()
    assert late.syns > 1
    assert by_outcome(page, "tcplat_connects_total") == want
    assert {one.labels["outcome"]: one.count for one in page.histograms(CONNECT)} == want
    assert by_outcome(page, "tcplat_syn_retransmits_total") == {
        **dict.fromkeys(want, 0), "timed_out": late.syns - 1}
    assert page.value("tcplat_events_total", measurement="connect") == sum(want.values())
    assert page.lost() == {}
    # for each SYN, 1 s without an answer, or 2 s for the second before 6.5
    assert late.syns - 0.1 <= page.histogram(CONNECT, outcome="timed_out").sum < 3.5


def test_lost_syns():
    """The first of each is lost: a second each, so many sent again, and no other."""
    with paths.delayline(delay=(5, 5), drop_syn=1) as path, agent(path) as serving, \
            traffic.StormServer(path.server, path.server_v4) as server:
        account = traffic.storm(path.client, path.server_v4, server.port, 12, parallel=12)
        page = serving.scrape()
    assert account["established"] == 12
    assert page.value("tcplat_syn_retransmits_total", outcome="established") == 12
    one = page.histogram(CONNECT, outcome="established")
    assert (one.count, one.up_to(0.524288), one.up_to(2.097152)) == (12, 0, 12)


def test_retransmitted_segments():
    """As many as the capture at the sending end has seen again."""
    with paths.delayline(delay=(5, 5), loss=(10, 0), seed=5) as path, agent(path) as serving, \
            contextlib.ExitStack() as stack:
        with rtts.Wire(path.client, path.client_dev) as wire:
            one = stack.enter_context(talk.talk(path))
            one.bulk(200_000)
        sender = rtts.Sender(wire.packets, one.flow)
        page = serving.scrape()
    # the handshake's own are no segments of an established connection
    syns = page.value("tcplat_syn_retransmits_total", outcome="established")
    assert sender.retransmitted - syns > 5
    assert page.value("tcplat_retransmitted_segments_total") == sender.retransmitted - syns


def test_round_trips(delayline):
    """20 ms each, one for each ping and one of the handshake; the sum is that of the wire."""
    with agent(delayline) as serving, contextlib.ExitStack() as stack:
        with rtts.Wire(delayline.client, delayline.client_dev) as wire:
            one = stack.enter_context(talk.talk(delayline))
            one.ping(20, gap_ms=3)
            one.drain()
        samples = rtts.Sender(wire.packets, one.flow).samples
        said = serving.scrape().histogram(RTT)
    assert said.count == len(samples) == 21
    assert said.up_to(0.016384) == 0 and said.up_to(0.032768) == 21
    assert said.sum == pytest.approx(sum(s.rtt for s in samples) / 1e6, abs=21 * 0.001)


def test_pickups(veth):
    """Each waits 50 ms, and what is read is counted to the byte."""
    sizes = [100, 1, 333, 1000]
    with agent(veth) as serving, reader.pair(veth, reader_connects=True) as (_, rcv):
        done = rcv.schedule([(100 * i, size) for i, size in enumerate(sizes)],
                            [(100 * i + 50, "recv", 2000) for i in range(len(sizes))])
        page = serving.scrape()
    assert [read.nbytes for read in done.reads] == sizes
    assert page.value("tcplat_pickup_bytes_total") == sum(sizes)
    said = page.histogram(PICKUP)
    assert (said.count, said.up_to(0.032768), said.up_to(0.065536)) == (4, 0, 4)
    bounds = [done.wait_ms(i, i) for i in range(len(sizes))]
    least, most = (sum(bound[i] for bound in bounds) / 1000 for i in (0, 1))
    assert least - 0.0005 <= said.sum <= most + 0.0005


def test_parts_of_pickups(veth):
    """The parts of all waits add up to them: here it is the program that lets them wait."""
    with agent(veth, "--split") as serving, \
            reader.pair(veth, reader_connects=True) as (_, rcv):
        rcv.schedule([(20 * i, 100) for i in range(5)],
                     [(20 * i + 10, "recv", 100) for i in range(5)])
        page = serving.scrape()
    whole, parts = page.histogram(PICKUP), page.histograms(PARTS)
    assert sorted(one.labels["part"] for one in parts) == ["app", "runq", "wake"]
    assert [one.count for one in parts] == [whole.count] * 3 == [5] * 3
    assert sum(one.sum for one in parts) == pytest.approx(whole.sum, abs=5e-9)
    assert page.histogram(PARTS, part="app").sum == pytest.approx(whole.sum, rel=0.01)
    assert page.value("tcplat_events_total", measurement="pickup") == 5


# --- edges ---------------------------------------------------------------------------------------


def storm(path, count, **options):
    with traffic.StormServer(path.server, path.server_v4) as server:
        account = traffic.storm(path.client, path.server_v4, server.port, count, **options)
    assert account["established"] == account["made"] == count
    return account


def check_buckets(histogram, least_us, most_us):
    """Up to an edge are those below it: a value on the edge itself is in the next bucket."""
    for edge, count in histogram.buckets:
        fewest, greatest = (sum(us < edge * 1e6 - 1e-9 for us in values)
                            for values in (most_us, least_us))
        assert fewest <= count <= greatest, edge
    assert histogram.count == len(least_us) == len(most_us)
    noise = 1e-9 * len(least_us)  # rows have a nanosecond as their least digit
    assert sum(least_us) / 1e6 - noise <= histogram.sum <= sum(most_us) / 1e6 + noise


def waits(path):
    """Many pickups, of many lengths."""
    with reader.pair(path, reader_connects=True) as (_, rcv):
        rcv.schedule([(30 * i, 100) for i in range(60)],
                     [(30 * i + 0.4 * i, "recv", 100) for i in range(60)])


def round_trips(path):
    """Whole microseconds: many are on an edge."""
    with talk.talk(path) as one:
        one.ping(400)
        one.drain()


ROWS = {
    # name of the histogram: (view, how to make values, about how many, what makes them differ)
    CONNECT: (["connect"], lambda path: storm(path, 200, parallel=10, reset_close=True), 200,
              {"delay": (5, 5), "jitter": (4, 4), "seed": 3}),
    RTT: (["rtt", "--rows"], round_trips, 400, None),
    PICKUP: (["pickup"], waits, 60, None),
}


@pytest.mark.parametrize("edges", ["octave", "fine"])
@pytest.mark.parametrize("name", ROWS)
def test_a_bucket_holds_what_is_below_its_edge(name, edges):
    """The same traffic as rows, of two tracers: the programs of one run before the agent's at
    each event, those of the other after it, and so the clock has gone on by as much."""
    view, make, count, line = ROWS[name]
    with paths.delayline(**line) if line else paths.loopback() as path, \
            contextlib.ExitStack() as stack:
        rows = [*view, "--json", "--netns", path.client.inode]
        before = stack.enter_context(Tracer(*rows))
        serving = stack.enter_context(agent(path, "--edges", edges))
        after = stack.enter_context(Tracer(*rows))
        make(path)
        (histogram,) = serving.scrape().histograms(name)
        least, most = (tracer.stop() for tracer in (before, after))
    for stopped in (least, most):
        assert not any(stopped.summary["lost"].values())
    check_buckets(histogram, *([row["latency_us"] for row in one.rows] for one in (least, most)))
    assert histogram.count >= count


# --- while it happens ----------------------------------------------------------------------------


def counters(page):
    """{series: value} of all that may only grow."""
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in page.families.values() if family.type in ("counter", "histogram")
            for sample in family.samples}


def check_growth(pages):
    for page, later in itertools.pairwise(map(counters, pages)):
        assert set(page) <= set(later)
        shrunk = {series: (value, later[series])
                  for series, value in page.items() if later[series] < value}
        assert not shrunk


@pytest.mark.parametrize("options", [[], ["--by", "raddr,comm", "--edges", "fine"]],
                         ids=["all", "keys"])
def test_scrapes_during_a_storm(loopback, options):
    """No counter goes down, every page is whole, and in the end nothing is missing."""
    count = 20_000
    with agent(loopback, *options) as serving, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        made = pool.submit(storm, loopback, count, parallel=20, reset_close=True)
        pages = []
        while not made.done() or len(pages) < 30:
            pages.append(serving.scrape(openmetrics=len(pages) % 2 == 1))
        made.result()
        pages.append(serving.scrape_when(lambda page: all_of(page) >= count))
    check_growth(pages)
    assert all_of(pages[-1]) == count
    assert 2 < len({all_of(page) for page in pages})  # it was looked at in the midst of it
    delivered = pages[-1].total("tcplat_connects_total", outcome="established")
    assert sum(one.count for one in pages[-1].histograms(CONNECT)) == delivered
    assert pages[-1].value("tcplat_events_total", measurement="connect") == delivered


def all_of(page):
    """Connects that are counted, be it as lost."""
    return page.total("tcplat_connects_total") + page.total("tcplat_lost_events_total")


def runs(page):
    return {dict(labels)["program"]: value
            for labels, value in page.values("tcplat_bpf_runs_total").items()}


def test_run_times(loopback):
    """Of each program, how often and how long; they grow with the traffic."""
    with agent(loopback, "--bpf-stats") as serving:
        before = serving.scrape()
        storm(loopback, 500, reset_close=True)
        page = serving.scrape_when(lambda page: all_of(page) >= 500)
    check_growth([before, page])
    grown = {name: value - runs(before)[name] for name, value in runs(page).items()}
    times = page.values("tcplat_bpf_run_seconds_total")
    assert {dict(labels)["program"] for labels in times} == set(grown)
    # SYN_SENT, ESTABLISHED, SYN_RECV and CLOSE at least, of both ends
    assert grown["state_change_1"] >= 4 * 500
    took = times[("program", "state_change_1"),] - before.values(
        "tcplat_bpf_run_seconds_total")[("program", "state_change_1"),]
    assert 20e-9 < took / grown["state_change_1"] < 100e-6
