/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The key of an event's histogram: one code for the kernel and for replay. */
#ifndef TCPLAT_KEY_H
#define TCPLAT_KEY_H

#include "tcplat/config.h"

/* addr, or the subnet that it is in. */
TCPLAT_INLINE void tcplat_cut(__u8 to[16], const __u8 addr[16], __u8 ip,
			      const volatile struct tcplat_prefix *p)
{
	__u64 a[2];

	__builtin_memcpy(a, addr, sizeof(a));
	if (p->cut) {
		a[0] &= ip == 4 ? p->mask[0][0] : p->mask[1][0];
		a[1] &= ip == 4 ? p->mask[0][1] : p->mask[1][1];
	}
	__builtin_memcpy(to, a, sizeof(a));
}

/* The keys that c->by names; what it does not stays zero. */
TCPLAT_INLINE void tcplat_hist_key_of(struct tcplat_hist_key *k, const struct tcplat_event *e,
				      const volatile struct tcplat_config *c, __u8 outcome)
{
	__u32 by = c->by;

	__builtin_memset(k, 0, sizeof(*k));
	k->kind = e->kind;
	if (by & TCPLAT_KEY_LADDR)
		tcplat_cut(k->laddr, e->laddr, e->ip, &c->laddr);
	if (by & TCPLAT_KEY_RADDR)
		tcplat_cut(k->raddr, e->raddr, e->ip, &c->raddr);
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
