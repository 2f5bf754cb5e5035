/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pickup measurement: from the arrival of data to the read that takes its
 * last byte. Here are the reads; the arrivals are in arrivals.h.
 */
#ifndef TCPLAT_BPF_PICKUP_H
#define TCPLAT_BPF_PICKUP_H

#include "arrivals.h"
#include "emit.h"
#include "filter.h"
#include "hist.h"
#include "stamp.h"

/*
 * One read: what is said of it. Not on the stack, where the verifier would follow
 * each value on each way; a program does not run twice at a time on a CPU.
 */
struct pickup_said {
	struct tcplat_pickup_event p;
	__u32 copied;
	__u32 slot; /* of the histogram, plus one; 0: there is none */
	bool mine;  /* the reader passed the filters */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pickup_said);
} reads SEC(".maps");

/* And what the verifier has to know of. */
struct pickup_read {
	struct pickup_said *said;
	struct sock_state *st;
	struct fifo *f;
	struct sock *sk;
	struct sk_buff *first; /* of the receive queue, if that holds any */
	struct task_state *ts;
};

static __always_inline void pickup_parts(struct tcplat_pickup_event *p)
{
	__u64 parts[] = { 0, p->wake_ns, p->runq_ns, p->latency_ns - p->wake_ns - p->runq_ns };
	struct tcplat_hist_key key;

	hist_key_of(&key, &p->ev, 0);
	for (int i = TCPLAT_PART_WAKE; i < TCPLAT_NR_PARTS; i++) {
		__u32 slot;

		key.part = i;
		slot = hist_find(&key);
		/* One that has no room is counted once, as a whole. */
		if (slot)
			hist_count(slot, parts[i], HIST_ALONE, 0);
	}
}

static __always_inline void pickup_deliver(struct pickup_read *x)
{
	struct tcplat_pickup_event *p = &x->said->p;

	if (!tcplat_match_what(&cfg.filter, p->latency_ns, ~0U))
		return;
	if (cfg.output == TCPLAT_OUT_ROWS) {
		emit(&p->ev, cfg.split ? sizeof(*p) : TCPLAT_PICKUP_PLAIN, p->ev.time_ns);
		return;
	}
	hist_count(x->said->slot, p->latency_ns, HIST_ALONE, p->bytes);
	if (cfg.split)
		pickup_parts(p);
}

/* The task that reads, as far as somebody wants to know; is it one we want? */
static __always_inline bool pickup_reader(struct pickup_read *x)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct tcplat_event *e = &x->said->p.ev;
	__u64 id = bpf_get_current_pid_tgid();

	if (!x->sk->sk_lock.owned) {
		/* The kernel itself reads, in an interrupt: current is anybody. */
		e->pid = e->tid = 0;
		e->cgroup_id = 0;
		__builtin_memset(e->comm, 0, sizeof(e->comm));
		__builtin_memcpy(e->comm, "softirq", 8);
		return !owner_filtered();
	}
	e->pid = id >> 32;
	e->tid = (__u32)id;
	/* A worker of io_uring has a name of its own. */
	if (cfg.output == TCPLAT_OUT_ROWS || cfg.filter.n_comms || cfg.by & TCPLAT_KEY_COMM)
		comm_of(e->comm, task);
	if (task->flags & PF_IO_WORKER)
		BPF_CORE_READ_INTO(&e->comm, task, group_leader, comm);
	if (cfg.output == TCPLAT_OUT_ROWS || cfg.by & TCPLAT_KEY_CGROUP)
		e->cgroup_id = group_of_current();
	if (cfg.split || cfg.filter.descendants)
		x->ts = bpf_task_storage_get(&tasks, task, NULL, 0);
	return owner_wanted(task, x->ts, e->comm);
}

#define KEYS_OF_READER (TCPLAT_KEY_PID | TCPLAT_KEY_CGROUP | TCPLAT_KEY_COMM)

static __always_inline bool same_reader(const struct tcplat_hist_key *k,
					const struct tcplat_event *e)
{
	if (cfg.by & TCPLAT_KEY_PID && k->pid != e->pid)
		return false;
	if (cfg.by & TCPLAT_KEY_CGROUP && k->cgroup_id != e->cgroup_id)
		return false;
	return !(cfg.by & TCPLAT_KEY_COMM) || (*(__u64 *)k->comm == *(__u64 *)e->comm &&
					       *(__u64 *)(k->comm + 8) == *(__u64 *)(e->comm + 8));
}

/*
 * The socket remembers its slot: what is left to check is who reads. Not inline:
 * with its key on the caller's stack, what follows there would have too little.
 */
