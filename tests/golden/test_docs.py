# SPDX-License-Identifier: GPL-2.0-or-later
"""Manual pages and completions against what the program says of itself."""

import json
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TCPLAT = Path(os.environ.get("TCPLAT", ROOT / "build" / "tcplat")).resolve()
PAGES = sorted((ROOT / "man").glob("*.8"))
BASH = ROOT / "completions" / "bash" / "tcplat"
ZSH = ROOT / "completions" / "zsh" / "_tcplat"
FISH = ROOT / "completions" / "fish" / "tcplat.fish"

# What the tests below know; test_views_and_names compares it with the program.
VIEWS = ["connect"]
NAMES = ["tcpconnlat"]
PROGRAMS = [f"tcplat {view}" for view in VIEWS] + NAMES
OWN_PAGE = {"tcplat connect": "tcplat-connect.8", "tcpconnlat": "tcpconnlat.8"}

CONNECT = {
    "event": "connect", "time": "2026-01-02T03:04:05.678901Z", "pid": 4242, "tid": 4243,
    "comm": "curl", "ip": 4, "laddr": "127.0.0.1", "lport": 40000, "raddr": "127.0.0.1",
    "rport": 80, "latency_us": 1234.5, "outcome": "established", "error": None,
    "syn_retransmits": 0, "handshake_rtt_us": 1230, "netns": 4026531833, "cgroup": "/",
}
LOSSES = ["ring_full", "no_state", "reentered", "keys_full", "fifo_merged", "clock"]
SUMMARY = {"event": "summary", "events": 1, "unseen_start": 0, "still_open": 0,
           "lost": dict.fromkeys(LOSSES, 0)}


# --- What the program says ------------------------------------------------------------------------


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


def replay(run, *args, event=CONNECT, name="tcplat connect"):
    lines = json.dumps(event) + "\n" + json.dumps(SUMMARY) + "\n"
    return run(name, "--replay", "-", *args, stdin=lines)


def options_of(run, words):
    """{option: whether it takes a value} from --help."""
    found = {}
    for line in run(words, "--help").stdout.splitlines():
        match = re.match(r"  (?:(-\S), |    )?(--[a-z0-9-]+)?( [A-Z]\S*)?(?:  | [a-z]|$)", line)
        if match and (match[1] or match[2]):
            for name in filter(None, match.group(1, 2)):
                found[name] = bool(match[3])
    assert len(found) > 10, "the form of --help has changed"
    return found


def names_after(run, option, words):
    """The list at the end of the message about a wrong value."""
    message = run("tcplat connect", option, "nonsense").stderr
    assert words in message
    return re.findall(r"[a-z0-9_]+", message.split(words)[1])


@pytest.fixture(scope="module")
def columns(run):
    return names_after(run, "--columns", "columns are")


@pytest.fixture(scope="module")
def keys(run):
    return names_after(run, "--by", "keys are")


def outcomes_of_source():
    text = (ROOT / "include" / "tcplat" / "event.h").read_text(encoding="utf-8")
    body = re.search(r"enum tcplat_outcome \{(.*?)\n\};", text, re.S)[1]
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    return [name.lower() for name in re.findall(r"TCPLAT_(\w+)", body) if name != "NR_OUTCOMES"]


# --- What the documents say -----------------------------------------------------------------------


def page(name):
    return (ROOT / "man" / name).read_text(encoding="utf-8")


def section(text, title, macro="Sh"):
    """The lines below a heading, up to the next of its kind or above."""
    match = re.search(rf"^\.{macro} {re.escape(title)}\n(.*?)(?=^\.S[h{macro[1]}] |\Z)", text,
                      re.M | re.S)
    assert match, f"no section {title}"
    return match[1]


def items(text, macro="Cm"):
    """Names that lists explain: .It Cm one , two"""
    found = []
    for line in re.findall(rf"^\.It {macro} (.*)$", text, re.M):
        found += [word for word in line.split() if word != ","]
    return found


def man_options(text):
    found = {}
    for line in re.findall(r"^\.It (Fl .*)$", text, re.M):
        for name in re.findall(r"\bFl (\S+)", line):
            assert "-" + name not in found, f"-{name} is explained twice"
            found["-" + name] = " Ar " in line
    return found


def man_mentions(text):
    """Every option that is mentioned anywhere in the page."""
    found = set()
    for line in re.findall(r"^\.(.*)$", text, re.M):
        words, flag = line.split(), False
        for word in words:
            if re.fullmatch(r"[A-Z][a-z]", word):
                flag = word == "Fl"
            elif flag and word != "-" and re.search(r"\w", word):
                if word.startswith("-"):
                    found.add("-" + word)
                else:
                    found.update("-" + letter for letter in word)
    for command in re.findall(r"^(?!\.).*$|^\.Dl .*$", text, re.M):
        command = command.replace(r"\-", "-")
        found.update(re.findall(r"(?<!\S)--[a-z][a-z-]*", command))
        if re.search(r"[#$] tc", command):
            command = re.split(r" -- |\|", command)[0]
            found.update(re.findall(r"(?<!\S)-[a-zA-Z0-9]\b", command))
    return found


