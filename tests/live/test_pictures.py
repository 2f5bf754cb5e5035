# SPDX-License-Identifier: GPL-2.0-or-later
"""--stats and --heatmap, live: of each measurement, what was there and nothing else."""

import re

import pytest

from lib.tool import Tracer, run_tool
from lib.traffic import Server, connect_once

VIEWS = ["connect", "rtt", "pickup"]


def asking(path, tracer, times=5):
    """Connections with a question and an answer each, of a known name."""
    with Server(path.server, path.server_v4, mode="echo") as server:
        for _ in range(times):
            assert connect_once(path.client, server.addr, server.port, comm=b"asks",
                                payload=b"hello").established
        return tracer.stop()


def cells(line):
    return line.split()


@pytest.mark.parametrize("view", VIEWS)
def test_a_line_for_each_key(delayline, view):
    with Tracer(view, "--stats", "--by", "raddr,comm", "--netns", delayline.client.inode,
                "--comm", "asks") as tracer:
        stopped = asking(delayline, tracer)
    assert stopped.status == 0
    title, header, line = tracer.lines
    assert title == {"connect": "connect latency", "rtt": "round-trip time",
                     "pickup": "pickup latency"}[view]
    names = cells(header)
    assert names[:2] == ["RADDR", "COMM"]
    values = dict(zip(names, cells(line)))
    assert (values["RADDR"], values["COMM"]) == (delayline.server_v4, "asks")
    count = int(values["SAMPLES" if view == "rtt" else "COUNT"])
    # one connect and one answer each; of samples the handshake's, the question's, the FIN's
    assert 5 <= count <= (20 if view == "rtt" else 5)
    if view != "pickup":
        assert re.fullmatch(r"2\d(\.\d)?ms", values["MIN"]), line
    if view == "rtt":
        assert values["RETRANS"] == "0"


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_that_matches(delayline, view):
    with Tracer(view, "--stats", "-R", "192.0.2.0/24") as tracer:
        asking(delayline, tracer, 1)
    assert [line for line in tracer.lines if line] == [
        {"connect": "connect latency", "rtt": "round-trip time",
         "pickup": "pickup latency"}[view] + ": none"]
    with Tracer(view, "--heatmap", "-R", "192.0.2.0/24") as tracer:
        asking(delayline, tracer, 1)
    assert tracer.lines[0].endswith(": none")


@pytest.mark.parametrize("view", VIEWS)
def test_heat(delayline, view):
    """All that was counted is in the picture; what passed the line is at 16 to 32 ms."""
    with Tracer(view, "--heatmap", "-i", "60", "--netns", delayline.client.inode,
                env={"LC_ALL": "C", "COLUMNS": "60"}) as tracer:
        assert asking(delayline, tracer).status == 0
    total = int(re.search(r"total (\d+)", tracer.lines[0])[1])
    assert 5 <= total <= (20 if view == "rtt" else 5)
    rows = [line for line in tracer.lines if "|" in line]
    marked = [line.split("|")[0].strip() for line in rows if line.split("|")[1].strip()]
    assert marked
    if view != "pickup":
        assert all(re.fullmatch(r"(1[6-9]|2\d|3[0-2])(\.\d+)?ms", label) for label in marked), rows


def test_the_worst_first(loopback):
    """--sort and --top: of five ports with a different number of connects each."""
    with Server(loopback.server, "0.0.0.0") as server, \
            Tracer("connect", "--stats", "--by", "raddr", "--top", "2", "--netns",
                   loopback.client.inode) as tracer:
        for i in range(1, 6):
            for _ in range(i):
                assert connect_once(loopback.client, f"127.0.0.{i}", server.port).established
        tracer.stop()
    assert [cells(line)[:2] for line in tracer.lines[2:4]] == [["127.0.0.5", "5"],
                                                              ["127.0.0.4", "4"]]
    assert len(tracer.lines) == 4


def test_an_option_of_another_view():
    done = run_tool(["connect", "--jitter"])
    assert (done.status, done.stdout) == (2, "")
