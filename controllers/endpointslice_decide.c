// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The EndpointSlices of a Service, as a plan with the fewest writes. Endpoints with the same address family and the
 * same ports are a group; each existing slice belongs to at most one group. What always holds after the plan: every
 * endpoint stands in exactly one slice, no slice holds more than SLICE_MAX_ENDPOINTS, and an empty slice remains only
 * where a family would otherwise have none.
 */
#include "base/map.h"
#include "base/mem.h"
#include "controllers/endpoints.h"
#include "kube/object.h"

enum { MISSING_NODE_MS = 5000 };

struct group {
	const char *family;     /* "IPv4", "IPv6" */
	json_t *ports;          /* own */
	struct map *endpoints;  /* key -> json_t, own: what still has to find a place */
};
struct groups {
	struct group *items;
	size_t count, cap;
};

static void decref(void *p)
{
	json_decref(p);
}

static void groups_done(struct groups *g)
{
	for (size_t i = 0; i < g->count; i++) {
		json_decref(g->items[i].ports);
		map_free(g->items[i].endpoints);
	}
	free(g->items);
}

static struct group *group_find(struct groups *g, const char *family, const json_t *ports)
{
	for (size_t i = 0; i < g->count; i++) {
		if (str_eq(g->items[i].family, family) && json_same(g->items[i].ports, ports))
			return &g->items[i];
	}
	return NULL;
}

static struct group *group_get(struct groups *g, const char *family, json_t *ports)
{
	struct group *found = group_find(g, family, ports);

	if (found)
		return found;
	MEM_GROW(g->items, g->cap, g->count + 1);
	found = &g->items[g->count++];
	*found = (struct group){ family, json_incref(ports), map_new(decref) };
	return found;
}

/* What an endpoint is known by when its conditions change. */
static char *endpoint_key(const json_t *endpoint)
{
	return str_printf("%s %s", json_str_or(endpoint, "targetRef.uid", ""),
			  json_str_or(endpoint, "addresses[0]", ""));
}

static json_t *hints_for(const struct endpoints_view *v, const char *zone, const char *node)
{
	const char *distribution = json_str_or(v->service, "spec.trafficDistribution", "");
	json_t *hints;

	if (str_eq(distribution, "PreferSameNode") && node) {
		hints = json_pack("{s:[{s:s}]}", "forNodes", "name", node);
		if (zone)
			json_object_set_new(hints, "forZones", json_pack("[{s:s}]", "name", zone));
		return hints;
	}
	if ((str_eq(distribution, "PreferClose") || str_eq(distribution, "PreferSameZone")) && zone)
		return json_pack("{s:[{s:s}]}", "forZones", "name", zone);
	return NULL;
}

static json_t *endpoint_of(const struct endpoints_view *v, const json_t *pod, const char *ip)
{
	const char *hostname = endpoint_hostname(v->service, pod), *node_name = json_str(pod, "spec.nodeName");
	const json_t *node = v->node_get && !str_empty(node_name) ? v->node_get(node_name, v->user) : NULL;
	const char *zone = map_str(object_labels(node), "topology.kubernetes.io/zone");
	bool serving = pod_ready(pod), terminating = object_deleting(pod);
	bool ready = json_bool(v->service, "spec.publishNotReadyAddresses", false) || (serving && !terminating);
	json_t *hints;
	json_t *e = json_pack("{s:[s], s:{s:b, s:b, s:b}, s:{s:s, s:s, s:s, s:s}}", "addresses", ip, "conditions",
			      "ready", ready, "serving", serving, "terminating", terminating, "targetRef", "kind",
			      "Pod", "namespace", object_namespace(pod), "name", object_name(pod), "uid",
			      object_uid(pod));

	if (hostname)
		json_object_set_new(e, "hostname", json_string(hostname));
	if (!str_empty(node_name))
		json_object_set_new(e, "nodeName", json_string(node_name));
	if (zone)
		json_object_set_new(e, "zone", json_string(zone));
	/* Who is not ready gets no traffic that hints could steer. */
	hints = ready ? hints_for(v, zone, node_name) : NULL;
	if (hints)
		json_object_set_new(e, "hints", hints);
	return e;
}

