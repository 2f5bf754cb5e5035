# SPDX-License-Identifier: GPL-2.0-or-later
"""A process of the soak: run by soak_load.py under a name of its own, it counts what it does.

    talk NAME CONNECTIONS MESSAGES REFUSED   connections one after the other, then an answer
    dead NAME FILE OPEN UNREAD               attempts and unread data; connects until it is killed
    hold NAME CONNECTIONS                    opens so many, then "touch N" of them per line of input
"""

import ctypes
import json
import mmap
import resource
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)

NOBODY = ("127.0.0.1", 1)  # is not listened to in a namespace of the soak's own
SILENCE = ("10.77.1.7", 7)  # an address beyond the veth of a machine that is not there
HOSTS = 4  # addresses of lo that the held connections go to


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def pair(server):
    one = socket.create_connection(server.getsockname())
    two = server.accept()[0]
    for end in (one, two):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, two


def pass_byte(source, sink):
    """One arrival, and one read that takes it."""
    source.send(b"x")
    assert sink.recv(10) == b"x"


def refused():
    with socket.socket() as sock:
        assert sock.connect_ex(NOBODY)


def talk(connections, messages, refusals):
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(int(connections)):
            one, two = pair(server)
            for _ in range(int(messages)):
                pass_byte(one, two)
                pass_byte(two, one)
            two.close()
            one.close()
    for _ in range(int(refusals)):
        refused()
    # these stay open until the namespace goes
    left = [pair(server) for server in [socket.create_server(("127.0.0.1", 0))] for _ in range(5)]
    for one, _ in left:
        one.send(b"nobody reads this")
    say(established=int(connections) + len(left), refused=int(refusals),
        reads=2 * int(connections) * int(messages))
    sys.stdin.readline()


def dead(path, count, unread):
    """Ends by SIGKILL; the file then says how many connects it had begun, and ended, last."""
    trying = [socket.socket() for _ in range(int(count))]
    for sock in trying:
        sock.setblocking(False)
        sock.connect_ex(SILENCE)
    server = socket.create_server(("127.0.0.1", 0))
    ends = [pair(server) for _ in range(int(unread))]
    for one, _ in ends:
        one.send(b"nobody reads this")
    with open(path, "r+b") as file:
        counted = mmap.mmap(file.fileno(), 16)
    say(aborted=len(trying), established=len(ends))
    number = 0
    while True:
        counted[:8] = struct.pack("=Q", number + 1)
        refused()
        number += 1
        counted[8:] = struct.pack("=Q", number)


def hold(count):
    count = int(count)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * count + 100, max(hard, 2 * count + 100)))
    servers = [socket.create_server((f"127.0.0.{2 + i}", 0)) for i in range(HOSTS)]
    held = [pair(servers[i % HOSTS]) for i in range(count)]
    say(established=count)
    at = 0
    for line in sys.stdin:
        for _ in range(int(line.split()[1])):
            pass_byte(*held[at % count])
            at += 1
        say(touched=at)


def main():
    name = sys.argv[2].encode()
    libc.prctl(15, ctypes.c_char_p(name), 0, 0, 0)  # PR_SET_NAME
    {"talk": talk, "dead": dead, "hold": hold}[sys.argv[1]](*sys.argv[3:])


if __name__ == "__main__":
    main()
