# SPDX-License-Identifier: GPL-2.0-or-later
"""What the packaging tests share. None needs root, a kernel, or the network."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def tool(name):
    """A system tool, or the test is skipped: only Debian has all of them."""
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin")
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def run(argv, seconds=60, **options):
    """The finished process; its two outputs are one text."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="backslashreplace",
                          timeout=seconds, check=False, **options)


@pytest.fixture(scope="session")
def build():
    """The directory with the programs under test."""
    return pathlib.Path(os.environ.get("TCPLAT_BUILD", ROOT / "build")).resolve()


@pytest.fixture(scope="session")
def serve_options(build):
    """Every option that `tcplat serve --help` knows, by its long and its short name."""
    done = run([build / "tcplat", "serve", "--help"])
    assert done.returncode == 0, done.stdout
    words = done.stdout.replace(",", " ").split()
    return {word for word in words if word.startswith("-") and word.strip("-")}
