/* SPDX-License-Identifier: GPL-2.0 */
/* The maps as ABI version 1 had them, without programs: what tests of the change-over start from. */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "bpf/shared/abi_v1.h"

#define MAP(name, kind, flags, max, key_type, value_type)  \
	struct {                                           \
		__uint(type, kind);                        \
		__uint(map_flags, flags);                  \
		__uint(max_entries, max);                  \
		__type(key, key_type);                     \
		__type(value, value_type);                 \
	} name SEC(".maps")

MAP(frontends, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, 65536, struct abi1_frontend_key, struct abi1_frontend);
MAP(sets, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 32768, __u32, __u64);
MAP(slots, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 131072, __u32, __u64);
MAP(backends, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 65536, __u32, struct abi1_backend);
MAP(stats, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 32768, __u32, struct abi1_stats);
MAP(affinity, BPF_MAP_TYPE_LRU_HASH, 0, 16384, struct abi1_affinity_key, struct abi1_affinity);
MAP(udp_peers, BPF_MAP_TYPE_LRU_HASH, 0, 16384, struct abi1_peer_key, struct abi1_peer);
MAP(flows, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, 131072, struct abi1_flow_key, struct abi1_flow);
MAP(flow_replies, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, 131072, struct abi1_flow_key, struct abi1_flow_reply);
MAP(config, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 1, __u32, struct abi1_config);

char _license[] SEC("license") = "GPL";
