// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/command.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/shelf.h"
#include "sink/sink.h"
#include "source/source.h"

/* How long a row may wait for the next look at the ring; see wake_ns. */
#define LOOK_AGAIN_NS (50ULL * 1000 * 1000)

/* How long a sample may wait in an idle connection before it is a row. */
#define COLLECT_NS (1000ULL * 1000 * 1000)

struct session {
	const struct query *q;
	struct loop *loop;
	struct source *source;
	struct sink *sink;
	struct out out;
	struct command command;
	struct consumer consumer;

	int signals, look, interval, collect, duration; /* descriptors, -1: none */
	int idle_looks;
	__u64 interval_began_ns; /* CLOCK_MONOTONIC */
	__u64 interval_ns;	 /* of the one that is being delivered */
	__u64 interval_end_unix_ns;
	__u64 first_unix_ns;
	__u64 rows;
	struct shelf shelf; /* of the interval that is being delivered */

	bool over;   /* tracing has ended */
	bool leave;  /* do not wait for the command either */
	int signo;   /* the last signal that told us to end, 0: none */
	int failure; /* negative errno of our own, reported */
};

static void fail(struct session *s, int err)
{
	if (!s->failure)
		s->failure = err;
	s->over = true;
}

/* Out of the buffer and, if nobody reads any more, to a quiet end. */
static void flush(struct session *s)
{
	int err = out_flush(&s->out);

	if (!err || s->over)
		return;
	if (err != -EPIPE)
		log_error("writing to %s failed: %s", out_name(&s->out), strerror(-err));
	fail(s, err);
}

static void on_record(void *arg, struct record *r)
{
	struct session *s = arg;

	if (s->q->max_events && s->rows >= s->q->max_events)
		return;
	if (!s->rows++)
		s->first_unix_ns = r->unix_ns;
	/* Rows of different CPUs may be a little out of order. */
	if (r->unix_ns > s->first_unix_ns)
		r->since_first_ns = r->unix_ns - s->first_unix_ns;
	s->sink->ops->record(s->sink, r);
	if (s->rows == s->q->max_events)
		s->over = true;
}

/* Kept until all are there, to print them in order. */
static void on_histogram(void *arg, struct histogram *h)
{
	struct session *s = arg;

	if (!h->unix_ns) {
		h->unix_ns = s->interval_end_unix_ns;
		h->interval_ns = s->interval_ns;
	}
	if (shelf_add(&s->shelf, h)) {
		if (!s->failure)
			log_error("out of memory");
		fail(s, -ENOMEM);
	}
}

/* last: at the end of the run, which may be no whole interval. */
static void print_histograms(struct session *s, bool last)
{
	int err;

	/* One ends and the next begins now; reading may take a while. */
	s->interval_ns = clock_ns(CLOCK_MONOTONIC) - s->interval_began_ns;
	s->interval_began_ns += s->interval_ns;
	s->interval_end_unix_ns = clock_ns(CLOCK_REALTIME);
	err = s->source->ops->histograms(s->source, &s->consumer);
	if (err)
		fail(s, err);
	/* An empty rest of an interval is not worth a line. */
	shelf_deliver(&s->shelf, s->sink, s->q, s->interval_end_unix_ns,
		      !last || !s->q->interval_ns);
	flush(s);
}

static void drain(struct session *s)
{
	int n = s->source->ops->drain(s->source, &s->consumer);

	if (n < 0)
		fail(s, n);
	flush(s);
	/* After a wake-up the kernel is silent for a while; look again ourselves,
	 * until nothing has come twice in a row. */
	s->idle_looks = n > 0 ? 0 : s->idle_looks + 1;
	if (s->look >= 0 && s->idle_looks < 2)
		timer_arm(s->look, LOOK_AGAIN_NS, 0);
}

static void on_rows(void *arg, __u32 events)
{
	(void)events;
	((struct session *)arg)->idle_looks = 0;
	drain(arg);
}

static void on_look(void *arg, __u32 events)
{
	struct session *s = arg;

	(void)events;
	timer_take(s->look);
	drain(s);
}

static void on_interval(void *arg, __u32 events)
{
	struct session *s = arg;

	(void)events;
	if (timer_take(s->interval) && !s->over)
		print_histograms(s, false);
}

static void on_collect(void *arg, __u32 events)
{
	struct session *s = arg;

	(void)events;
	if (timer_take(s->collect) && !s->over)
		s->source->ops->collect(s->source);
}

static void on_duration(void *arg, __u32 events)
{
	struct session *s = arg;

	(void)events;
	if (timer_take(s->duration))
		s->over = true;
}

