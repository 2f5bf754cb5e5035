# SPDX-License-Identifier: GPL-2.0-or-later
"""Joins what all three measurements say with what captures at both ends saw.

By network namespace, addresses and ports; and by time where it can be two of the same. Each join
returns its problems as a list of texts, so that a test can also ask for one.
"""

import bisect
import collections
import dataclasses
import functools
import math
import statistics
import typing

from . import hidden, rtts
from .capture import ACK, RST, SYN, Packet, handshakes

# us; how far the tracer's and the capture's time of one event may be apart and still be the same
# event: enough for a process that has to wait for its turn
SAME_EVENT_US = 50_000

MANY = 100  # samples

OUTCOMES = {"SYN-ACK": "established", "RST": "refused", None: "timed_out"}


@dataclasses.dataclass
class End:
    """A device with its capture: of a loopback, both ends of a connection."""

    addresses: frozenset
    frames: list = dataclasses.field(default_factory=list)
    coalesced: int = 0  # see rtts.coalesced()

    def connections(self):
        """{flow of what this end sends: [the frames of each connection]}

        A port may be used again; each SYN with another number begins a connection.
        """
        found, syns = collections.defaultdict(list), {}
        for frame in self.frames:
            flows = frame.flow, frame.back
            if frame.flags & (SYN | ACK) == SYN and syns.get(flows[0]) != frame.seq:
                syns[flows[0]] = frame.seq
                for flow in flows:
                    found[flow].append([])
            for flow in flows:
                if found[flow]:
                    found[flow][-1].append(frame)
        return {flow: those for flow, those in found.items() if flow[0] in self.addresses}


@dataclasses.dataclass
class Seen:
    ends: dict  # {inode of the network namespace: End}
    kinds: dict  # {port of the server: (name of the path, Kind)}
    rows: dict = dataclasses.field(default_factory=dict)  # {"connect": [row, …], …}
    summaries: dict = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def connections(self):
        """{(namespace, flow): [the frames of each]}"""
        return {(inode, flow): those for inode, end in self.ends.items()
                for flow, those in end.connections().items()}

    def each(self):
        """(key, frames) of each socket that has been on a wire."""
        for where, those in self.connections.items():
            for number, frames in enumerate(those):
                yield (*where, number), frames

    def key(self, row):
        """Of the socket that a row is about: (namespace, flow of what it sends, which of them)."""
        where = row["netns"], (row["laddr"], row["lport"], row["raddr"], row["rport"])
        begun = [frames[0].time for frames in self.connections.get(where, ())]
        return (*where, max(0, bisect.bisect(begun, rtts.row_time(row)) - 1))

    def kind(self, flow):
        """((path, Kind), direction) of what goes from a client to a server, or back."""
        to_server = flow[3] in self.kinds
        return self.kinds[flow[3] if to_server else flow[1]], "up" if to_server else "down"


@dataclasses.dataclass
class Line:
    """Of the table: one kind of traffic in one direction."""

    handshakes: int = 0
    records: int = 0
    aborted: int = 0
    latencies: list = dataclasses.field(default_factory=list)  # differences, us
    samples: list = dataclasses.field(default_factory=list)  # of the wire, us
    rtts: list = dataclasses.field(default_factory=list)  # ours, us
    longer: list = dataclasses.field(default_factory=list)  # ours than the same of the wire, us
    hidden: typing.Any = dataclasses.field(default_factory=collections.Counter)
    delivered: int = 0
    picked: int = 0
    unread: int = 0  # bytes on sockets that were closed with them
    left: int = 0  # such sockets

    def percentiles(self):
        """[(share, the wire's, ours)] of round trips."""
        if not self.rtts or not self.samples:
            return []
        return [(share, rtts.quantile(self.samples, share), rtts.quantile(self.rtts, share))
                for share in (0.5, 0.9, 0.99)]


def judged(lines):
    """[(what, Line)] to compare percentiles of round trips by: each kind and direction that has
    enough samples for a percentile 99 to be one, and of each path all others together."""
    found, others = [], collections.defaultdict(Line)
    for ((path, kind), direction), line in lines.items():
        if len(line.samples) >= MANY:
            found.append(((path, kind.name, direction), line))
        else:
            others[path].samples += line.samples
            others[path].rtts += line.rtts
    return found + [((path, "others"), line) for path, line in others.items()]


# --- handshakes ----------------------------------------------------------------------------------


