// SPDX-License-Identifier: GPL-2.0-or-later
/* Services: families, addresses and ports on creation, on every change of type and policy, and after. */
#include "apiserver/registry/registry_fixture.h"

#include "apiserver/registry/service_alloc.h"
#include "base/map.h"

#define SVC "/api/v1/namespaces/default/services"
#define PORTS "\"ports\":[{\"port\":80}]"
#define MAKE(name, spec) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{" spec "}}"
#define BOTH "10.96.0.0/24,fd00:10:96::/112"

static int setup_dual(void **state)
{
	return setup_with(state, BOTH);
}

static int setup_v6_first(void **state)
{
	return setup_with(state, "fd00:10:96::/108,10.96.0.0/24");
}

static const char *at(const struct fixture *f, const char *path)
{
	return json_str_or(f->answer, path, "");
}

/* One request of the admin, which must go well. */
static void must(struct fixture *f, const char *method, const char *path, const char *type, const char *body)
{
	int status = ask(f, f->admin, method, path, type, NULL, body);
	if (status != 200 && status != 201)
		fail_msg("%s %s %s: %d %s", method, path, body ? body : "", status, f->text.data);
}

static size_t count(const struct fixture *f, const char *path)
{
	return json_array_size(json_at(f->answer, path));
}

static void test_policies(void **state)
{
	static const struct {
		const char *spec, *policy, *families[2], *prefix[2];
	} rows[] = {
		{ PORTS, "SingleStack", { "IPv4" }, { "10.96." } },
		{ PORTS ",\"ipFamilies\":[\"IPv6\"]", "SingleStack", { "IPv6" }, { "fd00:" } },
		{ PORTS ",\"ipFamilyPolicy\":\"PreferDualStack\"", "PreferDualStack", { "IPv4", "IPv6" }, { "10.96.", "fd00:" } },
		{ PORTS ",\"ipFamilyPolicy\":\"RequireDualStack\"", "RequireDualStack", { "IPv4", "IPv6" }, { "10.96.", "fd00:" } },
		{ PORTS ",\"ipFamilyPolicy\":\"RequireDualStack\",\"ipFamilies\":[\"IPv6\"]", "RequireDualStack", { "IPv6", "IPv4" },
		  { "fd00:", "10.96." } },
		{ PORTS ",\"ipFamilyPolicy\":\"PreferDualStack\",\"clusterIP\":\"fd00:10:96::7\"", "PreferDualStack", { "IPv6", "IPv4" },
		  { "fd00:10:96::7", "10.96." } },
		{ PORTS ",\"ipFamilyPolicy\":\"PreferDualStack\",\"clusterIP\":\"10.96.0.7\",\"clusterIPs\":[\"10.96.0.7\","
		  "\"fd00:10:96::8\"]", "PreferDualStack", { "IPv4", "IPv6" }, { "10.96.0.7", "fd00:10:96::8" } },
		{ PORTS ",\"clusterIP\":\"None\",\"selector\":{\"a\":\"b\"}", "SingleStack", { "IPv4" }, { "None" } },
		{ PORTS ",\"clusterIP\":\"None\"", "RequireDualStack", { "IPv4", "IPv6" }, { "None" } },
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *body = str_printf("{\"metadata\":{\"name\":\"s%zu\"},\"spec\":{%s}}", i, rows[i].spec);
		must(f, "POST", SVC, NULL, body);
		assert_string_equal(at(f, "spec.ipFamilyPolicy"), rows[i].policy);
		assert_int_equal(count(f, "spec.ipFamilies"), rows[i].families[1] ? 2 : 1);
		assert_int_equal(count(f, "spec.clusterIPs"), rows[i].prefix[1] ? 2 : 1);
		assert_string_equal(at(f, "spec.clusterIP"), at(f, "spec.clusterIPs[0]"));
		for (size_t n = 0; n < 2 && rows[i].families[n]; n++) {
			char path[32];
			snprintf(path, sizeof(path), "spec.ipFamilies[%zu]", n);
			assert_string_equal(at(f, path), rows[i].families[n]);
			snprintf(path, sizeof(path), "spec.clusterIPs[%zu]", n);
			assert_true(!rows[i].prefix[n] || str_starts(at(f, path), rows[i].prefix[n]));
		}
	}
}

