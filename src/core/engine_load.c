// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine, from opening the object to its being loaded. */
#include <errno.h>
#include <string.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/caps.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/engine_private.h"
#include "core/features.h"
#include "core/log.h"

/* Of what the verifier says, its verdict is at the end. */
#define LAST_LINES 8

/* libbpf explains failures at length; one line of ours says what to do. */
static int libbpf_says(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	_cleanup_free_ char *text = NULL;
	const char *line;
	int lines = 0;

	if (!log_verbose() || level == LIBBPF_DEBUG || vasprintf(&text, fmt, ap) < 0)
		return 0;
	for (line = text; *line; line++)
		lines += *line == '\n';
	for (line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
		if (line == text || lines-- <= LAST_LINES)
			log_info("%.*s", (int)strcspn(line, "\n"), line);
	return 0;
}

static int on_row(void *ctx, void *data, size_t size)
{
	static const size_t most[] = {
		[TCPLAT_KIND_CONNECT] = sizeof(struct tcplat_connect_event),
		[TCPLAT_KIND_PICKUP] = sizeof(struct tcplat_pickup_event),
		[TCPLAT_KIND_RTT] = sizeof(struct tcplat_rtt_event),
	};
	const struct tcplat_event *ev = data;
	struct engine *e = ctx;

	/* Not from our programs: consuming stops. */
	if (size < sizeof(*ev) || ev->kind >= ARRAY_SIZE(most) || size > most[ev->kind])
		return -EBADMSG;
	e->delivered++;
	e->row_fn(e->row_arg, ev, size);
	/* libbpf goes on for as long as rows come; there is more to look after. */
	return ++e->batch < ENGINE_BATCH ? 0 : -ECANCELED;
}

/* Cells of its own for each CPU where keys are busy, within some 4 MiB a half. */
static void spread(struct tcplat_config *cfg)
{
	int cpus = libbpf_num_possible_cpus();

	cfg->hist_cpus = cpus > 1 && cpus <= 256 ? (__u32)cpus : 0;
	if (cfg->hist_cpus)
		cfg->hist_hot = cpus < 32 ? 64 : 2048 / (__u32)cpus;
	if (cfg->hist_hot > cfg->max_keys)
		cfg->hist_hot = cfg->max_keys;
}

/* Only guessed by: where it is wrong, loading fails and is tried otherwise. */
static bool kernel_since(unsigned major, unsigned minor)
{
	struct utsname u;
	unsigned a, b;

	return !uname(&u) && sscanf(u.release, "%u.%u", &a, &b) == 2 &&
	       (a > major || (a == major && b >= minor));
}

static int configure(struct tcplat_bpf *skel, const struct engine_options *o)
{
	const struct tcplat_config *cfg = o->config;
	__u32 halves = o->intervals ? 2 : 1;
	const struct {
		struct bpf_program *prog;
		bool wanted;
	} programs[] = {
		{ skel->progs.state_change_1, cfg->connect },
		{ skel->progs.state_change_2, cfg->connect && !o->single_hook },
		{ skel->progs.call_begins, cfg->connect && cfg->calls },
		{ skel->progs.call_ends, cfg->connect && cfg->calls },
		{ skel->progs.baseline, cfg->connect },
		{ skel->progs.state_change, (cfg->pickup || cfg->rtt) && !cfg->connect },
		{ skel->progs.state_change_again, cfg->rtt && !cfg->connect },
		{ skel->progs.probe, cfg->pickup || cfg->rtt },
		{ skel->progs.retransmitted, cfg->rtt },
		{ skel->progs.collect, cfg->rtt },
		{ skel->progs.own, cfg->owners || cfg->few_ports },
		{ skel->progs.forget, o->retire },
		{ skel->progs.data_ready, cfg->pickup },
		{ skel->progs.data_taken, cfg->pickup || cfg->owners },
		{ skel->progs.waking, cfg->split },
		{ skel->progs.timer_begins, cfg->split },
		{ skel->progs.timer_ends, cfg->split },
		{ skel->progs.queued, cfg->split },
		{ skel->progs.switched, cfg->split },
		{ skel->progs.fork_1, cfg->filter.descendants },
		{ skel->progs.fork_2, cfg->filter.descendants },
	};
	struct tcplat_config *set = (struct tcplat_config *)&skel->rodata->cfg;
	int err = 0;

	*set = *cfg;
	set->start_ns = clock_ns(CLOCK_MONOTONIC);
	set->data_ready = 1;
	set->retrans_err = kernel_since(6, 17);
	if (cfg->output == TCPLAT_OUT_HIST)
		spread(set);
	else
		set->max_keys = 1;
	err |= bpf_map__set_max_entries(skel->maps.hist_slots, halves * tcplat_hist_half(set));
	err |= bpf_map__set_max_entries(skel->maps.hist_index, set->max_keys);
	if (o->retire && set->max_keys > bpf_map__max_entries(skel->maps.hist_spare))
		err |= bpf_map__set_max_entries(skel->maps.hist_spare, set->max_keys);
	/* Both mappings of it would be memory of ours from the start. */
	err |= bpf_map__set_max_entries(skel->maps.ring, cfg->output == TCPLAT_OUT_HIST ?
								 (__u32)sysconf(_SC_PAGESIZE) :
								 (__u32)o->ring_bytes);

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		err |= bpf_program__set_autoload(programs[i].prog, programs[i].wanted);
	return err ? -EINVAL : 0;
}

static const struct feature *find(const struct feature *list, const char *name)
{
	while (list->name && strcmp(list->name, name) != 0)
		list++;
	return list;
}

/* Leaves out what this kernel has no hook for. */
static void do_without(struct tcplat_bpf *skel, const struct feature *list)
{
	const struct {
		const char *feature;
		struct bpf_program *progs[3];
	} optional[] = {
		{ "syscalls:sys_enter_connect",
		  { skel->progs.call_begins, skel->progs.call_ends } },
		{ "bpf_iter_task_file", { skel->progs.baseline, skel->progs.own } },
		{ "bpf_iter_bpf_sk_storage_map",
		  { skel->progs.count_open, skel->progs.collect, skel->progs.forget } },
		{ "sk_data_ready", { skel->progs.data_ready } },
	};
	struct tcplat_config *set = (struct tcplat_config *)&skel->rodata->cfg;

	for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
		for (size_t j = 0; j < 3 && !find(list, optional[i].feature)->present; j++)
			if (optional[i].progs[j])
				bpf_program__set_autoload(optional[i].progs[j], false);
	set->data_ready = find(list, "sk_data_ready")->present;
	set->retrans_err = false;
}

/* Programs, maps, links, and what a process has anyway: some 50 at most. */
#define MOST_FILES 64

/* Says why loading failed and what helps; err as the exit of the caller. */
static int explain(int err, const struct feature *features, __u32 kinds)
{
	const char *missing = caps_missing();
	const struct feature *f;
	struct rlimit files;

	if (missing) {
		log_error("needs root, or the capabilities CAP_BPF and CAP_PERFMON (missing: %s); "
			  "try sudo",
			  missing);
		return -EPERM;
	}
	/* libbpf may say anything then, or find no BTF. */
	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < MOST_FILES) {
		log_error("loading the BPF programs failed: Too many open files; at most %llu may "
			  "be open (ulimit -n), %d will do",
			  (unsigned long long)files.rlim_cur, MOST_FILES);
		return -EMFILE;
	}
	if (!features) {
		log_error("this kernel has no BTF (/sys/kernel/btf/vmlinux); it must be built with "
			  "CONFIG_DEBUG_INFO_BTF=y");
		return -ENOENT;
	}
	f = features_missing(features, kinds);
	if (f) {
		log_error("this kernel lacks the tracepoint %s (in Linux since %s); see --features",
			  f->name, f->since);
		return -ENOENT;
	}
	if (err == -EPERM || err == -EACCES)
		log_error(
			"the kernel refused to load the BPF programs: %s (kernel lockdown, a user "
			"namespace, or a security module); -v shows more",
			strerror(-err));
	else if (err == -ENOMEM || err == -E2BIG)
		log_error("no memory for the BPF maps: %s; a smaller --buffer or --max-keys helps",
			  strerror(-err));
	else
		log_error("loading the BPF programs failed: %s; -v shows what the kernel says",
			  strerror(-err));
	return err;
}

