# SPDX-License-Identifier: GPL-2.0-or-later
"""Round trips replayed through every sink, byte for byte, as in test_output.py."""

import json

import pytest

from conftest import DATA

RTT = "tcplat rtt --replay rtts.jsonl "
ROWS = RTT + "--rows "
COUNTED = "tcplat rtt --replay rtts-hist.jsonl "
DROP_IN = "tcprtt --replay rtts.jsonl "
EVERY_COLUMN = "time,clock,elapsed,pid,tid,comm,ip,laddr,lport,raddr,rport,srtt,min_rtt,netns,rtt," \
               "cgroup"

# name of the file: command line
STDOUT = {
    # Tables
    "rtt-rows": ROWS,
    "rtt-rows-timestamp": ROWS + "-t -w",
    "rtt-rows-every-column": ROWS + "--columns " + EVERY_COLUMN,
    "rtt-rows-filtered": ROWS + "-6 --min 90us --max-events 2",
    # Statistics
    "rtt": RTT,
    "rtt-timestamp": RTT + "-t --by none",
    "rtt-sort-p99": RTT + "--sort p99",
    "rtt-sort-max-top": RTT + "--by comm --sort max --top 2",
    "rtt-subnets-v4": RTT + "--by raddr/24",
    "rtt-subnets": RTT + "--by raddr/24/48,lport --sort p99",
    "rtt-srtt": RTT + "--srtt --by comm",
    "rtt-min-rtt": RTT + "--min-rtt --by comm",
    "rtt-filtered": RTT + "-4 --min 1ms --comm curl --comm nginx --by none",
    "rtt-nothing": RTT + "--min 1000h",
    "rtt-counted": COUNTED,
    "rtt-counted-sort-max": COUNTED + "--sort max --top 1",
    # Histograms
    "rtt-hist": RTT + "--hist",
    "rtt-hist-by": RTT + "--hist --by raddr/24/48 --top 2",
    "rtt-json": RTT + "--json --by raddr/24/48 --sort max --top 2",
    # The drop-in name: what the original prints
    "tcprtt": DROP_IN,
    "tcprtt-milliseconds": DROP_IN + "-m -T",
    "tcprtt-by-raddr": DROP_IN + "-B -e -4",
    "tcprtt-by-laddr": DROP_IN + "-b -p 5432",
    "tcprtt-average": DROP_IN + "-e -P 443",
    "tcprtt-counted": "tcprtt --replay rtts-hist.jsonl -B",
    "tcprtt-nothing": DROP_IN + "-A 10.9.9.9",
    # Questions
    "rtt-help": "tcplat rtt --help",
    "rtt-help-short": "tcplat rtt -h",
    "rtt-version": "tcplat rtt --version",
    "tcprtt-help": "tcprtt --help",
    "tcprtt-help-short": "tcprtt -h",
    "tcprtt-version": "tcprtt --version",
}

# Spellings of the same question have the same answer, and share its file.
SAME_AS = {
    "rtt-help-short": "rtt-help",
    "rtt-version": "version",
    "tcprtt-help-short": "tcprtt-help",
}


@pytest.mark.parametrize("name", STDOUT)
def test_stdout(run, golden, name):
    done = run(STDOUT[name].split())
    golden(SAME_AS.get(name, name) + ".txt", done.stdout)
    assert (done.stderr, done.returncode) == (b"", 0)


def recorded(name):
    return (DATA / name).read_text(encoding="utf-8")


def values(member, **wanted):
    rows = map(json.loads, recorded("rtts.jsonl").splitlines()[:-1])
    return [row[member] for row in rows if all(row[key] == wanted[key] for key in wanted)]


def test_rows_reproduce_the_recording(run):
    done = run((ROWS + "--json").split())
    assert done.stdout.decode() == recorded("rtts.jsonl")
    assert (done.stderr, done.returncode) == (b"", 0)


