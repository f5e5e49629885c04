/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this room share: field paths, the error constructors, string formats, the kinds' entry points. */
#ifndef KEELSON_APISERVER_VALIDATE_INTERNAL_H
#define KEELSON_APISERVER_VALIDATE_INTERNAL_H

#include <netinet/in.h>

#include "apiserver/validate/validate.h"
#include "base/map.h"
#include "base/mem.h"

/*
 * A field path as a chain of steps on the stack: it costs nothing until an error prints it. A NULL path is the root.
 * The macros make a step that lives until the end of the enclosing block.
 */
struct fpath {
	const struct fpath *parent;
	const char *name; /* ".name", or NULL */
	const char *key;  /* "[key]", or NULL */
	size_t index;     /* "[index]" when both are NULL */
};
#define FP(parent_path, field_name) (&(const struct fpath){ .parent = (parent_path), .name = (field_name) })
#define FP_INDEX(parent_path, i) (&(const struct fpath){ .parent = (parent_path), .index = (i) })
#define FP_KEY(parent_path, k) (&(const struct fpath){ .parent = (parent_path), .key = (k) })
char *fpath_text(const struct fpath *p); /* own; "[]" for the root */

/* Error constructors, named after the reasons. Values: v_str prints as Go's %q, v_json as Go's JSON, v_text as it is.
 */
void fe_required(struct field_errors *e, const struct fpath *p, const char *detail /* NULL: none */);
void fe_invalid(struct field_errors *e, const struct fpath *p, const char *v_str, const char *fmt, ...) _printf_(4, 5);
void fe_invalid_int(struct field_errors *e, const struct fpath *p, int64_t v, const char *fmt, ...) _printf_(4, 5);
void fe_invalid_json(struct field_errors *e, const struct fpath *p, const json_t *v /* NULL: null */, const char *fmt,
		     ...) _printf_(4, 5);
void fe_invalid_text(struct field_errors *e, const struct fpath *p, const char *v_text, const char *fmt, ...)
	_printf_(4, 5);
void fe_not_supported(struct field_errors *e, const struct fpath *p, const char *v_str, const char *const *supported);
void fe_not_supported_text(struct field_errors *e, const struct fpath *p, const char *v_text,
			   const char *const *supported);
void fe_duplicate(struct field_errors *e, const struct fpath *p, const char *v_str);
void fe_duplicate_text(struct field_errors *e, const struct fpath *p, const char *v_text,
		       const char *detail /* or NULL */);
void fe_not_found(struct field_errors *e, const struct fpath *p, const char *v_str, const char *detail /* or NULL */);
void fe_forbidden(struct field_errors *e, const struct fpath *p, const char *fmt, ...) _printf_(3, 4);
void fe_too_long(struct field_errors *e, const struct fpath *p, int max);
void fe_too_many(struct field_errors *e, const struct fpath *p, size_t count, size_t max);
bool fe_full(const struct field_errors *e); /* no more errors are taken; spares making long texts for them */
#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

void go_quote(struct strbuf *out, const char *s);         /* as Go's %q */
void go_json(struct strbuf *out, const json_t *v);        /* as encoding/json: '<', '>' and '&' escaped */

/* Values of an object's members; "" and 0 when absent or of another type. Objects arrive in their schema's types. */
const char *get_str(const json_t *o, const char *key);
int64_t get_int(const json_t *o, const char *key);
bool get_bool(const json_t *o, const char *key);
static inline json_t *get(const json_t *o, const char *key) /* NULL when absent or null */
{
	json_t *v = json_object_get(o, key);

	return json_is_null(v) ? NULL : v;
}
bool one_of(const char *s, const char *const *words);
/* Items (borrowed) of a list of objects by a string member, the first of equal ones; free with map_free(). For lookups
 * in lists whose length the client chose. */
