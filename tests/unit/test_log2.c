// SPDX-License-Identifier: GPL-2.0-or-later
/* The original's histogram: exact text. */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "sink/sink.h"

#define US 1000ULL
#define MS 1000000ULL
#define USECS "     usecs               : count     distribution\n"
#define MSECS "     msecs               : count     distribution\n"

static struct mem m;
static struct histogram h;

static int set_up(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	memset(&h, 0, sizeof(h));
	h.key.kind = TCPLAT_KIND_RTT;
	h.step_ns = TCPLAT_HIST_STEP_US;
	h.cgroup = "";
	mem_open(&m);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mem_close(&m);
	return 0;
}

/* An interval with h in it, as a whole. */
static const char *printed(const struct log2_layout *layout)
{
	struct sink *sink = sink_log2_new(&m.out, layout);

	assert_non_null(sink);
	sink->ops->interval(sink, SAMPLE_UNIX_NS, 1);
	sink->ops->histogram(sink, &h);
	if (sink->ops->interval_end)
		sink->ops->interval_end(sink);
	sink_free(sink);
	return mem_text(&m);
}

/* As many as this in [2^i, 2^(i+1)) units, at its middle. */
static void add_rows(const __u64 *counts, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (counts[i])
			add_values(&h, 12 * h.step_ns << i, counts[i]);
}

/* The first output of the original's documentation. */
static void test_milliseconds(void **state)
{
	static const __u64 counts[] = { 4, 0, 1055, 26, 0, 0, 18, 14, 14, 12 };

	(void)state;
	h.step_ns = TCPLAT_HIST_STEP_MS;
	add_rows(counts, ARRAY_SIZE(counts));
	assert_string_equal(
		printed(&(struct log2_layout){ .unit = "msecs" }),
		"\n" MSECS
		"         0 -> 1          : 4        |                                        |\n"
		"         2 -> 3          : 0        |                                        |\n"
		"         4 -> 7          : 1055     |****************************************|\n"
		"         8 -> 15         : 26       |                                        |\n"
		"        16 -> 31         : 0        |                                        |\n"
		"        32 -> 63         : 0        |                                        |\n"
		"        64 -> 127        : 18       |                                        |\n"
		"       128 -> 255        : 14       |                                        |\n"
		"       256 -> 511        : 14       |                                        |\n"
		"       512 -> 1023       : 12       |                                        |\n");
}

/* The last one, whose average is another's. */
static void test_all_addresses(void **state)
{
	static const __u64 counts[] = {
		0, 0, 0, 0, 0, 0, 5360, 23834, 11276, 700, 434, 356, 328, 91
	};

	(void)state;
	add_rows(counts, ARRAY_SIZE(counts));
	h.sum_ns = h.count * 324 * US + 999;
	assert_string_equal(
		printed(&(struct log2_layout){
			.unit = "usecs", .label = "All Addresses", .average = true }),
		"\n\nAll Addresses = ******* [AVG 324]\n" USECS
		"         0 -> 1          : 0        |                                        |\n"
		"         2 -> 3          : 0        |                                        |\n"
		"         4 -> 7          : 0        |                                        |\n"
		"         8 -> 15         : 0        |                                        |\n"
		"        16 -> 31         : 0        |                                        |\n"
		"        32 -> 63         : 0        |                                        |\n"
		"        64 -> 127        : 5360     |********                                |\n"
		"       128 -> 255        : 23834    |****************************************|\n"
		"       256 -> 511        : 11276    |******************                      |\n"
		"       512 -> 1023       : 700      |*                                       |\n"
		"      1024 -> 2047       : 434      |                                        |\n"
		"      2048 -> 4095       : 356      |                                        |\n"
		"      4096 -> 8191       : 328      |                                        |\n"
		"      8192 -> 16383      : 91       |                                        |\n");
}

