/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One API request on its way: what it asks, who asks, and how to answer. Lives until it was answered or its peer went away, and as
 * long as a write it started is under way (references).
 */
#ifndef KEELSON_APISERVER_HTTP_CALL_H
#define KEELSON_APISERVER_HTTP_CALL_H

#include "apiserver/auth/identity.h"
#include "apiserver/http/request.h"
#include "apiserver/store/store.h"
#include "io/http_server.h"

struct audit_entry;
struct metric;
struct registry;

enum field_validation { FIELD_VALIDATION_WARN, FIELD_VALIDATION_STRICT, FIELD_VALIDATION_IGNORE };

struct call {
	unsigned refs;
	struct registry *g;
	struct http_request *req;               /* NULL: answered, or the peer is gone */
	struct arena *arena;                    /* lives as long as the call */
	struct url_info u;
	struct query q;
	struct media out;
	const char *method;
	const char *user_agent;                 /* "" without */
	struct identity user;
	const struct schema_resource *r;        /* what the URL names; NULL for other paths */
	const struct schema_resource *storage;  /* where its objects are kept */
	const struct schema_subresource *sub;   /* NULL without */
	const void *body;
	size_t body_len;
	const char *content_type;               /* without parameters, lower case; "" without */
	bool dry_run;
	bool waited;                            /* see wait_for_revision() */
	bool fresh;                             /* see wait_fresh() */
	uint8_t retries;                        /* see write_retried() */
	enum field_validation field_validation;
	struct strlist warnings;
	char audit_id[37];
	struct audit_entry *audit;              /* NULL: the request is not audited */
	int64_t start_ns;
	uint8_t inflight;                       /* 1 + enum measure_kind while it counts as a request in work */
	struct metric *longrunning;             /* the gauge it counts in, NULL: not a long-running request */
};

struct call *call_ref(struct call *c);
void call_unref(struct call *c);
/* The call answers req from here on and is told when it ends; the call's reference for that is there already. */
void call_attach(struct call *c, struct http_request *req);
void call_warn(struct call *c, const char *fmt, ...) _printf_(2, 3);

/* Answers; each ends the call's part in the request. Values are moved. */
void answer_status(struct call *c, json_t *status);
void answer_value(struct call *c, int code, json_t *value);
/* An object of the store in the form the client wants (view, table, metadata). Borrowed. */
void answer_object(struct call *c, int code, struct store_object *o);
/* A list. objects: references, moved with the array. token may be NULL; remaining < 0: not told. */
void answer_list(struct call *c, struct store_object **objects, size_t count, uint64_t revision, const char *token,
		 int64_t remaining);
void answer_text(struct call *c, int code, const char *content_type, const char *text);
/* Audit-ID, Cache-Control, Warning and Content-Type: fills fields (room for ANSWER_MAX_FIELDS), returns their count. */
enum { ANSWER_MAX_FIELDS = 24 };
size_t answer_fields(struct call *c, const char *content_type, struct http_field *fields);
/* Counts the request in the metrics and completes it in the audit log; for answers not made by the functions above. */
void answer_count(struct call *c, int code);
/* The same, for an answer whose body has so many bytes. */
void answer_count_sized(struct call *c, int code, int64_t bytes);

#endif
