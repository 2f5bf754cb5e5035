# SPDX-License-Identifier: GPL-2.0-or-later
"""A plugin of pytest for guests: of the live tests only those that selected.txt names."""

import pathlib
import re

import pytest

LIST = pathlib.Path(__file__).with_name("selected.txt")


def patterns():
    """A star stands for anything; brackets, which are in most names, for themselves."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def matcher(pattern):
    return re.compile(".*".join(map(re.escape, pattern.split("*"))) + r"\Z").match


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    names = {item: item.nodeid.rpartition("/")[2] for item in items}
    wanted = set()
    for pattern in patterns():
        found = {item for item, name in names.items() if matcher(pattern)(name)}
        if not found:
            raise pytest.UsageError(f"{LIST.name}: no test is called {pattern}")
        wanted |= found
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = [item for item in items if item in wanted]
