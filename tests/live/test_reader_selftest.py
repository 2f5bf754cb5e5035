# SPDX-License-Identifier: GPL-2.0-or-later
"""The waits that lib.reader makes are what it says they are: without the tool."""

import contextlib
import errno
import os

import pytest

from lib import reader
from lib.capture import ACK, SYN, Capture
from lib.patience import patient, soon
from lib.process import until

CALLS = ["read", "recv", "recvmsg", "readv", "recvmmsg", "waitall", "dontwait", "trunc", "splice",
         "thread", "child"]


def ms(of, then):
    return (of - then) / 1e6


def in_time(result, sends, reads):
    """Every step at its time; of those that slept before they read, the end of that."""
    assert [send.nbytes for send in result.sends] == [size for _, size in sends]
    assert [read.how for read in result.reads] == [how for _, how, *_ in reads]
    for done, (at, *_) in [*zip(result.sends, sends), *zip(result.reads, reads)]:
        assert ms(done.before, result.start) >= at
        if not getattr(done, "woke", None):
            soon(ms(done.before, result.start) - at)
    for send in result.sends:
        soon(ms(send.after, send.before))


def all_ways(rcv, delay, calls):
    """A segment for each, of a size of its own, 7 ms after it has come."""
    sends = [(20 * i, 100 + i) for i in range(len(calls))]
    reads = [(20 * i + delay[0] + 7, how, 100 + i) for i, how in enumerate(calls)]
    result = rcv.schedule(sends, reads)
    in_time(result, sends, reads)
    assert [read.nbytes for read in result.reads] == [size for _, _, size in reads]
    assert [read.unread for read in result.reads] == [0] * len(calls)
    for i, read in enumerate(result.reads):
        soon(ms(read.after, read.before))
        least, most = result.wait_ms(i, i, delay)
        soon(7 - (delay[1] - delay[0]) - least)
        soon(most - 7)
        assert least <= most
    return dict(zip(calls, result.reads))


# --- ways of reading -----------------------------------------------------------------------------


@patient
def test_reads_at_its_time(any_path, family):
    with reader.pair(any_path, family, comm=b"a reader") as (snd, rcv):
        assert (rcv.raddr, rcv.rport) == (snd.laddr, snd.lport)
        assert (rcv.laddr, rcv.lport) == (any_path.server_addr(family), rcv.port)
        with open(f"/proc/{rcv.pid}/comm", "rb") as file:
            assert file.read() == b"a reader\n" == rcv.comm + b"\n"
        reads = all_ways(rcv, reader.DELAY[any_path.client_dev], CALLS)
        tids = {how: read.tid for how, read in reads.items()}
        thread, child = tids.pop("thread"), tids.pop("child")
        assert set(tids.values()) == {rcv.pid} and len({rcv.pid, thread, child}) == 3
        assert os.path.exists(f"/proc/{rcv.pid}/task/{thread}")
        with open(f"/proc/{child}/stat", encoding="ascii") as file:
            assert int(file.read().rpartition(")")[2].split()[1]) == rcv.pid


@patient
def test_reader_that_connects(any_path, family):
    with reader.pair(any_path, family, reader_connects=True) as (snd, rcv):
        assert rcv.laddr == any_path.client_addr(family) and rcv.rport == snd.port
        assert rcv.ns is any_path.client and snd.ns is any_path.server
        with open(f"/proc/{rcv.pid}/comm", "rb") as file:
            assert file.read() == rcv.comm + b"\n"
        all_ways(rcv, reader.DELAY[any_path.client_dev], ["read"])


@patient
def test_reads_by_io_uring(veth):
    with reader.pair(veth, comm=b"a reader") as (_, rcv), reader.available("io_uring"):
        reads = all_ways(rcv, (0, 0), ["io_uring", "io_uring_worker"])
        assert reads["io_uring"].tid == rcv.pid != reads["io_uring_worker"].tid
        result = rcv.schedule([(10, 100)], [(0, "io_uring", 1000)])
        assert result.reads[0].nbytes == 100
        soon(result.wait_ms()[1])


@patient
def test_peek_leaves_what_there_is(loopback):
    with reader.pair(loopback) as (_, rcv):
        sends = [(0, 100), (20, 50)]
        reads = [(10, "peek", 60), (30, "peek", 500), (31, "recv", 120), (32, "recv", 500),
                 (33, "dontwait", 10)]
        result = rcv.schedule(sends, reads)
        in_time(result, sends, reads)
        assert [(read.nbytes, read.unread) for read in result.reads] == [
            (60, 100), (150, 150), (120, 30), (30, 0), (-errno.EAGAIN, 0)]


