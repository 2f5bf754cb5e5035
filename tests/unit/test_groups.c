// SPDX-License-Identifier: GPL-2.0-or-later
/* Names of groups by walking, in trees made up here. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "serve/groups.h"

static const struct groups_bounds roomy = { 100000, 8 << 20, 0 };

/* A directory that stands for the root of a hierarchy. */
struct tree {
	char top[64];
	struct groups *g;
};

/* Those of the test that runs. */
static struct tree trees[2];

static struct tree *tree_open(const struct groups_bounds *bounds)
{
	struct tree *t = trees[0].g ? &trees[1] : &trees[0];
	int fd;

	/* Not on overlayfs, which a container's other directories may be on. */
	snprintf(t->top, sizeof(t->top), "%s/tcplat-groups-XXXXXX",
		 access("/dev/shm", W_OK) ? P_tmpdir : "/dev/shm");
	assert_non_null(mkdtemp(t->top));
	fd = open(t->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(groups_open(&t->g, fd, TCPLAT_GROUPS_V2, bounds), 0);
	return t;
}

static const char *below(const struct tree *t, const char *path)
{
	static char full[PATH_MAX];

	assert_in_range(snprintf(full, sizeof(full), "%s%s", t->top, path), 1, sizeof(full) - 1);
	return full;
}

/* Also what is deeper than a path can be: fts(3) goes there. */
static int remove_tree(char *top)
{
	FTS *fts = fts_open((char *[]){ top, NULL }, FTS_PHYSICAL | FTS_XDEV, NULL);
	int failed = 0;
	FTSENT *e;

	while (fts && (e = fts_read(fts))) {
		if (e->fts_info != FTS_D)
			failed |= remove(e->fts_accpath);
	}
	return failed | !fts | fts_close(fts);
}

/* After each test, also one that failed. */
static int trees_close(void **state)
{
	int failed = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(trees); i++) {
		if (!trees[i].g)
			continue;
		groups_free(trees[i].g);
		umount2(below(&trees[i], "/hidden"), MNT_DETACH);
		umount2(below(&trees[i], "/bound"), MNT_DETACH);
		failed |= remove_tree(trees[i].top);
		trees[i].g = NULL;
	}
	return failed;
}

static __u64 id_of(const struct tree *t, const char *path)
{
	struct stat st;

	assert_int_equal(stat(below(t, path), &st), 0);
	return st.st_ino;
}

static __u64 make(const struct tree *t, const char *path)
{
	assert_int_equal(mkdir(below(t, path), 0755), 0);
	return id_of(t, path);
}

static void assert_number(struct groups *g, __u64 id)
{
	char number[32];

	snprintf(number, sizeof(number), "#%llu", id);
	assert_string_equal(groups_path(g, id), number);
}

static void test_paths(void **state)
{
	static const char *const paths[] = {
		"/kubepods",   "/kubepods/burstable", "/kubepods/burstable/pod1", "/a b",
		"/a b/\n\"\\", "/a b/\xff\xfe",	      "/kubepods.slice",
	};
	__u64 ids[ARRAY_SIZE(paths)];
	const char *text;
	struct tree *t;

	(void)state;
	t = tree_open(&roomy);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		ids[i] = make(t, paths[i]);
	close(creat(below(t, "/kubepods/cgroup.procs"), 0644));

	/* Nothing is walked before somebody asks, and a name comes with the next walk. */
	assert_int_equal(groups_refresh(t->g), 0);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		assert_number(t->g, ids[i]);
	text = groups_path(t->g, ids[0]);
	assert_ptr_equal(text, groups_path(t->g, ids[0]));
	assert_int_equal(groups_refresh(t->g), 1);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		assert_string_equal(groups_path(t->g, ids[i]), paths[i]);
	assert_string_equal(groups_path(t->g, id_of(t, "")), "/");
	/* A file has a number too, but is no group. */
	assert_number(t->g, id_of(t, "/kubepods/cgroup.procs"));
}

