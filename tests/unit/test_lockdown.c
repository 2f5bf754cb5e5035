// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rights given up: a child locks itself down and tries everything on the real kernel. It
 * leaves with _exit(), for the checks that the sanitizers make at an exit need a clone().
 */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "serve/lockdown.h"

#define NOBODY 65534
#define MOST 64

/* Written by the child. */
static struct report {
	int lockdown, count;
	struct {
		char name[32];
		int err;
	} tried[MOST];
	int library; /* the line that failed */
	uid_t owner; /* of its files in /proc: root when nobody else may look into it */
	char status[4096];
} * report;

/* What the child has before it gives up its rights. */
static struct {
	int epoll, timer, pair[2], udp, map;
} world;

static int setup(void **state)
{
	(void)state;
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	return report == MAP_FAILED;
}

static int teardown(void **state)
{
	(void)state;
	return munmap(report, sizeof(*report));
}

static void prepare(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY,
				.key_size = 4,
				.value_size = 8,
				.max_entries = 1,
				.map_flags = BPF_F_MMAPABLE };

	world.epoll = epoll_create1(0);
	world.timer = timerfd_create(CLOCK_MONOTONIC, 0);
	world.udp = socket(AF_INET, SOCK_DGRAM, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, world.pair))
		_exit(2);
	world.map = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

struct call {
	const char *name; /* with "?": some hosts refuse it to everybody */
	long number;
	long args[6];
};

static bool may_fail(int i)
{
	return report->tried[i].name[0] == '?';
}

#define P(pointer) ((long)(pointer))

/* Each call as it is: no library is to know better. */
static void try_calls(const struct call *calls, size_t n)
{
	for (size_t i = 0; i < n && report->count < MOST; i++) {
		const struct call *c = &calls[i];
		int at = report->count++;
		long got = syscall(c->number, c->args[0], c->args[1], c->args[2], c->args[3],
				   c->args[4], c->args[5]);

		if (c->number == SYS_fork && !got)
			_exit(0);
		snprintf(report->tried[at].name, sizeof(report->tried[at].name), "%s", c->name);
		report->tried[at].err = got == -1 ? errno : 0;
	}
}

