// SPDX-License-Identifier: GPL-2.0-or-later
/* Untrusted names on their way out. The first byte is the room that they get. */
#include "fuzz.h"

#include <string.h>

#include "record/text.h"

static int hex(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* What an escaped text says, byte for byte. */
static size_t unescape(char *dst, const char *s)
{
	size_t n = 0;

	while (*s) {
		if (*s != '\\') {
			dst[n++] = *s++;
		} else if (s[1] == '\\') {
			dst[n++] = '\\';
			s += 2;
		} else {
			CHECK(s[1] == 'x' && strspn(s + 2, "0123456789abcdef") >= 2);
			dst[n++] = (char)(hex(s[2]) << 4 | hex(s[3]));
			s += 4;
		}
	}
	return n;
}

typedef void clean_fn(char *dst, size_t size, const char *src, size_t len);

/* In little room: the beginning of the whole, within bounds. */
static void check_cut(clean_fn *fn, const char *whole, size_t room, const char *src, size_t len)
{
	char *dst = malloc(room + 1);

	CHECK(dst);
	memset(dst, '#', room + 1);
	fn(dst, room, src, len);
	CHECK(dst[room] == '#');
	if (room) {
		CHECK(memchr(dst, 0, room));
		CHECK(!strncmp(dst, whole, strlen(dst)));
		CHECK(valid_utf8(dst));
		/* No more is cut than one character or escape needs. */
		CHECK(!strcmp(dst, whole) || strlen(dst) + 16 >= room);
	}
	free(dst);
}

static void check_back(const char *json, const char *src, size_t len)
{
	char back[TEXT_RAW_MAX + 1], again[4 * TEXT_RAW_MAX + 1];

	if (len > TEXT_RAW_MAX || memchr(src, 0, len))
		return;
	text_from_utf8(back, sizeof(back), json);
	text_utf8(again, sizeof(again), back, strlen(back));
	/* What has both the bytes and their spelling cannot be told apart once it is too long. */
	if (strlen(json) <= TEXT_RAW_MAX || !memmem(src, len, "\\x", 2))
		CHECK(!strcmp(again, json));
	CHECK(valid_utf8(again));
	/* Any text at all, not only ours, into any room. */
	text_from_utf8(back, len % sizeof(back) + 1, json);
	CHECK(strlen(back) <= len % sizeof(back));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t room = size ? data[0] : 0, len = size ? size - 1 : 0;
	char *src = malloc(len + 1), *whole = malloc(4 * len + 1), *plain = malloc(4 * len + 1);

	CHECK(src && whole && plain);
	if (len)
		memcpy(src, data + 1, len);
	text_escape(whole, 4 * len + 1, src, len);
	CHECK(safe_for_terminal(whole, false));
	CHECK(text_width(whole) <= strlen(whole));
	CHECK(unescape(plain, whole) == len && (!len || !memcmp(plain, src, len)));
	check_cut(text_escape, whole, room, src, len);

	text_utf8(whole, 4 * len + 1, src, len);
	CHECK(valid_utf8(whole));
	if (!memchr(src, 0, len)) {
		src[len] = 0;
		CHECK(!valid_utf8(src) || !strcmp(src, whole));
		check_cut(text_utf8, whole, room, src, len);
		check_back(whole, src, len);
	}
	free(plain);
	free(whole);
	free(src);
	return 0;
}
