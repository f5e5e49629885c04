/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done to a pod on its way into the store: its first status, the selectors that go by its own labels, and what each of
 * its subresources may change. */
#include "apiserver/validate/qos.h"
#include "apiserver/validate/strategy.h"
#include "apiserver/validate/validate_internal.h"

/* Keys whose values of the pod's own labels the selector has to match, or may not, become requirements of it. */
static void merge_label_keys(json_t *term, const char *keys, const char *op, const json_t *labels)
{
	json_t *selector = get(term, "labelSelector"), *key;
	size_t i;

	json_array_foreach(selector ? get(term, keys) : NULL, i, key) {
		const char *name = json_string_value(key), *value = json_string_value(json_object_get(labels, name));

		if (!value)
			continue;
		if (!get(selector, "matchExpressions"))
			json_object_set_new(selector, "matchExpressions", json_array());
		json_array_append_new(json_object_get(selector, "matchExpressions"),
				      json_pack("{s:s, s:s, s:[s]}", "key", name, "operator", op, "values", value));
	}
}

static void merge_term(json_t *term, const json_t *labels)
{
	merge_label_keys(term, "matchLabelKeys", "In", labels);
	merge_label_keys(term, "mismatchLabelKeys", "NotIn", labels);
}

static void merge_all_label_keys(json_t *pod)
{
	static const char *const kinds[] = { "podAffinity", "podAntiAffinity" };
	const json_t *labels = json_at(pod, "metadata.labels");
	json_t *spec = get(pod, "spec"), *v;
	size_t i;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		const json_t *affinity = get(get(spec, "affinity"), kinds[k]);

		json_array_foreach(get(affinity, "requiredDuringSchedulingIgnoredDuringExecution"), i, v)
			merge_term(v, labels);
		json_array_foreach(get(affinity, "preferredDuringSchedulingIgnoredDuringExecution"), i, v)
			merge_term(get(v, "podAffinityTerm"), labels);
	}
	json_array_foreach(get(spec, "topologySpreadConstraints"), i, v)
		merge_label_keys(v, "matchLabelKeys", "In", labels);
}

/* The field that an AppArmor annotation stands for; NULL: none. Own. */
static json_t *apparmor_profile(const char *annotation)
{
	if (strcmp(annotation, "runtime/default") == 0)
		return json_pack("{s:s}", "type", "RuntimeDefault");
	if (strcmp(annotation, "unconfined") == 0)
		return json_pack("{s:s}", "type", "Unconfined");
	if (str_starts(annotation, "localhost/") && annotation[strlen("localhost/")])
		return json_pack("{s:s, s:s}", "type", "Localhost", "localhostProfile", annotation + strlen("localhost/"));
	return NULL;
}

static void copy_apparmor(json_t *pod)
{
	static const char *const lists[] = { "initContainers", "containers" };
	const json_t *annotations = json_at(pod, "metadata.annotations");
	json_t *c;
	size_t i;

	for (size_t l = 0; annotations && l < ARRAY_SIZE(lists); l++) {
		json_array_foreach(get(get(pod, "spec"), lists[l]), i, c) {
			_cleanup_free_ char *key = str_printf("container.apparmor.security.beta.kubernetes.io/%s", get_str(c, "name"));
			json_t *profile = apparmor_profile(get_str(annotations, key));

			if (!profile || json_at(c, "securityContext.appArmorProfile") ||
			    json_same(profile, json_at(pod, "spec.securityContext.appArmorProfile"))) {
				json_decref(profile);
				continue;
			}
			if (!get(c, "securityContext"))
				json_object_set_new(c, "securityContext", json_object());
			json_object_set_new(json_object_get(c, "securityContext"), "appArmorProfile", profile);
		}
	}
}

void strategy_pod_create(json_t *pod)
{
	json_t *status = json_pack("{s:s, s:s}", "phase", "Pending", "qosClass", pod_qos_class(pod));

	if (json_array_size(json_at(pod, "spec.schedulingGates")) > 0)
		json_object_set_new(status, "conditions",
				    json_pack("[{s:s, s:s, s:s, s:s}]", "type", "PodScheduled", "status", "False",
					      "reason", "SchedulingGated", "message",
					      "Scheduling is blocked due to non-empty scheduling gates"));
	json_object_set_new(pod, "status", status);
	merge_all_label_keys(pod);
	if (!str_eq(json_str(pod, "spec.os.name"), "windows"))
		copy_apparmor(pod);
}

/* The pod is old but for spec.ephemeralContainers. */
static void only_ephemeral_containers(json_t *pod, const json_t *old)
{
	json_t *list = json_incref(get(get(pod, "spec"), "ephemeralContainers"));

	strategy_restore(pod, old, "spec");
	strategy_restore_metadata(pod, old);
	if (list)
		json_object_set_new(json_object_get(pod, "spec"), "ephemeralContainers", list);
	else
		json_object_del(json_object_get(pod, "spec"), "ephemeralContainers");
}

static bool same_names(const json_t *a, const json_t *b)
{
	json_t *c;
	size_t i;

	if (json_array_size(a) != json_array_size(b))
		return false;
	json_array_foreach(a, i, c) {
		if (strcmp(get_str(c, "name"), get_str(json_array_get(b, i), "name")) != 0)
			return false;
	}
	return true;
}

/* The pod is old but for resources and resize policies. Left alone when containers differ: validation has to say so. */
static void only_resources(json_t *pod, const json_t *old)
{
	static const char *const lists[] = { "containers", "initContainers" }, *const keys[] = { "resources",
												 "resizePolicy" };
	_cleanup_json_ json_t *wanted = json_incref(get(pod, "spec"));
	json_t *spec, *c;
	size_t i;

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
		if (!same_names(get(wanted, lists[l]), get(get(old, "spec"), lists[l])))
			return;
	strategy_restore(pod, old, "spec");
	strategy_restore_metadata(pod, old);
	spec = json_object_get(pod, "spec");
	strategy_restore(spec, wanted, "resources");
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_array_foreach(get(spec, lists[l]), i, c) {
			for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
				strategy_restore(c, json_array_get(get(wanted, lists[l]), i), keys[k]);
		}
	}
}

/* Kubelets that know nothing of a condition's generation do not take it away. */
static void keep_observed_generations(json_t *status, const json_t *old)
{
	struct map *had = list_index(get(old, "conditions"), "type");
	json_t *c;
	size_t i;

	json_array_foreach(get(status, "conditions"), i, c) {
		const json_t *was = map_get(had, get_str(c, "type"));

		if (was && !get_int(c, "observedGeneration"))
			strategy_restore(c, was, "observedGeneration");
	}
	map_free(had);
}

void strategy_pod_update(const char *subresource, json_t *pod, const json_t *old)
{
	if (str_eq(subresource, "ephemeralcontainers")) {
		only_ephemeral_containers(pod, old);
	} else if (str_eq(subresource, "resize")) {
		only_resources(pod, old);
	} else if (str_eq(subresource, "status")) {
		json_t *status = get(pod, "status");

		strategy_restore(strategy_meta(pod), get(old, "metadata"), "deletionTimestamp");
		strategy_restore(strategy_meta(pod), get(old, "metadata"), "ownerReferences");
		if (status && !*get_str(status, "qosClass"))
			strategy_restore(status, get(old, "status"), "qosClass");
		if (status && !get_int(status, "observedGeneration"))
			strategy_restore(status, get(old, "status"), "observedGeneration");
		keep_observed_generations(status, get(old, "status"));
	}
}
