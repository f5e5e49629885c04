/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Claims of devices, their classes, and what drivers offer. Expressions of selectors are not compiled. */
#include "apiserver/validate/validate_pod.h"
#include "apiserver/validate/validate_volume.h"

enum { DEVICE_LIST_MAX = 32, SLICE_DEVICES_MAX = 128 };

static void check_size(struct field_errors *e, const struct fpath *p, const json_t *list, size_t max)
{
	if (json_array_size(list) > max)
		fe_too_many(e, p, json_array_size(list), max);
}

static void check_selectors(struct field_errors *e, const struct fpath *p, const json_t *selectors)
{
	json_t *selector;
	size_t i;

	check_size(e, p, selectors, DEVICE_LIST_MAX);
	json_array_foreach(selectors, i, selector) {
		if (!get(selector, "cel"))
			fe_required(e, FP(FP_INDEX(p, i), "cel"), NULL);
		else if (!*get_str(get(selector, "cel"), "expression"))
			fe_required(e, FP(FP(FP_INDEX(p, i), "cel"), "expression"), NULL);
	}
}

/* A request, or one of its alternatives. */
static void check_device_request(struct field_errors *e, const struct fpath *p, const json_t *request)
{
	static const char *const modes[] = { "All", "ExactCount", NULL };
	const char *mode = get_str(request, "allocationMode"), *class = get_str(request, "deviceClassName");
	int64_t count = get_int(request, "count");

	if (!*class)
		fe_required(e, FP(p, "deviceClassName"), NULL);
	else
		check_format(e, FP(p, "deviceClassName"), class, fmt_dns_subdomain);
	check_selectors(e, FP(p, "selectors"), get(request, "selectors"));
	if (!one_of(mode, modes))
		fe_not_supported(e, FP(p, "allocationMode"), mode, modes);
	else if (strcmp(mode, "All") == 0 && count != 0)
		fe_invalid_int(e, FP(p, "count"), count, "must not be specified when allocationMode is 'All'");
	else if (strcmp(mode, "ExactCount") == 0 && count <= 0)
		fe_invalid_int(e, FP(p, "count"), count, "must be greater than zero");
}

