/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of sinks that show intervals: a terminal to show them on, and intervals. */
#ifndef TCPLAT_TESTS_INTERVALS_H
#define TCPLAT_TESTS_INTERVALS_H

#include "support.h"

#include "sink/sink.h"

#define US 1000ULL
#define MS 1000000ULL
#define S 1000000000ULL

/* A terminal, an out that writes to it, and what came there. */
struct pty {
	struct out out;
	int master;
	char text[16384];
};

/* Skips the test where there are no terminals at all. */
void pty_open(struct pty *p, unsigned short width, unsigned short height);
void pty_resize(struct pty *p, unsigned short width, unsigned short height);
/* All that was written since the last call; valid until the next. */
const char *pty_text(struct pty *p);
void pty_close(struct pty *p);

/* As on a terminal that knows colours and shows ASCII only; UTC. */
void plain_environment(void);

/* What a sink puts around what it draws on a terminal. */
#define DRAW "\x1b[?7l"
#define DRAWN "\x1b[?7h"

/* A histogram of that kind without anything in it, of an interval of one second. */
struct histogram empty_histogram(enum tcplat_kind kind);
/* An interval that ends then, as a session delivers it. */
void deliver(struct sink *s, __u64 unix_ns, const struct histogram *h, unsigned n);
/* The end of a run without losses: nothing goes to stderr. */
void finish(struct sink *s);

#endif /* TCPLAT_TESTS_INTERVALS_H */
