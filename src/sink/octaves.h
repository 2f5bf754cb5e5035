/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A histogram's buckets as rows, one for each power of two: row 0 is below one
 * unit, row i is [2^(i-1), 2^i) units, and the last has no upper edge.
 */
#ifndef TCPLAT_SINK_OCTAVES_H
#define TCPLAT_SINK_OCTAVES_H

#include <string.h>

#include "record/record.h"

#define HISTOGRAM_ROWS (TCPLAT_HIST_OCTAVES + 2)

static inline unsigned histogram_row(unsigned bucket)
{
	return (bucket + TCPLAT_HIST_SUB - 1) / TCPLAT_HIST_SUB;
}

/* Its lower edge in nanoseconds; the upper one is that of the row behind it. */
static inline __u64 histogram_row_lower(unsigned row, __u64 step_ns)
{
	return row ? tcplat_hist_lower((row - 1) * TCPLAT_HIST_SUB + 1) * step_ns : 0;
}

/* The counts of each row; returns the highest of them. */
static inline __u64 histogram_rows(const struct histogram *h, __u64 rows[HISTOGRAM_ROWS])
{
	__u64 most = 0;

	memset(rows, 0, HISTOGRAM_ROWS * sizeof(rows[0]));
	for (unsigned i = 0; i < TCPLAT_HIST_BUCKETS; i++) {
		__u64 *row = &rows[histogram_row(i)];

		*row += h->counts[i];
		if (*row > most)
			most = *row;
	}
	return most;
}

#endif /* TCPLAT_SINK_OCTAVES_H */
