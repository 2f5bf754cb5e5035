/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a pickup's latency went (--split): the wake-up that the data caused,
 * followed through the scheduler until the reader runs.
 */
#ifndef TCPLAT_BPF_SPLIT_H
#define TCPLAT_BPF_SPLIT_H

#include "state.h"

/* Phases of a task, task_state.phase */
enum {
	PHASE_NONE,
	PHASE_WAKING, /* sched_waking, for the data of wake_sk */
	PHASE_QUEUED, /* sched_wakeup: on a run queue */
	PHASE_RUNS,
	PHASE_PREEMPTED, /* back on the run queue, though it would go on */
};

/* TCP wakes its readers right after the hook, on the same CPU. */
struct window {
	__u64 sk;
	__u64 ns;
	__u64 timers; /* one of them runs its function just now */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct window);
} windows SEC(".maps");

/*
 * It takes one or two microseconds, and more with cold caches or on a virtual
 * CPU that is taken away; anything later on that CPU is somebody else's wake-up.
 */
#define WINDOW_NS (200 * NSEC_PER_USEC)

static __always_inline struct window *window(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&windows, &zero);
}

/* TCP wakes the reader of this socket next, if one sleeps. */
static __always_inline void split_arrived(struct sock *sk)
{
	struct window *w = window();

	if (w) {
		w->sk = (__u64)sk;
		w->ns = bpf_ktime_get_ns();
	}
}

/* A timer that ends in between may wake a task, and not for our data. */
static __always_inline int split_timer(bool begins)
{
	struct window *w = window();

	if (w)
		w->timers = begins;
	return 0;
}

static __always_inline int split_waking(struct task_struct *task)
{
	struct window *w = window();
	struct task_state *ts;

	if (!w || !w->sk || w->timers)
		return 0;
	if (bpf_ktime_get_ns() - w->ns > WINDOW_NS) {
		w->sk = 0;
		return 0;
	}
	ts = bpf_task_storage_get(&tasks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!ts)
		return 0;
	ts->before_ns = ts->wake_sk == w->sk ? ts->wake_ns : 0;
	ts->wake_sk = w->sk;
	ts->wake_ns = 0;
	ts->preempted_ns = 0;
	ts->phase = PHASE_WAKING;
	return 0;
}

static __always_inline int split_queued(struct task_struct *task)
{
	struct task_state *ts = bpf_task_storage_get(&tasks, task, NULL, 0);

	if (!ts || ts->phase != PHASE_WAKING)
		return 0;
	ts->wake_ns = bpf_ktime_get_ns();
	ts->phase = PHASE_QUEUED;
	return 0;
}

static __always_inline int split_switch(bool preempt, struct task_struct *prev,
					struct task_struct *next, __u32 prev_state)
{
	struct window *w = window();
	struct task_state *ts;
	__u64 now;

	if (w)
		w->sk = 0;
	ts = bpf_task_storage_get(&tasks, prev, NULL, 0);
	/* Woken on its way to sleep, before it was switched out: it ran on. */
	if (ts && ts->phase == PHASE_QUEUED) {
		ts->run_ns = ts->wake_ns;
		ts->phase = PHASE_RUNS;
	}
	if (ts && ts->phase == PHASE_RUNS) {
		/* TASK_RUNNING is 0: it would have gone on. */
		if (preempt || !prev_state) {
			ts->preempt_ns = bpf_ktime_get_ns();
			ts->phase = PHASE_PREEMPTED;
		} else {
			ts->phase = PHASE_NONE;
		}
	}
	ts = bpf_task_storage_get(&tasks, next, NULL, 0);
	if (ts && (ts->phase == PHASE_QUEUED || ts->phase == PHASE_PREEMPTED)) {
		now = bpf_ktime_get_ns();
		if (ts->phase == PHASE_QUEUED)
			ts->run_ns = now;
		else
			ts->preempted_ns += now - ts->preempt_ns;
		ts->phase = PHASE_RUNS;
	}
	return 0;
}

struct split {
	__u64 wake_ns;
	__u64 runq_ns;
};

/*
 * The reader's part of [arrived, now]. Data that came while it was awake, or
 * that it had left unread when it went to sleep again, waited for the program.
 */
static __always_inline void split_of(struct split *s, struct sock *sk, struct task_state *ts,
				     __u64 arrived_ns, __u64 now_ns)
{
	__u64 run_ns, left;

	s->wake_ns = 0;
	s->runq_ns = 0;
	if (!ts || ts->wake_sk != (__u64)sk || !ts->wake_ns || ts->before_ns > arrived_ns)
		return;
	/* Woken before it had gone to sleep: it never was on the run queue. */
	run_ns = ts->phase == PHASE_QUEUED ? ts->wake_ns : ts->run_ns;
	if (run_ns <= arrived_ns || run_ns > now_ns)
		return;
	if (ts->wake_ns > arrived_ns) {
		s->wake_ns = ts->wake_ns - arrived_ns;
		s->runq_ns = run_ns - ts->wake_ns;
	} else {
		s->runq_ns = run_ns - arrived_ns;
	}
	left = now_ns - run_ns;
	s->runq_ns += ts->preempted_ns < left ? ts->preempted_ns : left;
}

#endif /* TCPLAT_BPF_SPLIT_H */
