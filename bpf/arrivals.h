/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What has arrived: one half of the pickup measurement.
 *
 * The kernel's own receive queue is the list of what has arrived, each segment
 * with its stamp; only, TCP merges a segment with the newest one in the queue
 * when it can, and keeps one stamp. So what is in the queue is noted before the
 * next packet may merge with it, and only then: where a program keeps up, the
 * queue is empty at that moment, and nothing is to be done.
 *
 * Where this does not hold, each arrival is noted at once: a hole is about to be
 * filled (what was behind it becomes readable too, with an older stamp), no hook
 * sees packets before TCP does (connections that we have closed), or the reader
 * takes segments out of the queue before it tells (tcp_read_sock(): splice(2),
 * kernel TLS, NFS); one that has not read yet may do so.
 */
#ifndef TCPLAT_BPF_ARRIVALS_H
#define TCPLAT_BPF_ARRIVALS_H

#include "fifo.h"
#include "filter.h"
#include "split.h"
#include "where.h"

/* Behind the data of a queued segment: a FIN takes a number, and no room. */
#define SKB_DATA_END(skb) (SKB_SEQ(skb) + (skb)->len)

/* What the filters say of a connection that we look at for the first time. */
static __always_inline void pickup_judge(struct sock_state *st, struct tcp_sock *tp, __u32 first)
{
	struct tcplat_event e = {};

	st->pick = PICK_SETTLED;
	st->near = 0;
	st->slot = 0;
	st->ooo = 0; /* a hole may be there already */
	st->taken = st->last_end = first;
	/* A subflow's data goes to the MPTCP socket, and no hook tells when. */
	if (bpf_core_field_exists(tp->is_mptcp) && tp->is_mptcp)
		return;
	if (where_of(&e, tp) && tcplat_match_where(&cfg.filter, &e))
		st->pick |= PICK_WANTED;
	st->netns = e.netns;
}

/*
 * NULL where the socket is not wanted. st: its state, NULL where the caller has not looked.
 * reading: a reader has just taken something.
 */
static __always_inline struct sock_state *pickup_state(struct sock *sk, struct tcp_sock *tp,
						       struct sock_state *st, bool reading)
{
	__u32 first = tp->copied_seq, seq;
	bool gone = false;
	struct sk_buff *skb;

	if (!st)
		st = sock_state_of(sk);
	if (!st) {
		count(TCPLAT_LOST_NO_STATE);
		return NULL;
	}
	if (!(st->pick & PICK_SETTLED)) {
		/* The first segment is still there while it is being read. */
		skb = BPF_CORE_READ(sk, sk_receive_queue.next);
		if (sk->sk_receive_queue.qlen && !bpf_core_read(&seq, sizeof(seq), &skb->cb) &&
		    after(first, seq))
			first = seq;
		else if (reading && tp->bytes_received > (__u32)(tp->rcv_nxt - tp->copied_seq))
			gone = true; /* and it was no peek: something has been taken */
		pickup_judge(st, tp, first);
		/* Nobody has told of its arrival: that was before us. */
		if (gone && st->pick & PICK_WANTED && !owner_filtered())
			count(TCPLAT_CNT_UNSEEN_START);
	}
	return st->pick & PICK_WANTED ? st : NULL;
}

/* How far what is not noted yet came with the segment that filled a hole. */
static __always_inline __u32 filled_end(struct sock_state *st, __u32 end)
{
	if (!(st->pick & PICK_FILLED))
		return st->last_end;
	if (!after(st->fill_end, st->last_end)) {
		st->pick &= ~PICK_FILLED;
		return st->last_end;
	}
	return after(end, st->fill_end) ? st->fill_end : end;
}

/*
 * Before the newest segment there is more that was not noted: it was there
 * before we began, unstamped, or a hook was skipped.
 */
static __noinline __u64 stamp_before(struct sock *sk, struct sk_buff *skb)
{
	struct sk_buff *before;

	if (sk->sk_receive_queue.qlen < 2)
		return WHEN_MISSED;
	before = BPF_CORE_READ(skb, prev);
	return BPF_CORE_READ(before, tstamp);
}

/* Notes what the queue holds and the FIFO does not: its newest segment. */
static __always_inline void note_queue(struct sock *sk, struct sock_state *st, struct sk_buff *skb,
				       __u64 stamp)
{
	__u32 end = SKB_DATA_END(skb), filled;

	if (!after(end, st->last_end))
		return;
	filled = filled_end(st, end);
	if (after(filled, st->last_end))
		fifo_push(sk, st, filled, st->filled_ns);
	else if (after(SKB_SEQ(skb), st->last_end))
		fifo_push(sk, st, SKB_SEQ(skb), stamp ?: stamp_before(sk, skb));
	if (after(end, st->last_end))
		fifo_push(sk, st, end, stamp ?: skb->tstamp);
}

