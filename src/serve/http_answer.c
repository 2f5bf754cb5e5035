// SPDX-License-Identifier: GPL-2.0-or-later
/* What a request is answered with. */
#include "serve/http_private.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "core/clock.h"
#include "serve/http_accept.h"

/* For HTTP/1.0; later clients get what fits into the connection's memory. */
#define BLOCK (32 * 1024)

#define PLAIN "text/plain; charset=utf-8"

enum target {
	TARGET_OTHER,
	TARGET_ROOT,
	TARGET_METRICS,
	TARGET_HEALTHY,
	TARGET_READY,
	TARGET_LONG
};

static const char *const formats[FORMATS] = {
	[FORMAT_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
	[FORMAT_OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

static const char root_page[] =
	"<!DOCTYPE html>\n"
	"<html lang=\"en\">\n"
	"<head><meta charset=\"utf-8\"><title>tcplat</title></head>\n"
	"<body>\n"
	"<h1>tcplat " TCPLAT_VERSION "</h1>\n"
	"<p>TCP latency of this host, for Prometheus: connects, round trips, and how long\n"
	"data wait until a program takes them.</p>\n"
	"<ul>\n"
	"<li><a href=\"/metrics\">/metrics</a>: the measurements</li>\n"
	"<li><a href=\"/-/healthy\">/-/healthy</a>: whether the agent runs</li>\n"
	"<li><a href=\"/-/ready\">/-/ready</a>: whether it measures</li>\n"
	"</ul>\n"
	"</body>\n"
	"</html>\n";

static enum target target_of(const char *s)
{
	static const struct {
		const char *path;
		enum target target;
	} known[] = {
		{ "/", TARGET_ROOT },
		{ "/metrics", TARGET_METRICS },
		{ "/-/healthy", TARGET_HEALTHY },
		{ "/-/ready", TARGET_READY },
	};
	size_t len;

	if (strlen(s) > HTTP_TARGET)
		return TARGET_LONG;
	/* The form that proxies are sent is to be understood by everybody. */
	if (!strncasecmp(s, "http://", 7))
		s += 7 + strcspn(s + 7, "/?");
	len = strcspn(s, "?");
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].path) == len && !memcmp(s, known[i].path, len))
			return known[i].target;
	return TARGET_OTHER;
}