/* Chosen so that a process with all rights fails otherwise, or does nothing. */
static void try_forbidden(void)
{
	static char page[4096] __attribute__((aligned(4096)));
	const char *null = "/dev/null", *none = "/no/such/file", *tmp = "/tmp";
	char *const argv[] = { NULL };
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct msghdr msg = {};
	struct rlimit limit = { 64, 64 };
	const long at = AT_FDCWD, other = 1;
	const struct call calls[] = {
		{ "open O_WRONLY", SYS_open, { P(null), O_WRONLY } },
		{ "openat O_WRONLY", SYS_openat, { at, P(null), O_WRONLY } },
		{ "openat O_RDWR", SYS_openat, { at, P(null), O_RDWR } },
		{ "openat O_CREAT", SYS_openat, { at, P(null), O_CREAT, 0600 } },
		{ "openat O_TRUNC", SYS_openat, { at, P(null), O_TRUNC } },
		{ "openat O_APPEND", SYS_openat, { at, P(null), O_APPEND } },
		{ "openat O_TMPFILE", SYS_openat, { at, P(tmp), O_TMPFILE, 0600 } },
		{ "creat", SYS_creat, { P(none), 0600 } },
		{ "openat2", SYS_openat2, { at, P(null), 0, 0 } },
		{ "?open_by_handle_at", SYS_open_by_handle_at, { -1, P(page), 0 } },
		{ "unlink", SYS_unlink, { P(none) } },
		{ "rename", SYS_rename, { P(none), P(none) } },
		{ "mkdir", SYS_mkdir, { P("/no/such/directory"), 0700 } },
		{ "chmod", SYS_chmod, { P(none), 0600 } },
		{ "ftruncate", SYS_ftruncate, { -1, 0 } },
		{ "?mount", SYS_mount, { P(none), P(none), P(none), 0, 0 } },
		{ "execve", SYS_execve, { P(none), P(argv), P(argv) } },
		{ "execveat", SYS_execveat, { at, P(none), P(argv), P(argv), 0 } },
		{ "fork", SYS_fork, {} },
		{ "clone", SYS_clone, { CLONE_SIGHAND | SIGCHLD } },
		{ "clone3", SYS_clone3, { 0, 0 } },
		{ "ptrace", SYS_ptrace, { PTRACE_PEEKDATA, getpid() } },
		{ "process_vm_readv", SYS_process_vm_readv, { getpid(), 0, 0, 0, 0, 0 } },
		{ "process_vm_writev", SYS_process_vm_writev, { getpid(), 0, 0, 0, 0, 0 } },
		{ "pidfd_open", SYS_pidfd_open, { getpid(), 0 } },
		{ "?kill", SYS_kill, { other, 0 } },
		{ "?tgkill", SYS_tgkill, { other, other, 0 } },
		{ "socket", SYS_socket, { AF_INET, SOCK_STREAM, 0 } },
		{ "connect", SYS_connect, { world.pair[0], P(&to), sizeof(to) } },
		{ "bind", SYS_bind, { -1, P(&to), sizeof(to) } },
		{ "listen", SYS_listen, { -1, 1 } },
		{ "sendto", SYS_sendto, { world.udp, P(page), 0, 0, P(&to), 1 } },
		{ "sendmsg fast open", SYS_sendmsg, { -1, P(&msg), MSG_FASTOPEN } },
		{ "setsockopt", SYS_setsockopt, { -1, SOL_SOCKET, SO_ATTACH_FILTER, 0, 0 } },
		{ "bpf PROG_LOAD", SYS_bpf, { BPF_PROG_LOAD, P(page), 0 } },
		{ "bpf MAP_CREATE", SYS_bpf, { BPF_MAP_CREATE, P(page), 0 } },
		{ "bpf LINK_CREATE", SYS_bpf, { BPF_LINK_CREATE, P(page), 0 } },
		{ "bpf OBJ_PIN", SYS_bpf, { BPF_OBJ_PIN, P(page), 0 } },
		{ "?perf_event_open", SYS_perf_event_open, { 0, 0, 0, 0, 0 } },
		{ "mmap PROT_EXEC",
		  SYS_mmap,
		  { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0 } },
		{ "mprotect PROT_EXEC", SYS_mprotect, { P(page), 0, PROT_EXEC } },
		{ "memfd_create", SYS_memfd_create, { P("x"), 0 } },
		{ "?setuid", SYS_setuid, { 0 } },
		{ "?setgid", SYS_setgid, { 0 } },
		{ "?setgroups", SYS_setgroups, { 0, 0 } },
		{ "capset", SYS_capset, { 0, 0 } },
		{ "prctl", SYS_prctl, { PR_GET_DUMPABLE } },
		{ "?prlimit64", SYS_prlimit64, { 0, RLIMIT_CORE, P(&limit), P(&limit) } },
		{ "personality", SYS_personality, { 0xffffffff } },
		{ "unshare", SYS_unshare, { 0 } },
		{ "setns", SYS_setns, { -1, 0 } },
		{ "?init_module", SYS_init_module, { 0, 0, 0 } },
		{ "?kexec_load", SYS_kexec_load, { 0, 0, 0, -1 } },
		{ "?io_uring_setup", SYS_io_uring_setup, { 0, 0 } },
		{ "fcntl F_SETOWN", SYS_fcntl, { world.pair[0], F_SETOWN, getpid() } },
		{ "ioctl TIOCSTI", SYS_ioctl, { -1, TIOCSTI, P(page) } },
	};

	try_calls(calls, ARRAY_SIZE(calls));
}

