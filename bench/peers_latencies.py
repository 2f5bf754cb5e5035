# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tracers of connects say of single attempts, and what is true; and their options."""
import contextlib
import json


import peers_cases
from peers_tool import OURS, THEIRS, ends, running, shown
from live import capture, paths, traffic

LONG = "fd77:2::1234:5678:9abc:def1"
HOSTILE = b"a\n1 b\x1b[31mc"

T, O = THEIRS + "tcpconnlat", OURS + "tcpconnlat"
VIEW = [OURS + "tcplat", "connect", "--json"]
TABLE = [OURS + "tcplat", "connect"]


def case(name, truth, *said):
    """said: (command, what it says, whether that is true), first theirs, then ours."""
    return {"case": name, "truth": truth,
            "said": [{"command": shown(words), "says": says, "right": bool(right)}
                     for words, says, right in said]}


def ms(value):
    return f"{value:.2f} ms"


class Session:
    """Both tables and the view over the same attempts, and a capture of them."""

    def __init__(self, path, stack):
        self.path = path
        self.words = [[T, "-L"], [O, "-L"], TABLE, VIEW]
        self.peers = stack.enter_context(running(*self.words))
        self.wire = stack.enter_context(capture.Capture(path.client, path.client_dev))
        self.tables = self.events = self.shakes = None

    def end(self):
        self.shakes = capture.handshakes(self.wire.stop())
        for peer in self.peers:
            peer.quiet()
        *self.tables, events = [peer.stop()[0] for peer in self.peers]
        self.events = [json.loads(line) for line in events.splitlines()]

    def true_ms(self, result):
        flow = result.laddr, result.lport, result.raddr, result.rport
        return next(shake.latency for key, shake in self.shakes.items()
                    if key[1] == flow[1] and key[3] == flow[3]) * 1000

    def rows(self, result):
        """The latency that each table shows of an attempt, None if it has no row of it."""
        found = []
        for text in self.tables[:2]:
            rows = [row for row in peers_cases.of_pids(text, [result.pid])
                    if int(row[-4]) in (0, result.lport)]
            found.append(float(rows[-1][-1]) if rows else None)
        return found

    def event(self, result):
        return next((e for e in self.events if e["event"] == "connect" and e["pid"] == result.pid
                     and e["lport"] == result.lport), None)

    def compare(self, name, result, within=1.0, truth="{} (wire)"):
        """A case of what was answered: the time that each shows, against the wire's."""
        true = self.true_ms(result)
        said = []
        for words, row in zip(self.words[:2], self.rows(result)):
            said.append((words, "no row" if row is None else ms(row),
                         row is not None and abs(row - true) <= within))
        event = self.event(result)
        said.append((VIEW, f"{event['outcome']}, {event['latency_us'] / 1000:.2f} ms, "
                           f"SYNs sent again: {event['syn_retransmits']}",
                     abs(event["latency_us"] / 1000 - true) <= within))
        return case(name, truth.format(ms(true)), *said)


def single_attempts(path, stack):
    # The first connect() after a boot takes 6 ms to fill a table of random numbers.
    traffic.connect_once(path.client, path.server_v4, 9)
    session = Session(path, stack)
    with traffic.Server(path.server, path.server_v4) as server:
        plain = traffic.connect_once(path.client, server.addr, server.port, mode="epoll")
        path.control("drop-syn 1")
        again = traffic.connect_once(path.client, server.addr, server.port, mode="epoll")
        path.control("drop-syn 0")
        hostile = traffic.connect_once(path.client, server.addr, server.port, comm=HOSTILE)
    refused = traffic.connect_once(path.client, path.server_v4, 9, mode="epoll")
    fetched, deferred = traffic.connect_fastopen(path, idle_ms=250)
    path.client.ip("addr", "add", f"{LONG}/64", "dev", path.client_dev, "nodad")
    with traffic.Server(path.server, path.server_v6) as server:
        wide = traffic.connect_once(path.client, server.addr, server.port, source=(LONG, 7777))
    session.end()
    # the blocking client cannot know its port after an error, the others do
    yield session.compare("established over 20 ms", plain)
    yield refusal(session, refused)
    yield session.compare("a SYN was lost, the second one answered", again, truth="{} (wire)")
    yield session.compare("TCP_FASTOPEN_CONNECT, no cookie yet", fetched)
    yield session.compare("the same with a cookie: the program sends 250 ms after connect()",
                          deferred, truth="{} from the SYN (wire)")
    yield hostile_name(session, hostile)
    yield columns(session, wide)


def refusal(session, result):
    one = session.compare("refused (RST)", result)
    one["truth"] += ", a failure"
    for said in one["said"][:2]:
        said["says"] += ", as one that succeeded"
        said["right"] = False
    return one


def printed(session, result):
    """(command, output, its lines about this attempt) of each table."""
    for words, text in zip(session.words, session.tables):
        lines = text.split("\n")
        yield words, text, [line for line in lines if line.split()[:1] == [str(result.pid)]]


def hostile_name(session, result):
    said = []
    for words, text, lines in printed(session, result):
        raw = "\x1b" in text
        whole = len(lines) == 1 and f" {result.rport} " in lines[0]
        said.append((words, f"{'raw control characters' if raw else 'escaped'}, "
                            f"{'one line' if whole else 'a line broken in two'}",
                     whole and not raw))
    return case("a process named `a\\n1 b\\x1b[31mc`", "one attempt: one line, nothing that the "
                "terminal obeys", *said)


