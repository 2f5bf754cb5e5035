# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tracers of round trips say of the same connections, and what captures saw."""
import contextlib
import re

from peers_latencies import case
from peers_tool import OURS, THEIRS, Peer, running, until
from live import paths, rtts, talk

T, O = THEIRS + "tcprtt", OURS + "tcprtt"
PINGS4, PINGS6 = 20, 10
DOWNLOAD = 300_000
SERVER4, SERVER6 = "10.77.2.2", "fd77:2::2"
PORT4, PORT6 = 8501, 8502

# What is asked for, and of which sockets that is: (family, end) each, None: of all.
ALL = [(4, "client"), (4, "server"), (6, "client"), (6, "server")]
OPTIONS = [
    ([], ALL),
    (["-e"], ALL),
    (["-B"], ALL),
    (["-b"], ALL),
    (["-P", str(PORT4)], [(4, "client")]),
    (["-p", str(PORT4)], [(4, "server")]),
    (["-A", SERVER4], [(4, "client")]),
    (["-a", SERVER4], [(4, "server")]),
    (["-A", SERVER6], [(6, "client")]),
    (["-a", SERVER6], [(6, "server")]),
]


def histograms(text):
    """[(label, {least: count})]"""
    found, label = [], ""
    for line in text.splitlines():
        if " = " in line:
            label = line.strip()
        elif "distribution" in line:
            found.append((label, {}))
        elif match := re.match(r" *(\d+) -> \d+ *: (\d+) ", line):
            found[-1][1][int(match[1])] = int(match[2])
    return found


def total(text):
    return sum(sum(rows.values()) for _, rows in histograms(text))


def spread(text):
    """Where the counts are: "16384: 3, …"."""
    sums = {}
    for _, rows in histograms(text):
        for low, count in rows.items():
            sums[low] = sums.get(low, 0) + count
    return ", ".join(f"{count} in {low} -> {2 * low - 1}" for low, count in sums.items() if count)


def labels(text):
    """Of histograms that are of one address each."""
    return "; ".join(f"{label.split(' = ')[1].split(' [')[0]}: {sum(rows.values())}"
                     for label, rows in histograms(text) if " = " in label and "*" not in label)


def counts(text):
    said = f"{total(text)} counted"
    return f"{said} ({found})" if (found := labels(text)) else said


@contextlib.contextmanager
def watched(path):
    """Captures at both ends: {end: frames}, filled when the block is left."""
    frames = {}
    with rtts.Wire(path.client, path.client_dev) as one, \
            rtts.Wire(path.server, path.server_dev) as other:
        yield frames
    frames.update(client=one.packets, server=other.packets)


def samples(frames, connection):
    """{end: how many round trips its acknowledgements measure}"""
    return {end: len(rtts.Sender(frames[end], flow).samples)
            for end, flow in (("client", connection.flow), ("server", connection.back))}


def shown_options(words):
    return f"`{' '.join(words)}`" if words else "no option"


def started(stack, words):
    """A tracer, or what it said instead of starting."""
    peer = None
    try:
        peer = Peer(words)
    except RuntimeError as error:
        reason = next((line for line in str(error).splitlines()[::-1] if line.strip()), "")
        return reason.split("': ")[-1].strip()
    stack.callback(peer.stop)
    return peer


def said_by(peer):
    if isinstance(peer, str):
        return f"does not start: {peer}"
    return counts(peer.stop()[0])


def options(path, say):
    """Each option over the same two connections, all at once."""
    with contextlib.ExitStack() as stack:
        tracers = [(words, wanted, [started(stack, [tool, *words]) for tool in (T, O)])
                   for words, wanted in OPTIONS]
        say("rtt: all tracers run")
        truth = {}
        with watched(path) as frames:
            made = {}
            for family, port, pings in ((4, PORT4, PINGS4), (6, PORT6, PINGS6)):
                made[family] = stack.enter_context(talk.talk(path, family, port=port))
                made[family].ping(pings)
                made[family].drain()
        for family, connection in made.items():
            for end, count in samples(frames, connection).items():
                truth[family, end] = count
        for words, wanted, (theirs, ours) in tracers:
            true = sum(truth[which] for which in wanted)
            said = [([tool, *words], said_by(peer), total_of(peer) == true)
                    for tool, peer in ((T, theirs), (O, ours))]
            yield case(f"{shown_options(words)}: two connections, IPv4 and IPv6",
                       f"{true} round trips (wire)", *said)


def total_of(peer):
    return None if isinstance(peer, str) else total(peer.stop()[0])


def compared(name, path, port, act):
    """One connection, of which the client's end is looked at."""
    words = [[T, "-P", str(port)], [O, "-P", str(port)]]
    with running(*words) as peers:
        with watched(path) as frames, talk.talk(path, port=port) as one:
            act(one)
            one.drain()
        sender = rtts.Sender(frames["client"], one.flow)
        true = len(sender.samples)
        received = sum(frame.back == one.flow for frame in frames["client"])
        values = ", ".join(f"{s.rtt / 1000:.1f}" for s in sender.samples[:6])
        again = f", segments sent again: {sender.retransmitted}" if sender.retransmitted else ""
        said = []
        for peer in peers:
            text = peer.stop()[0]
            said.append((peer.words, f"{total(text)} counted: {spread(text)}",
                         total(text) == true))
        return case(name, f"{true} round trips ({values} ms) in {received} received "
                    f"packets{again} (wire)", *said)


def download(one):
    one.bulk(100, up=True)
    one.bulk(DOWNLOAD, up=False)


def dropped(path):
    return path.control("stats")["a_to_b"]["dropped_random"]


def again(path):
    """A segment that is lost once."""

    def act(one):
        one.ping(3)
        path.control("loss 100,0")
        one.server.tell("echo", name=one.name, count=1, size=100)
        before = dropped(path)
        one.client.tell("ping", name=one.name, count=1, size=100)
        until(lambda: dropped(path) > before, "the segment is lost")
        path.control("loss 0,0")
        one.client.answer()
        one.server.answer()

    return act


def cases(say):
    found = []
    with paths.delayline() as path:
        found += options(path, say)
        say("rtt: options")
        found.append(compared("a client that downloads 300 kB", path, 8503, download))
        found.append(compared("3 requests, and one that is lost once", path, 8504, again(path)))
        say("rtt: connections")
    return found
