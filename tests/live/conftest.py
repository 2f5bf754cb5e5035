# SPDX-License-Identifier: GPL-2.0-or-later
"""What all live tests need: root, a clean start, and the paths that traffic takes."""

import os

import pytest

from lib import netns, paths, standstill


def pytest_collection_modifyitems(items):
    if os.geteuid():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        return
    # before a fixture of theirs is made
    for item in items:
        params = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if "netem" in params and paths.netem_missing():
            item.add_marker(pytest.mark.skip(reason=paths.netem_missing()))


def pytest_terminal_summary(terminalreporter):
    if standstill.in_all:
        terminalreporter.write_line(standstill.in_all)


@pytest.fixture(scope="session", autouse=True)
def swept():
    if os.geteuid():
        yield
        return
    netns.sweep()
    with standstill.watching():
        yield


@pytest.fixture(scope="module")
def loopback():
    with paths.loopback() as path:
        yield path


@pytest.fixture(scope="module")
def veth():
    with paths.veth() as path:
        yield path


@pytest.fixture(scope="module")
def delayline():
    """10 ms each way; tests that change it put it back."""
    with paths.delayline(delay=(10, 10)) as path:
        yield path


@pytest.fixture(scope="module")
def routed():
    with paths.routed(delay=(5, 5)) as path:
        yield path


@pytest.fixture(scope="module")
def netem():
    """10 ms each way too, by the kernel's own means."""
    with paths.netem(delay=(10, 10)) as path:
        yield path


@pytest.fixture(params=["delayline", "netem"])
def line(request):
    """How to build a path with a delay: ours, and the kernel's own."""
    return getattr(paths, request.param)


@pytest.fixture(params=["delayline", "netem"])
def twenty_ms(request):
    """Either, 10 ms each way."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["loopback", "veth", "delayline", "netem"])
def any_path(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=[4, 6])
def family(request):
    return request.param