def columns(session, result):
    said = []
    for words, text, (line,) in printed(session, result):
        above = text[:text.index(line)].split("\n")
        header = next(one for one in reversed(above) if "PORT " in one)
        begins = line.rindex(f" {result.rport} ") + 1
        by = min((begins - header.rindex("PORT ") + 1,
                  begins + len(str(result.rport)) - header.rindex("PORT ") - 4), key=abs)
        said.append((words, f"address {'in full' if LONG in line else 'cut'}, the remote port "
                            f"{by:+d} columns from its header", LONG in line and not by))
    return case(f"IPv6 from {LONG}: the columns", "address in full, columns below their header",
                *said)


# --- single options ------------------------------------------------------------------------------


def of_thread(path):
    """-p of a process whose thread connects."""
    said = []
    with traffic.Server(path.server, path.server_v4) as server:
        for words in ([T, "-p"], [O, "-p"]):
            with traffic.Client(path.client, server.addr, server.port, mode="thread") as client:
                with running([*words, str(client.pid)]) as (peer,):
                    client.go().result()
                    peer.quiet()
                    rows = len(peer.stop()[0].splitlines()) - 1
            said.append(([*words, "PID"], f"{rows} row{'' if rows == 1 else 's'}", rows == 1))
    return case("`-p PID`, and a thread of that process connects", "1 attempt", *said)


def clock(path):
    """-t, with two attempts that are some way apart."""
    said = []
    with traffic.Server(path.server, path.server_v4) as server, \
            running([T, "-t"], [O, "-t"]) as peers:
        first, last = (traffic.connect_once(path.client, server.addr, server.port, mode="epoll")
                       for _ in range(2))
        apart = last.wall + last.latency_us / 1e6 - first.wall - first.latency_us / 1e6
        for peer in peers:
            peer.quiet()
            rows = [line.split() for line in peer.stop()[0].splitlines()[1:]]
            times = [float(row[0]) for row in rows]
            took = times[-1] - times[0]
            said.append((peer.words, f"TIME(s) {took:.3f} later", abs(took - apart) < 0.01))
    return case("`-t`: two attempts some time apart", f"{apart:.3f} s (the programs' clocks)",
                *said)


def least(path):
    said = []
    with traffic.Server(path.server, path.server_v4) as far, \
            traffic.Server(path.client, "127.0.0.1") as near, \
            running([T, "15"], [O, "15"]) as peers:
        traffic.connect_once(path.client, far.addr, far.port)
        traffic.connect_once(path.client, near.addr, near.port)
        for peer in peers:
            peer.quiet()
            rows = peer.stop()[0].splitlines()[1:]
            said.append((peer.words, f"{len(rows)} row",
                         len(rows) == 1 and far.addr in rows[0]))
    return case("`15` (ms): one attempt took 20 ms, one 0.1", "1 row", *said)


def latencies(say):
    found = []
    with paths.delayline() as path:
        with contextlib.ExitStack() as stack:
            found += single_attempts(path, stack)
        say("latencies: single attempts")
        for one in (of_thread, clock, least):
            found.append(one(path))
        say("latencies: options")
    return found


# --- what the command line takes -----------------------------------------------------------------

WRONG = [("tcpconnlat", ["-p", "abc"]), ("tcpconnlat", ["abc"]), ("tcpconnlat", ["-1"]),
         ("tcpconnlat", ["1", "2"]),
         ("tcprtt", ["-p", "abc"]), ("tcprtt", ["-A", "abc"]), ("tcprtt", ["-d", "abc"]),
         ("tcprtt", ["-i", "0"]), ("tcprtt", ["-b", "-B"])]
INFORMATION = [("tcpconnlat", ["-?"]), ("tcpconnlat", ["--usage"]), ("tcpconnlat", ["-V"]),
               ("tcprtt", ["-?"]), ("tcprtt", ["--usage"]), ("tcprtt", ["-V"])]
TRACING = [("tcpconnlat", ["-v"]), ("tcprtt", ["-v"]), ("tcprtt", ["--millisecond"])]
TIMED = [("tcprtt", ["-d", "3"]), ("tcprtt", ["-i", "1", "-d", "3"])]


def outcome(words, seconds):
    """When it ended by itself: status and first line; if it traced until Ctrl-C, so it is said."""
    out, err, status, took = ends(words, seconds)
    first = next((line for line in (err + "\n" + out).splitlines() if line.strip()), "")
    return {"command": shown(words), "status": status, "took": took, "first": first[:90],
            "lines": len(err.splitlines()), "histograms": out.count("distribution")}


def options(say):
    """What each says to a command line: {kind: [(theirs, ours)]}"""
    found = {}
    for kind, lines, seconds in (("wrong", WRONG, 2), ("information", INFORMATION, 2),
                                 ("tracing", TRACING, 2), ("timed", TIMED, 10)):
        found[kind] = [[outcome([place + name, *words], seconds) for place in (THEIRS, OURS)]
                       for name, words in lines]
        say(f"options: {kind}")
    return found
