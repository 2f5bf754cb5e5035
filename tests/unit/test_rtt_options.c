// SPDX-License-Identifier: GPL-2.0-or-later
/* The options of tcplat rtt, of the summary, and those that histograms of all views have. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/options.h"
#include "core/cleanup.h"

static const struct option_table view = { view_options, NULL };
static struct query q;

#define CONNECT TCPLAT_KIND_CONNECT
#define PICKUP TCPLAT_KIND_PICKUP
#define RTT TCPLAT_KIND_RTT
#define LIVE TCPLAT_NR_KINDS
#define UNKNOWN(word) "tcplat: unknown or ambiguous option " word "; see --help\n"
#define CLASH(a, b, why) "tcplat: " a " and " b " contradict each other: " why "\n"
#define COMMON "keys are laddr, raddr, lport, rport, pid, comm, cgroup, netns"

static void accept_args(enum tcplat_kind kind, const char *const *args)
{
	const char *said;

	if (parse_view(&q, &view, kind, args, &said))
		fail_msg("rejected: %s", said);
	assert_string_equal(said, "");
}

struct refused {
	enum tcplat_kind kind;
	const char *args[6];
	const char *line;
};

static void refuse(const struct refused *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *said;

		if (parse_view(&q, &view, cases[i].kind, cases[i].args, &said) != -EINVAL)
			fail_msg("case %zu was accepted; it should say: %s", i, cases[i].line);
		assert_one_line(said);
		assert_string_equal(said, cases[i].line);
	}
}

static void test_wrong_values(void **state)
{
	static const struct refused cases[] = {
		{ RTT,
		  { "--sort", "p50" },
		  "tcplat: --sort: 'p50' is nothing to sort by; give count, p99 or max\n" },
		{ RTT,
		  { "--sort", "" },
		  "tcplat: --sort: '' is nothing to sort by; give count, p99 or max\n" },
		{ CONNECT,
		  { "--hist", "--sort", "Count" },
		  "tcplat: --sort: 'Count' is nothing to sort by; give count, p99 or max\n" },
		{ RTT, { "--sort" }, "tcplat: --sort: needs a value (WHAT)\n" },
		{ RTT, { "--top" }, "tcplat: --top: needs a value (N)\n" },
#define NUMBER "is not a number of keys; give a whole number from 1 to 1000000\n"
		{ RTT, { "--top", "0" }, "tcplat: --top: '0' " NUMBER },
		{ RTT, { "--top", "1000001" }, "tcplat: --top: '1000001' " NUMBER },
		{ RTT, { "--top", "-1" }, "tcplat: --top: '-1' " NUMBER },
		{ RTT, { "--top", "five" }, "tcplat: --top: 'five' " NUMBER },
		{ LIVE, { "--top", "1.5" }, "tcplat: --top: '1.5' " NUMBER },
#undef NUMBER
		{ RTT, { "--srtt=1" }, "tcplat: --srtt: takes no value\n" },
		{ RTT, { "--heatmap=x" }, "tcplat: --heatmap: takes no value\n" },
		{ RTT,
		  { "--by", "outcome" },
		  "tcplat: --by: 'outcome' has the unknown key 'outcome'; " COMMON "\n" },
		{ RTT,
		  { "--rows", "--columns", "pid,lat" },
		  "tcplat: --columns: 'pid,lat' has the unknown column 'lat'; columns are time clock "
		  "elapsed pid tid comm ip laddr lport raddr rport srtt min_rtt netns cgroup rtt\n" },
	};

	(void)state;
	refuse(cases, ARRAY_SIZE(cases));
}

/* What another view has, and is none of theirs. */
static void test_not_theirs(void **state)
{
	static const struct {
		enum tcplat_kind kind;
		const char *option;
	} cases[] = {
		{ CONNECT, "--rows" },	  { PICKUP, "--rows" },	    { LIVE, "--rows" },
		{ CONNECT, "--srtt" },	  { PICKUP, "--min-rtt" },  { CONNECT, "--jitter" },
		{ PICKUP, "--receiver" }, { LIVE, "--srtt" },	    { RTT, "--split" },
		{ RTT, "--failed" },	  { LIVE, "--hist" },	    { LIVE, "--stats" },
		{ LIVE, "--heatmap" },	  { LIVE, "--by" },	    { LIVE, "--sort" },
		{ LIVE, "--columns" },	  { LIVE, "--replay" },	    { LIVE, "--min" },
		{ LIVE, "--buffer" },	  { LIVE, "--max-events" }, { LIVE, "--timestamp" },
		{ LIVE, "--wide" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char line[96];
		const char *said;

		snprintf(line, sizeof(line), UNKNOWN("%s"), cases[i].option);
		assert_int_equal(
			parse_view(&q, &view, cases[i].kind, ARGS(cases[i].option, "x"), &said),
			-EINVAL);
		assert_string_equal(said, line);
	}
}

static void test_one_way_to_show(void **state)
{
#define ONE "give one way to show it"
	static const struct refused cases[] = {
		{ CONNECT, { "--hist", "--stats" }, CLASH("--hist", "--stats", ONE) },
		{ CONNECT, { "--heatmap", "--hist" }, CLASH("--heatmap", "--hist", ONE) },
		{ PICKUP, { "--stats", "--heatmap" }, CLASH("--stats", "--heatmap", ONE) },
		{ RTT, { "--rows", "--stats" }, CLASH("--rows", "--stats", ONE) },
		{ RTT, { "--stats", "--rows" }, CLASH("--stats", "--rows", ONE) },
		{ RTT, { "--heatmap", "--rows" }, CLASH("--heatmap", "--rows", ONE) },
	};

	(void)state;
	refuse(cases, ARRAY_SIZE(cases));
	accept_args(RTT, ARGS("--stats", "--stats"));
	assert_int_equal(q.show, SHOW_STATS);
}

static void test_of_histograms_only(void **state)
{
	static const struct refused cases[] = {
		{ CONNECT,
		  { "--sort", "max" },
		  "tcplat: --sort: only histograms are sorted; add --hist or --stats\n" },
		{ PICKUP,
		  { "--top", "3" },
		  "tcplat: --top: only histograms are counted so; add --hist or --stats\n" },
		{ CONNECT,
		  { "--by", "none" },
		  "tcplat: --by: only histograms have keys; add --hist or --stats\n" },
		{ RTT,
		  { "--rows", "--by", "comm" },
		  CLASH("--by", "--rows", "only histograms have keys") },
		{ RTT,
		  { "--rows", "--by", "none" },
		  CLASH("--by", "--rows", "only histograms have keys") },
		{ RTT,
		  { "--rows", "-i", "1" },
		  CLASH("-i/--interval", "--rows", "only histograms are printed at intervals") },
		{ RTT,
		  { "--rows", "--sort", "p99" },
		  CLASH("--sort", "--rows", "only histograms are sorted") },
		{ RTT,
		  { "--top", "3", "--rows" },
		  CLASH("--top", "--rows", "only histograms are counted so") },
	};

	(void)state;
	refuse(cases, ARRAY_SIZE(cases));
	for (enum tcplat_kind kind = CONNECT; kind <= RTT; kind++) {
		accept_args(kind, ARGS("--stats", "--sort", "max", "--top", "3", "--by", "comm"));
		assert_int_equal(q.sort, SORT_MAX);
		assert_int_equal(q.top, 3);
		assert_int_equal(q.show, SHOW_STATS);
		accept_args(kind, ARGS("--hist", "--sort=p99", "--sort=count", "--top=1000000"));
		assert_int_equal(q.sort, SORT_COUNT);
		assert_int_equal(q.top, 1000000);
		accept_args(kind, ARGS("--hist", "-i", "1"));
		assert_int_equal(q.sort, SORT_COUNT);
		assert_int_equal(q.top, 0);
	}
}

static void test_of_rows_only(void **state)
{
#define NO_ROWS "histograms have no rows to count"
#define NO_COLUMNS "histograms have no columns"
	static const struct refused cases[] = {
		{ RTT, { "--max-events", "5" }, "tcplat: --max-events: " NO_ROWS "; add --rows\n" },
		{ RTT, { "--columns", "pid" }, "tcplat: --columns: " NO_COLUMNS "; add --rows\n" },
		{ RTT,
		  { "--hist", "--max-events", "5" },
		  CLASH("--max-events", "--hist", NO_ROWS) },
		{ CONNECT,
		  { "--stats", "--max-events", "5" },
		  CLASH("--max-events", "--stats", NO_ROWS) },
		{ PICKUP,
		  { "--heatmap", "--columns", "pid" },
		  CLASH("--columns", "--heatmap", NO_COLUMNS) },
		{ RTT,
		  { "--rows", "--json", "--columns", "rtt" },
		  CLASH("--columns", "--json", "JSON rows always have every member") },
	};

	(void)state;
	refuse(cases, ARRAY_SIZE(cases));
	accept_args(RTT, ARGS("--rows", "--max-events", "5", "--columns", "rtt,srtt,min_rtt"));
	assert_int_equal(q.show, SHOW_ROWS);
	assert_int_equal(q.config.output, TCPLAT_OUT_ROWS);
	assert_int_equal(q.n_cells, 3);
	assert_string_equal(q.cells[0].header, "RTT(ms)");
	assert_string_equal(q.cells[1].header, "SRTT(ms)");
	assert_string_equal(q.cells[2].header, "MIN(ms)");
}

static void test_heatmap(void **state)
{
	static const struct refused cases[] = {
		{ RTT,
		  { "--heatmap", "--json" },
		  CLASH("--heatmap", "--json",
			"it is a picture; --hist -i 1s --json has its numbers") },
		{ PICKUP,
		  { "--by", "comm", "--heatmap" },
		  CLASH("--heatmap", "--by", "the picture is of all keys together") },
		{ CONNECT,
		  { "--heatmap", "--replay", "x" },
		  CLASH("--heatmap", "--replay", "its columns are live intervals") },
		{ CONNECT,
		  { "--heatmap", "--sort", "max" },
		  CLASH("--heatmap", "--sort", "its columns are in the order of time") },
		{ CONNECT,
		  { "--heatmap", "--top", "2" },
		  CLASH("--heatmap", "--top", "its columns are in the order of time") },
		/* The parts of a latency would be added to it. */
		{ PICKUP,
		  { "--heatmap", "--split" },
		  CLASH("--heatmap", "--split", "the picture is of the whole latency") },
	};

	(void)state;
	refuse(cases, ARRAY_SIZE(cases));
	for (enum tcplat_kind kind = CONNECT; kind <= RTT; kind++) {
		accept_args(kind, ARGS("--heatmap", "--by", "none"));
		assert_int_equal(q.show, SHOW_HEATMAP);
		assert_int_equal(q.config.output, TCPLAT_OUT_HIST);
		assert_int_equal(q.config.by, 0);
		assert_int_equal(q.config.max_keys, 1);
		assert_int_equal(q.interval_ns, 1000000000);
		accept_args(kind, ARGS("--heatmap", "-i", "100ms"));
		assert_int_equal(q.interval_ns, 100000000);
	}
}

static void test_values(void **state)
{
#define AT_A_TIME "one value is shown at a time"
#define ROW "a row has the sample, srtt and minimum"
	static const struct {
		const char *option;
		enum tcplat_value value;
	} values[] = {
		{ "--srtt", TCPLAT_VALUE_SRTT },
		{ "--min-rtt", TCPLAT_VALUE_MIN_RTT },
		{ "--jitter", TCPLAT_VALUE_JITTER },
		{ "--receiver", TCPLAT_VALUE_RECEIVER },
	};
	char line[128];
	const char *said;

	(void)state;
	accept_args(RTT, ARGS("--stats"));
	assert_int_equal(q.config.rtt_value, TCPLAT_VALUE_SAMPLE);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		accept_args(RTT, ARGS(values[i].option, values[i].option));
		assert_int_equal(q.config.rtt_value, values[i].value);
		accept_args(RTT, ARGS("--hist", values[i].option, "--json"));
		assert_int_equal(q.config.rtt_value, values[i].value);
		/* What was recorded as histograms can be shown again, whatever it is of. */
		accept_args(RTT, ARGS("--replay", "x", values[i].option));
		assert_int_equal(q.config.rtt_value, values[i].value);
		assert_int_equal(
			parse_view(&q, &view, RTT, ARGS(values[i].option, "--rows"), &said),
			-EINVAL);
		snprintf(line, sizeof(line), CLASH("%s", "--rows", ROW), values[i].option);
		assert_string_equal(said, line);
		for (size_t j = 0; j < ARRAY_SIZE(values); j++) {
			if (i == j)
				continue;
			assert_int_equal(parse_view(&q, &view, RTT,
						    ARGS(values[i].option, values[j].option),
						    &said),
					 -EINVAL);
			snprintf(line, sizeof(line), CLASH("%s", "%s", AT_A_TIME), values[i].option,
				 values[j].option);
			assert_string_equal(said, line);
		}
	}
	/* --min is whole, though --min-rtt begins with it. */
	accept_args(RTT, ARGS("--min", "1ms"));
	assert_int_equal(q.config.filter.min_ns, 1000000);
	assert_int_equal(q.config.rtt_value, TCPLAT_VALUE_SAMPLE);
}

