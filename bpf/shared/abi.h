/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel programs and the daemon both see: every map's keys and values. Fixed widths, explicit padding,
 * network byte order where a name says __be. A change that an older daemon or program would misread needs a new
 * ABI_VERSION: maps are pinned under it, so that two layouts can stand side by side while one takes over.
 *
 * How a Service port lies in the maps (docs/dataplane.md has the picture):
 *   frontends  {address, port, protocol, scope} -> set id, affinity
 *   sets       set id -> one 64-bit word: where its slots begin, how many, flags
 *   slots      index  -> one 64-bit word: backend id and the generation that id had when the slot was written
 *   backends   id     -> address, port, generation
 * sets, slots, backends and stats are memory-mapped by the daemon. New slots are written behind the readers' backs and
 * then one aligned 64-bit store into `sets` makes all of them visible: a packet sees the old set or the new one.
 * A reader that was overtaken finds a generation that does not match and starts again.
 */
#ifndef KEELSON_BPF_SHARED_ABI_H
#define KEELSON_BPF_SHARED_ABI_H

#include <linux/bpf.h>
#include <linux/types.h>

#define ABI_VERSION 1

/* Default sizes of the maps; the daemon may raise them when it creates new ones. */
enum {
	ABI_MAX_FRONTENDS = 65536,
	ABI_MAX_SETS = 32768,
	ABI_MAX_SLOTS = 131072,
	ABI_MAX_BACKENDS = 65536,
	ABI_MAX_AFFINITY = 16384,
	ABI_MAX_UDP_PEERS = 16384,
	ABI_MAX_FLOWS = 131072,
	ABI_MAX_NODE_ADDRS = 256,
};

enum abi_scope {
	ABI_SCOPE_ADDRESS = 0,  /* addr:port is the frontend */
	ABI_SCOPE_NODE_PORT = 1, /* addr is 0.0.0.0 or ::, the port on every address of the node */
	ABI_SCOPE_OWNED = 2,    /* port and proto are zero: some Service owns addr, so its other ports are refused */
};

/* IPv4 addresses are kept v4-mapped (::ffff:a.b.c.d). */
struct abi_frontend_key {
	__u32 addr[4];
	__be16 port;
	__u8 proto;
	__u8 scope;
};
_Static_assert(sizeof(struct abi_frontend_key) == 20, "frontend key");

enum {
	ABI_FRONTEND_EXTERNAL = 1 << 0, /* may be reached from outside the cluster (tc looks only at these) */
};
/* The last three fields repeat the key: an element freed under a reader may already hold another frontend. */
struct abi_frontend {
	__u32 set_id;         /* for sockets of the node and its pods */
	__u32 outside_set_id; /* for packets from outside: differs with externalTrafficPolicy Local */
	__u32 affinity_s;     /* 0: none */
	__u32 check_addr; /* addr[3] of the key */
	__be16 check_port;
	__u8 check_proto;
	__u8 flags;
};
_Static_assert(sizeof(struct abi_frontend) == 20, "frontend");

/* A set's word: bits 0-31 index of its first slot, 32-55 number of slots, 56-63 flags. 0: no endpoints. */
#define ABI_SET_WORD(base, count, flags) ((__u64)(base) | (__u64)(count) << 32 | (__u64)(flags) << 56)
#define ABI_SET_BASE(w) ((__u32)(w))
#define ABI_SET_COUNT(w) ((__u32)((w) >> 32) & 0xffffff)
#define ABI_SET_FLAGS(w) ((__u32)((w) >> 56))
enum {
	ABI_SET_DROP = 1 << 0, /* empty because of a Local traffic policy: drop silently instead of refusing */
};
/* A slot's word: bits 0-31 backend id, 32-63 generation. */
#define ABI_SLOT_WORD(id, generation) ((__u64)(id) | (__u64)(generation) << 32)
#define ABI_SLOT_BACKEND(w) ((__u32)(w))
#define ABI_SLOT_GENERATION(w) ((__u32)((w) >> 32))

enum {
	ABI_BACKEND_NEW = 1 << 0,   /* takes new connections; without it the backend only drains what it has */
	ABI_BACKEND_LOCAL = 1 << 1, /* on this node */
};
struct abi_backend {
	__u32 addr[4];
	__be16 port;
	__u8 proto;
	__u8 flags;
	__u32 set_id;
	__u32 generation; /* 0: unused. Grows each time the id gets another meaning. */
	__u32 pad;
};
_Static_assert(sizeof(struct abi_backend) == 32, "backend");

struct abi_stats { /* per set */
	__u64 connections; /* connections and UDP flows given a backend */
	__u64 refused;     /* attempts without an endpoint */
};
_Static_assert(sizeof(struct abi_stats) == 16, "stats");

/* Session affinity. Pods are known by their network namespace (a pod's address may be reused), outside clients by
 * their address. */
