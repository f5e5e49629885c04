/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent volumes and claims. */
#include "apiserver/validate/diff.h"
#include "apiserver/validate/validate_pod.h"
#include "apiserver/validate/validate_volume.h"
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

static int64_t quantity_of(const char *text)
{
	struct quantity q;

	return quantity_parse(text, &q) < 0 ? 0 : quantity_value(&q);
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
	if (get(spec, "dataSource") && get(spec, "dataSourceRef") &&
	    !same_semantic(get(spec, "dataSource"), get(spec, "dataSourceRef")))
		fe_invalid_text(e, p, "{}", "must match dataSourceRef");
}

static void take_old(json_t *spec, const json_t *old, const char *key)
{
	const json_t *v = json_object_get(old, key);

	if (v)
		json_object_set_new(spec, key, json_deep_copy(v));
	else
		json_object_del(spec, key);
}

static void check_class_update(const struct validation *v, const struct fpath *p, const json_t *spec, const json_t *old)
{
	const json_t *class = get(spec, "volumeAttributesClassName");

	if (!*json_str_or(v->old, "status.currentVolumeAttributesClassName", "") || !get(old, "volumeAttributesClassName"))
		return;
	if (!class)
		fe_forbidden(v->e, p, "update to nil is forbidden when status.currentVolumeAttributesClassName is not nil");
	else if (!json_string_length(class))
		fe_forbidden(v->e, p, "update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil");
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
	check_class_update(v, FP(p, "volumeAttributesClassName"), spec, old);
	check_immutable(v->e, FP(FP(NULL, "metadata"), "annotations.volume.beta.kubernetes.io/storage-class"),
			get(json_at(v->object, "metadata.annotations"), beta),
			get(json_at(v->old, "metadata.annotations"), beta));
}

void validate_pvc_status(const struct validation *v)
{
	static const char *const lists[] = { "capacity", "allocatedResources" };
	const char *name;
	json_t *quantity;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		json_object_foreach(get(get(v->object, "status"), lists[i]), name, quantity) {
			int64_t value = quantity_of(json_string_value(quantity));

			if (value < 0)
				fe_invalid_int(v->e, FP_KEY(FP(FP(NULL, "status"), lists[i]), name), value,
					       "must be a valid resource quantity");
		}
	}
}

void validate_pvc(const struct validation *v)
{
	check_pvc_spec(v->e, FP(NULL, "spec"), get(v->object, "spec"));
	if (v->old)
		check_pvc_update(v);
}

static const char *const own_sources[] = { "hostPath", "local", "csi" };

static const char *source_name(size_t i)
{
	return i < ARRAY_SIZE(own_sources) ? own_sources[i] : volume_sources[i - ARRAY_SIZE(own_sources)].kind;
}

static size_t source_count(void)
{
	return ARRAY_SIZE(own_sources) + volume_source_count;
}

static void check_csi(struct field_errors *e, const struct fpath *p, const json_t *csi)
{
	static const char *const keys[] = { "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef",
					    "nodeExpandSecretRef", "nodeStageSecretRef" };

	check_csi_driver_name(e, FP(p, "driver"), get_str(csi, "driver"));
	if (!*get_str(csi, "volumeHandle"))
		fe_required(e, FP(p, "volumeHandle"), NULL);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const json_t *ref = get(csi, keys[i]);
		const struct fpath *at = FP(p, keys[i]);

		if (!ref)
			continue;
		if (!*get_str(ref, "name"))
			fe_required(e, FP(at, "name"), NULL);
		else
			check_format(e, FP(at, "name"), get_str(ref, "name"), fmt_dns_subdomain);
		if (!*get_str(ref, "namespace"))
			fe_required(e, FP(at, "namespace"), NULL);
		else
			check_format(e, FP(at, "namespace"), get_str(ref, "namespace"), fmt_dns_label);
	}
}

static void check_local(struct field_errors *e, const struct fpath *p, const json_t *local)
{
	_cleanup_strlist_ struct strlist parts = {0};

	if (!*get_str(local, "path")) {
		fe_required(e, FP(p, "path"), NULL);
		return;
	}
	strlist_split(&parts, get_str(local, "path"), '/');
	if (strlist_has(&parts, ".."))
		fe_invalid(e, FP(p, "path"), get_str(local, "path"), "must not contain '..'");
}

