/* SPDX-License-Identifier: GPL-2.0-or-later */
/* managedFields and server-side apply by tables: what each writer owns afterwards, and what the object is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "apiserver/apply/fieldset.h"
#include "apiserver/apply/managed.h"
#include "apiserver/apply/typed.h"
#include "base/mem.h"

static json_t *parse(const char *text)
{
	struct err e = { 0 };
	char *quoted = mem_strdup(text);
	for (char *c = quoted; *c; c++)
		if (*c == '\'')
			*c = '"';
	json_t *v = json_parse(quoted, strlen(quoted), NULL, &e);
	if (!v)
		fail_msg("%s: %s", text, err_msg(&e));
	free(quoted);
	return v;
}

static void assert_same(const json_t *got, const char *want)
{
	_cleanup_json_ json_t *w = parse(want);
	_cleanup_strbuf_ struct strbuf a = { 0 };
	if (json_equal(got, w))
		return;
	if (got)
		json_write(&a, got);
	fail_msg("got  %s\nwant %s", got ? a.data : "nothing", want);
}

static void test_sets(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b, *both, *sum, *less;
	} rows[] = {
		{ "{'f:x':{}}", "{}", "{}", "{'f:x':{}}", "{'f:x':{}}" },
		{ "{'f:x':{},'f:y':{}}", "{'f:y':{}}", "{'f:y':{}}", "{'f:x':{},'f:y':{}}", "{'f:x':{}}" },
		{ "{'f:x':{'f:y':{}}}", "{'f:x':{}}", "{}", "{'f:x':{'f:y':{},'.':{}}}", "{'f:x':{'f:y':{}}}" },
		{ "{'f:x':{'.':{},'f:y':{}}}", "{'f:x':{'f:y':{}}}", "{'f:x':{'f:y':{}}}", "{'f:x':{'.':{},'f:y':{}}}", "{'f:x':{}}" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *a = parse(rows[i].a), *b = parse(rows[i].b);
		_cleanup_json_ json_t *both = fieldset_intersection(a, b), *sum = fieldset_union(a, b), *less = fieldset_difference(a, b);
		assert_same(both, rows[i].both);
		assert_same(sum, rows[i].sum);
		assert_same(less, rows[i].less);
	}
}

static void note_path(const char *path, void *user)
{
	strbuf_addf(user, "%s;", path);
}

static void test_paths(void **state)
{
	(void)state;
	_cleanup_json_ json_t *set = parse("{'f:a':{'k:{\\'name\\':\\'x\\',\\'port\\':80}':{'.':{},'f:i':{}},'v:\\'s\\'':{}},'f:b':{}}");
	_cleanup_strbuf_ struct strbuf b = { 0 };
	fieldset_each(set, note_path, &b);
	assert_string_equal(b.data, ".a[name=\"x\",port=80];.a[name=\"x\",port=80].i;.a[=\"s\"];.b;");
}

#define DEPLOYMENT "io.k8s.api.apps.v1.Deployment"
static struct managed_request request(const char *message, const char *manager)
{
	return (struct managed_request){ .message = schema_message_by_name(message), .manager = manager, .api_version = "apps/v1",
		.now = "2026-01-01T00:00:00Z", .has_status_sub = true };
}

/* What a manager owns. */
static const json_t *owned(const json_t *object, const char *manager, const char *operation)
{
	json_t *e;
	size_t i;
	json_array_foreach(json_at(object, "metadata.managedFields"), i, e)
		if (str_eq(json_str(e, "manager"), manager) && str_eq(json_str(e, "operation"), operation))
			return json_object_get(e, "fieldsV1");
	return NULL;
}

