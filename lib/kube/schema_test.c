/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table is whole and in order, and the lookups find what is there and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/str.h"
#include "kube/schema.h"

static void every_message_and_field_is_found(void **state)
{
	(void)state;
	assert_true(schema_message_count() == 679);
	for (size_t i = 0; i < schema_message_count(); i++) {
		const struct schema_message *m = schema_message_at(i);

		assert_ptr_equal(schema_message_by_name(m->name), m);
		for (size_t j = 0; j < m->field_count; j++) {
			const struct schema_field *f = &m->fields[j];

			if (f->flags & SCHEMA_INLINE)
				assert_int_equal(f->type, SCHEMA_MESSAGE);
			else
				assert_ptr_equal(schema_field_by_name(m, f->name), f);
			if (f->proto)
				assert_ptr_equal(schema_field_by_number(m, f->proto), f);
			if (j && f->proto)
				assert_true(f->proto > f[-1].proto);
			if (f->type >= SCHEMA_MESSAGE)
				assert_non_null(f->message);
			if (f->type > SCHEMA_MESSAGE)
				assert_int_equal(f->type, f->message->type);
			if (f->shape != SCHEMA_SINGLE)
				assert_false(f->flags & SCHEMA_POINTER);
			if (f->list_map_keys) {
				assert_int_equal(f->list_type, SCHEMA_LIST_MAP);
				for (const char *const *k = f->list_map_keys; *k; k++)
					assert_non_null(schema_field_by_name(f->message, *k));
			}
			if (f->merge_key)
				assert_non_null(schema_field_by_name(f->message, f->merge_key));
		}
	}
	assert_null(schema_message_by_name("io.k8s.api.core.v1.Pods"));
	assert_null(schema_message_by_name(""));
	assert_null(schema_message_at(679));
}

static void inlined_fields_stand_in_the_parent(void **state)
{
	const struct schema_message *probe = schema_message_by_name("io.k8s.api.core.v1.Probe");
	const struct schema_message *volume = schema_message_by_name("io.k8s.api.core.v1.Volume");

	(void)state;
	assert_string_equal(schema_field_by_name(probe, "httpGet")->message->name, "io.k8s.api.core.v1.HTTPGetAction");
	assert_string_equal(schema_field_by_name(volume, "emptyDir")->message->name,
			    "io.k8s.api.core.v1.EmptyDirVolumeSource");
	assert_null(schema_field_by_name(probe, "handler"));
	assert_null(schema_field_by_name(volume, "volumeSource"));
	assert_null(schema_field_by_name(probe, "Handler"));
	assert_string_equal(schema_field_by_number(probe, 1)->name, "handler");
	assert_null(schema_field_by_number(probe, 8));
	assert_null(schema_field_by_number(probe, 0));
}

static void facts_of_well_known_fields(void **state)
{
	const struct schema_message *spec = schema_message_by_name("io.k8s.api.core.v1.PodSpec");
	const struct schema_message *deployment = schema_message_by_name("io.k8s.api.apps.v1.DeploymentSpec");
	const struct schema_message *user = schema_message_by_name("io.k8s.api.authentication.v1.UserInfo");
	const struct schema_field *f = schema_field_by_name(spec, "containers");

	(void)state;
	assert_int_equal(f->proto, 2);
	assert_int_equal(f->shape, SCHEMA_LIST);
	assert_string_equal(f->merge_key, "name");
	assert_string_equal(f->list_map_keys[0], "name");
	assert_null(f->list_map_keys[1]);
	assert_true(f->flags & SCHEMA_REQUIRED);
	assert_true(f->flags & SCHEMA_PATCH_MERGE);
	f = schema_field_by_name(deployment, "replicas");
	assert_int_equal(f->type, SCHEMA_INT32);
	assert_true(f->flags & SCHEMA_POINTER);
	assert_string_equal(schema_field_format(f), "int32");
	assert_false(schema_field_by_name(deployment, "minReadySeconds")->flags & SCHEMA_POINTER);
	assert_true(schema_field_by_name(deployment, "strategy")->flags & SCHEMA_RETAIN_KEYS);
	f = schema_field_by_name(user, "extra");
	assert_int_equal(f->shape, SCHEMA_MAP_OF_LISTS);
	assert_int_equal(f->type, SCHEMA_STRING);
	f = schema_field_by_name(spec, "restartPolicy");
	assert_string_equal(schema_field_enum(f), "Always|Never|OnFailure");
	assert_string_equal(schema_field_go_type(f), "v1.RestartPolicy");
	assert_non_null(schema_field_doc(f));
	f = schema_field_by_name(schema_message_by_name("io.k8s.api.core.v1.ServicePort"), "protocol");
	assert_string_equal(schema_field_default(f), "\"TCP\"");
	assert_non_null(schema_message_doc(schema_message_by_name("io.k8s.api.core.v1.Pod")));
}

