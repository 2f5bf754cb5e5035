# SPDX-License-Identifier: GPL-2.0-or-later
"""`tcplat serve`: started, scraped and ended."""

import collections
import http.client
import re
import select
import signal
import time

from . import exposition
from .tool import Tracer

Answer = collections.namedtuple("Answer", "status headers body")

ACCEPT = {False: "text/plain;version=0.0.4", True: "application/openmetrics-text;version=1.0.0"}

_READY = re.compile(r"tcplat: serving on http://(\S+):(\d+)/metrics")


class Agent(Tracer):
    """An agent that serves: its ready line has been seen when this returns.

    port is that of its first address; listen=None leaves that to the options, or to the default.
    It answers in the namespace `ns`; what it sees is for the filters to say.
    """

    def __init__(self, *args, listen="127.0.0.1:0", ns=None, env=None, timeout=20, **more):
        listening = ["--listen", listen] if listen else []
        super().__init__("serve", *listening, *args, ready="serving on", verbose=None, ns=ns,
                         env=env, timeout=timeout, **more)
        self.ns = ns
        self.killed = False
        host, port = _READY.fullmatch(self.err.find("serving on", timeout)).groups()
        self.host, self.port = host.strip("[]"), int(port)
        self.address = f"{host}:{port}"

    def fetch(self, path="/metrics", method="GET", timeout=20, **headers):
        """(status, headers, body) of a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            if self.ns:
                with self.ns.entered():
                    connection.connect()
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def scrape(self, openmetrics=False):
        """What it says now, as an exposition.Page."""
        answer = self.fetch(Accept=ACCEPT[openmetrics])
        assert answer.status == 200, answer
        page = exposition.parse(answer.body, answer.headers["Content-Type"])
        assert (page.kind == exposition.OPENMETRICS) == openmetrics, answer.headers
        return page

    def scrape_when(self, condition, timeout=10):
        """The first page that satisfies it; one page is shared by all who ask within 200 ms."""
        deadline = time.monotonic() + timeout
        while not condition(page := self.scrape()):
            if time.monotonic() > deadline:
                shown = [line for line in page.text.splitlines()
                         if not line.startswith("#") and "_bucket{" not in line]
                raise AssertionError("it never came; the last page:\n" + "\n".join(shown))
            select.select([], [], [], 0.02)
        return page

    def stop(self, sig=signal.SIGTERM, timeout=20):
        """Ends it as systemd would, which is no failure; may be called again."""
        stopped = super().stop(sig, timeout)
        assert self.killed or stopped.status == 0, stopped
        return stopped

    def kill(self):
        """At once; nothing of it is asked."""
        self.killed = True
        self.signal(signal.SIGKILL)
        self.wait()
