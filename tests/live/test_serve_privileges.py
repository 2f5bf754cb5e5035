# SPDX-License-Identifier: GPL-2.0-or-later
"""What the agent may do while it serves: measure and answer, and nothing else."""

import contextlib
import http.client
import os
import pathlib
import re
import shutil
import socket
import subprocess

import pytest

from lib import netns, traffic
from lib.binaries import build_dir, traffic_program
from lib.commands import NOBODY, children, public_tool, script, setpriv, state, wrapped
from lib.kernel import has_tracepoint
from lib.process import Child, until
from lib.tool import Tracer, run_tool

LISTEN = ("--listen", "127.0.0.1:0")

# What inject tries, and how it goes where nothing is refused: the error, "-" for none.
ALLOWED = {"openat-read": "-", "openat-directory": "-", "mmap": "-"}
FORBIDDEN = {
    "open-write": "-", "openat-write": "-", "openat-create": "-", "openat-truncate": "-",
    "openat-append": "-", "openat-tmpfile": "-", "openat2": "-", "unlink": "ENOENT",
    "mkdir": "EEXIST", "memfd_create": "-", "execve": "ENOENT", "execveat": "ENOENT",
    "fork": "-", "clone": "-", "clone3": "-", "socket": "-", "connect": "EBADF",
    "bpf-prog-load": "EINVAL", "bpf-map-create": "EINVAL", "bpf-link-create": "EINVAL",
    "mmap-exec": "-", "mprotect-exec": "-", "setuid": "-", "capset": "EFAULT", "prctl": "-",
    "kill": "-", "ptrace": "ESRCH", "process_vm_writev": "-", "unshare": "-",
}

CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NONE = "0" * 16


