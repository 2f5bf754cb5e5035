// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/collector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "serve/groups.h"
#include "serve/labels.h"

/* A slot of the kernel's table. */
struct key {
	struct series *s;	/* NULL: nothing was seen of it yet */
	struct histogram *held; /* until its group has been looked for */
	__u32 used;		/* the reading in which it last counted */
	bool rest;		/* it is the kernel's own for all others, and stays */
	bool retire;		/* its series was folded */
};

struct collector {
	struct engine *engine;
	struct groups *groups;
	__u32 names; /* of a group's path, mask of enum key_of_group */
	size_t max_lines;
	struct edges edges;
	struct series_table *table;
	__u32 reading;
	__u64 began_ns, took_ns;
	__u64 events[TCPLAT_NR_KINDS], refused, folded, unaccounted;
	struct engine_usage usage;
	__u32 n_keys;
	struct key keys[];
};

/* Lines that a key takes, about: a histogram and its counters. */
static __u32 lines_of_key(bool fine)
{
	return fine ? TCPLAT_HIST_BUCKETS + 4 : TCPLAT_HIST_OCTAVES + 6;
}

/*
 * Twice as many as can be exposed: new ones then find room until those that are idle
 * have been given back. And those that stand for others (REST_KEYS in bpf/hist.h).
 */
__u32 collector_keys(const struct query *q)
{
	__u32 keys = 2 * q->serve.max_series / lines_of_key(q->serve.fine);

	return (keys > 128 ? keys : 128) + 32;
}

int collector_new(struct collector **collector, struct engine *e, struct groups *groups,
		  const struct query *q)
{
	_cleanup_(collector_freep) struct collector *c =
		calloc(1, sizeof(*c) + q->config.max_keys * sizeof(struct key));
	struct histogram none = {};

	if (!c)
		return -ENOMEM;
	c->engine = e;
	c->groups = groups;
	c->names = q->by.names;
	c->max_lines = q->serve.max_series;
	c->n_keys = q->config.max_keys;
	edges_init(&c->edges, q->serve.fine);
	c->table = series_table_new(&c->edges);
	if (!c->table)
		return -ENOMEM;
	/* Without keys it is known what there will be: from zero on, increases are seen. */
	for (__u8 kind = TCPLAT_KIND_CONNECT; !q->by.mask && kind < TCPLAT_NR_KINDS; kind++) {
		char labels[LABELS_MAX];

		none.key.kind = kind;
		labels_of(labels, &none, 0, "");
		if (!series_get(c->table, &none.key, labels, false))
			return -ENOMEM;
	}
	*collector = c;
	c = NULL;
	return 0;
}

void collector_free(struct collector *c)
{
	if (!c)
		return;
	for (__u32 i = 0; i < c->n_keys; i++)
		free(c->keys[i].held);
	series_table_free(c->table);
	free(c);
}

__u64 collector_read_ns(const struct collector *c)
{
	return c->began_ns;
}

/* A group that is new has to be looked for. */
static const char *group_of(struct collector *c, __u64 id)
{
	const char *path;

	if (!c->groups || !id)
		return "";
	path = groups_path(c->groups, id);
	if (*path != '#')
		return path;
	groups_refresh(c->groups);
	return groups_path(c->groups, id);
}

static struct series *series_of(struct collector *c, const struct histogram *h)
{
	char labels[LABELS_MAX];
	struct series *s;

	if (!h->key.rest) {
		labels_of(labels, h, c->names, group_of(c, h->key.cgroup_id));
		s = series_get(c->table, &h->key, labels, false);
		if (s)
			return s;
	}
	labels_of_others(labels, &h->key);
	return series_get(c->table, &h->key, labels, true);
}

/* Its labels would be for good: they wait until there was a walk. */
static bool too_early(struct collector *c, const struct histogram *h)
{
	return c->groups && !h->key.rest && h->key.cgroup_id &&
	       *group_of(c, h->key.cgroup_id) == '#' && groups_due(c->groups);
}

static bool hold(struct key *key, const struct histogram *h)
{
	if (!key->held) {
		key->held = malloc(sizeof(*h));
		if (!key->held)
			return false;
		*key->held = *h;
		return true;
	}
	for (unsigned b = 0; b < TCPLAT_HIST_BUCKETS; b++)
		key->held->counts[b] += h->counts[b];
	key->held->count += h->count;
	key->held->sum_ns += h->sum_ns;
	key->held->beside += h->beside;
	return true;
}

static void count(struct collector *c, struct key *key, struct histogram *h)
{
	if (!key->s) {
		key->s = series_of(c, h);
		key->rest = h->key.rest;
	}
	key->used = c->reading;
	/* The parts of a latency are no further values. */
	if (h->key.part == TCPLAT_PART_TOTAL) {
		c->events[h->key.kind] += h->count;
		c->refused += h->key.rest ? h->count : 0;
		c->unaccounted += key->s ? 0 : h->count;
	}
	if (key->s)
		series_add(c->table, key->s, h, c->reading);
}

