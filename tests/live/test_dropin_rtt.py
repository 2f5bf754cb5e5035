# SPDX-License-Identifier: GPL-2.0-or-later
"""tcprtt as people know it: its options and histograms, on real connections."""

import contextlib
import re
import signal

import pytest

from lib import rtts, talk
from lib.commands import script
from lib.tool import Tracer, run_tool

BEGIN = "Tracing TCP RTT... Hit Ctrl-C to end."
LINE = re.compile(r" *(\d+) -> (\d+) *: (\d+) +\|(\**) *\|")


class Section:
    """One histogram of the output."""

    def __init__(self, lines):
        self.label = self.address = self.average = None
        if head := re.fullmatch(r"(\w+ \w+) = (\S+)(?: \[AVG (\d+)\])?", lines[0]):
            self.label, self.address, average = head.groups()
            self.average = average and int(average)
            lines = lines[1:]
        self.unit = re.fullmatch(r" {5}(usecs|msecs) {15}: count {5}distribution", lines[0])[1]
        rows = lines[1:]
        self.rows = [LINE.fullmatch(row) for row in rows]
        assert all(self.rows), rows
        self.rows = [tuple(map(int, row.groups()[:3])) + (len(row[4]),) for row in self.rows]
        edges = [(low, high) for low, high, _, _ in self.rows]
        assert edges == [(1 << n if n else 0, (2 << n) - 1) for n in range(len(edges))]
        most = max(count for _, _, count, _ in self.rows)
        assert all(stars == 40 * count // most for _, _, count, stars in self.rows)
        self.count = sum(count for _, _, count, _ in self.rows)

    def between(self, low, high):
        """How many in the rows that touch this."""
        return sum(count for begin, end, count, _ in self.rows if begin < high and low <= end)


def sections(lines):
    """The histograms of a run, [time of day, …] of its intervals."""
    assert lines[0] == BEGIN
    found, block, times = [], [], []
    for line in [*lines[1:], ""]:
        if re.fullmatch(r"\d\d:\d\d:\d\d", line):
            times.append(line)
        elif line:
            block.append(line)
        elif block:
            found.append(Section(block))
            block = []
    return found, times


PINGS = 9
OPTIONS = {
    # name: (options, samples that are to be in it)
    "lport": (["-p", "8501"], 10), "no lport": (["-p", "8509"], 0),
    "rport": (["-P", "8501"], 10), "no rport": (["-P", "8509"], 0),
    "laddr": (["-a", "10.77.2.1"], 10), "laddr 6": (["-a", "fd77:2::1"], 10),
    "no laddr": (["-a", "10.77.2.9"], 0),
    "raddr": (["-A", "10.77.2.1"], 10), "raddr 6": (["-A", "fd77:2::2"], 10),
    "no raddr": (["-A", "fd77:2::9"], 0),
    "both": (["-a", "10.77.2.2", "-A", "10.77.2.1", "-p", "8501"], 10),
    "not both": (["-a", "10.77.2.2", "-A", "10.77.2.1", "-P", "8501"], 0),
    "ms": (["-m", "-P", "8501"], 10), "average": (["-e", "-P", "8501"], 10),
    "ms average": (["-m", "-e", "-P", "8501"], 10),
    "family 4": (["-4", "-P", "8501"], 10), "family 6": (["-6", "-P", "8501"], 0),
    "by laddr": (["-b", "-P", "8501"], 10), "by raddr": (["-B", "-P", "8501"], 10),
    "by laddr 6": (["-b", "-a", "fd77:2::1"], 10), "by raddr 6": (["-B", "-a", "fd77:2::1"], 10),
    "by raddr average": (["-B", "-e", "-P", "8501"], 10),
    "long": (["--rport", "8501", "--raddr", "10.77.2.2", "--extension", "--milliseconds"], 10),
}


@pytest.fixture(scope="module")
def seen(delayline):
    """{name: sections} of the same two connections, and the rows of them."""
    with contextlib.ExitStack() as stack:
        made = {name: stack.enter_context(Tracer(*options, tool="tcprtt", verbose="-D"))
                for name, (options, _) in OPTIONS.items()}
        rows = stack.enter_context(rtts.rows(delayline))
        for family, port in ((4, 8501), (6, 8502)):
            one = stack.enter_context(talk.talk(delayline, family, port=port))
            one.ping(PINGS)
            one.drain()
        for tracer in made.values():
            tracer.signal(signal.SIGINT)
        for tracer in made.values():
            assert tracer.stop().status == 0
        samples = rtts.settled(rows).rows
    yield {name: sections(tracer.lines) for name, tracer in made.items()}, samples


@pytest.mark.parametrize("name", OPTIONS)
def test_options(seen, name):
    """So many samples in one histogram, with the label, the unit and the average asked for."""
    options, count = OPTIONS[name]
    (found, times), samples = seen[0][name], seen[1]
    assert times == [] and sum(section.count for section in found) == count
    if not count:
        return
    (section,) = found
    milliseconds = bool({"-m", "--milliseconds"} & set(options))
    assert section.unit == ("msecs" if milliseconds else "usecs")
    by = {"-b": "Local Address", "-B": "Remote Address"}
    average = bool({"-e", "--extension"} & set(options))
    label = next((by[option] for option in options if option in by), None)
    net = "fd77:2::" if any(word.startswith("fd77") for word in options) else "10.77.2."
    addresses = {"Local Address": net + "1", "Remote Address": net + "2", None: None}
    if label or not average:
        assert (section.label, section.address) == (label, addresses[label])
    else:
        assert (section.label, section.address) == ("All Addresses", "*******")
    # 20 ms, and for a server's last answer a delayed acknowledgement more
    low, high = (20, 1000) if milliseconds else (20_000, 1_000_000)
    assert section.between(low, high) == count
    if average:
        values = [row["latency_us"] for row in samples if row["rport"] == 8501]
        mean = sum(values) / len(values) / (1000 if milliseconds else 1)
        assert abs(section.average - mean) <= 1
    else:
        assert section.average is None


def test_rows_are_those_of_the_samples(seen):
    """Each sample in its power of two, in both units; the first row is what is below two."""
    found, samples = seen
    values = [int(row["latency_us"]) for row in samples if row["rport"] == 8501]
    for name, unit in (("rport", 1), ("ms", 1000)):
        ((section,), _) = found[name]
        for low, high, count, _ in section.rows:
            assert count == sum(low <= value // unit <= high for value in values)


def test_intervals(delayline):
    """A histogram each, with the time of day, also where nothing came; it ends by itself."""
    with Tracer("-i", "0.2", "-d", "1", "-T", "-P", "8503", tool="tcprtt", verbose="-D") as tracer:
        with talk.talk(delayline, port=8503) as one:
            one.ping(5)
            one.drain()
            status = tracer.finish().status
    found, times = sections(tracer.lines)
    assert status == 0 and 4 <= len(times) <= 6 and times == sorted(times)
    assert sum(section.count for section in found) == 6


def test_programs_are_shown_before_it_starts():
    with Tracer("-D", "-P", "1", tool="tcprtt", verbose=None) as tracer:
        assert tracer.stop().status == 0
    said = tracer.err.text()
    for program, hook in (("probe", "tcp_probe"), ("retransmitted", "tcp_retransmit_skb")):
        assert re.search(rf"tcprtt: program {program} on tp_btf/{hook}: \d+ instructions", said)
    assert tracer.lines == [BEGIN, ""]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_is_ended(number):
    with Tracer("-P", "1", tool="tcprtt", verbose="-D") as tracer:
        stopped = tracer.stop(number)
    assert stopped.status == 0 and tracer.lines[0] == BEGIN


def test_json(delayline):
    with Tracer("--json", "-B", "-P", "8504", tool="tcprtt", verbose="-D") as tracer:
        with talk.talk(delayline, port=8504) as one:
            one.ping(3)
            stopped = tracer.stop()
    (row,) = stopped.rows
    assert (row["event"], row["metric"], row["key"], row["count"]) == (
        "histogram", "rtt", {"raddr": "10.77.2.2"}, 4)
    assert stopped.summary["events"] == 4


def test_command(loopback):
    program = script("""
        server = socket.create_server(("127.0.0.1", 0))
        one = socket.create_connection(server.getsockname())
        two = server.accept()[0]
        for _ in range(5):
            one.send(b"x")
            two.recv(1)
            two.send(b"x")
            one.recv(1)
        os._exit(3)
        """)
    done = run_tool(["--", *program], tool="tcprtt", ns=loopback.client)
    found, _ = sections(done.stdout.rstrip("\n").split("\n"))
    assert done.status == 3 and len(found) == 1
    # two handshakes, and what was acknowledged before it ended
    assert 2 + 5 + 4 <= found[0].count <= 2 + 5 + 5 + 2


@pytest.mark.parametrize("options, said", [
    (["-p", "0"], "-p/--lport: '0' has a port out of range"),
    (["-P", "x"], "-P/--rport: 'x' "),
    (["-a", "10.0.0"], "-a/--laddr: '10.0.0' "),
    (["-b", "-B"], "-b/--byladdr and -B/--byraddr contradict each other"),
    (["-4", "-6"], "-4"),
    (["-x"], "unknown option -x"),
    (["5"], "unexpected argument '5'"),
])
def test_usage_errors(options, said):
    done = run_tool(options, tool="tcprtt")
    assert (done.status, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("tcprtt: " + said)


def test_help():
    done = run_tool(["-h"], tool="tcprtt")
    assert (done.status, done.stderr) == (0, "") and done.stdout.startswith("usage: tcprtt")
