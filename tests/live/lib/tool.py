# SPDX-License-Identifier: GPL-2.0-or-later
"""The tool under test: started, waited for, read and ended."""

import collections
import contextlib
import json
import signal
import subprocess

from . import binaries
from .process import Child

Stopped = collections.namedtuple("Stopped", "status rows summary stderr")
Run = collections.namedtuple("Run", "stdout stderr status")

READY = "probes attached"


def _with_verbose(args, verbose):
    """The option before the "--" of a command, if there is one."""
    args = [str(arg) for arg in args]
    if not verbose:
        return args
    at = args.index("--") if "--" in args else len(args)
    return [*args[:at], verbose, *args[at:]]


class Tracer(Child):
    """A tracer that traces: its ready line has been seen when this returns.

    rows are the JSON objects on stdout so far; the one with event "summary" is kept apart as
    summary; everything is also in lines. tool: one of the names of the binary, or a path.
    verbose: the option that makes it say its ready line, None if args have it or ready is None.
    """

    def __init__(self, *args, tool="tcplat", ready=READY, verbose="-v", ns=None, timeout=20,
                 env=None):
        self.rows = []
        self.summary = None
        self.malformed = []
        binary = tool if "/" in str(tool) else binaries.tool(tool)
        super().__init__([str(binary), *_with_verbose(args, verbose)], ns, on_line=self._take,
                         env=env)
        if ready is not None and self.err.find(ready, timeout) is None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            status = self.wait()
            raise RuntimeError(f"{self} was never ready ({ready!r}), status {status}; "
                               f"stderr:\n{self.err.text()}")

    def _take(self, line):
        if not line.startswith("{"):
            return
        try:
            line.encode()  # fails for what was no UTF-8
            row = json.loads(line)
        except ValueError:
            self.malformed.append(line)
        else:
            if row.get("event") == "summary":
                self.summary = row
            else:
                self.rows.append(row)

    @property
    def lines(self):
        return self.out.all()

    def matching(self, predicate):
        return [row for row in list(self.rows) if predicate(row)]

    def wait_for(self, predicate, timeout=5, count=1):
        """The first row that satisfies the predicate (with count: a list of that many)."""
        self.out.wait(lambda: len(self.matching(predicate)) >= count, timeout)
        found = self.matching(predicate)
        if len(found) < count:
            raise AssertionError(
                f"{len(found)} of {count} rows came; rows: {self.rows[-20:]}, "
                f"malformed: {self.malformed}, stderr: {self.err.text()[-2000:]}"
            )
        return found[0] if count == 1 else found[:count]

    def finish(self, timeout=20):
        """Waits until it ends by itself (-d, --max-events, a command)."""
        status = self.wait(timeout)
        if self.malformed:
            raise AssertionError(f"not JSON: {self.malformed}")
        return Stopped(status, self.rows, self.summary, self.err.text())

    def stop(self, sig=signal.SIGINT, timeout=20):
        """Interrupts it and waits; (status, rows, summary, stderr). May be called again."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(sig)
        try:
            return self.finish(timeout)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.wait()
            raise


def run_tool(args, timeout=20, tool="tcplat", ns=None, env=None, input=None):
    """A run that ends by itself: (stdout, stderr, status)."""
    binary = tool if "/" in str(tool) else binaries.tool(tool)
    argv = [str(binary), *(str(arg) for arg in args)]
    with ns.entered() if ns else contextlib.nullcontext():
        done = subprocess.run(argv, capture_output=True, timeout=timeout, env=env,
                              input=input.encode() if input is not None else None)
    return Run(done.stdout.decode("utf-8", "surrogateescape"),
               done.stderr.decode("utf-8", "surrogateescape"), done.returncode)


