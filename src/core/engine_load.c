// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine, from opening the object to its being loaded. */
#include <errno.h>
#include <string.h>

#include "core/caps.h"
#include "core/cleanup.h"
#include "core/engine_private.h"
#include "core/features.h"
#include "core/log.h"

/* libbpf explains failures at length; one line of ours says what to do. */
static int libbpf_says(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[1024];

	if (!log_verbose() || level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), fmt, ap);
	log_info("%.*s", (int)strcspn(line, "\n"), line);
	return 0;
}

static int on_row(void *ctx, void *data, size_t size)
{
	struct engine *e = ctx;

	if (size < sizeof(struct tcplat_event))
		return -EBADMSG; /* not from our programs: consuming stops */
	e->delivered++;
	e->row_fn(e->row_arg, data);
	return 0;
}

static int configure(struct tcplat_bpf *skel, const struct engine_options *o)
{
	const struct tcplat_config *cfg = o->config;
	__u32 keys = cfg->output == TCPLAT_OUT_HIST ? cfg->max_keys : 1;
	__u32 halves = o->intervals ? 2 : 1;
	bool calls = cfg->connect && cfg->calls;
	int err = 0;

	memcpy((void *)&skel->rodata->cfg, cfg, sizeof(*cfg));
	err |= bpf_map__set_max_entries(skel->maps.hist_slots, halves * keys);
	err |= bpf_map__set_max_entries(skel->maps.hist_index, keys);
	err |= bpf_map__set_max_entries(skel->maps.ring, (__u32)o->ring_bytes);

	err |= bpf_program__set_autoload(skel->progs.state_change_1, cfg->connect);
	err |= bpf_program__set_autoload(skel->progs.state_change_2,
					 cfg->connect && !o->single_hook);
	err |= bpf_program__set_autoload(skel->progs.call_begins, calls);
	err |= bpf_program__set_autoload(skel->progs.call_ends, calls);
	err |= bpf_program__set_autoload(skel->progs.fork_1, cfg->filter.descendants);
	err |= bpf_program__set_autoload(skel->progs.fork_2, cfg->filter.descendants);
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
		struct bpf_program *progs[2];
	} optional[] = {
		{ "syscalls:sys_enter_connect",
		  { skel->progs.call_begins, skel->progs.call_ends } },
		{ "bpf_iter_task_file", { skel->progs.baseline } },
		{ "bpf_iter_bpf_sk_storage_map", { skel->progs.count_open } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
		for (size_t j = 0; j < 2 && !find(list, optional[i].feature)->present; j++)
			if (optional[i].progs[j])
				bpf_program__set_autoload(optional[i].progs[j], false);
}

/* Says why loading failed and what helps; err as the exit of the caller. */
static int explain(int err, const struct feature *features)
{
	const char *missing = caps_missing();
	const struct feature *f;

	if (missing) {
		log_error("needs root, or the capabilities CAP_BPF and CAP_PERFMON (missing: %s); "
			  "try sudo",
			  missing);
		return -EPERM;
	}
	if (!features) {
		log_error("this kernel has no BTF (/sys/kernel/btf/vmlinux); it must be built with "
			  "CONFIG_DEBUG_INFO_BTF=y");
		return -ENOENT;
	}
	f = features_missing(features);
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
	const struct feature *list;
	int err;

	if (caps_missing())
		return explain(-EPERM, NULL);
	err = try_load(e, o, NULL);
	if (!err)
		return 0;
	list = features_probe();
	if (!list || features_missing(list))
		return explain(err, list);
	if (o->config->filter.descendants && !find(list, "sched_process_fork")->present) {
		log_error("this kernel lacks the tracepoint sched_process_fork, which tells the "
			  "descendants of a command; -a traces everything instead");
		return -ENOENT;
	}
	err = try_load(e, o, list);
	return err ? explain(err, list) : 0;
}

int engine_load(struct engine **engine, const struct engine_options *o)
{
	_cleanup_(engine_freep) struct engine *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
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
