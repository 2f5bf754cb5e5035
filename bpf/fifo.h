/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What has arrived and was not taken yet: one entry for each arrival, with the
 * sequence number behind its last byte and when it came. The first few are in
 * the socket's state, the others in a ring that only sockets have which ever
 * needed one. Under the socket lock, so nothing here is atomic.
 */
#ifndef TCPLAT_BPF_FIFO_H
#define TCPLAT_BPF_FIFO_H

#include "state.h"

/*
 * When: a receive stamp as the packet has it, CLOCK_REALTIME. Or, instead of
 * one, why there is none.
 */
enum {
	WHEN_BEFORE_US, /* not stamped: it was there when we began */
	WHEN_MISSED,	/* the hook was skipped */
	WHEN_UNTRUE,	/* no stamp that can be true */
	WHEN_REAL,
};

/* Bits of sock_state.pick */
enum {
	PICK_SETTLED = 1 << 0, /* the verdict is known and the FIFO has begun */
	PICK_WANTED = 1 << 1,  /* the filters on addresses let it through */
	PICK_DEEP = 1 << 2,    /* the ring has entries */
	PICK_HOLES = 1 << 3,   /* out-of-order data waited when sk_data_ready last told */
	PICK_FILLED = 1 << 4,  /* filled_ns and fill_end mean something */
	PICK_MINE = 1 << 5,    /* its last reader passed the filters */
	PICK_LAZY = 1 << 6,    /* segments are still queued while they are read */
	PICK_EAGER = 1 << 7,   /* once they were not, so that each must be noted */
};

/* No room: the newest entry takes the arrival in, and keeps its older time. */
static __always_inline void fifo_merge(__u32 *end, __u16 *segs, __u32 new_end)
{
	*end = new_end;
	if (*segs < 65535)
		(*segs)++;
	count(TCPLAT_LOST_FIFO_MERGED);
}

/*
 * An index as the verifier wants it: 64 bits, and its check not rearranged by
 * the compiler.
 */
#define INDEX(value)                 \
	({                           \
		__u64 at_ = (value); \
		barrier_var(at_);    \
		at_;                 \
	})

/* The newest entry of the ring, DEEP if there is none. */
static __always_inline __u64 fifo_newest(const struct fifo *f)
{
	__u32 at = f->n ? f->head + f->n - 1U : DEEP;

	return INDEX(at >= DEEP && f->n ? at - DEEP : at);
}

/* The newest entry in the state, NEAR or above if there is none. */
static __always_inline __u64 near_newest(const struct sock_state *st)
{
	return INDEX(st->near - 1U);
}

static __noinline int fifo_push_deep(struct sock *sk, struct sock_state *st, __u32 end, __u64 when)
{
	struct fifo *f = bpf_sk_storage_get(&fifos, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	__u64 at;

	if (!f) {
		/* No memory: its bytes go with the arrival before. */
		st->end[NEAR - 1] = end;
		count(TCPLAT_LOST_NO_STATE);
		return 0;
	}
	st->pick |= PICK_DEEP;
	if (f->n >= DEEP) {
		at = fifo_newest(f);
		if (at < DEEP)
			fifo_merge(&f->end[at], &f->segs[at], end);
		return 0;
	}
	at = f->head + f->n;
	at = INDEX(at >= DEEP ? at - DEEP : at);
	if (at < DEEP) {
		f->end[at] = end;
		f->when[at] = when;
		f->segs[at] = 1;
		f->n++;
	}
	return 0;
}

static __always_inline void fifo_push(struct sock *sk, struct sock_state *st, __u32 end, __u64 when)
{
	__u64 at = INDEX(st->near);

	st->last_end = end;
	if (at < NEAR && !(st->pick & PICK_DEEP)) {
		st->end[at] = end;
		st->when[at] = when;
		st->near = at + 1;
		return;
	}
	fifo_push_deep(sk, st, end, when);
}

/*
 * What was noted as arrived behind `end` TCP then did not take. The entry may
 * be left with no bytes, which makes no pickup.
 */
static __always_inline void fifo_trim(struct sock *sk, struct sock_state *st, __u32 end)
{
	struct fifo *f;
	__u64 at;

	st->last_end = end;
	if (st->pick & PICK_DEEP) {
		f = bpf_sk_storage_get(&fifos, sk, NULL, 0);
		at = f ? fifo_newest(f) : DEEP;
		if (f && at < DEEP && after(f->end[at], end))
			f->end[at] = end;
		return;
	}
	at = near_newest(st);
	if (at < NEAR && after(st->end[at], end))
		st->end[at] = end;
}

/* The socket is about to be used for another connection. */
static __always_inline void fifo_clear(struct sock *sk, struct sock_state *st)
{
	struct fifo *f = bpf_sk_storage_get(&fifos, sk, NULL, 0);

	if (f)
		f->head = f->n = 0;
	st->near = 0;
	st->pick = 0;
}

struct fifo_entry {
	__u64 when;
	__u32 end;
	__u32 segs;
};

/* The oldest entry, if the reader has taken all of it. */
static __always_inline bool fifo_pop(struct sock_state *st, struct fifo *f, __u32 copied,
				     struct fifo_entry *e)
{
	__u64 at;

	if (st->near) {
		if (after(st->end[0], copied))
			return false;
		*e = (struct fifo_entry){ st->when[0], st->end[0], 1 };
		st->near--;
		st->when[0] = st->when[1];
		st->end[0] = st->end[1];
		return true;
	}
	if (!f || !f->n)
		return false;
	at = INDEX(f->head);
	if (at >= DEEP || after(f->end[at], copied))
		return false;
	*e = (struct fifo_entry){ f->when[at], f->end[at], f->segs[at] };
	f->head = at + 1 < DEEP ? at + 1 : 0;
	if (!--f->n)
		st->pick &= ~PICK_DEEP;
	return true;
}

_Static_assert(NEAR == 2, "fifo_pop() moves each entry by hand");

#endif /* TCPLAT_BPF_FIFO_H */
