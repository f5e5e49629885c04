/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The strategies that say more than the table in strategy.c: each kind's own preparation of a create or an update. */
#include "apiserver/validate/strategy.h"

#include <stdio.h>

#include "apiserver/validate/validate_internal.h"
#include "base/clock.h"

void strategy_no_generation(json_t *object)
{
	json_object_del(strategy_meta(object), "generation");
}

static bool spec_type(const json_t *spec, const char *a, const char *b)
{
	return str_eq(get_str(spec, "type"), a) || str_eq(get_str(spec, "type"), b);
}

static bool externally_accessible(const json_t *spec)
{
	return spec_type(spec, "NodePort", "LoadBalancer") ||
	       (spec_type(spec, "ClusterIP", NULL) && json_array_size(get(spec, "externalIPs")) > 0);
}

static bool needs_health_port(const json_t *spec)
{
	return spec_type(spec, "LoadBalancer", NULL) && str_eq(get_str(spec, "externalTrafficPolicy"), "Local");
}

/* Drops a field that the new type does not have, if the client only sent back what was there. */
static void drop_if_same(json_t *spec, const json_t *old, const char *key)
{
	if (same_semantic(get(spec, key), get(old, key)))
		json_object_del(spec, key);
}

static void drop_node_ports(json_t *spec, const json_t *old)
{
	bool known[65536] = { true }; /* by number; 0 is none */
	json_t *port;
	size_t i;

	json_array_foreach(get(old, "ports"), i, port)
		known[(uint16_t)get_int(port, "nodePort")] = true;
	json_array_foreach(get(spec, "ports"), i, port) {
		if (!known[(uint16_t)get_int(port, "nodePort")])
			return;
	}
	json_array_foreach(get(spec, "ports"), i, port)
		json_object_del(port, "nodePort");
}

void strategy_service_update(const char *subresource, json_t *service, const json_t *old_service)
{
	json_t *spec = get(service, "spec");
	const json_t *old = get(old_service, "spec");

	if (str_eq(subresource, "status") || !spec || !old)
		return;
	if (spec_type(spec, "ExternalName", NULL) && !spec_type(old, "ExternalName", NULL)) {
		drop_if_same(spec, old, "clusterIP");
		drop_if_same(spec, old, "clusterIPs");
		drop_if_same(spec, old, "ipFamilies");
		drop_if_same(spec, old, "ipFamilyPolicy");
	}
	if (spec_type(old, "NodePort", "LoadBalancer") && !spec_type(spec, "NodePort", "LoadBalancer"))
		drop_node_ports(spec, old);
	if (needs_health_port(old) && !needs_health_port(spec))
		drop_if_same(spec, old, "healthCheckNodePort");
	if (spec_type(old, "LoadBalancer", NULL) && !spec_type(spec, "LoadBalancer", NULL)) {
		drop_if_same(spec, old, "allocateLoadBalancerNodePorts");
		drop_if_same(spec, old, "loadBalancerClass");
	}
	if (externally_accessible(old) && !externally_accessible(spec))
		drop_if_same(spec, old, "externalTrafficPolicy");
	if (!spec_type(spec, "LoadBalancer", NULL))
		json_object_set_new(service, "status", json_pack("{s:{}}", "loadBalancer"));
}

void strategy_namespace_create(json_t *ns)
{
	json_t *finalizers, *v;
	size_t i;

	/* A generated name comes behind the defaults. */
	if (!get(strategy_meta(ns), "labels"))
		json_object_set_new(strategy_meta(ns), "labels", json_object());
	json_object_set_new(json_object_get(strategy_meta(ns), "labels"), "kubernetes.io/metadata.name",
			    json_string(json_str_or(ns, "metadata.name", "")));
	if (!get(ns, "spec"))
		json_object_set_new(ns, "spec", json_object());
	if (!json_at(ns, "spec.finalizers"))
		json_object_set_new(json_object_get(ns, "spec"), "finalizers", json_array());
	finalizers = json_at(ns, "spec.finalizers");
	json_array_foreach(finalizers, i, v) {
		if (str_eq(json_string_value(v), "kubernetes"))
			return;
	}
	json_array_append_new(finalizers, json_string("kubernetes"));
}

