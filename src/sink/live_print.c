// SPDX-License-Identifier: GPL-2.0-or-later
#include "sink/live.h"

#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "record/text.h"

/* "12:00:01  connects         120.0/s  ": where the details of a line begin. */
#define INDENT 10
#define DETAILS 36
#define WIDTH 80

#define NAME_WIDTH 17 /* IPv4 addresses and comms are shorter */

/* A number of a list, below its header. */
struct number {
	const char *header;
	char text[TEXT_DURATION_LEN];
};

static void put_head(struct out *o, const char *head, const char *what)
{
	out_printf(o, "%-*s%-12s", INDENT, head, what);
}

static void put_none(struct out *o)
{
	out_printf(o, "%12s\n", "none");
}

static void put_rate(struct out *o, __u64 n, const struct tally *t)
{
	double seconds = (double)t->length_ns / 1e9;

	/* A moment without length: nothing can be said, and nothing is. */
	out_printf(o, "%10.1f/s  ", seconds > 0 ? (double)n / seconds : 0);
}

/* "-" where there was no value. */
static void quantile_text(char dst[TEXT_DURATION_LEN], bool any, __u64 ns)
{
	if (any)
		text_duration(dst, ns);
	else
		memcpy(dst, "-", 2);
}

static void put_kind(struct out *o, const char *head, const char *what, const struct tally *t,
		     unsigned kind, __u64 n)
{
	const struct histogram *h = &t->kinds[kind];
	char p50[TEXT_DURATION_LEN], p99[TEXT_DURATION_LEN];

	put_head(o, head, what);
	if (!n) {
		put_none(o);
		return;
	}
	put_rate(o, n, t);
	quantile_text(p50, h->count, histogram_quantile(h, .5));
	quantile_text(p99, h->count, histogram_quantile(h, .99));
	out_printf(o, "p50 %6s  p99 %6s\n", p50, p99);
}

/* "refused 2, timed_out 1", of all but the established ones; in more lines if need be. */
static void put_failures(struct out *o, const struct tally *t, __u64 failed)
{
	size_t at = DETAILS;

	put_head(o, "", "failed");
	if (!failed) {
		put_none(o);
		return;
	}
	put_rate(o, failed, t);
	for (unsigned i = TCPLAT_ESTABLISHED + 1; i < TCPLAT_NR_OUTCOMES; i++) {
		char text[64];
		size_t len;

		if (!t->outcomes[i])
			continue;
		failed -= t->outcomes[i];
		len = (size_t)snprintf(text, sizeof(text), "%s %llu%s", outcome_name(i),
				       t->outcomes[i], failed ? "," : "");
		if (at > DETAILS && at + 1 + len > WIDTH) {
			out_printf(o, "\n%*s", DETAILS, "");
			at = DETAILS;
		}
		out_printf(o, "%s%s", at > DETAILS ? " " : "", text);
		at += len + (at > DETAILS);
	}
	out_printf(o, "\n");
}

static void put_retransmits(struct out *o, const struct tally *t)
{
	put_head(o, "", "retransmits");
	if (!t->retransmits) {
		put_none(o);
		return;
	}
	put_rate(o, t->retransmits, t);
	out_printf(o, "%llu segment%s\n", t->retransmits, t->retransmits == 1 ? "" : "s");
}

static void put_tally(struct out *o, const char *head, const struct tally *t)
{
	__u64 connects = 0;

	for (unsigned i = 0; i < TCPLAT_NR_OUTCOMES; i++)
		connects += t->outcomes[i];
	put_kind(o, head, "connects", t, TCPLAT_KIND_CONNECT, connects);
	put_failures(o, t, connects - t->outcomes[TCPLAT_ESTABLISHED]);
	put_kind(o, "", "round trips", t, TCPLAT_KIND_RTT, t->kinds[TCPLAT_KIND_RTT].count);
	put_retransmits(o, t);
	put_kind(o, "", "pickups", t, TCPLAT_KIND_PICKUP, t->kinds[TCPLAT_KIND_PICKUP].count);
}

static void set_count(struct number *to, const char *header, __u64 n)
{
	to->header = header;
	text_u64(to->text, n);
}

static void set_quantile(struct number *to, const char *header, const struct party *p,
			 unsigned kind, const __u64 quantiles[TCPLAT_NR_KINDS])
{
	to->header = header;
	quantile_text(to->text, p->kinds[kind], quantiles[kind]);
}

