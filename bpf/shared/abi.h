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

#ifndef ABI_VERSION
#define ABI_VERSION 2
#endif
/* A layout that no version has, for the test of change-overs: what daemons keep in maps stands elsewhere. */
#ifdef ABI_TEST_LAYOUT
#define ABI_MOVED __u64 moved;
#define ABI_MOVED_BYTES 8
#else
#define ABI_MOVED
#define ABI_MOVED_BYTES 0
#endif

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
	ABI_MAX_PEERS = 16384,
	ABI_MAX_RANGES = 65536,
	ABI_MAX_FRAGMENTS = 8192,
	ABI_MAX_XDP_DEVICES = 64,
	ABI_TRACE_BYTES = 262144,
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
	ABI_FRONTEND_EXTERNAL = 1 << 0, /* may be reached by packets (tc and XDP look only at these): all but OWNED */
	ABI_FRONTEND_CLUSTER = 1 << 1,  /* a Service's cluster address */
	ABI_FRONTEND_DSR = 1 << 2,      /* remote backends get what comes from outside encapsulated, not SNATed */
	ABI_FRONTEND_RANGES = 1 << 3,   /* only clients in `ranges` (under set_id, not outside_set_id) may use it */
	/* What RANGES mean for sockets, whose own address may not be known yet. A pod's with neither of the last two is not
	 * translated: tc_pods decides by the packet's source. */
	ABI_FRONTEND_DENY_NODE = 1 << 4,  /* no address of this node is in the ranges */
	ABI_FRONTEND_ALLOW_PODS = 1 << 5, /* all pods are */
	ABI_FRONTEND_DENY_PODS = 1 << 6,  /* no pod is */
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
	/* How a slot is chosen; none of them: at random. Weights are slots written several times. */
	ABI_SET_HASH = 1 << 1,  /* by a hash of addresses and ports; the slots are a Maglev table, the same on every node */
	ABI_SET_LEAST = 1 << 2, /* the one of two random slots whose backend has fewer connections in `loads` */
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

/* `loads`: connections each backend id has, an u32. The daemon zeroes it before an id is given out; programs lower it only
 * while the flow's generation is still the backend's. */

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
	ABI_MOVED
	__u64 last_ns; /* CLOCK_MONOTONIC */
	__u32 backend_id;
	__u32 generation;
};
_Static_assert(sizeof(struct abi_affinity) == 16 + ABI_MOVED_BYTES, "affinity");

/* What a connected socket asked for and got; lives as long as the socket (socket-local storage). */
struct abi_sock {
	__u32 vip[4];
	__u32 backend[4];
	__be16 vip_port;
	__be16 backend_port;
	__u32 backend_id;
	__u32 generation;
	__u32 flags; /* enum below */
};
_Static_assert(sizeof(struct abi_sock) == 48, "sock");
enum { ABI_SOCK_LOADED = 1 << 0 }; /* counted in `loads` of its backend */

