// SPDX-License-Identifier: GPL-2.0-or-later
/* The filters and the histogram's key, which kernel and replay share. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "cli/parse.h"
#include "core/cleanup.h"
#include "tcplat/filter.h"
#include "tcplat/key.h"

static void key_of(struct tcplat_hist_key *k, const struct tcplat_event *e, __u32 by, __u8 outcome)
{
	struct tcplat_config whole = { .by = by };

	tcplat_hist_key_of(k, e, &whole, outcome);
}

static struct tcplat_filter f;

static int fresh(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	return 0;
}

static bool passes(const struct record *r)
{
	return tcplat_match_who(&f, r->ev.pid, r->ev.tid, r->ev.comm) &&
	       tcplat_match_where(&f, &r->ev) &&
	       tcplat_match_what(&f, record_latency_ns(r), record_outcome(r));
}

static void add_net(struct tcplat_netset *s, const char *text)
{
	assert_int_equal(parse_net(text, &s->net[s->n++]), 0);
}

static void set_ports(struct tcplat_portset *s, const char *text)
{
	struct portspec spec = {};
	char bad[24];

	assert_int_equal(parse_ports(text, &spec, bad, sizeof(bad)), 0);
	assert_int_equal(portspec_finish(&spec, s), 0);
}

static void test_nothing_set(void **state)
{
	struct record v4 = sample_v4(), v6 = sample_v6(), none = {};

	(void)state;
	assert_true(passes(&v4));
	assert_true(passes(&v6));
	assert_true(passes(&none));
}

static void test_ids(void **state)
{
	struct record r = sample_v4();
	struct tcplat_idset *sets[] = { &f.pid, &f.tid, &f.netns };
	__u32 own[] = { r.ev.pid, r.ev.tid, r.ev.netns };

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		fresh(state);
		sets[i]->n = 1;
		sets[i]->id[0] = own[i] + 1;
		/* Behind the end of the set it does not count. */
		sets[i]->id[1] = own[i];
		assert_false(passes(&r));
		sets[i]->n = 2;
		assert_true(passes(&r));
		for (__u32 k = 0; k < TCPLAT_MAX_IDS; k++)
			sets[i]->id[k] = own[i] + 1 + k;
		sets[i]->n = TCPLAT_MAX_IDS;
		assert_false(passes(&r));
		sets[i]->id[TCPLAT_MAX_IDS - 1] = own[i];
		assert_true(passes(&r));
	}
}

static void test_comm(void **state)
{
	struct record r = sample_v4();

	(void)state;
	f.n_comms = 1;
	strcpy(f.comm[0], "curl");
	assert_true(passes(&r));
	strcpy(f.comm[0], "cur");
	assert_false(passes(&r));
	strcpy(f.comm[0], "curly");
	assert_false(passes(&r));
	strcpy(f.comm[0], "Curl");
	assert_false(passes(&r));
	strcpy(f.comm[1], "curl");
	assert_false(passes(&r));
	f.n_comms = 2;
	assert_true(passes(&r));
	/* All fifteen bytes count. */
	strcpy(r.ev.comm, "fifteen-bytes-x");
	strcpy(f.comm[1], "fifteen-bytes-y");
	assert_false(passes(&r));
	strcpy(f.comm[1], "fifteen-bytes-x");
	assert_true(passes(&r));
	/* What the kernel left behind the end does not. */
	memcpy(r.ev.comm, "curl\0rubbish", 13);
	strcpy(f.comm[1], "curl");
	assert_true(passes(&r));
}

static void test_family(void **state)
{
	struct record v4 = sample_v4(), v6 = sample_v6();

	(void)state;
	f.ip = 4;
	assert_true(passes(&v4));
	assert_false(passes(&v6));
	f.ip = 6;
	assert_false(passes(&v4));
	assert_true(passes(&v6));
}

