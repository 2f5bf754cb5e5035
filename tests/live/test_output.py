# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows: when they come, and what is in them, in a table and in JSON."""

import contextlib
import datetime
import errno
import json
import os
import pty
import re
import signal
import socket
import time

import pytest

from lib import binaries, traffic
from lib.commands import hold, script
from lib.process import mortal
from lib.tool import Tracer, run_tool


# --- when ----------------------------------------------------------------------------------------


class Stopwatch(Tracer):
    """Notes when each row was read."""

    def __init__(self, *args, **kw):
        self.read = {}
        super().__init__(*args, **kw)

    def _take(self, line):
        now = time.monotonic()
        super()._take(line)
        if self.rows and line.startswith('{"event":"connect"'):
            self.read[self.rows[-1]["rport"]] = now


def test_row_comes_within_100_ms(loopback):
    """By one clock: from the return of connect() to the reading of its row.

    An event wakes the tracer unless another did within 50 ms; it looks by itself 50 ms later then.
    So the gaps are chosen around that: the first of a group comes at once, others wait for a look,
    one wakes it again, and after the last there is nothing for a while.
    """
    gaps = [0.3, 0, 0.005, 0.02, 0.049, 0.02] * 5
    ended = {}
    with Stopwatch("connect", "--json", "--netns", loopback.client.inode) as tracer, \
            loopback.client.entered():
        for port, gap in enumerate(gaps, 800):
            time.sleep(gap)
            with socket.socket() as sock:
                assert sock.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
            ended[port] = time.monotonic()
        tracer.wait_for(lambda row: True, count=30)
    delays = sorted(tracer.read[port] - ended[port] for port in ended)
    # The budget is 100 ms. On a machine with other things to do, three processes have to be
    # scheduled in turn, which may take a time slice of somebody else's here and there.
    assert delays[26] < 0.1, delays
    assert delays[-1] < 0.15, delays
    # and those that come after a pause do not wait for a timer
    first = sorted(tracer.read[port] - ended[port] for port in range(800, 830, 6))
    assert first[2] < 0.03, first


def switches(tracer):
    """How often it has waited for something."""
    with open(f"/proc/{tracer.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt"))


def test_busy_host_does_not_wake_it_for_each_event(loopback, tmp_path):
    """At most by a timer and by one event in 50 ms, and when a quarter of the ring is full."""
    rows = tmp_path / "rows"  # a pipe would make it wait for the reader
    with Tracer("connect", "--json", "-o", rows, "--netns", loopback.client.inode) as tracer, \
            traffic.StormServer(loopback.server, "127.0.0.1") as server:
        before, began = switches(tracer), time.monotonic()
        account = traffic.storm(loopback.client, "127.0.0.1", server.port, 10000, rate=20000)
        elapsed, waited = time.monotonic() - began, switches(tracer) - before
        status = tracer.stop().status
    *shown, summary = map(json.loads, rows.read_text().splitlines())
    assert (status, account["made"], len(shown), summary["events"]) == (0, 10000, 10000, 10000)
    quarters = 10000 * (104 + 8) / (4 << 20) * 4
    assert 2 <= waited <= 2 * elapsed / 0.05 + quarters + 10
    assert waited < 200


def test_idle_host_does_not_wake_it(loopback):
    with Tracer("connect", "--netns", loopback.client.inode) as tracer:
        traffic.storm(loopback.client, "127.0.0.1", 1, 1)
        assert tracer.out.find("refused", 5)
        # it looks twice more, 50 ms apart, and then no more
        time.sleep(0.2)
        before = switches(tracer)
        time.sleep(0.3)
        assert switches(tracer) == before


# --- what ----------------------------------------------------------------------------------------

MEMBERS = {
    "event": str, "time": str, "pid": int, "tid": int, "comm": str, "ip": int, "laddr": str,
    "lport": int, "raddr": str, "rport": int, "latency_us": float, "outcome": str,
    "error": (str, type(None)), "syn_retransmits": (int, type(None)),
    "handshake_rtt_us": (int, type(None)), "netns": int, "cgroup": str,
}
SUMMARY = ["event", "events", "unseen_start", "still_open", "lost"]
LOST = ["ring_full", "no_state", "reentered", "keys_full", "fifo_merged", "clock"]


