// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/page.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "record/text.h"
#include "serve/labels.h"

/* What of a series a family shows. */
enum shows {
	SHOWS_HISTOGRAM,
	SHOWS_COUNT,
	SHOWS_BESIDE,
};

static const struct family {
	struct metric m;
	enum shows shows;
	__u8 kind;
	bool parts; /* of a pickup's latency, else its whole */
} families[] = {
	{ { "tcplat_connect_duration_seconds", METRIC_HISTOGRAM, "seconds",
	    "From the first SYN to the end of the attempt to connect, by outcome." },
	  SHOWS_HISTOGRAM,
	  TCPLAT_KIND_CONNECT,
	  false },
	{ { "tcplat_connects", METRIC_COUNTER, NULL,
	    "Attempts to connect that ended, by outcome." },
	  SHOWS_COUNT,
	  TCPLAT_KIND_CONNECT,
	  false },
	{ { "tcplat_syn_retransmits", METRIC_COUNTER, NULL, "SYNs sent again, by outcome." },
	  SHOWS_BESIDE,
	  TCPLAT_KIND_CONNECT,
	  false },
	{ { "tcplat_rtt_seconds", METRIC_HISTOGRAM, "seconds",
	    "The kernel's own round-trip samples, each once." },
	  SHOWS_HISTOGRAM,
	  TCPLAT_KIND_RTT,
	  false },
	{ { "tcplat_retransmitted_segments", METRIC_COUNTER, NULL,
	    "Segments sent again on established connections." },
	  SHOWS_BESIDE,
	  TCPLAT_KIND_RTT,
	  false },
	{ { "tcplat_pickup_seconds", METRIC_HISTOGRAM, "seconds",
	    "From a segment's arrival to the read that takes its last byte." },
	  SHOWS_HISTOGRAM,
	  TCPLAT_KIND_PICKUP,
	  false },
	{ { "tcplat_pickup_bytes", METRIC_COUNTER, "bytes", "Bytes picked up by readers." },
	  SHOWS_BESIDE,
	  TCPLAT_KIND_PICKUP,
	  false },
	{ { "tcplat_pickup_part_seconds", METRIC_HISTOGRAM, "seconds",
	    "Where the wait of pickups went: wake-up, run queue, program." },
	  SHOWS_HISTOGRAM,
	  TCPLAT_KIND_PICKUP,
	  true },
};

struct page {
	unsigned refs;
	const struct edges *edges;
	struct self self;
	size_t n;
	struct series **all; /* copies, in the order of families and labels */
};

static size_t held;

size_t pages_held(void)
{
	return held;
}

static void copy_free(struct series *s)
{
	if (s)
		free(s->labels);
	free(s);
}

struct page *page_ref(struct page *p)
{
	p->refs++;
	return p;
}

void page_unref(struct page *p)
{
	if (!p || --p->refs)
		return;
	for (size_t i = 0; i < p->n; i++)
		copy_free(p->all[i]);
	free(p->all);
	free(p);
	held--;
}

static struct series *copy_of(const struct series *s, const struct edges *edges)
{
	size_t size = sizeof(*s) + (edges->n + 1) * sizeof(s->counts[0]);
	struct series *copy = malloc(size);

	if (!copy)
		return NULL;
	memcpy(copy, s, size);
	copy->labels = strdup(s->labels);
	if (copy->labels)
		return copy;
	free(copy);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const struct series *x = *(struct series *const *)a, *y = *(struct series *const *)b;

	return strcmp(x->labels, y->labels);
}

struct page *page_new(const struct series_table *t, const struct edges *edges,
		      const struct self *self)
{
	_cleanup_(page_unrefp) struct page *p = calloc(1, sizeof(*p));
	struct page *done;

	if (!p)
		return NULL;
	p->refs = 1;
	held++;
	p->edges = edges;
	p->self = *self;
	p->all = calloc(series_count(t) + 1, sizeof(struct series *));
	if (!p->all)
		return NULL;
	for (; p->n < series_count(t); p->n++) {
		p->all[p->n] = copy_of(series_at(t, p->n), edges);
		if (!p->all[p->n])
			return NULL;
	}
	qsort(p->all, p->n, sizeof(struct series *), compare);
	done = p;
	p = NULL;
	return done;
}

struct page_reader {
	struct page *page;
	bool openmetrics;
	unsigned family;
	bool begun;	 /* its header is written */
	size_t item;	 /* of the page */
	unsigned line;	 /* of the item */
	__u64 cumulated; /* of its buckets, up to that line */
	char *tail;	 /* the lines about ourselves */
	size_t tail_len, tail_at;
};

static int make_tail(struct page_reader *r)
{
	FILE *f = open_memstream(&r->tail, &r->tail_len);

	if (!f)
		return -1;
	self_print(f, &r->page->self, r->openmetrics);
	if (r->openmetrics)
		fputs("# EOF\n", f);
	return fclose(f);
}

