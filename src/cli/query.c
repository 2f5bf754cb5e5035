// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/query.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/options.h"
#include "core/cleanup.h"
#include "core/log.h"

/* A row may wait this long in the ring; the budget to the screen is 100 ms. */
#define WAKE_NS (50ULL * 1000 * 1000)

void query_init(struct query *q, enum tcplat_kind kind, const char *title)
{
	memset(q, 0, sizeof(*q));
	q->kind = kind;
	q->title = title;
	q->config.connect = kind == TCPLAT_KIND_CONNECT || kind >= VIEW_ALL;
	q->config.pickup = kind == TCPLAT_KIND_PICKUP || kind >= VIEW_ALL;
	q->config.rtt = kind == TCPLAT_KIND_RTT || kind >= VIEW_ALL;
	q->config.calls = 1;
	q->config.hist_step_ns = TCPLAT_HIST_STEP_US;
	q->config.wake_ns = WAKE_NS;
	q->config.max_keys = QUERY_MAX_KEYS_DEFAULT;
	q->ring_bytes = QUERY_RING_DEFAULT;
	q->adaptive = true;
	if (kind == TCPLAT_KIND_RTT)
		q->show = SHOW_STATS;
	if (kind >= VIEW_ALL) {
		q->show = kind == VIEW_SERVE ? SHOW_METRICS : SHOW_LIVE;
		q->config.calls = 0;
		q->config.max_keys = QUERY_LIVE_KEYS;
		q->config.rest = 1;
	}
	q->serve.max_series = SERVE_LINES_DEFAULT;
	q->by.named = kind == VIEW_SERVE;
	if (q->show != SHOW_ROWS)
		q->config.output = TCPLAT_OUT_HIST;
	prefix_set(&q->by.laddr, 32, 128);
	prefix_set(&q->by.raddr, 32, 128);
}

void query_free(struct query *q)
{
	for (__u32 i = 0; i < q->config.filter.n_cgroups; i++)
		close(q->cgroup_fds[i]);
	q->config.filter.n_cgroups = 0;
}

bool query_add_column(struct query *q, const char *name)
{
	const struct column *c = column_find(name, q->kind);

	if (!c || c->flags & COLUMN_KEY || q->n_cells >= QUERY_MAX_CELLS)
		return false;
	/* Asked for by name, it has to be measured. */
	if (c->flags & COLUMN_SPLIT)
		q->split = true;
	q->cells[q->n_cells++] = (struct cell){
		.column = c, .header = c->header, .width = c->width, .right = c->right
	};
	return true;
}

static int contradiction(const char *a, const char *b, const char *why)
{
	log_error("%s and %s contradict each other: %s", a, b, why);
	return -EINVAL;
}

static bool any_of_family(const struct tcplat_netset *s, __u64 ip)
{
	if (!s->n || !ip)
		return true;
	for (__u32 i = 0; i < s->n; i++)
		if (s->net[i].ip == ip)
			return true;
	return false;
}

static int check_families(const struct tcplat_filter *f)
{
	const char *want = f->ip == 4 ? "-4" : "-6";
	const char *other =
		f->ip == 4 ? "every address given is IPv6" : "every address given is IPv4";

	if (!any_of_family(&f->laddr, f->ip))
		return contradiction(want, "--laddr", other);
	if (!any_of_family(&f->raddr, f->ip))
		return contradiction(want, "--raddr", other);
	for (__u64 ip = 4; ip <= 6; ip += 2)
		if (any_of_family(&f->laddr, ip) && any_of_family(&f->raddr, ip))
			return 0;
	return contradiction("--laddr", "--raddr", "one is IPv4 and the other IPv6");
}

/* Opening the output would empty the recording. */
static bool same_file(const struct query *q)
{
	struct stat in, out;
	int err = strcmp(q->replay, "-") ? stat(q->replay, &in) : fstat(STDIN_FILENO, &in);

	return !err && q->out_path && !stat(q->out_path, &out) && S_ISREG(in.st_mode) &&
	       in.st_dev == out.st_dev && in.st_ino == out.st_ino;
}

