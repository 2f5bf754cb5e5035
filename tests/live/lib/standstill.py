# SPDX-License-Identifier: GPL-2.0-or-later
"""When this machine did not run what was due, by a witness that knows nothing of the test.

A guest's processor may be taken away for some 10 ms. What was under way took so much longer then,
and a bound for a single event is a bound for what the machine has not added to it.
"""

import contextlib
import datetime
import json
import time

from .binaries import traffic_program
from .process import Child

in_all = None  # a sentence about the whole session, at its end
_began = time.monotonic_ns()
_watch = None


@contextlib.contextmanager
def watching():
    """Watches while the block runs. Without the right to, nothing counts as a standstill."""
    global _watch
    with Child([traffic_program("standstill")]) as child:
        with contextlib.suppress(RuntimeError):
            child.line()
            _watch = child
        try:
            yield
        finally:
            _note_all()
            _watch = None


def _union(spans):
    total, reach = 0, 0
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, reach))
        reach = max(reach, end)
    return total


def _gaps(since):
    if _watch is None:
        return []
    _watch.send(str(since))
    return json.loads(_watch.line())


def _note_all():
    """For whoever wonders why a test took so long."""
    global in_all
    gaps = _gaps(0)
    longest = max((end - begin for begin, end in gaps), default=0) / 1e6
    in_all = (f"of {(time.monotonic_ns() - _began) / 1e9:.0f} s the machine stood still for "
              f"{_union(gaps) / 1e6:.0f} ms, in {len(gaps)} pieces of at most {longest:.0f} ms")


def stood_still(begin, end=None):
    """ms in which a processor did not run what was due, between two times of
    time.monotonic_ns(); until now without the second one."""
    end = end or time.monotonic_ns()
    return _union((max(first, begin), min(last, end)) for first, last in _gaps(begin)
                  if first < end and last > begin) / 1e6


def between(first, last):
    """ms between two times in seconds since the epoch."""
    offset = time.time_ns() - time.monotonic_ns()
    return stood_still(int(first * 1e9) - offset, int(last * 1e9) - offset)


def during(connect):
    """ms while a connect was under way: a row, or what its client says."""
    if isinstance(connect, dict):
        ended = datetime.datetime.fromisoformat(connect["time"].replace("Z", "+00:00")).timestamp()
        return between(ended - connect["latency_us"] / 1e6, ended)
    return between(connect.wall, connect.wall + connect.latency_us / 1e6)
