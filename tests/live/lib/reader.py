# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection whose data arrive and are read at known times: the truth about every wait.

Both ends are processes of their own (reader_agent.py) that act at absolute times of the one
monotonic clock, and say when they did. Their nice value is -20, so that they are in time on a
busy machine. Ways to read, the `how` of a schedule:

read recv recvmsg readv recvmmsg splice: the call of that name. recvmsg, readv and recvmmsg take a
    list of sizes too: several buffers, or several messages.
block: recv again, with a name that says that it is called before the data come.
dontwait, peek, waitall: recv with that flag.  trunc: the bytes are thrown away, nothing is copied.
epoll, epoll+10: asleep in epoll_wait from its time on, then a read, at once or 10 ms later.
io_uring: IORING_OP_RECV.  io_uring_worker: by a worker thread, when the data are there already.
thread, child: recv in another thread, or in a forked child.
fault+20: recv with the socket locked for 20 ms, so that what arrives waits in its backlog.
"""

import contextlib
import errno
import json
import os
import pathlib
import re
import signal
import sys
import time
import typing

import pytest

from .process import Child, until
from .standstill import stood_still

_AGENT = str(pathlib.Path(__file__).with_name("reader_agent.py"))

# What a path takes, (least, most) ms; see bounds().
DELAY = {"lo": (0, 0), "veth0": (0, 0), "dl0": (10, 12)}

ESTABLISHED, FIN_WAIT2 = 1, 5  # of TCP_INFO

# no cookie is asked for on either side: no connection has to be made before to get one
_FASTOPEN = 0x1 | 0x2 | 0x4 | 0x200


@contextlib.contextmanager
def available(what, *missing):
    """Skips when the kernel has no such thing, or does not let us."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, *missing):
            raise
        pytest.skip(f"{what} is not available here: {errno.errorcode[error.errno]}")


class Send(typing.NamedTuple):
    before: int  # ns of CLOCK_MONOTONIC
    after: int
    nbytes: int


class Read(typing.NamedTuple):
    """before and after are of the call that takes the bytes, not of a wait before it."""

    before: int
    after: int
    how: str
    nbytes: int  # what it returned; -errno when it failed
    tid: int  # of the thread that read; of the child, its pid
    unread: int  # what was left in the socket after it
    woke: typing.Optional[int] = None  # "epoll": back from epoll_wait
    queued: int = 0  # "epoll+10": ns between that and the read in which it waited for a processor
    locked: typing.Optional[int] = None  # "fault": from here …
    unlocked: typing.Optional[int] = None  # … to here at least the socket was locked


class Result(typing.NamedTuple):
    start: int  # ns of CLOCK_MONOTONIC, what the times of the schedule count from
    sends: list
    reads: list

    def wait_ms(self, send=0, read=0, delay=(0, 0)):
        """See bounds(), with the indices of the two."""
        return bounds(self.sends[send], self.reads[read], delay)


def bounds(send, read, delay=(0, 0)):
    """(least, most) ms that the segment can have waited for the read that took it.

    delay: what the path takes, (least, most) ms, unless the machine stands still meanwhile. On
    loopback and veth the segment arrives within the send(); the receiver's side may still be put
    off to a kernel thread when there is much.
    """
    least = (read.before - send.after) / 1e6 - delay[1]
    if delay[1] and least > 0:
        least -= stood_still(send.before, read.before)
    return max(0, least), (read.after - send.before) / 1e6 - delay[0]


