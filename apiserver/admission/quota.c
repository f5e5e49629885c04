// SPDX-License-Identifier: GPL-2.0-or-later
#include "apiserver/admission/quota.h"

#include <errno.h>
#include <string.h>

#include "apiserver/admission/amounts.h"
#include "apiserver/validate/qos.h"
#include "base/mem.h"

static bool is(const struct schema_resource *r, const char *group, const char *plural)
{
	return str_eq(r->plural, plural) && str_eq(r->group, group);
}

/* ---- usage */

static bool is_compute(const char *name)
{
	return str_eq(name, "cpu") || str_eq(name, "memory") || str_eq(name, "ephemeral-storage");
}

/* A finished pod uses nothing but its place in the store. */
static bool is_running(const json_t *pod)
{
	const char *phase = json_str_or(pod, "status.phase", "");
	return !str_eq(phase, "Succeeded") && !str_eq(phase, "Failed");
}

static void pod_amounts(const json_t *pod, const char *which, json_t *out)
{
	_cleanup_json_ json_t *list = amounts_of_pod(json_object_get(pod, "spec"), which);
	bool requests = str_eq(which, "requests");
	const char *name;
	json_t *v;
	json_object_foreach(list, name, v) {
		_cleanup_free_ char *full = str_printf("%s.%s", which, name);
		if (is_compute(name) || requests)
			json_object_set(out, full, v);
		if (requests && (is_compute(name) || str_starts(name, "hugepages-")))
			json_object_set(out, name, v);
	}
}

static void use_pod(const json_t *pod, json_t *out)
{
	if (!is_running(pod))
		return;
	amounts_add_number(out, "pods", 1);
	pod_amounts(pod, "requests", out);
	pod_amounts(pod, "limits", out);
}

static void use_service(const json_t *service, json_t *out)
{
	const char *type = json_str_or(service, "spec.type", "ClusterIP");
	int64_t ports = (int64_t)json_array_size(json_at(service, "spec.ports")), with = 0;
	json_t *p;
	size_t i;
	json_array_foreach(json_at(service, "spec.ports"), i, p)
		with += json_int(p, "nodePort", 0) != 0;
	if (str_eq(type, "LoadBalancer")) {
		amounts_add_number(out, "services.loadbalancers", 1);
		amounts_add_number(out, "services.nodeports", json_bool(service, "spec.allocateLoadBalancerNodePorts", true) ? ports : with);
	} else if (str_eq(type, "NodePort")) {
		amounts_add_number(out, "services.nodeports", ports);
	}
}

static void use_claim(const json_t *claim, json_t *out)
{
	const json_t *requests = json_at(claim, "spec.resources.requests");
	const char *class = json_str_or(claim, "spec.storageClassName", "");
	json_t *storage = json_object_get(requests, "storage");
	if (storage)
		json_object_set(out, "requests.storage", storage);
	if (!*class)
		return;
	_cleanup_free_ char *count = str_printf("%s.storageclass.storage.k8s.io/persistentvolumeclaims", class);
	_cleanup_free_ char *amount = str_printf("%s.storageclass.storage.k8s.io/requests.storage", class);
	amounts_add_number(out, count, 1);
	if (storage)
		json_object_set(out, amount, storage);
}

static bool counts_by_name(const struct schema_resource *r)
{
	static const char *const core[] = { "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps",
		"persistentvolumeclaims" };
	for (size_t i = 0; i < ARRAY_SIZE(core) && str_empty(r->group); i++)
		if (str_eq(r->plural, core[i]))
			return true;
	return false;
}

static char *count_name(const struct schema_resource *r)
{
	return str_printf("count/%s%s%s", r->plural, str_empty(r->group) ? "" : ".", r->group);
}

json_t *quota_usage(const struct schema_resource *r, const json_t *object)
{
	_cleanup_free_ char *count = count_name(r);
	json_t *out = json_object();
	amounts_add_number(out, count, 1);
	if (counts_by_name(r))
		amounts_add_number(out, r->plural, 1);
	if (is(r, "", "pods"))
		use_pod(object, out);
	else if (is(r, "", "services"))
		use_service(object, out);
	else if (is(r, "", "persistentvolumeclaims"))
		use_claim(object, out);
	return out;
}

