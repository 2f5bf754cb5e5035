# SPDX-License-Identifier: GPL-2.0-or-later
"""-- COMMAND: who of it is traced, and how it is run. How it ends: test_command_end.py."""

import concurrent.futures
import errno
import json
import os
import signal

import pytest

from lib import binaries, traffic
from lib.commands import (children, obedient, ports, public_tool, said, script, setpriv,
                          with_mounts, wrapped)
from lib.tool import Tracer, run_tool


def without_loss(summary):
    return not any(summary["lost"].values())


# --- who is traced -------------------------------------------------------------------------------


def test_its_first_connect_is_seen(loopback):
    """20 of 20, of a program that does nothing else; several at a time, each sees its own."""
    program = [binaries.traffic_program("connstorm"), "--to", "127.0.0.1", "--count", "1"]

    def run(port):
        argv = ["connect", "--json", "--netns", loopback.client.inode, "--", *program]
        return run_tool([*argv, "--port", port], ns=loopback.client)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for port, done in zip(range(1, 21), pool.map(run, range(1, 21))):
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            account, row, summary = sorted(lines, key=lambda line: line.get("event", ""))
            assert (done.status, done.stderr) == (0, "")
            assert account["failed"] == {"ECONNREFUSED": 1}
            assert (row["rport"], row["outcome"], row["comm"]) == (port, "refused", "connstorm")
            assert summary["events"] == 1 and without_loss(summary)


DESCENDANTS = """
pids = {}

def in_thread(call, *args):
    thread = threading.Thread(target=call, args=args)
    thread.start()
    thread.join()

def in_child(call, *args):
    pid = os.fork()
    if pid == 0:
        call(*args)
        os._exit(0)
    os.waitpid(pid, 0)
    return pid

def exec_bash(port):
    # the redirection of a builtin: bash itself connects
    os.execv("/bin/bash", ["bash", "-c", f": </dev/tcp/127.0.0.1/{port}"])

def daemon(port):
    # Forked twice, in a session of its own, and it waits until its parent is dead.
    from_it, to_us = os.pipe()
    from_us, to_it = os.pipe()

    def middle():
        parent = os.getpid()
        if os.fork() == 0:
            os.setsid()
            os.read(from_us, 1)
            assert os.getppid() != parent
            connect(port)
            os.write(to_us, str(os.getpid()).encode())

    in_child(middle)
    os.write(to_it, b"x")
    return int(os.read(from_it, 16))

def thread_of_its_own():
    pids[104] = os.getpid()
    connect(104)
    print("thread", threading.get_native_id())

pids[101] = os.getpid()
connect(101)
sys.stdin.readline()
pids[102] = in_child(connect, 102)
pids[103] = daemon(103)
in_thread(thread_of_its_own)
pids[105] = in_child(exec_bash, 105)
pids[106] = in_child(in_child, in_child, exec_bash, 106)
pids[107] = in_child(in_thread, exec_bash, 107)
pids[108] = os.posix_spawn("/bin/bash", ["bash", "-c", ": </dev/tcp/127.0.0.1/108"], os.environ)
os.waitpid(pids[108], 0)
print("pids", json.dumps(pids))
"""


@pytest.mark.parametrize("all_of_them", [False, True], ids=["its own", "all"])
def test_descendants_and_nobody_else(loopback, all_of_them):
    with Tracer("connect", "--json", "--netns", loopback.client.inode, *["-a"] * all_of_them, "--",
                *script(DESCENDANTS), ns=loopback.client) as tracer:
        # while the command runs, somebody who was there before it and somebody who is new
        tracer.wait_for(lambda row: row["rport"] == 101)
        with traffic.Client(loopback.client, "127.0.0.1", 201) as stranger:
            assert stranger.go().result().error == "ECONNREFUSED"
        tracer.send("go on")
        status, rows, summary, stderr = tracer.finish()
    assert status == 0, stderr
    assert ports(rows) == [*range(101, 109), *([201] if all_of_them else [])]
    assert summary["events"] == len(rows) and without_loss(summary)
    expected = json.loads(said(tracer, "pids ").partition(" ")[2])
    of = {row["rport"]: row for row in rows}
    # 106 is of a grandchild's child, whose pid its grandparent does not know
    del expected["106"]
    assert {port: of[int(port)]["pid"] for port in expected} == expected
    assert len({row["pid"] for row in rows}) == len(rows) - 1  # 101 and 104 are of one process
    assert of[104]["tid"] == int(said(tracer, "thread ").split()[1]) != of[104]["pid"]
    assert all(row["tid"] == row["pid"] for port, row in of.items() if port != 104)
    assert [of[port]["comm"] for port in (105, 106, 107, 108)] == ["bash"] * 4


