# SPDX-License-Identifier: GPL-2.0-or-later
"""--split: where a wait went, against what the reader, the scheduler and a known burst say."""

import contextlib
import os
import re
import signal
import socket
import time

import pytest

from lib import reader
from lib.commands import ping_pong, script, state
from lib.patience import patient, soon
from lib.process import Child, until
from lib.tool import Tracer

pytestmark = pytest.mark.skipif(os.cpu_count() < 2, reason="needs two CPUs")


class Parts:
    """Of a row, in ms. They add up, to the nanosecond, in what three decimals can say."""

    def __init__(self, row):
        self.wake, self.runq, self.app, self.all = (
            row[f"{name}_us"] / 1000 for name in ("wake", "runq", "app", "latency"))
        assert abs(row["wake_us"] + row["runq_us"] + row["app_us"] - row["latency_us"]) < 0.0015
        assert min(self.wake, self.runq, self.app) >= 0
        assert list(row)[10:14] == ["latency_us", "wake_us", "runq_us", "app_us"]

    def app_alone(self):
        return (self.wake, self.runq) == (0, 0) and self.app == self.all


def tracing(ns, *options):
    return Tracer("pickup", "--json", "--split", "--netns", ns.inode, *options)


def parts(tracer, count, result=None, delay=(0, 0), reads=None):
    """Of all the rows there are; each within what the two ends know of segment and read."""
    status, rows, summary, _ = tracer.stop()
    assert (status, len(rows), summary["events"]) == (0, count, count)
    assert not any(summary["lost"].values())
    found = [Parts(row) for row in rows]
    for i, part in enumerate(found if result else ()):
        least, most = result.wait_ms(i, reads[i] if reads else i, delay)
        assert least <= part.all <= most, i
    return found


@contextlib.contextmanager
def pinned(path, **options):
    """What sends is on CPU 0, the delay line too; the reader is on CPU 1, with bursts."""
    try:
        burst = reader.Burst(1)
    except OSError as error:
        pytest.skip(f"no SCHED_FIFO: {error}")
    with burst, reader.pair(path, **options) as (snd, rcv), contextlib.ExitStack() as stack:
        snd.pin(0)
        rcv.pin(1)
        for tid in os.listdir(f"/proc/{path.line.child.pid}/task") if path.line else ():
            stack.callback(os.sched_setaffinity, int(tid), os.sched_getaffinity(int(tid)))
            os.sched_setaffinity(int(tid), {0})
        yield burst, rcv


def ms(then, now):
    return (now - then) / 1e6


def begin(rcv, sends, how, size):
    """The reader is asleep in its call before the sender begins. (the sender's, the reader's)"""
    run = rcv.begin([], [(0, how, size)])
    place = "epoll_wait" if how.startswith("epoll") else "tcp_recvmsg"

    def asleep():
        with open(f"/proc/{rcv.pid}/stack", encoding="ascii") as file:
            return place in file.read() and state(rcv.pid) == "S"

    until(asleep, 5, "the reader to sleep")
    return rcv.begin(sends, lead_ms=20), run


def end(*runs):
    sent, read = (run.result() for run in runs)
    return reader.Result(sent.start, sent.sends, read.reads)


# --- a reader that sleeps ------------------------------------------------------------------------


@patient
def test_asleep_until_data_come(any_path, family):
    """All parts are small; the epoll of a program that reads later is its own matter."""
    delay = reader.DELAY[any_path.client_dev]
    with reader.pair(any_path, family) as (_, rcv), tracing(rcv.ns) as tracer:
        result = rcv.schedule([(10, 100), (40, 100), (70, 100)],
                              [(0, "block", 500), (30, "epoll", 500), (60, "epoll+10", 500)])
        block, epoll, later = parts(tracer, 3, result, delay)
    soon(result.wait_ms(0, 0, delay)[1])
    soon(result.wait_ms(1, 1, delay)[1])
    for part in (block, epoll):
        assert part.wake > 0 and part.runq > 0 and part.app > 0
    # awake since it woke, and it knows when that was
    read = result.reads[2]
    assert later.app + read.queued / 1e6 >= ms(read.woke, read.before) >= 10
    assert later.wake + later.runq <= ms(result.sends[2].before, read.woke) - delay[0]
    assert later.wake > 0 and later.runq > 0


