/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Maps and per-socket, per-task state. */
#ifndef TCPLAT_BPF_STATE_H
#define TCPLAT_BPF_STATE_H

#include "kernel.h"
#include "tcplat/config.h"

/* Written by user space before loading, frozen afterwards. */
const volatile struct tcplat_config cfg SEC(".rodata");

/*
 * Shared counters with atomic adds: per-CPU arrays cost more per increment
 * here, and only rare paths and the ends of attempts count.
 */
__u64 counters[TCPLAT_NR_COUNTERS];

/* User space's switches: hooks ignore everything once stopped. */
__u32 stopped;
__u32 baseline_done; /* sockets older than us have been marked */
__u32 hist_epoch;    /* which half of the extremes is written */
__u32 hist_used;     /* slots ever handed out */

static __always_inline void count(enum tcplat_counter c)
{
	__sync_fetch_and_add(&counters[c], 1);
}

enum {
	ST_PENDING = 1 << 0, /* an attempt is under way */
	ST_WANTED = 1 << 1,  /* its owner passed the filters */
	ST_UNSEEN = 1 << 2,  /* it began before tracing */
	ST_SIMULT = 1 << 3,  /* it went through SYN_RECV: simultaneous open */
};

/* For every socket that we look at; lives and dies with it. */
struct sock_state {
	__u64 start_ns;
	__u64 cgroup_id;
	__u32 pid;
	__u32 tid;
	char comm[TCPLAT_COMM_LEN];
	__u8 flags;
	__u8 mark;    /* the state that was last entered, as seen by a hook */
	__u8 mark_by; /* by which copy of the hook */
	__u8 pad[5];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sock_state);
} sockets SEC(".maps");

/* A task that is inside connect(), or that descends from the command we run. */
struct task_state {
	__u64 call_ns; /* 0: not inside connect() */
	__u64 sk;
	__u64 uaddr;
	__u32 uaddr_len;
	__u8 traced;
	__u8 fresh;   /* TCP socket, no attempt under way or waiting to be fetched */
	__u8 started; /* this call began an attempt */
	__u8 pad;
};

/* User space marks the command before it knows any of this struct. */
const volatile __u32 traced_offset SEC(".rodata") = __builtin_offsetof(struct task_state, traced);

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_state);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, TCPLAT_MAX_CGROUPS);
	__type(key, __u32);
	__type(value, __u32);
} cgroups SEC(".maps");

#endif /* TCPLAT_BPF_STATE_H */
