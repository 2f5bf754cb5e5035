/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What views and drop-in names have in common: from argv to a session. */
#ifndef TCPLAT_TOOLS_VIEW_H
#define TCPLAT_TOOLS_VIEW_H

#include "cli/options.h"

struct view {
	const char *name; /* for --version */
	enum tcplat_kind kind;
	const char *title; /* of histograms */
	const char *usage; /* one line, ends with a newline */
	const char *about; /* what help says between usage and options */
	const char *after; /* and behind them; NULL: nothing */
	const struct option_table *options;
	/* What the options then change; NULL: nothing beyond the common defaults. */
	void (*begin)(struct query *q);
	/* Chooses columns and what else the view decides; options are parsed. */
	void (*settle)(struct query *q);
	/* Carries the query out; its exit status. NULL: a session does. */
	int (*run)(struct query *q);
};

/* argv[0] is skipped. Returns the exit status. */
int view_run(const struct view *v, int argc, char **argv);

/*
 * For unified views: these columns (ended by NULL) unless the user chose some,
 * and what -t and -w do to them.
 */
void view_columns(struct query *q, const char *const *names);

/*
 * For drop-in names: a column under the original's header, left-aligned, at
 * least `width` wide (0: as the text), its text cut at `cut` (0: never).
 */
void view_add(struct query *q, const char *column, const char *header, unsigned width,
	      unsigned cut);

#endif /* TCPLAT_TOOLS_VIEW_H */
