// SPDX-License-Identifier: GPL-2.0-or-later
#include "apiserver/registry/admit.h"

#include <string.h>

#include "apiserver/auth/node_authz.h"
#include "apiserver/metrics/measure.h"
#include "kube/object.h"

json_t *admit_forbidden(const struct admission *a, const char *fmt, ...)
{
	const json_t *o = a->object ? a->object : a->old;
	const char *name = object_name(o);
	_cleanup_strbuf_ struct strbuf text = { 0 };
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	if (!*name)
		name = json_str_or(o, "metadata.generateName", "");
	return status_forbidden(a->storage, *name ? name : "Unknown!", text.data);
}

static json_t *namespace_lifecycle(struct admission *a)
{
	const char *name = object_name(a->object ? a->object : a->old);
	if (a->op == ADMIT_DELETE && a->storage == a->g->namespaces && namespace_is_protected(name))
		return admit_forbidden(a, "this namespace may not be deleted");
	return a->op == ADMIT_CREATE && a->storage->namespaced ? namespace_admit(a->g, a->storage, a->ns, name) : NULL;
}

/* New pods and claims, claims that change, and pods that are resized: other updates of pods cannot change what is looked at. */
static bool has_limits(const struct admission *a)
{
	if (a->op == ADMIT_UPDATE && object_deleting(a->old))
		return false;
	if (a->storage == a->g->pods)
		return a->op == ADMIT_CREATE ? !*a->sub : str_eq(a->sub, "resize");
	return !*a->sub;
}

static json_t *limit_ranger(struct admission *a)
{
	if (has_limits(a))
		limits_default(a->g->quotas, a->storage, a->ns, a->object);
	return NULL;
}

static json_t *limit_ranger_check(struct admission *a)
{
	return has_limits(a) ? limits_check(a->g->quotas, a->storage, a->ns, a->object) : NULL;
}

static json_t *node_restriction(struct admission *a)
{
	enum node_operation op = a->op == ADMIT_CREATE ? NODE_CREATE : a->op == ADMIT_UPDATE ? NODE_UPDATE : NODE_DELETE;
	return a->user ? node_restrict(a->g, a->storage, a->user, op, *a->sub ? a->sub : NULL, a->object, a->old) : NULL;
}

/* A new node takes no pods until its conditions have been looked at. */
static json_t *taint_nodes(struct admission *a)
{
	static const char key[] = "node.kubernetes.io/not-ready";
	json_t *taints, *t;
	size_t i;
	if (!admit_is(a, a->g->nodes))
		return NULL;
	taints = json_at(a->object, "spec.taints");
	json_array_foreach(taints, i, t)
		if (str_eq(json_str(t, "key"), key) && str_eq(json_str(t, "effect"), "NoSchedule"))
			return NULL;
	if (!json_is_array(taints) && json_set(a->object, "spec.taints", json_array()) < 0)
		return NULL; /* validation says what is wrong with its spec */
	json_array_append_new(json_at(a->object, "spec.taints"), json_pack("{s:s,s:s}", "key", key, "effect", "NoSchedule"));
	return NULL;
}

/* Of a change of a pod only another image, or another container, is looked at anew. */
static bool changes_images(const json_t *now, const json_t *old)
{
	static const char *const lists[] = { "spec.containers", "spec.initContainers" };
	json_t *c;
	size_t i;
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		const json_t *was = json_at(old, lists[l]), *is = json_at(now, lists[l]);
		if (json_array_size(was) != json_array_size(is))
			return true;
		json_array_foreach((json_t *)is, i, c)
			if (!str_eq(json_str_or(c, "image", ""), json_str_or(json_array_get(was, i), "image", "")))
				return true;
	}
	return false;
}

static json_t *pod_security(struct admission *a)
{
	if (a->storage == a->g->namespaces)
		return *a->sub ? NULL : pod_security_namespace(a->g, a->call, a->old, a->object);
	if (str_eq(a->sub, "ephemeralcontainers") ||
	    (!*a->sub && (a->op == ADMIT_CREATE || a->storage != a->g->pods || changes_images(a->object, a->old))))
		return pod_security_admit(a->g, a->storage, a->call, a->ns, a->object);
	return NULL;
}

