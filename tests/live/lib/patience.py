# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests in which somebody has to be in time, on a machine that is late at times."""

import functools
import time

from . import standstill

LATE = 5  # ms; what a busy machine may add, at times


class Late(AssertionError):
    pass


def soon(ms):
    if ms >= LATE:
        raise Late(f"{ms} ms late")


def patient(test):
    """A busy machine is late at times, not every time. An attempt is void when somebody was late,
    or when the machine itself stood still while it failed; nothing else is tried again."""

    @functools.wraps(test)
    def repeated(*args, **kw):
        for _ in range(4):
            began = time.monotonic_ns()
            try:
                return test(*args, **kw)
            except Late:
                pass
            except AssertionError:
                if standstill.longest(began) < LATE:
                    raise
        return test(*args, **kw)

    return repeated
