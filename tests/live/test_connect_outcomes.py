# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way an attempt can end, made for real, and what tcplat says of it."""

import os
import signal

import pytest

from lib import paths, traffic
from lib.capture import Capture
from lib.standstill import during
from lib.tool import Tracer, run_tool

IP = {4: "0.0.0.0", 6: "::"}


@pytest.fixture
def tracer():
    with Tracer("connect", "--json") as t:
        yield t


def row_of(tracer, result, **expected):
    """The row of a client's attempt, which has to agree with what the client knows."""
    row = tracer.wait_for(lambda r: r["pid"] == result.pid and r["rport"] == result.rport)
    want = {"event": "connect", "tid": result.tid, "raddr": result.raddr, **expected}
    assert {k: row[k] for k in want} == want
    return row


def test_established(tracer, any_path, family):
    with traffic.Server(any_path.server, any_path.server_addr(family)) as server:
        result = traffic.connect_once(any_path.client, server.addr, server.port)
    row = row_of(tracer, result, outcome="established", error=None, syn_retransmits=0, ip=family,
                 laddr=result.laddr, lport=result.lport, netns=any_path.client.inode)
    # The client's clock includes the system call; the handshake alone is less.
    assert row["handshake_rtt_us"] <= row["latency_us"] <= result.latency_us
    assert row["latency_us"] - row["handshake_rtt_us"] < 1000


def test_refused(tracer, any_path, family):
    with traffic.Server(any_path.server, any_path.server_addr(family)) as server:
        port = server.port
    result = traffic.connect_once(any_path.client, any_path.server_addr(family), port)
    assert result.error == "ECONNREFUSED"
    row = row_of(tracer, result, outcome="refused", error="ECONNREFUSED", syn_retransmits=0,
                 handshake_rtt_us=None, ip=family)
    assert row["lport"] > 0 and row["laddr"] == any_path.client_addr(family)
    assert 0 < row["latency_us"] <= result.latency_us


def test_reset_in_a_simultaneous_open(tracer, delayline):
    """The peer's SYN crosses ours, but its socket is gone when our SYN-ACK comes: a RST."""
    a, b = delayline.client_v4, delayline.server_v4
    delayline.control("delay 10,150")
    try:
        with traffic.Client(delayline.client, b, 7102, mode="epoll", source=(a, 7101)) as ours, \
                traffic.Client(delayline.server, a, 7101, mode="epoll", source=(b, 7102)) as gone:
            gone.go().connecting()
            gone.signal(signal.SIGKILL)
            gone.wait()
            ours.go().connecting()
            result = ours.result()
    finally:
        delayline.control("delay 10,10")
    assert result.error == "ECONNRESET"
    row = row_of(tracer, result, outcome="reset", error="ECONNRESET", handshake_rtt_us=None)
    assert 150000 <= row["latency_us"] <= result.latency_us
    row = tracer.wait_for(lambda r: r["pid"] == gone.pid)
    assert (row["outcome"], row["error"]) == ("aborted", None)


def test_timed_out(tracer, routed, family):
    net = "192.0.2.0/24" if family == 4 else "2001:db8:2::/64"
    addr = "192.0.2.1" if family == 4 else "2001:db8:2::1"
    routed.router.ip("route", "add", "blackhole", net)
    try:
        with Capture(routed.client, routed.client_dev) as wire:
            result = traffic.time_out(routed.client, addr, 80, syn_retries=1)
    finally:
        routed.router.ip("route", "del", "blackhole", net)
    syns = sum(p.is_syn for p in wire.packets)
    assert syns >= 2
    assert result.error == "ETIMEDOUT"
    row = row_of(tracer, result, outcome="timed_out", error="ETIMEDOUT",
                 syn_retransmits=syns - 1, handshake_rtt_us=None)
    # RFC 6298: 1 s, and longer or the same for each further SYN
    assert syns * 1e6 <= row["latency_us"] <= result.latency_us
    assert row["latency_us"] > result.latency_us - 5000 - 1000 * during(row)


@pytest.fixture
def new_router():
    """A router tells each host but of one error a second, after the first few (ip_error())."""
    with paths.routed(delay=(5, 5)) as path:
        yield path


@pytest.mark.parametrize("route, outcome, error", [
    ("unreachable", "host_unreachable", "EHOSTUNREACH"),
    ("prohibit", "host_unreachable", "EHOSTUNREACH"),
])
def test_icmp_unreachable_v4(tracer, new_router, route, outcome, error):
    """ICMP errors from a router end an attempt of a socket that is not locked just then."""
    new_router.router.ip("route", "add", route, "192.0.2.0/24")
    try:
        result = traffic.connect_once(new_router.client, "192.0.2.1", 80)
    finally:
        new_router.router.ip("route", "del", route, "192.0.2.0/24")
    assert result.error == error
    row = row_of(tracer, result, outcome=outcome, error=error, syn_retransmits=0)
    assert 10000 <= row["latency_us"] <= result.latency_us


