/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Histograms kept in the kernel, one slot for each key. */
#ifndef TCPLAT_BPF_HIST_H
#define TCPLAT_BPF_HIST_H

#include "ports.h"
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

/* Slots whose key another CPU inserted first, or was retired; handed out again. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 64); /* more where keys are retired, set before loading */
	__type(value, __u32);
} hist_spare SEC(".maps");

/* Keys that stand for all the others find room always: of each kind, outcome and part. */
#define REST_KEYS (TCPLAT_NR_KINDS + TCPLAT_NR_OUTCOMES + TCPLAT_NR_PARTS)

static __always_inline __u32 hist_room(void)
{
	return cfg.rest && cfg.max_keys > REST_KEYS ? cfg.max_keys - REST_KEYS : cfg.max_keys;
}

static __always_inline bool hist_new_slot(const struct tcplat_hist_key *key, __u32 *slot)
{
	struct tcplat_hist_slot *s;
	__u32 idx, *have;

	if (bpf_map_pop_elem(&hist_spare, &idx)) {
		/* The test first: a full table must not push the index on and on. */
		if (hist_used >= (key->rest ? cfg.max_keys : hist_room()))
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
	__sync_lock_test_and_set(&s->used, TCPLAT_SLOT_LIVE);
	*slot = idx;
	return true;
}

struct raise {
	__u64 *p;
	__u64 v;
};

/* Every failed try means that another CPU raised it. */
static long raise_once(__u32 i, struct raise *r)
{
	__u64 old = *(volatile __u64 *)r->p;

	(void)i;
	return old >= r->v || __sync_val_compare_and_swap(r->p, old, r->v) == old;
}

/* Raise *p to v. A call, because it is rare and the verifier would follow each turn. */
static __always_inline void raise_to(__u64 *p, __u64 v)
{
	struct raise r = { p, v };

	if (*(volatile __u64 *)p < v)
		bpf_loop(64, raise_once, &r, 0);
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
	if (hist_new_slot(&copy, &slot))
		return slot + 1;
	if (!cfg.rest)
		return 0;
	__builtin_memset(&copy, 0, sizeof(copy));
	copy.kind = key->kind;
	copy.outcome = key->outcome;
	copy.part = key->part;
	copy.rest = 1;
	have = bpf_map_lookup_elem(&hist_index, &copy);
	if (have)
		return *have + 1;
	return hist_new_slot(&copy, &slot) ? slot + 1 : 0;
}

static __always_inline struct tcplat_hist_slot *hist_at(__u32 cell)
{
	return bpf_map_lookup_elem(&hist_slots, &cell);
}

/* Not static, so that the verifier follows its many ways once, and none of them further. */
__noinline __u32 hist_bucket(__u64 ns)
{
	return tcplat_hist_bucket(tcplat_hist_steps(ns, cfg.hist_step_ns));
}

/* Who else may count for that key at this moment, on this CPU. */
enum hist_how {
	/* Nobody: plain adds, in the CPU's own cell. A program never runs inside itself. */
	HIST_ALONE,
	/* One that is alone there, so not in its cells. */
	HIST_BESIDE,
	/* Others like this one. */
	HIST_AMONG,
};

/*
 * slot: as from hist_find(). Where there is none, the value is counted as lost.
 * beside: as in struct tcplat_hist_slot.
 */
__noinline int hist_count(__u32 slot, __u64 ns, __u32 how, __u32 beside)
{
	__u32 cpu = bpf_get_smp_processor_id(), bucket;
	struct tcplat_hist_slot *s = NULL;

	if (how == HIST_BESIDE)
		cpu = ~0U;
	if (slot)
		s = hist_at(tcplat_hist_cell(&cfg, hist_epoch & 1, slot - 1, cpu));
	if (!s) {
		count(TCPLAT_LOST_KEYS_FULL);
		return 0;
	}
	bucket = hist_bucket(ns);
	if (bucket >= TCPLAT_HIST_BUCKETS)
		return 0;
	if (how == HIST_ALONE && slot <= cfg.hist_hot && cpu < cfg.hist_cpus) {
		s->counts[bucket]++;
		s->sum_ns += ns;
		/* Those of segments sent again are counted by another program, beside this. */
		if (beside)
			s->beside += beside;
		if (s->inv_min_ns < ~ns)
			s->inv_min_ns = ~ns;
		if (s->max_ns < ns)
			s->max_ns = ns;
		return 0;
	}
	__sync_fetch_and_add(&s->counts[bucket], 1);
	__sync_fetch_and_add(&s->sum_ns, ns);
	if (beside)
		__sync_fetch_and_add(&s->beside, beside);
	raise_to(&s->inv_min_ns, ~ns);
	raise_to(&s->max_ns, ns);
	return 0;
}

/* Segments sent again, beside the samples of that slot. */
static __always_inline void hist_retransmitted(__u32 slot, __u32 segments)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct tcplat_hist_slot *s = NULL;

	if (slot)
		s = hist_at(tcplat_hist_cell(&cfg, hist_epoch & 1, slot - 1, cpu));
	if (s)
		__sync_fetch_and_add(&s->beside, segments);
}

static __always_inline void hist_key_of(struct tcplat_hist_key *key, const struct tcplat_event *e,
					__u8 outcome)
{
	tcplat_hist_key_of(key, e, &cfg, outcome);
	if (!cfg.few_ports)
		return;
	if (!ports_listens(key->lport))
		key->lport = 0;
	if (key->rport >= cfg.ephemeral)
		key->rport = 0;
}

#endif /* TCPLAT_BPF_HIST_H */
