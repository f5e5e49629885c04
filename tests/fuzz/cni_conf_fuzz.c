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
	BUG_ON(c->subnet.addr.family != AF_INET || c->cluster.addr.family != AF_INET);
	BUG_ON(c->subnet.len < CONF_SUBNET_LEN_MIN || c->subnet.len > CONF_SUBNET_LEN_MAX);
	BUG_ON(!ip_prefix_contains(&c->subnet, &c->gateway) || ip_addr_eq(&c->gateway, &c->subnet.addr));
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
	struct ipam_lease lease = { .addr = { .family = AF_INET, .bytes = { 10, 0, 0, 2 } }, .veth = "kl0" };
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
