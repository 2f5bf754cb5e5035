/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of our two formats a client wants: the Accept header, with its q values. */
#ifndef TCPLAT_SERVE_HTTP_ACCEPT_H
#define TCPLAT_SERVE_HTTP_ACCEPT_H

#include <stdbool.h>

enum http_format { FORMAT_TEXT, FORMAT_OPENMETRICS, FORMATS };

/* How much a client wants each, as the closest range that it gave says. */
struct http_accept {
	struct {
		int closeness; /* 0: nothing was said */
		int q;	       /* in thousandths; 0 means no */
	} of[FORMATS];
};

/* Starts with zeroes; takes in one header, of which there may be several. */
void http_accept_add(struct http_accept *a, const char *header);

/*
 * OpenMetrics for a client that wants it more than text, or as much and by its name;
 * text for all others, also for those that said that they want neither.
 */
enum http_format http_accept_format(const struct http_accept *a);

#endif /* TCPLAT_SERVE_HTTP_ACCEPT_H */
