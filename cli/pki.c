/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PKI of a one-node cluster: a CA of its own, one certificate a daemon (docs/architecture.md, Identities), and a
 * kubeconfig for each. Everything is below DIR/pki, mode 0600.
 */
#include "cli/pki.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "io/tls.h"

enum { CA_DAYS = 3650, LEAF_DAYS = 365, PEM_MAX_BYTES = 1 << 20 };

struct leaf {
	const char *name, *cn, *org;
	enum pki_use use;
	bool kubeconfig;
};

static X509 *read_cert(const char *path)
{
	FILE *f = fopen(path, "re");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	if (f)
		fclose(f);
	return x;
}

/* Still good: a third of the life is left, and it is for this address (servers). */
static bool cert_good(const char *path, const char *ip, const char *ca_path)
{
	X509 *x = read_cert(path), *ca = ca_path ? read_cert(ca_path) : NULL;
	int days = 0, secs = 0, life = 0;
	bool good = x && ASN1_TIME_diff(&days, &secs, NULL, X509_get0_notAfter(x)) &&
		    ASN1_TIME_diff(&life, &secs, X509_get0_notBefore(x), X509_get0_notAfter(x)) && days > life / 3 &&
		    (!ip || X509_check_ip_asc(x, ip, 0) == 1) && (!ca_path || (ca && X509_verify(x, X509_get0_pubkey(ca)) == 1));

	X509_free(x);
	X509_free(ca);
	return good;
}

static int read_pem(const char *path, struct strbuf *out, struct err *err)
{
	int r = file_read(path, PEM_MAX_BYTES, out);

	return r < 0 ? err_set(err, -r, "cannot read %s: %s", path, strerror(-r)) : 0;
}

static int write_file(const char *path, const struct strbuf *text, struct err *err)
{
	int r = file_write_atomic(path, text->data, text->len, 0600);

	return r < 0 ? err_set(err, -r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

/* inline_data: the PEM texts themselves, so that the file can be copied elsewhere. */
static int write_kubeconfig(const struct cluster *c, const char *path, const char *name, bool inline_data, struct err *err)
{
	static const char *const members[] = { "certificate-authority", "client-certificate", "client-key" };
	_cleanup_free_ char *ca = cluster_path(c, "pki/ca.crt");
	_cleanup_free_ char *crt = str_printf("%s/pki/%s.crt", c->state, name);
	_cleanup_free_ char *key = str_printf("%s/pki/%s.key", c->state, name);
	const char *const files[] = { ca, crt, key };
	struct strbuf values[3] = { { 0 } };
	_cleanup_strbuf_ struct strbuf out = { 0 };
	int r = 0;

	for (size_t i = 0; i < 3 && r == 0; i++) {
		_cleanup_strbuf_ struct strbuf pem = { 0 };

		if (!inline_data) {
			strbuf_addf(&values[i], "%s: %s", members[i], files[i]);
			continue;
		}
		r = read_pem(files[i], &pem, err);
		strbuf_addf(&values[i], "%s-data: ", members[i]);
		if (r == 0)
			base64_encode(&values[i], pem.data, pem.len);
	}
	if (r == 0) {
		strbuf_addf(&out,
			    "apiVersion: v1\nkind: Config\ncurrent-context: keelson\n"
			    "clusters:\n- name: keelson\n  cluster:\n    server: https://%s:6443\n    %s\n"
			    "users:\n- name: %s\n  user:\n    %s\n    %s\n"
			    "contexts:\n- name: keelson\n  context:\n    cluster: keelson\n    user: %s\n",
			    c->node_ip, values[0].data, name, values[1].data, values[2].data, name);
		r = write_file(path, &out, err);
	}
	for (size_t i = 0; i < 3; i++)
		strbuf_done(&values[i]);
	return r;
}

static int issue(const struct cluster *c, const struct leaf *l, const char *const *sans, struct err *err)
{
	_cleanup_free_ char *ca = cluster_path(c, "pki/ca.crt"), *ca_key = cluster_path(c, "pki/ca.key");
	_cleanup_free_ char *crt = str_printf("%s/pki/%s.crt", c->state, l->name);
	_cleanup_free_ char *key = str_printf("%s/pki/%s.key", c->state, l->name);
	const char *const orgs[] = { l->org, NULL };
	bool server = l->use != PKI_CLIENT;
	struct pki_request rq = { .cn = l->cn, .orgs = l->org ? orgs : NULL, .sans = server ? sans : NULL, .use = l->use,
				  .days = LEAF_DAYS };

	if (cert_good(crt, server ? c->node_ip : NULL, ca) && file_exists(key))
		return 0;
	return pki_issue(&rq, ca, ca_key, crt, key, err);
}

static int prepare_ca(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *ca = cluster_path(c, "pki/ca.crt"), *key = cluster_path(c, "pki/ca.key");
	_cleanup_free_ char *sa = cluster_path(c, "pki/sa.key"), *sa_pub = cluster_path(c, "pki/sa.pub");
	struct pki_request rq = { .cn = "kubernetes", .use = PKI_CA, .days = CA_DAYS };
	int r = 0;

	if (!file_exists(ca) || !file_exists(key))
		r = pki_issue(&rq, NULL, NULL, ca, key, err);
	if (r == 0 && (!file_exists(sa) || !file_exists(sa_pub)))
		r = pki_signing_key(sa, sa_pub, err);
	return r;
}

int pki_prepare(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *node_user = str_printf("system:node:%s", c->node_name);
	const struct leaf leaves[] = {
		{ "admin", "kubernetes-admin", "system:masters", PKI_CLIENT, false },
		{ "apiserver", "kube-apiserver", NULL, PKI_SERVER, false },
		{ "apiserver-agent-client", "kube-apiserver-kubelet-client", "system:masters", PKI_CLIENT, false },
		{ "agent", node_user, "system:nodes", PKI_CLIENT, true },
		{ "agent-server", node_user, "system:nodes", PKI_SERVER, false },
		{ "scheduler", "system:kube-scheduler", NULL, PKI_CLIENT, true },
		{ "controllers", "system:kube-controller-manager", NULL, PKI_CLIENT, true },
		{ "proxy", "system:kube-proxy", NULL, PKI_CLIENT, true },
	};
	_cleanup_free_ char *svc = str_printf("kubernetes.default.svc.%s", c->cluster_domain);
	struct ip_prefix range;
	char first_ip[IP_ADDR_TEXT_SIZE];
	int r = prepare_ca(c, err);

	BUG_ON(ip_prefix_parse(c->service_cidr, &range) < 0);
	ip_prefix_mask(&range);
	ip_addr_add(&range.addr, 1);
	const char *const sans[] = { "kubernetes", "kubernetes.default", "kubernetes.default.svc", svc, "localhost",
				     c->node_name, c->node_ip, "127.0.0.1", ip_format(&range.addr, first_ip), NULL };

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(leaves); i++) {
		_cleanup_free_ char *path = str_printf("%s/pki/%s.kubeconfig", c->state, leaves[i].name);

		r = issue(c, &leaves[i], sans, err);
		if (r == 0 && leaves[i].kubeconfig)
			r = write_kubeconfig(c, path, leaves[i].name, false, err);
	}
	_cleanup_free_ char *admin = cluster_path(c, "admin.kubeconfig");

	return r < 0 ? r : write_kubeconfig(c, admin, "admin", true, err);
}
