#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What `sudo ./dev run` shows: real connects and reads of this host, made here and traced.

demo.py TCPLAT          runs tcplat over the traffic below and says how to go on
demo.py traffic DIR     makes connections (a child of tcplat)
demo.py readers         sends data and reads them, early and late (a child of tcplat)
demo.py host DIR        some seconds of all that a host does (a child of tcplat)
demo.py client NAME ADDR PORT SECONDS   one connect, by a process of that name
demo.py ask NAME ADDR PORT SECONDS      questions and answers for so long

All traffic stays on loopback and between two network namespaces that are made
here and removed again.
"""
import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

PYTHON = sys.executable
ME = os.path.abspath(__file__)
PR_SET_NAME = 15
A, B = (f"tcplat-demo-{os.getpid()}-{side}" for side in "ab")


def client(name, addr, port, seconds):
    name_me(name)
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(float(seconds))
        with contextlib.suppress(OSError):
            s.connect((addr, int(port)))


def command(what, name, addr, port, seconds, netns=None):
    into = ["ip", "netns", "exec", netns] if netns else []
    return [*into, PYTHON, ME, what, name, addr, str(port), str(seconds)]


def run_client(name, addr, port, seconds=3.0, netns=None):
    subprocess.run(command("client", name, addr, port, seconds, netns), check=False, timeout=8)


def serve(family, addr):
    """A listener that accepts and closes; ends with this process."""
    s = socket.create_server((addr, 0), family=family)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                s.accept()[0].close()

    threading.Thread(target=accept, daemon=True).start()
    return s.getsockname()[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def ip(*args):
    subprocess.run(["ip", *args], check=True, timeout=5,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def slow_path(build):
    """Two namespaces joined by a line of 40 ms each way; yields its control."""
    line = None
    try:
        ip("netns", "add", A)
        ip("netns", "add", B)
        line = subprocess.Popen(
            [os.path.join(build, "delayline"), "--a", f"/run/netns/{A}:far",
             "--b", f"/run/netns/{B}:near", "--delay", "40"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if line.stdout.readline().strip() != "ready":
            raise OSError("the delay line did not start")
        ip("-n", A, "addr", "add", "10.77.0.1/24", "dev", "far")
        ip("-n", B, "addr", "add", "10.77.0.2/24", "dev", "near")
        ip("-n", A, "addr", "add", "fd77::1/64", "dev", "far", "nodad")
        ip("-n", B, "addr", "add", "fd77::2/64", "dev", "near", "nodad")

        def control(text):
            line.stdin.write(text + "\n")
            line.stdin.flush()
            line.stdout.readline()

        yield control
    finally:
        if line:
            line.stdin.close()
            line.wait(timeout=5)
        for name in (A, B):
            subprocess.run(["ip", "netns", "del", name], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


CLOSE = "while True: s.accept()[0].close()\n"
ECHO = "c=s.accept()[0]\nwhile True: c.sendall(c.recv(9999))\n"


@contextlib.contextmanager
def far_server(then=CLOSE):
    code = ("import socket,sys\n"
            "s=socket.create_server(('::',7000),family=socket.AF_INET6,dualstack_ipv6=True)\n"
            "print('ready',flush=True)\n") + then
    with subprocess.Popen(["ip", "netns", "exec", B, PYTHON, "-c", code],
                          stdout=subprocess.PIPE, text=True) as p:
        try:
            p.stdout.readline()
            yield
        finally:
            p.terminate()


def over_the_slow_path(build):
    with slow_path(build) as control, far_server():
        run_client("web", "10.77.0.2", 7000, netns=A)
        run_client("api-sync", "fd77::2", 7000, netns=A)
        run_client("typo", "10.77.0.2", 7001, netns=A)
        control("drop-syn 1")
        run_client("unlucky", "10.77.0.2", 7000, netns=A)
        control("drop-syn 0")
        control("loss 100,0")
        run_client("impatient", "10.77.0.2", 7000, seconds=0.5, netns=A)
        run_client("no-route", "10.99.0.1", 7000, netns=A)


def traffic(build):
    v4 = serve(socket.AF_INET, "127.0.0.1")
    v6 = serve(socket.AF_INET6, "::1")
    for _ in range(2):
        run_client("local-v4", "127.0.0.1", v4)
        run_client("local-v6", "::1", v6)
    run_client("wrong-port", "127.0.0.1", free_port())
    try:
        over_the_slow_path(build)
    except (OSError, subprocess.SubprocessError) as e:
        print(f"demo: no slow path on this host ({e}); loopback only", file=sys.stderr)


def name_me(name):
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def at(start, ms):
    """Waits until so many milliseconds after the start: the delay is what is shown."""
    left = start + ms / 1000 - time.monotonic()
    if left > 0:
        time.sleep(left)


def readers():
    """One process that waits for its data, one that is busy while they come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        a = socket.create_connection(listener.getsockname())
        b = listener.accept()[0]
    a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if os.fork() == 0:
        start = time.monotonic()
        for ms, size in ((20, 200), (40, 500), (100, 100), (150, 200), (180, 300)):
            at(start, ms)
            a.send(b"x" * size)
        os._exit(0)
    start = time.monotonic()
    name_me("waits-for-data")
    b.recv(4096)
    b.recv(4096)
    name_me("is-busy")
    at(start, 200)
    b.recv(4096)
    os.wait()
    a.close()
    b.close()


