// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "record/text.h"
#include "sink/sink.h"

struct table {
	struct sink sink;
	bool adaptive;
	unsigned n;
	struct cell cells[];
};

static struct table *table_of(struct sink *s)
{
	return (struct table *)((char *)s - offsetof(struct table, sink));
}

/* The last column is not padded on its right. */
static void put(struct table *t, unsigned i, const char *text)
{
	const struct cell *c = &t->cells[i];
	unsigned width = (unsigned)text_width(text);
	int pad = width < c->width ? (int)(c->width - width) : 0;

	out_printf(t->sink.out, "%s%*s%s", i ? " " : "", c->right ? pad : 0, "", text);
	if (!c->right && i + 1 < t->n)
		out_printf(t->sink.out, "%*s", pad, "");
}

static void header(struct sink *s)
{
	struct table *t = table_of(s);

	for (unsigned i = 0; i < t->n; i++)
		put(t, i, t->cells[i].header);
	out_printf(s->out, "\n");
}

static bool grow(struct table *t, char (*texts)[COLUMN_TEXT_LEN])
{
	bool grown = false;

	/* The last left-aligned column harms nobody by being long. */
	for (unsigned i = 0; i < t->n; i++) {
		unsigned width = (unsigned)text_width(texts[i]);

		if (width > t->cells[i].width && (t->cells[i].right || i + 1 < t->n)) {
			t->cells[i].width = width;
			grown = true;
		}
	}
	return grown;
}

static void record(struct sink *s, const struct record *r)
{
	static char texts[32][COLUMN_TEXT_LEN];
	struct table *t = table_of(s);

	for (unsigned i = 0; i < t->n; i++) {
		size_t size = t->cells[i].cut ? t->cells[i].cut + 1 : COLUMN_TEXT_LEN;

		t->cells[i].column->text(r, texts[i], size);
	}
	if (t->adaptive && grow(t, texts))
		header(s);
	for (unsigned i = 0; i < t->n; i++)
		put(t, i, texts[i]);
	out_printf(s->out, "\n");
}

static void table_summary(struct sink *s, const struct summary *sum)
{
	(void)s;
	summary_to_stderr(sum);
}

static void table_free(struct sink *s)
{
	free(table_of(s));
}

static const struct sink_ops table_ops = {
	.begin = header,
	.record = record,
	.summary = table_summary,
	.free = table_free,
};

struct sink *sink_table_new(struct out *out, const struct table_layout *layout)
{
	struct table *t = calloc(1, sizeof(*t) + layout->n * sizeof(t->cells[0]));

	if (!t)
		return NULL;
	t->sink.ops = &table_ops;
	t->sink.out = out;
	t->adaptive = layout->adaptive;
	t->n = layout->n;
	memcpy(t->cells, layout->cells, layout->n * sizeof(t->cells[0]));
	return &t->sink;
}

void sink_free(struct sink *s)
{
	if (s)
		s->ops->free(s);
}
