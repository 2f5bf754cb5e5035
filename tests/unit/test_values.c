// SPDX-License-Identifier: GPL-2.0-or-later
/* Times, durations, errno names and addresses as text. */
#include "support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "record/text.h"

static void test_rfc3339(void **state)
{
	static const struct {
		__u64 unix_ns;
		const char *text;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000000Z" },
		{ 999, "1970-01-01T00:00:00.000000Z" },
		{ 1000, "1970-01-01T00:00:00.000001Z" },
		{ 999999999, "1970-01-01T00:00:00.999999Z" },
		{ SAMPLE_UNIX_NS, "2026-03-01T12:00:00.000123Z" },
		{ 1709164800000000000ULL, "2024-02-29T00:00:00.000000Z" },
		{ 4102444799999999999ULL, "2099-12-31T23:59:59.999999Z" },
	};
	char text[TEXT_TIME_LEN];
	__u64 back;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		text_rfc3339(text, cases[i].unix_ns);
		assert_string_equal(text, cases[i].text);
		assert_true(text_to_time(text, &back));
		assert_int_equal(back, cases[i].unix_ns / 1000 * 1000);
	}
}

static void test_to_time(void **state)
{
	static const struct {
		const char *text;
		__u64 unix_ns;
	} cases[] = {
		{ "2026-03-01T12:00:00Z", 1772366400000000000ULL },
		{ "2026-03-01T12:00:00.5Z", 1772366400500000000ULL },
		{ "2026-03-01T12:00:00.123456789Z", 1772366400123456789ULL },
		{ "2026-03-01T12:00:00.1234567899Z", 1772366400123456789ULL },
		{ "2026-03-01T13:30:00+01:30", 1772366400000000000ULL },
		{ "2026-03-01T07:00:00-05:00", 1772366400000000000ULL },
		{ "2026-03-01T12:00:00.25-00:00", 1772366400250000000ULL },
		{ "2026-02-28T23:59:60Z", 1772323200000000000ULL }, /* leap second */
	};
	__u64 got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!text_to_time(cases[i].text, &got))
			fail_msg("\"%s\" was rejected", cases[i].text);
		assert_int_equal(got, cases[i].unix_ns);
	}
}

static void test_to_time_rejected(void **state)
{
	static const char *const cases[] = {
		"",
		"now",
		"2026-03-01",
		"2026-03-01T12:00:00",
		"2026-03-01 12:00:00Z",
		"2026-03-01T12:00Z",
		"2026-13-01T12:00:00Z",
		"2026-00-01T12:00:00Z",
		"2026-03-32T12:00:00Z",
		"2026-02-29T12:00:00Z",
		"2026-02-30T00:00:00Z",
		"2026-03-01T24:00:00Z",
		"2026-03-01T12:60:00Z",
		"2026-03-01T12:00:00.Z",
		"2026-03-01T12:00:00,5Z",
		"2026-03-01T12:00:00z",
		"2026-03-01T12:00:00ZZ",
		"2026-03-01T12:00:00Z ",
		" 2026-03-01T12:00:00Z",
		"2026-03- 1T12:00:00Z",
		"2026-3-1T12:00:00Z",
		"02026-03-01T12:00:00Z",
		"2026-03-01T12:00:00+1:00",
		"2026-03-01T12:00:00+0100",
		"2026-03-01T12:00:00+01",
		"2026-03-01T12:00:00+ 1:00",
		"2026-03-01T12:00:00+-1:00",
		"2026-03-01T12:00:00+24:00",
		"2026-03-01T12:00:00+01:60",
		"2026-03-01T12:00:00+01:00Z",
		"1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00+00:01",
		"9999-01-01T00:00:00Z", /* beyond what 64 bits of ns hold */
	};
	__u64 got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (text_to_time(cases[i], &got))
			fail_msg("\"%s\" was taken as %llu", cases[i], got);
}

