# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths for traffic: what is between a client and a server, and what goes wrong there.

Each builder is a context manager that yields a Path and leaves nothing behind.
"""

import contextlib
import dataclasses
import json
import typing

from .binaries import traffic_program
from .netns import NetNS
from .process import Child


class DelayLine:
    """A running delay line between two namespaces."""

    def __init__(self, a, b, dev="dl0", **settings):
        argv = [traffic_program("delayline"), "--a", f"{a.path}:{dev}", "--b", f"{b.path}:{dev}"]
        for name, value in settings.items():
            if value is not None:
                argv += ["--" + name.replace("_", "-"), _pair(value)]
        self.child = Child(argv)
        try:
            line = self.child.line()
            if line != "ready":
                raise RuntimeError(f"the delay line said {line!r}")
        except BaseException:
            self.close()
            raise

    def control(self, line):
        """Gives an order ("loss 100,0", "hold", …); of "stats" the numbers are returned."""
        self.child.send(line)
        answer = self.child.line()
        if answer.startswith("{"):
            return json.loads(answer)
        if answer != "ok":
            raise ValueError(f"{line!r}: {answer}")
        return answer

    def close(self):
        self.child.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@dataclasses.dataclass
class Path:
    client: NetNS
    server: NetNS
    client_v4: str
    server_v4: str
    client_v6: str
    server_v6: str
    client_dev: str
    server_dev: str
    router: typing.Optional[NetNS] = None
    line: typing.Optional[DelayLine] = None

    def client_addr(self, family):
        return self.client_v4 if family == 4 else self.client_v6

    def server_addr(self, family):
        return self.server_v4 if family == 4 else self.server_v6

    def control(self, order):
        """See DelayLine.control()."""
        return self.line.control(order)


def _pair(value):
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _address(ns, dev, v4, v6):
    ns.ip("addr", "add", f"{v4}/24", "dev", dev)
    ns.ip("addr", "add", f"{v6}/64", "dev", dev, "nodad")


def _veth(a, a_dev, b, b_dev):
    a.ip("link", "add", a_dev, "type", "veth", "peer", "name", b_dev, "netns", b.name)
    a.ip("link", "set", a_dev, "up")
    b.ip("link", "set", b_dev, "up")


@contextlib.contextmanager
def loopback():
    """One namespace with nothing but lo: client and server are the same."""
    with NetNS() as ns:
        yield Path(ns, ns, "127.0.0.1", "127.0.0.1", "::1", "::1", "lo", "lo")


@contextlib.contextmanager
def veth():
    with NetNS() as client, NetNS() as server:
        _veth(client, "veth0", server, "veth0")
        _address(client, "veth0", "10.77.1.1", "fd77:1::1")
        _address(server, "veth0", "10.77.1.2", "fd77:1::2")
        yield Path(client, server, "10.77.1.1", "10.77.1.2", "fd77:1::1", "fd77:1::2",
                   "veth0", "veth0")


@contextlib.contextmanager
def delayline(delay=(10, 10), **settings):
    """Client and server with a delay line between them, the client at its end a.

    Settings are those of the program, with underscores: jitter, loss, reorder, reorder_by, dup
    (one number, or a pair: client to server, server to client), drop_syn, drop_synack, seed.
    """
    with NetNS() as client, NetNS() as server, DelayLine(
        client, server, delay=delay, **settings
    ) as line:
        _address(client, "dl0", "10.77.2.1", "fd77:2::1")
        _address(server, "dl0", "10.77.2.2", "fd77:2::2")
        yield Path(client, server, "10.77.2.1", "10.77.2.2", "fd77:2::1", "fd77:2::2",
                   "dl0", "dl0", line=line)


@contextlib.contextmanager
def routed(delay=(10, 10), **settings):
    """Client, router, server; a delay line (settings as there) on the client's side.

    path.router.ip("route", "add", "unreachable", "192.0.2.0/24") makes the router answer with
    ICMP errors ("prohibit" too) or swallow packets ("blackhole"); what it has no route for is
    unreachable as well. The errors come through the delay line: a veth would deliver them while
    the socket is still locked by its connect(), and TCP would only take note of them.
    """
    with NetNS() as client, NetNS() as router, NetNS() as server, DelayLine(
        client, router, delay=delay, **settings
    ) as line:
        _veth(router, "veth0", server, "veth0")
        _address(client, "dl0", "10.77.3.1", "fd77:3::1")
        _address(router, "dl0", "10.77.3.2", "fd77:3::2")
        _address(router, "veth0", "10.77.4.1", "fd77:4::1")
        _address(server, "veth0", "10.77.4.2", "fd77:4::2")
        for ns, dev, v4, v6 in (
            (client, "dl0", "10.77.3.2", "fd77:3::2"),
            (server, "veth0", "10.77.4.1", "fd77:4::1"),
        ):
            ns.ip("route", "add", "default", "via", v4, "dev", dev)
            ns.ip("-6", "route", "add", "default", "via", v6, "dev", dev)
        # an answer to every packet, not to one in a while
        for name, value in (
            ("net.ipv4.ip_forward", 1),
            ("net.ipv6.conf.all.forwarding", 1),
            ("net.ipv4.icmp_ratelimit", 0),
            ("net.ipv6.icmp.ratelimit", 0),
        ):
            router.sysctl(name, value)
        yield Path(client, server, "10.77.3.1", "10.77.4.2", "fd77:3::1", "fd77:4::2",
                   "dl0", "veth0", router=router, line=line)
