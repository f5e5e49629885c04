// SPDX-License-Identifier: GPL-2.0-or-later
/* OpenID Connect against an issuer of our own on a loopback port: whose tokens are believed, whose are not, when keys are fetched. */
#include "apiserver/registry/registry_fixture.h"

#include <openssl/hmac.h>
#include <openssl/pem.h>

#include "apiserver/auth/jwt.h"
#include "apiserver/auth/oidc.h"

struct issuer {
	struct http_server *http;
	char url[64];
	EVP_PKEY *ec, *rsa, *foreign;
	json_t *keys;      /* the answer of its jwks_uri */
	const char *named; /* what it calls itself */
	unsigned asked;
};

static void serve(struct http_request *req, void *user)
{
	struct issuer *i = user;
	const struct http_field type = { "Content-Type", "application/json" };
	_cleanup_strbuf_ struct strbuf b = { 0 };
	if (str_eq(http_path(req), "/keys")) {
		i->asked++;
		json_write(&b, i->keys);
	} else {
		strbuf_addf(&b, "{\"issuer\":\"%s\",\"jwks_uri\":\"%s/keys\"}", i->named, i->url);
	}
	http_respond(req, 200, &type, 1, b.data, b.len);
}

static void begin(struct fixture *f, struct issuer *i)
{
	_cleanup_free_ char *crt = in_dir(f, "server.crt"), *key = in_dir(f, "server.key"), *ca = in_dir(f, "ca.crt");
	_cleanup_err_ struct err err = { 0 };
	int port;
	*i = (struct issuer){ .ec = EVP_EC_gen("P-256"), .rsa = EVP_RSA_gen(2048), .foreign = EVP_EC_gen("P-256"), .named = i->url };
	i->keys = json_pack("{s:[o,o,{s:s}]}", "keys", jwt_jwk(i->ec, "ec"), jwt_jwk(i->rsa, "rsa"), "kty", "oct");
	SSL_CTX *tls = tls_server_new(crt, key, ca, &err);
	i->http = http_server_new(&f->loop, NULL, serve, i);
	assert_int_equal(http_server_listen(i->http, "127.0.0.1:0", tls, &port, &err), 0);
	SSL_CTX_free(tls);
	snprintf(i->url, sizeof(i->url), "https://127.0.0.1:%d", port);
}

static void on_issuer_gone(void *user)
{
	((struct issuer *)user)->http = NULL;
}

static void end(struct fixture *f, struct issuer *i)
{
	f->g.oidc = oidc_free(f->g.oidc);
	http_server_shutdown(i->http, 0, on_issuer_gone, i);
	while (i->http)
		uv_run(&f->loop, UV_RUN_ONCE);
	EVP_PKEY_free(i->ec);
	EVP_PKEY_free(i->rsa);
	EVP_PKEY_free(i->foreign);
	json_decref(i->keys);
}

static void use(struct fixture *f, struct issuer *i, struct oidc_options o)
{
	_cleanup_free_ char *ca = in_dir(f, "ca.crt");
	_cleanup_err_ struct err err = { 0 };
	o.issuer_url = i->url;
	o.client_id = "kube";
	o.ca_file = ca;
	f->g.oidc = oidc_free(f->g.oidc);
	f->g.oidc = oidc_new(&f->loop, &o, &err);
	if (!f->g.oidc)
		fail_msg("%s", err_msg(&err));
}

/* A token with the usual claims and more, which come later and count. */
static char *token_of(struct issuer *i, EVP_PKEY *key, const char *kid, const char *more)
{
	_cleanup_json_ json_t *v = json_pack("{s:s,s:s,s:s,s:I}", "iss", i->url, "aud", "kube", "sub", "jane", "exp",
					     (json_int_t)(clock_wall_s() + 100));
	_cleanup_json_ json_t *extra = json_parse(more, strlen(more), NULL, NULL);
	assert_non_null(extra);
	json_object_update(v, extra);
	return jwt_sign(v, kid, key);
}

