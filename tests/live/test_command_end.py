# SPDX-License-Identifier: GPL-2.0-or-later
"""-- COMMAND: how it ends, how we end, and what is printed and left behind."""

import contextlib
import json
import os
import pty
import signal

import pytest

from lib import binaries
from lib.commands import (bpf_loaded, bpf_objects, children, hold, obedient, ports, said, script,
                          wait_end, wait_writing, wrapped)
from lib.process import mortal, until
from lib.tool import Tracer, run_tool

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
TERMINAL = "Ctrl-C"  # a signal of the terminal's, to everybody in the group
HANG_UP = "hang-up"  # the terminal goes away, which its session leader alone is told


def of_process(pid):
    """A descriptor by which to know, and to end, a process that is not our child."""
    fd = os.pidfd_open(pid)
    stack = contextlib.ExitStack()
    stack.callback(os.close, fd)
    return fd, stack


# --- its exit status -----------------------------------------------------------------------------


@pytest.mark.parametrize("command, status", [
    ("exit 0", 0), ("exit 3", 3), ("exit 255", 255),
    ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("ulimit -c 0; kill -SEGV $$", 139),
])
def test_its_status_is_ours(loopback, command, status):
    done = run_tool(["connect", "--json", "--", "sh", "-c", command], ns=loopback.client)
    assert (done.stderr, done.status) == ("", status)
    (summary,) = done.stdout.splitlines()
    assert json.loads(summary)["event"] == "summary"


def test_drop_in_name_runs_it_too(loopback):
    command = script("connect(120); sys.exit(3)")
    done = run_tool(["--json", "--", *command], tool="tcpconnlat", ns=loopback.client)
    row, summary = map(json.loads, done.stdout.splitlines())
    assert (row["rport"], summary["events"], done.status) == (120, 1, 3)


@pytest.mark.parametrize("output", [["-o", "/dev/full"], ["--json", "-o", "/dev/full"],
                                    ["--hist", "-o", "/dev/full"]])
def test_our_output_fails(loopback, tmp_path, output):
    """The command runs to its end and succeeds, we do not."""
    marker = tmp_path / "ran"
    command = script(f"connect(121); open({str(marker)!r}, 'w')")
    done = run_tool(["connect", *output, "--", *command], ns=loopback.client)
    assert done == ("", "tcplat: writing to /dev/full failed: No space left on device\n", 1)
    assert marker.exists()


def test_ends_with_it_not_with_what_it_leaves(loopback):
    """A daemon that outlives the command keeps neither us nor the probes."""
    command = script("""
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            signal.pause()
        connect(122)
        print("daemon", open("/proc/self/task/%d/children" % os.getpid()).read(), flush=True)
        """)
    with Tracer("connect", "--json", "--", *command, ns=loopback.client) as tracer:
        fd, stack = of_process(int(said(tracer, "daemon ").split()[1]))
        with stack:
            try:
                status, rows, summary, _ = tracer.finish()
            finally:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            assert (status, ports(rows), summary["events"]) == (0, [122], 1)


# --- signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [TERMINAL, HANG_UP, *SIGNALS],
                         ids=lambda how: getattr(how, "name", how))
def test_signal_ends_tracing_and_reaches_it(loopback, tmp_path, how):
    """Rows that the kernel holds come first, then the summary; the command is waited for.

    It hears each signal once, also Ctrl-C, which the terminal sends to both of us.
    """
    number = {TERMINAL: signal.SIGINT, HANG_UP: signal.SIGHUP}.get(how, how)
    with contextlib.ExitStack() as stack:
        tool = "tcplat"
        if how in (TERMINAL, HANG_UP):
            master, slave = pty.openpty()
            ours = stack.enter_context(os.fdopen(master, "r+b", buffering=0))
            stack.callback(os.close, slave)
            # a leader of a session gets the first terminal that it opens for its own
            tool = wrapped(tmp_path, '[ "$LEADER" ] || LEADER=1 exec setsid "$0" "$@"',
                           f": <>{os.ttyname(slave)}")
        tracer = stack.enter_context(Tracer(
            "connect", "--json", "--netns", loopback.client.inode, "--", *obedient(*SIGNALS),
            tool=tool, ns=loopback.client))
        tracer.send("connect 101")
        tracer.wait_for(lambda row: row["rport"] == 101)
        hold(tracer)
        tracer.send("connect 102 103 104")
        said(tracer, "connected 102")
        if how == TERMINAL:
            ours.write(b"\x03")
            said(tracer, f"signal {number}")
        elif how == HANG_UP:
            ours.close()
        else:
            tracer.signal(number)
        tracer.signal(signal.SIGCONT)
        assert tracer.out.wait(lambda: tracer.summary, 10), tracer.err.text()
        assert ports(tracer.rows) == [101, 102, 103, 104]
        assert tracer.summary["events"] == 4 and not any(tracer.summary["lost"].values())
        said(tracer, f"signal {number}")
        assert tracer.process.poll() is None
        tracer.send("exit 5")
        assert tracer.finish().status == 5
        assert tracer.lines[-1].split() == ["signals", str(int(number))]
        assert [line for line in tracer.lines if line.startswith("{")][-1].startswith(
            '{"event":"summary"')


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_signal_that_ends_it(loopback, number):
    """Sent to us alone."""
    with Tracer("connect", "--json", "--", "sh", "-c", "echo started; read line",
                ns=loopback.client) as tracer:
        said(tracer, "started")
        status, _, summary, _ = tracer.stop(number)
    assert (status, summary["events"]) == (128 + number, 0)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_signal_without_a_command(loopback, number):
    """What the kernel holds is drained all the same; ending is what was asked for: 0."""
    with Tracer("connect", "--json", "--netns", loopback.client.inode) as tracer:
        hold(tracer)
        loopback.client.run(script("for port in range(130, 140): connect(port)"))
        tracer.signal(number)
        tracer.signal(signal.SIGCONT)
        status, rows, summary, _ = tracer.finish()
    assert (status, ports(rows), summary["events"]) == (0, list(range(130, 140)), 10)


