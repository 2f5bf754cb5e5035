# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what meson and pytest left behind, for scripts/test.sh.

  testlog.py meson DIR    cases of the last `meson test` in the build directory DIR
  testlog.py junit FILE   cases of a pytest run
  testlog.py fuzzers DIR  the fuzz_* programs of DIR as ninja targets, one a line

The first two print "PASSED FAILED SKIPPED" and then one line for each case that did not pass.
"""

import json
import os
import re
import sys
import xml.etree.ElementTree as ET

TAP = re.compile(r"(not )?ok\b\s*(\d*)\s*(?:- )?([^#]*)(?:#\s*(\w+)\s*(.*))?")


def tap_cases(run):
    """(name, outcome, detail) of each case of one test program."""
    for line in run.get("stdout", "").splitlines():
        match = TAP.match(line)
        if not match:
            continue
        bad, number, name, directive, detail = match.groups()
        name = name.strip() or (detail or "").strip() or number
        directive = (directive or "").lower()
        if directive.startswith("skip"):  # cmocka writes "not ok 3 # SKIP name"
            yield name, "skipped", ""
        elif directive == "todo":
            yield name, "skipped", "to do"
        else:
            yield name, "failed" if bad else "passed", ""


def meson_cases(build):
    with open(os.path.join(build, "meson-logs", "testlog.json"), encoding="utf-8") as log:
        runs = [json.loads(line) for line in log if line.strip()]
    for run in runs:
        cases = list(tap_cases(run))
        result = run["result"]
        if not cases:
            outcome = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}
            yield run["name"], outcome.get(result, "failed"), result.lower()
            continue
        for name, outcome, detail in cases:
            yield f"{run['name']}: {name}", outcome, detail
        # A leak, a crash or an early exit fails the program although each case passed. Meson's
        # own FAIL with status 0 is cmocka's spelling of a skip.
        clean = run["returncode"] == 0 and result in ("OK", "SKIP", "FAIL")
        if not clean and not any(outcome == "failed" for _, outcome, _ in cases):
            yield run["name"], "failed", f"{result.lower()}, exit status {run['returncode']}"


def junit_cases(path):
    for case in ET.parse(path).iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}".strip(":")
        for tag, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
            element = case.find(tag)
            if element is not None:
                yield name, outcome, (element.get("message") or "").partition("\n")[0]
                break
        else:
            yield name, "passed", ""


def show(cases):
    cases = list(cases)
    counts = [sum(c[1] == outcome for c in cases) for outcome in ("passed", "failed", "skipped")]
    print(*counts)
    for name, outcome, detail in cases:
        if outcome != "passed":
            print(f"{outcome} {name}" + (f": {detail}" if detail else ""))


def fuzzers(build):
    with open(os.path.join(build, "meson-info", "intro-targets.json"), encoding="utf-8") as info:
        for target in json.load(info):
            if target["type"] == "executable" and target["name"].startswith("fuzz_"):
                print(os.path.relpath(target["filename"][0], build))


def main():
    action, path = sys.argv[1:]
    if action == "meson":
        show(meson_cases(path))
    elif action == "junit":
        show(junit_cases(path))
    elif action == "fuzzers":
        fuzzers(path)
    else:
        sys.exit(f"unknown action {action}")


main()
