// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * connstorm: a bounded number of connect() calls, as fast as the machine makes
 * them, each accounted for. A tracer that claims to miss nothing is compared
 * with the last line.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000ULL
#define ERRNO_MAX 256
#define THREADS_MAX 64
#define PARALLEL_MAX 65536

struct address {
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t len;
};

struct tally {
	uint64_t made;
	uint64_t established;
	uint64_t failed[ERRNO_MAX];
	uint64_t not_started[ERRNO_MAX]; /* refused before any SYN, no tracepoint sees it */
};

struct worker {
	pthread_t thread;
	struct tally tally;
};

static struct {
	struct address to;
	struct address source;
	uint64_t source_hosts; /* 0: the kernel chooses */
	uint64_t count;
	uint64_t rate;
	unsigned long threads;
	unsigned long parallel; /* 0: blocking connects */
	bool listen;
	bool reset_close;
} opt = { .threads = 1 };

static atomic_uint_fast64_t tickets;
static atomic_uint_fast64_t accepted;
static uint64_t began;
static int listener;

__attribute__((noreturn)) static void die(int status, const char *what, const char *why)
{
	fprintf(stderr, "connstorm: %s%s%s\n", what, why ? ": " : "", why ? why : "");
	exit(status);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NSEC_PER_SEC),
				  .tv_nsec = (long)(ns % NSEC_PER_SEC) };
}

/* The n-th address of the source network, never its first one. */
static struct address source_address(uint64_t n)
{
	struct address a = opt.source;

	n = 1 + n % opt.source_hosts;
	if (a.sa.sa_family == AF_INET) {
		a.v4.sin_addr.s_addr = htonl(ntohl(a.v4.sin_addr.s_addr) + (uint32_t)n);
	} else {
		uint32_t last = ntohl(a.v6.sin6_addr.s6_addr32[3]);

		a.v6.sin6_addr.s6_addr32[3] = htonl(last + (uint32_t)n);
	}
	return a;
}

/* A socket that is ready to connect, or -errno. */
static int prepare(uint64_t ticket)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	const int family = opt.to.sa.sa_family, one = 1;
	int type = SOCK_STREAM | SOCK_CLOEXEC | (opt.parallel ? SOCK_NONBLOCK : 0);
	int error, fd = socket(family, type, 0);

	if (fd < 0)
		return -errno;
	if (opt.reset_close && setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)))
		goto fail;
	if (opt.source_hosts) {
		struct address a = source_address(ticket);

		/* the port is chosen at connect, where the whole 4-tuple counts */
		if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) ||
		    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) ||
		    bind(fd, &a.sa, a.len))
			goto fail;
	}
	return fd;
fail:
	error = errno;
	close(fd);
	return -error;
}

/*
 * Whether a failed attempt got as far as the TCP state machine: a missing route
 * does not, "no free port" does, though it sends no segment. The advertised MSS
 * is set with the SYN and, unlike the counters, outlives the failure.
 */
static bool was_made(int fd, int error)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (error == EADDRNOTAVAIL)
		return true;
	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) && info.tcpi_advmss;
}

static void finish(struct tally *t, int fd, int error)
{
	if (!error) {
		t->made++;
		t->established++;
	} else if (was_made(fd, error)) {
		t->made++;
		t->failed[error % ERRNO_MAX]++;
	} else {
		t->not_started[error % ERRNO_MAX]++;
	}
	close(fd);
}

static bool next_ticket(uint64_t *ticket)
{
	*ticket = atomic_fetch_add_explicit(&tickets, 1, memory_order_relaxed);
	return *ticket < opt.count;
}

static uint64_t start_time(uint64_t ticket)
{
	return opt.rate ? began + (uint64_t)((double)ticket * 1e9 / (double)opt.rate) : 0;
}

static void storm_blocking(struct tally *t)
{
	uint64_t ticket;

	while (next_ticket(&ticket)) {
		int fd;

		if (opt.rate) {
			struct timespec at = to_timespec(start_time(ticket));

			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		}
		fd = prepare(ticket);
		if (fd < 0)
			t->not_started[-fd % ERRNO_MAX]++;
		else
			finish(t, fd, connect(fd, &opt.to.sa, opt.to.len) ? errno : 0);
	}
}

