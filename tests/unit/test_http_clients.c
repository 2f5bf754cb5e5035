// SPDX-License-Identifier: GPL-2.0-or-later
/* Who may stay connected, and for how long. */
#include "http_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/cleanup.h"

#define LONG_TIME (100000 * MS)
#define LARGE (100 << 20)
#define SLOW 4096 /* the receive buffer of one that does not read */

static struct http_counters counters(void)
{
	return http_counters(server);
}

static __u64 now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* All but those that are given take long. */
static void set_times(__u64 request, __u64 answer, __u64 idle)
{
	const struct http_times times = { request ? request : LONG_TIME,
					  answer ? answer : LONG_TIME, idle ? idle : LONG_TIME };

	http_set_times(server, &times);
}

static bool are_connected(const void *n)
{
	return counters().connections == *(const unsigned *)n;
}

static bool were_asked(const void *n)
{
	return counters().requests == *(const unsigned *)n;
}

static struct peer connected(int receive)
{
	unsigned n = counters().connections + 1;
	struct peer p = peer_open(receive);

	wait_until(are_connected, &n);
	return p;
}

/* One that had an answer, and stays. */
static struct peer answered(void)
{
	struct peer p = connected(0);

	peer_send(&p, GET("/-/healthy"));
	peer_wait(&p, "\r\n\r\nok\n");
	p.len = 0;
	return p;
}

/* One whose answer is under way, and that takes nothing of it. */
static struct peer slow(void)
{
	unsigned requests = (unsigned)counters().requests + 1;
	struct peer p = connected(SLOW);

	pages.size = LARGE;
	peer_send(&p, GET("/metrics"));
	wait_until(were_asked, &requests);
	return p;
}

static void test_no_wake_up(void **state)
{
	struct peer p;
	unsigned none = 0;

	(void)state;
	assert_int_equal(run_for(300 * MS), 0);
	p = answered();
	assert_int_equal(run_for(300 * MS), 0);
	peer_close(&p, false);
	wait_until(are_connected, &none);
	assert_int_equal(run_for(300 * MS), 0);
}

struct trickle {
	struct peer *peer;
	int timer;
	bool lines; /* whole ones */
	unsigned sent;
};

static void on_trickle(void *arg, __u32 events)
{
	struct trickle *t = arg;
	const char *text = t->lines && ++t->sent % 20 == 0 ? "\r\nX:" : "a";

	(void)events;
	timer_take(t->timer);
	/* it may be over already */
	if (send(t->peer->fd, text, strlen(text), 0) < 0)
		assert_true(errno == EPIPE || errno == ECONNRESET);
}

/* Sends some of a head every 5 ms until it is cut; how long that took. */
static __u64 trickle(struct peer *p, bool lines)
{
	struct trickle t = { p, timer_new(), lines, 0 };
	__u64 start = now();

	assert_int_equal(loop_add(loop, t.timer, EPOLLIN, on_trickle, &t), 0);
	peer_send(p, lines ? "GET / HTTP/1.1\r\nX:" : "GET /");
	timer_arm(t.timer, 5 * MS, 5 * MS);
	peer_wait_end(p);
	loop_remove(loop, t.timer);
	close(t.timer);
	return now() - start;
}

/* From its beginning, however much comes. */
static void test_request_that_trickles(void **state)
{
	(void)state;
	set_times(150 * MS, 0, 0);
	for (int lines = 0; lines < 2; lines++) {
		struct peer p = connected(0);

		assert_in_range(trickle(&p, lines), 130 * MS, 1000 * MS);
		assert_int_equal(counters().cut, lines + 1);
		assert_int_equal(p.len, 0);
		peer_close(&p, false);
	}
}

/* The second request of a connection as well: not from the answer, and not idle. */
static void test_next_request_that_trickles(void **state)
{
	(void)state;
	set_times(150 * MS, 0, 0);
	for (int lines = 0; lines < 2; lines++) {
		struct peer p = answered();

		run_for(200 * MS);
		assert_int_equal(counters().cut, lines);
		assert_in_range(trickle(&p, lines), 130 * MS, 1000 * MS);
		assert_int_equal(counters().cut, lines + 1);
		peer_close(&p, false);
	}
}

