/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent volumes and claims, storage classes and the objects of CSI. */
#include "apiserver/validate/diff.h"
#include "apiserver/validate/validate_pod.h"
#include "kube/quantity.h"

static const char *const access_modes[] = { "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod",
					    NULL };
static const char *const volume_modes[] = { "Block", "Filesystem", NULL };

static void check_access_modes(struct field_errors *e, const struct fpath *p, const json_t *modes)
{
	bool one_pod = false;
	json_t *mode;
	size_t i;

	json_array_foreach(modes, i, mode) {
		const char *s = json_string_value(mode);

		if (!one_of(s, access_modes))
			fe_not_supported(e, p, s, access_modes);
		one_pod |= strcmp(s, "ReadWriteOncePod") == 0;
	}
	if (one_pod && json_array_size(modes) > 1)
		fe_forbidden(e, p, "may not use ReadWriteOncePod with other access modes");
}

static bool positive(const char *text, bool *ret_negative)
{
	struct quantity q;

	if (quantity_parse(text, &q) < 0)
		return false;
	*ret_negative = q.nano < 0;
	return q.nano > 0;
}

static void check_data_source(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	if (!source)
		return;
	if (!*get_str(source, "name"))
		fe_required(e, FP(p, "name"), NULL);
	if (!*get_str(source, "kind"))
		fe_required(e, FP(p, "kind"), NULL);
	else if (!*get_str(source, "apiGroup") && strcmp(get_str(source, "kind"), "PersistentVolumeClaim") != 0)
		fe_invalid(e, p, get_str(source, "kind"),
			   "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
}

void check_pvc_spec(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	const char *storage = json_str_or(spec, "resources.requests.storage", "");
	bool negative = false;

	if (json_array_size(get(spec, "accessModes")) == 0)
		fe_required(e, FP(p, "accessModes"), "at least 1 access mode is required");
	check_label_selector(e, FP(p, "selector"), get(spec, "selector"));
	check_access_modes(e, FP(p, "accessModes"), get(spec, "accessModes"));
	if (!*storage)
		fe_required(e, FP_KEY(FP(p, "resources"), "storage"), NULL);
	else if (!positive(storage, &negative))
		fe_invalid(e, FP_KEY(FP(p, "resources"), "storage"), storage, "must be greater than zero");
	if (*get_str(spec, "storageClassName"))
		check_format(e, FP(p, "storageClassName"), get_str(spec, "storageClassName"), fmt_dns_subdomain);
	if (get(spec, "volumeMode") && !one_of(get_str(spec, "volumeMode"), volume_modes))
		fe_not_supported(e, FP(p, "volumeMode"), get_str(spec, "volumeMode"), volume_modes);
	if (*get_str(spec, "volumeAttributesClassName"))
		check_format(e, FP(p, "volumeAttributesClassName"), get_str(spec, "volumeAttributesClassName"),
			     fmt_dns_subdomain);
	check_data_source(e, FP(p, "dataSource"), get(spec, "dataSource"));
	check_data_source(e, FP(p, "dataSourceRef"), get(spec, "dataSourceRef"));
}

static void take_old(json_t *spec, const json_t *old, const char *key)
{
	const json_t *v = json_object_get(old, key);

	if (v)
		json_object_set_new(spec, key, json_deep_copy(v));
	else
		json_object_del(spec, key);
}

static void check_pvc_update(const struct validation *v)
{
	static const char beta[] = "volume.beta.kubernetes.io/storage-class";
	const json_t *spec = get(v->object, "spec"), *old = get(v->old, "spec");
	_cleanup_json_ json_t *munged = json_deep_copy(spec);
	bool bound = str_eq(json_str(v->object, "status.phase"), "Bound"), shrunk;
	const char *capacity = json_str_or(v->old, "status.capacity.storage", ""),
		   *was = json_str_or(old, "resources.requests.storage", "");
	const char *wanted = json_str_or(spec, "resources.requests.storage", "");
	const struct fpath *p = FP(NULL, "spec");
	struct quantity a, b, c;

	if (!*get_str(old, "volumeName"))
		take_old(munged, old, "volumeName");
	if (!get(old, "storageClassName"))
		take_old(munged, old, "storageClassName");
	if (bound) {
		take_old(munged, old, "resources");
		take_old(munged, old, "volumeAttributesClassName");
	}
	if (!same_semantic(munged, old)) {
		_cleanup_free_ char *diff = diff_text(old, munged);

		fe_forbidden(v->e, p,
			     "spec is immutable after creation except resources.requests and volumeAttributesClassName "
			     "for bound claims\n%s",
			     diff);
	}
	shrunk = quantity_parse(wanted, &a) == 0 && quantity_parse(was, &b) == 0 && quantity_cmp(&a, &b) < 0;
	if (bound && shrunk && (quantity_parse(capacity, &c) < 0 || quantity_cmp(&a, &c) <= 0))
		fe_forbidden(v->e, FP(FP(FP(p, "resources"), "requests"), "storage"),
			     "field can not be less than status.capacity");
	check_immutable(v->e, FP(NULL, "volumeMode"), get(spec, "volumeMode"), get(old, "volumeMode"));
	check_immutable(v->e, FP(FP(NULL, "metadata"), "annotations.volume.beta.kubernetes.io/storage-class"),
			get(json_at(v->object, "metadata.annotations"), beta),
			get(json_at(v->old, "metadata.annotations"), beta));
}

void validate_pvc(const struct validation *v)
{
	check_pvc_spec(v->e, FP(NULL, "spec"), get(v->object, "spec"));
	if (v->old)
		check_pvc_update(v);
}

static const char *const pv_sources[] = { "hostPath",
					  "local",
					  "csi",
					  "nfs",
					  "iscsi",
					  "fc",
					  "gcePersistentDisk",
					  "awsElasticBlockStore",
					  "glusterfs",
					  "rbd",
					  "cinder",
					  "cephfs",
					  "flocker",
					  "flexVolume",
					  "azureFile",
					  "vsphereVolume",
					  "quobyte",
					  "azureDisk",
					  "photonPersistentDisk",
					  "portworxVolume",
					  "scaleIO",
					  "storageos" };

static void check_csi_secrets(struct field_errors *e, const struct fpath *p, const json_t *csi)
{
	static const char *const keys[] = { "controllerPublishSecretRef", "nodePublishSecretRef", "nodeStageSecretRef",
					    "controllerExpandSecretRef", "nodeExpandSecretRef" };

	if (!*get_str(csi, "driver"))
		fe_required(e, FP(p, "driver"), NULL);
	else
		check_format(e, FP(p, "driver"), get_str(csi, "driver"), fmt_dns_subdomain);
	if (!*get_str(csi, "volumeHandle"))
		fe_required(e, FP(p, "volumeHandle"), NULL);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const json_t *ref = get(csi, keys[i]);

		if (ref && !*get_str(ref, "name"))
			fe_required(e, FP(FP(p, keys[i]), "name"), NULL);
		if (ref && !*get_str(ref, "namespace"))
			fe_required(e, FP(FP(p, keys[i]), "namespace"), NULL);
	}
}

