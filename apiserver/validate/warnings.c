/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Warnings, kind by kind: a create is looked at, an update only where a person is likely to be behind it, which for kinds
 * with a generation means that the generation has grown.
 */
#include "apiserver/validate/warnings.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

enum { WARNINGS_MAX = 100 };

void warn(struct strlist *out, const struct fpath *p, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	_cleanup_free_ char *path = NULL;
	va_list ap;

	if (out->count >= WARNINGS_MAX)
		return;
	path = fpath_text(p);
	va_start(ap, fmt);
	strbuf_vaddf(&text, fmt, ap);
	va_end(ap);
	strlist_addf(out, "%s: %s", path, text.data);
}

void warn_quoted(struct strlist *out, const struct fpath *p, const char *before, const char *value, const char *behind)
{
	_cleanup_strbuf_ struct strbuf text = {0};

	go_quote(&text, value);
	warn(out, p, "%s%s%s", before, text.data, behind);
}

void warn_pvc_spec(struct strlist *out, const struct fpath *p, const json_t *spec)
{
	const json_t *resources = get(spec, "resources");

	warn_fraction(out, FP(FP(p, "resources"), "requests"), get(resources, "requests"), "storage");
	warn_fraction(out, FP(FP(p, "resources"), "limits"), get(resources, "limits"), "storage");
}

/* Addresses that other software may read otherwise than meant. */
static void warn_ip(struct strlist *out, const struct fpath *p, const char *s)
{
	char canonical[INET6_ADDRSTRLEN];

	if (!ip_canonical(s, canonical) || strcmp(s, canonical) == 0)
		return;
	if (format_ok(fmt_ip, s))
		warn(out, p, "IPv6 address \"%s\" should be in RFC 5952 canonical format (\"%s\")", s, canonical);
	else
		warn(out, p,
		     "non-standard IP address \"%s\" will be considered invalid in a future Kubernetes release: use \"%s\"", s,
		     canonical);
}

static void warn_cidr(struct strlist *out, const struct fpath *p, const char *s)
{
	_cleanup_strlist_ struct strlist msgs = {0};

	/* The other forms are refused already. */
	if (!format_ok(fmt_cidr, s))
		return;
	fmt_cidr_canonical(s, &msgs);
	if (msgs.count) {
		_cleanup_free_ char *want = mem_strdup(strchr(msgs.items[0], '"') + 1);

		*strrchr(want, '"') = '\0';
		warn(out, p, "IPv6 CIDR value \"%s\" should be in RFC 5952 canonical format (\"%s\")", s, want);
	}
}

struct warning {
	const json_t *object, *old; /* old NULL: create */
	struct strlist *out;
};

static bool grew(const struct warning *w)
{
	return !w->old || json_int(w->object, "metadata.generation", 0) != json_int(w->old, "metadata.generation", 0);
}

/* The name becomes part of host names. */
static void warn_name(const struct warning *w, const char *used_in)
{
	const char *name = json_str_or(w->object, "metadata.name", "");
	_cleanup_strlist_ struct strlist msgs = {0};
	_cleanup_strbuf_ struct strbuf joined = {0};

	if (w->old)
		return;
	fmt_dns_label(name, &msgs);
	for (size_t i = 0; i < msgs.count; i++)
		strbuf_addf(&joined, "%s%s", i ? " " : "", msgs.items[i]);
	if (msgs.count)
		warn(w->out, FP(FP(NULL, "metadata"), "name"),
		     "this is used in %s, which can result in surprising behavior; a DNS label is recommended: [%s]", used_in,
		     joined.data);
}

static void warn_workload(const struct warning *w)
{
	warn_name(w, "Pod names and hostnames");
	if (grew(w))
		warn_pod(w->out, FP(FP(NULL, "spec"), "template"), json_at(w->object, "spec.template"));
}

static void warnings_template_only(const struct warning *w)
{
	if (grew(w))
		warn_pod(w->out, FP(FP(NULL, "spec"), "template"), json_at(w->object, "spec.template"));
}

/* Programs write pods far more often than people do. */
static void warnings_pod(const struct warning *w)
{
	if (w->old)
		return;
	warn_name(w, "the Pod's hostname");
	warn_pod(w->out, NULL, w->object);
}

static void warnings_pod_template(const struct warning *w)
{
	if (grew(w))
		warn_pod(w->out, FP(NULL, "template"), get(w->object, "template"));
}

