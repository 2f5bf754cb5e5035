/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options as tables: what a tool accepts, its help and its parsing come from
 * the same entries. Unified views and drop-in names share the setters.
 */
#ifndef TCPLAT_CLI_OPTIONS_H
#define TCPLAT_CLI_OPTIONS_H

#include <stdio.h>

#include "cli/query.h"

struct option_def;

/*
 * Takes one option's value into the query. Reports what is wrong with
 * option_error() and returns -EINVAL then; 0 otherwise.
 */
typedef int option_set(struct query *q, const struct option_def *def, const char *arg);

struct option_def {
	char short_name;       /* 0: none */
	const char *long_name; /* NULL: none */
	const char *arg;       /* how help names the value; NULL: takes none */
	const char *help;      /* NULL: accepted, not shown */
	const char *group;     /* heading in help; NULL: as the entry before */
	option_set *set;
	__s64 value; /* for setters shared by several options */
	__u32 kinds; /* bit (1 << kind) for each kind of view that has it; 0: all */
};

/* Tables end with an entry that has no setter. */
struct option_table {
	const struct option_def *defs;
	option_set *positional; /* takes a bare argument, at most once; or NULL */
};

/*
 * argv[0] is skipped; all after a "--" becomes q->command. Returns 0 or
 * -EINVAL, reported with one line.
 */
int options_parse(struct query *q, const struct option_table *table, int argc, char **argv);

/* "  -p, --pid PID   only …" for each entry that the kind has, with a help text. */
void options_help(FILE *f, const struct option_table *table, enum tcplat_kind kind);

/* Setters; each names its unit in the tables' help. */
option_set set_pid, set_tid, set_uid, set_comm, set_lport, set_rport, set_laddr, set_raddr;
option_set set_ip, set_netns, set_cgroup, set_min, set_format, set_show, set_by, set_interval;
option_set set_duration, set_columns, set_output, set_max_events, set_buffer, set_max_keys;
option_set set_user, set_replay, set_value, set_sort, set_top;
option_set set_listen, set_edges, set_max_series;

/* Sets the bool member of struct query at offset def->value. */
option_set set_flag;
#define FLAG(member) .set = set_flag, .value = offsetof(struct query, member)

/* "-p/--pid: 'abc' <what>; <right>". right NULL: left out. Always -EINVAL. */
int option_error(const struct option_def *def, const char *arg, const char *what,
		 const char *right);

/* The options that every unified view has. */
extern const struct option_def view_options[];

#endif /* TCPLAT_CLI_OPTIONS_H */
