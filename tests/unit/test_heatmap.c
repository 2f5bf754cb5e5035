// SPDX-License-Identifier: GPL-2.0-or-later
/* The heat map: exact text. */
#include "intervals.h"

#include <stdlib.h>
#include <string.h>
#include "core/cleanup.h"
#include "core/clock.h"

static struct mem m;
static struct sink *sink;
static unsigned intervals;

static int set_up(void **state)
{
	(void)state;
	plain_environment();
	intervals = 0;
	mem_open(&m);
	sink = sink_heatmap_new(&m.out, "connect latency");
	return sink ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	sink_free(sink);
	mem_close(&m);
	return 0;
}

/* The next interval of a second, with this or without anything. */
static void next(const struct histogram *h)
{
	intervals++;
	deliver(sink, SAMPLE_UNIX_NS + intervals * S, h, h != NULL);
}

static void column(__u64 ns, __u64 times)
{
	struct histogram h = empty_histogram(TCPLAT_KIND_CONNECT);

	add_values(&h, ns, times);
	next(times ? &h : NULL);
}

/* Three intervals: 16 us to 80 us, nothing, and one value. */
static void three_columns(void)
{
	struct histogram h = empty_histogram(TCPLAT_KIND_CONNECT);

	add_values(&h, 16 * US, 1);
	add_values(&h, 20 * US, 1);
	add_values(&h, 40 * US, 100);
	add_values(&h, 80 * US, 9);
	next(&h);
	column(0, 0);
	column(64 * US, 3);
}

#define ROWS(c16, c20, c40, c64, c80) \
	"     16us|" c16 "\n"         \
	"     18us|\n"                \
	"     20us|" c20 "\n"         \
	"     22us|\n"                \
	"     24us|\n"                \
	"     26us|\n"                \
	"     28us|\n"                \
	"     30us|\n"                \
	"     32us|\n"                \
	"     36us|\n"                \
	"     40us|" c40 "\n"         \
	"     44us|\n"                \
	"     48us|\n"                \
	"     52us|\n"                \
	"     56us|\n"                \
	"     60us|\n"                \
	"     64us|" c64 "\n"         \
	"     72us|\n"                \
	"     80us|" c80 "\n"

static void test_ascii(void **state)
{
	(void)state;
	three_columns();
	assert_string_equal(mem_text(&m), "");
	finish(sink);
	assert_string_equal(
		mem_text(&m),
		"connect latency, each column 1s, total 114\n" ROWS(
			":", ":", "@", "  -",
			"+") "         +---\n"
			     "          12:00:00 - 12:00:02\n"
			     "    count : 1  - 2-3  = 4-6  + 7-11  * 12-20  # 21-35  % 36-59  @ 60-100\n");
}

static void test_utf8(void **state)
{
	(void)state;
	setenv("LC_ALL", "C.UTF-8", 1);
	three_columns();
	finish(sink);
	assert_string_equal(
		mem_text(&m),
		"connect latency, each column 1s, total 114\n" ROWS(
			"░", "░", "█", "  ▒", "▒") "         +---\n"
						   "          12:00:00 - 12:00:02\n"
						   "    count ░ 1-2  ▒ 3-9  ▓ 10-30  █ 31-100\n");
}

static void test_one_octave(void **state)
{
	struct histogram h = empty_histogram(TCPLAT_KIND_CONNECT);

	(void)state;
	add_values(&h, 1000, 1);
	add_values(&h, 1999, 2);
	next(&h);
	finish(sink);
	assert_string_equal(mem_text(&m), "connect latency, each column 1s, total 3\n"
					  "      1us|*\n"
					  "   1.12us|\n"
					  "   1.25us|\n"
					  "   1.38us|\n"
					  "   1.50us|\n"
					  "   1.62us|\n"
					  "   1.75us|\n"
					  "   1.88us|@\n"
					  "         +-\n"
					  "          12:00:00\n"
					  "    count * 1  @ 2\n");
}

