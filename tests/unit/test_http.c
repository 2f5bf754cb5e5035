// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests and their answers, over real sockets. Who may stay: test_http_clients.c. */
#include "http_peer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "core/cleanup.h"

#define TEXT "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
#define OPENMETRICS "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
#define PLAIN "Content-Type: text/plain; charset=utf-8\r\n"
#define HTML "Content-Type: text/html; charset=utf-8\r\n"

static const char *body_of(const char *answer)
{
	const char *end = strstr(answer, "\r\n\r\n");

	assert_non_null(end);
	return end + 4;
}

static void test_paths(void **state)
{
	static const struct {
		const char *target;
		unsigned status;
		const char *type, *body; /* NULL: some */
	} cases[] = {
		{ "/-/healthy", 200, PLAIN, "ok\n" },
		{ "/-/ready", 200, PLAIN, "ok\n" },
		{ "/", 200, HTML, NULL },
		{ "/?x=1", 200, HTML, NULL },
		{ "/metrics", 200, TEXT, NULL },
		{ "/metrics?x=1&y=/", 200, TEXT, NULL },
		{ "http://127.0.0.1:9762/metrics?x", 200, TEXT, NULL },
		{ "HTTP://a", 404, PLAIN, "not found\n" },
		{ "HTTP://a/", 200, HTML, NULL },
		{ "/metrics/", 404, PLAIN, "not found\n" },
		{ "/metrics/x", 404, PLAIN, "not found\n" },
		{ "/metric", 404, PLAIN, "not found\n" },
		{ "/METRICS", 404, PLAIN, "not found\n" },
		{ "//metrics", 404, PLAIN, "not found\n" },
		{ "/./metrics", 404, PLAIN, "not found\n" },
		{ "/metrics%00", 404, PLAIN, "not found\n" },
		{ "/%6detrics", 404, PLAIN, "not found\n" },
		{ "metrics", 404, PLAIN, "not found\n" },
		{ "*", 404, PLAIN, "not found\n" },
		{ "/-/", 404, PLAIN, "not found\n" },
		{ "/../../etc/passwd", 404, PLAIN, "not found\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char request[200];
		const char *got;

		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
			 cases[i].target);
		got = ask(request);
		assert_status(got, cases[i].status);
		assert_holds(got, cases[i].type);
		assert_holds(got, "\r\nX-Content-Type-Options: nosniff\r\n");
		assert_holds(got, "\r\nCache-Control: no-store\r\n");
		if (cases[i].body)
			assert_string_equal(body_of(got), cases[i].body);
	}
	assert_int_equal(http_counters(server).requests, ARRAY_SIZE(cases));
	assert_int_equal(http_counters(server).cut, 0);
}

static void test_root(void **state)
{
	const char *got = ask(GET("/"));

	(void)state;
	assert_holds(got, "\r\nContent-Security-Policy: default-src 'none'\r\n");
	assert_holds(got, "<h1>tcplat " TCPLAT_VERSION "</h1>");
	assert_holds(got, "<a href=\"/metrics\">/metrics</a>");
	assert_holds(got, "/-/healthy");
	assert_holds(got, "/-/ready");
}

