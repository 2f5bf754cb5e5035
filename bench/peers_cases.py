# SPDX-License-Identifier: GPL-2.0-or-later
"""Connects of each kind, and how many rows of each tracer they make; all tracers at once."""
import contextlib
import json
import signal

import lib
from peers_tool import OURS, THEIRS, running, until
from live import paths, traffic
from live.process import Child

EACH = 3
IN_FLIGHT = 10_000
HELD = 2_000

TRACERS = {
    "theirs": [THEIRS + "tcpconnlat", "-L"],
    "ours": [OURS + "tcpconnlat", "-L"],
    "all": [OURS + "tcpconnlat", "-L", "--all-outcomes"],
    "view": [OURS + "tcplat", "connect", "--json"],
    "small": [OURS + "tcplat", "connect", "--json", "--buffer", "16k"],
}


def several(ns, addr, port, count=EACH, **options):
    """Attempts one after the other by one process: (pid, how each ended by its own account)."""
    with traffic.Client(ns, addr, port, repeat=count, **options) as client:
        client.go()
        return client.pid, [client.result() for _ in range(count)]


@contextlib.contextmanager
def routes(path, kind):
    nets = ("192.0.2.0/24", "2001:db8:2::/64")
    for net in nets:
        path.router.ip("route", "add", kind, net)
    try:
        yield "192.0.2.1", "2001:db8:2::1"
    finally:
        for net in nets:
            path.router.ip("route", "del", kind, net)


def answered(path):
    for family in (4, 6):
        with traffic.Server(path.server, path.server_addr(family)) as server:
            yield f"established, IPv{family}", several(path.client, server.addr, server.port)
            port = server.port
        yield f"refused, IPv{family}", several(path.client, path.server_addr(family), port)


def unanswered(path):
    tries = [(6, traffic.TCP_SYNCNT, 1)]
    with routes(path, "blackhole") as addresses:
        for family, addr in zip((4, 6), addresses):
            yield (f"timed out, IPv{family}",
                   several(path.client, addr, 80, sockopts=tries))
        yield "given up: closed while waiting", several(
            path.client, addresses[0], 80, mode="epoll", abort="close", abort_after_ms=50)
        killed = [traffic.abort(path.client, addresses[0], 80, "kill", mode="blocking")
                  for _ in range(EACH)]
        yield "given up: killed while waiting", ([one.pid for one in killed], killed)


def refused_on_the_way(path):
    with routes(path, "unreachable") as (v4, v6):
        yield "ICMP: host unreachable, IPv4", several(path.client, v4, 80)
        yield "ICMP: no route, IPv6", several(path.client, v6, 80)
    yield "ICMP: network unreachable, IPv4", several(path.client, "203.0.113.1", 80)


def refused_here(path):
    with traffic.Server(path.server, path.server_v4, mode="keep") as server:
        made = traffic.exhaust_ports(path.client, server.addr, server.port, extra=EACH)
        yield "no local port", (made[0].pid, made[2:], {one.lport for one in made[:2]})
    for family, net, addr in ((4, "198.51.100.0/24", "198.51.100.1"),
                              (6, "2001:db8:9::/64", "2001:db8:9::1")):
        path.client.ip(f"-{family}", "route", "add", "unreachable", net)
        yield f"no route on this host, IPv{family}", several(path.client, addr, 80)


def of_pids(text, pids, not_from=()):
    """The rows of a table with -L that are of these processes."""
    rows = [line.split() for line in text.splitlines()]
    return [row for row in rows if row[:1] and row[0].isdigit() and int(row[0]) in pids
            and int(row[-4]) not in not_from]


def rows(say):
    """[{kind, made, errors, rows of each tracer, outcomes of the view}]"""
    found = []
    names = ["theirs", "ours", "all", "view"]
    with paths.routed() as path, running(*(TRACERS[name] for name in names)) as peers:
        for kinds in (answered, unanswered, refused_on_the_way, refused_here):
            for kind, (pids, results, *ports) in kinds(path):
                found.append((kind, pids if isinstance(pids, list) else [pids], results,
                              ports[0] if ports else ()))
            say(f"rows: {kinds.__name__}")
        for peer in peers:
            peer.quiet()
        said = {name: peer.stop()[0] for name, peer in zip(names, peers)}
    events = [json.loads(line) for line in said.pop("view").splitlines()]
    table = []
    for kind, pids, results, ports in found:
        views = [e["outcome"] for e in events if e["event"] == "connect" and e["pid"] in pids
                 and e["lport"] not in ports]
        table.append({"kind": kind, "made": len(results),
                      "errors": sorted({str(one.error) for one in results}),
                      "rows": {**{name: len(of_pids(text, pids, ports))
                                  for name, text in said.items()}, "view": len(views)},
                      "outcomes": sorted(set(views))})
    return table


