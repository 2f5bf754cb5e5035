# SPDX-License-Identifier: GPL-2.0-or-later
"""A page of metrics, read as strictly as the two formats allow: Malformed for all that is wrong.

Prometheus' own readers forgive much (a family in two pieces, buckets that shrink, an edge that is
missing); what a page must be is written down at prometheus.io, in "Exposition formats", and in the
specification of OpenMetrics 1.0.
"""

import math
import re
import typing

TEXT = "text/plain"
OPENMETRICS = "application/openmetrics-text"

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|Inf)|NaN")
_ESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

# type -> what may follow the family's name in a sample's
_SUFFIXES = {
    TEXT: {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")},
    OPENMETRICS: {"counter": ("_total",), "gauge": ("",), "info": ("_info",),
                  "histogram": ("_bucket", "_sum", "_count")},
}


class Malformed(AssertionError):
    pass


def _must(condition, *what):
    if not condition:
        raise Malformed(*what)


class Sample(typing.NamedTuple):
    name: str
    labels: dict
    value: float
    text: str  # of the value


class Histogram(typing.NamedTuple):
    labels: dict
    buckets: list  # (edge, how many up to it), by edge; the last edge is infinite
    sum: float
    count: int

    def up_to(self, edge):
        """How many are in the buckets up to this edge, which has to be one."""
        return dict(self.buckets)[edge]


class Family:
    def __init__(self, name):
        self.name = name
        self.type = self.help = self.unit = None
        self.samples = []

    def of(self, suffix, labels):
        """The value of the one sample with precisely these labels."""
        (sample,) = [s for s in self.samples
                     if s.name == self.name + suffix and s.labels == labels]
        return sample.value

    def histograms(self):
        """All of them, in the order of the page."""
        found = {}
        for sample in self.samples:
            labels = {name: text for name, text in sample.labels.items() if name != "le"}
            parts = found.setdefault(tuple(sorted(labels.items())), {"buckets": []})
            if sample.name == self.name + "_bucket":
                parts["buckets"].append((float(sample.labels["le"]), int(sample.value)))
            else:
                parts[sample.name[len(self.name) + 1:]] = sample.value
        return [Histogram(dict(labels), parts["buckets"], parts["sum"], int(parts["count"]))
                for labels, parts in found.items()]


class Page:
    """What was read. Families go by the names that the text format has: counters with _total."""

    def __init__(self, text, kind):
        self.text = text
        self.kind = kind
        self.families = {}
        _Reader(self).read()

    def __contains__(self, name):
        return name in self.families

    def value(self, name, **labels):
        """Of a counter or gauge with precisely these labels; 0.0 of a series not there (yet)."""
        family = self.families.get(name)
        found = [s.value for s in family.samples if s.labels == labels] if family else []
        return found[0] if found else 0.0

    def values(self, name):
        """{labels, as a sorted tuple of pairs: value}, of a counter or gauge."""
        samples = self.families[name].samples if name in self.families else ()
        return {tuple(sorted(s.labels.items())): s.value for s in samples}

    def total(self, name, **labels):
        """The sum over all series that have at least these labels."""
        samples = self.families[name].samples if name in self.families else ()
        return sum(s.value for s in samples if labels.items() <= s.labels.items())

    def histograms(self, name, **labels):
        """Those that have at least these labels."""
        every = self.families[name].histograms() if name in self.families else ()
        return [one for one in every if labels.items() <= one.labels.items()]

    def histogram(self, name, **labels):
        """The one with precisely these labels."""
        (one,) = [one for one in self.histograms(name) if one.labels == labels]
        return one

    def lost(self):
        """{reason: how many}, those above zero."""
        return {dict(labels)["reason"]: int(value)
                for labels, value in self.values("tcplat_lost_events_total").items() if value}


class _Reader:
    def __init__(self, page):
        self._page = page
        self._open = page.kind == OPENMETRICS
        self._families = {}  # by their names in this format
        self._at = None  # the family that the last line was of
        self._seen = set()

    def read(self):
        text = self._page.text
        _must("\r" not in text and text.endswith("\n"), "line ends")
        lines = text[:-1].split("\n")
        if self._open:
            _must(lines.pop() == "# EOF", "no # EOF at the end")
        for line in lines:
            _must(line and line != "# EOF", "in the midst of the page", line)
            if line.startswith("#"):
                self._meta(line)
            else:
                self._sample(line)
        for family in self._families.values():
            self._check(family)
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            self._page.families[family.name + (suffix if self._open else "")] = family

    def _turn_to(self, name):
        """A family comes in one piece."""
        if self._at is None or self._at.name != name:
            _must(name not in self._families, "family in two pieces", name)
            self._at = self._families[name] = Family(name)
        return self._at

    def _meta(self, line):
        words = line.split(" ", 3)
        _must(len(words) == 4 and words[0] == "#" and words[1] in ("HELP", "TYPE", "UNIT"), line)
        _, what, name, text = words
        _must(_NAME.fullmatch(name), line)
        family = self._turn_to(name)
        _must(not family.samples, "said behind its samples", line)
        _must(getattr(family, what.lower()) is None, "said twice", line)
        _must(text and "\\" not in text.replace("\\\\", "").replace("\\n", ""), line)
        if what == "TYPE":
            _must(text in _SUFFIXES[self._page.kind], "no such type", line)
        if what == "UNIT" and self._open:
            _must(name.endswith("_" + text), "name without its unit", line)
        setattr(family, what.lower(), text)

    def _sample(self, line):
        name = _NAME.match(line)
        _must(name and self._at, line)
        name, rest = name[0], line[name.end():]
        suffixes = _SUFFIXES[self._page.kind].get(self._at.type, ())
        _must(name in [self._at.name + suffix for suffix in suffixes], "of another family", line)
        labels, rest = self._labels(rest, line)
        _must(rest.startswith(" ") and _NUMBER.fullmatch(rest[1:]), "no number", line)
        series = name, tuple(sorted(labels.items()))
        _must(series not in self._seen, "series twice", line)
        self._seen.add(series)
        self._at.samples.append(Sample(name, labels, float(rest[1:]), rest[1:]))

    @staticmethod
    def _labels(rest, line):
        labels = {}
        if not rest.startswith("{"):
            return labels, rest
        rest = rest[1:]
        while match := _LABEL.match(rest):
            _must(match[1] not in labels and not match[1].startswith("__"), "label", line)
            _must(match[2], "an empty label is none", line)
            labels[match[1]] = re.sub(r"\\.", lambda m: _ESCAPED[m[0]], match[2])
            rest = rest[match.end():]
            if not rest.startswith(","):
                break
            rest = rest[1:]
            _must(not rest.startswith("}"), "comma at the end", line)
        _must(rest.startswith("}") and labels, "labels", line)
        return labels, rest[1:]

    def _check(self, family):
        _must(family.type and family.help, "no type or no help", family.name)
        _must(family.samples, "a family without samples", family.name)
        if family.type == "counter":
            _must(family.name.endswith("_total") != self._open, "name of a counter", family.name)
        if family.type in ("counter", "histogram"):
            _must(all(s.value >= 0 and math.isfinite(s.value) for s in family.samples),
                  "below zero, or no number", family.name)
        if family.type == "histogram":
            self._check_order(family)
            for one in family.histograms():
                _check_histogram(family.name, one)

    @staticmethod
    def _check_order(family):
        """A histogram's lines are together: its buckets, then the sum, then the count."""
        form = [(tuple(sorted((k, v) for k, v in s.labels.items() if k != "le")),
                 s.name[len(family.name):]) for s in family.samples]
        for (labels, suffix), (after, next_suffix) in zip(form, form[1:] + [(None, "_bucket")]):
            follow = {"_bucket": ("_bucket", "_sum"), "_sum": ("_count",),
                      "_count": ("_bucket",)}[suffix]
            _must(next_suffix in follow and (labels == after) == (suffix != "_count"),
                  "lines of a histogram are apart", family.name, labels)
        for sample in family.samples:
            _must(("le" in sample.labels) == sample.name.endswith("_bucket"), "le", sample)


def _check_histogram(name, one):
    edges = [edge for edge, _ in one.buckets]
    counts = [count for _, count in one.buckets]
    _must(edges and edges[-1] == math.inf, "no bucket without an edge", name, one.labels)
    _must(all(a < b for a, b in zip(edges, edges[1:])), "edges do not rise", name, one.labels)
    _must(all(a <= b for a, b in zip(counts, counts[1:])), "buckets shrink", name, one.labels)
    _must(counts[-1] == one.count, "count is not that of +Inf", name, one.labels)
    # each value is at least the edge below its bucket, and at most that above
    inside = [b - a for a, b in zip([0] + counts, counts)]
    least = sum(n * low for n, low in zip(inside, [0] + edges))
    most = sum(n * high for n, high in zip(inside, edges) if n)
    _must(least * (1 - 1e-9) <= one.sum <= most * (1 + 1e-9), "sum", name, one.labels, one.sum)


def parse(body, content_type):
    """A page from its bytes, in the format that its Content-Type says."""
    kind, *parameters = [word.strip() for word in content_type.split(";")]
    _must(kind in _SUFFIXES, "Content-Type", content_type)
    version = "version=0.0.4" if kind == TEXT else "version=1.0.0"
    _must(version in parameters and "charset=utf-8" in parameters, "Content-Type", content_type)
    return Page(body.decode("utf-8"), kind)
