/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * connect() calls that the host refuses before any SYN: no tracepoint of TCP
 * sees them, so the system call itself is watched.
 */
#ifndef TCPLAT_BPF_CALL_H
#define TCPLAT_BPF_CALL_H

#include "connect.h"

struct sockaddr_v4 {
	__u16 family;
	__be16 port;
	__be32 addr;
};

struct sockaddr_v6 {
	__u16 family;
	__be16 port;
	__be32 flowinfo;
	__u8 addr[16];
};

#define SOCKADDR_IN_LEN 16  /* sizeof(struct sockaddr_in) */
#define SOCKADDR_IN6_MIN 24 /* SIN6_LEN_RFC2133: without the scope id */

/* The TCP socket behind a descriptor, or NULL. */
static __always_inline struct sock *sock_of_fd(struct task_struct *task, __u32 fd,
					       socket_state *state)
{
	struct fdtable *fdt = task->files->fdt;
	struct file **slot, *file = NULL;
	struct socket *socket;
	struct sock *sk;
	__u16 protocol;

	if (fd >= fdt->max_fds)
		return NULL;
	slot = fdt->fd + fd;
	if (bpf_probe_read_kernel(&file, sizeof(file), slot) || !file)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	/* Only a socket's private data points back at its file. */
	if (!socket || BPF_CORE_READ(socket, file) != file)
		return NULL;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return NULL;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
		return NULL;
	*state = BPF_CORE_READ(socket, state);
	return sk;
}

static __always_inline int call_enter(const struct sys_enter_args *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_state *ts;
	socket_state state = 0;
	struct sock *sk;

	if (stopped)
		return 0;
	sk = sock_of_fd(task, ctx->args[0], &state);
	if (!sk)
		return 0;
	ts = bpf_task_storage_get(&tasks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!ts)
		return 0;
	ts->sk = (__u64)sk;
	ts->uaddr = ctx->args[1];
	ts->uaddr_len = ctx->args[2];
	ts->started = 0;
	/* Any other state: the call only fetches the result of an earlier one. */
	ts->fresh =
		state == SS_UNCONNECTED && BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE;
	ts->call_ns = bpf_ktime_get_ns();
	return 0;
}

/* The destination, which a socket refused this early does not hold. */
static __always_inline bool remote_of_call(struct tcplat_event *e, const struct task_state *ts,
					   __u16 family)
{
	struct sockaddr_v6 sa = {};

	if (bpf_probe_read_user(&sa, sizeof(struct sockaddr_v4), (void *)ts->uaddr))
		return false;
	if (sa.family == AF_INET && ts->uaddr_len >= SOCKADDR_IN_LEN) {
		put_v4(e->raddr, sa.flowinfo); /* where sockaddr_in has its address */
		e->ip = 4;
	} else if (sa.family == AF_INET6 && family == AF_INET6 &&
		   ts->uaddr_len >= SOCKADDR_IN6_MIN &&
		   !bpf_probe_read_user(&sa, sizeof(sa), (void *)ts->uaddr)) {
		__builtin_memcpy(e->raddr, sa.addr, sizeof(sa.addr));
		e->ip = is_v4_mapped(e->raddr) ? 4 : 6;
	} else {
		return false;
	}
	e->rport = bpf_ntohs(sa.port);
	return true;
}

static __always_inline void call_refused(struct task_struct *task, struct task_state *ts, int err)
{
	struct sock *sk = (struct sock *)ts->sk;
	struct tcplat_connect_event c;
	__u64 id;
	__u16 family;

	connect_event_init(&c);
	bpf_get_current_comm(c.ev.comm, sizeof(c.ev.comm));
	if (!owner_wanted(task, ts, c.ev.comm))
		return;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (!remote_of_call(&c.ev, ts, family))
		return;
	if (c.ev.ip == 4)
		put_v4(c.ev.laddr, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	else
		BPF_CORE_READ_INTO(&c.ev.laddr, sk, __sk_common.skc_v6_rcv_saddr);
	c.ev.lport = BPF_CORE_READ(sk, __sk_common.skc_num);
	c.ev.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	if (!tcplat_match_where(&cfg.filter, &c.ev))
		return;
	id = bpf_get_current_pid_tgid();
	c.ev.pid = id >> 32;
	c.ev.tid = (__u32)id;
	c.ev.cgroup_id = group_of_current();
	c.ev.time_ns = bpf_ktime_get_ns();
	c.latency_ns = c.ev.time_ns - ts->call_ns;
	c.syn_retransmits = TCPLAT_RETRANS_NONE;
	c.error = err;
	c.outcome = outcome_of(err);
	/* Counted on both sides, so that started = ended + open stays true. */
	count(TCPLAT_CNT_STARTED);
	count(TCPLAT_CNT_ENDED);
	connect_deliver(&c);
}

static __always_inline int call_exit(const struct sys_exit_args *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_state *ts = bpf_task_storage_get(&tasks, task, NULL, 0);
	__s64 ret = ctx->ret;

	if (!ts || !ts->call_ns)
		return 0;
	if (!stopped && ret < 0 && ret > -ERESTARTSYS && ts->fresh && !ts->started &&
	    ret != -EINPROGRESS && ret != -EALREADY && ret != -EISCONN && ret != -EINTR)
		call_refused(task, ts, -ret);
	ts->call_ns = 0;
	return 0;
}

#endif /* TCPLAT_BPF_CALL_H */