def test_data_come_while_it_goes_to_sleep(veth):
    """It is awake again before it slept, or just not; the sleep after that is the program's."""
    with pinned(veth) as (_, rcv), tracing(rcv.ns) as tracer:
        found = []
        for step in range(24):
            sends = [(10 + 2.5 * i, 1) for i in range(60)]
            early = (4 - 0.5 * step) / 1000  # ms, before the sender's turn
            result = rcv.schedule(sends, [(at - early, "epoll+1", 1) for at, _ in sends])
            found += result.reads
        rows = [Parts(row) for row in tracer.stop()[1]]
    assert len(rows) == len(found) == 1440
    for part, read in zip(rows, found):
        assert part.app + read.queued / 1e6 >= min(part.all, ms(read.woke, read.before))


def test_other_connections_on_the_same_cpu(loopback, veth):
    """The timer that wakes a reader between epoll and read, while others' data arrive there."""
    pingpong = ping_pong(cpu=1)
    with pinned(veth) as (_, rcv), Child(pingpong, loopback.client) as other, \
            contextlib.ExitStack() as stack:
        stack.callback(other.signal, signal.SIGKILL)  # it reads no input
        other.line()
        with tracing(rcv.ns) as tracer:
            for _ in range(10):
                end(*begin(rcv, [(0, 100)], "epoll+5", 100))
            found = parts(tracer, 10)
    assert [part.app_alone() for part in found] == [False] * 10
    assert all(part.app >= 5 for part in found)


@patient
def test_low_water_mark(loopback):
    """Data that are not enough to wake it wait for what does: WAKE."""
    with reader.pair(loopback, rcvlowat=150) as (_, rcv), tracing(rcv.ns) as tracer:
        result = rcv.schedule([(10, 100), (20, 100), (50, 100), (60, 100)],
                              [(0, "block", 500), (40, "epoll", 500)])
        found = parts(tracer, 4, result, reads=[0, 0, 1, 1])
    for i in (0, 2):
        assert found[i].wake >= ms(result.sends[i].after, result.sends[i + 1].before)
        soon(found[i].all - found[i].wake)
        assert 0 < found[i + 1].wake < found[i].wake
        soon(found[i + 1].all)


@pytest.mark.parametrize("how", ["block", "epoll"])
@patient
def test_burst(any_path, how):
    """Something else has the CPU when the data come: RUNQ is what is left of it then."""
    delay = reader.DELAY[any_path.client_dev]
    with pinned(any_path) as (burst, rcv), tracing(rcv.ns) as tracer:
        waited = rcv.run_queue_ns()
        runs = begin(rcv, [(10, 100)], how, 100)
        burst.burn(runs[0].start + int((5 + delay[0]) * 1e6), 25)
        result = end(*runs)
        _, ended = burst.burnt()
        waited = ms(waited, rcv.run_queue_ns())
        (part,) = parts(tracer, 1, result, delay)
    least = ms(result.sends[0].after, ended) - delay[1]
    soon(20 - delay[1] + delay[0] - least)  # not too late for its burst
    soon(part.wake)
    assert least - part.wake <= part.runq
    soon(part.runq - least - delay[1] + delay[0])
    soon(abs(waited - part.runq))
    soon(part.app)


@patient
def test_segments_while_it_is_on_the_run_queue(any_path):
    """Woken by the first; the others came after that, and waited for the CPU only."""
    delay = reader.DELAY[any_path.client_dev]
    with pinned(any_path) as (burst, rcv), tracing(rcv.ns) as tracer:
        runs = begin(rcv, [(10, 100), (15, 200), (20, 300)], "block", 1000)
        burst.burn(runs[0].start + int((5 + delay[0]) * 1e6), 30)
        result = end(*runs)
        _, ended = burst.burnt()
        found = parts(tracer, 3, result, delay, reads=[0, 0, 0])
    soon(found[0].wake)
    assert found[0].wake > 0 and [part.wake for part in found[1:]] == [0, 0]
    for part, send in zip(found, result.sends):
        least = ms(send.after, ended) - delay[1]
        assert part.wake + part.runq >= least
        soon(part.runq - least - delay[1] + delay[0])
        soon(part.app)


def test_hog(loopback):
    """A reader in the background waits for the CPU, the scheduler says how long."""
    with pinned(loopback) as (_, rcv), tracing(rcv.ns) as tracer:
        rcv.background()
        waited, results = [], []
        with reader.Hog(1):
            for _ in range(8):
                runs = begin(rcv, [(0, 100)], "block", 100)
                before = rcv.run_queue_ns()
                results.append(end(*runs))
                waited.append(ms(before, rcv.run_queue_ns()))
        found = parts(tracer, 8)
    assert sum(part.runq for part in found) > 10
    for part, wait, result in zip(found, waited, results):
        least, most = result.wait_ms()
        assert least <= part.all <= most
        # when it had read it may have waited again
        assert 0 < part.runq <= wait + 0.1
        assert 0 < part.wake < 0.5 * part.all + 0.1


