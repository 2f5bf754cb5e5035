# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion in action; test_docs.py has whether it knows all options."""

import os
import pwd
import shutil
import subprocess

import pytest

from docs import FISH, NAMES, PROGRAMS, ROOT, VIEWS, ZSH, complete, options_of, run as run

KEYS = ["laddr", "raddr", "lport", "rport", "pid", "comm", "cgroup", "netns"]


@pytest.mark.parametrize("line, candidates", [
    ("tcplat ", VIEWS),
    ("tcplat con", ["connect"]),
    ("tcplat p", ["pickup"]),
    ("tcplat nonsense --", []),
    ("tcplat r", ["rtt"]),
    ("tcplat s", ["serve"]),
    ("tcplat --f", ["--features"]),
    ("tcplat -d 1 --v", ["--verbose", "--version"]),
    ("tcplat --top 3 --hi", []),
    ("tcplat -- mkfif", ["mkfifo"]),
    ("tcplat -v -- mkfif", ["mkfifo"]),
    ("tcplat connect ", []),
    ("tcplat connect --m", ["--min", "--max-events", "--max-keys"]),
    ("tcplat connect --u", ["--uid", "--user"]),
    ("tcplat connect -p 1 --fa", ["--failed"]),
    ("tcplat connect --by la", ["laddr"]),
    ("tcplat connect --by laddr,c", ["laddr,comm", "laddr,cgroup"]),
    ("tcplat connect --by laddr,comm,c", ["laddr,comm,cgroup"]),
    ("tcplat connect --by=raddr,ne", ["raddr,netns"]),
    ("tcplat connect --columns pid,r", ["pid,raddr", "pid,rport", "pid,rtt"]),
    ("tcplat connect --netns ", ["blue", "red"]),
    ("tcplat connect --netns=r", ["red"]),
    ("tcplat connect --netns ./mes", ["./meson.build", "./meson_options.txt"]),
    ("tcplat connect -o man/tcpc", ["man/tcpconnlat.8"]),
    ("tcplat connect --output=man/tcpc", ["man/tcpconnlat.8"]),
    ("tcplat connect --replay man/tcpc", ["man/tcpconnlat.8"]),
    ("tcplat connect --buffer 6", ["64k", "64m"]),
    ("tcplat connect -R fd00::", []),
    ("tcplat connect -R fd00::1 --fa", ["--failed"]),
    ("tcplat connect --json=", []),
    ("tcplat connect -- mkfif", ["mkfifo"]),
    ("tcplat connect -t -- cat man/tcpc", ["man/tcpconnlat.8"]),
    ("tcplat connect -- cat --fa", []),
    ("tcplat pickup --sp", ["--split"]),
    ("tcplat pickup --s", ["--stats", "--sort", "--split"]),
    ("tcplat rtt --s", ["--stats", "--sort", "--srtt"]),
    ("tcplat rtt --min", ["--min", "--min-rtt"]),
    ("tcplat rtt --sort ", ["count", "p99", "max"]),
    ("tcplat connect --sort=m", ["max"]),
    ("tcplat rtt --by n", ["netns", "none"]),
    ("tcplat rtt --by=raddr,o", []),
    ("tcplat rtt --columns pid,r", ["pid,raddr", "pid,rport", "pid,rtt"]),
    ("tcplat rtt --columns=l", ["laddr", "lport"]),
    ("tcplat serve --by raddr,c", ["raddr,comm", "raddr,cgroup", "raddr,container"]),
    ("tcplat serve --by=unit,", [f"unit,{key}" for key in KEYS + ["container", "pod"]]),
    ("tcplat serve --by o", []),
    ("tcplat serve --edges ", ["octave", "fine"]),
    ("tcplat serve --edges=f", ["fine"]),
    ("tcplat serve --user=roo", ["root"]),
    ("tcplat serve --listen [::1]:9762 --all", ["--all-ports"]),
    ("tcplat serve --j", []),
    ("tcplat connect --bp", []),
    ("tcplat connect --row", []),
    ("tcplat pickup --fa", []),
    ("tcplat connect --sp", []),
    ("tcplat pickup --by c", ["comm", "cgroup"]),
    ("tcplat pickup --by=netns,o", []),
    ("tcplat connect --by=netns,o", ["netns,outcome"]),
    ("tcplat pickup --columns pid,r", ["pid,raddr", "pid,rport", "pid,runq"]),
    ("tcppktlat --r", ["--rport", "--replay"]),
    ("tcppktlat -?", ["-?"]),
    ("tcppktlat --replay man/tcpp", ["man/tcppktlat.8"]),
    ("tcppktlat 1000 -- mkfif", ["mkfifo"]),
    ("tcprtt --by", ["--byladdr", "--byraddr"]),
    ("tcprtt -A fd00::1 --e", ["--extension"]),
    ("tcprtt --replay man/tcpr", ["man/tcprtt.8"]),
    ("tcprtt -m -- mkfif", ["mkfifo"]),
    ("tcpconnlat --a", ["--all-outcomes", "--all"]),
    ("tcpconnlat --replay man/tcpc", ["man/tcpconnlat.8"]),
    ("tcpconnlat 1 -- mkfif", ["mkfifo"]),
])
def test_bash_candidates(line, candidates):
    assert sorted(complete(line)) == sorted(candidates)


