// SPDX-License-Identifier: GPL-2.0-or-later
#include "tools/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/features.h"
#include "core/log.h"
#include "core/session.h"
#include "tools/tool.h"

static void print_help(const struct view *v)
{
	printf("%s\n%s", v->usage, v->about);
	options_help(stdout, v->options, v->kind);
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
	if (v->begin)
		v->begin(&q);
	if (options_parse(&q, v->options, argc, argv))
		return EXIT_USAGE;
	status = answer(v, &q);
	if (status >= 0)
		return status;
	if (query_finish(&q))
		return EXIT_USAGE;
	v->settle(&q);
	log_init(log_name(), q.verbose);
	return v->run ? v->run(&q) : session_run(&q);
}

static bool has_column(const struct query *q, const char *name)
{
	for (unsigned i = 0; i < q->n_cells; i++)
		if (!strcmp(q->cells[i].column->name, name))
			return true;
	return false;
}

void view_columns(struct query *q, const char *const *names)
{
	for (; !q->columns && *names; names++)
		query_add_column(q, *names);
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

void view_add(struct query *q, const char *column, const char *header, unsigned width, unsigned cut)
{
	struct cell *cell;

	if (!query_add_column(q, column))
		return;
	cell = &q->cells[q->n_cells - 1];
	cell->header = header;
	cell->width = width;
	cell->cut = cut;
	cell->right = false;
}