def test_second_signal_leaves_at_once(loopback):
    """Also where the command minds none."""
    with Tracer("connect", "--json", "--", *obedient(*SIGNALS), ns=loopback.client) as tracer:
        fd, stack = of_process(int(said(tracer, "started ").split()[1]))
        with stack:
            try:
                tracer.signal(signal.SIGINT)
                assert tracer.out.wait(lambda: tracer.summary, 10)
                said(tracer, f"signal {signal.SIGINT}")
                tracer.signal(signal.SIGTERM)
                assert tracer.process.wait(10) == 128 + signal.SIGTERM
                said(tracer, f"signal {signal.SIGTERM}")
            finally:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            wait_end(fd)


def test_ignored_hang_up_stays_ignored(loopback, tmp_path):
    """As under nohup(1)."""
    tool = wrapped(tmp_path, 'trap "" HUP')
    with Tracer("connect", "--json", "--", *obedient(), tool=tool, ns=loopback.client) as tracer:
        said(tracer, "started")
        tracer.signal(signal.SIGHUP)
        tracer.send("connect 140")
        tracer.wait_for(lambda row: row["rport"] == 140)
        tracer.send("exit 0")
        assert tracer.finish().status == 0


# --- before it ends ------------------------------------------------------------------------------


def test_duration_shorter_than_the_command(loopback):
    """Our output ends in time; the command goes on, and its status is ours."""
    with Tracer("connect", "--json", "-d", "1s", "--", *obedient(signal.SIGTERM),
                ns=loopback.client) as tracer:
        tracer.send("connect 150")
        assert tracer.out.wait(lambda: tracer.summary, 10)
        tracer.send("connect 151")
        said(tracer, "connected 151")
        # the first signal, though tracing is over already: nobody is left behind
        tracer.signal(signal.SIGTERM)
        said(tracer, f"signal {signal.SIGTERM}")
        assert tracer.process.poll() is None
        tracer.send("exit 9")
        status, rows, summary, _ = tracer.finish()
    assert (status, ports(rows), summary["events"]) == (9, [150], 1)


def test_number_of_events_smaller_than_the_commands(loopback):
    command = script("for port in range(160, 170): connect(port)\nsys.exit(4)")
    with Tracer("connect", "--json", "--max-events", "3", "--", *command,
                ns=loopback.client) as tracer:
        status, rows, summary, _ = tracer.finish()
    assert (status, ports(rows), summary["events"]) == (4, [160, 161, 162], 3)


def test_reader_gone_while_it_runs(loopback):
    """We have nothing to say any more; the command is not ours to end."""
    reader, writer = os.pipe()
    argv = mortal([binaries.tool(), "connect", "--json", "--",
                   *script("print(sys.stdin.readline(), file=sys.stderr); sys.exit(6)")])
    with os.fdopen(reader, "rb") as file:
        tracer = loopback.client.popen(argv, stdin=-1, stdout=writer, stderr=-1)
        os.close(writer)
        until(lambda: children(tracer.pid), 10, "no command")
        file.close()
        stdout, stderr = tracer.communicate(b"its line\n", timeout=10)
    assert (stdout, stderr, tracer.returncode) == (None, b"its line\n\n", 6)


# --- kill -9 -------------------------------------------------------------------------------------


def test_killed_while_it_runs(loopback):
    """Nothing of ours stays in the kernel; the command goes on."""
    with Tracer("connect", "--json", "--", *obedient(), ns=loopback.client) as tracer:
        fd, stack = of_process(int(said(tracer, "started ").split()[1]))
        with stack:
            loaded = bpf_objects(tracer.pid)
            assert {kind for kind, _ in loaded} == {"prog", "link", "map"}
            assert loaded <= bpf_loaded()
            tracer.signal(signal.SIGKILL)
            tracer.process.wait(10)
            until(lambda: not loaded & bpf_loaded(), 10, "programs stay loaded")
            tracer.send("connect 170")
            said(tracer, "connected 170")
            tracer.process.stdin.close()
            wait_end(fd)


def test_killed_before_it_starts(loopback, tmp_path):
    """The command that waits for its start is never run."""
    marker = tmp_path / "ran"
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0) as full:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while full.write(bytes(4096)):
                pass
        os.set_blocking(writer, True)
        # -v has something to say when the probes are attached, for which there is no room
        argv = mortal([binaries.tool(), "connect", "-v", "--", "touch", marker])
        tracer = loopback.client.popen(argv, stderr=full)
        wait_writing(tracer.pid, 2)
        (command,) = children(tracer.pid)
        fd, stack = of_process(command)
        with stack:
            loaded = bpf_objects(tracer.pid)
            assert {kind for kind, _ in loaded} == {"prog", "link", "map"}
            tracer.kill()
            tracer.wait(10)
            wait_end(fd)
    until(lambda: not loaded & bpf_loaded(), 10, "programs stay loaded")
    assert not marker.exists()
