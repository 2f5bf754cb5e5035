# SPDX-License-Identifier: GPL-2.0-or-later
"""More keys than there is room for: what is folded, what returns, and that no count is lost."""

import contextlib
import errno
import os
import pathlib
import re
import socket
import subprocess
import threading

import pytest

from lib.netns import NetNS
from lib.serve import Agent

PORT = 7100
NET = "10.77.0.0/16"

# Of a page with --max-series 1000: some 24 series of one measurement.
FEW = ("--max-series", "1000")


@pytest.fixture
def crowd():
    """A namespace in which each address of NET is its own, and answers."""
    with NetNS() as ns:
        ns.ip("route", "add", "local", NET, "dev", "lo")
        yield ns


def address(number):
    return f"10.77.{number // 256}.{number % 256}"


class Sink:
    """Accepts, and reads until the other side closes; counts bytes."""

    def __init__(self, ns):
        with ns.entered():
            self.listener = socket.create_server(("", PORT), backlog=4096)
        self.bytes = 0
        self.threads = []
        self.acceptor = threading.Thread(target=self._accept)
        self.acceptor.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                one, _ = self.listener.accept()
                self._take(one)

    def _take(self, one):
        with one:
            while data := one.recv(65536):
                self.bytes += len(data)
                one.sendall(data[:1])

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join()
        self.listener.close()


@pytest.fixture
def sink(crowd):
    one = Sink(crowd)
    yield one
    one.close()


def visit(ns, numbers, size=10):
    """One after the other: connects, sends, waits until it was read, closes."""
    with ns.entered():
        for number in numbers:
            with socket.create_connection((address(number), PORT)) as one:
                one.sendall(b"x" * size)
                assert one.recv(1)


def agent(ns, *args):
    return Agent("--netns", ns.path, "--by", "raddr", *args)


def when(tracer, condition, tries=200):
    """The first page that satisfies it. Pages are made anew after 200 ms at the latest."""
    for _ in range(tries):
        page = tracer.scrape()
        if condition(page):
            return page
        # Not to synchronise: a page is shared for so long, and asking more often is no use.
        threading.Event().wait(0.05)
    raise AssertionError(f"it never came; the last page was\n{page.text}")


def after(tracer, connects):
    """The page in which so many connects have been counted."""
    page = when(tracer, lambda page: page.value("tcplat_events_total",
                                                measurement="connect") >= connects)
    assert page.value("tcplat_events_total", measurement="connect") == connects
    return page


def lines(page):
    return len(page.text.splitlines())


COUNTERS = ("tcplat_connects_total", "tcplat_pickup_bytes_total", "tcplat_events_total")


def test_ten_thousand_addresses(crowd, sink):
    """Scraped all the time, while each of them is new."""
    count = 10000
    with agent(crowd) as tracer:
        before = dict.fromkeys(COUNTERS, 0)
        visitor = threading.Thread(target=visit, args=(crowd, range(count)))
        visitor.start()
        while visitor.is_alive():
            page = tracer.scrape()
            assert lines(page) <= 20000
            for name in COUNTERS:
                assert page.total(name) >= before[name], name
                before[name] = page.total(name)
        visitor.join()
        page = after(tracer, count)
        assert lines(page) <= 20000
        assert page.lost() == {}
        assert page.total("tcplat_connects_total") == count
        assert page.total("tcplat_connects_total", outcome="established") == count
        # Both sides read: what was sent, and the byte in answer.
        assert page.total("tcplat_pickup_bytes_total") == 11 * count == sink.bytes + count
        for name, events in (("connect_duration", "connect"), ("rtt", "rtt"), ("pickup", "pickup")):
            counts = sum(one.count for one in page.histograms(f"tcplat_{name}_seconds"))
            assert counts == page.value("tcplat_events_total", measurement=events), name
        assert page.value("tcplat_keys_refused_total") > 0
        assert page.value("tcplat_series_folded_total") > 0
        assert page.value("tcplat_connects_total", outcome="established", other="true") > 0
        assert page.value("tcplat_keys") <= page.value("tcplat_keys_limit")


