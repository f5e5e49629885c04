/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and checking what the runtime asks for. A configuration that is accepted here can be carried out without
 * further questions: names are names, a subnet has room for a gateway and a pod, every route has a gateway in a subnet of its family.
 */
#include "cni/conf.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static const char *const versions[] = { "0.3.1", "0.4.0", "1.0.0", "1.1.0" };

bool conf_is_old(const struct conf *c)
{
	return c->version[0] == '0';
}

const struct conf_subnet *conf_subnet(const struct conf *c, uint8_t family)
{
	for (size_t i = 0; i < c->subnet_count; i++)
		if (c->subnets[i].prefix.addr.family == family)
			return &c->subnets[i];
	return NULL;
}

bool conf_is_valid_attachment(const struct conf *c, const char *container_id, const char *ifname)
{
	json_t *a;
	size_t i;

	json_array_foreach(c->attachments, i, a)
		if (str_eq(json_string_value(json_object_get(a, "containerID")), container_id) &&
		    str_eq(json_string_value(json_object_get(a, "ifname")), ifname))
			return true;
	return false;
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
	static const char *const names[] = { "ADD", "DEL", "CHECK", "VERSION", "STATUS", "GC" };

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
	/* These are about the network, not about a container. */
	if (e.command == CONF_VERSION || e.command == CONF_STATUS || e.command == CONF_GC) {
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
		return fail_set(f, FAIL_VERSION, "cniVersion \"%.40s\" is not supported, only 0.3.1, 0.4.0, 1.0.0 and 1.1.0 are", version);
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
	const struct conf_subnet *subnet;
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
	if (gw && ip_parse(gw, &r->gw) < 0)
		return fail_set(f, FAIL_CONFIG, "ipam.routes: gw \"%.100s\" is not an IP address", gw);
	subnet = conf_subnet(c, r->dst.addr.family);
	if (!subnet)
		return fail_set(f, FAIL_CONFIG, "ipam.routes: there is no subnet of the family of a route's dst");
	if (gw && !ip_prefix_contains(&subnet->prefix, &r->gw))
		return fail_set(f, FAIL_CONFIG, "ipam.routes: gw %s is not in the subnet", gw);
	if (!gw)
		r->gw = subnet->gateway;
	c->route_count++;
	return 0;
}

static int add_subnet(struct conf *c, const char *text, struct fail *f)
{
	struct conf_subnet s = { 0 };
	unsigned min, max;
	bool v6;

	if (ip_prefix_parse(text, &s.prefix) < 0)
		return fail_set(f, FAIL_CONFIG, "ipam.subnet: \"%.100s\" is not a CIDR such as 10.244.0.0/24", text);
	ip_prefix_mask(&s.prefix);
	v6 = s.prefix.addr.family == AF_INET6;
	min = v6 ? CONF_SUBNET6_LEN_MIN : CONF_SUBNET_LEN_MIN;
	max = v6 ? CONF_SUBNET6_LEN_MAX : CONF_SUBNET_LEN_MAX;
	if (s.prefix.len > max)
		return fail_set(f, FAIL_CONFIG, "ipam.subnet: a /%u has no room for a gateway and a pod, a /%u is the smallest",
				s.prefix.len, max);
	if (s.prefix.len < min)
		return fail_set(f, FAIL_CONFIG, "ipam.subnet: a /%u is larger than a node can use, a /%u is the largest",
				s.prefix.len, min);
	if (conf_subnet(c, s.prefix.addr.family))
		return fail_set(f, FAIL_CONFIG, "ipam.subnets: two of one family");
	s.gateway = s.prefix.addr;
	ip_addr_add(&s.gateway, 1);
	c->subnets[c->subnet_count++] = s;
	return 0;
}

/* "subnet" for one, "subnets" for one or two; the order is that of a pod's addresses. */
static int parse_subnets(struct conf *c, json_t *ipam, struct fail *f)
{
	json_t *list = json_object_get(ipam, "subnets"), *item;
	const char *one;
	size_t i;

	if (get_string(ipam, "subnet", NULL, &one, f) < 0)
		return -1;
	if (list && !json_is_array(list))
		return fail_set(f, FAIL_CONFIG, "ipam.subnets must be a list");
	if (one && list)
		return fail_set(f, FAIL_CONFIG, "ipam.subnet and ipam.subnets exclude each other");
	if (one)
		return add_subnet(c, one, f);
	if (json_array_size(list) == 0)
		return fail_set(f, FAIL_CONFIG, "ipam.subnet is missing");
	json_array_foreach(list, i, item)
		if (!json_is_string(item))
			return fail_set(f, FAIL_CONFIG, "ipam.subnets must be a list of CIDRs");
		else if (add_subnet(c, json_string_value(item), f) < 0)
			return -1;
	return 0;
}

static int parse_ipam(struct conf *c, json_t *ipam, struct fail *f)
{
	json_t *routes = json_object_get(ipam, "routes");

	if (parse_subnets(c, ipam, f) < 0)
		return -1;
	if (routes && !json_is_array(routes) && !json_is_null(routes))
		return fail_set(f, FAIL_CONFIG, "ipam.routes must be a list");
	if (json_array_size(routes) > CONF_ROUTES_MAX)
		return fail_set(f, FAIL_CONFIG, "ipam.routes has more than %d routes", CONF_ROUTES_MAX);
	for (size_t i = 0; i < json_array_size(routes); i++)
		if (parse_route(c, json_array_get(routes, i), f) < 0)
			return -1;
	return 0;
}

/* One range, or one of each family with a comma. */
static int parse_ranges(struct conf *c, const char *key, struct ip_ranges *ret, struct fail *f)
{
	const char *s;

	*ret = (struct ip_ranges){ 0 };
	if (get_string(c->json, key, NULL, &s, f) < 0)
		return -1;
	if (s && ip_ranges_parse(s, ret, NULL) < 0)
		return fail_set(f, FAIL_CONFIG, "%s: \"%.100s\" is not a CIDR such as 10.244.0.0/16, nor one of each family", key, s);
	return 0;
}

static int parse_cluster(struct conf *c, struct fail *f)
{
	struct ip_ranges cluster, service;

	if (parse_ranges(c, "clusterCIDR", &cluster, f) < 0 || parse_ranges(c, "serviceCIDR", &service, f) < 0)
		return -1;
	for (size_t i = 0; i < c->subnet_count; i++) {
		const struct ip_prefix *p = &cluster.v[ip_family_index(c->subnets[i].prefix.addr.family)];

		c->subnets[i].cluster = p->addr.family ? *p : c->subnets[i].prefix;
	}
	return 0;
}

/* What the runtime adds for this container, because the configuration has the capability. */

static int get_number(json_t *obj, const char *where, const char *key, uint64_t max, uint64_t *ret, struct fail *f)
{
	json_t *v = json_object_get(obj, key);

	if (v && (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max))
		return fail_set(f, FAIL_CONFIG, "%s.%s must be a number up to %llu", where, key, (unsigned long long)max);
	*ret = v ? (uint64_t)json_integer_value(v) : 0;
	return 0;
}

static int port_proto(const char *s, uint8_t *ret)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} protos[] = { { "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "sctp", IPPROTO_SCTP } };

	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		if (strcasecmp(s, protos[i].name) == 0) {
			*ret = protos[i].proto;
			return 0;
		}
	}
	return -1;
}

