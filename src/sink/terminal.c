// SPDX-License-Identifier: GPL-2.0-or-later
#include "sink/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/parse.h"
#include "core/cleanup.h"

#define LEAST_WIDTH 20
#define MOST_WIDTH 1000

#define ESC "\x1b["

/* The first of these that is set and not empty decides, POSIX.1-2017 section 8.2. */
static bool utf8_locale(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *value = getenv(names[i]);

		if (value && *value)
			return strcasestr(value, "UTF-8") || strcasestr(value, "utf8");
	}
	return false;
}

/* A stream in memory has no descriptor, which isatty(3) takes for no terminal. */
static bool can_draw(const struct out *out)
{
	const char *term = getenv("TERM");

	return term && *term && strcmp(term, "dumb") != 0 && isatty(fileno(out->f));
}

void terminal_look(struct terminal *t, const struct out *out)
{
	const char *columns = getenv("COLUMNS"), *no_color = getenv("NO_COLOR");
	struct winsize size = {};
	__u64 width;

	memset(t, 0, sizeof(*t));
	t->utf8 = utf8_locale();
	t->live = can_draw(out);
	/* no-color.org: present and not empty */
	t->colour = t->live && !(no_color && *no_color);
	/* Both are 0 where nobody has told the terminal, as on a serial line. */
	if (t->live && ioctl(fileno(out->f), TIOCGWINSZ, &size))
		memset(&size, 0, sizeof(size));
	if (size.ws_col)
		width = size.ws_col;
	else if (!columns || parse_u64(columns, 1, ~0ULL, &width))
		width = 80;
	t->width = width < LEAST_WIDTH ? LEAST_WIDTH :
		   width > MOST_WIDTH  ? MOST_WIDTH :
					 (unsigned)width;
	t->height = size.ws_row ? size.ws_row : 24;
}

void terminal_draw(struct out *out, unsigned lines)
{
	if (lines)
		out_printf(out, ESC "%uA\r" ESC "J", lines);
	out_printf(out, ESC "?7l");
}

void terminal_drawn(struct out *out)
{
	out_printf(out, ESC "?7h");
}
