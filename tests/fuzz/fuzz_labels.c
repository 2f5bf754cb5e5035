// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names on their way into labels. The input is the path of a group, the first sixteen
 * bytes of it also the name of a program.
 */
#include "fuzz.h"

#include <string.h>

#include "serve/identity.h"
#include "serve/labels.h"

/* name="value" with what the exposition format escapes escaped; returns what follows. */
static const char *check_label(const char *s)
{
	size_t name = strspn(s, "abcdefghijklmnopqrstuvwxyz_");

	CHECK(name && s[name] == '=' && s[name + 1] == '"');
	for (s += name + 2; *s != '"'; s++) {
		CHECK((unsigned char)*s >= 0x20 && *s != 0x7f);
		if (*s == '\\') {
			s++;
			CHECK(*s == '\\' || *s == '"');
		}
	}
	return s + 1;
}

static void check_identity(const char *path)
{
	struct identity id;

	identity_of(&id, path);
	CHECK(memchr(id.unit, 0, sizeof(id.unit)));
	CHECK(memchr(id.container, 0, sizeof(id.container)));
	CHECK(memchr(id.pod, 0, sizeof(id.pod)));
	/* Of what is there, and of one component. */
	CHECK(strstr(path, id.unit) && !strchr(id.unit, '/'));
	CHECK(strstr(path, id.container) && !strchr(id.container, '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct histogram h = { .key = { .kind = TCPLAT_KIND_CONNECT, .cgroup_id = 1 }, .by = ~0U };
	char *path = malloc(size + 1), labels[LABELS_MAX];
	const char *at = labels;

	CHECK(path);
	memcpy(path, data, size);
	path[size] = 0;
	memcpy(h.key.comm, path, strnlen(path, TCPLAT_COMM_LEN));
	check_identity(path);
	labels_of(labels, &h, ~0U, path);
	CHECK(valid_utf8(labels));
	for (at = check_label(at); *at; at = check_label(at + 1))
		CHECK(*at == ',');
	free(path);
	return 0;
}
