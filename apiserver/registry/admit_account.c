// SPDX-License-Identifier: GPL-2.0-or-later
/* The admission plugin ServiceAccount: who a pod is, the volume its token comes in, and which secrets it may name. */
#include <string.h>

#include "apiserver/auth/node_authz.h"
#include "apiserver/registry/admit.h"
#include "kube/object.h"

#define TOKEN_MOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define VOLUME_PREFIX "kube-api-access-"
#define MIRROR "kubernetes.io/config.mirror"
#define ENFORCE "kubernetes.io/enforce-mountable-secrets"
enum { TOKEN_SECONDS = 3607, MAX_VOLUME_NAME = 63 };

static const char *const lists[] = { "initContainers", "containers" };

static bool has_token_mount(const json_t *container)
{
	size_t i;
	json_t *m;
	json_array_foreach(json_object_get(container, "volumeMounts"), i, m)
		if (str_eq(json_str(m, "mountPath"), TOKEN_MOUNT))
			return true;
	return false;
}

static json_t *array_of(json_t *o, const char *field)
{
	json_t *a = json_object_get(o, field);
	if (!json_is_array(a)) {
		a = json_array();
		json_object_set_new(o, field, a);
	}
	return a;
}

/* Mounts the volume where the token is expected. True when a container took it. */
static bool mount_token(json_t *spec, const char *volume)
{
	bool used = false;
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		size_t i;
		json_t *c;
		json_array_foreach(json_object_get(spec, lists[l]), i, c) {
			if (has_token_mount(c))
				continue;
			json_array_append_new(array_of(c, "volumeMounts"),
					      json_pack("{s:s,s:b,s:s}", "name", volume, "readOnly", 1, "mountPath", TOKEN_MOUNT));
			used = true;
		}
	}
	return used;
}

static json_t *token_volume(const char *name)
{
	return json_pack("{s:s,s:{s:i,s:[{s:{s:i,s:s}},{s:{s:s,s:[{s:s,s:s}]}},{s:{s:[{s:s,s:{s:s,s:s}}]}}]}}", "name", name,
			 "projected", "defaultMode", 420, "sources", "serviceAccountToken", "expirationSeconds", TOKEN_SECONDS, "path",
			 "token", "configMap", "name", "kube-root-ca.crt", "items", "key", "ca.crt", "path", "ca.crt", "downwardAPI",
			 "items", "path", "namespace", "fieldRef", "apiVersion", "v1", "fieldPath", "metadata.namespace");
}

static bool automounts(const json_t *account, const json_t *spec)
{
	json_t *own = json_object_get(spec, "automountServiceAccountToken");
	if (own)
		return json_is_true(own);
	own = json_object_get(account, "automountServiceAccountToken");
	return !own || json_is_true(own);
}

/* A pod that was copied from another brings its volume along. */
static void add_token(json_t *spec)
{
	char fresh[sizeof(VOLUME_PREFIX) + 5] = VOLUME_PREFIX;
	const char *present = NULL;
	size_t i;
	json_t *v;
	json_array_foreach(json_object_get(spec, "volumes"), i, v)
		if (str_starts(json_str_or(v, "name", ""), VOLUME_PREFIX))
			present = json_str(v, "name");
	rand_suffix(fresh + strlen(fresh), 5);
	if (mount_token(spec, present ? present : fresh) && !present)
		json_array_append_new(array_of(spec, "volumes"), token_volume(fresh));
}

/* *ret: own. */
static json_t *find_account(struct admission *a, const char *name, json_t **ret)
{
	_cleanup_free_ char *key = entry_key(a->g->serviceaccounts, a->ns, name);
	struct store_object *o = store_latest(a->g->store, a->g->serviceaccounts->id, key);
	if (!o)
		return admit_forbidden(a, "error looking up service account %s: serviceaccount \"%s\" not found", key, name);
	*ret = entry_parse_shared(o);
	return NULL;
}

static bool is_mirror(const json_t *pod)
{
	return json_object_get(object_annotations(pod), MIRROR) != NULL;
}

json_t *admit_service_account(struct admission *a)
{
	json_t *spec = json_object_get(a->object, "spec"), *status;
	_cleanup_json_ json_t *account = NULL;
	const char *name = json_str_or(spec, "serviceAccountName", "");
	/* Nodes show their own pods as mirrors: changing one would make the node start it anew. Validation says that a spec lacks. */
	if (!admit_is(a, a->g->pods) || !json_is_object(spec) || is_mirror(a->object))
		return NULL;
	_cleanup_free_ char *own = mem_strdup(*name ? name : "default");
	json_object_set_new(spec, "serviceAccountName", json_string(own));
	json_object_set_new(spec, "serviceAccount", json_string(own));
	status = find_account(a, own, &account);
	if (status)
		return status;
	if (automounts(account, spec))
		add_token(spec);
	if (!json_array_size(json_object_get(spec, "imagePullSecrets")) && json_array_size(json_object_get(account, "imagePullSecrets")))
		json_object_set_new(spec, "imagePullSecrets", json_deep_copy(json_object_get(account, "imagePullSecrets")));
	return NULL;
}

