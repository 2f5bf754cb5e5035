/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of the groups that the kernel's programs report by number, for a process that has
 * no privilege left (the views ask by handle, which needs one): by walking over the
 * hierarchy, whose directories have these numbers.
 */
#ifndef TCPLAT_SERVE_GROUPS_H
#define TCPLAT_SERVE_GROUPS_H

#include <stdbool.h>
#include <stddef.h>

#include "tcplat/config.h"

struct groups;

/*
 * Chooses the hierarchy: where memory, else pids, else cpu is a controller of v1, that
 * one, since Docker and the kubelet make their groups only there then; else v2. Opens its
 * root; later calls need only openat(2) for reading, fstat(2), getdents64(2), close(2) and
 * the clocks. Negative errno, -ENOTSUP without any.
 */
int groups_new(struct groups **g);
void groups_free(struct groups *g);

enum tcplat_groups groups_which(const struct groups *g);

/*
 * Path below the root, "/" for that itself; "#id" where no walk has found it; "#" where
 * there is no memory for more names. Never NULL, valid until the next groups_refresh().
 */
const char *groups_path(struct groups *g, __u64 id);

/*
 * Walks if an unknown id was asked for since the last walk, but no more often than costs a
 * twentieth of a CPU. What was found replaces what was known. Of groups that are gone by
 * now, the kernel may still report some: a path that was asked for stays until nobody has
 * for some walks. An id that was not found costs no further walk, for as long.
 * Returns 1 if it has walked, 0 if not, or negative errno: -E2BIG if there are more than
 * the bounds allow, of which the upper levels are known; otherwise all is as before.
 */
int groups_refresh(struct groups *g);

/* Is a walk due for which it is too early? What is unknown may be found by it. */
bool groups_due(const struct groups *g);

/* For tests: any tree, any bounds. Takes the descriptor of its root, also on failure. */
struct groups_bounds {
	size_t dirs;	/* in a walk */
	size_t bytes;	/* of the names of a walk, and again of the paths that were asked for */
	unsigned pause; /* after a walk, in times of what it took */
};
int groups_open(struct groups **g, int root, enum tcplat_groups which,
		const struct groups_bounds *bounds);

#endif /* TCPLAT_SERVE_GROUPS_H */
