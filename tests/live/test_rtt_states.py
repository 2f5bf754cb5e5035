# SPDX-License-Identifier: GPL-2.0-or-later
"""Round-trip times at the edges of a connection: its handshake, its halves, its end, its rest; and
the other values that are shown instead of the sample."""

import contextlib

import pytest

from lib import paths, rtts, talk
from test_rtt_truth import settings, watched

def compare_end(seen, end, flow):
    sender = rtts.Sender(seen.frames[end], flow)
    return sender, rtts.compare(rtts.rows_of(seen.rows, flow), sender.samples, timed=False)


def is_of(row, sample):
    """A row, and what the wire says of the same acknowledgement."""
    apart = rtts.row_time(row) - sample.at, (row["latency_us"] - sample.rtt) / 1e6
    return max(map(abs, apart)) * 1e6 <= rtts.APART_US


# --- the handshake -------------------------------------------------------------------------------


@pytest.mark.parametrize("sack", [1, 0])
def test_handshake_alone(delayline, family, sack):
    """One sample at each end: SYN to SYN-ACK, and SYN-ACK to the third segment."""
    settings(delayline, sack, 1)
    try:
        with watched(delayline) as seen, talk.talk(delayline, family) as one:
            one.close_by_reset()
    finally:
        settings(delayline, 1, 1)
    assert len(seen.rows) == 2
    for end, flow in (("client", one.flow), ("server", one.back)):
        sender, compared = compare_end(seen, end, flow)
        ((row, sample),) = compared.pairs
        assert sample.handshake and len(sender.samples) == 1
        assert abs(row["latency_us"] - sample.rtt) <= 1000
        assert row["srtt_us"] == row["latency_us"]
        process = one.client if end == "client" else one.server
        assert (row["pid"], row["ip"], row["netns"]) == (process.pid, family, process.ns.inode)


@pytest.mark.parametrize("fault, sure", [({"drop_syn": 1}, 1), ({"drop_synack": 1}, 0)],
                         ids=["SYN", "SYN-ACK"])
def test_handshake_sent_again(fault, sure):
    """It is not known which one was answered: no sample. Only who sent once has one."""
    with paths.delayline(delay=(10, 10), **fault) as path:
        with watched(path) as seen, talk.talk(path) as one:
            one.close_by_reset()
    counts = {}
    for end, flow in (("client", one.flow), ("server", one.back)):
        sender, compared = compare_end(seen, end, flow)
        assert not compared.extra and not compared.missing
        counts[end] = len(sender.samples)
    assert counts == {"client": 0, "server": sure} and len(seen.rows) == sure


# --- who only receives, and what is half closed --------------------------------------------------


def test_a_download_is_one_sample_for_its_receiver(delayline, capsys):
    """A thousand packets come, and none of them is an answer to anything of ours."""
    with contextlib.ExitStack() as stack, watched(delayline) as seen:
        one = stack.enter_context(talk.talk(delayline))
        one.client.do("send", nbytes=100)
        one.bulk(1_000_000, up=False)
    sender, compared = compare_end(seen, "client", one.flow)
    assert len(sender.samples) == 2 and not compared.extra and not compared.missing
    assert seen.hists[one.flow]["count"] == 2
    came = sum(1 for frame in seen.frames["client"] if frame.flow == one.back and frame.len)
    assert came > 600
    sender, compared = compare_end(seen, "server", one.back)
    assert len(compared.pairs) > 100 and not compared.extra
    assert len(compared.missing) <= seen.coalesced["server"]


def test_half_closed_by_the_other_end(delayline, capsys):
    """In CLOSE_WAIT packets are not told of: what is shown is true, and it is not everything."""
    with contextlib.ExitStack() as stack, watched(delayline) as seen:
        one = stack.enter_context(talk.talk(delayline))
        one.ping(3)
        one.server.shutdown()
        one.client.wait_state(talk.CLOSE_WAIT)
        one.bulk(1_000_000)
    sender, compared = compare_end(seen, "client", one.flow)
    with capsys.disabled():
        print(f"\n  CLOSE_WAIT, 1 MB: {len(compared.pairs)} of {len(sender.samples)} samples",
              end="")
    assert not compared.extra and len(sender.samples) > 100
    # the handshake, the three answers, and the last one of all
    assert len(compared.pairs) >= 5
    assert is_of(rtts.rows_of(seen.rows, one.flow)[-1], sender.samples[-1])


@pytest.mark.parametrize("sack", [1, 0])
def test_last_samples_at_the_close(delayline, sack):
    """After its own FIN a connection tells of no packet; the last sample is there all the same."""
    settings(delayline, sack, 1)
    try:
        with watched(delayline) as seen, talk.talk(delayline) as one:
            one.ping(3)
            one.close()
    finally:
        settings(delayline, 1, 1)
    for end, flow in (("client", one.flow), ("server", one.back)):
        sender, compared = compare_end(seen, end, flow)
        assert not compared.extra and [s.closing for s in sender.samples] == [False] * 4 + [True]
        assert not compared.missing


def test_what_is_on_its_way_when_it_closes(delayline):
    """Of 50 kB with the FIN behind it, the acknowledgements are one sample, that of the last."""
    with watched(delayline) as seen, talk.talk(delayline) as one:
        one.server.tell("recv", name="it", nbytes=50_001)
        one.client.do("send", nbytes=50_000)
        one.client.shutdown()
        assert one.server.answer().got == 50_000
        one.close()
    sender, compared = compare_end(seen, "client", one.flow)
    assert not compared.extra and len(sender.samples) > 10
    handshake, *_, last = rtts.rows_of(seen.rows, one.flow)
    assert is_of(handshake, sender.samples[0]) and is_of(last, sender.samples[-1])