@pytest.mark.parametrize("program", ["tcplat rtt", "tcplat rtt --hist", "tcprtt"])
def test_histograms_reproduce_the_recording(run, program):
    """Also a line without any sample, and the subnets, whatever the keys are now."""
    done = run([*program.split(), "--replay", "rtts-hist.jsonl", "--json"])
    assert done.stdout.decode() == recorded("rtts-hist.jsonl")
    assert (done.stderr, done.returncode) == (b"", 0)


def test_json_is_json(run):
    """To a parser that is not ours, with the members in their order."""
    lines = [json.loads(line) for line in run((ROWS + "--json").split()).stdout.splitlines()]
    assert [list(line) for line in lines[:-1]] == [
        ["event", "time", "pid", "tid", "comm", "ip", "laddr", "lport", "raddr", "rport",
         "latency_us", "srtt_us", "min_rtt_us", "netns", "cgroup"]] * 12
    lines = [json.loads(line) for line in run((RTT + "--json").split()).stdout.splitlines()]
    assert [list(line) for line in lines[:-1]] == [
        ["event", "metric", "time", "interval_s", "key", "count", "sum_us", "min_us", "max_us",
         "p50_us", "p90_us", "p99_us", "p999_us", "value", "retransmits", "buckets"]] * 6
    assert {line["value"] for line in lines[:-1]} == {"sample"}


@pytest.mark.parametrize("option, member, name", [
    ("--hist", "latency_us", "sample"), ("--srtt", "srtt_us", "srtt"),
    ("--min-rtt", "min_rtt_us", "min_rtt"),
])
def test_values_of_rows(run, option, member, name):
    """Counts, sums and extremes, recomputed here from the rows."""
    lines = run((RTT + f"--json --by comm {option}").split()).stdout.splitlines()
    histograms = [json.loads(line) for line in lines[:-1]]
    assert len(histograms) == 4
    for histogram in histograms:
        want = values(member, comm=histogram["key"]["comm"])
        assert histogram["value"] == name
        assert histogram["count"] == len(want)
        assert histogram["sum_us"] == sum(want)
        assert (histogram["min_us"], histogram["max_us"]) == (min(want), max(want))


def test_min_is_about_the_value_that_is_shown(run):
    for option, member in (("--hist", "latency_us"), ("--srtt", "srtt_us"),
                           ("--min-rtt", "min_rtt_us")):
        done = run((RTT + f"--json --by none --min 171us {option}").split())
        histogram = json.loads(done.stdout.splitlines()[0])
        assert histogram["count"] == sum(value >= 171 for value in values(member))


@pytest.mark.parametrize("order, key", [("count", "count"), ("p99", "p99_us"), ("max", "max_us")])
def test_order(run, order, key):
    whole = run((RTT + f"--json --sort {order}").split()).stdout.splitlines()[:-1]
    numbers = [json.loads(line)[key] for line in whole]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 6
    for top in (1, 3, 6, 100):
        some = run((RTT + f"--json --sort {order} --top {top}").split()).stdout.splitlines()[:-1]
        assert some == whole[:top]


def test_one_line_for_a_subnet(run):
    lines = run((RTT + "--json --by raddr/24/48").split()).stdout.splitlines()[:-1]
    found = {entry["key"]["raddr"]: entry["count"] for entry in map(json.loads, lines)}
    assert found == {"192.0.2.0/24": 5, "10.1.2.0/24": 3, "2001:db8::/48": 3, "127.0.0.0/24": 1}
    lines = run((RTT + "--json --by raddr/24").split()).stdout.splitlines()[:-1]
    found = {entry["key"]["raddr"] for entry in map(json.loads, lines)}
    assert found == {"192.0.2.0/24", "10.1.2.0/24", "127.0.0.0/24", "2001:db8::4",
                     "2001:db8:0:17::9"}