static void check_request(struct field_errors *e, const struct fpath *p, const json_t *request)
{
	const json_t *exactly = get(request, "exactly"), *first = get(request, "firstAvailable");
	struct map *seen = map_new(NULL);
	json_t *sub;
	size_t i;

	check_format(e, FP(p, "name"), get_str(request, "name"), fmt_dns_label);
	if (!exactly && json_array_size(first) == 0)
		fe_required(e, p, "exactly one of `exactly` or `firstAvailable` is required");
	else if (exactly && json_array_size(first) > 0)
		fe_invalid_json(e, p, NULL, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
	if (exactly)
		check_device_request(e, FP(p, "exactly"), exactly);
	json_array_foreach(first, i, sub) {
		const struct fpath *at = FP_INDEX(FP(p, "firstAvailable"), i);

		if (map_has(seen, get_str(sub, "name")))
			fe_duplicate(e, FP(at, "name"), get_str(sub, "name"));
		map_set(seen, get_str(sub, "name"), sub);
		check_format(e, FP(at, "name"), get_str(sub, "name"), fmt_dns_label);
		check_device_request(e, at, sub);
	}
	map_free(seen);
}

static void check_claim_spec(struct field_errors *e, const struct fpath *spec_path, const json_t *spec)
{
	const json_t *devices = get(spec, "devices"), *requests = get(devices, "requests");
	const struct fpath *p = FP(spec_path, "devices");
	struct map *seen = map_new(NULL);
	json_t *v;
	size_t i;

	check_size(e, FP(p, "requests"), requests, DEVICE_LIST_MAX);
	json_array_foreach(requests, i, v) {
		const char *name = get_str(v, "name");

		if (map_has(seen, name))
			fe_duplicate(e, FP(FP_INDEX(FP(p, "requests"), i), "name"), name);
		map_set(seen, name, v);
		check_request(e, FP_INDEX(FP(p, "requests"), i), v);
	}
	map_free(seen);
	check_size(e, FP(p, "constraints"), get(devices, "constraints"), DEVICE_LIST_MAX);
	check_size(e, FP(p, "config"), get(devices, "config"), DEVICE_LIST_MAX);
}

void validate_resource_claim(const struct validation *v)
{
	check_claim_spec(v->e, FP(NULL, "spec"), get(v->object, "spec"));
	if (v->old)
		check_immutable(v->e, FP(NULL, "spec"), get(v->object, "spec"), get(v->old, "spec"));
}

void validate_resource_claim_template(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec");

	check_labels(v->e, FP(FP(FP(NULL, "spec"), "metadata"), "labels"), json_at(spec, "metadata.labels"));
	check_annotations(v->e, FP(FP(FP(NULL, "spec"), "metadata"), "annotations"), json_at(spec, "metadata.annotations"));
	check_claim_spec(v->e, FP(FP(NULL, "spec"), "spec"), get(spec, "spec"));
	if (v->old)
		check_immutable(v->e, FP(NULL, "spec"), spec, get(v->old, "spec"));
}

void validate_device_class(const struct validation *v)
{
	const json_t *spec = get(v->object, "spec");

	check_selectors(v->e, FP(FP(NULL, "spec"), "selectors"), get(spec, "selectors"));
	check_size(v->e, FP(FP(NULL, "spec"), "config"), get(spec, "config"), DEVICE_LIST_MAX);
}

void validate_resource_slice(const struct validation *v)
{
	static const char *const places[] = { "nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection" };
	static const char *const fixed[] = { "driver", "nodeName" };
	const json_t *spec = get(v->object, "spec"), *pool = get(spec, "pool"), *devices = get(spec, "devices");
	const struct fpath *p = FP(NULL, "spec"), *pool_path = FP(p, "pool");
	struct map *seen = map_new(NULL);
	size_t where = 0, i;
	json_t *device;

	check_csi_driver_name(v->e, FP(p, "driver"), get_str(spec, "driver"));
	if (!*get_str(pool, "name"))
		fe_required(v->e, FP(pool_path, "name"), NULL);
	if (get_int(pool, "resourceSliceCount") <= 0)
		fe_invalid_int(v->e, FP(pool_path, "resourceSliceCount"), get_int(pool, "resourceSliceCount"),
			       "must be greater than zero");
	if (get_int(pool, "generation") < 0)
		fe_invalid_int(v->e, FP(pool_path, "generation"), get_int(pool, "generation"),
			       "must be greater than or equal to zero");
	for (i = 0; i < ARRAY_SIZE(places); i++)
		where += get(spec, places[i]) && !json_is_false(get(spec, places[i]));
	if (where == 0)
		fe_required(v->e, p, "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required");
	else if (where > 1)
		fe_invalid_text(v->e, p, "{}",
				"exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple "
				"fields are set");
	if (get(spec, "nodeName"))
		check_format(v->e, FP(p, "nodeName"), get_str(spec, "nodeName"), fmt_dns_subdomain);
	if (get(spec, "nodeSelector"))
		check_node_selector(v->e, FP(p, "nodeSelector"), get(spec, "nodeSelector"));
	check_size(v->e, FP(p, "devices"), devices, SLICE_DEVICES_MAX);
	json_array_foreach(devices, i, device) {
		const struct fpath *at = FP(FP_INDEX(FP(p, "devices"), i), "name");

		check_format(v->e, at, get_str(device, "name"), fmt_dns_label);
		if (map_has(seen, get_str(device, "name")))
			fe_duplicate(v->e, at, get_str(device, "name"));
		map_set(seen, get_str(device, "name"), device);
	}
	map_free(seen);
	for (i = 0; v->old && i < ARRAY_SIZE(fixed); i++)
		check_immutable(v->e, FP(p, fixed[i]), get(spec, fixed[i]), get(get(v->old, "spec"), fixed[i]));
	if (v->old)
		check_immutable(v->e, FP(pool_path, "name"), get(pool, "name"), json_at(v->old, "spec.pool.name"));
}
