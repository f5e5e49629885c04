/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an update may change in a Pod: images, a shorter deadline, further tolerations, and while it is gated its
 * placement; by their own subresources ephemeral containers, resources and the status.
 */
#include "apiserver/validate/diff.h"
#include "apiserver/validate/qos.h"
#include "apiserver/validate/validate_pod.h"

void check_fixed_annotations(const struct validation *v)
{
	static const struct {
		const char *prefix, *add, *change;
	} fixed[] = {
		{ "container.apparmor.security.beta.kubernetes.io/", "may not add AppArmor annotations",
		  "may not remove or update AppArmor annotations" },
		{ "kubernetes.io/config.mirror", "may not add mirror pod annotation",
		  "may not remove or update mirror pod annotation" },
	};
	const json_t *now = json_at(v->object, "metadata.annotations"), *old = json_at(v->old, "metadata.annotations");
	const struct fpath *p = FP(FP(NULL, "metadata"), "annotations");
	const char *key;
	json_t *value;

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		json_object_foreach((json_t *)old, key, value) {
			if (str_starts(key, fixed[i].prefix) &&
			    strcmp(get_str(now, key), json_string_value(value)) != 0)
				fe_forbidden(v->e, FP_KEY(p, key), "%s", fixed[i].change);
		}
		json_object_foreach((json_t *)now, key, value) {
			if (str_starts(key, fixed[i].prefix) && !json_object_get(old, key))
				fe_forbidden(v->e, FP_KEY(p, key), "%s", fixed[i].add);
		}
	}
}

/* False: validation ends here. */
static bool check_deadline(const struct validation *v, const struct fpath *p, const json_t *spec, const json_t *old)
{
	const json_t *now = get(spec, "activeDeadlineSeconds"), *was = get(old, "activeDeadlineSeconds");

	if (now && (json_integer_value(now) < 0 || json_integer_value(now) > INT32_MAX)) {
		fe_invalid_json(v->e, p, now, "must be between 0 and 2147483647, inclusive");
		return false;
	}
	if (now && was && json_integer_value(now) > json_integer_value(was)) {
		fe_invalid_json(v->e, p, now, "must be less than or equal to previous value");
		return false;
	}
	if (was && !now)
		fe_invalid_json(v->e, p, NULL, "must not update from a positive integer to nil value");
	return true;
}

/* What must stay of a toleration; own. */
static char *toleration_id(const json_t *t)
{
	return str_printf("%s\n%s\n%s\n%s", get_str(t, "key"), get_str(t, "operator"), get_str(t, "value"),
			  get_str(t, "effect"));
}

static void check_toleration_changes(const struct validation *v, const struct fpath *p, const json_t *now,
				     const json_t *old)
{
	struct map *kept = map_new(NULL);
	bool lost = false;
	json_t *t;
	size_t i;

	json_array_foreach(now, i, t) {
		_cleanup_free_ char *id = toleration_id(t);

		map_set(kept, id, t);
	}
	json_array_foreach(old, i, t) {
		_cleanup_free_ char *id = toleration_id(t);

		lost |= !map_has(kept, id);
	}
	map_free(kept);
	if (lost)
		fe_forbidden(v->e, p, "existing toleration can not be modified except its tolerationSeconds");
}

static void check_gate_changes(const struct validation *v, const struct fpath *p, const json_t *now, const json_t *old)
{
	struct map *had = list_index(old, "name");
	json_t *gate;
	size_t i;

	json_array_foreach(now, i, gate) {
		if (!map_has(had, get_str(gate, "name")))
			fe_forbidden(v->e, FP(FP_INDEX(p, i), "name"),
				     "only deletion is allowed, but found new scheduling gate '%s'",
				     get_str(gate, "name"));
	}
	map_free(had);
}

/* Every member of old's list, in order, at the beginning of now's. */
static bool is_prefix(const json_t *old, const json_t *now)
{
	json_t *v;
	size_t i;

	json_array_foreach(old, i, v) {
		if (!same_semantic(v, json_array_get(now, i)))
			return false;
	}
	return true;
}

