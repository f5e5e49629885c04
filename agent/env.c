/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Environments: Services first, then envFrom, then env in order, each seeing what stands before it. The last value of a
 * name counts. Follows the Kubernetes documentation of "Define dependent environment variables".
 */
#include "agent/env.h"

#include <ctype.h>
#include <errno.h>

#include "agent/resources.h"
#include "agent/spec.h"
#include "base/mem.h"
#include "kube/object.h"

void env_done(struct env *e)
{
	strlist_done(&e->names);
	strlist_done(&e->values);
}

const char *env_get(const struct env *e, const char *name)
{
	for (size_t i = 0; i < e->names.count; i++)
		if (str_eq(e->names.items[i], name))
			return e->values.items[i];
	return NULL;
}

void env_set(struct env *e, const char *name, const char *value)
{
	for (size_t i = 0; i < e->names.count; i++)
		if (str_eq(e->names.items[i], name)) {
			free(e->values.items[i]);
			e->values.items[i] = mem_strdup(value);
			return;
		}
	strlist_add(&e->names, name);
	strlist_add(&e->values, value);
}

/* missing (may be NULL) gets the first name that is not defined, own. */
static char *expand(const char *s, const struct env *e, char **missing)
{
	struct strbuf out = { 0 };

	while (*s) {
		const char *close;

		if (*s != '$' || !s[1]) {
			strbuf_addc(&out, *s++);
			continue;
		}
		if (s[1] == '$') {
			strbuf_addc(&out, '$');
			s += 2;
			continue;
		}
		close = s[1] == '(' ? strchr(s, ')') : NULL;
		if (close) {
			_cleanup_free_ char *name = mem_strndup(s + 2, (size_t)(close - s - 2));
			const char *value = env_get(e, name);

			if (value)
				strbuf_adds(&out, value);
			else
				strbuf_add(&out, s, (size_t)(close + 1 - s));
			if (!value && missing && !*missing)
				*missing = mem_strdup(name);
			s = close + 1;
			continue;
		}
		strbuf_addc(&out, *s++);
	}
	return strbuf_take(&out);
}

char *env_expand(const char *s, const struct env *e)
{
	return expand(s, e, NULL);
}

char *env_expand_all(const char *s, const struct env *e, struct err *err)
{
	_cleanup_free_ char *out = NULL, *missing = NULL;

	out = expand(s, e, &missing);
	if (missing) {
		err_set(err, EINVAL, "missing value for \"%s\"", missing);
		return NULL;
	}
	return TAKE(out);
}

/* "metadata.labels['key']" -> key, own; NULL when path is not of that form. */
static char *subscript(const char *path, const char *map)
{
	const char *p = str_after(path, map);
	size_t len;

	if (!p || !str_starts(p, "['"))
		return NULL;
	len = strlen(p);
	return len > 4 && str_ends(p, "']") ? mem_strndup(p + 2, len - 4) : NULL;
}

/* A map as downward API files show it: key="value" lines, values quoted with escapes, sorted. */
static char *format_map(const json_t *map)
{
	struct strbuf out = { 0 };
	const char *key;
	json_t *v;
	_cleanup_free_ const char **keys = mem_new_n(const char *, json_object_size(map) + 1);
	size_t count = 0;

	json_object_foreach((json_t *)map, key, v) {
		size_t at = count++;

		while (at > 0 && strcmp(keys[at - 1], key) > 0) {
			keys[at] = keys[at - 1];
			at--;
		}
		keys[at] = key;
	}
	for (size_t i = 0; i < count; i++) {
		const char *value = json_string_value(json_object_get(map, keys[i]));

		if (i > 0)
			strbuf_addc(&out, '\n');
		strbuf_addf(&out, "%s=", keys[i]);
		strbuf_add_json(&out, value ? value : "", value ? strlen(value) : 0);
	}
	return strbuf_take(&out);
}

static char *join_ips(const struct strlist *ips)
{
	struct strbuf out = { 0 };

	for (size_t i = 0; ips && i < ips->count; i++) {
		if (i > 0)
			strbuf_addc(&out, ',');
		strbuf_adds(&out, ips->items[i]);
	}
	return strbuf_take(&out);
}

