// SPDX-License-Identifier: GPL-2.0-or-later
/* The replay source: recorded lines in, records out. */
#include "recording.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

static void test_records(void **state)
{
	struct record want = sample_v4();

	(void)state;
	assert_int_equal(replay(FIRST "\n \t\n" SECOND SUMMARY("2")), 0);
	assert_string_equal(run.said, "");
	assert_int_equal(run.got.n_records, 2);
	assert_string_equal(run.got.cgroups[0], "/user.slice");
	run.got.records[0].cgroup = want.cgroup;
	assert_memory_equal(&run.got.records[0], &want, sizeof(want));
	assert_string_equal(run.got.records[1].ev.comm, "nc");
	assert_int_equal(run.got.records[1].connect.outcome, TCPLAT_REFUSED);
	assert_int_equal(run.summary_err, 0);
	assert_int_equal(run.sum.events, 2); /* ours, not the recording's claim */
	assert_int_equal(run.sum.unseen_start, 2);
	assert_int_equal(run.sum.still_open, 2);
	assert_int_equal(run.sum.lost[TCPLAT_LOST_RING_FULL], 2);
	assert_int_equal(run.sum.lost[TCPLAT_LOST_CLOCK], 0);
}

/* One recording behind another: what each missed adds up. */
static void test_two_recordings(void **state)
{
	(void)state;
	assert_int_equal(replay(FIRST SUMMARY("2") SECOND SUMMARY("3")), 0);
	assert_int_equal(run.got.n_records, 2);
	assert_int_equal(run.sum.events, 2);
	assert_int_equal(run.sum.unseen_start, 5);
	assert_int_equal(run.sum.still_open, 5);
	assert_int_equal(run.sum.lost[TCPLAT_LOST_RING_FULL], 5);
}

static void test_more_than_a_batch(void **state)
{
	enum { LINES = 1000, SIZE = sizeof(SECOND) - 1 };
	char *text = malloc(LINES * SIZE + sizeof(FIRST));

	(void)state;
	run.query.config.filter.min_ns = 1000; /* only the last one passes */
	for (size_t i = 0; i < LINES; i++)
		memcpy(text + i * SIZE, SECOND, SIZE);
	memcpy(text + LINES * SIZE, FIRST, sizeof(FIRST));
	assert_int_equal(replay(text), 0);
	assert_int_equal(run.got.n_records, 1);
	assert_int_equal(run.sum.events, 1);
	free(text);
}

static void test_filter(void **state)
{
	(void)state;
	assert_int_equal(parse_net("10.0.0.9", &run.query.config.filter.raddr.net[0]), 0);
	run.query.config.filter.raddr.n = 1;
	assert_int_equal(replay(FIRST SECOND SUMMARY("0")), 0);
	assert_int_equal(run.got.n_records, 1);
	assert_string_equal(run.got.records[0].ev.comm, "nc");
	assert_int_equal(run.sum.events, 1);
	recording_fresh(state);
	run.query.config.filter.outcomes = 1U << TCPLAT_TIMED_OUT;
	assert_int_equal(replay(FIRST SECOND SUMMARY("0")), 0);
	assert_int_equal(run.got.n_records, 0);
}

/* Ended by us, as with --max-events: the recording is not to blame. */
static void test_not_read_to_the_end(void **state)
{
	struct source *s;

	(void)state;
	assert_int_equal(replay(FIRST), 0); /* leaves the file */
	stderr_begin();
	assert_int_equal(source_replay_new(&s, run.path, &run.query.config, TCPLAT_KIND_CONNECT),
			 0);
	s->ops->stop(s);
	source_free(s);
	assert_string_equal(stderr_end(), "");
}

static void test_without_summary(void **state)
{
	char warning[200];

	(void)state;
	assert_int_equal(replay(FIRST), 0);
	snprintf(warning, sizeof(warning),
		 "tcplat: warning: %s: ends without a summary: the recording is not whole\n",
		 run.path);
	assert_string_equal(run.said, warning);
	assert_int_equal(run.got.n_records, 1);
	assert_int_equal(run.summary_err, 0);
}

/* The last line may lack its newline, and that is no loss. */
static void test_without_last_newline(void **state)
{
	char text[] = FIRST SUMMARY("0");

	(void)state;
	text[sizeof(text) - 2] = 0;
	assert_int_equal(replay(text), 0);
	assert_string_equal(run.said, "");
}

static void test_other_events(void **state)
{
	char warning[200];

	(void)state;
	assert_int_equal(replay("{\"event\":\"pickup\"}\n" FIRST "{\"event\":\"from_later\"}\n"
				"{\"event\":\"histogram\",\"metric\":\"rtt\"}\n"
				"{\"event\":\"histogram\",\"metric\":\"connect\"}\n" SUMMARY("0")),
			 0);
	assert_int_equal(run.got.n_records, 1);
	assert_int_equal(run.got.n_histograms, 0);
	snprintf(warning, sizeof(warning),
		 "tcplat: warning: %s: 4 lines are not of this view and were passed over\n",
		 run.path);
	assert_string_equal(run.said, warning);
}

struct broken {
	const char *line;
	const char *why; /* NULL: the JSON library's words */
};

