// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/lockdown.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/parse.h"
#include "core/cleanup.h"
#include "core/log.h"

/* --- Who we are ---------------------------------------------------------------------------- */

/* getpwnam(3): what an absent entry may be called instead of nothing at all. */
static int lookup_error(int err)
{
	return err == 0 || err == ESRCH || err == EBADF || err == EPERM ? -ENOENT : -err;
}

int lockdown_find_user(const char *name_or_uid, struct lockdown_user *u)
{
	const struct passwd *pw;
	__u64 uid;
	int err;

	errno = 0;
	pw = getpwnam(name_or_uid);
	if (!pw) {
		err = lookup_error(errno);
		/* The largest number means "no change" to the kernel. */
		if (parse_u64(name_or_uid, 0, (uid_t)-2, &uid))
			return err;
		pw = getpwuid((uid_t)uid);
		if (!pw) {
			*u = (struct lockdown_user){ (uid_t)uid, (gid_t)uid, true };
			return 0;
		}
	}
	*u = (struct lockdown_user){ pw->pw_uid, pw->pw_gid, true };
	return 0;
}

static bool is_user_already(const struct lockdown_user *u)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	return !getresuid(&ruid, &euid, &suid) && !getresgid(&rgid, &egid, &sgid) &&
	       ruid == u->uid && euid == u->uid && suid == u->uid && rgid == u->gid &&
	       egid == u->gid && sgid == u->gid;
}

static int become(const struct lockdown_user *u)
{
	int err;

	if (!u->given)
		return 0;
	/* Whoever is that user without rights to change has the groups that were given to them. */
	if ((!setgroups(0, NULL) || (errno == EPERM && is_user_already(u))) &&
	    !setresgid(u->gid, u->gid, u->gid) && !setresuid(u->uid, u->uid, u->uid))
		return 0;
	err = -errno;
	log_error("--user: cannot become user %u of group %u: %s%s", u->uid, u->gid, strerror(-err),
		  err == -EPERM ? "; that takes CAP_SETUID and CAP_SETGID" : "");
	return err;
}

/* --- What we may do ------------------------------------------------------------------------ */

/* Needs CAP_SETPCAP; without it the set stays, of no use to one who may not exec. */
static int drop_bounding_set(void)
{
	if (capng_get_caps_process())
		return -EIO;
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		return 0;
	capng_clear(CAPNG_SELECT_BOUNDS);
	return capng_apply(CAPNG_SELECT_BOUNDS) ? -EPERM : 0;
}

/* Asks the kernel afterwards: nothing may be left. */
static int drop_capabilities(void)
{
	capng_clear(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT);
	if (capng_apply(CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT) || capng_get_caps_process() ||
	    capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE ||
	    capng_have_capabilities(CAPNG_SELECT_AMBIENT) != CAPNG_NONE)
		return -EPERM;
	return 0;
}

/*
 * Another process of our user must not get at our descriptors (ptrace(2), pidfd_getfd(2)).
 * The kernel sees to that itself when we change users; root may still trace us.
 */
static int hide(void)
{
	if (!geteuid() || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 1)
		return 0;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? -errno : 0;
}

/* --- The system calls that are left --------------------------------------------------------- */

static const int harmless[] = {
	/* the loop */
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_gettime),
	SCMP_SYS(restart_syscall),
	/* what is open */
	SCMP_SYS(read),
	SCMP_SYS(pread64),
	SCMP_SYS(readv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(dup),
	SCMP_SYS(fstat),
	SCMP_SYS(fstatfs),
	SCMP_SYS(fadvise64),
	/* connections that others open to us */
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendfile),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockopt),
	/* looking at files; open() and openat() are below */
	SCMP_SYS(getdents64),
	SCMP_SYS(newfstatat),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(statx),
	SCMP_SYS(statfs),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(getcwd),
	/* clocks, which may not be set */
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	/* memory; mmap() and mprotect() are below */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(membarrier),
	SCMP_SYS(futex),
	/* ourselves */
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getppid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getrusage),
	SCMP_SYS(times),
	SCMP_SYS(uname),
	SCMP_SYS(sysinfo),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_yield),
	SCMP_SYS(getcpu),
	SCMP_SYS(getrandom),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/* Only what works on objects that we hold: none can be made, and no program attached. */
static const int bpf_commands[] = {
	BPF_MAP_LOOKUP_ELEM,  BPF_MAP_UPDATE_ELEM,    BPF_MAP_DELETE_ELEM,
	BPF_MAP_GET_NEXT_KEY, BPF_MAP_LOOKUP_BATCH,   BPF_MAP_LOOKUP_AND_DELETE_ELEM,
	BPF_ITER_CREATE,      BPF_OBJ_GET_INFO_BY_FD,
};

static const int fcntl_commands[] = { F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC };

