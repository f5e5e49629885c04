/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A new flow gets its backend and, where answers must come back through this node, an address and port of ours. Ports are
 * tried in this order: the client's own, a random one, its neighbours; never one that a live flow has with this backend.
 */
#ifndef KEELSON_BPF_LIB_PLACE_H
#define KEELSON_BPF_LIB_PLACE_H

#include "bpf/lib/flow.h"

/* Ports tried: the client's own, random ones, then a run. */
#define PLACE_PORTS_RANDOM 16
#define PLACE_PORTS 144
/* What a client gets whose own port already talks to the backend, by another frontend. */
#define PLACE_PORT_MIN 1024
#define PLACE_PORT_SPAN (65536 - PLACE_PORT_MIN)

static __always_inline int in_pod_range(const struct abi_config *c, const __u32 *addr)
{
	int family = !addr_is_v4(addr);
	return in_range(c->pod_net[family], c->pod_mask[family], addr);
}

static long place_try_port(__u32 i, void *unused)
{
	struct work *w = work_get();
	if (!w)
		return 1;
	struct place *s = &w->place;
	if (i == 0) {
		__u16 own = bpf_ntohs(w->key.client_port);
		if (own < s->min || own - s->min >= s->span)
			return 0;
		s->at = own - s->min;
	} else if (i < PLACE_PORTS_RANDOM) {
		s->at = ((__u64)bpf_get_prandom_u32() * s->span) >> 32;
	} else {
		s->at = s->at + 1 < s->span ? s->at + 1 : 0;
	}
	s->key.client_port = bpf_htons(s->min + s->at);
	s->result = flow_claim_reply(&w->key, &s->key, &s->reply);
	return s->result != FLOW_TAKEN;
}

/* Whether the backend must see an address of ours: else its answer would not come back here. */
static __always_inline int place_needs_snat(const struct abi_config *c, const struct work *w, const struct abi_backend *b)
{
	int local = b->flags & ABI_BACKEND_LOCAL;
	/* Between two pods of the bridge nothing passes here; a pod's own address is right everywhere else. */
	return w->inside ? local && in_pod_range(c, b->addr) : !local;
}

/* Whether the backend's node is to answer by itself. Clients inside the cluster are reached through here: the backend may be on
 * the client's own node, which takes no packets from its own addresses. */
static __always_inline int place_by_dsr(const struct abi_config *c, const struct work *w)
{
	return w->frontend.flags & ABI_FRONTEND_DSR && !w->inside && !in_pod_range(c, w->key.client) && !is_peer_node(w->key.client);
}

/* The address that the backend is to see, and its ports; 0 when the node has none. */
static __always_inline int place_snat(struct work *w, const struct abi_config *c)
{
	int pod = in_pod_range(c, w->flow.backend), family = !w->p.v4;
	__u16 min = pod ? c->snat_pod_min : c->snat_node_min, max = pod ? c->snat_pod_max : c->snat_node_max;
	addr_copy(w->flow.snat, pod ? c->snat_pod[family] : c->snat_node[family]);
	w->flow.flags |= ABI_FLOW_SNAT;
	w->place.min = min;
	w->place.span = max - min + 1;
	return (w->flow.snat[0] | w->flow.snat[1] | w->flow.snat[3]) != 0 && min != 0 && max >= min;
}

static __always_inline int place_no_room(void)
{
	*(volatile __u64 *)&flows_full_ns = bpf_ktime_get_coarse_ns();
	return ABI_TC_DROP_FLOWS_FULL;
}

/* Fills work.flow for the backend chosen and claims its answers; a reason. */
__noinline int place_at(void)
{
	struct work *w = work_get();
	const struct abi_config *c = config_get();
	if (!w || !c)
		return ABI_TC_PASSED;
	const struct select_result *r = &w->chosen;
	const struct abi_backend *b = &r->backend;
	struct abi_flow *f = &w->flow;
	struct place *s = &w->place;
	__builtin_memset(f, 0, sizeof(*f));
	s->min = bpf_ntohs(w->key.client_port);
	s->span = 1;
	addr_copy(f->backend, b->addr);
	f->backend_port = b->port;
	f->backend_id = w->backend_id = r->id;
	f->generation = b->generation;
	f->set_id = w->set_id;
	f->flags = (w->inside ? ABI_FLOW_INSIDE : 0) | (r->loaded ? ABI_FLOW_LOADED : 0) | (w->fast ? ABI_FLOW_FAST : 0);
	if (addr_is_v4(b->addr) != w->p.v4)
		return ABI_TC_DROP_NO_BACKEND_ADDRESS;
	if (w->unwrapped)
		f->flags |= ABI_FLOW_DSR_IN;
	if (place_needs_snat(c, w, b) && place_by_dsr(c, w)) {
		f->flags |= ABI_FLOW_DSR_OUT; /* its answers do not come by: nothing to claim */
		return ABI_TC_TRANSLATED;
	}
	if (place_needs_snat(c, w, b) && !place_snat(w, c))
		return ABI_TC_DROP_NO_SNAT_ADDRESS;
	flow_reply_key(&s->key, &w->key, f);
	addr_copy(s->reply.addr, w->key.addr);
	addr_copy(s->reply.client, w->key.client);
	s->reply.port = w->key.port;
	s->reply.client_port = w->key.client_port;
	s->reply.flags = f->flags;
	s->result = FLOW_TAKEN;
	bpf_loop(f->flags & ABI_FLOW_SNAT ? PLACE_PORTS : 1, place_try_port, 0, 0);
	if (s->result == FLOW_TAKEN && !(f->flags & ABI_FLOW_SNAT)) {
		s->min = PLACE_PORT_MIN;
		s->span = PLACE_PORT_SPAN;
		f->flags |= ABI_FLOW_PORT;
		s->reply.flags = f->flags;
		bpf_loop(PLACE_PORTS, place_try_port, 0, 0);
	}
	if (f->flags & (ABI_FLOW_SNAT | ABI_FLOW_PORT))
		f->snat_port = s->key.client_port;
	if (s->result == FLOW_CLAIMED)
		return ABI_TC_TRANSLATED;
	if (s->result == FLOW_NO_ROOM)
		return place_no_room();
	return f->flags & ABI_FLOW_SNAT ? ABI_TC_DROP_SNAT_EXHAUSTED : ABI_TC_DROP_FLOW_COLLISION;
}

