// SPDX-License-Identifier: GPL-2.0-or-later
/* The columns that only pickups have: each member to JSON and back, and as text. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "record/column.h"

static void test_json_forms(void **state)
{
	static const struct {
		const char *member, *plain, *split; /* NULL: a line without it */
	} cases[] = {
		{ "time", "\"2026-03-01T12:00:00.000123Z\"", "\"2026-03-01T12:00:00.000123Z\"" },
		{ "pid", "4242", "7" },
		{ "tid", "4243", "7" },
		{ "comm", "\"nginx\"", "\"redis\"" },
		{ "ip", "4", "6" },
		{ "laddr", "\"10.0.0.2\"", "\"2001:db8::2\"" },
		{ "lport", "80", "6379" },
		{ "raddr", "\"10.0.0.1\"", "\"2001:db8::1\"" },
		{ "rport", "40000", "40001" },
		{ "latency_us", "20512.75", "1.5" },
		{ "wake_us", NULL, "1.0" },
		{ "runq_us", NULL, "0.3" },
		{ "app_us", NULL, "0.2" },
		{ "bytes", "1448", "31" },
		{ "segments", "1", "1" },
		{ "netns", "4026531840", "4026531840" },
		{ "cgroup", "\"/user.slice\"", "\"/user.slice\"" },
	};
	struct record plain = sample_pickup(), split = sample_split();
	size_t i = 0;

	(void)state;
	/* All of the kind's, in this order: that of the lines. */
	for (const struct column *c = columns; c->header || c->json; c++) {
		if (!c->json || !column_of_rows(c, TCPLAT_KIND_PICKUP))
			continue;
		assert_string_equal(c->json, cases[i].member);
		assert_int_equal(!(c->flags & COLUMN_SPLIT), cases[i].plain != NULL);
		i++;
	}
	assert_int_equal(i, ARRAY_SIZE(cases));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].plain)
			assert_string_equal(json_of(cases[i].member, &plain), cases[i].plain);
		assert_string_equal(json_of(cases[i].member, &split), cases[i].split);
	}
}