static void check_pv_sources(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(pv_sources); i++) {
		const json_t *source = get(spec, pv_sources[i]);

		if (!source)
			continue;
		if (n++) {
			fe_forbidden(e, FP(p, pv_sources[i]), "may not specify more than 1 volume type");
			continue;
		}
		if (strcmp(pv_sources[i], "csi") == 0)
			check_csi_secrets(e, FP(p, "csi"), source);
		else if (i < 2 && !*get_str(source, "path"))
			fe_required(e, FP(FP(p, pv_sources[i]), "path"), NULL);
		else if (i < 2 && (strstr(get_str(source, "path"), "/../") || str_ends(get_str(source, "path"), "/..")))
			fe_invalid(e, FP(FP(p, pv_sources[i]), "path"), get_str(source, "path"),
				   "must not contain '..'");
	}
	if (n == 0)
		fe_required(e, p, "must specify a volume type");
	if (get(spec, "local") && !get(spec, "nodeAffinity"))
		fe_required(e, FP(p, "nodeAffinity"), "Local volume requires node affinity");
}

static void check_pv_capacity(struct field_errors *e, const struct fpath *p, const json_t *capacity)
{
	const char *storage = get_str(capacity, "storage");
	bool negative = false;

	if (json_object_size(capacity) == 0)
		fe_required(e, p, NULL);
	if (!*storage || json_object_size(capacity) > 1) {
		_cleanup_strbuf_ struct strbuf value = {0};

		go_json(&value, capacity);
		fe_not_supported_text(e, p, value.data, WORDS("storage"));
	}
	if (*storage && !positive(storage, &negative)) {
		if (negative)
			fe_invalid(e, FP_KEY(p, "storage"), storage, "must be a valid resource quantity");
		fe_invalid(e, FP_KEY(p, "storage"), storage, "must be greater than zero");
	}
}

