// SPDX-License-Identifier: GPL-2.0-or-later
/* Every parser on the same text. What one accepts is written canonically and parsed again. */
#include "fuzz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "cli/parse.h"
#include "record/text.h"

static void check_u64(const char *s)
{
	char again[32];
	__u64 v = 0, back = 0;
	int err = parse_u64(s, 5, 1000000, &v);

	CHECK(err == 0 || err == -EINVAL || err == -ERANGE);
	CHECK(err || (v >= 5 && v <= 1000000));
	err = parse_u64(s, 0, ~0ULL, &v);
	if (err)
		return;
	snprintf(again, sizeof(again), "%llu", v);
	CHECK(!parse_u64(again, 0, ~0ULL, &back) && back == v);
}

static void check_decimal(const char *s)
{
	char again[48];
	__u64 v = 0, back = 0, max = 86400000ULL * 1000000;
	int err = parse_decimal(s, 1000000, max, &v);

	CHECK(err == 0 || err == -EINVAL || err == -ERANGE);
	if (err)
		return;
	CHECK(v <= max);
	snprintf(again, sizeof(again), "%llu.%06llu", v / 1000000, v % 1000000);
	CHECK(!parse_decimal(again, 1000000, max, &back) && back == v);
}

static void check_duration(const char *s)
{
	char again[48];
	__u64 v = 0, bare = 0, back = 0;
	int err = parse_duration(s, false, &v);

	CHECK(err == 0 || err == -EINVAL || err == -ERANGE);
	/* Allowing a bare number changes nothing for one that has a unit. */
	if (!err)
		CHECK(!parse_duration(s, true, &bare) && bare == v);
	if (parse_duration(s, true, &v))
		return;
	CHECK(v > 0 && v <= PARSE_MAX_DURATION);
	snprintf(again, sizeof(again), "%lluns", v);
	CHECK(!parse_duration(again, false, &back) && back == v);
	snprintf(again, sizeof(again), "%llu.%09llu", v / 1000000000, v % 1000000000);
	CHECK(!parse_duration(again, true, &back) && back == v);
	CHECK(parse_duration(again, false, &back) == -EINVAL);
}

static void check_size(const char *s)
{
	char again[32];
	__u64 v = 0, back = 0;
	int err = parse_size(s, 4096, 1 << 30, &v);

	CHECK(err == 0 || err == -EINVAL || err == -ERANGE);
	if (err)
		return;
	CHECK(v >= 4096 && v <= 1 << 30);
	snprintf(again, sizeof(again), "%llu", v);
	CHECK(!parse_size(again, 4096, 1 << 30, &back) && back == v);
}

static bool has(const __u64 *bits, unsigned port)
{
	return bits[port / 64] >> (port % 64) & 1;
}

/* The ports of a set as a list; port 0 has no spelling. */
static void list_ports(const __u64 *bits, const char *prefix, char *dst, size_t size)
{
	size_t at = strlen(dst);

	for (unsigned p = 1, first; p < 65536; p++) {
		if (!has(bits, p))
			continue;
		for (first = p; p + 1 < 65536 && has(bits, p + 1); p++)
			;
		at += (size_t)snprintf(dst + at, size - at, "%s%s%u-%u", at ? "," : "", prefix,
				       first, p);
		CHECK(at < size);
	}
}

static void check_ports(const char *s)
{
	static struct portspec spec, back;
	static struct tcplat_portset set, set_back;
	static char again[32768 * 12];
	char bad[24] = "";
	int err;

	memset(&spec, 0, sizeof(spec));
	err = parse_ports(s, &spec, bad, sizeof(bad));
	CHECK(err == 0 || err == -EINVAL || err == -ERANGE);
	CHECK(strlen(bad) < sizeof(bad));
	CHECK(!has(spec.include, 0) && !has(spec.exclude, 0));
	if (err)
		return;
	again[0] = 0;
	list_ports(spec.include, "", again, sizeof(again));
	list_ports(spec.exclude, "!", again, sizeof(again));
	memset(&back, 0, sizeof(back));
	CHECK(!parse_ports(again, &back, bad, sizeof(bad)));
	CHECK(back.any_included == spec.any_included);
	CHECK(!memcmp(back.include, spec.include, sizeof(spec.include)));
	CHECK(!memcmp(back.exclude, spec.exclude, sizeof(spec.exclude)));
	if (portspec_finish(&spec, &set))
		return;
	CHECK(set.active);
	again[0] = 0;
	list_ports(set.bits, "", again, sizeof(again));
	memset(&back, 0, sizeof(back));
	CHECK(!parse_ports(again, &back, bad, sizeof(bad)));
	CHECK(!portspec_finish(&back, &set_back));
	/* Of exclusions alone an attempt without a port is no part; a list leaves it out. */
	CHECK(!has(set_back.bits, 0));
	set.bits[0] &= ~1ULL;
	CHECK(!memcmp(&set_back, &set, sizeof(set)));
}

