# SPDX-License-Identifier: GPL-2.0-or-later
"""A tracer that is killed leaves nothing behind in the kernel, and tracers do not disturb each
other, whatever becomes of one of them."""

import collections
import concurrent.futures
import contextlib
import datetime
import json
import os
import re
import signal
import subprocess
import time

import pytest

from lib import binaries, netns, traffic
from lib.commands import bpf_loaded, bpf_objects, script, with_mounts
from lib.process import Child, mortal, until
from lib.tool import Tracer

# Connects, passes bytes to and fro, closes, without end.
BUSY = """
    with socket.create_server(("127.0.0.1", 0)) as server:
        print("goes", flush=True)
        while True:
            one = socket.create_connection(server.getsockname())
            two = server.accept()[0]
            for _ in range(5):
                one.send(b"x")
                two.recv(1)
                two.send(b"y")
                one.recv(1)
            one.close()
            two.close()
    """

# The same so many times, or until a line comes, and some that are refused; then what it made.
COUNTED = """
    import select
    connections, messages, refused = map(int, sys.argv[1:])
    number = 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        print("goes", flush=True)
        while number < connections or not (connections or select.select([0], [], [], 0)[0]):
            one = socket.create_connection(server.getsockname())
            two = server.accept()[0]
            for end in (one, two):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(messages):
                one.send(b"x")
                two.recv(1)
                two.send(b"y")
                one.recv(1)
            two.close()
            one.close()
            number += 1
        for _ in range(refused):
            connect(1)
    print(number, refused, 2 * number * messages, flush=True)
    """

VIEWS = {
    "connect rows": ["connect", "--json"],
    "connect histogram": ["connect", "--json", "--hist", "--by", "outcome", "-i", "50ms"],
    "pickup rows": ["pickup", "--json"],
    "pickup rows, split": ["pickup", "--json", "--split"],
    "pickup histogram, split": ["pickup", "--json", "--hist", "--split", "-i", "50ms"],
    "rtt histogram": ["rtt", "--json", "-i", "50ms"],
    "rtt rows": ["rtt", "--json", "--rows"],
    "summary": ["--json", "-i", "50ms"],
}
ALL = pytest.mark.parametrize("view", VIEWS)


@contextlib.contextmanager
def busy(ns):
    with Child(script(BUSY), ns) as child:
        assert child.line() == "goes"
        try:
            yield child
        finally:
            child.signal(signal.SIGKILL)


def kill(tracer):
    tracer.signal(signal.SIGKILL)
    assert tracer.wait() == -signal.SIGKILL and tracer.summary is None
    tracer.malformed.clear()  # the last line is cut off


def sockets_used(ns):
    """How many sockets the namespace has, of any kind."""
    text = ns.run(["cat", "/proc/net/sockstat"]).stdout
    return int(re.search(r"sockets: used (\d+)", text)[1])


# --- kill -9 -------------------------------------------------------------------------------------


def names():
    """{("prog", id): name, …} of what is loaded; a link has its program's."""
    found = {}
    for kind in ("prog", "map", "link"):
        done = subprocess.run(["bpftool", "-j", kind, "show"], check=True, capture_output=True,
                              timeout=10)
        for entry in json.loads(done.stdout or "[]"):
            name = found.get(("prog", entry.get("prog_id"))) if kind == "link" else \
                entry.get("name")
            found[kind, entry["id"]] = name
    return found


def orphans(before, ours):
    """New objects of these names that no process holds."""
    loaded = {key for key, name in names().items() if name in ours and key not in before}
    for pid in filter(str.isdigit, os.listdir("/proc") if loaded else ()):
        with contextlib.suppress(OSError):  # gone by now
            loaded -= bpf_objects(pid)
    return loaded


@pytest.fixture(scope="module")
def ours():
    """What programs and maps of all measurements are called."""
    found = set()
    for view in ("connect rows", "pickup rows, split", "summary"):
        with Tracer(*VIEWS[view], "-p", "1") as tracer:
            objects = bpf_objects(tracer.pid)
            assert {kind for kind, _ in objects} == {"prog", "map", "link"}
            found |= {name for key, name in names().items() if key in objects and key[0] != "link"}
    assert {"ring", "sockets", "probe"} <= found
    return found


def exact(ns, view, before=()):
    """A new tracer of this view sees all that is made in the namespace, and nothing else.

    before: what is there already and may be seen, too: its comm has to be another one.
    """
    with Tracer(*VIEWS[view], "--netns", ns.inode, *before) as tracer:
        account = counted(ns, 5, 20, 3)
        stopped = tracer.stop()
    check(view, stopped, account)