char *env_field(const json_t *pod, const char *path, const struct pod_facts *facts, struct err *err)
{
	_cleanup_free_ char *label = subscript(path, "metadata.labels");
	_cleanup_free_ char *annotation = subscript(path, "metadata.annotations");

	if (label || annotation) {
		json_t *map = label ? object_labels(pod) : object_annotations(pod);
		const char *value = json_string_value(json_object_get(map, label ? label : annotation));

		return mem_strdup(value ? value : "");
	}
	if (str_eq(path, "metadata.labels"))
		return format_map(object_labels(pod));
	if (str_eq(path, "metadata.annotations"))
		return format_map(object_annotations(pod));
	if (str_eq(path, "metadata.name"))
		return mem_strdup(object_name(pod));
	if (str_eq(path, "metadata.namespace"))
		return mem_strdup(object_namespace(pod));
	if (str_eq(path, "metadata.uid"))
		return mem_strdup(object_uid(pod));
	if (str_eq(path, "spec.nodeName"))
		return mem_strdup(facts->node_name);
	if (str_eq(path, "spec.serviceAccountName"))
		return mem_strdup(json_str_or(pod, "spec.serviceAccountName", ""));
	if (str_eq(path, "status.hostIP"))
		return mem_strdup(facts->node_ips->items[0]);
	if (str_eq(path, "status.hostIPs"))
		return join_ips(facts->node_ips);
	if (str_eq(path, "status.podIP"))
		return mem_strdup(facts->pod_ips && facts->pod_ips->count ? facts->pod_ips->items[0] : "");
	if (str_eq(path, "status.podIPs"))
		return join_ips(facts->pod_ips);
	err_set(err, EINVAL, "unsupported fieldPath: %s", path);
	return NULL;
}

char *env_resource(const json_t *pod, const json_t *container, const json_t *ref, const struct pod_facts *facts,
		   struct err *err)
{
	const char *name = json_str(ref, "containerName"), *resource = json_str_or(ref, "resource", "");
	int64_t value;

	if (!str_empty(name))
		container = spec_container(pod, name);
	if (!container) {
		err_set(err, EINVAL, "container %s not found", name ? name : "");
		return NULL;
	}
	if (resources_field(container, resource, json_str(ref, "divisor"), facts->node_cpu_milli,
			    facts->node_memory_bytes, &value) < 0) {
		err_set(err, EINVAL, "unsupported container resource : %s", resource);
		return NULL;
	}
	return str_printf("%lld", (long long)value);
}

