// SPDX-License-Identifier: GPL-2.0-or-later
/* The options that every unified view has, in the order of help. */
#include "cli/options.h"

#define CONNECT (1U << TCPLAT_KIND_CONNECT)
#define PICKUP (1U << TCPLAT_KIND_PICKUP)

const struct option_def view_options[] = {
	{ 'p', "pid", "PID", "only this process; may be repeated, as all filters", "Filters",
	  .set = set_pid },
	{ 0, "tid", "TID", "only this thread", NULL, .set = set_tid },
	{ 0, "uid", "USER", "only processes of this user (name or number)", NULL, .set = set_uid },
	{ 0, "comm", "NAME", "only processes of exactly this name", NULL, .set = set_comm },
	{ 'l', "lport", "PORTS", "only these local ports: 80,443,8000-8100,!22", NULL,
	  .set = set_lport },
	{ 'r', "rport", "PORTS", "only these remote ports", NULL, .set = set_rport },
	{ 'L', "laddr", "ADDR[/N]", "only this local address or subnet", NULL, .set = set_laddr },
	{ 'R', "raddr", "ADDR[/N]", "only this remote address or subnet", NULL, .set = set_raddr },
	{ '4', "ipv4", NULL, "only IPv4 (with IPv4-mapped IPv6)", NULL, .set = set_ip, .value = 4 },
	{ '6', "ipv6", NULL, "only IPv6", NULL, .set = set_ip, .value = 6 },
	{ 0, "netns", "NETNS", "only this network namespace: name, path or inode", NULL,
	  .set = set_netns },
	{ 0, "cgroup", "PATH", "only processes in this cgroup v2 group or below", NULL,
	  .set = set_cgroup },
	{ 0, "min", "DURATION", "only latencies of at least this: 100us, 1.5ms, 2s", NULL,
	  .set = set_min },
	{ 0, "failed", NULL, "only attempts that did not succeed", NULL, FLAG(failed),
	  .kinds = CONNECT },

	{ 0, "json", NULL, "JSON Lines, the last one a summary", "Output", .set = set_format,
	  .value = FORMAT_JSON },
	{ 0, "hist", NULL, "histograms instead of rows, kept in the kernel", NULL,
	  .set = set_hist },
	{ 0, "by", "KEY[,KEY]", "one histogram for each: " KEY_NAMES, NULL, .set = set_by,
	  .kinds = CONNECT },
	{ 0, "by", "KEY[,KEY]", "one histogram for each: " KEY_NAMES_COMMON, NULL, .set = set_by,
	  .kinds = PICKUP },
	{ 0, "split", NULL, "where the wait went: WAKE, RUNQ and APP add up to LAT", NULL,
	  FLAG(split), .kinds = PICKUP },
	{ 'i', "interval", "TIME", "print histograms this often (number: seconds)", NULL,
	  .set = set_interval },
	{ 'd', "duration", "TIME", "end after this time (number: seconds)", NULL,
	  .set = set_duration },
	{ 't', "timestamp", NULL, "begin rows with the time of day", NULL, FLAG(timestamp) },
	{ 0, "columns", "LIST", "which columns, such as pid,comm,raddr,lat", NULL,
	  .set = set_columns },
	{ 'w', "wide", NULL, "columns for whole IPv6 addresses from the start", NULL, FLAG(wide) },
	{ 'o', "output", "FILE", "write to this file instead of standard output", NULL,
	  .set = set_output },
	{ 0, "max-events", "N", "end after this many rows", NULL, .set = set_max_events },

	{ 'a', "all", NULL, "trace everything while COMMAND runs, not it alone",
	  "Command (after --)", FLAG(all) },
	{ 'u', "user", "USER", "run COMMAND as this user", NULL, .set = set_user },

	{ 0, "features", NULL, "print what this kernel lets us see", "Other", FLAG(features) },
	{ 0, "replay", "FILE", "read recorded JSON Lines instead of the kernel", NULL,
	  .set = set_replay },
	{ 0, "buffer", "SIZE", "ring buffer, a power of two (default 4m)", NULL,
	  .set = set_buffer },
	{ 0, "max-keys", "N", "most keys of --by (default 10000)", NULL, .set = set_max_keys },
	{ 'v', "verbose", NULL, "say what is attached, and always the summary", NULL,
	  FLAG(verbose) },
	{ 'h', "help", NULL, "print this", NULL, FLAG(help) },
	{ 'V', "version", NULL, "print the version", NULL, FLAG(version) },
	/* Tests: to lose events by re-entrance, which two copies of the hook prevent. */
	{ 0, "debug-single-hook", NULL, NULL, NULL, FLAG(single_hook) },
	{},
};
