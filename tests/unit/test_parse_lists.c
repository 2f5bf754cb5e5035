// SPDX-License-Identifier: GPL-2.0-or-later
/* Ports, subnets and keys. */
#include "support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/parse.h"
#include "core/cleanup.h"
#include "tcplat/filter.h"

/* Which ports a list lets through, as ranges: "80,443,8000-8002". */
static void ranges_of(const struct tcplat_portset *s, char *dst, size_t size)
{
	size_t at = 0;

	dst[0] = 0;
	for (unsigned p = 0; p < 65536; p++) {
		unsigned first = p;

		if (!tcplat_match_port(s, (__u16)p))
			continue;
		while (p + 1 < 65536 && tcplat_match_port(s, (__u16)(p + 1)))
			p++;
		at += (size_t)snprintf(dst + at, size - at, p > first ? "%s%u-%u" : "%s%u",
				       at ? "," : "", first, p);
		assert_true(at < size);
	}
}

static void test_ports(void **state)
{
	static const struct {
		const char *text, *more; /* more: a second, repeated option */
		const char *ranges;
	} cases[] = {
		{ "80", NULL, "80" },
		{ "1", NULL, "1" },
		{ "65535", NULL, "65535" },
		{ "00080", NULL, "80" },
		{ "80,443,8000-8002", NULL, "80,443,8000-8002" },
		{ "80,80,80", NULL, "80" },
		{ "80-80", NULL, "80" },
		{ "63-64,127-129", NULL, "63-64,127-129" }, /* across the words of the set */
		{ "1-65535", NULL, "1-65535" },
		{ "8000-8010,!8005", NULL, "8000-8004,8006-8010" },
		{ "!8005,8000-8010", NULL, "8000-8004,8006-8010" },
		{ "1-100,!10-90", NULL, "1-9,91-100" },
		/* Exclusions alone: everything else, and attempts without a port too. */
		{ "!22", NULL, "0-21,23-65535" },
		{ "!2-65535", NULL, "0-1" },
		{ "80", "443", "80,443" },
		{ "80-90", "!85", "80-84,86-90" },
		{ "!85", "80-90", "80-84,86-90" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct portspec spec = {};
		struct tcplat_portset set;
		char bad[24], ranges[256];

		assert_int_equal(parse_ports(cases[i].text, &spec, bad, sizeof(bad)), 0);
		if (cases[i].more)
			assert_int_equal(parse_ports(cases[i].more, &spec, bad, sizeof(bad)), 0);
		assert_int_equal(portspec_finish(&spec, &set), 0);
		assert_int_equal(set.active, 1);
		ranges_of(&set, ranges, sizeof(ranges));
		assert_string_equal(ranges, cases[i].ranges);
	}
}

static void test_ports_rejected(void **state)
{
	static const struct {
		const char *text;
		int err;
		const char *bad;
	} cases[] = {
		{ "", -EINVAL, "" },
		{ "0", -ERANGE, "0" },
		{ "65536", -ERANGE, "65536" },
		{ "70000", -ERANGE, "70000" },
		{ "99999999", -ERANGE, "99999999" },
		{ "0-10", -ERANGE, "0-10" },
		{ "10-65536", -ERANGE, "10-65536" },
		{ "9000-8000", -ERANGE, "9000-8000" },
		{ "81-80", -ERANGE, "81-80" },
		{ "80abc", -EINVAL, "80abc" },
		{ "abcdefghij", -EINVAL, "abcdefghij" },
		{ "-80", -EINVAL, "-80" },
		{ "80-", -EINVAL, "80-" },
		{ "80-90-100", -EINVAL, "80-90-100" },
		{ "80--90", -EINVAL, "80--90" },
		{ "80 ", -EINVAL, "80 " },
		{ "80, 443", -EINVAL, " 443" },
		{ "80,", -EINVAL, "" },
		{ ",80", -EINVAL, "" },
		{ "80,,443", -EINVAL, "" },
		{ "!", -EINVAL, "!" },
		{ "!!22", -EINVAL, "!!22" },
		{ "!0", -ERANGE, "!0" },
		{ "!90-80", -ERANGE, "!90-80" },
		{ "80,443,8x", -EINVAL, "8x" },
		{ "http", -EINVAL, "http" },
		/* Too long for bad: its end must not decide what the rest means. */
		{ "1-0000000000000000000080abc", -EINVAL, "1-000000000000000000008" },
		{ "1-000000000000000000008000", -EINVAL, "1-000000000000000000008" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct portspec spec = {};
		char bad[24] = "?";
		int err = parse_ports(cases[i].text, &spec, bad, sizeof(bad));

		if (err != cases[i].err || strcmp(bad, cases[i].bad))
			fail_msg("\"%s\": %d, \"%s\"; should be %d, \"%s\"", cases[i].text, err,
				 bad, cases[i].err, cases[i].bad);
	}
}

static void test_ports_nothing_left(void **state)
{
	static const char *const lists[] = { "22,!22", "80-90,!1-100", "!1-65535",
					     "1-65535,!1-32767,!32768-65535" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct portspec spec = {};
		struct tcplat_portset set;
		char bad[24];

		assert_int_equal(parse_ports(lists[i], &spec, bad, sizeof(bad)), 0);
		assert_int_equal(portspec_finish(&spec, &set), -EINVAL);
	}
}

static void test_no_ports_is_no_filter(void **state)
{
	struct portspec spec = {};
	struct tcplat_portset set;

	(void)state;
	assert_int_equal(portspec_finish(&spec, &set), 0);
	assert_int_equal(set.active, 0);
}

static void test_net(void **state)
{
	static const struct {
		const char *text;
		unsigned ip;
		const char *addr, *mask; /* as IPv6; mapped for IPv4 */
	} cases[] = {
		{ "10.0.0.1", 4, "::ffff:10.0.0.1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "10.1.2.3/8", 4, "::ffff:10.0.0.0", "ffff:ffff:ffff:ffff:ffff:ffff:ff00:0" },
		{ "10.0.0.1/32", 4, "::ffff:10.0.0.1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "192.168.255.255/17", 4, "::ffff:192.168.128.0",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:8000" },
		{ "1.2.3.4/0", 4, "::ffff:0.0.0.0", "ffff:ffff:ffff:ffff:ffff:ffff::" },
		{ "255.255.255.255", 4, "::ffff:255.255.255.255",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "::ffff:10.0.0.1", 4, "::ffff:10.0.0.1",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "::ffff:10.1.2.3/104", 4, "::ffff:10.0.0.0",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ff00:0" },
		{ "::ffff:10.1.2.3/96", 4, "::ffff:0.0.0.0", "ffff:ffff:ffff:ffff:ffff:ffff::" },
		{ "::ffff:a01:203", 4, "::ffff:10.1.2.3",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "::1", 6, "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "::1/128", 6, "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "::/0", 6, "::", "::" },
		{ "2001:db8::1/0", 6, "::", "::" },
		{ "2001:DB8:ffff::1/33", 6, "2001:db8:8000::", "ffff:ffff:8000::" },
		{ "fd12::1/7", 6, "fc00::", "fe00::" },
		{ "fe80::1/64", 6, "fe80::", "ffff:ffff:ffff:ffff::" },
		{ "fe80::8000:0:0:1/65", 6, "fe80::8000:0:0:0", "ffff:ffff:ffff:ffff:8000::" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tcplat_net net = {};
		__u8 want[16];

		if (parse_net(cases[i].text, &net))
			fail_msg("\"%s\" was rejected", cases[i].text);
		assert_int_equal(net.ip, cases[i].ip);
		assert_int_equal(inet_pton(AF_INET6, cases[i].addr, want), 1);
		assert_memory_equal(net.addr, want, 16);
		assert_int_equal(inet_pton(AF_INET6, cases[i].mask, want), 1);
		assert_memory_equal(net.mask, want, 16);
	}
}

static void test_net_rejected(void **state)
{
	static const struct {
		const char *text;
		int err;
	} cases[] = {
		{ "", -EINVAL },
		{ "/8", -EINVAL },
		{ "300.1.1.1", -EINVAL },
		{ "10.0.0", -EINVAL },
		{ "10.0.0.1.2", -EINVAL },
		{ "010.0.0.1", -EINVAL }, /* octal to some, decimal to others */
		{ "0x0a.0.0.1", -EINVAL },
		{ "167772161", -EINVAL },
		{ "localhost", -EINVAL },
		{ "example.com", -EINVAL },
		{ "eth0", -EINVAL },
		{ "fe80::1%eth0", -EINVAL },
		{ "fe80::1%1/64", -EINVAL },
		{ "[::1]", -EINVAL },
		{ "::1::", -EINVAL },
		{ "12345::", -EINVAL },
		{ "10.0.0.1/", -EINVAL },
		{ "10.0.0.1/8x", -EINVAL },
		{ "10.0.0.1/-1", -EINVAL },
		{ "10.0.0.1/255.0.0.0", -EINVAL },
		{ "10.0.0.1/8/8", -EINVAL },
		{ "10.0.0.1 ", -EINVAL },
		{ " 10.0.0.1", -EINVAL },
		{ "10.0.0.1,10.0.0.2", -EINVAL },
		{ "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/128", -EINVAL },
		{ "10.0.0.1/33", -ERANGE },
		{ "10.0.0.1/99999999999999999999", -ERANGE },
		{ "::1/129", -ERANGE },
		/* A prefix that takes in more than the mapped addresses is neither family. */
		{ "::ffff:10.0.0.1/95", -ERANGE },
		{ "::ffff:10.0.0.1/24", -ERANGE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tcplat_net net;
		int err = parse_net(cases[i].text, &net);

		if (err != cases[i].err)
			fail_msg("\"%s\": %d; should be %d", cases[i].text, err, cases[i].err);
	}
}

static void test_keys(void **state)
{
	static const struct {
		const char *name;
		__u32 mask;
	} keys[] = {
		{ "laddr", TCPLAT_KEY_LADDR },	   { "raddr", TCPLAT_KEY_RADDR },
		{ "lport", TCPLAT_KEY_LPORT },	   { "rport", TCPLAT_KEY_RPORT },
		{ "pid", TCPLAT_KEY_PID },	   { "comm", TCPLAT_KEY_COMM },
		{ "cgroup", TCPLAT_KEY_CGROUP },   { "netns", TCPLAT_KEY_NETNS },
		{ "outcome", TCPLAT_KEY_OUTCOME },
	};
	char bad[24], all[128] = "";
	struct keyspec spec = {};
	__u32 whole = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		spec.mask = 0;
		assert_int_equal(parse_keys(keys[i].name, &spec, bad, sizeof(bad)), 0);
		assert_int_equal(spec.mask, keys[i].mask);
		assert_int_equal(key_from_name(keys[i].name), keys[i].mask);
		assert_string_equal(key_name(keys[i].mask), keys[i].name);
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "",
			 keys[i].name);
		whole |= keys[i].mask;
	}
	assert_string_equal(all, KEY_NAMES);
	assert_string_equal(KEY_NAMES_COMMON ", outcome", KEY_NAMES);
	assert_string_equal(key_name(TCPLAT_KEY_PART), "part");
	/* Repeated options add up, a repeated key changes nothing. */
	spec.mask = TCPLAT_KEY_PID;
	assert_int_equal(parse_keys("comm,raddr,comm", &spec, bad, sizeof(bad)), 0);
	assert_int_equal(spec.mask, TCPLAT_KEY_PID | TCPLAT_KEY_COMM | TCPLAT_KEY_RADDR);
	spec.mask = 0;
	assert_int_equal(parse_keys("outcome,netns,cgroup,comm,pid,rport,lport,raddr,laddr", &spec,
				    bad, sizeof(bad)),
			 0);
	assert_int_equal(spec.mask, whole);
}

static void test_keys_rejected(void **state)
{
	static const struct {
		const char *text, *bad;
	} cases[] = {
		{ "", "" },
		{ "comm,", "" },
		{ ",comm", "" },
		{ "Comm", "Comm" },
		{ "comm ", "comm " },
		{ "com", "com" },
		{ "comms", "comms" },
		{ "comm,port", "port" },
		{ "latency", "latency" },
		/* A key, but not one to ask for. */
		{ "part", "part" },
		{ "comm,part", "part" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char bad[24] = "?";
		struct keyspec spec = {};

		assert_int_equal(parse_keys(cases[i].text, &spec, bad, sizeof(bad)), -EINVAL);
		assert_string_equal(bad, cases[i].bad);
	}
}

static void test_words(void **state)
{
	const char *at = "one,,three";
	char word[5];

	(void)state;
	assert_true(next_word(&at, word, sizeof(word)));
	assert_string_equal(word, "one");
	assert_true(next_word(&at, word, sizeof(word)));
	assert_string_equal(word, "");
	assert_true(next_word(&at, word, sizeof(word)));
	assert_string_equal(word, "thre"); /* cut, never overrun */
	assert_false(next_word(&at, word, sizeof(word)));
	at = "";
	assert_true(next_word(&at, word, sizeof(word)));
	assert_string_equal(word, "");
	assert_false(next_word(&at, word, sizeof(word)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_ports_rejected),
		cmocka_unit_test(test_ports_nothing_left),
		cmocka_unit_test(test_no_ports_is_no_filter),
		cmocka_unit_test(test_net),
		cmocka_unit_test(test_net_rejected),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_keys_rejected),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
