/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A page of metrics: all series as they were at one reading, shared by whoever
 * asks at that moment, and written piece by piece as each client takes it.
 */
#ifndef TCPLAT_SERVE_PAGE_H
#define TCPLAT_SERVE_PAGE_H

#include "serve/self.h"
#include "serve/series.h"

struct page;

/*
 * A copy of what t holds; self and edges are copied and borrowed. With one reference,
 * which is the caller's. NULL: no memory.
 */
struct page *page_new(const struct series_table *t, const struct edges *edges,
		      const struct self *self);
struct page *page_ref(struct page *p);
void page_unref(struct page *p);

/* How many there are: clients that take their time hold theirs. */
size_t pages_held(void);

static inline void page_unrefp(struct page **p)
{
	page_unref(*p);
}

struct page_reader;

/* From its beginning, in the Prometheus text format 0.0.4 or OpenMetrics 1.0. Takes a
 * reference of its own. NULL: no memory. */
struct page_reader *page_open(struct page *p, bool openmetrics);
void page_close(struct page_reader *r);

/* The next whole lines, as many as fit; 0 at the end. max: at least PAGE_LEAST. */
#define PAGE_LEAST (16 * 1024)
size_t page_read(struct page_reader *r, char *buf, size_t max);

/* Lines beside those of series: of ourselves, and of headers, at most. */
#define PAGE_LINES (SELF_LINES + 8 * 3 + 1)

#endif /* TCPLAT_SERVE_PAGE_H */
