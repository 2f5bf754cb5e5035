# SPDX-License-Identifier: GPL-2.0-or-later
"""--hist: against the rows of the same traffic, by every key, in intervals, in bounds."""

import bisect
import collections
import contextlib
import datetime
import itertools
import math
import os
import re
import threading
import time

from lib import traffic
from lib.commands import script
from lib.tool import Tracer, run_tool

# The grid: eight buckets for each power of two microseconds, [lower edge, next one's lower edge).
# The first bucket holds what is below a microsecond, the last what is beyond 2^30.
EDGES = [2**octave * (8 + part) / 8 for octave in range(30) for part in range(8)] + [2.0**30]
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
MEMBERS = ("event metric time interval_s key count sum_us min_us max_us p50_us p90_us p99_us "
           "p999_us buckets").split()


def bucket_of(us):
    """Its upper edge, as in le_us."""
    at = bisect.bisect_right(EDGES, us)
    return EDGES[at] if at < len(EDGES) else None


def check(row, keys=()):
    """What is true of every histogram."""
    assert list(row) == MEMBERS
    assert (row["event"], row["metric"]) == ("histogram", "connect")
    assert re.fullmatch(TIME, row["time"]) and list(row["key"]) == list(keys)
    assert isinstance(row["count"], int) and row["count"] > 0
    buckets = row["buckets"]
    assert all(list(bucket) == ["le_us", "count"] for bucket in buckets)
    assert all(isinstance(bucket["count"], int) and bucket["count"] > 0 for bucket in buckets)
    assert sum(bucket["count"] for bucket in buckets) == row["count"]
    edges = [bucket["le_us"] for bucket in buckets]
    assert set(edges) <= {*EDGES, None}
    assert [edge or math.inf for edge in edges] == sorted({edge or math.inf for edge in edges})
    # the extremes are those of the values that were counted
    assert bucket_of(row["min_us"]) == edges[0] and bucket_of(row["max_us"]) == edges[-1]
    quantiles = [row[f"p{p}_us"] for p in (50, 90, 99, 999)]
    assert [row["min_us"], *quantiles, row["max_us"]] == sorted(
        [row["min_us"], *quantiles, row["max_us"]])
    assert row["count"] * row["min_us"] <= row["sum_us"] <= row["count"] * row["max_us"]


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def close_to(value, expected):
    """Two tracers read the clock one after the other: microseconds, and once in a while more."""
    return abs(value - expected) <= 500


def test_same_values_as_rows(delayline):
    """Three kinds of latency, so that the quantiles differ."""
    filters = ["connect", "--json", "--netns", delayline.client.inode]
    with traffic.StormServer(delayline.server, delayline.server_v4) as server, Tracer(
        *filters
    ) as rows, Tracer(*filters, "--hist") as hist:
        try:
            for delay, count in ((5, 60), (20, 35), (50, 5)):
                delayline.control(f"delay {delay}")
                account = traffic.storm(delayline.client, delayline.server_v4, server.port,
                                        count, parallel=30)
                assert account["established"] == count
        finally:
            delayline.control("delay 10")
        values = sorted(row["latency_us"] for row in rows.stop().rows)
        status, (row,), summary, _ = hist.stop()
    check(row)
    assert (status, row["count"], summary["events"], len(values)) == (0, 100, 100, 100)
    assert close_to(row["min_us"], values[0]) and close_to(row["max_us"], values[-1])
    assert close_to(row["sum_us"] / 100, sum(values) / 100)
    counts = collections.Counter(map(bucket_of, values))
    assert sum((counts - collections.Counter(
        {bucket["le_us"]: bucket["count"] for bucket in row["buckets"]})).values()) <= 10
    for p in (0.5, 0.9, 0.99, 0.999):
        exact = values[math.ceil(p * 100) - 1]
        assert abs(row[f"p{p * 100:g}_us".replace(".", "")] - exact) <= exact / 8 + 500, p
    assert values[49] < 15000 < values[89] < 50000 < values[98]


KEYS = ["laddr", "raddr", "lport", "rport", "pid", "comm", "cgroup", "netns", "outcome"]