@pytest.mark.parametrize("words", PROGRAMS)
def test_bash_offers_every_option(run, words):
    assert sorted(complete(f"{words} -")) == sorted([*options_of(run, words), "--"])


@pytest.mark.parametrize("option", ["-u", "--user", "--uid"])
def test_bash_offers_users(option):
    users = {user.pw_name for user in pwd.getpwall() if user.pw_name.startswith("root")}
    assert set(complete(f"tcplat connect {option} root")) == users


def test_bash_offers_cgroups(tmp_path):
    root = tmp_path / "unified"
    for group in ("system.slice/ssh.service", "system.slice/web.service", "user.slice"):
        (root / group).mkdir(parents=True)
    (root / "cgroup.procs").touch()

    def groups(word):
        return sorted(complete(f"tcplat connect --cgroup {word}", GROUPS_ROOT=str(root)))

    assert groups("") == ["system.slice", "user.slice"]
    assert groups("sys") == ["system.slice/"]
    assert groups("system.slice/") == ["system.slice/ssh.service", "system.slice/web.service"]
    assert groups("system.slice/w") == ["system.slice/web.service"]
    assert groups(f"{root}/u") == [f"{root}/user.slice"]
    assert groups(f"{tmp_path}/uni") == [f"{root}/"]


def test_bash_offers_files_with_blanks(tmp_path):
    (tmp_path / "my connects.jsonl").touch()
    assert complete("tcplat connect --replay my", tmp_path) == ["my connects.jsonl"]


def test_zsh_syntax():
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    done = subprocess.run(["zsh", "-f", "-n", ZSH], capture_output=True, text=True, timeout=20,
                          check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ZSH.read_text(encoding="utf-8").split("\n")[0] == " ".join(["#compdef tcplat", *NAMES])


@pytest.fixture(scope="module")
def fish(tmp_path_factory):
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    home = tmp_path_factory.mktemp("home")

    def complete_it(line):
        done = subprocess.run(["fish", "--no-config", "-c",
                               f"source {FISH}; complete -C '{line}'"], cwd=ROOT,
                              env={**os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8"},
                              capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return [row.split("\t")[0] for row in done.stdout.splitlines()]

    return complete_it


@pytest.mark.parametrize("words", PROGRAMS)
def test_fish_offers_every_option(run, fish, words):
    assert sorted(fish(f"{words} -")) == sorted(options_of(run, words))


@pytest.mark.parametrize("line, candidates", [
    ("tcplat con", ["connect"]),
    ("tcplat ", VIEWS),
    ("tcplat pickup --sp", ["--split"]),
    ("tcplat pickup --fa", []),
    ("tcplat pickup --by laddr,outc", []),
    ("tcplat pickup --columns pid,r", ["pid,raddr", "pid,rport", "pid,runq"]),
    ("tcppktlat --t", ["--tid", "--timestamp"]),
    ("tcplat --f", ["--features"]),
    ("tcplat -d 1 --v", ["--verbose", "--version"]),
    ("tcplat rtt --sort ", ["count", "max", "p99"]),
    ("tcplat rtt --by laddr,n", ["laddr,netns", "laddr,none"]),
    ("tcprtt --by", ["--byladdr", "--byraddr"]),
    ("tcplat serve --s", ["--split"]),
    ("tcplat serve --edges ", ["fine", "octave"]),
    ("tcplat serve --by unit,p", ["unit,pid", "unit,pod"]),
    ("tcplat serve --j", []),
    ("tcplat connect --by laddr,c", ["laddr,cgroup", "laddr,comm"]),
    ("tcplat connect --columns=pid,r", ["--columns=pid,raddr", "--columns=pid,rport",
                                        "--columns=pid,rtt"]),
    ("tcplat connect -o man/tcpc", ["man/tcpconnlat.8"]),
    ("tcplat connect -- cat man/tcpc", ["man/tcpconnlat.8"]),
    ("tcpconnlat --us", ["--usage"]),
])
def test_fish_candidates(fish, line, candidates):
    assert sorted(fish(line)) == candidates
