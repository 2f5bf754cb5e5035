// SPDX-License-Identifier: GPL-2.0-or-later
#include "intervals.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"

void pty_open(struct pty *p, unsigned short width, unsigned short height)
{
	struct termios raw;
	int slave;

	memset(p, 0, sizeof(*p));
	p->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p->master < 0)
		skip();
	assert_int_equal(grantpt(p->master), 0);
	assert_int_equal(unlockpt(p->master), 0);
	slave = open(ptsname(p->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	/* What is written is to come as it is. */
	assert_int_equal(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	pty_resize(p, width, height);
	p->out.f = fdopen(slave, "w");
	assert_non_null(p->out.f);
}

void pty_resize(struct pty *p, unsigned short width, unsigned short height)
{
	const struct winsize size = { .ws_col = width, .ws_row = height };

	assert_int_equal(ioctl(p->master, TIOCSWINSZ, &size), 0);
}

const char *pty_text(struct pty *p)
{
	size_t n = 0;

	/* A terminal hands on what it got when it likes to: a NUL tells the end. */
	out_write(&p->out, "", 1);
	assert_int_equal(out_flush(&p->out), 0);
	do {
		ssize_t got = read(p->master, p->text + n, sizeof(p->text) - n);

		assert_true(got > 0);
		n += (size_t)got;
	} while (p->text[n - 1] && n < sizeof(p->text));
	assert_int_equal(p->text[n - 1], 0);
	return p->text;
}

void pty_close(struct pty *p)
{
	assert_int_equal(out_close(&p->out), 0);
	assert_int_equal(close(p->master), 0);
}

void plain_environment(void)
{
	static const char *const unset[] = { "NO_COLOR", "COLUMNS", "LC_CTYPE", "LANG" };

	for (size_t i = 0; i < ARRAY_SIZE(unset); i++)
		unsetenv(unset[i]);
	setenv("TERM", "xterm-256color", 1);
	setenv("LC_ALL", "C", 1);
	setenv("TZ", "UTC", 1);
	tzset();
}

struct histogram empty_histogram(enum tcplat_kind kind)
{
	return (struct histogram){ .key.kind = (__u8)kind,
				   .step_ns = TCPLAT_HIST_STEP_US,
				   .interval_ns = S,
				   .cgroup = "" };
}

void deliver(struct sink *s, __u64 unix_ns, const struct histogram *h, unsigned n)
{
	s->ops->interval(s, unix_ns, n);
	for (unsigned i = 0; i < n; i++)
		s->ops->histogram(s, &h[i]);
	s->ops->interval_end(s);
}

void finish(struct sink *s)
{
	static const struct summary nothing;

	stderr_begin();
	s->ops->summary(s, &nothing);
	assert_string_equal(stderr_end(), "");
}
