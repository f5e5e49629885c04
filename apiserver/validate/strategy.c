/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a write may set, kind by kind: status and spec belong to different requests, and the generation counts changes
 * of what the user asks for. Kinds without an entry keep everything the client sends and have no generation.
 */
#include "apiserver/validate/strategy.h"

#include "apiserver/validate/validate_internal.h"

enum {
	GEN = 1 << 0,             /* metadata.generation is 1 at creation and grows with the spec */
	STATUS = 1 << 1,          /* status is a subresource */
	STATUS_CREATE = 1 << 2,   /* the client may give a status at creation */
	META_RESET = 1 << 3,      /* a status update leaves the metadata alone */
	GEN_ANNOTATIONS = 1 << 4, /* the generation grows with the annotations too */
	STATUS_LABELS = 1 << 5,   /* a status update restores labels */
};

struct strategy {
	const char *group, *plural;
	unsigned flags;
	/* The member that the generation follows; NULL: spec, "": none, "*": everything but metadata, and the labels.
	 */
	const char *counted;
	const char *new_status; /* JSON of the status at creation; NULL: {} */
	void (*create)(json_t *object);
	void (*update)(const char *subresource, json_t *object, const json_t *old);
};

static const struct strategy strategies[] = {
	{ "", "pods", GEN | STATUS, NULL, NULL, strategy_pod_create, strategy_pod_update },
	{ "", "podtemplates", GEN, "template", NULL, NULL, NULL },
	{ "", "replicationcontrollers", GEN | STATUS, NULL, "{\"replicas\":0}", NULL, NULL },
	{ "", "services", STATUS, NULL, "{\"loadBalancer\":{}}", NULL, strategy_service_update },
	{ "", "resourcequotas", STATUS, NULL, NULL, NULL, NULL },
	{ "", "namespaces", STATUS, NULL, "{\"phase\":\"Active\"}", strategy_namespace_create,
	  strategy_namespace_update },
	{ "", "nodes", STATUS | STATUS_CREATE, NULL, NULL, NULL, NULL },
	{ "", "persistentvolumes", STATUS, NULL, "{\"phase\":\"Pending\"}", strategy_pv_create,
	  strategy_pv_update },
	{ "", "persistentvolumeclaims", STATUS, NULL, "{\"phase\":\"Pending\"}", NULL, NULL },
	{ "apps", "deployments", GEN | STATUS | GEN_ANNOTATIONS | STATUS_LABELS, NULL, NULL, NULL, NULL },
	{ "apps", "replicasets", GEN | STATUS, NULL, "{\"replicas\":0}", NULL, NULL },
	{ "apps", "statefulsets", GEN | STATUS, NULL, "{\"replicas\":0,\"availableReplicas\":0}", NULL, NULL },
	{ "apps", "daemonsets", GEN | STATUS, NULL,
	  "{\"currentNumberScheduled\":0,\"numberMisscheduled\":0,\"desiredNumberScheduled\":0,\"numberReady\":0}",
	  strategy_daemon_set_create, strategy_daemon_set_update },
	{ "batch", "jobs", GEN | STATUS, NULL, NULL, strategy_job_create, NULL },
	{ "batch", "cronjobs", GEN | STATUS, NULL, NULL, NULL, NULL },
	{ "autoscaling", "horizontalpodautoscalers", STATUS, NULL, NULL, NULL, NULL },
	{ "policy", "poddisruptionbudgets", GEN | STATUS, NULL,
	  "{\"disruptionsAllowed\":0,\"currentHealthy\":0,\"desiredHealthy\":0,\"expectedPods\":0}", NULL, NULL },
	{ "networking.k8s.io", "ingresses", GEN | STATUS, NULL, "{\"loadBalancer\":{}}", NULL, NULL },
	{ "networking.k8s.io", "ingressclasses", GEN, NULL, NULL, NULL, NULL },
	{ "networking.k8s.io", "networkpolicies", GEN, NULL, NULL, NULL, NULL },
	{ "networking.k8s.io", "servicecidrs", STATUS, NULL, NULL, NULL, NULL },
	{ "discovery.k8s.io", "endpointslices", GEN, "*", NULL, NULL, NULL },
	{ "storage.k8s.io", "csidrivers", GEN, NULL, NULL, strategy_no_generation, NULL },
	{ "storage.k8s.io", "volumeattachments", STATUS | META_RESET, NULL, "{\"attached\":false}", NULL, NULL },
	{ "scheduling.k8s.io", "priorityclasses", GEN, "", NULL, NULL, NULL },
	{ "certificates.k8s.io", "certificatesigningrequests", STATUS, NULL, NULL, NULL, strategy_csr_update },
	{ "admissionregistration.k8s.io", "validatingwebhookconfigurations", GEN, "webhooks", NULL, NULL, NULL },
	{ "admissionregistration.k8s.io", "mutatingwebhookconfigurations", GEN, "webhooks", NULL, NULL, NULL },
	{ "admissionregistration.k8s.io", "validatingadmissionpolicies", GEN | STATUS | META_RESET, NULL, NULL, NULL,
	  NULL },
	{ "admissionregistration.k8s.io", "validatingadmissionpolicybindings", GEN, NULL, NULL, NULL, NULL },
	{ "admissionregistration.k8s.io", "mutatingadmissionpolicies", GEN, NULL, NULL, NULL, NULL },
	{ "admissionregistration.k8s.io", "mutatingadmissionpolicybindings", GEN, NULL, NULL, NULL, NULL },
	{ "apiextensions.k8s.io", "customresourcedefinitions", GEN | STATUS, NULL, NULL, strategy_crd_create,
	  strategy_crd_update },
	{ "apiregistration.k8s.io", "apiservices", STATUS, NULL, NULL, NULL, NULL },
	{ "flowcontrol.apiserver.k8s.io", "flowschemas", GEN | STATUS, NULL, NULL, NULL, NULL },
	{ "flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", GEN | STATUS, NULL, NULL, NULL, NULL },
	{ "resource.k8s.io", "resourceclaims", STATUS, NULL, NULL, NULL, NULL },
	{ "resource.k8s.io", "deviceclasses", GEN, NULL, NULL, NULL, NULL },
	{ "resource.k8s.io", "resourceslices", GEN, NULL, NULL, NULL, NULL },
};

