# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers and clients in namespaces, and every way a connect() can go.

Each runs in a process of its own (agent.py), so that its pid, tids and comm are known.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import socket
import sys
import time
import typing

from . import binaries
from .process import Child, until

_AGENT = str(pathlib.Path(__file__).with_name("agent.py"))

TCP_SYNCNT = 7
TCP_USER_TIMEOUT = 18


@dataclasses.dataclass
class Result:
    """What a client knows about its connect()."""

    pid: int
    tid: int
    wall: float  # when it began, seconds since the epoch
    laddr: str  # "0.0.0.0" or "::" after a blocking connect that failed: the client cannot know
    lport: int
    raddr: str
    rport: int
    error: typing.Optional[str]  # "ECONNREFUSED", …
    latency_us: float  # by the client's own clock
    aborted: bool = False  # by the client, before the attempt had ended
    rtt_us: typing.Optional[int] = None  # TCP_INFO
    retransmits: typing.Optional[int] = None
    syn_data: typing.Optional[bool] = None  # the server took the data in the SYN
    wrote_us: typing.Optional[float] = None  # from the start of connect() to the first write
    replied_us: typing.Optional[float] = None  # and to the end of the reply

    @property
    def established(self):
        return self.error is None and not self.aborted

    @property
    def latency_ms(self):
        return self.latency_us / 1000


class _Agent(Child):
    def __init__(self, ns, **spec):
        super().__init__([sys.executable, "-I", "-S", _AGENT], ns)
        try:
            self.send(json.dumps(spec))
            self.ready = self.expect("ready")
        except BaseException:
            self.stop()
            raise

    def expect(self, key, timeout=10):
        """The agent's next message, which has to have this key."""
        message = json.loads(self.line(timeout))
        if key not in message:
            raise RuntimeError(f"{self} said {message} instead of {key!r}")
        return message


class Server(_Agent):
    """A TCP listener, accepting already. mode: close, echo, discard, keep or ignore."""

    def __init__(self, ns, addr, port=0, mode="close", backlog=1024, fastopen=0, mptcp=False):
        super().__init__(ns, role="server", addr=addr, port=port, mode=mode, backlog=backlog,
                         fastopen=fastopen, mptcp=mptcp)
        self.addr = addr
        self.port = self.ready["port"]

    def accepted(self):
        """How many so far."""
        self.send("accepted")
        return self.expect("accepted")["accepted"]

    def wait_accepted(self, count, timeout=10):
        """The client knows earlier: the server waits for the third segment."""
        until(lambda: self.accepted() >= count, timeout, f"{count} connections to accept")


class Client(_Agent):
    """A process that is about to connect: its pid is known, it waits for go().

    mode: "blocking"; "epoll", non-blocking; "thread", non-blocking and from a thread that is gone
    before the attempt ends. comm: bytes, anything but NUL, 15 at most. source: (addr, port) to
    bind to. sockopts: (level, option, value) each. abort: "close" or "unspec" after abort_after_ms
    (not with "blocking"). fastopen, payload (bytes, sent after idle_ms, an echo is awaited).
    repeat: one connect after the other; keep: all stay open until the client is stopped.
    """

    def __init__(self, ns, addr, port, mode="blocking", comm=b"", source=None, sockopts=(),
                 mptcp=False, fastopen=False, payload=b"", idle_ms=0, abort=None,
                 abort_after_ms=20, repeat=1, keep=False):
        if abort and mode == "blocking":
            raise ValueError("a blocking connect cannot be given up by its own thread")
        super().__init__(
            ns, role="client", addr=addr, port=port, mode=mode, comm=comm.hex(), source=source,
            sockopts=list(sockopts), mptcp=mptcp, fastopen=fastopen, payload=payload.hex(),
            idle_ms=idle_ms, abort=abort, abort_after_ms=abort_after_ms, repeat=repeat, keep=keep,
        )
        self.tid = self.pid  # of the thread that connects; known later in mode "thread"
        self.laddr, self.lport = None, 0

    def go(self):
        self.send("go")
        return self

    def connecting(self, timeout=10):
        """Waits until a non-blocking connect is under way, its SYN sent; returns the local port."""
        message = self.expect("connecting", timeout)
        self.tid, self.laddr, self.lport = message["tid"], message["laddr"], message["lport"]
        return self.lport

    def result(self, timeout=30):
        """The next result."""
        while "result" not in (message := json.loads(self.line(timeout))):
            if "done" in message:
                raise RuntimeError(f"{self} has no further result")
        return Result(**message["result"])


def connect_once(ns, addr, port, timeout=30, **opts):
    """One connect() in a process that is gone afterwards; see Client for the options."""
    with Client(ns, addr, port, **opts) as client:
        return client.go().result(timeout)


def connect_epoll(ns, addr, port, **opts):
    return connect_once(ns, addr, port, mode="epoll", **opts)


def connect_from_thread(ns, addr, port, **opts):
    """The thread that connects (result.tid) ends at once, long before the attempt."""
    return connect_once(ns, addr, port, mode="thread", **opts)


def connect_mptcp(ns, addr, port, **opts):
    return connect_once(ns, addr, port, mptcp=True, **opts)


def connect_bound_to_itself(ns, addr, port):
    """Simultaneous open on one socket: it is bound to the very address it connects to."""
    return connect_once(ns, addr, port, source=(addr, port))


def simultaneous_open(path, family=4, ports=(7001, 7002)):
    """Both ends connect to each other; the SYNs cross on the delay line. (client's, server's)"""
    a, b = path.client_addr(family), path.server_addr(family)
    with Client(path.client, b, ports[1], source=(a, ports[0])) as client, Client(
        path.server, a, ports[0], source=(b, ports[1])
    ) as server:
        client.go()
        server.go()
        return client.result(), server.result()


