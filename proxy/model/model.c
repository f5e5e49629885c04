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
	free(s->ranges);
	free(s->weights);
	free(s->claims);
	free(s->gone);
	free(s->key);
	free(s);
}

struct model *model_new(const struct model_options *o)
{
	struct model *m = mem_new(struct model);
	m->services = map_new(service_free);
	m->slices = map_new(NULL);
	m->namespaces = map_new(NULL);
	m->addresses = map_new(NULL);
	m->own_node = intern_ref(&m->names, o->node_name);
	m->zone = mem_strdup(o->zone);
	m->proxy_name = mem_strdup(o->proxy_name);
	memcpy(m->cluster_dns, o->cluster_dns, sizeof(m->cluster_dns));
	memcpy(m->node_ips, o->node_ips, sizeof(m->node_ips));
	m->next_id = 1;
	m->serial = 1;
	return m;
}

struct model *model_free(struct model *m)
{
	if (!m)
		return NULL;
	size_t it = 0;
	void *slice;
	while (map_next(m->slices, &it, NULL, &slice))
		model_slice_free(m, slice);
	map_free(m->slices);
	map_free(m->services);
	map_free(m->namespaces);
	map_free(m->addresses);
	claims_done(&m->claims);
	free(m->contested);
	intern_done(&m->names);
	intern_done(&m->hints);
	free(m->zone);
	free(m->proxy_name);
	free(m->triggers);
	free(m->frontends);
	free(m->candidates);
	free(m->backends);
	free(m->keys);
	free(m->ranges);
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

/* May s use this key, for the first time in this look? Whoever loses it is looked at again when it comes free. */
static bool claim(struct model *m, struct model_service *s, const struct claim_key *key)
{
	struct claim *c = claims_find(&m->claims, key);
	if (!c)
		c = claims_add(&m->claims, key, s);
	if (c->owner == s) {
		bool twice = c->serial == m->serial; /* listed twice by the Service itself */
		c->serial = m->serial;
		return !twice;
	}
	c->contested = true;
	struct model_service *other = c->owner;
	if (strcmp(s->key, other->key) < 0) {
		contest(m, other);
		model_touch(m, other);
		c->owner = s;
		c->serial = m->serial;
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
	const struct ip_addr *dns = &m->cluster_dns[family_index(b->family)];
	if (f.addr.family && dns->family && ip_addr_eq(&f.addr, dns))
		return;
	frontend_claim_key(&f, b->family, &key);
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
	f.ranged = s->ranged;
	for (size_t i = 0; i < s->lb_ip_count; i++) {
		f.addr = s->lb_ips[i];
		build_frontend(b, f);
	}
	f.ranged = false;
	if (p->node_port) {
		f.kind = MODEL_NODE_PORT;
		f.addr = (struct ip_addr){ 0 };
		f.port = p->node_port;
		build_frontend(b, f);
	}
}

/* Source ranges of one family, in m->ranges. A node that may reach a balancer's address may also come from it: where the
 * address is on the node itself, the node's packets to it carry it as their source. */
static size_t build_ranges(struct model *m, const struct model_service *s, uint8_t family)
{
	const struct ip_addr *node = &m->node_ips[family_index(family)];
	bool from_node = false;
	size_t n = 0;
	MEM_GROW(m->ranges, m->range_cap, (size_t)s->range_count + s->lb_ip_count);
	for (size_t i = 0; i < s->range_count; i++)
		if (s->ranges[i].addr.family == family) {
			m->ranges[n++] = s->ranges[i];
			from_node |= node->family && ip_prefix_contains(&s->ranges[i], node);
		}
	for (size_t i = 0; from_node && i < s->lb_ip_count; i++)
		if (s->lb_ips[i].family == family)
			m->ranges[n++] = (struct ip_prefix){ .addr = s->lb_ips[i], .len = family == AF_INET ? 32 : 128 };
	return n;
}

void model_count_no_local(struct model *m, struct model_svc_port *p, int fam, uint8_t now)
{
	for (int t = 0; t < MODEL_TRAFFIC_MAX; t++) {
		m->no_local[t] -= p->no_local[fam] >> t & 1;
		m->no_local[t] += now >> t & 1;
	}
	p->no_local[fam] = now;
}

static void port_close(struct model *m, struct model_svc_port *p, int fam, const struct model_sink *sink, size_t *changes)
{
	model_count_no_local(m, p, fam, 0);
	if (!p->ids[fam])
		return;
	sink->port_gone(p->ids[fam], sink->user);
	p->ids[fam] = 0;
	(*changes)++;
}

static void port_hand_over(struct build *b, struct model_svc_port *p, int fam, const struct model_sink *sink)
{
	struct model *m = b->m;
	const struct model_service *s = b->s;
	bool ranged = false, used[MODEL_TRAFFIC_MAX] = { 0 };
	if (!p->ids[fam])
		p->ids[fam] = m->next_id++;
	struct model_port port = {
		.id = p->ids[fam], .ns = s->ns, .service = s->name, .name = p->name, .family = b->family, .proto = p->proto,
		.affinity_s = s->affinity_s, .algorithm = s->algorithm, .dsr = s->dsr, .frontend_count = b->frontends,
	};
	port.backend_count = model_backends_build(m, s, p, b->family, &port.local_drop);
	port.frontends = m->frontends;
	port.backends = m->backends;
	for (size_t k = 0; k < port.backend_count; k++)
		port.weighted |= m->backends[k].weight != 1;
	for (size_t k = 0; k < b->frontends; k++) {
		const struct model_frontend *f = &m->frontends[k];
		if (f->kind == MODEL_OWNED)
			continue;
		ranged |= f->ranged;
		used[MODEL_TRAFFIC_INTERNAL] |= f->inside == MODEL_SET_LOCAL;
		used[MODEL_TRAFFIC_EXTERNAL] |= f->kind != MODEL_CLUSTER_IP && f->outside == MODEL_SET_LOCAL;
	}
	port.uses_local = used[MODEL_TRAFFIC_INTERNAL] || used[MODEL_TRAFFIC_EXTERNAL];
	port.range_count = ranged ? build_ranges(m, s, b->family) : 0;
	port.ranges = m->ranges;
	model_count_no_local(m, p, fam, port.local_drop ? used[0] << 0 | used[1] << 1 : 0);
	sink->port_set(&port, sink->user);
}

static void health_hand_over(struct model *m, struct model_service *s, const struct model_sink *sink)
{
	uint32_t count = s->health_port ? model_ready_here(m, s) : 0;
	if (s->health_port == s->told_health_port && count == s->told_health_count)
		return;
	s->told_health_port = s->health_port;
	s->told_health_count = count;
	if (sink->health)
		sink->health(s->ns, s->name, s->health_port, count, sink->user);
}

/* What the Service held and holds no longer comes free. */
static void claims_settle(struct model *m, struct model_service *s, size_t count)
{
	struct claim_key *old = s->claims;
	size_t old_count = s->claim_count;
	s->claims = count ? mem_dup(m->keys, count * sizeof(*m->keys)) : NULL;
	s->claim_count = count;
	for (size_t i = 0; i < old_count; i++) {
		const struct claim *c = claims_find(&m->claims, &old[i]);
		if (c && c->owner == s && c->serial != m->serial)
			release(m, s, &old[i]);
	}
	free(old);
}

static size_t flush_service(struct model *m, struct model_service *s, const struct model_sink *sink)
{
	struct build b = { .m = m, .s = s };
	size_t changes = s->gone_count;
	if (++m->serial == 0) /* which a claim has before anybody looked */
		m->serial = 1;
	bool programmed = s->present && !s->foreign && !s->headless && !s->is_external_name;

	for (size_t i = 0; i < s->gone_count; i++)
		sink->port_gone(s->gone[i], sink->user);
	free(s->gone);
	s->gone = NULL;
	s->gone_count = s->gone_cap = 0;

	for (size_t i = 0; i < s->port_count; i++)
		for (int fam = 0; fam < FAMILY_MAX; fam++) {
			b.family = fam == FAMILY_6 ? AF_INET6 : AF_INET;
			b.frontends = 0;
			if (programmed && s->families >> fam & 1)
				build_frontends(&b, &s->ports[i], i == 0);
			if (b.frontends == 0) {
				port_close(m, &s->ports[i], fam, sink, &changes);
				continue;
			}
			port_hand_over(&b, &s->ports[i], fam, sink);
			changes++;
		}
	health_hand_over(m, s, sink);
	claims_settle(m, s, b.keys);
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
	m->fresh_trigger_count = m->trigger_count;
	m->trigger_count = 0;
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

bool model_again(struct model *m, const char *ns, const char *service)
{
	_cleanup_free_ char *key = str_printf("%s/%s", ns, service);
	struct model_service *s = map_get(m->services, key);
	if (s)
		model_touch(m, s);
	return s && s->present;
}

size_t model_service_count(const struct model *m)
{
	return m->service_count;
}

size_t model_endpoint_count(const struct model *m)
{
	return m->endpoint_count;
}

size_t model_triggers(const struct model *m, const int64_t **ret)
{
	*ret = m->triggers;
	return m->fresh_trigger_count;
}

size_t model_no_local(const struct model *m, enum model_traffic traffic)
{
	return m->no_local[traffic];
}
