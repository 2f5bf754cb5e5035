# SPDX-License-Identifier: GPL-2.0-or-later
"""tcplat rtt: each filter, on the same connections at once, and whose a connection is."""

import collections
import contextlib
import os
import signal

import pytest

from lib import rtts, talk
from lib.cgroups import cgroup2_mount
from lib.commands import script
from lib.process import until
from lib.tool import Tracer

# Three connections, A over the delay line, the others over a veth; each has a client (C…) and a
# server (S…), which has accepted it.
CA, SA, CB, SB, CD, SD = range(6)
EVERY = set(range(6))
CASES = [  # (who is shown, options)
    (EVERY, []),
    ({CA}, ["-p", "{CA}"]), ({SA}, ["-p", "{SA}"]), ({CA, SB}, ["-p", "{CA}", "--pid", "{SB}"]),
    (set(), ["-p", "1"]), ({CA}, ["--tid", "{CA}"]), ({SB}, ["--tid", "{SB}"]),
    (set(), ["--tid", "1"]),
    ({CA}, ["--comm", "alpha"]), ({CA, CB}, ["--comm", "alpha", "--comm", "alphabet"]),
    (set(), ["--comm", "alph"]),
    ({CD}, ["--uid", "nobody"]), (EVERY - {CD}, ["--uid", "0"]), (set(), ["--uid", "12345"]),
    ({SA}, ["-l", "8301"]), ({SA, SD}, ["-l", "8300-8309,!8302"]), (set(), ["-l", "8304"]),
    ({CA}, ["-r", "8301"]), (EVERY - {CA}, ["-r", "!8301"]), (set(), ["-r", "8304"]),
    ({CA}, ["-L", "10.77.2.1"]), ({CB}, ["-L", "fd77:1::1"]), (set(), ["-L", "10.78.0.0/16"]),
    ({CD, SD}, ["-L", "10.77.1.0/24"]), ({CA, SA, CD, SD}, ["-L", "10.77.0.0/16"]),
    ({CD}, ["-R", "10.77.1.2"]), ({SB, CB}, ["-R", "fd77:1::/64"]), (set(), ["-R", "fd78::/16"]),
    ({CA, SA, CD, SD}, ["-4"]), ({CB, SB}, ["-6"]), ({CA}, ["-4", "-L", "10.77.2.1"]),
    ({CB, CD}, ["--netns", "{client}"]), ({SB, SD}, ["--netns", "{server}"]),
    (set(), ["--netns", "1"]),
    ({CA, SB}, ["--cgroup", "{top}"]), ({SB}, ["--cgroup", "{low}"]),
    ({CA}, ["--comm", "alpha", "-r", "8301", "-4"]), (set(), ["--comm", "alpha", "-6"]),
    # an answer of a server that nothing follows waits for a delayed acknowledgement
    ({CA}, ["--min", "15ms", "-r", "8301-8303"]), ({SA}, ["--min", "15ms", "-p", "{SA}"]),
    (set(), ["--min", "10s"]),
]
PINGS = 4


@contextlib.contextmanager
def tracers(options):
    """{options: Tracer}, started all at once."""
    with contextlib.ExitStack() as stack:
        made = {option: stack.enter_context(Tracer("rtt", "--json", *option, ready=None))
                for option in options}
        for tracer in made.values():
            assert tracer.err.find("probes attached", 30), tracer.err.text()
        yield made


def stop(made):
    for tracer in made.values():
        tracer.signal(signal.SIGINT)
    return {option: tracer.stop() for option, tracer in made.items()}


@pytest.fixture(scope="module")
def cgroup():
    """(a group, another one below it); None without cgroup v2."""
    mount = cgroup2_mount()
    if not mount:
        yield None
        return
    top = os.path.join(mount, f"tcplat-rtt-{os.getpid()}")
    low = os.path.join(top, "low")
    for path in (top, low):
        os.mkdir(path)
    try:
        yield top, low
    finally:
        for path in (low, top):
            until(lambda p=path: not open(p + "/cgroup.procs").read(), 5, "an empty group")
            os.rmdir(path)


def move(pid, group):
    with open(group + "/cgroup.procs", "w") as file:
        file.write(str(pid))


