/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the user asked for: the one form that the unified views and the
 * drop-in names are parsed into, and that a session carries out.
 */
#ifndef TCPLAT_CLI_QUERY_H
#define TCPLAT_CLI_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/listen.h"
#include "cli/parse.h"
#include "sink/sink.h"
#include "tcplat/config.h"

#define QUERY_MAX_CELLS TABLE_MAX_CELLS
#define QUERY_MAX_KEYS_DEFAULT 10000
#define QUERY_LIVE_KEYS 4000 /* of the summary of all */
#define QUERY_RING_DEFAULT (4U << 20)

enum query_format {
	FORMAT_TABLE,
	FORMAT_JSON,
};

/* What becomes of what was measured, where it is no JSON. */
enum query_show {
	SHOW_ROWS,
	SHOW_HIST,    /* a block of bars for each key */
	SHOW_STATS,   /* a line for each key */
	SHOW_HEATMAP, /* time across, latency down */
	SHOW_LOG2,    /* the original tool's bars */
	SHOW_LIVE,    /* all measurements of the host, each second */
	SHOW_METRICS, /* whoever asks gets them, over HTTP */
};

enum query_sort {
	SORT_COUNT,
	SORT_P99,
	SORT_MAX,
};

struct option_def;

/* Views of more than one kind. */
#define VIEW_ALL TCPLAT_NR_KINDS
#define VIEW_SERVE (TCPLAT_NR_KINDS + 1)

#define SERVE_MAX_LISTEN 8
#define SERVE_LINES_DEFAULT 20000
#define SERVE_LINES_LEAST 1000
#define SERVE_LINES_FINE 5000 /* at least, with --edges fine: all others of each outcome */
#define SERVE_LINES_MOST 1000000

/* What only `tcplat serve` is asked for. */
struct serve_options {
	struct listen_address listen[SERVE_MAX_LISTEN];
	unsigned n_listen; /* 0: the default addresses */
	__u32 max_series;  /* lines of a page */
	bool fine;	   /* an edge for each bucket, else one an octave */
	bool all_ports;
	bool bpf_stats;
};

struct query {
	enum tcplat_kind kind; /* or VIEW_ALL, VIEW_SERVE */
	const char *title;     /* of histograms, borrowed */

	struct tcplat_config config; /* filters, keys, what to measure */
	struct portspec lport, rport;
	int cgroup_fds[TCPLAT_MAX_CGROUPS]; /* owned */

	enum query_format format;
	enum query_show show;
	const struct option_def *shown_by; /* the option that said so, NULL: none did */
	enum query_sort sort;		   /* of a line or block for each key */
	__u32 top;			   /* how many of them; 0: all */
	bool sorted;			   /* --sort was given */
	struct keyspec by;
	const struct option_def *value_by;  /* the option that chose config.rtt_value */
	struct log2_layout log2;	    /* for SHOW_LOG2 */
	struct cell cells[QUERY_MAX_CELLS]; /* of the table */
	unsigned n_cells;
	const char *columns; /* --columns as given, borrowed */
	bool adaptive;
	bool timestamp;
	bool wide;
	bool failed; /* --failed */
	bool split;  /* --split */
	bool max_keys_given;
	const char *out_path;
	__u64 interval_ns; /* 0: only at the end */
	__u64 duration_ns; /* 0: without end */
	__u64 max_events;  /* 0: without end */

	const char *replay;
	char **command; /* argv, NULL: none */
	const char *user;
	bool all;

	struct serve_options serve;

	size_t ring_bytes;
	bool single_hook;
	bool verbose;

	/* Questions answered without tracing. */
	bool help, usage, version, features;
};

/* Sets defaults; title and kind are the view's. */
void query_init(struct query *q, enum tcplat_kind kind, const char *title);
void query_free(struct query *q);

/*
 * Completes what several options decide together and checks that they do not
 * contradict each other. Returns 0, or -EINVAL, reported.
 */
int query_finish(struct query *q);

/* Appends one table column by name; false if the kind has none of that name. */
bool query_add_column(struct query *q, const char *name);

#endif /* TCPLAT_CLI_QUERY_H */
