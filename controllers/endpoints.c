// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The Endpoints and EndpointSlice controllers. Their key is a Service; what they decide from is its namespace's pods
 * and what stands there already. Services without a selector are left alone: their endpoints are somebody else's.
 */
#include "controllers/endpoints.h"

#include "base/clock.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "controllers/labelsets.h"
#include "kube/object.h"

struct endpoints_state {
	struct labelsets *labels;
	struct endpoints_triggers *triggers;
};

/* Every Service that selects the pod now or did before. */
static void on_pod(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	_cleanup_object_list_ struct object_list services = { 0 };

	labelsets_change(((struct endpoints_state *)c->state)->labels, old, new);
	if (!c->ctx->synced || !endpoint_pod_changed(old, new))
		return;
	object_list_add_index(&services, controller_informer(c, INFORMER_SERVICES), INDEX_NAMESPACE,
			      object_namespace(new ? new : old));
	for (size_t i = 0; i < services.count; i++) {
		const json_t *service = services.items[i], *selector = json_at(service, "spec.selector");

		if (!service_wants_endpoints(service))
			continue;
		if ((old && map_selects(selector, object_labels(old))) ||
		    (new && map_selects(selector, object_labels(new))))
			controller_enqueue_object(c, service);
	}
}

static void add_pods(const struct controller *c, const json_t *service, struct object_list *pods)
{
	if (service_wants_endpoints(service))
		labelsets_find(((struct endpoints_state *)c->state)->labels, controller_informer(c, INFORMER_PODS), object_namespace(service),
			       json_at(service, "spec.selector"), pods);
}

/* A Service that is gone takes its Endpoints along; the API server does that too, but it may have died in between. */
static void remove_endpoints(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *endpoints = controller_get(c, INFORMER_ENDPOINTS, key);

	if (endpoints && str_eq(map_str(object_labels(endpoints), ENDPOINTS_MANAGED_BY), "endpoint-controller"))
		plan_delete(plan,
			    kube_path("v1", "endpoints", object_namespace(endpoints), object_name(endpoints), NULL),
			    object_uid(endpoints), -1, NULL)
			->flags |= WRITE_IGNORE_NOT_FOUND;
}

/* Fills v->trigger_time from what has changed since the last time; text is its memory. */
static void note_trigger(struct controller *c, const char *key, struct endpoints_view *v, char text[static CLOCK_RFC3339_SIZE])
{
	const struct endpoints_state *s = c->state;
	int64_t at_s = endpoints_triggers_next_s(s->triggers, key, v->service, &v->pods);

	if (!at_s)
		return;
	clock_format_rfc3339(at_s, text);
	v->trigger_time = text;
}

static void endpoints_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *service = controller_get(c, INFORMER_SERVICES, key);
	struct endpoints_view view = { .service = service };
	const struct endpoints_state *s = c->state;
	char text[CLOCK_RFC3339_SIZE];

	if (!service) {
		endpoints_triggers_forget(s->triggers, key);
		remove_endpoints(c, key, plan);
		return;
	}
	if (object_deleting(service))
		return;
	view.endpoints = controller_get(c, INFORMER_ENDPOINTS, key);
	add_pods(c, service, &view.pods);
	note_trigger(c, key, &view, text);
	endpoints_decide(&view, plan);
	object_list_done(&view.pods);
}

/* Somebody changed or removed what we keep. */
static void on_endpoints(const json_t *old, const json_t *new, void *user)
{
	controller_enqueue_object(user, new ? new : old);
}

static void state_new(struct controller *c)
{
	struct endpoints_state *s = mem_new(struct endpoints_state);

	s->labels = labelsets_new();
	s->triggers = endpoints_triggers_new();
	c->state = s;
}

static void stop(struct controller *c)
{
	struct endpoints_state *s = c->state;

	labelsets_free(s->labels);
	endpoints_triggers_free(s->triggers);
	free(s);
}

