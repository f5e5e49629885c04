/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The socket hooks, the real bytecode, on real sockets: the test is a process in a cgroup and a network namespace of its
 * own, whose loopback has the addresses of pods of both families. Servers are sockets of the test itself. Needs root.
 */
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/engine/ebpf/stale.h"
#include "proxy/engine/ebpf/testkit.h"

enum { SET4 = 1, SET6, USET4, USET6, EMPTY, DROPPED, LEAST, HASHED, STICKY, RANGED, SETS_MAX };
enum { BACKENDS = 4, PORT = 8080 };
static const char *const pods[BACKENDS] = { "10.244.0.11", "10.244.0.12", "fd00:244::11", "fd00:244::12" };
static const char VIP4[] = "10.96.0.7", VIP6[] = "fd00:96::7", NODE4[] = "192.0.2.10", NODE6[] = "2001:db8::10";

static struct abi_config config;
static char cgroup[256], old_cgroup[256];
static int tcp[BACKENDS], udp[BACKENDS]; /* servers */

static socklen_t address(struct sockaddr_storage *ret, const char *ip, uint16_t port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	memset(ret, 0, sizeof(*ret));
	if (strchr(ip, ':')) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		assert_int_equal(inet_pton(AF_INET6, ip, &v6->sin6_addr), 1);
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	assert_int_equal(inet_pton(AF_INET, ip, &v4->sin_addr), 1);
	return sizeof(*v4);
}

static const char *text(const struct sockaddr_storage *a)
{
	static char out[80];
	char ip[INET6_ADDRSTRLEN];
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
	if (a->ss_family == AF_INET)
		snprintf(out, sizeof(out), "%s:%u", inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip)), ntohs(v4->sin_port));
	else
		snprintf(out, sizeof(out), "[%s]:%u", inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip)), ntohs(v6->sin6_port));
	return out;
}

static int socket_for(const char *ip, int type)
{
	int fd = socket(strchr(ip, ':') ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	return fd;
}

static int server(const char *ip, int type)
{
	struct sockaddr_storage a;
	socklen_t len = address(&a, ip, PORT);
	int fd = socket_for(ip, type | SOCK_NONBLOCK);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1024), 0);
	return fd;
}

/* 0 or -errno. */
static int connect_fd(int fd, const char *ip, uint16_t port)
{
	struct sockaddr_storage a;
	socklen_t len = address(&a, ip, port);
	return connect(fd, (struct sockaddr *)&a, len) < 0 ? -errno : 0;
}

/* Which server has a new connection: its index, -1 when none has. */
static int accepted(void)
{
	for (int i = 0; i < BACKENDS; i++) {
		int fd = accept4(tcp[i], NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) {
			close(fd);
			return i;
		}
	}
	return -1;
}

/* Which server got a datagram; it answers. */
static int received(void)
{
	char buf[16];
	struct sockaddr_storage from;
	for (int i = 0; i < BACKENDS; i++) {
		socklen_t len = sizeof(from);
		if (recvfrom(udp[i], buf, sizeof(buf), 0, (struct sockaddr *)&from, &len) < 0)
			continue;
		assert_int_equal(sendto(udp[i], "pong", 4, 0, (struct sockaddr *)&from, len), 4);
		return i;
	}
	return -1;
}

static const char *peer_of(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	assert_int_equal(getpeername(fd, (struct sockaddr *)&a, &len), 0);
	return text(&a);
}

/* One TCP connection: the server's index, or -errno. */
static int try_tcp(const char *ip, uint16_t port)
{
	int fd = socket_for(ip, SOCK_STREAM), r = connect_fd(fd, ip, port);
	int who = r < 0 ? r : accepted();
	close(fd);
	return who;
}

/* The same from a socket that is bound to an address. */
static int try_bound(const char *ip, uint16_t port, const char *from)
{
	struct sockaddr_storage a;
	socklen_t len = address(&a, from, 0);
	int fd = socket_for(ip, SOCK_STREAM);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	int r = connect_fd(fd, ip, port), who = r < 0 ? r : accepted();
	close(fd);
	return who;
}

