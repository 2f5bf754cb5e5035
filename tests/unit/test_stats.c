// SPDX-License-Identifier: GPL-2.0-or-later
/* The table with a line for each key: exact text. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "sink/sink.h"

#define US 1000ULL
#define MS 1000000ULL

static struct mem m;
static struct sink *sink;
static struct histogram h;

static int set_up(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	setenv("LC_ALL", "C", 1);
	mem_open(&m);
	sink = NULL;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sink_free(sink);
	mem_close(&m);
	return 0;
}

/* A sink, and a block of n lines with these keys begun in it. */
static void begin(__u32 by, unsigned n)
{
	sink = sink_stats_new(&m.out, "round-trip time", by, false);
	assert_non_null(sink);
	sink->ops->interval(sink, SAMPLE_UNIX_NS, n);
}

/* The next histogram is one of round trips with these keys. */
static void next(__u32 by, const char *raddr)
{
	memset(&h, 0, sizeof(h));
	h.key.kind = TCPLAT_KIND_RTT;
	h.step_ns = TCPLAT_HIST_STEP_US;
	h.cgroup = "";
	h.by = by;
	if (raddr)
		put_addr(h.key.raddr, raddr);
}

static void add_line(void)
{
	sink->ops->histogram(sink, &h);
}

static const char *ended(void)
{
	sink->ops->interval_end(sink);
	return mem_text(&m);
}

static void test_one_key(void **state)
{
	(void)state;
	begin(TCPLAT_KEY_RADDR, 2);
	next(TCPLAT_KEY_RADDR, "10.0.0.1");
	add_values(&h, 40 * US, 1000);
	add_values(&h, 100 * US, 100);
	add_values(&h, 700 * US, 10);
	add_values(&h, 1020 * US, 1);
	h.retransmits = 3;
	add_line();
	next(TCPLAT_KEY_RADDR, "10.10.10.10");
	add_values(&h, 64 * US, 1);
	add_line();
	assert_string_equal(
		ended(),
		"round-trip time\n"
		"RADDR       SAMPLES RETRANS  MIN    P50    P90   P99 P99.9    MAX 32us..1.02ms\n"
		"10.0.0.1       1111       3 40us 42.2us 44.0us 104us 701us 1.02ms @.  .\n"
		"10.10.10.10       1       0 64us   64us   64us  64us  64us   64us  @\n");
}

/* Widths are those of this block's widest; addresses are to the left, numbers to the right. */
static void test_several_keys(void **state)
{
	const __u32 by = TCPLAT_KEY_LADDR | TCPLAT_KEY_RADDR | TCPLAT_KEY_RPORT | TCPLAT_KEY_COMM |
			 TCPLAT_KEY_CGROUP;

	(void)state;
	begin(by, 2);
	next(by, "2001:db8::1");
	put_addr(h.key.laddr, "10.0.0.2");
	h.key.rport = 65535;
	strcpy(h.key.comm, "caf\xc3\xa9");
	h.cgroup = "/a\nb";
	add_values(&h, 1500 * MS, 123456789);
	add_line();
	next(by, "::1");
	put_addr(h.key.laddr, "127.0.0.1");
	h.key.rport = 80;
	strcpy(h.key.comm, "sshd");
	h.cgroup = "/";
	add_values(&h, 1500 * MS, 1);
	add_line();
	assert_string_equal(
		ended(),
		"round-trip time\n"
		"LADDR     RADDR       RPORT COMM CGROUP    SAMPLES RETRANS   MIN   P50   P90   P99 "
		"P99.9   MAX 1.05s..2.10s\n"
		"10.0.0.2  2001:db8::1 65535 caf\xc3\xa9 /a\\x0ab 123456789       0 1.50s 1.50s 1.50s "
		"1.50s 1.50s 1.50s @\n"
		"127.0.0.1 ::1            80 sshd /               1       0 1.50s 1.50s 1.50s 1.50s "
		"1.50s 1.50s @\n");
}

