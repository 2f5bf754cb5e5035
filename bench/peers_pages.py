# SPDX-License-Identifier: GPL-2.0-or-later
"""The page that compares Debian's tools with ours, made of what a guest has measured."""
import statistics

HEADING = """<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
# The originals, and ours

Written by `sudo ./dev bench --peers --write`. Debian's `tcpconnlat` and `tcprtt`
({package}) and ours trace the same traffic in the same boot of a guest. Commands
that begin with `build/` are ours, the others Debian's.
{pktlat}

- Guest: {kernel_package}, one CPU, no mitigations, memory not cleared
  when it is handed out.
- {qemu}, emulating (TCG) with `-icount shift=0,sleep=off`.
- Host: {host}
- Date: {date}.

The guest's clock counts its instructions, one a nanosecond, so that a time in which it
computes is a number of instructions. That makes figures repeatable; it is not what a
processor takes, which also waits for memory and for locks: for that see
[BENCHMARKS.md](BENCHMARKS.md). Every figure below is from one run of the command above;
commands that compare figures alternate, {rounds} rounds, medians.
"""

BETTER = """## Where the originals are better

Worked out from the tables below, every line of them.

{lines}
"""

COSTS = """## What it costs

Instructions for each connection or segment; {count} a round, all of it on loopback.

- *BPF*: what `kernel.bpf_stats_enabled` counts in all of the tool's programs, *runs* how often they
  run; *empty*: what it counts for programs that do nothing, on the same hooks and as often
  ({fentry:.0f} a run on the entry of a function, {ours:.0f} on a tracepoint): the cost of being
  measured; *net*: the difference.
- *added*: how much longer the same traffic takes, without these statistics, than without a
  tracer: all of the machine, until the tracer has read everything. Of that, *process* is the
  tracer's own process (and the interrupts that come while it runs), *path* all else: hooks,
  trampolines, programs, wake-ups.
- *empty, as …*: programs that do nothing, on all hooks of that tool: what attaching alone costs.
- *again*: net and added in a second boot.
"""

COST = """### {title}

{what} (`peers_guest.py`, part `{part}`).

{table}

{stable}
"""

START = """## Start and memory

*start*: from before `fork()` until the last of its BPF links is attached, seen in the same way for
all; *CPU*: what it computed itself until then, the rest is waiting for the kernel. *first row*:
from then on an attempt is made every half millisecond; this is when the first one began that has a
row. Memory a second later: resident, of it pages of BPF maps (of a ring buffer that is mapped, all,
and twice), without them, and the most it ever had (`VmHWM`). *idle*: CPU time it uses where
nothing happens. (`peers_guest.py`, part `start`)

{table}
"""

ROWS = """## Rows against attempts

Attempts of each kind over a path with a router and 20 ms round trip, IPv4 and IPv6; all four
commands traced all of it at once. *made*: by the programs' own account, with the error they got.
The names of ours print what answered, like the originals; `--all-outcomes` and `tcplat connect`
print every attempt, and `tcplat connect` says how it ended. (`peers_guest.py`, part `rows`)

| attempts | made | {names} | says |
|---|---|---|---|---|---|---|
{table}
"""

CASES = """## {title}

{intro}

| case | what is true | Debian's: what it says | ours: what it says |
|---|---|---|---|
{table}
"""


def median(values):
    return statistics.median(values)


