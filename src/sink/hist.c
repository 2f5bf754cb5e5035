// SPDX-License-Identifier: GPL-2.0-or-later
/* Histograms for people: one block a key, a bar for each power of two. */
#include <stdlib.h>
#include <string.h>

#include "cli/parse.h"
#include "core/cleanup.h"
#include "record/text.h"
#include "sink/octaves.h"
#include "sink/sink.h"

#define BAR 40

struct hist_sink {
	struct sink sink;
	const char *title;
	bool timestamps;
};

static struct hist_sink *hist_of(struct sink *s)
{
	return (struct hist_sink *)((char *)s - offsetof(struct hist_sink, sink));
}

static void put_duration(struct out *o, const char *before, __u64 ns)
{
	char text[TEXT_DURATION_LEN];

	text_duration(text, ns);
	out_printf(o, "%s%s", before, text);
}

static void put_key(struct out *o, const struct histogram *h)
{
	struct record r;

	record_of_key(&r, h);
	for (__u32 bit = 1; bit < 1U << TCPLAT_NR_KEYS; bit <<= 1) {
		const struct column *c = column_find(key_name(bit), h->key.kind);
		char text[COLUMN_TEXT_LEN];

		if (!(h->by & bit))
			continue;
		c->text(&r, text, sizeof(text));
		out_printf(o, " %s=%s", c->name, text);
	}
}

static void put_rows(struct out *o, const struct histogram *h)
{
	__u64 rows[HISTOGRAM_ROWS], most = histogram_rows(h, rows);
	unsigned first = 0, last = HISTOGRAM_ROWS - 1;

	while (first < last && !rows[first])
		first++;
	while (last > first && !rows[last])
		last--;
	out_printf(o, "%10s %10s %10s\n", "FROM", "TO", "COUNT");
	for (unsigned row = first; row <= last && most; row++) {
		char lo[TEXT_DURATION_LEN], hi[TEXT_DURATION_LEN] = "...";
		int bar = (int)((rows[row] * BAR + most - 1) / most);

		text_duration(lo, histogram_row_lower(row, h->step_ns));
		if (row + 1 < HISTOGRAM_ROWS)
			text_duration(hi, histogram_row_lower(row + 1, h->step_ns));
		out_printf(o, "%10s %10s %10llu |%-*.*s|\n", lo, hi, rows[row], BAR, bar,
			   "****************************************");
	}
}

static void histogram(struct sink *s, const struct histogram *h)
{
	struct hist_sink *t = hist_of(s);

	out_printf(s->out, "%s", t->title);
	put_key(s->out, h);
	out_printf(s->out, "\ncount %llu", h->count);
	put_duration(s->out, "  min ", h->min_ns);
	put_duration(s->out, "  p50 ", histogram_quantile(h, .5));
	put_duration(s->out, "  p90 ", histogram_quantile(h, .9));
	put_duration(s->out, "  p99 ", histogram_quantile(h, .99));
	put_duration(s->out, "  p99.9 ", histogram_quantile(h, .999));
	put_duration(s->out, "  max ", h->max_ns);
	out_printf(s->out, "\n");
	put_rows(s->out, h);
	out_printf(s->out, "\n");
}

static void interval(struct sink *s, __u64 unix_ns, unsigned n)
{
	char time[TEXT_TIME_LEN];

	if (hist_of(s)->timestamps) {
		text_time_of_day(time, unix_ns);
		out_printf(s->out, "=== %s\n\n", time);
	}
	if (!n)
		out_printf(s->out, "%s: none\n\n", hist_of(s)->title);
}

static void hist_summary(struct sink *s, const struct summary *sum)
{
	(void)s;
	summary_to_stderr(sum);
}

static void hist_free(struct sink *s)
{
	free(hist_of(s));
}

static const struct sink_ops hist_ops = {
	.histogram = histogram,
	.interval = interval,
	.summary = hist_summary,
	.free = hist_free,
};

struct sink *sink_hist_new(struct out *out, const char *title, bool timestamps)
{
	struct hist_sink *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->sink.ops = &hist_ops;
	t->sink.out = out;
	t->title = title;
	t->timestamps = timestamps;
	return &t->sink;
}