def test_few_keys_fold_nothing(crowd, sink):
    with agent(crowd) as tracer:
        visit(crowd, range(20))
        page = after(tracer, 20)
        assert page.total("tcplat_connects_total", other="true") == 0
        assert page.value("tcplat_series_folded_total") == 0
        assert page.value("tcplat_keys_refused_total") == 0
        assert [page.value("tcplat_connects_total", outcome="established", raddr=address(n))
                for n in range(20)] == [1] * 20


@pytest.mark.parametrize("args", (FEW, ("--edges", "fine", "--max-series", "5000"),
                                  ("--split", *FEW)), ids=lambda args: " ".join(args))
def test_least_page(crowd, sink, args):
    """Of as few lines as may be asked for, with one for others of each kind and several outcomes."""
    with agent(crowd, *args) as tracer:
        visit(crowd, range(100))
        with crowd.entered(), socket.socket() as one:
            for port in (1, 2, 3):
                assert one.connect_ex((address(port), port)) == errno.ECONNREFUSED
        page = after(tracer, 103)
        most = page.value("tcplat_page_lines_limit")
        assert lines(page) <= page.value("tcplat_page_lines") <= most
        assert page.total("tcplat_connects_total", outcome="established") == 100
        assert page.total("tcplat_connects_total", outcome="refused") == 3


def of(page, number):
    return page.value("tcplat_connects_total", outcome="established", raddr=address(number))


def test_longest_unused_goes_first(crowd, sink):
    """And starts anew when it comes back, while what it had counted stays with the others."""
    with agent(crowd, *FEW) as tracer:
        visit(crowd, [1, 1, 1])
        assert of(after(tracer, 3), 1) == 3
        visit(crowd, [2] * 5)
        assert of(after(tracer, 8), 2) == 5
        # Each visit is three series; nine addresses have room, and in each round the second is.
        for number in range(3, 15):
            visit(crowd, [number, 2])
            page = after(tracer, 8 + 2 * (number - 2))
        assert of(page, 1) == 0
        assert of(page, 2) == 5 + 12
        assert page.value("tcplat_connects_total", outcome="established", other="true") >= 3
        made = 8 + 2 * 12
        assert page.total("tcplat_connects_total") == made
        visit(crowd, [1])
        page = after(tracer, made + 1)
        assert of(page, 1) == 1
        assert page.total("tcplat_connects_total") == made + 1
        assert lines(page) <= 1000


@contextlib.contextmanager
def kept(ns):
    """(ours, theirs): a connection to address 7, beside those that are counted."""
    with ns.entered(), socket.create_server(("", PORT + 1)) as listener:
        ours = socket.create_connection((address(7), PORT + 1))
        theirs, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


def pass_on(theirs, ours, size):
    theirs.sendall(b"y" * size)
    assert len(ours.recv(size, socket.MSG_WAITALL)) == size


def bytes_of(page):
    return page.value("tcplat_pickup_bytes_total", raddr=address(7))


def test_connections_outlive_their_keys(crowd, sink):
    """A socket remembers where it counts: not for longer than that is its own."""
    with agent(crowd, *FEW) as tracer, kept(crowd) as (ours, theirs):
        pass_on(theirs, ours, 500)
        assert bytes_of(after(tracer, 1)) == 500
        made = 1
        for first in range(1000, 1300, 20):
            visit(crowd, range(first, first + 20))
            made += 20
            page = after(tracer, made)
        assert page.value("tcplat_series_folded_total") > 0
        assert bytes_of(page) == 0
        pass_on(theirs, ours, 70)
        page = when(tracer, bytes_of)
        assert bytes_of(page) == 70
        assert page.total("tcplat_pickup_bytes_total") == 570 + 11 * (made - 1)


