# SPDX-License-Identifier: GPL-2.0-or-later
"""A soak: all loads of soak_load.py at once, traced, with the tracers' memory and books watched.

Two tracers, so that the books can be closed exactly while load goes on:

rows: `connect --json`, from before the first connect until after the last one. A row each, counted
    here as they come; delivered + lost = made.
summary: `tcplat --json -i`, which is all three measurements. It is ended in the middle, and
    another one begins. Load goes on meanwhile, under other names (soak_load.EPOCHS), so that what
    each of the two must have seen is known exactly, too.
"""

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import signal
import select
import subprocess
import tempfile
import threading
import time

from . import netns
from .commands import bpf_loaded, bpf_objects, wrapped
from .process import until
from .soak_load import BETWEEN, EPOCHS, FIRST, SECOND, Town
from .tool import Tracer

_ROW = re.compile(rb'^\{"event":"connect".*?"comm":"([^"]*)".*?"outcome":"([a-z_]+)"', re.M)
_LOST = ("ring_full", "no_state", "reentered", "keys_full", "fifo_merged", "clock")


class Pipe:
    """What a tracer writes, by a named pipe: a thread takes it as it comes and keeps none of it."""

    def __init__(self, path, take):
        os.mkfifo(path)
        self.path = path
        self.take = take
        self.failed = None
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._quit, self._quitting = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        rest = b""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._quit, select.POLLIN)
        try:
            while True:
                ready = dict(poll.poll())
                if self._fd not in ready:
                    return  # told to, and there is nothing more
                if not (data := os.read(self._fd, 1 << 20)):
                    return  # the writer has closed it
                whole, _, rest = (rest + data).rpartition(b"\n")
                if whole:
                    self.take(whole)
        except BaseException as error:
            self.failed = error
            raise

    def join(self):
        """When its writer is gone: everything has been taken."""
        os.write(self._quitting, b"q")
        self._thread.join(30)
        for fd in (self._fd, self._quit, self._quitting):
            os.close(fd)
        if self.failed:
            raise self.failed


def kernel_memory_group(name):
    """A new memory cgroup and the file in it that says what the kernel holds for its members, in
    bytes; None where there is no such controller."""
    for base, file in (("/sys/fs/cgroup/memory", "memory.kmem.usage_in_bytes"),
                       ("/sys/fs/cgroup", "memory.stat")):
        if not os.path.exists(f"{base}/cgroup.procs"):
            continue
        group = pathlib.Path(base, name)
        group.mkdir()
        if (group / file).exists():
            return group, group / file
        group.rmdir()
    return None


def _kernel_bytes(file):
    text = file.read_text()
    found = re.search(r"^kernel (\d+)", text, re.M)  # of memory.stat
    return int(found[1] if found else text)


@dataclasses.dataclass
class Sample:
    at: float  # s since the soak began
    tracer: str
    resident: int  # KiB, pages of maps apart
    maps: int  # KiB, as the kernel accounts them for what a map has of its own
    kernel: int  # KiB that the kernel holds for it in all, state of sockets included; None: unknown
    lost: int  # by what its programs have counted so far
    delivered: int


