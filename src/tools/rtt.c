// SPDX-License-Identifier: GPL-2.0-or-later
/* tcplat rtt: how long the path is, by the kernel's own samples. */
#include "tools/tool.h"
#include "tools/view.h"

static const struct option_table options = { view_options, NULL };

static const char *const default_columns[] = {
	"pid", "comm", "laddr", "lport", "raddr", "rport", "srtt", "min_rtt", "rtt", NULL,
};

static void settle(struct query *q)
{
	static const char *const titles[] = {
		[TCPLAT_VALUE_SAMPLE] = "round-trip time",
		[TCPLAT_VALUE_SRTT] = "smoothed round-trip time",
		[TCPLAT_VALUE_MIN_RTT] = "minimum round-trip time",
		[TCPLAT_VALUE_JITTER] = "round-trip jitter",
		[TCPLAT_VALUE_RECEIVER] = "receiver's round-trip time",
	};

	q->title = titles[q->config.rtt_value];
	view_columns(q, default_columns);
}

static const struct view view = {
	.name = "tcplat",
	.kind = TCPLAT_KIND_RTT,
	.title = "round-trip time",
	.usage = "Usage: tcplat rtt [OPTIONS] [-- COMMAND [ARG...]]\n",
	.about =
		"Shows how long the path is and how much that varies: the kernel's own samples, each\n"
		"counted once, by remote address or whatever --by names. With a command, only the\n"
		"connections of it and its descendants.\n",
	.options = &options,
	.settle = settle,
};

static int run(int argc, char **argv)
{
	return view_run(&view, argc, argv);
}

const struct tool tool_rtt = { "rtt", "round-trip times by peer, port or program", run };
