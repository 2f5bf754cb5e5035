# SPDX-License-Identifier: GPL-2.0-or-later
"""All three measurements of mixed real traffic, joined with what captures at both ends saw."""

import collections
import contextlib

import pytest

from lib import joined, mixed, paths, rtts
from lib.tool import Tracer

PATHS = {
    "loopback": paths.loopback,
    "veth": paths.veth,
    "delay line": lambda: paths.delayline(delay=(3, 3), loss=(1, 1), reorder=(5, 5), reorder_by=1,
                                          seed=3),
}
# Of connects, over all of them. Between the hooks and the taps lies the way through the stack both
# ways, and a process that waits for its turn.
MEDIAN_US = 30
P99_US = 300

# Of percentiles 50, 90 and 99 of the round trips.
RTT_US = (60, 300, 1000)

ROUNDED_US = 2  # both ends of a time in us may be cut off

VIEWS = {"connect": [], "rtt": ["--rows"], "pickup": []}


def addresses(path, which):
    return [getattr(path, f"{which}_{family}") for family in ("v4", "v6")]


def ends_of(path):
    """{inode: (namespace, device, addresses)}"""
    found = {}
    for ns, dev, which in ((path.client, path.client_dev, "client"),
                           (path.server, path.server_dev, "server")):
        found[ns.inode] = ns, dev, frozenset(addresses(path, which))
    return found


@contextlib.contextmanager
def watched(ends, seen):
    """Fills a Seen when the block is left."""
    spaces = [arg for inode in ends for arg in ("--netns", inode)]
    before = {inode: rtts.coalesced(ns) for inode, (ns, _, _) in ends.items()}
    with contextlib.ExitStack() as stack:
        tracers = {view: stack.enter_context(Tracer(view, "--json", *options, *spaces))
                   for view, options in VIEWS.items()}
        wires = {inode: stack.enter_context(rtts.Wire(ns, dev))
                 for inode, (ns, dev, _) in ends.items()}
        yield
        for inode, wire in wires.items():
            seen.ends[inode].frames = wire.stop()
        for view, tracer in tracers.items():
            stopped = tracer.stop()
            assert stopped.status == 0, stopped
            seen.rows[view], seen.summaries[view] = stopped.rows, stopped.summary
    for inode, (ns, _, _) in ends.items():
        seen.ends[inode].coalesced = rtts.coalesced(ns) - before[inode]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("mixed")
    mixed.prepare(scratch)
    with contextlib.ExitStack() as stack:
        sites = []
        for i, (name, make) in enumerate(PATHS.items()):
            sites.append(mixed.Site(name, stack.enter_context(make()), 8000 + 100 * i, scratch))
            stack.enter_context(mixed.served(sites[-1]))
        ends = {inode: end for site in sites for inode, end in ends_of(site.path).items()}
        kinds = {port: (site.name, kind) for site in sites for port, kind in site.ports().items()}
        found = joined.Seen({inode: joined.End(own) for inode, (_, _, own) in ends.items()}, kinds)
        with watched(ends, found):
            mixed.run(sites)
    return found


@pytest.fixture(scope="module")
def found(seen):
    """(lines, problems of each measurement)"""
    return joined.join(seen)


# --- the comparison ------------------------------------------------------------------------------


def test_the_table(seen, found, capsys):
    """Each kind of traffic has been there, and had what it is there for."""
    lines, _ = found
    with capsys.disabled():
        print("\n" + joined.text(lines))
    for path_and_kind in seen.kinds.values():
        up, down = lines[path_and_kind, "up"], lines[path_and_kind, "down"]
        assert up.handshakes
        if path_and_kind[1].answer == "SYN-ACK":
            assert min(len(up.rtts), len(down.rtts), up.delivered, down.delivered) > 0


def test_each_handshake_has_its_record(seen, found):
    assert not found[1]["connect"]
    outcomes = collections.Counter(row["outcome"] for row in seen.rows["connect"])
    expected = collections.Counter(joined.OUTCOMES[shake.answer]
                                   for shake in joined.shakes(seen).values())
    # who gives up gets no answer, or one that comes too late
    gave_up = outcomes.pop("aborted", 0)
    assert sum((expected - outcomes).values()) == gave_up and not outcomes - expected
    assert outcomes["refused"] == 60 and outcomes["timed_out"] == 9
    assert gave_up <= sum(kind.leaves for _, kind in seen.kinds.values() if "wrk" in kind.name)
    assert sum(row["syn_retransmits"] for row in seen.rows["connect"]) >= 9


