// SPDX-License-Identifier: GPL-2.0-or-later
/* The JSON Lines sink: exact text. */
#include "support.h"

#include <string.h>

#include "core/cleanup.h"
#include "record/column.h"
#include "sink/sink.h"

static struct mem m;
static struct sink *sink;

static int open_sink(void **state)
{
	(void)state;
	mem_open(&m);
	sink = sink_json_new(&m.out);
	return sink ? 0 : -1;
}

static int close_sink(void **state)
{
	(void)state;
	sink_free(sink);
	mem_close(&m);
	return 0;
}

static void test_record(void **state)
{
	struct record v4 = sample_v4(), v6 = sample_v6();

	(void)state;
	v6.cgroup = "#77";
	v6.connect.syn_retransmits = TCPLAT_RETRANS_NONE;
	sink->ops->record(sink, &v4);
	sink->ops->record(sink, &v6);
	assert_string_equal(
		mem_text(&m),
		"{\"event\":\"connect\",\"time\":\"2026-03-01T12:00:00.000123Z\",\"pid\":4242,"
		"\"tid\":4243,\"comm\":\"curl\",\"ip\":4,\"laddr\":\"10.0.0.2\",\"lport\":40000,"
		"\"raddr\":\"10.0.0.1\",\"rport\":80,\"latency_us\":20512.75,"
		"\"outcome\":\"established\",\"error\":null,\"syn_retransmits\":0,"
		"\"handshake_rtt_us\":20480,\"netns\":4026531840,\"cgroup\":\"/user.slice\"}\n"
		"{\"event\":\"connect\",\"time\":\"2026-03-01T12:00:00.000123Z\",\"pid\":7,"
		"\"tid\":7,\"comm\":\"nc\",\"ip\":6,\"laddr\":\"2001:db8::2\",\"lport\":40001,"
		"\"raddr\":\"2001:db8::1\",\"rport\":443,\"latency_us\":1.5,"
		"\"outcome\":\"refused\",\"error\":\"ECONNREFUSED\",\"syn_retransmits\":null,"
		"\"handshake_rtt_us\":null,\"netns\":4026531840,\"cgroup\":\"#77\"}\n");
}

/* The parts of a latency are there all or not at all. */
static void test_pickup(void **state)
{
	struct record plain = sample_pickup(), split = sample_split();

	(void)state;
	sink->ops->record(sink, &plain);
	sink->ops->record(sink, &split);
	assert_string_equal(
		mem_text(&m),
		"{\"event\":\"pickup\",\"time\":\"2026-03-01T12:00:00.000123Z\",\"pid\":4242,"
		"\"tid\":4243,\"comm\":\"nginx\",\"ip\":4,\"laddr\":\"10.0.0.2\",\"lport\":80,"
		"\"raddr\":\"10.0.0.1\",\"rport\":40000,\"latency_us\":20512.75,\"bytes\":1448,"
		"\"segments\":1,\"netns\":4026531840,\"cgroup\":\"/user.slice\"}\n"
		"{\"event\":\"pickup\",\"time\":\"2026-03-01T12:00:00.000123Z\",\"pid\":7,"
		"\"tid\":7,\"comm\":\"redis\",\"ip\":6,\"laddr\":\"2001:db8::2\",\"lport\":6379,"
		"\"raddr\":\"2001:db8::1\",\"rport\":40001,\"latency_us\":1.5,\"wake_us\":1.0,"
		"\"runq_us\":0.3,\"app_us\":0.2,\"bytes\":31,\"segments\":1,"
		"\"netns\":4026531840,\"cgroup\":\"/user.slice\"}\n");
}

/* Whatever a process calls itself, each line is one object. */
static void test_hostile_names(void **state)
{
	static const char *const names[] = { "\n{\"event\":0}\n", "\"},",	 "\\", "\xff\xfe",
					     "\x01\x02\x1b[2J",	  "\xe2\x80\xa8" };
	unsigned lines = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct record r = sample_v4();

		memset(r.ev.comm, 0, sizeof(r.ev.comm));
		memcpy(r.ev.comm, names[i], strlen(names[i]));
		r.cgroup = names[i];
		sink->ops->record(sink, &r);
	}
	for (const char *s = mem_text(&m), *end; *s; s = end + 1, lines++) {
		json_t *o;

		end = strchr(s, '\n');
		assert_non_null(end);
		o = json_loadb(s, (size_t)(end - s), JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(o);
		assert_int_equal(json_object_size(o), 17);
		json_decref(o);
	}
	assert_int_equal(lines, ARRAY_SIZE(names));
}

