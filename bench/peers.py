# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's tcpconnlat and tcprtt (libbpf-tools) beside ours: boots a guest, makes tables of what
peers_guest.py measured there."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import lib
import peers_pages

KERNEL = "6.1"  # has kprobes and trampolines, which the originals need
ROUNDS = 3
COSTS = ["connect", "pings", "one way"]
VM = pathlib.Path(__file__).resolve().parents[1] / "tests" / "vm"


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def boot(kernel, guest, cache, out, *words):
    """What the guest has measured."""
    ended = guest.run(
        kernel, ["/usr/bin/python3", "bench/peers_guest.py", *map(str, words)], cache,
        pathlib.Path(lib.BUILD).absolute(), out, packages=("libbpf-tools",), seconds=1500,
        silence=400, show=lambda line: None if line.startswith("[") else say(line),
        env={"TCPLAT": "build/tcplat", "TCPLAT_BUILD": "build", "PYTHONDONTWRITEBYTECODE": "1"})
    if ended.why or ended.status:
        raise RuntimeError(f"the guest: {ended.why or f'status {ended.status}'}; {out}/console.txt")
    return json.loads((out / "peers.json").read_text())


def said_by(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def versions(kernel):
    package = "libbpf-tools"
    files = said_by("dpkg-query", "-L", package).split()
    return {
        "package": said_by("dpkg-query", "-W", "-f", "${Package} ${Version}", package),
        "pktlat": any(path.endswith("/tcppktlat") for path in files),
        "kernel_package": kernel.package,
        "qemu": said_by("qemu-system-x86_64", "--version").splitlines()[0],
        "host": lib.machine().strip().removeprefix("Machine: "),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def page():
    """docs/COMPARISON.md"""
    sys.path.insert(0, str(VM))
    import guest  # pylint: disable=import-outside-toplevel # only found now
    import kernel as kernels  # pylint: disable=import-outside-toplevel
    if shutil.which("qemu-system-x86_64") is None:
        raise RuntimeError("needs qemu-system-x86_64")
    cache = pathlib.Path(lib.BUILD).absolute() / "vm"
    cache.mkdir(exist_ok=True)
    began = time.monotonic()
    one = kernels.get(KERNEL, cache)
    with tempfile.TemporaryDirectory(prefix="tcplat-peers-") as scratch:
        say(f"a guest with {one.package}")
        first = boot(one, guest, cache, pathlib.Path(scratch) / "1", ROUNDS)
        say("a second one, to see whether it measures the same")
        second = boot(one, guest, cache, pathlib.Path(scratch) / "2", 1, *COSTS)
    say(f"done after {time.monotonic() - began:.0f} s")
    if keep := os.environ.get("TCPLAT_RESULTS"):
        for name, results in (("first", first), ("second", second)):
            (pathlib.Path(keep) / f"peers-{name}.json").write_text(json.dumps(results))
    return peers_pages.page(versions(one), first, second)