static void test_subnets(void **state)
{
	(void)state;
	begin(TCPLAT_KEY_RADDR, 2);
	next(TCPLAT_KEY_RADDR, "2001:db8::");
	h.raddr_net = (struct subnet){ true, 48 };
	add_values(&h, 2 * US, 1);
	add_line();
	next(TCPLAT_KEY_RADDR, "10.1.2.0");
	h.raddr_net = (struct subnet){ true, 24 };
	add_values(&h, 2 * US, 1);
	add_line();
	assert_string_equal(ended(),
			    "round-trip time\n"
			    "RADDR         SAMPLES RETRANS MIN P50 P90 P99 P99.9 MAX 2us..4us\n"
			    "2001:db8::/48       1       0 2us 2us 2us 2us   2us 2us @\n"
			    "10.1.2.0/24         1       0 2us 2us 2us 2us   2us 2us @\n");
}

/* Other kinds have no retransmits, and what they count are no samples. */
static void test_other_kind(void **state)
{
	(void)state;
	begin(TCPLAT_KEY_LPORT | TCPLAT_KEY_PART, 2);
	next(TCPLAT_KEY_LPORT | TCPLAT_KEY_PART, NULL);
	h.key.kind = TCPLAT_KIND_PICKUP;
	h.key.lport = 80;
	add_values(&h, 999, 3);
	add_line();
	h.key.part = TCPLAT_PART_RUNQ;
	add_line();
	assert_string_equal(ended(),
			    "round-trip time\n"
			    "LPORT PART  COUNT   MIN   P50   P90   P99 P99.9   MAX 0ns..1us\n"
			    "   80 total     3 999ns 999ns 999ns 999ns 999ns 999ns @\n"
			    "   80 runq      3 999ns 999ns 999ns 999ns 999ns 999ns @\n");
}

static void test_no_key(void **state)
{
	(void)state;
	begin(0, 1);
	next(0, NULL);
	add_values(&h, 5 * MS, 2);
	add_line();
	assert_string_equal(ended(), "round-trip time\n"
				     "SAMPLES RETRANS MIN P50 P90 P99 P99.9 MAX 4.10ms..8.19ms\n"
				     "      2       0 5ms 5ms 5ms 5ms   5ms 5ms @\n");
}

/* What has no round trip has no picture either, and no blanks at its line's end. */
static void test_retransmits_alone(void **state)
{
	(void)state;
	begin(TCPLAT_KEY_RADDR, 2);
	next(TCPLAT_KEY_RADDR, "10.0.0.1");
	add_values(&h, 2 * US, 1);
	add_line();
	next(TCPLAT_KEY_RADDR, "10.0.0.2");
	h.retransmits = 17;
	add_line();
	assert_string_equal(ended(), "round-trip time\n"
				     "RADDR    SAMPLES RETRANS MIN P50 P90 P99 P99.9 MAX 2us..4us\n"
				     "10.0.0.1       1       0 2us 2us 2us 2us   2us 2us @\n"
				     "10.0.0.2       0      17   -   -   -   -     -   -\n");
}

static void test_retransmits_only(void **state)
{
	(void)state;
	begin(TCPLAT_KEY_RADDR, 1);
	next(TCPLAT_KEY_RADDR, "10.0.0.2");
	h.retransmits = 17;
	add_line();
	assert_string_equal(ended(), "round-trip time\n"
				     "RADDR    SAMPLES RETRANS MIN P50 P90 P99 P99.9 MAX\n"
				     "10.0.0.2       0      17   -   -   -   -     -   -\n");
}

/* Keys without room share a line, which has none of the block's keys. */
static void test_others(void **state)
{
	const __u32 by = TCPLAT_KEY_RADDR | TCPLAT_KEY_RPORT;

	(void)state;
	begin(by, 2);
	next(by, "10.0.0.1");
	h.key.rport = 80;
	add_values(&h, 2 * US, 1);
	add_line();
	next(0, NULL);
	h.key.rest = 1;
	add_values(&h, 2 * US, 5);
	add_line();
	assert_string_equal(ended(),
			    "round-trip time\n"
			    "RADDR    RPORT SAMPLES RETRANS MIN P50 P90 P99 P99.9 MAX 2us..4us\n"
			    "10.0.0.1    80       1       0 2us 2us 2us 2us   2us 2us @\n"
			    "(others)             5       0 2us 2us 2us 2us   2us 2us @\n");
}

