/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the engine share; nobody else includes this. */
#ifndef TCPLAT_CORE_ENGINE_PRIVATE_H
#define TCPLAT_CORE_ENGINE_PRIVATE_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "core/engine.h"
#include "tcplat.skel.h"

#define ENGINE_MAX_LINKS 16
#define ENGINE_MAX_ITERATORS 5
#define ENGINE_BATCH 16384 /* rows at a time: some milliseconds */

struct engine {
	struct tcplat_bpf *skel;
	struct ring_buffer *ring;
	struct bpf_link *links[ENGINE_MAX_LINKS]; /* in the order of attaching */
	int n_links;
	struct {
		struct bpf_program *prog;
		struct bpf_link *link;
	} iterators[ENGINE_MAX_ITERATORS];
	int n_iterators;
	bool stopped;
	int timing;	 /* while it is open, the kernel times programs, -1: it is not asked to */
	__u32 keys;	 /* of histograms, when they were last read */
	int clock;	 /* readable when somebody has set the clock, -1: nobody asks */
	__u64 looked_ns; /* CLOCK_MONOTONIC: when the clock was last known not to have been set */
	int stamping;	 /* while it is open, packets are stamped on arrival */
	__u64 delivered; /* rows, or values in histograms, handed on */

	engine_row_fn *row_fn; /* during engine_drain() */
	void *row_arg;
	int batch; /* rows handed on in this call */
};

/* For arrivals; negative errno. What was opened is closed with the engine. */
int engine_clock_open(struct engine *e);
void engine_clock_close(struct engine *e);
/* Has somebody set the clock? Then the programs are told of it. */
void engine_clock_look(struct engine *e);

/* Waits until every program that was running has returned. */
void engine_grace(void);

/*
 * Runs an iterator program to its end, over map where it is one of a map. The link is
 * made once and kept: later runs need no privilege.
 */
int engine_iterate(struct engine *e, struct bpf_program *prog, struct bpf_map *map);

#endif /* TCPLAT_CORE_ENGINE_PRIVATE_H */
