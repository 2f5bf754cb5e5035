# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody sets the clock while we measure: latencies are as true as before, or counted as lost.

Receive stamps are of CLOCK_REALTIME, which is why pickup has to know of it; truth is the reader's
own CLOCK_MONOTONIC, which nobody can set. Only where TCPLAT_GUEST is set: the machine's clock is
stepped, by up to an hour.
"""

import datetime
import os
import signal
import time

import pytest

from lib import reader, talk, traffic
from lib.commands import hold
from lib.pickups import SMALL
from lib.process import until
from lib.tool import Tracer

pytestmark = pytest.mark.skipif(
    not os.environ.get("TCPLAT_GUEST"),
    reason="would step this machine's clock; runs in the guests of ./dev test vm")

# ms
STEPS = [3_600_000, -3_600_000, 50, -50, 1, -1]
IDS = ["+1 h", "-1 h", "+50 ms", "-50 ms", "+1 ms", "-1 ms"]
by_step = pytest.mark.parametrize("step_ms", STEPS, ids=IDS)


def step(ms):
    """Moves CLOCK_REALTIME; returns by how much it really did, in ms, against CLOCK_MONOTONIC."""
    before = time.time_ns() - time.monotonic_ns()
    time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() + int(ms * 1e6))
    moved = (time.time_ns() - time.monotonic_ns() - before) / 1e6
    # from one reading to the next some time goes by
    assert ms - 0.5 < moved < ms + 5, f"asked for {ms} ms, the clock moved by {moved}"
    return moved


@pytest.fixture(autouse=True)
def clock_as_before():
    """Set back when a test is over, whatever it did."""
    offset = time.time_ns() - time.monotonic_ns()
    yield
    time.clock_settime_ns(time.CLOCK_REALTIME, time.monotonic_ns() + offset)


def told(tracer):
    """Waits until the tracer sleeps again, and so has heard of what happened before."""
    def asleep():
        with open(f"/proc/{tracer.pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] == "S"

    # a timerfd that was cancelled makes it readable: it cannot sleep before it has read it
    until(asleep, 5, f"{tracer} does not come to sleep")


# --- pickup --------------------------------------------------------------------------------------


class Story:
    """Arrivals of different sizes, each with its truth; at last every one is accounted for."""

    def __init__(self, tracer, snd_rcv, step_ms):
        self.tracer = tracer
        self.rcv = snd_rcv[1]
        self.step_ms = step_ms
        self.size = 100
        self.sent = []  # (bytes, Send), not yet read
        self.truth = {}  # bytes: (least, most, what it is)

    def send(self, gap_ms=0):
        self.size += 1
        (send,) = self.rcv.schedule([(gap_ms, self.size)], []).sends
        self.rcv.wait_unread(sum(size for size, _ in self.sent) + self.size)
        self.sent.append((self.size, send))

    def read(self, what, after_ms):
        """One read takes all that is there."""
        (read,) = self.rcv.schedule([], [(after_ms, "recv", 10_000)]).reads
        assert read.nbytes == sum(size for size, _ in self.sent)
        for size, send in self.sent:
            self.truth[size] = (*reader.bounds(send, read), what)
        self.sent = []

    def check(self, lossless=()):
        """lossless: what has to have a row each."""
        stopped = self.tracer.stop()
        assert stopped.status == 0, stopped.stderr
        rows = {row["bytes"]: row["latency_us"] / 1000 for row in stopped.rows}
        assert len(rows) == len(stopped.rows), "one arrival, two rows"
        lost = stopped.summary["lost"]
        wrong = []
        for size, (least, most, what) in self.truth.items():
            if size in rows and not least - SMALL <= rows[size] <= most + SMALL:
                wrong.append(f"{what}: shown {rows[size]:.3f} ms, it was {least:.3f} to "
                             f"{most:.3f}, off by {rows[size] - least:.3f}")
        missing = [self.truth[size][2] for size in self.truth.keys() - rows.keys()]
        said = f"clock stepped by {self.step_ms} ms; missing {missing}; {lost}"
        assert not wrong, "\n".join([*wrong, said])
        assert rows.keys() <= self.truth.keys(), said
        assert len(missing) == lost["clock"] == sum(lost.values()), said
        assert not set(missing) & set(lossless), said
        assert stopped.summary["unseen_start"] == stopped.summary["still_open"] == 0, said
        return missing


def story(path, step_ms, *options):
    return Tracer("pickup", "--json", "--netns", path.server.inode, *options)


CALM = "calm", "after the step"


@by_step
@pytest.mark.parametrize("wait_ms", [5, 120])
def test_data_waits_over_the_step(loopback, step_ms, wait_ms):
    """Sent before, read when the tracer has been told, so long after the step; and before and
    later, where nothing is lost at all."""
    with story(loopback, step_ms) as tracer, reader.pair(loopback) as ends:
        tale = Story(tracer, ends, step_ms)
        tale.send()
        tale.read("calm", 3)
        tale.send()
        tale.send(20)
        step(step_ms)
        told(tracer)
        tale.read("waited over the step", wait_ms)
        for after in (0, 5, 60):
            tale.send()
            tale.read("soon after the step", after)
        tale.send(abs(step_ms) + 10 if abs(step_ms) < 1000 else 100)
        tale.read("after the step", 5)
        tale.check(CALM)


@by_step
@pytest.mark.parametrize("wait_ms", [0, 60])
def test_read_before_the_tracer_is_told(loopback, step_ms, wait_ms):
    """It is held: programs in the kernel work with the old offset of the clocks."""
    with story(loopback, step_ms) as tracer, reader.pair(loopback) as ends:
        tale = Story(tracer, ends, step_ms)
        tale.send()
        tale.read("calm", 3)
        tale.send()
        hold(tracer)
        step(step_ms)
        tale.read("waited over the step", wait_ms)
        tale.send()
        tale.read("came and was read", wait_ms)
        tracer.signal(signal.SIGCONT)
        told(tracer)
        tale.send(abs(step_ms) + 10 if abs(step_ms) < 1000 else 100)
        tale.read("after the step", 5)
        tale.check(CALM)


@by_step
@pytest.mark.parametrize("wait_ms", [2, 120])
def test_came_before_the_tracer_was_told(loopback, step_ms, wait_ms):
    """And is read later: its stamp is of the new clock, and older than the tracer's news of it."""
    with story(loopback, step_ms) as tracer, reader.pair(loopback) as ends:
        tale = Story(tracer, ends, step_ms)
        hold(tracer)
        step(step_ms)
        tale.send(5)
        tale.send(5)
        tracer.signal(signal.SIGCONT)
        told(tracer)
        tale.read("came before it was told", wait_ms)
        tale.send(abs(step_ms) + 10 if abs(step_ms) < 1000 else 100)
        tale.read("after the step", 5)
        tale.check(CALM)


