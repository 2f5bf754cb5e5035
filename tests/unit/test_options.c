// SPDX-License-Identifier: GPL-2.0-or-later
/* What the command line makes of its words, and what it says of bad ones. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/options.h"
#include "core/cleanup.h"

static const struct option_table view = { view_options, NULL };
static struct query q;

static int parse(const char *const *args, const char **said)
{
	return parse_view(&q, &view, TCPLAT_KIND_CONNECT, args, said);
}

static void accept_args(const char *const *args)
{
	const char *said;

	if (parse(args, &said))
		fail_msg("rejected: %s", said);
	assert_string_equal(said, "");
}

struct bad {
	const char *option, *value;
	const char *line; /* after "tcplat: " */
};

static void test_bad_values(void **state)
{
	static const struct bad cases[] = {
		{ "--tid", "7x", "--tid: '7x' is not a thread id; give a whole number from 1 to " },
		{ "--tid", "0", "--tid: '0' is out of range; give a whole number from 1 to " },
		{ "-p", "12abc",
		  "-p/--pid: '12abc' is not a process id; give a whole number from 1 to " },
		{ "--pid", "", "-p/--pid: '' is not a process id; give a whole number from 1 to " },
		{ "-p", "-5",
		  "-p/--pid: '-5' is not a process id; give a whole number from 1 to " },
		{ "-p", "0", "-p/--pid: '0' is out of range; give a whole number from 1 to " },
		{ "-p", "99999999999",
		  "-p/--pid: '99999999999' is out of range; give a whole number from 1 to " },
		{ "--uid", "no-such-user",
		  "--uid: 'no-such-user' is no user here; give a user name or a number from 0 to "
		  "4294967294\n" },
		{ "--uid", "4294967295",
		  "--uid: '4294967295' is no user here; give a user name or a number from 0 to "
		  "4294967294\n" },
		{ "--comm", "", "--comm: '' is empty; give a name of 1 to 15 bytes\n" },
		{ "--comm", "sixteen-bytes-xx",
		  "--comm: 'sixteen-bytes-xx' is too long; the kernel keeps 15 bytes of a name: "
		  "'sixteen-bytes-x'\n" },
		{ "-l", "0",
		  "-l/--lport: '0' has a port out of range or a reversed range: '0'; give ports "
		  "from 1 to 65535 like 80,443,8000-8100,!22\n" },
		{ "-r", "70000",
		  "-r/--rport: '70000' has a port out of range or a reversed range: '70000'; give "
		  "ports from 1 to 65535 like 80,443,8000-8100,!22\n" },
		{ "--rport", "1,9000-8000",
		  "-r/--rport: '1,9000-8000' has a port out of range or a reversed range: "
		  "'9000-8000'; give ports from 1 to 65535 like 80,443,8000-8100,!22\n" },
		{ "-r", "443,80abc",
		  "-r/--rport: '443,80abc' has something that is not a port: '80abc'; give ports "
		  "from 1 to 65535 like 80,443,8000-8100,!22\n" },
		{ "-R", "300.1.1.1",
		  "-R/--raddr: '300.1.1.1' is not an address; give IPv4 or IPv6, with or without "
		  "/PREFIX; names are not looked up\n" },
		{ "-L", "localhost",
		  "-L/--laddr: 'localhost' is not an address; give IPv4 or IPv6, with or without "
		  "/PREFIX; names are not looked up\n" },
		{ "-R", "::1/129",
		  "-R/--raddr: '::1/129' has a prefix out of range; an IPv4 prefix is 0 to 32, an "
		  "IPv6 one 0 to 128\n" },
		{ "--netns", "no-such-netns",
		  "--netns: 'no-such-netns' names no network namespace; give a name of `ip netns`, "
		  "a path such as /proc/PID/ns/net, or an inode number\n" },
		{ "--netns", "/dev/null", "--netns: '/dev/null' is not a network namespace\n" },
		{ "--netns", "0", "--netns: '0' names no network namespace; " },
		{ "--cgroup", "/no/such/group", "--cgroup: '/no/such/group' " },
		{ "--min", "10",
		  "--min: '10' is not a duration; give a number with ns, us, ms, s, m or h, above "
		  "0, such as 1.5ms\n" },
		{ "--min", "-1ms", "--min: '-1ms' is not a duration; give a number with " },
		{ "--min", "nan", "--min: 'nan' is not a duration; give a number with " },
		{ "--min", "1e3s", "--min: '1e3s' is not a duration; give a number with " },
		{ "--min", "0s", "--min: '0s' is out of range; give a number with " },
		{ "--min", "99999999999h",
		  "--min: '99999999999h' is out of range; give a number " },
		{ "-i", "0",
		  "-i/--interval: '0' is out of range; give seconds, or a number with ns, us, ms, "
		  "s, m or h, above 0\n" },
		{ "-d", "soon", "-d/--duration: 'soon' is not a duration; give seconds, or " },
		{ "--by", "comm,port",
		  "--by: 'comm,port' has the unknown key 'port'; keys are " KEY_NAMES "\n" },
		{ "--columns", "pid,port",
		  "--columns: 'pid,port' has the unknown column 'port'; columns are time clock "
		  "elapsed pid tid comm ip laddr lport raddr rport outcome error syns rtt netns "
		  "cgroup lat\n" },
		{ "--columns", "", "--columns: '' has the unknown column ''; columns are time " },
		{ "-o", "", "-o/--output: '' is empty; give a file's path\n" },
		{ "--max-events", "0",
		  "--max-events: '0' is not a number of events; give a whole number from 1\n" },
		{ "--max-events", "1e6", "--max-events: '1e6' is not a number of events; " },
		{ "--buffer", "5000",
		  "--buffer: '5000' is not a size of the ring buffer; give a power of two from one "
		  "page (4k) to 1g\n" },
		{ "--buffer", "1k", "--buffer: '1k' is not a size of the ring buffer; " },
		{ "--buffer", "2g", "--buffer: '2g' is not a size of the ring buffer; " },
		{ "--max-keys", "0",
		  "--max-keys: '0' is not a number of keys; give a whole number from 1 to "
		  "1000000\n" },
		{ "--max-keys", "1000001", "--max-keys: '1000001' is not a number of keys; " },
		{ "-u", "no-such-user",
		  "-u/--user: 'no-such-user' is no user here; give a login name\n" },
		{ "--replay", "", "--replay: '' is empty; give a file, or - for standard input\n" },
		/* The terminal must not obey what the user pasted. */
		{ "-p", "1\033[2J\n2", "-p/--pid: '1\\x1b[2J\\x0a2' is not a process id; give a " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct bad *c = &cases[i];
		const char *said;
		char line[512];

		if (parse(ARGS(c->option, c->value), &said) != -EINVAL)
			fail_msg("%s '%s' was accepted", c->option, c->value);
		snprintf(line, sizeof(line), "tcplat: %s", c->line);
		assert_one_line(said);
		if (strncmp(said, line, strlen(line)))
			fail_msg("%s '%s' says: %s", c->option, c->value, said);
	}
}

static void test_pid_max(void **state)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/pid_max", "re");
	unsigned long long max;
	const char *said;
	char text[32], right[64];

	(void)state;
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%llu", &max), 1);
	snprintf(text, sizeof(text), "%llu", max);
	assert_int_equal(parse(ARGS("-p", text), &said), -EINVAL);
	snprintf(right, sizeof(right), "is out of range; give a whole number from 1 to %llu\n",
		 max - 1);
	assert_holds(said, right);
}

