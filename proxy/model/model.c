/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flush: what each touched Service amounts to. Held true here: a Service is dirty exactly when it is on the dirty
 * list; a port's id is non-zero exactly when the sink has it; a Service's claims are those of the frontends it handed over.
 */
#include "proxy/model/model.h"

#include <errno.h>

#include "proxy/model/model_internal.h"

static void service_free(void *p)
{
	struct model_service *s = p;
	for (size_t i = 0; i < s->port_count; i++)
		model_name_free(s->ports[i].name);
	free(s->ports);
	free(s->external_name);
	free(s->cluster_ips);
	free(s->external_ips);
	free(s->lb_ips);
	free(s->claims);
	free(s->gone);
	free(s->key);
	free(s);
}

struct model *model_new(const struct model_options *o)
{
	struct model *m = mem_new(struct model);
	m->services = map_new(service_free);
	m->slices = map_new(model_slice_free_value);
	m->namespaces = map_new(NULL);
	m->addresses = map_new(NULL);
	m->node_name = mem_strdup(o->node_name);
	m->proxy_name = mem_strdup(o->proxy_name);
	m->cluster_dns = o->cluster_dns;
	m->next_id = 1;
	return m;
}

struct model *model_free(struct model *m)
{
	if (!m)
		return NULL;
	map_free(m->slices);
	map_free(m->services);
	map_free(m->namespaces);
	map_free(m->addresses);
	claims_done(&m->claims);
	free(m->contested);
	free(m->node_name);
	free(m->proxy_name);
	free(m->frontends);
	free(m->backends);
	free(m->keys);
	free(m);
	return NULL;
}

struct model_service *model_service_get(struct model *m, const char *ns, const char *name)
{
	char *key = str_printf("%s/%s", ns, name);
	struct model_service *s = map_get(m->services, key);
	if (s) {
		free(key);
		return s;
	}
	s = mem_new(struct model_service);
	size_t ns_size = strlen(ns) + 1, name_size = strlen(name) + 1;
	s->key = mem_realloc(key, 2 * (ns_size + name_size));
	s->ns = memcpy(s->key + ns_size + name_size, ns, ns_size);
	s->name = memcpy(s->ns + ns_size, name, name_size);
	map_set(m->services, s->key, s);
	return s;
}

void model_touch(struct model *m, struct model_service *s)
{
	if (s->dirty)
		return;
	s->dirty = true;
	s->dirty_next = NULL;
	if (m->dirty_last)
		m->dirty_last->dirty_next = s;
	else
		m->dirty = s;
	m->dirty_last = s;
}

static int backend_cmp(const void *a, const void *b)
{
	const struct model_backend *x = a, *y = b;
	int c = memcmp(x->addr.bytes, y->addr.bytes, sizeof(x->addr.bytes));
	return c ? c : (int)x->port - (int)y->port;
}

/* The endpoints of one port: all that serve, with a flag for each set that gives them new connections. */
static size_t build_backends(struct model *m, const struct model_service *s, const struct model_svc_port *p,
			     uint8_t family, bool *ret_local_drop)
{
	enum { READY = 1 << 5, SERVING_TERMINATING = 1 << 6 };
	size_t n = 0, out = 0;
	for (const struct model_slice *sl = s->slices; sl; sl = sl->next) {
		if (sl->family != family)
			continue;
		for (size_t k = 0; k < sl->port_count; k++) {
			if (sl->ports[k].proto != p->proto || strcmp(sl->ports[k].name, p->name) != 0)
				continue;
			for (size_t i = 0; i < sl->ep_count; i++) {
				const struct model_ep *e = &sl->eps[i];
				if (!(e->flags & (EP_READY | EP_SERVING)))
					continue;
				MEM_GROW(m->backends, m->backend_cap, n + 1);
				m->backends[n++] = (struct model_backend){
					.addr = e->addr,
					.weight = 1,
					.port = sl->ports[k].port,
					.flags = (e->flags & EP_READY ? READY : 0) |
						 (e->flags & EP_SERVING && e->flags & EP_TERMINATING ? SERVING_TERMINATING : 0) |
						 (e->flags & EP_HERE ? MODEL_BACKEND_HERE : 0),
				};
			}
		}
	}
	if (n > 1)
		qsort(m->backends, n, sizeof(*m->backends), backend_cmp);
	unsigned any = 0, here = 0;
	for (size_t i = 0; i < n; i++) {
		/* An endpoint may stand in two slices for a moment: it is as good as its better entry. */
		if (out && backend_cmp(&m->backends[out - 1], &m->backends[i]) == 0)
			m->backends[out - 1].flags |= m->backends[i].flags;
		else
			m->backends[out++] = m->backends[i];
	}
	for (size_t i = 0; i < out; i++) {
		any |= m->backends[i].flags;
		if (m->backends[i].flags & MODEL_BACKEND_HERE)
			here |= m->backends[i].flags;
	}
	unsigned use_all = any & READY ? READY : SERVING_TERMINATING;
	unsigned use_local = here & READY ? READY : SERVING_TERMINATING;
	bool all = false, local = false;
	for (size_t i = 0; i < out; i++) {
		struct model_backend *b = &m->backends[i];
		unsigned f = b->flags;
		b->flags = f & MODEL_BACKEND_HERE;
		if (f & use_all)
			b->flags |= MODEL_BACKEND_ALL;
		if (f & MODEL_BACKEND_HERE && f & use_local)
			b->flags |= MODEL_BACKEND_LOCAL;
		all |= b->flags & MODEL_BACKEND_ALL;
		local |= b->flags & MODEL_BACKEND_LOCAL;
	}
	*ret_local_drop = all && !local;
	return out;
}

