/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel programs tell user space: one record per event, a set of
 * counters, and histogram slots. Fixed layout; both sides assert the sizes.
 */
#ifndef TCPLAT_EVENT_H
#define TCPLAT_EVENT_H

#include <linux/types.h>

#include "tcplat/hist.h"

#define TCPLAT_COMM_LEN 16

enum tcplat_kind {
	TCPLAT_KIND_CONNECT = 1,
	TCPLAT_KIND_PICKUP,
	TCPLAT_KIND_RTT,
	TCPLAT_NR_KINDS,
};

/* What of a round-trip time is shown. */
enum tcplat_value {
	TCPLAT_VALUE_SAMPLE,   /* as the kernel measured it */
	TCPLAT_VALUE_SRTT,     /* its smoothed value, at each sample */
	TCPLAT_VALUE_MIN_RTT,  /* its windowed minimum, at each sample */
	TCPLAT_VALUE_JITTER,   /* difference to the sample before, of the same socket */
	TCPLAT_VALUE_RECEIVER, /* its estimate on the receiving side, each time it moved */
	TCPLAT_NR_VALUES,
};

/* How an attempt ended; also the values of the histogram key `outcome`. */
enum tcplat_outcome {
	TCPLAT_ESTABLISHED,
	TCPLAT_REFUSED,		    /* RST or ICMP port unreachable in answer to the SYN */
	TCPLAT_RESET,		    /* RST after a simultaneous open had begun */
	TCPLAT_TIMED_OUT,	    /* no answer to any SYN */
	TCPLAT_HOST_UNREACHABLE,    /* ICMP, neighbour failure, or no route */
	TCPLAT_NETWORK_UNREACHABLE, /* the same for the network */
	TCPLAT_ABORTED,		    /* closed on this side while waiting */
	TCPLAT_NO_LOCAL_PORT,	    /* no usable local port for this destination */
	TCPLAT_ERROR,		    /* anything else; the errno says what */
	TCPLAT_NR_OUTCOMES,
};

/* Who and where; common to all measurements. Addresses: IPv4 is v4-mapped. */
struct tcplat_event {
	__u64 time_ns;	 /* end of the event, CLOCK_MONOTONIC */
	__u64 cgroup_id; /* cgroup v2 id */
	__u32 pid;
	__u32 tid;
	char comm[TCPLAT_COMM_LEN]; /* untrusted bytes */
	__u8 laddr[16];
	__u8 raddr[16];
	__u16 lport; /* host byte order; 0: none was assigned */
	__u16 rport;
	__u32 netns; /* inode of the socket's network namespace */
	__u8 kind;   /* enum tcplat_kind */
	__u8 ip;     /* 4 or 6, as on the wire */
	__u8 split;  /* a pickup knows where its latency went */
	__u8 pad[5];
};

#define TCPLAT_RETRANS_NONE (-1) /* no SYN was ever sent */

struct tcplat_connect_event {
	struct tcplat_event ev;
	__u64 latency_ns;
	__u32 handshake_rtt_us; /* 0: the kernel has none */
	__s16 syn_retransmits;	/* or TCPLAT_RETRANS_NONE */
	__u8 outcome;
	__u8 error; /* positive errno, 0: none */
};

/*
 * One arrival (a segment as TCP took it), when its last byte was taken. Where
 * the latency went: until the reader was put on a run queue, until it ran, and
 * the rest, in which it ran or did something else.
 */
struct tcplat_pickup_event {
	struct tcplat_event ev;
	__u64 latency_ns; /* since the arrival */
	__u32 bytes;
	__u32 segments; /* above 1: arrivals merged in a full FIFO */
	/* The rest is sent only where ev.split is set. */
	__u64 wake_ns;
	__u64 runq_ns;
};

/* One sample of the kernel's: from the segment's departure to its acknowledgement. */
struct tcplat_rtt_event {
	struct tcplat_event ev;
	__u64 latency_ns;
	__u32 srtt_us; /* with this sample in it */
	__u32 min_rtt_us;
};

#define TCPLAT_PICKUP_PLAIN __builtin_offsetof(struct tcplat_pickup_event, wake_ns)

/*
 * Counters, kept for the life of the programs. The first group are losses:
 * each names one thing that should have been shown and could not be.
 */
