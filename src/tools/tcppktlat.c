// SPDX-License-Identifier: GPL-2.0-or-later
/* The drop-in name: options, columns and number formats of the original. */
#include <errno.h>

#include "core/log.h"
#include "tools/tool.h"
#include "tools/view.h"

#define MAX_US 86400000000000ULL /* 1000 days, in us */

/* The original's positional argument: whole microseconds. */
static int set_min_us(struct query *q, const struct option_def *def, const char *arg)
{
	__u64 us;

	(void)def;
	if (parse_u64(arg, 0, MAX_US, &us)) {
		log_error("min_us: '%s' is not a number of microseconds; give a whole number such "
			  "as 1000",
			  arg);
		return -EINVAL;
	}
	/* The original shows what is longer, in whole microseconds. */
	q->config.filter.min_ns = us ? (us + 1) * 1000 : 0;
	return 0;
}

static const struct option_def defs[] = {
	{ 'l', "lport", "LPORT", "filter for local port", NULL, .set = set_lport },
	{ 'p', "pid", "PID", "Process PID to trace", NULL, .set = set_pid },
	{ 'r', "rport", "RPORT", "filter for remote port", NULL, .set = set_rport },
	{ 't', "tid", "TID", "Thread TID to trace", NULL, .set = set_tid },
	{ 'T', "timestamp", NULL, "include timestamp on output", NULL, FLAG(timestamp) },
	{ 'v', "verbose", NULL, "Verbose debug output", NULL, FLAG(verbose) },
	{ 'w', "wide", NULL, "Wide column output (fits IPv6 addresses)", NULL, FLAG(wide) },
	{ '?', "help", NULL, "Give this help list", NULL, FLAG(help) },
	{ 'h', NULL, NULL, NULL, NULL, FLAG(help) },
	{ 0, "usage", NULL, "Give a short usage message", NULL, FLAG(usage) },
	{ 'V', "version", NULL, "Print program version", NULL, FLAG(version) },
	{ 0, "json", NULL, "JSON Lines, the last one a summary", "Beyond the original",
	  .set = set_format, .value = FORMAT_JSON },
	{ 0, "all", NULL, "trace everything while COMMAND runs, not it alone", NULL, FLAG(all) },
	{ 0, "replay", "FILE", "read recorded JSON Lines instead of the kernel", NULL,
	  .set = set_replay },
	{},
};

static const struct option_table options = { defs, set_min_us };

static void settle(struct query *q)
{
	unsigned addr = q->wide ? 26 : 15;

	/* Its widths; a longer value pushes its own row only. */
	q->adaptive = false;
	if (q->timestamp)
		view_add(q, "clock", "TIME(s)", 8, 0);
	view_add(q, "pid", "PID", 7, 0);
	view_add(q, "comm", "COMM", 16, 0);
	view_add(q, "laddr", "LADDR", addr, 0);
	view_add(q, "lport", "LPORT", 5, 0);
	view_add(q, "raddr", "RADDR", addr, 0);
	view_add(q, "rport", "RPORT", 5, 0);
	view_add(q, "lat2", "MS", 0, 0);
}

static const struct view view = {
	.name = "tcppktlat",
	.kind = TCPLAT_KIND_PICKUP,
	.title = "pickup latency",
	.usage = "Usage: tcppktlat [-?V] [-T] [-p PID] [-t TID] [-l LPORT] [-r RPORT] [-w] [-v] "
		 "[min_us] [-- COMMAND [ARG...]]\n",
	.about = "Trace latency between TCP received pkt and picked up by userspace thread.\n\n"
		 "  min_us                    filter for latency higher than this, in us\n",
	.after = "EXAMPLES:\n"
		 "    tcppktlat             # trace the latency of all received packets\n"
		 "    tcppktlat -T          # include timestamps\n"
		 "    tcppktlat -p 181      # filter for pid\n"
		 "    tcppktlat -t 181      # filter for tid\n"
		 "    tcppktlat -l 80       # filter for local port\n"
		 "    tcppktlat -r 80       # filter for remote port\n"
		 "    tcppktlat 1000        # filter for latency higher than 1000us\n"
		 "    tcppktlat -- curl URL # only what this command reads\n",
	.options = &options,
	.settle = settle,
};

static int run(int argc, char **argv)
{
	return view_run(&view, argc, argv);
}

const struct tool tool_tcppktlat = { "tcppktlat", "the original's options and columns", run };
