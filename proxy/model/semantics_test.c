/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The packet-flow tables of Services as data: for each a Service, its endpoints, and which endpoints each frontend leads to
 * from inside and from outside. Endpoints are written "ADDRESS NODE STATE [z=ZONES] [n=NODES]; ...": 1 is 10.0.0.1 (6:1 is
 * fd00::1), this node is n1; the states are r ready, s serving while terminating, t terminating, u not ready.
 */
#include "proxy/model/model_fixture.h"

/* "key: [{name: a}, {name: b}]" of "a,b". */
static void put_names(struct strbuf *b, const char *key, const char *names)
{
	_cleanup_strlist_ struct strlist l = { 0 };
	strlist_split(&l, names, ',');
	strbuf_addf(b, "%s: [", key);
	for (size_t i = 0; i < l.count; i++)
		strbuf_addf(b, "%s{name: %s}", i ? ", " : "", l.items[i]);
	strbuf_adds(b, "], ");
}

static void put_endpoint(struct strbuf *b, const char *text)
{
	_cleanup_strlist_ struct strlist w = { 0 };
	strlist_split(&w, text, ' ');
	assert_true(w.count >= 3);
	char state = w.items[2][0];
	const char *v6 = str_after(w.items[0], "6:");
	strbuf_addf(b, "- {addresses: [\"%s%s\"], nodeName: %s, conditions: {ready: %s, serving: %s, terminating: %s}, hints: {",
		    v6 ? "fd00::" : "10.0.0.", v6 ? v6 : w.items[0], w.items[1], state == 'r' ? "true" : "false",
		    strchr("rs", state) ? "true" : "false", strchr("st", state) ? "true" : "false");
	for (size_t i = 3; i < w.count; i++)
		put_names(b, w.items[i][0] == 'z' ? "forZones" : "forNodes", w.items[i] + 2);
	strbuf_adds(b, "}}\n");
}

/* Endpoints of Service d/a, port 8 for its unnamed TCP port; those of one family. */
static void put_slice(struct fixture *f, const char *endpoints, bool v6)
{
	_cleanup_strlist_ struct strlist l = { 0 };
	_cleanup_strbuf_ struct strbuf b = { 0 };
	size_t n = 0;
	strbuf_addf(&b, "addressType: %s\nmetadata: {name: a-%s, namespace: d, labels: {kubernetes.io/service-name: a}}\n"
			"ports: [{name: '', port: 8}]\nendpoints:\n",
		    v6 ? "IPv6" : "IPv4", v6 ? "6" : "4");
	strlist_split(&l, endpoints, ';');
	for (size_t i = 0; i < l.count; i++)
		if ((strstr(l.items[i], "6:") != NULL) == v6) {
			put_endpoint(&b, l.items[i]);
			n++;
		}
	if (n)
		set_slice(f->m, b.data);
	else
		model_slice_del(f->m, "d", v6 ? "a-6" : "a-4");
}

static void put_endpoints(struct fixture *f, const char *endpoints)
{
	put_slice(f, endpoints, false);
	put_slice(f, endpoints, true);
}

/* The last parts of a set's addresses: "1 2", "drop", or "-" for one that is refused. */
static char *short_set(const char *set)
{
	struct strbuf b = { 0 };
	_cleanup_free_ char *copy = mem_strndup(set, strcspn(set, "]"));
	_cleanup_strlist_ struct strlist l = { 0 };
	strlist_split(&l, copy, ' ');
	for (size_t i = 0; i < l.count; i++) {
		const char *at = str_after(l.items[i], "10.0.0.");
		if (!at)
			at = str_after(l.items[i], "fd00::");
		strbuf_adds(&b, i ? " " : "");
		strbuf_add(&b, at ? at : l.items[i], at ? strcspn(at, ":*") : strlen(l.items[i]));
		strbuf_adds(&b, at ? strchr(at, '*') : NULL);
	}
	strbuf_adds(&b, l.count ? "" : "-");
	return strbuf_take(&b);
}

/* "INSIDE / OUTSIDE" of the frontend whose line begins so; "none" when there is no such frontend. */
static char *frontend(struct fixture *f, const char *begins)
{
	flush(f->m, &f->r);
	_cleanup_free_ char *all = picture(&f->r);
	_cleanup_strlist_ struct strlist lines = { 0 };
	strlist_split(&lines, all, '\n');
	for (size_t i = 0; i < lines.count; i++) {
		const char *at = str_after(lines.items[i], begins);
		if (!at)
			continue;
		const char *in = strchr(at, '['), *out = strchr(in + 1, '[');
		_cleanup_free_ char *a = short_set(in + 1), *b = short_set(out + 1);
		return str_printf("%s / %s", a, b);
	}
	return mem_strdup("none");
}

static void expect_frontend(struct fixture *f, const char *begins, const char *want)
{
	_cleanup_free_ char *got = frontend(f, begins);
	if (strcmp(got, want) != 0)
		print_message("%s\n", begins);
	assert_string_equal(got, want);
}

/* Everything externally accessible, on both policies. */
static char *full_service(const char *internal, const char *external)
{
	return str_printf(META("a") "spec: {type: LoadBalancer, clusterIP: 10.96.0.1, internalTrafficPolicy: %s, "
				    "externalTrafficPolicy: %s, externalIPs: [203.0.113.1], ports: [{port: 80, nodePort: 30080}]}\n"
				    "status: {loadBalancer: {ingress: [{ip: 198.51.100.1}]}}\n",
			  internal, external);
}