def test_comes_out_of_the_others(crowd, sink):
    """A connection that found no room has a key of its own once there is some."""
    with agent(crowd, *FEW) as tracer:
        # The kernel's table, full before anybody reads it.
        visit(crowd, range(1000, 1400))
        with kept(crowd) as (ours, theirs):
            pass_on(theirs, ours, 500)
            page = after(tracer, 401)
            assert page.value("tcplat_keys_refused_total") > 0
            assert bytes_of(page) == 0
            # Read again with nothing new in it: keys are idle then, and given back.
            when(tracer, lambda page: page.value("tcplat_keys") <
                 page.value("tcplat_keys_limit") // 2)
            pass_on(theirs, ours, 70)
            page = when(tracer, bytes_of)
            assert bytes_of(page) == 70
            assert page.total("tcplat_pickup_bytes_total") == 570 + 11 * 400


VISITOR = r"""
import os, socket, sys
root, count, host, port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
for line in sys.stdin:
    first = int(line)
    for number in range(first, first + count):
        with open(f"{root}/{number}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
        socket.create_connection((host, port)).close()
    print("made", flush=True)
"""


@pytest.fixture
def groups():
    """Three hundred groups of the hierarchy that the agent chooses."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounts = [line.split() for line in file]
    v1 = [m[1] for m in mounts if m[2] == "cgroup" and "memory" in m[3].split(",")]
    v2 = [m[1] for m in mounts if m[2] == "cgroup2"]
    if not v1 and not v2:
        pytest.skip("no cgroups are mounted here")
    root = pathlib.Path((v1 or v2)[0]) / f"tcplat-{os.getpid()}-keys"
    root.mkdir()
    try:
        for number in range(300):
            (root / str(number)).mkdir()
        yield root
    finally:
        for number in range(300):
            with contextlib.suppress(FileNotFoundError):
                (root / str(number)).rmdir()
        root.rmdir()


def test_keys_of_the_kernel_are_given_back(crowd, sink, groups):
    """Many keys of the kernel, but one series: it goes on as if they had stayed."""
    with Agent("--netns", crowd.path, "--by", "unit", *FEW) as tracer:
        child = crowd.popen(["/usr/bin/python3", "-c", VISITOR, str(groups), "20", address(1),
                             str(PORT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with child:
            for first in range(0, 300, 20):
                child.stdin.write(f"{first}\n")
                child.stdin.flush()
                assert child.stdout.readline() == "made\n"
                page = after(tracer, first + 20)
            child.stdin.close()
        assert page.value("tcplat_connects_total", outcome="established") == 300
        assert page.total("tcplat_connects_total") == 300
        assert page.value("tcplat_keys_refused_total") == 0
        assert page.value("tcplat_series_folded_total") == 0
        assert page.value("tcplat_keys") < page.value("tcplat_keys_limit") < 300


def test_scrapes_at_once_share_a_page(crowd, sink):
    """What a page says of the scrapes before it is the same on all copies of it."""
    request = b"GET /metrics HTTP/1.0\r\n\r\n"
    with agent(crowd) as tracer, contextlib.ExitStack() as stack:
        visit(crowd, range(50))
        after(tracer, 50)
        clients = [stack.enter_context(socket.create_connection((tracer.host, tracer.port)))
                   for _ in range(20)]
        for client in clients:
            client.sendall(request)
        pages = {re.search(rb"^tcplat_scrapes_total (\d+)$", stack.enter_context(
            client.makefile("rb")).read(), re.M)[1] for client in clients}
        assert len(pages) <= 2


def number_of(page):
    return page.value("tcplat_scrapes_total")


def test_slow_readers_hold_few_pages(crowd, sink):
    """Each may have its own for a minute; from the eighth on, all get the newest there is."""
    with agent(crowd) as tracer, contextlib.ExitStack() as stack:
        visit(crowd, range(600))
        after(tracer, 600)
        slow = []
        for _ in range(10):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect((tracer.host, tracer.port))
            one.sendall(b"GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n")
            assert one.recv(15) == b"HTTP/1.1 200 OK"
            slow.append(one)
            # The delay is what is tested: a page is shared for 200 ms.
            threading.Event().wait(0.25)
        held = number_of(tracer.scrape())
        threading.Event().wait(0.25)
        assert number_of(tracer.scrape()) == held
        for one in slow:
            one.close()
        when(tracer, lambda page: number_of(page) > held)