static void test_create_owns_what_it_sets(void **state)
{
	(void)state;
	struct managed_request q = request(DEPLOYMENT, "kubectl-create");
	_cleanup_json_ json_t *d = parse("{'metadata':{'name':'d','namespace':'n','uid':'u','labels':{'a':'b'}},'spec':{'replicas':2,"
		"'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c',"
		"'image':'i','ports':[{'containerPort':80}]}]}}},'status':{'replicas':1}}");
	managed_update(&q, NULL, d);
	assert_same(owned(d, "kubectl-create", "Update"), "{'f:metadata':{'f:labels':{'.':{},'f:a':{}}},'f:spec':{'f:replicas':{},"
		"'f:selector':{},'f:template':{'f:metadata':{'f:labels':{'.':{},'f:a':{}}},'f:spec':{'f:containers':{'k:{\\'name\\':\\'c\\'}':"
		"{'.':{},'f:image':{},'f:name':{},'f:ports':{'.':{},'k:{\\'containerPort\\':80,\\'protocol\\':\\'TCP\\'}':{'.':{},"
		"'f:containerPort':{}}}}}}}}}");
}

static void test_update_moves_ownership(void **state)
{
	(void)state;
	struct managed_request a = request(DEPLOYMENT, "a"), b = request(DEPLOYMENT, "b");
	_cleanup_json_ json_t *one = parse("{'spec':{'replicas':1,'paused':true}}"), *two = parse("{'spec':{'replicas':2,'paused':true}}");
	_cleanup_json_ json_t *three = parse("{'spec':{'replicas':2}}"), *four = parse("{'spec':{'replicas':2}}");
	managed_update(&a, NULL, one);
	managed_update(&b, one, two);
	assert_same(owned(two, "a", "Update"), "{'f:spec':{'f:paused':{}}}");
	assert_same(owned(two, "b", "Update"), "{'f:spec':{'f:replicas':{}}}");
	managed_update(&b, two, three);
	assert_null(owned(three, "a", "Update"));
	/* Nothing changes: not even the record. */
	b.now = "2027-01-01T00:00:00Z";
	managed_update(&b, three, four);
	assert_true(json_equal(three, four));
}

/* Applies each configuration in turn to what the former made. */
static json_t *apply(const struct managed_request *q, json_t *live, const char *config, json_t **ret_status)
{
	_cleanup_json_ json_t *c = parse(config);
	*ret_status = NULL;
	json_t *object = managed_apply(q, live, c, ret_status);
	return object;
}

#define C(text) "{'metadata':{'name':'d'},'spec':{" text "}}"
#define TEMPLATE(containers) "'template':{'spec':{'containers':[" containers "]}}"

static json_t *applied(const struct managed_request *q, json_t *live, const char *config)
{
	json_t *status, *object = apply(q, live, config, &status);
	if (!object)
		fail_msg("%s: %s", config, json_str(status, "message"));
	return object;
}

static void assert_spec(const json_t *object, const char *want)
{
	assert_same(json_at(object, "spec"), want);
}

static void test_apply(void **state)
{
	(void)state;
	struct managed_request q = request(DEPLOYMENT, "me");
	_cleanup_json_ json_t *one = applied(&q, NULL, C("'replicas':1," TEMPLATE("{'name':'a','image':'i'},{'name':'b','image':'i'}")));
	assert_same(owned(one, "me", "Apply"), "{'f:spec':{'f:replicas':{},'f:template':{'f:spec':{'f:containers':{"
		"'k:{\\'name\\':\\'a\\'}':{'.':{},'f:image':{},'f:name':{}},'k:{\\'name\\':\\'b\\'}':{'.':{},'f:image':{},'f:name':{}}}}}}}");
	/* A default that nobody owns goes with the item it is in; a field of another manager keeps its item. */
	json_set_str(json_array_get(json_at(one, "spec.template.spec.containers"), 0), "imagePullPolicy", "Always");
	_cleanup_json_ json_t *two = applied(&q, one, C(TEMPLATE("{'name':'b','image':'j'}")));
	assert_spec(two, "{'template':{'spec':{'containers':[{'name':'b','image':'j'}]}}}");
	struct managed_request other = request(DEPLOYMENT, "other");
	_cleanup_json_ json_t *three = applied(&other, two, C(TEMPLATE("{'name':'b','tty':true},{'name':'c','image':'x'}")));
	assert_spec(three, "{'template':{'spec':{'containers':[{'name':'b','image':'j','tty':true},{'name':'c','image':'x'}]}}}");
	_cleanup_json_ json_t *four = applied(&q, three, C("'paused':true"));
	assert_spec(four, "{'template':{'spec':{'containers':[{'name':'b','tty':true},{'name':'c','image':'x'}]}},'paused':true}");
	/* The same again changes nothing, whatever the time. */
	q.now = "2027-01-01T00:00:00Z";
	_cleanup_json_ json_t *five = applied(&q, four, C("'paused':true"));
	assert_true(json_equal(four, five));
}