/* Below one unit, beyond the last octave, and more octaves than there are rows. */
static void test_all_octaves(void **state)
{
	struct histogram h = empty_histogram(TCPLAT_KIND_CONNECT);

	(void)state;
	add_values(&h, 0, 1);
	add_values(&h, 2000 * S, 1);
	next(&h);
	finish(sink);
	assert_string_equal(mem_text(&m), "connect latency, each column 1s, total 2\n"
					  "      0ns|@\n"
					  "      1us|\n"
					  "      4us|\n"
					  "     16us|\n"
					  "     64us|\n"
					  "    256us|\n"
					  "   1.02ms|\n"
					  "   4.10ms|\n"
					  "   16.4ms|\n"
					  "   65.5ms|\n"
					  "    262ms|\n"
					  "    1.05s|\n"
					  "    4.19s|\n"
					  "    16.8s|\n"
					  "    67.1s|\n"
					  "     268s|\n"
					  "    1074s|@\n"
					  "         +-\n"
					  "          12:00:00\n"
					  "    count @ 1\n");
}

static void test_millisecond_grid(void **state)
{
	struct histogram h = empty_histogram(TCPLAT_KIND_CONNECT);

	(void)state;
	h.step_ns = TCPLAT_HIST_STEP_MS;
	add_values(&h, 3 * MS, 1);
	next(&h);
	finish(sink);
	assert_holds(mem_text(&m), "total 1\n      3ms|@\n         +-\n");
}

/* Of the rows between an octave and an eighth of it, the finest that are not too many. */
static void test_granularity(void **state)
{
	static const struct {
		__u64 high_us;
		const char *second; /* row's edge, from 16 us on */
	} cases[] = {
		{ 88, "18us" },	   /* 20 eighths */
		{ 96, "20us" },	   /* 21 */
		{ 480, "20us" },   /* 20 quarters */
		{ 512, "24us" },   /* 21 */
		{ 16000, "24us" }, /* 20 halves */
		{ 16384, "32us" }, /* 21 */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct histogram h = empty_histogram(TCPLAT_KIND_CONNECT);
		char want[128];

		tear_down(state);
		set_up(state);
		add_values(&h, 16 * US, 1);
		add_values(&h, cases[i].high_us * US, 1);
		next(&h);
		finish(sink);
		snprintf(want, sizeof(want), "total 2\n     16us|@\n%9s|\n", cases[i].second);
		assert_holds(mem_text(&m), want);
	}
}

/* One shows through beside very many, and counts too long for ranges have their lowest. */
static void test_faint(void **state)
{
	struct histogram h = empty_histogram(TCPLAT_KIND_CONNECT);

	(void)state;
	add_values(&h, 2000, 1);
	add_values(&h, 2250, 1000000);
	next(&h);
	finish(sink);
	assert_string_equal(
		mem_text(&m),
		"connect latency, each column 1s, total 1000001\n"
		"      2us|.\n"
		"   2.25us|@\n"
		"         +-\n"
		"          12:00:00\n"
		" at least . 1  : 4  - 21  = 100  + 464  * 2154  # 10000  % 46415  @ 215443\n");
}

static void test_none(void **state)
{
	(void)state;
	finish(sink);
	assert_string_equal(mem_text(&m), "connect latency: none\n");
}

static void test_none_in_intervals(void **state)
{
	(void)state;
	column(0, 0);
	column(0, 0);
	/* The rest of an interval in which nothing was has no column. */
	sink->ops->interval_end(sink);
	finish(sink);
	assert_string_equal(mem_text(&m), "connect latency: none\n");
}

/* Only segments sent again: a histogram that counts nothing. */
static void test_empty_histogram(void **state)
{
	struct histogram h = empty_histogram(TCPLAT_KIND_CONNECT);

	(void)state;
	h.retransmits = 3;
	next(&h);
	finish(sink);
	assert_string_equal(mem_text(&m), "connect latency: none\n");
}

/* What --split adds are parts of the same latencies. */
static void test_parts(void **state)
{
	struct histogram h[TCPLAT_NR_PARTS];

	(void)state;
	for (unsigned part = 0; part < TCPLAT_NR_PARTS; part++) {
		h[part] = empty_histogram(TCPLAT_KIND_PICKUP);
		h[part].key.part = (__u8)part;
		add_values(&h[part], 2000, 5);
	}
	deliver(sink, SAMPLE_UNIX_NS, h, TCPLAT_NR_PARTS);
	finish(sink);
	assert_holds(mem_text(&m), "total 5\n      2us|@\n");
}

