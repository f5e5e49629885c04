/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links cni io base */
/* Network configurations: whatever comes in is either refused with a message or has the properties that ADD relies on. */
#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cni/conf.h"
#include "cni/result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct conf *c)
{
	BUG_ON(c->subnet_count < 1 || c->subnet_count > 2 || c->port_count > CONF_PORTS_MAX);
	for (size_t i = 0; i < c->subnet_count; i++) {
		const struct conf_subnet *s = &c->subnets[i];
		bool v6 = s->prefix.addr.family == AF_INET6;

		BUG_ON(s->cluster.addr.family != s->prefix.addr.family || (i && s->prefix.addr.family == c->subnets[0].prefix.addr.family));
		BUG_ON(s->prefix.len < (v6 ? CONF_SUBNET6_LEN_MIN : CONF_SUBNET_LEN_MIN));
		BUG_ON(s->prefix.len > (v6 ? CONF_SUBNET6_LEN_MAX : CONF_SUBNET_LEN_MAX));
		BUG_ON(!ip_prefix_contains(&s->prefix, &s->gateway) || ip_addr_eq(&s->gateway, &s->prefix.addr));
	}
	for (size_t i = 0; i < c->port_count; i++)
		BUG_ON(!c->ports[i].host_port || !c->ports[i].port || !c->ports[i].proto);
	for (size_t i = 0; i < c->route_count; i++)
		BUG_ON(c->routes[i].gw.family != c->routes[i].dst.addr.family);
	BUG_ON(strchr(c->name, '/') || !isalnum((unsigned char)c->name[0]) || c->data_dir[0] != '/');
	BUG_ON(!c->bridge[0] || strchr(c->bridge, '/') || strlen(c->bridge) >= IFNAMSIZ);
	BUG_ON(c->mtu > 65535 || (c->mtu && c->mtu < CONF_MTU_MIN) || c->route_count > CONF_ROUTES_MAX);
}

/* What is printed must be JSON, whatever stood in the names. */
static void check_json(struct strbuf *out)
{
	json_t *j = json_loadb(out->data, out->len, 0, NULL);

	BUG_ON(!j);
	json_decref(j);
	strbuf_done(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_env env = { .netns = "/run/netns/x", .ifname = "eth0", .container_id = "c" };
	struct ipam_lease lease = { .addrs = { { AF_INET, { 10, 0, 0, 2 } }, { AF_INET6, { 0xfd } } }, .addr_count = 2, .veth = "kl0" };
	struct netlink_link bridge = { 0 };
	struct strbuf out = { 0 };
	struct fail f = { 0 };
	struct conf c;

	if (conf_parse(&c, (const char *)data, size, &f) == 0 && c.loopback) {
		result_loopback(&out, &c, &env);
		check_json(&out);
	} else if (!f.code) {
		check(&c);
		result_add(&out, &c, &env, &bridge, &lease);
		check_json(&out);
		result_has_address(c.prev_result, "10.0.0.2/24");
	} else {
		BUG_ON(!f.msg[0] || !f.code);
		result_error(&out, &c, &f);
		check_json(&out);
	}
	conf_done(&c);
	if (conf_parse_version(&c, (const char *)data, size, &f) == 0)
		BUG_ON(!c.version);
	conf_done(&c);
	return 0;
}
