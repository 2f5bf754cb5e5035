// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "record/text.h"

static struct {
	const char *name;
	bool verbose;
} logger = { .name = "tcplat" };

void log_init(const char *name, bool verbose)
{
	logger.name = name;
	logger.verbose = verbose;
}

const char *log_name(void)
{
	return logger.name;
}

bool log_verbose(void)
{
	return logger.verbose;
}

/* One write for the whole line, so that it stays whole beside other output. */
__attribute__((format(printf, 2, 0))) static void say(const char *prefix, const char *fmt,
						      va_list ap)
{
	char raw[1024], safe[4 * sizeof(raw)];
	int n;

	n = vsnprintf(raw, sizeof(raw), fmt, ap);
	if (n < 0)
		return;
	text_escape(safe, sizeof(safe), raw, strlen(raw));
	fprintf(stderr, "%s: %s%s\n", logger.name, prefix, safe);
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
}

void log_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("warning: ", fmt, ap);
	va_end(ap);
}

void log_info(const char *fmt, ...)
{
	va_list ap;

	if (!logger.verbose)
		return;
	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
}
