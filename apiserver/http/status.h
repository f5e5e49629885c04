/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metav1.Status: what every refusal looks like to a client (apimachinery/pkg/api/errors). Functions that can refuse return a
 * Status (own) or NULL for success.
 */
#ifndef KEELSON_APISERVER_HTTP_STATUS_H
#define KEELSON_APISERVER_HTTP_STATUS_H

#include "base/err.h"
#include "kube/json.h"
#include "kube/schema.h"

/* A failure without details. reason: a literal. */
json_t *status_new(int code, const char *reason, const char *fmt, ...) _printf_(3, 4);
/* With details {name, group, kind}; resource may be NULL, name may be NULL. */
json_t *status_for(const struct schema_resource *resource, const char *name, int code, const char *reason, const char *fmt,
		   ...) _printf_(5, 6);
json_t *status_not_found(const struct schema_resource *resource, const char *name);
json_t *status_exists(const struct schema_resource *resource, const char *name);
/* `Operation cannot be fulfilled on pods "x": TEXT`; text NULL: the object has been modified. */
json_t *status_conflict(const struct schema_resource *resource, const char *name, const char *text);
/* `pods "x" is forbidden: TEXT` (name NULL or "": `pods is forbidden: TEXT`). */
json_t *status_forbidden(const struct schema_resource *resource, const char *name, const char *text);
json_t *status_bad_request(const char *fmt, ...) _printf_(1, 2);
json_t *status_internal(const char *fmt, ...) _printf_(1, 2);
json_t *status_method_not_allowed(const struct schema_resource *resource);
/* From an err with the API's view (http_status, reason); others become 500. */
json_t *status_from_err(const struct err *err);
/* As upstream's generic server responses: "details":{}. */
void status_set_empty_details(json_t *status);
void status_add_cause(json_t *status, const char *reason, const char *message, const char *field);
void status_set_retry(json_t *status, int seconds);
int status_code(const json_t *status);
/* Success with details, as a delete answers. uid may be NULL. */
json_t *status_success(const struct schema_resource *resource, const char *name, const char *uid);
/* "deployments.apps" or "pods", into out. */
const char *status_resource_name(const struct schema_resource *resource, char out[static 256]);

#endif
