# SPDX-License-Identifier: GPL-2.0-or-later
"""Round-trip times where segments are lost, reordered, doubled and held back: none is of a
segment that was sent twice, and all the others are there."""

import concurrent.futures
import contextlib
import itertools

import pytest

from lib import paths, rtts, talk
from lib.process import until
from test_rtt_truth import agree, same_count, settings, watched

KINDS = list(itertools.product((1, 0), (1, 0)))  # SACK, time stamps
IDS = [f"{'with' if sack else 'without'} SACK, {'with' if stamps else 'without'} time stamps"
       for sack, stamps in KINDS]


def connected(path, stack, kinds=tuple(KINDS)):
    """{(SACK, time stamps): Talk}"""
    made = {}
    for kind in kinds:
        settings(path, *kind)
        made[kind] = stack.enter_context(talk.talk(path))
    return made


def check(seen, made):
    """Rows are what the wire says, no more, and hardly less. {kind: (Sender, Comparison)}"""
    found = {}
    for kind, one in made.items():
        for end, flow in (("client", one.flow), ("server", one.back)):
            sender = rtts.Sender(seen.frames[end], flow)
            rows = rtts.rows_of(seen.rows, flow)
            compared = rtts.compare(rows, sender.samples, timed=False)
            assert not compared.extra, (kind, end, compared.extra[:3], sender.refused[:9])
            # while it recovers the kernel does not always tell which segment its sample is of
            left = [s for s in compared.missing if not (s.recovering or s.closing or s.alike)]
            # of values that are all alike another one may seem to be missing
            may = sum(s.closing and s not in compared.missing for s in sender.samples)
            assert len(left) <= seen.coalesced[end] + may * (not kind[0]), (kind, end, left[:5])
            hist = seen.hists[flow]
            assert same_count(seen, hist, rows)
            assert abs(hist["retransmits"] - sender.retransmitted) <= seen.skipped["hist"]
            found[kind, end] = sender, compared
    return found


def disturb(path, made, order, calm, pings, nbytes):
    def converse(one):
        one.ping(pings)
        one.bulk(nbytes)

    path.control(order)
    with concurrent.futures.ThreadPoolExecutor(len(made)) as pool:
        for done in [pool.submit(converse, one) for one in made.values()]:
            done.result()
    path.control(calm)
    for one in made.values():
        one.close()


def happened(path, seen, made, what):
    """How often, from the client to the server."""
    if what != "duplicated":
        return path.control("stats")["a_to_b"][what]
    flows = {one.flow for one in made.values()}
    sent, came = (sum(frame.flow in flows for frame in seen.frames[end])
                  for end in ("client", "server"))
    return came - sent


@pytest.mark.parametrize("order, calm, happens", [
    ("loss 3,3", "loss 0,0", "dropped_random"),
    ("reorder 20,5", "reorder 0,0", "reordered"),
    ("dup 20,20", "dup 0,0", "duplicated"),
], ids=lambda text: text.split()[0])
def test_as_the_wire_has_it(line, order, calm, happens, capsys):
    # more where there is no seed: of 740 packets less than 4 are lost once in a million runs
    nbytes = 250_000 if line is paths.netem and happens == "dropped_random" else 100_000
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(line(delay=(10, 10), reorder_by=4, seed=5))
        with watched(path) as seen:
            made = connected(path, stack)
            disturb(path, made, order, calm, 15, nbytes)
        assert happened(path, seen, made, happens) > 3
    found = check(seen, made)
    again = sum(sender.retransmitted for sender, _ in found.values())
    refused = sum(len(sender.refused) for sender, _ in found.values())
    missing = [s for _, compared in found.values() for s in compared.missing]
    with capsys.disabled():
        print(f"\n  {order}: sent again {again}, of these acknowledged in {refused} frames; not "
              f"shown {len(missing)}, of them of older segments "
              f"{sum(s.doubtful for s in missing)}", end="")
    agree([one for _, compared in found.values() for one in compared.differences], order, capsys)
    if happens == "dropped_random":
        assert refused > 3


@pytest.mark.parametrize("sack, stamps", KINDS, ids=IDS)
@pytest.mark.parametrize("nbytes", [100, 15_000])
def test_a_stalled_path(delayline, sack, stamps, nbytes):
    """Held until it was sent again twice, 0.3 to 0.7 s; then both copies come, and both answers."""
    try:
        with contextlib.ExitStack() as stack, watched(delayline) as seen:
            (one,) = connected(delayline, stack, [(sack, stamps)]).values()
            one.ping(5)
            before = one.client.info().retrans
            delayline.control("hold")
            one.client.do("send", nbytes=nbytes)
            until(lambda: one.client.info().retrans >= before + 2, 10, "to be sent again twice")
            delayline.control("release")
            assert one.server.recv(nbytes=nbytes).got == nbytes
            one.ping(5)
            rtt = one.client.info().rtt
            one.close()
    finally:
        delayline.control("release")
        settings(delayline, 1, 1)
    sender, compared = check(seen, {(sack, stamps): one})[(sack, stamps), "client"]
    assert sender.retransmitted >= 2 and len(sender.refused) >= 1
    # ten pings, the handshake, and perhaps segments behind what was sent again, and the FIN
    assert 11 <= len(compared.pairs) <= 11 + nbytes // 1000 + 1
    if nbytes == 100:
        assert max(row["latency_us"] for row, _ in compared.pairs) < 150_000
        # with time stamps the kernel itself believes what we do not show
        assert rtt > (25_000 if stamps else 0)


@pytest.mark.parametrize("sack, stamps", KINDS, ids=IDS)
def test_held_but_never_sent_again(twenty_ms, sack, stamps):
    """100 ms longer, less than it takes to send again: that is a sample like any other."""
    try:
        with contextlib.ExitStack() as stack, watched(twenty_ms) as seen:
            (one,) = connected(twenty_ms, stack, [(sack, stamps)]).values()
            one.ping(3)
            twenty_ms.control("delay 60,60")
            one.ping(1)
            twenty_ms.control("delay 10,10")
            one.ping(3)
            one.drain()
    finally:
        twenty_ms.control("delay 10,10")
        settings(twenty_ms, 1, 1)
    sender, compared = check(seen, {(sack, stamps): one})[(sack, stamps), "client"]
    assert not sender.retransmitted and not compared.missing
    longest = [row["latency_us"] > 110_000 for row, _ in compared.pairs]
    assert len(longest) == 8 and sum(longest) == 1
