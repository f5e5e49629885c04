/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz: links apiserver kube io base */
/* Any text as an audit policy: refused with a reason, or every question about it has an answer. */
#include "apiserver/audit/policy.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const groups[] = { "system:nodes", "devs", NULL };
	static const struct identity user = { .name = "bob", .uid = "", .groups = groups };
	static const struct audit_subject subjects[] = {
		{ &user, "get", true, "", "pods", "log", "default", "web", "/api/v1/namespaces/default/pods/web/log" },
		{ &user, "list", true, "apps", "deployments", "", "", "", "/apis/apps/v1/deployments" },
		{ &user, "get", false, "", "", "", "", "", "/healthz/ping" },
		{ NULL, "create", true, "", "secrets", "", "kube-system", "", "/" },
	};
	_cleanup_err_ struct err err = { 0 };
	struct audit_policy *p = audit_policy_parse((const char *)data, size, &err);

	if (!p) {
		BUG_ON(!err.message);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++) {
		struct audit_verdict v = audit_policy_judge(p, &subjects[i]);
		BUG_ON(v.level >= AUDIT_LEVEL_MAX || v.omit_stages >= 1U << AUDIT_STAGE_MAX);
	}
	audit_policy_free(p);
	return 0;
}
