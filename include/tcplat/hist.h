/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log-linear latency histogram: layout and bucket arithmetic, shared by the
 * kernel programs and user space, so that both agree by construction.
 *
 * The grid is an eighth of the base unit (1 us, or 1 ms for millisecond
 * views). Bucket 0 holds [0, 1) unit; then 30 octaves of eight buckets each
 * cover [1, 2^30) units; the last bucket holds everything above. All ranges
 * are half-open [lo, hi), so octave edges fall on powers of two units and no
 * bucket is wider than 12.5 % of its lower edge.
 */
#ifndef TCPLAT_HIST_H
#define TCPLAT_HIST_H

#include <linux/types.h>

#define TCPLAT_HIST_SUB 8 /* buckets an octave */
#define TCPLAT_HIST_SUB_BITS 3
#define TCPLAT_HIST_OCTAVES 30
#define TCPLAT_HIST_BUCKETS (1 + TCPLAT_HIST_OCTAVES * TCPLAT_HIST_SUB + 1)

/* Nanoseconds in one grid step (an eighth of the unit). */
#define TCPLAT_HIST_STEP_US 125ULL
#define TCPLAT_HIST_STEP_MS 125000ULL

#ifndef TCPLAT_INLINE
#define TCPLAT_INLINE static inline __attribute__((always_inline, unused))
#endif

/* floor(log2(v)) of a non-zero v; written out because BPF has no clz. */
TCPLAT_INLINE __u32 tcplat_log2(__u64 v)
{
	__u32 r = 0;

	if (v >> 32) {
		v >>= 32;
		r += 32;
	}
	if (v >> 16) {
		v >>= 16;
		r += 16;
	}
	if (v >> 8) {
		v >>= 8;
		r += 8;
	}
	if (v >> 4) {
		v >>= 4;
		r += 4;
	}
	if (v >> 2) {
		v >>= 2;
		r += 2;
	}
	return r + (v >> 1 ? 1 : 0);
}

/* A value in whole grid steps; division is dear, and most values are short. */
TCPLAT_INLINE __u64 tcplat_hist_steps(__u64 ns, __u64 step_ns)
{
	/* 2^35 / 125, rounded up: exact below 2^32, as 7 * 2^32 < 2^35. */
	if (step_ns == TCPLAT_HIST_STEP_US && ns < 1ULL << 32)
		return (ns * 274877907) >> 35;
	return step_ns ? ns / step_ns : 0;
}

/* Bucket of a value counted in grid steps; always < TCPLAT_HIST_BUCKETS. */
TCPLAT_INLINE __u32 tcplat_hist_bucket(__u64 steps)
{
	__u32 top, idx;

	if (steps < TCPLAT_HIST_SUB)
		return 0;
	top = tcplat_log2(steps);
	idx = 1 + (top - TCPLAT_HIST_SUB_BITS) * TCPLAT_HIST_SUB +
	      ((steps >> (top - TCPLAT_HIST_SUB_BITS)) & (TCPLAT_HIST_SUB - 1));
	return idx < TCPLAT_HIST_BUCKETS ? idx : TCPLAT_HIST_BUCKETS - 1;
}

/*
 * Lower edge of a bucket in grid steps; the upper edge of bucket i is the
 * lower edge of bucket i + 1. The last bucket has no upper edge.
 */
TCPLAT_INLINE __u64 tcplat_hist_lower(__u32 bucket)
{
	__u32 octave, sub;

	if (!bucket)
		return 0;
	octave = (bucket - 1) / TCPLAT_HIST_SUB;
	sub = (bucket - 1) % TCPLAT_HIST_SUB;
	return (__u64)(TCPLAT_HIST_SUB + sub) << octave;
}

#endif /* TCPLAT_HIST_H */
