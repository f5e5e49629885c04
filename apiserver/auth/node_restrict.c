// SPDX-License-Identifier: GPL-2.0-or-later
/* What a node's writes may hold (upstream's admission plugin NodeRestriction), in upstream's words. */
#include <string.h>

#include "apiserver/auth/node_authz.h"
#include "kube/object.h"

#define MIRROR "kubernetes.io/config.mirror"

static json_t *refuse(const struct schema_resource *storage, const char *name, const char *fmt, ...) _printf_(3, 4);
static json_t *refuse(const struct schema_resource *storage, const char *name, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	return status_forbidden(storage, name, text.data);
}

/* --- labels ----------------------------------------------------------------------------------------------------------- */

/* The namespace is this domain or below it. */
static bool is_below(const char *ns, const char *domain)
{
	size_t len = strlen(ns), want = strlen(domain);
	return str_eq(ns, domain) || (len > want && ns[len - want - 1] == '.' && str_ends(ns, domain));
}

static bool is_node_label(const char *label, const char *ns)
{
	static const char *const known[] = { "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch",
		"topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
		"failure-domain.beta.kubernetes.io/region", "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type",
		"beta.kubernetes.io/os", "beta.kubernetes.io/arch" };
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_eq(label, known[i]))
			return true;
	return is_below(ns, "kubelet.kubernetes.io") || is_below(ns, "node.kubernetes.io");
}

static bool is_forbidden_label(const char *label)
{
	const char *slash = strchr(label, '/');
	_cleanup_free_ char *ns = slash ? mem_strndup(label, (size_t)(slash - label)) : mem_strdup("");
	if (is_below(ns, "node-restriction.kubernetes.io"))
		return true;
	return (is_below(ns, "kubernetes.io") || is_below(ns, "k8s.io")) && !is_node_label(label, ns);
}