static void check_net(const char *s)
{
	char addr[INET6_ADDRSTRLEN], again[INET6_ADDRSTRLEN + 8];
	struct tcplat_net net = {}, back = {};
	int err = parse_net(s, &net), bits;

	CHECK(err == 0 || err == -EINVAL || err == -ERANGE);
	if (err)
		return;
	CHECK(net.ip == 4 || net.ip == 6);
	CHECK((net.addr[0] & ~net.mask[0]) == 0 && (net.addr[1] & ~net.mask[1]) == 0);
	bits = __builtin_popcountll(net.mask[0]) + __builtin_popcountll(net.mask[1]);
	CHECK(net.ip == 6 || bits >= 96);
	if (net.ip == 4) {
		CHECK(inet_ntop(AF_INET, (char *)net.addr + 12, addr, sizeof(addr)));
		snprintf(again, sizeof(again), "%s/%d", addr, bits - 96);
	} else {
		CHECK(inet_ntop(AF_INET6, net.addr, addr, sizeof(addr)));
		snprintf(again, sizeof(again), "%s/%d", addr, bits);
	}
	/* Masking may leave an address that looks mapped; then it is not to be respelled. */
	if (net.ip == 6 && !strncmp(addr, "::ffff:", 7))
		return;
	CHECK(!parse_net(again, &back));
	CHECK(!memcmp(&back, &net, sizeof(net)));
}

static void put_key(char *text, size_t size, __u32 bit, const struct tcplat_prefix *p)
{
	size_t at = strlen(text);

	at += (size_t)snprintf(text + at, size - at, "%s%s", at ? "," : "", key_name(bit));
	if (p && p->cut)
		snprintf(text + at, size - at, "/%u/%u", p->bits[0], p->bits[1]);
}

static void check_prefix(const struct tcplat_prefix *p)
{
	CHECK(p->bits[0] <= 32 && p->bits[1] <= 128);
	CHECK(p->cut == (p->bits[0] < 32 || p->bits[1] < 128));
}

static void check_keys(const char *s)
{
	struct keyspec spec = {}, back = {};
	char bad[24] = "", again[192] = "";
	int err;

	prefix_set(&spec.laddr, 32, 128);
	prefix_set(&spec.raddr, 32, 128);
	back = spec;
	err = parse_keys(s, &spec, bad, sizeof(bad));
	CHECK(err == 0 || err == -EINVAL || err == -ERANGE);
	CHECK(strlen(bad) < sizeof(bad));
	CHECK(spec.mask < 2 * TCPLAT_KEY_OUTCOME);
	check_prefix(&spec.laddr);
	check_prefix(&spec.raddr);
	if (err)
		return;
	CHECK(spec.mask || spec.none);
	for (__u32 bit = 1; bit <= spec.mask; bit <<= 1)
		if (spec.mask & bit)
			put_key(again, sizeof(again), bit,
				bit == TCPLAT_KEY_LADDR ? &spec.laddr :
				bit == TCPLAT_KEY_RADDR ? &spec.raddr :
							  NULL);
	if (!spec.mask)
		return;
	CHECK(!parse_keys(again, &back, bad, sizeof(bad)));
	CHECK(back.mask == spec.mask);
	CHECK(!memcmp(&back.laddr, &spec.laddr, sizeof(spec.laddr)));
	CHECK(!memcmp(&back.raddr, &spec.raddr, sizeof(spec.raddr)));
}

static void check_time(const char *s)
{
	char again[TEXT_TIME_LEN];
	__u64 ns, back;

	if (!text_to_time(s, &ns))
		return;
	text_rfc3339(again, ns);
	CHECK(text_to_time(again, &back));
	CHECK(back == ns / 1000 * 1000);
}

static void check_names(const char *s)
{
	char buf[16], addr[TEXT_ADDR_LEN];
	__u8 bytes[16], back[16];
	int err = text_to_errno(s), ip, ip_back;

	CHECK(err >= 0 && err < 256);
	CHECK(!err || text_to_errno(text_errno(err, buf)) == err);
	if (!text_to_addr(s, &ip, bytes))
		return;
	text_addr(addr, ip, bytes);
	CHECK(text_to_addr(addr, &ip_back, back));
	CHECK(ip == ip_back && !memcmp(bytes, back, sizeof(back)));
}

static void check_words(const char *s)
{
	const char *at = s;
	size_t total = 0, words = 0;
	char word[4096];

	while (next_word(&at, word, sizeof(word))) {
		CHECK(!strchr(word, ','));
		total += strlen(word);
		words++;
	}
	CHECK(words >= 1);
	CHECK(strlen(s) >= sizeof(word) || total + words - 1 == strlen(s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s = malloc(size + 1);

	CHECK(s);
	if (size)
		memcpy(s, data, size);
	s[size] = 0;
	check_u64(s);
	check_decimal(s);
	check_duration(s);
	check_size(s);
	check_ports(s);
	check_net(s);
	check_keys(s);
	check_time(s);
	check_names(s);
	check_words(s);
	free(s);
	return 0;
}