# --- a reader that is awake ----------------------------------------------------------------------


@patient
def test_asleep_for_something_else(any_path, family):
    """It reads when its own time has come: these data have woken nobody."""
    delay = reader.DELAY[any_path.client_dev]
    hows = ["recv", "read", "readv", "dontwait", "thread", "child"]
    with reader.pair(any_path, family) as (_, rcv), tracing(rcv.ns) as tracer:
        sends = [(20 * i, 100) for i in range(len(hows))]
        result = rcv.schedule(
            sends, [(at + delay[0] + 8, how, 500) for (at, _), how in zip(sends, hows)])
        found = parts(tracer, len(hows), result, delay)
    soon(8 - min(part.all for part in found))  # none came when it had begun to wait for it
    assert [part.app_alone() for part in found] == [True] * len(hows)


def test_what_was_left_when_it_slept_again(loopback):
    """Half of a segment is taken at once, the other half, and so the whole, later."""
    with reader.pair(loopback) as (_, rcv), tracing(rcv.ns) as tracer:
        result = rcv.schedule([(5, 100), (30, 100)],
                              [(0, "block", 50), (20, "recv", 50), (25, "epoll+5", 100)])
        found = parts(tracer, 2, result, reads=[1, 2])
    assert found[0].app >= ms(result.reads[0].after, result.reads[1].before)


def test_timer_close_behind_the_data(loopback):
    """Its own timer wakes it on the CPU where data have just come."""
    with reader.pair(loopback) as (snd, rcv), tracing(rcv.ns) as tracer:
        snd.pin(1)
        rcv.pin(1)
        # the sender needs some time for its send: arrivals before, at and after the timer
        result = rcv.schedule([(10 * i, 100) for i in range(24)],
                              [(10 * i + i / 200, "dontwait", 500) for i in range(24)])
        status, rows, *_ = tracer.stop()
    taken = sum(read.nbytes > 0 for read in result.reads)
    assert status == 0 and len(rows) >= taken > 10
    assert [Parts(row).app_alone() for row in rows] == [True] * len(rows)


class Computing(Child):
    """A reader that spins, or lets another thread read what itself was woken for."""

    PROGRAM = """
        import queue, select
        from time import monotonic_ns as now
        os.sched_setaffinity(0, {1})
        server = socket.create_server(("127.0.0.1", 0))
        print(server.getsockname()[1], flush=True)
        sock = server.accept()[0]
        poll = select.epoll()
        poll.register(sock, select.EPOLLIN)
        jobs, done = queue.SimpleQueue(), queue.SimpleQueue()

        def read():
            before = now()
            got = len(sock.recv(1000))
            return before, now(), got, threading.get_native_id()

        def work():
            while True:
                jobs.get()
                done.put(read())

        threading.Thread(target=work, daemon=True).start()
        for line in sys.stdin:
            how, length = line.split()
            print("goes", flush=True)
            if how != "spin":
                poll.poll()
            woke = now()
            while now() < woke + int(length):
                pass
            if how == "thread":
                jobs.put(None)
            print(woke, *(done.get() if how == "thread" else read()), flush=True)
        """

    def __init__(self, ns):
        super().__init__(script(self.PROGRAM), ns)
        with ns.entered():
            self.sock = socket.create_connection(("127.0.0.1", int(self.line())))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, how, length_ms, burst=None):
        """(before and after the send, woke, before and after the read, its tid), ns."""
        self.send(f"{how} {int(length_ms * 1e6)}")
        self.line()
        if how != "spin":
            until(lambda: state(self.pid) == "S", 5, "the reader to sleep")
        begin = time.monotonic_ns()
        if burst:
            burst.burn(begin + 10_000_000, 15)
        self.sock.send(b"x" * 100)
        sent = time.monotonic_ns()
        woke, before, after, got, tid = map(int, self.line().split())
        assert got == 100
        return begin, sent, woke, before, after, tid


