// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/http_accept.h"

#include <string.h>
#include <strings.h>

#include "core/cleanup.h"

#define EVERYTHING 1 /* how close a range is to what we offer */
#define TYPE 2
#define NAMED 3

/* A part of a header, not terminated. */
struct span {
	const char *at;
	size_t len;
};

static struct span trimmed(const char *from, const char *to)
{
	while (from < to && strchr(" \t", *from))
		from++;
	while (to > from && strchr(" \t", to[-1]))
		to--;
	return (struct span){ from, (size_t)(to - from) };
}

static bool is(struct span s, const char *word)
{
	return s.len == strlen(word) && !strncasecmp(s.at, word, s.len);
}

/* What stands before the next such character; *at behind it, or NULL at the end. */
static struct span next_part(const char **at, const char *end, char separator)
{
	const char *from = *at, *p;
	bool quoted = false;

	for (p = from; p < end && (quoted || *p != separator); p++) {
		if (*p == '"')
			quoted = !quoted;
		else if (quoted && *p == '\\' && p + 1 < end)
			p++;
	}
	*at = p < end ? p + 1 : NULL;
	return trimmed(from, p);
}

/* "0.123": up to three digits; -1 for what is none. */
static int parse_q(struct span s)
{
	int q, unit = 100;

	if (!s.len || (*s.at != '0' && *s.at != '1') || s.len > 5)
		return -1;
	q = (*s.at - '0') * 1000;
	if (s.len > 1 && s.at[1] != '.')
		return -1;
	for (size_t i = 2; i < s.len; i++, unit /= 10) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return -1;
		q += (s.at[i] - '0') * unit;
	}
	return q <= 1000 ? q : -1;
}

struct range {
	struct span name, version;
	int q;
};

/* "type/subtype; version=1.0.0; q=0.5"; of other parameters nothing depends. */
static struct range parse_range(struct span s)
{
	const char *at = s.at, *end = s.at + s.len;
	struct range r = { .name = next_part(&at, end, ';'), .q = 1000 };

	while (at) {
		struct span part = next_part(&at, end, ';'), name, value;
		const char *eq = memchr(part.at, '=', part.len);

		if (!eq)
			continue;
		name = trimmed(part.at, eq);
		value = trimmed(eq + 1, part.at + part.len);
		if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"')
			value = (struct span){ value.at + 1, value.len - 2 };
		if (is(name, "q"))
			r.q = parse_q(value);
		else if (is(name, "version"))
			r.version = value;
	}
	return r;
}

/* How close the range is to a format; 0: it does not mean it. */
static int closeness(const struct range *r, enum http_format format)
{
	static const struct {
		const char *name, *type, *versions[3];
	} offers[FORMATS] = {
		[FORMAT_TEXT] = { "text/plain", "text/*", { "0.0.4" } },
		/* What changed from the draft to 1.0.0 does not concern what we write. */
		[FORMAT_OPENMETRICS] = { "application/openmetrics-text",
					 "application/*",
					 { "1.0.0", "0.0.1" } },
	};

	if (is(r->name, "*/*"))
		return EVERYTHING;
	if (is(r->name, offers[format].type))
		return TYPE;
	if (!is(r->name, offers[format].name))
		return 0;
	if (!r->version.at)
		return NAMED;
	for (size_t i = 0; i < ARRAY_SIZE(offers[format].versions); i++)
		if (offers[format].versions[i] && is(r->version, offers[format].versions[i]))
			return NAMED;
	return 0;
}

void http_accept_add(struct http_accept *a, const char *header)
{
	const char *at = header, *end = header + strlen(header);

	while (at) {
		struct range r = parse_range(next_part(&at, end, ','));

		/* A range that cannot be understood was not said. */
		if (r.q < 0)
			continue;
		for (int f = 0; f < FORMATS; f++) {
			int close = closeness(&r, (enum http_format)f);

			if (!close || close < a->of[f].closeness)
				continue;
			/* Two versions of one: what counts is the one it likes better. */
			if (close > a->of[f].closeness || r.q > a->of[f].q)
				a->of[f].q = r.q;
			a->of[f].closeness = close;
		}
	}
}

enum http_format http_accept_format(const struct http_accept *a)
{
	int text = a->of[FORMAT_TEXT].q, open = a->of[FORMAT_OPENMETRICS].q;

	if (open > text)
		return FORMAT_OPENMETRICS;
	if (open && open == text && a->of[FORMAT_OPENMETRICS].closeness == NAMED)
		return FORMAT_OPENMETRICS;
	return FORMAT_TEXT;
}
