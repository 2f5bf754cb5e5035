// SPDX-License-Identifier: GPL-2.0-or-later
/* Recorded JSON Lines in place of the kernel. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/parse.h"
#include "core/cleanup.h"
#include "core/log.h"
#include "record/column.h"
#include "record/text.h"
#include "source/gather.h"
#include "source/source.h"
#include "tcplat/filter.h"
#include "tcplat/key.h"

#define LINE_MAX_BYTES (1U << 20)
#define BATCH 256

struct replay {
	struct source source;
	FILE *f;
	char *path;
	char *line; /* LINE_MAX_BYTES and a NUL */
	unsigned long line_no;
	enum tcplat_kind kind;
	const struct tcplat_config *cfg;
	struct gather *gather; /* histograms, where they are wanted */
	struct summary sum;    /* the recording's own, with our count of events */
	__u64 events;
	unsigned long others; /* lines of kinds that this view does not show */
	bool filtered;	      /* a filter on records is set */
	bool summed;
	bool ended; /* its end was read */
	bool failed;
};

static struct replay *replay_of(struct source *s)
{
	return (struct replay *)((char *)s - offsetof(struct replay, source));
}

/* Always -EBADMSG; what follows such a line is not read. */
static int bad(struct replay *r, const char *why)
{
	log_error("%s:%lu: %s", r->path, r->line_no, why);
	r->failed = true;
	return -EBADMSG;
}

static int bad_member(struct replay *r, const char *member)
{
	char why[64];

	snprintf(why, sizeof(why), "member \"%.20s\" is missing or not of its form", member);
	return bad(r, why);
}

/* Sums stay what a JSON integer can hold. */
static bool add(__u64 *sum, __u64 n)
{
	return !__builtin_add_overflow(*sum, n, sum) && *sum <= (__u64)INT64_MAX;
}

static int add_count(struct replay *r, const json_t *o, const char *member, __u64 *sum)
{
	__u64 n;

	if (json_to_uint(json_object_get(o, member), INT64_MAX, &n) || !add(sum, n))
		return bad_member(r, member);
	return 0;
}

static int read_record(struct replay *r, const json_t *o, const struct consumer *to)
{
	struct record rec = { .ev.kind = (__u8)r->kind };

	for (const struct column *c = columns; c->header || c->json; c++) {
		const json_t *v = c->json ? json_object_get(o, c->json) : NULL;

		if (!c->json || !column_of_rows(c, r->kind))
			continue;
		if (!v && c->flags & COLUMN_SPLIT && !rec.ev.split)
			continue;
		if (c->from_json(&rec, v))
			return bad_member(r, c->json);
	}
	if (rec.laddr_net.is_net || rec.raddr_net.is_net)
		return bad_member(r, rec.laddr_net.is_net ? "laddr" : "raddr");
	if (rec.ev.ip != addr_ip(rec.ev.raddr))
		return bad_member(r, "ip");
	rec.ev.time_ns = rec.unix_ns;
	if (!tcplat_match_who(&r->cfg->filter, rec.ev.pid, rec.ev.tid, rec.ev.comm) ||
	    !tcplat_match_where(&r->cfg->filter, &rec.ev) ||
	    !tcplat_match_what(&r->cfg->filter, record_value_ns(&rec, r->cfg->rtt_value),
			       record_outcome(&rec)))
		return 0;
	if (r->gather && (r->cfg->rtt_value == TCPLAT_VALUE_JITTER ||
			  r->cfg->rtt_value == TCPLAT_VALUE_RECEIVER))
		return bad(r, "a sample alone does not tell the value asked for");
	if (r->gather) {
		bool full = gather_add(r->gather, &rec) != 0;

		if (!add(full ? &r->sum.lost[TCPLAT_LOST_KEYS_FULL] : &r->events, 1))
			return bad(r, "too many events to count");
		return 0;
	}
	r->events++;
	to->record(to->arg, &rec);
	return 1;
}

static int read_key(struct replay *r, const json_t *o, struct histogram *h)
{
	struct tcplat_config whole = {}; /* no address is cut any more */
	struct record rec = {};
	const char *name;
	bool rest = false;
	json_t *v;

	if (!json_is_object(o))
		return bad_member(r, "key");
	json_object_foreach((json_t *)o, name, v) {
		const struct column *c = column_find(name, r->kind);
		__u32 key = c && c->flags & COLUMN_KEY ? TCPLAT_KEY_PART : key_from_name(name);

		if (!strcmp(name, "rest") && json_is_true(v)) {
			rest = true;
			continue;
		}
		if (!c || !key || c->from_json(&rec, v))
			return bad_member(r, name);
		whole.by |= key;
	}
	rec.ev.kind = (__u8)r->kind;
	tcplat_hist_key_of(&h->key, &rec.ev, &whole, (__u8)record_outcome(&rec));
	h->key.rest = rest;
	h->by = whole.by;
	h->laddr_net = rec.laddr_net;
	h->raddr_net = rec.raddr_net;
	h->key.part = rec.part;
	h->cgroup = rec.cgroup ? rec.cgroup : "";
	return 0;
}

