/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the kernel programs share: the maps filled by hand, as bpf/shared/abi.h says. Include after cmocka. */
#ifndef KEELSON_PROXY_ENGINE_EBPF_TESTKIT_H
#define KEELSON_PROXY_ENGINE_EBPF_TESTKIT_H

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "bpf/proxy.skel.h"
#include "bpf/shared/abi.h"

static struct proxy_bpf *skel;

/* An address of either family as the maps have it. */
_unused_ static void kit_addr(uint32_t out[4], const char *ip)
{
	out[0] = out[1] = 0;
	out[2] = htonl(0xffff);
	if (strchr(ip, ':'))
		assert_int_equal(inet_pton(AF_INET6, ip, out), 1);
	else
		assert_int_equal(inet_pton(AF_INET, ip, &out[3]), 1);
}

_unused_ static void kit_put(struct bpf_map *m, const void *key, const void *value)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(m), key, value, BPF_ANY), 0);
}

_unused_ static void kit_flush(struct bpf_map *m)
{
	_cleanup_free_ char *key = mem_zalloc(bpf_map__key_size(m));
	while (bpf_map_get_next_key(bpf_map__fd(m), NULL, key) == 0)
		bpf_map_delete_elem(bpf_map__fd(m), key);
}

_unused_ static void kit_backend(uint32_t id, const char *ip, uint16_t port, uint8_t proto, uint32_t set_id, uint32_t generation,
				 uint8_t flags)
{
	struct abi_backend b = { .port = htons(port), .proto = proto, .flags = flags, .set_id = set_id,
				 .generation = generation };
	kit_addr(b.addr, ip);
	kit_put(skel->maps.backends, &id, &b);
}

/* The set gets these slots, from index base on. */
_unused_ static void kit_set(uint32_t set_id, uint32_t base, uint32_t count, const uint64_t *words, uint8_t flags)
{
	uint64_t word = ABI_SET_WORD(base, count, flags);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = base + i;
		kit_put(skel->maps.slots, &at, &words[i]);
	}
	kit_put(skel->maps.sets, &set_id, &word);
}

struct kit_frontend {
	const char *ip; /* NULL: a NodePort of IPv4; "::": of IPv6 */
	uint16_t port;
	uint8_t proto, flags;
	uint32_t set_id, outside_set_id, affinity_s;
};
_unused_ static void kit_frontend(struct kit_frontend f)
{
	struct abi_frontend_key k = { .port = htons(f.port), .proto = f.proto };
	kit_addr(k.addr, f.ip ? f.ip : "0.0.0.0");
	if (!f.ip || strcmp(f.ip, "::") == 0)
		k.scope = ABI_SCOPE_NODE_PORT;
	else if (!f.port)
		k.scope = ABI_SCOPE_OWNED;
	struct abi_frontend v = { .set_id = f.set_id, .outside_set_id = f.outside_set_id, .affinity_s = f.affinity_s,
				  .check_addr = k.addr[3], .check_port = k.port, .check_proto = k.proto, .flags = f.flags };
	kit_put(skel->maps.frontends, &k, &v);
}

_unused_ static void kit_range(uint32_t set_id, const char *ip, uint32_t bits)
{
	struct abi_range_key k = { .prefixlen = 32 + bits + (strchr(ip, ':') ? 0 : 96), .set_id = set_id };
	uint32_t one = 1;
	kit_addr(k.addr, ip);
	kit_put(skel->maps.ranges, &k, &one);
}

_unused_ static void kit_node_addr(const char *ip)
{
	struct abi_node_addr_key k;
	uint32_t one = 1;
	kit_addr(k.addr, ip);
	kit_put(skel->maps.node_addrs, &k, &one);
}

/* A range of the configuration. */
_unused_ static void kit_net(uint32_t net[4], uint32_t mask[4], const char *ip, unsigned bits)
{
	uint8_t m[16] = { 0 };
	bits += strchr(ip, ':') ? 0 : 96;
	for (unsigned i = 0; i < bits; i++)
		m[i / 8] |= (uint8_t)(0x80 >> i % 8);
	memcpy(mask, m, sizeof(m));
	kit_addr(net, ip);
}

_unused_ static uint64_t kit_counter(uint32_t reason)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *v = mem_new_n(uint64_t, (size_t)cpus);
	uint64_t sum = 0;
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.counters), &reason, v), 0);
	for (int i = 0; i < cpus; i++)
		sum += v[i];
	return sum;
}

_unused_ static uint32_t kit_load_of(uint32_t backend_id)
{
	uint32_t v = 0;
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.loads), &backend_id, &v), 0);
	return v;
}

/* Puts the filter in and switches tracing on; deadline in seconds from now. */
_unused_ static void kit_trace(struct abi_config *c, const struct abi_trace_filter *filter, int64_t deadline_s)
{
	struct abi_trace_filter f = *filter;
	struct timespec t;
	uint32_t zero = 0;
	clock_gettime(CLOCK_MONOTONIC, &t);
	f.deadline_ns = (uint64_t)(t.tv_sec + deadline_s) * 1000000000u;
	kit_put(skel->maps.trace_filter, &zero, &f);
	c->trace = 1;
	kit_put(skel->maps.config, &zero, c);
}

_unused_ static int kit_quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, fmt, ap) : 0;
}

#endif
