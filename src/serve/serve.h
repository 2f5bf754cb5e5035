/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent: traces, and answers whoever asks, until it is told to end. */
#ifndef TCPLAT_SERVE_SERVE_H
#define TCPLAT_SERVE_SERVE_H

#include "cli/query.h"

/* Returns the exit status; failures are reported. */
int serve_run(struct query *q);

#endif /* TCPLAT_SERVE_SERVE_H */
