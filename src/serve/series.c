// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/series.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "serve/labels.h"

struct series_table {
	const struct edges *edges;
	void *tree; /* tsearch(3) over the series */
	struct series **all;
	size_t n, room, lines;
};

/* An edge in seconds: exactly, for edges are whole steps of an eighth of a microsecond. */
static void edge_text(char *dst, size_t size, __u64 ns)
{
	char digits[24];

	/* As Prometheus writes numbers, so that they compare equal also as text. */
	snprintf(digits, sizeof(digits), "%.13g", (double)ns / 1e9);
	snprintf(dst, size, "%s", digits);
}

void edges_init(struct edges *e, bool fine)
{
	unsigned each = fine ? 1 : TCPLAT_HIST_SUB;

	memset(e, 0, sizeof(*e));
	for (unsigned b = 0; b < TCPLAT_HIST_BUCKETS; b++) {
		/* Bucket 0 ends at one unit, the last nowhere; between them are octaves. */
		unsigned edge = b ? 1 + (b - 1) / each : 0;

		e->of_bucket[b] = (__u16)edge;
		if (b + 1 == TCPLAT_HIST_BUCKETS)
			e->n = edge;
		else if (b % each == 0)
			edge_text(e->text[edge], sizeof(e->text[edge]),
				  tcplat_hist_lower(b + 1) * TCPLAT_HIST_STEP_US);
	}
	snprintf(e->text[e->n], sizeof(e->text[e->n]), "+Inf");
}

struct series_table *series_table_new(const struct edges *edges)
{
	struct series_table *t = calloc(1, sizeof(*t));

	if (t)
		t->edges = edges;
	return t;
}

static void series_free(struct series *s)
{
	if (s)
		free(s->labels);
	free(s);
}

static void keep_nothing(void *node)
{
	(void)node;
}

void series_table_free(struct series_table *t)
{
	if (!t)
		return;
	tdestroy(t->tree, keep_nothing);
	for (size_t i = 0; i < t->n; i++)
		series_free(t->all[i]);
	free(t->all);
	free(t);
}

static int compare_numbers(__u64 a, __u64 b)
{
	return a < b ? -1 : a > b;
}

static int compare(const void *a, const void *b)
{
	const struct series *x = a, *y = b;
	int order = compare_numbers(x->kind, y->kind);

	if (!order)
		order = compare_numbers(x->part, y->part);
	return order ? order : strcmp(x->labels, y->labels);
}

/* A histogram's buckets, sum and count, and the counters of the same labels. */
static size_t lines_of(const struct series_table *t, const struct series *s)
{
	size_t counters = s->part != TCPLAT_PART_TOTAL ? 0 : s->kind == TCPLAT_KIND_CONNECT ? 2 : 1;

	return t->edges->n + 1 + 2 + counters;
}

struct series *series_get(struct series_table *t, const struct tcplat_hist_key *key,
			  const char *labels, bool other)
{
	struct series want = { .kind = key->kind, .part = key->part, .labels = (char *)labels };
	struct series **have = tfind(&want, &t->tree, compare), *s;

	if (have)
		return *have;
	if (t->n == t->room) {
		size_t room = t->room ? 2 * t->room : 64;
		struct series **more = realloc(t->all, room * sizeof(struct series *));

		if (!more)
			return NULL;
		t->all = more;
		t->room = room;
	}
	s = calloc(1, sizeof(*s) + (t->edges->n + 1) * sizeof(s->counts[0]));
	if (!s)
		return NULL;
	s->kind = key->kind;
	s->part = key->part;
	s->outcome = key->outcome;
	s->other = other;
	s->labels = strdup(labels);
	if (!s->labels || !tsearch(s, &t->tree, compare)) {
		series_free(s);
		return NULL;
	}
	t->all[t->n++] = s;
	t->lines += lines_of(t, s);
	return s;
}

void series_add(const struct series_table *t, struct series *s, const struct histogram *h,
		__u32 reading)
{
	for (unsigned b = 0; b < TCPLAT_HIST_BUCKETS; b++)
		s->counts[t->edges->of_bucket[b]] += h->counts[b];
	s->count += h->count;
	s->sum_ns += h->sum_ns;
	s->beside += h->beside;
	s->used = reading;
}

size_t series_lines(const struct series_table *t)
{
	return t->lines;
}

size_t series_count(const struct series_table *t)
{
	return t->n;
}

const struct series *series_at(const struct series_table *t, size_t i)
{
	return t->all[i];
}

/* Of each kind and outcome, the one to be kept longest first. */
static int compare_worth(const void *a, const void *b)
{
	const struct series *x = *(struct series *const *)a, *y = *(struct series *const *)b;
	int order = compare_numbers(x->kind, y->kind);

	if (!order)
		order = compare_numbers(x->part, y->part);
	if (!order)
		order = compare_numbers(x->outcome, y->outcome);
	if (!order)
		order = compare_numbers(y->used, x->used);
	if (!order)
		order = compare_numbers(y->count, x->count);
	return order ? order : strcmp(x->labels, y->labels);
}

/* Longest ago first. */
static int compare_use(const void *a, const void *b)
{
	const struct series *x = *(struct series *const *)a, *y = *(struct series *const *)b;
	int order = compare_numbers(x->used, y->used);

	if (!order)
		order = compare_numbers(y->rank, x->rank);
	return order ? order : compare(x, y);
}

static bool same_kind(const struct series *x, const struct series *y)
{
	return x->kind == y->kind && x->part == y->part && x->outcome == y->outcome;
}

static void sort_by_use(struct series **order, size_t n)
{
	qsort(order, n, sizeof(struct series *), compare_worth);
	for (size_t i = 0; i < n; i++)
		order[i]->rank =
			i && same_kind(order[i], order[i - 1]) ? order[i - 1]->rank + 1 : 0;
	qsort(order, n, sizeof(struct series *), compare_use);
}

static struct series *others_of(struct series_table *t, const struct series *s)
{
	struct tcplat_hist_key key = {
		.kind = s->kind, .part = s->part, .outcome = s->outcome, .rest = 1
	};
	char labels[LABELS_MAX];

	labels_of_others(labels, &key);
	return series_get(t, &key, labels, true);
}

static void fold_one(struct series_table *t, struct series *s, struct series *into)
{
	for (unsigned i = 0; i <= t->edges->n; i++)
		into->counts[i] += s->counts[i];
	into->count += s->count;
	into->sum_ns += s->sum_ns;
	into->beside += s->beside;
	if (into->used < s->used)
		into->used = s->used;
	s->into = into;
	tdelete(s, &t->tree, compare);
	t->lines -= lines_of(t, s);
}

int series_fold(struct series_table *t, size_t max_lines)
{
	_cleanup_free_ struct series **order = NULL;
	size_t n = t->n;
	int folded = 0;

	if (t->lines <= max_lines)
		return 0;
	order = malloc(n * sizeof(struct series *));
	if (!order)
		return -ENOMEM;
	memcpy(order, t->all, n * sizeof(struct series *));
	sort_by_use(order, n);
	for (size_t i = 0; i < n && t->lines > max_lines; i++) {
		struct series *into;

		if (order[i]->other)
			continue;
		into = others_of(t, order[i]);
		if (!into)
			return -ENOMEM;
		/* By itself it may be the only one of its kind. */
		if (into == order[i])
			continue;
		fold_one(t, order[i], into);
		folded++;
	}
	return folded;
}

void series_drop_folded(struct series_table *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (t->all[i]->into)
			series_free(t->all[i]);
		else
			t->all[kept++] = t->all[i];
	}
	t->n = kept;
}