def seconds(text):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_json(loopback, veth):
    """Every member, always, of its type; lines that stand alone; the last one is a summary."""
    with Tracer("connect", "--json", "--netns", loopback.client.inode,
                "--netns", veth.client.inode) as tracer:
        results = []
        with traffic.Server(veth.server, veth.server_v6) as server:
            results.append(traffic.connect_once(veth.client, veth.server_v6, server.port,
                                                comm=b"its name"))
        results.append(traffic.connect_once(loopback.client, "127.0.0.1", 1))
        results.append(traffic.refused_locally(loopback.client, None))
        status, rows, summary, _ = tracer.stop()
    assert status == 0 and len(rows) == 3
    for row, result in zip(rows, results):
        assert list(row) == list(MEMBERS)
        for member, kind in MEMBERS.items():
            assert isinstance(row[member], kind) and not isinstance(row[member], bool), member
        # the event's end; two clocks are compared once for each batch of rows
        assert result.wall - 0.005 <= seconds(row["time"])
        assert seconds(row["time"]) <= result.wall + result.latency_us / 1e6 + 0.005
        assert (row["pid"], row["tid"]) == (result.pid, result.tid)
        assert 0 < row["latency_us"] <= result.latency_us
    for line in tracer.lines[:3]:
        assert re.search(r'"latency_us":\d+\.\d{1,3},', line)  # nanoseconds, and nothing beyond
    made, refused, local = rows
    assert made["handshake_rtt_us"] > 0 == made["syn_retransmits"] and made["error"] is None
    assert (made["ip"], made["laddr"], made["raddr"]) == (6, veth.client_v6, veth.server_v6)
    assert (made["comm"], made["netns"]) == ("its name", veth.client.inode)
    assert refused["handshake_rtt_us"] is None and refused["error"] == "ECONNREFUSED"
    assert local["syn_retransmits"] is None and local["outcome"] == "network_unreachable"
    assert json.loads(tracer.lines[-1]) == summary
    assert list(summary) == SUMMARY and list(summary["lost"]) == LOST
    assert (summary["events"], summary["unseen_start"]) == (3, 0)
    assert isinstance(summary["still_open"], int)
    assert all(isinstance(number, int) for number in summary["lost"].values())


def test_table(loopback):
    """The columns that are there by default, and their values."""
    with traffic.Server(loopback.server, "127.0.0.1") as server, Tracer(
        "connect", "--netns", loopback.client.inode
    ) as tracer:
        good = traffic.connect_once(loopback.client, "127.0.0.1", server.port, comm=b"good one")
        bad = traffic.connect_once(loopback.client, "::1", 1, comm=b"bad")
        stopped = tracer.stop()
    head, first, second = tracer.lines
    assert head.split() == "PID COMM LADDR LPORT RADDR RPORT OUTCOME SYNS LAT(ms)".split()
    assert len(head) == len(first) == len(second) and stopped.status == 0
    assert re.fullmatch(
        rf" *{good.pid} good one +127\.0\.0\.1 +{good.lport} 127\.0\.0\.1 +{server.port} "
        r"established +(\d+\.\d{3})", first)
    assert re.fullmatch(rf" *{bad.pid} bad +::1 +\d+ ::1 +1 refused +\d+\.\d{{3}}", second)
    assert 0 < float(first.split()[-1]) <= good.latency_ms
    assert 0 < float(second.split()[-1]) <= bad.latency_ms
    # numbers end, and words begin, where their heading does
    for line in (head, first, second):
        assert re.match(r".{7} .{15} .{15} .{5} .{15} .{5} .{19} .{4} .{9}$", line)
        assert [line[at] for at in (7, 23, 39, 45, 61, 67, 87, 92)] == [" "] * 8


