/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each element carries "network container interface" as its comment, so that a port whose pod vanished is told from one in
 * use. Chains, maps and rules are made in one transaction with the first host port.
 */
#include "cni/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cni/nft.h"

#define CHAIN "hostports"

enum { KEY_MAX = 24, DATA_MAX = 20, TYPE_IPADDR = 7, TYPE_IP6ADDR = 8, TYPE_INETPROTO = 12, TYPE_INETSERVICE = 13, TYPE_BITS = 6,
       TRANSPORT_DPORT = 2, OWNER_SIZE = 253 };

static struct netlink nl = { .fd = -1 };

/* A mapping as the kernel has it: in which map, key and data. */
struct element {
	const char *map;
	uint8_t key[KEY_MAX], data[DATA_MAX];
	size_t key_len, data_len;
};

static const char *map_name(uint8_t family, bool any)
{
	return family == AF_INET6 ? (any ? "hostports6any" : "hostports6") : any ? "hostports4any" : "hostports4";
}

/* Fields of a concatenation begin at multiples of four bytes. */
static void element_of(struct element *e, const struct conf_port *p, const struct ip_addr *addr)
{
	size_t size = conf_addr_size(addr->family);
	uint16_t host_port = htons(p->host_port), port = htons(p->port);

	*e = (struct element){ .map = map_name(addr->family, !p->host_ip.family) };
	if (p->host_ip.family) {
		memcpy(e->key, p->host_ip.bytes, size);
		e->key_len = size;
	}
	e->key[e->key_len] = p->proto;
	memcpy(e->key + e->key_len + 4, &host_port, 2);
	e->key_len += 8;
	memcpy(e->data, addr->bytes, size);
	memcpy(e->data + size, &port, 2);
	e->data_len = size + 4;
}

static bool applies(const struct conf_port *p, const struct ip_addr *addr)
{
	return !p->host_ip.family || p->host_ip.family == addr->family;
}

static const char *proto_name(uint8_t proto)
{
	return proto == IPPROTO_UDP ? "udp" : proto == IPPROTO_SCTP ? "sctp" : "tcp";
}

/* Rules. */

static void put_map(uint8_t family, bool any, uint32_t id)
{
	uint32_t addr = family == AF_INET6 ? TYPE_IP6ADDR : TYPE_IPADDR;
	uint32_t key = TYPE_INETPROTO << TYPE_BITS | TYPE_INETSERVICE, size = conf_addr_size(family);
	struct nlmsghdr *nlh = nft_put(&nl, NFT_MSG_NEWSET, NLM_F_CREATE, 0, "create a map of host ports");

	mnl_attr_put_strz(nlh, NFTA_SET_TABLE, NFT_TABLE);
	mnl_attr_put_strz(nlh, NFTA_SET_NAME, map_name(family, any));
	mnl_attr_put_u32(nlh, NFTA_SET_FLAGS, htonl(NFT_SET_MAP));
	mnl_attr_put_u32(nlh, NFTA_SET_KEY_TYPE, htonl(any ? key : addr << 2 * TYPE_BITS | key));
	mnl_attr_put_u32(nlh, NFTA_SET_KEY_LEN, htonl(any ? 8 : size + 8));
	mnl_attr_put_u32(nlh, NFTA_SET_DATA_TYPE, htonl(addr << TYPE_BITS | TYPE_INETSERVICE));
	mnl_attr_put_u32(nlh, NFTA_SET_DATA_LEN, htonl(size + 4));
	mnl_attr_put_u32(nlh, NFTA_SET_ID, htonl(id));
	netlink_put_end(&nl, nlh);
}

