# SPDX-License-Identifier: GPL-2.0-or-later
"""However a program reads: the right wait, the right process and thread."""

import contextlib
import errno
import socket
import sys

import pytest

from lib import reader
from lib.kernel import needs_data_ready
from lib.pickups import Pickups
from lib.tool import Tracer

TCP_ULP = 31
COMM = b"ways of reading"

CALLS = ["read", "recv", "recvmsg", "readv", "recvmmsg", "waitall", "dontwait", "trunc", "thread",
         "child"]
IO_URING = ["io_uring", "io_uring_worker"]
SEVERAL = ["recvmsg", "readv", "recvmmsg"]
ASLEEP = ["block", "epoll", "epoll+10", "thread", "child", "io_uring"]


def there(path, ms):
    """When what is sent so late has come, as a time of the reader."""
    return ms + reader.DELAY[path.client_dev][0]


def each_in_turn(path, rcv, calls, wait=9):
    """For each a segment of its own, so many ms after it has come. The Result."""
    sends = [(12 * i, 100 + i) for i in range(len(calls))]
    done = rcv.schedule(sends, [(there(path, at + wait), how, size)
                                for (at, size), how in zip(sends, calls)])
    assert [got.nbytes for got in done.reads] == [size for _, size in sends]
    return done


def one_by_one(done):
    return [(send.nbytes, send, got) for send, got in zip(done.sends, done.reads)]


def test_data_are_there(any_path):
    """In this order, and each after another one."""
    with Pickups(any_path) as seen:
        for family, calls in ((4, CALLS), (6, CALLS[::3] + CALLS[1::3] + CALLS[2::3])):
            with reader.pair(any_path, family, comm=COMM) as (_, rcv):
                done = each_in_turn(any_path, rcv, calls)
                seen.expect(rcv, *one_by_one(done))
                tids = {got.how: got.tid for got in done.reads}
                assert len({rcv.pid, tids["thread"], tids["child"]}) == 3


def test_io_uring(any_path):
    with Pickups(any_path) as seen, reader.pair(any_path, comm=COMM) as (_, rcv), \
            reader.available("io_uring"):
        done = each_in_turn(any_path, rcv, IO_URING + ["recv"] + IO_URING)
        seen.expect(rcv, *one_by_one(done))
        assert done.reads[1].tid != rcv.pid == done.reads[0].tid


def test_asleep_before(any_path):
    """Asleep already when the data come."""
    with Pickups(any_path) as seen, reader.pair(any_path, comm=COMM) as (_, rcv), \
            reader.available("io_uring"):
        done = rcv.schedule([(25 * i + 10, 100) for i in range(len(ASLEEP))],
                            [(there(any_path, 25 * i - 5), how, 1000)
                             for i, how in enumerate(ASLEEP)])
        assert {got.nbytes for got in done.reads} == {100}
        seen.expect(rcv, *one_by_one(done))


def test_several_buffers_and_messages(any_path):
    with Pickups(any_path) as seen, reader.pair(any_path, comm=COMM) as (_, rcv):
        for how in SEVERAL:
            done = rcv.schedule([(0, 60), (10, 60)],
                                [(there(any_path, 20), how, [40, 50, 10]),
                                 (there(any_path, 25), how, [5, 5, 500])])
            assert sum(got.nbytes for got in done.reads) == 120
            seen.expect(rcv, *one_by_one(done))


# --- splice takes segments out of the queue before it tells anybody ------------------------------


@needs_data_ready
def test_first_read_is_a_splice(any_path):
    """Of a connection; the data are there before it is called."""
    with Pickups(any_path) as seen:
        for count in (1, 2, 3, 10):
            with reader.pair(any_path, comm=COMM) as (_, rcv):
                sends = [(7 * i, 100 + i) for i in range(count)]
                done = rcv.schedule(sends, [(there(any_path, 7 * count + 7), "splice", 100_000),
                                            (there(any_path, 7 * count + 7), "dontwait", 1)])
                assert done.reads[0].nbytes == sum(size for _, size in sends)
                seen.expect(rcv, *((send.nbytes, send, done.reads[0]) for send in done.sends))


