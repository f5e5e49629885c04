/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model by examples and by random histories: after every step the incremental result must be what a model built from
 * nothing says. KEELSON_TEST_STEPS and KEELSON_TEST_SEED set the budget and the seed. Which endpoints a frontend gets is
 * in semantics_test.c.
 */
#include <errno.h>

#include "proxy/model/model_fixture.h"

static void test_basic(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	set_slice(f.m, SLICE("a-1", "a") "ports: [{name: h, port: 8080}]\nendpoints:\n- {addresses: [10.244.0.2]}\n");
	expect(&f, ""); /* no Service yet */
	set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, type: NodePort, ports: [{name: h, port: 80, nodePort: 30080}]}\n");
	expect(&f, "owned 10.96.0.1\n"
		   "tcp 10.96.0.1:80 aff=0 -> [10.244.0.2:8080] [10.244.0.2:8080]\n"
		   "tcp node:30080 aff=0 -> [10.244.0.2:8080] [10.244.0.2:8080]\n");
	/* A second slice of the same Service, an endpoint in both, another target port. */
	set_slice(f.m, SLICE("a-2", "a") "ports: [{name: h, port: 9090}]\nendpoints:\n- {addresses: [10.244.0.3]}\n");
	set_slice(f.m, SLICE("a-3", "a") "ports: [{name: h, port: 8080}]\nendpoints:\n- {addresses: [10.244.0.2]}\n");
	expect(&f, "owned 10.96.0.1\n"
		   "tcp 10.96.0.1:80 aff=0 -> [10.244.0.2:8080 10.244.0.3:9090] [10.244.0.2:8080 10.244.0.3:9090]\n"
		   "tcp node:30080 aff=0 -> [10.244.0.2:8080 10.244.0.3:9090] [10.244.0.2:8080 10.244.0.3:9090]\n");
	model_slice_del(f.m, "d", "a-1");
	model_slice_del(f.m, "d", "a-2");
	set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, ports: [{name: h, port: 80}], sessionAffinity: ClientIP}\n");
	expect(&f, "owned 10.96.0.1\ntcp 10.96.0.1:80 aff=10800 -> [10.244.0.2:8080] [10.244.0.2:8080]\n");
	assert_int_equal(f.r.sets, 1);
	model_service_del(f.m, "d", "a");
	expect(&f, "");
	assert_int_equal(f.r.gone, 1);
	fixture_free(&f);
}

static void test_untouched_costs_nothing(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	for (int i = 1; i < 50; i++) {
		_cleanup_free_ char *s = str_printf("metadata: {name: s%d, namespace: d}\nspec: {clusterIP: 10.96.1.%d, ports: [{port: 80}]}\n", i, i);
		set_service(f.m, s);
	}
	flush(f.m, &f.r);
	assert_int_equal(f.r.sets, 49);
	set_slice(f.m, SLICE("s7-1", "s7") "ports: [{name: '', port: 8080}]\nendpoints:\n- {addresses: [10.244.0.2]}\n");
	flush(f.m, &f.r);
	assert_int_equal(f.r.sets, 1);
	flush(f.m, &f.r);
	assert_int_equal(f.r.sets, 0);
	fixture_free(&f);
}

static void test_port_ids_are_stable(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, ports: [{name: x, port: 80}, {name: y, port: 81}]}\n");
	flush(f.m, &f.r);
	/* Order, numbers of named ports and other ports may change: x stays itself. */
	set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, ports: [{name: z, port: 82}, {name: x, port: 180}]}\n");
	flush(f.m, &f.r);
	assert_int_equal(f.r.gone, 1);
	assert_int_equal(f.r.sets, 2);
	fixture_free(&f);
}

static void test_what_is_not_programmed(void **state)
{
	(void)state;
	static const char *const specs[] = {
		META("a") "spec: {clusterIP: None, ports: [{port: 80}]}\n",
		META("a") "spec: {type: ExternalName, externalName: x.y, clusterIP: 10.96.0.7, ports: [{port: 80}]}\n",
		META("a") "spec: {clusterIP: 10.96.0.10, ports: [{port: 53, protocol: UDP}]}\n",
		META("a") "spec: {clusterIP: '', ports: [{port: 80}]}\n",
		"metadata: {name: a, namespace: d, labels: {service.kubernetes.io/service-proxy-name: other}}\n"
		"spec: {clusterIP: 10.96.0.7, ports: [{port: 80}]}\n",
	};
	struct fixture f = fixture_new();
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.7, ports: [{port: 80}]}\n");
		expect(&f, "owned 10.96.0.7\ntcp 10.96.0.7:80 aff=0 -> [] []\n");
		set_service(f.m, specs[i]);
		expect(&f, "");
	}
	fixture_free(&f);
}

