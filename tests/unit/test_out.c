// SPDX-License-Identifier: GPL-2.0-or-later
/* Where output goes, and what happens when it cannot. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sink/out.h"
#include "sink/sink.h"

static void test_file(void **state)
{
	char path[] = "/tmp/tcplat-unit-XXXXXX", text[64] = "";
	int fd = mkstemp(path);
	struct out o;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "what was there before", 21), 21);
	assert_int_equal(out_open(&o, path), 0);
	assert_string_equal(out_name(&o), path);
	out_printf(&o, "%s %d", "row", 1);
	out_write(&o, "\n", 1);
	/* Nothing leaves the buffer row by row … */
	assert_int_equal(pread(fd, text, sizeof(text), 0), 0);
	/* … and all of it with a flush. */
	assert_int_equal(out_flush(&o), 0);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 6);
	assert_string_equal(text, "row 1\n");
	assert_int_equal(out_close(&o), 0);
	/* The command that we run is not to inherit it. */
	assert_int_equal(out_open(&o, path), 0);
	assert_true(fcntl(fileno(o.f), F_GETFD) & FD_CLOEXEC);
	assert_int_equal(out_close(&o), 0);
	unlink(path);
	close(fd);
}

static void test_standard_output(void **state)
{
	struct out o;

	(void)state;
	assert_int_equal(out_open(&o, NULL), 0);
	assert_ptr_equal(o.f, stdout);
	assert_string_equal(out_name(&o), "standard output");
}

static void test_unwritable(void **state)
{
	struct out o;

	(void)state;
	assert_int_equal(out_open(&o, "/no/such/directory/file"), -ENOENT);
	assert_int_equal(out_close(&o), 0);
	assert_int_equal(out_open(&o, "/"), -EISDIR);
	assert_int_equal(out_close(&o), 0);
}

/* The first error stays, whatever comes after it. */
static void test_full_disk(void **state)
{
	struct record r = sample_v4();
	struct sink *sink;
	struct out o;

	(void)state;
	assert_int_equal(out_open(&o, "/dev/full"), 0);
	sink = sink_json_new(&o);
	sink->ops->record(sink, &r);
	assert_int_equal(out_flush(&o), -ENOSPC);
	errno = 0;
	sink->ops->record(sink, &r);
	out_printf(&o, "more\n");
	out_write(&o, "more\n", 5);
	assert_int_equal(out_flush(&o), -ENOSPC);
	assert_int_equal(o.err, -ENOSPC);
	assert_int_equal(out_close(&o), -ENOSPC);
	sink_free(sink);
	/* More than the buffer holds: the write itself fails. */
	assert_int_equal(out_open(&o, "/dev/full"), 0);
	for (int i = 0; i < 100000 && !o.err; i++)
		out_printf(&o, "%d\n", i);
	assert_int_equal(o.err, -ENOSPC);
	assert_int_equal(out_close(&o), -ENOSPC);
	/* Never flushed: closing finds out. */
	assert_int_equal(out_open(&o, "/dev/full"), 0);
	out_write(&o, "row\n", 4);
	assert_int_equal(out_close(&o), -ENOSPC);
}

static void test_nobody_reads(void **state)
{
	struct out o = {};
	int fds[2];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	o.f = fdopen(fds[1], "w");
	assert_non_null(o.f);
	out_printf(&o, "row\n");
	assert_int_equal(out_flush(&o), -EPIPE);
	out_printf(&o, "row\n");
	assert_int_equal(out_close(&o), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),	     cmocka_unit_test(test_standard_output),
		cmocka_unit_test(test_unwritable),   cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_nobody_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