/* True while it is in flight. */
static bool launch(struct tally *t, int epoll, uint64_t ticket)
{
	struct epoll_event ev = { .events = EPOLLOUT };
	int fd = prepare(ticket);

	if (fd < 0) {
		t->not_started[-fd % ERRNO_MAX]++;
		return false;
	}
	ev.data.fd = fd;
	if (!connect(fd, &opt.to.sa, opt.to.len)) {
		finish(t, fd, 0);
	} else if (errno != EINPROGRESS) {
		finish(t, fd, errno);
	} else if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev)) {
		die(1, "epoll_ctl", strerror(errno));
	} else {
		return true;
	}
	return false;
}

static void storm_parallel(struct tally *t)
{
	unsigned long limit = (opt.parallel + opt.threads - 1) / opt.threads, flying = 0;
	struct epoll_event events[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	uint64_t ticket = 0;
	bool more = next_ticket(&ticket);

	if (epoll < 0)
		die(1, "epoll_create1", strerror(errno));
	while (more || flying) {
		struct timespec wait = { 0 };
		bool paced = false;
		int n;

		while (more && flying < limit) {
			uint64_t at = start_time(ticket), now = opt.rate ? now_ns() : 0;

			if (at > now) {
				wait = to_timespec(at - now);
				paced = true;
				break;
			}
			flying += launch(t, epoll, ticket);
			more = next_ticket(&ticket);
		}
		if (!paced && !flying)
			continue;
		n = epoll_pwait2(epoll, events, 64, paced ? &wait : NULL, NULL);
		if (n < 0 && errno != EINTR)
			die(1, "epoll_pwait2", strerror(errno));
		for (int i = 0; i < n; i++) {
			int error = 0;
			socklen_t len = sizeof(error);

			getsockopt(events[i].data.fd, SOL_SOCKET, SO_ERROR, &error, &len);
			finish(t, events[i].data.fd, error);
			flying--;
		}
	}
	close(epoll);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	if (opt.parallel)
		storm_parallel(&w->tally);
	else
		storm_blocking(&w->tally);
	return NULL;
}

static void print_errors(const char *name, const uint64_t *errors)
{
	const char *comma = "";

	printf("\"%s\":{", name);
	for (int i = 0; i < ERRNO_MAX; i++) {
		const char *symbol = strerrorname_np(i);

		if (!errors[i])
			continue;
		printf("%s\"%s\":%" PRIu64, comma, symbol ? symbol : "?", errors[i]);
		comma = ",";
	}
	printf("},");
}

static void storm(void)
{
	static struct worker workers[THREADS_MAX];
	static struct tally sum;
	double elapsed;

	began = now_ns();
	for (unsigned long i = 0; i < opt.threads; i++) {
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			die(1, "pthread_create", NULL);
	}
	for (unsigned long i = 0; i < opt.threads; i++) {
		const struct tally *t = &workers[i].tally;

		pthread_join(workers[i].thread, NULL);
		sum.made += t->made;
		sum.established += t->established;
		for (int e = 0; e < ERRNO_MAX; e++) {
			sum.failed[e] += t->failed[e];
			sum.not_started[e] += t->not_started[e];
		}
	}
	elapsed = (double)(now_ns() - began) / 1e9;
	printf("{\"made\":%" PRIu64 ",\"established\":%" PRIu64 ",", sum.made, sum.established);
	print_errors("failed", sum.failed);
	print_errors("not_started", sum.not_started);
	printf("\"elapsed_s\":%.6f}\n", elapsed);
}

static void *accept_all(void *arg)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0) {
			atomic_fetch_add_explicit(&accepted, 1, memory_order_relaxed);
			close(fd);
		} else if (errno == EINVAL || errno == EBADF) {
			return arg;
		}
	}
}

