// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <mntent.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "core/cleanup.h"

/* fs/kernfs/mount.c: a kernfs file handle is the 64-bit id alone. */
#define FILEID_KERNFS 0xfe

/* Names are remembered this long at most, for groups can be renamed or reused. */
#define CACHE_MAX 4096

struct group {
	__u64 id;
	char path[];
};

struct cgroups {
	int mount_fd; /* < 0: no cgroup v2 */
	size_t mount_len;
	void *cache; /* tsearch(3) tree of struct group */
	unsigned cached;
	char mount[PATH_MAX];
	char scratch[PATH_MAX];
};

/* In the hybrid layout v2 is mounted beside v1, so only the table knows where. */
int cgroup_root(const char *controller, char *path, size_t size)
{
	const unsigned magic = controller ? CGROUP_SUPER_MAGIC : CGROUP2_SUPER_MAGIC;
	_cleanup_fclose_ FILE *f = setmntent("/proc/self/mounts", "re");
	__u64 smallest = ~0ULL;
	int root = -ENOTSUP;
	struct mntent *m;

	while (f && (m = getmntent(f))) {
		_cleanup_close_ int fd = -1;
		struct statfs fs;
		struct stat st;

		if (strcmp(m->mnt_type, controller ? "cgroup" : "cgroup2") ||
		    (controller && !hasmntopt(m, controller)))
			continue;
		/* Not O_PATH: open_by_handle_at(2) does not take that. */
		fd = open(m->mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) || fstatfs(fd, &fs) || fs.f_type != magic ||
		    st.st_ino >= smallest)
			continue;
		smallest = st.st_ino;
		if (root >= 0)
			close(root);
		root = take_fd(&fd);
		snprintf(path, size, "%s", m->mnt_dir);
	}
	return root;
}

struct cgroups *cgroups_new(void)
{
	struct cgroups *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->mount_fd = cgroup_root(NULL, c->mount, sizeof(c->mount));
	c->mount_len = strlen(c->mount);
	return c;
}

void cgroups_free(struct cgroups *c)
{
	if (!c)
		return;
	tdestroy(c->cache, free);
	if (c->mount_fd >= 0)
		close(c->mount_fd);
	free(c);
}

static int by_id(const void *a, const void *b)
{
	__u64 x = ((const struct group *)a)->id, y = ((const struct group *)b)->id;

	return x < y ? -1 : x > y;
}

static bool look_up(struct cgroups *c, __u64 id)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + sizeof(id)];
	} h = { .handle = { .handle_bytes = sizeof(id), .handle_type = FILEID_KERNFS } };
	_cleanup_close_ int fd = -1;
	char link[64], path[PATH_MAX];
	ssize_t n;

	if (c->mount_fd < 0)
		return false;
	memcpy(h.handle.f_handle, &id, sizeof(id));
	fd = open_by_handle_at(c->mount_fd, &h.handle, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return false;
	path[n] = 0;
	/* The kernel says " (deleted)" of a group that is only still referred to. */
	if (strncmp(path, c->mount, c->mount_len) || strstr(path, " (deleted)"))
		return false;
	snprintf(c->scratch, sizeof(c->scratch), "%s",
		 path[c->mount_len] ? path + c->mount_len : "/");
	return true;
}

static void remember(struct cgroups *c, __u64 id)
{
	size_t len = strlen(c->scratch) + 1;
	struct group *e;

	if (c->cached >= CACHE_MAX) {
		tdestroy(c->cache, free);
		c->cache = NULL;
		c->cached = 0;
	}
	e = malloc(sizeof(*e) + len);
	if (!e)
		return;
	e->id = id;
	memcpy(e->path, c->scratch, len);
	if (tsearch(e, &c->cache, by_id))
		c->cached++;
	else
		free(e);
}

const char *cgroups_path(struct cgroups *c, __u64 id)
{
	struct group want = { .id = id }, **have;

	have = tfind(&want, &c->cache, by_id);
	if (have)
		return (*have)->path;
	if (!look_up(c, id))
		snprintf(c->scratch, sizeof(c->scratch), "#%llu", id);
	else
		remember(c, id);
	return c->scratch;
}

int cgroup_open(const char *path)
{
	char mount[PATH_MAX], below[2 * PATH_MAX];
	_cleanup_close_ int root = cgroup_root(NULL, mount, sizeof(mount));
	struct statfs fs;
	int fd, err;

	if (root < 0)
		return root;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = -errno;
	if (fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC)
		return fd;
	if (fd >= 0) {
		close(fd);
		err = -ENOTDIR;
	}
	snprintf(below, sizeof(below), "%s/%s", mount, path);
	fd = open(below, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : err;
}
