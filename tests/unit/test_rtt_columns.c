// SPDX-License-Identifier: GPL-2.0-or-later
/* What round trips have of their own: columns, and members of their histograms. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "record/column.h"
#include "sink/sink.h"

static void test_json_forms(void **state)
{
	static const struct {
		const char *member, *text;
	} cases[] = {
		{ "time", "\"2026-03-01T12:00:00.000123Z\"" },
		{ "pid", "4242" },
		{ "tid", "4243" },
		{ "comm", "\"curl\"" },
		{ "ip", "4" },
		{ "laddr", "\"10.0.0.2\"" },
		{ "lport", "40000" },
		{ "raddr", "\"10.0.0.1\"" },
		{ "rport", "80" },
		{ "latency_us", "20513.0" },
		{ "srtt_us", "21007" },
		{ "min_rtt_us", "19998" },
		{ "netns", "4026531840" },
		{ "cgroup", "\"/user.slice\"" },
	};
	struct record r = sample_rtt();
	size_t i = 0;

	(void)state;
	/* All of the kind's, in this order: that of the lines. */
	for (const struct column *c = columns; c->header || c->json; c++) {
		if (!c->json || !column_of_rows(c, TCPLAT_KIND_RTT))
			continue;
		assert_true(i < ARRAY_SIZE(cases));
		assert_string_equal(c->json, cases[i].member);
		assert_string_equal(json_of(cases[i].member, &r), cases[i].text);
		i++;
	}
	assert_int_equal(i, ARRAY_SIZE(cases));
}

static void test_line(void **state)
{
	struct record r = sample_rtt();
	struct sink *sink;
	struct mem m;

	(void)state;
	mem_open(&m);
	sink = sink_json_new(&m.out);
	sink->ops->record(sink, &r);
	assert_string_equal(mem_text(&m),
			    "{\"event\":\"rtt\",\"time\":\"2026-03-01T12:00:00.000123Z\","
			    "\"pid\":4242,\"tid\":4243,\"comm\":\"curl\",\"ip\":4,"
			    "\"laddr\":\"10.0.0.2\",\"lport\":40000,\"raddr\":\"10.0.0.1\","
			    "\"rport\":80,\"latency_us\":20513.0,\"srtt_us\":21007,"
			    "\"min_rtt_us\":19998,\"netns\":4026531840,"
			    "\"cgroup\":\"/user.slice\"}\n");
	sink_free(sink);
	mem_close(&m);
}

