/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The small kinds: leases, priority and runtime classes, certificate requests, CSI nodes and attachments. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "apiserver/validate/diff.h"
#include "apiserver/validate/validate_pod.h"

void validate_lease(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec"), *duration = get(spec, "leaseDurationSeconds"),
		     *transitions = get(spec, "leaseTransitions");
	const struct fpath *p = FP(NULL, "spec");

	if (duration && json_integer_value(duration) <= 0)
		fe_invalid_json(v->e, FP(p, "leaseDurationSeconds"), duration, "must be greater than 0");
	if (transitions && json_integer_value(transitions) < 0)
		fe_invalid_json(v->e, FP(p, "leaseTransitions"), transitions, "must be greater than or equal to 0");
}

void validate_priority_class(const struct validation *v)
{
	static const struct {
		const char *name;
		int64_t value;
	} known[] = { { "system-cluster-critical", 2000000000 }, { "system-node-critical", 2000001000 } };
	const char *name = json_str_or(v->object, "metadata.name", ""),
		   *policy = get_str(v->object, "preemptionPolicy");
	int64_t value = get_int(v->object, "value");
	bool system = false;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		system |= strcmp(known[i].name, name) == 0 && known[i].value == value;
	if (str_starts(name, "system-") && !system)
		fe_forbidden(v->e, FP(FP(NULL, "metadata"), "name"),
			     "priority class names with 'system-' prefix are reserved for system use only. error: %s "
			     "is not a known system "
			     "priority class",
			     name);
	else if (!system && value > 1000000000)
		fe_forbidden(v->e, FP(NULL, "value"), "maximum allowed value of a user defined priority is 1000000000");
	if (*policy && !one_of(policy, WORDS("PreemptLowerPriority", "Never")))
		fe_not_supported(v->e, FP(NULL, "preemptionPolicy"), policy, WORDS("PreemptLowerPriority", "Never"));
	if (!v->old)
		return;
	if (value != get_int(v->old, "value"))
		fe_forbidden(v->e, FP(NULL, "value"), "may not be changed in an update.");
	check_immutable(v->e, FP(NULL, "preemptionPolicy"), get(v->object, "preemptionPolicy"),
			get(v->old, "preemptionPolicy"));
}

static void check_distinct(struct field_errors *e, const struct fpath *p, const json_t *list)
{
	struct map *seen = map_new(NULL);
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		_cleanup_strbuf_ struct strbuf text = {0};

		go_json(&text, v);
		if (map_has(seen, text.data))
			fe_duplicate_text(e, FP_INDEX(p, i), text.data, NULL);
		map_set(seen, text.data, v);
	}
	map_free(seen);
}

void validate_runtime_class(const struct validation *v)
{
	const char *handler = get_str(v->object, "handler");
	const json_t *scheduling = get(v->object, "scheduling");

	if (!*handler)
		fe_required(v->e, FP(NULL, "handler"), NULL);
	else
		check_format(v->e, FP(NULL, "handler"), handler, fmt_dns_label);
	if (get(v->object, "overhead"))
		check_resource_list(v->e, FP(FP(NULL, "overhead"), "limits"), json_at(v->object, "overhead.podFixed"));
	check_labels(v->e, FP(FP(NULL, "scheduling"), "nodeSelector"), get(scheduling, "nodeSelector"));
	check_tolerations(v->e, FP(FP(NULL, "scheduling"), "tolerations"), get(scheduling, "tolerations"));
	check_distinct(v->e, FP(FP(NULL, "scheduling"), "tolerations"), get(scheduling, "tolerations"));
	if (v->old)
		check_immutable(v->e, FP(NULL, "handler"), get(v->object, "handler"), get(v->old, "handler"));
}

