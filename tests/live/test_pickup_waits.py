# SPDX-License-Identifier: GPL-2.0-or-later
"""Every arrival waits for itself, until the read of its last byte."""

import pytest

from lib import reader
from lib.kernel import SPLICE
from lib.pickups import Pickups, wide_window

# man tcplat-pickup: so many arrivals have a time of their own
SINGLE = 33


def later(path, ms):
    """As a time of the reader: so much after what was sent at 0 has come."""
    return ms + reader.DELAY[path.client_dev][0]


def arrive(rcv, sends):
    """Sends, and waits until all of it is there to be read; nothing in time matters then."""
    sent = rcv.schedule(sends).sends
    rcv.wait_unread(sum(size for _, size in sends))
    return sent


def read(rcv, *reads):
    """After what has been done before, each at once unless told otherwise."""
    done = rcv.schedule([], reads, lead_ms=5).reads
    return done[0] if len(done) == 1 else done


@pytest.fixture
def watched(any_path):
    """(tracer, sender, reader) on each path."""
    with Pickups(any_path) as seen, reader.pair(any_path) as (snd, rcv):
        yield seen, snd, rcv
        seen.compare()


def test_one_read_of_three_arrivals(any_path):
    """100, 50 and 20 ms."""
    with Pickups(any_path) as seen:
        for family in (4, 6):
            with reader.pair(any_path, family, comm=b"one of 3") as (_, rcv):
                done = rcv.schedule([(0, 100), (50, 200), (80, 300)],
                                    [(later(any_path, 100), "recv", 1000)])
                assert done.reads[0].nbytes == 600
                seen.expect(rcv, *((send.nbytes, send, done.reads[0]) for send in done.sends))


def test_each_read_by_itself(watched, any_path):
    seen, _, rcv = watched
    done = rcv.schedule([(0, 100), (30, 200)],
                        [(later(any_path, 60), "recv", 100), (later(any_path, 90), "recv", 200)])
    assert [got.nbytes for got in done.reads] == [100, 200]
    seen.expect(rcv, (100, done.sends[0], done.reads[0]), (200, done.sends[1], done.reads[1]))


def test_half_of_an_arrival_makes_no_row(watched, any_path):
    """The read that takes its last byte does."""
    seen, _, rcv = watched
    done = rcv.schedule([(0, 100)], [(later(any_path, 60), "recv", 40),
                                     (later(any_path, 90), "recv", 60)])
    seen.expect(rcv, (100, done.sends[0], done.reads[1]))
    # reads across the borders of arrivals, the last ones byte by byte
    first, second, third = arrive(rcv, [(0, 100), (10, 100), (20, 3)])
    reads = read(rcv, (0, "recv", 150), (10, "recv", 49), (20, "recv", 1), (21, "recv", 1),
                 (25, "recv", 1), (30, "recv", 1))
    seen.expect(rcv, (100, first, reads[0]), (100, second, reads[2]), (3, third, reads[5]))


def test_peek_takes_nothing(watched, any_path):
    seen, _, rcv = watched
    done = rcv.schedule([(0, 100)], [(later(any_path, 30), "peek", 100),
                                     (later(any_path, 60), "recv", 100)])
    seen.expect(rcv, (100, done.sends[0], done.reads[1]))
    # peeks in the midst: more than there is, a part, after a part was taken
    first, second = arrive(rcv, [(0, 100), (10, 100)])
    reads = read(rcv, (0, "peek", 500), (2, "peek", 10), (5, "recv", 50), (10, "peek", 150),
                 (15, "recv", 60), (20, "peek", 500), (25, "recv", 500))
    assert [got.nbytes for got in reads] == [200, 10, 50, 150, 60, 90, 90]
    seen.expect(rcv, (100, first, reads[4]), (100, second, reads[6]))


def test_thrown_away_is_taken(watched, any_path):
    """MSG_TRUNC: no byte is copied."""
    seen, _, rcv = watched
    done = rcv.schedule([(0, 100), (10, 200)], [(later(any_path, 30), "trunc", 150),
                                                (later(any_path, 40), "trunc", 150)])
    assert [got.nbytes for got in done.reads] == [150, 150]
    seen.expect(rcv, (100, done.sends[0], done.reads[0]), (200, done.sends[1], done.reads[1]))


def test_asleep_before(watched):
    """Nearly no wait, by recv() and by epoll; or as long as the program dawdles."""
    seen, _, rcv = watched
    for _ in range(3):
        done = rcv.schedule([(10, 100), (40, 200), (70, 300)],
                            [(0, "block", 500), (35, "epoll", 500), (65, "epoll+12", 500)])
        assert [got.nbytes for got in done.reads] == [100, 200, 300]
        seen.expect(rcv, *((send.nbytes, send, got)
                           for send, got in zip(done.sends, done.reads)))


def test_wait_for_all(watched, any_path):
    seen, _, rcv = watched
    done = rcv.schedule([(0, 100), (20, 200)], [(later(any_path, 40), "waitall", 300)])
    seen.expect(rcv, *((send.nbytes, send, done.reads[0]) for send in done.sends))
    # asleep with half of it; what has come is copied at once, so that only the rest is new
    done = rcv.schedule([(10, 100), (40, 200)], [(0, "waitall", 300)])
    assert done.reads[0].nbytes == 300
    seen.expect(rcv, *((send.nbytes, send, done.reads[0]) for send in done.sends))
    assert seen.wait_for(lambda row: row["bytes"] == 100, count=2)[1]["latency_us"] < 20000


