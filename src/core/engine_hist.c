// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine's histograms: reading what the programs have counted. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/engine_private.h"

/* Mapped only while we read, so that the table is no part of our size. */
struct table {
	struct tcplat_hist_slot *slots;
	size_t bytes;
};

static int table_map(struct table *t, const struct engine *e)
{
	t->bytes = (size_t)bpf_map__max_entries(e->skel->maps.hist_slots) * sizeof(*t->slots);
	t->slots = mmap(NULL, t->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(e->skel->maps.hist_slots), 0);
	return t->slots == MAP_FAILED ? -errno : 0;
}

static void table_unmap(struct table *t)
{
	munmap(t->slots, t->bytes);
}

/* Adds a cell that nobody writes now, and clears it; min_ns inverted. */
static void take(struct tcplat_hist_slot *s, struct histogram *h)
{
	__u64 before = h->count;

	h->beside += s->beside;
	s->beside = 0;

	for (int b = 0; b < TCPLAT_HIST_BUCKETS; b++) {
		h->counts[b] += s->counts[b];
		h->count += s->counts[b];
	}
	if (h->count == before)
		return;
	h->sum_ns += s->sum_ns;
	if (h->min_ns < s->inv_min_ns)
		h->min_ns = s->inv_min_ns;
	if (h->max_ns < s->max_ns)
		h->max_ns = s->max_ns;
	s->sum_ns = s->inv_min_ns = s->max_ns = 0;
	memset(s->counts, 0, sizeof(s->counts));
}

static void take_half(const struct engine *e, struct table *t, __u32 half, __u32 slot,
		      struct histogram *h)
{
	const volatile struct tcplat_config *cfg = &e->skel->rodata->cfg;

	take(&t->slots[tcplat_hist_cell(cfg, half, slot, ~0U)], h);
	for (__u32 cpu = 0; slot < cfg->hist_hot && cpu < cfg->hist_cpus; cpu++)
		take(&t->slots[tcplat_hist_cell(cfg, half, slot, cpu)], h);
}

/* What was taken is handed over, if it is anything. */
static void hand_over(struct engine *e, const struct table *t, __u32 slot, struct histogram *h,
		      engine_hist_fn *fn, void *arg)
{
	if (!h->count && !h->beside)
		return;
	h->min_ns = h->count ? ~h->min_ns : 0;
	h->key = t->slots[slot].key;
	h->slot = slot;
	if (h->key.kind == TCPLAT_KIND_RTT)
		h->retransmits = h->beside;
	/* The parts of a latency are no further events. */
	if (h->key.part == TCPLAT_PART_TOTAL)
		e->delivered += h->count;
	histogram_describe(h, &e->skel->rodata->cfg);
	fn(arg, h);
}

static __u32 slots_used(const struct engine *e)
{
	__u32 used = __atomic_load_n(&e->skel->bss->hist_used, __ATOMIC_SEQ_CST);
	__u32 max = e->skel->rodata->cfg.max_keys;

	return used < max ? used : max;
}

int engine_histograms(struct engine *e, engine_hist_fn *fn, void *arg)
{
	const volatile struct tcplat_config *cfg = &e->skel->rodata->cfg;
	__u32 half = e->skel->bss->hist_epoch & 1, used;
	struct histogram h;
	struct table t;
	int err;

	if (!e->stopped) {
		if (bpf_map__max_entries(e->skel->maps.hist_slots) < 2 * tcplat_hist_half(cfg))
			return -EINVAL; /* not loaded for intervals */
		engine_collect(e);
		__atomic_store_n(&e->skel->bss->hist_epoch, half ^ 1, __ATOMIC_SEQ_CST);
		engine_grace();
	}
	used = slots_used(e);
	err = table_map(&t, e);
	if (err)
		return err;
	e->keys = 0;
	for (__u32 i = 0; i < used; i++) {
		if (__atomic_load_n(&t.slots[i].used, __ATOMIC_ACQUIRE) != TCPLAT_SLOT_LIVE)
			continue;
		e->keys++;
		memset(&h, 0, sizeof(h));
		take_half(e, &t, half, i, &h);
		hand_over(e, &t, i, &h, fn, arg);
	}
	table_unmap(&t);
	return 0;
}

int engine_retire(struct engine *e, const __u32 *slots, size_t n, engine_hist_fn *fn, void *arg)
{
	int index = bpf_map__fd(e->skel->maps.hist_index);
	int spare = bpf_map__fd(e->skel->maps.hist_spare);
	struct histogram h;
	struct table t;
	int err;

	if (!bpf_program__autoload(e->skel->progs.forget))
		return -ENOTSUP;
	err = table_map(&t, e);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		__atomic_store_n(&t.slots[slots[i]].used, TCPLAT_SLOT_RETIRED, __ATOMIC_SEQ_CST);
		bpf_map_delete_elem(index, &t.slots[slots[i]].key);
	}
	/* Whoever found one of them has noted it in its socket when this returns, ... */
	engine_grace();
	err = engine_iterate(e, e->skel->progs.forget, e->skel->maps.sockets);
	/* ... and whoever had it from a socket has counted. */
	engine_grace();
	for (size_t i = 0; i < n && !err; i++) {
		memset(&h, 0, sizeof(h));
		take_half(e, &t, 0, slots[i], &h);
		take_half(e, &t, 1, slots[i], &h);
		hand_over(e, &t, slots[i], &h, fn, arg);
		__atomic_store_n(&t.slots[slots[i]].used, TCPLAT_SLOT_FREE, __ATOMIC_SEQ_CST);
		bpf_map_update_elem(spare, NULL, &slots[i], BPF_ANY);
		e->keys -= e->keys > 0;
	}
	/* Without the pass they can never be used again; what they count is still read. */
	for (size_t i = 0; i < n && err; i++)
		__atomic_store_n(&t.slots[slots[i]].used, TCPLAT_SLOT_LIVE, __ATOMIC_SEQ_CST);
	table_unmap(&t);
	return err;
}