static void test_conflicts(void **state)
{
	(void)state;
	struct managed_request a = request(DEPLOYMENT, "a"), b = request(DEPLOYMENT, "b");
	_cleanup_json_ json_t *one = applied(&a, NULL, C("'replicas':1,'paused':true")), *status = NULL;
	assert_null(apply(&b, one, C("'replicas':2"), &status));
	assert_int_equal(json_int(status, "code", 0), 409);
	assert_string_equal(json_str(status, "message"), "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas");
	assert_string_equal(json_str(status, "details.causes[0].field"), ".spec.replicas");
	assert_string_equal(json_str(status, "details.causes[0].reason"), "FieldManagerConflict");
	_cleanup_json_ json_t *many = NULL;
	assert_null(apply(&b, one, C("'replicas':2,'paused':false"), &many));
	assert_string_equal(json_str(many, "message"),
			    "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.paused\n- .spec.replicas");
	/* The same value is shared, without conflict. */
	_cleanup_json_ json_t *shared = applied(&b, one, C("'replicas':1"));
	assert_same(owned(shared, "a", "Apply"), "{'f:spec':{'f:replicas':{},'f:paused':{}}}");
	assert_same(owned(shared, "b", "Apply"), "{'f:spec':{'f:replicas':{}}}");
	/* Force takes it. */
	b.force = true;
	_cleanup_json_ json_t *forced = applied(&b, shared, C("'replicas':3"));
	assert_same(owned(forced, "a", "Apply"), "{'f:spec':{'f:paused':{}}}");
	assert_spec(forced, "{'replicas':3,'paused':true}");
}

static void test_from_client_side_apply(void **state)
{
	(void)state;
	struct managed_request update = request(DEPLOYMENT, "kubectl-client-side-apply"), q = request(DEPLOYMENT, "kubectl");
	_cleanup_json_ json_t *live = parse("{'metadata':{'name':'d','annotations':{'kubectl.kubernetes.io/last-applied-configuration':"
		"'{\\'spec\\':{\\'replicas\\':1}}'}},'spec':{'replicas':1,'paused':true}}"), *status = NULL;
	json_t *annotations = json_at(live, "metadata.annotations");
	json_object_set_new(annotations, "kubectl.kubernetes.io/last-applied-configuration", json_string("{\"spec\":{\"replicas\":1}}"));
	managed_update(&update, NULL, live);
	_cleanup_json_ json_t *moved = applied(&q, live, C("'replicas':5"));
	assert_int_equal(json_int(moved, "spec.replicas", 0), 5);
	assert_null(apply(&q, live, C("'paused':false"), &status));
	assert_string_equal(json_str(status, "message"),
			    "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.paused");
	json_decref(status);
	/* An object without any record: what was there belongs to somebody before. */
	_cleanup_json_ json_t *bare = parse("{'metadata':{'name':'d'},'spec':{'replicas':1}}");
	assert_null(apply(&q, bare, C("'replicas':5"), &status));
	assert_string_equal(json_str(status, "message"),
			    "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: .spec.replicas");
}

static void test_what_cannot_be_applied(void **state)
{
	(void)state;
	struct managed_request q = request(DEPLOYMENT, "me");
	_cleanup_json_ json_t *status = NULL, *other = NULL;
	assert_null(apply(&q, NULL, C(TEMPLATE("{'name':'a'},{'name':'a'}")), &status));
	assert_non_null(strstr(json_str(status, "message"), "duplicate entries for key"));
	assert_null(apply(&q, NULL, "{'metadata':{'name':'d','managedFields':[]}}", &other));
	assert_string_equal(json_str(other, "message"), "metadata.managedFields must be nil");
}

