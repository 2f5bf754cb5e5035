// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"

/* Length of the valid UTF-8 sequence at s and its code point, or 0 (RFC 3629). */
static size_t utf8_at(const unsigned char *s, size_t len, __u32 *cp)
{
	static const __u32 least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n;

	if (s[0] < 0x80) {
		*cp = s[0];
		return 1;
	}
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if ((s[0] & 0xf0) == 0xe0)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (n > len)
		return 0;
	*cp = s[0] & (0xff >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*cp = *cp << 6 | (s[i] & 0x3f);
	}
	if (*cp < least[n] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff))
		return 0;
	return n;
}

/*
 * Controls, line separators, and what Unicode calls Default_Ignorable: zero
 * width, direction, fillers, variation selectors, tags.
 */
static const struct {
	__u32 first, last;
} hidden[] = {
	{ 0x0, 0x1f },	      { 0x7f, 0x9f },	    { 0xad, 0xad },	  { 0x34f, 0x34f },
	{ 0x61c, 0x61c },     { 0x115f, 0x1160 },   { 0x17b4, 0x17b5 },	  { 0x180b, 0x180f },
	{ 0x200b, 0x200f },   { 0x2028, 0x202e },   { 0x2060, 0x206f },	  { 0x3164, 0x3164 },
	{ 0xfe00, 0xfe0f },   { 0xfeff, 0xfeff },   { 0xffa0, 0xffa0 },	  { 0xfff0, 0xfffb },
	{ 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff },
};

static bool harmless(__u32 cp)
{
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		if (cp >= hidden[i].first && cp <= hidden[i].last)
			return false;
	return true;
}

enum clean_for { FOR_JSON, FOR_LABEL, FOR_TERMINAL };

static void clean(char *dst, size_t size, const char *src, size_t len, enum clean_for what)
{
	const unsigned char *s = (const unsigned char *)src;
	size_t at = 0;

	if (!size)
		return;
	while (len) {
		char piece[4 * 4 + 1];
		__u32 cp = 0;
		size_t n, out;

		/* Nearly all there is. */
		if (*s >= ' ' && *s < 0x7f && *s != '\\') {
			if (at + 1 >= size)
				break;
			dst[at++] = (char)*s++;
			len--;
			continue;
		}
		n = utf8_at(s, len, &cp);
		if (n && what == FOR_TERMINAL && cp == '\\') {
			memcpy(piece, "\\\\", 3);
		} else if (n && (what == FOR_JSON || harmless(cp))) {
			memcpy(piece, s, n);
			piece[n] = 0;
		} else {
			size_t bytes = n ? n : 1;

			for (size_t i = 0; i < bytes; i++)
				snprintf(piece + 4 * i, 5, "\\x%02x", s[i]);
		}
		out = strlen(piece);
		if (at + out >= size)
			break;
		memcpy(dst + at, piece, out);
		at += out;
		s += n ? n : 1;
		len -= n ? n : 1;
	}
	dst[at] = 0;
}

void text_escape(char *dst, size_t size, const char *src, size_t len)
{
	clean(dst, size, src, len, FOR_TERMINAL);
}

void text_label(char *dst, size_t size, const char *src, size_t len)
{
	clean(dst, size, src, len, FOR_LABEL);
}

void text_utf8(char *dst, size_t size, const char *src, size_t len)
{
	clean(dst, size, src, len, FOR_JSON);
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void text_from_utf8(char *dst, size_t size, const char *src)
{
	char raw[TEXT_RAW_MAX + 1], again[4 * TEXT_RAW_MAX + 1];
	const char *s = src;
	size_t n = 0;

	if (!size)
		return;
	while (*s && n < TEXT_RAW_MAX && n + 1 < size) {
		int high = s[0] == '\\' && s[1] == 'x' ? hex(s[2]) : -1;
		int low = high >= 8 ? hex(s[3]) : -1;

		raw[n++] = (char)(low < 0 ? *s : high << 4 | low);
		s += low < 0 ? 1 : 4;
	}
	raw[n] = 0;
	text_utf8(again, sizeof(again), raw, n);
	/* "\xff" may also have been the name itself. */
	if (!*s && !strcmp(again, src))
		memcpy(dst, raw, n + 1);
	else
		text_utf8(dst, size, src, strlen(src));
}

size_t text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

char *text_u64(char dst[TEXT_U64_LEN], __u64 v)
{
	static const char pairs[] = "0001020304050607080910111213141516171819"
				    "2021222324252627282930313233343536373839"
				    "4041424344454647484950515253545556575859"
				    "6061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";
	char *end;
	int n = 1;

	for (__u64 rest = v; rest >= 10; rest /= 10)
		n++;
	end = dst + n;
	*end = 0;
	for (char *p = end; n > 0; n -= 2) {
		unsigned pair = (unsigned)(v % 100);

		v /= 100;
		*--p = pairs[2 * pair + 1];
		if (n > 1)
			*--p = pairs[2 * pair];
	}
	return end;
}

size_t text_ms(char dst[TEXT_MS_LEN], __u64 ns, unsigned decimals)
{
	static const __u64 grain[] = { 1000000, 100000, 10000, 1000, 100, 10, 1 };
	static const __u64 scale[] = { 1, 10, 100, 1000, 10000, 100000, 1000000 };
	__u64 v = ns / grain[decimals], part;
	char *p;

	if (ns % grain[decimals] * 2 >= grain[decimals])
		v++;
	p = text_u64(dst, v / scale[decimals]);
	part = v % scale[decimals];
	*p++ = '.';
	for (unsigned i = decimals; i--; part /= 10)
		p[i] = (char)('0' + part % 10);
	p[decimals] = 0;
	return (size_t)(p + decimals - dst);
}

/* One host talks to few others, and inet_ntop(3) takes its time over IPv6. */
static const char *addr_v6(const __u8 addr[16])
{
	static struct {
		__u8 addr[16];
		char text[TEXT_ADDR_LEN];
	} cache[64], *c;

	c = &cache[(addr[15] ^ addr[13] ^ addr[7]) % ARRAY_SIZE(cache)];
	if (!c->text[0] || memcmp(c->addr, addr, sizeof(c->addr)) != 0) {
		memcpy(c->addr, addr, sizeof(c->addr));
		if (!inet_ntop(AF_INET6, addr, c->text, sizeof(c->text)))
			c->text[0] = 0;
	}
	return c->text;
}

size_t text_addr(char dst[TEXT_ADDR_LEN], int ip, const __u8 addr[16])
{
	char *p = dst;

	if (ip != 4) {
		memcpy(dst, addr_v6(addr), TEXT_ADDR_LEN);
		return strlen(dst);
	}
	for (int i = 12; i < 16; i++) {
		p = text_u64(p, addr[i]);
		*p++ = i < 15 ? '.' : 0;
	}
	return (size_t)(p - 1 - dst);
}

bool text_to_addr(const char *s, int *ip, __u8 addr[16])
{
	static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET, s, addr + 12) == 1) {
		memcpy(addr, mapped, sizeof(mapped));
		*ip = 4;
		return true;
	}
	if (inet_pton(AF_INET6, s, addr) == 1) {
		*ip = memcmp(addr, mapped, sizeof(mapped)) ? 6 : 4;
		return true;
	}
	return false;
}

