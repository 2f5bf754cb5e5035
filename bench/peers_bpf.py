# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel says of its BPF programs and links, asked directly: bpftool loads programs of
its own for the same, and takes a hundred times as long."""
import contextlib
import ctypes
import fcntl
import os
import struct

_SYSCALL = 321  # bpf(2) on x86-64
_PROG_LOAD, _PROG_NEXT, _PROG_FD, _INFO, _RAW_TRACEPOINT, _LINK_FD, _LINK_NEXT = (
    5, 11, 13, 15, 17, 30, 31)
_TRACEPOINT, _TRACING, _RAW_TP, _FENTRY = 5, 26, 23, 24
_PERF_EVENT_OPEN, _PERF_TRACEPOINT, _SET_BPF, _ENABLE = 298, 2, 0x40042408, 0x2400

# Where those of ours are that the kernel does not tell of.
SYSCALLS = {"call_begins": "sys_enter_connect", "call_ends": "sys_exit_connect"}

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(cmd, attr):
    buffer = ctypes.create_string_buffer(bytes(attr), len(attr))
    got = _libc.syscall(_SYSCALL, cmd, buffer, len(attr))
    if got < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return got, buffer.raw


def _ids(cmd):
    last = 0
    with contextlib.suppress(FileNotFoundError):  # the end
        while True:
            last = struct.unpack_from("=I", _bpf(cmd, struct.pack("=III", last, 0, 0))[1], 4)[0]
            yield last


def links():
    return set(_ids(_LINK_NEXT))


def is_attached(link):
    """A link has its number some time before its program runs."""
    try:
        os.close(_bpf(_LINK_FD, struct.pack("=III", link, 0, 0))[0])
    except OSError:
        return False
    return True


def program_ids():
    return set(_ids(_PROG_NEXT))


class Program:
    """As struct bpf_prog_info of <linux/bpf.h> describes it."""

    def __init__(self, number):
        self.number = number
        info = ctypes.create_string_buffer(232)
        fd = _bpf(_PROG_FD, struct.pack("=III", number, 0, 0))[0]
        try:
            _bpf(_INFO, struct.pack("=IIQ", fd, len(info), ctypes.addressof(info)))
        finally:
            os.close(fd)
        self.type, = struct.unpack_from("=I", info, 0)
        self.name = info.raw[64:80].rstrip(b"\0").decode()
        self.run_time_ns, self.run_cnt = struct.unpack_from("=QQ", info, 192)
        self.target, = struct.unpack_from("=I", info, 224)


def programs(but=()):
    return [Program(number) for number in sorted(program_ids() - set(but))]


def _load(kind, attach, target):
    nothing = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0))
    text = ctypes.create_string_buffer(b"GPL")
    return _bpf(_PROG_LOAD, struct.pack(
        "=IIQQIIQII16sIIIIQIIQII", kind, 2, ctypes.addressof(nothing), ctypes.addressof(text),
        0, 0, 0, 0, 0, f"empty_{target}".encode(), 0, attach, 0, 0, 0, 0, 0, 0, 0, target))[0]


def _on_syscall(prog, tracepoint):
    with open(f"/sys/kernel/tracing/events/syscalls/{tracepoint}/id", encoding="ascii") as file:
        number = int(file.read())
    attr = ctypes.create_string_buffer(struct.pack("=IIQQ", _PERF_TRACEPOINT, 128, number, 1), 128)
    event = _libc.syscall(_PERF_EVENT_OPEN, attr, -1, 0, -1, 0)
    if event < 0:
        raise OSError(ctypes.get_errno(), "perf_event_open")
    fcntl.ioctl(event, _SET_BPF, prog)
    fcntl.ioctl(event, _ENABLE, 0)
    return event


def _attach(program):
    """A program that does nothing, on the same hook."""
    if program.type != _TRACING:
        prog = _load(_TRACEPOINT, 0, 0)
        try:
            return _on_syscall(prog, SYSCALLS[program.name])
        finally:
            os.close(prog)
    try:
        prog = _load(_TRACING, _FENTRY, program.target)
    except OSError:  # no function
        prog = _load(_TRACING, _RAW_TP, program.target)
    try:
        return _bpf(_RAW_TRACEPOINT, struct.pack("=QII", 0, prog, 0))[0]
    finally:
        os.close(prog)


@contextlib.contextmanager
def empty_as(programs_):
    """For each of these a program that does nothing on the same hook."""
    fds = []
    try:
        for program in programs_:
            fds.append(_attach(program))
        yield
    finally:
        for fd in fds:
            os.close(fd)
