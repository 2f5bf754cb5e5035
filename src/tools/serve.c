// SPDX-License-Identifier: GPL-2.0-or-later
/* tcplat serve: another program, beside this one or where it was installed to. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "tools/tool.h"

#define PROGRAM "tcplat-serve"

/* Its libraries would cost every other view a third of its start. */
static int run(int argc, char **argv)
{
	char path[PATH_MAX + sizeof(PROGRAM)] = "", *slash;
	char **words = calloc((size_t)argc + 2, sizeof(char *));
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (!words) {
		log_error("out of memory");
		return EXIT_FAILURE;
	}
	words[0] = (char *)log_name();
	memcpy(words + 1, argv, (size_t)argc * sizeof(char *));
	slash = n > 0 ? strrchr(path, '/') : NULL;
	if (slash) {
		memcpy(slash + 1, PROGRAM, sizeof(PROGRAM));
		execv(path, words);
	}
	execv(TCPLAT_LIBEXECDIR "/" PROGRAM, words);
	log_error("cannot start " TCPLAT_LIBEXECDIR "/" PROGRAM ": %s", strerror(errno));
	free(words);
	return EXIT_FAILURE;
}

const struct tool tool_serve = { "serve", "an agent for Prometheus: all measurements over HTTP",
				 run };