/* How often it walks. */
static void test_walks(void **state)
{
	__u64 a, b, late;
	struct tree *t;

	(void)state;
	t = tree_open(&roomy);
	a = make(t, "/a");
	b = make(t, "/b");
	groups_path(t->g, a);
	assert_int_equal(groups_refresh(t->g), 1);
	/* The walk has found it all, asked for or not. */
	assert_string_equal(groups_path(t->g, b), "/b");
	assert_int_equal(groups_refresh(t->g), 0);
	/* One that is not there costs one walk, however often it is asked for. */
	for (int i = 0; i < 3; i++) {
		assert_number(t->g, ~0ULL);
		assert_int_equal(groups_refresh(t->g), !i);
	}
	/* 0 is said where nobody knows whose it is. */
	assert_string_equal(groups_path(t->g, 0), "#0");
	assert_int_equal(groups_refresh(t->g), 0);
	/* A new one costs one, which the one that is not there does not repeat. */
	late = make(t, "/b/late");
	assert_number(t->g, late);
	assert_number(t->g, ~0ULL);
	assert_int_equal(groups_refresh(t->g), 1);
	assert_string_equal(groups_path(t->g, late), "/b/late");
	assert_number(t->g, ~0ULL);
	assert_int_equal(groups_refresh(t->g), 0);
}

/* Groups come and go, also between two walks. */
static void test_gone(void **state)
{
	__u64 kept, idle;
	struct tree *t;

	(void)state;
	t = tree_open(&roomy);
	kept = make(t, "/kept");
	idle = make(t, "/idle");
	groups_path(t->g, kept);
	assert_int_equal(groups_refresh(t->g), 1);
	assert_string_equal(groups_path(t->g, kept), "/kept");
	assert_int_equal(rmdir(below(t, "/kept")), 0);
	assert_int_equal(rmdir(below(t, "/idle")), 0);
	/* A walk for others: what was asked for stays known, the rest is forgotten. */
	groups_path(t->g, ~0ULL);
	assert_int_equal(groups_refresh(t->g), 1);
	assert_number(t->g, idle);
	assert_string_equal(groups_path(t->g, kept), "/kept");
	/* Until nobody has asked for eight walks; then it is looked for again. */
	for (__u64 i = 1; i <= 8; i++) {
		groups_path(t->g, ~i);
		assert_int_equal(groups_refresh(t->g), 1);
	}
	assert_string_equal(groups_path(t->g, kept), "/kept");
	for (__u64 i = 11; i <= 19; i++) {
		groups_path(t->g, ~i);
		assert_int_equal(groups_refresh(t->g), 1);
	}
	assert_number(t->g, kept);
	assert_int_equal(groups_refresh(t->g), 1);
	assert_number(t->g, kept);
	assert_int_equal(groups_refresh(t->g), 0);
}

/* v1 lets groups be renamed. */
static void test_renamed(void **state)
{
	char old[PATH_MAX];
	struct tree *t;
	__u64 id;

	(void)state;
	t = tree_open(&roomy);
	id = make(t, "/old");
	groups_path(t->g, id);
	assert_int_equal(groups_refresh(t->g), 1);
	assert_string_equal(groups_path(t->g, id), "/old");
	snprintf(old, sizeof(old), "%s", below(t, "/old"));
	assert_int_equal(rename(old, below(t, "/new")), 0);
	groups_path(t->g, ~0ULL);
	assert_int_equal(groups_refresh(t->g), 1);
	assert_string_equal(groups_path(t->g, id), "/new");
}

/* Links are not followed. */
static void test_links(void **state)
{
	struct tree *t, *other;
	__u64 outside;

	(void)state;
	t = tree_open(&roomy);
	other = tree_open(&roomy);
	outside = make(other, "/outside");
	assert_int_equal(symlink(other->top, below(t, "/link")), 0);
	assert_int_equal(symlink(".", below(t, "/loop")), 0);
	assert_number(t->g, outside);
	assert_int_equal(groups_refresh(t->g), 1);
	assert_number(t->g, outside);
}

