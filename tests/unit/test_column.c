// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of columns: each member to JSON and back, and as text. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "record/column.h"

/* Every member of its kind changes a record that has nothing of it into the sample. */
static void test_round_trip(void **state)
{
	const struct record samples[] = { sample_v4(), sample_v6(), sample_pickup(),
					  sample_split() };
	struct record back;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct record want = samples[i];

		memset(&back, 0, sizeof(back));
		back.ev.kind = want.ev.kind;
		back.ev.time_ns = want.ev.time_ns;
		for (const struct column *c = columns; c->header || c->json; c++) {
			json_t *v;

			if (!c->json || !column_of_rows(c, want.ev.kind) ||
			    (c->flags & COLUMN_SPLIT && !want.ev.split))
				continue;
			v = c->to_json(&want);
			assert_non_null(v);
			assert_int_equal(c->from_json(&back, v), 0);
			if (!strcmp(c->json, "cgroup")) {
				assert_string_equal(back.cgroup, want.cgroup);
				back.cgroup = want.cgroup;
			}
			json_decref(v);
		}
		assert_memory_equal(&back, &want, sizeof(back));
	}
}

static void test_json_forms(void **state)
{
	static const struct {
		const char *member, *v4, *v6;
	} cases[] = {
		{ "time", "\"2026-03-01T12:00:00.000123Z\"", "\"2026-03-01T12:00:00.000123Z\"" },
		{ "pid", "4242", "7" },
		{ "tid", "4243", "7" },
		{ "comm", "\"curl\"", "\"nc\"" },
		{ "ip", "4", "6" },
		{ "laddr", "\"10.0.0.2\"", "\"2001:db8::2\"" },
		{ "lport", "40000", "40001" },
		{ "raddr", "\"10.0.0.1\"", "\"2001:db8::1\"" },
		{ "rport", "80", "443" },
		{ "latency_us", "20512.75", "1.5" },
		{ "outcome", "\"established\"", "\"refused\"" },
		{ "error", "null", "\"ECONNREFUSED\"" },
		{ "syn_retransmits", "0", "0" },
		{ "handshake_rtt_us", "20480", "null" },
		{ "netns", "4026531840", "4026531840" },
		{ "cgroup", "\"/user.slice\"", "\"/user.slice\"" },
	};
	struct record v4 = sample_v4(), v6 = sample_v6();
	size_t i = 0;

	(void)state;
	/* All of the kind's, in this order: that of the lines. */
	for (const struct column *c = columns; c->header || c->json; c++)
		if (c->json && column_of_rows(c, TCPLAT_KIND_CONNECT))
			assert_string_equal(c->json, cases[i++].member);
	assert_int_equal(i, ARRAY_SIZE(cases));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_string_equal(json_of(cases[i].member, &v4), cases[i].v4);
		assert_string_equal(json_of(cases[i].member, &v6), cases[i].v6);
	}
}