def test_below_the_low_water_mark(any_path):
    """The bytes that are too few to wake anybody have waited for those that were enough."""
    with Pickups(any_path) as seen:
        for how in ("block", "epoll"):
            with reader.pair(any_path, rcvlowat=150) as (_, rcv):
                done = rcv.schedule([(10, 50), (30, 60), (60, 70), (100, 200)],
                                    [(0, how, 500), (80, how, 500)])
                assert [got.nbytes for got in done.reads] == [180, 200]
                enough, second = done.reads
                # it cannot have read before there was enough
                enough = enough._replace(before=max(enough.before, done.sends[2].before))
                seen.expect(rcv, *((send.nbytes, send, enough) for send in done.sends[:3]),
                            (200, done.sends[3], second))


def test_read_below_the_low_water_mark(any_path):
    """Nobody is woken for them, but who does not wait may take them."""
    with Pickups(any_path) as seen, reader.pair(any_path, rcvlowat=5000) as (_, rcv):
        sends = arrive(rcv, [(0, 100), (20, 100), (40, 100)])
        got = read(rcv, (0, "dontwait", 500))
        assert got.nbytes == 300
        seen.expect(rcv, *((100, send, got) for send in sends))


def test_many_small_arrivals(any_path):
    """Each has its own time, and one read takes them all; then the same, one read each."""
    wide_window(any_path)
    with Pickups(any_path) as seen, reader.pair(any_path) as (_, rcv):
        sizes = [(i, 10 + i) for i in range(SINGLE)]
        sends = arrive(rcv, sizes)
        got = read(rcv, (0, "recv", 100_000))
        seen.expect(rcv, *((send.nbytes, send, got) for send in sends))
        sends = arrive(rcv, sizes)
        reads = read(rcv, *((i, "recv", size) for i, size in sizes))
        seen.expect(rcv, *((send.nbytes, send, got) for send, got in zip(sends, reads)))


def merged_rows(seen, rcv, taken, rows):
    """Announces rows that stand for more than one arrival; how many have lost a row of their own.

    taken: (Send, Read) of each arrival.
    """
    at = 0
    for row in rows:
        mine = taken[at:at + row["segments"]]
        at += len(mine)
        seen.expect(rcv, (sum(send.nbytes for send, _ in mine), mine[0][0], mine[-1][1],
                          row["segments"]))
    assert at == len(taken) == sum(row["segments"] for row in rows)
    return len(taken) - len(rows)


@pytest.mark.parametrize("how", ["recv", SPLICE])
def test_more_than_are_tracked(any_path, how):
    """Further ones go with the newest that is tracked, and have its time. All bytes are there."""
    wide_window(any_path)
    count, taken = 60, []
    with Pickups(any_path) as seen, reader.pair(any_path) as (_, rcv):
        for _ in range(2):
            sends = arrive(rcv, [(i / 2, 10 + i) for i in range(count)])
            got = read(rcv, (0, how, 100_000))
            assert got.nbytes == sum(send.nbytes for send in sends)
            taken += ((send, got) for send in sends)
        stopped = seen.stop()
        lost = stopped.summary["lost"]["fifo_merged"]
        assert merged_rows(seen, rcv, taken, stopped.rows) == lost
        # none is given up before it has to be
        assert lost <= 2 * (count - SINGLE)
        several = [row["segments"] for row in stopped.rows if row["segments"] > 1]
        assert len(several) == 2 and sum(several) - 2 == lost
        seen.counters["fifo_merged"] = lost


def test_more_than_are_tracked_in_parts(any_path):
    """What was taken makes room for what comes."""
    wide_window(any_path)
    with Pickups(any_path) as seen, reader.pair(any_path) as (_, rcv):
        sends = arrive(rcv, [(i / 2, 100) for i in range(40)])
        reads = [read(rcv, (0, "recv", 2050))]
        sends += rcv.schedule([(i / 2, 100) for i in range(20)]).sends
        rcv.wait_unread(6000 - 2050)
        reads += read(rcv, (0, "recv", 1450), (10, "recv", 10_000))
        # of each arrival, the read that took its last byte
        taken = [(send, reads[(i >= 20) + (i >= 35)]) for i, send in enumerate(sends)]
        stopped = seen.stop()
        lost = stopped.summary["lost"]["fifo_merged"]
        assert merged_rows(seen, rcv, taken, stopped.rows) == lost
        assert 4 <= lost <= 6 + 6
        seen.counters["fifo_merged"] = lost


def test_a_reader_that_keeps_up(any_path):
    """Hundreds of small arrivals, all of them with their own short wait, and nothing merged."""
    wide_window(any_path)
    with Pickups(any_path) as seen, reader.pair(any_path) as (_, rcv):
        count = 150
        done = rcv.schedule([(i / 2, 50) for i in range(count)],
                            [(later(any_path, i / 2) + 3, "recv", 50) for i in range(count)])
        assert {got.nbytes for got in done.reads} == {50}
        seen.expect(rcv, *((50, send, got) for send, got in zip(done.sends, done.reads)))
