// SPDX-License-Identifier: GPL-2.0-or-later
/* One setter for each kind of option value. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "cli/options.h"
#include "core/cgroup.h"
#include "core/cleanup.h"
#include "core/log.h"

int set_flag(struct query *q, const struct option_def *def, const char *arg)
{
	(void)arg;
	*(bool *)((char *)q + def->value) = true;
	return 0;
}

static int too_many(const struct option_def *def, const char *arg, unsigned max)
{
	char right[48];

	snprintf(right, sizeof(right), "at most %u can be given", max);
	return option_error(def, arg, "is one too many", right);
}

static int add_id(struct tcplat_idset *s, const struct option_def *def, const char *arg, __u64 id)
{
	if (s->n >= TCPLAT_MAX_IDS)
		return too_many(def, arg, TCPLAT_MAX_IDS);
	s->id[s->n++] = (__u32)id;
	return 0;
}

/* kernel/pid.c: the largest pid ever is below pid_max. */
static __u64 pid_max(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/pid_max", "re");
	char line[24] = "";
	__u64 max;

	if (!f || !fgets(line, sizeof(line), f))
		return 4194304;
	line[strcspn(line, "\n")] = 0;
	return parse_u64(line, 1, 1ULL << 31, &max) ? 4194304 : max;
}

static int pid_or_tid(struct query *q, const struct option_def *def, const char *arg, bool thread)
{
	struct tcplat_filter *f = &q->config.filter;
	__u64 max = pid_max() - 1, id;
	char right[64];
	int err = parse_u64(arg, 1, max, &id);

	snprintf(right, sizeof(right), "give a whole number from 1 to %llu", max);
	if (err)
		return option_error(def, arg,
				    err == -ERANGE ? "is out of range" :
				    thread	   ? "is not a thread id" :
						     "is not a process id",
				    right);
	return add_id(thread ? &f->tid : &f->pid, def, arg, id);
}

int set_pid(struct query *q, const struct option_def *def, const char *arg)
{
	return pid_or_tid(q, def, arg, false);
}

int set_tid(struct query *q, const struct option_def *def, const char *arg)
{
	return pid_or_tid(q, def, arg, true);
}

int set_uid(struct query *q, const struct option_def *def, const char *arg)
{
	const struct passwd *pw;
	__u64 id;
	int err = parse_u64(arg, 0, (__u32)~0U - 1, &id);

	if (err == -EINVAL && (pw = getpwnam(arg))) {
		id = pw->pw_uid;
		err = 0;
	}
	if (err)
		return option_error(def, arg, "is no user here",
				    "give a user name or a number from 0 to 4294967294");
	return add_id(&q->config.filter.uid, def, arg, id);
}

int set_comm(struct query *q, const struct option_def *def, const char *arg)
{
	struct tcplat_filter *f = &q->config.filter;
	char right[96];

	if (!*arg)
		return option_error(def, arg, "is empty", "give a name of 1 to 15 bytes");
	if (strlen(arg) >= TCPLAT_COMM_LEN) {
		snprintf(right, sizeof(right), "the kernel keeps 15 bytes of a name: '%.15s'", arg);
		return option_error(def, arg, "is too long", right);
	}
	if (f->n_comms >= TCPLAT_MAX_COMMS)
		return too_many(def, arg, TCPLAT_MAX_COMMS);
	memcpy(f->comm[f->n_comms++], arg, strlen(arg)); /* the rest is zero */
	return 0;
}

static int set_ports(struct portspec *spec, const struct option_def *def, const char *arg)
{
	char bad[24], what[96];
	int err = parse_ports(arg, spec, bad, sizeof(bad));

	if (!err)
		return 0;
	snprintf(what, sizeof(what), "%s '%s'",
		 err == -ERANGE ? "has a port out of range or a reversed range:" :
				  "has something that is not a port:",
		 bad);
	return option_error(def, arg, what, "give ports from 1 to 65535 like 80,443,8000-8100,!22");
}

int set_lport(struct query *q, const struct option_def *def, const char *arg)
{
	return set_ports(&q->lport, def, arg);
}

int set_rport(struct query *q, const struct option_def *def, const char *arg)
{
	return set_ports(&q->rport, def, arg);
}

static int set_net(struct tcplat_netset *s, const struct option_def *def, const char *arg)
{
	struct tcplat_net net;
	int err = parse_net(arg, &net);

	if (err == -ERANGE)
		return option_error(def, arg, "has a prefix out of range",
				    "an IPv4 prefix is 0 to 32, an IPv6 one 0 to 128");
	if (err)
		return option_error(def, arg, "is not an address",
				    "give IPv4 or IPv6, with or without /PREFIX; names are not "
				    "looked up");
	if (s->n >= TCPLAT_MAX_NETS)
		return too_many(def, arg, TCPLAT_MAX_NETS);
	s->net[s->n++] = net;
	return 0;
}

