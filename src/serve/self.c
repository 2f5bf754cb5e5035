// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/self.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"

void metric_head(FILE *f, const struct metric *m, bool openmetrics)
{
	static const char *const types[] = {
		[METRIC_COUNTER] = "counter",
		[METRIC_GAUGE] = "gauge",
		[METRIC_HISTOGRAM] = "histogram",
		[METRIC_INFO] = "info",
	};
	const char *suffix = "", *type = types[m->type];

	if (!openmetrics && m->type == METRIC_COUNTER)
		suffix = "_total";
	if (!openmetrics && m->type == METRIC_INFO) {
		suffix = "_info";
		type = types[METRIC_GAUGE];
	}
	fprintf(f, "# HELP %s%s %s\n", m->name, suffix, m->help);
	fprintf(f, "# TYPE %s%s %s\n", m->name, suffix, type);
	if (m->unit)
		fprintf(f, "# UNIT %s%s %s\n", m->name, suffix, m->unit);
}

struct printer {
	FILE *f;
	bool openmetrics;
	const struct metric *m;
};

static void head(struct printer *p, const struct metric *m)
{
	p->m = m;
	metric_head(p->f, m, p->openmetrics);
}

/* label NULL: it has none. */
static void name_of(struct printer *p, const char *label, const char *value)
{
	const char *suffix = p->m->type == METRIC_COUNTER ? "_total" :
			     p->m->type == METRIC_INFO	  ? "_info" :
							    "";

	fprintf(p->f, "%s%s", p->m->name, suffix);
	if (label)
		fprintf(p->f, "{%s=\"%s\"}", label, value);
}

static void number(struct printer *p, const char *label, const char *value, __u64 v)
{
	name_of(p, label, value);
	fprintf(p->f, " %llu\n", v);
}

static void seconds(struct printer *p, const char *label, const char *value, __u64 ns)
{
	name_of(p, label, value);
	fprintf(p->f, " %llu.%09llu\n", ns / 1000000000, ns % 1000000000);
}

static void one(struct printer *p, const struct metric *m, __u64 v)
{
	head(p, m);
	number(p, NULL, NULL, v);
}

static void print_books(struct printer *p, const struct self *s)
{
	static const struct metric events = {
		"tcplat_events", METRIC_COUNTER, NULL,
		"Values measured: ended connects, round-trip samples, arrivals picked up."
	};
	static const struct metric lost = {
		"tcplat_lost_events", METRIC_COUNTER, NULL,
		"Values that should have been measured and could not be, by reason."
	};
	static const struct metric unseen = {
		"tcplat_unseen_starts", METRIC_COUNTER, NULL,
		"Ends of what had begun before tracing; not lost, but not measured."
	};
	static const struct metric refused = {
		"tcplat_keys_refused", METRIC_COUNTER, NULL,
		"Values that found no room for a key of their own, and count with all others."
	};
	static const struct metric folded = {
		"tcplat_series_folded", METRIC_COUNTER, NULL,
		"Series that made room; their counts went on in those of all others."
	};

	head(p, &events);
	for (unsigned kind = TCPLAT_KIND_CONNECT; kind < TCPLAT_NR_KINDS; kind++)
		number(p, "measurement", kind_name(kind), s->events[kind]);
	head(p, &lost);
	for (int i = 0; i < TCPLAT_NR_LOST; i++)
		number(p, "reason", lost_name((enum tcplat_counter)i), s->usage.counters.lost[i]);
	number(p, "reason", "no_memory", s->unaccounted);
	one(p, &unseen, s->usage.counters.unseen_start);
	one(p, &refused, s->refused);
	one(p, &folded, s->folded);
}

static void print_size(struct printer *p, const struct self *s)
{
	static const struct metric series = { "tcplat_series", METRIC_GAUGE, NULL,
					      "Sets of labels that are exposed now." };
	static const struct metric lines = { "tcplat_page_lines", METRIC_GAUGE, NULL,
					     "Lines of this page, at most." };
	static const struct metric limit = { "tcplat_page_lines_limit", METRIC_GAUGE, NULL,
					     "Lines that a page may have (--max-series)." };
	static const struct metric keys = { "tcplat_keys", METRIC_GAUGE, NULL,
					    "Keys of histograms that the kernel holds." };
	static const struct metric most = { "tcplat_keys_limit", METRIC_GAUGE, NULL,
					    "Keys that the kernel has room for." };
	static const struct metric sockets = { "tcplat_sockets", METRIC_GAUGE, NULL,
					       "Sockets that have state of ours." };
	static const struct metric bytes = { "tcplat_state_bytes", METRIC_GAUGE, "bytes",
					     "Memory in the kernel: histograms, sockets' state." };

	one(p, &series, s->series);
	one(p, &lines, s->lines);
	one(p, &limit, s->max_lines);
	one(p, &keys, s->usage.keys);
	one(p, &most, s->usage.max_keys);
	one(p, &sockets, s->usage.sockets);
	head(p, &bytes);
	number(p, "what", "histograms", s->usage.histogram_bytes);
	number(p, "what", "sockets", s->usage.socket_bytes);
}

