/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The description of one node on this machine, kept in DIR/cluster.json. */
#include "cli/cluster.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum {
	CLUSTER_FILE_MAX_BYTES = 1 << 20,
	NODE_NAME_MAX = 253,
};

/* By family. The cluster DNS is a service range's tenth address; the API server keeps at most 2^20 addresses of an IPv6
 * one; keelson-controllers hands out 2^16 parts of a pod range at most. */
static const struct limits {
	int family;
	unsigned service_min, service_max, pods_min, node_bits;
} limits[] = { { 4, 8, 28, 8, 24 }, { 6, 108, 124, 48, 64 } };

/* The text members that cluster.json keeps, by name. */
#define TEXT_MEMBERS(X) \
	X(id) X(netns) X(node_name) X(node_ip) X(node_ip2) X(service_cidr) X(cluster_cidr) X(cluster_dns) \
	X(cluster_domain) X(pod_network) X(server) X(runtime_endpoint) X(store) X(etcd_servers) X(etcd_cafile) X(etcd_certfile) \
	X(etcd_keyfile) X(etcd_prefix) X(cgroup2) X(lab)
/* The lists of texts that it keeps. */
#define LIST_MEMBERS(X) X(tls_sans)

void cluster_done(struct cluster *c)
{
	free(c->state);
	free(c->bin_dir);
#define X(m) free(c->m);
	TEXT_MEMBERS(X)
#undef X
#define X(m) strlist_done(&c->m);
	LIST_MEMBERS(X)
#undef X
	strlist_done(&c->images);
	json_decref(c->sysctls);
	*c = (struct cluster){ 0 };
}

char *cluster_path(const struct cluster *c, const char *rest)
{
	return str_printf("%s/%s", c->state, rest);
}

char *cluster_cgroup(const struct cluster *c, const char *rest)
{
	return str_printf("%s/keelson-%s%s%s", c->cgroup2, c->id, rest ? "/" : "", rest ? rest : "");
}

char *cluster_to_node_name(const char *from)
{
	char *name = mem_strdup(from);

	for (char *p = name; *p; p++)
		*p = isalnum((unsigned char)*p) || *p == '.' ? (char)tolower((unsigned char)*p) : '-';
	for (size_t n = strlen(name); n && !isalnum((unsigned char)name[n - 1]); n--)
		name[n - 1] = '\0';
	if (!isalnum((unsigned char)name[0])) {
		free(name);
		return mem_strdup("node");
	}
	return name;
}

void cluster_unescape_mount(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

int cluster_check_state(const char *state, struct err *err)
{
	static const char longest_socket[] = "/containerd/containerd.sock.ttrpc";
	size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path) - sizeof(longest_socket);

	if (strlen(state) > room)
		return err_set(err, ENAMETOOLONG, "the state directory %s is %zu characters long; for the sockets in it, it must not "
			       "have more than %zu", state, strlen(state), room);
	/* An overlay mount separates its directories by colons and its options by commas; the rest would need quoting in
	 * containerd's configuration and the kubeconfigs. */
	for (const char *p = state; *p; p++)
		if (strchr(":,\\\"'", *p) || (unsigned char)*p < ' ' || *p == 127)
			return err_set(err, EINVAL, "the state directory %s has a character that cannot be in the path of a node's "
				       "files: none of : , \\ \" ' or control characters", state);
	return 0;
}

static int find_cgroup2(char **ret, struct err *err)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist lines = { 0 };
	int r = file_read("/proc/self/mounts", 4 << 20, &text);

	if (r < 0)
		return err_set(err, -r, "cannot read /proc/self/mounts: %s", strerror(-r));
	strlist_split(&lines, text.data, '\n');
	for (size_t i = 0; i < lines.count; i++) {
		_cleanup_strlist_ struct strlist f = { 0 };

		strlist_split(&f, lines.items[i], ' ');
		if (f.count >= 3 && str_eq(f.items[2], "cgroup2")) {
			cluster_unescape_mount(f.items[1]);
			*ret = mem_strdup(f.items[1]);
			return 0;
		}
	}
	return err_set(err, ENOENT, "no cgroup2 hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup");
}

static void default_text(char **p, const char *value)
{
	if (!*p)
		*p = mem_strdup(value);
}

