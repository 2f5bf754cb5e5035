# SPDX-License-Identifier: GPL-2.0-or-later
"""Round-trip times as the packets themselves tell them, and how a tracer's rows compare.

Truth is made of a capture at the sending end: each acknowledgement that acknowledges something
new, and what it acknowledges: when that had been sent, and whether more than once.
"""

import collections
import dataclasses
import datetime
import statistics
import subprocess
import tempfile
import typing

from .capture import FIN, SYN, ACK, Capture
from .tool import Tracer

_FIELDS = (
    "frame.time_epoch ip.src ip.dst ipv6.src ipv6.dst tcp.srcport tcp.dstport tcp.flags "
    "tcp.seq_raw tcp.ack_raw tcp.len tcp.options.sack_le tcp.options.sack_re "
    "tcp.options.sack_perm tcp.analysis.ack_rtt"
).split()

_EPOCH = datetime.datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclasses.dataclass(frozen=True)
class Frame:
    time: float
    flow: tuple  # src, sport, dst, dport
    flags: int
    seq: int
    ack: int
    len: int
    sacks: tuple  # (begin, end) each; a duplicate that was reported is none of them
    sack_ok: bool
    ack_rtt: typing.Optional[float]  # tshark's own opinion

    @property
    def back(self):
        return self.flow[2:] + self.flow[:2]

    @property
    def length(self):
        """In sequence numbers."""
        return self.len + bool(self.flags & SYN) + bool(self.flags & FIN)


def _frame(line):
    (time, src4, dst4, src6, dst6, sport, dport, flags, seq, ack, length, begins, ends, sack_ok,
     ack_rtt) = line.split("\t")
    sacks = zip(begins.split(",") if begins else (), ends.split(",") if ends else ())
    return Frame(float(time), (src4 or src6, int(sport), dst4 or dst6, int(dport)),
                 int(flags, 0), int(seq), int(ack), int(length),
                 tuple((int(begin), int(end)) for begin, end in sacks), bool(sack_ok),
                 float(ack_rtt) if ack_rtt else None)


class Wire(Capture):
    """A capture whose packets are Frames."""

    def _dissect(self):
        with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
            file.write(self._data)
            file.flush()
            argv = ["tshark", "-n", "-r", file.name, "-T", "fields", "-Y", "tcp",
                    "-o", "tcp.relative_sequence_numbers:false"]
            for field in _FIELDS:
                argv += ["-e", field]
            done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
        return [_frame(line) for line in done.stdout.splitlines()]


# --- what the wire says --------------------------------------------------------------------------


class Sample(typing.NamedTuple):
    at: float  # when the acknowledgement came, seconds since the epoch
    rtt: float  # us
    end: int  # of what it measured, counted from the SYN
    doubtful: bool  # something at or behind that had been sent again by then
    recovering: bool  # not all that had been sent again was acknowledged before this
    sure: bool  # False: a segment that was sent again
    handshake: bool
    closing: bool  # after its own FIN had left: tcp_probe tells of no packet any more
    alike: bool  # of an older segment than before, and as long: not to be told from the same again


class _Segment:
    def __init__(self, begin, end, time):
        self.begin, self.end, self.time = begin, end, time
        self.last = time  # when it was sent again
        self.again = self.sacked = False


class Sender:
    """One end of a connection as seen on its own device: what it sent, what came back."""

    def __init__(self, frames, flow, sack=None):
        """sack: whether it was agreed on, where the capture has no SYNs."""
        self.flow = flow
        self.samples = []  # of acknowledgements of segments that were sent once
        self.refused = []  # of others: a kernel that counts one of these is wrong
        self.retransmitted = 0  # segments
        self._frames = [f for f in frames if f.flow == flow or f.back == flow]
        self._out = []  # in order of sequence, not acknowledged
        self._first = next(f.seq for f in self._frames if f.flow == flow)
        self._reach = self._again = self._una = 0
        self._newest = self._before = 0
        self._fin = False
        syns = [f for f in self._frames if f.flags & SYN]
        self.sack = sack
        if sack is None:
            self.sack = {f.flow for f in syns if f.sack_ok} == {flow, flow[2:] + flow[:2]}
        for frame in self._frames:
            if frame.flow == flow:
                self._sent(frame)
            elif frame.flags & ACK:
                self._acknowledged(frame)

    def _relative(self, seq):
        return (seq - self._first) & 0xFFFFFFFF

    def _sent(self, frame):
        if not frame.length:
            return
        begin = self._relative(frame.seq)
        if begin >= 1 << 31:  # a probe of the byte before the first
            return
        end = begin + frame.length
        self._fin |= bool(frame.flags & FIN)
        if begin < self._reach:
            self.retransmitted += 1
            self._again = max(self._again, min(end, self._reach))
            for segment in self._out:
                if segment.begin < end and begin < segment.end:
                    segment.again = True
                    segment.last = frame.time
        if end > self._reach:
            self._out.append(_Segment(max(begin, self._reach), end, frame.time))
            self._reach = end

    def _acknowledged(self, frame):
        ack = self._relative(frame.ack)
        whole = [s for s in self._out if s.end <= ack]
        cut = [s for s in self._out if s.begin < ack < s.end]
        new = [s for s in whole + cut if not s.sacked]
        blocks = [(self._relative(begin), self._relative(end)) for begin, end in frame.sacks]
        sacked = [s for s in self._out if s.begin >= ack and not s.sacked and any(
            begin <= s.begin and s.end <= end for begin, end in blocks)]
        if new or sacked:
            self._note(frame, new, sacked)
        for segment in sacked:
            segment.sacked = True
        for segment in cut:
            segment.begin = ack
        self._out = [s for s in self._out if s.end > ack]
        self._una = max(self._una, ack) if ack <= self._reach else self._una

    def _note(self, frame, new, sacked):
        if self.sack:
            segment = self._measured(frame, sacked + new)
            sure = not segment.again
        else:  # the estimator's own input: the oldest one, and nothing if one of them went twice
            if not new:
                return
            segment = new[0]
            sure = not any(s.again for s in new)
        rtt = (frame.time - segment.time) * 1e6
        alike = segment.end <= self._newest and abs(rtt - self._before) < 20
        sample = Sample(frame.time, rtt, segment.end, segment.end <= self._again,
                        self._una < self._again, sure, segment.end == 1, self._fin, alike)
        self._newest, self._before = max(self._newest, segment.end), rtt
        (self.samples if sure else self.refused).append(sample)

    def _measured(self, frame, segments):
        """As the kernel goes over them, first what was SACKed: the last one, but for those that
        were sent again too shortly ago to be what is acknowledged (tcp_rack_advance())."""
        least = min((sample.rtt for sample in self.samples), default=0)
        for segment in reversed(segments):
            if not segment.again or (frame.time - segment.last) * 1e6 >= least:
                return segment
        return segments[-1]