static void on_reader_gone(void *arg, __u32 events)
{
	struct session *s = arg;

	(void)events;
	loop_remove(s->loop, STDOUT_FILENO);
	s->out.err = -EPIPE;
	fail(s, -EPIPE);
}

static void on_child(void *arg, __u32 events)
{
	struct session *s = arg;

	(void)events;
	if (!command_ended(&s->command, false))
		return;
	loop_remove(s->loop, s->command.pidfd);
	s->over = true;
}

/* The first signal ends tracing and is passed on to the command; the second ends all. */
static void on_signal(void *arg, __u32 events)
{
	struct signalfd_siginfo info;
	struct session *s = arg;

	(void)events;
	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (s->signo)
		s->leave = true;
	s->signo = (int)info.ssi_signo;
	s->over = true;
	/* Ctrl-C has reached the command by itself; a hang-up may be told to us alone. */
	if (s->command.pid && !s->command.ended &&
	    !(info.ssi_code == SI_KERNEL && s->signo == SIGINT))
		kill(s->command.pid, s->signo);
}

static int watch_signals(struct session *s)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct sigaction old;

		/* nohup(1) and background jobs ignore some: so do we. */
		if (!sigaction(numbers[i], NULL, &old) && old.sa_handler == SIG_IGN)
			continue;
		sigaddset(&set, numbers[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals < 0)
		return -errno;
	return loop_add(s->loop, s->signals, EPOLLIN, on_signal, s);
}

static int watch_timer(struct session *s, int *fd, loop_fn *fn)
{
	*fd = timer_new();
	return *fd < 0 ? *fd : loop_add(s->loop, *fd, EPOLLIN, fn, s);
}

/* Intervals of histograms do so by themselves. */
static bool collects(const struct session *s)
{
	return s->q->config.rtt && s->q->config.output == TCPLAT_OUT_ROWS &&
	       s->source->ops->collect;
}

static int watch(struct session *s)
{
	int rows = s->source->ops->fd(s->source), err;

	err = watch_timer(s, &s->look, on_look);
	if (!err && rows >= 0)
		err = loop_add(s->loop, rows, EPOLLIN, on_rows, s);
	if (!err && s->q->interval_ns)
		err = watch_timer(s, &s->interval, on_interval);
	if (!err && collects(s))
		err = watch_timer(s, &s->collect, on_collect);
	if (!err && s->q->duration_ns)
		err = watch_timer(s, &s->duration, on_duration);
	if (!err && s->command.pid)
		err = loop_add(s->loop, s->command.pidfd, EPOLLIN, on_child, s);
	if (err)
		return err;
	/* A pipe whose reader goes away says so even while we write nothing. */
	err = s->q->out_path ? 0 : loop_add(s->loop, STDOUT_FILENO, 0, on_reader_gone, s);
	return err == -EPERM || err == -EEXIST ? 0 : err;
}

/* Tracing has begun: say so, set the clocks, and let the command go. */
static int begin(struct session *s, __u64 began_ns)
{
	int err;

	log_info("probes attached after %.1f ms",
		 (double)(clock_ns(CLOCK_MONOTONIC) - began_ns) / 1e6);
	s->interval_began_ns = clock_ns(CLOCK_MONOTONIC);
	if (s->interval >= 0)
		timer_arm(s->interval, s->q->interval_ns, s->q->interval_ns);
	if (s->collect >= 0)
		timer_arm(s->collect, COLLECT_NS, COLLECT_NS);
	if (s->duration >= 0)
		timer_arm(s->duration, s->q->duration_ns, 0);
	if (s->command.pid) {
		err = command_release(&s->command);
		if (err) {
			log_error("cannot run '%s'%s%s: %s", s->q->command[0],
				  s->q->user ? " as " : "", s->q->user ? s->q->user : "",
				  strerror(-err));
			command_ended(&s->command, true);
			return err;
		}
	}
	if (s->sink->ops->begin)
		s->sink->ops->begin(s->sink);
	flush(s);
	return 0;
}

static void end(struct session *s)
{
	struct summary sum;
	int n;

	s->source->ops->stop(s->source);
	do
		n = s->source->ops->drain(s->source, &s->consumer);
	while (n > 0 && s->source->ops->fd(s->source) >= 0);
	if (s->q->config.output == TCPLAT_OUT_HIST)
		print_histograms(s, true);
	flush(s);
	if (s->source->ops->summary(s->source, &sum))
		return;
	/* With --max-events the kernel has made more than was asked for. */
	if (s->q->max_events)
		sum.events = s->rows;
	s->sink->ops->summary(s->sink, &sum);
}

/* Without a descriptor to wait for, the source is read until it is empty. */
static void loop_replay(struct session *s)
{
	int n;

	do {
		loop_once(s->loop, 0);
		n = s->over ? 0 : s->source->ops->drain(s->source, &s->consumer);
		if (n < 0)
			fail(s, n);
		flush(s);
	} while (n > 0);
	s->over = true;
}

