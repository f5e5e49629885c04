/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sets of backends in the mapped maps. The order of the stores is what makes a change atomic for packets:
 *   1. new backends are written, their generation last;
 *   2. a fresh run of slots is written;
 *   3. one 64-bit store into the set's word switches to it;
 *   4. backends that left get generation 0, and their places and the old run rest before they are used again.
 * A daemon killed anywhere in between leaves the old set or the new one, and at most places that the next daemon
 * finds unreferenced.
 */
#include <errno.h>
#include <sys/mman.h>

#include "proxy/engine/ebpf/internal.h"
#include "proxy/engine/ebpf/slots.h"

int marray_init(struct marray *a, int fd, uint32_t elem_bytes, uint32_t max)
{
	elem_bytes = (elem_bytes + 7) & ~7u; /* the kernel rounds up */
	*a = (struct marray){ .fd = fd, .elem_bytes = elem_bytes, .max = max };
	a->window_count = ((size_t)max * elem_bytes + MARRAY_WINDOW_BYTES - 1) / MARRAY_WINDOW_BYTES;
	a->windows = mem_new_n(void *, a->window_count);
	return MARRAY_WINDOW_BYTES % elem_bytes ? -EINVAL : 0;
}

static size_t window_bytes(const struct marray *a, size_t w)
{
	size_t total = ((size_t)a->max * a->elem_bytes + 4095) & ~(size_t)4095;
	return MIN((size_t)MARRAY_WINDOW_BYTES, total - w * MARRAY_WINDOW_BYTES);
}

void marray_done(struct marray *a)
{
	for (size_t i = 0; i < a->window_count; i++)
		if (a->windows[i])
			munmap(a->windows[i], window_bytes(a, i));
	free(a->windows);
	*a = (struct marray){ 0 };
}

void *marray_at(struct marray *a, uint32_t i)
{
	if (i >= a->max)
		return NULL;
	size_t offset = (size_t)i * a->elem_bytes, w = offset / MARRAY_WINDOW_BYTES;
	if (!a->windows[w]) {
		void *p = mmap(NULL, window_bytes(a, w), PROT_READ | PROT_WRITE, MAP_SHARED, a->fd,
			       (off_t)(w * MARRAY_WINDOW_BYTES));
		if (p == MAP_FAILED)
			return NULL;
		a->windows[w] = p;
	}
	return (char *)a->windows[w] + offset % MARRAY_WINDOW_BYTES;
}

void ebpf_addr(const struct ip_addr *a, uint32_t out[4])
{
	if (a->family == AF_INET6) {
		memcpy(out, a->bytes, 16);
		return;
	}
	out[0] = out[1] = 0;
	out[2] = htonl(0xffff);
	memcpy(&out[3], a->bytes, 4);
}

struct eset *ebpf_eset(struct ebpf *e, uint32_t set_id)
{
	size_t old = e->eset_cap;
	MEM_GROW(e->esets, e->eset_cap, set_id + 1);
	if (e->eset_cap > old)
		memset(e->esets + old, 0, (e->eset_cap - old) * sizeof(*e->esets));
	return &e->esets[set_id];
}