class Watched:
    """A tracer, what it has delivered, and its memory."""

    def __init__(self, name, directory, began, *args):
        self.name = name
        self.began = began
        self.delivered = collections.Counter()  # of (comm, what)
        self.retransmits = collections.Counter()  # of comm
        self.intervals = 0
        self.samples = []
        self.summary = None
        self.on_interval = None
        self._time = None
        self.tracer = None
        self.group = kernel_memory_group(f"tcplat-{os.getpid()}-{name}")
        try:
            self.pipe = Pipe(f"{directory}/{name}.pipe", self._take)
            tool = wrapped(pathlib.Path(directory), f"echo $$ > {self.group[0]}/cgroup.procs") \
                if self.group else "tcplat"
            self.tracer = Tracer(*args, "--json", "-o", self.pipe.path, tool=tool)
            self.objects = bpf_objects(self.tracer.pid)
            self._counters = self._find_counters()
        except BaseException:
            self.kill()
            raise

    def _find_counters(self):
        for kind, number in self.objects:
            if kind == "map":
                shown = _bpftool("map", "show", "id", number)
                if shown.get("name", "").endswith(".bss"):
                    return number
        raise RuntimeError(f"{self.tracer} has no counters")

    # --- what it says ---

    def _take(self, lines):
        if b'"event":"connect"' in lines[:20]:
            rows = [(comm.decode(), what.decode()) for comm, what in _ROW.findall(lines)]
            self.delivered.update(rows)
            lines = lines[lines.rfind(b"\n") + 1:]
            if lines.startswith(b'{"event":"connect"'):
                return
        for line in lines.splitlines():
            self._take_one(json.loads(line))

    def _take_one(self, row):
        if row["event"] == "summary":
            self.summary = row
            return
        assert row["event"] == "histogram", row
        key, metric = row["key"], row["metric"]
        comm = key.get("comm", "rest")
        self.delivered[comm, key.get("outcome", metric)] += row["count"]
        self.retransmits[comm] += row.get("retransmits", 0)
        if row["time"] != self._time:
            self._time = row["time"]
            self.intervals += 1
            if self.on_interval:
                self.on_interval()

    # --- its memory ---

    def resident(self):
        """KiB, pages of BPF maps apart."""
        total, counts = 0, True
        with open(f"/proc/{self.tracer.pid}/smaps", encoding="utf-8") as file:
            for line in file:
                if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                    counts = "bpf-map" not in line and "bpf_map" not in line
                elif line.startswith("Rss:") and counts:
                    total += int(line.split()[1])
        return total

    def maps(self):
        """KiB."""
        total = 0
        for fd in os.listdir(f"/proc/{self.tracer.pid}/fdinfo"):
            with contextlib.suppress(FileNotFoundError), \
                    open(f"/proc/{self.tracer.pid}/fdinfo/{fd}", encoding="ascii") as file:
                fields = dict(line.split(":", 1) for line in file if ":" in line)
                # The link of an iterator names its map, too, and is none.
                if "map_id" in fields and "link_id" not in fields:
                    total += int(fields["memlock"])
        return total // 1024

    def kernel(self):
        return _kernel_bytes(self.group[1]) // 1024 if self.group else None

    def counted(self):
        """By its programs; what the kernel skipped is not in it, the summary tells of that."""
        dump = _bpftool("map", "dump", "id", self._counters)
        for entry in dump[0]["formatted"]["value"][".bss"]:
            if "counters" in entry:
                return sum(entry["counters"][:len(_LOST)])
        raise RuntimeError("no counters in .bss")

    def sample(self):
        self.samples.append(Sample(
            time.monotonic() - self.began, self.name, self.resident(), self.maps(), self.kernel(),
            self.counted(), sum(self.delivered.values())))
        return self.samples[-1]

    # --- its end ---

    def stop(self):
        """Its status must be 0, and everything it wrote has been taken."""
        # Whoever runs this in the background may have SIGINT ignored.
        done = self.tracer.stop(signal.SIGTERM, timeout=60)
        self.pipe.join()
        assert done.status == 0, done
        assert self.summary, f"{self.name} wrote no summary: {done.stderr}"
        self._remove_group()
        return self

    def kill(self):
        """However it is, it ends."""
        if self.tracer:
            self.tracer.stop(signal.SIGTERM)
        self._remove_group()

    def _remove_group(self):
        if self.group:
            group, self.group = self.group[0], None
            until(lambda: not (group / "cgroup.procs").read_text(), 5, f"{group} to be empty")
            group.rmdir()


def _bpftool(*args):
    return json.loads(subprocess.run(["bpftool", "-j", *map(str, args)], check=True,
                                     capture_output=True, timeout=10).stdout)


# --- the books -----------------------------------------------------------------------------------


