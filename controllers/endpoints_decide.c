// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The Endpoints object of a Service, as a plan. Addresses with the same set of ports share a subset; inside a subset
 * they are sorted, so that the same pods always give the same object and nothing is written without a change.
 */
#include "base/mem.h"
#include "controllers/endpoints.h"
#include "kube/object.h"

struct subset {
	json_t *ports, *ready, *not_ready; /* own */
	char *sort_key;                    /* own */
};

static json_t *address_of(const json_t *service, const json_t *pod, const char *ip)
{
	const char *hostname = endpoint_hostname(service, pod), *node = json_str(pod, "spec.nodeName");
	json_t *a = json_object();

	json_object_set_new(a, "ip", json_string(ip));
	if (hostname)
		json_object_set_new(a, "hostname", json_string(hostname));
	if (!str_empty(node))
		json_object_set_new(a, "nodeName", json_string(node));
	json_object_set_new(a, "targetRef",
			    json_pack("{s:s, s:s, s:s, s:s}", "kind", "Pod", "namespace", object_namespace(pod), "name",
				      object_name(pod), "uid", object_uid(pod)));
	return a;
}

/* The pod's address in the Service's first family. */
static const char *pod_address(const json_t *service, const json_t *pod)
{
	const char *family = json_str(service, "spec.ipFamilies[0]");
	json_t *entry;
	size_t i;

	if (!family)
		return json_str(pod, "status.podIP");
	json_array_foreach(json_at(pod, "status.podIPs"), i, entry) {
		const char *ip = json_str_or(entry, "ip", "");

		if ((strchr(ip, ':') != NULL) == str_eq(family, "IPv6"))
			return ip;
	}
	if (json_array_size(json_at(pod, "status.podIPs")))
		return NULL;
	return json_str(pod, "status.podIP");
}

static struct subset *subset_for(struct subset **subsets, size_t *count, size_t *cap, json_t *ports)
{
	_cleanup_free_ char *key = json_dumps(ports, JSON_COMPACT | JSON_SORT_KEYS);
	struct subset *s;

	for (size_t i = 0; i < *count; i++) {
		if (str_eq((*subsets)[i].sort_key, key)) {
			json_decref(ports);
			return &(*subsets)[i];
		}
	}
	MEM_GROW(*subsets, *cap, *count + 1);
	s = &(*subsets)[(*count)++];
	*s = (struct subset){ .ports = ports, .ready = json_array(), .not_ready = json_array(), .sort_key = TAKE(key) };
	return s;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct subset *)a)->sort_key, ((const struct subset *)b)->sort_key);
}

static int by_address(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int d = strcmp(json_str(x, "ip"), json_str(y, "ip"));

	return d ? d : strcmp(json_str(x, "targetRef.uid"), json_str(y, "targetRef.uid"));
}

static json_t *sorted(json_t *array)
{
	size_t n = json_array_size(array);
	_cleanup_free_ json_t **items = mem_new_n(json_t *, n + 1);
	json_t *out = json_array();

	for (size_t i = 0; i < n; i++)
		items[i] = json_array_get(array, i);
	qsort(items, n, sizeof(*items), by_address);
	for (size_t i = 0; i < n; i++)
		json_array_append(out, items[i]);
	return out;
}

/* Not ready addresses go first when there are too many. Returns what is left of the room. */
static size_t cut(json_t *addresses, size_t room)
{
	while (json_array_size(addresses) > room)
		json_array_remove(addresses, json_array_size(addresses) - 1);
	return room - json_array_size(addresses);
}

static json_t *subset_json(struct subset *s)
{
	json_t *o = json_object();

	if (json_array_size(s->ready))
		json_object_set_new(o, "addresses", sorted(s->ready));
	if (json_array_size(s->not_ready))
		json_object_set_new(o, "notReadyAddresses", sorted(s->not_ready));
	if (json_array_size(s->ports))
		json_object_set(o, "ports", s->ports);
	return o;
}

