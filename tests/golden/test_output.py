# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings replayed through every sink, byte for byte.

Each case is a command line and the file in expected/ that holds its standard output. After a
change that is meant to change them, run

    UPDATE_GOLDEN=1 ./dev test golden

and read the difference with `git diff tests/golden/expected` before keeping it.
"""

import json
import sys

import pytest

import test_pickup
import test_rtt
from conftest import DATA, EXPECTED

CONNECT = "tcplat connect --replay attempts.jsonl "
DROP_IN = "tcpconnlat --replay attempts.jsonl "
EVERY_COLUMN = ("time,clock,elapsed,pid,tid,comm,ip,laddr,lport,raddr,rport,outcome,error,syns,rtt,netns,"
                "lat,cgroup")

# name of the file: command line
STDOUT = {
    # Tables
    "table": CONNECT,
    "table-timestamp": CONNECT + "-t",
    "table-wide": CONNECT + "-w",
    "table-wide-v4": CONNECT + "--wide -4 --timestamp",
    "table-columns": CONNECT + "--columns raddr,rport,lat,comm",
    "table-every-column": CONNECT + "--columns " + EVERY_COLUMN,
    "table-time-once": CONNECT + "-t --columns time,pid,lat",
    "table-failed": CONNECT + "--failed",
    "table-failed-v6": CONNECT + "--failed -6",
    "table-max-events": CONNECT + "--max-events 2",
    "table-nothing": "tcplat connect --replay nothing.jsonl",
    # Filters that match …
    "filter-v4": CONNECT + "-4",
    "filter-v6": CONNECT + "-6",
    "filter-min": CONNECT + "--min 61.5us",
    "filter-pid": CONNECT + "-p 4242",
    "filter-pids": CONNECT + "-p 7001 --pid=900",
    "filter-tid": CONNECT + "--tid 906",
    "filter-comm": CONNECT + "--comm java --comm nc",
    "filter-lport": CONNECT + "-l 40000-40002,!40001",
    "filter-rport": CONNECT + "-r 443,5000-9000,!8080",
    "filter-rport-excluded": CONNECT + "-r !80,!443",
    "filter-laddr": CONNECT + "-L 127.0.0.0/8",
    "filter-raddr": CONNECT + "-R 10.0.0.1",
    "filter-raddrs": CONNECT + "-R 2001:db8::/32 -R 198.51.100.0/24",
    "filter-raddr-mapped": CONNECT + "-R ::ffff:10.0.0.0/120",
    "filter-netns": CONNECT + "--netns 4294967295",
    "filter-and": CONNECT + "-4 --comm curl -r 80 --min 1s",
    # Histograms
    "hist": CONNECT + "--hist",
    "hist-by-outcome-comm": CONNECT + "--hist --by outcome,comm",
    "hist-by-pid-cgroup": CONNECT + "--hist --by pid --by cgroup -r 80",
    "hist-by-everything": CONNECT + "--hist -p 666 --by "
                          "laddr,raddr,lport,rport,pid,comm,cgroup,netns,outcome",
    "hist-failed": CONNECT + "--hist --failed --by pid",
    "hist-max-keys": CONNECT + "--hist --by pid --max-keys 3",
    "hist-none": CONNECT + "--hist --min 1000h",
    "hist-json": CONNECT + "--hist --json",
    "hist-json-by": CONNECT + "--hist --json --by comm,outcome,raddr",
    "hist-json-max-keys": CONNECT + "--hist --json --by pid --max-keys 3",
    "hist-sort-max": CONNECT + "--hist --by outcome --sort max --top 2",
    "stats": CONNECT + "--stats",
    "stats-by": CONNECT + "--stats --by comm,outcome --sort p99 --top 4",
    "stats-subnets": CONNECT + "--stats --by raddr/16/32,laddr/8",
    "stats-none": CONNECT + "--stats --min 1000h",
    # JSON Lines of a part
    "json-filtered": CONNECT + "--json -6 --failed",
    "json-max-events": CONNECT + "--json --max-events 1",
    # The drop-in name: widths and number formats of the original
    "drop-in": DROP_IN,
    "drop-in-timestamp": DROP_IN + "-t",
    "drop-in-lport": DROP_IN + "-L",
    "drop-in-both": DROP_IN + "-tL",
    "drop-in-min": DROP_IN + "1",
    "drop-in-min-fraction": DROP_IN + "0.0615",
    "drop-in-pid": DROP_IN + "-p 4242",
    "drop-in-v4": DROP_IN + "-4",
    "drop-in-v6": DROP_IN + "-6",
    "drop-in-all-outcomes": DROP_IN + "--all-outcomes",
    "drop-in-all-outcomes-both": DROP_IN + "--all-outcomes -t -L 12.3",
    "drop-in-json": DROP_IN + "--json",
    "drop-in-usage": "tcpconnlat --usage",
    # Questions
    "version": "tcplat --version",
    "version-short": "tcplat -V",
    "connect-version": "tcplat connect --version",
    "drop-in-version": "tcpconnlat --version",
    "help": "tcplat --help",
    "help-short": "tcplat -h",
    "summary-help": "tcplat -d 1s --help",
    "summary-help-short": "tcplat -vh",
    "connect-help": "tcplat connect --help",
    "connect-help-short": "tcplat connect -h",
    "serve-help": "tcplat serve --help",
    "serve-help-short": "tcplat serve -h",
    "serve-version": "tcplat serve --version",
    "drop-in-help": "tcpconnlat --help",
    "drop-in-help-short": "tcpconnlat -h",
    "drop-in-help-mark": "tcpconnlat -?",
}

# Spellings of the same question have the same answer, and share its file.
SAME_AS = {
    "version-short": "version",
    "connect-version": "version",
    "help-short": "help",
    "summary-help-short": "summary-help",
    "connect-help-short": "connect-help",
    "serve-help-short": "serve-help",
    "serve-version": "version",
    "drop-in-help-short": "drop-in-help",
    "drop-in-help-mark": "drop-in-help",
}

# Where something is to be said besides.
STDERR = {
    "hist-max-keys":
        b"tcplat: warning: lost 8 (keys_full): the histogram table was full (a larger --max-keys "
        b"helps)\n"
        b"tcplat: warning: events 5, lost 8, still open 1, begun before tracing 2\n",
}


@pytest.mark.parametrize("name", STDOUT)
def test_stdout(run, golden, name):
    done = run(STDOUT[name].split())
    golden(SAME_AS.get(name, name) + ".txt", done.stdout)
    assert done.stderr == STDERR.get(name, b"")
    assert done.returncode == 0


def test_no_expected_file_is_left_over():
    wanted = {cases.SAME_AS.get(name, name) + ".txt"
              for cases in (sys.modules[__name__], test_pickup, test_rtt) for name in cases.STDOUT}
    assert {path.name for path in EXPECTED.iterdir()} == wanted


HEADER = b"    PID COMM            LADDR           LPORT RADDR           RPORT OUTCOME             " \
         b"SYNS   LAT(ms)\n"

NO_MATCH = [
    "-p 5", "--tid 5", "--comm cur", "--comm curly", "-l 1", "-r 22",
    "-R 10.0.0.4/31", "-R 2001:db9::/32", "-L 10.0.0.1", "--netns 4026531839", "--min 131073s",
    "-4 -R 2001:db8::/32 -R 9.9.9.9", "-6 --comm curl", "--failed --comm wget",
]


@pytest.mark.parametrize("filters", NO_MATCH)
def test_filter_matches_nothing(run, filters):
    done = run((CONNECT + filters).split())
    assert (done.stdout, done.stderr, done.returncode) == (HEADER, b"", 0)


@pytest.mark.parametrize("name", ["attempts.jsonl", "lossy.jsonl", "nothing.jsonl"])
@pytest.mark.parametrize("program", ["tcplat connect", "tcpconnlat --all-outcomes"])
def test_json_reproduces_the_recording(run, program, name):
    done = run([*program.split(), "--replay", name, "--json"])
    recorded = (DATA / name).read_bytes()
    for got, want in zip(done.stdout.splitlines(), recorded.splitlines()):
        assert got.decode() == want.decode()
    assert done.stdout == recorded
    assert (done.stderr, done.returncode) == (b"", 0)


def test_json_is_json(run):
    """To a parser that is not ours, with the members that DESIGN lists, in their order."""
    lines = [json.loads(line) for line in run((CONNECT + "--json").split()).stdout.splitlines()]
    members = ["event", "time", "pid", "tid", "comm", "ip", "laddr", "lport", "raddr", "rport",
               "latency_us", "outcome", "error", "syn_retransmits", "handshake_rtt_us", "netns",
               "cgroup"]
    assert [list(line) for line in lines[:-1]] == [members] * 13
    assert list(lines[-1]) == ["event", "events", "unseen_start", "still_open", "lost"]
    assert lines[10]["comm"] == "\x1b[2J\\xff\\xfe\n\""
    assert lines[10]["cgroup"] == "/evil\n\x1b]0;owned\a/\u202egroup"


@pytest.mark.parametrize("options", ["", "--by comm,outcome,raddr", "--by cgroup,netns,pid,laddr"])
def test_histograms_are_replayed_too(run, tmp_path, options):
    """What --hist --json wrote is read back: as the same lines, and as the same pictures."""
    once = run((CONNECT + "--hist --json " + options).split()).stdout
    recording = tmp_path / "histograms.jsonl"
    recording.write_bytes(once)
    again = run(["tcplat", "connect", "--replay", recording, "--hist", "--json"])
    # Those of one count may change places.
    assert sorted(again.stdout.splitlines()) == sorted(once.splitlines())
    assert (again.stderr, again.returncode) == (b"", 0)
    drawn = run(["tcplat", "connect", "--replay", recording, "--hist"]).stdout
    direct = run((CONNECT + "--hist " + options).split()).stdout
    assert sorted(drawn.split(b"\n\n")) == sorted(direct.split(b"\n\n"))


def test_histogram_counts_what_the_rows_say(run):
    """The quantiles and sums of --hist --json, recomputed here from the rows."""
    rows = [json.loads(line) for line in (DATA / "attempts.jsonl").read_text().splitlines()]
    values = sorted(row["latency_us"] for row in rows if row["event"] == "connect")
    lines = run((CONNECT + "--hist --json").split()).stdout.splitlines()
    hist = json.loads(lines[0])
    assert hist["count"] == len(values) == 13
    assert hist["sum_us"] == pytest.approx(sum(values), rel=1e-12)
    assert (hist["min_us"], hist["max_us"]) == (values[0], values[-1])
    # From the first record to the last, whenever it is replayed.
    assert (hist["time"], hist["interval_s"]) == ("2026-03-01T12:02:11.000000Z", 131.0)
    for member, rank in (("p50_us", 7), ("p90_us", 12), ("p99_us", 13), ("p999_us", 13)):
        assert hist[member] == pytest.approx(values[rank - 1], rel=.125, abs=.125)
    edges = [bucket["le_us"] for bucket in hist["buckets"]]
    assert edges == sorted(edges)
    low = 0
    for bucket in hist["buckets"]:
        inside = [value for value in values if low <= value < bucket["le_us"]]
        assert bucket["count"] == len(inside)
        low = bucket["le_us"]
