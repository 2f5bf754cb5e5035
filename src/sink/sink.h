/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sinks: what becomes of records, histograms and the summary. A sink writes to
 * its out, whose error state the session watches; it reports nothing itself.
 */
#ifndef TCPLAT_SINK_SINK_H
#define TCPLAT_SINK_SINK_H

#include "record/column.h"
#include "record/record.h"
#include "sink/out.h"

struct sink;

struct sink_ops {
	/* Called once when tracing has begun; prints headers. */
	void (*begin)(struct sink *s);
	void (*record)(struct sink *s, const struct record *r);
	void (*histogram)(struct sink *s, const struct histogram *h);
	/* An interval has ended at unix_ns; its n histograms follow. */
	void (*interval)(struct sink *s, __u64 unix_ns, unsigned n);
	/* Its histograms are through. */
	void (*interval_end)(struct sink *s);
	void (*summary)(struct sink *s, const struct summary *sum);
	void (*free)(struct sink *s);
};

struct sink {
	const struct sink_ops *ops;
	struct out *out; /* borrowed */
};

#define TABLE_MAX_CELLS 32

/* One column of a table, as a view wants it. */
struct cell {
	const struct column *column;
	const char *header;
	unsigned width; /* least width */
	unsigned cut;	/* longest text, 0: no limit */
	bool right;
};

struct table_layout {
	const struct cell *cells; /* borrowed */
	unsigned n;
	/* Widen a column, and repeat the header, when a value needs more. */
	bool adaptive;
};

/* Each returns a sink to be freed with sink_free(), or NULL without memory. */
struct sink *sink_table_new(struct out *out, const struct table_layout *layout);
struct sink *sink_json_new(struct out *out);
/* title: what the histograms are of, borrowed. */
struct sink *sink_hist_new(struct out *out, const char *title, bool timestamps);
/* One line for each key, in columns: by, mask of enum tcplat_key, says which. */
struct sink *sink_stats_new(struct out *out, const char *title, __u32 by, bool timestamps);
/* Time across, latency down. */
struct sink *sink_heatmap_new(struct out *out, const char *title);

/* The original tool's histogram: a bar for each power of two. */
struct log2_layout {
	const char *unit;  /* "usecs" or "msecs" */
	const char *label; /* of a section: "Remote Address"; NULL: no sections */
	__u32 by;	   /* TCPLAT_KEY_LADDR, _RADDR or 0 */
	bool average;	   /* behind a section's name */
	bool timestamp;
};

struct sink *sink_log2_new(struct out *out, const struct log2_layout *layout);
/* The summary of a host: all measurements, the worst of their keys. */
struct sink *sink_live_new(struct out *out, __u32 top);

void sink_free(struct sink *s);

static inline void sink_freep(struct sink **s)
{
	sink_free(*s);
}

/* The summary in words on stderr, if anything was lost or with -v. */
void summary_to_stderr(const struct summary *sum);

#endif /* TCPLAT_SINK_SINK_H */
