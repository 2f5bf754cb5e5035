# SPDX-License-Identifier: GPL-2.0-or-later
"""tcplat rtt --by: each key, subnets, more keys than fit, order, and what was sent again."""

import collections
import contextlib
import ipaddress
import itertools

import pytest

from lib import paths, rtts, talk
from lib.commands import script
from lib.tool import run_tool
from test_rtt_filters import stop, tracers

KEYS = ["laddr", "raddr", "lport", "rport", "pid", "comm", "cgroup", "netns"]
CHOICES = [["none"], *([key] for key in KEYS), ["pid", "comm"], ["lport", "rport"],
           ["raddr", "lport", "comm"], KEYS]
SUBNETS = ["raddr/24", "raddr/48", "raddr/24/48", "raddr/24,lport", "laddr/24/48,raddr/24/48",
           "raddr/0/0", "raddr/32/128"]

# (address of the client, the server's, pings): several of a subnet, and several subnets
CLIENTS = [
    ("10.77.1.1", "10.77.1.2", 2), ("10.77.1.11", "10.77.1.2", 3), ("10.77.1.200", "10.77.1.2", 4),
    ("10.78.5.1", "10.77.1.2", 5), ("10.78.6.1", "10.77.1.2", 6),
    ("fd77:1::1", "fd77:1::2", 2), ("fd77:1::11", "fd77:1::2", 3),
    ("fd77:1:0:7::1", "fd77:1::2", 4), ("fd77:1:1::1", "fd77:1::2", 5),
]


def several_addresses(path):
    for addr in sorted({client for client, _, _ in CLIENTS} - {path.client_v4, path.client_v6}):
        if ":" in addr:
            path.client.ip("addr", "add", f"{addr}/128", "dev", path.client_dev, "nodad")
            path.server.ip("-6", "route", "add", f"{addr}/128", "dev", path.server_dev)
        else:
            path.client.ip("addr", "add", f"{addr}/32", "dev", path.client_dev)
            path.server.ip("route", "add", f"{addr}/32", "dev", path.server_dev)


@pytest.fixture(scope="module")
def seen():
    """(rows, {--by: Stopped}) of the same connections; the rows are those of the wire."""
    with paths.veth() as path, contextlib.ExitStack() as stack:
        several_addresses(path)
        base = tuple(rtts.spaces(path))
        options = {by: (*base, "--hist", "--by", by) for by in
                   [",".join(keys) for keys in CHOICES] + SUBNETS}
        options["default"] = base
        options["top"] = (*base, "--by", "raddr", "--top", "3")
        options["sorted"] = (*base, "--by", "raddr", "--sort", "max")
        options["full"] = (*base, "--by", "lport,rport", "--max-keys", "4")
        ends = {4: stack.enter_context(talk.ends(path, 4, comm="four")),
                6: stack.enter_context(talk.ends(path, 6, comm="six"))}
        talks = []
        with tracers([base + ("--rows",), *options.values()]) as made, \
                rtts.Wire(path.client, path.client_dev) as near, \
                rtts.Wire(path.server, path.server_dev) as far:
            for n, (source, addr, pings) in enumerate(CLIENTS):
                client, server, port = ends[6 if ":" in addr else 4]
                one = talk.Talk(client, server, f"talk {n}").connect(addr, port, source)
                one.ping(pings)
                one.drain()
                talks.append((one, pings))
            stopped = stop(made)
    rows = stopped[base + ("--rows",)].rows
    for one, pings in talks:
        for wire, flow in ((near, one.flow), (far, one.back)):
            sender = rtts.Sender(wire.packets, flow)
            compared = rtts.compare(rtts.rows_of(rows, flow), sender.samples, timed=False)
            assert not compared.extra and not compared.missing, (flow, compared, sender.refused)
            assert len(compared.pairs) + len(sender.refused) == 1 + pings
    assert all(done.status == 0 for done in stopped.values())
    yield rows, {by: stopped[option] for by, option in options.items()}


def counts_of(done, names):
    return {tuple(row["key"][name] for name in names): row["count"] for row in done.rows}


@pytest.mark.parametrize("keys", CHOICES, ids=",".join)
def test_same_counts_as_rows(seen, keys):
    rows, found = seen
    done = found[",".join(keys)]
    names = [] if keys == ["none"] else keys
    expected = collections.Counter(tuple(row[key] for key in names) for row in rows)
    assert counts_of(done, names) == expected
    assert len(done.rows) == len(expected)
    for row in done.rows:
        assert list(row["key"]) == sorted(names, key=KEYS.index)
        assert (row["event"], row["metric"], row["value"]) == ("histogram", "rtt", "sample")
        assert row["retransmits"] == 0
        of_key = [r["latency_us"] for r in rows
                  if all(r[name] == row["key"][name] for name in names)]
        assert (row["min_us"], row["max_us"]) == (min(of_key), max(of_key))
        assert abs(row["sum_us"] - sum(of_key)) < 1
    assert done.summary["events"] == len(rows)
    assert done.summary["lost"]["keys_full"] == 0


def network(addr, v4, v6):
    bits = v6 if ":" in addr else v4
    return ipaddress.ip_network(f"{addr}/{bits}", strict=False)


