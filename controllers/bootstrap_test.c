// SPDX-License-Identifier: GPL-2.0-or-later
/* Bootstrap tokens: what a Secret says, and signatures as kubeadm checks them. */
#include "controllers/bootstrap.h"
#include "controllers/deciders_test.h"

#include "base/clock.h"

static json_t *token(const char *id, const char *secret, const char *signing, const char *expiration)
{
	const char *const fields[][2] = { { "token-id", id }, { "token-secret", secret }, { "usage-bootstrap-signing", signing },
					  { "expiration", expiration } };
	_cleanup_free_ char *name = str_printf("bootstrap-token-%s", id);
	json_t *data = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		_cleanup_strbuf_ struct strbuf b = { 0 };

		if (!fields[i][1])
			continue;
		base64_encode(&b, fields[i][1], strlen(fields[i][1]));
		json_object_set_new(data, fields[i][0], json_string(b.data));
	}
	return json_pack("{s:{s:s}, s:o}", "metadata", "name", name, "data", data);
}

/* RFC 7515's detached form; the expected one was made by openssl dgst -sha256 -hmac. */
static void signature(void **state _unused_)
{
	_cleanup_free_ char *jws = bootstrap_sign("abcdef", "0123456789abcdef", "The server is https://192.0.2.1:6443.");

	assert_string_equal(jws, "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..vnvdUhzOLicxr9Kmdi6Kk1d4Skz40a02kV1kzQUs8CQ");
}

static void expiry(void **state _unused_)
{
	_cleanup_json_ json_t *never = token("abcdef", "0123456789abcdef", "true", NULL);
	_cleanup_json_ json_t *then = token("abcdef", "0123456789abcdef", "true", "1970-01-01T00:01:00Z");
	_cleanup_json_ json_t *nonsense = token("abcdef", "0123456789abcdef", "true", "soon");

	assert_int_equal(bootstrap_expires_s(never), INT64_MAX);
	assert_int_equal(bootstrap_expires_s(then), 60);
	assert_int_equal(bootstrap_expires_s(nonsense), 0);
}

static void who_signs(void **state _unused_)
{
	_cleanup_json_ json_t *info = json_pack("{s:{s:s}}", "data", "kubeconfig", "text");
	_cleanup_json_ json_t *empty = json_pack("{s:{}}", "data");
	json_t *tokens[] = {
		token("aaaaaa", "0123456789abcdef", "true", NULL),
		token("bbbbbb", "0123456789abcdef", "false", NULL),
		token("cccccc", "0123456789abcdef", "true", "1970-01-01T00:01:00Z"),
		token("DDDDDD", "0123456789abcdef", "true", NULL),
		token("eeeeee", "short", "true", NULL),
		token("ffffff", "0123456789abcdef", "true", "1970-01-01T00:03:00Z"),
	};
	_cleanup_object_list_ struct object_list list = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++)
		object_list_add(&list, tokens[i]);
	_cleanup_json_ json_t *all = bootstrap_signatures(info, &list, 100), *none = bootstrap_signatures(empty, &list, 100);
	assert_int_equal(json_object_size(all), 2);
	assert_non_null(json_object_get(all, "jws-kubeconfig-aaaaaa"));
	assert_non_null(json_object_get(all, "jws-kubeconfig-ffffff"));
	assert_int_equal(json_object_size(none), 0);
	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++)
		json_decref(tokens[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signature),
		cmocka_unit_test(expiry),
		cmocka_unit_test(who_signs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
