# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes in unusual ways: with the handshake, late, twice, in the wrong order, before us."""

import contextlib
import errno
import functools
import itertools
import time

import pytest

from lib import paths, reader
from lib.capture import FIN, Capture
from lib.kernel import SPLICE, needs_data_ready
from lib.pickups import SMALL, Pickups
from lib.process import until
from lib.tool import Tracer


def there(path, ms):
    """When what is sent so late has come, as a time of the reader."""
    return ms + reader.DELAY[path.client_dev][0]


def rows_for(done, reads):
    """(bytes, Send, Read) of each send, by the index of the read that took it."""
    return [(send.nbytes, send, done.reads[i]) for send, i in zip(done.sends, reads)]


# --- with the handshake, and at the end of a connection ------------------------------------------


def test_data_with_the_handshake(any_path):
    """With the SYN: they wait from its arrival on, a round trip before there is a connection."""
    with Pickups(any_path) as seen:
        for family, way, later in itertools.product((4, 6), ("third_ack", "fastopen"),
                                                    ([], [(0, 200), (5, 300)])):
            with reader.pair(any_path, family, **{way: 123}) as (snd, rcv):
                rcv.wait_unread(123)
                done = rcv.schedule(later, [(there(any_path, 15), "recv", 1000)])
                assert done.reads[0].nbytes == 123 + sum(size for _, size in later)
                seen.expect(rcv, (123, snd.early, done.reads[0]),
                            *rows_for(done, [0] * len(later)))


@needs_data_ready
def test_data_with_the_handshake_spliced(any_path):
    """The first reader of the connection takes segments out before it tells."""
    with Pickups(any_path) as seen:
        for way in ("third_ack", "fastopen"):
            with reader.pair(any_path, **{way: 123}) as (snd, rcv):
                rcv.wait_unread(123)
                done = rcv.schedule([], [(20, "splice", 1000)])
                seen.expect(rcv, (123, snd.early, done.reads[0]))


@needs_data_ready
def test_half_closed_reader(any_path):
    with Pickups(any_path) as seen:
        for family in (4, 6):
            with reader.pair(any_path, family, fin_wait2=True) as (_, rcv):
                done = rcv.schedule([(0, 100), (10, 200), (20, 300), (25, 400), (30, 500)],
                                    [(there(any_path, 15), "recv", 1),
                                     (there(any_path, 50), "recv", 2000),
                                     (there(any_path, 50), "dontwait", 1)])
                assert [got.nbytes for got in done.reads] == [1, 1499, -errno.EAGAIN]
                seen.expect(rcv, *rows_for(done, [1] * 5))
                done = rcv.schedule([(10, 100), (40, 200), (50, 0)],
                                    [(0, "block", 500), (there(any_path, 55), "recv", 500)])
                seen.expect(rcv, *rows_for(done, [0, 1]))


@needs_data_ready
def test_half_closed_with_data_unread(any_path):
    """Some come before our FIN, some after it."""
    with Pickups(any_path) as seen, reader.pair(any_path) as (_, rcv):
        before = rcv.schedule([(0, 100), (10, 200)]).sends
        rcv.wait_unread(300)
        rcv.shutdown()
        until(lambda: rcv.state() == reader.FIN_WAIT2, 5, "the FIN to be acknowledged")
        done = rcv.schedule([(0, 300), (10, 400)], [(there(any_path, 30), "recv", 2000)])
        assert done.reads[0].nbytes == 1000
        seen.expect(rcv, *((send.nbytes, send, done.reads[0]) for send in before + done.sends))


def test_reader_that_connects(any_path):
    with Pickups(any_path) as seen:
        for family in (4, 6):
            with reader.pair(any_path, family, reader_connects=True) as (_, rcv):
                done = rcv.schedule([(0, 100), (20, 200)], [(there(any_path, 40), "read", 1000)])
                seen.expect(rcv, *rows_for(done, [0, 0]))


