# SPDX-License-Identifier: GPL-2.0-or-later
"""The instruments before the measurements: are the paths as long as they claim to be?

The traffic, the tool's wrapper and the cleaning-up are in test_traffic_selftest.py.
"""

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import pytest

from lib import binaries, netns, paths, standstill, traffic
from lib.capture import Capture, handshakes
from lib.process import Child, until
from lib.standstill import between, during


def ms(seconds):
    return seconds * 1000


@contextlib.contextmanager
def udp(path):
    """A socket at each end, connected: (client's, server's)."""
    with contextlib.ExitStack() as stack:
        ends = []
        for ns, addr, peer in (
            (path.client, path.client_v4, path.server_v4),
            (path.server, path.server_v4, path.client_v4),
        ):
            with ns.entered():
                sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.bind((addr, 9000))
            sock.connect((peer, 9000))
            sock.settimeout(5)
            ends.append(sock)
        yield ends


def send_numbers(sock, count):
    for i in range(count):
        sock.send(i.to_bytes(4, "big"))


def received_numbers(path, sock):
    """What has come out of the line, once it is empty."""
    until(lambda: not path.control("stats")["a_to_b"]["queued"], 10, "packets stay in the line")
    numbers = []
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            numbers.append(int.from_bytes(sock.recv(4), "big"))
    sock.settimeout(5)
    return numbers


# --- the delay line ------------------------------------------------------------------------------


def measure_20_ms(count):
    """Connects over 10+10 ms in both families: own clock; (wire, of it stood still), in ms."""
    own, wire = [], []
    with paths.delayline(delay=(10, 10)) as path:
        with Capture(path.client, path.client_dev) as capture:
            for family in (4, 6):
                addr = path.server_addr(family)
                with traffic.Server(path.server, addr) as server:
                    own += [traffic.connect_once(path.client, addr, server.port)
                            for _ in range(count)]
        attempts = handshakes(capture.packets)
        for result in own:
            assert result.established
            attempt = attempts.pop((result.laddr, result.lport, result.raddr, result.rport))
            assert (attempt.syns, attempt.answer) == (1, "SYN-ACK")
            wire.append((ms(attempt.rtt), between(attempt.last_syn, attempt.answered)))
        assert not attempts
    return [result.latency_ms for result in own], wire


def test_10_and_10_ms_are_20_ms():
    own, wire = measure_20_ms(5)
    assert min(own) >= 20.0 and statistics.median(own) <= 22.0, own
    assert all(20.0 <= took <= 22.0 + still for took, still in wire), wire


def test_20_ms_on_a_busy_machine():
    busy = [Child([sys.executable, "-c", "print('on', flush=True)\nwhile True: pass"])
            for _ in range(2 * os.cpu_count())]
    try:
        for child in busy:
            child.line()
        _, wire = measure_20_ms(3)
    finally:
        for child in busy:
            child.signal(signal.SIGKILL)
            child.stop()
    took = [took for took, _ in wire]
    assert min(took) >= 20.0 and statistics.median(took) <= 22.0, wire


def test_each_direction_has_its_own_delay():
    with paths.delayline(delay=(5, 15)) as path:
        with Capture(path.client, path.client_dev) as near, Capture(
            path.server, path.server_dev
        ) as far:
            result = traffic.connect_once(path.client, path.server_v4, 1)
        assert result.error == "ECONNREFUSED"
        (at_client,) = handshakes(near.packets).values()
        (at_server,) = handshakes(far.packets).values()
        assert at_client.answer == at_server.answer == "RST"
        assert 5.0 <= ms(at_server.first_syn - at_client.first_syn) <= \
            7.0 + between(at_client.first_syn, at_server.first_syn)
        assert 15.0 <= ms(at_client.answered - at_server.answered) <= \
            17.0 + between(at_server.answered, at_client.answered)

        assert path.control("delay 0") == "ok"
        result = traffic.connect_once(path.client, path.server_v4, 1)
        assert result.latency_ms < 5.0 + during(result)