static void test_nothing_comes(void **state)
{
	static const char *const sent[] = { "", "G", "GET / HTTP/1.1\r\n", "\x16\x03\x01",
					    "\r\n\r\n\r\n" };
	struct peer p[ARRAY_SIZE(sent)];

	(void)state;
	set_times(150 * MS, 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
		p[i] = connected(0);
		peer_send(&p[i], sent[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
		peer_wait_end(&p[i]);
		assert_int_equal(p[i].len, 0);
		peer_close(&p[i], false);
	}
	assert_int_equal(counters().cut, ARRAY_SIZE(sent));
	assert_int_equal(counters().connections, 0);
}

static void test_idle(void **state)
{
	struct peer p;
	__u64 start;

	(void)state;
	set_times(0, 0, 150 * MS);
	p = answered();
	start = now();
	peer_wait_end(&p);
	assert_in_range(now() - start, 130 * MS, 1000 * MS);
	assert_int_equal(p.len, 0);
	assert_int_equal(counters().cut, 1);
	peer_close(&p, false);
}

/* It does not find the end of the connection, which could be taken for the answer's. */
static void test_slow_reader(void **state)
{
	static const char *const versions[] = { "1.0", "1.1" };

	(void)state;
	set_times(0, 150 * MS, 0);
	pages.size = LARGE;
	for (unsigned i = 0; i < ARRAY_SIZE(versions); i++) {
		struct peer p = connected(SLOW);
		unsigned none = 0;
		char request[64];

		snprintf(request, sizeof(request), "GET /metrics HTTP/%s\r\n\r\n", versions[i]);
		peer_send(&p, request);
		wait_until(are_connected, &none);
		assert_int_equal(counters().cut, i + 1);
		assert_int_equal(pages.closed, i + 1);
		peer_wait_end(&p);
		assert_int_equal(p.error, ECONNRESET);
		assert_true(p.len < LARGE);
		peer_close(&p, false);
	}
}

/* A steady reader has its time for the whole, and not more. */
static void test_answer_in_time(void **state)
{
	struct peer p;

	(void)state;
	set_times(0, 5000 * MS, 0);
	pages.size = 20 << 20;
	p = connected(0);
	peer_send(&p, GET("/metrics"));
	peer_wait(&p, "\r\n0\r\n\r\n");
	assert_int_equal(counters().cut, 0);
	peer_close(&p, false);
}

#define EXTRA 10

/* However many come, the newest is served; who had no answer for longest goes. */
static void test_oldest_goes(void **state)
{
	struct peer p[HTTP_CLIENTS + EXTRA];

	(void)state;
	p[0] = answered();
	for (int i = 1; i < HTTP_CLIENTS; i++)
		p[i] = connected(0);
	/* the oldest connection is not the oldest any more */
	peer_send(&p[0], GET("/-/healthy"));
	peer_wait(&p[0], "\r\n\r\nok\n");
	for (int i = 0; i < EXTRA; i++) {
		struct peer *newest = &p[HTTP_CLIENTS + i];

		assert_int_equal(counters().connections, HTTP_CLIENTS);
		*newest = peer_open(0);
		peer_send(newest, GET("/-/healthy"));
		peer_wait(newest, "\r\n\r\nok\n");
		assert_int_equal(counters().cut, i + 1);
		peer_wait_end(&p[1 + i]);
	}
	p[0].len = 0;
	peer_send(&p[0], GET("/-/healthy"));
	peer_wait(&p[0], "\r\n\r\nok\n");
	assert_int_equal(counters().cut, EXTRA);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		peer_close(&p[i], false);
}

static void test_answers_under_way_stay(void **state)
{
	struct peer p[HTTP_CLIENTS], newest;

	(void)state;
	p[0] = slow();
	for (int i = 1; i < HTTP_CLIENTS; i++)
		p[i] = connected(0);
	newest = peer_open(0);
	peer_send(&newest, GET("/-/healthy"));
	peer_wait(&newest, "\r\n\r\nok\n");
	assert_int_equal(pages.closed, 0);
	peer_wait_end(&p[1]);
	assert_int_equal(counters().cut, 1);
	for (int i = 0; i < HTTP_CLIENTS; i++)
		peer_close(&p[i], false);
	peer_close(&newest, false);
}

/* Even then a scrape is not kept out: what has stood still for a second goes. */
static void test_answers_that_stand_still(void **state)
{
	struct peer p[HTTP_CLIENTS], refused, newest;

	(void)state;
	for (int i = 0; i < HTTP_CLIENTS; i++)
		p[i] = slow();
	refused = peer_open(0);
	peer_wait_end(&refused);
	assert_int_equal(counters().cut, 1);
	assert_int_equal(pages.closed, 0);
	run_for(1100 * MS);
	newest = peer_open(0);
	peer_send(&newest, GET("/-/healthy"));
	peer_wait(&newest, "\r\n\r\nok\n");
	assert_int_equal(counters().cut, 2);
	assert_int_equal(pages.closed, 1);
	peer_wait_end(&p[0]);
	assert_int_equal(p[0].error, ECONNRESET);
	for (int i = 0; i < HTTP_CLIENTS; i++)
		peer_close(&p[i], false);
	peer_close(&newest, false);
	peer_close(&refused, false);
}

/* No descriptor can be opened from now on. */
static struct rlimit limit_descriptors(void)
{
	int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct rlimit old, none;

	assert_true(next >= 0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return old;
}

static void test_out_of_descriptors(void **state)
{
	struct peer first = answered(), second = answered(), newest = peer_open(0);
	struct rlimit old = limit_descriptors();

	(void)state;
	peer_send(&newest, GET("/-/healthy"));
	peer_wait(&newest, "\r\n\r\nok\n");
	setrlimit(RLIMIT_NOFILE, &old);
	peer_wait_end(&first);
	assert_int_equal(counters().cut, 1);
	peer_send(&second, GET("/-/healthy"));
	peer_wait(&second, "\r\n\r\nok\n");
	peer_close(&first, false);
	peer_close(&second, false);
	peer_close(&newest, false);
}

/* And with nobody who could go: four times a second it is tried again. */
static void test_out_of_descriptors_alone(void **state)
{
	struct peer p = peer_open(0);
	struct rlimit old = limit_descriptors();
	unsigned wakeups = run_for(1000 * MS);

	(void)state;
	setrlimit(RLIMIT_NOFILE, &old);
	assert_in_range(wakeups, 2, 12);
	peer_send(&p, GET("/-/healthy"));
	peer_wait(&p, "\r\n\r\nok\n");
	assert_int_equal(counters().cut, 0);
	peer_close(&p, false);
}

/* The port, [::] with IPv4 in it, and what cannot be bound. */
static void test_listen(void **state)
{
	struct listen_address every, v6, v4;
	char text[LISTEN_TEXT], taken[LISTEN_TEXT + 8];
	const struct sockaddr_storage *addr;

	(void)state;
	assert_int_equal(parse_listen(":0", &every), 0);
	assert_int_equal(http_listen(server, &every), 0);
	addr = http_address(server, 1);
	assert_non_null(addr);
	listen_text(text, addr);
	assert_memory_equal(text, "[::]:", 5);
	assert_string_not_equal(text, "[::]:0");
	assert_null(http_address(server, 2));
	snprintf(taken, sizeof(taken), "0.0.0.0%s", text + 4);
	assert_int_equal(parse_listen(taken, &v4), 0);
	assert_int_equal(http_listen(server, &v4), -EADDRINUSE);
	/* in brackets it leaves IPv4 to others */
	assert_int_equal(parse_listen("[::]:0", &v6), 0);
	assert_int_equal(http_listen(server, &v6), 0);
	listen_text(text, http_address(server, 2));
	snprintf(taken, sizeof(taken), "0.0.0.0%s", text + 4);
	assert_int_equal(parse_listen(taken, &v4), 0);
	assert_int_equal(http_listen(server, &v4), 0);
	assert_int_equal(parse_listen("192.0.2.1:0", &v4), 0);
	assert_int_equal(http_listen(server, &v4), -EADDRNOTAVAIL);
	for (unsigned i = 4; i < HTTP_LISTENERS; i++)
		assert_int_equal(http_listen(server, &every), 0);
	assert_int_equal(http_listen(server, &every), -ENOSPC);
}

int main(void)
{
#define WITH_SERVER(f) cmocka_unit_test_setup_teardown(f, server_start, server_stop)
	const struct CMUnitTest tests[] = {
		WITH_SERVER(test_no_wake_up),
		WITH_SERVER(test_request_that_trickles),
		WITH_SERVER(test_next_request_that_trickles),
		WITH_SERVER(test_nothing_comes),
		WITH_SERVER(test_idle),
		WITH_SERVER(test_slow_reader),
		WITH_SERVER(test_answer_in_time),
		WITH_SERVER(test_oldest_goes),
		WITH_SERVER(test_answers_under_way_stay),
		WITH_SERVER(test_answers_that_stand_still),
		WITH_SERVER(test_out_of_descriptors),
		WITH_SERVER(test_out_of_descriptors_alone),
		WITH_SERVER(test_listen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