static void test_histogram(void **state)
{
	struct histogram h = { .step_ns = TCPLAT_HIST_STEP_US,
			       .unix_ns = SAMPLE_UNIX_NS,
			       .interval_ns = 1500499999,
			       .by = TCPLAT_KEY_COMM | TCPLAT_KEY_OUTCOME,
			       .cgroup = "",
			       .count = 4,
			       .sum_ns = 1100000000125,
			       .min_ns = 125,
			       .max_ns = 1100000000000 };

	(void)state;
	h.key.kind = TCPLAT_KIND_CONNECT;
	h.key.outcome = TCPLAT_TIMED_OUT;
	h.key.pid = 5; /* not asked for */
	strcpy(h.key.comm, "cu\"rl");
	h.counts[0] = 2;
	h.counts[9] = 1;
	h.counts[TCPLAT_HIST_BUCKETS - 1] = 1;
	sink->ops->histogram(sink, &h);
	assert_string_equal(mem_text(&m),
			    "{\"event\":\"histogram\",\"metric\":\"connect\","
			    "\"time\":\"2026-03-01T12:00:00.000123Z\",\"interval_s\":1.5,"
			    "\"key\":{\"comm\":\"cu\\\"rl\",\"outcome\":\"timed_out\"},\"count\":4,"
			    "\"sum_us\":1100000000.125,\"min_us\":0.125,\"max_us\":1100000000.0,"
			    "\"p50_us\":0.781,\"p90_us\":1100000000.0,\"p99_us\":1100000000.0,"
			    "\"p999_us\":1100000000.0,\"buckets\":[{\"le_us\":1.0,\"count\":2},"
			    "{\"le_us\":2.25,\"count\":1},{\"le_us\":null,\"count\":1}]}\n");
}

/* Every key, in the order of its bits. */
static void test_histogram_keys(void **state)
{
	struct histogram h = { .step_ns = TCPLAT_HIST_STEP_US,
			       .by = 2 * TCPLAT_KEY_OUTCOME - 1,
			       .cgroup = "/a\nb" };

	(void)state;
	h.key.kind = TCPLAT_KIND_CONNECT;
	put_addr(h.key.laddr, "10.0.0.2");
	put_addr(h.key.raddr, "2001:db8::1");
	h.key.lport = 1;
	h.key.rport = 65535;
	h.key.pid = 4294967295U;
	h.key.netns = 3;
	sink->ops->histogram(sink, &h);
	assert_holds(mem_text(&m),
		     "\"key\":{\"laddr\":\"10.0.0.2\",\"raddr\":\"2001:db8::1\",\"lport\":1,"
		     "\"rport\":65535,\"pid\":4294967295,\"comm\":\"\",\"cgroup\":\"/a\\nb\","
		     "\"netns\":3,\"outcome\":\"established\"},\"count\":0,");
	assert_holds(mem_text(&m), "\"buckets\":[]}\n");
}

/* Kinds have keys of their own; what the members hold besides is not said. */
static void test_histogram_part(void **state)
{
	struct histogram h = { .step_ns = TCPLAT_HIST_STEP_US,
			       .by = TCPLAT_KEY_COMM | TCPLAT_KEY_PART,
			       .cgroup = "" };

	(void)state;
	h.key.kind = TCPLAT_KIND_PICKUP;
	h.key.outcome = TCPLAT_REFUSED;
	strcpy(h.key.comm, "nginx");
	for (unsigned part = 0; part < TCPLAT_NR_PARTS; part++) {
		h.key.part = (__u8)part;
		sink->ops->histogram(sink, &h);
	}
	assert_holds(mem_text(&m), "{\"event\":\"histogram\",\"metric\":\"pickup\",");
	assert_holds(mem_text(&m), "\"key\":{\"comm\":\"nginx\",\"part\":\"total\"},");
	assert_holds(mem_text(&m), "\"key\":{\"comm\":\"nginx\",\"part\":\"wake\"},");
	assert_holds(mem_text(&m), "\"key\":{\"comm\":\"nginx\",\"part\":\"runq\"},");
	assert_holds(mem_text(&m), "\"key\":{\"comm\":\"nginx\",\"part\":\"app\"},");
	assert_null(strstr(mem_text(&m), "outcome"));
}

static void test_no_key(void **state)
{
	struct histogram h = { .step_ns = TCPLAT_HIST_STEP_US, .cgroup = "" };

	(void)state;
	h.key.kind = TCPLAT_KIND_CONNECT;
	sink->ops->histogram(sink, &h);
	assert_holds(mem_text(&m), "\"key\":{},");
}

static void test_summary(void **state)
{
	struct summary sum = { .events = 1,
			       .unseen_start = 2,
			       .still_open = 3,
			       .lost = { 4, 5, 6, 7, 8, 9223372036854775807ULL } };

	(void)state;
	sink->ops->summary(sink, &sum);
	assert_string_equal(mem_text(&m),
			    "{\"event\":\"summary\",\"events\":1,\"unseen_start\":2,"
			    "\"still_open\":3,\"lost\":{\"ring_full\":4,\"no_state\":5,"
			    "\"reentered\":6,\"keys_full\":7,\"fifo_merged\":8,"
			    "\"clock\":9223372036854775807}}\n");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, open_sink, close_sink)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_record),	   CASE(test_hostile_names),  CASE(test_histogram),
		CASE(test_histogram_keys), CASE(test_no_key),	      CASE(test_summary),
		CASE(test_pickup),	   CASE(test_histogram_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