def test_busy(loopback):
    with pinned(loopback) as (burst, _), Computing(loopback.server) as prog, \
            tracing(loopback.server) as tracer:
        plain = prog.read("spin", 20)
        preempted = prog.read("spin", 40, burst)
        burst.burnt()
        other = prog.read("thread", 5)
        found = parts(tracer, 3)
        tids = [row["tid"] for row in tracer.rows]
    assert tids == [prog.pid, prog.pid, other[-1]] and other[-1] != prog.pid
    # it computed, also when that was not all the time; or it was not the one that was woken
    assert [part.app_alone() for part in found] == [True] * 3
    for part, (begin, sent, _, before, after, _) in zip(found, (plain, preempted, other)):
        assert ms(sent, before) <= part.all <= ms(begin, after)


@patient
def test_preempted_before_it_reads(loopback):
    """Woken, running, and then the CPU is taken away from it: RUNQ again."""
    with pinned(loopback) as (burst, _), Computing(loopback.server) as prog, \
            tracing(loopback.server) as tracer:
        begin, _, woke, before, after, _ = prog.read("epoll", 40, burst)
        began, ended = burst.burnt()
        (part,) = parts(tracer, 1)
    soon(ms(begin, woke))
    assert woke < began and ended < before
    assert part.runq >= ms(began, ended) - 0.2
    soon(part.runq - ms(began, ended))
    soon(part.wake)
    assert part.app <= ms(woke, after) - ms(began, ended) + 1
    assert part.wake + part.runq + part.app <= ms(begin, after)


# --- what is printed -----------------------------------------------------------------------------


def test_table_and_histograms(loopback, veth):
    """The same traffic, seen by five."""
    table = Tracer("pickup", "--split", "--netns", veth.server.inode)
    hist = Tracer("pickup", "--split", "--hist", "--json", "--netns", veth.server.inode)
    by = Tracer("pickup", "--split", "--hist", "--json", "--by", "rport,comm", "--netns",
                veth.server.inode, "--netns", loopback.server.inode)
    text = Tracer("pickup", "--split", "--hist", "--netns", veth.server.inode)
    slow = Tracer("pickup", "--split", "--hist", "--json", "--netns", veth.server.inode, "--min",
                  "8ms")
    with table, hist, by, text, slow, tracing(veth.server) as rows, \
            reader.pair(veth) as (one, rcv), reader.pair(loopback) as (two, near):
        sends = [(20 * i + 5, 100) for i in range(6)]
        rcv.schedule(sends, [(20 * i, how, 500) for i, how in
                             enumerate(["block", "epoll", "epoll+10"] * 2)])
        near.schedule([(0, 10), (0, 20)], [(5, "recv", 10), (6, "recv", 20)])
        truth = parts(rows, 6)
        for tracer in (table, hist, by, text, slow):
            assert tracer.stop().status == 0
    head, *lines = table.lines
    assert head.split()[-5:] == ["BYTES", "WAKE(ms)", "RUNQ(ms)", "APP(ms)", "LAT(ms)"]
    assert len(lines) == 6
    for line, part in zip(lines, truth):
        assert re.search(r"(?: +\d+\.\d{3}){4}$", line)
        wake, runq, app, lat = map(float, line.split()[-4:])
        assert abs(wake + runq + app - lat) < 0.0021
        assert abs(lat - part.all) < 0.5  # two tracers look at the clock one after the other
    names = ["total", "wake", "runq", "app"]
    shown = {row["key"]["part"]: row for row in hist.rows}
    assert list(shown) == names and [row["count"] for row in shown.values()] == [6] * 4
    assert abs(sum(shown[name]["sum_us"] for name in names[1:]) - shown["total"]["sum_us"]) < 0.01
    for name, key in zip(names, ("all", "wake", "runq", "app")):
        assert abs(shown[name]["sum_us"] / 1000 - sum(getattr(part, key) for part in truth)) < 2
    assert {(row["key"]["rport"], row["key"]["comm"], row["key"]["part"], row["count"])
            for row in by.rows} == {
        (port, "python3", name, count) for port, count in ((one.lport, 6), (two.lport, 2))
        for name in names}
    assert all(list(row["key"]) == ["rport", "comm", "part"] for row in by.rows)
    heads = [line for line in text.lines if line.startswith("pickup latency")]
    assert heads == [f"pickup latency part={name}" for name in names]
    assert [line.split()[1] for line in text.lines if line.startswith("count")] == ["6"] * 4
    # a filter on the whole wait, not on its parts
    assert {row["key"]["part"]: row["count"] for row in slow.rows} == dict.fromkeys(names, 2)