static void check_pv_update(const struct validation *v, const json_t *spec, const json_t *old)
{
	_cleanup_json_ json_t *now = json_object(), *was = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(pv_sources); i++) {
		if (get(spec, pv_sources[i]))
			json_object_set_new(now, pv_sources[i], json_deep_copy(get(spec, pv_sources[i])));
		if (get(old, pv_sources[i]))
			json_object_set_new(was, pv_sources[i], json_deep_copy(get(old, pv_sources[i])));
	}
	if (get(was, "csi") && !get(get(was, "csi"), "controllerExpandSecretRef"))
		json_object_del(get(now, "csi"), "controllerExpandSecretRef");
	if (!same_semantic(now, was)) {
		_cleanup_free_ char *diff = diff_text(was, now);

		fe_forbidden(v->e, FP(FP(NULL, "spec"), "persistentvolumesource"),
			     "spec.persistentvolumesource is immutable after creation\n%s", diff);
	}
	check_immutable(v->e, FP(NULL, "volumeMode"), get(spec, "volumeMode"), get(old, "volumeMode"));
	if (get(old, "nodeAffinity") && !same_semantic(get(spec, "nodeAffinity"), get(old, "nodeAffinity")))
		fe_invalid_json(v->e, FP(NULL, "nodeAffinity"), get(spec, "nodeAffinity"),
				"field is immutable, except for updating from beta label to GA");
	if (get(old, "volumeAttributesClassName") && !get(spec, "volumeAttributesClassName"))
		fe_forbidden(v->e, FP(FP(NULL, "spec"), "volumeAttributesClassName"),
			     "update from non-nil value to nil is forbidden");
}

void validate_pv(const struct validation *v)
{
	static const char *const policies[] = { "Delete", "Recycle", "Retain", NULL };
	const json_t *spec = get(v->object, "spec"), *affinity = get(spec, "nodeAffinity"),
		     *attributes = get(spec, "volumeAttributesClassName");
	const char *policy = get_str(spec, "persistentVolumeReclaimPolicy");
	const struct fpath *p = FP(NULL, "spec");

	if (json_array_size(get(spec, "accessModes")) == 0)
		fe_required(v->e, FP(p, "accessModes"), NULL);
	check_access_modes(v->e, FP(p, "accessModes"), get(spec, "accessModes"));
	check_pv_capacity(v->e, FP(p, "capacity"), get(spec, "capacity"));
	if (*policy && !one_of(policy, policies))
		fe_not_supported(v->e, FP(p, "persistentVolumeReclaimPolicy"), policy, policies);
	if (affinity && !get(affinity, "required"))
		fe_required(v->e, FP(FP(p, "nodeAffinity"), "required"), "must specify required node constraints");
	else if (affinity)
		check_node_selector(v->e, FP(FP(p, "nodeAffinity"), "required"), get(affinity, "required"));
	check_pv_sources(v->e, p, spec);
	if (str_eq(json_str(spec, "hostPath.path"), "/") && strcmp(policy, "Recycle") == 0)
		fe_forbidden(v->e, FP(p, "persistentVolumeReclaimPolicy"),
			     "may not be 'recycle' for a hostPath mount of '/'");
	if (*get_str(spec, "storageClassName"))
		check_format(v->e, FP(p, "storageClassName"), get_str(spec, "storageClassName"), fmt_dns_subdomain);
	if (get(spec, "volumeMode") && !one_of(get_str(spec, "volumeMode"), volume_modes))
		fe_not_supported(v->e, FP(p, "volumeMode"), get_str(spec, "volumeMode"), volume_modes);
	if (attributes && json_string_length(attributes) == 0)
		fe_required(v->e, FP(p, "volumeAttributesClassName"), "an empty string is disallowed");
	else if (attributes)
		check_format(v->e, FP(p, "volumeAttributesClassName"), json_string_value(attributes),
			     fmt_dns_subdomain);
	if (attributes && !get(spec, "csi"))
		fe_required(v->e, FP(p, "csi"), "has to be specified when using volumeAttributesClassName");
	if (v->old)
		check_pv_update(v, spec, get(v->old, "spec"));
}

