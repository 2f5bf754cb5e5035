// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine's books: what was shown, lost, and is still open. */
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

/*
 * Attempts lost because both copies of the hook were skipped. Three signs of
 * it: an end without a start (beyond those that had no memory for state), a
 * start on a socket whose last attempt never ended, and attempts that are
 * neither ended nor open. The last also holds sockets that closed after we
 * stopped; it can be no more than what both copies missed.
 */
static __u64 reentered(const struct engine *e, __u64 *vanished)
{
	const __u64 *c = e->skel->bss->counters;
	__u64 begun = c[TCPLAT_CNT_STARTED];
	__u64 known = c[TCPLAT_CNT_ENDED] + c[TCPLAT_CNT_PENDING] + c[TCPLAT_CNT_OVERWRITTEN];
	__u64 orphans = c[TCPLAT_CNT_ORPHANED], missed, second, unknown;

	missed = misses(e->skel->progs.state_change_1);
	if (bpf_program__autoload(e->skel->progs.state_change_2)) {
		second = misses(e->skel->progs.state_change_2);
		if (second < missed)
			missed = second;
	}
	orphans -= orphans < c[TCPLAT_CNT_STATELESS] ? orphans : c[TCPLAT_CNT_STATELESS];
	unknown = begun > known ? begun - known : 0;
	*vanished = unknown > missed ? unknown - missed : 0;
	return orphans + c[TCPLAT_CNT_OVERWRITTEN] + (unknown - *vanished);
}

int engine_summary(struct engine *e, struct summary *sum)
{
	const __u64 *c = e->skel->bss->counters;
	__u64 vanished = 0;
	int err = 0;

	memset(sum, 0, sizeof(*sum));
	if (bpf_program__autoload(e->skel->progs.count_open))
		err = engine_run_iterator(e->skel->progs.count_open, e->skel->maps.sockets);
	sum->events = e->delivered;
	sum->unseen_start = c[TCPLAT_CNT_UNSEEN_START];
	for (int i = 0; i < TCPLAT_NR_LOST; i++)
		sum->lost[i] = c[i];
	sum->lost[TCPLAT_LOST_REENTERED] += reentered(e, &vanished);
	sum->still_open = c[TCPLAT_CNT_STILL_OPEN] + vanished;
	return err;
}
