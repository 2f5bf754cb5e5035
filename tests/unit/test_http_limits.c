// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests that are too large, and what is none. */
#include "http_peer.h"

#include <stdio.h>

#include "core/cleanup.h"

/* Without the NUL. */
static void overwrite(char *dst, const char *text)
{
	while (*text)
		*dst++ = *text++;
}

/* With it. */
static void put(char *dst, const char *text)
{
	overwrite(dst, text);
	dst[strlen(text)] = 0;
}

/* A request whose head, or target, has exactly so many bytes. */
static const char *ask_of(size_t head, size_t target)
{
	static char request[HTTP_HEAD + 2];
	size_t n = (size_t)sprintf(request, "GET /");

	memset(request + n, 'a', target - 1);
	n += target - 1;
	n += (size_t)sprintf(request + n, " HTTP/1.1\r\nX: ");
	if (head) {
		memset(request + n, 'b', head - 4 - n);
		n = head - 4;
	}
	put(request + n, "\r\n\r\n");
	return ask(request);
}

static void test_limits(void **state)
{
	(void)state;
	assert_status(ask_of(HTTP_HEAD, 10), 404);
	assert_status(ask_of(HTTP_HEAD + 1, 10), 431);
	assert_status(ask_of(0, HTTP_TARGET), 404);
	assert_status(ask_of(0, HTTP_TARGET + 1), 414);
	assert_status(ask_of(HTTP_HEAD, HTTP_TARGET), 404);
}

/* So many of a field, and then the end of the head. */
static const char *ask_with(const char *start, const char *field, unsigned n, const char *end)
{
	static char request[8 * HTTP_HEAD];
	size_t len = (size_t)sprintf(request, "%s", start);

	while (n--)
		len += (size_t)sprintf(request + len, "%s", field);
	assert_true(len + strlen(end) < sizeof(request));
	put(request + len, end);
	return ask(request);
}

static void test_fields(void **state)
{
	static const struct {
		const char *start, *field, *end;
		unsigned others;
	} cases[] = {
		{ "GET /metrics HTTP/1.1\r\n", "X:y\r\n", "\r\n", 0 },
		{ "GET /metrics HTTP/1.1\r\nCookie: ", "a;", "a\r\n\r\n", 2 },
		{ "GET /metrics?", "a&", " HTTP/1.1\r\n\r\n", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned n = HTTP_FIELDS - cases[i].others;

		assert_status(ask_with(cases[i].start, cases[i].field, n, cases[i].end), 200);
		assert_status(ask_with(cases[i].start, cases[i].field, n + 1, cases[i].end), 431);
	}
}

/* With as much in the connection's memory as can be, a block still has its room. */
static void test_least_block(void **state)
{
	static char cookie[HTTP_HEAD];
	static const char start[] = "GET /metrics HTTP/1.1\r\nConnection: close\r\nCookie: ";
	unsigned fields = HTTP_FIELDS - 10;
	size_t len = HTTP_HEAD - strlen(start) - 5 * fields - 4;
	const char *got;

	(void)state;
	put(cookie, start);
	memset(cookie + strlen(start), 'c', len);
	put(cookie + strlen(start) + len, "\r\n");
	pages.size = 100000;
	/* other requests behind it, which have come too */
	for (int requests = 0; requests < 2; requests++) {
		static char end[40000];

		put(end, "\r\n");
		for (size_t n = 2; requests && n < 30000; n += strlen(GET("/")))
			put(end + n, GET("/"));
		got = ask_with(cookie, "X:y\r\n", fields, end);
		assert_status(got, 200);
		assert_non_null(strstr(got, "\r\n0\r\n\r\n"));
	}
	assert_in_range(pages.least, HTTP_BLOCK, 60000);
}

/* What does not even fit into the memory of a connection. */
static void test_far_over_limits(void **state)
{
	static char request[100001];

	(void)state;
	memset(request, 'a', sizeof(request) - 1);
	overwrite(request, "GET /");
	assert_status(ask(request), 414);
	overwrite(request, "GET / HTTP/1.1\r\nX: ");
	assert_status(ask(request), 431);
	for (size_t i = 16; i + 5 < sizeof(request); i += 5)
		overwrite(request + i, "X:y\r\n");
	assert_status(ask(request), 431);
	assert_int_equal(http_counters(server).connections, 0);
}

static void test_malformed(void **state)
{
	static const struct {
		const char *request;
		unsigned status; /* 0: just ended */
	} cases[] = {
		{ "\r\n", 0 },
		{ "garbage\r\n\r\n", 0 },
		{ "\x16\x03\x01 TLS", 0 },
		{ "GET", 0 },
		{ "GET / HTTP/1.1\r\nHost: x\r\n", 0 },
		{ "GET /\r\n\r\n", 400 },
		{ "GET / HTTP/1.1 \r\n\r\n", 400 },
		{ "GET / HTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nno colon\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n folded\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413 },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *got = ask(cases[i].request);

		if (!cases[i].status) {
			assert_string_equal(got, "");
			continue;
		}
		assert_status(got, cases[i].status);
		assert_holds(got, "\r\nConnection: close\r\n");
	}
	assert_int_equal(http_counters(server).connections, 0);
	assert_int_equal(pages.opened, 0);
}

int main(void)
{
#define WITH_SERVER(f) cmocka_unit_test_setup_teardown(f, server_start, server_stop)
	const struct CMUnitTest tests[] = {
		WITH_SERVER(test_limits),      WITH_SERVER(test_fields),
		WITH_SERVER(test_least_block), WITH_SERVER(test_far_over_limits),
		WITH_SERVER(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
