// SPDX-License-Identifier: GPL-2.0-or-later
/* The Accept header: which of the two formats. */
#include "support.h"

#include <string.h>

#include "core/cleanup.h"
#include "serve/http_accept.h"

#define OM "application/openmetrics-text"
/* What Prometheus 2.42 and 3.0 send. */
#define PROMETHEUS_2                                                                    \
	OM ";version=1.0.0," OM ";version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5," \
	   "*/*;q=0.1"
#define PROMETHEUS_3                                                                       \
	OM ";version=1.0.0;escaping=allow-utf-8;q=0.5," OM ";version=0.0.1;q=0.4,"         \
	   "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;" \
	   "q=0.2,*/*;q=0.1"
#define PROTOBUF                                                                   \
	"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;" \
	"encoding=delimited;q=0.6,"

static void test_header(void **state)
{
	static const struct {
		const char *header;
		enum http_format format;
	} cases[] = {
		{ "", FORMAT_TEXT },
		{ "*/*", FORMAT_TEXT },
		{ "text/plain", FORMAT_TEXT },
		{ "application/json", FORMAT_TEXT },
		{ OM, FORMAT_OPENMETRICS },
		{ "Application/OpenMetrics-TEXT", FORMAT_OPENMETRICS },
		{ "  " OM "  ;  q=1  ", FORMAT_OPENMETRICS },
		{ OM "x", FORMAT_TEXT },
		{ "x" OM, FORMAT_TEXT },
		{ "application/*", FORMAT_OPENMETRICS },
		{ "text/*", FORMAT_TEXT },
		{ PROMETHEUS_2, FORMAT_OPENMETRICS },
		{ PROMETHEUS_3, FORMAT_OPENMETRICS },
		{ PROTOBUF PROMETHEUS_3, FORMAT_OPENMETRICS },
		{ "text/plain;version=0.0.4;q=1,*/*;q=0.1", FORMAT_TEXT },
		/* as much of both: by name only */
		{ OM ",text/plain", FORMAT_OPENMETRICS },
		{ "text/plain," OM, FORMAT_OPENMETRICS },
		{ OM ";q=0.5,*/*;q=0.5", FORMAT_OPENMETRICS },
		{ "application/*,text/*", FORMAT_TEXT },
		{ "application/*,text/plain", FORMAT_TEXT },
		/* more of one */
		{ OM ";q=0.3,text/plain;q=0.4", FORMAT_TEXT },
		{ OM ";q=0.4,text/plain;q=0.3", FORMAT_OPENMETRICS },
		{ OM ";q=0.300,text/plain;q=0.301", FORMAT_TEXT },
		{ OM ";q=0.3,*/*;q=0.4", FORMAT_TEXT },
		{ OM ";q=0.3,text/*;q=0.2,*/*;q=0.4", FORMAT_OPENMETRICS },
		{ OM ";q=0.3,text/plain;q=0.2,text/*;q=0.9", FORMAT_OPENMETRICS },
		/* no */
		{ OM ";q=0", FORMAT_TEXT },
		{ OM ";q=0.000,text/plain;q=0.001", FORMAT_TEXT },
		{ OM ";q=0,*/*", FORMAT_TEXT },
		{ OM ";q=0,application/*;q=0.9,text/plain;q=0.1", FORMAT_TEXT },
		{ "text/plain;q=0,*/*;q=0.1", FORMAT_OPENMETRICS },
		{ "*/*;q=0", FORMAT_TEXT },
		/* versions */
		{ OM ";version=1.0.0", FORMAT_OPENMETRICS },
		{ OM ";version=0.0.1", FORMAT_OPENMETRICS },
		{ OM ";version=\"1.0.0\"", FORMAT_OPENMETRICS },
		{ OM ";VERSION=1.0.0", FORMAT_OPENMETRICS },
		{ OM ";version=1.0.1", FORMAT_TEXT },
		{ OM ";version=2.0.0,*/*;q=0.1", FORMAT_TEXT },
		{ OM ";version=", FORMAT_TEXT },
		{ OM ";version=1.0.0;q=0.5," OM ";version=0.0.1;q=0.2,text/plain;q=0.4",
		  FORMAT_OPENMETRICS },
		{ OM ";version=0.0.1;q=0.2," OM ";version=1.0.0;q=0.5,text/plain;q=0.4",
		  FORMAT_OPENMETRICS },
		{ "text/plain;version=1.0.0;q=0.9," OM ";q=0.5", FORMAT_OPENMETRICS },
		/* of other parameters nothing depends */
		{ OM ";charset=utf-8;escaping=underscores;q=0.5", FORMAT_OPENMETRICS },
		{ OM ";x=\"a,b;q=0\"", FORMAT_OPENMETRICS },
		{ OM ";x=\"\\\",text/plain", FORMAT_OPENMETRICS },
		{ OM ";x;;q=1;", FORMAT_OPENMETRICS },
		/* what is no q says nothing at all */
		{ OM ";q=", FORMAT_TEXT },
		{ OM ";q=2", FORMAT_TEXT },
		{ OM ";q=1.001", FORMAT_TEXT },
		{ OM ";q=1.000", FORMAT_OPENMETRICS },
		{ OM ";q=1.", FORMAT_OPENMETRICS },
		{ OM ";q=-1", FORMAT_TEXT },
		{ OM ";q=.5", FORMAT_TEXT },
		{ OM ";q=0.1234", FORMAT_TEXT },
		{ OM ";q=0x1", FORMAT_TEXT },
		{ OM ";q=0.5x", FORMAT_TEXT },
		{ OM ";q=inf,text/plain;q=0.1", FORMAT_TEXT },
		/* nothing to be found in it */
		{ ",", FORMAT_TEXT },
		{ ",,;;==\"", FORMAT_TEXT },
		{ ", ," OM ",", FORMAT_OPENMETRICS },
		{ "\"" OM, FORMAT_TEXT },
		{ "\\", FORMAT_TEXT },
		{ "=;=,q=1", FORMAT_TEXT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct http_accept a = {};

		http_accept_add(&a, cases[i].header);
		if (http_accept_format(&a) != cases[i].format)
			fail_msg("\"%s\": not %d", cases[i].header, cases[i].format);
	}
}

static void test_several_headers(void **state)
{
	struct http_accept a = {};

	(void)state;
	assert_int_equal(http_accept_format(&a), FORMAT_TEXT);
	http_accept_add(&a, OM ";q=0.5");
	assert_int_equal(http_accept_format(&a), FORMAT_OPENMETRICS);
	http_accept_add(&a, "text/plain;q=0.6");
	assert_int_equal(http_accept_format(&a), FORMAT_TEXT);
	http_accept_add(&a, OM ";version=1.0.0;q=0.7");
	assert_int_equal(http_accept_format(&a), FORMAT_OPENMETRICS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_several_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
