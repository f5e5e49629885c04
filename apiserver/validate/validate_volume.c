/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes of a pod, mounts and block devices of its containers, and the spec of a claim. */
#include "apiserver/validate/validate_pod.h"
#include "apiserver/validate/validate_volume.h"

#include "kube/quantity.h"

void check_local_path(struct field_errors *e, const struct fpath *p, const char *path, bool within)
{
	_cleanup_strlist_ struct strlist parts = {0};

	if (*path == '/') {
		fe_invalid(e, p, path, "must be a relative path");
		return;
	}
	strlist_split(&parts, path, '/');
	if (strlist_has(&parts, ".."))
		fe_invalid(e, p, path, "must not contain '..'");
	else if (within && str_starts(path, ".."))
		fe_invalid(e, p, path, "must not start with '..'");
}

static void check_mode(struct field_errors *e, const struct fpath *p, const json_t *mode)
{
	if (mode && (json_integer_value(mode) < 0 || json_integer_value(mode) > 0777))
		fe_invalid_json(e, p, mode, "must be a number between 0 and 0777 (octal), both inclusive");
}

static void check_items(struct field_errors *e, const struct fpath *p, const json_t *items)
{
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item) {
		const struct fpath *at = FP_INDEX(p, i);

		if (!*get_str(item, "key"))
			fe_required(e, FP(at, "key"), NULL);
		if (!*get_str(item, "path"))
			fe_required(e, FP(at, "path"), NULL);
		check_local_path(e, FP(at, "path"), get_str(item, "path"), true);
		check_mode(e, FP(at, "mode"), get(item, "mode"));
	}
}

static void check_downward(struct field_errors *e, const struct fpath *p, const json_t *items)
{
	static const char *const fields[] = { "metadata.annotations", "metadata.labels", "metadata.name",
					      "metadata.namespace",   "metadata.uid",    NULL };
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item) {
		const json_t *field = get(item, "fieldRef"), *resource = get(item, "resourceFieldRef");

		if (!*get_str(item, "path"))
			fe_required(e, FP(p, "path"), NULL);
		check_local_path(e, FP(p, "path"), get_str(item, "path"), true);
		if (field) {
			check_field_ref(e, FP(p, "fieldRef"), field, fields);
			if (resource)
				fe_invalid(e, p, "resource",
					   "fieldRef and resourceFieldRef can not be specified simultaneously");
		} else if (resource) {
			check_resource_field_ref(e, FP(p, "resourceFieldRef"), resource, true);
		} else {
			fe_required(e, p, "one of fieldRef and resourceFieldRef is required");
		}
		check_mode(e, FP(p, "mode"), get(item, "mode"));
	}
}

static void source_empty_dir(struct pod_check *c, const struct fpath *p, const json_t *source)
{
	struct quantity q;

	if (*get_str(source, "sizeLimit") && quantity_parse(get_str(source, "sizeLimit"), &q) == 0 && q.nano < 0)
		fe_forbidden(c->e, FP(p, "sizeLimit"), "SizeLimit field must be a valid resource quantity");
}

static void source_secret(struct pod_check *c, const struct fpath *p, const json_t *source)
{
	if (!*get_str(source, "secretName"))
		fe_required(c->e, FP(p, "secretName"), NULL);
	check_mode(c->e, FP(p, "defaultMode"), get(source, "defaultMode"));
	check_items(c->e, FP(p, "items"), get(source, "items"));
}

static void source_config_map(struct pod_check *c, const struct fpath *p, const json_t *source)
{
	if (!*get_str(source, "name"))
		fe_required(c->e, FP(p, "name"), NULL);
	check_mode(c->e, FP(p, "defaultMode"), get(source, "defaultMode"));
	check_items(c->e, FP(p, "items"), get(source, "items"));
}

static void source_downward(struct pod_check *c, const struct fpath *p, const json_t *source)
{
	check_mode(c->e, FP(p, "defaultMode"), get(source, "defaultMode"));
	check_downward(c->e, p, get(source, "items"));
}

static void source_claim(struct pod_check *c, const struct fpath *p, const json_t *source)
{
	if (!*get_str(source, "claimName"))
		fe_required(c->e, FP(p, "claimName"), NULL);
}

static void source_csi(struct pod_check *c, const struct fpath *p, const json_t *source)
{
	const json_t *secret = get(source, "nodePublishSecretRef");

	check_csi_driver_name(c->e, FP(p, "driver"), get_str(source, "driver"));
	if (secret && !*get_str(secret, "name"))
		fe_required(c->e, FP(FP(p, "nodePublishSecretRef"), "name"), NULL);
	else if (secret)
		check_format(c->e, FP(p, "name"), get_str(secret, "name"), fmt_dns_subdomain);
}

