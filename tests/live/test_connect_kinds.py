# SPDX-License-Identifier: GPL-2.0-or-later
"""Connects that are not the plain kind: who, which family, which way of opening."""

import os
import subprocess

import pytest

from lib import paths, traffic
from lib.cgroups import cgroup2_mount
from lib.process import until
from lib.standstill import during
from lib.tool import Tracer


@pytest.fixture
def tracer():
    with Tracer("connect", "--json") as t:
        yield t


def rows_of(tracer, pid, count=1):
    found = tracer.wait_for(lambda r: r["pid"] == pid, count=count)
    return [found] if count == 1 else found


def test_non_blocking_with_epoll(tracer, any_path, family):
    with traffic.Server(any_path.server, any_path.server_addr(family)) as server:
        result = traffic.connect_epoll(any_path.client, server.addr, server.port)
    (row,) = rows_of(tracer, result.pid)
    assert (row["outcome"], row["lport"], row["tid"]) == ("established", result.lport, result.pid)
    # epoll wakes the client after the handshake has ended
    assert row["latency_us"] <= result.latency_us


def test_from_a_thread_that_is_gone(tracer, delayline):
    """The end comes in softirq, 20 ms after the thread that called connect() has exited."""
    with traffic.Server(delayline.server, delayline.server_v4) as server:
        result = traffic.connect_from_thread(delayline.client, server.addr, server.port,
                                             comm=b"main-name")
    (row,) = rows_of(tracer, result.pid)
    assert result.tid != result.pid
    assert (row["tid"], row["comm"], row["outcome"]) == (result.tid, "main-name", "established")
    assert 20000 <= row["latency_us"] < 22000 + 1000 * during(row)


def test_from_a_process_that_is_gone(tracer, delayline):
    """Killed while blocked, after the socket was handed to nobody: the owner stays known."""
    delayline.control("loss 100,0")
    try:
        result = traffic.abort(delayline.client, delayline.server_v4, 80, "kill", comm=b"gone")
    finally:
        delayline.control("loss 0,0")
    (row,) = rows_of(tracer, result.pid)
    assert (row["comm"], row["outcome"]) == ("gone", "aborted")


def test_ipv4_mapped(tracer, any_path):
    """An IPv6 socket that connects to ::ffff:a.b.c.d speaks IPv4, and is shown so."""
    with traffic.Server(any_path.server, any_path.server_v4) as server:
        result = traffic.connect_once(any_path.client, "::ffff:" + server.addr, server.port)
    (row,) = rows_of(tracer, result.pid)
    assert (row["ip"], row["raddr"], row["laddr"], row["outcome"]) == (
        4, server.addr, any_path.client_v4, "established")


def test_ipv4_mapped_refused(tracer, loopback):
    result = traffic.connect_once(loopback.client, "::ffff:127.0.0.1", 9)
    (row,) = rows_of(tracer, result.pid)
    assert (row["ip"], row["raddr"], row["laddr"], row["outcome"]) == (
        4, "127.0.0.1", "127.0.0.1", "refused")


def test_simultaneous_open(tracer, family):
    """Two SYNs cross: both ends are active opens, each ends when its SYN-ACK has come."""
    with paths.delayline(delay=(40, 40)) as path:
        ours, theirs = traffic.simultaneous_open(path, family)
    assert ours.established and theirs.established
    for result in (ours, theirs):
        (row,) = rows_of(tracer, result.pid)
        assert (row["outcome"], row["error"]) == ("established", None)
        assert 40000 <= row["latency_us"] <= result.latency_us
        assert result.latency_us - row["latency_us"] < 5000 + 1000 * during(result)


def test_simultaneous_open_closed_in_its_midst(tracer, delayline):
    """SYN_RECV to FIN_WAIT1: given up by the program, and no success."""
    a, b = delayline.client_v4, delayline.server_v4
    delayline.control("delay 300,10")
    try:
        with traffic.Client(delayline.client, b, 7302, mode="epoll", source=(a, 7301),
                            abort="close", abort_after_ms=100) as ours, \
                traffic.Client(delayline.server, a, 7301, mode="epoll",
                               source=(b, 7302)) as theirs:
            ours.go().connecting()
            theirs.go().connecting()
            result = ours.result()
    finally:
        delayline.control("delay 10,10")
    (row,) = rows_of(tracer, result.pid)
    assert (row["outcome"], row["error"]) == ("aborted", None)
    assert 100000 <= row["latency_us"] < 200000 + 1000 * during(row)