static void test_refused(void **state)
{
	static const struct step steps[] = {
		{ "POST", SVC, NULL, MAKE("a", PORTS ",\"clusterIP\":\"10.96.0.7\",\"clusterIPs\":[\"10.96.0.7\",\"fd00:10:96::7\"]"), 422,
		  "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified", NULL },
		{ "POST", SVC, NULL, MAKE("a", PORTS ",\"ipFamilies\":[\"IPv4\",\"IPv6\"]"), 422,
		  "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified", NULL },
		{ "POST", SVC, NULL, MAKE("a", PORTS ",\"ipFamilies\":[\"IPv6\"],\"clusterIP\":\"10.96.0.7\""), 422,
		  "expected an IPv6 value as indicated by `ipFamilies[0]`", NULL },
		{ "POST", SVC, NULL, MAKE("a", PORTS ",\"ipFamilyPolicy\":\"PreferDualStack\",\"clusterIP\":\"10.96.0.7\",\"clusterIPs\":["
		  "\"10.96.0.7\",\"fd00:10:97::7\"]"), 422, "The range of valid IPs is fd00:10:96::/112", NULL },
		/* What was refused took nothing. */
		{ "POST", SVC, NULL, MAKE("a", PORTS ",\"clusterIP\":\"10.96.0.7\""), 201, NULL, NULL },
		{ "POST", SVC, NULL, MAKE("b", PORTS ",\"ipFamilyPolicy\":\"Both\""), 422, "Unsupported value", NULL },
		{ "POST", SVC, NULL, MAKE("b", PORTS ",\"ipFamilies\":[\"IPv4\",\"IPv4\"],\"ipFamilyPolicy\":\"PreferDualStack\""), 422,
		  "Duplicate value", NULL },
	};
	WALK(*state, steps);
}

static void test_single_stack_cluster(void **state)
{
	static const struct step steps[] = {
		{ "POST", SVC, NULL, MAKE("a", PORTS ",\"ipFamilyPolicy\":\"RequireDualStack\""), 422,
		  "this cluster is not configured for dual-stack services", NULL },
		{ "POST", SVC, NULL, MAKE("a", PORTS ",\"ipFamilies\":[\"IPv6\"]"), 422, "not configured on this cluster", NULL },
		{ "POST", SVC, NULL, MAKE("a", PORTS ",\"clusterIP\":\"fd00::1\""), 422, "IPv6 is not configured on this cluster", NULL },
		{ "POST", SVC, NULL, MAKE("a", PORTS ",\"ipFamilyPolicy\":\"PreferDualStack\""), 201, "\"ipFamilies\":[\"IPv4\"]", NULL },
		{ "POST", SVC, NULL, MAKE("h", "\"clusterIP\":\"None\""), 201, "\"ipFamilies\":[\"IPv4\",\"IPv6\"]", NULL },
	};
	WALK(*state, steps);
}