static void texts_of_foreign_fields_are_absent(void **state)
{
	static const struct schema_field fields[] = {
		{ .name = "b", .proto = 1, .type = SCHEMA_STRING },
		{ .name = "a", .proto = 2, .type = SCHEMA_STRING },
	};
	static const struct schema_message m = { .name = "custom", .fields = fields, .field_count = 2 };

	(void)state;
	assert_null(schema_field_doc(&fields[0]));
	assert_null(schema_message_doc(&m));
	assert_ptr_equal(schema_field_by_name(&m, "a"), &fields[1]);
	assert_null(schema_field_by_name(&m, "c"));
}

static void every_kind_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < schema_kind_count(); i++) {
		const struct schema_kind *k = schema_kind_at(i);
		char gv[96];

		assert_ptr_equal(schema_kind_find(schema_api_version(k->group, k->version, gv), k->kind), k);
	}
	assert_string_equal(schema_kind_find("v1", "Pod")->message->name, "io.k8s.api.core.v1.Pod");
	assert_string_equal(schema_kind_find("apps/v1", "DeleteOptions")->message->name,
			    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
	assert_non_null(schema_kind_find("v1", "List"));
	assert_non_null(schema_kind_find("policy/v1", "Eviction"));
	assert_ptr_equal(schema_kind_find("policy/v1beta1", "Eviction")->message,
			 schema_kind_find("policy/v1", "Eviction")->message);
	assert_null(schema_kind_find("apps/v1", "Pod"));
	assert_null(schema_kind_find("/v1", "Pod"));
	assert_null(schema_kind_find("a/b/c", "Pod"));
	assert_null(schema_kind_find("", ""));
	assert_null(schema_kind_at(schema_kind_count()));
}

static void every_resource_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);

		assert_int_equal(r->id, i);
		assert_ptr_equal(schema_resource_find(r->group, r->version, r->plural), r);
		assert_ptr_equal(schema_kind_find_gvk(r->group, r->version, r->kind)->message, r->message);
		assert_true(r->storage_id < schema_resource_count());
		assert_non_null(r->short_names);
		assert_non_null(r->categories);
		assert_true(!(r->verbs & VERB_LIST) == !r->list_message);
		for (size_t j = 0; j < r->subresource_count; j++) {
			const struct schema_subresource *s = &r->subresources[j];

			assert_ptr_equal(schema_subresource_find(r, s->name), s);
			assert_non_null(schema_kind_find_gvk(s->group, s->version, s->kind));
			assert_true(s->verbs != 0);
		}
	}
	assert_null(schema_resource_find("", "v1", "pod"));
	assert_null(schema_resource_find("apps", "v1", "pods"));
	assert_null(schema_resource_at(schema_resource_count()));
}

static void facts_of_well_known_resources(void **state)
{
	const struct schema_resource *pods = schema_resource_find("", "v1", "pods");
	const struct schema_resource *deployments = schema_resource_find("apps", "v1", "deployments");
	const struct schema_resource *namespaces = schema_resource_of_kind("", "v1", "Namespace");

	(void)state;
	assert_string_equal(pods->short_names[0], "po");
	assert_string_equal(pods->categories[0], "all");
	assert_string_equal(pods->singular, "pod");
	assert_true(pods->namespaced);
	assert_int_equal(pods->verbs, VERB_ALL8);
	assert_string_equal(pods->list_message->name, "io.k8s.api.core.v1.PodList");
	assert_string_equal(schema_subresource_find(pods, "eviction")->group, "policy");
	assert_string_equal(schema_subresource_find(pods, "exec")->kind, "PodExecOptions");
	assert_string_equal(schema_subresource_find(deployments, "scale")->kind, "Scale");
	assert_null(schema_subresource_find(pods, "scale"));
	assert_string_equal(namespaces->plural, "namespaces");
	assert_false(namespaces->namespaced);
	assert_false(namespaces->verbs & VERB_DELETECOLLECTION);
	assert_int_equal(schema_resource_find("events.k8s.io", "v1", "events")->storage_id,
			 schema_resource_find("", "v1", "events")->id);
	assert_int_equal(schema_resource_find("autoscaling", "v1", "horizontalpodautoscalers")->storage_id,
			 schema_resource_find("autoscaling", "v2", "horizontalpodautoscalers")->id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_and_field_is_found),
		cmocka_unit_test(inlined_fields_stand_in_the_parent),
		cmocka_unit_test(facts_of_well_known_fields),
		cmocka_unit_test(texts_of_foreign_fields_are_absent),
		cmocka_unit_test(every_kind_is_found),
		cmocka_unit_test(every_resource_is_found),
		cmocka_unit_test(facts_of_well_known_resources),
	};

	return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
