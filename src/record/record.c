// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/record.h"

#include <math.h>
#include <string.h>

#include "core/cleanup.h"

static const char *const outcome_names[] = {
	[TCPLAT_ESTABLISHED] = "established",
	[TCPLAT_REFUSED] = "refused",
	[TCPLAT_RESET] = "reset",
	[TCPLAT_TIMED_OUT] = "timed_out",
	[TCPLAT_HOST_UNREACHABLE] = "host_unreachable",
	[TCPLAT_NETWORK_UNREACHABLE] = "network_unreachable",
	[TCPLAT_ABORTED] = "aborted",
	[TCPLAT_NO_LOCAL_PORT] = "no_local_port",
	[TCPLAT_ERROR] = "error",
};
_Static_assert(ARRAY_SIZE(outcome_names) == TCPLAT_NR_OUTCOMES, "a name for each outcome");

static const char *const lost_names[] = {
	[TCPLAT_LOST_RING_FULL] = "ring_full",	   [TCPLAT_LOST_NO_STATE] = "no_state",
	[TCPLAT_LOST_REENTERED] = "reentered",	   [TCPLAT_LOST_KEYS_FULL] = "keys_full",
	[TCPLAT_LOST_FIFO_MERGED] = "fifo_merged", [TCPLAT_LOST_CLOCK] = "clock",
};
_Static_assert(ARRAY_SIZE(lost_names) == TCPLAT_NR_LOST, "a name for each loss");

static const char *const kind_names[] = {
	[TCPLAT_KIND_CONNECT] = "connect",
	[TCPLAT_KIND_PICKUP] = "pickup",
};

static const char *const part_names[] = {
	[TCPLAT_PART_TOTAL] = "total",
	[TCPLAT_PART_WAKE] = "wake",
	[TCPLAT_PART_RUNQ] = "runq",
	[TCPLAT_PART_APP] = "app",
};
_Static_assert(ARRAY_SIZE(part_names) == TCPLAT_NR_PARTS, "a name for each part");

__u64 record_latency_ns(const struct record *r)
{
	return r->ev.kind == TCPLAT_KIND_PICKUP ? r->pickup.latency_ns : r->connect.latency_ns;
}

void record_set_latency(struct record *r, __u64 ns)
{
	if (r->ev.kind == TCPLAT_KIND_PICKUP)
		r->pickup.latency_ns = ns;
	else
		r->connect.latency_ns = ns;
}

__u32 record_outcome(const struct record *r)
{
	return r->ev.kind == TCPLAT_KIND_CONNECT ? r->connect.outcome : ~0U;
}

const char *outcome_name(unsigned outcome)
{
	return outcome < TCPLAT_NR_OUTCOMES ? outcome_names[outcome] : "?";
}

int outcome_from_name(const char *name)
{
	for (int i = 0; i < TCPLAT_NR_OUTCOMES; i++)
		if (!strcmp(name, outcome_names[i]))
			return i;
	return -1;
}

const char *part_name(unsigned part)
{
	return part < TCPLAT_NR_PARTS ? part_names[part] : "?";
}

int part_from_name(const char *name)
{
	for (int i = 0; i < TCPLAT_NR_PARTS; i++)
		if (!strcmp(name, part_names[i]))
			return i;
	return -1;
}

const char *kind_name(unsigned kind)
{
	return kind < ARRAY_SIZE(kind_names) && kind_names[kind] ? kind_names[kind] : "?";
}

const char *lost_name(enum tcplat_counter which)
{
	return lost_names[which];
}

__u64 summary_lost(const struct summary *s)
{
	__u64 sum = 0;

	for (int i = 0; i < TCPLAT_NR_LOST; i++)
		sum += s->lost[i];
	return sum;
}

__u64 histogram_lower(const struct histogram *h, unsigned i)
{
	return tcplat_hist_lower(i) * h->step_ns;
}

__u64 histogram_upper(const struct histogram *h, unsigned i)
{
	return i + 1 < TCPLAT_HIST_BUCKETS ? tcplat_hist_lower(i + 1) * h->step_ns : ~0ULL;
}

__u64 histogram_quantile(const struct histogram *h, double p)
{
	__u64 rank, before = 0, lo, hi;
	unsigned i;

	if (!h->count)
		return 0;
	rank = (__u64)ceil(p * (double)h->count);
	if (rank < 1)
		rank = 1;
	if (rank >= h->count)
		return h->max_ns;
	for (i = 0; i < TCPLAT_HIST_BUCKETS - 1 && before + h->counts[i] < rank; i++)
		before += h->counts[i];
	lo = histogram_lower(h, i);
	hi = histogram_upper(h, i);
	if (lo < h->min_ns)
		lo = h->min_ns;
	if (hi > h->max_ns)
		hi = h->max_ns;
	/* Extremes of another moment than the counts', live or in a recording. */
	if (hi <= lo || !h->counts[i])
		return lo < h->max_ns ? lo : h->max_ns;
	/* Half a place in: one value alone stands in the middle of its bucket. */
	return lo +
	       (__u64)((double)(hi - lo) * ((double)(rank - before) - 0.5) / (double)h->counts[i]);
}
