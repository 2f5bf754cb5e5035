/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What user space tells the kernel programs before they are loaded. It is
 * frozen then: the verifier sees constants and removes what is switched off.
 */
#ifndef TCPLAT_CONFIG_H
#define TCPLAT_CONFIG_H

#include <linux/types.h>

#include "tcplat/event.h"

#define TCPLAT_MAX_IDS 64 /* of each: pid, tid, uid, netns */
#define TCPLAT_MAX_COMMS 16
#define TCPLAT_MAX_NETS 32 /* of each: laddr, raddr */
#define TCPLAT_MAX_CGROUPS 16
#define TCPLAT_PORT_WORDS (65536 / 64)

/* Address range: an address of that family matches if (address & mask) == addr. */
struct tcplat_net {
	__u64 addr[2]; /* network byte order, v4-mapped for IPv4 */
	__u64 mask[2];
	__u64 ip; /* 4 or 6: ::/0 is every IPv6 address, and no IPv4 one */
};

struct tcplat_idset {
	__u32 n; /* 0: no filter */
	__u32 id[TCPLAT_MAX_IDS];
};

struct tcplat_netset {
	__u32 n;
	__u32 pad;
	struct tcplat_net net[TCPLAT_MAX_NETS];
};

struct tcplat_portset {
	__u64 active;
	__u64 bits[TCPLAT_PORT_WORDS];
};

/* Members combine with AND; values within one member with OR. */
struct tcplat_filter {
	struct tcplat_idset pid;
	struct tcplat_idset tid;
	struct tcplat_idset uid;
	struct tcplat_idset netns;
	__u32 n_comms;
	__u32 n_cgroups; /* the map `cgroups` holds them */
	__u64 cgroup_ids[TCPLAT_MAX_CGROUPS];
	char comm[TCPLAT_MAX_COMMS][TCPLAT_COMM_LEN];
	struct tcplat_netset laddr;
	struct tcplat_netset raddr;
	struct tcplat_portset lport;
	struct tcplat_portset rport;
	__u64 min_ns;
	__u32 outcomes;	  /* bit mask of enum tcplat_outcome; 0: all */
	__u8 ip;	  /* 4, 6, or 0: both */
	__u8 descendants; /* only tasks marked in the map `traced` */
	__u8 pad[2];
};

enum tcplat_output {
	TCPLAT_OUT_ROWS,
	TCPLAT_OUT_HIST,
};

/* The hierarchy whose ids cgroups have. */
enum tcplat_groups {
	TCPLAT_GROUPS_V2,
	TCPLAT_GROUPS_V1_MEMORY,
	TCPLAT_GROUPS_V1_PIDS,
	TCPLAT_GROUPS_V1_CPU,
};

/* What an address is cut to before it becomes a key. */
struct tcplat_prefix {
	__u64 mask[2][2]; /* network byte order, for IPv4 (as mapped) and IPv6 */
	__u8 bits[2];	  /* the same as prefix lengths: 0 to 32, 0 to 128 */
	__u8 cut;	  /* any of them is less than the whole address */
	__u8 pad[5];
};

struct tcplat_config {
	struct tcplat_filter filter;
	__u64 hist_step_ns; /* TCPLAT_HIST_STEP_US or _MS */
	__u64 start_ns;	    /* of the tracer, CLOCK_MONOTONIC: no arrival is older */
	__u64 wake_ns;	    /* at most one wake-up in this time */
	__u64 wake_bytes;   /* but one at once when this much waits */
	__u32 by;	    /* bit mask of enum tcplat_key */
	__u32 max_keys;
	/* The first slots, which busy keys got, have a cell for each of these CPUs. */
	__u32 hist_cpus;
	__u32 hist_hot; /* how many slots */
	__u8 output;	/* enum tcplat_output */
	__u8 connect;
	__u8 calls; /* connect() calls are watched too */
	__u8 pickup;
	__u8 data_ready; /* this kernel has the tracepoint sk_data_ready */
	__u8 split;	 /* pickups know where their latency went */
	__u8 rtt;
	__u8 rtt_value;	  /* enum tcplat_value */
	__u8 owners;	  /* the owner of every socket is kept: rtt is asked about it */
	__u8 rest;	  /* keys without room count together, in one for each kind */
	__u8 retrans_err; /* this kernel's tcp_retransmit_skb says whether it failed */
	__u8 groups;	  /* enum tcplat_groups */
	__u8 few_ports;	  /* as keys, only ports that listen here, and remote ones of services */
	__u8 pad;
	__u16 ephemeral; /* with few_ports: remote ports from here on are no service's */
	struct tcplat_prefix laddr, raddr; /* of the keys of these names */
};

/* Cells of one half of the histogram table. */
TCPLAT_INLINE __u32 tcplat_hist_half(const volatile struct tcplat_config *c)
{
	return c->max_keys + c->hist_cpus * c->hist_hot;
}

/* The cell in which that CPU counts for the slot; one without cells of its own: the shared one. */
TCPLAT_INLINE __u32 tcplat_hist_cell(const volatile struct tcplat_config *c, __u32 half, __u32 slot,
				     __u32 cpu)
{
	__u32 cell = half * tcplat_hist_half(c) + slot;

	if (slot < c->hist_hot && cpu < c->hist_cpus)
		cell += c->max_keys + cpu * c->hist_hot;
	return cell;
}

#endif /* TCPLAT_CONFIG_H */
