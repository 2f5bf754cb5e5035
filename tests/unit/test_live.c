// SPDX-License-Identifier: GPL-2.0-or-later
/* The summary of a host: exact text. */
#include "intervals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"

static struct mem m;
static struct sink *sink;
static struct histogram hs[64]; /* of the next interval */
static unsigned n;

static void open_sink(__u32 top)
{
	sink_free(sink);
	sink = sink_live_new(&m.out, top);
	assert_non_null(sink);
}

static int set_up(void **state)
{
	(void)state;
	plain_environment();
	mem_open(&m);
	sink = NULL;
	n = 0;
	open_sink(5);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sink_free(sink);
	mem_close(&m);
	return 0;
}

/* One more histogram for the next interval, of so many equal values. */
static struct histogram *add(enum tcplat_kind kind, const char *raddr, const char *comm, __u64 ns,
			     __u64 times)
{
	struct histogram *h = &hs[n++];

	assert_true(n <= ARRAY_SIZE(hs));
	*h = empty_histogram(kind);
	put_addr(h->key.raddr, raddr);
	memcpy(h->key.comm, comm, strnlen(comm, sizeof(h->key.comm)));
	if (times)
		add_values(h, ns, times);
	return h;
}

static void failed(const char *raddr, const char *comm, enum tcplat_outcome outcome, __u64 times)
{
	add(TCPLAT_KIND_CONNECT, raddr, comm, 3 * S, times)->key.outcome = (__u8)outcome;
}

/* The interval that ends so many seconds after noon, with what was added. */
static void interval(unsigned second)
{
	deliver(sink, SAMPLE_UNIX_NS + second * S, hs, n);
	n = 0;
}

#define CONNECT TCPLAT_KIND_CONNECT
#define PICKUP TCPLAT_KIND_PICKUP
#define RTT TCPLAT_KIND_RTT

#define NONE                                   \
	"          failed              none\n" \
	"          round trips         none\n" \
	"          retransmits         none\n" \
	"          pickups             none\n"

#define NO_LISTS "\nWORST REMOTE ADDRESSES: none\n\nWORST PROGRAMS: none\n"

#define ADDRESSES                    \
	"\nWORST REMOTE ADDRESSES\n" \
	"RADDR             CONNECTS FAILED CONN P99 RTT P50 RTT P99 RETRANS PICKUP P99\n"
#define PROGRAMS             \
	"\nWORST PROGRAMS\n" \
	"COMM              CONNECTS FAILED CONN P99 RTT P99 PICKUPS PICKUP P50 PICKUP P99\n"

static void test_block(void **state)
{
	(void)state;
	add(CONNECT, "10.0.0.1", "curl", 64 * US, 100);
	add(CONNECT, "10.0.0.1", "wget", 1020 * US, 20);
	failed("10.0.0.9", "curl", TCPLAT_REFUSED, 2);
	failed("2001:db8::1", "wget", TCPLAT_TIMED_OUT, 1);
	add(RTT, "10.0.0.1", "curl", 50 * US, 5000);
	add(RTT, "10.0.0.2", "nginx", 5 * MS, 210)->retransmits = 12;
	add(PICKUP, "10.0.0.2", "nginx", 8 * US, 9000);
	add(PICKUP, "10.0.0.1", "curl", 20 * US, 1);
	interval(1);
	finish(sink);
	assert_string_equal(
		mem_text(&m),
		"12:00:01  connects         123.0/s  p50 68.8us  p99 1.02ms\n"
		"          failed             3.0/s  refused 2, timed_out 1\n"
		"          round trips     5210.0/s  p50 51.0us  p99 4.90ms\n"
		"          retransmits       12.0/s  12 segments\n"
		"          pickups         9001.0/s  p50 8.50us  p99 8.99us\n" ADDRESSES
		"10.0.0.9                 2      2        -       -       -       0          -\n"
		"2001:db8::1              1      1        -       -       -       0          -\n"
		"10.0.0.2                 0      0        -     5ms     5ms      12        8us\n"
		"10.0.0.1               120      0   1.02ms    50us    50us       0       20us\n" PROGRAMS
		"curl                   102      2     64us    50us       1       20us       20us\n"
		"wget                    21      1   1.02ms       -       0          -          -\n"
		"nginx                    0      0        -     5ms    9000        8us        8us\n");
}

static void test_nothing(void **state)
{
	(void)state;
	/* The rest of an interval, in which nothing was. */
	sink->ops->interval_end(sink);
	finish(sink);
	assert_string_equal(mem_text(&m), "connects, round trips, pickups: none\n");
}

