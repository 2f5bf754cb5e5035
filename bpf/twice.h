/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hook of state changes is attached twice, for the kernel skips a program that
 * interrupts itself: then the other copy may still run. Almost always the first has,
 * and the second can tell so from one word, before it looks up anything.
 */
#ifndef TCPLAT_BPF_TWICE_H
#define TCPLAT_BPF_TWICE_H

#include "kernel.h"

/* What copy 1 was last called for, a cache line for each CPU; with more, they share. */
#define TWICE_CPUS 64

static struct twice {
	__u64 sk;
	__u64 state;
	__u64 pad[6];
} done_by_first[TWICE_CPUS] __attribute__((aligned(64)));

static __always_inline struct twice *twice_here(void)
{
	return &done_by_first[bpf_get_smp_processor_id() & (TWICE_CPUS - 1)];
}

static __always_inline void twice_first(const struct sock *sk, int newstate)
{
	struct twice *here = twice_here();

	here->sk = (__u64)sk;
	here->state = newstate;
}

/* A change that interrupts the first copy has another socket: its own is locked. */
static __always_inline bool twice_seen(const struct sock *sk, int newstate)
{
	struct twice *here = twice_here();

	if (here->sk != (__u64)sk || here->state != (__u64)newstate)
		return false;
	here->sk = 0;
	return true;
}

#endif /* TCPLAT_BPF_TWICE_H */
