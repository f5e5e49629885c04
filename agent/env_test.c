/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Environments: expansion, sources, downward API fields, Service variables. */
#include "agent/env.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/mem.h"

static const struct strlist test_node_ips = { (char *[]){ (char *)"192.0.2.1", (char *)"fd00::1", NULL }, 2, 3 };

static json_t *parse(const char *s)
{
	struct err err = { 0 };
	json_t *v = json_parse(s, strlen(s), NULL, &err);

	if (!v)
		fail_msg("%s", err_msg(&err));
	return v;
}

static void test_expand(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "plain", "plain" },	     { "$(A)", "1" },		{ "x$(A)y$(B)z", "x1y2z" },
		{ "$$(A)", "$(A)" },	     { "$$$(A)", "$1" },	{ "$$$$(A)", "$$(A)" },
		{ "$(NONE)", "$(NONE)" },    { "$(A", "$(A" },		{ "$A", "$A" },
		{ "100$", "100$" },	     { "$()", "$()" },		{ "$(A)$(A)", "11" },
		{ "$(C)", "$(A)" }, /* a value is not expanded again */
	};
	_cleanup_env_ struct env e = { 0 };

	(void)state;
	env_set(&e, "A", "1");
	env_set(&e, "B", "2");
	env_set(&e, "C", "$(A)");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *got = env_expand(rows[i].in, &e);

		assert_string_equal(got, rows[i].out);
	}
	_cleanup_err_ struct err err = { 0 };
	_cleanup_free_ char *all = env_expand_all("$(A)/$$(X)/$(B)", &e, &err);

	assert_string_equal(all, "1/$(X)/2");
	assert_null(env_expand_all("$(A)/$(NONE)", &e, &err));
	assert_non_null(strstr(err_msg(&err), "missing value for \"NONE\""));
}

static json_t *config_map, *secret;

static json_t *source(void *user, const char *plural, const char *name, enum source_state *state)
{
	(void)user;
	*state = SOURCE_FOUND;
	if (str_eq(plural, "configmaps") && str_eq(name, "cm"))
		return config_map;
	if (str_eq(plural, "secrets") && str_eq(name, "sec"))
		return secret;
	*state = str_eq(name, "slow") ? SOURCE_LOADING : SOURCE_MISSING;
	return NULL;
}

static int build(const char *container_text, struct env *ret, struct strlist *skipped, struct err *err)
{
	_cleanup_json_ json_t *pod = parse("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u\",\"labels\":{\"b\":"
					   "\"2\\n\",\"a\":\"1\"}},\"spec\":{\"serviceAccountName\":\"sa\"}}");
	_cleanup_json_ json_t *container = parse(container_text);
	_cleanup_json_ json_t *service =
		parse("{\"metadata\":{\"name\":\"my-db\"},\"spec\":{\"clusterIP\":\"10.0.0.1\",\"ports\":[{\"name\":\"sql\","
		      "\"port\":5432,\"protocol\":\"TCP\"},{\"name\":\"ad-min\",\"port\":53,\"protocol\":\"UDP\"}]}}");
	struct strlist ips = { 0 };
	struct pod_facts facts = { .node_name = "n1", .node_ips = &test_node_ips, .pod_ips = &ips, .node_cpu_milli = 2000,
				   .node_memory_bytes = 1 << 30 };
	struct env_input in = { .pod = pod, .container = container, .facts = &facts, .source = source, .services = &service,
				.service_count = 1 };
	int r;

	strlist_add(&ips, "10.1.0.2");
	strlist_add(&ips, "fd00::2");
	config_map = parse("{\"data\":{\"k\":\"v\",\"bad=key\":\"x\"}}");
	secret = parse("{\"data\":{\"pw\":\"c2VjcmV0\"}}");
	r = env_build(&in, ret, skipped, err);
	strlist_done(&ips);
	json_decref(config_map);
	json_decref(secret);
	return r;
}

static void expect(const struct env *e, const char *name, const char *value)
{
	const char *got = env_get(e, name);

	if (!str_eq(got, value))
		fail_msg("%s: got %s, not %s", name, got ? got : "(none)", value ? value : "(none)");
}

