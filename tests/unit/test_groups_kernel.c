// SPDX-License-Identifier: GPL-2.0-or-later
/* Names of groups in the kernel's own hierarchies. Skipped where none can be made. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "core/cgroup.h"
#include "core/cleanup.h"
#include "serve/groups.h"

/* The kernel's number of a group: its file handle (fs/kernfs/mount.c). */
static __u64 kernel_id(const char *path)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + 128];
	} h = { .handle = { .handle_bytes = 128 } };
	__u64 id;
	int mount;

	assert_int_equal(name_to_handle_at(AT_FDCWD, path, &h.handle, &mount, 0), 0);
	assert_int_equal(h.handle.handle_bytes, sizeof(id));
	memcpy(&id, h.handle.f_handle, sizeof(id));
	return id;
}

/* A group of our own and one below it. */
struct pair {
	char upper[PATH_MAX], lower[PATH_MAX + 16];
};

static bool pair_make(struct pair *p, const char *mount)
{
	snprintf(p->upper, sizeof(p->upper), "%s/tcplat-groups-%d", mount, getpid());
	snprintf(p->lower, sizeof(p->lower), "%s/a b", p->upper);
	if (mkdir(p->upper, 0755))
		return false;
	if (!mkdir(p->lower, 0755))
		return true;
	rmdir(p->upper);
	return false;
}

static void pair_remove(const struct pair *p)
{
	rmdir(p->lower);
	rmdir(p->upper);
}

/*
 * Has both found, and the root, by somebody who may nothing, in the hierarchy whose groups
 * have this file. Takes g.
 */
static void check(struct groups *g, const char *mount, const char *file)
{
	char path[PATH_MAX + 32];
	__u64 upper, lower, root;
	struct pair p = {};
	bool right;
	int walked;

	if (!pair_make(&p, mount)) {
		groups_free(g);
		skip();
	}
	snprintf(path, sizeof(path), "%s/%s", p.upper, file);
	right = !access(path, F_OK);
	upper = kernel_id(p.upper);
	lower = kernel_id(p.lower);
	root = kernel_id(mount);
	groups_path(g, lower);
	if (!seteuid(65534)) {
		walked = groups_refresh(g);
		assert_int_equal(seteuid(0), 0);
	} else {
		walked = groups_refresh(g);
	}
	pair_remove(&p);
	assert_true(right);
	assert_int_equal(walked, 1);
	assert_string_equal(groups_path(g, root), "/");
	assert_string_equal(groups_path(g, upper), p.upper + strlen(mount));
	assert_string_equal(groups_path(g, lower), p.lower + strlen(mount));
	groups_free(g);
}

static void check_hierarchy(const char *controller, enum tcplat_groups which, const char *file)
{
	static const struct groups_bounds bounds = { 100000, 8 << 20, 0 };
	char mount[PATH_MAX];
	int root = cgroup_root(controller, mount, sizeof(mount));
	struct groups *g;

	if (root == -ENOTSUP)
		skip();
	assert_in_range(root, 0, INT_MAX);
	assert_int_equal(groups_open(&g, root, which, &bounds), 0);
	assert_int_equal(groups_which(g), which);
	check(g, mount, file);
}

static void test_v2(void **state)
{
	(void)state;
	check_hierarchy(NULL, TCPLAT_GROUPS_V2, "cgroup.controllers");
}

static void test_v1_memory(void **state)
{
	(void)state;
	check_hierarchy("memory", TCPLAT_GROUPS_V1_MEMORY, "memory.limit_in_bytes");
}

static void test_v1_pids(void **state)
{
	(void)state;
	check_hierarchy("pids", TCPLAT_GROUPS_V1_PIDS, "pids.max");
}

static void test_v1_cpu(void **state)
{
	(void)state;
	check_hierarchy("cpu", TCPLAT_GROUPS_V1_CPU, "cpu.shares");
}

static const struct {
	const char *controller;
	enum tcplat_groups which;
} order[] = {
	{ "memory", TCPLAT_GROUPS_V1_MEMORY },
	{ "pids", TCPLAT_GROUPS_V1_PIDS },
	{ "cpu", TCPLAT_GROUPS_V1_CPU },
	{ NULL, TCPLAT_GROUPS_V2 },
};

/* By itself it takes the first of these; each is taken away when it has been. */
static void test_choice(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		char mount[PATH_MAX];
		struct groups *g;
		int root;

		while ((root = cgroup_root(order[i].controller, mount, sizeof(mount))) >= 0) {
			close(root);
			assert_int_equal(groups_new(&g), 0);
			assert_int_equal(groups_which(g), order[i].which);
			groups_free(g);
			assert_int_equal(umount2(mount, MNT_DETACH), 0);
		}
	}
	assert_int_equal(groups_new(&(struct groups *){ NULL }), -ENOTSUP);
}

static void mount_at(const char *from, char *to)
{
	assert_non_null(mkdtemp(to));
	assert_int_equal(mount(from, to, NULL, MS_BIND, NULL), 0);
}

static void unmount(const char *path)
{
	umount2(path, MNT_DETACH);
	rmdir(path);
}

/* Mounted often, first and last only a part of it: the whole is taken. */
static void test_mounted_often(void **state)
{
	char mounted[PATH_MAX], first[] = "/tmp/tcplat-unit-XXXXXX";
	char whole[] = "/tmp/tcplat-unit-XXXXXX", last[] = "/tmp/tcplat-unit-XXXXXX";
	struct stat st, now;
	struct pair p = {};
	int root;

	(void)state;
	if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		skip();
	root = cgroup_root(NULL, mounted, sizeof(mounted));
	if (root < 0)
		skip();
	assert_int_equal(fstat(root, &st), 0);
	close(root);
	if (!pair_make(&p, mounted))
		skip();
	mount_at(p.upper, first);
	mount_at(mounted, whole);
	mount_at(p.lower, last);
	pair_remove(&p);
	assert_int_equal(umount2(mounted, MNT_DETACH), 0);

	root = cgroup_root(NULL, mounted, sizeof(mounted));
	unmount(first);
	unmount(last);
	assert_int_equal(fstat(root, &now), 0);
	close(root);
	unmount(whole);
	assert_string_equal(mounted, whole);
	assert_int_equal(now.st_ino, st.st_ino);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_v1_memory),
		cmocka_unit_test(test_v1_pids),
		cmocka_unit_test(test_v1_cpu),
		cmocka_unit_test(test_mounted_often),
		/* Last: nothing is mounted after that. */
		cmocka_unit_test(test_choice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
