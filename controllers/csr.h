/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decisions about CertificateSigningRequests of the built-in signers: what one asks for, who may have it without a person's approval,
 * what the certificate says, when the object is no longer needed. Pure, but for reading the CA's files when signing.
 */
#ifndef KEELSON_CONTROLLERS_CSR_H
#define KEELSON_CONTROLLERS_CSR_H

#include "base/err.h"
#include "controllers/workload.h"
#include "io/net.h"

#define SIGNER_CLIENT "kubernetes.io/kube-apiserver-client"
#define SIGNER_NODE_CLIENT "kubernetes.io/kube-apiserver-client-kubelet"
#define SIGNER_NODE_SERVING "kubernetes.io/kubelet-serving"
#define NODE_USER_PREFIX "system:node:"

/* What the PKCS#10 request in spec.request says. */
struct csr_subject {
	char *common_name;          /* own; "" without */
	struct strlist orgs, dns, ips;
	bool has_other_sans;        /* e-mail addresses, URIs and the like */
	bool has_other_names;       /* in the subject, besides CN and O */
};
/* 0, or -EINVAL with err. */
int csr_subject_read(const json_t *csr, struct csr_subject *ret, struct err *err);
void csr_subject_done(struct csr_subject *s);
#define _cleanup_csr_subject_ _cleanup_(csr_subject_done)

/* Is the request one that this signer issues? -EINVAL with a sentence for the condition Failed otherwise. signers other than the
 * three above: -ENOENT. */
int csr_check(const json_t *csr, const struct csr_subject *s, struct err *err);

bool csr_has_condition(const json_t *csr, const char *type);
static inline bool csr_pending(const json_t *csr)
{
	return !csr_has_condition(csr, "Approved") && !csr_has_condition(csr, "Denied") && !csr_has_condition(csr, "Failed");
}
/* A copy with one more condition, status True. Own. */
json_t *csr_with_condition(const json_t *csr, const char *type, const char *reason, const char *message);

/* May a node have this serving certificate? The node itself asks (system:node:NAME in system:nodes), for names and addresses
 * that are its own: the node's name, and what its Node object says once there is one. Never given, as a node says of itself what it
 * likes: another node's name or address, a name of the API server or of a Service (kubernetes, kubernetes.*, *.svc, *.svc.*,
 * localhost), an address of the services' or pods' ranges or of loopback. nodes: all of them. */
bool csr_serving_is_own(const json_t *csr, const struct csr_subject *s, const struct object_list *nodes,
			const struct ip_ranges *services, const struct ip_ranges *pods);

/* The certificate (PEM, own), signed by the CA in the files. expirationSeconds is kept to [600 s, a year] and the CA's own end. */
int csr_sign(const json_t *csr, const char *ca_cert_file, const char *ca_key_file, char **ret_pem, struct err *err);
/* Are these a certificate that may sign and its key? */
int csr_check_ca(const char *ca_cert_file, const char *ca_key_file, struct err *err);

/* When the object may be deleted, in seconds since the epoch: a day after it was made while nobody decides, an hour after it was
 * denied, failed or issued, at once when its certificate has run out. */
int64_t csr_expires_s(const json_t *csr);

#endif
