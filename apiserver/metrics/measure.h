/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What /metrics says of the API server, under upstream's names, labels and buckets (KEP-1209; the stable ones keep their meaning).
 * A series is looked up once and then counted by its handle. Label values come from tables (schema, verbs, checks), never from what a
 * client made up, so that the number of series is bounded. Loop thread only; everything is forgotten with measure_stop().
 */
#ifndef KEELSON_APISERVER_METRICS_MEASURE_H
#define KEELSON_APISERVER_METRICS_MEASURE_H

#include <openssl/asn1.h>

#include "apiserver/http/call.h"

struct registry;

void measure_stop(void); /* before metrics_reset() */

/* A request was answered with code; bytes: of the answer's body, negative when that is not known (streams). */
void measure_request(const struct call *c, int code, int64_t bytes);

/* Requests in work, as --max-requests-inflight and --max-mutating-requests-inflight count them. */
enum measure_kind { MEASURE_READ_ONLY, MEASURE_MUTATING, MEASURE_KIND_MAX };
void measure_inflight(enum measure_kind kind, unsigned now); /* their number has become this */

/* A watch, log, exec, attach, port-forward or proxied request begins; it ends with the call. */
void measure_longrunning_begin(struct call *c);
void measure_longrunning_end(struct call *c);

/* An event (of one watcher) was written. */
void measure_watch_event(const struct schema_resource *view, size_t bytes);

/* A write of the store is durable, or failed; operation: "create", "update" or "delete". resource: its place in the schema. */
void measure_storage(const char *operation, uint16_t resource, int64_t duration_ns);

/* It was found out who asks, or not. */
enum measure_authn { MEASURE_AUTHN_SUCCESS, MEASURE_AUTHN_FAILURE, MEASURE_AUTHN_MAX };
void measure_authentication(enum measure_authn result, int64_t duration_ns);
void measure_user(const char *name); /* who asks, known */
/* A request came with a client certificate that ends then. */
void measure_certificate(const ASN1_TIME *ends);

/* One admission plugin, or all of them (plugin: MEASURE_STEP, name unused), took so long. name: literal, always the same for a number. */
enum { MEASURE_PLUGINS_MAX = 32, MEASURE_STEP = MEASURE_PLUGINS_MAX };
enum measure_operation { MEASURE_CREATE, MEASURE_UPDATE, MEASURE_DELETE, MEASURE_OPERATION_MAX };
void measure_admission(unsigned plugin, const char *name, enum measure_operation operation, bool validates, bool rejected,
		       int64_t duration_ns);

/* The result of a check of /livez and the like; endpoint is its path without the slash. name: literal. */
void measure_check(const char *name, const char *endpoint, bool ok);

/* Everything, those that are counted on the spot included, in Prometheus' text format. */
void measure_write(struct registry *g, struct strbuf *out);

#endif
