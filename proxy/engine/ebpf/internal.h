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
	uint8_t flags, inside, outside, owned, ranged;
};
struct eport {
	uint32_t id;
	uint32_t affinity_s;
	struct ip_prefix *ranges; /* own; whom ranged frontends serve */
	uint32_t range_count;
	uint8_t family, proto;
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
struct found_range {
	struct abi_range_key key;
	bool claimed;
};
enum ebpf_map {
	EBPF_FRONTENDS, EBPF_SETS, EBPF_SLOTS, EBPF_BACKENDS, EBPF_STATS, EBPF_AFFINITY, EBPF_SOCKS, EBPF_UDP_PEERS,
	EBPF_FLOWS, EBPF_FLOW_REPLIES, EBPF_SWEEPER, EBPF_NODE_ADDRS, EBPF_CONFIG, EBPF_COUNTERS, EBPF_LOADS, EBPF_RANGES,
	EBPF_PEER_NODES, EBPF_FRAGMENTS, EBPF_TRACE_FILTER, EBPF_TRACE_EVENTS, EBPF_XDP_DEVICES, EBPF_MAP_MAX
};
extern const char *const ebpf_map_names[EBPF_MAP_MAX];

enum { EBPF_HOOKS = 9 };
enum ebpf_program { EBPF_TC_INGRESS, EBPF_TC_EGRESS, EBPF_TC_PODS, EBPF_TC_POD, EBPF_TC_TUNNEL, EBPF_XDP_INGRESS,
		    EBPF_STALE_SOCKETS,
	EBPF_COUNT_ELEMENTS, EBPF_PROGRAM_MAX };
/* What the bpffs is called in /proc/mounts when it was mounted here: the mark that --cleanup may unmount it. */
#define EBPF_OWN_MOUNT "keelson"

struct elink {
	struct engine_link link;
	bool said; /* that it gets no program, or no XDP */
	bool done; /* a pod's has its program */
};
struct ebpf {
	struct engine engine;
	char *pin_dir, *map_dir; /* map_dir: where our maps are pinned */
	struct carry *carry;     /* what they come from until the change-over; NULL: nothing */
	bool fresh;              /* they are new, beside those in use */
	int maps[EBPF_MAP_MAX];
	uint32_t max_entries[EBPF_MAP_MAX];
	int hooks[EBPF_HOOKS], programs[EBPF_PROGRAM_MAX]; /* fds; -1: the object has none such */
	int cgroup;
	int lock; /* the directory of links, locked: the maps have one writer */
	bool attached, no_xdp;
	bool udp_left, udp_said;   /* UDP backends left since the last commit; that their sockets cannot be destroyed */
	struct marray sets, slots, backends, stats, loads;
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
	/* The node as it was last said. */
	struct elink *links;
	size_t link_count;
	struct ip_addr *node_addrs;
	size_t node_addr_count;
	struct abi_peer_node_key *peers; /* as written, sorted; NULL: unknown */
	size_t peer_count;
	struct ip_ranges cluster_cidr;
	struct found_range *found_ranges; /* sorted; freed when synced */
	size_t found_range_count;
	struct abi_range_key *stale_ranges; /* to be removed after the commit */
	size_t stale_range_count, stale_range_cap;
	uint64_t full_errors;
};

/* load.c */
int ebpf_load(struct ebpf *e, const struct engine_options *o, struct err *err);
void ebpf_libbpf_quiet(void); /* its complaints are kept for our own error messages */
bool ebpf_is_bpffs(const char *path);
/* hooks.c */
const char *ebpf_hook_name(size_t i); /* of EBPF_HOOKS; program and pin */
int ebpf_open_cgroup(const char *path, struct err *err);
int ebpf_attach_hooks(struct ebpf *e, struct err *err);
/* Puts a new link in the place of an old pin in one step, so that the path always names a live link. */
int ebpf_link_pin(int fd, const char *path, struct err *err);
/* cleanup.c */
void ebpf_remove_tree(const char *dir); /* of pins and directories; missing is fine */
/* state.c */
int ebpf_adopt(struct ebpf *e, struct err *err);
int ebpf_port_set(struct engine *engine, const struct model_port *port, struct err *err);
void ebpf_port_gone(struct engine *engine, uint32_t id);
int ebpf_commit(struct engine *engine, struct err *err);
void ebpf_synced(struct engine *engine);
/* The flags of ranged frontends follow the node's addresses. */
void ebpf_ports_reflag(struct ebpf *e);
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
/* ranges.c */
void ebpf_ranges_adopt(struct ebpf *e);
/* Writes what p->ranges has and `old` (may be NULL) had not; what only old had goes with the next commit. What the kernel
 * does not take leaves p->ranges: clients there are shut out. */
int ebpf_ranges_update(struct ebpf *e, struct eport *p, const struct eport *old, struct err *err);
void ebpf_ranges_drop(struct ebpf *e, const struct eport *p); /* all of them, with the next commit */
void ebpf_ranges_commit(struct ebpf *e);
void ebpf_ranges_synced(struct ebpf *e);
/* The ABI_FRONTEND_* that say what p->ranges mean for sockets. */
uint8_t ebpf_ranges_flags(const struct ebpf *e, const struct eport *p);
/* node.c */
int ebpf_node_set(struct engine *engine, const struct engine_node *node, struct err *err);
/* attach.c */
void ebpf_links_set(struct ebpf *e, const struct engine_link *links, size_t count);
int ebpf_links_attach(struct ebpf *e, struct err *err); /* programs on every link known; heals */
void ebpf_links_sweep(struct ebpf *e);                  /* removes an earlier daemon's from all other interfaces */
bool ebpf_link_known(const struct ebpf *e, unsigned ifindex);
int ebpf_tc_detach_all(struct err *err);
/* xdp.c */
void ebpf_xdp_attach(struct ebpf *e, struct elink *l); /* or detaches, where it is not wanted */
void ebpf_xdp_detach(struct ebpf *e, unsigned ifindex);
void ebpf_xdp_sweep(struct ebpf *e); /* removes an earlier daemon's from links that are not known */
/* metrics.c */
void ebpf_metrics(struct engine *engine, struct strbuf *out);
void ebpf_services(struct engine *engine, struct strbuf *out);

#endif