static int check_replay(const struct query *q)
{
	const struct tcplat_filter *f = &q->config.filter;

	if (!q->replay)
		return 0;
	if (q->command)
		return contradiction("--replay", "-- COMMAND", "a recording is not a live trace");
	if (f->n_cgroups)
		return contradiction("--replay", "--cgroup",
				     "a recording has paths of groups, not the groups");
	if (f->uid.n)
		return contradiction("--replay", "--uid", "a recording does not say the user");
	if (q->interval_ns)
		return contradiction("--replay", "-i/--interval",
				     "a recording is read at once, not as its time went by");
	if (same_file(q))
		return contradiction("--replay", "-o/--output", "both are the same file");
	return 0;
}

/* They may start later; but a typing error shows nothing for ever. */
static void warn_absent(const struct tcplat_idset *s, const char *what)
{
	for (__u32 i = 0; i < s->n; i++)
		if (kill((pid_t)s->id[i], 0) && errno == ESRCH)
			log_warning("no %s %u is running now", what, s->id[i]);
}

/* Ids are sets, so several values widen: only -p against --tid could clash. */
static int check_command(const struct query *q)
{
	if (q->kind == VIEW_SERVE && q->command) {
		log_error("--: serve runs no command; trace one with another view");
		return -EINVAL;
	}
	if (q->kind == VIEW_SERVE)
		return 0;
	if (q->user && !q->command) {
		log_error("--user: there is no command to run; give one after --");
		return -EINVAL;
	}
	if (q->all && !q->command) {
		log_error("--all: without a command everything is traced already");
		return -EINVAL;
	}
	return 0;
}

/* "--hist", or what shows histograms without an option. */
static const char *shown_by(const struct query *q, char buf[24])
{
	snprintf(buf, 24, "--%s", q->shown_by ? q->shown_by->long_name : "stats");
	return buf;
}

static int not_of_hist(const struct query *q, const char *name, const char *why)
{
	char show[24];

	if (q->shown_by)
		return contradiction(name, shown_by(q, show), why);
	log_error("%s: %s; add --rows", name, why);
	return -EINVAL;
}

/* What makes sense of histograms only, and the other way round. */
static int check_output(const struct query *q)
{
	bool hist = q->config.output == TCPLAT_OUT_HIST;
	const struct {
		const char *name;
		bool given;
		const char *why;
	} of_hist[] = {
		{ "--by", q->by.mask || q->by.none, "only histograms have keys" },
		{ "-i/--interval", q->interval_ns != 0,
		  "only histograms are printed at intervals" },
		{ "--sort", q->sorted, "only histograms are sorted" },
		{ "--top", q->top != 0, "only histograms are counted so" },
	};
	char show[24];

	for (size_t i = 0; i < ARRAY_SIZE(of_hist) && !hist; i++)
		if (of_hist[i].given && q->shown_by)
			return contradiction(of_hist[i].name, shown_by(q, show), of_hist[i].why);
		else if (of_hist[i].given) {
			log_error("%s: %s; add --hist or --stats", of_hist[i].name, of_hist[i].why);
			return -EINVAL;
		}
	if (q->by.none && q->by.mask)
		return contradiction("--by none", "other keys", "none is one for all");
	if (q->max_events && hist)
		return not_of_hist(q, "--max-events", "histograms have no rows to count");
	if (q->columns && hist)
		return not_of_hist(q, "--columns", "histograms have no columns");
	if (q->value_by && !hist) {
		log_error("--%s and --rows contradict each other: a row has the sample, srtt and "
			  "minimum",
			  q->value_by->long_name);
		return -EINVAL;
	}
	if (q->columns && q->format == FORMAT_JSON)
		return contradiction("--columns", "--json", "JSON rows always have every member");
	return 0;
}

