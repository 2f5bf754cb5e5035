# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in a guest whose clock counts instructions: Debian's tools and ours on the same traffic.

Leaves /results/peers.json, which peers.py makes tables of.
"""
import contextlib
import gc
import json
import platform
import socket
import struct
import subprocess
import sys
import time

import lib
import peers_bpf
import peers_cases
import peers_latencies
import peers_rtts
from peers_tool import OURS, THEIRS, Peer, running, shown

CONNECTS, PINGS = 500, 500
NOBODY, TRIES = 20000, 60  # ports that nobody listens on

CONNECT = [[THEIRS + "tcpconnlat"], [OURS + "tcpconnlat"], [OURS + "tcplat", "connect"],
           [OURS + "tcplat", "connect", "--hist"]]
RTT = [[THEIRS + "tcprtt"], [THEIRS + "tcprtt", "-B"], [OURS + "tcprtt"], [OURS + "tcprtt", "-B"],
       [OURS + "tcplat", "rtt"]]


def say(text):
    print(f"{text} ({time.monotonic():.1f} s of the guest's clock)", flush=True)


class Connects:
    """Whole connections on loopback: connect(), accept(), and a close by reset."""

    what = "connection"

    def __init__(self, stack):
        self.port = stack.enter_context(lib.listener())

    def run(self, count):
        """How many there were."""
        linger = struct.pack("ii", 1, 0)
        for _ in range(count):
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                sock.connect(("127.0.0.1", self.port))
        return count


class Pings:
    """Segments of 100 bytes to and fro on loopback, one after the other."""

    what = "received segment"

    def __init__(self, stack):
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.one = stack.enter_context(socket.create_connection(server.getsockname()))
            self.two = stack.enter_context(server.accept()[0])
        for sock in (self.one, self.two):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self, count):
        before = received()
        for _ in range(count):
            self.one.send(bytes(100))
            self.two.recv(100)
            self.two.send(bytes(100))
            self.one.recv(100)
        return received() - before


class OneWay(Pings):
    """Segments of 100 bytes one way on loopback; back come acknowledgements only."""

    def run(self, count):
        before = received()
        for _ in range(count):
            self.one.send(bytes(100))
            self.two.recv(100)
        return received() - before


def received():
    with open("/proc/net/snmp", encoding="ascii") as file:
        names, values = (line.split() for line in file if line.startswith("Tcp:"))
    return int(dict(zip(names, values))["InSegs"])


# --- what it costs -------------------------------------------------------------------------------


def timed(traffic, count, peer=None):
    """Instructions for each: all of the machine in that time, and those of the tracer's process
    in that time and until it has read everything."""
    used = peer.cpu_ns() if peer else 0
    began = time.monotonic_ns()
    many = traffic.run(count)
    took = time.monotonic_ns() - began
    meanwhile = peer.cpu_ns() - used if peer else 0
    if peer:
        peer.quiet()
    after = peer.cpu_ns() - used if peer else 0
    return {"path": (took - meanwhile) / many, "process": after / many, "many": many}


def counted(traffic, count, but):
    """[program, instructions and runs for each] as the kernel's own statistics count them."""
    with lib.bpf_stats():
        before = {p.number: p for p in peers_bpf.programs(but)}
        many = traffic.run(count)
        after = peers_bpf.programs(but)
    return [[p.name, (p.run_time_ns - before[p.number].run_time_ns) / many,
             (p.run_cnt - before[p.number].run_cnt) / many]
            for p in after if p.number in before]