static void put_lookup_rule(uint8_t family, bool any, const char *mark)
{
	static const struct ip_prefix v6_loopback = { .addr = { AF_INET6, { [15] = 1 } }, .len = 128 };
	struct nft_rule r = nft_rule_begin(&nl, CHAIN, "add the rule of host ports");
	uint32_t size = conf_addr_size(family), reg = NFT_REG32_00;

	nft_is_family(&r, family);
	/* The kernel has no route_localnet for IPv6: what asks ::1 stays there. */
	if (any && family == AF_INET6)
		nft_destination(&r, NFT_CMP_NEQ, &v6_loopback);
	if (!any) {
		nft_payload(&r, NFT_PAYLOAD_NETWORK_HEADER, family == AF_INET6 ? 24 : 16, size, reg);
		reg += size / 4;
	}
	nft_meta(&r, NFT_META_L4PROTO, reg);
	nft_payload(&r, NFT_PAYLOAD_TRANSPORT_HEADER, TRANSPORT_DPORT, 2, reg + 1);
	nft_lookup(&r, map_name(family, any), NFT_REG32_00);
	nft_dnat(&r, family, NFT_REG32_00, NFT_REG32_00 + size / 4);
	nft_rule_end(&r, mark);
}

static void put_hook(const char *chain, int hook, const char *mark)
{
	struct nft_rule r;

	nft_put_chain(&nl, chain, "nat", hook, NF_IP_PRI_NAT_DST);
	r = nft_rule_begin(&nl, chain, "add the jump to host ports");
	nft_is_local_destination(&r);
	nft_verdict(&r, NFT_JUMP, CHAIN);
	nft_rule_end(&r, mark);
}

/* Loopback as the source: the pod could not answer. */
static void put_loopback_rule(const char *mark)
{
	static const struct ip_prefix loopback = { .addr = { AF_INET, { 127 } }, .len = 8 };
	struct nft_rule r = nft_rule_begin(&nl, "postrouting", "add the rule of host ports on loopback");

	nft_is_family(&r, AF_INET);
	nft_source(&r, NFT_CMP_EQ, &loopback);
	nft_is_translated(&r);
	nft_masquerade(&r);
	nft_rule_end(&r, mark);
}

