# SPDX-License-Identifier: GPL-2.0-or-later
"""Child processes that are waited for by what they say and by their end, never by time."""

import contextlib
import queue
import select
import shutil
import signal
import subprocess
import threading
import time


def mortal(argv):
    """The command, killed by the kernel should the thread that started it die.

    A test session that is killed takes its children along; what ends at the end of its
    input would do so anyway, a capture or a tracer would not.
    """
    if shutil.which(argv[0]) is None:
        raise FileNotFoundError(argv[0])
    return ["setpriv", "--pdeathsig", "KILL", "--", *map(str, argv)]


class Waiter:
    """Lets a thread tell another that something has changed.

    Not a Condition: an interrupt (Ctrl-C) inside its wait() can leave its lock taken for good.
    """

    def __init__(self):
        self._wake = queue.SimpleQueue()

    def notify(self):
        self._wake.put(None)

    def wait(self, condition, timeout):
        """Until condition() is true, asked after each notify(); its last value."""
        deadline = time.monotonic() + timeout
        while not (value := condition()) and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                # another waiter may have taken our wake-up
                self._wake.get(timeout=min(left, 0.05))
        return value


class Lines:
    """The lines of a pipe, read by a thread so that the writer never blocks."""

    def __init__(self, pipe, on_line=None):
        self._pipe = pipe
        self._on_line = on_line
        self._waiter = Waiter()
        self._lines = []
        self._taken = 0
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        with contextlib.suppress(ValueError):  # closed under us
            for raw in self._pipe:
                # surrogates keep bytes that are no UTF-8, for tests that look for them
                line = raw.decode("utf-8", "surrogateescape").rstrip("\n")
                self._lines.append(line)
                if self._on_line:
                    self._on_line(line)
                self._waiter.notify()
        self._ended = True
        self._waiter.notify()

    def wait(self, condition, timeout):
        """Waits until condition() holds (asked after each line); its value, false at the end."""
        self._waiter.wait(lambda: condition() or self._ended, timeout)
        return condition()

    def find(self, text, timeout):
        """The first line, old or new, that contains the text; None when there is none."""

        def found():
            return next((line for line in self.all() if text in line), None)

        return self.wait(found, timeout) or None

    def next(self, timeout):
        """The next line that was not taken yet; None when there is none."""
        if not self.wait(lambda: len(self._lines) > self._taken, timeout):
            return None
        self._taken += 1
        return self._lines[self._taken - 1]

    def all(self):
        return list(self._lines)

    def text(self):
        return "".join(line + "\n" for line in self.all())

    def join(self, timeout=5):
        self._thread.join(timeout)


class Child:
    """A process with all three streams piped, ended at the latest when its block is left."""

    def __init__(self, argv, ns=None, on_line=None, **popen):
        with ns.entered() if ns else contextlib.nullcontext():
            self.process = subprocess.Popen(
                mortal(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                **popen,
            )
        self.argv = list(argv)
        self.pid = self.process.pid
        self.out = Lines(self.process.stdout, on_line)
        self.err = Lines(self.process.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def send(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def line(self, timeout=10):
        """Its next line on stdout."""
        line = self.out.next(timeout)
        if line is None:
            raise RuntimeError(f"{self} wrote no further line; stderr: {self.err.text()!r}")
        return line

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=10):
        """Its exit status, negative for a signal; everything it wrote has been read by then."""
        status = self.process.wait(timeout)
        self.out.join()
        self.err.join()
        return status

    def stop(self, timeout=5):
        """Ends its input, waits, and insists."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                return self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.signal(number)
        return self.wait(timeout)

    def __repr__(self):
        return f"<{' '.join(map(str, self.argv))[:120]} pid {self.pid} {self.process.poll()}>"


def until(condition, timeout, what):
    """Asks again and again, for things that announce themselves nowhere (/proc, say)."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        select.select([], [], [], 0.001)
    return value
