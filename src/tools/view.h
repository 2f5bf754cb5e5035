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
	/* Chooses columns and what else the view decides; options are parsed. */
	void (*settle)(struct query *q);
};

/* argv[0] is skipped. Returns the exit status. */
int view_run(const struct view *v, int argc, char **argv);

#endif /* TCPLAT_TOOLS_VIEW_H */
