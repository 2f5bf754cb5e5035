/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The HTTP side of `tcplat serve`: /metrics, which is streamed, /-/healthy, /-/ready
 * and a page that says what this is. One thread, in the caller's loop; without a
 * connection it asks for no wake-up.
 */
#ifndef TCPLAT_SERVE_HTTP_H
#define TCPLAT_SERVE_HTTP_H

#include <linux/types.h>
#include <stdbool.h>
#include <sys/types.h>

#include "cli/listen.h"
#include "core/loop.h"

#define HTTP_CLIENTS 64	 /* connections that are kept */
#define HTTP_LISTENERS 8 /* addresses */
#define HTTP_HEAD 8192	 /* bytes that the head of a request may have */
#define HTTP_TARGET 1024 /* and the target in it */
#define HTTP_FIELDS 100	 /* fields in it, cookies, and arguments of the target */
#define HTTP_BLOCK (16 * 1024)

struct http_ops {
	/* A page, of which each part is read once. NULL: there is none now (503). */
	void *(*open)(void *arg, bool openmetrics);
	/* 1 to max bytes, which are HTTP_BLOCK or more; 0: the end; negative: it cannot go on. */
	ssize_t (*read)(void *body, char *buf, size_t max);
	/* Once for each open(), also when the client went away. */
	void (*close)(void *body);
	bool (*ready)(void *arg);
};

struct http_counters {
	__u64 cut;	/* connections that we ended: no room, or too slow */
	__u64 requests; /* whole ones, whatever for */
	unsigned connections;
};

/* How long, in ns: for a whole request, for its answer, between an answer and a request. */
struct http_times {
	__u64 request, answer, idle;
};

struct http;

/* SIGPIPE has to be ignored. Returns 0 or a negative errno; nothing is reported. */
int http_new(struct http **http, struct loop *loop, const struct http_ops *ops, void *arg);
/* Before the loop is freed. */
void http_free(struct http *h);

static inline void http_freep(struct http **h)
{
	http_free(*h);
}

/* Returns a negative errno, -EADDRINUSE …, that is not reported; -ENOSPC: one too many. */
int http_listen(struct http *h, const struct listen_address *a);
/* What the i-th is bound to, with the port that the kernel chose; NULL after the last. */
const struct sockaddr_storage *http_address(const struct http *h, unsigned i);

struct http_counters http_counters(const struct http *h);

/* For tests; of connections that come from now on. 10, 60 and 120 s unless set. */
void http_set_times(struct http *h, const struct http_times *times);

#endif /* TCPLAT_SERVE_HTTP_H */
