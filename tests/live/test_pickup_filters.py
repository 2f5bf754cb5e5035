# SPDX-License-Identifier: GPL-2.0-or-later
"""tcplat pickup: each filter and each key of --by, all of them on the same reads at once."""

import collections
import contextlib
import dataclasses
import os
import re
import signal

import pytest

from lib import reader
from lib.cgroups import cgroup2_mount
from lib.commands import script
from lib.process import Child, until
from lib.tool import Tracer, run_tool

# It reads what it has sent to itself, when it is told: "PORT COUNT", or a new name.
SELF = """
    import ctypes
    os.setuid(int(sys.argv[1]))
    socks = {}
    print("started", flush=True)
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "name":
            ctypes.CDLL(None).prctl(15, rest.encode(), 0, 0, 0)
        else:
            if word not in socks:
                with socket.create_server(("127.0.0.1", int(word))) as server:
                    one = socket.create_connection(server.getsockname())
                    socks[word] = one, server.accept()[0]
            one, two = socks[word]
            for _ in range(int(rest)):
                one.send(b"x")
                assert two.recv(10) == b"x"
        print("done", flush=True)
    """


class SelfReader(Child):
    def __init__(self, ns, uid=0):
        super().__init__(script(SELF, uid), ns)
        assert self.line() == "started"

    def do(self, word, rest):
        self.send(f"{word} {rest}")
        assert self.line() == "done"