static void test_empty_interval(void **state)
{
	(void)state;
	interval(3);
	finish(sink);
	assert_string_equal(mem_text(&m), "12:00:03  connects            none\n" NONE NO_LISTS);
}

/* By the interval's true length. */
static void test_rates(void **state)
{
	(void)state;
	add(CONNECT, "10.0.0.1", "curl", 64 * US, 3);
	failed("10.0.0.1", "curl", TCPLAT_REFUSED, 1);
	add(RTT, "10.0.0.1", "curl", 64 * US, 5)->retransmits = 1;
	add(PICKUP, "10.0.0.1", "curl", 64 * US, 1000000);
	for (unsigned i = 0; i < n; i++)
		hs[i].interval_ns = S / 2;
	interval(0);
	assert_holds(mem_text(&m), "12:00:00  connects           8.0/s  p50   64us  p99   64us\n"
				   "          failed             2.0/s  refused 1\n"
				   "          round trips       10.0/s  p50   64us  p99   64us\n"
				   "          retransmits        2.0/s  1 segment\n"
				   "          pickups      2000000.0/s  p50   64us  p99   64us\n");
}

/* Where all failed there is nothing to take a quantile of. */
static void test_all_failed(void **state)
{
	(void)state;
	failed("10.0.0.1", "curl", TCPLAT_ABORTED, 4);
	interval(0);
	assert_holds(mem_text(&m), "12:00:00  connects           4.0/s  p50      -  p99      -\n"
				   "          failed             4.0/s  aborted 4\n"
				   "          round trips         none\n");
}

/* Each that occurred, in as many lines as that takes. */
static void test_outcomes(void **state)
{
	(void)state;
	for (unsigned i = TCPLAT_REFUSED; i < TCPLAT_NR_OUTCOMES; i++)
		failed("10.0.0.1", "curl", i, 1000 + i);
	failed("10.0.0.2", "curl", TCPLAT_REFUSED, 10);
	interval(0);
	assert_holds(mem_text(&m),
		     "          failed          8046.0/s  refused 1011, reset 1002,"
		     " timed_out 1003,\n"
		     "                                    host_unreachable 1004,\n"
		     "                                    network_unreachable 1005,"
		     " aborted 1006,\n"
		     "                                    no_local_port 1007, error 1008\n"
		     "          round trips");
}

/* Sent again, and never acknowledged: a histogram without a value. */
static void test_retransmits_alone(void **state)
{
	(void)state;
	add(RTT, "10.0.0.1", "curl", 0, 0)->retransmits = 1;
	interval(0);
	assert_string_equal(
		mem_text(&m),
		"12:00:00  connects            none\n"
		"          failed              none\n"
		"          round trips         none\n"
		"          retransmits        1.0/s  1 segment\n"
		"          pickups             none\n" ADDRESSES
		"10.0.0.1                 0      0        -       -       -       1          -\n" PROGRAMS
		"curl                     0      0        -       -       0          -          -\n");
}

/* What stands for keys without room is in the totals only. */
static void test_rest(void **state)
{
	static const __u8 kinds[] = { CONNECT, CONNECT, RTT, PICKUP };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct histogram *h = &hs[n++];

		*h = empty_histogram(kinds[i]);
		h->key.rest = 1;
		h->retransmits = kinds[i] == RTT ? 7 : 0;
		add_values(h, 2 * MS, i + 1);
	}
	hs[1].key.outcome = TCPLAT_RESET;
	interval(0);
	assert_string_equal(
		mem_text(&m),
		"12:00:00  connects           3.0/s  p50    2ms  p99    2ms\n"
		"          failed             2.0/s  reset 2\n"
		"          round trips        3.0/s  p50    2ms  p99    2ms\n"
		"          retransmits        7.0/s  7 segments\n"
		"          pickups            4.0/s  p50    2ms  p99    2ms\n" NO_LISTS);
}

/* The key's bytes come from whoever named the program. */
static void test_hostile_names(void **state)
{
	(void)state;
	add(PICKUP, "10.0.0.1", "\x1b[2J\n", 4 * US, 1);
	add(PICKUP, "10.0.0.1", "sixteen bytes 16", 3 * US, 1);
	add(PICKUP, "10.0.0.1", "caf\xc3\xa9", 2 * US, 1);
	add(PICKUP, "10.0.0.1", "", 1 * US, 1);
	interval(0);
	assert_holds(
		mem_text(&m), PROGRAMS
		"\\x1b[2J\\x0a              0      0        -       -       1        4us        4us\n"
		"sixteen bytes 16         0      0        -       -       1        3us        3us\n"
		"caf\xc3\xa9                     0      0        -       -       1        2us        2us\n"
		"-                        0      0        -       -       1        1us        1us\n");
	assert_null(strchr(mem_text(&m), '\x1b'));
}

