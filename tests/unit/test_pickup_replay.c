// SPDX-License-Identifier: GPL-2.0-or-later
/* The replay source on pickups: rows, their parts, and histograms. */
#include "recording.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "sink/sink.h"

#define LINE(event, comm, lport, us, parts, more)                                             \
	"{\"event\":\"" event "\",\"time\":\"2026-03-01T12:00:00.000123Z\",\"pid\":4242,"     \
	"\"tid\":4243,\"comm\":\"" comm "\",\"ip\":4,\"laddr\":\"10.0.0.2\",\"lport\":" lport \
	",\"raddr\":\"10.0.0.1\",\"rport\":40000,\"latency_us\":" us parts more               \
	",\"netns\":4026531840,\"cgroup\":\"/user.slice\"}\n"
#define BYTES ",\"bytes\":1448,\"segments\":1"
#define PICKUP(us, parts) LINE("pickup", "nginx", "80", us, parts, BYTES)
#define PLAIN PICKUP("20512.75", "")
#define PARTS(wake, runq, app) ",\"wake_us\":" wake ",\"runq_us\":" runq ",\"app_us\":" app
#define SPLIT LINE("pickup", "redis", "6379", "1.5", PARTS("1.0", "0.3", "0.2"), BYTES)

static void test_records(void **state)
{
	struct record want = sample_pickup();

	(void)state;
	assert_int_equal(replay(PLAIN SPLIT PLAIN SUMMARY("2")), 0);
	assert_string_equal(run.said, "");
	assert_int_equal(run.got.n_records, 3);
	for (int i = 0; i < 3; i += 2) {
		run.got.records[i].cgroup = want.cgroup;
		assert_memory_equal(&run.got.records[i], &want, sizeof(want));
	}
	assert_int_equal(run.got.records[1].ev.split, 1);
	assert_int_equal(run.got.records[1].pickup.latency_ns, 1500);
	assert_int_equal(run.got.records[1].pickup.wake_ns, 1000);
	assert_int_equal(run.got.records[1].pickup.runq_ns, 300);
	assert_int_equal(run.sum.events, 3);
	assert_int_equal(run.sum.unseen_start, 2);
}

static void test_filters(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct tcplat_filter *f = &run.query.config.filter;

		recording_fresh_pickup(state);
		if (i == 0) {
			f->min_ns = 20512750;
		} else if (i == 1) {
			f->n_comms = 1;
			strcpy(f->comm[0], "nginx");
		} else if (i == 2) {
			run.query.lport.any_included = true;
			run.query.lport.include[80 / 64] = 1ULL << 80 % 64;
		} else {
			run.query.lport.exclude[6379 / 64] = 1ULL << 6379 % 64;
		}
		assert_int_equal(replay(PLAIN SPLIT SUMMARY("0")), 0);
		assert_int_equal(run.got.n_records, 1);
		assert_string_equal(run.got.records[0].ev.comm, "nginx");
	}
}

/* Lines of the other view are not looked into. */
static void test_other_view(void **state)
{
	char warning[200];

	(void)state;
	assert_int_equal(replay(FIRST PLAIN "{\"event\":\"connect\"}\n" SUMMARY("0")), 0);
	assert_int_equal(run.got.n_records, 1);
	snprintf(warning, sizeof(warning),
		 "tcplat: warning: %s: 2 lines are not of this view and were passed over\n",
		 run.path);
	assert_string_equal(run.said, warning);
	recording_fresh(state);
	assert_int_equal(replay(FIRST PLAIN SPLIT SUMMARY("0")), 0);
	assert_int_equal(run.got.n_records, 1);
	assert_holds(run.said, "2 lines are not of this view");
}

