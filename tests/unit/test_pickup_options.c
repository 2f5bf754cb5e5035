// SPDX-License-Identifier: GPL-2.0-or-later
/* One table of options serves several kinds of view: what each kind has of it. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/options.h"
#include "core/cleanup.h"

static const struct option_table view = { view_options, NULL };
static struct query q;

static int parse(enum tcplat_kind kind, const char *const *args, const char **said)
{
	return parse_view(&q, &view, kind, args, said);
}

static void accept_args(enum tcplat_kind kind, const char *const *args)
{
	const char *said;

	if (parse(kind, args, &said))
		fail_msg("rejected: %s", said);
	assert_string_equal(said, "");
}

#define CONNECT TCPLAT_KIND_CONNECT
#define PICKUP TCPLAT_KIND_PICKUP
#define UNKNOWN(word) "tcplat: unknown or ambiguous option " word "; see --help\n"
#define COMMON "keys are laddr, raddr, lport, rport, pid, comm, cgroup, netns"

static void test_rejected(void **state)
{
	static const struct {
		enum tcplat_kind kind;
		const char *args[5];
		const char *line;
	} cases[] = {
		{ PICKUP, { "--failed" }, UNKNOWN("--failed") },
		{ PICKUP, { "--fa" }, UNKNOWN("--fa") },
		{ CONNECT, { "--split" }, UNKNOWN("--split") },
		{ CONNECT, { "-t", "--sp" }, UNKNOWN("--sp") },
		{ PICKUP, { "--split=yes" }, "tcplat: --split: takes no value\n" },
		{ PICKUP,
		  { "--hist", "--by", "outcome" },
		  "tcplat: --by: 'outcome' has the unknown key 'outcome'; " COMMON "\n" },
		{ PICKUP,
		  { "--hist", "--by", "comm,outcome,pid" },
		  "tcplat: --by: 'comm,outcome,pid' has the unknown key 'outcome'; " COMMON "\n" },
		{ PICKUP,
		  { "--hist", "--by", "comm,port" },
		  "tcplat: --by: 'comm,port' has the unknown key 'port'; " COMMON "\n" },
		{ CONNECT,
		  { "--hist", "--by", "port" },
		  "tcplat: --by: 'port' has the unknown key 'port'; " COMMON ", outcome\n" },
		/* It comes with --split, and with nothing else. */
		{ PICKUP,
		  { "--hist", "--by", "part" },
		  "tcplat: --by: 'part' has the unknown key 'part'; " COMMON "\n" },
		{ CONNECT,
		  { "--hist", "--by", "comm,part" },
		  "tcplat: --by: 'comm,part' has the unknown key 'part'; " COMMON ", outcome\n" },
		{ PICKUP,
		  { "--by", "comm" },
		  "tcplat: --by: only histograms have keys; add --hist or --stats\n" },
		/* The kind's own entry, wherever it stands in the table. */
		{ CONNECT, { "--hist", "--by" }, "tcplat: --by: needs a value (KEY[/N][,KEY])\n" },
		{ PICKUP, { "--hist", "--by" }, "tcplat: --by: needs a value (KEY[/N][,KEY])\n" },
		{ PICKUP, { "-p" }, "tcplat: -p/--pid: needs a value (PID)\n" },
		{ PICKUP, { "-Q" }, "tcplat: unknown option -Q; see --help\n" },
		{ PICKUP, { "-?" }, "tcplat: unknown option -?; see --help\n" },
		{ PICKUP,
		  { "--columns", "pid,outcome" },
		  "tcplat: --columns: 'pid,outcome' has the unknown column 'outcome'; columns are "
		  "time clock elapsed pid tid comm ip laddr lport raddr rport wake runq app bytes "
		  "segments netns cgroup lat\n" },
		{ CONNECT,
		  { "--columns", "bytes" },
		  "tcplat: --columns: 'bytes' has the unknown column 'bytes'; columns are time "
		  "clock elapsed pid tid comm ip laddr lport raddr rport outcome error syns rtt "
		  "netns cgroup lat\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *said;

		if (parse(cases[i].kind, cases[i].args, &said) != -EINVAL)
			fail_msg("case %zu was accepted; it should say: %s", i, cases[i].line);
		assert_string_equal(said, cases[i].line);
	}
}

static void test_what_is_measured(void **state)
{
	(void)state;
	accept_args(CONNECT, ARGS("-t"));
	assert_int_equal(q.config.connect, 1);
	assert_int_equal(q.config.pickup, 0);
	accept_args(PICKUP, ARGS("-t"));
	assert_int_equal(q.config.connect, 0);
	assert_int_equal(q.config.pickup, 1);
	assert_int_equal(q.config.split, 0);
	assert_int_equal(q.config.by, 0);
}