/* A recording has the keys that it was made with, whatever was asked for now. */
static void test_recorded_keys(void **state)
{
	(void)state;
	begin(TCPLAT_KEY_RADDR, 1);
	next(TCPLAT_KEY_LPORT, NULL);
	h.key.lport = 443;
	add_values(&h, 2 * US, 1);
	add_line();
	assert_string_equal(ended(), "round-trip time\n"
				     "LPORT SAMPLES RETRANS MIN P50 P90 P99 P99.9 MAX 2us..4us\n"
				     "  443       1       0 2us 2us 2us 2us   2us 2us @\n");
}

/* Count i in octave i: shades from the lightest to the darkest, and a blank for none. */
static void put_shades(__u64 unit)
{
	begin(0, 1);
	next(0, NULL);
	for (unsigned i = 0; i <= 8; i++)
		add_values(&h, US << i, i * unit);
	add_values(&h, US << 10, 1);
	/* What the table's other cells say is not this test's. */
	h.min_ns = h.max_ns = US;
	add_line();
}

#define SHADES_HEAD                                               \
	"round-trip time\n"                                       \
	"SAMPLES RETRANS MIN P50 P90 P99 P99.9 MAX 2us..2.05ms\n" \
	"  36001       0 1us 1us 1us 1us   1us 1us "

static void test_shades_ascii(void **state)
{
	(void)state;
	put_shades(1000);
	assert_string_equal(ended(), SHADES_HEAD ".:-=+*#@ .\n");
}

static void test_shades_utf8(void **state)
{
	(void)state;
	setenv("LC_ALL", "C.UTF-8", 1);
	put_shades(1000);
	assert_string_equal(ended(), SHADES_HEAD "▁▂▃▄▅▆▇█ ▁\n");
}

/* A shade begins where the one below it is full. */
static void test_shade_limits(void **state)
{
	(void)state;
	begin(0, 1);
	next(0, NULL);
	add_values(&h, 1 * US, 8000);
	add_values(&h, 2 * US, 1000);
	add_values(&h, 4 * US, 1001);
	add_values(&h, 8 * US, 7000);
	add_values(&h, 16 * US, 7001);
	add_line();
	assert_holds(ended(), " 1us..32us\n");
	assert_holds(mem_text(&m), " @.:#@\n");
}

/* All pictures begin at the same octave; each line's fullest is its darkest. */
static void test_shared_axis(void **state)
{
	(void)state;
	begin(TCPLAT_KEY_RPORT, 3);
	for (__u16 i = 0; i < 3; i++) {
		next(TCPLAT_KEY_RPORT, NULL);
		h.key.rport = 7 + i;
		add_values(&h, 4 * US << 2 * i, 1 + 1000 * i);
		add_values(&h, 8 * US << 2 * i, 1);
		h.min_ns = h.max_ns = MS;
		add_line();
	}
	assert_string_equal(ended(), "round-trip time\n"
				     "RPORT SAMPLES RETRANS MIN P50 P90 P99 P99.9 MAX 4us..256us\n"
				     "    7       2       0 1ms 1ms 1ms 1ms   1ms 1ms @@\n"
				     "    8    1002       0 1ms 1ms 1ms 1ms   1ms 1ms   @.\n"
				     "    9    2002       0 1ms 1ms 1ms 1ms   1ms 1ms     @.\n");
}

/* The whole axis is 32 octaves, of which the last has no end. */
static void test_whole_axis(void **state)
{
	(void)state;
	begin(0, 1);
	next(0, NULL);
	add_values(&h, 1, 1);
	add_values(&h, 1ULL << 62, 1);
	add_line();
	assert_holds(ended(), " MAX 0ns..\n");
	assert_holds(mem_text(&m), " @                              @\n");
}

/* Octaves are of the unit that was counted in. */
static void test_millisecond_axis(void **state)
{
	(void)state;
	begin(0, 1);
	next(0, NULL);
	h.step_ns = TCPLAT_HIST_STEP_MS;
	add_values(&h, 20 * MS, 1);
	add_line();
	assert_holds(ended(), " MAX 16ms..32ms\n");
}

