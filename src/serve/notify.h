/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service manager is told how we are: the protocol of sd_notify(3). */
#ifndef TCPLAT_SERVE_NOTIFY_H
#define TCPLAT_SERVE_NOTIFY_H

#include <linux/types.h>

struct notify {
	int fd;		   /* -1: nobody wants to know */
	__u64 watchdog_ns; /* "WATCHDOG=1" is wanted at least this often; 0: never */
};

/*
 * From the environment, which is left as it is. Nobody wants to know: 0, with fd -1, as
 * also after a failure. Otherwise a negative errno, not reported: -EINVAL for an
 * address that is neither a path nor abstract, -ENAMETOOLONG …
 */
int notify_open(struct notify *n);

/*
 * State as in sd_notify(3), assignments separated by newlines. Waits for a manager
 * that is busy, a second at most: -EAGAIN, to be said again later.
 */
int notify_send(const struct notify *n, const char *state);

void notify_close(struct notify *n);

#endif /* TCPLAT_SERVE_NOTIFY_H */
