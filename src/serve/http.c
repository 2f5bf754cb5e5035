// SPDX-License-Identifier: GPL-2.0-or-later
/* Sockets, and libmicrohttpd in our loop. What is answered: http_answer.c. */
#include "serve/http_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"

/*
 * Of each connection: half of it for what it sends, which may be more than one request;
 * then copies of a head's fields, HTTP_FIELDS at most, and of its cookies; what is left
 * is for a block of the answer. A head above HTTP_HEAD that fits is refused by us.
 */
#define CLIENT_MEMORY (64 * 1024)
#define ACCEPT_AT_ONCE 16
#define RUNS_AT_ONCE 16
/* How long nobody is accepted when that has failed for want of anything. */
#define PAUSE (250 * 1000000ULL)
#define USER_TIMEOUT_MS (60 * 1000)

static __u64 now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static __u64 earlier(__u64 a, __u64 b)
{
	return !a || (b && b < a) ? b : a;
}

/* The one timer stands at the next thing to do, and at nothing if there is none. */
static void set_timer(struct http *h, __u64 at)
{
	__u64 t = now();

	at = earlier(at, clients_deadline(&h->clients));
	at = earlier(at, h->resume);
	if (at == h->armed)
		return;
	h->armed = at;
	timer_arm(h->timer, at > t ? at - t : !!at, 0);
}

static void run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG wait = 1;
	bool more = true;

	for (int i = 0; more && i < RUNS_AT_ONCE; i++) {
		MHD_run(h->daemon);
		more = MHD_get_timeout(h->daemon, &wait) == MHD_YES && !wait;
	}
	if (!more)
		clients_look(&h->clients, now());
	/* Others in the loop have their turn before it goes on. */
	set_timer(h, more ? now() : 0);
}

static void on_http(void *arg, __u32 events)
{
	(void)events;
	run(arg);
}

static void on_connection(void *arg, struct MHD_Connection *con, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct http *h = arg;
	const union MHD_ConnectionInfo *info;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (*context)
			clients_remove(&h->clients, *context);
		*context = NULL;
		return;
	}
	info = MHD_get_connection_info(con, MHD_CONNECTION_INFO_CONNECTION_FD);
	*context = clients_add(&h->clients, info->connect_fd, now());
}

static bool make_room(struct http *h)
{
	if (!clients_spare_one(&h->clients, now()))
		return false;
	MHD_run(h->daemon);
	return h->clients.n < HTTP_CLIENTS;
}

static void on_listener(void *arg, __u32 events);

static void pause_listeners(struct http *h, bool pause)
{
	h->resume = pause ? now() + PAUSE : 0;
	for (unsigned i = 0; i < h->n_listeners; i++) {
		if (pause)
			loop_remove(h->loop, h->listeners[i].fd);
		else
			loop_add(h->loop, h->listeners[i].fd, EPOLLIN, on_listener,
				 &h->listeners[i]);
	}
}

/*
 * Whether it is worth another try. taken: one of this round was; whether there is
 * another cannot be told without a descriptor, but the loop will.
 */
static bool accept_again(struct http *h, int err, bool taken)
{
	switch (err) {
	case EAGAIN:
		return false;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		if (taken)
			return false;
		if (clients_spare_one(&h->clients, now())) {
			MHD_run(h->daemon);
			return true;
		}
		/* The listener stays readable: waiting for it would be a busy loop. */
		pause_listeners(h, true);
		return false;
	default:
		/* What became of that connection: the next may be better. */
		return true;
	}
}

static bool take_one(struct http *h, int listener, bool *taken)
{
	struct sockaddr_storage from = {};
	socklen_t len = sizeof(from);
	int fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	unsigned ms = USER_TIMEOUT_MS;

	if (fd < 0)
		return accept_again(h, errno, *taken);
	*taken = true;
	if (h->clients.n == HTTP_CLIENTS && !make_room(h)) {
		close(fd);
		h->clients.cut++;
		return true;
	}
	/* What the kernel still has of an answer when nobody takes it. */
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	if (MHD_add_connection(h->daemon, fd, (struct sockaddr *)&from, len) != MHD_YES)
		log_info("a connection could not be taken: %s", strerror(errno));
	return true;
}

static void on_listener(void *arg, __u32 events)
{
	struct http_listener *l = arg;
	bool taken = false;

	(void)events;
	for (int i = 0; i < ACCEPT_AT_ONCE && take_one(l->http, l->fd, &taken); i++)
		;
	run(l->http);
}

