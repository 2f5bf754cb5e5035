// SPDX-License-Identifier: GPL-2.0-or-later
/* tcplat connect: every TCP connection that this host tries to open. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "core/cleanup.h"
#include "core/features.h"
#include "core/log.h"
#include "core/session.h"
#include "tools/tool.h"

static const struct option_table options = { view_options, NULL };

static const char *const default_columns[] = {
	"pid", "comm", "laddr", "lport", "raddr", "rport", "outcome", "syns", "lat",
};

static int print_help(void)
{
	printf("Usage: tcplat connect [OPTIONS] [-- COMMAND [ARG...]]\n\n"
	       "Shows every TCP connection that this host tries to open: who, where to, how it\n"
	       "ended, after how many SYNs, and how long it took from the first SYN. With a\n"
	       "command, only what it and its descendants open.\n");
	options_help(stdout, &options);
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void choose_columns(struct query *q)
{
	if (!q->columns)
		for (size_t i = 0; i < ARRAY_SIZE(default_columns); i++)
			query_add_column(q, default_columns[i]);
	if (q->timestamp && !(q->n_cells && !strcmp(q->cells[0].column->name, "time")) &&
	    q->n_cells < QUERY_MAX_CELLS && query_add_column(q, "time")) {
		struct cell time = q->cells[q->n_cells - 1];

		memmove(q->cells + 1, q->cells, (q->n_cells - 1) * sizeof(q->cells[0]));
		q->cells[0] = time;
	}
	for (unsigned i = 0; q->wide && i < q->n_cells; i++)
		if (!strcmp(q->cells[i].column->name, "laddr") ||
		    !strcmp(q->cells[i].column->name, "raddr"))
			q->cells[i].width = 39;
}

static int run(int argc, char **argv)
{
	_cleanup_(query_free) struct query q;

	query_init(&q, TCPLAT_KIND_CONNECT, "connect latency");
	if (options_parse(&q, &options, argc, argv))
		return EXIT_USAGE;
	if (q.help)
		return print_help();
	if (q.version) {
		printf("tcplat %s\n", TCPLAT_VERSION);
		return EXIT_SUCCESS;
	}
	if (q.features)
		return features_print(stdout);
	if (query_finish(&q))
		return EXIT_USAGE;
	if (q.failed)
		q.config.filter.outcomes =
			((1U << TCPLAT_NR_OUTCOMES) - 1) & ~(1U << TCPLAT_ESTABLISHED);
	choose_columns(&q);
	log_init(log_name(), q.verbose);
	return session_run(&q);
}

const struct tool tool_connect = { "connect",
				   "latency and outcome of the connections this host opens", run };