static void add_pod(const struct endpoints_view *v, struct groups *groups, const char *family, const json_t *pod)
{
	json_t *ips = json_at(pod, "status.podIPs"), *entry;
	_cleanup_json_ json_t *single = NULL, *ports = NULL;
	size_t i;

	if (!json_array_size(ips))
		ips = single = json_pack("[{s:s}]", "ip", json_str_or(pod, "status.podIP", ""));
	json_array_foreach(ips, i, entry) {
		const char *ip = json_str_or(entry, "ip", "");
		_cleanup_free_ char *key = NULL;
		json_t *endpoint;

		if (!*ip || (strchr(ip, ':') != NULL) != str_eq(family, "IPv6"))
			continue;
		ports = endpoint_ports(v->service, pod, true);
		endpoint = endpoint_of(v, pod, ip);
		key = endpoint_key(endpoint);
		map_set(group_get(groups, family, ports)->endpoints, key, endpoint);
		return; /* one address of each family */
	}
}

static json_t *wanted_labels(const json_t *service)
{
	json_t *labels = endpoint_labels(service);

	json_object_del(labels, ENDPOINTS_MANAGED_BY);
	json_object_set_new(labels, SLICE_SERVICE_LABEL, json_string(object_name(service)));
	json_object_set_new(labels, SLICE_MANAGED_BY, json_string(SLICE_MANAGER));
	return labels;
}

/* An existing slice and what becomes of it. */
struct kept {
	const json_t *slice;
	struct group *group;   /* NULL: its ports are wanted no more */
	json_t *endpoints;     /* own */
	bool changed;
};
/* A slice that is wanted and has no object yet. */
struct fresh {
	const char *family;
	json_t *ports, *endpoints; /* own */
};
struct work {
	const struct endpoints_view *v;
	struct plan *plan;
	const json_t *owner;       /* the Service, or the Endpoints that is mirrored */
	const char *owner_kind, *manager;
	bool keep_empty;           /* an empty slice says that there are no endpoints */
	json_t *labels;
	struct fresh *fresh;
	size_t fresh_count, fresh_cap;
	struct object_list doomed;
	struct kept *kept;
	size_t kept_count;
	struct groups groups;
};

static void add_fresh(struct work *w, const char *family, json_t *ports, json_t *endpoints)
{
	MEM_GROW(w->fresh, w->fresh_cap, w->fresh_count + 1);
	w->fresh[w->fresh_count++] = (struct fresh){ family, json_incref(ports), endpoints };
}

/* Sets or removes the annotation that says since when the change waits. */
static void note_trigger(const struct work *w, json_t *slice)
{
	json_t *annotations = json_at(slice, "metadata.annotations");

	if (w->v->trigger_time) {
		if (!annotations) {
			annotations = json_object();
			json_set(slice, "metadata.annotations", annotations);
		}
		json_object_set_new(annotations, ENDPOINTS_TRIGGER_TIME, json_string(w->v->trigger_time));
	} else {
		json_object_del(annotations, ENDPOINTS_TRIGGER_TIME);
		if (annotations && !json_object_size(annotations))
			json_unset(slice, "metadata.annotations");
	}
}

static void write_new(struct work *w, const struct fresh *f)
{
	_cleanup_free_ char *prefix = str_printf("%s-", object_name(w->owner));
	json_t *slice = json_pack("{s:s, s:s, s:{s:s, s:s, s:O, s:[o]}, s:s, s:O, s:O}", "apiVersion",
				  "discovery.k8s.io/v1", "kind", "EndpointSlice", "metadata", "generateName", prefix,
				  "namespace", object_namespace(w->owner), "labels", w->labels, "ownerReferences",
				  object_controller_ref(w->owner, "v1", w->owner_kind), "addressType", f->family,
				  "endpoints", f->endpoints, "ports", f->ports);

	note_trigger(w, slice);
	plan_create(w->plan,
		    kube_path("discovery.k8s.io/v1", "endpointslices", object_namespace(w->owner), NULL, NULL), slice)
		->flags |= WRITE_EXPECT_CREATE;
}

