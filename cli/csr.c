/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CertificateSigningRequests of a node for itself (KEP-1513 and the kubelet's signers). */
#include "cli/csr.h"

#include <errno.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/pki.h"
#include "io/tls.h"
#include "kube/object.h"

#define REQUESTS "/apis/certificates.k8s.io/v1/certificatesigningrequests"

enum {
	APPROVAL_TIMEOUT_MS = 300000,
	SAY_AFTER_MS = 5000,
	POLL_FAST_MS = 20,
	POLL_SLOW_MS = 1000,
	POLL_FAST_FOR_MS = 3000,
	CLOCK_SKEW_MAX_S = 300,
	PEM_MAX_BYTES = 1 << 20,
};

static const struct {
	const char *name, *signer, *usage;
} kinds[CSR_KIND_MAX] = {
	[CSR_CLIENT] = { "agent", "kubernetes.io/kube-apiserver-client-kubelet", "client auth" },
	[CSR_SERVING] = { "agent-server", "kubernetes.io/kubelet-serving", "server auth" },
};

/* What a server of this node is called. */
static void node_names(const struct cluster *c, const char *names[static 4])
{
	names[0] = c->node_name;
	names[1] = c->node_ip;
	names[2] = c->node_ip2;
	names[3] = NULL;
}

static json_t *request_object(const struct cluster *c, enum csr_kind kind, struct strbuf *key, struct err *err)
{
	static const char *const orgs[] = { "system:nodes", NULL };
	_cleanup_free_ char *cn = str_printf("system:node:%s", c->node_name);
	_cleanup_strbuf_ struct strbuf csr = { 0 }, text = { 0 };
	const char *names[4];
	struct pki_request rq = { .cn = cn, .orgs = orgs };

	node_names(c, names);
	if (kind == CSR_SERVING)
		rq.sans = names;
	if (pki_csr(&rq, key, &csr, err) < 0)
		return NULL;
	base64_encode(&text, csr.data, csr.len);
	return json_pack("{s:s,s:s,s:{s:s},s:{s:s,s:s,s:[ss]}}", "apiVersion", "certificates.k8s.io/v1", "kind",
			 "CertificateSigningRequest", "metadata", "generateName", "csr-", "spec", "request", text.data,
			 "signerName", kinds[kind].signer, "usages", "digital signature", kinds[kind].usage);
}

/* The server dates what it stores; what differs by much makes certificates look too young or too old. */
static int check_clock(const json_t *object, struct err *err)
{
	char here[CLOCK_RFC3339_SIZE];
	int64_t us;

	if (clock_parse_rfc3339(json_str_or(object, "metadata.creationTimestamp", ""), &us) < 0)
		return 0;
	int64_t ahead_s = clock_wall_s() - us / 1000000;

	if (llabs(ahead_s) <= CLOCK_SKEW_MAX_S)
		return 0;
	clock_format_rfc3339(clock_wall_s(), here);
	return err_set(err, ETIME, "this machine's clock (%s) is %lld s %s the server's; set it, and let it follow a time server "
		       "(timedatectl set-ntp true)", here, llabs(ahead_s), ahead_s > 0 ? "ahead of" : "behind");
}

static int check_denied(const json_t *object, struct err *err)
{
	static const char *const types[] = { "Denied", "Failed" };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		const json_t *cond = object_condition(object, types[i]);

		if (cond)
			return err_set(err, EACCES, "the certificate request %s was %s: %s", object_name(object),
				       i == 0 ? "denied" : "not signed", json_str_or(cond, "message", json_str_or(cond, "reason", "no reason given")));
	}
	return 0;
}

