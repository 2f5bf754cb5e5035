# SPDX-License-Identifier: GPL-2.0-or-later
"""What `tcplat rtt` and the summary of all three measurements cost."""
import contextlib
import json
import socket
import statistics
import subprocess
import time

import lib
import pickup

# name: (words, budget of a tcp_probe)
MODES = {
    "`rtt --by none`": (["rtt", "--by", "none"], "60"),
    "`rtt --by raddr`": (["rtt", "--by", "raddr"], "110"),
    "`rtt --by comm,lport`": (["rtt", "--by", "comm,lport"], ""),
    "`rtt --rows`": (["rtt", "--rows"], ""),
    "`rtt`, an address that matches nothing": (["rtt", "-R", "192.0.2.1"], ""),
    "all three: `tcplat`": ([], "120"),
}
TWIN = pickup.TWIN


def cost_of(words, web, cpu, seconds, empty="data"):
    """program -> net ns a run"""
    others = lib.program_ids()
    with lib.empty_programs(empty), lib.tracer(*words):
        lib.wrk(web, 1, False, cpu)
        before = lib.programs(but=others)
        lib.wrk(web, seconds, False, cpu)
        after = lib.programs(but=others)
    diff = {n: (after[n][0] - before[n][0], after[n][1] - before[n][1])
            for n in after if n in before}
    return {n: diff[n][0] / max(1, diff[n][1]) - diff[twin][0] / max(1, diff[twin][1])
            for n, twin in TWIN.items() if n in diff}


def cost(quick):
    rounds, seconds = (2, 1) if quick else (4, 2)
    lines = ["## rtt, and all three: cost of a packet, in the kernel", "",
             "Net nanoseconds a run, less an empty program on the same hook in the same run, on",
             "wrk + nginx with keep-alive, 16 connections, a file of 612 bytes; every packet there",
             "acknowledges one, so that each run of `probe` counts a sample. On two CPUs a socket's",
             "packets come on one and its answers are sent on the other: `probe` is the first to",
             "touch the socket's own line, which the other CPU wrote, and waits for it; TCP, which",
             "reads it next in any case, does not have to any more. *fetched*: with a program before",
             "ours on the same hook that reads tcp_sock.rcv_nxt, so that this is in neither figure.",
             "", "| mode | CPUs | probe (tcp_probe) | fetched | budget | data_ready | read |",
             "|---|---|---|---|---|---|---|"]
    for cpu, where in ((None, "2"), (0, "1")):
        with lib.nginx(page=612, cpu=cpu) as web:
            for name, (words, budget) in MODES.items():
                got = {empty: [cost_of(words, web, cpu, seconds, empty) for _ in range(rounds)]
                       for empty in ("data", "fetched")}
                m = {empty: {k: f"{statistics.median(g[k] for g in all_of):.0f}"
                             for k in all_of[0]} for empty, all_of in got.items()}
                plain = m["data"]
                lines.append(f"| {name} | {where} | **{plain['probe']}** | "
                             f"**{m['fetched']['probe']}** | {budget} | "
                             f"{plain.get('data_ready', '')} | {plain.get('data_taken', '')} |")
    return "\n".join(lines + [""])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def iperf(seconds):
    """Gbit/s over loopback, one connection."""
    port = free_port()
    with subprocess.Popen(["iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", str(port), "--forceflush"],
                          stdout=subprocess.PIPE, text=True) as server:
        for line in server.stdout:
            if "listening" in line:
                break
        out = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", str(seconds),
                              "--json"], check=True, capture_output=True, text=True,
                             timeout=seconds + 30).stdout
        server.stdout.read()
    return json.loads(out)["end"]["sum_received"]["bits_per_second"] / 1e9


