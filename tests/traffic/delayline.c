// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * delayline: a path of known length between two network namespaces.
 *
 * One TUN device in each namespace; every IP packet that enters one leaves the
 * other after a delay. It stands in for netem, which needs a kernel module that
 * is often missing, and it can do what netem cannot: lose exactly the first n
 * SYNs of a connection, or stall the path and let it go again on command.
 *
 * Settings are the same words on the command line (--delay 10,10) and at run
 * time on stdin (delay 10,10); each line read is answered by exactly one line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "path.h"

#define READS_PER_TURN 64 /* packets read before those that are due get their turn */
#define TXQLEN 8192
#define RT_PRIORITY 10

static const struct word {
	const char *name;
	double unit;
	double max;
	enum setting setting;
	bool sets[DIRECTIONS];
} words[] = {
	{ "delay", 1e6, 60000, DELAY, { true, true } },
	{ "jitter", 1e6, 60000, JITTER, { true, true } },
	{ "loss", 1e4, 100, LOSS, { true, true } },
	{ "reorder", 1e4, 100, REORDER, { true, true } },
	{ "reorder-by", 1e6, 60000, REORDER_BY, { true, true } },
	{ "dup", 1e4, 100, DUP, { true, true } },
	{ "drop-syn", 1, 1000000, DROP_FIRST, { true, false } },
	{ "drop-synack", 1, 1000000, DROP_FIRST, { false, true } },
};

__attribute__((noreturn)) static void die(int status, const char *what, const char *why)
{
	fprintf(stderr, "delayline: %s%s%s\n", what, why ? ": " : "", why ? why : "");
	exit(status);
}

static void arm(int timer)
{
	struct itimerspec at = { 0 };
	uint64_t due = UINT64_MAX;

	for (int i = 0; i < DIRECTIONS; i++) {
		if (!held && path[i].queued && path[i].heap[0]->due < due)
			due = path[i].heap[0]->due;
	}
	if (due != UINT64_MAX) {
		at.it_value.tv_sec = (time_t)(due / NSEC_PER_SEC);
		at.it_value.tv_nsec = (long)(due % NSEC_PER_SEC);
	}
	timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
}

/* One number for both directions, or two: a to b, b to a. */
static bool parse_pair(const char *s, double max, double v[DIRECTIONS])
{
	char *end;

	v[AB] = v[BA] = strtod(s, &end);
	if (end == s)
		return false;
	if (*end == ',') {
		s = end + 1;
		v[BA] = strtod(s, &end);
		if (end == s)
			return false;
	}
	/* NaN fails both comparisons */
	return !*end && v[AB] >= 0 && v[AB] <= max && v[BA] >= 0 && v[BA] <= max;
}

/* NULL, or what is wrong with it. */
static const char *apply(const char *name, const char *value)
{
	const struct word *w = NULL;
	double v[DIRECTIONS];

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(words[i].name, name))
			w = &words[i];
	}
	if (!w)
		return "unknown word";
	if (!value || !parse_pair(value, w->max, v))
		return "bad value";
	if (w->setting == DROP_FIRST && (strchr(value, ',') || v[AB] != (double)(long)v[AB]))
		return "not a whole number";
	for (int i = 0; i < DIRECTIONS; i++) {
		if (!w->sets[i])
			continue;
		path[i].set[w->setting] = (uint64_t)(v[i] * w->unit + 0.5);
		if (w->setting == DROP_FIRST)
			memset(path[i].flows, 0, sizeof(path[i].flows));
	}
	return NULL;
}

static void print_stats(void)
{
	for (int i = 0; i < DIRECTIONS; i++) {
		const struct direction *d = &path[i];

		printf("%s:{", i == AB ? "{\"a_to_b\"" : ",\"b_to_a\"");
		for (int c = 0; c < COUNTERS; c++)
			printf("\"%s\":%" PRIu64 ",", counter_names[c], d->count[c]);
		printf("\"queued\":%zu,\"late_max_us\":%.1f}", d->queued,
		       (double)d->late_max / 1e3);
	}
	printf("}\n");
}

static void obey(char *line)
{
	char *rest = NULL;
	const char *name = strtok_r(line, " \t", &rest), *value = strtok_r(NULL, " \t", &rest);
	const char *more = strtok_r(NULL, " \t", &rest), *error;

	if (name && !value && !strcmp(name, "stats")) {
		print_stats();
		return;
	}
	if (name && !value && (!strcmp(name, "hold") || !strcmp(name, "release"))) {
		held = *name == 'h';
		released_at = now_ns();
		puts("ok");
		return;
	}
	error = name && !more ? apply(name, value) : "bad line";
	printf("%s%s\n", error ? "error: " : "ok", error ? error : "");
}

/* False at the end of input. */
static bool read_orders(void)
{
	static char buf[512];
	static size_t used;
	ssize_t n = read(STDIN_FILENO, buf + used, sizeof(buf) - 1 - used);
	char *end;

	if (n <= 0)
		return n < 0 && errno == EINTR;
	used += (size_t)n;
	buf[used] = '\0';
	while ((end = strchr(buf, '\n')) || used == sizeof(buf) - 1) {
		size_t len = end ? (size_t)(end - buf) + 1 : used;

		if (end)
			*end = '\0';
		obey(buf);
		used -= len;
		memmove(buf, buf + len, used + 1);
	}
	fflush(stdout);
	return true;
}

