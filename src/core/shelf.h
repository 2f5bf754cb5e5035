/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The histograms of one interval, kept until all are there, so that the first
 * ones of an order can be shown first. Kept small: of its buckets only those
 * between the first and the last that count anything.
 */
#ifndef TCPLAT_CORE_SHELF_H
#define TCPLAT_CORE_SHELF_H

#include <stddef.h>

#include "cli/query.h"
#include "record/record.h"
#include "sink/sink.h"

struct shelved;

struct shelf {
	struct shelved **items;
	size_t n, max;
};

/* A copy, names and all. 0 or -ENOMEM. */
int shelf_add(struct shelf *s, const struct histogram *h);

/* Earlier intervals first; in each, those with the highest, equal ones by their keys. */
void shelf_sort(struct shelf *s, enum query_sort by);

/* Once sorted: behind the last one of the interval that the first-th is of. */
size_t shelf_end(const struct shelf *s, size_t first);

/* The i-th, valid until the next call; h is the room for it. */
void shelf_get(const struct shelf *s, size_t i, struct histogram *h);

/*
 * All of it to the sink, sorted as the query has it, interval by interval (a
 * recording has several), and empties it. An interval without any, which ended at
 * unix_ns, is one too where empty says so.
 */
void shelf_deliver(struct shelf *s, struct sink *sink, const struct query *q, __u64 unix_ns,
		   bool empty);

/* Empties it; what it took remains for the next interval. */
void shelf_clear(struct shelf *s);

/* And gives that back. */
void shelf_free(struct shelf *s);

#endif /* TCPLAT_CORE_SHELF_H */
