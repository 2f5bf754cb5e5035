// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/shelf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct shelved {
	struct histogram *head; /* all but its buckets: it ends where they begin */
	char *cgroup;
	__u64 rank[SORT_MAX + 1];
	unsigned first, n; /* of the buckets that are kept */
	__u64 counts[];
};

#define HEAD_BYTES offsetof(struct histogram, counts)

static void drop(struct shelved *item)
{
	if (!item)
		return;
	free(item->head);
	free(item->cgroup);
	free(item);
}

static struct shelved *copy_of(const struct histogram *h)
{
	unsigned first = 0, end = TCPLAT_HIST_BUCKETS;
	struct shelved *item;

	while (end > first && !h->counts[end - 1])
		end--;
	while (first < end && !h->counts[first])
		first++;
	item = calloc(1, sizeof(*item) + (end - first) * sizeof(item->counts[0]));
	if (!item)
		return NULL;
	item->head = malloc(HEAD_BYTES);
	item->cgroup = strdup(h->cgroup);
	if (!item->head || !item->cgroup) {
		drop(item);
		return NULL;
	}
	memcpy(item->head, h, HEAD_BYTES);
	item->first = first;
	item->n = end - first;
	memcpy(item->counts, h->counts + first, item->n * sizeof(item->counts[0]));
	item->rank[SORT_COUNT] = h->count;
	item->rank[SORT_P99] = histogram_quantile(h, .99);
	item->rank[SORT_MAX] = h->max_ns;
	return item;
}

int shelf_add(struct shelf *s, const struct histogram *h)
{
	if (s->n == s->max) {
		size_t max = s->max ? 2 * s->max : 64;
		/* An array of pointers, which is what it looks like. */
		struct shelved **more = realloc(s->items, max * sizeof(struct shelved *));

		if (!more)
			return -ENOMEM;
		s->items = more;
		s->max = max;
	}
	s->items[s->n] = copy_of(h);
	if (!s->items[s->n])
		return -ENOMEM;
	s->n++;
	return 0;
}

static int compare(const void *a, const void *b, void *by)
{
	const struct shelved *x = *(struct shelved *const *)a, *y = *(struct shelved *const *)b;
	__u64 p = x->rank[*(enum query_sort *)by], q = y->rank[*(enum query_sort *)by];
	int order;

	if (x->head->unix_ns != y->head->unix_ns)
		return x->head->unix_ns < y->head->unix_ns ? -1 : 1;
	if (p != q)
		return p < q ? 1 : -1;
	order = memcmp(&x->head->key, &y->head->key, sizeof(x->head->key));
	return order ? order : strcmp(x->cgroup, y->cgroup);
}

void shelf_sort(struct shelf *s, enum query_sort by)
{
	if (s->n)
		qsort_r(s->items, s->n, sizeof(struct shelved *), compare, &by);
}

size_t shelf_end(const struct shelf *s, size_t first)
{
	size_t end = first;

	while (end < s->n && s->items[end]->head->unix_ns == s->items[first]->head->unix_ns)
		end++;
	return end;
}

void shelf_get(const struct shelf *s, size_t i, struct histogram *h)
{
	const struct shelved *item = s->items[i];

	memcpy(h, item->head, HEAD_BYTES);
	memset(h->counts, 0, sizeof(h->counts));
	memcpy(h->counts + item->first, item->counts, item->n * sizeof(item->counts[0]));
	h->cgroup = item->cgroup;
}

void shelf_clear(struct shelf *s)
{
	for (size_t i = 0; i < s->n; i++)
		drop(s->items[i]);
	s->n = 0;
}

void shelf_free(struct shelf *s)
{
	shelf_clear(s);
	free(s->items);
	s->items = NULL;
	s->max = 0;
}

static void deliver_interval(const struct shelf *s, struct sink *sink, size_t first, size_t end,
			     __u64 unix_ns)
{
	const struct sink_ops *ops = sink->ops;
	struct histogram h = { .unix_ns = unix_ns };

	if (first < end)
		shelf_get(s, first, &h);
	if (ops->interval)
		ops->interval(sink, h.unix_ns, (unsigned)(end - first));
	for (size_t i = first; i < end && ops->histogram; i++) {
		shelf_get(s, i, &h);
		ops->histogram(sink, &h);
	}
	if (ops->interval_end)
		ops->interval_end(sink);
}

void shelf_deliver(struct shelf *s, struct sink *sink, const struct query *q, __u64 unix_ns,
		   bool empty)
{
	shelf_sort(s, q->sort);
	if (!s->n && empty)
		deliver_interval(s, sink, 0, 0, unix_ns);
	for (size_t first = 0, end, shown; first < s->n; first = end) {
		end = shown = shelf_end(s, first);
		/* The summary of all has its own meaning of --top. */
		if (q->top && end - first > q->top && q->show != SHOW_LIVE)
			shown = first + q->top;
		deliver_interval(s, sink, first, shown, unix_ns);
	}
	shelf_clear(s);
}
