// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/groups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cgroup.h"
#include "core/cleanup.h"
#include "core/clock.h"

/* A directory that a walk has found. */
struct dir {
	__u64 id;
	__u32 parent; /* index; the root's is its own */
	__u32 name;   /* offset into names */
};

struct table {
	struct dir *dirs; /* level by level */
	__u32 *by_id;
	char *names;
	size_t n, dirs_max;
	size_t names_len, names_max;
};

/* A path is kept for that many walks that nobody asks for it; for one, where room is short. */
#define IDLE_MAX 8

/* An id that was asked for. */
struct asked {
	__u64 id;
	unsigned idle; /* walks since */
	char path[];
};

struct groups {
	int root;
	dev_t dev;
	enum tcplat_groups which;
	struct groups_bounds bounds;
	struct table table;
	void *asked; /* tsearch(3) tree */
	size_t asked_bytes;
	bool wanted; /* an id that no walk has looked for, or room */
	bool full;
	__u64 not_before;
};

static void table_free(struct table *t)
{
	free(t->dirs);
	free(t->by_id);
	free(t->names);
	*t = (struct table){};
}

/* Room for need elements of this size in *array; they are max. */
static int grow(void *array, size_t *max, size_t need, size_t size)
{
	size_t more = *max ? *max * 2 : 256;
	void *p;

	if (need <= *max)
		return 0;
	if (more < need)
		more = need;
	p = realloc(*(void **)array, more * size);
	if (!p)
		return -ENOMEM;
	*(void **)array = p;
	*max = more;
	return 0;
}

static int add(struct table *t, const struct groups_bounds *bounds, __u64 id, __u32 parent,
	       const char *name)
{
	size_t len = strlen(name) + 1;

	if (t->n >= bounds->dirs || len > bounds->bytes - t->names_len)
		return -E2BIG;
	if (grow(&t->dirs, &t->dirs_max, t->n + 1, sizeof(*t->dirs)) ||
	    grow(&t->names, &t->names_max, t->names_len + len, 1))
		return -ENOMEM;
	t->dirs[t->n++] = (struct dir){ id, parent, t->names_len };
	memcpy(t->names + t->names_len, name, len);
	t->names_len += len;
	return 0;
}

/* Written from its end; NULL if it is longer than a path can be. */
static const char *path_of(const struct table *t, __u32 i, char room[PATH_MAX])
{
	char *at = room + PATH_MAX - 1;

	*at = 0;
	if (!i)
		*--at = '/';
	for (; i; i = t->dirs[i].parent) {
		const char *name = t->names + t->dirs[i].name;
		size_t len = strlen(name);

		if (len + 1 > (size_t)(at - room))
			return NULL;
		at -= len;
		memcpy(at, name, len);
		*--at = '/';
	}
	return at;
}

static int add_entries(struct groups *g, struct table *t, __u32 parent, int fd)
{
	char room[32768] __attribute__((aligned(__alignof__(struct dirent64))));
	ssize_t n;

	while ((n = getdents64(fd, room, sizeof(room))) > 0) {
		const struct dirent64 *e;

		for (ssize_t at = 0; at < n; at += e->d_reclen) {
			int err;

			e = (const void *)(room + at);
			if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") ||
			    !strcmp(e->d_name, ".."))
				continue;
			err = add(t, &g->bounds, e->d_ino, parent, e->d_name);
			if (err)
				return err;
		}
	}
	return 0; /* also where it was removed meanwhile */
}

/* What is gone or closed to us has no names; only what we lack ourselves is an error. */
static int read_dir(struct groups *g, struct table *t, __u32 i)
{
	_cleanup_close_ int fd = -1;
	char room[PATH_MAX];
	const char *path = path_of(t, i, room);
	struct stat st;

	if (!path)
		return 0;
	fd = openat(g->root, i ? path + 1 : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : 0;
	/* Another one, if something is mounted over it. */
	if (fstat(fd, &st) || st.st_dev != g->dev || st.st_ino != t->dirs[i].id)
		return 0;
	/* Each below has a link to it: two mean none, which saves reading most of them. */
	return st.st_nlink == 2 ? 0 : add_entries(g, t, i, fd);
}

static int by_id(const void *a, const void *b, void *dirs)
{
	__u64 x = ((struct dir *)dirs)[*(const __u32 *)a].id;
	__u64 y = ((struct dir *)dirs)[*(const __u32 *)b].id;

	return x < y ? -1 : x > y;
}

/* Level by level, so that a subtree beyond all bounds does not cost the others' names. */
static int walk(struct groups *g, struct table *t)
{
	struct stat st;
	int err = fstat(g->root, &st) ? -errno : add(t, &g->bounds, st.st_ino, 0, "");

	for (__u32 i = 0; !err && i < t->n; i++)
		err = read_dir(g, t, i);
	if (err && err != -E2BIG)
		return err;
	t->by_id = calloc(t->n + 1, sizeof(*t->by_id));
	if (!t->by_id)
		return -ENOMEM;
	for (__u32 i = 0; i < t->n; i++)
		t->by_id[i] = i;
	qsort_r(t->by_id, t->n, sizeof(*t->by_id), by_id, t->dirs);
	return err;
}

/* Its path, or NULL. */
static const char *find(const struct table *t, __u64 id, char room[PATH_MAX])
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->dirs[t->by_id[mid]].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == t->n || t->dirs[t->by_id[low]].id != id)
		return NULL;
	return path_of(t, t->by_id[low], room);
}