static int who(struct fixture *f, const char *token)
{
	_cleanup_free_ char *bearer = str_printf("Bearer %s", token);
	struct http_client_header headers[] = { { "Authorization", bearer }, { "Content-Type", "application/json" } };
	return ask_headers(f, f->nobody, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", headers, 2, "{}");
}

static void settle(struct fixture *f)
{
	assert_int_equal(ask(f, f->admin, "POST", "/api/v1/namespaces", NULL, NULL, "{\"metadata\":{\"name\":\"a\"}}"), 201);
}

static void test_users(void **state)
{
	static const struct {
		struct oidc_options o;
		const char *claims, *want; /* NULL: refused */
	} rows[] = {
		{ { 0 }, "{}", "#jane\",\"groups\":[\"system:authenticated\"]" },
		{ { .username_prefix = "-" }, "{}", "\"username\":\"jane\"" },
		{ { .username_prefix = "o:" }, "{\"aud\":[\"x\",\"kube\"]}", "\"username\":\"o:jane\"" },
		{ { .username_claim = "email" }, "{\"email\":\"j@x\"}", "\"username\":\"j@x\"" },
		{ { .username_claim = "email" }, "{\"email\":\"j@x\",\"email_verified\":true}", "\"username\":\"j@x\"" },
		{ { .username_claim = "email" }, "{\"email\":\"j@x\",\"email_verified\":false}", NULL },
		{ { .username_claim = "email" }, "{\"email\":\"j@x\",\"email_verified\":\"yes\"}", NULL },
		{ { .username_claim = "name" }, "{}", NULL },
		{ { .username_claim = "name" }, "{\"name\":\"\"}", NULL },
		{ { .groups_claim = "g", .groups_prefix = "o:" }, "{\"g\":\"a\"}", "\"groups\":[\"o:a\",\"system:authenticated\"]" },
		{ { .groups_claim = "g" }, "{\"g\":[\"a\",\"b\"]}", "\"groups\":[\"a\",\"b\",\"system:authenticated\"]" },
		{ { .groups_claim = "g" }, "{\"g\":[\"a\",3]}", NULL },
		{ { .groups_claim = "g" }, "{\"g\":{}}", NULL },
		{ { .required = { "hd=x", "ou=y" } }, "{\"hd\":\"x\",\"ou\":\"y\"}", "#jane" },
		{ { .required = { "hd=x", "ou=y" } }, "{\"hd\":\"x\"}", NULL },
		{ { 0 }, "{\"aud\":\"other\"}", NULL },
		{ { 0 }, "{\"aud\":[]}", NULL },
		{ { 0 }, "{\"iss\":\"https://127.0.0.1\"}", NULL },
		{ { 0 }, "{\"exp\":1000}", NULL },
		{ { 0 }, "{\"exp\":\"9999999999\"}", NULL },
		{ { 0 }, "{\"exp\":null}", NULL },
		{ { 0 }, "{\"nbf\":9999999999}", NULL },
	};
	struct fixture *f = *state;
	struct issuer i;
	begin(f, &i);
	settle(f);
	for (size_t n = 0; n < ARRAY_SIZE(rows); n++) {
		struct oidc_options o = rows[n].o;
		_cleanup_free_ char *token = token_of(&i, i.ec, "ec", rows[n].claims);
		o.signing_algs = "RS256,ES256";
		use(f, &i, o);
		/* The first request waits for the keys. */
		int status = who(f, token);
		if (status != (rows[n].want ? 201 : 401) || (rows[n].want && !strstr(f->text.data, rows[n].want)))
			fail_msg("row %zu: %d %s", n, status, f->text.data);
	}
	end(f, &i);
}

/* HMAC with what everybody knows, the public key, as the secret. */
static char *confused(struct issuer *i)
{
	_cleanup_free_ char *good = token_of(i, i->rsa, "rsa", "{}");
	const char *payload = strchr(good, '.');
	struct strbuf b = { 0 };
	unsigned char mac[32], *der = NULL;
	unsigned len = 0;
	int der_len = i2d_PUBKEY(i->rsa, &der);
	base64url_encode(&b, "{\"alg\":\"HS256\",\"kid\":\"rsa\"}", 27);
	strbuf_add(&b, payload, (size_t)(strrchr(good, '.') - payload));
	HMAC(EVP_sha256(), der, der_len, (unsigned char *)b.data, b.len, mac, &len);
	OPENSSL_free(der);
	strbuf_addc(&b, '.');
	base64url_encode(&b, mac, len);
	return strbuf_take(&b);
}

static void test_hostile(void **state)
{
	struct fixture *f = *state;
	struct issuer i;
	begin(f, &i);
	settle(f);
	use(f, &i, (struct oidc_options){ 0 });
	_cleanup_free_ char *rsa = token_of(&i, i.rsa, "rsa", "{}"), *ec = token_of(&i, i.ec, "ec", "{}"), *mac = confused(&i);
	_cleanup_free_ char *crossed = token_of(&i, i.rsa, "ec", "{}"), *foreign = token_of(&i, i.foreign, "ec", "{}");
	assert_int_equal(who(f, rsa), 201);
	assert_int_equal(who(f, ec), 401); /* ES256 is not among the algorithms */
	assert_int_equal(who(f, mac), 401);
	assert_int_equal(who(f, crossed), 401);
	use(f, &i, (struct oidc_options){ .signing_algs = "ES256" });
	assert_int_equal(who(f, ec), 201);
	assert_int_equal(who(f, rsa), 401);
	assert_int_equal(who(f, foreign), 401);
	_cleanup_free_ char *cut = mem_strndup(ec, strlen(ec) - 4);
	assert_int_equal(who(f, cut), 401);
	end(f, &i);
}

static void test_keys_are_fetched_rarely(void **state)
{
	struct fixture *f = *state;
	struct issuer i;
	begin(f, &i);
	settle(f);
	use(f, &i, (struct oidc_options){ .signing_algs = "ES256" });
	_cleanup_free_ char *good = token_of(&i, i.ec, "ec", "{}");
	assert_int_equal(who(f, good), 201);
	for (int n = 0; n < 50; n++) {
		_cleanup_free_ char *kid = str_printf("k%d", n), *token = token_of(&i, i.foreign, kid, "{}");
		assert_int_equal(who(f, token), 401);
	}
	assert_int_equal(i.asked, 1);
	assert_int_equal(who(f, good), 201);
	/* One that calls itself something else is not the issuer. */
	i.named = "https://elsewhere";
	use(f, &i, (struct oidc_options){ .signing_algs = "ES256" });
	assert_int_equal(who(f, good), 401);
	assert_int_equal(i.asked, 1);
	end(f, &i);
}

static void test_options(void **state)
{
	static const struct {
		struct oidc_options o;
		const char *why;
	} rows[] = {
		{ { .issuer_url = "http://x", .client_id = "a" }, "no https URL" },
		{ { .issuer_url = "https://x?a", .client_id = "a" }, "no https URL" },
		{ { .issuer_url = "https://x", .client_id = "a", .signing_algs = "HS256" }, "HS256 is none of" },
		{ { .issuer_url = "https://x", .client_id = "a", .signing_algs = "," }, "names no algorithm" },
		{ { .issuer_url = "https://x", .client_id = "a", .required = { "x" } }, "is not CLAIM=VALUE" },
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_err_ struct err err = { 0 };
		assert_null(oidc_new(&f->loop, &rows[i].o, &err));
		if (!strstr(err_msg(&err), rows[i].why))
			fail_msg("row %zu: %s", i, err_msg(&err));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_users, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keys_are_fetched_rarely, setup, teardown),
		cmocka_unit_test_setup_teardown(test_options, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
