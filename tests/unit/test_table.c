// SPDX-License-Identifier: GPL-2.0-or-later
/* The table sink: exact text. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "sink/sink.h"

static struct mem m;
static struct sink *sink;
static struct cell cells[8];

static void begin(bool adaptive, enum tcplat_kind kind, unsigned n, const char *const *names)
{
	struct table_layout layout = { .cells = cells, .n = n, .adaptive = adaptive };

	memset(cells, 0, sizeof(cells));
	for (unsigned i = 0; i < n; i++) {
		const struct column *c = column_find(names[i], kind);

		assert_non_null(c);
		cells[i] = (struct cell){
			.column = c, .header = c->header, .width = c->width, .right = c->right
		};
	}
	mem_open(&m);
	sink = sink_table_new(&m.out, &layout);
	assert_non_null(sink);
	sink->ops->begin(sink);
}

#define BEGIN_KIND(kind, adaptive, ...)                             \
	do {                                                        \
		static const char *const names[] = { __VA_ARGS__ }; \
                                                                    \
		begin(adaptive, kind, ARRAY_SIZE(names), names);    \
	} while (0)
#define BEGIN(adaptive, ...) BEGIN_KIND(TCPLAT_KIND_CONNECT, adaptive, __VA_ARGS__)

static void row(const struct record *r)
{
	sink->ops->record(sink, r);
}

static void end(const char *text)
{
	assert_string_equal(mem_text(&m), text);
	sink_free(sink);
	mem_close(&m);
}

static void test_rows(void **state)
{
	struct record v4 = sample_v4(), v6 = sample_v6();

	(void)state;
	BEGIN(true, "pid", "comm", "raddr", "rport", "outcome", "syns", "lat");
	row(&v4);
	v6.connect.syn_retransmits = 2;
	row(&v6);
	end("    PID COMM            RADDR           RPORT OUTCOME             SYNS   LAT(ms)\n"
	    "   4242 curl            10.0.0.1           80 established                 20.513\n"
	    "      7 nc              2001:db8::1       443 refused                3     0.002\n");
}

/* Wider for good, with a new header, as soon as a value needs it. */
static void test_widening(void **state)
{
	struct record v4 = sample_v4(), v6 = sample_v6();

	(void)state;
	put_addr(v6.ev.raddr, "2001:db8:1234:5678:9abc:def0:1234:5678");
	BEGIN(true, "raddr", "rport", "lat");
	row(&v4);
	row(&v6);
	row(&v4);
	v4.connect.latency_ns = 1234567890000000ULL; /* a right-aligned one */
	row(&v4);
	row(&v6);
	end("RADDR           RPORT   LAT(ms)\n"
	    "10.0.0.1           80    20.513\n"
	    "RADDR                                  RPORT   LAT(ms)\n"
	    "2001:db8:1234:5678:9abc:def0:1234:5678   443     0.002\n"
	    "10.0.0.1                                  80    20.513\n"
	    "RADDR                                  RPORT        LAT(ms)\n"
	    "10.0.0.1                                  80 1234567890.000\n"
	    "2001:db8:1234:5678:9abc:def0:1234:5678   443          0.002\n");
}

static void test_exactly_full_does_not_widen(void **state)
{
	struct record r = sample_v4();

	(void)state;
	put_addr(r.ev.raddr, "192.168.200.100");
	BEGIN(true, "raddr", "rport");
	row(&r);
	end("RADDR           RPORT\n"
	    "192.168.200.100    80\n");
}

/* The last column has nothing behind it to push. */
static void test_long_last_column(void **state)
{
	struct record r = sample_v4();

	(void)state;
	r.cgroup = "/system.slice/a-rather-long-name.service";
	BEGIN(true, "rport", "cgroup");
	row(&r);
	r.cgroup = "#77";
	row(&r);
	end("RPORT CGROUP\n"
	    "   80 /system.slice/a-rather-long-name.service\n"
	    "   80 #77\n");
}

static void test_fixed_columns_push_their_row_only(void **state)
{
	struct record v4 = sample_v4(), v6 = sample_v6();

	(void)state;
	put_addr(v6.ev.raddr, "2001:db8:1234:5678:9abc:def0:1234:5678");
	BEGIN(false, "raddr", "rport");
	row(&v6);
	row(&v4);
	end("RADDR           RPORT\n"
	    "2001:db8:1234:5678:9abc:def0:1234:5678   443\n"
	    "10.0.0.1           80\n");
}

static void test_cut(void **state)
{
	struct record r = sample_v4();
	struct table_layout layout = { .cells = cells, .n = 2 };

	(void)state;
	strcpy(r.ev.comm, "fifteen-bytes-x");
	cells[0] = (struct cell){ .column = column_find("comm", TCPLAT_KIND_CONNECT),
				  .header = "COMM",
				  .width = 12,
				  .cut = 12 };
	cells[1] = (struct cell){ .column = column_find("lat2", TCPLAT_KIND_CONNECT),
				  .header = "LAT(ms)" };
	mem_open(&m);
	sink = sink_table_new(&m.out, &layout);
	sink->ops->begin(sink);
	row(&r);
	/* Not within an escape. */
	strcpy(r.ev.comm, "ten-bytes-\n");
	row(&r);
	end("COMM         LAT(ms)\n"
	    "fifteen-byte 20.51\n"
	    "ten-bytes-   20.51\n");
}

