// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The shared informers. Objects are cut down before they are kept: managedFields of everything, and of pods all that
 * no controller reads, so that a pod costs a few kilobytes. What is kept is never changed.
 */
#include "controllers/caches.h"

#include "base/mem.h"
#include "kube/object.h"

static void strip_metadata(json_t *object)
{
	json_t *metadata = json_object_get(object, "metadata");

	json_object_del(metadata, "managedFields");
}

static json_t *slim_any(json_t *object, void *user _unused_)
{
	strip_metadata(object);
	return object;
}

static void keep_only(json_t *object, const char *const *fields)
{
	const char *key;
	json_t *value;
	void *tmp;

	json_object_foreach_safe(object, tmp, key, value) {
		bool keep = false;

		for (const char *const *f = fields; *f && !keep; f++)
			keep = str_eq(*f, key);
		if (!keep)
			json_object_del(object, key);
	}
}

static void slim_containers(json_t *containers)
{
	static const char *const fields[] = { "name", "ports", "restartPolicy", "resources", NULL };
	size_t i;
	json_t *container;

	json_array_foreach(containers, i, container)
		keep_only(container, fields);
}

json_t *caches_slim_pod(json_t *pod, void *user _unused_)
{
	static const char *const spec_fields[] = {
		"nodeName", "hostNetwork", "hostname", "subdomain", "tolerations", "containers", "initContainers",
		"restartPolicy", "terminationGracePeriodSeconds", "affinity", "priority", "overhead", "volumes", NULL,
	};
	static const char *const volume_fields[] = { "name", "persistentVolumeClaim", NULL };
	json_t *spec = json_object_get(pod, "spec"), *volumes, *volume;
	size_t i;

	strip_metadata(pod);
	keep_only(spec, spec_fields);
	slim_containers(json_object_get(spec, "containers"));
	slim_containers(json_object_get(spec, "initContainers"));
	volumes = json_object_get(spec, "volumes");
	for (i = json_array_size(volumes); i-- > 0;) {
		volume = json_array_get(volumes, i);
		if (json_object_get(volume, "persistentVolumeClaim"))
			keep_only(volume, volume_fields);
		else
			json_array_remove(volumes, i);
	}
	return pod;
}

static json_t *slim_node(json_t *node, void *user _unused_)
{
	json_t *status = json_object_get(node, "status");

	strip_metadata(node);
	json_object_del(status, "images");
	json_object_del(status, "volumesInUse");
	json_object_del(status, "volumesAttached");
	return node;
}

static json_t *slim_serviceaccount(json_t *object, void *user _unused_)
{
	static const char *const fields[] = { "apiVersion", "kind", "metadata", NULL };

	strip_metadata(object);
	keep_only(object, fields);
	return object;
}

static char *key_owner(const json_t *o)
{
	json_t *owner = object_controller_of(o);

	return owner ? mem_strdup(json_str(owner, "uid")) : NULL;
}

static char *key_orphan(const json_t *o)
{
	return object_controller_of(o) ? NULL : mem_strdup(object_namespace(o));
}

static char *key_namespace(const json_t *o)
{
	return mem_strdup(object_namespace(o));
}

static char *key_node(const json_t *o)
{
	const char *node = json_str(o, "spec.nodeName");

	return str_empty(node) ? NULL : mem_strdup(node);
}

static char *key_service(const json_t *o)
{
	const char *service = json_string_value(json_object_get(object_labels(o), "kubernetes.io/service-name"));

	return service ? str_printf("%s/%s", object_namespace(o), service) : NULL;
}

