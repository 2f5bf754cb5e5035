# SPDX-License-Identifier: GPL-2.0-or-later
"""Three agents and Debian's Prometheus: what it says of the fleet is what has happened there."""

import contextlib
import math
import typing

from lib import paths, reader, rtts, talk, traffic
from lib.commands import bpf_loaded, bpf_objects
from lib.process import until
from lib.prometheus import Prometheus, needs_prometheus
from lib.serve import Agent

pytestmark = needs_prometheus

CONNECT = "tcplat_connect_duration_seconds"
RTT = "tcplat_rtt_seconds"
PICKUP = "tcplat_pickup_seconds"

NOBODY = 9  # listens there
QUANTILES = (0.1, 0.5, 0.9, 0.99)


class Host(typing.NamedTuple):
    """What of a host is known beforehand. The delays and waits are far from the edges."""

    delay_ms: float  # each way
    connects: int
    refused: int
    segments: int  # sent, one after the other
    wait_ms: float  # of each pickup
    pickups: int


HOSTS = {
    "near": Host(5.5, 20, 3, 16, 3, 12),
    "middle": Host(22, 12, 2, 10, 24, 8),
    "far": Host(45, 8, 1, 6, 48, 5),
}


class Truth(typing.NamedTuple):
    """What has happened on a host. Of each value (least, most), in seconds."""

    values: dict  # name of the histogram: its values
    connects: dict  # outcome: how many
    nbytes: int  # picked up


@contextlib.contextmanager
def fleet(**options):
    """{name: (path, agent)}, each agent sees the clients of its own path."""
    with contextlib.ExitStack() as stack:
        hosts = {}
        for name, host in HOSTS.items():
            path = stack.enter_context(paths.delayline(delay=(host.delay_ms, host.delay_ms)))
            agent = stack.enter_context(Agent("--netns", path.client.inode, **options))
            hosts[name] = path, agent
        yield hosts


def at_prometheus(directory, hosts):
    return Prometheus(directory, {name: agent.address for name, (_, agent) in hosts.items()})


def connect(path, host):
    """So many connects that are answered, and so many that are refused."""
    with traffic.Server(path.server, path.server_v4) as server:
        for port, count in ((server.port, host.connects), (NOBODY, host.refused)):
            with traffic.Client(path.client, path.server_v4, port, repeat=count) as client:
                client.go()
                for _ in range(count):
                    assert client.result().established == (port == server.port)


def send_alone(one, count):
    """A segment after the other, each acknowledged before the next leaves; nothing comes back."""
    one.server.tell("recv", name=one.name, nbytes=100 * count)
    for _ in range(count):
        one.client.do("send", name=one.name, nbytes=100)
        until(lambda: not one.client.info(one.name).unacked, 10, "it to be acknowledged")
    assert one.server.answer().got == 100 * count


def pick_up(rcv, host):
    """Each segment is read so long after it has come, long before the next one."""
    gap = 2 * host.wait_ms + 2
    sends = [(gap * i, 100) for i in range(host.pickups)]
    reads = [(gap * i + host.delay_ms + host.wait_ms, "recv", 100) for i in range(host.pickups)]
    done = rcv.schedule(sends, reads)
    # what the line itself takes: never less, and at most a little more
    delay = host.delay_ms, host.delay_ms + 1
    assert [read.nbytes for read in done.reads] == [100] * host.pickups
    return [tuple(ms / 1000 for ms in done.wait_ms(i, i, delay)) for i in range(host.pickups)]


def sent_by(frames, addr):
    """The flows of all sockets at this address that were connected."""
    return sorted({frame.flow for frame in frames
                   if frame.flow[0] == addr and frame.flow[3] != NOBODY})


