# SPDX-License-Identifier: GPL-2.0-or-later
"""tcplat without a view: all three measurements of a host at once, from one engine."""

import collections
import re
import signal

from lib import reader
from lib.commands import script
from lib.process import Child
from lib.tool import Tracer, run_tool
from lib.traffic import Server, connect_once

# Asks so often, answers each time; sizes far below a segment. A process for each end.
TALK = """
    count = int(sys.argv[2])
    here = socket.create_server((sys.argv[1], 0), family=socket.AF_INET6 if ":" in sys.argv[1]
                                else socket.AF_INET)
    if not os.fork():
        one = socket.create_connection(here.getsockname()[:2])
        for _ in range(count):
            one.sendall(b"x" * 100)
            assert len(one.recv(500)) == 300
        assert one.recv(1) == b""
        os._exit(0)
    two = here.accept()[0]
    for _ in range(count):
        assert len(two.recv(500)) == 100
        two.sendall(b"y" * 300)
    two.close()
    os.wait()
"""


def established(*args, **opts):
    return connect_once(*args, **opts).error is None


def talk(path, family=4, count=20):
    return script(TALK, path.server_addr(family), count)


def totals(rows):
    """{metric: Counter of what: count}, of the lines of JSON of all intervals."""
    found = collections.defaultdict(collections.Counter)
    for row in rows:
        assert row["event"] == "histogram"
        assert sum(bucket["count"] for bucket in row["buckets"]) == row["count"]
        found[row["metric"]][row["key"].get("outcome")] += row["count"]
    return found


def test_what_it_counts(any_path, family):
    """Connects by outcome, both ends' samples and segments: none more, none twice."""
    count, refused = 20, 3
    with Server(any_path.server, any_path.server_addr(family)) as server, \
            Tracer("--json", "--netns", any_path.client.inode,
                   "--netns", any_path.server.inode) as tracer:
        port = server.port
        for _ in range(2):
            assert established(any_path.client, server.addr, port)
        server.wait_accepted(2)
        for _ in range(refused):
            assert not established(any_path.client, server.addr, 1)
        with reader.pair(any_path, family) as (_, rcv):
            result = rcv.schedule([(5 * i, 100) for i in range(count)],
                                  [(5 * i, "block", 100) for i in range(count)])
            assert sum(read.nbytes for read in result.reads) == 100 * count
        status, rows, summary, _ = tracer.stop()
    assert status == 0 and not any(summary["lost"].values())
    found = totals(rows)
    assert found["connect"] == {"established": 3, "refused": refused}
    assert found["pickup"] == {None: count}
    # each segment's, both handshakes' of three connections, and of each FIN at most one
    samples = found["rtt"][None]
    assert count + 6 <= samples <= count + 12
    assert summary["events"] == sum(sum(counts.values()) for counts in found.values())
    by_address = {row["key"]["raddr"] for row in rows}
    assert by_address == {any_path.client_addr(family), any_path.server_addr(family)}


def test_round_trips_and_connects_over_a_path(delayline):
    """The delay is in both, by the far end's address and the program's name."""
    with Server(delayline.server, delayline.server_v4, mode="echo") as server, \
            Tracer("--json", "--netns", delayline.client.inode) as tracer:
        for _ in range(3):
            assert established(delayline.client, server.addr, server.port, comm=b"asks",
                                    payload=b"hello")
        _, rows, summary, _ = tracer.stop()
    assert not any(summary["lost"].values())
    assert {(row["key"]["raddr"], row["key"]["comm"]) for row in rows} == \
        {(delayline.server_v4, "asks")}
    for metric in ("connect", "rtt"):
        mine = [row for row in rows if row["metric"] == metric]
        assert sum(row["count"] for row in mine) >= 3
        assert min(row["min_us"] for row in mine) >= 20000
        assert 20000 <= min(row["p50_us"] for row in mine) < 40000


def test_only_the_command(veth):
    """Other traffic of the same moment is not counted; with --all it is."""
    with Child(talk(veth, count=50), veth.server) as other:
        mine = run_tool(["--json", "--", *talk(veth, count=5)], ns=veth.server)
        other.wait(20)
    lines = [line for line in mine.stdout.splitlines() if '"metric":"pickup"' in line]
    assert mine.status == 0 and lines
    assert sum(int(re.search(r'"count":(\d+),"sum_us"', line)[1]) for line in lines) == 10


def test_filters_that_do_not_match(veth):
    for options in (["-r", "9"], ["-R", "192.0.2.0/24"], ["-6"], ["--comm", "nobody"],
                    ["-p", "1"]):
        done = run_tool(["--json", *options, "--all", "--", *talk(veth, count=3)], ns=veth.server)
        assert done.status == 0
        assert [line for line in done.stdout.splitlines() if "histogram" in line] == [], options


def test_more_addresses_than_there_is_room_for(loopback):
    """What has no line of its own is in the totals."""
    with Server(loopback.server, "0.0.0.0") as server, \
            Tracer("--json", "--max-keys", "20", "--netns", loopback.client.inode) as tracer:
        for i in range(60):
            assert established(loopback.client, f"127.0.1.{1 + i}", server.port)
        server.wait_accepted(60)
        _, rows, summary, _ = tracer.stop()
    found = totals(rows)
    assert found["connect"] == {"established": 60}
    assert not any(summary["lost"].values())
    rest = [row for row in rows if row["key"].get("rest")]
    assert {row["metric"] for row in rest} >= {"connect", "rtt"}
    assert all("raddr" not in row["key"] and "comm" not in row["key"] for row in rest)
    # both ends are seen: the accepted one's far end is the same for all
    assert len({row["key"]["raddr"] for row in rows if "raddr" in row["key"]}) < 20


def test_the_picture(loopback):
    """As people see it: totals, failures by outcome, the worst addresses and programs."""
    with Server(loopback.server, "127.0.0.1") as server, \
            Tracer("--netns", loopback.client.inode, "-i", "60") as tracer:
        for _ in range(4):
            assert established(loopback.client, server.addr, server.port, comm=b"good")
        for _ in range(2):
            assert not established(loopback.client, server.addr, 1, comm=b"bad\n")
        server.wait_accepted(4)
        tracer.stop()
    text = "\n".join(tracer.lines)
    assert re.search(r"refused 2\b", text), text
    assert re.search(r"^127\.0\.0\.1\s", text, re.M), text
    assert re.search(r"^bad\\x0a\s", text, re.M) and re.search(r"^good\s", text, re.M), text


def test_it_goes_on_until_it_is_told(loopback):
    """A block each interval; Ctrl-C ends it with status 0."""
    with Tracer("--netns", loopback.client.inode, "-i", "100ms") as tracer:
        tracer.out.wait(lambda: sum("connects" in line for line in tracer.lines) >= 3, 10)
        assert tracer.stop(signal.SIGINT).status == 0
    assert sum("connects" in line for line in tracer.lines) >= 3


def test_a_duration_ends_it(loopback):
    done = run_tool(["-d", "250ms", "-i", "100ms", "--netns", str(loopback.client.inode)])
    assert done.status == 0 and done.stderr == ""
    assert done.stdout.count("connects") >= 2
