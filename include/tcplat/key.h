/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The key of an event's histogram: one code for the kernel and for replay. */
#ifndef TCPLAT_KEY_H
#define TCPLAT_KEY_H

#include "tcplat/event.h"

/* by: mask of enum tcplat_key. What it does not name stays zero. */
TCPLAT_INLINE void tcplat_hist_key_of(struct tcplat_hist_key *k, const struct tcplat_event *e,
				      __u32 by, __u8 outcome)
{
	__builtin_memset(k, 0, sizeof(*k));
	k->kind = e->kind;
	if (by & TCPLAT_KEY_LADDR)
		__builtin_memcpy(k->laddr, e->laddr, sizeof(k->laddr));
	if (by & TCPLAT_KEY_RADDR)
		__builtin_memcpy(k->raddr, e->raddr, sizeof(k->raddr));
	if (by & TCPLAT_KEY_LPORT)
		k->lport = e->lport;
	if (by & TCPLAT_KEY_RPORT)
		k->rport = e->rport;
	if (by & TCPLAT_KEY_PID)
		k->pid = e->pid;
	if (by & TCPLAT_KEY_COMM)
		__builtin_memcpy(k->comm, e->comm, sizeof(k->comm));
	if (by & TCPLAT_KEY_CGROUP)
		k->cgroup_id = e->cgroup_id;
	if (by & TCPLAT_KEY_NETNS)
		k->netns = e->netns;
	if (by & TCPLAT_KEY_OUTCOME)
		k->outcome = outcome;
}

#endif /* TCPLAT_KEY_H */
