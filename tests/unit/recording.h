/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A recording in a file, read by the replay source as the session does it. */
#ifndef TCPLAT_TESTS_RECORDING_H
#define TCPLAT_TESTS_RECORDING_H

#include "support.h"

#include "cli/query.h"

struct replay_run {
	struct query query; /* for the test to change before a replay */
	char path[32];

	/* What the last replay gave. */
	struct collected got;
	struct summary sum;
	int summary_err;
	const char *said; /* on stderr */
};

extern struct replay_run run;

/* Of the whole program: makes and removes the file. */
int recording_make(void **state);
int recording_remove(void **state);
/* Before each test: a query without options, of connects, pickups or round trips. */
int recording_fresh(void **state);
int recording_fresh_pickup(void **state);
int recording_fresh_rtt(void **state);

/* Replays these bytes. Returns the last drain's result, 0 at the end. */
int replay_bytes(const void *bytes, size_t len);
int replay(const char *text);

#define CONNECT(time, comm, ip, raddr, us, outcome, more)                               \
	"{\"event\":\"connect\",\"time\":\"2026-03-01T12:00:0" time "Z\",\"pid\":4242," \
	"\"tid\":4243,\"comm\":\"" comm "\",\"ip\":" ip ",\"laddr\":\"10.0.0.2\","      \
	"\"lport\":40000,\"raddr\":\"" raddr "\",\"rport\":80,\"latency_us\":" us       \
	",\"outcome\":\"" outcome "\",\"error\":null,\"syn_retransmits\":0,"            \
	"\"handshake_rtt_us\":20480,\"netns\":4026531840,\"cgroup\":\"/user.slice\"" more "}\n"
#define FIRST CONNECT("0.000123", "curl", "4", "10.0.0.1", "20512.75", "established", "")
#define SECOND CONNECT("1.5", "nc", "4", "10.0.0.9", "0.125", "refused", "")
#define LOST(n)                                                                              \
	"\"lost\":{\"ring_full\":" n ",\"no_state\":0,\"reentered\":0,\"keys_full\":" n ", " \
	"\"fifo_merged\":0,\"clock\":0}"
#define SUMMARY(n)                                                                      \
	"{\"event\":\"summary\",\"events\":99,\"unseen_start\":" n ",\"still_open\":" n \
	"," LOST(n) "}\n"

/* What is said of a line whose member is not as it should be. */
#define FORM(member) "member \"" member "\" is missing or not of its form"

/* Fails unless this was said of that line, and nothing else. why NULL: anything. */
void assert_error(unsigned line, const char *why);

#endif /* TCPLAT_TESTS_RECORDING_H */