static const int ioctls[] = { FIONBIO, FIONREAD, TCGETS, TIOCGWINSZ, PERF_EVENT_IOC_DISABLE };

static const struct {
	int level, option;
} socket_options[] = {
	{ IPPROTO_TCP, TCP_NODELAY },	   { IPPROTO_TCP, TCP_CORK },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT }, { IPPROTO_TCP, TCP_QUICKACK },
	{ SOL_SOCKET, SO_KEEPALIVE },	   { SOL_SOCKET, SO_LINGER },
	{ SOL_SOCKET, SO_SNDTIMEO },	   { SOL_SOCKET, SO_RCVTIMEO },
	{ SOL_SOCKET, SO_SNDBUF },	   { SOL_SOCKET, SO_RCVBUF },
};

/* As the kernel takes an int: the upper half of the register may be anything. */
#define INT_IS(arg, value) SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, 0xffffffff, (uint32_t)(value))
#define WITHOUT(arg, bits) SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, (uint32_t)(bits), 0)

/* O_TMPFILE holds O_DIRECTORY, which a directory is opened with to be read. */
#define TMPFILE_BIT (O_TMPFILE & ~O_DIRECTORY)
#define WRITING (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | TMPFILE_BIT)

static int allow_if(scmp_filter_ctx ctx, int call, struct scmp_arg_cmp what)
{
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, 1, &what);
}

static int allow_some(scmp_filter_ctx ctx, int call, unsigned arg, const int *values, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = allow_if(ctx, call, INT_IS(arg, values[i]));
	return err;
}

static int allow_socket_options(scmp_filter_ctx ctx)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(socket_options) && !err; i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2,
				       INT_IS(1, socket_options[i].level),
				       INT_IS(2, socket_options[i].option));
	return err;
}

/* Calls that are harmless with some arguments only. */
static int allow_conditionally(scmp_filter_ctx ctx)
{
	int err = allow_some(ctx, SCMP_SYS(bpf), 0, bpf_commands, ARRAY_SIZE(bpf_commands));

	if (!err)
		err = allow_some(ctx, SCMP_SYS(fcntl), 1, fcntl_commands,
				 ARRAY_SIZE(fcntl_commands));
	if (!err)
		err = allow_some(ctx, SCMP_SYS(ioctl), 1, ioctls, ARRAY_SIZE(ioctls));
	if (!err)
		err = allow_socket_options(ctx);
	if (!err)
		err = allow_if(ctx, SCMP_SYS(open), WITHOUT(1, WRITING));
	if (!err)
		err = allow_if(ctx, SCMP_SYS(openat), WITHOUT(2, WRITING));
	if (!err)
		err = allow_if(ctx, SCMP_SYS(mmap), WITHOUT(2, PROT_EXEC));
	if (!err)
		err = allow_if(ctx, SCMP_SYS(mprotect), WITHOUT(2, PROT_EXEC));
	/* To where a socket is connected. Of sendmsg(), only the flag shows what else it does. */
	if (!err)
		err = allow_if(ctx, SCMP_SYS(sendto), SCMP_CMP64(4, SCMP_CMP_EQ, 0));
	if (!err)
		err = allow_if(ctx, SCMP_SYS(sendmsg), WITHOUT(2, MSG_FASTOPEN));
	/* Reading a limit. */
	if (!err)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, INT_IS(0, 0),
				       SCMP_CMP64(2, SCMP_CMP_EQ, 0));
	/* abort(3). */
	if (!err)
		err = allow_if(ctx, SCMP_SYS(tgkill), INT_IS(0, getpid()));
	return err;
}

/*
 * EPERM, not death: a C library that does something in another way must not take the
 * agent down. Calls of another architecture (int 0x80, x32) are nobody's mistake.
 */
static int filter_calls(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err;

	if (!ctx)
		return -ENOMEM;
	err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	for (size_t i = 0; i < ARRAY_SIZE(harmless) && !err; i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, harmless[i], 0);
	if (!err)
		err = allow_conditionally(ctx);
	if (!err)
		err = seccomp_load(ctx);
	seccomp_release(ctx);
	return err;
}

int lockdown(const struct lockdown_user *u)
{
	const char *step = "the bounding set of capabilities cannot be emptied";
	int err = drop_bounding_set();

	if (!err) {
		err = become(u);
		if (err)
			return err;
		step = "capabilities cannot be given up";
		err = drop_capabilities();
	}
	if (!err) {
		step = "tracing by others cannot be ruled out";
		err = hide();
	}
	if (!err) {
		step = "no-new-privileges cannot be set";
		err = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
	}
	if (!err) {
		step = "the filter of system calls (seccomp) cannot be set";
		err = filter_calls();
	}
	if (err)
		log_error("cannot give up rights: %s: %s", step, strerror(-err));
	return err;
}
