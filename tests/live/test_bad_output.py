# SPDX-License-Identifier: GPL-2.0-or-later
"""Output that cannot be written, that nobody reads, or that is read too slowly."""

import contextlib
import json
import os
import signal
import socket

import pytest

from lib import binaries, traffic
from lib.commands import hold, script, wait_writing, with_mounts, wrapped
from lib.process import mortal
from lib.tool import READY, Tracer, run_tool

MODES = pytest.mark.parametrize("mode", [[], ["--json"], ["--hist"]], ids=["table", "json", "hist"])
FULL = "tcplat: writing to standard output failed: No space left on device\n"


# --- not to be written ---------------------------------------------------------------------------


@MODES
@pytest.mark.parametrize("step, line", [
    ("exec >/dev/full", FULL),
    ("exec >&-", "tcplat: writing to standard output failed: Bad file descriptor\n"),
    ("exec >&- <&-", "tcplat: writing to standard output failed: Bad file descriptor\n"),
], ids=["full", "closed", "closed too"])
def test_standard_output(loopback, tmp_path, mode, step, line):
    done = run_tool(["connect", "-d", "100ms", *mode], tool=wrapped(tmp_path, step))
    assert done == ("", line, 1)


def test_full_ends_with_the_first_row(loopback, tmp_path):
    """Not only when it is asked to end."""
    tool = wrapped(tmp_path, "exec >/dev/full")
    with Tracer("connect", "--json", "--netns", loopback.client.inode, tool=tool) as tracer:
        traffic.connect_once(loopback.client, "127.0.0.1", 1)
        status, _, _, stderr = tracer.finish()
    assert status == 1 and stderr.endswith(FULL)


@pytest.mark.parametrize("args", [["--features"], ["connect", "--features"], ["connect", "--help"],
                                  ["--help"]])
def test_answers_that_cannot_be_written(tmp_path, args):
    assert run_tool(args, tool=wrapped(tmp_path, "exec >/dev/full")).status == 1


@pytest.mark.parametrize("where, why", [
    ("", "Is a directory"), ("/no/such/place", "No such file or directory"),
])
@MODES
def test_output_file(tmp_path, where, why, mode):
    """Found before anything is started."""
    path = f"{tmp_path}{where}"
    done = run_tool(["connect", *mode, "-o", path, "--", "touch", tmp_path / "ran"])
    assert done == ("", f"tcplat: -o/--output: cannot write '{path}': {why}\n", 1)
    assert not (tmp_path / "ran").exists()


@MODES
def test_disk_that_is_full_from_the_start(loopback, tmp_path, mode):
    disk = tmp_path / "disk"
    disk.mkdir()
    tool = with_mounts(tmp_path, f"-t tmpfs -o size=4k none {disk}",
                       steps=[f"head -c 4096 /dev/zero >{disk}/else", f"TMPDIR={disk}; cd {disk}"])
    done = run_tool(["connect", *mode, "-o", "rows", "-d", "100ms"], tool=tool)
    assert done == ("", "tcplat: writing to rows failed: No space left on device\n", 1)


@pytest.mark.parametrize("options", [[], ["-v"], ["--json"]], ids=" ".join)
def test_disk_that_is_full_in_the_end(loopback, tmp_path, options):
    """The first page of rows fits; it is told also when only the last one does not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    tool = with_mounts(tmp_path, f"-t tmpfs -o size=4k none {disk}", steps=[f"exec >{disk}/rows"])
    # a heading and 39 rows of 103 bytes: a row more than the page, and less than a stdio buffer
    command = script("for port in range(300, 339): connect(port)")
    done = run_tool(["connect", *options, "--", *command], tool=tool, ns=loopback.client)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.count(FULL) == 1
    assert "-v" in options or done.stderr == FULL


# --- nobody reads --------------------------------------------------------------------------------


@contextlib.contextmanager
def reading(path, kind, *args):
    """A tracer whose output we read ourselves: (process, file)."""
    if kind == "pipe":
        reader, writer = os.pipe()
    else:
        reader, writer = (end.detach() for end in socket.socketpair())
    with os.fdopen(reader, "rb", buffering=0) as file:
        try:
            process = path.client.popen(
                mortal([binaries.tool(), "connect", "--netns", path.client.inode, *args]),
                stdout=writer, stderr=-1)
        finally:
            os.close(writer)
        with process:
            try:
                yield process, file
            finally:
                process.kill()


def first_line(file):
    line = b""
    while not line.endswith(b"\n"):
        byte = file.read(1)
        assert byte, f"it ended after {line}"
        line += byte
    return line


def quiet_end(process):
    assert (process.communicate(timeout=10)[1], process.returncode) == (b"", 0)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_reader_leaves_while_nothing_happens(loopback, kind):
    """`tcplat connect | head -1`: it does not take a second row to find out."""
    with reading(loopback, kind) as (process, file):
        assert first_line(file).split()[:2] == [b"PID", b"COMM"]
        file.close()
        quiet_end(process)


@pytest.mark.parametrize("mode", [["--json"], ["--hist"], ["--hist", "--json", "-i", "10s"]],
                         ids=" ".join)
def test_reader_leaves_before_anything_happened(loopback, mode):
    with reading(loopback, "pipe", *mode) as (process, file):
        file.close()
        quiet_end(process)


@pytest.mark.parametrize("mode", [[], ["--json"], ["--hist", "-i", "20ms"]], ids=" ".join)
def test_reader_leaves_while_events_flow(loopback, mode):
    with reading(loopback, "pipe", *mode) as (process, file), traffic.Client(
        loopback.client, "127.0.0.1", 1, repeat=100000
    ) as client:
        if not mode:
            assert b"COMM" in first_line(file)
        client.go().result()
        if "--hist" not in mode:
            assert b"refused" in first_line(file)
        file.close()
        quiet_end(process)
        client.signal(signal.SIGKILL)


# --- read too slowly -----------------------------------------------------------------------------


def test_tracer_that_gets_no_time(loopback):
    """Stopped for a while, with a small ring: what is shown and what is lost is what was made."""
    with Tracer("connect", "--json", "--buffer", "64k", "--netns",
                loopback.client.inode) as tracer, traffic.StormServer(
                    loopback.server, "127.0.0.1") as server:
        hold(tracer)
        made = traffic.storm(loopback.client, "127.0.0.1", server.port, 2000)["made"]
        tracer.signal(signal.SIGCONT)
        made += traffic.storm(loopback.client, "127.0.0.1", server.port, 10)["made"]
        tracer.wait_for(lambda _: True, count=100)
        status, rows, summary, _ = tracer.stop()
    lost = summary["lost"]["ring_full"]
    assert status == 0 and made == 2010
    # 64 KiB hold some 580 rows of 104 + 8 bytes
    assert 500 < len(rows) < 700 and len(rows) + lost == made
    assert summary["events"] == len(rows)


def test_reader_that_stands_still(loopback):
    """We wait for it as long as it takes; the kernel counts what it has no room for."""
    with reading(loopback, "pipe", "-v", "--json", "--buffer", "64k") as (process, file), \
            traffic.StormServer(loopback.server, "127.0.0.1") as server:
        while READY.encode() not in process.stderr.readline():
            assert process.poll() is None
        made = traffic.storm(loopback.client, "127.0.0.1", server.port, 3000)["made"]
        wait_writing(process.pid, 1)
        process.send_signal(signal.SIGTERM)
        *rows, summary = map(json.loads, file.read().decode().splitlines())
        assert process.wait(10) == 0
    lost = summary["lost"]["ring_full"]
    assert lost > 0 and len(rows) + lost == made == 3000
    assert summary["events"] == len(rows)
