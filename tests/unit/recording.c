// SPDX-License-Identifier: GPL-2.0-or-later
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"

struct replay_run run;

int recording_make(void **state)
{
	_cleanup_close_ int fd = -1;

	(void)state;
	strcpy(run.path, "/tmp/tcplat-unit-XXXXXX");
	fd = mkostemp(run.path, O_CLOEXEC);
	return fd < 0 ? -1 : 0;
}

int recording_remove(void **state)
{
	(void)state;
	return unlink(run.path);
}

int recording_fresh(void **state)
{
	(void)state;
	query_init(&run.query, TCPLAT_KIND_CONNECT, "connect latency");
	return 0;
}

int recording_fresh_pickup(void **state)
{
	(void)state;
	query_init(&run.query, TCPLAT_KIND_PICKUP, "pickup latency");
	return 0;
}

int recording_fresh_rtt(void **state)
{
	(void)state;
	query_init(&run.query, TCPLAT_KIND_RTT, "round-trip time");
	return 0;
}

/* As the session does it. */
static int replay_file(void)
{
	struct source *s = NULL;
	int n;

	collect_init(&run.got);
	assert_int_equal(query_finish(&run.query), 0);
	assert_int_equal(source_replay_new(&s, run.path, &run.query.config, run.query.kind), 0);
	assert_int_equal(s->ops->fd(s), -1);
	assert_int_equal(s->ops->start(s), 0);
	do
		n = s->ops->drain(s, &run.got.consumer);
	while (n > 0);
	s->ops->stop(s);
	/* Once more, for sources that still hold something: this one does not. */
	assert_int_equal(s->ops->drain(s, &run.got.consumer), 0);
	assert_int_equal(s->ops->histograms(s, &run.got.consumer), 0);
	run.summary_err = s->ops->summary(s, &run.sum);
	source_free(s);
	return n;
}

int replay_bytes(const void *bytes, size_t len)
{
	_cleanup_close_ int fd = open(run.path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	int n;

	assert_int_equal(write(fd, bytes, len), len);
	stderr_begin();
	n = replay_file();
	run.said = stderr_end();
	return n;
}

int replay(const char *text)
{
	return replay_bytes(text, strlen(text));
}

void assert_error(unsigned line, const char *why)
{
	char text[200];
	size_t len;

	len = (size_t)snprintf(text, sizeof(text), "tcplat: %s:%u: %s%s", run.path, line,
			       why ? why : "", why ? "\n" : "");
	assert_one_line(run.said);
	if (why)
		assert_string_equal(run.said, text);
	else
		assert_true(!strncmp(run.said, text, len) && strlen(run.said) > len + 5);
}
