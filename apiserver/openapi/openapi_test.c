/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OpenAPI: every reference is defined, clients find what they look for, both forms of v2 say the same, and memory goes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "apiserver/openapi/document.h"
#include "kube/codec_wire.h"
#include "kube/json.h"
#include "kube/schema.h"

static json_t *parse(const struct document *d)
{
	_cleanup_err_ struct err err = { 0 };
	json_t *v;

	assert_non_null(d);
	v = json_parse(d->body->data, d->body->len, NULL, &err);
	if (!v)
		fail_msg("%s", err_msg(&err));
	return v;
}

/* Counts references and fails on one that the document does not define. */
static size_t check_references(const json_t *v, const json_t *definitions, const char *prefix)
{
	size_t count = 0, i;
	const char *key;
	json_t *item;

	if (json_is_array(v)) {
		json_array_foreach(v, i, item)
			count += check_references(item, definitions, prefix);
		return count;
	}
	json_object_foreach((json_t *)v, key, item) {
		if (str_eq(key, "$ref") && json_is_string(item)) {
			const char *name = str_after(json_string_value(item), prefix);

			if (!name || !json_object_get(definitions, name))
				fail_msg("%s is not defined", json_string_value(item));
			count++;
		} else {
			count += check_references(item, definitions, prefix);
		}
	}
	return count;
}

static json_t *member(json_t *v, const char *a, const char *b)
{
	return json_object_get(json_object_get(v, a), b);
}

static void v2_defines_what_it_names(void **state)
{
	_cleanup_json_ json_t *doc = parse(openapi_v2_json());
	json_t *definitions = json_object_get(doc, "definitions");
	json_t *container = member(member(definitions, "io.k8s.api.core.v1.Container", "properties"), "ports",
				   "x-kubernetes-list-map-keys");
	json_t *spec = json_object_get(definitions, "io.k8s.api.apps.v1.DeploymentSpec");
	json_t *pod = json_object_get(definitions, "io.k8s.api.core.v1.Pod");

	(void)state;
	assert_string_equal(json_str(doc, "swagger"), "2.0");
	assert_true(check_references(doc, definitions, "#/definitions/") > 1000);
	assert_string_equal(json_string_value(json_array_get(container, 1)), "protocol");
	assert_string_equal(json_str(spec, "required[0]"), "selector");
	assert_string_equal(json_string_value(json_object_get(member(spec, "properties", "strategy"),
							      "x-kubernetes-patch-strategy")),
			    "retainKeys");
	assert_string_equal(
		json_str(json_array_get(json_object_get(pod, "x-kubernetes-group-version-kind"), 0), "kind"), "Pod");
	/* Inlined fields stand in the parent; custom types are what they look like in JSON. */
	assert_non_null(member(json_object_get(definitions, "io.k8s.api.core.v1.Volume"), "properties", "emptyDir"));
	assert_null(member(json_object_get(definitions, "io.k8s.api.core.v1.Volume"), "properties", "volumeSource"));
	assert_string_equal(
		json_str(json_object_get(definitions, "io.k8s.apimachinery.pkg.util.intstr.IntOrString"), "format"),
		"int-or-string");
	document_reset();
}

/* kubectl trusts the server's field validation where the PATCH of the kind lists the parameter. */
static bool lists_field_validation(json_t *paths, const char *kind)
{
	const char *path;
	json_t *item, *parameter;
	size_t i;

	json_object_foreach(paths, path, item) {
		json_t *patch = json_object_get(item, "patch");

		if (!str_eq(json_string_value(member(patch, "x-kubernetes-group-version-kind", "kind")), kind))
			continue;
		json_array_foreach(json_object_get(patch, "parameters"), i, parameter)
			if (str_eq(json_str(parameter, "name"), "fieldValidation") &&
			    str_eq(json_str(parameter, "in"), "query"))
				return true;
	}
	return false;
}

static void v3_has_a_document_for_each_version(void **state)
{
	_cleanup_json_ json_t *index = parse(openapi_v3_index());
	json_t *paths = json_object_get(index, "paths"), *entry;
	const char *path;

	(void)state;
	assert_true(json_object_size(paths) > 15);
	json_object_foreach(paths, path, entry) {
		const struct document *d = openapi_v3(path);
		_cleanup_free_ char *url = str_printf("/openapi/v3/%s?hash=%s", path, d ? d->etag : "");
		_cleanup_json_ json_t *doc = parse(d);

		assert_string_equal(json_str(entry, "serverRelativeURL"), url);
		assert_string_equal(json_str(doc, "openapi"), "3.0.0");
		check_references(doc, member(doc, "components", "schemas"), "#/components/schemas/");
	}
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);
		char gv[96];
		_cleanup_free_ char *of =
			str_printf("%s/%s", *r->group ? "apis" : "api", schema_api_version(r->group, r->version, gv));
		_cleanup_json_ json_t *doc = parse(openapi_v3(of));

		if ((r->verbs & VERB_PATCH) && !lists_field_validation(json_object_get(doc, "paths"), r->kind))
			fail_msg("%s: no fieldValidation for %s", of, r->kind);
	}
	assert_null(openapi_v3("apis/apps/v2"));
	assert_null(openapi_v3("apis/v1"));
	assert_null(openapi_v3(""));
	document_reset();
}

