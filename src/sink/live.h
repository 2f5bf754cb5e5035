/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The summary of a host: what live.c adds up and live_print.c prints. */
#ifndef TCPLAT_SINK_LIVE_H
#define TCPLAT_SINK_LIVE_H

#include <stddef.h>

#include "record/record.h"
#include "sink/out.h"

/* All of an interval, or of the run. Of connects, the histogram has the established ones. */
struct tally {
	__u64 length_ns;
	__u64 outcomes[TCPLAT_NR_OUTCOMES];
	__u64 retransmits;
	struct histogram kinds[TCPLAT_NR_KINDS]; /* merged; the first is not used */
};

/* A remote address or a program in an interval. */
struct party {
	__u8 id[16]; /* the address, or the comm */
	__u64 connects, failed, retransmits;
	struct histogram *kinds[TCPLAT_NR_KINDS]; /* merged, owned, NULL: none */
	/* Of these, once all is there; 0 where there is none. */
	__u64 p50[TCPLAT_NR_KINDS], p99[TCPLAT_NR_KINDS];
	struct party *next;
};

_Static_assert(sizeof(((struct tcplat_hist_key *)0)->raddr) == 16 && TCPLAT_COMM_LEN == 16,
	       "addresses and names are of one size");

/* Those to be shown, the worst first. */
struct worst {
	struct party **items;
	size_t n;
};

void live_print_interval(struct out *o, __u64 unix_ns, const struct tally *t,
			 const struct worst *addresses, const struct worst *programs);
void live_print_run(struct out *o, const struct tally *t);

#endif /* TCPLAT_SINK_LIVE_H */