static void test_broken_lines(void **state)
{
	static const struct {
		const char *line, *why;
	} cases[] = {
		{ "{\"event\":\"pickup\"}\n", FORM("time") },
		{ LINE("pickup", "nginx", "80", "1", "", ",\"segments\":1"), FORM("bytes") },
		{ LINE("pickup", "nginx", "80", "1", "", ",\"bytes\":1"), FORM("segments") },
		{ LINE("pickup", "nginx", "80", "1", "", ",\"bytes\":-1,\"segments\":1"),
		  FORM("bytes") },
		{ LINE("pickup", "nginx", "80", "1", "", ",\"bytes\":1,\"segments\":65536"),
		  FORM("segments") },
		{ PICKUP("\"1\"", ""), FORM("latency_us") },
		/* All three parts or none, whichever of them is there. */
		{ PICKUP("1.5", ",\"runq_us\":0.3"), FORM("runq_us") },
		{ PICKUP("1.5", ",\"app_us\":1.5"), FORM("app_us") },
		{ PICKUP("1.5", ",\"runq_us\":0.3,\"app_us\":1.2"), FORM("runq_us") },
		{ PICKUP("1.5", ",\"wake_us\":1.5"), FORM("runq_us") },
		{ PICKUP("1.5", ",\"wake_us\":1,\"app_us\":0.5"), FORM("runq_us") },
		{ PICKUP("1.5", ",\"wake_us\":1,\"runq_us\":0.5"), FORM("app_us") },
		{ PICKUP("1.5", PARTS("null", "null", "null")), FORM("wake_us") },
		{ PICKUP("1.5", PARTS("-1", "1", "1.5")), FORM("wake_us") },
		/* They add up, to the nanosecond. */
		{ PICKUP("1.5", PARTS("1", "0.3", "0.201")), FORM("app_us") },
		{ PICKUP("1.5", PARTS("1", "0.3", "0.199")), FORM("app_us") },
		{ PICKUP("1.5", PARTS("1", "1", "0")), FORM("app_us") },
		{ PICKUP("1.5", PARTS("1.0e16", "1.0e16", "0")), FORM("app_us") },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[4096];

		recording_fresh_pickup(state);
		snprintf(text, sizeof(text), "%s%s%s", PLAIN, cases[i].line, SPLIT);
		if (replay(text) != -EBADMSG)
			fail_msg("was taken: %s", cases[i].line);
		assert_int_equal(run.got.n_records, 1);
		assert_error(2, cases[i].why);
	}
}

/* Together 2^64 ns and 1.5 us: in 64 bits that looks right. */
static void test_parts_longer_than_the_whole(void **state)
{
	(void)state;
	assert_int_equal(
		replay(PICKUP("1.5", PARTS("9223372036854775.808", "9223372036854775.808", "1.5"))),
		-EBADMSG);
	assert_error(1, FORM("app_us"));
}

static void assert_same(struct record *got, const struct record *want)
{
	got->cgroup = want->cgroup;
	assert_memory_equal(got, want, sizeof(*got));
}

/* What the JSON sink writes of a pickup is read back the same, however long it was. */
static void test_round_trip(void **state)
{
	static const __u64 longest[] = {
		0, 1, 999, 4294967296, 999999999999999, 86400000000000ULL * 20 + 123456789,
	};

	for (size_t i = 0; i < ARRAY_SIZE(longest); i++) {
		struct record r = sample_split();
		struct sink *sink;
		struct mem m;

		recording_fresh_pickup(state);
		r.pickup.latency_ns = longest[i];
		r.pickup.wake_ns = longest[i] / 3;
		r.pickup.runq_ns = longest[i] / 7;
		r.pickup.segments = 65535;
		r.pickup.bytes = ~0U;
		mem_open(&m);
		sink = sink_json_new(&m.out);
		sink->ops->record(sink, &r);
		if (replay(mem_text(&m)))
			fail_msg("%llu ns: %s", longest[i], run.said);
		assert_int_equal(run.got.n_records, 1);
		/* Beyond 15 digits it is rounded, and only that. */
		if (longest[i] < 1000000000000000)
			assert_same(&run.got.records[0], &r);
		sink_free(sink);
		mem_close(&m);
	}
}

#define HIST(metric, key)                                                                       \
	"{\"event\":\"histogram\",\"metric\":\"" metric "\",\"time\":\"2026-03-01T12:00:00Z\"," \
	"\"interval_s\":1.5,\"key\":" key ",\"count\":3,\"sum_us\":40.5,\"min_us\":0.5,"        \
	"\"max_us\":40,\"p50_us\":0,\"buckets\":[{\"le_us\":1.0,\"count\":1},"                  \
	"{\"le_us\":44.0,\"count\":2}]}\n"