static int ensure_common(struct fail *f)
{
	static const char mark[] = "keelson-ports 1";
	static const char *const wanted[] = { mark, mark, mark, mark };
	struct nft_marks m = { .prefix = mark, .wanted = wanted, .count = ARRAY_SIZE(wanted) };
	int e = nft_marks_read(&nl, CHAIN, &m, f);

	if (e < 0 || m.found == 0xf)
		return e;
	/* Nobody else writes this chain; its rules are in order, the more specific map first. */
	nft_put_begin(&nl);
	nft_put_table(&nl);
	for (uint32_t i = 0; i < 4; i++)
		put_map(i < 2 ? AF_INET : AF_INET6, i % 2, i + 1);
	nft_put_chain(&nl, CHAIN, NULL, -1, 0);
	for (uint32_t i = 0; i < 4; i++)
		put_lookup_rule(i < 2 ? AF_INET : AF_INET6, i % 2, mark);
	put_hook("prerouting", NF_INET_PRE_ROUTING, mark);
	put_hook("output", NF_INET_LOCAL_OUT, mark);
	nft_put_chain(&nl, "postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC);
	put_loopback_rule(mark);
	nft_put_commit(&nl);
	return netlink_commit(&nl, f);
}

/* From a pod to a pod of its own subnet by way of the node: the answer would go straight over the bridge. */
static void put_hairpin_rule(const struct conf_subnet *s, const char *mark)
{
	struct nft_rule r = nft_rule_begin(&nl, "postrouting", "add the rule of host ports between pods");

	nft_is_family(&r, s->prefix.addr.family);
	nft_source(&r, NFT_CMP_EQ, &s->prefix);
	nft_destination(&r, NFT_CMP_EQ, &s->prefix);
	nft_is_translated(&r);
	nft_masquerade(&r);
	nft_rule_end(&r, mark);
}

/* With route_localnet pods could reach what listens on the node's loopback only (CVE-2020-8558): never through the bridge. */
static void put_guard_rule(const char *bridge, bool source, const char *mark)
{
	static const struct ip_prefix loopback = { .addr = { AF_INET, { 127 } }, .len = 8 };
	struct nft_rule r = nft_rule_begin(&nl, "localnet", "guard loopback from pods");

	nft_interface_in(&r, bridge);
	nft_is_family(&r, AF_INET);
	if (source)
		nft_source(&r, NFT_CMP_EQ, &loopback);
	else
		nft_destination(&r, NFT_CMP_EQ, &loopback);
	nft_verdict(&r, NF_DROP, NULL);
	nft_rule_end(&r, mark);
}

static int ensure_network(const struct conf *c, struct fail *f)
{
	char prefix[NFT_MARK_SIZE], guard[NFT_MARK_SIZE], marks[2][NFT_MARK_SIZE], text[IP_PREFIX_TEXT_SIZE];
	const char *const wanted[] = { marks[0], marks[1] }, *const guards[] = { guard, guard };
	struct nft_marks hairpin = { .prefix = prefix, .wanted = wanted, .count = c->subnet_count };
	struct nft_marks local = { .prefix = prefix, .wanted = guards, .count = 2 };

	nft_mark(prefix, "keelson-ports %s ", c->name);
	nft_mark(guard, "%s%s", prefix, c->bridge);
	for (size_t i = 0; i < c->subnet_count; i++)
		nft_mark(marks[i], "%s%s", prefix, ip_prefix_format(&c->subnets[i].prefix, text));
	if (nft_marks_read(&nl, "postrouting", &hairpin, f) < 0 || nft_marks_read(&nl, "localnet", &local, f) < 0)
		return -1;
	if (hairpin.found + 1 == 1u << c->subnet_count && local.found == 3 && !hairpin.stale_count && !local.stale_count)
		return 0;
	nft_put_begin(&nl);
	nft_put_table(&nl);
	nft_put_chain(&nl, "localnet", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW);
	for (size_t i = 0; i < hairpin.stale_count; i++)
		nft_rule_del(&nl, "postrouting", hairpin.stale[i]);
	for (size_t i = 0; i < local.stale_count; i++)
		nft_rule_del(&nl, "localnet", local.stale[i]);
	for (size_t i = 0; i < c->subnet_count; i++)
		if (!(hairpin.found & 1u << i))
			put_hairpin_rule(&c->subnets[i], marks[i]);
	for (unsigned i = 0; i < 2; i++)
		if (!(local.found & 1u << i))
			put_guard_rule(c->bridge, i, guard);
	nft_put_commit(&nl);
	return netlink_commit(&nl, f);
}

/* Elements. */

static struct nlattr *elements_begin(struct nlmsghdr *nlh, const struct element *e, struct nlattr **ret_elem)
{
	struct nlattr *list, *nest;

	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, e->map);
	list = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_LIST_ELEMENTS);
	*ret_elem = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
	nest = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_KEY);
	mnl_attr_put(nlh, NFTA_DATA_VALUE, e->key_len, e->key);
	mnl_attr_nest_end(nlh, nest);
	return list;
}

static void elements_end(struct nlmsghdr *nlh, struct nlattr *list, struct nlattr *elem)
{
	mnl_attr_nest_end(nlh, elem);
	mnl_attr_nest_end(nlh, list);
}

static void put_element(const struct element *e, const char *owner, const struct conf_port *p)
{
	char what[NETLINK_WHAT_SIZE], user_data[2 + OWNER_SIZE];
	size_t len = strlen(owner) + 1;
	struct nlattr *list, *elem, *nest;
	struct nlmsghdr *nlh;

	snprintf(what, sizeof(what), "map the host port %u/%s", p->host_port, proto_name(p->proto));
	nlh = nft_put(&nl, NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, 0, what);
	list = elements_begin(nlh, e, &elem);
	nest = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_DATA);
	mnl_attr_put(nlh, NFTA_DATA_VALUE, e->data_len, e->data);
	mnl_attr_nest_end(nlh, nest);
	user_data[0] = 0;
	user_data[1] = (char)len;
	memcpy(user_data + 2, owner, len);
	mnl_attr_put(nlh, NFTA_SET_ELEM_USERDATA, 2 + len, user_data);
	elements_end(nlh, list, elem);
	netlink_put_end(&nl, nlh);
}

