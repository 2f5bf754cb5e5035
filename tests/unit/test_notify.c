// SPDX-License-Identifier: GPL-2.0-or-later
/* What a service manager is told, by its own sockets. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "serve/notify.h"

static struct manager {
	struct sockaddr_un at;
	socklen_t len;
	int fd;
} manager;

static void listen_at(const char *path, size_t len)
{
	manager.at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(manager.at.sun_path, path, len);
	manager.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	manager.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(manager.fd >= 0);
	assert_int_equal(bind(manager.fd, (struct sockaddr *)&manager.at, manager.len), 0);
}

static void assert_told(const char *text)
{
	char got[256] = "";

	assert_int_equal(recv(manager.fd, got, sizeof(got) - 1, 0), (int)strlen(text));
	assert_string_equal(got, text);
}

static void assert_told_nothing(void)
{
	char byte;

	assert_int_equal(recv(manager.fd, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static int forget(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return 0;
}

static void tell(void)
{
	struct notify n;

	assert_int_equal(notify_open(&n), 0);
	assert_true(n.fd >= 0);
	assert_int_equal(n.watchdog_ns, 0);
	assert_told_nothing();
	assert_int_equal(notify_send(&n, "READY=1\nSTATUS=serving"), 0);
	assert_told("READY=1\nSTATUS=serving");
	assert_int_equal(notify_send(&n, "WATCHDOG=1"), 0);
	assert_told("WATCHDOG=1");
	assert_told_nothing();
	notify_close(&n);
	assert_int_equal(n.fd, -1);
	notify_close(&n);
}

static void test_path(void **state)
{
	char dir[] = "/tmp/tcplat-unit-XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/notify", dir);
	listen_at(path, strlen(path) + 1);
	setenv("NOTIFY_SOCKET", path, 1);
	tell();
	close(manager.fd);
	unlink(path);
	rmdir(dir);
}

static void test_abstract(void **state)
{
	char name[64];
	int len;

	(void)state;
	len = snprintf(name, sizeof(name), "@tcplat-unit-%d", (int)getpid());
	setenv("NOTIFY_SOCKET", name, 1);
	name[0] = 0;
	listen_at(name, (size_t)len);
	tell();
	close(manager.fd);
}

/* The longest name that there can be, and one more. */
static void test_long_names(void **state)
{
	char name[sizeof(manager.at.sun_path) + 1];
	struct notify n;
	int len;

	(void)state;
	len = snprintf(name, sizeof(name), "@tcplat-unit-%d-", (int)getpid());
	memset(name + len, 'x', sizeof(name) - (size_t)len);
	name[sizeof(name) - 2] = 0;
	setenv("NOTIFY_SOCKET", name, 1);
	name[0] = 0;
	listen_at(name, sizeof(name) - 2);
	tell();
	close(manager.fd);
	name[0] = '@';
	name[sizeof(name) - 2] = 'x';
	name[sizeof(name) - 1] = 0;
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(notify_open(&n), -ENAMETOOLONG);
	assert_int_equal(n.fd, -1);
}

static void test_nobody(void **state)
{
	struct notify n;

	(void)state;
	assert_int_equal(notify_open(&n), 0);
	assert_int_equal(n.fd, -1);
	assert_int_equal(notify_send(&n, "READY=1"), 0);
	notify_close(&n);
	setenv("NOTIFY_SOCKET", "", 1);
	setenv("WATCHDOG_USEC", "1000", 1);
	assert_int_equal(notify_open(&n), 0);
	assert_int_equal(n.fd, -1);
	assert_int_equal(n.watchdog_ns, 0);
}

static void test_wrong_addresses(void **state)
{
	const struct {
		const char *address;
		int err;
	} wrong[] = {
		{ "relative", -EINVAL }, { "vsock:2:1234", -EINVAL },	 { "@", -EINVAL },
		{ "/", -EINVAL },	 { "/no/such/socket", -ENOENT },
	};
	struct notify n;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		setenv("NOTIFY_SOCKET", wrong[i].address, 1);
		assert_int_equal(notify_open(&n), wrong[i].err);
		assert_int_equal(n.fd, -1);
	}
}

static __u64 watchdog(const char *usec, const char *pid)
{
	struct notify n;

	setenv("WATCHDOG_USEC", usec, 1);
	if (pid)
		setenv("WATCHDOG_PID", pid, 1);
	else
		unsetenv("WATCHDOG_PID");
	assert_int_equal(notify_open(&n), 0);
	notify_close(&n);
	return n.watchdog_ns;
}

static void test_watchdog(void **state)
{
	char name[64], self[16];
	int len;

	(void)state;
	snprintf(self, sizeof(self), "%d", (int)getpid());
	len = snprintf(name, sizeof(name), "@tcplat-unit-%s", self);
	setenv("NOTIFY_SOCKET", name, 1);
	name[0] = 0;
	listen_at(name, (size_t)len);
	assert_int_equal(watchdog("30000000", NULL), 15000000000);
	assert_int_equal(watchdog("30000000", self), 15000000000);
	/* It is another process that is watched. */
	assert_int_equal(watchdog("30000000", "1"), 0);
	assert_int_equal(watchdog("30000000", "x"), 0);
	assert_int_equal(watchdog("0", self), 0);
	assert_int_equal(watchdog("-5", self), 0);
	assert_int_equal(watchdog("18446744073709551615", self), 0);
	close(manager.fd);
}

/* A manager that reads nothing is waited for, but not for ever; one that is gone is an error. */
static void test_deaf_manager(void **state)
{
	struct notify n;
	char name[64];
	int len, err = 0;

	(void)state;
	len = snprintf(name, sizeof(name), "@tcplat-unit-%d", (int)getpid());
	setenv("NOTIFY_SOCKET", name, 1);
	name[0] = 0;
	listen_at(name, (size_t)len);
	assert_int_equal(notify_open(&n), 0);
	for (int i = 0; i < 100000 && !err; i++)
		err = notify_send(&n, "WATCHDOG=1");
	assert_int_equal(err, -EAGAIN);
	assert_told("WATCHDOG=1");
	assert_int_equal(notify_send(&n, "READY=1"), 0);
	close(manager.fd);
	assert_int_equal(notify_send(&n, "READY=1"), -ECONNREFUSED);
	notify_close(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_path, forget),
		cmocka_unit_test_teardown(test_abstract, forget),
		cmocka_unit_test_teardown(test_long_names, forget),
		cmocka_unit_test_teardown(test_nobody, forget),
		cmocka_unit_test_teardown(test_wrong_addresses, forget),
		cmocka_unit_test_teardown(test_watchdog, forget),
		cmocka_unit_test_teardown(test_deaf_manager, forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