def test_many_steps(loopback):
    """One after the other, with data under way all the time: nothing negative, nothing absurd."""
    began = time.monotonic_ns()
    with story(loopback, 0) as tracer, Tracer("pickup", "--json", "--hist", "--netns",
                                              loopback.server.inode) as hist, \
            reader.pair(loopback) as (_, rcv):
        count = 120
        run = rcv.begin([(10 * i, 50 + i) for i in range(count)],
                        [(10 * i + 4, "recv", 50 + i) for i in range(count)])
        for ms in [*STEPS, *STEPS]:
            before = len(tracer.rows)
            step(ms)
            # what was counted instead makes no row
            tracer.out.wait(lambda b=before: len(tracer.rows) > b + 1, 0.2)
        result = run.result()
        stopped, hist = tracer.stop(), hist.stop()
    took = (time.monotonic_ns() - began) / 1e3
    truth = {read.nbytes: result.wait_ms(i, i) for i, read in enumerate(result.reads)}
    assert sum(truth) == sum(50 + i for i in range(count))
    wrong = [(row["bytes"], row["latency_us"] / 1000, truth[row["bytes"]]) for row in stopped.rows
             if not -SMALL <= row["latency_us"] / 1000 - truth[row["bytes"]][0] <= SMALL
             + truth[row["bytes"]][1] - truth[row["bytes"]][0]]
    assert not wrong, f"(bytes, shown ms, (least, most) ms): {wrong}; {stopped.summary}"
    assert all(0 <= row["latency_us"] < took for row in stopped.rows)
    lost = stopped.summary["lost"]
    assert len(stopped.rows) + lost["clock"] == count and lost["clock"] == sum(lost.values())
    (row,) = hist.rows
    assert 0 <= row["min_us"] <= row["max_us"] < took
    assert row["count"] + hist.summary["lost"]["clock"] == count


