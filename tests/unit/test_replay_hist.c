// SPDX-License-Identifier: GPL-2.0-or-later
/* The replay source's histograms: gathered from records, or recorded as such. */
#include "recording.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "sink/sink.h"

static void test_gathered(void **state)
{
	(void)state;
	run.query.config.output = TCPLAT_OUT_HIST;
	run.query.by.mask = TCPLAT_KEY_COMM;
	assert_int_equal(replay(FIRST SECOND FIRST SUMMARY("0")), 0);
	assert_int_equal(run.got.n_records, 0);
	assert_int_equal(run.got.n_histograms, 2);
	assert_int_equal(run.got.histograms[0].count + run.got.histograms[1].count, 3);
	assert_int_equal(run.sum.events, 3);
	for (int i = 0; i < 2; i++) {
		const struct histogram *h = &run.got.histograms[i];

		assert_int_equal(h->count, strcmp(h->key.comm, "curl") ? 1 : 2);
		assert_int_equal(h->unix_ns, SAMPLE_UNIX_NS / 1000000000 * 1000000000 + 1500000000);
	}
}

static void test_gathered_keys_full(void **state)
{
	(void)state;
	run.query.config.output = TCPLAT_OUT_HIST;
	run.query.by.mask = TCPLAT_KEY_COMM;
	run.query.config.max_keys = 1;
	assert_int_equal(replay(FIRST SECOND SECOND FIRST SUMMARY("7")), 0);
	assert_int_equal(run.got.n_histograms, 1);
	assert_int_equal(run.sum.events, 2);
	/* The recording's own, and ours. */
	assert_int_equal(run.sum.lost[TCPLAT_LOST_KEYS_FULL], 9);
}

#define HIST(key, count, buckets)                                                            \
	"{\"event\":\"histogram\",\"metric\":\"connect\",\"time\":\"2026-03-01T12:00:00Z\"," \
	"\"interval_s\":1.5,\"key\":" key ",\"count\":" count ",\"sum_us\":40.5,"            \
	"\"min_us\":0.5,\"max_us\":40,\"p50_us\":0,\"buckets\":" buckets "}\n"
#define BUCKETS "[{\"le_us\":1.0,\"count\":1},{\"le_us\":44.0,\"count\":2}]"

static void test_histogram(void **state)
{
	const struct histogram *h = &run.got.histograms[0];

	(void)state;
	run.query.config.output = TCPLAT_OUT_HIST;
	assert_int_equal(replay(HIST("{\"comm\":\"curl\",\"raddr\":\"10.0.0.1\",\"cgroup\":\"/a\","
				     "\"outcome\":\"refused\",\"pid\":5,\"netns\":6,\"lport\":7,"
				     "\"rport\":8,\"laddr\":\"::1\"}",
				     "3", BUCKETS) SUMMARY("0")),
			 0);
	assert_string_equal(run.said, "");
	assert_int_equal(run.got.n_histograms, 1);
	assert_int_equal(run.sum.events, 3);
	assert_int_equal(h->by, 2 * TCPLAT_KEY_OUTCOME - 1);
	assert_int_equal(h->key.kind, TCPLAT_KIND_CONNECT);
	assert_string_equal(h->key.comm, "curl");
	assert_string_equal(run.got.hist_cgroups[0], "/a");
	assert_int_equal(h->key.outcome, TCPLAT_REFUSED);
	assert_int_equal(h->key.pid, 5);
	assert_int_equal(h->key.netns, 6);
	assert_int_equal(h->key.lport, 7);
	assert_int_equal(h->key.rport, 8);
	assert_int_equal(h->key.raddr[15], 1);
	assert_int_equal(h->key.raddr[12], 10);
	assert_int_equal(h->key.laddr[15], 1);
	assert_int_equal(h->key.laddr[12], 0);
	assert_int_equal(h->unix_ns, 1772366400000000000ULL);
	assert_int_equal(h->interval_ns, 1500000000);
	assert_int_equal(h->count, 3);
	assert_int_equal(h->sum_ns, 40500);
	assert_int_equal(h->min_ns, 500);
	assert_int_equal(h->max_ns, 40000);
	assert_int_equal(h->counts[0], 1);
	assert_int_equal(h->counts[tcplat_hist_bucket(40 * 8)], 2);
}

