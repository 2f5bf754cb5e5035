/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filters that only the kernel can judge: the calling task's. */
#ifndef TCPLAT_BPF_FILTER_H
#define TCPLAT_BPF_FILTER_H

#include "state.h"
#include "tcplat/filter.h"

static __always_inline bool in_cgroup(void)
{
	if (!cfg.filter.n_cgroups)
		return true;
	for (__u32 i = 0; i < TCPLAT_MAX_CGROUPS && i < cfg.filter.n_cgroups; i++)
		if (bpf_current_task_under_cgroup(&cgroups, i) == 1)
			return true;
	return false;
}

/*
 * Does the task descend from our command? io_uring workers are made without
 * sched_process_fork, so a task without a mark is judged by its group leader.
 */
static __always_inline bool is_traced(struct task_struct *task, struct task_state *ts)
{
	if (!cfg.filter.descendants)
		return true;
	if (ts && ts->traced)
		return true;
	ts = bpf_task_storage_get(&tasks, task->group_leader, 0, 0);
	return ts && ts->traced;
}

/* Is there any filter that only current can answer? */
static __always_inline bool owner_filtered(void)
{
	return cfg.filter.pid.n || cfg.filter.tid.n || cfg.filter.uid.n || cfg.filter.n_comms ||
	       cfg.filter.n_cgroups || cfg.filter.descendants;
}

/* The owner's side of the filters; current must be the owner. */
static __always_inline bool owner_wanted(struct task_struct *task, struct task_state *ts,
					 const char *comm)
{
	__u64 id = bpf_get_current_pid_tgid();

	if (!tcplat_match_who(&cfg.filter, id >> 32, (__u32)id, comm))
		return false;
	if (cfg.filter.uid.n && !tcplat_match_id(&cfg.filter.uid, (__u32)bpf_get_current_uid_gid()))
		return false;
	return in_cgroup() && is_traced(task, ts);
}

#endif /* TCPLAT_BPF_FILTER_H */
