/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connect measurement: from the first SYN to the end of the attempt, from
 * the state changes of the socket.
 */
#ifndef TCPLAT_BPF_CONNECT_H
#define TCPLAT_BPF_CONNECT_H

#include "emit.h"
#include "filter.h"
#include "hist.h"
#include "where.h"

/* The last filters, then a row or a count. */
static __always_inline void connect_deliver(struct tcplat_connect_event *c)
{
	struct tcplat_hist_key key;

	if (!tcplat_match_what(&cfg.filter, c->latency_ns, c->outcome))
		return;
	if (cfg.output == TCPLAT_OUT_ROWS) {
		emit(&c->ev, sizeof(*c), c->ev.time_ns);
		return;
	}
	hist_key_of(&key, &c->ev, c->outcome);
	hist_count(hist_find(&key), c->latency_ns, HIST_AMONG,
		   c->syn_retransmits > 0 ? c->syn_retransmits : 0);
}

/* A struct without padding, but every field is set by hand where it differs. */
static __always_inline void connect_event_init(struct tcplat_connect_event *c)
{
	__builtin_memset(c, 0, sizeof(*c));
	c->ev.kind = TCPLAT_KIND_CONNECT;
}

/*
 * The state-change hook is attached twice, because the kernel skips a program
 * that is already running on its CPU: when an interrupt meets the first copy,
 * the second still runs. Has copy 1 dealt with this very event? Copy 1 always
 * runs first, so a mark that copy 2 left cannot be of this event.
 */
static __always_inline bool handled(struct sock_state *st, int state, int copy)
{
	if (copy == 2 && st->mark == state && st->mark_by == 1)
		return true;
	st->mark = state;
	st->mark_by = copy;
	return false;
}

/* What the start hook knows of the calling task; NULL where nobody asks. */
static __always_inline struct task_state *caller(struct task_struct *task)
{
	struct task_state *ts;

	if (!cfg.calls && !cfg.filter.descendants)
		return NULL;
	ts = bpf_task_storage_get(&tasks, task, NULL, 0);
	if (ts && ts->call_ns)
		ts->started = 1;
	return ts;
}

static __always_inline void connect_start(struct sock *sk, int copy)
{
	struct task_struct *task = bpf_get_current_task_btf();
	char comm[TCPLAT_COMM_LEN];
	struct task_state *ts;
	struct sock_state *st;
	__u64 id;

	st = sock_state_of(sk);
	if (st && handled(st, TCP_SYN_SENT, copy))
		return;
	ts = caller(task);
	if (!st) {
		if (copy == 1) {
			bpf_get_current_comm(comm, sizeof(comm));
			count(TCPLAT_CNT_STATELESS);
			if (owner_wanted(task, ts, comm))
				count(TCPLAT_LOST_NO_STATE);
		}
		return;
	}
	if ((st->flags & (ST_PENDING | ST_WANTED)) == (ST_PENDING | ST_WANTED))
		count(TCPLAT_CNT_OVERWRITTEN);

	bpf_get_current_comm(st->comm, sizeof(st->comm));
	st->flags = ST_PENDING;
	if (!owner_wanted(task, ts, st->comm))
		return;
	st->flags |= ST_WANTED;
	id = bpf_get_current_pid_tgid();
	st->pid = id >> 32;
	st->tid = (__u32)id;
	st->cgroup_id = group_of_current();
	count(TCPLAT_CNT_STARTED);
	st->start_ns = bpf_ktime_get_ns();
}

static __always_inline __u32 syn_retransmits(struct tcp_sock *tp, int state)
{
	if (bpf_core_field_exists(tp->total_rto))
		return tp->total_rto;
	/* icsk_retransmits is reset before ESTABLISHED; total_retrans is not yet
	 * counted for the last attempt when a timeout closes the socket. */
	return state == TCP_CLOSE ? tp->inet_conn.icsk_retransmits : tp->total_retrans;
}