static void test_rejected(void **state)
{
	static const struct {
		const char *member, *text;
	} cases[] = {
		{ "srtt_us", "-1" },	 { "srtt_us", "4294967296" },	 { "srtt_us", "1.5" },
		{ "srtt_us", "null" },	 { "srtt_us", "\"1\"" },	 { "min_rtt_us", "-1" },
		{ "min_rtt_us", "1.0" }, { "min_rtt_us", "4294967296" }, { "min_rtt_us", "null" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct record r = sample_rtt();

		if (from_json(&r, cases[i].member, cases[i].text) != -EINVAL)
			fail_msg("%s: %s was taken", cases[i].member, cases[i].text);
	}
}

static void test_edges(void **state)
{
	struct record r = sample_rtt();

	(void)state;
	assert_int_equal(from_json(&r, "srtt_us", "4294967295"), 0);
	assert_int_equal(r.rtt.srtt_us, 4294967295U);
	assert_int_equal(from_json(&r, "min_rtt_us", "0"), 0);
	assert_int_equal(r.rtt.min_rtt_us, 0);
	/* Whole microseconds from the kernel, but a recording may say more. */
	assert_int_equal(from_json(&r, "latency_us", "12.125"), 0);
	assert_int_equal(r.rtt.latency_ns, 12125);
	assert_int_equal(record_latency_ns(&r), 12125);
	assert_int_equal(record_outcome(&r), ~0U);
	assert_string_equal(text_of("srtt", &r), "4294967.295");
	assert_string_equal(text_of("min_rtt", &r), "0.000");
}

static void test_text(void **state)
{
	struct record r = sample_rtt();

	(void)state;
	assert_string_equal(text_of("rtt", &r), "20.513");
	assert_string_equal(text_of("srtt", &r), "21.007");
	assert_string_equal(text_of("min_rtt", &r), "19.998");
	assert_string_equal(text_of("pid", &r), "4242");
	assert_string_equal(text_of("raddr", &r), "10.0.0.1");
}

/* One name, two meanings: a connect has that of its handshake. */
static void test_find(void **state)
{
	const struct column *of_connect = column_find("rtt", TCPLAT_KIND_CONNECT);
	const struct column *of_rtt = column_find("rtt", TCPLAT_KIND_RTT);

	(void)state;
	assert_string_equal(of_connect->json, "handshake_rtt_us");
	assert_null(of_rtt->json);
	assert_string_equal(of_rtt->header, "RTT(ms)");
	assert_null(column_find("rtt", TCPLAT_KIND_PICKUP));
	assert_null(column_find("lat", TCPLAT_KIND_RTT));
	assert_null(column_find("lat2", TCPLAT_KIND_RTT));
	assert_null(column_find("syns", TCPLAT_KIND_RTT));
	assert_null(column_find("part", TCPLAT_KIND_RTT));
}

static struct histogram sample_histogram(void)
{
	struct histogram h = { .by = TCPLAT_KEY_RADDR,
			       .step_ns = TCPLAT_HIST_STEP_US,
			       .unix_ns = SAMPLE_UNIX_NS,
			       .interval_ns = 1000000000,
			       .cgroup = "" };

	h.key.kind = TCPLAT_KIND_RTT;
	put_addr(h.key.raddr, "10.0.0.0");
	h.raddr_net = (struct subnet){ true, 24 };
	return h;
}

static void assert_histogram(const struct histogram *h, const char *want)
{
	struct sink *sink;
	struct mem m;

	mem_open(&m);
	sink = sink_json_new(&m.out);
	sink->ops->histogram(sink, h);
	assert_string_equal(mem_text(&m), want);
	sink_free(sink);
	mem_close(&m);
}

#define LINE(value, numbers, retransmits, buckets)                                 \
	"{\"event\":\"histogram\",\"metric\":\"rtt\","                             \
	"\"time\":\"2026-03-01T12:00:00.000123Z\",\"interval_s\":1.0,"             \
	"\"key\":{\"raddr\":\"10.0.0.0/24\"}," numbers ",\"value\":\"" value "\"," \
	"\"retransmits\":" retransmits ",\"buckets\":" buckets "}\n"
#define ONE_SAMPLE                                                                     \
	"\"count\":1,\"sum_us\":64.0,\"min_us\":64.0,\"max_us\":64.0,\"p50_us\":64.0," \
	"\"p90_us\":64.0,\"p99_us\":64.0,\"p999_us\":64.0"
#define NO_SAMPLE                                                                  \
	"\"count\":0,\"sum_us\":0.0,\"min_us\":0.0,\"max_us\":0.0,\"p50_us\":0.0," \
	"\"p90_us\":0.0,\"p99_us\":0.0,\"p999_us\":0.0"

static void test_histogram(void **state)
{
	struct histogram h = sample_histogram();

	(void)state;
	h.retransmits = 3;
	assert_histogram(&h, LINE("sample", NO_SAMPLE, "3", "[]"));
	h.counts[tcplat_hist_bucket(64 * 8)] = 1;
	h.count = 1;
	h.sum_ns = h.min_ns = h.max_ns = 64000;
	h.retransmits = 0;
	h.value = TCPLAT_VALUE_MIN_RTT;
	assert_histogram(&h, LINE("min_rtt", ONE_SAMPLE, "0", "[{\"le_us\":72.0,\"count\":1}]"));
}

/* Other kinds have neither. */
static void test_histogram_of_others(void **state)
{
	struct histogram h = sample_histogram();
	struct sink *sink;
	struct mem m;

	(void)state;
	for (unsigned kind = TCPLAT_KIND_CONNECT; kind <= TCPLAT_KIND_PICKUP; kind++) {
		h.key.kind = (__u8)kind;
		mem_open(&m);
		sink = sink_json_new(&m.out);
		sink->ops->histogram(sink, &h);
		assert_holds(mem_text(&m), "\"raddr\":\"10.0.0.0/24\"");
		assert_null(strstr(m.text, "\"value\""));
		assert_null(strstr(m.text, "retransmits"));
		sink_free(sink);
		mem_close(&m);
	}
}

static void test_names(void **state)
{
	static const char *const names[] = { "sample", "srtt", "min_rtt", "jitter", "receiver" };

	(void)state;
	assert_int_equal(ARRAY_SIZE(names), TCPLAT_NR_VALUES);
	for (int i = 0; i < TCPLAT_NR_VALUES; i++) {
		assert_string_equal(value_name((unsigned)i), names[i]);
		assert_int_equal(value_from_name(names[i]), i);
	}
	assert_string_equal(value_name(TCPLAT_NR_VALUES), "?");
	assert_int_equal(value_from_name("?"), -1);
	assert_int_equal(value_from_name(""), -1);
	assert_int_equal(value_from_name("min-rtt"), -1);
	assert_string_equal(kind_name(TCPLAT_KIND_RTT), "rtt");
	assert_string_equal(kind_name(TCPLAT_NR_KINDS), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_forms), cmocka_unit_test(test_line),
		cmocka_unit_test(test_rejected),   cmocka_unit_test(test_edges),
		cmocka_unit_test(test_text),	   cmocka_unit_test(test_find),
		cmocka_unit_test(test_histogram),  cmocka_unit_test(test_histogram_of_others),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
