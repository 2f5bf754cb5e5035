// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Arbitrary bytes as a recording, through the sinks. What the JSON sink writes
 * must be a recording itself, and give the same output again.
 */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "sink/sink.h"
#include "source/source.h"

enum mode {
	ROWS,
	HISTOGRAM,
	HISTOGRAM_BY_KEYS,
	MODES,
};

struct sinks {
	struct out out[2];
	char *text[2];
	size_t len[2];
	struct sink *json, *people;
};

static void on_record(void *arg, struct record *r)
{
	struct sinks *s = arg;

	s->json->ops->record(s->json, r);
	if (s->people->ops->record)
		s->people->ops->record(s->people, r);
}

static void on_histogram(void *arg, struct histogram *h)
{
	struct sinks *s = arg;

	for (int percent = 25; percent <= 100; percent += 25) {
		__u64 q = histogram_quantile(h, percent / 100.0);

		CHECK(!h->count || (q >= h->min_ns && q <= h->max_ns));
	}
	s->json->ops->histogram(s->json, h);
	if (s->people->ops->histogram)
		s->people->ops->histogram(s->people, h);
}

static struct sink *table_of_everything(struct out *out, enum tcplat_kind kind)
{
	static struct cell cells[TABLE_MAX_CELLS];
	struct table_layout layout = { .cells = cells, .adaptive = true };

	for (const struct column *c = columns; c->header || c->json; c++)
		if (c->name && column_of_rows(c, kind))
			cells[layout.n++] = (struct cell){ .column = c,
							   .header = c->header,
							   .width = c->width,
							   .right = c->right };
	return sink_table_new(out, &layout);
}

static void sinks_open(struct sinks *s, enum tcplat_kind kind, enum mode mode)
{
	for (int i = 0; i < 2; i++) {
		s->out[i].f = open_memstream(&s->text[i], &s->len[i]);
		CHECK(s->out[i].f);
	}
	s->json = sink_json_new(&s->out[0]);
	s->people = mode == ROWS ? table_of_everything(&s->out[1], kind) :
				   sink_hist_new(&s->out[1], "latency", false);
	CHECK(s->json && s->people);
}

static void sinks_close(struct sinks *s)
{
	sink_free(s->json);
	sink_free(s->people);
	for (int i = 0; i < 2; i++)
		CHECK(!out_close(&s->out[i]));
}

/* What went to stderr, which is a stream in memory meanwhile. */
static void check_messages(const char *said, int result)
{
	static const char warning[] = "tcplat: warning: ";
	int errors = 0;

	CHECK(safe_for_terminal(said, true));
	for (const char *s = said, *end; *s; s = end + 1) {
		end = strchr(s, '\n');
		CHECK(end);
		errors += strncmp(s, warning, sizeof(warning) - 1) != 0;
	}
	/* A broken recording is one line, whatever else is told as a warning. */
	CHECK(errors == (result < 0));
}

/* Returns what the JSON sink wrote, or NULL for a recording that is refused. */
static char *replay(const char *data, size_t len, enum tcplat_kind kind, enum mode mode)
{
	struct tcplat_config config = { .hist_step_ns = TCPLAT_HIST_STEP_US, .max_keys = 1 };
	struct sinks s = {};
	struct consumer to = { on_record, on_histogram, &s };
	FILE *real_stdin = stdin, *real_stderr = stderr;
	struct source *source;
	struct summary sum;
	char *said = NULL;
	size_t said_len;
	int n;

	if (mode != ROWS)
		config.output = TCPLAT_OUT_HIST;
	if (mode == HISTOGRAM_BY_KEYS) {
		config.by = TCPLAT_KEY_COMM | TCPLAT_KEY_RADDR | TCPLAT_KEY_CGROUP;
		if (kind != TCPLAT_KIND_RTT)
			config.by |=
				kind == TCPLAT_KIND_CONNECT ? TCPLAT_KEY_OUTCOME : TCPLAT_KEY_PART;
		config.max_keys = 3;
	}
	sinks_open(&s, kind, mode);
	stdin = fmemopen((char *)data, len, "r");
	stderr = open_memstream(&said, &said_len);
	CHECK(stdin && stderr);
	CHECK(!source_replay_new(&source, "-", &config, kind));
	if (s.people->ops->begin)
		s.people->ops->begin(s.people);
	do
		n = source->ops->drain(source, &to);
	while (n > 0);
	source->ops->stop(source);
	CHECK(source->ops->drain(source, &to) == 0);
	source->ops->histograms(source, &to);
	CHECK(source->ops->summary(source, &sum) == (n < 0 ? n : 0));
	if (!n) {
		s.json->ops->summary(s.json, &sum);
		s.people->ops->summary(s.people, &sum);
	}
	source_free(source);
	fclose(stdin);
	fclose(stderr);
	stdin = real_stdin;
	stderr = real_stderr;
	sinks_close(&s);
	check_messages(said, n);
	CHECK(strlen(s.text[0]) == s.len[0] && valid_utf8(s.text[0]));
	CHECK(strlen(s.text[1]) == s.len[1] && safe_for_terminal(s.text[1], true));
	free(said);
	free(s.text[1]);
	if (n == 0)
		return s.text[0];
	free(s.text[0]);
	return NULL;
}

static void both_ways(const char *data, size_t size, enum tcplat_kind kind, enum mode mode)
{
	char *once = replay(data, size, kind, mode), *twice;

	if (!once)
		return;
	twice = replay(once, strlen(once), kind, mode);
	CHECK(twice);
	CHECK(!strcmp(once, twice));
	free(twice);
	free(once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (enum mode mode = ROWS; mode < MODES; mode++) {
		both_ways((const char *)data, size, TCPLAT_KIND_CONNECT, mode);
		both_ways((const char *)data, size, TCPLAT_KIND_PICKUP, mode);
		both_ways((const char *)data, size, TCPLAT_KIND_RTT, mode);
	}
	return 0;
}
