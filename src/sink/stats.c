// SPDX-License-Identifier: GPL-2.0-or-later
/* A table for each interval: one line a key, with quantiles and a small picture. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/parse.h"
#include "core/cleanup.h"
#include "record/text.h"
#include "sink/octaves.h"
#include "sink/sink.h"
#include "sink/terminal.h"

/* Behind the keys, each line has: */
enum {
	SAMPLES = TCPLAT_NR_KEYS,
	RETRANS,
	FASTEST, /* and the five that follow */
	NR_CELLS = FASTEST + 6,
};

#define SHADES 8 /* and the blank */

/* Of a histogram only what it shows: there may be ten thousand. */
struct line {
	char *texts; /* of all cells, one behind the other */
	__u8 shade[HISTOGRAM_ROWS];
};

struct stats {
	struct sink sink;
	const char *title;
	__u32 by;
	bool timestamps;
	bool printed; /* a block, from which a blank line parts the next */

	/* The interval that is being delivered: */
	struct cell cells[NR_CELLS]; /* without a header: no line has it */
	struct line *lines;
	size_t n, max;
	unsigned first, last; /* rows that any picture uses */
	__u64 step_ns;
};

/* The texts of a line while they are gathered; only one of them can be long. */
struct texts {
	char text[2 * COLUMN_TEXT_LEN];
	size_t len;
};

static struct stats *stats_of(struct sink *s)
{
	return (struct stats *)((char *)s - offsetof(struct stats, sink));
}

static void widen(struct cell *c, const char *text)
{
	size_t width = text_width(text);

	if (width > c->width)
		c->width = (unsigned)width;
}

static void show(struct cell *c, const char *header, bool right)
{
	c->header = header;
	c->right = right;
	widen(c, header);
}

static void add_text(struct stats *t, unsigned cell, struct texts *to, const char *text)
{
	size_t size = strlen(text) + 1;

	widen(&t->cells[cell], text);
	memcpy(to->text + to->len, text, size);
	to->len += size;
}

static void add_keys(struct stats *t, const struct histogram *h, struct texts *to)
{
	/* What found no room has no keys, and says so where they would be. */
	__u32 shown = h->key.rest ? t->by : h->by;
	const char *others = h->key.rest ? "(others)" : NULL;
	struct record r;

	record_of_key(&r, h);
	for (unsigned i = 0; i < TCPLAT_NR_KEYS; i++) {
		const struct column *c = NULL;
		char text[COLUMN_TEXT_LEN];

		text[0] = 0;
		if (shown & 1U << i)
			c = column_find(key_name(1U << i), h->key.kind);
		if (c) {
			show(&t->cells[i], c->header, c->right);
			if (h->by & 1U << i)
				c->text(&r, text, sizeof(text));
		}
		add_text(t, i, to, c && others ? others : text);
		if (c)
			others = NULL;
	}
}

static void add_number(struct stats *t, unsigned cell, struct texts *to, __u64 n)
{
	char text[TEXT_U64_LEN];

	text_u64(text, n);
	add_text(t, cell, to, text);
}

static void add_numbers(struct stats *t, const struct histogram *h, struct texts *to)
{
	const __u64 ns[] = {
		h->min_ns,
		histogram_quantile(h, .5),
		histogram_quantile(h, .9),
		histogram_quantile(h, .99),
		histogram_quantile(h, .999),
		h->max_ns,
	};
	_Static_assert(FASTEST + ARRAY_SIZE(ns) == NR_CELLS, "a cell for each");

	add_number(t, SAMPLES, to, h->count);
	add_number(t, RETRANS, to, h->retransmits);
	for (unsigned i = 0; i < ARRAY_SIZE(ns); i++) {
		char text[TEXT_DURATION_LEN] = "-";

		if (h->count)
			text_duration(text, ns[i]);
		add_text(t, FASTEST + i, to, text);
	}
}

/* Each row's share of the fullest; what is there at all is never blank. */
static void add_picture(struct stats *t, const struct histogram *h, struct line *line)
{
	__u64 rows[HISTOGRAM_ROWS], most = histogram_rows(h, rows);

	for (unsigned row = 0; row < HISTOGRAM_ROWS; row++) {
		if (!rows[row])
			continue;
		line->shade[row] = (__u8)ceil(SHADES * (double)rows[row] / (double)most);
		if (row < t->first)
			t->first = row;
		if (row > t->last)
			t->last = row;
	}
	t->step_ns = h->step_ns;
}

static void out_of_memory(struct stats *t)
{
	if (!t->sink.out->err)
		t->sink.out->err = -ENOMEM;
}