/* Statistics by remote address; other ways to show it have no keys of their own. */
static void test_defaults(void **state)
{
	(void)state;
	accept_args(RTT, ARGS("-v"));
	assert_int_equal(q.show, SHOW_STATS);
	assert_int_equal(q.config.output, TCPLAT_OUT_HIST);
	assert_int_equal(q.config.by, TCPLAT_KEY_RADDR);
	assert_int_equal(q.config.max_keys, QUERY_MAX_KEYS_DEFAULT);
	assert_int_equal(q.config.rtt, 1);
	assert_int_equal(q.config.connect, 0);
	assert_int_equal(q.config.pickup, 0);
	assert_int_equal(q.config.rest, 0);
	assert_int_equal(q.interval_ns, 0);
	accept_args(RTT, ARGS("--json"));
	assert_int_equal(q.config.by, TCPLAT_KEY_RADDR);
	accept_args(RTT, ARGS("--by", "none"));
	assert_int_equal(q.show, SHOW_STATS);
	assert_int_equal(q.config.by, 0);
	assert_int_equal(q.config.max_keys, 1);
	accept_args(RTT, ARGS("--by", "rport,netns"));
	assert_int_equal(q.config.by, TCPLAT_KEY_RPORT | TCPLAT_KEY_NETNS);
	accept_args(RTT, ARGS("--hist"));
	assert_int_equal(q.show, SHOW_HIST);
	assert_int_equal(q.config.by, 0);
	accept_args(RTT, ARGS("--hist", "--by", "raddr/24"));
	assert_int_equal(q.config.by, TCPLAT_KEY_RADDR);
	/* Other views show rows, and their statistics are of all together. */
	accept_args(CONNECT, ARGS("-v"));
	assert_int_equal(q.show, SHOW_ROWS);
	accept_args(PICKUP, ARGS("--stats"));
	assert_int_equal(q.config.by, 0);
	assert_int_equal(q.config.max_keys, 1);
	accept_args(PICKUP, ARGS("--stats", "--split"));
	assert_int_equal(q.config.by, TCPLAT_KEY_PART);
}