static void warnings_stateful_set(const struct warning *w)
{
	const json_t *spec = get(w->object, "spec");
	const struct fpath *p = FP(NULL, "spec");
	json_t *claim;
	size_t i;

	warnings_template_only(w);
	json_array_foreach(get(spec, "volumeClaimTemplates"), i, claim) {
		const struct fpath *at = FP_INDEX(FP(p, "volumeClaimTemplates"), i);

		warn_pvc_spec(w->out, w->old ? FP(at, "Spec") : at, get(claim, "spec"));
	}
	if (get_int(spec, "revisionHistoryLimit") < 0)
		warn(w->out, FP(p, "revisionHistoryLimit"),
		     "a negative value retains all historical revisions; a value >= 0 is recommended");
}

static void warn_job_spec(struct strlist *out, const struct fpath *p, const json_t *spec)
{
	if (strcmp(get_str(spec, "completionMode"), "Indexed") == 0 && get_int(spec, "completions") > 100000 &&
	    get_int(spec, "parallelism") > 10000)
		warn(out, p,
		     "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
		     "Kubernetes might not be able to track completedIndexes when a big number of indexes fail");
	warn_pod(out, FP(p, "template"), get(spec, "template"));
}

static void warnings_job(const struct warning *w)
{
	warn_name(w, "Pod names and hostnames");
	if (grew(w))
		warn_job_spec(w->out, FP(NULL, "spec"), get(w->object, "spec"));
}