static void serve(void)
{
	struct pollfd fds[] = { { .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
	const int one = 1;
	pthread_t thread;
	sigset_t mask;
	char buf[64];

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
	fds[0].fd = signalfd(-1, &mask, SFD_CLOEXEC);
	listener = socket(opt.to.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fds[0].fd < 0 || listener < 0 ||
	    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(listener, &opt.to.sa, opt.to.len) || listen(listener, INT16_MAX) ||
	    getsockname(listener, &opt.to.sa, &opt.to.len))
		die(1, "listen", strerror(errno));
	for (unsigned long i = 0; i < opt.threads; i++) {
		if (pthread_create(&thread, NULL, accept_all, NULL) || pthread_detach(thread))
			die(1, "pthread_create", NULL);
	}
	printf("ready %d\n", ntohs(opt.to.v4.sin_port)); /* v6 keeps it in the same place */
	fflush(stdout);
	do {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			die(1, "poll", strerror(errno));
	} while (!fds[0].revents && (!fds[1].revents || read(STDIN_FILENO, buf, sizeof(buf)) > 0));
	printf("{\"accepted\":%" PRIu64 "}\n", (uint64_t)accepted);
}

static uint64_t parse_number(const char *name, const char *s, uint64_t min, uint64_t max)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno || end == s || *end || *s == '-' || v < min || v > max)
		die(2, name, "bad number");
	return v;
}

static struct address parse_address(const char *name, const char *s)
{
	struct address a = { .len = sizeof(a.v4) };

	if (inet_pton(AF_INET, s, &a.v4.sin_addr) == 1) {
		a.sa.sa_family = AF_INET;
	} else if (inet_pton(AF_INET6, s, &a.v6.sin6_addr) == 1) {
		a.sa.sa_family = AF_INET6;
		a.len = sizeof(a.v6);
	} else {
		die(2, name, "not an address");
	}
	return a;
}

static void parse_source(const char *name, char *s)
{
	char *slash = strchr(s, '/');
	uint64_t bits, all;

	if (!slash)
		die(2, name, "not ADDRESS/LENGTH");
	*slash = '\0';
	opt.source = parse_address(name, s);
	all = opt.source.sa.sa_family == AF_INET ? 32 : 128;
	bits = all - parse_number(name, slash + 1, 1, all - 2);
	/* all but the first and the last; 2^24 are plenty */
	opt.source_hosts = (1ULL << (bits > 24 ? 24 : bits)) - 2;
}

static void parse_args(int argc, char **argv)
{
	bool addressed = false;
	int port = -1, i = 1;

	while (i < argc) {
		const char *name = argv[i++];
		char *value;

		if (!strcmp(name, "--help")) {
			puts("usage: connstorm --to ADDR --port P --count N [--threads T] [--parallel N]\n"
			     "           [--bind-any-source NET/LEN] [--reset-close] [--rate N/s]\n"
			     "       connstorm --listen ADDR --port P [--threads T]");
			exit(0);
		}
		if (!strcmp(name, "--reset-close")) {
			opt.reset_close = true;
			continue;
		}
		value = argv[i++];
		if (!value)
			die(2, name, "unknown option, or its value is missing");
		if (!strcmp(name, "--to") || !strcmp(name, "--listen")) {
			opt.to = parse_address(name, value);
			opt.listen = name[2] == 'l';
			addressed = true;
		} else if (!strcmp(name, "--port")) {
			port = (int)parse_number(name, value, 0, 65535);
		} else if (!strcmp(name, "--count")) {
			opt.count = parse_number(name, value, 1, UINT32_MAX);
		} else if (!strcmp(name, "--rate")) {
			opt.rate = parse_number(name, value, 1, 1000000000);
		} else if (!strcmp(name, "--threads")) {
			opt.threads = parse_number(name, value, 1, THREADS_MAX);
		} else if (!strcmp(name, "--parallel")) {
			opt.parallel = parse_number(name, value, 1, PARALLEL_MAX);
		} else if (!strcmp(name, "--bind-any-source")) {
			parse_source(name, value);
		} else {
			die(2, name, "unknown option");
		}
	}
	if (!addressed || port < 0 || (!opt.listen && !opt.count))
		die(2, "--to ADDR --port P --count N, or --listen ADDR --port P; see --help", NULL);
	if (opt.source_hosts && opt.source.sa.sa_family != opt.to.sa.sa_family)
		die(2, "--bind-any-source", "not of the family of --to");
	opt.to.v4.sin_port = htons((uint16_t)port);
}

int main(int argc, char **argv)
{
	parse_args(argc, argv);
	if (opt.listen)
		serve();
	else
		storm();
	return 0;
}
