/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which endpoints a port uses. All that serve become backends; flags say which of them take new connections:
 *   Cluster: ready ones, of these only the ones for this node or zone where hints say so; if no endpoint is ready, those
 *            that still serve while terminating (KEP-1669)
 *   Local:   the same among this node's own, without hints (KEP-2086)
 * Hints count only when every ready endpoint has them and one of them is for this node or zone (KEP-2433, KEP-4444):
 * nodes first, then zones; and never for Services with direct return. The result does not depend on the order in which slices came.
 */
#include "kube/object.h"
#include "proxy/model/model_internal.h"

enum {
	STATE_READY = 1 << 8,
	STATE_DRAINING = 1 << 9, /* serves while terminating */
	STATE_HINTS = HINT_ZONE | HINT_ZONE_MINE | HINT_NODE | HINT_NODE_MINE,
};

/* A line each: "zNAME" or "nNAME". */
uint32_t model_hints_read(struct model *m, const json_t *endpoint)
{
	static const char *const kinds[] = { "forZones", "forNodes" };
	const json_t *hints = json_object_get(endpoint, "hints");
	_cleanup_strbuf_ struct strbuf text = { 0 };
	for (size_t k = 0; hints && k < ARRAY_SIZE(kinds); k++) {
		size_t i;
		json_t *v;
		json_array_foreach(json_object_get(hints, kinds[k]), i, v) {
			const char *name = json_string_value(json_object_get(v, "name"));
			if (i == MODEL_MAX_HINTS)
				break;
			if (!str_empty(name) && !strchr(name, '\n'))
				strbuf_addf(&text, "%c%s\n", k ? 'n' : 'z', name);
		}
	}
	return intern_ref(&m->hints, text.data);
}

enum { HINT_KNOWN = 1 << 8 }; /* a tag of 0 is not worked out yet */
static uint32_t hints_mean(const struct model *m, const char *text)
{
	uint32_t bits = HINT_KNOWN;
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "\n");
		bool zone = *p == 'z';
		const char *mine = zone ? m->zone : intern_text(&m->names, m->own_node);
		bits |= zone ? HINT_ZONE : HINT_NODE;
		if (!str_empty(mine) && strlen(mine) == n - 1 && memcmp(mine, p + 1, n - 1) == 0)
			bits |= zone ? HINT_ZONE_MINE : HINT_NODE_MINE;
		p += n + 1;
	}
	return bits;
}

static uint16_t hint_bits(struct model *m, uint32_t id)
{
	if (!id)
		return 0;
	uint32_t *tag = intern_tag(&m->hints, id);
	if (!*tag)
		*tag = hints_mean(m, intern_text(&m->hints, id));
	return (uint16_t)(*tag & STATE_HINTS);
}

void model_set_zone(struct model *m, const char *zone)
{
	if (str_eq(m->zone, zone) || (str_empty(m->zone) && str_empty(zone)))
		return;
	free(m->zone);
	m->zone = mem_strdup(zone);
	for (size_t i = 0; i < m->hints.count; i++)
		m->hints.items[i].tag = 0;
	size_t it = 0;
	void *v;
	while (map_next(m->services, &it, NULL, &v)) {
		struct model_service *s = v;
		for (const struct model_slice *sl = s->slices; sl; sl = sl->next)
			if (sl->hinted)
				model_touch(m, s);
	}
}

static int backend_cmp(const struct model_backend *x, const struct model_backend *y)
{
	int c = memcmp(x->addr.bytes, y->addr.bytes, sizeof(x->addr.bytes));
	return c ? c : (int)x->port - (int)y->port;
}

static int candidate_cmp(const void *a, const void *b)
{
	return backend_cmp(&((const struct model_candidate *)a)->b, &((const struct model_candidate *)b)->b);
}

static size_t gather_slice(struct model *m, const struct model_service *s, const struct model_slice *sl, uint16_t port,
			   size_t n)
{
	for (size_t i = 0; i < sl->ep_count; i++) {
		const struct model_ep *e = &sl->eps[i];
		if (!(e->flags & (EP_READY | EP_SERVING)))
			continue;
		MEM_GROW(m->candidates, m->candidate_cap, n + 1);
		struct model_candidate *c = &m->candidates[n++];
		*c = (struct model_candidate){
			.b = {
				.addr.family = sl->family,
				.port = port,
				.flags = e->flags & EP_HERE ? MODEL_BACKEND_HERE : 0,
				.weight = s->weight_count ? model_weight_of(s, sl->family, e->addr, e->node) : 1,
			},
			.state = hint_bits(m, e->hints),
		};
		memcpy(c->b.addr.bytes, e->addr, sizeof(e->addr));
		if (e->flags & EP_READY)
			c->state |= STATE_READY;
		if (e->flags & EP_SERVING && e->flags & EP_TERMINATING)
			c->state |= STATE_DRAINING;
	}
	return n;
}

