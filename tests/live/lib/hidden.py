# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a sample of a round trip that the wire shows has no row: the documented reasons."""

import collections
import math

from .capture import FIN


def _sent_again(frames, flow):
    """When segments were sent that had been sent before."""
    times, reach = [], None
    for frame in frames:
        if frame.flow == flow and frame.length:
            end = frame.seq + frame.length
            if reach is None or 0 < (end - reach) & 0xFFFFFFFF < 1 << 31:
                reach = end
            else:
                times.append(frame.time)
    return times


class _Closing:
    """What of one end is hidden since it, or the other end, has closed."""

    def __init__(self, frames, flow, shown):
        self._ours, self._theirs = (
            min((f.time for f in frames if f.flow == one and f.flags & FIN), default=math.inf)
            for one in (flow, flow[2:] + flow[:2]))
        self._shown = [sample.at for sample in shown]
        self._again = _sent_again(frames, flow)

    def hides(self, sample):
        if sample.closing or sample.at > self._theirs:
            return True
        if self._ours > self._theirs:
            return False
        # Its FIN leaves after all of its data, and when the program had closed is not on the wire.
        # But from then on, a sample is shown only when something is sent again, and at the pass
        # over all sockets that is made each second.
        shown, again = (sum(sample.at < at < self._ours for at in times)
                        for times in (self._shown, self._again))
        return shown <= again + 1


def why(frames, flow, compared):
    """{reason: samples of the wire that need not have a row}; see the manual, and rtts.py."""
    closing = _Closing(frames, flow, [sample for _, sample in compared.pairs])
    hidden = collections.defaultdict(list)

    def reason(sample):
        if closing.hides(sample):
            return "closed"
        return "recovers" if sample.recovering else "alike" if sample.alike else None

    for sample in compared.missing:
        hidden[reason(sample)].append(sample)
    # Of acknowledgements that came at once, another one may seem to be without a row.
    others = [sample for _, sample in compared.pairs if reason(sample) == "recovers"]
    for sample in hidden.pop(None, []):
        same = next((one for one in others if _like(one, sample)), None)
        if same:
            others.remove(same)
        hidden[same and reason(same)].append(sample)
    return hidden


def _like(one, other):
    return abs(one.at - other.at) < 0.001 and abs(one.rtt - other.rtt) < 50