static void test_reset_and_nonsense(void **state)
{
	(void)state;
	struct managed_request q = request(DEPLOYMENT, "me");
	_cleanup_json_ json_t *one = parse("{'spec':{'replicas':1}}"), *reset = parse("{'metadata':{'managedFields':[{}]},'spec':{'replicas':2}}");
	_cleanup_json_ json_t *after = parse("{'spec':{'replicas':3}}");
	managed_update(&q, NULL, one);
	managed_update(&q, one, reset);
	assert_null(json_at(reset, "metadata.managedFields"));
	managed_update(&q, reset, after);
	assert_null(json_at(after, "metadata.managedFields"));
	/* A record a client made up is taken as it is where it makes sense, and harms nothing where it does not. */
	_cleanup_json_ json_t *odd = parse("{'metadata':{'managedFields':[{'manager':'x','operation':'Update','fieldsV1':{'f:spec':7,'':{},"
		"'k:nonsense':{'f:a':[]}}}]},'spec':{'replicas':4}}");
	managed_update(&q, one, odd);
	assert_non_null(owned(odd, "me", "Update"));
}

static void test_many_updaters_become_one(void **state)
{
	(void)state;
	_cleanup_json_ json_t *live = parse("{'metadata':{'labels':{}}}");
	for (int i = 0; i < 30; i++) {
		_cleanup_free_ char *name = str_printf("m%d", i), *now = str_printf("2026-01-01T00:00:%02dZ", i);
		struct managed_request q = request(DEPLOYMENT, name);
		json_t *next = json_deep_copy(live);
		q.now = now;
		json_object_set_new(json_at(next, "metadata.labels"), name, json_string("x"));
		managed_update(&q, i ? live : NULL, next);
		json_decref(live);
		live = next;
	}
	assert_int_equal(json_array_size(json_at(live, "metadata.managedFields")), MANAGED_MAX_UPDATERS);
	assert_non_null(owned(live, "ancient-changes", "Update"));
	assert_non_null(owned(live, "m29", "Update"));
}

/* Lists are merged in the order of the configuration; nothing of the live object is lost. */
static void test_merge_order(void **state)
{
	(void)state;
	static const char *const rows[][3] = { { "abc", "c", "abc" }, { "abc", "ca", "bca" }, { "abc", "xc", "xabc" },
		{ "abc", "cx", "abcx" }, { "", "ab", "ab" }, { "ab", "", "ab" }, { "abcd", "db", "acdb" } };
	const struct schema_message *m = schema_message_by_name("io.k8s.api.core.v1.PodSpec");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *v[2];
		for (int k = 0; k < 2; k++) {
			json_t *list = json_array();
			for (const char *c = rows[i][k]; *c; c++)
				json_array_append_new(list, json_pack("{s:s#}", "name", c, 1));
			v[k] = json_pack("{s:o}", "containers", list);
		}
		_cleanup_json_ json_t *got = typed_merge(m, v[0], v[1]);
		_cleanup_strbuf_ struct strbuf b = { 0 };
		json_t *item;
		size_t n;
		json_array_foreach(json_object_get(got, "containers"), n, item)
			strbuf_adds(&b, json_str(item, "name"));
		assert_string_equal(b.data, rows[i][2]);
		json_decref(v[0]);
		json_decref(v[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_create_owns_what_it_sets),
		cmocka_unit_test(test_update_moves_ownership),
		cmocka_unit_test(test_apply),
		cmocka_unit_test(test_conflicts),
		cmocka_unit_test(test_from_client_side_apply),
		cmocka_unit_test(test_what_cannot_be_applied),
		cmocka_unit_test(test_reset_and_nonsense),
		cmocka_unit_test(test_many_updaters_become_one),
		cmocka_unit_test(test_merge_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