static int open_tun(const char *spec, int home)
{
	char ns_path[PATH_MAX];
	const char *colon = strrchr(spec, ':');
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL) };
	int ns, tun, sock;

	if (!colon || colon == spec || (size_t)(colon - spec) >= sizeof(ns_path) || !colon[1] ||
	    strlen(colon + 1) >= IFNAMSIZ)
		die(2, "not NSPATH:DEV", spec);
	memcpy(ns_path, spec, (size_t)(colon - spec));
	ns_path[colon - spec] = '\0';
	memcpy(ifr.ifr_name, colon + 1, strlen(colon + 1));

	ns = open(ns_path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET))
		die(1, ns_path, strerror(errno));
	close(ns);
	tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tun < 0 || ioctl(tun, TUNSETIFF, &ifr))
		die(1, spec, strerror(errno));
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* a long queue: packets should be lost where they are counted */
	ifr.ifr_qlen = TXQLEN;
	if (sock < 0 || ioctl(sock, SIOCSIFTXQLEN, &ifr))
		die(1, spec, strerror(errno));
	ifr.ifr_flags = IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &ifr))
		die(1, spec, strerror(errno));
	close(sock);
	if (setns(home, CLONE_NEWNET))
		die(1, "setns", strerror(errno));
	return tun;
}

static void usage(FILE *to)
{
	fputs("usage: delayline --a NSPATH:DEV --b NSPATH:DEV [--seed N]\n"
	      "    [--delay MS|AB,BA] [--jitter MS|AB,BA] [--loss PCT|AB,BA]\n"
	      "    [--reorder PCT|AB,BA] [--reorder-by MS|AB,BA] [--dup PCT|AB,BA]\n"
	      "    [--drop-syn N] [--drop-synack N]\n"
	      "stdin: the same words, 'delay 10,10', and: hold, release, stats\n",
	      to);
}

static void parse_args(int argc, char **argv, const char *ends[DIRECTIONS])
{
	uint64_t seed = 1;
	char *end;

	for (int i = 1; i < argc; i += 2) {
		const char *value = argv[i + 1], *error = NULL;

		if (!strcmp(argv[i], "--help")) {
			usage(stdout);
			exit(0);
		}
		if (strncmp(argv[i], "--", 2) != 0 || !value)
			die(2, argv[i], value ? "not an option" : "value missing or not an option");
		if (!strcmp(argv[i], "--a")) {
			ends[AB] = value;
		} else if (!strcmp(argv[i], "--b")) {
			ends[BA] = value;
		} else if (!strcmp(argv[i], "--seed")) {
			errno = 0;
			seed = strtoull(value, &end, 0);
			if (errno || end == value || *end)
				error = "bad value";
		} else {
			error = apply(argv[i] + 2, value);
		}
		if (error)
			die(2, argv[i], error);
	}
	if (!ends[AB] || !ends[BA])
		die(2, "--a and --b are needed; see --help", NULL);
	/* apart by more than a test will draw: the directions do not share rolls */
	path[AB].random = seed;
	path[BA].random = ~seed;
}

/* Best effort: without these rights the line works, only less exactly under load. */
static void become_punctual(void)
{
	const struct sched_param fifo = { .sched_priority = RT_PRIORITY };

	prctl(PR_SET_TIMERSLACK, 1);
	if (sched_setscheduler(0, SCHED_FIFO, &fifo) || mlockall(MCL_CURRENT | MCL_FUTURE))
		return;
}

static int run(int timer, int signals)
{
	struct pollfd fds[] = {
		{ .fd = path[AB].in, .events = POLLIN },  { .fd = path[BA].in, .events = POLLIN },
		{ .fd = timer, .events = POLLIN },	  { .fd = signals, .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN },
	};
	uint64_t ticks;

	for (;;) {
		arm(timer);
		if (poll(fds, sizeof(fds) / sizeof(fds[0]), -1) < 0 && errno != EINTR)
			die(1, "poll", strerror(errno));
		if (fds[2].revents && read(timer, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
			die(1, "timer", strerror(errno));
		/* An order must not touch packets sent before it: take all of them first. */
		for (int i = 0; i < DIRECTIONS; i++) {
			read_packets(&path[i], fds[4].revents ? TXQLEN : READS_PER_TURN);
			send_due(&path[i]);
		}
		if (fds[3].revents)
			return 0;
		if (fds[4].revents && !read_orders())
			return 0;
	}
}

int main(int argc, char **argv)
{
	const char *ends[DIRECTIONS] = { NULL, NULL };
	int home, timer, signals;
	sigset_t mask;

	for (int i = 0; i < DIRECTIONS; i++)
		path[i].set[REORDER_BY] = 3000000;
	parse_args(argc, argv, ends);

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	if (sigprocmask(SIG_BLOCK, &mask, NULL))
		die(1, "sigprocmask", strerror(errno));
	signals = signalfd(-1, &mask, SFD_CLOEXEC);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (signals < 0 || timer < 0 || home < 0)
		die(1, "set-up", strerror(errno));
	for (int i = 0; i < DIRECTIONS; i++)
		path[i].in = open_tun(ends[i], home);
	path[AB].out = path[BA].in;
	path[BA].out = path[AB].in;
	become_punctual();
	puts("ready");
	fflush(stdout);
	return run(timer, signals);
}
