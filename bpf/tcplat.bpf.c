// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The hooks, and nothing else: one line into each measurement. Of the receive queue
 * they read a pointer before all else: the verifier takes a millisecond for that on
 * each way that leads to it (kernel.h).
 */
#include "kernel.h"
#include "state.h"
#include "filter.h"
#include "hist.h"
#include "emit.h"
#include "where.h"
#include "connect.h"
#include "call.h"
#include "pickup.h"
#include "rtt.h"
#include "sweep.h"
#include "twice.h"

/* BPF_PROG() names a context that these hooks have no use for. */
#pragma clang diagnostic ignored "-Wunused-parameter"

/* Copy 1 must be attached first: handled() counts on the order. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_change_1, struct sock *sk, int oldstate, int newstate)
{
	struct sk_buff *newest = cfg.pickup ? sk->sk_receive_queue.prev : NULL;

	twice_first(sk, newstate);
	ports_state_change(sk, oldstate, newstate);
	connect_state_change(sk, oldstate, newstate, 1);
	rtt_state_change(sk, oldstate, newstate);
	pickup_state_change(sk, newest, oldstate, newstate);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_change_2, struct sock *sk, int oldstate, int newstate)
{
	if (twice_seen(sk, newstate))
		return 0;
	ports_state_change(sk, oldstate, newstate);
	connect_state_change(sk, oldstate, newstate, 2);
	return rtt_state_change(sk, oldstate, newstate);
}

/* Where connect is not measured: a small program loads faster. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_change, struct sock *sk, int oldstate, int newstate)
{
	struct sk_buff *newest = cfg.pickup ? sk->sk_receive_queue.prev : NULL;

	twice_first(sk, newstate);
	rtt_state_change(sk, oldstate, newstate);
	pickup_state_change(sk, newest, oldstate, newstate);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_change_again, struct sock *sk, int oldstate, int newstate)
{
	if (twice_seen(sk, newstate))
		return 0;
	return rtt_state_change(sk, oldstate, newstate);
}

SEC("tp_btf/tcp_probe")
int BPF_PROG(probe, struct sock *sk, struct sk_buff *skb)
{
	struct sk_buff *newest = cfg.pickup ? sk->sk_receive_queue.prev : NULL;
	struct sock_state *st = cfg.rtt ? rtt_packet(sk) : NULL;

	return cfg.pickup ? pickup_probe(sk, skb, newest, st) : 0;
}

/* Since 6.17 with a third argument, and for attempts that failed too. */
SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(retransmitted, struct sock *sk, struct sk_buff *skb)
{
	return rtt_retransmitted(sk, skb, cfg.retrans_err && (int)ctx[2]);
}

SEC("tp_btf/sk_data_ready")
int BPF_PROG(data_ready, struct sock *sk)
{
	return pickup_ready(sk);
}

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(data_taken, struct sock *sk)
{
	struct sk_buff *first = cfg.pickup ? sk->sk_receive_queue.next : NULL;
	struct sock_state *st = cfg.owners ? rtt_reader(sk) : NULL;

	return cfg.pickup ? pickup_taken(sk, first, st) : 0;
}

SEC("tp_btf/sched_waking")
int BPF_PROG(waking, struct task_struct *task)
{
	return split_waking(task);
}

SEC("tp_btf/hrtimer_expire_entry")
int BPF_PROG(timer_begins)
{
	return split_timer(true);
}

SEC("tp_btf/hrtimer_expire_exit")
int BPF_PROG(timer_ends)
{
	return split_timer(false);
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(queued, struct task_struct *task)
{
	return split_queued(task);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(switched, bool preempt, struct task_struct *prev, struct task_struct *next,
	     unsigned int prev_state)
{
	return split_switch(preempt, prev, next, prev_state);
}

SEC("tracepoint/syscalls/sys_enter_connect")
int call_begins(struct sys_enter_args *ctx)
{
	return call_enter(ctx);
}

SEC("tracepoint/syscalls/sys_exit_connect")
int call_ends(struct sys_exit_args *ctx)
{
	return call_exit(ctx);
}

/* Twice for the same reason; marking a child twice does no harm. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(fork_1, struct task_struct *parent, struct task_struct *child)
{
	return inherit_trace(parent, child);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(fork_2, struct task_struct *parent, struct task_struct *child)
{
	return inherit_trace(parent, child);
}

SEC("iter/task_file")
int baseline(struct bpf_iter__task_file *ctx)
{
	return mark_unseen(ctx);
}

SEC("iter/task_file")
int own(struct bpf_iter__task_file *ctx)
{
	return owner_found(ctx);
}

SEC("iter/bpf_sk_storage_map")
int collect(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return rtt_collect(ctx);
}

SEC("iter/bpf_sk_storage_map")
int forget(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return forget_slots(ctx);
}

SEC("iter/bpf_sk_storage_map")
int count_open(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return count_pending(ctx);
}

char LICENSE[] SEC("license") = "GPL";
