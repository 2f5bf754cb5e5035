# SPDX-License-Identifier: GPL-2.0-or-later
"""tcplat pickup: every byte that programs read is in a row, once, or counted as lost."""

import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile

import pytest

from lib import binaries, reader
from lib.commands import ping_pong, script, wait_end
from lib.process import Child, until
from lib.tool import Tracer, run_tool

def pickup(ns, *options, **kw):
    return Tracer("pickup", "--json", "--netns", ns.inode, *options, **kw)


def clean(stopped):
    """Nothing was lost, and the summary knows how many rows there were."""
    assert stopped.status == 0 and stopped.summary["events"] == len(stopped.rows)
    assert not any(stopped.summary["lost"].values()), stopped.summary
    assert all(row["latency_us"] >= 0 and row["bytes"] > 0 and row["segments"] > 0
               for row in stopped.rows)
    return stopped.rows


def by(rows, key):
    """{value of the key: bytes}"""
    found = collections.Counter()
    for row in rows:
        found[row[key]] += row["bytes"]
    return found


# --- a web server under load ---------------------------------------------------------------------


@contextlib.contextmanager
def nginx(ns):
    with tempfile.TemporaryDirectory(prefix="tcplat-nginx-") as where:
        paths = "".join(f"{kind}_temp_path {where}; "
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(f"{where}/nginx.conf", "w", encoding="ascii") as file:
            file.write(f"daemon off; master_process off; pid {where}/pid; error_log stderr crit; "
                       "events { worker_connections 1024; } "
                       f"http {{ access_log off; {paths} keepalive_requests 100000000; "
                       "server { listen 127.0.0.1:8080; location / { return 200 'ok'; } } }")
        with Child(["/usr/sbin/nginx", "-c", f"{where}/nginx.conf", "-p", where], ns) as child:
            until(lambda: ns.run(["ss", "-Htln", "sport = :8080"]).stdout, 5, "nginx to listen")
            try:
                yield child
            finally:
                child.signal(signal.SIGTERM)


def wrk(ns, *options, seconds=1):
    """(requests, bytes) it has read."""
    out = ns.run(["wrk", "-t1", "-c16", f"-d{seconds}s", "http://127.0.0.1:8080/", *options]).stdout
    count, got, unit = re.search(r"(\d+) requests in .*, ([\d.]+)(\wB) read", out).groups()
    return int(count), float(got) * {"KB": 2**10, "MB": 2**20, "GB": 2**30}[unit]


REQUEST = len("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")


@pytest.mark.skipif(not os.path.exists("/usr/sbin/nginx"), reason="needs nginx")
def test_web_server(loopback):
    """Requests have one size and answers have one."""
    ns = loopback.server
    with nginx(ns) as server, pickup(
            ns, "--buffer", "256m", "-o", "/dev/shm/tcplat-books") as rows, \
            pickup(ns, "--hist", "--by", "comm") as hist, \
            pickup(ns, "--hist", "--by", "comm,lport", "-i", "200ms") as split:
        try:
            count, read = wrk(ns)
            assert rows.stop().status == 0
            with open("/dev/shm/tcplat-books", encoding="ascii") as file:
                *found, summary = map(json.loads, file)
        finally:
            os.unlink("/dev/shm/tcplat-books")
        hist, split = hist.stop(), split.stop()
        assert {row["pid"] for row in found if row["comm"] == "nginx"} == {server.pid}
    assert not any(summary["lost"].values()) and summary["events"] == len(found)
    assert collections.Counter(row["bytes"] for row in found if row["comm"] == "nginx").keys() == {
        REQUEST}
    made = collections.Counter(row["comm"] for row in found)
    # wrk does not count what is under way at its end, on 16 connections
    assert count <= made["wrk"] <= made["nginx"] <= count + 32
    sizes = by(found, "comm")
    (answer,) = {row["bytes"] for row in found if row["comm"] == "wrk"}
    assert abs(sizes["wrk"] - 16 * answer - read) < 0.01 * read + 32 * answer
    # three tracers at once, and all of them right
    assert {row["key"]["comm"]: row["count"] for row in hist.rows} == made
    again = collections.Counter()
    for row in split.rows:
        again[row["key"]["comm"]] += row["count"]
        assert (row["key"]["lport"] == 8080) == (row["key"]["comm"] == "nginx")
    assert again == made
    for stopped in (hist, split):
        assert not any(stopped.summary["lost"].values())


@pytest.mark.skipif(not os.path.exists("/usr/sbin/nginx"), reason="needs nginx")
def test_ring_full(loopback):
    """What a ring of a page could not take is counted: as many as another tracer has seen."""
    ns = loopback.server
    with nginx(ns), pickup(ns, "--buffer", "4k") as small, pickup(ns, "--hist") as hist:
        small.signal(signal.SIGSTOP)
        wrk(ns, "-H", "Connection: close", seconds=1)
        small.signal(signal.SIGCONT)
        small, hist = small.stop(), hist.stop()
    lost = small.summary["lost"]
    assert len(small.rows) == small.summary["events"] > 0
    assert lost["ring_full"] == sum(lost.values()) > 1000
    assert not any(hist.summary["lost"].values())
    (row,) = hist.rows
    assert row["count"] == hist.summary["events"] == len(small.rows) + lost["ring_full"]


@pytest.mark.skipif(os.cpu_count() < 2, reason="the load would take the only processor")
def test_interrupted_under_load(loopback):
    """SIGINT, and a reader that goes away, while data come."""
    ns = loopback.server
    load = ping_pong()
    with Child(load, ns) as child, contextlib.ExitStack() as stack:
        stack.callback(child.signal, signal.SIGKILL)  # it reads no input
        child.line()
        for options in ([], ["--hist"], ["--split"], ["--split", "--hist"]):
            with subprocess.Popen([binaries.tool(), "pickup", "--json", "--netns", str(ns.inode),
                                   *options, "-v", "-o", "/dev/null"],
                                  stderr=subprocess.PIPE, text=True) as tool:
                try:
                    for line in tool.stderr:
                        if "probes attached" in line:
                            break
                    tool.send_signal(signal.SIGINT)
                    assert tool.wait(5) == 0, options
                finally:
                    tool.kill()
            # nor does its own time end it later
            done = run_tool(["pickup", "--json", "--netns", ns.inode, *options, "-d", "200ms",
                             "-o", "/dev/null"], timeout=5)
            assert done.status == 0
        with ns.entered():
            tool = subprocess.Popen([binaries.tool(), "pickup", "--json", "--netns", str(ns.inode)],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with tool:
            tool.stdout.readline()
            tool.stdout.close()
            assert tool.wait(10) == 0
            assert b"lost" not in tool.stderr.read()


# --- many connections ----------------------------------------------------------------------------

# Each connection says its number, in so many bytes, and gets it back.
SHORT = """
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    os.write(1, b"%d\\n" % server.getsockname()[1])
    count = int(sys.argv[1])
    if not os.fork():
        for _ in range(count):
            conn = server.accept()[0]
            conn.sendall(conn.recv(1000))
            conn.close()
        os._exit(0)
    for number in range(count):
        with socket.create_connection(server.getsockname()) as conn:
            said = b"x" * (1 + number % 500)
            conn.sendall(said)
            assert conn.recv(1000) == said
    """


def test_short_connections(loopback):
    """10,000; ports are used again soon."""
    ns = loopback.server
    old = ns.sysctl("net.ipv4.ip_local_port_range", "40000 40999")
    tw = ns.sysctl("net.ipv4.tcp_max_tw_buckets", "0")
    try:
        with pickup(ns) as tracer, pickup(ns, "--hist", "--by", "lport", "--max-keys", "2000"
                                          ) as hist:
            port = int(ns.run(script(SHORT, 10000)).stdout)
            rows, hist = clean(tracer.stop()), hist.stop()
    finally:
        ns.sysctl("net.ipv4.ip_local_port_range", old)
        ns.sysctl("net.ipv4.tcp_max_tw_buckets", tw)
    assert len(rows) == 20000
    for side in ("lport", "rport"):
        one = [row for row in rows if row[side] == port]
        # one after the other, each once; a connection has one reader at each end
        assert [row["bytes"] for row in one] == [1 + number % 500 for number in range(10000)]
        assert len({row["pid"] for row in one}) == 1
    counts = {row["key"]["lport"]: row["count"] for row in hist.rows}
    assert counts == collections.Counter(row["lport"] for row in rows)
    assert counts.pop(port) == 10000 and len(counts) <= 1000 and hist.summary["events"] == 20000


def test_unread_at_the_end(loopback):
    """300 connections with data that nobody has taken; what was in the queue before us is not
    ours. Only what has been noted is known: of three arrivals two."""
    program = script(
        """
        server = socket.create_server(("127.0.0.1", 0), backlog=512)
        pairs = []
        for _ in range(300):
            one = socket.create_connection(server.getsockname())
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pairs.append((one, server.accept()[0]))
        print("connected", flush=True)
        for line in sys.stdin:
            for one, two in pairs:
                if line == "send\\n":
                    one.send(b"x" * 10)
                else:
                    two.recv(1000)
            print("done", flush=True)
        """)
    ns = loopback.server
    with Child(program, ns) as child:
        child.line()

        def do(what):
            child.send(what)
            assert child.line() == "done"

        do("send")
        do("send")
        do("read")
        with pickup(ns) as tracer, pickup(ns, "--hist") as hist, pickup(ns, "-p", child.pid) as pid:
            for _ in range(3):
                do("send")
            stopped = [t.stop() for t in (tracer, hist)]
            do("read")
            later = pid.stop()
        for end in stopped:
            assert not end.rows and not any(end.summary["lost"].values())
            assert 600 <= end.summary["still_open"] <= 900
        assert len(clean(later)) == 900 and later.summary["still_open"] == 0
        do("send")
        do("send")
        with pickup(ns) as tracer:
            do("send")
            do("read")
            stopped = tracer.stop()
        assert by(clean(stopped), "comm") == {"python3": 300 * 10}
        assert stopped.summary["unseen_start"] in (300, 600)
        child.signal(signal.SIGKILL)


# --- ends ----------------------------------------------------------------------------------------


def test_ends_with_data_unread(loopback):
    """The reader is killed, or closes; the sender resets. No row says that it was read."""
    ns = loopback.server
    with pickup(ns) as tracer, pickup(ns, "--split", "--hist") as hist:
        with reader.pair(loopback, comm=b"killed") as (_, rcv):
            rcv.schedule([(0, 100), (0, 50), (0, 60)], [(5, "recv", 120)])
            pidfd = os.pidfd_open(rcv.pid)
            rcv.signal(signal.SIGKILL)
            wait_end(pidfd)
            os.close(pidfd)
        with reader.pair(loopback, comm=b"closed") as (_, rcv):
            rcv.schedule([(0, 100), (0, 50), (0, 60)], [(5, "recv", 120)])
            rcv.close()
        with reader.pair(loopback, comm=b"was reset") as (snd, rcv):
            rcv.schedule([(0, 100), (0, 50), (0, 60)], [(5, "recv", 120)])
            snd.close(reset=True)
            # the queue outlives the connection
            assert [read.nbytes for read in rcv.schedule(
                [], [(0, "recv", 500), (1, "recv", 500)]).reads] == [90, -104]
        stopped, hist = tracer.stop(), hist.stop()
    rows = clean(stopped)
    assert [(row["comm"], row["bytes"]) for row in rows] == [
        ("killed", 100), ("closed", 100), ("was reset", 100), ("was reset", 50), ("was reset", 60)]
    assert all(0 < row["latency_us"] < 1e6 for row in rows)
    assert stopped.summary["still_open"] == 0
    assert {row["count"] for row in hist.rows} == {5}


REUSED = """
    import ctypes, time
    now = time.monotonic_ns
    servers = [socket.create_server((addr, 0)) for addr in ("127.0.0.1", "127.0.0.2")]
    sock = socket.socket()
    for server in servers:
        sock.connect(server.getsockname())
        peer = server.accept()[0]
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for size in (100, 50, 60, 70, 80):  # more than the first, small list holds
            peer.send(b"x" * size)
        sent = now()
        while now() < sent + 3_000_000:
            pass
        before = now()
        # the last arrival stays where it is
        assert len(sock.recv(280)) == 280
        print(*sock.getsockname(), *server.getsockname(), (before - sent) / 1e3, flush=True)
        ctypes.CDLL(None).connect(sock.fileno(), bytes(16), 16)  # AF_UNSPEC
        peer.close()
    """


def test_a_socket_that_is_used_again(loopback):
    """Other addresses, and no wait from the time before."""
    ns = loopback.server
    with pickup(ns) as tracer, pickup(ns, "--hist", "--by", "laddr,rport") as hist:
        said = [line.split() for line in ns.run(script(REUSED)).stdout.splitlines()]
        rows = clean(tracer.stop())
        counts = {(row["key"]["laddr"], row["key"]["rport"]): row["count"]
                  for row in hist.stop().rows}
    assert [row["bytes"] for row in rows] == [100, 50, 60, 70] * 2
    for i, (laddr, lport, raddr, rport, waited) in enumerate(said):
        for row in rows[4 * i:4 * i + 4]:
            assert [row["laddr"], row["lport"], row["raddr"], row["rport"]] == [
                laddr, int(lport), raddr, int(rport)]
            assert float(waited) <= row["latency_us"] < float(waited) + 50_000
        assert counts.pop((laddr, int(rport))) == 4
    assert not counts


def test_mptcp(loopback):
    """The subflows' sockets are read by no program: no rows, and nothing piles up."""
    ns = loopback.server
    program = script(
        """
        def mptcp():
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
        server = mptcp()
        server.bind(("127.0.0.1", 0))
        server.listen()
        one = mptcp()
        one.connect(server.getsockname())
        two = server.accept()[0]
        for _ in range(200):
            one.send(b"x" * 100)
            assert two.recv(1000)
        for _ in range(100):
            one.send(b"x" * 100)
        import time
        got = 0
        while got < 10000:
            got += len(two.recv(10000))
        print(got)
        """)
    with pickup(ns) as tracer, pickup(ns, "--hist") as hist:
        done = ns.run(program, check=False)
        if done.returncode and "Protocol not" in done.stderr:
            pytest.skip("no MPTCP here")
        assert done.stdout == "10000\n", done.stderr
        stopped, hist = tracer.stop(), hist.stop()
    assert clean(stopped) == [] == hist.rows and stopped.summary["still_open"] == 0
    assert not any(hist.summary["lost"].values())


@pytest.mark.parametrize("name, table, text", [
    (b"new\nline\x1b[31m", "new\\x0aline\\x1b[31m", "new\nline\x1b[31m"),
    (b"bad\xff\xfe", "bad\\xff\\xfe", "bad\\xff\\xfe"),
    (b'{"event":1}', '{"event":1}', '{"event":1}'),
])
def test_hostile_names(loopback, name, table, text):
    ns = loopback.server
    with pickup(ns) as rows, pickup(ns, "--hist", "--by", "comm") as hist, \
            Tracer("pickup", "--netns", ns.inode, "--columns", "comm") as plain, \
            Tracer("--json", tool="tcppktlat") as dropin, \
            reader.pair(loopback, comm=name) as (_, rcv):
        rcv.schedule([(0, 10)], [(1, "recv", 10)])
        dropin.wait_for(lambda row: row["pid"] == rcv.pid)
        assert [row["comm"] for row in clean(rows.stop())] == [text]
        assert [row["key"]["comm"] for row in hist.stop().rows] == [text]
        assert plain.stop().status == 0 and plain.lines == ["COMM", table]
        assert {row["comm"] for row in dropin.stop().rows if row["pid"] == rcv.pid} == {text}
