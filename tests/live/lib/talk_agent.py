# SPDX-License-Identifier: GPL-2.0-or-later
"""A process with TCP sockets that does what it is told, one order after the other: see talk.py.

Orders and answers are lines of JSON. It ends at the end of its input.
"""

import ctypes
import json
import os
import select
import socket
import struct
import sys
import threading

PR_SET_NAME = 15

libc = ctypes.CDLL(None, use_errno=True)
socks = {}


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def where(name):
    sock = socks[name]
    return {"local": sock.getsockname()[:2], "remote": sock.getpeername()[:2]}


def new(addr):
    sock = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what accept() returns inherits it
    return sock


def listen(name, addr, port=0):
    sock = socks[name] = new(addr)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((addr, port))
    sock.listen(64)
    return {"port": sock.getsockname()[1]}


def accept(name, listener):
    socks[name] = socks[listener].accept()[0]
    return where(name)


def connect(name, addr, port, source=None):
    sock = socks[name] = new(addr)
    if source:
        sock.bind((source, 0))
    sock.connect((addr, port))
    return where(name)


def send(name, nbytes):
    socks[name].sendall(bytes(nbytes))


def take(sock, nbytes):
    left = nbytes
    while left:
        data = sock.recv(min(left, 1 << 16))
        if not data:
            break
        left -= len(data)
    return nbytes - left


def recv(name, nbytes):
    """How much came before its end; -errno when it fails."""
    try:
        return {"got": take(socks[name], nbytes)}
    except OSError as error:
        return {"got": -error.errno}


def recv_in_thread(name, nbytes):
    """As another thread, whose id is answered."""
    report = {}

    def work():
        report["tid"] = threading.get_native_id()
        report["got"] = take(socks[name], nbytes)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return report


def ping(name, count, size=100, gap_ms=0):
    for _ in range(count):
        socks[name].sendall(bytes(size))
        if take(socks[name], size) < size:
            raise OSError("the other end has closed")
        if gap_ms:
            select.select([], [], [], gap_ms / 1000)


def echo(name, count, size=100):
    for _ in range(count):
        take(socks[name], size)
        socks[name].sendall(bytes(size))


def fork(name):
    """A child with the same sockets, told through the orders "child …" from then on."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        ours.close()
        channel = theirs.makefile("rw")
        for line in channel:
            channel.write(json.dumps(obey(json.loads(line))) + "\n")
            channel.flush()
        os._exit(0)
    theirs.close()
    socks[name] = ours
    return {"pid": pid}


def child(name, order):
    channel = socks[name].makefile("rw")
    channel.write(json.dumps(order) + "\n")
    channel.flush()
    return json.loads(channel.readline())


def info(name):
    raw = socks[name].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
    words = struct.unpack_from("=24I", raw, 8)
    return {"state": raw[0], "rtt": words[15], "rcv_rtt": words[21], "retrans": words[23],
            "unacked": words[4],
            "min_rtt": struct.unpack_from("=I", raw, 148)[0]}


def shutdown(name):
    socks[name].shutdown(socket.SHUT_WR)


def close(name):
    socks.pop(name).close()


def reset(name):
    """Closes it with an RST instead of a FIN."""
    socks[name].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    close(name)


def comm(name):
    libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def uid(number):
    os.setuid(number)


ORDERS = {order.__name__: order for order in (
    listen, accept, connect, send, recv, recv_in_thread, ping, echo, fork, child, info, shutdown,
    close, reset, comm, uid)}


def obey(order):
    try:
        return {"done": True, **(ORDERS[order.pop("do")](**order) or {})}
    except OSError as error:
        return {"failed": str(error)}


for line in sys.stdin:
    say(**obey(json.loads(line)))
