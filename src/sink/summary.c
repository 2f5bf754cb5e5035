// SPDX-License-Identifier: GPL-2.0-or-later
/* The summary for people; sinks for machines write their own. */
#include <stdio.h>

#include "core/log.h"
#include "sink/sink.h"

static const char *const lost_reasons[TCPLAT_NR_LOST] = {
	[TCPLAT_LOST_RING_FULL] = "the ring buffer was full (a larger --buffer helps)",
	[TCPLAT_LOST_NO_STATE] = "the kernel had no memory for their state",
	[TCPLAT_LOST_REENTERED] = "the hook was already running on that CPU",
	[TCPLAT_LOST_KEYS_FULL] = "the histogram table was full (a larger --max-keys helps)",
	[TCPLAT_LOST_FIFO_MERGED] = "more arrivals waited than a socket's state holds",
	[TCPLAT_LOST_CLOCK] = "no time stamp that could be true was to be had",
};

#define TOTALS "events %llu, lost %llu, still open %llu, begun before tracing %llu"

void summary_to_stderr(const struct summary *sum)
{
	__u64 lost = summary_lost(sum);

	for (int i = 0; i < TCPLAT_NR_LOST; i++)
		if (sum->lost[i])
			log_warning("lost %llu (%s): %s", sum->lost[i], lost_name(i),
				    lost_reasons[i]);
	if (lost)
		log_warning(TOTALS, sum->events, lost, sum->still_open, sum->unseen_start);
	else
		log_info(TOTALS, sum->events, lost, sum->still_open, sum->unseen_start);
}
