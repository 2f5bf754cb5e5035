// SPDX-License-Identifier: GPL-2.0-or-later
/* tcplat connect: every TCP connection that this host tries to open. */
#include <string.h>

#include "core/cleanup.h"
#include "tools/tool.h"
#include "tools/view.h"

static const struct option_table options = { view_options, NULL };

static const char *const default_columns[] = {
	"pid", "comm", "laddr", "lport", "raddr", "rport", "outcome", "syns", "lat",
};

static bool has_column(const struct query *q, const char *name)
{
	for (unsigned i = 0; i < q->n_cells; i++)
		if (!strcmp(q->cells[i].column->name, name))
			return true;
	return false;
}

static void settle(struct query *q)
{
	if (q->failed)
		q->config.filter.outcomes =
			((1U << TCPLAT_NR_OUTCOMES) - 1) & ~(1U << TCPLAT_ESTABLISHED);
	if (!q->columns)
		for (size_t i = 0; i < ARRAY_SIZE(default_columns); i++)
			query_add_column(q, default_columns[i]);
	if (q->timestamp && !has_column(q, "time") && query_add_column(q, "time")) {
		struct cell time = q->cells[q->n_cells - 1];

		memmove(q->cells + 1, q->cells, (q->n_cells - 1) * sizeof(q->cells[0]));
		q->cells[0] = time;
	}
	for (unsigned i = 0; q->wide && i < q->n_cells; i++)
		if (!strcmp(q->cells[i].column->name, "laddr") ||
		    !strcmp(q->cells[i].column->name, "raddr"))
			q->cells[i].width = 39;
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