def row(*cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def table(heads, lines):
    return "\n".join([row(*heads), "|---" * len(heads) + "|", *lines])


def theirs(command):
    return not command.startswith(("build/", "no tracer", "empty"))


# --- costs ---------------------------------------------------------------------------------------


class Costs:
    """One kind of traffic, as a boot has measured it."""

    def __init__(self, part):
        self.rounds = part["rounds"]
        self.count = part["count"]
        self.names = [name for name in self.rounds if name != "no tracer"]
        # name: instructions of an empty program in its place
        self.empty = {}
        for twin, programs in part["twins"].items():
            side = theirs(twin.removeprefix("empty, as "))
            for name, *runs in zip(programs, *(r["programs"] for r in self.rounds[twin])):
                self.empty[side, name] = median(time / count for _, time, count in runs)

    def empty_run(self, side):
        return max((cost for (which, _), cost in self.empty.items() if which == side), default=0)

    def _empty_of(self, command, round_):
        return sum(runs * self.empty.get((theirs(command), name), self.empty_run(theirs(command)))
                   for name, _, runs in round_["programs"])

    def _net(self, command):
        return [sum(p[1] for p in r["programs"]) - self._empty_of(command, r)
                for r in self.rounds[command]]

    def _added(self, command):
        nothing = median(r["path"] for r in self.rounds["no tracer"])
        return [r["path"] + r["process"] - nothing for r in self.rounds[command]]

    def figures(self, command):
        rounds = self.rounds[command]
        twin = command.startswith("empty")
        nothing = median(r["path"] for r in self.rounds["no tracer"])
        bpf = median(sum(p[1] for p in r["programs"]) for r in rounds)
        return {"bpf": bpf, "runs": median(sum(p[2] for p in r["programs"]) for r in rounds),
                "empty": bpf if twin else median(self._empty_of(command, r) for r in rounds),
                "net": 0 if twin else median(self._net(command)),
                "added": median(self._added(command)),
                "path": median(r["path"] for r in rounds) - nothing,
                "process": median(r["process"] for r in rounds)}

    def apart(self):
        """The most that two rounds differ, of net and of added, in instructions."""
        plain = [name for name in self.names if not name.startswith("empty")]
        return tuple(max(max(values) - min(values) for values in map(of, plain))
                     for of in (self._net, self._added))


def number(value):
    return f"{value:,.0f}"


TRAFFIC = (
    ("A connection", "From connect() to the end of both sockets, established and accepted",
     "connect"),
    ("A request and its answer", "A received segment, each of which carries data and acknowledges "
     "some", "pings"),
    ("One way", "A received segment, data one way, acknowledgements the other", "one way"),
)


def cost(title, traffic, part, boots, better):
    first, second = (Costs(boot[part]) for boot in boots)
    lines = []
    for name in first.names:
        one, two = first.figures(name), second.figures(name)
        lines.append(row(f"`{name}`" if not name.startswith("empty") else name,
                         number(one["bpf"]), f"{one['runs']:.1f}", number(one["empty"]),
                         f"**{number(one['net'])}**", f"**{number(one['added'])}**",
                         number(one["path"]), number(one["process"]),
                         number(two["net"]), number(two["added"])))
    of = {name: first.figures(name) for name in first.names}
    original = first.names[0]
    ours = [name for name in first.names if name.startswith("build/")]
    for what, word in (("net", "BPF programs, net"), ("added", "added in all"),
                       ("path", "added in the path of the traffic")):
        better.figure(f"{title.lower()}, {word}", original, of[original][what],
                      {name: of[name][what] for name in ours}, "instructions")
    empties = [name for name in first.names if name.startswith("empty")]
    better.figure(f"{title.lower()}, attaching alone", empties[0], of[empties[0]]["added"],
                  {empties[1]: of[empties[1]]["added"]}, "instructions")
    net, added = first.apart()
    took, again = (median(r["path"] for r in boot.rounds["no tracer"])
                   for boot in (first, second))
    stable = (f"Without a tracer it takes {number(took)} instructions ({number(again)} in the "
              f"second boot). Rounds of one boot differ by at most {net:.0f} (net) and "
              f"{added:.0f} (added).")
    heads = ("command", "BPF", "runs", "empty", "**net**", "**added**", "path", "process",
             "again: net", "added")
    return COST.format(title=title, what=traffic, part=part, table=table(heads, lines),
                       stable=stable)


def costs(boots, better):
    first = Costs(boots[0]["connect"])
    text = COSTS.format(count=first.count, fentry=first.empty_run(True),
                        ours=first.empty_run(False))
    return "\n".join([text] + [cost(*words, boots, better) for words in TRAFFIC])


# --- the rest ------------------------------------------------------------------------------------


class Better:
    """Collects where an original is better."""

    def __init__(self):
        self.lines = []

    def figure(self, what, original, value, others, unit):
        worse = [f"`{name}` {other:,.{self._digits(value)}f}" for name, other in others.items()
                 if value < other]
        if worse:
            self.lines.append(f"- {what}: `{original}` {value:,.{self._digits(value)}f} {unit}; "
                              f"{', '.join(worse)}")

    @staticmethod
    def _digits(value):
        return 1 if value < 20 else 0

    def command_line(self, one, two):
        """Ours does not know what the original does."""
        if two["status"] == 2 and one["status"] == 0:
            self.lines.append(f"- the command line `{one['command']}`: ours says "
                              f"`{two['first']}`")

    def case(self, case):
        first, *others = case["said"]
        if first["right"] and not all(said["right"] for said in others):
            self.lines.append(f"- {case['case']}: `{first['command']}` is right")

    def text(self):
        return BETTER.format(lines="\n".join(self.lines) or "Nowhere.")


def start(part, better):
    figures = {}
    for name, rounds in part.items():
        figures[name] = {key: median(r[key] for r in rounds) for key in rounds[0]
                         if rounds[0][key] is not None}
        figures[name]["without"] = median(r["rss"] - r["maps"] for r in rounds)
    lines = [row(f"`{name}`", f"**{f['ms']:.0f}**", f"{f['cpu_ms']:.0f}",
                 f"**{f['rss'] / 1024:.1f}**", f"{f['maps'] / 1024:.1f}",
                 f"**{f['without'] / 1024:.1f}**", f"{f['hwm'] / 1024:.1f}",
                 f"{f['idle_ns'] / 1000:.0f}",
                 f"{f['first_ms']:.0f}" if "first_ms" in f else "")
             for name, f in figures.items()]
    for original in ("tcpconnlat", "tcprtt"):
        one, two = figures[original], figures[f"build/{original}"]
        for key, word, unit, scale in (
                ("ms", "start", "ms", 1), ("first_ms", "start to the first row", "ms", 1),
                ("cpu_ms", "computing until started", "ms", 1),
                ("rss", "resident", "MiB", 1024), ("hwm", "most ever resident", "MiB", 1024),
                ("without", "resident, map pages apart", "MiB", 1024),
                ("idle_ns", "idle", "us/s", 1000)):
            if key not in one:
                continue
            better.figure(f"{original}, {word}", original, one[key] / scale,
                          {f"build/{original}": two[key] / scale}, unit)
    heads = ("command", "start, ms", "CPU, ms", "resident, MiB", "map pages", "without",
             "most ever", "idle, us/s", "first row, ms")
    return START.format(table=table(heads, lines))


COMMANDS = {"theirs": "`tcpconnlat -L`", "ours": "`build/tcpconnlat -L`",
            "all": "`… --all-outcomes`", "view": "`build/tcplat connect --json`",
            "small": "`build/tcplat connect --json --buffer 16k`"}
SHOWN = ("theirs", "ours", "all", "view")


def rows(part):
    lines = []
    for one in part:
        errors = ", ".join("no error" if e == "None" else e for e in one["errors"])
        lines.append(row(one["kind"], f"{one['made']} ({errors})",
                         *(f"**{one['rows'][name]}**" for name in SHOWN),
                         ", ".join(one["outcomes"])))
    names = " | ".join(COMMANDS[name] for name in SHOWN)
    return ROWS.format(names=names, table="\n".join(lines))


def many(storm, lost):
    """Rows where there is too much."""
    lines = ["## Too much at once", "", "Parts `storm` and `lost` of `peers_guest.py`.", "",
             "| what | made | command | rows | it says of the rest | status |",
             "|---|---|---|---|---|---|"]
    for what, part in ((f"{storm['in_flight']:,} attempts waiting for an answer at once, then "
                        "answered", {**storm, "made": storm["made"]["made"]}),
                       ("the tracer does not get to read meanwhile (SIGSTOP)", lost["held"]),
                       ("Ctrl-C before it has read (SIGSTOP, SIGINT, SIGCONT)", lost["pending"])):
        for name, command in COMMANDS.items():
            if name not in part:
                continue
            one = part[name]
            said = f"lost {one['lost']:,}" if one.get("lost") else one["said"] or "nothing"
            if one["rows"] == part["made"]:
                said = ""
            lines.append(row(what, f"{part['made']:,}", command, f"**{one['rows']:,}**", said,
                             one["status"]))
    return "\n".join([*lines, ""])


def says(one):
    return f"{'right' if one['right'] else '**wrong**'}: `{one['command']}`: {one['says']}"


def case_rows(cases, better):
    lines = []
    for one in cases:
        better.case(one)
        original, *ours = one["said"]
        lines.append(row(one["case"], one["truth"], says(original), "<br>".join(map(says, ours))))
    return "\n".join(lines)


def line_says(one):
    if one["took"] is None:
        text = "traces until Ctrl-C"
    else:
        text = f"status {one['status']}"
        if one["first"].startswith("Tracing"):
            text += f" after {one['took']:.1f} s, {one['histograms']} histograms"
    if one["lines"]:
        text += f", {one['lines']} line{'s' * (one['lines'] > 1)} on stderr"
    if not one["first"].startswith(("PID", "Tracing")):
        text += f": `{one['first']}`"
    return text


def command_lines(part, better):
    lines = ["## Command lines", "",
             "What each does of itself; one that traces is interrupted after 2 s (those with `-d`: "
             "10 s). (Part `options`)", "", "| | Debian's | ours |", "|---|---|---|"]
    for kind, pairs in part.items():
        for one, two in pairs:
            if kind != "wrong":
                better.command_line(one, two)
        lines += [row(f"`{one['command']}`", line_says(one), line_says(two)) for one, two in pairs]
    return "\n".join([*lines, ""])


def page(versions, *boots):
    better = Better()
    first = boots[0]
    versions = {**versions, "rounds": len(first["connect"]["rounds"]["no tracer"]),
                "pktlat": "This version has a `tcppktlat`, too, which is not compared yet."
                if versions["pktlat"] else
                "That package has no `tcppktlat`: there is nothing to compare ours with."}
    chapters = [
        costs(boots, better),
        start(first["start"], better),
        rows(first["rows"]),
        many(first["storm"], first["lost"]),
        CASES.format(title="What they say of single attempts", intro="A delay line, 20 ms of round "
                     "trip. Truth: a capture on the client's device. (Part `latencies`)",
                     table=case_rows(first["latencies"], better)),
        CASES.format(title="What they say of round trips", intro="The same delay line. Truth: "
                     "captures at both ends: acknowledgements of segments that were sent "
                     "once. (Part `rtt`)",
                     table=case_rows(first["rtt"], better)),
        command_lines(first["options"], better),
    ]
    return "\n".join([HEADING.format(**versions), better.text(), *chapters])