static bool uses_name(const struct schema_resource *r, const char *name)
{
	if (str_starts(name, "count/")) {
		_cleanup_free_ char *count = count_name(r);
		return str_eq(name, count);
	}
	if (counts_by_name(r) && str_eq(name, r->plural))
		return true;
	if (is(r, "", "services"))
		return str_starts(name, "services.");
	bool storage = str_eq(name, "requests.storage") || strstr(name, ".storageclass.storage.k8s.io/");
	if (is(r, "", "persistentvolumeclaims"))
		return storage;
	if (!is(r, "", "pods") || storage)
		return false;
	return str_eq(name, "pods") || is_compute(name) || str_starts(name, "requests.") || str_starts(name, "limits.") ||
	       str_starts(name, "hugepages-");
}

bool quota_limits(const json_t *quota, const struct schema_resource *r)
{
	const char *name;
	json_t *v;
	json_object_foreach(json_at(quota, "spec.hard"), name, v)
		if (uses_name(r, name))
			return true;
	return false;
}

/* ---- scopes */

static bool crosses_namespaces(const json_t *spec)
{
	static const char *const terms[] = { "affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution",
		"affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution" };
	static const char *const weighted[] = { "affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution",
		"affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution" };
	json_t *t;
	size_t i;
	for (size_t k = 0; k < ARRAY_SIZE(terms); k++) {
		json_array_foreach(json_at(spec, terms[k]), i, t)
			if (json_array_size(json_object_get(t, "namespaces")) || json_object_get(t, "namespaceSelector"))
				return true;
		json_array_foreach(json_at(spec, weighted[k]), i, t)
			if (json_array_size(json_at(t, "podAffinityTerm.namespaces")) || json_at(t, "podAffinityTerm.namespaceSelector"))
				return true;
	}
	return false;
}

static bool has_text(const json_t *list, const char *text)
{
	size_t i;
	json_t *v;
	json_array_foreach((json_t *)list, i, v)
		if (str_eq(json_string_value(v), text))
			return true;
	return false;
}

/* A selector's operator on a value ("": absent). */
static bool operator_holds(const json_t *term, const char *value)
{
	const char *op = json_str_or(term, "operator", "Exists");
	if (str_eq(op, "In"))
		return *value && has_text(json_object_get(term, "values"), value);
	if (str_eq(op, "NotIn"))
		return !has_text(json_object_get(term, "values"), value);
	return str_eq(op, "DoesNotExist") ? !*value : *value;
}

static bool in_scope(const char *scope, const json_t *term, const struct schema_resource *r, const json_t *object)
{
	const json_t *spec = json_object_get(object, "spec");
	if (is(r, "", "persistentvolumeclaims"))
		return str_eq(scope, "VolumeAttributesClass") &&
		       (!term || operator_holds(term, json_str_or(spec, "volumeAttributesClassName", "")));
	if (!is(r, "", "pods"))
		return false;
	bool terminating = json_int(spec, "activeDeadlineSeconds", -1) >= 0;
	if (str_eq(scope, "Terminating"))
		return terminating;
	if (str_eq(scope, "NotTerminating"))
		return !terminating;
	if (str_eq(scope, "BestEffort"))
		return str_eq(pod_qos_class(object), "BestEffort");
	if (str_eq(scope, "NotBestEffort"))
		return !str_eq(pod_qos_class(object), "BestEffort");
	if (str_eq(scope, "CrossNamespacePodAffinity"))
		return crosses_namespaces(spec);
	if (str_eq(scope, "PriorityClass")) {
		const char *class = json_str_or(spec, "priorityClassName", "");
		return term ? operator_holds(term, class) : *class;
	}
	return false;
}

bool quota_selects(const json_t *quota, const struct schema_resource *r, const json_t *object)
{
	json_t *v;
	size_t i;
	json_array_foreach(json_at(quota, "spec.scopes"), i, v)
		if (!in_scope(json_string_value(v) ? json_string_value(v) : "", NULL, r, object))
			return false;
	json_array_foreach(json_at(quota, "spec.scopeSelector.matchExpressions"), i, v)
		if (!in_scope(json_str_or(v, "scopeName", ""), v, r, object))
			return false;
	return true;
}