static void write_config(void)
{
	uint32_t zero = 0;
	kit_put(skel->maps.config, &zero, &config);
}

static void put_backends(uint32_t set_id, uint32_t first, bool v6, uint8_t proto, uint8_t flags)
{
	uint64_t slots[2];
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t zero = 0, id = first + i;
		kit_backend(id, pods[i + (v6 ? 2 : 0)], PORT, proto, set_id, 100 + id, ABI_BACKEND_NEW);
		kit_put(skel->maps.loads, &id, &zero);
		slots[i] = ABI_SLOT_WORD(id, 100 + id);
	}
	kit_set(set_id, first, 2, slots, flags);
}

static int setup(void **state)
{
	(void)state;
	kit_flush(skel->maps.frontends);
	kit_flush(skel->maps.affinity);
	kit_flush(skel->maps.ranges);
	memset(&config, 0, sizeof(config));
	socklen_t len = sizeof(config.node_netns);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, 71 /* SO_NETNS_COOKIE */, &config.node_netns, &len), 0);
	close(fd);
	config.node_port_min = 30000;
	config.node_port_max = 32767;
	kit_net(config.service_net[0], config.service_mask[0], "10.96.0.0", 12);
	kit_net(config.service_net[1], config.service_mask[1], "fd00:96::", 112);
	write_config();
	kit_node_addr(NODE4);
	kit_node_addr(NODE6);
	put_backends(SET4, 10, false, IPPROTO_TCP, 0);
	put_backends(SET6, 20, true, IPPROTO_TCP, 0);
	put_backends(USET4, 30, false, IPPROTO_UDP, 0);
	put_backends(USET6, 40, true, IPPROTO_UDP, 0);
	put_backends(LEAST, 50, false, IPPROTO_TCP, ABI_SET_LEAST);
	put_backends(HASHED, 60, false, IPPROTO_UDP, ABI_SET_HASH);
	kit_set(EMPTY, 0, 0, NULL, 0);
	kit_set(DROPPED, 0, 0, NULL, ABI_SET_DROP);
	for (int i = 0; i < 2; i++) {
		kit_frontend((struct kit_frontend){ .ip = i ? VIP6 : VIP4, .port = 80, .proto = IPPROTO_TCP, .set_id = i ? SET6 : SET4 });
		kit_frontend((struct kit_frontend){ .ip = i ? VIP6 : VIP4, .port = 80, .proto = IPPROTO_UDP, .set_id = i ? USET6 : USET4 });
		kit_frontend((struct kit_frontend){ .ip = i ? VIP6 : VIP4 });
		kit_frontend((struct kit_frontend){ .ip = i ? "::" : NULL, .port = 30080, .proto = IPPROTO_TCP, .set_id = i ? SET6 : SET4 });
		kit_frontend((struct kit_frontend){ .ip = i ? "::" : NULL, .port = 30080, .proto = IPPROTO_UDP, .set_id = i ? USET6 : USET4 });
	}
	kit_frontend((struct kit_frontend){ .ip = VIP4, .port = 83, .proto = IPPROTO_TCP, .set_id = EMPTY });
	kit_frontend((struct kit_frontend){ .ip = VIP4, .port = 84, .proto = IPPROTO_TCP, .set_id = DROPPED });
	kit_frontend((struct kit_frontend){ .ip = VIP4, .port = 85, .proto = IPPROTO_TCP, .set_id = LEAST });
	kit_frontend((struct kit_frontend){ .ip = VIP4, .port = 86, .proto = IPPROTO_UDP, .set_id = HASHED });
	while (accepted() >= 0 || received() >= 0)
		continue;
	return 0;
}