def test_same_counts_as_rows_by_every_key(loopback, veth):
    """Each key alone, some, and all of them: one tracer each, all at once."""
    choices = [[key] for key in KEYS] + [["rport", "outcome"], ["raddr", "rport", "comm"], KEYS]
    filters = ["connect", "--json", "--netns", loopback.client.inode, "--netns", veth.client.inode]
    with contextlib.ExitStack() as stack:
        rows = stack.enter_context(Tracer(*filters))
        hists = [stack.enter_context(Tracer(*filters, "--hist", "--by", ",".join(keys),
                                            "--max-keys", "64")) for keys in choices]
        repeats = itertools.cycle([1, 2, 3])
        for path, family in itertools.product((loopback, veth), (4, 6)):
            addr = path.server_addr(family)
            with traffic.Server(path.server, addr) as server:
                for port, repeat in zip((server.port, 1), repeats):
                    with traffic.Client(path.client, addr, port, repeat=repeat,
                                        comm=b"one" if repeat == 1 else b"the other") as client:
                        client.go()
                        for _ in range(repeat):
                            assert client.result().established == (port != 1)
        made = rows.stop().rows
        assert len(made) == 15
        for keys, hist in zip(choices, hists):
            expected = collections.Counter(tuple(row[key] for key in keys) for row in made)
            stopped = hist.stop()
            for row in stopped.rows:
                check(row, sorted(keys, key=KEYS.index))
            assert {tuple(row["key"][key] for key in keys): row["count"]
                    for row in stopped.rows} == expected, keys
            assert stopped.summary["events"] == 15
            # the fullest first
            counts = [row["count"] for row in stopped.rows]
            assert counts == sorted(counts, reverse=True)
            assert len(expected) > 1 or keys == ["cgroup"]


def test_intervals(loopback, delayline):
    """Each event is in one interval, its value among the extremes of the same one."""
    filters = ["connect", "--hist", "--json", "--netns", loopback.client.inode,
               "--netns", delayline.client.inode]
    delayline.control("delay 100")
    try:
        with traffic.StormServer(loopback.server, "127.0.0.1") as server, Tracer(
            *filters, "-i", "100ms"
        ) as tracer:
            wall = time.time()
            account = {}
            storm = threading.Thread(target=lambda: account.update(traffic.storm(
                loopback.client, "127.0.0.1", server.port, 6000, rate=3000)))
            storm.start()
            slow = traffic.connect_once(delayline.client, delayline.server_v4, 1)
            storm.join()
            # the last of them is in an interval that ends by itself
            tracer.wait_for(lambda _: sum(row["count"] for row in tracer.rows) == 6001)
            status, rows, summary, _ = tracer.stop()
    finally:
        delayline.control("delay 10")
    assert status == 0 and account["made"] == 6000 and slow.error == "ECONNREFUSED"
    for row in rows:
        check(row)
    assert sum(row["count"] for row in rows) == summary["events"] == 6001
    assert len(rows) >= 15
    (with_slow,) = (row for row in rows if row["max_us"] >= 200_000)
    assert with_slow["max_us"] <= slow.latency_us
    assert [bucket["count"] for bucket in with_slow["buckets"]][-1] == 1
    assert all(row["max_us"] < 150_000 for row in rows if row is not with_slow)
    times = [row["time"] for row in rows]
    assert times == sorted(times) and len(set(times)) == len(times)
    assert wall <= seconds(times[0]) and seconds(times[-1]) <= time.time()
    # each begins where the one before it ended, however long it took to read that
    pairs = [(seconds(after) - seconds(before), row["interval_s"])
             for before, after, row in zip(times, times[1:], rows[1:])]
    assert all(gap > length - 0.01 for gap, length in pairs), pairs
    assert sum(abs(gap - length) < 0.002 for gap, length in pairs) >= len(pairs) - 3, pairs


def test_intervals_in_which_nothing_happens(loopback):
    """A heading and a word for each; the run ends by itself, with no word for what is left."""
    filters = ["connect", "--hist", "--netns", loopback.client.inode, "-i", "50ms"]
    done = run_tool([*filters, "-d", "0.32"])
    assert (done.stderr, done.status) == ("", 0)
    assert re.fullmatch(r"(=== \d\d:\d\d:\d\d\.\d{3}\n\nconnect latency: none\n\n){5,6}",
                        done.stdout)
    done = run_tool([*filters, "-d", "120ms", "--json"])
    assert re.fullmatch(r'{"event":"summary","events":0,.*}\n', done.stdout)


def test_one_histogram_without_intervals(loopback):
    assert run_tool(["connect", "--hist", "--netns", loopback.client.inode, "-d", "1ms"]) == (
        "connect latency: none\n\n", "", 0)


def test_duration(loopback):
    """From when it traces; events until then are counted."""
    with Tracer("connect", "--hist", "--json", "--netns", loopback.client.inode,
                "-d", "400ms") as tracer:
        began = time.monotonic()
        traffic.storm(loopback.client, "127.0.0.1", 1, 7)
        status, (row,), summary, _ = tracer.finish()
        assert 0.3 < time.monotonic() - began < 1.4
    check(row)
    assert (status, row["count"], summary["events"]) == (0, 7, 7)
    assert 0.4 <= row["interval_s"] < 0.6


UNITS = {"ns": 1e-3, "us": 1, "ms": 1e3, "s": 1e6}


def in_us(text):
    number, unit = re.fullmatch(r"([\d.]+)([mnu]?s)", text).groups()
    return float(number) * UNITS[unit]