def test_chosen_columns(loopback):
    """Each is what JSON says, in the order given."""
    columns = ["rport", "tid", "pid", "comm", "ip", "laddr", "lport", "raddr", "netns", "cgroup",
               "outcome", "lat"]
    rare = ["outcome", "error", "rtt", "syns"]
    filters = ["connect", "--netns", loopback.client.inode]
    with Tracer(*filters, "--json") as rows, Tracer(*filters, "--columns", ",".join(columns)) as \
            table, Tracer(*filters, "--columns", ",".join(rare)) as other:
        with traffic.Server(loopback.server, "::1") as server:
            traffic.connect_from_thread(loopback.client, "::1", server.port, comm=b"by-thread")
        traffic.connect_once(loopback.client, "127.0.0.1", 1)
        traffic.refused_locally(loopback.client, None)
        made = rows.stop().rows
        assert table.stop().status == other.stop().status == 0
    headings = [[name.upper() for name in columns[:-1]] + ["LAT(ms)"]]
    words = [line.split() for line in table.lines]
    assert [line for line in words if line[0] == "RPORT"] == headings * words.count(headings[0])
    words = [line for line in words if line[0] != "RPORT"]
    assert [line[:-1] for line in words] == [
        [str(row[column]) for column in columns[:-1]] for row in made]
    assert all(re.fullmatch(r"\d+\.\d{3}", line[-1]) for line in words)
    head, *lines = other.lines
    assert head.split() == ["OUTCOME", "ERROR", "RTT(ms)", "SYNS"]
    assert re.fullmatch(r"established +\d\.\d{3} {5}", lines[0])
    assert re.fullmatch(r"refused +ECONNREFUSED {14}", lines[1])
    # no SYN at all
    assert re.fullmatch(r"network_unreachable ENETUNREACH +0", lines[2])


