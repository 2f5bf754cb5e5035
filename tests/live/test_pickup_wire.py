# SPDX-License-Identifier: GPL-2.0-or-later
"""Pickup latency against two independent witnesses: a capture, and the clock of who reads."""

import datetime
import statistics
import time

from lib import paths, reader
from lib.capture import SYN, Capture
from lib.tool import Tracer

# Beyond what the reader itself is unsure of, from before its call to after it.
MEDIAN_US = 60
P99_US = 500

EPOCH = datetime.datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def realtime_offset():
    """CLOCK_REALTIME less CLOCK_MONOTONIC, ns; the best of some attempts."""
    best = None
    for _ in range(50):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = after - before, wall - (before + after) // 2
    return best[1]


def readable_from(packets, sport):
    """[(end, time)]: from when so many bytes of the stream could be read, seconds since the epoch.

    A segment counts when all before it is there too.
    """
    first = next(p.seq for p in packets if p.sport == sport and p.flags & SYN) + 1
    reach, waiting, steps = 0, [], []
    for packet in packets:
        if packet.sport != sport or not packet.len:
            continue
        begin = (packet.seq - first) & 0xFFFFFFFF
        waiting.append((begin, begin + packet.len))
        before = reach
        for begin, end in sorted(waiting):
            if begin <= reach < end:
                reach = end
        if reach > before:
            waiting = [(begin, end) for begin, end in waiting if end > reach]
            steps.append((reach, packet.time))
    return steps


def compare(path, sends, reads, family=4, rows_per_segment=True, **options):
    """Differences of each row in us: beyond the reader's own times, and of the arrivals alone."""
    with Tracer("pickup", "--json", "--netns", path.server.inode) as t:
        with Capture(path.server, path.server_dev, "tcp") as wire:
            with reader.pair(path, family, **options) as (snd, rcv):
                offset = realtime_offset()
                done = rcv.schedule(sends, reads)
        stopped = t.stop()
    total = sum(send.nbytes for send in done.sends)
    assert not any(stopped.summary["lost"].values()), stopped.summary
    assert total == sum(row["bytes"] for row in stopped.rows) == sum(
        got.nbytes for got in done.reads)
    if rows_per_segment:
        assert [row["bytes"] for row in stopped.rows] == [send.nbytes for send in done.sends]
    steps = readable_from([p for p in wire.packets if p.icmp is None], snd.lport)
    ends, taken = [], 0
    for got in done.reads:
        taken += got.nbytes
        ends.append((taken, got))
    beyond, arrivals, end = [], [], 0
    for row in stopped.rows:
        end += row["bytes"]
        came = next(when for reach, when in steps if reach >= end) * 1e6
        got = next(got for reach, got in ends if reach >= end)
        least, most = ((at + offset) / 1000 - came for at in (got.before, got.after))
        latency = row["latency_us"]
        beyond.append(max(least - latency, latency - most, 0))
        taken_at = (datetime.datetime.fromisoformat(row["time"]) - EPOCH).total_seconds() * 1e6
        arrivals.append(taken_at - latency - came)
        assert (row["pid"], row["tid"]) == (rcv.pid, got.tid)
    return beyond, arrivals, done


def agree(differences, capsys, what):
    beyond, arrivals, _ = differences
    beyond = sorted(beyond)
    median, p99 = statistics.median(beyond), beyond[min(len(beyond) - 1, len(beyond) * 99 // 100)]
    with capsys.disabled():
        print(f"\n  {what}: n {len(beyond)}, arrival later than on the wire by "
              f"{statistics.median(arrivals):+.1f} us (at most {max(map(abs, arrivals)):.1f}); "
              f"beyond the reader's times: median {median:.1f}, p99 {p99:.1f} us", end="")
    assert median <= MEDIAN_US
    assert p99 <= P99_US


def steps(count, delay=0):
    """Sends of all sizes, and reads that let them wait from 0 to 50 ms."""
    sends = [(5 * i, 50 + 37 * i % 1000) for i in range(count)]
    reads, i = [], 0
    while i < count:
        take = 1 + i % 11  # the first of 11 waits for 50 ms, the last for 0
        last = min(count, i + take) - 1
        reads.append((sends[last][0] + delay + (i % 3) * 0.7, "recv",
                      sum(size for _, size in sends[i:last + 1])))
        i = last + 1
    return sends, reads


def test_clean(any_path, family, capsys):
    delay = 10.3 if any_path.client_dev == "dl0" else 0
    sends, reads = steps(100, delay)
    # who is not yet there when it reads would get less
    reads = [(at, "waitall", size) for at, _, size in reads]
    agree(compare(any_path, sends, reads, family), capsys, f"{any_path.client_dev} v{family}")


def unclean(capsys, what, **settings):
    with paths.delayline(**settings) as path:
        # with time stamps TCP refuses some that are late, in favour of their second copies (PAWS)
        path.client.sysctl("net.ipv4.tcp_timestamps", 0)
        sends, reads = steps(100, 10)
        reads = [(at, "waitall", size) for at, _, size in reads]
        differences = compare(path, sends, reads, rows_per_segment=False)
        happened = path.control("stats")["a_to_b"]
    agree(differences, capsys, what)
    return happened


def test_loss(capsys):
    assert unclean(capsys, "5 % loss", delay=(5, 5), loss=(5, 5), seed=3)["dropped_random"] > 2


def test_reordering(capsys):
    happened = unclean(capsys, "reordering", delay=(5, 5), reorder=(20, 0), reorder_by=12, seed=4)
    assert happened["reordered"] > 10


def test_duplicates(capsys):
    assert unclean(capsys, "duplicates", delay=(5, 5), dup=(30, 30), seed=5)["duplicated"] > 20


def test_all_of_it(capsys):
    happened = unclean(capsys, "all of it", delay=(5, 5), loss=(5, 5), reorder=(10, 10),
                       reorder_by=12, dup=(10, 10), seed=7)
    assert min(happened[what] for what in ("dropped_random", "reordered", "duplicated")) > 2
