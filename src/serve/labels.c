// SPDX-License-Identifier: GPL-2.0-or-later
#include "serve/labels.h"

#include <stdio.h>
#include <string.h>

#include "cli/parse.h"
#include "record/text.h"
#include "serve/identity.h"

/* Longest value, before each byte may become five. A path of a group may be longer: it is cut. */
#define VALUE_MAX 512

struct labels {
	char *at, *end;
};

/* A whole character or escape at a time; what does not fit is left out. */
static void put(struct labels *l, const char *text, size_t n)
{
	if ((size_t)(l->end - l->at) <= n)
		return;
	memcpy(l->at, text, n);
	l->at += n;
	*l->at = 0;
}

static void put_escaped(struct labels *l, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			put(l, (char[]){ '\\', *s }, 2);
		else
			put(l, s, 1);
	}
}

static void add_text(struct labels *l, const char *name, const char *value)
{
	if (!*value)
		return;
	if (l->at[-1])
		put(l, ",", 1);
	put(l, name, strlen(name));
	put(l, "=\"", 2);
	put_escaped(l, value);
	put(l, "\"", 1);
}

/* Untrusted bytes. */
static void add_bytes(struct labels *l, const char *name, const char *value, size_t len)
{
	char text[4 * VALUE_MAX + 1];
	size_t n = len < VALUE_MAX ? len : VALUE_MAX;

	/* At a whole character, if it is one. */
	for (int i = 0; i < 3 && n < len && ((unsigned char)value[n] & 0xc0) == 0x80; i++)
		n--;
	text_label(text, sizeof(text), value, n);
	add_text(l, name, text);
}

/* 0: there is none. */
static void add_number(struct labels *l, const char *name, __u64 value)
{
	char text[TEXT_U64_LEN];

	if (!value)
		return;
	text_u64(text, value);
	add_text(l, name, text);
}

static void add_addr(struct labels *l, const char *name, const __u8 addr[16],
		     const struct subnet *net)
{
	char text[TEXT_ADDR_LEN + 4];
	size_t n = text_addr(text, addr_ip(addr), addr);

	if (net->is_net)
		snprintf(text + n, sizeof(text) - n, "/%u", net->bits);
	add_text(l, name, text);
}

static void add_group(struct labels *l, __u32 names, const char *group)
{
	struct identity id;

	identity_of(&id, group);
	if (names & KEY_GROUP_PATH)
		add_bytes(l, "cgroup", group, strlen(group));
	if (names & KEY_GROUP_UNIT)
		add_bytes(l, "unit", id.unit, strlen(id.unit));
	if (names & KEY_GROUP_CONTAINER)
		add_bytes(l, "container_id", id.container, strlen(id.container));
	if (names & KEY_GROUP_POD)
		add_bytes(l, "pod_uid", id.pod, strlen(id.pod));
}

/* A NUL before the first label tells that there is none yet. */
static struct labels begin(char dst[LABELS_MAX])
{
	dst[0] = dst[1] = 0;
	return (struct labels){ dst + 1, dst + LABELS_MAX };
}

static void finish(char dst[LABELS_MAX], const struct labels *l)
{
	memmove(dst, dst + 1, (size_t)(l->at - dst));
}

static void add_kind(struct labels *l, const struct tcplat_hist_key *key)
{
	if (key->kind == TCPLAT_KIND_CONNECT)
		add_text(l, "outcome", outcome_name(key->outcome));
	if (key->part != TCPLAT_PART_TOTAL)
		add_text(l, "part", part_name(key->part));
}

void labels_of(char dst[LABELS_MAX], const struct histogram *h, __u32 names, const char *group)
{
	const struct tcplat_hist_key *key = &h->key;
	struct labels l = begin(dst);

	add_kind(&l, key);
	if (h->by & TCPLAT_KEY_LADDR)
		add_addr(&l, key_name(TCPLAT_KEY_LADDR), key->laddr, &h->laddr_net);
	if (h->by & TCPLAT_KEY_RADDR)
		add_addr(&l, key_name(TCPLAT_KEY_RADDR), key->raddr, &h->raddr_net);
	add_number(&l, key_name(TCPLAT_KEY_LPORT), key->lport);
	add_number(&l, key_name(TCPLAT_KEY_RPORT), key->rport);
	add_number(&l, key_name(TCPLAT_KEY_PID), key->pid);
	add_bytes(&l, key_name(TCPLAT_KEY_COMM), key->comm, strnlen(key->comm, TCPLAT_COMM_LEN));
	if (h->by & TCPLAT_KEY_CGROUP && key->cgroup_id)
		add_group(&l, names, group);
	add_number(&l, key_name(TCPLAT_KEY_NETNS), key->netns);
	finish(dst, &l);
}

void labels_of_others(char dst[LABELS_MAX], const struct tcplat_hist_key *key)
{
	struct labels l = begin(dst);

	add_kind(&l, key);
	add_text(&l, "other", "true");
	finish(dst, &l);
}