/* Up to three decimals, none of them noise, for every nanosecond. */
static void test_latency_is_exact(void **state)
{
	struct record r = sample_v4();
	static const struct {
		__u64 ns;
		const char *json;
	} cases[] = {
		{ 0, "0.0" },
		{ 1, "0.001" },
		{ 100, "0.1" },
		{ 999, "0.999" },
		{ 1000, "1.0" },
		{ 1001, "1.001" },
		{ 123456789, "123456.789" },
		{ 1000000000, "1000000.0" },
		{ 999999999999999, "999999999999.999" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		r.connect.latency_ns = cases[i].ns;
		assert_string_equal(json_of("latency_us", &r), cases[i].json);
	}
	for (__u64 ns = 1; ns < 1000000000000; ns += ns / 1000 + 1) {
		char text[64];

		r.connect.latency_ns = ns;
		snprintf(text, sizeof(text), "%s", json_of("latency_us", &r));
		r.connect.latency_ns = 0;
		assert_int_equal(from_json(&r, "latency_us", text), 0);
		assert_int_equal(r.connect.latency_ns, ns);
	}
}

static void test_rejected(void **state)
{
	static const struct {
		const char *member, *text;
	} cases[] = {
		{ "time", "5" },
		{ "time", "null" },
		{ "time", "\"12:00\"" },
		{ "pid", "-1" },
		{ "pid", "4294967296" },
		{ "pid", "1.5" },
		{ "pid", "1.0" },
		{ "pid", "\"1\"" },
		{ "pid", "null" },
		{ "tid", "true" },
		{ "comm", "5" },
		{ "comm", "null" },
		{ "ip", "7" },
		{ "laddr", "\"host\"" },
		{ "laddr", "\"\"" },
		{ "laddr", "null" },
		{ "raddr", "4" },
		{ "lport", "65536" },
		{ "rport", "-1" },
		{ "rport", "65536" },
		{ "latency_us", "-0.001" },
		{ "latency_us", "1e17" },
		{ "latency_us", "\"1\"" },
		{ "latency_us", "null" },
		{ "outcome", "\"fine\"" },
		{ "outcome", "\"?\"" },
		{ "outcome", "null" },
		{ "outcome", "0" },
		{ "error", "\"ENONE\"" },
		{ "error", "111" },
		{ "error", "\"\"" },
		{ "syn_retransmits", "-1" },
		{ "syn_retransmits", "32768" },
		{ "syn_retransmits", "0.0" },
		{ "handshake_rtt_us", "-1" },
		{ "handshake_rtt_us", "4294967296" },
		{ "netns", "4294967296" },
		{ "cgroup", "null" },
		{ "cgroup", "1" },
	};
	struct record r = sample_v4();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (from_json(&r, cases[i].member, cases[i].text) != -EINVAL)
			fail_msg("%s: %s was taken", cases[i].member, cases[i].text);
}

static void test_edges(void **state)
{
	struct record r = sample_v4();

	(void)state;
	assert_int_equal(from_json(&r, "pid", "4294967295"), 0);
	assert_int_equal(r.ev.pid, 4294967295U);
	assert_int_equal(from_json(&r, "lport", "65535"), 0);
	assert_int_equal(r.ev.lport, 65535);
	assert_int_equal(from_json(&r, "latency_us", "12"), 0);
	assert_int_equal(r.connect.latency_ns, 12000);
	assert_int_equal(from_json(&r, "latency_us", "1.8e16"), 0);
	assert_int_equal(r.connect.latency_ns, 18000000000000000000ULL);
	/* The largest of all, as it is written. */
	r.connect.latency_ns = ~0ULL;
	assert_string_equal(json_of("latency_us", &r), "1.84467440737096e16");
	r.connect.latency_ns = 0;
	assert_int_equal(from_json(&r, "latency_us", "1.84467440737096e16"), 0);
	assert_int_equal(r.connect.latency_ns, ~0ULL);
	assert_int_equal(from_json(&r, "syn_retransmits", "32767"), 0);
	assert_int_equal(r.connect.syn_retransmits, 32767);
	assert_int_equal(from_json(&r, "handshake_rtt_us", "4294967295"), 0);
	assert_int_equal(r.connect.handshake_rtt_us, 4294967295U);
	assert_int_equal(from_json(&r, "error", "\"errno 200\""), 0);
	assert_int_equal(r.connect.error, 200);
	assert_string_equal(json_of("error", &r), "\"errno 200\"");
	assert_int_equal(from_json(&r, "error", "null"), 0);
	assert_int_equal(r.connect.error, 0);
	assert_int_equal(from_json(&r, "raddr", "\"::ffff:10.0.0.9\""), 0);
	assert_string_equal(json_of("raddr", &r), "\"10.0.0.9\"");
	assert_int_equal(from_json(&r, "cgroup", "\"#77\""), 0);
	assert_string_equal(r.cgroup, "#77");
}

/* No SYN was sent: null, not "none was repeated". */
static void test_no_syn(void **state)
{
	struct record r = sample_v4();

	(void)state;
	assert_int_equal(from_json(&r, "syn_retransmits", "null"), 0);
	assert_int_equal(r.connect.syn_retransmits, TCPLAT_RETRANS_NONE);
	assert_string_equal(json_of("syn_retransmits", &r), "null");
	assert_string_equal(text_of("syns", &r), "0");
	r.connect.syn_retransmits = 0;
	assert_string_equal(text_of("syns", &r), "");
	r.connect.syn_retransmits = 1;
	assert_string_equal(text_of("syns", &r), "2");
	assert_string_equal(json_of("syn_retransmits", &r), "1");
}

static void test_outcomes(void **state)
{
	static const char *const names[] = {
		"established",	       "refused", "reset",	   "timed_out", "host_unreachable",
		"network_unreachable", "aborted", "no_local_port", "error",
	};
	struct record r = sample_v4();
	char json[64];

	(void)state;
	assert_int_equal(ARRAY_SIZE(names), TCPLAT_NR_OUTCOMES);
	for (unsigned i = 0; i < TCPLAT_NR_OUTCOMES; i++) {
		r.connect.outcome = (__u8)i;
		snprintf(json, sizeof(json), "\"%s\"", names[i]);
		assert_string_equal(json_of("outcome", &r), json);
		assert_string_equal(text_of("outcome", &r), names[i]);
		r.connect.outcome = 99;
		assert_int_equal(from_json(&r, "outcome", json), 0);
		assert_int_equal(r.connect.outcome, i);
	}
	assert_string_equal(outcome_name(TCPLAT_NR_OUTCOMES), "?");
}

static void test_hostile_comm(void **state)
{
	static const struct {
		const char *raw, *json, *text;
	} cases[] = {
		{ "", "\"\"", "" },
		{ "a\"b\\c", "\"a\\\"b\\\\c\"", "a\"b\\\\c" },
		{ "\x1b[31m\n", "\"\\u001B[31m\\n\"", "\\x1b[31m\\x0a" },
		{ "\xff\xfe\xfd", "\"\\\\xff\\\\xfe\\\\xfd\"", "\\xff\\xfe\\xfd" },
		{ "\xc2\x9b", "\"\xc2\x9b\"", "\\xc2\\x9b" },
		/* Nothing but invalid bytes: four times as long in JSON. */
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		  "\"\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff\\\\xff"
		  "\\\\xff\\\\xff\\\\xff\\\\xff\"",
		  "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff" },
		{ "fifteen-bytes-\xc3", "\"fifteen-bytes-\\\\xc3\"", "fifteen-bytes-\\xc3" },
		{ "\\xff", "\"\\\\xff\"", NULL }, /* like the byte: told apart by nobody */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct record r = sample_v4(), back = sample_v6();
		char json[128];

		memset(r.ev.comm, 0, sizeof(r.ev.comm));
		strncpy(r.ev.comm, cases[i].raw, sizeof(r.ev.comm) - 1);
		snprintf(json, sizeof(json), "%s", json_of("comm", &r));
		assert_string_equal(json, cases[i].json);
		assert_int_equal(from_json(&back, "comm", json), 0);
		if (cases[i].text) {
			assert_string_equal(text_of("comm", &r), cases[i].text);
			assert_memory_equal(back.ev.comm, r.ev.comm, sizeof(r.ev.comm));
		}
		assert_string_equal(json_of("comm", &back), json);
	}
}

