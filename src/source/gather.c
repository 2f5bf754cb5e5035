// SPDX-License-Identifier: GPL-2.0-or-later
#include "source/gather.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "tcplat/key.h"

struct node {
	struct histogram h;
	char *cgroup;
	struct node *next;
};

struct gather {
	const struct tcplat_config *cfg;
	__u32 n;
	__u64 first_ns, last_ns; /* unix time; 0: no record yet */
	void *tree;		 /* tsearch(3) over the nodes */
	struct node *first;	 /* the same nodes, newest first */
};

struct gather *gather_new(const struct tcplat_config *cfg)
{
	struct gather *g = calloc(1, sizeof(*g));

	if (g)
		g->cfg = cfg;
	return g;
}

static int compare(const void *a, const void *b)
{
	const struct node *x = a, *y = b;
	int r = memcmp(&x->h.key, &y->h.key, sizeof(x->h.key));

	return r ? r : strcmp(x->cgroup, y->cgroup);
}

static void keep_nothing(void *node)
{
	(void)node;
}

static void clear(struct gather *g)
{
	tdestroy(g->tree, keep_nothing);
	while (g->first) {
		struct node *n = g->first;

		g->first = n->next;
		free(n->cgroup);
		free(n);
	}
	g->tree = NULL;
	g->n = 0;
	g->first_ns = g->last_ns = 0;
}

void gather_free(struct gather *g)
{
	if (!g)
		return;
	clear(g);
	free(g);
}

static struct node *node_of(struct gather *g, const struct record *r, __u8 part)
{
	struct node want = {}, **have, *n;

	/* A group is its path here, not an id. */
	tcplat_hist_key_of(&want.h.key, &r->ev, g->cfg, (__u8)record_outcome(r));
	want.h.key.part = part;
	want.cgroup = (char *)(g->cfg->by & TCPLAT_KEY_CGROUP ? r->cgroup : "");
	have = tfind(&want, &g->tree, compare);
	if (have)
		return *have;
	if (g->n >= g->cfg->max_keys)
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->h.key = want.h.key;
	histogram_describe(&n->h, g->cfg);
	n->h.min_ns = ~0ULL;
	n->cgroup = strdup(want.cgroup);
	if (!n->cgroup || !tsearch(n, &g->tree, compare)) {
		free(n->cgroup);
		free(n);
		return NULL;
	}
	n->next = g->first;
	g->first = n;
	g->n++;
	return n;
}

static void add(struct node *n, __u64 step_ns, __u64 ns)
{
	n->h.counts[tcplat_hist_bucket(tcplat_hist_steps(ns, step_ns))]++;
	n->h.count++;
	n->h.sum_ns += ns;
	if (ns < n->h.min_ns)
		n->h.min_ns = ns;
	if (ns > n->h.max_ns)
		n->h.max_ns = ns;
}

int gather_add(struct gather *g, const struct record *r)
{
	const __u64 parts[] = {
		[TCPLAT_PART_TOTAL] = record_value_ns(r, g->cfg->rtt_value),
		[TCPLAT_PART_WAKE] = r->pickup.wake_ns,
		[TCPLAT_PART_RUNQ] = r->pickup.runq_ns,
		[TCPLAT_PART_APP] = r->pickup.latency_ns - r->pickup.wake_ns - r->pickup.runq_ns,
	};
	bool split = g->cfg->by & TCPLAT_KEY_PART && r->ev.split;
	struct node *n;

	if (!g->last_ns || r->unix_ns < g->first_ns)
		g->first_ns = r->unix_ns;
	if (r->unix_ns > g->last_ns)
		g->last_ns = r->unix_ns;
	n = node_of(g, r, TCPLAT_PART_TOTAL);
	if (!n)
		return -ENOSPC;
	add(n, g->cfg->hist_step_ns, parts[TCPLAT_PART_TOTAL]);
	for (__u8 part = TCPLAT_PART_WAKE; split && part < TCPLAT_NR_PARTS; part++) {
		n = node_of(g, r, part);
		if (n)
			add(n, g->cfg->hist_step_ns, parts[part]);
	}
	return 0;
}

void gather_take(struct gather *g, const struct consumer *to)
{
	for (struct node *n = g->first; n; n = n->next) {
		n->h.cgroup = n->cgroup;
		n->h.unix_ns = g->last_ns;
		n->h.interval_ns = g->last_ns - g->first_ns;
		to->histogram(to->arg, &n->h);
	}
	clear(g);
}