static int check_serve(const struct query *q)
{
	if (!q->serve.fine || q->serve.max_series >= SERVE_LINES_FINE)
		return 0;
	log_error("--max-series: %u is too few with --edges fine; give at least %u",
		  q->serve.max_series, SERVE_LINES_FINE);
	return -EINVAL;
}

static int check_heatmap(const struct query *q)
{
	if (q->show != SHOW_HEATMAP)
		return 0;
	if (q->format == FORMAT_JSON)
		return contradiction("--heatmap", "--json",
				     "it is a picture; --hist -i 1s --json has its numbers");
	if (q->by.mask)
		return contradiction("--heatmap", "--by", "the picture is of all keys together");
	if (q->replay)
		return contradiction("--heatmap", "--replay", "its columns are live intervals");
	if (q->split)
		return contradiction("--heatmap", "--split", "the picture is of the whole latency");
	if (q->sorted || q->top)
		return contradiction("--heatmap", q->sorted ? "--sort" : "--top",
				     "its columns are in the order of time");
	return 0;
}

static void settle_keys(struct query *q)
{
	struct tcplat_config *c = &q->config;

	if (q->show == SHOW_LIVE)
		q->by.mask = TCPLAT_KEY_RADDR | TCPLAT_KEY_COMM | TCPLAT_KEY_OUTCOME;
	else if (q->show == SHOW_STATS && q->kind == TCPLAT_KIND_RTT && !q->by.none && !q->by.mask)
		q->by.mask = TCPLAT_KEY_RADDR;
	c->by = q->by.mask | (q->show == SHOW_METRICS ? TCPLAT_KEY_OUTCOME : 0);
	c->laddr = q->by.laddr;
	c->raddr = q->by.raddr;
	if (c->output != TCPLAT_OUT_HIST)
		return;
	if (!c->by)
		c->max_keys = 1;
	if (q->split) {
		c->by |= TCPLAT_KEY_PART;
		/* The default is a bound on memory; a number given is one of keys. */
		if (q->max_keys_given || c->max_keys == 1)
			c->max_keys *= TCPLAT_NR_PARTS;
	}
}

/* Is anything asked about whose socket it is? */
static bool owners_needed(const struct query *q)
{
	const struct tcplat_filter *f = &q->config.filter;

	return q->config.rtt &&
	       (q->config.output == TCPLAT_OUT_ROWS ||
		q->config.by & (TCPLAT_KEY_PID | TCPLAT_KEY_COMM | TCPLAT_KEY_CGROUP) || f->pid.n ||
		f->tid.n || f->uid.n || f->n_comms || f->n_cgroups || f->descendants);
}

int query_finish(struct query *q)
{
	struct tcplat_filter *f = &q->config.filter;
	int err;

	if (portspec_finish(&q->lport, &f->lport)) {
		log_error("--lport: no port is left of what was given");
		return -EINVAL;
	}
	if (portspec_finish(&q->rport, &f->rport)) {
		log_error("--rport: no port is left of what was given");
		return -EINVAL;
	}
	err = check_families(f);
	if (!err)
		err = check_replay(q);
	if (!err)
		err = check_command(q);
	if (!err)
		err = check_output(q);
	if (!err)
		err = check_heatmap(q);
	if (!err)
		err = check_serve(q);
	if (err)
		return err;
	if (!q->replay) {
		warn_absent(&f->pid, "process");
		warn_absent(&f->tid, "thread");
	}
	f->descendants = q->command && !q->all;
	q->config.wake_bytes = q->ring_bytes / 4;
	q->config.split = q->split;
	if (!q->interval_ns && (q->show == SHOW_LIVE || q->show == SHOW_HEATMAP))
		q->interval_ns = 1000000000;
	settle_keys(q);
	q->config.owners = owners_needed(q);
	return 0;
}
