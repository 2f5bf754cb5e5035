# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of manual pages and of completions share."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TCPLAT = Path(os.environ.get("TCPLAT", ROOT / "build" / "tcplat")).resolve()
PAGES = sorted((ROOT / "man").glob("*.8"))
BASH = ROOT / "completions" / "bash" / "tcplat"
ZSH = ROOT / "completions" / "zsh" / "_tcplat"
FISH = ROOT / "completions" / "fish" / "tcplat.fish"

# What these tests know; test_views_and_names compares it with the program.
VIEWS = ["connect", "pickup", "rtt", "serve"]
# Those that show one measurement, as rows, histograms or JSON.
SHOWING = VIEWS[:3]
NAMES = ["tcpconnlat", "tcppktlat", "tcprtt"]
# "tcplat" alone is the summary.
PROGRAMS = ["tcplat"] + [f"tcplat {view}" for view in VIEWS] + NAMES
OWN_PAGE = {program: f"{program.replace(' ', '-')}.8" for program in PROGRAMS}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs "tcplat …" or the program under one of its other names."""
    links = tmp_path_factory.mktemp("names")
    for name in NAMES:
        (links / name).symlink_to(TCPLAT)

    def run_it(words, *args, stdin=""):
        name, *view = words.split()
        path = links / name if name in NAMES else TCPLAT
        return subprocess.run([path, *view, *args], input=stdin, capture_output=True, text=True,
                              timeout=20, check=False)

    return run_it


def options_of(run, words):
    """{option: whether it takes a value} from --help."""
    found = {}
    # Alone, --help lists the views.
    question = ["-v", "--help"] if words == "tcplat" else ["--help"]
    for line in run(words, *question).stdout.splitlines():
        match = re.match(r"  (?:(-\S), |    )?(--[a-z0-9-]+)?( [A-Z]\S*)?(?:  | [a-z]|$)", line)
        if match and (match[1] or match[2]):
            for name in filter(None, match.group(1, 2)):
                found[name] = bool(match[3])
    assert len(found) > 10, "the form of --help has changed"
    return found


BASH_DRIVER = r"""
. "$1" || exit
COMP_LINE=$2 COMP_POINT=${#2}
ip() { printf 'blue (id: 0)\nred\n'; }
_tcplat_cgroup_root() { printf %s "$GROUPS_ROOT"; }
compopt() { :; }
shift 2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
[[ $(complete -p "$1") == *" -F _tcplat "* ]] || exit
_tcplat "$1"
((${#COMPREPLY[@]} == 0)) || printf '%s\0' "${COMPREPLY[@]}"
"""


def complete(line, cwd=ROOT, **env):
    """The candidates for the end of the line, with the words as readline cuts them."""
    words = re.findall(r"[=:]+|[^\s=:]+", line)
    if line[-1].isspace():
        words.append("")
    done = subprocess.run(["bash", "--norc", "--noprofile", "-c", BASH_DRIVER, "driver", BASH, line,
                           *words], cwd=cwd, env={**os.environ, "LC_ALL": "C.UTF-8", **env},
                          capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\0")[:-1]
