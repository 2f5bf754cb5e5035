// SPDX-License-Identifier: GPL-2.0-or-later
/* tcplat pickup: how long received data waits for the program. */
#include "tools/tool.h"
#include "tools/view.h"

static const struct option_table options = { view_options, NULL };

static const char *const default_columns[] = {
	"pid", "comm", "laddr", "lport", "raddr", "rport", "bytes", "lat", NULL,
};

static const char *const split_columns[] = {
	"pid",	 "comm", "laddr", "lport", "raddr", "rport",
	"bytes", "wake", "runq",  "app",   "lat",   NULL,
};

static void settle(struct query *q)
{
	view_columns(q, q->split ? split_columns : default_columns);
}

static const struct view view = {
	.name = "tcplat",
	.kind = TCPLAT_KIND_PICKUP,
	.title = "pickup latency",
	.usage = "Usage: tcplat pickup [OPTIONS] [-- COMMAND [ARG...]]\n",
	.about =
		"Shows how long received data waits before the program takes it: for each segment,\n"
		"from its arrival to the read of its last byte. With a command, only what it and\n"
		"its descendants read. On a busy host, --hist shows the same at a fraction of the\n"
		"cost: tcplat pickup --hist --by comm,lport -i 1\n",
	.options = &options,
	.settle = settle,
};

static int run(int argc, char **argv)
{
	return view_run(&view, argc, argv);
}

const struct tool tool_pickup = { "pickup", "how long received data waits for the program", run };
