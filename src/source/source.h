/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sources: where records come from. The live one is the kernel; replay reads
 * what the JSON sink wrote. Both are driven by the session in the same way.
 * Errors are negative errno values, already reported.
 */
#ifndef TCPLAT_SOURCE_SOURCE_H
#define TCPLAT_SOURCE_SOURCE_H

#include "core/engine.h"
#include "record/record.h"

struct source;

/* Where a source delivers; arg is the session's. */
struct consumer {
	void (*record)(void *arg, struct record *r);
	void (*histogram)(void *arg, struct histogram *h);
	void *arg;
};

struct source_ops {
	/* Begins. From here on nothing may be missed. */
	int (*start)(struct source *s);
	/* To be polled for reading, or -1: drain at will until it says 0. */
	int (*fd)(struct source *s);
	/* Delivers what waits. Number of records, 0: none (without fd: the end). */
	int (*drain)(struct source *s, const struct consumer *to);
	/* Delivers the histograms of the interval that ends now. */
	int (*histograms)(struct source *s, const struct consumer *to);
	/* Rows of what has happened and no packet has shown yet; NULL: there is no such thing. */
	void (*collect)(struct source *s);
	/* No event after this call is delivered; what waits still is. */
	void (*stop)(struct source *s);
	int (*summary)(struct source *s, struct summary *sum);
	/* Traces this task and its descendants only. */
	int (*trace_task)(struct source *s, int pidfd);
	void (*free)(struct source *s);
};

struct source {
	const struct source_ops *ops;
};

/* Loads the engine; options as for engine_load(). */
int source_live_new(struct source **source, const struct engine_options *options);

/*
 * Reads path ("-": standard input). The filter applies to records; with
 * TCPLAT_OUT_HIST they are gathered in histograms here, as the kernel would.
 * config: borrowed until the source is freed.
 */
int source_replay_new(struct source **source, const char *path, const struct tcplat_config *config,
		      enum tcplat_kind kind);

static inline void source_free(struct source *s)
{
	if (s)
		s->ops->free(s);
}

static inline void source_freep(struct source **s)
{
	source_free(*s);
}

#endif /* TCPLAT_SOURCE_SOURCE_H */