/* The flow itself; its answers are claimed. */
static __always_inline int place_insert(struct work *w)
{
	struct abi_flow *f = &w->flow;
	f->last_ns = bpf_ktime_get_coarse_ns();
	f->state = packet_is_first(&w->p) ? ABI_FLOW_FIRST : 0;
	int e = bpf_map_update_elem(&flows, &w->key, f, BPF_NOEXIST);
	if (e == 0) {
		flow_sweeper_arm();
		stats_connection(w->set_id);
		if (f->flags & ABI_FLOW_LOADED)
			load_add(f->backend_id);
		return ABI_TC_TRANSLATED;
	}
	struct abi_flow *twin = bpf_map_lookup_elem(&flows, &w->key);
	/* Another CPU may have been first with this very packet's twin: then its choice stands. */
	if (!(f->flags & ABI_FLOW_DSR_OUT) && (!twin || !addr_same(twin->backend, f->backend) ||
					       twin->backend_port != f->backend_port || twin->snat_port != f->snat_port))
		bpf_map_delete_elem(&flow_replies, &w->place.key);
	if (!twin)
		return place_no_room();
	*f = *twin;
	return ABI_TC_TRANSLATED;
}

/* Is the slot's backend the one that the outer packet names? */
static __always_inline int place_is_named(struct work *w, __u64 slot)
{
	struct select_result *r = &w->chosen;
	return backend_get(ABI_SLOT_BACKEND(slot), ABI_SLOT_GENERATION(slot), &r->backend) &&
	       r->backend.set_id == w->set_id && r->backend.flags & ABI_BACKEND_LOCAL &&
	       addr_same(r->backend.addr, w->outer.daddr);
}

static long place_look(__u32 i, __u64 *set)
{
	struct work *w = work_get();
	__u32 at = ABI_SET_BASE(*set) + i;
	__u64 *slot = bpf_map_lookup_elem(&slots, &at);
	if (!w || !slot || !place_is_named(w, *(volatile __u64 *)slot))
		return 0;
	w->chosen.id = ABI_SLOT_BACKEND(*slot);
	return 1;
}

/* The backend whose address the outer packet goes to, into work.chosen. Where slots are chosen by hash it is likely the same
 * here as where the packet was sent. An enum select_verdict. */
__noinline int place_named(void)
{
	struct work *w = work_get();
	if (!w)
		return SELECT_NONE;
	__u64 set = set_word(w->set_id);
	w->chosen.id = 0;
	w->chosen.loaded = !!(ABI_SET_FLAGS(set) & ABI_SET_LEAST);
	if (ABI_SET_FLAGS(set) & ABI_SET_HASH) {
		__u64 slot = slot_at(set, abi_hash_flow(&w->key));
		if (place_is_named(w, slot)) {
			w->chosen.id = ABI_SLOT_BACKEND(slot);
			return SELECT_OK;
		}
	}
	bpf_loop(ABI_SET_COUNT(set), place_look, &set, 0);
	return w->chosen.id ? SELECT_OK : SELECT_NONE;
}

/* Chooses a backend for a flow that is not known: work.frontend and work.key say what was asked. ABI_TC_TRANSLATED, or why
 * there is none. */
__noinline int place_choose(void)
{
	struct work *w = work_get();
	if (!w)
		return ABI_TC_PASSED;
	if (w->unwrapped && place_named() != SELECT_OK)
		return ABI_TC_DROP_ENCAP;
	int verdict = w->unwrapped ? SELECT_OK :
				     select_backend(&w->frontend, &w->key, ABI_CLIENT_ADDR, &w->chosen);
	if (verdict == SELECT_DROP)
		return ABI_TC_DROP_LOCAL_POLICY;
	if (verdict == SELECT_OVERTAKEN) /* the client sends again */
		return ABI_SOCK_OVERTAKEN;
	return verdict == SELECT_OK ? ABI_TC_TRANSLATED : ABI_TC_REFUSED_NO_ENDPOINTS;
}

/* Makes the flow to the backend chosen: work.flow. ABI_TC_TRANSLATED, or why not. */
__noinline int place_flow(void)
{
	struct work *w = work_get();
	if (!w)
		return ABI_TC_PASSED;
	int reason = place_at();
	return reason == ABI_TC_TRANSLATED ? place_insert(w) : reason;
}

#endif
