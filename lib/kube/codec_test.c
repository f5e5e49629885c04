/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The codecs: Go's error texts, canonical values, zero values, hostile protobuf, and round trips over every message. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "kube/codec_parts.h"
#include "kube/codec_wire.h"

static const struct schema_message *message_of(const char *api_version, const char *kind)
{
	const struct schema_kind *k = schema_kind_find(api_version, kind);

	assert_non_null(k);
	return k->message;
}

/* Normalizes text as a kind; the result's text (sorted keys) or the error's. Own. */
static char *normalized(const char *api_version, const char *kind, const char *text, struct codec_report *report)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_json_ json_t *v = json_parse(text, strlen(text), NULL, &err);

	assert_non_null(v);
	if (codec_normalize(message_of(api_version, kind), v, report, &err) < 0) {
		assert_int_equal(err.http_status, 400);
		return mem_strdup(err_msg(&err));
	}
	return json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);
}

static void assert_normalized(const char *api_version, const char *kind, const char *text, const char *wanted)
{
	_cleanup_free_ char *got = normalized(api_version, kind, text, NULL);

	assert_string_equal(got, wanted);
}

static void type_errors_read_like_gos(void **state)
{
	static const struct {
		const char *api_version, *kind, *text, *wanted;
	} cases[] = {
		{ "apps/v1", "Deployment", "{\"spec\":{\"replicas\":\"3\"}}",
		  "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32" },
		{ "apps/v1", "Deployment", "{\"spec\":{\"replicas\":1.5}}",
		  "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32" },
		{ "apps/v1", "Deployment", "{\"spec\":{\"replicas\":99999999999}}",
		  "json: cannot unmarshal number 99999999999 into Go struct field DeploymentSpec.spec.replicas of type "
		  "int32" },
		{ "apps/v1", "Deployment", "{\"spec\":[]}",
		  "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec" },
		{ "apps/v1", "Deployment", "[]", "json: cannot unmarshal array into Go value of type v1.Deployment" },
		{ "v1", "Pod", "{\"metadata\":{\"labels\":{\"a\":5}}}",
		  "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string" },
		{ "v1", "Pod", "{\"spec\":{\"containers\":[{\"name\":1}]}}",
		  "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string" },
		{ "v1", "Pod", "{\"spec\":{\"containers\":{}}}",
		  "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container" },
		{ "v1", "Pod", "{\"spec\":{\"restartPolicy\":true}}",
		  "json: cannot unmarshal bool into Go struct field PodSpec.spec.restartPolicy of type "
		  "v1.RestartPolicy" },
		{ "v1", "Pod", "{\"kind\":7}",
		  "json: cannot unmarshal number into Go struct field Pod.kind of type string" },
		{ "v1", "Pod", "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"x\"}}}]}}",
		  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'" },
		{ "v1", "Pod", "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1Kim\"}}}]}}",
		  "unable to parse quantity's suffix" },
		{ "v1", "Pod", "{\"metadata\":{\"creationTimestamp\":\"today\"}}",
		  "parsing time \"today\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"today\" as \"2006\"" },
		{ "v1", "Pod", "{\"metadata\":{\"creationTimestamp\":\"2020-13-01T00:00:00Z\"}}",
		  "parsing time \"2020-13-01T00:00:00Z\": month out of range" },
		{ "v1", "Pod", "{\"metadata\":{\"creationTimestamp\":\"2021-02-29T00:00:00Z\"}}",
		  "parsing time \"2021-02-29T00:00:00Z\": day out of range" },
		{ "v1", "Pod", "{\"metadata\":{\"creationTimestamp\":5}}",
		  "json: cannot unmarshal number into Go value of type string" },
		{ "coordination.k8s.io/v1", "Lease", "{\"spec\":{\"renewTime\":\"2020-01-01T00:00:00Z\"}}",
		  "parsing time \"2020-01-01T00:00:00Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" "
		  "as "
		  "\".000000\"" },
		{ "v1", "Secret", "{\"data\":{\"a\":\"YQ=\"}}", "illegal base64 data at input byte 3" },
		{ "v1", "Secret", "{\"data\":{\"a\":\"Y*\"}}", "illegal base64 data at input byte 1" },
		{ "v1", "Secret", "{\"data\":{\"a\":{}}}",
		  "json: cannot unmarshal object into Go struct field Secret.data of type []uint8" },
		{ "v1", "Service", "{\"spec\":{\"ports\":[{\"targetPort\":true}]}}",
		  "json: cannot unmarshal bool into Go value of type int32" },
		{ "v1", "PersistentVolumeClaim", "{\"spec\":{\"accessModes\":[1]}}",
		  "json: cannot unmarshal number into Go struct field PersistentVolumeClaimSpec.spec.accessModes of "
		  "type "
		  "v1.PersistentVolumeAccessMode" },
		{ "authentication.k8s.io/v1", "TokenReview", "{\"status\":{\"user\":{\"extra\":{\"a\":\"b\"}}}}",
		  "json: cannot unmarshal string into Go struct field UserInfo.status.user.extra of type string" },
		{ "apiextensions.k8s.io/v1", "CustomResourceDefinition",
		  "{\"spec\":{\"versions\":[{\"schema\":{\"openAPIV3Schema\":{\"additionalProperties\":3}}}]}}",
		  "boolean or JSON schema expected" },
		{ "apiextensions.k8s.io/v1", "CustomResourceDefinition",
		  "{\"spec\":{\"versions\":[{\"schema\":{\"openAPIV3Schema\":{\"properties\":{\"a\":{\"type\":1}}}}}]}"
		  "}",
		  "json: cannot unmarshal number into Go struct field "
		  "JSONSchemaProps.spec.versions.schema.openAPIV3Schema.properties.type of type string" },
		{ "apiextensions.k8s.io/v1", "CustomResourceDefinition",
		  "{\"spec\":{\"versions\":[{\"schema\":{\"openAPIV3Schema\":{\"items\":{\"type\":1}}}}]}}",
		  "json: cannot unmarshal number into Go struct field JSONSchemaProps.type of type string" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_normalized(cases[i].api_version, cases[i].kind, cases[i].text, cases[i].wanted);
}

static void unknown_fields_are_named_and_removed(void **state)
{
	struct codec_report report = { 0 };
	_cleanup_free_ char *got =
		normalized("v1", "Pod",
			   "{\"spec\":{\"foo\":1,\"containers\":[{\"name\":\"a\"},{\"Image\":\"x\",\"name\":\"b\"}],"
			   "\"volumes\":[{\"name\":\"v\",\"volumeSource\":{}}]},\"extra\":{\"spec\":{}}}",
			   &report);

	(void)state;
	assert_string_equal(
		got, "{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"volumes\":[{\"name\":\"v\"}]}}");
	assert_int_equal(report.unknown.count, 4);
	assert_string_equal(report.unknown.items[0], "unknown field \"spec.foo\"");
	assert_string_equal(report.unknown.items[1], "unknown field \"spec.containers[1].Image\"");
	assert_string_equal(report.unknown.items[2], "unknown field \"spec.volumes[0].volumeSource\"");
	assert_string_equal(report.unknown.items[3], "unknown field \"extra\"");
	codec_report_done(&report);
}

static void values_become_canonical(void **state)
{
	(void)state;
	assert_normalized("v1", "Pod",
			  "{\"metadata\":{\"creationTimestamp\":\"2020-01-01T02:00:00.75+02:00\"},\"spec\":{"
			  "\"containers\":[{\"name\":"
			  "\"c\",\"resources\":{\"limits\":{\"cpu\":0.5,\"memory\":\"1024Mi\",\"pods\":null}}}]}}",
			  "{\"metadata\":{\"creationTimestamp\":\"2020-01-01T00:00:00Z\"},\"spec\":{\"containers\":[{"
			  "\"name\":\"c\","
			  "\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"1Gi\",\"pods\":\"0\"}}}]}}");
	assert_normalized("coordination.k8s.io/v1", "Lease",
			  "{\"spec\":{\"renewTime\":\"2020-01-01T01:00:00.123456+01:00\"}}",
			  "{\"spec\":{\"renewTime\":\"2020-01-01T00:00:00.123456Z\"}}");
	assert_normalized("v1", "Secret", "{\"data\":{\"a\":\"YW\\nI=\",\"b\":null}}",
			  "{\"data\":{\"a\":\"YWI=\",\"b\":\"\"}}");
}

static void zeros_mean_something_only_in_pointers(void **state)
{
	(void)state;
	assert_normalized("apps/v1", "Deployment",
			  "{\"spec\":{\"replicas\":0,\"minReadySeconds\":0,\"paused\":false,\"revisionHistoryLimit\":0,"
			  "\"strategy\":{}}}",
			  "{\"spec\":{\"replicas\":0,\"revisionHistoryLimit\":0,\"strategy\":{}}}");
	/* Required fields stay; empty lists and maps of optional ones go; null is absent. */
	assert_normalized("v1", "Pod",
			  "{\"metadata\":{\"labels\":{},\"name\":\"\",\"creationTimestamp\":null},\"spec\":{"
			  "\"containers\":[],\"volumes\":"
			  "[{\"name\":\"\",\"emptyDir\":{}}],\"tolerations\":[],\"priority\":0}}",
			  "{\"metadata\":{},\"spec\":{\"containers\":[],\"priority\":0,\"volumes\":[{\"emptyDir\":{},"
			  "\"name\":\"\"}]}}");
}

static void nested_schemas_keep_their_forms(void **state)
{
	(void)state;
	assert_normalized(
		"apiextensions.k8s.io/v1", "CustomResourceDefinition",
		"{\"spec\":{\"versions\":[{\"schema\":{\"openAPIV3Schema\":{\"items\":{\"type\":\"string\",\"x\":1},"
		"\"default\":{\"x\":"
		"null},\"enum\":[1,null,\"a\"],\"additionalProperties\":false,\"dependencies\":{\"a\":[\"b\"]}}}}]}}",
		"{\"spec\":{\"versions\":[{\"schema\":{\"openAPIV3Schema\":{\"additionalProperties\":false,\"default\":"
		"{\"x\":null},"
		"\"dependencies\":{\"a\":[\"b\"]},\"enum\":[1,null,\"a\"],\"items\":{\"type\":\"string\"}}}}]}}");
}

/* Random objects: seeded, so that a failure repeats. */
static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

static json_t *random_object(const struct schema_message *m, int depth);

static json_t *random_text(void)
{
	static const char *const texts[] = { "a", "web-0", "\xc3\xa9t\xc3\xa9", "two words", "x\ny", "\"quoted\"" };

	return json_string(texts[rnd(ARRAY_SIZE(texts))]);
}

static json_t *random_any(void)
{
	return rnd(2) ? random_text() : json_pack("{s:i,s:[b,n]}", "k", (int)rnd(100), "l", 1);
}

static json_t *random_json(const struct schema_message *m, int depth)
{
	enum codec_json_form form = codec_json_form_of(m);

	if (form == CODEC_JSON_ANY)
		return random_any();
	if (rnd(2))
		return random_object(m->fields[form == CODEC_JSON_OR_BOOL].message, depth + 1);
	if (form == CODEC_JSON_OR_BOOL)
		return json_boolean(rnd(2));
	if (form == CODEC_JSON_OR_STRINGS)
		return json_pack("[s,s]", "p", "q");
	return json_pack("[o]", random_object(m->fields[0].message, depth + 1));
}

static json_t *random_time(bool micro)
{
	char text[CODEC_TIME_SIZE];

	assert_int_equal(
		codec_time_format((int64_t)rnd(0x7fffffff) * (rnd(2) ? 1 : -7), rnd(1000000) * 1000, micro, text), 0);
	return json_string(text);
}

static json_t *random_element(const struct schema_field *f, int depth)
{
	static const char *const quantities[] = { "1", "250m", "64Mi", "1500k", "3e9" };
	static const int64_t numbers[] = { 1, -1, 80, 300, INT32_MAX, INT32_MIN };

	switch ((enum schema_type)f->type) {
	case SCHEMA_STRING:
		return random_text();
	case SCHEMA_BOOL:
		return json_true();
	case SCHEMA_INT64:
		return json_integer(rnd(4) ? numbers[rnd(ARRAY_SIZE(numbers))] : rnd(2) ? INT64_MAX : INT64_MIN);
	case SCHEMA_INT32:
		return json_integer(numbers[rnd(ARRAY_SIZE(numbers))]);
	case SCHEMA_DOUBLE:
		return json_real(0.25 * (1 + rnd(1000)));
	case SCHEMA_BYTES:
		return json_string(rnd(2) ? "AAECAw==" : "aGVsbG8=");
	case SCHEMA_MESSAGE:
		return random_object(f->message, depth + 1);
	case SCHEMA_QUANTITY:
		return json_string(quantities[rnd(ARRAY_SIZE(quantities))]);
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		return random_time(f->type == SCHEMA_MICRO_TIME);
	case SCHEMA_INT_OR_STRING:
		return rnd(2) ? json_integer(1 + rnd(65535)) : json_string("25%");
	case SCHEMA_RAW:
		return random_any();
	case SCHEMA_FIELDS_V1:
		return json_pack("{s:{}}", "f:spec");
	case SCHEMA_JSON:
		return random_json(f->message, depth);
	case SCHEMA_TYPE_MAX:
		break;
	}
	fail();
	return NULL;
}

static json_t *random_field(const struct schema_field *f, int depth)
{
	size_t n = 1 + rnd(2);
	json_t *v;

	if (f->shape == SCHEMA_SINGLE) {
		if ((f->flags & SCHEMA_POINTER) && rnd(4) == 0) {
			if (f->type == SCHEMA_INT32 || f->type == SCHEMA_INT64 || f->type == SCHEMA_INT_OR_STRING)
				return json_integer(0);
			if (f->type == SCHEMA_BOOL)
				return json_false();
			if (f->type == SCHEMA_STRING)
				return json_string("");
		}
		return random_element(f, depth);
	}
	v = f->shape == SCHEMA_LIST ? json_array() : json_object();
	for (size_t i = 0; i < n; i++) {
		json_t *e =
			f->shape == SCHEMA_MAP_OF_LISTS ? json_pack("[s,s]", "one", "two") : random_element(f, depth);

		if (json_is_array(v))
			json_array_append_new(v, e);
		else
			json_object_set_new(v, i ? "other.io/key" : "key", e);
	}
	return v;
}

static void random_fields(const struct schema_message *m, int depth, json_t *into)
{
	for (size_t i = 0; i < m->field_count; i++) {
		const struct schema_field *f = &m->fields[i];
		json_t *v;

		if (!f->proto || (depth > 2 && rnd(8)) || depth > 5 || rnd(5) == 0)
			continue;
		if (f->flags & SCHEMA_INLINE) {
			random_fields(f->message, depth, into);
			continue;
		}
		v = random_field(f, depth);
		if (codec_drops_zero(f) && codec_is_zero(f, v, true))
			json_decref(v);
		else
			json_object_set_new(into, f->name, v);
	}
}

static json_t *random_object(const struct schema_message *m, int depth)
{
	json_t *v = json_object();

	random_fields(m, depth, v);
	return v;
}

static void check_round_trip(const struct schema_message *m)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_json_ json_t *v = random_object(m, 0);
	_cleanup_json_ json_t *copy = json_deep_copy(v);
	_cleanup_json_ json_t *back = NULL;
	_cleanup_strbuf_ struct strbuf wire = { 0 }, again = { 0 };
	struct codec_report report = { 0 };

	if (codec_normalize(m, copy, &report, &err) < 0)
		fail_msg("%s: %s", m->name, err_msg(&err));
	assert_int_equal(report.unknown.count, 0);
	if (!json_equal(v, copy))
		fail_msg("%s: normalizing changed a normal value (seed %llu)", m->name, (unsigned long long)seed);
	if (codec_proto_encode(m, v, &wire, &err) < 0)
		fail_msg("%s: %s", m->name, err_msg(&err));
	back = codec_proto_decode(m, wire.data, wire.len, &err);
	if (!back)
		fail_msg("%s: %s", m->name, err_msg(&err));
	if (!json_equal(v, back)) {
		_cleanup_free_ char *a = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);
		_cleanup_free_ char *b = json_dumps(back, JSON_COMPACT | JSON_SORT_KEYS);

		fail_msg("%s:\n%s\n%s", m->name, a, b);
	}
	assert_int_equal(codec_proto_encode(m, back, &again, &err), 0);
	assert_int_equal(wire.len, again.len);
	if (wire.len)
		assert_memory_equal(wire.data, again.data, wire.len);
	/* Every cut is an error or a shorter value, never more. */
	for (size_t cut = 0; cut < wire.len; cut += 1 + wire.len / 32) {
		_cleanup_json_ json_t *part = codec_proto_decode(m, wire.data, cut, NULL);
	}
	codec_report_done(&report);
}

static void every_message_goes_around(void **state)
{
	(void)state;
	for (size_t i = 0; i < schema_message_count(); i++) {
		const struct schema_message *m = schema_message_at(i);

		seed = i + 1;
		for (int n = 0; m->type == SCHEMA_MESSAGE && n < 6; n++)
			check_round_trip(m);
	}
}

static void every_kind_goes_around_in_its_envelope(void **state)
{
	(void)state;
	for (size_t i = 0; i < schema_kind_count(); i++) {
		_cleanup_err_ struct err err = { 0 };
		const struct schema_kind *k = schema_kind_at(i), *found = NULL;
		_cleanup_json_ json_t *v = NULL;
		_cleanup_json_ json_t *back = NULL;
		_cleanup_strbuf_ struct strbuf wire = { 0 };
		char gv[96];

		if (!(k->message->flags & SCHEMA_MSG_TYPE_META))
			continue;
		seed = 1000 + i;
		v = random_object(k->message, 2);
		json_object_set_new(v, "apiVersion", json_string(schema_api_version(k->group, k->version, gv)));
		json_object_set_new(v, "kind", json_string(k->kind));
		assert_int_equal(codec_envelope_encode(v, &wire, &err), 0);
		assert_true(codec_is_proto(wire.data, wire.len));
		back = codec_envelope_decode(wire.data, wire.len, &found, &err);
		assert_non_null(back);
		assert_ptr_equal(found, k);
		assert_true(json_equal(v, back));
	}
}

static json_t *decode(const char *api_version, const char *kind, const struct strbuf *wire, struct err *err)
{
	return codec_proto_decode(message_of(api_version, kind), wire->data, wire->len, err);
}

static void assert_decoded(const char *api_version, const char *kind, const struct strbuf *wire, const char *wanted)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_json_ json_t *v = decode(api_version, kind, wire, &err);
	_cleanup_free_ char *got = v ? json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	assert_string_equal(got ? got : err_msg(&err), wanted);
}