void env_of_service(const json_t *service, struct env *e)
{
	const char *ip = json_str(service, "spec.clusterIP");
	_cleanup_free_ char *prefix = mem_strdup(object_name(service));
	json_t *port;
	size_t i;

	if (str_empty(ip) || str_eq(ip, "None"))
		return;
	for (char *p = prefix; *p; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	json_array_foreach(json_at(service, "spec.ports"), i, port) {
		const char *protocol = json_str_or(port, "protocol", "TCP"), *name = json_str(port, "name");
		long long number = (long long)json_int(port, "port", 0);
		const char *host_open = strchr(ip, ':') ? "[" : "", *host_close = strchr(ip, ':') ? "]" : "";
		_cleanup_free_ char *number_text = str_printf("%lld", number);
		_cleanup_free_ char *lower = mem_strdup(protocol);
		_cleanup_free_ char *link = NULL, *url = NULL;

		for (char *p = lower; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		link = str_printf("%s_PORT_%lld_%s", prefix, number, protocol);
		url = str_printf("%s://%s%s%s:%lld", lower, host_open, ip, host_close, number);
		if (i == 0) {
			_cleanup_free_ char *host = str_printf("%s_SERVICE_HOST", prefix);
			_cleanup_free_ char *first = str_printf("%s_SERVICE_PORT", prefix);
			_cleanup_free_ char *all = str_printf("%s_PORT", prefix);

			env_set(e, host, ip);
			env_set(e, first, number_text);
			env_set(e, all, url);
		}
		if (!str_empty(name)) {
			_cleanup_free_ char *named = str_printf("%s_SERVICE_PORT_%s", prefix, name);

			for (char *p = named; *p; p++)
				*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
			env_set(e, named, number_text);
		}
		env_set(e, link, url);
		{
			_cleanup_free_ char *n1 = str_printf("%s_PROTO", link), *n2 = str_printf("%s_PORT", link);
			_cleanup_free_ char *n3 = str_printf("%s_ADDR", link);

			env_set(e, n1, lower);
			env_set(e, n2, number_text);
			env_set(e, n3, ip);
		}
	}
}

/* The text under key in a ConfigMap or Secret; own, NULL when there is none. */
static char *source_text(const json_t *object, const char *key, bool secret)
{
	const char *v = json_string_value(json_object_get(json_object_get(object, "data"), key));
	struct strbuf out = { 0 };

	if (!v)
		return NULL;
	if (!secret)
		return mem_strdup(v);
	if (base64_decode(&out, v, strlen(v)) < 0) {
		strbuf_done(&out);
		return NULL;
	}
	return strbuf_take(&out);
}

/* Finds a ConfigMap or Secret. 0 with *ret NULL: it is optional and missing. */
static int find_source(const struct env_input *in, const json_t *ref, bool secret, json_t **ret, struct err *err)
{
	const char *name = json_str_or(ref, "name", "");
	enum source_state state;
	json_t *object = in->source(in->source_user, secret ? "secrets" : "configmaps", name, &state);

	if (state == SOURCE_LOADING)
		return err_set(err, EAGAIN, "waiting for %s \"%s\"", secret ? "secret" : "configmap", name);
	if (state == SOURCE_MISSING && !json_bool(ref, "optional", false))
		return err_set(err, ENOENT, "%s \"%s\" not found", secret ? "secret" : "configmap", name);
	*ret = state == SOURCE_FOUND ? object : NULL;
	return 0;
}

/* Names of variables since Kubernetes 1.32: any printable ASCII but '='. */
static bool is_env_name(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s > 0x7e || *s == '=')
			return false;
	return true;
}

static int add_from(const struct env_input *in, const json_t *from, struct env *e, struct strlist *skipped,
		    struct err *err)
{
	const char *prefix = json_str_or(from, "prefix", ""), *key;
	json_t *ref = json_object_get(from, "configMapRef"), *object = NULL, *v;
	bool secret = !ref;
	int r;

	if (secret)
		ref = json_object_get(from, "secretRef");
	r = find_source(in, ref, secret, &object, err);
	if (r < 0)
		return r;
	json_object_foreach(json_object_get(object, "data"), key, v) {
		_cleanup_free_ char *name = str_printf("%s%s", prefix, key);
		_cleanup_free_ char *text = source_text(object, key, secret);

		if (!is_env_name(name)) {
			if (skipped)
				strlist_add(skipped, key);
		} else if (text) {
			env_set(e, name, text);
		}
	}
	return 0;
}

static int value_from(const struct env_input *in, const json_t *from, char **ret, struct err *err)
{
	json_t *ref, *object = NULL;
	bool secret;
	int r;

	if ((ref = json_object_get(from, "fieldRef"))) {
		*ret = env_field(in->pod, json_str_or(ref, "fieldPath", ""), in->facts, err);
		return *ret ? 0 : -EINVAL;
	}
	if ((ref = json_object_get(from, "resourceFieldRef"))) {
		*ret = env_resource(in->pod, in->container, ref, in->facts, err);
		return *ret ? 0 : -EINVAL;
	}
	ref = json_object_get(from, "configMapKeyRef");
	secret = !ref;
	if (secret)
		ref = json_object_get(from, "secretKeyRef");
	if (!ref)
		return err_set(err, EINVAL, "unsupported source of an environment variable");
	r = find_source(in, ref, secret, &object, err);
	if (r < 0)
		return r;
	*ret = object ? source_text(object, json_str_or(ref, "key", ""), secret) : NULL;
	if (!*ret && object && !json_bool(ref, "optional", false))
		return err_set(err, ENOENT, "couldn't find key %s in %s %s/%s", json_str_or(ref, "key", ""),
			       secret ? "Secret" : "ConfigMap", object_namespace(in->pod), json_str_or(ref, "name", ""));
	return 0;
}

static int add_one(const struct env_input *in, const json_t *var, struct env *e, struct err *err)
{
	const char *name = json_str_or(var, "name", ""), *literal = json_str(var, "value");
	json_t *from = json_object_get(var, "valueFrom");
	_cleanup_free_ char *value = NULL;

	if (!str_empty(literal)) {
		value = env_expand(literal, e);
	} else if (json_is_object(from)) {
		int r = value_from(in, from, &value, err);

		if (r < 0)
			return r;
		if (!value)
			return 0; /* optional and absent: not set at all */
	} else {
		value = mem_strdup("");
	}
	env_set(e, name, value);
	return 0;
}

int env_build(const struct env_input *in, struct env *ret, struct strlist *skipped, struct err *err)
{
	struct env e = { 0 };
	json_t *item;
	size_t i;
	int r = 0;

	for (size_t s = 0; s < in->service_count; s++)
		env_of_service(in->services[s], &e);
	json_array_foreach(json_object_get(in->container, "envFrom"), i, item) {
		r = add_from(in, item, &e, skipped, err);
		if (r < 0)
			break;
	}
	if (r >= 0)
		json_array_foreach(json_object_get(in->container, "env"), i, item) {
			r = add_one(in, item, &e, err);
			if (r < 0)
				break;
		}
	if (r < 0) {
		env_done(&e);
		return r;
	}
	*ret = e;
	return 0;
}
