/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ConfigMaps, Secrets, Namespaces and Nodes. */
#include "apiserver/validate/validate_internal.h"

#include "kube/quantity.h"

enum { CONFIG_MAX_BYTES = 1024 * 1024 };

/* The bytes that base64 text stands for. */
static size_t decoded_len(const json_t *v)
{
	size_t len = json_string_length(v);
	const char *s = json_string_value(v);

	while (len && s[len - 1] == '=')
		len--;
	return len * 3 / 4;
}

static void check_frozen(const struct validation *v, const char *const *keys)
{
	static const char text[] = "field is immutable when `immutable` is set";

	if (!v->old || !get_bool(v->old, "immutable"))
		return;
	if (!get_bool(v->object, "immutable"))
		fe_forbidden(v->e, FP(NULL, "immutable"), "%s", text);
	for (; *keys; keys++)
		if (!same_semantic(get(v->object, *keys), get(v->old, *keys)))
			fe_forbidden(v->e, FP(NULL, *keys), "%s", text);
}

void validate_config_map(const struct validation *v)
{
	const json_t *data = get(v->object, "data"), *binary = get(v->object, "binaryData");
	size_t total = 0;
	const char *key;
	json_t *value;

	check_frozen(v, WORDS("data", "binaryData"));
	json_object_foreach((json_t *)data, key, value) {
		check_format(v->e, FP_KEY(FP(NULL, "data"), key), key, fmt_config_key);
		if (json_object_get(binary, key))
			fe_invalid(v->e, FP_KEY(FP(NULL, "data"), key), key, "duplicate of key present in binaryData");
		total += json_string_length(value);
	}
	json_object_foreach((json_t *)binary, key, value) {
		check_format(v->e, FP_KEY(FP(NULL, "binaryData"), key), key, fmt_config_key);
		total += decoded_len(value);
	}
	if (total > CONFIG_MAX_BYTES)
		fe_too_long(v->e, NULL, CONFIG_MAX_BYTES);
}

static void check_docker_config(const struct validation *v, const char *key)
{
	const json_t *value = json_object_get(get(v->object, "data"), key);
	const struct fpath *p = FP_KEY(FP(NULL, "data"), key);
	_cleanup_strbuf_ struct strbuf text = {0};
	_cleanup_json_ json_t *parsed = NULL;
	_cleanup_err_ struct err err = {0};

	if (!value) {
		fe_required(v->e, p, NULL);
		return;
	}
	base64_decode(&text, json_string_value(value), json_string_length(value));
	parsed = json_parse(text.data ? text.data : "", text.len, NULL, &err);
	if (!parsed) {
		/* Go's decoder does not say where. */
		const char *message = err_msg(&err), *where = strstr(message, ", line ");

		fe_invalid(v->e, p, "<secret contents redacted>", "%.*s",
			   where ? (int)(where - message) : (int)strlen(message), message);
		return;
	}
	if (!json_is_object(parsed) && !json_is_null(parsed))
		fe_invalid(v->e, p, "<secret contents redacted>",
			   "json: cannot unmarshal value into Go value of type map[string]interface {}");
}

static void check_secret_type(const struct validation *v, const char *type)
{
	static const char account[] = "kubernetes.io/service-account.name";
	const struct fpath *data_path = FP(NULL, "data");
	const json_t *data = get(v->object, "data");

	if (strcmp(type, "kubernetes.io/service-account-token") == 0) {
		if (!*get_str(json_at(v->object, "metadata.annotations"), account))
			fe_required(v->e, FP_KEY(FP(FP(NULL, "metadata"), "annotations"), account), NULL);
	} else if (strcmp(type, "kubernetes.io/dockercfg") == 0) {
		check_docker_config(v, ".dockercfg");
	} else if (strcmp(type, "kubernetes.io/dockerconfigjson") == 0) {
		check_docker_config(v, ".dockerconfigjson");
	} else if (strcmp(type, "kubernetes.io/basic-auth") == 0) {
		if (!json_object_get(data, "username") && !json_object_get(data, "password")) {
			fe_required(v->e, FP_KEY(data_path, "username"), NULL);
			fe_required(v->e, FP_KEY(data_path, "password"), NULL);
		}
	} else if (strcmp(type, "kubernetes.io/ssh-auth") == 0) {
		if (!*get_str(data, "ssh-privatekey"))
			fe_required(v->e, FP_KEY(data_path, "ssh-privatekey"), NULL);
	} else if (strcmp(type, "kubernetes.io/tls") == 0) {
		if (!json_object_get(data, "tls.crt"))
			fe_required(v->e, FP_KEY(data_path, "tls.crt"), NULL);
		if (!json_object_get(data, "tls.key"))
			fe_required(v->e, FP_KEY(data_path, "tls.key"), NULL);
	}
}

void validate_secret(const struct validation *v)
{
	size_t total = 0;
	const char *key;
	json_t *value;

	if (v->old)
		check_immutable(v->e, FP(NULL, "type"), get(v->object, "type"), get(v->old, "type"));
	check_frozen(v, WORDS("data"));
	json_object_foreach(get(v->object, "data"), key, value) {
		check_format(v->e, FP_KEY(FP(NULL, "data"), key), key, fmt_config_key);
		total += decoded_len(value);
	}
	if (total > CONFIG_MAX_BYTES)
		fe_too_long(v->e, FP(NULL, "data"), CONFIG_MAX_BYTES);
	check_secret_type(v, get_str(v->object, "type"));
}