/* A pod that waits for its gates may have its placement narrowed. munged gets the old values of what was allowed. */
static void check_gated_changes(const struct validation *v, const struct fpath *p, const json_t *spec,
				const json_t *old, json_t *munged)
{
	static const char path[] =
		"affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
	const json_t *now = get(spec, "nodeSelector"), *was = get(old, "nodeSelector");
	const json_t *terms = json_at(spec, path), *old_terms = json_at(old, path);
	const struct fpath *at = FP(p, path);
	const char *key;
	json_t *value;
	size_t i;

	json_object_foreach((json_t *)was, key, value) {
		if (strcmp(get_str(now, key), json_string_value(value)) == 0)
			continue;
		fe_invalid_json(v->e, FP(p, "nodeSelector"), now,
				"only additions to spec.nodeSelector are allowed (no mutations or deletions)");
		break;
	}
	if (json_array_size(old_terms) && json_array_size(old_terms) != json_array_size(terms))
		fe_invalid_json(v->e, at, terms,
				"no additions/deletions to non-empty NodeSelectorTerms list are allowed");
	else
		json_array_foreach(old_terms, i, value) {
			const json_t *term = json_array_get(terms, i);

			if (!is_prefix(get(value, "matchExpressions"), get(term, "matchExpressions")) ||
			    !is_prefix(get(value, "matchFields"), get(term, "matchFields")))
				fe_invalid_json(v->e, FP_INDEX(at, i), term,
						"only additions are allowed (no mutations or deletions)");
		}
	json_object_del(munged, "nodeSelector");
	if (was)
		json_object_set_new(munged, "nodeSelector", json_clone(was));
	if (json_at(spec, "affinity.nodeAffinity") && get(munged, "affinity")) {
		json_t *node = json_at(old, "affinity.nodeAffinity");

		json_object_del(json_object_get(munged, "affinity"), "nodeAffinity");
		if (node)
			json_object_set_new(json_object_get(munged, "affinity"), "nodeAffinity", json_clone(node));
	}
}

static void munge_images(json_t *munged, const json_t *old, const char *list)
{
	json_t *container;
	size_t i;

	json_array_foreach(get(munged, list), i, container) {
		const json_t *image = json_object_get(json_array_get(get(old, list), i), "image");

		if (image)
			json_object_set_new(container, "image", json_clone(image));
	}
}

static void take_old(json_t *munged, const json_t *old, const char *key)
{
	const json_t *v = json_object_get(old, key);

	if (v)
		json_object_set_new(munged, key, json_clone(v));
	else
		json_object_del(munged, key);
}

static void check_spec_change(const struct validation *v, const struct fpath *p, const json_t *spec, const json_t *old)
{
	_cleanup_json_ json_t *munged = NULL;
	_cleanup_free_ char *diff = NULL;

	if (same_semantic(spec, old))
		return;
	munged = json_clone(spec);
	munge_images(munged, old, "containers");
	munge_images(munged, old, "initContainers");
	take_old(munged, old, "activeDeadlineSeconds");
	take_old(munged, old, "tolerations");
	take_old(munged, old, "schedulingGates");
	if (get_int(old, "terminationGracePeriodSeconds") < 0 && get_int(spec, "terminationGracePeriodSeconds") == 1)
		take_old(munged, old, "terminationGracePeriodSeconds");
	if (json_array_size(get(old, "schedulingGates")) > 0)
		check_gated_changes(v, p, spec, old, munged);
	if (same_semantic(munged, old))
		return;
	diff = diff_text(old, munged);
	fe_forbidden(v->e, p,
		     "pod updates may not change fields other than "
		     "`spec.containers[*].image`,`spec.initContainers[*].image`,"
		     "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
		     "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n%s",
		     diff);
}

static void check_main_update(const struct validation *v)
{
	static const char *const lists[] = { "containers", "initContainers" };
	const json_t *spec = get(v->object, "spec"), *old = get(v->old, "spec");
	const struct fpath *p = FP(NULL, "spec");

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		if (json_array_size(get(spec, lists[l])) != json_array_size(get(old, lists[l]))) {
			fe_forbidden(v->e, FP(p, lists[l]), "pod updates may not add or remove containers");
			return;
		}
	}
	if (!check_deadline(v, FP(p, "activeDeadlineSeconds"), spec, old))
		return;
	check_toleration_changes(v, FP(p, "tolerations"), get(spec, "tolerations"), get(old, "tolerations"));
	check_gate_changes(v, FP(p, "schedulingGates"), get(spec, "schedulingGates"), get(old, "schedulingGates"));
	check_spec_change(v, p, spec, old);
}

static bool mirror_pod(const json_t *pod)
{
	return json_object_get(json_at(pod, "metadata.annotations"), "kubernetes.io/config.mirror") != NULL;
}

static void check_ephemeral_update(const struct validation *v)
{
	const json_t *now = json_at(v->object, "spec.ephemeralContainers"),
		     *old = json_at(v->old, "spec.ephemeralContainers");
	const struct fpath *p = FP(FP(NULL, "spec"), "ephemeralContainers");
	struct map *kept;
	json_t *was;
	size_t i;

	if (mirror_pod(v->old)) {
		fe_forbidden(v->e, NULL, "static pods do not support ephemeral containers");
		return;
	}
	kept = list_index(now, "name");
	json_array_foreach(old, i, was) {
		const json_t *is = map_get(kept, get_str(was, "name"));
		_cleanup_free_ char *diff = NULL;

		if (!is) {
			fe_forbidden(v->e, p, "existing ephemeral containers \"%s\" may not be removed\n",
				     get_str(was, "name"));
		} else if (!same_semantic(was, is)) {
			diff = diff_text(was, is);
			fe_forbidden(v->e, p, "existing ephemeral containers \"%s\" may not be changed\n%s",
				     get_str(was, "name"), diff);
		}
	}
	map_free(kept);
}