def connect_fastopen(path, family=4, idle_ms=250, payload=b"hello"):
    """Twice: without a cookie yet (it is fetched), then with: the SYN leaves with the write.

    That comes idle_ms after a connect() that returned at once. Returns both results.
    """
    for ns in (path.client, path.server):
        ns.sysctl("net.ipv4.tcp_fastopen", 3)
    addr = path.server_addr(family)
    with Server(path.server, addr, mode="echo", fastopen=16) as server:
        first = connect_once(path.client, addr, server.port, fastopen=True, payload=payload)
        second = connect_once(path.client, addr, server.port, fastopen=True, payload=payload,
                              idle_ms=idle_ms)
        return first, second


def abort(ns, addr, port, how, after_ms=20, mode="epoll", **opts):
    """An attempt that its own side ends while the SYN is out (the path must not answer).

    how: "close", "unspec" (connect(AF_UNSPEC)), "kill" (-9), "ss" (ss -K, which the client sees
    as ECONNABORTED). "kill" works with mode "blocking" too; the others are non-blocking.
    """
    if how in ("close", "unspec"):
        result = connect_once(ns, addr, port, mode=mode, abort=how, abort_after_ms=after_ms, **opts)
        if not result.aborted:
            raise RuntimeError(f"ended by itself before it was aborted: {result}")
        return result
    with Client(ns, addr, port, mode=mode, **opts) as client:
        wall, began = time.time(), time.monotonic_ns()
        client.go()
        if mode == "blocking":
            local = until(lambda: _ss(ns, addr, port), 5, "no socket in SYN_SENT").split()[2]
            client.laddr, _, lport = local.rpartition(":")
            client.laddr, client.lport = client.laddr.strip("[]"), int(lport)
        else:
            client.connecting()
        if how == "ss":
            _ss(ns, addr, port, "-K")
            return client.result()
        if how != "kill":
            raise ValueError(how)
        client.signal(signal.SIGKILL)
        client.wait()
        # by our clock: a little more than the attempt itself took
        return Result(client.pid, client.tid, wall, client.laddr, client.lport, addr, port, None,
                      (time.monotonic_ns() - began) / 1000, aborted=True)


def _ss(ns, addr, port, *options):
    """ss about the sockets in SYN_SENT to there."""
    host = f"[{addr}]" if ":" in addr else addr
    return ns.run(["ss", "-Htn", *options, "state", "syn-sent", "dst", f"{host}:{port}"]).stdout


def exhaust_ports(ns, addr, port, ports=2, extra=1):
    """Narrows the range of local ports, uses them all up and goes on: `extra` EADDRNOTAVAIL."""
    old = ns.sysctl("net.ipv4.ip_local_port_range", f"40000 {40000 + ports - 1}")
    try:
        with Client(ns, addr, port, repeat=ports + extra, keep=True) as client:
            client.go()
            return [client.result() for _ in range(ports + extra)]
    finally:
        ns.sysctl("net.ipv4.ip_local_port_range", old)


def connect_from_port_in_use(ns, source, addr, port):
    """Two sockets bound to the same source (addr, port) connect to the same place.

    The 4-tuple is taken the second time: EADDRNOTAVAIL. Returns both results.
    """
    with Client(ns, addr, port, source=source, keep=True, repeat=2) as client:
        client.go()
        return client.result(), client.result()


# kind of route -> what connect() says, before any SYN
REFUSED_LOCALLY = {
    None: "ENETUNREACH",
    "unreachable": "EHOSTUNREACH",
    "prohibit": "EACCES",
    "blackhole": "EINVAL",
}


def refused_locally(ns, kind, family=4, port=80):
    """A connect() that the client's own routing table refuses; kind None: there is no route."""
    addr, net = ("198.51.100.1", "198.51.100.0/24") if family == 4 else ("2001:db8::1",
                                                                         "2001:db8::/32")
    if kind:
        ns.ip(f"-{family}", "route", "add", kind, net)
    try:
        return connect_once(ns, addr, port)
    finally:
        if kind:
            ns.ip(f"-{family}", "route", "del", kind, net)


def time_out(ns, addr, port, syn_retries=1, user_timeout_ms=None, **opts):
    """An attempt that nobody answers (the path has to see to that): ETIMEDOUT."""
    sockopts = [(socket.IPPROTO_TCP, TCP_SYNCNT, syn_retries)]
    if user_timeout_ms is not None:
        sockopts.append((socket.IPPROTO_TCP, TCP_USER_TIMEOUT, user_timeout_ms))
    return connect_once(ns, addr, port, sockopts=sockopts, **opts)


class StormServer(Child):
    """The accepting side of storm()."""

    def __init__(self, ns, addr, port=0, threads=1):
        super().__init__([binaries.traffic_program("connstorm"), "--listen", addr, "--port", port,
                          "--threads", threads], ns)
        try:
            self.port = int(self.line().split()[1])
        except BaseException:
            super().stop()
            raise

    def accepted(self):
        """Ends it; how many there were."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        return json.loads(self.line())["accepted"]


def storm(ns, addr, port, count, timeout=60, **opts):
    """connstorm's account: made, established, failed, not_started, elapsed_s.

    Options are those of the program, with underscores (threads, parallel, bind_any_source, rate;
    reset_close=True).
    """
    argv = [binaries.traffic_program("connstorm"), "--to", addr, "--port", port, "--count", count]
    for name, value in opts.items():
        name = "--" + name.replace("_", "-")
        argv += [name] if value is True else [name, value]
    done = ns.run([os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in argv],
                  timeout=timeout)
    return json.loads(done.stdout)