/* Time since the first SYN by the kernel's own note of it, in ms; ~0: none. */
static __always_inline __u64 since_syn_ms(struct tcp_sock *tp, __u64 now)
{
	if (!tp->retrans_stamp)
		return ~0ULL;
	if (bpf_core_field_exists(tp->tcp_usec_ts) &&
	    BPF_CORE_READ_BITFIELD_PROBED(tp, tcp_usec_ts))
		return (__u32)((__u32)(now / NSEC_PER_USEC) - tp->retrans_stamp) / 1000;
	return (__u32)((__u32)(now / NSEC_PER_MSEC) - tp->retrans_stamp);
}

/*
 * Latency counts from the first SYN, which leaves later than the state changes:
 * by the search for a local port, and by all of the program's idle time where
 * TCP_FASTOPEN_CONNECT defers the SYN to the first write. With one SYN sent,
 * tcp_wstamp_ns is when it left (__tcp_transmit_skb()), to the nanosecond; with
 * more, the note that retransmission keeps of the first one, to the millisecond.
 */
static __always_inline void count_from_syn(struct tcplat_connect_event *c, struct tcp_sock *tp,
					   __u64 start_ns, bool one_segment)
{
	__u64 syn_ns = tp->tcp_wstamp_ns, syn_ms;

	if (one_segment) {
		if (syn_ns > start_ns && syn_ns < c->ev.time_ns)
			c->latency_ns = c->ev.time_ns - syn_ns;
		return;
	}
	/* Worth using only beyond its grain. */
	syn_ms = since_syn_ms(tp, c->ev.time_ns);
	if (syn_ms != ~0ULL && c->latency_ns > (syn_ms + 2) * NSEC_PER_MSEC)
		c->latency_ns = syn_ms * NSEC_PER_MSEC;
}

static __always_inline __u8 outcome_of(int err)
{
	switch (err) {
	case ECONNREFUSED:
		return TCPLAT_REFUSED;
	case ECONNRESET:
		return TCPLAT_RESET;
	case ETIMEDOUT:
		return TCPLAT_TIMED_OUT;
	case EHOSTUNREACH:
		return TCPLAT_HOST_UNREACHABLE;
	case ENETUNREACH:
		return TCPLAT_NETWORK_UNREACHABLE;
	case ECONNABORTED:
		return TCPLAT_ABORTED;
	default:
		return TCPLAT_ERROR;
	}
}

/* Is current inside a connect() call that we saw begin? */
static __always_inline bool in_connect_call(void)
{
	struct task_state *ts;

	if (!cfg.calls)
		return false;
	ts = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, 0);
	return ts && ts->call_ns && ts->started;
}

static __always_inline void connect_failed(struct tcplat_connect_event *c, struct tcp_sock *tp,
					   __u64 start_ns, bool simultaneous)
{
	int err = tp->inet_conn.icsk_inet.sk.sk_err;

	c->error = err;
	c->outcome = err ? outcome_of(err) : TCPLAT_ABORTED;
	c->syn_retransmits = syn_retransmits(tp, TCP_CLOSE);
	if (!err && !tp->packets_out) {
		/* No SYN is in flight: either connect() gives up before it made one,
		 * which it does for want of a port, or a deferred Fast Open ends. */
		c->syn_retransmits = TCPLAT_RETRANS_NONE;
		if (!c->ev.lport || in_connect_call()) {
			c->outcome = TCPLAT_NO_LOCAL_PORT;
			c->error = EADDRNOTAVAIL;
		}
		return;
	}
	count_from_syn(c, tp, start_ns, !c->syn_retransmits && !simultaneous);
}

static __always_inline void connect_established(struct tcplat_connect_event *c, struct tcp_sock *tp,
						__u64 start_ns, bool simultaneous)
{
	c->outcome = TCPLAT_ESTABLISHED;
	c->syn_retransmits = syn_retransmits(tp, TCP_ESTABLISHED);
	/* The first sample is the handshake's own, unless it answers a later SYN. */
	if (!c->syn_retransmits && !simultaneous)
		c->handshake_rtt_us = tp->srtt_us >> 3;
	count_from_syn(c, tp, start_ns, !c->syn_retransmits && !simultaneous);
}

static __always_inline void who_of(struct tcplat_event *e, const struct sock_state *st)
{
	e->cgroup_id = st->cgroup_id;
	e->pid = st->pid;
	e->tid = st->tid;
	__builtin_memcpy(e->comm, st->comm, sizeof(e->comm));
}