@dataclasses.dataclass
class Book:
    """made: {(comm, what): (least, most)}; what is due of this tracer, and may be at most."""

    name: str
    made: dict
    delivered: dict
    summary: dict

    @property
    def lost(self):
        return self.summary["lost"]

    def missing(self):
        """(least, most) that was made and is not there."""
        pairs = [(least - self.delivered[key], most - self.delivered[key])
                 for key, (least, most) in self.made.items()]
        return sum(max(0, least) for least, _ in pairs), sum(max(0, most) for _, most in pairs)

    def check(self):
        """Nothing is delivered that was not made; what is missing was counted as lost."""
        strange = {key: count for key, count in self.delivered.items()
                   if key[1] != "rtt" and count > self.made.get(key, (0, 0))[1]}
        assert not strange, (f"{self.name}: more than was made: {strange}; made: "
                             f"{ {key: self.made.get(key) for key in strange} }")
        least, most = self.missing()
        lost = sum(self.lost.values())
        assert least <= lost, (
            f"{self.name}: {least} are missing, {lost} were lost: {self.lost}; (made, delivered) "
            + str({key: (made, self.delivered[key]) for key, made in self.made.items()
                   if self.delivered[key] < made[0]}))
        # What the kernel skipped, and what was merged before anybody read it, is not known to be
        # ours: traffic of others on this machine may be in these counts.
        own = lost - self.lost["reentered"] - self.lost["fifo_merged"]
        assert own <= most, f"{self.name}: {self.lost}, but only {most} can be missing"
        if self.name == "rows":  # the others end while there is load
            assert self.summary["still_open"] == 0, self.summary


def round_trips(town, watched, epoch):
    """(least, found, most) samples of who sends and waits for the answer.

    Each segment has one, but for those sent again; handshakes have two, FINs and what is sent
    without an answer may have one more each.
    """
    comm = town.comm("talk", epoch)
    connections = town.ledger.of(epoch)[comm, "established"][0]
    segments = town.ledger.of(epoch, pickups=True)[comm, "pickup"][0]
    lost = sum(watched.summary["lost"].values())
    return (segments - 2 * watched.retransmits[comm] - lost, watched.delivered[comm, "rtt"],
            segments + 5 * connections)


# --- all of it -----------------------------------------------------------------------------------


@dataclasses.dataclass
class Report:
    seconds: float
    samples: list
    books: list
    made: dict  # {what: how many}
    batches: dict
    connections: int
    tag: str  # what all names of its programs begin with
    before: dict  # {tracer's name: its Sample when it had just begun}
    after: Sample  # of rows, when all sockets were gone again
    trips: dict  # {tracer's name: (least, found, most)}, the round trips of who waits for answers
    left: list  # what is still there afterwards, and should not

    def of(self, name):
        """Its samples in order; not the first, when the loads have hardly begun."""
        return [sample for sample in self.samples if sample.tracer == name][1:]

    def kinds(self, book):
        """{(kind of load, what)} that were delivered."""
        return {(comm.removeprefix(self.tag).lstrip("".join(EPOCHS)), what)
                for comm, what in book.delivered}

    def halves(self, name, what):
        """(most of the first half, most of the second)"""
        values = [getattr(sample, what) for sample in self.of(name)]
        middle = len(values) // 2
        return max(values[:middle]), max(values[middle:])

    def check_books(self):
        for book in self.books:
            book.check()
        for name, (least, found, most) in self.trips.items():
            assert least <= found <= most, f"{name}: {found} round trips, not {least} to {most}"

    def check_memory(self):
        """No more in the second half of a tracer's life than in the first.

        But for what is rounded up: 5 % and 256 KiB. The summary's heap reaches its size only after
        some 20 intervals, 110 KiB above the first one, as lines and keys come to their longest.
        """
        for name in ("rows", "first", "second"):
            for what, slack in (("resident", 256), ("maps", 0), ("kernel", 256)):
                if what == "kernel" and self.before[name].kernel is None:
                    continue
                one, two = self.halves(name, what)
                assert two <= one * 1.05 + slack, f"{name}: {what} {one} KiB, later {two}"
        self._check_state()

    def _check_state(self):
        """What is kept beside sockets goes with them."""
        if self.after.kernel is None:
            return
        before, at_work = self.before["rows"].kernel, self.halves("rows", "kernel")[1]
        kept = (at_work - before) * 1024 / (2 * self.connections)
        assert kept > 100, f"{kept} bytes a socket: this does not measure state"
        assert self.after.kernel - before < (at_work - before) / 10, (
            f"{before} KiB before, {at_work} with {2 * self.connections} sockets, then "
            f"{self.after.kernel}")

    def check(self):
        self.check_books()
        self.check_memory()
        assert not self.left, self.left


