// SPDX-License-Identifier: GPL-2.0-or-later
#include "http_peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE (10000 * MS)

struct pages pages;
struct loop *loop;
struct http *server;

static char *answer_text;

static void *open_page(void *arg, bool openmetrics)
{
	size_t *at;

	assert_ptr_equal(arg, &pages);
	if (pages.none)
		return NULL;
	at = calloc(1, sizeof(*at));
	assert_non_null(at);
	pages.opened++;
	pages.openmetrics = openmetrics;
	return at;
}

static ssize_t read_page(void *body, char *buf, size_t max)
{
	size_t *at = body, n = pages.size - *at;

	pages.reads++;
	if (max < pages.least)
		pages.least = max;
	if (pages.broken && *at >= pages.broken)
		return -1;
	if (n > max)
		n = max;
	for (size_t i = 0; i < n; i++)
		buf[i] = (char)('0' + (*at + i) % 10);
	*at += n;
	return (ssize_t)n;
}

static void close_page(void *body)
{
	pages.closed++;
	free(body);
}

static bool is_ready(void *arg)
{
	(void)arg;
	return pages.ready;
}

int server_start(void **state)
{
	static const struct http_ops ops = { open_page, read_page, close_page, is_ready };
	struct listen_address a;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	pages = (struct pages){ .size = 100, .ready = true, .least = SIZE_MAX };
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(http_new(&server, loop, &ops, &pages), 0);
	assert_int_equal(parse_listen("127.0.0.1:0", &a), 0);
	assert_int_equal(http_listen(server, &a), 0);
	return 0;
}

int server_stop(void **state)
{
	(void)state;
	http_free(server);
	loop_free(loop);
	free(answer_text);
	answer_text = NULL;
	assert_int_equal(pages.opened, pages.closed);
	return 0;
}

struct peer peer_open(int receive)
{
	struct peer p = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	const struct sockaddr_storage *to = http_address(server, 0);

	assert_true(p.fd >= 0);
	if (receive)
		assert_int_equal(setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof(int)), 0);
	assert_int_equal(connect(p.fd, (const struct sockaddr *)to, sizeof(struct sockaddr_in)), 0);
	return p;
}

void peer_send(struct peer *p, const char *text)
{
	size_t len = strlen(text);

	assert_int_equal(send(p->fd, text, len, 0), len);
}

static void on_peer(void *arg, __u32 events)
{
	struct peer *p = arg;
	ssize_t n;

	(void)events;
	if (p->room - p->len < 65536) {
		p->room = 2 * p->room + 131072;
		p->got = realloc(p->got, p->room);
		assert_non_null(p->got);
	}
	n = recv(p->fd, p->got + p->len, p->room - p->len - 1, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	p->ended = n <= 0;
	p->error = n < 0 ? errno : 0;
	p->len += n > 0 ? (size_t)n : 0;
	p->got[p->len] = 0;
}

void wait_until(condition *holds, const void *arg)
{
	__u64 end = clock_ns(CLOCK_MONOTONIC) + PATIENCE, now;

	while (!holds(arg)) {
		now = clock_ns(CLOCK_MONOTONIC);
		if (now >= end)
			fail_msg("waited in vain");
		assert_int_equal(loop_once(loop, (int)((end - now) / MS) + 1), 0);
	}
}

unsigned run_for(__u64 ns)
{
	__u64 end = clock_ns(CLOCK_MONOTONIC) + ns, now;
	unsigned n = 0;

	while ((now = clock_ns(CLOCK_MONOTONIC)) < end) {
		assert_int_equal(loop_once(loop, (int)((end - now) / MS) + 1), 0);
		n += clock_ns(CLOCK_MONOTONIC) < end;
	}
	return n;
}

struct wanted {
	const struct peer *peer;
	const char *text; /* NULL: the end */
};

static bool has(const void *arg)
{
	const struct wanted *w = arg;

	if (w->text && w->peer->len && strstr(w->peer->got, w->text))
		return true;
	if (w->text && w->peer->ended)
		fail_msg("it ended without \"%s\"", w->text);
	return w->peer->ended;
}

void peer_wait(struct peer *p, const char *text)
{
	struct wanted w = { p, text };

	assert_int_equal(loop_add(loop, p->fd, EPOLLIN, on_peer, p), 0);
	wait_until(has, &w);
	loop_remove(loop, p->fd);
}

void peer_wait_end(struct peer *p)
{
	peer_wait(p, NULL);
}

void peer_close(struct peer *p, bool reset)
{
	struct linger linger = { .l_onoff = reset };

	setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(p->fd);
	free(p->got);
	*p = (struct peer){ .fd = -1 };
}

const char *ask(const char *request)
{
	struct peer p = peer_open(0);

	peer_send(&p, request);
	assert_int_equal(shutdown(p.fd, SHUT_WR), 0);
	peer_wait_end(&p);
	free(answer_text);
	answer_text = p.got;
	p.got = NULL;
	peer_close(&p, false);
	return answer_text;
}

void assert_status(const char *answer, unsigned status)
{
	if (strncmp(answer, "HTTP/1.1 ", 9) || strtoul(answer + 9, NULL, 10) != status)
		fail_msg("not %u: \"%.200s\"", status, answer);
}
