/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit log: an audit.k8s.io/v1 Event for each stage of each request that the policy wants noted. Without a policy, and for
 * requests at level None, a call has no audit_entry and every function here returns at once.
 */
#ifndef KEELSON_APISERVER_AUDIT_AUDIT_H
#define KEELSON_APISERVER_AUDIT_AUDIT_H

#include "apiserver/audit/log.h"
#include "apiserver/audit/policy.h"
#include "apiserver/http/call.h"
#include "apiserver/watch/hub.h"

struct audit;
/* Both are moved. Own. */
struct audit *audit_new(struct audit_policy *policy, struct audit_log *log);
/* Writes what is left; the loop has to run on for handles to close. NULL is fine. */
struct audit *audit_free(struct audit *a);

/* The steps of a call, in this order. */
void audit_begin(struct call *c, bool known);          /* c->user is who asks; known false: their credentials are wrong */
void audit_impersonated(struct call *c);               /* c->user is who they want to be */
void audit_authorized(struct call *c, bool allowed, const char *reason);
void audit_annotate(struct call *c, const char *key, const char *value); /* a plugin's remark, once a key; c may be NULL */
void audit_request(struct call *c);                    /* the body is about to be used */
void audit_response_value(struct call *c, const json_t *value);
/* The answer is this object or list in this form; text: what is sent when that is JSON already, else NULL. */
void audit_response_object(struct call *c, const struct watch_form *form, struct store_object *o, const struct bytes *text);
void audit_response_list(struct call *c, const struct watch_form *form, struct store_object *const *objects, size_t count,
			 uint64_t revision);
void audit_started(struct call *c, int code);          /* of answers that go on: ResponseStarted; complete at audit_end() */
void audit_answered(struct call *c, int code);         /* the whole answer is made: ResponseComplete unless it was started */
void audit_end(struct call *c);                        /* the call is over */

#endif
