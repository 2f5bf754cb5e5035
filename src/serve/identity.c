// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/identity.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "core/cleanup.h"

#define CONTAINER_LEN 64
#define POD_LEN 36	  /* a UUID */
#define STATIC_POD_LEN 32 /* the kubelet's hash of a file */

/* A component of the path, or a part of one. */
struct word {
	const char *s;
	size_t n;
};

static bool is(struct word w, const char *text)
{
	return w.n == strlen(text) && !memcmp(w.s, text, w.n);
}

static bool cut_end(struct word *w, const char *end)
{
	size_t len = strlen(end);

	if (w->n <= len || memcmp(w->s + w->n - len, end, len))
		return false;
	w->n -= len;
	return true;
}

/* Not isxdigit(): what writes these ids writes small letters, in any locale. */
static bool all_of(struct word w, const char *set)
{
	for (size_t i = 0; i < w.n; i++) {
		if (!w.s[i] || !strchr(set, w.s[i]))
			return false;
	}
	return w.n > 0;
}

#define DIGITS "0123456789"
#define HEX DIGITS "abcdef"

/* "" where it does not fit. */
static void put(char *to, size_t size, struct word w)
{
	if (w.n >= size)
		w.n = 0;
	if (w.n)
		memcpy(to, w.s, w.n);
	to[w.n] = 0;
}

/* A UUID, whose parts the systemd driver joins with underscores; or a static pod's hash. */
static bool is_pod_id(struct word w, char dash)
{
	if (w.n == STATIC_POD_LEN)
		return all_of(w, HEX);
	if (w.n != POD_LEN)
		return false;
	for (size_t i = 0; i < w.n; i++) {
		bool between = i == 8 || i == 13 || i == 18 || i == 23;

		if (between ? w.s[i] != dash : !all_of((struct word){ w.s + i, 1 }, HEX))
			return false;
	}
	return true;
}

/*
 * pod<uid> of the cgroupfs driver, …-pod<uid>.slice of the systemd driver, and what
 * becomes of the latter where containerd uses the other driver than the kubelet:
 * …-pod<uid>.slice:cri-containerd:<id>.
 */
static bool find_pod(struct identity *id, struct word w)
{
	static const size_t lengths[] = { POD_LEN, STATIC_POD_LEN };
	const char *colon = memchr(w.s, ':', w.n);
	bool slice;

	if (colon)
		w.n = colon - w.s;
	slice = cut_end(&w, ".slice");
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		size_t len = lengths[i], before;
		struct word uid;

		if (w.n < 3 + len)
			continue;
		before = w.n - len - 3;
		uid = (struct word){ w.s + before + 3, len };
		if (memcmp(w.s + before, "pod", 3) || !is_pod_id(uid, slice ? '_' : '-'))
			continue;
		if (before && (!slice || w.s[before - 1] != '-'))
			continue;
		put(id->pod, sizeof(id->pod), uid);
		for (char *c = strchr(id->pod, '_'); c; c = strchr(c, '_'))
			*c = '-';
		return true;
	}
	return false;
}

/* <task>-<number>, in Fargate, whose containers are no Docker's. */
static bool is_ecs(struct word w)
{
	const size_t task = 32;

	return w.n > task + 1 && w.s[task] == '-' && all_of((struct word){ w.s, task }, HEX) &&
	       all_of((struct word){ w.s + task + 1, w.n - task - 1 }, DIGITS);
}

/*
 * <id>, <runtime>-<id>, each also with .scope, and …:<runtime>:<id>. Any runtime, for 64
 * hex digits are hardly anything else; but not the monitor that CRI-O and Podman start
 * beside each container, in a group of its own that is named after that.
 */
static bool find_container(struct identity *id, struct word w, bool ecs)
{
	struct word hash, before;

	if (ecs && is_ecs(w)) {
		put(id->container, sizeof(id->container), w);
		return true;
	}
	cut_end(&w, ".scope");
	if (w.n < CONTAINER_LEN)
		return false;
	hash = (struct word){ w.s + w.n - CONTAINER_LEN, CONTAINER_LEN };
	before = (struct word){ w.s, w.n - CONTAINER_LEN };
	if (!all_of(hash, HEX))
		return false;
	if (before.n && !strchr("-:", before.s[before.n - 1]))
		return false;
	if (memmem(before.s, before.n, "conmon", 6))
		return false;
	put(id->container, sizeof(id->container), hash);
	return true;
}

enum unit_kind { UNIT_NONE, UNIT_SLICE, UNIT_RUNS };

static enum unit_kind unit_kind(struct word w)
{
	static const char *const runs[] = { ".service", ".scope", ".socket", ".mount", ".swap" };

	/* Of others' groups, any name may end like a unit's. */
	if (!all_of(w, HEX "ghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-_.\\@"))
		return UNIT_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
		if (cut_end(&w, runs[i]))
			return UNIT_RUNS;
	}
	return cut_end(&w, ".slice") ? UNIT_SLICE : UNIT_NONE;
}

struct units {
	struct word runs, slice;
};

static void find_unit(struct units *units, struct word w)
{
	/* systemd puts this before a name that could be a file of the group above. */
	if (w.n && *w.s == '_') {
		w.s++;
		w.n--;
	}
	switch (unit_kind(w)) {
	case UNIT_RUNS:
		if (!units->runs.n || !is(w, "init.scope"))
			units->runs = w;
		break;
	case UNIT_SLICE:
		units->slice = w;
		break;
	case UNIT_NONE:
		break;
	}
}

void identity_of(struct identity *id, const char *path)
{
	struct units units = {};
	bool ecs = false;

	*id = (struct identity){};
	for (const char *next = path; *next; next += *next == '/') {
		struct word w = { next, strcspn(next, "/") };

		next += w.n;
		/* A pod in a container (a node of kind's, say) is not that container's. */
		if (find_pod(id, w))
			id->container[0] = 0;
		if (!find_container(id, w, ecs))
			find_unit(&units, w);
		ecs = ecs || is(w, "ecs");
	}
	if (!units.runs.n && !id->container[0] && !id->pod[0])
		units.runs = units.slice;
	put(id->unit, sizeof(id->unit), units.runs);
}
