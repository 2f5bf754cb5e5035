/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The round-trip measurement: the samples that the kernel takes itself, each
 * counted once.
 *
 * A sample is made while an acknowledgement is processed, which is after
 * tcp_probe; so every hook looks for what the packets before it have left in the
 * socket. With SACK that is rack.rtt_us, of the newest segment that was
 * acknowledged (tcp_rack_advance()); without, it is what the estimator was fed
 * with, which follows from two values of srtt_us (tcp_rtt_estimator()). A segment
 * that was sent more than once gives none (Karn's algorithm, RFC 6298 section 3).
 */
#ifndef TCPLAT_BPF_RTT_H
#define TCPLAT_BPF_RTT_H

#include "emit.h"
#include "filter.h"
#include "hist.h"
#include "owner.h"
#include "where.h"

#define NO_SAMPLE (~0U)

static __always_inline void rtt_event_of(struct tcplat_event *e, const struct sock_state *st,
					 struct tcp_sock *tp)
{
	e->kind = TCPLAT_KIND_RTT;
	where_of(e, tp);
	if (!cfg.owners)
		return;
	e->cgroup_id = st->cgroup_id;
	e->pid = st->pid;
	e->tid = st->tid;
	__builtin_memcpy(e->comm, st->comm, sizeof(e->comm));
}

static __noinline __u32 rtt_slot(struct tcp_sock *tp, struct sock_state *st)
{
	struct tcplat_event e = {};
	struct tcplat_hist_key key;
	__u32 slot;

	rtt_event_of(&e, st, tp);
	hist_key_of(&key, &e, 0);
	slot = hist_find(&key);
	st->rtt_slot = slot;
	return slot;
}

/*
 * When the sample was taken: its segment's departure, and the sample later. An
 * older segment than rack's gives the time at which anything was acknowledged,
 * unless the next one to leave has overwritten that (tcp_rate_skb_sent()).
 */
static __always_inline __u64 rtt_taken_ns(struct tcp_sock *tp, __u64 now)
{
	__u64 us = tp->rack.mstamp + tp->rack.rtt_us, at = tp->delivered_mstamp;

	if (us != at && at != tp->first_tx_mstamp)
		us = at;
	return us && us * NSEC_PER_USEC < now ? us * NSEC_PER_USEC : now;
}

/* tcp_probe comes before each packet of an established connection, and so before its sample. */
static __always_inline __u64 rtt_time(struct tcp_sock *tp, const struct sock_state *st,
				      bool handshake, __u64 now)
{
	if (handshake)
		return st->held_ns ?: now;
	if (st->packet_ns && tp->inet_conn.icsk_inet.sk.__sk_common.skc_state == TCP_ESTABLISHED)
		return st->packet_ns;
	return rtt_taken_ns(tp, now);
}

static __noinline int rtt_row(struct tcp_sock *tp, struct sock_state *st, __u64 ns, bool handshake)
{
	__u64 now = bpf_ktime_get_ns();
	struct tcplat_rtt_event r = {};

	rtt_event_of(&r.ev, st, tp);
	r.ev.time_ns = rtt_time(tp, st, handshake, now);
	r.latency_ns = ns;
	r.srtt_us = tp->srtt_us >> 3;
	r.min_rtt_us = tp->rtt_min.s[0].v;
	emit(&r.ev, sizeof(r), now);
	return 0;
}

static __always_inline void rtt_deliver(struct tcp_sock *tp, struct sock_state *st, __u32 us,
					enum hist_how how, bool handshake)
{
	__u64 ns = us * NSEC_PER_USEC;

	if ((owner_filtered() && !(st->flags & ST_MINE)) ||
	    !tcplat_match_what(&cfg.filter, ns, ~0U))
		return;
	if (cfg.output == TCPLAT_OUT_ROWS)
		rtt_row(tp, st, ns, handshake);
	else
		hist_count(st->rtt_slot ?: rtt_slot(tp, st), ns, how, 0);
}

/* An accepted connection's handshake waits for the one who reads from it. */
static __always_inline void rtt_release(struct tcp_sock *tp, struct sock_state *st)
{
	if (!(st->flags & ST_HELD))
		return;
	st->flags &= ~ST_HELD;
	rtt_deliver(tp, st, st->last_us, HIST_BESIDE, true);
}

/* What of a sample is asked for. */
static __always_inline void rtt_sample(struct tcp_sock *tp, struct sock_state *st, __u32 us,
				       enum hist_how how, bool handshake)
{
	__u32 last = st->last_us, value = us;

	switch (cfg.rtt_value) {
	case TCPLAT_VALUE_SRTT:
		value = tp->srtt_us >> 3;
		break;
	case TCPLAT_VALUE_MIN_RTT:
		value = tp->rtt_min.s[0].v;
		break;
	case TCPLAT_VALUE_JITTER:
		st->last_us = us;
		if (!(st->flags & ST_LAST)) {
			st->flags |= ST_LAST;
			return;
		}
		value = us > last ? us - last : last - us;
		break;
	}
	rtt_deliver(tp, st, value, how, handshake);
}

/* What a sample is told from, read at one moment. */
struct rtt_marks {
	__u32 end; /* rack.end_seq; without SACK, snd_una */
	__u32 us;  /* rack.rtt_us; without SACK, srtt_us */
};

static __always_inline struct rtt_marks rtt_marks(struct tcp_sock *tp, const struct sock_state *st)
{
	struct rtt_marks m;

	m.end = st->flags & ST_SACK ? tp->rack.end_seq : tp->snd_una;
	m.us = st->flags & ST_SACK ? tp->rack.rtt_us : tp->srtt_us;
	return m;
}

/* With SACK: of the newest segment that was acknowledged, as the kernel has it. */
static __always_inline __u32 rtt_by_rack(struct tcp_sock *tp, struct sock_state *st,
					 struct rtt_marks m)
{
	bool moved = m.end != st->seen_end, changed = m.us != st->seen_us;
	bool certain;

	st->seen_end = m.end;
	st->seen_us = m.us;
	if (!(st->flags & ST_RETRANS))
		return moved || changed ? m.us : NO_SAMPLE;
	/* The segment was sent once, and it is the one that the time is of. */
	certain = moved && after(m.end, st->retrans_end) &&
		  tp->rack.mstamp + m.us == tp->delivered_mstamp;
	if (!after(st->retrans_end, tp->snd_una))
		st->flags &= ~ST_RETRANS;
	return certain ? m.us : NO_SAMPLE;
}

/* Without: srtt' = srtt + (m - srtt / 8), all of them times eight but m. */
static __always_inline __u32 rtt_by_srtt(struct tcp_sock *tp, struct sock_state *st,
					 struct rtt_marks m, __u32 packets)
{
	__u32 before = st->seen_us, us = m.us - before + (before >> 3);

	if (m.end == st->seen_end)
		return NO_SAMPLE;
	st->seen_end = m.end;
	st->seen_us = m.us;
	if (st->flags & ST_RETRANS) {
		if (!after(st->retrans_end, m.end))
			st->flags &= ~ST_RETRANS;
		return NO_SAMPLE;
	}
	/* Several may have been taken where no hook sees each packet. */
	if (packets > 1 && tp->inet_conn.icsk_inet.sk.__sk_common.skc_state != TCP_ESTABLISHED)
		return NO_SAMPLE;
	if (!before)
		return m.us >> 3;
	return (__s32)us < 0 ? NO_SAMPLE : us;
}

/* The receiver's estimate has moved, or has been confirmed for a window. */
static __always_inline void rtt_look_receiver(struct tcp_sock *tp, struct sock_state *st,
					      enum hist_how how)
{
	__u32 us = tp->rcv_rtt_est.rtt_us, seq = tp->rcv_rtt_est.seq, seen = st->seen_us;

	if (us == seen && seq == st->seen_end)
		return;
	if (__sync_val_compare_and_swap(&st->seen_us, seen, us) != seen)
		return;
	st->seen_end = seq;
	if (us)
		rtt_deliver(tp, st, us >> 3, how, false);
}

/*
 * Whoever first notes what was delivered has the sample. While nobody else looks, a
 * plain store does: a locked one waits for every store that TCP has under way, which
 * between two CPUs takes 40 ns.
 */
static __always_inline bool rtt_claim(struct sock_state *st, __u32 seen, __u32 delivered)
{
	if (collecting)
		return __sync_val_compare_and_swap(&st->seen_delivered, seen, delivered) == seen;
	st->seen_delivered = delivered;
	return true;
}

/*
 * Has something been sent again that no hook told of? Now and then the kernel calls
 * none (seen on 6.18; before 6.17, where sending failed). by: segments known of.
 */
static __always_inline bool rtt_sent_unseen(struct tcp_sock *tp, const struct sock_state *st,
					    __u32 by)
{
	return (__u8)(tp->total_retrans - by) != st->retrans_seen;
}

/* It may have been anything that is under way. */
static __always_inline void rtt_doubt(struct tcp_sock *tp, struct sock_state *st)
{
	count(TCPLAT_LOST_REENTERED);
	st->flags |= ST_RETRANS;
	st->retrans_end = tp->snd_nxt;
	st->retrans_seen = tp->total_retrans;
}

/*
 * Has a packet before this moment left a sample? racing: packets may come in the
 * meantime, for this is not under the socket's lock; what is read has to be of one
 * moment.
 */
static __always_inline void rtt_look(struct tcp_sock *tp, struct sock_state *st, enum hist_how how,
				     bool racing)
{
	__u32 delivered = tp->delivered, seen = st->seen_delivered, us;
	struct rtt_marks m;

	if (cfg.rtt_value == TCPLAT_VALUE_RECEIVER) {
		rtt_look_receiver(tp, st, how);
		return;
	}
	if (delivered == seen)
		return;
	if (rtt_sent_unseen(tp, st, 0)) {
		if (racing && !stopped)
			return;
		rtt_doubt(tp, st);
	}
	m = rtt_marks(tp, st);
	if (racing && *(volatile __u32 *)&tp->delivered != delivered)
		return;
	if (!rtt_claim(st, seen, delivered))
		return;
	us = st->flags & ST_SACK ? rtt_by_rack(tp, st, m) :
				   rtt_by_srtt(tp, st, m, delivered - seen);
	if (us == NO_SAMPLE)
		return;
	if (cfg.owners)
		rtt_release(tp, st);
	rtt_sample(tp, st, us, how, false);
}

/* What the socket holds now is not ours to count, or has been counted. */
static __always_inline void rtt_mark(struct tcp_sock *tp, struct sock_state *st)
{
	bool sack = BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.sack_ok);
	struct rtt_marks m;

	st->seen_delivered = tp->delivered;
	st->retrans_seen = tp->total_retrans;
	if (cfg.rtt_value == TCPLAT_VALUE_RECEIVER) {
		st->seen_end = tp->rcv_rtt_est.seq;
		st->seen_us = tp->rcv_rtt_est.rtt_us;
		return;
	}
	if (sack)
		st->flags |= ST_SACK;
	m = rtt_marks(tp, st);
	st->seen_end = m.end;
	st->seen_us = m.us;
}

