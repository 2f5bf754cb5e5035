# SPDX-License-Identifier: GPL-2.0-or-later
"""What `tcplat pickup` costs: in the kernel, in throughput, in memory."""
import contextlib
import os
import re
import socket
import statistics
import tempfile
import time

import lib

MODES = {
    "`--hist`": ["--hist"],
    "`--hist --by comm,lport`": ["--hist", "--by", "comm,lport"],
    "rows to /dev/null": [],
    "rows of one port that matches nothing": ["-r", "1"],
    "rows of one process that does not read": ["-p", "1"],
    "rows, `--split`": ["--split"],
}
SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python does not name it

TWIN = {"probe": "empty_probe", "data_ready": "empty_ready", "data_taken": "empty_taken"}
SPLIT = ("waking", "queued", "switched")


def cost_of(mode, web, cpu, seconds):
    """name -> net ns a run; the scheduler's programs: ns for each data_taken, all told."""
    others = lib.program_ids()
    with lib.empty_programs("data"), lib.tracer("pickup", *mode):
        lib.wrk(web, 1, False, cpu)
        before = lib.programs(but=others)
        lib.wrk(web, seconds, False, cpu)
        after = lib.programs(but=others)
    diff = {n: (after[n][0] - before[n][0], after[n][1] - before[n][1])
            for n in after if n in before}
    net = {n: diff[n][0] / max(1, diff[n][1]) - diff[twin][0] / max(1, diff[twin][1])
           for n, twin in TWIN.items() if n in diff}
    for n in SPLIT:
        if n in diff:
            net["split"] = net.get("split", 0) + diff[n][0] / max(1, diff["data_taken"][1])
    return net


def cost(quick):
    rounds, seconds = (2, 1) if quick else (4, 2)
    lines = ["## pickup: cost of a segment and of its read, in the kernel", "",
             "Net nanoseconds a run, less an empty program on the same hook in the same run, on",
             "wrk + nginx with keep-alive, 16 connections, a file of 612 bytes. An arrival runs",
             "`probe` and `data_ready`, its read `data_taken`. On two CPUs a socket's packets come",
             "on one and are read on the other, so that each of the two has to fetch what the",
             "other wrote; on one CPU they do not. Budget: 120 for an arrival; for the read 120",
             "(histograms), 250 (rows).", "",
             "| mode | CPUs | probe | data_ready | arrival | read | scheduler, for each read |",
             "|---|---|---|---|---|---|---|"]
    for cpu, where in ((None, "2"), (0, "1")):
        with lib.nginx(page=612, cpu=cpu) as web:
            for name, mode in MODES.items():
                got = [cost_of(mode, web, cpu, seconds) for _ in range(rounds)]
                m = {k: statistics.median(g[k] for g in got) for k in got[0]}
                arrival = [g["probe"] + g["data_ready"] for g in got]
                lines.append(
                    f"| {name} | {where} | {m['probe']:.0f} | {m['data_ready']:.0f} | "
                    f"**{statistics.median(arrival):.0f}** | **{m['data_taken']:.0f}** | "
                    f"{m['split']:.0f} |" if "split" in m else
                    f"| {name} | {where} | {m['probe']:.0f} | {m['data_ready']:.0f} | "
                    f"**{statistics.median(arrival):.0f}** | **{m['data_taken']:.0f}** | |")
    return "\n".join(lines + [""])


