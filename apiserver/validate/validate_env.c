/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Environment variables and their sources, probes and lifecycle handlers of a container. */
#include "apiserver/validate/validate_pod.h"

#include "kube/quantity.h"

static const char *const env_fields[] = { "metadata.name",	  "metadata.namespace", "metadata.uid",
					  "spec.nodeName",	  "spec.serviceAccountName", "status.hostIP",
					  "status.hostIPs", "status.podIP",	"status.podIPs",
					  NULL };

/* "metadata.labels['key']" -> "metadata.labels" and the key. False: no subscript. */
static bool split_subscript(const char *path, char **ret_field, char **ret_key)
{
	const char *open = strstr(path, "['"), *end = path + strlen(path);

	if (!open || end - open < 4 || strcmp(end - 2, "']") != 0)
		return false;
	*ret_field = mem_strndup(path, (size_t)(open - path));
	*ret_key = mem_strndup(open + 2, (size_t)(end - 2 - open - 2));
	return true;
}

static void check_subscript(struct field_errors *e, const struct fpath *p, const char *field, const char *key)
{
	if (strcmp(field, "metadata.annotations") == 0) {
		_cleanup_free_ char *lower = mem_strdup(key);

		for (char *c = lower; *c; c++)
			*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
		check_format(e, p, lower, fmt_qualified_name);
	} else if (strcmp(field, "metadata.labels") == 0) {
		check_format(e, p, key, fmt_qualified_name);
	} else {
		fe_invalid(e, FP(p, "fieldPath"), field,
			   "error converting fieldPath: field label does not support subscript: %s", field);
	}
}

void check_field_ref(struct field_errors *e, const struct fpath *p, const json_t *ref, const char *const *allowed)
{
	static const char *const known[] = { "metadata.annotations", "metadata.labels",    "metadata.name",
					     "metadata.namespace",   "metadata.uid",       "spec.nodeName",
					     "spec.restartPolicy",   "spec.schedulerName", "spec.serviceAccountName",
					     "status.hostIP",        "status.hostIPs",     "status.phase",
					     "status.podIP",         "status.podIPs",      NULL };
	const char *path = get_str(ref, "fieldPath"), *version = get_str(ref, "apiVersion");
	_cleanup_free_ char *field = NULL, *key = NULL;

	if (!*version) {
		fe_required(e, FP(p, "apiVersion"), NULL);
		return;
	}
	if (!*path) {
		fe_required(e, FP(p, "fieldPath"), NULL);
		return;
	}
	if (strcmp(version, "v1") != 0) {
		fe_invalid(e, FP(p, "fieldPath"), path, "error converting fieldPath: unsupported pod version: %s",
			   version);
		return;
	}
	if (split_subscript(path, &field, &key)) {
		check_subscript(e, p, field, key);
		return;
	}
	if (!one_of(path, known))
		fe_invalid(e, FP(p, "fieldPath"), path, "error converting fieldPath: field label not supported: %s",
			   path);
	else if (!one_of(path, allowed))
		fe_not_supported(e, FP(p, "fieldPath"), path, allowed);
}

static void check_divisor(struct field_errors *e, const struct fpath *p, const json_t *ref, const char *resource)
{
	static const char *const sizes[] = { "1",  "1k",  "1M",	 "1G",	"1T",  "1P",  "1E", "1Ki",
					     "1Mi", "1Gi", "1Ti", "1Pi", "1Ei", NULL };
	const char *divisor = get_str(ref, "divisor"), *what;
	struct quantity q;

	if (!*divisor || (quantity_parse(divisor, &q) == 0 && q.nano == 0))
		return;
	if (strstr(resource, ".cpu")) {
		if (!one_of(divisor, WORDS("1m", "1")))
			fe_invalid(e, FP(p, "divisor"), resource,
				   "only divisor's values 1m and 1 are supported with the cpu resource");
		return;
	}
	what = strstr(resource, "ephemeral-storage") ? "local ephemeral storage"
	       : strstr(resource, "hugepages-")      ? "hugepages"
						     : "memory";
	if (!one_of(divisor, sizes))
		fe_invalid(e, FP(p, "divisor"), resource,
			   "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are "
			   "supported with the %s "
			   "resource",
			   what);
}