int cluster_set_node_ip(struct cluster *c, const char *text)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	struct ip_addr a;

	strlist_split(&parts, text, ',');
	if (parts.count < 1 || parts.count > 2 || (parts.count == 2) != (strchr(text, ',') != NULL))
		return -EINVAL;
	for (size_t i = 0; i < parts.count; i++)
		if (ip_parse(parts.items[i], &a) < 0)
			return -EINVAL;
	free(c->node_ip);
	free(c->node_ip2);
	c->node_ip = mem_strdup(parts.items[0]);
	c->node_ip2 = parts.count == 2 ? mem_strdup(parts.items[1]) : NULL;
	return 0;
}

bool cluster_runs_etcd(const struct cluster *c)
{
	return !c->server && str_eq(c->store, "etcd") && !c->etcd_servers;
}

char *cluster_host_port(const char *address, unsigned port)
{
	bool brackets = strchr(address, ':') != NULL;

	return str_printf("%s%s%s:%u", brackets ? "[" : "", address, brackets ? "]" : "", port);
}

char *cluster_server(const struct cluster *c)
{
	if (c->server)
		return mem_strdup(c->server);
	_cleanup_free_ char *host = cluster_host_port(c->node_ip, 6443);

	return str_printf("https://%s", host);
}

static int check_range(const char *option, const struct ip_prefix *p, unsigned min, unsigned max, struct err *err)
{
	char text[IP_PREFIX_TEXT_SIZE];

	if (p->len >= min && p->len <= max)
		return 0;
	return err_set(err, EINVAL, "%s %s: an IPv%d range there is one of /%u to /%u", option, ip_prefix_format(p, text),
		       p->addr.family == AF_INET ? 4 : 6, min, max);
}

/* One option's ranges. Host bits are refused, as they are most often a slip of the prefix length. */
static int parse_ranges(const char *option, const char *value, struct ip_ranges *ret, unsigned *ret_first, struct err *err)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	char text[IP_PREFIX_TEXT_SIZE];

	if (ip_ranges_parse(value, ret, ret_first) < 0)
		return err_set(err, EINVAL, "%s %s is not an address range, or one of each family with a comma", option, value);
	strlist_split(&parts, value, ',');
	for (size_t i = 0; i < parts.count; i++) {
		struct ip_prefix p, masked;

		if (ip_prefix_parse(parts.items[i], &p) < 0)
			continue; /* not possible: it was parsed above */
		masked = p;
		ip_prefix_mask(&masked);
		if (!ip_addr_eq(&masked.addr, &p.addr))
			return err_set(err, EINVAL, "%s %s has host bits set; the range is %s", option, parts.items[i],
				       ip_prefix_format(&masked, text));
	}
	return 0;
}

/* The ranges are routed as a whole (blackholes, masquerade, the proxy's maps), so they must be ranges, and apart. */
static int check_ranges(const struct cluster *c, struct ip_ranges *service, struct ip_ranges *pods, unsigned *ret_first,
			struct err *err)
{
	unsigned pods_first;
	int r = parse_ranges("--service-cidr", c->service_cidr, service, ret_first, err);

	if (r == 0)
		r = parse_ranges("--cluster-cidr", c->cluster_cidr, pods, &pods_first, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(limits); i++) {
		const struct ip_prefix *s = &service->v[i], *p = &pods->v[i];

		if (!s->addr.family != !p->addr.family || *ret_first != pods_first)
			return err_set(err, EINVAL, "--service-cidr %s and --cluster-cidr %s must name the same address families "
				       "in the same order", c->service_cidr, c->cluster_cidr);
		if (!s->addr.family)
			continue;
		r = check_range("--service-cidr", s, limits[i].service_min, limits[i].service_max, err);
		if (r == 0)
			r = check_range("--cluster-cidr", p, limits[i].pods_min, limits[i].node_bits, err);
		if (r == 0 && (ip_prefix_contains(s, &p->addr) || ip_prefix_contains(p, &s->addr)))
			return err_set(err, EINVAL, "--service-cidr %s and --cluster-cidr %s overlap", c->service_cidr,
				       c->cluster_cidr);
	}
	return r;
}

