/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filters on what a record says: one code for the kernel programs and for
 * replay. Pure functions; loops are bounded for the verifier, and a filter
 * that is not set costs nothing once the configuration is frozen.
 */
#ifndef TCPLAT_FILTER_H
#define TCPLAT_FILTER_H

#include "tcplat/config.h"

TCPLAT_INLINE int tcplat_match_id(const volatile struct tcplat_idset *s, __u32 id)
{
	if (!s->n)
		return 1;
	for (__u32 i = 0; i < TCPLAT_MAX_IDS && i < s->n; i++)
		if (s->id[i] == id)
			return 1;
	return 0;
}

/* The kernel's comm and the filter's are both padded with zeros. */
TCPLAT_INLINE int tcplat_match_comm(const volatile struct tcplat_filter *f, const char *comm)
{
	if (!f->n_comms)
		return 1;
	for (__u32 i = 0; i < TCPLAT_MAX_COMMS && i < f->n_comms; i++) {
		int same = 1;

		for (int j = 0; j < TCPLAT_COMM_LEN; j++) {
			if (f->comm[i][j] != comm[j]) {
				same = 0;
				break;
			}
			if (!comm[j])
				break;
		}
		if (same)
			return 1;
	}
	return 0;
}

TCPLAT_INLINE int tcplat_match_net(const volatile struct tcplat_netset *s, __u8 ip,
				   const __u8 addr[16])
{
	__u64 a[2];

	if (!s->n)
		return 1;
	__builtin_memcpy(a, addr, sizeof(a));
	for (__u32 i = 0; i < TCPLAT_MAX_NETS && i < s->n; i++)
		if (s->net[i].ip == ip && (a[0] & s->net[i].mask[0]) == s->net[i].addr[0] &&
		    (a[1] & s->net[i].mask[1]) == s->net[i].addr[1])
			return 1;
	return 0;
}

TCPLAT_INLINE int tcplat_match_port(const volatile struct tcplat_portset *s, __u16 port)
{
	if (!s->active)
		return 1;
	return (s->bits[(port >> 6) & (TCPLAT_PORT_WORDS - 1)] >> (port & 63)) & 1;
}

/* Who: known when the attempt begins. uid, cgroup and descent are not in the record. */
TCPLAT_INLINE int tcplat_match_who(const volatile struct tcplat_filter *f, __u32 pid, __u32 tid,
				   const char *comm)
{
	return tcplat_match_id(&f->pid, pid) && tcplat_match_id(&f->tid, tid) &&
	       tcplat_match_comm(f, comm);
}

/* Where: complete only when the attempt ends (the local port is chosen late). */
TCPLAT_INLINE int tcplat_match_where(const volatile struct tcplat_filter *f,
				     const struct tcplat_event *e)
{
	if (f->ip && f->ip != e->ip)
		return 0;
	return tcplat_match_id(&f->netns, e->netns) && tcplat_match_port(&f->lport, e->lport) &&
	       tcplat_match_port(&f->rport, e->rport) &&
	       tcplat_match_net(&f->laddr, e->ip, e->laddr) &&
	       tcplat_match_net(&f->raddr, e->ip, e->raddr);
}

/* What: the measurement's own result. outcome: ~0U where there is none. */
TCPLAT_INLINE int tcplat_match_what(const volatile struct tcplat_filter *f, __u64 latency_ns,
				    __u32 outcome)
{
	if (f->min_ns && latency_ns < f->min_ns)
		return 0;
	return !f->outcomes || ((f->outcomes >> (outcome & 31)) & 1);
}

#endif /* TCPLAT_FILTER_H */
