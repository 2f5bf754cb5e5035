# SPDX-License-Identifier: GPL-2.0-or-later
"""The delay line against the kernel's own emulator: the same settings, traffic and truths.

Where the kernel has no netem all of this is skipped; the guests' kernels have it.
"""

import contextlib
import hashlib
import math
import os
import random
import socket
import statistics
import subprocess
import tempfile
import threading

import pytest

from lib import paths, rtts, talk, traffic
from lib.capture import Capture, handshakes
from lib.process import until
from lib.tool import Tracer

PORT = 9000

# What chance may do: bounds of a share or a distribution are such that a netem, or a delay line,
# that is as it should be fails in one of a million runs.
SIGMAS = 5
FAILS = 1e-6


def both(stack, **settings):
    """{name: path}; netem first, for where it is missing."""
    return {name: stack.enter_context(getattr(paths, name)(**settings))
            for name in ("netem", "delayline")}


class Numbers(Capture):
    """A capture of numbered UDP packets: .packets is [(time, number)]."""

    def __init__(self, ns, dev):
        super().__init__(ns, dev, f"udp dst port {PORT}")

    def _dissect(self):
        with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
            file.write(self._data)
            file.flush()
            done = subprocess.run(
                ["tshark", "-n", "-r", file.name, "-T", "fields", "-Y", f"udp.dstport == {PORT}",
                 "-e", "frame.time_epoch", "-e", "udp.payload"],
                check=True, capture_output=True, text=True, timeout=60)
        pairs = (line.split("\t") for line in done.stdout.splitlines())
        return [(float(time), int(payload, 16)) for time, payload in pairs]


