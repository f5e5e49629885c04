/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model by tables (which endpoints a frontend gets) and by random histories: after every step the incremental result
 * must be what a model built from nothing says. KEELSON_TEST_STEPS and KEELSON_TEST_SEED set the budget and the seed.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/mem.h"
#include "proxy/model/model.h"

/* A sink that keeps a line of text per frontend: "tcp 10.96.0.1:80 -> [inside] [outside]". */
struct recorder {
	struct map *ports; /* id -> text, own */
	size_t sets, gone;
};

static const char *proto_name(uint8_t p)
{
	return p == IPPROTO_TCP ? "tcp" : p == IPPROTO_UDP ? "udp" : p == IPPROTO_SCTP ? "sctp" : "any";
}

static void put_set(struct strbuf *b, const struct model_port *p, unsigned set)
{
	char text[IP_ADDR_TEXT_SIZE];
	bool any = false;
	strbuf_addc(b, '[');
	for (size_t i = 0; i < p->backend_count; i++)
		if (p->backends[i].flags & 1u << set) {
			strbuf_addf(b, "%s%s:%u", any ? " " : "", ip_format(&p->backends[i].addr, text), p->backends[i].port);
			any = true;
		}
	if (!any && set == MODEL_SET_LOCAL && p->local_drop)
		strbuf_adds(b, "drop");
	strbuf_addc(b, ']');
}

static void on_port(const struct model_port *p, void *user)
{
	struct recorder *r = user;
	struct strbuf b = { 0 };
	char id[16], text[IP_ADDR_TEXT_SIZE];
	snprintf(id, sizeof(id), "%u", p->id);
	for (size_t i = 1; i < p->backend_count; i++)
		assert_true(memcmp(p->backends[i - 1].addr.bytes, p->backends[i].addr.bytes, 16) < 0 ||
			    p->backends[i - 1].port != p->backends[i].port);
	for (size_t i = 0; i < p->frontend_count; i++) {
		const struct model_frontend *f = &p->frontends[i];
		if (f->kind == MODEL_OWNED) {
			strbuf_addf(&b, "owned %s\n", ip_format(&f->addr, text));
			continue;
		}
		strbuf_addf(&b, "%s %s:%u aff=%u -> ", proto_name(f->proto),
			    f->kind == MODEL_NODE_PORT ? "node" : ip_format(&f->addr, text), f->port, p->affinity_s);
		put_set(&b, p, f->inside);
		strbuf_addc(&b, ' ');
		put_set(&b, p, f->outside);
		strbuf_addc(&b, '\n');
	}
	map_set(r->ports, id, strbuf_take(&b));
	r->sets++;
}

static void on_gone(uint32_t id, void *user)
{
	struct recorder *r = user;
	char key[16];
	snprintf(key, sizeof(key), "%u", id);
	assert_true(map_del(r->ports, key));
	r->gone++;
}

static void flush(struct model *m, struct recorder *r)
{
	const struct model_sink sink = { .port_set = on_port, .port_gone = on_gone, .user = r };
	r->sets = r->gone = 0;
	model_flush(m, &sink);
}

static int line_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All lines of all ports, sorted. */
static char *picture(const struct recorder *r)
{
	_cleanup_strlist_ struct strlist lines = { 0 };
	struct strbuf b = { 0 };
	size_t it = 0;
	void *v;
	while (map_next(r->ports, &it, NULL, &v))
		strlist_split(&lines, v, '\n');
	if (lines.count)
		qsort(lines.items, lines.count, sizeof(*lines.items), line_cmp);
	for (size_t i = 0; i < lines.count; i++)
		strbuf_addf(&b, "%s\n", lines.items[i]);
	return strbuf_take(&b);
}

static void set_service(struct model *m, const char *text)
{
	_cleanup_err_ struct err err = { 0 };
	json_t *o = yaml_parse(text, strlen(text), &err);
	assert_non_null(o);
	assert_int_equal(model_service_set(m, o, &err), 0);
	json_decref(o);
}