static int asked_order(const void *a, const void *b)
{
	__u64 x = ((const struct asked *)a)->id, y = ((const struct asked *)b)->id;

	return x < y ? -1 : x > y;
}

static size_t asked_size(const struct asked *a)
{
	return sizeof(*a) + strlen(a->path) + 1;
}

/* Takes it. */
static bool remember(struct groups *g, struct asked *a)
{
	if (asked_size(a) <= g->bounds.bytes - g->asked_bytes &&
	    tsearch(a, &g->asked, asked_order)) {
		g->asked_bytes += asked_size(a);
		return true;
	}
	free(a);
	return false;
}

static struct asked *asked_new(__u64 id, const char *path)
{
	size_t len = strlen(path) + 1;
	struct asked *a = malloc(sizeof(*a) + len);

	if (!a)
		return NULL;
	*a = (struct asked){ .id = id };
	memcpy(a->path, path, len);
	return a;
}

const char *groups_path(struct groups *g, __u64 id)
{
	struct asked want = { .id = id }, **have, *a;
	char room[PATH_MAX], number[32];
	const char *path;

	have = tfind(&want, &g->asked, asked_order);
	if (have) {
		(*have)->idle = 0;
		return (*have)->path;
	}
	path = find(&g->table, id, room);
	if (!path) {
		snprintf(number, sizeof(number), "#%llu", id);
		path = number;
		/* No group has the number 0: the kernel's program knew none. */
		g->wanted = g->wanted || id;
	}
	a = asked_new(id, path);
	if (a && remember(g, a))
		return a->path;
	g->wanted = g->full = true; /* a walk makes room */
	return "#";
}

static void keep(const void *node, VISIT visit, void *arg)
{
	struct asked *a = *(struct asked *const *)node, *fresh;
	struct groups *g = arg;
	char room[PATH_MAX];
	const char *path;

	if (visit != postorder && visit != leaf)
		return;
	if (a->idle >= (g->full ? 1 : IDLE_MAX)) {
		free(a);
		return;
	}
	path = find(&g->table, a->id, room);
	fresh = path ? asked_new(a->id, path) : NULL;
	if (fresh) {
		fresh->idle = a->idle;
		free(a);
		a = fresh;
	}
	a->idle++;
	remember(g, a);
}

static void nothing(void *item)
{
	(void)item;
}

bool groups_due(const struct groups *g)
{
	return g->wanted;
}

int groups_refresh(struct groups *g)
{
	__u64 start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	struct table fresh = {};
	void *asked = g->asked;
	int err;

	if (!g->wanted || clock_ns(CLOCK_MONOTONIC) < g->not_before)
		return 0;
	err = walk(g, &fresh);
	g->not_before = clock_ns(CLOCK_MONOTONIC) +
			(clock_ns(CLOCK_THREAD_CPUTIME_ID) - start) * g->bounds.pause;
	if (err && err != -E2BIG) {
		table_free(&fresh);
		return err;
	}
	table_free(&g->table);
	g->table = fresh;
	g->wanted = false;
	g->asked = NULL;
	g->asked_bytes = 0;
	twalk_r(asked, keep, g);
	tdestroy(asked, nothing);
	g->full = false;
	return err ? err : 1;
}

int groups_open(struct groups **g, int root, enum tcplat_groups which,
		const struct groups_bounds *bounds)
{
	_cleanup_close_ int fd = root;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*g = calloc(1, sizeof(**g));
	if (!*g)
		return -ENOMEM;
	(*g)->root = take_fd(&fd);
	(*g)->dev = st.st_dev;
	(*g)->which = which;
	(*g)->bounds = *bounds;
	return 0;
}

int groups_new(struct groups **g)
{
	static const struct groups_bounds bounds = { 100000, 8 << 20, 20 };
	static const struct {
		enum tcplat_groups which;
		const char *controller;
	} order[] = {
		{ TCPLAT_GROUPS_V1_MEMORY, "memory" },
		{ TCPLAT_GROUPS_V1_PIDS, "pids" },
		{ TCPLAT_GROUPS_V1_CPU, "cpu" },
		{ TCPLAT_GROUPS_V2, NULL },
	};
	char mount[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		int root = cgroup_root(order[i].controller, mount, sizeof(mount));

		if (root >= 0)
			return groups_open(g, root, order[i].which, &bounds);
	}
	return -ENOTSUP;
}

void groups_free(struct groups *g)
{
	if (!g)
		return;
	close(g->root);
	table_free(&g->table);
	tdestroy(g->asked, free);
	free(g);
}

enum tcplat_groups groups_which(const struct groups *g)
{
	return g->which;
}