static void test_up_and_down(void **state)
{
	struct fixture *f = *state;
	char first[64], second[64];
	must(f, "POST", SVC, NULL, MAKE("a", PORTS));
	snprintf(first, sizeof(first), "%s", at(f, "spec.clusterIP"));
	must(f, "PATCH", SVC "/a", MERGE, "{\"spec\":{\"ipFamilyPolicy\":\"PreferDualStack\"}}");
	assert_string_equal(at(f, "spec.clusterIPs[0]"), first);
	assert_true(str_starts(at(f, "spec.clusterIPs[1]"), "fd00:"));
	assert_string_equal(at(f, "spec.ipFamilies[1]"), "IPv6");
	snprintf(second, sizeof(second), "%s", at(f, "spec.clusterIPs[1]"));
	/* Less without the policy is refused, in both lists. */
	assert_int_equal(ask(f, f->admin, "PATCH", SVC "/a", MERGE, NULL, "{\"spec\":{\"ipFamilies\":[\"IPv4\"]}}"), 422);
	assert_non_null(strstr(f->text.data, "must be 'SingleStack' to release the secondary IP family"));
	/* The primary family stays. */
	assert_int_equal(ask(f, f->admin, "PATCH", SVC "/a", MERGE, NULL, "{\"spec\":{\"ipFamilies\":[\"IPv6\",\"IPv4\"]}}"), 422);
	must(f, "PATCH", SVC "/a", MERGE, "{\"spec\":{\"ipFamilyPolicy\":\"SingleStack\"}}");
	assert_int_equal(count(f, "spec.clusterIPs"), 1);
	assert_int_equal(count(f, "spec.ipFamilies"), 1);
	/* The address is free again, and can be asked for. */
	_cleanup_free_ char *body = str_printf("{\"metadata\":{\"name\":\"b\"},\"spec\":{" PORTS ",\"clusterIP\":\"%s\"}}", second);
	must(f, "POST", SVC, NULL, body);
	_cleanup_free_ char *up = str_printf("{\"spec\":{\"ipFamilyPolicy\":\"RequireDualStack\",\"clusterIPs\":[\"%s\",\"%s\"]}}", first,
					     second);
	assert_int_equal(ask(f, f->admin, "PATCH", SVC "/a", MERGE, NULL, up), 422);
	assert_non_null(strstr(f->text.data, "provided IP is already allocated"));
	must(f, "DELETE", SVC "/b", NULL, NULL);
	must(f, "PATCH", SVC "/a", MERGE, up);
	assert_string_equal(at(f, "spec.clusterIPs[1]"), second);
}

static void test_types(void **state)
{
	struct fixture *f = *state;
	char ip[64];
	must(f, "POST", SVC, NULL, MAKE("a", "\"type\":\"ExternalName\",\"externalName\":\"a.b\""));
	must(f, "PATCH", SVC "/a", MERGE, "{\"spec\":{\"type\":\"ClusterIP\",\"externalName\":null,\"ipFamilyPolicy\":\"PreferDualStack\","
	     PORTS "}}");
	assert_int_equal(count(f, "spec.clusterIPs"), 2);
	snprintf(ip, sizeof(ip), "%s", at(f, "spec.clusterIP"));
	must(f, "PATCH", SVC "/a", MERGE, "{\"spec\":{\"type\":\"NodePort\"}}");
	assert_true(json_int(f->answer, "spec.ports[0].nodePort", 0) >= 30000);
	assert_string_equal(at(f, "spec.clusterIP"), ip);
	must(f, "PATCH", SVC "/a", MERGE, "{\"spec\":{\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\"}}");
	int64_t health = json_int(f->answer, "spec.healthCheckNodePort", 0);
	assert_true(health >= 30000);
	/* With the policy its port goes; it may be asked for when it comes back. */
	must(f, "PATCH", SVC "/a", MERGE, "{\"spec\":{\"externalTrafficPolicy\":\"Cluster\"}}");
	assert_null(json_at(f->answer, "spec.healthCheckNodePort"));
	_cleanup_free_ char *back = str_printf("{\"spec\":{\"externalTrafficPolicy\":\"Local\",\"healthCheckNodePort\":%lld}}",
					       (long long)health);
	must(f, "PATCH", SVC "/a", MERGE, back);
	assert_int_equal(json_int(f->answer, "spec.healthCheckNodePort", 0), health);
	must(f, "PATCH", SVC "/a", MERGE, "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"a.b\"}}");
	assert_null(json_at(f->answer, "spec.clusterIP"));
	assert_null(json_at(f->answer, "spec.clusterIPs"));
	assert_null(json_at(f->answer, "spec.ipFamilies"));
	assert_null(json_at(f->answer, "spec.ports[0].nodePort"));
	assert_null(json_at(f->answer, "spec.healthCheckNodePort"));
	_cleanup_free_ char *again = str_printf("{\"metadata\":{\"name\":\"b\"},\"spec\":{" PORTS ",\"clusterIP\":\"%s\"}}", ip);
	must(f, "POST", SVC, NULL, again);
}

