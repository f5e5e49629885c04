/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables: Nodes and addresses in, what the kernel should have out, as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/podnet/decide.h"

enum { NODES_MAX = 8, ADDRS_MAX = 8 };

/* "NAME CREATED INTERNALIP[,..] PODCIDR[,..]": "-" for none; a name with a star is this node. */
struct setup {
	const char *nodes[NODES_MAX];
	const char *addrs[ADDRS_MAX]; /* "IP/LEN IFINDEX MTU", MTU 0: on lo */
	enum podnet_mode mode;
	const char *want; /* lines of describe() */
};

struct node_text {
	char name[64], created[64];
};

static void parse_node(const char *text, struct podnet_node *n, struct node_text *t)
{
	char ips[200], cidrs[200], *save = NULL;
	assert_int_equal(sscanf(text, "%63s %63s %199s %199s", t->name, t->created, ips, cidrs), 4);
	*n = (struct podnet_node){ .name = t->name, .created = str_eq(t->created, "-") ? "" : t->created };
	if (str_ends(t->name, "*")) {
		n->own = true;
		t->name[strlen(t->name) - 1] = '\0';
	}
	for (char *s = strtok_r(ips, ",", &save); s && strcmp(s, "-") != 0; s = strtok_r(NULL, ",", &save)) {
		struct ip_addr a;
		assert_int_equal(ip_parse(s, &a), 0);
		n->addrs[ip_family_index(a.family)] = a;
		n->family = n->family ? n->family : a.family;
	}
	for (char *s = strtok_r(cidrs, ",", &save); s && strcmp(s, "-") != 0; s = strtok_r(NULL, ",", &save)) {
		struct ip_prefix p;
		assert_int_equal(ip_prefix_parse(s, &p), 0);
		n->pod_cidrs[ip_family_index(p.addr.family)] = p;
	}
}