static struct http_client *client_of(struct MHD_Connection *con)
{
	return MHD_get_connection_info(con, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

void *http_target(void *arg, const char *target, struct MHD_Connection *con)
{
	struct http *h = arg;
	struct http_client *c = client_of(con);

	if (c) {
		client_asking(&h->clients, c, clock_ns(CLOCK_MONOTONIC));
		c->target = (int)target_of(target);
		c->heard = false;
	}
	return c;
}

void http_completed(void *arg, struct MHD_Connection *con, void **request,
		    enum MHD_RequestTerminationCode how)
{
	struct http *h = arg;

	(void)con;
	if (*request && how == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		client_answered(&h->clients, *request, clock_ns(CLOCK_MONOTONIC));
}

struct answer {
	unsigned status;
	const char *type;
	const char *name, *value; /* one more header, or NULL */
};

/* Queues the response, which is ours to give back; NULL: there was no memory for it. */
static enum MHD_Result send_answer(struct MHD_Connection *con, struct MHD_Response *r,
				   const struct answer *a)
{
	enum MHD_Result done;

	if (!r)
		return MHD_NO;
	done = MHD_add_response_header(r, "Content-Type", a->type);
	if (done == MHD_YES)
		done = MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	if (done == MHD_YES)
		done = MHD_add_response_header(r, "Cache-Control", "no-store");
	if (done == MHD_YES && a->name)
		done = MHD_add_response_header(r, a->name, a->value);
	if (done == MHD_YES)
		done = MHD_queue_response(con, a->status, r);
	MHD_destroy_response(r);
	return done;
}

static enum MHD_Result say_with(struct MHD_Connection *con, const struct answer *a,
				const char *text)
{
	return send_answer(
		con,
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT),
		a);
}

static enum MHD_Result say(struct MHD_Connection *con, unsigned status, const char *text)
{
	return say_with(con, &(struct answer){ .status = status, .type = PLAIN }, text);
}

/* A page on its way to a client. */
struct stream {
	const struct http_ops *ops;
	struct http_client *client;
	void *body; /* NULL: HEAD */
};

static ssize_t stream_read(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct stream *s = arg;
	ssize_t n = s->body ? s->ops->read(s->body, buf, max) : 0;

	(void)pos;
	client_moved(s->client, clock_ns(CLOCK_MONOTONIC));
	if (n < 0)
		client_spoil(s->client);
	if (n <= 0)
		return n ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
	return n;
}

static void stream_free(void *arg)
{
	struct stream *s = arg;

	if (s->body)
		s->ops->close(s->body);
	free(s);
}

static enum MHD_Result add_accept(void *arg, enum MHD_ValueKind kind, const char *name,
				  const char *value)
{
	(void)kind;
	if (value && !strcasecmp(name, "Accept"))
		http_accept_add(arg, value);
	return MHD_YES;
}

static enum MHD_Result answer_metrics(struct http *h, struct MHD_Connection *con,
				      struct http_client *c, bool head)
{
	struct stream *s = calloc(1, sizeof(*s));
	struct http_accept accept = {};
	struct MHD_Response *r;
	enum http_format format;

	if (!s)
		return MHD_NO;
	MHD_get_connection_values(con, MHD_HEADER_KIND, add_accept, &accept);
	format = http_accept_format(&accept);
	*s = (struct stream){ .ops = h->ops, .client = c };
	if (!head) {
		s->body = h->ops->open(h->arg, format == FORMAT_OPENMETRICS);
		if (!s->body) {
			free(s);
			return say(con, MHD_HTTP_SERVICE_UNAVAILABLE, "no page can be made now\n");
		}
	}
	r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, stream_read, s, stream_free);
	if (!r)
		stream_free(s);
	/* libmicrohttpd sends the end of a chunked answer also where there is no answer. */
	if (r && head)
		MHD_set_response_options(r, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
	return send_answer(con, r,
			   &(struct answer){ .status = MHD_HTTP_OK,
					     .type = formats[format],
					     .name = "Vary",
					     .value = "Accept" });
}

static enum MHD_Result answer(struct http *h, struct MHD_Connection *con, struct http_client *c,
			      bool head)
{
	static const struct answer root = { .status = MHD_HTTP_OK,
					    .type = "text/html; charset=utf-8",
					    .name = "Content-Security-Policy",
					    .value = "default-src 'none'" };

	switch ((enum target)c->target) {
	case TARGET_METRICS:
		return answer_metrics(h, con, c, head);
	case TARGET_HEALTHY:
		return say(con, MHD_HTTP_OK, "ok\n");
	case TARGET_READY:
		return h->ops->ready(h->arg) ?
			       say(con, MHD_HTTP_OK, "ok\n") :
			       say(con, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready\n");
	case TARGET_ROOT:
		return say_with(con, &root, root_page);
	case TARGET_LONG:
	case TARGET_OTHER:
		break;
	}
	return say(con, MHD_HTTP_NOT_FOUND, "not found\n");
}

static const char *header(struct MHD_Connection *con, const char *name)
{
	return MHD_lookup_connection_value(con, MHD_HEADER_KIND, name);
}

static bool has_body(struct MHD_Connection *con)
{
	const char *length = header(con, "Content-Length");

	return header(con, "Transfer-Encoding") || (length && length[strspn(length, "0")]);
}

static bool head_too_large(struct MHD_Connection *con)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(con, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	int fields = MHD_get_connection_values(
		con, MHD_HEADER_KIND | MHD_COOKIE_KIND | MHD_GET_ARGUMENT_KIND, NULL, NULL);

	return fields > HTTP_FIELDS || !info || info->header_size > HTTP_HEAD;
}

/*
 * Called when the head is there, and again when the whole request is. What is answered
 * the first time makes libmicrohttpd close the connection after it, which is meant for
 * those that are refused and for those with a body, which nobody reads.
 */
enum MHD_Result http_answer(void *arg, struct MHD_Connection *con, const char *url,
			    const char *method, const char *version, const char *data, size_t *size,
			    void **request)
{
	struct http *h = arg;
	struct http_client *c = *request;
	bool head = !strcmp(method, "HEAD"), first;

	(void)url;
	(void)version;
	(void)data;
	(void)size;
	if (!c)
		return MHD_NO;
	first = !c->heard;
	c->heard = true;
	h->requests += first;
	if (first && c->target != TARGET_LONG && !head_too_large(con) && !has_body(con))
		return MHD_YES;
	client_asked(&h->clients, c, clock_ns(CLOCK_MONOTONIC));
	if (c->target == TARGET_LONG)
		return say(con, MHD_HTTP_URI_TOO_LONG, "the target is too long\n");
	if (head_too_large(con))
		return say(con, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE,
			   "the head is too large\n");
	if (!head && strcmp(method, "GET") != 0)
		return say_with(con,
				&(struct answer){ .status = MHD_HTTP_METHOD_NOT_ALLOWED,
						  .type = PLAIN,
						  .name = "Allow",
						  .value = "GET, HEAD" },
				"only GET and HEAD\n");
	return answer(h, con, c, head);
}
