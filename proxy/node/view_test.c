/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interfaces, addresses and Nodes by tables: which links matter, where NodePorts answer, what SNAT uses, who is a peer. */
#include "proxy/node/view.h"

#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"

/* "NAME KIND[,up][,port][,hw][,none] [default] [ADDRESS/LEN[!tentative|!link]]...", separated by ';'. */
static void parse_link(struct raw_net *net, const char *text)
{
	_cleanup_strlist_ struct strlist w = { 0 };
	strlist_split(&w, text, ' ');
	unsigned ifindex = (unsigned)net->link_count + 1;
	MEM_GROW(net->links, net->link_cap, net->link_count + 1);
	struct raw_link *l = &net->links[net->link_count++];
	*l = (struct raw_link){ .ifindex = ifindex, .type = ARPHRD_ETHER, .up = true };
	snprintf(l->name, sizeof(l->name), "%s", w.items[0]);
	_cleanup_strlist_ struct strlist what = { 0 };
	strlist_split(&what, w.items[1], ',');
	for (size_t i = 0; i < what.count; i++) {
		const char *p = what.items[i];
		if (strcmp(p, "down") == 0)
			l->up = false;
		else if (strcmp(p, "port") == 0)
			l->port = true;
		else if (strncmp(p, "of", 2) == 0)
			l->master = (unsigned)atoi(p + 2);
		else if (strcmp(p, "hw") == 0)
			l->hardware = true;
		else if (strcmp(p, "none") == 0)
			l->type = ARPHRD_NONE;
		else if (strcmp(p, "lo") == 0)
			l->loopback = true;
		else if (strcmp(p, "-") != 0)
			snprintf(l->kind, sizeof(l->kind), "%s", p);
	}
	for (size_t i = 2; i < w.count; i++) {
		if (strcmp(w.items[i], "default") == 0) {
			MEM_GROW(net->defaults, net->default_cap, net->default_count + 1);
			net->defaults[net->default_count++] = ifindex;
			continue;
		}
		struct ip_prefix p;
		char *mark = strchr(w.items[i], '!');
		if (mark)
			*mark++ = 0;
		assert_int_equal(ip_prefix_parse(w.items[i], &p), 0);
		MEM_GROW(net->addrs, net->addr_cap, net->addr_count + 1);
		net->addrs[net->addr_count++] = (struct raw_addr){
			.ifindex = ifindex, .addr = p.addr, .len = p.len,
			.scope = str_eq(mark, "link") ? RT_SCOPE_LINK : str_eq(mark, "host") ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
			.flags = str_eq(mark, "tentative") ? IFA_F_TENTATIVE : 0,
		};
	}
}

static char *picture(const struct raw_net *net, const struct node_view *v)
{
	static const char *const kinds[] = { "outside", "pods", "pod", "tunnel" };
	struct strbuf b = { 0 };
	char text[IP_ADDR_TEXT_SIZE];
	for (size_t i = 0; i < v->node.link_count; i++) {
		const struct engine_link *l = &v->node.links[i];
		strbuf_addf(&b, "%s=%s%s%s ", net->links[l->ifindex - 1].name, kinds[l->kind], l->xdp ? "+xdp" : "",
			    l->ethernet ? "" : "+l3");
	}
	strbuf_adds(&b, "|");
	for (size_t i = 0; i < v->node.addr_count; i++)
		strbuf_addf(&b, " %s", ip_format(&v->node.addrs[i], text));
	strbuf_adds(&b, " | pod");
	for (int f = 0; f < 2; f++)
		if (v->node.snat_pod[f].family)
			strbuf_addf(&b, " %s", ip_format(&v->node.snat_pod[f], text));
	strbuf_adds(&b, " | node");
	for (int f = 0; f < 2; f++)
		if (v->node.snat_node[f].family)
			strbuf_addf(&b, " %s", ip_format(&v->node.snat_node[f], text));
	for (size_t i = 0; i < v->node.peer_count; i++)
		strbuf_addf(&b, "%s%s", i ? " " : " | ", ip_format(&v->node.peers[i], text));
	return strbuf_take(&b);
}

