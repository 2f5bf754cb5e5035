// SPDX-License-Identifier: GPL-2.0-or-later
/* empty-programs connect|data|fetched: attaches them, says "ready", stays until stdin ends. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/features.h"
#include "empty.skel.h"

static struct bpf_link *on_syscall(struct bpf_program *prog, const char *name)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT,
					.size = sizeof(attr),
					.sample_period = 1 };
	int id = tracepoint_id("syscalls", name), fd;

	if (id < 0)
		return NULL;
	attr.config = (__u64)id;
	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? NULL : bpf_program__attach_perf_event(prog, fd);
}

/* Watching a system call slows down all of them, so that is not always done. */
static bool attach(struct empty_bpf *skel, const char *what)
{
	if (!strcmp(what, "connect"))
		return bpf_program__attach(skel->progs.empty_state) &&
		       on_syscall(skel->progs.empty_enter, "sys_enter_connect") &&
		       on_syscall(skel->progs.empty_exit, "sys_exit_connect");
	/* Before all others, who then find the line there. */
	if (!strcmp(what, "fetched") && !bpf_program__attach(skel->progs.fetch))
		return false;
	return bpf_program__attach(skel->progs.empty_probe) &&
	       bpf_program__attach(skel->progs.empty_ready) &&
	       bpf_program__attach(skel->progs.empty_taken);
}

int main(int argc, char **argv)
{
	struct empty_bpf *skel = empty_bpf__open();
	char byte;

	if (!skel || argc < 2)
		return 1;
	/* Not every kernel has it. */
	if (!strcmp(argv[1], "connect"))
		bpf_program__set_autoload(skel->progs.empty_ready, false);
	if (empty_bpf__load(skel) || !attach(skel, argv[1]))
		return 1;
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	empty_bpf__destroy(skel);
	return 0;
}
