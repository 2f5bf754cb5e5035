/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine: the BPF object from opening to the last count. It knows nothing
 * of options, views or output.
 */
#ifndef TCPLAT_CORE_ENGINE_H
#define TCPLAT_CORE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>

#include "record/record.h"
#include "tcplat/config.h"

struct engine;

struct engine_options {
	const struct tcplat_config *config; /* borrowed until engine_load() returns */
	const int *cgroup_fds;		    /* config->filter.n_cgroups of them */
	size_t ring_bytes;		    /* a power of two, at least a page */
	bool intervals;			    /* histograms are read while events go on */
	bool retire;			    /* keys of histograms are retired now and then */
	bool single_hook;		    /* tests: without the second copy of the hook */
};

/*
 * Opens, sizes and loads. Reports by log_error() what the kernel or our rights
 * lack, and returns a negative errno then.
 */
int engine_load(struct engine **engine, const struct engine_options *options);

/* Detaches and frees everything. NULL is fine. */
void engine_free(struct engine *e);

static inline void engine_freep(struct engine **e)
{
	engine_free(*e);
}

/* Marks a task (by pidfd) as the command: its descendants are traced. */
int engine_trace_task(struct engine *e, int pidfd);

/*
 * Attaches every program and marks what is older than the tracer. Reports what
 * is optional and missing as a warning. Negative errno, reported.
 */
int engine_attach(struct engine *e);

/* Readable when rows wait; see wake_ns in tcplat/config.h. */
int engine_fd(const struct engine *e);

/*
 * ev is followed by what its kind adds: size bytes in all, never more than the
 * kind's structure has. Borrowed.
 */
typedef void engine_row_fn(void *arg, const struct tcplat_event *ev, size_t size);

/* Hands over rows that wait, at most so many at a time; their number, or a negative errno. */
int engine_drain(struct engine *e, engine_row_fn *fn, void *arg);

/* Looks for samples that idle sockets still hold. A failure is reported, and no more than that. */
void engine_collect(struct engine *e);

/*
 * Stops counting at one moment: events after it are not ours, and no program
 * is still at work when this returns (membarrier(2) waits for RCU readers).
 */
void engine_stop(struct engine *e);

typedef void engine_hist_fn(void *arg, struct histogram *h);

/*
 * Hands over what each key's histogram gained since the last call, and starts
 * a new interval; before engine_stop() only with the option for that. Only key,
 * by, step and counts, extremes and sum are filled. Negative errno on failure.
 */
int engine_histograms(struct engine *e, engine_hist_fn *fn, void *arg);

/*
 * Takes keys out of the table, so that their slots can be used by others. What they
 * have counted since the last engine_histograms() is handed over as there; nothing is
 * lost, for a slot is used again only after every program and socket that knew it has
 * let go. A key that is seen again gets a new slot. Only with the options for intervals
 * and this. -ENOTSUP: not on this kernel.
 */
int engine_retire(struct engine *e, const __u32 *slots, size_t n, engine_hist_fn *fn, void *arg);

/* What the engine holds now, as of the last engine_histograms(). */
struct engine_usage {
	__u32 keys, max_keys;	 /* of histograms */
	__u64 sockets;		 /* that have state */
	__u64 histogram_bytes;	 /* of kernel memory, allocated from the start */
	__u64 socket_bytes;	 /* what the sockets' state takes, but for deep FIFOs */
	struct summary counters; /* still_open is not known while tracing goes on */
};

void engine_usage(struct engine *e, struct engine_usage *u);

/*
 * Has the kernel time every BPF program of the host, until the engine is freed.
 * Negative errno; -EPERM: that takes CAP_SYS_ADMIN.
 */
int engine_time_programs(struct engine *e);

typedef void engine_program_fn(void *arg, const char *name, __u64 runs, __u64 ns);

/* Each attached program's runs, and the time they took where it is measured. */
void engine_programs(const struct engine *e, engine_program_fn *fn, void *arg);

/* After engine_stop(). Counts what is still open by a pass over the sockets. */
int engine_summary(struct engine *e, struct summary *sum);

/* Says by log_info() which programs are attached where, with their sizes. */
void engine_describe(const struct engine *e);

#endif /* TCPLAT_CORE_ENGINE_H */