/* containerd 1.6 writes the names of Go's fields (HostPort, IngressRate), which Go's decoder takes as the specification's: each
 * gets that name too, unless it is there. */
static void fold_names(json_t *o)
{
	const char *key;
	json_t *value;
	void *next;

	json_object_foreach_safe(o, next, key, value) {
		char name[32];
		size_t len = strlen(key);

		if (*key < 'A' || *key > 'Z' || len >= sizeof(name))
			continue;
		memcpy(name, key, len + 1);
		name[0] = (char)(name[0] - 'A' + 'a');
		if (!json_object_get(o, name))
			json_object_set(o, name, value);
	}
}

static int parse_port(struct conf *c, json_t *item, struct fail *f)
{
	struct conf_port p = { 0 };
	const char *proto, *ip;
	uint64_t host = 0, port = 0;

	if (!json_is_object(item))
		return fail_set(f, FAIL_CONFIG, "portMappings must be a list of objects");
	fold_names(item);
	if (get_number(item, "portMappings", "hostPort", 65535, &host, f) < 0 ||
	    get_number(item, "portMappings", "containerPort", 65535, &port, f) < 0 ||
	    get_string(item, "protocol", "tcp", &proto, f) < 0 || get_string(item, "hostIP", "", &ip, f) < 0)
		return -1;
	if (host == 0)
		return 0; /* containerd passes ports that are only exposed */
	if (port == 0)
		return fail_set(f, FAIL_CONFIG, "portMappings: hostPort %u has no containerPort", (unsigned)host);
	if (port_proto(proto, &p.proto) < 0)
		return fail_set(f, FAIL_CONFIG, "portMappings: protocol \"%.20s\" is not tcp, udp or sctp", proto);
	if (*ip && ip_parse(ip, &p.host_ip) < 0)
		return fail_set(f, FAIL_CONFIG, "portMappings: hostIP \"%.100s\" is not an IP address", ip);
	/* 0.0.0.0 and :: are every address, whatever the family: as Kubernetes has it. */
	if (memcmp(p.host_ip.bytes, (uint8_t[16]){ 0 }, 16) == 0)
		p.host_ip.family = 0;
	p.host_port = (uint16_t)host;
	p.port = (uint16_t)port;
	c->ports[c->port_count++] = p;
	return 0;
}

