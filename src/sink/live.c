// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The summary of a host: each interval's histograms of all measurements, which
 * are kept by remote address, program and outcome, added up in totals, by
 * address and by program. On a terminal each summary takes the place of the last.
 */
#include "sink/live.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "sink/sink.h"
#include "sink/terminal.h"

struct parties {
	void *tree; /* tsearch(3) over the nodes */
	struct party *first;
	size_t n;
};

struct live {
	struct sink sink;
	__u32 top;
	__u64 unix_ns; /* end of the last interval, or when tracing began */
	bool began;    /* an interval, whose end is to come */
	unsigned shown;
	unsigned drawn; /* lines of the summary that is on the terminal */
	struct parties addresses, programs;
	struct tally interval, run;
};

static struct live *live_of(struct sink *s)
{
	return (struct live *)((char *)s - offsetof(struct live, sink));
}

static void out_of_memory(struct live *l)
{
	if (!l->sink.out->err)
		l->sink.out->err = -ENOMEM;
}

static void merge(struct histogram *to, const struct histogram *h)
{
	if (!h->count)
		return;
	if (!to->count || h->min_ns < to->min_ns)
		to->min_ns = h->min_ns;
	if (h->max_ns > to->max_ns)
		to->max_ns = h->max_ns;
	for (unsigned i = 0; i < TCPLAT_HIST_BUCKETS; i++)
		to->counts[i] += h->counts[i];
	to->count += h->count;
	to->sum_ns += h->sum_ns;
	to->step_ns = h->step_ns;
}

/* A failed attempt has a latency too, but not one of a connect. */
static bool is_failure(const struct histogram *h)
{
	return h->key.kind == TCPLAT_KIND_CONNECT && h->key.outcome != TCPLAT_ESTABLISHED;
}

static void add_to_tally(struct tally *t, const struct histogram *h)
{
	if (h->key.kind == TCPLAT_KIND_CONNECT)
		t->outcomes[h->key.outcome] += h->count;
	if (!is_failure(h))
		merge(&t->kinds[h->key.kind], h);
	t->retransmits += h->retransmits;
}

static int compare_ids(const void *a, const void *b)
{
	const struct party *x = a, *y = b;

	return memcmp(x->id, y->id, sizeof(x->id));
}

static struct party *party_of(struct parties *all, const void *id)
{
	struct party *p = calloc(1, sizeof(*p)), **have;

	if (!p)
		return NULL;
	memcpy(p->id, id, sizeof(p->id));
	have = tsearch(p, &all->tree, compare_ids);
	if (!have || *have != p) {
		free(p);
		return have ? *have : NULL;
	}
	p->next = all->first;
	all->first = p;
	all->n++;
	return p;
}

static int add_to_party(struct parties *all, const void *id, const struct histogram *h)
{
	struct party *p = party_of(all, id);
	struct histogram **of;

	if (!p)
		return -ENOMEM;
	if (h->key.kind == TCPLAT_KIND_CONNECT)
		p->connects += h->count;
	p->retransmits += h->retransmits;
	if (is_failure(h)) {
		p->failed += h->count;
		return 0;
	}
	of = &p->kinds[h->key.kind];
	if (!*of && h->count)
		*of = calloc(1, sizeof(**of));
	if (!*of)
		return h->count ? -ENOMEM : 0;
	merge(*of, h);
	return 0;
}

static void keep_nothing(void *node)
{
	(void)node;
}

static void clear_parties(struct parties *all)
{
	tdestroy(all->tree, keep_nothing);
	while (all->first) {
		struct party *p = all->first;

		all->first = p->next;
		for (unsigned i = 0; i < TCPLAT_NR_KINDS; i++)
			free(p->kinds[i]);
		free(p);
	}
	memset(all, 0, sizeof(*all));
}

static int descending(__u64 a, __u64 b)
{
	return a < b ? 1 : a > b ? -1 : 0;
}

/* The longest that its peer or the path to it took, of one in a hundred. */
static __u64 far_p99(const struct party *p)
{
	__u64 connect = p->p99[TCPLAT_KIND_CONNECT], rtt = p->p99[TCPLAT_KIND_RTT];

	return connect > rtt ? connect : rtt;
}

/*
 * The worst address is the one that refuses us or cannot be reached; then the
 * one that is slow to answer, whether to a connect or to data; then the one
 * whose segments get lost. How long our own programs wait to read says least
 * about an address. Equal ones in the order of their bytes.
 */
static int compare_addresses(const void *a, const void *b)
{
	const struct party *x = *(struct party *const *)a, *y = *(struct party *const *)b;
	int order = descending(x->failed, y->failed);

	if (!order)
		order = descending(far_p99(x), far_p99(y));
	if (!order)
		order = descending(x->retransmits, y->retransmits);
	if (!order)
		order = descending(x->p99[TCPLAT_KIND_PICKUP], y->p99[TCPLAT_KIND_PICKUP]);
	return order ? order : compare_ids(x, y);
}

/*
 * The worst program is the one whose connects fail; then the one that lets its
 * data wait, which is its own fault or this host's; then the one that talks to
 * whatever is slow.
 */
static int compare_programs(const void *a, const void *b)
{
	const struct party *x = *(struct party *const *)a, *y = *(struct party *const *)b;
	int order = descending(x->failed, y->failed);

	if (!order)
		order = descending(x->p99[TCPLAT_KIND_PICKUP], y->p99[TCPLAT_KIND_PICKUP]);
	if (!order)
		order = descending(far_p99(x), far_p99(y));
	return order ? order : compare_ids(x, y);
}