static void set_slice(struct model *m, const char *text)
{
	_cleanup_err_ struct err err = { 0 };
	json_t *o = yaml_parse(text, strlen(text), &err);
	assert_non_null(o);
	assert_int_equal(model_slice_set(m, o, &err), 0);
	json_decref(o);
}

struct fixture {
	struct model *m;
	struct recorder r;
};

static struct fixture fixture_new(void)
{
	struct model_options o = { .size = sizeof(o), .node_name = "n1" };
	ip_parse("10.96.0.10", &o.cluster_dns[0]);
	return (struct fixture){ .m = model_new(&o), .r = { .ports = map_new(free) } };
}

static void fixture_free(struct fixture *f)
{
	model_free(f->m);
	map_free(f->r.ports);
}

static void expect(struct fixture *f, const char *want)
{
	flush(f->m, &f->r);
	_cleanup_free_ char *got = picture(&f->r);
	assert_string_equal(got, want);
}

#define META(name) "metadata: {name: " name ", namespace: d}\n"
#define SLICE(name, service)                                                                         \
	"addressType: IPv4\nmetadata: {name: " name ", namespace: d, labels: {kubernetes.io/service-name: " service "}}\n"
#define EP(a, node, ready, serving, terminating)                                                     \
	"- {addresses: [" a "], nodeName: " node ", conditions: {ready: " ready ", serving: " serving    \
	", terminating: " terminating "}}\n"

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

