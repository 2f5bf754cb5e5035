/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where our output goes: standard output or the file of -o. Written in whole
 * batches: the reader of a pipe sees a row as soon as it was read from the
 * kernel. The first error is kept; later writes do nothing.
 */
#ifndef TCPLAT_SINK_OUT_H
#define TCPLAT_SINK_OUT_H

#include <stdio.h>

struct out {
	FILE *f;
	int err;    /* negative errno of the first failure; -EPIPE: nobody reads */
	char *path; /* owned; NULL: standard output */
};

/* path NULL: standard output. Returns 0 or a negative errno. */
int out_open(struct out *o, const char *path);
__attribute__((format(printf, 2, 3))) void out_printf(struct out *o, const char *fmt, ...);
void out_write(struct out *o, const char *s, size_t len);
/* Hands everything to the kernel; returns o->err. */
int out_flush(struct out *o);
/* Flushes and closes; returns the first error of all, once. */
int out_close(struct out *o);
/* For messages: the path, or "standard output". */
const char *out_name(const struct out *o);

#endif /* TCPLAT_SINK_OUT_H */