static void test_methods(void **state)
{
	static const char *const methods[] = { "POST",	  "PUT",   "DELETE", "OPTIONS", "TRACE",
					       "CONNECT", "PATCH", "get",    "FOO" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		for (int body = 0; body < 2; body++) {
			char request[200];
			const char *got;

			snprintf(request, sizeof(request), "%s /metrics HTTP/1.1\r\nHost: x\r\n%s",
				 methods[i], body ? "Content-Length: 4\r\n\r\nbody" : "\r\n");
			got = ask(request);
			assert_status(got, 405);
			assert_holds(got, "\r\nAllow: GET, HEAD\r\n");
			assert_string_equal(body_of(got), "only GET and HEAD\n");
		}
	assert_int_equal(pages.opened, 0);
}

static void test_head(void **state)
{
	const char *got;

	(void)state;
	got = ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_status(got, 200);
	assert_holds(got, TEXT);
	assert_string_equal(body_of(got), "");
	assert_null(strstr(got, "Content-Length"));
	got = ask("HEAD /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n");
	assert_holds(got, OPENMETRICS);
	assert_int_equal(pages.opened, 0);
	got = ask("HEAD /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_holds(got, "\r\nContent-Length: 3\r\n");
	assert_string_equal(body_of(got), "");
	assert_status(ask("HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
}

static void test_ready(void **state)
{
	const char *got;

	(void)state;
	pages.ready = false;
	got = ask(GET("/-/ready"));
	assert_status(got, 503);
	assert_string_equal(body_of(got), "not ready\n");
	assert_status(ask(GET("/-/healthy")), 200);
	pages.ready = true;
	assert_status(ask(GET("/-/ready")), 200);
}

static void test_no_page(void **state)
{
	(void)state;
	pages.none = true;
	assert_status(ask(GET("/metrics")), 503);
}

/* Several headers are one list. */
static void test_accept(void **state)
{
	(void)state;
	assert_holds(ask("GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\n\r\n"),
		     OPENMETRICS);
	assert_true(pages.openmetrics);
	assert_holds(ask("GET /metrics HTTP/1.1\r\naccept: text/plain;q=0.9\r\n"
			 "Accept: application/openmetrics-text;q=0.8\r\n\r\n"),
		     TEXT);
	assert_false(pages.openmetrics);
	assert_holds(ask("GET /metrics HTTP/1.1\r\nAccept: text/plain;q=0.7\r\n"
			 "ACCEPT: application/openmetrics-text;q=0.8\r\n\r\n"),
		     OPENMETRICS);
	assert_true(pages.openmetrics);
}

/* Nobody reads it: what stands in it is no request. */
static void test_body(void **state)
{
	static const char *const heads[] = { "Content-Length: 44", "Transfer-Encoding: chunked",
					     "Content-Length: 44\r\nExpect: 100-continue" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		char request[300];
		const char *got;

		snprintf(request, sizeof(request), "GET /-/healthy HTTP/1.1\r\n%s\r\n\r\n%s",
			 heads[i], GET("/metrics"));
		got = ask(request);
		assert_status(got, 200);
		assert_holds(got, "\r\nConnection: close\r\n");
		assert_string_equal(body_of(got), "ok\n");
	}
	assert_int_equal(pages.opened, 0);
	assert_int_equal(http_counters(server).requests, ARRAY_SIZE(heads));
}

/* Takes the chunks out of a body; returns its bytes, which are as the page was made. */
static size_t bytes_of(const char *chunked)
{
	size_t n = 0;

	for (;;) {
		char *at;
		unsigned long len = strtoul(chunked, &at, 16);

		assert_memory_equal(at, "\r\n", 2);
		at += 2;
		for (unsigned long i = 0; i < len; i++, n++)
			if (at[i] != (char)('0' + n % 10))
				fail_msg("byte %zu is \\%o", n, at[i]);
		assert_memory_equal(at + len, "\r\n", 2);
		chunked = at + len + 2;
		if (!len)
			break;
	}
	assert_string_equal(chunked, "");
	return n;
}

/* In blocks, each read once. */
static void test_stream(void **state)
{
	static const size_t sizes[] = { 0, 1, 32768, 5000000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const char *got;

		pages.size = sizes[i];
		pages.reads = 0;
		got = ask(GET("/metrics"));
		assert_holds(got, "\r\nTransfer-Encoding: chunked\r\n");
		assert_int_equal(bytes_of(body_of(got)), sizes[i]);
		assert_in_range(pages.reads, 1, sizes[i] / 32768 + 2);
		assert_int_equal(pages.closed, i + 1);
	}
}

/* It knows no chunks; the end of the connection is the end of the answer. */
static void test_http_1_0(void **state)
{
	static const char *const heads[] = { "", "Connection: keep-alive\r\n" };

	(void)state;
	pages.size = 100000;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		char request[100];
		const char *got, *body;

		snprintf(request, sizeof(request), "GET /metrics HTTP/1.0\r\n%s\r\n", heads[i]);
		got = ask(request);
		assert_status(got, 200);
		assert_null(strstr(got, "chunked"));
		assert_null(strcasestr(got, "keep-alive"));
		body = body_of(got);
		assert_int_equal(strlen(body), pages.size);
		for (size_t n = 0; n < pages.size; n++)
			assert_int_equal(body[n], '0' + n % 10);
	}
}

/* The client sees that it is not whole: it has no last chunk. */
static void test_page_that_breaks(void **state)
{
	struct peer p = peer_open(0);

	(void)state;
	pages.size = 1000000;
	pages.broken = 200000;
	peer_send(&p, GET("/metrics"));
	peer_wait_end(&p);
	assert_true(p.len < 300000);
	if (p.len)
		assert_string_not_equal(p.got + p.len - 5, "0\r\n\r\n");
	assert_int_equal(pages.closed, 1);
	assert_int_equal(http_counters(server).connections, 0);
	peer_close(&p, false);
}

static void test_keep_alive(void **state)
{
	struct peer p = peer_open(0);

	(void)state;
	for (unsigned i = 1; i <= 5; i++) {
		peer_send(&p, GET("/-/healthy"));
		peer_wait(&p, "\r\n\r\nok\n");
		p.len = 0;
		peer_send(&p, GET("/metrics"));
		peer_wait(&p, "\r\n0\r\n\r\n");
		p.len = 0;
		assert_int_equal(http_counters(server).connections, 1);
		assert_int_equal(http_counters(server).requests, 2 * i);
		assert_int_equal(pages.closed, i);
	}
	peer_close(&p, false);
}

static void test_pipelined(void **state)
{
	const char *got = ask(GET("/-/healthy") GET("/x") GET("/metrics") GET("/-/ready"));
	static const char *const in_order[] = { "HTTP/1.1 200", "ok\n",		"HTTP/1.1 404",
						"not found\n",	"HTTP/1.1 200", "0\r\n\r\n",
						"HTTP/1.1 200", "ok\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(in_order); i++) {
		assert_holds(got, in_order[i]);
		got = strstr(got, in_order[i]) + strlen(in_order[i]);
	}
	assert_string_equal(got, "");
}

static bool is_alone(const void *arg)
{
	(void)arg;
	return !http_counters(server).connections;
}

/* In the middle of a large answer, with a reset and by simply closing. */
static void test_client_goes_away(void **state)
{
	(void)state;
	pages.size = 100 << 20;
	for (unsigned i = 0; i < 20; i++) {
		struct peer p = peer_open(0);

		peer_send(&p, GET("/metrics"));
		peer_wait(&p, "0123456789");
		assert_int_equal(pages.opened - pages.closed, 1);
		peer_close(&p, i % 2);
		wait_until(is_alone, NULL);
		assert_int_equal(pages.closed, i + 1);
	}
	assert_int_equal(http_counters(server).cut, 0);
}

/* What server_stop() checks: pages that are under way are closed as well. */
static void test_stop_in_between(void **state)
{
	struct peer p[3];

	(void)state;
	pages.size = 100 << 20;
	for (int i = 0; i < 3; i++) {
		p[i] = peer_open(0);
		peer_send(&p[i], GET("/metrics"));
		peer_wait(&p[i], "0123456789");
	}
	assert_int_equal(pages.opened - pages.closed, 3);
	for (int i = 0; i < 3; i++)
		peer_close(&p[i], false);
}

int main(void)
{
#define WITH_SERVER(f) cmocka_unit_test_setup_teardown(f, server_start, server_stop)
	const struct CMUnitTest tests[] = {
		WITH_SERVER(test_paths),
		WITH_SERVER(test_root),
		WITH_SERVER(test_methods),
		WITH_SERVER(test_head),
		WITH_SERVER(test_ready),
		WITH_SERVER(test_no_page),
		WITH_SERVER(test_accept),

		WITH_SERVER(test_body),
		WITH_SERVER(test_stream),
		WITH_SERVER(test_http_1_0),
		WITH_SERVER(test_page_that_breaks),
		WITH_SERVER(test_keep_alive),
		WITH_SERVER(test_pipelined),
		WITH_SERVER(test_client_goes_away),
		WITH_SERVER(test_stop_in_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