@patient
def test_several_buffers_and_messages(loopback):
    with reader.pair(loopback) as (_, rcv):
        for how, got in (("recvmsg", 100), ("readv", 100), ("recvmmsg", 100)):
            sends, reads = [(0, 60), (1, 60)], [(10, how, [40, 50, 10]), (11, "recv", 500)]
            result = rcv.schedule(sends, reads)
            in_time(result, sends, reads)
            assert [read.nbytes for read in result.reads] == [got, 20], how
        assert rcv.schedule([(0, 60)], [(5, "recvmmsg", [40, 50, 10])]).reads[0].nbytes == 60


@patient
def test_asleep_until_data_come(any_path):
    """What was asleep before reads when the data come, or so much later as it is told."""
    delay = reader.DELAY[any_path.client_dev]
    with reader.pair(any_path) as (_, rcv):
        sends = [(10, 100), (60, 100), (110, 100), (160, 50), (170, 50)]
        reads = [(0, "block", 500), (50, "epoll", 500), (100, "epoll+12", 500),
                 (150, "waitall", 100)]
        result = rcv.schedule(sends, reads)
        in_time(result, sends, reads)
        assert [(read.nbytes, read.unread) for read in result.reads] == [(100, 0)] * 4
        for i, (send, wait) in enumerate(((0, 0), (1, 0), (2, 12), (4, 0))):
            _, most = result.wait_ms(send, i, delay)
            assert wait < most
            soon(most - wait - (delay[1] - delay[0]))
        assert all(read.woke < read.before for read in result.reads[1:3])
        # a lower bound is none when the read began before
        assert result.wait_ms(3, 3, delay)[0] == 0
        assert result.reads[3].after > result.sends[4].before


@patient
def test_low_water_mark(loopback):
    with reader.pair(loopback, rcvlowat=150) as (_, rcv):
        result = rcv.schedule([(10, 100), (20, 100), (60, 100), (70, 100)],
                              [(0, "block", 500), (50, "epoll", 500)])
        for read in result.reads:
            assert (read.nbytes, read.unread) == (200, 0)
        soon(max(result.wait_ms(1, 0)[1], result.wait_ms(3, 1)[1]))


# --- what there is to read -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["veth", "delayline"])
def test_every_send_is_a_segment(request, kind):
    """Those written at once too, and those that have to wait for the first ACKs."""
    path = request.getfixturevalue(kind)
    sizes = [100, 1, 1000, 20, 20, 700, 20, 20, 20, 20, 30, 40]
    with reader.pair(path) as (snd, rcv):
        with Capture(path.server, path.server_dev, f"tcp port {rcv.lport}") as capture:
            rcv.schedule([(0, size) for size in sizes])
            rcv.wait_unread(sum(sizes))
    data = [packet.len for packet in capture.packets if packet.len and packet.sport == snd.lport]
    assert data == sizes


@pytest.mark.parametrize("kind", ["loopback", "delayline"])
@patient
def test_data_with_the_handshake(request, kind):
    path = request.getfixturevalue(kind)
    delay = reader.DELAY[path.client_dev]
    before = path.client.sysctl("net.ipv4.tcp_fastopen")
    made = []
    with Capture(path.server, path.server_dev) as capture:
        for family in (4, 6):
            for way in ("third_ack", "fastopen"):
                with reader.pair(path, family, **{way: 123}) as (snd, rcv):
                    assert snd.early.nbytes == 123
                    # before the third segment, FIONREAD knows of nothing
                    rcv.wait_unread(123)
                    soon(ms(snd.early.after, snd.early.before))
                    result = rcv.schedule([(0, 10)], [(40, "recv", 123), (40, "recv", 500)])
                    assert [read.nbytes for read in result.reads] == [123, 10]
                    least, most = reader.bounds(snd.early, result.reads[0], delay)
                    assert 40 - delay[1] < least < most
                    soon(most - least - (delay[1] - delay[0]))
                    made.append((way, snd.lport))
    assert path.client.sysctl("net.ipv4.tcp_fastopen") == before
    for way, port in made:
        first, second, third = [(packet.flags & (SYN | ACK), packet.len)
                                for packet in capture.packets if port in packet.flow][:3]
        assert second == (SYN | ACK, 0)
        assert first == (SYN, 123 if way == "fastopen" else 0), (way, first)
        if way == "third_ack":
            assert third == (ACK, 123)


@patient
def test_half_closed_reader(any_path, family):
    delay = reader.DELAY[any_path.client_dev]
    with reader.pair(any_path, family, fin_wait2=True) as (snd, rcv):
        assert rcv.state() == reader.FIN_WAIT2
        all_ways(rcv, delay, ["recv", "read"])
        assert rcv.state() == reader.FIN_WAIT2
        result = rcv.schedule([(0, 100), (0, 0)],
                              [(delay[0] + 5, "recv", 500), (delay[0] + 6, "recv", 500)])
        assert [read.nbytes for read in result.reads] == [100, 0]