def test_icmp_network_unreachable(tracer, new_router):
    """A router without any route says: network unreachable."""
    result = traffic.connect_once(new_router.client, "203.0.113.1", 80)
    assert result.error == "ENETUNREACH"
    row = row_of(tracer, result, outcome="network_unreachable", error="ENETUNREACH",
                 syn_retransmits=0)
    assert 10000 <= row["latency_us"] <= result.latency_us


@pytest.mark.parametrize("route, outcome, error", [
    ("unreachable", "network_unreachable", "ENETUNREACH"),
    ("prohibit", "error", "EACCES"),
])
def test_icmp_unreachable_v6(tracer, routed, route, outcome, error):
    routed.router.ip("-6", "route", "add", route, "2001:db8:3::/64")
    try:
        result = traffic.connect_once(routed.client, "2001:db8:3::1", 80)
    finally:
        routed.router.ip("-6", "route", "del", route, "2001:db8:3::/64")
    assert result.error == error
    row_of(tracer, result, outcome=outcome, error=error, syn_retransmits=0, ip=6)


@pytest.mark.parametrize("how", ["close", "unspec", "kill", "ss"])
def test_aborted(tracer, routed, how):
    routed.router.ip("route", "add", "blackhole", "192.0.2.0/24")
    try:
        result = traffic.abort(routed.client, "192.0.2.1", 80, how, after_ms=50)
    finally:
        routed.router.ip("route", "del", "blackhole", "192.0.2.0/24")
    row = row_of(tracer, result, outcome="aborted", syn_retransmits=0,
                 error="ECONNABORTED" if how == "ss" else None, lport=result.lport)
    if how in ("close", "unspec"):
        assert 50000 <= row["latency_us"] <= result.latency_us + 5000 + 1000 * during(row)


def test_aborted_by_a_kill_while_blocked(tracer, routed):
    routed.router.ip("route", "add", "blackhole", "192.0.2.0/24")
    try:
        result = traffic.abort(routed.client, "192.0.2.1", 80, "kill", mode="blocking")
    finally:
        routed.router.ip("route", "del", "blackhole", "192.0.2.0/24")
    row_of(tracer, result, outcome="aborted", error=None)


def test_no_local_port(tracer, loopback, family):
    addr = loopback.server_addr(family)
    with traffic.Server(loopback.server, addr, mode="keep") as server:
        results = traffic.exhaust_ports(loopback.client, addr, server.port, ports=2, extra=2)
    assert [r.error for r in results] == [None, None, "EADDRNOTAVAIL", "EADDRNOTAVAIL"]
    rows = tracer.wait_for(lambda r: r["pid"] == results[0].pid, count=4)
    assert [r["outcome"] for r in rows] == ["established"] * 2 + ["no_local_port"] * 2
    for row in rows[2:]:
        assert (row["error"], row["syn_retransmits"], row["lport"]) == ("EADDRNOTAVAIL", None, 0)
        assert 0 < row["latency_us"] < 10000 + 1000 * during(row)


def test_bound_address_in_use(tracer, loopback):
    """A port of one's own choice that is taken for this destination: no local port either."""
    with traffic.Server(loopback.server, "127.0.0.1", mode="keep") as server:
        first, second = traffic.connect_from_port_in_use(
            loopback.client, ("127.0.0.1", 45678), "127.0.0.1", server.port)
    assert (first.error, second.error) == (None, "EADDRNOTAVAIL")
    rows = tracer.wait_for(lambda r: r["pid"] == first.pid, count=2)
    assert [(r["outcome"], r["error"], r["lport"], r["syn_retransmits"]) for r in rows] == [
        ("established", None, 45678, 0), ("no_local_port", "EADDRNOTAVAIL", 45678, None)]


@pytest.mark.parametrize("kind, outcome", [
    (None, "network_unreachable"),
    ("unreachable", "host_unreachable"),
    ("prohibit", "error"),
    ("blackhole", "error"),
])
def test_refused_by_this_host(tracer, loopback, family, kind, outcome):
    """No SYN ever leaves, and no TCP tracepoint fires: the system call tells."""
    result = traffic.refused_locally(loopback.client, kind, family, port=81)
    assert result.error == traffic.REFUSED_LOCALLY[kind]
    row = row_of(tracer, result, outcome=outcome, error=result.error, syn_retransmits=None,
                 handshake_rtt_us=None, ip=family, lport=0, laddr=IP[family],
                 netns=loopback.client.inode)
    assert 0 < row["latency_us"] <= result.latency_us
    assert len(tracer.matching(lambda r: r["pid"] == result.pid)) == 1


FETCH = """
import errno, os, select, socket, sys
s = socket.socket()
s.setblocking(False)
assert s.connect_ex((sys.argv[1], int(sys.argv[2]))) == errno.EINPROGRESS
p = select.poll(); p.register(s, select.POLLOUT); p.poll(5000)
print(errno.errorcode[s.connect_ex((sys.argv[1], int(sys.argv[2])))])
assert s.connect_ex(("203.0.113.9", 82)) == errno.ENETUNREACH
"""


