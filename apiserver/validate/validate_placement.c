/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a pod may run and how it resolves names: DNS, tolerations, affinity, topology spread. */
#include "apiserver/validate/validate_pod.h"

void check_pod_dns(struct pod_check *c, const struct fpath *spec_path)
{
	enum { NAMESERVERS_MAX = 3, SEARCHES_MAX = 32, SEARCHES_MAX_BYTES = 2048 };
	const json_t *config = get(c->spec, "dnsConfig"), *servers = get(config, "nameservers"),
		     *searches = get(config, "searches");
	bool none = strcmp(get_str(c->spec, "dnsPolicy"), "None") == 0;
	const struct fpath *p = FP(spec_path, "dnsConfig");
	size_t i, total = 0;
	json_t *v;

	if (none && !config)
		fe_required(c->e, p, "must provide `dnsConfig` when `dnsPolicy` is None");
	else if (none && json_array_size(servers) == 0)
		fe_required(c->e, FP(p, "nameservers"),
			    "must provide at least one DNS nameserver when `dnsPolicy` is None");
	if (json_array_size(servers) > NAMESERVERS_MAX)
		fe_invalid_json(c->e, FP(p, "nameservers"), servers, "must not have more than %d nameservers",
				NAMESERVERS_MAX);
	json_array_foreach(servers, i, v)
		check_format(c->e, FP_INDEX(FP(p, "nameservers"), i), json_string_value(v), fmt_ip);
	if (json_array_size(searches) > SEARCHES_MAX)
		fe_invalid_json(c->e, FP(p, "searches"), searches, "must not have more than %d search paths",
				SEARCHES_MAX);
	json_array_foreach(searches, i, v)
		total += json_string_length(v) + (i > 0);
	if (total > SEARCHES_MAX_BYTES)
		fe_invalid_json(c->e, FP(p, "searches"), searches,
				"must not have more than %d characters (including spaces) in the search list",
				SEARCHES_MAX_BYTES);
	json_array_foreach(searches, i, v) {
		_cleanup_free_ char *name = mem_strdup(json_string_value(v));
		size_t len = strlen(name);

		if (strcmp(name, ".") == 0)
			continue;
		if (len && name[len - 1] == '.')
			name[len - 1] = '\0';
		check_format(c->e, FP_INDEX(FP(p, "searches"), i), name, fmt_dns_subdomain_underscore);
	}
	json_array_foreach(get(config, "options"), i, v) {
		if (!*get_str(v, "name"))
			fe_required(c->e, FP_INDEX(FP(p, "options"), i), "must not be empty");
	}
}

static void check_toleration_operator(struct field_errors *e, const struct fpath *p, const char *op, const char *value)
{
	_cleanup_strbuf_ struct strbuf joined = {0};
	_cleanup_strlist_ struct strlist msgs = {0};

	if (!*op || strcmp(op, "Equal") == 0) {
		fmt_label_value(value, &msgs);
		for (size_t i = 0; i < msgs.count; i++)
			strbuf_addf(&joined, "%s%s", i ? ";" : "", msgs.items[i]);
		if (msgs.count)
			fe_invalid(e, FP(p, "operator"), value, "%s", joined.data);
	} else if (strcmp(op, "Exists") == 0) {
		if (*value)
			fe_invalid(e, FP(p, "operator"), value, "value must be empty when `operator` is 'Exists'");
	} else if (one_of(op, WORDS("Lt", "Gt"))) {
		fe_not_supported(e, FP(p, "operator"), op, WORDS("Equal", "Exists", "Lt", "Gt"));
	} else {
		fe_not_supported(e, FP(p, "operator"), op, WORDS("Equal", "Exists"));
	}
}

void check_tolerations(struct field_errors *e, const struct fpath *p, const json_t *tolerations)
{
	static const char *const effects[] = { "NoSchedule", "PreferNoSchedule", "NoExecute", NULL };
	json_t *t;
	size_t i;

	json_array_foreach(tolerations, i, t) {
		const char *key = get_str(t, "key"), *op = get_str(t, "operator"), *effect = get_str(t, "effect");
		const struct fpath *at = FP_INDEX(p, i);

		if (*key)
			check_format(e, FP(at, "key"), key, fmt_qualified_name);
		if (!*key && strcmp(op, "Exists") != 0)
			fe_invalid(e, FP(at, "operator"), op,
				   "operator must be Exists when `key` is empty, which means \"match all values and "
				   "all keys\"");
		if (get(t, "tolerationSeconds") && strcmp(effect, "NoExecute") != 0)
			fe_invalid(e, FP(at, "effect"), effect,
				   "effect must be 'NoExecute' when `tolerationSeconds` is set");
		check_toleration_operator(e, at, op, get_str(t, "value"));
		if (*effect && !one_of(effect, effects))
			fe_not_supported(e, FP(at, "effect"), effect, effects);
	}
}

