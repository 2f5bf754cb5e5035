// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/column.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "record/text.h"

#define CONNECT (1U << TCPLAT_KIND_CONNECT)
#define ALL CONNECT

json_t *json_name(const char *s, size_t len)
{
	char safe[COLUMN_TEXT_LEN];

	text_utf8(safe, sizeof(safe), s, len);
	return json_string(safe);
}

json_t *json_us(__u64 ns)
{
	return json_real((double)ns / 1000);
}

int addr_ip(const __u8 addr[16])
{
	static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(addr, mapped, sizeof(mapped)) ? 6 : 4;
}

int json_to_ns(const json_t *v, __u64 *ns)
{
	double us = json_number_value(v);

	/* Any 64-bit number of ns, which is rounded when it is large: a sum may be. */
	if (!json_is_number(v) || !(us >= 0) || us > 1.85e16)
		return -EINVAL;
	*ns = us * 1000 < 0x1p64 ? (__u64)round(us * 1000) : ~0ULL;
	return 0;
}

int json_to_uint(const json_t *v, __u64 max, __u64 *out)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 || (__u64)json_integer_value(v) > max)
		return -EINVAL;
	*out = (__u64)json_integer_value(v);
	return 0;
}

/* time */
static void time_text(const struct record *r, char *dst, size_t size)
{
	char text[TEXT_TIME_LEN];

	text_time_of_day(text, r->unix_ns);
	snprintf(dst, size, "%s", text);
}

static json_t *time_json(const struct record *r)
{
	char text[TEXT_TIME_LEN];

	text_rfc3339(text, r->unix_ns);
	return json_string(text);
}

static int time_from(struct record *r, const json_t *v)
{
	const char *s = json_string_value(v);

	return s && text_to_time(s, &r->unix_ns) ? 0 : -EINVAL;
}

/* Seconds since the first record; eight wide, so that a blank always follows. */
static void elapsed_text(const struct record *r, char *dst, size_t size)
{
	snprintf(dst, size, "%.3f", (double)r->since_first_ns / 1e9);
}

/* Whole numbers in the event: one line each. */
#define UINT_COLUMN(id, member, max)                                          \
	static void id##_text(const struct record *r, char *dst, size_t size) \
	{                                                                     \
		snprintf(dst, size, "%u", (unsigned)r->member);               \
	}                                                                     \
	static json_t *id##_json(const struct record *r)                      \
	{                                                                     \
		return json_integer(r->member);                               \
	}                                                                     \
	static int id##_from(struct record *r, const json_t *v)               \
	{                                                                     \
		__u64 n;                                                      \
		int err = json_to_uint(v, max, &n);                           \
                                                                              \
		if (!err)                                                     \
			r->member = (__typeof__(r->member))n;                 \
		return err;                                                   \
	}

UINT_COLUMN(pid, ev.pid, ~0U)
UINT_COLUMN(tid, ev.tid, ~0U)
UINT_COLUMN(ip, ev.ip, 6)
UINT_COLUMN(lport, ev.lport, 65535)
UINT_COLUMN(rport, ev.rport, 65535)
UINT_COLUMN(netns, ev.netns, ~0U)

/* comm */
static void comm_text(const struct record *r, char *dst, size_t size)
{
	text_escape(dst, size, r->ev.comm, strnlen(r->ev.comm, TCPLAT_COMM_LEN));
}

static json_t *comm_json(const struct record *r)
{
	return json_name(r->ev.comm, strnlen(r->ev.comm, TCPLAT_COMM_LEN));
}

static int comm_from(struct record *r, const json_t *v)
{
	const char *s = json_string_value(v);

	if (!s)
		return -EINVAL;
	memset(r->ev.comm, 0, sizeof(r->ev.comm));
	text_from_utf8(r->ev.comm, sizeof(r->ev.comm), s);
	return 0;
}