/*
 * A packet that may fill a hole is noted before it does, and how far behind it
 * data wait that would become readable with it.
 */
static __always_inline void note_filler(struct sock *sk, struct sock_state *st, struct tcp_sock *tp,
					struct sk_buff *skb)
{
	__u32 next = tp->rcv_nxt, end = SKB_END(skb), words[2] = {};
	struct sk_buff *last;
	__u8 flags = 0;

	/* What was noted before and TCP has refused. */
	if (after(st->last_end, next))
		fifo_trim(sk, st, next);
	bpf_probe_read_kernel(&flags, sizeof(flags), skb->data + TCP_FLAGS_AT);
	end -= flags & TCPHDR_FIN;
	if (after(SKB_SEQ(skb), next) || !after(end, next))
		return; /* out of order itself, or nothing new */
	fifo_push(sk, st, end, skb->tstamp);
	st->filled_ns = skb->tstamp;
	last = BPF_CORE_READ(tp, ooo_last_skb);
	bpf_core_read(words, sizeof(words), &last->cb);
	st->fill_end = words[1];
	st->pick |= PICK_FILLED;
}

/*
 * Most connections never have any. Header prediction is on only where there are none
 * (tcp_fast_path_check()), and TCP reads pred_flags first itself.
 */
static __always_inline bool has_holes(struct tcp_sock *tp)
{
	return !tp->pred_flags && tp->rcv_ooopack && BPF_CORE_READ(tp, out_of_order_queue.rb_node);
}

/* tcp_probe: a packet for an established socket, before TCP looks at it. */
static __always_inline int pickup_probe(struct sock *sk, struct sk_buff *skb,
					struct sk_buff *newest, struct sock_state *st)
{
	struct tcp_sock *tp;
	bool holes;

	/* An acknowledgement alone merges with nothing. */
	if (stopped || SKB_SEQ(skb) == SKB_END(skb))
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	if (cfg.split && !cfg.data_ready)
		split_arrived(sk);
	holes = has_holes(tp);
	if (!sk->sk_receive_queue.qlen && !holes)
		return 0;
	st = pickup_state(sk, tp, st, false);
	if (!st)
		return 0;
	if (sk->sk_receive_queue.qlen)
		note_queue(sk, st, newest, 0);
	if (holes)
		note_filler(sk, st, tp, skb);
	return 0;
}

/* sk_data_ready: TCP has queued data, and wakes the reader next. */
static __always_inline int pickup_ready(struct sock *sk)
{
	bool seen = sk->__sk_common.skc_state == TCP_ESTABLISHED;
	struct sk_buff *newest;
	struct sock_state *st;
	struct tcp_sock *tp;
	__u64 stamp = 0;

	/* A listener calls this without its lock, for a new child. */
	if (stopped || sk->sk_protocol != IPPROTO_TCP || sk->__sk_common.skc_state == TCP_LISTEN)
		return 0;
	newest = sk->sk_receive_queue.prev;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || !sk->sk_receive_queue.qlen)
		return 0;
	/* Most hosts have no takers, and then each reader's first read has told. */
	if (seen && !cfg.split && !takers &&
	    tp->bytes_received > (__u32)(tp->rcv_nxt - tp->copied_seq))
		return 0;
	if (cfg.split)
		split_arrived(sk);
	st = pickup_state(sk, tp, NULL, false);
	if (!st || (seen && st->pick & PICK_LAZY))
		return 0;
	/* The newest segment may be one that waited behind a hole until now. */
	if (st->pick & PICK_HOLES || st->ooo != tp->rcv_ooopack)
		stamp = tp->tcp_clock_cache + real_offset;
	st->ooo = tp->rcv_ooopack;
	st->pick &= ~PICK_HOLES;
	if (has_holes(tp))
		st->pick |= PICK_HOLES;
	note_queue(sk, st, newest, stamp);
	return 0;
}

/*
 * Before a connection goes where tcp_probe does not see its packets, what is in
 * its queue is noted: data that came with the SYN (TCP Fast Open), or before
 * our FIN.
 */
static __noinline int pickup_state_change(struct sock *sk, struct sk_buff *newest, int oldstate,
					  int newstate)
{
	struct sock_state *st;
	struct tcp_sock *tp;

	if (!cfg.pickup || stopped || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (newstate == TCP_SYN_SENT) {
		/* The same socket, another connection. */
		st = bpf_sk_storage_get(&sockets, sk, NULL, 0);
		if (st)
			fifo_clear(sk, st);
		return 0;
	}
	if ((oldstate != TCP_SYN_RECV && oldstate != TCP_ESTABLISHED) || newstate == TCP_CLOSE ||
	    !sk->sk_receive_queue.qlen)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	st = tp ? pickup_state(sk, tp, NULL, false) : NULL;
	if (st)
		note_queue(sk, st, newest, 0);
	return 0;
}

#endif /* TCPLAT_BPF_ARRIVALS_H */