enum tcplat_counter {
	TCPLAT_LOST_RING_FULL,	 /* event made, no room in the ring buffer */
	TCPLAT_LOST_NO_STATE,	 /* no memory for a socket's state */
	TCPLAT_LOST_REENTERED,	 /* hook skipped: it ran already on this CPU */
	TCPLAT_LOST_KEYS_FULL,	 /* histogram table full, value under no key */
	TCPLAT_LOST_FIFO_MERGED, /* arrivals merged in a full FIFO */
	TCPLAT_LOST_CLOCK,	 /* time stamps that cannot be true */
	TCPLAT_NR_LOST,
	/* Attempts ended that began before tracing; data taken that was there before. */
	TCPLAT_CNT_UNSEEN_START = TCPLAT_NR_LOST,
	TCPLAT_CNT_STARTED,	/* attempts that the owner filters let through */
	TCPLAT_CNT_ENDED,	/* of these, ended (shown or not) */
	TCPLAT_CNT_STATELESS,	/* starts of any owner without memory for state */
	TCPLAT_CNT_ORPHANED,	/* ends of attempts with no state */
	TCPLAT_CNT_OVERWRITTEN, /* attempts whose end was never seen; begun anew */
	TCPLAT_CNT_PENDING,	/* at the final count: open, owner wanted */
	/* Of these, matching every filter; and arrivals that nobody has taken. */
	TCPLAT_CNT_STILL_OPEN,
	TCPLAT_NR_COUNTERS,
};

/* Keys that a histogram can be split by; a set of these is a bit mask. */
enum tcplat_key {
	TCPLAT_KEY_LADDR = 1 << 0,
	TCPLAT_KEY_RADDR = 1 << 1,
	TCPLAT_KEY_LPORT = 1 << 2,
	TCPLAT_KEY_RPORT = 1 << 3,
	TCPLAT_KEY_PID = 1 << 4,
	TCPLAT_KEY_COMM = 1 << 5,
	TCPLAT_KEY_CGROUP = 1 << 6,
	TCPLAT_KEY_NETNS = 1 << 7,
	TCPLAT_KEY_OUTCOME = 1 << 8,
	TCPLAT_KEY_PART = 1 << 9, /* not asked for by name: comes with --split */
};

#define TCPLAT_NR_KEYS 10

/* Values of the key `part`. */
enum tcplat_part {
	TCPLAT_PART_TOTAL,
	TCPLAT_PART_WAKE,
	TCPLAT_PART_RUNQ,
	TCPLAT_PART_APP,
	TCPLAT_NR_PARTS,
};

/* Fields that no key asks for are zero. */
struct tcplat_hist_key {
	__u8 laddr[16];
	__u8 raddr[16];
	char comm[TCPLAT_COMM_LEN];
	__u64 cgroup_id;
	__u32 pid;
	__u32 netns;
	__u16 lport;
	__u16 rport;
	__u8 kind;
	__u8 outcome;
	__u8 part;
	__u8 rest; /* stands for all keys that found no room */
};

/* What a slot is in, as its `used` says. */
enum tcplat_slot {
	TCPLAT_SLOT_FREE,
	TCPLAT_SLOT_LIVE,    /* set once the key is complete */
	TCPLAT_SLOT_RETIRED, /* no key leads to it any more, but programs may still hold it */
};

/*
 * What one key counted. Intervals alternate between two halves of the table:
 * the programs write the half that the epoch names, user space reads and clears
 * the other, so that a value's count, its part of the sum and the extremes are
 * always in the same interval. Keys are in the first half only, and a run
 * without intervals has no second one. Where its cells are: tcplat_hist_cell().
 */
struct tcplat_hist_slot {
	struct tcplat_hist_key key;
	__u64 used; /* enum tcplat_slot */
	__u64 sum_ns;
	__u64 inv_min_ns; /* ~minimum, so that 0 is "none" and it only grows */
	__u64 max_ns;
	__u64 beside; /* SYNs sent again, bytes picked up, segments sent again */
	__u64 counts[TCPLAT_HIST_BUCKETS];
};

_Static_assert(sizeof(struct tcplat_event) == 88, "event layout");
_Static_assert(sizeof(struct tcplat_connect_event) == 104, "connect event layout");
_Static_assert(sizeof(struct tcplat_pickup_event) == 120, "pickup event layout");
_Static_assert(sizeof(struct tcplat_rtt_event) == 104, "rtt event layout");
_Static_assert(sizeof(struct tcplat_hist_key) == 72, "histogram key layout");
_Static_assert(sizeof(struct tcplat_hist_slot) == 72 + 5 * 8 + 8 * TCPLAT_HIST_BUCKETS,
	       "histogram slot layout");

#endif /* TCPLAT_EVENT_H */