static void test_rejected(void **state)
{
	static const struct {
		const char *member, *text;
	} cases[] = {
		{ "latency_us", "-1" },	    { "latency_us", "null" },
		{ "bytes", "-1" },	    { "bytes", "4294967296" },
		{ "bytes", "1.0" },	    { "bytes", "null" },
		{ "segments", "65536" },    { "segments", "null" },
		{ "wake_us", "-1" },	    { "wake_us", "null" },
		{ "wake_us", "\"1\"" },	    { "runq_us", "-1" },
		{ "runq_us", "null" },	    { "app_us", "null" },
		{ "app_us", "-1" },	    { "app_us", "\"0.2\"" },
		{ "part", "\"nonsense\"" }, { "part", "\"?\"" },
		{ "part", "null" },	    { "part", "0" },
		{ "part", "\"\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct record r = sample_split();

		if (from_json(&r, cases[i].member, cases[i].text) != -EINVAL)
			fail_msg("%s: %s was taken", cases[i].member, cases[i].text);
	}
}

static void test_edges(void **state)
{
	struct record r = sample_pickup();

	(void)state;
	assert_int_equal(from_json(&r, "bytes", "4294967295"), 0);
	assert_int_equal(r.pickup.bytes, 4294967295U);
	assert_int_equal(from_json(&r, "segments", "65535"), 0);
	assert_int_equal(r.pickup.segments, 65535);
	assert_int_equal(from_json(&r, "latency_us", "12"), 0);
	assert_int_equal(r.pickup.latency_ns, 12000);
	assert_int_equal(record_latency_ns(&r), 12000);
	assert_int_equal(record_outcome(&r), ~0U);
}

/* All three parts or none, which is known by the first. */
static void test_parts_belong_together(void **state)
{
	struct record r = sample_pickup();

	(void)state;
	assert_int_equal(from_json(&r, "runq_us", "0"), -EINVAL);
	assert_int_equal(from_json(&r, "app_us", "20512.75"), -EINVAL);
	assert_int_equal(from_json(&r, "wake_us", "12.75"), 0);
	assert_int_equal(r.ev.split, 1);
	assert_int_equal(from_json(&r, "runq_us", "500"), 0);
	assert_int_equal(from_json(&r, "app_us", "20000.001"), -EINVAL);
	assert_int_equal(from_json(&r, "app_us", "19999.999"), -EINVAL);
	assert_int_equal(from_json(&r, "app_us", "20000"), 0);
	assert_int_equal(r.pickup.wake_ns, 12750);
	assert_int_equal(r.pickup.runq_ns, 500000);
	/* No part is longer than the whole, however they would wrap around. */
	assert_int_equal(from_json(&r, "runq_us", "20512.751"), 0);
	assert_int_equal(from_json(&r, "app_us", "0"), -EINVAL);
}

/* To the nanosecond, whatever is left to the program. */
static void test_parts_add_up_when_read_back(void **state)
{
	(void)state;
	for (__u64 ns = 1; ns < 1000000000000; ns += ns / 100 + 1) {
		struct record r = sample_split(), back = sample_pickup();
		char app[32];

		r.pickup.latency_ns = ns;
		r.pickup.wake_ns = ns / 3;
		r.pickup.runq_ns = ns / 7;
		assert_int_equal(from_json(&back, "latency_us", json_of("latency_us", &r)), 0);
		assert_int_equal(from_json(&back, "wake_us", json_of("wake_us", &r)), 0);
		assert_int_equal(from_json(&back, "runq_us", json_of("runq_us", &r)), 0);
		snprintf(app, sizeof(app), "%s", json_of("app_us", &r));
		if (from_json(&back, "app_us", app))
			fail_msg("%llu ns: %s is not what is left", ns, app);
	}
}

static void test_parts(void **state)
{
	static const char *const names[] = { "total", "wake", "runq", "app" };
	struct record r = sample_pickup();
	char json[32];

	(void)state;
	assert_int_equal(ARRAY_SIZE(names), TCPLAT_NR_PARTS);
	for (unsigned i = 0; i < TCPLAT_NR_PARTS; i++) {
		r.part = (__u8)i;
		snprintf(json, sizeof(json), "\"%s\"", names[i]);
		assert_string_equal(json_of("part", &r), json);
		assert_string_equal(text_of("part", &r), names[i]);
		r.part = 99;
		assert_int_equal(from_json(&r, "part", json), 0);
		assert_int_equal(r.part, i);
	}
	assert_string_equal(part_name(TCPLAT_NR_PARTS), "?");
	assert_int_equal(part_from_name("?"), -1);
}

static void test_text(void **state)
{
	struct record r = sample_split();

	(void)state;
	assert_string_equal(text_of("lat", &r), "0.002");
	assert_string_equal(text_of("wake", &r), "0.001");
	assert_string_equal(text_of("runq", &r), "0.000");
	assert_string_equal(text_of("app", &r), "0.000");
	r.pickup.latency_ns = 3600000000000;
	assert_string_equal(text_of("app", &r), "3599999.999");
	assert_string_equal(text_of("lat2", &r), "3600000.00");
	assert_string_equal(text_of("bytes", &r), "31");
	assert_string_equal(text_of("segments", &r), "1");
	r.pickup.bytes = ~0U;
	r.pickup.segments = 65535;
	assert_string_equal(text_of("bytes", &r), "4294967295");
	assert_string_equal(text_of("segments", &r), "65535");
}

/* What a histogram's key holds is what the columns of these names show. */
static void test_record_of_key(void **state)
{
	struct histogram h = { .cgroup = "/a", .by = TCPLAT_KEY_LADDR | TCPLAT_KEY_PART };
	struct record r;

	(void)state;
	h.key.kind = TCPLAT_KIND_PICKUP;
	h.key.part = TCPLAT_PART_RUNQ;
	h.key.lport = 80;
	h.key.outcome = 5; /* pickups have none: it must not become bytes */
	put_addr(h.key.laddr, "10.0.0.2");
	memset(&r, 0xff, sizeof(r));
	record_of_key(&r, &h);
	assert_string_equal(text_of("part", &r), "runq");
	assert_string_equal(text_of("lport", &r), "80");
	assert_string_equal(text_of("laddr", &r), "10.0.0.2");
	assert_string_equal(text_of("ip", &r), "4");
	assert_string_equal(text_of("cgroup", &r), "/a");
	assert_int_equal(r.pickup.latency_ns, 0);
	assert_int_equal(r.pickup.bytes, 0);
	assert_int_equal(r.pickup.segments, 0);
}

static void test_names_of_kinds(void **state)
{
	(void)state;
	assert_string_equal(kind_name(TCPLAT_KIND_CONNECT), "connect");
	assert_string_equal(kind_name(TCPLAT_KIND_PICKUP), "pickup");
	assert_string_equal(kind_name(0), "?");
	assert_string_equal(kind_name(255), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_forms),
		cmocka_unit_test(test_rejected),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_parts_belong_together),
		cmocka_unit_test(test_parts_add_up_when_read_back),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_record_of_key),
		cmocka_unit_test(test_names_of_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