/* Tables A, F, C and G: one Service with every kind of frontend. */
static void test_policies(void **state)
{
	(void)state;
	static const struct {
		const char *name, *internal, *external, *endpoints;
		const char *cluster_ip, *others; /* NodePort, external and balancer's address: the same */
	} rows[] = {
		{ "A default", "Cluster", "Cluster", "1 n1 r; 2 n2 r", "1 2 / 1 2", "1 2 / 1 2" },
		{ "A eTP Local: from inside it is not looked at", "Cluster", "Local", "1 n1 r; 2 n2 r", "1 2 / 1 2", "1 2 / 1" },
		{ "A iTP Local: only the ClusterIP", "Local", "Cluster", "1 n1 r; 2 n2 r", "1 / 1", "1 2 / 1 2" },
		{ "A both", "Local", "Local", "1 n1 r; 2 n2 r", "1 / 1", "1 2 / 1" },
		{ "C no endpoints", "Cluster", "Cluster", "", "- / -", "- / -" },
		{ "C no endpoints, Local", "Local", "Local", "", "- / -", "- / -" },
		{ "G iTP Local with one here", "Local", "Cluster", "1 n1 r; 2 n2 r; 3 n3 r", "1 / 1", "1 2 3 / 1 2 3" },
		{ "G iTP Local with all here", "Local", "Cluster", "1 n1 r; 2 n1 r", "1 2 / 1 2", "1 2 / 1 2" },
		{ "G iTP Local with none here", "Local", "Cluster", "1 n2 r; 2 n3 r", "drop / drop", "1 2 / 1 2" },
		{ "G eTP Local with none here", "Cluster", "Local", "1 n2 r; 2 n3 r", "1 2 / 1 2", "1 2 / drop" },
		{ "G both Local with none here", "Local", "Local", "1 n2 r; 2 n3 r", "drop / drop", "1 2 / drop" },
		{ "G only unusable ones here and elsewhere", "Local", "Local", "1 n1 u; 2 n2 t", "- / -", "- / -" },
		{ "G unusable here, usable elsewhere", "Local", "Local", "1 n1 u; 2 n2 s", "drop / drop", "2 / drop" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture f = fixture_new();
		_cleanup_free_ char *service = full_service(rows[i].internal, rows[i].external);
		print_message("%s\n", rows[i].name);
		set_service(f.m, service);
		put_endpoints(&f, rows[i].endpoints);
		expect_frontend(&f, "tcp 10.96.0.1:80", rows[i].cluster_ip);
		expect_frontend(&f, "tcp node:30080", rows[i].others);
		expect_frontend(&f, "tcp 203.0.113.1:80", rows[i].others);
		expect_frontend(&f, "tcp 198.51.100.1:80", rows[i].others);
		fixture_free(&f);
	}
}

/* Table H: e1, e2 here ready; e3 here serving while terminating; e4 here terminating; e5 elsewhere ready. */
static void test_terminating(void **state)
{
	(void)state;
	static const struct {
		const char *name, *endpoints, *cluster, *local;
	} rows[] = {
		{ "ready ones exist", "1 n1 r; 2 n1 r; 3 n1 s; 4 n1 t; 5 n2 r", "1 2 5", "1 2" },
		{ "here only serving and terminating, ready elsewhere", "2 n1 s; 3 n1 s; 4 n1 t; 5 n2 r", "5", "2 3" },
		{ "none is ready", "2 n1 s; 3 n1 s; 4 n1 t; 5 n2 s", "2 3 5", "2 3" },
		{ "serving and terminating only elsewhere: dropped here, not refused", "4 n1 t; 5 n2 s", "5", "drop" },
		{ "nothing usable", "4 n1 t; 5 n2 t; 6 n2 u", "-", "-" },
		{ "all deleted", "", "-", "-" },
		/* publishNotReadyAddresses: who makes the slices says "ready" whatever else is the case. */
		{ "one ready here while it terminates", "1 n1 r; 3 n1 s", "1", "1" },
	};
	struct fixture f = fixture_new();
	_cleanup_free_ char *service = full_service("Cluster", "Local");
	set_service(f.m, service);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *all = str_printf("%s / %s", rows[i].cluster, rows[i].cluster);
		_cleanup_free_ char *split = str_printf("%s / %s", rows[i].cluster, rows[i].local);
		print_message("%s\n", rows[i].name);
		put_endpoints(&f, rows[i].endpoints);
		expect_frontend(&f, "tcp 10.96.0.1:80", all);
		expect_frontend(&f, "tcp node:30080", split);
	}
	fixture_free(&f);
}