static void frontend_claim_key(const struct model_frontend *f, uint8_t family, struct claim_key *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (family == AF_INET) {
		ret->addr[10] = ret->addr[11] = 0xff;
		memcpy(ret->addr + 12, f->addr.bytes, 4);
	} else {
		memcpy(ret->addr, f->addr.bytes, 16);
	}
	ret->port = f->port;
	ret->proto = f->proto;
	ret->kind = f->kind == MODEL_OWNED ? 2 : f->kind == MODEL_NODE_PORT ? 1 : 0;
}

static void contest(struct model *m, struct model_service *s)
{
	for (size_t i = 0; i < m->contested_count; i++)
		if (m->contested[i] == s)
			return;
	MEM_GROW(m->contested, m->contested_cap, m->contested_count + 1);
	m->contested[m->contested_count++] = s;
}

/* May s use this key? Whoever loses it is looked at again when it comes free. */
static bool claim(struct model *m, struct model_service *s, const struct claim_key *key)
{
	struct claim *c = claims_find(&m->claims, key);
	if (!c) {
		claims_add(&m->claims, key, s);
		return true;
	}
	if (c->owner == s)
		return true;
	c->contested = true;
	struct model_service *other = c->owner;
	if (strcmp(s->key, other->key) < 0) {
		contest(m, other);
		model_touch(m, other);
		c->owner = s;
		return true;
	}
	contest(m, s);
	return false;
}

static void release(struct model *m, struct model_service *s, const struct claim_key *key)
{
	struct claim *c = claims_find(&m->claims, key);
	if (!c || c->owner != s)
		return;
	bool contested = c->contested;
	claims_del(&m->claims, key);
	if (!contested)
		return;
	/* Those looked at again enlist again. s itself is not looked at: it stays, for what else it may have lost. */
	size_t kept = 0;
	for (size_t i = 0; i < m->contested_count; i++) {
		if (m->contested[i] == s)
			kept = 1;
		else
			model_touch(m, m->contested[i]);
	}
	if (kept)
		m->contested[0] = s;
	m->contested_count = kept;
}

struct build {
	struct model *m;
	struct model_service *s;
	uint8_t family;
	size_t frontends, keys;
};

static void build_frontend(struct build *b, struct model_frontend f)
{
	struct model *m = b->m;
	struct claim_key key;
	if (f.kind != MODEL_NODE_PORT && f.addr.family != b->family)
		return;
	if (m->cluster_dns.family && f.addr.family && ip_addr_eq(&f.addr, &m->cluster_dns))
		return;
	frontend_claim_key(&f, b->family, &key);
	for (size_t i = b->keys; i-- > 0;) /* listed twice by the Service itself */
		if (memcmp(&m->keys[i], &key, sizeof(key)) == 0)
			return;
	if (!claim(m, b->s, &key))
		return;
	MEM_GROW(m->keys, m->key_cap, b->keys + 1);
	m->keys[b->keys++] = key;
	MEM_GROW(m->frontends, m->frontend_cap, b->frontends + 1);
	m->frontends[b->frontends++] = f;
}

