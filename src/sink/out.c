// SPDX-License-Identifier: GPL-2.0-or-later
#include "sink/out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

/* A batch of rows should be few writes. */
#define OUT_BUFFER 65536

int out_open(struct out *o, const char *path)
{
	memset(o, 0, sizeof(*o));
	if (!path) {
		o->f = stdout;
		setvbuf(stdout, NULL, _IOFBF, OUT_BUFFER);
		return 0;
	}
	o->path = strdup(path);
	if (!o->path)
		return -ENOMEM;
	o->f = fopen(path, "we");
	if (!o->f) {
		int err = -errno;

		free(o->path);
		o->path = NULL;
		return err;
	}
	setvbuf(o->f, NULL, _IOFBF, OUT_BUFFER);
	return 0;
}

static void note(struct out *o)
{
	if (!o->err)
		o->err = errno ? -errno : -EIO;
}

void out_write(struct out *o, const char *s, size_t len)
{
	if (!o->err && fwrite_unlocked(s, 1, len, o->f) != len)
		note(o);
}

void out_printf(struct out *o, const char *fmt, ...)
{
	va_list ap;

	if (o->err)
		return;
	va_start(ap, fmt);
	if (vfprintf(o->f, fmt, ap) < 0)
		note(o);
	va_end(ap);
}

int out_flush(struct out *o)
{
	if (!o->err && fflush(o->f))
		note(o);
	return o->err;
}

int out_close(struct out *o)
{
	int err = o->f ? out_flush(o) : 0;

	/* A network file system may report a full disk only here. */
	if (o->f && fclose(o->f) && !err)
		err = -errno;
	free(o->path);
	memset(o, 0, sizeof(*o));
	return err;
}

const char *out_name(const struct out *o)
{
	return o->path ? o->path : "standard output";
}
