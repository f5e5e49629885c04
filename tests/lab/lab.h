/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The light lab: nodes, their pods and clients outside are network namespaces of this machine, joined by an underlay bridge
 * in a namespace of its own; each node has a cgroup, a bpffs and a keelson-proxy that reads manifests. Nothing here can
 * reach beyond the lab: no namespace has a link to the outside. One process is every server and client at once: sockets are
 * made in the right namespace and cgroup by a small helper process per node and handed over (lab_socket), the rest is
 * done from where the test runs. Root.
 *
 * Addresses, family by family (K is a node from 1, I a pod of it from 1):
 *   node K        192.168.50.K  fd00:50::K    second address 192.168.51.K  fd00:51::K
 *   client K      192.168.50.200+K  fd00:50::c:K   has node K as its gateway, for Services and pods too
 *   pod K/I       10.244.K.10+I  fd00:10:244:K::10+I (decimal digits), the bridge 10.244.K.1  fd00:10:244:K::1
 *   Services      10.96.0.0/16  fd00:10:96::/112
 *   outward ones  203.0.113.0/24  2001:db8:113::/64 and 198.51.100.0/24  2001:db8:100::/64, by way of the gateway
 */
#ifndef KEELSON_TESTS_LAB_LAB_H
#define KEELSON_TESTS_LAB_LAB_H

#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "io/net.h"

enum { LAB_NODES_MAX = 8, LAB_PODS_MAX = 16 };

enum lab_kind { LAB_UNDERLAY, LAB_NODE, LAB_POD, LAB_CLIENT };
struct lab_place {
	uint8_t kind, node, pod; /* node and pod from 1 */
};
static inline struct lab_place lab_node(unsigned k)
{
	return (struct lab_place){ LAB_NODE, (uint8_t)k, 0 };
}
static inline struct lab_place lab_pod(unsigned k, unsigned i)
{
	return (struct lab_place){ LAB_POD, (uint8_t)k, (uint8_t)i };
}
static inline struct lab_place lab_client(unsigned k)
{
	return (struct lab_place){ LAB_CLIENT, (uint8_t)k, 0 };
}

struct lab_options {
	const char *name;   /* namespaces and cgroups are called kt-NAME-PID-..., with keep NAME-... */
	const char *dir;    /* where files go; NULL: a new directory in /tmp, removed at the end */
	const char *proxy;  /* path of keelson-proxy */
	unsigned nodes, pods; /* pods per node */
	bool tunnel;        /* nodes reach each other's pods by VXLAN, which the proxies set up; else the lab sets direct routes */
	bool xdp;           /* the nodes' links are made ready for XDP: it then sees what comes from outside first */
	bool keep;          /* lab_free() leaves all as it is */
};
struct lab;
/* Everything but the proxies. Own, or NULL with what failed. */
struct lab *lab_new(const struct lab_options *o, struct err *err);
struct lab *lab_free(struct lab *l); /* NULL is fine */
/* A lab that was kept, with the options it was made with: for lab_free() with keep taken back. */
struct lab *lab_open(const struct lab_options *o, struct err *err);
/* The calling process changes over to the place for good: namespace and cgroup. */
int lab_become(const struct lab *l, struct lab_place at);

const char *lab_dir(const struct lab *l);
const char *lab_id(const struct lab *l);          /* the prefix of namespaces' and cgroup's names */
const char *lab_manifests(const struct lab *l);   /* the directory all proxies read */
const char *lab_cgroup(const struct lab *l, unsigned node);
const char *lab_pins(const struct lab *l, unsigned node);
const char *lab_ns_name(const struct lab *l, struct lab_place at, char out[static 64]);
int lab_ns(const struct lab *l, struct lab_place at);  /* its file descriptor, borrow */
/* The calling thread changes over to the place's namespace, and back with lab_leave(). */
void lab_enter(const struct lab *l, struct lab_place at);
void lab_leave(const struct lab *l);

struct ip_addr lab_addr(struct lab_place at, int family);
struct ip_addr lab_second_addr(unsigned node, int family);
struct ip_addr lab_service_addr(unsigned n, int family);   /* n 0-65535 */
struct ip_addr lab_balancer_addr(unsigned n, int family);  /* n 1-250 */
struct ip_addr lab_external_addr(unsigned n, int family);  /* n 1-250 */
struct ip_addr lab_tunnel_addr(unsigned node, int family); /* the first of the node's podCIDR */

/* A non-blocking socket that lives in the place's namespace and, for nodes and pods, in the node's cgroup. Own. Without a
 * lab it is an ordinary one, wherever the process is. */
int lab_socket(struct lab *l, struct lab_place at, int family, int type);

/* Writes the file (atomically) into the proxies' manifests; NULL text removes it. */
void lab_write(struct lab *l, const char *file, const char *text);
/* Node objects for all nodes into nodes.json: addresses, podCIDRs, zone "z1" for odd nodes and "z2" for even ones. */
void lab_write_nodes(struct lab *l);
/* The same of one node, as JSON without a comma. zone NULL: no label. */
void lab_node_json(struct strbuf *out, unsigned node, const char *zone);

/* Starts node's proxy with further arguments (NULL-terminated, may be NULL) and waits until it is ready. */
int lab_proxy_start(struct lab *l, unsigned node, const char *const *more, struct err *err);
/* The two halves of it: started, and whether it became ready (which may be waited for by another process). */
void lab_proxy_spawn(struct lab *l, unsigned node, const char *const *more);
bool lab_proxy_ready(struct lab *l, unsigned node);
/* Becomes the proxy instead, in the namespace the caller is in. Returns only with an error. */
int lab_proxy_exec(struct lab *l, unsigned node, const char *program, const char *const *more, size_t count, struct err *err);
void lab_proxy_kill(struct lab *l, unsigned node, int signal); /* and waits for its end; none running is fine */
pid_t lab_proxy_pid(const struct lab *l, unsigned node);       /* 0: none */
/* GET path of the proxy's HTTP server; the body is appended to out (may be NULL). Status, or -errno. Answered after the turn
 * of the proxy's loop that was under way: what had been visible to it before is programmed. */
int lab_proxy_get(struct lab *l, unsigned node, const char *path, struct strbuf *out);
/* The same at any address of a place, from a place. */
int lab_http_get(struct lab *l, struct lab_place from, const struct ip_addr *to, uint16_t port, const char *path,
		 struct strbuf *out);
/* Runs an `ip -batch` text in the place. -EIO when a line failed. */
int lab_ip(struct lab *l, struct lab_place at, const char *batch);
/* The last lines of a node's proxy's log, on stdout, each behind "# ". */
void lab_show_log(const struct lab *l, unsigned node);

#endif