/* The names at the beginning of the lines behind a header, until an empty one. */
static const char *names_below(const char *header)
{
	static char names[256];
	const char *p = strstr(mem_text(&m), header);
	size_t at = 0;

	assert_non_null(p);
	for (p = strchr(p, '\n') + 1; *p && *p != '\n'; p = strchr(p, '\n') + 1) {
		size_t len = strcspn(p, " ");

		assert_true(at + len + 2 < sizeof(names));
		memcpy(names + at, p, len);
		at += len;
		names[at++] = ' ';
	}
	names[at] = 0;
	return names;
}

static void test_order_of_addresses(void **state)
{
	(void)state;
	open_sink(20);
	add(RTT, "10.0.0.8", "a", 1 * MS, 1);
	add(RTT, "10.0.0.7", "a", 1 * MS, 1);
	add(PICKUP, "10.0.0.6", "a", 9 * S, 1);
	add(RTT, "10.0.0.6", "a", 1 * MS, 1);
	add(RTT, "10.0.0.5", "a", 1 * MS, 1)->retransmits = 1;
	add(RTT, "10.0.0.4", "a", 2 * MS, 1);
	add(CONNECT, "10.0.0.3", "a", 3 * MS, 1);
	failed("10.0.0.2", "a", TCPLAT_REFUSED, 1);
	failed("10.0.0.1", "a", TCPLAT_REFUSED, 1);
	failed("10.0.0.1", "a", TCPLAT_TIMED_OUT, 1);
	/* More connects, but none of them failed. */
	add(CONNECT, "10.0.0.9", "a", 4 * MS, 50);
	add(RTT, "10.0.0.9", "a", 1 * MS, 50);
	interval(0);
	assert_string_equal(names_below("RADDR"),
			    "10.0.0.1 10.0.0.2 10.0.0.9 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 "
			    "10.0.0.7 10.0.0.8 ");
}

static void test_order_of_programs(void **state)
{
	(void)state;
	open_sink(20);
	add(RTT, "10.0.0.1", "g", 1 * MS, 1);
	add(RTT, "10.0.0.1", "f", 1 * MS, 1);
	add(RTT, "10.0.0.1", "e", 2 * MS, 1);
	add(CONNECT, "10.0.0.1", "d", 3 * MS, 1);
	failed("10.0.0.1", "c", TCPLAT_REFUSED, 5);
	add(PICKUP, "10.0.0.1", "b", 1 * US, 1);
	add(PICKUP, "10.0.0.1", "a", 2 * US, 1);
	interval(0);
	assert_string_equal(names_below("COMM"), "c a b d e f g ");
}

/* A line is the sum of all keys that it stands for. */
static void test_merging(void **state)
{
	(void)state;
	add(RTT, "10.0.0.1", "a", 64 * US, 99);
	add(RTT, "10.0.0.1", "b", 1 * MS, 1)->retransmits = 2;
	add(RTT, "10.0.0.1", "c", 10 * MS, 2)->retransmits = 1;
	add(RTT, "10.0.0.2", "a", 80 * US, 1);
	interval(0);
	assert_holds(
		mem_text(&m),
		"10.0.0.1                 0      0        -  68.1us  9.41ms       3          -\n"
		"10.0.0.2                 0      0        -    80us    80us       0          -\n");
	assert_holds(
		mem_text(&m),
		"\nc                        0      0        -    10ms       0          -          -\n"
		"b                        0      0        -     1ms       0          -          -\n"
		"a                        0      0        -  72.0us       0          -          -\n");
}

/* Of one bucket, between the lowest of all and the highest of all. */
static void test_extremes(void **state)
{
	(void)state;
	add(RTT, "10.0.0.1", "a", 68 * US, 1);
	add(RTT, "10.0.0.1", "b", 64 * US, 1);
	add(RTT, "10.0.0.1", "c", 71 * US, 1);
	interval(0);
	assert_holds(mem_text(&m), "round trips        3.0/s  p50 67.5us  p99   71us\n");
}

static void test_top(void **state)
{
	(void)state;
	open_sink(2);
	for (unsigned i = 1; i <= 4; i++) {
		char addr[16], comm[8];

		snprintf(addr, sizeof(addr), "10.0.0.%u", i);
		snprintf(comm, sizeof(comm), "p%u", i);
		add(RTT, addr, comm, i * MS, 1);
	}
	interval(0);
	assert_string_equal(names_below("RADDR"), "10.0.0.4 10.0.0.3 ");
	assert_string_equal(names_below("COMM"), "p4 p3 ");
	/* All of them are in the totals. */
	assert_holds(mem_text(&m), "round trips        4.0/s");
}