def test_jitter_varies_within_its_range_and_keeps_the_order():
    with paths.delayline(delay=(10, 10), jitter=(4, 4)) as path, udp(path) as (client, server):

        def echo():
            with contextlib.suppress(OSError):  # closed: we were interrupted
                for _ in range(30):
                    server.send(server.recv(64))

        thread = threading.Thread(target=echo)
        thread.start()
        times = []
        for _ in range(30):
            began = time.monotonic()
            client.send(b"ping")
            client.recv(64)
            times.append(ms(time.monotonic() - began))
        thread.join()
        assert min(times) >= 12.0 and statistics.median(times) <= 24.0, times
        assert max(times) - min(times) > 4.0, times

        send_numbers(client, 200)
        assert received_numbers(path, server) == list(range(200))


def test_loss_is_repeatable_and_one_way():
    def lost(seed):
        with paths.delayline(delay=1, loss=30, seed=seed) as path, udp(path) as (client, server):
            send_numbers(client, 300)
            came = received_numbers(path, server)
            stats = path.control("stats")["a_to_b"]
            assert (stats["forwarded"], stats["dropped_random"]) == (len(came), 300 - len(came))
            return sorted(set(range(300)) - set(came))

    first = lost(7)
    assert 60 <= len(first) <= 120
    assert lost(7) == first
    assert lost(8) != first

    with paths.delayline(delay=1, loss=(100, 0)) as path, udp(path) as (client, server):
        send_numbers(client, 10)
        assert not received_numbers(path, server)
        server.send(b"back")
        assert client.recv(64) == b"back"
        result = traffic.time_out(path.client, path.server_v4, 80, user_timeout_ms=500)
        assert result.error == "ETIMEDOUT"
        assert 1000 <= result.latency_ms <= 1500 + during(result)  # soon after the first retransmit
        stats = path.control("stats")
        assert stats["a_to_b"]["dropped_random"] == 12 and stats["a_to_b"]["forwarded"] == 0
        assert stats["b_to_a"]["dropped_random"] == 0 and stats["b_to_a"]["forwarded"] == 1


def test_first_segment_of_the_handshake_lost():
    with contextlib.ExitStack() as stack:
        cases = []
        for what in ("drop_syn", "drop_synack"):
            path = stack.enter_context(paths.delayline(**{what: 1}))
            capture = stack.enter_context(Capture(path.client, path.client_dev))
            clients = []
            for family in (4, 6):
                addr = path.server_addr(family)
                server = stack.enter_context(traffic.Server(path.server, addr))
                client = traffic.Client(path.client, addr, server.port)
                clients.append(stack.enter_context(client))
            cases.append((what, path, capture, clients))
        for *_, clients in cases:
            for client in clients:
                client.go()
        for what, path, capture, clients in cases:
            for client in clients:
                result = client.result()
                assert result.established and result.retransmits == 1
                assert 1000 <= result.latency_ms <= 1250 + during(result)
            stats = path.control("stats")
            assert stats["a_to_b"]["dropped_syn"] == (2 if what == "drop_syn" else 0)
            assert stats["b_to_a"]["dropped_syn"] == (2 if what == "drop_synack" else 0)
            attempts = list(handshakes(capture.stop()).values())
            assert [attempt.syns for attempt in attempts] == [2, 2]
            for attempt in attempts:
                still = between(attempt.first_syn, attempt.answered)
                assert 1000 <= ms(attempt.latency) <= 1250 + still
                # with the SYN-ACK lost, the server may repeat it before the second SYN arrives
                assert (20.0 if what == "drop_syn" else 0.0) <= ms(attempt.rtt) <= \
                    22.0 + still


def test_reordering_is_seen_on_the_wire():
    line = paths.delayline(delay=(3, 3), reorder=(20, 0), seed=3)
    with line as path, udp(path) as (client, server):
        send_numbers(client, 100)
        came = received_numbers(path, server)
        assert sorted(came) == list(range(100)) and came != sorted(came)

        with Capture(path.client, path.client_dev) as near, Capture(
            path.server, path.server_dev
        ) as far, traffic.Server(path.server, path.server_v4, mode="echo") as echo:
            result = traffic.connect_once(path.client, path.server_v4, echo.port,
                                          payload=bytes(100_000))
        assert result.established

        def late(packets):
            """Segments behind a later one."""
            seqs = [p.seq for p in packets if p.src == path.client_v4 and p.len]
            return sum(seq < max(seqs[:i], default=0) for i, seq in enumerate(seqs))

        assert late(far.packets) > late(near.packets)
        held_back = path.control("stats")["a_to_b"]["reordered"]
        assert held_back >= late(far.packets) - late(near.packets)