/* All of them in order; the caller frees the items. 0 or -ENOMEM. */
static int sort_parties(struct worst *w, const struct parties *all,
			int (*compare)(const void *, const void *))
{
	if (!all->n)
		return 0;
	w->items = calloc(all->n, sizeof(struct party *));
	if (!w->items)
		return -ENOMEM;
	for (struct party *p = all->first; p; p = p->next) {
		for (unsigned i = 0; i < TCPLAT_NR_KINDS; i++) {
			if (!p->kinds[i])
				continue;
			p->p50[i] = histogram_quantile(p->kinds[i], .5);
			p->p99[i] = histogram_quantile(p->kinds[i], .99);
		}
		w->items[w->n++] = p;
	}
	qsort(w->items, w->n, sizeof(struct party *), compare);
	return 0;
}

static unsigned lines_of(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* The summary with lists of at most so many lines, to be freed; NULL without memory. */
static char *compose(const struct live *l, const struct worst *addresses,
		     const struct worst *programs, size_t most)
{
	const struct worst a = { addresses->items, addresses->n < most ? addresses->n : most };
	const struct worst p = { programs->items, programs->n < most ? programs->n : most };
	struct out block = {};
	char *text = NULL;
	size_t len;

	block.f = open_memstream(&text, &len);
	if (!block.f)
		return NULL;
	live_print_interval(&block, l->unix_ns, &l->interval, &a, &p);
	if (out_close(&block)) {
		free(text);
		return NULL;
	}
	return text;
}

/* Where it has to fit in a window, lists are shortened until it does. */
static char *compose_for(const struct live *l, const struct terminal *t,
			 const struct worst *addresses, const struct worst *programs)
{
	size_t most = l->top;

	if (t->live && most > (t->height + 1) / 2)
		most = (t->height + 1) / 2;
	for (;; most--) {
		char *text = compose(l, addresses, programs, most);

		/* The cursor is in the line below. */
		if (!text || !t->live || most <= 1 || lines_of(text) < t->height)
			return text;
		free(text);
	}
}

/* After the last one, or on a terminal in its place. */
static void print(struct live *l, const struct worst *addresses, const struct worst *programs)
{
	struct out *o = l->sink.out;
	_cleanup_free_ char *text = NULL;
	struct terminal t;

	terminal_look(&t, o);
	text = compose_for(l, &t, addresses, programs);
	if (!text) {
		out_of_memory(l);
		return;
	}
	if (t.live) {
		terminal_draw(o, l->drawn);
		l->drawn = lines_of(text);
	} else if (l->shown) {
		out_printf(o, "\n");
	}
	out_write(o, text, strlen(text));
	if (t.live)
		terminal_drawn(o);
	l->shown++;
}

/* From here on the first interval's time counts. */
static void begin(struct sink *s)
{
	live_of(s)->unix_ns = clock_ns(CLOCK_REALTIME);
}

static void interval(struct sink *s, __u64 unix_ns, unsigned n)
{
	struct live *l = live_of(s);

	(void)n;
	/* The clock may have been set in between; a histogram knows better. */
	if (l->unix_ns && unix_ns > l->unix_ns)
		l->interval.length_ns = unix_ns - l->unix_ns;
	l->unix_ns = unix_ns;
	l->began = true;
}

static void histogram(struct sink *s, const struct histogram *h)
{
	struct live *l = live_of(s);

	if (!h->key.kind || h->key.kind >= TCPLAT_NR_KINDS || h->key.outcome >= TCPLAT_NR_OUTCOMES)
		return;
	l->interval.length_ns = h->interval_ns;
	add_to_tally(&l->interval, h);
	add_to_tally(&l->run, h);
	/* What stands for keys without room is of no address and no program. */
	if (h->key.rest)
		return;
	if (add_to_party(&l->addresses, h->key.raddr, h) ||
	    add_to_party(&l->programs, h->key.comm, h))
		out_of_memory(l);
}

static void clear(struct live *l)
{
	clear_parties(&l->addresses);
	clear_parties(&l->programs);
	memset(&l->interval, 0, sizeof(l->interval));
	l->began = false;
}

static void interval_end(struct sink *s)
{
	struct live *l = live_of(s);
	struct worst addresses = {}, programs = {};

	/* An empty rest of an interval is not shown. */
	if (!l->began)
		return;
	l->run.length_ns += l->interval.length_ns;
	if (sort_parties(&addresses, &l->addresses, compare_addresses) ||
	    sort_parties(&programs, &l->programs, compare_programs))
		out_of_memory(l);
	else
		print(l, &addresses, &programs);
	free(addresses.items);
	free(programs.items);
	clear(l);
}

static void live_summary(struct sink *s, const struct summary *sum)
{
	struct live *l = live_of(s);

	if (l->shown > 1) {
		out_printf(s->out, "\n");
		live_print_run(s->out, &l->run);
	} else if (!l->shown) {
		out_printf(s->out, "connects, round trips, pickups: none\n");
	}
	summary_to_stderr(sum);
}

static void live_free(struct sink *s)
{
	clear(live_of(s));
	free(live_of(s));
}

static const struct sink_ops live_ops = {
	.begin = begin,
	.histogram = histogram,
	.interval = interval,
	.interval_end = interval_end,
	.summary = live_summary,
	.free = live_free,
};

struct sink *sink_live_new(struct out *out, __u32 top)
{
	struct live *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->sink.ops = &live_ops;
	l->sink.out = out;
	l->top = top;
	return &l->sink;
}
