/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Webhook configurations, and the rules and match conditions that policies share with them. */
#include "apiserver/validate/validate_admission.h"

static void fmt_three_segments(const char *s, struct strlist *msgs)
{
	_cleanup_strlist_ struct strlist parts = {0};
	size_t before = msgs->count;

	fmt_dns_subdomain(s, msgs);
	strlist_split(&parts, s, '.');
	if (msgs->count == before && parts.count < 3)
		strlist_add(msgs, "should be a domain with at least three segments separated by dots");
}

/* A list that may hold "*" only alone. what: as the message names its members. */
static void check_star(struct field_errors *e, const struct fpath *p, const json_t *list, const char *what)
{
	bool star = false;
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		star |= str_eq(json_string_value(v), "*");
	if (json_array_size(list) == 0)
		fe_required(e, p, NULL);
	else if (star && json_array_size(list) > 1)
		fe_invalid_json(e, p, list, "if '*' is present, must not specify other %s", what);
}

/* "pods" with a star behind the slash has all its subresources in it, a star before "status" that of all. */
static void check_subresource_stars(struct field_errors *e, const struct fpath *p, const json_t *list)
{
	struct map *all_of = map_new(NULL), *in_all = map_new(NULL);
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v) {
		const char *s = json_string_value(v), *slash = strchr(s, '/');
		_cleanup_free_ char *resource = slash ? mem_strndup(s, (size_t)(slash - s)) : NULL;

		if (!slash || strcmp(s, "*/*") == 0)
			continue;
		if (strcmp(slash, "/*") == 0)
			map_set(all_of, resource, v);
		else if (strcmp(resource, "*") == 0)
			map_set(in_all, slash + 1, v);
	}
	json_array_foreach(list, i, v) {
		const char *s = json_string_value(v), *slash = strchr(s, '/');
		_cleanup_free_ char *resource = slash ? mem_strndup(s, (size_t)(slash - s)) : NULL;

		if (!slash || strcmp(resource, "*") == 0 || strcmp(slash, "/*") == 0)
			continue;
		if (map_has(all_of, resource))
			fe_invalid(e, FP_INDEX(p, i), s, "if '%s/*' is present, must not specify %s", resource, s);
		if (map_has(in_all, slash + 1))
			fe_invalid(e, FP_INDEX(p, i), s, "if '*/%s' is present, must not specify %s", slash + 1, s);
	}
	map_free(all_of);
	map_free(in_all);
}

static void check_rule_resources(struct field_errors *e, const struct fpath *p, const json_t *list)
{
	bool all = false, plain = false;
	json_t *v;
	size_t i;

	if (json_array_size(list) == 0)
		fe_required(e, p, NULL);
	json_array_foreach(list, i, v) {
		if (!*json_string_value(v))
			fe_required(e, FP_INDEX(p, i), NULL);
		all |= str_eq(json_string_value(v), "*/*");
		plain |= str_eq(json_string_value(v), "*");
	}
	if (all && json_array_size(list) > 1)
		fe_invalid_json(e, p, list, "if '*/*' is present, must not specify other resources");
	json_array_foreach(list, i, v) {
		if (!plain || strchr(json_string_value(v), '/') || str_eq(json_string_value(v), "*"))
			continue;
		fe_invalid_json(e, p, list, "if '*' is present, must not specify other resources without subresources");
		break;
	}
	check_subresource_stars(e, p, list);
}

void check_admission_rule(struct field_errors *e, const struct fpath *p, const json_t *rule)
{
	static const char *const operations[] = { "*", "CONNECT", "CREATE", "DELETE", "UPDATE", NULL };
	static const char *const scopes[] = { "*", "Cluster", "Namespaced", NULL };
	json_t *v;
	size_t i;

	check_star(e, FP(p, "operations"), get(rule, "operations"), "operations");
	json_array_foreach(get(rule, "operations"), i, v) {
		if (!one_of(json_string_value(v), operations))
			fe_not_supported(e, FP_INDEX(FP(p, "operations"), i), json_string_value(v), operations);
	}
	check_star(e, FP(p, "apiGroups"), get(rule, "apiGroups"), "API groups");
	check_star(e, FP(p, "apiVersions"), get(rule, "apiVersions"), "API versions");
	check_rule_resources(e, FP(p, "resources"), get(rule, "resources"));
	if (get(rule, "scope") && !one_of(get_str(rule, "scope"), scopes))
		fe_not_supported(e, FP(p, "scope"), get_str(rule, "scope"), scopes);
}

static void check_url(struct field_errors *e, const struct fpath *p, const char *url)
{
	static const char form[] = "; desired format: https://host[/path]";
	const char *host = str_after(url, "https://");
	size_t len;

	if (!host) {
		fe_invalid(e, p, url, "'https' is the only allowed URL scheme%s", form);
		return;
	}
	len = strcspn(host, "/?#");
	if (len == 0)
		fe_invalid(e, p, url, "host must be specified%s", form);
	if (memchr(host, '@', len))
		fe_invalid(e, p, url, "user information is not permitted in the URL");
	if (strchr(host, '#'))
		fe_invalid(e, p, url, "fragments are not permitted in the URL");
	if (strchr(host, '?'))
		fe_invalid(e, p, url, "query parameters are not permitted in the URL");
}

static void check_service_path(struct field_errors *e, const struct fpath *p, const char *path)
{
	size_t n = 0;

	if (!*path || strcmp(path, "/") == 0)
		return;
	if (*path != '/') {
		fe_invalid(e, p, path, "must start with a '/'");
		return;
	}
	for (const char *s = path; *s == '/'; n++) {
		size_t len = strcspn(s + 1, "/");

		if (len == 0 && s[1]) {
			fe_invalid(e, p, path, "segment[%zu] may not be empty", n);
			return;
		}
		s += len + 1;
	}
}

