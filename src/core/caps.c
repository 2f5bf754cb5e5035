// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/caps.h"

#include <linux/capability.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool have(const struct __user_cap_data_struct *data, unsigned cap)
{
	return data[CAP_TO_INDEX(cap)].effective & CAP_TO_MASK(cap);
}

const char *caps_missing(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
	bool bpf, perfmon;

	/* Failing to ask is no reason to refuse: loading will tell. */
	if (syscall(SYS_capget, &head, data) || have(data, CAP_SYS_ADMIN))
		return NULL;
	bpf = have(data, CAP_BPF);
	perfmon = have(data, CAP_PERFMON);
	if (bpf && perfmon)
		return NULL;
	return bpf ? "CAP_PERFMON" : perfmon ? "CAP_BPF" : "CAP_BPF and CAP_PERFMON";
}

/* include/linux/proc_ns.h: PROC_USER_INIT_INO, the same on every kernel. */
#define INITIAL_USER_NAMESPACE 0xEFFFFFFDU

bool caps_of_namespace(void)
{
	struct stat st;

	return !stat("/proc/self/ns/user", &st) && st.st_ino != INITIAL_USER_NAMESPACE;
}
