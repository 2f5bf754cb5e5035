# SPDX-License-Identifier: GPL-2.0-or-later
"""The traffic does what it is named after, the wrappers report it, and nothing is left behind."""

import contextlib
import os
import socket
import subprocess
import sys
import textwrap

import pytest

from lib import netns, paths, traffic
from lib.capture import Capture
from lib.process import until
from lib.standstill import between, during
from lib.tool import Tracer, run_tool

TESTS = os.path.dirname(os.path.abspath(__file__))

# --- what becomes of a connect() -----------------------------------------------------------------


def test_router_answers():
    with paths.routed() as path, contextlib.ExitStack() as stack:
        expected = {
            ("unreachable", 4): "EHOSTUNREACH", ("unreachable", 6): "ENETUNREACH",
            ("prohibit", 4): "EHOSTUNREACH", ("prohibit", 6): "EACCES",
            ("blackhole", 4): "ETIMEDOUT", ("blackhole", 6): "ETIMEDOUT",
            (None, 4): "ENETUNREACH", (None, 6): "ENETUNREACH",
        }
        clients = {}
        for number, (kind, family) in enumerate(expected):
            addr = f"192.0.2.{number}" if family == 4 else f"2001:db8::{number}"
            if kind:
                path.router.ip(f"-{family}", "route", "add", kind, addr)
            clients[kind, family] = stack.enter_context(traffic.Client(
                path.client, addr, 80,
                sockopts=[(socket.IPPROTO_TCP, traffic.TCP_USER_TIMEOUT, 500)]))
        with Capture(path.client, path.client_dev, "icmp or icmp6") as capture:
            for client in clients.values():
                client.go()
            for key, client in clients.items():
                result = client.result()
                assert result.error == expected[key], key
                if key[0] != "blackhole":
                    assert 20.0 <= result.latency_ms <= 30.0 + during(result), key
        errors = [packet for packet in capture.packets if packet.icmp[0] in (1, 3)]
        assert len(errors) == 6
        assert {packet.dport for packet in errors} == {80}

        with traffic.Server(path.server, path.server_v6) as server:
            result = traffic.connect_once(path.client, path.server_v6, server.port)
            assert result.established and 20.0 <= result.latency_ms <= 30.0 + during(result)


@pytest.mark.parametrize("family", [4, 6])
def test_aborted_attempts(family):
    with paths.delayline() as path:
        path.control("hold")
        addr = path.server_addr(family)
        for how in ("close", "unspec"):
            result = traffic.abort(path.client, addr, 80, how)
            assert result.aborted and result.lport and 20 <= result.latency_ms < 200 + during(result)
        result = traffic.abort(path.client, addr, 80, "ss")
        assert result.error == "ECONNABORTED"
        for mode in ("epoll", "blocking"):
            result = traffic.abort(path.client, addr, 80, "kill", mode=mode)
            assert result.aborted and result.lport
            assert result.laddr == path.client_addr(family)
        assert path.client.pids() == []


@pytest.mark.parametrize("family", [4, 6])
def test_ways_to_connect(family):
    with paths.delayline() as path:
        addr = path.server_addr(family)
        with traffic.Server(path.server, addr, mode="keep") as server:
            result = traffic.connect_epoll(path.client, addr, server.port)
            assert result.established and result.pid == result.tid
            assert 20.0 <= result.latency_ms <= 30.0 + during(result)
            result = traffic.connect_from_thread(path.client, addr, server.port)
            assert result.established and result.pid != result.tid
            server.wait_accepted(2)

            errors = [r.error for r in traffic.exhaust_ports(path.client, addr, server.port)]
            assert errors == [None, None, "EADDRNOTAVAIL"]
            source = (path.client_addr(family), 6000)
            first, second = traffic.connect_from_port_in_use(
                path.client, source, addr, server.port)
            assert (first.error, second.error) == (None, "EADDRNOTAVAIL")
            assert first.lport == second.lport == 6000
        with traffic.Server(path.server, addr, mptcp=True) as server:
            assert traffic.connect_mptcp(path.client, addr, server.port).established

        for result in traffic.simultaneous_open(path, family):
            assert result.established and 20.0 <= result.latency_ms <= 30.0 + during(result)
        first, second = traffic.connect_fastopen(path, family, idle_ms=60)
        assert first.established and not first.syn_data and first.latency_ms >= 20.0
        assert second.established and second.syn_data and second.latency_ms < 10.0 + during(second)
        assert 60 <= second.wrote_us / 1000 < 75 + between(
            second.wall, second.wall + second.wrote_us / 1e6) and second.replied_us / 1000 >= 80.0

        for kind, error in traffic.REFUSED_LOCALLY.items():
            assert traffic.refused_locally(path.client, kind, family).error == error


