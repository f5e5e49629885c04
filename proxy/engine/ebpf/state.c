/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports and frontends. A port's sets are complete before a frontend names them; frontends are gathered and written in one
 * batch at the commit, those that go are removed after it. What an earlier daemon left is taken over set by set: a port
 * whose frontend is found in the kernel goes on with the set it had, so its backends keep their generations and flows.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/engine/ebpf/internal.h"
#include "proxy/engine/ebpf/stale.h"

static struct eport *port_get(const struct ebpf *e, uint32_t id)
{
	char key[12];
	snprintf(key, sizeof(key), "%u", id);
	return map_get(e->ports, key);
}

static void port_put(struct ebpf *e, struct eport *p)
{
	char key[12];
	snprintf(key, sizeof(key), "%u", p->id);
	map_set(e->ports, key, p);
}

static int key_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct abi_frontend_key));
}

static struct found *found_get(const struct ebpf *e, const struct abi_frontend_key *key)
{
	return e->found_count ? bsearch(key, e->found, e->found_count, sizeof(*e->found), key_cmp) : NULL;
}

/* p->ranges must be what the port has. */
static void frontend_of(const struct ebpf *e, const struct eport *p, const struct model_port *port,
			const struct model_frontend *f, struct efrontend *ret)
{
	*ret = (struct efrontend){ .inside = f->inside, .outside = f->outside };
	struct ip_addr a = f->addr;
	if (!a.family)
		a.family = port->family;
	ebpf_addr(&a, ret->key.addr);
	ret->key.port = htons(f->port);
	ret->key.proto = f->proto;
	if (f->kind == MODEL_OWNED) {
		ret->key.scope = ABI_SCOPE_OWNED;
		ret->owned = 1;
		return;
	}
	ret->key.scope = f->kind == MODEL_NODE_PORT ? ABI_SCOPE_NODE_PORT : ABI_SCOPE_ADDRESS;
	ret->ranged = f->ranged;
	ret->flags = ABI_FRONTEND_EXTERNAL | (f->kind == MODEL_CLUSTER_IP ? ABI_FRONTEND_CLUSTER : 0) |
		     (port->dsr ? ABI_FRONTEND_DSR : 0) | (f->ranged ? ebpf_ranges_flags(e, p) : 0);
}

static void queue_up(struct ebpf *e, const struct efrontend *f, const struct eport *p)
{
	MEM_GROW(e->up_keys, e->up_key_cap, e->up_count + 1);
	MEM_GROW(e->up_values, e->up_value_cap, e->up_count + 1);
	e->up_keys[e->up_count] = f->key;
	e->up_values[e->up_count++] = (struct abi_frontend){
		.set_id = p->sets[f->inside],
		.outside_set_id = p->sets[f->outside],
		.affinity_s = p->affinity_s,
		.check_addr = f->key.addr[3],
		.check_port = f->key.port,
		.check_proto = f->key.proto,
		.flags = f->flags,
	};
}

static void queue_down(struct ebpf *e, const struct abi_frontend_key *key, uint32_t set_id)
{
	MEM_GROW(e->down, e->down_cap, e->down_count + 1);
	e->down[e->down_count].key = *key;
	e->down[e->down_count++].set_id = set_id;
}

/* A set for the port: the one its frontends had in the kernel, or a new one. */
static uint32_t set_for(struct ebpf *e, const struct eport *p, enum model_set which)
{
	for (size_t i = 0; i < p->frontend_count; i++) {
		const struct efrontend *f = &p->frontends[i];
		struct found *old = f->owned && p->frontend_count > 1 ? NULL : found_get(e, &f->key);
		if (!old || old->claimed)
			continue;
		uint32_t ids[2] = { f->inside == which ? old->set_id : 0, f->outside == which ? old->outside_set_id : 0 };
		for (size_t k = 0; k < 2; k++) {
			if (!ids[k] || !ebpf_eset(e, ids[k])->adopted)
				continue;
			ebpf_eset(e, ids[k])->adopted = false;
			return ids[k];
		}
	}
	return ebpf_set_new(e);
}