static int parse_bandwidth(struct conf *c, json_t *b, struct fail *f)
{
	struct conf_bandwidth *w = &c->bandwidth;

	fold_names(b);
	if (get_number(b, "bandwidth", "ingressRate", INT64_MAX, &w->ingress_rate, f) < 0 ||
	    get_number(b, "bandwidth", "ingressBurst", INT64_MAX, &w->ingress_burst, f) < 0 ||
	    get_number(b, "bandwidth", "egressRate", INT64_MAX, &w->egress_rate, f) < 0 ||
	    get_number(b, "bandwidth", "egressBurst", INT64_MAX, &w->egress_burst, f) < 0)
		return -1;
	if ((w->ingress_rate && w->ingress_rate < 8000) || (w->egress_rate && w->egress_rate < 8000))
		return fail_set(f, FAIL_CONFIG, "bandwidth: a rate below 8000 bits a second carries nothing");
	return 0;
}

static int parse_runtime(struct conf *c, struct fail *f)
{
	json_t *runtime, *bandwidth, *ports, *item;
	size_t i;

	if (get_object(c->json, "runtimeConfig", &runtime, f) < 0 || get_object(runtime, "bandwidth", &bandwidth, f) < 0 ||
	    parse_bandwidth(c, bandwidth, f) < 0)
		return -1;
	ports = json_object_get(runtime, "portMappings");
	if (ports && !json_is_array(ports) && !json_is_null(ports))
		return fail_set(f, FAIL_CONFIG, "portMappings must be a list");
	if (json_array_size(ports) > CONF_PORTS_MAX)
		return fail_set(f, FAIL_CONFIG, "portMappings has more than %d entries", CONF_PORTS_MAX);
	json_array_foreach(ports, i, item)
		if (parse_port(c, item, f) < 0)
			return -1;
	return 0;
}

static int parse_attachments(struct conf *c, struct fail *f)
{
	json_t *list = json_object_get(c->json, "cni.dev/valid-attachments"), *item;
	size_t i;

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list) || json_array_size(list) > CONF_ATTACHMENTS_MAX)
		return fail_set(f, FAIL_CONFIG, "cni.dev/valid-attachments must be a list of at most %d", CONF_ATTACHMENTS_MAX);
	/* One that is not understood must not look like none: its container would lose its network. */
	json_array_foreach(list, i, item)
		if (!json_is_string(json_object_get(item, "containerID")) || !json_is_string(json_object_get(item, "ifname")))
			return fail_set(f, FAIL_CONFIG, "cni.dev/valid-attachments must be a list of objects with containerID and ifname");
	c->attachments = list;
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

static int parse_mtu(struct conf *c, struct fail *f)
{
	json_t *mtu = json_object_get(c->json, "mtu");
	int min = conf_subnet(c, AF_INET6) ? CONF_MTU_MIN_V6 : CONF_MTU_MIN;

	if (mtu && (!json_is_integer(mtu) || json_integer_value(mtu) < 0 || json_integer_value(mtu) > 65535 ||
		    (json_integer_value(mtu) > 0 && json_integer_value(mtu) < min)))
		return fail_set(f, FAIL_CONFIG, "mtu must be 0 (automatic) or a number from %d to 65535", min);
	c->mtu = mtu ? (unsigned)json_integer_value(mtu) : 0;
	return 0;
}

int conf_parse(struct conf *c, const char *text, size_t len, struct fail *f)
{
	json_t *ipam;
	const char *type;

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
	if (!ipam && parse_mtu(c, f) == 0)
		return fail_set(f, FAIL_CONFIG, "ipam is missing");
	if (!ipam || parse_ipam(c, ipam, f) < 0 || parse_mtu(c, f) < 0 || parse_cluster(c, f) < 0 || parse_runtime(c, f) < 0 ||
	    parse_attachments(c, f) < 0)
		return -1;
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
