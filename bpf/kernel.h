/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few kernel types that the programs read, each with only the members
 * used. CO-RE relocates every access against the running kernel's BTF, so
 * order and size here mean nothing; names and types do.
 */
#ifndef TCPLAT_BPF_KERNEL_H
#define TCPLAT_BPF_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262

#define EINTR 4
#define EISCONN 106
#define EALREADY 114
#define EINPROGRESS 115
#define ECONNREFUSED 111
#define ETIMEDOUT 110
#define EHOSTUNREACH 113
#define ENETUNREACH 101
#define ECONNABORTED 103
#define ECONNRESET 104
#define EADDRNOTAVAIL 99
#define ERESTARTSYS 512 /* the kernel's own range of restart codes begins here */

/* include/uapi/linux/net.h */
typedef enum {
	SS_UNCONNECTED = 1,
} socket_state;

/* include/net/tcp_states.h */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_TIME_WAIT = 6,
	TCP_CLOSE = 7,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
	TCP_CLOSING = 11,
};

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL

#define PF_IO_WORKER 0x10   /* include/linux/sched.h */
#define OWNER_MAX_LEVELS 16 /* of cgroups; more are not looked at */
#define TCPHDR_FIN 0x01	    /* include/net/tcp.h */
#define TCP_FLAGS_AT 13	    /* byte of the header, RFC 9293 section 3.1 */

/*
 * A pointer that is followed by a plain load makes the verifier search all of the
 * kernel's BTF by name, up to three times, on each way that leads to it (since 6.4:
 * btf_nested_type_is_trusted()): about a millisecond of start-up. Off the
 * hot paths BPF_CORE_READ() is better, which copies; on them, load once and early.
 */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct socket;

/* Of cb, TCP uses the first two words: seq and end_seq (struct tcp_skb_cb). */
struct sk_buff {
	struct sk_buff *prev;
	char cb[48];
	__s64 tstamp; /* when it was received, CLOCK_REALTIME; 0: not stamped */
	unsigned int len;
	unsigned char *data;
};

struct sk_buff_head {
	struct sk_buff *next;
	struct sk_buff *prev;
	__u32 qlen;
};

typedef struct {
	int owned;
} socket_lock_t;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	int sk_err;
	socket_lock_t sk_lock;
	struct sk_buff_head sk_receive_queue;
	struct socket *sk_socket;
};

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	__u8 icsk_retransmits;
};

struct rb_node;

struct rb_root {
	struct rb_node *rb_node;
};

struct tcp_rack {
	__u64 mstamp;  /* when the newest segment acknowledged left, us */
	__u32 rtt_us;  /* of the segment acknowledged last */
	__u32 end_seq; /* of the newest one */
};

struct tcp_options_received {
	__u16 sack_ok : 3;
};

struct minmax_sample {
	__u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	struct tcp_rack rack;
	struct tcp_options_received rx_opt;
	struct minmax rtt_min;
	struct {
		__u32 rtt_us; /* times eight */
		__u32 seq;
	} rcv_rtt_est;
	__u32 delivered;
	__u64 delivered_mstamp; /* us, as first_tx_mstamp */
	__u64 first_tx_mstamp;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 srtt_us; /* smoothed, times eight */
	__u32 total_retrans;
	__u16 total_rto;      /* since 6.7 */
	__u8 tcp_usec_ts : 1; /* since 6.7: retrans_stamp counts us, not ms */
	__u32 packets_out;
	__u64 tcp_wstamp_ns; /* when the last segment left, CLOCK_MONOTONIC */
	__u32 retrans_stamp;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u64 bytes_received;
	__u32 rcv_ooopack;
	__be32 pred_flags;
	__u64 tcp_clock_cache; /* when TCP last looked at the clock, CLOCK_MONOTONIC, ns */
	struct rb_root out_of_order_queue;
	struct sk_buff *ooo_last_skb;
	bool is_mptcp;
};

struct file {
	void *private_data;
};

struct socket {
	socket_state state;
	struct file *file;
	struct sock *sk;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[];
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

/* The values are this kernel's, by relocation; there may be none. */
enum cgroup_subsys_id {
	cpu_cgrp_id,
	memory_cgrp_id,
	pids_cgrp_id,
};

struct css_set {
	struct cgroup_subsys_state *subsys[3];
	struct cgroup *dfl_cgrp; /* of the cgroup v2 hierarchy */
};

typedef struct {
	__u32 val;
} kuid_t;

struct cred {
	kuid_t uid;
};

struct task_struct {
	int pid;
	int tgid;
	const struct cred *cred;
	struct css_set *cgroups;
	unsigned int flags;
	char comm[16];
	struct task_struct *group_leader;
	struct files_struct *files;
};

#pragma clang attribute pop

/* The first members of struct tcp_skb_cb. */
#define SKB_SEQ(skb) (*(__u32 *)&(skb)->cb[0])
#define SKB_END(skb) (*(__u32 *)&(skb)->cb[4])
#define SKB_SEGS(skb) (*(__u16 *)&(skb)->cb[8])

/* a is behind b in sequence space, RFC 9293 section 3.4. */
static __always_inline bool after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

/*
 * Contexts of iterators, include/linux/bpf.h: every member takes eight bytes
 * on every kernel, so they need no relocation. Each type that does costs a
 * search through all of the kernel's BTF at start.
 */
struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u64 fd;
	struct file *file;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

/* The argument layouts of two syscall tracepoints (events/syscalls/.../format). */
struct sys_enter_args {
	__u64 common;
	__s64 nr;
	__u64 args[6];
};

struct sys_exit_args {
	__u64 common;
	__s64 nr;
	__s64 ret;
};

#endif /* TCPLAT_BPF_KERNEL_H */