static void check_client(struct field_errors *e, const struct fpath *p, const json_t *client)
{
	const json_t *service = get(client, "service"), *url = get(client, "url");
	const struct fpath *at = FP(p, "service");

	if (!url == !service) {
		fe_required(e, p, "exactly one of url or service is required");
	} else if (url) {
		check_url(e, FP(p, "url"), json_string_value(url));
	} else {
		if (!*get_str(service, "name"))
			fe_required(e, FP(at, "name"), NULL);
		if (!*get_str(service, "namespace"))
			fe_required(e, FP(at, "namespace"), NULL);
		if (get_int(service, "port") < 1 || get_int(service, "port") > 65535)
			fe_invalid_int(e, FP(at, "port"), get_int(service, "port"),
				       "port is not valid: must be between 1 and 65535, inclusive");
		check_service_path(e, FP(at, "path"), get_str(service, "path"));
	}
}

static void check_review_versions(struct field_errors *e, const struct fpath *p, const json_t *versions)
{
	struct map *seen = map_new(NULL);
	json_t *v;
	size_t i;

	if (json_array_size(versions) == 0)
		fe_required(e, p, "must specify one of v1, v1beta1");
	json_array_foreach(versions, i, v) {
		const char *version = json_string_value(v);

		if (map_has(seen, version))
			fe_invalid(e, FP_INDEX(p, i), version, "duplicate version");
		check_format(e, FP_INDEX(p, i), version, fmt_dns1035_label);
		map_set(seen, version, seen);
	}
	if (json_array_size(versions) && !map_has(seen, "v1") && !map_has(seen, "v1beta1"))
		fe_invalid_json(e, p, versions, "must include at least one of v1, v1beta1");
	map_free(seen);
}

void check_choice_of(struct field_errors *e, const struct fpath *p, const json_t *o, const char *key,
			 const char *const *allowed)
{
	if (get(o, key) && !one_of(get_str(o, key), allowed))
		fe_not_supported(e, FP(p, key), get_str(o, key), allowed);
}

void check_match_conditions(struct field_errors *e, const struct fpath *p, const json_t *conditions)
{
	enum { CONDITIONS_MAX = 64 };
	struct map *seen = map_new(NULL);
	json_t *c;
	size_t i;

	if (json_array_size(conditions) > CONDITIONS_MAX)
		fe_too_many(e, p, json_array_size(conditions), CONDITIONS_MAX);
	json_array_foreach(conditions, i, c) {
		const char *name = get_str(c, "name");

		if (!*get_str(c, "expression"))
			fe_required(e, FP(FP_INDEX(p, i), "expression"), NULL);
		if (!*name)
			fe_required(e, FP(FP_INDEX(p, i), "name"), NULL);
		else if (map_has(seen, name))
			fe_duplicate(e, FP(FP_INDEX(p, i), "name"), name);
		else
			check_format(e, FP(FP_INDEX(p, i), "name"), name, fmt_qualified_name);
		map_set(seen, name, seen);
	}
	map_free(seen);
}

static void check_webhook(struct field_errors *e, const struct fpath *p, const json_t *hook)
{
	const char *effects = get_str(hook, "sideEffects"), *name = get_str(hook, "name");
	const json_t *timeout = get(hook, "timeoutSeconds");
	json_t *rule;
	size_t i;

	if (!*name)
		fe_required(e, FP(p, "name"), NULL);
	else
		check_format(e, FP(p, "name"), name, fmt_three_segments);
	json_array_foreach(get(hook, "rules"), i, rule)
		check_admission_rule(e, FP_INDEX(FP(p, "rules"), i), rule);
	check_choice_of(e, p, hook, "failurePolicy", WORDS("Fail", "Ignore"));
	check_choice_of(e, p, hook, "matchPolicy", WORDS("Equivalent", "Exact"));
	if (!*effects)
		fe_required(e, FP(p, "sideEffects"), "must specify one of None, NoneOnDryRun");
	else
		check_choice_of(e, p, hook, "sideEffects", WORDS("None", "NoneOnDryRun"));
	if (timeout && (json_integer_value(timeout) < 1 || json_integer_value(timeout) > 30))
		fe_invalid_json(e, FP(p, "timeoutSeconds"), timeout,
				"the timeout value must be between 1 and 30 seconds");
	check_choice_of(e, p, hook, "reinvocationPolicy", WORDS("IfNeeded", "Never"));
	check_label_selector(e, FP(p, "namespaceSelector"), get(hook, "namespaceSelector"));
	check_label_selector(e, FP(p, "objectSelector"), get(hook, "objectSelector"));
	check_client(e, FP(p, "clientConfig"), get(hook, "clientConfig"));
	check_match_conditions(e, FP(p, "matchConditions"), get(hook, "matchConditions"));
}

void validate_webhooks(const struct validation *v)
{
	struct map *names = map_new(NULL);
	json_t *hook;
	size_t i;

	json_array_foreach(get(v->object, "webhooks"), i, hook) {
		const struct fpath *p = FP_INDEX(FP(NULL, "webhooks"), i);

		check_webhook(v->e, p, hook);
		check_review_versions(v->e, FP(p, "admissionReviewVersions"), get(hook, "admissionReviewVersions"));
		if (map_has(names, get_str(hook, "name")))
			fe_duplicate(v->e, FP(p, "name"), get_str(hook, "name"));
		map_set(names, get_str(hook, "name"), names);
	}
	map_free(names);
}