static void check_node_expression(struct field_errors *e, const struct fpath *p, const json_t *expression,
				  bool required)
{
	const char *op = get_str(expression, "operator");
	const json_t *values = get(expression, "values");
	json_t *v;
	size_t i;

	if (one_of(op, WORDS("In", "NotIn"))) {
		if (json_array_size(values) == 0)
			fe_required(e, FP(p, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
	} else if (one_of(op, WORDS("Exists", "DoesNotExist"))) {
		if (json_array_size(values) > 0)
			fe_forbidden(e, FP(p, "values"),
				     "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
	} else if (one_of(op, WORDS("Gt", "Lt"))) {
		if (json_array_size(values) != 1)
			fe_required(e, FP(p, "values"),
				    "must be specified single value when `operator` is 'Lt' or 'Gt'");
	} else {
		fe_invalid(e, FP(p, "operator"), op, "not a valid selector operator");
	}
	check_format(e, FP(p, "key"), get_str(expression, "key"), fmt_qualified_name);
	json_array_foreach(values, i, v) {
		if (required)
			check_format(e, FP_INDEX(FP(p, "values"), i), json_string_value(v), fmt_label_value);
	}
}

static void check_node_field(struct field_errors *e, const struct fpath *p, const json_t *field)
{
	const char *op = get_str(field, "operator"), *key = get_str(field, "key");

	if (!one_of(op, WORDS("In", "NotIn")))
		fe_invalid(e, FP(p, "operator"), op, "not a valid selector operator");
	else if (json_array_size(get(field, "values")) != 1)
		fe_required(e, FP(p, "values"),
			    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
	if (strcmp(key, "metadata.name") != 0)
		fe_invalid(e, FP(p, "key"), key, "not a valid field selector key");
}

static void check_node_term(struct field_errors *e, const struct fpath *p, const json_t *term, bool required)
{
	json_t *v;
	size_t i;

	json_array_foreach(get(term, "matchExpressions"), i, v)
		check_node_expression(e, FP_INDEX(FP(p, "matchExpressions"), i), v, required);
	json_array_foreach(get(term, "matchFields"), i, v)
		check_node_field(e, FP_INDEX(FP(p, "matchFields"), i), v);
}

void check_node_selector(struct field_errors *e, const struct fpath *p, const json_t *selector)
{
	const json_t *terms = get(selector, "nodeSelectorTerms");
	json_t *term;
	size_t i;

	if (json_array_size(terms) == 0)
		fe_required(e, FP(p, "nodeSelectorTerms"), "must have at least one node selector term");
	json_array_foreach(terms, i, term)
		check_node_term(e, FP_INDEX(FP(p, "nodeSelectorTerms"), i), term, true);
}

static void check_weight(struct field_errors *e, const struct fpath *p, const json_t *preferred)
{
	int64_t weight = get_int(preferred, "weight");

	if (weight <= 0 || weight > 100)
		fe_invalid_int(e, FP(p, "weight"), weight, "must be in the range 1-100");
}

static void check_match_keys(struct field_errors *e, const struct fpath *p, const json_t *term, const char *key)
{
	const json_t *keys = get(term, key);
	struct map *other = map_new(NULL);
	json_t *v;
	size_t i;

	if (strcmp(key, "matchLabelKeys") == 0)
		json_array_foreach(get(term, "mismatchLabelKeys"), i, v)
			map_set(other, json_string_value(v), other);

	if (json_array_size(keys) > 0 && !get(term, "labelSelector"))
		fe_forbidden(e, FP(p, key), "must not be specified when labelSelector is not set");
	json_array_foreach(keys, i, v) {
		check_format(e, FP_INDEX(FP(p, key), i), json_string_value(v), fmt_qualified_name);
		if (map_has(other, json_string_value(v)))
			fe_invalid(e, FP_INDEX(FP(p, key), i), json_string_value(v),
				   "exists in both matchLabelKeys and mismatchLabelKeys");
	}
	map_free(other);
}

/* The requirements made of match keys stand at the selector's end; nothing before them may be about the same key. */
static void check_merged_keys(struct field_errors *e, const struct fpath *p, const json_t *term)
{
	static const char *const lists[] = { "matchLabelKeys", "mismatchLabelKeys" };
	const json_t *selector = get(term, "labelSelector");
	struct map *keys, *seen;
	const char *key;
	json_t *v;
	size_t i;

	if (json_array_size(get(term, lists[0])) + json_array_size(get(term, lists[1])) == 0)
		return;
	keys = map_new(NULL);
	seen = map_new(NULL);
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
		json_array_foreach(get(term, lists[l]), i, v)
			map_set(keys, json_string_value(v), (void *)lists[l]);
	json_object_foreach(get(selector, "matchLabels"), key, v)
		map_set(seen, key, v);
	json_array_foreach(get(selector, "matchExpressions"), i, v) {
		key = get_str(v, "key");
		if (map_has(keys, key) && map_has(seen, key))
			fe_invalid(e, FP_INDEX(p, i), key, "exists in both matchLabelKeys and labelSelector");
		map_set(seen, key, v);
	}
	map_free(keys);
	map_free(seen);
}

static void check_pod_term(struct field_errors *e, const struct fpath *p, const json_t *term)
{
	const char *topology = get_str(term, "topologyKey");
	json_t *ns;
	size_t i;

	check_label_selector(e, FP(p, "labelSelector"), get(term, "labelSelector"));
	check_label_selector(e, FP(p, "namespaceSelector"), get(term, "namespaceSelector"));
	json_array_foreach(get(term, "namespaces"), i, ns)
		check_format(e, FP(p, "namespace"), json_string_value(ns), fmt_dns_label);
	check_match_keys(e, p, term, "matchLabelKeys");
	check_match_keys(e, p, term, "mismatchLabelKeys");
	check_merged_keys(e, p, term);
	if (!*topology)
		fe_required(e, FP(p, "topologyKey"), "can not be empty");
	check_format(e, FP(p, "topologyKey"), topology, fmt_qualified_name);
}

static void check_pod_affinity(struct field_errors *e, const struct fpath *p, const json_t *affinity)
{
	const struct fpath *required = FP(p, "requiredDuringSchedulingIgnoredDuringExecution");
	const struct fpath *preferred = FP(p, "preferredDuringSchedulingIgnoredDuringExecution");
	json_t *term;
	size_t i;

	json_array_foreach(get(affinity, required->name), i, term)
		check_pod_term(e, FP_INDEX(required, i), term);
	json_array_foreach(get(affinity, preferred->name), i, term) {
		check_weight(e, FP_INDEX(preferred, i), term);
		check_pod_term(e, FP(FP_INDEX(preferred, i), "podAffinityTerm"), get(term, "podAffinityTerm"));
	}
}

void check_affinity(struct field_errors *e, const struct fpath *p, const json_t *affinity)
{
	const json_t *node = get(affinity, "nodeAffinity");
	const struct fpath *at = FP(p, "nodeAffinity");
	const struct fpath *required = FP(at, "requiredDuringSchedulingIgnoredDuringExecution");
	const struct fpath *preferred = FP(at, "preferredDuringSchedulingIgnoredDuringExecution");
	json_t *term;
	size_t i;

	if (get(node, required->name))
		check_node_selector(e, required, get(node, required->name));
	json_array_foreach(get(node, preferred->name), i, term) {
		check_weight(e, FP_INDEX(preferred, i), term);
		check_node_term(e, FP(FP_INDEX(preferred, i), "preference"), get(term, "preference"), false);
	}
	if (get(affinity, "podAffinity"))
		check_pod_affinity(e, FP(p, "podAffinity"), get(affinity, "podAffinity"));
	if (get(affinity, "podAntiAffinity"))
		check_pod_affinity(e, FP(p, "podAntiAffinity"), get(affinity, "podAntiAffinity"));
}

static void check_spread(struct field_errors *e, const struct fpath *p, const json_t *s)
{
	static const char *const actions[] = { "DoNotSchedule", "ScheduleAnyway", NULL }, *const honor[] = { "Honor",
													     "Ignore",
													     NULL };
	static const char *const policies[] = { "nodeAffinityPolicy", "nodeTaintsPolicy" };
	const char *action = get_str(s, "whenUnsatisfiable");
	const json_t *min = get(s, "minDomains");

	if (get_int(s, "maxSkew") <= 0)
		fe_invalid_int(e, FP(p, "maxSkew"), get_int(s, "maxSkew"), "must be greater than zero");
	if (!*get_str(s, "topologyKey"))
		fe_required(e, FP(p, "topologyKey"), "can not be empty");
	else
		check_format(e, FP(p, "topologyKey"), get_str(s, "topologyKey"), fmt_qualified_name);
	if (!one_of(action, actions))
		fe_not_supported(e, FP(p, "whenUnsatisfiable"), action, actions);
	if (min && json_integer_value(min) <= 0)
		fe_invalid_json(e, FP(p, "minDomains"), min, "must be greater than zero");
	if (min && strcmp(action, "DoNotSchedule") != 0)
		fe_invalid_json(e, FP(p, "minDomains"), min,
				"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not %s", action);
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		if (*get_str(s, policies[i]) && !one_of(get_str(s, policies[i]), honor))
			fe_not_supported(e, FP(p, policies[i]), get_str(s, policies[i]), honor);
	check_match_keys(e, p, s, "matchLabelKeys");
	check_merged_keys(e, p, s);
	check_label_selector(e, FP(p, "labelSelector"), get(s, "labelSelector"));
}

void check_spread_constraints(struct field_errors *e, const struct fpath *p, const json_t *constraints)
{
	struct map *seen = map_new(NULL);
	json_t *s;
	size_t i;

	json_array_foreach(constraints, i, s) {
		_cleanup_free_ char *pair = str_printf("{%s, %s}", get_str(s, "topologyKey"),
						       get_str(s, "whenUnsatisfiable"));

		check_spread(e, FP_INDEX(p, i), s);
		if (map_has(seen, pair))
			fe_duplicate(e, FP(FP_INDEX(p, i), "{topologyKey, whenUnsatisfiable}"), pair);
		map_set(seen, pair, seen);
	}
	map_free(seen);
}
