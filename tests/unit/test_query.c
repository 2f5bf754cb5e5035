// SPDX-License-Identifier: GPL-2.0-or-later
/* Options that are fine alone and contradict each other. */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "core/cleanup.h"

static const struct option_table view = { view_options, NULL };

struct together {
	const char *args[12];
	const char *line; /* NULL: they agree */
};

static void check(const struct together *c)
{
	char *argv[16] = { "connect" };
	struct query q;
	const char *said;
	int argc = 1, err;

	while (c->args[argc - 1]) {
		argv[argc] = (char *)c->args[argc - 1];
		argc++;
	}
	query_init(&q, TCPLAT_KIND_CONNECT, "connect latency");
	stderr_begin();
	err = options_parse(&q, &view, argc, argv);
	if (!err)
		err = query_finish(&q);
	said = stderr_end();
	query_free(&q);
	assert_string_equal(said, c->line ? c->line : "");
	assert_int_equal(err, c->line ? -EINVAL : 0);
}

#define CLASH(a, b, why) "tcplat: " a " and " b " contradict each other: " why "\n"

static void test_families(void **state)
{
	static const struct together cases[] = {
		{ { "-4", "-6" },
		  "tcplat: -4 and -6 contradict each other: give one, or neither for both\n" },
		{ { "-6", "-4" },
		  "tcplat: -4 and -6 contradict each other: give one, or neither for both\n" },
		{ { "-4", "-R", "::1" }, CLASH("-4", "--raddr", "every address given is IPv6") },
		{ { "-R", "::1", "-4" }, CLASH("-4", "--raddr", "every address given is IPv6") },
		{ { "-4", "-L", "fd00::/8" },
		  CLASH("-4", "--laddr", "every address given is IPv6") },
		{ { "-6", "-L", "10.0.0.1" },
		  CLASH("-6", "--laddr", "every address given is IPv4") },
		{ { "-6", "-R", "::ffff:10.0.0.1" },
		  CLASH("-6", "--raddr", "every address given is IPv4") },
		{ { "-L", "::1", "-R", "127.0.0.1" },
		  CLASH("--laddr", "--raddr", "one is IPv4 and the other IPv6") },
		{ { "-L", "127.0.0.1", "-R", "::1" },
		  CLASH("--laddr", "--raddr", "one is IPv4 and the other IPv6") },
		{ { "-4", "-4", "-R", "10.0.0.1" }, NULL },
		{ { "-6", "-R", "::1" }, NULL },
		{ { "-4", "-R", "::1", "-R", "10.0.0.1" }, NULL },
		{ { "-L", "::1", "-L", "10.0.0.1", "-R", "127.0.0.1" }, NULL },
		{ { "-L", "::1", "-L", "10.0.0.1", "-R", "::1" }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(&cases[i]);
}

static void test_ports(void **state)
{
	static const struct together cases[] = {
		{ { "-l", "22,!22" }, "tcplat: --lport: no port is left of what was given\n" },
		{ { "-r", "80", "-r", "!1-100" },
		  "tcplat: --rport: no port is left of what was given\n" },
		{ { "-r", "80", "-l", "!80" }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(&cases[i]);
}

static void test_replay(void **state)
{
	static const struct together cases[] = {
		{ { "--replay", "x", "--", "true" },
		  CLASH("--replay", "-- COMMAND", "a recording is not a live trace") },
		{ { "--replay", "x", "--uid", "0" },
		  CLASH("--replay", "--uid", "a recording does not say the user") },
		{ { "--replay", "x", "--hist", "-i", "1" },
		  CLASH("--replay", "-i/--interval",
			"a recording is read at once, not as its time went by") },
		{ { "--replay", "x", "--hist", "--by", "cgroup" }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(&cases[i]);
}

/* Writing to what is being read would leave neither. */
static void test_replay_onto_itself(void **state)
{
	char path[] = "/tmp/tcplat-unit-XXXXXX", link_path[sizeof(path) + 2];
	int fd = mkstemp(path), input = dup(STDIN_FILENO);
	struct together direct = { { "--replay", path, "--json", "-o", path },
				   CLASH("--replay", "-o/--output", "both are the same file") };
	struct together by_link = direct, from_stdin = direct, elsewhere = direct;

	(void)state;
	assert_true(fd >= 0 && input >= 0);
	snprintf(link_path, sizeof(link_path), "%s.l", path);
	assert_int_equal(symlink(path, link_path), 0);
	by_link.args[4] = link_path;
	from_stdin.args[1] = "-";
	elsewhere.args[4] = "/dev/null";
	elsewhere.line = NULL;
	check(&direct);
	check(&by_link);
	check(&elsewhere);
	assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
	check(&from_stdin);
	assert_int_equal(dup2(input, STDIN_FILENO), STDIN_FILENO);
	unlink(link_path);
	unlink(path);
	close(input);
	close(fd);
}

static void test_command(void **state)
{
	static const struct together cases[] = {
		{ { "-u", "root" },
		  "tcplat: --user: there is no command to run; give one after --\n" },
		{ { "-a" }, "tcplat: --all: without a command everything is traced already\n" },
		{ { "-u", "root", "-a", "--", "true" }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(&cases[i]);
}

static void test_output(void **state)
{
	static const struct together cases[] = {
		{ { "--by", "comm" },
		  "tcplat: --by: only histograms have keys; add --hist or --stats\n" },
		{ { "-i", "1" },
		  "tcplat: -i/--interval: only histograms are printed at intervals; add "
		  "--hist or --stats\n" },
		{ { "--hist", "--max-events", "5" },
		  CLASH("--max-events", "--hist", "histograms have no rows to count") },
		{ { "--hist", "--columns", "pid" },
		  CLASH("--columns", "--hist", "histograms have no columns") },
		{ { "--json", "--columns", "pid" },
		  CLASH("--columns", "--json", "JSON rows always have every member") },
		{ { "--hist", "--json", "--by", "comm", "-i", "1" }, NULL },
		{ { "--json", "--max-events", "5" }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(&cases[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_families), cmocka_unit_test(test_ports),
		cmocka_unit_test(test_replay),	 cmocka_unit_test(test_replay_onto_itself),
		cmocka_unit_test(test_command),	 cmocka_unit_test(test_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
