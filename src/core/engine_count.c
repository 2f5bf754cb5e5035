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
 * neither ended nor open. The last also holds sockets that closed after we
 * stopped (*vanished); it can be no more than what both copies missed.
 *
 * Children that no copy marked, and connect() calls that were not watched, may
 * have hidden an attempt each; they hardly ever happen, and count as if so.
 */
static __u64 reentered(const struct engine *e, __u64 *vanished)
{
	const struct tcplat_bpf *skel = e->skel;
	const __u64 *c = skel->bss->counters;
	__u64 begun = c[TCPLAT_CNT_STARTED];
	__u64 known = c[TCPLAT_CNT_ENDED] + c[TCPLAT_CNT_PENDING] + c[TCPLAT_CNT_OVERWRITTEN];
	__u64 orphans = c[TCPLAT_CNT_ORPHANED], unknown, missed;

	missed = missed_twice(skel->progs.state_change_1, skel->progs.state_change_2);
	orphans -= orphans < c[TCPLAT_CNT_STATELESS] ? orphans : c[TCPLAT_CNT_STATELESS];
	unknown = begun > known ? begun - known : 0;
	*vanished = unknown > missed ? unknown - missed : 0;
	return orphans + c[TCPLAT_CNT_OVERWRITTEN] + (unknown - *vanished) +
	       missed_twice(skel->progs.fork_1, skel->progs.fork_2) +
	       (skel->rodata->cfg.rtt ? rtt_missed(skel) : 0) + misses(skel->progs.call_begins) +
	       misses(skel->progs.call_ends);
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
