// SPDX-License-Identifier: GPL-2.0-or-later
/* The providers against values that others made, the file's rules, and what is read and written by which key. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "apiserver/crypt/crypt.h"
#include "apiserver/crypt/seal.h"
#include "base/file.h"

static size_t from_hex(const char *hex, uint8_t *out)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++) {
		unsigned b;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &b), 1);
		out[i] = (uint8_t)b;
	}
	return n;
}

static struct encryption_key key_of(enum encryption_provider provider, const char *hex)
{
	struct encryption_key k = { .provider = provider, .name = (char *)"k" };

	k.len = from_hex(hex, k.secret);
	return k;
}

/* Made by: openssl enc -aes-192-cbc, openssl enc -aes-256-cbc; test case 16 of McGrew's and Viega's "The Galois/Counter Mode of
 * Operation"; the example of Bernstein's "Cryptography in NaCl", section 9. */
static const struct vector {
	enum encryption_provider provider;
	const char *key, *context, *sealed, *plain; /* hex, but for the context */
} vectors[] = {
	{ ENCRYPTION_AESCBC, "000102030405060708090a0b0c0d0e0f1011121314151617", "not used",
	  "202122232425262728292a2b2c2d2e2fa227e4896462570a6e9e0155ea5f7f1cd0e7fd675aa5d31eef8934cc5996ac7573afa978ac5065bfee348592c948a7be",
	  "6120536563726574206f662033372062797465732c2070616464656420746f2034382e2e2e" },
	{ ENCRYPTION_AESCBC, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "not used",
	  "303132333435363738393a3b3c3d3e3f1f6f8e12b9e2a6905bec0f0f10ac9845f59d10f5634e7a98eae9da1fe4bbde98", "30313233343536373839616263646566" },
	{ ENCRYPTION_AESGCM, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
	  "\xfe\xed\xfa\xce\xde\xad\xbe\xef\xfe\xed\xfa\xce\xde\xad\xbe\xef\xab\xad\xda\xd2",
	  "cafebabefacedbaddecaf888"
	  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
	  "76fc6ece0f4e1768cddf8853bb2d551b",
	  "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39" },
	{ ENCRYPTION_SECRETBOX, "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389", "not used",
	  "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37"
	  "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011"
	  "ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de"
	  "56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5",
	  "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce"
	  "314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040"
	  "e082f937763848645e0705" },
};

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct encryption_key k = key_of(v->provider, v->key);
		uint8_t sealed[512], plain[512];
		size_t sealed_len = from_hex(v->sealed, sealed), plain_len = from_hex(v->plain, plain);
		_cleanup_(bytes_unrefp) struct bytes *opened = seal_open(&k, v->context, sealed, sealed_len);

		assert_non_null(opened);
		assert_int_equal(opened->len, plain_len);
		assert_memory_equal(opened->data, plain, plain_len);
	}
}