static void test_histograms(void **state)
{
	(void)state;
	run.query.config.output = TCPLAT_OUT_HIST;
	assert_int_equal(replay(HIST("pickup", "{\"comm\":\"nginx\",\"part\":\"total\"}") HIST(
				 "pickup", "{\"part\":\"app\",\"lport\":80}") HIST("pickup", "{}")
					HIST("connect", "{}") SUMMARY("0")),
			 0);
	assert_int_equal(run.got.n_histograms, 3);
	assert_holds(run.said, "1 lines are not of this view");
	assert_int_equal(run.got.histograms[0].by, TCPLAT_KEY_COMM | TCPLAT_KEY_PART);
	assert_int_equal(run.got.histograms[0].key.kind, TCPLAT_KIND_PICKUP);
	assert_int_equal(run.got.histograms[0].key.part, TCPLAT_PART_TOTAL);
	assert_string_equal(run.got.histograms[0].key.comm, "nginx");
	assert_int_equal(run.got.histograms[1].by, TCPLAT_KEY_LPORT | TCPLAT_KEY_PART);
	assert_int_equal(run.got.histograms[1].key.part, TCPLAT_PART_APP);
	assert_int_equal(run.got.histograms[1].key.lport, 80);
	assert_int_equal(run.got.histograms[2].by, 0);
	assert_int_equal(run.got.histograms[2].key.part, 0);
}

static void test_broken_keys(void **state)
{
	static const struct {
		bool connect;
		const char *line, *why;
	} cases[] = {
		{ false, HIST("pickup", "{\"part\":\"half\"}"), FORM("part") },
		{ false, HIST("pickup", "{\"part\":0}"), FORM("part") },
		{ false, HIST("pickup", "{\"part\":null}"), FORM("part") },
		{ false, HIST("pickup", "{\"outcome\":\"refused\"}"), FORM("outcome") },
		{ false, HIST("pickup", "{\"bytes\":1}"), FORM("bytes") },
		{ false, HIST("pickup", "{\"wake\":1}"), FORM("wake") },
		{ false, HIST("pickup", "{\"clock\":1}"), FORM("clock") },
		{ true, HIST("connect", "{\"part\":\"total\"}"), FORM("part") },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].connect)
			recording_fresh(state);
		else
			recording_fresh_pickup(state);
		run.query.config.output = TCPLAT_OUT_HIST;
		if (replay(cases[i].line) != -EBADMSG)
			fail_msg("was taken: %s", cases[i].line);
		assert_int_equal(run.got.n_histograms, 0);
		assert_error(1, cases[i].why);
	}
}

static void test_gathered(void **state)
{
	(void)state;
	run.query.config.output = TCPLAT_OUT_HIST;
	run.query.by.mask = TCPLAT_KEY_COMM;
	assert_int_equal(replay(PLAIN SPLIT PLAIN SUMMARY("0")), 0);
	assert_int_equal(run.got.n_histograms, 2);
	assert_int_equal(run.sum.events, 3);
	for (int i = 0; i < 2; i++) {
		const struct histogram *h = &run.got.histograms[i];
		bool nginx = !strcmp(h->key.comm, "nginx");

		assert_int_equal(h->count, nginx ? 2 : 1);
		assert_int_equal(h->max_ns, nginx ? 20512750 : 1500);
		assert_int_equal(h->by, TCPLAT_KEY_COMM);
	}
}

/* As the kernel would count them: each pickup in all of its parts. */
static void test_gathered_parts(void **state)
{
	static const __u64 longest[TCPLAT_NR_PARTS] = { 1500, 1000, 300, 200 };
	unsigned seen = 0;

	(void)state;
	run.query.config.output = TCPLAT_OUT_HIST;
	run.query.split = true;
	assert_int_equal(replay(SPLIT SPLIT SUMMARY("0")), 0);
	assert_int_equal(run.got.n_histograms, TCPLAT_NR_PARTS);
	for (int i = 0; i < TCPLAT_NR_PARTS; i++) {
		const struct histogram *h = &run.got.histograms[i];

		assert_int_equal(h->by, TCPLAT_KEY_PART);
		assert_int_equal(h->count, 2);
		assert_int_equal(h->max_ns, longest[h->key.part]);
		assert_int_equal(h->min_ns, longest[h->key.part]);
		seen |= 1U << h->key.part;
	}
	assert_int_equal(seen, (1U << TCPLAT_NR_PARTS) - 1);
	/* Pickups, not numbers that were counted. */
	assert_int_equal(run.sum.events, 2);
}

#define CASE(fn) cmocka_unit_test_setup(fn, recording_fresh_pickup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_records),
		CASE(test_filters),
		CASE(test_other_view),
		CASE(test_broken_lines),
		CASE(test_parts_longer_than_the_whole),
		CASE(test_round_trip),
		CASE(test_histograms),
		CASE(test_broken_keys),
		CASE(test_gathered),
		CASE(test_gathered_parts),
	};

	return cmocka_run_group_tests(tests, recording_make, recording_remove);
}
