# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing is lost silently: what was made is delivered or counted, exactly."""

import contextlib
import os
import re
import signal
import threading

import pytest

from lib import traffic
from lib.tool import Tracer, run_tool

BURST = 10000


@contextlib.contextmanager
def rps(ns, on):
    """Receive packet steering on lo: SYN-ACKs arrive by interrupt on any CPU."""
    if on and os.cpu_count() < 2:
        pytest.skip("steering between CPUs needs two of them")
    path = "/sys/class/net/lo/queues/rx-0/rps_cpus"
    write = f"mount -t sysfs none /sys && echo {{}} > {path}"
    ns.run(["unshare", "-m", "sh", "-c", write.format("3" if on else "0")])
    try:
        yield
    finally:
        ns.run(["unshare", "-m", "sh", "-c", write.format("0")])


def burst(loopback, *options, count=BURST, stop=None, family=4, **storm):
    """(connstorm's account, stopped tracer)"""
    addr = loopback.server_addr(family)
    server = traffic.StormServer(loopback.server, addr)
    with server, Tracer("connect", "--json", "--netns", loopback.client.inode, *options) as t:
        if stop:
            t.signal(signal.SIGSTOP)
        try:
            account = traffic.storm(loopback.client, addr, server.port, count,
                                    reset_close=True, **storm)
        finally:
            t.signal(signal.SIGCONT)
        return account, t.stop()


def check(account, stopped):
    """delivered + lost = made; returns the losses."""
    assert account["made"] == account["established"] > 0
    lost = stopped.summary["lost"]
    delivered = sum(r["outcome"] == "established" for r in stopped.rows)
    assert delivered == len(stopped.rows) == stopped.summary["events"]
    assert delivered + sum(lost.values()) == account["made"]
    assert (stopped.summary["still_open"], stopped.summary["unseen_start"]) == (0, 0)
    return lost


@pytest.mark.parametrize("steered", [False, True])
def test_burst(loopback, steered, family):
    # Many: what no copy is called for comes in bursts of up to 200, however many there are.
    count = 10 * BURST if steered else BURST
    with rps(loopback.client, steered):
        account, stopped = burst(loopback, "--buffer", "16m", threads=2, parallel=64,
                                 family=family, count=count)
    lost = check(account, stopped)
    assert account["made"] == count
    # Two copies of the hook: a handful at most goes missing by re-entrance.
    assert sum(lost.values()) == lost["reentered"] <= count // 100


def test_burst_while_others_come_and_go(loopback):
    """While another tracer is attached to the same hook or leaves it, the kernel may call nobody:
    that is no re-entrance that it counts, and must still be in the books."""
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            run_tool(["connect", "-p", "1", "-d", "1ms", "-o", "/dev/null"])

    with rps(loopback.client, True):
        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for _ in range(3):
                account, stopped = burst(loopback, threads=2, parallel=64)
                check(account, stopped)
        finally:
            stop.set()
            thread.join()


def test_burst_blocking(loopback):
    account, stopped = burst(loopback)
    assert check(account, stopped) == dict.fromkeys(stopped.summary["lost"], 0)
    # Each 4-tuple once, and no row twice.
    ports = [(r["laddr"], r["lport"]) for r in stopped.rows]
    assert len(ports) == BURST


def test_ring_full(loopback):
    """A ring of one page and a reader that is held up."""
    account, stopped = burst(loopback, "--buffer", "4k", stop=True, count=2000)
    lost = check(account, stopped)
    # A row takes 104 bytes and a header of 8.
    assert len(stopped.rows) == 4096 // 112
    assert lost["ring_full"] == account["made"] - len(stopped.rows) > 0
    assert sum(lost.values()) == lost["ring_full"]


def test_reentered(loopback):
    """One copy of the hook alone loses what comes while it runs; the books still balance."""
    with rps(loopback.client, True):
        for _ in range(5):
            account, stopped = burst(loopback, "--debug-single-hook", threads=2, parallel=64,
                                     count=3 * BURST)
            lost = check(account, stopped)
            assert sum(lost.values()) == lost["reentered"]
            if lost["reentered"]:
                return
    pytest.fail("not one event was re-entered in 150,000 connects")


def test_no_state(veth):
    """Socket storage is charged to the socket's option memory, which can be made short."""
    try:
        before = veth.client.sysctl("net.core.optmem_max", 64)
    except FileNotFoundError:
        pytest.skip("net.core.optmem_max is not per namespace on this kernel (since 6.9)")
    try:
        with traffic.Server(veth.server, veth.server_v4) as server, \
                Tracer("connect", "--json", "--netns", veth.client.inode) as t:
            pids = {traffic.connect_once(veth.client, server.addr, server.port).pid
                    for _ in range(5)}
            stopped = t.stop()
    finally:
        veth.client.sysctl("net.core.optmem_max", before)
    assert len(pids) == 5 and stopped.rows == []
    lost = stopped.summary["lost"]
    assert lost["no_state"] == sum(lost.values()) == 5


def test_keys_full(loopback):
    """A table of seven keys keeps these seven; the rest is counted."""
    server = traffic.StormServer(loopback.server, "127.0.0.1")
    with server, Tracer("connect", "--json", "--hist", "--by", "lport", "--max-keys", "7",
                        "--netns", loopback.client.inode) as t:
        account = traffic.storm(loopback.client, "127.0.0.1", server.port, 1000, reset_close=True)
        stopped = t.stop()
    assert len(stopped.rows) == 7
    counted = sum(r["count"] for r in stopped.rows)
    lost = stopped.summary["lost"]
    assert lost["keys_full"] == sum(lost.values()) > 0
    assert counted + lost["keys_full"] == account["made"] == 1000
    assert stopped.summary["events"] == counted


def test_keys_full_from_many_cpus(loopback):
    """Two CPUs that insert the same new key at once: one slot, no value lost."""
    server = traffic.StormServer(loopback.server, "127.0.0.1")
    for _ in range(5):
        with Tracer("connect", "--json", "--hist", "--by", "outcome,comm,raddr",
                    "--netns", loopback.client.inode) as t:
            account = traffic.storm(loopback.client, "127.0.0.1", server.port, 2000,
                                    threads=2, reset_close=True)
            stopped = t.stop()
        assert len(stopped.rows) == 1
        assert stopped.rows[0]["count"] + sum(stopped.summary["lost"].values()) == account["made"]
    server.stop()


def test_loss_is_said_in_table_mode(loopback):
    server = traffic.StormServer(loopback.server, "127.0.0.1")
    with server, Tracer("connect", "--buffer", "4k", "--netns", loopback.client.inode) as t:
        t.signal(signal.SIGSTOP)
        try:
            account = traffic.storm(loopback.client, "127.0.0.1", server.port, 500,
                                    reset_close=True)
        finally:
            t.signal(signal.SIGCONT)
        stopped = t.stop()
    rows = sum("established" in line for line in t.lines)
    lost = account["made"] - rows
    assert lost > 0
    said = re.findall(r"tcplat: warning: (.*)", stopped.stderr)
    assert said[0].startswith(f"lost {lost} (ring_full): the ring buffer was full")
    assert said[1] == f"events {rows}, lost {lost}, still open 0, begun before tracing 0"
