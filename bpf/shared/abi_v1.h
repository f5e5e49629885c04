/* SPDX-License-Identifier: GPL-2.0 */
/* Keys and values of ABI version 1, as far as a later version takes them over. History: nothing here changes any more. */
#ifndef KEELSON_BPF_SHARED_ABI_V1_H
#define KEELSON_BPF_SHARED_ABI_V1_H

#include <linux/types.h>

struct abi1_frontend_key {
	__u32 addr[4];
	__be16 port;
	__u8 proto;
	__u8 scope;
};
struct abi1_frontend {
	__u32 set_id;
	__u32 outside_set_id;
	__u32 affinity_s;
	__u32 check_addr;
	__be16 check_port;
	__u8 check_proto;
	__u8 flags;
};
struct abi1_backend {
	__u32 addr[4];
	__be16 port;
	__u8 proto;
	__u8 flags;
	__u32 set_id;
	__u32 generation;
	__u32 pad;
};
struct abi1_stats {
	__u64 connections;
	__u64 refused;
};
struct abi1_affinity_key {
	__u32 client[4];
	__u32 set_id;
	__u8 kind;
	__u8 pad[3];
};
struct abi1_affinity {
	__u64 last_ns;
	__u32 backend_id;
	__u32 generation;
};
struct abi1_peer_key {
	__u64 cookie;
	__u32 addr[4];
	__be16 port;
	__u8 dir;
	__u8 pad[5];
};
struct abi1_peer {
	__u32 addr[4];
	__be16 port;
	__u16 pad;
	__u32 backend_id;
	__u32 generation;
};
struct abi1_flow_key {
	__u32 client[4];
	__u32 addr[4];
	__be16 client_port;
	__be16 port;
	__u8 proto;
	__u8 pad[3];
};
struct abi1_flow {
	__u64 last_ns;
	__u32 backend[4];
	__be16 backend_port;
	__u8 state;
	__u8 pad;
	__u32 backend_id;
	__u32 generation;
	__u32 set_id;
};
struct abi1_flow_reply {
	__u64 last_ns;
	__u32 addr[4];
	__be16 port;
	__u8 pad[6];
};
struct abi1_config {
	__u64 node_netns;
	__u32 service_net[4];
	__u32 service_mask[4];
	__u16 node_port_min;
	__u16 node_port_max;
	__u32 backend_high;
	__u32 generation;
	__u32 pad;
};

#endif