static int read_buckets(struct replay *r, const json_t *a, struct histogram *h)
{
	const json_t *o;
	size_t i;

	if (!json_is_array(a))
		return bad_member(r, "buckets");
	json_array_foreach((json_t *)a, i, o) {
		const json_t *le = json_object_get(o, "le_us");
		unsigned b = TCPLAT_HIST_BUCKETS - 1;
		__u64 ns, before = h->count;

		if (!json_is_null(le)) {
			if (json_to_ns(le, &ns) || !ns)
				return bad_member(r, "buckets");
			b = tcplat_hist_bucket(tcplat_hist_steps(ns - 1, h->step_ns));
			if (histogram_upper(h, b) != ns)
				return bad_member(r, "buckets");
		}
		if (add_count(r, o, "count", &h->count))
			return -EBADMSG;
		h->counts[b] += h->count - before;
	}
	return 0;
}

/* What histograms of round trips have besides. */
static int read_rtt(struct replay *r, const json_t *o, struct histogram *h)
{
	const char *name = json_string_value(json_object_get(o, "value"));
	int value = name ? value_from_name(name) : -1;

	if (value < 0)
		return bad_member(r, "value");
	if (value != r->cfg->rtt_value)
		return bad(r, "a histogram of another value than the one asked for");
	h->value = (__u8)value;
	return add_count(r, o, "retransmits", &h->retransmits);
}

static int read_histogram(struct replay *r, const json_t *o, const struct consumer *to)
{
	const char *metric = json_string_value(json_object_get(o, "metric"));
	const json_t *interval = json_object_get(o, "interval_s");
	struct histogram h = { .step_ns = r->cfg->hist_step_ns };
	const char *time = json_string_value(json_object_get(o, "time"));
	__u64 count = 0;
	int err;

	if (!metric || strcmp(metric, kind_name(r->kind)) || r->cfg->output != TCPLAT_OUT_HIST) {
		r->others++;
		return 0;
	}
	if (r->filtered)
		return bad(r, "a histogram cannot be filtered any more");
	h.key.kind = (__u8)r->kind;
	if (!time || !text_to_time(time, &h.unix_ns))
		return bad_member(r, "time");
	if (!json_is_number(interval) || !(json_number_value(interval) >= 0) ||
	    json_number_value(interval) > 1.8e10)
		return bad_member(r, "interval_s");
	if (r->kind == TCPLAT_KIND_RTT && read_rtt(r, o, &h))
		return -EBADMSG;
	h.interval_ns = (__u64)(json_number_value(interval) * 1e9);
	if (json_to_ns(json_object_get(o, "sum_us"), &h.sum_ns))
		return bad_member(r, "sum_us");
	if (json_to_ns(json_object_get(o, "min_us"), &h.min_ns))
		return bad_member(r, "min_us");
	if (json_to_ns(json_object_get(o, "max_us"), &h.max_ns) || h.max_ns < h.min_ns)
		return bad_member(r, "max_us");
	err = read_key(r, json_object_get(o, "key"), &h);
	if (!err)
		err = read_buckets(r, json_object_get(o, "buckets"), &h);
	if (!err)
		err = add_count(r, o, "count", &count);
	if (err)
		return err;
	if (count != h.count)
		return bad_member(r, "count");
	/* The parts of a latency are no further events. */
	if (h.key.part == TCPLAT_PART_TOTAL && !add(&r->events, count))
		return bad_member(r, "count");
	to->histogram(to->arg, &h);
	return 1;
}

static int read_summary(struct replay *r, const json_t *o)
{
	const json_t *lost = json_object_get(o, "lost");
	int err = add_count(r, o, "unseen_start", &r->sum.unseen_start);

	if (!err)
		err = add_count(r, o, "still_open", &r->sum.still_open);
	for (int i = 0; !err && i < TCPLAT_NR_LOST; i++)
		err = add_count(r, lost, lost_name(i), &r->sum.lost[i]);
	r->summed = true;
	return err;
}

