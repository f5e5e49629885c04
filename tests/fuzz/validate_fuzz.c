/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links apiserver kube io base */
/*
 * Any object of any kind on its way into the store: the first byte picks the resource, the rest is JSON. It is decoded,
 * defaulted, prepared, validated as a create and as an update of itself, and printed as a row.
 */
#include <stdlib.h>

#include "apiserver/table/table.h"
#include "apiserver/validate/validate.h"
#include "kube/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void validate(const struct schema_resource *r, const char *sub, json_t *object, const json_t *old)
{
	struct field_errors e = { 0 };
	json_t *status;

	validate_object(r, sub, object, old, &e);
	status = field_errors_status(&e, r->group, r->kind, "x");
	if (e.count && !json_str(status, "message"))
		abort();
	json_decref(status);
	field_errors_done(&e);
}

static void row(const struct schema_resource *r, const json_t *object)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	_cleanup_json_ json_t *parsed = NULL;

	table_row(r, object, NULL, 0, TABLE_INCLUDE_METADATA, 1767225600, &out);
	parsed = json_parse(out.data, out.len, NULL, NULL);
	if (!parsed)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const subs[] = { NULL, "status", "resize", "ephemeralcontainers", "approval", "finalize" };
	_cleanup_json_ json_t *object = NULL, *old = NULL, *again = NULL;
	const struct schema_resource *r;

	if (size < 3)
		return 0;
	r = schema_resource_at(data[0] % schema_resource_count());
	object = json_parse((const char *)data + 2, size - 2, NULL, NULL);
	if (!json_is_object(object) || codec_normalize(r->message, object, NULL, NULL) < 0)
		return 0;
	defaults_apply(r, object);
	again = json_deep_copy(object);
	defaults_apply(r, again);
	if (!json_equal(object, again))
		abort();
	old = json_deep_copy(object);
	strategy_prepare_create(r, object);
	validate(r, NULL, object, NULL);
	strategy_prepare_update(r, subs[data[1] % ARRAY_SIZE(subs)], object, old);
	validate(r, subs[data[1] % ARRAY_SIZE(subs)], object, old);
	row(r, object);
	return 0;
}
