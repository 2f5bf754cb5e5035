// SPDX-License-Identifier: GPL-2.0-or-later
/* The engine's histograms: reading what the programs have counted. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/engine_private.h"

static int remember_slots(struct engine *e, __u32 used)
{
	struct past *more;

	if (used <= e->n_past)
		return 0;
	more = realloc(e->past, used * sizeof(*more));
	if (!more)
		return -ENOMEM;
	memset(more + e->n_past, 0, (used - e->n_past) * sizeof(*more));
	e->past = more;
	e->n_past = used;
	return 0;
}

int engine_histograms(struct engine *e, engine_hist_fn *fn, void *arg)
{
	const volatile struct tcplat_config *cfg = &e->skel->rodata->cfg;
	__u32 half = e->skel->bss->hist_epoch & 1;
	__u32 used, max = bpf_map__max_entries(e->skel->maps.hist_slots);
	struct tcplat_hist_slot *slots;
	struct histogram h;
	size_t bytes;
	int err;

	__atomic_store_n(&e->skel->bss->hist_epoch, half ^ 1, __ATOMIC_SEQ_CST);
	if (!e->stopped)
		engine_grace();
	used = __atomic_load_n(&e->skel->bss->hist_used, __ATOMIC_SEQ_CST);
	if (used > max)
		used = max;
	err = remember_slots(e, used);
	if (err)
		return err;
	/* Mapped only while we read, so that the table is no part of our size. */
	bytes = (size_t)max * sizeof(*slots);
	slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		     bpf_map__fd(e->skel->maps.hist_slots), 0);
	if (slots == MAP_FAILED)
		return -errno;
	for (__u32 i = 0; i < used; i++) {
		struct tcplat_hist_slot *s = &slots[i];
		struct past *p = &e->past[i];
		__u64 sum;

		if (!__atomic_load_n(&s->used, __ATOMIC_ACQUIRE))
			continue;
		memset(&h, 0, sizeof(h));
		for (int b = 0; b < TCPLAT_HIST_BUCKETS; b++) {
			__u64 now = __atomic_load_n(&s->counts[b], __ATOMIC_RELAXED);

			h.counts[b] = now - p->counts[b];
			h.count += h.counts[b];
			p->counts[b] = now;
		}
		sum = __atomic_load_n(&s->sum_ns, __ATOMIC_RELAXED);
		h.sum_ns = sum - p->sum_ns;
		p->sum_ns = sum;
		h.min_ns = ~__atomic_exchange_n(&s->inv_min_ns[half], 0, __ATOMIC_RELAXED);
		h.max_ns = __atomic_exchange_n(&s->max_ns[half], 0, __ATOMIC_RELAXED);
		if (!h.count)
			continue;
		e->delivered += h.count;
		h.key = s->key;
		h.by = cfg->by;
		h.step_ns = cfg->hist_step_ns;
		fn(arg, &h);
	}
	munmap(slots, bytes);
	return 0;
}