static void add_forbidden(struct strlist *out, const json_t *now, const json_t *old)
{
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)now, key, v) {
		json_t *had = json_object_get(old, key);
		if ((!had || !json_equal(had, v)) && is_forbidden_label(key) && !strlist_has(out, key))
			strlist_add(out, key);
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The labels that were added, changed or removed and must not be, sorted; own, NULL when there are none. */
static char *forbidden_labels(const json_t *now, const json_t *old)
{
	_cleanup_strlist_ struct strlist names = { 0 };
	struct strbuf text = { 0 };
	add_forbidden(&names, now, old);
	add_forbidden(&names, old, now);
	if (!names.count)
		return NULL;
	qsort(names.items, names.count, sizeof(*names.items), by_text);
	for (size_t i = 0; i < names.count; i++)
		strbuf_addf(&text, "%s%s", i ? ", " : "", names.items[i]);
	return strbuf_take(&text);
}

/* --- kinds ------------------------------------------------------------------------------------------------------------ */

static bool same_member(const json_t *a, const json_t *b, const char *path)
{
	json_t *x = json_at(a, path), *y = json_at(b, path);
	if (!json_array_size(x) && !json_array_size(y))
		return true;
	return x && y && json_same(x, y);
}

static json_t *restrict_node(const struct schema_resource *storage, const char *node, const json_t *object, const json_t *old)
{
	const char *name = object_name(object ? object : old);
	_cleanup_free_ char *labels = object ? forbidden_labels(object_labels(object), object_labels(old)) : NULL;
	if (!old && labels)
		return refuse(storage, name, "node \"%s\" is not allowed to set the following labels: %s", node, labels);
	if (!str_eq(name, node))
		return refuse(storage, name, "node \"%s\" is not allowed to modify node \"%s\"", node, name);
	if (!old || !object)
		return NULL;
	if (!same_member(object, old, "spec.taints"))
		return refuse(storage, name, "node \"%s\" is not allowed to modify taints", node);
	if (labels)
		return refuse(storage, name, "is not allowed to modify labels: %s", labels);
	if (!same_member(object, old, "metadata.ownerReferences"))
		return refuse(storage, name, "node \"%s\" is not allowed to modify ownerReferences", node);
	return NULL;
}

/* A mirror pod shows what the node runs by itself: it must not reach for anything of the cluster's. */
static json_t *restrict_new_pod(struct registry *g, const char *node, const json_t *pod)
{
	static const char *const sources[] = { "secret", "configMap", "persistentVolumeClaim", "projected", "ephemeral" };
	const char *name = object_name(pod), *account = json_str_or(pod, "spec.serviceAccountName", "");
	json_t *owner = json_at(pod, "metadata.ownerReferences[0]"), *v;
	size_t i;
	if (!json_object_get(object_annotations(pod), MIRROR))
		return refuse(g->pods, name, "pod does not have \"%s\" annotation, node \"%s\" can only create mirror pods", MIRROR, node);
	if (!str_eq(json_str(pod, "spec.nodeName"), node))
		return refuse(g->pods, name, "node \"%s\" can only create pods with spec.nodeName set to itself", node);
	if (json_array_size(json_at(pod, "metadata.ownerReferences")) != 1 || !str_eq(json_str(owner, "kind"), "Node") ||
	    !str_eq(json_str(owner, "name"), node) || !json_bool(owner, "controller", false))
		return refuse(g->pods, name, "node \"%s\" can only create pods with an owner reference set to itself", node);
	if (*account)
		return refuse(g->pods, name, "node \"%s\" can not create pods that reference a service account", node);
	json_array_foreach(json_at(pod, "spec.volumes"), i, v)
		for (size_t s = 0; s < ARRAY_SIZE(sources); s++)
			if (json_object_get(v, sources[s]))
				return refuse(g->pods, name, "node \"%s\" can not create pods that reference %s volumes", node, sources[s]);
	for (int secret = 1; secret >= 0; secret--)
		if (node_pod_uses(pod, secret, NULL))
			return refuse(g->pods, name, "node \"%s\" can not create pods that reference %s", node,
				      secret ? "secrets" : "configmaps");
	return NULL;
}

static json_t *restrict_pod(struct registry *g, const char *node, enum node_operation op, const char *sub, const json_t *object,
			    const json_t *old)
{
	const char *name = object_name(object ? object : old);
	bool own = str_eq(json_str(old, "spec.nodeName"), node);
	if (op == NODE_CREATE)
		return restrict_new_pod(g, node, object);
	if (op == NODE_DELETE)
		return own ? NULL : refuse(g->pods, name, "node \"%s\" can only delete pods with spec.nodeName set to itself", node);
	if (op == NODE_EVICT)
		return own ? NULL : refuse(g->pods, name, "node \"%s\" can only evict pods with spec.nodeName set to itself", node);
	if (!str_eq(sub, "status"))
		return refuse(g->pods, name, "unexpected operation of node \"%s\"", node);
	if (!own)
		return refuse(g->pods, name, "node \"%s\" can only update pod status for pods with spec.nodeName set to itself", node);
	json_t *now = object_labels(object), *had = object_labels(old);
	if (json_object_size(now) != json_object_size(had) || (now && had && !json_same(now, had)))
		return refuse(g->pods, name, "node \"%s\" cannot update labels through pod status", node);
	return NULL;
}

static json_t *restrict_lease(const struct schema_resource *storage, const char *node, const json_t *object, const json_t *old)
{
	const char *name = object_name(object ? object : old), *ns = object_namespace(object ? object : old);
	if (!str_eq(ns, "kube-node-lease"))
		return refuse(storage, name, "can only access leases in the \"kube-node-lease\" system namespace");
	if (!str_eq(name, node))
		return refuse(storage, name, "can only access node lease with the same name as the requesting node");
	return NULL;
}

json_t *node_restrict(struct registry *g, const struct schema_resource *storage, const struct identity *user,
		      enum node_operation op, const char *sub, const json_t *object, const json_t *old)
{
	const char *node = node_identity(user);
	if (!node)
		return NULL;
	if (storage == g->nodes)
		return restrict_node(storage, node, object, old);
	if (storage == g->pods)
		return restrict_pod(g, node, op, sub, object, old);
	if (storage == g->leases)
		return restrict_lease(storage, node, object, old);
	if (resource_is(storage, "storage.k8s.io", "csinodes") && !str_eq(object_name(object ? object : old), node))
		return refuse(storage, object_name(object ? object : old), "can only access CSINode with the same name as the requesting "
									   "node");
	return NULL;
}

json_t *node_restrict_token(struct registry *g, const struct identity *user, const char *ns, const char *account,
			    const json_t *request)
{
	const char *node = node_identity(user), *uid = json_str_or(request, "spec.boundObjectRef.uid", "");
	const char *name = json_str_or(request, "spec.boundObjectRef.name", "");
	_cleanup_free_ char *key = str_printf("%s/%s", ns, name);
	struct store_object *o;
	if (!node)
		return NULL;
	if (!str_eq(json_str(request, "spec.boundObjectRef.kind"), "Pod") || !*name)
		return refuse(g->serviceaccounts, account, "node requested token not bound to a pod");
	if (!*uid)
		return refuse(g->serviceaccounts, account, "node requested token with a pod binding without a uid");
	o = store_get(g->store, g->pods->id, key);
	_cleanup_json_ json_t *pod = o ? entry_parse(o) : NULL;
	if (!pod)
		return status_not_found(g->pods, name);
	if (!str_eq(object_uid(pod), uid))
		return refuse(g->serviceaccounts, account, "the UID in the bound object reference (%s) does not match the UID in record. The "
			      "object might have been deleted and then recreated", uid);
	if (!str_eq(json_str(pod, "spec.nodeName"), node))
		return refuse(g->serviceaccounts, account, "node requested token bound to a pod scheduled on a different node");
	return NULL;
}
