/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading a clock, in nanoseconds. */
#ifndef TCPLAT_CORE_CLOCK_H
#define TCPLAT_CORE_CLOCK_H

#include <linux/types.h>
#include <time.h>

static inline __u64 clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (__u64)ts.tv_sec * 1000000000 + (__u64)ts.tv_nsec;
}

/* CLOCK_REALTIME less CLOCK_MONOTONIC: constant until somebody sets the clock. */
__u64 clock_real_offset(void);

#endif /* TCPLAT_CORE_CLOCK_H */
