// SPDX-License-Identifier: GPL-2.0-or-later
/* The page: what it says in either format, and that pieces of any size are the same text. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "serve/page.h"

static struct edges edges;
static struct series_table *table;
static struct self self;

static void add(const struct tcplat_hist_key *key, const char *labels, __u64 ns, __u64 times)
{
	struct histogram h = { .key = *key, .step_ns = TCPLAT_HIST_STEP_US, .beside = 7 };

	add_values(&h, ns, times);
	series_add(table, series_get(table, key, labels, false), &h, 1);
}

static int set_up(void **state)
{
	const struct tcplat_hist_key rtt = { .kind = TCPLAT_KIND_RTT };
	const struct tcplat_hist_key refused = { .kind = TCPLAT_KIND_CONNECT,
						 .outcome = TCPLAT_REFUSED };
	const struct tcplat_hist_key app = { .kind = TCPLAT_KIND_PICKUP, .part = TCPLAT_PART_APP };

	(void)state;
	edges_init(&edges, false);
	table = series_table_new(&edges);
	add(&rtt, "", 1500, 3);
	add(&rtt, "", 2000000000000, 1);
	add(&refused, "outcome=\"refused\"", 1000, 2);
	add(&app, "part=\"app\"", 5000000, 4);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	series_table_free(table);
	return 0;
}

/* All of it, read in pieces of at most so many bytes; to be freed. */
static char *read_all(bool openmetrics, size_t piece)
{
	struct page *p = page_new(table, &edges, &self);
	struct page_reader *r = page_open(p, openmetrics);
	char *text = calloc(1, 1 << 20), *at = text;
	char *buf = malloc(piece);
	size_t n;

	/* The reader has a reference of its own. */
	page_unref(p);
	while ((n = page_read(r, buf, piece))) {
		assert_in_range(n, 1, piece);
		memcpy(at, buf, n);
		at += n;
	}
	assert_int_equal(page_read(r, buf, piece), 0);
	page_close(r);
	free(buf);
	return text;
}

/* From the first line of the family's to where the next begins. */
static void assert_family(const char *text, const char *name, const char *want)
{
	char help[128];
	const char *from, *to;

	snprintf(help, sizeof(help), "# HELP %s ", name);
	from = strstr(text, help);
	assert_non_null(from);
	from = strchr(from, '\n') + 1;
	to = strstr(from, "# HELP ");
	assert_int_equal(strncmp(from, want, strlen(want)), 0);
	assert_true(!to || to == from + strlen(want));
}

static void put(char *dst, size_t size, const char *text)
{
	size_t n = strlen(dst);

	snprintf(dst + n, size - n, "%s", text);
}

static void test_text(void **state)
{
	char *text = read_all(false, 1 << 16), want[8192] = "";
	static const char head[] = "# TYPE tcplat_rtt_seconds histogram\n"
				   "# UNIT tcplat_rtt_seconds seconds\n";

	(void)state;
	put(want, sizeof(want), head);
	for (unsigned i = 0; i <= edges.n; i++)
		snprintf(want + strlen(want), sizeof(want) - strlen(want),
			 "tcplat_rtt_seconds_bucket{le=\"%s\"} %d\n", edges.text[i],
			 i == edges.n ? 4 :
			 i	      ? 3 :
					0);
	put(want, sizeof(want),
	    "tcplat_rtt_seconds_sum 2000.000004500\n"
	    "tcplat_rtt_seconds_count 4\n");
	assert_family(text, "tcplat_rtt_seconds", want);
	assert_family(text, "tcplat_retransmitted_segments_total",
		      "# TYPE tcplat_retransmitted_segments_total counter\n"
		      "tcplat_retransmitted_segments_total 14\n");
	assert_family(text, "tcplat_connects_total",
		      "# TYPE tcplat_connects_total counter\n"
		      "tcplat_connects_total{outcome=\"refused\"} 2\n");
	assert_holds(text, "tcplat_connect_duration_seconds_bucket{outcome=\"refused\","
			   "le=\"2e-06\"} 2\n");
	assert_holds(text, "tcplat_pickup_part_seconds_count{part=\"app\"} 4\n");
	/* A part of a wait is no wait. */
	assert_null(strstr(text, "tcplat_pickup_seconds"));
	assert_null(strstr(text, "# EOF"));
	free(text);
}

static void test_openmetrics(void **state)
{
	char *text = read_all(true, 1 << 16);

	(void)state;
	assert_family(text, "tcplat_connects",
		      "# TYPE tcplat_connects counter\n"
		      "tcplat_connects_total{outcome=\"refused\"} 2\n");
	assert_holds(text, "# TYPE tcplat_build info\n");
	assert_holds(text, "\ntcplat_build_info{version=\"");
	assert_string_equal(text + strlen(text) - 7, "\n# EOF\n");
	free(text);
}

/* A client that takes little at a time gets the same, in whole lines. */
static void test_pieces(void **state)
{
	char *whole = read_all(false, 1 << 20);

	(void)state;
	for (size_t piece = PAGE_LEAST; piece < PAGE_LEAST + 40; piece += 7) {
		char *text = read_all(false, piece);

		/* What is said of the process may differ. */
		*strstr(text, "# HELP process_") = 0;
		assert_int_equal(strncmp(text, whole, strlen(text)), 0);
		free(text);
	}
	free(whole);
}

/* What a reader shows is what was there when the page was made. */
static void test_snapshot(void **state)
{
	const struct tcplat_hist_key rtt = { .kind = TCPLAT_KIND_RTT };
	struct page *p = page_new(table, &edges, &self);
	struct page_reader *r = page_open(p, false);
	char *buf = calloc(1, 1 << 20);

	(void)state;
	add(&rtt, "", 1500, 1000);
	page_read(r, buf, (1 << 20) - 1);
	assert_holds(buf, "tcplat_rtt_seconds_count 4\n");
	page_close(r);
	page_unref(p);
	free(buf);
}

static void test_numbers_of_ourselves(void **state)
{
	char *text;

	(void)state;
	self.refused = 12;
	self.events[TCPLAT_KIND_RTT] = 34;
	self.usage.counters.lost[TCPLAT_LOST_CLOCK] = 56;
	self.unaccounted = 78;
	self.read_ns = 1234567;
	self.n_programs = 1;
	self.programs[0] = (struct self_program){ "probe", 90, 12000000001 };
	text = read_all(false, 1 << 16);
	assert_holds(text, "\ntcplat_keys_refused_total 12\n");
	assert_holds(text, "\ntcplat_events_total{measurement=\"rtt\"} 34\n");
	assert_holds(text, "\ntcplat_lost_events_total{reason=\"clock\"} 56\n");
	assert_holds(text, "\ntcplat_lost_events_total{reason=\"no_memory\"} 78\n");
	assert_holds(text, "\ntcplat_scrape_duration_seconds 0.001234567\n");
	assert_holds(text, "\ntcplat_bpf_runs_total{program=\"probe\"} 90\n");
	assert_holds(text, "\ntcplat_bpf_run_seconds_total{program=\"probe\"} 12.000000001\n");
	free(text);
	self = (struct self){};
	text = read_all(false, 1 << 16);
	assert_null(strstr(text, "tcplat_bpf_"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_openmetrics),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_numbers_of_ourselves),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