@pytest.mark.parametrize("options, unseen", [([], 0), (["-a"], 1)], ids=["its own", "all"])
def test_older_attempts_of_others(delayline, options, unseen):
    """What the command does begins after us: what was begun before is none of its business."""
    delayline.control("hold")
    try:
        with traffic.Client(delayline.client, delayline.server_v4, 1, mode="epoll") as client:
            client.go().connecting()
            with Tracer("connect", "--json", "--netns", delayline.client.inode, *options, "--",
                        *obedient()) as tracer:
                said(tracer, "started")
                delayline.control("release")
                assert client.result().error == "ECONNREFUSED"
                tracer.send("exit 0")
                status, rows, summary, _ = tracer.finish()
    finally:
        delayline.control("release")
    assert (status, rows) == (0, [])
    assert (summary["events"], summary["unseen_start"]) == (0, unseen)


IO_URING = """
import ctypes, mmap, struct

libc = ctypes.CDLL(None, use_errno=True)
IO_URING_SETUP, IO_URING_ENTER, GETEVENTS = 425, 426, 1
CONNECT, ASYNC = 16, 1 << 4

def uring_connect(port):
    # One request, which IOSQE_ASYNC hands to a worker thread. The rings are one mapping.
    params = ctypes.create_string_buffer(120)
    ring = libc.syscall(IO_URING_SETUP, 1, params)
    if ring < 0:
        print("errno", ctypes.get_errno())
        sys.exit()
    _, sq_tail, _, _, _, _, sq_array = struct.unpack_from("=7I", params, 40)
    cqes = struct.unpack_from("=6I", params, 80)[5]
    rings = mmap.mmap(ring, 4096)
    entries = mmap.mmap(ring, 4096, offset=0x10000000)
    sock = socket.socket()
    to = struct.pack("=H", socket.AF_INET) + struct.pack("!HI8x", port, 0x7f000001)
    address = ctypes.create_string_buffer(to, len(to))
    entries[:64] = struct.pack("=BBHiQQ40x", CONNECT, ASYNC, 0, sock.fileno(), len(to),
                               ctypes.addressof(address))
    rings[sq_array:sq_array + 4] = struct.pack("=I", 0)
    rings[sq_tail:sq_tail + 4] = struct.pack("=I", 1)
    assert libc.syscall(IO_URING_ENTER, ring, 1, 1, GETEVENTS, None, 0) == 1
    return struct.unpack_from("=8xi", rings, cqes)[0]

# in a child, which the tracer knows by its fork, and whose worker it has to know by its leader
pid = os.fork()
if pid == 0:
    print("result", uring_connect(110), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("pid", pid)
"""


def test_io_uring_worker_counts_as_its_process(loopback):
    with Tracer("connect", "--json", "--", *script(IO_URING), ns=loopback.client) as tracer:
        status, rows, _, stderr = tracer.finish()
    refused = tracer.out.find("errno ", 0)
    if refused:
        number = int(refused.split()[1])
        assert number in (errno.ENOSYS, errno.EPERM), errno.errorcode[number]
        pytest.skip(f"io_uring is not available here: {errno.errorcode[number]}")
    assert status == 0, stderr
    said(tracer, f"result {-errno.ECONNREFUSED}")
    (row,) = rows
    pid = int(said(tracer, "pid ").split()[1])
    assert (row["rport"], row["pid"], row["outcome"]) == (110, pid, "refused")
    assert row["tid"] != pid and row["comm"] == f"iou-wrk-{pid}"


# --- how it is run -------------------------------------------------------------------------------


def test_standard_streams_are_the_callers(loopback, tmp_path):
    """With -o our rows keep out of the command's output, and its input is what ours is."""
    rows = tmp_path / "rows"
    command = script("connect(111); sys.stderr.write('its word\\n'); print(sys.stdin.read() * 2)")
    done = run_tool(["connect", "--json", "-o", rows, "--", *command], ns=loopback.client,
                    input="as it is\n")
    assert done == ("as it is\nas it is\n\n", "its word\n", 0)
    row, summary = map(json.loads, rows.read_text().splitlines())
    assert (row["rport"], summary["events"]) == (111, 1)


def test_arguments_are_its_own(loopback):
    """Nothing after the first -- is read by us, a second -- neither."""
    command = script("print(sys.argv[1:])", "--json", "--", "-h", "", "a b")
    done = run_tool(["connect", "-o", "/dev/null", "--", *command], ns=loopback.client)
    assert done == ("['--json', '--', '-h', '', 'a b']\n", "", 0)


def test_inherits_nothing_of_ours(loopback, tmp_path):
    """Neither our descriptors nor our way with signals; whatever options open something."""
    with open("/proc/mounts", encoding="utf-8") as file:
        group = next(line.split()[1] for line in file if line.split()[2] == "cgroup2")
    with open("/proc/self/status", encoding="utf-8") as file:
        ours = next(int(line.split()[1], 16) for line in file if line.startswith("SigIgn"))
    # Python's own, which it takes back in its children
    ours &= ~(1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)
    env = {"PATH": os.environ["PATH"], "ONLY": "this"}

    def run(*command):
        done = run_tool(["connect", "-o", tmp_path / "rows", *options, "--", *command],
                        ns=loopback.client, env=env)
        assert (done.status, done.stderr) == (0, "")
        return done.stdout.splitlines()

    for options in ([], ["--hist", "-i", "1", "-d", "9", "--cgroup", group]):
        assert run("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status") == [
            f"SigBlk:\t{0:016x}", f"SigIgn:\t{ours:016x}"]
        assert run("ls", "/proc/self/fd") == ["0", "1", "2", "3"]  # 3 is that directory
        assert sorted(run("env")) == sorted(f"{name}={value}" for name, value in env.items())


