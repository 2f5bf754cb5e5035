# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces that clean up after themselves, and after sessions that could not."""

import contextlib
import ctypes
import itertools
import os
import re
import select
import signal
import subprocess
import threading

RUN = "/run/netns"
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)
_ours = set()


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, text=True, timeout=30)


def _identity(path):
    st = os.stat(path)
    return st.st_dev, st.st_ino


def _members(path):
    """The processes in a namespace, ourselves excepted."""
    wanted = _identity(path)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            # gone by now, or a zombie: in no namespace any more
            with contextlib.suppress(OSError):
                if _identity(f"/proc/{entry}/ns/net") == wanted:
                    yield int(entry)


def _end_members(path):
    """Kills the processes in a namespace and waits for their end."""
    for _ in range(10):  # one may have forked meanwhile
        fds = []
        for pid in _members(path):
            with contextlib.suppress(ProcessLookupError):
                fd = os.pidfd_open(pid)
                fds.append(fd)
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        if not fds:
            return
        for fd in fds:
            select.select([fd], [], [], 5)
            os.close(fd)


@contextlib.contextmanager
def _uninterrupted():
    """Ctrl-C has to wait for a moment: half of a set-up or a clean-up would leave the other."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = []
    handler = signal.signal(signal.SIGINT, lambda *args: came.append(args))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came and callable(handler):
            handler(*came[0])


class NetNS:
    """A namespace of its own for the time of a with block. Loopback is up."""

    def __init__(self):
        self.name = f"tcplat-{os.getpid()}-{next(_numbers)}"
        self.path = f"{RUN}/{self.name}"
        self._children = []

    def __enter__(self):
        _ours.add(self.name)
        try:
            with _uninterrupted():
                _ip("netns", "add", self.name)
                # Duplicate address detection would keep addresses unusable for a second.
                for scope in ("all", "default"):
                    self.sysctl(f"net.ipv6.conf.{scope}.accept_dad", 0)
                    self.sysctl(f"net.ipv6.conf.{scope}.dad_transmits", 0)
                    self.sysctl(f"net.ipv6.conf.{scope}.router_solicitations", 0)
                self.ip("link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def inode(self):
        return os.stat(self.path).st_ino

    @contextlib.contextmanager
    def entered(self):
        """This thread, and what it starts, is in the namespace.

        Cheaper than `ip netns exec`, leaves the mounts alone, and a process started in it is
        the command itself, not a wrapper with a pid of its own.
        """
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            target = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _setns(target)
            finally:
                os.close(target)
            try:
                yield self
            finally:
                _setns(home)
        finally:
            os.close(home)

    def run(self, cmd, **kw):
        """subprocess.run() inside; checked, captured and text unless told otherwise."""
        kw = {"check": True, "capture_output": True, "text": True, "timeout": 30, **kw}
        if "stdout" in kw or "stderr" in kw:
            del kw["capture_output"]
        with self.entered():
            return subprocess.run(cmd, **kw)

    def popen(self, cmd, **kw):
        """subprocess.Popen() inside; killed with the namespace at the latest."""
        with self.entered():
            child = subprocess.Popen(cmd, **kw)
        self._children.append(child)
        return child

    def ip(self, *args):
        _ip("-n", self.name, *args)

    def sysctl(self, name, value=None):
        """Reads a setting, or writes it and returns what it was."""
        path = "/proc/sys/" + name.replace(".", "/")
        with self.entered():
            with open(path, encoding="ascii") as file:
                old = file.read().strip()
            if value is not None:
                with open(path, "w", encoding="ascii") as file:
                    file.write(str(value))
        return old

    def pids(self):
        return list(_members(self.path))

    def close(self):
        # each step, whatever becomes of the others
        with _uninterrupted(), contextlib.ExitStack() as stack:
            stack.callback(_ours.discard, self.name)
            if os.path.exists(self.path):
                stack.callback(_ip, "netns", "del", self.name)
                stack.callback(_end_members, self.path)
            for child in self._children:
                stack.callback(child.wait, 5)
                stack.callback(child.kill)
        self._children = []

    def __repr__(self):
        return f"<NetNS {self.name}>"


def _is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def sweep():
    """Removes what dead sessions left: their namespaces and the processes in them.

    To be called when a session starts. Returns the names that were removed.
    """
    removed = []
    for name in sorted(os.listdir(RUN)) if os.path.isdir(RUN) else []:
        match = re.fullmatch(r"tcplat-(\d+)-\d+", name)
        if not match or name in _ours:
            continue
        creator = int(match[1])
        # One of our own pid that we did not make is from an earlier life of that number.
        if creator != os.getpid() and _is_running(creator):
            continue
        try:
            _end_members(f"{RUN}/{name}")
            _ip("netns", "del", name)
        except (FileNotFoundError, subprocess.CalledProcessError):
            if os.path.exists(f"{RUN}/{name}"):  # not another session's sweep
                raise
        else:
            removed.append(name)
    return removed
