/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Pod Security Standards, control by control: what is said of a spec at each level. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "apiserver/admission/podsecurity.h"
#include "base/mem.h"

#define GOOD "securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}"
#define POD_GOOD "securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}"

static const struct {
	const char *spec;               /* YAML flow */
	const char *baseline, *restricted; /* "": allowed */
} rows[] = {
	{ "{" POD_GOOD ", containers: [{name: c, " GOOD "}]}", "", "" },
	{ "{containers: [{name: c}]}", "",
	  "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), "
	  "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), "
	  "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), "
	  "seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")" },
	{ "{hostNetwork: true, hostPID: true, " POD_GOOD ", containers: [{name: c, " GOOD "}]}",
	  "host namespaces (hostNetwork=true, hostPID=true)", "host namespaces (hostNetwork=true, hostPID=true)" },
	{ "{" POD_GOOD ", volumes: [{name: a, hostPath: {path: /}}, {name: b, nfs: {}}, {name: c, emptyDir: {}}], containers: [{name: c, " GOOD "}]}",
	  "hostPath volumes (volume \"a\")",
	  "restricted volume types (volumes \"a\", \"b\" use restricted volume types \"hostPath\", \"nfs\")" },
	{ "{" POD_GOOD ", containers: [{name: c, ports: [{containerPort: 1, hostPort: 80}, {hostPort: 81}], " GOOD "}]}",
	  "hostPort (container \"c\" uses hostPorts 80, 81)", "hostPort (container \"c\" uses hostPorts 80, 81)" },
	{ "{" POD_GOOD ", initContainers: [{name: i, securityContext: {privileged: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}], "
	  "containers: [{name: c, " GOOD "}]}",
	  "privileged (container \"i\" must not set securityContext.privileged=true)",
	  "privileged (container \"i\" must not set securityContext.privileged=true)" },
	{ "{" POD_GOOD ", containers: [{name: c, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_ADMIN, NET_BIND_SERVICE]}}}]}",
	  "non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
	  "unrestricted capabilities (container \"c\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)" },
	{ "{" POD_GOOD ", containers: [{name: c, securityContext: {runAsUser: 0, runAsNonRoot: false, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}",
	  "", "runAsNonRoot != true (container \"c\" must not set securityContext.runAsNonRoot=false), "
	      "runAsUser=0 (container \"c\" must not set runAsUser=0)" },
	{ "{securityContext: {runAsNonRoot: true, seccompProfile: {type: Unconfined}, sysctls: [{name: kernel.msgmax}]}, containers: [{name: c, " GOOD "}]}",
	  "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\"), forbidden sysctls (kernel.msgmax)",
	  "forbidden sysctls (kernel.msgmax), seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")" },
	{ "{" POD_GOOD ", containers: [{name: c, livenessProbe: {httpGet: {host: 10.0.0.1, port: 80}}, securityContext: {procMount: Unmasked, "
	  "seLinuxOptions: {type: spc_t, user: u}, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}",
	  "probe or lifecycle host (container \"c\" must not set probe or lifecycle host), procMount (container \"c\" must not set "
	  "securityContext.procMount to \"Unmasked\"), seLinuxOptions (container \"c\" set forbidden securityContext.seLinuxOptions: type "
	  "\"spc_t\"; user may not be set)", NULL },
	{ "{os: {name: windows}, securityContext: {runAsNonRoot: true}, containers: [{name: c}]}", "", "" },
	{ "{containers: 7, volumes: {}, securityContext: []}", "", "" },
};

static void test_levels(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = { 0 };
		_cleanup_json_ json_t *spec = yaml_parse(rows[i].spec, strlen(rows[i].spec), &e);
		if (!spec)
			fail_msg("row %zu: %s", i, err_msg(&e));
		const char *const want[] = { "", rows[i].baseline, rows[i].restricted };
		for (int l = 0; l < POD_SECURITY_LEVELS; l++) {
			_cleanup_strbuf_ struct strbuf b = { 0 };
			bool ok = pod_security_check((enum pod_security_level)l, NULL, spec, &b);
			assert_int_equal(ok, b.len == 0);
			if (want[l] && !str_eq(b.len ? b.data : "", want[l]))
				fail_msg("row %zu %s:\ngot  %s\nwant %s", i, pod_security_level_name((enum pod_security_level)l), b.data, want[l]);
		}
	}
}

static void test_names(void **state)
{
	(void)state;
	enum pod_security_level l;
	assert_int_equal(pod_security_level_parse("restricted", &l), 0);
	assert_int_equal(l, POD_SECURITY_RESTRICTED);
	assert_int_equal(pod_security_level_parse(NULL, &l), 0);
	assert_int_equal(l, POD_SECURITY_PRIVILEGED);
	assert_true(pod_security_level_parse("Restricted", &l) < 0);
	assert_true(pod_security_version_valid("latest") && pod_security_version_valid("v1.30") && pod_security_version_valid(NULL));
	assert_false(pod_security_version_valid("1.30") || pod_security_version_valid("v1.x") || pod_security_version_valid("v2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_levels), cmocka_unit_test(test_names) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
