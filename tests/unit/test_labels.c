// SPDX-License-Identifier: GPL-2.0-or-later
/* Labels: what of a key is one, and what becomes of names that nobody should have. */
#include "support.h"

#include <string.h>

#include "serve/labels.h"

#define ALL_NAMES (KEY_GROUP_PATH | KEY_GROUP_UNIT | KEY_GROUP_CONTAINER | KEY_GROUP_POD)

static char text[LABELS_MAX];

static const char *of(const struct histogram *h, __u32 names, const char *group)
{
	labels_of(text, h, names, group);
	return text;
}

static struct histogram named(const char *comm)
{
	struct histogram h = { .key.kind = TCPLAT_KIND_RTT, .by = TCPLAT_KEY_COMM };

	memcpy(h.key.comm, comm, strnlen(comm, TCPLAT_COMM_LEN));
	return h;
}

static void test_all_keys(void **state)
{
	struct histogram h = named("nginx");

	(void)state;
	h.key.kind = TCPLAT_KIND_CONNECT;
	h.key.outcome = TCPLAT_REFUSED;
	h.by = ~0U;
	put_addr(h.key.laddr, "10.0.0.2");
	put_addr(h.key.raddr, "2001:db8::");
	h.raddr_net = (struct subnet){ true, 48 };
	h.key.lport = 80;
	h.key.rport = 443;
	h.key.pid = 17;
	h.key.netns = 4026531840;
	h.key.cgroup_id = 5;
	assert_string_equal(of(&h, ALL_NAMES, "/system.slice/nginx.service"),
			    "outcome=\"refused\",laddr=\"10.0.0.2\",raddr=\"2001:db8::/48\","
			    "lport=\"80\",rport=\"443\",pid=\"17\",comm=\"nginx\","
			    "cgroup=\"/system.slice/nginx.service\",unit=\"nginx.service\","
			    "netns=\"4026531840\"");
	of(&h, KEY_GROUP_UNIT, "/system.slice/nginx.service");
	assert_string_equal(strstr(text, ",comm"),
			    ",comm=\"nginx\",unit=\"nginx.service\",netns=\"4026531840\"");
}

/* A value that is not there has no label. */
static void test_nothing(void **state)
{
	struct histogram h = { .key.kind = TCPLAT_KIND_RTT, .by = ~0U & ~TCPLAT_KEY_LADDR };

	(void)state;
	put_addr(h.key.raddr, "::1");
	assert_string_equal(of(&h, ALL_NAMES, "/x"), "raddr=\"::1\"");
	h.by = 0;
	assert_string_equal(of(&h, 0, ""), "");
	h.key.part = TCPLAT_PART_RUNQ;
	assert_string_equal(of(&h, 0, ""), "part=\"runq\"");
}

static void test_hostile_names(void **state)
{
	static const struct {
		const char *comm, *label;
	} cases[] = {
		{ "a\"b", "comm=\"a\\\"b\"" },
		{ "a\\b", "comm=\"a\\\\b\"" },
		{ "a\nb", "comm=\"a\\\\x0ab\"" },
		{ "\x1b[31m", "comm=\"\\\\x1b[31m\"" },
		{ "\x7f", "comm=\"\\\\x7f\"" },
		{ "\xff\xfe", "comm=\"\\\\xff\\\\xfe\"" },
		{ "caf\xc3\xa9", "comm=\"caf\xc3\xa9\"" },
		{ "a,b}=", "comm=\"a,b}=\"" },
		/* Sixteen bytes, with no NUL behind them. */
		{ "0123456789abcdef", "comm=\"0123456789abcdef\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct histogram h = named(cases[i].comm);

		assert_string_equal(of(&h, 0, ""), cases[i].label);
	}
}

/* However long a path is, and whatever is in it, the labels are whole. */
static void test_long_path(void **state)
{
	struct histogram h = { .key = { .kind = TCPLAT_KIND_RTT, .cgroup_id = 7 },
			       .by = TCPLAT_KEY_CGROUP };
	char path[4096];
	size_t n;

	(void)state;
	memset(path, '\x01', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = 0;
	of(&h, ALL_NAMES, path);
	n = strlen(text);
	assert_in_range(n, 2000, LABELS_MAX - 1);
	assert_int_equal(strncmp(text, "cgroup=\"/\\\\x01", 14), 0);
	assert_string_equal(text + n - 6, "\\\\x01\"");
}

static void test_others(void **state)
{
	struct tcplat_hist_key key = { .kind = TCPLAT_KIND_CONNECT,
				       .outcome = TCPLAT_TIMED_OUT,
				       .rest = 1 };

	(void)state;
	labels_of_others(text, &key);
	assert_string_equal(text, "outcome=\"timed_out\",other=\"true\"");
	key = (struct tcplat_hist_key){ .kind = TCPLAT_KIND_PICKUP, .part = TCPLAT_PART_APP };
	labels_of_others(text, &key);
	assert_string_equal(text, "part=\"app\",other=\"true\"");
	key.part = TCPLAT_PART_TOTAL;
	labels_of_others(text, &key);
	assert_string_equal(text, "other=\"true\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_keys),      cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_long_path),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
