# SPDX-License-Identifier: GPL-2.0-or-later
"""What the verifier has to do for every program of every view, on every kernel we know.

programs.txt holds, by kernel and view, how many instructions of each program are loaded and how
many the verifier went through. Growth is a longer start for every user, and shows here first.
What was found is written to build/results/programs-KERNEL.txt, to be put there when it is meant.
"""

import json
import os
import pathlib
import platform
import re
import subprocess

import pytest

from lib.binaries import build_dir
from lib.commands import bpf_objects
from lib.tool import READY, Tracer

TABLE = pathlib.Path(__file__).with_name("programs.txt")
ALLOWED = 1.10

VIEWS = {
    "connect": ["connect"],
    "connect-hist": ["connect", "--hist", "--by", "comm,raddr/24,rport,outcome"],
    "pickup": ["pickup"],
    "pickup-split": ["pickup", "--split"],
    "pickup-hist": ["pickup", "--hist", "--by", "comm,lport"],
    "pickup-split-hist": ["pickup", "--split", "--hist", "--by", "cgroup,raddr"],
    "rtt": ["rtt"],
    "rtt-rows": ["rtt", "--rows", "-R", "10.0.0.0/8", "-r", "1-1000"],
    "summary": [],
    "command": ["connect", "--", "sleep", "60"],
    "serve": ["serve", "--listen", "127.0.0.1:0", "--split", "--by", "raddr/24,rport,comm,cgroup"],
}


def kernel():
    return re.match(r"\d+\.\d+", platform.release())[0]


def table():
    """{(kernel, view): {program: (loaded, verified)}}"""
    figures = {}
    for line in TABLE.read_text(encoding="ascii").splitlines():
        if line.strip() and not line.startswith("#"):
            release, view, program, loaded, verified = line.split()
            figures.setdefault((release, view), {})[program] = int(loaded), int(verified)
    return figures


def shown(number):
    """A program's name and its instructions as loaded, as bpftool has them."""
    done = subprocess.run(["bpftool", "-j", "prog", "show", "id", str(number)], check=True,
                          capture_output=True, text=True, timeout=10)
    entry = json.loads(done.stdout)
    return entry["name"], entry["bytes_xlated"] // 8


def verified(pid):
    """{id: instructions that the verifier went through} of the programs a process holds."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            text = pathlib.Path(f"/proc/{pid}/fdinfo/{fd}").read_text(encoding="ascii")
        except FileNotFoundError:  # a file that it has closed meanwhile; programs stay
            continue
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if "verified_insns" in fields and "link_id" not in fields:
            found[int(fields["prog_id"])] = int(fields["verified_insns"])
    return found


def measured(words):
    ready = "serving on" if words[:1] == ["serve"] else READY
    with Tracer(*words, ready=ready) as t:
        programs = verified(t.pid)
        assert {("prog", number) for number in programs} <= bpf_objects(t.pid)
        found = {}
        for number, count in programs.items():
            name, loaded = shown(number)
            found[name] = loaded, count
        t.stop()
    return found


def results():
    """Where a record of this run belongs; a guest hands it out."""
    place = pathlib.Path(os.environ.get("TCPLAT_RESULTS") or build_dir() / "results")
    place.mkdir(parents=True, exist_ok=True)
    return place / f"programs-{kernel()}.txt"


@pytest.fixture(scope="module")
def record():
    lines = []
    yield lines
    results().write_text("".join(sorted(lines)), encoding="ascii")


@pytest.mark.parametrize("view", VIEWS)
def test_no_program_grew(view, record):
    found = measured(VIEWS[view])
    record += [f"{kernel():6} {view:17} {name:16} {loaded:6} {count:7}\n"
               for name, (loaded, count) in found.items()]
    known = table()
    if kernel() not in {release for release, _ in known}:
        pytest.skip(f"programs.txt has no figures for Linux {kernel()}")
    wanted = known[kernel(), view]
    assert set(found) == set(wanted), "another set of programs"
    grown = {name: (f"loaded {loaded}, was {wanted[name][0]}",
                    f"verified {count}, was {wanted[name][1]}")
             for name, (loaded, count) in found.items()
             if loaded > wanted[name][0] * ALLOWED or count > wanted[name][1] * ALLOWED}
    assert not grown


def test_every_kernel_is_in_the_table():
    """One that is added to the guests without its figures would be skipped for ever."""
    listed = TABLE.parents[1] / "vm" / "kernels.txt"
    names = {line.split()[0] for line in listed.read_text(encoding="ascii").splitlines()
             if line.strip() and not line.startswith("#")}
    for name in names:
        assert {view for release, view in table() if release == name} == set(VIEWS), name