def test_latencies(found, capsys):
    lines, _ = found
    differences = [one for line in lines.values() for one in line.latencies]
    median, p99 = joined.spread(differences)
    with capsys.disabled():
        print(f"\n  all connects: n {len(differences)}, median {median:.1f} us, p99 {p99:.1f} us",
              end="")
    assert len(differences) > 500
    assert median <= MEDIAN_US
    assert p99 <= P99_US


def test_round_trips(found):
    lines, problems = found
    assert not problems["rtt"]
    for where, line in lines.items():
        assert len(line.rtts) <= len(line.samples)
        # TCP stamps what it sends before the tap does, and what comes after it. Of samples that
        # came at once, one that is hidden may have been taken for another.
        assert rtts.quantile(line.longer or [0], 0.05) >= -ROUNDED_US, where
    for where, line in joined.judged(lines):
        for (share, wire, ours), bound in zip(line.percentiles(), RTT_US):
            assert abs(ours - wire) <= bound, (where, share)
    hidden = sum(sum(line.hidden.values()) for line in lines.values())
    assert hidden <= sum(len(line.samples) for line in lines.values()) / 20


def test_bytes(found):
    lines, problems = found
    assert not problems["pickup"]
    for line in lines.values():
        assert line.delivered == line.picked + line.unread


def test_nothing_was_lost(seen):
    for view, summary in seen.summaries.items():
        assert summary["events"] == len(seen.rows[view])
        counted = {**summary["lost"], **{name: summary[name]
                                         for name in ("unseen_start", "still_open")}}
        # of the whole machine; that none of it was ours is what the other tests say
        counted.pop("reentered")
        merged = sum(row["segments"] - 1 for row in seen.rows[view]) if view == "pickup" else 0
        assert counted == {**dict.fromkeys(counted, 0), "fifo_merged": merged}, view


# --- the comparison's own test: what is wrong does not pass --------------------------------------


def first(rows):
    """Of an accepted connection: its handshake."""
    return min((row for row in rows if row["lport"] < 32768), key=lambda row: row["time"])


def other(rows, change):
    rows[0] = {**rows[0], **{name: new(rows[0][name]) for name, new in change.items()}}


WRONG = {
    "no record": ("connect", lambda rows: rows.pop(), "no record"),
    "a record twice": ("connect", lambda rows: rows.append(rows[0]), "a second record"),
    "a record of nothing": (
        "connect", lambda rows: rows.append({**rows[0], "lport": 1}), "no handshake"),
    "another outcome": (
        "connect", lambda rows: other(rows, {"outcome": lambda _: "refused"}), "the answer was"),
    "aborted": (
        "connect", lambda rows: other(rows, {"outcome": lambda _: "aborted"}), "the answer was"),
    "one SYN more": (
        "connect", lambda rows: other(rows, {"syn_retransmits": lambda n: n + 1}), "SYNs"),
    "another time": (
        "connect", lambda rows: other(rows, {"time": lambda _: "2001-01-01T00:00:00.000000Z"}),
        "on the wire"),
    "another namespace": (
        "connect", lambda rows: other(rows, {"netns": lambda n: n + 1}), "no handshake"),
    "no sample": ("rtt", lambda rows: rows.remove(first(rows)), "have no row"),
    "a sample twice": ("rtt", lambda rows: rows.append(first(rows)), "no acknowledgement"),
    "another sample": (
        "rtt", lambda rows: other(rows, {"latency_us": lambda us: us + 10_000}),
        "no acknowledgement"),
    "a byte more": ("pickup", lambda rows: other(rows, {"bytes": lambda n: n + 1}), "picked up"),
    "a byte less": ("pickup", lambda rows: other(rows, {"bytes": lambda n: n - 1}), "picked up"),
    "an arrival twice": ("pickup", lambda rows: rows.append(rows[0]), "picked up"),
    "no arrival": ("pickup", lambda rows: rows.pop(), "picked up"),
    "an arrival at nobody's": (
        "pickup", lambda rows: other(rows, {"laddr": lambda _: "10.9.9.9"}), "picked up"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_join_finds(seen, name):
    event, change, said = WRONG[name]
    part = joined.only(seen, "python requests", "veth")
    before = set(joined.join(part)[1][event])
    change(part.rows[event])
    after = [text for text in joined.join(part)[1][event] if text not in before]
    assert after and said in after[0], after
