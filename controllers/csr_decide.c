// SPDX-License-Identifier: GPL-2.0-or-later
/* What a CertificateSigningRequest asks for, and whether the rules of its signer allow it. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/mem.h"
#include "controllers/csr.h"
#include "controllers/csr_internal.h"
#include "io/net.h"
#include "kube/object.h"

enum { MAX_SANS = 128, PENDING_S = 24 * 3600, DECIDED_S = 3600 };

X509_REQ *csr_parse(const json_t *csr)
{
	const char *text = json_str_or(csr, "spec.request", "");
	_cleanup_strbuf_ struct strbuf pem = { 0 };
	X509_REQ *req;
	BIO *bio;

	if (base64_decode(&pem, text, strlen(text)) < 0 || !pem.len)
		return NULL;
	bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	req = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	ERR_clear_error();
	return req;
}

void csr_subject_done(struct csr_subject *s)
{
	free(s->common_name);
	strlist_done(&s->orgs);
	strlist_done(&s->dns);
	strlist_done(&s->ips);
	*s = (struct csr_subject){ 0 };
}

/* Own; NULL for text that holds a NUL, which would make one name look like another. */
static char *text_of(const ASN1_STRING *in)
{
	unsigned char *utf8 = NULL;
	int len = ASN1_STRING_to_UTF8(&utf8, in);
	char *s = len >= 0 && !memchr(utf8, 0, (size_t)len) ? mem_strndup((const char *)utf8, (size_t)len) : NULL;

	OPENSSL_free(utf8);
	return s;
}

static bool read_names(X509_NAME *name, struct csr_subject *s)
{
	for (int i = 0; i < X509_NAME_entry_count(name); i++) {
		X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
		int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
		_cleanup_free_ char *text = text_of(X509_NAME_ENTRY_get_data(e));

		if (!text)
			return false;
		if (nid == NID_commonName && !s->common_name)
			s->common_name = TAKE(text);
		else if (nid == NID_organizationName)
			strlist_add(&s->orgs, text);
		else
			s->has_other_names = true;
	}
	if (!s->common_name)
		s->common_name = mem_strdup("");
	return true;
}

static bool read_san(const GENERAL_NAME *n, struct csr_subject *s)
{
	_cleanup_free_ char *dns = NULL;
	char ip[INET6_ADDRSTRLEN];
	int len;

	if (n->type == GEN_DNS) {
		dns = text_of(n->d.dNSName);
		if (dns)
			strlist_add(&s->dns, dns);
		return dns != NULL;
	}
	if (n->type != GEN_IPADD) {
		s->has_other_sans = true;
		return true;
	}
	len = ASN1_STRING_length(n->d.iPAddress);
	if (len != 4 && len != 16)
		return false;
	inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(n->d.iPAddress), ip, sizeof(ip));
	strlist_add(&s->ips, ip);
	return true;
}

static bool read_sans(X509_REQ *req, struct csr_subject *s)
{
	STACK_OF(X509_EXTENSION) *exts = X509_REQ_get_extensions(req);
	GENERAL_NAMES *names = X509V3_get_d2i(exts, NID_subject_alt_name, NULL, NULL);
	bool ok = sk_GENERAL_NAME_num(names) <= MAX_SANS;

	for (int i = 0; ok && i < sk_GENERAL_NAME_num(names); i++)
		ok = read_san(sk_GENERAL_NAME_value(names, i), s);
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
	return ok;
}

int csr_subject_read(const json_t *csr, struct csr_subject *ret, struct err *err)
{
	_cleanup_csr_subject_ struct csr_subject s = { 0 };
	X509_REQ *req = csr_parse(csr);
	bool ok = req && read_names(X509_REQ_get_subject_name(req), &s) && read_sans(req, &s);

	X509_REQ_free(req);
	ERR_clear_error();
	if (!ok)
		return err_set(err, EINVAL, "the request is not one that can be read: PKCS#10 with at most %d names of plain text",
			       MAX_SANS);
	*ret = s;
	s = (struct csr_subject){ 0 };
	return 0;
}

/* --- the signers' rules ----------------------------------------------------------------------------------------------- */

/* Every usage is one of allowed, and each of the required ones is there. */
static bool usages_are(const json_t *csr, const char *const *allowed, const char *const *required)
{
	_cleanup_strlist_ struct strlist has = { 0 };
	json_t *v;
	size_t i;

	json_array_foreach(json_at(csr, "spec.usages"), i, v) {
		bool known = false;

		for (const char *const *a = allowed; *a && !known; a++)
			known = str_eq(*a, json_string_value(v));
		if (!known)
			return false;
		strlist_add(&has, json_string_value(v));
	}
	for (; *required; required++) {
		if (!strlist_has(&has, *required))
			return false;
	}
	return true;
}
#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Small letters, digits, '-' and '.', no dot at the end: not a wildcard, nor another spelling of some name. */
static bool is_plain_name(const char *name)
{
	size_t len = strlen(name);

	return len && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == len && name[len - 1] != '.';
}