@pytest.fixture(scope="module")
def shown(delayline, veth, cgroup):
    """For each case: (expected, rows by who, counts of the histogram by who)."""
    with contextlib.ExitStack() as stack:
        def pair(path, family, port, **options):
            return stack.enter_context(talk.ends(path, family, port=port, **options))
        made = [pair(delayline, 4, 8301, comm="alpha"), pair(veth, 6, 8302, comm="alphabet"),
                pair(veth, 4, 8303, uid=65534)]
        addrs = delayline.server_v4, veth.server_v6, veth.server_v4
        ends = [end for client, server, _ in made for end in (client, server)]
        if cgroup:
            for who, group in zip((CA, SB), cgroup):
                move(ends[who].pid, group)
        words = {**{name: ends[who].pid for name, who in (("CA", CA), ("SA", SA), ("SB", SB))},
                 "client": veth.client.inode, "server": veth.server.name,
                 "top": cgroup and cgroup[0], "low": cgroup and cgroup[1]}
        options = [tuple(word.format(**words) for word in option) for _, option in CASES
                   if cgroup or "--cgroup" not in option]
        rows, by = ("--rows",), ("--hist", "--by", "pid")
        watching = stack.enter_context(tracers(
            [*(option + rows for option in options), *(option + by for option in options)]))
        talks = []
        with contextlib.ExitStack() as captures:
            slow, fast = (tuple(captures.enter_context(rtts.Wire(*end)) for end in (
                (path.client, path.client_dev), (path.server, path.server_dev)))
                          for path in (delayline, veth))
            for (client, server, port), addr in zip(made, addrs):
                one = talk.Talk(client, server).connect(addr, port)
                one.ping(PINGS)
                one.drain()
                talks.append(one)
        # on a machine that stands still, a segment may be sent again, and is no sample then
        senders = [rtts.Sender(wire.packets, flow)
                   for one, wires in zip(talks, (slow, fast, fast))
                   for wire, flow in zip(wires, (one.flow, one.back))]
        assert all(len(s.samples) + len(s.refused) == 1 + PINGS for s in senders)
        pids = {end.pid: who for who, end in enumerate(ends)}
        stopped = stop(watching)
        answer = {}
        for option in options:
            assert stopped[option + rows].status == stopped[option + by].status == 0
            found = collections.defaultdict(list)
            for row in stopped[option + rows].rows:
                found[pids.get(row["pid"])].append(row)
            counts = collections.Counter()
            for row in stopped[option + by].rows:
                counts[pids.get(row["key"]["pid"])] += row["count"]
            answer[option] = found, {who: count for who, count in counts.items() if count}
        yield {tuple(option): (expected, *answer.get(
            tuple(word.format(**words) for word in option), (None, None)),
            [len(sender.samples) for sender in senders])
            for expected, option in CASES}


@pytest.mark.parametrize("option", [tuple(option) for _, option in CASES], ids=" ".join)
def test_filter(shown, option):
    """The same by rows and by histograms: the handshake, and an answer to each that was sent."""
    expected, rows, counts, truth = shown[option]
    if rows is None:
        pytest.skip("cgroup v2 is not mounted")
    for found in (rows, counts):
        # other traffic of this machine may match some of them, never come from our ends
        assert set(found) - {None} == expected
    for who in expected:
        assert (len(rows[who]), counts[who]) == (truth[who], truth[who])
        if "--min" in option:
            assert all(row["latency_us"] >= 15000 for row in rows[who])


def test_rows_say_who_and_where(shown, delayline, veth):
    _, rows, _, _ = shown[()]
    for who, comm, ip, local, remote, ns in (
        (CA, "alpha", 4, ("10.77.2.1", None), ("10.77.2.2", 8301), delayline.client),
        (SA, "python3", 4, ("10.77.2.2", 8301), ("10.77.2.1", None), delayline.server),
        (CB, "alphabet", 6, ("fd77:1::1", None), ("fd77:1::2", 8302), veth.client),
        (SB, "python3", 6, ("fd77:1::2", 8302), ("fd77:1::1", None), veth.server),
    ):
        for row in rows[who]:
            assert (row["event"], row["comm"], row["ip"], row["netns"]) == (
                "rtt", comm, ip, ns.inode)
            assert (row["laddr"], row["raddr"]) == (local[0], remote[0])
            assert local[1] in (None, row["lport"]) and remote[1] in (None, row["rport"])
            assert row["tid"] == row["pid"] and row["cgroup"].startswith("/")


# --- whose it is ---------------------------------------------------------------------------------


def pids_of(rows, flow):
    return [row["pid"] for row in rtts.rows_of(rows, flow)]