@contextlib.contextmanager
def busy(path, host):
    """The traffic of a host, all of it made when this yields its Truth; two sockets stay open."""
    with contextlib.ExitStack() as stack:
        with rtts.Wire(path.client, path.client_dev) as wire:
            connect(path, host)
            one = stack.enter_context(talk.talk(path))
            send_alone(one, host.segments)
            _, rcv = stack.enter_context(reader.pair(path, reader_connects=True))
            waits = pick_up(rcv, host)
        senders = [rtts.Sender(wire.packets, flow)
                   for flow in sent_by(wire.packets, path.client_v4)]
        assert not any(sender.retransmitted for sender in senders)
        samples = [sample for sender in senders for sample in sender.samples]
        exact = {CONNECT: [sample.rtt for sample in samples if sample.handshake],
                 RTT: [sample.rtt for sample in samples]}
        assert len(exact[CONNECT]) == host.connects + 2
        yield Truth({PICKUP: waits, **{name: [(us / 1e6, us / 1e6) for us in found]
                                       for name, found in exact.items()}},
                    {"established": host.connects + 2, "refused": host.refused},
                    100 * host.pickups)


def bucket(value):
    """(lower, upper) edge, in seconds, of the one that a value is in."""
    upper = 2 ** max(0, math.ceil(math.log2(max(value * 1e6, 1))))
    return (upper / 2 if upper > 1 else 0) / 1e6, upper / 1e6


def check_quantiles(prometheus, selector, values):
    """Of histograms that are added up: no quantile lies outside the bucket of the true one."""
    for share in QUANTILES:
        said = prometheus.one(f"histogram_quantile({share}, sum by (le) ({selector}))")
        rank = math.ceil(share * len(values)) - 1
        least, most = (sorted(one[i] for one in values)[rank] for i in (0, 1))
        low, high = bucket(least)[0], bucket(most)[1]
        assert low <= said <= high * (1 + 1e-9), (selector, share, said, least, most)


def check_values(prometheus, name, truths):
    """A histogram of each host by itself, and of the fleet."""
    more = '{outcome="established"}' if name == CONNECT else "{}"
    counts = {host: len(truth.values[name]) for host, truth in truths.items()}
    assert prometheus.by_host(f"{name}_count{more}") == counts
    sums = prometheus.by_host(f"{name}_sum{more}")
    for host, truth in truths.items():
        least, most = (sum(one[i] for one in truth.values[name]) for i in (0, 1))
        # between the stamps of the tap and those of TCP, at most so much for each
        noise = 0.001 * counts[host]
        assert least - noise <= sums[host] <= most + noise, (name, host)
        selector = f'{name}_bucket{more[:-1]}{"," if more != "{}" else ""}host="{host}"}}'
        check_quantiles(prometheus, selector, truth.values[name])
    check_quantiles(prometheus, f"{name}_bucket{more}",
                    [value for truth in truths.values() for value in truth.values[name]])


def check_counters(prometheus, truths):
    for outcome in ("established", "refused"):
        counts = {host: truth.connects[outcome] for host, truth in truths.items()}
        selector = f'tcplat_connects_total{{outcome="{outcome}"}}'
        assert prometheus.by_host(selector) == counts
        assert prometheus.one(f"sum({selector})") == sum(counts.values())
    assert prometheus.by_host("tcplat_pickup_bytes_total") == {
        host: truth.nbytes for host, truth in truths.items()}
    assert prometheus.one("sum(tcplat_syn_retransmits_total)") == 0
    assert prometheus.one("sum(tcplat_retransmitted_segments_total)") == 0
    assert prometheus.by_host("sum by (host) (tcplat_events_total)") == {
        host: sum(map(len, truth.values.values())) + truth.connects["refused"]
        for host, truth in truths.items()}
    assert prometheus.query("tcplat_lost_events_total > 0") == []


def test_what_prometheus_says_is_what_was_made(tmp_path):
    with fleet() as hosts, at_prometheus(tmp_path, hosts) as prometheus:
        prometheus.wait_up()
        with contextlib.ExitStack() as stack:
            truths = {name: stack.enter_context(busy(path, HOSTS[name]))
                      for name, (path, _) in hosts.items()}
            prometheus.wait_scrape()
            for name in (CONNECT, RTT, PICKUP):
                check_values(prometheus, name, truths)
            check_counters(prometheus, truths)
            prometheus.check_scrapes()