int set_laddr(struct query *q, const struct option_def *def, const char *arg)
{
	return set_net(&q->config.filter.laddr, def, arg);
}

int set_raddr(struct query *q, const struct option_def *def, const char *arg)
{
	return set_net(&q->config.filter.raddr, def, arg);
}

int set_ip(struct query *q, const struct option_def *def, const char *arg)
{
	(void)arg;
	if (q->config.filter.ip && q->config.filter.ip != def->value) {
		log_error("-4 and -6 contradict each other: give one, or neither for both");
		return -EINVAL;
	}
	q->config.filter.ip = (__u8)def->value;
	return 0;
}

int set_netns(struct query *q, const struct option_def *def, const char *arg)
{
	char path[4096];
	struct stat st, own;
	__u64 inode;

	if (!parse_u64(arg, 1, ~0U, &inode))
		return add_id(&q->config.filter.netns, def, arg, inode);
	snprintf(path, sizeof(path), "%s%s", strchr(arg, '/') ? "" : "/run/netns/", arg);
	if (stat(path, &st))
		return option_error(def, arg, "names no network namespace",
				    "give a name of `ip netns`, a path such as /proc/PID/ns/net, "
				    "or an inode number");
	/* Namespaces live on nsfs, as our own does. */
	if (!stat("/proc/self/ns/net", &own) && st.st_dev != own.st_dev)
		return option_error(def, arg, "is not a network namespace", NULL);
	return add_id(&q->config.filter.netns, def, arg, st.st_ino);
}

int set_cgroup(struct query *q, const struct option_def *def, const char *arg)
{
	struct tcplat_filter *f = &q->config.filter;
	struct stat st;
	int fd;

	if (f->n_cgroups >= TCPLAT_MAX_CGROUPS)
		return too_many(def, arg, TCPLAT_MAX_CGROUPS);
	fd = cgroup_open(arg);
	if (fd == -ENOTSUP)
		return option_error(def, arg, "cannot be used", "cgroup v2 is not mounted here");
	if (fd == -ENOTDIR)
		return option_error(def, arg, "is not a cgroup v2 group", NULL);
	if (fd < 0)
		return option_error(def, arg, "cannot be opened",
				    "give a cgroup v2 path, full or below the v2 root");
	/* The inode is the id, on any kernel of 64 bits (kernfs_node.id). */
	f->cgroup_ids[f->n_cgroups] = fstat(fd, &st) ? 0 : st.st_ino;
	q->cgroup_fds[f->n_cgroups++] = fd;
	return 0;
}

static int duration(const struct option_def *def, const char *arg, bool bare, __u64 *ns)
{
	int err = parse_duration(arg, bare, ns);

	if (!err)
		return 0;
	return option_error(def, arg, err == -ERANGE ? "is out of range" : "is not a duration",
			    bare ? "give seconds, or a number with ns, us, ms, s, m or h, above 0" :
				   "give a number with ns, us, ms, s, m or h, above 0, such as "
				   "1.5ms");
}

int set_min(struct query *q, const struct option_def *def, const char *arg)
{
	return duration(def, arg, false, &q->config.filter.min_ns);
}

int set_interval(struct query *q, const struct option_def *def, const char *arg)
{
	return duration(def, arg, true, &q->interval_ns);
}

int set_duration(struct query *q, const struct option_def *def, const char *arg)
{
	return duration(def, arg, true, &q->duration_ns);
}

int set_format(struct query *q, const struct option_def *def, const char *arg)
{
	(void)arg;
	q->format = (enum query_format)def->value;
	return 0;
}

int set_show(struct query *q, const struct option_def *def, const char *arg)
{
	enum query_show show = (enum query_show)def->value;

	(void)arg;
	if (q->shown_by && q->show != show) {
		log_error("--%s and --%s contradict each other: give one way to show it",
			  q->shown_by->long_name, def->long_name);
		return -EINVAL;
	}
	q->shown_by = def;
	q->show = show;
	q->config.output = show == SHOW_ROWS ? TCPLAT_OUT_ROWS : TCPLAT_OUT_HIST;
	return 0;
}

int set_value(struct query *q, const struct option_def *def, const char *arg)
{
	(void)arg;
	if (q->value_by && q->config.rtt_value != def->value) {
		log_error("--%s and --%s contradict each other: one value is shown at a time",
			  q->value_by->long_name, def->long_name);
		return -EINVAL;
	}
	q->value_by = def;
	q->config.rtt_value = (__u8)def->value;
	return 0;
}

