// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "cli/parse.h"
#include "core/cleanup.h"

static __u64 number(const char *name)
{
	const char *text = getenv(name);
	__u64 n;

	return text && !parse_u64(text, 0, ~0ULL, &n) ? n : 0;
}

/* Half the time after which we are taken for dead, as sd_watchdog_enabled(3) advises. */
static __u64 watchdog(void)
{
	const char *whose = getenv("WATCHDOG_PID");
	__u64 usec = number("WATCHDOG_USEC");

	if (whose && number("WATCHDOG_PID") != (__u64)getpid())
		return 0;
	return usec <= ~0ULL / 1000 ? usec * 1000 / 2 : 0;
}

int notify_open(struct notify *n)
{
	const struct timeval patience = { .tv_sec = 1 };
	const char *address = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	size_t len;

	*n = (struct notify){ .fd = -1 };
	if (!address || !*address)
		return 0;
	len = strlen(address);
	if ((address[0] != '/' && address[0] != '@') || len < 2)
		return -EINVAL;
	if (len >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, address, len);
	/* The name of an abstract socket begins with a NUL, and does not end with one. */
	if (address[0] == '@')
		sa.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) ||
	    /* Now: no further socket may be connected once we are locked down. */
	    connect(fd, (struct sockaddr *)&sa,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len +
				(address[0] == '/'))))
		return -errno;
	*n = (struct notify){ .fd = take_fd(&fd), .watchdog_ns = watchdog() };
	return 0;
}

int notify_send(const struct notify *n, const char *state)
{
	ssize_t sent;

	if (n->fd < 0)
		return 0;
	do
		sent = send(n->fd, state, strlen(state), MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

void notify_close(struct notify *n)
{
	cleanup_closep(&n->fd);
	n->fd = -1;
}
