// SPDX-License-Identifier: GPL-2.0-or-later
#include "tools/view.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/features.h"
#include "core/log.h"
#include "core/session.h"
#include "tools/tool.h"

static void print_help(const struct view *v)
{
	printf("%s\n%s", v->usage, v->about);
	options_help(stdout, v->options);
	if (v->after)
		printf("\n%s", v->after);
}

/* Questions that need no tracing. -1: none was asked, else the exit status. */
static int answer(const struct view *v, const struct query *q)
{
	int status = EXIT_SUCCESS;

	if (q->help)
		print_help(v);
	else if (q->usage)
		fputs(v->usage, stdout);
	else if (q->version)
		printf("%s %s\n", v->name, TCPLAT_VERSION);
	else if (q->features)
		status = features_print(stdout);
	else
		return -1;
	if (fflush(stdout)) {
		log_error("writing to standard output failed: %m");
		return EXIT_FAILURE;
	}
	return status;
}

int view_run(const struct view *v, int argc, char **argv)
{
	_cleanup_(query_free) struct query q;
	int status;

	query_init(&q, v->kind, v->title);
	if (options_parse(&q, v->options, argc, argv))
		return EXIT_USAGE;
	status = answer(v, &q);
	if (status >= 0)
		return status;
	if (query_finish(&q))
		return EXIT_USAGE;
	v->settle(&q);
	log_init(log_name(), q.verbose);
	return session_run(&q);
}