/* Table H of the semantics: e1, e2 here ready; e3 here serving+terminating; e4 here terminating; e5 elsewhere ready. */
static void test_terminating(void **state)
{
	(void)state;
	static const struct {
		const char *name, *endpoints, *want;
	} rows[] = {
		{ "ready ones exist",
		  EP("10.0.0.1", "n1", "true", "true", "false") EP("10.0.0.2", "n1", "true", "true", "false")
		  EP("10.0.0.3", "n1", "false", "true", "true") EP("10.0.0.4", "n1", "false", "false", "true")
		  EP("10.0.0.5", "n2", "true", "true", "false"),
		  "[10.0.0.1:8 10.0.0.2:8 10.0.0.5:8] [10.0.0.1:8 10.0.0.2:8]" },
		{ "only serving-terminating here, ready elsewhere",
		  EP("10.0.0.2", "n1", "false", "true", "true") EP("10.0.0.3", "n1", "false", "true", "true")
		  EP("10.0.0.5", "n2", "true", "true", "false"),
		  "[10.0.0.5:8] [10.0.0.2:8 10.0.0.3:8]" },
		{ "none ready anywhere",
		  EP("10.0.0.2", "n1", "false", "true", "true") EP("10.0.0.4", "n1", "false", "false", "true")
		  EP("10.0.0.5", "n2", "false", "true", "true"),
		  "[10.0.0.2:8 10.0.0.5:8] [10.0.0.2:8]" },
		{ "only elsewhere: from outside it is dropped, not refused",
		  EP("10.0.0.5", "n2", "false", "true", "true"), "[10.0.0.5:8] [drop]" },
		{ "nothing usable: refused", EP("10.0.0.4", "n1", "false", "false", "true"), "[] []" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture f = fixture_new();
		_cleanup_free_ char *slice = str_printf("%sports: [{name: '', port: 8}]\nendpoints:\n%s", SLICE("a-1", "a"), rows[i].endpoints);
		_cleanup_free_ char *want = str_printf("owned 10.96.0.1\ntcp 10.96.0.1:80 aff=0 -> %.*s %.*s\ntcp node:30080 aff=0 -> %s\n",
						       (int)strcspn(rows[i].want, "]") + 1, rows[i].want,
						       (int)strcspn(rows[i].want, "]") + 1, rows[i].want, rows[i].want);
		set_slice(f.m, slice);
		set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, type: NodePort, externalTrafficPolicy: Local, "
					   "ports: [{port: 80, nodePort: 30080}]}\n");
		print_message("%s\n", rows[i].name);
		expect(&f, want);
		fixture_free(&f);
	}
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

enum { SERVICES = 7, SLICES = 12 };
static char *random_service(unsigned i)
{
	static const char *const types[] = { "ClusterIP", "NodePort", "LoadBalancer", "ExternalName" };
	struct strbuf b = { 0 };
	unsigned ports = dice(3);
	strbuf_addf(&b, "metadata: {name: s%u, namespace: d}\nspec:\n  type: %s\n", i, types[dice(4)]);
	if (dice(8))
		strbuf_addf(&b, "  clusterIP: 10.96.0.%u\n", dice(3) ? i + 1 : 1 + dice(4));
	else
		strbuf_adds(&b, "  clusterIP: None\n");
	strbuf_adds(&b, "  ports:\n");
	for (unsigned p = 0; p <= ports; p++)
		strbuf_addf(&b, "  - {name: p%u, port: %u, protocol: %s, nodePort: %u}\n", p, 80 + dice(3), dice(3) ? "TCP" : "UDP",
			    30000 + dice(6));
	if (dice(3) == 0)
		strbuf_addf(&b, "  externalIPs: [203.0.113.%u, 203.0.113.%u]\n", dice(3), dice(3));
	if (dice(3) == 0)
		strbuf_adds(&b, "  externalTrafficPolicy: Local\n");
	if (dice(4) == 0)
		strbuf_adds(&b, "  sessionAffinity: ClientIP\n");
	return strbuf_take(&b);
}

static char *random_slice(unsigned i)
{
	struct strbuf b = { 0 };
	strbuf_addf(&b, "addressType: IPv4\nmetadata: {name: e%u, namespace: d, labels: {kubernetes.io/service-name: s%u}}\nports:\n",
		    i, dice(4) ? i % SERVICES : dice(SERVICES));
	for (unsigned p = 0; p < 3; p++)
		strbuf_addf(&b, "- {name: p%u, port: %u, protocol: %s}\n", p, 8080 + dice(2), dice(4) ? "TCP" : "UDP");
	strbuf_adds(&b, "endpoints:\n- {addresses: [10.244.9.9], conditions: {ready: false}}\n");
	for (unsigned e = dice(4); e-- > 0;)
		strbuf_addf(&b, "- {addresses: [10.244.0.%u], nodeName: n%u, conditions: {ready: %s, serving: %s, terminating: %s}}\n",
			    1 + dice(6), 1 + dice(2), dice(2) ? "true" : "false", dice(2) ? "true" : "false",
			    dice(2) ? "true" : "false");
	return strbuf_take(&b);
}

static unsigned env(const char *name, unsigned fallback)
{
	const char *v = getenv(name);
	return v ? (unsigned)strtoul(v, NULL, 10) : fallback;
}

static void test_random_history(void **state)
{
	(void)state;
	char *services[SERVICES] = { 0 }, *slices[SLICES] = { 0 }, name[16];
	struct fixture f = fixture_new();
	unsigned steps = env("KEELSON_TEST_STEPS", 1500);
	seed = env("KEELSON_TEST_SEED", 1);
	for (unsigned step = 0; step < steps; step++) {
		for (unsigned changes = 1 + dice(3); changes-- > 0;) {
			bool service = dice(2);
			unsigned i = dice(service ? SERVICES : SLICES);
			char **at = service ? &services[i] : &slices[i];
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
		struct fixture g = fixture_new();
		for (unsigned k = 0, start = dice(SLICES); k < SLICES; k++)
			if (slices[(start + k) % SLICES])
				set_slice(g.m, slices[(start + k) % SLICES]);
		for (unsigned k = 0, start = dice(SERVICES); k < SERVICES; k++)
			if (services[(start + k) % SERVICES])
				set_service(g.m, services[(start + k) % SERVICES]);
		flush(g.m, &g.r);
		_cleanup_free_ char *have = picture(&f.r), *want = picture(&g.r);
		if (strcmp(have, want) != 0)
			print_message("step %u\n", step);
		assert_string_equal(have, want);
		fixture_free(&g);
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
		cmocka_unit_test(test_terminating),
		cmocka_unit_test(test_what_is_not_programmed),
		cmocka_unit_test(test_external_addresses),
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_bad_objects),
		cmocka_unit_test(test_random_history),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
