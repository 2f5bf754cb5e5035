# SPDX-License-Identifier: GPL-2.0-or-later
"""Real programs that talk over TCP, many at once, bounded so that a capture loses nothing.

Each kind of traffic on each path has a port of its own, by which it is known in a capture.
"""

import concurrent.futures
import contextlib
import dataclasses
import signal
import socket
import subprocess
import textwrap
import typing

from . import talk, traffic
from .process import Child, until

LANES = 6  # programs that run at once
BIG = 60_000  # bytes of a page; of all that is sent at once on a path that loses packets


@dataclasses.dataclass(frozen=True)
class Kind:
    name: str
    run: typing.Callable  # (site, port); returns when its programs have ended
    answer: typing.Optional[str] = "SYN-ACK"  # to its SYNs
    # How many connections its programs may close without having read everything, or before they
    # are established, and how many bytes each of these may leave. Of others none may be like that.
    leaves: int = 0
    unread: typing.Optional[int] = None


@dataclasses.dataclass(frozen=True)
class Site:
    """A path with the servers on it."""

    name: str
    path: typing.Any
    port: int  # of the first kind; that of each further one is one higher
    scratch: typing.Any

    def ports(self):
        return {self.port + i: kind for i, kind in enumerate(KINDS)}

    def url(self, family, port, page="small", scheme="http"):
        addr = self.path.server_addr(family)
        return f"{scheme}://{f'[{addr}]' if family == 6 else addr}:{port}/{page}"

    def client(self, *argv, timeout=30):
        """A program at the client's end."""
        done = self.path.client.run([*map(str, argv)], timeout=timeout, check=False)
        if done.returncode:
            raise RuntimeError(f"{argv}: status {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout


# --- what they do --------------------------------------------------------------------------------


def _curl(*options, scheme="http", pages=("small",) * 8 + ("big",)):
    def run(site, port):
        for family in (4, 6):
            site.client("curl", "-sS", "--fail", "-k", "--noproxy", "*", *options,
                        *(arg for page in pages
                          for arg in ("-o", "/dev/null", site.url(family, port, page, scheme))))

    return run


def _upload(site, port):
    page = site.scratch / "big"
    _curl("--data-binary", f"@{page}", "-H", "Expect:", pages=("upload",) * 2)(site, port)


def _wrk(family, *options, scheme="http"):
    """Four connections for a second; the script lets each wait between requests."""
    def run(site, port):
        site.client("wrk", "-t1", "-c4", "-d1", "-s", site.scratch / "delay.lua", *options,
                    site.url(family, port, scheme=scheme))

    return run


def _iperf3(*options):
    """A second, at most 8 Mbit in it."""
    def run(site, port):
        for family in (4, 6):
            server = ["iperf3", "-s", "-1", "--forceflush", "-p", port]
            with Child(server, site.path.server) as child:
                if not child.out.find("Server listening", 10):
                    raise RuntimeError(f"{child} does not listen: {child.err.text()}")
                site.client("iperf3", "-c", site.path.server_addr(family), "-p", port, "-t1",
                            "-b8M", "-l8K", *options)
                child.wait(20)

    return run


def _requests(site, port):
    """Connections that send a little, get it back and close."""
    for family in (4, 6):
        addr = site.path.server_addr(family)
        with traffic.Server(site.path.server, addr, port, mode="echo"), traffic.Client(
                site.path.client, addr, port, payload=bytes(3000), repeat=8) as client:
            client.go()
            for _ in range(8):
                assert client.result().established


def _talk(site, port):
    """Request and response, then as much as the path takes, each way."""
    for family in (4, 6):
        with talk.talk(site.path, family, port=port) as one:
            one.ping(20)
            one.bulk(BIG)
            one.bulk(BIG, up=False)
            one.close()


def _refused(site, port):
    for family in (4, 6):
        account = traffic.storm(site.path.client, site.path.server_addr(family), port, 10)
        assert account["failed"] == {"ECONNREFUSED": 10}, account


def _black_holed(site, port):
    """A SYN and another, and the client gives up."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(traffic.Client(
            site.path.client, site.path.server_addr(family), port,
            sockopts=[(socket.IPPROTO_TCP, traffic.TCP_SYNCNT, 1)])) for family in (4, 6, 4)]
        for client in clients:
            client.go()
        assert {client.result().error for client in clients} == {"ETIMEDOUT"}


_CLOSE = ("-H", "Connection: close")

# of TLS 1.2, with which an end says that it closes; nobody waits for it
ALERT = 31

# The slow ones come first, so that no lane is left with them at the end.
KINDS = (
    Kind("black-holed", _black_holed, answer=None),
    Kind("iperf3", _iperf3(), leaves=2),
    Kind("iperf3 -R", _iperf3("-R"), leaves=2),
    Kind("wrk kept", _wrk(4), leaves=4),
    Kind("wrk closing", _wrk(6, *_CLOSE), leaves=4),
    Kind("wrk TLS", _wrk(6, scheme="https"), leaves=4),
    Kind("curl kept", _curl()),
    Kind("curl closing", _curl(*_CLOSE)),
    Kind("curl TLS kept", _curl(scheme="https")),
    Kind("curl TLS closing", _curl(*_CLOSE, scheme="https"), leaves=18, unread=ALERT),
    Kind("curl upload", _upload),
    Kind("python requests", _requests),
    Kind("python bulk", _talk),
    Kind("refused", _refused, answer="RST"),
)


# --- what they need ------------------------------------------------------------------------------


def prepare(scratch):
    """Pages, a script and a certificate that signs itself."""
    (scratch / "small").write_bytes(b"s" * 600)
    (scratch / "big").write_bytes(b"b" * BIG)
    (scratch / "delay.lua").write_text("function delay() return 10 end\n")
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=test",
                    "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-keyout", scratch / "key", "-out", scratch / "certificate"],
                   check=True, capture_output=True, timeout=30)


def _nginx_conf(site):
    listen = []
    for port, kind in site.ports().items():
        if kind.name.startswith(("wrk", "curl")):
            ssl = " ssl" if "TLS" in kind.name else ""
            listen += [f"listen {port}{ssl};", f"listen [::]:{port}{ssl};"]
    return textwrap.dedent(f"""\
        daemon off;
        master_process off;
        pid {site.scratch}/{site.port}.pid;
        error_log stderr notice;
        events {{ worker_connections 256; }}
        http {{
          access_log off;
          client_body_temp_path {site.scratch}/{site.port}.body;
          root {site.scratch};
          sendfile on;
          keepalive_requests 10000;
          ssl_protocols TLSv1.2;
          ssl_certificate {site.scratch}/certificate;
          ssl_certificate_key {site.scratch}/key;
          server {{
            {' '.join(listen)}
            location /upload {{ return 204; }}
          }}
        }}
        """)


@contextlib.contextmanager
def served(site):
    """nginx, and the port that answers nothing."""
    conf = site.scratch / f"{site.port}.conf"
    conf.write_text(_nginx_conf(site))
    (black_holed,) = (port for port, kind in site.ports().items() if kind.answer is None)
    site.path.server.run(["nft", "-f", "-"], input=textwrap.dedent(f"""\
        table inet test {{
          chain input {{
            type filter hook input priority 0
            tcp dport {black_holed} drop
          }}
        }}
        """))
    with Child(["nginx", "-p", site.scratch, "-c", conf], site.path.server) as nginx:
        # it listens before it says so
        if not nginx.err.find("event method", 10):
            raise RuntimeError(f"nginx does not start: {nginx.err.text()}")
        try:
            yield
        finally:
            nginx.signal(signal.SIGTERM)


def closed(path):
    """Waits until no connection is left, but for those that only wait for their time."""
    for ns in (path.client, path.server):
        until(lambda n=ns: not n.run(["ss", "-Htn", "state", "connected", "exclude",
                                      "time-wait"]).stdout, 30, "all connections to end")


def run(sites):
    """All kinds on all paths, some at a time; returns when no connection is left."""
    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        jobs = [pool.submit(kind.run, site, site.port + i)
                for i, kind in enumerate(KINDS) for site in sites]
        for job in jobs:
            job.result()
    for site in sites:
        closed(site.path)