static void source_host_path(struct pod_check *c, const struct fpath *p, const json_t *source)
{
	check_host_path(c->e, p, source);
}

static void source_git_repo(struct pod_check *c, const struct fpath *p, const json_t *source)
{
	if (!*get_str(source, "repository"))
		fe_required(c->e, FP(p, "repository"), NULL);
	if (*get_str(source, "directory"))
		check_local_path(c->e, FP(p, "directory"), get_str(source, "directory"), true);
}

static void source_image(struct pod_check *c, const struct fpath *p, const json_t *source)
{
	const char *policy = get_str(source, "pullPolicy");

	if (!c->template && !*get_str(source, "reference"))
		fe_required(c->e, FP(p, "reference"), NULL);
	if (*policy && !one_of(policy, WORDS("Always", "IfNotPresent", "Never")))
		fe_not_supported(c->e, FP(p, "pullPolicy"), policy, WORDS("Always", "IfNotPresent", "Never"));
}

static void source_ephemeral(struct pod_check *c, const struct fpath *p, const json_t *source)
{
	const json_t *template = get(source, "volumeClaimTemplate");
	const struct fpath *at = FP(p, "volumeClaimTemplate");
	const char *key;
	json_t *v;

	if (!template) {
		fe_required(c->e, at, NULL);
		return;
	}
	json_object_foreach(get(template, "metadata"), key, v) {
		if (!one_of(key, WORDS("labels", "annotations", "creationTimestamp")))
			fe_forbidden(c->e, FP(FP(at, "metadata"), key), "cannot be set");
	}
	check_labels(c->e, FP(FP(at, "metadata"), "labels"), get(get(template, "metadata"), "labels"));
	check_annotations(c->e, FP(FP(at, "metadata"), "annotations"), get(get(template, "metadata"), "annotations"));
	check_pvc_spec(c->e, FP(at, "spec"), get(template, "spec"));
}

static void source_token(struct pod_check *c, const struct fpath *projected, const struct fpath *p, const json_t *token)
{
	const json_t *seconds = get(token, "expirationSeconds");

	if (seconds && json_integer_value(seconds) < 600)
		fe_invalid_json(c->e, FP(p, "expirationSeconds"), seconds,
				"may not specify a duration less than 10 minutes");
	else if (seconds && json_integer_value(seconds) > (1LL << 32))
		fe_invalid_json(c->e, FP(p, "expirationSeconds"), seconds,
				"may not specify a duration larger than 2^32 seconds");
	if (!*get_str(token, "path"))
		fe_required(c->e, FP(projected, "path"), NULL);
	else
		check_local_path(c->e, FP(projected, "path"), get_str(token, "path"), true);
}

static void note_path(struct pod_check *c, const struct fpath *p, struct map *paths, const char *path,
		      const char *value)
{
	if (*path && map_has(paths, path))
		fe_invalid(c->e, p, value, "conflicting duplicate paths");
	else if (*path)
		map_set(paths, path, paths);
}

static void check_projection(struct pod_check *c, const struct fpath *projected, const struct fpath *p,
			     const json_t *source, struct map *paths)
{
	static const char *const kinds[] = { "secret", "configMap", "downwardAPI", "serviceAccountToken" };
	json_t *item;
	size_t n = 0, i;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		const json_t *value = get(source, kinds[k]);
		const char *key = kinds[k];
		const struct fpath *at = FP(p, key);

		if (!value)
			continue;
		if (n++) {
			fe_forbidden(c->e, at, "may not specify more than 1 volume type per source");
			continue;
		}
		if (one_of(key, WORDS("secret", "configMap"))) {
			if (!*get_str(value, "name"))
				fe_required(c->e, FP(at, "name"), NULL);
			check_items(c->e, FP(at, "items"), get(value, "items"));
			json_array_foreach(get(value, "items"), i, item)
				note_path(c, projected, paths, get_str(item, "path"), get_str(value, "name"));
		} else if (strcmp(key, "downwardAPI") == 0) {
			check_downward(c->e, at, get(value, "items"));
			json_array_foreach(get(value, "items"), i, item)
				note_path(c, projected, paths, get_str(item, "path"), get_str(item, "path"));
		} else if (strcmp(key, "serviceAccountToken") == 0) {
			source_token(c, projected, at, value);
			note_path(c, projected, paths, get_str(value, "path"), get_str(value, "path"));
		}
	}
}

static void source_projected(struct pod_check *c, const struct fpath *p, const json_t *source)
{
	struct map *paths = map_new(NULL);
	json_t *s;
	size_t i;

	check_mode(c->e, FP(p, "defaultMode"), get(source, "defaultMode"));
	json_array_foreach(get(source, "sources"), i, s)
		check_projection(c, p, FP_INDEX(FP(p, "sources"), i), s, paths);
	map_free(paths);
}