/* family of the socket, what it connects to, what getpeername() must say, which servers it may reach */
static const struct {
	int family;
	const char *ip;
	uint16_t port;
	const char *peer;
	int first;
} ways[] = {
	{ AF_INET, VIP4, 80, "10.96.0.7:80", 0 },
	{ AF_INET6, VIP6, 80, "[fd00:96::7]:80", 2 },
	{ AF_INET6, "::ffff:10.96.0.7", 80, "[::ffff:10.96.0.7]:80", 0 },
	{ AF_INET, NODE4, 30080, "192.0.2.10:30080", 0 },
	{ AF_INET6, NODE6, 30080, "[2001:db8::10]:30080", 2 },
	{ AF_INET6, "::ffff:192.0.2.10", 30080, "[::ffff:192.0.2.10]:30080", 0 },
	{ AF_INET, "127.0.0.1", 30080, "127.0.0.1:30080", 0 },
	{ AF_INET, "127.9.9.9", 30080, "127.9.9.9:30080", 0 },
	{ AF_INET6, "::1", 30080, "[::1]:30080", 2 },
	{ AF_INET6, "::ffff:127.0.0.1", 30080, "[::ffff:127.0.0.1]:30080", 0 },
	{ AF_INET, "0.0.0.0", 30080, "0.0.0.0:30080", 0 },
	{ AF_INET6, "::", 30080, "[::]:30080", 2 },
};

static void test_tcp_of_both_families(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		int fd = socket(ways[i].family, SOCK_STREAM, 0);
		assert_int_equal(connect_fd(fd, ways[i].ip, ways[i].port), 0);
		assert_string_equal(peer_of(fd), ways[i].peer);
		assert_int_equal(accepted() & ~1, ways[i].first);
		close(fd);
	}
}

static void test_udp_of_both_families(void **state)
{
	(void)state;
	char buf[16];
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct sockaddr_storage a, from;
		socklen_t len = address(&a, ways[i].ip, ways[i].port), from_len = sizeof(from);
		int fd = socket(ways[i].family, SOCK_DGRAM, 0), first = -1;
		for (int k = 0; k < 6; k++) { /* an unconnected socket keeps its backend */
			assert_int_equal(sendto(fd, "ping", 4, 0, (struct sockaddr *)&a, len), 4);
			int who = received();
			assert_int_equal(who & ~1, ways[i].first);
			if (first < 0)
				first = who;
			assert_int_equal(who, first);
			from_len = sizeof(from);
			assert_int_equal(recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len), 4);
			assert_string_equal(text(&from), ways[i].peer);
		}
		close(fd);
		fd = socket(ways[i].family, SOCK_DGRAM, 0);
		assert_int_equal(connect_fd(fd, ways[i].ip, ways[i].port), 0);
		assert_string_equal(peer_of(fd), ways[i].peer);
		assert_int_equal(send(fd, "ping", 4, 0), 4);
		assert_int_equal(received() & ~1, ways[i].first);
		from_len = sizeof(from);
		assert_int_equal(recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len), 4);
		assert_string_equal(text(&from), ways[i].peer);
		close(fd);
	}
}

static void test_pods_loopback_is_its_own(void **state)
{
	(void)state;
	config.node_netns++;
	write_config();
	assert_int_equal(try_tcp("127.0.0.1", 30080), -ECONNREFUSED);
	assert_int_equal(try_tcp("::1", 30080), -ECONNREFUSED);
	assert_int_equal(try_tcp(NODE4, 30080) & ~1, 0);
	assert_int_equal(try_tcp(NODE6, 30080) & ~1, 2);
}

static void test_refusals(void **state)
{
	(void)state;
	uint64_t no_port = kit_counter(ABI_SOCK_REFUSED_NO_PORT), left = kit_counter(ABI_SOCK_LEFT_LOCAL_POLICY);
	assert_int_equal(try_tcp(VIP4, 81), -ECONNREFUSED);
	assert_int_equal(try_tcp(VIP6, 81), -ECONNREFUSED);
	assert_int_equal(try_tcp("::ffff:10.96.0.7", 81), -ECONNREFUSED);
	assert_int_equal(kit_counter(ABI_SOCK_REFUSED_NO_PORT), no_port + 3);
	assert_int_equal(try_tcp(VIP4, 83), -ECONNREFUSED);
	assert_int_equal(try_tcp(VIP4, 84), -EINVAL); /* the blackhole route's answer */
	assert_int_equal(kit_counter(ABI_SOCK_LEFT_LOCAL_POLICY), left + 1);
	assert_int_equal(try_tcp("10.96.9.9", 80), -EINVAL);
	assert_int_equal(try_tcp("fd00:96::99", 80), -EINVAL);
}

