// SPDX-License-Identifier: GPL-2.0-or-later
/* Single values as JSON. */
#include <errno.h>
#include <math.h>

#include "record/column.h"
#include "record/text.h"

json_t *json_name(const char *s, size_t len)
{
	char safe[COLUMN_TEXT_LEN];

	text_utf8(safe, sizeof(safe), s, len);
	return json_string(safe);
}

json_t *json_us(__u64 ns)
{
	return json_real((double)ns / 1000);
}

int json_to_ns(const json_t *v, __u64 *ns)
{
	double us = json_number_value(v);

	/* Any 64-bit number of ns, which is rounded when it is large: a sum may be. */
	if (!json_is_number(v) || !(us >= 0) || us > 1.85e16)
		return -EINVAL;
	*ns = us * 1000 < 0x1p64 ? (__u64)round(us * 1000) : ~0ULL;
	return 0;
}

int json_to_uint(const json_t *v, __u64 max, __u64 *out)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 || (__u64)json_integer_value(v) > max)
		return -EINVAL;
	*out = (__u64)json_integer_value(v);
	return 0;
}