static void check_pv_sources(struct field_errors *e, const struct fpath *p, const json_t *spec)
{
	size_t n = 0;

	for (size_t i = 0; i < source_count(); i++) {
		const char *kind = source_name(i);
		const json_t *source = get(spec, kind);

		if (!source)
			continue;
		if (n++)
			fe_forbidden(e, FP(p, kind), "may not specify more than 1 volume type");
		else if (i == 0)
			check_host_path(e, FP(p, kind), source);
		else if (i == 1)
			check_local(e, FP(p, kind), source);
		else if (i == 2)
			check_csi(e, FP(p, kind), source);
		else
			check_volume_source(e, p, &volume_sources[i - ARRAY_SIZE(own_sources)], source);
	}
	if (n == 0)
		fe_required(e, p, "must specify a volume type");
	if (get(spec, "local") && !get(spec, "nodeAffinity"))
		fe_required(e, FP(p, "nodeAffinity"), "Local volume requires node affinity");
}

/* Which sources take mount options; the annotation is what the field was before. */
static void check_mount_options(const struct validation *v, const json_t *spec)
{
	static const char key[] = "volume.beta.kubernetes.io/mount-options";
	static const char *const kinds[] = { "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "rbd",	    "cephfs", "nfs",
					     "iscsi",		  "cinder",		  "azureFile", "vsphereVolume", "quobyte",
					     "azureDisk",	  "storageos" };

	if (!json_object_get(json_at(v->object, "metadata.annotations"), key))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (get(spec, kinds[i]))
			return;
	fe_forbidden(v->e, FP(FP(FP(NULL, "metadata"), "annotations"), key),
		     "may not specify mount options for this volume type");
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
			fe_invalid_int(e, FP_KEY(p, "storage"), quantity_of(storage), "must be a valid resource quantity");
		fe_invalid(e, FP_KEY(p, "storage"), storage, "must be greater than zero");
	}
}

/* Equal but for labels of topology that got their final names. */
static bool same_affinity(const json_t *now, const json_t *old)
{
	static const char *const renamed[][2] = {
		{ "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone" },
		{ "failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region" },
		{ "beta.kubernetes.io/os", "kubernetes.io/os" },
		{ "beta.kubernetes.io/arch", "kubernetes.io/arch" },
		{ "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type" },
	};
	_cleanup_json_ json_t *renewed = json_deep_copy(old);
	json_t *term, *expression;
	size_t i, k;

	json_array_foreach(json_at(renewed, "required.nodeSelectorTerms"), i, term) {
		const json_t *expressions = json_at(json_array_get(json_at(now, "required.nodeSelectorTerms"), i), "matchExpressions");

		json_array_foreach(get(term, "matchExpressions"), k, expression) {
			const char *wanted = get_str(json_array_get(expressions, k), "key");

			for (size_t r = 0; r < ARRAY_SIZE(renamed); r++)
				if (strcmp(get_str(expression, "key"), renamed[r][0]) == 0 && strcmp(wanted, renamed[r][1]) == 0)
					json_object_set_new(expression, "key", json_string(wanted));
		}
	}
	return same_semantic(now, renewed);
}

static void check_pv_update(const struct validation *v, const json_t *spec, const json_t *old)
{
	_cleanup_json_ json_t *now = json_object(), *was = json_object();

	for (size_t i = 0; i < source_count(); i++) {
		const char *kind = source_name(i);

		if (get(spec, kind))
			json_object_set_new(now, kind, json_deep_copy(get(spec, kind)));
		if (get(old, kind))
			json_object_set_new(was, kind, json_deep_copy(get(old, kind)));
	}
	if (get(was, "csi") && !get(get(was, "csi"), "controllerExpandSecretRef"))
		json_object_del(get(now, "csi"), "controllerExpandSecretRef");
	if (!same_semantic(now, was)) {
		_cleanup_free_ char *diff = diff_text(was, now);

		fe_forbidden(v->e, FP(FP(NULL, "spec"), "persistentvolumesource"),
			     "spec.persistentvolumesource is immutable after creation\n%s", diff);
	}
	check_immutable(v->e, FP(NULL, "volumeMode"), get(spec, "volumeMode"), get(old, "volumeMode"));
	if (get(old, "nodeAffinity") && !same_affinity(get(spec, "nodeAffinity"), get(old, "nodeAffinity")))
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
	check_mount_options(v, spec);
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