static int try_load(struct engine *e, const struct engine_options *o, const struct feature *list)
{
	struct tcplat_bpf *skel = tcplat_bpf__open();
	int err;

	if (!skel)
		return errno ? -errno : -ENOMEM;
	err = configure(skel, o);
	if (!err && list)
		do_without(skel, list);
	if (!err)
		err = tcplat_bpf__load(skel);
	if (err)
		tcplat_bpf__destroy(skel);
	else
		e->skel = skel;
	return err;
}

/* Most kernels have everything; BTF is searched only when loading fails. */
static int load(struct engine *e, const struct engine_options *o)
{
	__u32 kinds = (__u32)o->config->connect << TCPLAT_KIND_CONNECT |
		      (__u32)o->config->pickup << TCPLAT_KIND_PICKUP |
		      (__u32)o->config->rtt << TCPLAT_KIND_RTT;
	const struct feature *list;
	int err;

	if (caps_missing())
		return explain(-EPERM, NULL, kinds);
	err = try_load(e, o, NULL);
	if (!err)
		return 0;
	list = features_probe();
	if (!list || features_missing(list, kinds))
		return explain(err, list, kinds);
	if (o->config->filter.descendants && !find(list, "sched_process_fork")->present) {
		log_error("this kernel lacks the tracepoint sched_process_fork, which tells the "
			  "descendants of a command; -a traces everything instead");
		return -ENOENT;
	}
	if (o->config->split && !find(list, "sk_data_ready")->present)
		log_warning("--split: without the tracepoint sk_data_ready (in Linux since 6.3), "
			    "what arrives after our own FIN is all APP");
	err = try_load(e, o, list);
	return err ? explain(err, list, kinds) : 0;
}

int engine_load(struct engine **engine, const struct engine_options *o)
{
	_cleanup_(engine_freep) struct engine *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	e->clock = e->stamping = e->timing = -1;
	libbpf_set_print(libbpf_says);
	err = load(e, o);
	if (!e->skel)
		return err;
	for (__u32 i = 0; i < o->config->filter.n_cgroups; i++)
		if (bpf_map_update_elem(bpf_map__fd(e->skel->maps.cgroups), &i, &o->cgroup_fds[i],
					BPF_ANY)) {
			err = -errno;
			log_error("--cgroup: the kernel does not take the group: %s",
				  strerror(-err));
			return err;
		}
	e->ring = ring_buffer__new(bpf_map__fd(e->skel->maps.ring), on_row, e, NULL);
	if (!e->ring) {
		err = -errno;
		log_error("cannot map the ring buffer: %s", strerror(-err));
		return err;
	}
	*engine = e;
	e = NULL;
	return 0;
}