static const char *const keys[] = { "000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f1011121314151617",
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" };

/* Every length around the blocks comes back; never twice the same; any flipped bit and any cut is noticed where the provider can. */
static void test_round_trip(void **state)
{
	char text[70];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (enum encryption_provider p = ENCRYPTION_AESCBC; p < ENCRYPTION_PROVIDER_MAX; p++)
		for (size_t len = 0; len < sizeof(text); len++) {
			struct encryption_key k = key_of(p, keys[p == ENCRYPTION_SECRETBOX ? 2 : len % 3]);
			struct strbuf a = { 0 }, b = { 0 };

			seal_add(&a, &k, "secrets:ns/a", text, len);
			seal_add(&b, &k, "secrets:ns/a", text, len);
			assert_true(a.len == b.len && memcmp(a.data, b.data, a.len) != 0);
			struct bytes *opened = seal_open(&k, "secrets:ns/a", a.data, a.len);

			assert_non_null(opened);
			assert_int_equal(opened->len, len);
			assert_memory_equal(opened->data, text, len);
			bytes_unref(opened);
			for (size_t i = 0; p != ENCRYPTION_AESCBC && i < a.len; i++) {
				a.data[i] ^= 1 << (i % 8);
				assert_null(seal_open(&k, "secrets:ns/a", a.data, a.len));
				a.data[i] ^= 1 << (i % 8);
				assert_null(seal_open(&k, "secrets:ns/a", a.data, i));
			}
			for (size_t i = 0; p == ENCRYPTION_AESCBC && i < a.len; i += i % 16 == 15 ? 2 : 1)
				if (i % 16)
					assert_null(seal_open(&k, "", a.data, i));
			opened = seal_open(&k, "secrets:ns/b", a.data, a.len);
			/* Only AES-GCM knows where its value belongs. */
			assert_int_equal(!opened, p == ENCRYPTION_AESGCM);
			bytes_unref(opened);
			strbuf_done(&a);
			strbuf_done(&b);
		}
}

#define HEAD "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
#define KEY16 "AAECAwQFBgcICQoLDA0ODw=="
#define KEY32 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define ONE(resources, providers) HEAD "- {resources: [" resources "], providers: [" providers "]}\n"
#define CBC(name, secret) "{aescbc: {keys: [{name: " name ", secret: " secret "}]}}"
#define BOX(name, secret) "{secretbox: {keys: [{name: " name ", secret: " secret "}]}}"

static void test_file_rules(void **state)
{
	static const struct {
		const char *text, *why; /* NULL: it is good */
	} cases[] = {
		{ ONE("secrets", CBC("a", KEY16) ", {identity: {}}"), NULL },
		{ ONE("secrets, configmaps, deployments.apps, '*.batch'", BOX("a", KEY32)), NULL },
		{ ONE("'*.*'", "{aesgcm: {keys: [{name: a, secret: " KEY32 "}, {name: b, secret: " KEY16 "}]}}"), NULL },
		{ ONE("'*.'", "{identity: {}}") "- {resources: ['*.*'], providers: [" CBC("a", KEY16) "]}\n", NULL },
		{ "{}", "apiVersion, kind: \"\" \"\" is not" },
		{ "[]", "is no object" },
		{ HEAD "x: 1\n", "x: unknown field" },
		{ HEAD, "resources: Required value: at least one resources is required" },
		{ HEAD "- {resources: [secrets], providers: [{identity: {}}], extra: 1}\n", "resources[0].extra: unknown field" },
		{ ONE("", "{identity: {}}"), "resources[0].resources: Required value" },
		{ ONE("secrets", ""), "resources[0].providers: Required value: at least one providers is required" },
		{ ONE("Secrets", "{identity: {}}"), "should not contain capital letters" },
		{ ONE("'*'", "{identity: {}}"), "use '*.' to encrypt all the resources from core API group" },
		{ ONE("secrets, secrets", "{identity: {}}"), "cannot be specified multiple times" },
		{ ONE("secrets, '*.'", "{identity: {}}"), "will be masked" },
		{ ONE("'*.*', jobs.batch", "{identity: {}}"), "will be masked" },
		{ ONE("'pods.*'", "{identity: {}}"), "encrypting the same resource across groups is not supported" },
		{ ONE("events.events.k8s.io", "{identity: {}}"), "Use 'events' instead" },
		{ ONE("ingresses.extensions", "{identity: {}}"), "'extensions' group has been removed" },
		{ ONE("serviceipallocations", "{identity: {}}"), "resources which do not have REST API/s" },
		{ ONE("secrets", "{}"), "resources[0].providers[0]: provider does not contain any" },
		{ ONE("secrets", "{identity: }"), "provider does not contain any" },
		{ ONE("secrets", "{identity: {}, aescbc: {keys: [{name: a, secret: " KEY16 "}]}}"), "more than one provider" },
		{ ONE("secrets", "{kms: {name: a, endpoint: 'unix:///x'}}"), "resources[0].providers[0].kms: keelson speaks to no KMS plugin" },
		{ ONE("secrets", "{rot13: {}}"), "resources[0].providers[0].rot13: unknown field" },
		{ ONE("secrets", "{aescbc: {keys: []}}"), "resources[0].providers[0].aescbc.keys: Required value" },
		{ ONE("secrets", "{aescbc: {keys: [{secret: " KEY16 "}]}}"), "aescbc.keys[0].name: Required value" },
		{ ONE("secrets", "{aescbc: {keys: [{name: a}]}}"), "aescbc.keys[0].secret: Required value" },
		{ ONE("secrets", CBC("a", "'-.-'")), "secrets must be base64 encoded" },
		{ ONE("secrets", CBC("a", "AAECAwQFBgcICQ==")), "not of the expected length, got 10, expected one of [16 24 32]" },
		{ ONE("secrets", BOX("a", KEY16)), "got 16, expected one of [32]" },
		{ ONE("secrets", "{aescbc: {keys: [{name: a, secret: " KEY16 "}, {name: a, secret: " KEY32 "}]}}"),
		  "aescbc.keys[1].name: Duplicate value: \"a\"" },
		{ "{\"kind\":\"EncryptionConfiguration\",\"kind\":\"x\"}", "duplicate field" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_err_ struct err err = { 0 };
		struct encryption_config *c = encryption_config_parse(cases[i].text, strlen(cases[i].text), &err);

		if (!cases[i].why != !!c || (cases[i].why && !strstr(err_msg(&err), cases[i].why)))
			fail_msg("case %zu: %s", i, c ? "was taken" : err_msg(&err));
		/* Errors are logged: no key is told. */
		assert_null(strstr(err_msg(&err), "AAEC"));
		encryption_config_free(c);
	}
}

static void test_first_rule_counts(void **state)
{
	static const char text[] = HEAD "- {resources: [events, deployments.apps], providers: [{identity: {}}]}\n"
		"- {resources: ['*.apps'], providers: [" CBC("apps", KEY16) "]}\n"
		"- {resources: ['*.'], providers: [" CBC("core", KEY16) "]}\n"
		"- {resources: ['*.*'], providers: [" CBC("any", KEY16) "]}\n";
	static const struct {
		const char *group, *plural, *key;
	} cases[] = {
		{ "", "events", "" }, { "apps", "deployments", "" }, { "apps", "statefulsets", "apps" }, { "", "secrets", "core" },
		{ "batch", "jobs", "any" }, { "apps.example.com", "things", "any" }, { "", "deployments", "core" },
	};
	_cleanup_(encryption_config_freep) struct encryption_config *c = encryption_config_parse(text, strlen(text), NULL);

	(void)state;
	assert_non_null(c);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(encryption_rule_find(c, cases[i].group, cases[i].plural)->keys[0].name, cases[i].key);
	assert_null(encryption_rule_find(NULL, "", "secrets"));
}

struct files {
	char dir[32], path[64];
};

static void write_config(struct files *f, const char *text)
{
	assert_int_equal(file_write_atomic(f->path, text, strlen(text), 0600), 0);
}

static int setup(void **state)
{
	struct files *f = mem_new(struct files);

	strcpy(f->dir, "/tmp/crypt-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/config", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct files *f = *state;

	file_rm_rf(f->dir);
	free(f);
	return 0;
}

static struct crypt *crypt_with(struct files *f, const char *text)
{
	_cleanup_err_ struct err err = { 0 };

	write_config(f, text);
	struct crypt *c = crypt_new(f->path, &err);

	if (!c)
		fail_msg("%s", err_msg(&err));
	return c;
}

static int opened_by(const struct crypt *c, const char *place, const struct bytes *stored, uint16_t *ret_form)
{
	struct bytes *plain = NULL;
	int r = crypt_open(c, place, "where", stored->data, stored->len, &plain, ret_form, NULL);

	assert_int_equal(r == 0, plain != NULL);
	if (plain)
		assert_true(plain->len == 5 && memcmp(plain->data, "{\"a\"}", 5) == 0);
	bytes_unref(plain);
	return r;
}

static void test_keys_in_order(void **state)
{
	uint16_t form, form2;
	struct crypt *c = crypt_with(*state, ONE("secrets", CBC("one", KEY16) ", {identity: {}}"));
	struct bytes *plain = bytes_new("{\"a\"}", 5), *one = crypt_seal(c, "secrets", "where", plain->data, plain->len, &form), *two;

	assert_non_null(one);
	assert_memory_equal(one->data, "k8s:enc:aescbc:v1:one:", 22);
	assert_null(crypt_seal(c, "pods", "where", "{}", 2, &form2));
	assert_int_equal(form2, 0);
	assert_false(crypt_is_stale(c, "secrets", form));
	assert_true(crypt_is_stale(c, "secrets", 0));
	assert_false(crypt_is_stale(c, "pods", 0));
	assert_int_equal(opened_by(c, "secrets", plain, &form2), 0);
	assert_int_equal(form2, 0);
	/* Another resource's keys do not count. */
	assert_int_equal(opened_by(c, "pods", one, &form2), -ENOKEY);
	crypt_free(c);

	/* A second key in front: the first still opens, what it wrote is stale. The same name of another key does not mislead. */
	c = crypt_with(*state, ONE("secrets", BOX("one", KEY32) ", " CBC("one", KEY32) ", " CBC("one", KEY16)));
	two = crypt_seal(c, "secrets", "where", plain->data, plain->len, &form2);
	assert_memory_equal(two->data, "k8s:enc:secretbox:v1:one:", 25);
	assert_int_equal(opened_by(c, "secrets", one, &form2), 0);
	assert_int_equal(form2, form);
	assert_true(crypt_is_stale(c, "secrets", form));
	assert_int_equal(opened_by(c, "secrets", two, &form2), 0);
	assert_false(crypt_is_stale(c, "secrets", form2));
	/* Without identity what is plain is refused. */
	assert_int_equal(opened_by(c, "secrets", plain, &form2), -ENOKEY);
	crypt_free(c);

	/* Wrong bytes under that name, and no such name. */
	c = crypt_with(*state, ONE("secrets", "{identity: {}}, " CBC("one", KEY32)));
	assert_int_equal(opened_by(c, "secrets", one, &form2), -EBADMSG);
	assert_int_equal(opened_by(c, "secrets", two, &form2), -ENOKEY);
	crypt_free(c);
	/* And without any file. */
	assert_int_equal(opened_by(NULL, "secrets", one, &form2), -ENOKEY);
	assert_int_equal(opened_by(NULL, "secrets", plain, &form2), 0);
	bytes_unref(plain);
	bytes_unref(one);
	bytes_unref(two);
}

struct reloads {
	unsigned asked, taken;
	bool refuse;
	uv_loop_t *loop;
};

static int accept_it(const struct encryption_config *next, struct err *err, void *user)
{
	struct reloads *r = user;

	assert_non_null(next);
	r->asked++;
	uv_stop(r->loop);
	return r->refuse ? err_set(err, EBUSY, "not yet") : 0;
}

static void taken(void *user)
{
	((struct reloads *)user)->taken++;
}

static void test_reload(void **state)
{
	uv_loop_t loop;
	uint16_t form;
	struct reloads r = { .loop = &loop, .refuse = true };
	struct crypt *c = crypt_with(*state, ONE("secrets", CBC("one", KEY16)));

	uv_loop_init(&loop);
	crypt_watch(c, &loop, accept_it, taken, &r);
	write_config(*state, "{"); /* is not even asked about */
	write_config(*state, ONE("secrets", CBC("two", KEY16)));
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(r.taken, 0);
	struct bytes *b = crypt_seal(c, "secrets", "where", "{}", 2, &form);

	assert_memory_equal(b->data, "k8s:enc:aescbc:v1:one:", 22);
	bytes_unref(b);
	/* What was refused is asked about again: the store may have changed. */
	r.refuse = false;
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(r.taken, 1);
	b = crypt_seal(c, "secrets", "where", "{}", 2, &form);
	assert_memory_equal(b->data, "k8s:enc:aescbc:v1:two:", 22);
	bytes_unref(b);
	crypt_free(c);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_file_rules),
		cmocka_unit_test(test_first_rule_counts),
		cmocka_unit_test_setup_teardown(test_keys_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