static void set_node(struct cluster *c, const char *yaml)
{
	json_t *o = yaml_parse(yaml, strlen(yaml), NULL);
	assert_non_null(o);
	assert_int_equal(cluster_node_set(c, o, NULL), 0);
	json_decref(o);
}

#define OWN "metadata: {name: n1}\nspec: {podCIDRs: [10.244.1.0/24, 'fd00:10:244:1::/64']}\n" \
	    "status: {addresses: [{type: InternalIP, address: 192.0.2.10}, {type: InternalIP, address: '2001:db8::10'}]}\n"
#define OTHER "metadata: {name: n2}\nspec: {podCIDR: 10.244.2.0/24}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.11}]}\n"

static void run(const char *links, const struct node_options *o, const char *want)
{
	_cleanup_strlist_ struct strlist l = { 0 };
	struct raw_net net = { 0 };
	struct node_view v = { 0 }, again = { 0 };
	strlist_split(&l, links, ';');
	for (size_t i = 0; i < l.count; i++)
		parse_link(&net, l.items[i]);
	node_view_build(&net, o, &v);
	_cleanup_free_ char *got = picture(&net, &v);
	print_message("%s\n", links);
	assert_string_equal(got, want);
	node_view_build(&net, o, &again);
	assert_true(node_view_same(&v, &again));
	node_view_build(&net, o, &again); /* its memory is used again */
	assert_true(node_view_same(&v, &again));
	node_view_done(&v);
	node_view_done(&again);
	free(net.links);
	free(net.addrs);
	free(net.defaults);
}

static void test_links(void **state)
{
	(void)state;
	static const struct {
		const char *links, *want;
	} rows[] = {
		{ "lo -,lo 127.0.0.1/8!host;eth0 -,hw 192.0.2.10/24;kl0 bridge 10.244.1.1/24;klabc veth,port",
		  "eth0=outside+xdp kl0=pods | 192.0.2.10 10.244.1.1 | pod 10.244.1.0 | node 192.0.2.10" },
		{ "lo -,lo;eth0 -,hw 192.0.2.10/24;kl0 bridge 10.244.1.1/24;kl1 veth,port,of3;kl2 veth,port,of3,down;br0 bridge 198.51.100.1/24;"
		  "tap0 -,port,of6;kl3 veth,port,of3",
		  "eth0=outside+xdp kl0=pods br0=outside kl1=pod kl3=pod | 192.0.2.10 10.244.1.1 198.51.100.1 | pod 10.244.1.0 | node 192.0.2.10" },
		{ "kl0 bridge;eth0 veth 192.0.2.10/24", "kl0=pods eth0=outside+xdp | 192.0.2.10 | pod | node 192.0.2.10" },
		{ "cni0 bridge 10.244.7.1/24;br0 bridge 192.0.2.10/24;eth0 -,hw,port", "cni0=pods br0=outside | 10.244.7.1 192.0.2.10 | pod 10.244.7.0 | node 192.0.2.10" },
		{ "klvx vxlan 10.244.1.0/32;kl0 bridge 10.244.1.1/24", "klvx=tunnel kl0=pods | 10.244.1.1 | pod 10.244.1.0 | node" },
		{ "flannel.1 vxlan 10.244.3.0/32", "flannel.1=tunnel | 10.244.3.0 | pod | node" },
		{ "vx9 vxlan 198.51.100.1/24", "vx9=outside | 198.51.100.1 | pod | node 198.51.100.1" },
		{ "bond0 bond 192.0.2.10/24;eth0 -,hw,port;eth1 -,hw,port", "bond0=outside | 192.0.2.10 | pod | node 192.0.2.10" },
		{ "eth0 -,hw;eth0.7 vlan 192.0.2.10/24", "eth0.7=outside | 192.0.2.10 | pod | node 192.0.2.10" },
		{ "ppp0 -,none default;wg0 wireguard,none 203.0.113.1/32", "ppp0=outside+l3 wg0=outside+l3 | 203.0.113.1 | pod | node 203.0.113.1" },
		{ "eth0 -,hw,down 192.0.2.10/24;eth1 -,hw", "| 192.0.2.10 | pod | node" },
		/* The default route's link is the node's face; only it has one of the other family. */
		{ "eth1 -,hw 198.51.100.5/24;eth0 -,hw 192.0.2.10/24 2001:db8::10/64 fe80::1/64!link default",
		  "eth1=outside+xdp eth0=outside+xdp | 198.51.100.5 192.0.2.10 2001:db8::10 | pod | node 192.0.2.10 2001:db8::10" },
		/* An address that may still be somebody else's. */
		{ "eth0 -,hw 2001:db8::10/64!tentative 2001:db8::11/64", "eth0=outside+xdp | 2001:db8::11 | pod | node 2001:db8::11" },
		{ "lo -,lo 10.96.0.10/32 192.0.2.200/32;eth0 -,hw default", "eth0=outside+xdp | 192.0.2.200 | pod | node" },
		{ "dummy0 dummy 192.0.2.1/32;eth0 -,hw 192.0.2.1/24", "dummy0=outside eth0=outside+xdp | 192.0.2.1 | pod | node 192.0.2.1" },
	};
	struct node_options o = { .size = sizeof(o) };
	ip_ranges_parse("10.244.0.0/16,fd00:10:244::/56", &o.cluster_cidr, NULL);
	ip_parse("10.96.0.10", &o.cluster_dns[0]);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		run(rows[i].links, &o, rows[i].want);
}