def test_client_is_known_before_it_connects():
    with paths.loopback() as path:
        for family in (4, 6):
            addr = path.client_addr(family)
            result = traffic.connect_bound_to_itself(path.client, addr, 7777)
            assert result.established and result.lport == result.rport == 7777
        comm = b'a"\\\n\xff\x1b[1m'
        with traffic.Client(path.client, "127.0.0.1", 1, comm=comm) as client:
            with open(f"/proc/{client.pid}/comm", "rb") as file:
                assert file.read() == comm + b"\n"
            assert client.pid in path.client.pids()
            assert client.go().result().error == "ECONNREFUSED"


@pytest.mark.parametrize("family", [4, 6])
def test_storm_accounts_for_every_connect(family):
    with paths.loopback() as path:
        addr = path.server_addr(family)
        with traffic.StormServer(path.server, addr) as server:
            made = 0
            for opts in ({"reset_close": True}, {"reset_close": True, "parallel": 50},
                         {"threads": 3, "reset_close": True}, {"rate": 20000, "reset_close": True}):
                account = traffic.storm(path.client, addr, server.port, 2000, **opts)
                assert account["made"] == account["established"] == 2000
                assert account["failed"] == account["not_started"] == {}
                assert "rate" not in opts or 0.095 <= account["elapsed_s"] < 1.0
                made += 2000
            assert server.accepted() == made
        for opts in ({}, {"parallel": 10}):
            account = traffic.storm(path.client, addr, 1, 100, **opts)
            assert (account["made"], account["failed"]) == (100, {"ECONNREFUSED": 100})
            nowhere = "192.0.2.1" if family == 4 else "2001:db8::1"
            account = traffic.storm(path.client, nowhere, 1, 100, **opts)
            assert (account["made"], account["not_started"]) == (0, {"ENETUNREACH": 100})


def test_storm_spreads_its_sources():
    with paths.loopback() as path, traffic.StormServer(path.server, "127.0.0.1") as server:
        path.client.sysctl("net.ipv4.ip_local_port_range", "40000 40003")
        account = traffic.storm(path.client, "127.0.0.1", server.port, 40)
        assert account["made"] == 40 and account["failed"] == {"EADDRNOTAVAIL": 36}
        account = traffic.storm(path.client, "127.0.0.1", server.port, 40,
                                bind_any_source="127.1.0.0/16")
        assert account["established"] == 40


# --- the tool ------------------------------------------------------------------------------------

def tool_directory(path, source):
    """A build directory whose tcplat is a small Python program."""
    script = path / "tcplat"
    script.write_text(f"#!{sys.executable}\n{textwrap.dedent(source)}")
    script.chmod(0o755)
    return path


FAKE = r"""
    import json, os, signal, sys
    print("libbpf: noise", file=sys.stderr)
    if "-v" in sys.argv:
        print("7 probes attached", file=sys.stderr, flush=True)
    if "--version" in sys.argv:
        print(os.path.basename(sys.argv[0]), "1")
        sys.exit(3)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    print("HEAD OF A TABLE")
    for n in range(3):
        print(json.dumps({"event": "connect", "n": n, "args": sys.argv[1:]}), flush=True)
    if "--garbage" in sys.argv:
        sys.stdout.buffer.write(b'{"comm":"\xff"}\n{"half\n')
    signal.sigwait([signal.SIGINT])
    print(json.dumps({"event": "summary", "events": 3}), flush=True)
"""


