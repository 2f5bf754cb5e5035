# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests in which somebody has to be in time, on a machine that is late at times."""

import contextlib
import functools

LATE = 5  # ms; what a busy machine may add, at times


class Late(AssertionError):
    pass


def soon(ms):
    if ms >= LATE:
        raise Late(f"{ms} ms late")


def patient(test):
    """A busy machine is late at times, not every time. Nothing but that is tried again."""

    @functools.wraps(test)
    def repeated(*args, **kw):
        for _ in range(3):
            with contextlib.suppress(Late):
                return test(*args, **kw)
        return test(*args, **kw)

    return repeated
