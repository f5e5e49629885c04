// SPDX-License-Identifier: GPL-2.0-or-later
#include "controllers/deciders_test.h"

#include "controllers/labelsets.h"

static void sets_live_as_long_as_their_pods(void **state _unused_)
{
	struct labelsets *s = labelsets_new();
	_cleanup_json_ json_t *a = from_yaml("metadata: {name: a, namespace: x, labels: {app: web, tier: f}}");
	_cleanup_json_ json_t *b = from_yaml("metadata: {name: b, namespace: x, labels: {tier: f, app: web}}");
	_cleanup_json_ json_t *c = from_yaml("metadata: {name: c, namespace: y, labels: {app: web, tier: f}}");
	_cleanup_json_ json_t *bare = from_yaml("metadata: {name: d, namespace: x}");
	_cleanup_json_ json_t *changed = from_yaml("metadata: {name: a, namespace: x, labels: {app: other}}");

	labelsets_change(s, NULL, a);
	labelsets_change(s, NULL, b);
	assert_int_equal(labelsets_count(s), 1);
	labelsets_change(s, NULL, c);
	labelsets_change(s, NULL, bare);
	assert_int_equal(labelsets_count(s), 3);
	labelsets_change(s, a, changed);
	assert_int_equal(labelsets_count(s), 4);
	labelsets_change(s, b, b);
	labelsets_change(s, b, NULL);
	labelsets_change(s, changed, NULL);
	assert_int_equal(labelsets_count(s), 2);
	labelsets_change(s, c, NULL);
	labelsets_change(s, bare, NULL);
	assert_int_equal(labelsets_count(s), 0);
	labelsets_change(s, bare, NULL); /* never seen: nothing happens */
	assert_int_equal(labelsets_count(s), 0);
	labelsets_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sets_live_as_long_as_their_pods) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