static void test_load_balancer(void **state)
{
	static const struct step steps[] = {
		{ "POST", SVC, NULL, MAKE("a", "\"type\":\"LoadBalancer\",\"loadBalancerClass\":\"x.y/z\","
		  "\"allocateLoadBalancerNodePorts\":false," PORTS), 201, "\"allocateLoadBalancerNodePorts\":false", "\"nodePort\"" },
		{ "PATCH", SVC "/a", MERGE, "{\"spec\":{\"loadBalancerClass\":\"x.y/other\"}}", 422, "may not change once set", NULL },
		{ "PATCH", SVC "/a", MERGE, "{\"spec\":{\"allocateLoadBalancerNodePorts\":true}}", 200, "\"nodePort\":30", NULL },
		/* Ports once given stay until they are taken away. */
		{ "PATCH", SVC "/a", MERGE, "{\"spec\":{\"allocateLoadBalancerNodePorts\":false}}", 200, "\"nodePort\":30", NULL },
		{ "PATCH", SVC "/a/status", MERGE, "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"203.0.113.9\"}]}}}", 200,
		  "\"ipMode\":\"VIP\"", NULL },
		{ "PATCH", SVC "/a/status", MERGE, "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"203.0.113.9\",\"ipMode\":\"Sky\"}]}}}",
		  422, "supported values: \\\"Proxy\\\", \\\"VIP\\\"", NULL },
		{ "PATCH", SVC "/a/status", MERGE, "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"hostname\":\"h.x\",\"ipMode\":\"VIP\"}]}}}",
		  422, "may not be specified when `ip` is not set", NULL },
		{ "PATCH", SVC "/a", MERGE, "{\"spec\":{\"type\":\"ClusterIP\"}}", 200, "\"loadBalancer\":{}", "\"loadBalancerClass\"" },
		{ "PATCH", SVC "/a/status", MERGE, "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"203.0.113.9\"}]}}}", 422,
		  "may only be used when `spec.type` is 'LoadBalancer'", NULL },
	};
	WALK(*state, steps);
}

/* One number serves both protocols of a port; a number is one Service's. */
static void test_protocols(void **state)
{
	struct fixture *f = *state;
	must(f, "POST", SVC, NULL, MAKE("a", "\"type\":\"NodePort\",\"ports\":[{\"name\":\"t\",\"port\":80},"
	     "{\"name\":\"u\",\"port\":80,\"protocol\":\"UDP\"}]"));
	int64_t number = json_int(f->answer, "spec.ports[0].nodePort", 0);
	assert_int_equal(json_int(f->answer, "spec.ports[1].nodePort", 0), number);
	_cleanup_free_ char *other = str_printf("{\"metadata\":{\"name\":\"b\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,"
						"\"protocol\":\"SCTP\",\"nodePort\":%lld}]}}", (long long)number);
	assert_int_equal(ask(f, f->admin, "POST", SVC, NULL, NULL, other), 422);
	must(f, "PATCH", SVC "/a", JSONP, "[{\"op\":\"remove\",\"path\":\"/spec/ports/1\"}]");
	assert_int_equal(json_int(f->answer, "spec.ports[0].nodePort", 0), number);
	assert_int_equal(ask(f, f->admin, "POST", SVC, NULL, NULL, other), 422);
	must(f, "DELETE", SVC "/a", NULL, NULL);
	must(f, "POST", SVC, NULL, other);
}

/* All that is stored is taken after a restart; what is not is free. */
static void test_restart(void **state)
{
	struct fixture *f = *state;
	must(f, "POST", SVC, NULL, MAKE("a", PORTS ",\"ipFamilyPolicy\":\"PreferDualStack\",\"clusterIP\":\"10.96.0.3\",\"clusterIPs\":["
	     "\"10.96.0.3\",\"fd00:10:96::3\"]"));
	stop(f);
	start(f);
	assert_int_equal(ask(f, f->admin, "POST", SVC, NULL, NULL, MAKE("b", PORTS ",\"clusterIP\":\"fd00:10:96::3\"")), 422);
	must(f, "POST", SVC, NULL, MAKE("b", PORTS ",\"clusterIP\":\"fd00:10:96::4\""));
}

