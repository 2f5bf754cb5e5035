# SPDX-License-Identifier: GPL-2.0-or-later
"""The soak of tests/live, for as long as one likes, as a chapter of Markdown with its time line."""
import importlib.util
import os
import pathlib
import sys

import lib

TESTS = pathlib.Path(__file__).resolve().parents[1] / "tests" / "live" / "lib"

SHOWN = 20  # lines of the time line at most

HEADING = """## Soak: {seconds:.0f} seconds of everything at once

At the same time, on {cpus} CPUs: storms of connects, established and refused, over a veth;
wrk + nginx with connections that are kept; {sockets:,} open sockets, of which some are read from;
processes that are killed with attempts under way and data unread; namespaces that come, with
traffic, and go. `rows` is `tcplat connect --json`, all the time. The other is `tcplat --json -i 1`,
all three measurements; it is ended in the middle, and another one is started, under full load.
"""


def mib(kib):
    return "" if kib is None else f"{kib / 1024:.2f}"


def made(report):
    counts = {"connects established": "established", "refused": "refused",
              "aborted by a kill": "aborted", "pickups, at least": "pickup"}
    head = [f"{word} {report.made[what]:,}" for word, what in counts.items()]
    names = {"storm": "storms", "web": "runs of wrk", "dead": "processes killed",
             "talk": "namespaces come and gone"}
    batches = [f"{report.batches[kind]:,} {word}" for kind, word in names.items()]
    return f"Made: {', '.join(head)}; {', '.join(batches)}.\n"


def books(report):
    lines = ["| tracer | delivered | missing of what was made | lost, each counted | still open |",
             "|---|---|---|---|---|"]
    for book in report.books:
        lost = ", ".join(f"{name} {count:,}" for name, count in book.lost.items() if count)
        lines.append(f"| {book.name} | {book.summary['events']:,} | **{book.missing()[0]:,}** | "
                     f"**{lost or 0}** | {book.summary['still_open']:,} |")
    return "\n".join(lines + [""])


def memory(report):
    lines = ["MiB, without the first second of each. *state*: all that the kernel holds for it,",
             "what is kept beside each socket included.", "",
             "| tracer | what | when it began | most, 1st half of its life | most, 2nd half |",
             "|---|---|---|---|---|"]
    for name in ("rows", "first", "second"):
        for what, word in (("resident", "resident, map pages apart"), ("maps", "maps"),
                           ("kernel", "state")):
            before = getattr(report.before[name], what)
            if before is None:
                continue
            one, two = report.halves(name, what)
            lines.append(f"| {name} | {word} | {mib(before)} | {mib(one)} | **{mib(two)}** |")
    if report.after.kernel is not None:
        before = mib(report.before["rows"].kernel)
        lines.append(f"| rows | state, when all sockets were gone | {before} |  | "
                     f"**{mib(report.after.kernel)}** |")
    return "\n".join(lines + [""])


def time_line(report):
    lines = ["| s | rows/s | rows: resident | state | lost so far | summary: resident | maps | "
             "state | counted/s | lost so far |", "|---|---|---|---|---|---|---|---|---|---|"]
    pairs = list(zip(report.samples[::2], report.samples[1::2]))  # rows, and the other one
    step = max(1, -(-len(pairs) // SHOWN))
    before = {}
    for one, two in pairs[::step]:
        rates = []
        for sample in (one, two):
            last = before.get(sample.tracer, report.before[sample.tracer])
            before[sample.tracer] = sample
            rates.append((sample.delivered - last.delivered) / (sample.at - last.at))
        lines.append(f"| {one.at:.0f} | {rates[0]:,.0f} | {mib(one.resident)} | "
                     f"{mib(one.kernel)} | {one.lost:,} | {mib(two.resident)} | "
                     f"{mib(two.maps)} | {mib(two.kernel)} | {rates[1]:,.0f} | {two.lost:,} |")
    return "\n".join(lines + [""])


def verdict(report):
    """(text, whether all is well)"""
    said, good = [], not report.left
    for what, check in (("delivered + lost = made", report.check_books),
                        ("memory does not grow", report.check_memory)):
        try:
            check()
            said.append(f"{what}: yes")
        except AssertionError as error:
            said.append(f"{what}: **no**: {error}")
            good = False
    said.append(f"left behind: {report.left or 'nothing'}")
    return "\n".join(f"- {line}" for line in said) + "\n", good


def library():
    """The library of the live tests, whose name is also that of ours."""
    os.environ.setdefault("TCPLAT_BUILD", os.path.abspath(lib.BUILD))
    spec = importlib.util.spec_from_file_location("live", TESTS / "__init__.py",
                                                  submodule_search_locations=[str(TESTS)])
    sys.modules["live"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["live"])
    return importlib.import_module("live.soak")


def chapter(seconds):
    """(text, whether all is well)"""
    report = library().soak(seconds, say=lambda text: print(f"bench: {text}", file=sys.stderr))
    head = HEADING.format(seconds=report.seconds, cpus=os.cpu_count(),
                          sockets=2 * report.connections)
    said, good = verdict(report)
    return "\n".join([head, made(report), books(report), memory(report), time_line(report),
                      said]), good