def test_intervals_of_a_recording(run, tmp_path):
    """Each has its own table and its own order, as when they were recorded."""
    first = recorded("rtts-hist.jsonl").splitlines()[:-1]
    second = [line.replace("12:00:02", "12:00:03") for line in first]
    path = tmp_path / "intervals.jsonl"
    path.write_text("\n".join([*first, *second]) + "\n" + json.dumps(
        {**json.loads(recorded("rtts-hist.jsonl").splitlines()[-1]), "events": 24}), "utf-8")
    done = run(["tcplat", "rtt", "--replay", path, "-t", "--top", "2"]).stdout.decode()
    tables = [table.splitlines() for table in done.split("\n\n")]
    assert [table[0] for table in tables] == ["=== 12:00:02.000", "=== 12:00:03.000"]
    for table in tables:
        assert [line.split()[0] for line in table[3:]] == ["192.0.2.0/24", "10.1.2.0/24"]
    again = run(["tcplat", "rtt", "--replay", path, "--json"]).stdout.decode().splitlines()
    assert again[:-1] == [*first, *second]


def test_histograms_of_another_value(run, tmp_path):
    """A recording says what it is of; it is shown as that, or not at all."""
    path = tmp_path / "jitter.jsonl"
    path.write_text(recorded("rtts-hist.jsonl").replace('"sample"', '"jitter"'), encoding="utf-8")
    done = run(["tcplat", "rtt", "--replay", path])
    assert done.stderr.decode() == \
        f"tcplat: {path}:1: a histogram of another value than the one asked for\n"
    assert done.returncode == 1
    done = run(["tcplat", "rtt", "--replay", path, "--jitter"])
    assert done.stdout.startswith(b"round-trip jitter\n")
    assert (done.stderr, done.returncode) == (b"", 0)


@pytest.mark.parametrize("option", ["--jitter", "--receiver"])
def test_values_that_rows_do_not_have(run, option):
    done = run((RTT + option).split())
    assert done.stderr == b"tcplat: rtts.jsonl:1: a sample alone does not tell the value asked for\n"
    assert done.returncode == 1


def test_other_views_are_passed_over(run):
    for view, name in (("rtt --rows", "attempts.jsonl"), ("connect", "rtts.jsonl")):
        done = run(["tcplat", *view.split(), "--replay", name])
        lines = len(recorded(name).splitlines()) - 1
        assert len(done.stdout.splitlines()) == 1
        assert done.stderr == f"tcplat: warning: {name}: {lines} lines are not of this view and " \
                              "were passed over\n".encode()
        assert done.returncode == 0


def broken(tmp_path, name, **members):
    row = json.loads(recorded(name).splitlines()[0])
    row.update(members)
    row = {name: value for name, value in row.items() if value is not None}
    path = tmp_path / "broken.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name, members, blamed", [
    ("rtts.jsonl", {"srtt_us": None}, "srtt_us"), ("rtts.jsonl", {"srtt_us": 1.5}, "srtt_us"),
    ("rtts.jsonl", {"min_rtt_us": -1}, "min_rtt_us"), ("rtts.jsonl", {"ip": 6}, "ip"),
    ("rtts.jsonl", {"raddr": "10.1.2.0/24"}, "raddr"),
    ("rtts-hist.jsonl", {"value": None}, "value"), ("rtts-hist.jsonl", {"value": "rtt"}, "value"),
    ("rtts-hist.jsonl", {"retransmits": None}, "retransmits"),
    ("rtts-hist.jsonl", {"key": {"raddr": "10.1.2.0/33"}}, "raddr"),
])
def test_what_cannot_be(run, tmp_path, name, members, blamed):
    path = broken(tmp_path, name, **members)
    done = run(["tcplat", "rtt", "--replay", path])
    assert done.stderr.decode() == \
        f'tcplat: {path}:1: member "{blamed}" is missing or not of its form\n'
    assert done.returncode == 1


def test_drop_in_averages(run):
    """Whole units, as the original has them."""
    text = run((DROP_IN + "-B -e").split()).stdout.decode()
    for raddr in set(values("raddr")):
        want = values("latency_us", raddr=raddr)
        assert f"\nRemote Address = {raddr} [AVG {int(sum(want) / len(want))}]\n" in text
