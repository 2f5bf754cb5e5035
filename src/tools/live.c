// SPDX-License-Identifier: GPL-2.0-or-later
/* tcplat without a view: all measurements of the host at once. */
#include "tools/tool.h"
#include "tools/view.h"

static const struct option_table options = { view_options, NULL };

static void settle(struct query *q)
{
	(void)q;
}

static const struct view view = {
	.name = "tcplat",
	.kind = TCPLAT_NR_KINDS,
	.title = "summary",
	.usage = "Usage: tcplat [OPTIONS] [-- COMMAND [ARG...]]\n"
		 "       tcplat VIEW [OPTIONS] [-- COMMAND [ARG...]]\n",
	.about =
		"Shows each second how TCP fares on this host: connects, round trips, pickups, and the\n"
		"worst remote addresses and programs. With a command, only what it and its\n"
		"descendants do.\n",
	.options = &options,
	.settle = settle,
};

static int run(int argc, char **argv)
{
	return view_run(&view, argc, argv);
}

const struct tool tool_live = { "tcplat", "all measurements of the host, each second", run };
