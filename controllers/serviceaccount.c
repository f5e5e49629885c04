// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What every namespace has: the ServiceAccount "default", and the ConfigMap kube-root-ca.crt with the CA that signs the
 * API server's certificate. Two controllers whose key is a namespace; both put back what is removed or changed.
 */
#include "base/mem.h"
#include "controllers/controller.h"
#include "controllers/workload.h"
#include "kube/object.h"

#define ROOT_CA_NAME "kube-root-ca.crt"

static bool namespace_lives(const json_t *ns)
{
	return ns && !object_deleting(ns) && !str_eq(json_str(ns, "status.phase"), "Terminating");
}

static void serviceaccount_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *ns = controller_get(c, INFORMER_NAMESPACES, key);

	if (!namespace_lives(ns) || informer_get(controller_informer(c, INFORMER_SERVICEACCOUNTS), key, "default"))
		return;
	plan_create(plan, kube_path("v1", "serviceaccounts", key, NULL, NULL),
		    json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", "v1", "kind", "ServiceAccount", "metadata",
			      "name", "default", "namespace", key))
		->flags |= WRITE_IGNORE_EXISTS;
}

static void on_child(const json_t *old, const json_t *new, void *user)
{
	controller_enqueue(user, object_namespace(new ? new : old));
}

static void serviceaccount_start(struct controller *c)
{
	controller_watch(c, INFORMER_SERVICEACCOUNTS, on_child);
}

static void rootca_sync(struct controller *c, const char *key, struct plan *plan)
{
	const char *pem = c->ctx->config->root_ca;
	const json_t *ns = controller_get(c, INFORMER_NAMESPACES, key), *had;

	if (!pem || !namespace_lives(ns))
		return;
	had = informer_get(controller_informer(c, INFORMER_ROOT_CA), key, ROOT_CA_NAME);
	if (!had)
		plan_create(plan, kube_path("v1", "configmaps", key, NULL, NULL),
			    json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s}}", "apiVersion", "v1", "kind", "ConfigMap",
				      "metadata", "name", ROOT_CA_NAME, "namespace", key, "data", "ca.crt", pem))
			->flags |= WRITE_IGNORE_EXISTS;
	else if (json_object_size(json_object_get(had, "data")) != 1 ||
		 !str_eq(map_str(json_object_get(had, "data"), "ca.crt"), pem))
		plan_add(plan, "PUT", kube_path("v1", "configmaps", key, ROOT_CA_NAME, NULL),
			 json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s}}", "apiVersion", "v1", "kind", "ConfigMap",
				   "metadata", "name", ROOT_CA_NAME, "namespace", key, "data", "ca.crt", pem));
}

static void rootca_start(struct controller *c)
{
	controller_watch(c, INFORMER_ROOT_CA, on_child);
}

const struct controller_ops serviceaccount_controller = {
	.name = "serviceaccount",
	.primary = INFORMER_NAMESPACES,
	.needs = NEEDS(INFORMER_NAMESPACES) | NEEDS(INFORMER_SERVICEACCOUNTS),
	.parallel = 2,
	.start = serviceaccount_start,
	.sync = serviceaccount_sync,
};
const struct controller_ops rootca_controller = {
	.name = "root-ca-certificate-publisher",
	.primary = INFORMER_NAMESPACES,
	.needs = NEEDS(INFORMER_NAMESPACES) | NEEDS(INFORMER_ROOT_CA),
	.parallel = 2,
	.start = rootca_start,
	.sync = rootca_sync,
};