def numbered(path, count, gap_ms, up=True):
    """So many packets, by captures at both ends: ({number: when it left}, [(time, number)])."""
    way = [(path.client, path.client_dev, path.client_v4),
           (path.server, path.server_dev, path.server_v4)]
    (ns, dev, addr), (far_ns, far_dev, far_addr) = way if up else way[::-1]
    with contextlib.ExitStack() as stack:
        sockets = []
        for here, own in ((ns, addr), (far_ns, far_addr)):
            with here.entered():
                sockets.append(stack.enter_context(
                    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            sockets[-1].bind((own, PORT))
        near = stack.enter_context(Numbers(ns, dev))
        far = stack.enter_context(Numbers(far_ns, far_dev))
        pause = threading.Event()
        for number in range(count):
            sockets[0].sendto(number.to_bytes(4, "big"), (far_addr, PORT))
            if gap_ms:
                pause.wait(gap_ms / 1000)
        until(lambda: not any(way["queued"] for way in path.control("stats").values()), 10,
              "the line to be empty")
    left = {number: time for time, number in near.packets}
    assert sorted(left) == list(range(count)) and len(near.packets) == count
    return left, far.packets


def transits(left, came):
    """us that each packet was under way."""
    return [(time - left[number]) * 1e6 for time, number in came]


def show(capsys, text):
    with capsys.disabled():
        print(f"\n  {text}", end="")


def test_is_there_in_guests():
    """Or all of this would be skipped where it is meant to run."""
    if os.environ.get("TCPLAT_GUEST"):
        assert paths.netem_missing() is None


def test_a_full_queue_is_noticed(monkeypatch):
    """Netem itself counts what it had no room for like what it was to lose."""
    monkeypatch.setattr(paths.Netem, "_LIMIT", 5)
    with pytest.raises(AssertionError, match="'to_server': 15"):
        with paths.netem() as path:
            with path.client.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for _ in range(20):
                    sock.sendto(b"x", (path.server_v4, PORT))
            for unknown in ("drop-syn 1", "reorder 10"):
                with pytest.raises(ValueError):
                    path.control(unknown)


# --- what tcplat says of them --------------------------------------------------------------------


# Of the medians of both: 6 us beyond its delay is what netem, three more devices and a bridge
# take in a guest of 1 GHz, one way; our line, which is a process, 16 to 18 us.
APART_US = 50


@pytest.mark.parametrize("family", [4, 6])
def test_connect_latency(family, capsys):
    """10 and 10 ms: 20, by the tracer, the client and the wire, and the same on both."""
    medians = {}
    with contextlib.ExitStack() as stack:
        for name, path in both(stack, delay=(10, 10)).items():
            addr = path.server_addr(family)
            with traffic.Server(path.server, addr) as server, \
                    Tracer("connect", "--json", "--netns", path.client.inode) as t:
                with Capture(path.client, path.client_dev) as wire:
                    with traffic.Client(path.client, addr, server.port, repeat=20) as client:
                        client.go()
                        own = [client.result().latency_us for _ in range(20)]
                rows = [row["latency_us"] for row in t.stop().rows]
            seen = [h.latency * 1e6 for h in handshakes(wire.packets).values()]
            assert len(rows) == len(seen) == 20
            for values in (rows, own, seen):
                assert min(values) >= 20000
            medians[name] = [statistics.median(values) for values in (rows, own, seen)]
            show(capsys, f"{name} v{family}: tracer, client, wire "
                 + ", ".join(f"{value:.1f}" for value in medians[name]) + " us")
    for ours, theirs in zip(medians["delayline"], medians["netem"]):
        assert abs(ours - theirs) <= 2 * APART_US
        assert max(ours, theirs) <= 20000 + 1000


def test_round_trips(capsys):
    medians = {}
    with contextlib.ExitStack() as stack:
        for name, path in both(stack, delay=(5, 15)).items():
            with rtts.rows(path) as rows, talk.talk(path) as one:
                one.ping(30)
                one.drain()
                stopped = rtts.settled(rows)
            for flow in (one.flow, one.back):
                values = [row["latency_us"] for row in rtts.rows_of(stopped.rows, flow)]
                assert len(values) == 31 and min(values) >= 20000
                medians[name, flow[2] == path.server_v4] = statistics.median(values)
    show(capsys, f"medians {[round(value) for value in medians.values()]} us")
    for to_server in (True, False):
        ours, theirs = medians["delayline", to_server], medians["netem", to_server]
        assert abs(ours - theirs) <= 2 * APART_US
        assert max(ours, theirs) <= 20000 + 1000


# --- what becomes of packets ---------------------------------------------------------------------


def test_each_way_has_its_delay(capsys):
    with contextlib.ExitStack() as stack:
        for name, path in both(stack, delay=(5, 15)).items():
            for up, delay in ((True, 5000), (False, 15000)):
                took = transits(*numbered(path, 50, 1, up))
                show(capsys, f"{name}: {min(took):.1f} to {max(took):.1f} us, median "
                     f"{statistics.median(took):.1f}")
                assert len(took) == 50
                # of a time in us both ends may be cut off
                assert min(took) >= delay - 1
                assert statistics.median(took) <= delay + APART_US


def test_loss(capsys):
    """The share that is lost, and that losses do not know of each other."""
    count, share = 2000, 0.1
    with contextlib.ExitStack() as stack:
        for name, path in both(stack, delay=(1, 1), loss=(100 * share, 0), seed=31).items():
            _, came = numbered(path, count, 0)
            numbers = [number for _, number in came]
            assert numbers == sorted(set(numbers))
            lost = sorted(set(range(count)) - set(numbers))
            assert path.control("stats")["a_to_b"]["dropped_random"] == len(lost)
            twice = sum(b - a == 1 for a, b in zip(lost, lost[1:]))
            show(capsys, f"{name}: {len(lost)} of {count} lost, {twice} behind another")
            assert abs(len(lost) - share * count) <= SIGMAS * math.sqrt(
                count * share * (1 - share))
            # pairs overlap, so that they vary a little more than if they did not
            pairs = share * share * count
            assert abs(twice - pairs) <= SIGMAS * math.sqrt(pairs * (1 + 2 * share))


def test_duplicates(capsys):
    """A second copy comes at once, and everything in order."""
    count, share = 1000, 0.2
    with contextlib.ExitStack() as stack:
        for name, path in both(stack, delay=(2, 2), dup=(100 * share, 0), seed=32).items():
            left, came = numbered(path, count, 0)
            numbers = [number for _, number in came]
            assert numbers == sorted(numbers) and set(numbers) == set(left)
            again = len(numbers) - count
            assert all(numbers.count(number) <= 2 for number in set(numbers))
            show(capsys, f"{name}: {again} of {count} came twice")
            assert abs(again - share * count) <= SIGMAS * math.sqrt(count * share * (1 - share))


def test_reordering(capsys):
    """Those held back come 4 ms later than all the others, which keep their order."""
    count, share = 500, 0.2
    with contextlib.ExitStack() as stack:
        for name, path in both(stack, delay=(3, 3), reorder=(100 * share, 0), reorder_by=4,
                               seed=33).items():
            left, came = numbered(path, count, 1)
            late = [(time, n) for time, n in came if (time - left[n]) * 1e6 > 5000]
            others = [(time, n) for time, n in came if (time - left[n]) * 1e6 <= 5000]
            for part, delay in ((others, 3000), (late, 7000)):
                assert [n for _, n in part] == sorted(n for _, n in part)
                took = transits(left, part)
                assert min(took) >= delay - 1
                assert statistics.median(took) <= delay + APART_US
            show(capsys, f"{name}: {len(late)} of {count} late")
            assert len(came) == count
            assert path.control("stats")["a_to_b"]["reordered"] == len(late)
            assert abs(len(late) - share * count) <= SIGMAS * math.sqrt(
                count * share * (1 - share))
            behind = sum(a > b for (_, a), (_, b) in zip(came, came[1:]))
            assert behind > share * count / 2


def test_jitter(capsys):
    """As often anywhere in its range; and in a burst it overtakes nobody."""
    count, delay, jitter = 300, 10000, 4000
    # Dvoretzky, Kiefer and Wolfowitz, of a distribution and what was drawn from it
    bound = math.sqrt(math.log(2 / FAILS) / (2 * count))
    with contextlib.ExitStack() as stack:
        for name, path in both(stack, delay=(10, 10), jitter=(4, 4), seed=34).items():
            # so far apart that none waits for the one before
            took = sorted(transits(*numbered(path, count, 9)))
            assert len(took) == count
            assert delay - jitter - 1 <= took[0] and took[-1] <= delay + jitter + 1000
            apart = max(abs((value - delay + jitter) / (2 * jitter) - (i + 0.5) / count)
                        for i, value in enumerate(took))
            show(capsys, f"{name}: {took[0]:.1f} to {took[-1]:.1f} us, {apart:.3f} from even")
            # and what the way itself takes
            assert apart <= bound + APART_US / (2 * jitter)
            _, burst = numbered(path, 200, 0)
            assert [number for _, number in burst] == list(range(200))


def sha(data):
    return hashlib.sha256(data).hexdigest()


def test_bytes_arrive_as_they_were(family):
    """Each way, whatever happens to their packets."""
    data = {way: random.Random(way).randbytes(150_000) for way in ("up", "down")}
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with contextlib.ExitStack() as stack:
        for path in both(stack, delay=(3, 3), jitter=(1, 1), loss=(3, 3), reorder=(10, 10),
                         reorder_by=4, dup=(10, 10), seed=35).values():
            with contextlib.ExitStack() as sockets:
                with path.server.entered():
                    listener = sockets.enter_context(socket.socket(kind))
                with path.client.entered():
                    client = sockets.enter_context(socket.socket(kind))
                listener.bind((path.server_addr(family), 0))
                listener.listen()
                client.settimeout(30)
                client.connect(listener.getsockname()[:2])
                server = sockets.enter_context(listener.accept()[0])
                server.settimeout(30)
                came = {}

                def take(sock, way, came=came):
                    with sock.makefile("rb") as file:
                        came[way] = sha(file.read())

                threads = [threading.Thread(target=take, args=args)
                           for args in ((server, "up"), (client, "down"))]
                for thread in threads:
                    thread.start()
                for sock, way in ((client, "up"), (server, "down")):
                    sock.sendall(data[way])
                    sock.shutdown(socket.SHUT_WR)
                for thread in threads:
                    thread.join(60)
            assert came == {way: sha(sent) for way, sent in data.items()}
            for way in path.control("stats").values():
                assert way["dropped_random"] + way["reordered"] > 3