@ALL
def test_kill_leaves_nothing(loopback, ours, view):
    """Under load. The tracer is alone in a namespace, where its sockets can be counted: receive
    stamps are made as long as one that asks for them is open."""
    before = set(names())
    with netns.NetNS() as alone:
        until(lambda: not sockets_used(alone), 5, "those that made it to be gone")
        with busy(loopback.client), Tracer(*VIEWS[view], "--netns", loopback.client.inode,
                                           ns=alone) as tracer:
            tracer.wait_for(lambda row: row["event"] != "summary", count=10)
            objects = bpf_objects(tracer.pid)
            assert len(objects) > 10 and objects <= bpf_loaded()
            stamped = view.startswith("pickup") or view == "summary"
            assert sockets_used(alone) == stamped
            kill(tracer)
            assert sockets_used(alone) == 0
            until(lambda: not objects & bpf_loaded(), 10, "programs, maps or links stay loaded")
            until(lambda: not orphans(before, ours), 10, "new ones without a process")
        assert not alone.pids()
    exact(loopback.client, view)


@pytest.mark.parametrize("view", ["connect rows", "pickup rows, split", "summary"])
def test_killed_while_it_loads(loopback, ours, view):
    """As soon as it has so many objects of BPF, wherever that finds it; the last is one too many,
    so that it is killed a moment before or after it was ready."""
    before = set(names())
    with Tracer(*VIEWS[view], "-p", "1") as tracer:
        total = len(bpf_objects(tracer.pid))
    argv = [binaries.tool(), *VIEWS[view], "--netns", str(loopback.client.inode), "-v"]
    early = 0
    with busy(loopback.client):
        for least in sorted({1, 3, *range(5, total, 4), total - 2, total - 1}):
            with subprocess.Popen(mortal(argv), stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE) as tool:
                objects = set()

                def enough(pid=tool.pid, objects=objects, least=least):
                    with contextlib.suppress(FileNotFoundError):  # closed under our eyes
                        objects |= bpf_objects(pid)
                    return len(objects) >= least

                try:
                    until(enough, 10, f"no {least} objects of {total}")
                finally:
                    tool.kill()
                early += b"probes attached" not in tool.stderr.read()
            assert tool.returncode == -signal.SIGKILL
            until(lambda: not objects & bpf_loaded(), 10, f"loaded after a kill at {least}")
        until(lambda: not orphans(before, ours), 10, "new ones without a process")
    assert early >= total // 4 - 2
    exact(loopback.client, view)


KERNELS_OWN = {"progs.debug", "maps.debug"}  # in each new bpffs


def test_nothing_is_pinned(loopback, tmp_path):
    """Neither where bpffs is usually mounted, while it runs, nor in any mount of ours, later."""
    try:
        subprocess.run(["unshare", "--mount", "mount", "-t", "bpf", "none", "/sys/fs/bpf"],
                       check=True, capture_output=True, timeout=10)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"cannot mount bpffs: {error.stderr.decode()}")

    def pinned():
        with open("/proc/self/mounts", encoding="utf-8") as file:
            mounts = [line.split()[1] for line in file if line.split()[2] == "bpf"]
        return {os.path.join(where, name) for mount in mounts
                for where, dirs, files in os.walk(mount) for name in dirs + files}

    before = pinned()
    tool = with_mounts(tmp_path, "-t bpf none /sys/fs/bpf")
    for view in ("connect rows", "summary"):
        with busy(loopback.client), Tracer(*VIEWS[view], "--netns", loopback.client.inode,
                                           tool=tool) as tracer:
            tracer.wait_for(lambda row: True, count=5)
            with open(f"/proc/{tracer.pid}/mounts", encoding="utf-8") as file:
                assert any(line.split()[1:3] == ["/sys/fs/bpf", "bpf"] for line in file)
            assert set(os.listdir(f"/proc/{tracer.pid}/root/sys/fs/bpf")) <= KERNELS_OWN
            kill(tracer)
    assert pinned() <= before


# --- two at once ---------------------------------------------------------------------------------

Made = collections.namedtuple("Made", "established refused reads")


def of_line(line):
    return Made(*map(int, line.split()))


def counted(ns, *sizes):
    return of_line(ns.run(script(COUNTED, *sizes)).stdout.splitlines()[-1])


def delivered(stopped):
    """{what: how many}; what: an outcome, or the event or metric."""
    found = collections.Counter()
    for row in stopped.rows:
        said = {**row, **row.get("key", {})}
        if said.get("part", "total") == "total":
            found[said.get("outcome", row.get("metric", row["event"]))] += row.get("count", 1)
    return found


