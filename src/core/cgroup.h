/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups: where they are mounted, ids of v2 to paths and back. */
#ifndef TCPLAT_CORE_CGROUP_H
#define TCPLAT_CORE_CGROUP_H

#include <linux/types.h>
#include <stddef.h>

/*
 * Opens the root directory of cgroup v2, or of the v1 hierarchy that has the controller,
 * and says where that is. Of several mounts (a container has its own and may have the
 * host's) the one that shows most: the smallest inode number, since parents are older.
 * Returns a descriptor that the caller closes, or -ENOTSUP: none that can be opened.
 */
int cgroup_root(const char *controller, char *path, size_t size);

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
