/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keelson-cni: the CNI plugin (specification 1.1.0). ADD connects a pod's network namespace to the node's bridge, DEL undoes
 * it, CHECK compares, GC removes what no container needs, STATUS and VERSION tell. One process a call, started by the container runtime, that makes its changes by
 * netlink and starts no other program (DEL leaves a child that waits for the kernel). Whatever step fails, what earlier steps made for this pod is taken back.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cni/conf.h"
#include "cni/ipam.h"
#include "cni/loopback.h"
#include "cni/masq.h"
#include "cni/pod.h"
#include "cni/ports.h"
#include "cni/result.h"
#include "cni/shape.h"

enum { CONFIG_MAX_BYTES = 1 << 20 };

/* One call: everything that must be closed or undone at its end. */
struct call {
	struct conf_env env;
	struct conf conf;
	struct ipam ipam;
	struct netlink host, pod;
	int netns_fd, node_fd; /* the pod's network namespace and the node's */
	struct fail fail;
};

static int read_config(struct strbuf *in, struct fail *f)
{
	for (;;) {
		ssize_t n;

		strbuf_reserve(in, 4096);
		n = read(STDIN_FILENO, in->data + in->len, in->cap - in->len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_set(f, FAIL_IO, "read the network configuration: %s", strerror(errno));
		if (n == 0)
			return 0;
		in->len += (size_t)n;
		if (in->len > CONFIG_MAX_BYTES)
			return fail_set(f, FAIL_DECODE, "network configuration is larger than %d bytes", CONFIG_MAX_BYTES);
	}
}

static bool host_has_link(const char *name, void *user)
{
	struct call *call = user;
	struct netlink_link l;

	/* In doubt it is there: an address that may be in use is not given away. */
	return netlink_link_get(&call->host, name, 0, &l) != -ENODEV;
}

static int print(const struct strbuf *out)
{
	size_t done = 0;

	while (done < out->len) {
		ssize_t n = write(STDOUT_FILENO, out->data + done, out->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

/* nf_tables and /proc/sys act on the namespace that the thread is in. */
static int into_node(struct call *call, struct fail *f)
{
	return call->node_fd >= 0 ? pod_netns_enter(call->node_fd, "of the node", f) : 0;
}

static int into_pod(struct call *call, struct fail *f)
{
	return call->node_fd >= 0 ? pod_netns_enter(call->netns_fd, call->env.netns, f) : 0;
}

/* The host ports of a pod whose address is given to somebody else: they must not lead there. */
static void drop_ports(struct ipam *i, const struct ipam_entry *e, void *user)
{
	_cleanup_free_ struct conf_port *ports = mem_new_n(struct conf_port, CONF_PORTS_MAX);
	struct fail ignored;

	if (into_node(user, &ignored) == 0)
		ports_del(ports, ipam_ports_read(i, e, ports), &e->addr, &ignored);
	into_pod(user, &ignored);
}

/* Those that are noted with the container's lease. */
static int del_ports(struct call *call, const struct ipam_lease *lease, struct fail *f)
{
	_cleanup_free_ struct conf_port *ports = mem_new_n(struct conf_port, CONF_PORTS_MAX);
	size_t count = ipam_ports_find(&call->ipam, lease, call->env.container_id, call->env.ifname, ports);

	for (size_t n = 0; n < lease->addr_count; n++)
		if (ports_del(ports, count, &lease->addrs[n], f) < 0)
			return -1;
	return 0;
}

/* What can be refused without having changed anything: comes first. Afterwards the thread is in the pod's namespace, where
 * call->pod acts; call->host acts on the node's. */
static int add_prepare(struct call *call, struct netlink_link *ret_bridge)
{
	struct conf *c = &call->conf;
	struct fail *f = &call->fail;
	struct netlink_link l;

	if (pod_netns_open(call->env.netns, &call->netns_fd, f) < 0 || netlink_open(&call->host, NETLINK_ROUTE, f) < 0 ||
	    ipam_open(&call->ipam, c->data_dir, c->name, f) < 0 || pod_bridge_ensure(&call->host, c, ret_bridge, f) < 0 ||
	    pod_forwarding_ensure(c, f) < 0 || (c->ip_masq && masq_ensure(c, f) < 0))
		return -1;
	call->node_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (call->node_fd < 0)
		return fail_set(f, FAIL_KERNEL, "open the node's network namespace: %s", strerror(errno));
	if (pod_netns_enter(call->netns_fd, call->env.netns, f) < 0 || netlink_open(&call->pod, NETLINK_ROUTE, f) < 0)
		return -1;
	if (netlink_link_get(&call->pod, call->env.ifname, 0, &l) != -ENODEV)
		return fail_set(f, FAIL_ENV, "the container already has an interface named %s", call->env.ifname);
	return 0;
}

static struct ports_owner owner(const struct call *call)
{
	return (struct ports_owner){ call->conf.name, call->env.container_id, call->env.ifname };
}

/* Costs nothing without host ports. */
static int add_ports(struct call *call, const struct ipam_lease *lease)
{
	const struct conf *c = &call->conf;
	struct fail *f = &call->fail;
	struct ports_owner o = owner(call);

	if (!c->port_count && !lease->has_ports)
		return 0;
	if (into_node(call, f) < 0 || (lease->has_ports && del_ports(call, lease, f) < 0) ||
	    ipam_ports_write(&call->ipam, lease, call->env.container_id, call->env.ifname, c->ports, c->port_count, f) < 0)
		return -1;
	if (c->port_count && (pod_localnet_ensure(c, f) < 0 || ports_add(&call->ipam, c, &o, lease, f) < 0))
		return -1;
	return into_pod(call, f);
}

static int add_shape(struct call *call, const struct ipam_lease *lease, unsigned mtu)
{
	const struct conf_bandwidth *b = &call->conf.bandwidth;
	struct fail *f = &call->fail;
	struct netlink_link l;

	if (b->ingress_rate) {
		if (netlink_link_get(&call->host, lease->veth, 0, &l) < 0)
			return fail_set(f, FAIL_KERNEL, "look up %s", lease->veth);
		shape_put(&call->host, l.index, lease->veth, b->ingress_rate, b->ingress_burst, mtu);
		if (netlink_commit(&call->host, f) < 0)
			return -1;
	}
	if (b->egress_rate) {
		if (netlink_link_get(&call->pod, call->env.ifname, 0, &l) < 0)
			return fail_set(f, FAIL_KERNEL, "look up %s in the pod", call->env.ifname);
		shape_put(&call->pod, l.index, call->env.ifname, b->egress_rate, b->egress_burst, mtu);
		return netlink_commit(&call->pod, f);
	}
	return 0;
}

static int make_pod(struct call *call, const struct ipam_lease *lease, const struct netlink_link *bridge)
{
	const struct conf *c = &call->conf;
	unsigned mtu = pod_mtu(&call->host, c);
	struct fail *f = &call->fail;

	/* A lease without interface is left of an ADD that was cut short; its link may point into a namespace that is gone. */
	if (lease->found && pod_veth_del(&call->host, lease->veth, 0, f) < 0)
		return -1;
	return pod_veth_add(&call->host, c, lease, call->env.ifname, call->netns_fd, bridge->index, mtu, f) < 0 ||
	       pod_configure(&call->pod, c, lease, call->env.ifname, f) < 0 || add_shape(call, lease, mtu) < 0 ||
	       add_ports(call, lease) < 0 ? -1 : 0;
}

static void undo_add(struct call *call, const struct ipam_lease *lease)
{
	struct fail undo;

	/* First the link, then the address: never the other way round, somebody could be given it meanwhile. */
	if (pod_veth_del(&call->host, lease->veth, 0, &undo) < 0)
		return;
	if ((call->conf.port_count || lease->has_ports) && into_node(call, &undo) == 0)
		del_ports(call, lease, &undo);
	ipam_release(&call->ipam, lease, call->env.container_id, call->env.ifname, &undo);
}

static int cmd_add(struct call *call)
{
	const struct conf_env *env = &call->env;
	const struct conf *c = &call->conf;
	_cleanup_strbuf_ struct strbuf out = { 0 };
	struct netlink_link bridge;
	struct ipam_lease lease;
	int r;

	if (add_prepare(call, &bridge) < 0)
		return -1;
	call->ipam.on_reclaim = drop_ports;
	if (ipam_reserve(&call->ipam, c, env->container_id, env->ifname, host_has_link, call, &lease, &call->fail) < 0)
		return -1;
	if (make_pod(call, &lease, &bridge) == 0) {
		result_add(&out, c, env, &bridge, &lease);
		r = print(&out);
		if (r == 0)
			return 0;
		fail_record(&call->fail, FAIL_IO, "write the result: %s", strerror(-r));
	}
	undo_add(call, &lease);
	return -1;
}

/* Removes a link that is out of service already. The kernel makes the remover wait for an RCU grace period, which is no
 * reason to keep the runtime waiting: a child does it that holds none of the runtime's descriptors. Should the child die
 * the link goes with the pod's namespace. */
static int remove_retired(struct call *call, int index)
{
	pid_t pid = index ? fork() : -1;
	int null;

	if (!index || pid > 0)
		return 0;
	if (pid < 0)
		return pod_veth_del(&call->host, NULL, index, &call->fail);
	setsid();
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			close(fd);
	/* The host's socket as 3, nothing behind it. */
	if (call->host.fd != 3 && dup2(call->host.fd, 3) == 3)
		call->host.fd = 3;
	close_range(call->host.fd + 1, ~0u, 0);
	pod_veth_del(&call->host, NULL, index, &call->fail);
	_exit(0);
}

static int cmd_del(struct call *call)
{
	const struct conf_env *env = &call->env;
	struct ipam_lease lease = { 0 };
	struct fail *f = &call->fail;
	int state, found = 1, index;

	if (netlink_open(&call->host, NETLINK_ROUTE, f) < 0)
		return -1;
	state = ipam_open_existing(&call->ipam, call->conf.data_dir, call->conf.name, f);
	if (state == 0)
		found = ipam_find(&call->ipam, env->container_id, env->ifname, &lease, f);
	if (state < 0 || found < 0)
		return -1;
	if (found > 0) {
		/* No lease: done already, or the state was lost. The link that ADD would have made first is this
		 * container's, unless another lease says that it is its own. */
		ipam_veth_name(env->container_id, env->ifname, 0, lease.veth);
		if (state == 0 && ipam_uses_link(&call->ipam, lease.veth))
			return 0;
	}
	if (lease.has_ports && del_ports(call, &lease, f) < 0)
		return -1;
	/* The address last: whatever instant this is killed at, as long as the link has nobody who removes it there is a
	 * lease by which the next DEL finds it. */
	if (pod_veth_retire(&call->host, lease.veth, env->netns, env->ifname, &index, f) < 0 ||
	    remove_retired(call, index) < 0)
		return -1;
	return found == 0 ? ipam_release(&call->ipam, &lease, env->container_id, env->ifname, f) : 0;
}

static int check_host(struct call *call, const struct ipam_lease *lease)
{
	const struct conf *c = &call->conf;
	struct netlink_link bridge, veth;
	bool shaped = true;

	if (netlink_link_get(&call->host, c->bridge, 0, &bridge) < 0)
		return fail_set(&call->fail, FAIL_CHECK, "the bridge %s is missing", c->bridge);
	if (netlink_link_get(&call->host, lease->veth, 0, &veth) < 0)
		return fail_set(&call->fail, FAIL_CHECK, "the link %s on the node is missing", lease->veth);
	if (veth.master != bridge.index)
		return fail_set(&call->fail, FAIL_CHECK, "the link %s is not a port of the bridge %s", lease->veth, c->bridge);
	if (!(veth.flags & IFF_UP) || !(bridge.flags & IFF_UP))
		return fail_set(&call->fail, FAIL_CHECK, "%s is down", veth.flags & IFF_UP ? c->bridge : lease->veth);
	if (c->bandwidth.ingress_rate && (shape_get(&call->host, veth.index, c->bandwidth.ingress_rate, &shaped) < 0 || !shaped))
		return fail_set(&call->fail, FAIL_CHECK, "the bandwidth into the container is not limited");
	return c->port_count ? ports_check(c, lease, &call->fail) : 0;
}

/* One family's part of the pod. */
static int check_subnet(struct call *call, const struct conf_subnet *s, const struct ip_addr *addr, int index)
{
	const struct conf *c = &call->conf;
	char ip[IP_ADDR_TEXT_SIZE];
	bool has = false;
	struct ip_addr gw;
	int oif;

	if (netlink_has_address(&call->pod, index, addr, s->prefix.len, &has) < 0 || !has)
		return fail_set(&call->fail, FAIL_CHECK, "the interface %s does not have the address %s/%u", call->env.ifname,
				ip_format(addr, ip), s->prefix.len);
	if (c->is_gateway && c->route_count == 0 &&
	    (netlink_route_get(&call->pod, &pod_nowhere[ip_family_index(addr->family)], &oif, &gw) < 0 || oif != index ||
	     !gw.family || !ip_addr_eq(&gw, &s->gateway)))
		return fail_set(&call->fail, FAIL_CHECK, "the container's default route is not by way of the gateway");
	return 0;
}

static int check_pod(struct call *call, const struct ipam_lease *lease)
{
	const struct conf *c = &call->conf;
	const char *ifname = call->env.ifname;
	bool shaped = true;
	struct netlink_link l;

	if (netlink_link_get(&call->pod, ifname, 0, &l) < 0)
		return fail_set(&call->fail, FAIL_CHECK, "the interface %s is missing in the container", ifname);
	if (!(l.flags & IFF_UP))
		return fail_set(&call->fail, FAIL_CHECK, "the interface %s is down in the container", ifname);
	for (size_t i = 0; i < c->subnet_count; i++)
		if (check_subnet(call, &c->subnets[i], &lease->addrs[i], l.index) < 0)
			return -1;
	if (c->bandwidth.egress_rate && (shape_get(&call->pod, l.index, c->bandwidth.egress_rate, &shaped) < 0 || !shaped))
		return fail_set(&call->fail, FAIL_CHECK, "the bandwidth out of the container is not limited");
	return 0;
}

/* The lease's addresses in the order of the subnets; each must be what prevResult says. */
static int check_lease(struct call *call, const struct ipam_lease *had, struct ipam_lease *ret)
{
	const struct conf *c = &call->conf;
	char ip[IP_ADDR_TEXT_SIZE], address[IP_PREFIX_TEXT_SIZE];

	*ret = *had;
	for (size_t i = 0; i < c->subnet_count; i++) {
		const struct ip_addr *a = NULL;

		for (size_t n = 0; n < had->addr_count; n++)
			if (ip_prefix_contains(&c->subnets[i].prefix, &had->addrs[n]))
				a = &had->addrs[n];
		if (!a)
			return fail_set(&call->fail, FAIL_CHECK, "the container has no address of a subnet of network %s", c->name);
		ret->addrs[i] = *a;
		snprintf(address, sizeof(address), "%s/%u", ip_format(a, ip), c->subnets[i].prefix.len);
		if (!result_has_address(c->prev_result, address))
			return fail_set(&call->fail, FAIL_CHECK, "prevResult does not name the container's address %s", address);
	}
	ret->addr_count = c->subnet_count;
	return 0;
}

static int cmd_check(struct call *call)
{
	const struct conf_env *env = &call->env;
	const struct conf *c = &call->conf;
	struct fail *f = &call->fail;
	struct ipam_lease had, lease;
	int r;

	if (strcmp(c->version, "0.3.1") == 0)
		return fail_set(f, FAIL_VERSION, "CHECK is not part of CNI version 0.3.1");
	if (!c->prev_result)
		return fail_set(f, FAIL_CONFIG, "prevResult is missing, CHECK needs it");
	if (netlink_open(&call->host, NETLINK_ROUTE, f) < 0)
		return -1;
	r = ipam_open_existing(&call->ipam, c->data_dir, c->name, f);
	if (r == 0)
		r = ipam_find(&call->ipam, env->container_id, env->ifname, &had, f);
	if (r < 0)
		return -1;
	if (r > 0)
		return fail_set(f, FAIL_CHECK, "the container has no address of network %s", c->name);
	if (check_lease(call, &had, &lease) < 0 || check_host(call, &lease) < 0 ||
	    pod_netns_open(env->netns, &call->netns_fd, f) < 0 || pod_netns_enter(call->netns_fd, env->netns, f) < 0 ||
	    netlink_open(&call->pod, NETLINK_ROUTE, f) < 0)
		return -1;
	return check_pod(call, &lease);
}

/* The whole network: STATUS and GC, of specification 1.1.0. */

static int of_this_version(const struct conf *c, const char *command, struct fail *f)
{
	return strcmp(c->version, "1.1.0") == 0 ? 0 :
	       fail_set(f, FAIL_VERSION, "%s is not part of CNI version %s", command, c->version);
}

/* What ADD would stumble over. */
static int cmd_status(struct call *call)
{
	const struct conf *c = &call->conf;
	struct fail *f = &call->fail;
	struct netlink_link bridge;
	int e, r;

	if (of_this_version(c, "STATUS", f) < 0)
		return -1;
	r = netlink_open(&call->host, NETLINK_ROUTE, f);
	if (r == 0)
		r = ipam_open(&call->ipam, c->data_dir, c->name, f);
	if (r == 0) {
		e = netlink_link_get(&call->host, c->bridge, 0, &bridge);
		if (e == 0 && strcmp(bridge.kind, "bridge") != 0)
			r = fail_set(f, FAIL_CONFIG, "bridge \"%s\" is a link that exists and is not a bridge", c->bridge);
	}
	if (r == 0) {
		call->ipam.on_reclaim = drop_ports;
		r = ipam_has_room(&call->ipam, c, host_has_link, call, f);
	}
	if (r < 0)
		f->code = FAIL_NOT_AVAILABLE;
	return r;
}

static bool is_valid(const char *container_id, const char *ifname, void *user)
{
	return conf_is_valid_attachment(user, container_id, ifname);
}

struct collecting {
	struct call *call;
	bool failed;
};

static bool collect_lease(const struct ipam_entry *e, void *user)
{
	struct collecting *g = user;
	struct call *call = g->call;

	if (conf_is_valid_attachment(&call->conf, e->container_id, e->ifname))
		return true;
	g->failed = pod_veth_del(&call->host, e->veth, 0, &call->fail) < 0 || ipam_release_entry(&call->ipam, e, &call->fail) < 0;
	return !g->failed;
}

/* Names of our shape; what another plugin attached to the bridge stays. */
static bool is_ours(const char *name)
{
	return strlen(name) == 10 && strncmp(name, "kl", 2) == 0 && strspn(name + 2, "0123456789abcdef") == 8;
}

static void collect_link(const char *name, const struct netlink_link *l _unused_, void *user)
{
	if (is_ours(name))
		strlist_add(user, name);
}

static int collect_links(struct call *call)
{
	_cleanup_strlist_ struct strlist names = { 0 };
	struct netlink_link bridge;
	int e = netlink_link_get(&call->host, call->conf.bridge, 0, &bridge);

	if (e == 0)
		e = netlink_ports(&call->host, bridge.index, collect_link, &names);
	if (e < 0 && e != -ENODEV)
		return fail_set(&call->fail, FAIL_KERNEL, "list the links of %s: %s", call->conf.bridge, strerror(-e));
	for (size_t i = 0; i < names.count; i++)
		if (!ipam_uses_link(&call->ipam, names.items[i]) && pod_veth_del(&call->host, names.items[i], 0, &call->fail) < 0)
			return -1;
	return 0;
}

/* Under the lock: no ADD is between address and link. */
static int cmd_gc(struct call *call)
{
	struct conf *c = &call->conf;
	struct fail *f = &call->fail;
	struct collecting g = { .call = call };

	if (of_this_version(c, "GC", f) < 0)
		return -1;
	if (!c->attachments)
		return fail_set(f, FAIL_CONFIG, "cni.dev/valid-attachments is missing, GC needs it");
	if (netlink_open(&call->host, NETLINK_ROUTE, f) < 0 || ipam_open(&call->ipam, c->data_dir, c->name, f) < 0 ||
	    ports_collect(c->name, is_valid, c, f) < 0 || ipam_each(&call->ipam, collect_lease, &g, f) < 0 || g.failed)
		return -1;
	return collect_links(call);
}

/* In place of the loopback plugin, which containerd runs besides the network's own: the configuration says so by its
 * type. A pod that is gone has nothing to set down. */
static int cmd_loopback(struct call *call)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	struct fail *f = &call->fail;
	struct netlink_link lo;

	if (call->env.command == CONF_STATUS || call->env.command == CONF_GC)
		return 0;
	if (pod_netns_open(call->env.netns, &call->netns_fd, f) < 0 ||
	    pod_netns_enter(call->netns_fd, call->env.netns, f) < 0)
		return call->env.command == CONF_DEL ? 0 : -1;
	if (netlink_open(&call->pod, NETLINK_ROUTE, f) < 0)
		return -1;
	if (call->env.command == CONF_CHECK)
		return netlink_link_get(&call->pod, "lo", 0, &lo) == 0 && (lo.flags & IFF_UP) ? 0 :
		       fail_set(f, FAIL_CHECK, "the loopback interface is down in the container");
	if (pod_loopback(&call->pod, call->env.command == CONF_ADD, f) < 0)
		return -1;
	if (call->env.command == CONF_DEL)
		return 0;
	result_loopback(&out, &call->conf, &call->env);
	return print(&out) < 0 ? fail_set(f, FAIL_IO, "write the result") : 0;
}

static int run(struct call *call, const struct strbuf *in)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };

	if (call->env.command == CONF_VERSION) {
		if (conf_parse_version(&call->conf, in->data, in->len, &call->fail) < 0)
			return -1;
		result_version(&out, &call->conf);
		return print(&out) < 0 ? fail_set(&call->fail, FAIL_IO, "write the result") : 0;
	}
	if (conf_parse(&call->conf, in->data, in->len, &call->fail) < 0)
		return -1;
	if (call->conf.loopback)
		return cmd_loopback(call);
	switch (call->env.command) {
	case CONF_ADD:
		return cmd_add(call);
	case CONF_DEL:
		return cmd_del(call);
	case CONF_STATUS:
		return cmd_status(call);
	case CONF_GC:
		return cmd_gc(call);
	default:
		return cmd_check(call);
	}
}

static int usage(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("keelson-cni, CNI 0.3.1, 0.4.0, 1.0.0, 1.1.0");
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		puts("keelson-cni is a CNI plugin: a container runtime starts it with CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS\n"
		     "and CNI_IFNAME in the environment and the network configuration on standard input.\n"
		     "Options: --help, --version. See keelson-cni(8).");
		return 0;
	}
	fprintf(stderr, "keelson-cni takes no arguments but --help and --version\n");
	return 2;
}