struct map *list_index(const json_t *list, const char *key);
/* Deep equality in which absent, null, "", {} and [] are the same thing, as in apiequality.Semantic. */
bool same_semantic(const json_t *a, const json_t *b);

/* String formats: each appends the messages for what is wrong with s. */
typedef void (*format_fn)(const char *s, struct strlist *msgs);
void fmt_dns_label(const char *s, struct strlist *msgs);
void fmt_dns_subdomain(const char *s, struct strlist *msgs);
void fmt_dns_subdomain_underscore(const char *s, struct strlist *msgs);
void fmt_dns1035_label(const char *s, struct strlist *msgs);
void fmt_wildcard_subdomain(const char *s, struct strlist *msgs);
void fmt_qualified_name(const char *s, struct strlist *msgs);
void fmt_label_value(const char *s, struct strlist *msgs);
void fmt_path_segment(const char *s, struct strlist *msgs);
void fmt_port_name(const char *s, struct strlist *msgs);
void fmt_env_name(const char *s, struct strlist *msgs);
void fmt_config_key(const char *s, struct strlist *msgs);
void fmt_percent(const char *s, struct strlist *msgs);
void fmt_http_header(const char *s, struct strlist *msgs);
void fmt_ip(const char *s, struct strlist *msgs);           /* older fields */
void fmt_ip_canonical(const char *s, struct strlist *msgs); /* newer fields */
void fmt_cidr(const char *s, struct strlist *msgs);
void fmt_cidr_canonical(const char *s, struct strlist *msgs);
void fmt_endpoint_ip(const char *s, struct strlist *msgs);  /* not unspecified, loopback, link-local */
bool format_ok(format_fn fn, const char *s);
/* Adds an Invalid error for each message. */
void check_format(struct field_errors *e, const struct fpath *p, const char *s, format_fn fn);
bool cidr_strictly_within(const char *inner, const char *outer); /* both valid */
/* The usual form of an address (of a mapped one that of IPv4); false when it is none. */
bool ip_canonical(const char *s, char out[static INET6_ADDRSTRLEN]);
int ip_family(const char *s); /* 4, 6, or 0 when it is no address; "10.0.0.0/8" counts too */

/* Shared pieces. */
void check_non_negative(struct field_errors *e, const struct fpath *p, const json_t *v /* NULL: nothing to check */);
void check_port_number(struct field_errors *e, const struct fpath *p, int64_t port);
void check_port(struct field_errors *e, const struct fpath *p, const json_t *int_or_string);
void check_enum(struct field_errors *e, const struct fpath *p, const char *s,
		const char *const *allowed); /* "" is Required */
void check_segment(struct field_errors *e, const struct fpath *p, const char *s);     /* required, a path segment */
void check_domain_path(struct field_errors *e, const struct fpath *p, const char *s); /* required, "example.com/path" */
void check_immutable(struct field_errors *e, const struct fpath *p, const json_t *now, const json_t *old);
void check_labels(struct field_errors *e, const struct fpath *p, const json_t *labels);
void check_annotations(struct field_errors *e, const struct fpath *p, const json_t *annotations);
void check_label_selector(struct field_errors *e, const struct fpath *p, const json_t *selector);
void check_finalizer_name(struct field_errors *e, const struct fpath *p, const char *name);
void check_resource_name(struct field_errors *e, const struct fpath *p, const char *name); /* of a container's resource */
void check_int_or_percent(struct field_errors *e, const struct fpath *p, const json_t *v);
void check_not_over_100_percent(struct field_errors *e, const struct fpath *p, const json_t *v);
/* metav1 conditions. */
void check_conditions(struct field_errors *e, const struct fpath *p, const json_t *conditions);

/* Metadata of every kind. */
void check_meta_create(struct field_errors *e, const json_t *meta, bool namespaced, format_fn name);
void check_meta_update(struct field_errors *e, const json_t *meta, const json_t *old);