static void print_programs(struct printer *p, const struct self *s)
{
	static const struct metric time = { "tcplat_bpf_run_seconds", METRIC_COUNTER, "seconds",
					    "Time that each BPF program has run." };
	static const struct metric runs = { "tcplat_bpf_runs", METRIC_COUNTER, NULL,
					    "How often each BPF program has run." };

	if (!s->n_programs)
		return;
	head(p, &time);
	for (unsigned i = 0; i < s->n_programs; i++)
		seconds(p, "program", s->programs[i].name, s->programs[i].ns);
	head(p, &runs);
	for (unsigned i = 0; i < s->n_programs; i++)
		number(p, "program", s->programs[i].name, s->programs[i].runs);
}

static void print_serving(struct printer *p, const struct self *s)
{
	static const struct metric took = {
		"tcplat_scrape_duration_seconds", METRIC_GAUGE, "seconds",
		"How long it took to read the kernel's maps for this page."
	};
	static const struct metric scrapes = { "tcplat_scrapes", METRIC_COUNTER, NULL,
					       "Pages asked for." };
	static const struct metric connections = { "tcplat_http_connections", METRIC_GAUGE, NULL,
						   "Connections to the agent." };
	static const struct metric cut = { "tcplat_http_connections_cut", METRIC_COUNTER, NULL,
					   "Connections that were idle or slow, and were closed." };

	head(p, &took);
	seconds(p, NULL, NULL, s->read_ns);
	one(p, &scrapes, s->scrapes);
	one(p, &connections, s->connections);
	one(p, &cut, s->cut);
}

/* Field 22 of stat(5), in ticks since the machine started: it may be read by anybody. */
static __u64 started_unix_ns(void)
{
	static __u64 started;
	_cleanup_fclose_ FILE *f = NULL;
	unsigned long long ticks = 0;
	char line[1024], *at;
	long hz = sysconf(_SC_CLK_TCK);

	if (started)
		return started;
	f = fopen("/proc/self/stat", "re");
	if (!f || !fgets(line, sizeof(line), f))
		return 0;
	/* The name before it may hold anything. */
	at = strrchr(line, ')');
	for (int field = 2; at && field < 22; field++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	if (!at || hz <= 0)
		return 0;
	ticks = strtoull(at, NULL, 10);
	started = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME) +
		  ticks * (1000000000ULL / (unsigned long)hz);
	return started;
}

static __u64 resident_bytes(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long all = 0, resident = 0;

	if (!f || fscanf(f, "%llu %llu", &all, &resident) != 2)
		return 0;
	return resident * (__u64)sysconf(_SC_PAGESIZE);
}

static __u64 ns_of(const struct timeval *t)
{
	return (__u64)t->tv_sec * 1000000000 + (__u64)t->tv_usec * 1000;
}

void self_look(struct self *s)
{
	struct rusage usage = {};

	getrusage(RUSAGE_SELF, &usage);
	s->cpu_ns = ns_of(&usage.ru_utime) + ns_of(&usage.ru_stime);
	s->resident_bytes = resident_bytes();
	s->started_unix_ns = started_unix_ns();
}

static void print_process(struct printer *p, const struct self *s)
{
	static const struct metric cpu = { "process_cpu_seconds", METRIC_COUNTER, "seconds",
					   "CPU time of the agent, without that of BPF programs." };
	static const struct metric memory = { "process_resident_memory_bytes", METRIC_GAUGE,
					      "bytes", "Resident memory of the agent." };
	static const struct metric start = { "process_start_time_seconds", METRIC_GAUGE, "seconds",
					     "When the agent started, since the epoch." };
	static const struct metric build = { "tcplat_build", METRIC_INFO, NULL,
					     "Version of tcplat, and the kernel it runs on." };
	struct utsname u = {};

	head(p, &cpu);
	seconds(p, NULL, NULL, s->cpu_ns);
	one(p, &memory, s->resident_bytes);
	head(p, &start);
	seconds(p, NULL, NULL, s->started_unix_ns);
	uname(&u);
	head(p, &build);
	fprintf(p->f, "tcplat_build_info{version=\"%s\",kernel=\"%s\"} 1\n", TCPLAT_VERSION,
		u.release);
}

void self_print(FILE *f, const struct self *s, bool openmetrics)
{
	struct printer p = { f, openmetrics, NULL };

	print_books(&p, s);
	print_size(&p, s);
	print_programs(&p, s);
	print_serving(&p, s);
	print_process(&p, s);
}