/* Every address of a small range is given once, then there are none. */
static void test_full(void **state)
{
	struct fixture *f = *state;
	int given = 0, status = 201;
	for (int i = 0; i < 300 && status == 201; i++) {
		_cleanup_free_ char *body = str_printf("{\"metadata\":{\"name\":\"s%d\"},\"spec\":{" PORTS "}}", i);
		status = ask(f, f->admin, "POST", SVC, NULL, NULL, body);
		given += status == 201;
	}
	assert_int_equal(status, 500);
	assert_non_null(strstr(f->text.data, "range is full"));
	assert_int_equal(given, 254 - 2); /* kubernetes and kube-dns have theirs */
	must(f, "POST", SVC, NULL, MAKE("v6", PORTS ",\"ipFamilies\":[\"IPv6\"]"));
	assert_int_equal(ask(f, f->admin, "POST", SVC, NULL, NULL, MAKE("both", PORTS ",\"ipFamilyPolicy\":\"RequireDualStack\"")), 500);
}

static void test_v6_primary(void **state)
{
	struct fixture *f = *state;
	/* What the server makes at its start is durable when this is. */
	must(f, "POST", SVC, NULL, MAKE("first", PORTS));
	must(f, "GET", SVC "/kubernetes", NULL, NULL);
	assert_string_equal(at(f, "spec.clusterIP"), "fd00:10:96::1");
	must(f, "GET", "/api/v1/namespaces/kube-system/services/kube-dns", NULL, NULL);
	assert_string_equal(at(f, "spec.clusterIPs[0]"), "fd00:10:96::a");
	assert_string_equal(at(f, "spec.clusterIPs[1]"), "10.96.0.10");
	must(f, "POST", SVC, NULL, MAKE("a", PORTS ",\"ipFamilyPolicy\":\"PreferDualStack\""));
	assert_string_equal(at(f, "spec.ipFamilies[0]"), "IPv6");
	assert_string_equal(at(f, "spec.ipFamilies[1]"), "IPv4");
}

/* --- random histories: whatever is done to Services, exactly what they have is taken ---------------------------------- */

static uint64_t seed_state;

static unsigned pick(unsigned n)
{
	seed_state ^= seed_state << 13;
	seed_state ^= seed_state >> 7;
	seed_state ^= seed_state << 17;
	return (unsigned)(seed_state >> 33) % n;
}

#define ANY(list) (list)[pick(ARRAY_SIZE(list))]

/* What the stored Services have: canonical addresses and ports, into the two. */
static void add_up(const struct fixture *f, struct map *ips, bool *ports)
{
	size_t k;
	json_t *v;
	struct store_iter it = store_iterate(f->g.store, f->g.services->id, NULL);
	for (struct store_object *service; (service = store_next(&it));) {
		_cleanup_json_ json_t *o = entry_parse(service);
		struct ip_addr a;
		char text[IP_ADDR_TEXT_SIZE];
		json_array_foreach(json_at(o, "spec.clusterIPs"), k, v)
			if (ip_parse(json_string_value(v), &a) == 0)
				map_set(ips, ip_format(&a, text), ips);
		json_array_foreach(json_at(o, "spec.ports"), k, v)
			if (may_have_node_ports(o) && json_int(v, "nodePort", 0))
				ports[json_int(v, "nodePort", 0) - f->g.alloc->port_min] = true;
		if (needs_health_port(o) && json_int(o, "spec.healthCheckNodePort", 0))
			ports[json_int(o, "spec.healthCheckNodePort", 0) - f->g.alloc->port_min] = true;
	}
}

static void check_alloc(const struct fixture *f, unsigned step)
{
	enum { PORT_COUNT = 11 };
	struct map *ips = map_new(NULL);
	bool ports[PORT_COUNT] = { false };
	const char *key;
	void *value;
	size_t it = 0;
	add_up(f, ips, ports);
	while (map_next(f->g.alloc->ips, &it, &key, &value))
		if (!map_has(ips, key))
			fail_msg("step %u: %s is taken and nobody has it", step, key);
	assert_int_equal(map_count(ips), map_count(f->g.alloc->ips));
	for (size_t i = 0; i < PORT_COUNT; i++)
		if (ports[i] != f->g.alloc->ports[i])
			fail_msg("step %u: port %zu is %s", step, i, ports[i] ? "had and free" : "taken and nobody has it");
	map_free(ips);
}

