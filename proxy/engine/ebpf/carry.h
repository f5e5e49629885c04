/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking over from maps of another ABI version or of other sizes. PIN_DIR/v<ABI>/ is where a daemon's maps are; when what
 * is there does not fit, new maps are filled in PIN_DIR/next/ while the old ones go on, and take their place when their
 * programs do. Ids of sets and backends stay what they were, so flows and affinity keep their meaning on the way.
 */
#ifndef KEELSON_PROXY_ENGINE_EBPF_CARRY_H
#define KEELSON_PROXY_ENGINE_EBPF_CARRY_H

#include "proxy/engine/ebpf/layout.h"

struct ebpf;
struct bpf_object;
struct err;

struct carry_map {
	int fd; /* -1: not there, or shared with ours: nothing to carry */
	uint32_t key_bytes, value_bytes, max_entries;
	struct layout key, value;
};
/* Chooses where e's maps are to be (e->map_dir) and what they come from (e->carry, NULL: nothing). Sets pin paths and sizes
 * of obj, which is open and not loaded; maps whose layout and size stay are shared by both. */
int carry_choose(struct ebpf *e, struct bpf_object *obj, struct err *err);
/* Frontends, sets, slots, backends, statistics: into the new maps, before they are adopted. */
int carry_state(struct ebpf *e, struct err *err);
/* Flows, affinity, peers: adds what is not there yet. */
void carry_flows(struct ebpf *e);
bool carry_pending(const struct ebpf *e); /* are there flows that new maps do not share? */
/* The new maps take the place of the old. */
int carry_rename(struct ebpf *e, struct err *err);
/* Removes the maps of other versions. */
void carry_retire(struct ebpf *e);
struct carry *carry_free(struct carry *c);

#endif
