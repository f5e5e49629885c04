/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For the tests of this room: objects as YAML through decoding, defaults and strategy into validation, errors as lines
 * of text. */
#ifndef KEELSON_APISERVER_VALIDATE_FIXTURE_H
#define KEELSON_APISERVER_VALIDATE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "apiserver/validate/validate.h"
#include "base/mem.h"
#include "kube/codec.h"

static inline const struct schema_resource *fixture_resource(const json_t *o)
{
	const char *version = json_str_or(o, "apiVersion", ""), *slash = strchr(version, '/');
	_cleanup_free_ char *group = slash ? mem_strndup(version, (size_t)(slash - version)) : mem_strdup("");
	const struct schema_resource *r = schema_resource_of_kind(group, slash ? slash + 1 : version,
								  json_str_or(o, "kind", ""));

	if (!r)
		fail_msg("no such kind: %s %s", version, json_str_or(o, "kind", ""));
	return r;
}

/* Decoded and defaulted, as a request body would be. Own. */
static inline json_t *fixture_object(const char *yaml)
{
	struct codec_report report = {0};
	struct err e = {0};
	json_t *o = yaml_parse(yaml, strlen(yaml), &e);
	const struct schema_resource *r;

	if (!o)
		fail_msg("%s: %s", yaml, err_msg(&e));
	r = fixture_resource(o);
	if (codec_normalize(r->message, o, &report, &e) < 0)
		fail_msg("%s: %s", yaml, err_msg(&e));
	if (report.unknown.count)
		fail_msg("unknown field %s in %s", report.unknown.items[0], yaml);
	codec_report_done(&report);
	defaults_apply(r, o);
	return o;
}

/* The errors of creating o (old NULL) or of updating old to o, a line each; own. */
static inline char *fixture_errors(const char *subresource, json_t *o, const json_t *old)
{
	const struct schema_resource *r = fixture_resource(o);
	struct field_errors e = {0};
	struct strbuf text = {0};

	if (!json_str(o, "metadata.namespace") && r->namespaced)
		json_set_str(o, "metadata.namespace", "default");
	if (old) {
		strategy_prepare_update(r, subresource, o, old);
		json_set_str(o, "metadata.resourceVersion", "1");
	} else {
		json_set_str(o, "metadata.uid", "11111111-2222-3333-4444-555555555555");
		strategy_prepare_create(r, o);
	}
	validate_object(r, subresource, o, old, &e);
	for (size_t i = 0; i < e.count; i++)
		strbuf_addf(&text, "%s%s: %s", i ? "\n" : "", e.items[i].field, e.items[i].body);
	field_errors_done(&e);
	return strbuf_take(&text);
}

struct fixture_row {
	const char *yaml, *errors;
};

static inline void fixture_run(const struct fixture_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_json_ json_t *o = fixture_object(rows[i].yaml);
		_cleanup_free_ char *got = fixture_errors(NULL, o, NULL);

		if (strcmp(got, rows[i].errors) != 0)
			fail_msg("%s\n got:\n%s\n want:\n%s", rows[i].yaml, got, rows[i].errors);
	}
}

/* Updates of one object; each row is the whole new object. */
static inline void fixture_run_updates(const char *old_yaml, const char *subresource, const struct fixture_row *rows,
				       size_t count)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_json_ json_t *old = fixture_object(old_yaml), *o = fixture_object(rows[i].yaml);
		_cleanup_free_ char *first = fixture_errors(NULL, old, NULL), *got = NULL;

		assert_string_equal(first, "");
		json_set_str(o, "metadata.uid", json_str(old, "metadata.uid"));
		got = fixture_errors(subresource, o, old);
		if (strcmp(got, rows[i].errors) != 0)
			fail_msg("%s\n got:\n%s\n want:\n%s", rows[i].yaml, got, rows[i].errors);
	}
}
#define RUN(rows) fixture_run(rows, ARRAY_SIZE(rows))
#define RUN_UPDATES(old, sub, rows) fixture_run_updates(old, sub, rows, ARRAY_SIZE(rows))

#endif