/* As many keys as a host may have, each with an address and a name of its own. */
static void test_many_keys(void **state)
{
	(void)state;
	open_sink(1);
	sink->ops->interval(sink, SAMPLE_UNIX_NS, 10000);
	for (unsigned i = 0; i < 10000; i++) {
		char addr[20], comm[16];

		snprintf(addr, sizeof(addr), "10.0.%u.%u", i / 250, i % 250);
		snprintf(comm, sizeof(comm), "p%u", i);
		n = 0;
		sink->ops->histogram(sink, add(PICKUP, addr, comm, (i == 4321 ? 9 : 5) * US, 1));
	}
	sink->ops->interval_end(sink);
	assert_holds(mem_text(&m), "pickups        10000.0/s");
	assert_string_equal(names_below("RADDR"), "10.0.17.71 ");
	assert_string_equal(names_below("COMM"), "p4321 ");
}

/* Each block is of its interval alone; the last one of them all. */
static void test_whole_run(void **state)
{
	(void)state;
	add(CONNECT, "10.0.0.1", "curl", 64 * US, 6);
	failed("10.0.0.1", "curl", TCPLAT_REFUSED, 1);
	add(RTT, "10.0.0.1", "curl", 64 * US, 1)->retransmits = 1;
	interval(1);
	/* Its length is the time between their ends. */
	interval(2);
	add(CONNECT, "10.0.0.1", "curl", 4 * MS, 3)->interval_ns = S / 2;
	failed("10.0.0.1", "curl", TCPLAT_ERROR, 2);
	hs[1].interval_ns = S / 2;
	interval(3);
	sink->ops->interval_end(sink);
	finish(sink);
	assert_string_equal(
		mem_text(&m),
		"12:00:01  connects           7.0/s  p50   64us  p99   64us\n"
		"          failed             1.0/s  refused 1\n"
		"          round trips        1.0/s  p50   64us  p99   64us\n"
		"          retransmits        1.0/s  1 segment\n"
		"          pickups             none\n" ADDRESSES
		"10.0.0.1                 7      1     64us    64us    64us       1          -\n" PROGRAMS
		"curl                     7      1     64us    64us       0          -          -\n"
		"\n"
		"12:00:02  connects            none\n" NONE NO_LISTS "\n"
		"12:00:03  connects          10.0/s  p50    4ms  p99    4ms\n"
		"          failed             4.0/s  error 2\n"
		"          round trips         none\n"
		"          retransmits         none\n"
		"          pickups             none\n" ADDRESSES
		"10.0.0.1                 5      2      4ms       -       -       0          -\n" PROGRAMS
		"curl                     5      2      4ms       -       0          -          -\n"
		"\n"
		"whole run, 2.5 s\n"
		"          connects           4.8/s  p50   70us  p99    4ms\n"
		"          failed             1.2/s  refused 1, error 2\n"
		"          round trips        0.4/s  p50   64us  p99   64us\n"
		"          retransmits        0.4/s  1 segment\n"
		"          pickups             none\n");
}

/* The first interval begins with the run, also where nothing tells its length. */
static void test_begin(void **state)
{
	__u64 now;

	(void)state;
	sink->ops->begin(sink);
	now = clock_ns(CLOCK_REALTIME);
	deliver(sink, now + 20000 * S, NULL, 0);
	add(RTT, "10.0.0.1", "curl", 64 * US, 20010);
	deliver(sink, now + 20001 * S, hs, n);
	finish(sink);
	/* Give or take what the machine needs between the two clocks. */
	assert_holds(mem_text(&m), "\nwhole run, 20001.");
	assert_holds(mem_text(&m), "round trips        1.0/s  p50   64us  p99   64us\n"
				   "          retransmits         none\n"
				   "          pickups             none\n");
}

static void test_summary(void **state)
{
	static const struct summary lossy = { .events = 7, .lost = { [TCPLAT_LOST_NO_STATE] = 2 } };

	(void)state;
	stderr_begin();
	sink->ops->summary(sink, &lossy);
	assert_holds(stderr_end(), "lost 2");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_block),
		CASE(test_nothing),
		CASE(test_empty_interval),
		CASE(test_rates),
		CASE(test_all_failed),
		CASE(test_outcomes),
		CASE(test_retransmits_alone),
		CASE(test_rest),
		CASE(test_hostile_names),
		CASE(test_order_of_addresses),
		CASE(test_order_of_programs),
		CASE(test_merging),
		CASE(test_extremes),
		CASE(test_top),
		CASE(test_many_keys),
		CASE(test_whole_run),
		CASE(test_begin),
		CASE(test_summary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