/* Whether a socket can be bound to it: it is an address of this network namespace. */
static bool is_local(const struct ip_addr *a)
{
	struct sockaddr_in6 sa6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in sa4 = { .sin_family = AF_INET };
	struct ip_addr any = { .family = a->family };
	bool v4 = a->family == AF_INET;

	memcpy(&sa4.sin_addr, a->bytes, sizeof(sa4.sin_addr));
	memcpy(&sa6.sin6_addr, a->bytes, sizeof(sa6.sin6_addr));
	_cleanup_close_ int fd = socket(a->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return !ip_addr_eq(a, &any) && fd >= 0 &&
	       bind(fd, v4 ? (struct sockaddr *)&sa4 : (struct sockaddr *)&sa6, v4 ? sizeof(sa4) : sizeof(sa6)) == 0;
}

bool cluster_is_local(const char *ip)
{
	struct ip_addr a;

	return ip_parse(ip, &a) == 0 && is_local(&a);
}

/* The daemons listen on it and certificates name it. */
static int check_node_ip(const struct cluster *c, const char *ip, unsigned family, const struct ip_ranges *service,
			 const struct ip_ranges *pods, struct err *err)
{
	struct ip_addr a;

	if (ip_parse(ip, &a) < 0 || ip_family_index(a.family) != family)
		return err_set(err, EINVAL, "--node-ip %s is not an IPv%d address, which the ranges %s and %s need there", ip,
			       limits[family].family, c->service_cidr, c->cluster_cidr);
	if (ip_ranges_contain(service, &a) || ip_ranges_contain(pods, &a))
		return err_set(err, EINVAL, "the node's address %s is in a range of the cluster (--service-cidr %s, --cluster-cidr "
			       "%s); choose other ranges", ip, c->service_cidr, c->cluster_cidr);
	if (!is_local(&a))
		return err_set(err, EADDRNOTAVAIL, "--node-ip %s is not an address of this machine%s%s", ip,
			       c->netns ? "'s network namespace " : "", c->netns ? c->netns : "");
	return 0;
}

/* One address of each family that the ranges have, the primary one first. */
static int complete_node_ips(struct cluster *c, const struct ip_ranges *service, const struct ip_ranges *pods, unsigned first,
			     struct err *err)
{
	bool dual = service->v[0].addr.family && service->v[1].addr.family;
	char text[IP_ADDR_TEXT_SIZE];
	struct ip_addr a;
	int r = 0;

	if (c->node_ip2 && !dual)
		return err_set(err, EINVAL, "--node-ip %s,%s: the ranges %s and %s have one address family", c->node_ip,
			       c->node_ip2, c->service_cidr, c->cluster_cidr);
	for (unsigned i = 0; r == 0 && i < (dual ? 2 : 1); i++) {
		char **ip = i == 0 ? &c->node_ip : &c->node_ip2;
		unsigned family = i == 0 ? first : !first;

		if (!*ip) {
			r = net_node_address(family ? AF_INET6 : AF_INET, &a, err);
			if (r < 0)
				return r;
			*ip = mem_strdup(ip_format(&a, text));
		}
		r = check_node_ip(c, *ip, family, service, pods, err);
	}
	return r;
}

static int complete_name(struct cluster *c, struct err *err)
{
	if (!c->node_name) {
		struct utsname u = { 0 };

		uname(&u);
		c->node_name = cluster_to_node_name(c->netns ? c->netns : u.nodename);
	}
	_cleanup_free_ char *as_node_name = cluster_to_node_name(c->node_name);

	if (!str_eq(as_node_name, c->node_name) || strlen(c->node_name) > NODE_NAME_MAX)
		return err_set(err, EINVAL, "--node-name \"%s\" is not a node name: lower-case letters, digits, \"-\" and \".\", at "
			       "most %d characters, beginning and ending with a letter or digit", c->node_name, NODE_NAME_MAX);
	return 0;
}

/* cluster_defaults(), with what the ranges are. */
static int complete_all_but_ips(struct cluster *c, struct ip_ranges *service, struct ip_ranges *pods, unsigned *ret_first,
				struct err *err)
{
	char text[IP_ADDR_TEXT_SIZE];
	int r;

	if (!c->id)
		c->id = mem_strdup(c->netns ? c->netns : "node");
	default_text(&c->service_cidr, "10.96.0.0/12");
	default_text(&c->cluster_cidr, "10.244.0.0/16");
	default_text(&c->cluster_domain, "cluster.local");
	default_text(&c->pod_network, "auto");
	default_text(&c->store, "embedded");
	r = complete_name(c, err);
	if (r < 0 || (!c->cgroup2 && (r = find_cgroup2(&c->cgroup2, err)) < 0) ||
	    (r = check_ranges(c, service, pods, ret_first, err)) < 0)
		return r;
	if (!c->cluster_dns) {
		struct ip_addr a = service->v[*ret_first].addr;

		ip_addr_add(&a, 10);
		c->cluster_dns = mem_strdup(ip_format(&a, text));
	}
	if (!c->sysctls)
		c->sysctls = json_object();
	return 0;
}

int cluster_defaults(struct cluster *c, struct err *err)
{
	struct ip_ranges service, pods;
	unsigned first;

	return complete_all_but_ips(c, &service, &pods, &first, err);
}

int cluster_complete(struct cluster *c, struct err *err)
{
	struct ip_ranges service, pods;
	unsigned first;
	int r = complete_all_but_ips(c, &service, &pods, &first, err);

	return r < 0 ? r : complete_node_ips(c, &service, &pods, first, err);
}

static void load_list(struct strlist *to, const json_t *from)
{
	const json_t *v;
	size_t i;

	json_array_foreach(from, i, v)
		if (json_is_string(v))
			strlist_add(to, json_string_value(v));
}

static json_t *list_json(const struct strlist *l)
{
	json_t *v = json_array();

	for (size_t i = 0; i < l->count; i++)
		json_array_append_new(v, json_string(l->items[i]));
	return v;
}

int cluster_load(const char *state, struct cluster *ret, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/cluster.json", state);
	_cleanup_strbuf_ struct strbuf text = { 0 };
	int r = file_read(path, CLUSTER_FILE_MAX_BYTES, &text);

	if (r < 0)
		return err_set(err, -r, "cannot read %s: %s", path, strerror(-r));
	_cleanup_json_ json_t *v = json_parse(text.data, text.len, NULL, err);

	if (!v)
		return err_wrap(err, "%s", path);
	struct cluster c = { .state = mem_strdup(state) };

#define X(m) c.m = mem_strdup(json_str(v, #m));
	TEXT_MEMBERS(X)
#undef X
#define X(m) load_list(&c.m, json_object_get(v, #m));
	LIST_MEMBERS(X)
#undef X
	default_text(&c.store, "embedded");
	c.lab_nodes = (unsigned)json_int(v, "lab_nodes", 0);
	c.lab_segments = (unsigned)json_int(v, "lab_segments", 0);
	c.node_grace_s = (unsigned)json_int(v, "node_grace_s", 0);
	c.netns_created = json_bool(v, "netns_created", false);
	c.complete = json_bool(v, "complete", false);
	c.encrypts = json_bool(v, "encrypts", false);
	c.lo_address[0] = json_bool(v, "lo_address", false);
	c.lo_address[1] = json_bool(v, "lo_address6", false);
	c.sysctls = json_incref(json_object_get(v, "sysctls"));
	if (!c.id || !c.node_name || !c.node_ip || !c.cgroup2) {
		cluster_done(&c);
		return err_set(err, EINVAL, "%s is not a cluster description", path);
	}
	*ret = c;
	return 0;
}

int cluster_save(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *path = cluster_path(c, "cluster.json");
	_cleanup_json_ json_t *v = json_object();
	_cleanup_strbuf_ struct strbuf text = { 0 };

#define X(m) \
	if (c->m) \
		json_object_set_new(v, #m, json_string(c->m));
	TEXT_MEMBERS(X)
#undef X
#define X(m) \
	if (c->m.count) \
		json_object_set_new(v, #m, list_json(&c->m));
	LIST_MEMBERS(X)
#undef X
	if (c->lab) {
		json_object_set_new(v, "lab_nodes", json_integer(c->lab_nodes));
		json_object_set_new(v, "lab_segments", json_integer(c->lab_segments));
	}
	if (c->node_grace_s)
		json_object_set_new(v, "node_grace_s", json_integer(c->node_grace_s));
	json_object_set_new(v, "netns_created", json_boolean(c->netns_created));
	json_object_set_new(v, "complete", json_boolean(c->complete));
	if (c->encrypts)
		json_object_set_new(v, "encrypts", json_true());
	json_object_set_new(v, "lo_address", json_boolean(c->lo_address[0]));
	json_object_set_new(v, "lo_address6", json_boolean(c->lo_address[1]));
	if (c->sysctls)
		json_object_set(v, "sysctls", c->sysctls);
	json_write_pretty(&text, v);
	strbuf_addc(&text, '\n');
	int r = file_write_atomic(path, text.data, text.len, 0600);

	return r < 0 ? err_set(err, -r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

int cluster_enter_netns(const struct cluster *c, struct err *err)
{
	if (!c->netns)
		return 0;
	_cleanup_free_ char *path = str_printf("/run/netns/%s", c->netns);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, errno, "cannot open the network namespace %s: %s", path, strerror(errno));
	if (setns(fd, CLONE_NEWNET) < 0)
		return err_set(err, errno, "cannot enter the network namespace %s: %s", c->netns, strerror(errno));
	return 0;
}

int cluster_enter_cgroup(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *path = cluster_cgroup(c, "system/cgroup.procs");
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) < 0)
		return err_set(err, errno, "cannot enter the cgroup by %s: %s", path, strerror(errno));
	return 0;
}
