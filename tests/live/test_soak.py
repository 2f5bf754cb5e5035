# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything at once, for SOAK_SECONDS (30): connect storms, a web server at full rate, 40,000 open
sockets, processes that are killed, namespaces that come and go, and a tracer that is restarted in
the midst of it. ./dev bench --soak is the same for longer, with figures."""

import os
import pathlib

import pytest

from lib import soak

SECONDS = float(os.environ.get("SOAK_SECONDS") or 30)
LIFE = SECONDS / 2  # of each of the tracers that follow each other


@pytest.fixture(scope="module")
def report():
    return soak.soak(SECONDS)


def test_there_was_load(report):
    """Several batches of each kind in the life of each tracer, else nothing else here is proved."""
    for kind, least in (("storm", 1), ("talk", 3), ("dead", 3), ("touch", 3)):
        assert report.batches[kind] >= least * SECONDS / 10, report.batches
    assert report.made["established"] > report.connections + 500 * SECONDS
    assert report.made["refused"] > 200 * SECONDS and report.made["aborted"] > 10 * SECONDS
    assert report.made["pickup"] > 1000 * SECONDS
    intervals = {name: len(report.of(name)) for name in ("rows", "first", "second")}
    assert intervals["first"] + intervals["second"] == intervals["rows"] - 1, intervals
    assert all(count > LIFE / 2 for count in intervals.values()), intervals


def test_delivered_and_lost_are_what_was_made(report, capsys):
    report.check_books()
    with capsys.disabled():
        for book in report.books:
            print(f"\n  {book.name}: {sum(book.delivered.values())} delivered, missing "
                  f"{book.missing()[0]}, lost {sum(book.lost.values())}", end="")


def test_each_process_was_seen(report):
    """By name and outcome, in each tracer's life."""
    rows, *summaries = report.books
    connects = {("hold", "established"), ("storm", "established"), ("storm", "refused"),
                ("talk", "established"), ("talk", "refused"), ("dead", "established"),
                ("dead", "refused"), ("dead", "aborted")}
    assert report.kinds(rows) - {("wrk", "established")} == connects
    assert rows.summary["events"] == sum(rows.delivered.values())
    for book in summaries:
        kinds = connects | {(kind, what) for kind in ("hold", "talk") for what in ("pickup", "rtt")}
        assert kinds - {("hold", "established")} <= report.kinds(book)


def test_memory_does_not_grow(report):
    report.check_memory()


def test_nothing_is_left(report):
    assert not report.left
    groups = pathlib.Path("/sys/fs/cgroup")
    assert not list(groups.glob(f"*/tcplat-{os.getpid()}-*")) + list(
        groups.glob(f"tcplat-{os.getpid()}-*"))