static void put_element_del(const struct element *e)
{
	struct nlmsghdr *nlh = nft_put(&nl, NFT_MSG_DELSETELEM, 0, ENOENT, "remove a host port");
	struct nlattr *list, *elem;

	list = elements_begin(nlh, e, &elem);
	elements_end(nlh, list, elem);
	netlink_put_end(&nl, nlh);
}

/* What the kernel says of elements. */
struct found {
	struct element e;
	char owner[OWNER_SIZE];
	void (*fn)(const struct found *one, void *user);
	void *user;
};

static int data_attr(const struct nlattr *a, uint8_t *out, size_t max, size_t *ret_len)
{
	const struct nlattr *v;

	mnl_attr_for_each_nested(v, a)
		if (mnl_attr_get_type(v) == NFTA_DATA_VALUE && mnl_attr_get_payload_len(v) <= max) {
			*ret_len = mnl_attr_get_payload_len(v);
			memcpy(out, mnl_attr_get_payload(v), *ret_len);
		}
	return MNL_CB_OK;
}

static void one_element(const struct nlattr *elem, struct found *s)
{
	const struct nlattr *a;
	const char *text;
	size_t len;

	s->e.key_len = s->e.data_len = 0;
	s->owner[0] = '\0';
	mnl_attr_for_each_nested(a, elem) {
		if (mnl_attr_get_type(a) == NFTA_SET_ELEM_KEY) {
			data_attr(a, s->e.key, sizeof(s->e.key), &s->e.key_len);
		} else if (mnl_attr_get_type(a) == NFTA_SET_ELEM_DATA) {
			data_attr(a, s->e.data, sizeof(s->e.data), &s->e.data_len);
		} else if (mnl_attr_get_type(a) == NFTA_SET_ELEM_USERDATA) {
			text = mnl_attr_get_payload(a);
			len = mnl_attr_get_payload_len(a);
			if (len > 2 && text[0] == 0 && len - 2 <= sizeof(s->owner))
				snprintf(s->owner, sizeof(s->owner), "%.*s", (int)(len - 2), text + 2);
		}
	}
	s->fn(s, s->user);
}

static int element_answer(const struct nlmsghdr *nlh, void *user)
{
	const struct nlattr *a, *elem;

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(a) == NFTA_SET_ELEM_LIST_ELEMENTS)
			mnl_attr_for_each_nested(elem, a)
				one_element(elem, user);
	return MNL_CB_OK;
}

/* All elements of a map, or the one with a key. -ENOENT when there is none. */
static int each_element(const struct element *key, const char *map, struct found *s)
{
	char buf[512] __attribute__((aligned(MNL_ALIGNTO)));
	struct nlmsghdr *nlh = nft_ask(buf, NFT_MSG_GETSETELEM, key ? 0 : NLM_F_DUMP);
	struct nlattr *list, *elem;

	s->e.map = map;
	if (key) {
		list = elements_begin(nlh, key, &elem);
		elements_end(nlh, list, elem);
	} else {
		mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
		mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, map);
	}
	return netlink_ask(&nl, nlh, element_answer, s);
}

static void keep(const struct found *one, void *user)
{
	struct found *out = user;

	out->e = one->e;
	memcpy(out->owner, one->owner, sizeof(out->owner));
}

