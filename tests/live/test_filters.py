# SPDX-License-Identifier: GPL-2.0-or-later
"""Each filter, with a connection that matches and one that does not."""

import os

import pytest

from lib import traffic
from lib.cgroups import cgroup2_mount
from lib.process import until
from lib.tool import Tracer, run_tool


@pytest.fixture(scope="module")
def two_servers(veth):
    with traffic.Server(veth.server, "::", port=8001) as one, \
            traffic.Server(veth.server, "::", port=8002) as two:
        yield one, two


@pytest.fixture(scope="module")
def v4_server(veth):
    with traffic.Server(veth.server, "0.0.0.0", port=8003) as server:
        yield server


def traced(options, *clients):
    """Which of the clients (made here, not yet gone) the tracer shows, by index."""
    with Tracer("connect", "--json", *options) as t:
        results = [c.go().result() for c in clients]
        rows = t.stop().rows
    return [[r.pid for r in results].index(row["pid"]) for row in rows]


def client(veth, addr=None, port=8001, **kw):
    return traffic.Client(veth.client, addr or veth.server_v6, port, **kw)


def test_pid(veth, two_servers):
    with client(veth) as a, client(veth) as b, client(veth) as c:
        assert traced(["-p", a.pid], a, b, c) == [0]
    with client(veth) as a, client(veth) as b, client(veth) as c:
        assert traced(["-p", a.pid, "--pid", c.pid], a, b, c) == [0, 2]


def test_pid_is_the_process_and_tid_the_thread(veth, two_servers):
    """A connect from a thread: its process matches -p, the process's own tid does not."""
    with client(veth, mode="thread") as a, client(veth) as b:
        assert traced(["-p", a.pid], a, b) == [0]
    with client(veth, mode="thread") as a, client(veth) as b:
        assert traced(["--tid", a.pid, "--tid", b.pid], a, b) == [1]


def test_tcpconnlat_pid_is_the_process(veth, two_servers):
    with client(veth, mode="thread") as a, client(veth) as b, \
            Tracer("--json", "-p", a.pid, tool="tcpconnlat") as t:
        pids = [c.go().result().pid for c in (a, b)]
        assert [r["pid"] for r in t.stop().rows] == pids[:1]


def test_comm(veth, two_servers):
    with client(veth, comm=b"alpha") as a, client(veth, comm=b"alphabet") as b, \
            client(veth, comm=b"a" * 15) as c:
        assert traced(["--comm", "alpha"], a, b, c) == [0]
    with client(veth, comm=b"alpha") as a, client(veth, comm=b"alph") as b, \
            client(veth, comm=b"a" * 15) as c:
        assert traced(["--comm", "a" * 15, "--comm", "alph"], a, b, c) == [1, 2]


def test_uid(veth, two_servers):
    code = ("import os, socket, sys\n"
            "os.setuid(int(sys.argv[1]))\n"
            "socket.create_connection((sys.argv[2], 8001))\n")
    for option, shown in ((["--uid", "65534"], ["65534"]), (["--uid", "nobody"], ["65534"]),
                          (["--uid", "0"], ["0"]), (["--uid", "0", "--uid", "1"], ["0", "1"])):
        with Tracer("connect", "--json", *option) as t:
            pids = {}
            for uid in ("0", "1", "65534"):
                with veth.client.popen(["/usr/bin/python3", "-c", code, uid,
                                        veth.server_v6]) as p:
                    assert p.wait(10) == 0
                pids[p.pid] = uid
            rows = t.stop().rows
        assert [pids[r["pid"]] for r in rows if r["pid"] in pids] == shown


@pytest.mark.parametrize("spec, shown", [
    ("8001", [0]), ("8002", [1]), ("8001,8002", [0, 1]), ("8000-8001", [0]),
    ("!8001", [1]), ("8000-8100,!8002", [0]), ("80", []),
])
def test_rport(veth, two_servers, spec, shown):
    with client(veth) as a, client(veth, port=8002) as b:
        options = ["-r", spec, "--netns", veth.client.inode]
        assert traced(options, a, b) == shown


def test_rport_repeated_is_or(veth, two_servers):
    with client(veth) as a, client(veth, port=8002) as b:
        assert traced(["-r", "8001", "-r", "8002"], a, b) == [0, 1]


@pytest.mark.parametrize("spec, shown", [
    ("9101", [0]), ("9102", [1]), ("9100-9102", [0, 1]), ("9100", []), ("!9101", [1])])
def test_lport(veth, two_servers, spec, shown):
    """The local port is chosen after the attempt began: this is judged at its end."""
    with client(veth, source=(veth.client_v6, 9101)) as a, \
            client(veth, source=(veth.client_v6, 9102)) as b:
        assert traced(["-l", spec, "--netns", veth.client.inode], a, b) == shown