static void warnings_cron_job(const struct warning *w)
{
	const struct fpath *p = FP(NULL, "spec");

	warn_name(w, "Pod names and hostnames");
	if (strstr(json_str_or(w->object, "spec.schedule", ""), "TZ"))
		strlist_add(w->out, "CRON_TZ or TZ used in spec.spec.schedule is not officially supported, see "
				    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details");
	if (grew(w))
		warn_job_spec(w->out, FP(FP(p, "jobTemplate"), "spec"), json_at(w->object, "spec.jobTemplate.spec"));
}

static void warn_ips(struct strlist *out, const struct fpath *p, const json_t *ips)
{
	json_t *ip;
	size_t i;

	json_array_foreach(ips, i, ip)
		warn_ip(out, FP_INDEX(p, i), json_string_value(ip));
}

static void warnings_service(const struct warning *w)
{
	static const char hints[] = "service.kubernetes.io/topology-aware-hints";
	const json_t *spec = get(w->object, "spec"), *external = get(spec, "externalIPs");
	const char *type = get_str(spec, "type");
	bool none = strcmp(get_str(spec, "clusterIP"), "None") == 0, headless = none && strcmp(type, "ClusterIP") == 0;
	bool named = strcmp(type, "ExternalName") == 0;
	const struct fpath *p = FP(NULL, "spec");
	json_t *range;
	size_t i;

	if (json_object_get(json_at(w->object, "metadata.annotations"), hints))
		strlist_addf(w->out, "annotation %s is deprecated, please use service.kubernetes.io/topology-mode instead", hints);
	if (!none && *get_str(spec, "clusterIP"))
		warn_ips(w->out, FP(p, "clusterIPs"), get(spec, "clusterIPs"));
	if (headless && *get_str(spec, "loadBalancerIP"))
		strlist_add(w->out, "spec.loadBalancerIP is ignored for headless services");
	if (headless && json_array_size(external) > 0)
		strlist_add(w->out, "spec.externalIPs is ignored for headless services");
	if (headless && strcmp(get_str(spec, "sessionAffinity"), "None") != 0)
		strlist_add(w->out, "spec.SessionAffinity is ignored for headless services");
	warn_ips(w->out, FP(p, "externalIPs"), external);
	if (json_array_size(external) > 0 && !headless && !named)
		strlist_add(w->out, "spec.externalIPs is deprecated and may no longer be implemented in some clusters");
	if (*get_str(spec, "loadBalancerIP"))
		warn_ip(w->out, FP(p, "loadBalancerIP"), get_str(spec, "loadBalancerIP"));
	json_array_foreach(get(spec, "loadBalancerSourceRanges"), i, range)
		warn_cidr(w->out, FP_INDEX(FP(p, "loadBalancerSourceRanges"), i), json_string_value(range));
	if (named && json_array_size(external) > 0)
		strlist_add(w->out, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
	if (!named && *get_str(spec, "externalName"))
		strlist_add(w->out, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
	if (strcmp(get_str(spec, "trafficDistribution"), "PreferClose") == 0)
		strlist_add(w->out, "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
}

static void warnings_endpoints(const struct warning *w)
{
	static const char *const lists[] = { "addresses", "notReadyAddresses" };
	json_t *subset, *address;
	size_t i, k;

	json_array_foreach(get(w->object, "subsets"), i, subset) {
		for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
			json_array_foreach(get(subset, lists[l]), k, address) {
				const struct fpath *at = FP_INDEX(FP(NULL, "subsets"), i);

				warn_ip(w->out, FP(FP_INDEX(FP(at, lists[l]), k), "ip"), get_str(address, "ip"));
			}
		}
	}
}

static void warnings_endpoint_slice(const struct warning *w)
{
	json_t *endpoint;
	size_t i;

	if (strcmp(get_str(w->object, "addressType"), "FQDN") == 0)
		return;
	json_array_foreach(get(w->object, "endpoints"), i, endpoint)
		warn_ips(w->out, FP(FP_INDEX(FP(NULL, "endpoints"), i), "addresses"), get(endpoint, "addresses"));
}

static void warnings_node(const struct warning *w)
{
	const json_t *spec = get(w->object, "spec");
	json_t *cidr;
	size_t i;

	if (get(spec, "configSource"))
		strlist_add(w->out, "spec.configSource: the feature is removed");
	if (*get_str(spec, "externalID"))
		strlist_add(w->out, "spec.externalID: this field is deprecated, and is unused by Kubernetes");
	json_array_foreach(get(spec, "podCIDRs"), i, cidr)
		warn_cidr(w->out, FP_INDEX(FP(FP(NULL, "spec"), "podCIDRs"), i), json_string_value(cidr));
}

static void warn_storage_annotation(const struct warning *w, const char *key, const char *text)
{
	if (json_object_get(json_at(w->object, "metadata.annotations"), key))
		warn(w->out, FP_KEY(FP(FP(NULL, "metadata"), "annotations"), key), "%s", text);
}

static const char beta_class[] = "volume.beta.kubernetes.io/storage-class",
		  beta_class_text[] = "deprecated since v1.8; use \"storageClassName\" attribute instead";

static void warnings_pv(const struct warning *w)
{
	static const char *const old[][3] = {
		{ "cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+" },
		{ "photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+" },
		{ "rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+" },
		{ "scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+" },
		{ "storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+" },
		{ "glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+" },
	};
	const json_t *spec = get(w->object, "spec");
	const struct fpath *p = FP(NULL, "spec");
	const struct fpath *terms = FP(FP(FP(p, "nodeAffinity"), "required"), "nodeSelectorTerms");
	json_t *term;
	size_t i;

	warn_storage_annotation(w, beta_class, beta_class_text);
	warn_storage_annotation(w, "volume.beta.kubernetes.io/mount-options",
				"deprecated since v1.31; use \"mountOptions\" attribute instead");
	if (strcmp(get_str(spec, "persistentVolumeReclaimPolicy"), "Recycle") == 0)
		warn(w->out, FP(p, "persistentVolumeReclaimPolicy"),
		     "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic "
		     "provisioning.");
	json_array_foreach(json_at(spec, "nodeAffinity.required.nodeSelectorTerms"), i, term)
		warn_node_term(w->out, FP_INDEX(terms, i), term, false);
	for (i = 0; i < ARRAY_SIZE(old); i++)
		if (get(spec, old[i][0]))
			warn(w->out, FP(p, old[i][1]), "%s", old[i][2]);
}

static void warnings_pvc(const struct warning *w)
{
	warn_storage_annotation(w, beta_class, beta_class_text);
	warn_pvc_spec(w->out, FP(NULL, "spec"), get(w->object, "spec"));
}

static void warnings_storage_class(const struct warning *w)
{
	json_t *term, *expression;
	size_t i, k;

	json_array_foreach(get(w->object, "allowedTopologies"), i, term) {
		json_array_foreach(get(term, "matchLabelExpressions"), k, expression) {
			const char *key = get_str(expression, "key"), *why = deprecated_node_label(key);
			const struct fpath *at = FP(FP_INDEX(FP(NULL, "allowedTopologies"), i), "matchLabelExpressions");

			if (why)
				warn(w->out, FP(FP_INDEX(at, k), "key"), "%s is %s", key, why);
		}
	}
}

static void warnings_ingress(const struct warning *w)
{
	if (!w->old && json_object_get(json_at(w->object, "metadata.annotations"), "kubernetes.io/ingress.class"))
		strlist_add(w->out,
			    "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead");
}

static void warnings_network_policy(const struct warning *w)
{
	static const char *const rules[][2] = { { "ingress", "from" }, { "egress", "to" } };
	json_t *rule, *peer, *except;
	size_t i, k, n;

	for (size_t r = 0; r < ARRAY_SIZE(rules); r++) {
		json_array_foreach(get(get(w->object, "spec"), rules[r][0]), i, rule) {
			json_array_foreach(get(rule, rules[r][1]), k, peer) {
				const struct fpath *list = FP(FP_INDEX(FP(FP(NULL, "spec"), rules[r][0]), i), rules[r][1]);
				const struct fpath *at = FP(FP_INDEX(list, k), "ipBlock");
				const json_t *block = get(peer, "ipBlock");

				if (!block)
					continue;
				warn_cidr(w->out, FP(at, "cidr"), get_str(block, "cidr"));
				json_array_foreach(get(block, "except"), n, except)
					warn_cidr(w->out, FP_INDEX(FP(at, "except"), n), json_string_value(except));
			}
		}
	}
}

static void warnings_runtime_class(const struct warning *w)
{
	const char *key;
	json_t *v;

	json_object_foreach(json_at(w->object, "scheduling.nodeSelector"), key, v) {
		const char *why = deprecated_node_label(key);

		if (why)
			warn(w->out, FP(FP(NULL, "scheduling"), "nodeSelector"), "%s", why);
	}
}

static void warnings_service_account(const struct warning *w)
{
	static const char key[] = "kubernetes.io/enforce-mountable-secrets";

	if (json_object_get(json_at(w->object, "metadata.annotations"), key) &&
	    (!w->old || !json_object_get(json_at(w->old, "metadata.annotations"), key)))
		warn(w->out, FP_KEY(FP(FP(NULL, "metadata"), "annotations"), key),
		     "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets");
}

static void warnings_secret(const struct warning *w)
{
	static const char *const parts[][2] = { { "tls.crt", "certificate" }, { "tls.key", "key" } };
	_cleanup_strbuf_ struct strbuf cert_pem = {0}, key_pem = {0};
	struct strbuf *const pem[] = { &cert_pem, &key_pem };
	BIO *cert_bio, *key_bio;
	EVP_PKEY *key;
	X509 *cert;

	if (strcmp(get_str(w->object, "type"), "kubernetes.io/tls") != 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const char *text = get_str(get(w->object, "data"), parts[i][0]);

		base64_decode(pem[i], text, strlen(text));
		if (!pem[i]->len || !strstr(pem[i]->data, "-----BEGIN ")) {
			strlist_addf(w->out, "tls: failed to find any PEM data in %s input", parts[i][1]);
			return;
		}
	}
	cert_bio = BIO_new_mem_buf(cert_pem.data, (int)cert_pem.len);
	key_bio = BIO_new_mem_buf(key_pem.data, (int)key_pem.len);
	cert = cert_bio ? PEM_read_bio_X509(cert_bio, NULL, NULL, NULL) : NULL;
	key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, "") : NULL;
	if (!cert)
		strlist_add(w->out, "x509: malformed certificate");
	else if (!key)
		strlist_add(w->out, "tls: failed to parse private key");
	else if (X509_check_private_key(cert, key) != 1)
		strlist_add(w->out, "tls: private key does not match public key");
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(cert_bio);
	BIO_free(key_bio);
	ERR_clear_error();
}

static const struct {
	const char *group, *plural;
	void (*fn)(const struct warning *w);
} kinds[] = {
	{ "", "pods", warnings_pod },
	{ "", "podtemplates", warnings_pod_template },
	{ "", "replicationcontrollers", warn_workload },
	{ "", "services", warnings_service },
	{ "", "endpoints", warnings_endpoints },
	{ "", "nodes", warnings_node },
	{ "", "secrets", warnings_secret },
	{ "", "serviceaccounts", warnings_service_account },
	{ "", "persistentvolumes", warnings_pv },
	{ "", "persistentvolumeclaims", warnings_pvc },
	{ "apps", "deployments", warn_workload },
	{ "apps", "replicasets", warn_workload },
	{ "apps", "daemonsets", warnings_template_only },
	{ "apps", "statefulsets", warnings_stateful_set },
	{ "batch", "jobs", warnings_job },
	{ "batch", "cronjobs", warnings_cron_job },
	{ "discovery.k8s.io", "endpointslices", warnings_endpoint_slice },
	{ "networking.k8s.io", "ingresses", warnings_ingress },
	{ "networking.k8s.io", "networkpolicies", warnings_network_policy },
	{ "storage.k8s.io", "storageclasses", warnings_storage_class },
	{ "node.k8s.io", "runtimeclasses", warnings_runtime_class },
};

void validate_warnings(const struct schema_resource *r, const char *subresource, const json_t *object, const json_t *old,
		       struct strlist *out)
{
	const struct warning w = { object, old, out };

	if (!str_empty(subresource))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].group, r->group) == 0 && strcmp(kinds[i].plural, r->plural) == 0)
			kinds[i].fn(&w);
}

const char *api_deprecation(const struct schema_resource *r)
{
	if (*r->group)
		return NULL;
	if (strcmp(r->plural, "endpoints") == 0)
		return "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
	return strcmp(r->plural, "componentstatuses") == 0 ? "v1 ComponentStatus is deprecated in v1.19+" : NULL;
}