def test_fetching_a_result_is_no_attempt(tracer, delayline):
    """A second connect() that only fetches an error makes no row; a third that is refused does."""
    with traffic.Server(delayline.server, delayline.server_v4) as server:
        port = server.port
    with delayline.client.popen(["/usr/bin/python3", "-c", FETCH, delayline.server_v4, str(port)],
                                stdout=-1, text=True) as p:
        assert p.communicate(timeout=10)[0].strip() == "ECONNREFUSED"
    stopped = tracer.stop()
    rows = [(r["outcome"], r["rport"]) for r in stopped.rows if r["pid"] == p.pid]
    assert rows == [("refused", port), ("network_unreachable", 82)]


def test_still_open_is_not_invented(routed):
    routed.router.ip("route", "add", "blackhole", "192.0.2.0/24")
    try:
        with Tracer("connect", "--json", "-r", "80") as t, \
                traffic.Client(routed.client, "192.0.2.1", 80, mode="epoll") as c, \
                traffic.Client(routed.client, "192.0.2.1", 81, mode="epoll") as other:
            c.go().connecting()
            other.go().connecting()
            stopped = t.stop()
    finally:
        routed.router.ip("route", "del", "blackhole", "192.0.2.0/24")
    assert stopped.rows == []
    # port 81 does not match the filter
    assert stopped.summary["still_open"] == 1
    assert sum(stopped.summary["lost"].values()) == 0


def test_begun_before_tracing_is_neither_lost_nor_shown(routed):
    routed.router.ip("route", "add", "blackhole", "192.0.2.0/24")
    try:
        with traffic.Client(routed.client, "192.0.2.1", 80, mode="epoll", abort="close",
                            abort_after_ms=1500) as c:
            c.go().connecting()
            with Tracer("connect", "--json", "--netns", str(routed.client.inode)) as t:
                c.result()
                stopped = t.stop()
    finally:
        routed.router.ip("route", "del", "blackhole", "192.0.2.0/24")
    assert stopped.rows == []
    assert (stopped.summary["unseen_start"], stopped.summary["still_open"]) == (1, 0)
    assert sum(stopped.summary["lost"].values()) == 0


@pytest.mark.parametrize("lost", [1, 2])
def test_lost_syn(tracer, family, lost):
    """RFC 6298: each lost SYN doubles the wait, from 1 s; since 6.5 the first few do not."""
    with paths.delayline(delay=(10, 10), drop_syn=lost) as path, \
            traffic.Server(path.server, path.server_addr(family)) as server:
        try:
            path.client.sysctl("net.ipv4.tcp_syn_linear_timeouts", 0)
        except FileNotFoundError:
            pass
        result = traffic.connect_once(path.client, server.addr, server.port)
    row = row_of(tracer, result, outcome="established", error=None, syn_retransmits=lost,
                 handshake_rtt_us=None)
    waited = (2 ** lost - 1) * 1e6
    assert waited + 20000 <= row["latency_us"] < waited + 20000 + 150000 * lost + 1000 * during(row)
    assert row["latency_us"] <= result.latency_us < \
        row["latency_us"] + 5000 + 1000 * during(result)


def test_failed_shows_only_failures(loopback):
    with traffic.Server(loopback.server, "127.0.0.1") as server, \
            Tracer("connect", "--json", "--failed", "--netns", str(loopback.client.inode)) as t:
        traffic.connect_once(loopback.client, "127.0.0.1", server.port)
        refused = traffic.connect_once(loopback.client, "127.0.0.1", 9)
        stopped = t.stop()
    assert [(r["pid"], r["outcome"]) for r in stopped.rows] == [(refused.pid, "refused")]


def test_tcpconnlat_leaves_out_what_got_no_answer(routed):
    """As the original does, unless --all-outcomes is given."""
    routed.router.ip("route", "add", "blackhole", "192.0.2.0/24")
    shown = {}
    try:
        for option in ([], ["--all-outcomes"]):
            with traffic.Server(routed.server, routed.server_v4) as server, \
                    Tracer("--json", *option, tool="tcpconnlat") as t:
                ok = traffic.connect_once(routed.client, routed.server_v4, server.port)
                no = traffic.connect_once(routed.client, routed.server_v4, 9)
                gone = traffic.abort(routed.client, "192.0.2.1", 80, "close")
                rows = t.stop().rows
            names = {ok.pid: "ok", no.pid: "no", gone.pid: "gone"}
            shown[bool(option)] = [names[r["pid"]] for r in rows if r["pid"] in names]
    finally:
        routed.router.ip("route", "del", "blackhole", "192.0.2.0/24")
    assert shown == {False: ["ok", "no"], True: ["ok", "no", "gone"]}


def test_features_says_what_this_kernel_has():
    run = run_tool(["--features"])
    assert run.status == 0
    assert os.uname().release in run.stdout
    line = next(x for x in run.stdout.splitlines() if x.startswith("inet_sock_set_state"))
    assert line.split()[1] == "yes"