/* Two sections of the documentation, one behind the other. */
static void test_remote_addresses(void **state)
{
	static const __u64 third[] = { [12] = 2 };
	struct log2_layout layout = {
		.unit = "usecs", .label = "Remote Address", .by = TCPLAT_KEY_RADDR, .average = true
	};
	struct sink *sink = sink_log2_new(&m.out, &layout);

	(void)state;
	sink->ops->interval(sink, SAMPLE_UNIX_NS, 2);
	h.by = TCPLAT_KEY_RADDR;
	put_addr(h.key.raddr, "10.194.88.148");
	add_rows(third, ARRAY_SIZE(third));
	h.sum_ns = 2 * 6215 * US;
	sink->ops->histogram(sink, &h);
	memset(h.counts, 0, sizeof(h.counts));
	h.count = h.sum_ns = 0;
	put_addr(h.key.raddr, "2001:db8::1");
	add_values(&h, 1999, 3);
	sink->ops->histogram(sink, &h);
	sink_free(sink);
	assert_string_equal(
		mem_text(&m),
		"\n\nRemote Address = 10.194.88.148 [AVG 6215]\n" USECS
		"         0 -> 1          : 0        |                                        |\n"
		"         2 -> 3          : 0        |                                        |\n"
		"         4 -> 7          : 0        |                                        |\n"
		"         8 -> 15         : 0        |                                        |\n"
		"        16 -> 31         : 0        |                                        |\n"
		"        32 -> 63         : 0        |                                        |\n"
		"        64 -> 127        : 0        |                                        |\n"
		"       128 -> 255        : 0        |                                        |\n"
		"       256 -> 511        : 0        |                                        |\n"
		"       512 -> 1023       : 0        |                                        |\n"
		"      1024 -> 2047       : 0        |                                        |\n"
		"      2048 -> 4095       : 0        |                                        |\n"
		"      4096 -> 8191       : 2        |****************************************|\n"
		"\nRemote Address = 2001:db8::1 [AVG 1]\n" USECS
		"         0 -> 1          : 3        |****************************************|\n");
}

static void test_local_address(void **state)
{
	(void)state;
	h.by = TCPLAT_KEY_LADDR;
	put_addr(h.key.laddr, "10.0.0.2");
	add_values(&h, 3 * US, 1);
	assert_string_equal(
		printed(&(struct log2_layout){
			.unit = "usecs", .label = "Local Address", .by = TCPLAT_KEY_LADDR }),
		"\n\nLocal Address = 10.0.0.2\n" USECS
		"         0 -> 1          : 0        |                                        |\n"
		"         2 -> 3          : 1        |****************************************|\n");
}

/* What is below one unit and what is below two are one row, in which the bar has both. */
static void test_first_row(void **state)
{
	(void)state;
	add_values(&h, 0, 3);
	add_values(&h, 1999, 5);
	add_values(&h, 2000, 4);
	assert_string_equal(
		printed(&(struct log2_layout){ .unit = "usecs" }),
		"\n" USECS
		"         0 -> 1          : 8        |****************************************|\n"
		"         2 -> 3          : 4        |********************                    |\n");
}

/* In milliseconds, the average is in them, too. */
static void test_average_in_milliseconds(void **state)
{
	(void)state;
	h.step_ns = TCPLAT_HIST_STEP_MS;
	add_values(&h, 2 * MS, 1);
	add_values(&h, 3 * MS + 999999, 1);
	assert_string_equal(
		printed(&(struct log2_layout){
			.unit = "msecs", .label = "All Addresses", .average = true }),
		"\n\nAll Addresses = ******* [AVG 2]\n" MSECS
		"         0 -> 1          : 0        |                                        |\n"
		"         2 -> 3          : 2        |****************************************|\n");
}

/* A bar's length is rounded down; the row beyond all buckets is the last. */
static void test_last_row(void **state)
{
	(void)state;
	add_values(&h, 1500, 39);
	add_values(&h, ~0ULL / 2, 1601);
	assert_holds(
		printed(&(struct log2_layout){ .unit = "usecs" }),
		"         2 -> 3          : 0        |                                        |\n");
	assert_holds(
		mem_text(&m),
		" 536870912 -> 1073741823 : 0        |                                        |\n"
		"1073741824 -> 2147483647 : 1601     |****************************************|\n");
	assert_holds(
		mem_text(&m),
		"         0 -> 1          : 39       |                                        |\n");
}

/* Retransmits alone are nothing that the original counts. */
static void test_no_round_trip(void **state)
{
	(void)state;
	h.retransmits = 7;
	assert_string_equal(printed(&(struct log2_layout){
				    .unit = "usecs", .label = "All Addresses", .average = true }),
			    "\n");
}

static void test_run(void **state)
{
	struct log2_layout layout = { .unit = "usecs", .timestamp = true };
	struct sink *sink = sink_log2_new(&m.out, &layout);

	(void)state;
	sink->ops->begin(sink);
	sink->ops->interval(sink, SAMPLE_UNIX_NS, 0);
	sink->ops->interval(sink, SAMPLE_UNIX_NS + 61000 * MS, 1);
	add_values(&h, US, 1);
	sink->ops->histogram(sink, &h);
	sink_free(sink);
	assert_string_equal(
		mem_text(&m),
		"Tracing TCP RTT... Hit Ctrl-C to end.\n"
		"\n12:00:00\n"
		"\n12:01:01\n" USECS
		"         0 -> 1          : 1        |****************************************|\n");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_milliseconds),
		CASE(test_all_addresses),
		CASE(test_remote_addresses),
		CASE(test_local_address),
		CASE(test_first_row),
		CASE(test_average_in_milliseconds),
		CASE(test_last_row),
		CASE(test_no_round_trip),
		CASE(test_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
