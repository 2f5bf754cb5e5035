// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Time across, a column for each interval; latency down, on a logarithmic
 * scale with the lowest in the top row; what each cell counts as a shade. On a
 * terminal the picture is drawn anew after each interval, and what no longer
 * fits leaves on the left; elsewhere each full picture is followed by the next.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "record/text.h"
#include "sink/sink.h"
#include "sink/terminal.h"

#define MARGIN 10 /* a latency and the line that is the axis */
#define MOST_ROWS 20
#define LEAST_ROWS 2
#define LINES_BESIDE 4 /* title, axis, times, legend */

struct column_of_time {
	__u64 end_ns; /* of the interval, unix time */
	__u64 length_ns;
	__u64 counts[TCPLAT_HIST_BUCKETS];
};

struct heatmap {
	struct sink sink;
	const char *title;
	struct terminal terminal;
	struct column_of_time *columns; /* the oldest first */
	unsigned n, room;
	__u64 step_ns;
	__u64 last_ns;	/* end of the last interval, or when tracing began */
	bool began;	/* an interval, whose end is to come */
	bool any;	/* something was counted in this run */
	bool printed;	/* a picture at least */
	unsigned drawn; /* lines of the picture that is on the terminal */
};

/* What is the same for all cells of a picture. */
struct scale {
	unsigned buckets; /* in a row: a power of two */
	unsigned first, last;
	__u64 most; /* that a cell counts */
	__u64 total;
	unsigned shades; /* without the blank, which is 0 */
	const char *const *glyphs;
	bool colour;
};

static struct heatmap *heatmap_of(struct sink *s)
{
	return (struct heatmap *)((char *)s - offsetof(struct heatmap, sink));
}

/* Bucket 0 is below one unit, and alone; powers of two units begin a row. */
static unsigned row_of(unsigned bucket, unsigned buckets)
{
	return (bucket + buckets - 1) / buckets;
}

static unsigned first_bucket(unsigned row, unsigned buckets)
{
	return row ? (row - 1) * buckets + 1 : 0;
}

static __u64 cell(const struct heatmap *m, const struct scale *c, unsigned column, unsigned row)
{
	const __u64 *counts = m->columns[column].counts;
	unsigned end = first_bucket(row + 1, c->buckets);
	__u64 sum = 0;

	for (unsigned i = first_bucket(row, c->buckets); i < end && i < TCPLAT_HIST_BUCKETS; i++)
		sum += counts[i];
	return sum;
}

/* The finest rows that fit, of those that are used. */
static void choose_rows(const struct heatmap *m, struct scale *c)
{
	unsigned low = TCPLAT_HIST_BUCKETS, high = 0, room = MOST_ROWS;

	for (unsigned i = 0; i < TCPLAT_HIST_BUCKETS; i++) {
		__u64 sum = 0;

		for (unsigned column = 0; column < m->n; column++)
			sum += m->columns[column].counts[i];
		c->total += sum;
		if (sum && i < low)
			low = i;
		if (sum)
			high = i;
	}
	/* The cursor is in the line below. */
	if (m->terminal.live && m->terminal.height < room + LINES_BESIDE + 1)
		room = m->terminal.height > LEAST_ROWS + LINES_BESIDE + 1 ?
			       m->terminal.height - LINES_BESIDE - 1 :
			       LEAST_ROWS;
	c->buckets = 1;
	while (c->total && row_of(high, c->buckets) - row_of(low, c->buckets) >= room)
		c->buckets *= 2;
	c->first = row_of(low, c->buckets);
	c->last = row_of(high, c->buckets);
}

static void choose_shades(const struct heatmap *m, struct scale *c)
{
	static const char *const blocks[] = { " ", "░", "▒", "▓", "█" };
	static const char *const ascii[] = { " ", ".", ":", "-", "=", "+", "*", "#", "%", "@" };

	c->glyphs = m->terminal.utf8 ? blocks : ascii;
	c->shades = (m->terminal.utf8 ? ARRAY_SIZE(blocks) : ARRAY_SIZE(ascii)) - 1;
	c->colour = m->terminal.colour;
	for (unsigned row = c->first; row <= c->last; row++)
		for (unsigned column = 0; column < m->n; column++) {
			__u64 count = cell(m, c, column, row);

			if (count > c->most)
				c->most = count;
		}
}

/* By the logarithm: one slow reply is to be seen beside a million quick ones. */
static unsigned shade_of(const struct scale *c, __u64 count)
{
	unsigned shade;

	if (!count)
		return 0;
	shade = 1 + (unsigned)(c->shades * log1p((double)count) / log1p((double)c->most));
	return shade < c->shades ? shade : c->shades;
}