/* What is mounted in the tree is another; a group that it hides keeps its own name. */
static void test_mounts(void **state)
{
	const struct groups_bounds exact = { 5, 1 << 20, 0 };
	__u64 hidden, foreign, twice;
	char source[PATH_MAX];
	struct tree *t;

	(void)state;
	if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		skip();
	t = tree_open(&exact);
	hidden = make(t, "/hidden");
	make(t, "/bound");
	make(t, "/source");
	twice = make(t, "/source/twice");
	assert_int_equal(mount("none", below(t, "/hidden"), "tmpfs", 0, NULL), 0);
	foreign = make(t, "/hidden/foreign");
	snprintf(source, sizeof(source), "%s", below(t, "/source"));
	assert_int_equal(mount(source, below(t, "/bound"), NULL, MS_BIND, NULL), 0);
	groups_path(t->g, hidden);
	assert_int_equal(groups_refresh(t->g), 1);
	assert_string_equal(groups_path(t->g, hidden), "/hidden");
	if (foreign != hidden && foreign != twice)
		assert_number(t->g, foreign);
	assert_string_equal(groups_path(t->g, twice), "/source/twice");
}

/* A group that only its owner may look into has a name, those below it have none. */
static void test_closed(void **state)
{
	__u64 closed, lower, open;
	struct tree *t;

	(void)state;
	if (geteuid())
		skip();
	t = tree_open(&roomy);
	closed = make(t, "/closed");
	lower = make(t, "/closed/lower");
	open = make(t, "/open");
	assert_int_equal(chmod(t->top, 0755), 0);
	assert_int_equal(chmod(below(t, "/closed"), 0700), 0);
	groups_path(t->g, closed);
	assert_int_equal(seteuid(65534), 0);
	assert_int_equal(groups_refresh(t->g), 1);
	assert_int_equal(seteuid(0), 0);
	assert_string_equal(groups_path(t->g, closed), "/closed");
	assert_string_equal(groups_path(t->g, open), "/open");
	assert_number(t->g, lower);
}

/* Deeper than a path can be: what a path reaches is known, and nothing breaks. */
static void test_deep(void **state)
{
	char name[201], path[PATH_MAX] = "";
	__u64 ids[24];
	struct tree *t;
	int fd, n = ARRAY_SIZE(ids), len = 0;

	(void)state;
	t = tree_open(&roomy);
	memset(name, 'd', 200);
	name[200] = 0;
	fd = open(t->top, O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < n; i++) {
		struct stat st;
		int next;

		assert_int_equal(mkdirat(fd, name, 0755), 0);
		next = openat(fd, name, O_RDONLY | O_DIRECTORY);
		assert_int_equal(fstat(next, &st), 0);
		ids[i] = st.st_ino;
		close(fd);
		fd = next;
		groups_path(t->g, ids[i]);
	}
	close(fd);
	assert_int_equal(groups_refresh(t->g), 1);
	for (int i = 0; i < n; i++) {
		if (i >= 20) { /* 20 * 201 = 4020 */
			assert_number(t->g, ids[i]);
			continue;
		}
		len += snprintf(path + len, sizeof(path) - len, "/%s", name);
		assert_string_equal(groups_path(t->g, ids[i]), path);
	}
}

