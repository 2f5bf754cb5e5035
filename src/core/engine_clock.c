// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Receive time stamps: kept on while arrivals are measured, and related to
 * CLOCK_MONOTONIC, also after somebody has set the clock.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/engine_private.h"

__u64 clock_real_offset(void)
{
	__u64 best = 0, least = ~0ULL;

	/* The closest pair of readings: others were interrupted in between. */
	for (int i = 0; i < 5; i++) {
		__u64 before = clock_ns(CLOCK_MONOTONIC), real = clock_ns(CLOCK_REALTIME);
		__u64 took = clock_ns(CLOCK_MONOTONIC) - before;

		if (took >= least)
			continue;
		least = took;
		best = real - before - took / 2;
	}
	return best;
}

/*
 * CLOCK_TAI less CLOCK_REALTIME, which is whole seconds. adjtimex(2) knows it too, but
 * sandboxes refuse that call (ProtectClock= of systemd, seccomp profiles of containers).
 */
static __u64 tai_offset_ns(void)
{
	__u64 real = clock_ns(CLOCK_REALTIME), tai = clock_ns(CLOCK_TAI);

	return (tai - real + 500000000) / 1000000000 * 1000000000;
}

/* The programs use the offset last, so it is set last. */
static void set_offsets(struct engine *e, bool again)
{
	if (again) {
		__atomic_store_n(&e->skel->bss->real_offset_before, e->skel->bss->real_offset,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&e->skel->bss->clock_set_ns, clock_ns(CLOCK_MONOTONIC),
				 __ATOMIC_RELAXED);
	}
	__atomic_store_n(&e->skel->bss->tai_offset, tai_offset_ns(), __ATOMIC_RELAXED);
	__atomic_store_n(&e->skel->bss->real_offset, clock_real_offset(), __ATOMIC_RELEASE);
}

/* Expires never; is cancelled when the clock is set. */
static int watch_clock(int fd)
{
	const struct itimerspec never = { .it_value.tv_sec = 1LL << 40 };

	return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL);
}

int engine_clock_open(struct engine *e)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int on = 1;

	e->clock = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (e->clock < 0 || watch_clock(e->clock) ||
	    epoll_ctl(ring_buffer__epoll_fd(e->ring), EPOLL_CTL_ADD, e->clock, &ev))
		return -errno;
	set_offsets(e, false);
	/*
	 * sock_needs_netstamp(), net/core/sock.c: any one socket of the Internet families. Of
	 * TCP, for nothing can be sent over it, by nobody who gets hold of it.
	 */
	e->stamping = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (e->stamping < 0 || setsockopt(e->stamping, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)))
		return -errno;
	return 0;
}

void engine_clock_look(struct engine *e)
{
	__u64 expirations, now = clock_ns(CLOCK_MONOTONIC);

	if (e->clock < 0)
		return;
	if (read(e->clock, &expirations, sizeof(expirations)) >= 0 || errno != ECANCELED) {
		e->looked_ns = now; /* the clock had not been set yet */
		return;
	}
	watch_clock(e->clock);
	__atomic_store_n(&e->skel->bss->clock_checked_ns, e->looked_ns, __ATOMIC_RELAXED);
	set_offsets(e, true);
	e->looked_ns = now;
}

void engine_clock_close(struct engine *e)
{
	if (e->clock >= 0)
		close(e->clock);
	if (e->stamping >= 0)
		close(e->stamping);
}
