/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which pods stand behind a Service, as Endpoints and as EndpointSlices. Pure. */
#ifndef KEELSON_CONTROLLERS_ENDPOINTS_H
#define KEELSON_CONTROLLERS_ENDPOINTS_H

#include "controllers/workload.h"

#define ENDPOINTS_HEADLESS_LABEL "service.kubernetes.io/headless"
#define ENDPOINTS_MANAGED_BY "endpoints.kubernetes.io/managed-by"
#define SLICE_SERVICE_LABEL "kubernetes.io/service-name"
#define SLICE_MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define SLICE_SKIP_MIRROR "endpointslice.kubernetes.io/skip-mirror"
#define SLICE_MIRROR_MANAGER "endpointslicemirroring-controller.k8s.io"
#define SLICE_MANAGER "endpointslice-controller.k8s.io"
#define ENDPOINTS_TRIGGER_TIME "endpoints.kubernetes.io/last-change-trigger-time"
enum { SLICE_MAX_ENDPOINTS = 100, ENDPOINTS_MAX_ADDRESSES = 1000 };

bool service_wants_endpoints(const json_t *service); /* it has a selector and is not ExternalName */
bool service_headless(const json_t *service);
/* Has an address and has not finished; a pod being deleted only when include_terminating. */
bool endpoint_eligible(const json_t *pod, bool include_terminating);
/* The Service's ports as this pod has them: [{"name","port","protocol","appProtocol"?}], named targets looked up in
 * its containers, ports it does not have left out. with_empty_name keeps "name":"" (slices do, Endpoints do not). */
json_t *endpoint_ports(const json_t *service, const json_t *pod, bool with_empty_name);
/* The pod's name in DNS under this Service, or NULL. */
const char *endpoint_hostname(const json_t *service, const json_t *pod);
/* Whether a change of a pod can matter to a Service at all. */
bool endpoint_pod_changed(const json_t *old, const json_t *new);
/* The Service's labels and ours. Own. */
json_t *endpoint_labels(const json_t *service);

struct endpoints_view {
	const json_t *service;
	struct object_list pods;       /* of the namespace; the selector is applied here */
	const json_t *endpoints;       /* what exists, or NULL */
	struct object_list slices;     /* what exists for the Service, of any manager */
	json_t *(*node_get)(const char *name, void *user); /* borrow; NULL function: nodes are unknown */
	void *user;
	const char *trigger_time;      /* RFC 3339: the first change that these writes are for; NULL: not known */
};
/* When each pod of a Service last became ready or not, and the Service was made, as far as they were written to its
 * endpoints already. */
struct endpoints_triggers;
struct endpoints_triggers *endpoints_triggers_new(void);
struct endpoints_triggers *endpoints_triggers_free(struct endpoints_triggers *t);
/* The earliest change since the last call for this Service, 0 when none is known. key: the Service's. */
int64_t endpoints_triggers_next_s(struct endpoints_triggers *t, const char *key, const json_t *service,
				  const struct object_list *pods);
void endpoints_triggers_forget(struct endpoints_triggers *t, const char *key);
/* The Endpoints object of a Service: nothing, create, or replace. */
void endpoints_decide(const struct endpoints_view *v, struct plan *plan);
/* The slices: the fewest writes that make them hold exactly the endpoints there are. */
void endpointslice_decide(const struct endpoints_view *v, struct plan *plan);
/* Endpoints written by hand for a Service without a selector. Both may be NULL. */
bool endpoints_mirrored(const json_t *endpoints, const json_t *service);
/* Slices that mirror v->endpoints (not NULL); none when it is not to be mirrored. */
void endpointslice_mirror_decide(const struct endpoints_view *v, struct plan *plan);

#endif
