# SPDX-License-Identifier: GPL-2.0-or-later
"""Manual pages and completions against what the program says of itself."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from docs import (BASH, FISH, NAMES, OWN_PAGE, PAGES, PROGRAMS, ROOT, SHOWING, TCPLAT, VIEWS, ZSH,
                  complete, options_of, run as run)

VIEW = pytest.mark.parametrize("view", SHOWING)
CONNECT = {
    "event": "connect", "time": "2026-01-02T03:04:05.678901Z", "pid": 4242, "tid": 4243,
    "comm": "curl", "ip": 4, "laddr": "127.0.0.1", "lport": 40000, "raddr": "127.0.0.1",
    "rport": 80, "latency_us": 1234.5, "outcome": "established", "error": None,
    "syn_retransmits": 0, "handshake_rtt_us": 1230, "netns": 4026531833, "cgroup": "/",
}
PICKUP = {**{name: CONNECT[name] for name in list(CONNECT)[:11]}, "event": "pickup",
          "bytes": 1448, "segments": 1, "netns": 4026531833, "cgroup": "/"}
SPLIT = {**PICKUP, "wake_us": 1000.5, "runq_us": 200.0, "app_us": 34.0}
RTT = {**{name: CONNECT[name] for name in list(CONNECT)[:11]}, "event": "rtt", "srtt_us": 1200,
       "min_rtt_us": 1000, "netns": 4026531833, "cgroup": "/"}
EVENTS = {"connect": CONNECT, "pickup": PICKUP, "rtt": RTT, "tcpconnlat": CONNECT,
          "tcppktlat": PICKUP}
# What it takes to have rows, and what to have every member of one.
ROWS = {"tcplat rtt": ["--rows"]}
WHOLE = {"connect": CONNECT, "pickup": SPLIT, "rtt": RTT}
LOSSES = ["ring_full", "no_state", "reentered", "keys_full", "fifo_merged", "clock"]
SUMMARY = {"event": "summary", "events": 1, "unseen_start": 0, "still_open": 0,
           "lost": dict.fromkeys(LOSSES, 0)}


# --- What the program says ------------------------------------------------------------------------


def replay(run, *args, event=None, name="tcplat connect"):
    event = event or EVENTS[name.split()[-1]]
    lines = json.dumps(event) + "\n" + json.dumps(SUMMARY) + "\n"
    rows = [] if "--hist" in args else ROWS.get(name, [])
    return run(name, "--replay", "-", *rows, *args, stdin=lines)


def names_after(run, view, option, words):
    """The list at the end of the message about a wrong value."""
    message = run(f"tcplat {view}", option, "nonsense").stderr
    assert words in message
    return re.findall(r"[a-z0-9_]+", message.split(words)[1])


@pytest.fixture(scope="module")
def columns(run):
    return {view: names_after(run, view, "--columns", "columns are") for view in SHOWING}


@pytest.fixture(scope="module")
def keys(run):
    return {view: names_after(run, view, "--by", "keys are") for view in VIEWS}


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
            name = name.replace("\\&", "")
            assert "-" + name not in found, f"-{name} is explained twice"
            found["-" + name] = " Ar " in line
    return found


def man_mentions(text):
    """Every option that is mentioned anywhere in the page."""
    found = set()
    for line in re.findall(r"^\.(.*)$", text.replace("\\&", ""), re.M):
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


def shared_and_own(words):
    """Where completions have a program's options: a view's are in several places."""
    if words in NAMES:
        return [words]
    view = words.split()[1:]
    return ["common", *(["shared"] if view != ["serve"] else []),
            *(["view"] if view and view[0] in SHOWING else []), *view]


def bash_options(words):
    found = {}
    for name in shared_and_own(words):
        text = re.search(rf"^_tcplat_{name}_options='(.*?)'", BASH.read_text(encoding="utf-8"),
                         re.M | re.S)[1]
        for entry in text.split():
            names, _, kind = entry.partition(":")
            found.update(dict.fromkeys(names.split(","), bool(kind)))
    return found


def zsh_function(name):
    return re.search(rf"^_tcplat_{name}\(\) \{{(.*?)^\}}", ZSH.read_text(encoding="utf-8"),
                     re.M | re.S)[1]


def zsh_options(words):
    found = {}
    for name in shared_and_own(words):
        for spec in re.findall(r"^ +'(?:\([^)]*\))?(.*?)\[", zsh_function(name), re.M):
            value = "=" in spec or "+" in spec
            names = re.findall(r"-{1,2}(?:\\\?|[A-Za-z0-9][a-z0-9-]*)", spec)
            found.update((name.replace("\\", ""), value) for name in names)
    return found


def zsh_names(view, what):
    """A view's keys or columns: in the list of all views, its own are where "$@" stands.

    Where that has a "$last", it is the first of them.
    """
    def names(function):
        return re.findall(r"^ +(?:'(\w+)\[|\"\$(@|last)\")", zsh_function(function), re.M)

    own = [name for name, _ in names(f"{view}_{what}")]
    last = [own.pop(0)] if any(place == "last" for _, place in names(what)) else []
    found = []
    for name, place in names(what):
        found += {"@": own, "last": last}.get(place, [name])
    return found


def fish_options(words):
    found = {}
    for name in shared_and_own(words):
        start = f"complete -c tcplat -n ${name} " if words.startswith("tcplat") else \
                f"complete -c {name} -n $options "
        for line in FISH.read_text(encoding="utf-8").splitlines():
            if not line.startswith(start):
                continue
            line = line[len(start):].split(" -d ")[0]
            value = bool(re.search(r" -(x|r)", line))
            for short, long in re.findall(r"(?:^|\s)-(?:s (\S+)|l (\S+))", line):
                found["-" + short.strip("'") if short else "--" + long] = value
    return found


# --- Options, columns and other names -------------------------------------------------------------


def test_views_and_names(run):
    text = run("tcplat", "--help").stdout
    views = re.findall(r"^  (\w+) ", text.split("Views:\n")[1].split("\n\n")[0], re.M)
    names = re.search(r"name\s+of\s+an\s+original\s+tool\s+\((.*?)\)", text)[1].split(", ")
    assert (views, names) == (VIEWS, NAMES), "this test and the documents must learn of them"
    assert items(section(page("tcplat.8"), "Views", "Ss")) == views
    assert items(section(page("tcplat.8"), "Personalities", "Ss")) == names
    assert [p.name for p in PAGES] == sorted(OWN_PAGE.values())
    general = dict.fromkeys(re.findall(r"--[a-z]+", text.split("of the summary.")[1]), False)
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
    for words in known.keys() - {"tcplat"}:
        text = page(OWN_PAGE[words])
        for view in VIEWS:
            # A page may point to what another program has to offer.
            examples = rf"^(\.Dl )?[#$] tcplat {view} .*$"
            if words != f"tcplat {view}":
                lines = [match[0] for match in re.finditer(examples, text, re.M)]
                assert man_mentions("\n".join(lines)) <= known[f"tcplat {view}"]
                text = re.sub(examples, "", text, flags=re.M)
        assert man_mentions(text) <= known[words]


@VIEW
def test_columns(run, columns, view):
    name, columns = f"tcplat {view}", columns[view]
    text = section(page(OWN_PAGE[name]), "COLUMNS")
    assert items(text) == columns
    # The headings that the page gives are those that are printed.
    event = WHOLE[view]
    header = replay(run, "--columns", ",".join(columns), event=event, name=name)
    assert re.findall(r"^\.Pq (\S+)$", text, re.M) == header.stdout.split("\n", 1)[0].split()
    # So are the columns that it calls the default.
    text = text.split(".Bl")[0]
    default = re.findall(r"[a-z_]+", " ".join(re.findall(r"^\.Cm (.*)$", text, re.M)))
    assert replay(run, name=name).stdout == \
        replay(run, "--columns", ",".join(default), name=name).stdout
    assert zsh_names(view, "columns") == columns
    fish = FISH.read_text(encoding="utf-8")
    assert f"-n ${view} -l columns -xa '(__tcplat_list {' '.join(columns)})'" in fish
    assert complete(f"tcplat {view} --columns ") == columns


def test_columns_of_split(run):
    """Three more, before the last."""
    name = "tcplat pickup"
    default = replay(run, event=SPLIT, name=name).stdout.split("\n", 1)[0].split()
    split = replay(run, "--split", event=SPLIT, name=name).stdout.split("\n", 1)[0].split()
    assert split == [*default[:-1], "WAKE(ms)", "RUNQ(ms)", "APP(ms)", default[-1]]


@pytest.mark.parametrize("name, options", [("tcpconnlat", ["-t", "-L"]), ("tcppktlat", ["-T"])])
def test_columns_of_drop_ins(run, name, options):
    header = replay(run, *options, name=name).stdout.split("\n", 1)[0].split()
    assert items(section(page(OWN_PAGE[name]), "COLUMNS"), "Li") == header


@pytest.mark.parametrize("view", VIEWS)
def test_keys(keys, view):
    keys = keys[view]
    title = "KEYS AND LABELS" if view == "serve" else "HISTOGRAM KEYS"
    assert items(section(page(OWN_PAGE[f"tcplat {view}"]), title)) == keys
    # Only where there are keys without being asked for is it worth offering to have none.
    keys = keys + ["none"] * (view == "rtt")
    assert zsh_names(view, "keys") == keys
    fish = FISH.read_text(encoding="utf-8")
    assert f"-n ${view} -l by -xa '(__tcplat_list {' '.join(keys)})'" in fish
    assert complete(f"tcplat {view} --by ") == keys


def test_outcomes(run):
    documented = items(section(page("tcplat-connect.8"), "OUTCOMES"))
    assert documented == outcomes_of_source()
    for outcome in documented:
        shown = replay(run, "--columns", "outcome", event={**CONNECT, "outcome": outcome})
        assert shown.stdout.split() == ["OUTCOME", outcome]
    assert replay(run, event={**CONNECT, "outcome": "nonsense"}).returncode == 1


@VIEW
def test_json_members(run, view):
    pages = section(page("tcplat.8"), "JSON LINES")
    event = WHOLE[view]
    name = f"tcplat {view}"
    event, summary = map(json.loads, replay(run, "--json", event=event, name=name)
                         .stdout.splitlines())
    assert items(section(pages, f"Event {view}", "Ss")) == list(event)
    assert items(section(pages, "Event summary", "Ss")) == list(summary)
    histogram = json.loads(replay(run, "--json", "--hist", name=name).stdout.splitlines()[0])
    of_rtt = ["value", "retransmits"] if view != "rtt" else []
    documented = items(section(pages, "Event histogram", "Ss"))
    assert [member for member in documented if member not in of_rtt] == list(histogram)
    for member in histogram["buckets"][0]:
        assert f".Cm {member}\n" in section(pages, "Event histogram", "Ss")


def test_losses(run):
    summary = json.loads(replay(run, "--json").stdout.splitlines()[-1])
    assert items(section(page("tcplat.8"), "LOSSES")) == list(summary["lost"])


# --- What the agent prints ------------------------------------------------------------------------

TYPES = {"HISTOGRAM": "Histogram", "COUNTER": "Counter", "GAUGE": "Gauge", "INFO": "Gauge"}
SUFFIXES = {"COUNTER": "_total", "INFO": "_info"}


def metrics_of_source():
    """{name as in the text format: (type, unit)}: where they are written, each is stated once."""
    found = {}
    for name in ("page.c", "self.c"):
        text = (ROOT / "src" / "serve" / name).read_text(encoding="utf-8")
        for family, kind, unit in re.findall(
                r'\{\s*"([a-z_]+)",\s*METRIC_([A-Z]+),\s*(NULL|"[a-z]+")', text):
            found[family + SUFFIXES.get(kind, "")] = (TYPES[kind], unit.strip('"'))
    assert len(found) > 20, "the form of the source has changed"
    return found


def test_metrics():
    text = section(page("tcplat-serve.8"), "METRICS")
    documented = {name: words for name, words in
                  re.findall(r"^\.It Cm (\w+)\n(.*?)(?=^\.It |^\.El)", text, re.M | re.S)}
    metrics = metrics_of_source()
    assert set(documented) == set(metrics)
    for name, (kind, unit) in metrics.items():
        words = documented[name]
        assert words.startswith(kind), name
        # All durations are seconds, as the page says once, of what is measured.
        if unit != "NULL" and kind != "Histogram":
            assert words.startswith(f"{kind} in {unit}"), name
        assert ("in bytes" in words) == (unit == "bytes"), name


def test_reasons_for_losses():
    text = section(page("tcplat-serve.8"), "The agent itself", "Ss")
    of_losses = text.split(".It Cm tcplat_lost_events_total")[1].split(".It ")[0]
    assert re.search(r"^\.Cm (ring_full.*) ;$", of_losses, re.M)[1].split(" , ") == LOSSES


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
    assert os.access(prefix / option["libexecdir"] / "tcplat" / "tcplat-serve", os.X_OK)
    for name in NAMES:
        assert os.readlink(sbin / name) == "tcplat"
        assert os.readlink(bash / name) == "tcplat"
        assert os.readlink(fish_dir / f"{name}.fish") == "tcplat.fish"
    version = subprocess.run([sbin / NAMES[0], "--version"], capture_output=True, text=True,
                             timeout=20, check=True).stdout
    assert version.startswith(NAMES[0] + " ")
