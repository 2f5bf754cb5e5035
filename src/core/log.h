/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages for the user, on stderr, one line each, led by the tool's name.
 * Control characters in what they quote are shown escaped.
 */
#ifndef TCPLAT_CORE_LOG_H
#define TCPLAT_CORE_LOG_H

#include <stdbool.h>

/* name: borrowed for the life of the process. */
void log_init(const char *name, bool verbose);
const char *log_name(void);
bool log_verbose(void);

__attribute__((format(printf, 1, 2))) void log_error(const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void log_warning(const char *fmt, ...);
/* Only with -v. */
__attribute__((format(printf, 1, 2))) void log_info(const char *fmt, ...);

#endif /* TCPLAT_CORE_LOG_H */