static void word_store(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

uint32_t ebpf_set_new(struct ebpf *e)
{
	uint32_t id = idpool_get(&e->set_ids);
	if (id == POOL_NONE)
		return id;
	uint64_t *word = marray_at(&e->sets, id);
	struct abi_stats *st = marray_at(&e->stats, id);
	if (!word || !st) {
		idpool_put(&e->set_ids, id);
		return POOL_NONE;
	}
	word_store(word, 0);
	*st = (struct abi_stats){ 0 };
	*ebpf_eset(e, id) = (struct eset){ .used = true };
	return id;
}

static uint32_t backend_new(struct ebpf *e, uint32_t set_id, const uint32_t addr[4], uint16_t port_be, uint8_t proto,
			    uint8_t flags)
{
	uint32_t id = idpool_get(&e->backend_ids);
	if (id == POOL_NONE)
		return id;
	struct abi_backend *b = marray_at(&e->backends, id);
	uint32_t *load = marray_at(&e->loads, id);
	if (!b || !load) {
		idpool_put(&e->backend_ids, id);
		return POOL_NONE;
	}
	if (id >= e->config->backend_high)
		__atomic_store_n(&e->config->backend_high, id + 1, __ATOMIC_RELEASE);
	if (++e->config->generation == 0)
		e->config->generation = 1;
	__atomic_store_n(&b->generation, 0, __ATOMIC_SEQ_CST);
	memcpy(b->addr, addr, sizeof(b->addr));
	b->port = port_be;
	b->proto = proto;
	b->flags = flags;
	b->set_id = set_id;
	b->pad = 0;
	*load = 0;
	__atomic_store_n(&b->generation, e->config->generation, __ATOMIC_RELEASE);
	return id;
}

static void backend_free(struct ebpf *e, uint32_t id)
{
	struct abi_backend *b = marray_at(&e->backends, id);
	if (b) {
		__atomic_store_n(&b->generation, 0, __ATOMIC_RELEASE);
		e->udp_left |= b->proto == IPPROTO_UDP;
	}
	idpool_put(&e->backend_ids, id);
}

static int addr_cmp(const uint32_t a[4], uint16_t a_port, const uint32_t b[4], uint16_t b_port)
{
	int c = memcmp(a, b, 16);
	return c ? c : (int)ntohs(a_port) - (int)ntohs(b_port);
}

/* Does the backend get new connections in this set? */
static bool takes_new(const struct model_backend *b, enum model_set which)
{
	return b->flags & 1 << which && b->weight;
}

static uint8_t abi_flags(const struct model_backend *b, enum model_set which)
{
	return (takes_new(b, which) ? ABI_BACKEND_NEW : 0) | (b->flags & MODEL_BACKEND_HERE ? ABI_BACKEND_LOCAL : 0);
}

struct change {
	uint32_t *ids;     /* the set's backends from now on */
	uint32_t count;
	uint32_t *created, *left;
	uint32_t created_count, left_count;
};

static void change_done(struct change *c)
{
	free(c->ids);
	free(c->created);
	free(c->left);
}

/* Merges what is there with what should be, both sorted. */
static int set_diff(struct ebpf *e, uint32_t set_id, const struct model_port *port, enum model_set which,
		    struct change *c)
{
	const struct eset *s = ebpf_eset(e, set_id);
	c->ids = mem_new_n(uint32_t, port->backend_count + 1);
	c->created = mem_new_n(uint32_t, port->backend_count + 1);
	c->left = mem_new_n(uint32_t, s->count + 1);
	uint32_t i = 0;
	for (size_t k = 0; k < port->backend_count; k++) {
		const struct model_backend *want = &port->backends[k];
		uint32_t addr[4];
		if (which == MODEL_SET_LOCAL && !(want->flags & MODEL_BACKEND_HERE))
			continue;
		ebpf_addr(&want->addr, addr);
		struct abi_backend *have = NULL;
		int cmp = 1;
		for (; i < s->count; i++) {
			have = marray_at(&e->backends, s->ids[i]);
			cmp = addr_cmp(have->addr, have->port, addr, htons(want->port));
			if (cmp >= 0)
				break;
			c->left[c->left_count++] = s->ids[i];
		}
		if (i < s->count && cmp == 0) {
			c->ids[c->count++] = s->ids[i++];
			/* New connections may come before the switch; they stop only after it. */
			have->flags |= abi_flags(want, which);
			continue;
		}
		uint32_t id = backend_new(e, set_id, addr, htons(want->port), port->proto, abi_flags(want, which));
		if (id == POOL_NONE)
			return -ENOSPC;
		c->created[c->created_count++] = id;
		c->ids[c->count++] = id;
	}
	for (; i < s->count; i++)
		c->left[c->left_count++] = s->ids[i];
	return 0;
}

/* The words that the set's slots should hold; *ret own, NULL without any. */
static uint32_t slot_words(struct ebpf *e, const struct change *c, const struct model_port *port, enum model_set which,
			   uint64_t **ret)
{
	_cleanup_free_ struct slot_backend *members = mem_new_n(struct slot_backend, c->count + 1);
	_cleanup_free_ uint32_t *table = NULL;
	uint32_t at = 0;

	for (size_t k = 0; k < port->backend_count; k++) {
		const struct model_backend *m = &port->backends[k];
		if (which == MODEL_SET_LOCAL && !(m->flags & MODEL_BACKEND_HERE))
			continue;
		struct slot_backend *b = &members[at++];
		ebpf_addr(&m->addr, b->addr);
		b->port_be = htons(m->port);
		b->weight = takes_new(m, which) ? m->weight : 0;
	}
	uint32_t n = slots_build(port->algorithm == MODEL_MAGLEV ? SLOTS_MAGLEV : SLOTS_SHARES, members, at, &table);
	*ret = n ? mem_new_n(uint64_t, n) : NULL;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id = c->ids[table[i]];
		(*ret)[i] = ABI_SLOT_WORD(id, ((struct abi_backend *)marray_at(&e->backends, id))->generation);
	}
	return n;
}