static void endpoints_start(struct controller *c)
{
	state_new(c);
	controller_watch(c, INFORMER_PODS, on_pod);
	controller_watch(c, INFORMER_ENDPOINTS, on_endpoints);
}

static json_t *node_get(const char *name, void *user)
{
	return informer_get(controller_informer(user, INFORMER_NODES), NULL, name);
}

static void endpointslice_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *service = controller_get(c, INFORMER_SERVICES, key);
	struct endpoints_view view = { .service = service, .node_get = node_get, .user = c };
	const struct endpoints_state *s = c->state;
	char text[CLOCK_RFC3339_SIZE];

	object_list_add_index(&view.slices, controller_informer(c, INFORMER_ENDPOINTSLICES), INDEX_SERVICE, key);
	if (!service) {
		expectations_forget(c->expected, key);
		endpoints_triggers_forget(s->triggers, key);
		for (size_t i = 0; i < view.slices.count; i++) {
			const json_t *slice = view.slices.items[i];

			if (str_eq(map_str(object_labels(slice), SLICE_MANAGED_BY), SLICE_MANAGER))
				plan_delete(plan,
					    kube_path("discovery.k8s.io/v1", "endpointslices", object_namespace(slice),
						      object_name(slice), NULL),
					    object_uid(slice), -1, NULL)
					->flags |= WRITE_IGNORE_NOT_FOUND;
		}
	} else if (!object_deleting(service) && controller_expectations_met(c, key)) {
		/* Names are generated, so a slice the cache does not show yet would be made twice. */
		add_pods(c, service, &view.pods);
		note_trigger(c, key, &view, text);
		endpointslice_decide(&view, plan);
	}
	object_list_done(&view.slices);
	object_list_done(&view.pods);
}

static void on_slice(const json_t *old, const json_t *new, void *user)
{
	struct controller *c = user;
	const json_t *slice = new ? new : old, *labels = object_labels(slice);
	const char *service = map_str(labels, SLICE_SERVICE_LABEL);
	_cleanup_free_ char *key = NULL;

	if (!service || !str_eq(map_str(labels, SLICE_MANAGED_BY), SLICE_MANAGER))
		return; /* somebody else's */
	key = str_printf("%s/%s", object_namespace(slice), service);
	if (!old)
		expectations_created(c->expected, key);
	controller_enqueue(c, key);
}

/* A node's zone stands in its endpoints, and pods of nodes that are not there are none. */
static void on_node(const json_t *old, const json_t *new, void *user)
{
	static const char zone[] = "topology.kubernetes.io/zone";
	struct controller *c = user;
	const json_t *service;
	size_t it = 0;

	if (old && new && str_eq(map_str(object_labels(old), zone), map_str(object_labels(new), zone)))
		return;
	while ((service = informer_next(controller_informer(c, INFORMER_SERVICES), &it)))
		controller_enqueue_object(c, service);
}

static void endpointslice_start(struct controller *c)
{
	state_new(c);
	controller_watch(c, INFORMER_PODS, on_pod);
	controller_watch(c, INFORMER_ENDPOINTSLICES, on_slice);
	controller_watch(c, INFORMER_NODES, on_node);
}

const struct controller_ops endpoints_controller = {
	.name = "endpoints",
	.primary = INFORMER_SERVICES,
	.needs = NEEDS(INFORMER_SERVICES) | NEEDS(INFORMER_PODS) | NEEDS(INFORMER_ENDPOINTS),
	.parallel = 5,
	.start = endpoints_start,
	.stop = stop,
	.sync = endpoints_sync,
};
const struct controller_ops endpointslice_controller = {
	.name = "endpointslice",
	.primary = INFORMER_SERVICES,
	.needs = NEEDS(INFORMER_SERVICES) | NEEDS(INFORMER_PODS) | NEEDS(INFORMER_ENDPOINTSLICES) |
		 NEEDS(INFORMER_NODES),
	.parallel = 5,
	.start = endpointslice_start,
	.stop = stop,
	.sync = endpointslice_sync,
};