static __noinline __u32 pickup_slot(struct pickup_read *x, struct tcp_sock *tp)
{
	struct sock_state *st = x->st;
	struct tcplat_hist_slot *s;
	struct tcplat_hist_key key;
	__u32 slot;

	/* Once: it may be taken from us in between, see sweep.h. */
	slot = *(volatile __u32 *)&st->slot;
	if (slot && !(cfg.by & KEYS_OF_READER))
		return slot;
	if (slot) {
		s = hist_at(slot - 1);
		if (s && same_reader(&s->key, &x->said->p.ev))
			return slot;
	}
	if (!ends_of(&x->said->p.ev, tp))
		return 0;
	x->said->p.ev.netns = st->netns;
	hist_key_of(&key, &x->said->p.ev, 0);
	slot = hist_find(&key);
	st->slot = slot;
	return slot;
}

/* Taken out of the queue, stamp and all. */
static __always_inline void pickup_gone(struct pickup_read *x, struct fifo_entry *e)
{
	e->end = x->said->copied;
	e->when = WHEN_UNTRUE;
}

/* What became readable as a hole was filled ends with the queue, at the latest. */
static __noinline int pickup_filled(struct pickup_read *x, struct fifo_entry *e)
{
	struct sock *sk = x->sk;
	struct sk_buff *last = BPF_CORE_READ(sk, sk_receive_queue.prev);
	__u32 seq = 0, end;

	bpf_core_read(&seq, sizeof(seq), &last->cb);
	end = filled_end(x->st, seq + BPF_CORE_READ(last, len));
	if (after(end, x->st->last_end)) {
		e->end = end;
		e->when = x->st->filled_ns;
	}
	return 0;
}

/* tcp_read_sock() takes the FIN, too: a number, and no data. */
static __always_inline bool only_fin(const struct pickup_read *x)
{
	const __u32 ended = 1U << TCP_TIME_WAIT | 1U << TCP_CLOSE | 1U << TCP_CLOSE_WAIT |
			    1U << TCP_LAST_ACK | 1U << TCP_CLOSING;

	return x->said->copied - x->st->last_end == 1 &&
	       ended >> (x->sk->__sk_common.skc_state & 31) & 1;
}

static __always_inline bool still_filling(const struct sock_state *st)
{
	return st->pick & PICK_FILLED && after(st->fill_end, st->last_end);
}

/*
 * What was taken and never noted: the segment being read, which is still in the
 * queue. False if not all of it was taken.
 */
static __always_inline bool pickup_unnoted(struct pickup_read *x, struct fifo_entry *e)
{
	struct sk_buff *first = x->first;
	struct sock_state *st = x->st;

	e->segs = 1;
	if (!after(x->said->copied, st->last_end))
		return false;
	if (!x->sk->sk_receive_queue.qlen && only_fin(x))
		return false;
	/* What a filler brought may be several segments, of which some are read. */
	if (!x->sk->sk_receive_queue.qlen ||
	    (after(SKB_SEQ(first), st->last_end) && !still_filling(st))) {
		pickup_gone(x, e);
		return true;
	}
	e->when = first->tstamp;
	e->end = SKB_DATA_END(first);
	if (st->pick & PICK_FILLED)
		pickup_filled(x, e);
	return !after(e->end, x->said->copied);
}

/* The next arrival that was taken; 1 when there is none. */
static long pickup_next(__u32 i, struct pickup_read *x)
{
	struct tcplat_pickup_event *p = &x->said->p;
	struct sock_state *st = x->st;
	struct fifo_entry e = {};
	struct split s;

	(void)i;
	if (st->near || st->pick & PICK_DEEP) {
		if (!fifo_pop(st, x->f, x->said->copied, &e))
			return 1;
	} else {
		if (!pickup_unnoted(x, &e))
			return 1;
		st->last_end = e.end;
	}
	p->bytes = e.end - st->taken;
	st->taken = e.end;
	if (!p->bytes || !x->said->mine)
		return 0;
	e.when = arrival(e.when, p->ev.time_ns);
	if (e.when < WHEN_REAL) {
		count(e.when == WHEN_BEFORE_US ? TCPLAT_CNT_UNSEEN_START :
		      e.when == WHEN_MISSED    ? TCPLAT_LOST_REENTERED :
						 TCPLAT_LOST_CLOCK);
		return 0;
	}
	p->latency_ns = p->ev.time_ns - e.when;
	p->segments = e.segs;
	if (cfg.split) {
		split_of(&s, x->sk, x->ts, e.when, p->ev.time_ns);
		p->wake_ns = s.wake_ns;
		p->runq_ns = s.runq_ns;
	}
	pickup_deliver(x);
	return 0;
}

