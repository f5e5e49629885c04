/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the model's tests share: objects from text, and a sink that writes down what it is told. */
#ifndef KEELSON_PROXY_MODEL_FIXTURE_H
#define KEELSON_PROXY_MODEL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/mem.h"
#include "proxy/model/model.h"

/*
 * A line of text per frontend: "tcp 10.96.0.1:80 aff=0 OPTIONS -> [inside] [outside]"; a set is its backends, with "*3"
 * where the weight is 3, or "drop". And "health d/a 32000 2" per healthCheckNodePort.
 */
struct recorder {
	struct map *ports;  /* id -> text, own */
	struct map *health; /* "ns/name" -> text, own */
	size_t sets, gone;
};

static inline const char *proto_name(uint8_t p)
{
	return p == IPPROTO_TCP ? "tcp" : p == IPPROTO_UDP ? "udp" : p == IPPROTO_SCTP ? "sctp" : "any";
}

static inline void put_set(struct strbuf *b, const struct model_port *p, unsigned set)
{
	char text[IP_ADDR_TEXT_SIZE];
	bool any = false;
	strbuf_addc(b, '[');
	for (size_t i = 0; i < p->backend_count; i++) {
		const struct model_backend *k = &p->backends[i];
		if (!(k->flags & 1u << set))
			continue;
		strbuf_addf(b, "%s%s:%u", any ? " " : "", ip_format(&k->addr, text), k->port);
		if (k->weight != 1)
			strbuf_addf(b, "*%u", k->weight);
		any = true;
	}
	if (!any && set == MODEL_SET_LOCAL && p->local_drop)
		strbuf_adds(b, "drop");
	strbuf_addc(b, ']');
}

static inline void put_options(struct strbuf *b, const struct model_port *p, const struct model_frontend *f)
{
	static const char *const algorithms[] = { "", "maglev ", "least " };
	char text[IP_PREFIX_TEXT_SIZE];
	strbuf_addf(b, "aff=%u %s%s", p->affinity_s, algorithms[p->algorithm], p->dsr ? "dsr " : "");
	if (f->ranged) {
		strbuf_adds(b, "from");
		for (size_t i = 0; i < p->range_count; i++)
			strbuf_addf(b, "%c%s", i ? ',' : '=', ip_prefix_format(&p->ranges[i], text));
		strbuf_adds(b, p->range_count ? " " : "=nobody ");
	}
}

static inline void on_port(const struct model_port *p, void *user)
{
	struct recorder *r = user;
	struct strbuf b = { 0 };
	char id[16], text[IP_ADDR_TEXT_SIZE];
	bool weighted = false, local = false;
	snprintf(id, sizeof(id), "%u", p->id);
	for (size_t i = 0; i < p->backend_count; i++) {
		const struct model_backend *k = &p->backends[i];
		weighted |= k->weight != 1;
		assert_int_equal(k->addr.family, p->family);
		assert_true(!(k->flags & MODEL_BACKEND_LOCAL) || k->flags & MODEL_BACKEND_HERE);
		assert_true(i == 0 || memcmp(k[-1].addr.bytes, k->addr.bytes, 16) < 0 || k[-1].port < k->port);
	}
	assert_int_equal(weighted, p->weighted);
	for (size_t i = 0; i < p->frontend_count; i++) {
		const struct model_frontend *f = &p->frontends[i];
		if (f->kind == MODEL_OWNED) {
			strbuf_addf(&b, "owned %s\n", ip_format(&f->addr, text));
			continue;
		}
		local |= f->inside == MODEL_SET_LOCAL || f->outside == MODEL_SET_LOCAL;
		strbuf_addf(&b, "%s %s:%u ", proto_name(f->proto),
			    f->kind != MODEL_NODE_PORT ? ip_format(&f->addr, text) : p->family == AF_INET ? "node" : "node6", f->port);
		put_options(&b, p, f);
		strbuf_adds(&b, "-> ");
		put_set(&b, p, f->inside);
		strbuf_addc(&b, ' ');
		put_set(&b, p, f->outside);
		strbuf_addc(&b, '\n');
	}
	assert_int_equal(local, p->uses_local);
	map_set(r->ports, id, strbuf_take(&b));
	r->sets++;
}

