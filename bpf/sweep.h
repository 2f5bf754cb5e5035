/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Passes over what exists: sockets at the start and at the end, new tasks. */
#ifndef TCPLAT_BPF_SWEEP_H
#define TCPLAT_BPF_SWEEP_H

#include "connect.h"
#include "pickup.h"

/* Descendants of our command carry its mark, however they are re-parented. */
static __always_inline int inherit_trace(struct task_struct *parent, struct task_struct *child)
{
	struct task_state *ts = bpf_task_storage_get(&tasks, parent, NULL, 0);

	if (!ts || !ts->traced)
		return 0;
	ts = bpf_task_storage_get(&tasks, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (ts)
		ts->traced = 1;
	else
		count(TCPLAT_LOST_NO_STATE);
	return 0;
}

/* Attempts that were under way before us must not be taken for lost ones. */
static __always_inline int mark_unseen(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct sock_state *st;
	struct socket *socket;
	struct sock *sk;

	if (!file)
		return 0;
	socket = (struct socket *)bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || sk->sk_protocol != IPPROTO_TCP || sk->__sk_common.skc_state != TCP_SYN_SENT)
		return 0;
	st = sock_state_of(sk);
	/* A hook that saw the start has set the mark; it knows more than we do. */
	if (st && !st->mark)
		st->flags = ST_PENDING | ST_UNSEEN;
	return 0;
}

/*
 * Slots whose keys are retired are found no more, but sockets remember them; and those
 * without room may have some now. A program that holds what is taken away here has
 * returned before the slot is used again, see engine_retire().
 */
static __always_inline void forget_slot(__u32 *place)
{
	__u32 slot = *(volatile __u32 *)place;
	struct tcplat_hist_slot *s;

	if (!slot)
		return;
	s = hist_at(slot - 1);
	if (s && (s->used == TCPLAT_SLOT_RETIRED || s->key.rest))
		__sync_val_compare_and_swap(place, slot, 0);
}

static __always_inline int forget_slots(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock_state *st = NULL;

	if (ctx->sk && ctx->value)
		st = bpf_sk_storage_get(&sockets, ctx->sk, NULL, 0);
	if (!st)
		return 0;
	forget_slot(&st->rtt_slot);
	forget_slot(&st->slot);
	return 0;
}

/*
 * Twice at the end. While the hooks still run: a socket that is established,
 * with its attempt pending, is one whose end they missed, for a hook runs
 * before the state is stored. Once they have stopped: what is still open.
 */
static __always_inline int count_pending(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock_state *st = ctx->value;
	struct sock *sk = ctx->sk;
	struct tcplat_event e = {};
	struct tcp_sock *tp;

	if (!sk || !st)
		return 0;
	if (cfg.pickup && stopped)
		pickup_waiting(sk, st);
	if ((st->flags & (ST_PENDING | ST_WANTED)) != (ST_PENDING | ST_WANTED))
		return 0;
	if (!stopped) {
		if (sk->__sk_common.skc_state == TCP_ESTABLISHED)
			connect_missed(sk);
		return 0;
	}
	count(TCPLAT_CNT_PENDING);
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp && where_of(&e, tp) && tcplat_match_where(&cfg.filter, &e))
		count(TCPLAT_CNT_STILL_OPEN);
	return 0;
}

#endif /* TCPLAT_BPF_SWEEP_H */
