// SPDX-License-Identifier: GPL-2.0-or-later
/* PodSecurity admission (KEP-2579): the labels of a namespace say which level its pods are held to, and which is warned about. */
#include <string.h>

#include "apiserver/admission/podsecurity.h"
#include "apiserver/audit/audit.h"
#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "base/map.h"
#include "kube/object.h"

#define LABEL "pod-security.kubernetes.io/"
enum { CHECKED_PODS = 3000 }; /* of a namespace that is held to more from now on */

static const char *label_of(const json_t *ns, const char *mode, const char *suffix)
{
	_cleanup_free_ char *key = str_printf(LABEL "%s%s", mode, suffix);
	return json_string_value(json_object_get(json_at(ns, "metadata.labels"), key));
}

/* `restricted:latest`, own; *ret is the level. */
static char *level_of(const json_t *ns, const char *mode, enum pod_security_level *ret)
{
	const char *version = label_of(ns, mode, "-version");
	if (pod_security_level_parse(label_of(ns, mode, ""), ret) < 0)
		*ret = POD_SECURITY_RESTRICTED; /* cannot be stored; an older store's is taken strictly */
	return str_printf("%s:%s", pod_security_level_name(*ret), str_empty(version) ? "latest" : version);
}

/* The metadata and spec of the pods that an object makes: the pod itself, or a workload's template. */
static const json_t *template_of(const struct registry *g, const struct schema_resource *storage, const json_t *object)
{
	if (storage == g->pods)
		return object;
	if (resource_is(storage, "batch", "cronjobs"))
		return json_at(object, "spec.jobTemplate.spec.template");
	if (resource_is(storage, "", "podtemplates"))
		return json_object_get(object, "template");
	bool workload = str_eq(storage->group, "apps") || resource_is(storage, "batch", "jobs") ||
			resource_is(storage, "", "replicationcontrollers");
	return workload ? json_at(object, "spec.template") : NULL;
}

/* What a mode that only tells has to tell; own, NULL: nothing. */
static char *would_violate(const json_t *space, const char *mode, const json_t *metadata, const json_t *spec)
{
	enum pod_security_level level;
	_cleanup_free_ char *name = level_of(space, mode, &level);
	_cleanup_strbuf_ struct strbuf why = { 0 };
	return pod_security_check(level, metadata, spec, &why) ? NULL : str_printf("would violate PodSecurity \"%s\": %s", name, why.data);
}

json_t *pod_security_admit(struct registry *g, const struct schema_resource *storage, struct call *c, const char *ns, const json_t *object)
{
	struct store_object *o = storage->namespaced ? store_latest(g->store, g->namespaces->id, ns) : NULL;
	const json_t *template = o ? template_of(g, storage, object) : NULL, *spec = json_object_get(template, "spec");
	if (!json_is_object(spec) || !memmem(o->json->data, o->json->len, LABEL, strlen(LABEL)))
		return NULL;
	_cleanup_json_ json_t *space = entry_parse(o);
	const json_t *metadata = json_object_get(template, "metadata");
	_cleanup_free_ char *audited = would_violate(space, "audit", metadata, spec), *warned = would_violate(space, "warn", metadata, spec);
	enum pod_security_level level;
	if (audited)
		audit_annotate(c, LABEL "audit-violations", audited);
	if (storage == g->pods) {
		_cleanup_free_ char *name = level_of(space, "enforce", &level);
		_cleanup_strbuf_ struct strbuf why = { 0 };
		audit_annotate(c, LABEL "enforce-policy", name);
		if (!pod_security_check(level, metadata, spec, &why)) {
			_cleanup_free_ char *text = str_printf("violates PodSecurity \"%s\": %s", name, why.data);
			return status_forbidden(storage, object_name(object), text);
		}
	}
	if (c && warned)
		call_warn(c, "%s", warned);
	return NULL;
}

static void check_labels(const json_t *ns, struct field_errors *e)
{
	static const char *const modes[] = { "enforce", "audit", "warn" };
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		const char *level = label_of(ns, modes[i], ""), *version = label_of(ns, modes[i], "-version");
		enum pod_security_level l;
		if (pod_security_level_parse(level, &l) < 0)
			field_errors_add(e, "FieldValueInvalid", str_printf("metadata.labels[" LABEL "%s]", modes[i]),
					 "Invalid value: \"%s\": must be one of privileged, baseline, restricted", level);
		if (!pod_security_version_valid(version))
			field_errors_add(e, "FieldValueInvalid", str_printf("metadata.labels[" LABEL "%s-version]", modes[i]),
					 "Invalid value: \"%s\": must be \"latest\" or \"v1.x\"", version);
	}
}

/* Pods that do the same against a level. */
struct violators {
	const char *first; /* by name; borrow */
	size_t count;
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void tell(struct call *c, const struct map *found)
{
	_cleanup_strlist_ struct strlist lines = { 0 };
	const char *why;
	void *p;
	for (size_t it = 0; map_next(found, &it, &why, &p);)
		strlist_add(&lines, why);
	qsort(lines.items, lines.count, sizeof(*lines.items), by_text);
	for (size_t i = 0; i < lines.count; i++) {
		const struct violators *v = map_get(found, lines.items[i]);
		if (v->count == 1)
			call_warn(c, "%s: %s", v->first, lines.items[i]);
		else
			call_warn(c, "%s (and %zu other pod%s): %s", v->first, v->count - 1, v->count == 2 ? "" : "s", lines.items[i]);
	}
}

/* Says which pods, that are there already, do not keep to what the namespace asks for from now on. */
static void warn_of_pods(struct registry *g, struct call *c, const json_t *ns, const char *name)
{
	enum pod_security_level level;
	_cleanup_free_ char *text = level_of(ns, "enforce", &level), *prefix = str_printf("%s/", name);
	struct store_iter it = store_iterate(g->store, g->pods->id, prefix);
	size_t seen = 0, all_of_it = 0;
	struct map *found = map_new(free);
	for (struct store_object *o; (o = store_next(&it));) {
		if (all_of_it++ >= CHECKED_PODS)
			continue;
		_cleanup_json_ json_t *pod = entry_parse(o);
		_cleanup_strbuf_ struct strbuf why = { 0 };
		seen++;
		if (pod_security_reasons(level, json_object_get(pod, "metadata"), json_object_get(pod, "spec"), &why))
			continue;
		struct violators *v = map_get(found, why.data);
		if (!v) {
			v = mem_new(struct violators);
			v->first = entry_name(o); /* keys are in order */
			map_set(found, why.data, v);
		}
		v->count++;
	}
	if (all_of_it > seen)
		call_warn(c, "new PodSecurity enforce level only checked against the first %zu of %zu existing pods", seen, all_of_it);
	if (map_count(found))
		call_warn(c, "existing pods in namespace \"%s\" violate the new PodSecurity enforce level \"%s\"", name, text);
	tell(c, found);
	map_free(found);
}

json_t *pod_security_namespace(struct registry *g, struct call *c, const json_t *old, const json_t *ns)
{
	struct field_errors e = { 0 };
	enum pod_security_level was = POD_SECURITY_PRIVILEGED, is = POD_SECURITY_PRIVILEGED;
	check_labels(ns, &e);
	json_t *status = e.count ? field_errors_status(&e, "", "Namespace", object_name(ns)) : NULL;
	field_errors_done(&e);
	if (status || !old || !c)
		return status;
	pod_security_level_parse(label_of(old, "enforce", ""), &was);
	pod_security_level_parse(label_of(ns, "enforce", ""), &is);
	if (is > was)
		warn_of_pods(g, c, ns, object_name(ns));
	return NULL;
}