static void assert_broken(const struct broken *c)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s%s%s%s", FIRST, c->line, SECOND, "also broken\n");
	assert_int_equal(replay(text), -EBADMSG);
	/* What was read before it stands; nothing behind it is shown. */
	assert_int_equal(run.got.n_records, 1);
	assert_string_equal(run.got.records[0].ev.comm, "curl");
	assert_int_equal(run.got.n_histograms, 0);
	assert_int_equal(run.summary_err, -EBADMSG);
	assert_error(2, c->why);
}

static void test_broken_lines(void **state)
{
	static const struct broken cases[] = {
		{ "{\"event\":\"conn\n", NULL },
		{ "{} {}\n", NULL },
		{ CONNECT("0", "x", "4", "10.0.0.1", "1", "refused", ",\"pid\":1"), NULL },
		{ "{\"event\":\"\xff\"}\n", NULL },
		{ "{\"event\":\"a\\u0000b\"}\n", NULL },
		{ "{\"event\":99999999999999999999}\n", NULL },
		{ "connect\n", NULL },
		{ "5\n", NULL },
		{ "{}\n", FORM("event") },
		{ "[]\n", FORM("event") },
		{ "{\"event\":5}\n", FORM("event") },
		{ "{\"event\":\"connect\"}\n", FORM("time") },
		{ CONNECT("0", "x", "4", "10.0.0", "1", "refused", ""), FORM("raddr") },
		{ CONNECT("0", "x", "4", "10.0.0.1", "\"1\"", "refused", ""), FORM("latency_us") },
		{ CONNECT("0", "x", "4", "10.0.0.1", "-1", "refused", ""), FORM("latency_us") },
		{ CONNECT("0", "x", "4", "10.0.0.1", "1", "denied", ""), FORM("outcome") },
		{ CONNECT("0", "x", "6", "10.0.0.1", "1", "refused", ""), FORM("ip") },
		{ CONNECT("0", "x", "4", "::1", "1", "refused", ""), FORM("ip") },
		{ CONNECT("0", "x", "5", "::1", "1", "refused", ""), FORM("ip") },
		{ "{\"event\":\"summary\",\"still_open\":0," LOST("0") "}\n",
		  FORM("unseen_start") },
		{ "{\"event\":\"summary\",\"unseen_start\":0,\"still_open\":-1," LOST("0") "}\n",
		  FORM("still_open") },
		{ "{\"event\":\"summary\",\"unseen_start\":0,\"still_open\":0,\"lost\":0}\n",
		  FORM("ring_full") },
		{ "{\"event\":\"summary\",\"unseen_start\":0,\"still_open\":0}\n",
		  FORM("ring_full") },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		recording_fresh(state);
		assert_broken(&cases[i]);
	}
}

/* Together more than a number of JSON can be. */
static void test_summaries_overflow(void **state)
{
	(void)state;
	assert_int_equal(replay(SUMMARY("9223372036854775806") SUMMARY("1")), 0);
	assert_int_equal(run.sum.still_open, 9223372036854775807ULL);
	assert_int_equal(replay(SUMMARY("9223372036854775806") SUMMARY("2")), -EBADMSG);
	assert_holds(run.said, ":2: " FORM("unseen_start"));
}

static void test_nul_bytes(void **state)
{
	static const char text[] = "{\"event\":\"summary\"\0}\n";

	(void)state;
	assert_int_equal(replay_bytes(text, sizeof(text) - 1), -EBADMSG);
	assert_one_line(run.said);
}

/* A file of something else, without newlines: no more than a line is kept. */
static void test_endless_line(void **state)
{
	enum { MIB = 1 << 20 };
	char *text = malloc(2 * MIB);

	(void)state;
	memset(text, ' ', 2 * MIB);
	assert_int_equal(replay_bytes(text, 2 * MIB), -EBADMSG);
	free(text);
	assert_error(1, "line too long");
}

static void test_unreadable(void **state)
{
	struct source *s;

	(void)state;
	stderr_begin();
	assert_int_equal(
		source_replay_new(&s, "/no/such/file", &run.query.config, TCPLAT_KIND_CONNECT),
		-ENOENT);
	assert_string_equal(
		stderr_end(),
		"tcplat: --replay: cannot read '/no/such/file': No such file or directory\n");
	stderr_begin();
	assert_int_equal(source_replay_new(&s, "/", &run.query.config, TCPLAT_KIND_CONNECT), 0);
	collect_init(&run.got);
	assert_int_equal(s->ops->drain(s, &run.got.consumer), -EBADMSG);
	source_free(s);
	assert_string_equal(stderr_end(), "tcplat: /:0: Is a directory\n");
}

#define CASE(fn) cmocka_unit_test_setup(fn, recording_fresh)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_records),
		CASE(test_two_recordings),
		CASE(test_more_than_a_batch),
		CASE(test_filter),
		CASE(test_not_read_to_the_end),
		CASE(test_without_summary),
		CASE(test_without_last_newline),
		CASE(test_other_events),
		CASE(test_broken_lines),
		CASE(test_summaries_overflow),
		CASE(test_nul_bytes),
		CASE(test_endless_line),
		CASE(test_unreadable),
	};

	return cmocka_run_group_tests(tests, recording_make, recording_remove);
}
