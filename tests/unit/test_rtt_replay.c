// SPDX-License-Identifier: GPL-2.0-or-later
/* The replay source on round trips: rows, what histograms are of, and recorded ones. */
#include "recording.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "sink/sink.h"

#define ROW(comm, raddr, us, more)                                                            \
	"{\"event\":\"rtt\",\"time\":\"2026-03-01T12:00:00.000123Z\",\"pid\":4242,"           \
	"\"tid\":4243,\"comm\":\"" comm "\",\"ip\":4,\"laddr\":\"10.0.0.2\",\"lport\":40000," \
	"\"raddr\":\"" raddr "\",\"rport\":80,\"latency_us\":" us more                        \
	",\"netns\":4026531840,\"cgroup\":\"/user.slice\"}\n"
#define KERNELS(srtt, min) ",\"srtt_us\":" srtt ",\"min_rtt_us\":" min
#define PLAIN ROW("curl", "10.0.0.1", "20513.0", KERNELS("21007", "19998"))
#define OTHER ROW("nc", "10.0.1.9", "100.0", KERNELS("300", "50"))

static int fresh_rows(void **state)
{
	recording_fresh_rtt(state);
	run.query.show = SHOW_ROWS;
	run.query.config.output = TCPLAT_OUT_ROWS;
	return 0;
}

static void test_records(void **state)
{
	struct record want = sample_rtt();

	fresh_rows(state);
	assert_int_equal(replay(PLAIN OTHER PLAIN SUMMARY("2")), 0);
	assert_string_equal(run.said, "");
	assert_int_equal(run.got.n_records, 3);
	for (int i = 0; i < 3; i += 2) {
		run.got.records[i].cgroup = want.cgroup;
		assert_memory_equal(&run.got.records[i], &want, sizeof(want));
	}
	assert_int_equal(run.got.records[1].rtt.latency_ns, 100000);
	assert_int_equal(run.got.records[1].rtt.srtt_us, 300);
	assert_int_equal(run.got.records[1].rtt.min_rtt_us, 50);
	assert_int_equal(run.sum.events, 3);
	/* A row has the sample, whatever else is chosen. */
	fresh_rows(state);
	run.query.config.filter.min_ns = 20513000;
	assert_int_equal(replay(PLAIN OTHER SUMMARY("0")), 0);
	assert_int_equal(run.got.n_records, 1);
	assert_int_equal(run.got.records[0].rtt.latency_ns, 20513000);
}

static void test_broken_rows(void **state)
{
	static const struct {
		const char *line, *why;
	} cases[] = {
		{ "{\"event\":\"rtt\"}\n", FORM("time") },
		{ ROW("nc", "10.0.0.1", "1", ",\"min_rtt_us\":1"), FORM("srtt_us") },
		{ ROW("nc", "10.0.0.1", "1", ",\"srtt_us\":1"), FORM("min_rtt_us") },
		{ ROW("nc", "10.0.0.1", "1", KERNELS("1.5", "1")), FORM("srtt_us") },
		{ ROW("nc", "10.0.0.1", "1", KERNELS("1", "null")), FORM("min_rtt_us") },
		{ ROW("nc", "10.0.0.1", "-1", KERNELS("1", "1")), FORM("latency_us") },
		{ ROW("nc", "::1", "1", KERNELS("1", "1")), FORM("ip") },
		/* An event has an address, and no subnet. */
		{ ROW("nc", "10.0.0.0/24", "1", KERNELS("1", "1")), FORM("raddr") },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[2048];

		fresh_rows(state);
		snprintf(text, sizeof(text), "%s%s%s", PLAIN, cases[i].line, OTHER);
		if (replay(text) != -EBADMSG)
			fail_msg("was taken: %s", cases[i].line);
		assert_int_equal(run.got.n_records, 1);
		assert_error(2, cases[i].why);
	}
}