static void let_go(struct collector *c, struct key *key)
{
	count(c, key, key->held);
	free(key->held);
	key->held = NULL;
}

static void on_histogram(void *arg, struct histogram *h)
{
	struct collector *c = arg;
	struct key *key;

	if (h->slot >= c->n_keys || h->key.kind >= TCPLAT_NR_KINDS)
		return;
	key = &c->keys[h->slot];
	if (!key->s && too_early(c, h) && hold(key, h))
		return;
	if (key->held)
		let_go(c, key);
	count(c, key, h);
}

static void let_go_of_known(struct collector *c)
{
	for (__u32 i = 0; i < c->n_keys; i++)
		if (c->keys[i].held && !too_early(c, c->keys[i].held))
			let_go(c, &c->keys[i]);
}

/* Series without room, and the keys of the kernel that lead to them. */
static int fold(struct collector *c)
{
	int n = series_fold(c->table, c->max_lines - PAGE_LINES);

	if (n > 0)
		c->folded += (__u64)n;
	for (__u32 i = 0; n && i < c->n_keys; i++)
		if (c->keys[i].s && c->keys[i].s->into) {
			c->keys[i].s = c->keys[i].s->into;
			c->keys[i].retire = !c->keys[i].rest;
		}
	series_drop_folded(c->table);
	return n < 0 ? n : 0;
}

struct idle {
	__u32 slot, used;
};

static int compare_idle(const void *a, const void *b)
{
	const struct idle *x = a, *y = b;

	return x->used < y->used ? -1 : x->used > y->used;
}

/* Keys to be retired: of folded series; and where room is short, those idle longest. */
static size_t choose(const struct collector *c, __u32 *slots, struct idle *idle)
{
	__u32 most = c->usage.max_keys, left = c->usage.keys;
	size_t n = 0, n_idle = 0;

	for (__u32 i = 0; i < c->n_keys; i++) {
		const struct key *key = &c->keys[i];

		if (!key->s || key->rest)
			continue;
		if (key->retire)
			slots[n++] = i;
		else if (key->used != c->reading)
			idle[n_idle++] = (struct idle){ i, key->used };
	}
	left -= n < left ? (__u32)n : left;
	/* Half of it is kept free for those that come until the next reading. */
	if (left <= most / 2)
		return n;
	qsort(idle, n_idle, sizeof(*idle), compare_idle);
	for (size_t i = 0; i < n_idle && left > most / 4; i++, left--)
		slots[n++] = idle[i].slot;
	return n;
}

static int make_room(struct collector *c)
{
	_cleanup_free_ __u32 *slots = calloc(c->n_keys, sizeof(*slots));
	_cleanup_free_ struct idle *idle = calloc(c->n_keys, sizeof(*idle));
	size_t n;
	int err;

	if (!slots || !idle)
		return -ENOMEM;
	n = choose(c, slots, idle);
	if (!n)
		return 0;
	err = engine_retire(c->engine, slots, n, on_histogram, c);
	/* They go on as they are: what has no room then is among the others. */
	if (err)
		return err == -ENOTSUP ? 0 : err;
	for (size_t i = 0; i < n; i++)
		c->keys[slots[i]] = (struct key){};
	return 0;
}

/* What is lost by re-entrance is put together from several counts: it may be less next time. */
static void look_at_usage(struct collector *c)
{
	struct engine_usage before = c->usage;

	engine_usage(c->engine, &c->usage);
	for (int i = 0; i < TCPLAT_NR_LOST; i++)
		if (c->usage.counters.lost[i] < before.counters.lost[i])
			c->usage.counters.lost[i] = before.counters.lost[i];
}

int collector_read(struct collector *c)
{
	int err;

	c->began_ns = clock_ns(CLOCK_MONOTONIC);
	c->reading++;
	err = engine_histograms(c->engine, on_histogram, c);
	let_go_of_known(c);
	look_at_usage(c);
	if (!err)
		err = fold(c);
	if (!err)
		err = make_room(c);
	look_at_usage(c);
	if (err)
		log_error("reading the histograms failed: %s", strerror(-err));
	c->took_ns = clock_ns(CLOCK_MONOTONIC) - c->began_ns;
	return err;
}

static void add_program(void *arg, const char *name, __u64 runs, __u64 ns)
{
	struct self *self = arg;
	struct self_program *p = &self->programs[self->n_programs];

	if (self->n_programs >= SELF_MAX_PROGRAMS)
		return;
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->runs = runs;
	p->ns = ns;
	self->n_programs++;
}

struct page *collector_page(const struct collector *c, struct self *self)
{
	self->usage = c->usage;
	memcpy(self->events, c->events, sizeof(self->events));
	self->refused = c->refused;
	self->folded = c->folded;
	self->unaccounted = c->unaccounted;
	self->series = series_count(c->table);
	self->lines = series_lines(c->table) + PAGE_LINES;
	self->max_lines = c->max_lines;
	self->read_ns = c->took_ns;
	self_look(self);
	if (self->timed)
		engine_programs(c->engine, add_program, self);
	return page_new(c->table, &c->edges, self);
}