static int read_line(struct replay *r, size_t len, const struct consumer *to)
{
	json_error_t why;
	json_t *o = json_loadb(r->line, len, JSON_REJECT_DUPLICATES, &why);
	const char *event = json_string_value(json_object_get(o, "event"));
	int err;

	if (!o)
		err = bad(r, why.text);
	else if (!event)
		err = bad_member(r, "event");
	else if (!strcmp(event, "summary"))
		err = read_summary(r, o);
	else if (!strcmp(event, "histogram"))
		err = read_histogram(r, o, to);
	else if (!strcmp(event, kind_name(r->kind)))
		err = read_record(r, o, to);
	else
		err = (int)(r->others++, 0);
	json_decref(o);
	return err;
}

/* 1 with a line in r->line, 0 at the end of the file, or -EBADMSG. */
static int next_line(struct replay *r, size_t *len)
{
	int c = 0;

	for (*len = 0; *len < LINE_MAX_BYTES && c != '\n'; r->line[(*len)++] = (char)c) {
		c = getc_unlocked(r->f);
		if (c == EOF)
			break;
	}
	if (ferror(r->f))
		return bad(r, strerror(errno));
	if (!*len)
		return 0;
	r->line[*len] = 0;
	r->line_no++;
	return *len < LINE_MAX_BYTES ? 1 : bad(r, "line too long");
}

static int replay_drain(struct source *s, const struct consumer *to)
{
	struct replay *r = replay_of(s);

	for (int lines = 0; !r->failed && lines < BATCH; lines++) {
		size_t len;
		int err = next_line(r, &len);

		if (err <= 0) {
			r->ended = !err;
			return err ? err : lines;
		}
		if (strspn(r->line, " \t\r\n") >= len)
			continue;
		err = read_line(r, len, to);
		if (err < 0)
			return err;
	}
	return r->failed ? 0 : BATCH;
}

static int replay_start(struct source *s)
{
	(void)s;
	return 0;
}

static int replay_fd(struct source *s)
{
	(void)s;
	return -1;
}

static int replay_histograms(struct source *s, const struct consumer *to)
{
	struct replay *r = replay_of(s);

	if (r->gather)
		gather_take(r->gather, to);
	return 0;
}

static void replay_stop(struct source *s)
{
	struct replay *r = replay_of(s);

	if (r->ended && !r->summed)
		log_warning("%s: ends without a summary: the recording is not whole", r->path);
	if (r->others)
		log_warning("%s: %lu lines are not of this view and were passed over", r->path,
			    r->others);
}

static int replay_summary(struct source *s, struct summary *sum)
{
	struct replay *r = replay_of(s);

	*sum = r->sum;
	sum->events = r->events;
	return r->failed ? -EBADMSG : 0;
}

static int replay_trace_task(struct source *s, int pidfd)
{
	(void)s;
	(void)pidfd;
	return -ENOTSUP;
}

static void replay_free(struct source *s)
{
	struct replay *r = replay_of(s);

	gather_free(r->gather);
	if (r->f && r->f != stdin)
		fclose(r->f);
	free(r->path);
	free(r->line);
	free(r);
}

static const struct source_ops replay_ops = {
	.start = replay_start,
	.fd = replay_fd,
	.drain = replay_drain,
	.histograms = replay_histograms,
	.stop = replay_stop,
	.summary = replay_summary,
	.trace_task = replay_trace_task,
	.free = replay_free,
};

static bool any_filter(const struct tcplat_filter *f)
{
	return f->pid.n || f->tid.n || f->netns.n || f->n_comms || f->laddr.n || f->raddr.n ||
	       f->lport.active || f->rport.active || f->min_ns || f->outcomes || f->ip;
}

int source_replay_new(struct source **source, const char *path, const struct tcplat_config *config,
		      enum tcplat_kind kind)
{
	struct replay *r = calloc(1, sizeof(*r));
	int err = -ENOMEM;

	if (!r)
		return -ENOMEM;
	r->source.ops = &replay_ops;
	r->cfg = config;
	r->kind = kind;
	r->filtered = any_filter(&config->filter);
	r->path = strdup(strcmp(path, "-") ? path : "standard input");
	r->line = malloc(LINE_MAX_BYTES + 1);
	if (!r->path || !r->line)
		goto fail;
	if (config->output == TCPLAT_OUT_HIST) {
		r->gather = gather_new(config);
		if (!r->gather)
			goto fail;
	}
	r->f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	if (!r->f) {
		err = -errno;
		log_error("--replay: cannot read '%s': %s", path, strerror(errno));
		goto fail;
	}
	*source = &r->source;
	return 0;
fail:
	replay_free(&r->source);
	return err;
}
