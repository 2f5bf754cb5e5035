// SPDX-License-Identifier: GPL-2.0-or-later
/* Subnets as keys: how they are asked for, what falls into them, how they are shown. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/parse.h"
#include "core/cleanup.h"
#include "record/column.h"
#include "record/text.h"
#include "tcplat/key.h"

static void spec_init(struct keyspec *spec)
{
	*spec = (struct keyspec){};
	prefix_set(&spec->laddr, 32, 128);
	prefix_set(&spec->raddr, 32, 128);
}

#define LADDR TCPLAT_KEY_LADDR
#define RADDR TCPLAT_KEY_RADDR

static void test_prefixes(void **state)
{
	static const struct {
		const char *text;
		__u32 mask;
		__u8 l[2], r[2]; /* bits, IPv4 and IPv6 */
		bool l_cut, r_cut;
	} cases[] = {
		{ "raddr", RADDR, { 32, 128 }, { 32, 128 }, false, false },
		{ "raddr/24", RADDR, { 32, 128 }, { 24, 128 }, false, true },
		{ "raddr/48", RADDR, { 32, 128 }, { 32, 48 }, false, true },
		{ "raddr/24/48", RADDR, { 32, 128 }, { 24, 48 }, false, true },
		{ "laddr/24/48", LADDR, { 24, 48 }, { 32, 128 }, true, false },
		/* Up to 32 it is IPv4's, above it no IPv4 prefix is that long. */
		{ "raddr/0", RADDR, { 32, 128 }, { 0, 128 }, false, true },
		{ "raddr/32", RADDR, { 32, 128 }, { 32, 128 }, false, false },
		{ "raddr/33", RADDR, { 32, 128 }, { 32, 33 }, false, true },
		{ "raddr/128", RADDR, { 32, 128 }, { 32, 128 }, false, false },
		{ "raddr/0/0", RADDR, { 32, 128 }, { 0, 0 }, false, true },
		{ "raddr/32/32", RADDR, { 32, 128 }, { 32, 32 }, false, true },
		{ "raddr/32/128", RADDR, { 32, 128 }, { 32, 128 }, false, false },
		{ "laddr/16,raddr/64", LADDR | RADDR, { 16, 128 }, { 32, 64 }, true, true },
		{ "comm,raddr/8,rport",
		  RADDR | TCPLAT_KEY_COMM | TCPLAT_KEY_RPORT,
		  { 32, 128 },
		  { 8, 128 },
		  false,
		  true },
		/* One for each family, however it is spelled. */
		{ "raddr/24,raddr/48", RADDR, { 32, 128 }, { 24, 48 }, false, true },
		{ "raddr/48,raddr/24", RADDR, { 32, 128 }, { 24, 48 }, false, true },
		{ "raddr/24,raddr/16", RADDR, { 32, 128 }, { 16, 128 }, false, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct keyspec spec;
		char bad[24];

		spec_init(&spec);
		assert_int_equal(parse_keys(cases[i].text, &spec, bad, sizeof(bad)), 0);
		assert_int_equal(spec.mask, cases[i].mask);
		assert_false(spec.none);
		if (memcmp(spec.laddr.bits, cases[i].l, 2) ||
		    memcmp(spec.raddr.bits, cases[i].r, 2))
			fail_msg("%s: laddr %u %u, raddr %u %u", cases[i].text, spec.laddr.bits[0],
				 spec.laddr.bits[1], spec.raddr.bits[0], spec.raddr.bits[1]);
		assert_int_equal(spec.laddr.cut, cases[i].l_cut);
		assert_int_equal(spec.raddr.cut, cases[i].r_cut);
	}
}