def test_connected_to_itself(tracer, loopback, family):
    addr = loopback.server_addr(family)
    result = traffic.connect_bound_to_itself(loopback.client, addr, 7400)
    assert result.established
    (row,) = rows_of(tracer, result.pid)
    assert (row["outcome"], row["lport"], row["rport"], row["laddr"], row["raddr"]) == (
        "established", 7400, 7400, addr, addr)
    assert 0 < row["latency_us"] <= result.latency_us


def test_deferred_fast_open(tracer, delayline, family):
    """The SYN leaves with the first write: 250 ms of idle program are not the network's."""
    first, second = traffic.connect_fastopen(delayline, family, idle_ms=250)
    assert not first.syn_data and second.syn_data
    assert second.wrote_us >= 250000
    row = rows_of(tracer, first.pid)[0]
    assert 20000 <= row["latency_us"] < 22000 + 1000 * during(row)
    (row,) = rows_of(tracer, second.pid)
    assert (row["outcome"], row["syn_retransmits"]) == ("established", 0)
    assert 20000 <= row["latency_us"] < 22000 + 1000 * during(row)
    assert 20000 <= row["handshake_rtt_us"] < 22000 + 1000 * during(row)


WRITE_LATER = """
import socket, sys, threading
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
s.connect((sys.argv[1], 9))
threading.Event().wait(0.25)
try:
    s.sendall(b"x")
except ConnectionRefusedError:
    print("refused")
"""


def test_deferred_fast_open_refused(tracer, delayline):
    """No handshake sample here: the kernel's note of the first SYN, good to 1 ms, serves."""
    traffic.connect_fastopen(delayline)
    with delayline.client.popen(["/usr/bin/python3", "-c", WRITE_LATER, delayline.server_v4],
                                stdout=subprocess.PIPE, text=True) as p:
        assert p.communicate(timeout=10)[0] == "refused\n"
    (row,) = rows_of(tracer, p.pid)
    assert row["outcome"] == "refused"
    assert 19000 <= row["latency_us"] <= 23000 + 1000 * during(row)


def test_deferred_fast_open_never_written(tracer, delayline):
    """Closed before the first write: no SYN was ever sent, and the row says so."""
    traffic.connect_fastopen(delayline)
    with traffic.Server(delayline.server, delayline.server_v4, fastopen=16) as server:
        result = traffic.connect_once(delayline.client, server.addr, server.port, fastopen=True)
    rows = rows_of(tracer, result.pid)
    assert (rows[0]["outcome"], rows[0]["syn_retransmits"], rows[0]["error"]) == (
        "aborted", None, None)
    assert rows[0]["lport"] == result.lport


def test_mptcp(tracer, any_path):
    for ns in {any_path.client, any_path.server}:
        try:
            ns.sysctl("net.mptcp.enabled", 1)
        except FileNotFoundError:
            pytest.skip("this kernel has no MPTCP")
    with traffic.Server(any_path.server, any_path.server_v4, mptcp=True) as server:
        result = traffic.connect_mptcp(any_path.client, server.addr, server.port)
    assert result.established
    (row,) = rows_of(tracer, result.pid)
    # The subflow is a TCP connection of the process that called connect(); one row, not two.
    assert (row["outcome"], row["rport"], row["raddr"]) == (
        "established", server.port, server.addr)
    assert len(tracer.matching(lambda r: r["pid"] == result.pid)) == 1


def test_mptcp_refused_by_this_host(tracer, loopback):
    try:
        loopback.client.sysctl("net.mptcp.enabled", 1)
    except FileNotFoundError:
        pytest.skip("this kernel has no MPTCP")
    result = traffic.connect_mptcp(loopback.client, "203.0.113.7", 80)
    assert result.error == "ENETUNREACH"
    (row,) = rows_of(tracer, result.pid)
    assert (row["outcome"], row["syn_retransmits"]) == ("network_unreachable", None)


