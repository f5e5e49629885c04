// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading the encryption configuration. */
#include "kube/encryption.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "kube/json.h"

static const char *const provider_names[ENCRYPTION_PROVIDER_MAX] = { "identity", "aescbc", "aesgcm", "secretbox" };

const char *encryption_provider_name(enum encryption_provider p)
{
	return provider_names[p];
}

/* Where in the file something is wrong: "resources[0].providers[1]". */
struct place {
	char text[160];
	struct err *err;
};

static int bad(const struct place *at, const char *field, const char *fmt, ...) _printf_(3, 4);
static int bad(const struct place *at, const char *field, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	strbuf_vaddf(&b, fmt, ap);
	va_end(ap);
	return err_set(at->err, EINVAL, "%s%s%s: %s", at->text, *at->text && *field ? "." : "", field, b.data);
}

static int known_fields(const struct place *at, const json_t *v, const char *const *known)
{
	const char *key;
	json_t *item;

	if (!json_is_object(v))
		return bad(at, "", "is no object");
	json_object_foreach((json_t *)v, key, item) {
		bool found = false;

		for (size_t i = 0; known[i]; i++)
			found |= str_eq(known[i], key);
		if (!found)
			return bad(at, key, "unknown field");
	}
	return 0;
}

static int need_list(const struct place *at, const json_t *v, const char *field, const json_t **ret)
{
	*ret = json_object_get(v, field);
	if (*ret && !json_is_null(*ret) && !json_is_array(*ret))
		return bad(at, field, "is no list");
	return json_array_size(*ret) ? 0 : bad(at, field, "Required value: at least one %s is required", field);
}

static int read_secret(const struct place *at, const json_t *v, struct encryption_key *k)
{
	const char *text = json_string_value(v);
	bool aes = k->provider != ENCRYPTION_SECRETBOX;
	struct strbuf raw = { 0 };
	int r = 0;

	if (str_empty(text))
		return bad(at, "secret", "Required value: secret is a mandatory field for a key");
	if (base64_decode(&raw, text, strlen(text)) < 0)
		r = bad(at, "secret", "secrets must be base64 encoded");
	else if (raw.len != 32 && !(aes && (raw.len == 16 || raw.len == 24)))
		r = bad(at, "secret", "secret is not of the expected length, got %zu, expected one of %s", raw.len,
			aes ? "[16 24 32]" : "[32]");
	if (r == 0) {
		k->len = raw.len;
		memcpy(k->secret, raw.data, raw.len);
	}
	if (raw.data)
		OPENSSL_cleanse(raw.data, raw.cap);
	strbuf_done(&raw);
	return r;
}

/* Adds a key to the rule; on an error the rule is freed as it is. */
static int read_key(const struct place *at, const json_t *v, enum encryption_provider provider, size_t first,
		    struct encryption_rule *rule)
{
	static const char *const known[] = { "name", "secret", NULL };
	int r = known_fields(at, v, known);
	const char *name = json_string_value(json_object_get(v, "name"));

	if (r < 0)
		return r;
	if (str_empty(name))
		return bad(at, "name", "Required value: name is a mandatory field for a key");
	if (strlen(name) > ENCRYPTION_MAX_NAME)
		return bad(at, "name", "is longer than %d bytes", ENCRYPTION_MAX_NAME);
	for (size_t i = first; i < rule->count; i++)
		if (str_eq(rule->keys[i].name, name))
			return bad(at, "name", "Duplicate value: \"%s\"", name);
	struct encryption_key *k = &rule->keys[rule->count++];

	*k = (struct encryption_key){ .provider = provider, .name = mem_strdup(name) };
	return read_secret(at, json_object_get(v, "secret"), k);
}

static int add_room(const struct place *at, struct encryption_rule *rule, size_t more)
{
	struct encryption_key *keys;

	if (rule->count + more > ENCRYPTION_MAX_KEYS)
		return bad(at, "", "there are more than %d keys", ENCRYPTION_MAX_KEYS);
	keys = mem_new_n(struct encryption_key, rule->count + more);
	if (rule->count) {
		memcpy(keys, rule->keys, rule->count * sizeof(*keys));
		OPENSSL_cleanse(rule->keys, rule->count * sizeof(*keys));
	}
	free(rule->keys);
	rule->keys = keys;
	return 0;
}