@contextlib.contextmanager
def stamping():
    """What the view keeps on: receive time stamps for every packet of the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        yield


def kept(quick):
    pairs = 6 if quick else 20
    lines = ["## pickup: throughput kept", "",
             "Requests per second of wrk + nginx with tcplat divided by those without, in",
             "alternating pairs of 1 s; keep-alive, 16 connections, both CPUs busy. Budget:",
             "97 % (histograms), 90 % (rows).", "",
             "| page | with | median kept | 95 % interval | pairs | requests/s without | "
             "arrivals in the last run |", "|---|---|---|---|---|---|---|"]
    cases = {
        "receive stamps alone": stamping,
        "`--hist`": lambda: lib.tracer("pickup", "--hist"),
        "`--hist --by comm,lport`": lambda: lib.tracer("pickup", *MODES["`--hist --by comm,lport`"]),
        "rows to /dev/null": lambda: lib.tracer("pickup"),
        "rows, `--split`": lambda: lib.tracer("pickup", "--split"),
    }
    with lib.stats_off():
        for page, what in ((612, "612 bytes, a file"), (0, "2 bytes, from the configuration")):
            with lib.nginx(page=page) as web:
                for name, make in cases.items():
                    if page == 0 and "split" in name:
                        continue
                    lines.append(kept_row(web, what, name, make, pairs))
    return "\n".join(lines + [""])


def kept_row(web, page, name, make, pairs):
    lib.wrk(web, 1, False)
    ratios, plain, said = [], [], ""
    for i in range(pairs):
        got = {}
        for traced in ((True, False) if i % 2 else (False, True)):
            if traced:
                with make() as t:
                    got[True] = lib.wrk(web, 1, False)
                    if t:
                        said = totals(t.stop())
            else:
                got[False] = lib.wrk(web, 1, False)
                plain.append(got[False])
        ratios.append(got[True] / got[False])
    median, lo, hi = lib.ratio_interval(ratios)
    return (f"| {page} | {name} | **{median:.1%}** | {lo:.1%} to {hi:.1%} | {pairs} | "
            f"{statistics.median(plain):,.0f} | {said} |")


def totals(err):
    """"events 1,234, lost 0" from what the tracer says at its end."""
    m = re.search(r"events (\d+), lost (\d+)", err)
    return f"{int(m[1]):,}, lost {int(m[2]):,}" if m else "?"


def start(quick):
    slabs = {n: memory_of(n) for n in (0, 2, 3, 4, 40)}
    base = slabs.pop(0)
    lines = ["## pickup: start and memory", "",
             "| what | median | min to max | budget |", "|---|---|---|---|",
             *lib.start_rows("", 10 if quick else 30, "pickup"), "",
             "Kernel memory for each socket, all that the slab allocator hands out, over 2,000",
             "sockets that have each had so many arrivals waiting, which then were read:", "",
             "| arrivals waiting | bytes a socket |", "|---|---|"]
    for n, total in slabs.items():
        lines.append(f"| {n} | {total - base:.0f} |")
    return "\n".join(lines + [""])


def slab_bytes():
    total = 0
    with open("/proc/slabinfo") as f:
        for line in f.readlines()[2:]:
            name, used, _, size = line.split()[:4]
            if name.startswith("kmalloc"):
                total += int(used) * int(size)
    return total


def memory_of(unread, n=2000):
    """Bytes of slabs that tracing adds for each of n sockets; 0: no tracer."""
    made = []
    with tempfile.TemporaryDirectory(), socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(n)
        for _ in range(n):
            a = socket.create_connection(listener.getsockname())
            a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.append((a, listener.accept()[0]))
        # What the data themselves take comes and goes with each round; what stays is the state.
        before = slab_bytes()
        with lib.tracer("pickup", "-l", str(listener.getsockname()[1])) if unread else \
                contextlib.nullcontext():
            for a, b in made:
                for _ in range(unread or 2):
                    a.send(b"x")
                    # A segment of its own each, also where Nagle and corking would wait.
                b.recv(100)
            time.sleep(0.5)
            grown = slab_bytes() - before
        for a, b in made:
            a.close()
            b.close()
    return grown / n


NOTES = """## What the figures of pickup say

- Where a program keeps up, an arrival costs next to nothing: the kernel's own receive
  queue is the list of arrivals, and it is noted only what the kernel is about to
  merge. The first version noted each arrival when it came: 110 ns for it and 195 for
  the read on two CPUs, most of it one cache line that both had to have, and 94 % of
  the requests kept on the smaller page where there are now more.
- The budget for the read is met on one CPU, not on two: there some 50 ns more go into
  fetching what the other CPU wrote, and a row waits for the ring buffer's lock.
- The budgets of throughput are met where a file is served (rows: within the interval),
  not where nginx has nothing to do but to answer (5 us a request and side): receive
  stamps, three hooks of about 15 ns before a program has done anything, and the
  programs have a share each.
- Kept: cells of its own for each CPU in the first 64 slots of the histograms, and plain
  adds there (250 to 160 ns a read with one key on two CPUs); multiplication in place of
  a division by 125; what reads write in another cache line than what packets look at;
  the state's namespace read once. For rows: digits and columns without printf (0.36 to some
  0.25 us of tcplat's time a row).
- Tried, and dropped: watching the system call splice(2), so as to know such readers
  beforehand. Any tracepoint of a system call makes every system call of the host slower,
  by 3 % of the requests here with no splice at all; their first read tells them now.
  (connect still watches connect(), for what the host refuses before any SYN.) Looking at
  the ring buffer's fill only on one row in sixteen: no difference.
- Start: a pointer that a BPF program follows by a plain load makes the kernel's verifier
  search all type names, about 1 ms each; copying helpers instead took pickup from 53 to
  33 ms. Four tracepoint programs are loaded where connect has two.
"""

PARTS = {"pickup-cost": cost, "pickup-kept": kept, "pickup-start": start}
