/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and checking what the runtime asks for. A configuration that is accepted here can be carried out without
 * further questions: names are names, the subnet has room for a gateway and a pod, every address is IPv4.
 */
#include "cni/conf.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static const char *const versions[] = { "0.3.1", "0.4.0", "1.0.0" };

uint32_t conf_ip4(const struct ip_addr *a)
{
	return (uint32_t)a->bytes[0] << 24 | (uint32_t)a->bytes[1] << 16 | (uint32_t)a->bytes[2] << 8 | a->bytes[3];
}

struct ip_addr conf_ip4_addr(uint32_t n)
{
	return (struct ip_addr){
		.family = AF_INET,
		.bytes = { (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n },
	};
}

uint32_t conf_prefix_size(const struct ip_prefix *p)
{
	return (uint32_t)1 << (32 - p->len);
}

/* What the specification allows in network names and container ids: no path, no shell, no surprise. */
static bool identifier_ok(const char *s)
{
	if (!isalnum((unsigned char)*s))
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("_.-", *s))
			return false;
	return true;
}

/* The kernel's rule for interface names (dev_valid_name), told in words: NULL when it is good. */
static const char *ifname_wrong(const char *s)
{
	if (strlen(s) >= IFNAMSIZ)
		return "is longer than 15 characters";
	if (strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
		return "is not a name";
	for (; *s; s++)
		if (*s == '/' || *s == ':' || isspace((unsigned char)*s) || !isprint((unsigned char)*s))
			return "contains '/', ':', a blank or a control character";
	return NULL;
}

static int env_command(struct conf_env *e, const char *command, struct fail *f)
{
	static const char *const names[] = { "ADD", "DEL", "CHECK", "VERSION" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(command, names[i]) == 0) {
			e->command = (enum conf_command)i;
			return 0;
		}
	}
	return fail_set(f, FAIL_ENV, "unknown CNI_COMMAND: %.100s", command);
}

int conf_env_read(struct conf_env *ret, char *(*get)(const char *name), struct fail *f)
{
	static const char *const names[] = { "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME" };
	struct conf_env e = { 0 };
	const char **values[] = { &e.container_id, &e.netns, &e.ifname }, *command = get("CNI_COMMAND"), *wrong;
	char missing[128] = "";

	if (str_empty(command))
		return fail_set(f, FAIL_ENV, "required env variables [CNI_COMMAND] missing");
	if (env_command(&e, command, f) < 0)
		return -1;
	if (e.command == CONF_VERSION) {
		*ret = e;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		bool needed = i != 1 || e.command != CONF_DEL;
		size_t n = strlen(missing);

		*values[i] = get(names[i]);
		if (!*values[i])
			*values[i] = "";
		if (needed && !**values[i])
			snprintf(missing + n, sizeof(missing) - n, "%s%s", n ? "," : "", names[i]);
	}
	if (*missing)
		return fail_set(f, FAIL_ENV, "required env variables [%s] missing", missing);
	if (!identifier_ok(e.container_id))
		return fail_set(f, FAIL_ENV, "invalid characters in CNI_CONTAINERID: %.200s", e.container_id);
	if (strlen(e.container_id) > CONF_ID_MAX)
		return fail_set(f, FAIL_ENV, "CNI_CONTAINERID is longer than %d characters", CONF_ID_MAX);
	wrong = ifname_wrong(e.ifname);
	if (wrong)
		return fail_set(f, FAIL_ENV, "CNI_IFNAME \"%.100s\" %s", e.ifname, wrong);
	*ret = e;
	return 0;
}

static int get_string(json_t *obj, const char *key, const char *otherwise, const char **ret, struct fail *f)
{
	json_t *v = json_object_get(obj, key);

	if (v && !json_is_string(v))
		return fail_set(f, FAIL_CONFIG, "%s must be a string", key);
	*ret = v ? json_string_value(v) : otherwise;
	return 0;
}

static int get_bool(json_t *obj, const char *key, bool otherwise, bool *ret, struct fail *f)
{
	json_t *v = json_object_get(obj, key);

	if (v && !json_is_boolean(v))
		return fail_set(f, FAIL_CONFIG, "%s must be true or false", key);
	*ret = v ? json_is_true(v) : otherwise;
	return 0;
}

static int get_object(json_t *obj, const char *key, json_t **ret, struct fail *f)
{
	json_t *v = json_object_get(obj, key);

	if (v && !json_is_object(v) && !json_is_null(v))
		return fail_set(f, FAIL_CONFIG, "%s must be an object", key);
	*ret = v && json_is_object(v) ? v : NULL;
	return 0;
}

