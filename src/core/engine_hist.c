// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine's histograms: reading what the programs have counted. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/engine_private.h"

int engine_histograms(struct engine *e, engine_hist_fn *fn, void *arg)
{
	const volatile struct tcplat_config *cfg = &e->skel->rodata->cfg;
	__u32 entries = bpf_map__max_entries(e->skel->maps.hist_slots);
	__u32 half = e->skel->bss->hist_epoch & 1, used;
	size_t bytes = (size_t)entries * sizeof(struct tcplat_hist_slot);
	struct tcplat_hist_slot *slots;
	struct histogram h;

	if (!e->stopped) {
		if (entries < 2 * cfg->max_keys)
			return -EINVAL; /* not loaded for intervals */
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
		struct tcplat_hist_slot *s = &slots[i + half * cfg->max_keys];

		if (!__atomic_load_n(&slots[i].used, __ATOMIC_ACQUIRE))
			continue;
		memset(&h, 0, sizeof(h));
		/* Nobody writes this half now. */
		for (int b = 0; b < TCPLAT_HIST_BUCKETS; b++)
			h.count += h.counts[b] = s->counts[b];
		if (!h.count)
			continue;
		h.sum_ns = s->sum_ns;
		h.min_ns = ~s->inv_min_ns;
		h.max_ns = s->max_ns;
		s->sum_ns = s->inv_min_ns = s->max_ns = 0;
		memset(s->counts, 0, sizeof(s->counts));
		e->delivered += h.count;
		h.key = slots[i].key;
		h.by = cfg->by;
		h.step_ns = cfg->hist_step_ns;
		fn(arg, &h);
	}
	munmap(slots, bytes);
	return 0;
}
