# SPDX-License-Identifier: GPL-2.0-or-later
"""How an agent begins and ends."""

import os
import signal

import pytest

from lib.commands import bpf_objects
from lib.serve import Agent


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
def test_ends_by(number):
    with Agent() as agent:
        tracer = agent.pid
        held = bpf_objects(tracer)
        assert held
        stopped = agent.stop(number)
    assert stopped.status == 0
    assert stopped.stderr.splitlines()[1:] == []


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGHUP))
def test_ignores_what_was_ignored(number):
    """nohup(1), and what a script starts in the background."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        agent = Agent()
    finally:
        signal.signal(number, before)
    with agent:
        os.kill(agent.pid, number)
        # The signal was there before this is answered.
        assert "tcplat_build_info" in agent.scrape()
        assert agent.stop().status == 0


def test_default_addresses_are_both():
    """Where nobody else has that port, as on a machine that runs these tests."""
    with Agent(listen=None) as agent:
        ready = agent.err.find("[::1]:9762", 5)
        assert agent.address == "127.0.0.1:9762"
        assert ready == "tcplat: serving on http://[::1]:9762/metrics"


def test_port_in_use():
    with Agent() as first:
        with pytest.raises(RuntimeError) as problem:
            Agent(listen=first.address)
    assert f"tcplat: --listen: '{first.address}' is in use already" in str(problem.value)
    assert "status 1" in str(problem.value)