/* What the iterator `stale_sockets` writes for each connected UDP socket whose backend is gone. */
struct abi_stale_socket {
	__u32 saddr[4], daddr[4]; /* as the kernel has them, not the virtual address */
	__be16 sport, dport;
	__u32 netns;              /* inode of its network namespace */
	__u32 ifindex;            /* it is bound to; 0: none */
	__u16 family;             /* of the socket: an IPv6 one may talk to a mapped address */
	__u16 pad;
};
_Static_assert(sizeof(struct abi_stale_socket) == 48, "stale socket");

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
enum { /* state */
	ABI_FLOW_CLIENT_FIN = 1 << 0,
	ABI_FLOW_SERVER_FIN = 1 << 1,
	ABI_FLOW_RESET = 1 << 2,        /* by the backend */
	ABI_FLOW_FIRST = 1 << 3,        /* the client has sent nothing but what began it */
	ABI_FLOW_CLIENT_RESET = 1 << 4, /* believed until the client sends on: nobody looks at sequence numbers here */
};
enum { /* flags */
	ABI_FLOW_SNAT = 1 << 0,    /* the backend sees snat:snat_port */
	ABI_FLOW_DSR_OUT = 1 << 1, /* encapsulated towards the backend's node; no reply passes here */
	ABI_FLOW_DSR_IN = 1 << 2,  /* came encapsulated from another node; the reply leaves from here */
	ABI_FLOW_INSIDE = 1 << 3,  /* the client is a pod of this node whose socket was not translated */
	ABI_FLOW_LOADED = 1 << 4,  /* counted in `loads` of its backend */
	ABI_FLOW_PORT = 1 << 5,    /* the backend sees the client's own address with snat_port: its port was taken */
	ABI_FLOW_FAST = 1 << 6,  /* to a pod of this node past the node's stack, and back */
};
struct abi_flow {
	ABI_MOVED
	__u64 last_ns;
	__u32 backend[4];
	__u32 snat[4]; /* without ABI_FLOW_SNAT: zero */
	__be16 backend_port;
	__be16 snat_port;
	__u8 state;
	__u8 flags;
	__u16 pad;
	__u32 backend_id;
	__u32 generation;
	__u32 set_id;
	__u32 pad2;
};
_Static_assert(sizeof(struct abi_flow) == 64 + ABI_MOVED_BYTES, "flow");
/* The key's client is whom the backend answers: the client itself, or the SNAT address and port. Making this element with
 * BPF_NOEXIST is what gives a SNAT port out. */
struct abi_flow_reply {
	ABI_MOVED
	__u64 last_ns;   /* 0: the backend has not answered yet */
	__u32 addr[4];   /* what the client knows the backend by */
	__u32 client[4]; /* whom the answer goes to */
	__be16 port;
	__be16 client_port;
	__u8 flags; /* the flow's */
	__u8 pad[3];
};
_Static_assert(sizeof(struct abi_flow_reply) == 48 + ABI_MOVED_BYTES, "flow reply");

/* Ports of a datagram's first fragment, for those that follow it. */
struct abi_fragment_key {
	__u32 saddr[4], daddr[4];
	__u32 id; /* IPv4's 16 bits or IPv6's 32, as on the wire */
	__u8 proto;
	__u8 pad[3];
};
_Static_assert(sizeof(struct abi_fragment_key) == 40, "fragment key");
struct abi_fragment {
	__be16 sport, dport;
};

/* loadBalancerSourceRanges: longest prefix match, data after prefixlen; 32 bits of set id, then up to 128 of the
 * client's address. Present: allowed. The value says nothing. */
struct abi_range_key {
	__u32 prefixlen; /* 32 + bits of the address (an IPv4 range's own + 96) */
	__u32 set_id;    /* the frontend's set_id */
	__u32 addr[4];
};
_Static_assert(sizeof(struct abi_range_key) == 24, "range key");

/* Which nodes of the cluster may send us encapsulated packets (DSR): their addresses and tunnel addresses. */
struct abi_peer_node_key {
	__u32 addr[4];
};

/* One element: the timer that removes flows which have ended. */
struct abi_sweeper {
	struct bpf_timer timer;
	__u64 stamp; /* of the program whose callback is armed; see tc.h */
};
_Static_assert(sizeof(struct abi_sweeper) == 24, "sweeper");

/* Map `xdp_devices`, by ifindex: links whose frames the XDP program takes and through which it may send: their drivers can
 * transmit frames of XDP at this moment. A link that is not in it is left to tc. */
struct abi_xdp_device {
	__u8 mac[6]; /* frames to other addresses are not for this host */
	__u8 pad[2];
};
_Static_assert(sizeof(struct abi_xdp_device) == 8, "xdp device");

struct abi_node_addr_key {
	__u32 addr[4];
};

