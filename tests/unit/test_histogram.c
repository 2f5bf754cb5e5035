// SPDX-License-Identifier: GPL-2.0-or-later
/* The histogram sink: exact text. */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "sink/sink.h"

static struct mem m;
static struct sink *sink;
static struct histogram h;

static int open_sink(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	memset(&h, 0, sizeof(h));
	h.key.kind = TCPLAT_KIND_CONNECT;
	h.step_ns = TCPLAT_HIST_STEP_US;
	h.cgroup = "";
	mem_open(&m);
	sink = sink_hist_new(&m.out, "connect latency", false);
	return sink ? 0 : -1;
}

static int close_sink(void **state)
{
	(void)state;
	sink_free(sink);
	mem_close(&m);
	return 0;
}

static void add(__u64 ns, __u64 times)
{
	h.counts[tcplat_hist_bucket(ns / h.step_ns)] += times;
	h.sum_ns += ns * times;
	if (!h.count || ns < h.min_ns)
		h.min_ns = ns;
	if (ns > h.max_ns)
		h.max_ns = ns;
	h.count += times;
}

#define HEAD "      FROM         TO      COUNT\n"

/* The eight buckets of an octave are one bar; bars end at the fullest. */
static void test_rows(void **state)
{
	(void)state;
	add(4000, 10);
	add(7999, 30);
	add(8000, 1);
	add(40000, 20);
	sink->ops->histogram(sink, &h);
	assert_string_equal(
		mem_text(&m),
		"connect latency\n"
		"count 61  min 4us  p50 7.84us  p90 40us  p99 40us  p99.9 40us  max 40us\n" HEAD
		"       4us        8us         40 |****************************************|\n"
		"       8us       16us          1 |*                                       |\n"
		"      16us       32us          0 |                                        |\n"
		"      32us       64us         20 |********************                    |\n"
		"\n");
}

static void test_ends(void **state)
{
	(void)state;
	add(0, 1);
	add(999, 1);
	sink->ops->histogram(sink, &h);
	assert_string_equal(
		mem_text(&m),
		"connect latency\n"
		"count 2  min 0ns  p50 249ns  p90 999ns  p99 999ns  p99.9 999ns  max 999ns\n" HEAD
		"       0ns        1us          2 |****************************************|\n"
		"\n");
}

static void test_beyond(void **state)
{
	(void)state;
	add(1073741824000, 1);
	sink->ops->histogram(sink, &h);
	assert_holds(mem_text(&m),
		     HEAD "     1074s        ...          1 |********************************"
			  "********|\n");
}

/* The edges of each octave are the powers of two of the unit. */
static void test_millisecond_grid(void **state)
{
	(void)state;
	h.step_ns = TCPLAT_HIST_STEP_MS;
	add(20512750, 3);
	sink->ops->histogram(sink, &h);
	assert_holds(mem_text(&m), HEAD "      16ms       32ms          3 |**");
}

static void test_key(void **state)
{
	(void)state;
	h.by = 2 * TCPLAT_KEY_OUTCOME - 1;
	h.cgroup = "/a\nb";
	put_addr(h.key.laddr, "10.0.0.2");
	put_addr(h.key.raddr, "2001:db8::1");
	h.key.lport = 1;
	h.key.rport = 65535;
	h.key.pid = 4294967295U;
	h.key.netns = 3;
	h.key.outcome = TCPLAT_REFUSED;
	strcpy(h.key.comm, "\x1b[31m");
	sink->ops->histogram(sink, &h);
	assert_holds(mem_text(&m),
		     "connect latency laddr=10.0.0.2 raddr=2001:db8::1 lport=1 rport=65535 "
		     "pid=4294967295 comm=\\x1b[31m cgroup=/a\\x0ab netns=3 outcome=refused\n");
}

static void test_part(void **state)
{
	(void)state;
	h.key.kind = TCPLAT_KIND_PICKUP;
	h.by = TCPLAT_KEY_COMM | TCPLAT_KEY_LPORT | TCPLAT_KEY_PART;
	h.key.lport = 80;
	h.key.part = TCPLAT_PART_RUNQ;
	strcpy(h.key.comm, "nginx");
	sink->ops->histogram(sink, &h);
	assert_holds(mem_text(&m), "latency lport=80 comm=nginx part=runq\n");
}

static void test_empty_histogram(void **state)
{
	(void)state;
	sink->ops->histogram(sink, &h);
	assert_string_equal(mem_text(&m),
			    "connect latency\n"
			    "count 0  min 0ns  p50 0ns  p90 0ns  p99 0ns  p99.9 0ns  max 0ns\n" HEAD
			    "\n");
}

static void test_intervals(void **state)
{
	struct sink *timed = sink_hist_new(&m.out, "connect latency", true);

	(void)state;
	sink->ops->interval(sink, SAMPLE_UNIX_NS, 0);
	sink->ops->interval(sink, SAMPLE_UNIX_NS, 5); /* they follow: nothing to add */
	timed->ops->interval(timed, SAMPLE_UNIX_NS, 0);
	timed->ops->interval(timed, SAMPLE_UNIX_NS, 5);
	assert_string_equal(mem_text(&m), "connect latency: none\n\n"
					  "=== 12:00:00.000\n\n"
					  "connect latency: none\n\n"
					  "=== 12:00:00.000\n\n");
	sink_free(timed);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, open_sink, close_sink)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_rows),      CASE(test_ends),
		CASE(test_beyond),    CASE(test_millisecond_grid),
		CASE(test_key),	      CASE(test_empty_histogram),
		CASE(test_intervals), CASE(test_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
