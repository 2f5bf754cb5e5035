# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands for the tool to run, and circumstances for the tool itself to run in."""

import atexit
import functools
import json
import os
import pathlib
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import textwrap

from . import binaries
from .process import until

# --- what it runs --------------------------------------------------------------------------------

# Nobody listens on the loopback of a namespace of the test's own: each connect is refused at
# once, and its port says in the row who made it.
_CONNECT = """
import json, os, signal, socket, sys, threading

def connect(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", int(port)))
"""


def script(source, *args):
    """A command: this Python program; connect(port) is there and the usual modules are."""
    return ["/usr/bin/python3", "-I", "-S", "-c", _CONNECT + textwrap.dedent(source),
            *map(str, args)]


def ping_pong(cpu=None):
    """A command that says "goes", then sends and reads a byte on loopback, without end."""
    return script(
        """
        if sys.argv[1:]:
            os.sched_setaffinity(0, {int(sys.argv[1])})
        with socket.create_server(("127.0.0.1", 0)) as server:
            one = socket.create_connection(server.getsockname())
            two = server.accept()[0]
        print("goes", flush=True)
        while True:
            one.send(b"x")
            two.recv(1)
        """, *([] if cpu is None else [cpu]))


def obedient(*signals):
    """A command that does what the lines of its input say, and ends with its input.

    "connect PORT…" is answered by "connected PORT…", a signal of those given by "signal N", and
    "exit STATUS" by "signals N…", all that came.
    """
    return script(
        """
        got = []

        def say(*words):
            os.write(1, " ".join([*map(str, words), "\\n"]).encode())

        def listen(numbers):
            while True:
                got.append(int(signal.sigwait(numbers)))
                say("signal", got[-1])

        # by a thread: a handler in Python may have to wait for the end of a read()
        numbers = [int(word) for word in sys.argv[1:]]
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        if numbers:
            threading.Thread(target=listen, args=(numbers,), daemon=True).start()
        say("started", os.getpid())
        while line := sys.stdin.readline():
            word, *args = line.split()
            if word == "connect":
                for port in args:
                    connect(port)
                say("connected", *args)
            else:
                say("signals", *got)
                os._exit(int(args[0]))
        """,
        *map(int, signals),
    )


def said(child, text, timeout=10):
    """The line with this text that a child writes, has written or will."""
    line = child.out.find(text, timeout)
    assert line is not None, f"no {text!r} from {child}: {child.lines}, {child.err.text()}"
    return line


def ports(rows):
    """Who connected, by the ports of their rows."""
    return sorted(row["rport"] for row in rows if row["event"] == "connect")


# --- what it runs in -----------------------------------------------------------------------------


def wrapped(directory, *steps, prefix=(), tool=None):
    """The tool behind a shell script that takes these steps first; for Tracer(tool=…)."""
    path = directory / f"wrapped-{len(list(directory.iterdir()))}"
    words = [*prefix, tool or binaries.tool()]
    last = f'exec {shlex.join(map(str, words))} "$@"'
    path.write_text("\n".join(["#!/bin/sh -e", *steps, last, ""]))
    path.chmod(0o755)
    return str(path)


def with_mounts(directory, *mounts, steps=(), **more):
    """The same, with mounts (arguments of mount(8) each) that nobody else sees."""
    return wrapped(
        directory,
        '[ "$UNSHARED" ] || UNSHARED=1 exec unshare --mount -- "$0" "$@"',
        "unset UNSHARED",
        *(f"mount {mount}" for mount in mounts),
        *steps,
        **more,
    )


NOBODY = 65534


@functools.lru_cache(maxsize=None)
def public_tool():
    """A copy of the tool where every user gets at it, which need not be so of a checkout."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="tcplat-public-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    place.chmod(0o755)
    for name in ("tcplat", "tcplat-serve"):
        shutil.copy(binaries.tool(name), place / name)
        (place / name).chmod(0o755)
    return str(place / "tcplat")


def setpriv(*capabilities, uid=NOBODY):
    """A prefix: as this user, with these capabilities and no way to others."""
    sets = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    ids = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
    return ["setpriv", *ids, f"--bounding-set={sets}", f"--inh-caps={sets}",
            *([f"--ambient-caps={sets}"] if uid else [])]


# --- what becomes of its processes ---------------------------------------------------------------


def state(pid):
    """R, S, D, T, Z …"""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0].decode()


def hold(child):
    """Stops a process; what happens meanwhile waits for it. Until child.signal(SIGCONT)."""
    child.signal(signal.SIGSTOP)
    until(lambda: state(child.pid) == "T", 5, f"{child} does not stop")


def wait_writing(pid, fd):
    """Until it is inside a write() to this descriptor: the reader's turn."""

    def writing():
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            words = file.read().split()  # "running" when it is in none
        return state(pid) == "S" and words[1:2] == [f"{fd:#x}"]

    until(writing, 10, f"it does not wait to write to {fd}")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def wait_end(pidfd, timeout=5):
    """Of a process that is not our child."""
    assert select.select([pidfd], [], [], timeout)[0], "the process is still there"


def bpf_objects(pid):
    """What of BPF a process holds: {("prog", id), …}, of programs, maps and links."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
                fields = dict(line.split(":", 1) for line in file if ":" in line)
        except FileNotFoundError:  # closed meanwhile
            continue
        for kind in ("link", "prog", "map"):  # a link's has the program, too
            if f"{kind}_id" in fields:
                found.add((kind, int(fields[f"{kind}_id"])))
                break
    return found


def bpf_loaded():
    """The same of the whole machine."""
    found = set()
    for kind in ("link", "prog", "map"):
        done = subprocess.run(["bpftool", "-j", kind, "show"], check=True, capture_output=True,
                              timeout=10)
        found |= {(kind, entry["id"]) for entry in json.loads(done.stdout or "[]")}
    return found