def _packets(frames):
    return [Packet(f.time, f.flow[0], f.flow[2], f.flow[1], f.flow[3], f.flags, f.seq, f.ack,
                   f.len) for f in frames]


def shakes(seen):
    """{key: Handshake} of all attempts, at the end that made them."""
    found = {key: handshakes(_packets(frames)).get(key[1]) for key, frames in seen.each()}
    return {key: shake for key, shake in found.items() if shake}


def _check_record(row, shake, kind):
    """What is wrong with one record, if anything."""
    ended = rtts.row_time(row)
    answer = shake.answer
    if row["outcome"] == "aborted" and kind.leaves:
        # the program did not wait for what came later, if it came
        if answer is None or shake.answered > ended:
            return None
    if row["outcome"] != OUTCOMES[answer] or answer != kind.answer:
        return f"{row['outcome']}, but the answer was {answer}"
    if row["syn_retransmits"] != shake.syns - 1:
        return f"{row['syn_retransmits']} SYNs sent again, but there were {shake.syns} in all"
    began = ended - row["latency_us"] / 1e6
    for what, ours, wire in (("began", began, shake.first_syn), ("ended", ended, shake.answered)):
        if wire is not None and abs(ours - wire) * 1e6 > SAME_EVENT_US:
            return f"{what} {(ours - wire) * 1e6:.0f} us after what was on the wire"
    return None


def join_connects(seen, rows, lines):
    """Each handshake has its record, and no other has. The problems."""
    problems = []
    left = shakes(seen)
    for _, flow, _ in left:
        lines[seen.kind(flow)].handshakes += 1
    for row in rows:
        shake = left.pop(seen.key(row), None)
        if shake is None:
            problems.append(f"no handshake, or a second record: {row}")
            continue
        (_, kind), _ = where = seen.kind(seen.key(row)[1])
        line = lines[where]
        line.records += 1
        line.aborted += row["outcome"] == "aborted"
        if wrong := _check_record(row, shake, kind):
            problems.append(f"{wrong}: {row}, {shake}")
        elif shake.answer and row["outcome"] != "aborted":
            line.latencies.append(row["latency_us"] - shake.latency * 1e6)
    problems += [f"no record: {where}, {shake}" for where, shake in left.items()]
    return problems


# --- round trips ---------------------------------------------------------------------------------


def _open(frames):
    """Whether both ends have got the other's SYN: who has given up before sends a reset only."""
    return len({f.flow for f in frames if f.flags & (ACK | RST) == ACK}) == 2


def _join_sender(rows, frames, flow, line):
    """One end of one connection. (problems, samples that nothing explains)"""
    # What a reset acknowledges is no sample: TCP is done before it looks at that.
    frames = [frame for frame in frames if not frame.flags & RST]
    sender = rtts.Sender(frames, flow)
    compared = rtts.compare(rows, sender.samples)
    without = hidden.why(frames, flow, compared)
    fewer = without.pop(None, [])
    line.rtts += [row["latency_us"] for row in rows]
    line.longer += compared.differences
    line.samples += [sample.rtt for _, sample in compared.pairs] + [one.rtt for one in fewer]
    line.hidden.update({why: len(samples) for why, samples in without.items()})
    return [f"no acknowledgement for {row}" for row in compared.extra], len(fewer)


def join_rtts(seen, rows, lines):
    """Each row is a sample of the wire, and each sample has a row unless it is known why not."""
    problems, fewer = [], collections.Counter()
    of_socket = collections.defaultdict(list)
    for row in rows:
        of_socket[seen.key(row)].append(row)
    for key, frames in seen.each():
        if _open(frames):
            inode, flow, _ = key
            more, unexplained = _join_sender(of_socket.pop(key, []), frames, flow,
                                             lines[seen.kind(flow)])
            problems += more
            fewer[inode] += unexplained
    for inode, count in fewer.items():
        may = seen.ends[inode].coalesced + seen.summaries["rtt"]["lost"]["reentered"]
        if count > may:
            problems.append(f"{count} samples have no row, {may} may")
    problems += [f"no connection for {row}" for those in of_socket.values() for row in those]
    return problems


# --- bytes ---------------------------------------------------------------------------------------


