/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kubeconfig files: what is read, relative paths, inline data in private files, refusals that name the fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "kube/client.h"

static char dir[] = "/tmp/kubeconfig-test-XXXXXX";
static char *file;

static void write_config(const char *text)
{
	assert_int_equal(file_write_atomic(file, text, strlen(text), 0600), 0);
}

#define CONFIG(cluster, user)                                                                                           \
	"current-context: c\ncontexts:\n- name: other\n  context: {}\n- name: c\n  context: {cluster: k, user: u}\n"    \
	"clusters:\n- name: k\n  cluster: {" cluster "}\nusers:\n- name: u\n  user: {" user "}\n"

static void reads(void **state _unused_)
{
	_cleanup_err_ struct err e = { 0 };
	_cleanup_free_ char *ca = str_printf("%s/pki/ca.crt", dir);
	struct kubeconfig k;

	write_config(CONFIG("server: 'https://h:6443/', certificate-authority: pki/ca.crt",
			    "client-certificate: /abs.crt, client-key: /abs.key"));
	assert_int_equal(kubeconfig_load(file, &k, &e), 0);
	assert_string_equal(k.server, "https://h:6443");
	assert_string_equal(k.ca_file, ca);
	assert_string_equal(k.cert_file, "/abs.crt");
	assert_string_equal(k.key_file, "/abs.key");
	assert_null(k.token);
	assert_false(k.insecure_skip_tls_verify);
	kubeconfig_done(&k);
	write_config(CONFIG("server: 'https://h', insecure-skip-tls-verify: true", "token: t0"));
	assert_int_equal(kubeconfig_load(file, &k, &e), 0);
	assert_string_equal(k.token, "t0");
	assert_true(k.insecure_skip_tls_verify);
	kubeconfig_done(&k);
}

static void inline_data(void **state _unused_)
{
	_cleanup_err_ struct err e = { 0 };
	_cleanup_strbuf_ struct strbuf b = { 0 };
	struct kubeconfig k;
	struct stat st;

	write_config(CONFIG("server: 'https://h', certificate-authority-data: aGVsbG8=", ""));
	assert_int_equal(kubeconfig_load(file, &k, &e), 0);
	assert_int_equal(file_read(k.ca_file, 100, &b), 0);
	assert_string_equal(b.data, "hello");
	assert_int_equal(stat(k.ca_file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	_cleanup_free_ char *path = str_printf("%s", k.ca_file);

	kubeconfig_done(&k);
	assert_false(file_exists(path));
}

static void refusals(void **state _unused_)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "a: [", "did not find expected node content" },
		{ "current-context: x", "current-context \"x\" does not name a context" },
		{ "current-context: c\ncontexts: [{name: c, context: {cluster: z}}]",
		  "context \"c\" does not name a cluster of the file" },
		{ CONFIG("server: 'ftp://h'", ""), "cluster server \"ftp://h\" is not an http or https URL" },
		{ CONFIG("server: 'https://h', certificate-authority-data: '%%%'", ""), "not base64" },
		{ CONFIG("server: 'https://h'", "client-key: /k"), "a key without a certificate" },
		{ CONFIG("server: 'https://h'", "exec: {command: x}"), "credential plugin" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_err_ struct err e = { 0 };
		struct kubeconfig k = { 0 };

		write_config(cases[i].text);
		assert_true(kubeconfig_load(file, &k, &e) < 0);
		if (!strstr(err_msg(&e), cases[i].message))
			fail_msg("%s: %s", cases[i].message, err_msg(&e));
		assert_null(k.server);
	}
	_cleanup_err_ struct err e = { 0 };
	struct kubeconfig k;

	assert_int_equal(kubeconfig_load("/nonexistent/k", &k, &e), -ENOENT);
	assert_string_equal(err_msg(&e), "read kubeconfig /nonexistent/k: No such file or directory");
}

static void paths(void **state _unused_)
{
	_cleanup_free_ char *core = kube_path("v1", "pods", "d", "x", "log");
	_cleanup_free_ char *group = kube_path("apps/v1", "deployments", NULL, NULL, NULL);
	_cleanup_free_ char *odd = kube_path("rbac.authorization.k8s.io/v1", "clusterroles", "", "system:a/b", NULL);

	assert_string_equal(core, "/api/v1/namespaces/d/pods/x/log");
	assert_string_equal(group, "/apis/apps/v1/deployments");
	assert_string_equal(odd, "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa%2Fb");
}

static int setup(void **state _unused_)
{
	if (!mkdtemp(dir))
		return -1;
	file = str_printf("%s/config", dir);
	return 0;
}

static int teardown(void **state _unused_)
{
	free(file);
	return file_rm_rf(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(inline_data),
		cmocka_unit_test(refusals),
		cmocka_unit_test(paths),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
