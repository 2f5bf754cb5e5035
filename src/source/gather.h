/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records gathered in histograms by user space, as the kernel does live. */
#ifndef TCPLAT_SOURCE_GATHER_H
#define TCPLAT_SOURCE_GATHER_H

#include "source/source.h"

struct gather;

/* cfg: borrowed; its keys, step and bound are used. NULL: no memory. */
struct gather *gather_new(const struct tcplat_config *cfg);
void gather_free(struct gather *g);

/* 0, or -ENOSPC when the record's key is new and the table is full. */
int gather_add(struct gather *g, const struct record *r);

/* Delivers every histogram, of the time from the first record to the last; begins anew. */
void gather_take(struct gather *g, const struct consumer *to);

#endif /* TCPLAT_SOURCE_GATHER_H */
