/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A container's environment and its command line with $(VAR) references. Pure: everything needed is given. */
#ifndef KEELSON_AGENT_ENV_H
#define KEELSON_AGENT_ENV_H

#include "kube/json.h"

enum source_state { SOURCE_LOADING, SOURCE_MISSING, SOURCE_FOUND };

/* What is known about the pod on this node. */
struct pod_facts {
	const char *node_name;
	const struct strlist *node_ips; /* the primary one first; never empty */
	const struct strlist *pod_ips; /* may be NULL or empty: not known yet */
	int64_t node_cpu_milli, node_memory_bytes;
};
/* The object's value, or NULL with *ret_state telling why. plural: "configmaps" or "secrets". Borrow. */
typedef json_t *(*source_fn)(void *user, const char *plural, const char *name, enum source_state *ret_state);

struct env_input {
	const json_t *pod, *container;
	const struct pod_facts *facts;
	source_fn source;
	void *source_user;
	json_t *const *services; /* those whose variables the pod gets */
	size_t service_count;
};
struct env {
	struct strlist names, values; /* same count; each name once */
};
void env_done(struct env *e);
#define _cleanup_env_ _cleanup_(env_done)
const char *env_get(const struct env *e, const char *name);
void env_set(struct env *e, const char *name, const char *value);

/* 0; -EAGAIN: a source is still loading; -ENOENT or -EINVAL with err: as the kubelet words it. skipped (may be NULL) gets
 * the keys of envFrom that are not names of variables. */
int env_build(const struct env_input *in, struct env *ret, struct strlist *skipped, struct err *err);
/* Replaces $(NAME) by its value, $$ by $; what is not defined stays as it is. Own. */
char *env_expand(const char *s, const struct env *e);
/* The same, but what is not defined is an error: own, or NULL with err. */
char *env_expand_all(const char *s, const struct env *e, struct err *err);

/* The value of a downward API field ("metadata.labels['app']", "status.podIP"); own, NULL with err if unknown. */
char *env_field(const json_t *pod, const char *path, const struct pod_facts *facts, struct err *err);
/* The value of a resourceFieldRef; own, NULL with err. container: the one it stands in, for refs without a name. */
char *env_resource(const json_t *pod, const json_t *container, const json_t *ref, const struct pod_facts *facts,
		   struct err *err);
/* Variables of one Service, appended. */
void env_of_service(const json_t *service, struct env *e);

#endif
