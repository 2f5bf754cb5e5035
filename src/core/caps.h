/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TCPLAT_CORE_CAPS_H
#define TCPLAT_CORE_CAPS_H

#include <stdbool.h>

/*
 * Which capabilities for loading and attaching are missing, as text for a
 * message ("CAP_BPF and CAP_PERFMON"), or NULL when none is. Since 5.8
 * CAP_SYS_ADMIN implies both (include/linux/capability.h, bpf_capable()).
 */
const char *caps_missing(void);

/*
 * Do we live in a user namespace? The kernel asks for capabilities of the
 * initial one, unless a BPF token was passed on to us.
 */
bool caps_of_namespace(void);

#endif /* TCPLAT_CORE_CAPS_H */
