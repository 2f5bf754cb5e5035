// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine's books: what was shown, lost, and is still open. */
#include <errno.h>
#include <string.h>

#include "core/engine_private.h"

static __u64 misses(const struct bpf_program *prog)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	if (bpf_program__fd(prog) < 0 || bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len))
		return 0;
	return info.recursion_misses;
}

/* Events that both copies of a hook missed: at most the smaller number. */
static __u64 missed_twice(const struct bpf_program *first, const struct bpf_program *second)
{
	__u64 a = misses(first), b = misses(second);

	return !bpf_program__autoload(second) || a < b ? a : b;
}

/*
 * Handshakes that both copies missed, packets of which two may then have left one
 * sample, and retransmissions: of any socket, for nobody knows which. Too high
 * where filters are set, never too low.
 */
static __u64 rtt_missed(const struct tcplat_bpf *skel)
{
	__u64 handshakes = missed_twice(skel->progs.state_change, skel->progs.state_change_again);

	return (skel->rodata->cfg.connect ? 0 : handshakes) + misses(skel->progs.probe) +
	       misses(skel->progs.retransmitted);
}

/*
 * Attempts lost because both copies of the hook were skipped, beyond those that
 * the programs have found themselves (sockets established without an end).
 * Three signs of it: an end without a start (beyond those that had no memory for state), a
 * start on a socket whose last attempt never ended, and attempts that are
 * neither ended nor open (attempts_gone()).
 *
 * Children that no copy marked, and connect() calls that were not watched, may
 * have hidden an attempt each; they hardly ever happen, and count as if so.
 */
static __u64 reentered(const struct engine *e)
{
	const struct tcplat_bpf *skel = e->skel;
	const __u64 *c = skel->bss->counters;
	__u64 orphans = c[TCPLAT_CNT_ORPHANED];

	orphans -= orphans < c[TCPLAT_CNT_STATELESS] ? orphans : c[TCPLAT_CNT_STATELESS];
	return orphans + c[TCPLAT_CNT_OVERWRITTEN] +
	       missed_twice(skel->progs.fork_1, skel->progs.fork_2) +
	       (skel->rodata->cfg.rtt ? rtt_missed(skel) : 0) + misses(skel->progs.call_begins) +
	       misses(skel->progs.call_ends);
}

/*
 * At the end: attempts that are neither ended nor open. Some belong to sockets that closed
 * after we stopped (*vanished); the others can be no more than what both copies missed.
 */
static __u64 attempts_gone(const struct engine *e, __u64 *vanished)
{
	const __u64 *c = e->skel->bss->counters;
	__u64 begun = c[TCPLAT_CNT_STARTED], unknown, missed;
	__u64 known = c[TCPLAT_CNT_ENDED] + c[TCPLAT_CNT_PENDING] + c[TCPLAT_CNT_OVERWRITTEN];

	missed = missed_twice(e->skel->progs.state_change_1, e->skel->progs.state_change_2);
	unknown = begun > known ? begun - known : 0;
	*vanished = unknown > missed ? unknown - missed : 0;
	return unknown - *vanished;
}

static void sum_up(const struct engine *e, struct summary *sum)
{
	const __u64 *c = e->skel->bss->counters;

	memset(sum, 0, sizeof(*sum));
	sum->events = e->delivered;
	sum->unseen_start = c[TCPLAT_CNT_UNSEEN_START];
	for (int i = 0; i < TCPLAT_NR_LOST; i++)
		sum->lost[i] = c[i];
	sum->lost[TCPLAT_LOST_REENTERED] += reentered(e);
}

int engine_summary(struct engine *e, struct summary *sum)
{
	__u64 vanished = 0;
	int err = 0;

	if (bpf_program__autoload(e->skel->progs.count_open))
		err = engine_iterate(e, e->skel->progs.count_open, e->skel->maps.sockets);
	sum_up(e, sum);
	sum->lost[TCPLAT_LOST_REENTERED] += attempts_gone(e, &vanished);
	sum->still_open = e->skel->bss->counters[TCPLAT_CNT_STILL_OPEN] + vanished;
	return err;
}

/* What the kernel allocates for a value beside it, in powers of two and half-way between. */
#define SOCKET_STATE_BYTES 192 /* see bpf/state.h */

void engine_usage(struct engine *e, struct engine_usage *u)
{
	memset(u, 0, sizeof(*u));
	u->keys = e->keys;
	u->max_keys = e->skel->rodata->cfg.max_keys;
	u->sockets = e->skel->bss->sockets_seen;
	u->histogram_bytes = (__u64)bpf_map__max_entries(e->skel->maps.hist_slots) *
			     sizeof(struct tcplat_hist_slot);
	u->socket_bytes = u->sockets * SOCKET_STATE_BYTES;
	sum_up(e, &u->counters);
}

int engine_time_programs(struct engine *e)
{
	e->timing = bpf_enable_stats(BPF_STATS_RUN_TIME);
	return e->timing < 0 ? -errno : 0;
}

void engine_programs(const struct engine *e, engine_program_fn *fn, void *arg)
{
	struct bpf_program *p;

	bpf_object__for_each_program(p, e->skel->obj) {
		struct bpf_prog_info info = {};
		__u32 len = sizeof(info);

		if (bpf_program__fd(p) >= 0 &&
		    !bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &len))
			fn(arg, bpf_program__name(p), info.run_cnt, info.run_time_ns);
	}
}