# --- when the tracer begins and ends -------------------------------------------------------------


@pytest.mark.parametrize("sack", [1, 0])
def test_connections_that_were_there_before(delayline, sack):
    """What they hold is old; what comes is counted."""
    settings(delayline, sack, 1)
    try:
        with talk.talk(delayline) as one, rtts.Wire(delayline.client, delayline.client_dev) as wire:
            one.ping(3)
            one.drain()
            with rtts.rows(delayline) as idle:
                assert rtts.settled(idle).rows == []
            with rtts.rows(delayline) as busy:
                one.ping(5)
                one.drain()
                rows = rtts.settled(busy).rows
    finally:
        settings(delayline, 1, 1)
    by_pid = {one.client.pid: one.flow, one.server.pid: one.back}
    found = rtts.by_flow(rows)
    assert set(found) == set(by_pid.values())
    assert all(by_pid[row["pid"]] == flow for flow, those in found.items() for row in those)
    assert len(found[one.flow]) == len(found[one.back]) == 5
    truth = rtts.Sender(wire.packets, one.flow, sack=sack).samples[-5:]
    for row, sample in zip(found[one.flow], truth):
        assert abs(row["latency_us"] - sample.rtt) <= 1000


def test_the_last_sample_of_an_idle_socket(delayline):
    """It is known to nobody until the next packet: looked for at the end of each interval, and of
    the run."""
    with talk.talk(delayline) as one, rtts.rows(delayline) as rows, \
            rtts.hist(delayline, "--by", "lport,rport", "-i", "100ms") as hist:
        one.ping(1)
        mine = hist.wait_for(lambda row: row["key"]["lport"] == one.lport)
        assert mine["count"] == 1 and mine["min_us"] >= 20_000
        one.ping(3)
        rtts.settled(hist)
        counts = [row["count"] for row in hist.rows if row["key"]["lport"] == one.lport]
        assert sum(counts) == 4
        assert len(rtts.rows_of(rtts.settled(rows).rows, one.flow)) == 4


# --- other values --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def values():
    """Requests and a download over a path that jitters: (Talk, its rows, histograms, TCP_INFO)."""
    options = {"sample": [], "srtt": ["--srtt"], "min_rtt": ["--min-rtt"], "jitter": ["--jitter"],
               "receiver": ["--receiver"]}
    with paths.delayline(delay=(10, 10), jitter=(4, 4), seed=9) as path, \
            contextlib.ExitStack() as stack:
        tracer = stack.enter_context(rtts.rows(path))
        hists = {name: stack.enter_context(rtts.hist(path, *option, "--by", "lport,rport"))
                 for name, option in options.items()}
        one = stack.enter_context(talk.talk(path))
        one.ping(10)
        path.control("jitter 0")
        one.bulk(300_000, up=False)
        path.control("jitter 4")
        one.ping(20)
        info = one.client.info()
        rows = rtts.rows_of(rtts.settled(tracer).rows, one.flow)
        found = {name: {row["key"]["lport"]: row for row in rtts.settled(hist).rows}
                 for name, hist in hists.items()}
    yield one, rows, {name: lines.get(one.lport) for name, lines in found.items()}, info


def check_values(hist, name, expected):
    """Just these, in any order."""
    assert (hist["value"], hist["count"]) == (name, len(expected))
    assert (hist["min_us"], hist["max_us"]) == (min(expected), max(expected))
    assert abs(hist["sum_us"] - sum(expected)) < 1


def test_samples(values):
    _, rows, hists, _ = values
    check_values(hists["sample"], "sample", [row["latency_us"] for row in rows])


def test_smoothed(values):
    _, rows, hists, info = values
    srtts = [row["srtt_us"] for row in rows]
    assert srtts[-1] == info.rtt and len(set(srtts)) > 15
    check_values(hists["srtt"], "srtt", srtts)


def test_minimum(values):
    """Of the last five minutes as a rule: it only falls here."""
    _, rows, hists, info = values
    minima = [row["min_rtt_us"] for row in rows]
    assert minima[-1] == info.min_rtt == min(minima)
    assert minima == sorted(minima, reverse=True)
    check_values(hists["min_rtt"], "min_rtt", minima)


def test_jitter(values):
    _, rows, hists, _ = values
    samples = [row["latency_us"] for row in rows]
    check_values(hists["jitter"], "jitter",
                 [abs(after - before) for before, after in zip(samples, samples[1:])])


def test_receiver(values):
    _, _, hists, info = values
    hist = hists["receiver"]
    assert hist["value"] == "receiver" and hist["count"] > 0
    assert hist["min_us"] <= info.rcv_rtt <= hist["max_us"]
    # two ways with jitter of up to 4 ms each, and what a busy machine adds
    assert 11_000 <= hist["p50_us"] <= 40_000


def test_who_receives_nothing_has_no_estimate(delayline):
    with rtts.hist(delayline, "--receiver", "--by", "lport") as tracer, \
            talk.talk(delayline) as one:
        one.client.do("send", nbytes=100)
        assert one.server.recv(nbytes=100).got == 100
        assert one.client.info().rcv_rtt == 0
        found = rtts.settled(tracer).rows
    assert one.lport not in [row["key"]["lport"] for row in found]