static void random_step(struct fixture *f)
{
	static const char *const types[] = { "ClusterIP", "NodePort", "LoadBalancer", "ExternalName" };
	static const char *const policies[] = { "SingleStack", "PreferDualStack", "RequireDualStack" };
	static const char *const fields[] = {
		"\"externalTrafficPolicy\":\"Local\"", "\"externalTrafficPolicy\":\"Cluster\"", "\"clusterIP\":\"None\"",
		"\"clusterIP\":null,\"clusterIPs\":null", "\"clusterIP\":\"10.96.0.40\"", "\"ipFamilies\":[\"IPv6\",\"IPv4\"]",
		"\"ipFamilies\":[\"IPv6\"]", "\"ipFamilies\":null", "\"ports\":[{\"port\":80,\"nodePort\":30003}]",
		"\"ports\":[{\"name\":\"t\",\"port\":80},{\"name\":\"u\",\"port\":80,\"protocol\":\"UDP\"}]",
		"\"ports\":[{\"name\":\"t\",\"port\":80,\"nodePort\":30001},{\"name\":\"v\",\"port\":81,\"nodePort\":30002}]",
		"\"healthCheckNodePort\":30004", "\"allocateLoadBalancerNodePorts\":false", "\"externalName\":\"a.b\"", PORTS,
	};
	unsigned name = pick(6), what = pick(10);
	_cleanup_free_ char *path = str_printf(SVC "/r%u%s", name, pick(8) ? "" : "?dryRun=All");
	_cleanup_free_ char *spec = str_printf("\"type\":\"%s\",\"externalName\":\"a.b\",\"ipFamilyPolicy\":\"%s\",%s", ANY(types),
					       ANY(policies), ANY(fields));
	_cleanup_free_ char *body = str_printf("{\"metadata\":{\"name\":\"r%u\"},\"spec\":{%s,%s}}", name, PORTS, spec);
	_cleanup_free_ char *patch = what < 7 ? str_printf("{\"spec\":{%s}}", ANY(fields)) : str_printf("{\"spec\":{%s}}", spec);
	if (what == 0)
		ask(f, f->admin, "DELETE", path, NULL, NULL, NULL);
	else if (what < 4)
		ask(f, f->admin, "POST", SVC, NULL, NULL, body);
	else
		ask(f, f->admin, "PATCH", path, MERGE, NULL, patch);
	if (getenv("TRACE"))
		print_message("%s %s -> %d\n", what == 0 ? "DELETE" : what < 4 ? "POST" : path, what < 4 ? body : patch, f->status);
	/* Nothing a client sends is the server's fault, but (upstream's words) a full range and a health check port that is taken. */
	if (f->status >= 500 && !strstr(f->text.data, "full") && !strstr(f->text.data, "requested HealthCheck NodePort"))
		fail_msg("%s %s: %d %s", path, what < 4 ? body : patch, f->status, f->text.data);
}

static void test_random(void **state)
{
	const char *seed = getenv("SEED"), *budget = getenv("STEPS");
	unsigned steps = budget ? (unsigned)strtoul(budget, NULL, 10) : 400;
	struct fixture *f = *state;
	seed_state = seed ? strtoull(seed, NULL, 10) : 1;
	/* What the server makes at its start is durable when this is. */
	must(f, "POST", SVC, NULL, MAKE("first", PORTS));
	for (unsigned i = 0; i < steps; i++) {
		random_step(f);
		check_alloc(f, i);
	}
}

int main(void)
{
#define TEST(name, with) cmocka_unit_test_setup_teardown(name, with, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_policies, setup_dual), TEST(test_refused, setup_dual), TEST(test_single_stack_cluster, setup),
		TEST(test_up_and_down, setup_dual), TEST(test_types, setup_dual), TEST(test_load_balancer, setup_dual),
		TEST(test_protocols, setup), TEST(test_restart, setup_dual), TEST(test_full, setup_dual),
		TEST(test_v6_primary, setup_v6_first), TEST(test_random, setup_dual),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