@needs_data_ready
def test_asleep_in_splice(any_path):
    """The first reads of a connection, and they sleep before there are data."""
    with Pickups(any_path) as seen, reader.pair(any_path, comm=COMM) as (_, rcv):
        done = rcv.schedule([(10, 100), (30, 200), (50, 300)],
                            [(0, "splice", 1000), (there(any_path, 24), "splice", 1000),
                             (there(any_path, 44), "splice", 1000)])
        seen.expect(rcv, *one_by_one(done))


@needs_data_ready
def test_first_splice_after_another_way(any_path):
    """It may find one arrival without its time, which is counted; the others have theirs."""
    with Pickups(any_path, clock=1) as seen, reader.pair(any_path, comm=COMM) as (_, rcv):
        done = each_in_turn(any_path, rcv, ["recv", "splice", "recv", "splice", "splice", "recv"])
        rows = one_by_one(done)
        del rows[1]
        seen.expect(rcv, *rows)


@needs_data_ready
def test_splice_of_parts(any_path):
    with Pickups(any_path) as seen, reader.pair(any_path, comm=COMM) as (_, rcv):
        done = rcv.schedule([(0, 100), (10, 200), (20, 300)],
                            [(there(any_path, 30), "splice", 150),
                             (there(any_path, 35), "splice", 150),
                             (there(any_path, 40), "splice", 100),
                             (there(any_path, 45), "splice", 1000)])
        assert [got.nbytes for got in done.reads] == [150, 150, 100, 200]
        seen.expect(rcv, *((send.nbytes, send, done.reads[i])
                           for send, i in zip(done.sends, (0, 1, 3))))


@needs_data_ready
def test_splice_of_parts_and_then_more(any_path):
    """A splice that leaves a part of a segment is no other way of reading."""
    with Pickups(any_path) as seen, reader.pair(any_path, comm=COMM) as (_, rcv):
        for _ in range(2):
            done = rcv.schedule([(0, 100), (5, 100), (30, 100)],
                                [(there(any_path, 15), "splice", 150),
                                 (there(any_path, 20), "splice", 500),
                                 (there(any_path, 40), "splice", 500)])
            assert [got.nbytes for got in done.reads] == [150, 50, 100]
            seen.expect(rcv, *one_by_one(done))


def test_splice_and_others_in_turn(any_path):
    """On one socket, each taking a part of what is there: their borders are not the arrivals'."""
    with Pickups(any_path) as seen:
        for calls in (("recv", "splice", "recv"), ("splice", "recv", "splice"),
                      ("peek", "splice", "recv", "splice", "splice", "recv")):
            with reader.pair(any_path, comm=COMM) as (_, rcv):
                sends = [(3 * i, 100) for i in range(len(calls) * 3)]
                reads = [(there(any_path, 3 * len(sends) + 5 * i), how, 250)
                         for i, how in enumerate(calls)]
                reads += [(reads[-1][0] + 5, "recv", 10_000)]
                done = rcv.schedule(sends, reads)
                taken, ends = 0, []
                for got in done.reads:
                    taken += got.nbytes if got.how != "peek" else 0
                    ends.append((taken, got))
                assert taken == 100 * len(sends)
                seen.expect(rcv, *((100, send,
                                    next(got for end, got in ends if end >= 100 * (i + 1)))
                                   for i, send in enumerate(done.sends)))


# --- who reads, and who was asked for ------------------------------------------------------------


@pytest.mark.parametrize("other", ["thread", "child"])
def test_only_one_of_two_readers(any_path, other):
    """Two of them take in turn from one socket; who was not asked for takes nothing away."""
    with reader.pair(any_path, comm=COMM) as (_, rcv):
        # its thread or child is there from the first time on
        tid = rcv.schedule([(0, 10)], [(0, other, 10)]).reads[0].tid
        option = "-p" if other == "child" else "--tid"
        with Pickups(any_path, option, rcv.pid) as first, Pickups(any_path, option, tid) as second:
            done = rcv.schedule([(5 * i, 100) for i in range(8)],
                                [(there(any_path, 45), "recv", 150),
                                 (there(any_path, 50), other, 150),
                                 (there(any_path, 55), "peek", 200),
                                 (there(any_path, 60), other, 250),
                                 (there(any_path, 65), "recv", 200),
                                 (there(any_path, 70), other, 10),
                                 (there(any_path, 75), "recv", 500)])
            assert [got.nbytes for got in done.reads] == [150, 150, 200, 250, 200, 10, 40]
            for i, send in zip((0, 1, 1, 3, 3, 4, 4, 6), done.sends):
                seen = second if done.reads[i].tid == tid else first
                seen.expect(rcv, (100, send, done.reads[i]))