def test_is_a_child_in_our_group(loopback):
    """So that the terminal's signals reach both."""
    command = script("print('ids', os.getppid(), os.getpgrp(), os.getsid(0), flush=True)\n"
                     "sys.stdin.read()")
    with Tracer("connect", "--json", "--", *command, ns=loopback.client) as tracer:
        ids = [int(word) for word in said(tracer, "ids ").split()[1:]]
        assert ids == [tracer.pid, os.getpgid(tracer.pid), os.getsid(tracer.pid)]
        assert len(children(tracer.pid)) == 1
        tracer.process.stdin.close()
        assert tracer.finish().status == 0


# --- -u ------------------------------------------------------------------------------------------


@pytest.fixture
def with_tester(tmp_path):
    """The tool where there is one more user, who is in two groups."""
    for name, entry in (("passwd", "tester:x:54321:54322::/home/of/tester:/bin/sh"),
                        ("group", "tester:x:54322:\nothers:x:54323:root,tester")):
        with open(f"/etc/{name}", encoding="utf-8") as file:
            (tmp_path / name).write_text(f"{file.read().rstrip()}\n{entry}\n")
        (tmp_path / name).chmod(0o644)
    return with_mounts(tmp_path, f"--bind {tmp_path}/passwd /etc/passwd",
                       f"--bind {tmp_path}/group /etc/group")


def test_runs_as_another_user(loopback, with_tester):
    command = script("""
        def status(name):
            return next(line for line in open("/proc/self/status") if line.startswith(name))

        connect(112)
        print("ids", os.getresuid(), os.getresgid(), os.getgroups())
        print("names", *(os.environ.get(name) for name in ("HOME", "USER", "LOGNAME")))
        print(status("CapEff"), status("CapPrm"))
        """)
    # --uid: as the kernel saw the one who connected
    with Tracer("connect", "--json", "--uid", "54321", "-u", "tester", "--", *command,
                tool=with_tester, ns=loopback.client) as tracer:
        status, rows, _, stderr = tracer.finish()
    assert status == 0, stderr
    said(tracer, f"ids {(54321,) * 3} {(54322,) * 3} [54322, 54323]")
    said(tracer, "names /home/of/tester tester tester")
    assert said(tracer, "CapEff").split()[1] == said(tracer, "CapPrm").split()[1] == "0" * 16
    assert ports(rows) == [112]


def test_unknown_user(loopback, tmp_path):
    marker = tmp_path / "ran"
    done = run_tool(["connect", "-u", "no-such-user", "--", "touch", marker], ns=loopback.client)
    assert (done.stdout, done.status) == ("", 2)
    assert done.stderr == "tcplat: -u/--user: 'no-such-user' is no user here; give a login name\n"
    assert not marker.exists()


def test_another_user_needs_root(loopback, tmp_path):
    """With all that tracing needs, but not the right to become somebody else."""
    marker = tmp_path / "ran"
    tool = wrapped(tmp_path, prefix=setpriv("bpf", "perfmon"), tool=public_tool())
    done = run_tool(["connect", "-u", "root", "--", "touch", marker], ns=loopback.client, tool=tool)
    assert (done.stdout, done.status) == ("", 127)
    *_, line = done.stderr.splitlines()
    assert line == "tcplat: cannot run 'touch' as root: Operation not permitted"
    assert not marker.exists()


# --- what cannot be run --------------------------------------------------------------------------


@pytest.mark.parametrize("what, why", [
    ("nowhere", "No such file or directory"),
    ("data", "Permission denied"),
    ("directory", "Permission denied"),
    ("no-such-command", "No such file or directory"),
])
@pytest.mark.parametrize("output", [[], ["--json"], ["--hist"]], ids=["table", "json", "hist"])
def test_cannot_be_started(loopback, tmp_path, what, why, output):
    (tmp_path / "data").write_text("no program")
    (tmp_path / "directory").mkdir()
    command = what if what == "no-such-command" else str(tmp_path / what)
    done = run_tool(["connect", *output, "--", command, "argument"], ns=loopback.client)
    assert done == ("", f"tcplat: cannot run '{command}': {why}\n", 127)


@pytest.mark.parametrize("args", [["--"], ["--json", "--"], ["-a", "--"]])
def test_no_command_at_all(args):
    assert run_tool(["connect", *args]) == ("", "tcplat: --: a command must follow\n", 2)
