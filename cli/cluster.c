/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The description of one node on this machine, kept in DIR/cluster.json. */
#include "cli/cluster.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { CLUSTER_FILE_MAX_BYTES = 1 << 20, NODE_NAME_MAX = 253 };

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
	if (ip_prefix_parse(c->service_cidr, &service) < 0 || service.len > 28)
		return err_set(err, EINVAL, "--service-cidr %s is not a prefix of /28 or shorter", c->service_cidr);
	ip_prefix_mask(&service);
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
	return 0;
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
