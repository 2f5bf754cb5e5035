/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A server with pages made up here, and clients of it, in one thread and one loop. */
#ifndef TCPLAT_TESTS_HTTP_PEER_H
#define TCPLAT_TESTS_HTTP_PEER_H

#include "support.h"

#include <string.h>

#include "core/clock.h"
#include "serve/http.h"

#define MS 1000000ULL

/* What the server's pages are, and what became of them. */
struct pages {
	size_t size;   /* bytes, "0123456789…" over and over */
	size_t broken; /* cannot go on after so many; 0: can */
	bool none, ready;
	unsigned opened, closed, reads;
	size_t least;	  /* that a block had room for */
	bool openmetrics; /* the last one */
};

extern struct pages pages;
extern struct loop *loop;
extern struct http *server;

/* Set-up and tear-down of cmocka. The latter checks that each page was closed. */
int server_start(void **state);
int server_stop(void **state);

struct peer {
	int fd; /* -1: closed */
	char *got;
	size_t len, room;
	bool ended;
	int error; /* of receiving */
};

/* receive: bytes of the receive buffer; 0: as the system has it. */
struct peer peer_open(int receive);
void peer_send(struct peer *p, const char *text);
/* Runs the loop until it has got that text, or all; fails after 10 s. */
void peer_wait(struct peer *p, const char *text);
void peer_wait_end(struct peer *p);
/* The first with a buffer of its own for all it gets; closes it, with a reset if so asked. */
void peer_close(struct peer *p, bool reset);

/* Sends it on a connection of its own, and its end; what came until the end. */
const char *ask(const char *request);

/* Fails unless the answer has that status. */
void assert_status(const char *answer, unsigned status);

/* Runs the loop until it holds, or fails after 10 s. */
typedef bool condition(const void *arg);
void wait_until(condition *holds, const void *arg);
/* Runs the loop for so long; returns how often it had something to do. */
unsigned run_for(__u64 ns);

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

#endif /* TCPLAT_TESTS_HTTP_PEER_H */