def test_after_the_peers_fin(any_path):
    """A FIN is no data, and what came before it may be read for long."""
    with Pickups(any_path) as seen:
        for family in (4, 6):
            with reader.pair(any_path, family) as (_, rcv):
                done = rcv.schedule([(0, 100), (10, 200), (20, 0)],
                                    [(there(any_path, 40), "recv", 150),
                                     (there(any_path, 50), "recv", 500),
                                     (there(any_path, 55), "recv", 500)])
                assert [got.nbytes for got in done.reads] == [150, 150, 0]
                seen.expect(rcv, *rows_for(done, [0, 1]))


def test_fin_and_data_in_one_segment(twenty_ms):
    """Eleven at once: the last one mostly has to wait for an ACK, and the FIN joins it."""
    with Pickups(twenty_ms) as seen, reader.pair(twenty_ms) as (snd, rcv):
        with Capture(twenty_ms.server, twenty_ms.server_dev, f"tcp port {rcv.lport}") as wire:
            done = rcv.schedule([(0, 100)] * 11 + [(0, 0)])
            rcv.wait_unread(1100)
        first, *_, last = [p for p in wire.packets if p.sport == snd.lport and p.len]
        late = (last.time - first.time) * 1e3
        assert last.flags & FIN and last.len == 100
        reads = rcv.schedule([], [(0, "recv", 5000), (0, "recv", 5000)]).reads
        assert [got.nbytes for got in reads] == [1100, 0]
        seen.expect(rcv, *((100, send, reads[0]) for send in done.sends[:10]))
        seen.expect(rcv, (100, done.sends[10], reads[0]), delay=(9 + late, 16 + late))


def test_after_a_reset(any_path):
    """What was there before it can still be read."""
    with Pickups(any_path) as seen, reader.pair(any_path) as (snd, rcv):
        sends = rcv.schedule([(0, 100), (10, 200)]).sends
        rcv.wait_unread(300)
        snd.close(reset=True)
        until(lambda: rcv.state() != reader.ESTABLISHED, 5, "the RST")
        reads = rcv.schedule([], [(0, "recv", 150), (10, "recv", 500)]).reads
        assert [got.nbytes for got in reads] == [150, 150]
        seen.expect(rcv, *((send.nbytes, send, got) for send, got in zip(sends, reads)))


# --- the backlog ---------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [100, 1000])
def test_backlog(any_path, wanted):
    """What comes while the socket is locked has come then, not when TCP looks at it."""
    with Pickups(any_path) as seen, reader.pair(any_path) as (_, rcv):
        rcv.skmem()  # the first time, the kernel loads modules for it, for longer than all this
        try:
            run = rcv.begin([(0, 100), (20, 200), (25, 300), (30, 400)],
                            [(there(any_path, 10), "fault+60", wanted),
                             (there(any_path, 90), "dontwait", 2000)])
        except OSError as error:
            pytest.skip(f"no userfaultfd here: {error}")
        until(lambda: rcv.skmem()["bl"] > 2500, 5, "three segments in the backlog")
        done = run.result()
        first = 0 if wanted == 1000 else 1
        assert done.reads[0].nbytes == wanted
        seen.expect(rcv, *rows_for(done, [0, first, first, first]))


# --- the wrong order -----------------------------------------------------------------------------


def watch_unread(rcv, nbytes):
    """[(before, after, unread)]: looks at the reader's socket until so much is there."""
    looks = []
    while not looks or looks[-1][2] < nbytes:
        before = time.monotonic_ns()
        unread = rcv.unread()
        looks.append((before, time.monotonic_ns(), unread))
        assert before < looks[0][0] + 10e9
    return looks


def readable(looks, end, since):
    """When the byte before that one could be read, as a Send: not before, not after."""
    before = max((look[0] for look in looks if look[2] < end), default=since)
    return reader.Send(before, min(look[1] for look in looks if look[2] >= end), end)


def within(looks, got, since, size, rows):
    """Every row has waited since its last byte could be read, and they have all bytes."""
    end = 0
    for row in rows:
        end += row["bytes"]
        least, most = reader.bounds(readable(looks, end, since), got)
        assert least - SMALL <= row["latency_us"] / 1000 <= most + SMALL, (row, least, most)
    assert end == size


