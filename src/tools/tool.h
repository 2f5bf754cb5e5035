/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One entry for each name or view; a tool's file exports nothing else. */
#ifndef TCPLAT_TOOLS_TOOL_H
#define TCPLAT_TOOLS_TOOL_H

struct tool {
	const char *name;
	const char *summary; /* one line, for the list of views */
	/* argv[0] is to be skipped. Returns the exit status. */
	int (*run)(int argc, char **argv);
};

/* Views of tcplat. */
extern const struct tool tool_connect;
extern const struct tool tool_pickup;
extern const struct tool tool_rtt;
extern const struct tool tool_serve;
/* Without a view. */
extern const struct tool tool_live;
/* Drop-in names. */
extern const struct tool tool_tcpconnlat;
extern const struct tool tool_tcppktlat;
extern const struct tool tool_tcprtt;

/* Exit status for a usage error. */
#define EXIT_USAGE 2

#endif /* TCPLAT_TOOLS_TOOL_H */