/* Namespace finalizers change by /finalize only. */
void strategy_namespace_update(const char *subresource, json_t *ns, const json_t *old)
{
	const json_t *finalizers = json_at(old, "spec.finalizers");

	if (subresource)
		return;
	if (!get(ns, "spec"))
		json_object_set_new(ns, "spec", json_object());
	if (finalizers)
		json_object_set_new(json_object_get(ns, "spec"), "finalizers", json_deep_copy(finalizers));
	else
		json_object_del(json_object_get(ns, "spec"), "finalizers");
}

void strategy_pv_create(json_t *pv)
{
	const json_t *now = json_at(pv, "metadata.creationTimestamp");

	/* The creation is the first change of phase, and its time is known. */
	if (now)
		json_object_set_new(json_object_get(pv, "status"), "lastPhaseTransitionTime", json_deep_copy(now));
}

void strategy_pv_update(const char *subresource, json_t *pv, const json_t *old)
{
	static const char key[] = "lastPhaseTransitionTime";
	json_t *status = get(pv, "status");
	const json_t *was = get(old, "status");
	bool same = str_eq(get_str(status, "phase"), get_str(was, "phase"));
	char now[CLOCK_RFC3339_SIZE];

	if (!str_eq(subresource, "status") || !status)
		return;
	if (same && !get(status, key)) {
		strategy_restore(status, was, key);
	} else if (!same && (!get(status, key) || json_equal(get(status, key), get(was, key)))) {
		clock_format_rfc3339(clock_wall_s(), now);
		json_object_set_new(status, key, json_string(now));
	}
}

static const char TEMPLATE_GENERATION[] = "deprecated.daemonset.template.generation";

static json_t *annotations_of(json_t *object)
{
	json_t *meta = strategy_meta(object);

	if (!get(meta, "annotations"))
		json_object_set_new(meta, "annotations", json_object());
	return json_object_get(meta, "annotations");
}

void strategy_daemon_set_create(json_t *ds)
{
	json_t *annotations = annotations_of(ds);
	int64_t n;

	if (str_to_i64(get_str(annotations, TEMPLATE_GENERATION), 1, INT64_MAX, &n) < 0)
		json_object_set_new(annotations, TEMPLATE_GENERATION, json_string("1"));
}

void strategy_daemon_set_update(const char *subresource, json_t *ds, const json_t *old)
{
	int64_t n = 0;
	char text[32];

	if (subresource)
		return;
	str_to_i64(get_str(get(get(old, "metadata"), "annotations"), TEMPLATE_GENERATION), 0, INT64_MAX - 1, &n);
	if (!same_semantic(json_at(ds, "spec.template"), json_at(old, "spec.template")))
		n++;
	snprintf(text, sizeof(text), "%lld", (long long)n);
	json_object_set_new(annotations_of(ds), TEMPLATE_GENERATION, json_string(text));
}

void strategy_job_create(json_t *job)
{
	const char *uid = json_str_or(job, "metadata.uid", ""), *name = json_str_or(job, "metadata.name", "");
	const char *const labels[][2] = { { "batch.kubernetes.io/job-name", name },
					  { "job-name", name },
					  { "batch.kubernetes.io/controller-uid", uid },
					  { "controller-uid", uid } };
	json_t *spec = get(job, "spec"), *template, *meta, *match;

	if (!spec || get_bool(spec, "manualSelector") || !*uid)
		return;
	template = get(spec, "template");
	if (!template)
		return;
	meta = strategy_meta(template);
	if (!get(meta, "labels"))
		json_object_set_new(meta, "labels", json_object());
	for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
		if (!json_object_get(json_object_get(meta, "labels"), labels[i][0]))
			json_object_set_new(json_object_get(meta, "labels"), labels[i][0], json_string(labels[i][1]));
	if (!get(spec, "selector"))
		json_object_set_new(spec, "selector", json_object());
	match = json_object_get(spec, "selector");
	if (!get(match, "matchLabels"))
		json_object_set_new(match, "matchLabels", json_object());
	match = json_object_get(match, "matchLabels");
	if (!json_object_get(match, "batch.kubernetes.io/controller-uid"))
		json_object_set_new(match, "batch.kubernetes.io/controller-uid", json_string(uid));
}