def of_tshark(frames, flow):
    """(time, us) of each frame in which tshark sees a segment of this flow acknowledged."""
    return [(f.time, f.ack_rtt * 1e6) for f in frames if f.back == flow and f.ack_rtt is not None]


# --- what the tracer says ------------------------------------------------------------------------


def row_time(row):
    """Seconds since the epoch."""
    return (datetime.datetime.fromisoformat(row["time"].replace("Z", "+00:00"))
            - _EPOCH).total_seconds()


def rows_of(rows, flow):
    """Those of the socket that sends this flow."""
    return [row for row in rows
            if (row["laddr"], row["lport"], row["raddr"], row["rport"]) == flow]


@dataclasses.dataclass
class Comparison:
    pairs: list  # (row, sample)
    extra: list  # rows that no acknowledgement explains
    missing: list  # samples of the wire that no row shows

    @property
    def differences(self):
        """us; how much longer a row says it took."""
        return [row["latency_us"] - sample.rtt for row, sample in self.pairs]

    @property
    def late(self):
        """us; how much later than its acknowledgement a row says it was."""
        return [(row_time(row) - sample.at) * 1e6 for row, sample in self.pairs]


# What a row and an acknowledgement may be apart and still be the same. Between the stamps of a tap
# and those of TCP lies the way through the stack, and whatever interrupts it there: on a busy
# machine that is a turn of another task.
APART_US = 4000


def compare(rows, samples, apart=APART_US, timed=True):
    """Pairs rows with the acknowledgements that can have made them, both in order.

    Of all ways to do so the one with the most pairs, and of these the closest. timed: a row's time
    has to be that of the acknowledgement too, and not only decides between several.
    """
    times = [row_time(row) * 1e6 for row in rows]

    def apart_by(i, j):
        when = abs(times[i] - samples[j].at * 1e6)
        return (when if timed else min(when / 100, apart),
                abs(rows[i]["latency_us"] - samples[j].rtt))

    # best[i][j]: (pairs, -cost) of the first i rows and j samples
    best = [[(0, 0.0)] * (len(samples) + 1) for _ in range(len(rows) + 1)]
    for i in range(len(rows)):
        for j in range(len(samples)):
            best[i + 1][j + 1] = max(best[i][j + 1], best[i + 1][j])
            by = apart_by(i, j)
            if max(by) <= apart:
                pairs, cost = best[i][j]
                best[i + 1][j + 1] = max(best[i + 1][j + 1], (pairs + 1, cost - sum(by)))
    result = Comparison([], [], [])
    i, j = len(rows), len(samples)
    while i and j:
        if best[i][j] == best[i - 1][j]:
            i -= 1
            result.extra.append(rows[i])
        elif best[i][j] == best[i][j - 1]:
            j -= 1
            result.missing.append(samples[j])
        else:
            i, j = i - 1, j - 1
            result.pairs.append((rows[i], samples[j]))
    result.extra += rows[:i]
    result.missing += samples[:j]
    return result


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def summary(differences):
    size = sorted(map(abs, differences))
    return (f"n {len(size)}, median {statistics.median(differences):+.1f} us, "
            f"p99 {quantile(size, 0.99):.1f}, worst {size[-1]:.1f}") if size else "n 0"


def rows(path, *options, **more):
    """A tracer of all samples at both ends of a path."""
    return Tracer("rtt", "--rows", "--json", *spaces(path), *options, **more)


def spaces(path):
    return [arg for ns in sorted({path.client.inode, path.server.inode})
            for arg in ("--netns", ns)]


def hist(path, *options, **more):
    return Tracer("rtt", "--hist", "--json", *spaces(path), *options, **more)


def settled(tracer):
    """Ends it; nothing may be lost, but for hooks that were skipped, of whatever traffic."""
    stopped = tracer.stop()
    assert stopped.status == 0, stopped
    lost = {name: count for name, count in stopped.summary["lost"].items() if name != "reentered"}
    assert not any(lost.values()), stopped.summary
    return stopped


def coalesced(ns):
    """Packets that the kernel has merged with others while a socket was locked: one sample each
    fewer than the wire has, at most."""
    with ns.entered(), open("/proc/thread-self/net/netstat", encoding="ascii") as file:
        names, values = (line.split() for line in file if line.startswith("TcpExt:"))
    return int(dict(zip(names, values))["TCPBacklogCoalesce"])


def by_flow(rows):
    """The rows of each socket, in order."""
    found = collections.defaultdict(list)
    for row in rows:
        found[row["laddr"], row["lport"], row["raddr"], row["rport"]].append(row)
    return found
