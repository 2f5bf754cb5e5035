# SPDX-License-Identifier: GPL-2.0-or-later
"""tcppktlat as people know it: columns, widths and options, on real reads."""

import contextlib
import re
import signal

import pytest

from lib import reader
from lib.commands import script
from lib.tool import Tracer, run_tool

HEADER = "PID     COMM             LADDR           LPORT RADDR           RPORT MS"


def dropin(*options, **kw):
    return Tracer(*options, tool="tcppktlat", **kw)


def ours(tracer, rcv):
    """The lines about a reader, of all that this machine reads."""
    return [line for line in tracer.lines[1:] if re.search(rf"(^| ){rcv.pid} ", line)]


@pytest.fixture(scope="module")
def seen(veth):
    """Two readers, 5 and 30 ms waits each, as many tracers see them; the lines by options."""
    with contextlib.ExitStack() as stack:
        _, one = stack.enter_context(reader.pair(veth, 4, comm=b"one", port=8301))
        _, six = stack.enter_context(reader.pair(veth, 6, comm=b"six 0123456789a",
                                                 reader_connects=True, port=8302))
        options = {
            "": [], "time": ["-T"], "wide": ["-w"], "p": ["-p", one.pid], "p1": ["-p", 1],
            "t": ["-t", six.pid], "t1": ["-t", 1], "l": ["-l", 8301], "l1": ["-l", 8302],
            "r": ["-r", 8302], "r1": ["-r", 8301], "min": [15000], "min0": [0],
            "min1": [10_000_000], "json": ["--json"], "both": ["-l", 8301, 15000],
            "long": ["--pid", one.pid, "--lport", 8301],
        }
        tracers = {name: stack.enter_context(dropin(*args)) for name, args in options.items()}
        results = {}
        for rcv in (one, six):
            results[rcv] = rcv.schedule([(0, 10), (40, 10)], [(5, "recv", 10), (70, "recv", 10)])
        for tracer in tracers.values():
            tracer.signal(signal.SIGINT)
        for tracer in tracers.values():
            assert tracer.stop().status == 0
        yield tracers, one, six, results


def test_columns(seen):
    tracers, one, six, results = seen
    tracer = tracers[""]
    assert tracer.lines[0] == HEADER
    for rcv, comm, laddr, raddr in ((one, "one", "10.77.1.2", "10.77.1.1"),
                                    (six, "six 0123456789a", "fd77:1::1", "fd77:1::2")):
        lines = ours(tracer, rcv)
        start = (f"{rcv.pid:<7} {comm:<16} {laddr:<15} {rcv.lport:<5} {raddr:<15} "
                 f"{rcv.rport:<5} ")
        assert [line[:len(start)] for line in lines] == [start] * 2
        for i, line in enumerate(lines):
            assert re.fullmatch(r"\d+\.\d\d", line[len(start):])
            least, most = results[rcv].wait_ms(i, i)
            assert least - 0.006 <= float(line[len(start):]) <= most + 0.006


def test_wide_and_time(seen):
    tracers, one, six, _ = seen
    assert tracers["wide"].lines[0] == ("PID     COMM             LADDR                      LPORT "
                                        "RADDR                      RPORT MS")
    (line, _) = ours(tracers["wide"], six)
    assert line.startswith(f"{six.pid:<7} {'six 0123456789a':<16} {'fd77:1::1':<26} "
                           f"{six.lport:<5} {'fd77:1::2':<26} 8302  ")
    assert tracers["time"].lines[0] == "TIME(s)  " + HEADER
    for line in ours(tracers["time"], one):
        assert re.match(rf"\d\d:\d\d:\d\d {one.pid:<7} one ", line)


@pytest.mark.parametrize("name, of_one, of_six", [
    ("p", 2, 0), ("p1", 0, 0), ("t", 0, 2), ("t1", 0, 0), ("l", 2, 0), ("l1", 0, 0), ("r", 0, 2),
    ("r1", 0, 0), ("min", 1, 1), ("min0", 2, 2), ("min1", 0, 0), ("both", 1, 0), ("long", 2, 0)])
def test_filters(seen, name, of_one, of_six):
    tracers, one, six, _ = seen
    assert (len(ours(tracers[name], one)), len(ours(tracers[name], six))) == (of_one, of_six)
    if name == "min":
        assert all(float(line.split()[-1]) > 15 for line in tracers[name].lines[1:])


def test_json(seen):
    tracers, one, _, results = seen
    rows = [row for row in tracers["json"].rows if row["pid"] == one.pid]
    assert [(row["event"], row["comm"], row["bytes"], row["segments"]) for row in rows] == [
        ("pickup", "one", 10, 1)] * 2
    for i, row in enumerate(rows):
        least, most = results[one].wait_ms(i, i)
        assert least <= row["latency_us"] / 1000 <= most
    assert tracers["json"].summary["events"] == len(tracers["json"].rows)


def test_command(loopback):
    program = script("""
        server = socket.create_server(("127.0.0.1", 0))
        one = socket.create_connection(server.getsockname())
        two = server.accept()[0]
        one.send(b"x" * 10)
        two.recv(10)
        os._exit(3)
        """)
    with dropin("--json", "--", *program, ns=loopback.client) as tracer:
        stopped = tracer.finish()
    assert stopped.status == 3
    assert [(row["bytes"], row["comm"]) for row in stopped.rows] == [(10, "python3")]
    assert stopped.summary["events"] == 1
    done = run_tool(["--", *program], tool="tcppktlat", ns=loopback.client)
    head, row = done.stdout.splitlines()
    assert (head, done.status) == (HEADER, 3) and row.split()[1] == "python3"


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 0), (signal.SIGTERM, 0)])
def test_is_ended(number, status):
    with dropin("-p", 1, "--json") as tracer:
        stopped = tracer.stop(number)
    assert stopped.status == status and stopped.summary["events"] == len(stopped.rows)


@pytest.mark.parametrize("options, said", [
    (["-p", "0"], "-p/--pid: '0' is out of range"),
    (["-t", "x"], "-t/--tid: 'x' is not a thread id"),
    (["abc"], "min_us: 'abc' is not a number of microseconds"),
    (["1.5"], "min_us: '1.5' is not a number of microseconds"),
    (["1", "2"], "unexpected argument '2'"),
    (["-L"], "unknown option -L"),
])
def test_usage_errors(options, said):
    done = run_tool(options, tool="tcppktlat")
    assert (done.status, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("tcppktlat: " + said)


@pytest.mark.parametrize("options, text", [
    (["-h"], "Usage: tcppktlat"), (["-?"], "Usage: tcppktlat"), (["--usage"], "Usage: tcppktlat"),
    (["-V"], "tcppktlat 0.")])
def test_information(options, text):
    done = run_tool(options, tool="tcppktlat")
    assert (done.status, done.stderr) == (0, "") and done.stdout.startswith(text)