static int check_node_subject(const struct csr_subject *s, struct err *err)
{
	if (s->orgs.count != 1 || !str_eq(s->orgs.items[0], "system:nodes"))
		return err_set(err, EINVAL, "subject organization is not system:nodes");
	if (!str_starts(s->common_name, NODE_USER_PREFIX) || !s->common_name[strlen(NODE_USER_PREFIX)])
		return err_set(err, EINVAL, "subject common name does not begin with system:node:");
	if (!is_plain_name(s->common_name + strlen(NODE_USER_PREFIX)))
		return err_set(err, EINVAL, "subject common name does not end with the name of a node");
	if (s->has_other_sans)
		return err_set(err, EINVAL, "email and URI subject alternative names are not allowed");
	return 0;
}

static int check_node_client(const json_t *csr, const struct csr_subject *s, struct err *err)
{
	int r = check_node_subject(s, err);

	if (r < 0)
		return r;
	if (s->dns.count || s->ips.count)
		return err_set(err, EINVAL, "DNS and IP subject alternative names are not allowed");
	if (!usages_are(csr, WORDS("digital signature", "key encipherment", "client auth"), WORDS("digital signature", "client auth")))
		return err_set(err, EINVAL, "usages did not match [client auth, digital signature], with key encipherment or without");
	return 0;
}

static int check_node_serving(const json_t *csr, const struct csr_subject *s, struct err *err)
{
	int r = check_node_subject(s, err);

	if (r < 0)
		return r;
	if (!s->dns.count && !s->ips.count)
		return err_set(err, EINVAL, "at least one DNS or IP subject alternative name is required");
	if (!usages_are(csr, WORDS("digital signature", "key encipherment", "server auth"), WORDS("digital signature", "server auth")))
		return err_set(err, EINVAL, "usages did not match [server auth, digital signature], with key encipherment or without");
	return 0;
}

int csr_check(const json_t *csr, const struct csr_subject *s, struct err *err)
{
	const char *signer = json_str_or(csr, "spec.signerName", "");

	if (str_eq(signer, SIGNER_NODE_CLIENT))
		return check_node_client(csr, s, err);
	if (str_eq(signer, SIGNER_NODE_SERVING))
		return check_node_serving(csr, s, err);
	if (!str_eq(signer, SIGNER_CLIENT))
		return err_set(err, ENOENT, "%s is not a signer of ours", signer);
	if (!usages_are(csr, WORDS("digital signature", "key encipherment", "client auth"), WORDS("client auth")))
		return err_set(err, EINVAL, "usages must include client auth, and none but digital signature and key encipherment besides");
	return 0;
}

/* --- a node's own names ----------------------------------------------------------------------------------------------- */

static bool node_has_name(const json_t *node, const char *name)
{
	json_t *a;
	size_t i;

	json_array_foreach(json_at(node, "status.addresses"), i, a) {
		if (!str_ends(json_str_or(a, "type", ""), "IP") && str_eq(json_str(a, "address"), name))
			return true;
	}
	return false;
}

static bool node_has_ip(const json_t *node, const struct ip_addr *ip)
{
	struct ip_addr has;
	json_t *a;
	size_t i;

	json_array_foreach(json_at(node, "status.addresses"), i, a) {
		if (str_ends(json_str_or(a, "type", ""), "IP") && ip_parse(json_str_or(a, "address", ""), &has) == 0 &&
		    ip_addr_eq(&has, ip))
			return true;
	}
	return false;
}

static bool is_loopback(const struct ip_addr *ip)
{
	static const uint8_t one[16] = { [15] = 1 };

	return ip->family == AF_INET ? ip->bytes[0] == 127 : memcmp(ip->bytes, one, sizeof(one)) == 0;
}

static bool ip_is_own(const struct ip_addr *ip, const char *name, const struct object_list *nodes)
{
	bool registered = false, own = false;

	for (size_t i = 0; i < nodes->count; i++) {
		const json_t *node = nodes->items[i];
		bool has = node_has_ip(node, ip);

		if (!str_eq(object_name(node), name)) {
			if (has)
				return false;
			continue;
		}
		registered = json_array_size(json_at(node, "status.addresses")) > 0;
		own = has;
	}
	/* A machine that is joining asks before it registers: its addresses are not known yet. */
	return own || !registered;
}