static void test_blocks(void **state)
{
	(void)state;
	begin(TCPLAT_KEY_RADDR, 0);
	sink->ops->interval_end(sink);
	/* An interval that was not begun, for want of anything to say. */
	sink->ops->interval_end(sink);
	sink->ops->interval(sink, SAMPLE_UNIX_NS, 1);
	next(TCPLAT_KEY_RADDR, "2001:db8::1");
	add_values(&h, 2 * US, 10000000);
	add_line();
	sink->ops->interval_end(sink);
	/* Neither widths nor the axis are those of the block before. */
	sink->ops->interval(sink, SAMPLE_UNIX_NS, 1);
	next(TCPLAT_KEY_RADDR, "::1");
	add_values(&h, 8 * US, 1);
	add_line();
	assert_string_equal(ended(),
			    "round-trip time: none\n"
			    "\n"
			    "round-trip time\n"
			    "RADDR        SAMPLES RETRANS MIN P50 P90 P99 P99.9 MAX 2us..4us\n"
			    "2001:db8::1 10000000       0 2us 2us 2us 2us   2us 2us @\n"
			    "\n"
			    "round-trip time\n"
			    "RADDR SAMPLES RETRANS MIN P50 P90 P99 P99.9 MAX 8us..16us\n"
			    "::1         1       0 8us 8us 8us 8us   8us 8us @\n");
}

static void test_timestamps(void **state)
{
	(void)state;
	sink = sink_stats_new(&m.out, "connect latency", 0, true);
	sink->ops->interval(sink, SAMPLE_UNIX_NS, 0);
	sink->ops->interval_end(sink);
	sink->ops->interval(sink, SAMPLE_UNIX_NS + 1250 * MS, 1);
	next(0, NULL);
	h.key.kind = TCPLAT_KIND_CONNECT;
	add_values(&h, 2 * US, 1);
	add_line();
	assert_string_equal(ended(), "=== 12:00:00.000\n"
				     "connect latency: none\n"
				     "\n"
				     "=== 12:00:01.250\n"
				     "connect latency\n"
				     "COUNT MIN P50 P90 P99 P99.9 MAX 2us..4us\n"
				     "    1 2us 2us 2us 2us   2us 2us @\n");
}

#define MANY 10000

/* As many keys as there can be by default; each has its line, in order. */
static void test_many_lines(void **state)
{
	const char *at;

	(void)state;
	begin(TCPLAT_KEY_PID, MANY);
	for (__u32 i = 0; i < MANY; i++) {
		next(TCPLAT_KEY_PID, NULL);
		h.key.pid = i;
		add_values(&h, 2 * US, 1);
		add_line();
	}
	at = strstr(ended(), "2us..4us\n");
	assert_non_null(at);
	at = strchr(at, '\n') + 1;
	for (__u32 i = 0; i < MANY; i++) {
		char line[80];

		snprintf(line, sizeof(line), "%4u       1       0 2us 2us 2us 2us   2us 2us @\n",
			 i);
		assert_memory_equal(at, line, strlen(line));
		at += strlen(line);
	}
	assert_int_equal(*at, 0);
}

/* A sink that goes away in between leaves nothing behind; the sanitizers look. */
static void test_unfinished(void **state)
{
	(void)state;
	begin(0, 3);
	next(0, NULL);
	add_values(&h, 2 * US, 1);
	add_line();
	assert_string_equal(mem_text(&m), "round-trip time\n");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_one_key),	     CASE(test_several_keys), CASE(test_subnets),
		CASE(test_other_kind),	     CASE(test_no_key),	      CASE(test_retransmits_alone),
		CASE(test_retransmits_only), CASE(test_others),	      CASE(test_recorded_keys),
		CASE(test_shades_ascii),     CASE(test_shades_utf8),  CASE(test_shade_limits),
		CASE(test_shared_axis),	     CASE(test_whole_axis),   CASE(test_millisecond_axis),
		CASE(test_blocks),	     CASE(test_timestamps),   CASE(test_many_lines),
		CASE(test_unfinished),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