def test_tracer(tmp_path, monkeypatch):
    monkeypatch.setenv("TCPLAT_BUILD", str(tool_directory(tmp_path, FAKE)))
    monkeypatch.delenv("TCPLAT", raising=False)
    with Tracer("connect", "--json", "--", "true") as tracer:
        row = tracer.wait_for(lambda row: row["n"] == 2)
        assert row["args"] == ["connect", "--json", "-v", "--", "true"]
        assert len(tracer.wait_for(lambda row: True, count=3)) == 3
        with pytest.raises(AssertionError):
            tracer.wait_for(lambda row: row["n"] == 3, timeout=0.05)
        status, rows, summary, stderr = tracer.stop()
        assert (status, len(rows), summary["events"]) == (0, 3, 3)
        assert stderr == "libbpf: noise\n7 probes attached\n"
        assert tracer.lines[0] == "HEAD OF A TABLE"
    with pytest.raises(RuntimeError, match="never ready.*\n.*noise"):
        Tracer("--version", verbose=None)
    with pytest.raises(AssertionError, match="not JSON"):
        with Tracer("--garbage") as tracer:
            tracer.wait_for(lambda row: row["n"] == 2)
    assert run_tool(["--version"]) == ("tcplat 1\n", "libbpf: noise\n", 3)
    assert run_tool(["--version"], tool="tcprtt").stdout == "tcprtt 1\n"
    with pytest.raises(subprocess.TimeoutExpired):
        run_tool([], timeout=0.3)


# --- nothing is left behind ----------------------------------------------------------------------

VICTIM = """
    import sys
    sys.path.insert(0, {tests!r})
    from lib import paths, traffic
    from lib.capture import Capture
    with paths.delayline() as path, Capture(path.client, path.client_dev) as capture, \\
            traffic.Server(path.server, path.server_v4) as server:
        path.server.popen(["tail", "-f", "/dev/null"])
        print(path.client.name, path.server.name, path.line.child.pid, server.pid,
              capture._process.pid, *path.server.pids(), flush=True)
        sys.stdin.read()
"""


def ours():
    return [name for name in os.listdir(netns.RUN) if name.startswith(f"tcplat-{os.getpid()}-")]


def test_killed_session_is_swept():
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(VICTIM).format(tests=TESTS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as victim:
        names, pids = [], []
        for word in victim.stdout.readline().split():
            (pids if word.isdigit() else names).append(word)
        assert len(names) == 2 and len(pids) >= 5
        assert not set(names) & set(netns.sweep())  # its creator lives
        victim.kill()
        victim.wait()
    assert set(names) <= set(netns.sweep())
    assert not set(names) & set(os.listdir(netns.RUN))
    until(lambda: not any(netns._is_running(int(pid)) for pid in pids), 5, f"one of {pids} lives")
    assert not set(netns.sweep()) & set(names)


def test_failure_inside_leaves_nothing():
    before = ours()
    with pytest.raises(ZeroDivisionError):
        with paths.routed() as path, Capture(path.client, path.client_dev):
            child = path.server.popen(["sh", "-c", "tail -f /dev/null &"])
            child.wait()
            (pid,) = path.server.pids()
            raise ZeroDivisionError
    assert ours() == before
    assert not netns._is_running(pid)


def test_namespace_is_what_it_says():
    before = ours()
    with netns.NetNS() as ns:
        assert ns.run(["readlink", "/proc/self/ns/net"]).stdout == f"net:[{ns.inode}]\n"
        assert ns.sysctl("net.ipv4.tcp_syn_retries", 3) == "6"
        assert ns.sysctl("net.ipv4.tcp_syn_retries") == "3"
        with open("/proc/sys/net/ipv4/tcp_syn_retries", encoding="ascii") as file:
            assert file.read() == "6\n"  # ours is as it was
        with pytest.raises(subprocess.CalledProcessError):
            ns.run(["false"])
        inode = ns.inode
        assert inode != os.stat("/proc/self/ns/net").st_ino
    assert ours() == before