/* Has anything been taken as a whole? Cheap: reads in parts, and peeks, come here too. */
static __always_inline bool pickup_any(struct pickup_read *x)
{
	struct sk_buff *first = x->first;
	struct sock_state *st = x->st;

	if (st->near)
		return !after(st->end[0], x->said->copied);
	if (st->pick & (PICK_DEEP | PICK_FILLED))
		return true;
	if (!after(x->said->copied, st->last_end))
		return false;
	return !x->sk->sk_receive_queue.qlen || !after(SKB_DATA_END(first), x->said->copied) ||
	       after(SKB_SEQ(first), st->last_end);
}

/*
 * Has all of the first segment been read, and it is in the queue yet? One of
 * which a part is left would be there for any reader.
 */
static __always_inline bool still_queued(struct pickup_read *x)
{
	struct sk_buff *first = x->first;

	return x->sk->sk_receive_queue.qlen && after(x->said->copied, SKB_SEQ(first)) &&
	       !after(SKB_DATA_END(first), x->said->copied);
}

/* What kind of a reader it is decides how arrivals are noted from now on. */
static __always_inline void pickup_style(struct pickup_read *x)
{
	struct sock_state *st = x->st;

	if (!(st->pick & PICK_EAGER) &&
	    (!x->sk->sk_receive_queue.qlen || !after(x->said->copied, SKB_SEQ(x->first)))) {
		takers = 1;
		st->pick |= PICK_EAGER;
		st->pick &= ~PICK_LAZY;
	} else if (!(st->pick & (PICK_LAZY | PICK_EAGER)) && still_queued(x)) {
		st->pick |= PICK_LAZY;
	}
}

/* tcp_rcv_space_adjust: a reader has moved copied_seq, or has only peeked. */
static __noinline int pickup_taken(struct sock *sk, struct sk_buff *first, struct sock_state *st)
{
	struct pickup_read x = { .sk = sk, .first = first };
	struct pickup_said *said;
	__u32 zero = 0, taken;
	struct tcp_sock *tp;

	if (stopped || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	x.st = pickup_state(sk, tp, st, true);
	if (!x.st)
		return 0;
	x.said = said = bpf_map_lookup_elem(&reads, &zero);
	if (!said)
		return 0;
	said->copied = tp->copied_seq;
	if (!pickup_any(&x))
		return 0;
	said->p.ev.kind = TCPLAT_KIND_PICKUP;
	said->p.ev.split = cfg.split;
	said->p.ev.time_ns = bpf_ktime_get_ns();
	said->mine = pickup_reader(&x);
	if (said->mine && !(x.st->pick & PICK_MINE))
		x.st->pick |= PICK_MINE;
	if (!said->mine && x.st->pick & PICK_MINE)
		x.st->pick &= ~PICK_MINE;
	if (said->mine && cfg.output == TCPLAT_OUT_HIST)
		said->slot = pickup_slot(&x, tp);
	if (said->mine && (cfg.output == TCPLAT_OUT_ROWS || cfg.split)) {
		ends_of(&said->p.ev, tp);
		said->p.ev.netns = x.st->netns;
	}
	taken = x.st->taken;
	if (x.st->pick & PICK_DEEP)
		x.f = bpf_sk_storage_get(&fifos, sk, NULL, 0);
	bpf_loop(NEAR + DEEP + 3, pickup_next, &x, 0);
	if (x.st->taken != taken)
		pickup_style(&x);
	return 0;
}

/* At the end: arrivals that nobody has taken. */
static __always_inline void pickup_waiting(struct sock *sk, struct sock_state *st)
{
	struct sk_buff *newest;
	__u32 waiting, end = 0;
	struct fifo *f;

	if (!(st->pick & PICK_WANTED) || (owner_filtered() && !(st->pick & PICK_MINE)))
		return;
	f = bpf_sk_storage_get(&fifos, sk, NULL, 0);
	waiting = st->near + (f ? f->n : 0);
	if (sk->sk_receive_queue.qlen) {
		newest = BPF_CORE_READ(sk, sk_receive_queue.prev);
		bpf_core_read(&end, sizeof(end), &newest->cb);
		waiting += after(end + BPF_CORE_READ(newest, len), st->last_end);
	}
	__sync_fetch_and_add(&counters[TCPLAT_CNT_STILL_OPEN], waiting);
}

#endif /* TCPLAT_BPF_PICKUP_H */
