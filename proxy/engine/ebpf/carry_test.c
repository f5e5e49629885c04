/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Change-overs between layouts and sizes: what was in the maps is there afterwards, under the same ids. */
#include "bpf/maps_v1.skel.h"
#include "bpf/proxy.skel.h"
#include "bpf/shared/abi_v1.h"
#include "proxy/engine/ebpf/fixture_test.h"

enum { FLOWS = 3000, SET = 5, ID1 = 3, ID2 = 9, GEN1 = 70, GEN2 = 71 };

static void put(int fd, const void *key, const void *value)
{
	assert_int_equal(bpf_map_update_elem(fd, key, value, BPF_ANY), 0);
}

static void flow_key(struct abi_flow_key *k, uint32_t i, const char *addr, uint16_t port)
{
	struct ip_addr client = ip("192.0.2.20"), a = ip(addr);
	*k = (struct abi_flow_key){ .client_port = htons((uint16_t)(10000 + i)), .port = htons(port), .proto = IPPROTO_TCP };
	mapped(&client, k->client);
	mapped(&a, k->addr);
}

/* One Service port of version 1 with two backends, flows of a client to the first one. */
static struct maps_v1_bpf *version_1(void)
{
	struct maps_v1_bpf *v = maps_v1_bpf__open_and_load();
	char dir[128], path[192];
	assert_non_null(v);
	snprintf(dir, sizeof(dir), "%s/v1", fx.pin);
	assert_int_equal(file_mkdir_p(dir, 0700), 0);
	struct bpf_map *m;
	bpf_object__for_each_map(m, v->obj) {
		snprintf(path, sizeof(path), "%s/%s", dir, bpf_map__name(m));
		assert_int_equal(bpf_obj_pin(bpf_map__fd(m), path), 0);
	}
	struct abi_frontend_key fk = { .port = htons(80), .proto = IPPROTO_TCP };
	struct abi1_frontend f = { .set_id = SET, .outside_set_id = SET, .check_port = htons(80), .check_proto = IPPROTO_TCP };
	struct abi1_config c = { .backend_high = ID2 + 1, .generation = GEN2 };
	struct ip_addr vip = ip("10.96.0.1"), pods[] = { ip("10.244.0.1"), ip("10.244.0.2") };
	uint32_t zero = 0, set = SET, ids[] = { ID1, ID2 }, slots[] = { 16, 17 };
	uint64_t word = ABI_SET_WORD(16, 2, 0), words[] = { ABI_SLOT_WORD(ID1, GEN1), ABI_SLOT_WORD(ID2, GEN2) };
	struct abi1_stats st = { .connections = 1234 };
	mapped(&vip, fk.addr);
	f.check_addr = fk.addr[3];
	put(bpf_map__fd(v->maps.config), &zero, &c);
	put(bpf_map__fd(v->maps.stats), &set, &st);
	for (uint32_t i = 0; i < 2; i++) {
		struct abi1_backend b = { .port = htons(8080), .proto = IPPROTO_TCP, .flags = ABI_BACKEND_NEW, .set_id = SET,
					  .generation = i ? GEN2 : GEN1 };
		mapped(&pods[i], b.addr);
		put(bpf_map__fd(v->maps.backends), &ids[i], &b);
		put(bpf_map__fd(v->maps.slots), &slots[i], &words[i]);
	}
	put(bpf_map__fd(v->maps.sets), &set, &word);
	put(bpf_map__fd(v->maps.frontends), &fk, &f);
	for (uint32_t i = 0; i < FLOWS; i++) {
		struct abi_flow_key k;
		struct abi1_flow flow = { .last_ns = 1000 + i, .backend_port = htons(8080), .backend_id = ID1, .generation = GEN1,
					  .set_id = SET, .state = ABI_FLOW_CLIENT_FIN };
		struct abi1_flow_reply r = { .last_ns = 2000 + i, .port = htons(80) };
		mapped(&pods[0], flow.backend);
		flow_key(&k, i, "10.96.0.1", 80);
		memcpy(r.addr, k.addr, sizeof(r.addr));
		put(bpf_map__fd(v->maps.flows), &k, &flow);
		flow_key(&k, i, "10.244.0.1", 8080);
		put(bpf_map__fd(v->maps.flow_replies), &k, &r);
	}
	struct abi_affinity_key ak = { .set_id = SET, .kind = ABI_CLIENT_ADDR };
	struct abi1_affinity a = { .last_ns = 5, .backend_id = ID1, .generation = GEN1 };
	put(bpf_map__fd(v->maps.affinity), &ak, &a);
	struct abi_peer_key pk = { .cookie = 77, .dir = ABI_PEER_REPLY, .port = htons(53) };
	struct abi1_peer peer = { .port = htons(5353), .backend_id = ID1, .generation = GEN1 };
	put(bpf_map__fd(v->maps.udp_peers), &pk, &peer);
	return v;
}