def due(view, account):
    """{what: (least, most)} that a tracer of this view has to deliver."""
    connects = {"established": account.established, "refused": account.refused}
    pickups = {"pickup": account.reads}
    # each segment is answered; both ends have the handshake's, too; some have that of a FIN
    trips = {"rtt": (account.reads + 2 * account.established,
                     account.reads + 4 * account.established)}
    wanted = {**connects, **pickups, **trips} if view == "summary" else \
        pickups if "pickup" in view else trips if "rtt" in view else connects
    return {what: n if isinstance(n, tuple) else (n, n) for what, n in wanted.items()}


def check(view, stopped, account):
    """delivered + lost = made. What the kernel skipped may be somebody else's: lost.reentered can
    be too high, and no other count."""
    assert stopped.status == 0, stopped.stderr
    found, lost, wanted = delivered(stopped), stopped.summary["lost"], due(view, account)
    said = (view, f"made {wanted}, delivered {found}", stopped.summary)
    assert found.keys() <= wanted.keys(), said
    assert all(found[what] <= most for what, (_, most) in wanted.items()), said
    least = sum(max(0, least - found[what]) for what, (least, _) in wanted.items())
    most = sum(most - found[what] for what, (_, most) in wanted.items())
    assert least <= sum(lost.values()), said
    assert sum(lost.values()) - lost["reentered"] <= most, said
    assert (stopped.summary["unseen_start"], stopped.summary["still_open"]) == (0, 0), said


PAIRS = [
    ("connect rows", "connect histogram"), ("pickup rows", "pickup histogram, split"),
    ("rtt rows", "rtt histogram"), ("connect rows", "pickup rows"), ("rtt histogram", "summary"),
    ("summary", "summary"),
]


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_two_at_once(loopback, pair):
    """Each has what it would have alone: all of it."""
    ns = loopback.client
    with Tracer(*VIEWS[pair[0]], "--netns", ns.inode) as one, \
            Tracer(*VIEWS[pair[1]], "--netns", ns.inode) as two:
        account = counted(ns, 40, 20, 30)
        stopped = [one.stop(), two.stop()]
    for view, done in zip(pair, stopped):
        check(view, done, account)
        skipped = done.summary["lost"].pop("reentered")  # whoever's they were
        assert not any(done.summary["lost"].values()) and skipped < 50, done.summary


@pytest.mark.parametrize("pair", PAIRS + [pair[::-1] for pair in PAIRS[:-1]], ids=" beside ".join)
def test_one_comes_and_is_killed(loopback, pair):
    """The books of the other one balance: what was skipped as programs came and went is counted."""
    ns = loopback.client
    mine, other = pair
    with Tracer(*VIEWS[mine], "--netns", ns.inode) as tracer, \
            Child(script(COUNTED, 0, 100, 30), ns) as load:
        load.line()
        for _ in range(2):
            with Tracer(*VIEWS[other], "--netns", ns.inode) as second:
                second.wait_for(lambda row: True, count=5)
                kill(second)
        load.send("enough")
        account = of_line(load.line())
        check(mine, tracer.stop(), account)


def began(row):
    """When an attempt began, s since the epoch."""
    end = datetime.datetime.fromisoformat(row["time"].replace("Z", "+00:00")).timestamp()
    return end - row["latency_us"] / 1e6


def test_one_starts_in_the_middle_of_a_storm(loopback):
    """From its ready line on it has all that the first one has; that one has all of it."""
    ns = loopback.client
    with Tracer(*VIEWS["connect rows"], "--netns", ns.inode) as first, \
            traffic.StormServer(ns, "127.0.0.1") as server, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        storm = pool.submit(traffic.storm, ns, "127.0.0.1", server.port, 9000, reset_close=True,
                            rate=9000)
        first.wait_for(lambda row: True, count=1000)
        with Tracer(*VIEWS["connect rows"], "--netns", ns.inode) as second:
            ready = time.time()
            assert not storm.done(), "too short a storm"
            account = storm.result()
            one, two = first.stop(), second.stop()
    made_all = account["established"]
    assert made_all == account["made"] == 9000
    check("connect rows", one, Made(made_all, 0, 0))
    later = {row["lport"] for row in one.rows if began(row) > ready}
    seen = {row["lport"] for row in two.rows}
    assert len(later) > 500 and seen <= {row["lport"] for row in one.rows} | set(
        range(sum(one.summary["lost"].values())))
    assert len(later - seen) <= sum(two.summary["lost"].values())
    assert two.summary["still_open"] == 0
