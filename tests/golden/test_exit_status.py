# SPDX-License-Identifier: GPL-2.0-or-later
"""What the shell sees: exit statuses, one line for each error, output that cannot be written."""

import json
import os
import signal
import subprocess

import pytest

from conftest import DATA, programs as find_programs

# command line (a list where words hold blanks): the line on standard error, or how it begins
USAGE = [
    ("tcplat bogus", "tcplat: 'bogus' is no view; see --help\n"),
    ("tcplat --bogus", "tcplat: unknown or ambiguous option --bogus; see --help\n"),
    ("tcplat -v bogus", "tcplat: unexpected argument 'bogus'; a command goes after --\n"),
    ("tcplat --hist", "tcplat: unknown or ambiguous option --hist; see --help\n"),
    ("tcplat --replay x", "tcplat: unknown or ambiguous option --replay; see --help\n"),
    ("tcplat --top 0", "tcplat: --top: '0' is not a number of keys; give a whole number from 1 "),
    ("tcplat -d 0", "tcplat: -d/--duration: '0' is out of range; give seconds, or a number with "),
    ("tcplat connect --bogus", "tcplat: unknown or ambiguous option --bogus; see --help\n"),
    ("tcplat connect -Q", "tcplat: unknown option -Q; see --help\n"),
    ("tcplat connect --ver", "tcplat: unknown or ambiguous option --ver; see --help\n"),
    ("tcplat connect 80", "tcplat: unexpected argument '80'; a command goes after --\n"),
    ("tcplat connect -p", "tcplat: -p/--pid: needs a value (PID)\n"),
    ("tcplat connect -p 0", "tcplat: -p/--pid: '0' is out of range; give a whole number from 1 "),
    ("tcplat connect -p -1", "tcplat: -p/--pid: '-1' is not a process id; give "),
    ("tcplat connect -p 12abc", "tcplat: -p/--pid: '12abc' is not a process id; give "),
    ("tcplat connect -p 99999999999", "tcplat: -p/--pid: '99999999999' is out of range; give "),
    ("tcplat connect -r 0", "tcplat: -r/--rport: '0' has a port out of range or a reversed "),
    ("tcplat connect -r 70000", "tcplat: -r/--rport: '70000' has a port out of range or a "),
    ("tcplat connect -l 80abc", "tcplat: -l/--lport: '80abc' has something that is not a port: "
                                "'80abc'; give ports from 1 to 65535 like "),
    ("tcplat connect -l 9000-8000", "tcplat: -l/--lport: '9000-8000' has a port out of range or a "
                                    "reversed range: '9000-8000'; "),
    ("tcplat connect -l 22,!22", "tcplat: --lport: no port is left of what was given\n"),
    ("tcplat connect -R 300.1.1.1", "tcplat: -R/--raddr: '300.1.1.1' is not an address; give "),
    ("tcplat connect -R ::1/129", "tcplat: -R/--raddr: '::1/129' has a prefix out of range; an "),
    ("tcplat connect -L localhost", "tcplat: -L/--laddr: 'localhost' is not an address; give IPv4 "
                                    "or IPv6, with or without /PREFIX; names are not looked up\n"),
    ("tcplat connect --min 10", "tcplat: --min: '10' is not a duration; give a number with ns, "),
    ("tcplat connect --min -1ms", "tcplat: --min: '-1ms' is not a duration; give "),
    ("tcplat connect --min nan", "tcplat: --min: 'nan' is not a duration; give "),
    ("tcplat connect --min 99999999h", "tcplat: --min: '99999999h' is out of range; give "),
    ("tcplat connect --hist --by port", "tcplat: --by: 'port' has the unknown key 'port'; keys "),
    ("tcplat connect --cgroup /no/such/group", "tcplat: --cgroup: '/no/such/group' "),
    ("tcplat connect --columns pid,x", "tcplat: --columns: 'pid,x' has the unknown column 'x'; "),
    ("tcplat connect -4 -R ::1",
     "tcplat: -4 and --raddr contradict each other: every address given is IPv6\n"),
    ("tcplat connect -4 -6", "tcplat: -4 and -6 contradict each other: give one, or neither for "),
    ("tcplat connect --by comm", "tcplat: --by: only histograms have keys; add --hist or --stats\n"),
    ("tcplat connect -i 1", "tcplat: -i/--interval: only histograms are printed at intervals; "),
    ("tcplat connect --replay x -- true", "tcplat: --replay and -- COMMAND contradict each other"),
    ("tcplat connect --replay x --hist -i 1", "tcplat: --replay and -i/--interval contradict "),
    ("tcplat connect -o x --", "tcplat: --: a command must follow\n"),
    ("tcplat connect -a", "tcplat: --all: without a command everything is traced already\n"),
    (["tcplat", "connect", "-p", "\x1b[2J\n7"], "tcplat: -p/--pid: '\\x1b[2J\\x0a7' is not a "),
    ("tcpconnlat --bogus", "tcpconnlat: unknown or ambiguous option --bogus; see --help\n"),
    ("tcpconnlat -Q", "tcpconnlat: unknown option -Q; see --help\n"),
    ("tcpconnlat -r 80", "tcpconnlat: unknown option -r; see --help\n"),
    ("tcpconnlat -p 12abc", "tcpconnlat: -p/--pid: '12abc' is not a process id; give "),
    ("tcpconnlat 1ms", "tcpconnlat: min_ms: '1ms' is not a number of milliseconds; give one such "),
    ("tcpconnlat nan", "tcpconnlat: min_ms: 'nan' is not a number of milliseconds; give one such "),
    ("tcpconnlat 99999999999999", "tcpconnlat: min_ms: '99999999999999' is not a number of "),
    ("tcpconnlat 1 2", "tcpconnlat: unexpected argument '2'\n"),
    ("tcpconnlat -4 -6", "tcpconnlat: -4 and -6 contradict each other: give one, or neither for "),
    ("tcplat pickup --bogus", "tcplat: unknown or ambiguous option --bogus; see --help\n"),
    ("tcplat pickup --failed", "tcplat: unknown or ambiguous option --failed; see --help\n"),
    ("tcplat connect --split", "tcplat: unknown or ambiguous option --split; see --help\n"),
    ("tcplat pickup 80", "tcplat: unexpected argument '80'; a command goes after --\n"),
    ("tcplat pickup -p 0", "tcplat: -p/--pid: '0' is out of range; give a whole number from 1 "),
    ("tcplat pickup --hist --by outcome", "tcplat: --by: 'outcome' has the unknown key 'outcome'; "
     "keys are laddr, raddr, lport, rport, pid, comm, cgroup, netns\n"),
    ("tcplat pickup --hist --by part", "tcplat: --by: 'part' has the unknown key 'part'; keys are "),
    ("tcplat connect --hist --by part", "tcplat: --by: 'part' has the unknown key 'part'; keys "),
    ("tcplat pickup --columns pid,syns", "tcplat: --columns: 'pid,syns' has the unknown column "
     "'syns'; columns are time clock elapsed "),
    ("tcplat pickup --by comm", "tcplat: --by: only histograms have keys; add --hist or --stats\n"),
    ("tcplat pickup --split -i 1", "tcplat: -i/--interval: only histograms are printed at "),
    ("tcplat pickup --replay x -- true", "tcplat: --replay and -- COMMAND contradict each other"),
    ("tcplat pickup --replay x --uid 0", "tcplat: --replay and --uid contradict each other"),
    ("tcppktlat --bogus", "tcppktlat: unknown or ambiguous option --bogus; see --help\n"),
    ("tcppktlat -Q", "tcppktlat: unknown option -Q; see --help\n"),
    ("tcppktlat -p 12abc", "tcppktlat: -p/--pid: '12abc' is not a process id; give "),
    ("tcppktlat -t 0", "tcppktlat: -t/--tid: '0' is out of range; give a whole number from 1 "),
    ("tcppktlat -l 0", "tcppktlat: -l/--lport: '0' has a port out of range or a reversed "),
    ("tcppktlat -r 80x", "tcppktlat: -r/--rport: '80x' has something that is not a port: '80x'; "),
    ("tcppktlat -l", "tcppktlat: -l/--lport: needs a value (LPORT)\n"),
    ("tcppktlat 1ms", "tcppktlat: min_us: '1ms' is not a number of microseconds; give a whole "),
    ("tcppktlat 1.5", "tcppktlat: min_us: '1.5' is not a number of microseconds; give a whole "),
    ("tcppktlat 86400000000001", "tcppktlat: min_us: '86400000000001' is not a number of "),
    (["tcppktlat", ""], "tcppktlat: min_us: '' is not a number of microseconds; give a whole "),
    ("tcppktlat 1 2", "tcppktlat: unexpected argument '2'\n"),
    ("tcppktlat --all", "tcppktlat: --all: without a command everything is traced already\n"),
    ("tcppktlat --replay x -- true", "tcppktlat: --replay and -- COMMAND contradict each other"),
    ("tcplat connect --sort max", "tcplat: --sort: only histograms are sorted; add --hist or "),
    ("tcplat pickup --top 3", "tcplat: --top: only histograms are counted so; add --hist or "),
    ("tcplat connect --rows", "tcplat: unknown or ambiguous option --rows; see --help\n"),
    ("tcplat connect --hist --stats",
     "tcplat: --hist and --stats contradict each other: give one way to show it\n"),
    ("tcplat connect --hist --by raddr/129", "tcplat: --by: 'raddr/129' has the key 'raddr/129' "
     "with a prefix that cannot be; give raddr/24 for IPv4, raddr/48 for IPv6, raddr/24/48 for "),
    ("tcplat connect --hist --by rport/8", "tcplat: --by: 'rport/8' has the key 'rport/8' with a "),
    ("tcplat pickup --heatmap --split", "tcplat: --heatmap and --split contradict each other: "),
    ("tcplat rtt --bogus", "tcplat: unknown or ambiguous option --bogus; see --help\n"),
    ("tcplat rtt --split", "tcplat: unknown or ambiguous option --split; see --help\n"),
    ("tcplat rtt 80", "tcplat: unexpected argument '80'; a command goes after --\n"),
    ("tcplat rtt --by outcome", "tcplat: --by: 'outcome' has the unknown key 'outcome'; keys are "),
    ("tcplat rtt --by none,comm", "tcplat: --by none and other keys contradict each other: none "),
    ("tcplat rtt --sort p50", "tcplat: --sort: 'p50' is nothing to sort by; give count, p99 or "),
    ("tcplat rtt --top", "tcplat: --top: needs a value (N)\n"),
    ("tcplat rtt --srtt --jitter",
     "tcplat: --srtt and --jitter contradict each other: one value is shown at a time\n"),
    ("tcplat rtt --rows --min-rtt", "tcplat: --min-rtt and --rows contradict each other: a row "),
    ("tcplat rtt --rows --by comm", "tcplat: --by and --rows contradict each other: only "),
    ("tcplat rtt --rows --columns lat", "tcplat: --columns: 'lat' has the unknown column 'lat'; "),
    ("tcplat rtt --heatmap --json", "tcplat: --heatmap and --json contradict each other: it is a "),
    ("tcplat rtt --heatmap --replay x", "tcplat: --heatmap and --replay contradict each other: "),
    ("tcplat rtt --replay x --cgroup /", "tcplat: --replay and --cgroup contradict each other"),
    ("tcplat serve --bogus", "tcplat: unknown or ambiguous option --bogus; see --help\n"),
    ("tcplat serve --json", "tcplat: unknown or ambiguous option --json; see --help\n"),
    ("tcplat serve 9762", "tcplat: unexpected argument '9762'\n"),
    ("tcplat serve --listen", "tcplat: --listen: needs a value (ADDR:PORT)\n"),
    ("tcplat serve --listen localhost:1", "tcplat: --listen: 'localhost:1' is not an address with a "
     "port; give 127.0.0.1:9762, [::1]:9762, or :9762 for every address; names are not looked up\n"),
    ("tcplat serve --listen ::1", "tcplat: --listen: '::1' is not an address with a port; give "),
    ("tcplat serve --listen :65536", "tcplat: --listen: ':65536' has a port out of range; give "),
    ("tcplat serve" + 9 * " --listen :0", "tcplat: --listen: ':0' is one too many; at most 8 "),
    ("tcplat serve --edges all", "tcplat: --edges: 'all' is no set of edges; give octave or fine\n"),
    ("tcplat serve --max-series 999", "tcplat: --max-series: '999' is not a number of lines; give "
     "a whole number from 1000 to 1000000\n"),
    ("tcplat serve --edges fine --max-series 4999", "tcplat: --max-series: 4999 is too few with "
     "--edges fine; give at least 5000\n"),
    ("tcplat serve --by outcome", "tcplat: --by: 'outcome' has the unknown key 'outcome'; keys are "
     "laddr, raddr, lport, rport, pid, comm, cgroup, netns, unit, container, pod\n"),
    ("tcplat serve --by none,unit", "tcplat: --by none and other keys contradict each other: none "),
    ("tcplat serve --user no.such.user", "tcplat: -u/--user: 'no.such.user' is no user here; give "
     "a login name or a number\n"),
    ("tcplat serve -- true", "tcplat: --: serve runs no command; trace one with another view\n"),
    ("tcplat serve -4 -R ::1",
     "tcplat: -4 and --raddr contradict each other: every address given is IPv6\n"),
    ("tcprtt --bogus", "tcprtt: unknown or ambiguous option --bogus; see --help\n"),
    ("tcprtt -t", "tcprtt: unknown option -t; see --help\n"),
    ("tcprtt 1", "tcprtt: unexpected argument '1'; a command goes after --\n"),
    ("tcprtt -i 0", "tcprtt: -i/--interval: '0' is out of range; give seconds, or a number "),
    ("tcprtt -p 0", "tcprtt: -p/--lport: '0' has a port out of range or a reversed range: '0'; "),
    ("tcprtt -P", "tcprtt: -P/--rport: needs a value (RPORT)\n"),
    ("tcprtt -a localhost", "tcprtt: -a/--laddr: 'localhost' is not an address; give IPv4 or "),
    ("tcprtt -A 10.0.0.1/33", "tcprtt: -A/--raddr: '10.0.0.1/33' has a prefix out of range; an "),
    ("tcprtt -b -B", "tcprtt: -b/--byladdr and -B/--byraddr contradict each other: a histogram "),
    ("tcprtt -4 -A ::1",
     "tcprtt: -4 and --raddr contradict each other: every address given is IPv6\n"),
    ("tcprtt --replay x -i 1", "tcprtt: --replay and -i/--interval contradict each other: a "),
]


