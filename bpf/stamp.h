/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a packet came, on CLOCK_MONOTONIC, from its own receive time stamp: that
 * was taken as it came in, before it waited for a softirq, for another CPU or
 * in the backlog of a socket that its owner had locked.
 */
#ifndef TCPLAT_BPF_STAMP_H
#define TCPLAT_BPF_STAMP_H

#include "fifo.h"

/* Clocks that are this close have not been set; user space knows their offset better. */
#define SAME_CLOCK_NS (50 * NSEC_PER_USEC)
/* Of two waits that differ by more, nobody means the longer one. */
#define LARGE_STEP_NS (10000 * NSEC_PER_MSEC)

static __always_inline bool between(__u64 ns, __u64 first, __u64 last)
{
	return ns >= first && ns <= last;
}

/*
 * Has somebody set the clock, and user space not told us yet? An interrupt may
 * come between two readings, and take its time on a virtual CPU.
 */
static __always_inline bool clock_unsure(void)
{
	__u64 before = bpf_ktime_get_ns();
	__u64 then = bpf_ktime_get_tai_ns() - real_offset - tai_offset;
	__u64 after_it = bpf_ktime_get_ns();

	return !between(then, before - SAME_CLOCK_NS, after_it + SAME_CLOCK_NS);
}

/*
 * What may be a long wait, or a stamp of before the clock was set, or no receive
 * stamp at all: a packet that was sent over a virtual link may still have its
 * departure time in that place. Returns the time, or one of the reasons.
 */
static __noinline __u64 arrival_doubtful(__u64 stamp, __u64 now)
{
	__u64 when = stamp - real_offset, before = stamp - real_offset_before, step;
	bool was_before, is_after;

	if (stamp < WHEN_REAL)
		return stamp;
	if (clock_unsure())
		return WHEN_UNTRUE;
	/* When it was set is known only as: after we looked, and before we were told. */
	was_before = clock_set_ns && between(before, cfg.start_ns, clock_set_ns);
	is_after = between(when, clock_set_ns ? clock_checked_ns : cfg.start_ns, now);
	if (was_before && is_after) {
		step = when > before ? when - before : before - when;
		if (step < LARGE_STEP_NS)
			return WHEN_UNTRUE;
		return when > before ? when : before;
	}
	if (was_before)
		return before;
	if (is_after)
		return when;
	/* The offset of the clocks is known to some 100 ns. */
	if (when > now && when - now < 10 * NSEC_PER_USEC)
		return now;
	return when < cfg.start_ns ? WHEN_BEFORE_US : WHEN_UNTRUE;
}

/* now: of the read. A short wait needs no second thought, unless the clock has just been set. */
static __always_inline __u64 arrival(__u64 stamp, __u64 now)
{
	__u64 when = stamp - real_offset;

	return now - when < NSEC_PER_MSEC && now - clock_set_ns > LARGE_STEP_NS ?
		       when :
		       arrival_doubtful(stamp, now);
}

#endif /* TCPLAT_BPF_STAMP_H */
