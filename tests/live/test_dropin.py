# SPDX-License-Identifier: GPL-2.0-or-later
"""tcpconnlat as people know it: columns and number formats, on real connects."""

import re

import pytest

from lib import traffic
from lib.tool import Tracer, run_tool

V4 = re.compile(r"(?P<pid>\d+) +(?P<comm>\S+) +(?P<ip>[46]) +(?P<s>\S+) +(?P<d>\S+) +"
                r"(?P<port>\d+) +(?P<lat>\d+\.\d\d)")


def run(delayline, *options, addr=None, **client):
    with traffic.Server(delayline.server, "::" if not addr or ":" in addr else "0.0.0.0",
                        port=7601) as server, \
            Tracer(*options, tool="tcpconnlat") as t:
        results = [traffic.connect_once(delayline.client, addr or delayline.server_v6, server.port,
                                        **client) for _ in range(2)]
        t.stop()
    ours = [line for line in t.lines
            if re.search(rf"\b({results[0].pid}|{results[1].pid}) ", line)]
    assert len(ours) == 2
    return t.lines[0], ours, results


def test_default_columns(delayline):
    header, rows, results = run(delayline, addr=delayline.server_v4, comm=b"curl")
    assert header == "PID    COMM         IP SADDR            DADDR            DPORT LAT(ms)"
    for row, result in zip(rows, results):
        m = V4.fullmatch(row)
        want = f"{result.pid:<6} {'curl':<12} 4  {'10.77.2.1':<16} {'10.77.2.2':<16} 7601  "
        assert row.startswith(want)
        assert 20.0 <= float(m["lat"]) <= 22.0


def test_full_ipv6_addresses(delayline):
    _, rows, results = run(delayline)
    for row, result in zip(rows, results):
        m = V4.fullmatch(row)
        assert (m["ip"], m["s"], m["d"], m["port"]) == ("6", "fd77:2::1", "fd77:2::2", "7601")
        assert int(m["pid"]) == result.pid


def test_comm_is_cut_at_twelve(delayline):
    _, rows, _ = run(delayline, addr=delayline.server_v4, comm=b"abcdefghijklmno")
    assert all(row.split()[1] == "abcdefghijkl" for row in rows)


def test_lport(delayline):
    header, rows, results = run(delayline, "-L", addr=delayline.server_v4)
    assert header == ("PID    COMM         IP SADDR            LPORT  DADDR            DPORT "
                      "LAT(ms)")
    assert [int(row.split()[4]) for row in rows] == [r.lport for r in results]
    assert rows[0][:6].strip() == str(results[0].pid)
    assert rows[0][40:46] == f"{results[0].lport:<6}"


def test_timestamps_are_seconds_since_the_first_event(delayline):
    header, rows, _ = run(delayline, "-t", addr=delayline.server_v4)
    assert header.startswith("TIME(s)  PID    COMM")
    first, second = (float(row.split()[0]) for row in rows)
    assert re.match(r"\d+\.\d{3} ", rows[0])
    # Two connects of 20 ms each, a process started in between: not 10 times as much.
    assert 0.020 <= second - first < 1.0


def test_refused_is_an_answer(delayline):
    with Tracer(tool="tcpconnlat") as t:
        result = traffic.connect_once(delayline.client, delayline.server_v4, 9)
        t.stop()
    (row,) = [line for line in t.lines if line.startswith(f"{result.pid} ")]
    assert 20.0 <= float(row.split()[-1]) <= 22.0


def programs_of(*options):
    """{name: (hook, instructions)} as it says itself."""
    run_ = run_tool([*options, "-v", "--", "/bin/true"], tool="tcpconnlat")
    assert run_.status == 0
    said = re.findall(r"tcpconnlat: program (\S+) on (\S+): (\d+) instructions", run_.stderr)
    return {name: (hook, int(n)) for name, hook, n in said}


def test_system_calls_are_watched_only_where_that_shows():
    """It slows every system call of the host."""
    calls = {"call_begins", "call_ends"}
    assert not calls & set(programs_of())
    assert calls <= set(programs_of("--all-outcomes"))


def test_verbose_shows_programs_and_instructions():
    programs = programs_of()
    assert programs["state_change_1"][0] == "tp_btf/inet_sock_set_state"
    assert programs["state_change_2"][0] == "tp_btf/inet_sock_set_state"
    assert all(0 < n < 10000 for _, n in programs.values())


@pytest.mark.parametrize("options, status, text", [
    (["-h"], 0, "usage: tcpconnlat [-h] [-t] [-p PID] [-L]"),
    (["-?"], 0, "usage: tcpconnlat [-h] [-t] [-p PID] [-L]"),
    (["--usage"], 0, "usage: tcpconnlat"),
    (["-V"], 0, "tcpconnlat 0."),
])
def test_information(options, status, text):
    run_ = run_tool(options, tool="tcpconnlat")
    assert (run_.status, run_.stderr) == (status, "")
    assert run_.stdout.startswith(text)


@pytest.mark.parametrize("options, said", [
    (["-p", "0"], "-p/--pid: '0' is out of range"),
    (["-p", "12abc"], "-p/--pid: '12abc' is not a process id"),
    (["abc"], "min_ms: 'abc' is not a number of milliseconds"),
    (["-1"], "unknown option -1"),
    (["1", "2"], "unexpected argument '2'"),
    (["nan"], "min_ms: 'nan' is not a number"),
    (["1e3"], "min_ms: '1e3' is not a number"),
    (["-r", "80"], "unknown option -r"),
])
def test_usage_errors(options, said):
    run_ = run_tool(options, tool="tcpconnlat")
    assert run_.status == 2 and run_.stdout == ""
    assert run_.stderr.startswith("tcpconnlat: " + said)
    assert run_.stderr.count("\n") == 1
