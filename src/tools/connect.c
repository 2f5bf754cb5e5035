// SPDX-License-Identifier: GPL-2.0-or-later
/* tcplat connect: every TCP connection that this host tries to open. */
#include "tools/tool.h"
#include "tools/view.h"

static const struct option_table options = { view_options, NULL };

static const char *const default_columns[] = {
	"pid", "comm", "laddr", "lport", "raddr", "rport", "outcome", "syns", "lat", NULL,
};

static void settle(struct query *q)
{
	if (q->failed)
		q->config.filter.outcomes =
			((1U << TCPLAT_NR_OUTCOMES) - 1) & ~(1U << TCPLAT_ESTABLISHED);
	view_columns(q, default_columns);
}

static const struct view view = {
	.name = "tcplat",
	.kind = TCPLAT_KIND_CONNECT,
	.title = "connect latency",
	.usage = "Usage: tcplat connect [OPTIONS] [-- COMMAND [ARG...]]\n",
	.about = "Shows every TCP connection that this host tries to open: who, where to, how it\n"
		 "ended, after how many SYNs, and how long it took from the first SYN. With a\n"
		 "command, only what it and its descendants open.\n",
	.options = &options,
	.settle = settle,
};

static int run(int argc, char **argv)
{
	return view_run(&view, argc, argv);
}

const struct tool tool_connect = { "connect",
				   "latency and outcome of the connections this host opens", run };
