// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"

#define MAX_OPTIONS 96
#define LONG_BASE 0x100 /* what getopt_long() returns for table entry 0 */

static void name_of(const struct option_def *def, char *dst, size_t size)
{
	if (def->short_name && def->long_name)
		snprintf(dst, size, "-%c/--%s", def->short_name, def->long_name);
	else if (def->short_name)
		snprintf(dst, size, "-%c", def->short_name);
	else
		snprintf(dst, size, "%s%s", def->long_name ? "--" : "",
			 def->long_name ? def->long_name : def->arg);
}

int option_error(const struct option_def *def, const char *arg, const char *what, const char *right)
{
	char name[64];

	name_of(def, name, sizeof(name));
	if (right)
		log_error("%s: '%s' %s; %s", name, arg, what, right);
	else
		log_error("%s: '%s' %s", name, arg, what);
	return -EINVAL;
}

static bool for_kind(const struct option_def *d, enum tcplat_kind kind)
{
	return !d->kinds || d->kinds & 1U << kind;
}

static const struct option_def *by_short(const struct option_table *t, enum tcplat_kind kind, int c)
{
	for (const struct option_def *d = t->defs; d->set; d++)
		if (d->short_name && d->short_name == c && for_kind(d, kind))
			return d;
	return NULL;
}

static int unknown(char **argv, int at, int c)
{
	if (c > 0 && c < LONG_BASE)
		log_error("unknown option -%c; see --help", c);
	else
		log_error("unknown or ambiguous option %s; see --help", argv[at]);
	return -EINVAL;
}

static int missing(const struct option_table *t, enum tcplat_kind kind, int c)
{
	const struct option_def *def =
		c >= LONG_BASE ? &t->defs[c - LONG_BASE] : by_short(t, kind, c);
	char name[64];

	name_of(def, name, sizeof(name));
	log_error("%s: needs a value (%s)", name, def->arg);
	return -EINVAL;
}

static int bare_arguments(struct query *q, const struct option_table *t, int argc, char **argv)
{
	struct option_def def = { .arg = "argument" };

	for (int i = optind; i < argc; i++) {
		int err;

		if (!t->positional || i > optind) {
			log_error("unexpected argument '%s'%s", argv[i],
				  t->positional || q->kind == VIEW_SERVE ?
					  "" :
					  "; a command goes after --");
			return -EINVAL;
		}
		err = t->positional(q, &def, argv[i]);
		if (err)
			return err;
	}
	return 0;
}

int options_parse(struct query *q, const struct option_table *t, int argc, char **argv)
{
	struct option longs[MAX_OPTIONS + 1] = {};
	char shorts[2 * MAX_OPTIONS + 2] = ":", *s = shorts + 1;
	int n = 0, end, c;

	for (const struct option_def *d = t->defs; d->set; d++) {
		int index = (int)(d - t->defs);

		if (!for_kind(d, q->kind))
			continue;
		if (d->long_name)
			longs[n++] = (struct option){ .name = d->long_name,
						      .has_arg = d->arg != NULL,
						      .val = LONG_BASE + index };
		if (d->short_name) {
			*s++ = d->short_name;
			if (d->arg)
				*s++ = ':';
		}
	}
	/* Cut at "--" ourselves: getopt moves bare arguments behind it. */
	for (end = 1; end < argc && strcmp(argv[end], "--"); end++)
		;
	if (end < argc) {
		q->command = argv + end + 1;
		if (!*q->command) {
			log_error("--: a command must follow");
			return -EINVAL;
		}
	}
	opterr = 0;
	optind = 0; /* glibc: start afresh */
	for (;;) {
		const struct option_def *def;
		int at = optind ? optind : 1, err;

		c = getopt_long(end, argv, shorts, longs, NULL);
		if (c < 0)
			break;
		if (c == ':')
			return missing(t, q->kind, optopt);
		/* getopt names a long option at fault by optopt 0 or its value. */
		if (c == '?' && optopt >= LONG_BASE) {
			log_error("--%s: takes no value", t->defs[optopt - LONG_BASE].long_name);
			return -EINVAL;
		}
		/* "-?" may be an option; an unknown long one says '?' as well. */
		if (c == '?' &&
		    (optopt || !by_short(t, q->kind, '?') || argv[optind - 1][1] == '-'))
			return unknown(argv, optopt ? at : optind - 1, optopt);
		def = c >= LONG_BASE ? &t->defs[c - LONG_BASE] : by_short(t, q->kind, c);
		if (!def)
			return unknown(argv, at, c);
		err = def->set(q, def, optarg);
		if (err)
			return err;
	}
	return bare_arguments(q, t, end, argv);
}

void options_help(FILE *f, const struct option_table *t, enum tcplat_kind kind)
{
	for (const struct option_def *d = t->defs; d->set; d++) {
		char left[64];

		if (!for_kind(d, kind))
			continue;
		if (d->group)
			fprintf(f, "\n%s:\n", d->group);
		if (!d->help)
			continue;
		snprintf(left, sizeof(left), "  %c%c%s%s%s%s%s", d->short_name ? '-' : ' ',
			 d->short_name ? d->short_name : ' ',
			 d->short_name && d->long_name ? ", " :
			 d->long_name		       ? "  " :
							 "",
			 d->long_name ? "--" : "", d->long_name ? d->long_name : "",
			 d->arg ? " " : "", d->arg ? d->arg : "");
		fprintf(f, "%-27s %s\n", left, d->help);
	}
}
