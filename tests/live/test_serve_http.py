# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's HTTP side, by what stands on the wire: who is answered, what, and who is cut.

The deadlines and the limits one by one: tests/unit/test_http_clients.c and test_http_limits.c.
"""

import contextlib
import http.client
import os
import random
import re
import resource
import socket
import struct
import subprocess
import time

import pytest

from lib import netns
from lib.process import until
from lib.serve import Agent

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
KEPT = 64  # connections
CONNECTIONS, CUT = "tcplat_http_connections", "tcplat_http_connections_cut_total"


@pytest.fixture(scope="module")
def place():
    with netns.NetNS() as ns:
        yield ns


@pytest.fixture(scope="module")
def agent(place):
    with Agent("--netns", place.inode, ns=place) as running:
        running.files = files(running)
        yield running
        assert running.err.all() == [f"tcplat: serving on http://{running.address}/metrics"]


def connect(agent, timeout=10):
    with agent.ns.entered():
        return socket.create_connection((agent.host, agent.port), timeout=timeout)


def rest(sock):
    """All until its end; a reset is one too."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65536):
            got += data
    return got


def ask(agent, request, half=True):
    """What comes for it until the end, which we send too if asked."""
    with connect(agent) as sock:
        # it may have been ended before we have said it all
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(request)
        if half:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        return rest(sock)


def get(path, *headers, method="GET", version="1.1"):
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: x", *headers, "", ""]).encode()


def value_of(page, name):
    return float(next(line for line in page.splitlines() if line.startswith(name + " ")).split()[1])


def value(agent, name):
    """As it is on the page, which may be 200 ms old."""
    return value_of(agent.fetch().body.decode(), name)


def files(agent):
    """What it has open: what is no socket, and how many are."""
    names = []
    for fd in os.listdir(f"/proc/{agent.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/{agent.pid}/fd/{fd}"))
    sockets = [name for name in names if name.startswith("socket:")]
    return sorted(set(names) - set(sockets)), len(sockets)


def assert_alone(agent):
    """Nothing of any connection is left."""
    until(lambda: files(agent) == agent.files, 5, "its descriptors to be those it began with")


# --- what is answered ----------------------------------------------------------------------------


@pytest.mark.parametrize("path, status, kind", [
    ("/metrics", 200, TEXT), ("/metrics?x=1", 200, TEXT), ("/", 200, "text/html; charset=utf-8"),
    ("/-/healthy", 200, "text/plain; charset=utf-8"),
    ("/-/ready", 200, "text/plain; charset=utf-8"),
    ("/metrics/", 404, "text/plain; charset=utf-8"), ("/x", 404, "text/plain; charset=utf-8"),
])
def test_paths(agent, path, status, kind):
    answer = agent.fetch(path)
    assert (answer.status, answer.headers["Content-Type"]) == (status, kind)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    head = agent.fetch(path, "HEAD")
    assert (head.status, head.headers["Content-Type"], head.body) == (status, kind, b"")
    refused = agent.fetch(path, "POST")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_root_page(agent):
    answer = agent.fetch("/")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'"
    page = answer.body.decode()
    assert '<a href="/metrics">' in page and page.startswith("<!DOCTYPE html>\n")
    version = re.fullmatch(r"tcplat (\S+)\n", subprocess.run(
        [agent.argv[0], "-V"], capture_output=True, text=True, check=True, timeout=10).stdout)[1]
    assert f"<h1>tcplat {version}</h1>" in page


@pytest.mark.parametrize("accept, kind", [
    ("*/*", TEXT), ("application/json", TEXT), ("application/openmetrics-text", OPENMETRICS),
    ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
     "text/plain;version=0.0.4;q=0.2,*/*;q=0.1", OPENMETRICS),
    ("application/openmetrics-text;q=0.4,text/plain;q=0.5", TEXT),
    ("application/openmetrics-text;q=0,*/*;q=0.1", TEXT),
])
def test_formats(agent, accept, kind):
    answer = agent.fetch(Accept=accept)
    assert answer.headers["Content-Type"] == kind
    assert answer.body.endswith(b"# EOF\n") == (kind == OPENMETRICS)


def test_old_client(agent):
    """HTTP/1.0 knows no chunks; the end of the connection is the end of the page."""
    head, _, body = ask(agent, get("/metrics", "Connection: keep-alive", version="1.0"),
                        half=False).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and b"chunked" not in head
    assert body.startswith(b"# HELP ") and body.endswith(b"\n")


def test_kept_alive_and_half_closed(agent):
    """Ten in one go on one connection, whose other half is closed; each is answered in order."""
    got = ask(agent, (get("/-/healthy") + get("/x")) * 5 + get("/metrics"))
    assert re.findall(rb"HTTP/1\.1 (\d+) ", got) == [b"200", b"404"] * 5 + [b"200"]
    assert got.endswith(b"\r\n0\r\n\r\n")


def test_body_is_not_read(agent):
    got = ask(agent, get("/-/healthy", "Content-Length: 1000000") + get("/metrics"), half=False)
    assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"\r\n\r\nok\n")


# --- what should not be there --------------------------------------------------------------------


def test_too_large(agent):
    assert ask(agent, get("/", "X: " + "a" * 9000)).startswith(b"HTTP/1.1 431 ")
    assert ask(agent, get("/", "X: " + "a" * 1000000)).startswith(b"HTTP/1.1 431 ")
    assert ask(agent, get("/" + "a" * 1024)).startswith(b"HTTP/1.1 414 ")
    assert ask(agent, get("/" + "a" * 1000000)).startswith(b"HTTP/1.1 414 ")