/* Own: the array of subsets; *ret_truncated when ENDPOINTS_MAX_ADDRESSES were too few. */
static json_t *wanted_subsets(const struct endpoints_view *v, bool *ret_truncated)
{
	bool publish = json_bool(v->service, "spec.publishNotReadyAddresses", false);
	_cleanup_free_ struct subset *subsets = NULL;
	size_t count = 0, cap = 0, total = 0, room = ENDPOINTS_MAX_ADDRESSES;
	json_t *out = json_array();

	for (size_t i = 0; i < v->pods.count; i++) {
		const json_t *pod = v->pods.items[i];
		const char *ip = pod_address(v->service, pod);
		struct subset *s;
		json_t *ports;

		if (!ip || !map_selects(json_at(v->service, "spec.selector"), object_labels(pod)) ||
		    !endpoint_eligible(pod, publish))
			continue;
		ports = endpoint_ports(v->service, pod, false);
		if (!json_array_size(ports) && !(service_headless(v->service) &&
						 !json_array_size(json_at(v->service, "spec.ports")))) {
			json_decref(ports);
			continue;
		}
		s = subset_for(&subsets, &count, &cap, ports);
		json_array_append_new(publish || pod_ready(pod) ? s->ready : s->not_ready,
				      address_of(v->service, pod, ip));
		total++;
	}
	if (count)
		qsort(subsets, count, sizeof(*subsets), by_key);
	for (size_t i = 0; i < count; i++)
		room = cut(subsets[i].ready, room);
	for (size_t i = 0; i < count; i++)
		room = cut(subsets[i].not_ready, room);
	for (size_t i = 0; i < count; i++) {
		struct subset *s = &subsets[i];

		if (json_array_size(s->ready) + json_array_size(s->not_ready))
			json_array_append_new(out, subset_json(s));
		json_decref(s->ports);
		json_decref(s->ready);
		json_decref(s->not_ready);
		free(s->sort_key);
	}
	*ret_truncated = total > ENDPOINTS_MAX_ADDRESSES;
	return out;
}

void endpoints_decide(const struct endpoints_view *v, struct plan *plan)
{
	const char *ns = object_namespace(v->service), *name = object_name(v->service);
	_cleanup_json_ json_t *subsets = NULL, *labels = NULL, *annotations = NULL, *object = NULL;
	json_t *had;
	bool truncated;

	if (!service_wants_endpoints(v->service))
		return;
	subsets = wanted_subsets(v, &truncated);
	labels = endpoint_labels(v->service);
	json_object_set_new(labels, ENDPOINTS_MANAGED_BY, json_string("endpoint-controller"));
	annotations = json_deep_copy(object_annotations(v->endpoints));
	if (!annotations)
		annotations = json_object();
	if (v->trigger_time)
		json_object_set_new(annotations, ENDPOINTS_TRIGGER_TIME, json_string(v->trigger_time));
	else
		json_object_del(annotations, ENDPOINTS_TRIGGER_TIME);
	if (truncated)
		json_object_set_new(annotations, "endpoints.kubernetes.io/over-capacity", json_string("truncated"));
	else
		json_object_del(annotations, "endpoints.kubernetes.io/over-capacity");

	object = json_pack("{s:s, s:s, s:{s:s, s:s, s:O}}", "apiVersion", "v1", "kind", "Endpoints", "metadata", "name",
			   name, "namespace", ns, "labels", labels);
	if (json_object_size(annotations))
		json_set(object, "metadata.annotations", json_incref(annotations));
	if (json_array_size(subsets))
		json_object_set(object, "subsets", subsets);
	if (!v->endpoints) {
		plan_create(plan, kube_path("v1", "endpoints", ns, NULL, NULL), TAKE(object));
		return;
	}
	had = json_object_get(v->endpoints, "subsets");
	if (json_same(labels, object_labels(v->endpoints)) &&
	    (had ? json_same(had, subsets) : !json_array_size(subsets)) &&
	    truncated == (map_str(object_annotations(v->endpoints), "endpoints.kubernetes.io/over-capacity") != NULL))
		return;
	json_set(object, "metadata.resourceVersion", json_string(object_resource_version(v->endpoints)));
	plan_add(plan, "PUT", kube_path("v1", "endpoints", ns, name, NULL), TAKE(object));
}