# --- many at once --------------------------------------------------------------------------------


def opened(ns):
    """How many sockets of a namespace have sent a SYN."""
    with ns.entered(), open("/proc/thread-self/net/snmp", encoding="ascii") as file:
        names, values = (line.split() for line in file if line.startswith("Tcp:"))
    return int(dict(zip(names, values))["ActiveOpens"])


def account(peers, names, comm):
    """What each has printed of the attempts of this command, and said besides."""
    done = {}
    for name, peer in zip(names, peers):
        peer.quiet()
        out, err, status = peer.stop()
        printed = sum(comm in line for line in out.splitlines())
        last = json.loads(out.splitlines()[-1]) if "--json" in peer.words else None
        done[name] = {"rows": printed, "said": said_of(out, err, comm), "status": status,
                      "lost": last and sum(last["lost"].values())}
    return done


def said_of(out, err, comm):
    """All but the rows, the header and the summary."""
    lines = [line for line in out.splitlines()[1:] if comm not in line and '"summary"' not in line]
    return "; ".join([*err.split("\n"), *lines]).strip("; ")[-300:]


def storm(say):
    """So many in SYN_SENT at once; then their SYNs are answered."""
    names = ["theirs", "ours", "view"]
    with paths.veth() as path, traffic.StormServer(path.server, path.server_v4) as server:
        traffic.connect_once(path.client, path.server_v4, server.port)  # for its link address
        path.server.ip("route", "add", "blackhole", f"{path.client_v4}/32")
        with running(*(TRACERS[name] for name in names)) as peers:
            before = opened(path.client)
            with Child(["prlimit", f"--nofile={IN_FLIGHT + 100}", lib.BUILD + "/connstorm",
                        "--to", path.server_v4, "--port", server.port, "--count", IN_FLIGHT,
                        "--parallel", IN_FLIGHT, "--reset-close"], path.client) as child:
                until(lambda: opened(path.client) - before >= IN_FLIGHT, "all in flight", step=0.01)
                path.server.ip("route", "del", "blackhole", f"{path.client_v4}/32")
                made = json.loads(child.line(60))
            say(f"storm: {made}")
            return {"in_flight": IN_FLIGHT, "made": made, **account(peers, names, "connstorm")}


def stopped(names, path, port, count):
    """The tracers, each kept from reading while so many connections are made: (tracers, made)."""
    stack = contextlib.ExitStack()
    peers = stack.enter_context(running(*(TRACERS[name] for name in names)))
    for peer in peers:
        peer.p.send_signal(signal.SIGSTOP)
    made = traffic.storm(path.client, "127.0.0.1", port, count, reset_close=True)["made"]
    return stack, peers, made


def lost(say):
    """The tracers do not get to read for a while; and what comes just before they are ended."""
    with paths.loopback() as path, traffic.StormServer(path.server, "127.0.0.1") as server:
        names = ["theirs", "ours", "view", "small"]
        stack, peers, made = stopped(names, path, server.port, HELD)
        with stack:
            for peer in peers:
                peer.p.send_signal(signal.SIGCONT)
            held = {"made": made, **account(peers, names, "connstorm")}
        names = ["theirs", "ours", "view"]
        stack, peers, made = stopped(names, path, server.port, 100)
        with stack:
            for peer in peers:
                peer.p.send_signal(signal.SIGINT)
                peer.p.send_signal(signal.SIGCONT)
                peer.p.wait(60)
            pending = {"made": made}
            for name, peer in zip(names, peers):
                out, err, status = peer.stop()
                pending[name] = {"rows": sum("connstorm" in line for line in out.splitlines()),
                                 "said": said_of(out, err, "connstorm"), "status": status}
        say("lost")
        return {"held": held, "pending": pending}
