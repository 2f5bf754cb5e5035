# SPDX-License-Identifier: GPL-2.0-or-later
"""What `tcplat serve` is asked for: filters, keys, edges; and what it does not understand."""

import os
import socket

import pytest

from lib import groups, reader, talk, traffic
from lib.cgroups import cgroup2_mount
from lib.serve import Agent
from lib.tool import run_tool

CONNECTS = "tcplat_connects_total"


def connect(path, addr=None, port=8001, **options):
    """An attempt at a port where nobody listens: refused."""
    return traffic.connect_once(path.client, addr or path.server_v4, port, **options)


def labels(page, name):
    """The sets of labels of a counter, without the outcome, as sorted pairs."""
    return sorted(tuple(pair for pair in series if pair[0] != "outcome")
                  for series, value in page.values(name).items() if value)


# --- filters -------------------------------------------------------------------------------------


def counted(path, *options):
    """What of one attempt each is counted: to port 8001, to 8002, over IPv6, of another comm."""
    with Agent("--by", "rport", "--all-ports", *options) as serving:
        connect(path)
        connect(path, port=8002)
        connect(path, path.server_v6, 8003)
        connect(path, port=8004, comm=b"another")
        page = serving.scrape()
    assert page.total("tcplat_events_total", measurement="connect") == page.total(CONNECTS)
    return {int(dict(series)["rport"]) for series, value in page.values(CONNECTS).items() if value}


@pytest.mark.parametrize("options, ports", [
    ([], {8001, 8002, 8003, 8004}),
    (["-r", "8001,8003"], {8001, 8003}),
    (["--rport", "!8001"], {8002, 8003, 8004}),
    (["-4"], {8001, 8002, 8004}),
    (["-6"], {8003}),
    (["--comm", "another"], {8004}),
    (["-R", "10.77.1.0/24"], {8001, 8002, 8004}),
    (["-R", "10.77.9.0/24"], set()),
    (["-L", "fd77:1::1"], {8003}),
    (["--uid", "root"], {8001, 8002, 8003, 8004}),
    (["--uid", "nobody"], set()),
    (["-p", os.getpid()], set()),
    (["-r", "8001-8003", "-6"], {8003}),
], ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "")
def test_filters(veth, options, ports):
    assert counted(veth, "--netns", veth.client.inode, *options) == ports


def test_namespaces(veth, loopback):
    """By inode and by path; of another one nothing is seen."""
    assert counted(veth, "--netns", veth.client.path) == {8001, 8002, 8003, 8004}
    assert counted(veth, "--netns", loopback.client.inode) == set()


def test_local_ports(veth):
    """Of what is read, by the port that is ours."""
    with Agent("--netns", veth.server.inode, "-l", "8011", "--by", "lport") as serving, \
            reader.pair(veth, port=8011) as (_, one), reader.pair(veth, port=8012) as (_, other):
        one.schedule([(0, 100)], [(5, "recv", 100)])
        other.schedule([(0, 70)], [(5, "recv", 70)])
        page = serving.scrape()
    assert page.values("tcplat_pickup_bytes_total") == {(("lport", "8011"),): 100}


@pytest.mark.parametrize("by", ["rport", "rport,cgroup"])
def test_groups(veth, by):
    """Who is in it is counted, nobody else; it is of v2, wherever names are looked up."""
    with groups.maker(cgroup2_mount()) as make:
        group = make(f"tcplat-{os.getpid()}")
        with Agent("--netns", veth.client.inode, "--cgroup", group.decode(), "--by", by) as serving:
            connect(veth)
            with traffic.Client(veth.client, veth.server_v4, 8002) as client:
                groups.move(client.pid, group)
                assert client.go().result().error == "ECONNREFUSED"
            page = serving.scrape()
    (series,) = page.values(CONNECTS)
    assert dict(series)["rport"] == "8002"


# --- keys ----------------------------------------------------------------------------------------


def keys_of(path, *options, port=8021):
    """{metric: its labels}, at both ends of a connection with a server at this port."""
    spaces = [word for ns in (path.client, path.server) for word in ("--netns", ns.inode)]
    with Agent(*spaces, *options) as serving, talk.ends(path, port=port) as (client, server, _):
        one = talk.Talk(client, server).connect(path.server_v4, port)
        one.ping(1)
        page = serving.scrape()
    return one, {name: labels(page, name) for name in (CONNECTS, "tcplat_pickup_bytes_total")}


def test_ports_that_mean_something(veth):
    """A local one where somebody listens, a remote one that no connection was just given."""
    _, said = keys_of(veth, "--by", "lport,rport")
    assert said == {CONNECTS: [(("rport", "8021"),)],
                    "tcplat_pickup_bytes_total": [(("lport", "8021"),), (("rport", "8021"),)]}


def test_a_listener_from_before(veth):
    """What listens already when the agent starts, and what it has accepted by then."""
    with talk.talk(veth, port=8022) as one, \
            Agent("--netns", veth.server.inode, "--by", "lport") as serving:
        one.ping(1)
        page = serving.scrape()
    assert page.values("tcplat_pickup_bytes_total") == {(("lport", "8022"),): 100}


def test_a_server_at_an_ephemeral_port(veth):
    """Its clients do not know that it means something, its own side does."""
    first = int(veth.client.sysctl("net.ipv4.ip_local_port_range").split()[0])
    _, said = keys_of(veth, "--by", "lport,rport", port=first + 5)
    assert said == {CONNECTS: [()],
                    "tcplat_pickup_bytes_total": [(), (("lport", str(first + 5)),)]}


