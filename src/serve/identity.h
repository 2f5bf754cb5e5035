/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a group's path says of whose it is: systemd unit, container, pod. */
#ifndef TCPLAT_SERVE_IDENTITY_H
#define TCPLAT_SERVE_IDENTITY_H

/* "" where there is none. A name that does not fit is left out, never cut. */
struct identity {
	/*
	 * The innermost unit that runs processes (service, scope, socket, mount, swap), as
	 * systemd writes it, escapes and all. The scope that a runtime makes for a container
	 * is none, and the init.scope of a manager is that manager's unit. A slice only where
	 * there is nothing better: no such unit, no container, no pod.
	 */
	char unit[256];
	/* The innermost one's: 64 hex digits, or what ECS makes of a task's id and a number. */
	char container[72];
	/* With dashes; the 32 hex digits of a static pod as they are. */
	char pod[40];
};

/* path: below the root of the hierarchy, v1 or v2. Anything may be in it. */
void identity_of(struct identity *id, const char *path);

#endif /* TCPLAT_SERVE_IDENTITY_H */
