/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bounded parsers for option values. Each reads the whole string or fails:
 * -EINVAL for what is not of the form, -ERANGE for what is out of bounds.
 * None of them prints; the caller knows the option's name.
 */
#ifndef TCPLAT_CLI_PARSE_H
#define TCPLAT_CLI_PARSE_H

#include "tcplat/config.h"

#include <stdbool.h>

/* Decimal digits only: no sign, space, base prefix or trailing text. */
int parse_u64(const char *s, __u64 min, __u64 max, __u64 *out);

/*
 * A decimal number ("1.5", ".5", "2") times scale, exactly; digits beyond the
 * grain are cut off. -ERANGE when the product exceeds max.
 */
int parse_decimal(const char *s, __u64 scale, __u64 max, __u64 *out);

/* Longest duration accepted: 1000 days, in nanoseconds. */
#define PARSE_MAX_DURATION (1000ULL * 86400 * 1000000000)

/*
 * A number and a unit (ns us ms s m h). bare: a number without a unit is
 * seconds; without it, a unit is required. Zero is -ERANGE.
 */
int parse_duration(const char *s, bool bare, __u64 *ns);

/* A number of bytes with an optional k, m or g (powers of 1024). */
int parse_size(const char *s, __u64 min, __u64 max, __u64 *out);

/* Ports to include and to exclude, gathered over repeated options. */
struct portspec {
	bool any_included;
	__u64 include[TCPLAT_PORT_WORDS];
	__u64 exclude[TCPLAT_PORT_WORDS];
};

/*
 * Adds "80,443,8000-8100,!22". Ports are 1 to 65535; a reversed range is
 * -ERANGE. On failure *bad (of bad_size bytes) holds the element at fault.
 */
int parse_ports(const char *s, struct portspec *spec, char *bad, unsigned bad_size);

/*
 * The set that a spec means: what is included (all ports if nothing is) less
 * what is excluded. -EINVAL when nothing is left.
 */
int portspec_finish(const struct portspec *spec, struct tcplat_portset *set);

/* "10.0.0.0/8", "::1", "fd00::/8"; host bits are masked off. Mapped is IPv4. */
int parse_net(const char *s, struct tcplat_net *net);

/* What of a group's name is a label; the kernel's key is the group for all of them. */
enum key_of_group {
	KEY_GROUP_PATH = 1 << 0,
	KEY_GROUP_UNIT = 1 << 1,
	KEY_GROUP_CONTAINER = 1 << 2,
	KEY_GROUP_POD = 1 << 3,
};

/* What --by asks for, gathered over repeated options. */
struct keyspec {
	__u32 mask;  /* of enum tcplat_key */
	bool none;   /* "none": one for all */
	bool named;  /* in: what follows from a group's path are keys, too */
	__u32 names; /* of enum key_of_group */
	struct tcplat_prefix laddr, raddr;
};

/*
 * "laddr,comm", "raddr/24", "raddr/24/48": IPv4 addresses cut to 24 bits, IPv6 ones
 * to 48; one number alone is IPv4's up to 32, and IPv6's above. -EINVAL leaves a
 * word that is no key in bad, -ERANGE one with a prefix that cannot be. The key
 * `part` cannot be asked for.
 */
int parse_keys(const char *s, struct keyspec *spec, char *bad, unsigned bad_size);

/* v4: 0 to 32, v6: 0 to 128. */
void prefix_set(struct tcplat_prefix *p, unsigned v4, unsigned v6);

/* Name of one key bit; the names in order, for messages and help. */
const char *key_name(enum tcplat_key key);
/* The bit of such a name but `part`, or 0. */
__u32 key_from_name(const char *name);
#define KEY_NAMES_COMMON "laddr, raddr, lport, rport, pid, comm, cgroup, netns"
#define KEY_NAMES KEY_NAMES_COMMON ", outcome"
#define KEY_NAMES_NAMED KEY_NAMES_COMMON ", unit, container, pod"

/*
 * The next element of a comma-separated list into word, or false at its end.
 * *at: where to go on; starts as the list. An over-long element is cut.
 */
bool next_word(const char **at, char *word, unsigned size);

#endif /* TCPLAT_CLI_PARSE_H */