CONNECTS = 'tcplat_connects_total{host="middle",outcome="established"}'


def connects(path, count):
    """Of no other consequence; the server is gone when it returns."""
    with traffic.Server(path.server, path.server_v4) as server, \
            traffic.Client(path.client, server.addr, server.port, repeat=count) as client:
        client.go()
        for _ in range(count):
            assert client.result().established


def with_resets(values):
    """What a counter has counted in all its lives, by everything that was scraped."""
    return sum(after - before if after >= before else after
               for before, after in zip([0] + values, values))


def test_an_agent_is_killed_and_started_anew(tmp_path):
    """Down for a while, then it counts from zero again; the fleet's sum loses nothing."""
    with fleet() as hosts, at_prometheus(tmp_path, hosts) as prometheus:
        path, agent = hosts["middle"]
        prometheus.wait_up()
        connects(path, 7)
        prometheus.wait_for(lambda: prometheus.one(CONNECTS), 7)
        held = bpf_objects(agent.pid)
        started = prometheus.one('process_start_time_seconds{host="middle"}')
        agent.kill()
        prometheus.wait_up(near=1, middle=0, far=1)
        assert {kind for kind, _ in held} >= {"prog", "map"}
        assert not held & bpf_loaded()
        connects(path, 2)  # nobody sees these
        with Agent("--netns", path.client.inode, listen=agent.address):
            prometheus.wait_up()
            connects(path, 4)
            prometheus.wait_for(lambda: prometheus.one(CONNECTS), 4)
            prometheus.check_scrapes()
            assert prometheus.one('process_start_time_seconds{host="middle"}') > started
            ((_, scraped),) = prometheus.history(CONNECTS)
            assert with_resets([value for _, value in scraped]) == 7 + 4
            assert prometheus.one(f"resets({CONNECTS}[10m])") == 1
            assert prometheus.one(f"min_over_time(rate({CONNECTS}[3s])[10m:1s])") >= 0
            # It adds what it expects between the scrapes and the ends of the range, up to half an
            # interval for each; without knowing of the reset, it would say 4.
            assert 7 + 4 <= prometheus.one(f"increase({CONNECTS}[10m])") < 1.5 * (7 + 4)
            ups = [value for _, value in prometheus.history('up{host="middle"}')[0][1]]
            runs = [value for value, before in zip(ups, [None] + ups) if value != before]
            assert runs[-3:] == [1, 0, 1]


def test_an_agent_that_ends_is_no_fault(tmp_path):
    """SIGTERM ends it at once, whatever Prometheus holds open; its series end, and no page is
    cut: the last scrape was whole, the next finds nobody."""
    with fleet() as hosts, at_prometheus(tmp_path, hosts) as prometheus:
        prometheus.wait_up()
        _, agent = hosts["far"]
        agent.stop(timeout=2)
        prometheus.wait_up(near=1, middle=1, far=0)
        prometheus.wait_for(lambda: prometheus.query('tcplat_scrapes_total{host="far"}'), [])
        assert set(prometheus.by_host("tcplat_scrapes_total")) == {"near", "middle"}
        prometheus.check_log()


def test_it_speaks_openmetrics(tmp_path):
    """Prometheus asks for that first; the types and units it keeps are then those of the page."""
    with fleet() as hosts, at_prometheus(tmp_path, hosts) as prometheus:
        prometheus.wait_up()
        prometheus.wait_for(lambda: len(prometheus.ask("metadata", metric=RTT)), 1)
        (metadata,) = prometheus.ask("metadata", metric=RTT)[RTT]
        assert (metadata["type"], metadata["unit"]) == ("histogram", "seconds")
        # by its name without _total: only OpenMetrics has families of counters go by that
        (metadata,) = prometheus.ask("metadata", metric="tcplat_connects")["tcplat_connects"]
        assert metadata["type"] == "counter"
        prometheus.check_scrapes()