struct page_reader *page_open(struct page *p, bool openmetrics)
{
	struct page_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->page = page_ref(p);
	r->openmetrics = openmetrics;
	if (!make_tail(r))
		return r;
	page_close(r);
	return NULL;
}

void page_close(struct page_reader *r)
{
	if (!r)
		return;
	page_unref(r->page);
	free(r->tail);
	free(r);
}

struct writer {
	char *at, *end;
};

static void put(struct writer *w, const char *text, size_t n)
{
	memcpy(w->at, text, n);
	w->at += n;
}

static void put_text(struct writer *w, const char *text)
{
	put(w, text, strlen(text));
}

static void put_number(struct writer *w, __u64 v)
{
	char text[TEXT_U64_LEN];

	put(w, text, (size_t)(text_u64(text, v) - text));
}

/* The longest line beside its labels: the names of the metric and of le, an edge, a number. */
#define LINE_MAX_BESIDE 128
_Static_assert(PAGE_LEAST > LABELS_MAX + LINE_MAX_BESIDE, "a line fits");

/* edge NULL: it has none. */
static void put_name(struct writer *w, const char *name, const char *suffix, const char *labels,
		     const char *edge)
{
	put_text(w, name);
	put_text(w, suffix);
	if (!*labels && !edge) {
		put_text(w, " ");
		return;
	}
	put_text(w, "{");
	put_text(w, labels);
	if (edge) {
		put_text(w, *labels ? ",le=\"" : "le=\"");
		put_text(w, edge);
		put_text(w, "\"");
	}
	put_text(w, "} ");
}

static void put_seconds(struct writer *w, __u64 ns)
{
	char text[TEXT_U64_LEN];

	put_number(w, ns / 1000000000);
	/* Nine digits behind the point: a one in front keeps their zeros. */
	text_u64(text, 1000000000 + ns % 1000000000);
	text[0] = '.';
	put_text(w, text);
}

/* A line of this item in this family; false: there was none left. */
static bool put_line(struct page_reader *r, struct writer *w, const struct family *f,
		     const struct series *s)
{
	const struct edges *edges = r->page->edges;
	unsigned line = r->line++;

	if (f->shows != SHOWS_HISTOGRAM) {
		if (line)
			return false;
		put_name(w, f->m.name, "_total", s->labels, NULL);
		put_number(w, f->shows == SHOWS_COUNT ? s->count : s->beside);
	} else if (line <= edges->n) {
		if (!line)
			r->cumulated = 0;
		r->cumulated += s->counts[line];
		put_name(w, f->m.name, "_bucket", s->labels, edges->text[line]);
		put_number(w, r->cumulated);
	} else if (line == edges->n + 1) {
		put_name(w, f->m.name, "_sum", s->labels, NULL);
		put_seconds(w, s->sum_ns);
	} else if (line == edges->n + 2) {
		put_name(w, f->m.name, "_count", s->labels, NULL);
		/* Not s->count: of one moment with the buckets, whatever happens. */
		put_number(w, r->cumulated);
	} else {
		return false;
	}
	put_text(w, "\n");
	return true;
}

/* Through memory, for it is once in a family. */
static void put_head(struct writer *w, const struct family *f, bool openmetrics)
{
	FILE *mem = fmemopen(w->at, (size_t)(w->end - w->at), "w");

	if (!mem)
		return;
	metric_head(mem, &f->m, openmetrics);
	fflush(mem);
	w->at += ftell(mem);
	fclose(mem);
}

static bool shown_in(const struct family *f, const struct series *s)
{
	return s->kind == f->kind && f->parts == (s->part != TCPLAT_PART_TOTAL);
}

/* Does another line fit, whatever its labels are? */
static bool room(const struct writer *w, size_t labels)
{
	return (size_t)(w->end - w->at) > labels + LINE_MAX_BESIDE;
}

/* True when the family is through; false: the buffer is full. */
static bool put_family(struct page_reader *r, struct writer *w, const struct family *f)
{
	const struct page *p = r->page;

	for (; r->item < p->n; r->item++) {
		const struct series *s = p->all[r->item];
		size_t labels;

		if (!shown_in(f, s))
			continue;
		if (!r->begun) {
			if (!room(w, 1024))
				return false;
			put_head(w, f, r->openmetrics);
			r->begun = true;
		}
		labels = strlen(s->labels);
		do {
			if (!room(w, labels))
				return false;
		} while (put_line(r, w, f, s));
		r->line = 0;
	}
	return true;
}

size_t page_read(struct page_reader *r, char *buf, size_t max)
{
	struct writer w = { buf, buf + max };
	size_t n;

	for (; r->family < ARRAY_SIZE(families); r->family++) {
		if (!put_family(r, &w, &families[r->family]))
			return (size_t)(w.at - buf);
		r->item = 0;
		r->begun = false;
	}
	n = (size_t)(w.end - w.at);
	if (n > r->tail_len - r->tail_at)
		n = r->tail_len - r->tail_at;
	put(&w, r->tail + r->tail_at, n);
	r->tail_at += n;
	return (size_t)(w.at - buf);
}