static const json_t *node_named(const struct object_list *nodes, const char *name)
{
	for (size_t i = 0; i < nodes->count; i++) {
		if (str_eq(object_name(nodes->items[i]), name))
			return nodes->items[i];
	}
	return NULL;
}

/* Pods trust what the cluster's CA signed for these names: they are the API server's and the Services'. */
static bool is_service_name(const char *name)
{
	return str_eq(name, "kubernetes") || str_starts(name, "kubernetes.") || str_eq(name, "localhost") || str_ends(name, ".svc") ||
	       strstr(name, ".svc.");
}

static bool dns_is_own(const char *dns, const char *name, const struct object_list *nodes)
{
	if (!is_plain_name(dns) || is_service_name(dns))
		return false;
	return str_eq(dns, name) || (!node_named(nodes, dns) && node_has_name(node_named(nodes, name), dns));
}

static bool in_group(const json_t *csr, const char *group)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_at(csr, "spec.groups"), i, v) {
		if (str_eq(json_string_value(v), group))
			return true;
	}
	return false;
}

bool csr_serving_is_own(const json_t *csr, const struct csr_subject *s, const struct object_list *nodes,
			const struct ip_ranges *services, const struct ip_ranges *pods)
{
	const char *user = json_str_or(csr, "spec.username", ""), *name = str_after(user, NODE_USER_PREFIX);
	struct ip_addr a;

	if (!name || !in_group(csr, "system:nodes") || !str_eq(s->common_name, user))
		return false;
	for (size_t i = 0; i < s->dns.count; i++) {
		if (!dns_is_own(s->dns.items[i], name, nodes))
			return false;
	}
	for (size_t i = 0; i < s->ips.count; i++) {
		if (ip_parse(s->ips.items[i], &a) < 0 || is_loopback(&a) || ip_ranges_contain(services, &a) ||
		    ip_ranges_contain(pods, &a) || !ip_is_own(&a, name, nodes))
			return false;
	}
	return true;
}

/* --- conditions and age ----------------------------------------------------------------------------------------------- */

static const json_t *condition(const json_t *csr, const char *type)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_at(csr, "status.conditions"), i, c) {
		if (str_eq(json_str(c, "type"), type))
			return c;
	}
	return NULL;
}

bool csr_has_condition(const json_t *csr, const char *type)
{
	return condition(csr, type) != NULL;
}

json_t *csr_with_condition(const json_t *csr, const char *type, const char *reason, const char *message)
{
	json_t *copy = json_deep_copy(csr), *conditions;

	if (!json_is_object(json_object_get(copy, "status")))
		json_object_set_new(copy, "status", json_object());
	conditions = json_at(copy, "status.conditions");
	if (!conditions) {
		conditions = json_array();
		json_set(copy, "status.conditions", conditions);
	}
	json_array_append_new(conditions, json_pack("{s:s, s:s, s:s, s:s}", "type", type, "status", "True", "reason", reason,
						    "message", message));
	return copy;
}

/* When the certificate that was issued ends; INT64_MAX without one. */
static int64_t certificate_ends_s(const json_t *csr)
{
	const char *text = json_str_or(csr, "status.certificate", "");
	_cleanup_strbuf_ struct strbuf pem = { 0 };
	int64_t end_s = INT64_MAX;
	struct tm tm;
	X509 *cert;
	BIO *bio;

	if (!*text || base64_decode(&pem, text, strlen(text)) < 0)
		return end_s;
	bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	if (cert && ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1)
		end_s = timegm(&tm);
	X509_free(cert);
	BIO_free(bio);
	ERR_clear_error();
	return end_s;
}

static int64_t since_s(const json_t *csr, const json_t *of)
{
	int64_t made_s = object_time_s(csr, "metadata.creationTimestamp", clock_wall_s());

	return object_time_s(of, "lastUpdateTime", made_s);
}

int64_t csr_expires_s(const json_t *csr)
{
	const json_t *denied = condition(csr, "Denied"), *failed = condition(csr, "Failed"), *approved = condition(csr, "Approved");
	int64_t at_s = INT64_MAX;

	if (csr_pending(csr))
		at_s = object_time_s(csr, "metadata.creationTimestamp", clock_wall_s()) + PENDING_S;
	if (denied)
		at_s = MIN(at_s, since_s(csr, denied) + DECIDED_S);
	if (failed)
		at_s = MIN(at_s, since_s(csr, failed) + DECIDED_S);
	if (approved && !str_empty(json_str(csr, "status.certificate")))
		at_s = MIN(at_s, since_s(csr, approved) + DECIDED_S);
	return MIN(at_s, certificate_ends_s(csr));
}