/* Too many: said, the upper levels known, names from before kept, no walk after walk. */
static void test_too_many(void **state)
{
	const struct groups_bounds few = { 40, 1 << 20, 0 };
	__u64 first, upper, low[50];
	char path[64];
	struct tree *t;
	int known = 0;

	(void)state;
	t = tree_open(&few);
	first = make(t, "/first");
	low[0] = make(t, "/first/0");
	groups_path(t->g, low[0]);
	assert_int_equal(groups_refresh(t->g), 1);
	assert_string_equal(groups_path(t->g, low[0]), "/first/0");
	for (int i = 1; i < 50; i++) {
		snprintf(path, sizeof(path), "/first/%d", i);
		low[i] = make(t, path);
	}
	upper = make(t, "/upper");
	for (int i = 1; i < 50; i++)
		groups_path(t->g, low[i]);
	assert_int_equal(groups_refresh(t->g), -E2BIG);
	assert_string_equal(groups_path(t->g, first), "/first");
	assert_string_equal(groups_path(t->g, upper), "/upper");
	assert_string_equal(groups_path(t->g, low[0]), "/first/0");
	for (int i = 0; i < 50; i++)
		known += *groups_path(t->g, low[i]) == '/';
	assert_in_range(known, 37, 38); /* 40 less the root and two, and one from before */
	assert_int_equal(groups_refresh(t->g), 0);
}

/* The bytes of names are bounded, and so are those of the paths that were asked for. */
static void test_too_long(void **state)
{
	const struct groups_bounds small = { 1000, 1000, 0 };
	char path[256] = "/";
	struct tree *t;
	__u64 id;

	(void)state;
	t = tree_open(&small);
	memset(path + 1, 'n', 200);
	for (int i = 0; i < 6; i++) {
		path[1] = '0' + i;
		id = make(t, path);
	}
	groups_path(t->g, id);
	assert_int_equal(groups_refresh(t->g), -E2BIG);
	for (__u64 i = 0; i < 100; i++)
		assert_int_equal(*groups_path(t->g, ~i), '#');
	assert_string_equal(groups_path(t->g, 12345), "#");
	/* The next walk forgets what nobody asks for any more. */
	assert_int_equal(groups_refresh(t->g), -E2BIG);
	groups_path(t->g, 12345);
	assert_int_equal(groups_refresh(t->g), -E2BIG);
	assert_number(t->g, 12345);
}

static void test_pause(void **state)
{
	const struct groups_bounds rare = { 1000, 1 << 20, 1 << 30 };
	struct tree *t;
	__u64 id;

	(void)state;
	t = tree_open(&rare);
	groups_path(t->g, 1);
	assert_int_equal(groups_refresh(t->g), 1);
	id = make(t, "/a");
	assert_number(t->g, id);
	assert_int_equal(groups_refresh(t->g), 0); /* for hours */
	assert_number(t->g, id);
}

/* A walk that fails for want of descriptors leaves what was known, and is made up for. */
static void test_no_descriptors(void **state)
{
	struct rlimit limit, none;
	struct tree *t;
	__u64 a, b;

	(void)state;
	t = tree_open(&roomy);
	a = make(t, "/a");
	groups_path(t->g, a);
	assert_int_equal(groups_refresh(t->g), 1);
	b = make(t, "/b");
	assert_number(t->g, b);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ 0, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(groups_refresh(t->g), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_string_equal(groups_path(t->g, a), "/a");
	assert_number(t->g, b);
	assert_int_equal(groups_refresh(t->g), 1);
	assert_string_equal(groups_path(t->g, b), "/b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_paths, trees_close),
		cmocka_unit_test_teardown(test_walks, trees_close),
		cmocka_unit_test_teardown(test_gone, trees_close),
		cmocka_unit_test_teardown(test_renamed, trees_close),
		cmocka_unit_test_teardown(test_links, trees_close),
		cmocka_unit_test_teardown(test_mounts, trees_close),
		cmocka_unit_test_teardown(test_closed, trees_close),
		cmocka_unit_test_teardown(test_deep, trees_close),
		cmocka_unit_test_teardown(test_too_many, trees_close),
		cmocka_unit_test_teardown(test_too_long, trees_close),
		cmocka_unit_test_teardown(test_pause, trees_close),
		cmocka_unit_test_teardown(test_no_descriptors, trees_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