static void test_rejected(void **state)
{
	static const struct {
		const char *text;
		int err;
		const char *bad;
	} cases[] = {
		{ "raddr/", -ERANGE, "raddr/" },
		{ "raddr/129", -ERANGE, "raddr/129" },
		{ "raddr/-1", -ERANGE, "raddr/-1" },
		{ "raddr/+8", -ERANGE, "raddr/+8" },
		{ "raddr/24.0", -ERANGE, "raddr/24.0" },
		{ "raddr/0x18", -ERANGE, "raddr/0x18" },
		{ "raddr/24/", -ERANGE, "raddr/24/" },
		{ "raddr//48", -ERANGE, "raddr//48" },
		{ "raddr/33/48", -ERANGE, "raddr/33/48" },
		{ "raddr/24/129", -ERANGE, "raddr/24/129" },
		{ "raddr/24/48/1", -ERANGE, "raddr/24/48/1" },
		{ "raddr/123456789/4", -ERANGE, "raddr/123456789/4" },
		{ "comm,laddr/x", -ERANGE, "laddr/x" },
		/* Only addresses have subnets. */
		{ "rport/8", -ERANGE, "rport/8" },
		{ "comm/15", -ERANGE, "comm/15" },
		{ "cgroup/system.slice", -ERANGE, "cgroup/system.slice" },
		{ "addr/24", -EINVAL, "addr/24" },
		{ "/24", -EINVAL, "/24" },
		{ "part/1", -EINVAL, "part/1" },
		{ "none/24", -EINVAL, "none/24" },
		/* What is cut in the message is not taken for what is left of it. */
		{ "raddr/00000000000000000000000024", -ERANGE, "raddr/00000000000000000" },
		{ "raddr/24/00000000000000000000048", -ERANGE, "raddr/24/00000000000000" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct keyspec spec;
		char bad[24] = "?";
		int err;

		spec_init(&spec);
		err = parse_keys(cases[i].text, &spec, bad, sizeof(bad));
		if (err != cases[i].err)
			fail_msg("%s: %d, not %d", cases[i].text, err, cases[i].err);
		assert_string_equal(bad, cases[i].bad);
	}
}

static void test_none(void **state)
{
	struct keyspec spec;
	char bad[24];

	(void)state;
	spec_init(&spec);
	assert_int_equal(parse_keys("none", &spec, bad, sizeof(bad)), 0);
	assert_true(spec.none);
	assert_int_equal(spec.mask, 0);
	/* That both were asked for is seen, and judged elsewhere. */
	assert_int_equal(parse_keys("comm", &spec, bad, sizeof(bad)), 0);
	assert_true(spec.none);
	assert_int_equal(spec.mask, TCPLAT_KEY_COMM);
}

/* The bits of a prefix and no others, in the order of the wire. */
static void test_masks(void **state)
{
	static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	(void)state;
	for (unsigned v4 = 0; v4 <= 32; v4++)
		for (unsigned v6 = 0; v6 <= 128; v6++) {
			struct tcplat_prefix p;
			__u8 mask[2][16];

			memset(&p, 0xff, sizeof(p));
			prefix_set(&p, v4, v6);
			memcpy(mask, p.mask, sizeof(mask));
			for (unsigned b = 0; b < 128; b++) {
				unsigned set[2];

				for (int i = 0; i < 2; i++)
					set[i] = mask[i][b / 8] >> (7 - b % 8) & 1;
				assert_int_equal(set[0], b < 96 + v4);
				assert_int_equal(set[1], b < v6);
			}
			assert_int_equal(p.bits[0], v4);
			assert_int_equal(p.bits[1], v6);
			assert_int_equal(p.cut, v4 < 32 || v6 < 128);
			/* An IPv4 address stays one, however short the prefix is. */
			for (size_t i = 0; i < sizeof(mapped); i++)
				assert_int_equal(mapped[i] & mask[0][i], mapped[i]);
		}
}

/* What a record's address becomes as a key, as a histogram says it. */
static struct histogram key_of(const char *by, const struct record *r)
{
	struct histogram h = { .cgroup = "" };
	struct tcplat_config cfg = { .hist_step_ns = TCPLAT_HIST_STEP_US };
	struct keyspec spec;
	char bad[24];

	spec_init(&spec);
	assert_int_equal(parse_keys(by, &spec, bad, sizeof(bad)), 0);
	cfg.by = spec.mask;
	cfg.laddr = spec.laddr;
	cfg.raddr = spec.raddr;
	tcplat_hist_key_of(&h.key, &r->ev, &cfg, 0);
	histogram_describe(&h, &cfg);
	return h;
}

static struct record from_to(const char *laddr, const char *raddr)
{
	struct record r = sample_v4();

	put_addr(r.ev.laddr, laddr);
	put_addr(r.ev.raddr, raddr);
	r.ev.ip = (__u8)addr_ip(r.ev.raddr);
	return r;
}

static void test_shown(void **state)
{
	static const struct {
		const char *by, *addr, *text;
	} cases[] = {
		{ "raddr", "10.1.2.3", "10.1.2.3" },
		{ "raddr/24", "10.1.2.3", "10.1.2.0/24" },
		{ "raddr/23", "10.1.3.255", "10.1.2.0/23" },
		{ "raddr/25", "10.1.2.129", "10.1.2.128/25" },
		{ "raddr/31", "10.1.2.3", "10.1.2.2/31" },
		{ "raddr/32", "10.1.2.3", "10.1.2.3" },
		{ "raddr/0", "10.1.2.3", "0.0.0.0/0" },
		{ "raddr/24/48", "10.1.2.3", "10.1.2.0/24" },
		{ "raddr/24/48", "2001:db8:0:17::9", "2001:db8::/48" },
		/* The family that was not named keeps its addresses whole. */
		{ "raddr/24", "2001:db8:0:17::9", "2001:db8:0:17::9" },
		{ "raddr/48", "10.1.2.3", "10.1.2.3" },
		{ "raddr/48", "2001:db8:0:17::9", "2001:db8::/48" },
		{ "raddr/127", "2001:db8::9", "2001:db8::8/127" },
		{ "raddr/32/0", "2001:db8::9", "::/0" },
		{ "raddr/32/0", "10.1.2.3", "10.1.2.3" },
		{ "raddr/24", "::ffff:10.1.2.3", "10.1.2.0/24" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct record r = from_to(cases[i].addr, cases[i].addr), shown;
		struct histogram h = key_of(cases[i].by, &r);
		char by[24], json[64];

		record_of_key(&shown, &h);
		assert_string_equal(text_of("raddr", &shown), cases[i].text);
		snprintf(json, sizeof(json), "\"%s\"", cases[i].text);
		assert_string_equal(json_of("raddr", &shown), json);
		assert_false(shown.laddr_net.is_net);
		/* The local address by the same rules. */
		snprintf(by, sizeof(by), "l%s", cases[i].by + 1);
		h = key_of(by, &r);
		record_of_key(&shown, &h);
		assert_string_equal(text_of("laddr", &shown), cases[i].text);
		assert_false(shown.raddr_net.is_net);
	}
}

static void test_one_key_for_a_subnet(void **state)
{
	static const struct {
		const char *by, *a, *b;
		bool same;
	} cases[] = {
		{ "raddr/24", "10.1.2.0", "10.1.2.255", true },
		{ "raddr/24", "10.1.2.255", "10.1.3.0", false },
		{ "raddr/24", "2001:db8::1", "2001:db8::2", false },
		{ "raddr/48", "2001:db8::", "2001:db8:0:ffff:ffff:ffff:ffff:ffff", true },
		{ "raddr/48", "2001:db8::", "2001:db8:1::", false },
		{ "raddr/0/0", "10.1.2.3", "192.0.2.1", true },
		/* No prefix is short enough for both families. */
		{ "raddr/0/0", "10.1.2.3", "2001:db8::1", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct record a = from_to(cases[i].a, cases[i].a),
			      b = from_to(cases[i].b, cases[i].b);
		struct histogram x = key_of(cases[i].by, &a), y = key_of(cases[i].by, &b);

		assert_int_equal(!memcmp(&x.key, &y.key, sizeof(x.key)), cases[i].same);
	}
}

static void test_describe(void **state)
{
	struct tcplat_config cfg = { .by = RADDR | TCPLAT_KEY_COMM | TCPLAT_KEY_OUTCOME,
				     .hist_step_ns = TCPLAT_HIST_STEP_MS,
				     .rtt_value = TCPLAT_VALUE_JITTER };
	struct histogram h = { .key = { .kind = TCPLAT_KIND_CONNECT } };

	(void)state;
	prefix_set(&cfg.laddr, 32, 128);
	prefix_set(&cfg.raddr, 24, 48);
	put_addr(h.key.raddr, "10.1.2.0");
	histogram_describe(&h, &cfg);
	assert_int_equal(h.by, cfg.by);
	assert_int_equal(h.step_ns, TCPLAT_HIST_STEP_MS);
	assert_int_equal(h.value, 0);
	assert_true(h.raddr_net.is_net);
	assert_int_equal(h.raddr_net.bits, 24);
	/* Only connects have an outcome, and only round trips a choice of values. */
	h = (struct histogram){ .key = { .kind = TCPLAT_KIND_RTT } };
	put_addr(h.key.raddr, "2001:db8::");
	histogram_describe(&h, &cfg);
	assert_int_equal(h.by, RADDR | TCPLAT_KEY_COMM);
	assert_int_equal(h.value, TCPLAT_VALUE_JITTER);
	assert_int_equal(h.raddr_net.bits, 48);
	h = (struct histogram){ .key = { .kind = TCPLAT_KIND_PICKUP } };
	histogram_describe(&h, &cfg);
	assert_int_equal(h.by, RADDR | TCPLAT_KEY_COMM);
	assert_int_equal(h.value, 0);
	/* What found no room has no address that could be shown. */
	h = (struct histogram){ .key = { .kind = TCPLAT_KIND_CONNECT, .rest = 1 } };
	histogram_describe(&h, &cfg);
	assert_int_equal(h.by, TCPLAT_KEY_OUTCOME);
	assert_false(h.raddr_net.is_net);
	h = (struct histogram){ .key = { .kind = TCPLAT_KIND_RTT, .rest = 1 } };
	histogram_describe(&h, &cfg);
	assert_int_equal(h.by, 0);
}

/* In JSON and back: an address, or all that begin with the same. */
static void test_from_json(void **state)
{
	static const char *const good[] = {
		"10.1.2.0/24", "0.0.0.0/0", "10.1.2.3/32", "2001:db8::/48",
		"::/0",	       "::1/128",   "10.1.2.3",	   "::1",
	};
	static const char *const bad[] = {
		"10.1.2.0/33",
		"10.1.2.0/",
		"10.1.2.0/-1",
		"10.1.2.0/24/48",
		"/24",
		"::1/129",
		"10.1.2/24",
		"x/24",
		"10.1.2.0 /24",
		"10.1.2.0/ 24",
		"",
		"10.1.2.0/2x",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:1/24",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct record r = {};
		char json[64];

		snprintf(json, sizeof(json), "\"%s\"", good[i]);
		assert_int_equal(from_json(&r, "raddr", json), 0);
		assert_string_equal(json_of("raddr", &r), json);
		assert_int_equal(r.raddr_net.is_net, strchr(good[i], '/') != NULL);
		assert_false(r.laddr_net.is_net);
		assert_int_equal(from_json(&r, "laddr", json), 0);
		assert_string_equal(json_of("laddr", &r), json);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct record r = {};
		char json[96];

		snprintf(json, sizeof(json), "\"%s\"", bad[i]);
		if (from_json(&r, "raddr", json) != -EINVAL)
			fail_msg("%s was taken", json);
	}
}

static void test_messages(void **state)
{
	static const struct {
		const char *by, *line;
	} cases[] = {
#define RIGHT "give raddr/24 for IPv4, raddr/48 for IPv6, raddr/24/48 for both; laddr alike\n"
		{ "raddr/129",
		  "tcplat: --by: 'raddr/129' has the key 'raddr/129' with a prefix that cannot be; " RIGHT },
		{ "comm,rport/8",
		  "tcplat: --by: 'comm,rport/8' has the key 'rport/8' with a prefix that cannot "
		  "be; " RIGHT },
		{ "peer/24",
		  "tcplat: --by: 'peer/24' has the unknown key 'peer/24'; keys are laddr, "
		  "raddr, lport, rport, pid, comm, cgroup, netns, outcome\n" },
		{ "none,comm",
		  "tcplat: --by none and other keys contradict each other: none is one for all\n" },
	};
	static const struct option_table view = { view_options, NULL };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *said;
		struct query q;

		assert_int_equal(parse_view(&q, &view, TCPLAT_KIND_CONNECT,
					    ARGS("--hist", "--by", cases[i].by), &said),
				 -EINVAL);
		assert_string_equal(said, cases[i].line);
	}
}

/* What --by says reaches the kernel's configuration; repeated options add up. */
static void test_in_config(void **state)
{
	static const struct option_table view = { view_options, NULL };
	const char *said;
	struct query q;

	(void)state;
	for (enum tcplat_kind kind = TCPLAT_KIND_CONNECT; kind <= TCPLAT_KIND_RTT; kind++) {
		assert_int_equal(
			parse_view(&q, &view, kind,
				   ARGS("--hist", "--by", "raddr/24/48", "--by=laddr,comm"), &said),
			0);
		assert_int_equal(q.config.by, RADDR | LADDR | TCPLAT_KEY_COMM);
		assert_int_equal(q.config.raddr.cut, 1);
		assert_int_equal(q.config.raddr.bits[0], 24);
		assert_int_equal(q.config.raddr.bits[1], 48);
		assert_int_equal(q.config.laddr.cut, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefixes), cmocka_unit_test(test_rejected),
		cmocka_unit_test(test_none),	 cmocka_unit_test(test_masks),
		cmocka_unit_test(test_shown),	 cmocka_unit_test(test_one_key_for_a_subnet),
		cmocka_unit_test(test_describe), cmocka_unit_test(test_from_json),
		cmocka_unit_test(test_messages), cmocka_unit_test(test_in_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
