/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Helpers of the scheduler's unit tests: snapshots from short JSON texts (single quotes stand for double ones). */
#ifndef KEELSON_SCHEDULER_TESTING_H
#define KEELSON_SCHEDULER_TESTING_H

#include "base/mem.h"
#include "scheduler/decision.h"

static inline json_t *test_json(const char *s)
{
	_cleanup_free_ char *copy = mem_strdup(s);
	struct err e = { 0 };

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_t *v = json_parse(copy, strlen(copy), NULL, &e);

	if (!v)
		fail_msg("%s: %s", copy, err_msg(&e));
	return v;
}

/* A node of 4 cpus, 8Gi, 10 pods; more: further members of metadata, spec: of spec. NULL: none. */
static inline struct node_info *test_node(struct snapshot *s, const char *name, const char *labels, const char *spec)
{
	_cleanup_free_ char *text = str_printf(
		"{'metadata':{'name':'%s','labels':%s},'spec':%s,'status':{'allocatable':{'cpu':'4','memory':'8Gi','pods':'10',"
		"'nvidia.com/gpu':'2'}}}",
		name, labels ? labels : "{}", spec ? spec : "{}");
	_cleanup_json_ json_t *node = test_json(text);
	struct node_info *n = snapshot_add_node(s, name);

	node_info_set(n, node);
	return n;
}

/* A pod with these labels and this spec, in namespace ns. */
static inline json_t *test_pod(const char *ns, const char *name, const char *labels, const char *spec)
{
	_cleanup_free_ char *text = str_printf("{'metadata':{'name':'%s','namespace':'%s','uid':'u-%s-%s','labels':%s},'spec':%s}",
					       name, ns, ns, name, labels ? labels : "{}", spec ? spec : "{}");

	return test_json(text);
}

static inline struct pod_info *test_place(struct snapshot *s, const char *node, const char *ns, const char *name,
					  const char *labels, const char *spec)
{
	_cleanup_json_ json_t *pod = test_pod(ns, name, labels, spec);
	struct pod_info *p = pod_info_new(pod);

	free(p->node);
	p->node = mem_strdup(node);
	node_info_add(snapshot_add_node(s, node), p);
	return p;
}

#endif