def bash_options(words):
    name = {"tcplat connect": "view", "tcpconnlat": "tcpconnlat"}[words]
    text = re.search(rf"^_tcplat_{name}_options='(.*?)'", BASH.read_text(encoding="utf-8"),
                     re.M | re.S)[1]
    found = {}
    for entry in text.split():
        names, _, kind = entry.partition(":")
        found.update(dict.fromkeys(names.split(","), bool(kind)))
    return found


def zsh_options(words):
    name = {"tcplat connect": "view", "tcpconnlat": "tcpconnlat"}[words]
    text = re.search(rf"^_tcplat_{name}\(\) \{{(.*?)^\}}", ZSH.read_text(encoding="utf-8"),
                     re.M | re.S)[1]
    found = {}
    for spec in re.findall(r"^ +'(?:\([^)]*\))?(.*?)\[", text, re.M):
        value = "=" in spec or "+" in spec
        found.update(dict.fromkeys(re.findall(r"-{1,2}[A-Za-z0-9][a-z0-9-]*", spec), value))
    return found


def fish_options(words):
    start = {"tcplat connect": "complete -c tcplat -n $view ",
             "tcpconnlat": "complete -c tcpconnlat -n $options "}[words]
    found = {}
    for line in FISH.read_text(encoding="utf-8").splitlines():
        if not line.startswith(start):
            continue
        line = line[len(start):].split(" -d ")[0]
        value = bool(re.search(r" -(x|r)", line))
        for short, long in re.findall(r"(?:^|\s)-(?:s (\S)|l (\S+))", line):
            found["-" + short if short else "--" + long] = value
    return found


# --- Options, columns and other names -------------------------------------------------------------


def test_views_and_names(run):
    text = run("tcplat", "--help").stdout
    views = re.findall(r"^  (\w+) ", text.split("Views:\n")[1].split("\n\n")[0], re.M)
    names = re.search(r"name of the original\s+tool \((.*?)\)", text)[1].split(", ")
    assert (views, names) == (VIEWS, NAMES), "this test and the documents must learn of them"
    assert items(section(page("tcplat.8"), "Views", "Ss")) == views
    assert items(section(page("tcplat.8"), "Personalities", "Ss")) == names
    assert [p.name for p in PAGES] == sorted(["tcplat.8", *OWN_PAGE.values()])
    general = dict.fromkeys(re.findall(r"--[a-z]+", text.split("lists its options.")[1]), False)
    assert {"--features", "--version"} == set(general)
    mentioned = man_options(section(page("tcplat.8"), "General options", "Ss"))
    assert set(mentioned) == {*general, "--help", "-h", "-V"}
    for option in mentioned:
        assert run("tcplat", option).returncode in (0, 1), option


@pytest.mark.parametrize("words", PROGRAMS)
def test_options_in_man_page(run, words):
    assert man_options(page(OWN_PAGE[words])) == options_of(run, words)


@pytest.mark.parametrize("words", PROGRAMS)
@pytest.mark.parametrize("shell", [bash_options, zsh_options, fish_options])
def test_options_in_completion(run, words, shell):
    assert shell(words) == options_of(run, words)


def test_no_page_mentions_an_unknown_option(run):
    known = {words: set(options_of(run, words)) for words in PROGRAMS}
    assert man_mentions(page("tcplat.8")) <= set().union(*known.values())
    for words in PROGRAMS:
        assert man_mentions(page(OWN_PAGE[words])) <= known[words]


def test_columns(run, columns):
    text = section(page("tcplat-connect.8"), "COLUMNS")
    assert items(text) == columns
    # The headings that the page gives are those that are printed.
    header = replay(run, "--columns", ",".join(columns)).stdout.split("\n", 1)[0].split()
    assert re.findall(r"^\.Pq (\S+)$", text, re.M) == header
    # So are the columns that it calls the default.
    text = text.split(".Bl")[0]
    default = re.findall(r"[a-z]+", " ".join(re.findall(r"^\.Cm (.*)$", text, re.M)))
    assert replay(run).stdout == replay(run, "--columns", ",".join(default)).stdout
    zsh = re.search(r"^_tcplat_columns\(\) \{(.*?)^\}", ZSH.read_text(encoding="utf-8"),
                    re.M | re.S)[1]
    assert re.findall(r"^ +'(\w+)\[", zsh, re.M) == columns
    fish = FISH.read_text(encoding="utf-8")
    assert f"-l columns -xa '(__tcplat_list {' '.join(columns)})'" in fish
    assert complete("tcplat connect --columns ") == columns


def test_columns_of_tcpconnlat(run):
    header = replay(run, "-t", "-L", name="tcpconnlat").stdout.split("\n", 1)[0].split()
    assert items(section(page("tcpconnlat.8"), "COLUMNS"), "Li") == header