/* publishNotReadyAddresses: such endpoints come as ready, even those that serve nothing and terminate. */
static void test_conditions(void **state)
{
	(void)state;
	static const struct {
		const char *conditions, *want;
	} rows[] = {
		{ "{}", "1 / 1" }, /* what nobody says is ready */
		{ "{ready: true, serving: false, terminating: true}", "1 / 1" },
		{ "{ready: false}", "- / -" },
		{ "{ready: null, serving: null, terminating: null}", "1 / 1" },
		{ "{ready: false, terminating: true}", "- / -" },
		{ "{ready: false, serving: true, terminating: true}", "1 / 1" },
		{ "{ready: false, serving: true, terminating: false}", "- / -" },
		{ "{ready: false, serving: true}", "- / -" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture f = fixture_new();
		_cleanup_free_ char *slice = str_printf(SLICE("a-1", "a") "ports: [{name: '', port: 8}]\nendpoints: "
							"[{addresses: [10.0.0.1], nodeName: n1, conditions: %s}]\n", rows[i].conditions);
		print_message("%s\n", rows[i].conditions);
		set_slice(f.m, slice);
		set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n");
		expect_frontend(&f, "tcp 10.96.0.1:80", rows[i].want);
		fixture_free(&f);
	}
}

/* Table J. policies: internal and external, C or L; external "-" when it has no external frontend. want: ClusterIP, then the
 * NodePort from inside and outside. */
static void test_topology(void **state)
{
	(void)state;
	static const struct {
		const char *name, *zone, *policies, *endpoints, *cluster_ip, *node_port;
	} rows[] = {
		{ "all have hints and one is for the zone", "a", "CC", "1 n1 r z=a; 2 n2 r z=b; 3 n3 r z=c; 4 n4 r z=a", "1 4 / 1 4", "1 4 / 1 4" },
		{ "the other zone", "b", "CC", "1 n1 r z=a; 2 n2 r z=b; 3 n3 r z=c; 4 n4 r z=a", "2 / 2", "2 / 2" },
		{ "eTP Local ignores topology", "a", "CL", "1 n1 r z=a; 2 n2 r z=b; 3 n1 r z=c; 4 n4 r z=a", "1 4 / 1 4", "1 4 / 1 3" },
		{ "iTP Local ignores topology", "a", "LC", "1 n1 r z=a; 2 n2 r z=b; 3 n1 r z=c; 4 n4 r z=a", "1 3 / 1 3", "1 4 / 1 4" },
		{ "the node has no labels", NULL, "C-", "1 n1 r z=a; 2 n2 r z=b", "1 2 / 1 2", "none" },
		{ "the node's zone is empty", "", "C-", "1 n1 r z=a; 2 n2 r z=b", "1 2 / 1 2", "none" },
		{ "no endpoint is for the zone", "d", "C-", "1 n1 r z=a; 2 n2 r z=b", "1 2 / 1 2", "none" },
		{ "only one that is not ready is for the zone", "b", "C-", "1 n1 r z=a; 2 n2 u z=b", "1 / 1", "none" },
		{ "one has no hint", "a", "C-", "1 n1 r z=a; 2 n2 r; 3 n3 r z=b", "1 2 3 / 1 2 3", "none" },
		{ "only one that is not ready has no hint", "a", "C-", "1 n1 r z=a; 2 n2 u; 3 n3 r z=b", "1 / 1", "none" },
		{ "several hints an endpoint", "c", "C-", "1 n1 r z=a; 2 n2 r z=b,c; 3 n3 r z=b,d; 4 n4 r z=c", "2 4 / 2 4", "none" },
		{ "PreferSameNode: there is one for the node", "a", "C-", "1 n1 r z=a n=n1; 2 n2 r z=a n=n2", "1 / 1", "none" },
		{ "PreferSameNode: two are", "a", "C-", "1 n1 r z=a n=n1; 2 n2 r z=a n=n2; 3 n1 r z=b n=n1", "1 3 / 1 3", "none" },
		{ "PreferSameNode: one has no node hint", "a", "C-", "1 n1 r z=a n=n1; 2 n2 r z=b n=n2; 3 n3 r z=a", "1 3 / 1 3", "none" },
		{ "PreferSameNode: none for the node, so the zone", "a", "C-", "1 n3 r z=a n=n3; 2 n2 r z=b n=n2", "1 / 1", "none" },
		{ "PreferSameNode: neither node nor zone", "c", "C-", "1 n3 r z=a n=n3; 2 n2 r z=b n=n2", "1 2 / 1 2", "none" },
		{ "PreferSameNode: the one for the node is not ready", "a", "C-", "1 n1 u z=a n=n1; 2 n2 r z=b n=n2; 3 n3 r z=a n=n3", "3 / 3", "none" },
		{ "PreferSameNode without zone hints", "a", "C-", "1 n1 r n=n1; 2 n2 r n=n2", "1 / 1", "none" },
		{ "topology and locality conflict: the sets are merged", "a", "CL", "1 n1 r z=b; 2 n1 r z=b; 3 n2 r z=a; 4 n3 r z=b", "3 / 3", "3 / 1 2" },
		{ "iTP Local, no endpoints", "a", "L-", "", "- / -", "none" },
		{ "iTP Local, all elsewhere", "a", "L-", "1 n2 r; 2 n3 r", "drop / drop", "none" },
		{ "iTP Local, all here", "a", "L-", "1 n1 r; 2 n1 r", "1 2 / 1 2", "none" },
		{ "iTP Local, some here", "a", "L-", "1 n1 r; 2 n2 r", "1 / 1", "none" },
		{ "Cluster, none is ready", "a", "C-", "1 n1 u; 2 n2 u", "- / -", "none" },
		{ "Cluster, some are ready", "a", "C-", "1 n1 u; 2 n2 r", "2 / 2", "none" },
		{ "Cluster, all terminate", "a", "C-", "1 n1 s; 2 n2 s", "1 2 / 1 2", "none" },
		{ "Cluster, all terminate: hints are not looked at", "a", "C-", "1 n1 s z=a; 2 n2 s z=b", "1 2 / 1 2", "none" },
		{ "iTP Local, eTP Cluster, some here", "a", "LC", "1 n1 r; 2 n2 r", "1 / 1", "1 2 / 1 2" },
		{ "iTP Cluster, eTP Local, some here", "a", "CL", "1 n1 r; 2 n2 r", "1 2 / 1 2", "1 2 / 1" },
		{ "iTP Local, eTP Local, some here", "a", "LL", "1 n1 r; 2 n2 r", "1 / 1", "1 2 / 1" },
		{ "iTP Local, eTP Local, all elsewhere", "a", "LL", "1 n2 r; 2 n3 r", "drop / drop", "1 2 / drop" },
		{ "iTP Local, eTP Local, all elsewhere and terminating", "a", "LL", "1 n2 s; 2 n3 s", "drop / drop", "1 2 / drop" },
		{ "iTP Cluster, eTP Local, with terminating ones", "a", "CL", "1 n1 s; 2 n2 r; 3 n1 s; 4 n3 t", "2 / 2", "2 / 1 3" },
		{ "eTP Local without external frontends", "a", "C-", "1 n1 r; 2 n2 r", "1 2 / 1 2", "none" },
		{ "iTP Local needs no endpoint elsewhere", "a", "L-", "1 n1 r; 2 n2 s", "1 / 1", "none" },
		{ "neither ready, serving nor terminating", "a", "CC", "1 n1 u", "- / -", "- / -" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture f = fixture_new_in(rows[i].zone);
		const char *internal = rows[i].policies[0] == 'L' ? "Local" : "Cluster";
		const char *external = rows[i].policies[1] == 'C' ? "Cluster" : "Local";
		_cleanup_free_ char *plain = str_printf(META("a") "spec: {clusterIP: 10.96.0.1, internalTrafficPolicy: %s, "
							"externalTrafficPolicy: Local, ports: [{port: 80}]}\n", internal);
		_cleanup_free_ char *full = full_service(internal, external);
		print_message("%s\n", rows[i].name);
		put_endpoints(&f, rows[i].endpoints);
		set_service(f.m, rows[i].policies[1] == '-' ? plain : full);
		expect_frontend(&f, "tcp 10.96.0.1:80", rows[i].cluster_ip);
		expect_frontend(&f, "tcp node:30080", rows[i].node_port);
		fixture_free(&f);
	}
}

static void test_zone_changes(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n");
	set_service(f.m, META("b") "spec: {clusterIP: 10.96.0.2, ports: [{port: 80}]}\n");
	set_slice(f.m, SLICE("b-1", "b") "ports: [{name: '', port: 8}]\nendpoints:\n- {addresses: [10.0.0.9]}\n");
	put_endpoints(&f, "1 n1 r z=a; 2 n2 r z=b");
	expect_frontend(&f, "tcp 10.96.0.1:80", "1 2 / 1 2");
	model_set_zone(f.m, "b");
	expect_frontend(&f, "tcp 10.96.0.1:80", "2 / 2");
	assert_int_equal(f.r.sets, 1); /* b has no hints */
	model_set_zone(f.m, "b");
	flush(f.m, &f.r);
	assert_int_equal(f.r.sets, 0);
	model_set_zone(f.m, "a");
	flush(f.m, &f.r);
	assert_int_equal(f.r.sets, 1);
	expect_frontend(&f, "tcp 10.96.0.1:80", "1 / 1");
	model_set_zone(f.m, NULL);
	expect_frontend(&f, "tcp 10.96.0.1:80", "1 2 / 1 2");
	fixture_free(&f);
}

/* One endpoint in two slices is as good as both say. */
static void test_endpoint_in_two_slices(void **state)
{
	(void)state;
	static const char *const slices[] = {
		"addressType: IPv4\nmetadata: {name: a-4, namespace: d, labels: {kubernetes.io/service-name: a}}\n"
		"ports: [{name: '', port: 8}]\nendpoints:\n- {addresses: [10.0.0.1], conditions: {ready: false}}\n"
		"- {addresses: [10.0.0.2], nodeName: n2, hints: {forZones: [{name: b}]}}\n",
		"addressType: IPv4\nmetadata: {name: a-5, namespace: d, labels: {kubernetes.io/service-name: a}}\n"
		"ports: [{name: '', port: 8}]\nendpoints:\n- {addresses: [10.0.0.1], nodeName: n1, hints: {forZones: [{name: a}]}}\n",
	};
	for (int order = 0; order < 2; order++) {
		struct fixture f = fixture_new_in("a");
		set_slice(f.m, slices[order]);
		set_slice(f.m, slices[!order]);
		set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, internalTrafficPolicy: Cluster, ports: [{port: 80}]}\n");
		expect_frontend(&f, "tcp 10.96.0.1:80", "1 / 1");
		fixture_free(&f);
	}
}

/* Table B: what a port of a Service is. */
static void test_ports(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	/* One number with three protocols, each with its own target; a name that is another number on another endpoint. */
	set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, ports: [{name: t, port: 80}, {name: u, port: 80, protocol: UDP}, "
				   "{name: s, port: 80, protocol: SCTP}]}\n");
	set_slice(f.m, SLICE("a-1", "a") "ports: [{name: t, port: 1}, {name: u, port: 2, protocol: UDP}, {name: s, port: 3, "
		       "protocol: SCTP}]\nendpoints: [{addresses: [10.0.0.1]}]\n");
	set_slice(f.m, SLICE("a-2", "a") "ports: [{name: t, port: 11}, {name: u, port: 2, protocol: TCP}, {name: x, port: 9}]\n"
		       "endpoints: [{addresses: [10.0.0.2]}]\n");
	expect(&f, "owned 10.96.0.1\n"
		   "sctp 10.96.0.1:80 aff=0 -> [10.0.0.1:3] [10.0.0.1:3]\n"
		   "tcp 10.96.0.1:80 aff=0 -> [10.0.0.1:1 10.0.0.2:11] [10.0.0.1:1 10.0.0.2:11]\n"
		   "udp 10.96.0.1:80 aff=0 -> [10.0.0.1:2] [10.0.0.1:2]\n");
	fixture_free(&f);
}

/* Table D. */
static void test_source_ranges(void **state)
{
	(void)state;
	static const struct {
		const char *ranges, *v4, *v6, *why;
	} rows[] = {
		{ "[]", "", "", "" },
		{ "[198.51.100.0/24]", "from=198.51.100.0/24 ", "from=nobody ", "" },
		{ "[198.51.100.7/24, '2001:db8:1::/48', 10.0.0.0/8]", "from=198.51.100.0/24,10.0.0.0/8 ", "from=2001:db8:1::/48 ", "" },
		{ "[' 203.0.113.0/24 ', \"\\t198.51.100.064/026\\n\"]", "from=203.0.113.0/24,198.51.100.64/26 ", "from=nobody ", "" },
		{ "['2001:db8:1::/48']", "from=nobody ", "from=2001:db8:1::/48 ", "" },
		{ "[bogus, 10.0.0.0/33]", "from=nobody ", "from=nobody ",
		  "Service d/a: loadBalancerSourceRanges holds what is not a range: \"bogus\"" },
		{ "[10.0.0.0/8, 10.1.1.1, 7]", "from=10.0.0.0/8 ", "from=nobody ",
		  "Service d/a: loadBalancerSourceRanges holds what is not a range: \"10.1.1.1\"" },
		/* The node may come: also with the balancer's own address. */
		{ "[192.0.2.0/24]", "from=192.0.2.0/24,192.0.2.77/32 ", "from=nobody ", "" },
		{ "[0.0.0.0/0, '::/0']", "from=0.0.0.0/0,192.0.2.77/32 ", "from=::/0,2001:db8::77/128 ", "" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture f = fixture_new();
		_cleanup_free_ char *service = str_printf(
			META("a") "spec: {type: LoadBalancer, clusterIPs: [10.96.0.1, 'fd00:96::1'], externalIPs: [203.0.113.1], "
				  "loadBalancerSourceRanges: %s, ports: [{port: 80, nodePort: 30080}]}\n"
				  "status: {loadBalancer: {ingress: [{ip: 192.0.2.77}, {ip: '2001:db8::77'}]}}\n", rows[i].ranges);
		_cleanup_free_ char *want = str_printf("owned 10.96.0.1\nowned fd00:96::1\n"
						       "tcp 10.96.0.1:80 aff=0 -> [] []\n"
						       "tcp 192.0.2.77:80 aff=0 %s-> [] []\n"
						       "tcp 2001:db8::77:80 aff=0 %s-> [] []\n"
						       "tcp 203.0.113.1:80 aff=0 -> [] []\n"
						       "tcp fd00:96::1:80 aff=0 -> [] []\n"
						       "tcp node6:30080 aff=0 -> [] []\n"
						       "tcp node:30080 aff=0 -> [] []\n", rows[i].v4, rows[i].v6);
		_cleanup_free_ char *why = take_text(f.m, service, true);
		print_message("%s\n", rows[i].ranges);
		assert_string_equal(why, rows[i].why);
		expect(&f, want);
		fixture_free(&f);
	}
}

/* Tables M and N. */
static void test_addresses(void **state)
{
	(void)state;
	static const struct {
		const char *service, *want, *why;
	} rows[] = {
		{ "spec: {type: LoadBalancer, clusterIP: 10.96.0.1, ports: [{port: 80}]}\nstatus: {loadBalancer: {ingress: "
		  "[{ip: 198.51.100.1}, {ip: 198.51.100.2, ipMode: VIP}, {ip: 198.51.100.3, ipMode: Proxy}, {hostname: x}]}}\n",
		  "owned 10.96.0.1\ntcp 10.96.0.1:80\ntcp 198.51.100.1:80\ntcp 198.51.100.2:80\n", "" },
		{ "spec: {type: ClusterIP, clusterIP: 10.96.0.1, ports: [{port: 80}]}\nstatus: {loadBalancer: {ingress: [{ip: 198.51.100.1}]}}\n",
		  "owned 10.96.0.1\ntcp 10.96.0.1:80\n", "" },
		{ "spec: {clusterIP: 010.096.000.041, externalIPs: [203.0.113.000, 203.0.113.025], ports: [{port: 80}]}\n",
		  "owned 10.96.0.41\ntcp 10.96.0.41:80\ntcp 203.0.113.0:80\ntcp 203.0.113.25:80\n", "" },
		{ "spec: {clusterIP: 10.96.0.1, externalIPs: ['::ffff:203.0.113.1', 203.0.113.1], ports: [{port: 80}]}\n",
		  "owned 10.96.0.1\ntcp 10.96.0.1:80\ntcp 203.0.113.1:80\n", "" },
		/* What means a program's own host, or one link only, is no address of a Service. */
		{ "spec: {clusterIP: 10.96.0.1, externalIPs: [127.0.0.1, '::1', 0.0.0.0, 169.254.169.254, 'fe80::1', 224.0.0.1], ports: [{port: 80}]}\n",
		  "owned 10.96.0.1\ntcp 10.96.0.1:80\n",
		  "Service d/a: externalIPs holds what is not a usable address: \"127.0.0.1\"" },
		{ "spec: {clusterIP: 10.96.0.1, externalIPs: [10.0.0.256, 1.2.3, 0x7f.1.1.1, 1.2.3.4.5, ' 1.2.3.4'], ports: [{port: 80}]}\n",
		  "owned 10.96.0.1\ntcp 10.96.0.1:80\n",
		  "Service d/a: externalIPs holds what is not a usable address: \"10.0.0.256\"" },
		/* Families are those of the cluster addresses. */
		{ "spec: {type: NodePort, clusterIP: 10.96.0.1, externalIPs: ['2001:db8::9'], ports: [{port: 80, nodePort: 30080}]}\n",
		  "owned 10.96.0.1\ntcp 10.96.0.1:80\ntcp node:30080\n", "" },
		{ "spec: {type: NodePort, clusterIPs: ['fd00:96::1'], externalIPs: ['2001:db8::9'], ports: [{port: 80, nodePort: 30080}]}\n",
		  "owned fd00:96::1\ntcp 2001:db8::9:80\ntcp fd00:96::1:80\ntcp node6:30080\n", "" },
		/* A bare-metal balancer's manifest has none. */
		{ "spec: {type: NodePort, externalIPs: ['2001:db8::9', 203.0.113.1], ports: [{port: 80, nodePort: 30080}]}\n",
		  "tcp 2001:db8::9:80\ntcp 203.0.113.1:80\ntcp node6:30080\ntcp node:30080\n", "" },
		{ "spec: {type: NodePort, ipFamilies: [IPv6], externalIPs: ['2001:db8::9', 203.0.113.1], ports: [{port: 80, nodePort: 30080}]}\n",
		  "tcp 2001:db8::9:80\ntcp node6:30080\n", "" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture f = fixture_new();
		_cleanup_free_ char *service = str_printf("%s%s", META("a"), rows[i].service);
		_cleanup_free_ char *why = take_text(f.m, service, true);
		print_message("%s", rows[i].service);
		assert_string_equal(why, rows[i].why);
		flush(f.m, &f.r);
		_cleanup_free_ char *all = picture(&f.r);
		_cleanup_strlist_ struct strlist lines = { 0 };
		_cleanup_strbuf_ struct strbuf got = { 0 };
		strlist_split(&lines, all, '\n');
		for (size_t k = 0; k < lines.count; k++) {
			char *end = strstr(lines.items[k], " aff=");
			strbuf_addf(&got, "%.*s\n", end ? (int)(end - lines.items[k]) : (int)strlen(lines.items[k]), lines.items[k]);
		}
		assert_string_equal(got.data, rows[i].want);
		fixture_free(&f);
	}
	struct fixture f = fixture_new();
	set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n");
	_cleanup_free_ char *why = take_text(f.m, SLICE("a-1", "a") "ports: [{name: '', port: 8}]\nendpoints: [{addresses: [010.000.000.010]}, "
					     "{addresses: [127.0.0.1]}, {addresses: [169.254.169.254]}]\n", false);
	assert_string_equal(why, "EndpointSlice d/a-1: endpoint has no usable address of the slice's type: \"127.0.0.1\"");
	expect_frontend(&f, "tcp 10.96.0.1:80", "10 / 10");
	fixture_free(&f);
}

/* Table L: the steps of one history; each step is a Service or a slice (deleted when it has no body), then what must be
 * the case, how many ports were handed over and how many are gone. */
static void test_edits(void **state)
{
	(void)state;
#define SVC(body) META("a") "spec: {clusterIP: 10.96.0.1, " body "}\n"
#define LABELLED(label, body) "metadata: {name: a, namespace: d, labels: {" label "}}\nspec: {clusterIP: 10.96.0.1, " body "}\n"
	static const struct {
		const char *name, *service, *slice;
		const char *want;
		size_t sets, gone;
	} rows[] = {
		{ "a port", SVC("ports: [{name: x, port: 80}]"), NULL, "owned 10.96.0.1\ntcp 10.96.0.1:80 aff=0 -> [] []\n", 1, 0 },
		{ "its endpoints", NULL, "ports: [{name: x, port: 8}, {name: y, port: 9}]\nendpoints: [{addresses: [10.0.0.1]}]\n",
		  "owned 10.96.0.1\ntcp 10.96.0.1:80 aff=0 -> [10.0.0.1:8] [10.0.0.1:8]\n", 1, 0 },
		{ "the port is renumbered", SVC("ports: [{name: x, port: 81}]"), NULL,
		  "owned 10.96.0.1\ntcp 10.96.0.1:81 aff=0 -> [10.0.0.1:8] [10.0.0.1:8]\n", 1, 0 },
		{ "renamed", SVC("ports: [{name: y, port: 81}]"), NULL,
		  "owned 10.96.0.1\ntcp 10.96.0.1:81 aff=0 -> [10.0.0.1:9] [10.0.0.1:9]\n", 1, 0 },
		{ "its protocol changes", SVC("ports: [{name: y, port: 81, protocol: UDP}]"), NULL,
		  "owned 10.96.0.1\nudp 10.96.0.1:81 aff=0 -> [] []\n", 1, 1 },
		{ "the slice's does too", NULL, "ports: [{name: y, port: 9, protocol: UDP}]\nendpoints: [{addresses: [10.0.0.1]}]\n",
		  "owned 10.96.0.1\nudp 10.96.0.1:81 aff=0 -> [10.0.0.1:9] [10.0.0.1:9]\n", 1, 0 },
		{ "a second port", SVC("ports: [{name: y, port: 81, protocol: UDP}, {name: x, port: 80}]"), NULL,
		  "owned 10.96.0.1\ntcp 10.96.0.1:80 aff=0 -> [] []\nudp 10.96.0.1:81 aff=0 -> [10.0.0.1:9] [10.0.0.1:9]\n", 2, 0 },
		{ "the first goes", SVC("ports: [{name: x, port: 80}]"), NULL, "owned 10.96.0.1\ntcp 10.96.0.1:80 aff=0 -> [] []\n", 1, 1 },
		{ "another proxy's", LABELLED("service.kubernetes.io/service-proxy-name: other", "ports: [{name: x, port: 80}]"), NULL, "", 0, 1 },
		{ "ours again", SVC("ports: [{name: x, port: 80}]"), NULL, "owned 10.96.0.1\ntcp 10.96.0.1:80 aff=0 -> [] []\n", 1, 0 },
		{ "labelled headless", LABELLED("service.kubernetes.io/headless: ''", "ports: [{name: x, port: 80}]"), NULL, "", 0, 1 },
		{ "no longer", SVC("ports: [{name: x, port: 80}]"), NULL, "owned 10.96.0.1\ntcp 10.96.0.1:80 aff=0 -> [] []\n", 1, 0 },
		{ "headless", META("a") "spec: {clusterIP: None, ports: [{name: x, port: 80}]}\n", NULL, "", 0, 1 },
		{ "another address", META("a") "spec: {clusterIP: 10.96.0.2, ports: [{name: x, port: 80}]}\n", NULL,
		  "owned 10.96.0.2\ntcp 10.96.0.2:80 aff=0 -> [] []\n", 1, 0 },
		{ "ExternalName", META("a") "spec: {type: ExternalName, externalName: x.y, ports: [{name: x, port: 80}]}\n", NULL, "", 0, 1 },
		{ "dual stack", META("a") "spec: {clusterIPs: [10.96.0.1, 'fd00:96::1'], ports: [{name: x, port: 80}]}\n", NULL,
		  "owned 10.96.0.1\nowned fd00:96::1\ntcp 10.96.0.1:80 aff=0 -> [] []\ntcp fd00:96::1:80 aff=0 -> [] []\n", 2, 0 },
		{ "one family again", META("a") "spec: {clusterIPs: ['fd00:96::1'], ports: [{name: x, port: 80}]}\n", NULL,
		  "owned fd00:96::1\ntcp fd00:96::1:80 aff=0 -> [] []\n", 1, 1 },
		{ "affinity", META("a") "spec: {clusterIPs: ['fd00:96::1'], sessionAffinity: ClientIP, sessionAffinityConfig: "
				       "{clientIP: {timeoutSeconds: 5}}, ports: [{name: x, port: 80}]}\n", NULL,
		  "owned fd00:96::1\ntcp fd00:96::1:80 aff=5 -> [] []\n", 1, 0 },
		{ "all is gone", "", NULL, "", 0, 1 },
	};
	struct fixture f = fixture_new();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		print_message("%s\n", rows[i].name);
		if (rows[i].service && *rows[i].service)
			set_service(f.m, rows[i].service);
		else if (rows[i].service)
			model_service_del(f.m, "d", "a");
		if (rows[i].slice) {
			_cleanup_free_ char *slice = str_printf("%s%s", SLICE("a-1", "a"), rows[i].slice);
			set_slice(f.m, slice);
		}
		expect(&f, rows[i].want);
		assert_int_equal(f.r.sets, rows[i].sets);
		assert_int_equal(f.r.gone, rows[i].gone);
	}
	fixture_free(&f);
}

/* A slice that moves from one Service to another changes both. */
static void test_slice_moves(void **state)
{
	(void)state;
	struct fixture f = fixture_new();
	set_service(f.m, META("a") "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n");
	set_service(f.m, META("b") "spec: {clusterIP: 10.96.0.2, ports: [{port: 80}]}\n");
	set_slice(f.m, SLICE("e", "a") "ports: [{name: '', port: 8}]\nendpoints: [{addresses: [10.0.0.1]}]\n");
	expect_frontend(&f, "tcp 10.96.0.1:80", "1 / 1");
	set_slice(f.m, SLICE("e", "b") "ports: [{name: '', port: 8}]\nendpoints: [{addresses: [10.0.0.1]}]\n");
	expect_frontend(&f, "tcp 10.96.0.1:80", "- / -");
	expect_frontend(&f, "tcp 10.96.0.2:80", "1 / 1");
	set_slice(f.m, "addressType: FQDN\nmetadata: {name: e, namespace: d, labels: {kubernetes.io/service-name: b}}\n"
		       "endpoints: [{addresses: [x.example]}]\n");
	expect_frontend(&f, "tcp 10.96.0.2:80", "- / -");
	fixture_free(&f);
}

/* The node that has an endpoint must know it for one, whatever its zone. */
static void test_direct_return_ignores_topology(void **state)
{
	(void)state;
	struct fixture f = fixture_new_in("a");
	put_endpoints(&f, "1 n1 r z=a; 2 n2 r z=b");
	for (int dsr = 0; dsr < 2; dsr++) {
		_cleanup_free_ char *service = str_printf("metadata: {name: a, namespace: d, annotations: {keelson.dev/forwarding: %s}}\n"
							  "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n", dsr ? "dsr" : "snat");
		set_service(f.m, service);
		expect_frontend(&f, "tcp 10.96.0.1:80", dsr ? "1 2 / 1 2" : "1 / 1");
	}
	fixture_free(&f);
}

static void test_annotations(void **state)
{
	(void)state;
	static const struct {
		const char *annotations, *options, *set, *why;
	} rows[] = {
		{ "", "", "1 2 3", "" },
		{ "keelson.dev/balancing: random, keelson.dev/forwarding: snat", "", "1 2 3", "" },
		{ "keelson.dev/balancing: maglev", "maglev ", "1 2 3", "" },
		{ "keelson.dev/balancing: least-connections, keelson.dev/forwarding: dsr", "least dsr ", "1 2 3", "" },
		{ "keelson.dev/balancing: Maglev", "", "1 2 3",
		  "Service d/a: keelson.dev/balancing is not random, maglev or least-connections: \"Maglev\"" },
		{ "keelson.dev/forwarding: tunnel", "", "1 2 3", "Service d/a: keelson.dev/forwarding is not snat or dsr: \"tunnel\"" },
		{ "keelson.dev/weights: ' 10.0.0.1=3, n2 = 0 '", "", "1*3 2*0 3", "" },
		{ "keelson.dev/weights: 'n2=7,10.0.0.2=255'", "", "1 2*255 3", "" }, /* an address says more than a node */
		{ "keelson.dev/weights: '10.0.0.1=256, 10.0.0.2=-1, =2, n2, 10.0.0.3=1x, 10.0.0.1=2'", "", "1*2 2 3",
		  "Service d/a: keelson.dev/weights holds what is not NAME=0..255: \"10.0.0.1=256\"" },
		{ "keelson.dev/weights: 'n2=3, n1=2, n2=4'", "", "1 2 3",
		  "Service d/a: keelson.dev/weights names one thing twice: \"n2=3, n1=2, n2=4\"" },
		{ "keelson.dev/weights: ''", "", "1 2 3", "" },
		{ "keelson.dev/weights: 7", "", "1 2 3", "" },
	};
	struct fixture f = fixture_new();
	put_endpoints(&f, "1 n1 r; 2 n2 r; 3 n3 r");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *service = str_printf("metadata: {name: a, namespace: d, annotations: {%s}}\n"
							  "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n", rows[i].annotations);
		_cleanup_free_ char *why = take_text(f.m, service, true);
		_cleanup_free_ char *begins = str_printf("tcp 10.96.0.1:80 aff=0 %s->", rows[i].options);
		_cleanup_free_ char *want = str_printf("%s / %s", rows[i].set, rows[i].set);
		print_message("%s\n", rows[i].annotations);
		assert_string_equal(why, rows[i].why);
		expect_frontend(&f, begins, want);
	}
	fixture_free(&f);
}

/* Table I, the model's part. */
static void test_health_ports(void **state)
{
	(void)state;
#define LB(policy, port) META("a") "spec: {type: LoadBalancer, clusterIP: 10.96.0.1, externalTrafficPolicy: " policy                  \
				   ", healthCheckNodePort: " port ", ports: [{port: 80}, {name: y, port: 81}]}\n"
	static const struct {
		const char *name, *service, *endpoints, *want;
	} rows[] = {
		{ "opens without endpoints", LB("Local", "32000"), "", "health d/a 32000 0" },
		{ "counts what is ready here, each once", NULL, "1 n1 r; 2 n2 r; 3 n1 r; 4 n1 s; 5 n1 t; 6 n1 u", "health d/a 32000 2" },
		{ "both families of a pod are one", NULL, "1 n1 r; 6:1 n1 r; 6:2 n2 r", "health d/a 32000 1" },
		{ "terminating ones do not count", NULL, "4 n1 s", "health d/a 32000 0" },
		{ "moves with the port", LB("Local", "32001"), "1 n1 r", "health d/a 32001 1" },
		{ "closes with the policy", LB("Cluster", "32001"), "1 n1 r", "" },
		{ "returns", LB("Local", "32000"), "1 n1 r", "health d/a 32000 1" },
		{ "not for another proxy's", "metadata: {name: a, namespace: d, labels: {service.kubernetes.io/service-proxy-name: x}}\n"
		  "spec: {type: LoadBalancer, clusterIP: 10.96.0.1, externalTrafficPolicy: Local, healthCheckNodePort: 32000}\n", NULL, "" },
		{ "not for a NodePort", META("a") "spec: {type: NodePort, clusterIP: 10.96.0.1, externalTrafficPolicy: Local, "
		  "healthCheckNodePort: 32000, ports: [{port: 80}]}\n", NULL, "" },
		{ "none given", LB("Local", "0"), NULL, "" },
		{ "open again", LB("Local", "32000"), NULL, "health d/a 32000 1" },
		{ "closes with the Service", "", NULL, "" },
	};
	struct fixture f = fixture_new();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *all = NULL;
		print_message("%s\n", rows[i].name);
		if (rows[i].service && *rows[i].service)
			set_service(f.m, rows[i].service);
		else if (rows[i].service)
			model_service_del(f.m, "d", "a");
		if (rows[i].endpoints)
			put_endpoints(&f, rows[i].endpoints);
		flush(f.m, &f.r);
		all = picture(&f.r);
		const char *at = strstr(all, "health ");
		if (!*rows[i].want)
			assert_null(at);
		else
			assert_memory_equal(at ? at : "", rows[i].want, strlen(rows[i].want));
	}
	fixture_free(&f);
}