# --- connect and rtt -----------------------------------------------------------------------------


@by_step
def test_a_connect_under_way(delayline, step_ms):
    """Its SYN is held until the clock has been set; latency is by the client's own clock."""
    with Tracer("connect", "--json", "--netns", delayline.client.inode) as tracer, \
            traffic.Server(delayline.server, delayline.server_v4) as server:
        delayline.control("hold")
        try:
            with traffic.Client(delayline.client, server.addr, server.port,
                                mode="epoll") as client:
                client.go().connecting()
                begun = time.monotonic_ns()
                step(step_ms)
                least = (time.monotonic_ns() - begun) / 1e3
                before = time.time()
                delayline.control("release")
                result = client.result()
                after = time.time()
        finally:
            delayline.control("release")
        row = tracer.wait_for(lambda row: True)
        stopped = tracer.stop()
    assert result.error is None and stopped.rows == [row]
    assert not any(stopped.summary["lost"].values()), stopped.summary
    assert least < row["latency_us"] <= result.latency_us, (row, result)
    assert row["handshake_rtt_us"] <= result.latency_us
    assert before - 0.001 <= of_row(row) <= after + 0.001, "time does not follow the clock"


@by_step
def test_round_trips_under_way(delayline, step_ms):
    """One after the other: together they cannot have taken longer than all of it did."""
    pings = 12
    with talk.talk(delayline) as one:
        with Tracer("rtt", "--json", "--rows", "--netns", delayline.client.inode) as tracer, \
                Tracer("rtt", "--json", "--netns", delayline.client.inode) as hist:
            one.server.tell("echo", name="it", count=pings, size=100)
            begun = time.monotonic_ns()
            one.client.tell("ping", name="it", count=pings, size=100, gap_ms=0)
            tracer.wait_for(lambda row: True, count=4)
            step(step_ms)
            one.client.answer()
            one.server.answer()
            took = (time.monotonic_ns() - begun) / 1e3
            one.drain()
            stopped, hist = tracer.stop(), hist.stop()
    assert not any(stopped.summary["lost"].values()), stopped.summary
    values = [row["latency_us"] for row in stopped.rows]
    assert len(values) == pings and all(value >= 20_000 for value in values), values
    assert sum(values) <= took, (values, took)
    assert all(row["min_rtt_us"] <= took and row["srtt_us"] <= took for row in stopped.rows)
    (row,) = hist.rows
    assert (row["count"], row["min_us"], row["max_us"]) == (pings, min(values), max(values))


# --- what is said of the time of day -------------------------------------------------------------


def of_row(row):
    """Its time, s since the epoch."""
    return datetime.datetime.fromisoformat(row["time"].replace("Z", "+00:00")).timestamp()


@by_step
def test_time_follows_the_clock(loopback, step_ms):
    """Of an event before the step it is the old time, of one after it the new one; in each view."""
    filters = ["--json", "--netns", loopback.client.inode]
    with Tracer("connect", *filters) as connect, Tracer("pickup", *filters) as pickup, \
            Tracer("rtt", "--rows", *filters) as rtt, \
            traffic.Server(loopback.server, "127.0.0.1", mode="echo") as server:
        tracers = connect, pickup, rtt
        for name in ("before", "after"):
            first = time.time()
            result = traffic.connect_once(loopback.client, server.addr, server.port,
                                          payload=b"hello")
            assert result.error is None
            for tracer in tracers:
                row = tracer.wait_for(lambda row: result.lport in (row["lport"], row["rport"]))
                assert first - 0.001 <= of_row(row) <= time.time() + 0.001, (
                    f"{name} a step of {step_ms} ms: {first} to {time.time()}, not {row}")
                assert row["latency_us"] >= 0
                told(tracer)
            if name == "before":
                step(step_ms)
                for tracer in tracers:
                    told(tracer)
        for tracer in tracers:
            assert tracer.stop().status == 0
