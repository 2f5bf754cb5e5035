/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where to listen: the parser of --listen, and the text form of an address. */
#ifndef TCPLAT_CLI_LISTEN_H
#define TCPLAT_CLI_LISTEN_H

#include <arpa/inet.h>
#include <net/if.h>
#include <stdbool.h>
#include <sys/socket.h>

struct listen_address {
	struct sockaddr_storage addr;
	socklen_t len;
	bool every; /* ":PORT": [::] takes IPv4 too, and 0.0.0.0 does where IPv6 is missing */
};

/*
 * "127.0.0.1:9762", "[::1]:9762", "[fe80::1%eth0]:9762", ":9762". Port 0 is any free
 * one. No host names. -EINVAL for what is not of the form, among it a link-local
 * address without its interface; -ERANGE for a port above 65535; -ENODEV for an
 * interface that does not exist.
 */
int parse_listen(const char *s, struct listen_address *a);

/* "[fe80::1%", the longest name, "]:65535" */
#define LISTEN_TEXT (INET6_ADDRSTRLEN + IF_NAMESIZE + sizeof("[%]:65535"))

/* The same form, of any IPv4 or IPv6 address. */
void listen_text(char dst[LISTEN_TEXT], const struct sockaddr_storage *addr);

#endif /* TCPLAT_CLI_LISTEN_H */
