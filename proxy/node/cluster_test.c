/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Node objects by tables, and who is told of what. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/node/cluster.h"

struct told {
	struct strbuf text;
};

static void on_changed(const struct cluster_node *n, void *user)
{
	struct told *t = user;
	char text[IP_PREFIX_TEXT_SIZE];
	strbuf_addf(&t->text, "%s%s", n->name, n->own ? "(own)" : "");
	for (size_t i = 0; i < n->addr_count; i++)
		strbuf_addf(&t->text, " %s", ip_format(&n->addrs[i], text));
	for (int i = 0; i < 2; i++)
		if (n->pod_cidrs[i].addr.family)
			strbuf_addf(&t->text, " %s", ip_prefix_format(&n->pod_cidrs[i], text));
	strbuf_addf(&t->text, " zone=%s%s\n", n->zone, n->leaving ? " leaving" : "");
}

static void on_gone(const struct cluster_node *n, void *user)
{
	struct told *t = user;
	strbuf_addf(&t->text, "%s gone\n", n->name);
}

static void on_synced(void *user)
{
	struct told *t = user;
	strbuf_adds(&t->text, "synced\n");
}

static struct cluster *fixture(struct told *t)
{
	const struct cluster_listener l = { on_changed, on_gone, on_synced, t };
	struct cluster *c = cluster_new("n1");
	cluster_listen(c, &l);
	return c;
}

static void expect(struct told *t, const char *want)
{
	assert_string_equal(t->text.data ? t->text.data : "", want);
	strbuf_reset(&t->text);
	strbuf_adds(&t->text, "");
}

static int set(struct cluster *c, const char *yaml, struct err *err)
{
	json_t *o = yaml_parse(yaml, strlen(yaml), NULL);
	assert_non_null(o);
	int r = cluster_node_set(c, o, err);
	json_decref(o);
	return r;
}

#define NODE(name, spec, addresses, labels)                                                                \
	"metadata: {name: " name ", labels: {" labels "}}\nspec: {" spec "}\nstatus: {addresses: [" addresses "]}\n"
#define IP(a) "{type: InternalIP, address: '" a "'}"

static void test_reading(void **state)
{
	(void)state;
	static const struct {
		const char *node;
		int r;
		const char *want, *why;
	} rows[] = {
		{ NODE("n1", "podCIDR: 10.244.0.0/24", IP("192.0.2.1"), ""), 0, "n1(own) 192.0.2.1 10.244.0.0/24 zone=\n", "" },
		{ NODE("n2", "podCIDRs: [10.244.2.9/24, 'fd00:10:244:2::/64', 10.244.9.0/24]",
		       IP("2001:db8::2") ", {type: Hostname, address: n2}, " IP("192.0.2.2") ", " IP("192.0.2.2"),
		       "topology.kubernetes.io/zone: a"), 0,
		  "n2 2001:db8::2 192.0.2.2 10.244.2.0/24 fd00:10:244:2::/64 zone=a\n", "" },
		{ NODE("n3", "taints: [{key: other}, {key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]", "", ""), 0,
		  "n3 zone= leaving\n", "" },
		{ "metadata: {name: n4, deletionTimestamp: '2026-01-01T00:00:00Z'}\n", 0, "n4 zone= leaving\n", "" },
		{ NODE("n5", "podCIDRs: [bogus, 0.0.0.0/0, 10.244.5.0/24]", IP("x") "," IP("192.0.2.5"), ""), -EINVAL,
		  "n5 192.0.2.5 10.244.5.0/24 zone=\n", "Node n5: InternalIP is not an address: \"x\"" },
		{ "metadata: {name: n6}\nspec: 7\nstatus: {addresses: {a: b}}\n", 0, "n6 zone=\n", "" },
		{ "metadata: {}\n", -EINVAL, "", "Node without a name" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_err_ struct err err = { 0 };
		struct told t = { 0 };
		struct cluster *c = fixture(&t);
		assert_int_equal(set(c, rows[i].node, &err), rows[i].r);
		assert_string_equal(err.code ? err_msg(&err) : "", rows[i].why);
		expect(&t, rows[i].want);
		cluster_free(c);
		strbuf_done(&t.text);
	}
}

static void test_changes(void **state)
{
	(void)state;
	struct told t = { 0 };
	struct cluster *c = fixture(&t);
	assert_null(cluster_own(c));
	set(c, NODE("n2", "", IP("192.0.2.2"), ""), NULL);
	set(c, NODE("n1", "", IP("192.0.2.1") "," IP("2001:db8::1"), ""), NULL);
	set(c, NODE("n3", "", "", ""), NULL);
	expect(&t, "n2 192.0.2.2 zone=\nn1(own) 192.0.2.1 2001:db8::1 zone=\nn3 zone=\n");
	cluster_set_synced(c);
	cluster_set_synced(c);
	expect(&t, "synced\n");
	/* A heartbeat tells nobody. */
	set(c, NODE("n2", "unschedulable: true", IP("192.0.2.2"), "other: x"), NULL);
	expect(&t, "");
	set(c, NODE("n2", "podCIDR: 10.244.1.0/24", IP("192.0.2.2"), ""), NULL);
	expect(&t, "n2 192.0.2.2 10.244.1.0/24 zone=\n");
	set(c, NODE("n2", "podCIDR: 10.244.1.0/24", IP("192.0.2.3"), ""), NULL);
	expect(&t, "n2 192.0.2.3 10.244.1.0/24 zone=\n");
	for (size_t i = 0; i < 3; i++) {
		char name[8];
		snprintf(name, sizeof(name), "n%zu", i + 1);
		assert_string_equal(cluster_at(c, i)->name, name);
	}
	assert_null(cluster_at(c, 3));
	assert_string_equal(cluster_own(c)->name, "n1");
	assert_int_equal(cluster_node_address(cluster_own(c), AF_INET6)->bytes[15], 1);
	assert_null(cluster_node_address(cluster_find(c, "n2"), AF_INET6));
	cluster_node_del(c, "n1");
	cluster_node_del(c, "n1");
	expect(&t, "n1 gone\n");
	assert_null(cluster_own(c));
	cluster_free(c);
	strbuf_done(&t.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_reading), cmocka_unit_test(test_changes) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
