/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Labels as text, from a histogram's key: `comm="nginx",raddr="10.0.0.0/24"`. */
#ifndef TCPLAT_SERVE_LABELS_H
#define TCPLAT_SERVE_LABELS_H

#include "record/record.h"

/* Room for any of them: a group's path is cut where it would not fit. */
#define LABELS_MAX 8192

/*
 * names: mask of enum key_of_group, what of the group is a label; group: its path or
 * "#id". Values are untrusted: invalid UTF-8 and control characters become \xNN, and
 * what the exposition format escapes is escaped. A key without a value has no label,
 * which for Prometheus is the same as an empty one.
 */
void labels_of(char dst[LABELS_MAX], const struct histogram *h, __u32 names, const char *group);

/* Those of the series that stands for all others of this kind, outcome and part. */
void labels_of_others(char dst[LABELS_MAX], const struct tcplat_hist_key *key);

#endif /* TCPLAT_SERVE_LABELS_H */
