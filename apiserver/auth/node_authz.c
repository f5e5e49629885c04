// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The node authorizer. Which Secrets, ConfigMaps, claims and ServiceAccounts are a node's follows from the pods bound to it: these are
 * found by the node's name kept beside each pod and read at the moment of the question, so that nothing has to be kept in step.
 */
#include "apiserver/auth/node_authz.h"

#include <string.h>

#include "kube/object.h"

#define NODE_PREFIX "system:node:"

const char *node_identity(const struct identity *user)
{
	const char *name = user && identity_in_group(user, "system:nodes") ? str_after(user->name, NODE_PREFIX) : NULL;
	return str_empty(name) ? NULL : name;
}

static bool one_of(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (str_eq(s, *words))
			return true;
	return false;
}
#define ONE_OF(s, ...) one_of((s), (const char *const[]){ __VA_ARGS__, NULL })

/* --- what a pod uses -------------------------------------------------------------------------------------------------- */

/* name NULL: any name. */
static bool named(const json_t *o, const char *path, const char *name)
{
	const char *is = json_str(o, path);
	return is && (!name || str_eq(is, name));
}

static bool container_uses(const json_t *c, bool secret, const char *name)
{
	json_t *v;
	size_t i;
	json_array_foreach(json_object_get(c, "env"), i, v)
		if (named(v, secret ? "valueFrom.secretKeyRef.name" : "valueFrom.configMapKeyRef.name", name))
			return true;
	json_array_foreach(json_object_get(c, "envFrom"), i, v)
		if (named(v, secret ? "secretRef.name" : "configMapRef.name", name))
			return true;
	return false;
}

static bool volume_uses(const json_t *volume, bool secret, const char *name)
{
	static const char *const secrets[] = { "secret.secretName", "csi.nodePublishSecretRef.name", "azureFile.secretName",
		"cephfs.secretRef.name", "flexVolume.secretRef.name", "iscsi.secretRef.name", "rbd.secretRef.name",
		"scaleIO.secretRef.name", "storageos.secretRef.name" };
	json_t *v;
	size_t i;
	json_array_foreach(json_at(volume, "projected.sources"), i, v)
		if (named(v, secret ? "secret.name" : "configMap.name", name))
			return true;
	if (!secret)
		return named(volume, "configMap.name", name);
	for (i = 0; i < ARRAY_SIZE(secrets); i++)
		if (named(volume, secrets[i], name))
			return true;
	return false;
}

bool node_pod_uses(const json_t *pod, bool secret, const char *name)
{
	static const char *const lists[] = { "spec.containers", "spec.initContainers", "spec.ephemeralContainers" };
	json_t *v;
	size_t i, l;
	for (l = 0; l < ARRAY_SIZE(lists); l++)
		json_array_foreach(json_at(pod, lists[l]), i, v)
			if (container_uses(v, secret, name))
				return true;
	json_array_foreach(json_at(pod, "spec.volumes"), i, v)
		if (volume_uses(v, secret, name))
			return true;
	json_array_foreach(json_at(pod, "spec.imagePullSecrets"), i, v)
		if (secret && named(v, "name", name))
			return true;
	return false;
}

static bool uses_claim(const json_t *pod, const char *name)
{
	json_t *v;
	size_t i;
	json_array_foreach(json_at(pod, "spec.volumes"), i, v) {
		_cleanup_free_ char *own = str_printf("%s-%s", object_name(pod), json_str_or(v, "name", ""));
		if (named(v, "persistentVolumeClaim.claimName", name) || (json_object_get(v, "ephemeral") && str_eq(own, name)))
			return true;
	}
	return false;
}

static bool pod_uses(const json_t *pod, const char *plural, const char *name)
{
	if (str_eq(plural, "persistentvolumeclaims"))
		return uses_claim(pod, name);
	if (str_eq(plural, "serviceaccounts"))
		return named(pod, "spec.serviceAccountName", name);
	return node_pod_uses(pod, str_eq(plural, "secrets"), name);
}

static bool is_on(const struct registry *g, const struct store_object *pod, const char *node)
{
	const char *const *labels = entry_field_labels(g->pods);
	unsigned at = 0;
	while (labels[at] && !str_eq(labels[at], "spec.nodeName"))
		at++;
	return labels[at] && str_eq(entry_field(pod, at), node);
}

static bool is_mirror(const json_t *pod)
{
	return json_object_get(object_annotations(pod), "kubernetes.io/config.mirror") != NULL;
}

/* Does a pod of the node use the object? What a mirror pod names, the node has made up itself. */
static bool node_uses(struct registry *g, const char *node, const char *plural, const char *ns, const char *name)
{
	_cleanup_free_ char *prefix = str_printf("%s/", ns);
	struct store_iter it = store_iterate(g->store, g->pods->id, prefix);
	for (struct store_object *o; (o = store_next(&it));) {
		if (!is_on(g, o, node))
			continue;
		_cleanup_json_ json_t *pod = entry_parse(o);
		if (!is_mirror(pod) && pod_uses(pod, plural, name))
			return true;
	}
	return false;
}

/* --- the rules -------------------------------------------------------------------------------------------------------- */

static bool reads_data(struct registry *g, const char *node, const struct authz_attributes *a)
{
	return ONE_OF(a->verb, "get", "list", "watch") && !*a->subresource && *a->ns && *a->name &&
	       node_uses(g, node, a->resource, a->ns, a->name);
}

