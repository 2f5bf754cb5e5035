/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One table of what a record says: for each item its name, how it looks in a
 * table, and how it is written to and read from JSON. Every sink and the
 * replay source work from it.
 */
#ifndef TCPLAT_RECORD_COLUMN_H
#define TCPLAT_RECORD_COLUMN_H

#include <jansson.h>

#include "record/record.h"

#define COLUMN_TEXT_LEN 4200 /* a cgroup path, escaped in part */
#define COLUMN_TEXT_MIN 64   /* any number, address or time */

/* struct column.flags */
enum {
	COLUMN_SPLIT = 1, /* only in records that have ev.split set */
	COLUMN_KEY = 2,	  /* not in records: a key of histograms */
	COLUMN_NAME = 4,  /* may hold more bytes than characters */
};

struct column {
	const char *name;   /* for --columns; NULL: JSON only */
	const char *header; /* with its unit */
	const char *json;   /* member name; NULL: table only */
	unsigned width;	    /* usual width; grows when a value needs more */
	bool right;	    /* numbers are aligned to the right */
	__u32 kinds;	    /* bit (1 << kind) for each kind that has it */

	/*
	 * Returns the length. size: at least COLUMN_TEXT_MIN, but for names, which
	 * are cut.
	 */
	size_t (*text)(const struct record *r, char *dst, size_t size);
	/* New reference, or NULL without memory. */
	json_t *(*to_json)(const struct record *r);
	/* Returns 0, or -EINVAL for a value that is not of the form. */
	int (*from_json)(struct record *r, const json_t *v);
	unsigned flags;
};

/* All columns, in the order of JSON members; ends with a zeroed entry. */
extern const struct column columns[];

/* Do records of the kind have it? */
bool column_of_rows(const struct column *c, unsigned kind);

/* The column of that name which the kind has, or NULL. */
const struct column *column_find(const char *name, unsigned kind);

/*
 * A record that holds what a histogram's key does, so that the columns of the
 * same names show and read it. Every key of enum tcplat_key is a column.
 */
void record_of_key(struct record *r, const struct histogram *h);

/* Untrusted bytes as a JSON string, new reference. */
json_t *json_name(const char *s, size_t len);
/* Nanoseconds as microseconds with up to three decimals, new reference. */
json_t *json_us(__u64 ns);
/* A non-negative number of microseconds, or -EINVAL. */
int json_to_ns(const json_t *v, __u64 *ns);
/* A whole number in [0, max], or -EINVAL. */
int json_to_uint(const json_t *v, __u64 max, __u64 *out);

/* Flags for json_dump*(): a line, microseconds without noise digits. */
#define JSON_LINE (JSON_COMPACT | JSON_REAL_PRECISION(15))

#endif /* TCPLAT_RECORD_COLUMN_H */