static void check_removed(const struct validation *v, const struct fpath *p, const json_t *now, const json_t *old,
			  const char *list, const char *what)
{
	const char *key;
	json_t *value;

	json_object_foreach(get(old, list), key, value) {
		if (json_object_get(get(now, list), key))
			continue;
		fe_forbidden(v->e, FP(p, list), "%s", what);
		return;
	}
}

/* Equal but for cpu and memory. */
static bool only_cpu_and_memory(const json_t *now, const json_t *old)
{
	static const char *const lists[] = { "requests", "limits" }, *const names[] = { "cpu", "memory" };
	_cleanup_json_ json_t *a = now ? json_clone(now) : json_object(),
			      *b = old ? json_clone(old) : json_object();

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
			json_object_del(get(a, lists[l]), names[n]);
			json_object_del(get(b, lists[l]), names[n]);
		}
		if (json_object_size(get(a, lists[l])) == 0)
			json_object_del(a, lists[l]);
		if (json_object_size(get(b, lists[l])) == 0)
			json_object_del(b, lists[l]);
	}
	return same_semantic(a, b);
}

static bool restarts_on_resize(const json_t *container)
{
	json_t *policy;
	size_t i;

	json_array_foreach(get(container, "resizePolicy"), i, policy) {
		if (strcmp(get_str(policy, "restartPolicy"), "RestartContainer") == 0)
			return true;
	}
	return false;
}

/* False: validation ends here. */
static bool check_container_resize(const struct validation *v, const struct fpath *spec, const char *list, bool init)
{
	const json_t *now = get(get(v->object, "spec"), list), *old = get(get(v->old, "spec"), list);
	const struct fpath *p = FP(spec, list);
	json_t *c;
	size_t i;

	if (json_array_size(now) != json_array_size(old)) {
		fe_forbidden(v->e, p, "%s may not be added or removed on resize", list);
		return false;
	}
	json_array_foreach(now, i, c) {
		const json_t *was = json_array_get(old, i), *resources = get(c, "resources"),
			     *before = get(was, "resources");
		const struct fpath *at = FP_INDEX(p, i);

		if (strcmp(get_str(c, "name"), get_str(was, "name")) != 0) {
			fe_forbidden(v->e, FP(at, "name"), "%s may not be renamed or reordered on resize", list);
			return false;
		}
		check_removed(v, FP(at, "resources"), resources, before, "requests",
			      "resource requests cannot be removed");
		check_removed(v, FP(at, "resources"), resources, before, "limits", "resource limits cannot be removed");
		if (!only_cpu_and_memory(resources, before))
			fe_forbidden(v->e, init ? at : spec, "%s",
				     init ? "only cpu and memory resources for init or sidecar containers are mutable" :
					    "only cpu and memory resources are mutable");
		if (init && strcmp(get_str(was, "restartPolicy"), "Always") != 0 && restarts_on_resize(was) &&
		    !same_semantic(resources, before))
			fe_forbidden(v->e, at,
				     "non-sidecar init containers with a resize policy of RestartContainer cannot be "
				     "resized");
	}
	return true;
}

/* A kubelet that can resize says what a running container has. */
static bool supports_resize(const json_t *pod)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_at(pod, "status.containerStatuses"), i, c) {
		if (json_at(c, "state.running") && !get(c, "resources"))
			return false;
	}
	return true;
}

static void check_resize(const struct validation *v)
{
	const struct fpath *p = FP(NULL, "spec"), *at = FP(p, "resources");
	const json_t *now = json_at(v->object, "spec.resources"), *old = json_at(v->old, "spec.resources");
	const char *was = json_str_or(v->old, "status.qosClass", pod_qos_class(v->old));

	if (mirror_pod(v->old)) {
		fe_forbidden(v->e, NULL, "static pods cannot be resized");
		return;
	}
	if (str_eq(json_str(v->old, "spec.os.name"), "windows")) {
		fe_forbidden(v->e, NULL, "windows pods cannot be resized");
		return;
	}
	if (!check_container_resize(v, p, "containers", false) || !check_container_resize(v, p, "initContainers", true))
		return;
	if (!supports_resize(v->old))
		fe_forbidden(v->e, p, "Pod running on node without support for resize");
	if (strcmp(pod_qos_class(v->object), was) != 0)
		fe_invalid(v->e, p, pod_qos_class(v->object), "Pod QOS Class may not change as a result of resizing");
	if (old && !now) {
		fe_forbidden(v->e, at, "pod-level resources cannot be removed");
		return;
	}
	check_removed(v, at, now, old, "requests", "pod-level resource requests cannot be removed");
	check_removed(v, at, now, old, "limits", "pod-level resource limits cannot be removed");
	if (!only_cpu_and_memory(now, old))
		fe_forbidden(v->e, p, "only cpu and memory resources are mutable at pod-level");
}

void validate_pod_update(const struct validation *v)
{
	check_fixed_annotations(v);
	if (str_eq(v->sub, "ephemeralcontainers"))
		check_ephemeral_update(v);
	else if (str_eq(v->sub, "resize"))
		check_resize(v);
	else if (!v->sub)
		check_main_update(v);
}
