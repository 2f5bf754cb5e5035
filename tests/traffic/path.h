/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens to a packet on the delay line: lost, held back, put in order,
 * sent when it is due. Private to delayline.c, which has the devices, the
 * orders and the loop.
 */
#ifndef TRAFFIC_PATH_H
#define TRAFFIC_PATH_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000ULL
#define QUEUE_MAX 65536u
#define FLOWS_MAX 65536u /* a power of two */
#define PACKET_MAX 65536u

enum { AB, BA, DIRECTIONS };
enum setting { DELAY, JITTER, LOSS, REORDER, REORDER_BY, DUP, DROP_FIRST, SETTINGS };
enum {
	FORWARDED,
	DROPPED_RANDOM,
	DROPPED_SYN,
	DROPPED_FULL,
	DROPPED_WRITE,
	REORDERED,
	DUPLICATED,
	IGNORED,
	COUNTERS
};

static const char *const counter_names[COUNTERS] = {
	"forwarded",	 "dropped_random", "dropped_syn", "dropped_full",
	"dropped_write", "reordered",	   "duplicated",  "ignored",
};

/* Times are kept in ns, shares in millionths. */
struct packet {
	uint64_t due;
	uint64_t order; /* keeps packets due at the same time in order */
	size_t len;
	unsigned char data[];
};

struct flow {
	uint64_t key; /* 0: free */
	uint64_t seen;
};

struct direction {
	int in, out;
	uint64_t set[SETTINGS];
	uint64_t count[COUNTERS];
	uint64_t random;
	uint64_t last_due;
	uint64_t order;
	uint64_t late_max;
	size_t queued;
	struct packet *heap[QUEUE_MAX];
	struct flow flows[FLOWS_MAX];
};

static struct direction path[DIRECTIONS];
static bool held;
static uint64_t released_at;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static bool earlier(const struct packet *a, const struct packet *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void heap_push(struct direction *d, struct packet *p)
{
	size_t i = d->queued++;

	while (i > 0 && earlier(p, d->heap[(i - 1) / 2])) {
		d->heap[i] = d->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	d->heap[i] = p;
}

static struct packet *heap_pop(struct direction *d)
{
	struct packet *first = d->heap[0], *last = d->heap[--d->queued];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < d->queued) {
		if (child + 1 < d->queued && earlier(d->heap[child + 1], d->heap[child]))
			child++;
		if (!earlier(d->heap[child], last))
			break;
		d->heap[i] = d->heap[child];
		i = child;
	}
	d->heap[i] = last;
	return first;
}

static uint64_t fnv1a(uint64_t hash, const unsigned char *p, size_t len)
{
	while (len--)
		hash = (hash ^ *p++) * 0x100000001b3ULL;
	return hash;
}

/* The TCP header, if this is the packet that carries it, and a key of the 4-tuple. */
static const unsigned char *tcp_header(const unsigned char *p, size_t len, uint64_t *key)
{
	bool v4 = p[0] >> 4 == 4;
	size_t header = v4 ? (size_t)(p[0] & 15) * 4 : 40;

	if ((v4 ? p[9] : p[6]) != IPPROTO_TCP || len < header + 20)
		return NULL;
	if (v4 && ((p[6] & 0x1f) || p[7])) /* a later fragment */
		return NULL;
	*key = v4 ? fnv1a(0xcbf29ce484222325ULL, p + 12, 8) :
		    fnv1a(0xcbf29ce484222325ULL, p + 8, 32);
	*key = fnv1a(*key, p + header, 4) | 1;
	return p + header;
}

/*
 * Whether this is one of the first n SYNs (a to b) or SYN-ACKs (b to a) of its
 * connection. Once the table is full no further connection is touched.
 */
static bool drop_handshake(struct direction *d, const unsigned char *p, size_t len)
{
	const unsigned char *tcp;
	uint64_t key;

	if (!d->set[DROP_FIRST])
		return false;
	tcp = tcp_header(p, len, &key);
	if (!tcp || (tcp[13] & 0x12) != (d == &path[AB] ? 0x02 : 0x12))
		return false;
	for (size_t i = 0; i < FLOWS_MAX; i++) {
		struct flow *f = &d->flows[(key + i) % FLOWS_MAX];

		if (f->key && f->key != key)
			continue;
		f->key = key;
		return f->seen++ < d->set[DROP_FIRST];
	}
	return false;
}

/*
 * Link-local chatter (MLD, router solicitation) is no part of the path: it would
 * take random numbers meant for the traffic, and the same seed would no longer
 * lose the same packets. A packet without hops left crosses no path either.
 */
static bool crosses(const unsigned char *p, size_t len)
{
	if (len >= 20 && p[0] >> 4 == 4)
		return p[8] && p[16] >> 4 != 14;
	return len >= 40 && p[0] >> 4 == 6 && p[7] && p[24] != 0xff;
}

static void enqueue(struct direction *d, const unsigned char *data, size_t len, uint64_t due)
{
	struct packet *p = d->queued < QUEUE_MAX ? malloc(sizeof(*p) + len) : NULL;

	if (!p) {
		d->count[DROPPED_FULL]++;
		return;
	}
	p->due = due;
	p->order = d->order++;
	p->len = len;
	memcpy(p->data, data, len);
	heap_push(d, p);
}

static void take(struct direction *d, const unsigned char *data, size_t len)
{
	uint64_t due, jitter = d->set[JITTER], roll[4];

	if (!crosses(data, len)) {
		d->count[IGNORED]++;
		return;
	}
	/* Always all four, so that no setting changes the rolls of another. */
	for (size_t i = 0; i < 4; i++)
		roll[i] = next_random(&d->random);
	if (drop_handshake(d, data, len)) {
		d->count[DROPPED_SYN]++;
		return;
	}
	if (roll[0] % 1000000 < d->set[LOSS]) {
		d->count[DROPPED_RANDOM]++;
		return;
	}
	due = d->set[DELAY] + roll[1] % (2 * jitter + 1);
	due = now_ns() + (due > jitter ? due - jitter : 0);
	/* A path keeps its order, whatever the jitter or a new, shorter delay. */
	if (due < d->last_due)
		due = d->last_due;
	if (roll[2] % 1000000 < d->set[REORDER]) {
		d->count[REORDERED]++;
		due += d->set[REORDER_BY];
	} else {
		d->last_due = due;
	}
	enqueue(d, data, len, due);
	if (roll[3] % 1000000 < d->set[DUP]) {
		d->count[DUPLICATED]++;
		enqueue(d, data, len, due);
	}
}

static void read_packets(struct direction *d, int limit)
{
	static unsigned char buf[PACKET_MAX];

	for (int i = 0; i < limit; i++) {
		ssize_t n = read(d->in, buf, sizeof(buf));

		if (n <= 0)
			return;
		take(d, buf, (size_t)n);
	}
}

static void send_due(struct direction *d)
{
	uint64_t now;

	while (!held && d->queued && d->heap[0]->due <= (now = now_ns())) {
		struct packet *p = heap_pop(d);
		uint64_t expected = p->due > released_at ? p->due : released_at;

		if (now > expected && now - expected > d->late_max)
			d->late_max = now - expected;
		d->count[write(d->out, p->data, p->len) < 0 ? DROPPED_WRITE : FORWARDED]++;
		free(p);
	}
}

#endif
