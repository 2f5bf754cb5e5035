# SPDX-License-Identifier: GPL-2.0-or-later
"""One end of a connection that sends and reads exactly when and how it is told: see reader.py.

Orders and answers are lines of JSON. It ends at the end of its input.
"""

import contextlib
import ctypes
import fcntl
import functools
import gc
import json
import mmap
import os
import queue
import select
import socket
import struct
import sys
import termios
import threading
import time

PR_SET_NAME, PR_SET_TIMERSLACK = 15, 29
TIMER_ABSTIME = 1
MSG_WAITFORONE = 0x10000
SO_RCVBUFFORCE = 33
SYS_USERFAULTFD, SYS_BPF = {"aarch64": (282, 280)}.get(os.uname().machine, (323, 321))
SYS_IO_URING_SETUP, SYS_IO_URING_ENTER = 425, 426

libc = ctypes.CDLL(None, use_errno=True)
now = time.monotonic_ns


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def sleep_until(ns):
    until = ctypes.create_string_buffer(struct.pack("=qq", *divmod(ns, 10**9)))
    while libc.clock_nanosleep(time.CLOCK_MONOTONIC, TIMER_ABSTIME, until, None):
        pass  # interrupted


def unread(sock):
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]


# --- ways of reading -----------------------------------------------------------------------------
#
# Each is prepared long before its time with the socket, the sizes wanted, the milliseconds behind
# a "+", the dict that is reported, and a stack for what is to be closed afterwards. It returns the
# call that is timed, and another one that comes before that one, if any.


def touched(size):
    """A buffer whose pages are there: no fault is to cost time in the call."""
    return bytearray(b"\xff" * size)


def read(sock, sizes, *_):
    return functools.partial(lambda fd, size: len(os.read(fd, size)), sock.fileno(), sum(sizes))


def receive(flags, sock, sizes, *_):
    return functools.partial(sock.recv_into, touched(sum(sizes)), 0, flags)


def recvmsg(sock, sizes, *_):
    buffers = [touched(size) for size in sizes]
    return lambda: sock.recvmsg_into(buffers)[0]


def readv(sock, sizes, *_):
    return functools.partial(os.readv, sock.fileno(), [touched(size) for size in sizes])


def recvmmsg(sock, sizes, *_):
    """One message of each size; it goes on with the next one as long as there are data."""
    buffers = [ctypes.create_string_buffer(b"\xff" * size) for size in sizes]
    vectors = [ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(buffer), size))
               for buffer, size in zip(buffers, sizes)]
    messages = ctypes.create_string_buffer(b"".join(
        struct.pack("=16xQQ32x", ctypes.addressof(vector), 1) for vector in vectors))

    def call():
        count = checked(libc.recvmmsg(sock.fileno(), messages, len(vectors), MSG_WAITFORONE, None))
        return sum(struct.unpack_from("=I", messages, 64 * at + 56)[0] for at in range(count))

    call.keeps = buffers
    return call


def trunc(sock, sizes, *_):
    """Throws the bytes away: no buffer, nothing is copied."""
    return lambda: checked(libc.recv(sock.fileno(), None, sum(sizes), socket.MSG_TRUNC))


def splice(sock, sizes, _late, _report, stack):
    out, into = os.pipe()
    stack.callback(os.close, out)
    stack.callback(os.close, into)
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 1 << 20)
    return functools.partial(os.splice, sock.fileno(), into, sum(sizes))


def epoll(sock, sizes, late, report, stack):
    """Asleep in epoll_wait from the time given; reads when it wakes, or so much later."""
    events = stack.enter_context(select.epoll())
    events.register(sock, select.EPOLLIN)
    schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, schedstat)

    def run_queue_ns():
        return int(os.pread(schedstat, 100, 0).split()[1])

    def wait():
        events.poll()
        report["woke"] = now()
        if late:
            before = run_queue_ns()
            sleep_until(report["woke"] + late)
            report["queued"] = run_queue_ns() - before

    return read(sock, sizes), wait


def io_uring(flags, sock, sizes, _late, _report, stack):
    """IORING_OP_RECV on a ring for this one request. The rings are one mapping."""
    buffer = touched(sum(sizes))
    params = ctypes.create_string_buffer(120)
    ring = checked(libc.syscall(SYS_IO_URING_SETUP, 1, params))
    stack.callback(os.close, ring)
    _, sq_tail, _, _, _, _, sq_array = struct.unpack_from("=7I", params, 40)
    cqes = struct.unpack_from("=6I", params, 80)[5]
    rings = stack.enter_context(mmap.mmap(ring, 4096))
    with mmap.mmap(ring, 4096, offset=0x10000000) as entries:
        address = ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
        entries[:64] = struct.pack("=BBHiQQII32x", 27, flags, 0, sock.fileno(), 0, address,
                                   len(buffer), 0)
    rings[sq_array:sq_array + 4] = struct.pack("=I", 0)
    rings[sq_tail:sq_tail + 4] = struct.pack("=I", 1)

    def call():
        checked(libc.syscall(SYS_IO_URING_ENTER, ring, 1, 1, 1, None, 0))
        return struct.unpack_from("=8xi", rings, cqes)[0]

    call.keeps = buffer
    return call