static void test_no_local_counts(void **state)
{
	(void)state;
	static const struct {
		const char *internal, *external, *endpoints;
		size_t counts[MODEL_TRAFFIC_MAX];
	} rows[] = {
		{ "Local", "Local", "1 n2 r", { 1, 1 } },
		{ "Local", "Local", "1 n1 r", { 0, 0 } },
		{ "Local", "Local", "", { 0, 0 } },
		{ "Local", "Cluster", "1 n2 s", { 1, 0 } },
		{ "Cluster", "Local", "1 n2 r", { 0, 1 } },
		{ "Cluster", "Cluster", "1 n2 r", { 0, 0 } },
		{ "Local", "Local", "1 n2 r", { 1, 1 } },
	};
	struct fixture f = fixture_new();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *service = full_service(rows[i].internal, rows[i].external);
		set_service(f.m, service);
		put_endpoints(&f, rows[i].endpoints);
		flush(f.m, &f.r);
		assert_int_equal(model_no_local(f.m, MODEL_TRAFFIC_INTERNAL), rows[i].counts[0]);
		assert_int_equal(model_no_local(f.m, MODEL_TRAFFIC_EXTERNAL), rows[i].counts[1]);
	}
	set_service(f.m, META("a") "spec: {clusterIP: None}\n");
	flush(f.m, &f.r);
	assert_int_equal(model_no_local(f.m, MODEL_TRAFFIC_INTERNAL) + model_no_local(f.m, MODEL_TRAFFIC_EXTERNAL), 0);
	fixture_free(&f);
}

