// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * inject PID: makes a running process try system calls, as somebody would who has got the
 * better of it, and prints a line for each: its name, the result, and the error or "-". Then
 * the process goes on where it was, as if nothing had happened.
 */
#define _GNU_SOURCE
#include <stdio.h>

#ifndef __x86_64__
int main(void)
{
	fprintf(stderr, "inject: only on x86-64\n");
	return 77;
}
#else

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/elf.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define RED_ZONE 128 /* below its stack pointer, which the process may be using */
#define STEPS_MAX 16

struct victim {
	pid_t pid;
	int mem, pending; /* a signal of others, which is handed on in the end */
	struct user_regs_struct before;
	uint64_t scratch; /* in its memory, below the stack */
	unsigned char code[2];
};

/* What lies at scratch, and is put back. */
struct scratch {
	char null[16], none[16], self[32], proc[16], tmp[8], name[8];
	uint64_t argv[1];
	unsigned char zero[128], ones[64];
};

static const unsigned char syscall_instruction[] = { 0x0f, 0x05 };

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	fprintf(stderr, "inject: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(err));
	/* The kernel lets a process go on whose tracer has ended. */
	exit(1);
}

static void get(const struct victim *v, uint64_t at, void *to, size_t size)
{
	if (pread(v->mem, to, size, (off_t)at) != (ssize_t)size)
		die("cannot read its memory");
}

/* Also where the process itself may not write. */
static void put(const struct victim *v, uint64_t at, const void *from, size_t size)
{
	if (pwrite(v->mem, from, size, (off_t)at) != (ssize_t)size)
		die("cannot write its memory");
}

static void get_regs(const struct victim *v, struct user_regs_struct *regs)
{
	if (ptrace(PTRACE_GETREGS, v->pid, NULL, regs))
		die("cannot read its registers");
}

static void put_regs(const struct victim *v, const struct user_regs_struct *regs)
{
	if (ptrace(PTRACE_SETREGS, v->pid, NULL, regs))
		die("cannot write its registers");
}

static int wait_stop(const struct victim *v)
{
	int status;

	if (waitpid(v->pid, &status, __WALL) != v->pid)
		die("waitpid");
	if (!WIFSTOPPED(status)) {
		fprintf(stderr, "inject: the process has ended, status %#x\n", status);
		exit(1);
	}
	return status;
}

/* A child that it was able to make goes on nowhere. */
static void end_child(const struct victim *v)
{
	unsigned long child;
	int status;

	if (ptrace(PTRACE_GETEVENTMSG, v->pid, NULL, &child))
		die("PTRACE_GETEVENTMSG");
	kill((pid_t)child, SIGKILL);
	do
		if (waitpid((pid_t)child, &status, __WALL) < 0)
			break;
	while (WIFSTOPPED(status));
}

/* To the end of one system call, whose instruction is next. */
static void step(struct victim *v)
{
	for (int i = 0; i < STEPS_MAX; i++) {
		int status, event;

		if (ptrace(PTRACE_SINGLESTEP, v->pid, NULL, NULL))
			die("cannot step");
		status = wait_stop(v);
		event = status >> 16;
		if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_CLONE)
			end_child(v);
		else if (!event && WSTOPSIG(status) == SIGTRAP)
			return;
		else if (!event)
			v->pending = WSTOPSIG(status);
	}
	fprintf(stderr, "inject: a system call has no end\n");
	exit(1);
}

static long call(struct victim *v, long number, const uint64_t args[6])
{
	struct user_regs_struct regs = v->before;

	regs.rax = (uint64_t)number;
	regs.rdi = args[0];
	regs.rsi = args[1];
	regs.rdx = args[2];
	regs.r10 = args[3];
	regs.r8 = args[4];
	regs.r9 = args[5];
	/* It is in no system call that would have to be begun again. */
	regs.orig_rax = ~0ULL;
	put_regs(v, &regs);
	step(v);
	get_regs(v, &regs);
	return (long)regs.rax;
}

static void attach(struct victim *v)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", v->pid);
	v->mem = open(path, O_RDWR | O_CLOEXEC);
	if (v->mem < 0)
		die("%s", path);
	if (ptrace(PTRACE_SEIZE, v->pid, NULL, PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE) ||
	    ptrace(PTRACE_INTERRUPT, v->pid, NULL, NULL))
		die("cannot attach to process %d", v->pid);
	wait_stop(v);
	get_regs(v, &v->before);
	get(v, v->before.rip, v->code, sizeof(v->code));
	put(v, v->before.rip, syscall_instruction, sizeof(syscall_instruction));
	v->scratch = (v->before.rsp - RED_ZONE - sizeof(struct scratch)) & ~15ULL;
}

static void detach(struct victim *v)
{
	put(v, v->before.rip, v->code, sizeof(v->code));
	put_regs(v, &v->before);
	if (ptrace(PTRACE_DETACH, v->pid, NULL, (long)v->pending))
		die("cannot detach");
	close(v->mem);
}

/* What becomes of a result: descriptors are closed, mappings removed. */
enum keeps { NOTHING, DESCRIPTOR, PAGE };

static void try_call(struct victim *v, const char *name, long number, const uint64_t args[6],
		     enum keeps keeps)
{
	long got = call(v, number, args);

