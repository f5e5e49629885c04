/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PKI of a cluster, on the node that has its control plane: a CA of its own, one certificate a daemon (docs/architecture.md, Identities), and a
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
	const char *ca; /* NULL: the cluster's */
};

static X509 *read_cert(const char *path)
{
	FILE *f = fopen(path, "re");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	if (f)
		fclose(f);
	return x;
}

/* From NULL: from now. 0 when the times cannot be understood. */
static long long seconds_between(const ASN1_TIME *from, const ASN1_TIME *to)
{
	int days = 0, seconds = 0;

	return ASN1_TIME_diff(&days, &seconds, from, to) ? days * 86400LL + seconds : 0;
}

static bool cert_names(X509 *x, const char *const *sans)
{
	struct ip_addr a;
	bool all = true;

	for (size_t i = 0; all && sans && sans[i]; i++)
		all = ip_parse(sans[i], &a) == 0 ? X509_check_ip_asc(x, sans[i], 0) == 1 : X509_check_host(x, sans[i], 0, 0, NULL) == 1;
	return all;
}

bool pki_cert_good(const char *path, const char *const *sans, const char *ca_path)
{
	X509 *x = read_cert(path), *ca = ca_path ? read_cert(ca_path) : NULL;
	bool good = x && seconds_between(NULL, X509_get0_notAfter(x)) >
				 seconds_between(X509_get0_notBefore(x), X509_get0_notAfter(x)) / 3 &&
		    cert_names(x, sans) && (!ca_path || (ca && X509_verify(x, X509_get0_pubkey(ca)) == 1));

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

int pki_write_kubeconfig(const struct cluster *c, const char *path, const char *name, bool inline_data, struct err *err)
{
	static const char *const members[] = { "certificate-authority", "client-certificate", "client-key" };
	_cleanup_free_ char *ca = cluster_path(c, "pki/ca.crt");
	_cleanup_free_ char *crt = str_printf("%s/pki/%s.crt", c->state, name);
	_cleanup_free_ char *key = str_printf("%s/pki/%s.key", c->state, name);
	_cleanup_free_ char *server = cluster_server(c);
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
			    "clusters:\n- name: keelson\n  cluster:\n    server: %s\n    %s\n"
			    "users:\n- name: %s\n  user:\n    %s\n    %s\n"
			    "contexts:\n- name: keelson\n  context:\n    cluster: keelson\n    user: %s\n",
			    server, values[0].data, name, values[1].data, values[2].data, name);
		r = write_file(path, &out, err);
	}
	for (size_t i = 0; i < 3; i++)
		strbuf_done(&values[i]);
	return r;
}

/* 0: what is there is good; 1: made. */
static int issue(const struct cluster *c, const struct leaf *l, const char *const *sans, struct err *err)
{
	_cleanup_free_ char *ca = str_printf("%s/pki/%s.crt", c->state, l->ca ? l->ca : "ca");
	_cleanup_free_ char *ca_key = str_printf("%s/pki/%s.key", c->state, l->ca ? l->ca : "ca");
	_cleanup_free_ char *crt = str_printf("%s/pki/%s.crt", c->state, l->name);
	_cleanup_free_ char *key = str_printf("%s/pki/%s.key", c->state, l->name);
	const char *const orgs[] = { l->org, NULL };
	bool server = l->use != PKI_CLIENT;
	struct pki_request rq = { .cn = l->cn, .orgs = l->org ? orgs : NULL, .sans = server ? sans : NULL, .use = l->use,
				  .days = LEAF_DAYS };

	if (pki_cert_good(crt, rq.sans, ca) && file_exists(key))
		return 0;
	int r = pki_issue(&rq, ca, ca_key, crt, key, err);

	return r < 0 ? r : 1;
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

/* Every name and address by which something reaches a server of this node. */
static void collect_sans(const struct cluster *c, struct strlist *sans)
{
	static const char *const names[] = { "kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost",
					     "127.0.0.1", "::1" };
	char text[IP_ADDR_TEXT_SIZE];
	struct ip_ranges service;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		strlist_add(sans, names[i]);
	strlist_addf(sans, "kubernetes.default.svc.%s", c->cluster_domain);
	strlist_add(sans, c->node_name);
	strlist_add(sans, c->node_ip);
	if (c->node_ip2)
		strlist_add(sans, c->node_ip2);
	for (size_t i = 0; i < c->tls_sans.count; i++)
		strlist_add(sans, c->tls_sans.items[i]);
	BUG_ON(ip_ranges_parse(c->service_cidr, &service, NULL) < 0);
	for (size_t i = 0; i < ARRAY_SIZE(service.v); i++) {
		struct ip_addr a = service.v[i].addr;

		if (a.family && ip_addr_add(&a, 1))
			strlist_add(sans, ip_format(&a, text));
	}
}

static int issue_all(const struct cluster *c, const struct leaf *leaves, size_t count, const char *const *sans, struct err *err)
{
	int all = 0;

	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *path = str_printf("%s/pki/%s.kubeconfig", c->state, leaves[i].name);
		int made = issue(c, &leaves[i], sans, err);

		if (made < 0)
			return made;
		all = MAX(made, all);
		if (leaves[i].kubeconfig && (made = pki_write_kubeconfig(c, path, leaves[i].name, false, err)) < 0)
			return made;
	}
	return all;
}

