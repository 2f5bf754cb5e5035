/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one event loop: descriptors with callbacks, on epoll. */
#ifndef TCPLAT_CORE_LOOP_H
#define TCPLAT_CORE_LOOP_H

#include <linux/types.h>

struct loop;

/* events: EPOLLIN …; EPOLLERR and EPOLLHUP always come. */
typedef void loop_fn(void *arg, __u32 events);

/* Returns 0 or a negative errno; the loop is freed with loop_free(). */
int loop_new(struct loop **loop);
void loop_free(struct loop *loop);

static inline void loop_freep(struct loop **loop)
{
	loop_free(*loop);
}

/*
 * fd stays the caller's and must be removed before it is closed. -EPERM: it
 * cannot be polled (a regular file). At most 32 at a time: -ENOSPC.
 */
int loop_add(struct loop *loop, int fd, __u32 events, loop_fn *fn, void *arg);
void loop_remove(struct loop *loop, int fd);

/* Waits at most timeout_ms (-1: for ever) and runs what is due. */
int loop_once(struct loop *loop, int timeout_ms);

/* A timerfd: first and then every `every` ns (0: once). Negative errno. */
int timer_new(void);
/* after 0 disarms. */
int timer_arm(int fd, __u64 after_ns, __u64 every_ns);
/* Takes the expirations of a timer that has become readable. */
__u64 timer_take(int fd);

#endif /* TCPLAT_CORE_LOOP_H */
