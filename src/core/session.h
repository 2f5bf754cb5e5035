/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One run: a query carried out from opening to the last line. */
#ifndef TCPLAT_CORE_SESSION_H
#define TCPLAT_CORE_SESSION_H

#include "cli/query.h"

/*
 * Returns the exit status of the program: the command's where there is one
 * (127: not started), else 0, or 1 after a failure, which is reported.
 */
int session_run(struct query *q);

#endif /* TCPLAT_CORE_SESSION_H */