static void test_nets(void **state)
{
	static const struct {
		const char *net;
		bool v4, v6; /* matches raddr 10.0.0.1, 2001:db8::1 */
	} cases[] = {
		{ "10.0.0.1", true, false },
		{ "10.0.0.2", false, false },
		{ "10.0.0.0/8", true, false },
		{ "10.0.0.0/31", true, false },
		{ "10.0.0.2/31", false, false },
		{ "11.0.0.0/8", false, false },
		{ "0.0.0.0/0", true, false },
		{ "::ffff:10.0.0.1", true, false },
		{ "2001:db8::1", false, true },
		{ "2001:db8::2", false, false },
		{ "2001:db8::/32", false, true },
		{ "2001:db9::/32", false, false },
		{ "2001:db8::/127", false, true },
		{ "2001:db8::2/127", false, false },
		{ "2001:db8:0:0:1::/80", false, false },
		/* Every IPv6 address, and no IPv4 one, mapped as it is. */
		{ "::/0", false, true },
	};
	struct record v4 = sample_v4(), v6 = sample_v6();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fresh(state);
		add_net(&f.raddr, cases[i].net);
		if (passes(&v4) != cases[i].v4 || passes(&v6) != cases[i].v6)
			fail_msg("raddr in %s: %d, %d", cases[i].net, passes(&v4), passes(&v6));
	}
}

static void test_net_sides_and_sets(void **state)
{
	struct record v4 = sample_v4(), v6 = sample_v6();

	add_net(&f.laddr, "10.0.0.2");
	assert_true(passes(&v4));
	assert_false(passes(&v6));
	add_net(&f.laddr, "2001:db8::2");
	assert_true(passes(&v6));
	fresh(state);
	add_net(&f.laddr, "10.0.0.1"); /* the other side's */
	assert_false(passes(&v4));
	fresh(state);
	for (int i = 0; i < TCPLAT_MAX_NETS; i++)
		add_net(&f.raddr, "192.168.0.1");
	assert_false(passes(&v4));
	f.raddr.n--;
	add_net(&f.raddr, "10.0.0.1");
	assert_true(passes(&v4));
}

static void test_ports(void **state)
{
	struct record r = sample_v4(); /* 40000 -> 80 */

	set_ports(&f.rport, "80");
	assert_true(passes(&r));
	set_ports(&f.rport, "79,81");
	assert_false(passes(&r));
	set_ports(&f.rport, "!80");
	assert_false(passes(&r));
	set_ports(&f.rport, "40000");
	assert_false(passes(&r));
	fresh(state);
	set_ports(&f.lport, "40000");
	assert_true(passes(&r));
	set_ports(&f.lport, "80");
	assert_false(passes(&r));
	/* No port was assigned: no port asked for, but none excluded either. */
	r.ev.lport = 0;
	set_ports(&f.lport, "1-65535");
	assert_false(passes(&r));
	set_ports(&f.lport, "!40000");
	assert_true(passes(&r));
}

static void test_min(void **state)
{
	struct record r = sample_v4();

	(void)state;
	f.min_ns = r.connect.latency_ns;
	assert_true(passes(&r)); /* at least */
	f.min_ns++;
	assert_false(passes(&r));
	/* Each kind has its latency in a place of its own. */
	r = sample_pickup();
	f.min_ns = r.pickup.latency_ns;
	assert_true(passes(&r));
	f.min_ns++;
	assert_false(passes(&r));
}

static void test_outcomes(void **state)
{
	struct record r = sample_v4();

	(void)state;
	for (unsigned i = 0; i < TCPLAT_NR_OUTCOMES; i++) {
		r.connect.outcome = (__u8)i;
		f.outcomes = 1U << i;
		assert_true(passes(&r));
		f.outcomes = ((1U << TCPLAT_NR_OUTCOMES) - 1) & ~(1U << i);
		assert_false(passes(&r));
	}
	/* A measurement without outcomes has none that could match. */
	f.outcomes = (1U << TCPLAT_NR_OUTCOMES) - 1;
	assert_false(tcplat_match_what(&f, 1, ~0U));
	r = sample_pickup();
	assert_false(passes(&r));
	f.outcomes = 0;
	assert_true(passes(&r));
}

