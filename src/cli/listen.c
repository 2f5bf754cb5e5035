// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/listen.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "cli/parse.h"

/* The interface by name or number. */
static int parse_scope(const char *s, __u32 *scope)
{
	__u64 number;

	if (!*s)
		return -EINVAL;
	*scope = if_nametoindex(s);
	if (*scope)
		return 0;
	if (parse_u64(s, 1, INT_MAX, &number))
		return -ENODEV;
	*scope = (__u32)number;
	return 0;
}

static int set_v6(struct listen_address *a, char *host, __u16 port)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a->addr;
	char *scope = strchr(host, '%');
	bool local;

	if (scope)
		*scope++ = 0;
	if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
		return -EINVAL;
	/* Only these need an interface, and only for these does the kernel look at it. */
	local = IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr);
	if (local != !!scope)
		return -EINVAL;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	a->len = sizeof(*in6);
	return scope ? parse_scope(scope, &in6->sin6_scope_id) : 0;
}

static int set_v4(struct listen_address *a, const char *host, __u16 port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&a->addr;

	if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
		return -EINVAL;
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	a->len = sizeof(*in);
	return 0;
}

int parse_listen(const char *s, struct listen_address *a)
{
	char host[LISTEN_TEXT];
	const char *colon = strrchr(s, ':');
	size_t len = colon ? (size_t)(colon - s) : sizeof(host);
	__u64 port;
	int err;

	memset(a, 0, sizeof(*a));
	if (len >= sizeof(host))
		return -EINVAL;
	err = parse_u64(colon + 1, 0, 65535, &port);
	if (err)
		return err;
	memcpy(host, s, len);
	host[len] = 0;
	a->every = !len;
	if (a->every)
		return set_v6(a, strcpy(host, "::"), (__u16)port);
	if (host[0] != '[')
		return set_v4(a, host, (__u16)port);
	if (host[len - 1] != ']')
		return -EINVAL;
	host[len - 1] = 0;
	return set_v6(a, host + 1, (__u16)port);
}

void listen_text(char dst[LISTEN_TEXT], const struct sockaddr_storage *addr)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
	char host[INET6_ADDRSTRLEN] = "", name[IF_NAMESIZE], scope[IF_NAMESIZE + 1] = "";

	if (addr->ss_family == AF_INET) {
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(dst, LISTEN_TEXT, "%s:%u", host, ntohs(in->sin_port));
		return;
	}
	inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
	if (in6->sin6_scope_id && if_indextoname(in6->sin6_scope_id, name))
		snprintf(scope, sizeof(scope), "%%%s", name);
	else if (in6->sin6_scope_id)
		snprintf(scope, sizeof(scope), "%%%u", in6->sin6_scope_id);
	snprintf(dst, LISTEN_TEXT, "[%s%s]:%u", host, scope, ntohs(in6->sin6_port));
}
