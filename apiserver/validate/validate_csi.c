/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What storage drivers and the controllers beside them write: drivers, nodes, attachments, capacities. */
#include "apiserver/validate/validate_volume.h"

#include "kube/quantity.h"

void validate_volume_attachment(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec"), *source = get(spec, "source");
	bool named = get(source, "persistentVolumeName"), inlined = get(source, "inlineVolumeSpec");
	static const char one[] = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
	const struct fpath *p = FP(NULL, "spec");

	check_csi_driver_name(v->e, FP(p, "attacher"), get_str(spec, "attacher"));
	if (!named && !inlined)
		fe_required(v->e, FP(p, "source"), one);
	else if (named && inlined)
		fe_forbidden(v->e, FP(p, "source"), "%s", one);
	else if (named && !*get_str(source, "persistentVolumeName"))
		fe_required(v->e, FP(FP(p, "source"), "persistentVolumeName"), "must specify non empty persistentVolumeName");
	else if (named)
		check_format(v->e, FP(FP(p, "source"), "persistentVolumeName"), get_str(source, "persistentVolumeName"),
			     fmt_dns_subdomain);
	check_format(v->e, FP(p, "nodeName"), get_str(spec, "nodeName"), fmt_dns_subdomain);
	if (v->old)
		check_immutable(v->e, p, spec, get(v->old, "spec"));
}

static void check_topology_keys(struct field_errors *e, const struct fpath *p, const json_t *keys)
{
	struct map *seen = map_new(NULL);
	json_t *key;
	size_t i;

	json_array_foreach(keys, i, key) {
		const char *s = json_string_value(key);

		if (!*s)
			fe_required(e, p, NULL);
		if (map_has(seen, s))
			fe_duplicate(e, p, s);
		map_set(seen, s, key);
		check_format(e, p, s, fmt_qualified_name);
	}
	map_free(seen);
}

static void check_node_driver(struct field_errors *e, const struct fpath *p, const json_t *driver)
{
	const char *node = get_str(driver, "nodeID");
	const json_t *count = json_at(driver, "allocatable.count");

	check_csi_driver_name(e, FP(p, "name"), get_str(driver, "name"));
	if (!*node)
		fe_required(e, FP(p, "nodeID"), NULL);
	else if (strlen(node) > 256)
		fe_invalid(e, FP(p, "nodeID"), node, "must be 256 characters or less");
	if (count)
		check_non_negative(e, FP(FP(p, "allocatable"), "count"), count);
	check_topology_keys(e, FP(p, "topologyKeys"), get(driver, "topologyKeys"));
}

void validate_csi_node(const struct validation *v)
{
	struct map *seen = map_new(NULL), *old = list_index(json_at(v->old, "spec.drivers"), "name");
	const struct fpath *p = FP(FP(NULL, "spec"), "drivers");
	json_t *driver;
	size_t i;

	json_array_foreach(json_at(v->object, "spec.drivers"), i, driver) {
		const json_t *was = map_get(old, get_str(driver, "name"));

		check_node_driver(v->e, FP_INDEX(p, i), driver);
		if (map_has(seen, get_str(driver, "name")))
			fe_duplicate(v->e, FP(FP_INDEX(p, i), "name"), get_str(driver, "name"));
		map_set(seen, get_str(driver, "name"), driver);
		if (was && (strcmp(get_str(was, "nodeID"), get_str(driver, "nodeID")) != 0 ||
			    !same_semantic(get(was, "topologyKeys"), get(driver, "topologyKeys"))))
			fe_invalid_json(v->e, FP(p, "name"), driver, "field is immutable");
	}
	map_free(seen);
	map_free(old);
}

static void check_token_requests(struct field_errors *e, const struct fpath *p, const json_t *requests)
{
	struct map *seen = map_new(NULL);
	json_t *request;
	size_t i;

	json_array_foreach(requests, i, request) {
		const json_t *seconds = get(request, "expirationSeconds");
		const char *audience = get_str(request, "audience");
		const struct fpath *at = FP_INDEX(p, i);

		if (map_has(seen, audience))
			fe_duplicate(e, FP(at, "audience"), audience);
		map_set(seen, audience, request);
		if (seconds && json_integer_value(seconds) < 600)
			fe_invalid_json(e, FP(at, "expirationSeconds"), seconds,
					"may not specify a duration less than 10 minutes");
		else if (seconds && json_integer_value(seconds) > 1LL << 32)
			fe_invalid_json(e, FP(at, "expirationSeconds"), seconds,
					"may not specify a duration larger than 2^32 seconds");
	}
	map_free(seen);
}

void validate_csi_driver(const struct validation *v)
{
	static const char *const groups[] = { "File", "None", "ReadWriteOnceWithFSType", NULL };
	static const char *const modes[] = { "Ephemeral", "Persistent", NULL };
	const json_t *spec = get(v->object, "spec"), *period = get(spec, "nodeAllocatableUpdatePeriodSeconds");
	const struct fpath *p = FP(NULL, "spec");
	json_t *mode;
	size_t i;

	check_csi_driver_name(v->e, FP(NULL, "name"), json_str_or(v->object, "metadata.name", ""));
	if (*get_str(spec, "fsGroupPolicy") && !one_of(get_str(spec, "fsGroupPolicy"), groups))
		fe_not_supported(v->e, FP(p, "fsGroupPolicy"), get_str(spec, "fsGroupPolicy"), groups);
	check_token_requests(v->e, FP(p, "tokenRequests"), get(spec, "tokenRequests"));
	json_array_foreach(get(spec, "volumeLifecycleModes"), i, mode) {
		if (!one_of(json_string_value(mode), modes))
			fe_not_supported(v->e, FP(p, "volumeLifecycleModes"), json_string_value(mode), modes);
	}
	if (period && json_integer_value(period) < 10)
		fe_invalid_json(v->e, FP(p, "nodeAllocatableUpdatePeriodSeconds"), period,
				"must be greater than or equal to 10 seconds");
	if (!v->old)
		return;
	check_immutable(v->e, FP(p, "attachedRequired"), get(spec, "attachRequired"), json_at(v->old, "spec.attachRequired"));
	check_immutable(v->e, FP(p, "volumeLifecycleModes"), get(spec, "volumeLifecycleModes"),
			json_at(v->old, "spec.volumeLifecycleModes"));
}

void validate_csi_capacity(const struct validation *v)
{
	static const char *const sizes[] = { "capacity", "maximumVolumeSize" }, *const fixed[] = { "nodeTopology", "storageClassName" };
	const json_t *o = v->object;
	struct quantity q;

	check_format(v->e, FP(NULL, "storageClassName"), get_str(o, "storageClassName"), fmt_dns_subdomain);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (*get_str(o, sizes[i]) && quantity_parse(get_str(o, sizes[i]), &q) == 0 && q.nano < 0)
			fe_invalid(v->e, FP(NULL, sizes[i]), get_str(o, sizes[i]), "must be greater than or equal to 0");
	check_label_selector(v->e, FP(NULL, "nodeTopology"), get(o, "nodeTopology"));
	for (size_t i = 0; v->old && i < ARRAY_SIZE(fixed); i++)
		check_immutable(v->e, FP(NULL, fixed[i]), get(o, fixed[i]), get(v->old, fixed[i]));
}
