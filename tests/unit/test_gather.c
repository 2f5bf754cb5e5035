// SPDX-License-Identifier: GPL-2.0-or-later
/* Records gathered in histograms, against the same computed directly. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "source/gather.h"

static struct collected got;

static const char *const comms[] = { "curl", "nc", "grün" };
static const char *const groups[] = { "/a", "/b", "#77" };

/* Record i of an endless stream; the same one whenever it is asked for. */
static struct record record_of(unsigned i)
{
	struct record r = sample_v4();

	memset(r.ev.comm, 0, sizeof(r.ev.comm));
	memcpy(r.ev.comm, comms[i % 3], strlen(comms[i % 3]));
	r.cgroup = groups[i / 3 % 3];
	r.connect.outcome = (__u8)(i % 2);
	r.ev.pid = 100 + i % 5;
	r.unix_ns = SAMPLE_UNIX_NS + i * 1000000ULL;
	/* From 0 to 16 s, unevenly. */
	r.connect.latency_ns = (__u64)i * i * i * 2097 % 16000000000ULL;
	return r;
}

#define N 2000

static void add_to(struct histogram *h, const struct record *r)
{
	__u64 ns = r->connect.latency_ns, steps = ns / TCPLAT_HIST_STEP_US;
	unsigned b = 0;

	/* By looking, not by the arithmetic that is being tested. */
	while (b + 1 < TCPLAT_HIST_BUCKETS && steps >= tcplat_hist_lower(b + 1))
		b++;
	if (!h->count || ns < h->min_ns)
		h->min_ns = ns;
	if (ns > h->max_ns)
		h->max_ns = ns;
	h->counts[b]++;
	h->count++;
	h->sum_ns += ns;
}

static void assert_same(const struct histogram *h, const struct histogram *want)
{
	assert_int_equal(h->count, want->count);
	assert_int_equal(h->sum_ns, want->sum_ns);
	assert_int_equal(h->min_ns, want->min_ns);
	assert_int_equal(h->max_ns, want->max_ns);
	assert_memory_equal(h->counts, want->counts, sizeof(h->counts));
}

static struct gather *new_gather(__u32 by, __u64 step_ns, __u32 max_keys)
{
	static struct tcplat_config cfg;

	cfg = (struct tcplat_config){ .by = by, .hist_step_ns = step_ns, .max_keys = max_keys };
	return gather_new(&cfg);
}

static struct gather *fill(__u32 by, __u32 max_keys)
{
	struct gather *g = new_gather(by, TCPLAT_HIST_STEP_US, max_keys);

	assert_non_null(g);
	for (unsigned i = 0; i < N; i++) {
		struct record r = record_of(i);

		assert_int_equal(gather_add(g, &r), 0);
	}
	collect_init(&got);
	gather_take(g, &got.consumer);
	return g;
}

static void test_one(void **state)
{
	struct histogram want = {};
	struct gather *g = fill(0, 1);

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		struct record r = record_of(i);

		add_to(&want, &r);
	}
	assert_int_equal(got.n_histograms, 1);
	assert_same(&got.histograms[0], &want);
	assert_int_equal(got.histograms[0].by, 0);
	assert_int_equal(got.histograms[0].step_ns, TCPLAT_HIST_STEP_US);
	assert_int_equal(got.histograms[0].key.kind, TCPLAT_KIND_CONNECT);
	assert_string_equal(got.hist_cgroups[0], "");
	/* The time of the records, not ours. */
	assert_int_equal(got.histograms[0].unix_ns, SAMPLE_UNIX_NS + (N - 1) * 1000000ULL);
	assert_int_equal(got.histograms[0].interval_ns, (N - 1) * 1000000ULL);
	gather_free(g);
}

static void test_by_comm_and_outcome(void **state)
{
	struct gather *g = fill(TCPLAT_KEY_COMM | TCPLAT_KEY_OUTCOME, 6);

	(void)state;
	assert_int_equal(got.n_histograms, 6);
	for (unsigned k = 0; k < 6; k++) {
		const struct histogram *h = &got.histograms[k];
		struct histogram want = {};

		for (unsigned i = 0; i < N; i++) {
			struct record r = record_of(i);

			if (!strcmp(r.ev.comm, h->key.comm) && r.connect.outcome == h->key.outcome)
				add_to(&want, &r);
		}
		assert_true(want.count >= N / 6);
		assert_same(h, &want);
		assert_int_equal(h->key.pid, 0);
	}
	gather_free(g);
}