static void test_external_addresses(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	set_slice(f.m, SLICE("a-1", "a") "ports: [{name: '', port: 8}]\nendpoints:\n"
		       EP("10.0.0.1", "n1", "true", "true", "false") EP("10.0.0.2", "n2", "true", "true", "false"));
	set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, type: LoadBalancer, externalTrafficPolicy: Local, "
				   "internalTrafficPolicy: Local, externalIPs: [203.0.113.010, 203.0.113.10], ports: [{port: 80}]}\n"
				   "status: {loadBalancer: {ingress: [{ip: 198.51.100.1, ipMode: VIP}, {ip: 198.51.100.2, ipMode: Proxy}]}}\n");
	expect(&f, "owned 10.96.0.1\n"
		   "tcp 10.96.0.1:80 aff=0 -> [10.0.0.1:8] [10.0.0.1:8]\n"
		   "tcp 198.51.100.1:80 aff=0 -> [10.0.0.1:8 10.0.0.2:8] [10.0.0.1:8]\n"
		   "tcp 203.0.113.10:80 aff=0 -> [10.0.0.1:8 10.0.0.2:8] [10.0.0.1:8]\n");
	fixture_free(&f);
}

static void test_contradictions(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	set_service(f.m, META("b") "spec: {clusterIP: 10.96.0.2, externalIPs: [203.0.113.1], ports: [{port: 80}]}\n");
	expect(&f, "owned 10.96.0.2\ntcp 10.96.0.2:80 aff=0 -> [] []\ntcp 203.0.113.1:80 aff=0 -> [] []\n");
	set_slice(f.m, SLICE("a-1", "a") "ports: [{name: '', port: 8}]\nendpoints:\n- {addresses: [10.0.0.1]}\n");
	set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, externalIPs: [203.0.113.1], ports: [{port: 80}]}\n");
	expect(&f, "owned 10.96.0.1\nowned 10.96.0.2\ntcp 10.96.0.1:80 aff=0 -> [10.0.0.1:8] [10.0.0.1:8]\n"
		   "tcp 10.96.0.2:80 aff=0 -> [] []\ntcp 203.0.113.1:80 aff=0 -> [10.0.0.1:8] [10.0.0.1:8]\n");
	model_service_del(f.m, "d", "a");
	expect(&f, "owned 10.96.0.2\ntcp 10.96.0.2:80 aff=0 -> [] []\ntcp 203.0.113.1:80 aff=0 -> [] []\n");
	fixture_free(&f);
}

static void test_bad_objects(void **state)
{
	(void)state;
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "spec: {}", "Service without a name or namespace" },
		{ META("a") "spec: {clusterIP: bogus, ports: [{port: 80}]}", "Service d/a: clusterIP is not a usable address: \"bogus\"" },
		{ META("a") "spec: {clusterIP: 10.96.0.1, ports: [{name: x, port: 99999}]}",
		  "Service d/a: port without a usable number or protocol: \"x\"" },
		{ META("a") "spec: {clusterIP: 10.96.0.1, ports: [{name: x, port: 80, protocol: ICMP}]}",
		  "Service d/a: port without a usable number or protocol: \"x\"" },
		{ META("a") "spec: {clusterIP: 10.96.0.1, externalIPs: [7, {}], ports: 3}",
		  "Service d/a: externalIPs holds what is not a usable address: \"\"" },
	};
	struct fixture f = fixture_new();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_err_ struct err err = { 0 };
		json_t *o = yaml_parse(rows[i].text, strlen(rows[i].text), NULL);
		assert_int_equal(model_service_set(f.m, o, &err), -EINVAL);
		assert_string_equal(err_msg(&err), rows[i].want);
		json_decref(o);
	}
	_cleanup_err_ struct err err = { 0 };
	const char *s = SLICE("a-1", "a") "ports: [{port: 8}]\nendpoints: [{addresses: [fd00::1]}, 7, {addresses: [10.0.0.1]}]\n";
	json_t *o = yaml_parse(s, strlen(s), NULL);
	assert_int_equal(model_slice_set(f.m, o, &err), -EINVAL);
	assert_int_equal(model_endpoint_count(f.m), 1);
	json_decref(o);
	fixture_free(&f);
}

static unsigned seed;
static unsigned dice(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % n;
}

/* One of them, one time in n; else nothing. */
static void maybe(struct strbuf *b, unsigned n, const char *a, const char *other)
{
	if (dice(n) == 0)
		strbuf_adds(b, dice(2) ? a : other);
}