static json_t *check_mirror(struct admission *a, const json_t *spec)
{
	json_t *v, *s;
	size_t i, k;
	if (!str_empty(json_str(spec, "serviceAccountName")))
		return admit_forbidden(a, "a mirror pod may not reference service accounts");
	if (node_pod_uses(a->object, true, NULL))
		return admit_forbidden(a, "a mirror pod may not reference secrets");
	json_array_foreach(json_object_get(spec, "volumes"), i, v)
		json_array_foreach(json_at(v, "projected.sources"), k, s)
			if (json_object_get(s, "serviceAccountToken"))
				return admit_forbidden(a, "a mirror pod may not use ServiceAccountToken volume projections");
	return NULL;
}

/* ---- mountable secrets */

static bool lists_name(const json_t *list, const char *name)
{
	size_t i;
	json_t *v;
	json_array_foreach((json_t *)list, i, v)
		if (str_eq(json_str(v, "name"), name))
			return true;
	return false;
}

static bool enforces(const json_t *account)
{
	const char *text = json_string_value(json_object_get(object_annotations(account), ENFORCE));
	static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" };
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (str_eq(text, yes[i]))
			return true;
	return false;
}

static json_t *check_environment(struct admission *a, const json_t *account, const json_t *container, const char *what)
{
	const json_t *allowed = json_object_get(account, "secrets");
	json_t *e;
	size_t i;
	json_array_foreach(json_object_get(container, "env"), i, e) {
		const char *name = json_str(e, "valueFrom.secretKeyRef.name");
		if (name && !lists_name(allowed, name))
			return admit_forbidden(a, "%s %s with envVar %s referencing secret.secretName=\"%s\" is not allowed because service "
					       "account %s does not reference that secret", what, json_str_or(container, "name", ""),
					       json_str_or(e, "name", ""), name, object_name(account));
	}
	json_array_foreach(json_object_get(container, "envFrom"), i, e) {
		const char *name = json_str(e, "secretRef.name");
		if (name && !lists_name(allowed, name))
			return admit_forbidden(a, "%s %s with envFrom referencing secret.secretName=\"%s\" is not allowed because service "
					       "account %s does not reference that secret", what, json_str_or(container, "name", ""), name,
					       object_name(account));
	}
	return NULL;
}

static json_t *check_list(struct admission *a, const json_t *account, const char *list, const char *what)
{
	json_t *status = NULL, *c;
	size_t i;
	json_array_foreach(json_object_get(json_object_get(a->object, "spec"), list), i, c)
		if (!status)
			status = check_environment(a, account, c, what);
	return status;
}

static json_t *check_secrets(struct admission *a, const json_t *spec, const json_t *account)
{
	json_t *status, *v;
	size_t i;
	json_array_foreach(json_object_get(spec, "volumes"), i, v) {
		const char *name = json_str(v, "secret.secretName");
		if (name && !lists_name(json_object_get(account, "secrets"), name))
			return admit_forbidden(a, "volume with secret.secretName=\"%s\" is not allowed because service account %s does not "
					       "reference that secret", name, object_name(account));
	}
	status = check_list(a, account, "initContainers", "init container");
	if (!status)
		status = check_list(a, account, "containers", "container");
	if (status)
		return status;
	json_array_foreach(json_object_get(spec, "imagePullSecrets"), i, v)
		if (!lists_name(json_object_get(account, "imagePullSecrets"), json_str_or(v, "name", "")))
			return admit_forbidden(a, "imagePullSecrets[%zu].name=\"%s\" is not allowed because service account %s does not "
					       "reference that imagePullSecret", i, json_str_or(v, "name", ""), object_name(account));
	return NULL;
}

json_t *admit_service_account_check(struct admission *a)
{
	const json_t *spec = json_object_get(a->object, "spec");
	_cleanup_json_ json_t *account = NULL;
	bool ephemeral = a->op == ADMIT_UPDATE && str_eq(a->sub, "ephemeralcontainers");
	json_t *status;
	if (a->storage != a->g->pods || !(ephemeral || (a->op == ADMIT_CREATE && !*a->sub)))
		return NULL;
	if (!ephemeral && is_mirror(a->object))
		return check_mirror(a, spec);
	status = find_account(a, json_str_or(spec, "serviceAccountName", ""), &account);
	if (status || !enforces(account))
		return status;
	return ephemeral ? check_list(a, account, "ephemeralContainers", "ephemeral container") : check_secrets(a, spec, account);
}
