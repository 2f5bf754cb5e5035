/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the kernel's histograms to the exposed series: reads, adds up, makes room. */
#ifndef TCPLAT_SERVE_COLLECTOR_H
#define TCPLAT_SERVE_COLLECTOR_H

#include "cli/query.h"
#include "core/engine.h"
#include "serve/page.h"

struct collector;
struct groups;

/* Room for keys in the kernel, for a page of so many lines. */
__u32 collector_keys(const struct query *q);

/* All borrowed; groups may be NULL where no label is of a group. Negative errno. */
int collector_new(struct collector **c, struct engine *e, struct groups *groups,
		  const struct query *q);
void collector_free(struct collector *c);

static inline void collector_freep(struct collector **c)
{
	collector_free(*c);
}

/*
 * Takes what the kernel has counted since the last time into the series, folds those
 * that have no room, and gives idle keys of the kernel back. Negative errno, reported.
 */
int collector_read(struct collector *c);

/* CLOCK_MONOTONIC: when the last reading began; 0: there was none. */
__u64 collector_read_ns(const struct collector *c);

/*
 * The page as of the last reading, to be given back with page_unref(). self: what others
 * know of; the rest is filled in. NULL: no memory.
 */
struct page *collector_page(const struct collector *c, struct self *self);

#endif /* TCPLAT_SERVE_COLLECTOR_H */
