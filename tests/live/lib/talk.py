# SPDX-License-Identifier: GPL-2.0-or-later
"""Two processes that talk over TCP as they are told, and know what the kernel says of it.

What an end can be told is in talk_agent.py: client.ping(count=20), server.send(nbytes=9), …; with
name= where it has several sockets. tell() begins an order, answer() waits for its end.
"""

import contextlib
import errno
import json
import pathlib
import sys
import types

from .process import Child, until

_AGENT = str(pathlib.Path(__file__).with_name("talk_agent.py"))

FIN_WAIT2, CLOSE_WAIT = 5, 8  # of TCP_INFO


class End(Child):
    def __init__(self, ns, comm=None, uid=None):
        super().__init__([sys.executable, "-I", "-S", _AGENT], ns)
        self.ns = ns
        self.tid = self.pid
        if comm:
            self.do("comm", name=comm)
        if uid is not None:
            self.do("uid", number=uid)

    def tell(self, do, **more):
        if do not in ("comm", "uid"):
            more.setdefault("name", "it")
        self.send(json.dumps({"do": do, **more}))

    def answer(self, timeout=20):
        message = json.loads(self.line(timeout))
        if "failed" in message:
            raise OSError(f"{self}: {message['failed']}")
        return types.SimpleNamespace(**message)

    def do(self, do, timeout=20, **more):
        self.tell(do, **more)
        return self.answer(timeout)

    def __getattr__(self, do):
        if do.startswith("_"):
            raise AttributeError(do)
        return lambda **more: self.do(do, **more)

    def info(self, name="it"):
        return self.do("info", name=name)

    def wait_state(self, state, name="it"):
        until(lambda: self.info(name).state == state, 10, f"state {state}")


class Talk:
    """A connection from a client to a server, both of its own process."""

    def __init__(self, client, server, name="it"):
        self.client, self.server, self.name = client, server, name
        self.laddr = self.lport = self.raddr = self.rport = None

    def connect(self, addr, port, source=None):
        """The server's process has to have a listener of the name "listener"."""
        self.server.tell("accept", name=self.name, listener="listener")
        made = self.client.do("connect", name=self.name, addr=addr, port=port, source=source)
        self.server.answer()
        (self.laddr, self.lport), (self.raddr, self.rport) = made.local, made.remote
        return self

    @property
    def flow(self):
        """Of what the client sends."""
        return self.laddr, self.lport, self.raddr, self.rport

    @property
    def back(self):
        return self.raddr, self.rport, self.laddr, self.lport

    def ping(self, count, size=100, gap_ms=0):
        """Request and response, one after the other."""
        self.server.tell("echo", name=self.name, count=count, size=size)
        self.client.do("ping", name=self.name, count=count, size=size, gap_ms=gap_ms)
        self.server.answer()

    def bulk(self, nbytes, up=True, timeout=20):
        """From the client to the server, or else back, until it is all there."""
        source, sink = (self.client, self.server) if up else (self.server, self.client)
        sink.tell("recv", name=self.name, nbytes=nbytes)
        source.do("send", name=self.name, nbytes=nbytes)
        assert sink.answer(timeout).got == nbytes
        self.drain()

    def drain(self):
        """Until nothing of either end waits for its acknowledgement."""
        for end in (self.client, self.server):
            until(lambda e=end: not e.info(self.name).unacked, 10, "all to be acknowledged")

    def close(self):
        """The client first; both have gone through all states when this returns."""
        self.client.do("shutdown", name=self.name)
        assert self.server.do("recv", name=self.name, nbytes=1).got == 0
        self.server.do("close", name=self.name)
        assert self.client.do("recv", name=self.name, nbytes=1).got == 0
        self.client.do("close", name=self.name)
        gone = ["ss", "-Htn", "state", "last-ack",
                f"sport = :{self.rport} and dport = :{self.lport}"]
        until(lambda: not self.server.ns.run(gone).stdout, 10, "the last ACK")


    def close_by_reset(self):
        """At once, and without a FIN that would be acknowledged."""
        self.client.do("reset", name=self.name)
        assert self.server.do("recv", name=self.name, nbytes=1).got == -errno.ECONNRESET
        self.server.do("close", name=self.name)


@contextlib.contextmanager
def ends(path, family=4, comm=None, port=0, uid=None):
    """(client, server, port): processes, the server's one listens."""
    with End(path.client, comm, uid) as client, End(path.server) as server:
        port = server.listen(name="listener", addr=path.server_addr(family), port=port).port
        yield client, server, port


@contextlib.contextmanager
def talk(path, family=4, **options):
    with ends(path, family, **options) as (client, server, port):
        yield Talk(client, server).connect(path.server_addr(family), port)
