/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the eBPF engine share. Nobody else includes it. */
#ifndef KEELSON_PROXY_ENGINE_EBPF_INTERNAL_H
#define KEELSON_PROXY_ENGINE_EBPF_INTERNAL_H

#include "base/map.h"
#include "base/mem.h"
#include "bpf/shared/abi.h"
#include "proxy/engine/ebpf/pool.h"
#include "proxy/engine/engine.h"

/* A memory-mapped array map, seen through windows that are mapped when first needed. */
struct marray {
	int fd;
	uint32_t elem_bytes, max;
	void **windows;
	size_t window_count;
};
enum { MARRAY_WINDOW_BYTES = 65536 };
int marray_init(struct marray *a, int fd, uint32_t elem_bytes, uint32_t max);
void marray_done(struct marray *a);
void *marray_at(struct marray *a, uint32_t i); /* NULL when the kernel refuses the mapping */

/* The daemon's note of a set: which backends it has, in the order of their addresses, and where its slots are. */
struct eset {
	uint32_t *ids;
	uint32_t count;
	uint32_t base, slot_count;
	bool used;    /* belongs to a port, or was found in the kernel */
	bool adopted; /* found, and no port has asked for it yet */
};
struct efrontend {
	struct abi_frontend_key key;
	uint8_t flags, inside, outside, owned;
};
struct eport {
	uint32_t id;
	uint32_t affinity_s;
	uint32_t sets[MODEL_SET_MAX]; /* 0: none */
	uint16_t frontend_count;
	char *name; /* "namespace/service:port" */
	struct efrontend frontends[];
};
struct found { /* a frontend found in the kernel at the start */
	struct abi_frontend_key key;
	uint32_t set_id, outside_set_id;
	bool claimed;
};
enum ebpf_map {
	EBPF_FRONTENDS, EBPF_SETS, EBPF_SLOTS, EBPF_BACKENDS, EBPF_STATS, EBPF_AFFINITY, EBPF_SOCKS, EBPF_UDP_PEERS,
	EBPF_FLOWS, EBPF_FLOW_REPLIES, EBPF_SWEEPER, EBPF_NODE_ADDRS, EBPF_CONFIG, EBPF_COUNTERS, EBPF_LOADS, EBPF_RANGES,
	EBPF_PEER_NODES, EBPF_FRAGMENTS, EBPF_TRACE_FILTER, EBPF_TRACE_EVENTS, EBPF_MAP_MAX
};
extern const char *const ebpf_map_names[EBPF_MAP_MAX];

enum { EBPF_HOOKS = 9 };
struct ebpf {
	struct engine engine;
	char *pin_dir;
	int maps[EBPF_MAP_MAX];
	uint32_t max_entries[EBPF_MAP_MAX];
	int hooks[EBPF_HOOKS], tc_ingress, tc_egress; /* program fds */
	int cgroup;
	bool attached;
	struct marray sets, slots, backends, stats;
	struct abi_config *config; /* mapped */
	struct idpool set_ids, backend_ids;
	struct runpool runs;
	struct eset *esets;
	size_t eset_cap;
	struct map *ports;         /* id in decimal -> struct eport, own */
	struct found *found;       /* sorted by key; freed when synced */
	size_t found_count;
	/* Gathered for the next commit. */
	struct abi_frontend_key *up_keys;
	struct abi_frontend *up_values;
	size_t up_count, up_key_cap, up_value_cap;
	struct { struct abi_frontend_key key; uint32_t set_id; } *down;
	size_t down_count, down_cap;
	uint32_t *dropped;         /* sets that no frontend names after the commit */
	size_t dropped_count, dropped_cap;
	unsigned *ifindexes;
	size_t if_count;
	uint64_t full_errors;
};

/* load.c */
int ebpf_load(struct ebpf *e, const struct engine_options *o, struct err *err);
int ebpf_attach_hooks(struct ebpf *e, struct err *err);
void ebpf_retire_other_versions(const char *pin_dir);
/* state.c */
int ebpf_adopt(struct ebpf *e, struct err *err);
int ebpf_port_set(struct engine *engine, const struct model_port *port, struct err *err);
void ebpf_port_gone(struct engine *engine, uint32_t id);
int ebpf_commit(struct engine *engine, struct err *err);
void ebpf_synced(struct engine *engine);
struct map *ebpf_ports_new(void);
void ebpf_state_done(struct ebpf *e);
/* sets.c */
struct eset *ebpf_eset(struct ebpf *e, uint32_t set_id); /* makes room; borrow until the next call */
uint32_t ebpf_set_new(struct ebpf *e);                   /* POOL_NONE when full */
int ebpf_set_update(struct ebpf *e, uint32_t set_id, const struct model_port *port, enum model_set which, struct err *err);
/* A set is emptied only when the frontends that named it have been rewritten: dropped now, freed by the commit. */
void ebpf_set_drop(struct ebpf *e, uint32_t set_id);
void ebpf_sets_free_dropped(struct ebpf *e);
void ebpf_addr(const struct ip_addr *a, uint32_t out[4]);
/* attach.c */
int ebpf_node_set(struct engine *engine, const struct engine_node *node, struct err *err);
int ebpf_tc_attach(struct ebpf *e, struct err *err); /* on every interface known */
int ebpf_tc_detach_all(struct err *err);
/* ebpf.c */
void ebpf_metrics(struct engine *engine, struct strbuf *out);

#endif
