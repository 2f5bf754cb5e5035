// SPDX-License-Identifier: GPL-2.0-or-later
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "record/column.h"
#include "record/text.h"

static int real_stderr = -1;
static int caught_fd = -1;
static char caught[65536];

void stderr_begin(void)
{
	fflush(stderr);
	/* A test that failed in between has not called stderr_end(). */
	if (real_stderr < 0)
		real_stderr = dup(STDERR_FILENO);
	if (caught_fd >= 0)
		close(caught_fd);
	caught_fd = memfd_create("stderr", MFD_CLOEXEC);
	assert_true(real_stderr >= 0 && caught_fd >= 0);
	assert_int_equal(dup2(caught_fd, STDERR_FILENO), STDERR_FILENO);
}

const char *stderr_end(void)
{
	ssize_t n;

	fflush(stderr);
	assert_int_equal(dup2(real_stderr, STDERR_FILENO), STDERR_FILENO);
	n = pread(caught_fd, caught, sizeof(caught) - 1, 0);
	assert_true(n >= 0);
	caught[n] = 0;
	return caught;
}

void assert_one_line(const char *text)
{
	const char *end = strchr(text, '\n');

	if (!end || end == text || end[1])
		fail_msg("not exactly one line: \"%s\"", text);
}

void assert_holds(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in \"%s\"", part, text);
}

void mem_open(struct mem *m)
{
	memset(m, 0, sizeof(*m));
	m->out.f = open_memstream(&m->text, &m->len);
	assert_non_null(m->out.f);
}

const char *mem_text(struct mem *m)
{
	assert_int_equal(out_flush(&m->out), 0);
	return m->text;
}

void mem_close(struct mem *m)
{
	assert_int_equal(out_close(&m->out), 0);
	free(m->text);
}

void put_addr(__u8 dst[16], const char *text)
{
	int ip;

	assert_true(text_to_addr(text, &ip, dst));
}

static struct record sample(const char *comm, int ip, const char *laddr, const char *raddr)
{
	struct record r = { .unix_ns = SAMPLE_UNIX_NS, .cgroup = "/user.slice" };

	r.ev.kind = TCPLAT_KIND_CONNECT;
	r.ev.time_ns = SAMPLE_UNIX_NS;
	r.ev.ip = (__u8)ip;
	r.ev.netns = 4026531840U;
	strncpy(r.ev.comm, comm, sizeof(r.ev.comm) - 1);
	put_addr(r.ev.laddr, laddr);
	put_addr(r.ev.raddr, raddr);
	return r;
}

struct record sample_v4(void)
{
	struct record r = sample("curl", 4, "10.0.0.2", "10.0.0.1");

	r.ev.pid = 4242;
	r.ev.tid = 4243;
	r.ev.lport = 40000;
	r.ev.rport = 80;
	r.connect.latency_ns = 20512750;
	r.connect.handshake_rtt_us = 20480;
	return r;
}

struct record sample_v6(void)
{
	struct record r = sample("nc", 6, "2001:db8::2", "2001:db8::1");

	r.ev.pid = 7;
	r.ev.tid = 7;
	r.ev.lport = 40001;
	r.ev.rport = 443;
	r.connect.latency_ns = 1500;
	r.connect.outcome = TCPLAT_REFUSED;
	r.connect.error = 111;
	return r;
}

/* A read from the same place, on the side that listens. */
static struct record pickup(struct record of, const char *comm, __u16 lport)
{
	struct record r = { .unix_ns = of.unix_ns, .cgroup = of.cgroup };

	r.ev = of.ev;
	r.ev.kind = TCPLAT_KIND_PICKUP;
	r.ev.lport = lport;
	r.ev.rport = of.ev.lport;
	memset(r.ev.comm, 0, sizeof(r.ev.comm));
	strncpy(r.ev.comm, comm, sizeof(r.ev.comm) - 1);
	r.pickup.segments = 1;
	return r;
}

