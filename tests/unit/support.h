/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What several unit tests need: cmocka, captured output, sample records. */
#ifndef TCPLAT_TESTS_SUPPORT_H
#define TCPLAT_TESTS_SUPPORT_H

/* cmocka.h wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/options.h"
#include "record/record.h"
#include "sink/out.h"
#include "source/source.h"

/*
 * Everything written to stderr from stderr_begin() to stderr_end(), which
 * returns it; valid until the next stderr_end().
 */
void stderr_begin(void);
const char *stderr_end(void);

/* Fails unless text is exactly one line, with its newline. */
void assert_one_line(const char *text);
/* Fails unless text holds part. */
void assert_holds(const char *text, const char *part);

/* An out that keeps what is written; mem_text() flushes. */
struct mem {
	struct out out;
	char *text;
	size_t len;
};

void mem_open(struct mem *m);
const char *mem_text(struct mem *m);
void mem_close(struct mem *m);

/* 2026-03-01 12:00:00.000123 UTC. */
#define SAMPLE_UNIX_NS 1772366400000123000ULL

/* curl, 10.0.0.2:40000 -> 10.0.0.1:80, established in 20.51275 ms. */
struct record sample_v4(void);
/* nc, [2001:db8::2]:40001 -> [2001:db8::1]:443, refused in 1.5 us. */
struct record sample_v6(void);
/* nginx, 10.0.0.2:80 <- 10.0.0.1:40000, 1448 bytes that waited 20.51275 ms. */
struct record sample_pickup(void);
/* redis, [2001:db8::2]:6379 <- [2001:db8::1]:40001: 1 us, 0.3 us and 0.2 us. */
struct record sample_split(void);
/* curl, 10.0.0.2:40000 -> 10.0.0.1:80: 20.513 ms, smoothed 21.007 ms, minimum 19.998 ms. */
struct record sample_rtt(void);

/*
 * A member of JSON in the table of columns: a record's value as text, valid
 * until the next call; and a text into a record, which may borrow from it until
 * then, as from_json() has it.
 */
const char *json_of(const char *member, const struct record *r);
int from_json(struct record *r, const char *member, const char *text);
/* What a table shows of the record in that column; valid until the next call. */
const char *text_of(const char *column, const struct record *r);

/* Writes the sixteen bytes of an address's text form, mapped for IPv4. */
void put_addr(__u8 dst[16], const char *text);

/*
 * Parses "VIEW ARGS…" afresh and finishes the query, as a view would; what it says
 * is in *said. Returns 0 or a negative errno.
 */
int parse_view(struct query *q, const struct option_table *table, enum tcplat_kind kind,
	       const char *const *args, const char **said);
#define SUPPORT_MAX_ARGS 80
#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Counts the value so many times, as if it had been measured. */
void add_values(struct histogram *h, __u64 ns, __u64 times);

/* Collects what a source delivers. */
#define COLLECT_MAX 64

struct collected {
	struct consumer consumer;
	unsigned n_records, n_histograms;
	struct record records[COLLECT_MAX];
	char cgroups[COLLECT_MAX][64];
	struct histogram histograms[COLLECT_MAX];
	char hist_cgroups[COLLECT_MAX][64];
};

void collect_init(struct collected *c);

#endif /* TCPLAT_TESTS_SUPPORT_H */