/* 0, 1 when the key is in no map, -1. */
static int find(const struct element *e, struct found *ret, struct fail *f)
{
	struct found s = { .fn = keep, .user = ret };
	int r = each_element(e, e->map, &s);

	if (r == -ENOENT)
		return 1;
	return r < 0 ? fail_set(f, FAIL_KERNEL, "look up a host port: %s", strerror(-r)) : 0;
}

static int del(const struct element *e, struct fail *f)
{
	nft_put_begin(&nl);
	put_element_del(e);
	nft_put_commit(&nl);
	return netlink_commit(&nl, f);
}

static bool same_address(const struct element *a, const struct element *b)
{
	return a->data_len == b->data_len && memcmp(a->data, b->data, a->data_len - 4) == 0;
}

/* Adding. */

static void owner_text(char out[static OWNER_SIZE], const struct ports_owner *o)
{
	/* Two ids of the greatest length do not fit: of the network's name a part is enough. */
	snprintf(out, OWNER_SIZE, "%.50s %.*s %s", o->network, CONF_ID_MAX, o->container_id, o->ifname);
}

/* Whether the owner of an element is a pod of this network's state. */
static bool is_alive(struct ipam *i, const char *network, const char *owner)
{
	char name[64], container_id[CONF_ID_MAX + 1], ifname[IFNAMSIZ], mine[64];
	struct ipam_lease lease;
	struct fail ignored;

	snprintf(mine, sizeof(mine), "%.50s", network);
	if (sscanf(owner, "%63s %180s %15s", name, container_id, ifname) != 3 || strcmp(name, mine) != 0)
		return true; /* of another network, or not ours: in doubt it is */
	return ipam_find(i, container_id, ifname, &lease, &ignored) <= 0;
}

/* Sees that nobody has the key: what nobody needs any more is removed. */
static int clear(struct ipam *i, const struct element *e, const struct conf_port *p, const struct ports_owner *owner, struct fail *f)
{
	char mine[OWNER_SIZE], ip[IP_ADDR_TEXT_SIZE];
	struct found had = { 0 };
	int r = find(e, &had, f);

	if (r != 0)
		return r < 0 ? -1 : 0;
	owner_text(mine, owner);
	if (strcmp(had.owner, mine) != 0 && is_alive(i, owner->network, had.owner))
		return fail_set(f, FAIL_TRY_AGAIN, "the host port %s%s%u/%s is another pod's already (%.200s)",
				p->host_ip.family ? ip_format(&p->host_ip, ip) : "", p->host_ip.family ? " " : "", p->host_port,
				proto_name(p->proto), had.owner);
	return del(e, f);
}

typedef int (*element_fn)(const struct element *e, const struct conf_port *p, void *user);

/* Each element that c's ports make of the lease. */
static int each_wanted(const struct conf *c, const struct ipam_lease *lease, element_fn fn, void *user)
{
	struct element e;

	for (size_t n = 0; n < c->port_count; n++) {
		for (size_t k = 0; k < lease->addr_count; k++) {
			if (!applies(&c->ports[n], &lease->addrs[k]))
				continue;
			element_of(&e, &c->ports[n], &lease->addrs[k]);
			if (fn(&e, &c->ports[n], user) < 0)
				return -1;
		}
	}
	return 0;
}

struct adding {
	struct ipam *ipam;
	const struct ports_owner *owner;
	char text[OWNER_SIZE];
	struct fail *f;
};

static int clear_one(const struct element *e, const struct conf_port *p, void *user)
{
	struct adding *a = user;

	return clear(a->ipam, e, p, a->owner, a->f);
}

static int put_one(const struct element *e, const struct conf_port *p, void *user)
{
	put_element(e, ((struct adding *)user)->text, p);
	return 0;
}

static int check_families(const struct conf *c, struct fail *f)
{
	char ip[IP_ADDR_TEXT_SIZE];

	for (size_t n = 0; n < c->port_count; n++)
		if (c->ports[n].host_ip.family && !conf_subnet(c, c->ports[n].host_ip.family))
			return fail_set(f, FAIL_CONFIG, "portMappings: hostIP %s: the pod has no address of that family",
					ip_format(&c->ports[n].host_ip, ip));
	return 0;
}

