// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two controllers of bootstrap tokens: the cleaner deletes those whose time is over, the signer keeps a signature by each in
 * kube-public/cluster-info, with which a machine that has only a token (kubeadm's discovery) can trust what stands there.
 */
#include "controllers/bootstrap.h"

#include "base/clock.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "kube/object.h"

#define CLUSTER_INFO "kube-public/cluster-info"

static void cleaner_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *token = controller_get(c, INFORMER_BOOTSTRAP_TOKENS, key);
	int64_t end_s, now_s = clock_wall_s();

	if (!token || object_deleting(token))
		return;
	end_s = bootstrap_expires_s(token);
	if (end_s == INT64_MAX)
		return;
	if (end_s > now_s)
		plan_requeue(plan, (end_s - now_s) * 1000);
	else
		plan_delete(plan, kube_path("v1", "secrets", object_namespace(token), object_name(token), NULL), object_uid(token), -1,
			    NULL)
			->flags |= WRITE_IGNORE_NOT_FOUND;
}

static void on_token(const json_t *old _unused_, const json_t *new _unused_, void *user)
{
	controller_enqueue(user, CLUSTER_INFO);
}

static void signer_start(struct controller *c)
{
	controller_watch(c, INFORMER_BOOTSTRAP_TOKENS, on_token);
}

static void signer_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *info = controller_get(c, INFORMER_CLUSTER_INFO, key);
	_cleanup_object_list_ struct object_list tokens = { 0 };
	_cleanup_json_ json_t *wanted = NULL, *changes = json_object();
	const char *name;
	json_t *value;
	size_t it = 0;

	if (!info)
		return;
	for (json_t *token; (token = informer_next(controller_informer(c, INFORMER_BOOTSTRAP_TOKENS), &it));)
		object_list_add(&tokens, token);
	wanted = bootstrap_signatures(info, &tokens, clock_wall_s());
	json_object_foreach(json_object_get(info, "data"), name, value) {
		if (str_starts(name, JWS_PREFIX) && !json_object_get(wanted, name))
			json_object_set_new(changes, name, json_null());
	}
	json_object_foreach(wanted, name, value) {
		if (!str_eq(json_string_value(value), json_string_value(json_object_get(json_object_get(info, "data"), name))))
			json_object_set(changes, name, value);
	}
	if (!json_object_size(changes))
		return;
	plan_merge_patch(plan, kube_path("v1", "configmaps", object_namespace(info), object_name(info), NULL),
			 json_pack("{s:{s:s}, s:O}", "metadata", "resourceVersion", object_resource_version(info), "data", changes))
		->flags |= WRITE_IGNORE_NOT_FOUND;
}

const struct controller_ops tokencleaner_controller = {
	.name = "token-cleaner",
	.primary = INFORMER_BOOTSTRAP_TOKENS,
	.needs = NEEDS(INFORMER_BOOTSTRAP_TOKENS),
	.parallel = 1,
	.sync = cleaner_sync,
};
const struct controller_ops bootstrapsigner_controller = {
	.name = "bootstrap-signer",
	.primary = INFORMER_CLUSTER_INFO,
	.needs = NEEDS(INFORMER_CLUSTER_INFO) | NEEDS(INFORMER_BOOTSTRAP_TOKENS),
	.parallel = 1,
	.start = signer_start,
	.sync = signer_sync,
};