struct validation {
	const struct schema_resource *r;
	const char *sub;      /* subresource or NULL */
	const json_t *object;
	const json_t *old;    /* NULL: create */
	struct field_errors *e;
};
typedef void (*validate_fn)(const struct validation *v);

/* The checks of the kinds. */
void validate_replication_controller(const struct validation *v);
void validate_replica_set(const struct validation *v);
void validate_deployment(const struct validation *v);
void validate_daemon_set(const struct validation *v);
void validate_stateful_set(const struct validation *v);
void validate_pod_template(const struct validation *v);
void validate_controller_revision(const struct validation *v);
void validate_deployment_status(const struct validation *v);
void validate_replica_set_status(const struct validation *v);
void validate_daemon_set_status(const struct validation *v);
void validate_stateful_set_status(const struct validation *v);
void validate_hpa_status(const struct validation *v);
void validate_hpa(const struct validation *v);
void validate_job_status(const struct validation *v);
void validate_job(const struct validation *v);
void validate_cron_job(const struct validation *v);
void validate_config_map(const struct validation *v);
void validate_secret(const struct validation *v);
void validate_namespace(const struct validation *v);
void validate_namespace_status(const struct validation *v);
void validate_node(const struct validation *v);
void validate_node_status(const struct validation *v);
void validate_ingress(const struct validation *v);
void validate_ingress_status(const struct validation *v);
void validate_service_cidr_status(const struct validation *v);
void validate_ingress_class(const struct validation *v);
void validate_network_policy(const struct validation *v);
void validate_service_cidr(const struct validation *v);
void validate_ip_address(const struct validation *v);
void validate_webhooks(const struct validation *v);
void validate_admission_policy(const struct validation *v);
void validate_admission_binding(const struct validation *v);
void validate_mutating_policy(const struct validation *v);
void validate_mutating_binding(const struct validation *v);
void validate_api_service(const struct validation *v);
void validate_resource_claim(const struct validation *v);
void validate_resource_claim_template(const struct validation *v);
void validate_device_class(const struct validation *v);
void validate_resource_slice(const struct validation *v);
void validate_crd_status(const struct validation *v);
void validate_crd(const struct validation *v);
void validate_flow_schema(const struct validation *v);
void validate_priority_level(const struct validation *v);
void validate_lease(const struct validation *v);
void validate_priority_class(const struct validation *v);
void validate_runtime_class(const struct validation *v);
void validate_csr(const struct validation *v);
void validate_event(const struct validation *v);
void validate_volume_attachment(const struct validation *v);
void validate_csi_node(const struct validation *v);
void validate_csi_driver(const struct validation *v);
void validate_csi_capacity(const struct validation *v);
void validate_pod(const struct validation *v);
void validate_pod_status(const struct validation *v);
void validate_pdb(const struct validation *v);
void validate_pdb_status(const struct validation *v);
void validate_resource_quota(const struct validation *v);
void validate_resource_quota_status(const struct validation *v);
void validate_limit_range(const struct validation *v);
void validate_role(const struct validation *v);
void validate_cluster_role(const struct validation *v);
void validate_role_binding(const struct validation *v);
void validate_cluster_role_binding(const struct validation *v);
void validate_service(const struct validation *v);
void validate_service_status(const struct validation *v);
void validate_endpoints(const struct validation *v);
void validate_endpoint_slice(const struct validation *v);
void validate_pvc(const struct validation *v);
void validate_pvc_status(const struct validation *v);
void validate_pv(const struct validation *v);
void validate_storage_class(const struct validation *v);
void validate_volume_attributes_class(const struct validation *v);

/* One list: resource, rule of its name, its checks for the main resource and for /status. */
struct validate_kind {
	const char *group, *plural;
	format_fn name;
	validate_fn check;  /* create and update; may be NULL */
	validate_fn status; /* update of the status subresource; may be NULL */
};
extern const struct validate_kind validate_kinds[];
extern const size_t validate_kind_count;

#endif
