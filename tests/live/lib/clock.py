# SPDX-License-Identifier: GPL-2.0-or-later
"""The wall clock, and whether somebody else sets it meanwhile."""

import time

# What the tracer takes for a clock that was set; the reading itself is good to a microsecond.
_STEP_NS = 50_000


def realtime_offset():
    """CLOCK_REALTIME less CLOCK_MONOTONIC, ns; the best of some attempts."""
    best = None
    for _ in range(50):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = after - before, wall - (before + after) // 2
    return best[1]


class Watch:
    """Knows when the clock was last found to have been set."""

    def __init__(self):
        self._offset = realtime_offset()
        self._found = None

    def look(self):
        offset = realtime_offset()
        if abs(offset - self._offset) > _STEP_NS:
            self._offset, self._found = offset, time.monotonic()

    def was_set(self, since):
        """Between then, of time.monotonic(), and now."""
        self.look()
        return self._found is not None and self._found >= since