int set_by(struct query *q, const struct option_def *def, const char *arg)
{
	bool outcome = q->kind == TCPLAT_KIND_CONNECT;
	char bad[24], what[96];
	int err = parse_keys(arg, &q->by, bad, sizeof(bad));

	if (!err && (outcome || !(q->by.mask & TCPLAT_KEY_OUTCOME)))
		return 0;
	if (err == -ERANGE) {
		snprintf(what, sizeof(what), "has the key '%s' with a prefix that cannot be", bad);
		return option_error(def, arg, what,
				    "give raddr/24 for IPv4, raddr/48 for IPv6, raddr/24/48 for "
				    "both; laddr alike");
	}
	snprintf(what, sizeof(what), "has the unknown key '%s'", err ? bad : "outcome");
	return option_error(def, arg, what,
			    outcome	? "keys are " KEY_NAMES :
			    q->by.named ? "keys are " KEY_NAMES_NAMED :
					  "keys are " KEY_NAMES_COMMON);
}

int set_sort(struct query *q, const struct option_def *def, const char *arg)
{
	static const char *const names[] = { "count", "p99", "max" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(arg, names[i])) {
			q->sort = (enum query_sort)i;
			q->sorted = true;
			return 0;
		}
	return option_error(def, arg, "is nothing to sort by", "give count, p99 or max");
}

int set_top(struct query *q, const struct option_def *def, const char *arg)
{
	__u64 n;

	if (parse_u64(arg, 1, 1000000, &n))
		return option_error(def, arg, "is not a number of keys",
				    "give a whole number from 1 to 1000000");
	q->top = (__u32)n;
	return 0;
}

static int unknown_column(const struct query *q, const struct option_def *def, const char *arg,
			  const char *what)
{
	char names[256] = "columns are";
	size_t at = strlen(names);

	for (const struct column *c = columns; c->header || c->json; c++)
		if (c->name && c->kinds & 1U << q->kind && c->width && at < sizeof(names))
			at += (size_t)snprintf(names + at, sizeof(names) - at, " %s", c->name);
	return option_error(def, arg, what, names);
}

int set_columns(struct query *q, const struct option_def *def, const char *arg)
{
	const char *at = arg;
	char word[24], what[64];

	q->n_cells = 0;
	q->columns = arg;
	while (next_word(&at, word, sizeof(word))) {
		if (q->n_cells == QUERY_MAX_CELLS)
			return too_many(def, word, QUERY_MAX_CELLS);
		if (query_add_column(q, word))
			continue;
		snprintf(what, sizeof(what), "has the unknown column '%s'", word);
		return unknown_column(q, def, arg, what);
	}
	return 0;
}

int set_output(struct query *q, const struct option_def *def, const char *arg)
{
	if (!*arg)
		return option_error(def, arg, "is empty", "give a file's path");
	q->out_path = arg;
	return 0;
}

int set_max_events(struct query *q, const struct option_def *def, const char *arg)
{
	if (parse_u64(arg, 1, ~0ULL, &q->max_events))
		return option_error(def, arg, "is not a number of events",
				    "give a whole number from 1");
	return 0;
}

#define RING_MAX (1ULL << 30)

int set_buffer(struct query *q, const struct option_def *def, const char *arg)
{
	__u64 page = (__u64)sysconf(_SC_PAGESIZE), size;
	int err = parse_size(arg, page, RING_MAX, &size);

	if (!err && size & (size - 1))
		err = -EINVAL;
	if (err)
		return option_error(def, arg, "is not a size of the ring buffer",
				    "give a power of two from one page (4k) to 1g");
	q->ring_bytes = size;
	return 0;
}

#define KEYS_MAX 1000000

int set_max_keys(struct query *q, const struct option_def *def, const char *arg)
{
	__u64 n;

	if (parse_u64(arg, 1, KEYS_MAX, &n))
		return option_error(def, arg, "is not a number of keys",
				    "give a whole number from 1 to 1000000");
	q->config.max_keys = (__u32)n;
	q->max_keys_given = true;
	return 0;
}

int set_user(struct query *q, const struct option_def *def, const char *arg)
{
	/* An agent takes numbers, too, and looks itself. */
	if (q->kind != VIEW_SERVE && !getpwnam(arg))
		return option_error(def, arg, "is no user here", "give a login name");
	q->user = arg;
	return 0;
}

int set_replay(struct query *q, const struct option_def *def, const char *arg)
{
	if (!*arg)
		return option_error(def, arg, "is empty", "give a file, or - for standard input");
	q->replay = arg;
	return 0;
}