static const struct {
	const char *kind;
	void (*check)(struct pod_check *c, const struct fpath *p, const json_t *source);
} sources[] = {
	{ "emptyDir", source_empty_dir },
	{ "hostPath", source_host_path },
	{ "secret", source_secret },
	{ "configMap", source_config_map },
	{ "downwardAPI", source_downward },
	{ "projected", source_projected },
	{ "persistentVolumeClaim", source_claim },
	{ "csi", source_csi },
	{ "image", source_image },
	{ "ephemeral", source_ephemeral },
	{ "gitRepo", source_git_repo },
};

/* The second source and those behind it are only counted. */
static bool first_source(struct field_errors *e, const struct fpath *p, const char *name, size_t *n)
{
	if ((*n)++)
		fe_forbidden(e, FP(p, name), "may not specify more than 1 volume type");
	return *n == 1;
}

static void check_source(struct pod_check *c, const struct fpath *p, const json_t *volume)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		const json_t *source = get(volume, sources[i].kind);

		if (source && first_source(c->e, p, sources[i].kind, &n))
			sources[i].check(c, FP(p, sources[i].kind), source);
	}
	for (size_t i = 0; i < volume_source_count; i++) {
		const struct volume_source *s = &volume_sources[i];
		const json_t *source = get(volume, s->kind);

		if (source && first_source(c->e, p, s->path ? s->path : s->kind, &n))
			check_volume_source(c->e, p, s, source);
	}
	if (n == 0)
		fe_required(c->e, p, "must specify a volume type");
}

/* The claim of an ephemeral volume is named after the pod, which a template does not know yet. */
static void check_claim_name(struct pod_check *c, const struct fpath *p, const char *volume)
{
	const char *pod = get_str(c->meta, "name");
	_cleanup_free_ char *claim = str_printf("%s-%s", pod, volume);
	_cleanup_strlist_ struct strlist msgs = {0};

	if (!*pod)
		return;
	fmt_dns_subdomain(claim, &msgs);
	for (size_t i = 0; i < msgs.count; i++)
		fe_invalid(c->e, p, volume, "PVC name \"%s\": %s", claim, msgs.items[i]);
}

/* No volume may use a claim that another one of the pod makes. */
static void check_own_claims(struct pod_check *c, const struct fpath *p, const json_t *volumes)
{
	const char *pod = get_str(c->meta, "name");
	struct map *made = map_new(NULL);
	json_t *v;
	size_t i;

	json_array_foreach(*pod ? volumes : NULL, i, v) {
		_cleanup_free_ char *claim = str_printf("%s-%s", pod, get_str(v, "name"));

		if (get(v, "ephemeral"))
			map_set(made, claim, v);
	}
	json_array_foreach(map_count(made) ? volumes : NULL, i, v) {
		const char *claim = json_str_or(v, "persistentVolumeClaim.claimName", "");

		if (*claim && map_has(made, claim))
			fe_invalid(c->e, FP(FP(FP_INDEX(p, i), "persistentVolumeClaim"), "claimName"), claim,
				   "must not reference a PVC that gets created for an ephemeral volume");
	}
	map_free(made);
}

void check_volumes(struct pod_check *c, const struct fpath *p)
{
	struct map *names = map_new(NULL);
	json_t *v;
	size_t i;

	json_array_foreach(c->claim_templates, i, v)
		map_set(c->volumes, get_str(get(v, "metadata"), "name"), v);
	json_array_foreach(get(c->spec, "volumes"), i, v) {
		const struct fpath *at = FP_INDEX(p, i);
		const char *name = get_str(v, "name");
		size_t before = c->e->count;

		check_source(c, at, v);
		if (!*name)
			fe_required(c->e, FP(at, "name"), NULL);
		else
			check_format(c->e, FP(at, "name"), name, fmt_dns_label);
		if (*name && map_has(names, name))
			fe_duplicate(c->e, FP(at, "name"), name);
		if (get(v, "ephemeral") && *name)
			check_claim_name(c, FP(at, "name"), name);
		if (c->e->count > before)
			continue;
		map_set(names, name, v);
		map_set(c->volumes, name, v);
	}
	map_free(names);
	check_own_claims(c, p, get(c->spec, "volumes"));
}