@pytest.mark.parametrize("argv, line", USAGE, ids=[str(case[0]) for case in USAGE])
def test_usage_errors(run, argv, line):
    done = run(argv.split() if isinstance(argv, str) else argv)
    said = done.stderr.decode()
    assert said.startswith(line)
    assert said.endswith("\n") and said.count("\n") == 1
    assert (done.stdout, done.returncode) == (b"", 2)


REPLAY = ["tcplat", "connect", "--replay", "attempts.jsonl"]
FORMS = pytest.mark.parametrize("form", [[], ["--json"], ["--hist"], ["--hist", "--json"],
                                         ["--stats", "--by", "comm"]],
                                ids=lambda form: " ".join(form) or "table")


@FORMS
def test_full_disk(run, form):
    with open("/dev/full", "wb") as full:
        done = run([*REPLAY, *form], stdout=full)
    assert done.stderr == b"tcplat: writing to standard output failed: No space left on device\n"
    assert done.returncode == 1


@FORMS
def test_full_disk_behind_a_file(run, form):
    done = run([*REPLAY, *form, "-o", "/dev/full"])
    assert done.stderr == b"tcplat: writing to /dev/full failed: No space left on device\n"
    assert (done.stdout, done.returncode) == (b"", 1)


@FORMS
def test_closed_stdout(run, form):
    done = run([*REPLAY, *form], stdout=None, preexec_fn=lambda: os.close(1))
    assert done.stderr == b"tcplat: writing to standard output failed: Bad file descriptor\n"
    assert done.returncode == 1


