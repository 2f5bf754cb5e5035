// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/serve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/loop.h"
#include "serve/collector.h"
#include "serve/groups.h"
#include "serve/http.h"
#include "serve/lockdown.h"
#include "serve/notify.h"
#include "tools/tool.h"

/* Whoever asks within this time gets the same page. */
#define SHARED_NS (200ULL * 1000 * 1000)

/* How often the kernel's keys are looked after when nobody asks. */
#define TICK_NS (5ULL * 1000 * 1000 * 1000)

/*
 * Clients that are slow to take what they asked for hold the page that was current then,
 * for a minute at most (http.h). When there are so many, further ones get the newest, if
 * that is not older than this, or nothing.
 */
#define PAGES_MOST 8
#define STALE_NS (10ULL * 1000 * 1000 * 1000)

#define DEFAULT_PORT "9762"

struct serve {
	struct query *q;
	struct loop *loop;
	struct engine *engine;
	struct groups *groups;
	struct collector *collector;
	struct http *http;
	struct notify notify;
	struct page *page; /* of the last reading that somebody asked for */
	__u64 page_ns;
	__u64 scrapes;
	char addresses[HTTP_LISTENERS][LISTEN_TEXT];
	int signals, tick, watchdog; /* descriptors, -1: none */
	bool over;
	bool ready;
	bool told; /* that we are ready */
};

/* The page that is current now; NULL: there is none. */
static struct page *current_page(struct serve *s)
{
	struct self self = { .scrapes = s->scrapes, .timed = s->q->serve.bpf_stats };
	struct http_counters http = http_counters(s->http);

	__u64 fresh_ns = pages_held() < PAGES_MOST ? SHARED_NS : STALE_NS;

	if (s->page && clock_ns(CLOCK_MONOTONIC) - s->page_ns < fresh_ns)
		return s->page;
	if (fresh_ns == STALE_NS)
		return NULL;
	if (collector_read(s->collector))
		return NULL;
	self.connections = http.connections;
	self.cut = http.cut;
	page_unref(s->page);
	s->page = collector_page(s->collector, &self);
	s->page_ns = clock_ns(CLOCK_MONOTONIC);
	return s->page;
}

static void *body_open(void *arg, bool openmetrics)
{
	struct serve *s = arg;
	struct page *page;

	s->scrapes++;
	page = current_page(s);
	return page ? page_open(page, openmetrics) : NULL;
}

static ssize_t body_read(void *body, char *buf, size_t max)
{
	return max < PAGE_LEAST ? -ENOBUFS : (ssize_t)page_read(body, buf, max);
}

static void body_close(void *body)
{
	page_close(body);
}

static bool is_ready(void *arg)
{
	return ((struct serve *)arg)->ready;
}

static const struct http_ops http_ops = {
	.open = body_open,
	.read = body_read,
	.close = body_close,
	.ready = is_ready,
};

/* Rows there are none; but the engine looks after its clock meanwhile. */
static void no_row(void *arg, const struct tcplat_event *ev, size_t size)
{
	(void)arg;
	(void)ev;
	(void)size;
}

static void on_engine(void *arg, __u32 events)
{
	struct serve *s = arg;

	(void)events;
	engine_drain(s->engine, no_row, NULL);
}

/* A manager that is busy now is told at the next tick. */
static void tell(struct serve *s)
{
	if (!s->told)
		s->told = !notify_send(&s->notify, "READY=1");
}

static void on_tick(void *arg, __u32 events)
{
	struct serve *s = arg;

	(void)events;
	timer_take(s->tick);
	tell(s);
	/* A scrape has done it already. */
	if (clock_ns(CLOCK_MONOTONIC) - collector_read_ns(s->collector) >= TICK_NS / 2)
		collector_read(s->collector);
	/* Nobody has asked for it again: it is only memory now. */
	if (clock_ns(CLOCK_MONOTONIC) - s->page_ns >= STALE_NS) {
		page_unref(s->page);
		s->page = NULL;
	}
}

static void on_watchdog(void *arg, __u32 events)
{
	struct serve *s = arg;

	(void)events;
	timer_take(s->watchdog);
	notify_send(&s->notify, "WATCHDOG=1");
}

static void on_signal(void *arg, __u32 events)
{
	struct signalfd_siginfo info;
	struct serve *s = arg;

	(void)events;
	if (read(s->signals, &info, sizeof(info)) == sizeof(info))
		s->over = true;
}

static int watch_signals(struct serve *s)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction old;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		/* What nohup(1) and scripts have ignored stays so. */
		if (sigaction(numbers[i], NULL, &old) || old.sa_handler != SIG_IGN)
			sigaddset(&set, numbers[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals < 0)
		return -errno;
	return loop_add(s->loop, s->signals, EPOLLIN, on_signal, s);
}

static int watch_timer(struct serve *s, int *fd, __u64 every_ns, loop_fn *fn)
{
	int err;

	*fd = timer_new();
	if (*fd < 0)
		return *fd;
	err = timer_arm(*fd, every_ns, every_ns);
	return err ? err : loop_add(s->loop, *fd, EPOLLIN, fn, s);
}

static int watch(struct serve *s)
{
	int err = loop_add(s->loop, engine_fd(s->engine), EPOLLIN, on_engine, s);

	if (!err)
		err = watch_timer(s, &s->tick, TICK_NS, on_tick);
	if (!err && s->notify.watchdog_ns)
		err = watch_timer(s, &s->watchdog, s->notify.watchdog_ns, on_watchdog);
	return err;
}