	if (got < 0 && got >= -4095) {
		printf("%s -1 %s\n", name, strerrorname_np((int)-got));
		return;
	}
	printf("%s %ld -\n", name, got);
	if (keeps == DESCRIPTOR)
		call(v, SYS_close, (const uint64_t[6]){ (uint64_t)got });
	else if (keeps == PAGE)
		call(v, SYS_munmap, (const uint64_t[6]){ (uint64_t)got, 4096 });
}

#define AT(member) (v->scratch + offsetof(struct scratch, member))

/* Such that they do no harm where they are let through. */
static void try_all(struct victim *v)
{
	const uint64_t at = (uint64_t)AT_FDCWD, self = (uint64_t)v->pid, none = ~0ULL;
	const uint64_t private = MAP_PRIVATE | MAP_ANONYMOUS, page = v->scratch & ~4095ULL;
	const struct {
		const char *name;
		long number;
		uint64_t args[6];
		enum keeps keeps;
	} calls[] = {
		{ "openat-read", SYS_openat, { at, AT(self), O_RDONLY }, DESCRIPTOR },
		{ "openat-directory",
		  SYS_openat,
		  { at, AT(proc), O_RDONLY | O_DIRECTORY },
		  DESCRIPTOR },
		{ "mmap", SYS_mmap, { 0, 4096, PROT_READ | PROT_WRITE, private, none }, PAGE },
		{ "open-write", SYS_open, { AT(null), O_WRONLY }, DESCRIPTOR },
		{ "openat-write", SYS_openat, { at, AT(null), O_WRONLY }, DESCRIPTOR },
		{ "openat-create", SYS_openat, { at, AT(null), O_CREAT, 0600 }, DESCRIPTOR },
		{ "openat-truncate", SYS_openat, { at, AT(null), O_TRUNC }, DESCRIPTOR },
		{ "openat-append", SYS_openat, { at, AT(null), O_APPEND }, DESCRIPTOR },
		{ "openat-tmpfile",
		  SYS_openat,
		  { at, AT(tmp), O_TMPFILE | O_RDWR, 0600 },
		  DESCRIPTOR },
		{ "openat2", SYS_openat2, { at, AT(self), AT(zero), 24 }, DESCRIPTOR },
		{ "unlink", SYS_unlink, { AT(none) }, NOTHING },
		{ "mkdir", SYS_mkdir, { AT(proc), 0700 }, NOTHING },
		{ "memfd_create", SYS_memfd_create, { AT(name), 0 }, DESCRIPTOR },
		{ "execve", SYS_execve, { AT(none), AT(argv), AT(argv) }, NOTHING },
		{ "execveat", SYS_execveat, { at, AT(none), AT(argv), AT(argv) }, NOTHING },
		{ "fork", SYS_fork, { 0 }, NOTHING },
		{ "clone", SYS_clone, { SIGCHLD }, NOTHING },
		{ "clone3", SYS_clone3, { AT(zero), 64 }, NOTHING },
		{ "socket", SYS_socket, { AF_INET, SOCK_STREAM }, DESCRIPTOR },
		{ "connect", SYS_connect, { none, AT(zero), 16 }, NOTHING },
		{ "bpf-prog-load", SYS_bpf, { BPF_PROG_LOAD, AT(ones), 64 }, DESCRIPTOR },
		{ "bpf-map-create", SYS_bpf, { BPF_MAP_CREATE, AT(zero), 72 }, DESCRIPTOR },
		{ "bpf-link-create", SYS_bpf, { BPF_LINK_CREATE, AT(zero), 64 }, DESCRIPTOR },
		{ "mmap-exec", SYS_mmap, { 0, 4096, PROT_EXEC, private, none }, PAGE },
		{ "mprotect-exec", SYS_mprotect, { page, 0, PROT_EXEC }, NOTHING },
		{ "setuid", SYS_setuid, { 0 }, NOTHING },
		{ "capset", SYS_capset, { 0, 0 }, NOTHING },
		{ "prctl", SYS_prctl, { PR_GET_DUMPABLE }, NOTHING },
		{ "kill", SYS_kill, { (uint64_t)getpid(), 0 }, NOTHING },
		{ "ptrace", SYS_ptrace, { PTRACE_PEEKDATA, self }, NOTHING },
		{ "process_vm_writev", SYS_process_vm_writev, { self }, NOTHING },
		{ "unshare", SYS_unshare, { 0 }, NOTHING },
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		try_call(v, calls[i].name, calls[i].number, calls[i].args, calls[i].keeps);
}

int main(int argc, char **argv)
{
	struct scratch ours = { .null = "/dev/null",
				.none = "/no/such/file",
				.self = "/proc/self/stat",
				.proc = "/proc",
				.tmp = "/tmp",
				.name = "x" };
	struct victim victim = { .pid = argc == 2 ? atoi(argv[1]) : 0 }, *v = &victim;
	struct scratch theirs;

	if (v->pid <= 0) {
		fprintf(stderr, "usage: inject PID\n");
		return 2;
	}
	/* Flags that no kernel knows. */
	memset(ours.ones, 0xff, sizeof(ours.ones));
	setvbuf(stdout, NULL, _IOLBF, 0);
	attach(v);
	get(v, v->scratch, &theirs, sizeof(theirs));
	put(v, v->scratch, &ours, sizeof(ours));
	try_all(v);
	put(v, v->scratch, &theirs, sizeof(theirs));
	detach(v);
	return 0;
}
#endif
