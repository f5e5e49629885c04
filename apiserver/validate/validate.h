/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Defaulting and validation, kind by kind, as Kubernetes does them. Pure: what needs the cluster (allocators,
 * namespaces) is the registry's. Field paths, reasons and words are upstream's.
 */
#ifndef KEELSON_APISERVER_VALIDATE_H
#define KEELSON_APISERVER_VALIDATE_H

#include "kube/json.h"
#include "kube/schema.h"

/* Field errors in order. Zero-initialize. */
struct field_errors {
	struct field_error {
		const char *reason; /* literal: "FieldValueRequired", "FieldValueInvalid", ... */
		char *field;        /* "spec.containers[0].image" */
		char *body;         /* "Required value", "Invalid value: \"x\": must be ..." */
	} *items;
	size_t count, cap, bytes;
};
void field_errors_done(struct field_errors *e);
void field_errors_add(struct field_errors *e, const char *reason, char *field /* moved */, const char *fmt, ...)
	_printf_(4, 5);
/* The 422 Status: message `Pod "x" is invalid: a: b` or `... is invalid: [a: b, c: d]` (group kinds: `Deployment.apps
 * "x"`), details with causes. Own. */
json_t *field_errors_status(const struct field_errors *e, const char *group, const char *kind, const char *name);

/* Sets defaults in place on a normalized object of this resource. Never fails; runs on every decode of a body. */
void defaults_apply(const struct schema_resource *r, json_t *object);

/* PrepareForCreate: drops what a client may not set (status of kinds with a status subresource, ...), sets generation 1
 * where the kind has one. PrepareForUpdate: keeps status on a spec update and spec on a status update (subresource
 * "status"), bumps generation when the spec changed. Metadata common to all kinds (uid, creationTimestamp, deletion*,
 * managedFields) is the registry's. */
void strategy_prepare_create(const struct schema_resource *r, json_t *object);
void strategy_prepare_update(const struct schema_resource *r, const char *subresource, json_t *object,
			     const json_t *old);

/* Metadata and the kind's own rules. old NULL: create. subresource NULL or "status", "binding", ... */
void validate_object(const struct schema_resource *r, const char *subresource, const json_t *object, const json_t *old,
		     struct field_errors *e);

/* What is valid but hardly meant: appends the texts of Warning headers. old NULL: create. */
void validate_warnings(const struct schema_resource *r, const char *subresource, const json_t *object, const json_t *old,
		       struct strlist *out);
/* What every request for a deprecated resource is told, or NULL. */
const char *api_deprecation(const struct schema_resource *r);

/* What the cluster IPs, families and policy of a Service say by themselves, before addresses are given: a 422 Status (own) or NULL. */
json_t *service_ips_check(const json_t *service);

/* Field labels: the value of a field selector label of the object ("" when the field is absent), or NULL when the kind
 * has no such label. buf: for values that need formatting. */
const char *field_label(const struct schema_resource *r, const json_t *object, const char *label, char *buf,
			size_t buf_size);
bool field_label_supported(const struct schema_resource *r, const char *label);

#endif