def ask(name, addr, port, seconds):
    """A question and its answer, one after the other."""
    name_me(name)
    until = time.monotonic() + float(seconds)
    with contextlib.suppress(OSError), socket.create_connection((addr, int(port))) as s:
        while time.monotonic() < until:
            s.sendall(b"x" * 200)
            s.recv(4096)
            time.sleep(0.005)


def answer(name, late_s):
    """A server in a process of its own that looks at its data so much later; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    if os.fork():
        return listener.getsockname()[1]
    name_me(name)
    with contextlib.suppress(OSError):
        c = listener.accept()[0]
        while select.select([c], [], [], 5)[0]:
            time.sleep(late_s)
            data = c.recv(4096)
            if not data:
                break
            c.sendall(data)
    os._exit(0)


def host(build, seconds=3.2):
    prompt, late = answer("prompt", 0), answer("late", 0.03)
    asking = [subprocess.Popen(command("ask", "web", "127.0.0.1", port, seconds))
              for port in (prompt, late)]
    try:
        with slow_path(build) as control, far_server(ECHO):
            control("loss 5,5")
            asking.append(subprocess.Popen(command("ask", "sync", "10.77.0.2", 7000, seconds, A)))
            wrong_ports(asking)
    except (OSError, subprocess.SubprocessError) as e:
        print(f"demo: no slow path on this host ({e}); loopback only", file=sys.stderr)
        wrong_ports(asking)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def wrong_ports(asking):
    """Until the others have ended."""
    port = free_port()
    while any(p.poll() is None for p in asking):
        run_client("typo", "127.0.0.1", port)
        time.sleep(0.2)


NEXT_CONNECT = """
Each row is one connection that a program of this host tried to open. Loopback
takes microseconds; `wrong-port` found no listener. Over a line of 40 ms each way
(made from TUN devices, where the host has them): `web` and `api-sync` connected,
`typo` found no listener, `unlucky` lost its first SYN and paid a second for it,
`impatient` gave up, and `no-route` never sent a SYN at all.
"""

NEXT_PICKUP = """
Each row is one segment, and how long it waited for the program. `waits-for-data`
was asleep in recv(): all that passed is the wake-up. `is-busy` was elsewhere while
three segments came, 100, 50 and 20 ms before it took them with one read: APP.
"""

NEXT = """
All of it at once, as a host sees it: `web` asks two servers of this host, of which
`late` looks at its data 30 ms after they came (PICKUP); `sync` asks a server 80 ms
away (RTT) over a line that loses 5 % of the packets; `typo` still has the wrong port.

Go on with:
  sudo ./dev run -i 1                           this host, live, until Ctrl-C
  sudo ./dev run connect                        every attempt on this host, live
  sudo ./dev run connect --failed               only what did not succeed
  sudo ./dev run connect --min 100ms            only what was slow
  sudo ./dev run connect -- curl http://HOST/   one command and its descendants
  sudo ./dev run connect --hist --by raddr -d 10   distributions by peer
  sudo ./dev run pickup --hist --by comm,lport -i 1   who lets data wait, each second
  sudo ./dev run pickup --min 10ms --split      only long waits, and where they went
  sudo ./dev run rtt -i 1                       round trips by remote address
  sudo ./dev run rtt --heatmap                  and how they change
  ./build/tcplat --help                         all views
"""


def demo(tcplat):
    build = os.path.dirname(os.path.abspath(tcplat))
    print("tcplat connect, on real traffic of this host:\n", flush=True)
    # The terminal's Ctrl-C reaches the child as well; it cleans up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = trace(tcplat, "connect", "--all", "--", PYTHON, ME, "traffic", build)
    if status:
        return status
    print(NEXT_CONNECT)
    print("tcplat pickup --split, the same:\n", flush=True)
    status = trace(tcplat, "pickup", "--split", "--", PYTHON, ME, "readers")
    if status:
        return status
    print(NEXT_PICKUP)
    print("tcplat, all measurements of a host:\n", flush=True)
    status = trace(tcplat, "--", PYTHON, ME, "host", build)
    if status == 0:
        print(NEXT)
    return status


def trace(*argv):
    return subprocess.run(argv, check=False, preexec_fn=lambda: signal.signal(
        signal.SIGINT, signal.default_int_handler)).returncode


def main(argv):
    if len(argv) == 6 and argv[1] in ("client", "ask"):
        (client if argv[1] == "client" else ask)(*argv[2:])
        return 0
    if len(argv) == 3 and argv[1] in ("traffic", "host"):
        # Exit through the clean-up when tcplat passes a signal on.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        (traffic if argv[1] == "traffic" else host)(argv[2])
        return 0
    if argv[1:] == ["readers"]:
        readers()
        return 0
    if len(argv) == 2:
        return demo(argv[1])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
