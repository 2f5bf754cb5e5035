/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Histograms kept in the kernel, one slot for each key. */
#ifndef TCPLAT_BPF_HIST_H
#define TCPLAT_BPF_HIST_H

#include "state.h"
#include "tcplat/key.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set before loading */
	__type(key, __u32);
	__type(value, struct tcplat_hist_slot);
} hist_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1); /* set before loading */
	__type(key, struct tcplat_hist_key);
	__type(value, __u32);
} hist_index SEC(".maps");

/* Slots whose key another CPU inserted first; handed out again. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 64);
	__type(value, __u32);
} hist_spare SEC(".maps");

static __always_inline bool hist_new_slot(const struct tcplat_hist_key *key, __u32 *slot)
{
	struct tcplat_hist_slot *s;
	__u32 idx, *have;

	if (bpf_map_pop_elem(&hist_spare, &idx)) {
		/* The test first: a full table must not push the index on and on. */
		if (hist_used >= cfg.max_keys)
			return false;
		idx = __sync_fetch_and_add(&hist_used, 1);
		if (idx >= cfg.max_keys)
			return false;
	}
	s = bpf_map_lookup_elem(&hist_slots, &idx);
	if (!s)
		return false;
	__builtin_memcpy(&s->key, key, sizeof(*key));
	if (bpf_map_update_elem(&hist_index, key, &idx, BPF_NOEXIST)) {
		bpf_map_push_elem(&hist_spare, &idx, 0);
		have = bpf_map_lookup_elem(&hist_index, key);
		if (!have)
			return false;
		*slot = *have;
		return true;
	}
	/* Readers look at a slot only once this is set: the key is complete. */
	__sync_fetch_and_add(&s->used, 1);
	*slot = idx;
	return true;
}

/* Raise *p to v; every failed try means that another CPU raised it. */
static __always_inline void raise_to(__u64 *p, __u64 v)
{
	for (int i = 0; i < 64; i++) {
		__u64 old = *(volatile __u64 *)p;

		if (old >= v || __sync_val_compare_and_swap(p, old, v) == old)
			return;
	}
}

/*
 * The slot of a key plus one, made if there is none; 0 where the table has no
 * room. Not static, as below: the verifier then looks at it once, and not again
 * on every way that leads to it.
 */
__noinline __u32 hist_find(const struct tcplat_hist_key *key)
{
	struct tcplat_hist_key copy; /* Linux 6.1 takes no argument for a map's key */
	__u32 *have, slot = 0;

	if (!key)
		return 0;
	copy = *key;
	have = bpf_map_lookup_elem(&hist_index, &copy);
	if (have)
		return *have + 1;
	return hist_new_slot(&copy, &slot) ? slot + 1 : 0;
}

static __always_inline struct tcplat_hist_slot *hist_at(__u32 cell)
{
	return bpf_map_lookup_elem(&hist_slots, &cell);
}

/*
 * slot: as from hist_find(). Where there is none, the value is counted as lost.
 * alone: no other program counts for this key, so that in a cell of its own CPU
 * nothing can come in between (a program is never run inside itself there).
 */
__noinline int hist_count(__u32 slot, __u64 ns, bool alone)
{
	__u32 cpu = bpf_get_smp_processor_id(), bucket;
	struct tcplat_hist_slot *s = NULL;

	if (slot)
		s = hist_at(tcplat_hist_cell(&cfg, hist_epoch & 1, slot - 1, cpu));
	if (!s) {
		count(TCPLAT_LOST_KEYS_FULL);
		return 0;
	}
	bucket = tcplat_hist_bucket(tcplat_hist_steps(ns, cfg.hist_step_ns));
	if (bucket >= TCPLAT_HIST_BUCKETS)
		return 0;
	if (alone && slot <= cfg.hist_hot && cpu < cfg.hist_cpus) {
		s->counts[bucket]++;
		s->sum_ns += ns;
		if (s->inv_min_ns < ~ns)
			s->inv_min_ns = ~ns;
		if (s->max_ns < ns)
			s->max_ns = ns;
		return 0;
	}
	__sync_fetch_and_add(&s->counts[bucket], 1);
	__sync_fetch_and_add(&s->sum_ns, ns);
	raise_to(&s->inv_min_ns, ~ns);
	raise_to(&s->max_ns, ns);
	return 0;
}

static __always_inline void hist_add(const struct tcplat_hist_key *key, __u64 ns)
{
	hist_count(hist_find(key), ns, false);
}

#endif /* TCPLAT_BPF_HIST_H */
