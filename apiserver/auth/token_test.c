// SPDX-License-Identifier: GPL-2.0-or-later
/* ServiceAccount tokens: keys and their change, hostile tokens, what a token is bound to. */
#include "apiserver/registry/registry_fixture.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "apiserver/auth/jwt.h"

#define ACCOUNTS "/api/v1/namespaces/default/serviceaccounts"
#define PODS "/api/v1/namespaces/default/pods"

/* ---- without a server */

static char *write_pem(const char *dir, const char *name, EVP_PKEY *key, bool private_half, const char *mode)
{
	char *path = str_printf("%s/%s", dir, name);
	FILE *out = fopen(path, mode);
	assert_non_null(out);
	assert_int_equal(private_half ? PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) : PEM_write_PUBKEY(out, key), 1);
	fclose(out);
	return path;
}

static json_t *claims_now(void)
{
	return json_pack("{s:s,s:I}", "iss", "https://issuer", "exp", (json_int_t)(clock_wall_s() + 100));
}

static void test_kinds_of_keys(void **state)
{
	char dir[] = "/tmp/token-test-XXXXXX";
	EVP_PKEY *keys[] = { EVP_EC_gen("P-256"), EVP_EC_gen("P-384"), EVP_EC_gen("P-521"), EVP_RSA_gen(2048) };
	static const char *const algs[] = { "ES256", "ES384", "ES512", "RS256" };
	_cleanup_json_ json_t *claims = claims_now();
	(void)state;
	assert_non_null(mkdtemp(dir));
	_cleanup_free_ char *all = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		free(all);
		all = write_pem(dir, "all.pub", keys[i], false, i ? "a" : "w");
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		_cleanup_err_ struct err err = { 0 };
		_cleanup_free_ char *key = write_pem(dir, "sa.key", keys[i], true, "w");
		struct token_keys *k = token_keys_load(key, (const char *const[]){ all, all, NULL }, &err);
		if (!k)
			fail_msg("%s", err_msg(&err));
		_cleanup_free_ char *token = token_sign(k, claims, &err);
		_cleanup_json_ json_t *got = token_verify(k, token, clock_wall_s()), *jwks = token_jwks(k);
		assert_true(got && json_equal(got, claims));
		assert_null(token_verify(k, token, clock_wall_s() + 200));
		assert_int_equal(json_array_size(json_object_get(jwks, "keys")), 4);
		struct jwt j;
		assert_int_equal(jwt_parse(token, &j, NULL), 0);
		assert_string_equal(jwt_alg_name(j.alg), algs[i]);
		/* The JWK of its kid is the one of its kind. */
		assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(jwks, "keys"), i), "kid")), j.kid);
		for (size_t n = 0; n < ARRAY_SIZE(keys); n++)
			assert_int_equal(jwt_signature_fits(&j, keys[n]), n == i);
		jwt_done(&j);
		token_keys_free(k);
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		EVP_PKEY_free(keys[i]);
	file_rm_rf(dir);
}