void check_resource_field_ref(struct field_errors *e, const struct fpath *p, const json_t *ref, bool volume)
{
	static const char *const supported[] = { "limits.cpu",
						 "limits.ephemeral-storage",
						 "limits.memory",
						 "requests.cpu",
						 "requests.ephemeral-storage",
						 "requests.memory",
						 NULL };
	const char *resource = get_str(ref, "resource");

	if (volume && !*get_str(ref, "containerName")) {
		fe_required(e, FP(p, "containerName"), NULL);
	} else if (!*resource) {
		fe_required(e, FP(p, "resource"), NULL);
	} else if (!one_of(resource, supported) && !str_starts(resource, "limits.hugepages-") &&
		   !str_starts(resource, "requests.hugepages-")) {
		fe_not_supported(e, FP(p, "resource"), resource, supported);
	}
	check_divisor(e, p, ref, resource);
}

static void check_key_ref(struct pod_check *c, const struct fpath *p, const json_t *ref)
{
	check_format(c->e, FP(p, "name"), get_str(ref, "name"), fmt_dns_subdomain);
	if (!*get_str(ref, "key"))
		fe_required(c->e, FP(p, "key"), NULL);
	else
		check_format(c->e, FP(p, "key"), get_str(ref, "key"), fmt_config_key);
}

static void check_file_key_ref(struct pod_check *c, const struct fpath *p, const json_t *ref)
{
	const char *key = get_str(ref, "key"), *volume = get_str(ref, "volumeName"), *path = get_str(ref, "path");
	const json_t *source = c->volumes ? map_get(c->volumes, volume) : NULL;

	if (!*key)
		fe_required(c->e, FP(p, "key"), NULL);
	else
		check_format(c->e, FP(p, "key"), key, fmt_env_name);
	if (!*volume)
		fe_required(c->e, FP(p, "volumeName"), NULL);
	else
		check_format(c->e, FP(p, "volumeName"), volume, fmt_dns_label);
	if (!*path)
		fe_required(c->e, FP(p, "path"), NULL);
	else
		check_local_path(c->e, FP(p, "path"), path, true);
	if (*volume && !source)
		fe_not_found(c->e, FP(p, "volumeName"), volume, NULL);
	else if (source && !get(source, "emptyDir"))
		fe_invalid(c->e, FP(p, "volumeName"), volume, "referenced volume must be of type emptyDir");
}

static void check_value_from(struct pod_check *c, const struct fpath *p, const json_t *env)
{
	static const char *const kinds[] = { "fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef" };
	const json_t *from = get(env, "valueFrom");
	size_t n = 0;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		const json_t *ref = get(from, kinds[k]);
		const char *key = kinds[k];

		if (!ref)
			continue;
		n++;
		if (strcmp(key, "fieldRef") == 0)
			check_field_ref(c->e, FP(p, key), ref, env_fields);
		else if (strcmp(key, "resourceFieldRef") == 0)
			check_resource_field_ref(c->e, FP(p, key), ref, false);
		else if (strcmp(key, "fileKeyRef") == 0)
			check_file_key_ref(c, FP(p, key), ref);
		else
			check_key_ref(c, FP(p, key), ref);
	}
	if (n == 0) {
		fe_invalid(c->e, p, "",
			   "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or "
			   "`fileKeyRef`");
	} else if (*get_str(env, "value")) {
		fe_invalid(c->e, p, "", "may not be specified when `value` is not empty");
	} else if (n > 1) {
		fe_invalid(c->e, p, "", "may not have more than one field specified at a time");
	}
}

static void check_env_from(struct pod_check *c, const struct fpath *p, const json_t *sources)
{
	static const char *const keys[] = { "configMapRef", "secretRef" };
	json_t *source;
	size_t i;

	json_array_foreach(sources, i, source) {
		const struct fpath *at = FP_INDEX(p, i);
		size_t n = 0;

		if (*get_str(source, "prefix"))
			check_format(c->e, FP(at, "prefix"), get_str(source, "prefix"), fmt_env_name);
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
			const json_t *ref = get(source, keys[k]);

			if (!ref)
				continue;
			n++;
			if (!*get_str(ref, "name"))
				fe_required(c->e, FP(FP(at, keys[k]), "name"), NULL);
			else
				check_format(c->e, FP(FP(at, keys[k]), "name"), get_str(ref, "name"),
					     fmt_dns_subdomain);
		}
		if (n == 0)
			fe_invalid(c->e, p, "", "must specify one of: `configMapRef` or `secretRef`");
		else if (n > 1)
			fe_invalid(c->e, p, "", "may not have more than one field specified at a time");
	}
}