@pytest.mark.parametrize("other", ["thread", "child"])
def test_peek_by_another(any_path, other):
    """A peek by who was asked for, or by who was not: neither makes a row, nor keeps it away."""
    with reader.pair(any_path, comm=COMM) as (_, rcv):
        tid = rcv.schedule([(0, 10)], [(0, other, 10)]).reads[0].tid
        option = "-p" if other == "child" else "--tid"
        with Pickups(any_path, option, rcv.pid), Pickups(any_path, option, tid) as seen:
            done = rcv.schedule([(0, 100), (40, 200)],
                                [(there(any_path, 10), "peek", 500),
                                 (there(any_path, 20), other, 500),
                                 (there(any_path, 50), "peek", 500),
                                 (there(any_path, 60), other, 500)])
            assert [got.nbytes for got in done.reads] == [100, 100, 200, 200]
            seen.expect(rcv, (100, done.sends[0], done.reads[1]),
                        (200, done.sends[1], done.reads[3]))


# --- readers in the kernel -----------------------------------------------------------------------


@needs_data_ready
def test_sockmap(any_path):
    """A verdict program takes the data out of TCP's queue; the program reads from another one."""
    with Pickups(any_path) as seen, contextlib.ExitStack() as stack:
        with reader.available("SOCKMAP", errno.EINVAL):
            _, rcv = stack.enter_context(reader.pair(any_path, comm=COMM, sockmap=True))
        done = rcv.schedule([(0, 100), (10, 200), (60, 300), (70, 400)],
                            [(there(any_path, 40), "recv", 1000), (50, "block", 1000),
                             (there(any_path, 90), "recv", 1000)])
        assert [got.nbytes for got in done.reads] == [300, 300, 400]
        seen.expect(rcv, *((send.nbytes, send, done.reads[i])
                           for i, send in zip((0, 0, 1, 2), done.sends)))


TLS = """
import socket, struct, sys, time
SOL_TLS, keys = 282, struct.pack("=HH8s16s4s8s", 0x303, 51, b"i" * 8, b"k" * 16, b"s" * 4, bytes(8))
with socket.create_server((sys.argv[1], 0)) as server:
    snd = socket.create_connection(server.getsockname())
    rcv = server.accept()[0]
for sock, way in ((snd, 1), (rcv, 2)):
    sock.setsockopt(socket.SOL_TCP, 31, b"tls")
    sock.setsockopt(SOL_TLS, way, keys)
before = time.monotonic_ns()
snd.send(b"x" * 100)
after = time.monotonic_ns()
time.sleep(0.03)
print(rcv.getsockname()[1], before, after, time.monotonic_ns(), len(rcv.recv(500)),
      time.monotonic_ns())
"""


def test_ktls(loopback):
    """The record is 29 bytes longer than what it carries."""
    with loopback.client.entered(), socket.create_server(("127.0.0.1", 0)) as server, \
            socket.create_connection(server.getsockname()) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
        except OSError as error:
            pytest.skip(f"the kernel has no TLS: {error}")
    with Tracer("pickup", "--json", "--netns", loopback.server.inode) as t:
        said = loopback.client.run([sys.executable, "-c", TLS, "127.0.0.1"]).stdout
        (row,) = t.stop().rows
    port, before, after, called, size, returned = map(int, said.split())
    assert (row["lport"], row["bytes"], size) == (port, 129, 100)
    assert (called - after) / 1000 - 50 <= row["latency_us"] <= (returned - before) / 1000 + 50