static char *slice_path(const json_t *slice)
{
	return kube_path("discovery.k8s.io/v1", "endpointslices", object_namespace(slice), object_name(slice), NULL);
}

/* ports NULL: as they are. */
static void write_update(struct work *w, const json_t *had, json_t *ports, json_t *endpoints)
{
	json_t *slice = json_deep_copy(had);

	json_object_set_new(slice, "apiVersion", json_string("discovery.k8s.io/v1"));
	json_object_set_new(slice, "kind", json_string("EndpointSlice"));
	json_object_set(slice, "endpoints", endpoints);
	if (ports)
		json_object_set(slice, "ports", ports);
	json_set(slice, "metadata.labels", json_incref(w->labels));
	note_trigger(w, slice);
	plan_add(w->plan, "PUT", slice_path(had), slice);
}

/* A doomed slice is better rewritten than deleted while another is created: whoever watches sees no gap. */
static void write_fresh_and_doomed(struct work *w)
{
	for (size_t i = 0; i < w->fresh_count; i++) {
		const struct fresh *f = &w->fresh[i];
		size_t k = 0;

		while (k < w->doomed.count && !str_eq(json_str(w->doomed.items[k], "addressType"), f->family))
			k++;
		if (k < w->doomed.count) {
			write_update(w, w->doomed.items[k], f->ports, f->endpoints);
			w->doomed.items[k] = w->doomed.items[--w->doomed.count];
		} else {
			write_new(w, f);
		}
		json_decref(f->ports);
		json_decref(f->endpoints);
	}
	for (size_t k = 0; k < w->doomed.count; k++)
		plan_delete(w->plan, slice_path(w->doomed.items[k]), object_uid(w->doomed.items[k]), -1, NULL)->flags |=
			WRITE_IGNORE_NOT_FOUND;
	free(w->fresh);
	object_list_done(&w->doomed);
}

/* Keeps of an existing slice what is still wanted, in place; endpoints that found their place leave the group. */
static void keep_wanted(struct work *w, struct kept *k)
{
	json_t *e, *ports = json_object_get(k->slice, "ports");
	_cleanup_json_ json_t *none = json_array();
	size_t i;

	k->group = group_find(&w->groups, json_str_or(k->slice, "addressType", ""), ports ? ports : none);
	k->endpoints = json_array();
	k->changed = !json_same(object_labels(k->slice), w->labels);
	json_array_foreach(json_object_get(k->slice, "endpoints"), i, e) {
		_cleanup_free_ char *key = endpoint_key(e);
		json_t *wanted = k->group ? map_take(k->group->endpoints, key) : NULL;

		if (!wanted) {
			k->changed = true;
			continue;
		}
		if (!json_same(e, wanted))
			k->changed = true;
		json_array_append_new(k->endpoints, wanted);
	}
}

static void move_one(struct map *from, json_t *to)
{
	const char *key;
	void *endpoint;
	size_t it = 0;

	if (map_next(from, &it, &key, &endpoint)) {
		json_array_append(to, endpoint);
		map_del(from, key);
	}
}

/* Finds places for the group's new endpoints: slices that change anyway, then other slices with room, then new ones. */
static void place_rest(struct work *w, struct group *g)
{
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < w->kept_count; i++) {
			struct kept *k = &w->kept[i];

			if (k->group != g || (pass == 0 && !k->changed))
				continue;
			while (map_count(g->endpoints) && json_array_size(k->endpoints) < SLICE_MAX_ENDPOINTS) {
				move_one(g->endpoints, k->endpoints);
				k->changed = true;
			}
		}
	}
	while (map_count(g->endpoints)) {
		json_t *endpoints = json_array();

		while (map_count(g->endpoints) && json_array_size(endpoints) < SLICE_MAX_ENDPOINTS)
			move_one(g->endpoints, endpoints);
		add_fresh(w, g->family, g->ports, endpoints);
	}
}