void check_env(struct pod_check *c, const struct fpath *p, const json_t *container)
{
	json_t *env;
	size_t i;

	json_array_foreach(get(container, "env"), i, env) {
		const struct fpath *at = FP_INDEX(FP(p, "env"), i);

		if (!*get_str(env, "name"))
			fe_required(c->e, FP(at, "name"), NULL);
		else
			check_format(c->e, FP(at, "name"), get_str(env, "name"), fmt_env_name);
		if (get(env, "valueFrom"))
			check_value_from(c, FP(at, "valueFrom"), env);
	}
	check_env_from(c, FP(p, "envFrom"), get(container, "envFrom"));
}

static void check_http_get(struct field_errors *e, const struct fpath *p, const json_t *http)
{
	json_t *header;
	size_t i;

	if (!*get_str(http, "path"))
		fe_required(e, FP(p, "path"), NULL);
	check_port(e, FP(p, "port"), get(http, "port"));
	if (!one_of(get_str(http, "scheme"), WORDS("HTTP", "HTTPS")))
		fe_not_supported(e, FP(p, "scheme"), get_str(http, "scheme"), WORDS("HTTP", "HTTPS"));
	json_array_foreach(get(http, "httpHeaders"), i, header)
		check_format(e, FP(p, "httpHeaders"), get_str(header, "name"), fmt_http_header);
}

static void check_sleep(struct pod_check *c, const struct fpath *p, const json_t *sleep)
{
	int64_t seconds = get_int(sleep, "seconds"), grace = get_int(c->spec, "terminationGracePeriodSeconds");

	if (seconds < 0 || seconds > grace)
		fe_invalid_int(c->e, p, seconds,
			       "must be non-negative and less than terminationGracePeriodSeconds (%lld)",
			       (long long)grace);
}

/* One of exec, httpGet, tcpSocket, grpc, sleep. */
static void check_handler(struct pod_check *c, const struct fpath *p, const json_t *handler)
{
	static const char *const kinds[] = { "exec", "httpGet", "tcpSocket", "grpc", "sleep" };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const json_t *h = get(handler, kinds[i]);
		const struct fpath *at = FP(p, kinds[i]);

		if (!h)
			continue;
		if (n++) {
			fe_forbidden(c->e, at, "may not specify more than 1 handler type");
			continue;
		}
		if (i == 0 && json_array_size(get(h, "command")) == 0)
			fe_required(c->e, FP(at, "command"), NULL);
		else if (i == 1)
			check_http_get(c->e, at, h);
		else if (i == 2)
			check_port(c->e, FP(at, "port"), get(h, "port"));
		else if (i == 3)
			check_port_number(c->e, FP(at, "port"), get_int(h, "port"));
		else if (i == 4)
			check_sleep(c, at, h);
	}
	if (n == 0)
		fe_required(c->e, p, "must specify a handler type");
}

static void check_probe(struct pod_check *c, const struct fpath *p, const json_t *probe)
{
	static const char *const numbers[] = { "initialDelaySeconds", "timeoutSeconds", "periodSeconds",
					       "successThreshold", "failureThreshold" };
	const json_t *grace = get(probe, "terminationGracePeriodSeconds");

	check_handler(c, p, probe);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		check_non_negative(c->e, FP(p, numbers[i]), get(probe, numbers[i]));
	if (grace && json_integer_value(grace) <= 0)
		fe_invalid_json(c->e, FP(p, "terminationGracePeriodSeconds"), grace, "must be greater than 0");
}

void check_probes(struct pod_check *c, const struct fpath *p, const json_t *container)
{
	static const char *const kinds[] = { "livenessProbe", "readinessProbe", "startupProbe" };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const json_t *probe = get(container, kinds[i]);
		const struct fpath *at = FP(p, kinds[i]);

		if (!probe)
			continue;
		check_probe(c, at, probe);
		if (i == 1) {
			if (get(probe, "terminationGracePeriodSeconds"))
				fe_invalid_json(c->e, FP(at, "terminationGracePeriodSeconds"),
						get(probe, "terminationGracePeriodSeconds"),
						"must not be set for readinessProbes");
		} else if (get_int(probe, "successThreshold") != 1) {
			fe_invalid_int(c->e, FP(at, "successThreshold"), get_int(probe, "successThreshold"),
				       "must be 1");
		}
	}
}

void check_lifecycle(struct pod_check *c, const struct fpath *p, const json_t *lifecycle)
{
	static const char *const kinds[] = { "postStart", "preStop" };

	for (size_t i = 0; lifecycle && i < ARRAY_SIZE(kinds); i++)
		if (get(lifecycle, kinds[i]))
			check_handler(c, FP(p, kinds[i]), get(lifecycle, kinds[i]));
}
