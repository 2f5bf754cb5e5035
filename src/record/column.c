// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/column.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/parse.h"
#include "record/text.h"

#define CONNECT (1U << TCPLAT_KIND_CONNECT)
#define PICKUP (1U << TCPLAT_KIND_PICKUP)
#define RTT (1U << TCPLAT_KIND_RTT)
#define ALL (CONNECT | PICKUP | RTT)

/* For what is rare or long anyway. */
__attribute__((format(printf, 3, 4))) static size_t put(char *dst, size_t size, const char *fmt,
							...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(dst, size, fmt, ap);
	va_end(ap);
	return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

/* time */
static size_t time_text(const struct record *r, char *dst, size_t size)
{
	char text[TEXT_TIME_LEN];

	text_time_of_day(text, r->unix_ns);
	return put(dst, size, "%s", text);
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

/* The time of day to the second, as short as can be. */
static size_t clock_text(const struct record *r, char *dst, size_t size)
{
	char text[TEXT_TIME_LEN];

	text_time_of_day(text, r->unix_ns);
	return put(dst, size, "%.8s", text);
}

/* Seconds since the first record; eight wide, so that a blank always follows. */
static size_t elapsed_text(const struct record *r, char *dst, size_t size)
{
	return put(dst, size, "%.3f", (double)r->since_first_ns / 1e9);
}

/* Whole numbers in the event: one line each. */
#define UINT_COLUMN(id, member, max)                                            \
	static size_t id##_text(const struct record *r, char *dst, size_t size) \
	{                                                                       \
		(void)size;                                                     \
		return (size_t)(text_u64(dst, r->member) - dst);                \
	}                                                                       \
	static json_t *id##_json(const struct record *r)                        \
	{                                                                       \
		return json_integer(r->member);                                 \
	}                                                                       \
	static int id##_from(struct record *r, const json_t *v)                 \
	{                                                                       \
		__u64 n;                                                        \
		int err = json_to_uint(v, max, &n);                             \
                                                                                \
		if (!err)                                                       \
			r->member = (__typeof__(r->member))n;                   \
		return err;                                                     \
	}

UINT_COLUMN(pid, ev.pid, ~0U)
UINT_COLUMN(tid, ev.tid, ~0U)
UINT_COLUMN(ip, ev.ip, 6)
UINT_COLUMN(lport, ev.lport, 65535)
UINT_COLUMN(rport, ev.rport, 65535)
UINT_COLUMN(netns, ev.netns, ~0U)

/* comm */
static size_t comm_text(const struct record *r, char *dst, size_t size)
{
	text_escape(dst, size, r->ev.comm, strnlen(r->ev.comm, TCPLAT_COMM_LEN));
	return strlen(dst);
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

/* Addresses, and what they stand for as a key: "10.1.2.0/24" */
static size_t put_net(char dst[COLUMN_TEXT_MIN], const __u8 addr[16], const struct subnet *net)
{
	size_t len = text_addr(dst, addr_ip(addr), addr);

	return net->is_net ? len + put(dst + len, COLUMN_TEXT_MIN - len, "/%u", net->bits) : len;
}

static int net_from(__u8 addr[16], struct subnet *net, const char *s)
{
	const char *slash = s ? strchr(s, '/') : NULL;
	char text[TEXT_ADDR_LEN];
	__u64 bits;
	int ip;

	if (!s || (size_t)(slash ? slash - s : 0) >= sizeof(text))
		return -EINVAL;
	if (!slash)
		return text_to_addr(s, &ip, addr) ? 0 : -EINVAL;
	put(text, sizeof(text), "%.*s", (int)(slash - s), s);
	if (!text_to_addr(text, &ip, addr) || parse_u64(slash + 1, 0, ip == 4 ? 32 : 128, &bits))
		return -EINVAL;
	*net = (struct subnet){ true, (__u8)bits };
	return 0;
}

#define ADDR_COLUMN(id)                                                         \
	static size_t id##_text(const struct record *r, char *dst, size_t size) \
	{                                                                       \
		(void)size;                                                     \
		return put_net(dst, r->ev.id, &r->id##_net);                    \
	}                                                                       \
	static json_t *id##_json(const struct record *r)                        \
	{                                                                       \
		char text[COLUMN_TEXT_MIN];                                     \
                                                                                \
		put_net(text, r->ev.id, &r->id##_net);                          \
		return json_string(text);                                       \
	}                                                                       \
	static int id##_from(struct record *r, const json_t *v)                 \
	{                                                                       \
		return net_from(r->ev.id, &r->id##_net, json_string_value(v));  \
	}

ADDR_COLUMN(laddr)
ADDR_COLUMN(raddr)

/* latency */
static size_t lat_text(const struct record *r, char *dst, size_t size)
{
	(void)size;
	return text_ms(dst, record_latency_ns(r), 3);
}

static size_t lat2_text(const struct record *r, char *dst, size_t size)
{
	(void)size;
	return text_ms(dst, record_latency_ns(r), 2);
}

static json_t *lat_json(const struct record *r)
{
	return json_us(record_latency_ns(r));
}

static int lat_from(struct record *r, const json_t *v)
{
	__u64 ns;
	int err = json_to_ns(v, &ns);

	if (!err)
		record_set_latency(r, ns);
	return err;
}

/* outcome, error */
static size_t outcome_text(const struct record *r, char *dst, size_t size)
{
	return put(dst, size, "%s", outcome_name(r->connect.outcome));
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

static size_t error_text(const struct record *r, char *dst, size_t size)
{
	char buf[16];
	const char *name = text_errno(r->connect.error, buf);

	return put(dst, size, "%s", name ? name : "");
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
static size_t syns_text(const struct record *r, char *dst, size_t size)
{
	if (r->connect.syn_retransmits == 0)
		return put(dst, size, "%s", "");
	else
		return put(dst, size, "%d", r->connect.syn_retransmits + 1);
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
static size_t rtt_text(const struct record *r, char *dst, size_t size)
{
	if (r->connect.handshake_rtt_us)
		return put(dst, size, "%.3f", r->connect.handshake_rtt_us / 1e3);
	else
		return put(dst, size, "%s", "");
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
static size_t cgroup_text(const struct record *r, char *dst, size_t size)
{
	text_escape(dst, size, r->cgroup, strlen(r->cgroup));
	return strlen(dst);
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

/* pickup: what was picked up, and where its latency went */
UINT_COLUMN(bytes, pickup.bytes, ~0U)
UINT_COLUMN(segments, pickup.segments, 65535)

static __u64 app_ns(const struct record *r)
{
	return r->pickup.latency_ns - r->pickup.wake_ns - r->pickup.runq_ns;
}

#define SPLIT_COLUMN(id, ns)                                                    \
	static size_t id##_text(const struct record *r, char *dst, size_t size) \
	{                                                                       \
		(void)size;                                                     \
		dst[0] = 0;                                                     \
		return r->ev.split ? text_ms(dst, ns, 3) : 0;                   \
	}                                                                       \
	static json_t *id##_json(const struct record *r)                        \
	{                                                                       \
		return json_us(ns);                                             \
	}

SPLIT_COLUMN(wake, r->pickup.wake_ns)
SPLIT_COLUMN(runq, r->pickup.runq_ns)
SPLIT_COLUMN(app, app_ns(r))

/* The first of the three that a line has; a line has all or none. */
static int wake_from(struct record *r, const json_t *v)
{
	r->ev.split = 1;
	return json_to_ns(v, &r->pickup.wake_ns);
}

static int runq_from(struct record *r, const json_t *v)
{
	return r->ev.split ? json_to_ns(v, &r->pickup.runq_ns) : -EINVAL;
}

/* Read only to see that the parts add up. */
static int app_from(struct record *r, const json_t *v)
{
	__u64 whole = r->pickup.latency_ns, grain = whole / 1000000000000, sum;

	if (!r->ev.split || json_to_ns(v, &sum) ||
	    __builtin_add_overflow(sum, r->pickup.wake_ns, &sum) ||
	    __builtin_add_overflow(sum, r->pickup.runq_ns, &sum))
		return -EINVAL;
	/* JSON has fifteen digits of each. */
	return sum <= whole + 3 * grain && sum + 3 * grain >= whole ? 0 : -EINVAL;
}

/* rtt: what the kernel makes of its samples, in whole microseconds */
#define KERNEL_US_COLUMN(id, member)                                            \
	static size_t id##_text(const struct record *r, char *dst, size_t size) \
	{                                                                       \
		(void)size;                                                     \
		return text_ms(dst, r->member * 1000ULL, 3);                    \
	}                                                                       \
	static json_t *id##_json(const struct record *r)                        \
	{                                                                       \
		return json_integer(r->member);                                 \
	}                                                                       \
	static int id##_from(struct record *r, const json_t *v)                 \
	{                                                                       \
		__u64 n;                                                        \
		int err = json_to_uint(v, ~0U, &n);                             \
                                                                                \
		if (!err)                                                       \
			r->member = (__u32)n;                                   \
		return err;                                                     \
	}

KERNEL_US_COLUMN(srtt, rtt.srtt_us)
KERNEL_US_COLUMN(min_rtt, rtt.min_rtt_us)

/* part: a histogram's key */
static size_t part_text(const struct record *r, char *dst, size_t size)
{
	return put(dst, size, "%s", part_name(r->part));
}

static json_t *part_json(const struct record *r)
{
	return json_string(part_name(r->part));
}

static int part_from(struct record *r, const json_t *v)
{
	const char *s = json_string_value(v);
	int part = s ? part_from_name(s) : -1;

	r->part = (__u8)part;
	return part < 0 ? -EINVAL : 0;
}

#define CODEC(id) .text = id##_text, .to_json = id##_json, .from_json = id##_from

const struct column columns[] = {
	{ "time", "TIME", "time", 12, false, ALL, CODEC(time) },
	{ "clock", "TIME", NULL, 8, false, ALL, .text = clock_text },
	{ "elapsed", "TIME(s)", NULL, 8, false, ALL, .text = elapsed_text },
	{ "pid", "PID", "pid", 7, true, ALL, CODEC(pid) },
	{ "tid", "TID", "tid", 7, true, ALL, CODEC(tid) },
	{ "comm", "COMM", "comm", 15, false, ALL, CODEC(comm), .flags = COLUMN_NAME },
	{ "ip", "IP", "ip", 2, true, ALL, CODEC(ip) },
	{ "laddr", "LADDR", "laddr", 15, false, ALL, CODEC(laddr) },
	{ "lport", "LPORT", "lport", 5, true, ALL, CODEC(lport) },
	{ "raddr", "RADDR", "raddr", 15, false, ALL, CODEC(raddr) },
	{ "rport", "RPORT", "rport", 5, true, ALL, CODEC(rport) },
	{ NULL, NULL, "latency_us", 0, true, ALL, .to_json = lat_json, .from_json = lat_from },
	{ "wake", "WAKE(ms)", "wake_us", 8, true, PICKUP, CODEC(wake), .flags = COLUMN_SPLIT },
	{ "runq", "RUNQ(ms)", "runq_us", 8, true, PICKUP, CODEC(runq), .flags = COLUMN_SPLIT },
	{ "app", "APP(ms)", "app_us", 9, true, PICKUP, CODEC(app), .flags = COLUMN_SPLIT },
	{ "bytes", "BYTES", "bytes", 7, true, PICKUP, CODEC(bytes) },
	{ "segments", "SEGS", "segments", 4, true, PICKUP, CODEC(segments) },
	{ "part", "PART", "part", 0, false, PICKUP, CODEC(part), .flags = COLUMN_KEY },
	{ "outcome", "OUTCOME", "outcome", 19, false, CONNECT, CODEC(outcome) },
	{ "error", "ERROR", "error", 12, false, CONNECT, CODEC(error) },
	{ "syns", "SYNS", NULL, 4, true, CONNECT, .text = syns_text },
	{ NULL, NULL, "syn_retransmits", 0, true, CONNECT, .to_json = retrans_json,
	  .from_json = retrans_from },
	{ "rtt", "RTT(ms)", "handshake_rtt_us", 8, true, CONNECT, CODEC(rtt) },
	{ "srtt", "SRTT(ms)", "srtt_us", 8, true, RTT, CODEC(srtt) },
	{ "min_rtt", "MIN(ms)", "min_rtt_us", 8, true, RTT, CODEC(min_rtt) },
	{ "netns", "NETNS", "netns", 10, true, ALL, CODEC(netns) },
	{ "cgroup", "CGROUP", "cgroup", 20, false, ALL, CODEC(cgroup), .flags = COLUMN_NAME },
	{ "lat", "LAT(ms)", NULL, 9, true, CONNECT | PICKUP, .text = lat_text },
	{ "rtt", "RTT(ms)", NULL, 9, true, RTT, .text = lat_text },
	{ "lat2", "LAT(ms)", NULL, 0, false, CONNECT | PICKUP, .text = lat2_text },
	{},
};

bool column_of_rows(const struct column *c, unsigned kind)
{
	return c->kinds & 1U << kind && !(c->flags & COLUMN_KEY);
}

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
	if (k->kind == TCPLAT_KIND_CONNECT)
		r->connect.outcome = k->outcome;
	r->part = k->part;
	r->laddr_net = h->laddr_net;
	r->raddr_net = h->raddr_net;
	r->cgroup = h->cgroup;
}
