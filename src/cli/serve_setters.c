// SPDX-License-Identifier: GPL-2.0-or-later
/* Setters of what only `tcplat serve` is asked for. */
#include <errno.h>
#include <string.h>

#include "cli/options.h"

int set_listen(struct query *q, const struct option_def *def, const char *arg)
{
	struct listen_address a;
	int err = parse_listen(arg, &a);

	if (err)
		return option_error(def, arg,
				    err == -ERANGE ? "has a port out of range" :
						     "is not an address with a port",
				    "give 127.0.0.1:9762, [::1]:9762, or :9762 for every address; "
				    "names are not looked up");
	if (q->serve.n_listen >= SERVE_MAX_LISTEN)
		return option_error(def, arg, "is one too many", "at most 8 can be given");
	q->serve.listen[q->serve.n_listen++] = a;
	return 0;
}

int set_edges(struct query *q, const struct option_def *def, const char *arg)
{
	if (strcmp(arg, "octave") && strcmp(arg, "fine"))
		return option_error(def, arg, "is no set of edges", "give octave or fine");
	q->serve.fine = !strcmp(arg, "fine");
	return 0;
}

int set_max_series(struct query *q, const struct option_def *def, const char *arg)
{
	__u64 n;

	if (parse_u64(arg, SERVE_LINES_LEAST, SERVE_LINES_MOST, &n))
		return option_error(def, arg, "is not a number of lines",
				    "give a whole number from 1000 to 1000000");
	q->serve.max_series = (__u32)n;
	return 0;
}