/* Addresses */
#define ADDR_COLUMN(id)                                                       \
	static void id##_text(const struct record *r, char *dst, size_t size) \
	{                                                                     \
		char text[TEXT_ADDR_LEN];                                     \
                                                                              \
		text_addr(text, addr_ip(r->ev.id), r->ev.id);                 \
		snprintf(dst, size, "%s", text);                              \
	}                                                                     \
	static json_t *id##_json(const struct record *r)                      \
	{                                                                     \
		char text[TEXT_ADDR_LEN];                                     \
                                                                              \
		text_addr(text, addr_ip(r->ev.id), r->ev.id);                 \
		return json_string(text);                                     \
	}                                                                     \
	static int id##_from(struct record *r, const json_t *v)               \
	{                                                                     \
		const char *s = json_string_value(v);                         \
		int ip;                                                       \
                                                                              \
		if (!s || !text_to_addr(s, &ip, r->ev.id))                    \
			return -EINVAL;                                       \
		return 0;                                                     \
	}

ADDR_COLUMN(laddr)
ADDR_COLUMN(raddr)

/* latency */
static void lat_text(const struct record *r, char *dst, size_t size)
{
	snprintf(dst, size, "%.3f", (double)record_latency_ns(r) / 1e6);
}

static void lat2_text(const struct record *r, char *dst, size_t size)
{
	snprintf(dst, size, "%.2f", (double)record_latency_ns(r) / 1e6);
}

static json_t *lat_json(const struct record *r)
{
	return json_us(record_latency_ns(r));
}

static int lat_from(struct record *r, const json_t *v)
{
	return json_to_ns(v, &r->connect.latency_ns);
}

/* outcome, error */
static void outcome_text(const struct record *r, char *dst, size_t size)
{
	snprintf(dst, size, "%s", outcome_name(r->connect.outcome));
}

static json_t *outcome_json(const struct record *r)
{
	return json_string(outcome_name(r->connect.outcome));
}

static int outcome_from(struct record *r, const json_t *v)
{
	const char *s = json_string_value(v);
	int outcome = s ? outcome_from_name(s) : -1;

	if (outcome < 0)
		return -EINVAL;
	r->connect.outcome = (__u8)outcome;
	return 0;
}

static void error_text(const struct record *r, char *dst, size_t size)
{
	char buf[16];
	const char *name = text_errno(r->connect.error, buf);

	snprintf(dst, size, "%s", name ? name : "");
}

static json_t *error_json(const struct record *r)
{
	char buf[16];
	const char *name = text_errno(r->connect.error, buf);

	return name ? json_string(name) : json_null();
}

static int error_from(struct record *r, const json_t *v)
{
	const char *s = json_string_value(v);

	r->connect.error = 0;
	if (json_is_null(v))
		return 0;
	if (!s)
		return -EINVAL;
	r->connect.error = (__u8)text_to_errno(s);
	return r->connect.error ? 0 : -EINVAL;
}

/* SYNs sent: blank when one, since that is what should be. */
static void syns_text(const struct record *r, char *dst, size_t size)
{
	if (r->connect.syn_retransmits == 0)
		snprintf(dst, size, "%s", "");
	else
		snprintf(dst, size, "%d", r->connect.syn_retransmits + 1);
}

static json_t *retrans_json(const struct record *r)
{
	if (r->connect.syn_retransmits == TCPLAT_RETRANS_NONE)
		return json_null();
	return json_integer(r->connect.syn_retransmits);
}

static int retrans_from(struct record *r, const json_t *v)
{
	__u64 n;

	r->connect.syn_retransmits = TCPLAT_RETRANS_NONE;
	if (json_is_null(v))
		return 0;
	if (json_to_uint(v, 32767, &n))
		return -EINVAL;
	r->connect.syn_retransmits = (__s16)n;
	return 0;
}

/* handshake RTT: the kernel has it in whole microseconds */
static void rtt_text(const struct record *r, char *dst, size_t size)
{
	if (r->connect.handshake_rtt_us)
		snprintf(dst, size, "%.3f", r->connect.handshake_rtt_us / 1e3);
	else
		snprintf(dst, size, "%s", "");
}

static json_t *rtt_json(const struct record *r)
{
	if (!r->connect.handshake_rtt_us)
		return json_null();
	return json_integer(r->connect.handshake_rtt_us);
}