enum {
	/* Flows are being copied from maps of another version: TCP in mid-flight without a flow may still get one, so it is
	 * dropped in silence (its sender sends again), never rejected. */
	ABI_CONFIG_MIGRATING = 1 << 0,
	ABI_CONFIG_FAST_PATH = 1 << 1, /* new flows to pods of this node may pass its stack by (ABI_FLOW_FAST) */
};
/* One element. Written by the daemon. Index 0: IPv4 (v4-mapped), 1: IPv6. A mask that begins with 0 means none. */
struct abi_config {
	__u64 node_netns;     /* cookie of the node's network namespace: its loopback serves NodePorts */
	__u32 service_net[2][4]; /* the service ranges: the OWNED frontends are looked up only inside them */
	__u32 service_mask[2][4];
	__u32 pod_net[2][4];  /* the pod ranges of the whole cluster */
	__u32 pod_mask[2][4];
	/* Source of what is sent on to backends of other nodes. Backends inside the pod ranges get snat_pod (the first address
	 * of this node's podCIDR: nobody else's, all ports), others snat_node. Zero: none, such traffic is dropped. */
	__u32 snat_pod[2][4];
	__u32 snat_node[2][4];
	__u16 node_port_min;  /* host byte order, like all below */
	__u16 node_port_max;
	__u16 snat_pod_min, snat_pod_max;
	__u16 snat_node_min, snat_node_max;
	__u16 flags;          /* ABI_CONFIG_* */
	__u16 pad;
	__u32 backend_high;   /* ids below it may be in use; read when a daemon adopts the maps */
	__u32 generation;     /* highest backend generation given out */
	__u32 trace;          /* 0: off; else serial of the filter in `trace_filter`: programs compare nothing while it is 0 */
	__u32 pods_ifindex;   /* the bridge of this node's pods, where packets of ABI_FLOW_FAST go; 0: none */
};
_Static_assert(sizeof(struct abi_config) == 232, "config");

/* `keelson trace`: events a program writes to the ring `trace_events` for packets and sockets that match. */
enum abi_program {
	ABI_PROGRAM_CONNECT, ABI_PROGRAM_SENDMSG, ABI_PROGRAM_RECVMSG, ABI_PROGRAM_XDP, ABI_PROGRAM_TC_INGRESS,
	ABI_PROGRAM_TC_EGRESS, ABI_PROGRAM_TC_PODS, ABI_PROGRAM_TC_TUNNEL, ABI_PROGRAM_TC_POD, ABI_PROGRAM_MAX
};
struct abi_tuple {
	__u32 saddr[4], daddr[4];
	__be16 sport, dport;
	__u8 proto;
	__u8 pad[3];
};
_Static_assert(sizeof(struct abi_tuple) == 40, "tuple");
/* Matches a packet when it does so as it came or as it leaves, in either direction of its flow. A socket that is not bound
 * does not know its source, and the event says zeros: what is unknown matches. */