char *caches_labels_key(const json_t *o)
{
	_cleanup_free_ char *labels =
		object_labels(o) ? json_dumps(object_labels(o), JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	return str_printf("%s %s", object_namespace(o), labels ? labels : "{}");
}

struct cache {
	const char *api_version, *plural, *ns, *field_selector;
	json_t *(*transform)(json_t *object, void *user);
	bool by_owner, by_namespace, by_node, by_service, by_labels;
};
static const struct cache caches[INFORMER_ID_MAX] = {
	[INFORMER_PODS] = { "v1", "pods", .transform = caches_slim_pod, .by_owner = true, .by_node = true,
			    .by_labels = true },
	[INFORMER_REPLICASETS] = { "apps/v1", "replicasets", .transform = slim_any, .by_owner = true,
				   .by_namespace = true },
	[INFORMER_DEPLOYMENTS] = { "apps/v1", "deployments", .transform = slim_any },
	[INFORMER_SERVICES] = { "v1", "services", .transform = slim_any, .by_namespace = true },
	[INFORMER_ENDPOINTS] = { "v1", "endpoints", .transform = slim_any },
	[INFORMER_ENDPOINTSLICES] = { "discovery.k8s.io/v1", "endpointslices", .transform = slim_any,
				      .by_service = true },
	[INFORMER_NAMESPACES] = { "v1", "namespaces", .transform = slim_any },
	[INFORMER_NODES] = { "v1", "nodes", .transform = slim_node },
	[INFORMER_NODE_LEASES] = { "coordination.k8s.io/v1", "leases", .ns = "kube-node-lease",
				   .transform = slim_any },
	[INFORMER_SERVICEACCOUNTS] = { "v1", "serviceaccounts", .transform = slim_serviceaccount },
	[INFORMER_ROOT_CA] = { "v1", "configmaps", .field_selector = "metadata.name=kube-root-ca.crt",
			       .transform = slim_any },
	[INFORMER_JOBS] = { "batch/v1", "jobs", .transform = slim_any, .by_owner = true },
	[INFORMER_CRONJOBS] = { "batch/v1", "cronjobs", .transform = slim_any },
	[INFORMER_DAEMONSETS] = { "apps/v1", "daemonsets", .transform = slim_any, .by_namespace = true },
	[INFORMER_STATEFULSETS] = { "apps/v1", "statefulsets", .transform = slim_any, .by_namespace = true },
	[INFORMER_CONTROLLERREVISIONS] = { "apps/v1", "controllerrevisions", .transform = slim_any,
					   .by_owner = true },
	[INFORMER_PVCS] = { "v1", "persistentvolumeclaims", .transform = slim_any },
	[INFORMER_REPLICATIONCONTROLLERS] = { "v1", "replicationcontrollers", .transform = slim_any,
					      .by_owner = true, .by_namespace = true },
	[INFORMER_PDBS] = { "policy/v1", "poddisruptionbudgets", .transform = slim_any, .by_namespace = true },
	[INFORMER_CSRS] = { "certificates.k8s.io/v1", "certificatesigningrequests", .transform = slim_any },
	[INFORMER_BOOTSTRAP_TOKENS] = { "v1", "secrets", .ns = "kube-system",
					.field_selector = "type=bootstrap.kubernetes.io/token", .transform = slim_any },
	[INFORMER_CLUSTER_INFO] = { "v1", "configmaps", .ns = "kube-public",
				    .field_selector = "metadata.name=cluster-info", .transform = slim_any },
	[INFORMER_PVS] = { "v1", "persistentvolumes", .transform = slim_any },
	[INFORMER_VOLUMEATTRIBUTESCLASSES] = { "storage.k8s.io/v1", "volumeattributesclasses", .transform = slim_any },
	[INFORMER_CLUSTERROLES] = { "rbac.authorization.k8s.io/v1", "clusterroles", .transform = slim_any },
	[INFORMER_TOKEN_SECRETS] = { "v1", "secrets", .field_selector = "type=kubernetes.io/service-account-token",
				     .transform = slim_any },
	[INFORMER_RESOURCEQUOTAS] = { "v1", "resourcequotas", .transform = slim_any, .by_namespace = true },
};

struct informer *caches_informer_new(struct kube_client *client, enum informer_id id)
{
	const struct cache *cache = &caches[id];
	const struct informer_options options = {
		.size = sizeof(options),
		.api_version = cache->api_version,
		.plural = cache->plural,
		.ns = cache->ns,
		.field_selector = cache->field_selector,
		.transform = cache->transform,
	};
	struct informer *i = informer_new(client, &options);

	if (cache->by_owner) {
		informer_add_index(i, INDEX_OWNER, key_owner);
		informer_add_index(i, INDEX_ORPHAN, key_orphan);
	}
	if (cache->by_namespace)
		informer_add_index(i, INDEX_NAMESPACE, key_namespace);
	if (cache->by_node)
		informer_add_index(i, INDEX_NODE, key_node);
	if (cache->by_labels)
		informer_add_index(i, INDEX_LABELS, caches_labels_key);
	if (cache->by_service)
		informer_add_index(i, INDEX_SERVICE, key_service);
	return i;
}

enum informer_id caches_find(const char *api_version, const char *plural)
{
	for (enum informer_id id = 0; id < INFORMER_ID_MAX; id++) {
		const struct cache *c = &caches[id];

		if (!c->ns && !c->field_selector && str_eq(c->api_version, api_version) && str_eq(c->plural, plural))
			return id;
	}
	return INFORMER_ID_MAX;
}