def test_for_people(loopback, delayline):
    """The same as in JSON, in a row for each power of two, with a bar for its share."""
    filters = ["connect", "--hist", "--netns", loopback.client.inode,
               "--netns", delayline.client.inode]
    with traffic.StormServer(loopback.server, "127.0.0.1") as server, Tracer(
        *filters, "--json"
    ) as json, Tracer(*filters) as text:
        traffic.storm(loopback.client, "127.0.0.1", server.port, 200)
        for _ in range(3):
            traffic.connect_once(delayline.client, delayline.server_v4, 1)
        (row,) = json.stop().rows
        status = text.stop().status
    title, numbers, head, *lines, last = text.lines
    assert (status, title, head.split(), last) == (
        0, "connect latency", ["FROM", "TO", "COUNT"], "")
    words = numbers.split()
    shown = dict(zip(words[::2], words[1::2]))
    assert list(shown) == ["count", "min", "p50", "p90", "p99", "p99.9", "max"]
    assert shown["count"] == "203"
    # three digits; the two tracers differ by more for values of a few microseconds
    assert 20e3 <= in_us(shown["max"]) and abs(in_us(shown["max"]) - row["max_us"]) < 700
    assert in_us(shown["min"]) <= in_us(shown["p50"]) <= in_us(shown["p90"])
    assert shown["p99.9"] == shown["max"]
    total, longest = 0, 0
    edges = []
    for line in lines:
        low, high, count, bar = re.fullmatch(r" *(\S+) +(\S+) +(\d+) \|(.*)\|", line).groups()
        assert len(bar) == 40 and re.fullmatch(r"\**\s*", bar)
        assert bool(bar.strip()) == bool(int(count))
        edges.append((in_us(low), in_us(high)))
        total += int(count)
        longest = max(longest, len(bar.strip()))
    assert (total, longest) == (203, 40)
    assert all(before[1] == after[0] for before, after in zip(edges, edges[1:]))
    # 16.384 to 32.768 ms, to three digits
    assert lines[-1].split()[:3] == ["16.4ms", "32.8ms", "3"]


def test_more_keys_than_the_table_holds(loopback):
    """What is in it goes on; the rest is counted, and said."""
    options = ["connect", "--netns", loopback.client.inode, "--hist", "--by", "rport",
               "--max-keys", "4"]
    command = script("for port in [*range(700, 710), 700, 702, 702]: connect(port)")
    for more in ([], ["-i", "10s"]):
        with Tracer(*options, "--json", *more, "--", *command, ns=loopback.client) as tracer:
            status, rows, summary, _ = tracer.finish()
        assert [(row["key"]["rport"], row["count"]) for row in rows] in (
            [(702, 3), (700, 2), (701, 1), (703, 1)], [(702, 3), (700, 2), (703, 1), (701, 1)])
        assert summary["lost"] == {**dict.fromkeys(summary["lost"], 0), "keys_full": 6}
        assert (summary["events"], status) == (7, 0)
    done = run_tool([*options, "--", *command], ns=loopback.client)
    assert done.stderr.splitlines() == [
        "tcplat: warning: lost 6 (keys_full): the histogram table was full (a larger --max-keys "
        "helps)",
        "tcplat: warning: events 7, lost 6, still open 0, begun before tracing 0",
    ]
    assert re.findall(r"rport=(\d+)\ncount (\d+) ", done.stdout)[:2] == [("702", "3"), ("700", "2")]
    assert done.status == 0 and done.stdout.count("rport=") == 4


def test_only_latencies_from_a_minimum(loopback, delayline):
    filters = ["connect", "--json", "--netns", loopback.client.inode, "--netns",
               delayline.client.inode, "--min", "15ms"]
    with Tracer(*filters) as rows, Tracer(*filters, "--hist") as hist:
        traffic.storm(loopback.client, "127.0.0.1", 1, 20)
        result = traffic.connect_once(delayline.client, delayline.server_v4, 1)
        (row,), summary = rows.stop()[1:3]
        (histogram,) = hist.stop().rows
    check(histogram)
    assert row["pid"] == result.pid and 20_000 <= row["latency_us"] <= result.latency_us
    assert summary["events"] == 1
    assert histogram["count"] == 1 and close_to(histogram["max_us"], row["latency_us"])
    assert histogram["p50_us"] == histogram["min_us"] == histogram["sum_us"]


def ring_size(*words):
    """Of the ring buffer (BPF_MAP_TYPE_RINGBUF is 27) of a tracer, in bytes."""
    with Tracer("connect", "--json", *words) as t:
        found = []
        for fd in os.listdir(f"/proc/{t.pid}/fdinfo"):
            with contextlib.suppress(FileNotFoundError), \
                    open(f"/proc/{t.pid}/fdinfo/{fd}", encoding="ascii") as file:
                fields = dict(line.split(":", 1) for line in file if ":" in line)
                if int(fields.get("map_type", 0)) == 27:
                    found.append(int(fields["max_entries"]))
        t.stop()
    (size,) = found
    return size


def test_rows_alone_need_a_ring_buffer():
    """It is memory of the tracer's from the start, twice its size."""
    assert ring_size() == 4 << 20
    assert ring_size("--hist") == os.sysconf("SC_PAGESIZE")
