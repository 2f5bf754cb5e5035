// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <linux/membarrier.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "core/caps.h"
#include "core/cleanup.h"
#include "core/engine_private.h"
#include "core/features.h"
#include "core/log.h"

void engine_free(struct engine *e)
{
	if (!e)
		return;
	for (int i = 0; i < e->n_iterators; i++)
		bpf_link__destroy(e->iterators[i].link);
	for (int i = e->n_links - 1; i >= 0; i--)
		bpf_link__destroy(e->links[i]);
	if (e->timing >= 0)
		close(e->timing);
	engine_clock_close(e);
	ring_buffer__free(e->ring);
	tcplat_bpf__destroy(e->skel);
	free(e);
}

int engine_trace_task(struct engine *e, int pidfd)
{
	/* struct task_state of bpf/state.h is private to the programs; its size
	 * and the place of the mark come from the object's own BTF. */
	char state[128] = {};
	size_t size = bpf_map__value_size(e->skel->maps.tasks);

	if (size > sizeof(state))
		return -E2BIG;
	state[e->skel->rodata->traced_offset] = 1;
	if (bpf_map_update_elem(bpf_map__fd(e->skel->maps.tasks), &pidfd, state, BPF_ANY))
		return -errno;
	return 0;
}

static int keep(struct engine *e, struct bpf_link *link)
{
	if (!link)
		return -errno;
	e->links[e->n_links++] = link;
	return 0;
}

static int attach_call(struct engine *e, struct bpf_program *prog, const char *name)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT,
					.size = sizeof(attr),
					.sample_period = 1,
					.wakeup_events = 1 };
	int id = tracepoint_id("syscalls", name), fd, err;

	if (id < 0)
		return id;
	attr.config = (__u64)id;
	/* Any one CPU: BPF on a tracepoint's event runs on all of them. */
	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = keep(e, bpf_program__attach_perf_event(prog, fd));
	if (err)
		close(fd);
	return err;
}

/* The link of an iterator, made at its first run. */
static int iterator(struct engine *e, struct bpf_program *prog, struct bpf_map *map,
		    struct bpf_link **link)
{
	union bpf_iter_link_info info = {};
	LIBBPF_OPTS(bpf_iter_attach_opts, opts);

	for (int i = 0; i < e->n_iterators; i++)
		if (e->iterators[i].prog == prog) {
			*link = e->iterators[i].link;
			return 0;
		}
	if (map) {
		info.map.map_fd = (__u32)bpf_map__fd(map);
		opts.link_info = &info;
		opts.link_info_len = sizeof(info);
	}
	*link = bpf_program__attach_iter(prog, &opts);
	if (!*link)
		return -errno;
	e->iterators[e->n_iterators].prog = prog;
	e->iterators[e->n_iterators++].link = *link;
	return 0;
}

int engine_iterate(struct engine *e, struct bpf_program *prog, struct bpf_map *map)
{
	struct bpf_link *link;
	char buf[64];
	int fd, err = iterator(e, prog, map, &link);
	ssize_t n;

	if (err)
		return err;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0) {
		err = -errno;
	} else {
		do
			n = read(fd, buf, sizeof(buf));
		while (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
		if (n < 0)
			err = -errno;
		close(fd);
	}
	return err;
}

