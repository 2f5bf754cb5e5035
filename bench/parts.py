# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of the benchmark; each returns its chapter as Markdown."""
import json
import os
import statistics
import tempfile

import lib

HEADING = """<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
# Benchmarks

Written by `sudo ./dev bench --write`; nothing here is asserted by a test. Costs
of BPF programs are measured with `kernel.bpf_stats_enabled`, which itself takes
time in every run of every program: the column *net* is less what empty programs
on the same hooks show in the same run. Throughput is compared in alternating
pairs, with and without tcplat, as the median ratio and its 95 % interval.
"""

NOTES = """## What the figures say

- The budget of 500 ns for a whole connection is not met. By leaving parts out one
  at a time: about 370 ns are the kernel's allocation of the socket's storage (two
  accounted allocations), which a later measurement on the same socket does not pay
  again; 160 the ring buffer; 150 three readings of the clock (50 each here); 110
  looking up the socket behind the descriptor at connect(), for the attempts that
  the host refuses by itself. A preallocated hash table would save some 150 of it,
  and could overflow.
- Tried, and kept: dropping a counter per row, telling a listener's child from a
  simultaneous open by its missing struct socket before any look-up, and looking at
  the mark before anything else in the second copy of the hook: 916 to 800 ns.
- Fewer types to relocate (members reached through one root type; iterator contexts
  without relocation) took the start from 45 to 29 ms; most of the rest is libbpf
  reading the kernel's BTF. Prefaulting the memory for that (mlockall) gained 1 ms
  of it, and was left out.
- Where every request is a connection of its own on loopback, with client, server and
  tracer on two CPUs, tcplat costs 8 % (histograms) to 12 % (rows) of the requests;
  with connections that are kept it costs nothing that can be told from noise.
- JSON at 80,000 rows a second and more is beyond one core here; what the ring buffer
  could not hold (--buffer) was counted.
"""

MODES = {
    "rows to /dev/null": [],
    "rows, JSON": ["--json"],
    "rows of one port that matches nothing": ["-r", "1"],
    "`--hist`": ["--hist"],
    "`--hist --by raddr`": ["--hist", "--by", "raddr"],
    "`--hist --by comm,rport,outcome`": ["--hist", "--by", "comm,rport,outcome"],
}

# One connection each: what state_change_1 sees beside SYN_SENT and its end.
TWIN = {"state_change_1": "empty_state", "state_change_2": "empty_state",
        "call_begins": "empty_enter", "call_ends": "empty_exit"}


