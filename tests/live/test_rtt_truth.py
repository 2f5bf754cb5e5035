# SPDX-License-Identifier: GPL-2.0-or-later
"""Round-trip times against an independent witness: what captures at both ends saw."""

import collections
import concurrent.futures
import contextlib
import itertools
import math

import pytest

from lib import paths, rtts, talk

# What lies between the stamps of TCP and those of the taps: the way through the stack both ways,
# and noise.
MEDIAN_US = 60
P99_US = 1000

KINDS = list(itertools.product((4, 6), (1, 0), (1, 0)))  # family, SACK, time stamps

Seen = collections.namedtuple("Seen", "rows hists frames coalesced skipped")


def settings(path, sack, timestamps):
    for ns in (path.client, path.server):
        ns.sysctl("net.ipv4.tcp_sack", sack)
        ns.sysctl("net.ipv4.tcp_timestamps", timestamps)


@contextlib.contextmanager
def watched(path):
    """A Seen that is filled when the block is left: rows, histograms and frames at both ends."""
    same = path.client is path.server
    seen = Seen([], {}, {}, {}, {})
    ends = {"client": (path.client, path.client_dev), "server": (path.server, path.server_dev)}
    before = {end: rtts.coalesced(ns) for end, (ns, _) in ends.items()}
    with rtts.rows(path) as rows, rtts.hist(path, "--by", "laddr,lport,raddr,rport") as hist:
        with rtts.Wire(*ends["client"]) as one, \
                contextlib.nullcontext() if same else rtts.Wire(*ends["server"]) as other:
            yield seen
        stopped = {"rows": rtts.settled(rows), "hist": rtts.settled(hist)}
        seen.rows.extend(stopped["rows"].rows)
        # The kernel runs no hook inside itself; what that may have cost is in the books.
        seen.skipped.update({name: done.summary["lost"]["reentered"]
                             for name, done in stopped.items()})
        for row in stopped["hist"].rows:
            flow = tuple(row["key"][name] for name in ("laddr", "lport", "raddr", "rport"))
            seen.hists[flow] = row
    seen.frames.update(client=one.packets, server=(one if same else other).packets)
    seen.coalesced.update({end: rtts.coalesced(ns) - before[end] + seen.skipped["rows"]
                           for end, (ns, _) in ends.items()})


def same_count(seen, hist, rows):
    """Two tracers have the same samples, but for hooks that the kernel skipped for one of them."""
    return abs(hist["count"] - len(rows)) <= sum(seen.skipped.values())


def check_histogram(seen, hist, rows, compared):
    """The same values as the rows; its quantiles are those of the wire, but for its buckets."""
    assert same_count(seen, hist, rows)
    truth = sorted(sample.rtt for _, sample in compared.pairs)
    for member, share, noise in (("p50_us", 0.5, MEDIAN_US), ("p99_us", 0.99, P99_US)):
        exact = truth[math.ceil(share * len(truth)) - 1]
        assert abs(hist[member] - exact) <= exact / 8 + noise, member


def check_tshark(frames, sender):
    """Our own truth agrees with what tshark makes of the same packets."""
    theirs = rtts.of_tshark(frames, sender.flow)
    assert [at for at, _ in theirs] == [sample.at for sample in sender.samples]
    if sender.sack:
        assert all(abs(rtt - sample.rtt) < 2
                   for (_, rtt), sample in zip(theirs, sender.samples))


def check_end(seen, end, flow, whole_segments=True):
    """One end of a connection: (Sender, Comparison). whole_segments: each packet is one."""
    frames = seen.frames[end]
    sender = rtts.Sender(frames, flow)
    rows = rtts.rows_of(seen.rows, flow)
    # when each was is for another test
    compared = rtts.compare(rows, sender.samples, timed=False)
    hist = seen.hists[flow]
    assert not compared.extra, (flow, compared.extra[:3], sender.refused[:5])
    if whole_segments:
        assert hist["retransmits"] == sender.retransmitted
    else:
        assert bool(hist["retransmits"]) == bool(sender.retransmitted)
    if not sender.retransmitted:
        assert not sender.refused
        check_tshark(frames, sender)
    if len(rows) > 20:
        check_histogram(seen, hist, rows, compared)
    return sender, compared


