// SPDX-License-Identifier: GPL-2.0-or-later
/* What is exposed: edges of buckets, and series that make room without losing a count. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/labels.h"
#include "serve/series.h"

/* Lines of a series of round trips with an edge an octave: buckets, sum, count, one counter. */
#define RTT_LINES (31 + 1 + 2 + 1)

static struct edges octaves;

static int set_up(void **state)
{
	(void)state;
	edges_init(&octaves, false);
	return 0;
}

static struct histogram sample(__u8 kind, __u64 ns, __u64 times, __u64 beside)
{
	struct histogram h = { .key.kind = kind,
			       .by = TCPLAT_KEY_RADDR,
			       .step_ns = TCPLAT_HIST_STEP_US,
			       .beside = beside };

	add_values(&h, ns, times);
	return h;
}

static struct series *add(struct series_table *t, const char *labels, const struct histogram *h,
			  __u32 reading)
{
	struct series *s = series_get(t, &h->key, labels, false);

	assert_non_null(s);
	series_add(t, s, h, reading);
	return s;
}

/* Every edge is one of the kernel's, and each of its buckets lies below the edge it counts to. */
static void check_edges(const struct edges *e, unsigned n)
{
	struct histogram h = { .step_ns = TCPLAT_HIST_STEP_US };
	double last = 0;

	assert_int_equal(e->n, n);
	assert_string_equal(e->text[e->n], "+Inf");
	for (unsigned i = 0; i < n; i++) {
		double edge = strtod(e->text[i], NULL);

		assert_true(edge > last);
		last = edge;
	}
	for (unsigned b = 0; b < TCPLAT_HIST_BUCKETS; b++) {
		unsigned at = e->of_bucket[b];
		double lower = (double)histogram_lower(&h, b) / 1e9;

		if (at < e->n)
			assert_true((double)histogram_upper(&h, b) / 1e9 <=
				    strtod(e->text[at], NULL) * (1 + 1e-12));
		if (at)
			assert_true(lower >= strtod(e->text[at - 1], NULL) * (1 - 1e-12));
	}
}

static void test_edges(void **state)
{
	struct edges fine;

	(void)state;
	edges_init(&fine, true);
	check_edges(&octaves, 31);
	check_edges(&fine, TCPLAT_HIST_BUCKETS - 1);
	assert_string_equal(octaves.text[0], "1e-06");
	assert_string_equal(octaves.text[1], "2e-06");
	assert_string_equal(octaves.text[10], "0.001024");
	assert_string_equal(octaves.text[20], "1.048576");
	assert_string_equal(octaves.text[30], "1073.741824");
	assert_string_equal(fine.text[0], "1e-06");
	assert_string_equal(fine.text[1], "1.125e-06");
	assert_string_equal(fine.text[240], "1073.741824");
}

static void test_adds_up(void **state)
{
	struct histogram h = sample(TCPLAT_KIND_RTT, 999, 2, 3);
	struct series_table *t = series_table_new(&octaves);
	struct series *s;

	(void)state;
	s = add(t, "raddr=\"::1\"", &h, 1);
	h = sample(TCPLAT_KIND_RTT, 1000, 5, 1);
	assert_ptr_equal(add(t, "raddr=\"::1\"", &h, 2), s);
	assert_int_equal(s->counts[0], 2);
	assert_int_equal(s->counts[1], 5);
	assert_int_equal(s->count, 7);
	assert_int_equal(s->sum_ns, 2 * 999 + 5 * 1000);
	assert_int_equal(s->beside, 4);
	assert_int_equal(s->used, 2);
	assert_int_equal(series_lines(t), RTT_LINES);
	/* The same labels of another kind are another series, and have a counter more. */
	h = sample(TCPLAT_KIND_CONNECT, 1000, 1, 0);
	assert_ptr_not_equal(add(t, "raddr=\"::1\"", &h, 2), s);
	assert_int_equal(series_lines(t), 2 * RTT_LINES + 1);
	series_table_free(t);
}

static struct series *find(struct series_table *t, const char *labels)
{
	for (size_t i = 0; i < series_count(t); i++)
		if (!strcmp(series_at(t, i)->labels, labels))
			return (struct series *)series_at(t, i);
	return NULL;
}