static void check_signer(struct field_errors *e, const struct fpath *p, const char *name)
{
	const char *slash = strchr(name, '/');
	_cleanup_free_ char *domain = NULL;

	if (!*name) {
		fe_required(e, p, NULL);
		return;
	}
	if (!slash || !slash[1] || slash == name) {
		fe_invalid(e, p, name,
			   "must be a fully qualified domain and path of the form 'example.com/signer-name'");
		return;
	}
	if (strcmp(name, "kubernetes.io/legacy-unknown") == 0)
		fe_invalid(e, p, name, "the legacy signerName is not allowed via this API version");
	domain = mem_strndup(name, (size_t)(slash - name));
	if (!strchr(domain, '.'))
		fe_invalid(e, p, name, "should be a domain with at least two segments separated by dots");
	check_format(e, p, domain, fmt_dns_subdomain);
}

static const char *const usages[] = {
	"any",
	"cert sign",
	"client auth",
	"code signing",
	"content commitment",
	"crl sign",
	"data encipherment",
	"decipher only",
	"digital signature",
	"email protection",
	"encipher only",
	"ipsec end system",
	"ipsec tunnel",
	"ipsec user",
	"key agreement",
	"key encipherment",
	"microsoft sgc",
	"netscape sgc",
	"ocsp signing",
	"s/mime",
	"server auth",
	"signing",
	"timestamping",
	NULL,
};

static void check_condition_kept(struct field_errors *e, const struct fpath *p, const char *type, const json_t *now,
				 const json_t *old)
{
	_cleanup_free_ char *diff = NULL;

	if (same_semantic(now, old))
		return;
	diff = diff_text(old, now);
	fe_forbidden(e, p, "updates may not modify a condition of type \"%s\"\n%s", type, diff);
}

static void check_csr_conditions(const struct validation *v)
{
	static const char *const fixed[] = { "Approved", "Denied", "Failed" };
	const json_t *now = json_at(v->object, "status.conditions"), *old = json_at(v->old, "status.conditions");
	struct map *types = list_index(now, "type"), *old_types = list_index(old, "type"), *seen = map_new(NULL);
	const struct fpath *p = FP(FP(NULL, "status"), "conditions");
	json_t *c;
	size_t i;

	json_array_foreach(now, i, c) {
		const char *type = get_str(c, "type"), *status = get_str(c, "status");
		const struct fpath *at = FP_INDEX(p, i);
		bool final = one_of(type, WORDS("Approved", "Denied", "Failed"));
		const char *const *allowed = final ? WORDS("True") : WORDS("False", "True", "Unknown");

		if (!*type)
			fe_required(v->e, FP(at, "type"), NULL);
		if (map_has(seen, type))
			fe_duplicate(v->e, FP(at, "type"), type);
		map_set(seen, type, seen);
		check_enum(v->e, FP(at, "status"), status, allowed);
	}
	if (map_has(types, "Approved") && map_has(types, "Denied"))
		fe_invalid_json(v->e, p, now, "Approved and Denied conditions are mutually exclusive");
	for (i = 0; v->old && i < ARRAY_SIZE(fixed); i++) {
		if (map_has(old_types, fixed[i]) && !map_has(types, fixed[i]))
			fe_forbidden(v->e, p, "updates may not remove a condition of type \"%s\"", fixed[i]);
		else if (!map_has(old_types, fixed[i]) && map_has(types, fixed[i]) && i < 2 &&
			 !str_eq(v->sub, "approval"))
			fe_forbidden(v->e, p, "updates may not add a condition of type \"%s\"", fixed[i]);
		else if (map_has(old_types, fixed[i]))
			check_condition_kept(v->e, p, fixed[i], map_get(types, fixed[i]), map_get(old_types, fixed[i]));
	}
	map_free(types);
	map_free(old_types);
	map_free(seen);
}