def fault(sock, sizes, late, report, stack):
    """recv() into a page that is missing: until it is there the socket stays locked.

    The copy faults with the socket's lock held, and a thread resolves that so much later. What
    arrives meanwhile has to wait in the socket's backlog.
    """
    size = -(-sum(sizes) // mmap.PAGESIZE) * mmap.PAGESIZE
    fd = checked(libc.syscall(SYS_USERFAULTFD, os.O_CLOEXEC))
    stack.callback(os.close, fd)
    pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    fcntl.ioctl(fd, 0xC018AA3F, struct.pack("=QQQ", 0xAA, 0, 0))  # UFFDIO_API
    fcntl.ioctl(fd, 0xC020AA00, struct.pack("=QQQQ", start, size, 1, 0))  # _REGISTER, missing

    def resolve():
        os.read(fd, 32)
        report["locked"] = now()
        sleep_until(report["locked"] + late)
        report["unlocked"] = now()
        fcntl.ioctl(fd, 0xC020AA04, struct.pack("=QQQq", start, size, 0, 0))  # _ZEROPAGE

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()

    def call():
        got = sock.recv_into(pages, sum(sizes))
        after = now()
        if got:  # with nothing to copy there is no fault, and the thread waits for ever
            thread.join()
        report["returned"] = after
        return got

    return call


def send(sock, sizes, *_):
    """MSG_EOR keeps the segment apart from whatever is written next, even when both must wait."""
    if not sum(sizes):
        return functools.partial(sock.shutdown, socket.SHUT_WR)
    return functools.partial(sock.send, touched(sum(sizes)), socket.MSG_EOR)


recv = functools.partial(receive, 0)
WAYS = {
    "send": send,
    "read": read,
    "recv": recv,
    "block": recv,
    "thread": recv,
    "child": recv,
    "dontwait": functools.partial(receive, socket.MSG_DONTWAIT),
    "peek": functools.partial(receive, socket.MSG_PEEK),
    "waitall": functools.partial(receive, socket.MSG_WAITALL),
    "recvmsg": recvmsg,
    "recvmmsg": recvmmsg,
    "readv": readv,
    "trunc": trunc,
    "splice": splice,
    "epoll": epoll,
    "io_uring": functools.partial(io_uring, 0),
    "io_uring_worker": functools.partial(io_uring, 1 << 4),  # IOSQE_ASYNC
    "fault": fault,
}


def workers():
    """The io_uring workers of this process; they stay for a while after their work."""
    for tid in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{tid}/comm", "rb") as file:
            if file.read().startswith(b"iou-wrk-"):
                yield int(tid)


class Step:
    """Something to do at its time, in the thread that calls run()."""

    def __init__(self, sock, at, how, sizes):
        self.sock = sock
        self.at = at
        self.size = sum(sizes)
        self.report = {}
        self.stack = contextlib.ExitStack()
        self.name, _, late = how.partition("+")
        prepared = WAYS[self.name](sock, sizes, int(float(late or 0) * 1e6), self.report,
                                   self.stack)
        self.call, self.wait = prepared if isinstance(prepared, tuple) else (prepared, None)

    def run(self, start):
        call = self.call
        sleep_until(start + self.at)
        if self.wait:
            self.wait()
        before = now()
        try:
            got = call()
            after = now()
        except OSError as error:
            after = now()
            got = -error.errno
        report = {"before": before, "after": self.report.pop("returned", after), "got": got or 0,
                  "tid": threading.get_native_id(), **self.report}
        if self.name == "io_uring_worker":
            (report["tid"],) = workers()  # while its ring keeps it
        self.stack.close()
        if self.name != "send":
            report["unread"] = unread(self.sock)
        return report


class InThread:
    """A thread that runs steps, one at a time."""

    def __init__(self):
        self.orders = queue.SimpleQueue()
        self.reports = queue.SimpleQueue()
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            self.reports.put(self.orders.get()())

    def run(self, step, start):
        self.orders.put(functools.partial(step.run, start))
        return self.reports.get()


class InChild:
    """A child that inherited the socket, and ends with us."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            ours.close()
            self.work(theirs)
        theirs.close()
        self.channel = ours

    def work(self, channel):
        status = 1
        try:
            while ordered := channel.recv(64):
                at, size, start = struct.unpack("=qqq", ordered)
                channel.send(json.dumps(Step(end.sock, at, "child", [size]).run(start)).encode())
            status = 0
        finally:
            os._exit(status)

    def run(self, step, start):
        self.channel.send(struct.pack("=qqq", step.at, step.size, start))
        return json.loads(self.channel.recv(4096))

    def end(self):
        self.channel.close()
        os.waitpid(self.pid, 0)


# --- the connection ------------------------------------------------------------------------------


def bpf(command, attributes):
    attributes = ctypes.create_string_buffer(attributes, max(128, len(attributes)))
    return checked(libc.syscall(SYS_BPF, command, attributes, len(attributes)))


def put_in_sockmap(sock):
    """With a verdict program that lets everything pass; its descriptors live as long as we do."""
    table = bpf(0, struct.pack("=5I", 15, 4, 4, 1, 0))  # BPF_MAP_CREATE, SOCKMAP
    code = ctypes.create_string_buffer(struct.pack("=BBhi", 0xB7, 0, 0, 1)  # r0 = SK_PASS
                                       + struct.pack("=BBhi", 0x95, 0, 0, 0))  # exit
    name = ctypes.create_string_buffer(b"GPL")
    program = bpf(5, struct.pack("=IIQQ", 14, 2, ctypes.addressof(code),  # SK_SKB
                                 ctypes.addressof(name)))
    bpf(8, struct.pack("=4I", table, program, 5, 0))  # BPF_SK_SKB_STREAM_VERDICT
    key, value = (ctypes.create_string_buffer(struct.pack("=I", number))
                  for number in (0, sock.fileno()))
    bpf(2, struct.pack("=IxxxxQQQ", table, ctypes.addressof(key), ctypes.addressof(value), 0))


class End:
    def __init__(self, spec):
        self.spec = spec
        self.sock = self.thread = self.child = None
        self.steps = ()
        family = socket.AF_INET6 if ":" in spec["addr"] else socket.AF_INET
        self.first = socket.socket(family, socket.SOCK_STREAM)
        if spec["rcvbuf"]:
            self.first.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, spec["rcvbuf"])
        if spec["listen"]:
            self.first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if spec["early"] == "fastopen":
                self.first.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
            self.first.bind((spec["addr"], spec["port"]))
            self.first.listen(16)

    def connect(self):
        """Accepts or connects; with the data that are to be there at once."""
        spec, early = self.spec, None
        if spec["listen"]:
            self.sock = self.first.accept()[0]
            self.first.close()
        else:
            self.sock = self.first
            early = self.connect_with_data((spec["addr"], spec["port"]))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if spec["rcvlowat"]:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, spec["rcvlowat"])
        if spec["sockmap"]:
            put_in_sockmap(self.sock)
        return {"local": self.sock.getsockname()[:2], "remote": self.sock.getpeername()[:2],
                "early": early}

    def connect_with_data(self, target):
        sock, kind = self.sock, self.spec["early"]
        data = touched(self.spec["early_bytes"])
        if kind == "fastopen":
            # not blocking: that would last until the answer has come
            before = now()
            sock.sendto(data, socket.MSG_FASTOPEN | socket.MSG_DONTWAIT, target)
            after = now()
            with select.epoll() as events:
                events.register(sock, select.EPOLLOUT)
                events.poll()
            return before, after, len(data)
        if kind == "third_ack":
            # Without quick ACKs the kernel keeps the third segment back for 200 ms.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        sock.connect(target)
        if kind != "third_ack":
            return None
        before = now()
        sock.send(data, socket.MSG_EOR)
        return before, now(), len(data)

    def prepare(self, steps):
        if self.child is None and any(how == "child" for _, how, _ in steps):
            self.child = InChild()
        if self.thread is None and any(how == "thread" for _, how, _ in steps):
            self.thread = InThread()
        self.steps = [Step(self.sock, *step) for step in steps]
        return {}

    def run(self, start):
        runners = {"thread": self.thread, "child": self.child}
        reports = []
        for step in self.steps:
            runner = runners.get(step.name)
            reports.append(runner.run(step, start) if runner else step.run(start))
        return {"reports": reports}

    def look(self):
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return {"state": info[0], "unread": unread(self.sock)}

    def shutdown(self):
        self.sock.shutdown(socket.SHUT_WR)
        return {}

    def close(self, reset):
        if self.child:
            self.child.end()  # it has the socket as well
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        return {}


spec = json.loads(sys.stdin.readline())
libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
if spec["comm"]:
    libc.prctl(PR_SET_NAME, ctypes.c_char_p(bytes.fromhex(spec["comm"])), 0, 0, 0)
gc.disable()
os.setpriority(os.PRIO_PROCESS, 0, -20)
end = End(spec)
say(ready=True, port=end.first.getsockname()[1])
for line in iter(sys.stdin.readline, ""):
    order = json.loads(line)
    do = order.pop("do")
    try:
        say(done=do, **getattr(end, do)(**order))
    except OSError as error:
        say(failed=do, errno=error.errno, error=str(error))