@pytest.mark.parametrize("option, shown", [
    (["-R", "10.77.1.2"], [0]), (["-R", "10.77.0.0/16"], [0]), (["-R", "10.78.0.0/16"], []),
    (["-R", "fd77:1::2"], [1]), (["-R", "fd77:1::/64"], [1]), (["-R", "fd78::/16"], []),
    (["-R", "0.0.0.0/0"], [0]), (["-R", "::/0"], [1]),
    (["-R", "10.77.1.2", "-R", "fd77:1::2"], [0, 1]),
    (["-L", "10.77.1.1"], [0]), (["-L", "fd77:1::1/128"], [1]), (["-L", "10.77.1.2"], []),
    (["-L", "10.77.1.0/24", "-R", "10.77.1.0/24"], [0]),
    (["-L", "::ffff:10.77.1.1"], [0]),
    (["-4"], [0]), (["-6"], [1]),
])
def test_address_and_family(veth, two_servers, v4_server, option, shown):
    with client(veth, veth.server_v4, 8003) as a, client(veth) as b:
        assert traced([*option, "--netns", veth.client.inode], a, b) == shown


def test_ipv4_mapped_is_ipv4(veth, v4_server):
    for option, shown in ((["-4"], [0]), (["-6"], []), (["-R", "10.77.1.2"], [0])):
        with client(veth, "::ffff:10.77.1.2", 8003) as a:
            assert traced([*option, "--netns", veth.client.inode], a) == shown


def test_netns(veth, two_servers):
    def pair():
        return (traffic.Client(veth.client, "127.0.0.1", 9),
                traffic.Client(veth.server, "127.0.0.1", 9))
    for option, shown in ((veth.client.inode, [0]), (veth.server.name, [1]),
                          (veth.server.path, [1])):
        a, b = pair()
        with a, b:
            assert traced(["--netns", option], a, b) == shown
    a, b = pair()
    with a, b:
        assert traced(["--netns", f"/proc/{a.pid}/ns/net"], a, b) == [0]


@pytest.fixture
def cgroup():
    """A group with one below it: (path of the upper one, path of the lower one)."""
    mount = cgroup2_mount()
    if not mount:
        pytest.skip("cgroup v2 is not mounted")
    top = os.path.join(mount, f"tcplat-test-{os.getpid()}")
    low = os.path.join(top, "low")
    os.mkdir(top)
    os.mkdir(low)
    try:
        yield top, low
        for path in (low, top):
            until(lambda p=path: not open(p + "/cgroup.procs").read(), 5, "an empty group")
    finally:
        os.rmdir(low)
        os.rmdir(top)


def move(pid, group):
    with open(group + "/cgroup.procs", "w") as f:
        f.write(str(pid))


def test_cgroup_is_a_subtree(veth, two_servers, cgroup):
    top, low = cgroup
    for option, shown in ((top, [0, 1]), (low, [1]), ("/" + os.path.relpath(top, cgroup2_mount()),
                                                     [0, 1])):
        with client(veth) as a, client(veth) as b, client(veth) as c:
            move(a.pid, top)
            move(b.pid, low)
            assert traced(["--cgroup", option], a, b, c) == shown


def test_min(delayline):
    with traffic.Server(delayline.server, delayline.server_v4) as far, \
            traffic.Server(delayline.client, "127.0.0.1") as near:
        for option, shown in (("15ms", [0]), ("19000us", [0]), ("1us", [0, 1]), ("25ms", [])):
            with traffic.Client(delayline.client, far.addr, far.port) as a, \
                    traffic.Client(delayline.client, near.addr, near.port) as b:
                assert traced(["--min", option, "--netns", delayline.client.inode],
                              a, b) == shown


def test_tcpconnlat_min_ms(delayline):
    with traffic.Server(delayline.server, delayline.server_v4) as far, \
            traffic.Server(delayline.client, "127.0.0.1") as near:
        for option, shown in (("15", 1), ("0.001", 2), ("25", 0), ("0", 2)):
            with Tracer("--json", option, tool="tcpconnlat") as t:
                pids = {traffic.connect_once(delayline.client, s.addr, s.port).pid
                        for s in (far, near)}
                assert len([r for r in t.stop().rows if r["pid"] in pids]) == shown


def test_filters_combine_with_and(veth, two_servers):
    with client(veth, comm=b"one") as a, client(veth, port=8002, comm=b"one") as b, \
            client(veth, comm=b"two") as c:
        assert traced(["--comm", "one", "-r", "8001"], a, b, c) == [0]


def test_filters_apply_to_what_this_host_refuses(loopback):
    """These rows come from the system call, by another way through the programs."""
    def refused(options):
        with Tracer("connect", "--json", *options) as t:
            pid = traffic.refused_locally(loopback.client, None, port=81).pid
            return [r["rport"] for r in t.stop().rows if r["pid"] == pid]
    assert refused(["-r", "81"]) == [81]
    assert refused(["-r", "82"]) == []
    assert refused(["-R", "198.51.100.0/24", "-4"]) == [81]
    assert refused(["-6"]) == []
    assert refused(["--netns", loopback.client.inode]) == [81]
    assert refused(["--netns", "1"]) == []
    assert refused(["--comm", "nobody-has-this"]) == []
    assert refused(["--failed"]) == [81]
    assert refused(["--min", "1s"]) == []


def test_a_pid_that_does_not_run_is_a_warning(tmp_path):
    with open("/proc/sys/kernel/pid_max") as f:
        pid = int(f.read()) - 1
    while os.path.exists(f"/proc/{pid}"):
        pid -= 1
    run = run_tool(["connect", "-p", pid, "-d", "10ms", "--json"])
    assert run.status == 0
    assert run.stderr.splitlines() == [f"tcplat: warning: no process {pid} is running now"]