def soak(seconds, connections=20000, interval="1s", say=lambda _: None):
    """Runs it; what came out is for Report.check() to judge."""
    spaces = set(os.listdir(netns.RUN)) if os.path.isdir(netns.RUN) else set()
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="tcplat-soak-"))
        town = stack.enter_context(Town(directory, connections))
        report, objects = _soak(stack, town, directory, seconds, interval, say)
    report.left = [name for name in set(os.listdir(netns.RUN)) - spaces
                   if name.startswith(f"tcplat-{os.getpid()}-")]
    report.left += [(pid, name) for pid, name in _processes() if name.startswith(town.tag)]
    with contextlib.suppress(TimeoutError):  # the kernel frees them a little later
        until(lambda: not objects & bpf_loaded(), 30, "")
    report.left += objects & bpf_loaded()
    return report


def _processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8",
                                                errors="replace") as file:
            yield int(pid), file.read().strip()


def _soak(stack, town, directory, seconds, interval, say):
    began = time.monotonic()
    comms = [word for comm in town.comms() for word in ("--comm", comm)]
    samples, before = [], {}

    def start(name, *args):
        one = Watched(name, directory, began, *args)
        stack.callback(one.kill)
        before[name] = one.sample()
        return one

    def half(name, until_s):
        """A tracer of the summary; returns when its intervals have gone on for so long."""
        one = start(name, "-i", interval, *comms)
        over = threading.Event()

        def look():
            try:
                samples.extend([rows.sample(), one.sample()])
            except Exception as error:  # for who waits; what the tracer writes must go on
                town.failed = town.failed or error
            if town.failed or time.monotonic() - began > until_s:
                over.set()

        one.look, one.over = look, over
        return one

    def run(one):
        one.on_interval = one.look
        if not one.over.wait(seconds + 60):
            raise TimeoutError(f"{one.name} has no intervals any more: {one.intervals}")
        one.on_interval = None
        town.check()

    rows = start("rows", "connect", *comms)
    first = half("first", seconds / 2)
    say("opening sockets")
    town.hold()
    end = town.start()
    say("all loads run")
    run(first)
    town.begin_epoch(BETWEEN)
    first.stop()
    say("the first tracer has ended")
    second = half("second", seconds)
    town.begin_epoch(SECOND)
    run(second)
    end()
    town.check()
    second.stop()
    town.release()
    after = rows.sample()
    rows.stop()
    say("all has ended")
    trips = {one.name: round_trips(town, one, epoch)
             for one, epoch in ((first, FIRST), (second, SECOND))}
    made = collections.Counter()
    for pickups in (False, True):
        for (_, what), (least, _) in town.ledger.of(FIRST + BETWEEN + SECOND, pickups).items():
            made[what] += least
    objects = set().union(*(one.objects for one in (rows, first, second)))
    report = Report(time.monotonic() - began, samples, _books(town, rows, first, second), made,
                    town.ledger.batches, town.connections, town.tag, before, after, trips, [])
    return report, objects


def _books(town, rows, first, second):
    of = town.ledger.of
    books = [Book("rows", of(FIRST + BETWEEN + SECOND), rows.delivered, rows.summary)]
    for one, epoch in ((first, FIRST), (second, SECOND)):
        # Of what was made while the tracer began or ended, it may have seen some.
        due = {**of(epoch), **of(epoch, pickups=True)}
        more = {**of(BETWEEN), **of(BETWEEN, pickups=True)}
        made = {key: (due.get(key, (0, 0))[0], due.get(key, (0, 0))[1] + more.get(key, (0, 0))[1])
                for key in due.keys() | more.keys()}
        books.append(Book(one.name, made, one.delivered, one.summary))
    return books