static void test_build(void **state)
{
	_cleanup_env_ struct env e = { 0 };
	_cleanup_strlist_ struct strlist skipped = { 0 };
	_cleanup_err_ struct err err = { 0 };

	(void)state;
	assert_int_equal(
		build("{\"envFrom\":[{\"prefix\":\"P_\",\"configMapRef\":{\"name\":\"cm\"}},{\"secretRef\":{\"name\":\"none\","
		      "\"optional\":true}}],\"env\":[{\"name\":\"A\",\"value\":\"$(P_k)-$(MY_DB_SERVICE_HOST)-$(LATER)\"},"
		      "{\"name\":\"LATER\",\"value\":\"l\"},{\"name\":\"S\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"sec\",\"key\":"
		      "\"pw\"}}},{\"name\":\"O\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"cm\",\"key\":\"no\",\"optional\":"
		      "true}}},{\"name\":\"IP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIPs\"}}},{\"name\":\"HI\",\"valueFrom\":{\"fieldRef\":{"
		      "\"fieldPath\":\"status.hostIPs\"}}},{\"name\":\"LA\","
		      "\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['a']\"}}},{\"name\":\"MEM\",\"valueFrom\":{"
		      "\"resourceFieldRef\":{\"resource\":\"limits.memory\",\"divisor\":\"1Mi\"}}},{\"name\":\"A2\",\"value\":\"\"},"
		      "{\"name\":\"LATER\",\"value\":\"$(LATER)2\"}]}",
		      &e, &skipped, &err),
		0);
	expect(&e, "P_k", "v");
	expect(&e, "A", "v-10.0.0.1-$(LATER)");
	expect(&e, "S", "secret");
	expect(&e, "O", NULL);
	expect(&e, "IP", "10.1.0.2,fd00::2");
	expect(&e, "HI", "192.0.2.1,fd00::1");
	expect(&e, "LA", "1");
	expect(&e, "MEM", "1024");
	expect(&e, "A2", "");
	expect(&e, "LATER", "l2");
	assert_int_equal(skipped.count, 1);
	assert_string_equal(skipped.items[0], "bad=key");
}

static void test_service(void **state)
{
	_cleanup_env_ struct env e = { 0 };

	(void)state;
	assert_int_equal(build("{}", &e, NULL, NULL), 0);
	expect(&e, "MY_DB_SERVICE_HOST", "10.0.0.1");
	expect(&e, "MY_DB_SERVICE_PORT", "5432");
	expect(&e, "MY_DB_SERVICE_PORT_SQL", "5432");
	expect(&e, "MY_DB_SERVICE_PORT_AD_MIN", "53");
	expect(&e, "MY_DB_PORT", "tcp://10.0.0.1:5432");
	expect(&e, "MY_DB_PORT_5432_TCP", "tcp://10.0.0.1:5432");
	expect(&e, "MY_DB_PORT_5432_TCP_PROTO", "tcp");
	expect(&e, "MY_DB_PORT_53_UDP_PORT", "53");
	expect(&e, "MY_DB_PORT_53_UDP_ADDR", "10.0.0.1");
}

static void test_refusals(void **state)
{
	static const struct {
		const char *container;
		int code;
		const char *text;
	} rows[] = {
		{ "{\"envFrom\":[{\"configMapRef\":{\"name\":\"none\"}}]}", ENOENT, "configmap \"none\" not found" },
		{ "{\"envFrom\":[{\"secretRef\":{\"name\":\"slow\"}}]}", EAGAIN, "waiting for secret \"slow\"" },
		{ "{\"env\":[{\"name\":\"X\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"sec\",\"key\":\"no\"}}}]}", ENOENT,
		  "couldn't find key no in Secret ns/sec" },
		{ "{\"env\":[{\"name\":\"X\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.none\"}}}]}", EINVAL,
		  "unsupported fieldPath: spec.none" },
		{ "{\"env\":[{\"name\":\"X\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\",\"divisor\":\"x\"}}}]}",
		  EINVAL, "unsupported container resource : limits.cpu" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct env e = { 0 };
		_cleanup_err_ struct err err = { 0 };

		assert_int_equal(build(rows[i].container, &e, NULL, &err), -rows[i].code);
		assert_string_equal(err_msg(&err), rows[i].text);
		assert_int_equal(e.names.count, 0);
	}
}

static void test_label_file(void **state)
{
	_cleanup_json_ json_t *pod = parse("{\"metadata\":{\"labels\":{\"b\":\"2\\n\",\"a\":\"1\"}}}");
	struct pod_facts facts = { 0 };
	_cleanup_free_ char *text = env_field(pod, "metadata.labels", &facts, NULL);

	(void)state;
	assert_string_equal(text, "a=\"1\"\nb=\"2\\n\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expand),	 cmocka_unit_test(test_build),	    cmocka_unit_test(test_service),
		cmocka_unit_test(test_refusals), cmocka_unit_test(test_label_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
