/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ConfigMaps and Secrets. */
#include "apiserver/validate/validate_internal.h"

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
