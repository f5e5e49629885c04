/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pods and nodes as the deciders see them. A node's sums are always those of its pods. */
#include "scheduler/snapshot.h"

#include "base/clock.h"
#include "base/mem.h"
#include "kube/object.h"

enum { DEFAULT_MILLI_CPU = 100, DEFAULT_MEMORY = 200 << 20 };

/* ---- pods ---- */

static void terms_done(struct pod_terms *t)
{
	for (size_t i = 0; i < t->count; i++) {
		selector_free(t->items[i].pods);
		selector_free(t->items[i].namespace_selector);
		strlist_done(&t->items[i].namespaces);
		free(t->items[i].topology_key);
	}
	free(t->items);
	*t = (struct pod_terms){ 0 };
}

/* The label selector with matchLabelKeys and mismatchLabelKeys of the pod's own labels worked in. Own. */
static json_t *merged_selector(const json_t *term, const json_t *pod_labels)
{
	static const char *const lists[][2] = { { "matchLabelKeys", "In" }, { "mismatchLabelKeys", "NotIn" } };
	const json_t *selector = json_object_get(term, "labelSelector");
	json_t *merged = json_is_object(selector) ? json_deep_copy(selector) : NULL, *key;
	size_t k;

	for (size_t i = 0; i < ARRAY_SIZE(lists) && merged; i++)
		json_array_foreach(json_object_get(term, lists[i][0]), k, key) {
			const char *name = json_string_value(key);
			const char *value = name ? json_string_value(json_object_get(pod_labels, name)) : NULL;

			if (!value)
				continue;
			if (!json_is_array(json_object_get(merged, "matchExpressions")))
				json_object_set_new(merged, "matchExpressions", json_array());
			json_array_append_new(json_object_get(merged, "matchExpressions"),
					      json_pack("{s:s, s:s, s:[s]}", "key", name, "operator", lists[i][1], "values",
							value));
		}
	return merged;
}

static void add_term(struct pod_terms *t, const json_t *pod, const json_t *term, int64_t weight)
{
	_cleanup_json_ json_t *selector = merged_selector(term, object_labels(pod));
	json_t *namespaces = json_object_get(term, "namespaces"), *ns_selector = json_object_get(term, "namespaceSelector"), *v;
	struct pod_term *n;
	size_t i;

	t->items = mem_realloc(t->items, sizeof(*t->items) * (t->count + 1));
	n = &t->items[t->count++];
	*n = (struct pod_term){ .weight = weight, .topology_key = mem_strdup(json_str_or(term, "topologyKey", "")) };
	n->pods = selector_from_label_selector(selector, NULL);
	if (!n->pods) /* refused by validation; chooses nothing */
		n->pods = selector_from_label_selector(NULL, NULL);
	json_array_foreach(namespaces, i, v)
		if (json_is_string(v))
			strlist_add(&n->namespaces, json_string_value(v));
	if (json_is_object(ns_selector))
		n->namespace_selector = selector_from_label_selector(ns_selector, NULL);
	if (!n->namespaces.count && !n->namespace_selector)
		strlist_add(&n->namespaces, object_namespace(pod));
}

static void add_terms(const json_t *pod, const char *kind, struct pod_terms *required, struct pod_terms *preferred)
{
	const json_t *affinity = json_object_get(json_at(pod, "spec.affinity"), kind);
	json_t *e;
	size_t i;

	json_array_foreach(json_object_get(affinity, "requiredDuringSchedulingIgnoredDuringExecution"), i, e)
		add_term(required, pod, e, 0);
	json_array_foreach(json_object_get(affinity, "preferredDuringSchedulingIgnoredDuringExecution"), i, e)
		add_term(preferred, pod, json_object_get(e, "podAffinityTerm"), json_int(e, "weight", 0));
}

static void add_ports(struct pod_info *p, const json_t *container)
{
	json_t *port;
	size_t i;

	json_array_foreach(json_object_get(container, "ports"), i, port) {
		int64_t n = json_int(port, "hostPort", 0);

		if (n <= 0 || n > 65535)
			continue;
		p->ports = mem_realloc(p->ports, sizeof(*p->ports) * (p->port_count + 1));
		p->ports[p->port_count++] = (struct host_port){
			.ip = mem_strdup(json_str_or(port, "hostIP", "")),
			.protocol = mem_strdup(json_str_or(port, "protocol", "TCP")),
			.port = (int32_t)n,
		};
	}
}

struct pod_info *pod_info_new(const json_t *pod)
{
	struct pod_info *p = mem_new(struct pod_info);
	const char *node = json_str_or(pod, "spec.nodeName", "");
	json_t *containers = json_at(pod, "spec.containers"), *c;
	size_t i;

	p->ns = mem_strdup(object_namespace(pod));
	p->name = mem_strdup(object_name(pod));
	p->uid = mem_strdup(object_uid(pod));
	p->node = *node ? mem_strdup(node) : NULL;
	p->owner_uid = mem_strdup(json_str(object_controller_of(pod), "uid"));
	p->labels = json_incref(object_labels(pod));
	p->priority = (int32_t)json_int(pod, "spec.priority", 0);
	p->deleting = object_deleting(pod);
	p->never_preempts = str_eq(json_str(pod, "spec.preemptionPolicy"), "Never");
	clock_parse_rfc3339(json_str_or(pod, "status.startTime", json_str_or(pod, "metadata.creationTimestamp", "")),
			    &p->start_us);
	resources_of_pod(&p->requests, pod, 0, 0);
	resources_of_pod(&p->scored, pod, DEFAULT_MILLI_CPU, DEFAULT_MEMORY);
	p->container_count = (unsigned)(json_array_size(containers) + json_array_size(json_at(pod, "spec.initContainers")));
	json_array_foreach(containers, i, c)
		add_ports(p, c);
	json_array_foreach(json_at(pod, "spec.initContainers"), i, c)
		if (str_eq(json_str(c, "restartPolicy"), "Always"))
			add_ports(p, c);
	add_terms(pod, "podAffinity", &p->affinity, &p->preferred);
	add_terms(pod, "podAntiAffinity", &p->anti_affinity, &p->anti_preferred);
	return p;
}

