# SPDX-License-Identifier: GPL-2.0-or-later
"""The runner of guests itself: what a guest says and leaves comes back; one that hangs is ended."""

import concurrent.futures
import os
import pathlib

import pytest

import guest
import image
import kernel

COMMANDS = {
    "ends": "uname -r; echo kept > /results/file; exit 3",
    "hangs": "echo about to hang; while :; do :; done",
    "dies": "echo about to die; echo c > /proc/sysrq-trigger",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """All at once, as many as there are processors: each takes some ten seconds to boot."""
    build = pathlib.Path(os.environ["TCPLAT_BUILD"]).absolute()
    cache = build / "vm"
    cache.mkdir(exist_ok=True)
    image.base(cache)
    one = kernel.get(next(iter(kernel.listed())), cache)

    # Here: two threads that ask for the first one get two.
    places = {name: tmp_path_factory.mktemp(name) for name in COMMANDS}

    def run(name):
        return guest.run(one, ["bash", "-c", COMMANDS[name]], cache, build, places[name],
                         seconds=120, silence=20)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return one, dict(zip(COMMANDS, pool.map(run, COMMANDS)))


def test_what_it_leaves(ended):
    one, them = ended
    end = them["ends"]
    assert (end.status, end.why) == (3, None)
    assert one.release in end.console.splitlines()
    assert one.release.startswith(one.name + ".")
    assert (end.results / "file").read_text() == "kept\n"


def test_one_that_hangs(ended):
    end = ended[1]["hangs"]
    assert (end.status, end.why) == (None, "said nothing for 20 s")
    assert end.console.endswith("about to hang")
    assert "about to hang" in (end.results / "console.txt").read_text()
    assert 20 <= end.seconds < 100


def test_one_that_dies(ended):
    end = ended[1]["dies"]
    assert (end.status, end.why) == (None, "ended before its command did")
    assert "about to die" in end.console and "Kernel panic" in end.console


def test_nothing_runs_on(ended):
    mine = f"guest-{os.getpid()}-".encode()
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit():
                assert mine not in pathlib.Path(f"/proc/{entry}/cmdline").read_bytes()
        except FileNotFoundError:
            pass
