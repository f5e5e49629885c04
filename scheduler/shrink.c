/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keeps the listed fields of an object and drops the rest: most of a pod is of no use to a scheduler. */
#include "scheduler/shrink.h"

#include "base/macros.h"

/* Moves the keys of from that are named into a new object. */
static json_t *pick(const json_t *from, const char *const *keys)
{
	json_t *to = json_object();

	for (; *keys; keys++) {
		json_t *v = json_object_get(from, *keys);

		if (v)
			json_object_set(to, *keys, v);
	}
	return to;
}

static void pick_into(json_t *to, const json_t *from, const char *key, const char *const *keys)
{
	const json_t *v = json_object_get(from, key);

	if (json_is_object(v))
		json_object_set_new(to, key, pick(v, keys));
}

static void pick_list(json_t *to, const json_t *from, const char *key, const char *const *keys)
{
	json_t *list = json_object_get(from, key), *kept, *e;
	size_t i;

	if (!json_array_size(list))
		return;
	kept = json_array();
	json_array_foreach(list, i, e)
		json_array_append_new(kept, pick(e, keys));
	json_object_set_new(to, key, kept);
}

static const char *const type_keys[] = { "apiVersion", "kind", NULL };

json_t *shrink_pod(json_t *pod, void *user _unused_)
{
	static const char *const meta[] = { "name", "namespace", "uid", "resourceVersion", "labels", "creationTimestamp",
					    "deletionTimestamp", "ownerReferences", NULL };
	static const char *const spec[] = { "nodeName", "nodeSelector", "affinity", "tolerations",
					    "topologySpreadConstraints", "schedulerName", "priority", "schedulingGates",
					    "preemptionPolicy", "overhead", NULL };
	static const char *const container[] = { "image", "resources", "ports", "restartPolicy", NULL };
	static const char *const status[] = { "phase", "startTime", "nominatedNodeName", NULL };
	json_t *o = pick(pod, type_keys), *from = json_object_get(pod, "spec"), *to = pick(from, spec);
	json_t *s = pick(json_object_get(pod, "status"), status), *c;
	size_t i;

	pick_into(o, pod, "metadata", meta);
	pick_list(to, from, "containers", container);
	pick_list(to, from, "initContainers", container);
	json_object_set_new(o, "spec", to);
	json_array_foreach(json_at(pod, "status.conditions"), i, c)
		if (str_eq(json_str(c, "type"), "PodScheduled")) {
			json_object_set_new(s, "conditions", json_array());
			json_array_append(json_object_get(s, "conditions"), c);
		}
	json_object_set_new(o, "status", s);
	json_decref(pod);
	return o;
}

json_t *shrink_node(json_t *node, void *user _unused_)
{
	static const char *const meta[] = { "name", "uid", "resourceVersion", "labels", NULL };
	static const char *const spec[] = { "taints", "unschedulable", NULL };
	static const char *const status[] = { "allocatable", "images", NULL };
	json_t *o = pick(node, type_keys);

	pick_into(o, node, "metadata", meta);
	pick_into(o, node, "spec", spec);
	pick_into(o, node, "status", status);
	json_decref(node);
	return o;
}

json_t *shrink_namespace(json_t *ns, void *user _unused_)
{
	static const char *const meta[] = { "name", "uid", "resourceVersion", "labels", NULL };
	json_t *o = pick(ns, type_keys);

	pick_into(o, ns, "metadata", meta);
	json_decref(ns);
	return o;
}
