# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel that we run on lacks, for tests that need it."""

import functools
import pathlib

import pytest


@functools.lru_cache(maxsize=None)
def _btf():
    return pathlib.Path("/sys/kernel/btf/vmlinux").read_bytes()


def has_tracepoint(name):
    """As its BTF says, whoever may attach to it."""
    return f"\0btf_trace_{name}\0".encode() in _btf()


# What the tool says of it itself: tcplat --features, and the limits in tcplat-pickup(8).
needs_data_ready = pytest.mark.skipif(
    not has_tracepoint("sk_data_ready"),
    reason="this kernel has no sk_data_ready: what it would tell is counted, or merged")
SPLICE = pytest.param("splice", marks=needs_data_ready)  # as a way to read