static void fmt_lower_qualified(const char *s, struct strlist *msgs)
{
	_cleanup_free_ char *lower = mem_strdup(s);

	for (char *c = lower; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
	fmt_qualified_name(lower, msgs);
}

void validate_storage_class(const struct validation *v)
{
	static const char *const immutable[] = { "parameters", "provisioner", "reclaimPolicy", "volumeBindingMode" };
	static const char *const modes[] = { "Immediate", "WaitForFirstConsumer", NULL };
	const json_t *o = v->object, *parameters = get(o, "parameters");
	size_t total = 0;
	const char *key;
	json_t *value;

	if (!*get_str(o, "provisioner"))
		fe_required(v->e, FP(NULL, "provisioner"), NULL);
	else
		check_format(v->e, FP(NULL, "provisioner"), get_str(o, "provisioner"), fmt_lower_qualified);
	if (json_object_size(parameters) > 512)
		fe_too_long(v->e, FP(NULL, "parameters"), 512);
	json_object_foreach((json_t *)parameters, key, value) {
		if (!*key)
			fe_invalid(v->e, FP(NULL, "parameters"), key, "field can not be empty.");
		total += strlen(key) + json_string_length(value);
	}
	if (total > 256 * 1024)
		fe_too_long(v->e, FP(NULL, "parameters"), 256 * 1024);
	if (*get_str(o, "reclaimPolicy") && !one_of(get_str(o, "reclaimPolicy"), WORDS("Delete", "Retain")))
		fe_not_supported(v->e, FP(NULL, "reclaimPolicy"), get_str(o, "reclaimPolicy"),
				 WORDS("Delete", "Retain"));
	check_enum(v->e, FP(NULL, "volumeBindingMode"), get_str(o, "volumeBindingMode"), modes);
	for (size_t i = 0; v->old && i < ARRAY_SIZE(immutable); i++)
		check_immutable(v->e, FP(NULL, immutable[i]), get(o, immutable[i]), get(v->old, immutable[i]));
}

void validate_volume_attributes_class(const struct validation *v)
{
	if (!*get_str(v->object, "driverName"))
		fe_required(v->e, FP(NULL, "driverName"), NULL);
	else
		check_format(v->e, FP(NULL, "driverName"), get_str(v->object, "driverName"), fmt_dns_subdomain);
	if (json_object_size(get(v->object, "parameters")) == 0)
		fe_required(v->e, FP(NULL, "parameters"), "must contain at least one key/value pair");
	if (v->old && strcmp(get_str(v->object, "driverName"), get_str(v->old, "driverName")) != 0)
		fe_forbidden(v->e, FP(NULL, "driverName"), "updates to driverName are forbidden.");
	if (v->old && !same_semantic(get(v->object, "parameters"), get(v->old, "parameters")))
		fe_forbidden(v->e, FP(NULL, "parameters"), "updates to parameters are forbidden.");
}