def test_all_ports(veth):
    one, said = keys_of(veth, "--by", "lport,rport", "--all-ports")
    ours = ("lport", str(one.lport)), ("rport", "8021")
    theirs = ("lport", "8021"), ("rport", str(one.lport))
    assert said == {CONNECTS: [ours], "tcplat_pickup_bytes_total": sorted([ours, theirs])}


@pytest.mark.parametrize("by, v4, v6", [
    ("raddr", "10.77.1.2", "fd77:1::2"),
    ("raddr/24", "10.77.1.0/24", "fd77:1::2"),
    ("raddr/48", "10.77.1.2", "fd77:1::/48"),
    ("raddr/16/32", "10.77.0.0/16", "fd77:1::/32"),
    ("raddr/0/0", "0.0.0.0/0", "::/0"),
])
def test_subnets(veth, by, v4, v6):
    with Agent("--netns", veth.client.inode, "--by", by) as serving:
        connect(veth)
        connect(veth)
        connect(veth, veth.server_v6)
        page = serving.scrape()
    assert page.values(CONNECTS) == {(("outcome", "refused"), ("raddr", v4)): 2,
                                     (("outcome", "refused"), ("raddr", v6)): 1}


def test_who(loopback):
    """pid, comm and netns are those of the process; laddr that of the attempt."""
    with Agent("--netns", loopback.client.inode, "--by", "pid,comm,netns,laddr") as serving:
        result = connect(loopback, comm=b"somebody")
        page = serving.scrape()
    assert page.values(CONNECTS) == {(
        ("comm", "somebody"), ("laddr", "127.0.0.1"), ("netns", str(loopback.client.inode)),
        ("outcome", "refused"), ("pid", str(result.pid))): 1}


# --- what it does not understand -----------------------------------------------------------------

BAD = [
    ["--listen"], ["--listen", ""], ["--listen", "nonsense"], ["--listen", "127.0.0.1"],
    ["--listen", "127.0.0.1:"], ["--listen", "127.0.0.1:70000"], ["--listen", "127.0.0.1:x"],
    ["--listen", "localhost:80"], ["--listen", "[::1]"], ["--listen", "::1:80"],
    ["--listen", "[127.0.0.1]:80"], ["--listen", "[::1%lo]:0"], ["--listen", "[fe80::1]:0"],
    [word for _ in range(9) for word in ("--listen", "127.0.0.1:0")],
    ["--by", ""], ["--by", "nonsense"], ["--by", "raddr,"], ["--by", "raddr/33/129"],
    ["--by", "raddr/x"], ["--by", "comm/3"], ["--by", "outcome"], ["--by", "none,raddr"],
    ["--edges", "coarse"], ["--edges", ""], ["--split=yes"], ["--all-ports=1"],
    ["--max-series", "999"], ["--max-series", "1000001"], ["--max-series", "x"],
    ["--max-series", "-1"], ["--max-series", ""], ["-u", "no such user"], ["--user", ""],
    ["-p", "0"], ["-p", "x"], ["--tid", "-1"], ["--uid", "no such user"],
    ["--comm", "sixteen letters."], ["-l", "0"], ["-r", "65536"], ["-r", "9-1"], ["-L", "x"],
    ["-R", "10.0.0.0/33"], ["-4", "-6"], ["--netns", "no such namespace"],
    ["--cgroup", "/no/such/group"],
    # of the other views
    ["--", "true"], ["true"], ["--json"], ["-i", "1"], ["-d", "1"], ["--hist"], ["--stats"],
    ["--rows"], ["--min", "1ms"], ["--failed"], ["-o", "/dev/null"], ["--replay", "/dev/null"],
    ["--max-keys", "5"], ["--max-events", "1"], ["--buffer", "4m"], ["--columns", "pid"],
    ["--sort", "p99"], ["--top", "1"], ["-t"], ["-a"], ["-w"],
]


@pytest.mark.parametrize("args", BAD, ids=" ".join)
def test_usage_errors(args):
    """One line that names what is wrong, and nothing was begun."""
    done = run_tool(["serve", "--listen", "127.0.0.1:0", *args], timeout=5)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("tcplat: ")
    assert args[0].split("=")[0] in done.stderr or args == ["-4", "-6"]


def test_help_and_version():
    for option in ("--help", "-h"):
        done = run_tool(["serve", option])
        assert (done.status, done.stderr) == (0, "")
        for name in ("--listen", "--by", "--split", "--edges", "--max-series", "--all-ports",
                     "--bpf-stats", "--user", "--netns", "--cgroup"):
            assert name in done.stdout
        for name in ("--json", "--hist", "--interval", "--replay"):
            assert name not in done.stdout
    assert run_tool(["serve", "-V"]).stdout == run_tool(["-V"]).stdout
    assert "serve" in run_tool(["--help"]).stdout


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_in_use(family, host):
    with socket.create_server((host, 0), family=family) as taken:
        address = f"{f'[{host}]' if ':' in host else host}:{taken.getsockname()[1]}"
        done = run_tool(["serve", "--listen", address])
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == (f"tcplat: --listen: '{address}' is in use already; give another port, "
                           "or 0 for any\n")


def test_an_address_that_is_not_ours(loopback):
    done = run_tool(["serve", "--listen", "192.0.2.1:0"], ns=loopback.client)
    assert done.status == 1 and done.stderr.count("\n") == 1
    assert "192.0.2.1:0" in done.stderr and "Cannot assign requested address" in done.stderr


def test_both_default_addresses(loopback):
    """127.0.0.1 and ::1, at port 9762; the same page at both."""
    with Agent("--netns", loopback.client.inode, listen=None, ns=loopback.client) as serving:
        assert serving.address == "127.0.0.1:9762"
        assert serving.err.find("http://[::1]:9762/metrics", 5)
        serving.scrape()
        serving.host = "::1"
        serving.scrape()
