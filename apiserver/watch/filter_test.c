// SPDX-License-Identifier: GPL-2.0-or-later
/* Selectors by signatures: random selectors over random pods find what comparing each pod finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "apiserver/store/place.h"
#include "apiserver/watch/filter.h"

enum { PODS = 2000, SELECTORS = 3000 };

static unsigned seed = 1;

static unsigned pick(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % n;
}

/* Few keys and many values, some of them empty, so that selectors match some, many or none. */
static void add_labels(json_t *labels)
{
	for (unsigned i = pick(5); i; i--) {
		char key[16], value[16] = "";
		snprintf(key, sizeof(key), "k%u", pick(6));
		if (pick(5))
			snprintf(value, sizeof(value), "v%u", pick(1 + pick(40)));
		json_object_set_new(labels, key, json_string(value));
	}
}

static struct store_object *random_pod(const struct schema_resource *pods, unsigned i)
{
	char name[24], node[24], key[48];
	snprintf(name, sizeof(name), "pod-%u", i);
	snprintf(node, sizeof(node), "node-%u", pick(30));
	snprintf(key, sizeof(key), "ns%u/%s", pick(3), name);
	_cleanup_json_ json_t *pod = json_pack("{s:s,s:s,s:{s:s,s:{}},s:{s:s},s:{s:s}}", "kind", "Pod", "apiVersion", "v1", "metadata",
					       "name", name, "labels", "spec", "nodeName", pick(4) ? node : "", "status", "phase",
					       pick(2) ? "Running" : "Pending");
	add_labels(json_object_get(json_object_get(pod, "metadata"), "labels"));
	return entry_make(pods, key, i + 1, pod);
}

static void random_requirement(struct strbuf *b)
{
	unsigned key = pick(7), n = 1 + pick(pick(4) ? 3 : 12);
	switch (pick(7)) {
	case 0: strbuf_addf(b, "k%u", key); return;
	case 1: strbuf_addf(b, "!k%u", key); return;
	case 2: strbuf_addf(b, "k%u!=v%u", key, pick(40)); return;
	case 3: strbuf_addf(b, "k%u=", key); return;
	case 4:
	case 5:
		strbuf_addf(b, "k%u %s (", key, pick(4) ? "in" : "notin");
		for (unsigned i = 0; i < n; i++)
			strbuf_addf(b, i ? ",v%u" : "v%u", pick(40));
		strbuf_addc(b, ')');
		return;
	default: strbuf_addf(b, "k%u=v%u", key, pick(10)); return;
	}
}

static void random_fields(struct strbuf *b)
{
	const char *sep = "";
	strbuf_adds(b, "");
	if (pick(4) == 0) {
		strbuf_addf(b, "spec.nodeName%s", pick(3) ? "=" : "!=");
		if (pick(4))
			strbuf_addf(b, "node-%u", pick(32));
		sep = ",";
	}
	if (pick(5) == 0) {
		strbuf_addf(b, "%sstatus.phase=%s", sep, pick(3) ? "Running" : "Failed");
		sep = ",";
	}
	if (pick(8) == 0)
		strbuf_addf(b, "%smetadata.name%spod-%u", sep, pick(3) ? "=" : "!=", pick(PODS + 100));
}

static void test_never_loses_a_match(void **state)
{
	(void)state;
	const struct schema_resource *pods = schema_resource_find("", "v1", "pods");
	struct place place = { 0 };
	size_t found = 0;
	if (getenv("SEED"))
		seed = (unsigned)strtoul(getenv("SEED"), NULL, 10);
	for (unsigned i = 0; i < PODS; i++)
		assert_null(place_put(&place, random_pod(pods, i)));
	for (unsigned i = 0; i < SELECTORS; i++) {
		_cleanup_strbuf_ struct strbuf labels = { 0 }, fields = { 0 };
		struct filter f;
		strbuf_adds(&labels, "");
		for (unsigned n = pick(4), k = 0; k < n; k++) {
			strbuf_adds(&labels, k ? "," : "");
			random_requirement(&labels);
		}
		random_fields(&fields);
		assert_int_equal(filter_compile(pods, pick(3) ? "" : "ns1", NULL, labels.data, fields.data, &f, NULL), 0);
		struct store_iter all = place_iterate(&place, NULL), it = all;
		for (struct store_object *o; (o = store_next(&all));) {
			if (!filter_matches(&f, o))
				continue;
			struct store_object *got = filter_next(&f, &it);
			if (got != o)
				fail_msg("labels %s, fields %s: %s is lost", labels.data, fields.data, o->key);
			found++;
		}
		assert_null(filter_next(&f, &it));
		filter_done(&f);
	}
	assert_true(found > SELECTORS);
	place_clear(&place);
}

/* What none has is hardly ever looked at. */
static void test_leaves_out(void **state)
{
	static const struct {
		const char *labels, *fields;
	} none[] = { { "app=none", "" }, { "app in (none,nobody)", "" }, { "app", "" }, { "k1=none,k2=none", "" }, { "", "metadata.name=none" },
		{ "", "spec.nodeName=none" } };
	const struct schema_resource *pods = schema_resource_find("", "v1", "pods");
	struct place place = { 0 };
	(void)state;
	for (unsigned i = 0; i < PODS; i++)
		place_put(&place, random_pod(pods, i));
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		struct filter f;
		size_t looked_at = 0;
		assert_int_equal(filter_compile(pods, "", NULL, none[i].labels, none[i].fields, &f, NULL), 0);
		for (struct store_iter it = place_iterate(&place, NULL); store_next_wanted(&it, &f.want);)
			looked_at++;
		if (looked_at > PODS / 3)
			fail_msg("%s %s: %zu of %d", none[i].labels, none[i].fields, looked_at, PODS);
		filter_done(&f);
	}
	place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_loses_a_match),
		cmocka_unit_test(test_leaves_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