/* The end of an attempt whose beginning no hook saw, or before our time. */
static __always_inline void connect_orphan(struct tcp_sock *tp, bool unseen)
{
	struct tcplat_connect_event c;

	/* What our command does begins after us. */
	if (unseen && cfg.filter.descendants)
		return;
	connect_event_init(&c);
	if (!where_of(&c.ev, tp) || !tcplat_match_where(&cfg.filter, &c.ev))
		return;
	count(unseen ? TCPLAT_CNT_UNSEEN_START : TCPLAT_CNT_ORPHANED);
}

static __always_inline void connect_end(struct sock *sk, int oldstate, int newstate, int copy)
{
	struct tcplat_connect_event c;
	struct sock_state *st;
	struct tcp_sock *tp;
	__u16 flags;

	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	st = bpf_sk_storage_get(&sockets, sk, NULL, 0);
	if (!st) {
		/* A SYN_RECV without state is a passive open: not ours. */
		if (copy == 1 && oldstate == TCP_SYN_SENT && newstate != TCP_SYN_RECV)
			connect_orphan(tp, !baseline_done);
		return;
	}
	if (handled(st, newstate, copy) || !(st->flags & ST_PENDING))
		return;
	if (newstate == TCP_SYN_RECV) {
		st->flags |= ST_SIMULT;
		return;
	}
	flags = st->flags;
	st->flags &= ~ST_OF_ATTEMPT;
	if (flags & ST_UNSEEN)
		connect_orphan(tp, true);
	if (!(flags & ST_WANTED))
		return;
	count(TCPLAT_CNT_ENDED);

	connect_event_init(&c);
	c.ev.time_ns = bpf_ktime_get_ns();
	c.latency_ns = c.ev.time_ns - st->start_ns;
	who_of(&c.ev, st);
	if (!where_of(&c.ev, tp) || !tcplat_match_where(&cfg.filter, &c.ev))
		return;
	if (newstate == TCP_ESTABLISHED)
		connect_established(&c, tp, st->start_ns, flags & ST_SIMULT);
	else /* CLOSE, or FIN_WAIT1: closed in the midst of a simultaneous open */
		connect_failed(&c, tp, st->start_ns, flags & ST_SIMULT);
	connect_deliver(&c);
}

/*
 * A socket that leaves ESTABLISHED with its attempt still pending: the kernel
 * called no copy of the hook when it was established. When that was, is not
 * known any more, so it makes no row; but it is counted.
 */
static __always_inline void connect_missed(struct sock *sk)
{
	struct sock_state *st = bpf_sk_storage_get(&sockets, sk, NULL, 0);
	struct tcplat_connect_event c;
	struct tcp_sock *tp;
	__u16 flags;

	if (!st || !(st->flags & ST_PENDING))
		return;
	flags = st->flags;
	st->flags &= ~ST_OF_ATTEMPT;
	if (!(flags & ST_WANTED))
		return;
	count(TCPLAT_CNT_ENDED);
	tp = bpf_skc_to_tcp_sock(sk);
	connect_event_init(&c);
	if (tp && where_of(&c.ev, tp) && tcplat_match_where(&cfg.filter, &c.ev))
		count(TCPLAT_LOST_REENTERED);
}

/* A function of its own, as those of the other measurements: they share a stack of 512 bytes. */
static __noinline int connect_state_change(struct sock *sk, int oldstate, int newstate, int copy)
{
	if (!cfg.connect || stopped || sk->sk_protocol != IPPROTO_TCP || oldstate == newstate)
		return 0;
	if (newstate == TCP_SYN_SENT)
		connect_start(sk, copy);
	else if (oldstate == TCP_SYN_SENT ||
		 (oldstate == TCP_SYN_RECV && BPF_CORE_READ(sk, sk_socket)))
		/* SYN_RECV without a socket: the child of a listener, not ours. */
		connect_end(sk, oldstate, newstate, copy);
	else if (oldstate == TCP_ESTABLISHED)
		connect_missed(sk);
	return 0;
}

#endif /* TCPLAT_BPF_CONNECT_H */