/* ---- taking */

json_t *quota_part(const json_t *quota, const json_t *usage)
{
	json_t *out = json_object(), *v;
	const char *name;
	json_object_foreach(json_at(quota, "spec.hard"), name, v) {
		struct quantity q = { 0 };
		amounts_get(usage, name, &q);
		amounts_set(out, name, &q);
	}
	return out;
}

/* Containers that do not say how much of a limited resource they need. */
static void who_lacks(const json_t *pod, const char *which, const char *resource, struct strbuf *out)
{
	static const char *const lists[] = { "containers", "initContainers" };
	json_t *c;
	size_t i;
	if (json_object_get(json_at(pod, "spec.resources") ? json_object_get(json_at(pod, "spec.resources"), which) : NULL, resource))
		return;
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
		json_array_foreach(json_object_get(json_object_get(pod, "spec"), lists[l]), i, c)
			if (!json_object_get(json_object_get(json_object_get(c, "resources"), which), resource))
				strbuf_addf(out, "%s%s", out->len ? "," : "", json_str_or(c, "name", ""));
}

static int check_specified(const json_t *quota, const json_t *pod, struct err *err)
{
	_cleanup_strbuf_ struct strbuf all = { 0 };
	const char *name;
	json_t *v;
	json_object_foreach(json_at(quota, "spec.hard"), name, v) {
		_cleanup_strbuf_ struct strbuf who = { 0 };
		const char *bare = str_starts(name, "requests.") ? name + 9 : str_starts(name, "limits.") ? name + 7 : name;
		if (is_compute(bare) && !str_eq(bare, "ephemeral-storage"))
			who_lacks(pod, str_starts(name, "limits.") ? "limits" : "requests", bare, &who);
		if (who.len)
			strbuf_addf(&all, "%s%s for: %s", all.len ? "; " : "", name, who.data);
	}
	if (!all.len)
		return 0;
	return err_set(err, EINVAL, "failed quota: %s: must specify %s", json_str_or(quota, "metadata.name", ""), all.data);
}

struct excess {
	struct strbuf requested, used, limited;
};

static void excess_add(struct excess *e, const char *name, const struct quantity *wanted, const struct quantity *used,
		       const struct quantity *hard)
{
	const struct {
		struct strbuf *out;
		const struct quantity *q;
	} parts[] = { { &e->requested, wanted }, { &e->used, used }, { &e->limited, hard } };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		char text[QUANTITY_TEXT_SIZE];
		quantity_format(parts[i].q, text);
		strbuf_addf(parts[i].out, "%s%s=%s", parts[i].out->len ? "," : "", name, text);
	}
}

json_t *quota_take(const json_t *quota, const struct schema_resource *r, const json_t *object, const json_t *more, struct err *err)
{
	const json_t *hard = json_at(quota, "spec.hard"), *used = json_at(quota, "status.used");
	json_t *out = used ? json_deep_copy(used) : json_object(), *v;
	struct excess e = { 0 };
	const char *name;
	if (is(r, "", "pods") && check_specified(quota, object, err) < 0) {
		json_decref(out);
		return NULL;
	}
	json_object_foreach((json_t *)more, name, v) {
		struct quantity limit, have = { 0 }, want, sum;
		if (!amounts_get(hard, name, &limit) || !amounts_get(more, name, &want) || want.nano <= 0)
			continue;
		have.format = limit.format;
		amounts_get(used, name, &have);
		sum = have;
		quantity_add(&sum, &want);
		if (quantity_cmp(&sum, &limit) > 0)
			excess_add(&e, name, &want, &have, &limit);
		amounts_set(out, name, &sum);
	}
	if (e.limited.len) {
		err_set(err, EINVAL, "exceeded quota: %s, requested: %s, used: %s, limited: %s", json_str_or(quota, "metadata.name", ""),
			e.requested.data, e.used.data, e.limited.data);
		json_decref(out);
		out = NULL;
	}
	strbuf_done(&e.requested);
	strbuf_done(&e.used);
	strbuf_done(&e.limited);
	return out;
}