static void build_frontends(struct build *b, const struct model_svc_port *p, bool first)
{
	const struct model_service *s = b->s;
	struct model_frontend f = { .port = p->port, .proto = p->proto };
	b->frontends = 0;
	f.inside = f.outside = s->internal_local ? MODEL_SET_LOCAL : MODEL_SET_ALL;
	f.kind = MODEL_CLUSTER_IP;
	for (size_t i = 0; i < s->cluster_ip_count; i++) {
		f.addr = s->cluster_ips[i];
		build_frontend(b, f);
		if (first)
			build_frontend(b, (struct model_frontend){ .addr = f.addr, .kind = MODEL_OWNED });
	}
	/* From inside, external addresses lead to any endpoint: the policy is about traffic from outside. */
	f.inside = MODEL_SET_ALL;
	f.outside = s->external_local ? MODEL_SET_LOCAL : MODEL_SET_ALL;
	f.kind = MODEL_EXTERNAL_IP;
	for (size_t i = 0; i < s->external_ip_count; i++) {
		f.addr = s->external_ips[i];
		build_frontend(b, f);
	}
	f.kind = MODEL_LOAD_BALANCER;
	for (size_t i = 0; i < s->lb_ip_count; i++) {
		f.addr = s->lb_ips[i];
		build_frontend(b, f);
	}
	bool has_family = false;
	for (size_t i = 0; i < s->cluster_ip_count; i++)
		has_family |= s->cluster_ips[i].family == b->family;
	if (p->node_port && has_family) {
		f.kind = MODEL_NODE_PORT;
		f.addr = (struct ip_addr){ 0 };
		f.port = p->node_port;
		build_frontend(b, f);
	}
}

static size_t flush_service(struct model *m, struct model_service *s, const struct model_sink *sink)
{
	struct build b = { .m = m, .s = s };
	size_t changes = s->gone_count;
	bool programmed = s->present && !s->foreign && !s->headless && !s->is_external_name;

	for (size_t i = 0; i < s->gone_count; i++)
		sink->port_gone(s->gone[i], sink->user);
	free(s->gone);
	s->gone = NULL;
	s->gone_count = s->gone_cap = 0;

	for (size_t i = 0; i < s->port_count; i++)
		for (int fam = 0; fam < FAMILY_MAX; fam++) {
			struct model_svc_port *p = &s->ports[i];
			b.family = fam == FAMILY_6 ? AF_INET6 : AF_INET;
			b.frontends = 0;
			if (programmed)
				build_frontends(&b, p, i == 0);
			if (b.frontends == 0) {
				if (p->ids[fam]) {
					sink->port_gone(p->ids[fam], sink->user);
					changes++;
				}
				p->ids[fam] = 0;
				continue;
			}
			if (!p->ids[fam])
				p->ids[fam] = m->next_id++;
			struct model_port port = {
				.id = p->ids[fam], .ns = s->ns, .service = s->name, .name = p->name, .family = b.family,
				.proto = p->proto, .affinity_s = s->affinity_s, .frontend_count = b.frontends,
			};
			port.backend_count = build_backends(m, s, p, b.family, &port.local_drop);
			port.frontends = m->frontends;
			port.backends = m->backends;
			for (size_t k = 0; k < b.frontends; k++)
				port.uses_local |= m->frontends[k].kind != MODEL_OWNED &&
						   (m->frontends[k].inside == MODEL_SET_LOCAL ||
						    m->frontends[k].outside == MODEL_SET_LOCAL);
			sink->port_set(&port, sink->user);
			changes++;
		}

	struct claim_key *old = s->claims;
	size_t old_count = s->claim_count;
	s->claims = b.keys ? mem_dup(m->keys, b.keys * sizeof(*m->keys)) : NULL;
	s->claim_count = b.keys;
	for (size_t i = 0; i < old_count; i++) {
		bool kept = false;
		for (size_t k = 0; k < s->claim_count && !kept; k++)
			kept = memcmp(&old[i], &s->claims[k], sizeof(*old)) == 0;
		if (!kept)
			release(m, s, &old[i]);
	}
	free(old);
	return changes;
}

static void forget(struct model *m, struct model_service *s)
{
	for (size_t i = 0; i < m->contested_count; i++)
		if (m->contested[i] == s)
			m->contested[i--] = m->contested[--m->contested_count];
	char *key = mem_strdup(s->key);
	map_del(m->services, key);
	free(key);
}

size_t model_flush(struct model *m, const struct model_sink *sink)
{
	size_t changes = 0;
	while (m->dirty) {
		struct model_service *s = m->dirty;
		m->dirty = s->dirty_next;
		if (!m->dirty)
			m->dirty_last = NULL;
		s->dirty = false;
		changes += flush_service(m, s, sink);
		if (!s->present && !s->slices && !s->dirty)
			forget(m, s);
	}
	return changes;
}

size_t model_service_count(const struct model *m)
{
	return m->service_count;
}

size_t model_endpoint_count(const struct model *m)
{
	return m->endpoint_count;
}