#define NUMBERS 7

static void address_numbers(struct number n[NUMBERS], const struct party *p)
{
	set_count(&n[0], "CONNECTS", p->connects);
	set_count(&n[1], "FAILED", p->failed);
	set_quantile(&n[2], "CONN P99", p, TCPLAT_KIND_CONNECT, p->p99);
	set_quantile(&n[3], "RTT P50", p, TCPLAT_KIND_RTT, p->p50);
	set_quantile(&n[4], "RTT P99", p, TCPLAT_KIND_RTT, p->p99);
	set_count(&n[5], "RETRANS", p->retransmits);
	set_quantile(&n[6], "PICKUP P99", p, TCPLAT_KIND_PICKUP, p->p99);
}

static void program_numbers(struct number n[NUMBERS], const struct party *p)
{
	const struct histogram *pickups = p->kinds[TCPLAT_KIND_PICKUP];

	set_count(&n[0], "CONNECTS", p->connects);
	set_count(&n[1], "FAILED", p->failed);
	set_quantile(&n[2], "CONN P99", p, TCPLAT_KIND_CONNECT, p->p99);
	set_quantile(&n[3], "RTT P99", p, TCPLAT_KIND_RTT, p->p99);
	set_count(&n[4], "PICKUPS", pickups ? pickups->count : 0);
	set_quantile(&n[5], "PICKUP P50", p, TCPLAT_KIND_PICKUP, p->p50);
	set_quantile(&n[6], "PICKUP P99", p, TCPLAT_KIND_PICKUP, p->p99);
}

static void address_name(char *dst, size_t size, const __u8 id[16])
{
	char text[TEXT_ADDR_LEN];

	text_addr(text, addr_ip(id), id);
	snprintf(dst, size, "%s", text);
}

static void program_name(char *dst, size_t size, const __u8 id[16])
{
	const char *comm = (const char *)id;

	text_escape(dst, size, comm, strnlen(comm, TCPLAT_COMM_LEN));
	/* Nobody was known to own the socket, or chose to have no name. */
	if (!dst[0])
		memcpy(dst, "-", 2);
}

static void put_name(struct out *o, const char *name)
{
	size_t width = text_width(name);

	out_printf(o, "%s%*s", name, (int)(width < NAME_WIDTH ? NAME_WIDTH - width : 0), "");
}

struct list {
	const char *title, *header;
	void (*name)(char *dst, size_t size, const __u8 id[16]);
	void (*numbers)(struct number n[NUMBERS], const struct party *p);
};

static void put_list(struct out *o, const struct list *list, const struct worst *w)
{
	out_printf(o, "\n%s%s\n", list->title, w->n ? "" : ": none");
	for (size_t i = 0; i < w->n; i++) {
		char name[4 * 4 * TCPLAT_COMM_LEN];
		struct number n[NUMBERS];

		list->numbers(n, w->items[i]);
		if (!i) {
			put_name(o, list->header);
			for (unsigned j = 0; j < NUMBERS; j++)
				out_printf(o, " %s", n[j].header);
			out_printf(o, "\n");
		}
		list->name(name, sizeof(name), w->items[i]->id);
		put_name(o, name);
		for (unsigned j = 0; j < NUMBERS; j++)
			out_printf(o, " %*s", (int)strlen(n[j].header), n[j].text);
		out_printf(o, "\n");
	}
}

void live_print_interval(struct out *o, __u64 unix_ns, const struct tally *t,
			 const struct worst *addresses, const struct worst *programs)
{
	static const struct list of_addresses = { "WORST REMOTE ADDRESSES", "RADDR", address_name,
						  address_numbers };
	static const struct list of_programs = { "WORST PROGRAMS", "COMM", program_name,
						 program_numbers };
	char time[TEXT_TIME_LEN];

	text_time_of_day(time, unix_ns);
	time[strcspn(time, ".")] = 0;
	put_tally(o, time, t);
	put_list(o, &of_addresses, addresses);
	put_list(o, &of_programs, programs);
}

void live_print_run(struct out *o, const struct tally *t)
{
	out_printf(o, "whole run, %.1f s\n", (double)t->length_ns / 1e9);
	put_tally(o, "", t);
}