def test_garbage(agent):
    """Whatever it is: no answer or an error, an end, and the agent goes on as before."""
    source = random.Random(5)
    for size in [0, 1, 2, 7, 100, 1000, 5000, 20000, 100000] * 10:
        data = source.randbytes(size)
        for sent in (data, data + b"\r\n\r\n", b"GET " + data + b" HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\n" + data + b"\r\n\r\n"):
            got = ask(agent, sent)
            assert not got or re.match(rb"HTTP/1\.1 (200|4\d\d|505) ", got), (sent[:100], got)
    assert_alone(agent)


def test_resets(agent):
    """Clients that go away when they have asked, or before, leave nothing behind."""
    for i in range(300):
        with connect(agent) as sock:
            sock.sendall([get("/metrics"), get("/metrics")[:9], get("/") * 20][i % 3])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", i % 2, 0))
    assert_alone(agent)


def test_those_that_do_not_ask(agent):
    """However they pass their time, ten seconds after their beginning they are cut."""
    before = value(agent, CUT)
    tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    beginnings = [b"", b"GET /metrics HTTP/1.1\r\n", tls]
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(agent)) for _ in beginnings]
        begun = time.monotonic()
        for sock, data in zip(socks, beginnings):
            sock.sendall(data)
        trickling = socks[1]
        trickling.settimeout(0.1)
        # each try is a wait for an end that is not there yet
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - begun < 15:
                trickling.sendall(b"X: y\r\n")
                with contextlib.suppress(TimeoutError):
                    assert trickling.recv(1) == b""
                    break
        assert 9.5 < time.monotonic() - begun < 12
        for sock in socks:
            assert rest(sock) == b""
        assert 9.5 < time.monotonic() - begun < 12
    assert value(agent, CUT) == before + len(beginnings)


# --- many at once --------------------------------------------------------------------------------


@pytest.fixture
def many_descriptors():
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, old[1]), old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, old)


@pytest.mark.parametrize("begun", [b"", b"GET /metrics HTTP/1.1\r\nX: "], ids=["idle", "begun"])
def test_thousand_connections(agent, many_descriptors, begun):
    """They never keep a scrape out, and each that had to go is counted."""
    before = value(agent, CUT)
    assert_alone(agent)
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(connect(agent)).sendall(begun)
        start = time.monotonic()
        scrape = http.client.HTTPConnection(agent.host)
        scrape.sock = stack.enter_context(connect(agent, timeout=5))

        def new_page():
            scrape.request("GET", "/metrics")
            page = scrape.getresponse().read().decode()
            return page if value_of(page, CUT) != before else None

        page = until(new_page, 5, "a page of now")
        assert time.monotonic() - start < 2
        assert value_of(page, CUT) == before + 1001 - KEPT
        assert value_of(page, CONNECTIONS) == KEPT
    assert_alone(agent)


def test_scrapes_at_once(agent):
    """Fifty that ask in one moment have one page, of one reading of the kernel's maps."""
    before = value(agent, "tcplat_scrapes_total")
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(agent)) for _ in range(50)]
        begun = time.monotonic()
        for sock in socks:
            sock.sendall(get("/metrics", "Connection: close"))
        pages = [rest(sock).partition(b"\r\n\r\n")[2] for sock in socks]
        took = time.monotonic() - begun
    assert all(page.endswith(b"\r\n0\r\n\r\n") for page in pages)
    # of ourselves it says what is true when it is written
    kinds = {re.sub(rb"(?m)^process_.*$|^[0-9A-F]+\r$", b"", page) for page in pages}
    assert len(kinds) <= 1 + took / 0.2
    until(lambda: value(agent, "tcplat_scrapes_total") > before + 50, 5, "fifty to be counted")


# --- where it listens ----------------------------------------------------------------------------


def serving_on(agent):
    return re.findall(r"serving on http://(\S+)/metrics", agent.err.text())


def test_default_addresses(place):
    with Agent("--netns", place.inode, listen=None, ns=place) as agent:
        assert agent.err.wait(lambda: len(serving_on(agent)) == 2, 5)
        assert serving_on(agent) == ["127.0.0.1:9762", "[::1]:9762"]
        with place.entered():
            for host in ("127.0.0.1", "::1"):
                with socket.create_connection((host, 9762), timeout=5) as sock:
                    sock.sendall(get("/-/healthy", "Connection: close"))
                    assert rest(sock).endswith(b"ok\n")


def test_without_ipv6(place):
    """":PORT" is every address there is; of the default, what there is."""
    old = place.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    try:
        with Agent("--netns", place.inode, listen=None, ns=place) as agent:
            assert agent.fetch("/-/healthy").body == b"ok\n"
            assert serving_on(agent) == ["127.0.0.1:9762"]
    finally:
        place.sysctl("net.ipv6.conf.all.disable_ipv6", old)


def test_every_address(place):
    with Agent("--netns", place.inode, listen=":0", ns=place) as agent:
        (address,) = serving_on(agent)
        assert re.fullmatch(r"\[::\]:\d+", address)
        with place.entered():
            for host in ("127.0.0.1", "::1"):
                with socket.create_connection((host, agent.port), timeout=5) as sock:
                    sock.sendall(get("/-/healthy", "Connection: close"))
                    assert rest(sock).endswith(b"ok\n")