static void put_ranged(uint8_t flags)
{
	kit_frontend((struct kit_frontend){ .ip = VIP4, .port = 90, .proto = IPPROTO_TCP, .set_id = SET4,
					    .flags = flags | ABI_FRONTEND_RANGES });
	kit_frontend((struct kit_frontend){ .ip = VIP6, .port = 90, .proto = IPPROTO_TCP, .set_id = SET6,
					    .flags = flags | ABI_FRONTEND_RANGES });
}

static void test_source_ranges(void **state)
{
	(void)state;
	kit_range(SET4, "192.0.2.0", 28);
	kit_range(SET6, "2001:db8::", 64);
	kit_range(SET6, "10.0.0.0", 8); /* another set's: says nothing about the first's */
	uint64_t denied = kit_counter(ABI_SOCK_DROP_SOURCE_RANGE);
	put_ranged(0);
	assert_true(try_tcp(VIP4, 90) >= 0);
	assert_true(try_tcp(VIP6, 90) >= 0);
	assert_true(try_bound(VIP4, 90, NODE4) >= 0);
	assert_true(try_bound(VIP6, 90, NODE6) >= 0);
	assert_int_equal(try_bound(VIP4, 90, "10.244.0.11"), -EPERM);
	assert_int_equal(try_bound(VIP6, 90, "fd00:244::11"), -EPERM);
	assert_int_equal(kit_counter(ABI_SOCK_DROP_SOURCE_RANGE), denied + 2);
	put_ranged(ABI_FRONTEND_DENY_NODE);
	assert_int_equal(try_tcp(VIP4, 90), -EPERM);
	assert_int_equal(try_tcp(VIP6, 90), -EPERM);
	assert_true(try_bound(VIP4, 90, NODE4) >= 0); /* known exactly, whatever the flag says in general */
	/* Pods: what the flags leave open is left to the packets, which end in the blackhole route here. */
	config.node_netns++;
	write_config();
	assert_int_equal(try_tcp(VIP4, 90), -EINVAL);
	put_ranged(ABI_FRONTEND_ALLOW_PODS | ABI_FRONTEND_DENY_NODE);
	assert_true(try_tcp(VIP4, 90) >= 0);
	put_ranged(ABI_FRONTEND_DENY_PODS);
	assert_int_equal(try_tcp(VIP4, 90), -EPERM);
	assert_int_equal(try_tcp(VIP6, 90), -EPERM);
	assert_int_equal(try_bound(VIP4, 90, "10.244.0.11"), -EPERM);
}

