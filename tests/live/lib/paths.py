# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths for traffic: what is between a client and a server, and what goes wrong there.

Each builder is a context manager that yields a Path and leaves nothing behind.
"""

import contextlib
import dataclasses
import functools
import json
import shutil
import typing

import pytest

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


class Netem:
    """The kernel's own emulator (sch_netem) on the ports of a namespace in the middle.

    It is told what a DelayLine is told, as far as it can do it, and means the same: a packet keeps
    its place behind those before it, whatever the jitter, and one that is reordered is held back.
    """

    # Nothing that a test sends may meet it: what the queue refuses is counted like what is lost.
    _LIMIT = 1_000_000
    # A netem with a rate lets no packet overtake another; at this one a packet takes 12 ns.
    _IN_ORDER = "rate 1000gbit"

    def __init__(self, middle, ends, ports, before=(), **settings):
        """ends: the namespaces of client and server. ports: the devices through which packets
        leave the middle, to the server and to the client; before: those that hold back."""
        self._middle, self._ends = middle, ends
        self._ports, self._before = ports, before
        self._set = dict.fromkeys(("delay", "jitter", "loss", "reorder", "dup"), (0, 0))
        self._set["reorder_by"] = (3, 3)
        self._lossy = False
        for name, value in settings.items():
            self._note(name, value if isinstance(value, (tuple, list)) else (value, value))
        self._tell("add")

    def _note(self, name, values):
        if name not in self._set or (name == "reorder" and not self._before):
            raise ValueError(f"no {name} on this path")
        self._set[name] = values
        self._lossy |= name == "loss" and any(values)

    def _tell(self, what):
        lines = []
        for i, port in enumerate(self._ports):
            one = {name: values[i] for name, values in self._set.items()}
            lines.append(
                f"qdisc {what} dev {port} root netem limit {self._LIMIT} {self._IN_ORDER} "
                f"delay {one['delay']}ms {one['jitter']}ms loss {one['loss']}% "
                f"duplicate {one['dup']}%")
            if self._before:
                # what netem calls reordered is not delayed at all
                lines.append(
                    f"qdisc {what} dev {self._before[i]} root netem limit {self._LIMIT} "
                    f"delay {one['reorder_by']}ms reorder {100 - one['reorder']}%")
        _batch(self._middle, "tc", lines)

    def _stats(self, port):
        done = self._middle.run(["tc", "-s", "-j", "qdisc", "show", "dev", port])
        (one,) = json.loads(done.stdout)
        return one

    def control(self, line):
        """As of a DelayLine: "loss 100,0", …, and "stats" with what netem counts of its own."""
        if line != "stats":
            name, value = line.split()
            one, _, other = value.partition(",")
            self._note(name.replace("-", "_"), (float(one), float(other or one)))
            self._tell("change")
            return "ok"
        stats = {}
        for i, direction in enumerate(("a_to_b", "b_to_a")):
            last = self._stats(self._ports[i])
            stats[direction] = {"forwarded": last["packets"], "dropped_random": last["drops"],
                                "queued": last["qlen"]}
            if self._before:
                first = self._stats(self._before[i])
                # "requeues" are those that went ahead
                stats[direction]["reordered"] = first["packets"] - first["requeues"]
                stats[direction]["queued"] += first["qlen"]
        return stats

    def check(self):
        """No packet was lost that should not have been: by a queue that was full, anywhere."""
        drops = {port: self._stats(port)["drops"] for port in (*self._ports, *self._before)}
        if self._lossy:
            for port in self._ports:
                del drops[port]
        for ns in (self._middle, *self._ends):
            for dev in json.loads(ns.run(["ip", "-s", "-j", "link", "show"]).stdout):
                for way in ("rx", "tx"):
                    drops[ns.name, dev["ifname"], way] = dev["stats64"][way]["dropped"]
        assert not any(drops.values()), drops


@functools.lru_cache(maxsize=None)
def netem_missing():
    """Why there can be no netem(), or None; found by trying."""
    if shutil.which("tc") is None:
        return "tc is not installed"
    with NetNS() as ns:
        for argv, unknown, what in (
            (["tc", "qdisc", "add", "dev", "lo", "root", "netem"], "qdisc kind is unknown",
             "sch_netem"),
            (["ip", "link", "add", "br0", "type", "bridge"], "Unknown device type", "bridge"),
        ):
            done = ns.run(argv, check=False)
            if unknown in done.stderr:
                return f"this kernel has no {what}"
            done.check_returncode()
    return None


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
    netem: typing.Optional[Netem] = None

    def client_addr(self, family):
        return self.client_v4 if family == 4 else self.client_v6

    def server_addr(self, family):
        return self.server_v4 if family == 4 else self.server_v6

    def control(self, order):
        """See DelayLine.control()."""
        return self.emulator.control(order)

    @property
    def emulator(self):
        """What delays the packets of this path, and keeps each a segment of its own; or None."""
        return self.line or self.netem


def _pair(value):
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _address(ns, dev, v4, v6):
    ns.ip("addr", "add", f"{v4}/24", "dev", dev)
    ns.ip("addr", "add", f"{v6}/64", "dev", dev, "nodad")


def _veth(a, a_dev, b, b_dev):
    a.ip("link", "add", a_dev, "type", "veth", "peer", "name", b_dev, "netns", b.name)
    a.ip("link", "set", a_dev, "up")
    b.ip("link", "set", b_dev, "up")


def _batch(ns, program, lines):
    """Many orders to ip or tc in one go."""
    ns.run([program, "-batch", "-"], input="".join(line + "\n" for line in lines))


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


# The same names on a delay line and with netem: what tests know of one is true of the other.
_DELAYED = "10.77.2.1", "10.77.2.2", "fd77:2::1", "fd77:2::2", "dl0", "dl0"


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
        yield Path(client, server, *_DELAYED, line=line)


def _bridges(middle, client, server, twice):
    """Bridges from client to server, with nothing on them that is not the traffic of a test."""
    masters = {"to_client": "br0", "to_server": "br0"}
    lines = ["link add name to_client type veth peer name dl0 netns " + client.name,
             "link add name to_server type veth peer name dl0 netns " + server.name]
    if twice:
        masters = {"to_client": "br0", "late_up": "br0", "late_down": "br1", "to_server": "br1"}
        lines.append("link add name late_up type veth peer name late_down")
    bridges = sorted(set(masters.values()))
    lines += [f"link add name {bridge} type bridge mcast_snooping 0" for bridge in bridges]
    for port, bridge in masters.items():
        # the delay line too has nothing to do with what is for all on a link
        lines += [f"link set dev {port} master {bridge}",
                  f"link set dev {port} type bridge_slave bcast_flood off mcast_flood off"]
    lines += [f"link set dev {dev} up" for dev in (*masters, *bridges)]
    for scope in ("all", "default"):
        middle.sysctl(f"net.ipv6.conf.{scope}.disable_ipv6", 1)
    _batch(middle, "ip", lines)


def _plug(ns, host, other):
    """An end of the bridges: addresses, and where the other one is, which nobody could ask."""
    _batch(ns, "ip", [
        f"link set dev dl0 address 02:00:00:00:00:0{host} up",
        f"addr add 10.77.2.{host}/24 dev dl0",
        f"addr add fd77:2::{host}/64 dev dl0 nodad",
        *(f"neigh replace {net}{other} lladdr 02:00:00:00:00:0{other} dev dl0 nud permanent"
          for net in ("10.77.2.", "fd77:2::")),
    ])
    # a packet of the wire is one segment, as on the delay line
    ns.run(["ethtool", "-K", "dl0", "tso", "off", "gso", "off", "gro", "off"])


@contextlib.contextmanager
def netem(delay=(10, 10), seed=None, **settings):
    """As delayline(), by the kernel's own means; skips the test where it has none.

    Settings are the same without drop_syn and drop_synack, and nothing can be held; a seed is of
    no use, kernels before 6.7 take none. Who wants to reorder says so here, reorder or reorder_by.

    A tap sees a packet when it has left its device's queue. So netem is on no device of client or
    server, but on the ports of a bridge between them, and taps see what a wire would show.
    """
    if netem_missing():
        pytest.skip(netem_missing())
    twice = "reorder" in settings or "reorder_by" in settings
    with NetNS() as client, NetNS() as server, NetNS() as middle:
        _bridges(middle, client, server, twice)
        _plug(client, 1, 2)
        _plug(server, 2, 1)
        line = Netem(middle, (client, server), ("to_server", "to_client"),
                     ("late_up", "late_down") if twice else (), delay=delay, **settings)
        yield Path(client, server, *_DELAYED, netem=line)
        line.check()


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
