// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The EndpointSlice mirroring controller: who reads slices also sees Endpoints that were written by hand for a Service
 * without a selector. Its keys are Endpoints.
 */
#include "base/mem.h"
#include "controllers/controller.h"
#include "controllers/endpoints.h"
#include "kube/object.h"

static void mirroring_sync(struct controller *c, const char *key, struct plan *plan)
{
	struct endpoints_view view = { .service = controller_get(c, INFORMER_SERVICES, key),
				       .endpoints = controller_get(c, INFORMER_ENDPOINTS, key) };

	if (!view.endpoints) {
		expectations_forget(c->expected, key); /* the slices go with their owner */
		return;
	}
	if (!controller_expectations_met(c, key))
		return;
	object_list_add_index(&view.slices, controller_informer(c, INFORMER_ENDPOINTSLICES), INDEX_SERVICE, key);
	endpointslice_mirror_decide(&view, plan);
	object_list_done(&view.slices);
}

static void on_service(const json_t *old, const json_t *new, void *user)
{
	controller_enqueue_object(user, new ? new : old);
}

static void on_slice(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	const json_t *slice = new ? new : old;
	const char *service = map_str(object_labels(slice), SLICE_SERVICE_LABEL);
	_cleanup_free_ char *key = NULL;

	if (!service || !str_eq(map_str(object_labels(slice), SLICE_MANAGED_BY), SLICE_MIRROR_MANAGER))
		return;
	key = str_printf("%s/%s", object_namespace(slice), service);
	if (!old)
		expectations_created(c->expected, key);
	controller_enqueue(c, key);
}

static void mirroring_start(struct controller *c)
{
	controller_watch(c, INFORMER_SERVICES, on_service);
	controller_watch(c, INFORMER_ENDPOINTSLICES, on_slice);
}

const struct controller_ops endpointslicemirroring_controller = {
	.name = "endpointslice-mirroring",
	.primary = INFORMER_ENDPOINTS,
	.needs = NEEDS(INFORMER_ENDPOINTS) | NEEDS(INFORMER_SERVICES) | NEEDS(INFORMER_ENDPOINTSLICES),
	.parallel = 5,
	.start = mirroring_start,
	.sync = mirroring_sync,
};
