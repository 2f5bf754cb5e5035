#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures tcplat on this machine: ./dev bench [--quick] [--write] [PART...] | --soak [SECONDS]
| --peers [--write]

Every figure is a ratio or a difference within one run: against an empty BPF
program attached beside ours, or in alternating pairs with and without tcplat.
Parts: cost, start, rate, kept; pickup-cost, pickup-kept, pickup-start; rtt-cost, rtt-kept,
rtt-start; serve-scrape, serve-kept, serve-idle. --write puts the result in docs/BENCHMARKS.md. --soak runs none of them: it is
everything at once for ten minutes, with the books and the tracers' memory watched. --peers
neither: it is Debian's tcpconnlat and tcprtt beside ours, in a guest; its --write puts the result
in docs/COMPARISON.md.
"""
import argparse
import os
import sys

import lib
import parts
import peers
import pickup
import rtt
import serve
import soak

PARTS = {**parts.PARTS, **pickup.PARTS, **rtt.PARTS, **serve.PARTS}


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("part", nargs="*", choices=[[], *PARTS], help="default: all")
    p.add_argument("--quick", action="store_true", help="fewer repetitions, wider intervals")
    p.add_argument("--write", action="store_true", help="write the result to docs/")
    p.add_argument("--soak", nargs="?", type=float, const=600, metavar="SECONDS",
                   help="everything at once, for so long (600)")
    p.add_argument("--peers", action="store_true", help="beside Debian's libbpf-tools, in a guest")
    args = p.parse_args()
    if args.peers:
        text = peers.page()
        print(text)
        if args.write:
            lib.write_doc("docs/COMPARISON.md", text)
        return 0
    if os.geteuid():
        sys.exit("bench: needs root; try sudo ./dev bench")
    if args.soak:
        text, good = soak.chapter(args.soak)
        print("\n".join([lib.machine(), text]))
        return 0 if good else 1
    text = [parts.HEADING, lib.machine()]
    with lib.bpf_stats():
        for name in args.part or PARTS:
            print(f"bench: {name} ...", file=sys.stderr, flush=True)
            text.append(PARTS[name](args.quick))
            print(text[-1], flush=True)
    text += [parts.NOTES, pickup.NOTES, rtt.NOTES, serve.NOTES]
    if args.write:
        lib.write_doc("docs/BENCHMARKS.md", "\n".join(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
