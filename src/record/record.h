/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What flows from sources to sinks: records (one event), histograms (an
 * interval's counts for one key) and the summary at the end. All pointers are
 * borrowed and valid only during the call that hands them over.
 */
#ifndef TCPLAT_RECORD_RECORD_H
#define TCPLAT_RECORD_RECORD_H

#include "tcplat/config.h"

#include <stdbool.h>

/* What an address stands for, as a key. */
struct subnet {
	bool is_net; /* not itself, but all that begins with the same */
	__u8 bits;   /* so many: 0 to 32, or 0 to 128 */
};

struct record {
	union {
		struct tcplat_event ev; /* who and where, whatever the kind */
		struct tcplat_connect_event connect;
		struct tcplat_pickup_event pickup;
		struct tcplat_rtt_event rtt;
	};
	__u64 unix_ns;	      /* end of the event, CLOCK_REALTIME */
	__u64 since_first_ns; /* since the first record of this run */
	const char *cgroup;   /* path, or "#id" where the group is gone */
	/* Where it stands for a histogram's key: */
	__u8 part; /* enum tcplat_part */
	struct subnet laddr_net, raddr_net;
};

/* Family of a 16-byte address: 4 if mapped, else 6. */
int addr_ip(const __u8 addr[16]);

/* Latency of a record of any kind, in nanoseconds. */
__u64 record_latency_ns(const struct record *r);
void record_set_latency(struct record *r, __u64 ns);
/* What of it is shown, enum tcplat_value: its latency, unless a sample says more. */
__u64 record_value_ns(const struct record *r, unsigned value);
/* enum tcplat_outcome, or ~0U for kinds that have none. */
__u32 record_outcome(const struct record *r);

/* "established" … as in JSON; unknown values give "?". */
const char *outcome_name(unsigned outcome);
/* Returns -1 for a name that is none. */
int outcome_from_name(const char *name);
/* "total" … of a pickup's latency. */
const char *part_name(unsigned part);
/* Returns -1 for a name that is none. */
int part_from_name(const char *name);
/* "connect" …; the metric's and the event's name. */
const char *kind_name(unsigned kind);
/* "sample" …: enum tcplat_value. */
const char *value_name(unsigned value);
/* Returns -1 for a name that is none. */
int value_from_name(const char *name);

struct histogram {
	struct tcplat_hist_key key;
	__u32 by; /* which members of key count, mask of enum tcplat_key */
	const char *cgroup;
	__u64 unix_ns;	   /* end of the interval */
	__u64 interval_ns; /* its length */
	__u64 step_ns;	   /* grid, see tcplat/hist.h */
	__u64 count;
	__u64 sum_ns;
	__u64 min_ns;
	__u64 max_ns;
	__u64 retransmits; /* segments; rtt only, and there may be no sample beside them */
	__u64 beside;	   /* the same, or SYNs sent again, or bytes picked up */
	__u32 slot;	   /* of the kernel's table */
	__u8 value;	   /* enum tcplat_value; rtt only */
	struct subnet laddr_net, raddr_net;
	__u64 counts[TCPLAT_HIST_BUCKETS];
};

/* Fills in what the configuration says, once the key is there: by, step, value, subnets. */
void histogram_describe(struct histogram *h, const volatile struct tcplat_config *cfg);

/*
 * The p-th quantile (0 < p <= 1) in nanoseconds by nearest rank, placed within
 * its bucket in proportion and never outside [min, max]; 0 when empty. Off by
 * at most a bucket's width: 12.5 % of the value, or an eighth of the unit.
 */
__u64 histogram_quantile(const struct histogram *h, double p);

/* Edges of bucket i in nanoseconds; the last bucket's upper edge is ~0. */
__u64 histogram_lower(const struct histogram *h, unsigned i);
__u64 histogram_upper(const struct histogram *h, unsigned i);

struct summary {
	__u64 events;
	__u64 unseen_start;
	__u64 still_open;
	__u64 lost[TCPLAT_NR_LOST];
};

/* "ring_full" … as in JSON. */
const char *lost_name(enum tcplat_counter which);
__u64 summary_lost(const struct summary *s);

#endif /* TCPLAT_RECORD_RECORD_H */