def cost_of(mode, count):
    """(net ns a connection by program, runs a connection, gross ns of an empty program)"""
    others = lib.program_ids()
    with lib.listener() as port, lib.empty_programs("connect"), lib.tracer("connect", *mode):
        lib.storm(port, count // 10)
        before = lib.programs(but=others)
        made = lib.storm(port, count)["made"]
        after = lib.programs(but=others)
    diff = {n: (after[n][0] - before[n][0], after[n][1] - before[n][1])
            for n in after if n in before}
    empty = {n: t / max(1, c) for n, (t, c) in diff.items() if n.startswith("empty_")}
    net = {n: diff[n][0] / made - empty[TWIN[n]] * diff[n][1] / made for n in TWIN}
    runs = {n: diff[n][1] / made for n in TWIN}
    return net, runs, empty


def cost(quick):
    rounds, count = (3, 20000) if quick else (7, 50000)
    median = statistics.median
    lines = ["## Cost of a connection in the kernel", "",
             "Net nanoseconds for one whole connection on loopback: both ends, from connect() to",
             "both sockets' end, all state changes and both copies of the hook together. Budget:",
             "500 ns for an established connection with its row.", "",
             "| mode | state changes (2 copies) | connect() call | sum, median | min to max |",
             "|---|---|---|---|---|"]
    each = []
    for name, mode in MODES.items():
        got = [cost_of(mode, count) for _ in range(rounds)]
        each = each or got
        state = [n["state_change_1"] + n["state_change_2"] for n, _, _ in got]
        call = [n["call_begins"] + n["call_ends"] for n, _, _ in got]
        sums = [a + b for a, b in zip(state, call)]
        lines.append(f"| {name} | {median(state):.0f} | {median(call):.0f} "
                     f"| **{median(sums):.0f}** | {min(sums):.0f} to {max(sums):.0f} |")
    lines += ["", "By program, rows to /dev/null:", "",
              "| program | runs a connection | net ns a run | empty program there, ns |",
              "|---|---|---|---|"]
    for name, twin in TWIN.items():
        runs = median(r[name] for _, r, _ in each)
        net = median(n[name] for n, _, _ in each)
        lines.append(f"| {name} | {runs:.1f} | {net / runs:.0f} | "
                     f"{median(e[twin] for _, _, e in each):.0f} |")
    return "\n".join(lines + [""])


def start(quick):
    n = 10 if quick else 30
    times, rss, maps = [], [], []
    with lib.stats_off():
        for _ in range(n):
            with lib.tracer("connect") as t:
                times.append(t.attached_ms)
                r, m = t.memory_kib()
                rss.append(r)
                maps.append(m)
    with lib.listener() as port, lib.tracer("connect") as t:
        lib.storm(port, 50000)
        loaded = t.memory_kib()
    return "\n".join([
        "## Start and memory", "",
        "| what | median | min to max | budget |", "|---|---|---|---|",
        f"| start to \"probes attached\", ms | **{statistics.median(times):.1f}** | "
        f"{min(times):.1f} to {max(times):.1f} | 30 |",
        f"| resident, BPF map pages apart, MiB | "
        f"**{statistics.median(r - m for r, m in zip(rss, maps)) / 1024:.2f}** | "
        f"{min(r - m for r, m in zip(rss, maps)) / 1024:.2f} to "
        f"{max(r - m for r, m in zip(rss, maps)) / 1024:.2f} | 6 |",
        f"| the same after 50,000 rows, MiB | **{(loaded[0] - loaded[1]) / 1024:.2f}** | | 6 |",
        f"| pages of the ring buffer then, MiB | {loaded[1] / 1024:.2f} | | |", ""])


def rate(quick):
    count = 100000 if quick else 300000
    lines = ["## Highest rate", "",
             f"{count:,} connects on loopback as fast as this machine makes them, every one",
             "a row, output to a file.", "",
             "| traffic | format | connects/s | rows/s | made | rows | lost, each counted | "
             "tcplat's CPU, us a row |", "|---|---|---|---|---|---|---|---|"]
    for traffic, args in (("1 thread, blocking", []),
                          ("2 threads, 64 in flight", ["--threads", "2", "--parallel", "64"])):
        for form, mode in (("table", []), ("JSON", ["--json"])):
            with tempfile.TemporaryDirectory() as d, lib.stats_off(), lib.listener() as port:
                out = os.path.join(d, "out")
                with lib.tracer("connect", "-r", str(port), *mode, out=out) as t:
                    made = lib.storm(port, count, *args)
                    cpu = t.cpu_s()
                    err = t.stop()
                with open(out) as f:
                    text = f.read().splitlines()
                rows = sum(1 for line in text if "connstorm" in line)
                lost = lost_of(text, err, form)
                if rows + lost != made["made"]:
                    raise RuntimeError(f"the books do not balance: {rows} + {lost}, {made}")
            lines.append(f"| {traffic} | {form} | {made['made'] / made['elapsed_s']:,.0f} | "
                         f"{rows / made['elapsed_s']:,.0f} | {made['made']:,} | {rows:,} | "
                         f"{lost:,} | {cpu / max(1, rows) * 1e6:.1f} |")
    return "\n".join(lines + [""])


def lost_of(text, err, form):
    if form == "JSON":
        return sum(json.loads(text[-1])["lost"].values())
    for line in err.splitlines():
        if "events " in line and " lost " in line:
            return int(line.split(" lost ")[1].split(",")[0])
    raise RuntimeError("no summary")


def kept(quick):
    pairs, seconds, count = (6, 1, 20000) if quick else (20, 1, 40000)
    lines = ["## Throughput kept", "",
             "With tcplat divided by without, in alternating pairs.", "",
             "| load | tcplat connect | median kept | 95 % interval | pairs |",
             "|---|---|---|---|---|"]
    with lib.stats_off(), lib.nginx() as web, lib.listener() as port:
        loads = {
            "wrk + nginx, keep-alive, requests/s": lambda: lib.wrk(web, seconds, False),
            "wrk + nginx, a connection per request": lambda: lib.wrk(web, seconds, True),
            "connects/s of one thread that does nothing else":
                lambda: (lambda r: r["made"] / r["elapsed_s"])(lib.storm(port, count)),
        }
        for load, run in loads.items():
            run()
            for name in ("rows to /dev/null", "`--hist`"):
                ratios = []
                for i in range(pairs):
                    order = (True, False) if i % 2 else (False, True)
                    got = {}
                    for traced in order:
                        if traced:
                            with lib.tracer("connect", *MODES[name]):
                                got[True] = run()
                        else:
                            got[False] = run()
                    ratios.append(got[True] / got[False])
                median, lo, hi = lib.ratio_interval(ratios)
                lines.append(f"| {load} | {name} | **{median:.1%}** | {lo:.1%} to {hi:.1%} | "
                             f"{pairs} |")
    return "\n".join(lines + [""])


PARTS = {"cost": cost, "start": start, "rate": rate, "kept": kept}