static bool approval_condition(const json_t *c)
{
	return one_of(get_str(c, "type"), WORDS("Approved", "Denied"));
}

/* Conditions without times get them; that of the last transition is the old one's while the status is the same. */
static void time_conditions(json_t *csr, const json_t *old)
{
	char now[CLOCK_RFC3339_SIZE];
	json_t *c, *o;
	size_t i, j;

	clock_format_rfc3339(clock_wall_s(), now);
	json_array_foreach(json_at(csr, "status.conditions"), i, c) {
		if (!get(c, "lastUpdateTime"))
			json_object_set_new(c, "lastUpdateTime", json_string(now));
		json_array_foreach(json_at(old, "status.conditions"), j, o) {
			if (!get(c, "lastTransitionTime") && str_eq(get_str(c, "type"), get_str(o, "type")) &&
			    str_eq(get_str(c, "status"), get_str(o, "status")) && get(o, "lastTransitionTime"))
				strategy_restore(c, o, "lastTransitionTime");
		}
		if (!get(c, "lastTransitionTime"))
			json_object_set_new(c, "lastTransitionTime", json_string(now));
	}
}

void strategy_csr_update(const char *subresource, json_t *csr, const json_t *old)
{
	json_t *conditions, *c;
	size_t i;

	strategy_restore(csr, old, "spec");
	if (str_eq(subresource, "approval")) {
		_cleanup_json_ json_t *wanted = json_incref(json_at(csr, "status.conditions"));

		strategy_restore(csr, old, "status");
		if (!get(csr, "status"))
			json_object_set_new(csr, "status", json_object());
		if (wanted)
			json_object_set(json_object_get(csr, "status"), "conditions", wanted);
		else
			json_object_del(json_object_get(csr, "status"), "conditions");
		time_conditions(csr, old);
		return;
	}
	if (!str_eq(subresource, "status"))
		return;
	/* Approval goes by its own subresource. */
	conditions = json_array();
	json_array_foreach(json_at(old, "status.conditions"), i, c) {
		if (approval_condition(c))
			json_array_append_new(conditions, json_deep_copy(c));
	}
	json_array_foreach(json_at(csr, "status.conditions"), i, c) {
		if (!approval_condition(c))
			json_array_append(conditions, c);
	}
	if (json_array_size(conditions) && get(csr, "status"))
		json_object_set(json_object_get(csr, "status"), "conditions", conditions);
	json_decref(conditions);
	time_conditions(csr, old);
}

static const char *storage_version(const json_t *crd)
{
	json_t *version;
	size_t i;

	json_array_foreach(json_at(crd, "spec.versions"), i, version) {
		if (get_bool(version, "storage"))
			return get_str(version, "name");
	}
	return "";
}

void strategy_crd_create(json_t *crd)
{
	json_object_set_new(crd, "status",
			    json_pack("{s:[], s:{s:s, s:s}, s:[s]}", "conditions", "acceptedNames", "plural", "",
				      "kind", "", "storedVersions", storage_version(crd)));
}

void strategy_crd_update(const char *subresource, json_t *crd, const json_t *old)
{
	const char *version = storage_version(crd);
	json_t *stored, *v;
	size_t i;

	(void)old;
	if (subresource || !*version)
		return;
	stored = json_at(crd, "status.storedVersions");
	json_array_foreach(stored, i, v) {
		if (str_eq(json_string_value(v), version))
			return;
	}
	if (stored)
		json_array_append_new(stored, json_string(version));
}