/* Columns count characters, not bytes, and no byte reaches the terminal raw. */
static void test_hostile_and_foreign_names(void **state)
{
	struct record r = sample_v4();

	(void)state;
	BEGIN(true, "comm", "rport");
	strcpy(r.ev.comm, "grün");
	row(&r);
	strcpy(r.ev.comm, "\x1b[31m\n");
	row(&r);
	strcpy(r.ev.comm, "\xff\xfe\xfd\xfc\x1b");
	row(&r);
	end("COMM            RPORT\n"
	    "grün               80\n"
	    "\\x1b[31m\\x0a       80\n"
	    "COMM                 RPORT\n"
	    "\\xff\\xfe\\xfd\\xfc\\x1b    80\n");
}

static void test_widening_counts_characters(void **state)
{
	struct record r = sample_v4();

	(void)state;
	strcpy(r.ev.comm, "grün");
	BEGIN(true, "comm", "rport");
	sink_free(sink);
	cells[0].width = 4;
	sink = sink_table_new(&m.out,
			      &(struct table_layout){ .cells = cells, .n = 2, .adaptive = true });
	row(&r);
	end("COMM            RPORT\n"
	    "grün    80\n");
}

static void test_addresses_by_their_own_family(void **state)
{
	struct record r = sample_v4();

	(void)state;
	/* A socket closed before it chose its own address may have none. */
	put_addr(r.ev.laddr, "::");
	BEGIN(true, "laddr", "raddr");
	row(&r);
	end("LADDR           RADDR\n"
	    "::              10.0.0.1\n");
}

static void test_pickups(void **state)
{
	struct record split = sample_split();

	(void)state;
	BEGIN_KIND(TCPLAT_KIND_PICKUP, true, "comm", "bytes", "segments", "wake", "runq", "app",
		   "lat");
	split.pickup.latency_ns = 123456789;
	split.pickup.wake_ns = 1234000;
	split.pickup.runq_ns = 22789;
	row(&split);
	split.pickup.bytes = 12345678;
	split.pickup.segments = 65535;
	row(&split);
	end("COMM              BYTES SEGS WAKE(ms) RUNQ(ms)   APP(ms)   LAT(ms)\n"
	    "redis                31    1    1.234    0.023   122.200   123.457\n"
	    "COMM               BYTES  SEGS WAKE(ms) RUNQ(ms)   APP(ms)   LAT(ms)\n"
	    "redis           12345678 65535    1.234    0.023   122.200   123.457\n");
}

/* Where nobody looked, there is nothing to show: 0 would be an answer. */
static void test_parts_that_are_not_known(void **state)
{
	struct record plain = sample_pickup();

	(void)state;
	BEGIN_KIND(TCPLAT_KIND_PICKUP, true, "wake", "runq", "app", "lat");
	row(&plain);
	end("WAKE(ms) RUNQ(ms)   APP(ms)   LAT(ms)\n"
	    "                               20.513\n");
}

/* A line is put together in a buffer; longer ones come in pieces, and whole. */
static void test_very_long_lines(void **state)
{
	enum { LONG = 4100 };
	struct record r = sample_v4();
	char *group = malloc(LONG + 1), *want = malloc(8 * LONG);

	(void)state;
	memset(group, 'g', LONG);
	group[LONG] = 0;
	r.cgroup = group;
	BEGIN(false, "cgroup", "lat", "cgroup", "cgroup", "cgroup", "pid", "cgroup");
	row(&r);
	snprintf(want, 8 * LONG,
		 "CGROUP                 LAT(ms) CGROUP               CGROUP               "
		 "CGROUP                   PID CGROUP\n"
		 "%s    20.513 %s %s %s    4242 %s\n",
		 group, group, group, group, group);
	end(want);
	free(group);
	free(want);
}

static void test_summary(void **state)
{
	struct summary sum = { .events = 10, .still_open = 2, .unseen_start = 3 };
	const char *said;

	(void)state;
	BEGIN(true, "pid");
	/* Nothing lost, nothing said, unless asked. */
	stderr_begin();
	sink->ops->summary(sink, &sum);
	said = stderr_end();
	assert_string_equal(said, "");
	log_init("tcplat", true);
	stderr_begin();
	sink->ops->summary(sink, &sum);
	said = stderr_end();
	log_init("tcplat", false);
	assert_string_equal(said,
			    "tcplat: events 10, lost 0, still open 2, begun before tracing 3\n");
	sum.lost[TCPLAT_LOST_RING_FULL] = 5;
	sum.lost[TCPLAT_LOST_REENTERED] = 1;
	stderr_begin();
	sink->ops->summary(sink, &sum);
	said = stderr_end();
	assert_string_equal(
		said,
		"tcplat: warning: lost 5 (ring_full): the ring buffer was full (a larger --buffer "
		"helps)\n"
		"tcplat: warning: lost 1 (reentered): the hook was already running on that CPU\n"
		"tcplat: warning: events 10, lost 6, still open 2, begun before tracing 3\n");
	end("    PID\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_widening),
		cmocka_unit_test(test_exactly_full_does_not_widen),
		cmocka_unit_test(test_long_last_column),
		cmocka_unit_test(test_fixed_columns_push_their_row_only),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_hostile_and_foreign_names),
		cmocka_unit_test(test_widening_counts_characters),
		cmocka_unit_test(test_addresses_by_their_own_family),
		cmocka_unit_test(test_pickups),
		cmocka_unit_test(test_parts_that_are_not_known),
		cmocka_unit_test(test_very_long_lines),
		cmocka_unit_test(test_summary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