int engine_attach(struct engine *e)
{
	/* state_change_1 before _2: the programs count on that order. */
	struct bpf_program *progs[] = {
		e->skel->progs.fork_1,
		e->skel->progs.fork_2,
		e->skel->progs.state_change_1,
		e->skel->progs.state_change_2,
		e->skel->progs.switched,
		e->skel->progs.queued,
		e->skel->progs.waking,
		e->skel->progs.data_taken,
		e->skel->progs.probe,
		e->skel->progs.data_ready,
		e->skel->progs.state_change,
		e->skel->progs.timer_begins,
		e->skel->progs.timer_ends,
		e->skel->progs.retransmitted,
		e->skel->progs.state_change_again,
	};
	struct bpf_program *begins = e->skel->progs.call_begins, *ends = e->skel->progs.call_ends;
	int err;

	if (e->skel->rodata->cfg.pickup) {
		err = engine_clock_open(e);
		if (err) {
			log_error("cannot have packets stamped on arrival: %s", strerror(-err));
			return err;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(progs); i++) {
		if (!bpf_program__autoload(progs[i]))
			continue;
		err = keep(e, bpf_program__attach(progs[i]));
		if (err) {
			log_error("cannot attach %s: %s", bpf_program__name(progs[i]),
				  strerror(-err));
			return err;
		}
	}
	if (bpf_program__autoload(begins)) {
		err = attach_call(e, begins, "sys_enter_connect");
		if (!err)
			err = attach_call(e, ends, "sys_exit_connect");
		if (err)
			log_warning("attempts that this host refuses before any SYN are not shown: "
				    "cannot use tracefs: %s",
				    strerror(-err));
	}
	if (bpf_program__autoload(e->skel->progs.baseline)) {
		err = engine_iterate(e, e->skel->progs.baseline, NULL);
		if (err)
			log_warning("attempts begun before tracing may count as lost: %s",
				    strerror(-err));
	}
	if (bpf_program__autoload(e->skel->progs.own)) {
		err = engine_iterate(e, e->skel->progs.own, NULL);
		if (err)
			log_warning("the owners of older connections are not known: %s",
				    strerror(-err));
	}
	e->skel->bss->baseline_done = 1;
	/* Their links, while we may make some. */
	if (bpf_program__autoload(e->skel->progs.forget)) {
		engine_collect(e);
		engine_iterate(e, e->skel->progs.forget, e->skel->maps.sockets);
	}
	return 0;
}

int engine_fd(const struct engine *e)
{
	return ring_buffer__epoll_fd(e->ring);
}

int engine_drain(struct engine *e, engine_row_fn *fn, void *arg)
{
	int n;

	engine_clock_look(e);
	e->row_fn = fn;
	e->row_arg = arg;
	e->batch = 0;
	n = ring_buffer__consume(e->ring);
	return n == -ECANCELED ? e->batch : n;
}

void engine_grace(void)
{
	struct timespec ts = { .tv_nsec = 50 * 1000 * 1000 };

	/* Not available with nohz_full CPUs; programs run for microseconds. */
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		nanosleep(&ts, NULL);
}

void engine_collect(struct engine *e)
{
	int err;

	if (e->stopped || !bpf_program__autoload(e->skel->progs.collect))
		return;
	/* From here on packets take care of us; see rtt_claim() in bpf/rtt.h. */
	__atomic_store_n(&e->skel->bss->collecting, 1, __ATOMIC_SEQ_CST);
	engine_grace();
	e->skel->bss->sockets_seen = 0;
	err = engine_iterate(e, e->skel->progs.collect, e->skel->maps.sockets);
	__atomic_store_n(&e->skel->bss->collecting, 0, __ATOMIC_SEQ_CST);
	if (err)
		log_warning("the last samples of idle connections are not counted: %s",
			    strerror(-err));
}

void engine_stop(struct engine *e)
{
	if (e->stopped)
		return;
	/* The first of two passes over the sockets, see bpf/sweep.h. */
	if (bpf_program__autoload(e->skel->progs.count_open))
		engine_iterate(e, e->skel->progs.count_open, e->skel->maps.sockets);
	__atomic_store_n(&e->skel->bss->stopped, 1, __ATOMIC_SEQ_CST);
	engine_grace();
	engine_collect(e);
	e->stopped = true;
}

void engine_describe(const struct engine *e)
{
	struct bpf_program *p;

	bpf_object__for_each_program(p, e->skel->obj) {
		struct bpf_prog_info info = {};
		__u32 len = sizeof(info);

		if (bpf_program__fd(p) < 0 ||
		    bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &len))
			continue;
		log_info("program %s on %s: %u instructions (%u checked)", bpf_program__name(p),
			 bpf_program__section_name(p), info.xlated_prog_len / 8,
			 info.verified_insns);
	}
}
