/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose socket it is, for what no process does: round trips are measured in
 * interrupts. The process that connected it; of an accepted one the listening
 * process, whose state the kernel copies to the child, until one has read from
 * it; of one that is older than we are, a process that has it open.
 */
#ifndef TCPLAT_BPF_OWNER_H
#define TCPLAT_BPF_OWNER_H

#include "filter.h"
#include "ports.h"
#include "where.h"

/* current has it. */
static __always_inline void owner_note(struct sock_state *st)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 id = bpf_get_current_pid_tgid();
	struct task_state *ts = NULL;

	st->pid = id >> 32;
	st->tid = (__u32)id;
	comm_of(st->comm, task);
	/* A worker of io_uring has a name of its own. */
	if (task->flags & PF_IO_WORKER)
		BPF_CORE_READ_INTO(&st->comm, task, group_leader, comm);
	st->cgroup_id = group_of_current();
	if (cfg.filter.descendants)
		ts = bpf_task_storage_get(&tasks, task, NULL, 0);
	st->flags &= ~ST_MINE;
	st->flags |= ST_OWNED;
	if (owner_wanted(task, ts, st->comm))
		st->flags |= ST_MINE;
}

/* bpf_current_task_under_cgroup() for any task. */
static __always_inline bool task_in_cgroup(struct task_struct *task)
{
	struct cgroup *group = BPF_CORE_READ(task, cgroups, dfl_cgrp), *above;
	__u32 level = BPF_CORE_READ(group, level);

	for (__u32 i = 0; i < OWNER_MAX_LEVELS && i <= level; i++) {
		__u64 id;

		if (bpf_core_read(&above, sizeof(above), &group->ancestors[i]))
			return false;
		id = BPF_CORE_READ(above, kn, id);
		for (__u32 j = 0; j < TCPLAT_MAX_CGROUPS && j < cfg.filter.n_cgroups; j++)
			if (cfg.filter.cgroup_ids[j] == id)
				return true;
	}
	return false;
}

static __always_inline bool task_wanted(struct task_struct *task, const struct sock_state *st)
{
	struct task_state *ts = NULL;

	if (!tcplat_match_who(&cfg.filter, st->pid, st->tid, st->comm))
		return false;
	if (cfg.filter.uid.n &&
	    !tcplat_match_id(&cfg.filter.uid, BPF_CORE_READ(task, cred, uid.val)))
		return false;
	if (cfg.filter.descendants)
		ts = bpf_task_storage_get(&tasks, task, NULL, 0);
	return (!cfg.filter.n_cgroups || task_in_cgroup(task)) &&
	       (!cfg.filter.descendants || (ts && ts->traced));
}

/* A pass over what every process has open: the first one found has it. */
static __always_inline int owner_found(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct sock_state *st;
	struct socket *socket;
	struct sock *sk;

	if (!file || !task)
		return 0;
	socket = (struct socket *)bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || sk->sk_protocol != IPPROTO_TCP || sk->__sk_common.skc_state == TCP_CLOSE)
		return 0;
	ports_state_change(sk, TCP_CLOSE, sk->__sk_common.skc_state);
	if (!cfg.owners)
		return 0;
	st = sock_state_of(sk);
	if (!st) {
		count(TCPLAT_LOST_NO_STATE);
		return 0;
	}
	if (st->flags & ST_OWNED)
		return 0;
	st->pid = task->tgid;
	st->tid = task->pid;
	comm_of(st->comm, task);
	st->cgroup_id = group_of(task);
	st->flags |= ST_OWNED;
	if (task_wanted(task, st))
		st->flags |= ST_MINE;
	return 0;
}

#endif /* TCPLAT_BPF_OWNER_H */
