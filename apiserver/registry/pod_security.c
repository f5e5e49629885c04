// SPDX-License-Identifier: GPL-2.0-or-later
/* PodSecurity admission (KEP-2579): the labels of a namespace say which level its pods are held to, and which is warned about. */
#include <string.h>

#include "apiserver/admission/podsecurity.h"
#include "apiserver/registry/registry.h"
#include "apiserver/validate/validate.h"
#include "base/mem.h"
#include "kube/object.h"

#define LABEL "pod-security.kubernetes.io/"
enum { WARNED_PODS = 3 }; /* of a namespace that is held to more from now on */

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

json_t *pod_security_admit(struct registry *g, const struct schema_resource *storage, struct call *c, const char *ns, const json_t *object)
{
	struct store_object *o = storage->namespaced ? store_latest(g->store, g->namespaces->id, ns) : NULL;
	const json_t *template = o ? template_of(g, storage, object) : NULL, *spec = json_object_get(template, "spec");
	if (!json_is_object(spec) || !memmem(o->json->data, o->json->len, LABEL, strlen(LABEL)))
		return NULL;
	_cleanup_json_ json_t *space = entry_parse(o);
	const json_t *metadata = json_object_get(template, "metadata");
	enum pod_security_level level;
	if (storage == g->pods) {
		_cleanup_free_ char *name = level_of(space, "enforce", &level);
		_cleanup_strbuf_ struct strbuf why = { 0 };
		if (!pod_security_check(level, metadata, spec, &why)) {
			_cleanup_free_ char *text = str_printf("violates PodSecurity \"%s\": %s", name, why.data);
			return status_forbidden(storage, object_name(object), text);
		}
	}
	_cleanup_free_ char *name = level_of(space, "warn", &level);
	_cleanup_strbuf_ struct strbuf why = { 0 };
	if (c && !pod_security_check(level, metadata, spec, &why))
		call_warn(c, "would violate PodSecurity \"%s\": %s", name, why.data);
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

/* Says which pods, that are there already, do not keep to what the namespace asks for from now on. */
static void warn_of_pods(struct registry *g, struct call *c, const json_t *ns, const char *name)
{
	enum pod_security_level level;
	_cleanup_free_ char *text = level_of(ns, "enforce", &level);
	size_t n, bad = 0;
	struct store_object **all = store_objects(g->store, g->pods->id, &n);
	for (size_t i = 0; i < n && bad < WARNED_PODS; i++) {
		if (entry_namespace_len(all[i]) != strlen(name) || strncmp(all[i]->key, name, strlen(name)) != 0)
			continue;
		_cleanup_json_ json_t *pod = entry_parse(all[i]);
		_cleanup_strbuf_ struct strbuf why = { 0 };
		if (pod_security_check(level, json_object_get(pod, "metadata"), json_object_get(pod, "spec"), &why))
			continue;
		if (!bad++)
			call_warn(c, "existing pods in namespace \"%s\" violate the new PodSecurity enforce level \"%s\"", name, text);
		call_warn(c, "%s: %s", object_name(pod), why.data);
	}
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
