/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The audit policy (audit.k8s.io/v1 Policy): which requests are noted, and how much of them. Immutable once read; pure.
 */
#ifndef KEELSON_APISERVER_AUDIT_POLICY_H
#define KEELSON_APISERVER_AUDIT_POLICY_H

#include "apiserver/auth/identity.h"
#include "base/err.h"

enum audit_level { AUDIT_NONE, AUDIT_METADATA, AUDIT_REQUEST, AUDIT_REQUEST_RESPONSE, AUDIT_LEVEL_MAX };
enum audit_stage { AUDIT_RECEIVED, AUDIT_STARTED, AUDIT_COMPLETE, AUDIT_PANIC, AUDIT_STAGE_MAX };
const char *audit_level_name(enum audit_level level);
const char *audit_stage_name(enum audit_stage stage);

/* What a policy looks at. Strings are "" when absent. */
struct audit_subject {
	const struct identity *user; /* NULL: the credentials were wrong; no rule for users or groups fits */
	const char *verb;
	bool is_resource;
	const char *group, *resource, *subresource, *ns, *name;
	const char *path;            /* not a resource */
};
struct audit_verdict {
	enum audit_level level;
	unsigned omit_stages;        /* bits 1 << enum audit_stage */
	bool omit_managed_fields;
};

struct audit_policy;
enum { AUDIT_POLICY_MAX_BYTES = 1 << 20 };
/* YAML or JSON. Unknown fields, levels and stages, rules without sense are refused: err says where ("rules[2].level: ..."). Own. */
struct audit_policy *audit_policy_parse(const char *text, size_t len, struct err *err);
struct audit_policy *audit_policy_load(const char *file, struct err *err);
struct audit_policy *audit_policy_free(struct audit_policy *p);
/* The first rule that fits; without one AUDIT_NONE. */
struct audit_verdict audit_policy_judge(const struct audit_policy *p, const struct audit_subject *s);

#endif