static int trace(struct session *s, __u64 began_ns)
{
	int err = s->source->ops->start(s->source);

	if (!err && s->command.pid && s->q->config.filter.descendants)
		err = s->source->ops->trace_task(s->source, s->command.pidfd);
	if (err)
		return EXIT_FAILURE;
	err = watch(s);
	if (err) {
		log_error("cannot set up the event loop: %s", strerror(-err));
		return EXIT_FAILURE;
	}
	if (begin(s, began_ns))
		return EXIT_NOT_STARTED;
	if (s->source->ops->fd(s->source) < 0)
		loop_replay(s);
	while (!s->over)
		loop_once(s->loop, -1);
	end(s);
	flush(s);
	/* Its status is ours, so its end is worth waiting for. */
	while (s->command.pid && !s->command.ended && !s->leave)
		loop_once(s->loop, -1);
	if (s->command.pid && !s->command.ended)
		return 128 + s->signo;
	return s->command.ended ? command_exit_status(&s->command) : EXIT_SUCCESS;
}

static struct sink *make_sink(struct session *s)
{
	const struct query *q = s->q;
	struct table_layout layout = { q->cells, q->n_cells, q->adaptive };

	if (q->format == FORMAT_JSON)
		return sink_json_new(&s->out);
	switch (q->show) {
	case SHOW_HIST:
		return sink_hist_new(&s->out, q->title, q->timestamp || q->interval_ns);
	case SHOW_STATS:
		return sink_stats_new(&s->out, q->title, q->config.by,
				      q->timestamp || q->interval_ns);
	case SHOW_HEATMAP:
		return sink_heatmap_new(&s->out, q->title);
	case SHOW_LOG2:
		return sink_log2_new(&s->out, &q->log2);
	case SHOW_LIVE:
		return sink_live_new(&s->out, q->top ? q->top : 5);
	case SHOW_ROWS:
	case SHOW_METRICS: /* no session */
		break;
	}
	return sink_table_new(&s->out, &layout);
}

static int open_all(struct session *s)
{
	const struct query *q = s->q;
	struct engine_options options = { .config = &q->config,
					  .cgroup_fds = q->cgroup_fds,
					  .ring_bytes = q->ring_bytes,
					  .intervals = q->interval_ns != 0,
					  .single_hook = q->single_hook };
	int err;

	signal(SIGPIPE, SIG_IGN);
	err = loop_new(&s->loop);
	/* Reading a recording may block; there a signal ends us as it does anybody. */
	if (!err && !q->replay)
		err = watch_signals(s);
	if (err) {
		log_error("cannot set up the event loop: %s", strerror(-err));
		return err;
	}
	/* Early, while we are small: the child is a copy of us. */
	if (q->command) {
		err = command_prepare(&s->command, q->command, q->user);
		if (err) {
			log_error("cannot make a process for the command: %s", strerror(-err));
			return err;
		}
	}
	err = q->replay ? source_replay_new(&s->source, q->replay, &q->config, q->kind) :
			  source_live_new(&s->source, &options);
	if (err)
		return err;
	err = out_open(&s->out, q->out_path);
	if (err) {
		log_error("-o/--output: cannot write '%s': %s", q->out_path, strerror(-err));
		return err;
	}
	s->sink = make_sink(s);
	if (!s->sink) {
		log_error("out of memory");
		return -ENOMEM;
	}
	return 0;
}

static void close_all(struct session *s)
{
	int *fds[] = { &s->signals, &s->look, &s->interval, &s->collect, &s->duration };

	sink_free(s->sink);
	source_free(s->source);
	command_close(&s->command);
	loop_free(s->loop);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
	shelf_free(&s->shelf);
}

int session_run(struct query *q)
{
	struct session s = { .q = q,
			     .command = COMMAND_INIT,
			     .signals = -1,
			     .look = -1,
			     .interval = -1,
			     .collect = -1,
			     .duration = -1 };
	__u64 began = clock_ns(CLOCK_MONOTONIC);
	int status = EXIT_FAILURE, err;

	s.consumer = (struct consumer){ on_record, on_histogram, &s };
	if (!open_all(&s))
		status = trace(&s, began);
	if (s.out.f) {
		const char *name = q->out_path ? q->out_path : "standard output";

		err = out_close(&s.out);
		if (err && err != -EPIPE && !s.failure) {
			log_error("writing to %s failed: %s", name, strerror(-err));
			s.failure = err;
		}
	}
	close_all(&s);
	if (s.failure && s.failure != -EPIPE)
		return EXIT_FAILURE;
	return status;
}
