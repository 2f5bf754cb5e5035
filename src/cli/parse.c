// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "record/text.h"

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

int parse_u64(const char *s, __u64 min, __u64 max, __u64 *out)
{
	__u64 v = 0;

	if (!*s)
		return -EINVAL;
	for (const char *p = s; *p; p++)
		if (!digit(*p))
			return -EINVAL;
	for (; *s; s++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (__u64)(*s - '0'), &v))
			return -ERANGE;
	if (v < min || v > max)
		return -ERANGE;
	*out = v;
	return 0;
}

/* Reads digits[.digits] at *s times scale; leaves *s behind the number. */
static int decimal_at(const char **s, __u64 scale, __u64 max, __u64 *out)
{
	__u64 v = 0, step = scale;
	const char *p = *s;
	bool any = false, over = false;

	for (; digit(*p); p++, any = true)
		over |= __builtin_mul_overflow(v, 10, &v) ||
			__builtin_add_overflow(v, (__u64)(*p - '0'), &v);
	over |= __builtin_mul_overflow(v, scale, &v);
	if (*p == '.')
		for (p++; digit(*p); p++, any = true) {
			step /= 10;
			over |= __builtin_add_overflow(v, step * (__u64)(*p - '0'), &v);
		}
	if (!any)
		return -EINVAL;
	*s = p;
	*out = v;
	return over || v > max ? -ERANGE : 0;
}

int parse_decimal(const char *s, __u64 scale, __u64 max, __u64 *out)
{
	int err = decimal_at(&s, scale, max, out);

	if (err != -EINVAL && *s)
		return -EINVAL;
	return err;
}

int parse_duration(const char *s, bool bare, __u64 *ns)
{
	static const struct {
		const char *name;
		__u64 ns;
	} units[] = {
		{ "ns", 1 },
		{ "us", 1000 },
		{ "ms", 1000000 },
		{ "s", 1000000000 },
		{ "m", 60ULL * 1000000000 },
		{ "h", 3600ULL * 1000000000 },
	};
	const char *end = s;
	__u64 scale = 0;
	int err;

	while (digit(*end) || *end == '.')
		end++;
	if (!*end && bare)
		scale = 1000000000;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(end, units[i].name))
			scale = units[i].ns;
	if (!scale)
		return -EINVAL;
	err = decimal_at(&s, scale, PARSE_MAX_DURATION, ns);
	if (err)
		return err;
	if (s != end)
		return -EINVAL; /* "1.2.3s" */
	return *ns ? 0 : -ERANGE;
}

int parse_size(const char *s, __u64 min, __u64 max, __u64 *out)
{
	static const char units[] = "kmg";
	char number[24];
	size_t len = strlen(s);
	unsigned shift = 0;
	int err;

	if (len) {
		const char *unit = strchr(units, s[len - 1] | 0x20);

		if (unit && *unit) {
			shift = 10 * (unsigned)(unit - units + 1);
			len--;
		}
	}
	if (!len)
		return -EINVAL;
	if (len >= sizeof(number))
		return -ERANGE;
	memcpy(number, s, len);
	number[len] = 0;
	err = parse_u64(number, 0, max >> shift, out);
	if (err)
		return err;
	*out <<= shift;
	return *out < min ? -ERANGE : 0;
}

bool next_word(const char **at, char *word, unsigned size)
{
	const char *s = *at;
	size_t len;

	if (!s)
		return false;
	len = strcspn(s, ",");
	*at = s[len] ? s + len + 1 : NULL;
	if (len >= size)
		len = size - 1;
	memcpy(word, s, len);
	word[len] = 0;
	return true;
}

static int port_range(const char *s, __u64 *lo, __u64 *hi)
{
	char first[8];
	const char *dash = strchr(s, '-');
	size_t len = dash ? (size_t)(dash - s) : strlen(s);
	int err;

	if (!len)
		return -EINVAL;
	if (len >= sizeof(first))
		return strspn(s, "0123456789") >= len ? -ERANGE : -EINVAL;
	memcpy(first, s, len);
	first[len] = 0;
	err = parse_u64(first, 1, 65535, lo);
	if (err)
		return err;
	*hi = *lo;
	if (!dash)
		return 0;
	err = parse_u64(dash + 1, 1, 65535, hi);
	if (err)
		return err;
	return *hi < *lo ? -ERANGE : 0;
}

int parse_ports(const char *s, struct portspec *spec, char *bad, unsigned bad_size)
{
	while (next_word(&s, bad, bad_size)) {
		const char *range = bad[0] == '!' ? bad + 1 : bad;
		__u64 lo, hi, *bits = range > bad ? spec->exclude : spec->include;
		int err;

		/* One that fills bad may have been cut, and could mean another port. */
		if (strlen(bad) + 1 >= bad_size)
			return -EINVAL;
		err = port_range(range, &lo, &hi);
		if (err)
			return err;
		for (__u64 p = lo; p <= hi; p++)
			bits[p / 64] |= 1ULL << (p % 64);
		if (range == bad)
			spec->any_included = true;
	}
	return 0;
}

int portspec_finish(const struct portspec *spec, struct tcplat_portset *set)
{
	__u64 any = 0, excluded = 0;

	for (int i = 0; i < TCPLAT_PORT_WORDS; i++) {
		set->bits[i] = (spec->any_included ? spec->include[i] : ~0ULL) & ~spec->exclude[i];
		/* Port 0 ("none was assigned") is included by "!22" but is no port. */
		any |= i ? set->bits[i] : set->bits[i] & ~1ULL;
		excluded |= spec->exclude[i];
	}
	set->active = spec->any_included || excluded;
	return any ? 0 : -EINVAL;
}

int parse_net(const char *s, struct tcplat_net *net)
{
	char text[TEXT_ADDR_LEN + 4];
	__u8 addr[16], mask[16] = {};
	__u64 bits, max, a[2], m[2];
	char *slash;
	int ip;

	if (snprintf(text, sizeof(text), "%s", s) >= (int)sizeof(text))
		return -EINVAL;
	slash = strchr(text, '/');
	if (slash)
		*slash++ = 0;
	if (!text_to_addr(text, &ip, addr))
		return -EINVAL;
	/* ::ffff:10.0.0.0/104 counts its prefix over all 128 bits. */
	max = ip == 4 && !strchr(text, ':') ? 32 : 128;
	bits = max;
	if (slash) {
		int err = parse_u64(slash, 0, max, &bits);

		if (err)
			return err;
	}
	bits += 128 - max;
	if (ip == 4 && bits < 96)
		return -ERANGE;
	for (__u64 i = 0; i < bits; i++)
		mask[i / 8] |= (__u8)(0x80 >> (i % 8));
	memcpy(a, addr, sizeof(a));
	memcpy(m, mask, sizeof(m));
	for (int i = 0; i < 2; i++) {
		net->mask[i] = m[i];
		net->addr[i] = a[i] & m[i];
	}
	net->ip = (__u64)ip;
	return 0;
}