static __u64 sum_of_counts(const struct series_table *t)
{
	__u64 sum = 0;

	for (size_t i = 0; i < series_count(t); i++)
		sum += series_at(t, i)->count;
	return sum;
}

/* The oldest go first, of equally old ones the smallest; what they counted stays. */
static void test_folds(void **state)
{
	struct series_table *t = series_table_new(&octaves);
	struct histogram h = sample(TCPLAT_KIND_RTT, 5000, 10, 0);
	struct series *other;

	(void)state;
	add(t, "old", &h, 1);
	h = sample(TCPLAT_KIND_RTT, 900, 1, 2);
	add(t, "small", &h, 2);
	h = sample(TCPLAT_KIND_RTT, 5000, 4, 0);
	add(t, "big", &h, 2);
	assert_int_equal(series_fold(t, 3 * RTT_LINES), 0);
	/* The one for others needs room, too. */
	assert_int_equal(series_fold(t, 2 * RTT_LINES), 2);
	assert_int_equal(series_lines(t), 2 * RTT_LINES);
	other = find(t, "other=\"true\"");
	assert_non_null(other);
	assert_ptr_equal(find(t, "old")->into, other);
	assert_ptr_equal(find(t, "small")->into, other);
	series_drop_folded(t);
	assert_null(find(t, "old"));
	assert_null(find(t, "small"));
	assert_non_null(find(t, "big"));
	assert_int_equal(other->count, 11);
	assert_int_equal(other->beside, 2);
	assert_int_equal(other->counts[0], 1);
	assert_int_equal(other->sum_ns, 10 * 5000 + 900);
	assert_int_equal(sum_of_counts(t), 15);
	/* One that comes back starts anew. */
	h = sample(TCPLAT_KIND_RTT, 5000, 1, 0);
	assert_int_equal(add(t, "old", &h, 3)->count, 1);
	series_table_free(t);
}

/* One for others of each outcome, and none of them is ever folded. */
static void test_folds_by_outcome(void **state)
{
	struct series_table *t = series_table_new(&octaves);
	struct histogram h = sample(TCPLAT_KIND_CONNECT, 5000, 1, 0);

	(void)state;
	add(t, "a", &h, 1);
	h.key.outcome = TCPLAT_REFUSED;
	add(t, "b", &h, 1);
	add(t, "c", &h, 1);
	assert_int_equal(series_fold(t, 0), 3);
	series_drop_folded(t);
	assert_int_equal(series_count(t), 2);
	assert_int_equal(find(t, "outcome=\"established\",other=\"true\"")->count, 1);
	assert_int_equal(find(t, "outcome=\"refused\",other=\"true\"")->count, 2);
	assert_int_equal(series_fold(t, 0), 0);
	assert_int_equal(series_count(t), 2);
	series_table_free(t);
}

/* Of each kind as many stay, though one has far more events than the other. */
static void test_folds_fairly(void **state)
{
	struct series_table *t = series_table_new(&octaves);
	unsigned connects = 0, rtts = 0;
	char labels[16];

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct histogram few = sample(TCPLAT_KIND_CONNECT, 5000, 1, 0);
		struct histogram many = sample(TCPLAT_KIND_RTT, 5000, 1000 + i, 0);

		snprintf(labels, sizeof(labels), "%u", i);
		add(t, labels, &few, 1);
		add(t, labels, &many, 1);
	}
	assert_true(series_fold(t, 40 * RTT_LINES) > 0);
	series_drop_folded(t);
	for (size_t i = 0; i < series_count(t); i++) {
		connects += series_at(t, i)->kind == TCPLAT_KIND_CONNECT;
		rtts += series_at(t, i)->kind == TCPLAT_KIND_RTT;
	}
	assert_in_range(connects, 18, 21);
	assert_in_range(rtts, 18, 21);
	assert_int_equal(sum_of_counts(t), 100 + 100 * 1000 + 99 * 50);
	series_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),	     cmocka_unit_test(test_adds_up),
		cmocka_unit_test(test_folds),	     cmocka_unit_test(test_folds_by_outcome),
		cmocka_unit_test(test_folds_fairly),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