static int read_keys(const struct place *at, const json_t *v, enum encryption_provider provider, struct encryption_rule *rule)
{
	static const char *const known[] = { "keys", NULL };
	const json_t *list;
	size_t i, first = rule->count;
	json_t *key;
	int r = known_fields(at, v, known);

	if (r == 0)
		r = need_list(at, v, "keys", &list);
	if (r == 0)
		r = add_room(at, rule, json_array_size(list));
	if (r < 0)
		return r;
	json_array_foreach(list, i, key) {
		struct place inner = { .err = at->err };

		snprintf(inner.text, sizeof(inner.text), "%.120s.keys[%zu]", at->text, i);
		r = read_key(&inner, key, provider, first, rule);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_provider(const struct place *at, const json_t *v, struct encryption_rule *rule)
{
	static const char *const known[] = { "identity", "aescbc", "aesgcm", "secretbox", "kms", NULL };
	static const char *const none[] = { NULL };
	struct place inner = { .err = at->err };
	const json_t *found = NULL, *item;
	enum encryption_provider provider = ENCRYPTION_IDENTITY;
	int r = known_fields(at, v, known);

	if (r < 0)
		return r;
	if (json_object_get(v, "kms"))
		return bad(at, "kms", "keelson speaks to no KMS plugin; use secretbox, aesgcm or aescbc");
	for (unsigned p = 0; p < ENCRYPTION_PROVIDER_MAX; p++) {
		item = json_object_get(v, provider_names[p]);
		if (!item || json_is_null(item))
			continue;
		if (found)
			return bad(at, "", "more than one provider specified in a single element, should split into different list elements");
		found = item;
		provider = p;
	}
	if (!found)
		return bad(at, "", "provider does not contain any of the expected providers: aesgcm, aescbc, secretbox, identity (identity: {})");
	snprintf(inner.text, sizeof(inner.text), "%.100s.%s", at->text, provider_names[provider]);
	if (provider != ENCRYPTION_IDENTITY)
		return read_keys(&inner, found, provider, rule);
	r = known_fields(&inner, found, none);
	if (r == 0)
		r = add_room(at, rule, 1);
	if (r == 0)
		rule->keys[rule->count++] = (struct encryption_key){ .provider = provider, .name = mem_strdup("") };
	return r;
}

/* "deployments.apps": the group behind the first dot, "" without one. */
static const char *group_of(const char *resource)
{
	const char *dot = strchr(resource, '.');

	return dot ? dot + 1 : "";
}

static bool is_any(const char *resource)
{
	return *resource == '*' && (resource[1] == '.' || !resource[1]);
}

static const char *wrong_name(const char *s)
{
	const char *group = group_of(s);

	for (const char *p = s; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			return "resource name should not contain capital letters";
	if (!*s || *s == '.')
		return "is no resource name";
	if (str_eq(s, "*"))
		return "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources";
	if (str_eq(s, "apiserveripinfo") || str_eq(s, "serviceipallocations") || str_eq(s, "servicenodeportallocations"))
		return "resources which do not have REST API/s cannot be encrypted";
	if (str_eq(group, "events.k8s.io"))
		return "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file";
	if (str_eq(group, "extensions"))
		return "'extensions' group has been removed and cannot be used for encryption";
	if (str_eq(group, "*") && !is_any(s))
		return "encrypting the same resource across groups is not supported";
	return NULL;
}

static int check_overlap(const struct place *at, const struct strlist *l)
{
	for (size_t i = 0; i < l->count; i++)
		for (size_t j = 0; j < l->count; j++) {
			const char *a = l->items[i], *b = l->items[j];

			if (i == j)
				continue;
			if (str_eq(a, b))
				return bad(at, "resources", "the same resource cannot be specified multiple times");
			if (str_eq(a, "*.*") || (str_eq(group_of(a), group_of(b)) && is_any(a)))
				return bad(at, "resources", "using overlapping resources such as 'secrets' and '*.' in the same "
					   "resource list is not allowed as they will be masked");
		}
	return 0;
}

static int read_resources(const struct place *at, const json_t *v, struct strlist *out)
{
	const json_t *list;
	size_t i;
	json_t *item;
	int r = need_list(at, v, "resources", &list);

	if (r < 0)
		return r;
	if (json_array_size(list) > ENCRYPTION_MAX_KEYS)
		return bad(at, "resources", "there are more than %d", ENCRYPTION_MAX_KEYS);
	json_array_foreach(list, i, item) {
		const char *name = json_string_value(item), *why = name ? wrong_name(name) : "is no string";

		if (why)
			return bad(at, "resources", "item %zu: %s%s%s%s", i, name ? "\"" : "", name ? name : "", name ? "\": " : "", why);
		strlist_add(out, name);
	}
	return check_overlap(at, out);
}

static int read_rule(const struct place *at, const json_t *v, struct encryption_rule *rule)
{
	static const char *const known[] = { "resources", "providers", NULL };
	const json_t *list;
	size_t i;
	json_t *item;
	int r = known_fields(at, v, known);

	if (r == 0)
		r = read_resources(at, v, &rule->resources);
	if (r == 0)
		r = need_list(at, v, "providers", &list);
	if (r < 0)
		return r;
	json_array_foreach(list, i, item) {
		struct place inner = { .err = at->err };

		snprintf(inner.text, sizeof(inner.text), "%.100s.providers[%zu]", at->text, i);
		r = read_provider(&inner, item, rule);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_config(const json_t *v, struct encryption_config *c, struct err *err)
{
	static const char *const known[] = { "apiVersion", "kind", "metadata", "resources", NULL };
	struct place at = { .err = err };
	const char *version = json_str_or(v, "apiVersion", ""), *kind = json_str_or(v, "kind", "");
	const json_t *list;
	size_t i;
	json_t *item;
	int r = json_is_object(v) ? 0 : bad(&at, "EncryptionConfiguration", "is no object");

	if (r == 0 && (!str_eq(version, "apiserver.config.k8s.io/v1") || !str_eq(kind, "EncryptionConfiguration")))
		r = bad(&at, "apiVersion, kind", "\"%s\" \"%s\" is not \"apiserver.config.k8s.io/v1\" \"EncryptionConfiguration\"",
			version, kind);
	if (r == 0)
		r = known_fields(&at, v, known);
	if (r == 0)
		r = need_list(&at, v, "resources", &list);
	if (r == 0 && json_array_size(list) > ENCRYPTION_MAX_KEYS)
		r = bad(&at, "resources", "there are more than %d", ENCRYPTION_MAX_KEYS);
	if (r < 0)
		return r;
	c->rules = mem_new_n(struct encryption_rule, json_array_size(list));
	json_array_foreach(list, i, item) {
		snprintf(at.text, sizeof(at.text), "resources[%zu]", i);
		c->count++;
		r = read_rule(&at, item, &c->rules[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

struct encryption_config *encryption_config_parse(const char *text, size_t len, struct err *err)
{
	_cleanup_json_ json_t *v = NULL;
	struct strlist twice = { 0 };
	struct encryption_config *c;
	size_t blanks = 0;
	uint8_t digest[SHA256_DIGEST_LENGTH];
	_cleanup_strbuf_ struct strbuf hex = { 0 };

	while (blanks < len && strchr(" \t\r\n", text[blanks]) && text[blanks])
		blanks++;
	if (blanks < len && text[blanks] == '{')
		v = json_parse_peer(text, len, &twice, err);
	else
		v = yaml_parse_peer(text, len, err);
	if (v && twice.count) {
		err_set(err, EINVAL, "%s: duplicate field", twice.items[0]);
		json_decref(TAKE(v));
	}
	strlist_done(&twice);
	if (!v)
		return NULL;
	c = mem_new(struct encryption_config);
	SHA256((const uint8_t *)text, len, digest);
	hex_encode(&hex, digest, sizeof(digest));
	snprintf(c->hash, sizeof(c->hash), "sha256:%s", hex.data);
	return read_config(v, c, err) < 0 ? encryption_config_free(c) : c;
}

struct encryption_config *encryption_config_load(const char *file, struct err *err)
{
	struct strbuf text = { 0 };
	struct encryption_config *c = NULL;
	int r = file_read(file, ENCRYPTION_MAX_BYTES, &text);

	if (r < 0)
		err_set(err, -r, "read %s: %s", file, strerror(-r));
	else if (!text.len)
		err_set(err, EINVAL, "%s is empty", file);
	else if (!(c = encryption_config_parse(text.data, text.len, err)))
		err_wrap(err, "%s", file);
	if (text.data)
		OPENSSL_cleanse(text.data, text.cap);
	strbuf_done(&text);
	return c;
}

struct encryption_config *encryption_config_free(struct encryption_config *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < c->count; i++) {
		struct encryption_rule *rule = &c->rules[i];

		for (size_t j = 0; j < rule->count; j++)
			free(rule->keys[j].name);
		if (rule->keys)
			OPENSSL_cleanse(rule->keys, rule->count * sizeof(*rule->keys));
		free(rule->keys);
		strlist_done(&rule->resources);
	}
	free(c->rules);
	free(c);
	return NULL;
}

static bool resource_fits(const char *pattern, const char *group, const char *plural)
{
	size_t len = strcspn(pattern, ".");

	if (str_eq(pattern, "*.*"))
		return true;
	if (!str_eq(group_of(pattern), group))
		return false;
	return is_any(pattern) || (strlen(plural) == len && strncmp(pattern, plural, len) == 0);
}

const struct encryption_rule *encryption_rule_find(const struct encryption_config *c, const char *group, const char *plural)
{
	for (size_t i = 0; c && i < c->count; i++)
		for (size_t j = 0; j < c->rules[i].resources.count; j++)
			if (resource_fits(c->rules[i].resources.items[j], group, plural))
				return &c->rules[i];
	return NULL;
}

bool encryption_key_eq(const struct encryption_key *a, const struct encryption_key *b)
{
	return a->provider == b->provider && a->len == b->len && str_eq(a->name, b->name) &&
	       CRYPTO_memcmp(a->secret, b->secret, a->len) == 0;
}

char *encryption_key_prefix(const struct encryption_key *k)
{
	if (k->provider == ENCRYPTION_IDENTITY)
		return mem_strdup("");
	return str_printf(ENCRYPTION_PREFIX "%s:v1:%s:", provider_names[k->provider], k->name);
}