/* One family: writes its slices; when nothing is left one empty slice says so. */
static void write_family(struct work *w, const char *family, bool any_wanted)
{
	const struct kept *placeholder = NULL;
	json_t *none = NULL;

	for (size_t i = 0; i < w->kept_count; i++) {
		struct kept *k = &w->kept[i];

		if (!str_eq(json_str(k->slice, "addressType"), family))
			continue;
		if (json_array_size(k->endpoints)) {
			if (k->changed)
				write_update(w, k->slice, NULL, k->endpoints);
		} else if (w->keep_empty && !any_wanted && !placeholder &&
			   !json_array_size(json_object_get(k->slice, "ports"))) {
			placeholder = k;
			if (k->changed)
				write_update(w, k->slice, NULL, k->endpoints);
		} else {
			object_list_add(&w->doomed, (json_t *)k->slice);
		}
	}
	if (w->keep_empty && !any_wanted && !placeholder) {
		none = json_array();
		add_fresh(w, family, none, json_array());
		json_decref(none);
	}
}

static bool family_wanted(const struct groups *g, const char *family)
{
	for (size_t i = 0; i < g->count; i++) {
		if (str_eq(g->items[i].family, family))
			return true;
	}
	return false;
}

static bool ours(const struct work *w, const json_t *slice)
{
	return str_eq(map_str(object_labels(slice), SLICE_MANAGED_BY), w->manager) && !object_deleting(slice);
}

static void reconcile(struct work *w, const char *const families[2])
{
	bool wanted[2] = { false, false };

	w->kept = mem_new_n(struct kept, w->v->slices.count + 1);
	for (size_t i = 0; i < w->v->slices.count; i++) {
		const json_t *slice = w->v->slices.items[i];
		const char *type = json_str_or(slice, "addressType", "");

		if (!ours(w, slice))
			continue;
		if (!str_eq(type, families[0]) && !str_eq(type, families[1])) {
			object_list_add(&w->doomed, (json_t *)slice);
			continue;
		}
		w->kept[w->kept_count].slice = slice;
		w->kept_count++;
	}
	for (int f = 0; f < 2; f++)
		wanted[f] = families[f] && family_wanted(&w->groups, families[f]);
	for (size_t i = 0; i < w->kept_count; i++)
		keep_wanted(w, &w->kept[i]);
	for (size_t i = 0; i < w->groups.count; i++)
		place_rest(w, &w->groups.items[i]);
	for (int f = 0; f < 2; f++) {
		if (families[f])
			write_family(w, families[f], wanted[f]);
	}
	write_fresh_and_doomed(w);
	for (size_t i = 0; i < w->kept_count; i++)
		json_decref(w->kept[i].endpoints);
	free(w->kept);
	groups_done(&w->groups);
}

/* The Service's address families; from its address when it does not say, IPv4 when it has none. */
static void families_of(const json_t *service, const char *ret[2])
{
	const char *ip = json_str_or(service, "spec.clusterIP", "");

	ret[0] = json_str(service, "spec.ipFamilies[0]");
	ret[1] = json_str(service, "spec.ipFamilies[1]");
	if (!ret[0])
		ret[0] = strchr(ip, ':') ? "IPv6" : "IPv4";
}

/* A pod of a node that is not (or no longer) there is nowhere, unless its Service wants whatever there is. */
static bool node_is_gone(const struct endpoints_view *v, const json_t *pod)
{
	const char *node = json_str(pod, "spec.nodeName");

	return v->node_get && !str_empty(node) && !json_bool(v->service, "spec.publishNotReadyAddresses", false) &&
	       !v->node_get(node, v->user);
}

