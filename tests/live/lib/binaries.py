# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the binaries are: the tool under test and the traffic programs."""

import atexit
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
TRAFFIC = ROOT / "tests" / "traffic"


def build_dir():
    return pathlib.Path(os.environ.get("TCPLAT_BUILD") or ROOT / "build").absolute()


@functools.lru_cache(maxsize=None)
def _scratch():
    path = pathlib.Path(tempfile.mkdtemp(prefix="tcplat-bin-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.lru_cache(maxsize=None)
def traffic_program(name):
    """A program of tests/traffic, from the build or else compiled now."""
    for candidate in (build_dir() / "tests" / "traffic" / name, build_dir() / name):
        if candidate.is_file():
            return str(candidate)
    binary = _scratch() / name
    subprocess.run(
        ["cc", "-std=gnu11", "-O2", "-pthread", "-o", binary, TRAFFIC / f"{name}.c"], check=True
    )
    return str(binary)


def tool(name="tcplat"):
    """The tool under one of its names. It goes by its name, so a missing one becomes a link."""
    if name == "tcplat" and os.environ.get("TCPLAT"):
        return os.path.abspath(os.environ["TCPLAT"])
    path = build_dir() / name
    if path.exists() or name == "tcplat":
        return str(path)
    # not cached: the tests of this library change where the build is
    link = _scratch() / name
    link.unlink(missing_ok=True)
    link.symlink_to(tool())
    return str(link)
