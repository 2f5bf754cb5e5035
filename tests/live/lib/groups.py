# SPDX-License-Identifier: GPL-2.0-or-later
"""Groups of processes that are gone when the test is: in v2, or where `serve` looks for names."""

import contextlib
import os

import pytest

from .cgroups import cgroup2_mount
from .process import until


def naming_mount():
    """The hierarchy that names come from: of v1 if memory, else pids, else cpu is there; or v2."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounts = [line.split() for line in file]
    for controller in ("memory", "pids", "cpu"):
        for words in mounts:
            if words[2] == "cgroup" and controller in words[3].split(","):
                return words[1]
    return cgroup2_mount()


def move(pid, group):
    """group: its directory, str or bytes."""
    with open(os.path.join(os.fsencode(group), b"cgroup.procs"), "w", encoding="ascii") as file:
        file.write(str(pid))


def _empty(path):
    with open(path + b"/cgroup.procs", "rb") as file:
        return not file.read()


@contextlib.contextmanager
def maker(root):
    """make(name): a group below the root, parents first; its directory, as bytes. Or skips."""
    if root is None:
        pytest.skip("there are no cgroups here")
    made = []

    def make(name):
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        try:
            os.mkdir(path)
        except OSError as error:
            pytest.skip(f"no group can be made below {root}: {error}")
        made.append(path)
        return path

    with contextlib.ExitStack() as stack:
        try:
            yield make
        finally:
            for path in made:  # the stack goes back: the last one first
                stack.callback(os.rmdir, path)
                stack.callback(until, lambda path=path: _empty(path), 5, f"{path} to be empty")