def cost_of(words, traffic, count):
    settle()
    others = peers_bpf.program_ids()
    with running(words) as (peer,):
        traffic.run(count // 10)
        peer.quiet()
        return {**timed(traffic, count, peer), "programs": counted(traffic, count, others)}


def settle():
    """The kernel frees what the last tracer had in its own time."""
    time.sleep(1)


def cost_of_nothing(traffic, count):
    settle()
    traffic.run(count // 10)
    return timed(traffic, count)


def cost_of_empty(traffic, count, programs):
    """Of programs that do nothing, each on the hook of one of these."""
    settle()
    others = peers_bpf.program_ids()
    with peers_bpf.empty_as(programs):
        traffic.run(count // 10)
        return {**timed(traffic, count), "programs": counted(traffic, count, others)}


def ran(words, traffic):
    """Those of its programs that this traffic runs."""
    with running(words) as (peer,), lib.bpf_stats():
        traffic.run(10)
        return [p for p in peer.programs() if p.run_cnt]


def costs(rounds, make, commands, count):
    """{command: [of each round]}; commands alternate."""
    found = {}
    with contextlib.ExitStack() as stack:
        traffic = make(stack)
        traffic.run(count)  # so that its sockets have found their pace
        twins = {"empty, as " + shown(words): ran(words, traffic)
                 for words in (commands[0], commands[-1])}
        for number in range(rounds):
            found.setdefault("no tracer", []).append(cost_of_nothing(traffic, count))
            for words in commands:
                found.setdefault(shown(words), []).append(cost_of(words, traffic, count))
            for name, programs in twins.items():
                found.setdefault(name, []).append(cost_of_empty(traffic, count, programs))
            say(f"cost of a {traffic.what}, round {number + 1} of {rounds}")
    return {"rounds": found, "count": count,
            "twins": {name: [p.name for p in programs] for name, programs in twins.items()}}


# --- starting ------------------------------------------------------------------------------------


def start_of(words):
    settle()
    with running(words) as (peer,):
        tries = earliest(peer)
        time.sleep(1)  # of the guest's clock: it is at rest
        used = peer.cpu_ns()
        time.sleep(5)
        idle = (peer.cpu_ns() - used) / 5
        rss, maps = peer.memory_kib()
        hwm = peer.status_kib("VmHWM")
        return {"ms": peer.attached_ms, "cpu_ms": peer.attached_cpu_ms, "rss": rss, "maps": maps,
                "hwm": hwm, "idle_ns": idle, "first_ms": first_seen(peer.stop()[0], tries)}


def earliest(peer):
    """{port: ms after its start} of attempts that are refused, from the moment it is attached."""
    tries = {}
    for port in range(NOBODY, NOBODY + TRIES):
        tries[port] = (time.monotonic_ns() - peer.began) / 1e6
        with socket.socket() as sock:
            sock.connect_ex(("127.0.0.1", port))
        time.sleep(0.0005)
    return tries


def first_seen(text, tries):
    """When the first one of these was made that has a row; None if there are no rows."""
    return next((ms for port, ms in tries.items() if f" {port} " in text), None)


def starts(rounds):
    commands = [*CONNECT[:3], *RTT[:1], *RTT[2:3], *RTT[4:]]
    for words in commands:
        Peer(words).stop()  # how many links it has
    found = {}
    for number in range(rounds):
        for words in commands:
            found.setdefault(shown(words), []).append(start_of(words))
        say(f"start, round {number + 1} of {rounds}")
    return found


def versions():
    said = {}
    for name in ("tcpconnlat", "tcprtt"):
        said[name] = subprocess.run([THEIRS + name, "-V"], capture_output=True, text=True,
                                    check=True).stdout.strip()
    said["tcplat"] = subprocess.run([lib.TCPLAT, "-V"], capture_output=True, text=True,
                                    check=True).stdout.strip()
    said["kernel"] = f"{platform.release()}, {platform.version()}"
    return said


def main():
    subprocess.run(["mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing"], check=True)
    """peers_guest.py ROUNDS [PART...]"""
    gc.disable()
    rounds = int(sys.argv[1])
    parts = {
        "versions": versions,
        "connect": lambda: costs(rounds, Connects, CONNECT, CONNECTS),
        "pings": lambda: costs(rounds, Pings, RTT, PINGS),
        "one way": lambda: costs(rounds, OneWay, [RTT[0], RTT[2], RTT[4]], PINGS),
        "start": lambda: starts(rounds),
        "rows": lambda: peers_cases.rows(say),
        "storm": lambda: peers_cases.storm(say),
        "lost": lambda: peers_cases.lost(say),
        "latencies": lambda: peers_latencies.latencies(say),
        "rtt": lambda: peers_rtts.cases(say),
        "options": lambda: peers_latencies.options(say),
    }
    results = {}
    for name in sys.argv[2:] or parts:
        results[name] = parts[name]()
        with open("/results/peers.json", "w", encoding="utf-8") as file:
            json.dump(results, file)
        say(f"{name}: done")


if __name__ == "__main__":
    main()