enum { ABI_CLIENT_NETNS = 0, ABI_CLIENT_ADDR = 1 };
struct abi_affinity_key {
	__u32 client[4]; /* the namespace's cookie in the first two words, or the address */
	__u32 set_id;
	__u8 kind;
	__u8 pad[3];
};
_Static_assert(sizeof(struct abi_affinity_key) == 24, "affinity key");
struct abi_affinity {
	__u64 last_ns; /* CLOCK_MONOTONIC */
	__u32 backend_id;
	__u32 generation;
};
_Static_assert(sizeof(struct abi_affinity) == 16, "affinity");

/* What a connected socket asked for and got; lives as long as the socket (socket-local storage). */
struct abi_sock {
	__u32 vip[4];
	__u32 backend[4];
	__be16 vip_port;
	__be16 backend_port;
	__u32 pad;
};
_Static_assert(sizeof(struct abi_sock) == 40, "sock");

/* What an unconnected UDP socket talks to, both ways. */
enum { ABI_PEER_FORWARD = 0, ABI_PEER_REPLY = 1 };
struct abi_peer_key {
	__u64 cookie;
	__u32 addr[4]; /* forward: the virtual address; reply: the backend */
	__be16 port;
	__u8 dir;
	__u8 pad[5];
};
_Static_assert(sizeof(struct abi_peer_key) == 32, "peer key");
struct abi_peer {
	__u32 addr[4]; /* forward: unused; reply: the virtual address */
	__be16 port;
	__u16 pad;
	__u32 backend_id;
	__u32 generation;
};
_Static_assert(sizeof(struct abi_peer) == 28, "peer");

/* Connections from outside (tc). Keyed by what the client sees in `flows`, by what the backend sees in `flow_replies`. */
struct abi_flow_key {
	__u32 client[4];
	__u32 addr[4];
	__be16 client_port;
	__be16 port;
	__u8 proto;
	__u8 pad[3];
};
_Static_assert(sizeof(struct abi_flow_key) == 40, "flow key");
enum {
	ABI_FLOW_CLIENT_FIN = 1 << 0,
	ABI_FLOW_SERVER_FIN = 1 << 1,
	ABI_FLOW_RESET = 1 << 2,
};
struct abi_flow {
	__u64 last_ns;
	__u32 backend[4];
	__be16 backend_port;
	__u8 state;
	__u8 pad;
	__u32 backend_id;
	__u32 generation;
	__u32 set_id;
};
_Static_assert(sizeof(struct abi_flow) == 40, "flow");
struct abi_flow_reply {
	__u64 last_ns; /* 0: the backend has not answered yet */
	__u32 addr[4];
	__be16 port;
	__u8 pad[6];
};
_Static_assert(sizeof(struct abi_flow_reply) == 32, "flow reply");

/* One element: the timer that removes flows which have ended. */
struct abi_sweeper {
	struct bpf_timer timer;
	__u64 stamp; /* of the program whose callback is armed; see tc.h */
};
_Static_assert(sizeof(struct abi_sweeper) == 24, "sweeper");

struct abi_node_addr_key {
	__u32 addr[4];
};

/* One element. Written by the daemon. */
struct abi_config {
	__u64 node_netns;    /* cookie of the node's network namespace: its loopback serves NodePorts */
	__u32 service_net[4]; /* the service range: the OWNED frontends are looked up only inside it */
	__u32 service_mask[4];
	__u16 node_port_min; /* host byte order */
	__u16 node_port_max;
	__u32 backend_high;  /* ids below it may be in use; read when a daemon adopts the maps */
	__u32 generation;    /* highest backend generation given out */
	__u32 pad;
};
_Static_assert(sizeof(struct abi_config) == 56, "config");

/* Why something was counted. The daemon prints them in /metrics under abi_reason_name[]. */
enum abi_reason {
	ABI_SOCK_TRANSLATED,
	ABI_SOCK_REFUSED_NO_ENDPOINTS,
	ABI_SOCK_REFUSED_NO_PORT,
	ABI_SOCK_LEFT_LOCAL_POLICY,
	ABI_SOCK_OVERTAKEN,
	ABI_UDP_RESELECTED,
	ABI_TC_TRANSLATED,
	ABI_TC_REFUSED_NO_ENDPOINTS,
	ABI_TC_DROP_LOCAL_POLICY,
	ABI_TC_DROP_NO_BACKEND_ADDRESS,
	ABI_TC_DROP_FLOWS_FULL,
	ABI_TC_DROP_FLOW_COLLISION,
	ABI_TC_DROP_REWRITE,
	ABI_TC_FLOW_EXPIRED,
	ABI_TC_ICMP_TRANSLATED,
	ABI_REASON_MAX
};
#define ABI_REASON_NAMES                                                                                              \
	{                                                                                                             \
		"sock_translated", "sock_refused_no_endpoints", "sock_refused_no_such_port", "sock_left_local_policy", \
			"sock_overtaken", "udp_reselected", "tc_translated", "tc_refused_no_endpoints",                \
			"tc_drop_local_policy", "tc_drop_backend_family", "tc_drop_flows_full",                       \
			"tc_drop_flow_collision", "tc_drop_rewrite", "tc_flow_expired", "tc_icmp_translated",         \
	}

#endif