def test_duplicates():
    with paths.delayline(delay=1, dup=(100, 0)) as path, udp(path) as (client, server):
        send_numbers(client, 3)
        assert received_numbers(path, server) == [0, 0, 1, 1, 2, 2]


def test_hold_and_release():
    with paths.delayline(delay=1) as path, contextlib.ExitStack() as stack:
        server = stack.enter_context(traffic.Server(path.server, path.server_v4))
        path.control("hold")
        with Capture(path.server, path.server_dev) as capture:
            clients = [
                stack.enter_context(
                    traffic.Client(path.client, path.server_v4, server.port, mode="epoll")).go()
                for _ in range(4)
            ]
            for client in clients:
                client.connecting()
            until(lambda: path.control("stats")["a_to_b"]["queued"] >= 4, 5, "nothing was held")
            assert path.control("stats")["a_to_b"]["forwarded"] == 0
            assert server.accepted() == 0
            path.control("release")
            assert all(client.result().established for client in clients)
        syns = [packet.time for packet in capture.packets if packet.is_syn]
        assert len(set(p.flow for p in capture.packets if p.is_syn)) == 4
        assert ms(max(syns) - min(syns)) < 3.0 + between(min(syns), max(syns))


def test_delay_line_refuses_nonsense():
    program = binaries.traffic_program("delayline")
    for args in ([], ["--a"], ["--a", "x", "--b", "y", "--delay", "fast"],
                 ["--a", "nowhere", "--b", "y:z"], ["--a", "x:y", "--b", "y:z", "--loss", "101"],
                 ["--a", "x:y", "--b", "y:z", "--drop-syn", "1.5"], ["frob", "1"], ["--frob", "1"]):
        done = subprocess.run([program, *args], capture_output=True, text=True, timeout=10,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 2, args
        assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    with paths.delayline() as path:
        for line in ("frob 1", "delay", "delay 1 2", "delay -1", "delay nan", "hold 1", ""):
            with pytest.raises(ValueError):
                path.control(line)
        assert path.control("delay 10,20") == "ok"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, None])
def test_delay_line_ends(number):
    with netns.NetNS() as a, netns.NetNS() as b:
        line = paths.DelayLine(a, b)
        if number:
            line.child.signal(number)
            assert line.child.wait() == 0
        else:
            assert line.child.stop() == 0  # the end of its input


# --- the witness of standstills --------------------------------------------------------------------

STAND = """
import os, time
os.sched_setaffinity(0, {0})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))
begin = time.monotonic_ns()
while (end := time.monotonic_ns()) < begin + 30_000_000:
    pass
print(begin, end)
"""


def test_standstill_is_seen():
    """Nothing else ran on that processor; and it is not all of the time before and after."""
    before = time.monotonic_ns()
    done = subprocess.run([sys.executable, "-I", "-c", STAND], capture_output=True, text=True,
                          timeout=20, check=True)
    begin, end = map(int, done.stdout.split())
    took = (end - begin) / 1e6
    assert took - 2 <= standstill.stood_still(begin, end) <= took
    around = standstill.stood_still(before)
    assert took - 2 <= around < (time.monotonic_ns() - before) / 1e6


# --- the capture ---------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [paths.loopback, paths.veth, paths.delayline])
def test_capture_has_the_first_and_the_last_packet(build):
    with build() as path:
        with Capture(path.client, path.client_dev) as capture:
            results = [traffic.connect_once(path.client, path.server_addr(family), 1)
                       for family in (4, 6)]
        attempts = handshakes(capture.packets)
        assert [attempt.answer for attempt in attempts.values()] == ["RST", "RST"]
        assert [key[1] for key in attempts] == [result.lport for result in results]
        # the first began after its own process's clock was read, within a moment
        began, first = results[0].wall, list(attempts.values())[0].first_syn
        assert 0 <= ms(first - began) < 20 + between(began, first)
    assert len(capture.packets) == 4