class Agent(Tracer):
    """A serving agent that measures one namespace; it listens in a namespace of its own."""

    def __init__(self, place, watched, *args, **more):
        super().__init__("serve", *LISTEN, "--netns", watched.inode, *args, ns=place,
                         ready="serving on", verbose=None, **more)
        self.place = place
        line = self.err.find("serving on", 0)
        self.port = int(re.fullmatch(r"tcplat: serving on http://127\.0\.0\.1:(\d+)/metrics",
                                     line)[1])

    def scrape(self):
        """The metrics by name with labels."""
        with self.place.entered():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("GET", "/metrics")
        with contextlib.closing(connection):
            answer = connection.getresponse()
            assert answer.status == 200
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in
                (line.rpartition(" ") for line in lines if not line.startswith("#"))}

    def wait_value(self, name, value):
        """A page is shared for 200 ms; it may be an older one that comes first."""
        until(lambda: self.scrape().get(name) == value, 5, f"{name} to be {value}")

    def status(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return {name: value.strip() for name, _, value in
                    (line.partition(":") for line in file)}


@pytest.fixture(scope="module")
def place():
    with netns.NetNS() as ns:
        yield ns


@pytest.fixture(scope="module")
def public():
    """The tool, its server and inject where every user gets at them."""
    tool = public_tool()
    for source in (build_dir() / "tcplat-serve", traffic_program("inject")):
        copy = pathlib.Path(shutil.copy(source, pathlib.Path(tool).parent))
        copy.chmod(0o755)
    return tool


def inject(pid, prefix=(), program=None):
    done = subprocess.run([*prefix, program or traffic_program("inject"), str(pid)], check=False,
                          capture_output=True, text=True, timeout=20)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    return done


def outcomes(done):
    """What became of each call: the error, "-" for none."""
    assert (done.returncode, done.stderr) == (0, ""), done
    return {name: error for name, _, error in map(str.split, done.stdout.splitlines())}


def held(pid):
    """Its memory and its open files."""
    return (pathlib.Path(f"/proc/{pid}/maps").read_text(encoding="ascii"),
            sorted(os.listdir(f"/proc/{pid}/fd")))


def refusal(args, status=1, **more):
    """The one line with which it ends instead of serving."""
    done = run_tool(["serve", *LISTEN, *args], **more)
    assert (done.stdout, done.status) == ("", status), done
    (line,) = done.stderr.splitlines()
    return line


def measures(agent, path, times=3):
    """Connects are counted, exactly."""
    name = 'tcplat_connects_total{outcome="established"}'
    before = agent.scrape().get(name, 0)
    with traffic.Server(path.server, "127.0.0.1") as server:
        for _ in range(times):
            assert traffic.connect_once(path.client, "127.0.0.1", server.port).established
    agent.wait_value(name, before + times)


# --- what is left --------------------------------------------------------------------------------


def test_root_has_no_rights_left(place, loopback):
    with Agent(place, loopback.client) as agent:
        status = agent.status()
        assert {status[name] for name in CAPABILITIES} == {NONE}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert status["Uid"].split() == ["0"] * 4
        assert children(agent.pid) == []
        measures(agent, loopback)
        assert agent.stop().status == 0
        assert len(agent.err.all()) == 1


@pytest.mark.parametrize("user, uid", [("nobody", NOBODY), ("54321", 54321)])
def test_user(place, loopback, tmp_path, user, uid):
    """Started with groups, which must not stay."""
    tool = wrapped(tmp_path, prefix=["setpriv", "--groups", "4,24", "--"])
    with Agent(place, loopback.client, "--user", user, tool=tool) as agent:
        status = agent.status()
        assert status["Uid"].split() == status["Gid"].split() == [str(uid)] * 4
        assert status["Groups"] == ""
        assert {status[name] for name in CAPABILITIES} == {NONE}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        measures(agent, loopback)
        assert agent.stop().status == 0
        assert len(agent.err.all()) == 1


def test_inject_where_nothing_is_refused():
    """What else would the refusals below show?"""
    with Child(script("print('goes', flush=True); sys.stdin.readline(); print('on', flush=True)")
               ) as child:
        assert child.line() == "goes"
        assert outcomes(inject(child.pid)) == {**ALLOWED, **FORBIDDEN}
        child.send("")
        assert child.line() == "on"
        assert child.wait() == 0


@pytest.mark.parametrize("args", [(), ("--user", "nobody")])
def test_taken_over_it_can_do_nothing(place, loopback, args):
    with Agent(place, loopback.client, *args) as agent:
        until(lambda: state(agent.pid) == "S", 5, "it to wait for somebody")
        before = held(agent.pid)
        assert outcomes(inject(agent.pid)) == {**ALLOWED, **dict.fromkeys(FORBIDDEN, "EPERM")}
        assert held(agent.pid) == before
        assert agent.scrape()["tcplat_scrapes_total"] == 1
        measures(agent, loopback)
        assert agent.stop().status == 0


def test_everything_on(place, loopback):
    """All that it reads while it serves is still open to it: keys, groups, parts, programs."""
    with Agent(place, loopback.client, "--user", "nobody", "--by", "comm,cgroup", "--split",
               "--bpf-stats", "--edges", "fine") as agent, traffic.Server(
                   loopback.server, "127.0.0.1", mode="echo") as server:
        for _ in range(2):
            assert traffic.connect_once(loopback.client, "127.0.0.1", server.port, comm=b"asks",
                                        payload=b"hello").established

        def connects():
            return [value for name, value in agent.scrape().items()
                    if name.startswith("tcplat_connects_total{") and 'comm="asks"' in name
                    and 'cgroup="/' in name]

        until(lambda: connects() == [2], 5, "connects with the path of their group")
        page = agent.scrape()
        assert any(name.startswith("tcplat_pickup_part_seconds_count{") for name in page)
        assert sum(value for name, value in page.items()
                   if name.startswith("tcplat_bpf_run_seconds_total{")) > 0
        assert page["process_resident_memory_bytes"] > 1 << 20
        assert page["process_start_time_seconds"] > 1e9
        assert agent.stop().status == 0
        # without it there is a warning about --split
        assert len(agent.err.all()) == 1 + (not has_tracepoint("sk_data_ready"))


# --- what it takes to begin with -----------------------------------------------------------------


def test_two_capabilities_are_enough(place, loopback, public, tmp_path):
    tool = wrapped(tmp_path, "ulimit -l 0", prefix=setpriv("bpf", "perfmon"), tool=public)
    with Agent(place, loopback.client, tool=tool) as agent:
        status = agent.status()
        assert status["Uid"].split() == [str(NOBODY)] * 4
        assert {status[name] for name in CAPABILITIES if name != "CapBnd"} == {NONE}
        # without CAP_SETPCAP it cannot be emptied, and is of no use
        assert status["CapBnd"] == f"{1 << 38 | 1 << 39:016x}"
        measures(agent, loopback)
        assert agent.stop().status == 0
        assert len(agent.err.all()) == 1


def test_others_of_its_user_cannot_take_it_over(place, loopback, public, tmp_path):
    """They would have got at the descriptors of its maps and programs."""
    program = str(pathlib.Path(public).parent / "inject")
    tool = wrapped(tmp_path, prefix=setpriv("bpf", "perfmon"), tool=public)
    with Agent(place, loopback.client, tool=tool) as agent:
        assert os.stat(f"/proc/{agent.pid}/status").st_uid == 0
        done = inject(agent.pid, prefix=setpriv(), program=program)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"inject: /proc/{agent.pid}/mem: Permission denied\n"
        measures(agent, loopback)


@pytest.mark.parametrize("have, missing", [
    (["bpf"], "CAP_PERFMON"),
    (["perfmon"], "CAP_BPF"),
    ([], "CAP_BPF and CAP_PERFMON"),
])
def test_missing_capabilities_are_named(public, tmp_path, have, missing):
    tool = wrapped(tmp_path, prefix=setpriv(*have), tool=public)
    assert refusal([], tool=tool) == (
        f"tcplat: needs root, or the capabilities CAP_BPF and CAP_PERFMON (missing: {missing}); "
        "try sudo")


def test_timing_programs_takes_another(place, loopback, public, tmp_path):
    tool = wrapped(tmp_path, prefix=setpriv("bpf", "perfmon"), tool=public)
    line = refusal(["--bpf-stats"], tool=tool)
    assert line.startswith("tcplat: --bpf-stats: ")
    assert "Operation not permitted" in line and "CAP_SYS_ADMIN" in line
    tool = wrapped(tmp_path, prefix=setpriv("sys_admin"), tool=public)
    with Agent(place, loopback.client, "--bpf-stats", tool=tool) as agent:
        measures(agent, loopback)


# --- --user --------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["no-such-user", "4294967295", "-1", ""])
def test_no_such_user(user):
    line = refusal([f"--user={user}"], status=2)
    assert "--user: " in line and repr(user) in line


def test_no_right_to_become_another(public, tmp_path):
    tool = wrapped(tmp_path, prefix=setpriv("bpf", "perfmon"), tool=public)
    assert refusal(["--user", "54321"], tool=tool) == (
        "tcplat: --user: cannot become user 54321 of group 54321: Operation not permitted; "
        "that takes CAP_SETUID and CAP_SETGID")


# --- the service manager -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_service_manager(place, loopback, tmp_path, kind):
    """It hears of us when we are ready, while we live, and at the end; all but one locked down."""
    address = str(tmp_path / "notify") if kind == "path" else f"@{tmp_path}/notify"
    env = {**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"}
    # an abstract name is of a network namespace
    with place.entered(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0", 1))
        manager.settimeout(10)
        with Agent(place, loopback.client, "--user", "nobody", env=env) as agent:
            assert manager.recv(4096).split(b"\n")[0] == b"READY=1"
            assert agent.status()["Seccomp"] == "2"
            for _ in range(3):
                assert manager.recv(4096) == b"WATCHDOG=1"
            assert agent.stop().status == 0
            said = manager.recv(4096)
            while said == b"WATCHDOG=1":
                said = manager.recv(4096)
            assert said.split(b"\n")[0] == b"STOPPING=1"