/* The first look at a connection: where it leads, and from when on it is ours. */
static __noinline int rtt_settle(struct tcp_sock *tp, struct sock_state *st)
{
	struct tcplat_event e = {};

	st->flags &= ST_OF_OWNER | ST_OF_ATTEMPT;
	st->flags |= ST_SETTLED;
	st->rtt_slot = 0;
	if (cfg.output == TCPLAT_OUT_ROWS)
		st->packet_ns = st->held_ns = 0;
	if (where_of(&e, tp) && tcplat_match_where(&cfg.filter, &e))
		st->flags |= ST_RTT;
	rtt_mark(tp, st);
	/* What is under way may have been sent again before our time. */
	if (tp->total_retrans && after(tp->snd_nxt, tp->snd_una)) {
		st->retrans_end = tp->snd_nxt;
		st->flags |= ST_RETRANS;
	}
	return 0;
}

/* NULL without memory for it. */
static __always_inline struct sock_state *rtt_state(struct sock *sk, struct tcp_sock *tp)
{
	struct sock_state *st = sock_state_of(sk);

	if (!st)
		count(TCPLAT_LOST_NO_STATE);
	else if (!(st->flags & ST_SETTLED))
		rtt_settle(tp, st);
	return st;
}

/* tcp_probe: a packet, before TCP looks at it. Returns the state, for others. */
static __always_inline struct sock_state *rtt_packet(struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct sock_state *st;

	if (stopped || !tp)
		return NULL;
	st = rtt_state(sk, tp);
	if (st && st->flags & ST_RTT)
		rtt_look(tp, st, HIST_ALONE, false);
	if (st && cfg.output == TCPLAT_OUT_ROWS)
		st->packet_ns = bpf_ktime_get_ns();
	return st;
}