void endpointslice_decide(const struct endpoints_view *v, struct plan *plan)
{
	_cleanup_json_ json_t *labels = NULL;
	const char *families[2];
	struct work w = { .v = v, .plan = plan, .owner = v->service, .owner_kind = "Service",
			  .manager = SLICE_MANAGER, .keep_empty = true };

	if (!service_wants_endpoints(v->service))
		return;
	w.labels = labels = wanted_labels(v->service);
	families_of(v->service, families);
	for (size_t i = 0; i < v->pods.count; i++) {
		const json_t *pod = v->pods.items[i];

		if (!map_selects(json_at(v->service, "spec.selector"), object_labels(pod)) ||
		    !endpoint_eligible(pod, true))
			continue;
		if (node_is_gone(v, pod)) {
			plan_requeue(plan, MISSING_NODE_MS);
			continue;
		}
		for (int f = 0; f < 2; f++) {
			if (families[f])
				add_pod(v, &w.groups, families[f], pod);
		}
	}
	reconcile(&w, families);
}

bool endpoints_mirrored(const json_t *endpoints, const json_t *service)
{
	return endpoints && service && !object_deleting(endpoints) &&
	       !json_object_size(json_at(service, "spec.selector")) &&
	       !str_eq(map_str(object_labels(endpoints), SLICE_SKIP_MIRROR), "true") &&
	       !map_str(object_annotations(endpoints), "control-plane.alpha.kubernetes.io/leader");
}

static void mirror_addresses(struct work *w, const json_t *addresses, json_t *ports, bool ready, size_t *room)
{
	static const char *const copied[] = { "hostname", "nodeName", "targetRef" };
	json_t *a, *e, *value;
	size_t i;

	json_array_foreach((json_t *)addresses, i, a) {
		const char *ip = json_str_or(a, "ip", ""), *family = strchr(ip, ':') ? "IPv6" : "IPv4";
		_cleanup_free_ char *key = NULL;

		if (!*ip || !*room)
			continue;
		(*room)--;
		e = json_pack("{s:[s], s:{s:b}}", "addresses", ip, "conditions", "ready", ready);
		for (size_t k = 0; k < ARRAY_SIZE(copied); k++) {
			value = json_object_get(a, copied[k]);
			if (value)
				json_object_set(e, copied[k], value);
		}
		key = endpoint_key(e);
		map_set(group_get(&w->groups, family, ports)->endpoints, key, e);
	}
}

/* A subset's ports as slices write them: with their names, "" too. */
static json_t *mirror_ports(const json_t *subset)
{
	json_t *ports = json_deep_copy(json_object_get(subset, "ports")), *port;
	size_t i;

	if (!ports)
		ports = json_array();
	json_array_foreach(ports, i, port) {
		if (!json_object_get(port, "name"))
			json_object_set_new(port, "name", json_string(""));
	}
	return ports;
}

void endpointslice_mirror_decide(const struct endpoints_view *v, struct plan *plan)
{
	static const char *const families[2] = { "IPv4", "IPv6" };
	struct work w = { .v = v, .plan = plan, .owner = v->endpoints, .owner_kind = "Endpoints",
			  .manager = SLICE_MIRROR_MANAGER };
	_cleanup_json_ json_t *labels = json_deep_copy(object_labels(v->endpoints));
	json_t *subset;
	size_t i;

	if (!labels)
		labels = json_object();
	json_object_set_new(labels, SLICE_SERVICE_LABEL, json_string(object_name(v->endpoints)));
	json_object_set_new(labels, SLICE_MANAGED_BY, json_string(SLICE_MIRROR_MANAGER));
	w.labels = labels;
	if (endpoints_mirrored(v->endpoints, v->service)) {
		json_array_foreach(json_object_get(v->endpoints, "subsets"), i, subset) {
			_cleanup_json_ json_t *ports = mirror_ports(subset);
			size_t room = ENDPOINTS_MAX_ADDRESSES;

			mirror_addresses(&w, json_object_get(subset, "addresses"), ports, true, &room);
			mirror_addresses(&w, json_object_get(subset, "notReadyAddresses"), ports, false, &room);
		}
	}
	reconcile(&w, families);
}