static void two_backends(struct test_port *t)
{
	test_port(t, 1, 2);
	t->p.frontend_count = 2; /* cluster address and its owner's mark */
}

static void check_flows(uint32_t n)
{
	struct abi_flow_key k;
	struct abi_flow f;
	struct abi_flow_reply r;
	assert_int_equal(count_keys("flows"), n);
	assert_int_equal(count_keys("flow_replies"), n);
	for (uint32_t i = 0; i < n; i += 97) {
		flow_key(&k, i, "10.96.0.1", 80);
		assert_int_equal(lookup("flows", &k, &f), 0);
		assert_int_equal(f.last_ns, 1000 + i);
		assert_int_equal(f.backend_id, ID1);
		assert_int_equal(f.generation, GEN1);
		assert_int_equal(f.set_id, SET);
		assert_int_equal(f.backend_port, htons(8080));
		assert_int_equal(f.state, ABI_FLOW_CLIENT_FIN);
		assert_int_equal(f.flags | f.snat_port | f.snat[3], 0);
		flow_key(&k, i, "10.244.0.1", 8080);
		assert_int_equal(lookup("flow_replies", &k, &r), 0);
		assert_int_equal(r.last_ns, 2000 + i);
		assert_int_equal(r.port, htons(80));
		assert_memory_equal(r.client, k.client, sizeof(r.client)); /* version 1 did not say it: it was the key's */
		assert_int_equal(r.client_port, k.client_port);
	}
}

static bool there(const char *name)
{
	char path[192];
	snprintf(path, sizeof(path), "%s/%s", fx.pin, name);
	return file_exists(path);
}

static void check_rest(void)
{
	struct abi_affinity_key ak = { .set_id = SET, .kind = ABI_CLIENT_ADDR };
	struct abi_peer_key pk = { .cookie = 77, .dir = ABI_PEER_REPLY, .port = htons(53) };
	struct abi_affinity a;
	struct abi_peer p;
	struct abi_frontend f;
	struct abi_stats st;
	uint32_t counts[256], set = SET;
	assert_int_equal(lookup("affinity", &ak, &a), 0);
	assert_int_equal(a.generation, GEN1);
	assert_int_equal(lookup("udp_peers", &pk, &p), 0);
	assert_int_equal(p.port, htons(5353));
	assert_true(frontend("10.96.0.1", 80, IPPROTO_TCP, ABI_SCOPE_ADDRESS, &f));
	assert_int_equal(f.set_id, SET);
	assert_int_equal(f.flags, ABI_FRONTEND_EXTERNAL | ABI_FRONTEND_CLUSTER);
	assert_int_equal(slots_of(SET, counts), 2);
	struct abi_backend b;
	uint32_t id = ID1;
	assert_int_equal(lookup("backends", &id, &b), 0);
	assert_int_equal(b.generation, GEN1);
	assert_int_equal(lookup("stats", &set, &st), 0);
	assert_int_equal(st.connections, 1234);
}

static void test_from_version_1(void **state)
{
	(void)state;
	static struct test_port t;
	struct maps_v1_bpf *v = version_1();
	struct engine *e = start();
	assert_true(there("next")); /* beside the old until everything is there */
	two_backends(&t);
	assert_int_equal(e->ops->port_set(e, &t.p, NULL), 0);
	synced(e);
	check_flows(FLOWS);
	check_rest();
	assert_false(there("next") || there("v1") || there("old"));
	struct abi_config c;
	uint32_t zero = 0;
	assert_int_equal(lookup("config", &zero, &c), 0);
	assert_int_equal(c.flags & ABI_CONFIG_MIGRATING, 0);
	e->ops->free(e);
	maps_v1_bpf__destroy(v);
}