/* Finds the fields with one number in a message: the n-th's bytes. */
static bool find(struct wire_slice in, uint32_t number, size_t nth, struct wire_slice *ret)
{
	struct wire_reader r = wire_reader_of(in);
	struct wire_field f;
	int more;

	while ((more = wire_next(&r, &f, NULL)) > 0)
		if (f.number == number && nth-- == 0) {
			*ret = f.bytes;
			return true;
		}
	assert_int_equal(more, 0);
	return false;
}

static void assert_text(struct wire_slice in, uint32_t number, const char *wanted)
{
	struct wire_slice text;

	assert_true(find(in, number, 0, &text));
	assert_int_equal(text.len, strlen(wanted));
	assert_memory_equal(text.data, wanted, text.len);
}

/* An entry of a list of {name = 1, value = 2}. */
static struct wire_slice entry_of(struct wire_slice in, uint32_t number, const char *name)
{
	struct wire_slice entry, text, value = { 0 };

	for (size_t i = 0; find(in, number, i, &entry); i++)
		if (find(entry, 1, 0, &text) && text.len == strlen(name) && memcmp(text.data, name, text.len) == 0) {
			assert_true(find(entry, 2, 0, &value));
			return value;
		}
	fail_msg("no entry %s", name);
	return value;
}

static void v2_in_protobuf_is_gnostics_document(void **state)
{
	const struct document *d = openapi_v2_proto();
	struct wire_slice doc = { (const unsigned char *)d->body->data, d->body->len }, definitions, paths, schema,
			  part;
	_cleanup_json_ json_t *json = parse(openapi_v2_json());
	size_t n = 0;

	(void)state;
	/* The body may have gone: ask again. */
	d = openapi_v2_proto();
	doc = (struct wire_slice){ (const unsigned char *)d->body->data, d->body->len };
	assert_text(doc, 1, "2.0");
	assert_true(find(doc, 9, 0, &definitions));
	while (find(definitions, 1, n, &part))
		n++;
	assert_int_equal(n, json_object_size(json_object_get(json, "definitions")));
	schema = entry_of(definitions, 1, "io.k8s.api.core.v1.PodSpec");
	assert_true(find(schema, 25, 0, &part));
	schema = entry_of(part, 1, "containers");
	assert_true(find(schema, 22, 0, &part));
	assert_text(part, 1, "array");
	part = entry_of(schema, 31, "x-kubernetes-patch-merge-key");
	assert_text(part, 2, "\"name\"");
	assert_true(find(schema, 23, 0, &part) && find(part, 1, 0, &part));
	assert_text(part, 1, "#/definitions/io.k8s.api.core.v1.Container");
	assert_true(find(doc, 8, 0, &paths));
	for (n = 0; find(paths, 2, n, &part);)
		n++;
	assert_int_equal(n, json_object_size(json_object_get(json, "paths")));
	schema = entry_of(paths, 2, "/api/v1/namespaces/{namespace}/pods/{name}");
	assert_true(find(schema, 8, 0, &part));
	assert_text(part, 5, "patchCoreV1NamespacedPod");
	document_reset();
}

static void bodies_nobody_wants_are_freed(void **state)
{
	const struct document *d = openapi_v3("api/v1");
	struct bytes *kept = bytes_ref(d->body);
	char etag[65];

	(void)state;
	memcpy(etag, d->etag, sizeof(etag));
	assert_false(openapi_trim()); /* just asked for */
	assert_true(openapi_trim());
	assert_false(openapi_trim());
	assert_int_equal(kept->refs, 1);
	/* Made again, it is the same. */
	d = openapi_v3("api/v1");
	assert_string_equal(d->etag, etag);
	assert_int_equal(d->body->len, kept->len);
	assert_memory_equal(d->body->data, kept->data, kept->len);
	bytes_unref(kept);
	document_reset();
}

static void bodies_together_are_bounded(void **state)
{
	struct bytes *first = bytes_ref(openapi_v2_json()->body), *last;

	(void)state;
	openapi_v2_proto();
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);
		char gv[96];
		_cleanup_free_ char *of =
			str_printf("%s/%s", *r->group ? "apis" : "api", schema_api_version(r->group, r->version, gv));

		assert_non_null(openapi_v3(of));
	}
	last = bytes_ref(openapi_v3("apis/apps/v1")->body);
	assert_int_equal(first->refs, 1); /* only ours: the least recently used went */
	assert_int_equal(last->refs, 2);
	bytes_unref(first);
	bytes_unref(last);
	document_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(v2_defines_what_it_names),
		cmocka_unit_test(v3_has_a_document_for_each_version),
		cmocka_unit_test(v2_in_protobuf_is_gnostics_document),
		cmocka_unit_test(bodies_nobody_wants_are_freed),
		cmocka_unit_test(bodies_together_are_bounded),
	};

	return cmocka_run_group_tests_name("openapi", tests, NULL, NULL);
}