static void test_time_of_day(void **state)
{
	char text[TEXT_TIME_LEN];

	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	text_time_of_day(text, SAMPLE_UNIX_NS);
	assert_string_equal(text, "12:00:00.000");
	text_time_of_day(text, SAMPLE_UNIX_NS - 1000000);
	assert_string_equal(text, "11:59:59.999");
	text_time_of_day(text, SAMPLE_UNIX_NS + 4999999);
	assert_string_equal(text, "12:00:00.005"); /* cut, so that time never runs ahead */
	setenv("TZ", "XYZ-5:30", 1);
	tzset();
	text_time_of_day(text, SAMPLE_UNIX_NS);
	assert_string_equal(text, "17:30:00.000");
	unsetenv("TZ");
	tzset();
}

static void test_duration(void **state)
{
	static const struct {
		__u64 ns;
		const char *text;
	} cases[] = {
		{ 0, "0ns" },
		{ 1, "1ns" },
		{ 999, "999ns" },
		{ 1000, "1us" },
		{ 1004, "1.00us" },
		{ 1234, "1.23us" },
		{ 9994, "9.99us" },
		{ 9996, "10.0us" },
		{ 12345, "12.3us" },
		{ 99949, "99.9us" },
		{ 99960, "100us" },
		{ 123456, "123us" },
		{ 999499, "999us" },
		/* Never "1000us". */
		{ 999500, "1.00ms" },
		{ 999999, "1.00ms" },
		{ 1000000, "1ms" },
		{ 1024000, "1.02ms" },
		{ 64000000, "64ms" },
		{ 20512750, "20.5ms" },
		{ 999400000, "999ms" },
		{ 999600000, "1.00s" },
		{ 1000000000, "1s" },
		{ 1073741824000ULL, "1074s" },
		{ 86400000000000ULL, "86400s" },
	};
	char text[TEXT_DURATION_LEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		text_duration(text, cases[i].ns);
		assert_string_equal(text, cases[i].text);
	}
	text_duration(text, ~0ULL);
	assert_true(strlen(text) < TEXT_DURATION_LEN - 1); /* nothing was cut */
}

static void test_errno(void **state)
{
	char buf[16];

	(void)state;
	assert_null(text_errno(0, buf));
	assert_string_equal(text_errno(ECONNREFUSED, buf), "ECONNREFUSED");
	assert_string_equal(text_errno(ETIMEDOUT, buf), "ETIMEDOUT");
	assert_string_equal(text_errno(255, buf), "errno 255");
	assert_string_equal(text_errno(41, buf), "errno 41"); /* a gap in Linux's list */
	for (int err = 1; err < 256; err++)
		assert_int_equal(text_to_errno(text_errno(err, buf)), err);
}

