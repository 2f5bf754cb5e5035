// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * standstill: says when this machine did not run what was due.
 *
 * On each processor a thread that nothing else precedes wants to run each ms.
 * Where it could not, neither could what a test has measured then: the host had
 * taken the processor away, or the kernel was busy with something else. That is
 * an upper bound of what a test may find too long, told by someone who knows
 * nothing of the test.
 *
 * Each line on stdin, a time of CLOCK_MONOTONIC in ns, is answered by one line:
 * a JSON list of [begin, end] of what ended after it, in ns, in no order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#define NSEC_PER_SEC 1000000000ULL
#define BEAT_NS 1000000ULL
#define LATE_NS 1000000ULL /* less is what a test allows for without our word */
#define KEPT 65536

static struct {
	uint64_t begin;
	uint64_t end;
} gaps[KEPT]; /* the newest ones */
static uint64_t noted;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t started;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void note(uint64_t begin, uint64_t end)
{
	pthread_mutex_lock(&lock);
	gaps[noted % KEPT].begin = begin;
	gaps[noted % KEPT].end = end;
	noted++;
	pthread_mutex_unlock(&lock);
}

static void *beat(void *unused)
{
	uint64_t before, due;

	(void)unused;
	pthread_barrier_wait(&started);
	before = now_ns();
	due = before + BEAT_NS;
	for (;;) {
		const struct timespec at = { .tv_sec = (time_t)(due / NSEC_PER_SEC),
					     .tv_nsec = (long)(due % NSEC_PER_SEC) };
		uint64_t now;

		if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL))
			continue;
		now = now_ns();
		/* It may have begun right after the last time that we ran. */
		if (now - due > LATE_NS)
			note(before, now);
		before = now;
		due += BEAT_NS;
		if (due <= now)
			due = now + BEAT_NS;
	}
	return NULL;
}

static void answer(uint64_t since)
{
	const char *comma = "";

	pthread_mutex_lock(&lock);
	putchar('[');
	for (uint64_t i = noted > KEPT ? noted - KEPT : 0; i < noted; i++) {
		if (gaps[i % KEPT].end <= since)
			continue;
		printf("%s[%" PRIu64 ",%" PRIu64 "]", comma, gaps[i % KEPT].begin,
		       gaps[i % KEPT].end);
		comma = ",";
	}
	puts("]");
	pthread_mutex_unlock(&lock);
	fflush(stdout);
}

static int fail(const char *what, int error)
{
	fprintf(stderr, "standstill: %s: %s\n", what, strerror(error));
	return 1;
}

int main(void)
{
	const struct sched_param first = { .sched_priority = 99 };
	pthread_attr_t attributes;
	unsigned int threads = 0;
	cpu_set_t all, one;
	char line[64];

	prctl(PR_SET_TIMERSLACK, 1);
	mlockall(MCL_CURRENT);
	if (sched_getaffinity(0, sizeof(all), &all))
		return fail("sched_getaffinity", errno);
	pthread_attr_init(&attributes);
	pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
	pthread_attr_setschedparam(&attributes, &first);
	pthread_barrier_init(&started, NULL, (unsigned int)CPU_COUNT(&all) + 1);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		pthread_t thread;
		int error;

		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		error = pthread_attr_setaffinity_np(&attributes, sizeof(one), &one);
		if (!error)
			error = pthread_create(&thread, &attributes, beat, NULL);
		if (error)
			return fail("no thread of the highest priority", error);
		threads++;
	}
	pthread_barrier_wait(&started);
	printf("watching %u\n", threads);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		answer(strtoull(line, NULL, 10));
	return 0;
}
