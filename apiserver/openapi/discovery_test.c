/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Discovery documents have the shapes clients parse and the values upstream publishes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "apiserver/openapi/document.h"
#include "kube/json.h"
#include "kube/schema.h"

static json_t *parse(const struct document *d)
{
	_cleanup_err_ struct err err = { 0 };
	json_t *v;

	assert_non_null(d);
	assert_int_equal(strlen(d->etag), 64);
	v = json_parse(d->body->data, d->body->len, NULL, &err);
	if (!v)
		fail_msg("%s", err_msg(&err));
	return v;
}

static json_t *named(json_t *list, const char *key, const char *name)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (str_eq(json_string_value(json_object_get(item, key)), name))
			return item;
	fail_msg("no %s", name);
	return NULL;
}

static void roots_name_versions_and_groups(void **state)
{
	_cleanup_json_ json_t *api = parse(discovery_api_versions("192.0.2.1:6443"));
	_cleanup_json_ json_t *apis = parse(discovery_group_list());
	_cleanup_json_ json_t *group = parse(discovery_group("autoscaling"));
	json_t *autoscaling = named(json_object_get(apis, "groups"), "name", "autoscaling");

	(void)state;
	assert_string_equal(json_str(api, "kind"), "APIVersions");
	assert_string_equal(json_str(api, "versions[0]"), "v1");
	assert_string_equal(json_str(api, "serverAddressByClientCIDRs[0].serverAddress"), "192.0.2.1:6443");
	assert_string_equal(json_str(apis, "kind"), "APIGroupList");
	assert_string_equal(json_str(autoscaling, "versions[0].groupVersion"), "autoscaling/v2");
	assert_string_equal(json_str(autoscaling, "versions[1].version"), "v1");
	assert_string_equal(json_str(autoscaling, "preferredVersion.groupVersion"), "autoscaling/v2");
	assert_string_equal(json_str(group, "kind"), "APIGroup");
	json_object_del(group, "kind");
	json_object_del(group, "apiVersion");
	assert_true(json_equal(group, autoscaling));
	_cleanup_json_ json_t *elsewhere = parse(discovery_api_versions("192.0.2.2:6443"));

	assert_string_equal(json_str(elsewhere, "serverAddressByClientCIDRs[0].serverAddress"), "192.0.2.2:6443");
	assert_null(discovery_group("nosuch"));
	assert_null(discovery_group(""));
	assert_null(discovery_resources("apps/v2"));
	assert_null(discovery_resources("apps"));
	document_reset();
}

static void resources_carry_upstreams_facts(void **state)
{
	static const struct {
		const char *name, *hash;
	} hashes[] = {
		{ "pods", "xPOwRZ+Yhw8=" },	{ "events", "r2yiGXH7wu8=" },  { "configmaps", "qFsyl6wFWjQ=" },
		{ "services", "0/CO1lhkEBI=" }, { "secrets", "S6u1pOWzb84=" }, { "endpoints", "fWeeMqaN/OA=" },
	};
	_cleanup_json_ json_t *core = parse(discovery_resources("v1"));
	_cleanup_json_ json_t *apps = parse(discovery_resources("apps/v1"));
	_cleanup_json_ json_t *events = parse(discovery_resources("events.k8s.io/v1"));
	json_t *resources = json_object_get(core, "resources"), *r;

	(void)state;
	assert_string_equal(json_str(core, "groupVersion"), "v1");
	for (size_t i = 0; i < ARRAY_SIZE(hashes); i++)
		assert_string_equal(json_str(named(resources, "name", hashes[i].name), "storageVersionHash"),
				    hashes[i].hash);
	assert_string_equal(json_str(events, "resources[0].storageVersionHash"), "r2yiGXH7wu8=");
	r = named(resources, "name", "pods");
	assert_string_equal(json_str(r, "singularName"), "pod");
	assert_string_equal(json_str(r, "shortNames[0]"), "po");
	assert_string_equal(json_str(r, "categories[0]"), "all");
	assert_int_equal(json_array_size(json_object_get(r, "verbs")), 8);
	assert_string_equal(json_str(r, "verbs[0]"), "create");
	r = named(resources, "name", "pods/eviction");
	assert_string_equal(json_str(r, "group"), "policy");
	assert_string_equal(json_str(r, "version"), "v1");
	assert_string_equal(json_str(r, "kind"), "Eviction");
	r = named(resources, "name", "pods/status");
	assert_null(json_object_get(r, "group"));
	assert_string_equal(json_str(r, "singularName"), "");
	r = named(resources, "name", "bindings");
	assert_null(json_object_get(r, "storageVersionHash"));
	assert_null(json_object_get(r, "shortNames"));
	assert_string_equal(json_str(apps, "apiVersion"), "v1");
	r = named(json_object_get(apps, "resources"), "name", "deployments/scale");
	assert_string_equal(json_str(r, "group"), "autoscaling");
	document_reset();
}

static void aggregated_discovery_has_every_resource(void **state)
{
	_cleanup_json_ json_t *core = parse(discovery_aggregated(true));
	_cleanup_json_ json_t *rest = parse(discovery_aggregated(false));
	json_t *groups = json_object_get(rest, "items"), *group, *version, *pods;
	size_t i, j, count = json_array_size(json_at(core, "items[0].versions[0].resources"));

	(void)state;
	assert_string_equal(json_str(core, "apiVersion"), "apidiscovery.k8s.io/v2");
	assert_int_equal(json_array_size(json_object_get(core, "items")), 1);
	assert_null(json_at(core, "items[0].metadata.name"));
	json_array_foreach(groups, i, group)
		json_array_foreach(json_object_get(group, "versions"), j, version) {
			count += json_array_size(json_object_get(version, "resources"));
			assert_string_equal(json_str(version, "freshness"), "Current");
		}
	assert_int_equal(count, schema_resource_count());
	pods = named(json_at(core, "items[0].versions[0].resources"), "resource", "pods");
	assert_string_equal(json_str(pods, "scope"), "Namespaced");
	assert_string_equal(json_str(pods, "responseKind.kind"), "Pod");
	assert_string_equal(json_str(pods, "responseKind.version"), "");
	assert_string_equal(
		json_str(named(json_object_get(pods, "subresources"), "subresource", "eviction"), "responseKind.group"),
		"policy");
	document_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roots_name_versions_and_groups),
		cmocka_unit_test(resources_carry_upstreams_facts),
		cmocka_unit_test(aggregated_discovery_has_every_resource),
	};

	return cmocka_run_group_tests_name("discovery", tests, NULL, NULL);
}
