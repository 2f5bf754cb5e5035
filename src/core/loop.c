// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#include "core/cleanup.h"

#define LOOP_MAX 32

struct watch {
	int fd; /* -1: free */
	loop_fn *fn;
	void *arg;
};

struct loop {
	int ep;
	struct watch watches[LOOP_MAX];
};

int loop_new(struct loop **loop)
{
	_cleanup_free_ struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->ep = epoll_create1(EPOLL_CLOEXEC);
	if (l->ep < 0)
		return -errno;
	for (int i = 0; i < LOOP_MAX; i++)
		l->watches[i].fd = -1;
	*loop = l;
	l = NULL;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	close(loop->ep);
	free(loop);
}

int loop_add(struct loop *loop, int fd, __u32 events, loop_fn *fn, void *arg)
{
	for (int i = 0; i < LOOP_MAX; i++) {
		struct epoll_event ev = { .events = events, .data.u32 = (__u32)i };

		if (loop->watches[i].fd >= 0)
			continue;
		if (epoll_ctl(loop->ep, EPOLL_CTL_ADD, fd, &ev))
			return -errno;
		loop->watches[i] = (struct watch){ fd, fn, arg };
		return 0;
	}
	return -ENOSPC;
}

void loop_remove(struct loop *loop, int fd)
{
	for (int i = 0; i < LOOP_MAX; i++) {
		if (fd < 0 || loop->watches[i].fd != fd)
			continue;
		epoll_ctl(loop->ep, EPOLL_CTL_DEL, fd, NULL);
		loop->watches[i].fd = -1;
	}
}

int loop_once(struct loop *loop, int timeout_ms)
{
	struct epoll_event ready[LOOP_MAX];
	int n = epoll_wait(loop->ep, ready, LOOP_MAX, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		struct watch *w = &loop->watches[ready[i].data.u32];

		/* An earlier callback of this round may have removed it. */
		if (w->fd >= 0)
			w->fn(w->arg, ready[i].events);
	}
	return 0;
}

int timer_new(void)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

static struct timespec spec(__u64 ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000),
				  .tv_nsec = (long)(ns % 1000000000) };
}

int timer_arm(int fd, __u64 after_ns, __u64 every_ns)
{
	struct itimerspec it = { .it_value = spec(after_ns), .it_interval = spec(every_ns) };

	return timerfd_settime(fd, 0, &it, NULL) ? -errno : 0;
}

__u64 timer_take(int fd)
{
	__u64 n = 0;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return 0;
	return n;
}