@contextlib.contextmanager
def tracers(options):
    """{options: Tracer}, started all at once."""
    with contextlib.ExitStack() as stack:
        made = {option: stack.enter_context(Tracer("pickup", "--json", *option, ready=None))
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
    top = os.path.join(mount, f"tcplat-pickup-{os.getpid()}")
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


# Four readers: 0 and 1 accepted, 3 too, by an IPv4-mapped address; 2 has connected. The last two
# arrivals of each wait 20 ms. Two more, of other users, read what they send themselves.
A, B, C, M, ROOT, NOBODY = range(6)
CASES = [  # (who is shown, options)
    ({A}, ["-p", "{A}"]), ({A, C}, ["-p", "{A}", "--pid", "{C}"]), (set(), ["-p", "1"]),
    ({A}, ["--comm", "alpha"]), ({A, C}, ["--comm", "alpha", "--comm", "beta"]),
    (set(), ["--comm", "alph"]),
    ({ROOT}, ["--uid", "0", "-l", "8105,8106"]), ({NOBODY}, ["--uid", "nobody"]),
    ({A}, ["-l", "8101"]), ({B, M}, ["-l", "8100-8104,!8101"]), (set(), ["-l", "8103"]),
    ({C}, ["-r", "8103"]), ({A, B, M}, ["-r", "!8103", "--netns", "{ns}"]), (set(), ["-r", "8101"]),
    ({A, M}, ["-L", "10.77.1.2"]), ({A, C, M}, ["-L", "10.77.1.0/24"]),
    (set(), ["-L", "10.78.0.0/16"]), ({B}, ["-L", "fd77:1::/64"]),
    ({C}, ["-R", "10.77.1.2"]), ({B}, ["-R", "fd77:1::1"]), (set(), ["-R", "fd78::/16"]),
    ({A, C, M}, ["-4", "-L", "10.0.0.0/8"]), ({A, M}, ["-4", "--netns", "{ns}"]),
    ({B}, ["-6", "--netns", "{ns}"]),
    ({A, B, M}, ["--netns", "{ns}"]), ({C, ROOT, NOBODY}, ["--netns", "{other}"]),
    (set(), ["--netns", "1"]),
    ({A, B}, ["--cgroup", "{top}"]), ({B}, ["--cgroup", "{low}"]),
    ({A}, ["--comm", "alpha", "-l", "8101", "-4"]), (set(), ["--comm", "alpha", "-l", "8102"]),
    ({A, M}, ["--min", "15ms", "-l", "8101,8104"]),
    ({A}, ["--min", "15ms", "-p", "{A}"]), (set(), ["--min", "10s"]),
    ({A}, ["--tid", "{A}"]), ({A}, ["--tid", "{thread}"]), (set(), ["--tid", "1"]),
]


@pytest.fixture(scope="module")
def shown(veth, cgroup):
    """For each case: (expected, rows by reader, numbers of the histogram by reader)."""
    mapped = dataclasses.replace(veth, server_v6="::ffff:10.77.1.2")
    with contextlib.ExitStack() as stack:
        def pair(*args, **kw):
            return stack.enter_context(reader.pair(*args, **kw))[1]
        readers = [pair(veth, 4, port=8101, comm=b"alpha"),
                   pair(veth, 6, port=8102, comm=b"alphabet"),
                   pair(veth, 4, port=8103, comm=b"beta", reader_connects=True),
                   pair(mapped, 6, port=8104, comm=b"mapped")]
        others = [stack.enter_context(SelfReader(veth.client, uid)) for uid in (0, 65534)]
        thread = readers[A].schedule([(0, 1)], [(1, "thread", 1)]).reads[0].tid
        if cgroup:
            for who, group in zip((A, B), cgroup):
                move(readers[who].pid, group)
        words = {"A": readers[A].pid, "C": readers[C].pid, "thread": thread,
                 "ns": veth.server.inode, "other": veth.client.name,
                 "top": cgroup and cgroup[0], "low": cgroup and cgroup[1]}
        options = [tuple(word.format(**words) for word in option) for _, option in CASES
                   if cgroup or "--cgroup" not in option]
        by = ("--hist", "--by", "pid")
        made = stack.enter_context(tracers([*options, *(option + by for option in options)]))
        for rcv in readers:
            result = rcv.schedule([(0, 10), (0, 20), (10, 30), (10, 40)], [
                (1, "recv", 10), (1, "recv", 20), (30, "recv", 30),
                (30, "thread" if rcv is readers[A] else "recv", 40)])
            assert [read.nbytes for read in result.reads] == [10, 20, 30, 40]
        for port, other in zip((8105, 8106), others):
            other.do(port, 4)
        pids = {child.pid: who for who, child in enumerate([*readers, *others])}
        stopped = stop(made)
        answer = {}
        for option in options:
            rows = collections.defaultdict(list)
            for row in stopped[option].rows:
                rows[pids.get(row["pid"])].append(row)
            counts = {pids.get(row["key"]["pid"]): row["count"]
                      for row in stopped[option + by].rows}
            answer[option] = rows, counts
            assert stopped[option].status == stopped[option + by].status == 0
        yield {tuple(option): (expected, *answer.get(
            tuple(word.format(**words) for word in option), (None, None)))
            for expected, option in CASES}


@pytest.mark.parametrize("option", [tuple(option) for _, option in CASES], ids=" ".join)
def test_filter(shown, option):
    """The same by rows and by histograms."""
    expected, rows, counts = shown[option]
    if rows is None:
        pytest.skip("cgroup v2 is not mounted")
    for found in (rows, counts):
        # other traffic of this machine may match some of them, never come from our readers
        assert set(found) - {None} == expected
    number = {"--min": 2, "--tid": 3 if option == ("--tid", "{A}") else 1}.get(option[0], 4)
    for who in expected:
        assert (len(rows[who]), counts[who]) == (number, number)
        if option[0] == "--min":
            assert [row["bytes"] for row in rows[who]] == [30, 40]
            assert all(row["latency_us"] >= 15000 for row in rows[who])


def test_rows_say_who_and_where(shown, veth):
    expected, rows, _ = shown["-4", "-L", "10.0.0.0/8"]
    for who, (comm, ip, local, remote) in {
        A: ("alpha", 4, ("10.77.1.2", 8101), ("10.77.1.1", None)),
        C: ("beta", 4, ("10.77.1.1", None), ("10.77.1.2", 8103)),
        M: ("mapped", 4, ("10.77.1.2", 8104), ("10.77.1.1", None)),
    }.items():
        for row in rows[who]:
            assert (row["comm"], row["ip"]) == (comm, ip)
            assert (row["laddr"], row["raddr"]) == (local[0], remote[0])
            assert local[1] in (None, row["lport"]) and remote[1] in (None, row["rport"])
            assert row["netns"] == (veth.client if who == C else veth.server).inode
        assert [row["bytes"] for row in rows[who]] == [10, 20, 30, 40]
        assert [row["segments"] for row in rows[who]] == [1] * 4
    assert expected == {A, C, M}


# --- --by ----------------------------------------------------------------------------------------

KEYS = ["laddr", "raddr", "lport", "rport", "pid", "comm", "cgroup", "netns"]


def test_by_every_key(veth, loopback, cgroup):
    """Counts are those of the rows. Two processes read alternately from one socket, one of them
    moves to another group; a program changes its name: whose slot it was, does not matter."""
    choices = [(key,) for key in KEYS] + [("pid", "comm"), ("lport", "comm", "raddr"), tuple(KEYS)]
    spaces = ("--netns", veth.server.inode, "--netns", loopback.server.inode)
    hists = {keys: (*spaces, "--hist", "--by", ",".join(keys)) for keys in choices}
    with tracers([spaces, *hists.values()]) as made, \
            reader.pair(veth, comm=b"alternates") as (_, rcv), reader.pair(veth, 6) as (_, plain), \
            SelfReader(loopback.client) as named:
        for group in (cgroup or (None,)):
            sends = [(2 * i, 100) for i in range(20)]
            result = rcv.schedule(sends, [(2 * i + 1, how, 100) for i, how in
                                          enumerate(["recv", "child"] * 10)])
            if group:
                move(rcv.pid, group)
        plain.schedule([(0, 10)] * 7, [(5, "recv", 10)] * 7)
        for name, count in (("one name", 3), ("another", 4), ("one name", 5), ("one namf", 1)):
            named.do("name", name)
            named.do(8201, count)
        stopped = stop(made)
    rows = stopped[spaces].rows
    passes = len(cgroup or (None,))
    by_pid = collections.Counter(row["pid"] for row in rows)
    assert by_pid == {rcv.pid: 10 * passes, result.reads[1].tid: 10 * passes, plain.pid: 7,
                      named.pid: 13}
    for keys, option in hists.items():
        expected = collections.Counter(tuple(row[key] for key in keys) for row in rows)
        found = {tuple(row["key"][key] for key in keys): row["count"]
                 for row in stopped[option].rows}
        assert found == expected, keys
        assert len(expected) > 1 or (keys == ("cgroup",) and not cgroup)
        assert all(list(row["key"]) == sorted(keys, key=KEYS.index)
                   for row in stopped[option].rows)
    assert collections.Counter(row["comm"] for row in rows if row["pid"] == named.pid) == {
        "one name": 8, "another": 4, "one namf": 1}
    if cgroup:
        assert len({row["cgroup"] for row in rows if row["pid"] == rcv.pid}) == 2


def test_intervals(loopback):
    with SelfReader(loopback.client) as prog, Tracer(
        "pickup", "--json", "--hist", "-i", "0.1", "--netns", loopback.client.inode
    ) as hist, Tracer("pickup", "--json", "--netns", loopback.client.inode) as rows, \
            reader.pair(loopback) as (_, rcv):
        for _ in range(4):
            prog.do(8202, 500)
            rcv.schedule([(0, 10)], [(60, "recv", 10)])
        hist.wait_for(lambda _: sum(row["count"] for row in hist.rows) == 2004)
        values = sorted(row["latency_us"] for row in rows.stop().rows)
        stopped = hist.stop()
    assert len(values) == 2004 == stopped.summary["events"]
    assert sum(row["count"] for row in stopped.rows) == 2004 and len(stopped.rows) >= 3
    for row in stopped.rows:
        assert sum(bucket["count"] for bucket in row["buckets"]) == row["count"]
        # the extremes are of values of this interval
        low, high = row["buckets"][0]["le_us"], row["buckets"][-1]["le_us"]
        assert row["min_us"] < low and row["max_us"] < high
        assert row["max_us"] >= high / 2 and row["min_us"] >= (0 if low <= 1 else low / 2)
        assert row["count"] * row["min_us"] <= row["sum_us"] <= row["count"] * row["max_us"]
    slow = [row for row in stopped.rows if row["max_us"] > 50_000]
    assert sum(bucket["count"] for row in slow for bucket in row["buckets"]
               if bucket["le_us"] > 50_000) >= 4


def test_more_keys_than_the_table_holds(loopback):
    many = script(
        """
        server = socket.create_server(("127.0.0.1", 0))
        pairs = [(socket.create_connection(server.getsockname()), server.accept()[0])
                 for _ in range(200)]
        for _ in range(3):
            for one, two in pairs:
                one.send(b"x")
                two.recv(10)
        """)
    with Tracer("pickup", "--json", "--hist", "--by", "rport", "--max-keys", "50", "--netns",
                loopback.client.inode) as hist:
        loopback.client.run(many)
        stopped = hist.stop()
    lost = stopped.summary["lost"]
    assert len(stopped.rows) == 50 and [row["count"] for row in stopped.rows] == [3] * 50
    assert lost["keys_full"] == sum(lost.values()) == 450
    assert stopped.summary["events"] == 150


# --- a command -----------------------------------------------------------------------------------

HTTP = """
    import http.server
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b"x" * 5000)
        def log_message(self, *args):
            pass
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
    """


@pytest.mark.parametrize("how", ["itself", "shell", "background"])
def test_command(loopback, how):
    with Child(script(HTTP), loopback.server) as server:
        port = server.line()
        curl = f"curl -s -o /dev/null http://127.0.0.1:{port}/"
        command = {"itself": curl.split(), "shell": ["sh", "-c", f"{curl}; true"],
                   "background": ["sh", "-c", f"{curl} & wait"]}[how]
        for everything in ([], ["--all"]):
            with Tracer("pickup", "--json", *everything, "--netns", loopback.client.inode, "--",
                        *command, ns=loopback.client) as tracer:
                stopped = tracer.finish()
            assert stopped.status == 0
            got = collections.Counter()
            for row in stopped.rows:
                got[row["comm"]] += row["bytes"]
            assert set(got) == ({"curl", "python3"} if everything else {"curl"})
            assert 5000 < got["curl"] < 5300
            assert all(row["rport"] == int(port) for row in stopped.rows if row["comm"] == "curl")
        server.signal(signal.SIGKILL)


# --- the other options ---------------------------------------------------------------------------

COLUMNS = {
    "time": r"\d\d:\d\d:\d\d\.\d{3}", "clock": r"\d\d:\d\d:\d\d", "elapsed": r"\d+\.\d{3}",
    "pid": r"{pid}", "tid": r"{pid}", "comm": r"python3", "ip": "6", "laddr": "fd77:1::2",
    "lport": "{lport}", "raddr": "fd77:1::1", "rport": "{rport}", "wake": r"\d+\.\d{3}",
    "runq": r"\d+\.\d{3}", "app": r"\d+\.\d{3}", "bytes": "123", "segments": "1",
    "netns": "{netns}", "cgroup": "/", "lat": r"\d+\.\d{3}",
}


def test_output_options(veth, tmp_path):
    netns = ["pickup", "--netns", veth.server.inode]
    with contextlib.ExitStack() as stack:
        columns = {name: stack.enter_context(Tracer(*netns, "--split", "--columns", name,
                                                    ready=None)) for name in COLUMNS}
        every = stack.enter_context(Tracer(*netns, "--split", "--columns", ",".join(COLUMNS)))
        three = stack.enter_context(Tracer(*netns, "--max-events", "3", "--json"))
        short = stack.enter_context(Tracer(*netns, "-d", "300ms", "--json"))
        out = stack.enter_context(Tracer(*netns, "-o", tmp_path / "out", "--json"))
        timed = stack.enter_context(Tracer(*netns, "-t", "-w"))
        plain = stack.enter_context(Tracer(*netns))
        for tracer in columns.values():
            assert tracer.err.find("probes attached", 30)
        _, rcv = stack.enter_context(reader.pair(veth, 6))
        rcv.schedule([(0, 123)] * 5, [(5, "recv", 123)] * 5)
        assert len(three.finish().rows) == 3 == three.summary["events"]
        assert short.finish().status == 0
        assert out.stop().status == 0 and out.lines == []
        rows = (tmp_path / "out").read_text().splitlines()
        assert len(rows) == 6 and '"event":"summary"' in rows[-1]
        words = {"pid": rcv.pid, "lport": rcv.lport, "rport": rcv.rport,
                 "netns": veth.server.inode}
        patterns = {name: re.sub(r"\{([a-z]+)\}", lambda m: str(words[m[1]]), pattern)
                    for name, pattern in COLUMNS.items()}
        stop({**columns, "every": every, "timed": timed, "plain": plain})
    for name, tracer in columns.items():
        head, *lines = tracer.lines
        assert len(lines) == 5 and all(re.fullmatch(patterns[name], line.strip())
                                       for line in lines), (name, tracer.lines)
    assert every.lines[0].split() == [tracer.lines[0].strip() for tracer in columns.values()]
    for line in every.lines[1:]:
        assert re.fullmatch(" +".join(patterns.values()), line.strip())
    assert plain.lines[0] == ("    PID COMM            LADDR           LPORT RADDR           RPORT"
                              "   BYTES   LAT(ms)")
    for line in plain.lines[1:]:
        assert re.fullmatch(" +".join(patterns[name] for name in (
            "pid", "comm", "laddr", "lport", "raddr", "rport", "bytes", "lat")), line.strip())
    assert timed.lines[0].index("RADDR") - timed.lines[0].index("LADDR") == 46
    assert all(re.match(patterns["time"] + " +" + patterns["pid"], line)
               for line in timed.lines[1:])


@pytest.mark.parametrize("options, said", [
    (["--failed"], "unknown or ambiguous option --failed"),
    (["--by", "lport"], "--by: only histograms have keys; add --hist"),
    (["--hist", "--by", "outcome"], "--by: 'outcome' has the unknown key 'outcome'"),
    (["--hist", "--by", "part"], "--by: 'part' has the unknown key 'part'"),
    (["--columns", "outcome"], "--columns: 'outcome' has the unknown column 'outcome'"),
    (["--hist", "--columns", "lat"], "--columns and --hist contradict each other"),
    (["--json", "--columns", "lat"], "--columns and --json contradict each other"),
    (["--hist", "--max-events", "3"], "--max-events and --hist contradict each other"),
    (["-i", "1"], "-i/--interval: only histograms are printed at intervals"),
])
def test_wrong_options(options, said):
    done = run_tool(["pickup", *options, "-d", "1ms"])
    assert (done.status, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("tcplat: " + said)
