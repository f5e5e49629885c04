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
	SERVICE_CIDR_MIN_BITS = 8,
	SERVICE_CIDR_MAX_BITS = 28, /* the cluster DNS is the tenth address */
	NODE_CIDR_BITS = 24,
	CLUSTER_CIDR_MIN_BITS = 8, /* keelson-controllers hands out 2^16 parts at most */
};

/* The text members that cluster.json keeps, by name. */
#define TEXT_MEMBERS(X) \
	X(id) X(netns) X(node_name) X(node_ip) X(service_cidr) X(cluster_cidr) X(cluster_dns) X(cluster_domain) \
	X(runtime_endpoint) X(cgroup2)

void cluster_done(struct cluster *c)
{
	free(c->state);
	free(c->bin_dir);
#define X(m) free(c->m);
	TEXT_MEMBERS(X)
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

/* A name as a node name: lower case, and only what RFC 1123 subdomains allow. */
static char *to_node_name(const char *from)
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

/* The ranges are routed as a whole (blackholes, masquerade, the proxy's maps), so they must be ranges, and apart. */
static int check_ranges(const struct cluster *c, struct ip_prefix *ret_service, struct err *err)
{
	struct ip_prefix service, pods, masked;
	char text[IP_PREFIX_TEXT_SIZE];

	if (ip_prefix_parse(c->service_cidr, &service) < 0 || service.len < SERVICE_CIDR_MIN_BITS ||
	    service.len > SERVICE_CIDR_MAX_BITS)
		return err_set(err, EINVAL, "--service-cidr %s is not an IPv4 range of /%d to /%d", c->service_cidr,
			       SERVICE_CIDR_MIN_BITS, SERVICE_CIDR_MAX_BITS);
	if (ip_prefix_parse(c->cluster_cidr, &pods) < 0 || pods.len < CLUSTER_CIDR_MIN_BITS || pods.len > NODE_CIDR_BITS)
		return err_set(err, EINVAL, "--cluster-cidr %s is not an IPv4 range of /%d to /%d: each node gets a /%d of it",
			       c->cluster_cidr, CLUSTER_CIDR_MIN_BITS, NODE_CIDR_BITS, NODE_CIDR_BITS);
	for (int i = 0; i < 2; i++) {
		masked = i == 0 ? service : pods;
		ip_prefix_mask(&masked);
		if (!ip_addr_eq(&masked.addr, i == 0 ? &service.addr : &pods.addr))
			return err_set(err, EINVAL, "%s %s has host bits set; the range is %s",
				       i == 0 ? "--service-cidr" : "--cluster-cidr", i == 0 ? c->service_cidr : c->cluster_cidr,
				       ip_prefix_format(&masked, text));
	}
	if (ip_prefix_contains(&service, &pods.addr) || ip_prefix_contains(&pods, &service.addr))
		return err_set(err, EINVAL, "--service-cidr %s and --cluster-cidr %s overlap", c->service_cidr, c->cluster_cidr);
	*ret_service = service;
	return 0;
}

/* The daemons listen on it and certificates name it. */
static int check_node_ip(const struct cluster *c, const struct ip_prefix *service, struct err *err)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	struct ip_prefix pods;
	struct ip_addr a;

	if (inet_pton(AF_INET, c->node_ip, &sa.sin_addr) != 1 || ip_parse(c->node_ip, &a) < 0)
		return err_set(err, EINVAL, "--node-ip %s is not an IPv4 address", c->node_ip);
	if (ip_prefix_contains(service, &a) || (ip_prefix_parse(c->cluster_cidr, &pods) == 0 && ip_prefix_contains(&pods, &a)))
		return err_set(err, EINVAL, "the node's address %s is in a range of the cluster (--service-cidr %s, --cluster-cidr "
			       "%s); choose other ranges", c->node_ip, c->service_cidr, c->cluster_cidr);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (sa.sin_addr.s_addr == htonl(INADDR_ANY) || fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_set(err, EADDRNOTAVAIL, "--node-ip %s is not an address of this machine%s%s", c->node_ip,
			       c->netns ? "'s network namespace " : "", c->netns ? c->netns : "");
	return 0;
}

int cluster_complete(struct cluster *c, struct err *err)
{
	struct ip_prefix service;
	struct ip_addr a;
	char text[IP_ADDR_TEXT_SIZE];
	int r;

	if (!c->id)
		c->id = mem_strdup(c->netns ? c->netns : "node");
	if (!c->node_name) {
		struct utsname u = { 0 };

		uname(&u);
		c->node_name = to_node_name(c->netns ? c->netns : u.nodename);
	}
	_cleanup_free_ char *as_node_name = to_node_name(c->node_name);

	if (!str_eq(as_node_name, c->node_name) || strlen(c->node_name) > NODE_NAME_MAX)
		return err_set(err, EINVAL, "--node-name \"%s\" is not a node name: lower-case letters, digits, \"-\" and \".\", at "
			       "most %d characters, beginning and ending with a letter or digit", c->node_name, NODE_NAME_MAX);
	default_text(&c->service_cidr, "10.96.0.0/12");
	default_text(&c->cluster_cidr, "10.244.0.0/16");
	default_text(&c->cluster_domain, "cluster.local");
	if (!c->cgroup2 && (r = find_cgroup2(&c->cgroup2, err)) < 0)
		return r;
	r = check_ranges(c, &service, err);
	if (r < 0)
		return r;
	if (!c->cluster_dns) {
		a = service.addr;
		ip_addr_add(&a, 10);
		c->cluster_dns = mem_strdup(ip_format(&a, text));
	}
	if (!c->node_ip) {
		r = net_node_address(AF_INET, &a, err);
		if (r < 0)
			return r;
		c->node_ip = mem_strdup(ip_format(&a, text));
	}
	if (!c->sysctls)
		c->sysctls = json_object();
	return check_node_ip(c, &service, err);
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
	c.netns_created = json_bool(v, "netns_created", false);
	c.complete = json_bool(v, "complete", false);
	c.lo_address = json_bool(v, "lo_address", false);
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
	json_object_set_new(v, "netns_created", json_boolean(c->netns_created));
	json_object_set_new(v, "complete", json_boolean(c->complete));
	json_object_set_new(v, "lo_address", json_boolean(c->lo_address));
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