@pytest.mark.parametrize("by", SUBNETS)
def test_subnets(seen, by):
    """One number is of the family that it can be of; the other one's addresses stay whole."""
    rows, found = seen
    names, cuts = [], []
    for word in by.split(","):
        name, *bits = word.split("/")
        names.append(name)
        v4, v6 = {(): (None, None), ("24",): (24, 128), ("48",): (32, 48)}.get(
            tuple(bits), tuple(map(int, bits)) if len(bits) == 2 else (None, None))
        cuts.append((v4, v6))

    def key_of(row):
        return tuple(str(row[name]) if v4 is None else network(row[name], v4, v6)
                     for name, (v4, v6) in zip(names, cuts))

    def key_in(row):
        return tuple(str(row["key"][name]) if v4 is None else ipaddress.ip_network(
            row["key"][name]) for name, (v4, v6) in zip(names, cuts))

    expected = collections.Counter(map(key_of, rows))
    assert {key_in(row): row["count"] for row in found[by].rows} == expected
    assert len(found[by].rows) == len(expected)


def test_by_remote_address_unless_told(seen):
    _, found = seen
    assert counts_of(found["default"], ["raddr"]) == counts_of(found["raddr"], ["raddr"])


def test_order(seen):
    """The fullest first, or what --sort says; --top leaves out the rest."""
    _, found = seen
    counts = [row["count"] for row in found["raddr"].rows]
    assert counts == sorted(counts, reverse=True) and len(counts) == 11
    assert [row["count"] for row in found["top"].rows] == counts[:3]
    longest = [row["max_us"] for row in found["sorted"].rows]
    assert longest == sorted(longest, reverse=True) and len(longest) == 11


def test_more_keys_than_fit(seen):
    """The first ones go on; the rest is counted, and nothing else is lost."""
    rows, found = seen
    done = found["full"]
    lost = done.summary["lost"]
    named = [row for row in done.rows if row["key"]]
    expected = collections.Counter((row["lport"], row["rport"]) for row in rows)
    kept = counts_of(done, ["lport", "rport"]) if len(named) == len(done.rows) else None
    assert len(named) == 4 and kept is not None
    assert all(expected[key] == count for key, count in kept.items())
    assert lost["keys_full"] == len(rows) - sum(kept.values()) > 0
    assert sum(lost.values()) - lost["reentered"] == lost["keys_full"]


def test_quantiles_of_two_kinds(delayline):
    """A slow and a fast peer: each has its own, and together they are in between."""
    with paths.veth() as fast, contextlib.ExitStack() as stack:
        base = tuple(itertools.chain(rtts.spaces(fast), rtts.spaces(delayline),
                                     ["-R", "10.77.1.2", "-R", "10.77.2.2"]))
        with tracers([(*base, "--by", "raddr"), (*base, "--by", "none"),
                      (*base, "--by", "raddr", "--sort", "p99")]) as made:
            near, far = (stack.enter_context(talk.talk(path)) for path in (fast, delayline))
            near.ping(29)
            far.ping(9)
            near.drain(), far.drain()
            each, both, slowest = stop(made).values()
    rows = {row["key"]["raddr"]: row for row in each.rows}
    assert {addr: row["count"] for addr, row in rows.items()} == {"10.77.1.2": 30, "10.77.2.2": 10}
    assert rows["10.77.2.2"]["min_us"] >= 20_000 and rows["10.77.1.2"]["p50_us"] < 10_000
    (row,) = both.rows
    assert row["count"] == 40 and row["p50_us"] < 10_000 and row["p90_us"] >= 20_000 * 7 / 8
    assert [row["key"]["raddr"] for row in slowest.rows] == ["10.77.2.2", "10.77.1.2"]


def test_retransmitted_segments(family):
    """As many as on the wire, for the peer they were sent to again, with samples or without."""
    with paths.delayline(delay=(10, 10), loss=(20, 0), seed=21) as path, \
            contextlib.ExitStack() as stack:
        with rtts.hist(path, "--by", "raddr", "-R", path.server_addr(family)) as hist:
            with rtts.Wire(path.client, path.client_dev) as wire:
                one = stack.enter_context(talk.talk(path, family))
                one.bulk(60_000)
                path.control("loss 0")
                one.drain()
            (row,) = rtts.settled(hist).rows
    sender = rtts.Sender(wire.packets, one.flow)
    assert sender.retransmitted > 3
    assert (row["retransmits"], row["count"]) == (sender.retransmitted, len(sender.samples))


def test_nothing_but_retransmits(delayline):
    """A SYN that nobody answers, sent again: no sample, and still a line that says so."""
    delayline.control("loss 100,100")
    try:
        done = run_tool(["rtt", "--json", "--by", "rport", *rtts.spaces(delayline), "--", *script(
            """
            sock = socket.socket()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1500)
            sock.connect_ex(("10.77.2.2", 8399))
            """)], ns=delayline.client)
    finally:
        delayline.control("loss 0,0")
    assert done.status == 0
    rows = [line for line in done.stdout.splitlines() if '"histogram"' in line]
    assert len(rows) == 1 and '"rport":8399' in rows[0] and '"count":0' in rows[0]
    assert '"retransmits":1' in rows[0]


def test_intervals(delayline):
    """Each sample is in one interval, and that in which it was found."""
    with rtts.hist(delayline, "--by", "none", "-i", "100ms") as hist, \
            talk.talk(delayline) as one:
        one.ping(20)
        one.drain()
        hist.wait_for(lambda _: sum(row["count"] for row in hist.rows) == 42)
        done = rtts.settled(hist)
    assert done.summary["events"] == 42 == sum(row["count"] for row in done.rows)
    assert len(done.rows) >= 4
    for row in done.rows:
        assert sum(bucket["count"] for bucket in row["buckets"]) == row["count"]