static void test_refused_keys(void **state)
{
	char dir[] = "/tmp/token-test-XXXXXX";
	EVP_PKEY *ours = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256"), *small = EVP_RSA_gen(1024), *odd = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	(void)state;
	assert_non_null(mkdtemp(dir));
	_cleanup_free_ char *key = write_pem(dir, "a.key", ours, true, "w"), *pub = write_pem(dir, "a.pub", ours, false, "w");
	_cleanup_free_ char *foreign = write_pem(dir, "b.pub", other, false, "w"), *weak = write_pem(dir, "c.pub", small, false, "w");
	_cleanup_free_ char *ed = write_pem(dir, "d.pub", odd, false, "w"), *ed_key = write_pem(dir, "d.key", odd, true, "w");
	const struct {
		const char *key, *pub, *why;
	} rows[] = {
		{ key, foreign, "public half" },
		{ key, weak, "block 1 (PUBLIC KEY) is no public key of" },
		{ key, ed, "block 1 (PUBLIC KEY) is no public key of" },
		{ ed_key, ed, "holds no private key of" },
		{ pub, pub, "holds no private key of" },
		{ key, key, "block 1 (PRIVATE KEY) is no public key of" },
		{ key, "/nowhere", "read /nowhere" },
		{ key, "/dev/null", "holds no public key" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_err_ struct err err = { 0 };
		assert_null(token_keys_load(rows[i].key, (const char *const[]){ rows[i].pub, NULL }, &err));
		if (!strstr(err_msg(&err), rows[i].why))
			fail_msg("row %zu: %s", i, err_msg(&err));
	}
	EVP_PKEY_free(ours);
	EVP_PKEY_free(other);
	EVP_PKEY_free(small);
	EVP_PKEY_free(odd);
	file_rm_rf(dir);
}

static char *assemble(const char *header, const char *payload, const char *signature)
{
	struct strbuf b = { 0 };
	base64url_encode(&b, header, strlen(header));
	strbuf_addc(&b, '.');
	base64url_encode(&b, payload, strlen(payload));
	strbuf_addf(&b, ".%s", signature);
	return strbuf_take(&b);
}

static void test_hostile_tokens(void **state)
{
	static const struct {
		const char *header, *payload, *signature, *why;
	} rows[] = {
		{ "{\"alg\":\"none\"}", "{}", "", "algorithm" },
		{ "{\"alg\":\"none\"}", "{}", "AAAA", "algorithm" },
		{ "{\"alg\":\"HS256\"}", "{}", "AAAA", "algorithm" },
		{ "{\"alg\":[\"ES256\"]}", "{}", "AAAA", "algorithm" },
		{ "{}", "{}", "AAAA", "algorithm" },
		{ "[]", "{}", "AAAA", "header is no JSON object" },
		{ "{\"alg\":\"ES256\"", "{}", "AAAA", "header is no JSON object" },
		{ "{\"alg\":\"ES256\",\"alg\":\"none\"}", "{}", "AAAA", "twice" },
		{ "{\"alg\":\"ES256\",\"crit\":[\"b64\"]}", "{}", "AAAA", "critical" },
		{ "{\"alg\":\"ES256\",\"kid\":7}", "{}", "AAAA", "kid" },
		{ "{\"alg\":\"ES256\"}", "{\"iss\":\"a\",\"iss\":\"b\"}", "AAAA", "twice" },
		{ "{\"alg\":\"ES256\"}", "3", "AAAA", "payload is no JSON object" },
		{ "{\"alg\":\"ES256\"}", "{}", "", "signature is no base64url" },
		{ "{\"alg\":\"ES256\"}", "{}", "A+/=", "signature is no base64url" },
		{ "{\"alg\":\"ES256\"}", "{}", "AAAA.AAAA", "three parts" },
	};
	static const char *const texts[] = { "", ".", "..", "...", "a.b.c", "e30.e30.e30", "=.=.=" };
	struct jwt j;
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_err_ struct err err = { 0 };
		_cleanup_free_ char *token = assemble(rows[i].header, rows[i].payload, rows[i].signature);
		assert_true(jwt_parse(token, &j, &err) < 0);
		if (!strstr(err_msg(&err), rows[i].why))
			fail_msg("row %zu: %s", i, err_msg(&err));
		jwt_done(&j);
	}
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_true(jwt_parse(texts[i], &j, NULL) < 0);
		jwt_done(&j);
	}
	_cleanup_strbuf_ struct strbuf huge = { 0 };
	for (int i = 0; i <= JWT_MAX_BYTES; i++)
		strbuf_addc(&huge, i == 10 || i == 20 ? '.' : 'A');
	assert_true(jwt_parse(huge.data, &j, NULL) < 0);
	jwt_done(&j);
}

/* ---- as clients see it */

