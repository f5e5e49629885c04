// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Certificates on request, as three controllers over CertificateSigningRequests: the approver answers nodes' requests for themselves
 * (a SubjectAccessReview says whether the requestor may have a node's client certificate; a serving certificate is given for the
 * node's own names), the signer issues what was approved, the cleaner deletes what is over.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "controllers/controller.h"
#include "controllers/csr.h"
#include "kube/object.h"

#define API "certificates.k8s.io/v1"
#define PLURAL "certificatesigningrequests"
enum { RETRY_MS = 30000, SERVING_RETRY_MS = 5000 };

/* --- approver --------------------------------------------------------------------------------------------------------- */

/* The reviews that can allow a node's client certificate, in order. */
static const struct {
	const char *permission, *message;
} reviews[] = {
	{ "selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview." },
	{ "nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview." },
};
enum { REVIEW_COUNT = ARRAY_SIZE(reviews), REVIEW_NONE = -1 };

/* What the reviews have said about one object so far. */
struct verdict {
	char *uid;
	unsigned next; /* review to ask for */
	int allowed;   /* review that said yes, or REVIEW_NONE */
};

static void verdict_free(void *p)
{
	struct verdict *v = p;

	free(v->uid);
	free(v);
}

static struct verdict *verdict_of(struct controller *c, const char *key, const json_t *csr)
{
	struct verdict *v = map_get(c->state, key);

	if (v && str_eq(v->uid, object_uid(csr)))
		return v;
	v = mem_new(struct verdict);
	v->uid = mem_strdup(object_uid(csr));
	v->allowed = REVIEW_NONE;
	map_set(c->state, key, v);
	return v;
}

static void approve(const json_t *csr, const char *message, struct plan *plan)
{
	plan_add(plan, "PUT", kube_path(API, PLURAL, NULL, object_name(csr), "approval"),
		 csr_with_condition(csr, "Approved", "AutoApproved", message))
		->flags |= WRITE_IGNORE_NOT_FOUND;
}

static void ask(const json_t *csr, unsigned review, struct plan *plan)
{
	static const char *const copied[] = { "uid", "groups", "extra" };
	json_t *spec = json_pack("{s:s, s:{s:s, s:s, s:s, s:s, s:s}}", "user", json_str_or(csr, "spec.username", ""),
				 "resourceAttributes", "group", "certificates.k8s.io", "version", "*", "resource", PLURAL, "verb",
				 "create", "subresource", reviews[review].permission);

	for (size_t i = 0; i < ARRAY_SIZE(copied); i++) {
		json_t *v = json_object_get(json_object_get(csr, "spec"), copied[i]);

		if (v)
			json_object_set(spec, copied[i], v);
	}
	plan_add(plan, "POST", mem_strdup("/apis/authorization.k8s.io/v1/subjectaccessreviews"),
		 json_pack("{s:s, s:s, s:o}", "apiVersion", "authorization.k8s.io/v1", "kind", "SubjectAccessReview", "spec", spec))
		->tag = (int)review + 1;
}

static void approve_client(struct controller *c, const char *key, const json_t *csr, const struct csr_subject *s,
			   struct plan *plan)
{
	struct verdict *v = verdict_of(c, key, csr);

	/* Only who is that node already asks for itself. */
	if (v->next == 0 && !str_eq(s->common_name, json_str(csr, "spec.username")))
		v->next = 1;
	if (v->allowed != REVIEW_NONE) {
		approve(csr, reviews[v->allowed].message, plan);
	} else if (v->next < REVIEW_COUNT) {
		ask(csr, v->next, plan);
	} else {
		/* Rights may still be given: asked anew later. */
		map_del(c->state, key);
		plan_requeue(plan, RETRY_MS);
	}
}

static void approve_serving(struct controller *c, const json_t *csr, const struct csr_subject *s, struct plan *plan)
{
	_cleanup_object_list_ struct object_list nodes = { 0 };
	size_t it = 0;

	for (json_t *node; (node = informer_next(controller_informer(c, INFORMER_NODES), &it));)
		object_list_add(&nodes, node);
	if (csr_serving_is_own(csr, s, &nodes, &c->ctx->config->service_ranges, &c->ctx->config->cluster_ranges))
		approve(csr, "Auto approving kubelet serving certificate for the node's own names.", plan);
	else
		plan_requeue(plan, SERVING_RETRY_MS);
}

static void approver_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *csr = controller_get(c, INFORMER_CSRS, key);
	_cleanup_csr_subject_ struct csr_subject s = { 0 };
	const char *signer = json_str_or(csr, "spec.signerName", "");

	if (!csr || !csr_pending(csr) || !str_empty(json_str(csr, "status.certificate"))) {
		map_del(c->state, key);
		return;
	}
	if (csr_subject_read(csr, &s, NULL) < 0 || csr_check(csr, &s, NULL) < 0)
		return;
	if (str_eq(signer, SIGNER_NODE_CLIENT))
		approve_client(c, key, csr, &s, plan);
	else if (str_eq(signer, SIGNER_NODE_SERVING))
		approve_serving(c, csr, &s, plan);
}