static void test_errno_rejected(void **state)
{
	static const char *const cases[] = {
		"",	   "0",	     "111",	"econnrefused", "ECONNREFUSE", "ECONNREFUSED ",
		"errno",   "errno ", "errno 0", "errno 256",	"errno 1000",  "errno 12x",
		"errno -1"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (text_to_errno(cases[i]))
			fail_msg("\"%s\" was taken as %d", cases[i], text_to_errno(cases[i]));
}

static void test_addr(void **state)
{
	static const struct {
		const char *text;
		int ip;
		const char *canonical;
	} cases[] = {
		{ "0.0.0.0", 4, "0.0.0.0" },
		{ "10.0.0.1", 4, "10.0.0.1" },
		{ "255.255.255.255", 4, "255.255.255.255" },
		{ "::ffff:10.0.0.1", 4, "10.0.0.1" },
		{ "::ffff:a00:1", 4, "10.0.0.1" },
		{ "::", 6, "::" },
		{ "::1", 6, "::1" },
		{ "2001:DB8::0:1", 6, "2001:db8::1" },
		{ "1:2:3:4:5:6:7:8", 6, "1:2:3:4:5:6:7:8" },
		{ "64:ff9b::10.0.0.1", 6, "64:ff9b::a00:1" },
		{ "::fffe:10.0.0.1", 6, "::fffe:a00:1" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", 6,
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};
	char text[TEXT_ADDR_LEN];
	__u8 addr[16];
	int ip;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(addr, 0xee, sizeof(addr));
		assert_true(text_to_addr(cases[i].text, &ip, addr));
		assert_int_equal(ip, cases[i].ip);
		text_addr(text, ip, addr);
		assert_string_equal(text, cases[i].canonical);
	}
	assert_false(text_to_addr("", &ip, addr));
	assert_false(text_to_addr("localhost", &ip, addr));
	assert_false(text_to_addr("10.0.0.256", &ip, addr));
	assert_false(text_to_addr("::1%lo", &ip, addr));
}

static void test_addr_bytes(void **state)
{
	static const __u8 want[16] = { [10] = 0xff, [11] = 0xff, 10, 0, 0, 1 };
	__u8 addr[16];
	int ip;

	(void)state;
	assert_true(text_to_addr("10.0.0.1", &ip, addr));
	assert_memory_equal(addr, want, 16);
}

/* Addresses that differ where a hash of them may not look, one after the other. */
static void test_many_addrs(void **state)
{
	char text[TEXT_ADDR_LEN], want[TEXT_ADDR_LEN];
	__u8 addr[16], back[16];
	int ip;

	(void)state;
	for (int pass = 0; pass < 2; pass++)
		for (unsigned byte = 0; byte < 16; byte++)
			for (unsigned v = 0; v < 256; v++) {
				memset(addr, 0x20, sizeof(addr));
				addr[byte] = (__u8)v;
				text_addr(text, 6, addr);
				assert_non_null(inet_ntop(AF_INET6, addr, want, sizeof(want)));
				assert_string_equal(text, want);
				assert_true(text_to_addr(text, &ip, back));
				assert_memory_equal(back, addr, sizeof(addr));
				put_addr(back, "0.0.0.0");
				back[12 + byte % 4] = (__u8)v;
				text_addr(text, 4, back);
				assert_non_null(inet_ntop(AF_INET, back + 12, want, sizeof(want)));
				assert_string_equal(text, want);
			}
}

static void test_u64(void **state)
{
	char text[TEXT_U64_LEN], want[32];

	(void)state;
	for (__u64 v = 0;; v = v * 3 + 1) {
		snprintf(want, sizeof(want), "%llu", v);
		assert_ptr_equal(text_u64(text, v), text + strlen(want));
		assert_string_equal(text, want);
		if (v > ~0ULL / 3 - 1)
			break;
	}
	text_u64(text, ~0ULL);
	assert_string_equal(text, "18446744073709551615");
}

static void test_ms(void **state)
{
	static const struct {
		__u64 ns;
		unsigned decimals;
		const char *text;
	} cases[] = {
		{ 0, 3, "0.000" },
		{ 1, 6, "0.000001" },
		{ 499, 3, "0.000" },
		{ 500, 3, "0.001" },
		{ 1499, 3, "0.001" },
		{ 999499, 3, "0.999" },
		{ 999500, 3, "1.000" },
		{ 994999, 2, "0.99" },
		{ 995000, 2, "1.00" },
		{ 20512750, 2, "20.51" },
		{ 20512750, 3, "20.513" },
		{ 20512750, 1, "20.5" },
		{ 1234567890123456789ULL, 3, "1234567890123.457" },
		{ ~0ULL, 6, "18446744073709.551615" },
		{ ~0ULL, 3, "18446744073709.552" },
	};
	char text[TEXT_MS_LEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		text_ms(text, cases[i].ns, cases[i].decimals);
		assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc3339),
		cmocka_unit_test(test_to_time),
		cmocka_unit_test(test_to_time_rejected),
		cmocka_unit_test(test_time_of_day),
		cmocka_unit_test(test_duration),
		cmocka_unit_test(test_errno),
		cmocka_unit_test(test_errno_rejected),
		cmocka_unit_test(test_addr),
		cmocka_unit_test(test_addr_bytes),
		cmocka_unit_test(test_many_addrs),
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_ms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
