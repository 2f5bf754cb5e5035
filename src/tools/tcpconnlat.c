// SPDX-License-Identifier: GPL-2.0-or-later
/* The drop-in name: options, columns and number formats of the original. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "core/cleanup.h"
#include "core/log.h"
#include "core/session.h"
#include "tools/tool.h"

#define MAX_MS 86400000000ULL /* 1000 days, in ms */

/* The original's positional argument: milliseconds, with a fraction. */
static int set_min_ms(struct query *q, const struct option_def *def, const char *arg)
{
	__u64 ns;

	(void)def;
	if (parse_decimal(arg, 1000000, MAX_MS * 1000000, &ns)) {
		log_error("min_ms: '%s' is not a number of milliseconds; give one such as 1 or 0.1",
			  arg);
		return -1;
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
	{ 'p', "pid", "PID", "trace this PID only", NULL, set_pid, 0 },
	{ 'L', "lport", NULL, "include LPORT on output", NULL, set_lport_column, 0 },
	{ '4', "ipv4", NULL, "trace IPv4 family only", NULL, set_ip, 4 },
	{ '6', "ipv6", NULL, "trace IPv6 family only", NULL, set_ip, 6 },
	{ 'v', "verbose", NULL, "show which programs are attached where", NULL, FLAG(verbose) },
	{ 0, "all-outcomes", NULL, "also attempts that got no answer at all", "beyond the original",
	  set_all_outcomes, 0 },
	{ 0, "json", NULL, "JSON Lines, the last one a summary", NULL, set_format, FORMAT_JSON },
	{ 0, "all", NULL, "trace everything while COMMAND runs, not it alone", NULL, FLAG(all) },
	{ 0, "replay", "FILE", "read recorded JSON Lines instead of the kernel", NULL, set_replay,
	  0 },
	{ '?', NULL, NULL, NULL, NULL, FLAG(help) },
	{ 0, "usage", NULL, "give a short usage message", NULL, FLAG(usage) },
	{ 'V', "version", NULL, "print program version", NULL, FLAG(version) },
	{},
};

static const struct option_table options = { defs, set_min_ms };

#define USAGE                                                                            \
	"usage: tcpconnlat [-h] [-t] [-p PID] [-L] [-4 | -6] [-v] [min_ms] [-- COMMAND " \
	"[ARG...]]\n"

static int print_help(void)
{
	printf(USAGE "\nTrace TCP connects and show connection latency\n\n"
		     "  min_ms                    minimum duration to trace, in ms (default 0)\n");
	options_help(stdout, &options);
	printf("\nexamples:\n"
	       "    tcpconnlat              # trace all TCP connect()s\n"
	       "    tcpconnlat -t           # include timestamps\n"
	       "    tcpconnlat -p 181       # only trace PID 181\n"
	       "    tcpconnlat 1            # only show connects longer than 1 ms\n"
	       "    tcpconnlat 0.1          # only show connects longer than 100 us\n"
	       "    tcpconnlat -v           # show the programs and where they are attached\n"
	       "    tcpconnlat -- curl URL  # only what this command connects to\n");
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void add(struct query *q, const char *column, const char *header, unsigned width,
		unsigned cut)
{
	if (!query_add_column(q, column))
		return;
	q->cells[q->n_cells - 1].header = header;
	q->cells[q->n_cells - 1].width = width;
	q->cells[q->n_cells - 1].cut = cut;
	q->cells[q->n_cells - 1].right = false;
}

/* The widths of the original; a longer value pushes its own row only. */
static void choose_columns(struct query *q)
{
	q->adaptive = false;
	if (q->timestamp)
		add(q, "elapsed", "TIME(s)", 8, 0);
	add(q, "pid", "PID", 6, 0);
	add(q, "comm", "COMM", 12, 12);
	add(q, "ip", "IP", 2, 0);
	add(q, "laddr", "SADDR", 16, 0);
	if (q->wide)
		add(q, "lport", "LPORT", 6, 0);
	add(q, "raddr", "DADDR", 16, 0);
	add(q, "rport", "DPORT", 5, 0);
	add(q, "lat2", "LAT(ms)", 0, 0);
}

static int run(int argc, char **argv)
{
	_cleanup_(query_free) struct query q;

	query_init(&q, TCPLAT_KIND_CONNECT, "connect latency");
	if (options_parse(&q, &options, argc, argv))
		return EXIT_USAGE;
	if (q.help)
		return print_help();
	if (q.usage) {
		fputs(USAGE, stdout);
		return EXIT_SUCCESS;
	}
	if (q.version) {
		printf("tcpconnlat %s\n", TCPLAT_VERSION);
		return EXIT_SUCCESS;
	}
	if (query_finish(&q))
		return EXIT_USAGE;
	/* The original shows answers: SYN-ACK and RST. */
	if (!all_outcomes)
		q.config.filter.outcomes =
			1U << TCPLAT_ESTABLISHED | 1U << TCPLAT_REFUSED | 1U << TCPLAT_RESET;
	choose_columns(&q);
	log_init(log_name(), q.verbose);
	return session_run(&q);
}

const struct tool tool_tcpconnlat = { "tcpconnlat", "the original's options and columns", run };