static void nap_ms(int ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

/* Polls until the certificate is there; its PEM text is appended. */
static int wait_signed(struct api *api, const char *name, struct strbuf *out, struct err *err)
{
	_cleanup_free_ char *path = str_printf(REQUESTS "/%s", name);
	_cleanup_api_answer_ struct api_answer answer = { 0 };
	int64_t begin = clock_mono_ms(), waited = 0;
	bool said = false;

	for (; waited < APPROVAL_TIMEOUT_MS; waited = clock_mono_ms() - begin) {
		bool ok = api_call(api, "GET", path, NULL, &answer);
		const char *cert = json_str_or(answer.object, "status.certificate", "");

		if (ok && *cert)
			return base64_decode(out, cert, strlen(cert)) < 0 || !out->len ?
				       err_set(err, EBADMSG, "the certificate in %s is not base64", name) : 0;
		if (ok && check_denied(answer.object, err) < 0)
			return -EACCES;
		if (!ok && answer.status >= 400 && answer.status < 500 && answer.status != 429)
			return err_set(err, EIO, "cannot read the certificate request %s: %s", name, answer.message);
		if (!said && waited > SAY_AFTER_MS) {
			fprintf(stderr, "keelson: waiting for the certificate request %s; to approve it by hand: kubectl certificate "
				"approve %s\n", name, name);
			said = true;
		}
		nap_ms(waited < POLL_FAST_FOR_MS ? POLL_FAST_MS : POLL_SLOW_MS);
	}
	return err_set(err, ETIMEDOUT, "nobody approved the certificate request %s in %d minutes; kubectl get csr shows it, and "
		       "keelson-controllers approves those of nodes", name, APPROVAL_TIMEOUT_MS / 60000);
}

/* One file with both; the names that configurations use are links to it. */
static int write_pair(const struct cluster *c, const char *name, const struct strbuf *cert, const struct strbuf *key,
		      struct err *err)
{
	static const char *const ends[] = { "crt", "key" };
	_cleanup_free_ char *pem = str_printf("%s/pki/%s.pem", c->state, name), *target = str_printf("%s.pem", name);
	_cleanup_strbuf_ struct strbuf text = { 0 };

	strbuf_addf(&text, "%s%s%s", cert->data, cert->data[cert->len - 1] == '\n' ? "" : "\n", key->data);
	int r = file_write_atomic(pem, text.data, text.len, 0600);

	if (r < 0)
		return err_set(err, -r, "cannot write %s: %s", pem, strerror(-r));
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		_cleanup_free_ char *path = str_printf("%s/pki/%s.%s", c->state, name, ends[i]);

		if (symlink(target, path) < 0 && errno != EEXIST)
			return err_set(err, errno, "cannot link %s to %s: %s", path, target, strerror(errno));
	}
	return 0;
}

/* What was signed must be for our key; a wrong one would only show when a server refuses it. */
static int check_pair(const struct strbuf *cert, const struct strbuf *key, struct err *err)
{
	BIO *cb = BIO_new_mem_buf(cert->data, (int)cert->len), *kb = BIO_new_mem_buf(key->data, (int)key->len);
	X509 *x = PEM_read_bio_X509(cb, NULL, NULL, NULL);
	EVP_PKEY *k = PEM_read_bio_PrivateKey(kb, NULL, NULL, NULL);
	bool good = x && k && X509_check_private_key(x, k) == 1;

	X509_free(x);
	EVP_PKEY_free(k);
	BIO_free(cb);
	BIO_free(kb);
	return good ? 0 : err_set(err, EBADMSG, "the cluster signed something else than this node's certificate request");
}

int csr_obtain(const struct cluster *c, struct api *api, enum csr_kind kind, struct err *err)
{
	_cleanup_strbuf_ struct strbuf key = { 0 }, cert = { 0 };
	_cleanup_json_ json_t *object = request_object(c, kind, &key, err);
	_cleanup_api_answer_ struct api_answer answer = { 0 };

	if (!object)
		return -EIO;
	if (!api_call(api, "POST", REQUESTS, object, &answer))
		return err_set(err, EIO, "cannot send a certificate request for %s: %s", kinds[kind].usage, answer.message);
	_cleanup_free_ char *name = mem_strdup(object_name(answer.object));
	int r = check_clock(answer.object, err);

	if (r == 0)
		r = wait_signed(api, name, &cert, err);
	if (r == 0)
		r = check_pair(&cert, &key, err);
	return r < 0 ? r : write_pair(c, kinds[kind].name, &cert, &key, err);
}

bool csr_good(const struct cluster *c, enum csr_kind kind)
{
	_cleanup_free_ char *pem = str_printf("%s/pki/%s.pem", c->state, kinds[kind].name), *ca = cluster_path(c, "pki/ca.crt");
	const char *names[4];

	node_names(c, names);
	return pki_cert_good(pem, kind == CSR_SERVING ? names : NULL, ca);
}

bool csr_usable(const struct cluster *c)
{
	_cleanup_free_ char *pem = str_printf("%s/pki/agent.pem", c->state);
	FILE *f = fopen(pem, "re");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
	bool usable = x && X509_cmp_current_time(X509_get0_notAfter(x)) > 0;

	X509_free(x);
	if (f)
		fclose(f);
	return usable;
}

int csr_renew(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *path = cluster_path(c, "pki/agent.kubeconfig");
	_cleanup_(kubeconfig_done) struct kubeconfig config = { 0 };
	_cleanup_(api_close) struct api api = { 0 };
	bool good[CSR_KIND_MAX] = { csr_good(c, CSR_CLIENT), csr_good(c, CSR_SERVING) };
	int r = 0;

	if (good[CSR_CLIENT] && good[CSR_SERVING])
		return 0;
	if (!csr_usable(c))
		return err_set(err, EKEYEXPIRED, "this node's certificate is over; join again with a new token (keelson token create "
			       "on the server)");
	if ((r = kubeconfig_load(path, &config, err)) < 0 || (r = api_open(&api, &config, err)) < 0)
		return r;
	for (unsigned kind = 0; r == 0 && kind < CSR_KIND_MAX; kind++)
		if (!good[kind])
			r = csr_obtain(c, &api, (enum csr_kind)kind, err);
	return r < 0 ? r : 1;
}
