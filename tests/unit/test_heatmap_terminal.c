// SPDX-License-Identifier: GPL-2.0-or-later
/* The heat map on a terminal: exact text. */
#include "intervals.h"

#include <stdlib.h>
#include <string.h>

static struct pty pty;
static struct sink *sink;
static unsigned intervals;

static int set_up(void **state)
{
	(void)state;
	plain_environment();
	setenv("NO_COLOR", "1", 1);
	intervals = 0;
	sink = NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sink_free(sink);
	return 0;
}

static void open_sink(unsigned short width, unsigned short height)
{
	pty_open(&pty, width, height);
	sink = sink_heatmap_new(&pty.out, "connect latency");
	assert_non_null(sink);
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

/* Each picture takes the place of the last, and what does not fit goes on the left. */
static void test_terminal(void **state)
{
	(void)state;
	open_sink(20, 24);
	column(0, 0);
	assert_string_equal(pty_text(&pty), DRAW "connect latency: none\n" DRAWN);
	column(4000, 1);
	assert_string_equal(pty_text(&pty),
			    "\x1b[1A\r\x1b[J" DRAW "connect latency, each column 1s, total 1\n"
			    "      4us| @\n"
			    "         +--\n"
			    "12:00:01 - 12:00:01\n"
			    "    count @ 1\n" DRAWN);
	for (unsigned i = 0; i < 8; i++)
		column(2000, 3);
	assert_holds(pty_text(&pty), "total 25\n"
				     "      2us|  @@@@@@@@\n"
				     "   2.25us|\n"
				     "   2.50us|\n"
				     "   2.75us|\n"
				     "      3us|\n"
				     "   3.25us|\n"
				     "   3.50us|\n"
				     "   3.75us|\n"
				     "      4us| +\n");
	column(2000, 3);
	assert_holds(pty_text(&pty),
		     "\x1b[13A\r\x1b[J" DRAW "connect latency, each column 1s, total 28\n"
		     "      2us| @@@@@@@@@\n");
	column(2000, 3);
	pty_text(&pty);
	/* With the only high value gone, so are the rows up to it. */
	column(2000, 3);
	assert_string_equal(pty_text(&pty),
			    "\x1b[5A\r\x1b[J" DRAW "connect latency, each column 1s, total 30\n"
			    "      2us|@@@@@@@@@@\n"
			    "         +----------\n"
			    "12:00:03 - 12:00:12\n"
			    " at least + 1  % 2  @ 3\n" DRAWN);
	/* It stays as it is. */
	finish(sink);
	assert_string_equal(pty_text(&pty), "");
	pty_close(&pty);
}

/* A window made narrower holds fewer columns, and a wider one more again. */
static void test_resized(void **state)
{
	(void)state;
	open_sink(32, 24);
	for (unsigned i = 0; i < 22; i++)
		column(2000, 1);
	assert_holds(pty_text(&pty), "total 22\n      2us|@@@@@@@@@@@@@@@@@@@@@@\n");
	pty_resize(&pty, 22, 24);
	column(2000, 1);
	assert_holds(pty_text(&pty), "total 12\n      2us|@@@@@@@@@@@@\n");
	pty_resize(&pty, 100, 24);
	column(2000, 1);
	assert_holds(pty_text(&pty), "total 13\n      2us|@@@@@@@@@@@@@\n");
	pty_close(&pty);
}

/* The whole picture fits above the cursor. */
static void test_low_terminal(void **state)
{
	(void)state;
	open_sink(80, 10);
	column(16 * US, 100);
	column(80 * US, 9);
	assert_holds(pty_text(&pty), "total 109\n"
				     "     16us|@\n"
				     "     24us|\n"
				     "     32us|\n"
				     "     48us|\n"
				     "     64us| +\n"
				     "         +--\n");
	/* Ten rows of quarters need five lines more, of which one is the cursor's. */
	pty_resize(&pty, 80, 14);
	column(80 * US, 9);
	assert_holds(pty_text(&pty), "     16us|@\n     24us|\n");
	pty_resize(&pty, 80, 15);
	column(80 * US, 9);
	assert_holds(pty_text(&pty), "     16us|@\n     20us|\n");
	/* Two rows, if nothing else fits. */
	pty_resize(&pty, 80, 2);
	column(40 * US, 1);
	assert_holds(pty_text(&pty), "total 128\n"
				     "     16us|@   :\n"
				     "     64us| +++\n"
				     "         +-----\n");
	pty_close(&pty);
}

static void test_colours(void **state)
{
	struct histogram h = empty_histogram(TCPLAT_KIND_CONNECT);

	(void)state;
	setenv("LC_ALL", "C.UTF-8", 1);
	unsetenv("NO_COLOR");
	open_sink(80, 24);
	add_values(&h, 2000, 1);
	add_values(&h, 2250, 100);
	next(&h);
	column(2000, 1);
	column(0, 0);
	column(2000, 100);
	pty_text(&pty);
	column(2250, 5);
	assert_string_equal(pty_text(&pty),
			    "\x1b[6A\r\x1b[J" DRAW "connect latency, each column 1s, total 207\n"
			    "      2us|\x1b[38;5;52m░░ \x1b[38;5;226m█\x1b[0m\n"
			    "   2.25us|\x1b[38;5;226m█   \x1b[38;5;124m▒\x1b[0m\n"
			    "         +-----\n"
			    "          12:00:00 - 12:00:04\n"
			    "    count \x1b[38;5;52m░\x1b[0m 1-2  \x1b[38;5;124m▒\x1b[0m 3-9  "
			    "\x1b[38;5;202m▓\x1b[0m 10-30  \x1b[38;5;226m█\x1b[0m 31-100\n" DRAWN);
	pty_close(&pty);
}

static void test_terminal_without_intervals(void **state)
{
	(void)state;
	open_sink(80, 24);
	sink->ops->interval_end(sink);
	finish(sink);
	assert_string_equal(pty_text(&pty), "connect latency: none\n");
	pty_close(&pty);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_terminal),
		CASE(test_resized),
		CASE(test_low_terminal),
		CASE(test_colours),
		CASE(test_terminal_without_intervals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