static void approver_wrote(struct controller *c, const char *key, const struct write *w, const struct kube_result *r, bool ok)
{
	struct verdict *v = map_get(c->state, key);

	if (!w->tag || !ok || !v)
		return;
	if (json_bool(r->object, "status.allowed", false))
		v->allowed = w->tag - 1;
	v->next = (unsigned)w->tag;
	controller_enqueue(c, key);
}

static void approver_start(struct controller *c)
{
	c->state = map_new(verdict_free);
}

static void approver_stop(struct controller *c)
{
	map_free(c->state);
}

/* --- signer ----------------------------------------------------------------------------------------------------------- */

static void fail(const json_t *csr, const char *why, struct plan *plan)
{
	plan_add(plan, "PUT", kube_path(API, PLURAL, NULL, object_name(csr), "status"),
		 csr_with_condition(csr, "Failed", "SignerValidationFailure", why))
		->flags |= WRITE_IGNORE_NOT_FOUND;
}

static void issue(const json_t *csr, const char *pem, struct plan *plan)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	json_t *copy = json_deep_copy(csr);

	base64_encode(&text, pem, strlen(pem));
	json_set_str(copy, "status.certificate", text.data);
	plan_add(plan, "PUT", kube_path(API, PLURAL, NULL, object_name(csr), "status"), copy)->flags |= WRITE_IGNORE_NOT_FOUND;
}

static void signer_sync(struct controller *c, const char *key, struct plan *plan)
{
	const struct controllers_config *config = c->ctx->config;
	const json_t *csr = controller_get(c, INFORMER_CSRS, key);
	_cleanup_csr_subject_ struct csr_subject s = { 0 };
	_cleanup_err_ struct err err = { 0 };
	_cleanup_free_ char *pem = NULL;
	int r;

	if (!config->signing_cert || !csr || !csr_has_condition(csr, "Approved") || csr_has_condition(csr, "Denied") ||
	    csr_has_condition(csr, "Failed") || !str_empty(json_str(csr, "status.certificate")))
		return;
	r = csr_subject_read(csr, &s, &err);
	if (r == 0)
		r = csr_check(csr, &s, &err);
	if (r == -ENOENT)
		return;
	if (r < 0) {
		fail(csr, err_msg(&err), plan);
		return;
	}
	if (csr_sign(csr, config->signing_cert, config->signing_key, &pem, &err) < 0) {
		log_error("certificate signing request %s: %s", key, err_msg(&err));
		plan_requeue(plan, RETRY_MS);
		return;
	}
	issue(csr, pem, plan);
}

/* --- cleaner ---------------------------------------------------------------------------------------------------------- */

static void cleaner_sync(struct controller *c, const char *key, struct plan *plan)
{
	const json_t *csr = controller_get(c, INFORMER_CSRS, key);
	int64_t left_s;

	if (!csr || object_deleting(csr))
		return;
	left_s = csr_expires_s(csr);
	if (left_s == INT64_MAX)
		return;
	left_s -= clock_wall_s();
	if (left_s > 0)
		plan_requeue(plan, left_s * 1000);
	else
		plan_delete(plan, kube_path(API, PLURAL, NULL, key, NULL), object_uid(csr), -1, NULL)->flags |=
			WRITE_IGNORE_NOT_FOUND;
}

const struct controller_ops csrapproving_controller = {
	.name = "certificatesigningrequest-approving",
	.primary = INFORMER_CSRS,
	.needs = NEEDS(INFORMER_CSRS) | NEEDS(INFORMER_NODES),
	.parallel = 4,
	.start = approver_start,
	.stop = approver_stop,
	.sync = approver_sync,
	.wrote = approver_wrote,
};
const struct controller_ops csrsigning_controller = {
	.name = "certificatesigningrequest-signing",
	.primary = INFORMER_CSRS,
	.needs = NEEDS(INFORMER_CSRS),
	.parallel = 4,
	.sync = signer_sync,
};
const struct controller_ops csrcleaner_controller = {
	.name = "certificatesigningrequest-cleaner",
	.primary = INFORMER_CSRS,
	.needs = NEEDS(INFORMER_CSRS),
	.parallel = 1,
	.sync = cleaner_sync,
};