int main(int argc, char **argv)
{
	_cleanup_strbuf_ struct strbuf in = { 0 }, out = { 0 };
	static struct call call = { .ipam = { -1, -1 }, .host.fd = -1, .pod.fd = -1, .netns_fd = -1, .node_fd = -1 };
	int r;

	if (argc > 1)
		return usage(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	r = conf_env_read(&call.env, getenv, &call.fail);
	if (r == 0)
		r = read_config(&in, &call.fail);
	if (r == 0 && loopback_wanted(argv[0])) {
		r = loopback_run(&call.env, &call.conf, in.data, in.len, &out, &call.fail);
		if (r == 0 && print(&out) < 0)
			r = fail_set(&call.fail, FAIL_IO, "write the result: %s", strerror(errno));
	} else if (r == 0) {
		r = run(&call, &in);
	}
	ipam_close(&call.ipam);
	netlink_close(&call.host);
	netlink_close(&call.pod);
	if (call.netns_fd >= 0)
		close(call.netns_fd);
	if (call.node_fd >= 0)
		close(call.node_fd);
	if (r < 0) {
		strbuf_reset(&out);
		result_error(&out, &call.conf, &call.fail);
		(void)!print(&out);
	}
	conf_done(&call.conf);
	return r < 0 ? 1 : 0;
}
