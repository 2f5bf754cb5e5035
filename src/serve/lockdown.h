/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving up what a running agent does not need: another user, capabilities, and
 * all system calls but those of one that measures and answers. For good.
 */
#ifndef TCPLAT_SERVE_LOCKDOWN_H
#define TCPLAT_SERVE_LOCKDOWN_H

#include <stdbool.h>
#include <sys/types.h>

struct lockdown_user {
	uid_t uid;
	gid_t gid;
	bool given; /* false: we stay who we are */
};

/*
 * By name, else by number, with the user's own group (that of the same number where
 * a number has no entry). May load libraries and ask the network, so it comes before
 * all else. -ENOENT: no such user; other negative errno; not reported.
 */
int lockdown_find_user(const char *name_or_uid, struct lockdown_user *u);

/*
 * Once, when everything is loaded, attached, listening and open. From then on a system
 * call that is not on the list fails with EPERM. Reports what failed; negative errno.
 */
int lockdown(const struct lockdown_user *u);

#endif /* TCPLAT_SERVE_LOCKDOWN_H */
