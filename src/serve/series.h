/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is exposed: histograms by their labels, which only ever grow. The kernel's
 * keys are added up here; a series lives until it has to make room, and its counts
 * then go on in the one that stands for all others.
 */
#ifndef TCPLAT_SERVE_SERIES_H
#define TCPLAT_SERVE_SERIES_H

#include <stddef.h>

#include "record/record.h"

/* The upper bounds of exposed buckets: some of the kernel histogram's own edges. */
struct edges {
	unsigned n;				/* finite ones; +Inf is one more */
	__u16 of_bucket[TCPLAT_HIST_BUCKETS];	/* where the kernel's buckets count */
	char text[TCPLAT_HIST_BUCKETS + 1][24]; /* in seconds; the last one "+Inf" */
};

/* fine: the edge of each bucket; else those that are powers of two microseconds. */
void edges_init(struct edges *e, bool fine);

struct series {
	__u8 kind; /* enum tcplat_kind */
	__u8 part; /* enum tcplat_part */
	__u8 outcome;
	bool other;	     /* stands for all that found no room */
	__u32 used;	     /* the reading in which it last gained anything */
	__u32 rank;	     /* among those of its kind, the last to be folded first */
	struct series *into; /* while it is being folded: where its counts went */
	char *labels;	     /* `outcome="refused",raddr="::1"`, escaped; may be empty */
	__u64 sum_ns, count, beside;
	__u64 counts[]; /* by edge, each on its own, the last one +Inf */
};

struct series_table;

/* edges: borrowed. NULL: no memory. */
struct series_table *series_table_new(const struct edges *edges);
void series_table_free(struct series_table *t);

/*
 * The series of these labels, made if there is none. other: it stands for others,
 * and is never folded. NULL: no memory.
 */
struct series *series_get(struct series_table *t, const struct tcplat_hist_key *key,
			  const char *labels, bool other);

/* Adds what a histogram has gained, in this reading. */
void series_add(const struct series_table *t, struct series *s, const struct histogram *h,
		__u32 reading);

/* Lines that all of them take, and how many there are. */
size_t series_lines(const struct series_table *t);
size_t series_count(const struct series_table *t);
const struct series *series_at(const struct series_table *t, size_t i);

/*
 * Folds series that were used longest ago until at most so many lines are left, each
 * into the series of the others of its kind; of equally old ones those first that have
 * counted least, of all kinds as many: each has events of another frequency. They stay
 * in memory, with `into` set, until series_drop_folded().
 * Returns their number, or a negative errno.
 */
int series_fold(struct series_table *t, size_t max_lines);
void series_drop_folded(struct series_table *t);

#endif /* TCPLAT_SERVE_SERIES_H */