struct abi_trace_filter {
	__u32 src[4], src_mask[4]; /* mask all zero: any */
	__u32 dst[4], dst_mask[4];
	__be16 sport, dport;       /* 0: any */
	__u8 proto;                /* 0: any */
	__u8 drops_only;
	__u8 both_ways;            /* src and dst may be swapped */
	__u8 pad;
	__u32 set_id;              /* 0: any; else the Service port's set */
	__u32 set_id2;             /* and its set of local endpoints, when it has one */
	/* CLOCK_MONOTONIC. The tracer moves it on while it lives; a program that finds it past sets config.trace to 0. */
	__u64 deadline_ns;
};
_Static_assert(sizeof(struct abi_trace_filter) == 88, "trace filter");
struct abi_trace_event {
	__u64 ns; /* CLOCK_MONOTONIC */
	struct abi_tuple before, after;
	__u32 ifindex, set_id, backend_id, len;
	__u8 program; /* enum abi_program */
	__u8 reason;  /* enum abi_reason: what became of it */
	__u8 pad[6];
};
_Static_assert(sizeof(struct abi_trace_event) == 112, "trace event");

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
	ABI_SOCK_DROP_SOURCE_RANGE,
	ABI_TC_DROP_SOURCE_RANGE,
	ABI_TC_DROP_SNAT_EXHAUSTED,
	ABI_TC_DROP_NO_SNAT_ADDRESS,
	ABI_TC_DROP_NO_ROUTE,
	ABI_TC_DROP_FRAGMENT,       /* a later fragment whose first was not seen */
	ABI_TC_DROP_MALFORMED,      /* lengths that contradict each other, in a packet for a frontend */
	ABI_TC_DROP_ENCAP,          /* DSR from somebody who is no node, or for no backend of ours */
	ABI_TC_REJECTED,            /* answered with RST or port unreachable */
	ABI_TC_ENCAPSULATED,
	ABI_TC_DECAPSULATED,
	ABI_TC_PASSED,              /* no business of ours: only traced, never counted */
	ABI_XDP_TRANSLATED,
	ABI_TC_TOO_BIG,             /* answered: fragmentation needed, packet too big */
	ABI_TC_HOPS_GONE,           /* answered: time exceeded */
	ABI_REASON_MAX
};
/* After these the packet or the connection is no more: what drops_only of a trace filter is about. */
#define ABI_REASON_IS_DROP(r)                                                                                      \
	((1ULL << (r) & (1ULL << ABI_SOCK_REFUSED_NO_ENDPOINTS | 1ULL << ABI_SOCK_REFUSED_NO_PORT |                 \
			 1ULL << ABI_SOCK_LEFT_LOCAL_POLICY | 1ULL << ABI_SOCK_OVERTAKEN |                          \
			 1ULL << ABI_TC_REFUSED_NO_ENDPOINTS | 1ULL << ABI_TC_DROP_LOCAL_POLICY |                   \
			 1ULL << ABI_TC_DROP_NO_BACKEND_ADDRESS | 1ULL << ABI_TC_DROP_FLOWS_FULL |                  \
			 1ULL << ABI_TC_DROP_FLOW_COLLISION | 1ULL << ABI_TC_DROP_REWRITE |                         \
			 1ULL << ABI_SOCK_DROP_SOURCE_RANGE | 1ULL << ABI_TC_DROP_SOURCE_RANGE |                    \
			 1ULL << ABI_TC_DROP_SNAT_EXHAUSTED | 1ULL << ABI_TC_DROP_NO_SNAT_ADDRESS |                 \
			 1ULL << ABI_TC_DROP_NO_ROUTE | 1ULL << ABI_TC_DROP_FRAGMENT |                              \
			 1ULL << ABI_TC_DROP_MALFORMED | 1ULL << ABI_TC_DROP_ENCAP | 1ULL << ABI_TC_REJECTED |                       \
			 1ULL << ABI_TC_TOO_BIG | 1ULL << ABI_TC_HOPS_GONE)) != 0)
#define ABI_REASON_NAMES                                                                                              \
	{                                                                                                             \
		"sock_translated", "sock_refused_no_endpoints", "sock_refused_no_such_port", "sock_left_local_policy", \
			"sock_overtaken", "udp_reselected", "tc_translated", "tc_refused_no_endpoints",                \
			"tc_drop_local_policy", "tc_drop_backend_family", "tc_drop_flows_full",                       \
			"tc_drop_flow_collision", "tc_drop_rewrite", "tc_flow_expired", "tc_icmp_translated",         \
			"sock_drop_source_range", "tc_drop_source_range", "tc_drop_snat_exhausted",                    \
			"tc_drop_no_snat_address", "tc_drop_no_route", "tc_drop_fragment", "tc_drop_malformed",        \
			"tc_drop_encap", "tc_rejected", "tc_encapsulated", "tc_decapsulated", "tc_passed",             \
			"xdp_translated", "tc_too_big", "tc_hops_gone",                                               \
	}

#endif