void text_time_of_day(char dst[TEXT_TIME_LEN], __u64 unix_ns)
{
	time_t sec = (time_t)(unix_ns / 1000000000);
	struct tm tm;

	if (!localtime_r(&sec, &tm)) {
		dst[0] = 0;
		return;
	}
	snprintf(dst, TEXT_TIME_LEN, "%02d:%02d:%02d.%03u", tm.tm_hour, tm.tm_min, tm.tm_sec,
		 (unsigned)(unix_ns % 1000000000 / 1000000));
}

void text_rfc3339(char dst[TEXT_TIME_LEN], __u64 unix_ns)
{
	time_t sec = (time_t)(unix_ns / 1000000000);
	struct tm tm;
	size_t n;

	if (!gmtime_r(&sec, &tm)) {
		dst[0] = 0;
		return;
	}
	n = strftime(dst, TEXT_TIME_LEN, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(dst + n, TEXT_TIME_LEN - n, ".%06uZ", (unsigned)(unix_ns % 1000000000 / 1000));
}

bool text_to_time(const char *s, __u64 *unix_ns)
{
	struct tm tm = {}, date;
	unsigned long frac = 0, scale = 100000000;
	const char *end;
	long offset = 0;
	time_t sec;

	/* strptime(3) alone would take blanks and missing digits. */
	end = strspn(s, "0123456789-T:") < 19 ? NULL : strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!end || end - s != 19)
		return false;
	s = end;
	/* 31 February would become 3 March. */
	date = (struct tm){ .tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday };
	timegm(&date);
	if (date.tm_mday != tm.tm_mday)
		return false;
	if (*s == '.') {
		const char *digits = ++s;

		for (; *s >= '0' && *s <= '9'; s++, scale /= 10)
			frac += (unsigned long)(*s - '0') * scale;
		if (s == digits)
			return false;
	}
	if (*s == 'Z') {
		s++;
	} else if (*s == '+' || *s == '-') {
		unsigned h, m;
		int n = 0;

		/* Neither blanks nor a second sign, which sscanf(3) would take. */
		if (strspn(s + 1, "0123456789:") < 5 ||
		    sscanf(s + 1, "%2u:%2u%n", &h, &m, &n) != 2 || n != 5 || h > 23 || m > 59)
			return false;
		offset = (*s == '-' ? -1L : 1L) * (long)(h * 3600 + m * 60);
		s += 6;
	} else {
		return false;
	}
	sec = timegm(&tm);
	if (*s || sec == (time_t)-1 || sec - offset < 0 || tm.tm_year > 500)
		return false;
	*unix_ns = (__u64)(sec - offset) * 1000000000 + frac;
	return true;
}

void text_duration(char dst[TEXT_DURATION_LEN], __u64 ns)
{
	static const struct {
		double ns;
		const char *name;
	} units[] = { { 1e9, "s" }, { 1e6, "ms" }, { 1e3, "us" }, { 1, "ns" } };
	double v = (double)ns;
	size_t i = 0;

	/* What three digits would round to 1000 is 1.00 of the larger unit. */
	while (i + 1 < ARRAY_SIZE(units) && v < units[i].ns * .9995)
		i++;
	v /= units[i].ns;
	/* Whole numbers as they are; else three digits. */
	if (v == (double)(__u64)v)
		snprintf(dst, TEXT_DURATION_LEN, "%.0f%s", v, units[i].name);
	else
		snprintf(dst, TEXT_DURATION_LEN, "%.*f%s",
			 v < 9.995 ? 2 :
			 v < 99.95 ? 1 :
				     0,
			 v, units[i].name);
}

const char *text_errno(int err, char buf[16])
{
	const char *name;

	if (!err)
		return NULL;
	name = strerrorname_np(err);
	if (name)
		return name;
	snprintf(buf, 16, "errno %d", err);
	return buf;
}

int text_to_errno(const char *name)
{
	unsigned n;
	char end;

	for (int i = 1; i < 256; i++) {
		const char *have = strerrorname_np(i);

		if (have && !strcmp(have, name))
			return i;
	}
	if (sscanf(name, "errno %3u%c", &n, &end) == 1 && n < 256)
		return (int)n;
	return 0;
}