/* All sixteen bytes, were there ever no NUL among them. */
static void test_unterminated_comm(void **state)
{
	struct record r = sample_v4();

	(void)state;
	memset(r.ev.comm, 'x', sizeof(r.ev.comm));
	assert_string_equal(json_of("comm", &r), "\"xxxxxxxxxxxxxxxx\"");
	assert_string_equal(text_of("comm", &r), "xxxxxxxxxxxxxxxx");
}

static void test_text(void **state)
{
	struct record r = sample_v4();

	(void)state;
	assert_string_equal(text_of("pid", &r), "4242");
	assert_string_equal(text_of("tid", &r), "4243");
	assert_string_equal(text_of("ip", &r), "4");
	assert_string_equal(text_of("laddr", &r), "10.0.0.2");
	assert_string_equal(text_of("lport", &r), "40000");
	assert_string_equal(text_of("raddr", &r), "10.0.0.1");
	assert_string_equal(text_of("rport", &r), "80");
	assert_string_equal(text_of("error", &r), "");
	assert_string_equal(text_of("rtt", &r), "20.480");
	assert_string_equal(text_of("netns", &r), "4026531840");
	assert_string_equal(text_of("cgroup", &r), "/user.slice");
	assert_string_equal(text_of("lat", &r), "20.513");
	assert_string_equal(text_of("lat2", &r), "20.51");
	r.since_first_ns = 1234567890;
	assert_string_equal(text_of("elapsed", &r), "1.235");
	setenv("TZ", "UTC", 1);
	tzset();
	assert_string_equal(text_of("time", &r), "12:00:00.000");
	/* Cut, not rounded, as the other one is. */
	r.unix_ns += 999999999 - 123000;
	assert_string_equal(text_of("clock", &r), "12:00:00");
	r = sample_v6();
	assert_string_equal(text_of("error", &r), "ECONNREFUSED");
	assert_string_equal(text_of("rtt", &r), "");
	assert_string_equal(text_of("laddr", &r), "2001:db8::2");
	r.cgroup = "/a\x1b]0;x\nb";
	assert_string_equal(text_of("cgroup", &r), "/a\\x1b]0;x\\x0ab");
}

static void test_find(void **state)
{
	(void)state;
	assert_string_equal(column_find("lat", TCPLAT_KIND_CONNECT)->header, "LAT(ms)");
	assert_null(column_find("", TCPLAT_KIND_CONNECT));
	assert_null(column_find("latency_us", TCPLAT_KIND_CONNECT));
	assert_null(column_find("PID", TCPLAT_KIND_CONNECT));
	/* Of a kind that has none. */
	for (unsigned kind = 0; kind < 8; kind++) {
		bool connect = kind == TCPLAT_KIND_CONNECT, pickup = kind == TCPLAT_KIND_PICKUP;
		bool rtt = kind == TCPLAT_KIND_RTT;

		assert_int_equal(column_find("outcome", kind) != NULL, connect);
		assert_int_equal(column_find("syns", kind) != NULL, connect);
		assert_int_equal(column_find("bytes", kind) != NULL, pickup);
		assert_int_equal(column_find("wake", kind) != NULL, pickup);
		assert_int_equal(column_find("pid", kind) != NULL, connect || pickup || rtt);
		assert_int_equal(column_find("srtt", kind) != NULL, rtt);
		assert_int_equal(column_find("lat", kind) != NULL, connect || pickup);
	}
}

static void test_addr_family(void **state)
{
	__u8 addr[16];

	(void)state;
	put_addr(addr, "10.0.0.1");
	assert_int_equal(addr_ip(addr), 4);
	put_addr(addr, "::1");
	assert_int_equal(addr_ip(addr), 6);
	put_addr(addr, "::fffe:10.0.0.1");
	assert_int_equal(addr_ip(addr), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_json_forms),
		cmocka_unit_test(test_latency_is_exact),
		cmocka_unit_test(test_rejected),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_no_syn),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_hostile_comm),
		cmocka_unit_test(test_unterminated_comm),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_addr_family),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