def agree(differences, what, capsys):
    with capsys.disabled():
        print(f"\n  {what}: {rtts.summary(differences)}", end="")
    size = sorted(map(abs, differences))
    assert rtts.quantile(size, 0.5) <= MEDIAN_US
    assert rtts.quantile(size, 0.99) <= P99_US


def converse(connection, pings, nbytes):
    connection.ping(pings)
    connection.bulk(nbytes)
    connection.bulk(nbytes, up=False)
    connection.close()


PATHS = {
    # name: (path, pings, bytes each way)
    "1 ms": (lambda: paths.delayline(delay=(0.5, 0.5)), 30, 60_000),
    "20 ms": (lambda: paths.delayline(delay=(10, 10)), 20, 100_000),
    "200 ms": (lambda: paths.delayline(delay=(100, 100)), 5, 60_000),
    "20 ms with jitter": (lambda: paths.delayline(delay=(10, 10), jitter=(5, 5), seed=3), 20, 0),
    "20 ms on netem": (lambda: paths.netem(delay=(10, 10)), 20, 100_000),
    "20 ms with jitter on netem": (lambda: paths.netem(delay=(10, 10), jitter=(5, 5)), 20, 0),
    # where a packet is many segments, and the kernel acknowledges in one go what it can
    "veth": (paths.veth, 50, 300_000),
    "loopback": (paths.loopback, 50, 300_000),
}


@pytest.mark.parametrize("name", PATHS)
def test_each_sample_is_one_of_the_wire(name, capsys):
    """Requests and responses, then bulk each way, with and without SACK and time stamps."""
    make, pings, nbytes = PATHS[name]
    differences = []
    with make() as path, contextlib.ExitStack() as stack:
        with watched(path) as seen:
            made = {}
            for kind in KINDS:
                settings(path, *kind[1:])
                made[kind] = stack.enter_context(talk.talk(path, kind[0]))
            with concurrent.futures.ThreadPoolExecutor(len(KINDS) if path.emulator else 1) as pool:
                for done in [pool.submit(converse, one, pings, nbytes) for one in made.values()]:
                    done.result()
    fewer = {"client": 0, "server": 0}
    for (_, sack, _), one in made.items():
        for end, flow in (("client", one.flow), ("server", one.back)):
            sender, compared = check_end(seen, end, flow, path.emulator)
            assert sender.sack == bool(sack)
            differences += compared.differences
            assert len(compared.pairs) >= pings
            # with SACK the FIN's own too; without, one is not to be told from several. Of a large
            # packet that is acknowledged in pieces, two may be alike.
            may = 0 if sack else sum(sample.closing for sample in sender.samples)
            may += sum(sample.alike for sample in compared.missing)
            fewer[end] += max(0, len(compared.missing) - may)
    if path.client is path.server:
        assert sum(fewer.values()) <= seen.coalesced["client"]
    else:
        assert all(fewer[end] <= seen.coalesced[end] for end in fewer), (fewer, seen.coalesced)
    agree(differences, name, capsys)


@pytest.mark.parametrize("sack", [1, 0])
def test_a_row_has_the_time_of_its_acknowledgement(twenty_ms, sack, capsys):
    """20 ms before the packet that makes it known; an idle socket's is known at the end only."""
    settings(twenty_ms, sack, 1)
    try:
        # both ends stay open until all is over
        with contextlib.ExitStack() as stack, watched(twenty_ms) as seen:
            one = stack.enter_context(talk.talk(twenty_ms))
            one.ping(20, gap_ms=3)
            one.drain()
    finally:
        settings(twenty_ms, 1, 1)
    for end, flow in (("client", one.flow), ("server", one.back)):
        sender = rtts.Sender(seen.frames[end], flow)
        rows = rtts.rows_of(seen.rows, flow)
        assert len(rows) == len(sender.samples) == 21
        late = [(rtts.row_time(row) - sample.at) * 1e6
                for row, sample in zip(rows, sender.samples)]
        agree(late, f"{end}, {'with' if sack else 'without'} SACK, lateness", capsys)
        assert max(map(abs, late)) <= rtts.APART_US