def iperf_row(name, make, pairs):
    ratios, plain = [], []
    for i in range(pairs):
        got = {}
        for traced in ((True, False) if i % 2 else (False, True)):
            with make() if traced else contextlib.nullcontext():
                got[traced] = iperf(1)
        plain.append(got[False])
        ratios.append(got[True] / got[False])
    median, lo, hi = lib.ratio_interval(ratios)
    return (f"| iperf3 | {name} | **{median:.1%}** | {lo:.1%} to {hi:.1%} | {pairs} | "
            f"{statistics.median(plain):.1f} Gbit/s | |")


def kept(quick):
    pairs = 6 if quick else 20
    cases = {
        "`rtt --by raddr`": lambda: lib.tracer("rtt", "--by", "raddr"),
        "all three: `tcplat`": lambda: lib.tracer(),
    }
    lines = ["## rtt, and all three: throughput kept", "",
             "With tcplat divided by without, in alternating pairs of 1 s: requests per second of",
             "wrk + nginx (keep-alive, 16 connections, both CPUs busy), and iperf3 over loopback.",
             "Budget: 97 %.", "",
             "| traffic | with | median kept | 95 % interval | pairs | without | "
             "events in the last run |", "|---|---|---|---|---|---|---|"]
    with lib.stats_off():
        with lib.nginx(page=612) as web:
            for name, make in cases.items():
                lines.append(pickup.kept_row(web, "wrk, a file of 612 bytes", name, make, pairs))
        for name, make in cases.items():
            lines.append(iperf_row(name, make, pairs))
    return "\n".join(lines + [""])


def many_peers(count):
    """Seconds from the end of a run to that of the tracer, which reads and prints so many keys."""
    with lib.tracer("rtt", "--by", "raddr") as t, socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen(16)
        port = listener.getsockname()[1]
        for i in range(count):
            addr = f"127.{1 + i // 40000}.{i // 200 % 200}.{1 + i % 200}"
            with socket.create_connection((addr, port)), listener.accept()[0]:
                pass
        begun = time.monotonic()
        t.stop()
        return time.monotonic() - begun


def start(quick):
    n = 10 if quick else 30
    lines = ["## rtt, and all three: start and memory", "",
             "| what | median | min to max | budget |", "|---|---|---|---|"]
    for name, words in (("`tcplat rtt`", ["rtt"]), ("`tcplat`", [])):
        lines += lib.start_rows(f"{name}: ", n, *words)
    times = [many_peers(9999) for _ in range(2 if quick else 5)]
    lines += [f"| `rtt --by raddr`: the end of a run with 10,000 remote addresses, s | "
              f"**{statistics.median(times):.2f}** | {min(times):.2f} to {max(times):.2f} | 1 |"]
    return "\n".join(lines + [""])


NOTES = """## What the figures of rtt say

- On one CPU a sample costs 41 to 51 ns, all three measurements together 51: within the
  budgets. Between two CPUs it is 128 to 137, above them (60, 110, 120). Nearly all of the
  difference is waiting for lines of struct tcp_sock that the other CPU, which sends, has
  just written (a program that does nothing but read rcv_nxt takes 50 ns there), and that
  TCP itself reads next: what ours waits for, TCP does not wait for any more. That is why
  throughput shows nothing of it: 100.0 % of the requests kept, and 97.9 % with all three.
- Tried, and kept: no locked instruction for a sample as long as nobody else looks at the
  sockets (8 ns between two CPUs); header prediction (pred_flags, which TCP reads first)
  in place of a cold line to know that a connection has no holes (some 10 ns, pickup too);
  what packets write and what reads write in different lines of the state.
- Tried, and dropped: looking at icsk_ca_state with each packet for retransmissions that
  no hook has told of: one more line that the other CPU had written, a third of the time.
- Start: rtt loads five programs, the summary of all three eleven. The verifier's work
  was cut by a function of its own for finding the bucket (6,000 to 2,200 instructions
  looked at in each program), bpf_loop() for the extremes, and pointers of the receive
  queue read before all else: 114 to 70 ms. What is left is mostly the verifier.
- A run's end with 10,000 remote addresses, reading, sorting and printing, is 60 ms.
"""

PARTS = {"rtt-cost": cost, "rtt-kept": kept, "rtt-start": start}