static void test_by(void **state)
{
	(void)state;
	/* Entries of other kinds make no option ambiguous. */
	accept_args(PICKUP, ARGS("--hist", "--by=comm,lport", "--by", "netns"));
	assert_int_equal(q.config.by, TCPLAT_KEY_COMM | TCPLAT_KEY_LPORT | TCPLAT_KEY_NETNS);
	assert_int_equal(q.config.max_keys, QUERY_MAX_KEYS_DEFAULT);
	accept_args(CONNECT, ARGS("--hist", "--by", "outcome"));
	assert_int_equal(q.config.by, TCPLAT_KEY_OUTCOME);
}

/* A key more, and room for each of its values. */
static void test_split(void **state)
{
	(void)state;
	accept_args(PICKUP, ARGS("--split"));
	assert_true(q.split);
	assert_int_equal(q.config.split, 1);
	assert_int_equal(q.config.by, 0);
	accept_args(PICKUP, ARGS("--hist", "--split"));
	assert_int_equal(q.config.by, TCPLAT_KEY_PART);
	assert_int_equal(q.config.max_keys, TCPLAT_NR_PARTS);
	accept_args(PICKUP, ARGS("--split", "--hist", "--by", "pid", "--max-keys", "5"));
	assert_int_equal(q.config.by, TCPLAT_KEY_PID | TCPLAT_KEY_PART);
	assert_int_equal(q.config.max_keys, 5 * TCPLAT_NR_PARTS);
	accept_args(PICKUP, ARGS("--split", "--hist", "--by", "pid", "--max-keys", "1000000"));
	assert_int_equal(q.config.max_keys, 4000000);
	accept_args(PICKUP, ARGS("--split", "--hist", "--by", "pid", "--max-keys", "10000"));
	assert_int_equal(q.config.max_keys, 40000);
	accept_args(PICKUP, ARGS("--split", "--hist", "--by", "pid"));
	assert_int_equal(q.config.max_keys, QUERY_MAX_KEYS_DEFAULT);
	accept_args(PICKUP, ARGS("--hist", "--by", "pid"));
	assert_int_equal(q.config.by, TCPLAT_KEY_PID);
}

static void test_columns(void **state)
{
	(void)state;
	accept_args(PICKUP, ARGS("--columns", "wake,bytes,segments,clock", "--split"));
	assert_int_equal(q.n_cells, 4);
	assert_string_equal(q.cells[0].header, "WAKE(ms)");
	assert_string_equal(q.cells[1].header, "BYTES");
	assert_string_equal(q.cells[2].header, "SEGS");
	assert_string_equal(q.cells[3].header, "TIME");
}

/*
 * A key of histograms is no column: it has no header, and a table of it cannot
 * be printed.
 */
static void test_part_is_no_column(void **state)
{
	const char *said;

	(void)state;
	assert_int_equal(parse(PICKUP, ARGS("--columns", "part"), &said), -EINVAL);
	assert_one_line(said);
	assert_holds(said, "--columns: 'part' has the unknown column 'part'; columns are time ");
}

static bool has(const struct option_def *d, enum tcplat_kind kind)
{
	return !d->kinds || d->kinds & 1U << kind;
}

static const char *help_of(enum tcplat_kind kind)
{
	static char text[8192];
	FILE *f = fmemopen(text, sizeof(text), "w");

	assert_non_null(f);
	options_help(f, &view, kind);
	assert_int_equal(fclose(f), 0);
	assert_true(strlen(text) < sizeof(text) - 1);
	return text;
}

/* Every option that the kind has and that help shows, once; none that it has not. */
static void test_help(void **state)
{
	(void)state;
	for (enum tcplat_kind kind = CONNECT; kind <= PICKUP; kind++) {
		const char *text = help_of(kind);

		for (const struct option_def *d = view_options; d->set; d++) {
			const char *at;
			char left[64];

			snprintf(left, sizeof(left), " --%s%s%s ", d->long_name, d->arg ? " " : "",
				 d->arg ? d->arg : "");
			at = strstr(text, left);
			if (d->help && has(d, kind)) {
				assert_non_null(at);
				assert_null(strstr(at + 1, left));
				assert_holds(text, d->help);
			} else if (!d->help) {
				assert_null(at);
			}
		}
		assert_holds(text, "\nFilters:\n  -p, --pid PID             only this process");
		assert_holds(text, "\n      --min DURATION        only latencies");
		assert_int_equal(strstr(text, "--failed") != NULL, kind == CONNECT);
		assert_int_equal(strstr(text, "--split") != NULL, kind == PICKUP);
		assert_int_equal(strstr(text, "netns, outcome\n") != NULL, kind == CONNECT);
		assert_int_equal(strstr(text, "cgroup, netns\n") != NULL, kind == PICKUP);
		assert_null(strstr(text, "part"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rejected), cmocka_unit_test(test_what_is_measured),
		cmocka_unit_test(test_by),	 cmocka_unit_test(test_split),
		cmocka_unit_test(test_columns),	 cmocka_unit_test(test_part_is_no_column),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