/* What a typed Go client sends: every field that is no pointer, zero or not. */
static void written_zeros_are_no_values(void **state)
{
	_cleanup_strbuf_ struct strbuf wire = { 0 };
	size_t spec = wire_open(&wire, 2), template, strategy;

	(void)state;
	wire_put_int(&wire, 1, 0); /* replicas, a pointer */
	template = wire_open(&wire, 3);
	wire_close(&wire, template); /* required: stays */
	strategy = wire_open(&wire, 4);
	wire_put_bytes(&wire, 1, "", 0);
	wire_close(&wire, strategy); /* an empty message that is no pointer */
	wire_put_int(&wire, 5, 0);   /* minReadySeconds */
	wire_put_int(&wire, 7, 0);   /* paused */
	wire_close(&wire, spec);
	assert_decoded("apps/v1", "Deployment", &wire, "{\"spec\":{\"replicas\":0,\"template\":{}}}");
	strbuf_reset(&wire);
	wire_put_int(&wire, 2, 0); /* value: Go always shows it */
	wire_put_int(&wire, 3, 0);
	assert_decoded("scheduling.k8s.io/v1", "PriorityClass", &wire, "{\"value\":0}");
}

static void repeated_fields_take_both_forms(void **state)
{
	_cleanup_strbuf_ struct strbuf wire = { 0 };
	size_t spec = wire_open(&wire, 2), context = wire_open(&wire, 14), packed;

	(void)state;
	wire_put_int(&wire, 4, 1); /* supplementalGroups */
	packed = wire_open(&wire, 4);
	wire_put_varint(&wire, 2);
	wire_put_varint(&wire, (uint64_t)-3);
	wire_close(&wire, packed);
	wire_close(&wire, context);
	wire_close(&wire, spec);
	assert_decoded("v1", "Pod", &wire, "{\"spec\":{\"securityContext\":{\"supplementalGroups\":[1,2,-3]}}}");
}