static void histogram(struct sink *s, const struct histogram *h)
{
	struct stats *t = stats_of(s);
	struct texts texts;
	struct line *line;

	if (t->n == t->max)
		return;
	if (h->key.kind == TCPLAT_KIND_RTT) {
		show(&t->cells[SAMPLES], "SAMPLES", true);
		show(&t->cells[RETRANS], "RETRANS", true);
	}
	line = &t->lines[t->n];
	texts.len = 0;
	add_keys(t, h, &texts);
	add_numbers(t, h, &texts);
	add_picture(t, h, line);
	line->texts = malloc(texts.len);
	if (!line->texts) {
		out_of_memory(t);
		return;
	}
	memcpy(line->texts, texts.text, texts.len);
	t->n++;
}

static void clear(struct stats *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->lines[i].texts);
	free(t->lines);
	t->lines = NULL;
	t->n = t->max = 0;
	t->first = HISTOGRAM_ROWS;
	t->last = 0;
	memset(t->cells, 0, sizeof(t->cells));
}

static void interval(struct sink *s, __u64 unix_ns, unsigned n)
{
	static const char *const headers[] = { "MIN", "P50", "P90", "P99", "P99.9", "MAX" };
	struct stats *t = stats_of(s);
	char time[TEXT_TIME_LEN];

	if (t->printed)
		out_printf(s->out, "\n");
	t->printed = true;
	if (t->timestamps) {
		text_time_of_day(time, unix_ns);
		out_printf(s->out, "=== %s\n", time);
	}
	out_printf(s->out, "%s%s\n", t->title, n ? "" : ": none");
	clear(t);
	if (!n)
		return;
	t->lines = calloc(n, sizeof(t->lines[0]));
	if (!t->lines) {
		out_of_memory(t);
		return;
	}
	t->max = n;
	show(&t->cells[SAMPLES], "COUNT", true);
	for (unsigned i = 0; i < ARRAY_SIZE(headers); i++)
		show(&t->cells[FASTEST + i], headers[i], true);
}

/* texts NULL: the headers. */
static void put_cells(const struct stats *t, const char *texts)
{
	const char *before = "";

	for (unsigned i = 0; i < NR_CELLS; i++) {
		const struct cell *c = &t->cells[i];
		const char *text = texts ? texts : c->header;
		int pad;

		if (texts)
			texts += strlen(texts) + 1;
		if (!c->header)
			continue;
		pad = (int)(c->width - text_width(text));
		out_printf(t->sink.out, "%s%*s%s%*s", before, c->right ? pad : 0, "", text,
			   c->right ? 0 : pad, "");
		before = " ";
	}
}

static void put_axis(const struct stats *t)
{
	char from[TEXT_DURATION_LEN], to[TEXT_DURATION_LEN] = "";

	text_duration(from, histogram_row_lower(t->first, t->step_ns));
	if (t->last + 1 < HISTOGRAM_ROWS)
		text_duration(to, histogram_row_lower(t->last + 1, t->step_ns));
	out_printf(t->sink.out, " %s..%s", from, to);
}

static void put_picture(const struct stats *t, const struct line *line, bool utf8)
{
	static const char *const blocks[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const ascii[] = { " ", ".", ":", "-", "=", "+", "*", "#", "@" };
	unsigned end = HISTOGRAM_ROWS;

	/* No blanks at a line's end. */
	while (end && !line->shade[end - 1])
		end--;
	for (unsigned row = t->first; row < end; row++)
		out_printf(t->sink.out, "%s%s", row == t->first ? " " : "",
			   (utf8 ? blocks : ascii)[line->shade[row]]);
}

static void interval_end(struct sink *s)
{
	struct stats *t = stats_of(s);
	struct terminal terminal;

	if (!t->n)
		return;
	terminal_look(&terminal, s->out);
	put_cells(t, NULL);
	if (t->first <= t->last)
		put_axis(t);
	out_printf(s->out, "\n");
	for (size_t i = 0; i < t->n; i++) {
		put_cells(t, t->lines[i].texts);
		put_picture(t, &t->lines[i], terminal.utf8);
		out_printf(s->out, "\n");
	}
	clear(t);
}

static void stats_summary(struct sink *s, const struct summary *sum)
{
	(void)s;
	summary_to_stderr(sum);
}

static void stats_free(struct sink *s)
{
	clear(stats_of(s));
	free(stats_of(s));
}

static const struct sink_ops stats_ops = {
	.histogram = histogram,
	.interval = interval,
	.interval_end = interval_end,
	.summary = stats_summary,
	.free = stats_free,
};

struct sink *sink_stats_new(struct out *out, const char *title, __u32 by, bool timestamps)
{
	struct stats *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->sink.ops = &stats_ops;
	t->sink.out = out;
	t->title = title;
	t->by = by;
	t->timestamps = timestamps;
	return &t->sink;
}