/* srtt_us is the handshake's own sample, unless it answers a later SYN or SYN-ACK. */
static __always_inline void rtt_established(struct tcp_sock *tp, struct sock_state *st)
{
	__u32 srtt = tp->srtt_us;

	/* By the other copy of the hook. */
	if (st->flags & ST_BEGUN)
		return;
	rtt_settle(tp, st);
	st->flags |= ST_BEGUN;
	if (cfg.rtt_value == TCPLAT_VALUE_RECEIVER || !(st->flags & ST_RTT) || !srtt ||
	    tp->total_retrans)
		return;
	if (cfg.owners && !(st->flags & ST_FINAL) && cfg.rtt_value != TCPLAT_VALUE_JITTER) {
		st->last_us = srtt >> 3;
		if (cfg.output == TCPLAT_OUT_ROWS)
			st->held_ns = bpf_ktime_get_ns();
		st->flags |= ST_HELD;
		return;
	}
	rtt_sample(tp, st, srtt >> 3, HIST_BESIDE, true);
}

static __noinline int rtt_state_change(struct sock *sk, int oldstate, int newstate)
{
	bool begins = newstate == TCP_SYN_SENT || newstate == TCP_LISTEN;
	struct sock_state *st;
	struct tcp_sock *tp;

	if (!cfg.rtt || stopped || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	if (begins && !cfg.owners)
		return 0;
	if (begins || newstate == TCP_ESTABLISHED) {
		st = sock_state_of(sk);
		if (!st)
			count(TCPLAT_LOST_NO_STATE);
	} else {
		st = bpf_sk_storage_get(&sockets, sk, NULL, 0);
	}
	if (!st)
		return 0;
	if (begins) {
		st->flags &= ST_OF_ATTEMPT;
		owner_note(st);
		if (newstate == TCP_SYN_SENT)
			st->flags |= ST_FINAL;
	} else if (newstate == TCP_ESTABLISHED) {
		rtt_established(tp, st);
	} else if (st->flags & ST_RTT && oldstate != TCP_SYN_SENT) {
		rtt_look(tp, st, HIST_BESIDE, false);
		if (newstate == TCP_CLOSE && cfg.owners)
			rtt_release(tp, st);
	}
	if (newstate == TCP_CLOSE)
		st->flags &= ~ST_BEGUN;
	return 0;
}

/*
 * tcp_retransmit_skb: from here on, samples up to its end are in doubt; for the kernel
 * also if it failed (__tcp_retransmit_skb() marks it all the same).
 */
static __always_inline int rtt_retransmitted(struct sock *sk, struct sk_buff *skb, bool failed)
{
	__u32 end = SKB_END(skb), segs = SKB_SEGS(skb) ?: 1, slot;
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct sock_state *st;
	bool known; /* what was sent again before */

	if (stopped || !tp)
		return 0;
	st = bpf_sk_storage_get(&sockets, sk, NULL, 0);
	known = st && st->flags & ST_SETTLED;
	st = rtt_state(sk, tp);
	if (!st || !(st->flags & ST_RTT))
		return 0;
	if (!failed && known && rtt_sent_unseen(tp, st, segs))
		rtt_doubt(tp, st);
	st->retrans_seen = tp->total_retrans;
	rtt_look(tp, st, HIST_BESIDE, false);
	if (!(st->flags & ST_RETRANS) || after(end, st->retrans_end))
		st->retrans_end = end;
	st->flags |= ST_RETRANS;
	if (failed || cfg.output != TCPLAT_OUT_HIST || (owner_filtered() && !(st->flags & ST_MINE)))
		return 0;
	slot = st->rtt_slot ?: rtt_slot(tp, st);
	hist_retransmitted(slot, segs);
	return 0;
}

/* tcp_rcv_space_adjust: the first one to read from an accepted connection has it. */
static __noinline struct sock_state *rtt_reader(struct sock *sk)
{
	struct sock_state *st = sock_state_of(sk);
	struct tcp_sock *tp;

	/* The kernel itself may read, in an interrupt: current is anybody. */
	if (stopped || !st || st->read || !sk->sk_lock.owned)
		return st;
	st->read = 1;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || st->flags & ST_FINAL)
		return st;
	owner_note(st);
	st->flags |= ST_FINAL;
	st->rtt_slot = 0;
	rtt_release(tp, st);
	return st;
}

/* At the end of an interval and of the run: samples that no packet has come after. */
static __always_inline int rtt_collect(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock_state *st;
	struct sock *sk = ctx->sk;
	struct tcp_sock *tp;

	if (!sk || !ctx->value)
		return 0;
	sockets_seen++;
	tp = bpf_skc_to_tcp_sock(sk);
	st = tp ? bpf_sk_storage_get(&sockets, sk, NULL, 0) : NULL;
	if (!st || !(st->flags & ST_RTT))
		return 0;
	/* A packet may be looked at on another CPU: its flags are not ours to change. */
	if (!stopped && (st->flags & (ST_RETRANS | ST_HELD) ||
			 (cfg.rtt_value == TCPLAT_VALUE_JITTER && !(st->flags & ST_LAST))))
		return 0;
	rtt_look(tp, st, HIST_BESIDE, true);
	if (stopped && cfg.owners)
		rtt_release(tp, st);
	return 0;
}

#endif /* TCPLAT_BPF_RTT_H */