def test_answers_to_a_full_disk(run):
    for argv in (["tcplat", "--version"], ["tcplat", "--help"], ["tcplat", "-v", "--help"],
                 ["tcplat", "connect", "--version"], ["tcplat", "connect", "--help"],
                 ["tcpconnlat", "--help"], ["tcpconnlat", "--usage"],
                 ["tcplat", "pickup", "--help"], ["tcppktlat", "--help"], ["tcppktlat", "-V"],
                 ["tcplat", "rtt", "--help"], ["tcprtt", "--help"], ["tcprtt", "--version"],
                 ["tcplat", "serve", "--help"], ["tcplat", "serve", "--version"]):
        with open("/dev/full", "wb") as full:
            done = run(argv, stdout=full)
        assert done.stderr.endswith(b": writing to standard output failed: "
                                    b"No space left on device\n")
        assert done.stderr.count(b"\n") == 1
        assert done.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_recording_that_does_not_come_can_be_interrupted(number):
    """Reading it blocks; nothing is lost by ending there."""
    line = (DATA / "attempts.jsonl").read_bytes().splitlines(keepends=True)[0]
    with subprocess.Popen([find_programs()["tcplat"], "connect", "--replay", "-", "--max-events", "9"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        p.stdin.write(line)
        p.stdin.flush()
        # The header: it reads now.
        assert p.stdout.readline().split()[:2] == [b"PID", b"COMM"]
        p.send_signal(number)
        assert p.wait(10) == -number


def test_time_is_a_column_once(run):
    done = run([*REPLAY, "-t", "--columns", "pid,time"])
    assert done.stdout.splitlines()[0].split() == [b"PID", b"TIME"]
    done = run([*REPLAY, "-t", "--columns", "pid"])
    assert done.stdout.splitlines()[0].split() == [b"TIME", b"PID"]


def many(path, count):
    """A recording that no pipe's buffer holds."""
    lines = (DATA / "attempts.jsonl").read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] * count + lines[-1])
    return path


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_reader_goes_away(run, tmp_path, form):
    recording = many(tmp_path / "many.jsonl", 20000)
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = run(["tcplat", "connect", "--replay", recording, *form], stdout=write_end)
    finally:
        os.close(write_end)
    assert (done.stderr, done.returncode) == (b"", 0)


