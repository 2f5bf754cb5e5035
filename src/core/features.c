// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/features.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/utsname.h>

#include "core/caps.h"
#include "core/cleanup.h"
#include "core/log.h"
#include "tcplat/event.h"

#define CONNECT (1U << TCPLAT_KIND_CONNECT)
#define PICKUP (1U << TCPLAT_KIND_PICKUP)
#define RTT (1U << TCPLAT_KIND_RTT)

static struct feature features[] = {
	{ "inet_sock_set_state", "4.16", "connect: every attempt from SYN to its end",
	  "no measurement at all", CONNECT | PICKUP | RTT, false },
	{ "sched_process_fork", "2.6", "-- COMMAND: its descendants", "-- COMMAND needs --all", 0,
	  false },
	{ "syscalls:sys_enter_connect", "2.6", "connect: attempts refused before any SYN",
	  "no rows for no-route and permission errors", 0, false },
	{ "bpf_iter_task_file", "5.8", "attempts older than the tracer told from lost ones",
	  "such attempts count as lost", 0, false },
	{ "bpf_iter_bpf_sk_storage_map", "5.9", "what is still open or waiting at the end",
	  "computed for connect, without address filters; not known for pickup", 0, false },
	{ "tcp_sock.total_rto", "6.7", "SYN retransmits, one counter for all ends",
	  "read from two older counters instead", 0, false },
	{ "sk_data_ready", "6.3", "pickup: arrivals after our own FIN; splice(2), kernel readers",
	  "after our FIN arrivals merge, all APP; such readers are lost", 0, false },
	{ "tcp_probe", "4.16", "rtt: samples; pickup: arrivals, before they merge",
	  "no rtt, no pickup", PICKUP | RTT, false },
	{ "tcp_retransmit_skb", "4.15",
	  "rtt: samples that retransmission makes doubtful; its count", "no rtt", RTT, false },
	{ "tcp_rcv_space_adjust", "4.18", "pickup: reads", "no pickup", PICKUP, false },
	{ "sched_switch", "2.6", "pickup: --split", "no --split", 0, false },
	{},
};

static bool has_member(const struct btf *btf, const char *dotted)
{
	char type[64];
	const char *dot = strchr(dotted, '.');
	const struct btf_type *t;
	const struct btf_member *m;
	int id;

	snprintf(type, sizeof(type), "%.*s", (int)(dot - dotted), dotted);
	id = btf__find_by_name_kind(btf, type, BTF_KIND_STRUCT);
	t = id < 0 ? NULL : btf__type_by_id(btf, (unsigned)id);
	if (!t)
		return false;
	m = btf_members(t);
	for (int i = 0; i < btf_vlen(t); i++)
		if (!strcmp(btf__name_by_offset(btf, m[i].name_off), dot + 1))
			return true;
	return false;
}

static bool present(const struct btf *btf, const char *name)
{
	const char *colon = strchr(name, ':');
	char type[96];

	if (colon) {
		char category[32];

		snprintf(category, sizeof(category), "%.*s", (int)(colon - name), name);
		return tracepoint_id(category, colon + 1) >= 0;
	}
	if (strchr(name, '.'))
		return has_member(btf, name);
	if (!strncmp(name, "bpf_iter_", 9))
		return btf__find_by_name_kind(btf, name, BTF_KIND_FUNC) >= 0;
	snprintf(type, sizeof(type), "btf_trace_%s", name);
	return btf__find_by_name_kind(btf, type, BTF_KIND_TYPEDEF) >= 0;
}

const struct feature *features_probe(void)
{
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf)
		return NULL;
	for (struct feature *f = features; f->name; f++)
		f->present = present(btf, f->name);
	btf__free(btf);
	return features;
}

const struct feature *features_missing(const struct feature *list, __u32 kinds)
{
	for (; list->name; list++)
		if (list->required & kinds && !list->present)
			return list;
	return NULL;
}

int features_print(FILE *out)
{
	const char *missing = caps_missing();
	const struct feature *list;
	struct utsname u = {};

	libbpf_set_print(NULL); /* we say it ourselves */
	list = features_probe();
	uname(&u);
	fprintf(out, "kernel %s, BTF %s, rights %s%s\n", u.release,
		list ? "present" : "missing (CONFIG_DEBUG_INFO_BTF)",
		missing		    ? "missing: " :
		caps_of_namespace() ? "of a user namespace, which the kernel does not take" :
				      "sufficient",
		missing ? missing : "");
	if (!list)
		return EXIT_FAILURE;
	fprintf(out, "\n%-28s %-4s %-6s %s\n", "FEATURE", "HERE", "SINCE", "WHAT IT MEANS");
	for (const struct feature *f = list; f->name; f++)
		fprintf(out, "%-28s %-4s %-6s %s\n", f->name, f->present ? "yes" : "no", f->since,
			f->present ? f->gives : f->without);
	if (fflush(out)) {
		log_error("writing to standard output failed: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	/* One view that works is something. */
	for (__u32 kind = TCPLAT_KIND_CONNECT; kind < TCPLAT_NR_KINDS; kind++)
		if (!features_missing(list, 1U << kind))
			return EXIT_SUCCESS;
	return EXIT_FAILURE;
}

/* A mount of our own that no path leads to: nothing on the host changes. */
static int private_tracefs(void)
{
	_cleanup_close_ int fs = fsopen("tracefs", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

static int read_id(int dir, const char *category, const char *name)
{
	char path[128], text[24] = {};
	_cleanup_close_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "events/%s/%s/id", category, name);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	return n > 0 ? atoi(text) : -EIO;
}

int tracepoint_id(const char *category, const char *name)
{
	static const char *const places[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing" };
	_cleanup_close_ int own = -1;
	int err = -ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_close_ int dir = open(places[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (dir < 0)
			continue;
		err = read_id(dir, category, name);
		if (err >= 0 || err == -EACCES)
			return err;
	}
	own = private_tracefs();
	return own < 0 ? err : read_id(own, category, name);
}
