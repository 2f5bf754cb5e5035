# SPDX-License-Identifier: GPL-2.0-or-later
"""What the golden tests share: running the program on recordings, and comparing its output.

Nothing here needs root or a kernel: recordings in data/ take the kernel's place.
"""

import os
import pathlib
import subprocess

import pytest

pytest.register_assert_rewrite("docs")

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE / "data"
EXPECTED = HERE / "expected"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"


def programs():
    tcplat = pathlib.Path(os.environ.get("TCPLAT", HERE.parents[1] / "build" / "tcplat")).resolve()
    return {name: tcplat.with_name(name) for name in ("tcplat", "tcpconnlat", "tcppktlat", "tcprtt")}


@pytest.fixture
def run():
    """run(["tcplat", …]) in data/: the finished process, its output in bytes."""
    paths = programs()

    def run(argv, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                   "stderr": subprocess.PIPE, "timeout": 20, "check": False, "cwd": DATA,
                   **options}
        if "input" in options:
            del options["stdin"]
        env = {"PATH": os.environ["PATH"], "TZ": "UTC", "LC_ALL": "C.UTF-8"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                env[name] = os.environ[name]
        return subprocess.run([paths[argv[0]], *argv[1:]], env=env, **options)

    return run


@pytest.fixture
def golden():
    """golden(name, bytes): the same as expected/name, or written there with UPDATE_GOLDEN=1."""

    def golden(name, got):
        path = EXPECTED / name
        if UPDATE:
            path.write_bytes(got)
        assert path.exists(), f"expected/{name} is missing: UPDATE_GOLDEN=1 writes it"
        want = path.read_bytes()
        # As text first, so that pytest shows the lines that differ.
        assert got.decode(errors="backslashreplace") == want.decode(errors="backslashreplace")
        assert got == want

    return golden