static void test_filters_combine_with_and(void **state)
{
	struct record r = sample_v4();

	(void)state;
	f.pid.n = 1;
	f.pid.id[0] = r.ev.pid;
	set_ports(&f.rport, "80");
	add_net(&f.raddr, "10.0.0.0/8");
	f.min_ns = 1000000;
	assert_true(passes(&r));
	f.pid.id[0]++;
	assert_false(passes(&r));
	f.pid.id[0]--;
	r.ev.rport = 81;
	assert_false(passes(&r));
	r.ev.rport = 80;
	r.connect.latency_ns = 999999;
	assert_false(passes(&r));
}

/* Each key bit fills its own member and no other. */
static void test_key_members(void **state)
{
	struct record r = sample_v4();
	struct tcplat_hist_key got, want;

	(void)state;
	r.ev.cgroup_id = 99;
	for (__u32 bit = 1; bit < 1U << TCPLAT_NR_KEYS; bit <<= 1) {
		memset(&want, 0, sizeof(want));
		want.kind = TCPLAT_KIND_CONNECT;
		switch ((enum tcplat_key)bit) {
		case TCPLAT_KEY_LADDR:
			put_addr(want.laddr, "10.0.0.2");
			break;
		case TCPLAT_KEY_RADDR:
			put_addr(want.raddr, "10.0.0.1");
			break;
		case TCPLAT_KEY_LPORT:
			want.lport = 40000;
			break;
		case TCPLAT_KEY_RPORT:
			want.rport = 80;
			break;
		case TCPLAT_KEY_PID:
			want.pid = 4242;
			break;
		case TCPLAT_KEY_COMM:
			strcpy(want.comm, "curl");
			break;
		case TCPLAT_KEY_CGROUP:
			want.cgroup_id = 99;
			break;
		case TCPLAT_KEY_NETNS:
			want.netns = 4026531840U;
			break;
		case TCPLAT_KEY_OUTCOME:
			want.outcome = TCPLAT_TIMED_OUT;
			break;
		case TCPLAT_KEY_PART:
			break; /* one event has all parts: who counts them sets it */
		}
		memset(&got, 0xff, sizeof(got));
		key_of(&got, &r.ev, bit, TCPLAT_TIMED_OUT);
		assert_memory_equal(&got, &want, sizeof(got));
	}
}

static void test_key_of_all_and_none(void **state)
{
	struct record a = sample_v4(), b = sample_v6();
	struct tcplat_hist_key x, y;

	(void)state;
	key_of(&x, &a.ev, 0, TCPLAT_ESTABLISHED);
	key_of(&y, &b.ev, 0, TCPLAT_REFUSED);
	assert_memory_equal(&x, &y, sizeof(x));
	key_of(&x, &a.ev, TCPLAT_KEY_COMM | TCPLAT_KEY_RPORT, TCPLAT_ESTABLISHED);
	assert_string_equal(x.comm, "curl");
	assert_int_equal(x.rport, 80);
	assert_int_equal(x.pid, 0);
	assert_int_equal(x.lport, 0);
	/* Not even where nothing else is asked for are kinds mixed. */
	a = sample_pickup();
	key_of(&x, &a.ev, 0, 0);
	assert_int_equal(x.kind, TCPLAT_KIND_PICKUP);
	assert_int_equal(x.part, TCPLAT_PART_TOTAL);
}

#define CASE(fn) cmocka_unit_test_setup(fn, fresh)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_nothing_set), CASE(test_ids),
		CASE(test_comm),	CASE(test_family),
		CASE(test_nets),	CASE(test_net_sides_and_sets),
		CASE(test_ports),	CASE(test_min),
		CASE(test_outcomes),	CASE(test_filters_combine_with_and),
		CASE(test_key_members), CASE(test_key_of_all_and_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