/* Killed before the change-over, and after it but before the old maps were gone. */
static void test_killed_on_the_way(void **state)
{
	(void)state;
	static struct test_port t;
	struct maps_v1_bpf *v = version_1();
	struct engine *e = start();
	e->ops->free(e);
	assert_true(there("next") && there("v1"));
	e = start();
	two_backends(&t);
	assert_int_equal(e->ops->port_set(e, &t.p, NULL), 0);
	synced(e);
	e->ops->free(e);
	/* As if the last step had not happened, with a flow that came in late. */
	char dir[128], path[192];
	snprintf(dir, sizeof(dir), "%s/v1", fx.pin);
	assert_int_equal(file_mkdir_p(dir, 0700), 0);
	struct bpf_map *m;
	bpf_object__for_each_map(m, v->obj) {
		snprintf(path, sizeof(path), "%s/%s", dir, bpf_map__name(m));
		assert_int_equal(bpf_obj_pin(bpf_map__fd(m), path), 0);
	}
	struct abi_flow_key k;
	struct abi1_flow late = { .last_ns = 1, .backend_id = ID2 };
	flow_key(&k, FLOWS, "10.96.0.1", 80);
	put(bpf_map__fd(v->maps.flows), &k, &late);
	e = start();
	assert_int_equal(e->ops->port_set(e, &t.p, NULL), 0);
	synced(e);
	struct abi_flow f;
	assert_int_equal(lookup("flows", &k, &f), 0);
	assert_int_equal(f.backend_id, ID2);
	check_rest();
	assert_false(there("v1"));
	e->ops->free(e);
	maps_v1_bpf__destroy(v);
}

static uint32_t map_id(const char *name)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	_cleanup_close_ int fd = pinned(name);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

/* Other sizes: more room, the same content; maps whose size stays are the very same ones. */
static void test_sizes(void **state)
{
	(void)state;
	static struct test_port t;
	struct maps_v1_bpf *v = version_1();
	struct engine *e = start();
	two_backends(&t);
	assert_int_equal(e->ops->port_set(e, &t.p, NULL), 0);
	synced(e);
	e->ops->free(e);
	uint32_t flows = map_id("flows"), sets = map_id("sets"), socks = map_id("socks");
	fx.o.max_services = 100000;
	e = start();
	assert_int_equal(e->ops->port_set(e, &t.p, NULL), 0);
	synced(e);
	check_flows(FLOWS);
	check_rest();
	assert_int_equal(map_id("flows"), flows);
	assert_int_equal(map_id("socks"), socks);
	assert_int_not_equal(map_id("sets"), sets);
	assert_false(there("old") || there("next"));
	/* Smaller than what is there: backends beyond go, what fits stays; too few flows are kept, not none. */
	e->ops->free(e);
	fx.o.max_services = 50;
	fx.o.max_endpoints = 64;
	fx.o.max_flows = 1000;
	e = start();
	assert_int_equal(e->ops->port_set(e, &t.p, NULL), 0);
	synced(e);
	check_rest();
	assert_int_equal(count_keys("flows"), 1000);
	e->ops->free(e);
	/* The same sizes again: adopted, nothing made anew. */
	sets = map_id("sets");
	e = start();
	assert_int_equal(e->ops->port_set(e, &t.p, NULL), 0);
	synced(e);
	assert_int_equal(map_id("sets"), sets);
	e->ops->free(e);
	maps_v1_bpf__destroy(v);
	_cleanup_err_ struct err err = { 0 };
	fx.o.max_flows = UINT32_MAX;
	assert_null(engine_ebpf_new(&fx.o, &err));
	assert_non_null(strstr(err_msg(&err), "not supported"));
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
	return 0;
}

#define TEST(f) cmocka_unit_test_teardown(f, fixture_clean)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_from_version_1), TEST(test_killed_on_the_way), TEST(test_sizes) };
	libbpf_set_print(quiet);
	if (fixture_setup() < 0)
		return 1;
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_done();
	return r;
}