/* A recording has paths, not ids: groups are told apart by them. */
static void test_by_cgroup(void **state)
{
	struct gather *g = fill(TCPLAT_KEY_CGROUP, 3);
	__u64 total = 0;

	(void)state;
	assert_int_equal(got.n_histograms, 3);
	for (unsigned k = 0; k < 3; k++) {
		struct histogram want = {};

		for (unsigned i = 0; i < N; i++) {
			struct record r = record_of(i);

			if (!strcmp(r.cgroup, got.hist_cgroups[k]))
				add_to(&want, &r);
		}
		assert_same(&got.histograms[k], &want);
		total += want.count;
	}
	assert_int_equal(total, N);
	gather_free(g);
}

/* A full table keeps what it has. */
static void test_full(void **state)
{
	struct gather *g = new_gather(TCPLAT_KEY_COMM, TCPLAT_HIST_STEP_US, 2);
	unsigned refused = 0;

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		struct record r = record_of(i);
		int err = gather_add(g, &r);

		assert_int_equal(err, i % 3 == 2 ? -ENOSPC : 0);
		refused += err != 0;
	}
	assert_int_equal(refused, 100);
	collect_init(&got);
	gather_take(g, &got.consumer);
	assert_int_equal(got.n_histograms, 2);
	assert_int_equal(got.histograms[0].count + got.histograms[1].count, 200);
	gather_free(g);
}

static void test_begins_anew(void **state)
{
	struct gather *g = fill(TCPLAT_KEY_PID, 5);
	struct record r = record_of(7);

	(void)state;
	assert_int_equal(got.n_histograms, 5);
	collect_init(&got);
	gather_take(g, &got.consumer);
	assert_int_equal(got.n_histograms, 0);
	assert_int_equal(gather_add(g, &r), 0);
	gather_take(g, &got.consumer);
	assert_int_equal(got.n_histograms, 1);
	assert_int_equal(got.histograms[0].count, 1);
	assert_int_equal(got.histograms[0].min_ns, r.connect.latency_ns);
	assert_int_equal(got.histograms[0].max_ns, r.connect.latency_ns);
	assert_int_equal(got.histograms[0].unix_ns, r.unix_ns);
	assert_int_equal(got.histograms[0].interval_ns, 0);
	gather_free(g);
}

static void test_millisecond_grid(void **state)
{
	struct gather *g = new_gather(0, TCPLAT_HIST_STEP_MS, 1);
	struct record r = sample_v4(); /* 20.51275 ms: 164 steps of 0.125 ms */

	(void)state;
	assert_int_equal(gather_add(g, &r), 0);
	collect_init(&got);
	gather_take(g, &got.consumer);
	assert_int_equal(got.histograms[0].counts[tcplat_hist_bucket(164)], 1);
	assert_int_equal(got.histograms[0].step_ns, TCPLAT_HIST_STEP_MS);
	gather_free(g);
	gather_free(NULL);
}

/* Each kind has its latency elsewhere, and no outcome may come of that. */
static void test_pickups(void **state)
{
	struct gather *g = new_gather(TCPLAT_KEY_LPORT, TCPLAT_HIST_STEP_US, 2);
	struct record plain = sample_pickup(), split = sample_split();
	struct histogram want = {};

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		struct record r = i % 2 ? plain : split, c = record_of(i);

		r.pickup.latency_ns = c.connect.latency_ns;
		r.pickup.wake_ns = r.pickup.runq_ns = 0;
		if (i % 2)
			add_to(&want, &c);
		assert_int_equal(gather_add(g, &r), 0);
	}
	collect_init(&got);
	gather_take(g, &got.consumer);
	assert_int_equal(got.n_histograms, 2);
	for (unsigned k = 0; k < 2; k++) {
		assert_int_equal(got.histograms[k].key.kind, TCPLAT_KIND_PICKUP);
		assert_int_equal(got.histograms[k].key.outcome, 0);
		if (got.histograms[k].key.lport == 80)
			assert_same(&got.histograms[k], &want);
	}
	gather_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),	    cmocka_unit_test(test_by_comm_and_outcome),
		cmocka_unit_test(test_by_cgroup),   cmocka_unit_test(test_full),
		cmocka_unit_test(test_begins_anew), cmocka_unit_test(test_millisecond_grid),
		cmocka_unit_test(test_pickups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
