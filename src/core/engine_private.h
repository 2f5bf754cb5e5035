/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the engine share; nobody else includes this. */
#ifndef TCPLAT_CORE_ENGINE_PRIVATE_H
#define TCPLAT_CORE_ENGINE_PRIVATE_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "core/engine.h"
#include "tcplat.skel.h"

#define ENGINE_MAX_LINKS 8

struct engine {
	struct tcplat_bpf *skel;
	struct ring_buffer *ring;
	struct bpf_link *links[ENGINE_MAX_LINKS]; /* in the order of attaching */
	int n_links;
	bool stopped;
	__u64 delivered; /* rows, or values in histograms, handed on */

	engine_row_fn *row_fn; /* during engine_drain() */
	void *row_arg;
};

/* Waits until every program that was running has returned. */
void engine_grace(void);

/* Runs an iterator program to its end, over map where it is one of a map. */
int engine_run_iterator(struct bpf_program *prog, struct bpf_map *map);

#endif /* TCPLAT_CORE_ENGINE_PRIVATE_H */
