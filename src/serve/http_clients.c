// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/http_clients.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#define S 1000000000ULL
#define STILL (1 * S)
/* TCP_CLOSE_WAIT: only one of the two tcp.h can be included. */
#define CLOSE_WAIT 8

void clients_init(struct http_clients *all)
{
	memset(all, 0, sizeof(*all));
	all->times = (struct http_times){ .request = 10 * S, .answer = 60 * S, .idle = 120 * S };
	for (int i = 0; i < HTTP_CLIENTS; i++)
		all->of[i].fd = -1;
}

struct http_client *clients_add(struct http_clients *all, int fd, __u64 now)
{
	for (int i = 0; i < HTTP_CLIENTS; i++) {
		struct http_client *c = &all->of[i];

		if (c->fd >= 0)
			continue;
		*c = (struct http_client){ .fd = fd, .since = now };
		c->deadline = now + all->times.request;
		all->n++;
		return c;
	}
	return NULL;
}

void clients_remove(struct http_clients *all, struct http_client *c)
{
	c->fd = -1;
	all->n--;
}

static struct tcp_info info_of(const struct http_client *c)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	return info;
}

void client_asking(struct http_clients *all, struct http_client *c, __u64 now)
{
	if (c->doing != DOING_NOTHING)
		return;
	c->doing = DOING_ASKING;
	c->deadline = now + all->times.request;
}

void client_asked(struct http_clients *all, struct http_client *c, __u64 now)
{
	c->doing = DOING_ANSWERING;
	c->moved = now;
	c->deadline = now + all->times.answer;
}

void client_moved(struct http_client *c, __u64 now)
{
	c->moved = now;
}

void client_answered(struct http_clients *all, struct http_client *c, __u64 now)
{
	c->doing = DOING_NOTHING;
	c->since = now;
	c->received = info_of(c).tcpi_bytes_received;
	c->deadline = now + all->times.idle;
}

/* It has sent its end, and before that nothing that is still to be read. */
static bool at_end(const struct http_client *c, const struct tcp_info *info)
{
	char byte;

	return info->tcpi_state == CLOSE_WAIT && !recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
}

void clients_look(struct http_clients *all, __u64 now)
{
	for (int i = 0; i < HTTP_CLIENTS; i++) {
		struct http_client *c = &all->of[i];
		struct tcp_info info;

		if (c->fd < 0 || c->leaving || c->doing == DOING_ANSWERING)
			continue;
		info = info_of(c);
		if (at_end(c, &info)) {
			c->leaving = true;
			shutdown(c->fd, SHUT_RDWR);
		} else if (info.tcpi_bytes_received != c->received) {
			client_asking(all, c, now);
		}
	}
}

void client_spoil(const struct http_client *c)
{
	struct linger reset = { .l_onoff = 1 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

static void cut(struct http_clients *all, struct http_client *c)
{
	/* To HTTP/1.0 an end of the connection is the end of the answer. */
	if (c->doing == DOING_ANSWERING)
		client_spoil(c);
	shutdown(c->fd, SHUT_RDWR);
	c->leaving = true;
	all->cut++;
}

void clients_expire(struct http_clients *all, __u64 now)
{
	for (int i = 0; i < HTTP_CLIENTS; i++) {
		struct http_client *c = &all->of[i];

		if (c->fd >= 0 && !c->leaving && c->deadline <= now)
			cut(all, c);
	}
}

__u64 clients_deadline(const struct http_clients *all)
{
	__u64 next = 0;

	for (int i = 0; i < HTTP_CLIENTS; i++) {
		const struct http_client *c = &all->of[i];

		if (c->fd >= 0 && !c->leaving && (!next || c->deadline < next))
			next = c->deadline;
	}
	return next;
}

bool clients_spare_one(struct http_clients *all, __u64 now)
{
	struct http_client *oldest = NULL, *stillest = NULL;

	for (int i = 0; i < HTTP_CLIENTS; i++) {
		struct http_client *c = &all->of[i];

		if (c->fd < 0 || c->leaving)
			continue;
		if (c->doing != DOING_ANSWERING) {
			if (!oldest || c->since < oldest->since)
				oldest = c;
		} else if (c->moved + STILL <= now) {
			if (!stillest || c->moved < stillest->moved)
				stillest = c;
		}
	}
	if (!oldest && !stillest)
		return false;
	cut(all, oldest ? oldest : stillest);
	return true;
}
