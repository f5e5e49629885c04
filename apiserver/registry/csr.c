// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CertificateSigningRequests: who asks is written by the server, never by the client; approving and signing need a right on the
 * signer besides the one on the subresource (upstream's admission plugins CertificateApproval, CertificateSigning and
 * CertificateSubjectRestriction).
 */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "apiserver/auth/authz.h"
#include "apiserver/registry/registry.h"
#include "kube/object.h"

#define GROUP "certificates.k8s.io"

static bool is_csr(const struct schema_resource *storage)
{
	return resource_is(storage, GROUP, "certificatesigningrequests");
}

static json_t *text_list(const char *const *items)
{
	json_t *a = json_array();
	for (size_t i = 0; items && items[i]; i++)
		json_array_append_new(a, json_string(items[i]));
	return a;
}

static json_t *extra_of(const struct identity *u)
{
	json_t *extra = json_object();
	for (size_t i = 0; u->extra_keys && u->extra_keys[i]; i++) {
		json_t *values = json_object_get(extra, u->extra_keys[i]);
		if (!values) {
			values = json_array();
			json_object_set_new(extra, u->extra_keys[i], values);
		}
		json_array_append_new(values, json_string(u->extra_values[i]));
	}
	return extra;
}

void csr_prepare_create(const struct schema_resource *storage, const struct identity *user, json_t *object)
{
	static const char *const owned[] = { "username", "uid", "groups", "extra" };
	json_t *spec = is_csr(storage) ? json_object_get(object, "spec") : NULL, *extra;
	if (!json_is_object(spec))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
		json_object_del(spec, owned[i]);
	if (!user)
		return;
	json_object_set_new(spec, "username", json_string(user->name));
	if (!str_empty(user->uid))
		json_object_set_new(spec, "uid", json_string(user->uid));
	json_object_set_new(spec, "groups", text_list(user->groups));
	extra = extra_of(user);
	if (json_object_size(extra))
		json_object_set(spec, "extra", extra);
	json_decref(extra);
}

/* The verb on this signer, or on all of its domain. */
static bool may(struct registry *g, const struct identity *user, const char *verb, const char *signer)
{
	const char *slash = strchr(signer, '/');
	_cleanup_free_ char *any = str_printf("%.*s/*", slash ? (int)(slash - signer) : (int)strlen(signer), signer);
	struct authz_attributes a = { .is_resource = true, .verb = verb, .group = GROUP, .version = "*", .resource = "signers",
		.subresource = "", .ns = "", .name = signer, .path = "" };
	if (authz_allowed(g, user, &a, NULL))
		return true;
	a.name = any;
	return authz_allowed(g, user, &a, NULL);
}

static json_t *refuse(const struct schema_resource *storage, const json_t *object, const char *what, const char *signer)
{
	_cleanup_free_ char *text = str_printf("user not permitted to %s requests with signerName \"%s\"", what, signer);
	return status_forbidden(storage, object_name(object), text);
}

/* Is one of the subject's organizations system:masters? */
static bool asks_for_masters(const json_t *object)
{
	const char *text = json_str_or(object, "spec.request", "");
	_cleanup_strbuf_ struct strbuf pem = { 0 };
	bool found = false;
	if (base64_decode(&pem, text, strlen(text)) < 0 || !pem.len)
		return false;
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	X509_REQ *req = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
	X509_NAME *subject = req ? X509_REQ_get_subject_name(req) : NULL;
	for (int at = -1; subject && (at = X509_NAME_get_index_by_NID(subject, NID_organizationName, at)) >= 0;) {
		const ASN1_STRING *s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
		found |= ASN1_STRING_length(s) == (int)strlen("system:masters") &&
			 memcmp(ASN1_STRING_get0_data(s), "system:masters", strlen("system:masters")) == 0;
	}
	X509_REQ_free(req);
	BIO_free(bio);
	return found;
}

json_t *csr_admit(struct registry *g, const struct schema_resource *storage, const struct identity *user, const char *sub,
		  const json_t *object, const json_t *old)
{
	const char *signer;
	if (!is_csr(storage) || !user)
		return NULL;
	signer = json_str_or(object, "spec.signerName", "");
	if (!old && str_eq(signer, "kubernetes.io/kube-apiserver-client") && asks_for_masters(object))
		return status_forbidden(storage, object_name(object), "use of kubernetes.io/kube-apiserver-client signer with "
								      "system:masters group is not allowed");
	if (old && str_eq(sub, "approval") && !may(g, user, "approve", signer))
		return refuse(storage, object, "approve", signer);
	if (old && str_eq(sub, "status") && !may(g, user, "sign", signer) &&
	    (!json_same(json_at(object, "status.certificate"), json_at(old, "status.certificate")) ||
	     !json_same(json_at(object, "status.conditions"), json_at(old, "status.conditions"))))
		return refuse(storage, object, "sign", signer);
	return NULL;
}