static void later_fields_merge_or_win(void **state)
{
	_cleanup_strbuf_ struct strbuf wire = { 0 };
	size_t at = wire_open(&wire, 1);

	(void)state;
	wire_put_bytes(&wire, 1, "a", 1);
	wire_put_bytes(&wire, 3, "ns", 2);
	wire_close(&wire, at);
	at = wire_open(&wire, 1);
	wire_put_bytes(&wire, 1, "b", 1);
	wire_put_bytes(&wire, 99, "unknown", 7);
	wire_close(&wire, at);
	assert_decoded("v1", "Pod", &wire, "{\"metadata\":{\"name\":\"b\",\"namespace\":\"ns\"}}");
}

static void strings_from_protobuf_become_valid(void **state)
{
	_cleanup_strbuf_ struct strbuf wire = { 0 };
	size_t at = wire_open(&wire, 1);

	(void)state;
	wire_put_bytes(&wire, 1, "a\xff\xc3\xa9\xe2\x82", 6);
	wire_close(&wire, at);
	assert_decoded("v1", "Pod", &wire,
		       "{\"metadata\":{\"name\":\"a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\"}}");
	strbuf_reset(&wire);
	at = wire_open(&wire, 1);
	wire_put_bytes(&wire, 1, "a\0b", 3);
	wire_close(&wire, at);
	assert_decoded("v1", "Pod", &wire, "metadata.name: a string holds a NUL character");
}

