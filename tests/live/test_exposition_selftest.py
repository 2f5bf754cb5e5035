# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader of pages is strict: what breaks one rule of the formats is refused."""

import math

import pytest

from lib import exposition
from lib.exposition import Malformed, OPENMETRICS, TEXT

HEAD = "# HELP wait_seconds How long.\n# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n"
BUCKETS = ('wait_seconds_bucket{who="a",le="1e-06"} 1\n'
           'wait_seconds_bucket{who="a",le="0.5"} 3\n'
           'wait_seconds_bucket{who="a",le="+Inf"} 3\n')
ENDS = 'wait_seconds_sum{who="a"} 0.25\nwait_seconds_count{who="a"} 3\n'
GAUGE = "# HELP level How high.\n# TYPE level gauge\nlevel 7\n"
COUNTER = {TEXT: "# HELP n_total How many.\n# TYPE n_total counter\nn_total 2\n",
           OPENMETRICS: "# HELP n How many.\n# TYPE n counter\nn_total 2\n"}


def page(kind):
    return HEAD + BUCKETS + ENDS + GAUGE + COUNTER[kind] \
        + ("# EOF\n" if kind == OPENMETRICS else "")


def parse(text, kind):
    version = "0.0.4" if kind == TEXT else "1.0.0"
    return exposition.parse(text.encode(), f"{kind}; version={version}; charset=utf-8")


@pytest.mark.parametrize("kind", [TEXT, OPENMETRICS])
def test_a_good_page(kind):
    read = parse(page(kind), kind)
    assert set(read.families) == {"wait_seconds", "level", "n_total"}
    assert (read.value("level"), read.value("n_total"), read.value("missing")) == (7, 2, 0)
    one = read.histogram("wait_seconds", who="a")
    assert one == ({"who": "a"}, [(1e-06, 1), (0.5, 3), (math.inf, 3)], 0.25, 3)
    assert one.up_to(0.5) == 3


def test_escapes():
    text = GAUGE.replace("level 7", 'level{a="\\\\n\\n\\"\\\\",b="{},= #"} 7')
    (sample,) = parse(text, TEXT).families["level"].samples
    assert sample.labels == {"a": '\\n\n"\\', "b": "{},= #"}


BROKEN = {
    # what is done to the page: (old, new)
    "no end of the last line": ("n_total 2\n", "n_total 2"),
    "carriage return": ("level 7\n", "level 7\r\n"),
    "empty line": (GAUGE, "\n" + GAUGE),
    "no type": ("# TYPE level gauge\n", ""),
    "no help": ("# HELP level How high.\n", ""),
    "type twice": ("# TYPE level gauge\n", "# TYPE level gauge\n" * 2),
    "unknown type": ("level gauge", "level untyped_thing"),
    "type behind its samples": ("# TYPE level gauge\nlevel 7\n", "level 7\n# TYPE level gauge\n"),
    "family twice": (GAUGE, GAUGE + "# HELP m M.\n# TYPE m gauge\nm 1\n" + GAUGE),
    "family without samples": ("level 7\n", ""),
    "sample of another family": ("level 7\n", "level 7\nother 1\n"),
    "series twice": ("level 7\n", "level 7\nlevel 7\n"),
    "no number": ("level 7", "level seven"),
    "two numbers": ("level 7", "level 7 1700000000"),
    "two blanks": ("level 7", "level  7"),
    "empty labels": ("level 7", "level{} 7"),
    "empty value": ("level 7", 'level{a=""} 7'),
    "label twice": ("level 7", 'level{a="1",a="2"} 7'),
    "comma at the end": ("level 7", 'level{a="1",} 7'),
    "unknown escape": ("level 7", 'level{a="\\x1b"} 7'),
    "bare quote": ("level 7", 'level{a="b"c"} 7'),
    "reserved label": ("level 7", 'level{__a="1"} 7'),
    "negative counter": ("n_total 2", "n_total -2"),
    "infinite counter": ("n_total 2", "n_total +Inf"),
    "no bucket without an edge": ('wait_seconds_bucket{who="a",le="+Inf"} 3\n', ""),
    "edges in disorder": ('le="0.5"} 3', 'le="1e-07"} 3'),
    "edge twice": ('le="0.5"} 3', 'le="0.000001"} 1'),
    "buckets shrink": ('le="1e-06"} 1', 'le="1e-06"} 4'),
    "count is another": ("count{who=\"a\"} 3", "count{who=\"a\"} 4"),
    "no count": ('wait_seconds_count{who="a"} 3\n', ""),
    "no sum": ('wait_seconds_sum{who="a"} 0.25\n', ""),
    "sum too large": ("} 0.25", "} 1.1"),
    "sum too small": ("} 0.25", "} 0.000001"),
    "a bucket without le": ('{who="a",le="0.5"}', '{who="a"}'),
    "labels of another": ('wait_seconds_sum{who="a"}', 'wait_seconds_sum{who="b"}'),
    "buckets behind the sum": (BUCKETS + ENDS, ENDS + BUCKETS),
}


@pytest.mark.parametrize("kind", [TEXT, OPENMETRICS])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_page(name, kind):
    old, new = BROKEN[name]
    if name == "no end of the last line" and kind == OPENMETRICS:
        old, new = "# EOF\n", "# EOF"
    assert old in page(kind)
    with pytest.raises(Malformed):
        parse(page(kind).replace(old, new), kind)


@pytest.mark.parametrize("old, new", [
    ("# EOF\n", ""), ("# EOF\n", "# EOF\nlevel 8\n"), ("n_total 2", "n 2"),
    ("# TYPE n counter", "# TYPE n_total counter"),
    ("UNIT wait_seconds seconds", "UNIT wait_seconds ms"),
])
def test_only_in_openmetrics(old, new):
    with pytest.raises(Malformed):
        parse(page(OPENMETRICS).replace(old, new), OPENMETRICS)


@pytest.mark.parametrize("content_type", [
    "text/html; charset=utf-8", "text/plain", "text/plain; version=0.0.4",
    "text/plain; version=1.0.0; charset=utf-8",
    "application/openmetrics-text; version=0.0.4; charset=utf-8"])
def test_content_types(content_type):
    with pytest.raises(Malformed):
        exposition.parse(page(TEXT).encode(), content_type)
