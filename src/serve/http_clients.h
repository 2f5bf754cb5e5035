/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is connected, and how long each may stay. Knows sockets and times, nothing of
 * HTTP: what a client is doing is told by http_answer.c. A client that has to go is shut
 * down here and closed there, by libmicrohttpd, to which its descriptor belongs.
 */
#ifndef TCPLAT_SERVE_HTTP_CLIENTS_H
#define TCPLAT_SERVE_HTTP_CLIENTS_H

#include <linux/types.h>
#include <stdbool.h>

#include "serve/http.h"

enum http_doing {
	DOING_ASKING,	 /* has not sent a whole request, and may take times.request for it */
	DOING_ANSWERING, /* its answer is under way, and may take times.answer */
	DOING_NOTHING,	 /* had an answer, and may come again within times.idle */
};

struct http_client {
	int fd; /* -1: free */
	enum http_doing doing;
	bool leaving; /* shut down, and soon closed */
	__u64 deadline;
	__u64 since;	/* when it came, or had its last answer */
	__u64 moved;	/* when its answer last went on */
	__u64 received; /* what it had sent when it had its answer */
	int target;	/* what it asks for, as http_answer.c has it, */
	bool heard;	/* and whether that was told of it */
};

struct http_clients {
	struct http_client of[HTTP_CLIENTS];
	struct http_times times;
	unsigned n;
	__u64 cut;
};

void clients_init(struct http_clients *all);
/* NULL when there is no room. */
struct http_client *clients_add(struct http_clients *all, int fd, __u64 now);
void clients_remove(struct http_clients *all, struct http_client *c);

/* It has begun to ask, its request is there, its answer goes on, its answer is done. */
void client_asking(struct http_clients *all, struct http_client *c, __u64 now);
void client_asked(struct http_clients *all, struct http_client *c, __u64 now);
void client_moved(struct http_client *c, __u64 now);
void client_answered(struct http_clients *all, struct http_client *c, __u64 now);

/*
 * Looks which of those that had an answer have begun to ask again, and lets go those
 * that have sent their end: libmicrohttpd does not see it when it came with a request.
 * To be called when it has nothing more to do.
 */
void clients_look(struct http_clients *all, __u64 now);
/* Cuts those whose time is over. */
void clients_expire(struct http_clients *all, __u64 now);
/* The next deadline; 0: there is nobody. */
__u64 clients_deadline(const struct http_clients *all);

/*
 * Cuts the one that can best be spared: the oldest that has no answer under way, or
 * the one whose answer has stood still for longest, if that is a second or more.
 */
bool clients_spare_one(struct http_clients *all, __u64 now);

/* Its socket will be reset, not ended: what it got so far is not whole. */
void client_spoil(const struct http_client *c);

#endif /* TCPLAT_SERVE_HTTP_CLIENTS_H */
