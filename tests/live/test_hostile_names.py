# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that others chose: a table shows them escaped, and JSON stays JSON."""

import contextlib
import json
import os

import pytest

from lib import traffic
from lib.process import until
from lib.tool import Tracer, run_tool

# a name's bytes -> how a table shows it, what JSON says
NAMES = {
    b"\x1b[31mred\x1b[0m": ("\\x1b[31mred\\x1b[0m", "\x1b[31mred\x1b[0m"),
    b"\x1b]0;title\x07": ("\\x1b]0;title\\x07", "\x1b]0;title\x07"),
    b'a"b\\c\'d': ('a"b\\\\c\'d', 'a"b\\c\'d'),
    b"new\nline\r\ttab": ("new\\x0aline\\x0d\\x09tab", "new\nline\r\ttab"),
    b"bad\xff\xfe\x80": ("bad\\xff\\xfe\\x80", "bad\\xff\\xfe\\x80"),
    b"cut \xe2\x82": ("cut \\xe2\\x82", "cut \\xe2\\x82"),
    "größe €".encode(): ("größe €", "größe €"),
    "\u202eright".encode(): ("\\xe2\\x80\\xaeright", "\u202eright"),
    b"csi\xc2\x9b31m": ("csi\\xc2\\x9b31m", "csi\x9b31m"),
    b"\x7f\x01": ("\\x7f\\x01", "\x7f\x01"),
    b"\\x1b[31m": ("\\\\x1b[31m", "\\x1b[31m"),
    b'{"event":1}': ('{"event":1}', '{"event":1}'),
    b" \n ": (" \\x0a ", " \n "),
}


def printable(line):
    """Neither a control character, nor what was no UTF-8 (which has become a surrogate)."""
    return line.isprintable()


@pytest.fixture
def watching(loopback):
    """Four tracers that see the same: {mode: tracer}."""
    filters = ["connect", "--netns", loopback.client.inode]
    with contextlib.ExitStack() as stack:

        def start(columns, by):
            modes = {
                "table": ["--columns", columns],
                "json": ["--json"],
                "hist": ["--hist", "--by", by],
                "hist json": ["--hist", "--json", "--by", by],
            }
            return {mode: stack.enter_context(Tracer(*filters, *args))
                    for mode, args in modes.items()}

        yield start


def check_json(tracer, key, expected):
    """Rows, then histograms, say what was expected, by port."""
    rows = tracer["json"].stop().rows
    assert {row["rport"]: row[key] for row in rows} == expected
    rows = tracer["hist json"].stop().rows
    assert {row["key"]["rport"]: row["key"][key] for row in rows} == expected
    # JSON's own rule; that it is UTF-8 was seen when it was read
    assert min("".join(tracer["json"].lines + tracer["hist json"].lines)) == " "


def check_tables(tracer, key, expected):
    stopped = tracer["table"].stop()
    lines = [line for line in tracer["table"].lines if not line.startswith("RPORT")]
    assert all(map(printable, lines))
    # the name's column is the last: what follows the port and one blank
    assert {int(line.split()[0]): line.lstrip().partition(" ")[2] for line in lines} == expected
    assert stopped.status == tracer["hist"].stop().status == 0
    heads = [line for line in tracer["hist"].lines if line.startswith("connect latency")]
    assert sorted(heads) == sorted(f"connect latency rport={port} {key}={name}"
                                   for port, name in expected.items())
    assert all(map(printable, tracer["hist"].lines))
    assert all(map(printable, stopped.stderr.splitlines()))


def test_programs(loopback, watching):
    tracers = watching("rport,comm", "rport,comm")
    table, said = {}, {}
    for port, (name, (shown, text)) in enumerate(NAMES.items(), 400):
        traffic.connect_once(loopback.client, "127.0.0.1", port, comm=name)
        table[port], said[port] = shown, text
    check_json(tracers, "comm", said)
    check_tables(tracers, "comm", table)


@pytest.fixture
def cgroup():
    """Makes groups below the v2 root; they are removed when nobody is in them any more."""
    mounts = [line.split() for line in open("/proc/mounts", encoding="utf-8")]
    root = next((words[1] for words in mounts if words[2] == "cgroup2"), None)
    if root is None:
        pytest.skip("cgroup v2 is not mounted here")
    made = []

    def make(name):
        path = os.path.join(root.encode(), name)
        try:
            os.mkdir(path)
        except OSError as error:
            pytest.skip(f"no group can be made below {root}: {error}")
        made.append(path)
        return path

    def empty(path):
        with open(path + b"/cgroup.procs", "rb") as file:
            return not file.read()

    yield make
    for path in reversed(made):
        until(lambda path=path: empty(path), 5, f"somebody stays in {path}")
        os.rmdir(path)


def test_groups(loopback, watching, cgroup):
    tracers = watching("rport,cgroup", "rport,cgroup")
    prefix = f"tcplat-{os.getpid()} "
    table, said = {}, {}
    # no newline: the kernel does not take it in the name of a group
    names = {name: value for name, value in NAMES.items() if b"\n" not in name}
    for port, (name, (shown, text)) in enumerate(names.items(), 500):
        path = cgroup(prefix.encode() + name)
        with traffic.Client(loopback.client, "127.0.0.1", port) as client:
            with open(path + b"/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(client.pid))
            assert client.go().result().error == "ECONNREFUSED"
            # looked up when the row is made: the group has to be there still
            tracers["json"].wait_for(lambda row, port=port: row["rport"] == port)
        table[port], said[port] = f"/{prefix}{shown}", f"/{prefix}{text}"
    check_json(tracers, "cgroup", said)
    check_tables(tracers, "cgroup", table)


def test_group_that_is_gone(loopback, cgroup):
    """Its number is all that is left of it."""
    path = cgroup(f"tcplat-{os.getpid()}-gone".encode())
    number = os.stat(path).st_ino
    with Tracer("connect", "--json", "--hist", "--by", "cgroup", "--netns",
                loopback.client.inode) as tracer:
        with traffic.Client(loopback.client, "127.0.0.1", 520) as client:
            with open(path + b"/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(client.pid))
            client.go().result()
        until(lambda: not open(path + b"/cgroup.procs", "rb").read(), 5, "somebody is in it")
        os.rmdir(path)
        os.mkdir(path)  # another of that name
        (row,) = tracer.stop().rows
    assert row["key"] == {"cgroup": f"#{number}"}


@pytest.mark.parametrize("args", [["--", "\x1b[31mnot\nthere"], ["-o", "/\x1b[31mno\n/t"],
                                  ["--by", "\x1b[31m\n"], ["\x1b[31m\n"], ["--\x1b[31m\n"],
                                  ["-\x1b"], ["--replay", "/\x1b\n"]])
def test_arguments_in_messages(args):
    done = run_tool(["connect", *args])
    assert done.stdout == "" and done.status in (1, 2, 127)
    assert done.stderr.count("\n") == 1 and printable(done.stderr.rstrip("\n"))
    json.dumps(done.stderr).encode()
