/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Admission: what a write goes through besides validation, in upstream's order (pkg/kubeapiserver/options/plugins.go). A plugin may
 * change the object before it is validated, refuse it then, or refuse it after it was found valid. The table is in admit.c.
 */
#ifndef KEELSON_APISERVER_REGISTRY_ADMIT_H
#define KEELSON_APISERVER_REGISTRY_ADMIT_H

#include "apiserver/registry/registry.h"

enum admission_operation { ADMIT_CREATE = 1 << 0, ADMIT_UPDATE = 1 << 1, ADMIT_DELETE = 1 << 2 };

/* One write; everything is borrowed. */
struct admission {
	struct registry *g;
	const struct schema_resource *storage;
	enum admission_operation op;
	const char *sub;             /* "" without a subresource */
	const char *ns;
	const struct identity *user; /* NULL: the server itself */
	struct call *call;           /* for warnings and the audit log; NULL */
	json_t *object;              /* NULL: a deletion */
	const json_t *old;           /* NULL: a create */
	bool dry_run;                /* nothing is taken from quotas */
};

/* The first half: changes a->object. */
json_t *admit_mutate(struct admission *a);
/* The second half, of a valid object. ResourceQuota is the last: when this returns NULL, nothing but the store may refuse. */
json_t *admit_validate(struct admission *a);

/* `pods "x" is forbidden: TEXT`, with generateName, or Unknown!, for an object without a name. */
json_t *admit_forbidden(const struct admission *a, const char *fmt, ...) _printf_(2, 3);
/* A write of the resource itself. */
static inline bool admit_is(const struct admission *a, const struct schema_resource *r)
{
	return a->storage == r && !*a->sub;
}

/* ---- the plugins; each looks itself whether the write is its own */
json_t *admit_service_account(struct admission *a);          /* admit_account.c */
json_t *admit_service_account_check(struct admission *a);
json_t *admit_priority(struct admission *a);                 /* admit_priority.c */
json_t *admit_priority_check(struct admission *a);
json_t *admit_tolerations(struct admission *a);
json_t *admit_runtime_class(struct admission *a);            /* admit_runtime_class.c */
json_t *admit_runtime_class_check(struct admission *a);
json_t *admit_storage_protection(struct admission *a);       /* admit_storage.c */
json_t *admit_claim_resize(struct admission *a);

#endif
