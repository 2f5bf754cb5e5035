/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which local ports somebody listens on, in any namespace. A port that has been
 * listened on stays one: its connections outlive the listener.
 */
#ifndef TCPLAT_BPF_PORTS_H
#define TCPLAT_BPF_PORTS_H

#include "state.h"

__u64 listened[TCPLAT_PORT_WORDS];

static __always_inline bool ports_listens(__u16 port)
{
	return listened[port / 64] >> port % 64 & 1;
}

static __always_inline void ports_mark(__u16 port)
{
	__u64 *word = &listened[port / 64], bit = 1ULL << port % 64;

	if (!(*word & bit))
		__sync_fetch_and_or(word, bit);
}

/* Without a bind() the port is chosen after LISTEN: then the first child tells. */
static __always_inline void ports_state_change(struct sock *sk, int oldstate, int newstate)
{
	if (!cfg.few_ports || sk->sk_protocol != IPPROTO_TCP)
		return;
	if (newstate == TCP_LISTEN || (oldstate == TCP_SYN_RECV && newstate == TCP_ESTABLISHED))
		ports_mark(sk->__sk_common.skc_num);
}

#endif /* TCPLAT_BPF_PORTS_H */