def test_accepted_by_one_and_read_by_its_worker(delayline):
    """The process that listens, until the first read; then whoever reads first, with all of it."""
    with talk.ends(delayline) as (client, server, port), rtts.rows(delayline) as tracer:
        one = talk.Talk(client, server).connect(delayline.server_v4, port)
        worker = server.fork(name="worker").pid
        client.do("send", name="it", nbytes=10)
        server.child(name="worker", order={"do": "echo", "name": "it", "count": 1, "size": 10})
        assert client.recv(name="it", nbytes=10).got == 10
        one.drain()
        rows = rtts.settled(tracer).rows
    assert pids_of(rows, one.flow) == [client.pid] * 2
    assert pids_of(rows, one.back) == [worker] * 2


def test_accepted_and_never_read(delayline):
    """What the listener's process sends before anybody reads is its own, and so is the rest."""
    with talk.ends(delayline) as (client, server, port), rtts.rows(delayline) as tracer:
        one = talk.Talk(client, server).connect(delayline.server_v4, port)
        server.do("send", name="it", nbytes=10)
        assert client.recv(name="it", nbytes=10).got == 10
        one.drain()
        rows = rtts.settled(tracer).rows
    assert pids_of(rows, one.back) == [server.pid] * 2


def test_connected_by_one_and_used_by_another(delayline):
    """A client's connection stays that of who connected."""
    with talk.ends(delayline) as (client, server, port), rtts.rows(delayline) as tracer:
        one = talk.Talk(client, server).connect(delayline.server_v4, port)
        client.fork(name="worker")
        server.tell("echo", name="it", count=2, size=10)
        client.child(name="worker", order={"do": "ping", "name": "it", "count": 2, "size": 10})
        server.answer()
        one.drain()
        rows = rtts.settled(tracer).rows
    assert pids_of(rows, one.flow) == [client.pid] * 3


def test_older_than_the_tracer(delayline):
    """Who has it open is asked of the kernel when the tracer begins; filters go by it as well."""
    with talk.talk(delayline) as one:
        one.ping(1)
        one.drain()
        options = {"rows": [], "client": ["-p", one.client.pid], "nobody": ["-p", 1]}
        with contextlib.ExitStack() as stack:
            made = {name: stack.enter_context(rtts.rows(delayline, *option))
                    for name, option in options.items()}
            one.ping(3)
            one.drain()
            rows = {name: rtts.settled(tracer).rows for name, tracer in made.items()}
    for row in rows["rows"]:
        end = one.client if row["lport"] == one.lport else one.server
        assert (row["pid"], row["comm"], row["netns"]) == (end.pid, "python3", end.ns.inode)
    assert len(rows["rows"]) == 6 and rows["nobody"] == []
    assert pids_of(rows["client"], one.flow) == [one.client.pid] * 3 and len(rows["client"]) == 3


COMMAND = """
    server = socket.create_server(("127.0.0.1", 0))
    def work(count):
        one = socket.create_connection(server.getsockname())
        two = server.accept()[0]
        for _ in range(count):
            one.send(b"x")
            two.recv(1)
            two.send(b"x")
            one.recv(1)
        one.close()
        two.recv(1)
    work(3)
    pid = os.fork()
    if not pid:
        work(4)
        os._exit(0)
    os.waitpid(pid, 0)
    os._exit(7)
    """


def test_a_command_and_its_descendants(loopback):
    """Not who talks beside it, unless --all is asked for."""
    with talk.talk(loopback) as beside:
        for everything in ([], ["--all"]):
            with rtts.rows(loopback, *everything, "--", *script(COMMAND), ns=loopback.client,
                           ready="probes attached") as tracer:
                stopped = tracer.finish()
            assert stopped.status == 7
            found = collections.Counter(row["pid"] for row in stopped.rows)
            assert len(found) == 2 and beside.client.pid not in found
            # two sockets, the handshakes, the answers and, where they come in time, the FINs'
            for count, least in zip(sorted(found.values()), (2 + 3 + 2, 2 + 4 + 3)):
                assert least <= count <= least + 4
        idle = script("sys.stdin.readline()")
        with rtts.rows(loopback, "--", *idle, ns=loopback.client) as none, \
                rtts.rows(loopback, "--all", "--", *idle, ns=loopback.client) as all_of_it:
            beside.ping(5)
            beside.drain()
            for tracer in (none, all_of_it):
                tracer.send("")
            assert none.finish().rows == []
            assert collections.Counter(row["pid"] for row in all_of_it.finish().rows) == {
                beside.client.pid: 5, beside.server.pid: 5}
