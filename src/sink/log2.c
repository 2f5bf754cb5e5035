// SPDX-License-Identifier: GPL-2.0-or-later
/* The original tool's histogram: a row for each power of two, from the lowest. */
#include <stdlib.h>

#include "cli/parse.h"
#include "core/cleanup.h"
#include "record/text.h"
#include "sink/octaves.h"
#include "sink/sink.h"

#define BAR 40

struct log2_sink {
	struct sink sink;
	struct log2_layout layout;
};

static struct log2_sink *log2_of(struct sink *s)
{
	return (struct log2_sink *)((char *)s - offsetof(struct log2_sink, sink));
}

static void log2_begin(struct sink *s)
{
	out_printf(s->out, "Tracing TCP RTT... Hit Ctrl-C to end.\n");
}

static void interval(struct sink *s, __u64 unix_ns, unsigned n)
{
	char time[TEXT_TIME_LEN];

	(void)n;
	out_printf(s->out, "\n");
	if (log2_of(s)->layout.timestamp) {
		text_time_of_day(time, unix_ns);
		out_printf(s->out, "%.8s\n", time);
	}
}

static __u64 unit_ns(const struct histogram *h)
{
	return h->step_ns * TCPLAT_HIST_SUB;
}

static void put_section(struct out *o, const struct log2_layout *layout, const struct histogram *h)
{
	char address[COLUMN_TEXT_LEN] = "*******";
	struct record r;

	if (h->by & layout->by) {
		record_of_key(&r, h);
		column_find(key_name(layout->by), h->key.kind)->text(&r, address, sizeof(address));
	}
	out_printf(o, "\n%s = %s", layout->label, address);
	if (layout->average)
		out_printf(o, " [AVG %llu]", h->sum_ns / h->count / unit_ns(h));
	out_printf(o, "\n");
}

static void put_rows(struct out *o, const struct histogram *h)
{
	__u64 rows[HISTOGRAM_ROWS], most;
	unsigned last = HISTOGRAM_ROWS - 1;

	most = histogram_rows(h, rows);
	/* The first row of the original is what is below two units. */
	rows[1] += rows[0];
	if (rows[1] > most)
		most = rows[1];
	while (last && !rows[last])
		last--;
	for (unsigned row = 1; row <= last; row++) {
		__u64 high = (1ULL << row) - 1, low = row > 1 ? (1ULL << row) >> 1 : 0;
		int bar = (int)(BAR * (double)rows[row] / (double)most);

		out_printf(o, "%10llu -> %-10llu : %-8llu |%-*.*s|\n", low, high, rows[row], BAR,
			   bar, "****************************************");
	}
}

static void histogram(struct sink *s, const struct histogram *h)
{
	const struct log2_layout *layout = &log2_of(s)->layout;

	/* Segments sent again, but no round trip: the original knows of none of them. */
	if (!h->count)
		return;
	if (layout->label)
		put_section(s->out, layout, h);
	out_printf(s->out, "     %-19s : count     distribution\n", layout->unit);
	put_rows(s->out, h);
}

static void log2_summary(struct sink *s, const struct summary *sum)
{
	(void)s;
	summary_to_stderr(sum);
}

static void log2_free(struct sink *s)
{
	free(log2_of(s));
}

static const struct sink_ops log2_ops = {
	.begin = log2_begin,
	.histogram = histogram,
	.interval = interval,
	.summary = log2_summary,
	.free = log2_free,
};

struct sink *sink_log2_new(struct out *out, const struct log2_layout *layout)
{
	struct log2_sink *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->sink.ops = &log2_ops;
	t->sink.out = out;
	t->layout = *layout;
	return &t->sink;
}