static void test_triggers(void **state)
{
	(void)state;
#define STAMPED(time) "addressType: IPv4\nmetadata: {name: e, namespace: d, labels: {kubernetes.io/service-name: a}, annotations: " \
		      "{endpoints.kubernetes.io/last-change-trigger-time: '" time "'}}\n"
	struct fixture f = fixture_new();
	const int64_t *at;
	set_slice(f.m, STAMPED("2026-01-01T00:00:01Z"));
	flush(f.m, &f.r);
	assert_int_equal(model_triggers(f.m, &at), 1);
	assert_int_equal(at[0], 1767225601000000);
	set_slice(f.m, STAMPED("2026-01-01T00:00:01Z"));
	flush(f.m, &f.r);
	assert_int_equal(model_triggers(f.m, &at), 0); /* told already */
	set_slice(f.m, STAMPED("2026-01-01T00:00:02Z"));
	set_slice(f.m, STAMPED("2026-01-01T00:00:03.5Z"));
	set_slice(f.m, STAMPED("bogus"));
	flush(f.m, &f.r);
	assert_int_equal(model_triggers(f.m, &at), 2);
	fixture_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_terminating),
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_topology),
		cmocka_unit_test(test_zone_changes),
		cmocka_unit_test(test_endpoint_in_two_slices),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_source_ranges),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_edits),
		cmocka_unit_test(test_slice_moves),
		cmocka_unit_test(test_direct_return_ignores_topology),
		cmocka_unit_test(test_annotations),
		cmocka_unit_test(test_health_ports),
		cmocka_unit_test(test_no_local_counts),
		cmocka_unit_test(test_triggers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
