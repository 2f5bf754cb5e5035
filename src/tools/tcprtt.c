// SPDX-License-Identifier: GPL-2.0-or-later
/* The drop-in name: options and histograms of the original. */
#include <errno.h>

#include "core/log.h"
#include "tools/tool.h"
#include "tools/view.h"

static int set_address_key(struct query *q, const struct option_def *def, const char *arg)
{
	(void)arg;
	if (q->by.mask && q->by.mask != def->value) {
		log_error("-b/--byladdr and -B/--byraddr contradict each other: a histogram has "
			  "one address");
		return -EINVAL;
	}
	q->by.mask = (__u32)def->value;
	return 0;
}

static int set_milliseconds(struct query *q, const struct option_def *def, const char *arg)
{
	(void)def;
	(void)arg;
	q->config.hist_step_ns = TCPLAT_HIST_STEP_MS;
	return 0;
}

static const struct option_def defs[] = {
	{ 'h', "help", NULL, "show this help message and exit", "options", FLAG(help) },
	{ 'i', "interval", "INTERVAL", "summary interval, seconds", NULL, .set = set_interval },
	{ 'd', "duration", "DURATION", "total duration of trace, seconds", NULL,
	  .set = set_duration },
	{ 'T', "timestamp", NULL, "include timestamp on output", NULL, FLAG(log2.timestamp) },
	{ 'm', "milliseconds", NULL, "millisecond histogram", NULL, .set = set_milliseconds },
	{ 'p', "lport", "LPORT", "filter for local port", NULL, .set = set_lport },
	{ 'P', "rport", "RPORT", "filter for remote port", NULL, .set = set_rport },
	{ 'a', "laddr", "LADDR", "filter for local address", NULL, .set = set_laddr },
	{ 'A', "raddr", "RADDR", "filter for remote address", NULL, .set = set_raddr },
	{ 'b', "byladdr", NULL, "a histogram for each local address", NULL, .set = set_address_key,
	  .value = TCPLAT_KEY_LADDR },
	{ 'B', "byraddr", NULL, "a histogram for each remote address", NULL, .set = set_address_key,
	  .value = TCPLAT_KEY_RADDR },
	{ 'e', "extension", NULL, "show the average, too", NULL, FLAG(log2.average) },
	{ 'D', "debug", NULL, "show which programs are attached where, before starting", NULL,
	  FLAG(verbose) },
	{ '4', "ipv4", NULL, "trace IPv4 family only", NULL, .set = set_ip, .value = 4 },
	{ '6', "ipv6", NULL, "trace IPv6 family only", NULL, .set = set_ip, .value = 6 },
	{ 0, "json", NULL, "JSON Lines, the last one a summary", "beyond the original",
	  .set = set_format, .value = FORMAT_JSON },
	{ 0, "all", NULL, "trace everything while COMMAND runs, not it alone", NULL, FLAG(all) },
	{ 0, "replay", "FILE", "read recorded JSON Lines instead of the kernel", NULL,
	  .set = set_replay },
	{ 'v', "verbose", NULL, "the same as -D", NULL, FLAG(verbose) },
	{ '?', NULL, NULL, NULL, NULL, FLAG(help) },
	{ 0, "usage", NULL, "give a short usage message", NULL, FLAG(usage) },
	{ 'V', "version", NULL, "print program version", NULL, FLAG(version) },
	{},
};

static const struct option_table options = { defs, NULL };

static void begin(struct query *q)
{
	q->show = SHOW_LOG2;
}

static void settle(struct query *q)
{
	struct log2_layout *l = &q->log2;

	l->unit = q->config.hist_step_ns == TCPLAT_HIST_STEP_MS ? "msecs" : "usecs";
	l->by = q->by.mask;
	if (l->by)
		l->label = l->by == TCPLAT_KEY_LADDR ? "Local Address" : "Remote Address";
	else if (l->average)
		l->label = "All Addresses";
}

static const struct view view = {
	.name = "tcprtt",
	.kind = TCPLAT_KIND_RTT,
	.title = "round-trip time",
	.usage = "usage: tcprtt [-h] [-i INTERVAL] [-d DURATION] [-T] [-m] [-p LPORT] [-P RPORT]\n"
		 "              [-a LADDR] [-A RADDR] [-b | -B] [-e] [-D] [-4 | -6]\n"
		 "              [-- COMMAND [ARG...]]\n",
	.about = "Summarize TCP RTT as a histogram\n",
	.after = "examples:\n"
		 "    tcprtt                    # all round trips until Ctrl-C\n"
		 "    tcprtt -i 1 -d 10         # a histogram each second, ten times\n"
		 "    tcprtt -m -T              # in milliseconds, with the time of day\n"
		 "    tcprtt -p 3260            # only this local port\n"
		 "    tcprtt -P 80              # only this remote port\n"
		 "    tcprtt -a 192.168.122.200 # only this local address\n"
		 "    tcprtt -A 192.168.122.100 # only this remote address\n"
		 "    tcprtt -b                 # a histogram for each local address\n"
		 "    tcprtt -B                 # a histogram for each remote address\n"
		 "    tcprtt -D                 # show the programs and where they are attached\n"
		 "    tcprtt -e                 # with the average\n"
		 "    tcprtt -4                 # IPv4 only\n"
		 "    tcprtt -6                 # IPv6 only\n"
		 "    tcprtt -- curl URL        # only the connections of this command\n",
	.options = &options,
	.begin = begin,
	.settle = settle,
};

static int run(int argc, char **argv)
{
	return view_run(&view, argc, argv);
}

const struct tool tool_tcprtt = { "tcprtt", "the original's options and histograms", run };