/* The id of a process that has certainly ended. */
static void ended_pid(char *text, size_t size)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	snprintf(text, size, "%d", pid);
}

static void test_absent_process_is_a_warning(void **state)
{
	char text[16], line[80];
	const char *said;

	(void)state;
	ended_pid(text, sizeof(text));
	assert_int_equal(parse(ARGS("-p", text), &said), 0);
	snprintf(line, sizeof(line), "tcplat: warning: no process %s is running now\n", text);
	assert_string_equal(said, line);
	assert_int_equal(parse(ARGS("--tid", text), &said), 0);
	snprintf(line, sizeof(line), "tcplat: warning: no thread %s is running now\n", text);
	assert_string_equal(said, line);
	/* A recording is not about what runs now. */
	accept_args(ARGS("-p", text, "--replay", "-"));
	snprintf(text, sizeof(text), "%d", getpid());
	accept_args(ARGS("-p", text));
	assert_int_equal(q.config.filter.pid.n, 1);
	assert_int_equal(q.config.filter.pid.id[0], getpid());
}

static void test_unknown_options(void **state)
{
	static const struct {
		const char *args[4];
		const char *line;
	} cases[] = {
		{ { "-Q" }, "tcplat: unknown option -Q; see --help\n" },
		{ { "-tQ" }, "tcplat: unknown option -Q; see --help\n" },
		{ { "--bogus" }, "tcplat: unknown or ambiguous option --bogus; see --help\n" },
		{ { "-t", "--bogus" },
		  "tcplat: unknown or ambiguous option --bogus; see --help\n" },
		{ { "--bogus=1", "-t" },
		  "tcplat: unknown or ambiguous option --bogus=1; see --help\n" },
		{ { "-w", "--ver" }, "tcplat: unknown or ambiguous option --ver; see --help\n" },
		{ { "--json=yes" }, "tcplat: --json: takes no value\n" },
		{ { "-t", "-p" }, "tcplat: -p/--pid: needs a value (PID)\n" },
		{ { "--raddr" }, "tcplat: -R/--raddr: needs a value (ADDR[/N])\n" },
		{ { "--min" }, "tcplat: --min: needs a value (DURATION)\n" },
		{ { "-p", "--", "true" }, "tcplat: -p/--pid: needs a value (PID)\n" },
		{ { "--" }, "tcplat: --: a command must follow\n" },
		{ { "-t", "--" }, "tcplat: --: a command must follow\n" },
		{ { "80" }, "tcplat: unexpected argument '80'; a command goes after --\n" },
		{ { "80", "-t" }, "tcplat: unexpected argument '80'; a command goes after --\n" },
		{ { "" }, "tcplat: unexpected argument ''; a command goes after --\n" },
		{ { "-?" }, "tcplat: unknown option -?; see --help\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *said;

		assert_int_equal(parse(cases[i].args, &said), -EINVAL);
		assert_string_equal(said, cases[i].line);
	}
}

static void test_command(void **state)
{
	(void)state;
	accept_args(ARGS("-t", "--", "cmd", "-p", "x", "--", "--bogus"));
	assert_true(q.timestamp);
	assert_string_equal(q.command[0], "cmd");
	assert_string_equal(q.command[1], "-p");
	assert_string_equal(q.command[2], "x");
	assert_string_equal(q.command[3], "--");
	assert_string_equal(q.command[4], "--bogus");
	assert_null(q.command[5]);
	assert_int_equal(q.config.filter.pid.n, 0);
	assert_int_equal(q.config.filter.descendants, 1);
	accept_args(ARGS("-a", "--", "cmd"));
	assert_int_equal(q.config.filter.descendants, 0);
	accept_args(ARGS("-t"));
	assert_null(q.command);
	assert_int_equal(q.config.filter.descendants, 0);
}

static void test_values(void **state)
{
	const struct tcplat_filter *f = &q.config.filter;

	(void)state;
	accept_args(ARGS("--uid", "0", "--uid=root", "--comm", "curl", "--comm", "fifteen-bytes-x",
			 "-l1000-2000", "--rport=80,443", "-L", "10.0.0.0/8", "-R", "10.1.0.1",
			 "-R", "192.168.0.0/16", "--netns", "4026531840", "--min", "1.5ms",
			 "--failed", "--json", "-t", "-w", "-d", "2.5", "-o", "out.jsonl",
			 "--max-events", "18446744073709551615", "--buffer", "64k", "-v", "-4"));
	assert_int_equal(f->uid.n, 2);
	assert_int_equal(f->uid.id[0], 0);
	assert_int_equal(f->uid.id[1], 0);
	assert_int_equal(f->n_comms, 2);
	assert_string_equal(f->comm[0], "curl");
	assert_string_equal(f->comm[1], "fifteen-bytes-x");
	assert_true(f->lport.active && f->rport.active);
	assert_int_equal(f->lport.bits[1000 / 64] >> (1000 % 64) & 1, 1);
	assert_int_equal(f->lport.bits[999 / 64] >> (999 % 64) & 1, 0);
	assert_int_equal(f->rport.bits[443 / 64] >> (443 % 64) & 1, 1);
	assert_int_equal(f->laddr.n, 1);
	assert_int_equal(f->raddr.n, 2);
	assert_int_equal(f->netns.n, 1);
	assert_int_equal(f->netns.id[0], 4026531840U);
	assert_int_equal(f->min_ns, 1500000);
	assert_int_equal(f->ip, 4);
	assert_true(q.failed && q.timestamp && q.wide && q.verbose);
	assert_int_equal(q.format, FORMAT_JSON);
	assert_int_equal(q.duration_ns, 2500000000);
	assert_string_equal(q.out_path, "out.jsonl");
	assert_int_equal(q.max_events, ~0ULL);
	assert_int_equal(q.ring_bytes, 65536);
	assert_int_equal(q.config.wake_bytes, 16384);
}

static void test_histogram_options(void **state)
{
	(void)state;
	accept_args(ARGS("--hist"));
	assert_int_equal(q.config.output, TCPLAT_OUT_HIST);
	assert_int_equal(q.config.max_keys, 1);
	accept_args(ARGS("--hist", "--by", "comm", "--by", "raddr,rport", "-i", "1"));
	assert_int_equal(q.config.by, TCPLAT_KEY_COMM | TCPLAT_KEY_RADDR | TCPLAT_KEY_RPORT);
	assert_int_equal(q.config.max_keys, QUERY_MAX_KEYS_DEFAULT);
	assert_int_equal(q.interval_ns, 1000000000);
	accept_args(ARGS("--hist", "--by", "comm", "--max-keys", "5"));
	assert_int_equal(q.config.max_keys, 5);
	accept_args(ARGS("-t"));
	assert_int_equal(q.config.output, TCPLAT_OUT_ROWS);
}

static void test_columns(void **state)
{
	char list[4 * QUERY_MAX_CELLS + 4] = "pid";
	const char *said;

	(void)state;
	accept_args(ARGS("--columns", "raddr,lat,pid"));
	assert_int_equal(q.n_cells, 3);
	assert_string_equal(q.cells[0].header, "RADDR");
	assert_string_equal(q.cells[1].header, "LAT(ms)");
	assert_string_equal(q.cells[2].header, "PID");
	/* The last one counts. */
	accept_args(ARGS("--columns", "raddr,lat", "--columns", "tid"));
	assert_int_equal(q.n_cells, 1);
	assert_string_equal(q.cells[0].header, "TID");
	for (int i = 1; i < QUERY_MAX_CELLS; i++)
		memcpy(list + 4 * (size_t)i - 1, ",pid", 5);
	accept_args(ARGS("--columns", list));
	assert_int_equal(q.n_cells, QUERY_MAX_CELLS);
	memcpy(list + 4 * QUERY_MAX_CELLS - 1, ",tid", 5);
	assert_int_equal(parse(ARGS("--columns", list), &said), -EINVAL);
	assert_one_line(said);
	assert_holds(said, "'tid' is one too many; at most 32 can be given");
}

/* So many of one option, then one more. */
static void assert_limit(const char *option, const char *value, unsigned max)
{
	const char *args[SUPPORT_MAX_ARGS] = {}, *said;
	char over[160], joined[64][40];

	assert_true(max <= ARRAY_SIZE(joined));
	for (unsigned i = 0; i < max; i++) {
		snprintf(joined[i], sizeof(joined[0]), "%s=%s", option, value);
		args[i] = joined[i];
	}
	accept_args(args);
	args[max] = joined[0];
	assert_int_equal(parse(args, &said), -EINVAL);
	snprintf(over, sizeof(over), "%s: '%s' is one too many; at most %u can be given\n", option,
		 value, max);
	assert_one_line(said);
	assert_holds(said, over);
}

static void test_limits(void **state)
{
	(void)state;
	assert_limit("--uid", "0", TCPLAT_MAX_IDS);
	assert_limit("--netns", "5", TCPLAT_MAX_IDS);
	assert_limit("--comm", "x", TCPLAT_MAX_COMMS);
	assert_limit("--raddr", "::1", TCPLAT_MAX_NETS);
}

static void test_netns_path(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat("/proc/self/ns/net", &st), 0);
	accept_args(ARGS("--netns", "/proc/self/ns/net"));
	assert_int_equal(q.config.filter.netns.id[0], st.st_ino);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_pid_max),
		cmocka_unit_test(test_absent_process_is_a_warning),
		cmocka_unit_test(test_unknown_options),
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_histogram_options),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_netns_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