class _End(Child):
    """One end. What it can be told besides a schedule works at once."""

    def __init__(self, ns, addr, port, listen, comm=b"", rcvbuf=0, rcvlowat=0, sockmap=False,
                 early=None, early_bytes=0):
        super().__init__([sys.executable, "-I", "-S", _AGENT], ns)
        self.ns = ns
        self.comm = comm or os.path.basename(sys.executable).encode()[:15]
        self.tid = self.pid  # of its first thread, which reads unless another one is told to
        self.laddr = self.lport = self.raddr = self.rport = None
        self.early = None  # a Send: the data that came with the handshake
        self.busy = False
        try:
            self.send(json.dumps({
                "addr": addr, "port": port, "listen": listen, "comm": comm.hex(),
                "rcvbuf": rcvbuf, "rcvlowat": rcvlowat, "sockmap": sockmap, "early": early,
                "early_bytes": early_bytes,
            }))
            self.port = self.answer("ready")["port"]
        except BaseException:
            self.stop()
            raise

    def tell(self, do, **more):
        self.busy = True
        self.send(json.dumps({"do": do, **more}))

    def answer(self, key="done", timeout=10):
        message = json.loads(self.line(timeout))
        self.busy = False
        if "errno" in message:
            raise OSError(message["errno"], f"{message['failed']}: {message['error']}")
        if key not in message:
            raise RuntimeError(f"{self} said {message} instead of {key!r}")
        return message

    def order(self, do, **more):
        self.tell(do, **more)
        return self.answer()

    def connected(self):
        message = self.answer()
        (self.laddr, self.lport), (self.raddr, self.rport) = message["local"], message["remote"]
        self.early = Send(*message["early"]) if message["early"] else None

    def state(self):
        """As the kernel numbers them: ESTABLISHED, FIN_WAIT2, …"""
        return self.order("look")["state"]

    def unread(self):
        return self.order("look")["unread"]

    def wait_unread(self, nbytes, timeout=10):
        until(lambda: self.unread() >= nbytes, timeout, f"{nbytes} bytes to be there, unread")

    def shutdown(self):
        """No more from this end: its FIN is sent."""
        self.order("shutdown")

    def close(self, reset=False):
        """With what is unread; reset: with an RST in any case."""
        self.order("close", reset=reset)

    def skmem(self):
        """ss -m about the socket, by the letters ss has for them; it asks for no lock."""
        out = self.ns.run(["ss", "-Htmn", f"sport = :{self.lport} and dport = :{self.rport}"])
        (found,) = re.findall(r"skmem:\((.*?)\)", out.stdout)
        return {name: int(value) for name, value in re.findall(r"([a-z]+)(\d+)", found)}

    def pin(self, cpu):
        """All its threads, and those it will have."""
        for tid in os.listdir(f"/proc/{self.pid}/task"):
            os.sched_setaffinity(int(tid), {cpu})

    def background(self):
        """SCHED_IDLE: it gets a CPU where nobody else wants it."""
        os.sched_setscheduler(self.pid, os.SCHED_IDLE, os.sched_param(0))

    def nice(self, value):
        os.setpriority(os.PRIO_PROCESS, self.pid, value)

    def run_queue_ns(self):
        """How long its first thread has waited for a CPU so far."""
        with open(f"/proc/{self.pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1])

    def stop(self, timeout=5):
        if self.busy:  # perhaps for ever, and it would not see the end of its input
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
        return super().stop(timeout)


class Run:
    """A schedule that is under way."""

    def __init__(self, reader, sends, reads, lead_ms):
        self.ends = [end for end, steps in ((reader.peer, sends), (reader, reads)) if steps]
        self.reads = [how for _, how, _ in reads]
        self.reader = reader
        steps = {reader.peer: [(at, "send", size) for at, size in sends], reader: reads}
        for end in self.ends:
            end.tell("prepare", steps=[
                (int(at * 1e6), how, list(size) if isinstance(size, (list, tuple)) else [size])
                for at, how, size in steps[end]])
        for end in self.ends:
            end.answer()
        self.start = time.monotonic_ns() + int(lead_ms * 1e6)
        for end in self.ends:
            end.tell("run", start=self.start)

    def result(self, timeout=30):
        reports = {end: end.answer(timeout=timeout)["reports"] for end in self.ends}
        sends = [Send(report["before"], report["after"], report["got"])
                 for report in reports.get(self.reader.peer, ())]
        reads = [Read(report.pop("before"), report.pop("after"), how, report.pop("got"), **report)
                 for how, report in zip(self.reads, reports.get(self.reader, ()))]
        return Result(self.start, sends, reads)


class Reader(_End):
    peer = None  # the end that sends

    def begin(self, sends=(), reads=(), lead_ms=10):
        """Sets off what schedule() does; the Run knows the result when it is over."""
        return Run(self, list(sends), list(reads), lead_ms)

    def schedule(self, sends=(), reads=(), timeout=30, lead_ms=10):
        """sends: (ms, bytes) each, a segment of its own, 0 bytes a FIN; reads: (ms, how, bytes).

        Each end does its part in order, each step not before its time; all times count from one
        instant, lead_ms from now. More bytes in a send than a segment can have are several.
        """
        return self.begin(sends, reads, lead_ms).result(timeout)


@contextlib.contextmanager
def _fastopen(path):
    spaces = {path.client.name: path.client, path.server.name: path.server}.values()
    old = [(ns, ns.sysctl("net.ipv4.tcp_fastopen", _FASTOPEN)) for ns in spaces]
    try:
        yield
    finally:
        for ns, value in old:
            ns.sysctl("net.ipv4.tcp_fastopen", value)


@contextlib.contextmanager
def pair(path, family=4, reader_connects=False, port=0, third_ack=0, fastopen=0,
         fin_wait2=False, comm=b"", rcvbuf=0, rcvlowat=0, sockmap=False):
    """(sender, reader), connected: from path.client to path.server, where the reader is.

    reader_connects: the reader is in path.client instead. third_ack, fastopen: so many bytes come
    in the third segment, or in the SYN; sender.early says when. fin_wait2: the reader has shut
    down its side, and the sender has acknowledged. The other options are the reader's own. rcvbuf:
    what SO_RCVBUF asks for, any size. sockmap: with a verdict program that lets everything pass.
    """
    early = "third_ack" if third_ack else "fastopen" if fastopen else None
    if early and reader_connects:
        raise ValueError("only who connects can send with the handshake")
    own = {"comm": comm, "rcvbuf": rcvbuf, "rcvlowat": rcvlowat, "sockmap": sockmap}
    by_connect = {"early": early, "early_bytes": third_ack or fastopen}
    addr = path.server_addr(family)
    with contextlib.ExitStack() as stack:
        if fastopen:
            stack.enter_context(_fastopen(path))
        server = stack.enter_context(
            _End(path.server, addr, port, True) if reader_connects
            else Reader(path.server, addr, port, True, early=early, **own))
        client = stack.enter_context(
            Reader(path.client, addr, server.port, False, **own) if reader_connects
            else _End(path.client, addr, server.port, False, **by_connect))
        for end in (server, client):
            end.tell("connect")
        for end in (client, server):
            end.connected()
        sender, reader = (server, client) if reader_connects else (client, server)
        reader.peer = sender
        if fin_wait2:
            reader.shutdown()
            until(lambda: reader.state() == FIN_WAIT2, 5, "the FIN to be acknowledged")
        yield sender, reader


_HOG = """
import json, os, sys, time
cpu, nice = int(sys.argv[1]), sys.argv[2]
try:
    os.sched_setaffinity(0, {cpu})
    if nice == "fifo":
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    else:
        os.setpriority(os.PRIO_PROCESS, 0, int(nice))
except OSError as error:
    print(json.dumps({"errno": error.errno, "error": str(error)}))
    sys.exit()
print("{}", flush=True)
while nice != "fifo":
    pass
for line in sys.stdin:
    begin, end = map(int, line.split())
    time.sleep(max(0, begin - time.monotonic_ns()) / 1e9)
    begun = time.monotonic_ns()
    while time.monotonic_ns() < end:
        pass
    print(begun, end, flush=True)
"""


class Hog(Child):
    """A process that burns one CPU, until its block is left.

    An ordinary reader that wakes there goes before it all the same, mostly; one in the background
    (Reader.background()) waits.
    """

    def __init__(self, cpu, nice=0):
        super().__init__([sys.executable, "-I", "-S", "-c", _HOG, cpu, nice])
        try:
            message = json.loads(self.line())
            if "errno" in message:
                raise OSError(message["errno"], f"{self}: {message['error']}")
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout=5):
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        return super().stop(timeout)


class Burst(Hog):
    """Burns one CPU at given times, and nothing ordinary gets that CPU meanwhile (SCHED_FIFO).

    The kernel ends that after 950 ms.
    """

    def __init__(self, cpu):
        super().__init__(cpu, "fifo")

    def burn(self, begin, ms):
        """From then on, ns of CLOCK_MONOTONIC."""
        self.send(f"{begin} {int(begin + ms * 1e6)}")

    def burnt(self):
        """(begin, end) of a burn that is over, when it really was, in ns."""
        return tuple(map(int, self.line().split()))