/* Certificates in PEM without headers, and nothing else. */
static void check_certificate_blocks(struct field_errors *e, const struct fpath *p, const char *text)
{
	static const char data[] = "<certificate data>";
	size_t count = 0;

	for (text = strstr(text, "-----BEGIN "); text; text = strstr(text + 1, "-----BEGIN ")) {
		const char *name = text + strlen("-----BEGIN "), *end = strstr(name, "-----"), *line = strchr(name, '\n');
		size_t colon = line ? strcspn(line + 1, ":\n") : 0;

		if (!end)
			break;
		if ((size_t)(end - name) != strlen("CERTIFICATE") || !str_starts(name, "CERTIFICATE"))
			fe_invalid(e, p, data, "only CERTIFICATE PEM blocks are allowed, found \"%.*s\"", (int)(end - name), name);
		else if (line && line[1 + colon] == ':')
			fe_invalid(e, p, data, "no PEM block headers are permitted");
		count++;
	}
	if (!count)
		fe_invalid(e, p, data, "must contain at least one CERTIFICATE PEM block");
}

static void check_csr_certificate(const struct validation *v)
{
	const char *now = json_str_or(v->object, "status.certificate", ""),
		   *old = json_str_or(v->old, "status.certificate", "");
	const struct fpath *p = FP(FP(NULL, "status"), "certificate");
	_cleanup_strbuf_ struct strbuf pem = {0};

	if (strcmp(now, old) == 0)
		return;
	if (*old)
		fe_forbidden(v->e, p, "updates may not modify existing certificate content");
	else if (!str_eq(v->sub, "status"))
		fe_forbidden(v->e, p, "updates may not set certificate content");
	base64_decode(&pem, now, strlen(now));
	check_certificate_blocks(v->e, p, pem.len ? pem.data : "");
}

/* The first PEM block is a PKCS#10 request (RFC 2986) whose signature is by the key in it. NULL: it is, else what is
 * wrong. */
static const char *csr_problem(const char *text)
{
	_cleanup_strbuf_ struct strbuf pem = {0};
	const char *why = NULL;
	X509_REQ *req;
	EVP_PKEY *key;
	BIO *bio;

	base64_decode(&pem, text, strlen(text));
	text = pem.len ? strstr(pem.data, "-----BEGIN ") : NULL;
	if (!text || !str_starts(text, "-----BEGIN CERTIFICATE REQUEST-----"))
		return "PEM block type must be CERTIFICATE REQUEST";
	bio = BIO_new_mem_buf(text, -1);
	req = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
	key = req ? X509_REQ_get0_pubkey(req) : NULL;
	if (!key)
		why = "asn1: structure error: the request cannot be parsed";
	else if (X509_REQ_verify(req, key) != 1)
		why = "x509: the request's signature is not by its key";
	X509_REQ_free(req);
	BIO_free(bio);
	ERR_clear_error();
	return why;
}

void validate_csr(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec"), *seconds = get(spec, "expirationSeconds");
	const struct fpath *p = FP(NULL, "spec");
	struct map *seen = map_new(NULL);
	const char *problem;
	json_t *usage;
	size_t i;

	/* It never changes, so that it is looked at once. */
	problem = v->old ? NULL : csr_problem(get_str(spec, "request"));
	if (problem)
		fe_invalid(v->e, FP(p, "request"), get_str(spec, "request"), "%s", problem);
	if (json_array_size(get(spec, "usages")) == 0)
		fe_required(v->e, FP(p, "usages"), NULL);
	json_array_foreach(get(spec, "usages"), i, usage) {
		const char *s = json_string_value(usage);

		if (!one_of(s, usages))
			fe_not_supported(v->e, FP_INDEX(FP(p, "usages"), i), s, usages);
		if (map_has(seen, s))
			fe_duplicate(v->e, FP_INDEX(FP(p, "usages"), i), s);
		map_set(seen, s, seen);
	}
	map_free(seen);
	check_signer(v->e, FP(p, "signerName"), get_str(spec, "signerName"));
	if (seconds && json_integer_value(seconds) < 600)
		fe_invalid_json(v->e, FP(p, "expirationSeconds"), seconds,
				"may not specify a duration less than 600 seconds (10 minutes)");
	check_csr_conditions(v);
	if (v->old)
		check_csr_certificate(v);
}
