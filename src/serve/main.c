// SPDX-License-Identifier: GPL-2.0-or-later
/* `tcplat serve`: a program of its own, for what it links is dear to load. */
#include "core/log.h"
#include "serve/serve.h"
#include "tools/view.h"

static const struct option_table options = { view_options, NULL };

static void settle(struct query *q)
{
	(void)q;
}

static const struct view view = {
	.name = "tcplat",
	.kind = VIEW_SERVE,
	.title = "serve",
	.usage = "Usage: tcplat serve [OPTIONS]\n",
	.about =
		"Answers Prometheus: connects, round trips and pickups as histograms, kept in the\n"
		"kernel by what --by names, and how many were lost.\n",
	.options = &options,
	.settle = settle,
	.run = serve_run,
};

/* argv[0] is "tcplat", argv[1] "serve": as they were typed. */
int main(int argc, char **argv)
{
	log_init("tcplat", false);
	return view_run(&view, argc - 1, argv + 1);
}
