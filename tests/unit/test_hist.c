// SPDX-License-Identifier: GPL-2.0-or-later
/* Bucket arithmetic, exhaustively. */
#include "support.h"

#include <string.h>

#include "core/cleanup.h"
#include "tcplat/config.h"

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

static void assert_steps(__u64 ns)
{
	/* The one by a multiplication, which the compiler must not find out. */
	volatile __u64 us = TCPLAT_HIST_STEP_US, ms = TCPLAT_HIST_STEP_MS;

	if (tcplat_hist_steps(ns, us) != ns / us || tcplat_hist_steps(ns, ms) != ns / ms)
		fail_msg("%llu ns are %llu steps, %llu ms steps", ns, tcplat_hist_steps(ns, us),
			 tcplat_hist_steps(ns, ms));
}

static void test_steps(void **state)
{
	const __u64 edge = 1ULL << 32;

	(void)state;
	for (__u64 ns = 0; ns < 1000000; ns++)
		assert_steps(ns);
	/* Where the error of the multiplication is largest, and beyond its end. */
	for (__u64 ns = edge - 500000; ns < edge + 500000; ns++)
		assert_steps(ns);
	/* Both sides of edges of steps, all over the range. */
	for (__u64 step = 1; step < 2 * edge / TCPLAT_HIST_STEP_US; step += step / 5000 + 1) {
		assert_steps(step * TCPLAT_HIST_STEP_US - 1);
		assert_steps(step * TCPLAT_HIST_STEP_US);
		assert_steps(step * TCPLAT_HIST_STEP_US + 1);
	}
	for (int bit = 33; bit < 64; bit++) {
		assert_steps(1ULL << bit);
		assert_steps((1ULL << bit) - 1);
	}
	assert_steps(~0ULL);
	/* Kernel programs have no use for a trap. */
	assert_int_equal(tcplat_hist_steps(5, 0), 0);
}

/* No two of (half, slot, CPU) share a cell but those that are meant to. */
static void test_cells(void **state)
{
	static const struct {
		__u32 max_keys, cpus, hot;
	} cases[] = {
		{ 1, 0, 0 },  { 1, 2, 1 },     { 4, 2, 4 },	{ 10, 0, 0 }, { 10, 3, 10 },
		{ 10, 3, 4 }, { 100, 64, 64 }, { 100, 256, 8 }, { 10, 2, 0 }, { 1000, 1, 64 },
	};
	static unsigned char taken[1 << 17];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tcplat_config c = { .max_keys = cases[i].max_keys,
					   .hist_cpus = cases[i].cpus,
					   .hist_hot = cases[i].hot };
		__u32 size = tcplat_hist_half(&c), used = 0;

		assert_int_equal(size, cases[i].max_keys + cases[i].cpus * cases[i].hot);
		assert_true(2 * size <= sizeof(taken));
		memset(taken, 0, sizeof(taken));
		for (__u32 half = 0; half < 2; half++)
			for (__u32 slot = 0; slot < c.max_keys; slot++) {
				__u32 own = slot < c.hist_hot ? c.hist_cpus : 0;
				__u32 shared = tcplat_hist_cell(&c, half, slot, ~0U);

				for (__u32 cpu = 0; cpu <= own; cpu++) {
					__u32 cell = tcplat_hist_cell(&c, half, slot, cpu);

					/* One CPU more than there are: the shared one. */
					assert_true(cpu < own || cell == shared);
					assert_true(cell >= half * size &&
						    cell < (half + 1) * size);
					assert_int_equal(taken[cell], 0);
					taken[cell] = 1;
					used++;
				}
			}
		assert_int_equal(used, 2 * size);
		/* Keys are in the shared cells of the first half: a slot is its place. */
		for (__u32 slot = 0; slot < c.max_keys; slot++)
			assert_int_equal(tcplat_hist_cell(&c, 0, slot, ~0U), slot);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shape),	   cmocka_unit_test(test_edges),
		cmocka_unit_test(test_every_step), cmocka_unit_test(test_width),
		cmocka_unit_test(test_octaves),	   cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_log2),	   cmocka_unit_test(test_steps),
		cmocka_unit_test(test_cells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
