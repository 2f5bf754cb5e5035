#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the live tests in guests, each with another kernel: ./dev test vm [--all] [PYTEST...]

Without arguments: those of selected.txt, which is what CI has time for. For each kernel
RESULTS/vm-NAME.xml is what pytest reports, vm-NAME/ what else the guest left; where a guest did
not end by itself, vm-NAME.why says what was seen. Says on standard output how far they are.
"""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import signal
import sys
import threading

import guest
import image
import kernel

_lock = threading.Lock()


def say(name, text):
    with _lock:
        print(f"vm {name}: {text}", flush=True)


def pytest_command(words):
    return ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-v", "--no-header",
            "--tb=short", "--color=no", "-rfE", "--junitxml=/results/live.xml",
            *(words or ["-p", "selection", "tests/live"])]


def run_one(name, args):
    out = args.results / f"vm-{name}"
    shutil.rmtree(out, ignore_errors=True)
    show = (lambda line: say(name, line)) if args.verbose else None
    try:
        one = kernel.get(name, args.cache)
        say(name, f"{one.package}")
        ended = guest.run(one, pytest_command(args.pytest), args.cache, args.build, out,
                          env={"TCPLAT": "build/tcplat", "TCPLAT_BUILD": "build",
                               "TCPLAT_GUEST": name, "TCPLAT_RESULTS": "/results",
                               "PYTHONPATH": "tests/vm",
                               "PYTHONDONTWRITEBYTECODE": "1"},
                          seconds=args.seconds, silence=args.silence, show=show)
    except Exception as problem:  # pylint: disable=broad-except # the other kernel goes on
        (args.results / f"vm-{name}.why").write_text(f"{problem}\n")
        say(name, str(problem))
        return 1
    if (out / "live.xml").exists():
        shutil.copy(out / "live.xml", args.results / f"vm-{name}.xml")
    if ended.why or ended.status not in (0, 1):
        why = ended.why or f"pytest ended with status {ended.status}"
        (args.results / f"vm-{name}.why").write_text(f"{why}\n")
        say(name, f"{why}; the end of its console:")
    if ended.why or ended.status:
        with _lock:
            print("\n".join(ended.console.splitlines()[-args.tail:]), flush=True)
    say(name, f"status {ended.status} after {ended.seconds:.0f} s; all it said: {out}/console.txt")
    return 0 if ended.status == 0 and not ended.why else 1


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kernel", action="append", choices=list(kernel.listed()), default=[])
    p.add_argument("--all", action="store_true", help="every live test; takes most of an hour")
    p.add_argument("--build", type=pathlib.Path, default=image.ROOT / "build")
    p.add_argument("--results", type=pathlib.Path)
    p.add_argument("--seconds", type=int, default=600, help="limit of each guest")
    p.add_argument("--silence", type=int, default=120, help="how long one may say nothing")
    p.add_argument("--tail", type=int, default=120, help="lines of a console that are shown")
    p.add_argument("--verbose", action="store_true", help="all consoles, as they come")
    args, args.pytest = p.parse_known_args()
    if args.all:
        args.pytest.append("tests/live")
    args.results = args.results or args.build / "results"
    args.results.mkdir(parents=True, exist_ok=True)
    args.cache = args.build / "vm"
    args.cache.mkdir(exist_ok=True)
    names = args.kernel or list(kernel.listed())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os._exit(128 + number))  # the guests end with us
    for name in kernel.listed():  # also of those that are not asked for this time
        for suffix in ("xml", "why"):
            (args.results / f"vm-{name}.{suffix}").unlink(missing_ok=True)
    guest.sweep(args.cache)
    image.base(args.cache)  # before they run side by side
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return max(pool.map(lambda name: run_one(name, args), names))


if __name__ == "__main__":
    sys.exit(main())