/* Full pictures as they come, an empty line behind each, and the rest at the end. */
static void test_many_columns(void **state)
{
	static const char page[] = "connect latency, each column 1s, total 210\n"
				   "      2us|-=++**###%%%%@@@@@@@\n"
				   "         +--------------------\n"
				   "          12:00:00    12:00:19\n"
				   " at least - 1  = 2  + 3  * 5  # 7  % 10  @ 14\n"
				   "\n";
	size_t len = strlen(page);

	(void)state;
	setenv("COLUMNS", "30", 1);
	for (unsigned i = 1; i < 20; i++)
		column(2000, i);
	assert_string_equal(mem_text(&m), "");
	column(2000, 20);
	assert_string_equal(mem_text(&m), page);
	column(0, 0);
	column(4000, 1);
	assert_string_equal(mem_text(&m), page);
	finish(sink);
	assert_memory_equal(mem_text(&m), page, len);
	assert_string_equal(mem_text(&m) + len, "connect latency, each column 1s, total 1\n"
						"      4us| @\n"
						"         +--\n"
						"          12:00:20 - 12:00:21\n"
						"    count @ 1\n");
}

/* A full picture at the end is not followed by an empty one. */
static void test_full_at_the_end(void **state)
{
	size_t len;

	(void)state;
	setenv("COLUMNS", "20", 1);
	for (unsigned i = 0; i < 10; i++)
		column(2000, 1);
	/* Too narrow for both times behind the margin. */
	assert_string_equal(mem_text(&m), "connect latency, each column 1s, total 10\n"
					  "      2us|@@@@@@@@@@\n"
					  "         +----------\n"
					  "12:00:00 - 12:00:09\n"
					  "    count @ 1\n"
					  "\n");
	len = m.len;
	finish(sink);
	assert_int_equal(strlen(mem_text(&m)), len);
}

/* A picture of nothing, where there was something before, says when. */
static void test_none_for_a_while(void **state)
{
	size_t len;

	(void)state;
	setenv("COLUMNS", "20", 1);
	for (unsigned i = 0; i < 10; i++)
		column(2000, 1);
	mem_text(&m);
	len = m.len;
	for (unsigned i = 0; i < 10; i++)
		column(0, 0);
	assert_string_equal(mem_text(&m) + len, "connect latency: none, 12:00:10 - 12:00:19\n\n");
}

/* To three digits; the last one may be cut short, and the first one's may be unknown. */
static void test_lengths(void **state)
{
	static const __u64 ms[] = { 0, 503, 497, 501, 130 };
	__u64 now = SAMPLE_UNIX_NS;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(ms); i++) {
		struct histogram h = empty_histogram(TCPLAT_KIND_CONNECT);

		now += ms[i] * MS;
		add_values(&h, 2000, 1);
		h.interval_ns = ms[i] * MS;
		/* One without anything: from the end before to its own. */
		deliver(sink, now, &h, i != 2);
	}
	finish(sink);
	assert_string_equal(mem_text(&m), "connect latency, each column 500ms, total 4\n"
					  "      2us|@@ @@\n"
					  "         +-----\n"
					  "          12:00:00 - 12:00:01\n"
					  "    count @ 1\n");
}

/* Tracing began at a known time, which is that of an empty first column. */
static void test_begin(void **state)
{
	struct histogram h = empty_histogram(TCPLAT_KIND_CONNECT);
	__u64 now;

	(void)state;
	sink->ops->begin(sink);
	now = clock_ns(CLOCK_REALTIME);
	add_values(&h, 2000, 1);
	deliver(sink, now + 2000 * S, NULL, 0);
	deliver(sink, now + 2001 * S, &h, 1);
	finish(sink);
	assert_holds(mem_text(&m), "connect latency, each column 2000s, total 1\n");
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
		CASE(test_ascii),
		CASE(test_utf8),
		CASE(test_one_octave),
		CASE(test_all_octaves),
		CASE(test_millisecond_grid),
		CASE(test_granularity),
		CASE(test_faint),
		CASE(test_none),
		CASE(test_none_in_intervals),
		CASE(test_empty_histogram),
		CASE(test_parts),
		CASE(test_many_columns),
		CASE(test_full_at_the_end),
		CASE(test_none_for_a_while),
		CASE(test_lengths),
		CASE(test_begin),
		CASE(test_summary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
