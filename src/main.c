// SPDX-License-Identifier: GPL-2.0-or-later
/* Name to tool, and nothing else. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/features.h"
#include "core/log.h"
#include "tools/tool.h"

static const struct tool *const names[] = { &tool_tcpconnlat, &tool_tcppktlat, &tool_tcprtt };
static const struct tool *const views[] = { &tool_connect, &tool_pickup, &tool_rtt, &tool_serve };

static void print_help(void)
{
	printf("Usage: tcplat [VIEW] [OPTIONS] [-- COMMAND [ARG...]]\n\n"
	       "Is it the network, the kernel, the peer, or my own program? TCP latency, traced\n"
	       "in the kernel. Without a view: a summary of the host each second.\n\nViews:\n");
	for (size_t i = 0; i < ARRAY_SIZE(views); i++)
		printf("  %-10s %s\n", views[i]->name, views[i]->summary);
	printf("\n`tcplat VIEW --help` lists its options, `tcplat -d 1s --help` those of the "
	       "summary.\n--features prints what this kernel lets us see, --version the version. "
	       "Under the name\nof an original tool (");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		printf("%s%s", i ? ", " : "", names[i]->name);
	printf("),\nit takes that tool's options.\n");
}

/* status, unless what was printed could not be written. */
static int finish(int status)
{
	if (!fflush(stdout))
		return status;
	log_error("writing to standard output failed: %m");
	return EXIT_FAILURE;
}

static int tcplat(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "--";

	if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
		print_help();
		return finish(EXIT_SUCCESS);
	}
	if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
		printf("tcplat %s\n", TCPLAT_VERSION);
		return finish(EXIT_SUCCESS);
	}
	if (!strcmp(word, "--features"))
		return finish(features_print(stdout));
	for (size_t i = 0; i < ARRAY_SIZE(views); i++)
		if (!strcmp(word, views[i]->name))
			return views[i]->run(argc - 1, argv + 1);
	if (*word == '-')
		return tool_live.run(argc, argv);
	log_error("'%s' is no view; see --help", word);
	return EXIT_USAGE;
}

/*
 * A descriptor that was closed for us would be handed out again, and our rows
 * would go to whatever got it. Open for reading only: writing then fails.
 */
static void occupy_standard_fds(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", O_RDONLY);
}

int main(int argc, char **argv)
{
	const char *base = argc && argv[0] ? strrchr(argv[0], '/') : NULL;

	occupy_standard_fds();
	base = base ? base + 1 : argc && argv[0] ? argv[0] : "tcplat";
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(base, names[i]->name)) {
			log_init(names[i]->name, false);
			return names[i]->run(argc, argv);
		}
	log_init("tcplat", false);
	return tcplat(argc, argv);
}
