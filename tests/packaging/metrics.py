# SPDX-License-Identifier: GPL-2.0-or-later
"""What the agent exposes, as the tables of docs/FLEET.md say it, and PromQL held against that."""

import re

from conftest import ROOT

# Labels that Prometheus adds, and the one that stands for what found no room.
OUTER = {"job", "instance", "le", "other"}
BELONGS = {"up": set()}
HISTOGRAM = ("_bucket", "_sum", "_count")


def rows(title):
    """The cells of the table whose first heading is title, without backquotes."""
    lines = (ROOT / "docs/FLEET.md").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(f"| {title} |"))
    for line in lines[first + 2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip()[1:-1].split("|")]


def quoted(text):
    return re.findall(r"`([^`]+)`", text)


def key_labels():
    return {name for _, labels in rows("key") for name in quoted(labels)}


def documented():
    """Name to (type, labels)."""
    found = {}
    for title in ("measurement", "about itself"):
        for name, kind, labels, _ in rows(title):
            names = set(quoted(labels))
            if re.search(r"\bK\b", labels):
                names |= key_labels() | {"other"}
            found[quoted(name)[0]] = (kind, names)
    return found


def series():
    """Name as it is in queries to labels."""
    found = dict(BELONGS)
    for name, (kind, labels) in documented().items():
        ends = HISTOGRAM if kind == "histogram" else ("",)
        found.update({name + end: labels | ({"le"} if end == "_bucket" else set())
                      for end in ends})
    return found


def strings_out(expr):
    """The expression without what is between quotes."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', expr)


def metrics_of(expr):
    """Metrics of ours that a query names, recorded ones aside."""
    return {name for name in re.findall(r"(?<![\w:])[a-z_][\w:]*", strings_out(expr))
            if ":" not in name and re.match(r"(tcplat_|process_|up$)", name)}


def labels_of(expr):
    """Labels that it selects or groups by."""
    bare = strings_out(expr)
    found = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"\"", bare))
    for names in re.findall(r"\b(?:by|on|without|group_left|group_right)\s*\(([^)]*)\)", bare):
        found |= {name.strip() for name in names.split(",") if name.strip()}
    return found


def complaints(expr):
    """What a query names that no agent exposes."""
    known = series()
    names = metrics_of(expr)
    wrong = [f"no metric {name}" for name in sorted(names - set(known))]
    allowed = OUTER.union(*(known[name] for name in names if name in known))
    if not names:
        allowed = OUTER.union(*known.values())
    return wrong + [f"no label {label}" for label in sorted(labels_of(expr) - allowed)]