/* The lowest count of a shade; where it has none, the next shade's. */
static __u64 least_of(const struct scale *c, unsigned shade)
{
	__u64 low = 1, high = c->most + 1;

	while (low < high) {
		__u64 middle = low + (high - low) / 2;

		if (shade_of(c, middle) >= shade)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Dark red to bright yellow, in the colours that 256-colour terminals share. */
static unsigned colour_of(const struct scale *c, unsigned shade)
{
	static const __u8 ramp[] = { 52, 88, 124, 160, 196, 202, 208, 214, 226 };

	return ramp[(shade - 1) * (ARRAY_SIZE(ramp) - 1) / (c->shades - 1)];
}

/* *last: the shade whose colour is in force, 0: none. */
static void put_shade(struct out *o, const struct scale *c, unsigned shade, unsigned *last)
{
	if (c->colour && shade && shade != *last) {
		out_printf(o, "\x1b[38;5;%um", colour_of(c, shade));
		*last = shade;
	}
	out_printf(o, "%s", c->glyphs[shade]);
}

static void end_colour(struct out *o, unsigned *last)
{
	if (*last)
		out_printf(o, "\x1b[0m");
	*last = 0;
}

static void put_row(const struct heatmap *m, const struct scale *c, unsigned row)
{
	struct out *o = m->sink.out;
	char edge[TEXT_DURATION_LEN];
	unsigned end = m->n, last = 0;

	text_duration(edge, tcplat_hist_lower(first_bucket(row, c->buckets)) * m->step_ns);
	out_printf(o, "%*s|", MARGIN - 1, edge);
	/* No blanks at a line's end. */
	while (end && !cell(m, c, end - 1, row))
		end--;
	for (unsigned column = 0; column < end; column++)
		put_shade(o, c, shade_of(c, cell(m, c, column, row)), &last);
	end_colour(o, &last);
	out_printf(o, "\n");
}

/* Three digits: no timer is so exact that the others would tell anything. */
static __u64 rounded(__u64 ns)
{
	__u64 grain = 1;

	while (ns / grain >= 1000)
		grain *= 10;
	return (ns + grain / 2) / grain * grain;
}

/* Of all but the newest, which at the end of a run is cut short, as far as they are known. */
static __u64 usual_length(const struct heatmap *m)
{
	__u64 sum = 0, n = 0;

	for (unsigned i = 0; i + 1 < m->n; i++) {
		sum += m->columns[i].length_ns;
		n += m->columns[i].length_ns != 0;
	}
	return rounded(n ? sum / n : m->columns[m->n - 1].length_ns);
}

static void put_title(const struct heatmap *m, const struct scale *c)
{
	char each[TEXT_DURATION_LEN];

	text_duration(each, usual_length(m));
	out_printf(m->sink.out, "%s, each column %s, total %llu\n", m->title, each, c->total);
}

/* Seconds are enough below a column; 8 characters. */
static void start_text(char dst[TEXT_TIME_LEN], const struct column_of_time *c)
{
	text_time_of_day(dst, c->end_ns - c->length_ns);
	dst[strcspn(dst, ".")] = 0;
}

/* When the first column and the last one begin; apart if there is room. */
static void put_times(const struct heatmap *m)
{
	char first[TEXT_TIME_LEN], last[TEXT_TIME_LEN];
	struct out *o = m->sink.out;
	int indent = MARGIN, width;

	start_text(first, &m->columns[0]);
	start_text(last, &m->columns[m->n - 1]);
	width = (int)(strlen(first) + strlen(last));
	if (m->n == 1)
		out_printf(o, "%*s%s\n", indent, "", first);
	else if ((int)m->n > width)
		out_printf(o, "%*s%s%*s\n", indent, "", first, (int)(m->n - strlen(first)), last);
	else
		out_printf(o, "%*s%s - %s\n",
			   indent + width + 3 > (int)m->terminal.width ? 0 : indent, "", first,
			   last);
}

#define RANGE_LEN (2 * TEXT_U64_LEN)

/* The counts of a shade as "3-7", or only the lowest; false: it has none. */
static bool range_text(char dst[RANGE_LEN], const struct scale *c, unsigned shade, bool whole)
{
	__u64 from = least_of(c, shade), to = c->most;

	if (shade < c->shades)
		to = least_of(c, shade + 1) - 1;
	if (from > to)
		return false;
	dst = text_u64(dst, from);
	if (whole && from < to) {
		*dst++ = '-';
		text_u64(dst, to);
	}
	return true;
}

static size_t legend_width(const struct scale *c, bool whole)
{
	char range[RANGE_LEN];
	size_t width = MARGIN;

	for (unsigned shade = 1; shade <= c->shades; shade++)
		if (range_text(range, c, shade, whole))
			width += strlen(range) + 4;
	return width - 2;
}

static void put_legend(const struct heatmap *m, const struct scale *c)
{
	bool whole = legend_width(c, true) <= m->terminal.width;
	struct out *o = m->sink.out;
	const char *before = " ";
	char range[RANGE_LEN];

	out_printf(o, "%*s", MARGIN - 1, whole ? "count" : "at least");
	for (unsigned shade = 1; shade <= c->shades; shade++) {
		unsigned last = 0;

		if (!range_text(range, c, shade, whole))
			continue;
		out_printf(o, "%s", before);
		put_shade(o, c, shade, &last);
		end_colour(o, &last);
		out_printf(o, " %s", range);
		before = "  ";
	}
	out_printf(o, "\n");
}

/* Nothing, in all columns; which time that was matters if there was more. */
static unsigned put_none(const struct heatmap *m)
{
	char first[TEXT_TIME_LEN], last[TEXT_TIME_LEN];

	out_printf(m->sink.out, "%s: none", m->title);
	if (m->any && m->n) {
		start_text(first, &m->columns[0]);
		start_text(last, &m->columns[m->n - 1]);
		out_printf(m->sink.out, ", %s - %s", first, last);
	}
	out_printf(m->sink.out, "\n");
	return 1;
}

/* Returns how many lines it has. */
static unsigned put_picture(const struct heatmap *m)
{
	struct scale c = {};

	choose_rows(m, &c);
	if (!c.total)
		return put_none(m);
	choose_shades(m, &c);
	put_title(m, &c);
	for (unsigned row = c.first; row <= c.last; row++)
		put_row(m, &c, row);
	out_printf(m->sink.out, "%*s", MARGIN, "+");
	for (unsigned column = 0; column < m->n; column++)
		out_printf(m->sink.out, "-");
	out_printf(m->sink.out, "\n");
	put_times(m);
	put_legend(m, &c);
	return c.last - c.first + 1 + LINES_BESIDE;
}

/* Room for one more column; what the width does not hold any more is dropped. */
static int make_room(struct heatmap *m, unsigned width)
{
	if (m->room < width) {
		struct column_of_time *more = realloc(m->columns, width * sizeof(m->columns[0]));

		if (!more)
			return -ENOMEM;
		m->columns = more;
		m->room = width;
	}
	if (m->n >= width) {
		unsigned drop = m->n - width + 1;

		m->n -= drop;
		memmove(m->columns, m->columns + drop, m->n * sizeof(m->columns[0]));
	}
	return 0;
}

/* From here on the time of the first column counts. */
static void begin(struct sink *s)
{
	heatmap_of(s)->last_ns = clock_ns(CLOCK_REALTIME);
}

static void interval(struct sink *s, __u64 unix_ns, unsigned n)
{
	struct heatmap *m = heatmap_of(s);
	struct column_of_time *c;

	(void)n;
	terminal_look(&m->terminal, s->out);
	if (make_room(m, m->terminal.width - MARGIN)) {
		if (!s->out->err)
			s->out->err = -ENOMEM;
		return;
	}
	c = &m->columns[m->n++];
	memset(c, 0, sizeof(*c));
	c->end_ns = unix_ns;
	/* The clock may have been set in between; a histogram knows better. */
	if (m->last_ns && unix_ns > m->last_ns)
		c->length_ns = unix_ns - m->last_ns;
	m->last_ns = unix_ns;
	m->began = true;
}

static void histogram(struct sink *s, const struct histogram *h)
{
	struct heatmap *m = heatmap_of(s);
	struct column_of_time *c;

	/* The parts of a latency are no further ones. */
	if (!m->began || h->key.part != TCPLAT_PART_TOTAL)
		return;
	c = &m->columns[m->n - 1];
	c->length_ns = h->interval_ns;
	for (unsigned i = 0; i < TCPLAT_HIST_BUCKETS; i++)
		c->counts[i] += h->counts[i];
	m->step_ns = h->step_ns;
	m->any |= h->count != 0;
}

static void interval_end(struct sink *s)
{
	struct heatmap *m = heatmap_of(s);

	/* An empty rest of an interval has no column. */
	if (!m->began)
		return;
	m->began = false;
	if (m->terminal.live) {
		terminal_draw(s->out, m->drawn);
		m->drawn = put_picture(m);
		terminal_drawn(s->out);
		m->printed = true;
	} else if (m->n == m->terminal.width - MARGIN) {
		put_picture(m);
		out_printf(s->out, "\n");
		m->printed = true;
		m->n = 0;
	}
}

static void heatmap_summary(struct sink *s, const struct summary *sum)
{
	struct heatmap *m = heatmap_of(s);

	if (!m->printed || (m->n && !m->terminal.live))
		put_picture(m);
	summary_to_stderr(sum);
}

static void heatmap_free(struct sink *s)
{
	free(heatmap_of(s)->columns);
	free(heatmap_of(s));
}

static const struct sink_ops heatmap_ops = {
	.begin = begin,
	.histogram = histogram,
	.interval = interval,
	.interval_end = interval_end,
	.summary = heatmap_summary,
	.free = heatmap_free,
};

struct sink *sink_heatmap_new(struct out *out, const char *title)
{
	struct heatmap *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->sink.ops = &heatmap_ops;
	m->sink.out = out;
	m->title = title;
	return &m->sink;
}