def test_time_of_day(loopback):
    """Local time, with milliseconds, as the first column."""
    env = {**os.environ, "TZ": "Nowhere-5:30"}
    filters = ["connect", "--netns", loopback.client.inode]
    with Tracer(*filters, "-t", env=env) as table, Tracer(*filters, "--json") as rows, Tracer(
        *filters, "-t", "--columns", "lat", env=env
    ) as short:
        traffic.connect_once(loopback.client, "127.0.0.1", 1)
        (row,) = rows.stop().rows
        table.stop()
        short.stop()
    local = datetime.datetime.fromtimestamp(
        seconds(row["time"]), datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
    for tracer, head in ((table, "TIME PID"), (short, "TIME LAT(ms)")):
        lines = [line.split() for line in tracer.lines]
        assert lines[0][:2] == head.split()
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", lines[1][0])
        hours, minutes, rest = lines[1][0].split(":")
        shown = (int(hours) * 60 + int(minutes)) * 60 + float(rest)
        exact = (local.hour * 60 + local.minute) * 60 + local.second + local.microsecond / 1e6
        assert abs(shown - exact) % 86400 < 0.01


LONG = "fd77:1234:5678:9abc:def0:1234:5678:9abc"


def test_wide(loopback):
    """Whole IPv6 addresses always; -w has the room from the start, else the heading comes again."""
    loopback.client.ip("addr", "add", f"{LONG}/128", "dev", "lo", "nodad")
    try:
        filters = ["connect", "--netns", loopback.client.inode]
        with Tracer(*filters, "-w") as wide, Tracer(*filters) as grows:
            for addr in ("127.0.0.1", LONG, "127.0.0.1"):
                traffic.storm(loopback.client, addr, 1, 1)
            wide.stop()
            grows.stop()
    finally:
        loopback.client.ip("addr", "del", f"{LONG}/128", "dev", "lo")
    assert len(wide.lines) == 4 and len({len(line) for line in wide.lines}) == 1
    assert wide.lines[2].count(LONG) == 2
    lengths = [len(line) for line in grows.lines]
    assert lengths == [lengths[0]] * 2 + [lengths[0] + 2 * (39 - 15)] * 3
    assert [line.split()[0] == "PID" for line in grows.lines] == [True, False, True, False, False]
    assert grows.lines[2:4] == [wide.lines[0], grows.lines[3]] and LONG in grows.lines[3]


# --- how much ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [["--json"], []], ids=["json", "table"])
def test_number_of_events(loopback, mode):
    """Exactly as many, also of those that come in one batch; then it ends by itself."""
    with Tracer("connect", *mode, "--max-events", "3", "--netns",
                loopback.client.inode) as tracer:
        hold(tracer)
        traffic.storm(loopback.client, "127.0.0.1", 1, 10)
        tracer.signal(signal.SIGCONT)
        status, rows, summary, stderr = tracer.finish()
    assert status == 0
    if mode:
        assert len(rows) == 3 == summary["events"] == len(tracer.lines) - 1
    else:
        assert len(tracer.lines) == 4
        assert re.fullmatch(r"tcplat: (warning: )?events 3, lost .*", stderr.splitlines()[-1])


def test_summary_for_people(loopback):
    """Silent, unless something was lost or -v asks for it."""
    options = ["--netns", loopback.client.inode]
    command = script("for port in range(100): connect(850)")
    done = run_tool(["connect", *options, "--", *command], ns=loopback.client)
    assert (done.stderr, done.status, done.stdout.count("\n")) == ("", 0, 101)
    done = run_tool(["connect", *options, "-v", "--", *command], ns=loopback.client)
    assert done.stderr.splitlines()[-1] == (
        "tcplat: events 100, lost 0, still open 0, begun before tracing 0")
    assert all(line.startswith("tcplat: ") for line in done.stderr.splitlines())
    # a table that is not read for a moment, and a ring that holds 36 rows
    command = script("""
        os.kill(os.getppid(), signal.SIGSTOP)
        for port in range(100): connect(850)
        os.kill(os.getppid(), signal.SIGCONT)
        """)
    options += ["--buffer", "4k"]
    done = run_tool(["connect", *options, "--", *command], ns=loopback.client)
    shown = done.stdout.count("\n") - 1
    assert 30 <= shown < 50 and done.status == 0
    assert done.stderr.splitlines() == [
        f"tcplat: warning: lost {100 - shown} (ring_full): the ring buffer was full (a larger "
        "--buffer helps)",
        f"tcplat: warning: events {shown}, lost {100 - shown}, still open 0, begun before tracing "
        "0",
    ]


# --- where to ------------------------------------------------------------------------------------


def test_output_file(loopback, tmp_path):
    rows = tmp_path / "rows"
    rows.write_text("what was there before\n" * 100)
    command = script("connect(860)")
    done = run_tool(["connect", "-o", rows, "--", *command], ns=loopback.client)
    assert done == ("", "", 0)
    head, row = rows.read_text().splitlines()
    assert head.split()[0] == "PID" and row.split()[-4:-1] == ["127.0.0.1", "860", "refused"]


def on_terminal(path, *args, **env):
    """What a run writes to a terminal, which ends by itself."""
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as screen:
        process = path.client.popen(mortal([binaries.tool(), *map(str, args)]), stdout=slave,
                                    stderr=slave, env={**os.environ, **env})
        os.close(slave)
        seen = b""
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while chunk := screen.read(4096):
                seen += chunk
        assert process.wait(10) == 0
    return seen.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("mode", [[], ["--hist"], ["--json"]], ids=["table", "hist", "json"])
def test_no_colour_where_none_is_wanted(loopback, mode):
    command = script("connect(870)")
    seen = on_terminal(loopback, "connect", *mode, "--", *command, NO_COLOR="1", TERM="xterm")
    assert "870" in seen or mode == ["--hist"]
    assert all(line.isprintable() for line in seen.splitlines())
    done = run_tool(["connect", *mode, "--", *command], ns=loopback.client,
                    env={**os.environ, "TERM": "xterm"})
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert len(seen.splitlines()) == len(done.stdout.splitlines()) >= 2


def test_terminal_and_pipe_get_the_same(loopback):
    argv = ["connect", "--columns", "rport,outcome", "--",
            *script("for port in (880, 881): connect(port)")]
    seen, done = on_terminal(loopback, *argv), run_tool(argv, ns=loopback.client)
    assert seen == done.stdout == "RPORT OUTCOME\n  880 refused\n  881 refused\n"
