/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this kernel lets us see, read from its BTF and from tracefs. */
#ifndef TCPLAT_CORE_FEATURES_H
#define TCPLAT_CORE_FEATURES_H

#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>

struct feature {
	const char *name;    /* tracepoint, or struct.member */
	const char *since;   /* kernel release that brought it */
	const char *gives;   /* what it lets us see */
	const char *without; /* what is missing without it */
	__u32 required;	     /* bit (1 << kind) for each measurement that needs it */
	bool present;
};

/*
 * Fills in `present`. The table is static and ends with a NULL name. Returns
 * NULL where the kernel has no BTF.
 */
const struct feature *features_probe(void);

/* Prints the table for people; returns the exit status. */
int features_print(FILE *out);

/* The first feature that is missing and one of these kinds needs, or NULL. */
const struct feature *features_missing(const struct feature *list, __u32 kinds);

/*
 * Id of a tracepoint of the perf kind, for perf_event_open(2). tracefs is
 * looked for where it is usually mounted and else mounted for this process
 * alone, nowhere visible. Negative errno.
 */
int tracepoint_id(const char *category, const char *name);

#endif /* TCPLAT_CORE_FEATURES_H */