def unordered(path, patterns, how="recv", segment=100, **options):
    """For each of the patterns: segments, some of them lost, and one read long after all came.

    pattern: "." comes, "x" is lost and comes again; "h" is held back, with all that follows.
    """
    with Pickups(path) as seen:
        for pattern in patterns:
            size = segment * len(pattern)
            with reader.pair(path, **options) as (_, rcv):
                since = time.monotonic_ns()
                for kind in pattern:
                    if kind != ".":
                        path.control("loss 100,0" if kind == "x" else "hold")
                    rcv.schedule([(0, segment)], lead_ms=1)
                    path.control("loss 0,0")
                path.control("release")
                looks = watch_unread(rcv, size)
                got = rcv.schedule([], [(20, how, 2 * size)]).reads[0]
                assert got.nbytes == size
                seen.later.append((rcv, functools.partial(within, looks, got, since, size)))


PATTERNS = ["x...", "..x...", "x.x...", "xx...", ".x..hx...", "....h....", ".x"]


@pytest.mark.parametrize("how", ["recv", SPLICE])
def test_a_hole_is_filled(delayline, how):
    """What was behind it waits from then on."""
    unordered(delayline, PATTERNS, how)


def test_a_hole_is_filled_with_large_segments(delayline):
    """Which the kernel need not merge."""
    unordered(delayline, PATTERNS[:4], segment=1400, family=6)


@needs_data_ready
@pytest.mark.parametrize("segment", [100, 1400])
def test_a_hole_is_filled_in_fin_wait2(delayline, segment):
    unordered(delayline, PATTERNS[:4], segment=segment, fin_wait2=True)


@pytest.mark.parametrize("how", ["block", SPLICE, "epoll"])
def test_asleep_while_there_is_a_hole(delayline, how):
    """Who waits for the missing segment keeps nothing waiting."""
    with Tracer("pickup", "--json", "--netns", delayline.server.inode) as t, \
            reader.pair(delayline) as (_, rcv):
        runq = rcv.run_queue_ns()
        delayline.control("loss 100,0")
        run = rcv.begin([(0, 100), (30, 100), (31, 100), (32, 100)], [(0, how, 1000)])
        until(lambda: time.monotonic_ns() > run.start + 15_000_000, 5, "the first one to be lost")
        delayline.control("loss 0,0")
        done = run.result()
        assert done.reads[0].nbytes == 400
        runq = (rcv.run_queue_ns() - runq) / 1e6
        stopped = t.stop()
    assert not any(stopped.summary["lost"].values()), stopped.summary
    assert sum(row["bytes"] for row in stopped.rows) == 400
    assert max(row["latency_us"] for row in stopped.rows) / 1000 < 4 + runq


def test_each_comes_twice(twenty_ms, family):
    twenty_ms.control("dup 100,100")
    try:
        with Pickups(twenty_ms) as seen, reader.pair(twenty_ms, family) as (_, rcv):
            done = rcv.schedule([(0, 100), (20, 200), (40, 300)],
                                [(there(twenty_ms, 30), "recv", 150),
                                 (there(twenty_ms, 60), "recv", 1000)])
            assert [got.nbytes for got in done.reads] == [150, 450]
            seen.expect(rcv, *rows_for(done, [0, 1, 1]))
    finally:
        twenty_ms.control("dup 0,0")


@pytest.mark.parametrize("how, nbytes, reads", [
    ("waitall", 1_000_000, 1), ("recv", 1_000_000, 3000),
    pytest.param("splice", 200_000, 300, marks=needs_data_ready)])