def delivered(frames, flow):
    """How many bytes of this flow came with no hole before them."""
    first = next((f.seq + 1 for f in frames if f.flow == flow and f.flags & SYN), None)
    reach = 0
    for begin, end in sorted((begin, begin + f.len) for f in frames if f.flow == flow and f.len
                             for begin in [(f.seq - first) & 0xFFFFFFFF]):
        if begin > reach:
            break
        reach = max(reach, end)
    return reach


def _may_leave(frames, kind):
    """How many bytes an end may have left unread: it had closed, or the other end had reset the
    connection. There is a reset in both cases."""
    if not kind.leaves or not any(frame.flags & RST for frame in frames):
        return 0
    return math.inf if kind.unread is None else kind.unread


def join_bytes(seen, rows, lines):
    """What was picked up is what came, but for connections that ended with a reset."""
    problems = []
    picked = collections.Counter()
    for row in rows:
        picked[seen.key(row)] += row["bytes"]
    for key, frames in seen.each():
        back = key[1][2:] + key[1][:2]
        (path, kind), _ = where = seen.kind(back)
        line, came, took = lines[where], delivered(frames, back), picked.pop(key, 0)
        line.delivered += came
        line.picked += took
        unread = came - took
        if 0 < unread <= _may_leave(frames, kind):
            line.left += 1
            line.unread += unread
        elif unread:
            problems.append(f"{path}, {kind.name}, {key[1]}: {came} bytes came, {took} were "
                            "picked up")
    problems += [f"no connection for {count} bytes: {where}" for where, count in picked.items()]
    problems += [f"{line.left} connections with unread data: {path} {kind.name}"
                 for ((path, kind), _), line in lines.items() if line.left > kind.leaves]
    return problems


# --- all of it -----------------------------------------------------------------------------------

JOINS = {"connect": join_connects, "rtt": join_rtts, "pickup": join_bytes}


def table():
    return collections.defaultdict(Line)


def join(seen):
    """({((path, Kind), direction): Line}, {event: problems})"""
    lines = table()
    return lines, {event: one(seen, seen.rows[event], lines) for event, one in JOINS.items()}


def only(seen, name, path):
    """Of one kind of traffic on one path, as if nothing could have been lost anywhere."""
    (port,) = (port for port, (where, kind) in seen.kinds.items()
               if (where, kind.name) == (path, name))
    ends = {inode: End(end.addresses, [f for f in end.frames if port in (f.flow[1], f.flow[3])])
            for inode, end in seen.ends.items()}
    rows = {event: [row for row in those if port in (row["lport"], row["rport"])]
            for event, those in seen.rows.items()}
    return Seen(ends, seen.kinds, rows, {"rtt": {"lost": {"reentered": 0}}})


def spread(values):
    """(median, percentile 99) of the differences, whichever sign."""
    size = sorted(map(abs, values))
    return (statistics.median(size), rtts.quantile(size, 0.99)) if size else (0.0, 0.0)


def _row(path, name, direction, line):
    median, p99 = spread(line.latencies)
    connects = (f"{line.handshakes:5} {line.records:5} {line.aborted:7} {median:6.1f} {p99:6.1f}"
                if line.handshakes else "")
    round_trips = " ".join(f"{ours - wire:+7.1f}" for _, wire, ours in line.percentiles())
    without = sum(line.hidden.values())
    return (f"  {path:10} {name:16} {direction:4} {connects:33} {len(line.samples) + without:6} "
            f"{without:6} {len(line.rtts):6} {round_trips:23} {line.delivered:9} {line.picked:9} "
            f"{line.left:4} {line.unread:6}")


HEADING = (
    f"  {'':32} {'connects':19} {'diff., us':>13} {'round trips':>20} {'diff., us':>23} "
    f"{'bytes':>19} {'unread':>11}\n"
    f"  {'path':10} {'traffic':16} {'':4} {'wire':>5} {'ours':>5} {'aborted':>7} {'p50':>6} "
    f"{'p99':>6} {'wire':>6} {'hidden':>6} {'ours':>6} {'p50':>7} {'p90':>7} {'p99':>7} "
    f"{'came':>9} {'picked up':>9} {'on':>4} {'bytes':>6}")


def text(lines):
    order = sorted((where for where, line in lines.items() if line.handshakes or line.samples),
                   key=lambda where: (where[0][0], where[0][1].name, where[1] == "down"))
    return "\n".join([HEADING, *(_row(path, kind.name, direction, lines[(path, kind), direction])
                                 for (path, kind), direction in order)])