def test_keys(keys):
    assert items(section(page("tcplat-connect.8"), "HISTOGRAM KEYS")) == keys
    zsh = re.search(r"^_tcplat_keys\(\) \{(.*?)^\}", ZSH.read_text(encoding="utf-8"),
                    re.M | re.S)[1]
    assert re.findall(r"^ +'(\w+)\[", zsh, re.M) == keys
    fish = FISH.read_text(encoding="utf-8")
    assert f"-l by -xa '(__tcplat_list {' '.join(keys)})'" in fish
    assert complete("tcplat connect --by ") == keys


def test_outcomes(run):
    documented = items(section(page("tcplat-connect.8"), "OUTCOMES"))
    assert documented == outcomes_of_source()
    for outcome in documented:
        shown = replay(run, "--columns", "outcome", event={**CONNECT, "outcome": outcome})
        assert shown.stdout.split() == ["OUTCOME", outcome]
    assert replay(run, event={**CONNECT, "outcome": "nonsense"}).returncode == 1


def test_json_members(run):
    pages = section(page("tcplat.8"), "JSON LINES")
    event, summary = map(json.loads, replay(run, "--json").stdout.splitlines())
    assert items(section(pages, "Event connect", "Ss")) == list(event)
    assert items(section(pages, "Event summary", "Ss")) == list(summary)
    histogram = json.loads(replay(run, "--json", "--hist").stdout.splitlines()[0])
    assert items(section(pages, "Event histogram", "Ss")) == list(histogram)
    for member in histogram["buckets"][0]:
        assert f".Cm {member}\n" in section(pages, "Event histogram", "Ss")


def test_losses(run):
    summary = json.loads(replay(run, "--json").stdout.splitlines()[-1])
    assert items(section(page("tcplat.8"), "LOSSES")) == list(summary["lost"])


# --- Manual pages as such -------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_page_formats_without_warnings(path):
    if not shutil.which("man"):
        pytest.skip("man is not installed")
    env = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path],
                          env=env, capture_output=True, text=True, timeout=30, check=False)
    if not done.stdout.startswith("x T utf8") and "groff" not in done.stderr:
        pytest.skip("man is only a stand-in here")
    assert (done.returncode, done.stderr) == (0, "")
    if shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True,
                              text=True, timeout=30, check=False)
        assert done.stdout == ""


# --- Completion in action -------------------------------------------------------------------------

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


@pytest.mark.parametrize("line, candidates", [
    ("tcplat ", ["connect"]),
    ("tcplat con", ["connect"]),
    ("tcplat nonsense --", []),
    ("tcplat -", ["--features", "-h", "--help", "-V", "--version"]),
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
    ("tcplat --", ["--features", "--help", "--version"]),
    ("tcplat connect --by laddr,c", ["laddr,cgroup", "laddr,comm"]),
    ("tcplat connect --columns=pid,r", ["--columns=pid,raddr", "--columns=pid,rport",
                                        "--columns=pid,rtt"]),
    ("tcplat connect -o man/tcpc", ["man/tcpconnlat.8"]),
    ("tcplat connect -- cat man/tcpc", ["man/tcpconnlat.8"]),
    ("tcpconnlat --us", ["--usage"]),
])
def test_fish_candidates(fish, line, candidates):
    assert sorted(fish(line)) == candidates


# --- Installation ---------------------------------------------------------------------------------


def test_install(tmp_path):
    build = Path(os.environ.get("TCPLAT_BUILD", TCPLAT.parent))
    if not shutil.which("meson"):
        pytest.skip("meson is not installed")
    if not (build / "build.ninja").is_file():
        pytest.skip(f"{build} is not a build directory")
    told = subprocess.run(["meson", "introspect", "--buildoptions", build], capture_output=True,
                          text=True, timeout=60, check=True)
    option = {entry["name"]: entry["value"] for entry in json.loads(told.stdout)}
    done = subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", tmp_path],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    prefix = tmp_path / option["prefix"].lstrip("/")
    sbin = prefix / option["sbindir"]
    man = prefix / option["mandir"] / "man8"
    share = prefix / option["datadir"]
    bash = share / "bash-completion" / "completions"
    fish_dir = share / "fish" / "vendor_completions.d"
    same = {man / p.name: p for p in PAGES}
    same.update({bash / "tcplat": BASH, share / "zsh" / "site-functions" / "_tcplat": ZSH,
                 fish_dir / "tcplat.fish": FISH})
    for place, source in same.items():
        assert place.read_bytes() == source.read_bytes(), place
        assert place.stat().st_mode & 0o777 == 0o644, place
    assert os.access(sbin / "tcplat", os.X_OK)
    for name in NAMES:
        assert os.readlink(sbin / name) == "tcplat"
        assert os.readlink(bash / name) == "tcplat"
        assert os.readlink(fish_dir / f"{name}.fish") == "tcplat.fish"
    version = subprocess.run([sbin / NAMES[0], "--version"], capture_output=True, text=True,
                             timeout=20, check=True).stdout
    assert version.startswith(NAMES[0] + " ")
