// SPDX-License-Identifier: GPL-2.0-or-later
/* The shelf: what is put on it comes back whole, and in the order that was asked for. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/shelf.h"

static struct histogram of_pid(__u32 pid)
{
	struct histogram h = { .by = TCPLAT_KEY_PID,
			       .step_ns = TCPLAT_HIST_STEP_US,
			       .unix_ns = SAMPLE_UNIX_NS,
			       .interval_ns = 1000000000,
			       .cgroup = "" };

	h.key.kind = TCPLAT_KIND_RTT;
	h.key.pid = pid;
	return h;
}

static void put(struct shelf *s, const struct histogram *h)
{
	assert_int_equal(shelf_add(s, h), 0);
}

static void assert_order(struct shelf *s, enum query_sort by, const char *want)
{
	char got[64] = "";
	struct histogram h;

	shelf_sort(s, by);
	for (size_t i = 0; i < s->n; i++) {
		shelf_get(s, i, &h);
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%u ", h.key.pid);
	}
	assert_string_equal(got, want);
}

/*
 * 1: many and short; 2: few and long; 3: one that is the longest of all, too rare
 * for p99.
 */
static void test_orders(void **state)
{
	struct histogram a = of_pid(1), b = of_pid(2), c = of_pid(3);
	struct shelf s = {};

	(void)state;
	add_values(&a, 10000, 3000);
	add_values(&b, 5000000, 20);
	add_values(&c, 20000, 1000);
	add_values(&c, 900000000, 1);
	put(&s, &a);
	put(&s, &b);
	put(&s, &c);
	assert_order(&s, SORT_COUNT, "1 3 2 ");
	assert_order(&s, SORT_P99, "2 3 1 ");
	assert_order(&s, SORT_MAX, "3 2 1 ");
	assert_order(&s, SORT_COUNT, "1 3 2 ");
	shelf_free(&s);
}

/* Equal ones are in the order of their keys, whichever came first. */
static void test_ties(void **state)
{
	static const __u32 pids[][4] = { { 4, 3, 2, 1 }, { 2, 4, 1, 3 }, { 1, 2, 3, 4 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		struct shelf s = {};

		for (size_t j = 0; j < 4; j++) {
			struct histogram h = of_pid(pids[i][j]);

			add_values(&h, 1000000, 7);
			put(&s, &h);
		}
		assert_order(&s, SORT_COUNT, "1 2 3 4 ");
		assert_order(&s, SORT_P99, "1 2 3 4 ");
		assert_order(&s, SORT_MAX, "1 2 3 4 ");
		shelf_free(&s);
	}
}

/* A recording has all of its intervals at once: one after the other, each in order. */
static void test_intervals(void **state)
{
	struct shelf s = {};

	(void)state;
	for (__u32 i = 0; i < 6; i++) {
		struct histogram h = of_pid(i);

		h.unix_ns += i % 2 * 1000000000;
		add_values(&h, 1000, i + 1);
		put(&s, &h);
	}
	assert_order(&s, SORT_COUNT, "4 2 0 5 3 1 ");
	assert_int_equal(shelf_end(&s, 0), 3);
	assert_int_equal(shelf_end(&s, 2), 3);
	assert_int_equal(shelf_end(&s, 3), 6);
	shelf_free(&s);
	assert_int_equal(shelf_end(&s, 0), 0);
}

/* Groups are told apart by their path where a recording has no id. */
static void test_ties_of_groups(void **state)
{
	static const char *const names[] = { "/c", "/a", "/b" };
	struct histogram h = of_pid(0);
	struct shelf s = {};
	char group[8];

	(void)state;
	add_values(&h, 1000, 1);
	/* The name is the caller's, and gone by the time it is read. */
	h.cgroup = group;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(group, sizeof(group), "%s", names[i]);
		put(&s, &h);
	}
	memset(group, '#', sizeof(group));
	shelf_sort(&s, SORT_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char want[] = "/a";

		want[1] = (char)('a' + i);
		shelf_get(&s, i, &h);
		assert_string_equal(h.cgroup, want);
	}
	shelf_free(&s);
}

static void assert_comes_back(const struct histogram *h)
{
	struct shelf s = {};
	struct histogram got;

	memset(&got, 0xff, sizeof(got));
	put(&s, h);
	shelf_sort(&s, SORT_P99);
	assert_int_equal(s.n, 1);
	shelf_get(&s, 0, &got);
	assert_string_equal(got.cgroup, h->cgroup);
	got.cgroup = h->cgroup;
	assert_memory_equal(&got, h, sizeof(got));
	shelf_free(&s);
}

/* Every bucket, also at both ends, and what the buckets do not say. */
static void test_whole(void **state)
{
	struct histogram h = of_pid(5);

	(void)state;
	h.value = TCPLAT_VALUE_SRTT;
	h.raddr_net = (struct subnet){ true, 24 };
	h.key.rest = 1;
	h.cgroup = "/system.slice/web.service";
	assert_comes_back(&h); /* nothing at all */
	h.retransmits = 3;
	assert_comes_back(&h); /* segments sent again, and no sample */
	for (unsigned i = 0; i < TCPLAT_HIST_BUCKETS; i++) {
		struct histogram one = h;

		one.counts[i] = ~0ULL - i;
		one.count = 1;
		assert_comes_back(&one);
	}
	h.counts[0] = 1;
	h.counts[TCPLAT_HIST_BUCKETS - 1] = 2;
	assert_comes_back(&h);
	for (unsigned i = 0; i < TCPLAT_HIST_BUCKETS; i++)
		h.counts[i] = i * 1000003ULL;
	h.count = h.sum_ns = h.max_ns = ~0ULL;
	assert_comes_back(&h);
}

/* More than it first has room for, and again after it was emptied. */
static void test_many(void **state)
{
	enum { MANY = 1000 };
	struct shelf s = {};
	struct histogram h;

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (__u32 i = 0; i < MANY; i++) {
			h = of_pid(i * 7919 % MANY);
			add_values(&h, 1000000, h.key.pid + 1);
			put(&s, &h);
		}
		assert_int_equal(s.n, MANY);
		shelf_sort(&s, SORT_COUNT);
		for (__u32 i = 0; i < MANY; i++) {
			shelf_get(&s, i, &h);
			assert_int_equal(h.key.pid, MANY - 1 - i);
			assert_int_equal(h.count, MANY - i);
		}
		shelf_clear(&s);
		assert_int_equal(s.n, 0);
		assert_true(s.max >= MANY);
	}
	shelf_free(&s);
	assert_int_equal(s.max, 0);
	assert_null(s.items);
	/* Nothing to sort, and nothing to give back twice. */
	shelf_sort(&s, SORT_COUNT);
	shelf_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_orders),	  cmocka_unit_test(test_ties),
		cmocka_unit_test(test_intervals), cmocka_unit_test(test_ties_of_groups),
		cmocka_unit_test(test_whole),	  cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