def test_reader_goes_away_after_a_line(tmp_path, run):
    """As in `… | head -1`."""
    recording = many(tmp_path / "many.jsonl", 20000)
    head = subprocess.Popen(["head", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    done = run(["tcplat", "connect", "--replay", recording], stdout=head.stdin)
    head.stdin.close()
    assert head.stdout.read().startswith(b"    PID COMM ")
    assert head.wait(10) == 0
    assert (done.stderr, done.returncode) == (b"", 0)


def test_whole_recording_of_many_batches(run, tmp_path):
    recording = many(tmp_path / "many.jsonl", 3000)
    lines = run(["tcplat", "connect", "--replay", recording, "--json"]).stdout.splitlines()
    assert len(lines) == 3001
    assert len(set(lines[:-1])) == 1
    assert json.loads(lines[-1])["events"] == 3000


@pytest.mark.parametrize("path, why", [
    ("/no/such/directory/out", "No such file or directory"),
    ("/", "Is a directory"),
    ("attempts.jsonl/out", "Not a directory"),
])
def test_unwritable_output(run, path, why):
    done = run([*REPLAY, "-o", path])
    assert done.stderr.decode() == f"tcplat: -o/--output: cannot write '{path}': {why}\n"
    assert (done.stdout, done.returncode) == (b"", 1)


@FORMS
def test_output_file(run, tmp_path, form):
    path = tmp_path / "out"
    path.write_bytes(b"what was there before " * 1000)
    done = run([*REPLAY, *form, "-o", path])
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 0)
    assert path.read_bytes() == run([*REPLAY, *form]).stdout


def test_output_onto_the_recording(run, tmp_path):
    recording = many(tmp_path / "many.jsonl", 5)
    before = recording.read_bytes()
    done = run(["tcplat", "connect", "--replay", recording, "--json", "-o", recording])
    assert done.stderr == \
        b"tcplat: --replay and -o/--output contradict each other: both are the same file\n"
    assert done.returncode == 2
    assert recording.read_bytes() == before