static uint8_t set_flags(const struct model_port *port, enum model_set which, uint32_t slot_count)
{
	if (!slot_count)
		return which == MODEL_SET_LOCAL && port->local_drop ? ABI_SET_DROP : 0;
	return port->algorithm == MODEL_MAGLEV ? ABI_SET_HASH : port->algorithm == MODEL_LEAST ? ABI_SET_LEAST : 0;
}

/* Writes the slots when they change and switches the set's word. */
static int set_switch(struct ebpf *e, uint32_t set_id, const struct change *c, const struct model_port *port,
		      enum model_set which)
{
	struct eset *s = ebpf_eset(e, set_id);
	uint64_t *word = marray_at(&e->sets, set_id);
	_cleanup_free_ uint64_t *want = NULL;
	uint32_t n = slot_words(e, c, port, which, &want), base = 0;
	uint8_t flags = set_flags(port, which, n);
	bool same = n == s->slot_count;
	for (uint32_t i = 0; same && i < n; i++)
		same = *(uint64_t *)marray_at(&e->slots, s->base + i) == want[i];
	if (same) {
		uint64_t value = ABI_SET_WORD(n ? s->base : 0, n, flags);
		if (*word != value)
			word_store(word, value);
		return 0;
	}
	if (n) {
		base = runpool_get(&e->runs, n);
		if (base == POOL_NONE)
			return -ENOSPC;
		for (uint32_t i = 0; i < n; i++) {
			uint64_t *slot = marray_at(&e->slots, base + i);
			if (!slot) {
				runpool_put(&e->runs, base, n);
				return -ENOMEM;
			}
			*slot = want[i];
		}
	}
	word_store(word, ABI_SET_WORD(base, n, flags));
	if (s->slot_count)
		runpool_put(&e->runs, s->base, s->slot_count);
	s->base = base;
	s->slot_count = n;
	return 0;
}

int ebpf_set_update(struct ebpf *e, uint32_t set_id, const struct model_port *port, enum model_set which, struct err *err)
{
	_cleanup_(change_done) struct change c = { 0 };
	int r = set_diff(e, set_id, port, which, &c);
	if (r == 0)
		r = set_switch(e, set_id, &c, port, which);
	if (r < 0) {
		/* The old set stays whole. */
		for (uint32_t i = 0; i < c.created_count; i++)
			backend_free(e, c.created[i]);
		e->full_errors++;
		return err_set(err, -r, "no room for the endpoints of %s/%s: the kernel maps hold at most %u backends and %u slots",
			       port->ns, port->service, e->max_entries[EBPF_BACKENDS], e->max_entries[EBPF_SLOTS]);
	}
	uint32_t at = 0;
	for (size_t k = 0; k < port->backend_count; k++) {
		if (which == MODEL_SET_LOCAL && !(port->backends[k].flags & MODEL_BACKEND_HERE))
			continue;
		((struct abi_backend *)marray_at(&e->backends, c.ids[at++]))->flags = abi_flags(&port->backends[k], which);
	}
	for (uint32_t i = 0; i < c.left_count; i++)
		backend_free(e, c.left[i]);
	struct eset *s = ebpf_eset(e, set_id);
	free(s->ids);
	s->ids = c.count ? mem_dup(c.ids, c.count * sizeof(*c.ids)) : NULL;
	s->count = c.count;
	return 0;
}

void ebpf_set_drop(struct ebpf *e, uint32_t set_id)
{
	MEM_GROW(e->dropped, e->dropped_cap, e->dropped_count + 1);
	e->dropped[e->dropped_count++] = set_id;
}

void ebpf_sets_free_dropped(struct ebpf *e)
{
	for (size_t i = 0; i < e->dropped_count; i++) {
		uint32_t set_id = e->dropped[i];
		struct eset *s = ebpf_eset(e, set_id);
		uint64_t *word = marray_at(&e->sets, set_id);
		if (word)
			word_store(word, 0);
		if (s->slot_count)
			runpool_put(&e->runs, s->base, s->slot_count);
		for (uint32_t k = 0; k < s->count; k++)
			backend_free(e, s->ids[k]);
		free(s->ids);
		*s = (struct eset){ 0 };
		idpool_put(&e->set_ids, set_id);
	}
	e->dropped_count = 0;
}