static void test_least_connections(void **state)
{
	(void)state;
	enum { N = 40 };
	int fds[N];
	for (int i = 0; i < N; i++) {
		fds[i] = socket_for(VIP4, SOCK_STREAM);
		assert_int_equal(connect_fd(fds[i], VIP4, 85), 0);
		assert_int_equal(kit_load_of(50) + kit_load_of(51), i + 1);
	}
	/* Of two random slots one is taken twice half of the time, else the emptier wins: they cannot drift apart. */
	assert_true(kit_load_of(50) > N / 4 && kit_load_of(51) > N / 4);
	for (int i = 0; i < N; i++)
		close(fds[i]);
	assert_int_equal(kit_load_of(50) + kit_load_of(51), 0);
	/* A socket that connects to something else leaves. */
	kit_frontend((struct kit_frontend){ .ip = VIP4, .port = 85, .proto = IPPROTO_UDP, .set_id = LEAST });
	int fd = socket_for(VIP4, SOCK_DGRAM);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(connect_fd(fd, VIP4, 85), 0);
		assert_int_equal(kit_load_of(50) + kit_load_of(51), 1);
	}
	assert_int_equal(connect_fd(fd, NODE4, 9), 0);
	assert_int_equal(kit_load_of(50) + kit_load_of(51), 0);
	assert_int_equal(connect_fd(fd, VIP4, 85), 0);
	/* The ids get another meaning meanwhile: the close is none of the new backends' business. */
	uint32_t id = 50, three = 3, zero = 0;
	kit_backend(50, pods[0], PORT, IPPROTO_TCP, LEAST, 500, ABI_BACKEND_NEW);
	kit_backend(51, pods[1], PORT, IPPROTO_TCP, LEAST, 501, ABI_BACKEND_NEW);
	kit_put(skel->maps.loads, &id, &three);
	id = 51;
	kit_put(skel->maps.loads, &id, &three);
	close(fd);
	assert_int_equal(kit_load_of(50) + kit_load_of(51), 6);
	/* And never below zero. */
	kit_set(LEAST, 50, 2, (uint64_t[]){ ABI_SLOT_WORD(50, 500), ABI_SLOT_WORD(51, 501) }, ABI_SET_LEAST);
	fd = socket_for(VIP4, SOCK_STREAM);
	assert_int_equal(connect_fd(fd, VIP4, 85), 0);
	for (id = 50; id <= 51; id++)
		kit_put(skel->maps.loads, &id, &zero);
	close(fd);
	assert_int_equal(kit_load_of(50) + kit_load_of(51), 0);
}

static void test_hash(void **state)
{
	(void)state;
	unsigned seen[BACKENDS] = { 0 };
	for (int i = 0; i < 64; i++) {
		int fd = socket_for(VIP4, SOCK_DGRAM), first = -1;
		for (int k = 0; k < 4; k++) { /* the same socket comes to the same slot */
			assert_int_equal(connect_fd(fd, VIP4, 86), 0);
			assert_int_equal(send(fd, "ping", 4, 0), 4);
			int who = received();
			assert_true(who >= 0 && (first < 0 || who == first));
			first = who;
		}
		seen[first]++;
		close(fd);
	}
	assert_true(seen[0] >= 10 && seen[1] >= 10);
}

static void test_affinity_is_the_netns(void **state)
{
	(void)state;
	kit_frontend((struct kit_frontend){ .ip = VIP6, .port = 87, .proto = IPPROTO_TCP, .set_id = SET6, .affinity_s = 60 });
	int first = try_tcp(VIP6, 87);
	assert_true(first >= 2);
	for (int i = 0; i < 20; i++)
		assert_int_equal(try_tcp(VIP6, 87), first);
}

static int keep_event(void *user, void *data, size_t len)
{
	struct abi_trace_event **at = user;
	assert_int_equal(len, sizeof(**at));
	memcpy((*at)++, data, len);
	return 0;
}

static void check_event(const struct abi_trace_event *e, uint8_t program, uint8_t reason, const char *before, const char *after)
{
	uint32_t b[4], a[4];
	bool back = program == ABI_PROGRAM_RECVMSG;
	kit_addr(b, before);
	kit_addr(a, after);
	assert_int_equal(e->program, program);
	assert_int_equal(e->reason, reason);
	assert_memory_equal(back ? e->before.saddr : e->before.daddr, b, sizeof(b));
	assert_memory_equal(back ? e->after.saddr : e->after.daddr, a, sizeof(a));
}