static json_t *default_class(struct admission *a)
{
	if (!*a->sub)
		default_class_admit(a->g, a->storage, a->object);
	return NULL;
}

static json_t *certificates(struct admission *a)
{
	return csr_admit(a->g, a->storage, a->user, *a->sub ? a->sub : NULL, a->object, a->old);
}

static json_t *resource_quota(struct admission *a)
{
	if (*a->sub && !str_eq(a->sub, "resize"))
		return NULL;
	return quota_admit(a->g->quotas, a->storage, a->ns, a->old, a->object, a->dry_run);
}

#define NEW ADMIT_CREATE
#define WRITE (ADMIT_CREATE | ADMIT_UPDATE)
#define ANY (ADMIT_CREATE | ADMIT_UPDATE | ADMIT_DELETE)

/* Upstream's default plugins and NodeRestriction, in upstream's order. A row without a function has nothing to do here:
 * ClusterTrustBundleAttest, PodGroupProtection and PodGroupWorkloadExists are about kinds that are not served,
 * PodTopologyLabels is part of binding (pod.c). Those that call out (policies, webhooks) come before ResourceQuota. */
static const struct {
	const char *name;
	unsigned mutates, validates; /* operations */
	json_t *(*mutate)(struct admission *a);
	json_t *(*validate)(struct admission *a);
} plugins[] = {
	{ "NamespaceLifecycle", ANY, 0, namespace_lifecycle, NULL },
	{ "LimitRanger", WRITE, WRITE, limit_ranger, limit_ranger_check },
	{ "ServiceAccount", NEW, WRITE, admit_service_account, admit_service_account_check },
	{ "NodeRestriction", ADMIT_DELETE, WRITE, node_restriction, node_restriction }, /* of what will be stored */
	{ "TaintNodesByCondition", NEW, 0, taint_nodes, NULL },
	{ "PodSecurity", 0, WRITE, NULL, pod_security },
	{ "Priority", WRITE, WRITE, admit_priority, admit_priority_check },
	{ "DefaultTolerationSeconds", WRITE, 0, admit_tolerations, NULL },
	{ "DefaultStorageClass, DefaultIngressClass", NEW, 0, default_class, NULL },
	{ "StorageObjectInUseProtection", NEW, 0, admit_storage_protection, NULL },
	{ "PersistentVolumeClaimResize", 0, ADMIT_UPDATE, NULL, admit_claim_resize },
	{ "RuntimeClass", NEW, NEW, admit_runtime_class, admit_runtime_class_check },
	{ "CertificateApproval, CertificateSigning, CertificateSubjectRestriction", 0, WRITE, NULL, certificates },
	{ "ResourceQuota", 0, WRITE, NULL, resource_quota },
};

/* One half of all plugins, each measured. */
static json_t *run(struct admission *a, bool validates)
{
	static_assert(ARRAY_SIZE(plugins) <= MEASURE_PLUGINS_MAX, "each plugin has its series");
	enum measure_operation op = a->op == ADMIT_CREATE ? MEASURE_CREATE : a->op == ADMIT_UPDATE ? MEASURE_UPDATE : MEASURE_DELETE;
	int64_t began_ns = clock_mono_ns(), at_ns = began_ns;
	json_t *status = NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(plugins) && !status; i++) {
		if (!((validates ? plugins[i].validates : plugins[i].mutates) & a->op))
			continue;
		status = validates ? plugins[i].validate(a) : plugins[i].mutate(a);
		int64_t now_ns = clock_mono_ns();
		measure_admission(i, plugins[i].name, op, validates, status != NULL, now_ns - at_ns);
		at_ns = now_ns;
	}
	measure_admission(MEASURE_STEP, NULL, op, validates, status != NULL, at_ns - began_ns);
	return status;
}

json_t *admit_mutate(struct admission *a)
{
	return run(a, false);
}

json_t *admit_validate(struct admission *a)
{
	return run(a, true);
}
