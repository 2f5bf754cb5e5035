// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbers, durations and sizes: each accepted and rejected form. */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "cli/parse.h"
#include "core/cleanup.h"

#define UNTOUCHED 0xdeadbeefULL
#define U64_MAX (~0ULL)

struct expect {
	const char *text;
	int err;
	__u64 value; /* when err is 0 */
};

static void compare(const struct expect *e, int err, __u64 value)
{
	if (err != e->err || (!err && value != e->value))
		fail_msg("\"%s\": %d, %llu; should be %d, %llu", e->text, err, value, e->err,
			 e->value);
}

static void test_u64(void **state)
{
	static const struct expect cases[] = {
		{ "0", 0, 0 },
		{ "7", 0, 7 },
		{ "007", 0, 7 },
		{ "18446744073709551615", 0, U64_MAX },
		{ "00000000000000000000000000000000000000018446744073709551615", 0, U64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "18446744073709551620", -ERANGE, 0 },
		{ "99999999999999999999", -ERANGE, 0 },
		{ "184467440737095516150", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "1\n", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "-0", -EINVAL, 0 },
		{ "12abc", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "1.0", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "/", -EINVAL, 0 }, /* the characters beside the digits */
		{ ":", -EINVAL, 0 },
		{ "\xd9\xa1", -EINVAL, 0 }, /* ARABIC-INDIC DIGIT ONE */
		/* Not of the form counts more than out of range. */
		{ "99999999999999999999x", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		__u64 v = UNTOUCHED;
		int err = parse_u64(cases[i].text, 0, U64_MAX, &v);

		compare(&cases[i], err, v);
	}
}

static void test_u64_bounds(void **state)
{
	static const struct expect cases[] = {
		{ "0", -ERANGE, 0 }, { "9", -ERANGE, 0 },  { "10", 0, 10 },	  { "11", 0, 11 },
		{ "20", 0, 20 },     { "21", -ERANGE, 0 }, { "200", -ERANGE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		__u64 v = UNTOUCHED;
		int err = parse_u64(cases[i].text, 10, 20, &v);

		compare(&cases[i], err, v);
		if (err)
			assert_int_equal(v, UNTOUCHED);
	}
}

/* Binary fractions would give 0.1 ms as 99999 or 100001 ns. */
static void test_decimal_is_exact(void **state)
{
	static const struct expect cases[] = {
		{ "0.1", 0, 100000 },
		{ "0.3", 0, 300000 },
		{ "0.7", 0, 700000 },
		{ "1.1", 0, 1100000 },
		{ "2.675", 0, 2675000 },
		{ "4.35", 0, 4350000 },
		{ "1001.000001", 0, 1001000001 },
		{ "9007199254.740993", 0, 9007199254740993 }, /* 2^53 + 1 */
		{ "0", 0, 0 },
		{ "00.10", 0, 100000 },
		{ "2", 0, 2000000 },
		{ "2.", 0, 2000000 },
		{ ".5", 0, 500000 },
		/* Below the grain: cut, never rounded up. */
		{ "0.0000019", 0, 1 },
		{ "0.0000009", 0, 0 },
		{ "0.9999999999999999999999999999", 0, 999999 },
		{ "", -EINVAL, 0 },
		{ ".", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ "1,5", -EINVAL, 0 },
		{ "1.2.3", -EINVAL, 0 },
		{ "1..2", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "nan", -EINVAL, 0 },
		{ "inf", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "0x1", -EINVAL, 0 },
		{ "99999999999999999999x", -EINVAL, 0 },
		{ "99999999999999999999", -ERANGE, 0 },
		{ "18446744073709.551615", 0, U64_MAX },
		{ "18446744073709.551616", -ERANGE, 0 },
		{ "18446744073710", -ERANGE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		__u64 v = UNTOUCHED;
		int err = parse_decimal(cases[i].text, 1000000, U64_MAX, &v);

		compare(&cases[i], err, v);
	}
}

static void test_decimal_bound(void **state)
{
	__u64 v;

	(void)state;
	assert_int_equal(parse_decimal("1.5", 1000, 1500, &v), 0);
	assert_int_equal(v, 1500);
	assert_int_equal(parse_decimal("1.501", 1000, 1500, &v), -ERANGE);
	assert_int_equal(parse_decimal("1.5009", 1000, 1500, &v), 0);
	assert_int_equal(v, 1500);
}

static void test_duration(void **state)
{
	static const struct expect cases[] = {
		{ "1ns", 0, 1 },
		{ "100us", 0, 100000 },
		{ "1.5ms", 0, 1500000 },
		{ "0.1ms", 0, 100000 },
		{ ".1ms", 0, 100000 },
		{ "2s", 0, 2000000000 },
		{ "3m", 0, 180000000000 },
		{ "1.5h", 0, 5400000000000 },
		{ "0.000000001s", 0, 1 },
		{ "24000h", 0, PARSE_MAX_DURATION }, /* 1000 days */
		{ "86400000s", 0, PARSE_MAX_DURATION },
		{ "86400000000000000ns", 0, PARSE_MAX_DURATION },
		{ "86400000000000001ns", -ERANGE, 0 },
		{ "24000.001h", -ERANGE, 0 },
		{ "99999999999999999999s", -ERANGE, 0 },
		{ "18446744073709551617ns", -ERANGE, 0 },
		{ "0s", -ERANGE, 0 },
		{ "0.0ms", -ERANGE, 0 },
		{ "0.5ns", -ERANGE, 0 }, /* cut to nothing */
		{ "-1s", -EINVAL, 0 },
		{ "+1s", -EINVAL, 0 },
		{ "1e3s", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "1.2.3s", -EINVAL, 0 },
		{ "5 s", -EINVAL, 0 },
		{ " 5s", -EINVAL, 0 },
		{ "5s ", -EINVAL, 0 },
		{ "nan", -EINVAL, 0 },
		{ "NaN", -EINVAL, 0 },
		{ "nans", -EINVAL, 0 },
		{ "inf", -EINVAL, 0 },
		{ "infs", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ ".s", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "5S", -EINVAL, 0 },
		{ "5sec", -EINVAL, 0 },
		{ "5d", -EINVAL, 0 },
		{ "5µs", -EINVAL, 0 },
		{ "5s5ms", -EINVAL, 0 },
		{ "0x5s", -EINVAL, 0 },
	};

	(void)state;
	for (int bare = 0; bare < 2; bare++)
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			__u64 v = UNTOUCHED;
			int err = parse_duration(cases[i].text, bare, &v);

			compare(&cases[i], err, v);
		}
}

static void test_duration_bare(void **state)
{
	static const struct expect cases[] = {
		{ "1", 0, 1000000000 },	    { "0.5", 0, 500000000 },
		{ "0", -ERANGE, 0 },	    { "86400000", 0, PARSE_MAX_DURATION },
		{ "86400001", -ERANGE, 0 }, { "", -EINVAL, 0 },
		{ ".", -EINVAL, 0 },	    { "1.2.3", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		__u64 v = UNTOUCHED;
		int err = parse_duration(cases[i].text, true, &v);

		compare(&cases[i], err, v);
		assert_int_equal(parse_duration(cases[i].text, false, &v), -EINVAL);
	}
}

static void test_size(void **state)
{
	static const struct expect cases[] = {
		{ "4096", 0, 4096 },
		{ "4k", 0, 4096 },
		{ "4K", 0, 4096 },
		{ "1m", 0, 1 << 20 },
		{ "1M", 0, 1 << 20 },
		{ "1g", 0, 1 << 30 },
		{ "1G", 0, 1 << 30 },
		{ "1073741824", 0, 1 << 30 },
		{ "1048576k", 0, 1 << 30 },
		{ "1073741825", -ERANGE, 0 },
		{ "1048577k", -ERANGE, 0 },
		{ "2g", -ERANGE, 0 },
		{ "4095", -ERANGE, 0 },
		{ "3k", -ERANGE, 0 },
		{ "0", -ERANGE, 0 },
		/* 2^54 k are 2^64 bytes, which would wrap to none. */
		{ "18014398509481984k", -ERANGE, 0 },
		{ "17179869188g", -ERANGE, 0 },
		{ "99999999999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "k", -EINVAL, 0 },
		{ "4kk", -EINVAL, 0 },
		{ "4kb", -EINVAL, 0 },
		{ "4t", -EINVAL, 0 },
		{ "1.5m", -EINVAL, 0 },
		{ "-4k", -EINVAL, 0 },
		{ "4 k", -EINVAL, 0 },
		{ "4096 ", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		__u64 v = UNTOUCHED;
		int err = parse_size(cases[i].text, 4096, 1 << 30, &v);

		compare(&cases[i], err, v);
	}
}

static void test_size_widest(void **state)
{
	__u64 v;

	(void)state;
	assert_int_equal(parse_size("17179869183g", 0, U64_MAX, &v), 0);
	assert_int_equal(v, 17179869183ULL << 30);
	assert_int_equal(parse_size("17179869184g", 0, U64_MAX, &v), -ERANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_u64_bounds),
		cmocka_unit_test(test_decimal_is_exact),
		cmocka_unit_test(test_decimal_bound),
		cmocka_unit_test(test_duration),
		cmocka_unit_test(test_duration_bare),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_size_widest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