static int sets_update(struct ebpf *e, struct eport *p, const struct model_port *port, struct err *err)
{
	for (int w = 0; w < MODEL_SET_MAX; w++) {
		bool needed = w == MODEL_SET_ALL || port->uses_local;
		if (!needed)
			continue;
		if (!p->sets[w])
			p->sets[w] = set_for(e, p, w);
		if (p->sets[w] == POOL_NONE) {
			p->sets[w] = 0;
			e->full_errors++;
			return err_set(err, ENOSPC, "no room for %s/%s: the kernel maps hold at most %u Service ports", port->ns,
				       port->service, e->max_entries[EBPF_SETS]);
		}
		int r = ebpf_set_update(e, p->sets[w], port, w, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool frontend_same(const struct efrontend *a, const struct efrontend *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void port_free(void *v)
{
	struct eport *p = v;
	if (!p)
		return;
	free(p->ranges);
	free(p->name);
	free(p);
}

static struct eport *port_new(const struct model_port *port, struct eport *old)
{
	struct eport *p = mem_zalloc(sizeof(*p) + port->frontend_count * sizeof(p->frontends[0]));
	p->id = port->id;
	p->family = port->family;
	p->proto = port->proto;
	p->affinity_s = port->affinity_s;
	p->frontend_count = (uint16_t)port->frontend_count;
	p->range_count = (uint32_t)port->range_count;
	p->ranges = p->range_count ? mem_dup(port->ranges, p->range_count * sizeof(*p->ranges)) : NULL;
	if (old)
		memcpy(p->sets, old->sets, sizeof(p->sets));
	p->name = old ? TAKE(old->name) : str_printf("%s/%s:%s", port->ns, port->service, port->name);
	return p;
}

/* Gathers the frontends that are new or say something else, and those that are no more. */
static void frontends_update(struct ebpf *e, const struct eport *p, const struct eport *old)
{
	bool moved = !old || old->affinity_s != p->affinity_s || memcmp(old->sets, p->sets, sizeof(p->sets)) != 0;
	for (size_t i = 0; i < p->frontend_count; i++) {
		bool same = false;
		for (size_t k = 0; !moved && !same && k < old->frontend_count; k++)
			same = frontend_same(&p->frontends[i], &old->frontends[k]);
		if (!same)
			queue_up(e, &p->frontends[i], p);
		struct found *f = found_get(e, &p->frontends[i].key);
		if (f)
			f->claimed = true;
	}
	for (size_t k = 0; old && k < old->frontend_count; k++) {
		bool kept = false;
		for (size_t i = 0; !kept && i < p->frontend_count; i++)
			kept = key_cmp(&p->frontends[i].key, &old->frontends[k].key) == 0;
		if (!kept)
			queue_down(e, &old->frontends[k].key, old->sets[old->frontends[k].inside]);
	}
}

int ebpf_port_set(struct engine *engine, const struct model_port *port, struct err *err)
{
	struct ebpf *e = CONTAINER_OF(engine, struct ebpf, engine);
	struct eport *old = port_get(e, port->id), *p = port_new(port, old);
	for (size_t i = 0; i < port->frontend_count; i++)
		frontend_of(e, p, port, &port->frontends[i], &p->frontends[i]);
	int r = sets_update(e, p, port, err);
	/* Without a set of its own a port must not have frontends; one whose update failed keeps what it had. */
	if (!p->sets[MODEL_SET_ALL] || (port->uses_local && !p->sets[MODEL_SET_LOCAL]))
		p->frontend_count = 0;
	if (!p->sets[MODEL_SET_ALL])
		p->range_count = 0; /* nothing to write them under */
	int q = ebpf_ranges_update(e, p, old, err);
	if (q < 0)
		e->full_errors++;
	frontends_update(e, p, old);
	if (p->sets[MODEL_SET_LOCAL] && !port->uses_local && r == 0) {
		ebpf_set_drop(e, p->sets[MODEL_SET_LOCAL]);
		p->sets[MODEL_SET_LOCAL] = 0;
	}
	port_put(e, p);
	return r < 0 ? r : q;
}

void ebpf_ports_reflag(struct ebpf *e)
{
	size_t it = 0;
	void *value;
	while (map_next(e->ports, &it, NULL, &value)) {
		struct eport *p = value;
		uint8_t flags = p->range_count ? ebpf_ranges_flags(e, p) : 0;
		for (size_t i = 0; flags && i < p->frontend_count; i++) {
			struct efrontend *f = &p->frontends[i];
			uint8_t now = (uint8_t)((f->flags & ~ABI_FRONTEND_DENY_NODE) | (flags & ABI_FRONTEND_DENY_NODE));
			if (!f->ranged || f->flags == now)
				continue;
			f->flags = now;
			queue_up(e, f, p);
		}
	}
	if (e->up_count)
		ebpf_commit(&e->engine, NULL);
}

void ebpf_port_gone(struct engine *engine, uint32_t id)
{
	struct ebpf *e = CONTAINER_OF(engine, struct ebpf, engine);
	struct eport *p = port_get(e, id);
	char key[12];
	if (!p)
		return;
	for (size_t i = 0; i < p->frontend_count; i++)
		queue_down(e, &p->frontends[i].key, p->sets[p->frontends[i].inside]);
	ebpf_ranges_drop(e, p);
	for (int w = 0; w < MODEL_SET_MAX; w++)
		if (p->sets[w])
			ebpf_set_drop(e, p->sets[w]);
	snprintf(key, sizeof(key), "%u", id);
	map_del(e->ports, key);
}

/* What the kernel does not take stays gathered and is tried again with the next commit. */
static int write_frontends(struct ebpf *e, struct err *err)
{
	size_t done = 0;
	unsigned tries = 0;
	int code = 0;
	while (done < e->up_count) {
		uint32_t n = (uint32_t)MIN(e->up_count - done, (size_t)4096);
		DECLARE_LIBBPF_OPTS(bpf_map_batch_opts, opts, .elem_flags = BPF_ANY);
		int r = bpf_map_update_batch(e->maps[EBPF_FRONTENDS], e->up_keys + done, e->up_values + done, &n, &opts);
		code = r < 0 ? errno : 0;
		done += n;
		/* The kernel refills its element cache from an interrupt: running dry in a burst is passing. */
		if (code == ENOMEM && tries++ < 1000)
			usleep(200);
		else if (code)
			break;
	}
	e->up_count -= done;
	if (!e->up_count)
		return 0;
	memmove(e->up_keys, e->up_keys + done, e->up_count * sizeof(*e->up_keys));
	memmove(e->up_values, e->up_values + done, e->up_count * sizeof(*e->up_values));
	e->full_errors++;
	return err_set(err, code, "the kernel takes no more frontends (it holds at most %u): %s", e->max_entries[EBPF_FRONTENDS],
		       strerror(code));
}

/* Connected UDP sockets of backends that left: only a walk over the sockets finds them. */
static void end_stale_sockets(struct ebpf *e)
{
	_cleanup_err_ struct err err = { 0 };
	size_t n = 0;
	if (!e->udp_left || !e->attached || e->programs[EBPF_STALE_SOCKETS] < 0)
		return;
	e->udp_left = false;
	int r = stale_sockets_destroy(e->programs[EBPF_STALE_SOCKETS], e->maps[EBPF_SOCKS], &n, &err);
	if (r < 0 && !e->udp_said) {
		log_warn("connected UDP sockets may go on sending to endpoints that left why=%s", err_msg(&err));
		e->udp_said = true;
	}
}

int ebpf_commit(struct engine *engine, struct err *err)
{
	struct ebpf *e = CONTAINER_OF(engine, struct ebpf, engine);
	int r = write_frontends(e, err);
	for (size_t i = 0; i < e->down_count; i++) {
		struct abi_frontend v;
		/* One that never got in must not come in later. */
		for (size_t k = 0; k < e->up_count; k++)
			if (key_cmp(&e->up_keys[k], &e->down[i].key) == 0 && e->up_values[k].set_id == e->down[i].set_id) {
				e->up_keys[k] = e->up_keys[--e->up_count];
				e->up_values[k--] = e->up_values[e->up_count];
			}
		/* Another port may have taken the frontend over. */
		if (bpf_map_lookup_elem(e->maps[EBPF_FRONTENDS], &e->down[i].key, &v) == 0 && v.set_id == e->down[i].set_id)
			bpf_map_delete_elem(e->maps[EBPF_FRONTENDS], &e->down[i].key);
	}
	ebpf_ranges_commit(e);
	ebpf_sets_free_dropped(e);
	end_stale_sockets(e);
	e->down_count = 0;
	if (!e->up_count && e->up_key_cap > 1024) { /* the first bulk is not a measure for what follows */
		free(e->up_keys);
		free(e->up_values);
		e->up_keys = NULL;
		e->up_values = NULL;
		e->up_key_cap = e->up_value_cap = 0;
	}
	return r;
}

static int run_cmp(const void *a, const void *b)
{
	uint32_t x = ((const uint32_t *)a)[0], y = ((const uint32_t *)b)[0];
	return x < y ? -1 : x > y;
}

static struct ebpf *sort_engine; /* qsort has no argument; the loop is one thread */
static int backend_cmp(const void *a, const void *b)
{
	const struct abi_backend *x = marray_at(&sort_engine->backends, *(const uint32_t *)a);
	const struct abi_backend *y = marray_at(&sort_engine->backends, *(const uint32_t *)b);
	int c = memcmp(x->addr, y->addr, sizeof(x->addr));
	return c ? c : (int)ntohs(x->port) - (int)ntohs(y->port);
}

static void adopt_frontends(struct ebpf *e)
{
	size_t cap = 0;
	uint32_t token = 0, *in = NULL;
	enum { BATCH = 4096 };
	_cleanup_free_ struct abi_frontend_key *keys = mem_new_n(struct abi_frontend_key, BATCH);
	_cleanup_free_ struct abi_frontend *values = mem_new_n(struct abi_frontend, BATCH);
	for (bool more = true; more;) {
		uint32_t n = BATCH;
		DECLARE_LIBBPF_OPTS(bpf_map_batch_opts, opts);
		int r = bpf_map_lookup_batch(e->maps[EBPF_FRONTENDS], in, &token, keys, values, &n, &opts);
		if (r < 0 && errno != ENOENT)
			break;
		more = r == 0;
		in = &token;
		MEM_GROW(e->found, cap, e->found_count + n);
		for (uint32_t i = 0; i < n; i++)
			e->found[e->found_count++] = (struct found){ keys[i], values[i].set_id, values[i].outside_set_id, false };
	}
	if (e->found_count)
		qsort(e->found, e->found_count, sizeof(*e->found), key_cmp);
}

/* Finds what the kernel has: sets named by frontends, their slots, and the backends that say they belong to them. */
int ebpf_adopt(struct ebpf *e, struct err *err)
{
	adopt_frontends(e);
	uint32_t highest = 0;
	for (size_t i = 0; i < e->found_count; i++)
		for (int k = 0; k < 2; k++) {
			uint32_t id = k ? e->found[i].outside_set_id : e->found[i].set_id;
			if (id == 0 || id >= e->max_entries[EBPF_SETS])
				continue;
			struct eset *s = ebpf_eset(e, id);
			s->used = s->adopted = true;
			highest = MAX(highest, id);
		}
	idpool_init(&e->set_ids, highest + 1, e->max_entries[EBPF_SETS]);
	_cleanup_free_ uint32_t(*runs)[3] = mem_calloc(highest + 1, sizeof(*runs));
	size_t run_count = 0;
	for (uint32_t id = 1; id <= highest; id++) {
		struct eset *s = ebpf_eset(e, id);
		uint64_t *word = marray_at(&e->sets, id);
		if (!word)
			return err_set(err, errno, "mapping the set table: %s", strerror(errno));
		if (!s->used) {
			*word = 0;
			idpool_put(&e->set_ids, id);
			continue;
		}
		s->base = ABI_SET_BASE(*word);
		s->slot_count = ABI_SET_COUNT(*word);
		if (s->slot_count) {
			runs[run_count][0] = s->base;
			runs[run_count][1] = s->slot_count;
			runs[run_count++][2] = id;
		}
	}
	qsort(runs, run_count, sizeof(*runs), run_cmp);
	runpool_init(&e->runs, e->max_entries[EBPF_SLOTS]);
	for (size_t i = 0; i < run_count; i++)
		if (!runpool_take(&e->runs, runs[i][0], runs[i][1])) {
			/* Not what we wrote: the set starts empty rather than share slots. */
			struct eset *s = ebpf_eset(e, runs[i][2]);
			*(uint64_t *)marray_at(&e->sets, runs[i][2]) = 0;
			s->base = s->slot_count = 0;
		}

	uint32_t high = MIN(e->config->backend_high, e->max_entries[EBPF_BACKENDS]);
	idpool_init(&e->backend_ids, MAX(high, 1u), e->max_entries[EBPF_BACKENDS]);
	for (uint32_t id = 1; id < high; id++) {
		struct abi_backend *b = marray_at(&e->backends, id);
		if (!b)
			return err_set(err, errno, "mapping the backend table: %s", strerror(errno));
		struct eset *s = b->generation && b->set_id && b->set_id <= highest ? ebpf_eset(e, b->set_id) : NULL;
		if (!s || !s->used) {
			b->generation = 0;
			idpool_put(&e->backend_ids, id);
			continue;
		}
		s->ids = mem_realloc(s->ids, (s->count + 1) * sizeof(*s->ids));
		s->ids[s->count++] = id;
	}
	sort_engine = e;
	for (uint32_t id = 1; id <= highest; id++)
		if (e->esets[id].count > 1)
			qsort(e->esets[id].ids, e->esets[id].count, sizeof(uint32_t), backend_cmp);
	ebpf_ranges_adopt(e);
	return 0;
}

/* Everything that should be there was given: what nobody claimed goes. */
void ebpf_synced(struct engine *engine)
{
	struct ebpf *e = CONTAINER_OF(engine, struct ebpf, engine);
	for (size_t i = 0; i < e->found_count; i++)
		if (!e->found[i].claimed)
			bpf_map_delete_elem(e->maps[EBPF_FRONTENDS], &e->found[i].key);
	for (uint32_t id = 1; id < e->eset_cap; id++)
		if (e->esets[id].used && e->esets[id].adopted)
			ebpf_set_drop(e, id);
	free(e->found);
	e->found = NULL;
	e->found_count = 0;
	ebpf_commit(engine, NULL);
	ebpf_ranges_synced(e);
}

void ebpf_state_done(struct ebpf *e)
{
	map_free(e->ports);
	for (size_t i = 0; i < e->eset_cap; i++)
		free(e->esets[i].ids);
	free(e->esets);
	free(e->found);
	free(e->found_ranges);
	free(e->stale_ranges);
	free(e->up_keys);
	free(e->up_values);
	free(e->down);
	free(e->dropped);
	idpool_done(&e->set_ids);
	idpool_done(&e->backend_ids);
	runpool_done(&e->runs);
}

/* The map of ports owns its values. */
struct map *ebpf_ports_new(void)
{
	return map_new(port_free);
}
