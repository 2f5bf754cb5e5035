// SPDX-License-Identifier: GPL-2.0-or-later
/* What a terminal, a file and the environment make of what we may show. */
#include "intervals.h"

#include <stdlib.h>

#include "core/cleanup.h"
#include "sink/terminal.h"

static struct mem m;
static struct pty pty;
static struct terminal t;

static int set_up(void **state)
{
	(void)state;
	plain_environment();
	mem_open(&m);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mem_close(&m);
	return 0;
}

static void test_no_terminal(void **state)
{
	(void)state;
	terminal_look(&t, &m.out);
	assert_false(t.live);
	assert_false(t.colour);
	assert_false(t.utf8);
	assert_int_equal(t.width, 80);
	assert_int_equal(t.height, 24);
}

/* A file has a descriptor, but is no terminal either. */
static void test_file(void **state)
{
	struct out o;

	(void)state;
	assert_int_equal(out_open(&o, "/dev/null"), 0);
	terminal_look(&t, &o);
	assert_false(t.live);
	assert_int_equal(t.width, 80);
	assert_int_equal(out_close(&o), 0);
}

static void test_columns(void **state)
{
	static const struct {
		const char *columns;
		unsigned width;
	} cases[] = {
		{ "132", 132 },
		{ "20", 20 },
		{ "19", 20 },
		{ "1", 20 },
		{ "1000", 1000 },
		{ "1001", 1000 },
		{ "5000000000", 1000 },
		{ "0", 80 },
		{ "", 80 },
		{ "-5", 80 },
		{ "wide", 80 },
		{ "99999999999999999999", 80 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		setenv("COLUMNS", cases[i].columns, 1);
		terminal_look(&t, &m.out);
		if (t.width != cases[i].width)
			fail_msg("COLUMNS=%s: %u", cases[i].columns, t.width);
	}
}

/* The first that is set and not empty decides. */
static void test_utf8(void **state)
{
	static const struct {
		const char *all, *ctype, *lang;
		bool utf8;
	} cases[] = {
		{ "C.UTF-8", NULL, NULL, true },
		{ "C.utf8", NULL, NULL, true },
		{ "de_DE.UTF-8@euro", NULL, NULL, true },
		{ "C", "C.UTF-8", "C.UTF-8", false },
		{ "", "C.UTF-8", "C", true },
		{ NULL, "POSIX", "C.UTF-8", false },
		{ NULL, "", "en_US.utf8", true },
		{ NULL, NULL, "en_US.UTF-8", true },
		{ NULL, NULL, "en_US.ISO-8859-1", false },
		{ NULL, NULL, "", false },
		{ NULL, NULL, NULL, false },
	};
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const values[] = { cases[i].all, cases[i].ctype, cases[i].lang };

		for (size_t j = 0; j < ARRAY_SIZE(names); j++)
			if (values[j])
				setenv(names[j], values[j], 1);
			else
				unsetenv(names[j]);
		terminal_look(&t, &m.out);
		if (t.utf8 != cases[i].utf8)
			fail_msg("case %zu", i);
	}
}

/* The terminal knows its size better than the environment, and may change it. */
static void test_size(void **state)
{
	(void)state;
	pty_open(&pty, 100, 30);
	setenv("COLUMNS", "50", 1);
	terminal_look(&t, &pty.out);
	assert_true(t.live);
	assert_int_equal(t.width, 100);
	assert_int_equal(t.height, 30);
	pty_resize(&pty, 7, 3);
	terminal_look(&t, &pty.out);
	assert_int_equal(t.width, 20);
	assert_int_equal(t.height, 3);
	pty_resize(&pty, 2000, 500);
	terminal_look(&t, &pty.out);
	assert_int_equal(t.width, 1000);
	assert_int_equal(t.height, 500);
	/* One that does not know: a serial line. */
	pty_resize(&pty, 0, 0);
	terminal_look(&t, &pty.out);
	assert_true(t.live);
	assert_int_equal(t.width, 50);
	assert_int_equal(t.height, 24);
	pty_close(&pty);
}

static void test_colour(void **state)
{
	static const struct {
		const char *term, *no_color;
		bool live, colour;
	} cases[] = {
		{ "xterm", NULL, true, true },	{ "xterm", "", true, true },
		{ "xterm", "1", true, false },	{ "xterm", "0", true, false },
		{ "dumb", NULL, false, false }, { "", NULL, false, false },
		{ NULL, NULL, false, false },
	};

	(void)state;
	pty_open(&pty, 100, 30);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsetenv("TERM");
		unsetenv("NO_COLOR");
		if (cases[i].term)
			setenv("TERM", cases[i].term, 1);
		if (cases[i].no_color)
			setenv("NO_COLOR", cases[i].no_color, 1);
		terminal_look(&t, &pty.out);
		if (t.live != cases[i].live || t.colour != cases[i].colour)
			fail_msg("case %zu", i);
		/* What cannot be drawn over is treated as a file. */
		assert_int_equal(t.width, cases[i].live ? 100 : 80);
		assert_int_equal(t.height, cases[i].live ? 30 : 24);
	}
	pty_close(&pty);
}

static void test_drawing(void **state)
{
	(void)state;
	pty_open(&pty, 80, 24);
	terminal_draw(&pty.out, 0);
	out_printf(&pty.out, "a\nb\n");
	terminal_drawn(&pty.out);
	assert_string_equal(pty_text(&pty), "\x1b[?7la\nb\n\x1b[?7h");
	terminal_draw(&pty.out, 2);
	terminal_drawn(&pty.out);
	assert_string_equal(pty_text(&pty), "\x1b[2A\r\x1b[J\x1b[?7l\x1b[?7h");
	pty_close(&pty);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_no_terminal), CASE(test_file),   CASE(test_columns), CASE(test_utf8),
		CASE(test_size),	CASE(test_colour), CASE(test_drawing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