static int who(struct fixture *f, const char *token)
{
	_cleanup_free_ char *bearer = str_printf("Bearer %s", token);
	struct http_client_header headers[] = { { "Authorization", bearer }, { "Content-Type", "application/json" } };
	return ask_headers(f, f->nobody, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", headers, 2, "{}");
}

static char *token_for(struct fixture *f, const char *body)
{
	if (ask(f, f->admin, "POST", ACCOUNTS "/robot/token", NULL, NULL, body) != 201)
		fail_msg("%s", f->text.data);
	return mem_strdup(json_str(f->answer, "status.token"));
}

static void test_change_of_keys(void **state)
{
	struct fixture *f = *state;
	_cleanup_err_ struct err err = { 0 };
	_cleanup_free_ char *sa = in_dir(f, "sa.key"), *pub = in_dir(f, "sa.pub"), *old = in_dir(f, "old.pub");
	assert_int_equal(ask(f, f->admin, "POST", ACCOUNTS, NULL, NULL, "{\"metadata\":{\"name\":\"robot\"}}"), 201);
	_cleanup_free_ char *before = token_for(f, "{\"spec\":{}}");
	assert_int_equal(who(f, before), 201);
	stop(f);
	assert_int_equal(rename(pub, old), 0);
	unlink(sa);
	assert_int_equal(pki_signing_key(sa, pub, &err), 0);
	f->old_public = old;
	start(f);
	assert_int_equal(who(f, before), 201);
	_cleanup_free_ char *after = token_for(f, "{\"spec\":{}}");
	assert_int_equal(who(f, after), 201);
	assert_int_equal(ask(f, f->admin, "GET", "/openid/v1/jwks", NULL, NULL, NULL), 200);
	assert_int_equal(json_array_size(json_object_get(f->answer, "keys")), 2);
	/* Without the old key its tokens are over, the new ones are not. */
	stop(f);
	f->old_public = NULL;
	start(f);
	assert_int_equal(who(f, before), 401);
	assert_int_equal(who(f, after), 201);
}

static void test_bound_tokens(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(ask(f, f->admin, "POST", ACCOUNTS, NULL, NULL, "{\"metadata\":{\"name\":\"robot\"}}"), 201);
	assert_int_equal(ask(f, f->admin, "POST", PODS, NULL, NULL,
			     "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"serviceAccountName\":\"robot\",\"containers\":[{\"name\":\"c\","
			     "\"image\":\"i\"}]}}"), 201);
	assert_int_equal(ask(f, f->admin, "POST", "/api/v1/nodes", NULL, NULL, "{\"metadata\":{\"name\":\"n\"}}"), 201);
	assert_int_equal(ask(f, f->admin, "POST", "/api/v1/namespaces/default/secrets", NULL, NULL, "{\"metadata\":{\"name\":\"s\"}}"), 201);
	_cleanup_free_ char *free_one = token_for(f, "{\"spec\":{}}");
	_cleanup_free_ char *of_pod = token_for(f, "{\"spec\":{\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\"}}}");
	_cleanup_free_ char *of_node = token_for(f, "{\"spec\":{\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n\"}}}");
	_cleanup_free_ char *of_secret = token_for(f, "{\"spec\":{\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"name\":\"s\"}}}");
	_cleanup_free_ char *elsewhere = token_for(f, "{\"spec\":{\"audiences\":[\"elsewhere\"]}}");
	assert_int_equal(who(f, free_one), 201);
	assert_int_equal(who(f, of_pod), 201);
	assert_int_equal(who(f, of_node), 201);
	assert_int_equal(who(f, of_secret), 201);
	assert_int_equal(who(f, elsewhere), 401);
	/* Another object of the same name is not the one. */
	assert_int_equal(ask(f, f->admin, "DELETE", PODS "/p?gracePeriodSeconds=0", NULL, NULL, NULL), 200);
	assert_int_equal(ask(f, f->admin, "DELETE", "/api/v1/nodes/n", NULL, NULL, NULL), 200);
	assert_int_equal(ask(f, f->admin, "POST", "/api/v1/nodes", NULL, NULL, "{\"metadata\":{\"name\":\"n\"}}"), 201);
	assert_int_equal(ask(f, f->admin, "DELETE", "/api/v1/namespaces/default/secrets/s", NULL, NULL, NULL), 200);
	assert_int_equal(who(f, of_pod), 401);
	assert_int_equal(who(f, of_node), 401);
	assert_int_equal(who(f, of_secret), 401);
	assert_int_equal(who(f, free_one), 201);
	assert_int_equal(ask(f, f->admin, "DELETE", ACCOUNTS "/robot", NULL, NULL, NULL), 200);
	assert_int_equal(ask(f, f->admin, "POST", ACCOUNTS, NULL, NULL, "{\"metadata\":{\"name\":\"robot\"}}"), 201);
	assert_int_equal(who(f, free_one), 401);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds_of_keys),
		cmocka_unit_test(test_refused_keys),
		cmocka_unit_test(test_hostile_tokens),
		cmocka_unit_test_setup_teardown(test_change_of_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bound_tokens, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