int ports_add(struct ipam *i, const struct conf *c, const struct ports_owner *owner, const struct ipam_lease *lease, struct fail *f)
{
	struct adding a = { .ipam = i, .owner = owner, .f = f };
	int e = -1;

	owner_text(a.text, owner);
	if (check_families(c, f) == 0 && ensure_common(f) >= 0 && ensure_network(c, f) >= 0 &&
	    each_wanted(c, lease, clear_one, &a) == 0) {
		nft_put_begin(&nl);
		each_wanted(c, lease, put_one, &a);
		nft_put_commit(&nl);
		e = netlink_commit(&nl, f);
	}
	netlink_close(&nl);
	return e;
}

int ports_del(const struct conf_port *ports, size_t count, const struct ip_addr *addr, struct fail *f)
{
	int e = netlink_open(&nl, NETLINK_NETFILTER, f);

	for (size_t n = 0; e == 0 && n < count; n++) {
		struct found had = { 0 };
		struct element wanted;
		int r;

		if (!applies(&ports[n], addr))
			continue;
		element_of(&wanted, &ports[n], addr);
		r = find(&wanted, &had, f);
		if (r < 0 || (r == 0 && same_address(&had.e, &wanted) && del(&wanted, f) < 0))
			e = -1;
	}
	netlink_close(&nl);
	return e;
}

static int check_one(const struct element *e, const struct conf_port *p, void *user)
{
	struct fail *f = user;
	struct found had = { 0 };
	int r = find(e, &had, f);

	if (r < 0)
		return -1;
	if (r > 0 || had.e.data_len != e->data_len || memcmp(had.e.data, e->data, e->data_len) != 0)
		return fail_set(f, FAIL_CHECK, "the host port %u/%s does not lead to the container", p->host_port, proto_name(p->proto));
	return 0;
}

int ports_check(const struct conf *c, const struct ipam_lease *lease, struct fail *f)
{
	int e = netlink_open(&nl, NETLINK_NETFILTER, f);

	if (e == 0)
		e = each_wanted(c, lease, check_one, f);
	netlink_close(&nl);
	return e;
}

/* Collecting. */

struct collecting {
	const char *network;
	bool (*valid)(const char *container_id, const char *ifname, void *user);
	void *user;
	struct element *dead;
	size_t count, cap;
};

static void collect_one(const struct found *one, void *user)
{
	struct collecting *c = user;
	char name[64], container_id[CONF_ID_MAX + 1], ifname[IFNAMSIZ], mine[64];

	snprintf(mine, sizeof(mine), "%.50s", c->network);
	if (sscanf(one->owner, "%63s %180s %15s", name, container_id, ifname) != 3 || strcmp(name, mine) != 0 ||
	    c->valid(container_id, ifname, c->user))
		return;
	MEM_GROW(c->dead, c->cap, c->count + 1);
	c->dead[c->count++] = one->e;
}

int ports_collect(const char *network, bool (*valid)(const char *container_id, const char *ifname, void *user), void *user,
		  struct fail *f)
{
	struct collecting c = { .network = network, .valid = valid, .user = user };
	int e = netlink_open(&nl, NETLINK_NETFILTER, f);

	for (int n = 0; e == 0 && n < 4; n++) {
		struct found s = { .fn = collect_one, .user = &c };
		int r = each_element(NULL, map_name(n < 2 ? AF_INET : AF_INET6, n % 2), &s);

		if (r < 0 && r != -ENOENT)
			e = fail_set(f, FAIL_KERNEL, "list the host ports: %s", strerror(-r));
	}
	for (size_t n = 0; e == 0 && n < c.count; n++)
		e = del(&c.dead[n], f);
	free(c.dead);
	netlink_close(&nl);
	return e;
}
