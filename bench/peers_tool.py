# SPDX-License-Identifier: GPL-2.0-or-later
"""A tracer of Debian's or of ours, started and watched in the same way."""
import contextlib
import pathlib
import signal
import subprocess
import tempfile
import time

import lib
import peers_bpf
import soak

soak.library()  # so that what the live tests share can be imported

THEIRS = "/usr/sbin/"
OURS = lib.BUILD + "/"

_links = {}  # of each command line, how many it has when it is attached


def cpu_ns(pid):
    """Of all its threads, to the nanosecond: clock_getcpuclockid(3)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def until(condition, what, seconds=60, step=0.0005):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(step)
    return value


def is_ours(words):
    return not words[0].startswith(THEIRS)


def shown(words):
    """A command as people type it."""
    return " ".join([words[0].removeprefix(THEIRS), *words[1:]])


class Peer(lib.Tracer):
    """A running tracer, attached: it has all of its BPF links. Its output goes to a file."""

    def __init__(self, words):  # pylint: disable=super-init-not-called # no ready line of theirs
        self.words = words
        self._there = peers_bpf.links()
        self._programs = peers_bpf.program_ids()
        self._dir = tempfile.TemporaryDirectory(prefix="peers-")
        self.out, self.err = (pathlib.Path(self._dir.name) / name for name in ("out", "err"))
        self.began = time.monotonic_ns()
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.p = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            self._attached()
        except BaseException:
            self.p.kill()
            self.p.wait()
            raise
        self.attached_ms = (time.monotonic_ns() - self.began) / 1e6
        self.attached_cpu_ms = cpu_ns(self.p.pid) / 1e6

    def _count(self):
        if self.p.poll() is not None:
            raise RuntimeError(f"{shown(self.words)}: {self.err.read_text()[-300:]}")
        return sum(map(peers_bpf.is_attached, peers_bpf.links() - self._there))

    def _attached(self):
        """Nothing but the number of its links tells; that is learned at the first start."""
        key = tuple(self.words)
        if key not in _links:
            until(self._count, "links")
            many, since = self._count(), time.monotonic()
            while time.monotonic() < since + 1:
                time.sleep(0.02)
                if self._count() != many:
                    many, since = self._count(), time.monotonic()
            _links[key] = many
        until(lambda: self._count() >= _links[key], "all links")

    def programs(self):
        return peers_bpf.programs(self._programs)

    def cpu_ns(self):
        return cpu_ns(self.p.pid)

    def quiet(self):
        """Until it has read all that there is: it does next to nothing any more."""
        before = -1 << 62
        while (now := self.cpu_ns()) > before + 300_000:
            before = now
            time.sleep(0.3)

    def status_kib(self, name):
        with open(f"/proc/{self.p.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name + ":"))

    def stop(self):
        """(what it wrote, what it said on stderr, its status)"""
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGCONT)
            self.p.send_signal(signal.SIGINT)
        self.p.wait(timeout=60)
        return (self.out.read_text("utf-8", "backslashreplace"),
                self.err.read_text("utf-8", "backslashreplace"), self.p.returncode)


@contextlib.contextmanager
def running(*commands):
    """All of these at once; ended at the latest when the block is left."""
    peers = []
    try:
        for words in commands:
            peers.append(Peer(words))
        yield peers
    finally:
        for peer in peers:
            with contextlib.suppress(ProcessLookupError):
                peer.stop()


def ends(words, seconds):
    """A command that may end by itself; one that does not is interrupted.

    (what it wrote, what it said on stderr, its status, after how many seconds it ended or None)
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err) as p:
            try:
                p.wait(seconds)
                took = time.monotonic() - began
            except subprocess.TimeoutExpired:
                took = None
                p.send_signal(signal.SIGINT)
                p.wait(30)
        for file in (out, err):
            file.seek(0)
        return (out.read().decode("utf-8", "backslashreplace"),
                err.read().decode("utf-8", "backslashreplace"), p.returncode, took)
