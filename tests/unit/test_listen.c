// SPDX-License-Identifier: GPL-2.0-or-later
/* Where to listen: each accepted and rejected form of --listen, and its text. */
#include "support.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "cli/listen.h"
#include "core/cleanup.h"

static void test_accepted(void **state)
{
	static const struct {
		const char *given, *text;
		int family;
		bool every;
	} cases[] = {
		{ "127.0.0.1:9762", "127.0.0.1:9762", AF_INET, false },
		{ "0.0.0.0:0", "0.0.0.0:0", AF_INET, false },
		{ "255.255.255.255:65535", "255.255.255.255:65535", AF_INET, false },
		{ "10.1.2.3:0080", "10.1.2.3:80", AF_INET, false },
		{ "[::1]:9762", "[::1]:9762", AF_INET6, false },
		{ "[::]:0", "[::]:0", AF_INET6, false },
		{ "[2001:DB8:0:0::1]:1", "[2001:db8::1]:1", AF_INET6, false },
		{ "[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.1]:1", AF_INET6, false },
		{ "[fe80::1%lo]:9762", "[fe80::1%lo]:9762", AF_INET6, false },
		{ "[fe80::1%1]:9762", "[fe80::1%lo]:9762", AF_INET6, false },
		{ "[febf::1%2147483647]:1", "[febf::1%2147483647]:1", AF_INET6, false },
		{ ":9762", "[::]:9762", AF_INET6, true },
		{ ":0", "[::]:0", AF_INET6, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct listen_address a;
		char text[LISTEN_TEXT];

		memset(&a, 0xff, sizeof(a));
		assert_int_equal(parse_listen(cases[i].given, &a), 0);
		listen_text(text, &a.addr);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(a.addr.ss_family, cases[i].family);
		assert_int_equal(a.len, cases[i].family == AF_INET ? sizeof(struct sockaddr_in) :
								     sizeof(struct sockaddr_in6));
		assert_int_equal(a.every, cases[i].every);
	}
}

static void test_rejected(void **state)
{
	static const struct {
		const char *given;
		int err;
	} cases[] = {
		{ "", -EINVAL },
		{ ":", -EINVAL },
		{ "9762", -EINVAL },
		{ "127.0.0.1", -EINVAL },
		{ "127.0.0.1:", -EINVAL },
		{ "127.0.0.1:x", -EINVAL },
		{ "127.0.0.1:+1", -EINVAL },
		{ "127.0.0.1: 1", -EINVAL },
		{ "127.0.0.1:1 ", -EINVAL },
		{ " 127.0.0.1:1", -EINVAL },
		{ "127.0.0.1:65536", -ERANGE },
		{ "127.0.0.1:18446744073709551617", -ERANGE },
		{ "[::1]:65536", -ERANGE },
		{ ":65536", -ERANGE },
		{ "127.1:1", -EINVAL },
		{ "127.0.0.256:1", -EINVAL },
		{ "0x7f.0.0.1:1", -EINVAL },
		{ "127.0.0.010:1", -EINVAL },
		{ "[127.0.0.1]:1", -EINVAL },
		{ "::1:9762", -EINVAL },
		{ "[::1]", -EINVAL },
		{ "[::1]9762", -EINVAL },
		{ "[::1:9762", -EINVAL },
		{ "::1]:9762", -EINVAL },
		{ "[]:9762", -EINVAL },
		{ "[:9762", -EINVAL },
		{ "]:9762", -EINVAL },
		{ "[[::1]]:9762", -EINVAL },
		{ "[::1%lo]:1", -EINVAL },  /* no interface where it means nothing */
		{ "[fe80::1]:1", -EINVAL }, /* and none missing */
		{ "[fe80::1%]:1", -EINVAL },
		{ "[fe80::1%nosuch0]:1", -ENODEV },
		{ "[fe80::1%0]:1", -ENODEV },
		{ "[fe80::1%-1]:1", -ENODEV },
		{ "[fe80::1%2147483648]:1", -ENODEV },
		{ "localhost:9762", -EINVAL },
		{ "*:9762", -EINVAL },
		{ "http://127.0.0.1:9762", -EINVAL },
		{ "127.0.0.1:9762/metrics", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct listen_address a;
		int err = parse_listen(cases[i].given, &a);

		if (err != cases[i].err)
			fail_msg("\"%s\": %d, not %d", cases[i].given, err, cases[i].err);
	}
}

/* However long, it is refused, and nothing is written beyond its place. */
static void test_long(void **state)
{
	static const struct {
		const char *before, *behind;
	} cases[] = {
		{ "", "" },	    { "", ":1" }, { "[", "]:1" }, { "[fe80::1%", "]:1" },
		{ "1.2.3.4:", "" }, { ":", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t n = 11; n < 300; n++) {
			struct listen_address a;
			char s[400], ones[300] = "";

			memset(ones, '1', n);
			snprintf(s, sizeof(s), "%s%s%s", cases[i].before, ones, cases[i].behind);
			assert_true(parse_listen(s, &a) < 0);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_rejected),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
