# SPDX-License-Identifier: GPL-2.0-or-later
"""What was on the wire, by an independent witness: dumpcap captures, tshark dissects."""

import collections
import dataclasses
import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import typing

from .process import Lines, Waiter, mortal

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

# RFC 3692: a protocol number for experiments
_MARK_PROTOCOL = 253
# All headers, also those of what an ICMP error is about, with their options; and room for what
# comes while dumpcap has no processor.
_SNAP = 256
_BUFFER_MIB = 16
_FIELDS = (
    "frame.time_epoch ip.src ip.dst ipv6.src ipv6.dst tcp.srcport tcp.dstport tcp.flags "
    "tcp.seq_raw tcp.ack_raw tcp.len icmp.type icmp.code icmpv6.type icmpv6.code"
).split()


@dataclasses.dataclass(frozen=True)
class Packet:
    time: float  # seconds since the epoch, microseconds are exact
    src: str
    dst: str
    sport: int
    dport: int
    flags: int
    seq: int  # as on the wire, not relative
    ack: int
    len: int  # of the payload
    icmp: typing.Optional[tuple] = None  # (type, code); ports are then those of the cause

    @property
    def flow(self):
        return self.src, self.sport, self.dst, self.dport

    @property
    def back(self):
        return self.dst, self.dport, self.src, self.sport

    @property
    def is_syn(self):
        return self.icmp is None and self.flags & (SYN | ACK) == SYN

    @property
    def is_synack(self):
        return self.icmp is None and self.flags & (SYN | ACK) == SYN | ACK


def _number(text):
    return int(text, 0) if text else 0


def _parse(line):
    (time, src4, dst4, src6, dst6, sport, dport, flags, seq, ack, length,
     type4, code4, type6, code6) = line.split("\t")
    kind, code = type4 or type6, code4 or code6
    return Packet(float(time), src4 or src6, dst4 or dst6, _number(sport), _number(dport),
                  _number(flags), _number(seq), _number(ack), _number(length),
                  (_number(kind), _number(code)) if kind else None)


class Capture:
    """A capture that runs when its block begins; .packets is there when it has ended.

    dumpcap writes "File:" once its filter is set and its socket bound: from then on the kernel
    stores packets. It reads them in blocks, up to 250 ms late, and forgets the last ones when it
    is told to stop. So a marked packet goes last, and only when that has come out is it stopped.
    """

    def __init__(self, ns, dev, filter="tcp"):
        self.ns = ns
        self.dev = dev
        self.filter = f"({filter}) or (ip proto {_MARK_PROTOCOL})"
        self.packets = None
        self._data = bytearray()
        self._arrived = Waiter()
        self._ended = False

    def __enter__(self):
        self._process = self.ns.popen(
            mortal(["dumpcap", "-q", "-p", "-B", _BUFFER_MIB, "-s", _SNAP, "-i", self.dev,
                    "-f", self.filter, "-P", "-w", "-"]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        )
        self._said = Lines(self._process.stderr)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._said.find("File:", 10):
            self._end()
            raise RuntimeError(f"dumpcap did not start: {self._said.text()}")
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self._end()

    def _read(self):
        while chunk := self._process.stdout.read(65536):
            self._data += chunk
            self._arrived.notify()
        self._ended = True
        self._arrived.notify()

    def _mark(self):
        """Sends a packet that the taps see and nobody else minds, and returns its contents.

        No hops left: a delay line does not count it. No source: a host drops it in silence.
        """
        nonce = os.urandom(16)
        ipv4 = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(nonce), 0, 0, 0,
                                     _MARK_PROTOCOL, 0, bytes(4), bytes((192, 0, 2, 1))))
        total = sum(struct.unpack("!10H", ipv4))
        total = (total & 0xFFFF) + (total >> 16)
        ipv4[10:12] = struct.pack("!H", 0xFFFF - total)
        with self.ns.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
            sock.sendto(bytes(ipv4) + nonce, (self.dev, 0x0800, 0, 0, b"\xff" * 6))
        return nonce

    def stop(self):
        """Ends the capture with all packets seen so far; returns them."""
        if self.packets is not None:
            return self.packets
        nonce = self._mark()
        start = 0

        def is_out():
            nonlocal start
            size = len(self._data)  # it may grow while we look
            found = self._data.find(nonce, start)
            start = max(0, size - len(nonce))
            return found >= 0 or self._ended

        came = self._arrived.wait(is_out, 10)
        self._end()
        said = self._said.text()
        if not came or nonce not in self._data:
            raise RuntimeError(f"the capture ended early: {said}")
        received = said.rpartition("received/dropped")[2]
        if "pcap:0/dumpcap:0/flushed:0" not in received:
            raise RuntimeError(f"the capture lost packets: {said}")
        self.packets = self._dissect()
        return self.packets

    def _end(self):
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._reader.join(5)
            self._said.join()

    def _dissect(self):
        with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
            file.write(self._data)
            file.flush()
            argv = ["tshark", "-n", "-r", file.name, "-T", "fields", "-E", "occurrence=f",
                    "-Y", f"not ip.proto == {_MARK_PROTOCOL}"]
            for field in _FIELDS:
                argv += ["-e", field]
            done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
        return [_parse(line) for line in done.stdout.splitlines()]


@dataclasses.dataclass
class Handshake:
    first_syn: float
    last_syn: float  # the last one before the answer
    syns: int
    answer: typing.Optional[str] = None  # "SYN-ACK" or "RST"
    answered: typing.Optional[float] = None

    @property
    def latency(self):
        """From the first SYN to the answer; what a connect takes, as seen on this wire."""
        return None if self.answered is None else self.answered - self.first_syn

    @property
    def rtt(self):
        """From the last SYN to the answer: with one SYN the round trip."""
        return None if self.answered is None else self.answered - self.last_syn


def attempts(packets):
    """{(src, sport, dst, dport) of the side that sent the SYN: [Handshake, …]}

    Ports may be used again: a SYN with another number is another attempt.
    """
    found, numbers = collections.defaultdict(list), {}
    for packet in packets:
        if packet.is_syn:
            if numbers.get(packet.flow) != packet.seq:
                numbers[packet.flow] = packet.seq
                found[packet.flow].append(Handshake(packet.time, packet.time, 0))
            attempt = found[packet.flow][-1]
            attempt.syns += 1
            if attempt.answered is None:
                attempt.last_syn = packet.time
        elif packet.icmp is None and packet.back in found and (
            packet.is_synack or packet.flags & RST
        ):
            attempt = found[packet.back][-1]
            if attempt.answered is None:
                attempt.answered = packet.time
                attempt.answer = "SYN-ACK" if packet.is_synack else "RST"
    return found


def handshakes(packets):
    """The first attempt of each flow, by the same."""
    return {flow: those[0] for flow, those in attempts(packets).items()}
