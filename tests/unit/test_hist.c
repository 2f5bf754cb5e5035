// SPDX-License-Identifier: GPL-2.0-or-later
/* Bucket arithmetic, exhaustively. */
#include "support.h"

#include "tcplat/hist.h"

#define LAST (TCPLAT_HIST_BUCKETS - 1)

static void test_shape(void **state)
{
	(void)state;
	assert_int_equal(TCPLAT_HIST_BUCKETS, 242);
	assert_int_equal(tcplat_hist_lower(0), 0);
	assert_int_equal(tcplat_hist_lower(1), 8); /* one unit is eight steps */
	assert_int_equal(tcplat_hist_lower(LAST), 8ULL << 30);
	/* From 1 us to beyond 1000 s; in the millisecond grid to 12 days. */
	assert_true(tcplat_hist_lower(LAST) * TCPLAT_HIST_STEP_US > 1000ULL * 1000000000);
}

/* [lower, upper): both ends and the steps beside them, in every bucket. */
static void test_edges(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LAST; i++) {
		__u64 lo = tcplat_hist_lower(i), hi = tcplat_hist_lower(i + 1);

		assert_true(lo < hi);
		assert_int_equal(tcplat_hist_bucket(lo), i);
		assert_int_equal(tcplat_hist_bucket(lo + (hi - lo) / 2), i);
		assert_int_equal(tcplat_hist_bucket(hi - 1), i);
		assert_int_equal(tcplat_hist_bucket(hi), i + 1);
		if (lo)
			assert_int_equal(tcplat_hist_bucket(lo - 1), i - 1);
	}
}

/* Every step of the first twelve octaves, against the definition. */
static void test_every_step(void **state)
{
	unsigned bucket = 0;

	(void)state;
	for (__u64 step = 0; step < 8ULL << 12; step++) {
		if (step == tcplat_hist_lower(bucket + 1))
			bucket++;
		assert_int_equal(tcplat_hist_bucket(step), bucket);
	}
	assert_int_equal(bucket, 12 * TCPLAT_HIST_SUB);
}

static void test_width(void **state)
{
	(void)state;
	for (unsigned i = 1; i < LAST; i++) {
		__u64 lo = tcplat_hist_lower(i), width = tcplat_hist_lower(i + 1) - lo;

		assert_true(width * 8 <= lo);
		/* Eight equal buckets an octave. */
		assert_int_equal(width, 1ULL << ((i - 1) / 8));
	}
}

static void test_octaves(void **state)
{
	(void)state;
	for (unsigned octave = 0; octave <= TCPLAT_HIST_OCTAVES; octave++)
		assert_int_equal(tcplat_hist_lower(1 + octave * TCPLAT_HIST_SUB), 8ULL << octave);
}

static void test_overflow(void **state)
{
	(void)state;
	assert_int_equal(tcplat_hist_bucket((8ULL << 30) - 1), LAST - 1);
	assert_int_equal(tcplat_hist_bucket(8ULL << 30), LAST);
	/* Where the buckets would go on. */
	for (__u64 eighths = 8; eighths < 16; eighths++)
		assert_int_equal(tcplat_hist_bucket(eighths << 30), LAST);
	for (int bit = 34; bit < 64; bit++) {
		assert_int_equal(tcplat_hist_bucket(1ULL << bit), LAST);
		assert_int_equal(tcplat_hist_bucket((1ULL << bit) - 1), LAST);
	}
	assert_int_equal(tcplat_hist_bucket(~0ULL), LAST);
}

static void test_log2(void **state)
{
	(void)state;
	for (__u32 bit = 0; bit < 64; bit++) {
		__u64 v = 1ULL << bit;

		assert_int_equal(tcplat_log2(v), bit);
		assert_int_equal(tcplat_log2(v | (v - 1)), bit);
		assert_int_equal(tcplat_log2(v | (v >> 1)), bit);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shape),	   cmocka_unit_test(test_edges),
		cmocka_unit_test(test_every_step), cmocka_unit_test(test_width),
		cmocka_unit_test(test_octaves),	   cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_log2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
