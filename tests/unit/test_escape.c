// SPDX-License-Identifier: GPL-2.0-or-later
/* Names that mean harm, on their way to a terminal and to JSON. */
#include "support.h"

#include <string.h>

#include "core/cleanup.h"
#include "record/text.h"

struct name {
	const char *raw;
	const char *terminal; /* text_escape() */
	const char *json;     /* text_utf8(); NULL: as raw */
};

static const struct name names[] = {
	{ "", "", NULL },
	{ "curl", "curl", NULL },
	{ " a~", " a~", NULL }, /* the ends of printable ASCII */
	{ "a\"b'c", "a\"b'c", NULL },
	{ "a\\b", "a\\\\b", NULL },
	{ "\\x1b", "\\\\x1b", NULL }, /* not to be taken for an escape */
	{ "\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m", NULL },
	{ "\x1b]0;title\a", "\\x1b]0;title\\x07", NULL },
	{ "a\nb\tc\rd", "a\\x0ab\\x09c\\x0dd", NULL },
	{ "\x01\x1f\x7f", "\\x01\\x1f\\x7f", NULL },
	{ "grün", "grün", NULL },
	{ "日本", "日本", NULL },
	{ "\xf0\x9f\x90\x9b", "\xf0\x9f\x90\x9b", NULL }, /* U+1F41B */
	/* C1 controls: U+009B is CSI to some terminals. */
	{ "\xc2\x80", "\\xc2\\x80", NULL },
	{ "\xc2\x9b"
	  "31m",
	  "\\xc2\\x9b31m", NULL },
	{ "\xc2\x9f", "\\xc2\\x9f", NULL },
	{ "\xc2\xa0", "\xc2\xa0", NULL },   /* NO-BREAK SPACE */
	{ "\xc2\xad", "\\xc2\\xad", NULL }, /* SOFT HYPHEN */
	/* Direction, zero width, line separators, fillers, tags. */
	{ "\xd8\x9c", "\\xd8\\x9c", NULL },
	{ "\xe2\x80\x8a", "\xe2\x80\x8a", NULL }, /* HAIR SPACE, just before */
	{ "\xe2\x80\x8b", "\\xe2\\x80\\x8b", NULL },
	{ "\xe2\x80\x8f", "\\xe2\\x80\\x8f", NULL },
	{ "\xe2\x80\x90", "\xe2\x80\x90", NULL }, /* HYPHEN, just behind */
	{ "\xe2\x80\xa7", "\xe2\x80\xa7", NULL },
	{ "\xe2\x80\xa8", "\\xe2\\x80\\xa8", NULL },
	{ "\xe2\x80\xae"
	  "exe",
	  "\\xe2\\x80\\xaeexe", NULL }, /* RIGHT-TO-LEFT OVERRIDE */
	{ "\xe2\x80\xaf", "\xe2\x80\xaf", NULL },
	{ "\xe2\x81\xa0", "\\xe2\\x81\\xa0", NULL },
	{ "\xe2\x81\xa6", "\\xe2\\x81\\xa6", NULL }, /* LEFT-TO-RIGHT ISOLATE */
	{ "\xe2\x81\xaf", "\\xe2\\x81\\xaf", NULL },
	{ "\xe2\x81\xb0", "\xe2\x81\xb0", NULL },
	{ "\xe3\x85\xa4", "\\xe3\\x85\\xa4", NULL }, /* HANGUL FILLER */
	{ "\xef\xb8\x8f", "\\xef\\xb8\\x8f", NULL }, /* VARIATION SELECTOR-16 */
	{ "\xef\xbb\xbf", "\\xef\\xbb\\xbf", NULL }, /* byte order mark */
	{ "\xef\xbf\xb9", "\\xef\\xbf\\xb9", NULL },
	{ "\xef\xbf\xbd", "\xef\xbf\xbd", NULL },	      /* REPLACEMENT CHARACTER */
	{ "\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81", NULL }, /* TAG LATIN CAPITAL LETTER A */
	/* Not UTF-8: each byte for itself, and the text goes on behind it. */
	{ "a\xff"
	  "b",
	  "a\\xffb", "a\\xffb" },
	{ "\\x41\xff", "\\\\x41\\xff", "\\x41\\xff" },
	{ "\x80", "\\x80", "\\x80" },
	{ "\xbf"
	  "a",
	  "\\xbfa", "\\xbfa" },
	{ "\xc3", "\\xc3", "\\xc3" },
	{ "\xc3(", "\\xc3(", "\\xc3(" },
	{ "\xe2\x82", "\\xe2\\x82", "\\xe2\\x82" },
	{ "\xe2(\xa1", "\\xe2(\\xa1", "\\xe2(\\xa1" },
	{ "\xf0\x9f\x90", "\\xf0\\x9f\\x90", "\\xf0\\x9f\\x90" },
	{ "\xc0\xaf", "\\xc0\\xaf", "\\xc0\\xaf" }, /* overlong slash */
	{ "\xc1\xbf", "\\xc1\\xbf", "\\xc1\\xbf" },
	{ "\xe0\x80\xaf", "\\xe0\\x80\\xaf", "\\xe0\\x80\\xaf" },
	{ "\xe0\x9f\xbf", "\\xe0\\x9f\\xbf", "\\xe0\\x9f\\xbf" },
	{ "\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf", "\\xf0\\x8f\\xbf\\xbf" },
	{ "\xed\xa0\x80", "\\xed\\xa0\\x80", "\\xed\\xa0\\x80" }, /* surrogates */
	{ "\xed\xbf\xbf", "\\xed\\xbf\\xbf", "\\xed\\xbf\\xbf" },
	{ "\xed\x9f\xbf", "\xed\x9f\xbf", NULL }, /* U+D7FF, just before them */
	{ "\xf4\x8f\xbf\xbd", "\xf4\x8f\xbf\xbd", NULL },
	{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\xf4\\x90\\x80\\x80" }, /* > U+10FFFF */
	{ "\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80", "\\xf5\\x80\\x80\\x80" },
	{ "\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80", "\\xf8\\x88\\x80\\x80\\x80" },
	{ "\xfe\xff", "\\xfe\\xff", "\\xfe\\xff" },
	{ "\xe2\xc3\xbc", "\\xe2ü", "\\xe2ü" }, /* resumes at the next character */
};

static void test_escape(void **state)
{
	char dst[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		memset(dst, 'x', sizeof(dst));
		text_escape(dst, sizeof(dst), names[i].raw, strlen(names[i].raw));
		assert_string_equal(dst, names[i].terminal);
	}
}

static void test_utf8(void **state)
{
	char dst[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		memset(dst, 'x', sizeof(dst));
		text_utf8(dst, sizeof(dst), names[i].raw, strlen(names[i].raw));
		assert_string_equal(dst, names[i].json ? names[i].json : names[i].raw);
	}
}

static void test_back_from_utf8(void **state)
{
	char json[256], back[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		text_utf8(json, sizeof(json), names[i].raw, strlen(names[i].raw));
		text_from_utf8(back, sizeof(back), json);
		assert_string_equal(back, names[i].raw);
	}
}

static void test_back_where_it_cannot_be_told(void **state)
{
	static const struct {
		const char *json, *back;
	} cases[] = {
		/* These bytes would have been written as they are. */
		{ "\\xc3\\xbc", "\\xc3\\xbc" },
		{ "\\x41", "\\x41" },
		{ "\\x1b", "\\x1b" },
		/* Not of our making. */
		{ "\\xFF", "\\xFF" },
		{ "\\xf", "\\xf" },
		{ "\\x", "\\x" },
		{ "\\", "\\" },
		{ "\\xfg", "\\xfg" },
		{ "\\\\xff", "\\\xff" },
	};
	char back[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		text_from_utf8(back, sizeof(back), cases[i].json);
		assert_string_equal(back, cases[i].back);
	}
}

static void test_back_into_little_room(void **state)
{
	char back[TEXT_RAW_MAX + 2], long_name[100];

	(void)state;
	text_from_utf8(back, 16, "fourteen-bytes\\xff");
	assert_string_equal(back, "fourteen-bytes\xff");
	/* Too long to be one of ours: cut, at a character. */
	text_from_utf8(back, 16, "fifteen-bytes-x\\xff");
	assert_string_equal(back, "fifteen-bytes-x");
	text_from_utf8(back, 16, "fourteen-bytesü");
	assert_string_equal(back, "fourteen-bytes");
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	text_from_utf8(back, sizeof(back), long_name);
	assert_int_equal(strlen(back), sizeof(back) - 1);
	text_from_utf8(back, 1, "a");
	assert_string_equal(back, "");
}

/* The length says how much there is: a NUL inside is a byte like others. */
static void test_nul_and_length(void **state)
{
	char dst[32];

	(void)state;
	text_escape(dst, sizeof(dst), "a\0b", 3);
	assert_string_equal(dst, "a\\x00b");
	text_escape(dst, sizeof(dst), "abc", 2);
	assert_string_equal(dst, "ab");
	/* Cut within a character by its source: what is left is no character. */
	text_escape(dst, sizeof(dst), "ü", 1);
	assert_string_equal(dst, "\\xc3");
}

/* Every room from nothing to plenty: whole characters, whole escapes, NUL. */
static void test_little_room(void **state)
{
	static const char raw[] = "a\xff\xc3\xbc\x1b\\";
	static const char *const fits[] = {
		NULL,
		"",
		"a",
		"a",
		"a",
		"a",
		"a\\xff",
		"a\\xff",
		"a\\xffü",
		"a\\xffü",
		"a\\xffü",
		"a\\xffü",
		"a\\xffü\\x1b",
		"a\\xffü\\x1b",
		"a\\xffü\\x1b\\\\",
		"a\\xffü\\x1b\\\\",
	};
	char dst[32];

	(void)state;
	for (size_t size = 0; size < ARRAY_SIZE(fits); size++) {
		memset(dst, '#', sizeof(dst));
		text_escape(dst, size, raw, strlen(raw));
		if (fits[size])
			assert_string_equal(dst, fits[size]);
		for (size_t i = size; i < sizeof(dst); i++)
			assert_int_equal(dst[i], '#');
	}
}

static void test_width(void **state)
{
	(void)state;
	assert_int_equal(text_width(""), 0);
	assert_int_equal(text_width("curl"), 4);
	assert_int_equal(text_width("grün"), 4);
	assert_int_equal(text_width("日本"), 2);
	assert_int_equal(text_width("\xf0\x9f\x90\x9b!"), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_back_from_utf8),
		cmocka_unit_test(test_back_where_it_cannot_be_told),
		cmocka_unit_test(test_back_into_little_room),
		cmocka_unit_test(test_nul_and_length),
		cmocka_unit_test(test_little_room),
		cmocka_unit_test(test_width),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