def test_bulk_on_a_bad_path(line, how, nbytes, reads):
    """Lost, in the wrong order, twice: every byte once, and none waits while it is waited for."""
    with line(delay=(3, 3), loss=(5, 5), reorder=(10, 10), reorder_by=2, dup=(5, 5),
              seed=5) as path, \
            Tracer("pickup", "--json", "--netns", path.server.inode) as t, \
            reader.pair(path, rcvbuf=4_000_000) as (_, rcv):
        before = rcv.run_queue_ns()
        size = nbytes if how == "waitall" else 65536
        done = rcv.schedule([(0, nbytes), (0, 0)], [(0, how, size)] * reads)
        runq = (rcv.run_queue_ns() - before) / 1e6
        stopped = t.stop()
        happened = path.control("stats")["a_to_b"]
    if line is paths.delayline:
        assert min(happened[what] for what in ("dropped_random", "reordered", "duplicated")) > 2
    else:  # it has no seed, and does not count all of them; of 138 packets 20 or so
        assert happened["dropped_random"] + happened["reordered"] > 2
    assert sum(got.nbytes for got in done.reads) == nbytes and not done.reads[-1].unread
    assert not any(stopped.summary["lost"].values()), stopped.summary
    assert sum(row["bytes"] for row in stopped.rows) == nbytes
    assert {row["pid"] for row in stopped.rows} == {rcv.pid}
    latencies = sorted(row["latency_us"] / 1000 for row in stopped.rows)
    # whatever keeps the reader from its CPU; a round trip is longer
    assert latencies[-1] < 4 + runq, latencies[-5:]
    assert latencies[len(latencies) // 2] < 0.5


# --- before we began, and after we end -----------------------------------------------------------


def test_half_a_million_bytes_from_before(any_path):
    """How long they have waited nobody knows: no row, but what comes later has one."""
    with reader.pair(any_path, rcvbuf=4_000_000) as (_, rcv):
        rcv.schedule([(0, 500_000)])
        rcv.wait_unread(500_000)
        with Pickups(any_path, unseen_start=range(1, 100)) as seen:
            done = rcv.schedule([(0, 100), (10, 200)],
                                [(there(any_path, 20), "recv", 300_000),
                                 (there(any_path, 25), "recv", 200_050),
                                 (there(any_path, 30), "recv", 1000)])
            assert [got.nbytes for got in done.reads] == [300_000, 200_050, 250]
            seen.expect(rcv, *rows_for(done, [2, 2]))
            done = rcv.schedule([(10, 300)], [(0, "block", 1000)])
            seen.expect(rcv, *rows_for(done, [0]))


@pytest.mark.parametrize("how", ["recv", SPLICE])
def test_a_little_from_before(any_path, how):
    """Read alone, and together with what comes later."""
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(reader.pair(any_path))[1] for _ in range(3)]
        for rcv in readers[:2]:
            rcv.schedule([(0, 100), (0, 50)])
            rcv.wait_unread(150)
        # what splice(2) takes away unnoted has left no trace
        least = 2 if how == "recv" else 1
        with Pickups(any_path, unseen_start=range(least, 10)) as seen:
            # its bytes; with others; and one that was idle
            assert readers[0].schedule([], [(0, how, 1000)]).reads[0].nbytes == 150
            for rcv, old in zip(readers, (0, 150, 0)):
                sends = rcv.schedule([(0, 200), (10, 300)]).sends
                rcv.wait_unread(old + 500)
                (got,) = rcv.schedule([], [(5, "recv", 1000)]).reads
                assert got.nbytes == old + 500
                seen.expect(rcv, *((send.nbytes, send, got) for send in sends))


@pytest.mark.parametrize("read_before", [None, "recv", SPLICE])
def test_unread_at_the_end(any_path, read_before):
    with contextlib.ExitStack() as stack:
        seen = stack.enter_context(Pickups(any_path, still_open=6))
        readers = [stack.enter_context(reader.pair(any_path))[1] for _ in range(3)]
        for rcv, count in zip(readers, (1, 5, 0)):
            if read_before:
                done = rcv.schedule([(0, 10)], [(there(any_path, 10), read_before, 10)])
                seen.expect(rcv, *rows_for(done, [0]))
            rcv.schedule([(i, 100) for i in range(count)])
            rcv.wait_unread(100 * count)
        seen.settle()