enum { SERVICES = 7, SLICES = 14 };
static char *random_service(unsigned i)
{
	static const char *const types[] = { "ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "LoadBalancer" };
	struct strbuf b = { 0 };
	unsigned ports = dice(3);
	strbuf_addf(&b, "metadata:\n  name: s%u\n  namespace: d\n", i);
	maybe(&b, 6, "  labels: {service.kubernetes.io/service-proxy-name: x}\n", "  labels: {service.kubernetes.io/headless: ''}\n");
	if (dice(2))
		strbuf_addf(&b, "  annotations: {keelson.dev/balancing: %s, keelson.dev/forwarding: %s, keelson.dev/weights: '10.244.0.%u=%u, n%u=%u'}\n",
			    dice(2) ? "maglev" : "least-connections", dice(2) ? "dsr" : "snat", dice(4), dice(3), 1 + dice(2), dice(3));
	strbuf_addf(&b, "spec:\n  type: %s\n", types[dice(5)]);
	switch (dice(8)) {
	case 0:
		strbuf_adds(&b, "  clusterIP: None\n");
		break;
	case 1:
		strbuf_adds(&b, dice(2) ? "  ipFamilies: [IPv6]\n" : "");
		break;
	case 2:
		strbuf_addf(&b, "  clusterIPs: ['fd00:96::%u']\n", 1 + dice(4));
		break;
	case 3:
	case 4:
		strbuf_addf(&b, "  clusterIPs: [10.96.0.%u, 'fd00:96::%u']\n", i + 1, dice(3) ? i + 1 : 1 + dice(4));
		break;
	default:
		strbuf_addf(&b, "  clusterIP: 10.96.0.%u\n", dice(3) ? i + 1 : 1 + dice(4));
	}
	strbuf_adds(&b, "  ports:\n");
	for (unsigned p = 0; p <= ports; p++)
		strbuf_addf(&b, "  - {name: p%u, port: %u, protocol: %s, nodePort: %u}\n", p, 80 + dice(3),
			    dice(3) ? "TCP" : dice(2) ? "UDP" : "SCTP", dice(4) ? 30000 + dice(6) : 0);
	if (dice(3) == 0)
		strbuf_addf(&b, "  externalIPs: [203.0.113.%u, 203.0.113.%u, '2001:db8::%u']\n", dice(3), dice(3), 1 + dice(3));
	maybe(&b, 2, "  externalTrafficPolicy: Local\n  healthCheckNodePort: 32000\n", "  externalTrafficPolicy: Local\n  healthCheckNodePort: 32001\n");
	maybe(&b, 4, "  internalTrafficPolicy: Local\n", "  internalTrafficPolicy: Cluster\n");
	maybe(&b, 3, "  loadBalancerSourceRanges: [192.0.2.0/24, '2001:db8:9::/48']\n", "  loadBalancerSourceRanges: [10.0.0.0/8]\n");
	maybe(&b, 4, "  sessionAffinity: ClientIP\n", "  sessionAffinity: None\n");
	if (dice(2))
		strbuf_addf(&b, "status: {loadBalancer: {ingress: [{ip: 198.51.100.%u}, {ip: '2001:db8:1::%u', ipMode: %s}]}}\n", 1 + dice(3),
			    1 + dice(3), dice(2) ? "VIP" : "Proxy");
	return strbuf_take(&b);
}

static char *random_slice(unsigned i)
{
	struct strbuf b = { 0 };
	bool v6 = dice(4) == 0;
	const char *net = v6 ? "fd00:244::" : "10.244.0.";
	strbuf_addf(&b, "addressType: %s\nmetadata: {name: e%u, namespace: d, labels: {kubernetes.io/service-name: s%u}}\nports:\n",
		    v6 ? "IPv6" : "IPv4", i, dice(4) ? i % SERVICES : dice(SERVICES));
	for (unsigned p = 0; p < 3; p++)
		strbuf_addf(&b, "- {name: p%u, port: %u, protocol: %s}\n", p, 8080 + dice(2), dice(4) ? "TCP" : "UDP");
	strbuf_addf(&b, "endpoints:\n- {addresses: ['%s9'], conditions: {ready: false}}\n", net);
	unsigned hinted = dice(3);
	for (unsigned e = dice(4); e-- > 0;) {
		strbuf_addf(&b, "- {addresses: ['%s%u'], nodeName: n%u, conditions: {ready: %s, serving: %s, terminating: %s}, hints: {", net,
			    1 + dice(6), 1 + dice(2), dice(2) ? "true" : "false", dice(2) ? "true" : "false",
			    dice(2) ? "true" : "false");
		if (hinted && dice(8))
			strbuf_addf(&b, "forZones: [{name: z%u}], ", dice(3));
		if (hinted == 2 && dice(8))
			strbuf_addf(&b, "forNodes: [{name: n%u}]", 1 + dice(3));
		strbuf_adds(&b, "}}\n");
	}
	return strbuf_take(&b);
}

static unsigned env(const char *name, unsigned fallback)
{
	const char *v = getenv(name);
	return v ? (unsigned)strtoul(v, NULL, 10) : fallback;
}

static void count_frontends(const struct model_port *p, void *user)
{
	*(size_t *)user += p->frontend_count;
}

static void no_port_gone(uint32_t id, void *user)
{
	(void)id;
	(void)user;
	fail();
}

/* As much as one object may hold: the work is in proportion to it, not to its square. */
static void test_largest_service(void **state)
{
	(void)state;
	enum { PORTS = 1024, ADDRESSES = 255 };
	struct fixture f = fixture_new();
	_cleanup_strbuf_ struct strbuf b = { 0 };
	strbuf_adds(&b, META("a") "spec:\n  clusterIP: 10.96.0.1\n  externalIPs: [");
	for (int i = 0; i < ADDRESSES + 10; i++)
		strbuf_addf(&b, "%s203.0.%d.%d", i ? ", " : "", 113 + i / 250, i % 250 + 1);
	strbuf_adds(&b, "]\n  ports:\n");
	for (int i = 0; i < PORTS + 10; i++)
		strbuf_addf(&b, "  - {name: p%d, port: %d}\n", i, i + 1);
	for (int again = 0; again < 2; again++) {
		size_t n = 0;
		const struct model_sink sink = { .port_set = count_frontends, .port_gone = no_port_gone, .user = &n };
		_cleanup_free_ char *why = take_text(f.m, b.data, true);
		assert_string_equal(why, "Service d/a: has too many addresses, only some are used; the first left out is \"203.0.114.6\"");
		model_flush(f.m, &sink);
		assert_int_equal(n, PORTS * (ADDRESSES + 1) + 1); /* and the address's other ports */
	}
	fixture_free(&f);
}

/* Everything that is there, told to a model that knows nothing yet, in an order of its own. */
static char *picture_from_nothing(char *const *services, char *const *slices, const char *zone, size_t *ret_no_local)
{
	struct fixture g = fixture_new_in(zone);
	for (unsigned k = 0, start = dice(SLICES); k < SLICES; k++)
		if (slices[(start + k) % SLICES])
			set_slice(g.m, slices[(start + k) % SLICES]);
	for (unsigned k = 0, start = dice(SERVICES); k < SERVICES; k++)
		if (services[(start + k) % SERVICES])
			set_service(g.m, services[(start + k) % SERVICES]);
	flush(g.m, &g.r);
	char *text = picture(&g.r);
	*ret_no_local = model_no_local(g.m, MODEL_TRAFFIC_INTERNAL) * 1000 + model_no_local(g.m, MODEL_TRAFFIC_EXTERNAL);
	fixture_free(&g);
	return text;
}

static void test_random_history(void **state)
{
	(void)state;
	static const char *const zones[] = { NULL, "z0", "z1", "z2" };
	char *services[SERVICES] = { 0 }, *slices[SLICES] = { 0 }, name[16];
	struct fixture f = fixture_new();
	const char *zone = NULL;
	unsigned steps = env("KEELSON_TEST_STEPS", 1500);
	seed = env("KEELSON_TEST_SEED", 1);
	for (unsigned step = 0; step < steps; step++) {
		for (unsigned changes = 1 + dice(3); changes-- > 0;) {
			bool service = dice(2);
			unsigned i = dice(service ? SERVICES : SLICES);
			char **at = service ? &services[i] : &slices[i];
			if (dice(12) == 0)
				model_set_zone(f.m, zone = zones[dice(4)]);
			free(*at);
			*at = dice(4) ? (service ? random_service(i) : random_slice(i)) : NULL;
			snprintf(name, sizeof(name), "%c%u", service ? 's' : 'e', i);
			if (!*at && service)
				model_service_del(f.m, "d", name);
			else if (!*at)
				model_slice_del(f.m, "d", name);
			else if (service)
				set_service(f.m, *at);
			else
				set_slice(f.m, *at);
		}
		flush(f.m, &f.r);
		size_t no_local;
		_cleanup_free_ char *have = picture(&f.r), *want = picture_from_nothing(services, slices, zone, &no_local);
		if (strcmp(have, want) != 0)
			print_message("step %u\n", step);
		assert_string_equal(have, want);
		assert_int_equal(model_no_local(f.m, MODEL_TRAFFIC_INTERNAL) * 1000 + model_no_local(f.m, MODEL_TRAFFIC_EXTERNAL),
				 no_local);
	}
	for (unsigned i = 0; i < SERVICES; i++)
		free(services[i]);
	for (unsigned i = 0; i < SLICES; i++)
		free(slices[i]);
	fixture_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_basic),
		cmocka_unit_test(test_untouched_costs_nothing),
		cmocka_unit_test(test_port_ids_are_stable),
		cmocka_unit_test(test_what_is_not_programmed),
		cmocka_unit_test(test_external_addresses),
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_bad_objects),
		cmocka_unit_test(test_largest_service),
		cmocka_unit_test(test_random_history),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
