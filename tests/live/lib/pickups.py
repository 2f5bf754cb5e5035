# SPDX-License-Identifier: GPL-2.0-or-later
"""What `tcplat pickup` says, against the truth that lib.reader knows."""

import collections
import typing

from . import reader
from .tool import Tracer

# ms; between the tool's clock and the reader's there is only the reading of it
SMALL = 0.05


def same(what, said, truth):
    if said != truth:
        raise AssertionError(f"{what}: {said}, but it is {truth}")


class Want(typing.NamedTuple):
    nbytes: int
    least: float  # ms
    most: float
    pid: int
    tid: int
    segments: int = 1


def wide_window(path):
    """From now on no IPv4 sender of this path has to wait for ACKs, up to 200 segments."""
    local = ("local",) if path.client is path.server else ()
    path.client.ip("route", "replace", *local, path.server_v4, "dev", path.client_dev,
                   *(("table", "local") if local else ()), "initcwnd", "200")


def want(path, rcv, nbytes, send, read, segments=1, delay=None):
    """The row for what came with a Send and was taken by a Read."""
    delay = reader.DELAY[path.client_dev] if delay is None else delay
    pid = read.tid if read.how == "child" else rcv.pid
    return Want(nbytes, *reader.bounds(send, read, delay), pid, read.tid, segments)


def check(row, rcv, wanted):
    """One row against all that is known of it."""
    said = {name: row[name] for name in ("event", "pid", "tid", "comm", "ip", "laddr", "lport",
                                         "raddr", "rport", "bytes", "segments", "netns")}
    same("row", said, {
        "event": "pickup", "pid": wanted.pid, "tid": wanted.tid,
        "comm": rcv.comm.decode("utf-8", "backslashreplace"), "ip": 6 if ":" in rcv.laddr else 4,
        "laddr": rcv.laddr, "lport": rcv.lport, "raddr": rcv.raddr, "rport": rcv.rport,
        "bytes": wanted.nbytes, "segments": wanted.segments, "netns": rcv.ns.inode,
    })
    latency = row["latency_us"] / 1000
    if not wanted.least - SMALL <= latency <= wanted.most + SMALL:
        raise AssertionError(f"{latency} ms; {wanted}")


class Pickups(Tracer):
    """A tracer of all that is read at both ends of a path.

    At the end of its block every row must have been announced by expect(), in the order of the
    connection; nothing may be lost, but for the counters given: still_open, fifo_merged, …
    A counter may be a range.
    """

    def __init__(self, path, *options, **counters):
        self.path = path
        self.counters = {"unseen_start": 0, "still_open": 0, "fifo_merged": 0, **counters}
        self.wanted = collections.defaultdict(list)
        self.readers = {}
        self.later = []  # (reader, a check of all its rows), instead of expect()
        self.stopped = None
        spaces = [arg for ns in {path.client.inode, path.server.inode} for arg in ("--netns", ns)]
        super().__init__("pickup", "--json", *spaces, *options)

    def expect(self, rcv, *rows, **more):
        """rows: (bytes, Send, Read[, segments]) each, or a Want."""
        key = rcv.lport, rcv.rport
        self.readers[key] = rcv
        self.wanted[key] += [row if isinstance(row, Want) else want(self.path, rcv, *row, **more)
                             for row in rows]

    def rows_of(self, rcv):
        return self.matching(lambda row: (row["lport"], row["rport"]) == (rcv.lport, rcv.rport))

    def settle(self):
        """Ends it; what it has said is in rows, its counters are checked."""
        self.stopped = stopped = self.stop()
        assert stopped.status == 0, stopped
        counted = {"unseen_start": stopped.summary["unseen_start"],
                   "still_open": stopped.summary["still_open"], **stopped.summary["lost"]}
        expected = {**dict.fromkeys(counted, 0), **self.counters}
        for name, value in expected.items():
            if isinstance(value, range) and counted[name] in value:
                expected[name] = counted[name]
        same("counters", counted, expected)
        same("events", stopped.summary["events"], len(stopped.rows))
        return stopped

    def __exit__(self, kind, *rest):
        try:
            if kind is None:
                self.compare()
        finally:
            super().__exit__(kind, *rest)

    def compare(self):
        if self.stopped is None:
            self.settle()
        rows = collections.defaultdict(list)
        for row in self.stopped.rows:
            rows[row["lport"], row["rport"]].append(row)
        for key, wanted in self.wanted.items():
            came = rows.pop(key, [])
            same("bytes", [row["bytes"] for row in came], [row.nbytes for row in wanted])
            for row, expected in zip(came, wanted):
                check(row, self.readers[key], expected)
        for rcv, check_rows in self.later:
            check_rows(rows.pop((rcv.lport, rcv.rport), []))
        same("connections nobody has announced", dict(rows), {})