static void check_propagation(struct pod_check *c, const struct fpath *p, const json_t *container, const json_t *mount)
{
	static const char *const allowed[] = { "Bidirectional", "HostToContainer", "None", NULL };
	const char *propagation = get_str(mount, "mountPropagation"), *recursive = get_str(mount, "recursiveReadOnly");

	if (*propagation && !one_of(propagation, allowed))
		fe_not_supported(c->e, FP(p, "mountPropagation"), propagation, allowed);
	if (strcmp(propagation, "Bidirectional") == 0 && !get_bool(get(container, "securityContext"), "privileged"))
		fe_forbidden(c->e, FP(p, "mountPropagation"),
			     "Bidirectional mount propagation is available only to privileged containers");
	if (!*recursive || strcmp(recursive, "Disabled") == 0)
		return;
	if (!one_of(recursive, WORDS("Enabled", "IfPossible"))) {
		fe_not_supported(c->e, FP(p, "recursiveReadOnly"), recursive,
				 WORDS("Disabled", "Enabled", "IfPossible"));
		return;
	}
	if (!get_bool(mount, "readOnly"))
		fe_forbidden(c->e, FP(p, "recursiveReadOnly"), "may only be specified when readOnly is true");
	if (*propagation && strcmp(propagation, "None") != 0)
		fe_forbidden(c->e, FP(p, "recursiveReadOnly"),
			     "may only be specified when mountPropagation is None or not specified");
}

void check_volume_mounts(struct pod_check *c, const struct fpath *p, const json_t *container)
{
	struct map *paths = map_new(NULL), *device_names = list_index(get(container, "volumeDevices"), "name");
	struct map *device_paths = list_index(get(container, "volumeDevices"), "devicePath");
	json_t *mount;
	size_t i;

	json_array_foreach(get(container, "volumeMounts"), i, mount) {
		const char *name = get_str(mount, "name"), *path = get_str(mount, "mountPath");
		const struct fpath *at = FP_INDEX(p, i);

		if (!*name)
			fe_required(c->e, FP(at, "name"), NULL);
		if (!map_has(c->volumes, name))
			fe_not_found(c->e, FP(at, "name"), name, NULL);
		if (!*path)
			fe_required(c->e, FP(at, "mountPath"), NULL);
		if (map_has(paths, path))
			fe_invalid(c->e, FP(at, "mountPath"), path, "must be unique");
		map_set(paths, path, paths);
		if (*name && map_has(device_names, name))
			fe_invalid(c->e, FP(at, "name"), name, "must not already exist in volumeDevices");
		if (*path && map_has(device_paths, path))
			fe_invalid(c->e, FP(at, "mountPath"), path,
				   "must not already exist as a path in volumeDevices");
		if (*get_str(mount, "subPath"))
			check_local_path(c->e, FP(p, "subPath"), get_str(mount, "subPath"), false);
		if (*get_str(mount, "subPathExpr")) {
			if (*get_str(mount, "subPath"))
				fe_invalid(c->e, FP(at, "subPathExpr"), get_str(mount, "subPathExpr"),
					   "subPathExpr and subPath are mutually exclusive");
			check_local_path(c->e, FP(p, "subPathExpr"), get_str(mount, "subPathExpr"), false);
		}
		check_propagation(c, p, container, mount);
	}
	map_free(paths);
	map_free(device_names);
	map_free(device_paths);
}

void check_volume_devices(struct pod_check *c, const struct fpath *p, const json_t *container)
{
	struct map *names = map_new(NULL), *paths = map_new(NULL),
		   *mount_names = list_index(get(container, "volumeMounts"), "name");
	struct map *mount_paths = list_index(get(container, "volumeMounts"), "mountPath");
	json_t *device;
	size_t i;

	json_array_foreach(get(container, "volumeDevices"), i, device) {
		const char *name = get_str(device, "name"), *path = get_str(device, "devicePath");
		const json_t *volume = map_get(c->volumes, name);
		const struct fpath *at = FP_INDEX(p, i);

		if (!*name)
			fe_required(c->e, FP(at, "name"), NULL);
		if (map_has(names, name))
			fe_invalid(c->e, FP(at, "name"), name, "must be unique");
		map_set(names, name, names);
		if (volume && !get(volume, "persistentVolumeClaim") && !get(volume, "ephemeral") &&
		    !get(volume, "spec"))
			fe_invalid(
				c->e, FP(at, "name"), name,
				"can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
		if (!volume)
			fe_not_found(c->e, FP(at, "name"), name, NULL);
		if (!*path)
			fe_required(c->e, FP(at, "devicePath"), NULL);
		if (map_has(paths, path))
			fe_invalid(c->e, FP(at, "devicePath"), path, "must be unique");
		map_set(paths, path, paths);
		if (strstr(path, ".."))
			fe_invalid(c->e, FP(at, "devicePath"), path, "can not contain backsteps ('..')");
		if (*name && map_has(mount_names, name))
			fe_invalid(c->e, FP(at, "name"), name, "must not already exist in volumeMounts");
		if (*path && map_has(mount_paths, path))
			fe_invalid(c->e, FP(at, "devicePath"), path,
				   "must not already exist as a path in volumeMounts");
	}
	map_free(names);
	map_free(paths);
	map_free(mount_names);
	map_free(mount_paths);
}
