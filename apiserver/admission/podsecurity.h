/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Pod Security Standards (KEP-2579): what a pod must not ask for at each level. Pure. */
#ifndef KEELSON_APISERVER_ADMISSION_PODSECURITY_H
#define KEELSON_APISERVER_ADMISSION_PODSECURITY_H

#include "kube/json.h"

enum pod_security_level { POD_SECURITY_PRIVILEGED, POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED, POD_SECURITY_LEVELS };
/* A level by its name: 0 or -EINVAL. "" and NULL are privileged. */
int pod_security_level_parse(const char *s, enum pod_security_level *ret);
const char *pod_security_level_name(enum pod_security_level level);
/* "latest" or "v1.N" (which is accepted and judged like the latest). */
bool pod_security_version_valid(const char *s);
/* Appends everything a pod with this metadata (may be NULL) and spec does against the level, as Kubernetes words it:
 * `privileged (container "c" must not set securityContext.privileged=true), ...`. True: it may run. */
bool pod_security_check(enum pod_security_level level, const json_t *metadata, const json_t *spec, struct strbuf *out);
/* The same without what stands in parentheses: `privileged, hostPort`. */
bool pod_security_reasons(enum pod_security_level level, const json_t *metadata, const json_t *spec, struct strbuf *out);

#endif
