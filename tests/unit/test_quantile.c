// SPDX-License-Identifier: GPL-2.0-or-later
/* Quantiles of histograms against the same of the sorted samples. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

static struct histogram of(const __u64 *ns, size_t n, __u64 step)
{
	struct histogram h = { .step_ns = step, .min_ns = ~0ULL };

	for (size_t i = 0; i < n; i++) {
		h.counts[tcplat_hist_bucket(ns[i] / step)]++;
		h.count++;
		h.sum_ns += ns[i];
		if (ns[i] < h.min_ns)
			h.min_ns = ns[i];
		if (ns[i] > h.max_ns)
			h.max_ns = ns[i];
	}
	return h;
}

static int compare(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return x < y ? -1 : x > y;
}

/* In thousandths, so that the rank is exact. */
static const unsigned quantiles[] = { 1, 10, 250, 500, 900, 990, 999, 1000 };

static void check(__u64 *ns, size_t n, __u64 step)
{
	struct histogram h = of(ns, n, step);

	qsort(ns, n, sizeof(*ns), compare);
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
		size_t rank = (quantiles[i] * n + 999) / 1000;
		__u64 exact = ns[rank - 1];
		__u64 got = histogram_quantile(&h, quantiles[i] / 1000.0);
		__u64 off = got > exact ? got - exact : exact - got;

		if (off > exact / 8 && off > 8 * step)
			fail_msg("p%.1f of %zu: %llu, exactly %llu", quantiles[i] / 10.0, n, got,
				 exact);
		assert_true(got >= ns[0] && got <= ns[n - 1]);
	}
	assert_int_equal(histogram_quantile(&h, 1), ns[n - 1]);
}

/* xorshift: the same samples on every machine. */
static __u64 next(__u64 *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void test_against_samples(void **state)
{
	static const size_t sizes[] = { 1, 2, 3, 10, 99, 100, 101, 1000, 1001, 5000 };
	static const __u64 steps[] = { TCPLAT_HIST_STEP_US, TCPLAT_HIST_STEP_MS };
	static __u64 ns[5000];
	__u64 seed = 88172645463325252ULL;

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(steps); s++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			for (int shape = 0; shape < 4; shape++) {
				for (size_t k = 0; k < sizes[i]; k++) {
					__u64 r = next(&seed);

					ns[k] = shape == 0 ? r % 1000 : /* below one unit */
						shape == 1 ? r % 50000000 :
						shape == 2 ? r >> (24 + r % 40) : /* octaves */
							     20000000 + r % 3;
				}
				check(ns, sizes[i], steps[s]);
			}
}

static void test_single(void **state)
{
	__u64 one = 20512750;
	struct histogram h = of(&one, 1, TCPLAT_HIST_STEP_US);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++)
		assert_int_equal(histogram_quantile(&h, quantiles[i] / 1000.0), one);
}

static void test_equal_values(void **state)
{
	__u64 same[7] = { 5000, 5000, 5000, 5000, 5000, 5000, 5000 };
	struct histogram h = of(same, 7, TCPLAT_HIST_STEP_US);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++)
		assert_int_equal(histogram_quantile(&h, quantiles[i] / 1000.0), 5000);
}

static void test_empty(void **state)
{
	struct histogram h = of(NULL, 0, TCPLAT_HIST_STEP_US);

	(void)state;
	assert_int_equal(histogram_quantile(&h, .5), 0);
	assert_int_equal(histogram_quantile(&h, 1), 0);
}

/* Half a place in: exact values of the rule, so that it does not drift. */
static void test_places(void **state)
{
	/* Bucket [32, 36) us holds four, [64, 72) us the largest alone. */
	__u64 ns[5] = { 32000, 33000, 34000, 35000, 70000 };
	struct histogram h = of(ns, 5, TCPLAT_HIST_STEP_US);

	(void)state;
	assert_int_equal(histogram_quantile(&h, .2), 32500);
	assert_int_equal(histogram_quantile(&h, .4), 33500);
	assert_int_equal(histogram_quantile(&h, .6), 34500);
	assert_int_equal(histogram_quantile(&h, .8), 35500);
	assert_int_equal(histogram_quantile(&h, .80001), 70000);
	assert_int_equal(histogram_quantile(&h, .000001), 32500);
}

/* The bucket without an upper edge ends at the maximum. */
static void test_beyond_the_last_edge(void **state)
{
	__u64 ns[3] = { 1200ULL * 1000000000, 2000ULL * 1000000000, 3000ULL * 1000000000 };
	struct histogram h = of(ns, 3, TCPLAT_HIST_STEP_US);
	__u64 p50 = histogram_quantile(&h, .5);

	(void)state;
	assert_int_equal(h.counts[TCPLAT_HIST_BUCKETS - 1], 3);
	assert_true(p50 >= ns[0] && p50 <= ns[2]);
	assert_int_equal(histogram_upper(&h, TCPLAT_HIST_BUCKETS - 1), ~0ULL);
	assert_int_equal(histogram_lower(&h, TCPLAT_HIST_BUCKETS - 1), (1ULL << 30) * 1000);
	assert_int_equal(histogram_upper(&h, TCPLAT_HIST_BUCKETS - 2), (1ULL << 30) * 1000);
}

/* Counts and extremes may be of slightly different moments. */
static void test_never_outside_the_extremes(void **state)
{
	struct histogram h = { .step_ns = TCPLAT_HIST_STEP_US, .min_ns = 1000, .max_ns = 2000 };

	(void)state;
	h.count = 10;
	h.counts[tcplat_hist_bucket(8 * 500)] = 10; /* 500 us, above the maximum */
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++)
		assert_int_equal(histogram_quantile(&h, quantiles[i] / 1000.0), 2000);
	memset(h.counts, 0, sizeof(h.counts));
	h.counts[0] = 10; /* below the minimum */
	assert_int_equal(histogram_quantile(&h, .5), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_samples),
		cmocka_unit_test(test_single),
		cmocka_unit_test(test_equal_values),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_beyond_the_last_edge),
		cmocka_unit_test(test_never_outside_the_extremes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