static int listen_at(struct serve *s, const struct listen_address *a)
{
	char text[LISTEN_TEXT];
	int err = http_listen(s->http, a);

	if (!err)
		return 0;
	listen_text(text, &a->addr);
	if (err == -EADDRINUSE)
		log_error("--listen: '%s' is in use already; give another port, or 0 for any",
			  text);
	else
		log_error("--listen: cannot listen on '%s': %s", text, strerror(-err));
	return err;
}

/* Of the two default addresses, one that this host does not have is left out. */
static int listen_default(struct serve *s)
{
	static const char *const addresses[] = { "127.0.0.1:" DEFAULT_PORT, "[::1]:" DEFAULT_PORT };
	struct listen_address a;
	int n = 0, err;

	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		parse_listen(addresses[i], &a);
		err = http_listen(s->http, &a);
		if (err == -EADDRNOTAVAIL || err == -EAFNOSUPPORT)
			continue;
		if (err) {
			log_error("--listen: '%s' is in use already or not allowed: %s; give "
				  "another address",
				  addresses[i], strerror(-err));
			return err;
		}
		n++;
	}
	if (n)
		return 0;
	log_error("--listen: this host has neither 127.0.0.1 nor ::1; give an address");
	return -EADDRNOTAVAIL;
}

static int listen_all(struct serve *s)
{
	const struct serve_options *o = &s->q->serve;
	int err = http_new(&s->http, s->loop, &http_ops, s);

	if (err) {
		log_error("cannot set up the HTTP server: %s", strerror(-err));
		return err;
	}
	if (!o->n_listen)
		return listen_default(s);
	for (unsigned i = 0; i < o->n_listen && !err; i++)
		err = listen_at(s, &o->listen[i]);
	return err;
}

/* net/ipv4/ip_output.c: ports that are given to connections, where none is asked for. */
static __u16 first_ephemeral(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned first;

	return f && fscanf(f, "%u", &first) == 1 && first < 65536 ? (__u16)first : 32768;
}

static int load(struct serve *s)
{
	struct query *q = s->q;
	struct tcplat_config *c = &q->config;
	const struct engine_options options = { .config = c,
						.cgroup_fds = q->cgroup_fds,
						.ring_bytes = q->ring_bytes,
						.intervals = true,
						.retire = true };
	int err;

	if (c->by & TCPLAT_KEY_CGROUP) {
		err = groups_new(&s->groups);
		if (err) {
			log_error("--by: no names of groups: %s; cgroups have to be mounted",
				  strerror(-err));
			return err;
		}
		c->groups = (__u8)groups_which(s->groups);
	}
	c->few_ports = c->by & (TCPLAT_KEY_LPORT | TCPLAT_KEY_RPORT) && !q->serve.all_ports;
	c->ephemeral = first_ephemeral();
	c->max_keys = collector_keys(q);
	err = engine_load(&s->engine, &options);
	if (err)
		return err;
	err = q->serve.bpf_stats ? engine_time_programs(s->engine) : 0;
	if (err) {
		log_error("--bpf-stats: the kernel does not time its programs for us: %s; that "
			  "takes CAP_SYS_ADMIN",
			  strerror(-err));
		return err;
	}
	err = engine_attach(s->engine);
	if (err)
		return err;
	engine_describe(s->engine);
	err = collector_new(&s->collector, s->engine, s->groups, q);
	if (err)
		log_error("out of memory");
	return err;
}

/* The name of an interface takes a socket, which is not to be had later. */
static void write_addresses(struct serve *s)
{
	const struct sockaddr_storage *addr;

	for (unsigned i = 0; i < HTTP_LISTENERS && (addr = http_address(s->http, i)); i++)
		listen_text(s->addresses[i], addr);
}

static void announce(const struct serve *s)
{
	for (unsigned i = 0; i < HTTP_LISTENERS && *s->addresses[i]; i++)
		fprintf(stderr, "tcplat: serving on http://%s/metrics\n", s->addresses[i]);
}

static int set_up(struct serve *s, const struct lockdown_user *user)
{
	int err = loop_new(&s->loop);

	signal(SIGPIPE, SIG_IGN);
	if (!err)
		err = watch_signals(s);
	if (err) {
		log_error("cannot set up the event loop: %s", strerror(-err));
		return err;
	}
	err = notify_open(&s->notify);
	if (err)
		log_warning("NOTIFY_SOCKET: nobody is told that we are ready: %s", strerror(-err));
	err = listen_all(s);
	if (!err)
		err = load(s);
	if (err)
		return err;
	err = watch(s);
	if (err) {
		log_error("cannot set up the event loop: %s", strerror(-err));
		return err;
	}
	write_addresses(s);
	return lockdown(user);
}

static void close_all(struct serve *s)
{
	int *fds[] = { &s->signals, &s->tick, &s->watchdog };

	/* Answers that are under way hold pages. */
	http_free(s->http);
	page_unref(s->page);
	collector_free(s->collector);
	engine_free(s->engine);
	groups_free(s->groups);
	notify_close(&s->notify);
	loop_free(s->loop);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
}

int serve_run(struct query *q)
{
	struct serve s = { .q = q, .notify.fd = -1, .signals = -1, .tick = -1, .watchdog = -1 };
	struct lockdown_user user = {};
	int status = EXIT_FAILURE, err;

	err = q->user ? lockdown_find_user(q->user, &user) : 0;
	if (err) {
		log_error("-u/--user: '%s' is no user here; give a login name or a number",
			  q->user);
		return EXIT_USAGE;
	}
	if (!set_up(&s, &user)) {
		s.ready = true;
		announce(&s);
		tell(&s);
		while (!s.over)
			loop_once(s.loop, -1);
		notify_send(&s.notify, "STOPPING=1");
		status = EXIT_SUCCESS;
	}
	close_all(&s);
	return status;
}