/* Every serving endpoint of the port once, sorted. */
static size_t gather(struct model *m, const struct model_service *s, const struct model_svc_port *p, uint8_t family)
{
	size_t n = 0, out = 0;
	for (const struct model_slice *sl = s->slices; sl; sl = sl->next)
		for (size_t k = 0; sl->family == family && k < sl->port_count; k++)
			if (sl->ports[k].proto == p->proto && strcmp(sl->ports[k].name, p->name) == 0)
				n = gather_slice(m, s, sl, sl->ports[k].port, n);
	if (n > 1)
		qsort(m->candidates, n, sizeof(*m->candidates), candidate_cmp);
	for (size_t i = 0; i < n; i++) {
		struct model_candidate *c = &m->candidates[i], *last = out ? &m->candidates[out - 1] : NULL;
		/* An endpoint may stand in two slices for a moment: it is as good as its better entry. */
		if (last && backend_cmp(&last->b, &c->b) == 0) {
			last->state |= c->state;
			last->b.flags |= c->b.flags;
			last->b.weight = MAX(last->b.weight, c->b.weight);
		} else {
			m->candidates[out++] = *c;
		}
	}
	return out;
}

/* Which hint a ready endpoint must have to be used: HINT_NODE_MINE, HINT_ZONE_MINE or 0, none. */
static uint16_t topology(const struct model_candidate *c, size_t n)
{
	uint16_t all = HINT_NODE | HINT_ZONE, any = 0;
	for (size_t i = 0; i < n; i++)
		if (c[i].state & STATE_READY) {
			all &= c[i].state;
			any |= c[i].state;
		}
	if (all & HINT_NODE && any & HINT_NODE_MINE)
		return HINT_NODE_MINE;
	return all & HINT_ZONE && any & HINT_ZONE_MINE ? HINT_ZONE_MINE : 0;
}

size_t model_backends_build(struct model *m, const struct model_service *s, const struct model_svc_port *p, uint8_t family,
			    bool *ret_local_drop)
{
	size_t n = gather(m, s, p, family);
	/* With direct return the node that has an endpoint must know it for one whatever node sent the client's packet there. */
	uint16_t any = 0, here = 0, hint = s->dsr ? 0 : topology(m->candidates, n);
	bool all = false, local = false;
	for (size_t i = 0; i < n; i++) {
		any |= m->candidates[i].state;
		if (m->candidates[i].b.flags & MODEL_BACKEND_HERE)
			here |= m->candidates[i].state;
	}
	uint16_t use_all = any & STATE_READY ? STATE_READY | hint : STATE_DRAINING;
	uint16_t use_local = here & STATE_READY ? STATE_READY : STATE_DRAINING;
	MEM_GROW(m->backends, m->backend_cap, n);
	for (size_t i = 0; i < n; i++) {
		struct model_backend *b = &m->backends[i];
		*b = m->candidates[i].b;
		if ((m->candidates[i].state & use_all) == use_all)
			b->flags |= MODEL_BACKEND_ALL;
		if (b->flags & MODEL_BACKEND_HERE && m->candidates[i].state & use_local)
			b->flags |= MODEL_BACKEND_LOCAL;
		all |= b->flags & MODEL_BACKEND_ALL;
		local |= b->flags & MODEL_BACKEND_LOCAL;
	}
	*ret_local_drop = all && !local;
	return n;
}

uint32_t model_ready_here(struct model *m, const struct model_service *s)
{
	static const uint8_t families[FAMILY_MAX] = { AF_INET, AF_INET6 };
	uint32_t most = 0;
	for (int f = 0; f < FAMILY_MAX; f++) {
		size_t n = 0;
		uint32_t ready = 0;
		for (const struct model_slice *sl = s->slices; sl; sl = sl->next)
			if (sl->family == families[f])
				n = gather_slice(m, s, sl, 0, n);
		if (n > 1)
			qsort(m->candidates, n, sizeof(*m->candidates), candidate_cmp);
		for (size_t i = 0; i < n; i++) {
			bool good = false;
			size_t k = i;
			for (; k < n && candidate_cmp(&m->candidates[i], &m->candidates[k]) == 0; k++)
				good |= m->candidates[k].state & STATE_READY && m->candidates[k].b.flags & MODEL_BACKEND_HERE;
			ready += good;
			i = k - 1;
		}
		most = MAX(most, ready);
	}
	return most;
}
