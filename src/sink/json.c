// SPDX-License-Identifier: GPL-2.0-or-later
/* JSON Lines: one object for each record, histogram, and the summary. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/parse.h"
#include "core/cleanup.h"
#include "record/text.h"
#include "sink/sink.h"

static int write_out(const char *s, size_t len, void *out)
{
	out_write(out, s, len);
	return 0;
}

/* Steals the object. Without memory for it the line is an error, not a gap. */
static void put_line(struct sink *s, json_t *o, bool complete)
{
	if (!o || !complete || json_dump_callback(o, write_out, s->out, JSON_LINE)) {
		if (!s->out->err)
			s->out->err = -ENOMEM;
	} else {
		out_write(s->out, "\n", 1);
	}
	json_decref(o);
}

static void record(struct sink *s, const struct record *r)
{
	json_t *o = json_object();
	int bad = json_object_set_new_nocheck(o, "event", json_string(kind_name(r->ev.kind)));

	for (const struct column *c = columns; c->header || c->json; c++)
		if (c->json && column_of_rows(c, r->ev.kind) &&
		    (r->ev.split || !(c->flags & COLUMN_SPLIT)))
			bad |= json_object_set_new_nocheck(o, c->json, c->to_json(r));
	put_line(s, o, !bad);
}

static json_t *key_json(const struct histogram *h)
{
	json_t *o = json_object();
	struct record r;

	record_of_key(&r, h);
	for (__u32 bit = 1; bit < 1U << TCPLAT_NR_KEYS; bit <<= 1) {
		const struct column *c = column_find(key_name(bit), h->key.kind);

		if (h->by & bit && json_object_set_new_nocheck(o, c->json, c->to_json(&r))) {
			json_decref(o);
			return NULL;
		}
	}
	/* Stands for all that found no room. */
	if (h->key.rest && json_object_set_new_nocheck(o, "rest", json_true())) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static json_t *buckets_json(const struct histogram *h)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < TCPLAT_HIST_BUCKETS; i++) {
		__u64 upper = histogram_upper(h, i);

		if (!h->counts[i])
			continue;
		if (json_array_append_new(a,
					  json_pack("{s:o, s:I}", "le_us",
						    upper == ~0ULL ? json_null() : json_us(upper),
						    "count", (json_int_t)h->counts[i]))) {
			json_decref(a);
			return NULL;
		}
	}
	return a;
}

static void histogram(struct sink *s, const struct histogram *h)
{
	static const struct {
		const char *name;
		double p;
	} quantiles[] = {
		{ "p50_us", .5 }, { "p90_us", .9 }, { "p99_us", .99 }, { "p999_us", .999 }
	};
	char time[TEXT_TIME_LEN];
	json_t *o;
	int bad = 0;

	text_rfc3339(time, h->unix_ns);
	o = json_pack("{s:s, s:s, s:s, s:f, s:o, s:I, s:o, s:o, s:o}", "event", "histogram",
		      "metric", kind_name(h->key.kind), "time", time, "interval_s",
		      round((double)h->interval_ns / 1e6) / 1e3, "key", key_json(h), "count",
		      (json_int_t)h->count, "sum_us", json_us(h->sum_ns), "min_us",
		      json_us(h->min_ns), "max_us", json_us(h->max_ns));
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++)
		bad |= json_object_set_new_nocheck(o, quantiles[i].name,
						   json_us(histogram_quantile(h, quantiles[i].p)));
	if (h->key.kind == TCPLAT_KIND_RTT) {
		bad |= json_object_set_new_nocheck(o, "value", json_string(value_name(h->value)));
		bad |= json_object_set_new_nocheck(o, "retransmits",
						   json_integer((json_int_t)h->retransmits));
	}
	bad |= json_object_set_new_nocheck(o, "buckets", buckets_json(h));
	put_line(s, o, !bad);
}

static void summary(struct sink *s, const struct summary *sum)
{
	json_t *lost = json_object();
	int bad = 0;

	for (int i = 0; i < TCPLAT_NR_LOST; i++)
		bad |= json_object_set_new_nocheck(lost, lost_name(i),
						   json_integer((json_int_t)sum->lost[i]));
	put_line(s,
		 json_pack("{s:s, s:I, s:I, s:I, s:o}", "event", "summary", "events",
			   (json_int_t)sum->events, "unseen_start", (json_int_t)sum->unseen_start,
			   "still_open", (json_int_t)sum->still_open, "lost", lost),
		 !bad);
}

static void json_free(struct sink *s)
{
	free(s);
}

static const struct sink_ops json_ops = {
	.record = record,
	.histogram = histogram,
	.summary = summary,
	.free = json_free,
};

struct sink *sink_json_new(struct out *out)
{
	struct sink *s = calloc(1, sizeof(*s));

	if (s) {
		s->ops = &json_ops;
		s->out = out;
	}
	return s;
}