static void test_nodes(void **state)
{
	(void)state;
	struct node_options o = { .size = sizeof(o), .cluster = cluster_new("n1") };
	const char *links = "eth0 -,hw 192.0.2.9/24 default 192.0.2.10/24;kl0 bridge 10.244.1.1/24 fd00:10:244:1::1/64;"
			    "klvx vxlan 10.244.1.0/32;old0 bridge 10.244.8.1/24";
	ip_ranges_parse("10.244.0.0/16,fd00:10:244::/56", &o.cluster_cidr, NULL);
	run(links, &o, "eth0=outside+xdp kl0=pods klvx=tunnel old0=pods | 192.0.2.9 192.0.2.10 10.244.1.1 fd00:10:244:1::1 10.244.8.1 | "
		       "pod 10.244.1.0 fd00:10:244:1:: | node 192.0.2.9");
	set_node(o.cluster, OWN);
	set_node(o.cluster, OTHER);
	run(links, &o, "eth0=outside+xdp kl0=pods klvx=tunnel old0=outside | 192.0.2.9 192.0.2.10 10.244.1.1 fd00:10:244:1::1 10.244.8.1 | "
		       "pod 10.244.1.0 fd00:10:244:1:: | node 192.0.2.10 2001:db8::10 | 192.0.2.11 10.244.2.0");
	/* What was said on the command line counts more. */
	ip_parse("192.0.2.9", &o.node_ip[0]);
	o.node_port_primary = true;
	run("eth0 -,hw 192.0.2.9/24 192.0.2.10/24 2001:db8::10/64", &o,
	    "eth0=outside+xdp | 192.0.2.9 2001:db8::10 | pod 10.244.1.0 fd00:10:244:1:: | node 192.0.2.9 2001:db8::10 | 192.0.2.11 10.244.2.0");
	ip_parse("192.0.2.7", &o.snat_address[0]);
	o.node_port_primary = false;
	struct ip_prefix only[2];
	ip_prefix_parse("192.0.2.10/32", &only[0]);
	ip_prefix_parse("2001:db8::/32", &only[1]);
	o.node_port_addresses = only;
	o.node_port_address_count = 2;
	cluster_node_del(o.cluster, "n2");
	run("eth0 -,hw 192.0.2.9/24 192.0.2.10/24 2001:db8::10/64", &o,
	    "eth0=outside+xdp | 192.0.2.10 2001:db8::10 | pod 10.244.1.0 fd00:10:244:1:: | node 192.0.2.7 2001:db8::10");
	cluster_free(o.cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_links), cmocka_unit_test(test_nodes) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