static void add_mac(struct strbuf *b, const uint8_t m[static ETH_ALEN])
{
	strbuf_addf(b, "%02x%02x.%02x%02x%02x%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static void describe(struct strbuf *b, const struct podnet_wanted *w)
{
	char x[IP_PREFIX_TEXT_SIZE], y[IP_ADDR_TEXT_SIZE], z[IP_ADDR_TEXT_SIZE];
	if (!w->known)
		strbuf_adds(b, "unknown\n");
	if (w->tunnel) {
		strbuf_addf(b, "tunnel %s mtu %u ", ip_format(&w->local, x), w->mtu);
		add_mac(b, w->mac);
		for (int f = 0; f < 2; f++)
			if (w->addrs[f].family)
				strbuf_addf(b, " %s", ip_format(&w->addrs[f], x));
		strbuf_addc(b, '\n');
	}
	for (size_t i = 0; i < w->route_count; i++) {
		const struct podnet_route *r = &w->routes[i];
		strbuf_addf(b, "route %s via %s dev %u%s%s\n", ip_prefix_format(&r->dst, x), ip_format(&r->gw, y), r->ifindex,
			    r->src.family ? " src " : "", ip_format(&r->src, z));
	}
	for (size_t i = 0; i < w->neighbour_count; i++) {
		strbuf_addf(b, "neighbour %s ", ip_format(&w->neighbours[i].addr, x));
		add_mac(b, w->neighbours[i].mac);
		strbuf_addc(b, '\n');
	}
	for (size_t i = 0; i < w->forward_count; i++) {
		strbuf_adds(b, "forward ");
		add_mac(b, w->forwards[i].mac);
		strbuf_addf(b, " %s\n", ip_format(&w->forwards[i].node, x));
	}
	for (size_t i = 0; i < w->complaints.count; i++)
		strbuf_addf(b, "! %s\n", w->complaints.items[i]);
}

static void run(const struct setup *s)
{
	struct podnet_node nodes[NODES_MAX];
	struct node_text texts[NODES_MAX];
	struct podnet_address addrs[ADDRS_MAX];
	struct podnet_input in = { .mode = s->mode, .nodes = nodes, .addresses = addrs };
	struct podnet_wanted w;
	_cleanup_strbuf_ struct strbuf b = { 0 };
	ip_ranges_parse("10.96.0.0/12,fd00:96::/108", &in.service_cidr, NULL);
	ip_ranges_parse("10.244.0.0/16,fd00:244::/48", &in.cluster_cidr, NULL);
	for (; in.node_count < NODES_MAX && s->nodes[in.node_count]; in.node_count++)
		parse_node(s->nodes[in.node_count], &nodes[in.node_count], &texts[in.node_count]);
	for (; in.address_count < ADDRS_MAX && s->addrs[in.address_count]; in.address_count++) {
		struct podnet_address *a = &addrs[in.address_count];
		char ip[100];
		*a = (struct podnet_address){ 0 };
		assert_int_equal(sscanf(s->addrs[in.address_count], "%99s %u %u", ip, &a->ifindex, &a->mtu), 3);
		assert_int_equal(ip_prefix_parse(ip, &a->prefix), 0);
		a->loopback = a->mtu == 0;
	}
	podnet_decide(&in, &w);
	strbuf_adds(&b, "");
	describe(&b, &w);
	assert_string_equal(b.data ? b.data : "", s->want);
	podnet_wanted_done(&w);
}

#define ETH0 "192.0.2.1/24 2 1500"
#define KL0 "10.244.1.1/24 3 1450"
#define OWN "a* 2026-01-01T00:00:01Z 192.0.2.1 10.244.1.0/24"
#define TUNNEL "tunnel 192.0.2.1 mtu 1450 0e58.0af40100 10.244.1.1\n"
#define TUNNEL_DUAL "tunnel 192.0.2.1 mtu 1450 0e58.0af40100 10.244.1.1 fd00:244:0:1::1\n"
#define B_TUNNELLED                                                        \
	"route 10.244.2.0/24 via 10.244.2.0 dev 0 src 10.244.1.1\n"        \
	"neighbour 10.244.2.0 0e58.0af40200\nforward 0e58.0af40200 198.51.100.2\n"

static void ways(void **state _unused_)
{
	static const struct setup cases[] = {
		{ { OWN, "b 2026-01-02T00:00:00Z 192.0.2.2 10.244.2.0/24", "c 2026-01-03T00:00:00Z 198.51.100.3 10.244.3.0/24" },
		  { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL "route 10.244.2.0/24 via 192.0.2.2 dev 2\nroute 10.244.3.0/24 via 10.244.3.0 dev 0 src 10.244.1.1\n"
		  "neighbour 10.244.3.0 0e58.0af40300\nforward 0e58.0af40300 198.51.100.3\n" },
		{ { OWN, "b - 192.0.2.2 10.244.2.0/24" }, { ETH0, KL0 }, PODNET_VXLAN,
		  TUNNEL "route 10.244.2.0/24 via 10.244.2.0 dev 0 src 10.244.1.1\nneighbour 10.244.2.0 0e58.0af40200\n"
		  "forward 0e58.0af40200 192.0.2.2\n" },
		{ { OWN, "b - 192.0.2.2 10.244.2.0/24", "c - 198.51.100.3 10.244.3.0/24" }, { ETH0, KL0 }, PODNET_DIRECT,
		  "route 10.244.2.0/24 via 192.0.2.2 dev 2\n"
		  "! node c: no way to its podCIDR 10.244.3.0/24: it is not on a segment of this node, and there is no tunnel\n" },
		{ { OWN, "b - 192.0.2.2 10.244.2.0/24" }, { ETH0, KL0 }, PODNET_NONE, "" },
		/* The bridge makes no difference. */
		{ { OWN, "b - 198.51.100.2 10.244.2.0/24" }, { ETH0 }, PODNET_AUTO, TUNNEL B_TUNNELLED },
		/* A segment of ours that is not our InternalIP's does not count: the other node would not see it so. */
		{ { OWN, "b - 198.51.100.2 10.244.2.0/24" }, { ETH0, KL0, "198.51.100.1/24 6 1500" }, PODNET_AUTO, TUNNEL B_TUNNELLED },
		/* The node's address on lo. */
		{ { OWN, "b - 198.51.100.2 10.244.2.0/24" }, { "192.0.2.1/32 1 0", "203.0.113.1/24 6 1400", KL0 }, PODNET_AUTO,
		  "tunnel 192.0.2.1 mtu 1350 0e58.0af40100 10.244.1.1\n" B_TUNNELLED },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		run(&cases[i]);
}

static void two_families(void **state _unused_)
{
	static const struct setup cases[] = {
		{ { "a* - 192.0.2.1,2001:db8::1 10.244.1.0/24,fd00:244:0:1::/64", "b - 192.0.2.2,2001:db8::2 fd00:244:0:2::/64,10.244.2.0/24",
		    "c - 198.51.100.3,2001:db8:1::3 10.244.3.0/24,fd00:244:0:3::/64", "d - 192.0.2.4 10.244.4.0/24,fd00:244:0:4::/64" },
		  { ETH0, KL0, "2001:db8::1/64 2 1500", "fd00:244:0:1::1/64 3 1450" }, PODNET_AUTO,
		  TUNNEL_DUAL "route 10.244.2.0/24 via 192.0.2.2 dev 2\nroute 10.244.3.0/24 via 10.244.3.0 dev 0 src 10.244.1.1\n"
		  "route 10.244.4.0/24 via 192.0.2.4 dev 2\nroute fd00:244:0:2::/64 via 2001:db8::2 dev 2\n"
		  "route fd00:244:0:3::/64 via fd00:244:0:3:: dev 0 src fd00:244:0:1::1\n"
		  "route fd00:244:0:4::/64 via fd00:244:0:4:: dev 0 src fd00:244:0:1::1\n"
		  "neighbour 10.244.3.0 0e58.0af40300\nneighbour fd00:244:0:3:: 0e58.0af40300\nneighbour fd00:244:0:4:: 0e58.0af40400\n"
		  "forward 0e58.0af40300 198.51.100.3\nforward 0e58.0af40400 192.0.2.4\n" },
		/* IPv6 alone: the link address is the network's part, the tunnel's overhead is larger. */
		{ { "a* - 2001:db8::1 fd00:244:0:1::/64", "b - 2001:db8:1::2 fd00:244:0:2::/64", "c - 192.0.2.9 fd00:244:0:3::/64" },
		  { "2001:db8::1/64 2 1500" }, PODNET_AUTO,
		  "tunnel 2001:db8::1 mtu 1430 0e58.00000001 fd00:244:0:1::1\n"
		  "route fd00:244:0:2::/64 via fd00:244:0:2:: dev 0 src fd00:244:0:1::1\n"
		  "neighbour fd00:244:0:2:: 0e58.00000002\nforward 0e58.00000002 2001:db8:1::2\n"
		  "! node c: no way to its podCIDR fd00:244:0:3::/64: it has no usable InternalIP of the family that the tunnel uses\n" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		run(&cases[i]);
}

static void contradictions(void **state _unused_)
{
	static const struct setup cases[] = {
		{ { OWN, "x 2026-01-03T00:00:00Z 198.51.100.9 10.244.2.0/24", "y 2026-01-02T00:00:00Z 198.51.100.2 10.244.2.0/24" },
		  { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL B_TUNNELLED "! node x: its podCIDR 10.244.2.0/24 is node y's\n" },
		{ { OWN, "x - 198.51.100.9 10.244.0.0/20", "y 2026-01-02T00:00:00Z 198.51.100.2 10.244.2.0/24" }, { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL B_TUNNELLED "! node x: its podCIDR 10.244.0.0/20 overlaps 10.244.1.0/24 of this node, node a\n" },
		{ { OWN, "b 2026-01-01T00:00:00Z 198.51.100.2 10.244.1.0/24" }, { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL "! node b: its podCIDR 10.244.1.0/24 is this node's, node a's\n" },
		{ { OWN, "b - 198.51.100.2 10.96.3.0/24" }, { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL "! node b: its podCIDR 10.96.3.0/24 overlaps the service range\n" },
		{ { OWN, "b - 198.51.100.2 192.0.2.0/24" }, { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL "! node b: its podCIDR 192.0.2.0/24 is not inside the cluster's pod range\n" },
		{ { OWN, "b - 198.51.100.2 10.0.0.0/8" }, { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL "! node b: its podCIDR 10.0.0.0/8 overlaps the service range\n" },
		{ { OWN, "b - 10.244.9.9 10.244.2.0/24" }, { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL "! node b: its InternalIP 10.244.9.9 is inside the cluster's pod range\n"
		  "! node b: no way to its podCIDR 10.244.2.0/24: it has no usable InternalIP of the family that the tunnel uses\n" },
		{ { OWN, "b - 192.0.2.1 10.244.2.0/24" }, { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL "! node b: its InternalIP 192.0.2.1 is an address of this node\n"
		  "! node b: no way to its podCIDR 10.244.2.0/24: it has no usable InternalIP of the family that the tunnel uses\n" },
		{ { OWN, "x - 198.51.100.2 10.244.3.0/24", "y 2026-01-02T00:00:00Z 198.51.100.2 10.244.2.0/24" }, { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL B_TUNNELLED "! node x: its InternalIP 198.51.100.2 is node y's\n"
		  "! node x: no way to its podCIDR 10.244.3.0/24: it has no usable InternalIP of the family that the tunnel uses\n" },
		{ { OWN, "b - 127.0.0.1 10.244.2.0/24", "c - 224.0.0.1 -" }, { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL "! node b: its InternalIP 127.0.0.1 is no address that a node can have\n"
		  "! node c: its InternalIP 224.0.0.1 is no address that a node can have\n"
		  "! node b: no way to its podCIDR 10.244.2.0/24: it has no usable InternalIP of the family that the tunnel uses\n" },
		{ { OWN, "b - 198.51.100.2 -", "c - - 10.244.2.0/24" }, { ETH0, KL0 }, PODNET_AUTO,
		  TUNNEL "! node c: no way to its podCIDR 10.244.2.0/24: it has no usable InternalIP of the family that the tunnel uses\n" },
		/* A podCIDR in doubt is what the link address follows from: the other range has no tunnel either. */
		{ { "a* - 192.0.2.1 10.244.1.0/24,fd00:244:0:1::/64", "b - 198.51.100.2 10.244.1.0/24,fd00:244:0:2::/64" },
		  { ETH0, KL0, "fd00:244:0:1::1/64 3 1450" }, PODNET_AUTO,
		  TUNNEL_DUAL "! node b: its podCIDR 10.244.1.0/24 is this node's, node a's\n"
		  "! node b: no way to its podCIDR fd00:244:0:2::/64: the podCIDR that its link address follows from is in doubt\n" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		run(&cases[i]);
}

static void own_part(void **state _unused_)
{
	static const struct setup cases[] = {
		{ { "b - 192.0.2.2 10.244.2.0/24" }, { ETH0 }, PODNET_AUTO, "unknown\n" },
		{ { NULL }, { ETH0 }, PODNET_AUTO, "unknown\n" },
		{ { OWN, "b - 192.0.2.2 10.244.2.0/24" }, { "192.0.2.7/24 2 1500" }, PODNET_AUTO,
		  "unknown\n! no link of this node that is up has its InternalIP 192.0.2.1\n" },
		{ { "a* - - 10.244.1.0/24" }, { ETH0 }, PODNET_AUTO,
		  "unknown\n! no link of this node that is up has its InternalIP (it has none)\n" },
		/* No podCIDR yet: what is direct works already. */
		{ { "a* - 192.0.2.1 -", "b - 192.0.2.2 10.244.2.0/24", "c - 198.51.100.3 10.244.3.0/24" }, { ETH0 }, PODNET_AUTO,
		  "route 10.244.2.0/24 via 192.0.2.2 dev 2\n"
		  "! node c: no way to its podCIDR 10.244.3.0/24: this node has no podCIDR of its own yet\n" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		run(&cases[i]);
}

/* Whatever the order of the Nodes, the outcome is one; many cost little more than sorting. */
static void order_and_number(void **state _unused_)
{
	enum { N = 5000 };
	_cleanup_free_ struct podnet_node *nodes = mem_new_n(struct podnet_node, N);
	char(*names)[16] = calloc(N, 16);
	struct podnet_address addr = { .ifindex = 2, .mtu = 1500 };
	struct podnet_input in = { .nodes = nodes, .node_count = N, .addresses = &addr, .address_count = 1 };
	struct podnet_wanted w;
	size_t neighbours = 0;
	assert_non_null(names);
	ip_prefix_parse("172.16.0.1/16", &addr.prefix);
	ip_ranges_parse("10.96.0.0/16", &in.service_cidr, NULL);
	ip_ranges_parse("10.128.0.0/9", &in.cluster_cidr, NULL);
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < N; i++) {
			unsigned id = round ? N - 1 - i : i, claimed = id == 77 ? 76 : id;
			struct podnet_node *n = &nodes[i];
			snprintf(names[i], 16, "n%u", id);
			*n = (struct podnet_node){ .name = names[i], .own = id == 0, .family = AF_INET };
			n->addrs[0] = (struct ip_addr){ AF_INET, { 172, (uint8_t)(id < N / 2 ? 16 : 17), (uint8_t)(id >> 8), (uint8_t)id } };
			if (id == 0)
				n->addrs[0] = addr.prefix.addr;
			if (id == 1)
				n->addrs[0].bytes[2] = 200;
			n->pod_cidrs[0] = (struct ip_prefix){ { AF_INET, { 10, (uint8_t)(128 + (claimed >> 8)), (uint8_t)claimed, 0 } }, 24 };
		}
		podnet_decide(&in, &w);
		assert_int_equal(w.route_count, N - 2);
		assert_int_equal(w.complaint_count, 1);
		assert_string_equal(w.complaints.items[0], "node n77: its podCIDR 10.128.76.0/24 is node n76's");
		if (round)
			assert_int_equal(w.neighbour_count, neighbours);
		neighbours = w.neighbour_count;
		podnet_wanted_done(&w);
	}
	free(names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ways), cmocka_unit_test(two_families), cmocka_unit_test(contradictions),
		cmocka_unit_test(own_part), cmocka_unit_test(order_and_number),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