@pytest.mark.parametrize("comm", [b"\x1b[31mred", b'a"b\\c', b"new\nline", b"\xff\xfe\x80bad",
                                  "naïve".encode(), b"a" * 15])
def test_comm_as_it_is(tracer, loopback, comm):
    """Names come through JSON whole; only bytes that are no UTF-8 are written as \\xNN."""
    result = traffic.connect_once(loopback.client, "127.0.0.1", 9, comm=comm)
    (row,) = rows_of(tracer, result.pid)
    assert row["comm"] == comm.decode(errors="backslashreplace")
    assert tracer.malformed == []


def test_cgroup_of_the_caller(tracer, loopback):
    mount = cgroup2_mount()
    if not mount:
        pytest.skip("cgroup v2 is not mounted")
    path = os.path.join(mount, f"tcplat-test-{os.getpid()}")
    os.mkdir(path)
    try:
        with traffic.Client(loopback.client, "127.0.0.1", 9) as c:
            with open(path + "/cgroup.procs", "w") as f:
                f.write(str(c.pid))
            result = c.go().result()
            (row,) = rows_of(tracer, result.pid)
            assert row["cgroup"] == "/" + os.path.basename(path)
        until(lambda: not open(path + "/cgroup.procs").read(), 5, "the group to be empty")
    finally:
        os.rmdir(path)


def test_netns_of_the_socket(tracer, veth):
    """Namespaces are told apart even where both sides use the same addresses."""
    for ns in (veth.client, veth.server):
        result = traffic.connect_once(ns, "127.0.0.1", 9)
        (row,) = rows_of(tracer, result.pid)
        assert row["netns"] == ns.inode


def test_curl_and_nginx(tracer, veth, tmp_path):
    """A real client and a real server: one row a connection, keep-alive makes none."""
    conf = tmp_path / "nginx.conf"
    temp = "".join(f"{n}_temp_path {tmp_path}; " for n in
                   ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf.write_text(f"daemon off; pid {tmp_path}/pid; error_log stderr crit;\n"
                    "events {}\n"
                    f"http {{ access_log off; {temp}"
                    "server { listen 8080; listen [::]:8080; location / { return 200 'ok'; } } }\n")
    with veth.server.popen(["/usr/sbin/nginx", "-c", str(conf), "-p", str(tmp_path)],
                           stderr=subprocess.DEVNULL) as nginx:
        try:
            listening = ["ss", "-Hltn", "sport", "=", "8080"]
            until(lambda: veth.server.run(listening).stdout.count("8080") >= 2, 10, "nginx")
            url = f"http://{veth.server_v4}:8080/"
            curl = veth.client.popen(["curl", "-s", "--noproxy", "*", url, url, url],
                                     stdout=subprocess.PIPE, text=True)
            assert curl.communicate(timeout=10)[0] == "ok" * 3
            six = veth.client.popen(["curl", "-s", "-g", "--noproxy", "*",
                                     f"http://[{veth.server_v6}]:8080/"],
                                    stdout=subprocess.PIPE, text=True)
            assert six.communicate(timeout=10)[0] == "ok"
        finally:
            nginx.terminate()
    (row,) = rows_of(tracer, curl.pid)
    assert (row["comm"], row["raddr"], row["rport"], row["outcome"]) == (
        "curl", veth.server_v4, 8080, "established")
    assert rows_of(tracer, six.pid)[0]["ip"] == 6
    assert len(tracer.matching(lambda r: r["pid"] == curl.pid)) == 1


def test_no_row_for_other_protocols(tracer, loopback):
    """UDP and unix sockets have connect() too."""
    code = ("import socket\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "s.connect(('127.0.0.1', 9))\n"
            "assert s.connect_ex(('203.0.113.5', 9)) == 101\n"
            "u = socket.socket(socket.AF_UNIX)\n"
            "assert u.connect_ex('/nonexistent') == 2\n")
    with loopback.client.popen(["/usr/bin/python3", "-c", code]) as p:
        assert p.wait(10) == 0
    result = traffic.connect_once(loopback.client, "127.0.0.1", 9)
    rows_of(tracer, result.pid)
    assert tracer.matching(lambda r: r["pid"] == p.pid) == []
