/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cgroup v2: where it is mounted, ids to paths and back. */
#ifndef TCPLAT_CORE_CGROUP_H
#define TCPLAT_CORE_CGROUP_H

#include <linux/types.h>

struct cgroups;

/* NULL without memory. A host without cgroup v2 is no error: ids stay ids. */
struct cgroups *cgroups_new(void);
void cgroups_free(struct cgroups *c);

/*
 * Path below the v2 root ("/" for the root itself), or "#id" when the group is
 * gone or cannot be looked up. Borrowed, valid until the next call.
 */
const char *cgroups_path(struct cgroups *c, __u64 id);

/*
 * Opens a v2 group given as a full path or as a path below the v2 root.
 * Returns a descriptor that the caller closes, or a negative errno: -ENOENT no
 * such group, -ENOTSUP cgroup v2 is not mounted, -ENOTDIR not a v2 group.
 */
int cgroup_open(const char *path);

#endif /* TCPLAT_CORE_CGROUP_H */