void validate_namespace(const struct validation *v)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_at(v->object, "spec.finalizers"), i, item) {
		const char *name = json_string_value(item);
		const struct fpath *p = FP_INDEX(FP(FP(NULL, "spec"), "finalizers"), i);

		check_format(v->e, p, name, fmt_qualified_name);
		if (!strchr(name, '/') && !one_of(name, WORDS("kubernetes", "orphan", "foregroundDeletion")))
			fe_invalid(v->e, p, name,
				   "name is neither a standard finalizer name nor is it fully qualified");
	}
}

void validate_namespace_status(const struct validation *v)
{
	const char *phase = json_str_or(v->object, "status.phase", "");
	const struct fpath *p = FP(FP(NULL, "status"), "Phase");
	bool deleting = json_at(v->object, "metadata.deletionTimestamp") != NULL;

	if (!deleting && strcmp(phase, "Active") != 0)
		fe_invalid(v->e, p, phase, "may only be 'Active' if `deletionTimestamp` is empty");
	else if (deleting && strcmp(phase, "Terminating") != 0)
		fe_invalid(v->e, p, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
}

static void check_taints(struct field_errors *e, const json_t *taints)
{
	static const char *const effects[] = { "NoSchedule", "PreferNoSchedule", "NoExecute", NULL };
	const struct fpath *p = FP(FP(NULL, "metadata"), "taints");
	struct map *seen = map_new(NULL);
	json_t *taint;
	size_t i;

	json_array_foreach(taints, i, taint) {
		const char *key = get_str(taint, "key"), *effect = get_str(taint, "effect");
		_cleanup_free_ char *id = str_printf("%s:%s", key, effect);
		_cleanup_strlist_ struct strlist msgs = {0};
		_cleanup_strbuf_ struct strbuf joined = {0};
		const struct fpath *at = FP_INDEX(p, i);

		check_format(e, FP(at, "key"), key, fmt_qualified_name);
		fmt_label_value(get_str(taint, "value"), &msgs);
		for (size_t m = 0; m < msgs.count; m++)
			strbuf_addf(&joined, "%s%s", m ? ";" : "", msgs.items[m]);
		if (msgs.count)
			fe_invalid(e, FP(at, "value"), get_str(taint, "value"), "%s", joined.data);
		check_enum(e, FP(at, "effect"), effect, effects);
		if (map_has(seen, id)) {
			_cleanup_strbuf_ struct strbuf value = {0};

			go_json(&value, taint);
			fe_duplicate_text(e, at, value.data, "taints must be unique by key and effect pair");
		}
		map_set(seen, id, seen);
	}
	map_free(seen);
}

static void check_capacity(struct field_errors *e, const json_t *status, const char *list)
{
	const char *name;
	json_t *value;

	json_object_foreach(get(status, list), name, value) {
		const char *text = json_string_value(value);
		struct quantity q;

		if (text && quantity_parse(text, &q) == 0 && q.nano < 0) {
			_cleanup_free_ char *field = str_printf("%s.%s", list, name);

			fe_invalid(e, FP(FP(NULL, "status"), field), text, "must be greater than or equal to 0");
		}
	}
}

void validate_node(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec"), *old = get(v->old, "spec"), *cidrs = get(spec, "podCIDRs");
	const struct fpath *p = FP(NULL, "spec");
	unsigned count[7] = {0};
	json_t *item;
	size_t i;

	check_taints(v->e, get(spec, "taints"));
	check_capacity(v->e, get(v->object, "status"), "capacity");
	check_capacity(v->e, get(v->object, "status"), "allocatable");
	json_array_foreach(cidrs, i, item) {
		check_format(v->e, FP_INDEX(FP(p, "podCIDRs"), i), json_string_value(item), fmt_cidr);
		count[ip_family(json_string_value(item))]++;
	}
	if (count[4] > 1 || count[6] > 1 || json_array_size(cidrs) > 2)
		fe_invalid_json(v->e, FP(p, "podCIDRs"), cidrs, "may specify no more than one CIDR for each IP family");
	if (!v->old)
		return;
	if (json_array_size(get(old, "podCIDRs")) && !json_equal(cidrs, get(old, "podCIDRs")))
		fe_forbidden(v->e, FP(p, "podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
	if (*get_str(old, "providerID") && strcmp(get_str(old, "providerID"), get_str(spec, "providerID")) != 0)
		fe_forbidden(v->e, FP(p, "providerID"),
			     "node updates may not change providerID except from \"\" to valid");
	if (strcmp(get_str(old, "externalID"), get_str(spec, "externalID")) != 0)
		fe_forbidden(v->e, FP(p, "externalID"), "may not be updated");
}

void validate_node_status(const struct validation *v)
{
	struct map *seen = map_new(NULL);
	json_t *item;
	size_t i;

	check_capacity(v->e, get(v->object, "status"), "capacity");
	check_capacity(v->e, get(v->object, "status"), "allocatable");
	json_array_foreach(json_at(v->object, "status.addresses"), i, item) {
		_cleanup_strbuf_ struct strbuf value = {0};

		go_json(&value, item);
		if (map_has(seen, value.data))
			fe_duplicate_text(v->e, FP_INDEX(FP(FP(NULL, "status"), "addresses"), i), value.data, NULL);
		map_set(seen, value.data, seen);
	}
	map_free(seen);
}