@patient
def test_much_that_is_unread(veth):
    with reader.pair(veth, rcvbuf=2_000_000) as (_, rcv):
        rcv.schedule([(0, 500_000)])
        rcv.wait_unread(500_000)
        reads = [(0, "recv", 400_000), (5, "trunc", 60_000), (10, "splice", 20_000),
                 (15, "recv", 500_000)]
        result = rcv.schedule([], reads)
        in_time(result, [], reads)
        assert [(read.nbytes, read.unread) for read in result.reads] == [
            (400_000, 100_000), (60_000, 40_000), (20_000, 20_000), (20_000, 0)]


def test_ends_with_data_unread(loopback):
    with reader.pair(loopback) as (snd, rcv):
        rcv.schedule([(0, 100)], [(5, "recv", 10)])
        snd.close(reset=True)
        result = rcv.schedule([], [(0, "recv", 500), (1, "recv", 500)])
        assert [read.nbytes for read in result.reads] == [90, -errno.ECONNRESET]
    with reader.pair(loopback) as (snd, rcv):
        rcv.schedule([(0, 100)], [(5, "child", 10)])
        rcv.close()
        with pytest.raises(ValueError):
            rcv.skmem()  # it is gone, the child has not kept it


@pytest.mark.parametrize("wanted, got", [(100, 100), (1000, 600)])
@patient
def test_backlog(veth, wanted, got):
    """What comes while the reader has the lock is in the backlog; a longer recv() takes it too."""
    sends = [(0, 100), (20, 200), (25, 300)]
    reads = [(10, "fault+80", wanted), (120, "dontwait", 1000)]
    with reader.pair(veth) as (_, rcv), reader.available("userfaultfd"):
        run = rcv.begin(sends, reads)
        # as ss counts: a small segment is about 1000 bytes of memory
        until(lambda: rcv.skmem()["bl"] > 1500, 5, "two segments in the backlog")
        result = run.result()
        in_time(result, sends, reads)
        read, rest = result.reads
        assert result.sends[2].after < read.unlocked and ms(read.unlocked, read.locked) >= 80
        soon(ms(read.locked, read.before))
        soon(ms(read.after, read.unlocked))
        assert (read.nbytes, read.unread) == (got, 600 - got)
        assert rest.nbytes == (600 - got or -errno.EAGAIN)
        assert rcv.skmem()["bl"] == 0


@patient
def test_sockmap(loopback):
    with contextlib.ExitStack() as stack:
        with reader.available("SOCKMAP", errno.EINVAL):
            _, rcv = stack.enter_context(reader.pair(loopback, sockmap=True))
        run = rcv.begin([(50, 100)], [(0, "block", 100)])

        def stacked():
            with open(f"/proc/{rcv.pid}/stack", encoding="ascii") as file:
                return "tcp_bpf_recvmsg" in file.read()

        until(stacked, 5, "the reader to be asleep in the sockmap's own recvmsg")
        result = run.result()
        assert result.reads[0].nbytes == 100
        soon(result.wait_ms()[1])


# --- the CPU -------------------------------------------------------------------------------------


@pytest.mark.skipif(os.cpu_count() < 2, reason="needs two CPUs")
def test_hog_keeps_a_reader_waiting(loopback):
    with reader.pair(loopback) as (snd, rcv):
        snd.pin(0)
        rcv.pin(1)
        rcv.background()
        before = rcv.run_queue_ns()
        with reader.Hog(1):
            rcv.schedule([(10 * i + 5, 100) for i in range(10)],
                         [(10 * i, "block", 100) for i in range(10)])
        assert ms(rcv.run_queue_ns(), before) > 20


@pytest.mark.skipif(os.cpu_count() < 2, reason="needs two CPUs")
@patient
def test_burst_keeps_a_reader_waiting_so_long(loopback):
    with reader.available("SCHED_FIFO"):
        burst = reader.Burst(1)
    with burst, reader.pair(loopback) as (snd, rcv):
        snd.pin(0)
        rcv.pin(1)
        before = rcv.run_queue_ns()
        run = rcv.begin([(10, 100)], [(0, "block", 100)], lead_ms=20)
        burst.burn(run.start + 5_000_000, 40)
        result = run.result()
        began, ended = burst.burnt()
        soon(ms(began, run.start) - 5)
        assert ended == run.start + 45_000_000
        assert result.reads[0].after > ended
        soon(ms(result.reads[0].after, ended))
        assert ms(rcv.run_queue_ns(), before) > 30