static int get_prefix(json_t *obj, const char *where, const char *key, struct ip_prefix *ret, bool *ret_there,
		      struct fail *f)
{
	const char *s;

	if (get_string(obj, key, NULL, &s, f) < 0)
		return -1;
	*ret_there = s != NULL;
	if (!s)
		return 0;
	if (ip_prefix_parse(s, ret) < 0)
		return fail_set(f, FAIL_CONFIG, "%s%s: \"%.100s\" is not a CIDR such as 10.244.0.0/24", where, key, s);
	if (ret->addr.family != AF_INET)
		return fail_set(f, FAIL_CONFIG, "%s%s: \"%.100s\" is not IPv4, the only family there is so far", where, key, s);
	ip_prefix_mask(ret);
	return 0;
}

static int parse_json(struct conf *c, const char *text, size_t len, struct fail *f)
{
	json_error_t e;
	const char *version;

	c->json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
	if (!c->json)
		return fail_set(f, FAIL_DECODE, "network configuration is not JSON: line %d, column %d: %s", e.line, e.column,
				e.text);
	if (!json_is_object(c->json))
		return fail_set(f, FAIL_DECODE, "network configuration is not a JSON object");
	if (get_string(c->json, "cniVersion", "", &version, f) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		if (strcmp(version, versions[i]) == 0)
			c->version = versions[i];
	if (!c->version)
		return fail_set(f, FAIL_VERSION, "cniVersion \"%.40s\" is not supported, only 0.3.1, 0.4.0 and 1.0.0 are", version);
	return 0;
}

/* Fields of the bridge plugin that would change what a pod gets: better refused than silently not done. */
static int check_unsupported(struct conf *c, json_t *ipam, struct fail *f)
{
	static const char *const top[] = { "vlan", "vlanTrunk", "promiscMode", "macspoofchk", "forceAddress", "enabledad" };
	static const char *const in_ipam[] = { "ranges", "addresses", "rangeStart", "rangeEnd", "gateway", "type" };

	for (size_t i = 0; i < ARRAY_SIZE(top) + ARRAY_SIZE(in_ipam); i++) {
		bool inner = i >= ARRAY_SIZE(top);
		const char *key = inner ? in_ipam[i - ARRAY_SIZE(top)] : top[i];
		json_t *v = json_object_get(inner ? ipam : c->json, key);
		char *text;

		/* Their zero values say what is done anyway. */
		if (!v || json_is_null(v) || json_is_false(v) || (json_is_integer(v) && json_integer_value(v) == 0) ||
		    (json_is_string(v) && !*json_string_value(v)))
			continue;
		text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
		fail_record(f, FAIL_UNSUPPORTED, "unsupported field in network configuration: %s%s: %.200s", inner ? "ipam." : "",
			 key, text ? text : "?");
		free(text);
		return -1;
	}
	return 0;
}

static int parse_route(struct conf *c, json_t *item, struct fail *f)
{
	struct conf_route *r = &c->routes[c->route_count];
	const char *gw;
	bool there;

	if (!json_is_object(item))
		return fail_set(f, FAIL_CONFIG, "ipam.routes must be a list of objects with dst");
	if (get_prefix(item, "ipam.routes: ", "dst", &r->dst, &there, f) < 0)
		return -1;
	if (!there)
		return fail_set(f, FAIL_CONFIG, "ipam.routes: a route has no dst");
	if (get_string(item, "gw", NULL, &gw, f) < 0)
		return -1;
	if (gw && (ip_parse(gw, &r->gw) < 0 || r->gw.family != AF_INET))
		return fail_set(f, FAIL_CONFIG, "ipam.routes: gw \"%.100s\" is not an IPv4 address", gw);
	if (gw && !ip_prefix_contains(&c->subnet, &r->gw))
		return fail_set(f, FAIL_CONFIG, "ipam.routes: gw %s is not in the subnet", gw);
	c->route_count++;
	return 0;
}

static int parse_ipam(struct conf *c, json_t *ipam, struct fail *f)
{
	json_t *routes = json_object_get(ipam, "routes");
	bool there;

	if (get_prefix(ipam, "ipam.", "subnet", &c->subnet, &there, f) < 0)
		return -1;
	if (!there)
		return fail_set(f, FAIL_CONFIG, "ipam.subnet is missing");
	if (c->subnet.len > CONF_SUBNET_LEN_MAX)
		return fail_set(f, FAIL_CONFIG, "ipam.subnet: a /%u has no room for a gateway and a pod, a /%d is the smallest",
				c->subnet.len, CONF_SUBNET_LEN_MAX);
	if (c->subnet.len < CONF_SUBNET_LEN_MIN)
		return fail_set(f, FAIL_CONFIG, "ipam.subnet: a /%u is larger than a node can use, a /%d is the largest",
				c->subnet.len, CONF_SUBNET_LEN_MIN);
	c->gateway = conf_ip4_addr(conf_ip4(&c->subnet.addr) + 1);
	if (routes && !json_is_array(routes) && !json_is_null(routes))
		return fail_set(f, FAIL_CONFIG, "ipam.routes must be a list");
	if (json_array_size(routes) > CONF_ROUTES_MAX)
		return fail_set(f, FAIL_CONFIG, "ipam.routes has more than %d routes", CONF_ROUTES_MAX);
	for (size_t i = 0; i < json_array_size(routes); i++)
		if (parse_route(c, json_array_get(routes, i), f) < 0)
			return -1;
	return 0;
}

static int parse_names(struct conf *c, struct fail *f)
{
	const char *bridge, *wrong;

	if (get_string(c->json, "name", NULL, &c->name, f) < 0 || get_string(c->json, "bridge", "kl0", &bridge, f) < 0 ||
	    get_string(c->json, "dataDir", "/var/lib/keelson/cni/state", &c->data_dir, f) < 0)
		return -1;
	if (!c->name)
		return fail_set(f, FAIL_CONFIG, "name is missing");
	if (!identifier_ok(c->name) || strlen(c->name) > CONF_ID_MAX)
		return fail_set(f, FAIL_CONFIG, "name \"%.100s\" is not a network name: letters, digits, '_', '.', '-' only, "
				"the first a letter or digit, at most %d", c->name, CONF_ID_MAX);
	wrong = *bridge ? ifname_wrong(bridge) : "is empty";
	if (wrong)
		return fail_set(f, FAIL_CONFIG, "bridge \"%.100s\" %s", bridge, wrong);
	if (c->data_dir[0] != '/')
		return fail_set(f, FAIL_CONFIG, "dataDir \"%.200s\" is not an absolute path", c->data_dir);
	snprintf(c->bridge, sizeof(c->bridge), "%s", bridge);
	return 0;
}

int conf_parse(struct conf *c, const char *text, size_t len, struct fail *f)
{
	struct ip_prefix service;
	json_t *ipam, *mtu;
	const char *type;
	bool has_cluster, has_service;

	*c = (struct conf){ 0 };
	if (parse_json(c, text, len, f) < 0 || get_string(c->json, "type", "", &type, f) < 0 ||
	    get_object(c->json, "prevResult", &c->prev_result, f) < 0)
		return -1;
	c->loopback = strcmp(type, "loopback") == 0;
	if (c->loopback)
		return 0;
	if (parse_names(c, f) < 0 || get_bool(c->json, "isGateway", true, &c->is_gateway, f) < 0 ||
	    get_bool(c->json, "hairpinMode", true, &c->hairpin, f) < 0 ||
	    get_bool(c->json, "ipMasq", true, &c->ip_masq, f) < 0 || get_object(c->json, "ipam", &ipam, f) < 0 ||
	    get_object(c->json, "dns", &c->dns, f) < 0 || check_unsupported(c, ipam, f) < 0)
		return -1;
	mtu = json_object_get(c->json, "mtu");
	if (mtu && (!json_is_integer(mtu) || json_integer_value(mtu) < 0 || json_integer_value(mtu) > 65535 ||
		    (json_integer_value(mtu) > 0 && json_integer_value(mtu) < CONF_MTU_MIN)))
		return fail_set(f, FAIL_CONFIG, "mtu must be 0 (automatic) or a number from %d to 65535", CONF_MTU_MIN);
	c->mtu = mtu ? (unsigned)json_integer_value(mtu) : 0;
	if (!ipam)
		return fail_set(f, FAIL_CONFIG, "ipam is missing");
	if (parse_ipam(c, ipam, f) < 0 || get_prefix(c->json, "", "clusterCIDR", &c->cluster, &has_cluster, f) < 0 ||
	    get_prefix(c->json, "", "serviceCIDR", &service, &has_service, f) < 0)
		return -1;
	if (!has_cluster)
		c->cluster = c->subnet;
	return 0;
}

int conf_parse_version(struct conf *c, const char *text, size_t len, struct fail *f)
{
	*c = (struct conf){ 0 };
	if (len == 0) {
		c->version = CONF_VERSION_LATEST;
		return 0;
	}
	if (parse_json(c, text, len, f) < 0) {
		/* A runtime asks for VERSION because it does not know yet: any version of its own is a fair question. */
		if (f->code != FAIL_VERSION)
			return -1;
		c->version = CONF_VERSION_LATEST;
	}
	return 0;
}

void conf_done(struct conf *c)
{
	json_decref(c->json);
	*c = (struct conf){ 0 };
}