static inline void on_gone(uint32_t id, void *user)
{
	struct recorder *r = user;
	char key[16];
	snprintf(key, sizeof(key), "%u", id);
	assert_true(map_del(r->ports, key));
	r->gone++;
}

static inline void on_health(const char *ns, const char *service, uint16_t port, uint32_t ready_here, void *user)
{
	struct recorder *r = user;
	_cleanup_free_ char *key = str_printf("%s/%s", ns, service);
	if (port)
		map_set(r->health, key, str_printf("health %s %u %u\n", key, port, ready_here));
	else
		assert_true(map_del(r->health, key));
}

static inline void flush(struct model *m, struct recorder *r)
{
	const struct model_sink sink = { on_port, on_gone, on_health, r };
	r->sets = r->gone = 0;
	model_flush(m, &sink);
}

static inline int line_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All lines of all ports, sorted. */
static inline char *picture(const struct recorder *r)
{
	_cleanup_strlist_ struct strlist lines = { 0 };
	struct strbuf b = { 0 };
	size_t it = 0;
	void *v;
	while (map_next(r->ports, &it, NULL, &v))
		strlist_split(&lines, v, '\n');
	for (it = 0; map_next(r->health, &it, NULL, &v);)
		strlist_split(&lines, v, '\n');
	if (lines.count)
		qsort(lines.items, lines.count, sizeof(*lines.items), line_cmp);
	for (size_t i = 0; i < lines.count; i++)
		strbuf_addf(&b, "%s\n", lines.items[i]);
	return strbuf_take(&b);
}

/* Both take the object in and say what the model complained about: own, "" when it was content. */
static inline char *take_text(struct model *m, const char *text, bool service)
{
	_cleanup_err_ struct err err = { 0 };
	json_t *o = yaml_parse(text, strlen(text), &err);
	if (!o)
		print_message("%s\n%s\n", err_msg(&err), text);
	assert_non_null(o);
	int r = service ? model_service_set(m, o, &err) : model_slice_set(m, o, &err);
	json_decref(o);
	return mem_strdup(r < 0 ? err_msg(&err) : "");
}

static inline void set_service(struct model *m, const char *text)
{
	_cleanup_free_ char *why = take_text(m, text, true);
	assert_string_equal(why, "");
}

static inline void set_slice(struct model *m, const char *text)
{
	_cleanup_free_ char *why = take_text(m, text, false);
	assert_string_equal(why, "");
}

struct fixture {
	struct model *m;
	struct recorder r;
};

/* The node is n1, at 192.0.2.1 and 2001:db8::1; the cluster's DNS is at 10.96.0.10. */
static inline struct fixture fixture_new_in(const char *zone)
{
	struct model_options o = { .size = sizeof(o), .node_name = "n1", .zone = zone };
	ip_parse("10.96.0.10", &o.cluster_dns[0]);
	ip_parse("192.0.2.1", &o.node_ips[0]);
	ip_parse("2001:db8::1", &o.node_ips[1]);
	return (struct fixture){ .m = model_new(&o), .r = { .ports = map_new(free), .health = map_new(free) } };
}

static inline struct fixture fixture_new(void)
{
	return fixture_new_in(NULL);
}

static inline void fixture_free(struct fixture *f)
{
	model_free(f->m);
	map_free(f->r.ports);
	map_free(f->r.health);
}

static inline void expect(struct fixture *f, const char *want)
{
	flush(f->m, &f->r);
	_cleanup_free_ char *got = picture(&f->r);
	assert_string_equal(got, want);
}

#define META(name) "metadata: {name: " name ", namespace: d}\n"
#define SLICE(name, service)                                                                         \
	"addressType: IPv4\nmetadata: {name: " name ", namespace: d, labels: {kubernetes.io/service-name: " service "}}\n"
#define EP(a, node, ready, serving, terminating)                                                     \
	"- {addresses: [" a "], nodeName: " node ", conditions: {ready: " ready ", serving: " serving    \
	", terminating: " terminating "}}\n"

#endif