/* All measurements, each second, by who and where, with a place for what finds none. */
static void test_summary(void **state)
{
	(void)state;
	accept_args(LIVE, ARGS("-v"));
	assert_int_equal(q.show, SHOW_LIVE);
	assert_int_equal(q.config.output, TCPLAT_OUT_HIST);
	assert_true(q.config.connect && q.config.pickup && q.config.rtt && q.config.rest);
	assert_int_equal(q.config.by, TCPLAT_KEY_RADDR | TCPLAT_KEY_COMM | TCPLAT_KEY_OUTCOME);
	assert_int_equal(q.config.max_keys, QUERY_LIVE_KEYS);
	assert_int_equal(q.config.owners, 1);
	assert_int_equal(q.interval_ns, 1000000000);
	assert_int_equal(q.top, 0);
	accept_args(LIVE, ARGS("-i", "10", "--top", "8", "--max-keys", "100", "--json", "-d", "1m",
			       "-r", "443", "--comm", "curl"));
	assert_int_equal(q.interval_ns, 10000000000);
	assert_int_equal(q.duration_ns, 60000000000);
	assert_int_equal(q.top, 8);
	assert_int_equal(q.config.max_keys, 100);
	assert_int_equal(q.format, FORMAT_JSON);
}

/* Whose a socket is costs something to know, so it is kept only where it is asked for. */
static void test_owners(void **state)
{
	static const struct {
		enum tcplat_kind kind;
		const char *args[6];
		bool needed;
	} cases[] = {
		{ RTT, { NULL }, false },
		{ RTT, { "--hist", "--by", "raddr,rport,laddr,lport,netns" }, false },
		{ RTT, { "-r", "443", "-R", "10.0.0.0/8", "-4", "--min=1ms" }, false },
		{ RTT, { "--rows" }, true },
		{ RTT, { "--by", "pid" }, true },
		{ RTT, { "--by", "raddr,comm" }, true },
		{ RTT, { "--by", "cgroup" }, true },
		{ RTT, { "-p", "1" }, true },
		{ RTT, { "--uid", "0" }, true },
		{ RTT, { "--comm", "curl" }, true },
		{ RTT, { "--", "true" }, true },
		{ RTT, { "-a", "--", "true" }, false },
		{ CONNECT, { "--hist", "--by", "comm" }, false },
		{ PICKUP, { "-p", "1" }, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		accept_args(cases[i].kind, cases[i].args);
		if (q.config.owners != cases[i].needed)
			fail_msg("case %zu: %u", i, q.config.owners);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong_values),	cmocka_unit_test(test_not_theirs),
		cmocka_unit_test(test_one_way_to_show), cmocka_unit_test(test_of_histograms_only),
		cmocka_unit_test(test_of_rows_only),	cmocka_unit_test(test_heatmap),
		cmocka_unit_test(test_values),		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_summary),		cmocka_unit_test(test_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
