# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings that are not whole, not ours, or come another way than from a file."""

import pytest

from conftest import DATA

ATTEMPTS = (DATA / "attempts.jsonl").read_bytes()
NO_SUMMARY = b"ends without a summary: the recording is not whole\n"


def lines_of(name):
    return (DATA / name).read_bytes().splitlines(keepends=True)


def test_from_stdin(run):
    done = run(["tcplat", "connect", "--replay", "-", "--json"], input=ATTEMPTS)
    assert (done.stdout, done.stderr, done.returncode) == (ATTEMPTS, b"", 0)


def test_from_a_file_as_stdin(run):
    with open(DATA / "attempts.jsonl", "rb") as recording:
        done = run(["tcpconnlat", "--all-outcomes", "--replay=-", "--json"], stdin=recording)
    assert (done.stdout, done.stderr, done.returncode) == (ATTEMPTS, b"", 0)


def test_without_summary(run):
    done = run(["tcplat", "connect", "--replay", "no-summary.jsonl", "--json"])
    want = b'{"event":"summary","events":2,"unseen_start":0,"still_open":0,"lost":{"ring_full":0,' \
           b'"no_state":0,"reentered":0,"keys_full":0,"fifo_merged":0,"clock":0}}\n'
    assert done.stdout == b"".join(lines_of("no-summary.jsonl")) + want
    assert done.stderr == b"tcplat: warning: no-summary.jsonl: " + NO_SUMMARY
    assert done.returncode == 0


def test_empty(run):
    done = run(["tcplat", "connect", "--replay", "-", "--json"], input=b"")
    assert done.stdout.startswith(b'{"event":"summary","events":0,')
    assert done.stderr == b"tcplat: warning: standard input: " + NO_SUMMARY
    assert done.returncode == 0


def test_losses_are_told(run):
    done = run(["tcplat", "connect", "--replay", "lossy.jsonl"])
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == (
        b"tcplat: warning: lost 120 (ring_full): the ring buffer was full (a larger --buffer "
        b"helps)\n"
        b"tcplat: warning: lost 3 (reentered): the hook was already running on that CPU\n"
        b"tcplat: warning: lost 1 (clock): no time stamp that could be true was to be had\n"
        b"tcplat: warning: events 2, lost 124, still open 0, begun before tracing 0\n")
    assert done.returncode == 0


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_broken_line(run, form):
    """What is before it is shown; it is told once; nothing behind it is shown."""
    done = run(["tcplat", "connect", "--replay", "broken.jsonl", *form])
    whole = run(["tcplat", "connect", "--replay", "no-summary.jsonl", *form])
    rows = [line for line in whole.stdout.splitlines() if b"summary" not in line]
    assert done.stdout.splitlines() == rows
    assert done.stderr.startswith(b"tcplat: broken.jsonl:3: ")
    assert done.stderr.count(b"\n") == 1
    assert done.returncode == 1


def test_wrong_member(run):
    done = run(["tcplat", "connect", "--replay", "wrong-member.jsonl", "--json"])
    assert done.stdout == lines_of("wrong-member.jsonl")[0]
    assert done.stderr == b'tcplat: wrong-member.jsonl:2: member "outcome" is missing or not of ' \
                          b'its form\n'
    assert done.returncode == 1


def test_other_events_are_passed_over(run):
    done = run(["tcplat", "connect", "--replay", "other-events.jsonl", "--json"])
    recorded = lines_of("other-events.jsonl")
    assert done.stdout == b"".join([recorded[1], recorded[5], recorded[7]])
    assert done.stderr == b"tcplat: warning: other-events.jsonl: 3 lines are not of this view and " \
                          b"were passed over\n"
    assert done.returncode == 0


def test_not_text_at_all(run):
    done = run(["tcplat", "connect", "--replay", "-"], input=b"\x7fELF\x02\x01\x01\0\x1b[2J" * 99)
    assert done.stderr.startswith(b"tcplat: standard input:1: ")
    assert done.stderr.count(b"\n") == 1
    assert b"\x1b" not in done.stderr
    assert done.returncode == 1


def test_endless_line(run):
    with open("/dev/zero", "rb") as zeros:
        done = run(["tcplat", "connect", "--replay", "-"], stdin=zeros)
    assert done.stderr == b"tcplat: standard input:1: line too long\n"
    assert done.returncode == 1


def test_histograms_in_a_table_of_rows(run, tmp_path):
    recording = tmp_path / "histograms.jsonl"
    recording.write_bytes(
        run(["tcplat", "connect", "--replay", "attempts.jsonl", "--hist", "--json"]).stdout)
    done = run(["tcplat", "connect", "--replay", recording])
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == (f"tcplat: warning: {recording}: 1 lines are not of this view and were "
                           "passed over\n").encode()
    done = run(["tcplat", "connect", "--replay", recording, "--hist", "--failed"])
    assert done.stderr == f"tcplat: {recording}:1: a histogram cannot be filtered any more\n".encode()
    assert done.returncode == 1


def test_absent_file(run):
    done = run(["tcplat", "connect", "--replay", "no-such-file"])
    assert (done.stdout, done.returncode) == (b"", 1)
    assert done.stderr == \
        b"tcplat: --replay: cannot read 'no-such-file': No such file or directory\n"