static void test_trace(void **state)
{
	(void)state;
	struct abi_trace_event events[64], *end = events;
	struct ring_buffer *ring = ring_buffer__new(bpf_map__fd(skel->maps.trace_events), keep_event, &end, NULL);
	assert_non_null(ring);
	try_tcp(VIP4, 80);
	assert_int_equal(ring_buffer__consume(ring), 0);

	struct abi_trace_filter f = { .dport = htons(80), .proto = IPPROTO_TCP };
	kit_addr(f.dst, VIP6);
	memset(f.dst_mask, 0xff, sizeof(f.dst_mask));
	kit_trace(&config, &f, 60);
	int who = try_tcp(VIP6, 80);
	try_tcp(VIP4, 80);
	try_tcp(VIP6, 81);
	assert_int_equal(ring_buffer__consume(ring), 1);
	check_event(&events[0], ABI_PROGRAM_CONNECT, ABI_SOCK_TRANSLATED, VIP6, pods[who]);
	assert_int_equal(events[0].set_id, SET6);
	assert_int_equal(events[0].backend_id, 20 + who - 2);
	assert_int_equal(events[0].before.dport, htons(80));
	assert_int_equal(events[0].after.dport, htons(PORT));

	/* By the backend's address, both ways: a datagram there and its answer. */
	end = events;
	f = (struct abi_trace_filter){ .both_ways = 1 };
	kit_addr(f.dst, "10.244.0.0");
	f.dst_mask[0] = f.dst_mask[1] = f.dst_mask[2] = ~0u;
	f.dst_mask[3] = htonl(0xffff0000);
	kit_trace(&config, &f, 60);
	struct sockaddr_storage a;
	socklen_t len = address(&a, VIP4, 80);
	char buf[16];
	int fd = socket_for(VIP4, SOCK_DGRAM);
	sendto(fd, "ping", 4, 0, (struct sockaddr *)&a, len);
	who = received();
	recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&a, &len);
	close(fd);
	assert_true(ring_buffer__consume(ring) >= 2); /* the server's own calls match as well */
	check_event(&events[0], ABI_PROGRAM_SENDMSG, ABI_SOCK_TRANSLATED, VIP4, pods[who]);
	check_event(end - 1, ABI_PROGRAM_RECVMSG, ABI_SOCK_TRANSLATED, pods[who], VIP4);

	/* Refusals only, of one set. */
	end = events;
	f = (struct abi_trace_filter){ .drops_only = 1, .set_id = EMPTY };
	kit_trace(&config, &f, 60);
	try_tcp(VIP4, 80);
	try_tcp(VIP4, 81);
	try_tcp(VIP4, 83);
	assert_int_equal(ring_buffer__consume(ring), 1);
	check_event(&events[0], ABI_PROGRAM_CONNECT, ABI_SOCK_REFUSED_NO_ENDPOINTS, VIP4, VIP4);

	/* A tracer that does not move its deadline on is gone: tracing ends by itself. */
	f = (struct abi_trace_filter){ 0 };
	kit_trace(&config, &f, -1);
	try_tcp(VIP4, 80);
	assert_int_equal(ring_buffer__consume(ring), 0);
	uint32_t zero = 0;
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(skel->maps.config), &zero, &config), 0);
	assert_int_equal(config.trace, 0);
	ring_buffer__free(ring);
}

/* The kernel calls no hook for a connected datagram socket: it is told that its backend is gone by being destroyed. */
static void test_connected_udp_hears_of_the_end(void **state)
{
	(void)state;
	static const char *const to[] = { VIP4, VIP6, "::ffff:10.96.0.7", VIP4 };
	int prog = bpf_program__fd(skel->progs.stale_sockets), socks = bpf_map__fd(skel->maps.socks);
	int fds[ARRAY_SIZE(to)];
	size_t n = 99;
	int tcp4 = socket_for(VIP4, SOCK_STREAM), other = socket_for(VIP4, SOCK_DGRAM);
	assert_int_equal(connect_fd(tcp4, VIP4, 80), 0);
	assert_int_equal(connect_fd(other, VIP4, 86), 0);
	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		fds[i] = socket_for(to[i], SOCK_DGRAM);
		assert_int_equal(connect_fd(fds[i], to[i], 80), 0);
	}
	assert_int_equal(connect_fd(fds[3], NODE4, 9), 0); /* it has left by itself */
	assert_int_equal(stale_sockets_destroy(prog, socks, &n, NULL), 0);
	assert_int_equal(n, 0);
	put_backends(SET4, 110, false, IPPROTO_TCP, 0);
	for (uint32_t id = 10; id < 50; id++)
		kit_backend(id, "0.0.0.0", 0, 0, 0, 0, 0);
	assert_int_equal(stale_sockets_destroy(prog, socks, &n, NULL), 0);
	assert_int_equal(n, 3);
	put_backends(USET4, 130, false, IPPROTO_UDP, 0);
	put_backends(USET6, 140, true, IPPROTO_UDP, 0);
	for (size_t i = 0; i < 3; i++) {
		char buf[16];
		assert_int_equal(recv(fds[i], buf, sizeof(buf), MSG_DONTWAIT), -1);
		assert_int_equal(errno, ECONNABORTED);
		assert_int_equal(send(fds[i], "ping", 4, 0), -1);
		assert_int_equal(errno, EDESTADDRREQ);
		assert_int_equal(connect_fd(fds[i], to[i], 80), 0); /* and goes on, with a living one */
		assert_int_equal(send(fds[i], "ping", 4, 0), 4);
		assert_true(received() >= 0);
	}
	assert_int_equal(stale_sockets_destroy(prog, socks, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(send(tcp4, "ping", 4, 0), 4); /* established TCP is none of this' business */
	assert_int_equal(send(other, "ping", 4, 0), 4);
	assert_true(received() >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(to); i++)
		close(fds[i]);
	close(tcp4);
	close(other);
}

static bool find_cgroup2(char *out, size_t size)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	bool found = false;
	for (struct mntent *m; !found && f && (m = getmntent(f));)
		if (strcmp(m->mnt_type, "cgroup2") == 0) {
			snprintf(out, size, "%s", m->mnt_dir);
			found = true;
		}
	if (f)
		endmntent(f);
	return found;
}

