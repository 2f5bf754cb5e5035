// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine's histograms: reading what the programs have counted. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/engine_private.h"

/* Adds a cell of the half that nobody writes now, and clears it; min_ns inverted. */
static void take(struct tcplat_hist_slot *s, struct histogram *h)
{
	__u64 before = h->count;

	h->retransmits += s->retransmits;
	s->retransmits = 0;

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

int engine_histograms(struct engine *e, engine_hist_fn *fn, void *arg)
{
	const volatile struct tcplat_config *cfg = &e->skel->rodata->cfg;
	__u32 entries = bpf_map__max_entries(e->skel->maps.hist_slots);
	__u32 half = e->skel->bss->hist_epoch & 1, used;
	size_t bytes = (size_t)entries * sizeof(struct tcplat_hist_slot);
	struct tcplat_hist_slot *slots;
	struct histogram h;

	if (!e->stopped) {
		if (entries < 2 * tcplat_hist_half(cfg))
			return -EINVAL; /* not loaded for intervals */
		engine_collect(e);
		__atomic_store_n(&e->skel->bss->hist_epoch, half ^ 1, __ATOMIC_SEQ_CST);
		engine_grace();
	}
	used = __atomic_load_n(&e->skel->bss->hist_used, __ATOMIC_SEQ_CST);
	if (used > cfg->max_keys)
		used = cfg->max_keys;
	/* Mapped only while we read, so that the table is no part of our size. */
	slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		     bpf_map__fd(e->skel->maps.hist_slots), 0);
	if (slots == MAP_FAILED)
		return -errno;
	for (__u32 i = 0; i < used; i++) {
		if (!__atomic_load_n(&slots[i].used, __ATOMIC_ACQUIRE))
			continue;
		memset(&h, 0, sizeof(h));
		take(&slots[tcplat_hist_cell(cfg, half, i, ~0U)], &h);
		for (__u32 cpu = 0; i < cfg->hist_hot && cpu < cfg->hist_cpus; cpu++)
			take(&slots[tcplat_hist_cell(cfg, half, i, cpu)], &h);
		if (!h.count && !h.retransmits)
			continue;
		h.min_ns = h.count ? ~h.min_ns : 0;
		h.key = slots[i].key;
		/* The parts of a latency are no further events. */
		if (h.key.part == TCPLAT_PART_TOTAL)
			e->delivered += h.count;
		histogram_describe(&h, cfg);
		fn(arg, &h);
	}
	munmap(slots, bytes);
	return 0;
}
