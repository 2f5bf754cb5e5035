/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How single values look as text. Results are always NUL-terminated. */
#ifndef TCPLAT_RECORD_TEXT_H
#define TCPLAT_RECORD_TEXT_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define TEXT_ADDR_LEN 46 /* INET6_ADDRSTRLEN */
#define TEXT_TIME_LEN 40

/*
 * Untrusted bytes for a terminal: control characters (C0, C1, DEL), characters
 * that change direction or are invisible, and invalid UTF-8 become \xNN of
 * their bytes; a backslash is doubled, so that the result says one thing only.
 * Cut at a whole character where dst is too small.
 */
void text_escape(char *dst, size_t size, const char *src, size_t len);

/* The same for Prometheus, with backslashes as they are: units are full of them. */
void text_label(char *dst, size_t size, const char *src, size_t len);

/*
 * Untrusted bytes as valid UTF-8 for JSON: only invalid bytes become \xNN; the
 * JSON library escapes the rest.
 */
void text_utf8(char *dst, size_t size, const char *src, size_t len);

/*
 * Undoes text_utf8() for names of up to TEXT_RAW_MAX bytes: the bytes that it
 * writes as src, or src itself where there are none.
 */
#define TEXT_RAW_MAX 63
void text_from_utf8(char *dst, size_t size, const char *src);

/* Columns that a string of valid UTF-8 takes, one for each character. */
size_t text_width(const char *s);

/*
 * Decimal digits. Every row has several numbers, and printf(3) would take most
 * of a row's time. Returns the end, where the NUL is.
 */
#define TEXT_U64_LEN 21
char *text_u64(char dst[TEXT_U64_LEN], __u64 v);

/* ns in milliseconds, rounded to so many decimals (1 to 6). Returns the length. */
#define TEXT_MS_LEN 24
size_t text_ms(char dst[TEXT_MS_LEN], __u64 ns, unsigned decimals);

/* addr: 16 bytes, v4-mapped for IPv4; ip: 4 or 6. Returns the length. */
size_t text_addr(char dst[TEXT_ADDR_LEN], int ip, const __u8 addr[16]);

/* Returns false unless s is an IPv4 or IPv6 address; mapped ones are IPv4. */
bool text_to_addr(const char *s, int *ip, __u8 addr[16]);

/* Time of day with milliseconds, local time. */
void text_time_of_day(char dst[TEXT_TIME_LEN], __u64 unix_ns);

/* RFC 3339, UTC, microseconds. */
void text_rfc3339(char dst[TEXT_TIME_LEN], __u64 unix_ns);

/* Returns false unless s is such a time (UTC or with an offset). */
bool text_to_time(const char *s, __u64 *unix_ns);

/* "850ns", "64us", "1.02ms", "20.5s": three digits, unit attached. */
#define TEXT_DURATION_LEN 24
void text_duration(char dst[TEXT_DURATION_LEN], __u64 ns);

/* "ECONNREFUSED"; "errno 999" for a number without a name. 0 gives NULL. */
const char *text_errno(int err, char buf[16]);
/* The number of such a name, or 0. */
int text_to_errno(const char *name);

#endif /* TCPLAT_RECORD_TEXT_H */
