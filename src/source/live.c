// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cgroup.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "source/source.h"

struct live {
	struct source source;
	struct engine *engine;
	struct cgroups *cgroups;
	const struct consumer *to; /* during a delivery */
	__u64 offset_ns;	   /* CLOCK_REALTIME less CLOCK_MONOTONIC */
};

static struct live *live_of(struct source *s)
{
	return (struct live *)((char *)s - offsetof(struct live, source));
}

static int live_start(struct source *s)
{
	int err = engine_attach(live_of(s)->engine);

	if (!err)
		engine_describe(live_of(s)->engine);
	return err;
}

static int live_fd(struct source *s)
{
	return engine_fd(live_of(s)->engine);
}

static void on_row(void *arg, const struct tcplat_event *ev, size_t size)
{
	struct live *l = arg;
	struct record r = {};

	memcpy(&r.ev, ev, size);
	r.unix_ns = ev->time_ns + l->offset_ns;
	r.cgroup = cgroups_path(l->cgroups, ev->cgroup_id);
	l->to->record(l->to->arg, &r);
}

static int live_drain(struct source *s, const struct consumer *to)
{
	struct live *l = live_of(s);
	int n;

	/* Anew for each batch: the clock may have been set in between. */
	l->offset_ns = clock_real_offset();
	l->to = to;
	n = engine_drain(l->engine, on_row, l);
	if (n < 0)
		log_error("reading the ring buffer failed: %s", strerror(-n));
	return n;
}

static void on_histogram(void *arg, struct histogram *h)
{
	struct live *l = arg;

	h->cgroup = h->by & TCPLAT_KEY_CGROUP ? cgroups_path(l->cgroups, h->key.cgroup_id) : "";
	l->to->histogram(l->to->arg, h);
}

static int live_histograms(struct source *s, const struct consumer *to)
{
	struct live *l = live_of(s);
	int err;

	l->to = to;
	err = engine_histograms(l->engine, on_histogram, l);
	if (err)
		log_error("reading the histograms failed: %s", strerror(-err));
	return err;
}

static void live_collect(struct source *s)
{
	engine_collect(live_of(s)->engine);
}

static void live_stop(struct source *s)
{
	engine_stop(live_of(s)->engine);
}

static int live_summary(struct source *s, struct summary *sum)
{
	int err = engine_summary(live_of(s)->engine, sum);

	if (err)
		log_warning("attempts still open could not be counted: %s", strerror(-err));
	return 0;
}

static int live_trace_task(struct source *s, int pidfd)
{
	int err = engine_trace_task(live_of(s)->engine, pidfd);

	if (err)
		log_error("cannot mark the command for tracing: %s", strerror(-err));
	return err;
}

static void live_free(struct source *s)
{
	struct live *l = live_of(s);

	engine_free(l->engine);
	cgroups_free(l->cgroups);
	free(l);
}

static const struct source_ops live_ops = {
	.start = live_start,
	.fd = live_fd,
	.drain = live_drain,
	.histograms = live_histograms,
	.collect = live_collect,
	.stop = live_stop,
	.summary = live_summary,
	.trace_task = live_trace_task,
	.free = live_free,
};

int source_live_new(struct source **source, const struct engine_options *options)
{
	struct live *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	l->source.ops = &live_ops;
	l->cgroups = cgroups_new();
	err = l->cgroups ? engine_load(&l->engine, options) : -ENOMEM;
	if (err) {
		live_free(&l->source);
		return err;
	}
	*source = &l->source;
	return 0;
}