struct record sample_pickup(void)
{
	struct record r = pickup(sample_v4(), "nginx", 80);

	r.pickup.latency_ns = 20512750;
	r.pickup.bytes = 1448;
	return r;
}

struct record sample_split(void)
{
	struct record r = pickup(sample_v6(), "redis", 6379);

	r.ev.split = 1;
	r.pickup.latency_ns = 1500;
	r.pickup.wake_ns = 1000;
	r.pickup.runq_ns = 300;
	r.pickup.bytes = 31;
	return r;
}

struct record sample_rtt(void)
{
	struct record of = sample_v4(), r = { .unix_ns = of.unix_ns, .cgroup = of.cgroup };

	r.ev = of.ev;
	r.ev.kind = TCPLAT_KIND_RTT;
	r.rtt.latency_ns = 20513000;
	r.rtt.srtt_us = 21007;
	r.rtt.min_rtt_us = 19998;
	return r;
}

static const struct column *member_of(const char *json)
{
	for (const struct column *c = columns; c->header || c->json; c++)
		if (c->json && !strcmp(c->json, json))
			return c;
	fail_msg("no member \"%s\"", json);
	return NULL;
}

const char *json_of(const char *member, const struct record *r)
{
	static char text[COLUMN_TEXT_LEN];
	json_t *v = member_of(member)->to_json(r);
	size_t n = json_dumpb(v, text, sizeof(text) - 1, JSON_LINE | JSON_ENCODE_ANY);

	assert_true(n < sizeof(text));
	text[n] = 0;
	json_decref(v);
	return text;
}

int from_json(struct record *r, const char *member, const char *text)
{
	static json_t *v;

	json_decref(v);
	v = json_loads(text, JSON_DECODE_ANY, NULL);
	assert_non_null(v);
	return member_of(member)->from_json(r, v);
}

const char *text_of(const char *column, const struct record *r)
{
	static char text[COLUMN_TEXT_LEN];
	const struct column *c = column_find(column, r->ev.kind);

	assert_non_null(c);
	memset(text, '#', sizeof(text));
	c->text(r, text, sizeof(text));
	return text;
}

void add_values(struct histogram *h, __u64 ns, __u64 times)
{
	h->counts[tcplat_hist_bucket(ns / h->step_ns)] += times;
	h->sum_ns += ns * times;
	if (!h->count || ns < h->min_ns)
		h->min_ns = ns;
	if (ns > h->max_ns)
		h->max_ns = ns;
	h->count += times;
}

static void on_record(void *arg, struct record *r)
{
	struct collected *c = arg;

	assert_true(c->n_records < COLLECT_MAX);
	c->records[c->n_records] = *r;
	snprintf(c->cgroups[c->n_records], sizeof(c->cgroups[0]), "%s", r->cgroup);
	c->n_records++;
}

static void on_histogram(void *arg, struct histogram *h)
{
	struct collected *c = arg;

	assert_true(c->n_histograms < COLLECT_MAX);
	c->histograms[c->n_histograms] = *h;
	snprintf(c->hist_cgroups[c->n_histograms], sizeof(c->hist_cgroups[0]), "%s", h->cgroup);
	c->n_histograms++;
}

void collect_init(struct collected *c)
{
	memset(c, 0, sizeof(*c));
	c->consumer = (struct consumer){ on_record, on_histogram, c };
}

int parse_view(struct query *q, const struct option_table *table, enum tcplat_kind kind,
	       const char *const *args, const char **said)
{
	char *argv[SUPPORT_MAX_ARGS] = { "view" };
	int argc = 1, err;

	while (*args) {
		assert_true(argc < SUPPORT_MAX_ARGS - 1);
		argv[argc++] = (char *)*args++;
	}
	query_init(q, kind, "latency");
	stderr_begin();
	err = options_parse(q, table, argc, argv);
	if (!err)
		err = query_finish(q);
	*said = stderr_end();
	query_free(q);
	return err;
}
