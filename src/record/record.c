// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/record.h"

#include <math.h>
#include <stddef.h>
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
	[TCPLAT_KIND_RTT] = "rtt",
};

static const char *const value_names[] = {
	[TCPLAT_VALUE_SAMPLE] = "sample",     [TCPLAT_VALUE_SRTT] = "srtt",
	[TCPLAT_VALUE_MIN_RTT] = "min_rtt",   [TCPLAT_VALUE_JITTER] = "jitter",
	[TCPLAT_VALUE_RECEIVER] = "receiver",
};
_Static_assert(ARRAY_SIZE(value_names) == TCPLAT_NR_VALUES, "a name for each value");

static const char *const part_names[] = {
	[TCPLAT_PART_TOTAL] = "total",
	[TCPLAT_PART_WAKE] = "wake",
	[TCPLAT_PART_RUNQ] = "runq",
	[TCPLAT_PART_APP] = "app",
};
_Static_assert(ARRAY_SIZE(part_names) == TCPLAT_NR_PARTS, "a name for each part");

int addr_ip(const __u8 addr[16])
{
	static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(addr, mapped, sizeof(mapped)) ? 6 : 4;
}

/* It follows the common part in each of them. */
_Static_assert(offsetof(struct record, connect.latency_ns) ==
			       offsetof(struct record, pickup.latency_ns) &&
		       offsetof(struct record, connect.latency_ns) ==
			       offsetof(struct record, rtt.latency_ns),
	       "one place for the latency");

__u64 record_latency_ns(const struct record *r)
{
	return r->connect.latency_ns;
}

void record_set_latency(struct record *r, __u64 ns)
{
	r->connect.latency_ns = ns;
}

__u64 record_value_ns(const struct record *r, unsigned value)
{
	if (r->ev.kind == TCPLAT_KIND_RTT && value == TCPLAT_VALUE_SRTT)
		return r->rtt.srtt_us * 1000ULL;
	if (r->ev.kind == TCPLAT_KIND_RTT && value == TCPLAT_VALUE_MIN_RTT)
		return r->rtt.min_rtt_us * 1000ULL;
	return record_latency_ns(r);
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

const char *value_name(unsigned value)
{
	return value < TCPLAT_NR_VALUES ? value_names[value] : "?";
}

int value_from_name(const char *name)
{
	for (int i = 0; i < TCPLAT_NR_VALUES; i++)
		if (!strcmp(name, value_names[i]))
			return i;
	return -1;
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

static void describe_net(struct subnet *net, const __u8 addr[16],
			 const volatile struct tcplat_prefix *p)
{
	bool v6 = addr_ip(addr) == 6;

	net->bits = p->bits[v6];
	net->is_net = p->cut && net->bits < (v6 ? 128 : 32);
}

void histogram_describe(struct histogram *h, const volatile struct tcplat_config *cfg)
{
	h->by = cfg->by;
	if (h->key.kind != TCPLAT_KIND_CONNECT)
		h->by &= ~(__u32)TCPLAT_KEY_OUTCOME;
	if (h->key.rest)
		h->by &= TCPLAT_KEY_OUTCOME | TCPLAT_KEY_PART;
	h->step_ns = cfg->hist_step_ns;
	h->value = h->key.kind == TCPLAT_KIND_RTT ? cfg->rtt_value : 0;
	if (h->by & TCPLAT_KEY_LADDR)
		describe_net(&h->laddr_net, h->key.laddr, &cfg->laddr);
	if (h->by & TCPLAT_KEY_RADDR)
		describe_net(&h->raddr_net, h->key.raddr, &cfg->raddr);
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
