// SPDX-License-Identifier: GPL-2.0-or-later
/* The keys of histograms, as they are named in --by and in JSON. */
#include <errno.h>
#include <string.h>

#include "cli/parse.h"
#include "core/cleanup.h"

static const char *const key_names[] = {
	"laddr", "raddr", "lport", "rport", "pid", "comm", "cgroup", "netns", "outcome", "part",
};
_Static_assert(ARRAY_SIZE(key_names) == TCPLAT_NR_KEYS, "a name for each key");

const char *key_name(enum tcplat_key key)
{
	return key_names[__builtin_ctz(key)];
}

__u32 key_from_name(const char *name)
{
	for (size_t i = 0; 1U << i < TCPLAT_KEY_PART; i++)
		if (!strcmp(name, key_names[i]))
			return 1U << i;
	return 0;
}

void prefix_set(struct tcplat_prefix *p, unsigned v4, unsigned v6)
{
	const unsigned bits[] = { 96 + v4, v6 };

	memset(p, 0, sizeof(*p));
	for (int i = 0; i < 2; i++) {
		__u8 mask[16] = {};

		for (unsigned b = 0; b < bits[i]; b++)
			mask[b / 8] |= (__u8)(0x80 >> (b % 8));
		memcpy(p->mask[i], mask, sizeof(mask));
	}
	p->bits[0] = (__u8)v4;
	p->bits[1] = (__u8)v6;
	p->cut = v4 < 32 || v6 < 128;
}

/* "24", "48" or "24/48", as --by has it behind an address; the other family's stays. */
static int parse_prefix(const char *s, struct tcplat_prefix *p)
{
	const char *slash = strchr(s, '/');
	__u64 v4 = p->bits[0], v6 = p->bits[1], bits;
	char first[8];

	if (!slash) {
		if (parse_u64(s, 0, 128, &bits))
			return -EINVAL;
		/* No IPv4 prefix is that long. */
		*(bits > 32 ? &v6 : &v4) = bits;
	} else {
		if ((size_t)(slash - s) >= sizeof(first))
			return -EINVAL;
		memcpy(first, s, (size_t)(slash - s));
		first[slash - s] = 0;
		if (parse_u64(first, 0, 32, &v4) || parse_u64(slash + 1, 0, 128, &v6))
			return -EINVAL;
	}
	prefix_set(p, (unsigned)v4, (unsigned)v6);
	return 0;
}

/* "unit", "container", "pod", and all of them with "cgroup"; 0 for other names. */
static __u32 group_names(const char *name)
{
	static const char *const names[] = { "unit", "container", "pod" };

	if (!strcmp(name, "cgroup"))
		return KEY_GROUP_PATH | KEY_GROUP_UNIT | KEY_GROUP_CONTAINER | KEY_GROUP_POD;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return KEY_GROUP_UNIT << i;
	return 0;
}

int parse_keys(const char *s, struct keyspec *spec, char *bad, unsigned bad_size)
{
	while (next_word(&s, bad, bad_size)) {
		char *slash = strchr(bad, '/');
		__u32 key;

		if (!strcmp(bad, "none")) {
			spec->none = true;
			continue;
		}
		if (slash)
			*slash = 0;
		key = key_from_name(bad);
		if (spec->named) {
			spec->names |= group_names(bad);
			if (group_names(bad))
				key = TCPLAT_KEY_CGROUP;
		}
		if (slash)
			*slash = '/';
		if (!key)
			return -EINVAL;
		spec->mask |= key;
		if (!slash)
			continue;
		/* A word that was cut says another number; none that is right is so long. */
		if (strlen(bad) + 1 >= bad_size || !(key & (TCPLAT_KEY_LADDR | TCPLAT_KEY_RADDR)) ||
		    parse_prefix(slash + 1, key == TCPLAT_KEY_LADDR ? &spec->laddr : &spec->raddr))
			return -ERANGE;
	}
	return 0;
}
