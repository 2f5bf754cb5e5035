# SPDX-License-Identifier: GPL-2.0-or-later
"""The process that makes the traffic: run by traffic.py, told what to do by a line of JSON.

It is a process of its own so that its pid, threads and comm are those of nobody else. It says
what happens in lines of JSON and ends at the end of its input.
"""

import ctypes
import errno
import json
import os
import selectors
import select
import socket
import struct
import sys
import threading
import time

PR_SET_NAME = 15
IPPROTO_MPTCP = 262
TCP_FASTOPEN = 23
TCP_FASTOPEN_CONNECT = 30
TCPI_OPT_SYN_DATA = 32

libc = ctypes.CDLL(None, use_errno=True)


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def order():
    """The next line of input, "" at its end."""
    return sys.stdin.readline().strip()


def new_socket(spec):
    family = socket.AF_INET6 if ":" in spec["addr"] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP if spec.get("mptcp") else 0)
    for level, option, value in spec.get("sockopts", ()):
        sock.setsockopt(level, option, value)
    return sock


# --- server --------------------------------------------------------------------------------------


class Server:
    """Accepts, then: close, echo, discard (read until the end), keep (open), ignore (no accept)."""

    def __init__(self, spec):
        self.mode = spec["mode"]
        self.accepted = 0
        self.kept = []
        self.selector = selectors.DefaultSelector()
        self.sock = new_socket(spec)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if spec.get("fastopen"):
            self.sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, spec["fastopen"])
        self.sock.bind((spec["addr"], spec["port"]))
        self.sock.listen(spec["backlog"])
        self.sock.setblocking(False)

    def accept(self):
        try:
            conn = self.sock.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.accepted += 1
        if self.mode == "close":
            conn.close()
        elif self.mode == "keep":
            self.kept.append(conn)
        else:
            self.selector.register(conn, selectors.EVENT_READ, self.read)

    def read(self, conn):
        try:
            data = conn.recv(65536)
            if data and self.mode == "echo":
                conn.setblocking(True)
                conn.sendall(data)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(conn)
            conn.close()

    def run(self):
        if self.mode != "ignore":
            self.selector.register(self.sock, selectors.EVENT_READ, lambda _: self.accept())
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        say(ready=True, port=self.sock.getsockname()[1])
        while True:
            for key, _ in self.selector.select():
                if key.data:
                    key.data(key.fileobj)
                elif order():
                    say(accepted=self.accepted)
                else:
                    return


# --- client --------------------------------------------------------------------------------------


class Attempt:
    """One connect(), with what its own clock says about it."""

    def __init__(self, spec):
        self.spec = spec
        self.error = 0
        self.tid = self.ended = None
        self.under_way = False
        self.more = {}
        self.target = (spec["addr"], spec["port"])
        self.sock = new_socket(spec)
        if spec["fastopen"]:
            self.sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        if spec["source"]:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind(tuple(spec["source"]))
        self.sock.setblocking(spec["mode"] == "blocking")
        self.local = self.sock.getsockname()[:2]

    def connect(self):
        self.tid = threading.get_native_id()
        self.wall = time.time()
        self.began = time.monotonic_ns()
        self.error = self.sock.connect_ex(self.target)
        self.ended = time.monotonic_ns()
        self.note_local()
        if self.error == errno.EINPROGRESS:
            self.error = 0
            self.under_way = True
            say(connecting=True, tid=self.tid, laddr=self.local[0], lport=self.local[1])

    def note_local(self):
        """A failed attempt has lost its address, or its port too: what was seen before stays."""
        laddr, lport = self.sock.getsockname()[:2]
        if lport and (laddr not in ("0.0.0.0", "::") or lport != self.local[1]):
            self.local = laddr, lport

    def wait(self, timeout_ms):
        """Until a connect under way has ended; False when the time was up before."""
        with select.epoll() as epoll:
            epoll.register(self.sock, select.EPOLLOUT)
            if not epoll.poll(None if timeout_ms is None else timeout_ms / 1000):
                return False
        self.ended = time.monotonic_ns()
        self.error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.note_local()
        return True

    def abort(self, how):
        self.more = self.info()
        self.ended = time.monotonic_ns()
        if how == "close":
            self.sock.close()
        else:
            unspec = struct.pack("=H14x", socket.AF_UNSPEC)
            if libc.connect(self.sock.fileno(), unspec, len(unspec)):
                raise OSError(ctypes.get_errno(), "connect(AF_UNSPEC)")
        self.more["aborted"] = True

    def talk(self):
        """Sends the payload after an idle time and waits for as much to come back."""
        payload = bytes.fromhex(self.spec["payload"])
        threading.Event().wait(self.spec["idle_ms"] / 1000)
        self.sock.setblocking(True)
        wrote = time.monotonic_ns()
        self.sock.sendall(payload)
        left = len(payload)
        while left and (data := self.sock.recv(left)):
            left -= len(data)
        replied = time.monotonic_ns()
        self.more = {"wrote_us": (wrote - self.began) / 1000,
                     "replied_us": (replied - self.began) / 1000}

    def info(self):
        try:
            info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        except OSError:  # closed, or MPTCP without a subflow
            return {}
        words = struct.unpack_from("=24I", info, 8)
        return {
            "syn_data": bool(info[5] & TCPI_OPT_SYN_DATA),
            "rtt_us": words[15],
            "retransmits": words[23],
        }

    def run(self):
        if self.spec["mode"] == "thread":
            thread = threading.Thread(target=self.connect)
            thread.start()
            thread.join()
        else:
            self.connect()
        how = self.spec["abort"]
        if self.under_way and not self.wait(self.spec["abort_after_ms"] if how else None):
            self.abort(how)
        if self.spec["payload"] and not self.error:
            self.talk()
        say(result={
            "pid": os.getpid(), "tid": self.tid, "wall": self.wall,
            "laddr": self.local[0], "lport": self.local[1],
            "raddr": self.target[0], "rport": self.target[1],
            "error": errno.errorcode[self.error] if self.error else None,
            "latency_us": (self.ended - self.began) / 1000, **self.info(), **self.more,
        })


def run_client(spec):
    if spec["comm"]:
        # inherited by the threads
        libc.prctl(PR_SET_NAME, ctypes.c_char_p(bytes.fromhex(spec["comm"])), 0, 0, 0)
    say(ready=True)
    if order() != "go":
        return
    kept = []
    for _ in range(spec["repeat"]):
        attempt = Attempt(spec)
        attempt.run()
        if spec["keep"]:
            kept.append(attempt)
        else:
            attempt.sock.close()
    say(done=True)
    order()


def main():
    spec = json.loads(order())
    if spec["role"] == "server":
        Server(spec).run()
    else:
        run_client(spec)


main()
