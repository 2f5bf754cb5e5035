/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Maps and per-socket, per-task state. */
#ifndef TCPLAT_BPF_STATE_H
#define TCPLAT_BPF_STATE_H

#include "kernel.h"
#include "tcplat/config.h"

/* Written by user space before loading, frozen afterwards. */
const volatile struct tcplat_config cfg SEC(".rodata");

/*
 * Shared counters with atomic adds: per-CPU arrays cost more per increment
 * here, and only rare paths and the ends of attempts count.
 */
__u64 counters[TCPLAT_NR_COUNTERS];

/* User space's switches: hooks ignore everything once stopped. */
__u32 stopped;
__u32 baseline_done;	  /* sockets older than us have been marked */
__u32 hist_epoch;	  /* which half of the extremes is written */
__u32 hist_used;	  /* slots ever handed out */
__u64 real_offset;	  /* CLOCK_REALTIME less CLOCK_MONOTONIC, ns */
__u64 tai_offset;	  /* CLOCK_TAI less CLOCK_REALTIME, ns */
__u64 real_offset_before; /* before somebody set the clock, and when that was */
__u64 clock_set_ns;
__u64 clock_checked_ns; /* the clock had not been set yet */
/* There are readers that take segments out of the queue before they tell. */
__u32 takers;
/* A pass over the sockets looks at them too, beside the packets. */
__u32 collecting;
__u64 sockets_seen; /* by these passes */

static __always_inline void count(enum tcplat_counter c)
{
	__sync_fetch_and_add(&counters[c], 1);
}

/* sock_state.flags */
enum {
	/* connect */
	ST_PENDING = 1 << 0, /* an attempt is under way */
	ST_WANTED = 1 << 1,  /* its owner passed the filters */
	ST_UNSEEN = 1 << 2,  /* it began before tracing */
	ST_SIMULT = 1 << 3,  /* it went through SYN_RECV: simultaneous open */
	ST_OF_ATTEMPT = ST_PENDING | ST_WANTED | ST_UNSEEN | ST_SIMULT,
	/* owner.h */
	ST_OWNED = 1 << 4, /* pid, tid, comm and cgroup_id say whose it is */
	ST_FINAL = 1 << 5, /* and will go on to do so */
	ST_MINE = 1 << 6,  /* the owner passed the filters */
	ST_OF_OWNER = ST_OWNED | ST_FINAL | ST_MINE,
	/* rtt */
	ST_SETTLED = 1 << 7, /* what follows is known */
	ST_RTT = 1 << 8,     /* the filters on addresses let it through */
	ST_SACK = 1 << 9,
	ST_RETRANS = 1 << 10, /* what is below retrans_end may have been sent again */
	ST_HELD = 1 << 11,    /* last_us is the handshake's, and waits for the owner */
	ST_LAST = 1 << 12,    /* last_us is the sample before */
	ST_BEGUN = 1 << 13,   /* its handshake has been seen to end */
};

/* Arrivals that a socket's own state holds; more wait in its deep FIFO. */
#define NEAR 2

/*
 * For every socket that we look at; lives and dies with it. Packets and reads are
 * often on different CPUs, which then pass a cache line to and fro if both write
 * it: what packets look at comes first, and what reads do is in another line (the
 * kernel puts a value 8 bytes into one).
 */
struct sock_state {
	__u16 flags;
	__u8 mark;	/* the state that was last entered, as seen by a hook */
	__u8 mark_by;	/* by which copy of the hook */
	__u32 rtt_slot; /* of its histogram, plus one */
	__u64 cgroup_id;
	__u32 pid;
	__u32 seen_delivered; /* tcp_sock.delivered when we last looked */
	char comm[TCPLAT_COMM_LEN];
	__u32 seen_end;	   /* and rack.end_seq; without SACK, snd_una */
	__u32 seen_us;	   /* and rack.rtt_us; without SACK, srtt_us */
	__u32 retrans_end; /* see ST_RETRANS */
	__u32 last_us;

	__u8 pick;	   /* see fifo.h */
	__u8 near;	   /* how many of end and when are in use */
	__u8 read;	   /* somebody has read from it */
	__u8 retrans_seen; /* the last bits of tcp_sock.total_retrans */
	__u32 slot;	   /* of the histogram of pickups, plus one */
	__u32 last_end;	   /* what has arrived, as far as it was noted */
	__u32 taken;	   /* what has been taken, as far as it was noted */
	__u32 netns;
	__u32 fill_end;
	__u32 ooo; /* rcv_ooopack when sk_data_ready noted an arrival */
	__u32 tid;
	__u32 end[NEAR];
	union {
		__u64 start_ns;	 /* of an attempt under way */
		__u64 filled_ns; /* stamp of what filled a hole last, up to fill_end */
	};
	union {
		__u64 when[NEAR];
		struct {		 /* rows of round trips, which know no pickups */
			__u64 packet_ns; /* when the last packet came, while established */
			__u64 held_ns;	 /* and the handshake that waits for its reader */
		};
	};
};

/*
 * The kernel allocates 72 bytes more than a value has, in powers of two and
 * half-way between: 120 make it 192, and 440 below 512.
 */
_Static_assert(__builtin_offsetof(struct sock_state, pick) == 56, "a cache line");
_Static_assert(sizeof(struct sock_state) <= 120, "state per socket");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct sock_state);
} sockets SEC(".maps");

/*
 * Made where there is none; NULL without memory. Whoever makes the first storage of
 * a socket while another does so too, perhaps another tracer, is refused once
 * (bpf_local_storage_alloc()).
 */
#define sock_state_of(sk)                                                         \
	(bpf_sk_storage_get(&sockets, (sk), NULL, BPF_SK_STORAGE_GET_F_CREATE) ?: \
		 bpf_sk_storage_get(&sockets, (sk), NULL, BPF_SK_STORAGE_GET_F_CREATE))

#define DEEP 31

/* Further arrivals, a ring; only for sockets that ever had more than NEAR. */
struct fifo {
	__u64 when[DEEP];
	__u32 end[DEEP];
	__u16 segs[DEEP];
	__u8 head;
	__u8 n;
};

_Static_assert(sizeof(struct fifo) <= 440, "FIFO per socket");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct fifo);
} fifos SEC(".maps");

/* A task that is inside connect(), or that descends from the command we run. */
struct task_state {
	__u64 call_ns; /* 0: not inside connect() */
	__u64 sk;
	__u64 uaddr;
	__u32 uaddr_len;
	__u8 traced;
	__u8 fresh;	    /* TCP socket, no attempt under way or waiting to be fetched */
	__u8 started;	    /* this call began an attempt */
	__u8 phase;	    /* see split.h, as all that follows */
	__u64 wake_sk;	    /* the socket whose data woke it last */
	__u64 wake_ns;	    /* when it was put on a run queue for that */
	__u64 run_ns;	    /* when it ran then */
	__u64 before_ns;    /* the wake-up before by the same socket */
	__u64 preempt_ns;   /* when it was put back on the run queue */
	__u64 preempted_ns; /* how long it has been there since run_ns */
};

/* User space marks the command before it knows any of this struct. */
const volatile __u32 traced_offset SEC(".rodata") = __builtin_offsetof(struct task_state, traced);

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_state);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, TCPLAT_MAX_CGROUPS);
	__type(key, __u32);
	__type(value, __u32);
} cgroups SEC(".maps");

#endif /* TCPLAT_BPF_STATE_H */