/* etcd has a CA of its own, as it lets in whoever has a certificate of it: those of the cluster's CA are given to nodes and people. */
static int prepare_etcd(const struct cluster *c, struct err *err)
{
	static const struct leaf leaves[] = {
		/* etcd's gateway is its own client, and so are peers. */
		{ "etcd", "etcd", NULL, PKI_SERVER_CLIENT, false, "etcd-ca" },
		{ "apiserver-etcd-client", "kube-apiserver-etcd-client", NULL, PKI_CLIENT, false, "etcd-ca" },
	};
	static const char *const sans[] = { "localhost", "127.0.0.1", NULL };
	_cleanup_free_ char *ca = cluster_path(c, "pki/etcd-ca.crt"), *key = cluster_path(c, "pki/etcd-ca.key");
	struct pki_request rq = { .cn = "etcd-ca", .use = PKI_CA, .days = CA_DAYS };
	int r = 0;

	if (!file_exists(ca) || !file_exists(key))
		r = pki_issue(&rq, NULL, NULL, ca, key, err);
	return r < 0 ? r : issue_all(c, leaves, ARRAY_SIZE(leaves), sans, err);
}

int pki_prepare(const struct cluster *c, struct err *err)
{
	_cleanup_free_ char *node_user = str_printf("system:node:%s", c->node_name);
	const struct leaf leaves[] = {
		{ "admin", "kubernetes-admin", "system:masters", PKI_CLIENT, false, NULL },
		{ "apiserver", "kube-apiserver", NULL, PKI_SERVER, false, NULL },
		{ "apiserver-agent-client", "kube-apiserver-kubelet-client", "system:masters", PKI_CLIENT, false, NULL },
		{ "agent", node_user, "system:nodes", PKI_CLIENT, true, NULL },
		{ "agent-server", node_user, "system:nodes", PKI_SERVER, false, NULL },
		{ "scheduler", "system:kube-scheduler", NULL, PKI_CLIENT, true, NULL },
		{ "controllers", "system:kube-controller-manager", NULL, PKI_CLIENT, true, NULL },
		{ "proxy", "system:kube-proxy", NULL, PKI_CLIENT, true, NULL },
	};
	_cleanup_strlist_ struct strlist sans = { 0 };
	int r = prepare_ca(c, err), etcd;

	collect_sans(c, &sans);
	if (r >= 0)
		r = issue_all(c, leaves, ARRAY_SIZE(leaves), (const char *const *)sans.items, err);
	if (r >= 0 && cluster_runs_etcd(c)) {
		etcd = prepare_etcd(c, err);
		r = etcd < 0 ? etcd : MAX(etcd, r);
	}
	_cleanup_free_ char *admin = cluster_path(c, "admin.kubeconfig");
	int written = r < 0 ? r : pki_write_kubeconfig(c, admin, "admin", true, err);

	return written < 0 ? written : r;
}
