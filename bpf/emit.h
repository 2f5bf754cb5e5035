/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handing rows to user space. */
#ifndef TCPLAT_BPF_EMIT_H
#define TCPLAT_BPF_EMIT_H

#include "state.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* set before loading */
} ring SEC(".maps");

__u64 last_wake_ns;
__u64 last_high_ns;

static __always_inline bool due(__u64 *last, __u64 now, __u64 every)
{
	__u64 then = *(volatile __u64 *)last;

	return (__s64)(now - then) >= (__s64)every &&
	       __sync_val_compare_and_swap(last, then, now) == then;
}

/*
 * An idle host wakes the reader with each event; a busy one at most once in
 * wake_ns, since the reader, once woken, looks again by its own timer. Only a
 * ring that fills faster than that wakes it in between.
 */
static __always_inline __u64 wake_flags(__u64 now)
{
	if (due(&last_wake_ns, now, cfg.wake_ns))
		return BPF_RB_FORCE_WAKEUP;
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= cfg.wake_bytes &&
	    due(&last_high_ns, now, cfg.wake_ns / 64))
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

/* now: the event may be older. */
static __always_inline void emit(struct tcplat_event *e, __u64 size, __u64 now)
{
	if (bpf_ringbuf_output(&ring, e, size, wake_flags(now)))
		count(TCPLAT_LOST_RING_FULL);
}

#endif /* TCPLAT_BPF_EMIT_H */