/* What each row's value is, as the kernel would have counted it. */
static void test_values(void **state)
{
	static const struct {
		enum tcplat_value value;
		__u64 first_ns, second_ns;
	} cases[] = {
		{ TCPLAT_VALUE_SAMPLE, 20513000, 100000 },
		{ TCPLAT_VALUE_SRTT, 21007000, 300000 },
		{ TCPLAT_VALUE_MIN_RTT, 19998000, 50000 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct histogram *h = &run.got.histograms[0];

		recording_fresh_rtt(state);
		run.query.by.none = true;
		run.query.config.rtt_value = (__u8)cases[i].value;
		assert_int_equal(replay(PLAIN OTHER SUMMARY("0")), 0);
		assert_string_equal(run.said, "");
		assert_int_equal(run.got.n_histograms, 1);
		assert_int_equal(h->value, cases[i].value);
		assert_int_equal(h->by, 0);
		assert_int_equal(h->count, 2);
		assert_int_equal(h->retransmits, 0);
		assert_int_equal(h->max_ns, cases[i].first_ns);
		assert_int_equal(h->min_ns, cases[i].second_ns);
		assert_int_equal(h->sum_ns, cases[i].first_ns + cases[i].second_ns);
		assert_int_equal(run.sum.events, 2);
		/* A filter on the value is on that value. */
		recording_fresh_rtt(state);
		run.query.config.rtt_value = (__u8)cases[i].value;
		run.query.config.filter.min_ns = cases[i].second_ns + 1;
		assert_int_equal(replay(PLAIN OTHER SUMMARY("0")), 0);
		assert_int_equal(run.sum.events, 1);
		recording_fresh_rtt(state);
		run.query.config.rtt_value = (__u8)cases[i].value;
		run.query.config.filter.min_ns = cases[i].second_ns;
		assert_int_equal(replay(PLAIN OTHER SUMMARY("0")), 0);
		assert_int_equal(run.sum.events, 2);
	}
}

/* A sample alone says nothing of the one before, or of the other direction. */
static void test_values_not_in_rows(void **state)
{
	for (unsigned value = TCPLAT_VALUE_JITTER; value <= TCPLAT_VALUE_RECEIVER; value++) {
		recording_fresh_rtt(state);
		run.query.config.rtt_value = (__u8)value;
		assert_int_equal(replay(PLAIN SUMMARY("0")), -EBADMSG);
		assert_int_equal(run.got.n_histograms, 0);
		assert_error(1, "a sample alone does not tell the value asked for");
	}
}

static void test_gathered_by_subnet(void **state)
{
	unsigned seen = 0;

	recording_fresh_rtt(state);
	run.query.by.mask = TCPLAT_KEY_RADDR;
	prefix_set(&run.query.by.raddr, 24, 128);
	assert_int_equal(replay(PLAIN ROW("x", "10.0.0.200", "5", KERNELS("5", "5"))
					OTHER PLAIN SUMMARY("0")),
			 0);
	assert_int_equal(run.got.n_histograms, 2);
	for (int i = 0; i < 2; i++) {
		const struct histogram *h = &run.got.histograms[i];
		bool first = h->key.raddr[14] == 0;

		assert_int_equal(h->key.raddr[15], 0);
		assert_int_equal(h->count, first ? 3 : 1);
		assert_true(h->raddr_net.is_net);
		assert_int_equal(h->raddr_net.bits, 24);
		seen |= 1U << first;
	}
	assert_int_equal(seen, 3);
}

#define HIST(key, value, retransmits, numbers, buckets)                                  \
	"{\"event\":\"histogram\",\"metric\":\"rtt\",\"time\":\"2026-03-01T12:00:00Z\"," \
	"\"interval_s\":1.5,\"key\":" key "," numbers ",\"value\":" value                \
	",\"retransmits\":" retransmits ",\"buckets\":" buckets "}\n"
#define NUMBERS "\"count\":3,\"sum_us\":81,\"min_us\":1,\"max_us\":40"
#define BUCKETS "[{\"le_us\":1.125,\"count\":1},{\"le_us\":44.0,\"count\":2}]"
#define NOTHING "\"count\":0,\"sum_us\":0,\"min_us\":0,\"max_us\":0"

static void test_histograms(void **state)
{
	const struct histogram *h = run.got.histograms;

	recording_fresh_rtt(state);
	assert_int_equal(replay(HIST("{\"raddr\":\"10.1.2.0/24\",\"comm\":\"curl\"}", "\"sample\"",
				     "3", NUMBERS, BUCKETS)
					HIST("{\"raddr\":\"2001:db8::/48\",\"laddr\":\"::1\"}",
					     "\"sample\"", "7", NOTHING, "[]")
						HIST("{}", "\"sample\"", "0", NUMBERS, BUCKETS)
							SUMMARY("0")),
			 0);
	assert_string_equal(run.said, "");
	assert_int_equal(run.got.n_histograms, 3);
	assert_int_equal(run.sum.events, 6);
	assert_int_equal(h[0].key.kind, TCPLAT_KIND_RTT);
	assert_int_equal(h[0].by, TCPLAT_KEY_RADDR | TCPLAT_KEY_COMM);
	assert_true(h[0].raddr_net.is_net);
	assert_int_equal(h[0].raddr_net.bits, 24);
	assert_false(h[0].laddr_net.is_net);
	assert_int_equal(h[0].count, 3);
	assert_int_equal(h[0].retransmits, 3);
	assert_int_equal(h[0].value, TCPLAT_VALUE_SAMPLE);
	assert_int_equal(h[0].min_ns, 1000);
	assert_int_equal(h[0].max_ns, 40000);
	/* Retransmitted segments give no sample, and may be all that there was. */
	assert_int_equal(h[1].count, 0);
	assert_int_equal(h[1].retransmits, 7);
	assert_int_equal(h[1].raddr_net.bits, 48);
	assert_true(h[1].raddr_net.is_net);
	assert_false(h[1].laddr_net.is_net);
	assert_int_equal(h[2].by, 0);
	assert_int_equal(h[2].retransmits, 0);
}

static void test_histograms_of_each_value(void **state)
{
	static const char *const names[] = { "sample", "srtt", "min_rtt", "jitter", "receiver" };

	for (unsigned value = 0; value < TCPLAT_NR_VALUES; value++) {
		char line[1024];

		snprintf(line, sizeof(line), HIST("{}", "\"%s\"", "0", NUMBERS, BUCKETS),
			 names[value]);
		recording_fresh_rtt(state);
		run.query.config.rtt_value = (__u8)value;
		assert_int_equal(replay(line), 0);
		assert_int_equal(run.got.n_histograms, 1);
		assert_int_equal(run.got.histograms[0].value, value);
		/* Not under the title of another one. */
		recording_fresh_rtt(state);
		run.query.config.rtt_value = (__u8)((value + 1) % TCPLAT_NR_VALUES);
		assert_int_equal(replay(line), -EBADMSG);
		assert_int_equal(run.got.n_histograms, 0);
		assert_error(1, "a histogram of another value than the one asked for");
	}
}

static void test_broken_histograms(void **state)
{
	static const struct {
		const char *line, *why;
	} cases[] = {
		{ HIST("{}", "\"median\"", "0", NUMBERS, BUCKETS), FORM("value") },
		{ HIST("{}", "0", "0", NUMBERS, BUCKETS), FORM("value") },
		{ HIST("{}", "null", "0", NUMBERS, BUCKETS), FORM("value") },
		{ HIST("{}", "\"sample\"", "-1", NUMBERS, BUCKETS), FORM("retransmits") },
		{ HIST("{}", "\"sample\"", "1.5", NUMBERS, BUCKETS), FORM("retransmits") },
		{ HIST("{}", "\"sample\"", "null", NUMBERS, BUCKETS), FORM("retransmits") },
		{ HIST("{\"outcome\":\"refused\"}", "\"sample\"", "0", NUMBERS, BUCKETS),
		  FORM("outcome") },
		{ HIST("{\"rtt\":1}", "\"sample\"", "0", NUMBERS, BUCKETS), FORM("rtt") },
		{ HIST("{\"raddr\":\"10.0.0.0/33\"}", "\"sample\"", "0", NUMBERS, BUCKETS),
		  FORM("raddr") },
		{ HIST("{\"laddr\":\"::/129\"}", "\"sample\"", "0", NUMBERS, BUCKETS),
		  FORM("laddr") },
		{ HIST("{}", "\"sample\"", "0", NOTHING, BUCKETS), FORM("count") },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		recording_fresh_rtt(state);
		if (replay(cases[i].line) != -EBADMSG)
			fail_msg("was taken: %s", cases[i].line);
		assert_int_equal(run.got.n_histograms, 0);
		assert_error(1, cases[i].why);
	}
}

/* What the JSON sink writes of them is read back the same, subnets and all. */
static void test_round_trip(void **state)
{
	struct histogram h = { .by = TCPLAT_KEY_RADDR | TCPLAT_KEY_LADDR,
			       .step_ns = TCPLAT_HIST_STEP_US,
			       .unix_ns = SAMPLE_UNIX_NS,
			       .interval_ns = 1000000000,
			       .value = TCPLAT_VALUE_RECEIVER,
			       .retransmits = 1234567,
			       .cgroup = "" };
	struct sink *sink;
	struct mem m;

	h.key.kind = TCPLAT_KIND_RTT;
	put_addr(h.key.raddr, "2001:db8::");
	put_addr(h.key.laddr, "10.1.0.0");
	h.raddr_net = (struct subnet){ true, 0 };
	h.laddr_net = (struct subnet){ true, 16 };
	for (int samples = 0; samples < 2; samples++) {
		recording_fresh_rtt(state);
		run.query.config.rtt_value = TCPLAT_VALUE_RECEIVER;
		if (samples) {
			h.counts[0] = h.counts[100] = 1;
			h.count = 2;
			h.max_ns = histogram_lower(&h, 100);
			h.sum_ns = h.max_ns;
		}
		mem_open(&m);
		sink = sink_json_new(&m.out);
		sink->ops->histogram(sink, &h);
		assert_int_equal(replay(mem_text(&m)), 0);
		assert_int_equal(run.got.n_histograms, 1);
		run.got.histograms[0].cgroup = h.cgroup;
		assert_memory_equal(&run.got.histograms[0], &h, sizeof(h));
		sink_free(sink);
		mem_close(&m);
	}
}

/* Lines of other views are not looked into, and rows show no histograms. */
static void test_others(void **state)
{
	fresh_rows(state);
	assert_int_equal(
		replay(FIRST PLAIN HIST("{}", "\"sample\"", "0", NUMBERS, BUCKETS) SUMMARY("0")),
		0);
	assert_int_equal(run.got.n_records, 1);
	assert_int_equal(run.got.n_histograms, 0);
	assert_holds(run.said, "2 lines are not of this view");
	recording_fresh(state);
	assert_int_equal(replay(FIRST PLAIN SUMMARY("0")), 0);
	assert_int_equal(run.got.n_records, 1);
	assert_holds(run.said, "1 lines are not of this view");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_broken_rows),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_values_not_in_rows),
		cmocka_unit_test(test_gathered_by_subnet),
		cmocka_unit_test(test_histograms),
		cmocka_unit_test(test_histograms_of_each_value),
		cmocka_unit_test(test_broken_histograms),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, recording_make, recording_remove);
}