static int rtt_from(struct record *r, const json_t *v)
{
	__u64 ns;

	r->connect.handshake_rtt_us = 0;
	if (json_is_null(v))
		return 0;
	if (json_to_ns(v, &ns) || ns / 1000 > ~0U)
		return -EINVAL;
	r->connect.handshake_rtt_us = (__u32)(ns / 1000);
	return 0;
}

/* cgroup */
static void cgroup_text(const struct record *r, char *dst, size_t size)
{
	text_escape(dst, size, r->cgroup, strlen(r->cgroup));
}

static json_t *cgroup_json(const struct record *r)
{
	return json_name(r->cgroup, strlen(r->cgroup));
}

static int cgroup_from(struct record *r, const json_t *v)
{
	r->cgroup = json_string_value(v);
	return r->cgroup ? 0 : -EINVAL;
}

#define CODEC(id) id##_text, id##_json, id##_from

const struct column columns[] = {
	{ "time", "TIME", "time", 12, false, ALL, CODEC(time) },
	{ "elapsed", "TIME(s)", NULL, 8, false, ALL, elapsed_text, NULL, NULL },
	{ "pid", "PID", "pid", 7, true, ALL, CODEC(pid) },
	{ "tid", "TID", "tid", 7, true, ALL, CODEC(tid) },
	{ "comm", "COMM", "comm", 15, false, ALL, CODEC(comm) },
	{ "ip", "IP", "ip", 2, true, ALL, CODEC(ip) },
	{ "laddr", "LADDR", "laddr", 15, false, ALL, CODEC(laddr) },
	{ "lport", "LPORT", "lport", 5, true, ALL, CODEC(lport) },
	{ "raddr", "RADDR", "raddr", 15, false, ALL, CODEC(raddr) },
	{ "rport", "RPORT", "rport", 5, true, ALL, CODEC(rport) },
	{ NULL, NULL, "latency_us", 0, true, ALL, lat_text, lat_json, lat_from },
	{ "outcome", "OUTCOME", "outcome", 19, false, CONNECT, CODEC(outcome) },
	{ "error", "ERROR", "error", 12, false, CONNECT, CODEC(error) },
	{ "syns", "SYNS", NULL, 4, true, CONNECT, syns_text, NULL, NULL },
	{ NULL, NULL, "syn_retransmits", 0, true, CONNECT, NULL, retrans_json, retrans_from },
	{ "rtt", "RTT(ms)", "handshake_rtt_us", 8, true, CONNECT, CODEC(rtt) },
	{ "netns", "NETNS", "netns", 10, true, ALL, CODEC(netns) },
	{ "cgroup", "CGROUP", "cgroup", 20, false, ALL, CODEC(cgroup) },
	{ "lat", "LAT(ms)", NULL, 9, true, ALL, lat_text, NULL, NULL },
	{ "lat2", "LAT(ms)", NULL, 0, false, ALL, lat2_text, NULL, NULL },
	{},
};

const struct column *column_find(const char *name, unsigned kind)
{
	for (const struct column *c = columns; c->header || c->json; c++)
		if (c->name && !strcmp(c->name, name) && c->kinds & 1U << kind)
			return c;
	return NULL;
}

void record_of_key(struct record *r, const struct histogram *h)
{
	const struct tcplat_hist_key *k = &h->key;

	memset(r, 0, sizeof(*r));
	memcpy(r->ev.laddr, k->laddr, sizeof(r->ev.laddr));
	memcpy(r->ev.raddr, k->raddr, sizeof(r->ev.raddr));
	memcpy(r->ev.comm, k->comm, sizeof(r->ev.comm));
	r->ev.kind = k->kind;
	/* A key may have one address without the other; the family is in each. */
	r->ev.ip = (__u8)addr_ip(h->by & TCPLAT_KEY_RADDR ? k->raddr : k->laddr);
	r->ev.pid = k->pid;
	r->ev.netns = k->netns;
	r->ev.lport = k->lport;
	r->ev.rport = k->rport;
	r->connect.outcome = k->outcome;
	r->cgroup = h->cgroup;
}
