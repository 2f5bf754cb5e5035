// SPDX-License-Identifier: GPL-2.0-or-later
/* The drop-in name: options, columns and number formats of the original. */
#include <errno.h>

#include "core/log.h"
#include "tools/tool.h"
#include "tools/view.h"

#define MAX_MS 86400000000ULL /* 1000 days, in ms */

/* The original's positional argument: milliseconds, with a fraction. */
static int set_min_ms(struct query *q, const struct option_def *def, const char *arg)
{
	__u64 ns;

	(void)def;
	if (parse_decimal(arg, 1000000, MAX_MS * 1000000, &ns)) {
		log_error("min_ms: '%s' is not a number of milliseconds; give one such as 1 or 0.1",
			  arg);
		return -EINVAL;
	}
	q->config.filter.min_ns = ns;
	return 0;
}

static int set_lport_column(struct query *q, const struct option_def *def, const char *arg)
{
	(void)arg;
	q->wide = true; /* means the LPORT column here */
	(void)def;
	return 0;
}

/* Set by --all-outcomes, which has no place in the common query. */
static bool all_outcomes;

static int set_all_outcomes(struct query *q, const struct option_def *def, const char *arg)
{
	(void)q;
	(void)def;
	(void)arg;
	all_outcomes = true;
	return 0;
}

static const struct option_def defs[] = {
	{ 'h', "help", NULL, "show this help message and exit", "options", FLAG(help) },
	{ 't', "timestamp", NULL, "include timestamp on output", NULL, FLAG(timestamp) },
	{ 'p', "pid", "PID", "trace this PID only", NULL, .set = set_pid },
	{ 'L', "lport", NULL, "include LPORT on output", NULL, .set = set_lport_column },
	{ '4', "ipv4", NULL, "trace IPv4 family only", NULL, .set = set_ip, .value = 4 },
	{ '6', "ipv6", NULL, "trace IPv6 family only", NULL, .set = set_ip, .value = 6 },
	{ 'v', "verbose", NULL, "show which programs are attached where", NULL, FLAG(verbose) },
	{ 0, "all-outcomes", NULL, "also attempts that got no answer at all", "beyond the original",
	  .set = set_all_outcomes },
	{ 0, "json", NULL, "JSON Lines, the last one a summary", NULL, .set = set_format,
	  .value = FORMAT_JSON },
	{ 0, "all", NULL, "trace everything while COMMAND runs, not it alone", NULL, FLAG(all) },
	{ 0, "replay", "FILE", "read recorded JSON Lines instead of the kernel", NULL,
	  .set = set_replay },
	{ '?', NULL, NULL, NULL, NULL, FLAG(help) },
	{ 0, "usage", NULL, "give a short usage message", NULL, FLAG(usage) },
	{ 'V', "version", NULL, "print program version", NULL, FLAG(version) },
	{},
};

static const struct option_table options = { defs, set_min_ms };

static void settle(struct query *q)
{
	/*
	 * The original shows answers: SYN-ACK and RST. What gets none because this host
	 * refuses it would have to be watched for at every system call of the host.
	 */
	if (!all_outcomes) {
		q->config.filter.outcomes =
			1U << TCPLAT_ESTABLISHED | 1U << TCPLAT_REFUSED | 1U << TCPLAT_RESET;
		q->config.calls = 0;
	}
	/* Its widths, too; a longer value pushes its own row only. */
	q->adaptive = false;
	if (q->timestamp)
		view_add(q, "elapsed", "TIME(s)", 8, 0);
	view_add(q, "pid", "PID", 6, 0);
	view_add(q, "comm", "COMM", 12, 12);
	view_add(q, "ip", "IP", 2, 0);
	view_add(q, "laddr", "SADDR", 16, 0);
	if (q->wide)
		view_add(q, "lport", "LPORT", 6, 0);
	view_add(q, "raddr", "DADDR", 16, 0);
	view_add(q, "rport", "DPORT", 5, 0);
	view_add(q, "lat2", "LAT(ms)", 0, 0);
}

static const struct view view = {
	.name = "tcpconnlat",
	.kind = TCPLAT_KIND_CONNECT,
	.title = "connect latency",
	.usage = "usage: tcpconnlat [-h] [-t] [-p PID] [-L] [-4 | -6] [-v] [min_ms] "
		 "[-- COMMAND [ARG...]]\n",
	.about = "Trace TCP connects and show connection latency\n\n"
		 "  min_ms                    minimum duration to trace, in ms (default 0)\n",
	.after = "examples:\n"
		 "    tcpconnlat              # trace all TCP connect()s\n"
		 "    tcpconnlat -t           # include timestamps\n"
		 "    tcpconnlat -p 181       # only trace PID 181\n"
		 "    tcpconnlat 1            # only show connects longer than 1 ms\n"
		 "    tcpconnlat 0.1          # only show connects longer than 100 us\n"
		 "    tcpconnlat -v           # show the programs and where they are attached\n"
		 "    tcpconnlat -- curl URL  # only what this command connects to\n",
	.options = &options,
	.settle = settle,
};

static int run(int argc, char **argv)
{
	return view_run(&view, argc, argv);
}

const struct tool tool_tcpconnlat = { "tcpconnlat", "the original's options and columns", run };