static bool join(const char *path)
{
	char file[300];
	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && dprintf(fd, "%d\n", getpid()) > 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool attach(void)
{
	int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bpf_program *p;
	if (fd < 0)
		return false;
	bpf_object__for_each_program(p, skel->obj)
		if (strncmp(bpf_program__section_name(p), "cgroup/", 7) == 0 && !bpf_program__attach_cgroup(p, fd))
			return false;
	close(fd);
	return true;
}

/* The programs, the cgroup, the namespace with its addresses, the servers. */
static bool begin(void)
{
	skel = proxy_bpf__open();
	if (!skel)
		return false;
	skel->rodata->have_set_retval =
		libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, NULL) == 1;
	if (proxy_bpf__load(skel) < 0 || !find_cgroup2(old_cgroup, sizeof(old_cgroup)))
		return false;
	snprintf(cgroup, sizeof(cgroup), "%.200s/kt-dsr-%d", old_cgroup, getpid());
	if (mkdir(cgroup, 0755) < 0 || !attach() || !join(cgroup) || unshare(CLONE_NEWNET) < 0)
		return false;
	if (system("ip link set lo up && ip route add blackhole 10.96.0.0/12 && ip route add blackhole 10.244.0.0/16 && "
		   "ip -6 route add blackhole fd00:96::/112 && ip -6 route add blackhole fd00:244::/64 && "
		   "for a in 10.244.0.11/32 10.244.0.12/32 192.0.2.10/32; do ip addr add $a dev lo || exit 1; done; "
		   "for a in fd00:244::11 fd00:244::12 2001:db8::10; do ip addr add $a/128 dev lo nodad || exit 1; done") != 0)
		return false;
	for (int i = 0; i < BACKENDS; i++) {
		tcp[i] = server(pods[i], SOCK_STREAM);
		udp[i] = server(pods[i], SOCK_DGRAM);
	}
	return true;
}

static void end(void)
{
	if (*cgroup) {
		join(old_cgroup);
		rmdir(cgroup);
	}
	proxy_bpf__destroy(skel);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tcp_of_both_families), TEST(test_udp_of_both_families), TEST(test_pods_loopback_is_its_own),
		TEST(test_refusals),		 TEST(test_source_ranges),	  TEST(test_least_connections),
		TEST(test_hash),		 TEST(test_affinity_is_the_netns), TEST(test_trace),
		TEST(test_connected_udp_hears_of_the_end),
	};
	libbpf_set_print(kit_quiet);
	if (!begin()) {
		perror("loading the programs and making a cgroup and a namespace (root is needed)");
		end();
		return 1;
	}
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	end();
	return r;
}