static void test_broken_histograms(void **state)
{
	static const struct {
		const char *line, *why;
	} cases[] = {
		{ HIST("{}", "4", BUCKETS), FORM("count") },
		{ HIST("{}", "\"3\"", BUCKETS), FORM("count") },
		{ HIST("[]", "3", BUCKETS), FORM("key") },
		{ HIST("{\"tid\":3}", "3", BUCKETS), FORM("tid") },
		{ HIST("{\"comm,pid\":3}", "3", BUCKETS), FORM("comm,pid") },
		{ HIST("{\"pid\":-3}", "3", BUCKETS), FORM("pid") },
		{ HIST("{\"an-endless-name-of-a-key\":1}", "3", BUCKETS),
		  FORM("an-endless-name-of-a") },
		{ HIST("{}", "0", "{}"), FORM("buckets") },
		{ HIST("{}", "0", "[5]"), FORM("buckets") },
		{ HIST("{}", "1", "[{\"count\":1}]"), FORM("buckets") },
		{ HIST("{}", "1", "[{\"le_us\":0,\"count\":1}]"), FORM("buckets") },
		{ HIST("{}", "1", "[{\"le_us\":1.001,\"count\":1}]"), FORM("buckets") },
		{ HIST("{}", "1", "[{\"le_us\":-1,\"count\":1}]"), FORM("buckets") },
		{ HIST("{}", "1", "[{\"le_us\":1.0,\"count\":-1}]"), FORM("count") },
		/* Together more than 2^64, or than JSON can say. */
		{ HIST("{}", "1",
		       "[{\"le_us\":1.0,\"count\":9223372036854775807},"
		       "{\"le_us\":2.0,\"count\":9223372036854775807},"
		       "{\"le_us\":2.0,\"count\":3}]"),
		  FORM("count") },
		{ "{\"event\":\"histogram\",\"metric\":\"connect\"}\n", FORM("time") },
		{ "{\"event\":\"histogram\",\"metric\":\"connect\","
		  "\"time\":\"2026-03-01T12:00:00Z\",\"interval_s\":-1}\n",
		  FORM("interval_s") },
		{ "{\"event\":\"histogram\",\"metric\":\"connect\","
		  "\"time\":\"2026-03-01T12:00:00Z\",\"interval_s\":1,\"sum_us\":1,"
		  "\"min_us\":5,\"max_us\":4}\n",
		  FORM("max_us") },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[2048];

		recording_fresh(state);
		run.query.config.output = TCPLAT_OUT_HIST;
		snprintf(text, sizeof(text), "%s%s", cases[i].line, SUMMARY("0"));
		assert_int_equal(replay(text), -EBADMSG);
		assert_int_equal(run.got.n_histograms, 0);
		assert_error(1, cases[i].why);
	}
}

/* Its connections are not known one by one any more. */
static void test_histogram_and_filter(void **state)
{
	for (int i = 0; i < 4; i++) {
		recording_fresh(state);
		run.query.config.output = TCPLAT_OUT_HIST;
		if (i == 0)
			run.query.config.filter.min_ns = 1;
		else if (i == 1)
			run.query.config.filter.ip = 4;
		else if (i == 2)
			run.query.config.filter.n_comms = 1;
		else
			run.query.rport.exclude[0] = 2;
		assert_int_equal(replay(HIST("{}", "3", BUCKETS) SUMMARY("0")), -EBADMSG);
		assert_error(1, "a histogram cannot be filtered any more");
	}
}

/* As long as there can be between two times that a record can have. */
static void test_longest_interval(void **state)
{
	(void)state;
	run.query.config.output = TCPLAT_OUT_HIST;
	assert_int_equal(replay("{\"event\":\"histogram\",\"metric\":\"connect\","
				"\"time\":\"2400-12-31T23:59:59Z\",\"interval_s\":13601087999.999,"
				"\"key\":{},\"count\":0,\"sum_us\":0,\"min_us\":0,\"max_us\":0,"
				"\"buckets\":[]}\n" SUMMARY("0")),
			 0);
	assert_int_equal((run.got.histograms[0].interval_ns + 500000) / 1000000, 13601087999999ULL);
	assert_int_equal(run.got.histograms[0].unix_ns, 13601087999000000000ULL);
}

/* What the JSON sink writes of a histogram is read back the same. */
static void test_histogram_round_trip(void **state)
{
	struct histogram h = { .step_ns = TCPLAT_HIST_STEP_US,
			       .by = TCPLAT_KEY_COMM,
			       .unix_ns = SAMPLE_UNIX_NS,
			       .interval_ns = 60000000000,
			       .cgroup = "" };
	struct mem m;
	struct sink *sink;

	(void)state;
	h.key.kind = TCPLAT_KIND_CONNECT;
	strcpy(h.key.comm, "\xff\x1b");
	for (unsigned i = 0; i < TCPLAT_HIST_BUCKETS; i++) {
		h.counts[i] = i % 3 ? i * 1000 : 0;
		h.count += h.counts[i];
	}
	h.min_ns = histogram_lower(&h, 1) + 1;
	h.max_ns = histogram_lower(&h, TCPLAT_HIST_BUCKETS - 1) + 12345678901;
	h.sum_ns = 123456789012345;
	mem_open(&m);
	sink = sink_json_new(&m.out);
	sink->ops->histogram(sink, &h);
	run.query.config.output = TCPLAT_OUT_HIST;
	assert_int_equal(replay(mem_text(&m)), 0);
	assert_int_equal(run.got.n_histograms, 1);
	run.got.histograms[0].cgroup = h.cgroup;
	assert_memory_equal(&run.got.histograms[0], &h, sizeof(h));
	sink_free(sink);
	mem_close(&m);
}

#define CASE(fn) cmocka_unit_test_setup(fn, recording_fresh)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_gathered),
		CASE(test_gathered_keys_full),
		CASE(test_histogram),
		CASE(test_broken_histograms),
		CASE(test_histogram_and_filter),
		CASE(test_longest_interval),
		CASE(test_histogram_round_trip),
	};

	return cmocka_run_group_tests(tests, recording_make, recording_remove);
}
