/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing results by hand: they are a dozen fixed fields. */
#include "cni/result.h"

#include <stdlib.h>

#include "cni/pod.h"

static void add_string(struct strbuf *out, const char *s)
{
	strbuf_add_json(out, s, strlen(s));
}

static void add_interface(struct strbuf *out, const char *name, const uint8_t mac[static 6], const char *sandbox)
{
	char text[POD_MAC_TEXT_SIZE];

	strbuf_adds(out, "{\"name\":");
	add_string(out, name);
	strbuf_addf(out, ",\"mac\":\"%s\"", pod_mac_text(mac, text));
	if (sandbox) {
		strbuf_adds(out, ",\"sandbox\":");
		add_string(out, sandbox);
	}
	strbuf_addc(out, '}');
}

static void add_routes(struct strbuf *out, const struct conf *c)
{
	char dst[IP_PREFIX_TEXT_SIZE], gw[IP_ADDR_TEXT_SIZE];
	const char *sep = "";

	strbuf_adds(out, ",\"routes\":[");
	for (size_t i = 0; i < c->route_count; i++) {
		const struct conf_route *r = &c->routes[i];

		strbuf_addf(out, "%s{\"dst\":\"%s\",\"gw\":\"%s\"}", sep, ip_prefix_format(&r->dst, dst), ip_format(&r->gw, gw));
		sep = ",";
	}
	for (size_t i = 0; i < c->subnet_count; i++) {
		const struct conf_subnet *s = &c->subnets[i];
		bool v6 = s->prefix.addr.family == AF_INET6;

		if (!pod_wants_default_route(c, s->prefix.addr.family))
			continue;
		strbuf_addf(out, "%s{\"dst\":\"%s\",\"gw\":\"%s\"}", sep, v6 ? "::/0" : "0.0.0.0/0", ip_format(&s->gateway, gw));
		sep = ",";
	}
	strbuf_addc(out, ']');
}

static void add_ips(struct strbuf *out, const struct conf *c, const struct ipam_lease *lease)
{
	char ip[IP_ADDR_TEXT_SIZE], gw[IP_ADDR_TEXT_SIZE];

	strbuf_adds(out, "],\"ips\":[");
	for (size_t i = 0; i < c->subnet_count; i++) {
		const struct conf_subnet *s = &c->subnets[i];

		strbuf_adds(out, i ? ",{" : "{");
		if (conf_is_old(c))
			strbuf_addf(out, "\"version\":\"%c\",", s->prefix.addr.family == AF_INET6 ? '6' : '4');
		strbuf_addf(out, "\"interface\":2,\"address\":\"%s/%u\"", ip_format(&lease->addrs[i], ip), s->prefix.len);
		if (c->is_gateway)
			strbuf_addf(out, ",\"gateway\":\"%s\"", ip_format(&s->gateway, gw));
		strbuf_addc(out, '}');
	}
	strbuf_addc(out, ']');
}

void result_add(struct strbuf *out, const struct conf *c, const struct conf_env *env, const struct netlink_link *bridge,
		const struct ipam_lease *lease)
{
	uint8_t host_mac[6], pod_mac_[6];
	char *dns = c->dns ? json_dumps(c->dns, JSON_COMPACT) : NULL;

	pod_mac(POD_MAC_HOST, &lease->addrs[0], host_mac);
	pod_mac(POD_MAC_POD, &lease->addrs[0], pod_mac_);
	strbuf_addf(out, "{\"cniVersion\":\"%s\",\"interfaces\":[", c->version);
	add_interface(out, c->bridge, bridge->mac, NULL);
	strbuf_addc(out, ',');
	add_interface(out, lease->veth, host_mac, NULL);
	strbuf_addc(out, ',');
	add_interface(out, env->ifname, pod_mac_, env->netns);
	add_ips(out, c, lease);
	add_routes(out, c);
	strbuf_addf(out, ",\"dns\":%s}\n", dns ? dns : "{}");
	free(dns);
}

void result_loopback(struct strbuf *out, const struct conf *c, const struct conf_env *env)
{
	static const uint8_t mac[6] = { 0 };
	bool with_version = conf_is_old(c);
	char *prev = c->prev_result ? json_dumps(c->prev_result, JSON_COMPACT) : NULL;

	if (prev) {
		strbuf_addf(out, "%s\n", prev);
		free(prev);
		return;
	}
	strbuf_addf(out, "{\"cniVersion\":\"%s\",\"interfaces\":[", c->version);
	add_interface(out, env->ifname, mac, env->netns);
	strbuf_addf(out, "],\"ips\":[{%s\"interface\":0,\"address\":\"127.0.0.1/8\"},{%s\"interface\":0,\"address\":\"::1/128\"}],"
		    "\"dns\":{}}\n", with_version ? "\"version\":\"4\"," : "", with_version ? "\"version\":\"6\"," : "");
}

void result_version(struct strbuf *out, const struct conf *c)
{
	strbuf_addf(out, "{\"cniVersion\":\"%s\",\"supportedVersions\":" CONF_VERSIONS_JSON "}\n", c->version);
}

void result_error(struct strbuf *out, const struct conf *c, const struct fail *f)
{
	strbuf_addf(out, "{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":", c->version ? c->version : CONF_VERSION_LATEST, f->code);
	add_string(out, f->msg);
	strbuf_adds(out, "}\n");
}

bool result_has_address(json_t *prev_result, const char *address)
{
	json_t *ips = json_object_get(prev_result, "ips"), *ip;
	size_t i;

	json_array_foreach(ips, i, ip)
		if (str_eq(json_string_value(json_object_get(ip, "address")), address))
			return true;
	return false;
}
