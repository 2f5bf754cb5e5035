/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses, ports and namespace of a socket, in the record's form. */
#ifndef TCPLAT_BPF_WHERE_H
#define TCPLAT_BPF_WHERE_H

#include "state.h"

static __always_inline void put_v4(__u8 to[16], __be32 addr)
{
	__builtin_memset(to, 0, 10);
	to[10] = 0xff;
	to[11] = 0xff;
	__builtin_memcpy(to + 12, &addr, 4);
}

/* A macro: a pointer to in6_addr would be one more type to relocate. */
#define put_v6(to, a)                                                             \
	({                                                                        \
		__be32 w[4] = { (a).in6_u.u6_addr32[0], (a).in6_u.u6_addr32[1],   \
				(a).in6_u.u6_addr32[2], (a).in6_u.u6_addr32[3] }; \
		__builtin_memcpy((to), w, sizeof(w));                             \
	})

static __always_inline bool is_v4_mapped(const __u8 a[16])
{
	__u64 w[2];

	__builtin_memcpy(w, a, sizeof(w));
	return !w[0] && (__u32)w[1] == bpf_htonl(0xffff);
}

/* The kernel pads names with zeros. A macro for the sake of one type less. */
#define comm_of(to, task)                                                        \
	({                                                                       \
		struct task_struct *of = (task);                                 \
		__u64 w[2] = { *(__u64 *)&of->comm[0], *(__u64 *)&of->comm[8] }; \
		__builtin_memcpy((to), w, sizeof(w));                            \
	})

/* In a hierarchy of version 1; its subsystem may not be in this kernel. */
#define group_in(task, id)                                                            \
	(bpf_core_enum_value_exists(enum cgroup_subsys_id, id) ?                      \
		 group_of_css(task, bpf_core_enum_value(enum cgroup_subsys_id, id)) : \
		 0)

static __always_inline __u64 group_of_css(struct task_struct *task, __u32 subsystem)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup_subsys_state **all = set->subsys, *css = NULL;

	bpf_probe_read_kernel(&css, sizeof(css), all + subsystem);
	return css ? BPF_CORE_READ(css, cgroup, kn, id) : 0;
}

/* The id of its cgroup, as the hierarchy that was chosen has it. */
static __always_inline __u64 group_of(struct task_struct *task)
{
	switch (cfg.groups) {
	case TCPLAT_GROUPS_V1_MEMORY:
		return group_in(task, memory_cgrp_id);
	case TCPLAT_GROUPS_V1_PIDS:
		return group_in(task, pids_cgrp_id);
	case TCPLAT_GROUPS_V1_CPU:
		return group_in(task, cpu_cgrp_id);
	default:
		return BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	}
}

static __always_inline __u64 group_of_current(void)
{
	if (cfg.groups == TCPLAT_GROUPS_V2)
		return bpf_get_current_cgroup_id();
	return group_of(bpf_get_current_task_btf());
}

/* All but the namespace. Returns false for a socket that is neither IPv4 nor IPv6. */
static __always_inline bool ends_of(struct tcplat_event *e, struct tcp_sock *tp)
{
	struct sock *sk = &tp->inet_conn.icsk_inet.sk;

	if (sk->__sk_common.skc_family == AF_INET6) {
		put_v6(e->laddr, sk->__sk_common.skc_v6_rcv_saddr);
		put_v6(e->raddr, sk->__sk_common.skc_v6_daddr);
		e->ip = 6;
		if (is_v4_mapped(e->raddr)) {
			e->ip = 4;
			put_v4(e->laddr, sk->__sk_common.skc_rcv_saddr);
		}
	} else if (sk->__sk_common.skc_family == AF_INET) {
		put_v4(e->laddr, sk->__sk_common.skc_rcv_saddr);
		put_v4(e->raddr, sk->__sk_common.skc_daddr);
		e->ip = 4;
	} else {
		return false;
	}
	/* skc_num is already 0 when a socket enters CLOSE; inet_sport is not. */
	e->lport = bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport);
	e->rport = bpf_ntohs(sk->__sk_common.skc_dport);
	return true;
}

static __always_inline bool where_of(struct tcplat_event *e, struct tcp_sock *tp)
{
	if (!ends_of(e, tp))
		return false;
	e->netns = BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.__sk_common.skc_net.net, ns.inum);
	return true;
}

#endif /* TCPLAT_BPF_WHERE_H */
