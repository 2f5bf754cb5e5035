/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the agent says of itself: its books, its size, its cost. */
#ifndef TCPLAT_SERVE_SELF_H
#define TCPLAT_SERVE_SELF_H

#include <stdio.h>

#include "core/engine.h"

#define SELF_MAX_PROGRAMS 24

struct self_program {
	char name[32];
	__u64 runs, ns;
};

struct self {
	struct engine_usage usage;
	__u64 events[TCPLAT_NR_KINDS]; /* by kind */
	__u64 refused;		       /* values without a key of their own */
	__u64 folded;		       /* series */
	__u64 unaccounted;	       /* values that we had no memory for */
	size_t series, lines, max_lines;
	__u64 read_ns; /* how long the last reading of the maps took */
	__u64 scrapes;
	unsigned connections;
	__u64 cut, requests; /* connections and requests over HTTP */
	bool timed;
	__u64 cpu_ns, resident_bytes, started_unix_ns; /* of this process */
	unsigned n_programs;			       /* 0: they are not timed */
	struct self_program programs[SELF_MAX_PROGRAMS];
};

enum metric_type {
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_HISTOGRAM,
	METRIC_INFO,
};

/* A family of metrics, as its header says it. */
struct metric {
	const char *name; /* of the family: without _total or _info */
	enum metric_type type;
	const char *unit; /* as the name ends; NULL: none */
	const char *help;
};

/* HELP, TYPE and, where there is one, UNIT; OpenMetrics names counters without _total. */
void metric_head(FILE *f, const struct metric *m, bool openmetrics);

/* Fills in what this process is and has taken, up to now. */
void self_look(struct self *s);

/* The lines about ourselves. */
void self_print(FILE *f, const struct self *s, bool openmetrics);

/* How many lines that takes, at most. */
#define SELF_LINES (SELF_MAX_PROGRAMS * 2 + 110)

#endif /* TCPLAT_SERVE_SELF_H */
