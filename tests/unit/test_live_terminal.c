// SPDX-License-Identifier: GPL-2.0-or-later
/* The summary of a host on a terminal. */
#include "intervals.h"

#include <stdio.h>
#include <string.h>

static struct pty pty;
static struct sink *sink;

static int set_up(void **state)
{
	(void)state;
	plain_environment();
	sink = NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sink_free(sink);
	return 0;
}

static void open_sink(__u32 top, unsigned short height)
{
	pty_open(&pty, 80, height);
	sink = sink_live_new(&pty.out, top);
	assert_non_null(sink);
}

/* An interval in which so many programs talked to an address each. */
static void interval(unsigned second, unsigned programs)
{
	struct histogram h[30];

	assert_true(programs <= 30);
	for (unsigned i = 0; i < programs; i++) {
		char addr[16];

		h[i] = empty_histogram(TCPLAT_KIND_RTT);
		snprintf(addr, sizeof(addr), "10.0.0.%u", 100 + i);
		put_addr(h[i].key.raddr, addr);
		snprintf(h[i].key.comm, sizeof(h[i].key.comm), "p%u", 100 + i);
		add_values(&h[i], MS, 1);
	}
	deliver(sink, SAMPLE_UNIX_NS + second * S, h, programs);
}

#define NOTHING                                \
	"  connects            none\n"         \
	"          failed              none\n" \
	"          round trips         none\n" \
	"          retransmits         none\n" \
	"          pickups             none\n" \
	"\nWORST REMOTE ADDRESSES: none\n\nWORST PROGRAMS: none\n"

static unsigned count(const char *text, const char *part)
{
	unsigned n = 0;

	for (const char *p = strstr(text, part); p; p = strstr(p + 1, part))
		n++;
	return n;
}

/* Each takes the place of the last; the whole run, whose first interval has no length, is below. */
static void test_redraw(void **state)
{
	(void)state;
	open_sink(5, 24);
	interval(1, 0);
	assert_string_equal(pty_text(&pty), DRAW "12:00:01" NOTHING DRAWN);
	interval(2, 1);
	assert_string_equal(
		pty_text(&pty),
		"\x1b[9A\r\x1b[J" DRAW "12:00:02  connects            none\n"
		"          failed              none\n"
		"          round trips        1.0/s  p50    1ms  p99    1ms\n"
		"          retransmits         none\n"
		"          pickups             none\n"
		"\nWORST REMOTE ADDRESSES\n"
		"RADDR             CONNECTS FAILED CONN P99 RTT P50 RTT P99 RETRANS PICKUP P99\n"
		"10.0.0.100               0      0        -     1ms     1ms       0          -\n"
		"\nWORST PROGRAMS\n"
		"COMM              CONNECTS FAILED CONN P99 RTT P99 PICKUPS PICKUP P50 PICKUP P99\n"
		"p100                     0      0        -     1ms       0          -          -\n" DRAWN);
	interval(3, 0);
	assert_string_equal(pty_text(&pty), "\x1b[13A\r\x1b[J" DRAW "12:00:03" NOTHING DRAWN);
	finish(sink);
	assert_string_equal(pty_text(&pty),
			    "\nwhole run, 2.0 s\n"
			    "          connects            none\n"
			    "          failed              none\n"
			    "          round trips        0.5/s  p50    1ms  p99    1ms\n"
			    "          retransmits         none\n"
			    "          pickups             none\n");
	pty_close(&pty);
}

/* The block fits above the cursor, in whatever size the window has now. */
static void test_height(void **state)
{
	static const struct {
		unsigned short height;
		unsigned lines; /* of each list: beside them, 11 and the cursor's */
	} cases[] = {
		{ 24, 6 }, { 25, 6 }, { 26, 7 }, { 14, 1 }, { 5, 1 }, { 1, 1 }, { 100, 20 },
	};

	(void)state;
	open_sink(20, 24);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *text;

		pty_resize(&pty, 80, cases[i].height);
		interval(i, 30);
		text = pty_text(&pty);
		assert_int_equal(count(text, "\n10.0.0."), cases[i].lines);
		assert_int_equal(count(text, "\np1"), cases[i].lines);
	}
	pty_close(&pty);
}

/* A file has all that was asked for. */
static void test_file(void **state)
{
	struct mem m;

	(void)state;
	mem_open(&m);
	sink = sink_live_new(&m.out, 30);
	interval(1, 30);
	assert_int_equal(count(mem_text(&m), "\n10.0.0."), 30);
	assert_int_equal(count(mem_text(&m), "\np1"), 30);
	assert_null(strchr(mem_text(&m), '\x1b'));
	mem_close(&m);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_redraw),
		CASE(test_height),
		CASE(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
