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

/* A cell's text: bytes, and the columns that they take. */
struct piece {
	const char *text;
	size_t len;
	size_t width;
};

/* One line, in a buffer of its own: stdio takes its time over small pieces. */
static void put_line(struct table *t, const struct piece *pieces)
{
	char line[4 * COLUMN_TEXT_LEN], *p = line;

	for (unsigned i = 0; i < t->n; i++) {
		const struct cell *c = &t->cells[i];
		size_t len = pieces[i].len;
		size_t pad = pieces[i].width < c->width ? c->width - pieces[i].width : 0;

		/* The last column is not padded on its right. */
		if (!c->right && i + 1 == t->n)
			pad = 0;
		if ((size_t)(line + sizeof(line) - p) < len + pad + 2) {
			out_write(t->sink.out, line, (size_t)(p - line));
			p = line;
		}
		if (i)
			*p++ = ' ';
		if (c->right) {
			memset(p, ' ', pad);
			p += pad;
		}
		p = mempcpy(p, pieces[i].text, len);
		if (!c->right) {
			memset(p, ' ', pad);
			p += pad;
		}
	}
	*p++ = '\n';
	out_write(t->sink.out, line, (size_t)(p - line));
}

static void header(struct sink *s)
{
	struct table *t = table_of(s);
	struct piece pieces[TABLE_MAX_CELLS];

	for (unsigned i = 0; i < t->n; i++) {
		pieces[i].text = t->cells[i].header;
		pieces[i].len = strlen(pieces[i].text);
		pieces[i].width = pieces[i].len;
	}
	put_line(t, pieces);
}

static bool grow(struct table *t, const struct piece *pieces)
{
	bool grown = false;

	/* The last left-aligned column harms nobody by being long. */
	for (unsigned i = 0; i < t->n; i++) {
		if (pieces[i].width > t->cells[i].width && (t->cells[i].right || i + 1 < t->n)) {
			t->cells[i].width = (unsigned)pieces[i].width;
			grown = true;
		}
	}
	return grown;
}

static void record(struct sink *s, const struct record *r)
{
	static char text[TABLE_MAX_CELLS][COLUMN_TEXT_LEN];
	struct piece pieces[TABLE_MAX_CELLS];
	struct table *t = table_of(s);

	for (unsigned i = 0; i < t->n; i++) {
		size_t size = t->cells[i].cut ? t->cells[i].cut + 1 : COLUMN_TEXT_LEN;

		const struct column *c = t->cells[i].column;

		pieces[i].text = text[i];
		pieces[i].len = c->text(r, text[i], size);
		pieces[i].width = c->flags & COLUMN_NAME ? text_width(text[i]) : pieces[i].len;
	}
	if (t->adaptive && grow(t, pieces))
		header(s);
	put_line(t, pieces);
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