static void try_allowed(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct itimerspec soon = { .it_value.tv_nsec = 1 };
	struct rlimit limit;
	union bpf_attr element = { .map_fd = (__u32)world.map };
	static __u32 key;
	static __u64 value = 7;
	static struct bpf_map_info info;
	union bpf_attr about = { .info = { .bpf_fd = (__u32)world.map,
					   .info_len = sizeof(info),
					   .info = (__u64)P(&info) } };
	char byte = 1;
	int on = 1;
	const long at = AT_FDCWD;
	const struct call calls[] = {
		{ "epoll_ctl", SYS_epoll_ctl, { world.epoll, EPOLL_CTL_ADD, world.timer, P(&ev) } },
		{ "timerfd_settime", SYS_timerfd_settime, { world.timer, 0, P(&soon), 0 } },
		{ "epoll_wait", SYS_epoll_wait, { world.epoll, P(&ev), 1, 1000 } },
		{ "send", SYS_sendto, { world.pair[0], P(&byte), 1, MSG_NOSIGNAL, 0, 0 } },
		{ "recv", SYS_recvfrom, { world.pair[1], P(&byte), 1, 0, 0, 0 } },
		{ "setsockopt",
		  SYS_setsockopt,
		  { world.pair[0], SOL_SOCKET, SO_SNDBUF, P(&on), sizeof(on) } },
		{ "ioctl", SYS_ioctl, { world.pair[0], FIONBIO, P(&on) } },
		{ "fcntl", SYS_fcntl, { world.pair[0], F_GETFL } },
		{ "shutdown", SYS_shutdown, { world.pair[0], SHUT_RDWR } },
		{ "open", SYS_open, { P("/proc/self/stat"), O_RDONLY | O_CLOEXEC } },
		{ "openat",
		  SYS_openat,
		  { at, P("/proc"),
		    O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW } },
		{ "?membarrier", SYS_membarrier, { 0, 0, 0 } },
		{ "getrlimit", SYS_prlimit64, { 0, RLIMIT_NOFILE, 0, P(&limit) } },
		{ "tgkill of ourselves", SYS_tgkill, { getpid(), getpid(), 0 } },
	};
	const struct call bpf[] = {
		{ "bpf MAP_UPDATE_ELEM", SYS_bpf, { BPF_MAP_UPDATE_ELEM, P(&element), 32 } },
		{ "bpf MAP_LOOKUP_ELEM", SYS_bpf, { BPF_MAP_LOOKUP_ELEM, P(&element), 32 } },
		{ "bpf OBJ_GET_INFO_BY_FD", SYS_bpf, { BPF_OBJ_GET_INFO_BY_FD, P(&about), 16 } },
		{ "mmap of a map",
		  SYS_mmap,
		  { 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, world.map, 0 } },
	};

	element.key = (__u64)P(&key);
	element.value = (__u64)P(&value);
	try_calls(calls, ARRAY_SIZE(calls));
	if (world.map >= 0)
		try_calls(bpf, ARRAY_SIZE(bpf));
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

#define CHECK(condition)                 \
	do {                             \
		if (!(condition))        \
			return __LINE__; \
	} while (0)

/* Through the C library, which may make any calls it likes. Returns the line that failed. */
static int try_library(void)
{
	const size_t size = 64 << 20, number = 1 << 20;
	struct timespec nap = { .tv_nsec = 1 };
	struct rusage usage;
	struct stat st;
	int *numbers, *more;
	char *big, *bigger;
	FILE *f;
	DIR *d;

	d = opendir("/proc/self/fd");
	CHECK(d && readdir(d) && !closedir(d));
	f = fopen("/proc/self/status", "re");
	CHECK(f && fread(report->status, 1, sizeof(report->status) - 1, f) > 0 && !fclose(f));
	CHECK(!stat("/proc/self/stat", &st));
	report->owner = st.st_uid;
	f = fopen("/dev/null", "w");
	CHECK(!f && errno == EPERM);
	big = malloc(size);
	CHECK(big);
	memset(big, 1, size);
	bigger = realloc(big, 2 * size);
	CHECK(bigger && bigger[size - 1] == 1);
	free(bigger);
	numbers = calloc(number, sizeof(*numbers));
	CHECK(numbers);
	qsort(numbers, number, sizeof(*numbers), compare);
	more = realloc(numbers, sizeof(*numbers));
	CHECK(more);
	free(more);
	CHECK(sysconf(_SC_NPROCESSORS_ONLN) > 0 && sysconf(_SC_PHYS_PAGES) > 0 &&
	      sysconf(_SC_OPEN_MAX) > 0);
	CHECK(!nanosleep(&nap, NULL));
	CHECK(!getrusage(RUSAGE_SELF, &usage));
	CHECK(dprintf(STDERR_FILENO, "%s", "") == 0);
	return 0;
}

/* The child's status; what it found is in *report. */
static int in_child(const struct lockdown_user *u, void (*tries)(void), bool locked)
{
	int status;
	pid_t pid;

	memset(report, 0, sizeof(*report));
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prepare();
		if (locked)
			report->lockdown = lockdown(u);
		if (report->lockdown)
			_exit(1);
		if (tries)
			tries();
		if (locked)
			report->library = try_library();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_status(const char *line)
{
	if (!strstr(report->status, line))
		fail_msg("no \"%s\" in:\n%s", line, report->status);
}

static const struct lockdown_user as_we_are, nobody = { NOBODY, NOBODY, true };

static void assert_locked(const struct lockdown_user *u)
{
	assert_int_equal(in_child(u, try_forbidden, true), 0);
	for (int i = 0; i < report->count; i++)
		if (report->tried[i].err != EPERM)
			fail_msg("%s: %s", report->tried[i].name, strerror(report->tried[i].err));
	assert_in_range(report->count, 50, MOST - 1);
	assert_int_equal(report->library, 0);
	assert_int_equal(report->owner, 0);
	assert_status("\nCapInh:\t0000000000000000\n");
	assert_status("\nCapPrm:\t0000000000000000\n");
	assert_status("\nCapEff:\t0000000000000000\n");
	assert_status("\nCapAmb:\t0000000000000000\n");
	assert_status("\nNoNewPrivs:\t1\n");
	assert_status("\nSeccomp:\t2\n");
	assert_int_equal(in_child(u, try_allowed, true), 0);
	for (int i = 0; i < report->count; i++)
		if (report->tried[i].err && !(may_fail(i) && report->tried[i].err != EPERM))
			fail_msg("%s: %s", report->tried[i].name, strerror(report->tried[i].err));
	assert_true(report->count >= 14);
	assert_int_equal(report->library, 0);
}

static void test_as_we_are(void **state)
{
	(void)state;
	assert_locked(&as_we_are);
}

static void test_as_nobody(void **state)
{
	(void)state;
	if (geteuid()) {
		print_message("only root can become another user\n");
		skip();
	}
	assert_locked(&nobody);
	assert_status("\nUid:\t65534\t65534\t65534\t65534\n");
	assert_status("\nGid:\t65534\t65534\t65534\t65534\n");
	assert_status("\nGroups:\t \n");
	assert_status("\nCapBnd:\t0000000000000000\n");
}

/* The same calls by one who has all rights: the kernel would have let them through. */
static void test_without(void **state)
{
	int others = 0;

	(void)state;
	if (geteuid()) {
		print_message("only root is refused nothing anyway\n");
		skip();
	}
	assert_int_equal(in_child(&as_we_are, try_forbidden, false), 0);
	for (int i = 0; i < report->count; i++) {
		others += may_fail(i);
		if (!may_fail(i) && report->tried[i].err == EPERM)
			fail_msg("%s is refused without a lockdown", report->tried[i].name);
	}
	assert_true(report->count - others >= 40);
}

static void call_x32(void)
{
	syscall(0x40000000 | SYS_getpid);
}

/* A call of another architecture has another number here. */
static void test_other_architecture(void **state)
{
	int status;

	(void)state;
#ifndef __x86_64__
	skip();
#endif
	status = in_child(&as_we_are, call_x32, true);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void become_nobody(void)
{
	const struct lockdown_user other = { 1, 1, true };

	if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		_exit(3);
	report->lockdown = lockdown(&other);
	/* Who is that user already needs no right for it. */
	report->count = lockdown(&nobody);
}

static void test_no_right_to_change(void **state)
{
	const char *said;

	(void)state;
	if (geteuid()) {
		print_message("only root can become a user who may not\n");
		skip();
	}
	stderr_begin();
	assert_int_equal(in_child(NULL, become_nobody, false), 0);
	said = stderr_end();
	assert_int_equal(report->lockdown, -EPERM);
	assert_int_equal(report->count, 0);
	assert_one_line(said);
	assert_holds(said, "--user: cannot become user 1 of group 1: Operation not permitted; "
			   "that takes CAP_SETUID and CAP_SETGID");
}

static void assert_user(const char *text, uid_t uid, gid_t gid)
{
	struct lockdown_user u = {};

	assert_int_equal(lockdown_find_user(text, &u), 0);
	assert_true(u.given);
	assert_int_equal(u.uid, uid);
	assert_int_equal(u.gid, gid);
}

static void test_users(void **state)
{
	const char *const none[] = { "no-such-user", "",	   "-1", "1x",
				     "4294967295",   "4294967296", " 0", "0x0" };
	struct lockdown_user u = {};

	(void)state;
	assert_user("root", 0, 0);
	assert_user("0", 0, 0);
	assert_user("nobody", NOBODY, NOBODY);
	assert_user("65534", NOBODY, NOBODY);
	assert_user("4000000000", 4000000000, 4000000000);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(lockdown_find_user(none[i], &u), -ENOENT);
	assert_false(u.given);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_we_are),
		cmocka_unit_test(test_as_nobody),
		cmocka_unit_test(test_without),
		cmocka_unit_test(test_other_architecture),
		cmocka_unit_test(test_no_right_to_change),
		cmocka_unit_test(test_users),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