static const struct strategy *find(const struct schema_resource *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(strategies); i++)
		if (strcmp(strategies[i].group, r->group) == 0 && strcmp(strategies[i].plural, r->plural) == 0)
			return &strategies[i];
	return NULL;
}

json_t *strategy_meta(json_t *object)
{
	json_t *meta = get(object, "metadata");

	if (!meta) {
		json_object_set_new(object, "metadata", json_object());
		meta = json_object_get(object, "metadata");
	}
	return meta;
}

void strategy_restore(json_t *object, const json_t *old, const char *key)
{
	json_t *v = json_object_get(old, key);

	if (v)
		json_object_set_new(object, key, json_deep_copy(v));
	else
		json_object_del(object, key);
}

void strategy_prepare_create(const struct schema_resource *r, json_t *object)
{
	const struct strategy *s = find(r);

	json_object_del(strategy_meta(object), "generation");
	if (!s)
		return;
	if ((s->flags & STATUS) && !(s->flags & STATUS_CREATE))
		json_object_set_new(object, "status",
				    s->new_status ? json_loads(s->new_status, 0, NULL) : json_object());
	if (s->flags & GEN)
		json_object_set_new(strategy_meta(object), "generation", json_integer(1));
	if (s->create)
		s->create(object);
}

void strategy_restore_metadata(json_t *object, const json_t *old)
{
	static const char *const keys[] = { "deletionTimestamp", "generation",	    "labels",  "annotations",
					    "finalizers",	 "ownerReferences", "selfLink" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		strategy_restore(strategy_meta(object), get(old, "metadata"), keys[i]);
}

/* Everything but status, metadata and the type comes from old. */
static void restore_all_but_status(json_t *object, const json_t *old)
{
	static const char *const kept[] = { "status", "metadata", "kind", "apiVersion", NULL };
	const char *key;
	json_t *v;
	void *tmp;

	json_object_foreach_safe(object, tmp, key, v) {
		if (!one_of(key, kept) && !json_object_get(old, key))
			json_object_del(object, key);
	}
	json_object_foreach((json_t *)old, key, v) {
		if (!one_of(key, kept))
			json_object_set_new(object, key, json_deep_copy(v));
	}
}

/* Strict: both sides have been through the decoder, which leaves one form for a value, and {} may mean something else
 * than nothing. */
static bool changed(const json_t *now, const json_t *old)
{
	return now && old ? !json_same(now, old) : now != old;
}

static bool counted_change(const struct strategy *s, const json_t *object, const json_t *old)
{
	static const char *const uncounted[] = { "metadata", "kind", "apiVersion", NULL };
	const char *key;
	json_t *v;

	if (s->counted && strcmp(s->counted, "*") == 0) {
		json_object_foreach((json_t *)object, key, v) {
			if (!one_of(key, uncounted) && changed(v, json_object_get(old, key)))
				return true;
		}
		json_object_foreach((json_t *)old, key, v) {
			if (!one_of(key, uncounted) && changed(v, json_object_get(object, key)))
				return true;
		}
		return changed(json_at(object, "metadata.labels"), json_at(old, "metadata.labels"));
	}
	key = s->counted ? s->counted : "spec";
	if (*key && changed(get(object, key), get(old, key)))
		return true;
	return (s->flags & GEN_ANNOTATIONS) &&
	       changed(json_at(object, "metadata.annotations"), json_at(old, "metadata.annotations"));
}

void strategy_prepare_update(const struct schema_resource *r, const char *subresource, json_t *object,
			     const json_t *old)
{
	const struct strategy *s = find(r);
	bool status = str_eq(subresource, "status");

	if (str_empty(subresource))
		subresource = NULL;

	strategy_restore(strategy_meta(object), get(old, "metadata"), "generation");
	if (!s)
		return;
	if (status) {
		restore_all_but_status(object, old);
		if (s->flags & META_RESET)
			strategy_restore_metadata(object, old);
		if (s->flags & STATUS_LABELS)
			strategy_restore(strategy_meta(object), get(old, "metadata"), "labels");
	} else if ((s->flags & STATUS) && !str_eq(subresource, "approval")) {
		strategy_restore(object, old, "status");
	}
	if (s->update)
		s->update(subresource, object, old);
	if ((s->flags & GEN) && !status && counted_change(s, object, old))
		json_object_set_new(strategy_meta(object), "generation",
				    json_integer(get_int(get(old, "metadata"), "generation") + 1));
}
