/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What http.c (connections) and http_answer.c (requests) share. */
#ifndef TCPLAT_SERVE_HTTP_PRIVATE_H
#define TCPLAT_SERVE_HTTP_PRIVATE_H

#include <microhttpd.h>

#include "serve/http.h"
#include "serve/http_clients.h"

struct http_listener {
	struct http *http;
	int fd;
	struct sockaddr_storage addr;
};

struct http {
	struct loop *loop;
	const struct http_ops *ops;
	void *arg;
	struct MHD_Daemon *daemon;
	int epoll; /* the daemon's, once it is in the loop */
	int timer;
	__u64 armed;  /* the moment that it stands at; 0: none */
	__u64 resume; /* when to accept again; 0: we do */
	unsigned n_listeners;
	struct http_listener listeners[HTTP_LISTENERS];
	struct http_clients clients;
	__u64 requests;
};

/* Callbacks of libmicrohttpd, whose arg is the struct http. */
enum MHD_Result http_answer(void *arg, struct MHD_Connection *con, const char *url,
			    const char *method, const char *version, const char *data, size_t *size,
			    void **request);
void http_completed(void *arg, struct MHD_Connection *con, void **request,
		    enum MHD_RequestTerminationCode how);
void *http_target(void *arg, const char *target, struct MHD_Connection *con);

#endif /* TCPLAT_SERVE_HTTP_PRIVATE_H */