struct pod_info *pod_info_free(struct pod_info *p)
{
	if (!p)
		return NULL;
	free(p->ns);
	free(p->name);
	free(p->uid);
	free(p->node);
	free(p->owner_uid);
	json_decref(p->labels);
	resources_done(&p->requests);
	resources_done(&p->scored);
	for (size_t i = 0; i < p->port_count; i++) {
		free(p->ports[i].ip);
		free(p->ports[i].protocol);
	}
	free(p->ports);
	terms_done(&p->affinity);
	terms_done(&p->anti_affinity);
	terms_done(&p->preferred);
	terms_done(&p->anti_preferred);
	free(p);
	return NULL;
}

bool pod_info_has_terms(const struct pod_info *p)
{
	return p->affinity.count || p->anti_affinity.count || p->preferred.count || p->anti_preferred.count;
}

bool pod_term_matches(const struct pod_term *t, const struct snapshot *s, const char *ns, const json_t *labels)
{
	bool in_namespace = strlist_has(&t->namespaces, ns) ||
			    (t->namespace_selector && selector_matches(t->namespace_selector, map_get(s->namespaces, ns)));

	return in_namespace && selector_matches(t->pods, labels);
}

/* ---- nodes ---- */

struct node_info *node_info_new(const char *name)
{
	struct node_info *n = mem_new(struct node_info);

	n->name = mem_strdup(name);
	return n;
}

struct node_info *node_info_free(struct node_info *n)
{
	if (!n)
		return NULL;
	for (size_t i = 0; i < n->pod_count; i++)
		pod_info_free(n->pods[i]);
	free(n->pods);
	free(n->name);
	json_decref(n->labels);
	json_decref(n->taints);
	resources_done(&n->allocatable);
	resources_done(&n->requested);
	resources_done(&n->scored);
	map_free(n->images);
	free(n);
	return NULL;
}

void node_info_set(struct node_info *n, const json_t *node)
{
	json_t *allocatable = json_at(node, "status.allocatable"), *image, *name;
	size_t i, k;

	n->known = true;
	json_decref(n->labels);
	json_decref(n->taints);
	n->labels = json_incref(object_labels(node));
	n->taints = json_incref(json_at(node, "spec.taints"));
	n->unschedulable = json_bool(node, "spec.unschedulable", false);
	resources_done(&n->allocatable);
	resources_add_json(&n->allocatable, allocatable);
	n->max_pods = resource_value(allocatable, "pods");
	map_free(n->images);
	n->images = map_new(NULL);
	json_array_foreach(json_at(node, "status.images"), i, image)
		json_array_foreach(json_object_get(image, "names"), k, name)
			if (json_is_string(name))
				map_set(n->images, json_string_value(name),
					(void *)(intptr_t)json_int(image, "sizeBytes", 0));
}

void node_info_add(struct node_info *n, struct pod_info *p)
{
	MEM_GROW(n->pods, n->pod_cap, n->pod_count + 1);
	n->pods[n->pod_count++] = p;
	n->with_terms += pod_info_has_terms(p);
	resources_add(&n->requested, &p->requests);
	resources_add(&n->scored, &p->scored);
}

struct pod_info *node_info_take(struct node_info *n, const char *uid)
{
	for (size_t i = 0; i < n->pod_count; i++) {
		struct pod_info *p = n->pods[i];

		if (!str_eq(p->uid, uid))
			continue;
		n->pods[i] = n->pods[--n->pod_count];
		n->with_terms -= pod_info_has_terms(p);
		resources_sub(&n->requested, &p->requests);
		resources_sub(&n->scored, &p->scored);
		return p;
	}
	return NULL;
}

const char *node_label(const struct node_info *n, const char *key)
{
	return json_string_value(json_object_get(n->labels, key));
}

/* ---- the whole ---- */

static void free_json(void *v)
{
	json_decref(v);
}

struct snapshot *snapshot_new(void)
{
	struct snapshot *s = mem_new(struct snapshot);

	s->by_name = map_new(NULL);
	s->namespaces = map_new(free_json);
	return s;
}

struct snapshot *snapshot_free(struct snapshot *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->node_count; i++)
		node_info_free(s->nodes[i]);
	free(s->nodes);
	map_free(s->by_name);
	map_free(s->namespaces);
	free(s);
	return NULL;
}

struct node_info *snapshot_node(const struct snapshot *s, const char *name)
{
	return name ? map_get(s->by_name, name) : NULL;
}

struct node_info *snapshot_add_node(struct snapshot *s, const char *name)
{
	struct node_info *n = map_get(s->by_name, name);

	if (n)
		return n;
	n = node_info_new(name);
	MEM_GROW(s->nodes, s->node_cap, s->node_count + 1);
	s->nodes[s->node_count++] = n;
	map_set(s->by_name, name, n);
	return n;
}

void snapshot_remove_node(struct snapshot *s, const char *name)
{
	struct node_info *n = map_get(s->by_name, name);

	if (!n)
		return;
	n->known = false;
	for (size_t i = 0; i < s->node_count && !n->pod_count; i++)
		if (s->nodes[i] == n) {
			map_del(s->by_name, name);
			s->nodes[i] = s->nodes[--s->node_count];
			node_info_free(n);
			return;
		}
}

size_t snapshot_known(const struct snapshot *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->node_count; i++)
		n += s->nodes[i]->known;
	return n;
}