static bool uses_claim_attributes(struct registry *g, const char *node, const struct authz_attributes *a)
{
	bool status = str_eq(a->subresource, "status");
	if (!(status ? ONE_OF(a->verb, "get", "update", "patch") : str_eq(a->verb, "get") && !*a->subresource))
		return false;
	return *a->ns && *a->name && node_uses(g, node, a->resource, a->ns, a->name);
}

/* The stored object, parsed; own, NULL. */
static json_t *object_at(struct registry *g, const char *group, const char *plural, const char *key)
{
	const struct schema_resource *r = schema_resource_find(group, "v1", plural);
	struct store_object *o = r ? store_get(g->store, r->id, key) : NULL;
	return o ? entry_parse(o) : NULL;
}

static bool reads_volume(struct registry *g, const char *node, const struct authz_attributes *a)
{
	_cleanup_json_ json_t *v = str_eq(a->verb, "get") && !*a->subresource ? object_at(g, "", a->resource, a->name) : NULL;
	const char *claim = json_str(v, "spec.claimRef.name"), *ns = json_str(v, "spec.claimRef.namespace");
	return claim && ns && node_uses(g, node, "persistentvolumeclaims", ns, claim);
}

static bool reads_attachment(struct registry *g, const char *node, const struct authz_attributes *a)
{
	_cleanup_json_ json_t *v =
		str_eq(a->verb, "get") && !*a->subresource ? object_at(g, a->group, a->resource, a->name) : NULL;
	return v && named(v, "spec.nodeName", node);
}

static bool uses_account(struct registry *g, const char *node, const struct authz_attributes *a)
{
	bool token = str_eq(a->subresource, "token") && str_eq(a->verb, "create");
	return (token || (!*a->subresource && str_eq(a->verb, "get"))) && *a->ns && *a->name &&
	       node_uses(g, node, a->resource, a->ns, a->name);
}

static bool own_lease(const char *node, const struct authz_attributes *a)
{
	if (!str_eq(a->ns, "kube-node-lease") || *a->subresource)
		return false;
	return str_eq(a->verb, "create") || (ONE_OF(a->verb, "get", "update", "patch", "delete") && str_eq(a->name, node));
}

static bool own_node(const char *node, const struct authz_attributes *a)
{
	if (str_eq(a->subresource, "status"))
		return ONE_OF(a->verb, "update", "patch");
	if (*a->subresource)
		return false;
	/* That changes are to the node itself is for node_restrict() to say, which names what is wrong. */
	return ONE_OF(a->verb, "create", "update", "patch") || (ONE_OF(a->verb, "get", "list", "watch") && str_eq(a->name, node));
}

/* spec.nodeName=NODE is one of the selector's requirements. */
static bool selects_node(const char *selector, const char *node)
{
	_cleanup_strlist_ struct strlist parts = { 0 };
	_cleanup_free_ char *one = str_printf("spec.nodeName=%s", node), *two = str_printf("spec.nodeName==%s", node);
	strlist_split(&parts, selector ? selector : "", ',');
	return strlist_has(&parts, one) || strlist_has(&parts, two);
}

static bool own_pod(struct registry *g, const char *node, const struct authz_attributes *a)
{
	_cleanup_free_ char *key = str_printf("%s/%s", a->ns, a->name);
	struct store_object *pod = *a->ns && *a->name ? store_get(g->store, g->pods->id, key) : NULL;
	if (str_eq(a->subresource, "status"))
		return ONE_OF(a->verb, "update", "patch");
	if (str_eq(a->subresource, "eviction"))
		return str_eq(a->verb, "create");
	if (*a->subresource)
		return false;
	if (ONE_OF(a->verb, "create", "delete"))
		return true;
	if (ONE_OF(a->verb, "list", "watch") && selects_node(a->field_selector, node))
		return true;
	return ONE_OF(a->verb, "get", "list", "watch") && pod && is_on(g, pod, node);
}

static bool own_csinode(const char *node, const struct authz_attributes *a)
{
	return !*a->subresource && (str_eq(a->verb, "create") ||
				    (ONE_OF(a->verb, "get", "update", "patch", "delete") && str_eq(a->name, node)));
}

bool node_authz_allows(struct registry *g, const struct rbac *rbac, const char *node, const struct authz_attributes *a)
{
	if (a->is_resource && !*a->group) {
		if (ONE_OF(a->resource, "secrets", "configmaps"))
			return reads_data(g, node, a);
		if (str_eq(a->resource, "persistentvolumeclaims"))
			return uses_claim_attributes(g, node, a);
		if (str_eq(a->resource, "persistentvolumes"))
			return reads_volume(g, node, a);
		if (str_eq(a->resource, "serviceaccounts"))
			return uses_account(g, node, a);
		if (str_eq(a->resource, "nodes"))
			return own_node(node, a);
		if (str_eq(a->resource, "pods"))
			return own_pod(g, node, a);
	}
	if (a->is_resource && str_eq(a->group, "storage.k8s.io")) {
		if (str_eq(a->resource, "volumeattachments"))
			return reads_attachment(g, node, a);
		if (str_eq(a->resource, "csinodes"))
			return own_csinode(node, a);
	}
	if (a->is_resource && str_eq(a->group, "coordination.k8s.io") && str_eq(a->resource, "leases"))
		return own_lease(node, a);
	/* The rest is not told apart by node. */
	return rbac_role_allows(rbac, "system:node", a);
}