static void on_timer(void *arg, __u32 events)
{
	struct http *h = arg;

	(void)events;
	timer_take(h->timer);
	h->armed = 0;
	if (h->resume && h->resume <= now())
		pause_listeners(h, false);
	clients_expire(&h->clients, now());
	run(h);
}

static void on_log(void *arg, const char *fmt, va_list ap)
{
	char line[512];

	(void)arg;
	if (vsnprintf(line, sizeof(line), fmt, ap) < 0)
		return;
	line[strcspn(line, "\n")] = 0;
	log_info("http: %s", line);
}

static struct MHD_Daemon *start(struct http *h)
{
	return MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG, 0, NULL, NULL,
		http_answer, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, h, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)HTTP_CLIENTS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CLIENT_MEMORY,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_NOTIFY_COMPLETED,
		http_completed, h, MHD_OPTION_URI_LOG_CALLBACK, http_target, h,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

int http_new(struct http **http, struct loop *loop, const struct http_ops *ops, void *arg)
{
	_cleanup_(http_freep) struct http *h = calloc(1, sizeof(*h));
	const union MHD_DaemonInfo *info;
	int err;

	if (!h)
		return -ENOMEM;
	h->loop = loop;
	h->ops = ops;
	h->arg = arg;
	h->timer = -1;
	clients_init(&h->clients);
	h->timer = timer_new();
	if (h->timer < 0)
		return h->timer;
	err = loop_add(loop, h->timer, EPOLLIN, on_timer, h);
	if (err)
		return err;
	errno = 0;
	h->daemon = start(h);
	if (!h->daemon)
		return errno ? -errno : -ENOMEM;
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	err = loop_add(loop, info->epoll_fd, EPOLLIN, on_http, h);
	if (err)
		return err;
	h->epoll = info->epoll_fd;
	*http = h;
	h = NULL;
	return 0;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < h->n_listeners; i++) {
		loop_remove(h->loop, h->listeners[i].fd);
		close(h->listeners[i].fd);
	}
	if (h->epoll)
		loop_remove(h->loop, h->epoll);
	if (h->daemon)
		MHD_stop_daemon(h->daemon);
	if (h->timer >= 0) {
		loop_remove(h->loop, h->timer);
		close(h->timer);
	}
	free(h);
}

/* A socket bound to it, or a negative errno. */
static int bound(const struct sockaddr_storage *addr, socklen_t len, bool both)
{
	_cleanup_close_ int fd =
		socket(addr->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, only = !both, buffer = 256 * 1024;

	if (fd < 0)
		return -errno;
	/* Connections inherit it: the kernel would keep up to 4 MiB of an answer for each. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)))
		return -errno;
	/* The system's default is an administrator's choice; here it is the form of the option. */
	if (addr->ss_family == AF_INET6 &&
	    IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)addr)->sin6_addr) &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)))
		return -errno;
	if (bind(fd, (const struct sockaddr *)addr, len) || listen(fd, SOMAXCONN))
		return -errno;
	return take_fd(&fd);
}

int http_listen(struct http *h, const struct listen_address *a)
{
	struct http_listener *l = &h->listeners[h->n_listeners];
	_cleanup_close_ int fd = -1;
	socklen_t len = sizeof(l->addr);
	int err;

	if (h->n_listeners == HTTP_LISTENERS)
		return -ENOSPC;
	fd = bound(&a->addr, a->len, a->every);
	if (a->every && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->addr;
		struct sockaddr_storage v4 = {};

		*(struct sockaddr_in *)&v4 =
			(struct sockaddr_in){ .sin_family = AF_INET, .sin_port = in6->sin6_port };
		fd = bound(&v4, sizeof(struct sockaddr_in), false);
	}
	if (fd < 0)
		return fd;
	if (getsockname(fd, (struct sockaddr *)&l->addr, &len))
		return -errno;
	l->http = h;
	err = loop_add(h->loop, fd, EPOLLIN, on_listener, l);
	if (err)
		return err;
	l->fd = take_fd(&fd);
	h->n_listeners++;
	return 0;
}

const struct sockaddr_storage *http_address(const struct http *h, unsigned i)
{
	return i < h->n_listeners ? &h->listeners[i].addr : NULL;
}

struct http_counters http_counters(const struct http *h)
{
	return (struct http_counters){ .cut = h->clients.cut,
				       .requests = h->requests,
				       .connections = h->clients.n };
}

void http_set_times(struct http *h, const struct http_times *times)
{
	h->clients.times = *times;
}