/* The bytes of APIResource{name: "pods", verbs: Verbs{items: [get, list]}} as upstream's generated.proto has them. */
static void verbs_are_a_message_of_their_own(void **state)
{
	static const uint8_t wire[] = "\x0a\x04pods\x10\x00\x1a\x00\x22\x0b\x0a\x03get\x0a\x04list\x32\x00";
	const struct schema_message *m = schema_message_by_name("io.k8s.apimachinery.pkg.apis.meta.v1.APIResource");
	_cleanup_json_ json_t *decoded = codec_proto_decode(m, wire, sizeof(wire) - 1, NULL);
	_cleanup_json_ json_t *v = json_pack("{s:s,s:b,s:s,s:[s,s],s:s}", "name", "pods", "namespaced", 0, "kind", "", "verbs",
					     "get", "list", "singularName", "");
	_cleanup_strbuf_ struct strbuf out = { 0 };

	(void)state;
	assert_non_null(decoded);
	assert_true(json_equal(json_object_get(decoded, "verbs"), json_object_get(v, "verbs")));
	assert_int_equal(codec_proto_encode(m, v, &out, NULL), 0);
	assert_int_equal(out.len, sizeof(wire) - 1);
	assert_memory_equal(out.data, wire, out.len);
}

static void hostile_bytes_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *wanted;
	} cases[] = {
		{ "\x0a", 1, "unexpected EOF" },
		{ "\x0a\x05\x0a", 3, "unexpected EOF" },
		{ "\x0a\x03\x0a\x05x", 5, "metadata: unexpected EOF" },
		{ "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13, "proto: integer overflow" },
		{ "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "unexpected EOF" },
		{ "\x08\x01", 2, "proto: wrong wireType = 0 for field metadata" },
		{ "\x0a\x02\x08\x01", 4, "proto: wrong wireType = 0 for field metadata.name" },
		{ "\x12\x05\x12\x03\x0a\x01\xff\x0f", 8, "proto: illegal wireType 7" },
		{ "\x02\x00", 2, "proto: illegal tag 0 (wire type 2)" },
		{ "\x0c", 1, "proto: unexpected end of group" },
		{ "\x0b\x08\x01", 3, "unexpected EOF" },
		{ "\x12\x04\xc8\x01\x01\x01", 6, "spec: proto: illegal tag 0 (wire type 1)" },
		{ "\x0a\x05\x42\x03\x08\xff\x7f", 7,
		  "{\"metadata\":{\"creationTimestamp\":\"1970-01-01T04:33:03Z\"}}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct strbuf wire = { .data = (char *)cases[i].bytes, .len = cases[i].len };

		assert_decoded("v1", "Pod", &wire, cases[i].wanted);
	}
}

static void nesting_and_counts_are_bounded(void **state)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_strbuf_ struct strbuf wire = { 0 };
	const struct schema_message *schema =
		schema_message_by_name("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
	size_t at[400];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++)
		at[i] = wire_open(&wire, 28); /* not */
	for (size_t i = ARRAY_SIZE(at); i-- > 0;)
		wire_close(&wire, at[i]);
	assert_null(codec_proto_decode(schema, wire.data, wire.len, &err));
	assert_non_null(strstr(err_msg(&err), "nested too deep"));
	strbuf_reset(&wire);
	at[0] = wire_open(&wire, 2);
	for (int i = 0; i < CODEC_MAX_VALUES + 1; i++)
		strbuf_add(&wire, "\x12\x00", 2); /* containers */
	wire_close(&wire, at[0]);
	assert_null(codec_proto_decode(message_of("v1", "Pod"), wire.data, wire.len, &err));
	assert_non_null(strstr(err_msg(&err), "values"));
}

static void envelopes_are_checked(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *wanted;
	} cases[] = {
		{ "k8s", 3, "expected prefix" },
		{ "{}  ", 4, "expected prefix" },
		{ "k8s\0", 4, "Object 'Kind' is missing" },
		{ "k8s\0\x0a\x09\x0a\x02v1\x12\x03Wee", 15, "no kind \"Wee\" is registered for version \"v1\"" },
		{ "k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x1a\x04gzip", 21, "contentEncoding" },
		{ "k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x7f", 17, "unexpected EOF" },
		{ "k8s\0\x0a\x03\x08\x01\x01", 9, "wrong wireType" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_err_ struct err err = { 0 };

		assert_null(codec_envelope_decode(cases[i].bytes, cases[i].len, NULL, &err));
		assert_int_equal(err.http_status, 400);
		if (!strstr(err_msg(&err), cases[i].wanted))
			fail_msg("%s, not %s", err_msg(&err), cases[i].wanted);
	}
}

static void raw_values_hold_json_or_envelopes(void **state)
{
	_cleanup_err_ struct err err = { 0 };
	const struct schema_message *event = message_of("v1", "WatchEvent");
	_cleanup_json_ json_t *v = json_pack("{s:s,s:{s:s,s:s,s:{s:s}}}", "type", "ADDED", "object", "kind", "Pod",
					     "apiVersion", "v1", "metadata", "name", "a");
	_cleanup_json_ json_t *back = NULL;
	_cleanup_strbuf_ struct strbuf wire = { 0 };
	static const char broken[] = "\x0a\x01X\x12\x05\x0a\x03{\"a";

	(void)state;
	assert_int_equal(codec_proto_encode(event, v, &wire, &err), 0);
	assert_non_null(memmem(wire.data, wire.len, "k8s\0", 4));
	back = codec_proto_decode(event, wire.data, wire.len, &err);
	assert_true(json_equal(v, back));
	assert_null(codec_proto_decode(event, broken, sizeof(broken) - 1, &err));
	assert_true(str_starts(err_msg(&err), "object: "));
}

static void what_does_not_fit_is_not_encoded(void **state)
{
	_cleanup_err_ struct err err = { 0 };
	_cleanup_strbuf_ struct strbuf wire = { 0 };
	_cleanup_json_ json_t *v = json_pack("{s:{s:[{s:i}]}}", "spec", "containers", "name", 5);

	(void)state;
	strbuf_adds(&wire, "before");
	assert_int_equal(codec_proto_encode(message_of("v1", "Pod"), v, &wire, &err), -EINVAL);
	assert_string_equal(err_msg(&err), "spec.containers[0].name: cannot be written as protobuf: a string expected");
	assert_int_equal(wire.len, strlen("before"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(type_errors_read_like_gos),
		cmocka_unit_test(unknown_fields_are_named_and_removed),
		cmocka_unit_test(values_become_canonical),
		cmocka_unit_test(zeros_mean_something_only_in_pointers),
		cmocka_unit_test(nested_schemas_keep_their_forms),
		cmocka_unit_test(every_message_goes_around),
		cmocka_unit_test(every_kind_goes_around_in_its_envelope),
		cmocka_unit_test(written_zeros_are_no_values),
		cmocka_unit_test(repeated_fields_take_both_forms),
		cmocka_unit_test(later_fields_merge_or_win),
		cmocka_unit_test(strings_from_protobuf_become_valid),
		cmocka_unit_test(verbs_are_a_message_of_their_own),
		cmocka_unit_test(hostile_bytes_are_refused),
		cmocka_unit_test(nesting_and_counts_are_bounded),
		cmocka_unit_test(envelopes_are_checked),
		cmocka_unit_test(raw_values_hold_json_or_envelopes),
		cmocka_unit_test(what_does_not_fit_is_not_encoded),
	};

	return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
