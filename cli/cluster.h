/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a node on this machine is: its options, the paths in its state directory, and cluster.json, which remembers
 * what `keelson up` or `keelson join` was asked for and what it changed on the machine, so that `keelson down` can undo
 * it. A node that has joined knows its server; a lab's first node knows how many there are, the others are below nodes/.
 */
#ifndef KEELSON_CLI_CLUSTER_H
#define KEELSON_CLI_CLUSTER_H

#include <stdbool.h>

#include "base/err.h"
#include "io/net.h"
#include "kube/json.h"

#define CLUSTER_DEFAULT_STATE "/var/lib/keelson"

struct cluster {
	char *state;                /* absolute path of the state directory */
	char *bin_dir;              /* where the daemons are: the directory of this program */
	char *id;                   /* "node", or the netns' name: names cgroup and pins */
	char *netns;                /* NULL: the host's network */
	char *node_name;
	char *node_ip, *node_ip2;   /* in the order of the ranges; the second is NULL with ranges of one family */
	char *service_cidr, *cluster_cidr, *cluster_dns, *cluster_domain;
	char *pod_network;          /* auto, vxlan, direct or none */
	char *server;               /* "https://HOST:6443" of a joined node; NULL: the control plane is here */
	char *runtime_endpoint;     /* NULL: a containerd of our own */
	char *store;                /* embedded or etcd */
	char *etcd_servers;         /* "https://IP:2379,.." of somebody else's etcd; NULL: one of our own, where the store is etcd */
	char *etcd_cafile, *etcd_certfile, *etcd_keyfile, *etcd_prefix; /* of that one; absolute paths */
	char *cgroup2;              /* mount point of the cgroup2 hierarchy */
	char *lab;                  /* first node of a lab: its namespaces are LAB-1.. and LAB-net; NULL: no lab */
	unsigned lab_nodes, lab_segments;
	struct strlist images;      /* archives to import, absolute paths */
	struct strlist tls_sans;    /* further names and addresses of the API server */
	bool encrypts;              /* Secrets are encrypted in the store, by pki/encryption.yaml */
	unsigned node_grace_s;      /* a node that is silent for longer is not ready; 0: 40 s */
	bool netns_created;         /* we made it, down removes it */
	bool complete;              /* an `up` has got to its end */
	bool lo_address[2];         /* we gave the netns' lo the node's IPv4, IPv6 address */
	json_t *sysctls;            /* object: name -> value before us */
};

void cluster_done(struct cluster *c);
/* Whether everything a node keeps there can live below that path: sockets and overlay mounts limit what it may be. */
int cluster_check_state(const char *state, struct err *err);
/* A name as a node name: lower case, and only what RFC 1123 subdomains allow. Own. */
char *cluster_to_node_name(const char *from);
/* Takes "--node-ip A[,B]". 0 or -EINVAL. */
int cluster_set_node_ip(struct cluster *c, const char *text);
/* Where the API server is: c->server, or "https://NODE_IP:6443". Own. */
char *cluster_server(const struct cluster *c);
/* The store is an etcd that runs here. */
bool cluster_runs_etcd(const struct cluster *c);
/* It is an address of this network namespace. */
bool cluster_is_local(const char *ip);
/* "A:port" as daemons listen on it, with brackets around an IPv6 address. Own. */
char *cluster_host_port(const char *address, unsigned port);
/* Fills what the options left out but for the node's addresses, and checks it. */
int cluster_defaults(struct cluster *c, struct err *err);
/* The same with the node's addresses. Must run inside the node's network namespace. */
int cluster_complete(struct cluster *c, struct err *err);
/* Undoes the octal escapes of /proc/self/mounts in place ("\\040" is a blank). */
void cluster_unescape_mount(char *s);
/* DIR/rest, own. */
char *cluster_path(const struct cluster *c, const char *rest);
/* "<cgroup2>/keelson-<id>[/rest]", own. rest may be NULL. */
char *cluster_cgroup(const struct cluster *c, const char *rest);
/* 0, -ENOENT when this directory holds no cluster, or another error. */
int cluster_load(const char *state, struct cluster *ret, struct err *err);
int cluster_save(const struct cluster *c, struct err *err);

/* Moves the process into the node's network namespace (single-threaded callers only). No netns: nothing to do. */
int cluster_enter_netns(const struct cluster *c, struct err *err);
/* Moves the process into <cgroup>/system. */
int cluster_enter_cgroup(const struct cluster *c, struct err *err);

#endif
